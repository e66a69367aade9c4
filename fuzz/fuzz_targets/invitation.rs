//! Invitations: any text, and a real one with characters replaced, is read or refused; what is read is written the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use runepeer::base::Onion;
use runepeer::base::ids::Fingerprint;
use runepeer::mail::{Address, Invitation, LocalPart};

fuzz_target!(|input: (bool, Option<[u8; 16]>, &str)| {
    let (any, secret, text) = input;
    if any {
        read(text);
        return;
    }
    let address = Address::new(LocalPart::new("alice").expect("a name"), Onion::from_public_key([7; 32]));
    let real = Invitation { address, fingerprint: Fingerprint::from_bytes([8; 32]), secret, expires: None, carriers: Vec::new() };
    let written = real.encode();
    assert_eq!(Invitation::parse(&written).as_ref(), Ok(&real));
    let place = text.len() % written.len();
    let altered: String =
        written.chars().take(place).chain(text.chars()).chain(written.chars().skip(place + text.len())).collect();
    read(&altered);
});

fn read(text: &str) {
    if let Ok(invitation) = Invitation::parse(text) {
        let again = Invitation::parse(&invitation.encode()).expect("what was read can be written");
        assert_eq!(again, invitation);
    }
}
