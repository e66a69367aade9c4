//! Records of what the user knows of people.

use crate::base::{ContactId, Timestamp};
use crate::engine::encoding::records;

records! {
    /// What the user knows of people.
    PeopleRecord
    /// The user said whether the verification numbers of a contact are the same at both sides.
    128 VerificationMarked {
        /// The contact.
        contact: ContactId,
        /// When the user said that they are the same; `None` takes the mark away.
        at: Option<Timestamp>,
    }
}
