//! Mailbox names in modified UTF-7, both ways (RFC 3501 §5.1.3). A name is read once, and its shifted parts are copied
//! twice.

use crate::base::meter;

/// The name as IMAP4rev1 writes it.
pub(super) fn encode(name: &str) -> Vec<u8> {
    let mut text = Vec::with_capacity(name.len());
    let mut shifted: Vec<u8> = Vec::new();
    for c in name.chars() {
        if matches!(c, ' '..='~') {
            close(&mut text, &mut shifted);
            text.push(u8::try_from(c).unwrap_or(b'?'));
            if c == '&' {
                text.push(b'-');
            }
        } else {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                shifted.extend_from_slice(&unit.to_be_bytes());
            }
        }
    }
    close(&mut text, &mut shifted);
    text
}

fn close(text: &mut Vec<u8>, shifted: &mut Vec<u8>) {
    if shifted.is_empty() {
        return;
    }
    text.push(b'&');
    let base64 = data_encoding::BASE64_NOPAD.encode(shifted);
    text.extend(base64.bytes().map(|byte| if byte == b'/' { b',' } else { byte }));
    text.push(b'-');
    shifted.clear();
}

/// The name that is encoded here; `None` where the encoding is wrong. Names in plain UTF-8, which some programs send,
/// are accepted as they are.
pub(super) fn decode(text: &[u8]) -> Option<String> {
    if !text.is_ascii() {
        return std::str::from_utf8(text).ok().map(str::to_owned);
    }
    meter::steps(4 * text.len());
    let mut name = String::with_capacity(text.len());
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte != b'&' {
            name.push(char::from(byte));
            continue;
        }
        let mut shifted = Vec::new();
        loop {
            match bytes.next()? {
                b'-' => break,
                b'/' => return None,
                b',' => shifted.push(b'/'),
                other => shifted.push(other),
            }
        }
        if shifted.is_empty() {
            name.push('&');
            continue;
        }
        let decoded = data_encoding::BASE64_NOPAD.decode(&shifted).ok()?;
        let (pairs, rest) = decoded.as_chunks::<2>();
        if !rest.is_empty() {
            return None;
        }
        let units: Vec<u16> = pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect();
        name.push_str(&String::from_utf16(&units).ok()?);
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_examples_of_the_rfc() {
        assert_eq!(encode("~peter/mail/台北/日本語"), b"~peter/mail/&U,BTFw-/&ZeVnLIqe-");
        assert_eq!(decode(b"~peter/mail/&U,BTFw-/&ZeVnLIqe-").unwrap(), "~peter/mail/台北/日本語");
        assert_eq!(encode("Entwürfe & Söhne"), b"Entw&APw-rfe &- S&APY-hne");
        assert_eq!(decode(b"&2D3eAA-").unwrap(), "😀");
    }

    #[test]
    fn what_is_broken_is_refused() {
        for text in [&b"a&"[..], b"a&b", b"&A-", b"&2D0-", b"&AAA/-", b"\xff\xfe"] {
            assert_eq!(decode(text), None, "{text:?}");
        }
        assert_eq!(decode("ü".as_bytes()).unwrap(), "ü");
    }

    proptest! {
        #[test]
        fn every_name_comes_back(name in "\\PC{0,40}") {
            let text = encode(&name);
            prop_assert!(text.iter().all(|byte| (b' '..=b'~').contains(byte)));
            prop_assert_eq!(decode(&text), Some(name));
        }

        #[test]
        fn nothing_makes_it_panic(text in proptest::collection::vec(any::<u8>(), 0..40)) {
            decode(&text);
        }
    }
}
