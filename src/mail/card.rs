//! Cards: what an identity tells one contact about itself, and the statement that binds its onion to its
//! certificate (docs/protocol.md, "Card" and "Binding statement").

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::base::ids::Fingerprint;
use crate::base::{ContentId, MacKey, Onion, Timestamp, TokenSeed};

use super::Address;
use super::dsn::{PLAIN, head};

/// The statement that one onion and one primary key are the same identity, signed by both.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// Counts from 1; a higher one replaces a lower one.
    pub epoch: u32,
    /// The onion key's ed25519 signature over [`Binding::statement`] (64 bytes).
    #[serde(with = "super::base64_bytes")]
    pub onion_signature: Vec<u8>,
    /// The primary key's detached OpenPGP signature over the same text.
    #[serde(with = "super::base64_bytes")]
    pub key_signature: Vec<u8>,
}

impl Binding {
    /// The text that both keys sign. The onion key signs nothing else, ever.
    pub fn statement(onion: Onion, fingerprint: &Fingerprint, epoch: u32) -> String {
        format!("RUNE/1 binding\nonion: {onion}\nfingerprint: {fingerprint}\nepoch: {epoch}\n")
    }
}

impl std::fmt::Debug for Binding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Binding").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

/// The payload of a `card/1` content, as JSON. Unknown members are ignored.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// Grows with every card that this contact gets.
    pub counter: u64,
    /// The author's address.
    pub address: Address,
    /// The author's certificate (OpenPGP, binary, base64 in the JSON).
    #[serde(with = "super::base64_bytes")]
    pub certificate: Vec<u8>,
    /// Binds the address's onion to the certificate.
    pub binding: Binding,
    /// The key with which the reader of this card authenticates its SENDs to the author (base64).
    #[serde(with = "super::mac_key")]
    pub auth_key: MacKey,
    /// The secret of the invitation that this card redeems (base64), on the first card to an inviter.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "super::base64_option")]
    pub invitation: Option<Vec<u8>>,
    /// The boxes in which the reader may leave objects while the author is away.
    #[serde(rename = "drops", default, skip_serializing_if = "Vec::is_empty")]
    pub boxes: Vec<CardBox>,
    /// Whether the author returns receipts to the reader.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub receipts: bool,
}

const fn yes() -> bool {
    true
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
const fn is_yes(value: &bool) -> bool {
    *value
}

/// One box of a card's author (docs/protocol.md, "Drops in cards").
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CardBox {
    /// The onion of the carrier.
    #[serde(with = "super::text")]
    pub onion: Onion,
    /// The carrier's primary key.
    #[serde(with = "super::text")]
    pub fingerprint: Fingerprint,
    /// The seed from which the reader's tokens are made (base64).
    #[serde(with = "super::token_seed")]
    pub seed: TokenSeed,
    /// For each class, how many tokens there are in an epoch.
    pub classes: BTreeMap<u8, u32>,
    /// There are tokens for every epoch that is a multiple of this.
    pub every: u32,
}

/// A notice in INBOX: a contact sent two different cards with the same number.
pub fn forked_notice(
    own: &Address,
    petname: &str,
    address: &Address,
    counter: u64,
    id: ContentId,
    now: Timestamp,
) -> Vec<u8> {
    let daemon = format!("Mail delivery <mailer-daemon@{}>", own.onion());
    let mut text = head(&daemon, own, "A contact says two different things about itself", id, now);
    let _ = write!(
        text,
        "Auto-Submitted: auto-generated\r\n{PLAIN}\r\n\
         This is your own node. Your contact\r\n\r\n{petname} <{address}>\r\n\r\n\
         sent two cards with the number {counter} that differ. (In a card a node says which keys it uses.) The first one counts.\r\n\
         The second one was not taken.\r\n\r\n\
         This happens where they removed you from their address book and added you again, or where their node runs from an\r\n\
         older copy of its files. It also happens where somebody else has a copy of their keys. Ask them whether they did\r\n\
         one of the first two, in person or by telephone, and not by mail to this address.\r\n\r\n\
         If they did, remove each other and meet anew: runepeer contact rm NAME, then runepeer invite.\r\n\
         If they did not, write to them nothing secret until they have a new identity.\r\n"
    );
    text.into_bytes()
}

impl std::fmt::Debug for CardBox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CardBox").field("classes", &self.classes.len()).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Card {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Card").field("counter", &self.counter).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn filled() -> Card {
        let onion = Onion::from_public_key([1; 32]);
        Card {
            counter: 3,
            address: format!("bob@{onion}").parse().unwrap(),
            certificate: vec![1],
            binding: Binding { epoch: 1, onion_signature: vec![2], key_signature: vec![3] },
            auth_key: MacKey::from_bytes([4; 32]),
            invitation: Some(vec![5; 16]),
            boxes: vec![CardBox {
                onion,
                fingerprint: Fingerprint::from_bytes([6; 32]),
                seed: TokenSeed::from_bytes([7; 32]),
                classes: BTreeMap::from([(12, 16)]),
                every: 7,
            }],
            receipts: false,
        }
    }

    /// Other programs read these names: docs/protocol.md has them, and the code may call its fields otherwise.
    #[test]
    fn the_members_of_a_card_are_called_as_the_protocol_calls_them() {
        let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        let card = serde_json::to_value(filled()).unwrap();
        let members = ["address", "auth_key", "binding", "certificate", "counter", "drops", "invitation", "receipts"];
        assert_eq!(names(&card), members);
        assert_eq!(names(&card["binding"]), ["epoch", "key_signature", "onion_signature"]);
        assert_eq!(names(&card["drops"][0]), ["classes", "every", "fingerprint", "onion", "seed"]);
        assert_eq!(card["drops"][0]["classes"], json!({"12": 16}));
        let protocol = include_str!("../../docs/protocol.md");
        let said = |name: &&str| protocol.contains(&format!("| `{name}` |"));
        assert!(members.iter().all(said), "the table of the protocol has another name");
        assert!(serde_json::from_value::<Card>(card).unwrap() == filled());
    }
}
