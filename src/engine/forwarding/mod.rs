//! Carriage: a friend takes sealed objects for somebody else's node, and brings them there when that node answers
//! (docs/protocol.md, "Carriage").
//!
//! It is off unless both sides want it: whoever carries says for whom, whoever sends says by whom and to whom. The friend
//! sees who writes to whom, when and how much, and not what. Its word is custody; the receipt is delivery, as with drops.
//! The sender's half is in [`drops`](crate::engine::boxes): a friend is one more place where a copy is left.
//!
//! | module | what |
//! |---|---|
//! | `fold` | everything that records say of carriage |
//! | `taking` | requests, what a contact brings, what friends report |
//! | `carrying` | one session that brings one object to its receiver |

mod accept;
mod forward;
#[cfg(test)]
mod tests;

pub(in crate::engine) use accept::{allow_carriage, choose_carrier, take};
pub(in crate::engine) use forward::{Carrying, Rounds};
