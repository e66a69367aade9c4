//! Golden transcripts: whole sessions as they stand in docs/protocol.md, played against our responder in one piece and
//! one byte at a time.
//!
//! `C: ` and `S: ` are lines, `C| ` and `S| ` are blocks (no line end). `#` begins a comment.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use runepeer::base::ObjectId;
use runepeer::base::limits::WIRE_ANSWER;
use runepeer::base::{ContactId, MacKey, Onion, Timestamp};
use runepeer::engine::session::{
    Answer, BoxHost, Delivery, Deposit, Host, Line, Offer, SendParams, Sender, Server, Ticket,
};
use runepeer::wire::mailbox::{BoxCommand, Count, Entry, Part, Piece};
use runepeer::wire::{Status, Word, verify};

const CERTIFICATE: &[u8] = b"(the certificate, in binary)";

/// Alice's node, as in the vectors: one contact, who has the key of the vectors and for whom she carries; takes
/// what holds `hello`.
struct Alice {
    onion: Onion,
    key: MacKey,
}

impl Host for Alice {
    fn offer(&mut self, _: Timestamp, send: &SendParams) -> Offer {
        let onion = send.to.onion();
        let shown = send.claim.zip(send.auth).is_some_and(|(claim, auth)| verify(&self.key, onion, &claim, &auth));
        let contact = Sender::Contact(ContactId::from_bytes([1; 16]));
        if shown && onion != self.onion && send.onward.is_some() {
            return Offer::Carried { maximum: 28_311_552, sender: contact };
        }
        if onion != self.onion || send.to.local().as_str() != "alice" {
            return Offer::Refused(Status::NotAvailable);
        }
        let (maximum, sender) = if shown { (28_311_552, contact) } else { (32_768, Sender::Stranger) };
        Offer::Ready { maximum, certificate: Arc::from(CERTIFICATE), sender }
    }

    fn deliver(&mut self, _: Timestamp, _: Ticket, delivery: Delivery) -> Option<Status> {
        Some(if delivery.object.starts_with(b"hello") { Status::Roger } else { Status::ContentRefused })
    }
}

/// A box with the mailbox `0101…` in which one object is, and the token `0707…`.
struct Box;

impl Host for Box {
    fn offer(&mut self, _: Timestamp, _: &SendParams) -> Offer {
        Offer::Refused(Status::NotAvailable)
    }

    fn deliver(&mut self, _: Timestamp, _: Ticket, _: Delivery) -> Option<Status> {
        Some(Status::NotAvailable)
    }

    fn as_box(&mut self) -> Option<&mut dyn BoxHost> {
        Some(self)
    }
}

impl BoxHost for Box {
    fn admits(&mut self, _: Timestamp, deposit: &Deposit) -> bool {
        deposit.token == [7; 32]
    }

    fn deposit(&mut self, _: Timestamp, _: Ticket, _: Deposit, object: Vec<u8>) -> Option<Status> {
        Some(if object.starts_with(b"hello") { Status::Roger } else { Status::ContentRefused })
    }

    fn command(&mut self, _: Timestamp, _: Ticket, command: BoxCommand, _: Vec<u8>) -> Option<Answer> {
        let object = ObjectId::from_bytes([15; 16]);
        let said = |number: u64| vec![Word::text(number.to_string())];
        Some(match command {
            BoxCommand::Check { mailbox, .. } => {
                Line::saying(Status::MailboxStatus, &Count { mailbox, unread: 1, total: 1 }).into()
            }
            BoxCommand::List { .. } => {
                let entry = Entry { object, size: 4096, day: 20_783, read: false };
                Answer::lines([Line::saying(Status::ListEntry, &entry)], Line::new(Status::ListEnd, said(1)))
            }
            BoxCommand::Retrieve { part: Part::Range { offset, length: None }, .. } => {
                let bytes = &b"hello (in truth a sealed object)"[offset as usize..];
                let piece = Piece { offset, size: bytes.len() as u64 };
                Line::saying(Status::MessagePart, &piece).with(Arc::from(bytes)).into()
            }
            BoxCommand::Delete { objects, .. } if objects == [object] => Line::new(Status::Deleted, said(1)).into(),
            BoxCommand::Delete { .. } => Status::NoMessage.into(),
            BoxCommand::Watch { .. } => Status::Watching.into(),
            other => panic!("{other:?}"),
        })
    }
}

/// What each side says, in order; consecutive bytes of one side are one turn.
fn turns(script: &str) -> Vec<(char, Vec<u8>)> {
    let mut turns: Vec<(char, Vec<u8>)> = Vec::new();
    for line in script.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (mark, text) = line.split_at_checked(3).expect("a mark and a text");
        let side = mark.chars().next().expect("a side");
        let mut bytes = text.as_bytes().to_vec();
        if mark.ends_with(": ") {
            bytes.push(b'\n');
        }
        match turns.last_mut() {
            Some((last, all)) if *last == side => all.extend(bytes),
            _ => turns.push((side, bytes)),
        }
    }
    turns
}

fn replay(name: &str, script: &str, piece: usize) -> bool {
    let now = Timestamp::from_secs(1_800_000_000);
    let key: [u8; 32] = std::array::from_fn(|index| 0x60 + index as u8);
    let seed = ed25519_dalek::SigningKey::from_bytes(&std::array::from_fn(|index| index as u8));
    let onion = Onion::from_public_key(seed.verifying_key().to_bytes());
    let mut alice = Alice { onion, key: MacKey::from_bytes(key) };
    let (mut responder, host): (_, &mut dyn Host) = match script.contains("CAP=BOX") {
        true => (Server::of_box(now), &mut Box),
        false => (Server::new(now, &runepeer::base::Terms::default()), &mut alice),
    };
    for (side, bytes) in turns(script) {
        if side == 'C' {
            for piece in bytes.chunks(piece) {
                responder.handle(now, piece, &mut *host);
            }
        } else {
            // Some answers are held for a moment.
            responder.handle_timeout(now.plus(WIRE_ANSWER), &mut *host);
            let said = String::from_utf8_lossy(&responder.take_output()).into_owned();
            assert_eq!(said, String::from_utf8_lossy(&bytes), "{name}, in pieces of {piece}");
        }
    }
    assert!(responder.take_output().is_empty(), "{name}: more was said than is written down");
    responder.wants_close()
}

#[test]
fn sessions_run_as_written() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let document = fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/protocol.md")).unwrap();
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let script = fs::read_to_string(&path).unwrap();
        for piece in [usize::MAX, 1, 13] {
            assert!(replay(&name, &script, piece), "{name}: every transcript ends with a closed session");
        }
        assert!(document.contains(script.trim_end()), "docs/protocol.md does not quote {name}");
        names.push(name);
    }
    assert!(names.len() >= 4, "{names:?}");
}
