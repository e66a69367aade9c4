//! What an invitation is about, before it is used.

use crate::control::{Code, Failure};
use crate::mail::{Invitation, InvitationError};

/// What an invitation says of whoever made it.
pub struct Looked {
    /// Whether it gives a box at a carrier; otherwise it makes a contact.
    pub is_box: bool,
    /// The address of its maker, or of the carrier.
    pub address: String,
    /// The onion in that address.
    pub onion: String,
    /// The key that the address must prove.
    pub fingerprint: String,
}

/// Looks at an invitation of either kind, and uses nothing.
///
/// # Errors
/// [`Code::Usage`] where there is none in the text, with the place of a mistake.
pub fn look(text: &str) -> Result<Looked, Failure> {
    let looked = |is_box, invitation: Invitation| Looked {
        is_box,
        address: invitation.address.to_string(),
        onion: invitation.address.onion().to_string(),
        fingerprint: invitation.fingerprint.to_string(),
    };
    let of_box = |error| match error {
        InvitationError::NotAnInvitation => Invitation::parse_box(text).map(|invitation| looked(true, invitation)),
        error => Err(error),
    };
    let read = Invitation::parse(text).map(|invitation| looked(false, invitation)).or_else(of_box);
    read.map_err(|error| Failure::new(Code::Usage, error.to_string()))
}
