//! Bytes of a server: read without a panic; a reply reads the same when written again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use runepeer::wire::{Decoder, Item, Ready, ServerLine, Side};

fuzz_target!(|bytes: &[u8]| {
    let mut decoder = Decoder::new(Side::Replies);
    decoder.push(bytes);
    while let Ok(Some(item)) = decoder.next_item() {
        if decoder.skip_blocks(1000).is_err() {
            return;
        }
        let Item::Line(words) = item else { continue };
        let Ok(ServerLine::Reply(reply)) = ServerLine::decode(words) else { continue };
        let _ = Ready::from_words(&reply.words);
        let mut again = Decoder::new(Side::Replies);
        again.push(reply.encode().as_bytes());
        if let Ok(Some(Item::Line(words))) = again.next_item() {
            assert_eq!(ServerLine::decode(words), Ok(ServerLine::Reply(reply)));
        }
    }
});
