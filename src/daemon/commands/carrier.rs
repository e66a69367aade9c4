//! The carrier, as the control socket shows and changes it.

use std::sync::Arc;
use std::time::Duration;

use crate::base::limits;
use crate::control::reply::{
    self, BoxInvitation, BoxInvitations, BrokenCarrier, Carrier, CarrierMailbox, CarrierStatus, Done,
};
use crate::control::{BoxInvite, CarrierChange, Code, Failure};
use crate::daemon::hosts::carrier::{CarrierHost, LocalCarrier, ROLLED_BACK};
use crate::engine::carrier::{CarrierLimits, CarrierRequest, Terms};
use crate::wire::mailbox::Policy;

/// How many digits of a box's name are needed to evict its owner.
const BEGINNING: usize = 8;
/// The smallest quota of a box.
const LEAST_QUOTA: u64 = limits::MIB as u64;
/// The most invitations that are made at once.
const INVITATIONS: u32 = 100;

impl CarrierHost {
    /// Switches the carrier on, making it where there is none.
    pub(in super::super) async fn switch_on(&self) -> Result<Carrier, Failure> {
        Ok(self.describe(&*self.enable().await?))
    }

    /// Switches the carrier off. What it holds stays.
    pub(in super::super) async fn switch_off(&self) -> Result<Carrier, Failure> {
        let carrier = self.known_carrier()?;
        carrier.ask(CarrierRequest::Serve(false)).await?;
        Ok(self.describe(&carrier))
    }

    /// Makes invitations to boxes of this carrier.
    pub(in super::super) async fn invite(&self, asked: &BoxInvite) -> Result<BoxInvitations, Failure> {
        let carrier = self.known_carrier()?;
        if asked.count == 0 || asked.count > INVITATIONS {
            return Err(Failure::new(Code::Usage, format!("between 1 and {INVITATIONS} invitations at a time")));
        }
        let usual = carrier.status.borrow().limits.usual;
        let terms = changed(usual, asked.quota, asked.hold_days)?;
        let life = Duration::from_secs(asked.life_secs);
        let (texts, expires) = carrier.invite(asked.count as usize, terms, life).await?;
        let described = |invitation| BoxInvitation { invitation, expires_at: expires.rfc3339(), uses: 1 };
        let invitations = texts.into_iter().map(described).collect();
        Ok(BoxInvitations { invitations, quota: terms.quota, hold_days: terms.hold_days })
    }

    /// Changes those limits of the carrier that are given; returns all of them.
    pub(in super::super) async fn limit(&self, change: &CarrierChange) -> Result<reply::CarrierLimits, Failure> {
        let carrier = self.known_carrier()?;
        let limits = carrier.status.borrow().limits;
        let CarrierChange { space, quota, hold_days, free, ref identification } = *change;
        let policy = identification.as_deref().map(policy_of).transpose()?;
        let wanted = CarrierLimits {
            space: space.unwrap_or(limits.space),
            usual: changed(limits.usual, quota, hold_days)?,
            free: free.unwrap_or(limits.free),
        };
        if wanted != limits {
            carrier.ask(CarrierRequest::Limit(wanted)).await?;
        }
        if let Some(policy) = policy {
            carrier.ask(CarrierRequest::Identification(policy)).await?;
        }
        let CarrierLimits { space, usual, free } = wanted;
        let status = carrier.status.borrow();
        let promised: u64 = status.mailboxes.iter().map(|mailbox| mailbox.stored + mailbox.outstanding).sum();
        Ok(reply::CarrierLimits {
            space: bounded(space),
            promised,
            quota: usual.quota,
            hold_days: usual.hold_days,
            free_registration: free,
            identification: match status.policy {
                Policy::Session => "session".to_owned(),
                Policy::Command => "command".to_owned(),
                Policy::TimeOut(seconds) => seconds.to_string(),
            },
        })
    }

    /// Withdraws every unused invitation to a box.
    pub(in super::super) async fn revoke(&self) -> Result<Done, Failure> {
        self.known_carrier()?.ask(CarrierRequest::RevokeInvitations).await?;
        Ok(Done {})
    }

    /// Gives up a box, with everything in it.
    pub(in super::super) async fn evict(&self, name: &str) -> Result<Done, Failure> {
        let carrier = self.known_carrier()?;
        if name.len() < BEGINNING {
            return Err(Failure::new(Code::Usage, format!("give at least {BEGINNING} digits of the mailbox's name"))
                .hint("see: runepeer carrier show"));
        }
        let names: Vec<_> = carrier.status.borrow().mailboxes.iter().map(|mailbox| mailbox.name).collect();
        let mut matching = names.into_iter().filter(|known| known.to_string().starts_with(&name.to_ascii_uppercase()));
        match (matching.next(), matching.next()) {
            (Some(mailbox), None) => {
                carrier.ask(CarrierRequest::Remove(mailbox)).await?;
                Ok(Done {})
            }
            (None, _) => {
                Err(Failure::new(Code::NotFound, "there is no such mailbox here").hint("see: runepeer carrier show"))
            }
            _ => Err(Failure::new(Code::Usage, "several mailboxes begin like that; give more of the name")),
        }
    }

    /// How things stand at the carrier.
    pub(in super::super) fn show(&self) -> Result<Carrier, Failure> {
        Ok(self.describe(&*self.known_carrier()?))
    }

    /// A carrier, as it is shown.
    fn describe(&self, carrier: &LocalCarrier) -> Carrier {
        let status = carrier.status.borrow().clone();
        let mailboxes = status.mailboxes.iter().map(|mailbox| CarrierMailbox {
            name: mailbox.name.to_string(),
            objects: mailbox.objects,
            stored: mailbox.stored,
            outstanding: mailbox.outstanding,
            quota: mailbox.quota,
        });
        Carrier {
            onion: carrier.address.onion().to_string(),
            fingerprint: carrier.fingerprint.to_string(),
            open: true,
            enabled: status.serves,
            reachable: carrier.is_reachable(&self.network()),
            problem: carrier.rolled_back.then(|| ROLLED_BACK.to_owned()),
            mailboxes: mailboxes.collect(),
            held: status.mailboxes.iter().map(|mailbox| mailbox.objects).sum(),
            stored: status.mailboxes.iter().map(|mailbox| mailbox.stored).sum(),
            outstanding: status.mailboxes.iter().map(|mailbox| mailbox.outstanding).sum(),
            space: bounded(status.limits.space),
            invitations: status.invitations,
        }
    }

    /// The carrier of this node in its status; `None` where there is none.
    pub(in super::super) fn status(&self) -> Option<CarrierStatus> {
        match (self.current(), self.problem()) {
            (Some(carrier), _) => Some(CarrierStatus::Open(self.describe(&carrier))),
            (None, Some(Failure { message, hint, .. })) => {
                let broken = BrokenCarrier { open: false, enabled: false, problem: message, hint };
                Some(CarrierStatus::Broken(broken))
            }
            (None, None) => None,
        }
    }

    fn known_carrier(&self) -> Result<Arc<LocalCarrier>, Failure> {
        self.current().ok_or_else(|| {
            if let Some(problem) = self.problem() {
                return problem;
            }
            Failure::new(Code::NotFound, "this node carries no mail for others")
                .hint("begin with: runepeer carrier enable")
        })
    }
}

/// `None` where there is no bound.
fn bounded(space: u64) -> Option<u64> {
    (space != u64::MAX).then_some(space)
}

/// The usual terms, with those that are given in their place.
fn changed(usual: Terms, quota: Option<u64>, hold_days: Option<u32>) -> Result<Terms, Failure> {
    let terms = Terms { quota: quota.unwrap_or(usual.quota), hold_days: hold_days.unwrap_or(usual.hold_days) };
    if terms.quota < LEAST_QUOTA {
        return Err(Failure::new(Code::Usage, "a box needs a quota of at least 1 MiB"));
    }
    if terms.hold_days == 0 || terms.hold_days > limits::HOLD_DAYS {
        return Err(Failure::new(Code::Usage, format!("mail is held for 1 to {} days", limits::HOLD_DAYS)));
    }
    Ok(terms)
}

/// `session`, `command`, or a number of seconds that an identification may last.
fn policy_of(text: &str) -> Result<Policy, Failure> {
    let seconds =
        || text.parse().ok().filter(|seconds| limits::IDENTIFICATION_SECS.contains(seconds)).map(Policy::TimeOut);
    let policy = match text {
        "session" => Some(Policy::Session),
        "command" => Some(Policy::Command),
        _ => seconds(),
    };
    let usage = || {
        let (least, most) = limits::IDENTIFICATION_SECS.into_inner();
        Failure::new(Code::Usage, format!("say session, command, or a number of seconds from {least} to {most}"))
    };
    policy.ok_or_else(usage)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_what_is_asked_for_within_their_bounds_and_else_the_usual_ones() {
        let usual = Terms { quota: 5 * LEAST_QUOTA, hold_days: 3 };
        assert_eq!(changed(usual, None, None), Ok(usual));
        for (quota, hold_days) in [(LEAST_QUOTA, 1), (u64::MAX, limits::HOLD_DAYS)] {
            assert_eq!(changed(usual, Some(quota), Some(hold_days)), Ok(Terms { quota, hold_days }));
        }
        for (quota, hold_days) in
            [(Some(LEAST_QUOTA - 1), None), (None, Some(0)), (None, Some(limits::HOLD_DAYS + 1)), (Some(0), Some(1))]
        {
            assert_eq!(changed(usual, quota, hold_days).unwrap_err().code, Code::Usage, "{quota:?} {hold_days:?}");
        }
    }

    #[test]
    fn a_shown_key_counts_for_a_session_a_command_or_seconds_within_their_bounds() {
        let (least, most) = limits::IDENTIFICATION_SECS.into_inner();
        assert_eq!(policy_of("session"), Ok(Policy::Session));
        assert_eq!(policy_of("command"), Ok(Policy::Command));
        for seconds in [least, most] {
            assert_eq!(policy_of(&seconds.to_string()), Ok(Policy::TimeOut(seconds)));
        }
        for other in [(least - 1).to_string(), (most + 1).to_string(), "soon".to_owned(), String::new()] {
            assert_eq!(policy_of(&other).unwrap_err().code, Code::Usage, "{other}");
        }
    }

    #[test]
    fn space_without_a_bound_is_null() {
        assert_eq!((bounded(u64::MAX), bounded(u64::MAX - 1), bounded(0)), (None, Some(u64::MAX - 1), Some(0)));
    }
}
