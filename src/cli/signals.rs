//! Signals that end the program, and the terminal that it leaves.
//!
//! Without a handler a signal ends the process at once, which is always safe for what is stored. Not so for the terminal:
//! while a passphrase is typed its echo is off. So from the first question on a thread waits for signals: it gives the
//! terminal its settings back, says what was not done, and ends the process (with 128 and the number of the signal; a
//! shell that runs a loop goes on then). After an answer it says that what was begun may be done. A daemon takes the signals over, and stops by them.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What the thread needs to know of the question that is asked.
struct Question {
    /// Whether the thread runs.
    is_watched: bool,
    /// Whether an answer is waited for.
    is_asked: bool,
    /// What is said if a signal comes instead of an answer.
    undone: &'static str,
    /// A terminal whose settings were changed, and its settings before.
    changed: Option<(File, Termios)>,
}

static QUESTION: Mutex<Question> =
    Mutex::new(Question { is_watched: false, is_asked: false, undone: "Nothing was changed.", changed: None });

/// The words if a signal comes after an answer. Everything that is asked about is one transaction, or one file that
/// appears at its end (docs/on-disk.md, "Crashes").
const BEGUN: &str = "Interrupted. What was begun is done as a whole, or not at all.";

/// Whether a daemon stops by the signals.
static TAKEN_OVER: AtomicBool = AtomicBool::new(false);

fn question() -> MutexGuard<'static, Question> {
    QUESTION.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sets what is said from now on if a signal comes instead of an answer; nothing is said where it is empty.
pub(super) fn if_interrupted(undone: &'static str) {
    question().undone = undone;
}

/// While this lives somebody is asked something. Dropped, it gives the terminal its settings back.
pub(super) struct Asking(());

impl Asking {
    /// Begins to ask.
    ///
    /// # Errors
    /// If nothing can wait for signals.
    pub(super) fn begin() -> io::Result<Self> {
        let mut question = question();
        if !question.is_watched {
            watch()?;
            question.is_watched = true;
        }
        question.is_asked = true;
        Ok(Self(()))
    }

    /// Changes the settings of a terminal, until [`Self::restore`] or the end.
    ///
    /// # Errors
    /// If it is no terminal, or has gone.
    pub(super) fn change(&self, terminal: impl AsFd, change: impl FnOnce(&mut Termios)) -> io::Result<()> {
        let mut question = question();
        let before = tcgetattr(&terminal)?;
        let mut settings = before.clone();
        change(&mut settings);
        if question.changed.is_none() {
            question.changed = Some((terminal.as_fd().try_clone_to_owned()?.into(), before));
        }
        Ok(tcsetattr(terminal, OptionalActions::Now, &settings)?)
    }

    /// Gives the terminal the settings back that it had before.
    pub(super) fn restore(&self) {
        question().restore();
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        let mut question = question();
        question.is_asked = false;
        question.restore();
    }
}

impl Question {
    fn restore(&mut self) {
        if let Some((terminal, settings)) = self.changed.take() {
            // A terminal that has gone needs no settings.
            let _ = tcsetattr(terminal, OptionalActions::Now, &settings);
        }
    }
}

/// Starts the thread that waits for signals. They are waited for when this returns.
fn watch() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let mut signals = {
        let _inside = runtime.enter();
        Signals::wait_for()?
    };
    let wait = move || {
        let number = runtime.block_on(signals.next());
        if TAKEN_OVER.load(Ordering::SeqCst) {
            return;
        }
        // Held to the end, so that nothing changes the terminal any more.
        let mut question = question();
        question.restore();
        let words = match (question.undone, question.is_asked) {
            ("", _) => "\n".to_owned(),
            (undone, true) => format!("\n{undone}\n"),
            (_, false) => format!("\n{BEGUN}\n"),
        };
        // Past the lock of the standard library, which may be held.
        let _ = rustix::io::write(io::stderr(), words.as_bytes());
        std::process::exit(128 + number.as_raw_value());
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(wait).map(drop)
}

/// Waits for SIGINT, SIGTERM, or SIGHUP: closing the terminal stops the daemon as cleanly. `nohup` still keeps it
/// running. Later signals change nothing.
pub(super) async fn interrupted() {
    let Ok(mut signals) = Signals::wait_for() else {
        // Without handlers, a signal ends the process at once, which is always safe.
        return std::future::pending().await;
    };
    TAKEN_OVER.store(true, Ordering::SeqCst);
    signals.next().await;
}

/// The signals that end the program.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Option<Signal>,
}

impl Signals {
    /// Begins to wait for them. Only within a runtime.
    fn wait_for() -> io::Result<Self> {
        let hangup = if ignores_hangup() { None } else { signal(SignalKind::hangup()).ok() };
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())?, hangup })
    }

    /// The next one.
    async fn next(&mut self) -> SignalKind {
        let hung_up = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            _ = self.terminate.recv() => SignalKind::terminate(),
            _ = hung_up => SignalKind::hangup(),
        }
    }
}

/// Whether this process was started so that SIGHUP does nothing to it, as `nohup` does.
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // SIGHUP is number 1, which is the lowest bit.
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}
