//! Records of the identity itself.

use std::sync::Arc;

use crate::base::{SealKeyId, Timestamp};
use crate::engine::encoding::records;
use crate::engine::state::profile::Profile;
use crate::engine::state::queue::Submitted;
use crate::mail::revocation::Extent;

records! {
    /// What happened to the identity itself.
    IdentityRecord
    /// The identity was made. The first record of every log.
    1 IdentityCreated {
        /// Its profile.
        profile: Box<Profile>,
    }
    /// An application password was made.
    40 PasswordAdded {
        /// What its user calls it.
        name: String,
        /// Argon2id, in PHC form.
        hash: String,
        /// When.
        created: Timestamp,
    }
    /// An application password was removed.
    41 PasswordRevoked {
        /// Its name.
        name: String,
    }
    /// The log was put back from a backup, or repaired: mail programs and contacts may know of things that were in the
    /// lost part, and that are not known here.
    43 Restored {
        /// When the backup was made; of a repair, when it was done.
        made: Timestamp,
        /// When the log was put back, or repaired.
        at: Timestamp,
    }
    /// Its owner calls it otherwise from now on. Its address stays.
    150 IdentityRenamed {
        /// The new name.
        name: String,
    }
    /// Its owner revoked its onion, its key or both. It sends no mail any more.
    151 IdentityRevoked {
        /// What is revoked from now on, with what was before.
        extent: Extent,
        /// When.
        at: Timestamp,
        /// What tells the contacts; `None` where there is nobody to tell, and in a checkpoint.
        queued: Option<Box<Submitted>>,
    }
    /// Whether the identity's onion is to be published.
    59 ListenSwitched {
        /// Whether it is.
        on: bool,
    }
    /// A new encryption key was made and its secret half kept: the certificate has it in the place of the one before.
    160 SealKeyRenewed {
        /// The new key.
        id: SealKeyId,
        /// The certificate with it.
        certificate: Arc<[u8]>,
        /// When.
        at: Timestamp,
    }
    /// Secret halves that no record names are on the disk: a crash, or an older copy of the log, left them. They are kept for
    /// as long as if they had been replaced now.
    167 SealKeysFound {
        /// The keys.
        ids: Vec<SealKeyId>,
        /// When.
        at: Timestamp,
    }
    /// The secret halves of encryption keys were destroyed: what was sealed to them is not opened any more.
    161 SealKeysDestroyed {
        /// The keys.
        ids: Vec<SealKeyId>,
    }
}
