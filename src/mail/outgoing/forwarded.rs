//! The header of a message inside a message: a message that is forwarded, or one that a report is about.

use std::collections::BTreeSet;

use crate::base::Onion;
use crate::base::limits::HEADER_BYTES;

use super::super::headers::{self, Field};
use super::super::names;
use super::fields::{push, utc};
use super::ids;
use super::people;
use super::{Cleaner, OutgoingError};

/// The fields that the header of a message inside a message keeps besides those of its content, in this order.
const ALLOWED: [&str; 6] = ["Date", "Message-ID", "From", "To", "Cc", "Subject"];

/// The fields that a report of delivery or of reading keeps (RFC 3464, RFC 8098).
const REPORTED: [&str; 8] = [
    "Final-Recipient",
    "Original-Message-ID",
    "Action",
    "Status",
    "Disposition",
    "Arrival-Date",
    "Last-Attempt-Date",
    "Will-Retry-Until",
];

/// Replaces the address of somebody whom the receiver of the report does not know.
const UNDISCLOSED: &str = "undisclosed-recipients:;";

impl Cleaner<'_> {
    /// The header of a forwarded message, without the fields of its content.
    ///
    /// # Errors
    /// With addresses in the place of petnames, the header would be longer than the part of it that is read.
    pub(super) fn forwarded(&self, header: &[u8], out: &mut Vec<u8>) -> Result<(), OutgoingError> {
        let start = out.len();
        // Received mail has the user's names in it.
        let header = &*names::as_signed(header);
        let named = |name: &str| headers::fields(header).find(|field| field.is(name));
        for name in ALLOWED {
            let Some(field) = named(name) else { continue };
            let value = match name {
                "Date" => utc(field.value),
                "Message-ID" => self.forwarded_id(&field, named("From").as_ref()),
                "Subject" => None,
                _ => self.forwarded_people(&field),
            };
            match value {
                Some(value) => push(out, name, value.as_bytes()),
                None if name == "Subject" => push(out, name, field.value.trim_ascii()),
                None => {}
            }
            if out.len().saturating_sub(start) > HEADER_BYTES {
                return Err(OutgoingError::Parts);
            }
        }
        Ok(())
    }

    /// An id at the author's onion, at an onion that the header of the whole message names, or at the onion of the
    /// forwarded message's own author.
    fn forwarded_id(&self, field: &Field<'_>, from: Option<&Field<'_>>) -> Option<String> {
        let authors: BTreeSet<_> = from.into_iter().flat_map(|from| people::onions_in(from.value)).collect();
        let is_known = |onion: &Onion| self.known.contains(onion) || authors.contains(onion);
        let is_own =
            from.is_some_and(|from| people::named_in(from.value).any(|one| people::is_own(&one, self.people.own)));
        let own = self.people.own.onion();
        match ids::divided(&headers::unfold(field.value)) {
            Some((left, _)) if is_own => Some(format!("<{left}@{own}>")),
            _ => self.own_hosts.disclosed(field.value, own, is_known).into_iter().next(),
        }
    }

    fn forwarded_people(&self, field: &Field<'_>) -> Option<String> {
        let is_author = field.is("from");
        let shown = self.people.disclosed(field.value, &self.known, is_author);
        match (shown.is_empty(), is_author) {
            (false, _) => Some(shown.join(",\r\n ")),
            (true, true) => None,
            (true, false) => Some(UNDISCLOSED.to_owned()),
        }
    }

    /// The blocks of fields of a report.
    pub(super) fn report(&self, body: &[u8]) -> Vec<u8> {
        let (mut blocks, mut rest) = (Vec::new(), body);
        while !rest.is_empty() {
            let (block, next) = headers::split(rest);
            let mut kept = Vec::new();
            for name in REPORTED {
                for field in headers::fields(block).filter(|field| field.is(name)) {
                    if let Some(value) = self.reported(name, &field) {
                        push(&mut kept, name, value.as_bytes());
                    }
                }
            }
            if !kept.is_empty() {
                blocks.push(kept);
            }
            rest = next;
        }
        blocks.join(b"\r\n".as_slice())
    }

    fn reported(&self, name: &str, field: &Field<'_>) -> Option<String> {
        match name {
            "Final-Recipient" => {
                let value = headers::unfold(field.value);
                let (_, address) = value.split_at_checked(value.iter().position(|&byte| byte == b';')? + 1)?;
                let shown = self.people.disclosed(address, &self.known, false);
                shown.first().map(|address| format!("rfc822; {address}"))
            }
            "Original-Message-ID" => {
                let is_known = |onion: &Onion| self.known.contains(onion);
                self.own_hosts.disclosed(field.value, self.people.own.onion(), is_known).into_iter().next()
            }
            "Action" | "Status" | "Disposition" => {
                let value = String::from_utf8(headers::unfold(field.value)).ok()?;
                // A comment may name the program, so it is cut off.
                let value = value.split('(').next().unwrap_or_default().trim();
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-./;, ".contains(&byte);
                (!value.is_empty() && value.bytes().all(plain)).then(|| value.to_owned())
            }
            _ => utc(field.value),
        }
    }
}
