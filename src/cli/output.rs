//! Where the program writes: data on standard output, everything else on standard error, JSON where it is asked for.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::signals::Asking;
use crate::control::{Code, Failure};
use crate::daemon::logging;

/// How long a daemon that ends waits for its last lines to be written.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Why data could not be written to standard output; the command then counts as failed.
static UNWRITTEN: OnceLock<String> = OnceLock::new();

/// How to print.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    json: bool,
    quiet: bool,
    /// Whether nothing waits for the reader: a daemon goes on, and stops, whether its output is read or not.
    unattended: bool,
}

/// Makes a file, or empties the one that is there, for something that nobody else is to read.
///
/// # Errors
/// [`Code::Failed`] with the path.
pub(super) fn private_file(path: &Path) -> Result<File, Failure> {
    let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    // A file that was there already may be open to others.
    let closed = opened.and_then(|file| file.set_permissions(Permissions::from_mode(0o600)).map(|()| file));
    closed.map_err(|error| unwritten(path, error))
}

/// Writes such a file.
///
/// # Errors
/// [`Code::Failed`] with the path.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    private_file(path)?.write_all(bytes).map_err(|error| unwritten(path, error))
}

/// The failure of a file that cannot be written.
pub(super) fn unwritten(path: &Path, error: impl std::fmt::Display) -> Failure {
    Failure::new(Code::Failed, format!("cannot write {}: {error}", path.display()))
}

impl Output {
    pub(super) const fn new(json: bool, quiet: bool) -> Self {
        Self { json, quiet, unattended: false }
    }

    /// The same for a daemon, which does not wait for a reader.
    pub(super) const fn unattended(self) -> Self {
        Self { unattended: true, ..self }
    }

    pub(super) const fn is_quiet(&self) -> bool {
        self.quiet
    }

    pub(super) const fn is_json(&self) -> bool {
        self.json
    }

    /// Prints a line of the data that was asked for.
    pub(super) fn data(&self, line: impl AsRef<str>) {
        let line = format!("{}\n", line.as_ref());
        if self.unattended {
            return logging::output().print(line.as_bytes());
        }
        let mut out = io::stdout().lock();
        note(out.write_all(line.as_bytes()).and_then(|()| out.flush()));
    }

    /// Prints bytes that somebody else wrote: unchanged into a file or a pipe, but without control characters on a
    /// terminal.
    pub(super) fn bytes(&self, bytes: &[u8]) {
        let mut out = io::stdout().lock();
        let written = if out.is_terminal() {
            out.write_all(for_terminal(&String::from_utf8_lossy(bytes)).as_bytes())
        } else {
            out.write_all(bytes)
        };
        note(written.and_then(|()| out.flush()));
    }

    /// Prints a line of explanation; nothing with `--quiet` or `--json`.
    pub(super) fn say(&self, line: impl AsRef<str>) {
        if !self.quiet && !self.json {
            self.warn(line);
        }
    }

    /// Prints a line that must be seen.
    pub(super) fn warn(&self, line: impl AsRef<str>) {
        let line = format!("{}\n", line.as_ref());
        if self.unattended {
            return logging::errors().print(line.as_bytes());
        }
        // If even this cannot be written, the exit status shows the failure.
        let _ = io::stderr().lock().write_all(line.as_bytes());
    }

    /// Waits a moment until the lines of a daemon are written.
    pub(super) fn flush(&self) {
        if self.unattended {
            logging::output().flush(LAST_WORDS);
            logging::errors().flush(LAST_WORDS);
        }
    }

    /// Fails where data that was asked for could not be written.
    ///
    /// # Errors
    /// [`Code::Failed`] with the reason.
    pub(super) fn is_written(&self) -> Result<(), Failure> {
        UNWRITTEN.get().map_or(Ok(()), |error| {
            Err(Failure::new(Code::Failed, format!("standard output cannot be written: {error}")))
        })
    }

    /// Prints an object of the JSON interface, with `schema` added.
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

    /// Prints a failure, in words or as JSON.
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

/// The text with a replacement character for every control character except tabs and line ends, so that escape
/// sequences from a sender, or in a pasted text, have no effect on the terminal.
fn for_terminal(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    text.chars().map(|c| if c.is_control() && !matches!(c, '\n' | '\t') { '\u{fffd}' } else { c }).collect()
}

/// Remembers that something could not be written. A reader that went away wants no more, so that is not a failure.
fn note(written: io::Result<()>) {
    if let Err(error) = written.map_err(|error| (error.kind() != ErrorKind::BrokenPipe).then(|| error.to_string())) {
        error.into_iter().for_each(|error| UNWRITTEN.set(error).unwrap_or_default());
    }
}

/// Whether a person is there to answer a question.
pub(super) fn can_ask(no_input: bool) -> bool {
    !no_input && io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks for a line. The end of the input is an error.
pub(super) fn ask(question: &str) -> io::Result<String> {
    logging::errors().flush(LAST_WORDS);
    let _asking = Asking::begin()?;
    io::stderr().write_all(format!("{question} ").as_bytes())?;
    let mut line = String::new();
    if io::stdin().read_line(&mut line)? == 0 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim().to_owned())
}

/// Asks a question whose answer is yes or no, in place again where it is something else. `usual` is the answer where only
/// Enter is pressed. The end of the input is an error.
pub(super) fn ask_whether(question: &str, usual: bool) -> io::Result<bool> {
    let choice = if usual { "[Y/n]" } else { "[y/N]" };
    let mut asked = format!("{question} {choice}");
    loop {
        if let Some(answer) = yes_or_no(&ask(&asked)?, usual) {
            return Ok(answer);
        }
        asked = format!("Answer with y or n. {choice}");
    }
}

fn yes_or_no(answer: &str, usual: bool) -> Option<bool> {
    match answer.to_ascii_lowercase().as_str() {
        "" => Some(usual),
        "y" | "yes" => Some(true),
        "n" | "no" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_yes_or_no_or_none() {
        for (answer, meant) in [("y", Some(true)), ("YES", Some(true)), ("n", Some(false)), ("No", Some(false))] {
            assert!(yes_or_no(answer, true) == meant && yes_or_no(answer, false) == meant, "{answer}");
        }
        assert!(yes_or_no("", true) == Some(true) && yes_or_no("", false) == Some(false));
        for strange in ["what", "yn", "j", "nope", "y n"] {
            assert_eq!(yes_or_no(strange, true), None, "{strange}");
        }
    }

    #[test]
    fn what_others_wrote_cannot_control_the_terminal() {
        assert_eq!(for_terminal("a\u{1b}[2J\r\n\tb\rc\u{9b}m ü"), "a\u{fffd}[2J\n\tb\u{fffd}c\u{fffd}m ü");
    }
}
