//! Identities, as the control socket shows and changes them, and which one a command means.

use std::sync::Arc;

use super::backup::Leases;
use super::contacts::revoked;
use super::{has_open_box, listens, unexpected};
use crate::base::IdentityId;
use crate::control::reply;
use crate::control::{Code, Failure};
use crate::daemon::default_identity;
use crate::daemon::failures::broken;
use crate::daemon::home::Home;
use crate::daemon::hosts::account::{LocalAccount, Registry};
use crate::daemon::hosts::identity::Identities;
use crate::engine::state::mailbox::FolderRole;
use crate::engine::{Request, Response};
use crate::mail::ContentKind;
use crate::mail::revocation::Extent;
use crate::net::TransportStatus;

/// The identity with this name or address; where none is named, the default one, or the only one where none was chosen.
///
/// # Errors
/// [`Code::NotFound`] where it is not here, [`Code::Usage`] where it cannot be told which one is meant. Where the
/// default identity is not here, no other one is taken for it.
pub(super) fn meant(home: &Home, registry: &Registry, name: Option<&str>) -> Result<Arc<LocalAccount>, Failure> {
    let accounts = registry.all();
    let names = || accounts.iter().map(|account| account.name()).collect::<Vec<_>>().join(", ");
    let Some(name) = name else {
        let chosen = default_identity::chosen(&**home.vfs(), home.path())?;
        return match (chosen, accounts.as_slice()) {
            (Some(chosen), _) => {
                let known = accounts.iter().find(|account| account.id == chosen).map(Arc::clone);
                known.ok_or_else(|| {
                    Failure::new(Code::NotFound, "the default identity is not in this data directory").hint(format!(
                        "say which one with -i NAME, or choose another: runepeer identity default NAME. There is: {}",
                        names()
                    ))
                })
            }
            (None, [only]) => Ok(Arc::clone(only)),
            (None, []) => Err(Failure::new(Code::NotFound, "there is no identity yet")
                .hint("make one with: runepeer identity new NAME")),
            (None, _) => Err(Failure::new(Code::Usage, "there are several identities").hint(format!(
                "say which one with -i NAME, or choose one for all commands without -i: runepeer identity default NAME. \
                 There is: {}",
                names()
            ))),
        };
    };
    registry.find(name).ok_or_else(|| {
        Failure::new(Code::NotFound, format!("there is no identity {name}")).hint(format!("there is: {}", names()))
    })
}

/// The identity that a command means which names none, where that can be told.
pub(super) fn usual(home: &Home, registry: &Registry) -> Option<IdentityId> {
    meant(home, registry, None).ok().map(|account| account.id)
}

/// All identities.
pub(super) fn list(home: &Home, registry: &Registry, network: &TransportStatus) -> reply::Identities {
    let usual = usual(home, registry);
    reply::Identities { identities: registry.all().iter().map(|account| profile(account, usual, network)).collect() }
}

/// Makes an identity the default one.
///
/// # Errors
/// Errors of the disk.
pub(super) async fn choose(home: &Arc<Home>, account: &LocalAccount) -> Result<(), Failure> {
    // Two choices are written one after the other.
    let _turn = home.turn().await;
    let (at, id) = (Arc::clone(home), account.id);
    let chosen = tokio::task::spawn_blocking(move || default_identity::choose(&**at.vfs(), at.path(), id)).await;
    let failed = |error: &dyn std::fmt::Display| {
        broken("the choice cannot be written", error).hint("status says whether the disk is full; then try again")
    };
    chosen.map_err(|error| failed(&error))?.map_err(|error| failed(&error))
}

/// An identity, as it is shown. `usual` is the one that a command means which names none.
pub(super) fn profile(account: &LocalAccount, usual: Option<IdentityId>, network: &TransportStatus) -> reply::Identity {
    let fingerprint =
        account.state().profile.as_ref().map(|profile| profile.fingerprint.to_string()).unwrap_or_default();
    reply::Identity {
        name: account.name(),
        address: account.address.to_string(),
        fingerprint,
        is_default: usual == Some(account.id),
        reachable: account.is_reachable(network),
        listen: listens(account),
        knock: account.state().knocks,
        revoked: account.state().revocations.own().map(revoked),
        untold: untold(account),
    }
}

/// The contacts that have not acknowledged yet that the identity is revoked.
fn untold(account: &LocalAccount) -> Vec<String> {
    let snapshot = account.state();
    let told = snapshot.queue.iter().filter(|it| snapshot.introductions.kind(it.id) == ContentKind::Revocation);
    let waiting = told.flat_map(|queued| queued.waiting().map(|(contact, _)| contact).collect::<Vec<_>>());
    let mut names: Vec<_> =
        waiting.filter_map(|contact| Some(snapshot.book.contact(contact)?.petname.clone())).collect();
    names.sort();
    names.dedup();
    names
}

/// Revokes an identity; gives the statement for everybody else, and how many contacts are being told.
///
/// # Errors
/// The failure of the request.
pub(super) async fn revoke(account: &LocalAccount, extent: Extent) -> Result<(String, usize), Failure> {
    match account.ask(Request::Revoke(extent)).await? {
        Response::Revoked { statement, contacts } => {
            Ok((String::from_utf8(statement).map_err(|_| unexpected())?, contacts))
        }
        _ => Err(unexpected()),
    }
}

/// What is on this node of an identity, and goes with it.
pub(super) fn holdings(account: &LocalAccount) -> reply::Holdings {
    let snapshot = account.state();
    let outbox = snapshot.mailbox.by_role(FolderRole::Outbox).map(|folder| folder.id);
    let kept = snapshot.mailbox.folders().filter(|folder| Some(folder.id) != outbox);
    reply::Holdings {
        name: account.name(),
        address: account.address.to_string(),
        messages: kept.map(|folder| folder.messages.len()).sum(),
        waiting: snapshot.queue.len(),
        contacts: snapshot.book.contacts().count(),
        boxes: snapshot.boxes.own().map(|own_box| own_box.name.clone()).collect(),
    }
}

/// Removes an identity from this node; says what it had.
///
/// # Errors
/// [`Code::Busy`] while a backup is being made, and failures of the disk.
pub(super) async fn remove(
    identities: &Identities,
    leases: &Leases,
    account: &Arc<LocalAccount>,
) -> Result<reply::Holdings, Failure> {
    let gone = holdings(account);
    let is_copied = || !leases.expire();
    identities.remove(account, &is_copied).await?;
    Ok(gone)
}

/// Sets whether an identity's onion is published from now on; with `anyway` also where nobody could reach it then.
///
/// # Errors
/// [`Code::Failed`] where nobody could reach it, and the failure of the request.
pub(super) async fn listen(account: &LocalAccount, on: bool, anyway: bool) -> Result<(), Failure> {
    if !on && !anyway && !has_open_box(account) {
        return Err(Failure::new(Code::Failed, "without a box that works nobody could reach this identity").hint(
            "rent one first (runepeer carrier add) and see that it works (runepeer carrier check); or say --yes: mail \
             then waits at its senders, and comes back to them after five days",
        ));
    }
    account.ask(Request::Listen(on)).await?;
    Ok(())
}
