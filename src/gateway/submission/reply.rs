//! What a failure means to a mail program: a reply code, an enhanced code (RFC 3463) and a sentence.
//!
//! 5xx says that the same message will fail again, 4xx that it may succeed later. An unknown failure is temporary.

use crate::engine::{RequestError, Unaddressable};
use crate::mail::outgoing::OutgoingError;

use super::receiver::DataProblem;

/// The reply to a request that failed.
pub(super) fn of_request(error: &RequestError) -> String {
    let code = match error {
        RequestError::UnknownRecipient { why: Unaddressable::Unknown, .. } => "550 5.1.1",
        // The mailbox exists, but its owner does not accept this mail (RFC 3463 §3.8).
        RequestError::UnknownRecipient { why: Unaddressable::Blocked | Unaddressable::Waiting, .. }
        | RequestError::NotIntroduced { .. }
        | RequestError::Revoked => "550 5.7.1",
        RequestError::UnknownRecipient { why: Unaddressable::Revoked, .. } => "550 5.1.6",
        RequestError::NoRecipient => "554 5.5.1",
        RequestError::Limit(_) | RequestError::Disk => "452 4.3.1",
        RequestError::Stopping => "451 4.3.2",
        _ => "451 4.3.0",
    };
    match error {
        // A reply is in ASCII, and a name with gaps would help nobody.
        RequestError::UnknownRecipient { recipient, why, meant: Some(meant) } if !meant.is_ascii() => {
            sentence(code, &why.sentence(recipient, None))
        }
        error => sentence(code, &error.to_string()),
    }
}

/// The reply to a message that may not be sent.
pub(super) fn of_outgoing(error: &OutgoingError) -> String {
    let code = match error {
        OutgoingError::NotYours { .. } => "550 5.7.1",
        OutgoingError::UnknownRecipient { .. } => "550 5.1.1",
        _ => "550 5.6.0",
    };
    sentence(code, &error.to_string())
}

/// The reply to a message that could not be read.
pub(super) fn of_data(problem: DataProblem) -> String {
    match problem {
        DataProblem::Crowded => "452 4.3.1 too many messages are arriving at once; try again".to_owned(),
        DataProblem::Nul(line) => {
            format!("550 5.6.0 line {line} of the message has a NUL; attach the text as a file, encoded in base64")
        }
        DataProblem::LoneDot(line) => format!(
            "550 5.6.0 line {line} of the message is a dot beside a lone carriage return or line feed, which could be \
             taken for the end of the message; attach the text as a file, encoded in base64"
        ),
        DataProblem::LongLine => "550 5.6.0 the message has a line of more than 65535 bytes".to_owned(),
        DataProblem::TooLarge => {
            "552 5.3.4 the message is larger than this daemon sends; EHLO says how much it takes".to_owned()
        }
    }
}

/// A reply line: the code and a text of printable ASCII, within the 512 bytes of RFC 5321 §4.5.3.1.5.
pub(super) fn sentence(code: &str, text: &str) -> String {
    let printable = text.chars().map(|c| if matches!(c, ' '..='~') { c } else { '?' });
    format!("{code} {}", printable.take(480).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_one_printable_line() {
        let hostile = format!("b\r\n250 ok\u{e4}{}", "x".repeat(1000));
        let unknown =
            |recipient, meant| RequestError::UnknownRecipient { recipient, why: Unaddressable::Unknown, meant };
        let reply = of_request(&unknown(hostile, None));
        assert!(reply.starts_with("550 5.1.1 b??250 ok?x"), "{reply}");
        assert!(reply.len() < 510 && reply.bytes().all(|byte| matches!(byte, b' '..=b'~')));
        let meant = of_request(&unknown("boob".to_owned(), Some("bob".to_owned())));
        assert!(meant.starts_with("550 5.1.1 boob is not in the address book; did you mean bob? "), "{meant}");
        let umlaut = of_request(&unknown("zoe".to_owned(), Some("Zo\u{eb}".to_owned())));
        assert!(umlaut.starts_with("550 5.1.1 zoe is not in the address book; write to"), "{umlaut}");
    }

    #[test]
    fn what_was_revoked_is_refused_for_good() {
        assert!(of_request(&RequestError::Revoked).starts_with("550 5.7.1 you revoked this identity"));
        let why = Unaddressable::Revoked;
        let theirs = of_request(&RequestError::UnknownRecipient { recipient: "bob".to_owned(), why, meant: None });
        assert!(theirs.starts_with("550 5.1.6 bob has revoked this address or its key"), "{theirs}");
    }

    #[test]
    fn what_may_pass_later_is_temporary() {
        assert!(of_request(&RequestError::Disk).starts_with("452"));
        assert!(of_request(&RequestError::Stopping).starts_with("451"));
        assert!(of_request(&RequestError::Limit("queue")).starts_with("452"));
        assert!(of_request(&RequestError::NoSuchFolder).starts_with("451"));
    }
}
