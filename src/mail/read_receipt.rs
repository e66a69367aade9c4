//! Receipts of reading that a mail program writes (RFC 8098).

use super::headers;
use super::structure::{self, Inner};

/// The body of such a message without the field that names the reader's machine and program (`Reporting-UA`, which is
/// optional); `None` where there is none.
pub(super) fn without_program(message: &[u8]) -> Option<Vec<u8>> {
    let (header, _) = headers::split(message);
    let is_receipt = |field: &headers::Field<'_>| {
        field.is("content-type") && field.value.trim_ascii_start().to_ascii_lowercase().starts_with(b"multipart/report")
    };
    if !headers::fields(header).any(|field| is_receipt(&field)) {
        return None;
    }
    let Inner::Multipart(parts) = structure::parse(message).root.inner else { return None };
    let (mut kept, mut done, mut changed) = (Vec::with_capacity(message.len()), header.len(), false);
    for part in parts {
        if (part.media_type.as_str(), part.subtype.as_str()) != ("message", "disposition-notification") {
            continue;
        }
        let (start, fields) = (usize::try_from(part.body.start).ok()?, part.body.of(message));
        kept.extend_from_slice(message.get(done..start)?);
        let (first, rest) = headers::split(fields);
        for field in headers::fields(first) {
            if field.is("reporting-ua") {
                changed = true;
            } else {
                kept.extend_from_slice(field.raw);
            }
        }
        kept.extend_from_slice(if first.ends_with(b"\r\n\r\n") { b"\r\n" } else { b"" });
        kept.extend_from_slice(rest);
        done = start + fields.len();
    }
    kept.extend_from_slice(message.get(done..)?);
    changed.then_some(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str =
        "From: a@b\r\nContent-Type: multipart/report; report-type=disposition-notification;\r\n boundary=b\r\n\r\n";

    fn receipt(program: &str) -> String {
        format!(
            "--b\r\nContent-Type: text/plain\r\n\r\nReporting-UA: in the text\r\n\
             --b\r\nContent-Type: message/disposition-notification\r\n\r\n\
             {program}Final-Recipient: rfc822;a@b\r\nDisposition: manual-action/MDN-sent-manually; displayed\r\n\r\n\
             --b--\r\n"
        )
    }

    #[test]
    fn a_receipt_of_reading_does_not_name_machine_and_program() {
        let named = receipt("reporting-ua: laptop.lan;\r\n Mozilla/5.0 (X11; Linux x86_64)\r\n");
        let without = without_program(format!("{HEAD}{named}").as_bytes()).unwrap();
        assert_eq!(String::from_utf8(without).unwrap(), receipt(""));
    }

    #[test]
    fn everything_else_stays() {
        assert_eq!(without_program(format!("{HEAD}{}", receipt("")).as_bytes()), None);
        let mixed = HEAD.replace("multipart/report", "multipart/mixed");
        assert_eq!(without_program(format!("{mixed}{}", receipt("Reporting-UA: x\r\n")).as_bytes()), None);
        assert_eq!(without_program(b"From: a@b\r\n\r\nReporting-UA: x\r\n"), None);
    }
}
