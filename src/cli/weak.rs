//! Passphrases that somebody would guess. The rules are few, and find only what is plainly weak.

/// The beginnings of passphrases that anybody tries first, in small letters and without what is no letter or digit.
const KNOWN: &[&str] = &[
    "password",
    "passwort",
    "passphrase",
    "secret",
    "geheim",
    "qwerty",
    "qwertz",
    "azerty",
    "asdf",
    "letmein",
    "iloveyou",
    "welcome",
    "admin",
    "runepeer",
    "abcdef",
    "123456",
    "correcthorsebatterystaple",
];
/// Of a passphrase that begins with one of [`KNOWN`], so many more characters make another one.
const BEYOND: usize = 8;
/// A passphrase with fewer characters is short.
const SHORT: usize = 12;
/// A passphrase of one kind of characters needs this many.
const OF_ONE_KIND: usize = 20;
/// A passphrase of digits needs this many.
const OF_DIGITS: usize = 26;
/// So many different characters are few.
const FEW: usize = 5;

/// Why a passphrase is weak, in words that follow "is weak:"; `None` where no rule finds it so.
pub(super) fn weakness(passphrase: &str) -> Option<&'static str> {
    let letters: Vec<char> = passphrase.chars().collect();
    let plain: String = passphrase.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    let is_known = |known: &str| plain.strip_prefix(known).is_some_and(|rest| rest.chars().count() < BEYOND);
    let mut different = letters.clone();
    different.sort_unstable();
    different.dedup();
    let all = |kind: fn(&char) -> bool| letters.iter().all(kind);
    if KNOWN.iter().any(|known| is_known(known)) {
        Some("it is among the first that anybody tries")
    } else if letters.len() < SHORT {
        Some("it is short. Take 12 characters or more, such as five words that have nothing to do with each other")
    } else if different.len() <= FEW {
        Some("it has the same few characters again and again")
    } else if letters.len() < OF_DIGITS && all(|c| c.is_numeric() || c.is_whitespace()) {
        Some("it has digits only")
    } else if letters.len() < OF_ONE_KIND && all(|c| c.is_alphabetic()) {
        Some("it is one short run of letters. Take several words, or digits and signs as well")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_anybody_would_try_is_weak_and_several_words_are_not() {
        for weak in [
            "",
            "a",
            "short",
            "eleven char",
            "password",
            "Password1234!",
            "p a s s w o r d",
            "qwertyuiop12",
            "correct horse battery staple",
            "runepeer-2026",
            "aaaaaaaaaaaaaaaaaaaaaaaa",
            "abababababababab",
            "0987612345874",
            "2026 11 30 2026 11 30",
            "zusammengesetztes",
        ] {
            assert!(weakness(weak).is_some(), "{weak}");
        }
        for strong in [
            "twelve chars",
            "the right one",
            "lamp river onion desk",
            "zusammengesetzteswortungetuem",
            "kX9#mQ2!vR7z",
            "über den Wolken 7",
            "password of my grandmother's cat",
        ] {
            assert_eq!(weakness(strong), None, "{strong}");
        }
    }
}
