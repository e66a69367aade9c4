//! The bounded MIME splitter behind [`super::structure::parse`] (RFC 2045, RFC 2046).
//!
//! A delimiter is a whole line (boundary, optional `--`, optional trailing space), so that one boundary may be
//! the beginning of another. An outer delimiter ends everything inside. What goes beyond the depth or the number
//! of parts, or is called multipart and is not, stays one opaque part: nothing is lost, nothing is guessed.

use std::ops::Range;

use crate::base::limits::{HEADER_BYTES, HEADER_FIELDS, MIME_DEPTH, MIME_PARTS};

use super::headers::{self, Field, unfold};
use super::structure::{Disposition, Envelope, Inner, MessageStructure, Param, Span, Structure, Text};

/// Parameters of one field (RFC 2231 continuations included).
const PARAMS: usize = 64;

/// Reads the structure of a message.
pub(super) fn parse(message: &[u8]) -> MessageStructure {
    let length = u32::try_from(message.len()).map_or(u32::MAX as usize, |length| length as usize);
    let message = message.get(..length).unwrap_or_default();
    Parser { message, dashes: None, parts: 0 }.message(0..message.len(), 0)
}

struct Parser<'a> {
    message: &'a [u8],
    /// Where lines begin with `--`, found when the first multipart is: so that many levels of them do not
    /// each read the whole message.
    dashes: Option<Vec<usize>>,
    /// Parts found so far, in the whole message.
    parts: usize,
}

/// What the fields of a part's header say.
#[derive(Default)]
struct PartFields {
    content_type: Option<Typed>,
    disposition: Option<Disposition>,
    encoding: Option<String>,
    id: Option<Text>,
    description: Option<Text>,
    md5: Option<Text>,
    location: Option<Text>,
    language: Vec<Text>,
}

/// A content type.
struct Typed {
    media_type: String,
    subtype: String,
    params: Vec<Param>,
}

impl Typed {
    fn new(media_type: &str, subtype: &str) -> Self {
        Self { media_type: media_type.to_owned(), subtype: subtype.to_owned(), params: Vec::new() }
    }

    fn is(&self, media_type: &str, subtype: &str) -> bool {
        self.media_type == media_type && self.subtype == subtype
    }

    fn param(&self, name: &str) -> Option<&[u8]> {
        self.params.iter().find(|param| param.name == name).map(|param| param.value.as_slice())
    }
}

impl Parser<'_> {
    fn bytes(&self, range: Range<usize>) -> &[u8] {
        self.message.get(range).unwrap_or_default()
    }

    fn message(&mut self, range: Range<usize>, depth: usize) -> MessageStructure {
        let (header, _) = headers::split(self.bytes(range.clone()));
        let envelope = envelope(bounded_fields(header));
        MessageStructure { envelope, root: self.part(range, false, depth) }
    }

    fn part(&mut self, range: Range<usize>, in_digest: bool, depth: usize) -> Structure {
        let (header, _) = headers::split(self.bytes(range.clone()));
        let body = range.start + header.len()..range.end;
        let fields = part_fields(bounded_fields(header));
        let encoding = fields.encoding.unwrap_or_else(|| "7bit".to_owned());
        let declared = fields
            .content_type
            .unwrap_or_else(|| if in_digest { Typed::new("message", "rfc822") } else { Typed::new("text", "plain") });
        let (mut typed, inner) = self.inner(declared, &encoding, body.clone(), depth);
        if typed.media_type == "text" && typed.param("charset").is_none() {
            typed.params.push(Param { name: "charset".to_owned(), value: b"us-ascii".to_vec() });
        }
        let counts_lines = typed.media_type == "text" || matches!(inner, Inner::Message(_));
        let lines =
            if counts_lines { self.bytes(body.clone()).iter().filter(|&&byte| byte == b'\n').count() } else { 0 };
        Structure {
            media_type: typed.media_type,
            subtype: typed.subtype,
            params: typed.params,
            encoding,
            id: fields.id,
            description: fields.description,
            md5: fields.md5,
            disposition: fields.disposition,
            language: fields.language,
            location: fields.location,
            header: span(range.start..body.start),
            body: span(body),
            lines: offset(lines),
            inner,
        }
    }

    /// What the body holds, and the type that it has in truth.
    fn inner(&mut self, declared: Typed, encoding: &str, body: Range<usize>, depth: usize) -> (Typed, Inner) {
        let opaque = || (Typed::new("application", "octet-stream"), Inner::Leaf);
        if declared.media_type == "multipart" {
            let boundary = declared.param("boundary").unwrap_or_default().trim_ascii_end();
            if depth >= MIME_DEPTH || boundary.is_empty() {
                return opaque();
            }
            let ranges = self.split_parts(body, boundary, MIME_PARTS.saturating_sub(self.parts));
            if ranges.is_empty() {
                return (Typed::new("text", "plain"), Inner::Leaf);
            }
            self.parts += ranges.len();
            let digest = declared.subtype == "digest";
            let parts = ranges.into_iter().map(|range| self.part(range, digest, depth + 1)).collect();
            return (declared, Inner::Multipart(parts));
        }
        if declared.is("message", "rfc822") {
            // RFC 2046 §5.2.1 allows no other encoding here; a client can still decode and open it.
            if depth >= MIME_DEPTH || self.parts >= MIME_PARTS || !matches!(encoding, "7bit" | "8bit" | "binary") {
                return opaque();
            }
            self.parts += 1;
            let message = self.message(body, depth + 1);
            return (declared, Inner::Message(Box::new(message)));
        }
        (declared, Inner::Leaf)
    }

    /// Where the parts of a multipart body lie; the last of `most` keeps what follows it.
    fn split_parts(&mut self, body: Range<usize>, boundary: &[u8], most: usize) -> Vec<Range<usize>> {
        let message = self.message;
        let dashes = self.dashes.get_or_insert_with(|| lines_with_dashes(message));
        let first = dashes.partition_point(|at| *at < body.start);
        let mut parts = Vec::new();
        let mut open: Option<usize> = None;
        for &at in dashes.get(first..).unwrap_or_default() {
            let Some(line) = message.get(at..body.end).filter(|line| !line.is_empty()) else { break };
            let Some((last, length)) = delimiter(line, boundary) else { continue };
            if let Some(start) = open.take() {
                parts.push(start..before_line_end(message, start, at));
            }
            if last || parts.len() >= most {
                return parts;
            }
            open = Some(at + length);
            if parts.len() + 1 >= most {
                break;
            }
        }
        parts.extend(open.map(|start| start..body.end));
        parts
    }
}

/// The beginnings of lines that may be delimiters.
fn lines_with_dashes(message: &[u8]) -> Vec<usize> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(rest) = message.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with(b"--") {
            found.push(at);
        }
        at += rest.iter().position(|&byte| byte == b'\n').map_or(rest.len(), |end| end + 1);
    }
    found
}

/// The line end before a delimiter belongs to the delimiter (RFC 2046 §5.1.1).
fn before_line_end(message: &[u8], start: usize, end: usize) -> usize {
    let text = message.get(start..end).unwrap_or_default();
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    start + text.strip_suffix(b"\r").unwrap_or(text).len()
}

/// Whether a delimiter line is at this place; if so, whether it is the closing one, and its length.
fn delimiter(text: &[u8], boundary: &[u8]) -> Option<(bool, usize)> {
    let rest = text.strip_prefix(b"--")?.strip_prefix(boundary)?;
    let end = rest.iter().position(|&byte| byte == b'\n').map_or(rest.len(), |end| end + 1);
    let length = text.len() - rest.len() + end;
    let rest = rest.get(..end).unwrap_or_default();
    if rest.trim_ascii().is_empty() {
        return Some((false, length));
    }
    rest.strip_prefix(b"--").filter(|rest| rest.trim_ascii().is_empty()).map(|_| (true, length))
}

fn span(range: Range<usize>) -> Span {
    Span { start: offset(range.start), end: offset(range.end) }
}

fn offset(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

fn bounded_fields(header: &[u8]) -> impl Iterator<Item = Field<'_>> {
    let header = header.get(..header.len().min(HEADER_BYTES)).unwrap_or_default();
    headers::fields(header).take(HEADER_FIELDS)
}

fn envelope<'a>(fields: impl Iterator<Item = Field<'a>>) -> Envelope {
    let mut envelope = Envelope::default();
    for field in fields {
        let text = |place: &mut Option<Text>| {
            place.get_or_insert_with(|| unfold(field.value));
        };
        match field.name.to_ascii_lowercase().as_slice() {
            b"date" => text(&mut envelope.date),
            b"subject" => text(&mut envelope.subject),
            b"in-reply-to" => text(&mut envelope.in_reply_to),
            b"message-id" => text(&mut envelope.message_id),
            b"from" => envelope.from.extend(headers::address_list(field.value)),
            b"sender" => envelope.sender.extend(headers::address_list(field.value)),
            b"reply-to" => envelope.reply_to.extend(headers::address_list(field.value)),
            b"to" => envelope.to.extend(headers::address_list(field.value)),
            b"cc" => envelope.cc.extend(headers::address_list(field.value)),
            b"bcc" => envelope.bcc.extend(headers::address_list(field.value)),
            _ => {}
        }
    }
    if envelope.sender.is_empty() {
        envelope.sender.clone_from(&envelope.from);
    }
    if envelope.reply_to.is_empty() {
        envelope.reply_to.clone_from(&envelope.from);
    }
    envelope
}

fn part_fields<'a>(fields: impl Iterator<Item = Field<'a>>) -> PartFields {
    let mut found = PartFields::default();
    for field in fields {
        let text = |place: &mut Option<Text>| {
            place.get_or_insert_with(|| unfold(field.value));
        };
        match field.name.to_ascii_lowercase().as_slice() {
            b"content-type" if found.content_type.is_none() => found.content_type = content_type(field.value),
            b"content-disposition" if found.disposition.is_none() => found.disposition = disposition(field.value),
            b"content-transfer-encoding" if found.encoding.is_none() => found.encoding = token(field.value).0,
            b"content-id" => text(&mut found.id),
            b"content-description" => text(&mut found.description),
            b"content-md5" => text(&mut found.md5),
            b"content-location" => text(&mut found.location),
            b"content-language" if found.language.is_empty() => {
                let tags = unfold(field.value);
                let tags = tags.split(|&byte| byte == b',').map(|tag| tag.trim_ascii().to_vec());
                found.language = tags.filter(|tag| !tag.is_empty()).take(PARAMS).collect();
            }
            _ => {}
        }
    }
    found
}

/// `type/subtype; params`; `None` where it is not of that form (RFC 2045 §5.2 then says text/plain).
fn content_type(value: &[u8]) -> Option<Typed> {
    let value = unfold(value);
    let (media_type, rest) = token(&value);
    let (subtype, rest) = token(skip_space(rest).strip_prefix(b"/")?);
    Some(Typed { media_type: media_type?, subtype: subtype?, params: params(rest) })
}

fn disposition(value: &[u8]) -> Option<Disposition> {
    let value = unfold(value);
    let (kind, rest) = token(&value);
    Some(Disposition { kind: kind?, params: params(rest) })
}

/// A token (RFC 2045 §5.1) in lower case, after space and comments, and what follows it.
fn token(value: &[u8]) -> (Option<String>, &[u8]) {
    let value = skip_space(value);
    let is_token = |byte: &u8| byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(byte);
    let end = value.iter().position(|byte| !is_token(byte)).unwrap_or(value.len());
    let (token, rest) = value.split_at_checked(end).unwrap_or((value, &[]));
    let text = std::str::from_utf8(token).ok().filter(|token| !token.is_empty());
    (text.map(str::to_ascii_lowercase), rest)
}

/// What follows space and comments.
fn skip_space(value: &[u8]) -> &[u8] {
    let mut rest = value.trim_ascii_start();
    while let Some(mut comment) = rest.strip_prefix(b"(") {
        let mut depth = 1_usize;
        while let Some((byte, next)) = comment.split_first() {
            comment = next;
            match byte {
                b'(' => depth += 1,
                b')' => depth -= 1,
                b'\\' => comment = next.get(1..).unwrap_or_default(),
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
        rest = comment.trim_ascii_start();
    }
    rest
}

/// `; name=value` as often as it occurs. Values with unquoted spaces, as some programs write file names, go on to
/// the next semicolon.
fn params(value: &[u8]) -> Vec<Param> {
    let mut found = Vec::new();
    let mut rest = value;
    while found.len() < PARAMS {
        let Some(semicolon) = rest.iter().position(|&byte| byte == b';') else { break };
        let (name, after) = token(rest.get(semicolon + 1..).unwrap_or_default());
        rest = after;
        let Some(name) = name else { continue };
        let Some(text) = skip_space(after).strip_prefix(b"=") else { continue };
        let text = skip_space(text);
        let (value, after) = match text.strip_prefix(b"\"") {
            Some(quoted) => quoted_value(quoted),
            None => plain_value(text),
        };
        rest = after;
        found.push(Param { name, value });
    }
    found
}

fn quoted_value(mut rest: &[u8]) -> (Text, &[u8]) {
    let mut text = Text::new();
    while let Some((byte, next)) = rest.split_first() {
        rest = next;
        match byte {
            b'"' => break,
            b'\\' => {
                if let Some((escaped, next)) = rest.split_first() {
                    text.push(*escaped);
                    rest = next;
                }
            }
            other => text.push(*other),
        }
    }
    (text, rest)
}

fn plain_value(text: &[u8]) -> (Text, &[u8]) {
    let end = text.iter().position(|&byte| byte == b';').unwrap_or(text.len());
    let (value, rest) = text.split_at_checked(end).unwrap_or((text, &[]));
    let comment = value.windows(2).position(|pair| pair == b" (").unwrap_or(value.len());
    (value.get(..comment).unwrap_or(value).trim_ascii().to_vec(), rest)
}
