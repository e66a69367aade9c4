//! Stories of introductions: asked, granted, redeemed, declined, expired, joined; and what is forged.

use crate::base::ContentId;
use crate::engine::api::{Request, RequestError};
use crate::engine::state::book::ContactStatus;
use crate::engine::state::introductions::Policy;
use crate::engine::state::mailbox::FolderRole;
use crate::engine::tests::harness::{DAY, MINUTE, World, crypto};
use crate::engine::tests::scenarios::{ALICE, BOB, CAROL, world};
use crate::mail::introduction::{Grant, Introduction};
use crate::mail::{Content, ContentKind};

/// Bob knows alice and carol, who do not know each other.
fn apart() -> World {
    let mut world = world();
    world.introduce(BOB, ALICE);
    world.introduce(BOB, CAROL);
    world
}

/// Bob introduces alice to carol, who is asked first.
fn introduce(world: &mut World) -> Result<(), RequestError> {
    let (guest, host) = (world.contact(BOB, ALICE).unwrap().id, world.contact(BOB, CAROL).unwrap().id);
    world.request(BOB, Request::Introduce { guest, host, text: "We met in Wien.\nShe sings.".to_owned() })?;
    world.pass(MINUTE);
    Ok(())
}

/// Moves what is in Requests, or copies it.
fn decide(world: &mut World, node: usize, to: FolderRole, keep: bool) -> Result<(), RequestError> {
    let mailbox = world.nodes[node].published.mailbox.clone();
    let (from, to) = (mailbox.by_role(FolderRole::Requests).unwrap().id, mailbox.by_role(to).unwrap().id);
    let uids = world.messages(node, FolderRole::Requests).iter().map(|message| message.uid).collect();
    world.request(node, Request::Transfer { from, to, uids, keep })?;
    world.pass(MINUTE);
    Ok(())
}

fn asks(world: &World, node: usize) -> Vec<ContentId> {
    let parts = world.nodes[node].identity.state().introductions().parts();
    parts.asked.keys().chain(parts.offers.keys()).copied().collect()
}

#[test]
fn two_contacts_are_introduced_when_both_agree_and_neither_learns_of_the_other_before() {
    for keep in [false, true] {
        let mut world = apart();
        introduce(&mut world).unwrap();
        // Carol reads who asks and what he says; nothing names alice.
        let asked = world.texts(CAROL, FolderRole::Requests);
        assert!(asked.len() == 1 && asked[0].contains("> We met in Wien.\r\n> She sings."), "{asked:?}");
        assert!(!asked[0].contains(&world.address(ALICE)));
        let learned = |world: &World, node: usize, of: usize| {
            let address = world.address(of);
            world.texts(node, FolderRole::Requests).iter().any(|text| text.contains(&address))
        };
        assert!(world.messages(ALICE, FolderRole::Requests).is_empty(), "alice hears nothing before carol agrees");
        decide(&mut world, CAROL, FolderRole::Inbox, keep).unwrap();
        assert!(learned(&world, ALICE, CAROL) && world.contact(CAROL, ALICE).is_none());
        decide(&mut world, ALICE, FolderRole::Inbox, keep).unwrap();
        for (node, other) in [(ALICE, CAROL), (CAROL, ALICE)] {
            let contact = world.contact(node, other).unwrap();
            assert_eq!(contact.status, ContactStatus::Confirmed);
            let paths = world.nodes[node].identity.state().introductions().paths(&contact.fingerprint);
            let bob = world.contact(node, BOB).unwrap().id;
            assert!(paths.len() == 1 && paths[0].by == bob, "{paths:?}");
        }
        world.submit(ALICE, CAROL, "hello").unwrap();
        world.submit(CAROL, ALICE, "good day").unwrap();
        world.pass(MINUTE);
        assert!(world.texts(CAROL, FolderRole::Inbox).iter().any(|text| text.contains("Text of hello.")));
        assert!(world.texts(ALICE, FolderRole::Inbox).iter().any(|text| text.contains("Text of good day.")));
        assert!(world.nodes.iter().all(|node| node.published.queue.is_empty()));
        // What an entry was is known for as long as it is among those that ended: bob's two, and carol's grant.
        for (node, count) in world.nodes.iter().zip([0, 2, 1]) {
            let ended: Vec<_> = node.published.queue.ended().map(|queued| queued.id).collect();
            let kinds = &node.identity.state().introductions().parts().kinds;
            assert!(kinds.len() == count && kinds.keys().all(|queue| ended.contains(queue)), "{kinds:?}");
        }
        world.check();
    }
}

#[test]
fn who_declines_or_does_not_answer_is_not_introduced_and_the_introducer_learns_nothing() {
    for to in [FolderRole::Junk, FolderRole::Trash] {
        let mut world = apart();
        introduce(&mut world).unwrap();
        let before = world.objects.len();
        decide(&mut world, CAROL, to, false).unwrap();
        assert!(asks(&world, CAROL).is_empty());
        assert_eq!(world.contact(CAROL, BOB).unwrap().status, ContactStatus::Confirmed, "nobody is blocked");
        world.pass(20 * DAY);
        assert_eq!(world.objects.len(), before, "nothing left carol's node");
        assert!(world.texts(BOB, FolderRole::Inbox).is_empty());
        world.check();
    }
    // An answer after 14 days is none.
    let mut world = apart();
    introduce(&mut world).unwrap();
    world.pass(15 * DAY);
    assert!(decide(&mut world, CAROL, FolderRole::Inbox, false).is_ok());
    assert!(world.messages(ALICE, FolderRole::Requests).is_empty());
    // Bob may ask again then.
    introduce(&mut world).unwrap();
    assert_eq!(introduce(&mut world).unwrap_err().to_string(), "they were asked already, and have 14 days to answer");
    world.check();
}

#[test]
fn who_may_introduce_us_without_asking_does_and_who_never_may_does_not() {
    for (policy, offered, waits) in [(Policy::Yes, 1, 0), (Policy::Never, 0, 0), (Policy::Ask, 0, 1)] {
        let mut world = apart();
        let bob = world.contact(CAROL, BOB).unwrap().id;
        world.request(CAROL, Request::SetIntroductions(bob, policy)).unwrap();
        introduce(&mut world).unwrap();
        assert_eq!(world.messages(ALICE, FolderRole::Requests).len(), offered, "{policy:?}");
        assert_eq!(world.messages(CAROL, FolderRole::Requests).len(), waits, "{policy:?}");
        assert!(world.nodes[BOB].published.queue.is_empty(), "the introducer cannot tell that from waiting");
        world.check();
    }
}

#[test]
fn commands_decide_as_moving_the_message_does() {
    let mut world = apart();
    introduce(&mut world).unwrap();
    let id = asks(&world, CAROL)[0];
    world.request(CAROL, Request::AcceptIntroduction(id)).unwrap();
    world.pass(MINUTE);
    assert!(world.messages(CAROL, FolderRole::Requests).is_empty(), "the message goes to INBOX");
    assert!(world.request(CAROL, Request::AcceptIntroduction(id)).is_err());
    let id = asks(&world, ALICE)[0];
    world.request(ALICE, Request::DeclineIntroduction(id)).unwrap();
    world.pass(MINUTE);
    assert!(world.messages(ALICE, FolderRole::Requests).is_empty() && world.contact(ALICE, CAROL).is_none());
    assert!(world.request(ALICE, Request::DeclineIntroduction(id)).is_err());
    world.check();
}

#[test]
fn several_introducers_of_one_contact_are_remembered_and_a_contact_is_not_offered_again() {
    let mut world = World::new(9, &["alice", "bob", "carol", "dora"]);
    const DORA: usize = 3;
    world.introduce(BOB, ALICE);
    world.introduce(BOB, CAROL);
    world.introduce(DORA, ALICE);
    world.introduce(DORA, CAROL);
    introduce(&mut world).unwrap();
    decide(&mut world, CAROL, FolderRole::Inbox, false).unwrap();
    decide(&mut world, ALICE, FolderRole::Inbox, false).unwrap();
    let (guest, host) = (world.contact(DORA, ALICE).unwrap().id, world.contact(DORA, CAROL).unwrap().id);
    world.request(DORA, Request::Introduce { guest, host, text: String::new() }).unwrap();
    world.pass(MINUTE);
    decide(&mut world, CAROL, FolderRole::Inbox, false).unwrap();
    assert!(world.messages(ALICE, FolderRole::Requests).is_empty(), "alice knows carol already");
    let carol = world.contact(ALICE, CAROL).unwrap().fingerprint;
    let by: Vec<_> = world.nodes[ALICE].identity.state().introductions().paths(&carol).iter().map(|it| it.by).collect();
    assert_eq!(by, [BOB, DORA].map(|node| world.contact(ALICE, node).unwrap().id));
    world.check();
}

#[test]
fn two_introductions_of_one_person_that_are_accepted_together_are_two_paths() {
    const DORA: usize = 3;
    let mut world = World::new(9, &["alice", "bob", "carol", "dora"]);
    for introducer in [BOB, DORA] {
        [ALICE, CAROL].into_iter().for_each(|other| world.introduce(introducer, other));
        let (guest, host) =
            (world.contact(introducer, ALICE).unwrap().id, world.contact(introducer, CAROL).unwrap().id);
        world.request(introducer, Request::Introduce { guest, host, text: String::new() }).unwrap();
        world.pass(MINUTE);
    }
    decide(&mut world, CAROL, FolderRole::Inbox, false).unwrap();
    assert_eq!(world.messages(ALICE, FolderRole::Requests).len(), 2);
    decide(&mut world, ALICE, FolderRole::Inbox, false).unwrap();
    assert!(asks(&world, ALICE).is_empty(), "both are decided");
    let carol = world.contact(ALICE, CAROL).unwrap();
    assert_eq!(carol.status, ContactStatus::Confirmed);
    let paths = world.nodes[ALICE].identity.state().introductions().paths(&carol.fingerprint);
    let by: std::collections::BTreeSet<_> = paths.iter().map(|it| it.by).collect();
    assert_eq!(by, [BOB, DORA].map(|node| world.contact(ALICE, node).unwrap().id).into());
    world.check();
}

/// Carol has agreed, and bob's introduction waits for alice, who is away: the payload is changed.
fn forged(change: impl Fn(&mut Introduction, &World)) -> World {
    let mut world = apart();
    introduce(&mut world).unwrap();
    world.nodes[ALICE].online = false;
    decide(&mut world, CAROL, FolderRole::Inbox, false).unwrap();
    let queued = world.nodes[BOB].published.queue.iter().next().unwrap().clone();
    let mut introduction: Introduction = serde_json::from_slice(&world.nodes[BOB].bodies[&queued.body]).unwrap();
    change(&mut introduction, &world);
    let body = serde_json::to_vec(&introduction).unwrap();
    world.nodes[BOB].bodies.insert(queued.body, body.into());
    world.nodes[ALICE].online = true;
    world.pass(2 * 60 * MINUTE);
    world
}

fn with_grant(introduction: &mut Introduction, change: impl FnOnce(&mut Grant)) {
    let mut content = Content::decode(introduction.grant.clone()).unwrap();
    let mut grant: Grant = serde_json::from_slice(&content.payload).unwrap();
    change(&mut grant);
    content.payload = serde_json::to_vec(&grant).unwrap();
    introduction.grant = content.encode();
}

/// The host signs what was changed, so that another rule refuses it than that of the signature.
fn sign_again(introduction: &mut Introduction, world: &World) {
    let (carol, bob) = (world.fingerprint(CAROL), world.fingerprint(BOB));
    introduction.signature = crypto::signature(&carol, &bob, &introduction.grant);
}

#[test]
fn an_introduction_that_is_forged_is_refused() {
    assert_eq!(forged(|_, _| ()).messages(ALICE, FolderRole::Requests).len(), 1, "what is not forged is taken");
    let none = |world: World| {
        assert!(world.messages(ALICE, FolderRole::Requests).is_empty());
        assert!(asks(&world, ALICE).is_empty());
        world.check();
    };
    // The introducer gives its own key for the host's: the signature is not the host's.
    none(forged(|introduction, world| {
        let bob = world.fingerprint(BOB);
        introduction.signature = crypto::signature(&bob, &bob, &introduction.grant);
    }));
    // Another kind of content that the host signed.
    none(forged(|introduction, world| {
        let mut content = Content::decode(introduction.grant.clone()).unwrap();
        content.kind = ContentKind::Mail;
        introduction.grant = content.encode();
        sign_again(introduction, world);
    }));
    // The introducer introduces itself, or the guest.
    for node in [ALICE, BOB] {
        none(forged(|introduction, world| {
            let text = crate::mail::Invitation {
                address: world.public(node).address.clone(),
                fingerprint: world.fingerprint(node),
                secret: Some([1; 16]),
                expires: Some(world.now.plus(DAY)),
                carriers: Vec::new(),
            };
            with_grant(introduction, |grant| grant.invitations = vec![text.encode()]);
            sign_again(introduction, world);
        }));
    }
    // An address of another than the one whose certificate is in the grant.
    none(forged(|introduction, world| {
        let certificate = crate::engine::tests::harness::certificate(&world.fingerprint(BOB));
        with_grant(introduction, |grant| grant.certificate = certificate);
        sign_again(introduction, world);
    }));
    // A public invitation, or one that is none.
    none(forged(|introduction, world| {
        with_grant(introduction, |grant| grant.invitations = vec!["rune:aaaa".to_owned()]);
        sign_again(introduction, world);
    }));
}

#[test]
fn a_grant_that_nobody_asked_for_is_dropped_and_one_works_once() {
    let mut world = apart();
    introduce(&mut world).unwrap();
    let begun = world.nodes[BOB].identity.state().introductions().parts().begun.clone();
    assert_eq!(begun.len(), 1);
    // Bob removes the guest meanwhile: what carol grants goes nowhere.
    let alice = world.contact(BOB, ALICE).unwrap().id;
    world.request(BOB, Request::RemoveContact(alice)).unwrap();
    decide(&mut world, CAROL, FolderRole::Inbox, false).unwrap();
    assert!(world.messages(ALICE, FolderRole::Requests).is_empty());
    assert!(world.nodes[BOB].published.queue.is_empty());
    world.check();
}

#[test]
fn a_contact_that_floods_has_ten_introductions_waiting_and_no_more() {
    let mut world = apart();
    for _ in 0..12 {
        introduce(&mut world).unwrap();
        // Whoever takes an ask back may ask again.
        let id = *world.nodes[BOB].identity.state().introductions().parts().begun.keys().next().unwrap();
        world.request(BOB, Request::DeclineIntroduction(id)).unwrap();
    }
    assert_eq!(world.messages(CAROL, FolderRole::Requests).len(), 10);
    world.check();
}

#[test]
fn two_of_one_name_who_are_accepted_together_are_both_in_the_book() {
    let mut world = World::new(21, &["alice", "bob", "carol", "carol"]);
    for other in [ALICE, CAROL, 3] {
        world.introduce(BOB, other);
    }
    for host in [CAROL, 3] {
        let (guest, host_id) = (world.contact(BOB, ALICE).unwrap().id, world.contact(BOB, host).unwrap().id);
        world.request(BOB, Request::Introduce { guest, host: host_id, text: String::new() }).unwrap();
        world.pass(MINUTE);
        decide(&mut world, host, FolderRole::Inbox, false).unwrap();
    }
    assert_eq!(world.messages(ALICE, FolderRole::Requests).len(), 2);
    decide(&mut world, ALICE, FolderRole::Inbox, false).unwrap();
    for other in [CAROL, 3] {
        assert_eq!(world.contact(ALICE, other).unwrap().status, ContactStatus::Confirmed, "{other}");
    }
    world.check();
}

#[test]
fn what_can_no_longer_be_accepted_moves_like_any_message_and_holds_up_nothing_else() {
    let mut world = apart();
    introduce(&mut world).unwrap();
    let id = asks(&world, CAROL)[0];
    world.pass(15 * DAY);
    introduce(&mut world).unwrap();
    assert_eq!(world.messages(CAROL, FolderRole::Requests).len(), 2);
    decide(&mut world, CAROL, FolderRole::Inbox, false).unwrap();
    assert!(world.messages(CAROL, FolderRole::Requests).is_empty());
    assert_eq!(world.messages(ALICE, FolderRole::Requests).len(), 1, "the one that is open was accepted");
    assert!(world.request(CAROL, Request::AcceptIntroduction(id)).is_err());
    world.check();
}

#[test]
fn whoever_is_blocked_or_removed_can_use_nothing_that_was_granted_and_a_blocked_contact_is_not_offered() {
    for removed in [false, true] {
        let mut world = apart();
        introduce(&mut world).unwrap();
        decide(&mut world, CAROL, FolderRole::Inbox, false).unwrap();
        let bob = world.contact(CAROL, BOB).unwrap().id;
        let request = if removed { Request::RemoveContact(bob) } else { Request::Block(bob) };
        world.request(CAROL, request).unwrap();
        decide(&mut world, ALICE, FolderRole::Inbox, false).unwrap();
        // The invitation has ended, so that its user waits for carol's decision, as a stranger does.
        assert_eq!(world.contact(CAROL, ALICE).unwrap().status, ContactStatus::Request, "{removed}");
        world.check();
    }
    let mut world = apart();
    let text = world.invite(CAROL, false);
    world.add(ALICE, &text).unwrap();
    world.pass(MINUTE);
    let carol = world.contact(ALICE, CAROL).unwrap().id;
    world.request(ALICE, Request::Block(carol)).unwrap();
    introduce(&mut world).unwrap();
    decide(&mut world, CAROL, FolderRole::Inbox, false).unwrap();
    assert!(world.messages(ALICE, FolderRole::Requests).is_empty());
    assert_eq!(world.contact(ALICE, CAROL).unwrap().status, ContactStatus::Blocked);
    world.check();
}
