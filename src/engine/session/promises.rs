//! The room that a session was promised for objects: from the answer to a SEND until its object is there, or will not
//! come.

use crate::base::limits::{SLOW_GRACE, SLOWEST_OBJECT};
use crate::base::{ClockStep, Timestamp};

use super::server::{Envelope, Expected};
use super::{Sender, Server};

/// An object that may come, or is coming.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promise {
    /// The sender.
    pub sender: Sender,
    /// Its size, in bytes.
    pub size: u64,
    /// How many of these bytes have come.
    pub came: u64,
    /// When it was promised.
    pub since: Timestamp,
}

impl Promise {
    /// Whether it comes so slowly that other objects may have its memory.
    pub fn is_slow(&self, now: Timestamp) -> bool {
        let after_grace = now.since(self.since).saturating_sub(SLOW_GRACE).as_millis();
        u128::from(self.came) * 1000 < after_grace.saturating_mul(SLOWEST_OBJECT.into())
    }
}

impl Server {
    /// The objects that this session was promised room for.
    pub fn promises(&self) -> impl Iterator<Item = Promise> {
        let announced = self.envelopes.iter().filter_map(|(_, envelope)| match envelope {
            Envelope::Ready { params, sender, since, .. } => {
                Some(Promise { sender: *sender, size: params.claim?.size, came: 0, since: *since })
            }
            Envelope::Deposit(_) | Envelope::Refused(_) => None,
        });
        let coming = match &self.expected {
            Some((_, Expected::Object { sender, since, .. })) => {
                let (came, left) = self.decoder.storing();
                Some(Promise { sender: *sender, size: came.saturating_add(left), came, since: *since })
            }
            _ => None,
        };
        announced.chain(coming)
    }

    /// Bytes of objects that were promised and have not begun to come.
    pub(super) fn announced(&self) -> u64 {
        let announced = self.envelopes.iter().map(|(_, envelope)| match envelope {
            Envelope::Ready { params, .. } => params.claim.map_or(0, |claim| claim.size),
            Envelope::Deposit(_) | Envelope::Refused(_) => 0,
        });
        announced.fold(0, u64::saturating_add)
    }

    /// The clock was set.
    pub(super) fn promises_stepped(&mut self, step: ClockStep) {
        let announced = self.envelopes.iter_mut().filter_map(|(_, envelope)| match envelope {
            Envelope::Ready { since, .. } => Some(since),
            Envelope::Deposit(_) | Envelope::Refused(_) => None,
        });
        let coming = match &mut self.expected {
            Some((_, Expected::Object { since, .. })) => Some(since),
            _ => None,
        };
        announced.chain(coming).for_each(|since| *since = since.stepped(step));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_object_is_slow_that_comes_with_fewer_than_32_kib_a_second_after_half_a_minute() {
        let since = Timestamp::from_secs(1_800_000_000);
        for (milliseconds, came, slow) in [
            (0, 0, false),
            (30_000, 0, false),
            (30_001, 0, true),
            (31_000, 32 * 1024 - 1, true),
            (31_000, 32 * 1024, false),
            (30_500, 16 * 1024 - 1, true),
            (30_500, 16 * 1024, false),
            (630_000, 600 * 32 * 1024 - 1, true),
            (630_000, 600 * 32 * 1024, false),
        ] {
            let promise = Promise { sender: Sender::Stranger, size: 28 << 20, came, since };
            let now = since.plus(Duration::from_millis(milliseconds));
            assert_eq!(promise.is_slow(now), slow, "{came} bytes after {milliseconds} ms");
        }
    }
}
