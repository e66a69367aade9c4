//! Peers that send any bytes at all: no panic, no unbounded memory, no forgotten delivery.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::base::{MacKey, Onion, Terms};

fn start() -> Timestamp {
    Timestamp::from_secs(1_800_000_000)
}

fn bob() -> Address {
    format!("bob@{}", Onion::from_public_key([9; 32])).parse().unwrap()
}

/// Bytes made of the pieces that sessions are made of, in any order, with garbage between.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let digest = |byte: u8| format!("201 100 {} -\n", format!("{byte:02x}").repeat(32));
    let pieces: Vec<Vec<u8>> = [
        format!("SEND {}", bob()),
        format!("SEND {}\n", bob()),
        digest(2),
        digest(3),
        "MESSAGE - #3\nabc".into(),
        "MESSAGE - #0\n".into(),
        "HOWDY RUNE/1 MAX=100\n".into(),
        "201 100 #3 -\nabc".into(),
        "201 100 #1 #2\nabc".into(),
    ]
    .into_iter()
    .chain(
        ["AS 1 ", "QUIT\n", ";", "\n", "1: ", "2: ", "3: ", "202 ROGER\n", "420 X\n", " #2\nab", " A=\"b\"", "WATCH "]
            .map(Into::into),
    )
    .map(String::into_bytes)
    .collect();
    let piece = prop_oneof![8 => prop::sample::select(pieces), 1 => prop::collection::vec(any::<u8>(), 0..6)];
    prop::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

#[derive(Default)]
struct Fake {
    offers: usize,
    delivered: usize,
    waiting: Vec<Ticket>,
}

impl Host for Fake {
    fn offer(&mut self, _: Timestamp, _: &SendParams) -> Offer {
        self.offers += 1;
        Offer::Ready { maximum: 100, certificate: Arc::from(&b"certificate"[..]), sender: Sender::Stranger }
    }

    fn deliver(&mut self, _: Timestamp, ticket: Ticket, delivery: Delivery) -> Option<Status> {
        self.delivered += 1;
        assert!(self.delivered <= self.offers && delivery.object.len() <= 100);
        self.waiting.push(ticket);
        None
    }
}

fn job(number: u64) -> Job {
    Job {
        to: bob(),
        certificate: (number > 1).then_some([number as u8; 32]),
        object: (number > 2).then(|| Arc::from(&b"object"[..])),
        auth: Some(MacKey::from_bytes([1; 32])),
        importance: Importance::Normal,
        way: [Way::Direct, Way::Direct, Way::Carrying(None), Way::Carried(None)][(number % 4) as usize].clone(),
    }
}

/// Does what the events of the client ask for, and returns the jobs that ended.
fn follow(initiator: &mut DeliveryClient) -> Vec<Ticket> {
    let mut ended = Vec::new();
    for event in initiator.take_events() {
        match event {
            Event::Certificate { ticket, wanted: true, .. } | Event::Wanted { ticket } => {
                initiator.provide(start(), ticket, Arc::from(&b"object"[..]), None);
            }
            Event::Certificate { .. } => {}
            Event::Outcome { ticket, .. } => ended.push(ticket),
            Event::Failed { unresolved, .. } => ended.extend(unresolved),
        }
    }
    ended
}

proptest! {
    #[test]
    fn a_hostile_client_gets_nothing_stored_that_was_not_offered(pieces in prop::collection::vec(bytes(), 0..5)) {
        let (mut host, mut responder) = (Fake::default(), Server::new(start(), &Terms::default()));
        let (mut sent, mut received) = (0, 0);
        for piece in pieces {
            sent += piece.len();
            responder.handle(start(), &piece, &mut host);
            received += responder.take_output().len();
            if let Some(ticket) = host.waiting.pop() {
                responder.settle(start(), ticket, Status::Roger, &mut host);
            }
        }
        prop_assert!(received < 40 * (sent + 10), "{received} octets for {sent}");
        // The first deadlines may be those of answers that are held.
        while let Some(deadline) = responder.poll_timeout() {
            responder.handle_timeout(deadline, &mut host);
        }
        prop_assert!(responder.wants_close());
    }

    #[test]
    fn a_hostile_server_leaves_no_job_without_its_one_end(pieces in prop::collection::vec(bytes(), 0..5)) {
        let mut initiator = DeliveryClient::new(start());
        for number in 1..=6 {
            initiator.send(start(), Ticket(number), job(number));
        }
        let mut ended = Vec::new();
        for piece in pieces {
            initiator.handle(start(), &piece);
            ended.extend(follow(&mut initiator));
        }
        initiator.disconnected();
        ended.extend(follow(&mut initiator));
        ended.sort_unstable();
        prop_assert_eq!(ended, (1..=6).map(Ticket).collect::<Vec<_>>());
    }
}
