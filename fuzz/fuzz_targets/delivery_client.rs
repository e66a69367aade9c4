//! A hostile server against our initiator: no panic, and every job ends exactly once.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use runepeer::base::{MacKey, Onion, Timestamp};
use runepeer::engine::session::{Event, DeliveryClient, Job, Ticket, Way};
use runepeer::wire::Importance;

fuzz_target!(|pieces: Vec<&[u8]>| {
    let now = Timestamp::from_secs(1_800_000_000);
    let mut initiator = DeliveryClient::new(now);
    for number in 0..3_u64 {
        let job = Job {
            to: format!("bob@{}", Onion::from_public_key([9; 32])).parse().expect("an address"),
            certificate: (number > 0).then_some([number as u8; 32]),
            object: (number > 1).then(|| Arc::from(&b"object"[..])),
            auth: Some(MacKey::from_bytes([1; 32])),
            importance: Importance::Normal,
            way: [Way::Direct, Way::Carrying(None), Way::Carried(None)][number as usize].clone(),
        };
        initiator.send(now, Ticket(number), job);
    }
    let mut ended = Vec::new();
    for piece in pieces.into_iter().chain([&b""[..]]) {
        initiator.handle(now, piece);
        for event in initiator.take_events() {
            match event {
                Event::Certificate { ticket, wanted: true, .. } | Event::Wanted { ticket } => {
                    initiator.provide(now, ticket, Arc::from(&b"object"[..]), None);
                }
                Event::Certificate { .. } => {}
                Event::Outcome { ticket, .. } => ended.push(ticket),
                Event::Failed { unresolved, .. } => ended.extend(unresolved),
            }
        }
    }
    initiator.disconnected();
    for event in initiator.take_events() {
        match event {
            Event::Outcome { ticket, .. } => ended.push(ticket),
            Event::Failed { unresolved, .. } => ended.extend(unresolved),
            _ => {}
        }
    }
    ended.sort_unstable();
    assert_eq!(ended, [Ticket(0), Ticket(1), Ticket(2)]);
});
