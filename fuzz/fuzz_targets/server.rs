//! A hostile client against our responder: no panic, bounded output, and every delivery was offered first.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use runepeer::base::Timestamp;
use runepeer::engine::session::{Delivery, Host, Offer, Server, SendParams, Sender, Ticket};
use runepeer::wire::Status;

#[derive(Default)]
struct Fuzzed {
    offers: usize,
    waiting: Vec<Ticket>,
}

impl Host for Fuzzed {
    fn offer(&mut self, _: Timestamp, _: &SendParams) -> Offer {
        self.offers += 1;
        Offer::Ready { maximum: 100, certificate: Arc::from(&b"certificate"[..]), sender: Sender::Stranger }
    }

    fn deliver(&mut self, _: Timestamp, ticket: Ticket, delivery: Delivery) -> Option<Status> {
        assert!(self.offers > 0 && delivery.object.len() <= 100);
        self.waiting.push(ticket);
        None
    }
}

fuzz_target!(|pieces: Vec<&[u8]>| {
    let now = Timestamp::from_secs(1_800_000_000);
    let (mut host, mut responder) = (Fuzzed::default(), Server::new(now, &runepeer::base::Terms::default()));
    let mut output = 0;
    for piece in pieces {
        responder.handle(now, piece, &mut host);
        output += responder.take_output().len();
        if let Some(ticket) = host.waiting.pop() {
            responder.settle(now, ticket, Status::Roger, &mut host);
        }
    }
    assert!(output < 16 << 20);
    // The first ones may be those of answers that are held.
    while let Some(deadline) = responder.poll_timeout() {
        responder.handle_timeout(deadline, &mut host);
    }
    assert!(responder.wants_close());
});
