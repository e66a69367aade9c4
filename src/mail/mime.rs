//! The bounded MIME splitter behind [`super::structure::parse`] (RFC 2045, RFC 2046).
//!
//! A message is read line by line, once, whatever is nested in it. A delimiter is a whole line (boundary, optional
//! `--`, optional trailing space), so that one boundary may be the beginning of another. An outer delimiter ends
//! everything inside; of two open multiparts with the same boundary the inner one has its lines, as in Dovecot, until
//! its closing one. A part beyond the depth, the number of parts or the bounds of headers, or one that is called
//! multipart and is not, stays one opaque part: nothing is lost, nothing is guessed.
//!
//! Work: at most 24 steps for a byte of the message.

use std::collections::BTreeMap;

use crate::base::limits::{ENVELOPE_ADDRESSES, MIME_DEPTH, MIME_PARTS};
use crate::base::meter;

use super::budget::HeaderBudget;
use super::charset::{GoOn, PIECE};
use super::headers::{self, Field, Mailbox, unfold};
use super::params::{self, PARAMS, Typed};
use super::structure::{Disposition, Envelope, Inner, MessageStructure, Param, Span, Structure, Text};

/// The most steps that are made for a byte of a message.
#[cfg(test)]
pub(super) const STEPS_PER_BYTE: u64 = 24;

/// Reads the structure of a message. Returns also whether it was read to its end: every 64 KiB the caller is asked
/// whether to go on.
pub(super) fn parse<'b>(message: &[u8], go_on: &'b mut GoOn<'b>) -> (MessageStructure, bool) {
    let length = u32::try_from(message.len()).map_or(u32::MAX as usize, |length| length as usize);
    let message = message.get(..length).unwrap_or_default();
    let mut parser = Parser {
        message,
        at: 0,
        lines: 0,
        found: None,
        open: Boundaries::default(),
        parts: 0,
        budget: HeaderBudget::default(),
        addresses: ENVELOPE_ADDRESSES,
        go_on,
        asked: 0,
    };
    let structure = parser.message(0, 0);
    let whole = parser.message.len() == length.min(message.len());
    (structure, whole)
}

struct Parser<'a, 'b> {
    /// The message, cut short where the caller did not want to go on.
    message: &'a [u8],
    /// Where the next line begins.
    at: usize,
    /// How many line ends are before it.
    lines: usize,
    /// The delimiter that begins there, if it was already read; the multipart to which it belongs takes it.
    found: Option<Delimiter>,
    open: Boundaries,
    /// Parts found so far, in the whole message.
    parts: usize,
    budget: HeaderBudget,
    /// Addresses that envelopes may still list.
    addresses: usize,
    go_on: &'b mut GoOn<'b>,
    /// The place at which the caller was asked last.
    asked: usize,
}

/// A line that divides the parts of an open multipart.
#[derive(Clone, Copy)]
struct Delimiter {
    /// The multipart to which it belongs, counted from the outermost.
    level: usize,
    /// Whether it is the closing delimiter.
    last: bool,
}

/// The boundaries of the multiparts that are open.
#[derive(Default)]
struct Boundaries {
    /// For each boundary the levels that use it, the innermost last.
    levels: BTreeMap<Vec<u8>, Vec<usize>>,
    count: usize,
}

impl Boundaries {
    fn open(&mut self, boundary: &[u8]) -> usize {
        let level = self.count;
        self.levels.entry(boundary.to_vec()).or_default().push(level);
        self.count += 1;
        level
    }

    /// Closes the innermost multipart, which has this boundary.
    fn close(&mut self, boundary: &[u8]) {
        self.count = self.count.saturating_sub(1);
        if let Some(levels) = self.levels.get_mut(boundary) {
            levels.pop();
            if levels.is_empty() {
                self.levels.remove(boundary);
            }
        }
    }

    /// The delimiter in this line, if it is one.
    fn find(&self, line: &[u8]) -> Option<Delimiter> {
        let text = line.strip_prefix(b"--").filter(|_| self.count > 0)?.trim_ascii_end();
        let level = |boundary: &[u8]| {
            // The search in the map compares with several boundaries.
            meter::steps(boundary.len() * (self.count.ilog2() as usize + 1));
            self.levels.get(boundary).and_then(|levels| levels.last()).copied()
        };
        match level(text) {
            Some(level) => Some(Delimiter { level, last: false }),
            None => level(text.strip_suffix(b"--")?).map(|level| Delimiter { level, last: true }),
        }
    }
}

/// The fields of a part's header.
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

/// A place in the message, and how many line ends are before it.
#[derive(Clone, Copy)]
struct Place {
    at: usize,
    lines: usize,
}

impl<'a> Parser<'a, '_> {
    fn bytes(&self, start: usize, end: usize) -> &'a [u8] {
        self.message.get(start..end).unwrap_or_default()
    }

    /// The line at the present place, with its line end.
    fn line(&self) -> &'a [u8] {
        let rest = self.message.get(self.at..).unwrap_or_default();
        let length = rest.iter().position(|&byte| byte == b'\n').map_or(rest.len(), |end| end + 1);
        meter::steps(length + 1);
        rest.get(..length).unwrap_or_default()
    }

    fn pass(&mut self, line: &[u8]) {
        self.at += line.len();
        self.lines += usize::from(line.ends_with(b"\n"));
        if self.at - self.asked >= PIECE {
            self.asked = self.at;
            if !(self.go_on)() {
                self.message = self.bytes(0, self.at);
            }
        }
    }

    /// Passes over the lines of a header, with its empty line, up to a delimiter.
    fn pass_header(&mut self) {
        while self.found.is_none() {
            let line = self.line();
            self.found = self.delimiter(line);
            if line.is_empty() || self.found.is_some() {
                return;
            }
            self.pass(line);
            if matches!(line, b"\r\n" | b"\n") {
                return;
            }
        }
    }

    /// Passes over everything up to a delimiter.
    fn pass_body(&mut self) {
        while self.found.is_none() {
            let line = self.line();
            self.found = self.delimiter(line);
            if line.is_empty() || self.found.is_some() {
                return;
            }
            self.pass(line);
        }
    }

    fn delimiter(&self, line: &[u8]) -> Option<Delimiter> {
        // The last part that is allowed has everything that follows.
        if self.parts >= MIME_PARTS { None } else { self.open.find(line) }
    }

    /// The end of a body that began at `start` and that the present place ends. The line end before a delimiter belongs
    /// to the delimiter (RFC 2046 §5.1.1).
    fn end(&self, start: usize) -> Place {
        let text = self.bytes(start, self.at);
        match text.strip_suffix(b"\n").filter(|_| self.found.is_some()) {
            Some(text) => {
                let len = text.strip_suffix(b"\r").unwrap_or(text).len();
                Place { at: start + len, lines: self.lines.saturating_sub(1) }
            }
            None => Place { at: self.at, lines: self.lines },
        }
    }

    fn message(&mut self, start: usize, depth: usize) -> MessageStructure {
        // The envelope is read together with the fields of the outermost part.
        let mut envelope = Envelope::default();
        let root = self.part(start, false, depth, Some(&mut envelope));
        MessageStructure { envelope, root }
    }

    /// The part that begins at `start`. If a delimiter follows it at once, `start` lies before the present place.
    fn part(&mut self, start: usize, in_digest: bool, depth: usize, message: Option<&mut Envelope>) -> Structure {
        self.pass_header();
        let (fields, known) = self.fields(self.bytes(start, self.at), message);
        let encoding = fields.encoding.unwrap_or_else(|| "7bit".to_owned());
        let declared = match fields.content_type {
            // Its header was not read, so its type is not known.
            _ if !known => Typed::new("application", "octet-stream"),
            Some(typed) => typed,
            None if in_digest => Typed::new("message", "rfc822"),
            None => Typed::new("text", "plain"),
        };
        let boundary = if declared.media_type == "multipart" { boundary(&declared.params) } else { Text::new() };
        let has_room = depth < MIME_DEPTH && self.parts < MIME_PARTS;
        let level = (has_room && !boundary.is_empty()).then(|| self.open.open(&boundary));
        let body = self.begin_body(start, level);
        let (mut typed, inner) = match level {
            Some(level) => {
                let parts = self.multipart(&boundary, level, declared.subtype == "digest", depth);
                match parts.is_empty() {
                    true => (Typed::new("text", "plain"), Inner::Leaf),
                    false => (declared, Inner::Multipart(parts)),
                }
            }
            None => self.single(declared, &encoding, has_room, body.at, depth),
        };
        let end = self.end(body.at);
        if typed.media_type == "text" && params::value(&typed.params, "charset").is_none() {
            typed.params.push(Param { name: "charset".to_owned(), value: b"us-ascii".to_vec() });
        }
        let counts_lines = typed.media_type == "text" || matches!(inner, Inner::Message(_));
        let lines = if counts_lines { end.lines.saturating_sub(body.lines) } else { 0 };
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
            header: Span { start: offset(start), end: offset(body.at) },
            body: Span { start: offset(body.at), end: offset(end.at) },
            lines: offset(lines),
            inner,
        }
    }

    /// The fields of a header; with them whether it was read at all, within the bounds.
    fn fields(&mut self, header: &[u8], message: Option<&mut Envelope>) -> (PartFields, bool) {
        let fields = self.budget.fields(header, message.is_some());
        let mut found = PartFields::default();
        fields.iter().for_each(|field| found.read(field));
        if let Some(envelope) = message {
            fields.iter().for_each(|field| self.read_envelope(envelope, field));
            if envelope.sender.is_empty() {
                envelope.sender.clone_from(&envelope.from);
            }
            if envelope.reply_to.is_empty() {
                envelope.reply_to.clone_from(&envelope.from);
            }
        }
        (found, !fields.is_empty() || header.trim_ascii().is_empty())
    }

    fn read_envelope(&mut self, envelope: &mut Envelope, field: &Field<'_>) {
        let text = |place: &mut Option<Text>| {
            place.get_or_insert_with(|| unfold(field.value));
        };
        let mut list = |place: &mut Vec<Mailbox>| {
            let found = headers::address_list(field.value);
            let most = self.addresses.min(found.len());
            self.addresses -= most;
            place.extend(found.into_iter().take(most));
        };
        match lower(field.name).as_slice() {
            b"date" => text(&mut envelope.date),
            b"subject" => text(&mut envelope.subject),
            b"in-reply-to" => text(&mut envelope.in_reply_to),
            b"message-id" => text(&mut envelope.message_id),
            b"from" => list(&mut envelope.from),
            b"sender" => list(&mut envelope.sender),
            b"reply-to" => list(&mut envelope.reply_to),
            b"to" => list(&mut envelope.to),
            b"cc" => list(&mut envelope.cc),
            b"bcc" => list(&mut envelope.bcc),
            _ => {}
        }
    }

    /// Where the body begins, behind the lines of the header. If a delimiter of an outer multipart follows at once, the
    /// empty line belongs to that delimiter.
    fn begin_body(&mut self, start: usize, level: Option<usize>) -> Place {
        if self.found.is_none() {
            self.found = self.delimiter(self.line());
        }
        match self.found {
            Some(found) if Some(found.level) == level => Place { at: self.at, lines: self.lines },
            _ => self.end(start),
        }
    }

    /// Reads a body that is not a multipart; returns the type that it really has, and its contents.
    fn single(
        &mut self,
        declared: Typed,
        encoding: &str,
        has_room: bool,
        start: usize,
        depth: usize,
    ) -> (Typed, Inner) {
        let is_message = declared.is("message", "rfc822");
        // RFC 2046 §5.2.1 allows no other encoding here; a client can still decode and open it.
        if is_message && has_room && matches!(encoding, "7bit" | "8bit" | "binary") {
            self.parts += 1;
            let message = self.message(start, depth + 1);
            return (declared, Inner::Message(Box::new(message)));
        }
        self.pass_body();
        let is_opaque = is_message || declared.media_type == "multipart";
        (if is_opaque { Typed::new("application", "octet-stream") } else { declared }, Inner::Leaf)
    }

    /// The parts of a multipart. The text before and behind them is passed over.
    fn multipart(&mut self, boundary: &[u8], level: usize, digest: bool, depth: usize) -> Vec<Structure> {
        let mut parts = Vec::new();
        let mut closed = false;
        self.pass_body();
        while let Some(delimiter) = self.found.filter(|found| found.level == level) {
            self.found = None;
            let (before, line) = (self.at, self.line());
            self.pass(line);
            if delimiter.last {
                closed = true;
                break;
            }
            self.parts += 1;
            self.found = self.delimiter(self.line());
            // If an outer delimiter follows at once, the line end between the two belongs to the outer one.
            let ends_here = self.found.is_some_and(|found| found.level < level);
            let start = if ends_here { self.end(before).at } else { self.at };
            parts.push(self.part(start, digest, depth + 1, None));
        }
        self.open.close(boundary);
        if closed {
            self.pass_body();
        }
        parts
    }
}

impl PartFields {
    fn read(&mut self, field: &Field<'_>) {
        let text = |place: &mut Option<Text>| {
            place.get_or_insert_with(|| unfold(field.value));
        };
        match lower(field.name).as_slice() {
            b"content-type" if self.content_type.is_none() => self.content_type = params::content_type(field.value),
            b"content-disposition" if self.disposition.is_none() => {
                self.disposition = params::disposition(field.value);
            }
            b"content-transfer-encoding" if self.encoding.is_none() => {
                self.encoding = params::first_token(field.value);
            }
            b"content-id" => text(&mut self.id),
            b"content-description" => text(&mut self.description),
            b"content-md5" => text(&mut self.md5),
            b"content-location" => text(&mut self.location),
            b"content-language" if self.language.is_empty() => {
                let tags = unfold(field.value);
                let tags = tags.split(|&byte| byte == b',').map(|tag| tag.trim_ascii().to_vec());
                self.language = tags.filter(|tag| !tag.is_empty()).take(PARAMS).collect();
            }
            _ => {}
        }
    }
}

/// The boundary of a multipart; empty where it has none.
fn boundary(params: &[Param]) -> Text {
    let plain = params.iter().find(|param| param.name == "boundary").map(|param| param.value.clone());
    let mut boundary = plain.or_else(|| Some(params::value(params, "boundary")?.0)).unwrap_or_default();
    boundary.truncate(boundary.trim_ascii_end().len());
    boundary
}

/// A field's name in lower case; empty for a name that is longer than all names that are looked for.
fn lower(name: &[u8]) -> Vec<u8> {
    if name.len() > 32 { Vec::new() } else { name.to_ascii_lowercase() }
}

fn offset(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::structure::Section;

    const M1: &[u8] = include_bytes!("../../tests/messages/M1-boundary-2231.eml");
    const M2: &[u8] = include_bytes!("../../tests/messages/M2-boundary-2231-encoded.eml");
    const M3: &[u8] = include_bytes!("../../tests/messages/M3-same-boundary.eml");
    const M4: &[u8] = include_bytes!("../../tests/messages/M4-filename-continued.eml");

    fn parse(message: &[u8]) -> MessageStructure {
        super::parse(message, &mut || true).0
    }

    fn body<'a>(message: &'a [u8], path: &[u32]) -> Option<&'a [u8]> {
        parse(message).part(path, Section::Body).map(|span| span.of(message))
    }

    #[test]
    fn a_boundary_in_the_form_of_rfc_2231_divides_the_parts() {
        for message in [M1, M2] {
            assert_eq!(parse(message).root.media_type, "multipart");
            assert_eq!(body(message, &[1]), Some(&b"one"[..]));
            assert_eq!(body(message, &[2]), None);
        }
    }

    #[test]
    fn an_inner_multipart_with_the_boundary_of_the_outer_hides_nothing() {
        assert_eq!(body(M3, &[1, 1]), Some(&b"one"[..]));
        assert_eq!(body(M3, &[2]), Some(&b"PDF"[..]));
        assert_eq!(body(M3, &[3]), None);
        let Inner::Multipart(parts) = parse(M3).root.inner else { panic!("not multipart") };
        assert_eq!(parts.iter().map(|part| part.subtype.as_str()).collect::<Vec<_>>(), ["alternative", "pdf"]);
    }

    #[test]
    fn a_file_name_in_pieces_is_one_name() {
        let disposition = parse(M4).root.disposition.unwrap();
        assert_eq!(disposition.params, [Param { name: "filename".into(), value: b"long.pdf".to_vec() }]);
    }

    /// Headers and bodies that repeat something `count` times.
    fn hostile(count: usize) -> Vec<(String, Vec<u8>)> {
        let multipart = "Content-Type: multipart/mixed; boundary=b\r\n\r\n";
        let levels = |boundary: &dyn Fn(usize) -> String| -> String {
            let level = |level| {
                let boundary = boundary(level);
                format!("Content-Type: multipart/mixed; boundary={boundary}\r\n\r\n--{boundary}\r\n")
            };
            (0..count.min(40)).map(level).collect()
        };
        let (nested, same) = (levels(&|level| format!("b{level}")), levels(&|_| "b".to_owned()));
        let long = levels(&|level| format!("{}{level}", "b".repeat(300)));
        let near = format!("--{}\r\n", "b".repeat(300));
        let shapes: Vec<(&str, String, &str)> = vec![
            ("comments in a type", "Content-Type: text/plain".into(), ";a("),
            ("comments in an encoding", "Content-Transfer-Encoding: ".into(), "("),
            ("comments in a disposition", "Content-Disposition: x".into(), ";(a;"),
            ("continuations", "Content-Type: text/plain".into(), ";a*0*=''%41"),
            ("languages", "Content-Language: ".into(), "a,"),
            ("folds", "Subject: x\r\n".into(), " \r\n"),
            ("fields", String::new(), "a:\r\n"),
            ("lines that are no fields", String::new(), "a\r\n"),
            ("groups", "To: ".into(), "a:b,;"),
            ("open groups", "To: ".into(), "a:"),
            ("addresses", "To: ".into(), "a,"),
            ("comments of addresses", "To: a".into(), "(\\("),
            ("angles", "To: ".into(), "<a"),
            ("routes", "To: <".into(), "@a:"),
            ("quotes", "To: ".into(), "\"\\\""),
            ("delimiters", multipart.into(), "--b\r\n"),
            ("closing delimiters", multipart.into(), "--b--\r\n"),
            ("almost delimiters", multipart.into(), "--bb\r\n"),
            ("dashes", multipart.into(), "--\n"),
            ("spaces behind a delimiter", format!("{multipart}--b"), " "),
            ("dashes behind a delimiter", format!("{multipart}--b"), "-"),
            ("parts that are multiparts", multipart.into(), "--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n"),
            ("levels", nested.clone(), "--b\r\n"),
            ("levels, their first delimiter", nested, "--b0--\r\n"),
            ("levels of one boundary", same, "--b--\r\n"),
            ("levels of long boundaries", long, &near),
            ("messages in messages", String::new(), "Content-Type: message/rfc822\r\n\r\n"),
            ("a digest", "Content-Type: multipart/digest; boundary=b\r\n\r\n".into(), "--b\r\n\r\nTo: a,a,a\r\n\r\n"),
            ("lines", "\r\n".into(), "\n"),
        ];
        shapes
            .into_iter()
            .map(|(name, head, unit)| (name.into(), [head, unit.repeat(count)].concat().into_bytes()))
            .collect()
    }

    #[test]
    fn no_message_makes_more_steps_than_so_many_a_byte() {
        for count in [1000, 2000, 4000, 32_000] {
            for (name, message) in hostile(count) {
                let (steps, _) = meter::work(|| parse(&message));
                let most = STEPS_PER_BYTE * message.len() as u64 + 1000;
                assert!(steps <= most, "{name}, {} bytes: {steps} steps", message.len());
            }
        }
    }

    #[test]
    fn what_is_kept_of_headers_is_bounded() {
        let part = format!("--b\r\nX-A: {}\r\nContent-Type: image/png\r\n\r\n", "x".repeat(15_000));
        let message = format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{}", part.repeat(200));
        let Inner::Multipart(parts) = parse(message.as_bytes()).root.inner else { panic!("not multipart") };
        assert_eq!(parts.len(), 200);
        assert_eq!(parts.first().map(|part| part.subtype.as_str()), Some("png"));
        assert_eq!(parts.last().map(|part| part.subtype.as_str()), Some("octet-stream"), "opaque");
        let many = "From: ".to_owned() + &"a,".repeat(40_000);
        let enclosed = format!("Content-Type: message/rfc822\r\n{many}\r\n\r\n").repeat(10);
        let parsed = parse(enclosed.as_bytes());
        assert_eq!(parsed.envelope.from.len(), ENVELOPE_ADDRESSES);
        let Inner::Message(inner) = parsed.root.inner else { panic!("not a message") };
        assert!(inner.envelope.from.is_empty());
    }
}
