//! Messages in INBOX by which a node tells its own user something about people: that somebody waits for a decision, and that a
//! contact's changed key or address was refused.
//!
//! They never leave the node. All text in them is ours, a petname or an address; no peer chooses a byte of a header.

use std::fmt::Write as _;

use crate::base::ids::Fingerprint;
use crate::base::{ContentId, Timestamp};

use super::Address;
use super::dsn::{PLAIN, head};

/// What waits for a decision of the user.
#[derive(Clone, Copy)]
pub enum Waiting<'a> {
    /// A stranger at this address asks to become a contact.
    Stranger(&'a Address),
    /// The contact with this petname asks whether it may introduce us.
    Ask(&'a str),
    /// The contact with this petname has a message for us and so many others.
    Message(&'a str, u8),
    /// The contact with this petname introduces somebody at this address.
    Offer(&'a str, &'a Address),
}

/// A notice in INBOX: somebody waits for a decision of the user, and nobody waited before.
pub fn first_request(own: &Address, waiting: Waiting<'_>, id: ContentId, now: Timestamp) -> Vec<u8> {
    let mut text = begun(own, "Somebody waits for your decision", id, now);
    let _ = match waiting {
        Waiting::Stranger(address) => write!(
            text,
            "Somebody who has no invitation with a secret from you asks to become your contact:\r\n\r\n{address}\r\n\r\n\
             Nothing proves who it is.\r\n"
        ),
        Waiting::Ask(petname) => write!(text, "Your contact {petname} would like to introduce you to somebody.\r\n"),
        Waiting::Message(petname, 1) => {
            write!(text, "Your contact {petname} has a message that is for you and one other person.\r\n")
        }
        Waiting::Message(petname, others) => {
            write!(text, "Your contact {petname} has a message that is for you and {others} other people.\r\n")
        }
        Waiting::Offer(petname, address) => {
            write!(text, "Your contact {petname} introduces somebody to you:\r\n\r\n{address}\r\n\r\n")
        }
    };
    text.push_str(
        "The folder Requests has a message about it, which says more. To accept, move that message to INBOX. To reject, move it\r\n\
         to Junk. Or use the command line: runepeer request list shows everything that waits, and runepeer request accept and\r\n\
         runepeer request reject decide.\r\n\r\n\
         What comes while this waits, comes without another message here. So look into Requests now and then.\r\n",
    );
    text.into_bytes()
}

/// What a contact was said to have now, and was refused.
#[derive(Clone, Copy)]
pub enum Changed<'a> {
    /// Another key, for the address that is known.
    Key {
        /// The key that is known.
        known: &'a Fingerprint,
        /// The one that was shown.
        shown: &'a Fingerprint,
    },
    /// Another address, for the key that is known.
    Address {
        /// The one that was shown.
        shown: &'a Address,
    },
}

/// A notice in INBOX: another key for a contact's address was refused, or another address for its key.
pub fn change_refused(
    own: &Address,
    contact: (&str, &Address),
    changed: Changed<'_>,
    id: ContentId,
    now: Timestamp,
) -> Vec<u8> {
    let (petname, address) = contact;
    let subject = match changed {
        Changed::Key { .. } => "Another key for a contact was refused",
        Changed::Address { .. } => "Another address for a contact was refused",
    };
    let mut text = begun(own, subject, id, now);
    let _ = match changed {
        Changed::Key { known, shown } => write!(
            text,
            "It was shown another key for the address of your contact {petname}, and refused it:\r\n\r\n\
             address:   {address}\r\n\
             known key: {known}\r\n\
             other key: {shown}\r\n\r\n\
             Whoever shows it has the secret key of that address, but not the key that you know. It may be {petname}, who lost\r\n\
             the key, or somebody who took a copy of a part of their data.\r\n"
        ),
        Changed::Address { shown } => write!(
            text,
            "It was shown another address for the key of your contact {petname}, and refused it:\r\n\r\n\
             known address: {address}\r\n\
             other address: {shown}\r\n\r\n\
             Whoever shows it has the secret key of {petname}, but not that of the address that you know. It may be {petname}, who\r\n\
             lost the address, or somebody who took a copy of a part of their data.\r\n"
        ),
    };
    let _ = write!(
        text,
        "Nothing has changed in your address book, and your mail goes where it went before.\r\n\r\n\
         Ask {petname} in person or by telephone whether it was they. If so, remove them (runepeer contact rm {petname}), and add\r\n\
         them again with a new invitation that they give you there (runepeer contact add). Then compare the number of both sides:\r\n\
         runepeer contact verify {petname}\r\n\
         If it was not they, tell them that somebody else has one of their keys.\r\n\r\n\
         You are told this once a day at most for each contact, however often it is tried.\r\n"
    );
    text.into_bytes()
}

fn begun(own: &Address, subject: &str, id: ContentId, now: Timestamp) -> String {
    let daemon = format!("Your own node <mailer-daemon@{}>", own.onion());
    let mut text = head(&daemon, own, subject, id, now);
    let _ = write!(text, "Auto-Submitted: auto-generated\r\n{PLAIN}\r\nThis is your own node. ");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Onion;
    use crate::mail::{headers, strict};

    fn address(name: &str, key: u8) -> Address {
        format!("{name}@{}", Onion::from_public_key([key; 32])).parse().unwrap()
    }

    #[test]
    fn each_notice_is_a_message_of_our_own_that_names_whom_it_is_about_and_what_to_do() {
        let (own, other) = (address("alice", 1), address("bob", 2));
        let (id, now) = (ContentId::from_bytes([7; 16]), Timestamp::from_secs(1_800_000_000));
        let (known, shown) = (Fingerprint::from_bytes([1; 32]), Fingerprint::from_bytes([2; 32]));
        let waiting = [Waiting::Stranger(&other), Waiting::Ask("zo\u{eb}"), Waiting::Message("zo\u{eb}", 1)];
        let more = [Waiting::Message("zo\u{eb}", 3), Waiting::Offer("zo\u{eb}", &other)];
        let requests = waiting.into_iter().chain(more).map(|waiting| first_request(&own, waiting, id, now));
        let changes = [Changed::Key { known: &known, shown: &shown }, Changed::Address { shown: &other }];
        let changes = changes.map(|changed| change_refused(&own, ("zo\u{eb}", &other), changed, id, now));
        for (message, does) in
            requests.map(|text| (text, "request accept")).chain(changes.map(|text| (text, "contact rm")))
        {
            assert!(strict::check(&message).is_ok());
            assert!(message.split(|byte| *byte == b'\n').all(|line| line.len() <= 998));
            let text = String::from_utf8(message.clone()).unwrap();
            assert!(text.contains(does), "{text}");
            assert!(text.contains("zo\u{eb}") || text.contains(&other.to_string()), "{text}");
            let (header, _) = headers::split(&message);
            assert!(header.is_ascii(), "no petname stands in a header");
            let from = headers::from_addresses(&message).unwrap();
            assert_eq!(from, [format!("mailer-daemon@{}", own.onion())]);
        }
    }
}
