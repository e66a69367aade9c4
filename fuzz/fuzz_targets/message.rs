//! Messages, as peers and mail programs write them: structure, parts, header fields, what is made ready for sending, JSON.
#![no_main]

use libfuzzer_sys::fuzz_target;
use runepeer::base::rng::SeededRng;
use runepeer::base::{Onion, Timestamp, meter};
use runepeer::mail::mail_json::{JsonContext, from_json, to_json};
use runepeer::mail::structure::{Section, parse};
use runepeer::mail::{Address, headers, outgoing};

const NOW: Timestamp = Timestamp::from_secs(1_795_220_400);

fuzz_target!(|data: &[u8]| {
    let own: Address = format!("alice@{}", Onion::from_public_key([7; 32])).parse().expect("an address");
    let (steps, structure) = meter::work(|| parse(data));
    assert!(steps <= 24 * data.len() as u64 + 1000, "{steps} steps for {} bytes", data.len());
    for path in [&[][..], &[1], &[2], &[1, 1], &[1, 2, 1]] {
        for section in [Section::Body, Section::Header, Section::Text, Section::Mime] {
            if let Some(span) = structure.part(path, section) {
                assert!(span.range().end <= data.len() as u64);
                let _ = span.of(data);
            }
        }
    }
    let (header, body) = headers::split(data);
    assert_eq!(header.len() + body.len(), data.len());
    let chosen = headers::select_fields(header, &[b"subject", b"to"], false).len();
    let others = headers::select_fields(header, &[b"subject", b"to"], true).len();
    // Each ends with an empty line, and the last field may get its line end.
    assert!(chosen + others <= header.len() + 6);

    let ready = outgoing::prepare(data, &own, NOW, &|_| None, &|_| None, &mut SeededRng::new(1));
    if let Ok(prepared) = ready {
        assert!(outgoing::has_strict_lines(&prepared.message));
        // Once made ready, nothing more is to be done.
        let again = outgoing::prepare(&prepared.message, &own, NOW, &|_| None, &|_| None, &mut SeededRng::new(2));
        assert_eq!(again.map(|again| again.message), Ok(prepared.message));
    }
    let context = JsonContext { from: &own, to: &own, date: NOW, message_id: "<1@example.org>".to_owned() };
    let _ = from_json(data, &context);
    let _ = to_json(data);
});
