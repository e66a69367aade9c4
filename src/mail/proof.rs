//! Texts with which the owner of a box proves its key to a carrier (docs/protocol.md, "Registration" and
//! "Identification"). Each names the server and its own purpose, so that it proves nothing at another server or for
//! another one.

use crate::base::Onion;
use crate::base::ids::Fingerprint;

/// The payload of a `challenge/1` and of its `challenge-answer/1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrationProof {
    /// The carrier.
    pub server: Onion,
    /// The primary key of the owner, which names the box.
    pub key: Fingerprint,
    /// The carrier's challenge.
    pub nonce: [u8; 32],
}

/// The text that an identification signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentificationProof {
    /// The carrier.
    pub server: Onion,
    /// The primary key of the owner, which names the box.
    pub key: Fingerprint,
    /// The carrier's challenge.
    pub server_nonce: [u8; 32],
    /// The client's part of the challenge.
    pub client_nonce: [u8; 32],
    /// The purpose of the identification.
    pub purpose: String,
    /// The one command that it allows; `None` where it counts for a session.
    pub command: Option<String>,
}

impl RegistrationProof {
    /// The lines of the text.
    pub fn text(&self) -> String {
        let Self { server, key, nonce } = self;
        format!("RUNE/1 registration\nserver: {server}\nkey: {key}\nnonce: {}\n", hex(nonce))
    }

    /// Reads the lines; `None` where they have another form.
    pub fn from_text(text: &[u8]) -> Option<Self> {
        let mut lines = std::str::from_utf8(text).ok()?.split_terminator('\n');
        (lines.next()? == "RUNE/1 registration").then_some(())?;
        let server = lines.next()?.strip_prefix("server: ")?.parse().ok()?;
        let key = lines.next()?.strip_prefix("key: ")?.parse().ok()?;
        let nonce = lines.next()?.strip_prefix("nonce: ")?.as_bytes();
        let nonce = data_encoding::HEXLOWER_PERMISSIVE.decode(nonce).ok()?.try_into().ok()?;
        lines.next().is_none().then_some(Self { server, key, nonce })
    }
}

impl IdentificationProof {
    /// The lines of the text.
    pub fn text(&self) -> String {
        format!(
            "RUNE/1 identification\nserver: {}\nkey: {}\nserver-nonce: {}\nclient-nonce: {}\npurpose: {}\ncommand: {}\n",
            self.server,
            self.key,
            hex(&self.server_nonce),
            hex(&self.client_nonce),
            self.purpose,
            self.command.as_deref().unwrap_or("session"),
        )
    }
}

fn hex(bytes: &[u8; 32]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registration_reads_as_it_was_written_and_nothing_else_does() {
        let server = Onion::from_public_key([2; 32]);
        let proof = RegistrationProof { server, key: Fingerprint::from_bytes([1; 32]), nonce: [3; 32] };
        let text = proof.text();
        assert_eq!(RegistrationProof::from_text(text.as_bytes()), Some(proof));
        for other in [text.replace("key", "Key"), format!("{text}\n"), text.replace("03", "0x"), String::new()] {
            assert_eq!(RegistrationProof::from_text(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn an_identification_says_everything_that_makes_it_one() {
        let (server, key) = (Onion::from_public_key([2; 32]), Fingerprint::from_bytes([1; 32]));
        let proof = IdentificationProof {
            server,
            key,
            server_nonce: [3; 32],
            client_nonce: [4; 32],
            purpose: "collect".to_owned(),
            command: None,
        };
        let expected = format!(
            "RUNE/1 identification\nserver: {server}\nkey: {}\nserver-nonce: {}\nclient-nonce: {}\npurpose: collect\n\
             command: session\n",
            "01".repeat(32),
            "03".repeat(32),
            "04".repeat(32),
        );
        assert_eq!(proof.text(), expected);
    }
}
