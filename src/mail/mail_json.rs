//! The drafts' JSON message and its way to and from a mail program (docs/protocol.md, "Content").
//!
//! ```json
//! {"content": {"subject": "…", "body": "…", "attachments": [{"filename": "…", "base91": "…"}]}}
//! ```
//! The draft's `signature` member is not read: the seal's signature covers the whole content. The author and the
//! receivers come from the seal too. An attachment whose base91 is broken is kept as the text that it is.
//!
//! JSON is read by `serde_json`, once and to a depth of 128; no more attachments are kept in memory than a message may
//! have.

use std::fmt;

use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::base::Timestamp;
use crate::base::limits::{MESSAGE_BYTES, MIME_PARTS};

use super::Address;
use super::base91;
use super::budget::HeaderBudget;
use super::compose::{Attachment, ComposeError, Draft, compose, file_name};
use super::structure::{Inner, MessageStructure, Structure, parse};
use super::{headers, readable};

/// Why a JSON message was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MailJsonError {
    /// The text is not JSON, or does not have the form above.
    #[error("the JSON message is malformed")]
    Malformed,
    /// A bound was reached.
    #[error("the JSON message is too large")]
    TooLarge,
    /// It cannot be written as an RFC 5322 message.
    #[error(transparent)]
    Compose(#[from] ComposeError),
}

#[derive(Serialize, Deserialize)]
struct JsonMessage {
    content: JsonContent,
}

#[derive(Serialize, Deserialize)]
struct JsonContent {
    #[serde(default)]
    subject: String,
    #[serde(default)]
    body: String,
    #[serde(default, deserialize_with = "bounded")]
    attachments: Vec<JsonAttachment>,
}

/// The most attachments of a message; the other two parts are the message itself and its text.
const ATTACHMENTS: usize = MIME_PARTS - 2;

/// Keeps at most one attachment more than a message may have; the others are read and dropped.
fn bounded<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<JsonAttachment>, D::Error> {
    struct Bounded;
    impl<'de> Visitor<'de> for Bounded {
        type Value = Vec<JsonAttachment>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a list of attachments")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut found = Vec::new();
            while found.len() <= ATTACHMENTS {
                let Some(attachment) = list.next_element()? else { return Ok(found) };
                found.push(attachment);
            }
            while list.next_element::<IgnoredAny>()?.is_some() {}
            Ok(found)
        }
    }
    deserializer.deserialize_seq(Bounded)
}

#[derive(Serialize, Deserialize)]
struct JsonAttachment {
    #[serde(default)]
    filename: String,
    base91: String,
}

/// The facts about a JSON message that come from the seal and the content's header.
#[derive(Clone)]
pub struct JsonContext<'a> {
    /// The verified author.
    pub from: &'a Address,
    /// The recipient.
    pub to: &'a Address,
    /// When it arrived; the draft's message has no date.
    pub date: Timestamp,
    /// A Message-ID with angle brackets. The same content always gets the same one, so that threads stay together.
    pub message_id: String,
}

/// The RFC 5322 message of a JSON message.
///
/// # Errors
/// [`MailJsonError`]; the sender's node is told that the content is refused.
pub fn from_json(json: &[u8], context: &JsonContext<'_>) -> Result<Vec<u8>, MailJsonError> {
    if json.len() > MESSAGE_BYTES {
        return Err(MailJsonError::TooLarge);
    }
    let JsonMessage { content } = serde_json::from_slice(json).map_err(|_| MailJsonError::Malformed)?;
    if content.attachments.len() > ATTACHMENTS {
        return Err(MailJsonError::TooLarge);
    }
    let attachments = content.attachments.into_iter().map(|attachment| match base91::decode(&attachment.base91) {
        Ok(bytes) => Attachment { name: attachment.filename, media_type: "application/octet-stream".to_owned(), bytes },
        Err(base91::Base91Error) => Attachment {
            name: format!("{}.base91", file_name(&attachment.filename)),
            media_type: "application/octet-stream".to_owned(),
            bytes: attachment.base91.into_bytes(),
        },
    });
    let draft = Draft {
        from: context.from.to_string(),
        to: vec![context.to.to_string()],
        cc: Vec::new(),
        subject: content.subject,
        body: content.body,
        date: context.date,
        message_id: context.message_id.clone(),
        attachments: attachments.collect(),
    };
    let message = compose(&draft)?;
    if message.len() > MESSAGE_BYTES { Err(MailJsonError::TooLarge) } else { Ok(message) }
}

/// The JSON message of an RFC 5322 message: its subject, its first plain text, and everything else as attachments.
///
/// # Errors
/// [`MailJsonError::Malformed`] where the message cannot be written as JSON.
pub fn to_json(message: &[u8]) -> Result<Vec<u8>, MailJsonError> {
    let structure = parse(message);
    let mut content = JsonContent { subject: subject(message), body: String::new(), attachments: Vec::new() };
    let mut has_body = false;
    collect(message, &structure, &mut content, &mut has_body);
    serde_json::to_vec(&JsonMessage { content }).map_err(|_| MailJsonError::Malformed)
}

fn subject(message: &[u8]) -> String {
    let (header, _) = headers::split(message);
    let fields = HeaderBudget::default().fields(header, true);
    fields.iter().find(|field| field.is("subject")).map(|field| readable::of_value(field.value)).unwrap_or_default()
}

/// Goes through the parts in their order; deep structures are bounded by the parser.
fn collect(message: &[u8], structure: &MessageStructure, content: &mut JsonContent, has_body: &mut bool) {
    let mut waiting: Vec<&Structure> = vec![&structure.root];
    while let Some(part) = waiting.pop() {
        if let Inner::Multipart(parts) = &part.inner {
            waiting.extend(parts.iter().rev());
            continue;
        }
        let is_file = part.disposition.as_ref().is_some_and(|disposition| disposition.kind == "attachment");
        if !*has_body && !is_file && part.media_type == "text" && part.subtype == "plain" {
            *has_body = true;
            content.body = readable::of_part(part, message, &mut || true).unwrap_or_default();
        } else if !part.body.is_empty() {
            let (filename, bytes) = file_of(message, part);
            content.attachments.push(JsonAttachment { filename, base91: base91::encode(&bytes) });
        }
    }
}

/// A part's name and its bytes, decoded.
fn file_of(message: &[u8], part: &Structure) -> (String, Vec<u8>) {
    let is_message = matches!(part.inner, Inner::Message(_));
    let name = readable::file_name(part);
    let name = name.unwrap_or_else(|| if is_message { "message.eml".to_owned() } else { "attachment".to_owned() });
    (file_name(&name), readable::bytes_of_part(part, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Onion;
    use crate::mail::outgoing::has_strict_lines;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn convert(json: &Value) -> Result<Vec<u8>, MailJsonError> {
        let address = |byte| format!("alice@{}", Onion::from_public_key([byte; 32])).parse().unwrap();
        let context = JsonContext {
            from: &address(1),
            to: &address(2),
            date: Timestamp::from_secs(1_795_218_052),
            message_id: "<1@x.onion>".into(),
        };
        from_json(&serde_json::to_vec(json).unwrap(), &context)
    }

    #[test]
    fn a_message_goes_there_and_back() {
        let original = json!({"content": {
            "subject": "Gr\u{fc}\u{df}e", "body": "one\r\n\u{e4}\r\n",
            "attachments": [{"filename": "a b.bin", "base91": base91::encode(&[0, 255, 10, 13])}],
        }});
        let message = convert(&original).unwrap();
        assert!(has_strict_lines(&message));
        let back: Value = serde_json::from_slice(&to_json(&message).unwrap()).unwrap();
        assert_eq!(back["content"]["subject"], original["content"]["subject"]);
        assert_eq!(back["content"]["body"].as_str().unwrap().trim_end(), "one\r\n\u{e4}");
        assert_eq!(back["content"]["attachments"], original["content"]["attachments"]);
    }

    #[test]
    fn broken_base91_stays_an_opaque_attachment() {
        let message = convert(&json!({"content": {"attachments": [{"filename": "../x", "base91": "a b"}]}})).unwrap();
        let back: Value = serde_json::from_slice(&to_json(&message).unwrap()).unwrap();
        let attachment = &back["content"]["attachments"][0];
        assert_eq!(attachment["filename"], "x.base91");
        assert_eq!(base91::decode(attachment["base91"].as_str().unwrap()).unwrap(), b"a b");
    }

    #[test]
    fn fields_cannot_be_injected() {
        let message =
            convert(&json!({"content": {"subject": "a\r\nFrom: mallory@x", "body": "\0\r"}, "signature": 1})).unwrap();
        assert_eq!(headers::from_addresses(&message).unwrap().len(), 1);
        assert!(has_strict_lines(&message));
    }

    #[test]
    fn what_is_not_the_form_is_refused() {
        for bad in [json!({}), json!([]), json!({"content": {"subject": 1}}), json!({"content": {"attachments": [{}]}})]
        {
            assert_eq!(convert(&bad), Err(MailJsonError::Malformed), "{bad}");
        }
    }

    #[test]
    fn a_message_has_so_many_attachments_and_no_more() {
        let many =
            |count| convert(&json!({"content": {"attachments": vec![json!({"base91": base91::encode(b"x")}); count]}}));
        let message = many(ATTACHMENTS).unwrap();
        let back: Value = serde_json::from_slice(&to_json(&message).unwrap()).unwrap();
        assert_eq!(back["content"]["attachments"].as_array().unwrap().len(), ATTACHMENTS, "none is dropped in silence");
        for count in [ATTACHMENTS + 1, ATTACHMENTS + 2, 3 * ATTACHMENTS] {
            assert_eq!(many(count), Err(MailJsonError::TooLarge), "{count}");
        }
    }

    #[test]
    fn what_is_read_is_as_large_as_a_message_and_no_larger() {
        let padded = |len: usize| [br#"{"content": {}}"#.to_vec(), vec![b' '; len - 15]].concat();
        let convert = |json: &[u8]| {
            let address: Address = format!("alice@{}", Onion::from_public_key([1; 32])).parse().unwrap();
            let (from, date) = (&address, Timestamp::from_secs(0));
            from_json(json, &JsonContext { from, to: from, date, message_id: "<1@x.onion>".into() })
        };
        assert!(convert(&padded(MESSAGE_BYTES)).is_ok());
        assert_eq!(convert(&padded(MESSAGE_BYTES + 1)), Err(MailJsonError::TooLarge));
    }

    #[test]
    fn a_message_that_would_be_too_large_is_refused() {
        let empty = convert(&json!({"content": {"body": "x"}})).unwrap().len();
        // Lines of 60 bytes with their line ends, in JSON and in the message; the builder adds the last line end.
        let text = |len: usize| {
            format!("{}{}", ("x".repeat(58) + "\n").repeat((len - 1) / 60), "x".repeat((len - 1) % 60 + 1))
        };
        let most = MESSAGE_BYTES - empty + 1;
        assert_eq!(convert(&json!({"content": {"body": text(most)}})).map(|message| message.len()), Ok(MESSAGE_BYTES));
        assert_eq!(convert(&json!({"content": {"body": text(most + 1)}})), Err(MailJsonError::TooLarge));
    }

    #[test]
    fn text_is_decoded_and_html_attached() {
        let message = b"Subject: =?iso-8859-1?q?=E4?=\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n\
            --b\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=E4\r\n\
            --b\r\nContent-Type: text/html\r\n\r\n<p>\r\n--b--\r\n";
        let back: Value = serde_json::from_slice(&to_json(message).unwrap()).unwrap();
        assert_eq!(back["content"]["subject"], "\u{e4}");
        assert_eq!(back["content"]["body"].as_str().unwrap().trim_end(), "\u{e4}");
        assert_eq!(back["content"]["attachments"].as_array().unwrap().len(), 1);
    }

    proptest! {
        #[test]
        fn any_message_becomes_json(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(to_json(&bytes).is_ok());
        }
    }
}
