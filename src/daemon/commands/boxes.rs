//! Boxes that an identity rents at carriers, as the control socket shows and changes them.

use std::time::Duration;

use crate::base::{Onion, OnionSeed, Timestamp};
use crate::control::reply::{self, BoxState, BoxStatus, CheckState};
use crate::control::{Code, Failure};
use crate::daemon::failures::broken;
use crate::daemon::hosts::account::LocalAccount;
use crate::daemon::runtime::clock::now;
use crate::daemon::runtime::crypto::Pool;
use crate::engine::state::book::ContactStatus;
use crate::engine::state::boxes::Check;
use crate::engine::state::boxes::own::BoxKeys;
use crate::engine::state::boxes::own::{OwnBox, Stage};
use crate::engine::state::profile::SecretBytes;
use crate::engine::state::{AttemptError, Attempts};
use crate::engine::{Request, Snapshot};
use crate::mail::Invitation;
use crate::pgp;
use crate::store::OsRng;

/// How many letters of the carrier's onion name a box to which the user gives no name.
const NAME_LETTERS: usize = 8;

/// A box is set up within this time, where its carrier is on.
const READY: Duration = Duration::from_secs(24 * 3600);

/// Rents a box with the invitation of a carrier.
pub(in crate::daemon) async fn rent(
    pool: &Pool,
    account: &LocalAccount,
    invitation: String,
    name: Option<String>,
) -> Result<BoxStatus, Failure> {
    let read = Invitation::parse_box(&invitation).map_err(|error| Failure::new(Code::Usage, error.to_string()))?;
    let name = name.unwrap_or_else(|| read.address.onion().label().chars().take(NAME_LETTERS).collect());
    let made = pool.call(new_keys).await;
    let keys = made.unwrap_or_else(|| Err(broken("the keys of the box cannot be made", "the library failed")))?;
    let asked = account.ask(Request::RentBox { invitation, name: name.clone(), keys }).await;
    let taken = || format!("there is a box {name} already");
    asked.map_err(|error| super::unless_taken(error, &taken(), "give this one another name: --name NAME"))?;
    let snapshot = account.state();
    let own_box = snapshot.boxes.by_name(&name);
    let known = own_box.map(|own_box| describe(&snapshot, own_box));
    known.ok_or_else(|| Failure::new(Code::Failed, format!("the box {name} is not known after all")))
}

/// Begins to see whether a box works.
pub(in crate::daemon) async fn check(account: &LocalAccount, name: String) -> Result<reply::Done, Failure> {
    account.ask(Request::CheckBox { name }).await?;
    Ok(reply::Done {})
}

/// Gives a box up.
pub(in crate::daemon) async fn leave(account: &LocalAccount, name: String) -> Result<reply::Done, Failure> {
    account.ask(Request::LeaveBox { name }).await?;
    Ok(reply::Done {})
}

/// The boxes of an identity.
pub(in crate::daemon) fn list(snapshot: &Snapshot) -> Vec<BoxStatus> {
    snapshot.boxes.own().map(|own_box| describe(snapshot, own_box)).collect()
}

fn describe(snapshot: &Snapshot, own_box: &OwnBox) -> BoxStatus {
    let state = match own_box.stage {
        Stage::Registering => BoxState::Registering,
        Stage::Open if own_box.uploaded == 0 => BoxState::Preparing,
        Stage::Open => BoxState::Open,
        Stage::Leaving => BoxState::Leaving,
    };
    let confirmed = snapshot.book.contacts().filter(|contact| contact.status == ContactStatus::Confirmed);
    let without = confirmed.filter(|contact| own_box.is_open() && own_box.seat_of(contact.id).is_none()).count();
    let attempts = snapshot.collections.get(&own_box.id).copied().unwrap_or_default();
    BoxStatus {
        name: own_box.name.clone(),
        role: "box".to_owned(),
        onion: own_box.onion.to_string(),
        state,
        connected: attempts.next.is_none() && attempts.failed == 0 && attempts.last_error.is_none(),
        check: snapshot.checks.get(&own_box.id).map(|check| match check {
            Check::Leaving => CheckState::Leaving,
            Check::Left => CheckState::Left,
            Check::Works => CheckState::Works,
            Check::Failed(_) => CheckState::Failed,
        }),
        check_error: snapshot.checks.get(&own_box.id).and_then(|check| match check {
            Check::Failed(error) => Some(error.to_string()),
            _ => None,
        }),
        contacts: own_box.seats.iter().filter(|seat| seat.contact.is_some()).count(),
        places: own_box.seats.len(),
        contacts_without_place: if own_box.has_seat() { 0 } else { without },
        attempts: attempts.failed,
        failing_since: attempts.failing_since.map(Timestamp::rfc3339),
        problem: problem(own_box, attempts, now()),
        next_at: attempts.next.map(Timestamp::rfc3339),
        last_error: attempts.last_error.map(|error| error.to_string()),
    }
}

/// What is wrong with a box, what that means for mail, and what to do.
fn problem(own_box: &OwnBox, attempts: Attempts, now: Timestamp) -> Option<String> {
    match (attempts.last_error, attempts.failing_since) {
        (Some(AttemptError::Refused), _) => Some(format!(
            "its carrier refuses it: no mail can be left there any more, and what your contacts send waits at their \
             nodes. Ask its owner, or rent another box (runepeer carrier add) and give this one up (runepeer carrier rm \
             {})",
            own_box.name
        )),
        (Some(AttemptError::Offline | AttemptError::Local), _) | (_, None) => unready(own_box, now),
        (_, Some(since)) => Some(format!(
            "its carrier has not answered since {}: mail that lies there comes when it is back; new mail for you comes \
             straight to this node while it is online, and otherwise waits at its senders. If it stays away, rent \
             another box: runepeer carrier add",
            since.rfc3339()
        )),
    }
}

/// That a box is not ready although it was rented long ago.
fn unready(own_box: &OwnBox, now: Timestamp) -> Option<String> {
    let is_ready = own_box.stage == Stage::Leaving || own_box.uploaded > 0;
    (!is_ready && now.since(own_box.since) > READY).then(|| {
        format!(
            "it was rented at {}, and no mail can be left there yet: its carrier has no tokens for your contacts. See \
             what its carrier says (runepeer carrier list), ask its owner, or rent another box: runepeer carrier add",
            own_box.since.rfc3339()
        )
    })
}

/// Keys for this box and nothing else; the onion in them belongs to no node.
fn new_keys() -> Result<BoxKeys, Failure> {
    let failed = |error: &dyn std::fmt::Display| broken("the keys of the box cannot be made", error);
    let onion = Onion::of_seed(&OnionSeed::random(&mut OsRng));
    let generated = pgp::generate(now(), onion, &mut OsRng).map_err(|error| failed(&error))?;
    let certificate = generated.keys.certificate();
    Ok(BoxKeys {
        keys: SecretBytes::new(generated.keys.to_bytes().to_vec()),
        certificate: certificate.bytes().into(),
        fingerprint: certificate.fingerprint(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::BoxId;
    use crate::base::ids::Fingerprint;

    /// 2027-01-15T08:00:00Z.
    const RENTED: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn rented() -> OwnBox {
        OwnBox {
            id: BoxId::from_bytes([1; 16]),
            name: "home".to_owned(),
            onion: Onion::of_seed(&OnionSeed::random(&mut OsRng)),
            carrier: Fingerprint::from_bytes([1; 32]),
            invitation: None,
            keys: SecretBytes::new(vec![]),
            certificate: [].into(),
            fingerprint: Fingerprint::from_bytes([2; 32]),
            seats: OwnBox::seats(&mut OsRng),
            stage: Stage::Open,
            uploaded: 0,
            since: RENTED,
        }
    }

    #[test]
    fn a_box_says_since_when_its_carrier_is_away_and_whether_it_is_long_in_coming() {
        let failing = |error| Attempts { failed: 3, failing_since: Some(RENTED), next: None, last_error: Some(error) };
        let (at_once, later) = (RENTED.plus(READY), RENTED.plus(READY + Duration::from_secs(1)));
        let away = problem(&rented(), failing(AttemptError::Unreachable), at_once).unwrap();
        assert!(away.contains("not answered since 2027-01-15T08:00:00Z") && away.contains("carrier add"), "{away}");
        let refused = problem(&rented(), failing(AttemptError::Refused), at_once).unwrap();
        assert!(refused.contains("refuses it") && refused.contains("carrier rm home"), "{refused}");
        // While this node is offline nothing is known of the carrier.
        assert_eq!(problem(&rented(), failing(AttemptError::Offline), at_once), None);
        assert_eq!(problem(&rented(), Attempts::default(), at_once), None);
        let late = problem(&rented(), Attempts::default(), later).unwrap();
        assert!(late.contains("rented at 2027-01-15T08:00:00Z, and no mail can be left there yet"), "{late}");
        let open = OwnBox { uploaded: 1, ..rented() };
        assert_eq!(problem(&open, Attempts::default(), later), None);
        let leaving = OwnBox { stage: Stage::Leaving, ..rented() };
        assert_eq!(problem(&leaving, Attempts::default(), later), None);
    }
}
