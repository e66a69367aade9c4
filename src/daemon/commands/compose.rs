//! Messages that the command line writes, and header lines that it shows.

use data_encoding::BASE64;

use crate::base::Timestamp;
use crate::control::{Code, Draft, Failure};
use crate::daemon::hosts::account::LocalAccount;
use crate::engine::api::{DeliveryOptions, Submission};
use crate::engine::{Book, RequestError, Unaddressable};
use crate::mail::Address;
use crate::mail::address::PETNAME_DOMAIN;
use crate::mail::compose::{self, Attachment};
use crate::mail::{headers, outgoing, readable};
use crate::store::OsRng;

/// The address that a text means: that of a contact, or the user's own.
pub(in crate::daemon) fn resolve(book: &Book, own: &Address, text: &str) -> Result<Address, Unaddressable> {
    let contact = book.resolve(text).map(|(_, address)| address);
    contact.or_else(|why| outgoing::is_own(text, own).then(|| own.clone()).ok_or(why))
}

/// The submission of a draft to these petnames or addresses, and to those of its copies.
pub(in crate::daemon) fn submission(
    account: &LocalAccount,
    to: Vec<String>,
    draft: Draft,
    now: Timestamp,
) -> Result<Submission, Failure> {
    let usage = |error: &dyn std::fmt::Display| Failure::new(Code::Usage, error.to_string());
    let own = &account.address;
    let snapshot = account.state();
    let resolve = |name: &str| resolve(&snapshot.book, own, name);
    let recipients: Vec<String> = to.iter().chain(&draft.cc).chain(&draft.bcc).cloned().collect();
    for recipient in &recipients {
        let unknown = |why| RequestError::unknown_recipient(&snapshot.book, recipient, why);
        resolve(recipient).map_err(unknown)?;
    }
    let resolve = |name: &str| resolve(name).ok();
    let cc = draft.cc.iter().map(|name| header_address(name)).collect();
    let attachments = draft
        .attachments
        .into_iter()
        .map(|file| {
            let bytes = BASE64.decode(file.base64.as_bytes()).map_err(|error| usage(&error))?;
            Ok(Attachment { name: file.name, media_type: "application/octet-stream".into(), bytes })
        })
        .collect::<Result<Vec<_>, Failure>>()?;
    let important = draft.important;
    let composed = compose::compose(&compose::Draft {
        from: own.to_string(),
        to: to.iter().map(|name| header_address(name)).collect(),
        cc,
        subject: draft.subject,
        body: draft.text,
        date: now,
        message_id: outgoing::fresh_message_id(own.onion(), &mut OsRng),
        attachments,
    })
    .map_err(|error| usage(&error))?;
    let message = if important { [b"Importance: high\r\n", composed.as_slice()].concat() } else { composed };
    let petname_of = |address: &Address| snapshot.book.petname_of(address).map(str::to_owned);
    let prepared = outgoing::prepare(&message, own, now, &resolve, &petname_of, &mut OsRng);
    let prepared = prepared.map_err(|error| usage(&error))?;
    Ok(Submission {
        recipients,
        visible: prepared.visible,
        message: prepared.message.into(),
        asked: DeliveryOptions::default(),
    })
}

/// A name as it can stand in a header until it is replaced by the address.
fn header_address(name: &str) -> String {
    if name.contains('@') { name.to_owned() } else { format!("{name}@{PETNAME_DOMAIN}") }
}

/// The decoded value of a header field, on one line, and without characters that control a terminal or change the
/// direction of the text beside it; empty where the field is missing.
pub(in crate::daemon) fn header_text(header: &[u8], name: &str) -> String {
    let field = headers::fields(header).find(|field| field.is(name));
    let value = field.map(|field| readable::of_value(field.value));
    value.unwrap_or_default().chars().map(|c| if controls_display(c) { ' ' } else { c }).collect()
}

/// Control characters, line and paragraph separators, and the embeddings, overrides and isolates of UAX #9: an override
/// would turn around whatever follows on the line.
fn controls_display(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_cannot_control_the_terminal() {
        let header = b"Subject: =?utf-8?q?a=1B[2Jb?=\r\nFrom: x\r\n\r\n";
        assert_eq!(header_text(header, "subject"), "a [2Jb");
        assert_eq!(header_text(header, "to"), "");
        let turned = "Subject: a\u{202e}b\u{2066}c\u{2028}d \u{5d0}\r\n\r\n";
        assert_eq!(header_text(turned.as_bytes(), "subject"), "a b c d \u{5d0}");
    }
}
