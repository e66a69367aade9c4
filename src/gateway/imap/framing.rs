//! Commands out of a stream of lines and literals (RFC 9051 §4.3), without IO.
//!
//! An [`Assembler`] is fed line by line and literal by literal and says what it needs next. Every length is judged
//! before a byte of it is read, and before the client is told to go on. The message of an APPEND never
//! enters the command's text: it is handed out apart, so that the parser sees an empty literal in its place.

use imap_codec::CommandCodec;
use imap_codec::decode::Decoder;
use imap_codec::imap_types::command::CommandBody;

use super::dates;
use crate::base::limits;

/// The bounds of one command, by the state of the session.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// One line, in bytes.
    pub(super) line: usize,
    /// One literal that is not a message, in bytes.
    pub(super) literal: usize,
    /// Lines and literals together, in bytes.
    pub(super) command: usize,
    /// Whether a literal over its bound may be read and thrown away instead of ending the session.
    pub(super) drain: bool,
}

impl Bounds {
    /// The bounds for a client that has not logged in.
    pub(super) const BEFORE_LOGIN: Self = Self {
        line: limits::IMAP_LINE_BYTES_BEFORE_LOGIN,
        literal: limits::IMAP_LITERAL_BYTES_BEFORE_LOGIN,
        command: limits::IMAP_LINE_BYTES_BEFORE_LOGIN + 2 * limits::IMAP_LITERAL_BYTES_BEFORE_LOGIN,
        drain: false,
    };
    /// The bounds for the user's own mail program.
    pub(super) const AFTER_LOGIN: Self = Self {
        line: limits::IMAP_LINE_BYTES,
        literal: limits::IMAP_LITERAL_BYTES,
        command: limits::IMAP_COMMAND_BYTES,
        drain: true,
    };
}

/// A literal announced at the end of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Announced {
    /// Its length in bytes; the largest number where the length does not fit into one.
    pub(super) len: usize,
    /// Whether the client waits for `+` before it sends the literal.
    pub(super) sync: bool,
}

/// The next step of reading a command.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The command is complete; it ends with CRLF.
    Complete(Vec<u8>),
    /// Read a literal and give it to [`Assembler::literal`].
    Literal(Announced),
    /// The message of an APPEND comes now. The text is the command with an empty literal in its place.
    Message {
        /// The command.
        command: Vec<u8>,
        /// The message's length.
        announced: Announced,
    },
    /// The literal is over its bound.
    TooBig(Announced),
    /// The command as a whole is over its bound; the session cannot go on.
    TooLong,
}

/// Puts one command together.
#[derive(Debug)]
pub(super) struct Assembler {
    bounds: Bounds,
    bytes: Vec<u8>,
    /// How many literals were announced.
    literals: usize,
}

/// The message of an APPEND is at most its second literal, because only the mailbox may be one before it. The parser
/// decides whether a literal is the message, and reads everything before it each time; in a command with more literals
/// it would read the same again and again.
const LITERALS_OF_APPEND: usize = 2;

impl Assembler {
    /// An assembler that has read nothing yet.
    pub(super) const fn new(bounds: Bounds) -> Self {
        Self { bounds, bytes: Vec::new(), literals: 0 }
    }

    /// A line, without its line end.
    pub(super) fn line(&mut self, line: &[u8]) -> Step {
        if self.bytes.len().saturating_add(line.len()) > self.bounds.command {
            return Step::TooLong;
        }
        self.bytes.extend_from_slice(line);
        let Some(announced) = announced(line) else {
            self.bytes.extend_from_slice(b"\r\n");
            return Step::Complete(std::mem::take(&mut self.bytes));
        };
        self.literals += 1;
        if self.bounds.drain
            && self.literals <= LITERALS_OF_APPEND
            && let Some(command) = append_with_empty_message(&self.bytes)
        {
            return Step::Message { command, announced };
        }
        if announced.len > self.bounds.literal {
            return Step::TooBig(announced);
        }
        if self.bytes.len().saturating_add(announced.len) > self.bounds.command {
            return Step::TooLong;
        }
        self.bytes.extend_from_slice(b"\r\n");
        Step::Literal(announced)
    }

    /// The bytes of a literal that was asked for.
    pub(super) fn literal(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The command's tag, for an answer to a command that cannot be completed.
    pub(super) fn tag(&self) -> String {
        tag(&self.bytes)
    }
}

/// The literal that this line announces at its end: `{n}`, `{n+}` or (RFC 3516) `~{n}`.
pub(super) fn announced(line: &[u8]) -> Option<Announced> {
    let inner = line.strip_suffix(b"}")?;
    let open = inner.iter().rposition(|&byte| byte == b'{')?;
    let number = inner.get(open + 1..)?;
    let (digits, sync) = match number.strip_suffix(b"+") {
        Some(digits) => (digits, false),
        None => (number, true),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let len = std::str::from_utf8(digits).ok()?.parse().unwrap_or(usize::MAX);
    Some(Announced { len, sync })
}

/// The tag at the beginning of a command, or `*` where there is none that can be repeated.
pub(super) fn tag(command: &[u8]) -> String {
    let word = command.split(|&byte| byte == b' ' || byte == b'\r').next().unwrap_or_default();
    let allowed = |byte: &u8| byte.is_ascii_graphic() && !b"(){%*\"\\+".contains(byte);
    if word.is_empty() || word.len() > 64 || !word.iter().all(allowed) {
        return "*".to_owned();
    }
    String::from_utf8_lossy(word).into_owned()
}

/// The second word of a command, in upper case.
pub(super) fn verb(command: &[u8]) -> Vec<u8> {
    let mut words = command.split(|&byte| byte == b' ' || byte == b'\r' || byte == b'\n');
    words.nth(1).unwrap_or_default().to_ascii_uppercase()
}

/// Whether a first line comes from something that does not speak IMAP: a browser that was made to send a form or a
/// file here (verbs and `Label:` lines of HTTP), or TLS.
pub(super) fn foreign(line: &[u8]) -> bool {
    const VERBS: [&[u8]; 10] =
        [b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"DELETE", b"PATCH", b"TRACE", b"CONNECT", b"PRI"];
    let word = line.split(|&byte| byte == b' ').next().unwrap_or_default();
    VERBS.iter().any(|verb| word.eq_ignore_ascii_case(verb))
        || word.ends_with(b":")
        || line.first().is_some_and(|&byte| !byte.is_ascii_graphic())
}

/// The APPEND that begins so, with an empty message. Its date-time is in the form that the codec reads; one that is not
/// understood stays, and is refused when the command is carried out.
fn append_with_empty_message(head: &[u8]) -> Option<Vec<u8>> {
    if verb(head) != b"APPEND" {
        return None;
    }
    let open = head.iter().rposition(|&byte| byte == b'{')?;
    let head = head.get(..open)?;
    let complete = |head: &[u8]| {
        let command = [head, b"{0}\r\n\r\n"].concat();
        let decoded = CommandCodec::default().decode(&command);
        let complete = matches!(decoded, Ok((b"", ref found)) if matches!(found.body, CommandBody::Append { .. }));
        complete.then_some(command)
    };
    let Some(dated) = dates::of_append(head) else { return complete(head) };
    let normal = dated.normal.as_deref().and_then(complete);
    normal.or_else(|| complete(&dated.without).map(|_| [head, b"{0}\r\n\r\n"].concat()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use proptest::prelude::*;
    use rustix::time::ClockId;

    fn sync(len: usize) -> Announced {
        Announced { len, sync: true }
    }

    #[test]
    fn literals_are_recognised_at_the_end_of_a_line_only() {
        assert_eq!(announced(b"a login {5}"), Some(sync(5)));
        assert_eq!(announced(b"a login {5+}"), Some(Announced { len: 5, sync: false }));
        assert_eq!(announced(b"a append x ~{5}"), Some(sync(5)));
        assert_eq!(announced(b"a append x {99999999999999999999999999}"), Some(sync(usize::MAX)));
        for line in [&b"a login {5} x"[..], b"a login {}", b"a login {+}", b"a login {-1}", b"{5", b"5}"] {
            assert_eq!(announced(line), None);
        }
    }

    #[test]
    fn a_message_is_told_from_a_mailbox_that_comes_as_a_literal() {
        let mut assembler = Assembler::new(Bounds::AFTER_LOGIN);
        assert_eq!(assembler.line(b"a append {5}"), Step::Literal(sync(5)));
        assembler.literal(b"Draft");
        let step = assembler.line(br#" (\Seen $Old) " 1-Nov-2026 10:00:00 +0100" {999999999}"#);
        let Step::Message { command, announced } = step else { panic!("{step:?}") };
        assert_eq!(announced, sync(999_999_999));
        assert!(command.starts_with(b"a append {5}\r\nDraft (\\Seen"));
        assert!(command.ends_with(b"+0100\" {0}\r\n\r\n"));
    }

    #[test]
    fn a_command_of_many_literals_is_not_read_again_for_each() {
        let mut assembler = Assembler::new(Bounds::AFTER_LOGIN);
        assert_eq!(assembler.line(b"a append x (\\Seen {1}"), Step::Literal(sync(1)));
        assembler.literal(b"x");
        assert_eq!(assembler.line(b" {1}"), Step::Literal(sync(1)));
        assembler.literal(b"x");
        // The third literal is never the message of an APPEND, even where everything before it parses as one.
        assembler.bytes = b"a append x".to_vec();
        assert_eq!(assembler.line(b" {1}"), Step::Literal(sync(1)));
    }

    #[test]
    fn before_login_a_literal_is_small_whatever_the_command() {
        let mut assembler = Assembler::new(Bounds::BEFORE_LOGIN);
        assert_eq!(assembler.line(b"a append inbox {2000}"), Step::TooBig(sync(2000)));
        let mut assembler = Assembler::new(Bounds::BEFORE_LOGIN);
        assert_eq!(assembler.line(b"a login {1024}"), Step::Literal(sync(1024)));
        assembler.literal(&[b'x'; 1024]);
        assert_eq!(assembler.line(b" {1024}"), Step::Literal(sync(1024)));
        assembler.literal(&[b'x'; 1024]);
        assert_eq!(assembler.line(&[b'x'; 8192]), Step::TooLong);
    }

    #[test]
    fn what_is_not_imap_is_recognised() {
        for line in [&b"GET / HTTP/1.1"[..], b"post /x", b"Host: localhost", b"\x16\x03\x01", b" a noop"] {
            assert!(foreign(line), "{line:?}");
        }
        for line in [&b"a1 CAPABILITY"[..], b"GETX NOOP", b"0001 LOGIN a b"] {
            assert!(!foreign(line), "{line:?}");
        }
    }

    /// The processor time that this thread takes for the work.
    fn spent(work: impl FnOnce()) -> Duration {
        let now = || Duration::try_from(rustix::time::clock_gettime(ClockId::ThreadCPUTime)).unwrap();
        let before = now();
        work();
        now().saturating_sub(before)
    }

    #[test]
    fn the_codec_reads_no_hostile_command_again_and_again() {
        // The steps of a dependency cannot be counted. Eight times as much input must not take it sixty-four times as
        // long.
        for (head, unit) in [
            ("a FETCH 1 (", "FLAGS "),
            ("a FETCH 1 (BODY[", "1."),
            ("a FETCH 1 (BODY[HEADER.FIELDS (", "a "),
            ("a FETCH 1 (", "BODY[HEADER.FIELDS (a)] "),
            ("a FETCH ", "1,"),
            ("a FETCH ", "1:*,"),
            ("a STORE 1 FLAGS (", "\\Seen "),
            ("a STORE 1 FLAGS ", "x "),
            ("a APPEND x (", "\\x "),
            ("a LOGIN ", "("),
            ("a LOGIN \"", "\\\""),
            ("a LOGIN ", "{1}\r\nx "),
            ("a ID (", "\"a\" \"b\" "),
            ("a STATUS x (", "MESSAGES "),
            ("a AUTHENTICATE PLAIN ", "A"),
            ("a SELECT ", "&"),
            ("a LSUB \"\" ", "*"),
            ("a ENABLE ", "x "),
            ("a THREAD REFERENCES UTF-8 ", "NOT "),
            ("a SORT (", "REVERSE "),
            ("a SEARCH ", "("),
            ("", "a "),
        ] {
            let time = |len: usize| {
                let command = format!("{head}{}\r\n", unit.repeat(len / unit.len())).into_bytes();
                let once = || spent(|| drop(CommandCodec::default().decode(&command)));
                once().min(once()).min(once())
            };
            let (short, long) = (time(limits::IMAP_COMMAND_BYTES / 8), time(limits::IMAP_COMMAND_BYTES));
            assert!(long <= 24 * short + Duration::from_millis(20), "{head}{unit}: {short:?}, {long:?}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_answered_within_bounds(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            for bounds in [Bounds::BEFORE_LOGIN, Bounds::AFTER_LOGIN] {
                let mut assembler = Assembler::new(bounds);
                if let Step::Literal(announced) = assembler.line(&line) {
                    prop_assert!(announced.len <= bounds.literal);
                }
                prop_assert!(!tag(&line).is_empty());
                verb(&line);
                foreign(&line);
            }
        }
    }
}
