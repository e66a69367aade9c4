//! What happens to a message between the mail program that wrote it and the signature that goes over it
//! (docs/protocol.md, "What a submission changes").
//!
//! A list says which fields may leave, at the top (`fields`), in the headers of parts (`params`) and in those of
//! messages inside (`forwarded`); all others are dropped. Dates become UTC; petnames, which are the user's own, become
//! addresses; no id names somebody whom the header does not name. Bodies keep their bytes, except where `parts`
//! rewrites them. A message that two programs could read differently is refused. Work is linear in the message, times
//! the bounded depth of its parts.

mod fields;
mod forwarded;
mod ids;
mod lines;
mod params;
mod parts;
mod people;
mod texts;

use std::fmt;

use crate::base::limits::NAMED;
use crate::base::{Rng, Timestamp};

use super::Address;
use super::address::PETNAME_DOMAIN;
use super::headers::{self, FromError};
use super::names::PetnameOf;
use super::strict::{self, Ambiguity};
use super::structure;

use ids::OwnHosts;
use params::ContentIds;
use parts::{Cleaner, Place};
use people::People;

pub use super::strict::has_strict_lines;
pub use ids::fresh_message_id;
pub use people::is_own;

/// A message that may be signed.
#[derive(Clone, PartialEq, Eq)]
pub struct Prepared {
    /// The message.
    pub message: Vec<u8>,
    /// The addresses in all address fields, except the author's, as the mail program wrote them: each once, up to
    /// [`NAMED`].
    pub visible: Vec<String>,
    /// The Message-ID as the mail program wrote it, where it was replaced.
    pub written_id: Option<String>,
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared").field("message", &self.message.len()).finish_non_exhaustive()
    }
}

/// Why a message cannot be sent. The text is for the user; all are permanent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutgoingError {
    /// It could be read in more than one way.
    #[error(transparent)]
    Ambiguous(#[from] Ambiguity),
    /// A NUL, or a CR or LF without the other where it cannot leave.
    #[error("{}", of_line_end(*line, what, after))]
    LineEnd {
        /// The line of the message, from 1.
        line: usize,
        /// The character.
        what: &'static str,
        /// The text before it in that line, or its end.
        after: String,
    },
    /// It has no author, or the author is not clear.
    #[error(transparent)]
    From(#[from] FromError),
    /// The author is somebody else.
    #[error("From must be {own} and nobody else: set this address in your mail program")]
    NotYours {
        /// The identity's address.
        own: Address,
    },
    /// A petname that is not in the address book.
    #[error("{recipient} is not in the address book")]
    UnknownRecipient {
        /// The name as it was given.
        recipient: String,
    },
    /// A petname would be sent in a place where it cannot be replaced.
    #[error("a name in {0} contains {PETNAME_DOMAIN}, which is private to you; remove it")]
    PetnameInName(String),
    /// Its address fields name too many people.
    #[error("a message names up to {NAMED} people in its address fields")]
    TooManyNamed,
    /// The contents of a part cannot be read, so they cannot be cleaned.
    #[error(
        "the parts of the message cannot be told from each other, are too many, or are in a form that is not sent; attach what it \
         holds as files"
    )]
    Parts,
}

/// Prepares a submitted message for its signature. `resolve` gives the address of a petname, as `name@rune.internal` or
/// alone, if mail may go there; `petname_of` gives the petname of everybody in the address book, because no petname
/// leaves. The random bytes are for a missing Message-ID, Content-Ids and boundaries.
///
/// # Errors
/// [`OutgoingError`]; nothing was sent.
pub fn prepare(
    message: &[u8],
    own: &Address,
    now: Timestamp,
    resolve: &dyn Fn(&str) -> Option<Address>,
    petname_of: PetnameOf<'_>,
    rng: &mut dyn Rng,
) -> Result<Prepared, OutgoingError> {
    let message = &*lines::unified(message);
    let structure = structure::parse(message);
    lines::check(message, &structure.root)?;
    strict::check_header(message)?;
    check_author(message, own)?;
    let (header, _) = headers::split(message);
    let people = People { own, resolve, petname_of };
    let own_hosts = OwnHosts::of(header);
    let top = fields::top(header, &people, &own_hosts, now, rng)?;
    let mut prepared = Vec::with_capacity(message.len() + message.len() / 32 + 1024);
    prepared.extend_from_slice(&top.fields);
    let mut cleaner = Cleaner { people, own_hosts, known: top.known, rng, ids: ContentIds::new(), parts: 0 };
    cleaner.message(message, &structure.root, Place::TOP, &mut prepared)?;
    Ok(Prepared { message: prepared, visible: top.visible, written_id: top.written_id })
}

/// A copy of a prepared message for hidden recipients. It has no field, no forwarded message and no report that tells
/// of anybody but the author, and no thread that others are in.
///
/// # Errors
/// [`OutgoingError::Parts`]: the message was not prepared.
pub fn undisclosed(message: &[u8], own: &Address, rng: &mut dyn Rng) -> Result<Vec<u8>, OutgoingError> {
    let mut copy = Vec::with_capacity(message.len() + 64);
    copy.extend_from_slice(b"To: undisclosed-recipients:;\r\n");
    let (header, _) = headers::split(message);
    for field in headers::fields(header).filter(|field| !field.is("mime-version") && !params::is_of_content(field)) {
        if !fields::tells_of_others(&field, own) {
            copy.extend_from_slice(field.raw);
        }
    }
    let people = People { own, resolve: &|_| None, petname_of: &|_| None };
    let own_hosts = OwnHosts::of(&[]);
    let known = [own.onion()].into();
    let mut cleaner = Cleaner { people, own_hosts, known, rng, ids: ContentIds::new(), parts: 0 };
    cleaner.message(message, &structure::parse(message).root, Place::TOP, &mut copy)?;
    Ok(copy)
}

/// The message without the fields that name its thread.
pub fn without_thread(message: &[u8]) -> Vec<u8> {
    let (header, body) = headers::split(message);
    let mut copy = Vec::with_capacity(message.len());
    for field in headers::fields(header).filter(|field| !field.is("in-reply-to") && !field.is("references")) {
        copy.extend_from_slice(field.raw);
    }
    copy.extend_from_slice(b"\r\n");
    copy.extend_from_slice(body);
    copy
}

fn of_line_end(line: usize, what: &str, after: &str) -> String {
    let place = if after.is_empty() { String::new() } else { format!(", after \"{after}\"") };
    format!(
        "line {line} of the message has {what}{place}; end every line with CR LF, or attach the text as a file, encoded \
         in base64"
    )
}

/// The one author must be this identity, by its address or by its own name at `rune.internal`.
fn check_author(message: &[u8], own: &Address) -> Result<(), OutgoingError> {
    let authors = headers::from_addresses(message)?;
    match authors.as_slice() {
        [author] if is_own(author, own) => Ok(()),
        _ => Err(OutgoingError::NotYours { own: own.clone() }),
    }
}

#[cfg(test)]
mod tests;
