//! Forwarding: a contact gives us sealed objects for somebody else's node, and we bring them there when that node
//! answers (docs/protocol.md, "Carriage").
//!
//! It is off unless both sides want it: the friend who forwards says for whom, and the sender says by whom and to whom.
//! The friend sees who writes to whom, when and how much, but not the content. The friend's word means that it has the
//! object; only the receipt means that the message was delivered. The sender's half is in
//! [`boxes`](crate::engine::boxes): for the sender a friend is one more place where a copy is left. What records say is
//! in [`state::forwarding`](crate::engine::state::forwarding).
//!
//! | module | what |
//! |---|---|
//! | `forward` | which node is dialled when, and one session that brings one object to its receiver |
//! | `forward` | when which node is dialled, and one session that brings one object to its receiver |

mod accept;
mod forward;
#[cfg(test)]
mod tests;

pub(in crate::engine) use accept::{allow_forwarding, choose_carrier, take};
pub(in crate::engine) use forward::{ForwardSchedule, ForwardTask};
