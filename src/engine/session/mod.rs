//! RUNE sessions as pure machines: [`Server`] for a peer that connected to us, [`DeliveryClient`] for one that we
//! dialled, [`BoxClient`] for a carrier that we dialled (docs/protocol.md, "States", "Delivery" and "Box").
//!
//! Bytes go in with the time; bytes come out of `take_output`, deadlines out of `poll_timeout`. The machines know
//! nothing of sockets, contacts or storage: the server asks its [`Host`], the clients report [`Event`]s.
//!
//! | machine | waits for | ends with |
//! |---|---|---|
//! | server | a command, the rest of an item, a settlement, the moment of an answer | QUIT, closing status, time-out |
//! | delivery client | greeting, 201, the object (from its owner), 202 | `finish`, a failure |

mod answer;
#[cfg(test)]
mod bound_tests;
mod box_client;
mod boxes;
mod client;
mod delivery_client;
#[cfg(test)]
mod delivery_client_tests;
#[cfg(test)]
mod hostile;
mod pace;
mod patience;
mod promises;
mod replies;
mod server;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::base::{ContactId, InvitationId, MacKey, Timestamp};
use crate::mail::Address;
use crate::wire::{Claim, Code, Importance, Mac, Status};

pub use answer::{Answer, Line};
pub use box_client::{Answered, BoxClient, Service};
pub use boxes::{BoxHost, Deposit};
pub use delivery_client::DeliveryClient;
pub use promises::Promise;
pub use server::Server;

/// Names a delivery of a [`Server`] or a job of a [`DeliveryClient`], unique within its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// The sender that a SEND was shown to come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sender {
    /// The authenticator was made with this contact's key.
    Contact(ContactId),
    /// The authenticator was made with the secret of this open invitation.
    Invitation(InvitationId),
    /// No authenticator, or one that fits no key.
    Stranger,
}

/// The parameters of a SEND.
#[derive(Debug, Clone)]
pub struct SendParams {
    /// The receiver, with group and folder.
    pub to: Address,
    /// The size and hash that the object is to have, which the session checks.
    pub claim: Option<Claim>,
    /// The authenticator over the claim (`wire::verify`).
    pub auth: Option<Mac>,
    /// The same authenticator for the receiver, where we are to forward the object.
    pub onward: Option<Mac>,
    /// SHA-256 of the receiver's certificate that the sender knows.
    pub certificate: Option<[u8; 32]>,
    /// How urgent the object is.
    pub importance: Importance,
    /// Whether the sender asked for `+SECURE`.
    pub secure: bool,
}

/// The answer to a SEND.
#[derive(Debug, Clone)]
pub enum Offer {
    /// The object may come.
    Ready {
        /// The largest object from this sender, in bytes.
        maximum: usize,
        /// The receiver's certificate.
        certificate: Arc<[u8]>,
        /// The sender, as far as shown.
        sender: Sender,
    },
    /// The object may come, and is forwarded to the receiver's node.
    Carried {
        /// The largest object from this sender, in bytes.
        maximum: usize,
        /// The sender, as far as shown.
        sender: Sender,
    },
    /// The delivery is refused, for now or for good. A reason that a stranger must not learn is [`Status::NotAvailable`].
    Refused(Status),
}

/// An object that arrived whole.
#[derive(Clone)]
pub struct Delivery {
    /// The parameters of its SEND.
    pub send: SendParams,
    /// The sender, as far as shown.
    pub sender: Sender,
    /// The sealed object.
    pub object: Vec<u8>,
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivery").field("object", &self.object.len()).finish_non_exhaustive()
    }
}

/// The questions of a [`Server`] to its owner, while it handles bytes.
pub trait Host {
    /// A peer asks to send. A SEND without a claim may only want the certificate, so a quota counts only what is
    /// delivered.
    fn offer(&mut self, now: Timestamp, send: &SendParams) -> Offer;
    /// An object arrived. `Some` answers at once; `None` promises to call [`Server::settle`], until which the
    /// sender waits.
    fn deliver(&mut self, now: Timestamp, ticket: Ticket, delivery: Delivery) -> Option<Status>;
    /// The box that is served here; `None` if it is not a carrier.
    fn as_box(&mut self) -> Option<&mut dyn BoxHost> {
        None
    }
}

/// One object to send, or a question for a certificate.
#[derive(Clone)]
pub struct Job {
    /// The receiver; the authenticator covers its onion.
    pub to: Address,
    /// SHA-256 of the receiver's certificate that we have.
    pub certificate: Option<[u8; 32]>,
    /// The sealed object; `None` to ask for the certificate first, then [`DeliveryClient::provide`] it.
    pub object: Option<Arc<[u8]>>,
    /// The key for the authenticator.
    pub auth: Option<MacKey>,
    /// How urgent the object is.
    pub importance: Importance,
    /// To whose node the session leads.
    pub way: Way,
}

/// How an object gets to its receiver (docs/protocol.md, "Carriage").
#[derive(Clone)]
pub enum Way {
    /// The session leads to the receiver's node.
    Direct,
    /// The session leads to a friend who is to forward the object. This key shows the receiver who sends it.
    Carried(Option<MacKey>),
    /// The session leads to the receiver's node, and a contact gave us the object with this authenticator to forward.
    Carrying(Option<Mac>),
    /// The session leads to the receiver's node, and only shows it that we are there: this is announced, and nothing is
    /// brought. The job ends as one without an object.
    Knock(Claim),
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// 202: the receiver has it.
    Accepted,
    /// Any other code. [`Code::disposition`] says whether to try again.
    Refused(Code),
    /// 409 for an object that was on its way when the receiver showed another certificate: it may be taken if it is
    /// sealed to that one.
    Outdated,
}

/// What a [`DeliveryClient`] reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The receiver's certificate, other than the one that the job named. The object is wanted now, sealed to this one:
    /// [`DeliveryClient::provide`] or [`DeliveryClient::withdraw`]. If an object was on its way already, the job goes
    /// on by itself, and this is for your information.
    Certificate {
        /// The job.
        ticket: Ticket,
        /// The certificate, as it came: check it before use.
        bytes: Arc<[u8]>,
        /// Whether the job waits for [`DeliveryClient::provide`].
        wanted: bool,
    },
    /// A job without an object named the right certificate: it waits for [`DeliveryClient::provide`] or
    /// [`DeliveryClient::withdraw`].
    Wanted {
        /// The job.
        ticket: Ticket,
    },
    /// A job ended.
    Outcome {
        /// The job.
        ticket: Ticket,
        /// How it ended.
        outcome: Outcome,
    },
    /// The session is of no more use. None of these jobs has an outcome: its object may or may not have arrived.
    Failed {
        /// The jobs.
        unresolved: Vec<Ticket>,
        /// The reason.
        failure: Failure,
    },
}

/// Why a [`DeliveryClient`]'s session failed. All are reasons to try again later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The bytes from the peer are not RUNE, or not in order.
    #[error("the peer broke the protocol")]
    Protocol,
    /// The peer speaks none of our versions.
    #[error("the peer speaks no version that we do")]
    Version,
    /// The peer was too slow.
    #[error("the peer took too long")]
    TimeOut,
    /// The peer ended the session with this code.
    #[error("the peer ended the session: {0}")]
    Closed(Code),
    /// The connection ended.
    #[error("the connection ended")]
    Disconnected,
}
