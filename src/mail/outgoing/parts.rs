//! The parts of a message, each with the fields that may leave, and without the text before, between and after the
//! parts.
//!
//! A part that is signed or encrypted (RFC 1847) stays whole, byte for byte, under a header that is cleaned: a changed
//! byte would break it. Every other part keeps its bytes, except where [`super::texts`] and [`super::forwarded`]
//! rewrite them.

use std::collections::BTreeSet;

use crate::base::limits::{MIME_DEPTH, MIME_PARTS};
use crate::base::{Onion, Rng};

use super::super::budget::HeaderBudget;
use super::super::headers;
use super::super::strict;
use super::super::structure::{self, Inner, Structure};
use super::OutgoingError;
use super::ids::OwnHosts;
use super::lines;
use super::params::{Changed, ContentIds, bare_id, content_fields};
use super::people::People;
use super::texts;

/// Cleans the parts of a message; knows which people the receiver knows.
pub(super) struct Cleaner<'a> {
    pub(super) people: People<'a>,
    pub(super) own_hosts: OwnHosts,
    /// The onions that the header names, and the author's.
    pub(super) known: BTreeSet<Onion>,
    pub(super) rng: &'a mut dyn Rng,
    pub(super) ids: ContentIds,
    /// How many parts were cleaned so far.
    pub(super) parts: usize,
}

/// The place of a part: its depth, and whether it is in a message that somebody else may have written.
#[derive(Clone, Copy)]
pub(super) struct Place {
    depth: usize,
    forwarded: bool,
}

impl Place {
    pub(super) const TOP: Self = Self { depth: 0, forwarded: false };

    const fn below(self) -> Self {
        Self { depth: self.depth + 1, ..self }
    }
}

/// The form in which a body leaves.
enum Body<'a> {
    /// These bytes, unchanged.
    Bytes(&'a [u8]),
    /// New bytes, perhaps in another encoding.
    Rewritten(Vec<u8>, Option<&'static str>),
    /// A multipart with these parts.
    Parts(&'a [Structure]),
    /// A message.
    Message(&'a Structure),
    /// A message whose encoding was undone.
    Decoded(Vec<u8>),
}

impl Cleaner<'_> {
    /// Writes the fields of content, the empty line and the body of a whole message. Its other fields were written
    /// before.
    pub(super) fn message(
        &mut self,
        message: &[u8],
        root: &Structure,
        place: Place,
        out: &mut Vec<u8>,
    ) -> Result<(), OutgoingError> {
        // With the most parts that are allowed, the last one may contain others.
        let parts = seen_through(message, root, true, &mut HeaderBudget::default())?;
        if parts >= MIME_PARTS {
            return Err(OutgoingError::Parts);
        }
        self.collect_ids(root);
        self.seen(message, root, place, out)
    }

    /// The same for a message whose parts were already examined.
    fn seen(&mut self, message: &[u8], root: &Structure, place: Place, out: &mut Vec<u8>) -> Result<(), OutgoingError> {
        let header = root.header.of(message);
        let has_content = |field: headers::Field<'_>| field.is("content-type") || field.is("content-transfer-encoding");
        let says_so = headers::fields(header).any(|field| field.is("mime-version") || has_content(field));
        if says_so || lines::is_mended(root, message) {
            out.extend_from_slice(b"MIME-Version: 1.0\r\n");
        }
        self.part(message, root, place, out)
    }

    /// Makes a new Content-Id for each that the parts have.
    fn collect_ids(&mut self, part: &Structure) {
        let own = self.people.own.onion().to_string();
        if let Some(id) = part.id.as_deref().map(bare_id).filter(|id| !id.is_empty()) {
            let text = std::str::from_utf8(id).unwrap_or_default();
            let is_ours = text
                .strip_suffix(&own)
                .and_then(|left| left.strip_suffix('@'))
                .is_some_and(|left| left.len() == 32 && is_hex(left));
            let new = if is_ours { text.to_owned() } else { format!("{}@{own}", self.random()) };
            self.ids.entry(id.to_vec()).or_insert(new);
        }
        match &part.inner {
            Inner::Multipart(_) if is_sealed(part) => {}
            Inner::Multipart(parts) => parts.iter().for_each(|part| self.collect_ids(part)),
            Inner::Message(message) => self.collect_ids(&message.root),
            Inner::Leaf => {}
        }
    }

    fn random(&mut self) -> String {
        data_encoding::HEXLOWER.encode(&self.rng.array::<16>())
    }

    fn part(&mut self, message: &[u8], part: &Structure, place: Place, out: &mut Vec<u8>) -> Result<(), OutgoingError> {
        self.parts += 1;
        if place.depth > MIME_DEPTH || self.parts > MIME_PARTS {
            return Err(OutgoingError::Parts);
        }
        let header = part.header.of(message);
        // The header of a part must be as strict as that of the message; that of a forwarded message was written by
        // somebody else.
        if !place.forwarded {
            strict::check_header(header)?;
        }
        let body = self.body(message, part)?;
        let mut changed = Changed::default();
        match &body {
            Body::Parts(_) => changed.boundary = Some(self.boundary(part)),
            Body::Rewritten(_, encoding) => changed.encoding = *encoding,
            Body::Decoded(_) => changed.encoding = plain(part),
            Body::Bytes(_) | Body::Message(_) => {}
        }
        content_fields(header, part, &changed, &self.ids, out);
        // A message without a body may lack the empty line.
        let has_body = !matches!(&body, Body::Bytes(bytes) if bytes.is_empty());
        if place.depth > 0 || has_body || header.ends_with(b"\r\n\r\n") {
            out.extend_from_slice(b"\r\n");
        }
        match body {
            Body::Bytes(bytes) => out.extend_from_slice(bytes),
            Body::Rewritten(bytes, _) => out.extend_from_slice(&bytes),
            Body::Parts(parts) => {
                let boundary = changed.boundary.unwrap_or_default();
                for (number, part) in parts.iter().enumerate() {
                    let line_end = if number == 0 { "" } else { "\r\n" };
                    out.extend_from_slice(format!("{line_end}--{boundary}\r\n").as_bytes());
                    self.part(message, part, place.below(), out)?;
                }
                out.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
            }
            Body::Message(root) => {
                self.forwarded(root.header.of(message), out)?;
                self.seen(message, root, Place { forwarded: true, ..place.below() }, out)?;
            }
            Body::Decoded(bytes) => {
                let parsed = structure::parse(&bytes);
                self.forwarded(parsed.root.header.of(&bytes), out)?;
                self.message(&bytes, &parsed.root, Place { forwarded: true, ..place.below() }, out)?;
            }
        }
        Ok(())
    }

    /// A boundary of our own form, which does not tell the program. A boundary that already has this form stays.
    fn boundary(&mut self, part: &Structure) -> String {
        let written = part.params.iter().find(|param| param.name == "boundary");
        let written = written.and_then(|param| std::str::from_utf8(&param.value).ok());
        let is_ours = |text: &&str| text.strip_prefix("=_").is_some_and(|hex| hex.len() == 32 && is_hex(hex));
        written.filter(is_ours).map_or_else(|| format!("=_{}", self.random()), str::to_owned)
    }

    fn body<'m>(&self, message: &'m [u8], part: &'m Structure) -> Result<Body<'m>, OutgoingError> {
        match &part.inner {
            Inner::Multipart(_) if is_sealed(part) => return Ok(Body::Bytes(part.body.of(message))),
            Inner::Multipart(parts) => return Ok(Body::Parts(parts)),
            Inner::Message(inner) => return Ok(Body::Message(&inner.root)),
            Inner::Leaf => {}
        }
        let body = self.leaf(message, part)?;
        if !lines::is_mended(part, message) {
            return Ok(body);
        }
        Ok(match body {
            Body::Bytes(bytes) => Body::Rewritten(texts::base64(bytes), Some("base64")),
            Body::Rewritten(bytes, None) => Body::Rewritten(texts::base64(&bytes), Some("base64")),
            other => other,
        })
    }

    /// The form in which the body of a part without parts leaves.
    fn leaf<'m>(&self, message: &'m [u8], part: &'m Structure) -> Result<Body<'m>, OutgoingError> {
        let bytes = part.body.of(message);
        let written = headers::fields(part.header.of(message)).find(|field| field.is("content-type"));
        let declared = written.map(|field| headers::unfold(field.value).to_ascii_lowercase()).unwrap_or_default();
        let opaque = part.media_type == "application" && part.subtype == "octet-stream";
        // Its parts are not known: they are too many, too deep, encoded, or without a boundary.
        if declared.starts_with(b"multipart") && (opaque || is_encoded(part)) {
            return Err(OutgoingError::Parts);
        }
        let is_message = declared.starts_with(b"message/rfc822")
            || declared.starts_with(b"message/global") && part.subtype == "global";
        if is_message {
            return whole(bytes, part).map(Body::Decoded);
        }
        Ok(match (part.media_type.as_str(), part.subtype.as_str()) {
            ("message", "partial" | "external-body") => return Err(OutgoingError::Parts),
            ("text", "rfc822-headers") | ("message", "global-headers") => {
                let mut fields = Vec::new();
                self.forwarded(&whole(bytes, part)?, &mut fields)?;
                Body::Rewritten(fields, plain(part))
            }
            (
                "message",
                "delivery-status"
                | "disposition-notification"
                | "global-delivery-status"
                | "global-disposition-notification"
                | "tracking-status"
                | "feedback-report",
            ) => Body::Rewritten(self.report(&whole(bytes, part)?), plain(part)),
            ("text", "calendar") | ("application", "ics") => {
                texts::rewritten(bytes, &part.encoding, |text| texts::calendar(text, self))
                    .map_or(Body::Bytes(bytes), |(bytes, encoding)| Body::Rewritten(bytes, encoding))
            }
            ("text", _) | ("application", "xhtml+xml") if !is_file(part) && !self.ids.is_empty() => {
                texts::rewritten(bytes, &part.encoding, |text| texts::with_ids(text, &self.ids))
                    .map_or(Body::Bytes(bytes), |(bytes, encoding)| Body::Rewritten(bytes, encoding))
            }
            _ => Body::Bytes(bytes),
        })
    }
}

/// The encoding of a body whose encoding was undone.
fn plain(part: &Structure) -> Option<&'static str> {
    is_encoded(part).then_some("8bit")
}

fn is_encoded(part: &Structure) -> bool {
    matches!(part.encoding.as_str(), "base64" | "quoted-printable")
}

/// The body of a part that holds fields or a message, with its encoding undone and CRLF line ends.
fn whole(bytes: &[u8], part: &Structure) -> Result<Vec<u8>, OutgoingError> {
    let decoded = texts::decoded(bytes, &part.encoding).ok_or(OutgoingError::Parts)?;
    let with_line_ends = if strict::has_strict_lines(&decoded) { decoded.into_owned() } else { texts::crlf(&decoded) };
    if strict::has_strict_lines(&with_line_ends) { Ok(with_line_ends) } else { Err(OutgoingError::Parts) }
}

/// Whether a part must stay whole, because its bytes are signed or because its contents are encrypted (RFC 1847).
pub(super) fn is_sealed(part: &Structure) -> bool {
    part.media_type == "multipart" && matches!(part.subtype.as_str(), "signed" | "encrypted")
}

/// How many parts are inside, at any depth.
///
/// # Errors
/// A header is longer than the part of it that is read, so the type of its part is not known.
fn seen_through(
    message: &[u8],
    part: &Structure,
    of_message: bool,
    budget: &mut HeaderBudget,
) -> Result<usize, OutgoingError> {
    let header = part.header.of(message);
    if budget.fields(header, of_message).len() < headers::fields(header).count() {
        return Err(OutgoingError::Parts);
    }
    match &part.inner {
        Inner::Multipart(parts) => {
            parts.iter().try_fold(0, |count, part| Ok(count + 1 + seen_through(message, part, false, budget)?))
        }
        Inner::Message(inner) => Ok(1 + seen_through(message, &inner.root, true, budget)?),
        Inner::Leaf => Ok(0),
    }
}

fn is_file(part: &Structure) -> bool {
    part.disposition.as_ref().is_some_and(|disposition| disposition.kind != "inline")
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
