//! The contents of the replies of a box, after their codes.

use serde::{Deserialize, Serialize};

use super::parameters::{Parameters, small};
use crate::base::ids::ObjectId;
use crate::wire::command::{hex, unhex};
use crate::wire::reply::CertificateRef;
use crate::wire::word::{Malformed, Word, number};

/// The parameters of 215.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Challenge {
    /// The size of the challenge that follows, in octets.
    pub size: u64,
    /// The server's certificate.
    pub server: CertificateRef,
}

/// For how long an identification counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Policy {
    /// For the session.
    #[default]
    Session,
    /// For so many seconds.
    TimeOut(u32),
    /// For the one command that it names.
    Command,
}

/// The parameters of 216.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdentificationChallenge {
    /// The server's part of the challenge.
    pub nonce: [u8; 32],
    /// For how long an identification counts.
    pub policy: Policy,
}

/// The parameters of 240.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// The box.
    pub mailbox: String,
    /// How many messages were not read.
    pub unread: u64,
    /// How many messages there are.
    pub total: u64,
}

/// The parameters of 241.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The message.
    pub object: ObjectId,
    /// Its size in octets.
    pub size: u64,
    /// The epoch in which it was left.
    pub day: u32,
    /// Whether it was read.
    pub read: bool,
}

/// The parameters of 252.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Where in the object the part begins.
    pub offset: u64,
    /// The size of the block that follows, in octets.
    pub size: u64,
}

/// The words of a reply of a box behind its code. Further words are ignored when it is read.
pub trait Said: Sized {
    /// Writes the words.
    fn words(&self) -> Vec<Word>;

    /// Reads the words.
    ///
    /// # Errors
    /// The words do not have this form.
    fn from_words(words: &[Word]) -> Result<Self, Malformed>;
}

impl Said for Challenge {
    fn words(&self) -> Vec<Word> {
        vec![Word::Block(self.size), self.server.to_word()]
    }

    fn from_words(words: &[Word]) -> Result<Self, Malformed> {
        match words {
            [Word::Block(size), server, ..] => Ok(Self { size: *size, server: CertificateRef::from_word(server)? }),
            _ => Err(Malformed),
        }
    }
}

impl Said for IdentificationChallenge {
    fn words(&self) -> Vec<Word> {
        let policy = match self.policy {
            Policy::Session => Word::text("session"),
            Policy::TimeOut(seconds) => Word::named("TIME_OUT", seconds.to_string()),
            Policy::Command => Word::text("command"),
        };
        vec![Word::text(hex(&self.nonce)), policy]
    }

    fn from_words(words: &[Word]) -> Result<Self, Malformed> {
        let nonce = words.first().and_then(Word::as_text).and_then(unhex).ok_or(Malformed)?;
        let policy = match words.get(1) {
            None => Policy::Session,
            Some(Word::Text(policy)) if policy == "session" => Policy::Session,
            Some(Word::Text(policy)) if policy == "command" => Policy::Command,
            Some(Word::Named { name, value }) if name == "TIME_OUT" => Policy::TimeOut(small(value).ok_or(Malformed)?),
            Some(_) => return Err(Malformed),
        };
        Ok(Self { nonce, policy })
    }
}

impl Said for Count {
    fn words(&self) -> Vec<Word> {
        vec![
            Word::text(&self.mailbox),
            Word::named("U", self.unread.to_string()),
            Word::named("T", self.total.to_string()),
        ]
    }

    fn from_words(words: &[Word]) -> Result<Self, Malformed> {
        let parameters = Parameters::new(words);
        let mailbox = words.first().and_then(Word::as_text).ok_or(Malformed)?.to_owned();
        let count = |name| parameters.parsed(name, number).ok().flatten().ok_or(Malformed);
        Ok(Self { mailbox, unread: count("U")?, total: count("T")? })
    }
}

impl Said for Entry {
    fn words(&self) -> Vec<Word> {
        vec![
            Word::text(self.object.to_string()),
            Word::text(self.size.to_string()),
            Word::text(self.day.to_string()),
            Word::text(if self.read { "read" } else { "unread" }),
        ]
    }

    fn from_words(words: &[Word]) -> Result<Self, Malformed> {
        let [Word::Text(object), Word::Text(size), Word::Text(day), Word::Text(state), ..] = words else {
            return Err(Malformed);
        };
        Ok(Self {
            object: object.parse().map_err(|_| Malformed)?,
            size: number(size).ok_or(Malformed)?,
            day: small(day).ok_or(Malformed)?,
            read: state == "read",
        })
    }
}

impl Said for Piece {
    fn words(&self) -> Vec<Word> {
        vec![Word::text(self.offset.to_string()), Word::Block(self.size)]
    }

    fn from_words(words: &[Word]) -> Result<Self, Malformed> {
        match words {
            [Word::Text(offset), Word::Block(size), ..] => {
                Ok(Self { offset: number(offset).ok_or(Malformed)?, size: *size })
            }
            _ => Err(Malformed),
        }
    }
}
