//! Whether a message is what a SEARCH looks for, without IO.
//!
//! Text is compared as people see it: encoded words, transfer encodings and character sets are undone, and case does
//! not count. Text of a message is decoded when the first key asks for it, and once.

use std::time::Instant;

use crate::base::limits;
use crate::engine::mailbox::{Flags, Folder, Message, Uid};
use crate::mail::headers;
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
    Flag(Flags),
    Keyword(String),
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

/// How much of a message must be read.
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

/// What is known of a message without reading it.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    row: Row,
    flags: Flags,
    keywords: Vec<String>,
    size: u32,
    arrived: Day,
}

impl Facts {
    pub(super) fn new(row: Row, message: &Message, folder: &Folder) -> Self {
        let date = message.date.civil();
        Self {
            row,
            flags: message.flags,
            keywords: folder.keyword_names(message.flags).map(str::to_owned).collect(),
            size: message.size,
            arrived: Day { year: date.year, month: date.month, day: date.day },
        }
    }
}

impl Key {
    pub(super) fn header(name: &str, text: &str) -> Self {
        Self::Header { name: name.to_owned(), text: fold(text) }
    }

    pub(super) fn body(text: &str) -> Self {
        Self::Body(fold(text))
    }

    pub(super) fn text(text: &str) -> Self {
        Self::Text(fold(text))
    }

    /// How much must be read to know whether it holds.
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

    /// Whether it holds, where that can be known without reading.
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
            Self::Keyword(name) => Some(facts.keywords.iter().any(|known| known.eq_ignore_ascii_case(name))),
            Self::Larger(size) => Some(facts.size > *size),
            Self::Smaller(size) => Some(facts.size < *size),
            Self::Before(day) => Some(facts.arrived < *day),
            Self::On(day) => Some(facts.arrived == *day),
            Self::Since(day) => Some(facts.arrived >= *day),
            _ => None,
        }
    }

    /// Whether it holds; anything once the time of these texts is over.
    pub(super) fn holds(&self, facts: &Facts, texts: &mut Texts<'_>) -> bool {
        if Instant::now() > texts.until {
            return false;
        }
        if let Some(holds) = self.known(facts) {
            return holds;
        }
        match self {
            Self::All(keys) => {
                // Bodies last.
                [Needs::Nothing, Needs::Header, Needs::Body]
                    .into_iter()
                    .all(|needs| keys.iter().filter(|key| key.needs() == needs).all(|key| key.holds(facts, texts)))
            }
            Self::Either(first, second) => first.holds(facts, texts) || second.holds(facts, texts),
            Self::Not(key) => !key.holds(facts, texts),
            Self::SentBefore(day) => texts.sent().is_some_and(|sent| sent < *day),
            Self::SentOn(day) => texts.sent().is_some_and(|sent| sent == *day),
            Self::SentSince(day) => texts.sent().is_some_and(|sent| sent >= *day),
            Self::Header { name, text } => texts
                .fields()
                .iter()
                .any(|(known, value)| known.eq_ignore_ascii_case(name.trim()) && value.contains(text.as_str())),
            Self::Body(text) => texts.body().iter().any(|body| body.contains(text.as_str())),
            Self::Text(text) => {
                let wanted = text.as_str();
                texts.fields().iter().any(|(name, value)| format!("{}: {value}", fold(name)).contains(wanted))
                    || texts.body().iter().any(|body| body.contains(wanted))
            }
            _ => false,
        }
    }
}

/// Whether a number is in one of these ranges, which are sorted and do not overlap.
fn is_within(ranges: &[(u32, u32)], number: u32) -> bool {
    let after = ranges.partition_point(|(first, _)| *first <= number);
    after.checked_sub(1).and_then(|place| ranges.get(place)).is_some_and(|(_, last)| number <= *last)
}

/// The text of one message, folded, decoded when it is first asked for.
pub(super) struct Texts<'a> {
    /// After this nothing is looked at any more: the answer does not count.
    until: Instant,
    message: &'a [u8],
    fields: Option<Vec<(String, String)>>,
    body: Option<Vec<String>>,
}

impl<'a> Texts<'a> {
    /// Of a whole message.
    pub(super) const fn of_message(message: &'a [u8], until: Instant) -> Self {
        Self { until, message, fields: None, body: None }
    }

    /// Of a header only: the body has no text.
    pub(super) const fn of_header(header: &'a [u8], until: Instant) -> Self {
        Self { until, message: header, fields: None, body: Some(Vec::new()) }
    }

    fn fields(&mut self) -> &[(String, String)] {
        let message = self.message;
        self.fields.get_or_insert_with(|| fields(message))
    }

    fn sent(&mut self) -> Option<Day> {
        let date = self.fields().iter().find(|(name, _)| name.eq_ignore_ascii_case("date"))?;
        Day::parse(&date.1)
    }

    fn body(&mut self) -> &[String] {
        let message = self.message;
        self.body.get_or_insert_with(|| {
            let mut texts = Vec::new();
            decode(message, &structure::parse(message).root, &mut texts);
            texts
        })
    }
}

/// Names, and values as people see them, as far as a header may go: that of a message in a message may be of any size.
fn fields(message: &[u8]) -> Vec<(String, String)> {
    let (header, _) = headers::split(message);
    let header = header.get(..header.len().min(limits::HEADER_BYTES)).unwrap_or_default();
    headers::fields(header)
        .take(limits::HEADER_FIELDS)
        .filter(|field| !field.name.is_empty())
        .map(|field| {
            let value = mailparse::parse_header(field.raw).map(|(parsed, _)| parsed.get_value());
            let value = value.unwrap_or_else(|_| String::from_utf8_lossy(field.value).into_owned());
            (String::from_utf8_lossy(field.name).into_owned(), fold(&value))
        })
        .collect()
}

/// The text of the parts that are text, and the headers of enclosed messages.
fn decode(message: &[u8], part: &Structure, texts: &mut Vec<String>) {
    match &part.inner {
        Inner::Multipart(parts) => parts.iter().for_each(|part| decode(message, part, texts)),
        Inner::Message(enclosed) => {
            let header = fields(enclosed.root.header.of(message));
            texts.extend(header.into_iter().map(|(name, value)| format!("{}: {value}", fold(&name))));
            decode(message, &enclosed.root, texts);
        }
        Inner::Leaf if part.media_type == "text" => {
            let whole = structure::Span { start: part.header.start, end: part.body.end };
            let text = mailparse::parse_mail(whole.of(message)).and_then(|parsed| parsed.get_body());
            texts.push(fold(&text.unwrap_or_else(|_| String::from_utf8_lossy(part.body.of(message)).into_owned())));
        }
        Inner::Leaf => {}
    }
}

fn fold(text: &str) -> String {
    text.to_lowercase()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MESSAGE: &[u8] = b"Date: Tue, 3 Feb 2026 23:30:00 -0800\r\n\
        From: =?utf-8?Q?J=C3=BCrgen?= <j@example.org>\r\n\
        Subject: =?iso-8859-1?Q?Gr=FC=DFe?=\r\n =?iso-8859-1?Q?_aus_K=F6ln?=\r\n\
        Content-Type: multipart/mixed; boundary=b\r\n\r\n\
        --b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n\
        RGllIFNjaMO2bmUgQXVzc2ljaHQ=\r\n\
        --b\r\nContent-Type: application/octet-stream\r\n\r\nnothing to see\r\n--b--\r\n";

    fn facts() -> Facts {
        let arrived = Day { year: 2026, month: 2, day: 4 };
        Facts { row: Row { seq: 2, uid: 5 }, flags: Flags::SEEN, keywords: vec!["Work".into()], size: 100, arrived }
    }

    fn holds(key: &Key) -> bool {
        key.holds(&facts(), &mut Texts::of_message(MESSAGE, Instant::now() + Duration::from_secs(600)))
    }

    #[test]
    fn numbers_are_looked_up_in_ranges() {
        let ranges = [(2, 2), (5, 9)];
        let within: Vec<u32> = (0..12).filter(|number| is_within(&ranges, *number)).collect();
        assert_eq!(within, [2, 5, 6, 7, 8, 9]);
        assert!(!is_within(&[], 1));
        assert_eq!(Key::Numbers(vec![(1, 2)]).known(&facts()), Some(true));
        assert_eq!(Key::Uids(vec![(1, 4), (6, 9)]).known(&facts()), Some(false));
    }

    #[test]
    fn a_header_in_a_message_is_read_as_far_as_a_header_may_go() {
        let many = "a:\r\n".repeat(limits::HEADER_FIELDS * 3);
        let message = format!("Content-Type: message/rfc822\r\n\r\n{many}\r\n");
        let far = Instant::now() + Duration::from_secs(600);
        assert!(Texts::of_message(message.as_bytes(), far).body().len() <= limits::HEADER_FIELDS + 1);
        assert!(Texts::of_message(many.as_bytes(), far).fields().len() <= limits::HEADER_FIELDS);
    }

    #[test]
    fn when_the_time_is_over_nothing_is_looked_at() {
        let over = Instant::now().checked_sub(Duration::from_secs(1)).unwrap();
        let mut texts = Texts::of_message(MESSAGE, over);
        assert!(!Key::Not(Box::new(Key::body("x"))).holds(&facts(), &mut texts));
        assert!(texts.body.is_none(), "nothing was decoded");
    }

    #[test]
    fn text_is_compared_as_people_see_it() {
        assert!(holds(&Key::header("FROM", "JÜRGEN")));
        assert!(holds(&Key::header("Subject", "grüße aus köln")));
        assert!(holds(&Key::header("subject", "")));
        assert!(!holds(&Key::header("x-none", "")));
        assert!(holds(&Key::body("schöne aussicht")));
        assert!(!holds(&Key::body("nothing to see")));
        assert!(!holds(&Key::body("RGllIFNj")));
        assert!(holds(&Key::text("KÖLN")));
        assert!(holds(&Key::text("subject: grüße")));
        assert!(!holds(&Key::body("köln")));
    }

    #[test]
    fn the_day_sent_is_the_day_written() {
        let day = |text: &str| Day::parse(text).unwrap();
        assert!(holds(&Key::SentOn(day("3 Feb 2026"))));
        assert!(holds(&Key::SentBefore(day("4 Feb 2026"))));
        assert!(!holds(&Key::SentSince(day("4 Feb 2026"))));
        assert!(holds(&Key::On(day("4 Feb 2026"))));
        assert_eq!(Day::parse("Tue, 1 Feb 94 10:00"), Some(Day { year: 1994, month: 2, day: 1 }));
        assert_eq!(Day::parse("no date 99 Foo 12"), None);
    }

    #[test]
    fn what_flags_decide_needs_no_reading() {
        let body = Key::body("x");
        let unseen = Key::Not(Box::new(Key::Flag(Flags::SEEN)));
        assert_eq!(Key::All(vec![body.clone(), unseen.clone()]).known(&facts()), Some(false));
        assert_eq!(Key::Either(Box::new(body.clone()), Box::new(Key::Flag(Flags::SEEN))).known(&facts()), Some(true));
        assert_eq!(Key::Either(Box::new(body.clone()), Box::new(unseen)).known(&facts()), None);
        assert_eq!(Key::All(vec![Key::Keyword("work".into()), Key::Larger(99)]).known(&facts()), Some(true));
        assert_eq!(Key::All(vec![Key::header("to", "x"), body]).needs(), Needs::Body);
    }
}
