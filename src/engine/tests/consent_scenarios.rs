//! Stories of messages to several people who see each other, and who agree to that first.

use crate::base::QueueId;
use crate::engine::api::{DeliveryOptions, Request, RequestError, Response, Submission};
use crate::engine::state::book::ContactStatus;
use crate::engine::state::introductions::Policy;
use crate::engine::state::mailbox::FolderRole;
use crate::engine::tests::harness::{DAY, MINUTE, World};
use crate::mail::introduction::Introduction;

const ALICE: usize = 0;
const BOB: usize = 1;
const CAROL: usize = 2;
const DORA: usize = 3;
const OTHERS: [usize; 3] = [ALICE, CAROL, DORA];

/// Bob knows three who do not know each other.
fn apart() -> World {
    let mut world = World::new(11, &["alice", "bob", "carol", "dora"]);
    OTHERS.into_iter().for_each(|other| world.introduce(BOB, other));
    world
}

/// A message of one node to these, who all see each other.
fn write(world: &mut World, from: usize, to: &[usize], subject: &str) -> Result<QueueId, RequestError> {
    let recipients: Vec<String> = to.iter().map(|node| world.address(*node)).collect();
    let text = format!(
        "From: <{}>\r\nTo: <{}>\r\nSubject: {subject}\r\n\r\nx\r\n",
        world.address(from),
        recipients.join(">, <")
    );
    let (message, visible) = (text.into_bytes().into(), recipients.clone());
    let submission = Submission { recipients, visible, message, asked: DeliveryOptions::default() };
    match world.request(from, Request::Submit(submission))? {
        Response::Submitted(queue) => Ok(queue),
        other => panic!("{other:?}"),
    }
}

fn agree(world: &mut World, node: usize, to: FolderRole) {
    let mailbox = world.nodes[node].published.mailbox.clone();
    let (from, to) = (mailbox.by_role(FolderRole::Requests).unwrap().id, mailbox.by_role(to).unwrap().id);
    let uids = world.messages(node, FolderRole::Requests).iter().map(|message| message.uid).collect();
    world.request(node, Request::Transfer { from, to, uids, keep: false }).unwrap();
    world.pass(MINUTE);
}

fn has(world: &World, node: usize, subject: &str) -> bool {
    world.texts(node, FolderRole::Inbox).iter().any(|text| text.contains(&format!("Subject: {subject}\r\n")))
}

#[test]
fn a_message_to_three_who_have_not_met_goes_when_all_agree_and_everybody_can_answer_everybody() {
    let mut world = apart();
    let queue = write(&mut world, BOB, &OTHERS, "dinner").unwrap();
    world.pass(MINUTE);
    for node in OTHERS {
        let asked = world.texts(node, FolderRole::Requests);
        assert!(asked.len() == 1 && asked[0].contains("2 other people"), "{asked:?}");
        for other in OTHERS.into_iter().filter(|other| *other != node) {
            assert!(!asked[0].contains(&world.address(other)), "nobody is named before all have agreed");
        }
    }
    for node in OTHERS {
        assert!(OTHERS.into_iter().all(|other| !has(&world, other, "dinner")));
        assert!(world.nodes[BOB].published.introductions.is_held(queue));
        // It is known on the disk who has agreed.
        world.restart(BOB);
        agree(&mut world, node, FolderRole::Inbox);
    }
    world.pass(5 * MINUTE);
    assert!(OTHERS.into_iter().all(|node| has(&world, node, "dinner")));
    for node in OTHERS {
        for other in OTHERS.into_iter().filter(|other| *other != node) {
            assert_eq!(world.contact(node, other).unwrap().status, ContactStatus::Confirmed, "{node} {other}");
        }
        assert!(world.messages(node, FolderRole::Requests).is_empty());
    }
    assert!(world.nodes.iter().all(|node| node.published.queue.is_empty()));
    // An answer to all needs nobody's consent any more, and neither does the next message.
    for from in [CAROL, ALICE, DORA, BOB] {
        let to: Vec<usize> = (0..4).filter(|node| *node != from).collect();
        let subject = format!("answer {from}");
        let queue = write(&mut world, from, &to, &subject).unwrap();
        assert!(!world.nodes[from].published.introductions.is_held(queue), "{from}");
        world.pass(MINUTE);
        assert!(to.into_iter().all(|node| has(&world, node, &subject)), "{from}");
    }
    world.check();
}

#[test]
fn where_somebody_declines_nothing_goes_and_the_author_hears_what_to_do() {
    let mut world = apart();
    write(&mut world, BOB, &[ALICE, CAROL], "dinner").unwrap();
    world.pass(MINUTE);
    agree(&mut world, ALICE, FolderRole::Inbox);
    agree(&mut world, CAROL, FolderRole::Trash);
    world.pass(2 * DAY);
    let notices = world.texts(BOB, FolderRole::Inbox);
    assert!(notices.len() == 1 && notices[0].contains("has agreed yet to be shown to the others"), "{notices:?}");
    world.pass(5 * DAY);
    let reports = world.texts(BOB, FolderRole::Inbox);
    assert!(reports.len() == 2 && reports[1].contains("put all but one into Bcc"), "{reports:?}");
    assert!(reports[1].contains("Action: failed"));
    assert!(!has(&world, ALICE, "dinner") && !has(&world, CAROL, "dinner"));
    assert!(world.contact(ALICE, CAROL).is_none() && world.contact(CAROL, ALICE).is_none());
    assert!(world.nodes[BOB].published.introductions.parts().held.is_empty());
    world.check();
}

#[test]
fn a_message_that_is_taken_back_while_it_is_held_goes_to_nobody() {
    let mut world = apart();
    let queue = write(&mut world, BOB, &[ALICE, CAROL], "dinner").unwrap();
    world.pass(MINUTE);
    world.request(BOB, Request::Cancel(queue)).unwrap();
    agree(&mut world, ALICE, FolderRole::Inbox);
    agree(&mut world, CAROL, FolderRole::Inbox);
    assert!(world.nodes.iter().all(|node| node.published.queue.is_empty()));
    assert!(!has(&world, ALICE, "dinner") && world.contact(ALICE, CAROL).is_none());
    world.check();
}

#[test]
fn who_agrees_always_is_not_asked_and_who_never_does_is_not_shown() {
    let mut world = apart();
    let policy = |world: &mut World, node: usize, policy| {
        let bob = world.contact(node, BOB).unwrap().id;
        world.request(node, Request::SetIntroductions(bob, policy)).unwrap();
    };
    [ALICE, CAROL].into_iter().for_each(|node| policy(&mut world, node, Policy::Yes));
    policy(&mut world, DORA, Policy::Never);
    write(&mut world, BOB, &[ALICE, CAROL], "dinner").unwrap();
    write(&mut world, BOB, &[ALICE, DORA], "lunch").unwrap();
    world.pass(5 * MINUTE);
    assert!(has(&world, ALICE, "dinner") && has(&world, CAROL, "dinner"));
    assert!(!has(&world, ALICE, "lunch") && !has(&world, DORA, "lunch"));
    assert!(OTHERS.into_iter().all(|node| world.messages(node, FolderRole::Requests).is_empty()));
    assert_eq!(world.contact(ALICE, CAROL).unwrap().status, ContactStatus::Confirmed);
    world.check();
}

#[test]
fn a_consent_that_was_not_given_or_was_given_to_somebody_else_adds_nobody() {
    // Carol agreed to be introduced to alice by bob; he claims that alice has agreed as well.
    let mut world = apart();
    let (guest, host) = (world.contact(BOB, ALICE).unwrap().id, world.contact(BOB, CAROL).unwrap().id);
    world.request(BOB, Request::Introduce { guest, host, text: String::new() }).unwrap();
    world.pass(MINUTE);
    world.nodes[ALICE].online = false;
    agree(&mut world, CAROL, FolderRole::Inbox);
    let queued = world.nodes[BOB].published.queue.iter().next().unwrap().clone();
    let mut introduction: Introduction = serde_json::from_slice(&world.nodes[BOB].bodies[&queued.body]).unwrap();
    introduction.agreed = Some(queued.content);
    let body = serde_json::to_vec(&introduction).unwrap();
    world.nodes[BOB].bodies.insert(queued.body, body.into());
    world.nodes[ALICE].online = true;
    world.pass(2 * 60 * MINUTE);
    assert_eq!(world.messages(ALICE, FolderRole::Requests).len(), 1, "alice is asked");
    assert!(world.contact(ALICE, CAROL).is_none());
    world.check();
}

#[test]
fn a_consent_counts_for_as_many_people_as_were_named_and_for_no_more() {
    let mut world = apart();
    let dora = world.contact(DORA, BOB).unwrap().id;
    world.request(DORA, Request::SetIntroductions(dora, Policy::Yes)).unwrap();
    write(&mut world, BOB, &[ALICE, CAROL], "dinner").unwrap();
    world.pass(MINUTE);
    [ALICE, CAROL].into_iter().for_each(|node| agree(&mut world, node, FolderRole::Inbox));
    world.pass(5 * MINUTE);
    assert!(has(&world, ALICE, "dinner") && world.contact(ALICE, CAROL).is_some());
    // Alice or carol was the guest: bob claims her consent once more, for dora, who agrees to a message to both.
    for guest in [ALICE, CAROL] {
        let agreed = *world.nodes[guest].identity.state().introductions().parts().agreed.keys().next().unwrap();
        let (of, host) = (world.contact(BOB, guest).unwrap().id, world.contact(BOB, DORA).unwrap().id);
        world.nodes[guest].online = false;
        let message = write(&mut world, BOB, &[guest, DORA], "supper").unwrap();
        world.request(BOB, Request::Introduce { guest: of, host, text: String::new() }).unwrap();
        world.pass(MINUTE);
        let bob = &mut world.nodes[BOB];
        let given = bob.published.introductions.parts().held[&message].given[&host].clone();
        let queue = bob.published.queue.iter();
        let (body, introduction) = queue
            .filter(|queued| queued.recipients.contains_key(&of))
            .find_map(|queued| {
                Some((queued.body, serde_json::from_slice::<Introduction>(&bob.bodies[&queued.body]).ok()?))
            })
            .unwrap();
        let Introduction { text, place, .. } = introduction;
        let forged =
            Introduction { text, place, agreed: Some(agreed), grant: given.content, signature: given.signature };
        bob.bodies.insert(body, serde_json::to_vec(&forged).unwrap().into());
        world.nodes[guest].online = true;
        world.pass(2 * 60 * MINUTE);
    }
    let added = [ALICE, CAROL].into_iter().filter(|guest| world.contact(*guest, DORA).is_some()).count();
    // The guest used an invitation, and the host's was used: neither consent counts for anybody more. Bob's ask and what he
    // claims wait.
    assert_eq!((added, [ALICE, CAROL].map(|guest| world.messages(guest, FolderRole::Requests).len())), (0, [2, 2]));
    world.check();
}

#[test]
fn an_invitation_that_was_granted_for_a_message_makes_nobody_more_a_contact_than_were_named() {
    let mut world = apart();
    let queue = write(&mut world, BOB, &[ALICE, CAROL], "dinner").unwrap();
    world.pass(MINUTE);
    // Bob's node notes what each of them grants, before the other has agreed.
    let granted = |world: &World, by: usize| {
        let held = world.nodes[BOB].published.introductions.parts().held.get(&queue).unwrap().clone();
        let content = held.given[&world.contact(BOB, by).unwrap().id].content.clone();
        let payload = crate::mail::Content::decode(content).unwrap().payload;
        serde_json::from_slice::<crate::mail::introduction::Grant>(&payload).unwrap().invitations[0].clone()
    };
    agree(&mut world, ALICE, FolderRole::Inbox);
    let text = granted(&world, ALICE);
    agree(&mut world, CAROL, FolderRole::Inbox);
    world.pass(5 * MINUTE);
    assert_eq!(world.contact(ALICE, CAROL).unwrap().status, ContactStatus::Confirmed);
    // He, or somebody to whom he gave it, uses it once more.
    world.add(DORA, &text).unwrap();
    world.pass(5 * MINUTE);
    assert_eq!(world.contact(ALICE, DORA).unwrap().status, ContactStatus::Request);
    world.check();
}

#[test]
fn who_has_not_answered_yet_cannot_be_asked() {
    let mut world = World::new(12, &["alice", "bob", "carol"]);
    world.introduce(BOB, CAROL);
    let text = world.invite(ALICE, false);
    world.nodes[ALICE].online = false;
    world.add(BOB, &text).unwrap();
    let refused = write(&mut world, BOB, &[ALICE, CAROL], "x").unwrap_err();
    assert!(matches!(&refused, RequestError::NotIntroduced { .. }), "{refused:?}");
    assert!(world.nodes[BOB].published.queue.is_empty());
}
