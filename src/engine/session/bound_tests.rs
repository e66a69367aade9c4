//! How much a session reads and gives out, to the last octet.

use super::*;
use crate::base::Terms;
use crate::base::limits::{OUTPUT_WAITING, PIPELINED_OBJECT_BYTES, WIRE_SKIPPED_BYTES};
use crate::wire::Word;

/// A host without any addresses.
struct Nobody;

impl Host for Nobody {
    fn offer(&mut self, _: Timestamp, _: &SendParams) -> Offer {
        Offer::Refused(Status::NotAvailable)
    }

    fn deliver(&mut self, _: Timestamp, _: Ticket, _: Delivery) -> Option<Status> {
        unreachable!("nothing was offered")
    }
}

fn start() -> Timestamp {
    Timestamp::from_secs(1_800_000_000)
}

#[test]
fn of_blocks_that_nobody_asked_for_so_many_octets_are_read_past_and_no_more() {
    let pieces = WIRE_SKIPPED_BYTES / PIPELINED_OBJECT_BYTES as u64;
    for (more, ends) in [("QUIT\n", "200 BYE\n"), ("MESSAGE - #1\nx", "TOO LARGE\n")] {
        let mut responder = Server::new(start(), &Terms::default());
        let block = [format!("MESSAGE - #{PIPELINED_OBJECT_BYTES}\n").into_bytes(), vec![0; PIPELINED_OBJECT_BYTES]];
        for _ in 0..pieces {
            responder.handle(start(), &block.concat(), &mut Nobody);
        }
        assert!(!responder.wants_close());
        responder.handle(start(), more.as_bytes(), &mut Nobody);
        let said = String::from_utf8(responder.take_output()).unwrap();
        assert_eq!(said.matches("SEND FIRST\n").count() as u64, pieces, "{said}");
        assert!(said.ends_with(ends) && responder.wants_close(), "{said}");
    }
}

#[test]
fn a_session_of_a_box_is_behind_from_so_many_octets_on_that_its_peer_has_not_taken() {
    let mut responder = Server::of_box(start());
    let greeting = responder.take_output().len();
    // Bytes that were given out count until they are taken; each time the count begins anew.
    for before in [greeting, 0, 0] {
        let line = "261 \n".len();
        let word = Word::text("x".repeat(OUTPUT_WAITING - before - line - 1));
        responder.tell(None, Status::Arrived, vec![word]);
        assert_eq!(responder.take_output().len() + before, OUTPUT_WAITING - 1);
        assert!(!responder.is_behind());
        responder.tell(None, Status::Arrived, Vec::new());
        assert!(!responder.take_output().is_empty() && responder.is_behind());
        responder.caught_up(start(), &mut Nobody);
        assert!(!responder.is_behind());
    }
}
