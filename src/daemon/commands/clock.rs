//! Whether this machine's clock is wrong, as far as that can be known from here: Tor says so, or something that this
//! node wrote down carries a later time than the clock shows.

use std::sync::Arc;
use std::time::Duration;

use crate::base::Timestamp;
use crate::engine::Snapshot;
use crate::engine::state::mailbox::FolderRole;
use crate::engine::state::queue::{Progress, Queued};

/// A clock is wrong that is behind what was written before by more than this. It is more than the steps by which a clock
/// that is right is corrected.
const BEHIND: Duration = Duration::from_secs(300);
/// So many of the last messages in INBOX are looked at.
const LOOKED_AT: usize = 100;

/// Why the clock must be wrong, and what to do; `None` where nothing shows that it is. What the network says comes first.
pub(super) fn problem(
    snapshots: impl Iterator<Item = Arc<Snapshot>>,
    network: Option<String>,
    now: Timestamp,
) -> Option<String> {
    if network.is_some() {
        return network;
    }
    let newest = snapshots.filter_map(|snapshot| newest(&snapshot)).max()?;
    (newest.since(now) > BEHIND).then(|| {
        format!(
            "this machine's clock says {}, which is before {}, when something was last written here: either it is \
             wrong now, and mail may be refused or expire at the wrong time until the right date, time and time zone \
             are set; or it was wrong then, and this passes by itself",
            now.rfc3339(),
            newest.rfc3339()
        )
    })
}

/// The latest time by our own clock that the state of an identity holds.
fn newest(snapshot: &Snapshot) -> Option<Timestamp> {
    let queue = snapshot.queue.iter().chain(snapshot.queue.ended());
    let queue = queue.flat_map(|queued| ended(queued).chain([queued.submitted]));
    let made = snapshot.passwords.iter().map(|password| password.created);
    let invited = snapshot.book.invitations().map(|invitation| invitation.made);
    let met = snapshot.book.contacts().flat_map(|contact| contact.provenance.iter().map(|met| met.at));
    let rented = snapshot.boxes.own().map(|own_box| own_box.since);
    // Mail programs choose the times of what they save.
    let inbox = snapshot.mailbox.by_role(FolderRole::Inbox);
    let last = inbox.into_iter().flat_map(|inbox| inbox.messages.iter().rev().take(LOOKED_AT));
    let received = last.filter(|message| message.content.is_some());
    let received = received.map(|message| message.date);
    queue.chain(made).chain(invited).chain(met).chain(rented).chain(received).max()
}

/// When recipients of a message got it, or did not.
fn ended(queued: &Queued) -> impl Iterator<Item = Timestamp> + '_ {
    queued.recipients.values().filter_map(|recipient| match recipient.progress {
        Progress::Queued | Progress::Cancelled => None,
        Progress::Delivered(at) | Progress::Failed(at, _) | Progress::HandedOver(at) | Progress::Read(at) => Some(at),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::state::Password;

    /// 2027-01-15T08:00:00Z.
    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    /// The state of an identity with a password that was made at this time.
    fn with_password(created: Timestamp) -> Arc<Snapshot> {
        let password = Password { name: "mail".to_owned(), hash: String::new(), created };
        Arc::new(Snapshot { passwords: Arc::new(vec![password]), ..Snapshot::default() })
    }

    #[test]
    fn a_clock_that_is_behind_what_was_written_is_said_with_both_times() {
        let judged = |created| problem([with_password(created)].into_iter(), None, NOW);
        let hours = Duration::from_secs(3 * 3600);
        let said = judged(NOW.plus(hours)).unwrap();
        for part in ["clock says 2027-01-15T08:00:00Z", "before 2027-01-15T11:00:00Z", "the right date"] {
            assert!(said.contains(part), "{said}");
        }
        assert_eq!(judged(NOW.plus(BEHIND)), None, "it may have been corrected by so much");
        assert_eq!(judged(NOW.minus(hours)), None);
        assert_eq!(problem(std::iter::once(Arc::new(Snapshot::default())), None, NOW), None);
    }

    #[test]
    fn what_tor_says_of_the_clock_comes_first() {
        let late = [with_password(NOW.plus(BEHIND * 2))].into_iter();
        assert_eq!(problem(late, Some("slow".to_owned()), NOW).unwrap(), "slow");
    }
}
