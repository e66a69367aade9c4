//! Pages: what the maker of an invitation leaves at a carrier for the person who uses it (docs/protocol.md, "Pages").
//!
//! A page is the maker's certificate, encrypted under a key that only the invitation tells. Its token admits one
//! answer.

use hmac::{Hmac, Mac};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use sha2::Sha256;

use super::invitation::SECRET_BYTES;
use crate::base::Onion;
use crate::base::limits::PAGE_BYTES;

/// Sizes that a page may have, in bytes.
pub const PAGE_SIZES: [usize; 2] = [4096, PAGE_BYTES as usize];
const TAG: usize = 16;
const LENGTH: usize = 4;

/// The keys that the secret of an invitation gives for one carrier.
pub struct PageKeys {
    token: [u8; 32],
    key: [u8; 32],
}

impl PageKeys {
    /// The keys of this invitation at this carrier.
    pub fn new(secret: &[u8; SECRET_BYTES], carrier: Onion) -> Self {
        Self {
            token: derive(secret, b"RUNE/1 page token\0", carrier),
            key: derive(secret, b"RUNE/1 page key\0", carrier),
        }
    }

    /// The token that fetches the page and admits one object.
    pub const fn token(&self) -> [u8; 32] {
        self.token
    }

    /// A page with this certificate; `None` where the certificate is too large. The nonce must be new.
    pub fn seal(&self, nonce: [u8; NONCE_LEN], certificate: &[u8]) -> Option<Vec<u8>> {
        let needed = NONCE_LEN + LENGTH + certificate.len() + TAG;
        let size = PAGE_SIZES.into_iter().find(|size| *size >= needed)?;
        let mut text = u32::try_from(certificate.len()).ok()?.to_be_bytes().to_vec();
        text.extend_from_slice(certificate);
        text.resize(size - NONCE_LEN - TAG, 0);
        self.cipher()?.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut text).ok()?;
        Some([&nonce[..], &text].concat())
    }

    /// The certificate in a page, unchecked; `None` where it is not a page of this invitation.
    pub fn open(&self, page: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = page.split_first_chunk::<NONCE_LEN>()?;
        let mut sealed = sealed.to_vec();
        let text =
            self.cipher()?.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::empty(), &mut sealed).ok()?;
        let (length, rest) = text.split_first_chunk::<LENGTH>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        rest.get(..length).map(<[u8]>::to_vec)
    }

    fn cipher(&self) -> Option<LessSafeKey> {
        UnboundKey::new(&CHACHA20_POLY1305, &self.key).ok().map(LessSafeKey::new)
    }
}

impl std::fmt::Debug for PageKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PageKeys").finish_non_exhaustive()
    }
}

fn derive(secret: &[u8; SECRET_BYTES], label: &[u8], carrier: Onion) -> [u8; 32] {
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else { return [0; 32] };
    mac.update(label);
    mac.update(carrier.public_key());
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_with_its_invitation_and_no_other() {
        let carrier = Onion::from_public_key([3; 32]);
        let keys = PageKeys::new(&[7; 16], carrier);
        for (length, size) in [(0, 4096), (1600, 4096), (4064, 4096), (4065, 16_384), (16_352, 16_384)] {
            let certificate = vec![9; length];
            let page = keys.seal([length as u8; 12], &certificate).unwrap();
            assert_eq!(page.len(), size);
            assert_eq!(keys.open(&page), Some(certificate));
            let mut altered = page.clone();
            altered[size / 2] ^= 1;
            assert_eq!(keys.open(&altered), None);
            assert_eq!(keys.open(&page[..size - 1]), None);
            assert_eq!(PageKeys::new(&[8; 16], carrier).open(&page), None);
            assert_eq!(PageKeys::new(&[7; 16], Onion::from_public_key([4; 32])).open(&page), None);
        }
        assert_eq!(keys.seal([1; 12], &[0; 16_353]), None);
        assert_eq!(keys.open(b"short"), None);
    }
}
