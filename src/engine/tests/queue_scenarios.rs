//! Stories of the queue: messages that wait, reports of them, how they end, and how a sender takes one back.

use std::sync::Arc;
use std::time::Duration;

use crate::base::limits::WIRE_ANSWER;
use crate::base::rng::SeededRng;
use crate::base::{ClockStep, QueueId};
use crate::engine::api::{DeliveryOptions, Request, RequestError, Response, Submission};
use crate::engine::io::{Input, Refusal};
use crate::engine::state::Lost;
use crate::engine::state::mailbox::{FolderRole, NamedFlags};
use crate::engine::state::outbox;
use crate::engine::state::queue::{Notify, Progress, RecipientOptions};
use crate::engine::state::record::{BookRecord, QueueRecord, Record};
use crate::engine::tests::harness::{DAY, MINUTE, World};

const ALICE: usize = 0;
pub(super) const BOB: usize = 1;
const CAROL: usize = 2;

pub(super) const HOUR: Duration = Duration::from_secs(3600);

/// alice knows bob, and bob is away.
pub(super) fn waiting() -> World {
    let mut world = World::new(1, &["alice", "bob", "carol"]);
    world.introduce(ALICE, BOB);
    world.nodes[BOB].online = false;
    world
}

pub(super) fn submit(world: &mut World, subject: &str) -> QueueId {
    match world.submit(ALICE, BOB, subject) {
        Ok(Response::Submitted(id)) => id,
        other => panic!("{other:?}"),
    }
}

fn submit_with(world: &mut World, to: &[usize], asked: DeliveryOptions) -> Response {
    let recipients: Vec<String> = to.iter().map(|node| world.address(*node)).collect();
    let message = format!(
        "From: <{}>\r\nSubject: asked\r\nMessage-ID: <asked@x>\r\n\r\nText of asked.\r\n",
        world.address(ALICE)
    );
    let submission = Submission { visible: vec![], recipients, message: message.into_bytes().into(), asked };
    world.request(ALICE, Request::Submit(submission)).unwrap()
}

fn asked(world: &World, to: usize, notify: Notify) -> DeliveryOptions {
    let options = RecipientOptions { notify, original: Some("rfc822;first@rune.internal".to_owned()) };
    DeliveryOptions { recipients: [(world.address(to), options)].into(), ..DeliveryOptions::default() }
}

pub(super) fn keywords(world: &World) -> Vec<Vec<String>> {
    let outbox = world.nodes[ALICE].published.mailbox.by_role(FolderRole::Outbox).unwrap().clone();
    let names = |message: &crate::engine::state::mailbox::Message| {
        outbox.keyword_names(message.flags).map(str::to_owned).collect()
    };
    outbox.messages.iter().map(names).collect()
}

/// Does what a mail program does when its user deletes everything in the Outbox.
fn delete_outbox(world: &mut World) -> Result<Response, RequestError> {
    let folder = world.nodes[ALICE].published.mailbox.by_role(FolderRole::Outbox).unwrap().id;
    let uids = world.messages(ALICE, FolderRole::Outbox).iter().map(|message| message.uid).collect();
    world.request(ALICE, Request::Expunge { folder, uids })
}

fn reports(world: &World) -> Vec<String> {
    world.texts(ALICE, FolderRole::Inbox)
}

#[test]
fn what_is_not_delivered_is_told_after_a_day_and_comes_back_after_five_with_one_report() {
    let mut world = waiting();
    submit(&mut world, "never");
    world.pass(DAY - MINUTE);
    assert!(reports(&world).is_empty());
    world.pass(2 * MINUTE);
    let notices = reports(&world);
    assert_eq!(notices.len(), 1);
    assert!(notices[0].contains("Subject: Your message is late") && notices[0].contains("Action: delayed"));
    assert_eq!(keywords(&world), [[outbox::WAITING, outbox::DELAYED]]);
    world.pass(4 * DAY - 10 * MINUTE);
    assert_eq!(reports(&world).len(), 1, "one notice is enough");
    world.pass(20 * MINUTE);
    let all = reports(&world);
    assert_eq!(all.len(), 2);
    assert!(all[1].contains("was not delivered") && all[1].contains("Subject: never\r\n"));
    assert!(world.nodes[ALICE].published.queue.is_empty() && keywords(&world).is_empty());
    assert!(world.nodes[ALICE].identity.poll_timeout().is_none(), "nothing is left to do");
    world.check();
}

#[test]
fn what_may_have_arrived_is_reported_as_unconfirmed_also_after_a_restart() {
    for restart in [false, true] {
        let mut world = waiting();
        world.nodes[BOB].online = true;
        world.cut_at = Some(b"202 ROGER");
        submit(&mut world, "perhaps");
        world.run();
        world.nodes[BOB].online = false;
        assert_eq!(keywords(&world), [[outbox::WAITING, outbox::UNCONFIRMED]]);
        if restart {
            world.restart(ALICE);
        }
        world.pass(6 * DAY);
        let all = reports(&world);
        assert_eq!(all.len(), 2);
        assert!(all[0].contains("no acknowledgement came") && all[1].contains("Delivery is unconfirmed"), "{all:?}");
        world.check();
    }
}

#[test]
fn one_copy_that_may_have_arrived_is_enough_for_the_message_to_be_marked() {
    // The recipients have entries of their own in the queue, as hidden recipients have; the one that is there is the
    // first or the last.
    for first in [false, true] {
        let mut world = waiting();
        world.introduce(ALICE, CAROL);
        world.nodes[CAROL].online = false;
        world.nodes[BOB].online = true;
        let mut recipients = vec![world.address(BOB), world.address(CAROL)];
        if !first {
            recipients.reverse();
        }
        let visible = recipients[..1].to_vec();
        let message = world.message(ALICE, "perhaps");
        world.cut_at = Some(b"202 ROGER");
        let submission = Submission { recipients, visible, message, asked: DeliveryOptions::default() };
        world.request(ALICE, Request::Submit(submission)).unwrap();
        world.pass(WIRE_ANSWER);
        assert_eq!(world.nodes[ALICE].published.queue.len(), 2);
        world.nodes[BOB].online = false;
        assert_eq!(keywords(&world), [[outbox::WAITING, outbox::UNCONFIRMED]], "first: {first}");
        world.restart(ALICE);
        assert_eq!(keywords(&world), [[outbox::WAITING, outbox::UNCONFIRMED]], "first: {first}");
        // The copy that arrived is acknowledged, and no other copy may have arrived.
        world.nodes[BOB].online = true;
        world.pass(2 * HOUR);
        let [marks] = &keywords(&world)[..] else { panic!() };
        assert!(!marks.iter().any(|mark| mark == outbox::UNCONFIRMED), "{marks:?}");
        world.check();
    }
}

#[test]
fn what_never_left_is_reported_as_not_delivered_also_after_a_restart() {
    let mut world = waiting();
    submit(&mut world, "never left");
    world.pass(DAY / 2);
    world.restart(ALICE);
    world.pass(6 * DAY);
    assert!(reports(&world)[1].contains("Their node could not be reached"), "{:?}", reports(&world));
}

/// The original of a restored copy of the log may have delivered the message.
#[test]
fn what_waits_in_a_restored_copy_is_reported_as_unconfirmed() {
    let mut world = waiting();
    submit(&mut world, "as the original did");
    let (made, rng) = (world.now, &mut SeededRng::new(7));
    let state = world.nodes[ALICE].identity.state();
    let (records, bodies) = state.restoration(made, made, rng);
    world.append(ALICE, records, bodies);
    world.restart(ALICE);
    assert_eq!(keywords(&world), [[outbox::WAITING, outbox::UNCONFIRMED]]);
    world.pass(6 * DAY);
    let all = reports(&world);
    assert!(all[0].contains("restored from a backup") && all[2].contains("Delivery is unconfirmed"), "{all:?}");
    world.check();
}

#[test]
fn what_waits_and_cannot_be_read_is_reported_by_a_repair() {
    for (records_lost, words) in [(false, "was not delivered"), (true, "Delivery is unconfirmed")] {
        let mut world = waiting();
        world.introduce(ALICE, CAROL);
        world.nodes[CAROL].online = false;
        submit_with(&mut world, &[BOB, CAROL], DeliveryOptions::default());
        world.run();
        let state = world.nodes[ALICE].identity.state();
        let bodies = state.queue().iter().map(|queued| queued.body).collect();
        let lost = Lost { bodies: &bodies, records: records_lost, lines: &["a line".to_owned()], kept: "/kept" };
        let (records, new) = state.repair(&lost, world.now, &mut SeededRng::new(7));
        world.append(ALICE, records, new);
        world.nodes[ALICE].bodies.retain(|body, _| !bodies.contains(body));
        world.restart(ALICE);
        assert!(world.nodes[ALICE].published.queue.is_empty() && keywords(&world).is_empty());
        let all = reports(&world);
        assert_eq!(all.len(), 2, "a report, and a notice");
        assert!([BOB, CAROL].iter().all(|to| all[0].contains(&world.address(*to))), "{all:?}");
        assert!(all[0].contains(words), "{all:?}");
        assert!(all[1].contains("a line") && all[1].contains("/kept"), "{all:?}");
        world.check();
    }
}

#[test]
fn what_cannot_be_sealed_any_more_may_have_arrived_before() {
    for sent_before in [false, true] {
        let mut world = waiting();
        world.cut_at = sent_before.then_some(b"202 ROGER");
        world.nodes[BOB].online = sent_before;
        submit(&mut world, "sealed once");
        world.pass(WIRE_ANSWER);
        world.cut_at = None;
        world.nodes[ALICE].sealing_fails = Some(Refusal::Permanent);
        world.nodes[BOB].online = true;
        world.pass(2 * HOUR);
        let all = reports(&world);
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].contains("Delivery is unconfirmed"), sent_before, "{all:?}");
        assert_eq!(all[0].contains("was not delivered"), !sent_before, "{all:?}");
        world.check();
    }
}

#[test]
fn what_may_have_arrived_is_unconfirmed_whatever_ends_it() {
    for sent_before in [false, true] {
        let mut world = waiting();
        world.cut_at = sent_before.then_some(b"202 ROGER");
        world.nodes[BOB].online = sent_before;
        submit(&mut world, "to somebody who is removed");
        world.run();
        world.nodes[BOB].online = false;
        let id = world.contact(ALICE, BOB).unwrap().id;
        world.append(ALICE, vec![Record::Book(BookRecord::ContactRemoved { id })], Vec::new());
        world.restart(ALICE);
        world.pass(MINUTE);
        let all = reports(&world);
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].contains("Delivery is unconfirmed"), sent_before, "{all:?}");
        world.check();
    }
}

/// Alice's own disk fails under a message that waits, for days.
#[test]
fn what_this_node_could_not_prepare_is_not_said_of_the_others() {
    let mut world = waiting();
    world.nodes[BOB].online = true;
    world.nodes[ALICE].sealing_fails = Some(Refusal::Temporary);
    submit(&mut world, "cannot be read");
    world.pass(6 * DAY);
    let all = reports(&world);
    assert_eq!(all.len(), 2);
    assert!(all[1].contains("damaged on this disk") && !all[1].contains("could not be reached"), "{all:?}");
    world.check();
}

/// A peer whose disk fails knows neither that it has the message nor that it does not, so it gives no answer.
#[test]
fn a_peer_whose_disk_failed_leaves_it_open_whether_it_has_the_message() {
    let mut world = waiting();
    world.nodes[BOB].online = true;
    world.nodes[BOB].failing_commits = 1;
    submit(&mut world, "may be there");
    world.pass(MINUTE);
    world.nodes[BOB].online = false;
    assert_eq!(keywords(&world), [[outbox::WAITING, outbox::UNCONFIRMED]]);
    world.pass(6 * DAY);
    assert!(reports(&world)[1].contains("Delivery is unconfirmed"), "{:?}", reports(&world));
    world.check();
}

/// Found by the simulation: a message that had arrived was called never sent, because our own disk failed when that was
/// noted.
#[test]
fn what_was_acknowledged_is_never_called_unsent() {
    let mut world = waiting();
    world.nodes[BOB].online = true;
    world.nodes[ALICE].failing_commits = 1;
    world.nodes[ALICE].failing_record =
        Some(|record| matches!(record, Record::Queue(QueueRecord::RecipientDelivered { .. })));
    submit(&mut world, "arrived");
    world.pass(MINUTE);
    world.nodes[BOB].online = false;
    assert_eq!(world.messages(BOB, FolderRole::Inbox).len(), 1);
    assert_eq!(keywords(&world), [[outbox::WAITING, outbox::UNCONFIRMED]]);
    world.check();
}

#[test]
fn a_refusal_says_that_nothing_was_kept() {
    let mut world = waiting();
    world.nodes[BOB].online = true;
    world.input(BOB, Input::DiskLow(true));
    submit(&mut world, "refused for now");
    world.pass(MINUTE);
    world.nodes[BOB].online = false;
    assert_eq!(keywords(&world), [[outbox::WAITING]]);
    world.pass(6 * DAY);
    assert!(
        reports(&world)[1].contains("could not be reached, or put it off"),
        "it was reached: {:?}",
        reports(&world)
    );
    world.check();
}

#[test]
fn a_connection_that_breaks_before_anything_was_handed_over_leaves_no_doubt() {
    let mut world = waiting();
    world.nodes[BOB].online = true;
    world.cut_at = Some(b"HOWDY");
    submit(&mut world, "not yet");
    world.pass(MINUTE);
    world.nodes[BOB].online = false;
    world.pass(Duration::from_secs(1));
    let all = keywords(&world);
    assert!(all == [[outbox::WAITING]] || all == [[outbox::WAITING, outbox::UNCONFIRMED]], "{all:?}");
    world.check();
}

#[test]
fn a_report_that_cannot_be_written_is_written_later() {
    let mut world = waiting();
    submit(&mut world, "never");
    world.nodes[ALICE].failing_commits = 3;
    world.pass(25 * HOUR);
    world.nodes[ALICE].failing_commits = 3;
    world.pass(6 * DAY);
    assert_eq!(reports(&world).len(), 2);
    assert!(world.nodes[ALICE].published.queue.is_empty());
}

#[test]
fn a_message_deleted_in_the_outbox_is_not_delivered_afterwards() {
    let mut world = waiting();
    submit(&mut world, "regretted");
    world.pass(HOUR);
    assert_eq!(delete_outbox(&mut world), Ok(Response::Changed(vec![1])));
    assert!(world.nodes[ALICE].published.queue.is_empty());
    world.nodes[BOB].online = true;
    world.pass(6 * DAY);
    assert!(world.messages(BOB, FolderRole::Inbox).is_empty());
    assert!(reports(&world).is_empty(), "its sender knows");
    let ended = world.nodes[ALICE].published.queue.ended().next().unwrap().clone();
    assert!(ended.recipients.values().all(|recipient| recipient.progress == Progress::Cancelled));
    world.check();
}

#[test]
fn moving_a_message_out_of_the_outbox_takes_it_back_and_keeps_it() {
    let mut world = waiting();
    submit(&mut world, "to be rewritten");
    let mailbox = world.nodes[ALICE].published.mailbox.clone();
    let id = |role| mailbox.by_role(role).unwrap().id;
    let (from, to) = (id(FolderRole::Outbox), id(FolderRole::Drafts));
    world.request(ALICE, Request::Transfer { from, to, uids: vec![1], keep: false }).unwrap();
    world.nodes[BOB].online = true;
    world.pass(DAY);
    assert!(world.messages(BOB, FolderRole::Inbox).is_empty());
    assert!(world.texts(ALICE, FolderRole::Drafts)[0].contains("Text of to be rewritten."));
    world.check();
}

/// A message that waits for carol is taken back; another, on its way to bob at that moment, is not, and no report says
/// that it was.
#[test]
fn what_is_on_the_wire_is_not_said_to_be_taken_back() {
    for (way, to) in [("expunge", None), ("move", Some(FolderRole::Drafts))] {
        let mut world = waiting();
        world.introduce(ALICE, CAROL);
        world.nodes[CAROL].online = false;
        world.submit(ALICE, CAROL, "waits").unwrap();
        world.pass(HOUR);
        world.nodes[BOB].online = true;
        let outbox = world.nodes[ALICE].published.mailbox.by_role(FolderRole::Outbox).unwrap().id;
        let submission = world.submission(ALICE, BOB, "on the wire");
        world.ask(ALICE, Request::Submit(submission));
        world.run_until(|world| {
            let identity = &world.nodes[ALICE].identity;
            world.nodes[ALICE].published.queue.iter().any(|queued| identity.rooms.deliver.is_on_the_wire(queued.id))
        });
        let uids = vec![1, 2];
        let request = match to {
            None => Request::Expunge { folder: outbox, uids },
            Some(role) => {
                let to = world.nodes[ALICE].published.mailbox.by_role(role).unwrap().id;
                Request::Transfer { from: outbox, to, uids, keep: false }
            }
        };
        assert_eq!(world.request(ALICE, request), Err(RequestError::BeingSent), "{way}");
        world.nodes[CAROL].online = true;
        world.pass(DAY);
        assert_eq!(world.messages(BOB, FolderRole::Inbox).len(), 1, "{way}");
        assert!(world.messages(CAROL, FolderRole::Inbox).is_empty(), "{way}");
        world.check();
    }
}

#[test]
fn copying_a_message_out_of_the_outbox_takes_nothing_back() {
    let mut world = waiting();
    submit(&mut world, "kept");
    let mailbox = world.nodes[ALICE].published.mailbox.clone();
    let id = |role| mailbox.by_role(role).unwrap().id;
    let (from, to) = (id(FolderRole::Outbox), id(FolderRole::Drafts));
    world.request(ALICE, Request::Transfer { from, to, uids: vec![1], keep: true }).unwrap();
    world.nodes[BOB].online = true;
    world.pass(2 * HOUR);
    assert_eq!(world.messages(BOB, FolderRole::Inbox).len(), 1);
    assert_eq!(world.messages(ALICE, FolderRole::Drafts).len(), 1);
    world.check();
}

#[test]
fn nothing_can_be_put_into_the_outbox() {
    let mut world = waiting();
    let mailbox = world.nodes[ALICE].published.mailbox.clone();
    let outbox = mailbox.by_role(FolderRole::Outbox).unwrap().id;
    let message: Arc<[u8]> = b"From: x\r\n\r\nx\r\n".as_slice().into();
    let append =
        |folder| Request::Append { folder, flags: NamedFlags::default(), date: None, message: message.clone() };
    assert_eq!(world.request(ALICE, append(outbox)), Err(RequestError::Outbox));
    let inbox = mailbox.by_role(FolderRole::Inbox).unwrap().id;
    world.request(ALICE, append(inbox)).unwrap();
    for keep in [true, false] {
        let transfer = Request::Transfer { from: inbox, to: outbox, uids: vec![1], keep };
        assert_eq!(world.request(ALICE, transfer), Err(RequestError::Outbox));
    }
}

#[test]
fn taking_back_what_may_have_arrived_says_so() {
    let mut world = waiting();
    world.nodes[BOB].online = true;
    world.cut_at = Some(b"202 ROGER");
    let id = submit(&mut world, "too late");
    world.pass(WIRE_ANSWER);
    world.nodes[BOB].online = false;
    assert_eq!(world.request(ALICE, Request::Cancel(id)), Ok(Response::Done));
    let all = reports(&world);
    assert_eq!(all.len(), 1);
    assert!(all[0].contains("You took the message back.") && all[0].contains("Delivery is unconfirmed"));
    assert!(matches!(world.request(ALICE, Request::Cancel(id)), Err(RequestError::NotFound(_))));
    world.check();
}

#[test]
fn taking_back_fails_with_the_disk_and_the_message_goes_on_its_way() {
    let mut world = waiting();
    let id = submit(&mut world, "still wanted");
    world.nodes[ALICE].failing_commits = 1;
    assert_eq!(world.request(ALICE, Request::Cancel(id)), Err(RequestError::Disk));
    world.nodes[BOB].online = true;
    world.pass(2 * HOUR);
    assert_eq!(world.messages(BOB, FolderRole::Inbox).len(), 1);
    world.check();
}

#[test]
fn a_submission_with_hidden_recipients_is_one_message_in_the_outbox() {
    let mut world = waiting();
    world.introduce(ALICE, CAROL);
    world.nodes[CAROL].online = false;
    let (bob, carol) = (world.address(BOB), world.address(CAROL));
    let text = "x".repeat(20_000);
    let message = format!("From: <{}>\r\nTo: <{bob}>\r\nSubject: s\r\n\r\n{text}\r\n", world.address(ALICE));
    let submission = Submission {
        recipients: vec![bob.clone(), carol],
        visible: vec![bob],
        message: message.into_bytes().into(),
        asked: DeliveryOptions::default(),
    };
    let Ok(Response::Submitted(id)) = world.request(ALICE, Request::Submit(submission)) else { panic!() };
    assert_eq!(world.nodes[ALICE].published.queue.len(), 2);
    assert_eq!(world.messages(ALICE, FolderRole::Outbox).len(), 1);
    world.nodes[BOB].online = true;
    world.pass(2 * HOUR);
    assert_eq!(keywords(&world).len(), 1, "carol still waits");
    world.request(ALICE, Request::Cancel(id)).unwrap_err();
    delete_outbox(&mut world).unwrap();
    assert!(world.nodes[ALICE].published.queue.is_empty());
    world.check();
}

#[test]
fn retrying_by_hand_does_not_wait_for_the_next_attempt() {
    let mut world = waiting();
    let id = submit(&mut world, "now");
    world.pass(DAY / 2);
    world.nodes[BOB].online = true;
    world.request(ALICE, Request::Retry(Some(id))).unwrap();
    world.pass(WIRE_ANSWER);
    assert_eq!(world.messages(BOB, FolderRole::Inbox).len(), 1);
    assert!(matches!(world.request(ALICE, Request::Retry(Some(id))), Err(RequestError::NotFound(_))));
    world.request(ALICE, Request::Retry(None)).unwrap();
}

#[test]
fn reports_are_given_as_the_mail_program_asked() {
    let mut world = waiting();
    let never = Notify { success: false, failure: false, delay: false };
    let asked_never = asked(&world, BOB, never);
    submit_with(&mut world, &[BOB], asked_never);
    world.pass(6 * DAY);
    assert!(reports(&world).is_empty() && world.nodes[ALICE].published.queue.is_empty());

    let success = Notify { success: true, failure: false, delay: false };
    let mut asked_success = asked(&world, BOB, success);
    asked_success.envelope = Some("QQ314159".to_owned());
    submit_with(&mut world, &[BOB], asked_success);
    world.nodes[BOB].online = true;
    world.pass(2 * HOUR);
    let all = reports(&world);
    assert_eq!(all.len(), 1);
    for part in [
        "Subject: Your message was delivered",
        "Action: delivered",
        "Original-Envelope-Id: QQ314159",
        "Original-Recipient: rfc822;first@rune.internal",
        "In-Reply-To: <asked@x>",
    ] {
        assert!(all[0].contains(part), "{part} in {}", all[0]);
    }
    world.check();
}

#[test]
fn a_failed_message_is_returned_whole_where_that_was_asked_for() {
    let mut world = waiting();
    submit_with(&mut world, &[BOB], DeliveryOptions { full: true, ..DeliveryOptions::default() });
    world.pass(6 * DAY);
    assert!(reports(&world)[1].contains("\r\n\r\nText of asked.\r\n"), "{:?}", reports(&world));
    assert!(!reports(&world)[0].contains("Text of asked."), "a notice holds the header only");
    world.check();
}

#[test]
fn a_clock_that_was_wrong_for_a_moment_ends_nothing() {
    let mut world = waiting();
    submit(&mut world, "patience");
    world.pass(HOUR);
    let before = world.now;
    world.now = world.now.plus(30 * DAY);
    world.input(ALICE, Input::ClockSet(ClockStep::Forward(30 * DAY)));
    world.pass(HOUR / 2);
    assert!(reports(&world).is_empty());
    world.now = before.plus(HOUR / 2);
    world.input(ALICE, Input::ClockSet(ClockStep::Back(30 * DAY)));
    world.nodes[BOB].online = true;
    world.pass(2 * HOUR);
    assert_eq!(world.messages(BOB, FolderRole::Inbox).len(), 1, "it is not tried in thirty days, but soon");
    assert!(reports(&world).is_empty());
}

#[test]
fn a_node_that_was_off_for_a_week_tries_once_more_before_it_gives_up() {
    let mut world = waiting();
    submit(&mut world, "once more");
    world.now = world.now.plus(6 * DAY);
    world.restart(ALICE);
    world.nodes[BOB].online = true;
    world.pass(MINUTE);
    assert_eq!(world.messages(BOB, FolderRole::Inbox).len(), 1);
    assert!(reports(&world).is_empty());
}

#[test]
fn a_copy_of_what_was_submitted_shares_its_text() {
    let mut world = waiting();
    let text = "All work and no play. ".repeat(2000);
    let message = format!("From: <{}>\r\nSubject: s\r\n\r\n{text}\r\n", world.address(ALICE));
    let recipients = vec![world.address(BOB)];
    let message = message.into_bytes().into();
    let submission = Submission { recipients, visible: vec![], message, asked: DeliveryOptions::default() };
    world.request(ALICE, Request::Submit(submission)).unwrap();
    let sent = world.nodes[ALICE].published.mailbox.by_role(FolderRole::Sent).unwrap().id;
    let save = |text: &str| {
        let message: Arc<[u8]> = format!("From: x\r\nBcc: y\r\n\r\n{text}\r\n").into_bytes().into();
        Request::Append { folder: sent, flags: NamedFlags::default(), date: None, message }
    };
    world.request(ALICE, save(&text)).unwrap();
    world.request(ALICE, save(&text.to_uppercase())).unwrap();
    assert_eq!(world.nodes[ALICE].shared, [false, true, false], "the message, its copy, another one");
}

#[test]
fn an_older_identity_gets_the_folders_that_came_later() {
    let world = waiting();
    let mut state = crate::engine::State::default();
    for (number, record) in world.nodes[ALICE].log.iter().filter(|(number, _)| *number != 9) {
        state.apply(*number, record);
    }
    assert!(state.mailbox().by_role(FolderRole::Outbox).is_none());
    let mut rng = SeededRng::new(1);
    for record in state.missing_folders(world.now, &mut rng) {
        assert_eq!(state.apply(state.last_record() + 1, &record), crate::engine::state::Applied::Done);
    }
    assert!(state.mailbox().by_role(FolderRole::Outbox).is_some());
    assert!(state.missing_folders(world.now, &mut rng).is_empty());
}
