//! Introductions: any payload is read or refused, and what is read is written so that it reads the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use runepeer::mail::introduction::{Ask, Grant, Introduction, is_fit};
use runepeer::mail::{Content, Invitation};

fuzz_target!(|data: &[u8]| {
    if let Ok(ask) = serde_json::from_slice::<Ask>(data) {
        let _ = is_fit(&ask.text);
    }
    if let Ok(grant) = serde_json::from_slice::<Grant>(data) {
        for invitation in &grant.invitations {
            let _ = Invitation::parse(invitation);
        }
        let again = serde_json::to_vec(&grant).expect("what was read can be written");
        assert!(serde_json::from_slice::<Grant>(&again).expect("and read again") == grant);
    }
    if let Ok(introduction) = serde_json::from_slice::<Introduction>(data) {
        let _ = Content::decode(introduction.grant.clone());
        let again = serde_json::to_vec(&introduction).expect("what was read can be written");
        assert!(serde_json::from_slice::<Introduction>(&again).expect("and read again") == introduction);
    }
});
