//! Boxes: mail for somebody who is away (docs/protocol.md, "Box", "Drops in cards", "Receipts").
//!
//! An identity has boxes at carriers, which its contacts fill while it is away. A message whose recipient does not
//! answer is left at each box of the recipient (`deposit`). The recipient collects it (`collect`) and returns a receipt
//! (`deliver::receipts`). The direct attempts go on meanwhile, and the message stays in the queue: a carrier's word
//! means that it holds the message, and only the receipt means that it was delivered.
//!
//! What records say of boxes is in [`state::boxes`](crate::engine::state::boxes).
//!
//! | module | what |
//! |---|---|
//! | `room` | the memory of boxes apart from that of the sessions |
//! | `calendar` | when which box is dialled |
//! | `deposit` | one session that leaves one thing at a contact's box, or with a friend who forwards |
//! | `client` | the client that such a session talks through: to a carrier or to a friend |
//! | `pages` | first contact while the other is away: a page at a carrier, and the card that answers it |
//! | `collect` | one session with a box of ours: registration, tokens, mail |
//! | `check` | whether a box of ours works: something of our own goes there and comes back |
//! | `rent` | requests: rent a box, give one up |

mod calendar;
#[cfg(test)]
mod carrier_tests;
mod check;
mod client;
mod collect;
mod deposit;
mod pages;
#[cfg(test)]
mod receipt_tests;
mod rent;
mod room;
#[cfg(test)]
mod tests;

pub use calendar::Delays;

pub(in crate::engine) use check::CheckTask;
pub(in crate::engine) use collect::CollectTask;
pub(in crate::engine) use deposit::{DepositRooms, DepositTask};
pub(in crate::engine) use rent::{leave_box, rent_box};
pub(in crate::engine) use room::Boxes;
