//! Contents: any bytes are read or refused, and what is read is written so that it reads the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use runepeer::mail::Content;

fuzz_target!(|data: &[u8]| {
    if let Ok(content) = Content::decode(data.to_vec()) {
        let again = Content::decode(content.encode()).expect("what was read can be written");
        assert_eq!(again.encode(), content.encode());
        assert!(data.ends_with(&again.payload));
    }
});
