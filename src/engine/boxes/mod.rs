//! Drops: the mailboxes that an identity rents at carriers for its contacts to fill while it is away, and those of its
//! contacts (docs/protocol.md, "Box", "Drops in cards", "Receipts").
//!
//! A message whose recipient does not answer is left at each of the recipient's drops (`depositing`), where the recipient
//! collects it (`collecting`) and returns a receipt (`receipts`). The direct attempts go on meanwhile, and the message stays
//! in the queue: a carrier's word is custody, the receipt is delivery.
//!
//! | module | what |
//! |---|---|
//! | `rented` | a drop of ours: its keys, its seats, the sets of its tokens |
//! | `named` | the drops of a contact, and which of their tokens were used |
//! | `fold` | everything that records say of drops |
//! | `room` | what is remembered of them apart from the sessions |
//! | `renting` | requests: rent one, give one up |
//! | `calendar` | when which drop is dialled |
//! | `depositing` | one session that leaves one thing at a contact's drop, or with a friend who carries |
//! | `leg` | whom such a session talks to |
//! | `pages` | first contact while the other is away: what an invitation's maker leaves at a carrier, and who answers it |
//! | `collecting` | one session with a drop of ours: registration, tokens, mail |
//! | `checking` | whether a drop of ours works: something of our own goes there and comes back |
//! | `reads` | messages whose authors hear that they were read |
//! | `receipts` | what is returned for mail that came through a drop, and what such a return means |

mod calendar;
#[cfg(test)]
mod carrier_tests;
mod check;
mod collect;
mod deposit;
mod leg;
mod pages;
#[cfg(test)]
mod receipt_tests;
mod rent;
mod room;
#[cfg(test)]
mod tests;

pub use calendar::Delays;

pub(in crate::engine) use check::Checking;
pub(in crate::engine) use collect::Collecting;
pub(in crate::engine) use deposit::{DepositRooms, Depositing};
pub(in crate::engine) use rent::{leave_drop, rent_drop};
pub(in crate::engine) use room::Boxes;
