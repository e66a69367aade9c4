//! The session as a machine: bytes in, replies and steps out, no IO.
//!
//! ```text
//! command ──AUTH──▶ login lines ──▶ waiting for the account ──▶ command
//!    │  ▲
//!    │  └───────────── submit waits for the queue ◀── data ◀──DATA── command (after MAIL and RCPT)
//!    └──QUIT, too many mistakes, a foreign protocol──▶ closed
//! ```
//! Pipelining (RFC 2920) is the normal case: input waits in a buffer while a step is being done, and replies
//! are gathered until the machine has nothing left to read.

use std::borrow::Cow;

use data_encoding::BASE64;
use smtp_proto::{
    AUTH_LOGIN, AUTH_PLAIN, Error, MAIL_BODY_7BIT, MAIL_BODY_8BITMIME, MAIL_RET_FULL, MAIL_RET_HDRS, MailFrom,
    RCPT_NOTIFY_DELAY, RCPT_NOTIFY_FAILURE, RCPT_NOTIFY_NEVER, RCPT_NOTIFY_SUCCESS, RcptTo, Request,
};
use zeroize::Zeroizing;

use super::receiver::Receiver;
use super::reply;
use crate::base::limits::{CLIENT_MISTAKES, DATA_DRAIN, DSN_PARAMETER_BYTES, RECIPIENTS, SMTP_LINE_BYTES};
use crate::engine::RequestError;
use crate::engine::api::DeliveryOptions;
use crate::engine::state::queue::{Notify, RecipientOptions};
use crate::mail::Address;
use crate::mail::address::PETNAME_DOMAIN;
use crate::mail::outgoing::is_own;

/// What the driver is to do next, after sending [`Session::take_output`].
pub(super) enum Step {
    /// Give more input.
    Read,
    /// Check a password; answer with [`Session::logged_in`] or [`Session::login_failed`].
    Login {
        /// The user name as the client gave it.
        user: String,
        /// The password as the client gave it; wiped when dropped.
        password: Zeroizing<String>,
    },
    /// Send a message; answer with [`Session::submitted`].
    Submit {
        /// Envelope recipients, all known.
        recipients: Vec<String>,
        /// The message.
        message: Vec<u8>,
        /// The notifications that the client asks for.
        asked: DeliveryOptions,
    },
    /// Close the connection.
    Close,
}

/// Tells why the identity cannot write to a recipient.
type Refuses = Box<dyn Fn(&str) -> Option<RequestError> + Send + Sync>;

/// The part of an account that the session needs to know.
pub(super) struct Identity {
    /// The identity's address.
    pub(super) address: Address,
    /// Why the identity cannot write to a recipient; `None` where it can.
    pub(super) refuses: Refuses,
}

enum Mode {
    Command,
    /// The rest of a line that is too long.
    SkipLine,
    PlainResponse,
    LoginUser,
    LoginPassword(String),
    Data(Receiver),
    /// The driver is doing a step.
    Waiting,
    Closed,
}

/// One submission session.
pub(super) struct Session {
    input: Vec<u8>,
    output: Vec<u8>,
    mode: Mode,
    greeted: bool,
    identity: Option<Identity>,
    /// The transaction that MAIL began.
    transaction: Option<Transaction>,
    mistakes: u32,
    most: usize,
    /// The size that MAIL announced; otherwise `most`.
    announced: usize,
}

/// The parameters of MAIL and RCPT so far.
#[derive(Default)]
struct Transaction {
    recipients: Vec<String>,
    asked: DeliveryOptions,
}

enum Line {
    Incomplete,
    TooLong,
    /// A line without its CRLF.
    Complete(Vec<u8>),
    /// A line with control characters, or with another end than CRLF.
    Malformed,
}

impl Session {
    /// A new session for messages of at most this many bytes.
    pub(super) fn new(most: usize) -> Self {
        let mut session = Self {
            input: Vec::new(),
            output: Vec::new(),
            mode: Mode::Command,
            greeted: false,
            identity: None,
            transaction: None,
            mistakes: 0,
            most,
            announced: most,
        };
        session.reply("220 localhost ESMTP runepeer");
        session
    }

    /// Bytes from the client. The driver gives them only after [`Step::Read`], so the buffer stays small.
    pub(super) fn receive(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// The bytes that are to be sent.
    pub(super) fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// Whether a message is arriving: then the client may still finish it.
    pub(super) const fn is_receiving(&self) -> bool {
        matches!(self.mode, Mode::Data(_))
    }

    /// How many bytes of the arriving message are stored, and how many it may have.
    pub(super) const fn arriving(&self) -> Option<(usize, usize)> {
        match &self.mode {
            Mode::Data(receiver) => Some((receiver.stored(), self.announced)),
            _ => None,
        }
    }

    /// Whether the arriving message lost its memory, and is read without being stored.
    pub(super) const fn gave_way(&self) -> bool {
        matches!(&self.mode, Mode::Data(receiver) if receiver.is_refused())
    }

    /// Drops the arriving message to make room for others.
    pub(super) fn give_way(&mut self) {
        if let Mode::Data(receiver) = &mut self.mode {
            receiver.give_way();
        }
    }

    /// Ends the session with this reply.
    pub(super) fn close(&mut self, text: &str) {
        self.reply(text);
        self.mode = Mode::Closed;
    }

    /// Works on the input until something is needed.
    pub(super) fn next(&mut self) -> Step {
        loop {
            match &mut self.mode {
                Mode::Closed => return Step::Close,
                Mode::Waiting => return Step::Read,
                Mode::SkipLine => {
                    let end = self.input.iter().position(|&byte| byte == b'\n');
                    self.input.drain(..end.map_or(self.input.len(), |end| end + 1));
                    if end.is_none() {
                        return Step::Read;
                    }
                    self.mode = Mode::Command;
                }
                Mode::Data(receiver) => {
                    let (used, ended) = receiver.receive(&self.input);
                    self.input.drain(..used);
                    if receiver.read() > DATA_DRAIN {
                        self.close("421 4.3.4 the message is far too large");
                    } else if !ended {
                        return Step::Read;
                    } else if let Some(step) = self.data_ended() {
                        return step;
                    }
                }
                _ => match self.take_line() {
                    Line::Incomplete => return Step::Read,
                    Line::TooLong => {
                        self.mode = Mode::SkipLine;
                        self.mistake("500 5.5.2 the line is too long");
                    }
                    Line::Malformed => {
                        self.mode = Mode::Command;
                        self.mistake("500 5.5.2 a line ends with CRLF and has no control characters");
                    }
                    Line::Complete(line) => {
                        if let Some(step) = self.line(&line) {
                            return step;
                        }
                    }
                },
            }
        }
    }

    /// Continues after a right password.
    pub(super) fn logged_in(&mut self, identity: Identity) {
        self.mode = Mode::Command;
        self.identity = Some(identity);
        self.reply("235 2.7.0 welcome");
    }

    /// Continues after a wrong user or password.
    pub(super) fn login_failed(&mut self) {
        self.mode = Mode::Command;
        self.mistake("535 5.7.8 the user name or the password is wrong; runepeer mail password new makes one");
    }

    /// Continues after a message was accepted or refused.
    pub(super) fn submitted(&mut self, reply: &str) {
        self.mode = Mode::Command;
        self.reply(reply);
    }

    fn reply(&mut self, text: &str) {
        self.output.extend_from_slice(text.as_bytes());
        self.output.extend_from_slice(b"\r\n");
    }

    /// Replies to something that no mail program does; too many of these end the session.
    fn mistake(&mut self, text: &str) {
        self.reply(text);
        self.mistakes += 1;
        if self.mistakes >= CLIENT_MISTAKES {
            self.close("421 4.7.0 too many mistakes");
        }
    }

    fn take_line(&mut self) -> Line {
        // A TLS handshake has no lines.
        if self.input.first() == Some(&0x16) {
            return Line::Complete(std::mem::take(&mut self.input));
        }
        let Some(end) = self.input.iter().position(|&byte| byte == b'\n') else {
            if self.input.len() < SMTP_LINE_BYTES {
                return Line::Incomplete;
            }
            self.input.clear();
            return Line::TooLong;
        };
        let mut line: Vec<u8> = self.input.drain(..=end).collect();
        if line.len() > SMTP_LINE_BYTES {
            // The end of the long line has already arrived: only an empty rest is left to skip.
            self.input.splice(..0, *b"\n");
            return Line::TooLong;
        }
        if is_foreign(&line) {
            return Line::Complete(line);
        }
        if !line.ends_with(b"\r\n") {
            return Line::Malformed;
        }
        line.truncate(line.len().saturating_sub(2));
        if line.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
            return Line::Malformed;
        }
        Line::Complete(line)
    }

    fn line(&mut self, line: &[u8]) -> Option<Step> {
        match std::mem::replace(&mut self.mode, Mode::Command) {
            Mode::PlainResponse => self.plain_response(line),
            Mode::LoginUser => match self.decode(line) {
                Some(user) => {
                    self.ask_password(user.to_string());
                    None
                }
                None => None,
            },
            Mode::LoginPassword(user) => self.decode(line).map(|password| self.login(user, password)),
            _ => self.command(line),
        }
    }

    fn command(&mut self, line: &[u8]) -> Option<Step> {
        if is_foreign(line) {
            self.close("421 4.7.0 this is a mail submission service");
            return None;
        }
        let line = with_domain(line);
        let terminated = [&*line, b"\r\n"].concat();
        match Request::parse(&mut terminated.iter()) {
            Ok(Request::Ehlo { .. }) => self.ehlo(),
            Ok(Request::Helo { .. }) => {
                self.greeted = true;
                self.transaction = None;
                self.reply("250 localhost");
            }
            Ok(Request::Auth { mechanism, initial_response }) => return self.auth(mechanism, &initial_response),
            Ok(Request::Mail { from }) => self.mail(&from),
            Ok(Request::Rcpt { to }) => self.rcpt(&to),
            Ok(Request::Data) => self.data(),
            Ok(Request::Rset) => {
                self.transaction = None;
                self.reply("250 2.0.0 forgotten");
            }
            Ok(Request::Noop { .. }) => self.reply("250 2.0.0 ok"),
            Ok(Request::Vrfy { .. }) => self.reply("252 2.1.5 send it, and see"),
            Ok(Request::Help { .. }) => {
                self.reply("214 2.0.0 runepeer mail setup show prints the settings of a mail program")
            }
            Ok(Request::Quit) => self.close("221 2.0.0 bye"),
            Ok(_) => self.mistake("502 5.5.1 not offered here"),
            Err(error) => self.syntax_error(&error),
        }
        None
    }

    fn syntax_error(&mut self, error: &Error) {
        match error {
            Error::UnsupportedParameter { .. } => self.mistake("555 5.5.4 a parameter that is not offered here"),
            Error::InvalidSenderAddress => self.mistake("501 5.1.7 the sender is not an address"),
            Error::InvalidRecipientAddress => self.mistake(
                "501 5.1.3 the recipient is not an address; it looks like petname@rune.internal or name@<56 characters>.onion",
            ),
            Error::SyntaxError { .. } | Error::InvalidParameter { .. } => {
                self.mistake("501 5.5.4 the command is malformed");
            }
            _ => self.mistake("500 5.5.1 unknown command"),
        }
    }

    fn ehlo(&mut self) {
        self.greeted = true;
        self.transaction = None;
        let most = self.most;
        self.reply(&format!(
            "250-localhost\r\n250-SIZE {most}\r\n250-8BITMIME\r\n250-PIPELINING\r\n250-ENHANCEDSTATUSCODES\r\n\
             250-DSN\r\n250-AUTH PLAIN LOGIN\r\n250 HELP"
        ));
    }

    fn auth(&mut self, mechanism: u64, initial: &str) -> Option<Step> {
        if self.identity.is_some() || !self.greeted {
            self.mistake("503 5.5.1 log in once, after EHLO");
            return None;
        }
        match (mechanism, initial) {
            (AUTH_PLAIN, "") => {
                self.mode = Mode::PlainResponse;
                self.reply("334 ");
            }
            (AUTH_PLAIN, initial) => return self.plain_response(initial.as_bytes()),
            (AUTH_LOGIN, "") => {
                self.mode = Mode::LoginUser;
                self.reply("334 VXNlcm5hbWU6");
            }
            (AUTH_LOGIN, initial) => {
                if let Some(user) = self.decode(initial.as_bytes()) {
                    self.ask_password(user.to_string());
                }
            }
            _ => self.mistake("504 5.5.4 PLAIN and LOGIN are offered here"),
        }
        None
    }

    fn ask_password(&mut self, user: String) {
        self.mode = Mode::LoginPassword(user);
        self.reply("334 UGFzc3dvcmQ6");
    }

    /// `authorization NUL user NUL password` (RFC 4616).
    fn plain_response(&mut self, line: &[u8]) -> Option<Step> {
        let text = self.decode(line)?;
        let mut parts = text.split('\0');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(authorization), Some(user), Some(password), None)
                if authorization.is_empty() || authorization == user =>
            {
                Some(self.login(user.to_owned(), Zeroizing::new(password.to_owned())))
            }
            (Some(_), Some(_), Some(_), None) => {
                self.mistake("535 5.7.8 nobody may act for somebody else here");
                None
            }
            _ => {
                self.mistake("501 5.5.2 not a PLAIN response");
                None
            }
        }
    }

    fn login(&mut self, user: String, password: Zeroizing<String>) -> Step {
        self.mode = Mode::Waiting;
        Step::Login { user, password }
    }

    /// A line of the login, decoded from base64; `=` is the empty line. If it is wrong, replies with the reason.
    fn decode(&mut self, line: &[u8]) -> Option<Zeroizing<String>> {
        let decoded = match line {
            b"*" => {
                self.mistake("501 5.7.0 login cancelled");
                return None;
            }
            b"=" => Some(Vec::new()),
            other => BASE64.decode(other).ok(),
        };
        let text = decoded.and_then(|bytes| String::from_utf8(bytes).ok()).map(Zeroizing::new);
        if text.is_none() {
            self.mistake("501 5.5.2 not base64");
        }
        text
    }

    fn mail(&mut self, from: &MailFrom<Cow<'_, str>>) {
        let Some(identity) = &self.identity else {
            self.mistake("530 5.7.0 log in first");
            return;
        };
        let own = &identity.address;
        let offered = MAIL_BODY_7BIT | MAIL_BODY_8BITMIME | MAIL_RET_FULL | MAIL_RET_HDRS;
        let only_offered = from.flags & !offered == 0
            && (from.by, from.hold_for, from.hold_until, from.mt_priority) == (0, 0, 0, 0)
            && from.trans_id.is_none()
            && from.solicit.is_none()
            && from.mtrk.is_none();
        let both = MAIL_RET_FULL | MAIL_RET_HDRS;
        let sound = from.flags & both != both && from.env_id.as_deref().is_none_or(is_dsn_parameter);
        if self.transaction.is_some() {
            self.mistake("503 5.5.1 one message after the other");
        } else if !only_offered {
            self.mistake("555 5.5.4 a parameter that is not offered here");
        } else if !sound {
            self.mistake("501 5.5.4 RET is FULL or HDRS, and ENVID printable");
        } else if !from.address.is_empty() && !is_own(&from.address, own) {
            // The empty sender is for receipts that a mail program sends (RFC 8098 §3).
            let text = format!("the sender must be {own}: set this address in your mail program");
            self.reply(&reply::sentence("553 5.7.1", &text));
        } else if from.size > self.most {
            self.reply("552 5.3.4 the message is larger than this daemon sends; EHLO says how much it takes");
        } else {
            self.announced = if from.size == 0 { self.most } else { from.size };
            let envelope = from.env_id.as_deref().map(str::to_owned);
            let full = from.flags & MAIL_RET_FULL != 0;
            let asked = DeliveryOptions { envelope, full, ..DeliveryOptions::default() };
            self.transaction = Some(Transaction { asked, ..Transaction::default() });
            self.reply("250 2.1.0 ok");
        }
    }

    fn rcpt(&mut self, to: &RcptTo<Cow<'_, str>>) {
        const NOTIFY: u64 = RCPT_NOTIFY_NEVER | RCPT_NOTIFY_SUCCESS | RCPT_NOTIFY_FAILURE | RCPT_NOTIFY_DELAY;
        let (Some(identity), Some(transaction)) = (&self.identity, &mut self.transaction) else {
            self.mistake("503 5.5.1 MAIL first");
            return;
        };
        if to.flags & !NOTIFY != 0 || to.rrvs != 0 {
            self.mistake("555 5.5.4 a parameter that is not offered here");
        } else if to.flags & RCPT_NOTIFY_NEVER != 0 && to.flags != RCPT_NOTIFY_NEVER {
            self.mistake("501 5.5.4 NOTIFY=NEVER stands alone");
        } else if to.orcpt.as_deref().is_some_and(|original| !is_dsn_parameter(original)) {
            self.mistake("501 5.5.4 ORCPT is printable");
        } else if transaction.recipients.len() >= RECIPIENTS {
            self.reply("452 4.5.3 too many recipients; send to the others in another message");
        } else if let Some(why) = (identity.refuses)(&to.address) {
            self.reply(&reply::of_request(&why));
        } else {
            // A recipient that is given twice is kept once, with the options of the last RCPT.
            if !transaction.recipients.iter().any(|known| **known == *to.address) {
                transaction.recipients.push(to.address.to_string());
            }
            transaction.asked.recipients.insert(to.address.to_string(), recipient_options(to));
            self.reply("250 2.1.5 ok");
        }
    }

    fn data(&mut self) {
        match &self.transaction {
            None => self.mistake("503 5.5.1 MAIL and RCPT first"),
            Some(transaction) if transaction.recipients.is_empty() => self.reply("554 5.5.1 no valid recipient"),
            Some(_) => {
                self.mode = Mode::Data(Receiver::new(self.most));
                self.reply("354 go on; end with a line of one dot");
            }
        }
    }

    fn data_ended(&mut self) -> Option<Step> {
        let Mode::Data(receiver) = std::mem::replace(&mut self.mode, Mode::Command) else { return None };
        let Transaction { recipients, asked } = self.transaction.take().unwrap_or_default();
        match receiver.finish() {
            Ok(message) => {
                self.mode = Mode::Waiting;
                Some(Step::Submit { recipients, message, asked })
            }
            Err(problem) => {
                self.reply(&reply::of_data(problem));
                None
            }
        }
    }
}

/// A recipient that is a name alone means somebody in the address book: `RCPT TO:<bob>` is read as
/// `RCPT TO:<bob@rune.internal>`.
fn with_domain(line: &[u8]) -> Cow<'_, [u8]> {
    const RCPT: &[u8] = b"RCPT TO:";
    let same = Cow::Borrowed(line);
    let Some((command, rest)) = line.split_at_checked(RCPT.len()) else { return same };
    let Some(name) = rest.trim_ascii_start().strip_prefix(b"<") else { return same };
    let Some(end) = name.iter().position(|&byte| byte == b'>') else { return same };
    let Some((name, rest)) = name.split_at_checked(end) else { return same };
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(byte) || !byte.is_ascii();
    if !command.eq_ignore_ascii_case(RCPT) || name.is_empty() || !name.iter().all(fits) {
        return same;
    }
    Cow::Owned([RCPT, b"<", name, b"@", PETNAME_DOMAIN.as_bytes(), rest].concat())
}

/// NOTIFY and ORCPT of a RCPT (RFC 3461 §4.1 and §4.2). The address type is not kept by the parser: it is rfc822 for
/// every mail program.
fn recipient_options(to: &RcptTo<Cow<'_, str>>) -> RecipientOptions {
    let asked = |flag: u64| to.flags & flag != 0;
    let notify = if asked(RCPT_NOTIFY_NEVER) {
        Notify { success: false, failure: false, delay: false }
    } else if to.flags == 0 {
        Notify::default()
    } else {
        Notify {
            success: asked(RCPT_NOTIFY_SUCCESS),
            failure: asked(RCPT_NOTIFY_FAILURE),
            delay: asked(RCPT_NOTIFY_DELAY),
        }
    };
    RecipientOptions { notify, original: to.orcpt.as_deref().map(|original| format!("rfc822;{original}")) }
}

/// Whether ENVID or ORCPT, decoded, can stand in a report.
fn is_dsn_parameter(text: &str) -> bool {
    (1..=DSN_PARAMETER_BYTES).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

/// Whether this is the beginning of another protocol: an HTTP request or field, SSH or TLS (the ALPACA attacks).
/// No SMTP command has a colon in its first word.
fn is_foreign(line: &[u8]) -> bool {
    const METHODS: [&[u8]; 10] =
        [b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"DELETE", b"CONNECT", b"TRACE", b"PATCH", b"PRI"];
    let first = line.split(|byte| byte.is_ascii_whitespace()).next().unwrap_or_default();
    METHODS.iter().any(|method| first.eq_ignore_ascii_case(method))
        || first.contains(&b':')
        || first.starts_with(b"SSH-")
        || first.first() == Some(&0x16)
}
