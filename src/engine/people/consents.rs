//! Messages to several people who see each other (docs/protocol.md, "Introductions"): nobody is shown to anybody without
//! having agreed to it. Such a message waits while they are asked, and goes as soon as all have agreed; the introductions
//! that go with it make them contacts of each other, so that everybody can answer everybody.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::limits;
use crate::base::{ContactId, ContentId, QueueId};
use crate::mail::introduction::{Ask, Introduction};

use crate::engine::api::RequestError;
use crate::engine::context::Context;
use crate::engine::io::Draft;
use crate::engine::people::introductions::queue;
use crate::engine::state::book::{Contact, ContactStatus};
use crate::engine::state::introductions::{Held, pair};
use crate::engine::state::record::IntroductionRecord;

/// Asks those of these contacts who are not known to agree that they see each other, because of this message. `None` where
/// all agree already.
///
/// # Errors
/// Where somebody cannot be asked, or too many would have to be.
pub(in crate::engine) fn seek(
    cx: &mut Context<'_>,
    message: QueueId,
    shown: &BTreeSet<ContactId>,
) -> Result<Option<Draft>, RequestError> {
    let contacts: Vec<_> = shown.iter().filter_map(|id| cx.state.book().contact(*id)).collect();
    let pairs = strangers(cx, &contacts)?;
    if pairs.is_empty() {
        return Ok(None);
    }
    let mut others: BTreeMap<ContactId, u8> = BTreeMap::new();
    for contact in pairs.iter().flat_map(|(a, b)| [*a, *b]) {
        *others.entry(contact).or_default() += 1;
    }
    if others.values().any(|others| *others > limits::INTRODUCTION_OTHERS) {
        return Err(RequestError::Limit(
            "a message shows up to 21 people to each other who do not know each other yet; put the others into Bcc",
        ));
    }
    let mut held = Held { pairs, asks: BTreeMap::new(), given: BTreeMap::new(), at: cx.now };
    let (mut asks, mut bodies) = (Vec::new(), Vec::new());
    for (contact, others) in others {
        let Some(entry) = cx.state.book().contact(contact) else { continue };
        let ask = Ask { text: String::new(), others: Some(others) };
        let (queued, body) = queue(cx, entry, serde_json::to_vec(&ask).unwrap_or_default())?;
        held.asks.insert(queued.content, contact);
        asks.push(queued);
        bodies.push(body);
    }
    let record = IntroductionRecord::ConsentSought { queue: message, held: Box::new(held), asks };
    Ok(Some(Draft { records: vec![record.into()], bodies }))
}

/// The pairs of these contacts of whom we do not know that they may see each other.
fn strangers(
    cx: &Context<'_>,
    contacts: &[&std::sync::Arc<Contact>],
) -> Result<Vec<(ContactId, ContactId)>, RequestError> {
    let mut pairs = Vec::new();
    for (at, first) in contacts.iter().enumerate() {
        for second in contacts.iter().skip(at + 1) {
            if cx.state.introductions().may_meet(first, second) {
                continue;
            }
            if [first, second].iter().any(|contact| contact.status != ContactStatus::Confirmed) {
                let (first, second) = (first.petname.clone(), second.petname.clone());
                return Err(RequestError::NotIntroduced { first, second });
            }
            pairs.push(pair(first.id, second.id));
        }
    }
    Ok(pairs)
}

/// Everybody has agreed: the record that lets a message go, with the introductions. In each pair the one with the lesser id
/// uses an invitation of the other. `None` where somebody is no contact any more, or there is no room.
pub(in crate::engine) fn reached(cx: &mut Context<'_>, message: QueueId) -> Option<Draft> {
    let held = cx.state.introductions().parts().held.get(&message)?;
    let ask_of: BTreeMap<ContactId, ContentId> = held.asks.iter().map(|(ask, contact)| (*contact, *ask)).collect();
    let mut places: BTreeMap<ContactId, u8> = BTreeMap::new();
    let (mut introductions, mut bodies) = (Vec::new(), Vec::new());
    for (guest, host) in &held.pairs {
        let (given, agreed) = (held.given.get(host)?, ask_of.get(guest).copied());
        let confirmed = |id| cx.state.book().contact(id).filter(|entry| entry.status == ContactStatus::Confirmed);
        let (entry, _) = (confirmed(*guest)?, confirmed(*host)?);
        let place = places.entry(*host).or_default();
        let introduction = Introduction {
            text: String::new(),
            place: *place,
            agreed,
            grant: given.content.clone(),
            signature: given.signature.clone(),
        };
        *place += 1;
        let (queued, body) = queue(cx, entry, serde_json::to_vec(&introduction).unwrap_or_default()).ok()?;
        introductions.push(queued);
        bodies.push(body);
    }
    let record = IntroductionRecord::ConsentReached { queue: message, at: cx.now, introductions };
    Some(Draft { records: vec![record.into()], bodies })
}
