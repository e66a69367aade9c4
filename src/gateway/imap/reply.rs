//! How a command ends: its tagged reply, or the end of the session.

use std::borrow::Cow;
use std::io;

use crate::engine::RequestError;

use super::stream::ReadFailure;
use super::syntax::SyntaxError;

/// The condition of a tagged reply (RFC 9051 §7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    /// The command was done.
    Ok,
    /// The command was understood, but not done.
    No,
    /// The command was not understood, or is not allowed now.
    Bad,
}

/// A tagged reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    /// Whether the command was done.
    pub(super) condition: Condition,
    /// A response code, without brackets.
    pub(super) code: Option<String>,
    /// Text for people.
    pub(super) text: Cow<'static, str>,
}

impl Reply {
    pub(super) const fn ok(text: &'static str) -> Self {
        Self { condition: Condition::Ok, code: None, text: Cow::Borrowed(text) }
    }

    pub(super) const fn no(text: &'static str) -> Self {
        Self { condition: Condition::No, code: None, text: Cow::Borrowed(text) }
    }

    pub(super) const fn bad(text: &'static str) -> Self {
        Self { condition: Condition::Bad, code: None, text: Cow::Borrowed(text) }
    }

    pub(super) fn code(self, code: impl Into<String>) -> Self {
        Self { code: Some(code.into()), ..self }
    }

    /// If `gone` is set, adds that some messages were left out because another session expunged them (RFC 5530).
    pub(super) fn gone(self, gone: bool) -> Self {
        if gone && self.code.is_none() { self.code("EXPUNGEISSUED") } else { self }
    }

    /// The line, without its line end. Whatever the text is, it is one line of ASCII.
    pub(super) fn line(&self, tag: &str) -> String {
        let condition = match self.condition {
            Condition::Ok => "OK",
            Condition::No => "NO",
            Condition::Bad => "BAD",
        };
        let code = self.code.as_ref().map(|code| format!("[{code}] ")).unwrap_or_default();
        let text: String = self.text.chars().map(|c| if matches!(c, ' '..='~') { c } else { '?' }).collect();
        format!("{tag} {condition} {code}{text}")
    }
}

/// The end of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// With this text in a last response.
    Bye(&'static str),
    /// The client left, or must hear nothing from us.
    Silent,
}

/// Why a command handler stopped early.
#[derive(Debug)]
pub(super) enum Fail {
    /// The command failed with this reply.
    Refused(Reply),
    /// The session ends in this way.
    End(End),
}

/// The result of a command handler.
pub(super) type Done = Result<Reply, Fail>;

impl From<Reply> for Fail {
    fn from(reply: Reply) -> Self {
        Self::Refused(reply)
    }
}

impl From<End> for Fail {
    fn from(end: End) -> Self {
        Self::End(end)
    }
}

impl From<io::Error> for Fail {
    fn from(_: io::Error) -> Self {
        Self::End(End::Silent)
    }
}

impl From<SyntaxError> for Fail {
    fn from(_: SyntaxError) -> Self {
        Self::Refused(Reply::bad("the command could not be understood"))
    }
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> Self {
        Self::Silent
    }
}

impl From<ReadFailure> for End {
    fn from(failure: ReadFailure) -> Self {
        match failure {
            ReadFailure::Closed | ReadFailure::Io(_) => Self::Silent,
            ReadFailure::TooLong => Self::Bye("the line is too long"),
        }
    }
}

impl From<RequestError> for Fail {
    fn from(error: RequestError) -> Self {
        let code = match &error {
            RequestError::NoSuchFolder => "NONEXISTENT",
            RequestError::FolderExists => "ALREADYEXISTS",
            RequestError::FolderRefused(_) | RequestError::Outbox => "CANNOT",
            RequestError::BeingSent => "INUSE",
            RequestError::Limit(_) => "LIMIT",
            _ => "UNAVAILABLE",
        };
        let text = Cow::Owned(error.to_string());
        Self::Refused(Reply { condition: Condition::No, code: Some(code.to_owned()), text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_one_line_whatever_its_text() {
        let reply = Reply { condition: Condition::No, code: Some("LIMIT".into()), text: "a\r\n* BYE ü".into() };
        assert_eq!(reply.line("t"), "t NO [LIMIT] a??* BYE ?");
    }
}
