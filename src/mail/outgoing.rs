//! What happens to a message between the mail program that wrote it and the signature that goes over it
//! (docs/protocol.md, "Content").
//!
//! Fields that identify the machine, the program or hidden recipients are removed; Date becomes UTC; petnames,
//! which are the user's own, become addresses. Everything else stays byte for byte. A message that two programs
//! could read differently is refused.

use std::fmt;

use crate::base::{Onion, Rng, Timestamp};

use super::Address;
use super::address::PETNAME_DOMAIN;
use super::date;
use super::headers::{self, Entry, Field, FromError, Mailbox};
use super::read_receipt;
pub use super::strict::has_strict_lines;
use super::strict::{self, Ambiguity};

/// A message that may be signed.
#[derive(Clone, PartialEq, Eq)]
pub struct Prepared {
    /// The message.
    pub message: Vec<u8>,
    /// The addresses in all fields that hold some, the author's aside, as the mail program wrote them.
    pub visible: Vec<String>,
    /// The Message-ID as the mail program wrote it, where it is another now.
    pub written_id: Option<String>,
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared").field("message", &self.message.len()).finish_non_exhaustive()
    }
}

/// Why a message cannot be sent. The text is for the user; all are permanent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutgoingError {
    /// It could be read in more than one way.
    #[error(transparent)]
    Ambiguous(#[from] Ambiguity),
    /// No author, or none that can be told.
    #[error(transparent)]
    From(#[from] FromError),
    /// The author is somebody else.
    #[error("From must be {own} and nobody else: set this address in your mail program")]
    NotYours {
        /// The identity's address.
        own: Address,
    },
    /// A petname that is not in the address book.
    #[error("{recipient} is not in the address book")]
    UnknownRecipient {
        /// As given.
        recipient: String,
    },
    /// A petname would be sent in a place where it cannot be replaced.
    #[error("a name in {0} contains {PETNAME_DOMAIN}, which is private to you; remove it")]
    PetnameInName(String),
}

/// Fields that are not sent, each with its reason; `*` stands for any ending.
const REMOVED: &[(&str, &str)] = &[
    ("bcc", "hidden recipients"),
    ("resent-bcc", "hidden recipients"),
    ("x-bcc", "hidden recipients"),
    ("fcc", "the mail program's own folder"),
    ("x-mozilla-*", "Thunderbird's own state of a draft"),
    ("x-account-key", "Thunderbird's name of the account"),
    ("x-identity-key", "Thunderbird's name of the identity"),
    ("x-mutt-*", "mutt's own state of a draft"),
    ("x-evolution-*", "Evolution's own state of a draft"),
    ("x-kmail-*", "KMail's own state of a draft"),
    ("x-sylpheed-*", "Sylpheed's own state of a draft"),
    ("x-claws-*", "Claws Mail's own state of a draft"),
    ("x-k9mail-*", "K-9 Mail's name of the identity"),
    ("x-gnus-*", "Gnus' own state of a draft"),
    ("x-draft-from", "Gnus' own state of a draft"),
    ("gcc", "the mail program's own folder"),
    ("x-tuid", "a name in somebody's mailbox"),
    ("x-apple-*", "Apple Mail's own state and device"),
    ("x-universally-unique-identifier", "Apple Mail's own name of the message"),
    ("x-uniform-type-identifier", "Apple's note type"),
    ("x-uidl", "a name in somebody's mailbox"),
    ("status", "state of a mailbox"),
    ("x-status", "state of a mailbox"),
    ("x-keywords", "state of a mailbox"),
    ("received", "hosts and times of earlier hops"),
    ("x-received", "hosts and times of earlier hops"),
    ("return-path", "set on arrival; here it would only tell another address"),
    ("delivered-to", "set on arrival"),
    ("x-original-to", "set on arrival"),
    ("envelope-to", "set on arrival; may name hidden recipients"),
    ("x-envelope-*", "may name hidden recipients"),
    ("user-agent", "program and version"),
    ("x-mailer", "program and version"),
    ("x-newsreader", "program and version"),
    ("x-operating-system", "system and version"),
    ("x-enigmail*", "program and version"),
    ("x-pgp-agent", "program and version"),
    ("x-ms-*", "Outlook's and Exchange's own state"),
    ("x-antivirus*", "program and version"),
    ("thread-index", "Outlook's time of writing"),
    ("accept-language", "the languages of the author"),
    ("content-language", "the language of the program"),
    ("x-mimeole", "program and version"),
    ("x-originating-*", "network address or host of the author"),
    ("x-client-ip", "network address of the author"),
    ("x-source-ip", "network address of the author"),
    ("x-sender", "login name of the author"),
    ("x-x-sender", "login name of the author"),
    ("x-authenticated-*", "login name of the author"),
    ("x-authentication-warning", "login name and host of the author"),
    ("sender", "the signature says who sent it"),
    ("resent-sender", "the signature says who sent it"),
    ("apparently-to", "may name hidden recipients"),
    ("x-rcpt-to", "may name hidden recipients"),
    ("x-delivered-to", "set on arrival"),
    ("autocrypt", "a key of another identity system"),
    ("autocrypt-*", "keys of another identity system"),
];

/// Fields that hold addresses, and with them perhaps petnames.
const ADDRESS_FIELDS: &[&str] = &[
    "from",
    "reply-to",
    "to",
    "cc",
    "mail-followup-to",
    "mail-reply-to",
    "disposition-notification-to",
    "return-receipt-to",
    "x-confirm-reading-to",
    "errors-to",
    "resent-from",
    "resent-to",
    "resent-cc",
    "resent-reply-to",
];

/// Whether a field names others than the author: what a copy for hidden recipients must not hold.
pub fn names_people(field: &Field<'_>, own: &Address) -> bool {
    const RECIPIENTS: [&str; 4] = ["to", "cc", "resent-to", "resent-cc"];
    let of_author = || {
        let named: Vec<String> = headers::address_list(field.value).iter().filter_map(as_written).collect();
        !named.is_empty() && named.iter().all(|address| is_own(address, own))
    };
    ADDRESS_FIELDS.iter().any(|name| field.is(name))
        && !field.is("from")
        && (RECIPIENTS.iter().any(|name| field.is(name)) || !of_author())
}

/// Who is meant by the names in a message.
struct People<'a> {
    own: &'a Address,
    resolve: &'a dyn Fn(&str) -> Option<Address>,
}

/// Makes a submitted message ready for its signature. `resolve` gives the address of a petname, as
/// `name@rune.internal` or alone; the random bytes are for a missing Message-ID.
///
/// # Errors
/// [`OutgoingError`]; nothing was sent.
pub fn prepare(
    message: &[u8],
    own: &Address,
    now: Timestamp,
    resolve: &dyn Fn(&str) -> Option<Address>,
    rng: &mut dyn Rng,
) -> Result<Prepared, OutgoingError> {
    strict::check(message)?;
    let (header, body) = headers::split(message);
    let people = People { own, resolve };
    let own_onion = own.onion();
    check_author(message, own)?;
    let own_hosts = OwnHosts::of(header);

    let mut fields = Vec::with_capacity(header.len() + 256);
    let (mut visible, mut written_id) = (Vec::new(), None);
    let (mut has_date, mut has_id) = (false, false);
    for field in headers::fields(header) {
        if is_removed(&field) {
            continue;
        }
        let holds_addresses = ADDRESS_FIELDS.iter().any(|name| field.is(name));
        if holds_addresses && !field.is("from") {
            visible.extend(headers::address_list(field.value).iter().filter_map(as_written));
        }
        if field.is("date") {
            has_date = true;
            push(&mut fields, &field, utc_date(field.value, now));
        } else if field.is("message-id") {
            has_id = true;
            let changed = own_message_id(field.value, own_onion, rng);
            written_id = changed.is_some().then(|| headers::message_id(field.value)).flatten();
            push(&mut fields, &field, changed);
        } else if field.is("resent-date") {
            push(&mut fields, &field, utc_date(field.value, now));
        } else if field.is("resent-message-id") {
            push(&mut fields, &field, own_message_id(field.value, own_onion, rng));
        } else if field.is("references") || field.is("in-reply-to") {
            push(&mut fields, &field, own_hosts.replaced_in(field.value, own_onion));
        } else if field.is("mime-version") {
            push(&mut fields, &field, without_comment(field.value));
        } else if holds_addresses {
            let value = people.without_petnames(&field)?;
            push(&mut fields, &field, value);
        } else {
            fields.extend_from_slice(field.raw);
        }
    }
    let mut prepared = Vec::with_capacity(fields.len() + body.len() + 256);
    if !has_date {
        prepared.extend_from_slice(format!("Date: {}\r\n", now.rfc5322()).as_bytes());
    }
    if !has_id {
        prepared.extend_from_slice(format!("Message-ID: {}\r\n", fresh_message_id(own_onion, rng)).as_bytes());
    }
    prepared.extend_from_slice(&fields);
    // The empty line, as it was; a message without body may have none.
    prepared.extend_from_slice(if header.ends_with(b"\r\n\r\n") || header == b"\r\n" { b"\r\n" } else { b"" });
    match read_receipt::without_program(message) {
        Some(without) => prepared.extend_from_slice(&without),
        None => prepared.extend_from_slice(body),
    }
    Ok(Prepared { message: prepared, visible, written_id })
}

/// A new Message-ID of this identity, with its angle brackets: a random UUID (RFC 9562 §5.4) at its onion.
pub fn fresh_message_id(own: Onion, rng: &mut dyn Rng) -> String {
    let id = uuid::Builder::from_random_bytes(rng.array()).into_uuid();
    format!("<{id}@{own}>")
}

/// The one author must be this identity, by its address or by its own name at `rune.internal`.
fn check_author(message: &[u8], own: &Address) -> Result<(), OutgoingError> {
    let authors = headers::from_addresses(message)?;
    match authors.as_slice() {
        [author] if is_own(author, own) => Ok(()),
        _ => Err(OutgoingError::NotYours { own: own.clone() }),
    }
}

/// Whether this is the identity's address, with any folder, or `name@rune.internal` of its own name.
pub fn is_own(address: &str, own: &Address) -> bool {
    if let Ok(address) = address.parse::<Address>() {
        return address.without_folder() == own.without_folder();
    }
    address.rsplit_once('@').is_some_and(|(name, domain)| {
        domain.eq_ignore_ascii_case(PETNAME_DOMAIN) && name.eq_ignore_ascii_case(own.local().as_str())
    })
}

fn is_removed(field: &Field<'_>) -> bool {
    REMOVED.iter().any(|(name, _)| match name.strip_suffix('*') {
        Some(prefix) => {
            field.name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
        }
        None => field.is(name),
    })
}

/// Adds the field as it was, or with a new value.
fn push(fields: &mut Vec<u8>, field: &Field<'_>, value: Option<Vec<u8>>) {
    match value {
        None => fields.extend_from_slice(field.raw),
        Some(value) => {
            fields.extend_from_slice(field.name);
            fields.extend_from_slice(b": ");
            fields.extend_from_slice(value.trim_ascii_start());
            fields.extend_from_slice(b"\r\n");
        }
    }
}

/// The date in UTC; `None` where it is already. A date that cannot be read becomes now.
fn utc_date(value: &[u8], now: Timestamp) -> Option<Vec<u8>> {
    let written = headers::unfold(value);
    let utc = date::parse(&written).unwrap_or(now).rfc5322().into_bytes();
    (utc != written).then_some(utc)
}

/// The Message-ID at our own onion: the host that the mail program gave may be the name of the machine.
fn own_message_id(value: &[u8], own: Onion, rng: &mut dyn Rng) -> Option<Vec<u8>> {
    let written = headers::unfold(value);
    let inner = written.strip_prefix(b"<").and_then(|rest| rest.strip_suffix(b">"));
    let inner = inner.and_then(|inner| std::str::from_utf8(inner).ok());
    let Some((left, host)) = inner.and_then(|inner| inner.rsplit_once('@')).filter(|(left, _)| is_id_left(left)) else {
        return Some(fresh_message_id(own, rng).into_bytes());
    };
    if host.eq_ignore_ascii_case(&own.to_string()) { None } else { Some(format!("<{left}@{own}>").into_bytes()) }
}

fn is_id_left(left: &str) -> bool {
    (1..=250).contains(&left.len())
        && left.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>@()\"\\,:;".contains(&byte))
}

/// `1.0 (Mac OS X Mail 16.0)` names program and system in a comment.
fn without_comment(value: &[u8]) -> Option<Vec<u8>> {
    value.contains(&b'(').then(|| b"1.0".to_vec())
}

/// The hosts of ids that are the author's own: `rune.internal`, under which mail programs keep copies, and the host that
/// this one wrote into the Message-ID. Answers to one's own mail name it so.
struct OwnHosts(Vec<String>);

impl OwnHosts {
    fn of(header: &[u8]) -> Self {
        let written = headers::fields(header).find(|field| field.is("message-id"));
        let id = written.and_then(|field| headers::message_id(field.value));
        let host =
            id.as_deref().and_then(|id| id.trim_end_matches('>').rsplit_once('@')).map(|(_, host)| host.to_owned());
        Self([PETNAME_DOMAIN.to_owned()].into_iter().chain(host).collect())
    }

    /// The value with our onion in these ids; `None` where it has none of them.
    fn replaced_in(&self, value: &[u8], own: Onion) -> Option<Vec<u8>> {
        let mut rewritten = Vec::with_capacity(value.len());
        let mut changed = false;
        for id in value.split_inclusive(|&byte| byte == b'>') {
            let at = id.iter().rposition(|&byte| byte == b'@');
            let (left, host) = id.split_at(at.map_or(id.len(), |at| at + 1));
            let is_own =
                |own: &String| host.strip_suffix(b">").is_some_and(|host| host.eq_ignore_ascii_case(own.as_bytes()));
            rewritten.extend_from_slice(left);
            if self.0.iter().any(is_own) {
                changed = true;
                rewritten.extend_from_slice(format!("{own}>").as_bytes());
            } else {
                rewritten.extend_from_slice(host);
            }
        }
        changed.then_some(rewritten)
    }
}

fn find_ignoring_case(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window.eq_ignore_ascii_case(what))
}

/// `local@domain`, or the name alone.
fn as_written(mailbox: &Mailbox) -> Option<String> {
    let Mailbox::Address { local, domain, .. } = mailbox else { return None };
    let local = String::from_utf8_lossy(local);
    Some(match domain {
        Some(domain) => format!("{local}@{}", String::from_utf8_lossy(domain)),
        None => local.into_owned(),
    })
}

impl People<'_> {
    /// The field's value with addresses for petnames; `None` where there is none.
    fn without_petnames(&self, field: &Field<'_>) -> Result<Option<Vec<u8>>, OutgoingError> {
        let mut value = field.value.to_vec();
        let mut changed = false;
        // From the last to the first, so that the places before stay right.
        for entry in headers::entries(field.value).into_iter().rev() {
            let Some(address) = self.address_of(&entry, field.is("from"))? else { continue };
            changed = true;
            // A name such as "bob@rune.internal" is the mail program's copy of the address.
            let name = field.value.get(entry.whole.clone()).unwrap_or_default();
            let outside =
                [name.get(..entry.spec.start - entry.whole.start), name.get(entry.spec.end - entry.whole.start..)];
            let in_name =
                outside.iter().flatten().any(|text| find_ignoring_case(text, PETNAME_DOMAIN.as_bytes()).is_some());
            value.splice(if in_name { entry.whole } else { entry.spec }, address.to_string().into_bytes());
        }
        if find_ignoring_case(&value, PETNAME_DOMAIN.as_bytes()).is_some() {
            return Err(OutgoingError::PetnameInName(String::from_utf8_lossy(field.name).into_owned()));
        }
        Ok(changed.then_some(value))
    }

    /// The address that replaces this entry, where it is a petname. One's own name is the author's; elsewhere a contact may
    /// have had it first.
    fn address_of(&self, entry: &Entry, is_author: bool) -> Result<Option<Address>, OutgoingError> {
        let Some(written) = as_written(&entry.mailbox) else { return Ok(None) };
        let is_petname = match &entry.mailbox {
            Mailbox::Address { domain: Some(domain), .. } => domain.eq_ignore_ascii_case(PETNAME_DOMAIN.as_bytes()),
            _ => return Ok((self.resolve)(&written)),
        };
        if !is_petname {
            return Ok(None);
        }
        let own = is_own(&written, self.own).then(|| self.own.clone());
        if is_author && own.is_some() {
            return Ok(own);
        }
        let name = written.rsplit_once('@').map_or(written.as_str(), |(name, _)| name);
        (self.resolve)(&format!("{name}@{PETNAME_DOMAIN}"))
            .or(own)
            .map(Some)
            .ok_or(OutgoingError::UnknownRecipient { recipient: written })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::SeededRng;
    use proptest::prelude::*;

    fn onion(byte: u8) -> Onion {
        Onion::from_public_key([byte; 32])
    }

    fn own() -> Address {
        format!("alice@{}", onion(1)).parse().unwrap()
    }

    fn bob() -> Address {
        format!("bob@{}", onion(2)).parse().unwrap()
    }

    fn now() -> Timestamp {
        Timestamp::from_secs(1_795_218_052)
    }

    fn run(message: &str) -> Result<Prepared, OutgoingError> {
        let resolve = |name: &str| matches!(name, "bobby@rune.internal" | "bobby" | "Bob B.@rune.internal").then(bob);
        prepare(message.as_bytes(), &own(), now(), &resolve, &mut SeededRng::new(1))
    }

    fn text(message: &str) -> String {
        String::from_utf8(run(message).unwrap().message).unwrap()
    }

    fn head() -> String {
        format!("From: Alice <{}>\r\nDate: Sat, 21 Nov 2026 01:00:00 +0000\r\nMessage-ID: <x@{}>\r\n", own(), onion(1))
    }

    #[test]
    fn what_needs_no_change_is_not_changed() {
        let message = format!(
            "{}To: \"B, Bob\"\r\n\t<{}> , c@example.org (C)\r\nSubject:  =?utf-8?q?x?=\r\n  y\r\nX-Priority: 1\r\n\
             references: <a@b>\r\n\r\n.body\r\n\r\nFrom: nobody\r\n\r\n",
            head(),
            bob()
        );
        assert_eq!(text(&message), message);
        assert_eq!(run(&message).unwrap().visible, [bob().to_string(), "c@example.org".to_owned()]);
        let without_body = head();
        assert_eq!(text(&without_body), without_body);
    }

    #[test]
    fn identifying_fields_are_removed() {
        let extra = "Bcc: secret@x\r\n y@z\r\nReceived: from host\r\nUSER-AGENT: x\r\nX-Mailer: y\r\nX-Mozilla-Status: 0\r\n\
                     X-Originating-IP: 1\r\nX-Sender: me\r\nAutocrypt: k\r\nAutocrypt-Gossip: k\r\nSender: root@host\r\nfcc: x\r\n";
        assert_eq!(text(&format!("{extra}{}\r\nBcc: body\r\n", head())), format!("{}\r\nBcc: body\r\n", head()));
        assert!(REMOVED.iter().all(|(name, reason)| *name == name.to_ascii_lowercase() && !reason.is_empty()));
    }

    #[test]
    fn dates_become_utc() {
        for (written, expected) in [
            ("Fri, 20 Nov 2026 23:40:52 -0130 (XYZ)", "Sat, 21 Nov 2026 01:10:52 +0000"),
            ("20 Nov 2026 23:40 GMT", "Fri, 20 Nov 2026 23:40:00 +0000"),
            ("yesterday", &*now().rfc5322()),
            ("1 Jan 4000000000 00:00 +0000", &*now().rfc5322()),
        ] {
            let message = head().replace("Sat, 21 Nov 2026 01:00:00 +0000", written);
            assert!(text(&message).contains(&format!("Date: {expected}\r\n")), "{written}: {}", text(&message));
        }
        let added = text(&format!("From: {}\r\n\r\nbody", own()));
        assert!(added.starts_with(&format!("Date: {}\r\nMessage-ID: <", now().rfc5322())), "{added}");
        assert!(added.contains(&format!("@{}>\r\nFrom: ", onion(1))));
    }

    #[test]
    fn message_ids_are_at_the_own_onion() {
        for (written, expected) in [
            ("<1.2$3@my-laptop.local>", format!("<1.2$3@{}>", onion(1))),
            (
                &*format!("<A@{}>", onion(1).to_string().to_ascii_uppercase()),
                format!("<A@{}>", onion(1).to_string().to_ascii_uppercase()),
            ),
        ] {
            let message = head().replace(&format!("<x@{}>", onion(1)), written);
            assert!(text(&message).contains(&format!("Message-ID: {expected}\r\n")), "{written}");
        }
        for broken in ["", "x", "<x>", "<@y>", "<a b@y>", "<a@b@laptop>"] {
            let changed = text(&head().replace(&format!("<x@{}>", onion(1)), broken));
            assert!(changed.contains(&format!("@{}>\r\n", onion(1))) && !changed.contains("laptop"), "{changed}");
        }
        let answer = text(&format!(
            "{}In-Reply-To: <7@Rune.Internal>\r\nReferences: <6@other>\r\n <7@rune.internal>\r\n\r\n",
            head()
        ));
        assert!(
            answer.contains(&format!("In-Reply-To: <7@{0}>\r\nReferences: <6@other>\r\n <7@{0}>\r\n\r\n", onion(1))),
            "{answer}"
        );
    }

    #[test]
    fn a_resent_message_tells_neither_time_zone_nor_host() {
        let resent = "Resent-Date: Fri, 20 Nov 2026 23:40:52 -0130\r\nResent-Message-ID: <7@my-laptop.local>\r\n\
                      X-Bcc: hidden@x\r\nErrors-To: bobby@rune.internal\r\n";
        let expected = format!(
            "Resent-Date: Sat, 21 Nov 2026 01:10:52 +0000\r\nResent-Message-ID: <7@{}>\r\nErrors-To: {}\r\n\r\n",
            onion(1),
            bob()
        );
        assert_eq!(text(&format!("{}{resent}\r\n", head())), format!("{}{expected}", head()));
    }

    #[test]
    fn petnames_become_addresses() {
        let bob = bob();
        for (written, expected) in [
            ("bobby@rune.internal", format!("{bob}")),
            ("BB <bobby@RUNE.internal>, c@d", format!("BB <{bob}>, c@d")),
            ("\"Bob B.\"@rune.internal (friend)", format!("{bob} (friend)")),
            ("\"bobby@rune.internal\" <bobby@rune.internal>", format!("{bob}")),
            ("bobby", format!("{bob}")),
            ("g: bobby @ rune.internal, alice@rune.internal;", format!("g: {bob}, {};", own())),
            ("\"x\" <bobby(c)@rune.internal>", format!("\"x\" <{bob}>")),
        ] {
            for field in ["To", "cc", "Reply-To"] {
                let changed = text(&format!("{}{field}: {written}\r\n\r\n", head()));
                assert_eq!(changed, format!("{}{field}: {expected}\r\n\r\n", head()), "{written}");
            }
        }
        let from = text(&head().replace(&own().to_string(), "alice@rune.internal"));
        assert_eq!(from, head());
        assert_eq!(
            run(&format!("{}To: bobby@rune.internal\r\n\r\n", head())).unwrap().visible,
            ["bobby@rune.internal"]
        );
        let unknown = run(&format!("{}To: carol@rune.internal\r\n\r\n", head()));
        assert_eq!(unknown, Err(OutgoingError::UnknownRecipient { recipient: "carol@rune.internal".into() }));
        let in_name = run(&format!("{}To: \"bobby@rune.internal\" <c@d>\r\n\r\n", head()));
        assert_eq!(in_name, Err(OutgoingError::PetnameInName("To".into())));
    }

    #[test]
    fn nobody_writes_as_somebody_else() {
        let not_yours = Err(OutgoingError::NotYours { own: own() });
        for from in [bob().to_string(), "bobby@rune.internal".into(), format!("{}, {}", own(), bob())] {
            assert_eq!(run(&format!("From: {from}\r\n\r\n")), not_yours, "{from}");
        }
        assert_eq!(run("Subject: x\r\n\r\n"), Err(OutgoingError::From(FromError::Missing)));
        assert_eq!(
            run(&format!("{}From: {}\r\n\r\n", head(), bob())),
            Err(OutgoingError::Ambiguous(Ambiguity::Repeated("From")))
        );
        let tagged = format!("From: alice+x@{}\r\n\r\n", onion(1));
        assert!(run(&tagged).is_ok());
    }

    #[test]
    fn a_message_that_could_be_read_in_two_ways_is_refused() {
        for bad in ["From : x@y", "\u{feff}From: x@y", ">From: x@y", "no field"] {
            let message = format!("{bad}\r\n{}\r\n", head());
            assert_eq!(run(&message), Err(OutgoingError::Ambiguous(Ambiguity::Field)), "{bad:?}");
        }
        let lone = run(&format!("{}\r\na\nb", head()));
        assert_eq!(lone, Err(OutgoingError::Ambiguous(Ambiguity::Characters)));
    }

    #[test]
    fn a_program_that_names_itself_in_a_comment_is_not_named() {
        let sent = text(&format!("{}Mime-Version: 1.0 (Mac OS X Mail 16.0 \\(3774.500\\))\r\n\r\nx\r\n", head()));
        assert!(sent.contains("Mime-Version: 1.0\r\n") && !sent.contains("Mac OS"), "{sent}");
    }

    #[test]
    fn answers_to_own_mail_name_it_as_others_have_it_and_not_the_machine() {
        let own_onion = onion(1);
        let sent = text(&format!(
            "From: <{}>\r\nMessage-ID: <2@Laptop.lan>\r\nIn-Reply-To: <1@laptop.lan>\r\n\
             References: <a@b> <0@rune.internal>\r\n <1@LAPTOP.LAN>\r\n\r\nx\r\n",
            own()
        ));
        assert!(sent.contains(&format!("In-Reply-To: <1@{own_onion}>\r\n")), "{sent}");
        assert!(sent.contains(&format!("References: <a@b> <0@{own_onion}>\r\n <1@{own_onion}>\r\n")), "{sent}");
        assert!(!sent.to_lowercase().contains("laptop"), "{sent}");
    }

    #[test]
    fn whoever_any_field_names_is_visible() {
        let message = format!(
            "{}To: a@b\r\nReply-To: c@d\r\nMail-Followup-To: <e@f>\r\nResent-Cc: g@h\r\nResent-From: <{}>\r\n\r\nx\r\n",
            head(),
            own()
        );
        assert_eq!(run(&message).unwrap().visible, ["a@b", "c@d", "e@f", "g@h", &own().to_string()]);
    }

    #[test]
    fn a_copy_for_hidden_recipients_keeps_what_names_the_author_only() {
        let names = |field: &str| {
            let text = format!("{field}\r\n");
            names_people(&headers::fields(text.as_bytes()).next().unwrap(), &own())
        };
        for kept in ["From: x@y", "Subject: a@b", &format!("Reply-To: <{}>", own()), &format!("Resent-From: {}", own())]
        {
            assert!(!names(kept), "{kept}");
        }
        let both = format!("Reply-To: <{}>, c@d", own());
        for dropped in
            [&format!("To: <{}>", own()), "Resent-From: c@d", "Return-Receipt-To: c@d", "Reply-To: x:;", &both]
        {
            assert!(names(dropped), "{dropped}");
        }
    }

    proptest! {
        #[test]
        fn no_petname_leaves(list in "([a-c\"<>(),:; ]|bobby@rune\\.internal|carol@rune\\.internal){0,8}") {
            if let Ok(prepared) = run(&format!("{}To: {list}\r\nCc: {list}\r\n\r\nbody", head())) {
                prop_assert!(!String::from_utf8(prepared.message).unwrap().contains("rune.internal"));
            }
        }

        #[test]
        fn bytes_are_prepared_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut message = head().into_bytes();
            message.extend(bytes);
            let _ = prepare(&message, &own(), now(), &|_| None, &mut SeededRng::new(1));
        }
    }
}
