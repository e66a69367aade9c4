//! The pace of wrong passwords: one for all connections and all gateways of a node.
//!
//! A wrong password is answered after 1 s, the next after 2, up to [`limits::LOGIN_DELAY`] doubled
//! [`limits::LOGIN_DELAY_DOUBLINGS`] times; the count of wrong ones falls by one in as much time. The answers wait for
//! each other, so that more connections bring no more answers: in the long run some 56 an hour. Only a few may wait at
//! a time; when another comes, the one that waits longest is turned away. A right password is answered at once, however
//! many others guess.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use crate::base::limits;

/// The shared pace; all clones share one state.
#[derive(Debug, Clone)]
pub struct Pacer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    first_delay: Duration,
    turn: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// How many wrong passwords are counted now.
    wrong: u32,
    /// Since when the count has not fallen.
    since: Instant,
    next: u64,
    /// The connections that wait for an answer, the oldest first.
    waiting: VecDeque<(u64, oneshot::Sender<()>)>,
}

/// The answer is not given: too many others wait for theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TurnedAway;

impl Default for Pacer {
    fn default() -> Self {
        Self::new(limits::LOGIN_DELAY)
    }
}

impl Pacer {
    /// A pace that begins with this delay.
    pub fn new(first_delay: Duration) -> Self {
        let state = State { wrong: 0, since: Instant::now(), next: 0, waiting: VecDeque::new() };
        Self { shared: Arc::new(Shared { first_delay, turn: tokio::sync::Mutex::default(), state: Mutex::new(state) }) }
    }

    /// To be called for a wrong password: returns when the answer may be sent.
    ///
    /// # Errors
    /// [`TurnedAway`]: the connection must be closed without an answer.
    pub async fn wrong(&self) -> Result<(), TurnedAway> {
        let delay = self.count();
        let (waiting, turned_away) = self.wait();
        let answer = async {
            let _turn = self.shared.turn.lock().await;
            sleep(delay).await;
        };
        let result = tokio::select! {
            biased;
            _ = turned_away => Err(TurnedAway),
            () = answer => Ok(()),
        };
        drop(waiting);
        result
    }

    /// Counts one more wrong password, and gives its delay.
    fn count(&self) -> Duration {
        let longest = self.shared.first_delay.saturating_mul(1 << limits::LOGIN_DELAY_DOUBLINGS);
        let now = Instant::now();
        let mut state = self.state();
        while state.wrong > 0 && now.duration_since(state.since) >= longest {
            state.wrong -= 1;
            state.since += longest;
        }
        if state.wrong == 0 {
            state.since = now;
        }
        let delay = self.shared.first_delay.saturating_mul(1 << state.wrong.min(limits::LOGIN_DELAY_DOUBLINGS));
        // A higher count would take a day to fall after a flood.
        state.wrong = state.wrong.saturating_add(1).min(limits::LOGIN_DELAY_DOUBLINGS + 1);
        delay
    }

    fn wait(&self) -> (Waiting<'_>, oneshot::Receiver<()>) {
        let (leave, turned_away) = oneshot::channel();
        let mut state = self.state();
        if state.waiting.len() >= limits::LOGIN_ANSWERS_WAITING
            && let Some((_, oldest)) = state.waiting.pop_front()
        {
            // The connection may have gone meanwhile.
            let _ = oldest.send(());
        }
        state.next += 1;
        let id = state.next;
        state.waiting.push_back((id, leave));
        drop(state);
        (Waiting { pacer: self, id }, turned_away)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place among the connections that wait; given back when it is dropped.
struct Waiting<'a> {
    pacer: &'a Pacer,
    id: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.pacer.state().waiting.retain(|(id, _)| *id != self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets so many connections guess as fast as they can for this long; returns how many answers they got.
    async fn guess(pacer: &Pacer, connections: usize, time: Duration) -> usize {
        let guesser = async || {
            let mut answers = 0;
            let until = Instant::now() + time;
            while Instant::now() < until {
                match tokio::time::timeout_at(until, pacer.wrong()).await {
                    Ok(Ok(())) => answers += 1,
                    // Opening a new connection takes time.
                    Ok(Err(TurnedAway)) => sleep(Duration::from_millis(50)).await,
                    Err(_) => {}
                }
            }
            answers
        };
        futures::future::join_all((0..connections).map(|_| guesser())).await.into_iter().sum()
    }

    #[tokio::test(start_paused = true)]
    async fn more_connections_bring_no_more_wrong_answers() {
        let hour = Duration::from_secs(3600);
        for connections in [1, 7, 20] {
            let pacer = Pacer::default();
            let first = guess(&pacer, connections, hour).await;
            let second = guess(&pacer, connections, hour).await;
            assert!(first <= 70 && second <= 60, "{connections}: {first}, {second}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_who_mistypes_waits_a_second_and_what_was_long_ago_is_forgotten() {
        let pacer = Pacer::default();
        let delay = async || {
            let started = Instant::now();
            pacer.wrong().await.unwrap();
            started.elapsed().as_secs()
        };
        for expected in [1, 2, 4, 8, 16, 32, 64, 64] {
            assert_eq!(delay().await, expected);
        }
        sleep(Duration::from_secs(7 * 64)).await;
        assert_eq!(delay().await, 1);
    }
}
