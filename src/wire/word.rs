//! The words of a line: plain and quoted text, `NAME=value`, `+SWITCH`, `-SWITCH` and `#<size of a block>`
//! (docs/protocol.md, "Lines and blocks").

use std::fmt;
use std::iter::Peekable;
use std::str::{Chars, FromStr};

/// One word of a line. It is not remembered whether text was quoted: [`Word::encode`] quotes where that is needed.
#[derive(Clone, PartialEq, Eq)]
pub enum Word {
    /// A keyword or a parameter.
    Text(String),
    /// `NAME=value`; the name is in upper case here.
    Named {
        /// The name.
        name: String,
        /// The value.
        value: String,
    },
    /// `+NAME` or `-NAME`; the name is in upper case here.
    Switch {
        /// The name.
        name: String,
        /// Whether it was `+`.
        on: bool,
    },
    /// `#<n>`: a block of n bytes follows the line.
    Block(u64),
}

/// A line does not follow the grammar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the line is malformed")]
pub struct Malformed;

/// The name that a client gives to a command with `AS`, and that its replies carry: 1 to 32 letters, digits, `.`, `-`
/// or `_`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PipelineId(String);

const PIPELINE_ID_BYTES: usize = 32;
const NAME_BYTES: usize = 32;

impl Word {
    /// A parameter given as text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// `NAME=value`.
    pub fn named(name: &str, value: impl Into<String>) -> Self {
        Self::Named { name: name.to_ascii_uppercase(), value: value.into() }
    }

    /// `+NAME` or `-NAME`.
    pub fn switch(name: &str, on: bool) -> Self {
        Self::Switch { name: name.to_ascii_uppercase(), on }
    }

    /// The text of a text word.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Whether this is the keyword, in any case.
    pub fn is_keyword(&self, keyword: &str) -> bool {
        self.as_text().is_some_and(|text| text.eq_ignore_ascii_case(keyword))
    }

    /// Appends the word as it is written in a line. Control characters, which no line can carry, become spaces.
    pub fn encode(&self, line: &mut String) {
        match self {
            Self::Text(text) if needs_no_quotes(text) => line.push_str(text),
            Self::Text(text) => quote(text, line),
            Self::Named { name, value } => {
                line.push_str(name);
                line.push('=');
                if !value.is_empty() && value.chars().all(is_bare) {
                    line.push_str(value);
                } else {
                    quote(value, line);
                }
            }
            Self::Switch { name, on } => {
                line.push(if *on { '+' } else { '-' });
                line.push_str(name);
            }
            Self::Block(size) => line.push_str(&format!("#{size}")),
        }
    }

    fn from_bare(text: String) -> Result<Self, Malformed> {
        if let Some(digits) = text.strip_prefix('#')
            && !digits.is_empty()
            && digits.bytes().all(|c| c.is_ascii_digit())
        {
            return number(digits).map(Self::Block).ok_or(Malformed);
        }
        let switch = text.strip_prefix('+').map(|name| (name, true)).or_else(|| Some((text.strip_prefix('-')?, false)));
        if let Some((name, on)) = switch
            && is_name(name)
        {
            return Ok(Self::switch(name, on));
        }
        match text.split_once('=') {
            Some((name, value)) if is_name(name) => Ok(Self::named(name, value)),
            _ => Ok(Self::Text(text)),
        }
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Text([redacted])"),
            Self::Named { name, .. } => write!(f, "Named({name})"),
            Self::Switch { name, on } => write!(f, "Switch({name}, {on})"),
            Self::Block(size) => write!(f, "Block({size})"),
        }
    }
}

impl PipelineId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PipelineId {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let fits = (1..=PIPELINE_ID_BYTES).contains(&text.len())
            && text.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_'));
        if fits { Ok(Self(text.to_owned())) } else { Err(Malformed) }
    }
}

impl From<u64> for PipelineId {
    fn from(number: u64) -> Self {
        Self(number.to_string())
    }
}

impl fmt::Display for PipelineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PipelineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PipelineId({})", self.0)
    }
}

/// A decimal number without sign and leading zeros.
pub fn number(digits: &str) -> Option<u64> {
    let canonical = digits.bytes().all(|c| c.is_ascii_digit()) && (digits.len() == 1 || !digits.starts_with('0'));
    if canonical { digits.parse().ok() } else { None }
}

/// Splits a line, without its line end, into words, and, if `chained`, into commands at each `;` outside of quotes.
/// Empty commands are left out.
pub(super) fn words(line: &str, chained: bool) -> Result<Vec<Vec<Word>>, Malformed> {
    let mut commands = Vec::new();
    let mut current = Vec::new();
    let mut chars = line.chars().peekable();
    while let Some(&next) = chars.peek() {
        match next {
            ' ' => {
                chars.next();
            }
            ';' if chained => {
                chars.next();
                if !current.is_empty() {
                    commands.push(std::mem::take(&mut current));
                }
            }
            '"' => {
                current.push(Word::Text(quoted(&mut chars)?));
                at_end_of_word(&mut chars, chained)?;
            }
            _ => {
                current.push(bare(&mut chars, chained)?);
                at_end_of_word(&mut chars, chained)?;
            }
        }
    }
    if !current.is_empty() {
        commands.push(current);
    }
    Ok(commands)
}

fn bare(chars: &mut Peekable<Chars<'_>>, chained: bool) -> Result<Word, Malformed> {
    let mut text = String::new();
    while let Some(&next) = chars.peek() {
        match next {
            ' ' => break,
            ';' if chained => break,
            '"' => {
                // Within a word, only NAME="value" may begin a quotation.
                let name = text.strip_suffix('=').filter(|name| is_name(name)).ok_or(Malformed)?;
                return Ok(Word::named(name, quoted(chars)?));
            }
            _ if is_bare(next) || next == ';' => {
                text.push(next);
                chars.next();
            }
            _ => return Err(Malformed),
        }
    }
    Word::from_bare(text)
}

fn quoted(chars: &mut Peekable<Chars<'_>>) -> Result<String, Malformed> {
    chars.next();
    let mut text = String::new();
    loop {
        match chars.next() {
            Some('"') => return Ok(text),
            Some('\\') => match chars.next() {
                Some(escaped @ ('"' | '\\')) => text.push(escaped),
                _ => return Err(Malformed),
            },
            Some(c) if !c.is_control() => text.push(c),
            _ => return Err(Malformed),
        }
    }
}

fn at_end_of_word(chars: &mut Peekable<Chars<'_>>, chained: bool) -> Result<(), Malformed> {
    match chars.peek() {
        None | Some(' ') => Ok(()),
        Some(';') if chained => Ok(()),
        Some(_) => Err(Malformed),
    }
}

fn quote(text: &str, line: &mut String) {
    line.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => line.extend(['\\', c]),
            c if c.is_control() => line.push(' '),
            c => line.push(c),
        }
    }
    line.push('"');
}

/// Visible ASCII except `"` and `;`.
fn is_bare(c: char) -> bool {
    c.is_ascii_graphic() && c != '"' && c != ';'
}

fn is_name(text: &str) -> bool {
    text.len() <= NAME_BYTES
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_')
}

fn needs_no_quotes(text: &str) -> bool {
    !text.is_empty()
        && text.chars().all(is_bare)
        && matches!(Word::from_bare(text.to_owned()), Ok(Word::Text(same)) if same == text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(line: &str) -> Vec<Word> {
        words(line, true).unwrap().remove(0)
    }

    #[test]
    fn every_kind_of_word_is_told_apart() {
        assert_eq!(
            one("send  a=b@x fwd/u=h@c - +Important -READ #12 #x n=\"a; \\\"b\\\\\" \"#12\" \"\""),
            [
                Word::text("send"),
                Word::named("A", "b@x"),
                Word::text("fwd/u=h@c"),
                Word::text("-"),
                Word::switch("IMPORTANT", true),
                Word::switch("READ", false),
                Word::Block(12),
                Word::text("#x"),
                Word::named("N", "a; \"b\\"),
                Word::text("#12"),
                Word::text(""),
            ]
        );
    }

    #[test]
    fn a_semicolon_chains_commands_and_only_outside_quotes() {
        let commands = words("A x;B \"y;z\" ;; C;", true).unwrap();
        assert_eq!(commands.len(), 3);
        assert_eq!(commands[1][1], Word::text("y;z"));
        assert_eq!(words("200 a;b ;", false).unwrap(), [[Word::text("200"), Word::text("a;b"), Word::text(";")]]);
    }

    #[test]
    fn what_is_not_a_line_is_refused() {
        for line in [
            "\"a",
            "a\"b\"",
            "\"a\"b",
            "\"a\\n\"",
            "a\tb",
            "a\0",
            "é",
            "#01",
            "#99999999999999999999",
            "\"\u{7f}\"",
            "x=\"a\"b",
        ] {
            assert_eq!(words(line, true), Err(Malformed), "{line}");
        }
    }

    #[test]
    fn pipeline_ids_are_short_plain_words() {
        for bad in ["", "a b", "a:", "é", &"x".repeat(33)] {
            assert!(bad.parse::<PipelineId>().is_err(), "{bad}");
        }
    }

    fn word() -> impl Strategy<Value = Word> {
        prop_oneof![
            "[^\\p{Cc}]{0,20}".prop_map(Word::Text),
            "[#+=a-z0-9;\" -]{0,8}".prop_map(Word::Text),
            ("[A-Z][A-Z0-9_]{0,31}", "[^\\p{Cc}]{0,20}").prop_map(|(name, value)| Word::Named { name, value }),
            ("[A-Z][A-Z0-9_]{0,31}", any::<bool>()).prop_map(|(name, on)| Word::Switch { name, on }),
            any::<u64>().prop_map(Word::Block),
        ]
    }

    proptest! {
        #[test]
        fn words_round_trip(expected in prop::collection::vec(word(), 1..8), chained: bool) {
            let mut line = String::new();
            for word in &expected {
                word.encode(&mut line);
                line.push(' ');
            }
            prop_assert_eq!(words(&line, chained), Ok(vec![expected]));
        }

        #[test]
        fn any_text_is_read_or_refused(line: String, chained: bool) {
            let _ = words(&line, chained);
        }
    }
}
