//! Ids of messages: one's own are at one's own onion, and no id tells of somebody whom the header does not name.

use std::collections::BTreeSet;

use crate::base::{Onion, Rng};

use super::super::address::PETNAME_DOMAIN;
use super::super::headers;

/// A new Message-ID of this identity, with its angle brackets: a random UUID (RFC 9562 §5.4) at its onion.
pub fn fresh_message_id(own: Onion, rng: &mut dyn Rng) -> String {
    let id = uuid::Builder::from_random_bytes(rng.array()).into_uuid();
    format!("<{id}@{own}>")
}

/// The Message-ID at our own onion: the host that the mail program wrote may be the name of the machine.
pub(super) fn own_message_id(value: &[u8], own: Onion, rng: &mut dyn Rng) -> String {
    match divided(&headers::unfold(value)) {
        Some((left, _)) => format!("<{left}@{own}>"),
        None => fresh_message_id(own, rng),
    }
}

/// The parts of `<left@host>`; `None` where it is not of that form.
pub(super) fn divided(id: &[u8]) -> Option<(String, String)> {
    let inner = id.strip_prefix(b"<")?.strip_suffix(b">")?;
    let (left, host) = std::str::from_utf8(inner).ok()?.rsplit_once('@')?;
    let plain = |text: &str, most: usize| {
        (1..=most).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>@()\"\\,:;".contains(&byte))
    };
    (plain(left, 250) && plain(host, 255)).then(|| (left.to_owned(), host.to_owned()))
}

/// The hosts of ids that are the author's own: `rune.internal`, under which mail programs keep copies, and the host that
/// this one wrote into the Message-ID. Answers to one's own mail name it so.
pub(super) struct OwnHosts(Vec<String>);

impl OwnHosts {
    pub(super) fn of(header: &[u8]) -> Self {
        let written = headers::fields(header).find(|field| field.is("message-id"));
        let host = written.and_then(|field| divided(&headers::unfold(field.value))).map(|(_, host)| host);
        Self([PETNAME_DOMAIN.to_owned()].into_iter().chain(host).collect())
    }

    /// The ids in a value that may leave: the author's own, at its onion, and those at the onions in `known`.
    pub(super) fn disclosed(&self, value: &[u8], own: Onion, known: &BTreeSet<Onion>) -> Vec<String> {
        let value = headers::unfold(value);
        let ids = value.split_inclusive(|&byte| byte == b'>');
        let ids = ids.filter_map(|id| id.get(id.iter().rposition(|&byte| byte == b'<')?..));
        ids.filter_map(divided)
            .filter_map(|(left, host)| {
                let onion = host.parse::<Onion>().ok();
                if onion == Some(own) || self.0.iter().any(|own| own.eq_ignore_ascii_case(&host)) {
                    return Some(format!("<{left}@{own}>"));
                }
                onion.filter(|onion| known.contains(onion)).map(|onion| format!("<{left}@{onion}>"))
            })
            .collect()
    }
}
