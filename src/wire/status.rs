//! The table of status codes (docs/protocol.md, "Status codes").
//!
//! The first digit is the class: 1 information, 2 done, 3 going on, 4 refused, 7 protocol or server. A code that we
//! do not know is read by its class, and counts as temporary: a peer newer than us costs a delay, never a
//! message.

use std::fmt;

/// The meaning of a code for mail that waits in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// The command was done.
    Done,
    /// Information or progress: the answer is still to come.
    Pending,
    /// It cannot be done now; trying again may help.
    Temporary,
    /// Trying the same again will not help.
    Permanent,
}

macro_rules! statuses {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal, $disposition:ident, $closes:literal;)+) => {
        /// Every status of RUNE/1.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Status {
            $($(#[$doc])* $name,)+
        }

        impl Status {
            /// All statuses, ordered by number.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The three digits.
            pub const fn number(self) -> u16 {
                match self { $(Self::$name => $code),+ }
            }

            /// The fixed text after the number. Some replies have parameters in its place: see the protocol.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text),+ }
            }

            /// Whether the server closes the session after it.
            pub const fn closes(self) -> bool {
                match self { $(Self::$name => $closes),+ }
            }

            /// The meaning of this status for mail that waits.
            pub const fn disposition(self) -> Disposition {
                match self { $(Self::$name => Disposition::$disposition),+ }
            }
        }
    };
}

statuses! {
    /// 100: a line of information for people.
    Information = 100, "INFORMATION", Pending, false;
    /// 101: a description of the server: p=, v=, d=.
    ServerInformation = 101, "SERVER", Pending, false;
    /// 200: the answer to QUIT.
    Bye = 200, "BYE", Done, true;
    /// 201: the answer to SEND: maximum, receiver, server.
    Ready = 201, "READY", Done, false;
    /// 202: the message is stored.
    Roger = 202, "ROGER", Done, false;
    /// 210: a box was registered.
    Registered = 210, "REGISTERED", Done, false;
    /// 211: the client proved its key.
    Identified = 211, "IDENTIFIED", Done, false;
    /// 215: a challenge for a registration.
    Challenge = 215, "CHALLENGE", Done, false;
    /// 216: a challenge for an identification.
    IdentificationChallenge = 216, "CHALLENGE", Done, false;
    /// 220: tokens were stored.
    TokensStored = 220, "TOKENS STORED", Done, false;
    /// 221: a page is kept.
    PageKept = 221, "PAGE KEPT", Done, false;
    /// 240: unread and total of a box.
    MailboxStatus = 240, "MAILBOX", Done, false;
    /// 241: one message of a list.
    ListEntry = 241, "ENTRY", Done, false;
    /// 242: the end of a list.
    ListEnd = 242, "END OF LIST", Done, false;
    /// 250: a message as JSON.
    MessageJson = 250, "MESSAGE", Done, false;
    /// 251: a message as the object that was stored.
    MessageObject = 251, "MESSAGE", Done, false;
    /// 252: a part of a message.
    MessagePart = 252, "PART", Done, false;
    /// 253: messages were deleted.
    Deleted = 253, "DELETED", Done, false;
    /// 260: watching; lines with 261 follow.
    Watching = 260, "WATCHING", Done, false;
    /// 261: something arrived in a watched box.
    Arrived = 261, "ARRIVED", Pending, false;
    /// 280: subscribed.
    Subscribed = 280, "SUBSCRIBED", Done, false;
    /// 281: one subscription of a list.
    Subscription = 281, "SUBSCRIPTION", Done, false;
    /// 282: the end of the list of subscriptions.
    SubscriptionsEnd = 282, "END OF SUBSCRIPTIONS", Done, false;
    /// 283: no longer subscribed.
    Unsubscribed = 283, "UNSUBSCRIBED", Done, false;
    /// 284: a notice was taken.
    Published = 284, "PUBLISHED", Done, false;
    /// 290: a setting was changed.
    Set = 290, "SET", Done, false;
    /// 380: the subscription is being made.
    Subscribing = 380, "SUBSCRIBING", Pending, false;
    /// 405: registering needs an invitation.
    FreeRegistrationNotAvailable = 405, "FREE REGISTRATION NOT AVAILABLE", Permanent, false;
    /// 406: a signature is wrong.
    SignatureInvalid = 406, "SIGNATURE INVALID", Permanent, true;
    /// 409: the receiver cannot take this object. The answer does not say why.
    ContentRefused = 409, "CONTENT REFUSED", Permanent, false;
    /// 410: the registration challenge was not met.
    RegistrationChallengeFailed = 410, "REGISTRATION CHALLENGE FAILED", Permanent, true;
    /// 411: the identification challenge was not met.
    IdentificationFailed = 411, "IDENTIFICATION FAILED", Permanent, true;
    /// 413: larger than the maximum for this sender.
    ObjectTooLarge = 413, "OBJECT TOO LARGE", Permanent, false;
    /// 416: this server accepts no invitations.
    InvitationRegistrationNotAvailable = 416, "INVITATION REGISTRATION NOT AVAILABLE", Permanent, false;
    /// 417: the invitation does not exist.
    InvitationTokenInvalid = 417, "INVITATION TOKEN INVALID", Permanent, true;
    /// 418: the invitation has expired.
    InvitationTokenExpired = 418, "INVITATION TOKEN EXPIRED", Permanent, true;
    /// 420: the receiver is unknown, blocked, pending or full. A stranger gets the same answer in all of these cases.
    NotAvailable = 420, "NOT AVAILABLE", Temporary, false;
    /// 450: this sender sent too much for now.
    TryLater = 450, "TRY LATER", Temporary, false;
    /// 451: the server has too much to do.
    Busy = 451, "BUSY", Temporary, false;
    /// 452: there is no space left.
    NoSpace = 452, "NO SPACE", Temporary, false;
    /// 700: the input is not RUNE, or comes in the wrong order (SmallMail's ProtocolError).
    ProtocolError = 700, "PROTOCOL ERROR", Temporary, true;
    /// 701: the command does not exist (SmallMail's BadCommand).
    BadCommand = 701, "BAD COMMAND", Temporary, false;
    /// 702: a parameter is missing or malformed (SmallMail's BadParam).
    BadParameter = 702, "BAD PARAMETER", Temporary, false;
    /// 703: the message does not exist (SmallMail's NoMessage).
    NoMessage = 703, "NO MESSAGE", Permanent, false;
    /// 704: a command of RUNE/1 that this server does not serve (SmallMail's NotImplemented).
    NotImplemented = 704, "NOT IMPLEMENTED", Temporary, false;
    /// 705: the server failed (SmallMail's ServerError).
    ServerError = 705, "SERVER ERROR", Temporary, true;
    /// 706: a line or block is over its bound.
    TooLarge = 706, "TOO LARGE", Temporary, true;
    /// 707: client and server have no version in common.
    Version = 707, "VERSION NOT SUPPORTED", Temporary, true;
    /// 708: the client was too slow or silent for too long; or the disk failed, so that no other answer would be true.
    TimeOut = 708, "TIME-OUT", Temporary, true;
    /// 709: the client made too many mistakes.
    TooManyMistakes = 709, "TOO MANY MISTAKES", Temporary, true;
    /// 711: MESSAGE without an accepted SEND.
    SendFirst = 711, "SEND FIRST", Temporary, false;
}

impl Status {
    /// The status with this number.
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.iter().copied().find(|status| status.number() == number)
    }

    /// Its number, as a code.
    pub const fn code(self) -> Code {
        Code(self.number())
    }
}

impl fmt::Display for Status {
    /// `202 ROGER`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number(), self.text())
    }
}

/// Three digits from a peer, known to us or not.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Code(u16);

impl Code {
    /// The code with this number; `None` outside 100 to 799.
    pub const fn new(number: u16) -> Option<Self> {
        if matches!(number, 100..=799) { Some(Self(number)) } else { None }
    }

    /// The number.
    pub const fn number(self) -> u16 {
        self.0
    }

    /// The status, if we know it.
    pub fn status(self) -> Option<Status> {
        Status::from_number(self.0)
    }

    /// The meaning for mail that waits. An unknown code has the meaning of its class, and an unknown refusal is
    /// temporary.
    pub fn disposition(self) -> Disposition {
        match (self.status(), self.0 / 100) {
            (Some(status), _) => status.disposition(),
            (None, 2) => Disposition::Done,
            (None, 1 | 3) => Disposition::Pending,
            (None, _) => Disposition::Temporary,
        }
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Code({})", self.0)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status() {
            Some(status) => status.fmt(f),
            None => write!(f, "{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_unique_and_ascend() {
        assert!(Status::ALL.windows(2).all(|pair| pair[0].number() < pair[1].number()));
        for status in Status::ALL {
            assert_eq!(status.code().status(), Some(*status));
        }
    }

    #[test]
    fn what_we_do_not_know_is_never_permanent() {
        for number in 100..=799 {
            let code = Code::new(number).unwrap();
            if code.status().is_none() {
                assert_ne!(code.disposition(), Disposition::Permanent, "{number}");
            }
        }
        assert_eq!(Code::new(99), None);
        assert_eq!(Code::new(800), None);
    }
}
