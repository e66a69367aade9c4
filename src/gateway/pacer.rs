//! The pace of wrong passwords: one for all connections and all gateways of a node.
//!
//! A wrong password is answered after 1 s, the next after 2, up to [`limits::LOGIN_DELAY`] doubled
//! [`limits::LOGIN_DELAY_DOUBLINGS`] times; the count of wrong ones falls by one in as much time. The answers wait for
//! each other, so that more connections bring no more answers: in the long run some 56 an hour. Only a few may wait at
//! a time; when another comes, the one that waits longest is turned away. A right password is answered at once, however
//! many others guess.
//!
//! Two things are no guesses, and do not make later answers slower:
//! - the same wrong password for the same user again, which tells nobody anything new: a mail program that has an old
//!   password sends it with every look for mail;
//! - wrong passwords on a connection that then shows the right one for the same user ([`Tries::right`]). What came on
//!   other connections goes on counting: whoever guesses there must gain nothing by a login of the user.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
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
    /// Wrong passwords are kept as hashes under a key that ends with the process.
    hasher: RandomState,
    turn: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// How many wrong passwords are counted now.
    wrong: u32,
    /// Since when the count has not fallen.
    since: Instant,
    /// How many guesses the count did not take because it was at its bound.
    lost: u64,
    next: u64,
    /// The connections that wait for an answer, the oldest first.
    waiting: VecDeque<(u64, oneshot::Sender<()>)>,
    /// The wrong passwords that came last, up to [`limits::LOGIN_WRONG_KEPT`].
    sent: Vec<Sent>,
}

/// A wrong password, and how often it came.
#[derive(Debug)]
struct Sent {
    hash: u64,
    user: Vec<u8>,
    times: u32,
    first: Instant,
    last: Instant,
    /// When this user logged in for the first time since.
    right: Option<Instant>,
}

/// A wrong password that comes again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stale {
    /// The name for which it comes, as the mail program writes it.
    pub user: Vec<u8>,
    /// How often it came.
    pub times: u32,
    /// How long ago it came first.
    pub first: Duration,
    /// How long ago it came last.
    pub last: Duration,
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
        let state =
            State { wrong: 0, since: Instant::now(), lost: 0, next: 0, waiting: VecDeque::new(), sent: Vec::new() };
        Self {
            shared: Arc::new(Shared {
                first_delay,
                hasher: RandomState::new(),
                turn: tokio::sync::Mutex::default(),
                state: Mutex::new(state),
            }),
        }
    }

    /// A new connection, which has sent no password yet.
    pub fn tries(&self) -> Tries {
        Tries { pacer: self.clone(), user: Vec::new(), counted: 0, lost: 0 }
    }

    /// The wrong passwords that a mail program keeps sending: each came [`limits::LOGIN_STALE_TIMES`] times, within
    /// [`limits::LOGIN_STALE`] before now, and not only until its user logged in with the right one.
    pub fn stale(&self) -> Vec<Stale> {
        let now = Instant::now();
        let keeps_coming = |sent: &&Sent| {
            sent.times >= limits::LOGIN_STALE_TIMES
                && now.duration_since(sent.last) < limits::LOGIN_STALE
                && sent.right.is_none_or(|right| sent.last > right)
        };
        let told = |sent: &Sent| Stale {
            user: sent.user.clone(),
            times: sent.times,
            first: now.duration_since(sent.first),
            last: now.duration_since(sent.last),
        };
        self.state().sent.iter().filter(keeps_coming).map(told).collect()
    }

    /// Returns when an answer with this delay may be sent.
    async fn pause(&self, delay: Duration) -> Result<(), TurnedAway> {
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

    /// Counts a wrong password, and gives its delay, by how much it raised the count, and how many guesses the count did not
    /// take so far.
    fn count(&self, user: &[u8], password: &[u8]) -> (Duration, u32, u64) {
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
        let is_guess = state.is_new(self.shared.hasher.hash_one((user, password)), user, now);
        // A higher count would take a day to fall after a flood.
        let raised = u32::from(is_guess && state.wrong <= limits::LOGIN_DELAY_DOUBLINGS);
        state.wrong += raised;
        state.lost += u64::from(is_guess && raised == 0);
        (delay, raised, state.lost)
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

impl State {
    /// Remembers a wrong password; whether it did not come before.
    fn is_new(&mut self, hash: u64, user: &[u8], now: Instant) -> bool {
        if let Some(sent) = self.sent.iter_mut().find(|sent| sent.hash == hash) {
            sent.times = sent.times.saturating_add(1);
            sent.last = now;
            return false;
        }
        if self.sent.len() >= limits::LOGIN_WRONG_KEPT {
            // Whoever guesses sends each once, and pushes out nothing that comes again and again.
            let least = self.sent.iter().enumerate().min_by_key(|(_, sent)| (sent.times, sent.last));
            if let Some((place, _)) = least {
                self.sent.remove(place);
            }
        }
        self.sent.push(Sent { hash, user: user.to_vec(), times: 1, first: now, last: now, right: None });
        true
    }
}

/// The passwords that come on one connection.
#[derive(Debug)]
pub struct Tries {
    pacer: Pacer,
    /// The user for whom the last wrong ones came.
    user: Vec<u8>,
    /// By how much they raised the count.
    counted: u32,
    /// How many guesses the count had not taken by then.
    lost: u64,
}

impl Tries {
    /// To be called for a wrong password, which counts at once; the result is there when the answer may be sent.
    ///
    /// # Errors
    /// [`TurnedAway`]: the connection must be closed without an answer.
    pub fn wrong(
        &mut self,
        user: &[u8],
        password: &[u8],
    ) -> impl Future<Output = Result<(), TurnedAway>> + Send + use<> {
        let user = user.to_ascii_lowercase();
        let (delay, raised, lost) = self.pacer.count(&user, password);
        if self.user != user || self.counted == 0 {
            (self.user, self.counted, self.lost) = (user, 0, lost);
        }
        self.counted = self.counted.saturating_add(raised);
        let pacer = self.pacer.clone();
        async move { pacer.pause(delay).await }
    }

    /// To be called for a right password. What this connection sent for the same user counts no more: whoever knows the
    /// password had no need to guess it.
    pub fn right(&mut self, user: &[u8]) {
        let user = user.to_ascii_lowercase();
        let mut state = self.pacer.state();
        if self.user == user {
            // What was lost since then would have been counted, if these had not been.
            let lost = u32::try_from(state.lost - self.lost).unwrap_or(u32::MAX);
            state.wrong = state.wrong.saturating_sub(std::mem::take(&mut self.counted).saturating_sub(lost));
        }
        let now = Instant::now();
        for sent in state.sent.iter_mut().filter(|sent| local_part(&sent.user) == local_part(&user)) {
            sent.right.get_or_insert(now);
        }
    }
}

/// An identity logs in by its address, or by the part of that before `@`.
fn local_part(user: &[u8]) -> &[u8] {
    user.split(|&byte| byte == b'@').next().unwrap_or_default()
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
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    /// Lets so many connections guess as fast as they can for this long; returns how many answers they got.
    async fn guess(pacer: &Pacer, connections: usize, time: Duration) -> usize {
        let guesses = AtomicU64::new(0);
        let until = Instant::now() + time;
        let guesser = async || {
            let (mut answers, mut tries) = (0, pacer.tries());
            while Instant::now() < until {
                let password = guesses.fetch_add(1, Ordering::Relaxed).to_be_bytes();
                match tokio::time::timeout_at(until, tries.wrong(b"alice", &password)).await {
                    Ok(Ok(())) => answers += 1,
                    // Opening a new connection takes time.
                    Ok(Err(TurnedAway)) => {
                        tries = pacer.tries();
                        sleep(Duration::from_millis(50)).await;
                    }
                    Err(_) => {}
                }
            }
            answers
        };
        futures::future::join_all((0..connections).map(|_| guesser())).await.into_iter().sum()
    }

    /// How long the answer to this wrong password takes, in seconds.
    async fn delay(tries: &mut Tries, user: &str, password: &str) -> u64 {
        let started = Instant::now();
        tries.wrong(user.as_bytes(), password.as_bytes()).await.unwrap();
        started.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn more_connections_bring_no_more_wrong_answers() {
        for connections in [1, 7, 20] {
            let pacer = Pacer::default();
            let first = guess(&pacer, connections, HOUR).await;
            let second = guess(&pacer, connections, HOUR).await;
            assert!(first <= 70 && second <= 60, "{connections}: {first}, {second}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_guesses_gains_nothing_where_the_user_logs_in_again_and_again() {
        for connections in [1, 7] {
            let pacer = Pacer::default();
            // A mistake now and then, which is corrected on the same connection, and right passwords on others.
            let user = async {
                for number in 0_u64.. {
                    let mut tries = pacer.tries();
                    if number % 60 == 0 {
                        let _ = tries.wrong(b"alice", format!("mistyped {number}").as_bytes()).await;
                    }
                    tries.right(b"alice");
                    sleep(Duration::from_secs(5)).await;
                }
            };
            let guesses = async {
                let first = guess(&pacer, connections, HOUR).await;
                (first, guess(&pacer, connections, HOUR).await)
            };
            let (first, second) = tokio::select! {
                biased;
                answers = guesses => answers,
                () = user => unreachable!("the user never ends"),
            };
            assert!(first <= 70 && second <= 60, "{connections}: {first}, {second}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_who_mistypes_waits_a_second_and_what_was_long_ago_is_forgotten() {
        let pacer = Pacer::default();
        let mut tries = pacer.tries();
        for (number, expected) in [1, 2, 4, 8, 16, 32, 64, 64].into_iter().enumerate() {
            assert_eq!(delay(&mut tries, "alice", &number.to_string()).await, expected);
        }
        sleep(Duration::from_secs(7 * 64)).await;
        assert_eq!(delay(&mut tries, "alice", "another").await, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_user_mistyped_and_corrected_makes_no_later_answer_slower_and_all_else_does() {
        let pacer = Pacer::default();
        let (mut own, mut other) = (pacer.tries(), pacer.tries());
        for (number, expected) in [1, 2, 4].into_iter().enumerate() {
            assert_eq!(delay(&mut own, "alice", &number.to_string()).await, expected);
        }
        own.right(b"Alice");
        assert_eq!(delay(&mut pacer.tries(), "alice", "once more").await, 1);
        // What came on another connection, or for another user, is not taken back.
        assert_eq!(delay(&mut other, "alice", "a guess").await, 2);
        pacer.tries().right(b"alice");
        own.right(b"alice");
        assert_eq!(delay(&mut own, "bob", "a guess").await, 4);
        own.right(b"alice");
        assert_eq!(delay(&mut other, "alice", "another guess").await, 8);
        let mut both = pacer.tries();
        assert_eq!(delay(&mut both, "alice", "a guess for one").await, 16);
        assert_eq!(delay(&mut both, "bob", "mistyped").await, 32);
        both.right(b"bob");
        assert_eq!(delay(&mut other, "alice", "the next guess").await, 32);
    }

    #[tokio::test(start_paused = true)]
    async fn a_mail_program_with_an_old_password_makes_no_later_answer_slower() {
        let pacer = Pacer::default();
        for _ in 0..20 {
            let waited = delay(&mut pacer.tries(), "alice", "the old one").await;
            assert!(waited <= 2, "{waited}");
        }
        assert_eq!(delay(&mut pacer.tries(), "alice", "mistyped").await, 2);
        // For another user it is another guess.
        assert_eq!(delay(&mut pacer.tries(), "bob", "the old one").await, 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_password_that_keeps_coming_is_told_until_an_hour_after_it_came_last() {
        let pacer = Pacer::default();
        let told = || pacer.stale().into_iter().map(|stale| (stale.user, stale.times)).collect::<Vec<_>>();
        for time in 1..=3 {
            assert_eq!(told(), [], "before time {time}");
            delay(&mut pacer.tries(), "Alice", "the old one").await;
        }
        assert_eq!(told(), [(b"alice".to_vec(), 3)]);
        // Two different ones are no program that sends the same again and again.
        delay(&mut pacer.tries(), "bob", "one").await;
        delay(&mut pacer.tries(), "bob", "two").await;
        assert_eq!(told().len(), 1);
        // Many guesses do not push it out.
        for number in 0..3 * limits::LOGIN_WRONG_KEPT {
            delay(&mut pacer.tries(), "alice", &number.to_string()).await;
        }
        delay(&mut pacer.tries(), "alice", "the old one").await;
        let stale = pacer.stale();
        let [stale] = stale.as_slice() else { panic!("{stale:?}") };
        assert!(stale.times == 4 && stale.first > stale.last + Duration::from_secs(1000), "{stale:?}");
        sleep(HOUR).await;
        assert_eq!(told(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn a_password_that_was_corrected_is_told_no_more_unless_it_comes_again() {
        let pacer = Pacer::default();
        for _ in 0..3 {
            delay(&mut pacer.tries(), "alice", "the old one").await;
        }
        assert_eq!(pacer.stale().len(), 1);
        pacer.tries().right(b"alice@x.onion");
        assert_eq!(pacer.stale(), []);
        // Another program has the right one, and this one goes on, whenever that other one logs in.
        sleep(Duration::from_secs(600)).await;
        delay(&mut pacer.tries(), "alice", "the old one").await;
        pacer.tries().right(b"alice");
        assert_eq!(pacer.stale().len(), 1);
    }
}
