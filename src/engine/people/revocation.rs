//! Revocations (docs/protocol.md, "Revocation"): an identity tells its contacts that its onion or its key must not be used
//! any more, and sends nothing else from then on; what it means where a contact says so.

use std::collections::BTreeMap;

use crate::base::ids::Fingerprint;
use crate::base::limits;
use crate::base::{BodyId, ContentId, QueueId, Timestamp};
use crate::mail::Revocation;
use crate::mail::revocation::{Extent, notice};

use crate::engine::api::{RequestError, Response};
use crate::engine::change::{Answer, Change, Outcome};
use crate::engine::context::Context;
use crate::engine::io::{Draft, NewBody};
use crate::engine::state::State;
use crate::engine::state::book::{ContactChange, ContactStatus};
use crate::engine::state::mailbox::FolderRole;
use crate::engine::state::queue::{Addressee, Progress, Submitted};
use crate::engine::state::record::{BookRecord, ContentKey, IdentityRecord, PeopleRecord, Record};
use crate::engine::state::revocations::Revoked;

/// The field by which a report names the revocation.
const HEADERS: &[u8] = b"Subject: The revocation of this identity\r\n";

/// The statement of this identity that revokes so much; `None` before its first record.
pub(in crate::engine) fn statement(state: &State, extent: Extent) -> Option<Revocation> {
    let profile = state.profile()?;
    let public = &profile.public;
    Some(Revocation {
        onion: public.onion(),
        certificate: public.certificate.to_vec(),
        binding: public.binding.clone(),
        onion_revocation: extent.onion.then(|| profile.onion_revocation.clone()),
        key_revocation: extent.key.then(|| profile.certificate_revocation.clone()),
    })
}

/// Revokes the onion of this identity, its key or both, and tells every contact that both sides know. Answers with the
/// statement for everybody else. Where that was done before, nothing is sent again.
pub(in crate::engine) fn revoke(cx: &mut Context<'_>, extent: Extent) -> Outcome {
    let before = cx.state.revoked().map(|revoked| revoked.extent).unwrap_or_default();
    let all = before.and(extent);
    let Some(statement) = statement(cx.state, all) else { return Err(RequestError::NotFound("identity")) };
    let payload = statement.payload();
    let told = |contacts| Response::Revoked { statement: payload.clone(), contacts };
    if extent.is_within(before) {
        return Ok(Change::new(Vec::new(), Answer::Always(told(0))));
    }
    let contacts = cx.state.book().contacts().filter(|contact| contact.status == ContactStatus::Confirmed);
    let recipients: BTreeMap<_, _> = contacts
        .map(|contact| (contact.id, Addressee { address: contact.address.clone(), progress: Progress::Queued }))
        .collect();
    let answer = Answer::First(told(recipients.len()), RequestError::NotFound("identity"));
    // Nobody is greeted any more, and no card leaves.
    let settled = cx.state.book().contacts().filter_map(|contact| {
        let change = ContactChange::CardSettled(contact.cards.pending.as_ref()?.content);
        Some(Record::Book(BookRecord::ContactChanged { id: contact.id, change }))
    });
    let settled: Vec<_> = settled.collect();
    let body = NewBody { report: true, ..NewBody::new(BodyId::random(cx.rng), payload.clone().into()) };
    let queued = (!recipients.is_empty()).then(|| {
        Box::new(Submitted {
            id: QueueId::random(cx.rng),
            content: ContentId::random(cx.rng),
            body: body.id,
            size: u32::try_from(body.bytes.len()).unwrap_or(u32::MAX),
            submitted: cx.now,
            // As long as a content may live: people who are on holiday are to hear of it as well.
            expires: Timestamp::from_secs(cx.now.plus(limits::EXPIRY_MAX).secs()),
            recipients,
            headers: HEADERS.to_vec(),
        })
    });
    let bodies = queued.iter().map(|_| body.clone()).collect();
    let record = Record::Identity(IdentityRecord::IdentityRevoked { extent: all, at: cx.now, queued });
    let records = std::iter::once(record).chain(settled).collect();
    Ok(Change { bodies, ..Change::new(records, answer) })
}

/// What a revocation that is true means here: for a contact with that key, or for nobody.
pub(in crate::engine) fn taken(
    cx: &mut Context<'_>,
    seen: Option<ContentKey>,
    fingerprint: Fingerprint,
    revocation: &Revocation,
) -> Draft {
    let extent = revocation.extent();
    let contact = cx.state.book().by_fingerprint(&fingerprint).cloned();
    let known = cx.state.revocations().of(&fingerprint).map(|revoked| revoked.extent).unwrap_or_default();
    let id = seen.map_or_else(|| ContentId::random(cx.rng), |seen| seen.content);
    let text = contact.as_ref().filter(|_| !extent.is_within(known)).map(|contact| {
        notice(cx.address(), (contact.petname.as_str(), &contact.address), known.and(extent), id, cx.now)
    });
    // If INBOX takes no more, the revocation counts all the same.
    let told = text.and_then(|text| cx.own_message(FolderRole::Inbox, text));
    let (told, body) = told.map(|(folder, message, body)| ((folder, message), body)).unzip();
    let record = PeopleRecord::RevocationTaken {
        seen: seen.map(Box::new),
        fingerprint,
        revoked: Revoked { onion: revocation.onion, extent, at: cx.now },
        contact: contact.map(|contact| contact.id),
        notice: told.map(Box::new),
    };
    Draft { records: vec![Record::People(record)], bodies: body.into_iter().collect() }
}

/// Takes a revocation from a file. Its statements were verified, and this is the key that made them.
pub(in crate::engine) fn take(cx: &mut Context<'_>, fingerprint: Fingerprint, revocation: &Revocation) -> Outcome {
    if fingerprint == cx.public().fingerprint {
        return Err(RequestError::NotReady(
            "that is your own revocation; to revoke this identity: runepeer identity revoke",
        ));
    }
    let owner = |onion| cx.state.book().by_onion(onion).map(|contact| contact.fingerprint);
    let known = cx.state.book().by_fingerprint(&fingerprint).map(|contact| contact.address.onion());
    if owner(revocation.onion).is_some_and(|owner| owner != fingerprint)
        || known.is_some_and(|onion| onion != revocation.onion)
    {
        return Err(RequestError::NotReady(
            "this file names another key, or another onion, than the contact has: ask them in person what is right",
        ));
    }
    if cx.state.revocations().len() >= limits::REVOCATIONS && cx.state.revocations().of(&fingerprint).is_none() {
        return Err(RequestError::Limit("up to 10,000 revocations are remembered"));
    }
    let Draft { records, bodies } = taken(cx, None, fingerprint, revocation);
    Ok(Change { bodies, ..Change::new(records, Answer::Always(Response::Done)) })
}
