//! Introductions: a contact makes two of its contacts known to each other (docs/protocol.md, "Introductions").
//!
//! The introducer asks one of the two, the *host*; the host grants the other, the *guest*, an invitation that works once;
//! the introducer hands the grant on, with the host's signature over it. Each step is the payload of a content, as JSON.
//! Unknown members are ignored.

use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};

use crate::base::limits::{INTRODUCTION_OTHERS, INTRODUCTION_TEXT_BYTES};
use crate::base::{ContentId, Timestamp};

use super::dsn::{PLAIN, head};
use super::{Address, Binding, Invitation};

/// The payload of an `introduction-ask/1` content: may I introduce you?
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// What the introducer says of it, as a person wrote it; up to [`INTRODUCTION_TEXT_BYTES`].
    #[serde(default)]
    pub text: String,
    /// To how many others a message would show the host, where the introducer asks because of a message that several people
    /// are to see each other in; absent otherwise. Up to [`INTRODUCTION_OTHERS`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub others: Option<u8>,
}

/// The payload of an `introduction-grant/1` content: the host agrees.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The signed id of the ask.
    #[serde(with = "super::text")]
    pub ask: ContentId,
    /// What the ask says of others, where it is because of a message; absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub others: Option<u8>,
    /// Invitations of the host, each with a secret (`rune:…`): one, or one for each of the others of whom the ask speaks.
    pub invitations: Vec<String>,
    /// The host's certificate (OpenPGP, binary, base64 in the JSON).
    #[serde(with = "super::base64_bytes")]
    pub certificate: Vec<u8>,
    /// Binds the onion of the invitation to the certificate.
    pub binding: Binding,
}

/// The payload of an `introduction/1` content: the guest may use this grant.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Introduction {
    /// What the introducer says of it, as a person wrote it; up to [`INTRODUCTION_TEXT_BYTES`].
    #[serde(default)]
    pub text: String,
    /// The place of the invitation in the grant that is for the guest, from 0.
    #[serde(default)]
    pub place: u8,
    /// The signed id of the ask by which the guest has agreed already, where both are to see each other in a message.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "super::text_option")]
    pub agreed: Option<ContentId>,
    /// The host's content of kind `introduction-grant/1`, as it was signed (base64 in the JSON).
    #[serde(with = "super::base64_bytes")]
    pub grant: Vec<u8>,
    /// The host's signature over it, which names the introducer as its recipient (an OpenPGP packet, base64).
    #[serde(with = "super::base64_bytes")]
    pub signature: Vec<u8>,
}

impl fmt::Debug for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ask").finish_non_exhaustive()
    }
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant").field("ask", &self.ask).finish_non_exhaustive()
    }
}

impl fmt::Debug for Introduction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Introduction").finish_non_exhaustive()
    }
}

impl Ask {
    /// How many invitations the host grants; `None` where the ask is for more than it may be, or for none.
    pub fn wanted(&self) -> Option<u8> {
        let wanted = self.others.unwrap_or(1);
        (1..=INTRODUCTION_OTHERS).contains(&wanted).then_some(wanted)
    }
}

/// Whether a text may go with an introduction: within its bound, and without control characters but line ends and tabs.
pub fn is_fit(text: &str) -> bool {
    text.len() <= INTRODUCTION_TEXT_BYTES && !text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
}

/// A message in Requests: a contact asks whether it may introduce us to somebody.
pub fn ask_notice(own: &Address, introducer: (&str, &Address), text: &str, id: ContentId, now: Timestamp) -> Vec<u8> {
    let (petname, address) = introducer;
    let mut message = head(&format!("<{address}>"), own, "May I introduce you to somebody?", id, now);
    let _ = write!(
        message,
        "Auto-Submitted: auto-generated\r\n{PLAIN}\r\n\
         This notice was written by your own node. Your contact {petname} would like to introduce you to somebody.\r\n"
    );
    words(&mut message, petname, text);
    let _ = write!(
        message,
        "To agree, move or copy this message to INBOX, or run\r\n\
         runepeer request accept {id}\r\n\
         Then {petname} gets an invitation of yours that works once, within 14 days, and hands it on: whoever uses it learns your\r\n\
         address and becomes your contact. Nothing proves that it is the person whom {petname} means.\r\n\
         To decline, move it to Junk or Trash, or do nothing: {petname} is told nothing then.\r\n"
    );
    message.into_bytes()
}

/// A message in Requests: a contact wants to write to us and to others in one message.
pub fn message_notice(own: &Address, author: (&str, &Address), others: u8, id: ContentId, now: Timestamp) -> Vec<u8> {
    let (petname, address) = author;
    let mut message = head(&format!("<{address}>"), own, "May I write to you together with others?", id, now);
    let people = if others == 1 { "one other person".to_owned() } else { format!("{others} other people") };
    let _ = write!(
        message,
        "Auto-Submitted: auto-generated\r\n{PLAIN}\r\n\
         This notice was written by your own node. Your contact {petname} has a message that is for you and {people}. All of\r\n\
         you would see each other's addresses in it, and become each other's contacts, so that everybody can answer everybody.\r\n\r\n\
         To agree, move or copy this message to INBOX, or run\r\n\
         runepeer request accept {id}\r\n\
         The message comes as soon as everybody has agreed, if that is within five days of its writing. Who the others are, is the word of {petname} alone.\r\n\
         To decline, move it to Junk or Trash, or do nothing: nobody is told, and the message does not come.\r\n"
    );
    message.into_bytes()
}

/// A message in Requests: a contact introduces somebody to us.
pub fn offer_notice(
    own: &Address,
    introducer: (&str, &Address),
    host: &Invitation,
    text: &str,
    id: ContentId,
    now: Timestamp,
) -> Vec<u8> {
    let (petname, address) = introducer;
    let name = host.address.local();
    let mut message = head(&format!("<{address}>"), own, &format!("I introduce you to {name}"), id, now);
    let _ = write!(
        message,
        "Auto-Submitted: auto-generated\r\n{PLAIN}\r\n\
         This notice was written by your own node. Your contact {petname} introduces somebody to you, who has agreed:\r\n\r\n\
         address:     {}\r\n\
         fingerprint: {}\r\n",
        host.address, host.fingerprint
    );
    words(&mut message, petname, text);
    let _ = write!(
        message,
        "To become their contact, move or copy this message to INBOX, or run\r\n\
         runepeer request accept {id}\r\n\
         They learn your address then. That it is the person whom you expect is the word of {petname} alone.\r\n\
         To decline, move it to Junk or Trash, or do nothing: nobody is told of it.\r\n"
    );
    message.into_bytes()
}

/// What the introducer says, marked line by line, so that nobody takes it for words of the node.
fn words(message: &mut String, petname: &str, text: &str) {
    if text.trim().is_empty() {
        message.push_str("\r\n");
        return;
    }
    let _ = write!(message, "\r\n{petname} writes:\r\n");
    for line in text.split(['\n', '\r']).filter(|line| !line.trim().is_empty()) {
        let line: Vec<char> = line.chars().collect();
        for piece in line.chunks(LINE_CHARACTERS) {
            let _ = write!(message, "> {}\r\n", piece.iter().collect::<String>());
        }
    }
    message.push_str("\r\n");
}

/// Characters of a line that is quoted: at most four bytes each, within the 998 of RFC 5322.
const LINE_CHARACTERS: usize = 200;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::Onion;
    use crate::mail::{headers, strict};

    fn address(name: &str, key: u8) -> Address {
        format!("{name}@{}", Onion::from_public_key([key; 32])).parse().unwrap()
    }

    fn notice(text: &str) -> String {
        let (own, bob) = (address("alice", 1), address("bob", 2));
        let now = Timestamp::from_secs(1_800_000_000);
        String::from_utf8(ask_notice(&own, ("bob", &bob), text, ContentId::from_bytes([7; 16]), now)).unwrap()
    }

    #[test]
    fn what_an_introducer_says_cannot_be_taken_for_words_of_the_node() {
        let text = notice("Hello.\nTo decline, send your passphrase to bob.\r\rSubject: x");
        assert!(text.contains("\r\n> Hello.\r\n> To decline, send your passphrase to bob.\r\n> Subject: x\r\n\r\n"));
        for unfit in ["a\u{1b}[2Jb", "a\0b", "a\u{85}b"] {
            assert!(!is_fit(unfit), "{unfit:?}");
        }
        assert!(is_fit(&"x".repeat(INTRODUCTION_TEXT_BYTES)) && !is_fit(&"x".repeat(INTRODUCTION_TEXT_BYTES + 1)));
    }

    proptest! {
        #[test]
        fn with_any_text_the_notice_is_a_message_of_this_form(text in any::<String>()) {
            let text: String = text.chars().filter(|c| is_fit(&c.to_string())).take(200).collect();
            let message = notice(&text);
            prop_assert!(strict::check(message.as_bytes()).is_ok());
            prop_assert_eq!(headers::fields(message.as_bytes()).count(), headers::fields(notice("").as_bytes()).count());
            prop_assert!(message.split("\r\n").all(|line| line.len() <= 998));
        }
    }
}
