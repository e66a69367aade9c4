//! A hostile carrier against its client: no panic, every command is answered or failed exactly once, and what it brings is
//! bounded.
#![no_main]

use libfuzzer_sys::fuzz_target;
use runepeer::base::Timestamp;
use runepeer::engine::session::{BoxClient, Service, Ticket};
use runepeer::wire::mailbox::BoxCommand;

const BOUND: u64 = 100;

fuzz_target!(|pieces: Vec<&[u8]>| {
    let now = Timestamp::from_secs(1_800_000_000);
    let mut patron = BoxClient::new(now);
    let mailbox = "01".repeat(32);
    patron.ask(now, Ticket(0), &BoxCommand::Check { mailbox: mailbox.clone(), recursive: true }, b"", BOUND);
    patron.ask(now, Ticket(1), &BoxCommand::Watch { mailbox }, b"", 0);
    patron.deposit(now, Ticket(2), Ticket(3), [7; 32], b"object");
    let mut ended = Vec::new();
    let mut take = |events: Vec<Service>| {
        for event in events {
            match event {
                Service::Answer(ticket, lines) => {
                    let bytes: usize = lines.iter().flat_map(|line| &line.blocks).map(Vec::len).sum();
                    assert!(bytes as u64 <= BOUND * lines.len() as u64);
                    ended.push(ticket);
                }
                Service::Failed(tickets, _) => ended.extend(tickets),
                Service::Arrived(..) => {}
            }
        }
    };
    for piece in pieces {
        patron.handle(now, piece);
        take(patron.take_events());
    }
    patron.disconnected();
    take(patron.take_events());
    assert_eq!(ended, [Ticket(0), Ticket(1), Ticket(2), Ticket(3)]);
});
