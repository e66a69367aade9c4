//! Reaching one peer: several tries, each on circuits of its own, the first to succeed wins.
//!
//! An onion connection can stall without an error: the introduction point acknowledges, and the peer, restarted since
//! its descriptor was fetched, never meets us. arti notices only after half a minute or more. So after
//! [`limits::DIAL_TRY`] a try that has not succeeded is joined by another, on a new token, which makes arti fetch the
//! descriptor anew; the first goes on, because a slow network is slow for both. A try that failed is followed by
//! another at once: its circuit, or the descriptor that it used, may be older than a restart of the peer. Later tries
//! wait a little, until the peer has published anew.

use std::future::Future;

use arti_client::{DataStream, ErrorKind, HasKind, IsolationToken, StreamPrefs};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::time::{Instant, sleep_until};

use super::{Client, RUNE_PORT};
use crate::base::{Onion, limits};
use crate::net::DialError;

/// One try to reach a peer failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Failure {
    error: DialError,
    /// New circuits may help.
    again: bool,
}

impl Failure {
    /// The meaning of arti's error for a dial.
    const fn of(kind: ErrorKind) -> Self {
        let (error, again) = match kind {
            ErrorKind::RemoteNetworkTimeout | ErrorKind::ExitTimeout => (DialError::TimedOut, true),
            // The rendezvous or the introduction failed: the peer may have restarted behind the same name.
            ErrorKind::OnionServiceNotRunning
            | ErrorKind::OnionServiceConnectionFailed
            | ErrorKind::OnionServiceProtocolViolation
            | ErrorKind::CircuitCollapse
            | ErrorKind::TorNetworkTimeout
            | ErrorKind::RemoteNetworkFailed
            | ErrorKind::RemoteProtocolViolation
            | ErrorKind::TorProtocolViolation => (DialError::Unreachable, true),
            ErrorKind::RemoteStreamClosed
            | ErrorKind::RemoteStreamReset
            | ErrorKind::RemoteStreamError
            | ErrorKind::RemoteConnectionRefused
            | ErrorKind::ExitPolicyRejected
            | ErrorKind::OnionServiceMissingClientAuth
            | ErrorKind::OnionServiceWrongClientAuth => (DialError::Refused, false),
            ErrorKind::TorAccessFailed
            | ErrorKind::BootstrapRequired
            | ErrorKind::DirectoryExpired
            | ErrorKind::LocalNetworkError
            | ErrorKind::ClockSkew => (DialError::Network, false),
            ErrorKind::LocalResourceExhausted | ErrorKind::FsPermissions => (DialError::Local, false),
            ErrorKind::ArtiShuttingDown | ErrorKind::ReactorShuttingDown => (DialError::Stopped, false),
            // The peer's descriptor is not published, and will not be for a while.
            ErrorKind::OnionServiceNotFound | ErrorKind::OnionServiceAddressInvalid => (DialError::Unreachable, false),
            // An unknown error is temporary. One of these is a circuit that ended with its peer before we began a
            // stream on it; arti calls that a wrong use of its own interface.
            _ => (DialError::Unreachable, true),
        };
        Self { error, again }
    }
}

/// One try, on circuits that share this token.
pub(super) async fn attempt(client: &Client, to: Onion, token: IsolationToken) -> Result<DataStream, Failure> {
    let mut prefs = StreamPrefs::new();
    prefs.set_isolation(token);
    client.connect_with_prefs((to.to_string(), RUNE_PORT), &prefs).await.map_err(|error| {
        // Only the kind is logged, because the text of the error may name the peer.
        tracing::debug!(kind = ?error.kind(), "dial failed");
        Failure::of(error.kind())
    })
}

/// The first success of up to [`limits::DIAL_TRIES`] tries. The next try begins when one failed in a way that new
/// circuits may mend (the second at once, others after a growing pause), or when all have been silent for
/// [`limits::DIAL_TRY`]. A failure that new circuits cannot mend ends the dial. The caller bounds the time of the whole
/// dial.
pub(super) async fn first_of<T, F>(mut begin: impl FnMut(usize) -> F) -> Result<T, DialError>
where
    F: Future<Output = Result<T, Failure>>,
{
    let mut tries: FuturesUnordered<F> = FuturesUnordered::new();
    let (mut begun, mut failed) = (0, 0);
    let mut next = Instant::now();
    loop {
        let error = tokio::select! {
            Some(result) = tries.next() => match result {
                Ok(reached) => return Ok(reached),
                Err(failure) if !failure.again => return Err(failure.error),
                Err(failure) => failure.error,
            },
            () = sleep_until(next), if begun < limits::DIAL_TRIES => {
                tries.push(begin(begun));
                begun += 1;
                next = Instant::now() + limits::DIAL_TRY;
                continue;
            }
        };
        if begun < limits::DIAL_TRIES {
            next = next.min(Instant::now() + limits::DIAL_PAUSE * failed);
            failed += 1;
        } else if tries.is_empty() {
            return Err(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use tokio::time::sleep;

    use super::*;

    const AGAIN: Failure = Failure { error: DialError::TimedOut, again: true };
    const FINAL: Failure = Failure { error: DialError::Unreachable, again: false };
    const NEVER: Duration = Duration::from_secs(86_400);

    /// Runs tries with these durations and results; returns the outcome, the time that passed, and how many tries were
    /// begun.
    async fn dial(plan: &[(Duration, Result<(), Failure>)]) -> (Result<usize, DialError>, Duration, usize) {
        let (start, begun) = (Instant::now(), Cell::new(0));
        let outcome = first_of(|number| {
            begun.set(begun.get() + 1);
            let (time, result) = plan.get(number).copied().unwrap_or((NEVER, Err(AGAIN)));
            async move {
                sleep(time).await;
                result.map(|()| number)
            }
        });
        (outcome.await, start.elapsed(), begun.get())
    }

    #[test]
    fn a_peer_that_may_have_restarted_is_tried_on_new_circuits() {
        assert!(Failure::of(ErrorKind::RemoteNetworkTimeout).again);
        assert!(Failure::of(ErrorKind::OnionServiceConnectionFailed).again);
        // The error of arti for a stream on a circuit whose peer was killed.
        assert!(Failure::of(ErrorKind::BadApiUsage).again);
        assert_eq!(Failure::of(ErrorKind::OnionServiceNotFound), FINAL);
        assert!(Failure::of(ErrorKind::DirectoryExpired).error.is_ours());
        assert!(!Failure::of(ErrorKind::RemoteStreamClosed).error.is_ours());
    }

    #[tokio::test(start_paused = true)]
    async fn a_try_that_works_stays_alone() {
        let soon = limits::DIAL_TRY / 2;
        assert_eq!(dial(&[(soon, Ok(()))]).await, (Ok(0), soon, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_try_that_stalls_gets_company() {
        let soon = Duration::from_secs(1);
        let (outcome, time, begun) = dial(&[(NEVER, Err(AGAIN)), (soon, Ok(()))]).await;
        assert_eq!((outcome, begun), (Ok(1), 2));
        assert!(time < limits::DIAL_TRY + 2 * soon, "{time:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_try_may_still_win() {
        let slow = limits::DIAL_TRY + Duration::from_secs(1);
        assert_eq!(dial(&[(slow, Ok(())), (NEVER, Err(AGAIN))]).await.0, Ok(0));
    }

    #[tokio::test(start_paused = true)]
    async fn failures_that_new_circuits_may_mend_are_tried_again_and_not_for_ever() {
        let soon = Duration::from_secs(1);
        assert_eq!(dial(&[(soon, Err(AGAIN)), (soon, Ok(()))]).await, (Ok(1), 2 * soon, 2));
        // The second try also used the descriptor from before the restart.
        let twice = [(soon, Err(AGAIN)), (soon, Err(AGAIN)), (soon, Ok(()))];
        assert_eq!(dial(&twice).await, (Ok(2), 3 * soon + limits::DIAL_PAUSE, 3));
        let all = [(soon, Err(AGAIN)); limits::DIAL_TRIES];
        let (outcome, time, begun) = dial(&all).await;
        assert_eq!((outcome, begun), (Err(DialError::TimedOut), limits::DIAL_TRIES));
        assert!(time > 4 * limits::DIAL_PAUSE && time < limits::DIAL / 2, "{time:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_that_they_cannot_mend_ends_the_dial() {
        let soon = Duration::from_secs(1);
        assert_eq!(dial(&[(soon, Err(FINAL))]).await, (Err(DialError::Unreachable), soon, 1));
        // The first try stalls because the peer is gone; the new descriptor of the second shows that.
        let (outcome, _, begun) = dial(&[(NEVER, Err(AGAIN)), (soon, Err(FINAL))]).await;
        assert_eq!((outcome, begun), (Err(DialError::Unreachable), 2));
    }
}
