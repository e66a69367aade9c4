//! First contact while the other is away (docs/protocol.md, "Pages").
//!
//! The maker of a private invitation leaves a page with its certificate at the carriers that the invitation names. A
//! node that uses the invitation and does not reach its maker fetches the page, checks the certificate against the
//! invitation, and leaves a card there, which the maker collects like mail.

use std::collections::BTreeSet;

use crate::base::limits;
use crate::base::{ContactId, ContentId, InvitationId, Onion, Timestamp};
use crate::engine::boxes::Boxes;
use crate::engine::boxes::deposit::Deposit;
use crate::engine::context::Context;
use crate::engine::state::State;
use crate::engine::state::book::{Contact, ContactChange, ContactStatus, PendingCard};
use crate::engine::state::boxes::own::{OwnBox, Stage};
use crate::engine::state::record::{BookRecord, Record};
use crate::mail::page::PageKeys;
use crate::wire::token::{Epoch, Token, TokenHash, epoch, hash_of};

/// A page for a carrier.
pub(in crate::engine) struct NewPage {
    pub(super) invitation: InvitationId,
    pub(super) name: TokenHash,
    pub(super) until: Epoch,
    pub(super) bytes: Vec<u8>,
}

/// The keys of a contact's page at this carrier.
pub(in crate::engine) fn page_keys(state: &State, contact: ContactId, carrier: Onion) -> Option<PageKeys> {
    let secret = state.book().contact(contact)?.cards.pending.as_ref()?.secret?;
    state.boxes().pages(contact).contains(&carrier).then(|| PageKeys::new(&secret, carrier))
}

pub(in crate::engine) fn page_token(state: &State, contact: ContactId, carrier: Onion) -> Option<Token> {
    Some(page_keys(state, contact, carrier)?.token())
}

/// A carrier holds the greeting for a contact, which may be away for that long: so the greeting counts for as long.
pub(in crate::engine) fn greeting_waits(
    state: &State,
    now: Timestamp,
    contact: ContactId,
    card: ContentId,
) -> Option<Record> {
    let entry = state.book().contact(contact).filter(|entry| entry.status == ContactStatus::Greeting)?;
    let pending = entry.cards.pending.as_ref().filter(|pending| pending.content == card)?;
    let expires = Timestamp::from_secs(now.plus(limits::EXPIRY_MAX).secs());
    let change = ContactChange::CardQueued(PendingCard { expires, ..pending.clone() });
    (expires > pending.expires).then_some(Record::Book(BookRecord::ContactChanged { id: contact, change }))
}

impl Boxes {
    /// A page that a carrier of ours should have, and has not got from us since the start.
    pub(in crate::engine) fn missing_page(
        &self,
        cx: &mut Context<'_>,
        own_box: &OwnBox,
        refused: &BTreeSet<InvitationId>,
    ) -> Option<NewPage> {
        if own_box.stage != Stage::Open {
            return None;
        }
        let missing = |id| !refused.contains(&id) && !self.posted_pages.contains(&(own_box.id, id));
        let mut invitations = cx.state.book().invitations();
        // An invitation that is older than the box does not name it.
        let invitation = invitations.find(|one| one.is_open(cx.now) && one.made > own_box.since && missing(one.id))?;
        let keys = PageKeys::new(&invitation.secret?, own_box.onion);
        let until = epoch(invitation.expires).min(epoch(cx.now).saturating_add(limits::PAGE_DAYS));
        let bytes = keys.seal(cx.rng.array(), &cx.public().certificate)?;
        Some(NewPage { invitation: invitation.id, name: hash_of(&keys.token()), until, bytes })
    }

    /// The next step of a greeting at this carrier: the page of the contact is fetched, or our card is left. `None` if there is none.
    pub(in crate::engine) fn greeting_for(&self, state: &State, contact: &Contact, carrier: Onion) -> Option<Deposit> {
        page_token(state, contact.id, carrier)?;
        let greets =
            !matches!(contact.status, ContactStatus::Blocked | ContactStatus::Request | ContactStatus::Revoked);
        let card = contact.cards.pending.as_ref().filter(|_| greets)?;
        if contact.certificate.is_none() {
            return Some(Deposit::Page);
        }
        (!self.left_cards.contains(&(carrier, card.content))).then_some(Deposit::Card(card.content))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::engine::api::{Request, Response};
    use crate::engine::state::book::ContactStatus;
    use crate::engine::state::mailbox::FolderRole;
    use crate::engine::tests::harness::{DAY, MINUTE, World, certificate};
    use crate::mail::page::PageKeys;

    const ALICE: usize = 0;
    const BOB: usize = 1;
    const HOUR: Duration = Duration::from_secs(3600);

    /// Alice has boxes at so many carriers, made an invitation, and is away; bob used it.
    fn greeted(seed: u64, carriers: u8) -> World {
        let mut world = World::new(seed, &["alice", "bob"]);
        for number in 0..carriers {
            let carrier = world.add_carrier(100 + number);
            let invitation = world.invite_to_box(carrier);
            world.rent(ALICE, &invitation, 120 + number).unwrap();
        }
        world.pass(5 * MINUTE);
        let expires = world.now.plus(14 * DAY);
        let invited = world.request(ALICE, Request::Invite { public: false, expires, label: None }).unwrap();
        let Response::Invited { text, .. } = invited else { panic!("no invitation") };
        world.pass(MINUTE);
        set_online(&mut world, ALICE, false);
        world.add(BOB, &text).unwrap();
        world
    }

    fn set_online(world: &mut World, node: usize, online: bool) {
        world.nodes[node].online = online;
        world.restart(node);
    }

    fn held(world: &World, carrier: usize) -> usize {
        let held = world.carriers[carrier].carrier.held();
        held.mailboxes().values().map(|mailbox| mailbox.objects().len()).sum()
    }

    fn status(world: &World, node: usize, of: usize) -> Option<ContactStatus> {
        world.contact(node, of).map(|contact| contact.status)
    }

    #[test]
    fn first_contact_while_the_other_is_away() {
        let mut world = greeted(1, 2);
        world.submit(BOB, ALICE, "hello").unwrap();
        world.pass(HOUR);
        assert_eq!((held(&world, 0), held(&world, 1)), (1, 1), "a card at each, and no mail before it is answered");
        world.apart.extend([(ALICE, BOB), (BOB, ALICE)]);
        set_online(&mut world, ALICE, true);
        world.pass(MINUTE);
        assert_eq!(status(&world, ALICE, BOB), Some(ContactStatus::Confirmed), "the carrier alone was enough");
        assert_eq!((held(&world, 0), held(&world, 1)), (0, 0));
        assert_eq!(status(&world, BOB, ALICE), Some(ContactStatus::Greeting));
        world.apart.clear();
        world.pass(2 * HOUR);
        assert_eq!(status(&world, BOB, ALICE), Some(ContactStatus::Confirmed));
        assert_eq!(world.messages(ALICE, FolderRole::Inbox).len(), 1);
        world.submit(ALICE, BOB, "welcome").unwrap();
        world.pass(MINUTE);
        assert_eq!(world.messages(BOB, FolderRole::Inbox).len(), 1);
        assert!(world.nodes[BOB].published.boxes.pages(world.contact(BOB, ALICE).unwrap().id).is_empty());
        world.check();
    }

    #[test]
    fn two_who_are_never_online_together_become_contacts_and_write() {
        let mut world = World::new(6, &["alice", "bob"]);
        for (node, number) in [(ALICE, 0), (BOB, 1)] {
            let carrier = world.add_carrier(100 + number);
            let invitation = world.invite_to_box(carrier);
            world.rent(node, &invitation, 120 + number).unwrap();
        }
        world.pass(5 * MINUTE);
        let text = world.invite(ALICE, false);
        world.pass(MINUTE);
        world.apart.extend([(ALICE, BOB), (BOB, ALICE)]);
        world.add(BOB, &text).unwrap();
        world.pass(3 * HOUR);
        assert_eq!(status(&world, ALICE, BOB), Some(ContactStatus::Confirmed));
        assert_eq!(status(&world, BOB, ALICE), Some(ContactStatus::Confirmed), "her card came to his box");
        world.submit(ALICE, BOB, "welcome").unwrap();
        world.submit(BOB, ALICE, "thank you").unwrap();
        world.pass(3 * HOUR);
        for node in [ALICE, BOB] {
            assert_eq!(world.messages(node, FolderRole::Inbox).len(), 1);
            assert_eq!(world.nodes[node].published.queue.len(), 0, "and its receipt came back");
        }
        assert_eq!((held(&world, 0), held(&world, 1)), (0, 0));
        world.check();
    }

    #[test]
    fn a_restart_at_any_moment_loses_no_greeting() {
        for step in 0..24 {
            let mut world = greeted(2, 1);
            world.pass(Duration::from_secs(step * 20));
            match step % 2 {
                0 => world.restart(BOB),
                _ => world.restart_carrier(0, false),
            }
            world.pass(2 * HOUR);
            assert_eq!(held(&world, 0), 1, "step {step}");
            set_online(&mut world, BOB, false);
            set_online(&mut world, ALICE, true);
            world.pass(HOUR);
            assert_eq!(status(&world, ALICE, BOB), Some(ContactStatus::Confirmed), "step {step}");
            set_online(&mut world, BOB, true);
            world.pass(HOUR);
            assert_eq!(status(&world, BOB, ALICE), Some(ContactStatus::Confirmed), "step {step}");
            world.check();
        }
    }

    #[test]
    fn a_card_that_waited_for_a_week_still_counts() {
        let mut world = greeted(3, 1);
        world.pass(HOUR);
        set_online(&mut world, BOB, false);
        // This is longer than the five days that a greeting counts, and the two by which clocks may differ.
        world.pass(9 * DAY);
        set_online(&mut world, ALICE, true);
        world.pass(HOUR);
        assert_eq!(status(&world, ALICE, BOB), Some(ContactStatus::Confirmed));
        world.check();
    }

    #[test]
    fn a_greeting_is_not_given_up_while_a_carrier_holds_it() {
        let mut world = greeted(7, 1);
        world.pass(10 * DAY);
        assert_eq!(held(&world, 0), 1);
        assert!(world.messages(BOB, FolderRole::Inbox).is_empty(), "bob is told that it failed");
        set_online(&mut world, ALICE, true);
        world.pass(2 * HOUR);
        assert_eq!(status(&world, ALICE, BOB), Some(ContactStatus::Confirmed));
        assert_eq!(status(&world, BOB, ALICE), Some(ContactStatus::Confirmed));
        // If the maker never comes for the card, the greeting ends.
        let mut world = greeted(8, 1);
        world.pass(15 * DAY);
        assert_eq!(world.messages(BOB, FolderRole::Inbox).len(), 1);
    }

    #[test]
    fn a_page_that_the_carrier_altered_is_not_used() {
        let mut world = greeted(4, 1);
        world.carriers[0].corrupt();
        world.pass(DAY);
        assert_eq!((held(&world, 0), world.contact(BOB, ALICE).unwrap().certificate.is_none()), (0, true));
        world.check();
    }

    #[test]
    fn only_the_answer_that_says_so_brings_a_page() {
        for answer in ["252 0", "450 TRY-LATER", "703 NO-MESSAGE"] {
            let mut world = greeted(10, 1);
            let page = world.carriers[0].held()[0].clone();
            let brings = |answer: &str| [format!("{answer} #{}\n", page.len()).as_bytes(), &page].concat();
            world.answers = vec![(b"FETCH ", brings(answer))];
            world.pass(HOUR);
            let fetched = world.commands.iter().filter(|command| command.starts_with("FETCH ")).count();
            assert!(fetched > 0 && world.contact(BOB, ALICE).unwrap().certificate.is_none(), "{answer}: {fetched}");
            world.answers = vec![(b"FETCH ", brings("251"))];
            world.pass(2 * HOUR);
            assert!(world.contact(BOB, ALICE).unwrap().certificate.is_some(), "the same octets, as a page");
        }
    }

    /// Everybody who has the invitation can make such a page.
    #[test]
    fn a_page_with_the_certificate_of_somebody_else_is_not_used() {
        let mut world = World::new(9, &["alice", "bob", "mallory"]);
        let carrier = world.add_carrier(100);
        let invitation = world.invite_to_box(carrier);
        world.rent(ALICE, &invitation, 120).unwrap();
        world.pass(5 * MINUTE);
        let text = world.invite(ALICE, false);
        world.pass(MINUTE);
        set_online(&mut world, ALICE, false);
        let secret = crate::mail::Invitation::parse(&text).unwrap().secret.unwrap();
        let keys = PageKeys::new(&secret, world.carriers[carrier].onion());
        let other = certificate(&world.fingerprint(2));
        world.carriers[carrier].replace(&keys.seal([1; 12], &other).unwrap());
        world.add(BOB, &text).unwrap();
        world.pass(DAY);
        assert!(world.contact(BOB, ALICE).unwrap().certificate.is_none(), "nothing is sealed to mallory");
        assert_eq!(held(&world, 0), 0, "and no card was left for her");
        let own = certificate(&world.fingerprint(ALICE));
        world.carriers[carrier].replace(&keys.seal([2; 12], &own).unwrap());
        world.pass(DAY);
        assert!(world.contact(BOB, ALICE).unwrap().certificate.is_some(), "alice's own is");
        world.check();
    }

    #[test]
    fn pages_are_for_private_invitations_only_and_each_is_posted_once() {
        let mut world = World::new(5, &["alice"]);
        let carrier = world.add_carrier(100);
        let invitation = world.invite_to_box(carrier);
        let before = world.invite(ALICE, false);
        world.rent(ALICE, &invitation, 120).unwrap();
        world.pass(5 * MINUTE);
        let named = |text: &str| crate::mail::Invitation::parse(text).unwrap().carriers.len();
        let (public, private) = (world.invite(ALICE, true), world.invite(ALICE, false));
        assert_eq!((named(&before), named(&public), named(&private)), (0, 0, 1));
        world.pass(DAY);
        let put = |world: &World| {
            let is_page = |record: &&(u64, _)| matches!(record.1, crate::engine::carrier::HeldRecord::PagePut { .. });
            world.carriers[carrier].log().iter().filter(is_page).count()
        };
        assert_eq!(put(&world), 1, "and not by every session");
        world.restart(ALICE);
        world.pass(HOUR);
        assert_eq!(put(&world), 2, "a start makes sure");
        world.check();
    }
}
