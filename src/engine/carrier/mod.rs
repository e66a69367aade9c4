//! The carrier: holds sealed mail for others, and knows neither who left it nor for whom it is
//! (docs/protocol.md, "Box").
//!
//! [`Carrier`] is a machine of its own beside those of identities, with its own onion, certificate and log. [`Held`] is
//! the fold of its [`HeldRecord`]s. A session that deposits shows a token; one that collects shows the key of the box.
//!
//! | session | may |
//! |---|---|
//! | new | register, identify, deposit with a token |
//! | identified | also count, list, read and delete in its box, upload tokens, watch |

pub mod effect;
pub mod held;
#[cfg(test)]
mod held_tests;
mod identification;
mod machine;
mod mailbox;
mod objects;
pub mod record;
mod registration;
mod session;
#[cfg(test)]
mod tests;

pub use effect::{CarrierEffect, CarrierInput, CarrierRequest, CarrierRequestError, CarrierStatus, HeldTransaction};
pub use held::Held;
pub use machine::Carrier;
pub use record::{BoxInvitation, CarrierLimits, HeldRecord, Terms};
