//! Ids of messages: those of the user's own messages are at the user's own onion, and no id names somebody whom the
//! header does not name.

use crate::base::{Onion, Rng, meter};

use super::super::address::PETNAME_DOMAIN;
use super::super::headers;
use super::people::ADDRESS_STEPS;

/// A new Message-ID of this identity, with its angle brackets: a random UUID (RFC 9562 §5.4) at its onion.
pub fn fresh_message_id(own: Onion, rng: &mut dyn Rng) -> String {
    let id = uuid::Builder::from_random_bytes(rng.array()).into_uuid();
    format!("<{id}@{own}>")
}

/// The Message-ID moved to our own onion: the host that the mail program wrote may be the name of the machine.
pub(super) fn own_message_id(value: &[u8], own: Onion, rng: &mut dyn Rng) -> String {
    match divided(&headers::unfold(value)) {
        Some((left, _)) => format!("<{left}@{own}>"),
        None => fresh_message_id(own, rng),
    }
}

/// The two parts of `<left@host>`; `None` for another form.
pub(super) fn divided(id: &[u8]) -> Option<(String, String)> {
    let inner = id.strip_prefix(b"<")?.strip_suffix(b">")?;
    let (left, host) = std::str::from_utf8(inner).ok()?.rsplit_once('@')?;
    let plain = |text: &str, most: usize| {
        (1..=most).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>@()\"\\,:;".contains(&byte))
    };
    (plain(left, 250) && plain(host, 255)).then(|| (left.to_owned(), host.to_owned()))
}

/// The hosts of ids that are the author's own: `rune.internal`, under which mail programs keep copies, and the host
/// that the mail program wrote into the Message-ID. Answers to one's own mail use these hosts.
pub(super) struct OwnHosts(Vec<String>);

impl OwnHosts {
    pub(super) fn of(header: &[u8]) -> Self {
        let written = headers::fields(header).find(|field| field.is("message-id"));
        let host = written.and_then(|field| divided(&headers::unfold(field.value))).map(|(_, host)| host);
        Self([PETNAME_DOMAIN.to_owned()].into_iter().chain(host).collect())
    }

    /// The ids in a value that may leave: the author's own, moved to its onion, and those at an onion for which
    /// `is_known` holds.
    pub(super) fn disclosed(&self, value: &[u8], own: Onion, is_known: impl Fn(&Onion) -> bool) -> Vec<String> {
        let value = headers::unfold(value);
        let ids = value.split_inclusive(|&byte| byte == b'>');
        let ids = ids.filter_map(|id| id.get(id.iter().rposition(|&byte| byte == b'<')?..));
        meter::steps(3 * value.len());
        ids.filter_map(divided)
            .filter_map(|(left, host)| {
                meter::steps(left.len() + host.len() + ADDRESS_STEPS);
                let onion = host.parse::<Onion>().ok();
                if onion == Some(own) || self.0.iter().any(|own| own.eq_ignore_ascii_case(&host)) {
                    return Some(format!("<{left}@{own}>"));
                }
                onion.filter(&is_known).map(|onion| format!("<{left}@{onion}>"))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::SeededRng;

    #[test]
    fn an_id_has_two_plain_parts_of_bounded_length() {
        let long = |left: usize, host: usize| format!("<{}@{}>", "l".repeat(left), "h".repeat(host));
        assert_eq!(divided(b"<a.b$1@my-host>"), Some(("a.b$1".to_owned(), "my-host".to_owned())));
        for good in [long(1, 1), long(250, 255)] {
            assert!(divided(good.as_bytes()).is_some(), "{good}");
        }
        for bad in [long(251, 1), long(1, 256), long(0, 1), long(1, 0)] {
            assert!(divided(bad.as_bytes()).is_none(), "{bad}");
        }
        for bad in [
            "a@b",
            "<a@b",
            "a@b>",
            "<a>",
            "<a@b@c>",
            "<a b@c>",
            "<a@b c>",
            "<(a)@b>",
            "<\"a\"@b>",
            "<a:@b>",
            "<\u{e4}@b>",
        ] {
            assert_eq!(divided(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn an_id_stays_or_is_made_anew_at_the_own_onion() {
        let own = Onion::from_public_key([1; 32]);
        assert_eq!(own_message_id(b" <a@laptop> ", own, &mut SeededRng::new(1)), format!("<a@{own}>"));
        let made = own_message_id(b"laptop", own, &mut SeededRng::new(1));
        assert_eq!(made, fresh_message_id(own, &mut SeededRng::new(1)));
        assert_ne!(made, fresh_message_id(own, &mut SeededRng::new(2)));
        assert!(made.len() == 36 + 3 + own.to_string().len() && divided(made.as_bytes()).is_some(), "{made}");
    }

    #[test]
    fn ids_that_may_leave_are_the_own_and_those_of_whom_everybody_knows() {
        let [own, known, other] = [1, 2, 3].map(|n| Onion::from_public_key([n; 32]));
        let hosts = OwnHosts::of(b"From: a@b\r\nMessage-ID: <1@Laptop>\r\n\r\n");
        let disclosed = |value: &str| hosts.disclosed(value.as_bytes(), own, |onion| *onion == known);
        let written =
            format!("<a@laptop> <b@rune.INTERNAL>\r\n <c@{own}> <d@{known}> <e@{other}> <f@host> g@{own} <h@{own}");
        assert_eq!(
            disclosed(&written),
            [format!("<a@{own}>"), format!("<b@{own}>"), format!("<c@{own}>"), format!("<d@{known}>")]
        );
        assert_eq!(disclosed(&format!("junk<<a@{own}><b@{own}>")), [format!("<a@{own}>"), format!("<b@{own}>")]);
        assert_eq!(disclosed(""), Vec::<String>::new());
        assert_eq!(OwnHosts::of(b"").disclosed(b"<a@laptop>", own, |_| false), Vec::<String>::new());
    }
}
