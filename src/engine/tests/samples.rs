//! Records for tests: any kind, from a seed, with ids from a small space so that records meet each other.

mod introductions;
mod revocations;
mod seal_keys;

use std::sync::Arc;

use crate::base::ids::Fingerprint;
use crate::base::rng::Rng;
use crate::base::{
    BodyId, BoxId, ContactId, ContentId, FolderId, InvitationId, MacKey, Onion, OnionSeed, QueueId, Timestamp,
    TokenSeed,
};
use crate::mail::{Address, Binding, LocalPart, Receipt};

use crate::engine::state::book::{
    Acquaintance, Cards, Contact, ContactChange, ContactStatus, HowMet, InvitationEntry, PendingCard, Provenance,
    Renewal,
};
use crate::engine::state::boxes::contacts::{ContactBox, TokenIndex};
use crate::engine::state::boxes::own::{BoxChange, OwnBox, Seat, Stage};
use crate::engine::state::boxes::{LeftCopy, ReceiptPolicy};
use crate::engine::state::forwarding::{Fate, Forwarded, Handed, ObjectHash};
use crate::engine::state::mailbox::{FlagChange, Flags, FolderRole, KeptFolder, Message, NamedFlags, NewMessage};
use crate::engine::state::profile::{Profile, PublicProfile, SecretBytes};
use crate::engine::state::queue::{
    Addressee, Endpoint, FailureReason, Notify, Options, Progress, Queue, Queued, RecipientOptions, Submitted,
};
use crate::engine::state::record::{
    BookRecord, BoxRecord, CheckpointRecord, ContentKey, Evidence, ForwardingRecord, IdentityRecord, MailboxRecord,
    PeopleRecord, QueueRecord, ReceivedRecord, Record,
};

/// How many kinds [`record`] makes.
pub(in crate::engine) const KINDS: u64 = CHANGES + 18;
/// How many of them are changes; the others are found only in checkpoints.
pub(in crate::engine) const CHANGES: u64 = 77;

fn id(rng: &mut dyn Rng) -> [u8; 16] {
    [rng.below(4) as u8 + 1; 16]
}

fn address(rng: &mut dyn Rng) -> Address {
    let onion = Onion::from_public_key([rng.below(4) as u8; 32]);
    Address::new(LocalPart::new(["alice", "bob"][rng.below(2) as usize]).unwrap(), onion)
}

fn time(rng: &mut dyn Rng) -> Timestamp {
    Timestamp::from_secs(1_800_000_000 + rng.below(90) as i64 * 86_400)
}

fn key(rng: &mut dyn Rng) -> MacKey {
    MacKey::from_bytes([rng.below(4) as u8; 32])
}

fn card(rng: &mut dyn Rng) -> PendingCard {
    let secret = (rng.below(2) == 0).then(|| id(rng));
    PendingCard { content: ContentId::from_bytes(id(rng)), expires: time(rng), counter: rng.below(5), secret }
}

fn provenance(rng: &mut dyn Rng) -> Provenance {
    let how = match rng.below(3) {
        0 => HowMet::InvitationUsed,
        1 => HowMet::InvitationMade(InvitationId::from_bytes(id(rng))),
        _ => HowMet::Unasked,
    };
    Provenance { how, at: time(rng) }
}

fn status(rng: &mut dyn Rng) -> ContactStatus {
    use ContactStatus::{Blocked, Confirmed, Greeting, Request};
    [Greeting, Confirmed, Request, Blocked][rng.below(4) as usize]
}

fn contact(rng: &mut dyn Rng) -> Contact {
    Contact {
        id: ContactId::from_bytes(id(rng)),
        petname: ["Ann", "ann", "Bärbel", "Carol"][rng.below(4) as usize].to_owned(),
        address: address(rng),
        fingerprint: Fingerprint::from_bytes([rng.below(4) as u8; 32]),
        certificate: (rng.below(2) == 0).then(|| Arc::from([1_u8, 2, 3])),
        binding_epoch: rng.below(3) as u32,
        status: status(rng),
        provenance: vec![provenance(rng)],
        inbound: vec![key(rng)],
        outbound: (rng.below(2) == 0).then(|| key(rng)),
        cards: Cards { sent: rng.below(5), seen: rng.below(5), pending: (rng.below(2) == 0).then(|| card(rng)) },
    }
}

/// A confirmed contact with this number and name, of which only the address is known.
pub(in crate::engine) fn known(number: u16, petname: &str) -> Contact {
    let mut bytes = [0; 32];
    bytes[..2].copy_from_slice(&number.to_be_bytes());
    Contact {
        id: ContactId::from_bytes(*bytes.first_chunk().unwrap()),
        petname: petname.to_owned(),
        address: format!("somebody@{}", Onion::from_public_key(bytes)).parse().unwrap(),
        fingerprint: Fingerprint::from_bytes(bytes),
        certificate: None,
        binding_epoch: 1,
        status: ContactStatus::Confirmed,
        provenance: Vec::new(),
        inbound: Vec::new(),
        outbound: None,
        cards: Cards::default(),
    }
}

fn change(rng: &mut dyn Rng) -> ContactChange {
    match rng.below(7) {
        0 => ContactChange::Certificate(Arc::from([9_u8; 40])),
        1 => ContactChange::CardQueued(card(rng)),
        2 => ContactChange::CardSettled(ContentId::from_bytes(id(rng))),
        3 => ContactChange::KeySettled,
        4 => ContactChange::Status(status(rng)),
        5 => ContactChange::Greeted(card(rng), Some(key(rng)), provenance(rng)),
        _ => ContactChange::Petname(["Ann", "Dora"][rng.below(2) as usize].to_owned()),
    }
}

fn acquaintance(rng: &mut dyn Rng) -> Acquaintance {
    if rng.below(2) == 0 {
        return Acquaintance::New(Box::new(contact(rng)));
    }
    Acquaintance::Known(Box::new(Renewal {
        contact: ContactId::from_bytes(id(rng)),
        certificate: Arc::from([7_u8; 9]),
        binding_epoch: rng.below(3) as u32,
        counter: rng.below(9),
        outbound: key(rng),
        confirm: rng.below(2) == 0,
        inbound: (rng.below(2) == 0).then(|| key(rng)),
        reply: (rng.below(2) == 0).then(|| card(rng)),
        provenance: (rng.below(2) == 0).then(|| provenance(rng)),
    }))
}

fn seen(rng: &mut dyn Rng) -> ContentKey {
    ContentKey {
        content: ContentId::from_bytes(id(rng)),
        author: Fingerprint::from_bytes([rng.below(2) as u8; 32]),
        payload: [rng.below(2) as u8; 32],
        received: time(rng),
        expires: time(rng),
    }
}

fn flags(rng: &mut dyn Rng) -> NamedFlags {
    let keywords = (0..rng.below(3)).map(|_| format!("k{}", rng.below(70))).collect();
    NamedFlags { keywords, ..NamedFlags::system(Flags(rng.below(32))) }
}

fn message(rng: &mut dyn Rng) -> NewMessage {
    NewMessage {
        uid: rng.below(40) as u32,
        flags: flags(rng),
        date: time(rng),
        body: BodyId::from_bytes(id(rng)),
        size: rng.below(1 << 32) as u32,
        content: (rng.below(2) == 0).then(|| ContentId::from_bytes(id(rng))),
    }
}

fn uids(rng: &mut dyn Rng) -> Vec<u32> {
    (0..rng.below(4)).map(|_| rng.below(40) as u32).collect()
}

fn profile(rng: &mut dyn Rng) -> Profile {
    Profile {
        public: Arc::new(PublicProfile {
            name: "alice".to_owned(),
            address: address(rng),
            fingerprint: Fingerprint::from_bytes([3; 32]),
            certificate: Arc::from([1_u8, 2]),
            binding: Binding { epoch: 1, onion_signature: vec![4; 64], key_signature: vec![5; 9] },
            created: time(rng),
        }),
        onion_seed: OnionSeed::from_bytes([6; 32]),
        secret_keys: SecretBytes::new(vec![7; 11]),
        certificate_revocation: vec![8],
        onion_revocation: vec![9],
    }
}

fn options(rng: &mut dyn Rng) -> Options {
    let notify = Notify { success: rng.below(2) == 0, failure: true, delay: false };
    let recipient = RecipientOptions { notify, original: Some("rfc822;x@y".to_owned()) };
    Options {
        envelope: (rng.below(2) == 0).then(|| "QQ314159".to_owned()),
        full: rng.below(2) == 0,
        recipients: [(ContactId::from_bytes(id(rng)), recipient)].into(),
    }
}

fn queues(rng: &mut dyn Rng) -> Vec<QueueId> {
    (0..rng.below(3)).map(|_| QueueId::from_bytes(id(rng))).collect()
}

fn submitted(rng: &mut dyn Rng) -> Submitted {
    let recipient = |rng: &mut dyn Rng| Addressee { address: address(rng), progress: Progress::Queued };
    Submitted {
        id: QueueId::from_bytes(id(rng)),
        content: ContentId::from_bytes(id(rng)),
        body: BodyId::from_bytes(id(rng)),
        size: 77,
        submitted: time(rng),
        expires: time(rng),
        recipients: (0..rng.below(3)).map(|_| (ContactId::from_bytes(id(rng)), recipient(rng))).collect(),
        headers: b"Subject: s\r\n".to_vec(),
    }
}

fn invitation(rng: &mut dyn Rng) -> InvitationEntry {
    let secret = (rng.below(2) == 0).then(|| id(rng));
    let id = InvitationId::from_bytes(id(rng));
    InvitationEntry { id, secret, made: time(rng), expires: time(rng), used: None }
}

fn kept_folder(rng: &mut dyn Rng) -> KeptFolder {
    KeptFolder {
        id: FolderId::from_bytes(id(rng)),
        name: format!("f{}", rng.below(5)),
        role: [None, Some(FolderRole::Outbox)][rng.below(2) as usize],
        uid_validity: rng.below(9) as u32,
        uid_next: 1 + rng.below(40) as u32,
        subscribed: rng.below(2) == 0,
        highest_modseq: rng.below(9),
        keywords: vec!["k1".to_owned()],
    }
}

fn kept_message(rng: &mut dyn Rng) -> Message {
    Message {
        uid: 1 + rng.below(40) as u32,
        modseq: rng.below(9),
        flags: Flags(rng.below(32)),
        date: time(rng),
        body: BodyId::from_bytes(id(rng)),
        size: rng.below(1 << 32) as u32,
        content: None,
    }
}

fn kept_queued(rng: &mut dyn Rng) -> Queued {
    let mut queue = Queue::default();
    let mut submitted = submitted(rng);
    let addressee = Addressee { address: address(rng), progress: Progress::Queued };
    submitted.recipients.insert(ContactId::from_bytes(id(rng)), addressee);
    queue.submit(&submitted);
    queue.get(submitted.id).unwrap().as_ref().clone()
}

fn onion(rng: &mut dyn Rng) -> Onion {
    Onion::from_public_key([rng.below(3) as u8; 32])
}

fn receipt(rng: &mut dyn Rng) -> Receipt {
    [rng.below(4) as u8; 32]
}

fn place(rng: &mut dyn Rng) -> TokenIndex {
    TokenIndex { epoch: 20_000 + 7 * rng.below(3) as u32, class: 12, number: rng.below(4) as u32 }
}

fn named(rng: &mut dyn Rng) -> Vec<ContactBox> {
    let named = |rng: &mut dyn Rng| ContactBox {
        onion: onion(rng),
        carrier: Fingerprint::from_bytes([rng.below(4) as u8; 32]),
        seed: TokenSeed::from_bytes([rng.below(3) as u8; 32]),
        classes: [(12, 2)].into(),
        every: 7,
    };
    (0..rng.below(3)).map(|_| named(rng)).collect()
}

fn own_box(rng: &mut dyn Rng) -> OwnBox {
    let seat = |contact| Seat { seed: TokenSeed::from_bytes([7; 32]), contact };
    OwnBox {
        id: BoxId::from_bytes(id(rng)),
        name: ["bob", "dora"][rng.below(2) as usize].to_owned(),
        onion: onion(rng),
        carrier: Fingerprint::from_bytes([rng.below(4) as u8; 32]),
        invitation: (rng.below(2) == 0).then(|| id(rng)),
        keys: SecretBytes::new(vec![7; 11]),
        certificate: Arc::from([1_u8, 2]),
        fingerprint: Fingerprint::from_bytes([9; 32]),
        seats: vec![seat(None), seat(Some(ContactId::from_bytes(id(rng))))],
        stage: [Stage::Registering, Stage::Open, Stage::Leaving][rng.below(3) as usize],
        uploaded: rng.below(3) as u32,
        since: time(rng),
    }
}

fn box_change(rng: &mut dyn Rng) -> BoxChange {
    match rng.below(4) {
        0 => BoxChange::Registered,
        1 => BoxChange::Uploaded(rng.below(5) as u32),
        2 => BoxChange::Seated(ContactId::from_bytes(id(rng))),
        _ => BoxChange::Leaving,
    }
}

fn object(rng: &mut dyn Rng) -> ObjectHash {
    [rng.below(3) as u8; 32]
}

fn fate(rng: &mut dyn Rng) -> Fate {
    [Fate::Delivered, Fate::Refused, Fate::Expired][rng.below(3) as usize]
}

fn load(rng: &mut dyn Rng) -> Forwarded {
    Forwarded {
        contact: ContactId::from_bytes(id(rng)),
        object: object(rng),
        to: address(rng),
        body: BodyId::from_bytes(id(rng)),
        size: 4096,
        certificate: (rng.below(2) == 0).then_some([5; 32]),
        onward: (rng.below(2) == 0).then_some([6; 32]),
        important: rng.below(2) == 0,
        until: time(rng),
    }
}

fn handed(rng: &mut dyn Rng) -> Handed {
    Handed {
        friend: ContactId::from_bytes(id(rng)),
        queue: QueueId::from_bytes(id(rng)),
        contact: ContactId::from_bytes(id(rng)),
        receipt: receipt(rng),
        fate: (rng.below(4) == 0).then(|| fate(rng)),
    }
}

/// A record of this kind (below [`KINDS`]).
pub(in crate::engine) fn record(kind: u64, rng: &mut dyn Rng) -> Record {
    let ids = Ids {
        folder: FolderId::from_bytes(id(rng)),
        queue: QueueId::from_bytes(id(rng)),
        who: ContactId::from_bytes(id(rng)),
    };
    match kind {
        0..=9 => of_mailbox(kind, ids, rng),
        10..=16 => of_people(kind, ids, rng),
        17..=28 => of_queue(kind, ids, rng),
        29..=43 => of_boxes(kind, ids, rng),
        44..=50 => of_forwarding(kind, ids, rng),
        51 => labelled(rng),
        52 => {
            let at = (rng.below(4) > 0).then(|| time(rng));
            Record::People(PeopleRecord::VerificationMarked { contact: ids.who, at })
        }
        53..=63 => introductions::change(kind - 53, rng),
        64..=67 => told(kind, ids, rng),
        68 => seal_keys::renewed(rng),
        69 => seal_keys::destroyed(rng),
        70..=72 => seal_keys::of_objects(kind - 70, rng),
        73 => Record::Identity(IdentityRecord::IdentityRenamed {
            name: ["work", "home"][rng.below(2) as usize].to_owned(),
        }),
        74 => revocations::own(rng),
        75 => revocations::taken(rng),
        76 => seal_keys::found(rng),
        _ => of_checkpoint(kind - CHANGES, ids, rng),
    }
}

/// The ids that a record is about.
#[derive(Clone, Copy)]
struct Ids {
    folder: FolderId,
    queue: QueueId,
    who: ContactId,
}

fn of_mailbox(kind: u64, ids: Ids, rng: &mut dyn Rng) -> Record {
    let Ids { folder, who, .. } = ids;
    let name = || "Work/Ä".to_owned();
    match kind {
        0 => Record::Identity(IdentityRecord::IdentityCreated { profile: Box::new(profile(rng)) }),
        1 => {
            let role = [None, Some(FolderRole::Inbox), Some(FolderRole::Requests)][rng.below(3) as usize];
            Record::Mailbox(MailboxRecord::FolderCreated {
                id: folder,
                name: format!("f{}", rng.below(5)),
                role,
                uid_validity: rng.below(9) as u32,
            })
        }
        2 => Record::Mailbox(MailboxRecord::FolderRenamed { id: folder, name: name() }),
        3 => Record::Mailbox(MailboxRecord::FolderDeleted { id: folder }),
        4 => Record::Mailbox(MailboxRecord::FolderSubscribed { id: folder, subscribed: rng.below(2) == 0 }),
        5 => Record::Mailbox(MailboxRecord::MessageAdded { folder, message: message(rng) }),
        6 => {
            let evidence = Some(Evidence { header: "RUNE-CONTENT".to_owned(), signature: vec![1, 2] });
            Record::Received(ReceivedRecord::Delivered {
                folder,
                message: message(rng),
                contact: who,
                seen: seen(rng),
                evidence,
            })
        }
        7 => {
            let change = [FlagChange::Replace, FlagChange::Add, FlagChange::Remove][rng.below(3) as usize];
            Record::Mailbox(MailboxRecord::FlagsChanged { folder, uids: uids(rng), change, flags: flags(rng) })
        }
        8 => Record::Mailbox(MailboxRecord::Expunged { folder, uids: uids(rng) }),
        _ => {
            let pairs = uids(rng).into_iter().zip(uids(rng)).collect();
            Record::Mailbox(MailboxRecord::Transferred {
                from: folder,
                to: FolderId::from_bytes(id(rng)),
                pairs,
                keep: rng.below(2) == 0,
            })
        }
    }
}

fn of_people(kind: u64, ids: Ids, rng: &mut dyn Rng) -> Record {
    let Ids { folder, who, .. } = ids;
    match kind {
        10 => Record::Book(BookRecord::ContactAdded { contact: Box::new(contact(rng)) }),
        11 => Record::Book(BookRecord::ContactChanged { id: who, change: change(rng) }),
        12 => Record::Book(BookRecord::ContactRemoved { id: who }),
        13 => Record::Received(ReceivedRecord::CardAccepted {
            seen: seen(rng),
            invitation: (rng.below(2) == 0).then(|| InvitationId::from_bytes(id(rng))),
            acquaintance: acquaintance(rng),
            notice: (rng.below(2) == 0).then(|| (folder, message(rng))),
        }),
        14 => Record::Received(ReceivedRecord::Discarded { seen: seen(rng) }),
        15 => Record::Book(BookRecord::InvitationMade { invitation: invitation(rng) }),
        _ => Record::Book(BookRecord::InvitationRevoked { id: InvitationId::from_bytes(id(rng)) }),
    }
}

fn told(kind: u64, ids: Ids, rng: &mut dyn Rng) -> Record {
    let Ids { folder, who, .. } = ids;
    Record::People(match kind {
        64 => {
            let notice = BodyId::from_bytes(id(rng));
            PeopleRecord::WaitingTold { at: time(rng), notice, folder, message: message(rng) }
        }
        65 => PeopleRecord::ChangeTold { contact: who, at: time(rng), folder, message: message(rng) },
        66 => PeopleRecord::ContactReplaced { old: who, new: ContactId::from_bytes(id(rng)), messages: queues(rng) },
        _ => PeopleRecord::KnocksSwitched { contact: (rng.below(3) > 0).then_some(who), on: rng.below(2) == 0 },
    })
}

fn labelled(rng: &mut dyn Rng) -> Record {
    let (id, label) = (InvitationId::from_bytes(id(rng)), ["bob", "Zo\u{eb}"][rng.below(2) as usize].to_owned());
    Record::Book(BookRecord::InvitationLabelled { id, label })
}

fn of_queue(kind: u64, ids: Ids, rng: &mut dyn Rng) -> Record {
    let Ids { queue, who, .. } = ids;
    let name = || "Work/Ä".to_owned();
    match kind {
        17 => Record::Queue(QueueRecord::Submitted { queued: Box::new(submitted(rng)) }),
        18 => Record::Queue(QueueRecord::RecipientDelivered { queue, contact: who, at: time(rng) }),
        19 => Record::Queue(QueueRecord::RecipientFailed {
            queue,
            contact: who,
            at: time(rng),
            reason: FailureReason::Unconfirmed,
        }),
        20 => Record::Queue(QueueRecord::SubmissionCancelled { queue }),
        21 => Record::Identity(IdentityRecord::PasswordAdded {
            name: name(),
            hash: "$argon2id$".to_owned(),
            created: time(rng),
        }),
        22 => Record::Identity(IdentityRecord::PasswordRevoked { name: name() }),
        23 => Record::Queue(QueueRecord::SubmissionOptions { queue, options: Box::new(options(rng)) }),
        24 => Record::Queue(QueueRecord::ShownInOutbox { queues: queues(rng), message: message(rng) }),
        25 => Record::Queue(QueueRecord::Sent { contact: who, endpoint: Endpoint::Onion, queues: queues(rng) }),
        26 => Record::Queue(QueueRecord::NotSent { contact: who, endpoint: Endpoint::Onion, queues: queues(rng) }),
        27 => Record::Queue(QueueRecord::DelayReported { queue }),
        _ => Record::Identity(IdentityRecord::Restored { made: time(rng), at: time(rng) }),
    }
}

fn of_boxes(kind: u64, ids: Ids, rng: &mut dyn Rng) -> Record {
    let Ids { queue, who, .. } = ids;
    match kind {
        29 => Record::Boxes(BoxRecord::BoxRented { own_box: Box::new(own_box(rng)) }),
        30 => Record::Boxes(BoxRecord::BoxChanged { id: BoxId::from_bytes(id(rng)), change: box_change(rng) }),
        31 => Record::Boxes(BoxRecord::BoxRemoved { id: BoxId::from_bytes(id(rng)) }),
        32 => Record::Boxes(BoxRecord::BoxesNamed { contact: who, counter: rng.below(9), boxes: named(rng) }),
        33 => {
            let queue = (rng.below(4) > 0).then_some(queue);
            Record::Boxes(BoxRecord::Deposited {
                contact: who,
                queue,
                onion: onion(rng),
                place: place(rng),
                receipt: receipt(rng),
            })
        }
        34 => {
            let held = (rng.below(2) == 0).then(|| time(rng));
            Record::Boxes(BoxRecord::DepositSettled { contact: who, queue, receipt: receipt(rng), held })
        }
        35 => Record::Boxes(BoxRecord::ReceiptsDue { contact: who, receipts: vec![receipt(rng)] }),
        36 => Record::Boxes(BoxRecord::ReceiptsReturned { contact: who, receipts: vec![receipt(rng)] }),
        37 => Record::Boxes(BoxRecord::PagesNamed { contact: who, carriers: vec![onion(rng)] }),
        38 => Record::Queue(QueueRecord::RecipientHandedOver { queue, contact: who, at: time(rng) }),
        39 => {
            let told = [ReceiptPolicy::Nothing, ReceiptPolicy::Delivered, ReceiptPolicy::Read][rng.below(3) as usize];
            Record::Boxes(BoxRecord::ReceiptsSwitched { contact: who, told })
        }
        40 => Record::Boxes(BoxRecord::ReceiptsPromised {
            contact: who,
            counter: rng.below(9),
            promised: rng.below(2) == 0,
        }),
        41 => Record::Identity(IdentityRecord::ListenSwitched { on: rng.below(2) == 0 }),
        42 => Record::Queue(QueueRecord::RecipientRead { queue, contact: who, at: time(rng) }),
        _ => Record::Boxes(BoxRecord::ReadsReturned { contact: who, contents: vec![ContentId::from_bytes(id(rng))] }),
    }
}

fn of_forwarding(kind: u64, ids: Ids, rng: &mut dyn Rng) -> Record {
    let Ids { who, .. } = ids;
    match kind {
        44 => Record::Forwarding(ForwardingRecord::ForwardingAllowed { contact: who, on: rng.below(4) > 0 }),
        45 => {
            let friend = (rng.below(4) > 0).then(|| ContactId::from_bytes(id(rng)));
            Record::Forwarding(ForwardingRecord::ForwarderChosen { contact: who, friend })
        }
        46 => Record::Forwarding(ForwardingRecord::ForwardedTaken { forwarded: Box::new(load(rng)) }),
        47 => {
            Record::Forwarding(ForwardingRecord::ForwardedEnded { contact: who, object: object(rng), fate: fate(rng) })
        }
        48 => Record::Forwarding(ForwardingRecord::FatesTold { contact: who, objects: vec![object(rng)] }),
        49 => Record::Forwarding(ForwardingRecord::HandedOn {
            onion: onion(rng),
            object: object(rng),
            handed: Box::new(handed(rng)),
        }),
        _ => Record::Forwarding(ForwardingRecord::FateHeard { friend: who, object: object(rng), fate: fate(rng) }),
    }
}

fn of_checkpoint(kind: u64, ids: Ids, rng: &mut dyn Rng) -> Record {
    let Ids { folder, queue, who } = ids;
    match kind {
        0 => Record::Checkpoint(CheckpointRecord::CheckpointBegun { last_uid_validity: rng.below(9) as u32 }),
        1 => Record::Checkpoint(CheckpointRecord::FolderKept { folder: Box::new(kept_folder(rng)) }),
        2 => Record::Checkpoint(CheckpointRecord::MessagesKept { folder, messages: vec![kept_message(rng)] }),
        3 => Record::Checkpoint(CheckpointRecord::QueuedKept { queued: Box::new(kept_queued(rng)) }),
        4 => Record::Checkpoint(CheckpointRecord::OutboxKept { uid: rng.below(40) as u32, queues: queues(rng) }),
        5 => {
            let ContentKey { content, author, payload, expires, .. } = seen(rng);
            Record::Checkpoint(CheckpointRecord::DuplicatesKept {
                contents: vec![(content, author, payload, expires)],
                cleaned: time(rng),
            })
        }
        6 => Record::Checkpoint(CheckpointRecord::InvitationKept { invitation: invitation(rng) }),
        7 => Record::Checkpoint(CheckpointRecord::BoxesKept {
            contact: who,
            boxes: named(rng),
            used: vec![((onion(rng), 5, 12), 3)],
        }),
        8 => {
            let copy = LeftCopy { onion: onion(rng), receipt: receipt(rng), held: Some(time(rng)) };
            Record::Checkpoint(CheckpointRecord::CopiesKept { queue, contact: who, copies: vec![copy] })
        }
        9 => {
            let content = ContentId::from_bytes(id(rng));
            Record::Checkpoint(CheckpointRecord::ReadsKept {
                unread: vec![(BodyId::from_bytes(id(rng)), who, content)],
                owed: vec![(who, vec![content])],
            })
        }
        10 => Record::Checkpoint(CheckpointRecord::ForwardingKept {
            allowed: vec![who],
            chosen: vec![(who, ContactId::from_bytes(id(rng)))],
            fates: vec![(who, object(rng), fate(rng))],
            handed: vec![(object(rng), handed(rng))],
        }),
        11 => Record::Checkpoint(CheckpointRecord::ForwardedKept { forwarded: Box::new(load(rng)) }),
        12 => Record::Checkpoint(CheckpointRecord::RefusedKept { queue, contact: who, receipts: vec![receipt(rng)] }),
        13 => introductions::kept(rng),
        14 => Record::People(PeopleRecord::TellingKept { told: vec![(who, time(rng))] }),
        15 => seal_keys::kept(rng),
        16 => seal_keys::of_objects(3, rng),
        _ => Record::Checkpoint(CheckpointRecord::RequestsKept { requests: vec![(BodyId::from_bytes(id(rng)), who)] }),
    }
}
