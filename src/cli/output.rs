//! Where the program writes: data on standard output, everything else on standard error, JSON where it is asked for.

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::sync::OnceLock;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use crate::control::{Code, Failure};
use crate::daemon::logging;

/// How long a daemon's last words may take.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Why data could not be written to standard output: the command did not do what it was asked for.
static UNWRITTEN: OnceLock<String> = OnceLock::new();

/// How to speak.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    json: bool,
    quiet: bool,
    /// Nobody waits for whoever reads it: a daemon goes on, and stops, whether its words are read or not.
    unattended: bool,
}

impl Output {
    pub(super) const fn new(json: bool, quiet: bool) -> Self {
        Self { json, quiet, unattended: false }
    }

    /// The same for a daemon.
    pub(super) const fn unattended(self) -> Self {
        Self { unattended: true, ..self }
    }

    pub(super) const fn is_quiet(&self) -> bool {
        self.quiet
    }

    pub(super) const fn is_json(&self) -> bool {
        self.json
    }

    /// A line of what was asked for.
    pub(super) fn data(&self, line: impl AsRef<str>) {
        let line = format!("{}\n", line.as_ref());
        if self.unattended {
            return logging::output().print(line.as_bytes());
        }
        let mut out = io::stdout().lock();
        note(out.write_all(line.as_bytes()).and_then(|()| out.flush()));
    }

    /// Bytes that somebody else wrote: as they are into a file or a pipe; on a terminal without what controls it.
    pub(super) fn bytes(&self, bytes: &[u8]) {
        let mut out = io::stdout().lock();
        let written = if out.is_terminal() {
            out.write_all(for_terminal(&String::from_utf8_lossy(bytes)).as_bytes())
        } else {
            out.write_all(bytes)
        };
        note(written.and_then(|()| out.flush()));
    }

    /// A line of words around it; nothing with `--quiet` or `--json`.
    pub(super) fn say(&self, line: impl AsRef<str>) {
        if !self.quiet && !self.json {
            self.warn(line);
        }
    }

    /// A line that must be seen.
    pub(super) fn warn(&self, line: impl AsRef<str>) {
        let line = format!("{}\n", line.as_ref());
        if self.unattended {
            return logging::errors().print(line.as_bytes());
        }
        // Where not even this can be said, the exit status says it.
        let _ = io::stderr().lock().write_all(line.as_bytes());
    }

    /// Waits a moment until what a daemon said is written.
    pub(super) fn flush(&self) {
        if self.unattended {
            logging::output().flush(LAST_WORDS);
            logging::errors().flush(LAST_WORDS);
        }
    }

    /// Whether everything that was asked for could be written.
    ///
    /// # Errors
    /// [`Code::Failed`] where something could not.
    pub(super) fn is_written(&self) -> Result<(), Failure> {
        UNWRITTEN.get().map_or(Ok(()), |error| {
            Err(Failure::new(Code::Failed, format!("standard output cannot be written: {error}")))
        })
    }

    /// An object of the JSON interface: gains `schema`.
    pub(super) fn object(&self, object: &impl Serialize) {
        match serde_json::to_value(object) {
            Ok(Value::Object(mut members)) => {
                members.insert("schema".into(), 1.into());
                self.data(Value::Object(members).to_string());
            }
            Ok(other) => self.data(other.to_string()),
            Err(error) => note(Err(io::Error::other(error))),
        }
    }

    /// A failure, in words or as JSON.
    pub(super) fn failure(&self, failure: &Failure) {
        if self.json {
            self.object(&serde_json::json!({ "error": failure }));
            return;
        }
        self.warn(for_terminal(&format!("runepeer: {failure}")));
        if let Some(hint) = &failure.hint {
            self.warn(for_terminal(&format!("  {hint}")));
        }
    }
}

/// The text with a replacement character for every control character but tabs and line ends: escape sequences of a
/// sender, or from a text that was pasted, do nothing to the terminal.
fn for_terminal(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    text.chars().map(|c| if c.is_control() && !matches!(c, '\n' | '\t') { '\u{fffd}' } else { c }).collect()
}

/// Keeps in mind that something could not be written. A reader that went away wants no more: that is no failure.
fn note(written: io::Result<()>) {
    if let Err(error) = written.map_err(|error| (error.kind() != ErrorKind::BrokenPipe).then(|| error.to_string())) {
        error.into_iter().for_each(|error| UNWRITTEN.set(error).unwrap_or_default());
    }
}

/// Whether a person is there to answer a question.
pub(super) fn can_ask(no_input: bool) -> bool {
    !no_input && io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks for a line.
pub(super) fn ask(question: &str) -> io::Result<String> {
    logging::errors().flush(LAST_WORDS);
    let mut err = io::stderr().lock();
    write!(err, "{question} ")?;
    err.flush()?;
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    Ok(line.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_cannot_control_the_terminal() {
        assert_eq!(for_terminal("a\u{1b}[2J\r\n\tb\rc\u{9b}m ü"), "a\u{fffd}[2J\n\tb\u{fffd}c\u{fffd}m ü");
    }
}
