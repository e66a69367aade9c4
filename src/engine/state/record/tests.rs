//! Every kind of record is read as it was written, also in the form of earlier versions.

use super::*;
use crate::base::rng::SeededRng;
use crate::engine::encoding::RecordError;
use crate::engine::tests::samples;
use proptest::prelude::*;

proptest! {
    #[test]
    fn every_record_is_read_as_it_was_written(seed in any::<u64>(), kind in 0..samples::KINDS) {
        let record = samples::record(kind, &mut SeededRng::new(seed));
        prop_assert_eq!(Record::decode(&record.encode().unwrap()), Ok(Some(record)));
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in any::<u8>()) {
        let _ = Record::decode(&bytes);
        let _ = Record::decode(&[&[kind, 0, 1, 1], bytes.as_slice()].concat());
    }

    #[test]
    fn a_record_that_is_cut_off_is_malformed(seed in any::<u64>(), kind in 0..samples::KINDS, cut in 1_usize..8) {
        let bytes = samples::record(kind, &mut SeededRng::new(seed)).encode().unwrap();
        let short = &bytes[..bytes.len() - cut.min(bytes.len() - 4)];
        let malformed = matches!(Record::decode(short), Err(RecordError::Malformed { .. }));
        prop_assert!(malformed);
    }
}

#[test]
fn what_is_unknown_stops_the_start_only_where_it_is_critical() {
    assert_eq!(Record::decode(&[0xff, 0xff, 1, 0, 9]), Ok(None));
    assert_eq!(Record::decode(&[0xff, 0xff, 1, 1, 9]), Err(RecordError::Unknown { kind: 0xffff, version: 1 }));
    assert_eq!(Record::decode(&[4, 0, 2, 0, 9]), Ok(None));
    assert_eq!(Record::decode(&[4, 0, 2, 1, 9]), Err(RecordError::Unknown { kind: 4, version: 2 }));
    assert_eq!(Record::decode(&[4, 0]), Err(RecordError::Malformed { kind: 0 }));
}

/// Old logs must stay readable: if this fails, the change needs a new version of the record, not a new file.
#[test]
fn the_encoding_does_not_change() {
    let lines: String = (0..samples::KINDS)
        .map(|kind| {
            let bytes = samples::record(kind, &mut SeededRng::new(7)).encode().unwrap();
            format!("{}\n", data_encoding::HEXLOWER.encode(&bytes))
        })
        .collect();
    let golden = include_str!("../../../../tests/golden/records.txt");
    assert_eq!(lines.lines().count(), golden.lines().count(), "{lines}");
    for (now, then) in lines.lines().zip(golden.lines()) {
        assert_eq!(now, then);
    }
}
