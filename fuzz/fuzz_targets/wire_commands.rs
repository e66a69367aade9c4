//! Bytes of a client: read without a panic, the same in one piece and in two, and what was read reads the same
//! when written again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use runepeer::wire::mailbox::BoxCommand;
use runepeer::wire::{Command, Decoder, Item, Side};

fn read(decoder: &mut Decoder, items: &mut Vec<Item>) -> bool {
    while let Ok(Some(item)) = decoder.next_item() {
        items.push(item);
        if decoder.take_blocks(1000).is_err() {
            return false;
        }
    }
    decoder.next_item().is_ok()
}

fuzz_target!(|input: (u16, &[u8])| {
    let (cut, bytes) = input;
    let (first, second) = bytes.split_at(usize::from(cut).min(bytes.len()));
    let (mut whole, mut pieces) = (Vec::new(), Vec::new());
    let mut decoder = Decoder::new(Side::Commands);
    decoder.push(bytes);
    let whole_is_good = read(&mut decoder, &mut whole);
    let mut decoder = Decoder::new(Side::Commands);
    decoder.push(first);
    let mut good = read(&mut decoder, &mut pieces);
    if good {
        decoder.push(second);
        good = read(&mut decoder, &mut pieces);
    }
    assert_eq!((whole_is_good, &whole), (good, &pieces));
    for item in whole {
        let Item::Line(words) = item else { continue };
        let tagged = Command::decode(words);
        if let Ok(Command::Unsupported { keyword, parameters }) = &tagged.body
            && let Some(Ok(command)) = BoxCommand::decode(*keyword, parameters)
        {
            assert_eq!(BoxCommand::from_line(command.encode(None).trim_end_matches('\n')), Some(command));
        }
        if let Ok(command) = tagged.body {
            let line = command.encode(tagged.id.as_ref());
            let mut decoder = Decoder::new(Side::Commands);
            decoder.push(line.as_bytes());
            if let Ok(Some(Item::Line(words))) = decoder.next_item() {
                assert_eq!(Command::decode(words).body, Ok(command));
            }
        }
    }
});
