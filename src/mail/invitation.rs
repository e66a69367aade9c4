//! Invitations: the `rune:` text that makes one identity known (docs/protocol.md, "Invitation").
//!
//! ```text
//! 1 version   1 flags   32 onion public key   32 fingerprint   1 length   name before @
//! [16 secret, flag 1]   [4 expiry, hours since 1970, flag 2]   {1 type, 1 length, value}   4 of SHA-256
//! ```
//! The bytes are base32 (RFC 4648, no padding, in lower case) in groups of 30 characters. Two more characters after
//! each group check it, so that a mistyped character is found and its place told. Upper case means the same, for QR
//! codes.
//!
//! People hand the text over by programs that wrap, quote and decorate it. So it is looked for in whatever is given, characters
//! that mean nothing are passed over, and it ends where its fields say that it does.

use std::fmt;

use data_encoding::BASE32_NOPAD;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

use crate::base::ids::Fingerprint;
use crate::base::limits::{INVITATION_CARRIERS, INVITATION_CHARACTERS};
use crate::base::{MacKey, Onion, Timestamp};

use super::Address;

/// The 16-byte secret of a private invitation.
pub const SECRET_BYTES: usize = 16;

/// The contents of an invitation.
#[derive(Clone, PartialEq, Eq)]
pub struct Invitation {
    /// The address that it makes known.
    pub address: Address,
    /// The primary key that the address must prove.
    pub fingerprint: Fingerprint,
    /// Present in a private invitation: redeeming it makes both sides contacts, once.
    pub secret: Option<[u8; SECRET_BYTES]>,
    /// After this moment it no longer works.
    pub expires: Option<Timestamp>,
    /// Carriers at which its maker's certificate is, and where an answer can be left (docs/protocol.md, "Pages"); at
    /// most [`INVITATION_CARRIERS`].
    pub carriers: Vec<Onion>,
}

/// Why an invitation text cannot be used. Positions count characters from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvitationError {
    /// `rune:` does not occur in it.
    #[error(
        "there is no invitation in this text: one to write begins with rune:, one to a box with rune-box: (runepeer carrier add); copy the whole text, from there to its last character"
    )]
    NotAnInvitation,
    /// A character that does not occur in an invitation.
    #[error("character {position}, {character:?}, does not belong in an invitation; copy the text again")]
    Character {
        /// The position of the character.
        position: usize,
        /// The character.
        character: char,
    },
    /// A group of characters whose check fails.
    #[error("there is a mistyped character between characters {from} and {to}; compare them with the original")]
    Mistyped {
        /// First character of the group.
        from: usize,
        /// Last character of the group.
        to: usize,
    },
    /// The text ends too early.
    #[error("the invitation is cut off after character {length}; copy the text to its end")]
    CutOff {
        /// How many characters there are.
        length: usize,
    },
    /// A version or form that this program does not know.
    #[error("this invitation was made by a newer version of runepeer; update, then try again")]
    Version,
}

const SCHEME: &str = "rune:";
const BOX_SCHEME: &str = "rune-box:";
const VERSION: u8 = 1;
const FLAG_SECRET: u8 = 1;
const FLAG_EXPIRES: u8 = 2;
/// The extension that names a carrier.
const EXTENSION_CARRIER: u8 = 1;
/// Bytes of an onion's public key.
const ONION: u8 = 32;
/// Characters of a group, without its check.
const GROUP: usize = 30;
/// Check characters after a group.
const CHECK: usize = 2;
/// Where the length of the name stands, behind version, flags, onion and fingerprint.
const NAME_LENGTH: usize = 66;
/// Bytes of the expiry.
const EXPIRY: usize = 4;
/// In how many places of a text an invitation is looked for.
const PLACES: usize = 8;
/// Bytes of SHA-256 at the end.
const SUM: usize = 4;
const MS_PER_HOUR: i64 = 3_600_000;
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// The key of the private invitation with this secret (docs/protocol.md, "Authenticator").
pub fn auth_key(secret: &[u8; SECRET_BYTES]) -> Option<MacKey> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).ok()?;
    mac.update(b"RUNE/1 invitation auth");
    Some(MacKey::from_bytes(mac.finalize().into_bytes().into()))
}

impl Invitation {
    /// The key with which the redeemer authenticates until a card brings a fresh one
    /// (docs/protocol.md, "Authenticator"); `None` for a public invitation.
    pub fn auth_key(&self) -> Option<MacKey> {
        auth_key(&self.secret?)
    }

    /// The text to hand over. Its expiry is that of the invitation rounded down to the hour.
    pub fn encode(&self) -> String {
        self.encode_as(SCHEME)
    }

    /// The text of an invitation to a box: the address is the carrier's, and the secret the token
    /// (docs/protocol.md, "Registration").
    pub fn encode_box(&self) -> String {
        self.encode_as(BOX_SCHEME)
    }

    fn encode_as(&self, scheme: &str) -> String {
        let data = BASE32_NOPAD.encode(&self.payload()).to_ascii_lowercase();
        let mut text = scheme.to_owned();
        for (index, group) in data.as_bytes().chunks(GROUP).enumerate() {
            text.extend(group.iter().chain(&check(index, group)).copied().map(char::from));
        }
        text
    }

    fn payload(&self) -> Vec<u8> {
        let address = self.address.without_folder().to_string();
        let name = address.split('@').next().unwrap_or_default();
        let flags = u8::from(self.secret.is_some()) * FLAG_SECRET + u8::from(self.expires.is_some()) * FLAG_EXPIRES;
        let mut bytes = vec![VERSION, flags];
        bytes.extend_from_slice(self.address.onion().public_key());
        bytes.extend_from_slice(self.fingerprint.as_bytes());
        bytes.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend(self.secret.iter().flatten());
        if let Some(expires) = self.expires {
            let hours = u32::try_from(expires.millis().div_euclid(MS_PER_HOUR).max(0)).unwrap_or(u32::MAX);
            bytes.extend_from_slice(&hours.to_be_bytes());
        }
        for carrier in self.carriers.iter().take(INVITATION_CARRIERS) {
            bytes.extend([EXTENSION_CARRIER, ONION]);
            bytes.extend_from_slice(carrier.public_key());
        }
        bytes.extend(sum(&bytes));
        bytes
    }

    /// Reads an invitation text.
    ///
    /// # Errors
    /// [`InvitationError`], which tells the user where to look.
    pub fn parse(text: &str) -> Result<Self, InvitationError> {
        Self::parse_as(SCHEME, text)
    }

    /// Reads the text of an invitation to a box.
    ///
    /// # Errors
    /// As of [`Self::parse`].
    pub fn parse_box(text: &str) -> Result<Self, InvitationError> {
        Self::parse_as(BOX_SCHEME, text)
    }

    fn parse_as(scheme: &str, text: &str) -> Result<Self, InvitationError> {
        // Characters that are not shown may stand anywhere, also within `rune:`.
        let text: Vec<Shown> = (1..).zip(text.chars()).filter(|(_, character)| !is_invisible(*character)).collect();
        // Of several places the one at which most was read is what the user means.
        let mut failed = (0, InvitationError::NotAnInvitation);
        for start in beginnings(scheme, &text).take(PLACES) {
            let read = Read::from(&text, start);
            match read.whole() {
                Some(payload) => return Self::from_payload(&payload).ok_or(InvitationError::Version),
                None if read.characters.len() >= failed.0 => {
                    failed = (read.characters.len(), read.problem(&text, start))
                }
                None => {}
            }
        }
        Err(failed.1)
    }

    /// `None` where the bytes are of a form that we do not know.
    fn from_payload(payload: &[u8]) -> Option<Self> {
        let mut fields = Fields { rest: payload };
        let [version, flags] = fields.array()?;
        if version != VERSION || flags & !(FLAG_SECRET | FLAG_EXPIRES) != 0 {
            return None;
        }
        let onion = Onion::from_public_key(fields.array()?);
        let fingerprint = Fingerprint::from_bytes(fields.array()?);
        let [length] = fields.array()?;
        let name = std::str::from_utf8(fields.take(length.into())?).ok()?;
        let address: Address = format!("{name}@{onion}").parse().ok()?;
        let secret = if flags & FLAG_SECRET == 0 { None } else { Some(fields.array()?) };
        let expires = if flags & FLAG_EXPIRES == 0 {
            None
        } else {
            Some(Timestamp::from_millis(i64::from(u32::from_be_bytes(fields.array()?)) * MS_PER_HOUR))
        };
        let mut carriers = Vec::new();
        // Each extension has type, length and value; unknown types, of later versions, are skipped.
        while !fields.rest.is_empty() {
            let [kind, length] = fields.array()?;
            let value = fields.take(length.into())?;
            if let (EXTENSION_CARRIER, Ok(key), true) = (kind, value.try_into(), carriers.len() < INVITATION_CARRIERS) {
                carriers.push(Onion::from_public_key(key));
            }
        }
        (address.folder().is_none()).then_some(Self { address, fingerprint, secret, expires, carriers })
    }
}

impl fmt::Debug for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invitation")
            .field("public", &self.secret.is_none())
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// A character of the base32 text, in lower case, and its place in the text that the user gave.
#[derive(Clone, Copy)]
struct Character {
    value: u8,
    position: usize,
}

/// A character of the text that the user gave, and its position there.
type Shown = (usize, char);

/// Where invitations of this kind may begin in a text: the places behind `rune:`, `rune://` and `rune%3A`. Programs write a
/// space before a colon, a colon of another width, and a dash for the hyphen of `rune-box:`.
fn beginnings<'t>(scheme: &'t str, text: &'t [Shown]) -> impl Iterator<Item = usize> + 't {
    let name = scheme.trim_end_matches(':');
    let is = |at: usize, expected: &str| {
        let found = text.get(at..at + expected.len());
        let same = |found: char, expected: char| {
            found.eq_ignore_ascii_case(&expected)
                || (expected == '-' && is_dash(found))
                || (expected == ':' && found == '\u{ff1a}')
        };
        found.is_some_and(|found| {
            found.iter().zip(expected.chars()).all(|((_, found), expected)| same(*found, expected))
        })
    };
    let behind = move |at: usize, any: &[&str]| any.iter().find(|one| is(at, one)).map(|one| at + one.len());
    (0..text.len()).filter(move |at| is(*at, name)).filter_map(move |at| {
        let end = at + name.len();
        let spaces =
            text.get(end..)?.iter().take_while(|(_, character)| matches!(character, ' ' | '\u{a0}' | '\u{202f}'));
        let colon = behind(end + spaces.take(1).count(), &[":", "%3a"])?;
        Some(behind(colon, &["//", "%2f%2f"]).unwrap_or(colon))
    })
}

/// Whether a character is not shown: direction, joining, variation and other marks, and soft hyphens.
const fn is_invisible(character: char) -> bool {
    matches!(character,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}')
}

/// Hyphens and the dashes that programs make of them.
const fn is_dash(character: char) -> bool {
    matches!(character, '-' | '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe58}' | '\u{fe63}' | '\u{ff0d}')
}

/// The characters of an invitation that were read from one place on, up to one that has no place in it.
struct Read {
    characters: Vec<Character>,
    /// The first character that has no place in it, if more of the alphabet stands behind.
    stopped: Option<Shown>,
    /// Whether there are more characters than an invitation has.
    too_long: bool,
}

impl Read {
    fn from(text: &[Shown], start: usize) -> Self {
        let mut read = Self { characters: Vec::new(), stopped: None, too_long: false };
        // Whether only marks of a quotation were there since the line began.
        let mut at_line_start = false;
        for (at, (position, character)) in text.iter().copied().enumerate().skip(start) {
            let next = text.get(at + 1).map(|(_, next)| *next);
            let soft_break = character == '=' && next.is_none_or(|next| matches!(next, '\r' | '\n'));
            let quotes = at_line_start && matches!(character, '>' | '|');
            if character.is_whitespace() || is_dash(character) || soft_break || quotes {
                at_line_start = matches!(character, '\r' | '\n') || (at_line_start && !soft_break);
                continue;
            }
            at_line_start = false;
            let Some(value) = value_of(character) else {
                read.stopped = next.and_then(value_of).map(|_| (position, character));
                break;
            };
            if read.characters.len() >= INVITATION_CHARACTERS {
                read.too_long = true;
                break;
            }
            read.characters.push(Character { value, position });
        }
        read
    }

    fn groups(&self) -> impl Iterator<Item = &[Character]> {
        self.characters.chunks(GROUP + CHECK)
    }

    /// The payload, without its sum, if all of it is there: it ends where its fields say so, whatever stands behind.
    fn whole(&self) -> Option<Vec<u8>> {
        let data: Vec<u8> = self.groups().flat_map(data_of).collect();
        let bytes = whole_bytes(&data);
        // Groups are checked once, whatever ends are tried.
        let sound = self
            .groups()
            .enumerate()
            .take_while(|(index, group)| group.len() == GROUP + CHECK && is_checked(*index, group));
        let sound = sound.count() * (GROUP + CHECK);
        let announced = ends(&bytes).map(|end| {
            let characters = ((end + SUM) * 8).div_ceil(5);
            characters + characters.div_ceil(GROUP) * CHECK
        });
        // What a later version announces is not known here: then it may be everything.
        announced.chain([self.characters.len()]).find_map(|count| {
            let before = count.checked_sub(1)? / (GROUP + CHECK);
            let last = self.characters.get(before * (GROUP + CHECK)..count)?;
            let checked = before * (GROUP + CHECK) <= sound && is_checked(before, last);
            let these = self.characters.get(..count).filter(|_| checked)?;
            decode(&these.chunks(GROUP + CHECK).flat_map(data_of).collect::<Vec<u8>>())
        })
    }

    /// Why it is not whole. `start` is where it begins in the text.
    fn problem(&self, text: &[Shown], start: usize) -> InvitationError {
        let wrong = self.groups().enumerate().find(|(index, group)| !is_checked(*index, group));
        let before = || start.checked_sub(1).and_then(|at| text.get(at)).map_or(0, |(position, _)| *position);
        let cut_off =
            || InvitationError::CutOff { length: self.characters.last().map_or_else(before, |last| last.position) };
        let is_short = too_short(&self.characters);
        match wrong {
            Some((_, group)) if group.len() == GROUP + CHECK => mistyped(group),
            _ if self.too_long => InvitationError::Version,
            _ if is_short => match self.stopped {
                Some((position, character)) => InvitationError::Character { position, character },
                None => cut_off(),
            },
            Some((_, group)) => mistyped(group),
            None => {
                let data: Vec<u8> = self.groups().flat_map(data_of).collect();
                locate(&self.groups().collect::<Vec<_>>(), &data)
            }
        }
    }
}

/// The character in lower case, if it is of the alphabet.
fn value_of(character: char) -> Option<u8> {
    u8::try_from(character.to_ascii_lowercase()).ok().filter(|value| ALPHABET.contains(value))
}

/// Whether the last characters of a group check those before them.
fn is_checked(index: usize, group: &[Character]) -> bool {
    let values: Vec<u8> = group.iter().map(|character| character.value).collect();
    values.split_last_chunk::<CHECK>().is_some_and(|(data, found)| !data.is_empty() && check(index, data) == *found)
}

/// The bytes of these characters, as far as they are whole: 8 characters are 5 bytes.
fn whole_bytes(data: &[u8]) -> Vec<u8> {
    let whole = data.get(..data.len() / 8 * 8).unwrap_or_default();
    BASE32_NOPAD.decode(&whole.to_ascii_uppercase()).unwrap_or_default()
}

/// Where the sum may begin: behind the fields, and behind each extension that follows them.
fn ends(bytes: &[u8]) -> impl Iterator<Item = usize> {
    let first = bytes.get(1).zip(bytes.get(NAME_LENGTH)).map(|(flags, name)| {
        let secret = if flags & FLAG_SECRET == 0 { 0 } else { SECRET_BYTES };
        let expires = if flags & FLAG_EXPIRES == 0 { 0 } else { EXPIRY };
        NAME_LENGTH + 1 + usize::from(*name) + secret + expires
    });
    std::iter::successors(first, |end| Some(end + 2 + usize::from(*bytes.get(end + 1)?)))
}

fn mistyped(group: &[Character]) -> InvitationError {
    let place = |character: Option<&Character>| character.map_or(0, |character| character.position);
    InvitationError::Mistyped { from: place(group.first()), to: place(group.last()) }
}

/// The two characters that check a group: the first ten bits of a hash over the group and its place.
fn check(index: usize, group: &[u8]) -> [u8; CHECK] {
    let index = u8::try_from(index).unwrap_or(u8::MAX);
    let digest =
        Sha256::new().chain_update(b"rune invitation group").chain_update([index]).chain_update(group).finalize();
    let bits = digest.iter().take(2).fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte)) >> 6;
    [bits >> 5, bits & 31].map(|value| ALPHABET.get(value).copied().unwrap_or_default())
}

fn sum(payload: &[u8]) -> impl Iterator<Item = u8> + use<> {
    Sha256::digest(payload).into_iter().take(SUM)
}

fn data_of(group: &[Character]) -> impl Iterator<Item = u8> {
    group.iter().take(group.len().saturating_sub(CHECK)).map(|character| character.value)
}

/// The payload of these characters, without the sum at its end; `None` where the sum is wrong.
fn decode(data: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = BASE32_NOPAD.decode(&data.to_ascii_uppercase()).ok()?;
    let payload = bytes.len().checked_sub(SUM)?;
    let found = bytes.split_off(payload);
    sum(&bytes).eq(found).then_some(bytes)
}

/// Whether there are fewer characters than the fields announce.
fn too_short(characters: &[Character]) -> bool {
    let data: Vec<u8> = characters.chunks(GROUP + CHECK).flat_map(data_of).collect();
    let there = data.len() * 5 / 8;
    let bytes = whole_bytes(&data);
    // An extension is followed by the sum, or by another extension.
    match ends(&bytes).find(|end| there <= end + SUM) {
        Some(end) => there < end + SUM,
        None => true,
    }
}

/// Finds the mistake where every group's check is right but the sum is not: the ten bits of a group missed a wrong
/// character. Tries every other character in every place; if none makes the sum right, more than one character is
/// wrong.
fn locate(groups: &[&[Character]], data: &[u8]) -> InvitationError {
    let mut start = 0;
    for (index, group) in groups.iter().enumerate() {
        let mut original: Vec<u8> = data_of(group).collect();
        for place in 0..original.len() {
            for other in ALPHABET {
                let Some(wrong) = original.get_mut(place).map(|value| std::mem::replace(value, *other)) else {
                    continue;
                };
                if wrong != *other && group.ends_with_check(check(index, &original)) {
                    let mut repaired = data.to_vec();
                    repaired.splice(start..start + original.len(), original.iter().copied());
                    if decode(&repaired).is_some() {
                        return mistyped(group);
                    }
                }
                if let Some(value) = original.get_mut(place) {
                    *value = wrong;
                }
            }
        }
        start += original.len();
    }
    let first = groups.first().and_then(|group| group.first());
    let last = groups.last().and_then(|group| group.last());
    let place = |character: Option<&Character>| character.map_or(0, |character| character.position);
    InvitationError::Mistyped { from: place(first), to: place(last) }
}

trait Checked {
    fn ends_with_check(&self, check: [u8; CHECK]) -> bool;
}

impl Checked for [Character] {
    fn ends_with_check(&self, check: [u8; CHECK]) -> bool {
        self.split_last_chunk::<CHECK>().is_some_and(|(_, found)| found.map(|character| character.value) == check)
    }
}

/// Reads the payload's fields one after the other.
struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }
}

#[cfg(test)]
mod tests;
