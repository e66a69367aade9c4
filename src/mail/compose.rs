//! Composing a message: for `runepeer send`, the demo, and mail that arrives as JSON.

use std::str::FromStr;

use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{Attachment as Part, Body, Mailbox, Message, MultiPart, SinglePart};
use sha2::{Digest, Sha256};

use crate::base::Timestamp;
use crate::base::limits::{MIME_PARTS, RECIPIENTS};

/// A file that goes with a message.
#[derive(Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Its name, without folders.
    pub name: String,
    /// Its media type; a text that is not a media type becomes `application/octet-stream`.
    pub media_type: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// The fields and the text of a message that is to be composed.
#[derive(Clone, PartialEq, Eq)]
pub struct Draft {
    /// The author's address.
    pub from: String,
    /// To: addresses, or petnames at `rune.internal` that [`super::outgoing::prepare`] replaces.
    pub to: Vec<String>,
    /// Cc, likewise.
    pub cc: Vec<String>,
    /// The subject; control characters become spaces.
    pub subject: String,
    /// The text, with any line ends.
    pub body: String,
    /// The date.
    pub date: Timestamp,
    /// The Message-ID with its angle brackets, as [`super::outgoing::fresh_message_id`] makes it.
    pub message_id: String,
    /// The files.
    pub attachments: Vec<Attachment>,
}

/// Why a draft cannot become a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ComposeError {
    /// The text is not an address.
    #[error("{0} is not an address")]
    Address(String),
    /// There is no recipient, or there are too many.
    #[error("a message has between 1 and {RECIPIENTS} recipients")]
    Recipients,
    /// Too many attachments.
    #[error("a message has at most {MIME_PARTS} parts")]
    Parts,
    /// A field cannot be written.
    #[error("the message cannot be written")]
    Form,
}

/// The message of a draft, with CRLF line ends.
///
/// # Errors
/// [`ComposeError`]: a wrong address, a wrong number of recipients or files, or a wrong Message-ID.
pub fn compose(draft: &Draft) -> Result<Vec<u8>, ComposeError> {
    if !(1..=RECIPIENTS).contains(&(draft.to.len() + draft.cc.len())) {
        return Err(ComposeError::Recipients);
    }
    if draft.attachments.len() + 2 > MIME_PARTS {
        return Err(ComposeError::Parts);
    }
    if !draft.message_id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(ComposeError::Form);
    }
    // These two fields are written as they are: the library would read a clock, and would encode a long word.
    let mut builder = Message::builder()
        .raw_header(raw("Date", draft.date.rfc5322()))
        .from(mailbox(&draft.from)?)
        .subject(one_line(&draft.subject))
        .raw_header(raw("Message-ID", draft.message_id.clone()));
    for to in &draft.to {
        builder = builder.to(mailbox(to)?);
    }
    for cc in &draft.cc {
        builder = builder.cc(mailbox(cc)?);
    }
    let text = SinglePart::plain(crlf(&draft.body));
    let message = if draft.attachments.is_empty() {
        builder.singlepart(text)
    } else {
        // The boundary is not random, so that the same draft gives the same bytes.
        let boundary = data_encoding::HEXLOWER.encode(&Sha256::digest(draft.message_id.as_bytes()));
        let mut parts = MultiPart::mixed().boundary(boundary).singlepart(text);
        for attachment in &draft.attachments {
            parts = parts.singlepart(part(attachment)?);
        }
        builder.multipart(parts)
    };
    message.map(|message| message.formatted()).map_err(|_| ComposeError::Form)
}

/// A name for a file without folders, control characters, and characters that turn the reading direction (which can
/// hide an extension).
pub fn file_name(name: &str) -> String {
    let name = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let name: String = one_line(name).chars().take(200).collect();
    if name.trim_matches(['.', ' ']).is_empty() { "attachment".to_owned() } else { name }
}

/// Text without line ends, controls and characters that turn the reading direction.
pub fn one_line(text: &str) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let turns = |c: &char| matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().filter(|c| !turns(c)).map(clean).collect()
}

fn raw(name: &'static str, value: String) -> HeaderValue {
    HeaderValue::dangerous_new_pre_encoded(HeaderName::new_from_ascii_str(name), value.clone(), value)
}

fn mailbox(address: &str) -> Result<Mailbox, ComposeError> {
    let parsed = lettre::Address::from_str(address).map_err(|_| ComposeError::Address(address.to_owned()))?;
    Ok(Mailbox::new(None, parsed))
}

/// The text with CRLF, without NUL, and without the last line end (the builder adds one).
fn crlf(text: &str) -> String {
    let lines = text.replace("\r\n", "\n").replace('\r', "\n").replace('\0', "");
    lines.strip_suffix('\n').unwrap_or(&lines).replace('\n', "\r\n")
}

fn part(attachment: &Attachment) -> Result<SinglePart, ComposeError> {
    let octets = || ContentType::parse("application/octet-stream");
    let media_type = match attachment.media_type.split_once('/') {
        // A composite type must not be encoded (RFC 2046 §5), but files always are encoded.
        Some(("multipart" | "message", _)) | None => octets(),
        Some(_) => ContentType::parse(&attachment.media_type).or_else(|_| octets()),
    };
    let media_type = media_type.map_err(|_| ComposeError::Form)?;
    let body = Body::new_with_encoding(attachment.bytes.clone(), ContentTransferEncoding::Base64);
    let body = body.map_err(|_| ComposeError::Form)?;
    Ok(Part::new(file_name(&attachment.name)).body(body, media_type))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Onion;
    use crate::mail::headers::from_addresses;
    use crate::mail::outgoing::has_strict_lines;
    use crate::mail::structure::{Inner, Section, parse};

    fn draft() -> Draft {
        let onion = Onion::from_public_key([1; 32]);
        Draft {
            from: format!("helpdesk/alice@{onion}"),
            to: vec!["bob@rune.internal".into()],
            cc: Vec::new(),
            subject: "Gr\u{fc}\u{df}e\r\nBcc: x@y".into(),
            body: "one\ntwo\r\nthree\rfour\n".into(),
            date: Timestamp::from_secs(1_795_218_052),
            message_id: format!("<0123456789abcdef0123456789abcdef@{onion}>"),
            attachments: Vec::new(),
        }
    }

    #[test]
    fn a_text_is_one_part() {
        let message = compose(&draft()).unwrap();
        let text = String::from_utf8(message.clone()).unwrap();
        assert!(has_strict_lines(&message), "{text}");
        assert!(text.contains(&format!("Message-ID: {}\r\n", draft().message_id)), "{text}");
        assert!(text.contains("Date: Fri, 20 Nov 2026 23:40:52 +0000\r\n"), "{text}");
        assert!(text.ends_with("\r\n\r\none\r\ntwo\r\nthree\r\nfour\r\n"), "{text}");
        assert!(!text.contains("\r\nBcc:"), "{text}");
        assert_eq!(from_addresses(&message), Ok(vec![draft().from]));
        assert_eq!(parse(&message).envelope.to.len(), 1);
    }

    #[test]
    fn attachments_keep_their_bytes() {
        let bytes: Vec<u8> = (0..=255).cycle().take(70_000).collect();
        let file = |name: &str, media_type: &str| Attachment {
            name: name.into(),
            media_type: media_type.into(),
            bytes: bytes.clone(),
        };
        let with = Draft {
            attachments: vec![
                file("../a\u{202e}\u{e4}.png", "image/png"),
                file("..", "message/rfc822"),
                file("x", "no type"),
            ],
            ..draft()
        };
        let message = compose(&with).unwrap();
        assert!(has_strict_lines(&message));
        assert_eq!(message, compose(&with).unwrap());
        let parsed = parse(&message);
        let Inner::Multipart(parts) = &parsed.root.inner else { panic!("not multipart") };
        let types: Vec<_> = parts.iter().map(|part| part.subtype.as_str()).collect();
        assert_eq!(types, ["plain", "png", "octet-stream", "octet-stream"]);
        let body = parsed.part(&[2], Section::Body).unwrap().of(&message);
        let body: Vec<u8> = body.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
        assert_eq!(data_encoding::BASE64.decode(&body).unwrap(), bytes);
        let disposition = mailparse::parse_mail(parsed.part(&[2], Section::Mime).unwrap().of(&message)).unwrap();
        assert_eq!(disposition.get_content_disposition().params.get("filename").unwrap(), "a\u{e4}.png");
    }

    #[test]
    fn wrong_drafts_are_refused() {
        assert_eq!(compose(&Draft { to: vec!["bob".into()], ..draft() }), Err(ComposeError::Address("bob".into())));
        assert_eq!(compose(&Draft { to: vec![], ..draft() }), Err(ComposeError::Recipients));
        assert_eq!(compose(&Draft { message_id: "<a@b>\r\nX: y".into(), ..draft() }), Err(ComposeError::Form));
        assert!(compose(&Draft { to: vec!["a@b\r\nX: y".into()], ..draft() }).is_err());
    }

    #[test]
    fn a_message_has_so_many_parts_and_no_more() {
        let file = |number: usize| Attachment {
            name: format!("{number}.txt"),
            media_type: "text/plain".into(),
            bytes: vec![b'x'],
        };
        let with = |count: usize| compose(&Draft { attachments: (0..count).map(file).collect(), ..draft() });
        let message = with(MIME_PARTS - 2).unwrap();
        let Inner::Multipart(parts) = parse(&message).root.inner else { panic!("no parts") };
        assert_eq!(parts.len(), MIME_PARTS - 1, "the text and all files");
        assert_eq!(with(MIME_PARTS - 1), Err(ComposeError::Parts));
    }
}
