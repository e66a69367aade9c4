//! Whether a message is what a SEARCH looks for, without IO.
//!
//! Text is compared as people see it: encoded words, transfer encodings and character sets are undone, and case does
//! not count. The body is what Dovecot searches too: parts that are text or belong to a message (a report of delivery),
//! the headers of parts and of enclosed messages, and the names of files. Text of a message is decoded once, when the
//! first key asks for it.
//!
//! Work: decoding makes at most 80 steps for a byte of the message, and each key that looks at text makes two more for
//! a byte of the decoded text. At least every 64 KiB of those, the caller is asked whether to go on.

use crate::base::{limits, meter};
use crate::engine::state::mailbox::{Flags, Message, Uid};
use crate::mail::budget::HeaderBudget;
use crate::mail::headers;
use crate::mail::readable::{self, GoOn};
use crate::mail::structure::{self, Inner, Structure};

use super::view::Row;

/// A condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Key {
    All(Vec<Self>),
    Either(Box<Self>, Box<Self>),
    Not(Box<Self>),
    /// Ranges of sequence numbers, sorted, without overlap.
    Numbers(Vec<(u32, u32)>),
    /// Ranges of UIDs, sorted, without overlap.
    Uids(Vec<(Uid, Uid)>),
    /// A flag, or a keyword of the folder.
    Flag(Flags),
    Larger(u32),
    Smaller(u32),
    Before(Day),
    On(Day),
    Since(Day),
    SentBefore(Day),
    SentOn(Day),
    SentSince(Day),
    Header {
        name: String,
        text: String,
    },
    Body(String),
    Text(String),
}

/// How much of a message must be read to decide a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Needs {
    Nothing,
    Header,
    Body,
}

/// A day of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Day {
    year: i64,
    month: u8,
    day: u8,
}

impl Day {
    /// The day in `1 Feb 1994`, `Tue, 1 Feb 94 10:00 +0100` and the like, as written, without regard to the zone
    /// (RFC 3501 §6.4.4, SENTON).
    pub(super) fn parse(text: &str) -> Option<Self> {
        const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
        let words: Vec<&str> = text.split([' ', ',', '\t']).filter(|word| !word.is_empty()).collect();
        words.windows(3).find_map(|window| {
            let [day, month, year] = window else { return None };
            let month = month.to_ascii_lowercase();
            let month = MONTHS.iter().position(|name| *name == month)?;
            let year: i64 = year.parse().ok().filter(|year| (0..=9999).contains(year))?;
            // RFC 5322 §4.3: years of two digits.
            let year = match year {
                0..50 => year + 2000,
                50..100 => year + 1900,
                _ => year,
            };
            let day: u8 = day.parse().ok().filter(|day| (1..=31).contains(day))?;
            Some(Self { year, month: u8::try_from(month).ok()? + 1, day })
        })
    }
}

/// The facts about a message that are known without reading it.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    row: Row,
    flags: Flags,
    size: u32,
    arrived: Day,
}

impl Facts {
    pub(super) fn new(row: Row, message: &Message) -> Self {
        let date = message.date.civil();
        Self {
            row,
            flags: message.flags,
            size: message.size,
            arrived: Day { year: date.year, month: date.month, day: date.day },
        }
    }
}

impl Key {
    /// All of these keys must hold; those that need least of the message come first.
    pub(super) fn all(mut keys: Vec<Self>) -> Self {
        keys.sort_by_cached_key(Self::needs);
        Self::All(keys)
    }

    /// One of these keys must hold; the one that needs less of the message comes first.
    pub(super) fn either(first: Self, second: Self) -> Self {
        let (first, second) = if second.needs() < first.needs() { (second, first) } else { (first, second) };
        Self::Either(Box::new(first), Box::new(second))
    }

    /// How many keys it has, and how many of them look at text.
    pub(super) fn count(&self) -> (usize, usize) {
        match self {
            Self::All(keys) => keys.iter().map(Self::count).fold((1, 0), |(all, texts), (a, t)| (all + a, texts + t)),
            Self::Either(first, second) => {
                let ((a, t), (b, u)) = (first.count(), second.count());
                (1 + a + b, t + u)
            }
            Self::Not(key) => {
                let (all, texts) = key.count();
                (1 + all, texts)
            }
            key => (1, usize::from(key.needs() > Needs::Nothing)),
        }
    }

    pub(super) fn header(name: &str, text: &str) -> Self {
        Self::Header { name: name.trim().to_owned(), text: fold(text) }
    }

    pub(super) fn body(text: &str) -> Self {
        Self::Body(fold(text))
    }

    pub(super) fn text(text: &str) -> Self {
        Self::Text(fold(text))
    }

    /// How much of a message must be read to know whether the key holds.
    pub(super) fn needs(&self) -> Needs {
        match self {
            Self::All(keys) => keys.iter().map(Self::needs).max().unwrap_or(Needs::Nothing),
            Self::Either(first, second) => first.needs().max(second.needs()),
            Self::Not(key) => key.needs(),
            Self::SentBefore(_) | Self::SentOn(_) | Self::SentSince(_) | Self::Header { .. } => Needs::Header,
            Self::Body(_) | Self::Text(_) => Needs::Body,
            _ => Needs::Nothing,
        }
    }

    /// Whether the key holds, if that can be known without reading.
    pub(super) fn known(&self, facts: &Facts) -> Option<bool> {
        match self {
            Self::All(keys) => {
                let mut all = Some(true);
                for key in keys {
                    match key.known(facts) {
                        Some(true) => {}
                        Some(false) => return Some(false),
                        None => all = None,
                    }
                }
                all
            }
            Self::Either(first, second) => match (first.known(facts), second.known(facts)) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            },
            Self::Not(key) => key.known(facts).map(|holds| !holds),
            Self::Numbers(ranges) => Some(is_within(ranges, facts.row.seq)),
            Self::Uids(ranges) => Some(is_within(ranges, facts.row.uid)),
            Self::Flag(flag) => Some(facts.flags.contains(*flag)),
            Self::Larger(size) => Some(facts.size > *size),
            Self::Smaller(size) => Some(facts.size < *size),
            Self::Before(day) => Some(facts.arrived < *day),
            Self::On(day) => Some(facts.arrived == *day),
            Self::Since(day) => Some(facts.arrived >= *day),
            _ => None,
        }
    }

    /// Whether the key holds; `None` once the search is over.
    pub(super) fn holds(&self, facts: &Facts, texts: &mut Texts<'_>) -> Option<bool> {
        match self {
            Self::All(keys) => {
                for key in keys {
                    if !key.holds(facts, texts)? {
                        return Some(false);
                    }
                }
                Some(true)
            }
            Self::Either(first, second) => Some(first.holds(facts, texts)? || second.holds(facts, texts)?),
            Self::Not(key) => key.holds(facts, texts).map(|holds| !holds),
            Self::SentBefore(day) => Some(texts.sent()?.is_some_and(|sent| sent < *day)),
            Self::SentOn(day) => Some(texts.sent()?.is_some_and(|sent| sent == *day)),
            Self::SentSince(day) => Some(texts.sent()?.is_some_and(|sent| sent >= *day)),
            Self::Header { name, text } => texts.has_field(name, text),
            Self::Body(text) => texts.has_body(text),
            Self::Text(text) => Some(texts.has_line(text)? || texts.has_body(text)?),
            known => known.known(facts),
        }
    }
}

/// Whether a number is in one of these ranges, which are sorted and do not overlap.
fn is_within(ranges: &[(u32, u32)], number: u32) -> bool {
    let after = ranges.partition_point(|(first, _)| *first <= number);
    after.checked_sub(1).and_then(|place| ranges.get(place)).is_some_and(|(_, last)| number <= *last)
}

/// A header field as people see it, folded: `name: value`.
struct Line {
    text: String,
    /// Where the value begins.
    value: usize,
}

/// The text of one message, folded, decoded when it is first asked for.
pub(super) struct Texts<'a> {
    /// Decides whether to go on; asked at least every 64 KiB.
    go_on: &'a mut GoOn<'a>,
    message: &'a [u8],
    fields: Option<Vec<Line>>,
    sent: Option<Option<Day>>,
    body: Option<Vec<String>>,
}

impl<'a> Texts<'a> {
    /// The text of a whole message.
    pub(super) const fn of_message(message: &'a [u8], go_on: &'a mut GoOn<'a>) -> Self {
        Self { go_on, message, fields: None, sent: None, body: None }
    }

    /// The text of a header alone; its body is empty.
    pub(super) const fn of_header(header: &'a [u8], go_on: &'a mut GoOn<'a>) -> Self {
        Self { go_on, message: header, fields: None, sent: None, body: Some(Vec::new()) }
    }

    fn decode_fields(&mut self) -> Option<()> {
        if self.fields.is_none() {
            let (header, _) = headers::split(self.message);
            self.fields = Some(lines(header, true, &mut HeaderBudget::default(), self.go_on)?);
        }
        Some(())
    }

    fn has_field(&mut self, name: &str, wanted: &str) -> Option<bool> {
        self.decode_fields()?;
        for line in self.fields.iter().flatten() {
            let (known, value) = line.text.split_at_checked(line.value).unwrap_or_default();
            meter::steps(1);
            if known.trim_end_matches(": ").eq_ignore_ascii_case(name) && contains(value, wanted, self.go_on)? {
                return Some(true);
            }
        }
        Some(false)
    }

    fn has_line(&mut self, wanted: &str) -> Option<bool> {
        self.decode_fields()?;
        for line in self.fields.iter().flatten() {
            if contains(&line.text, wanted, self.go_on)? {
                return Some(true);
            }
        }
        Some(false)
    }

    fn has_body(&mut self, wanted: &str) -> Option<bool> {
        if self.body.is_none() {
            let structure = structure::parse_while(self.message, self.go_on)?;
            let mut decoder = Decoder {
                message: self.message,
                budget: HeaderBudget::default(),
                texts: Vec::new(),
                go_on: self.go_on,
            };
            decoder.decode(&structure.root, false)?;
            self.body = Some(decoder.texts);
        }
        for text in self.body.iter().flatten() {
            if contains(text, wanted, self.go_on)? {
                return Some(true);
            }
        }
        Some(false)
    }

    fn sent(&mut self) -> Option<Option<Day>> {
        if self.sent.is_none() {
            self.decode_fields()?;
            let mut fields = self.fields.iter().flatten();
            let date = fields.find_map(|line| line.text.strip_prefix("date: "));
            self.sent = Some(date.and_then(Day::parse));
        }
        self.sent
    }
}

/// The names and readable values of the fields, up to the bounds of a header.
fn lines(header: &[u8], of_message: bool, budget: &mut HeaderBudget, go_on: &mut GoOn<'_>) -> Option<Vec<Line>> {
    let mut lines = Vec::new();
    for field in budget.fields(header, of_message).into_iter().filter(|field| !field.name.is_empty()) {
        if !go_on() {
            return None;
        }
        let name = fold(&String::from_utf8_lossy(field.name));
        let value = fold(&readable::of_value(field.value));
        lines.push(Line { value: name.len() + 2, text: format!("{name}: {value}") });
    }
    Some(lines)
}

/// Collects the text of the parts of a message.
struct Decoder<'a, 'b> {
    message: &'a [u8],
    budget: HeaderBudget,
    texts: Vec<String>,
    go_on: &'a mut GoOn<'b>,
}

impl Decoder<'_, '_> {
    /// Decodes a part, with its header unless that is the header of the whole message.
    fn decode(&mut self, part: &Structure, with_header: bool) -> Option<()> {
        if with_header {
            self.header(part, false)?;
        }
        match &part.inner {
            Inner::Multipart(parts) => parts.iter().try_for_each(|part| self.decode(part, true)),
            Inner::Message(enclosed) => {
                self.header(&enclosed.root, true)?;
                self.decode(&enclosed.root, false)
            }
            Inner::Leaf if matches!(part.media_type.as_str(), "text" | "message") => {
                let text = readable::of_part(part, self.message, self.go_on)?;
                self.texts.push(folded(&text, self.go_on)?);
                Some(())
            }
            Inner::Leaf => Some(()),
        }
    }

    fn header(&mut self, part: &Structure, of_message: bool) -> Option<()> {
        let lines = lines(part.header.of(self.message), of_message, &mut self.budget, self.go_on)?;
        self.texts.extend(lines.into_iter().map(|line| line.text));
        self.texts.extend(readable::file_name(part).map(|name| fold(&name)));
        Some(())
    }
}

/// After at most so many bytes the caller is asked whether to go on.
const PIECE: usize = 64 * limits::KIB;

/// Whether a text contains this one; `None` where the search is over.
fn contains(text: &str, wanted: &str, go_on: &mut GoOn<'_>) -> Option<bool> {
    let piece = PIECE.max(wanted.len());
    let mut start = 0_usize;
    loop {
        if !go_on() {
            return None;
        }
        // The wanted text may lie across the end of a piece.
        let end = boundary(text, start.saturating_add(piece).saturating_add(wanted.len()));
        let window = text.get(start..end).unwrap_or_default();
        meter::steps(window.len());
        if window.contains(wanted) {
            return Some(true);
        }
        if end == text.len() {
            return Some(false);
        }
        start = boundary(text, start + piece);
    }
}

/// This place, or the last one before it where a character begins.
fn boundary(text: &str, mut place: usize) -> usize {
    place = place.min(text.len());
    while !text.is_char_boundary(place) {
        place -= 1;
    }
    place
}

/// The text without regard to case. It is made in pieces; between them the caller is asked whether to go on.
fn folded(text: &str, go_on: &mut GoOn<'_>) -> Option<String> {
    let mut folded = String::with_capacity(text.len());
    let mut start = 0;
    while start < text.len() {
        if !go_on() {
            return None;
        }
        let end = boundary(text, start + PIECE);
        let piece = text.get(start..end).unwrap_or_default();
        meter::steps(piece.len());
        if piece.is_ascii() {
            folded.extend(piece.bytes().map(|byte| char::from(byte.to_ascii_lowercase())));
        } else {
            // `str::to_lowercase` would make a sigma depend on where a piece ends.
            let lower = piece.chars().flat_map(char::to_lowercase);
            folded.extend(lower.map(|c| if c == 'ς' { 'σ' } else { c }));
        }
        start = end;
    }
    Some(folded)
}

fn fold(text: &str) -> String {
    folded(text, &mut || true).unwrap_or_default()
}

/// The most steps that decoding makes for a byte of a message.
#[cfg(test)]
const STEPS_PER_BYTE: u64 = 80;

#[cfg(test)]
mod tests;
