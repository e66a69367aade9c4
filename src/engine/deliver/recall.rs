//! Taking back a message that waits, or trying it at once: by the command line, or by removing it from the Outbox.
//!
//! A message that is being handed over at this moment cannot be taken back: its outcome comes first. A message that was
//! sent before without an answer may have arrived; then a report says so.

use crate::base::QueueId;
use crate::mail::ContentKind;

use crate::engine::api::{RequestError, Response};
use crate::engine::change::{Answer, Change, Outcome};
use crate::engine::context::Context;
use crate::engine::deliver::Deliver;
use crate::engine::deliver::reports;
use crate::engine::io::Draft;
use crate::engine::state::mailbox::Uid;
use crate::engine::state::record::{QueueRecord, Record};

const UNKNOWN: RequestError = RequestError::NotFound("message in the queue");

/// Takes a message back from every recipient that waits for it, with the copies of the same submission.
pub(in crate::engine) fn cancel(cx: &mut Context<'_>, deliver: &Deliver, queue: QueueId) -> Outcome {
    if cx.state.queue().get(queue).is_none() {
        return Err(UNKNOWN);
    }
    let shown = cx.state.outbox().message(queue);
    let queues = shown.map_or_else(|| vec![queue], |uid| cx.state.outbox().queues(uid).to_vec());
    if queues.iter().any(|queue| deliver.is_on_the_wire(*queue)) {
        return Err(RequestError::BeingSent);
    }
    if queues.iter().any(|queue| cx.state.introductions().kind(*queue) == ContentKind::Revocation) {
        return Err(RequestError::NotReady("a revocation cannot be taken back: your contacts are to hear of it"));
    }
    let mut change = Change::new(Vec::new(), Answer::Always(Response::Done));
    recall(cx, &queues, &mut change);
    // The record of the message that was named comes first: if it was delivered a moment before, there was nothing to
    // take back.
    change.records.sort_by_key(
        |record| !matches!(record, Record::Queue(QueueRecord::SubmissionCancelled { queue: id }) if *id == queue),
    );
    change.answer = Answer::First(Response::Done, UNKNOWN);
    Ok(change)
}

/// Keeps of these messages of the Outbox those that can be taken back now; says whether that is all of them.
pub(in crate::engine) fn retain_recallable(cx: &Context<'_>, deliver: &Deliver, uids: &mut Vec<Uid>) -> bool {
    let asked = uids.len();
    uids.retain(|uid| cx.state.outbox().queues(*uid).iter().all(|queue| !deliver.is_on_the_wire(*queue)));
    uids.len() == asked
}

/// Adds to a change the records that take these messages of the Outbox back.
pub(in crate::engine) fn recall_shown(cx: &mut Context<'_>, uids: &[Uid], change: &mut Change) {
    let queues: Vec<QueueId> = uids.iter().flat_map(|uid| cx.state.outbox().queues(*uid).to_vec()).collect();
    recall(cx, &queues, change);
}

fn recall(cx: &mut Context<'_>, queues: &[QueueId], change: &mut Change) {
    for &queue in queues {
        if cx.state.queue().get(queue).is_some() {
            let mut recalled = Draft::from(Record::Queue(QueueRecord::SubmissionCancelled { queue }));
            reports::add_recall(cx, queue, &mut recalled);
            change.records.extend(recalled.records);
            change.bodies.extend(recalled.bodies);
            change.recalled.push(queue);
        }
    }
}

/// Tries one message now, or all that wait.
pub(in crate::engine) fn retry(cx: &mut Context<'_>, deliver: &mut Deliver, queue: Option<QueueId>) -> Outcome {
    let mut contacts = std::collections::BTreeSet::new();
    match queue {
        Some(queue) => {
            let queued = cx.state.queue().get(queue).ok_or(UNKNOWN)?;
            contacts.extend(queued.waiting().map(|(contact, _)| contact));
        }
        None => {
            let waiting = cx.state.queue().iter().flat_map(|queued| queued.waiting());
            contacts.extend(waiting.map(|(contact, _)| contact));
        }
    }
    for contact in contacts {
        deliver.schedule.try_now(contact, cx.now);
    }
    cx.out.attempts_changed();
    Ok(Change::new(Vec::new(), Answer::Always(Response::Done)))
}
