//! What applying one record costs while readers hold the state of before: with 5,000 contacts, 100 of them with boxes, and
//! 2,000 copies left in those. `cargo bench --bench commit`

#![allow(clippy::print_stdout, reason = "a benchmark talks on stdout")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use runepeer::base::ids::Fingerprint;
use runepeer::base::rng::SeededRng;
use runepeer::base::secret::TokenSeed;
use runepeer::base::{ContactId, Onion, QueueId, Rng, Timestamp};
use runepeer::engine::state::book::{Cards, Contact, ContactChange, ContactStatus, HowMet, Provenance};
use runepeer::engine::state::boxes::LeftCopy;
use runepeer::engine::state::boxes::contacts::ContactBox;
use runepeer::engine::{BookRecord, BoxRecord, CheckpointRecord, MailboxRecord, Record, State};

const CONTACTS: usize = 5_000;
const WITH_BOXES: usize = 100;
const COPIES_EACH: usize = 20;
const SAMPLES: usize = 2_000;

fn main() {
    let mut rng = SeededRng::new(1);
    let rng: &mut dyn Rng = &mut rng;
    let (mut state, contacts, copies) = filled(rng);
    let mut number = 1_000_000;
    let mut measure = |what: &str, record: &mut dyn FnMut(usize) -> Record| {
        let mut times = Vec::new();
        for sample in 0..SAMPLES {
            let record = record(sample);
            // What readers hold since the last commit.
            let published = state.snapshot();
            number += 1;
            let begun = Instant::now();
            state.apply(number, &record);
            times.push(begun.elapsed());
            drop(published);
        }
        times.sort_unstable();
        let median: Duration = times[SAMPLES / 2];
        println!("{what:44} {:8.1} µs", median.as_secs_f64() * 1e6);
    };
    measure("a contact is renamed", &mut |sample| {
        let change = ContactChange::Petname(format!("new name {sample}"));
        Record::Book(BookRecord::ContactChanged { id: contacts[sample], change })
    });
    measure("a contact changes its status", &mut |sample| {
        let change = ContactChange::Status(ContactStatus::Confirmed);
        Record::Book(BookRecord::ContactChanged { id: contacts[sample], change })
    });
    measure("a carrier says that it has a copy", &mut |sample| {
        let (queue, contact, receipt) = copies[sample];
        let held = Some(Timestamp::from_secs(1_800_000_000));
        Record::Boxes(BoxRecord::DepositSettled { contact, queue, receipt, held })
    });
    measure("receipts that nobody is owed are returned", &mut |sample| {
        Record::Boxes(BoxRecord::ReceiptsReturned { contact: contacts[sample], receipts: vec![[1; 32]] })
    });
    measure("a folder that is not there is renamed", &mut |sample| {
        let id = runepeer::base::FolderId::from_bytes([7; 16]);
        Record::Mailbox(MailboxRecord::FolderRenamed { id, name: sample.to_string() })
    });
}

/// The copies: of which message, for whom, and what is returned for it.
type Copies = Vec<(QueueId, ContactId, [u8; 32])>;

fn filled(rng: &mut dyn Rng) -> (State, Vec<ContactId>, Copies) {
    let (mut state, mut contacts, mut copies) = (State::default(), Vec::new(), Vec::new());
    let mut numbers = 1..;
    let mut apply = |record: Record| drop(state.apply(numbers.next().unwrap(), &record));
    for number in 0..CONTACTS {
        let id = ContactId::random(rng);
        contacts.push(id);
        let onion = Onion::from_public_key(octets(rng));
        let contact = Contact {
            id,
            petname: format!("contact {number}"),
            address: format!("bob@{onion}").parse().unwrap(),
            fingerprint: Fingerprint::from_bytes(octets(rng)),
            certificate: Some(vec![7; 600].into()),
            binding_epoch: 1,
            status: ContactStatus::Confirmed,
            provenance: vec![Provenance { how: HowMet::Unasked, at: Timestamp::from_secs(1_800_000_000) }],
            inbound: Vec::new(),
            outbound: None,
            cards: Cards::default(),
        };
        apply(Record::Book(BookRecord::ContactAdded { contact: Box::new(contact) }));
        if number >= WITH_BOXES {
            continue;
        }
        let named = ContactBox {
            onion,
            carrier: Fingerprint::from_bytes(octets(rng)),
            seed: TokenSeed::random(rng),
            classes: BTreeMap::from([(1, 64), (2, 32), (3, 16)]),
            every: 14,
        };
        apply(Record::Checkpoint(CheckpointRecord::BoxesKept { contact: id, boxes: vec![named], used: Vec::new() }));
        for _ in 0..COPIES_EACH {
            let (queue, receipt) = (QueueId::random(rng), octets(rng));
            copies.push((queue, id, receipt));
            let left = vec![LeftCopy { onion, receipt, held: None }];
            apply(Record::Checkpoint(CheckpointRecord::CopiesKept { queue, contact: id, copies: left }));
        }
    }
    (state, contacts, copies)
}

fn octets(rng: &mut dyn Rng) -> [u8; 32] {
    let mut octets = [0; 32];
    rng.fill(&mut octets);
    octets
}
