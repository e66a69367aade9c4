//! Where words go: data on standard output, everything else on standard error, JSON where asked for.

use std::io::{IsTerminal, Write};

use serde_json::Value;

use crate::control::Failure;

/// How to speak.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    json: bool,
    quiet: bool,
}

impl Output {
    pub(super) const fn new(json: bool, quiet: bool) -> Self {
        Self { json, quiet }
    }

    pub(super) const fn is_json(&self) -> bool {
        self.json
    }

    /// A line of what was asked for.
    pub(super) fn data(&self, line: impl AsRef<str>) {
        let mut out = std::io::stdout().lock();
        // A reader that went away wants no more.
        let _ = writeln!(out, "{}", line.as_ref());
        let _ = out.flush();
    }

    /// Bytes that somebody else wrote: as they are into a file or a pipe; on a terminal without what controls it.
    pub(super) fn bytes(&self, bytes: &[u8]) {
        let mut out = std::io::stdout().lock();
        let _ = if out.is_terminal() {
            out.write_all(for_terminal(&String::from_utf8_lossy(bytes)).as_bytes())
        } else {
            out.write_all(bytes)
        };
        let _ = out.flush();
    }

    /// A line of words around it; nothing with `--quiet` or `--json`.
    pub(super) fn say(&self, line: impl AsRef<str>) {
        if !self.quiet && !self.json {
            self.warn(line);
        }
    }

    /// A line that must be seen.
    pub(super) fn warn(&self, line: impl AsRef<str>) {
        let _ = writeln!(std::io::stderr().lock(), "{}", line.as_ref());
    }

    /// An object of the JSON interface: gains `schema`.
    pub(super) fn object(&self, mut value: Value) {
        if let Value::Object(members) = &mut value {
            members.insert("schema".into(), 1.into());
        }
        self.data(value.to_string());
    }

    /// A failure, in words or as JSON.
    pub(super) fn failure(&self, failure: &Failure) {
        if self.json {
            self.object(serde_json::json!({ "error": failure }));
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

/// Whether a person is there to answer a question.
pub(super) fn can_ask(no_input: bool) -> bool {
    !no_input && std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Asks for a line.
pub(super) fn ask(question: &str) -> std::io::Result<String> {
    let mut err = std::io::stderr().lock();
    write!(err, "{question} ")?;
    err.flush()?;
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
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
