//! The log of the daemon, on standard error. Normal running is silent; no line of the log carries an address, a
//! subject, a file name or a key.
//!
//! No thread ever waits for a reader of the log, and nothing fails because of a line in it: a thread of its own writes
//! it. Where that thread cannot write (a full pipe that nobody reads, a full disk, a terminal that is gone), lines are
//! lost; when it can write again, it says how many were.

use std::io::{self, Write};
use std::panic::PanicHookInfo;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use tracing_subscriber::EnvFilter;

/// What is logged unless `RUNEPEER_LOG` says otherwise (the syntax of tracing's EnvFilter).
const DEFAULT_FILTER: &str = "warn,runepeer=info";
/// Applies whatever filter is set: the view's database logs only about its own files.
const QUIET: &str = "sled=warn";
/// Pieces of text that may wait to be written to one stream; what comes after them is lost.
const WAITING: usize = 1024;

/// Starts logging to standard error. A second call changes nothing.
pub fn start() {
    let text = std::env::var("RUNEPEER_LOG").unwrap_or_else(|_| DEFAULT_FILTER.to_owned());
    let filter = EnvFilter::try_new(format!("{text},{QUIET},{}", crate::net::tor::LOG_DIRECTIVES))
        .unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(errors)
        // Colour codes do not belong in a file or a journal.
        .with_ansi(false)
        // Otherwise a line that cannot be written is reported on standard error, which panics there.
        .log_internal_errors(false)
        .with_target(false);
    if subscriber.try_init().is_ok() {
        std::panic::set_hook(Box::new(panicked));
    }
    // Otherwise another node of this process has already started logging.
}

/// Logs a panic: where it was, but not its message, which may quote what a peer sent.
fn panicked(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = thread::current();
    tracing::error!(
        place,
        thread = thread.name().unwrap_or("unnamed"),
        "something failed unexpectedly; please report this"
    );
    tracing::debug!(words = panic.payload_as_str().unwrap_or_default(), "what it said");
}

/// Standard error, written to without waiting.
pub fn errors() -> &'static Printer {
    static ERRORS: OnceLock<Printer> = OnceLock::new();
    ERRORS.get_or_init(|| Printer::new("stderr", io::stderr()))
}

/// Standard output, written to without waiting.
pub fn output() -> &'static Printer {
    static OUTPUT: OnceLock<Printer> = OnceLock::new();
    OUTPUT.get_or_init(|| Printer::new("stdout", io::stdout()))
}

/// A stream to which a thread of its own writes.
pub struct Printer {
    /// `None` where the system gave no thread: then all text is lost.
    pieces: Option<SyncSender<Piece>>,
    lost: &'static AtomicU64,
}

enum Piece {
    Text(Vec<u8>),
    /// A request to answer when everything before it was written or lost.
    Flush(SyncSender<()>),
}

impl Printer {
    fn new(name: &str, mut stream: impl Write + Send + 'static) -> Self {
        let (sender, pieces) = sync_channel(WAITING);
        // One counter for each stream of the process.
        let lost: &'static AtomicU64 = Box::leak(Box::default());
        let write = move || {
            for piece in pieces {
                match piece {
                    Piece::Text(text) => print(&mut stream, &text, lost),
                    Piece::Flush(done) => done.try_send(()).unwrap_or_default(),
                }
            }
        };
        let thread = thread::Builder::new().name(name.to_owned()).spawn(write);
        Self { pieces: thread.is_ok().then_some(sender), lost }
    }

    /// Prints a text some time soon, or loses it.
    pub fn print(&self, text: &[u8]) {
        let printed = self.pieces.as_ref().is_some_and(|pieces| pieces.try_send(Piece::Text(text.to_vec())).is_ok());
        if !printed {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until everything printed before is written, but not longer than this.
    pub fn flush(&self, patience: Duration) {
        let Some(pieces) = &self.pieces else { return };
        let (done, written) = sync_channel(1);
        let deadline = Instant::now() + patience;
        let mut flush = Piece::Flush(done);
        // Until there is room for the request itself.
        while let Err(TrySendError::Full(back)) = pieces.try_send(flush) {
            if Instant::now() >= deadline {
                return;
            }
            flush = back;
            thread::sleep(Duration::from_millis(1));
        }
        let _ = written.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }
}

fn print(stream: &mut impl Write, text: &[u8], lost: &AtomicU64) {
    if stream.write_all(text).and_then(|()| stream.flush()).is_err() {
        lost.fetch_add(1, Ordering::Relaxed);
        return;
    }
    let before = lost.swap(0, Ordering::Relaxed);
    if before > 0 && writeln!(stream, "({before} lines before this one could not be written here)").is_err() {
        lost.fetch_add(before, Ordering::Relaxed);
    }
}

impl Write for &Printer {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.print(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex, PoisonError};

    /// A stream that blocks while it is locked, and refuses everything while it is full.
    #[derive(Clone, Default)]
    struct Stream(Arc<Mutex<(bool, Vec<u8>)>>);

    impl Write for Stream {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if inner.0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            inner.1.extend(text);
            Ok(text.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn nobody_waits_for_a_reader_who_does_not_read() {
        let stream = Stream::default();
        let printer = Printer::new("test", stream.clone());
        let unread = stream.0.lock().unwrap();
        let begin = Instant::now();
        for _ in 0..3 * WAITING {
            printer.print(b"x\n");
        }
        printer.flush(Duration::from_millis(10));
        assert!(begin.elapsed() < Duration::from_secs(5));
        drop(unread);
        printer.flush(Duration::from_secs(10));
        printer.print(b"read again\n");
        printer.flush(Duration::from_secs(10));
        let text = String::from_utf8(stream.0.lock().unwrap().1.clone()).unwrap();
        assert!(text.contains("read again\n"));
        let lost = text.lines().find_map(|line| line.strip_prefix('(')?.split_once(' ')?.0.parse::<usize>().ok());
        let written = text.lines().filter(|line| *line == "x").count();
        assert_eq!(written + lost.unwrap(), 3 * WAITING, "what was lost is counted");
    }

    #[test]
    fn what_cannot_be_written_is_lost_and_counted() {
        let stream = Stream::default();
        let printer = Printer::new("test", stream.clone());
        stream.0.lock().unwrap().0 = true;
        for _ in 0..3 {
            printer.print(b"lost\n");
        }
        printer.flush(Duration::from_secs(10));
        stream.0.lock().unwrap().0 = false;
        printer.print(b"kept\n");
        printer.flush(Duration::from_secs(10));
        let text = String::from_utf8(stream.0.lock().unwrap().1.clone()).unwrap();
        assert_eq!(text, "kept\n(3 lines before this one could not be written here)\n");
    }
}
