//! Parting from a contact: blocking it, letting it back, removing it from the book, or putting another one into its place.
//!
//! A blocked contact notices nothing: what it sends is acknowledged and dropped, as from a blocked request. It is not
//! dialled any more, and gets no cards and no receipts. A contact that was removed is a stranger from then on. In both
//! cases mail that waits for it ends with a report, and what was kept for it goes in the same transaction. The router
//! ends the sessions.
//!
//! Somebody who lost their node begins anew, with another key and another address, and comes as a new contact. That one gets
//! the petname of the first, and the mail that waits for it, as far as it is for that contact alone and no copy was sent. All
//! else that waited ends with a report, as when a contact is removed: a copy may be where nobody reads it, and people whom the
//! message names have not agreed to be shown to the new address. What the user had set for the first one does not go on, nor does
//! its mark as verified: nothing proves that both are the same person.

use std::sync::Arc;

use crate::base::{ContactId, QueueId};
use crate::mail::{Address, ContentKind, headers};

use crate::engine::api::{RequestError, Response};
use crate::engine::change::{Answer, Change, Outcome};
use crate::engine::context::Context;
use crate::engine::people::cards::next_card;
use crate::engine::state::book::{Contact, ContactChange, ContactStatus, HowMet};
use crate::engine::state::queue::Queued;
use crate::engine::state::record::{BookRecord, BoxRecord, ForwardingRecord, PeopleRecord, Record};

const UNKNOWN: RequestError = RequestError::NotFound("contact");

/// Blocks a contact, or a sender that waits in Requests.
pub(in crate::engine) fn block(cx: &Context<'_>, contact: ContactId) -> Outcome {
    let entry = cx.state.book().contact(contact).ok_or(UNKNOWN)?;
    match entry.status {
        ContactStatus::Blocked => return Ok(Change::new(Vec::new(), Answer::Always(Response::Done))),
        ContactStatus::Greeting => {
            return Err(RequestError::NotReady(
                "they have not answered yet, so that there is nothing to block; remove them instead: runepeer contact rm NAME",
            ));
        }
        ContactStatus::Revoked => {
            return Err(RequestError::NotReady(
                "they revoked their address or key, so that nothing goes there; to take them out of the address book: runepeer contact rm NAME",
            ));
        }
        ContactStatus::Confirmed | ContactStatus::Request => {}
    }
    let change = |change| Record::Book(BookRecord::ContactChanged { id: contact, change });
    let mut records = vec![change(ContactChange::Status(ContactStatus::Blocked))];
    records.extend(entry.cards.pending.iter().map(|card| change(ContactChange::CardSettled(card.content))));
    let receipts: Vec<_> = cx.state.boxes().receipts(contact).copied().collect();
    if !receipts.is_empty() {
        records.push(Record::Boxes(BoxRecord::ReceiptsReturned { contact, receipts }));
    }
    let contents: Vec<_> = cx.state.boxes().reads().owed(contact).copied().collect();
    if !contents.is_empty() {
        records.push(Record::Boxes(BoxRecord::ReadsReturned { contact, contents }));
    }
    if cx.state.forwarding().allows(contact) {
        records.push(Record::Forwarding(ForwardingRecord::ForwardingAllowed { contact, on: false }));
    }
    Ok(Change::new(records, Answer::First(Response::Done, UNKNOWN)))
}

/// Lets a blocked contact back into its earlier state: one that was never accepted waits in Requests again.
pub(in crate::engine) fn unblock(cx: &mut Context<'_>, contact: ContactId) -> Outcome {
    let entry = cx.state.book().contact(contact).ok_or(UNKNOWN)?;
    if entry.status != ContactStatus::Blocked {
        return Ok(Change::new(Vec::new(), Answer::Always(Response::Done)));
    }
    let change = |change| Record::Book(BookRecord::ContactChanged { id: contact, change });
    let mut records = Vec::new();
    if cx.state.revocations().concern(&entry.fingerprint, entry.address.onion()) {
        records.push(change(ContactChange::Status(ContactStatus::Revoked)));
    } else if was_accepted(entry) {
        records.push(change(ContactChange::Status(ContactStatus::Confirmed)));
        // While it was blocked, the contact was not told of changes here.
        records.push(change(ContactChange::CardQueued(next_card(entry, cx.now, None, cx.rng))));
    } else {
        records.push(change(ContactChange::Status(ContactStatus::Request)));
    }
    Ok(Change::new(records, Answer::First(Response::Done, UNKNOWN)))
}

/// Takes a contact out of the book.
pub(in crate::engine) fn remove_contact(cx: &Context<'_>, contact: ContactId) -> Outcome {
    cx.state.book().contact(contact).ok_or(UNKNOWN)?;
    Ok(Change::done(vec![Record::Book(BookRecord::ContactRemoved { id: contact })], UNKNOWN))
}

/// Puts a contact into the place of another. `is_on_the_wire` says whether a message is being handed over at this moment.
pub(in crate::engine) fn replace(
    cx: &Context<'_>,
    old: ContactId,
    new: ContactId,
    is_on_the_wire: impl Fn(QueueId) -> bool,
) -> Outcome {
    let book = cx.state.book();
    let gone = book.contact(old).ok_or(UNKNOWN)?;
    let next = book.contact(new).ok_or(UNKNOWN)?;
    if old == new {
        return Err(RequestError::NotReady("name two contacts: the one of before, and the one who takes its place"));
    }
    if !next.may_receive() {
        return Err(RequestError::NotReady(
            "the new contact waits in the folder Requests, or is blocked; accept or unblock them first: runepeer request \
             accept, runepeer contact unblock",
        ));
    }
    let waiting: Vec<_> = cx.state.queue().iter().filter(|queued| queued.waits_for(old)).collect();
    let moves = |queued: &&&Arc<Queued>| {
        cx.state.is_unsent_mail_for(queued, old) && names_only(queued, gone) && !is_on_the_wire(queued.id)
    };
    let messages: Vec<QueueId> = waiting.iter().filter(moves).map(|queued| queued.id).collect();
    // Somebody who introduces is told nothing of what ended, so only mail counts here.
    let mail = waiting.iter().filter(|queued| cx.state.introductions().kind(queued.id) == ContentKind::Mail).count();
    let answer = Response::Replaced { moved: messages.len(), ended: mail.saturating_sub(messages.len()) };
    // Until the record is on the disk, none of these messages goes anywhere.
    let recalled = messages.clone();
    let record = PeopleRecord::ContactReplaced { old, new, messages }.into();
    Ok(Change { recalled, ..Change::new(vec![record], Answer::First(answer, UNKNOWN)) })
}

/// Whether the address fields of a message name this contact and nobody else. Where they are not known, they may.
fn names_only(queued: &Queued, contact: &Contact) -> bool {
    let named = headers::recipient_addresses(&queued.headers);
    let is_theirs = |address: &String| {
        let address = address.parse::<Address>();
        address.is_ok_and(|address| address.without_folder() == contact.address.without_folder())
    };
    !named.is_empty() && named.iter().all(is_theirs)
}

/// Whether the user took it for a contact: we sent it a card, or it came by an invitation.
fn was_accepted(contact: &Contact) -> bool {
    contact.cards.sent > 0 || contact.provenance.iter().any(|step| step.how != HowMet::Unasked)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::engine::Unaddressable;
    use crate::engine::api::Request;
    use crate::engine::state::mailbox::FolderRole;
    use crate::engine::tests::harness::World;

    const ALICE: usize = 0;
    const BOB: usize = 1;
    const MINUTE: Duration = Duration::from_secs(60);
    const DAY: Duration = Duration::from_secs(86_400);

    /// Two contacts.
    fn world() -> World {
        let mut world = World::new(7, &["alice", "bob"]);
        world.introduce(ALICE, BOB);
        world.pass(MINUTE);
        world
    }

    fn ask(world: &mut World, request: fn(ContactId) -> Request) {
        let contact = world.contact(ALICE, BOB).unwrap().id;
        world.request(ALICE, request(contact)).unwrap();
        world.pass(MINUTE);
    }

    fn inbox(world: &World, node: usize) -> Vec<String> {
        world.texts(node, FolderRole::Inbox)
    }

    #[test]
    fn mail_of_a_blocked_contact_is_acknowledged_and_dropped_until_it_is_let_back() {
        let mut world = world();
        world.submit(BOB, ALICE, "before").unwrap();
        world.pass(MINUTE);
        ask(&mut world, Request::Block);
        let counts = |world: &World| FolderRole::ALL.map(|role| world.messages(ALICE, role).len());
        let before = counts(&world);
        world.submit(BOB, ALICE, "during").unwrap();
        world.pass(MINUTE);
        assert_eq!(counts(&world), before, "nothing of it is shown anywhere");
        assert_eq!(world.nodes[BOB].identity.state().queue().iter().count(), 0, "it was acknowledged");
        assert!(inbox(&world, BOB).is_empty(), "and bob hears nothing of it");
        let refused = world.submit(ALICE, BOB, "to blocked");
        assert!(matches!(refused, Err(RequestError::UnknownRecipient { why: Unaddressable::Blocked, .. })));
        ask(&mut world, Request::Unblock);
        assert_eq!(world.contact(ALICE, BOB).unwrap().status, ContactStatus::Confirmed);
        world.submit(BOB, ALICE, "after").unwrap();
        world.submit(ALICE, BOB, "answer").unwrap();
        world.pass(MINUTE);
        let texts = inbox(&world, ALICE);
        assert!(texts.iter().any(|text| text.contains("Text of after.")), "{texts:?}");
        assert!(!texts.iter().any(|text| text.contains("Text of during.")), "what was dropped is gone");
        assert!(inbox(&world, BOB).iter().any(|text| text.contains("Text of answer.")));
        world.check();
    }

    #[test]
    fn a_request_that_was_blocked_and_let_back_is_a_request_again() {
        let mut world = World::new(8, &["alice", "bob"]);
        let poster = world.invite(ALICE, true);
        world.add(BOB, &poster).unwrap();
        world.pass(MINUTE);
        ask(&mut world, Request::Block);
        assert_eq!(world.contact(ALICE, BOB).unwrap().status, ContactStatus::Blocked);
        ask(&mut world, Request::Unblock);
        assert_eq!(world.contact(ALICE, BOB).unwrap().status, ContactStatus::Request, "nobody accepted it");
        let before = world.messages(ALICE, FolderRole::Requests).len();
        world.submit(BOB, ALICE, "please").unwrap();
        world.pass(MINUTE);
        assert_eq!(world.messages(ALICE, FolderRole::Requests).len(), before + 1, "by which the user can decide");
        world.check();
    }

    #[test]
    fn what_waits_for_somebody_who_is_blocked_or_removed_ends_with_a_report_and_nobody_dials() {
        for request in [Request::Block as fn(ContactId) -> Request, Request::RemoveContact] {
            let mut world = world();
            world.nodes[BOB].online = false;
            world.submit(ALICE, BOB, "waits").unwrap();
            world.pass(10 * MINUTE);
            ask(&mut world, request);
            let reports = inbox(&world, ALICE);
            assert_eq!(reports.len(), 1, "{reports:?}");
            assert!(reports[0].contains("was not delivered") || reports[0].contains("unconfirmed"), "{reports:?}");
            assert_eq!(world.nodes[ALICE].identity.state().queue().iter().count(), 0);
            world.nodes[BOB].online = true;
            world.dials.clear();
            world.pass(2 * DAY);
            assert!(!world.dials.contains(&(ALICE, BOB)), "nobody calls them any more");
            world.check();
        }
    }

    #[test]
    fn whoever_was_removed_is_a_stranger_and_can_be_met_anew() {
        let mut world = world();
        ask(&mut world, Request::RemoveContact);
        assert!(world.contact(ALICE, BOB).is_none());
        let before = FolderRole::ALL.map(|role| world.messages(ALICE, role).len());
        world.submit(BOB, ALICE, "as before").unwrap();
        world.pass(MINUTE);
        assert_eq!(FolderRole::ALL.map(|role| world.messages(ALICE, role).len()), before, "nothing of it is shown");
        assert_eq!(world.contact(ALICE, BOB).map(|entry| entry.status), None);
        let invitation = world.invite(ALICE, false);
        world.add(BOB, &invitation).unwrap();
        world.pass(MINUTE);
        assert_eq!(world.contact(ALICE, BOB).unwrap().status, ContactStatus::Confirmed);
        world.submit(BOB, ALICE, "known again").unwrap();
        world.pass(MINUTE);
        assert!(inbox(&world, ALICE).iter().any(|text| text.contains("Text of known again.")));
        world.check();
    }
}
