//! What waits for a decision of the user, as the control socket shows and decides it: people who ask to become contacts,
//! and introductions.

use crate::base::ContentId;
use crate::control::reply::{self, Done, RequestKind, WaitingRequest};
use crate::control::{Code, Failure};
use crate::daemon::commands::contacts::find;
use crate::daemon::hosts::account::LocalAccount;
use crate::daemon::runtime::clock::now;
use crate::engine::state::book::ContactStatus;
use crate::engine::state::introductions::{Policy, is_open};
use crate::engine::{Request, Snapshot};
use crate::mail::Invitation;

/// Asks a contact whether it may be introduced to another.
pub(in crate::daemon) async fn introduce(
    account: &LocalAccount,
    guest: &str,
    host: &str,
    text: String,
) -> Result<Done, Failure> {
    let snapshot = account.state();
    let (guest, host) = (find(&snapshot, guest)?.id, find(&snapshot, host)?.id);
    account.ask(Request::Introduce { guest, host, text }).await?;
    Ok(Done {})
}

/// Everything that waits, the oldest first.
pub(in crate::daemon) fn list(account: &LocalAccount) -> reply::Requests {
    let snapshot = account.state();
    let (parts, now) = (snapshot.introductions.parts(), now());
    let name = |contact| snapshot.book.contact(contact).map(|contact| contact.petname.clone()).unwrap_or_default();
    let strangers = snapshot.book.contacts().filter(|contact| contact.status == ContactStatus::Request);
    let strangers = strangers.map(|contact| {
        let at = contact.provenance.first().map(|first| first.at).unwrap_or(now);
        let address = contact.address.to_string();
        let (id, from) = (address.clone(), contact.petname.clone());
        (
            at,
            WaitingRequest {
                id,
                kind: RequestKind::Stranger,
                from,
                address: Some(address),
                others: None,
                at: at.rfc3339(),
            },
        )
    });
    let asked = parts.asked.iter().filter(|(_, asked)| is_open(asked.at, now)).map(|(id, asked)| {
        let (id, from, at, others) = (id.to_string(), name(asked.by), asked.at, asked.others);
        (at, WaitingRequest { id, kind: RequestKind::Ask, from, address: None, others, at: at.rfc3339() })
    });
    let offers = parts.offers.iter().filter(|(_, offer)| is_open(offer.at, now)).map(|(id, offer)| {
        let address = Invitation::parse(&offer.invitation).ok().map(|invitation| invitation.address.to_string());
        let (id, from, at) = (id.to_string(), name(offer.by), offer.at);
        (at, WaitingRequest { id, kind: RequestKind::Introduction, from, address, others: None, at: at.rfc3339() })
    });
    let mut all: Vec<_> = strangers.chain(asked).chain(offers).collect();
    all.sort_by_key(|(at, _)| *at);
    reply::Requests { requests: all.into_iter().map(|(_, request)| request).collect() }
}

/// Accepts or rejects a request: a person by petname or address, an introduction by its id or by as many digits of it as
/// tell it from the others.
pub(in crate::daemon) async fn decide(account: &LocalAccount, what: &str, accept: bool) -> Result<Done, Failure> {
    let snapshot = account.state();
    let request = match (introduction(&snapshot, what)?, accept) {
        (Some(id), true) => Request::AcceptIntroduction(id),
        (Some(id), false) => Request::DeclineIntroduction(id),
        (None, accept) => {
            let contact = find(&snapshot, what)
                .ok()
                .filter(|contact| contact.status == ContactStatus::Request)
                .ok_or_else(|| Failure::new(Code::NotFound, "nobody of that name waits").hint(SEE))?;
            if accept { Request::Accept(contact.id) } else { Request::Block(contact.id) }
        }
    };
    account.ask(request).await?;
    Ok(Done {})
}

const SEE: &str = "see: runepeer request list";
/// Digits of an id below which it is not looked for.
const DIGITS: usize = 4;

fn introduction(snapshot: &Snapshot, what: &str) -> Result<Option<ContentId>, Failure> {
    let what = what.to_ascii_lowercase();
    if what.len() < DIGITS || !what.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(None);
    }
    let parts = snapshot.introductions.parts();
    let ids = parts.asked.keys().chain(parts.offers.keys()).chain(parts.begun.keys());
    let mut found = ids.filter(|id| id.to_string().starts_with(&what)).copied();
    match (found.next(), found.next()) {
        (Some(_), Some(_)) => Err(Failure::new(Code::Usage, "several ids begin so; give more of it").hint(SEE)),
        (found, _) => Ok(found),
    }
}

/// The word of a policy.
pub(in crate::daemon) const fn word(policy: Policy) -> &'static str {
    match policy {
        Policy::Yes => "yes",
        Policy::Ask => "ask",
        Policy::Never => "never",
    }
}

/// The policy of a word.
pub(in crate::daemon) fn policy(word: &str) -> Result<Policy, Failure> {
    match word {
        "yes" => Ok(Policy::Yes),
        "ask" => Ok(Policy::Ask),
        "never" => Ok(Policy::Never),
        _ => Err(Failure::new(Code::Usage, "say yes, ask or never")),
    }
}
