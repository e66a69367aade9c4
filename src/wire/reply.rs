//! The lines of a server: the greeting and the replies, typed (docs/protocol.md, "Connection and greeting",
//! "Delivery").

use super::command::{hex, line, unhex};
use super::status::{Code, Status};
use super::word::{Malformed, PipelineId, Word, number};

/// `HOWDY <version> … max=<bytes> cap=<list> ["welcome"]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// The versions that the server speaks, in upper case.
    pub versions: Vec<String>,
    /// The largest object that it accepts from any sender, in bytes.
    pub maximum: u64,
    /// The capabilities that it serves.
    pub capabilities: Vec<String>,
    /// A text for people.
    pub welcome: Option<String>,
}

/// One line of a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The command that it answers.
    pub id: Option<PipelineId>,
    /// The three digits.
    pub code: Code,
    /// Whether more lines of the same reply follow (`-` after the digits).
    pub more: bool,
    /// The parameters, or a text.
    pub words: Vec<Word>,
}

/// A certificate that the peer may have already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateRef {
    /// Its SHA-256.
    Digest([u8; 32]),
    /// The certificate follows as a block of this size.
    Block(u64),
}

/// The parameters of 201.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready {
    /// The largest object that is accepted from this sender, in bytes.
    pub maximum: u64,
    /// The receiver's certificate; `None` (`-`) where the node only forwards the object to the receiver's node.
    pub receiver: Option<CertificateRef>,
    /// The server's certificate; `None` (`-`) where the receiver's node is the identity's own.
    pub server: Option<CertificateRef>,
}

/// A line of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerLine {
    /// The first line.
    Greeting(Greeting),
    /// All other lines.
    Reply(Reply),
}

impl ServerLine {
    /// Reads the words of a line.
    ///
    /// # Errors
    /// The line is neither a greeting nor a reply: the session cannot go on.
    pub fn decode(words: Vec<Word>) -> Result<Self, Malformed> {
        if words.first().is_some_and(|word| word.is_keyword("HOWDY")) {
            return Greeting::from_words(words.get(1..).unwrap_or_default()).map(Self::Greeting);
        }
        Reply::from_words(words).map(Self::Reply)
    }
}

impl Greeting {
    /// The line, with its line end.
    pub fn encode(&self) -> String {
        let mut words = vec![Word::text("HOWDY")];
        words.extend(self.versions.iter().map(Word::text));
        words.push(Word::named("MAX", self.maximum.to_string()));
        words.push(Word::named("CAP", self.capabilities.join(",")));
        words.extend(self.welcome.as_ref().map(Word::text));
        line(&words)
    }

    fn from_words(words: &[Word]) -> Result<Self, Malformed> {
        let mut greeting = Self { versions: Vec::new(), maximum: 0, capabilities: Vec::new(), welcome: None };
        let mut maximum = None;
        for word in words {
            match word {
                Word::Text(text) if text.to_ascii_uppercase().starts_with("RUNE/") => {
                    greeting.versions.push(text.to_ascii_uppercase());
                }
                Word::Text(text) => greeting.welcome = Some(text.clone()),
                Word::Named { name, value } if name == "MAX" => maximum = number(value),
                Word::Named { name, value } if name == "CAP" => {
                    greeting.capabilities =
                        value.split(',').filter(|capability| !capability.is_empty()).map(str::to_owned).collect();
                }
                Word::Named { .. } | Word::Switch { .. } => {}
                Word::Block(_) => return Err(Malformed),
            }
        }
        greeting.maximum = maximum.ok_or(Malformed)?;
        Ok(greeting)
    }
}

impl Reply {
    /// A reply of a status with its fixed text.
    pub fn plain(id: Option<PipelineId>, status: Status) -> Self {
        let words = status.text().split(' ').map(Word::text).collect();
        Self { id, code: status.code(), more: false, words }
    }

    /// The line, with its line end, without the blocks that follow it.
    pub fn encode(&self) -> String {
        let mut words = Vec::new();
        words.extend(self.id.as_ref().map(|id| Word::text(format!("{id}:"))));
        words.push(Word::text(format!("{}{}", self.code.number(), if self.more { "-" } else { "" })));
        words.extend(self.words.iter().cloned());
        line(&words)
    }

    fn from_words(words: Vec<Word>) -> Result<Self, Malformed> {
        let mut words = words.into_iter().peekable();
        let id = match words.peek().and_then(Word::as_text).and_then(|text| text.strip_suffix(':')) {
            Some(id) => {
                let id = id.parse()?;
                words.next();
                Some(id)
            }
            None => None,
        };
        let first = words.next();
        let code = first.as_ref().and_then(Word::as_text).ok_or(Malformed)?;
        let (digits, more) = code.strip_suffix('-').map_or((code, false), |digits| (digits, true));
        if digits.len() != 3 {
            return Err(Malformed);
        }
        let number = number(digits).and_then(|number| u16::try_from(number).ok());
        let code = number.and_then(Code::new).ok_or(Malformed)?;
        Ok(Self { id, code, more, words: words.collect() })
    }
}

impl Ready {
    /// Reads the parameters of a 201; further ones are ignored.
    ///
    /// # Errors
    /// The parameters do not have the form above.
    pub fn from_words(words: &[Word]) -> Result<Self, Malformed> {
        let [Word::Text(maximum), receiver, server, ..] = words else { return Err(Malformed) };
        let certificate = |word: &Word| match word.as_text() {
            Some("-") => Ok(None),
            _ => CertificateRef::from_word(word).map(Some),
        };
        let maximum = number(maximum).ok_or(Malformed)?;
        Ok(Self { maximum, receiver: certificate(receiver)?, server: certificate(server)? })
    }

    /// The reply with these parameters.
    pub fn reply(&self, id: Option<PipelineId>) -> Reply {
        let word =
            |certificate: Option<CertificateRef>| certificate.map_or_else(|| Word::text("-"), CertificateRef::to_word);
        let words = vec![Word::text(self.maximum.to_string()), word(self.receiver), word(self.server)];
        Reply { id, code: Status::Ready.code(), more: false, words }
    }
}

impl CertificateRef {
    pub(super) fn from_word(word: &Word) -> Result<Self, Malformed> {
        match word {
            Word::Text(text) => unhex(text).map(Self::Digest).ok_or(Malformed),
            Word::Block(size) => Ok(Self::Block(*size)),
            _ => Err(Malformed),
        }
    }

    pub(super) fn to_word(self) -> Word {
        match self {
            Self::Digest(digest) => Word::text(hex(&digest)),
            Self::Block(size) => Word::Block(size),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Decoder, Item, Side};
    use super::*;
    use proptest::prelude::*;

    fn decode(line: &str) -> Result<ServerLine, Malformed> {
        let mut decoder = Decoder::new(Side::Replies);
        decoder.push(line.as_bytes());
        match decoder.next_item() {
            Ok(Some(Item::Line(words))) => ServerLine::decode(words),
            _ => Err(Malformed),
        }
    }

    #[test]
    fn what_is_neither_greeting_nor_reply_is_refused() {
        for line in ["", "20 x", "2020 x", "099 x", "800 x", "abc x", "a:b: 202 x", "-202 x", "0202", "202-- x", "é"] {
            assert_eq!(decode(&format!("{line}\n")), Err(Malformed), "{line}");
        }
        for line in ["HOWDY RUNE/1", "HOWDY RUNE/1 max=x", "HOWDY RUNE/1 max=1 #3"] {
            assert_eq!(decode(&format!("{line}\n")), Err(Malformed), "{line}");
        }
    }

    #[test]
    fn the_greeting_says_what_it_says_to_a_stranger() {
        let Ok(ServerLine::Greeting(greeting)) =
            decode("howdy RUNE/2 rune/1 cap=send,,box max=100 x=1 \"Hi; there\"\r\n")
        else {
            panic!();
        };
        assert_eq!(greeting.versions, ["RUNE/2", "RUNE/1"]);
        assert_eq!(greeting.capabilities, ["send", "box"]);
        assert_eq!((greeting.maximum, greeting.welcome.as_deref()), (100, Some("Hi; there")));
    }

    fn certificate() -> impl Strategy<Value = CertificateRef> {
        prop_oneof![any::<[u8; 32]>().prop_map(CertificateRef::Digest), any::<u64>().prop_map(CertificateRef::Block)]
    }

    proptest! {
        #[test]
        fn every_reply_reads_as_it_was_written(
            id in prop::option::of("[A-Za-z0-9._-]{1,32}"),
            number in 100..=799_u16,
            more: bool,
            texts in prop::collection::vec("[^\\p{Cc}]{0,20}", 0..5),
        ) {
            let id = id.map(|id| id.parse().unwrap());
            let words = texts.into_iter().map(Word::Text).collect();
            let reply = Reply { id, code: Code::new(number).unwrap(), more, words };
            prop_assert_eq!(decode(&reply.encode()), Ok(ServerLine::Reply(reply)));
        }

        #[test]
        fn every_greeting_reads_as_it_was_written(
            versions in prop::collection::vec("RUNE/[1-9]", 0..3),
            maximum: u64,
            capabilities in prop::collection::vec("[A-Z]{1,8}", 0..4),
            welcome in prop::option::of("[A-Za-z;\" ]{0,20}"),
        ) {
            let greeting = Greeting { versions, maximum, capabilities, welcome };
            prop_assert_eq!(decode(&greeting.encode()), Ok(ServerLine::Greeting(greeting)));
        }

        #[test]
        fn every_201_reads_as_it_was_written(maximum: u64, receiver in prop::option::of(certificate()), server in prop::option::of(certificate())) {
            let ready = Ready { maximum, receiver, server };
            let Ok(ServerLine::Reply(reply)) = decode(&ready.reply(None).encode()) else { panic!() };
            prop_assert_eq!(Ready::from_words(&reply.words), Ok(ready));
        }
    }
}
