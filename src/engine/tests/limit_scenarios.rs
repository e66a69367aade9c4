//! Stories of what happens at a limit, and one step beyond it: of address books, invitations, passwords; and of the
//! times after which invitations end.

use std::time::Duration;

use crate::base::{InvitationId, Timestamp, limits};
use crate::mail::Invitation;

use crate::engine::api::{Request, RequestError, Response};
use crate::engine::state::book::{ContactStatus, InvitationEntry};
use crate::engine::state::boxes::ReceiptPolicy;
use crate::engine::state::mailbox::{FolderRole, NamedFlags};
use crate::engine::state::queue::{FailureReason, Progress};
use crate::engine::state::record::{BookRecord, IdentityRecord, Record};
use crate::engine::tests::harness::{DAY, MINUTE, World};
use crate::engine::tests::share_scenarios::somebody;

const ALICE: usize = 0;
const BOB: usize = 1;
const CAROL: usize = 2;
const HOUR: Duration = Duration::from_secs(3600);

fn contacts(world: &World) -> usize {
    world.nodes[ALICE].published.book.contacts().count()
}

#[test]
fn an_address_book_takes_its_last_contact_and_no_other() {
    let mut world = World::new(1, &["alice", "bob", "carol"]);
    let people = (0..limits::CONTACTS - 1).map(|number| somebody(number, ContactStatus::Confirmed)).collect();
    world.append(ALICE, people, vec![]);
    world.restart(ALICE);
    let (for_bob, for_carol) = (world.invite(ALICE, false), world.invite(ALICE, false));
    let of_carol = world.invite(CAROL, false);
    world.add(BOB, &for_bob).unwrap();
    world.pass(MINUTE);
    assert_eq!(world.contact(ALICE, BOB).unwrap().status, ContactStatus::Confirmed);
    assert_eq!(contacts(&world), limits::CONTACTS);
    world.replies.clear();
    world.add(CAROL, &for_carol).unwrap();
    world.pass(MINUTE);
    let said: String = world.replies.iter().map(|(_, text)| text.as_str()).collect();
    assert!(said.contains("420") && !said.contains("202"), "{said}");
    assert_eq!((contacts(&world), world.contact(ALICE, CAROL)), (limits::CONTACTS, None));
    assert!(matches!(world.add(ALICE, &of_carol), Err(RequestError::Limit(_))));
}

#[test]
fn so_many_invitations_may_be_open_and_those_that_are_used_up_count_no_more() {
    let mut world = World::new(1, &["alice"]);
    let made = |number: usize, expires: Timestamp| {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&number.to_be_bytes());
        let secret = Some(id);
        let invitation =
            InvitationEntry { id: InvitationId::from_bytes(id), secret, made: expires, expires, used: None };
        Record::Book(BookRecord::InvitationMade { invitation })
    };
    let later = world.now.plus(DAY);
    world.append(ALICE, (1..limits::INVITATIONS).map(|number| made(number, later)).collect(), vec![]);
    world.append(ALICE, vec![made(5000, world.now.minus(HOUR))], vec![]);
    world.restart(ALICE);
    let ask = |world: &mut World| world.request(ALICE, Request::Invite { public: false, expires: later, label: None });
    let Ok(Response::Invited { id, .. }) = ask(&mut world) else { panic!("there is room for one") };
    assert!(matches!(ask(&mut world), Err(RequestError::Limit(_))));
    world.request(ALICE, Request::RevokeInvitation(id)).unwrap();
    assert!(ask(&mut world).is_ok());
    assert!(matches!(ask(&mut world), Err(RequestError::Limit(_))));
}

#[test]
fn an_invitation_ends_with_the_hour_that_was_asked_for_or_with_the_next_one() {
    let hour = Timestamp::from_secs(1_800_000_000);
    assert_eq!(hour.secs() % 3600, 0);
    let ends = |now: Timestamp, asked: Timestamp| {
        let mut world = World::new(1, &["alice"]);
        world.now = now;
        match world.request(ALICE, Request::Invite { public: false, expires: asked, label: None }) {
            Ok(Response::Invited { text, .. }) => Ok(Invitation::parse(&text).unwrap().expires.unwrap()),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error),
        }
    };
    let now = hour.plus(10 * MINUTE);
    for (asked, end) in [
        // The end is rounded down to a whole hour, but never to now.
        (hour.plus(DAY), hour.plus(DAY)),
        (hour.plus(DAY + 59 * MINUTE), hour.plus(DAY)),
        (hour.plus(HOUR), hour.plus(HOUR)),
        (hour.plus(20 * MINUTE), hour.plus(HOUR)),
    ] {
        assert_eq!(ends(now, asked), Ok(end), "{asked:?}");
    }
    assert_eq!(ends(hour, hour.plus(MINUTE)), Ok(hour.plus(HOUR)), "this hour is now");
    let refused = |asked| matches!(ends(now, asked), Err(RequestError::InvitationRefused(_)));
    assert!(refused(hour.minus(MINUTE)) && refused(hour.minus(DAY)));
    let last = hour.minus(Duration::from_millis(1));
    assert!(matches!(ends(hour, last), Err(RequestError::InvitationRefused(_))), "an hour that ends now is over");
}

#[test]
fn so_many_passwords_and_such_names() {
    let mut world = World::new(1, &["alice"]);
    let add =
        |world: &mut World, name: String| world.request(ALICE, Request::AddPassword { name, hash: "hash".to_owned() });
    for refused in [String::new(), "x".repeat(limits::PASSWORD_NAME_BYTES + 1), "a\nb".to_owned()] {
        assert!(matches!(add(&mut world, refused), Err(RequestError::NameRefused(_))));
    }
    add(&mut world, "x".repeat(limits::PASSWORD_NAME_BYTES)).unwrap();
    assert!(matches!(add(&mut world, "x".repeat(limits::PASSWORD_NAME_BYTES)), Err(RequestError::NameTaken)));
    for number in 1..limits::PASSWORDS {
        add(&mut world, format!("{number}")).unwrap();
    }
    assert!(matches!(add(&mut world, "one more".to_owned()), Err(RequestError::Limit(_))));
}

#[test]
fn a_folder_takes_a_message_of_the_largest_size_and_no_larger_one() {
    let mut world = World::new(1, &["alice"]);
    let folder = world.nodes[ALICE].published.mailbox.by_role(FolderRole::Inbox).unwrap().id;
    let append = |world: &mut World, len: usize| {
        let (flags, date, message) = (NamedFlags::default(), None, vec![b'x'; len].into());
        world.request(ALICE, Request::Append { folder, flags, date, message })
    };
    assert!(append(&mut world, limits::MESSAGE_BYTES).is_ok());
    assert!(matches!(append(&mut world, limits::MESSAGE_BYTES + 1), Err(RequestError::Limit(_))));
}

#[test]
fn so_many_damaged_messages_are_told_each_once() {
    let mut world = World::new(1, &["alice"]);
    let folder = world.nodes[ALICE].published.mailbox.by_role(FolderRole::Inbox).unwrap().id;
    for number in 0..=limits::DAMAGE_TOLD {
        let (flags, date, message) = (NamedFlags::default(), None, vec![b'x'; number + 1].into());
        world.request(ALICE, Request::Append { folder, flags, date, message }).unwrap();
    }
    let messages = world.messages(ALICE, FolderRole::Inbox);
    for message in messages.iter().chain(&messages) {
        world.request(ALICE, Request::TellDamaged(message.body)).unwrap();
    }
    let told = world.messages(ALICE, FolderRole::Inbox).len() - messages.len();
    assert_eq!(told, limits::DAMAGE_TOLD);
}

#[test]
fn a_restored_node_counts_its_cards_on_from_the_hours_that_have_passed() {
    let mut world = World::new(1, &["alice", "bob"]);
    world.introduce(ALICE, BOB);
    let at = world.now.plus(Duration::from_secs(1));
    world.append(ALICE, vec![Record::Identity(IdentityRecord::Restored { made: world.now, at })], vec![]);
    world.restart(ALICE);
    assert_eq!(world.contact(ALICE, BOB).unwrap().cards.sent, at.secs() as u64 / 3600);
}

#[test]
fn another_invitation_of_somebody_who_has_not_answered_gives_its_key() {
    let mut world = World::new(1, &["alice", "bob"]);
    let (poster, private) = (world.invite(BOB, true), world.invite(BOB, false));
    world.nodes[BOB].online = false;
    world.add(ALICE, &poster).unwrap();
    assert!(world.contact(ALICE, BOB).unwrap().outbound.is_none());
    world.add(ALICE, &private).unwrap();
    let contact = world.contact(ALICE, BOB).unwrap();
    assert!(contact.outbound == Invitation::parse(&private).unwrap().auth_key());
    assert_eq!((contact.status, contact.provenance.len()), (ContactStatus::Greeting, 2));
    // His history is bounded, however often he makes an invitation.
    for _ in 0..30 {
        let again = world.invite(BOB, false);
        world.add(ALICE, &again).unwrap();
    }
    assert_eq!(world.contact(ALICE, BOB).unwrap().provenance.len(), 16);
}

#[test]
fn two_strangers_of_the_same_name_who_come_at_once_are_both_taken() {
    let mut world = World::new(1, &["alice", "carol", "carol"]);
    let poster = world.invite(ALICE, true);
    world.replies.clear();
    for node in [BOB, CAROL] {
        world.ask(node, Request::AddContact { invitation: poster.clone(), petname: None });
    }
    world.pass(MINUTE);
    let names: Vec<_> = world.nodes[ALICE].published.book.contacts().map(|contact| contact.petname.clone()).collect();
    assert!(names.len() == 2 && names[0] != names[1], "{names:?}");
    let said: String = world.replies.iter().map(|(_, text)| text.as_str()).collect();
    assert!(!said.contains("451") && !said.contains("450"), "nobody has to come again: {said}");
}

#[test]
fn mail_of_which_nobody_has_a_copy_failed_also_where_no_receipt_is_expected() {
    let mut world = World::new(1, &["alice", "bob"]);
    world.introduce(ALICE, BOB);
    let contact = world.contact(BOB, ALICE).unwrap().id;
    world.request(BOB, Request::Tell { contact, told: ReceiptPolicy::Nothing }).unwrap();
    world.pass(5 * MINUTE);
    assert!(!world.nodes[ALICE].published.boxes.expects_receipts(world.contact(ALICE, BOB).unwrap().id));
    world.nodes[BOB].online = false;
    world.submit(ALICE, BOB, "never").unwrap();
    world.pass(6 * DAY);
    let ended = world.nodes[ALICE].published.queue.ended().last().unwrap().clone();
    let progress = ended.recipients.values().next().unwrap().progress;
    assert!(matches!(progress, Progress::Failed(_, FailureReason::Expired)), "{progress:?}");
    world.check();
}
