//! A test harness for tests that need something of their machine: a network, a mail program.
//!
//! What they need is made once, before the first test that is run, and dropped after the last. Where the machine
//! lacks it, all tests are reported as ignored with the reason, never as passed. Output and arguments are libtest's, as
//! far as people and tools use them: filters, `--exact`, `--skip`, `--list`, `--ignored`, `--include-ignored`.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a harness talks on stdout")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// A test that takes longer is announced, as libtest does; one that takes [`LIMIT`] ends the program as a failure. What
/// it started is ended with it only where that watches its parent.
const LONG: Duration = Duration::from_secs(60);
const LIMIT: Duration = Duration::from_secs(600);
/// That limit; `TEST_LIMIT` in the environment is another one, in seconds.
fn limit() -> Duration {
    let given = std::env::var("TEST_LIMIT").ok().and_then(|text| text.parse().ok());
    given.map_or(LIMIT, Duration::from_secs)
}

/// The machine lacks something that the tests need; a reason to show.
#[derive(Debug)]
pub(crate) struct Missing(pub(crate) String);

/// Watches over what is going on until it is dropped.
struct Watch(#[allow(dead_code, reason = "its drop is the message")] Sender<()>);

impl Watch {
    fn over(name: &str) -> Self {
        let (sender, receiver) = channel::<()>();
        let name = name.to_owned();
        std::thread::spawn(move || {
            let silent = |time| receiver.recv_timeout(time) == Err(RecvTimeoutError::Timeout);
            if silent(LONG) {
                println!("test {name} has been running for over {} seconds", LONG.as_secs());
                if silent(limit().saturating_sub(LONG)) {
                    println!("test {name} ... FAILED (it did not end within {} seconds)", limit().as_secs());
                    std::process::exit(101);
                }
            }
        });
        Self(sender)
    }
}

/// One test: its name, and what it does with what was made for all.
pub(crate) type Trial<C> = (&'static str, fn(&C));

/// What the command line asks for.
#[derive(Default)]
struct Arguments {
    filters: Vec<String>,
    skip: Vec<String>,
    exact: bool,
    list: bool,
    only_ignored: bool,
}

impl Arguments {
    fn read(arguments: impl Iterator<Item = String>) -> Self {
        let mut read = Self::default();
        let mut arguments = arguments.peekable();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--exact" => read.exact = true,
                "--list" => read.list = true,
                "--ignored" => read.only_ignored = true,
                "--skip" => read.skip.extend(arguments.next()),
                "--test-threads" | "--format" | "--color" | "--logfile" => drop(arguments.next()),
                flag if flag.starts_with('-') => {}
                filter => read.filters.push(filter.to_owned()),
            }
        }
        read
    }

    fn wants(&self, name: &str) -> bool {
        let matches = |filter: &String| if self.exact { name == filter } else { name.contains(filter.as_str()) };
        // None of these tests is marked ignored: they are when something is missing, and then cannot run.
        !self.only_ignored
            && (self.filters.is_empty() || self.filters.iter().any(matches))
            && !self.skip.iter().any(matches)
    }
}

/// Runs the tests that the command line asks for, one after the other.
pub(crate) fn main<C>(make: impl FnOnce() -> Result<C, Missing>, trials: &[Trial<C>]) -> ExitCode {
    let arguments = Arguments::read(std::env::args().skip(1));
    let (wanted, filtered): (Vec<_>, Vec<_>) = trials.iter().partition(|(name, _)| arguments.wants(name));
    if arguments.list {
        wanted.iter().for_each(|(name, _)| println!("{name}: test"));
        println!("\n{} tests, 0 benchmarks", wanted.len());
        return ExitCode::SUCCESS;
    }
    let start = Instant::now();
    println!("\nrunning {} tests", wanted.len());
    let (mut passed, mut failed, mut ignored) = (0, Vec::new(), 0);
    if !wanted.is_empty() {
        let making = Watch::over("(what all need)");
        let made = catch_unwind(AssertUnwindSafe(make));
        drop(making);
        match made {
            Ok(Ok(common)) => {
                for (name, run) in &wanted {
                    let (began, _watch) = (Instant::now(), Watch::over(name));
                    let outcome = catch_unwind(AssertUnwindSafe(|| run(&common)));
                    let word = if outcome.is_ok() { "ok" } else { "FAILED" };
                    println!("test {name} ... {word} ({:.1}s)", began.elapsed().as_secs_f64());
                    if outcome.is_ok() { passed += 1 } else { failed.push(*name) }
                }
            }
            Ok(Err(Missing(reason))) => {
                wanted.iter().for_each(|(name, _)| println!("test {name} ... ignored, {reason}"));
                ignored = wanted.len();
            }
            Err(_) => {
                wanted.iter().for_each(|(name, _)| println!("test {name} ... FAILED (what it needs did not start)"));
                failed.extend(wanted.iter().map(|(name, _)| *name));
            }
        }
    }
    if !failed.is_empty() {
        println!("\nfailures:");
        failed.iter().for_each(|name| println!("    {name}"));
    }
    println!(
        "\ntest result: {}. {passed} passed; {} failed; {ignored} ignored; 0 measured; {} filtered out; finished in {:.2}s\n",
        if failed.is_empty() { "ok" } else { "FAILED" },
        failed.len(),
        filtered.len(),
        start.elapsed().as_secs_f64()
    );
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(101) }
}
