//! Stories of what the user is told in INBOX about people, and of a contact that takes the place of another.

use crate::base::ids::Fingerprint;
use crate::base::{BodyId, Onion};
use crate::engine::api::{DeliveryOptions, Request, RequestError, Response, Submission};
use crate::engine::state::Applied;
use crate::engine::state::book::{Contact, ContactStatus};
use crate::engine::state::mailbox::{FolderRole, NamedFlags, NewMessage};
use crate::engine::state::record::{BookRecord, PeopleRecord, Record};
use crate::engine::tests::harness::{DAY, MINUTE, World};
use crate::engine::tests::scenarios::{ALICE, BOB, CAROL};

const DORA: usize = 3;

fn four() -> World {
    World::new(5, &["alice", "bob", "carol", "dora"])
}

/// The messages in INBOX with this in their header.
fn told(world: &World, node: usize, subject: &str) -> Vec<String> {
    let texts = world.texts(node, FolderRole::Inbox).into_iter();
    texts.filter(|text| text.split("\r\n\r\n").next().unwrap().contains(subject)).collect()
}

const WAITS: &str = "Somebody waits for your decision";

/// Somebody asks alice to become a contact.
fn asks(world: &mut World, node: usize) {
    let poster = world.invite(ALICE, true);
    world.add(node, &poster).unwrap();
    world.pass(MINUTE);
}

fn move_requests(world: &mut World, node: usize, to: FolderRole, many: usize) {
    let mailbox = world.nodes[node].published.mailbox.clone();
    let (from, to) = (mailbox.by_role(FolderRole::Requests).unwrap().id, mailbox.by_role(to).unwrap().id);
    let uids = world.messages(node, FolderRole::Requests).iter().map(|message| message.uid).take(many).collect();
    world.request(node, Request::Transfer { from, to, uids, keep: false }).unwrap();
    world.pass(MINUTE);
}

#[test]
fn the_first_request_is_told_in_inbox_and_further_ones_only_when_nothing_waits_any_more() {
    let mut world = four();
    asks(&mut world, BOB);
    let first = told(&world, ALICE, WAITS);
    assert!(
        first.len() == 1 && first[0].contains(&world.address(BOB)) && first[0].contains("request accept"),
        "{first:?}"
    );
    assert_eq!(world.messages(ALICE, FolderRole::Requests).len(), 1);
    asks(&mut world, CAROL);
    assert_eq!(world.messages(ALICE, FolderRole::Requests).len(), 2);
    assert_eq!(told(&world, ALICE, WAITS).len(), 1, "one of them waits");
    move_requests(&mut world, ALICE, FolderRole::Junk, 1);
    asks(&mut world, DORA);
    assert_eq!(told(&world, ALICE, WAITS).len(), 1, "one of them still waits");
    move_requests(&mut world, ALICE, FolderRole::Inbox, 2);
    world.check();

    // A card that comes again, and one that the disk did not take, are told no more often than they are taken.
    let mut world = four();
    let poster = world.invite(ALICE, true);
    world.nodes[ALICE].failing_commits = 1;
    world.cut_at = Some(b"202 ROGER");
    world.add(BOB, &poster).unwrap();
    world.pass(60 * MINUTE);
    assert_eq!(world.contact(ALICE, BOB).unwrap().status, ContactStatus::Request);
    assert_eq!(told(&world, ALICE, WAITS).len(), 1);
    move_requests(&mut world, ALICE, FolderRole::Junk, 1);
    asks(&mut world, CAROL);
    let second = told(&world, ALICE, WAITS);
    assert!(second.len() == 2 && second[1].contains(&world.address(CAROL)), "{second:?}");
    world.check();
}

#[test]
fn a_request_that_its_user_has_put_away_does_not_keep_the_next_one_silent() {
    let mut world = four();
    asks(&mut world, BOB);
    // Trash decides nothing about a person.
    move_requests(&mut world, ALICE, FolderRole::Trash, 1);
    assert_eq!(world.contact(ALICE, BOB).unwrap().status, ContactStatus::Request);
    asks(&mut world, CAROL);
    let notices = told(&world, ALICE, WAITS);
    assert!(notices.len() == 2 && notices[1].contains(&world.address(CAROL)), "{notices:?}");
    world.check();
}

#[test]
fn of_two_who_ask_at_one_moment_one_is_told() {
    let mut world = four();
    let poster = world.invite(ALICE, true);
    world.nodes[ALICE].online = false;
    world.add(BOB, &poster).unwrap();
    world.add(CAROL, &poster).unwrap();
    world.pass(MINUTE);
    world.nodes[ALICE].online = true;
    world.pass(120 * MINUTE);
    assert_eq!(world.messages(ALICE, FolderRole::Requests).len(), 2);
    assert_eq!(told(&world, ALICE, WAITS).len(), 1);
    world.check();
}

/// The records of two requests may be on their way to the disk at one moment.
#[test]
fn what_is_told_of_a_request_counts_for_the_first_that_waits_and_for_what_waits() {
    let mut world = four();
    asks(&mut world, BOB);
    let mailbox = world.nodes[ALICE].published.mailbox.clone();
    let inbox = mailbox.by_role(FolderRole::Inbox).unwrap();
    let body = BodyId::from_bytes([77; 16]);
    let (flags, date, content) = (NamedFlags::default(), world.now, None);
    let message = NewMessage { uid: inbox.uid_next, flags, date, body, size: 1, content };
    let (folder, at) = (inbox.id, world.now);
    let told = |world: &World, notice: BodyId| {
        let mut state = world.nodes[ALICE].identity.state().clone();
        let record = PeopleRecord::WaitingTold { at, notice, folder, message: message.clone() };
        let applied = state.apply(1_000_000, &record.into());
        assert_eq!(
            applied == Applied::Nothing,
            state.take_released() == [body],
            "a body that nothing needs is forgotten"
        );
        applied
    };
    let first = world.messages(ALICE, FolderRole::Requests)[0].body;
    assert_eq!(told(&world, first), Applied::Done);
    assert_eq!(told(&world, BodyId::from_bytes([78; 16])), Applied::Nothing, "nothing of that name waits");
    asks(&mut world, CAROL);
    let second = world.messages(ALICE, FolderRole::Requests)[1].body;
    assert_eq!(told(&world, second), Applied::Nothing, "another one waits");
}

#[test]
fn an_introduction_that_waits_is_told_with_what_its_user_may_know_of_it() {
    let mut world = four();
    world.introduce(BOB, ALICE);
    world.introduce(BOB, CAROL);
    let (guest, host) = (world.contact(BOB, ALICE).unwrap().id, world.contact(BOB, CAROL).unwrap().id);
    world.request(BOB, Request::Introduce { guest, host, text: String::new() }).unwrap();
    world.pass(MINUTE);
    let asked = told(&world, CAROL, WAITS);
    assert!(asked.len() == 1 && asked[0].contains("contact bob would like to introduce you"), "{asked:?}");
    assert!(!asked[0].contains(&world.address(ALICE)), "nobody is shown before both agree");
    assert!(told(&world, ALICE, WAITS).is_empty());
    move_requests(&mut world, CAROL, FolderRole::Inbox, 1);
    let offered = told(&world, ALICE, WAITS);
    assert!(offered.len() == 1 && offered[0].contains(&world.address(CAROL)), "{offered:?}");
    // A stranger who asks meanwhile is the second who waits.
    asks(&mut world, DORA);
    assert_eq!(told(&world, ALICE, WAITS).len(), 1);
    world.check();
}

/// Alice knows bob, but by another key or another address than he has.
fn mistaken(change: impl Fn(&mut Contact)) -> World {
    let mut world = four();
    world.introduce(ALICE, BOB);
    let mut contact = Contact::clone(&world.contact(ALICE, BOB).unwrap());
    let removed = Record::Book(BookRecord::ContactRemoved { id: contact.id });
    change(&mut contact);
    world.append(ALICE, vec![removed, Record::Book(BookRecord::ContactAdded { contact: Box::new(contact) })], vec![]);
    world.restart(ALICE);
    let alice = world.contact(BOB, ALICE).unwrap().id;
    world.request(BOB, Request::RemoveContact(alice)).unwrap();
    world
}

/// Bob shows alice his card.
fn shows_card(world: &mut World) {
    let poster = world.invite(ALICE, true);
    world.add(BOB, &poster).unwrap();
    world.pass(MINUTE);
}

#[test]
fn another_key_for_a_contacts_address_and_another_address_for_its_key_are_refused_and_told_once_a_day() {
    let key = |contact: &mut Contact| contact.fingerprint = Fingerprint::from_bytes([9; 32]);
    let place = |contact: &mut Contact| {
        contact.address = format!("bob@{}", Onion::from_public_key([9; 32])).parse().unwrap();
    };
    for (change, subject) in [(&key as &dyn Fn(&mut Contact), "Another key"), (&place, "Another address")] {
        let mut world = mistaken(change);
        let book = world.nodes[ALICE].published.book.clone();
        for _ in 0..3 {
            shows_card(&mut world);
        }
        let first = told(&world, ALICE, subject);
        assert_eq!(first.len(), 1, "{subject}");
        let shown = if subject == "Another key" { world.fingerprint(BOB).to_string() } else { world.address(BOB) };
        assert!(first[0].contains("your contact bob") && first[0].contains(&shown), "{first:?}");
        assert!(world.messages(ALICE, FolderRole::Requests).is_empty() && told(&world, ALICE, WAITS).is_empty());
        let after = &world.nodes[ALICE].published.book;
        assert!(after.contacts().eq(book.contacts()), "nothing is adopted");
        world.restart(ALICE);
        shows_card(&mut world);
        assert_eq!(told(&world, ALICE, subject).len(), 1, "a start forgets nothing");
        world.pass(DAY);
        shows_card(&mut world);
        assert_eq!(told(&world, ALICE, subject).len(), 2, "the next day");
        // Of somebody who is blocked nothing is told.
        let known = world.nodes[ALICE].published.book.by_petname("bob").unwrap().id;
        world.request(ALICE, Request::Block(known)).unwrap();
        world.pass(DAY);
        shows_card(&mut world);
        assert_eq!(told(&world, ALICE, subject).len(), 2, "{subject}");
        world.check();
    }
}

#[test]
fn an_introduction_that_shows_another_key_for_a_contacts_address_is_refused_and_told() {
    let mut world = four();
    for (one, other) in [(BOB, ALICE), (BOB, CAROL), (ALICE, CAROL)] {
        world.introduce(one, other);
    }
    let mut contact = Contact::clone(&world.contact(ALICE, CAROL).unwrap());
    let removed = Record::Book(BookRecord::ContactRemoved { id: contact.id });
    contact.fingerprint = Fingerprint::from_bytes([9; 32]);
    world.append(ALICE, vec![removed, Record::Book(BookRecord::ContactAdded { contact: Box::new(contact) })], vec![]);
    world.restart(ALICE);
    let (guest, host) = (world.contact(BOB, ALICE).unwrap().id, world.contact(BOB, CAROL).unwrap().id);
    world.request(BOB, Request::Introduce { guest, host, text: String::new() }).unwrap();
    world.pass(MINUTE);
    move_requests(&mut world, CAROL, FolderRole::Inbox, 1);
    let notices = told(&world, ALICE, "Another key");
    assert!(notices.len() == 1 && notices[0].contains(&world.fingerprint(CAROL).to_string()), "{notices:?}");
    assert!(world.messages(ALICE, FolderRole::Requests).is_empty() && told(&world, ALICE, WAITS).is_empty());
    assert!(world.contact(ALICE, CAROL).is_none(), "nothing is adopted");
    world.check();
}

/// Alice writes to these; the header names all of them.
fn write(world: &mut World, to: &[usize], subject: &str) {
    let recipients: Vec<String> = to.iter().map(|node| world.address(*node)).collect();
    let message = format!(
        "From: <{}>\r\nTo: {}\r\nSubject: {subject}\r\n\r\nText of {subject}.\r\n",
        world.address(ALICE),
        recipients.iter().map(|address| format!("<{address}>")).collect::<Vec<_>>().join(", "),
    );
    let (visible, asked) = (recipients.clone(), DeliveryOptions::default());
    let submission = Submission { recipients, visible, message: message.into_bytes().into(), asked };
    world.request(ALICE, Request::Submit(submission)).unwrap();
}

/// Alice knows bob, who lost his node, and carol, who is bob on another one; and dora.
fn began_anew() -> World {
    let mut world = four();
    for other in [BOB, CAROL, DORA] {
        world.introduce(ALICE, other);
    }
    world.nodes[BOB].online = false;
    world
}

fn replace(world: &mut World) -> Result<Response, RequestError> {
    let (old, new) = (world.contact(ALICE, BOB).unwrap().id, world.contact(ALICE, CAROL).unwrap().id);
    let replaced = world.request(ALICE, Request::ReplaceContact { old, new });
    world.pass(MINUTE);
    replaced
}

fn texts(world: &World, node: usize) -> String {
    world.texts(node, FolderRole::Inbox).concat()
}

#[test]
fn whoever_began_anew_gets_the_name_and_the_mail_that_waits_and_the_entry_of_before_is_gone() {
    let mut world = began_anew();
    write(&mut world, &[BOB], "waits");
    let bob = world.contact(ALICE, BOB).unwrap();
    world.request(ALICE, Request::Verify { contact: bob.id, same: true }).unwrap();
    world.pass(MINUTE);
    assert_eq!(replace(&mut world), Ok(Response::Replaced { moved: 1, ended: 0 }));
    let carol = world.contact(ALICE, CAROL).unwrap();
    assert_eq!(carol.petname, "bob");
    assert!(world.contact(ALICE, BOB).is_none());
    assert!(world.nodes[ALICE].published.book.verified(carol.id).is_none(), "nothing proves that they are the same");
    assert!(texts(&world, CAROL).contains("Text of waits."));
    assert!(texts(&world, ALICE).is_empty(), "there is nothing to report");
    assert_eq!(world.nodes[ALICE].identity.state().queue().iter().count(), 0);
    // The one of before comes back, or somebody who has found their node: a stranger.
    world.nodes[BOB].online = true;
    let before = FolderRole::ALL.map(|role| world.messages(ALICE, role).len());
    world.submit(BOB, ALICE, "as before").unwrap();
    world.pass(MINUTE);
    assert_eq!(FolderRole::ALL.map(|role| world.messages(ALICE, role).len()), before);
    assert!(texts(&world, BOB).is_empty() || !texts(&world, BOB).contains("Text of waits."));
    world.check();
    world.restart(ALICE);
    world.check();
}

#[test]
fn what_may_have_arrived_before_or_names_others_ends_with_a_report_instead_of_going_to_somebody_new() {
    let mut world = began_anew();
    world.nodes[BOB].online = true;
    world.cut_at = Some(b"202 ROGER");
    write(&mut world, &[BOB], "sent");
    world.pass(MINUTE / 2);
    world.nodes[BOB].online = false;
    // It says nothing of whom it names.
    world.submit(ALICE, BOB, "nameless").unwrap();
    world.pass(MINUTE);
    assert_eq!(replace(&mut world), Ok(Response::Replaced { moved: 0, ended: 2 }));
    world.pass(10 * MINUTE);
    let inbox = texts(&world, ALICE);
    assert!(inbox.contains("unconfirmed") && inbox.contains("no longer in your address book"), "{inbox}");
    assert!(texts(&world, CAROL).is_empty(), "nothing of it went there");
    assert_eq!(world.nodes[ALICE].identity.state().queue().iter().count(), 0);
    world.check();
}

#[test]
fn a_message_that_shows_people_to_each_other_does_not_go_to_somebody_new() {
    let mut world = began_anew();
    write(&mut world, &[BOB, DORA], "dinner");
    world.pass(MINUTE);
    assert!(matches!(replace(&mut world), Ok(Response::Replaced { moved: 0, .. })));
    world.pass(10 * MINUTE);
    assert!(!texts(&world, CAROL).contains("dinner"));
    world.check();
}

#[test]
fn nobody_takes_the_place_of_themselves_and_nobody_who_waits_or_is_blocked_takes_a_place() {
    let mut world = four();
    world.introduce(ALICE, BOB);
    asks(&mut world, CAROL);
    let refused = |world: &mut World| matches!(replace(world), Err(RequestError::NotReady(_)));
    assert!(refused(&mut world), "carol waits in Requests");
    let bob = world.contact(ALICE, BOB).unwrap().id;
    let same = world.request(ALICE, Request::ReplaceContact { old: bob, new: bob });
    assert!(matches!(same, Err(RequestError::NotReady(_))));
    let carol = world.contact(ALICE, CAROL).unwrap().id;
    world.request(ALICE, Request::Block(carol)).unwrap();
    assert!(refused(&mut world), "carol is blocked");
    assert!(world.contact(ALICE, BOB).is_some());
    world.nodes[ALICE].failing_commits = 1;
    world.request(ALICE, Request::Unblock(carol)).unwrap_err();
    world.check();
}
