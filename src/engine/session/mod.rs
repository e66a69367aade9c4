//! RUNE sessions as pure machines: [`Server`] for a peer who connected to us, [`DeliveryClient`] for one that we dialled,
//! [`BoxClient`] for a carrier that we dialled
//! (docs/protocol.md, "States", "Delivery" and "Box").
//!
//! Bytes go in with the time; bytes come out of `take_output`, deadlines out of `poll_timeout`. The machines know
//! nothing of sockets, contacts or storage: the server asks its [`Host`], the clients report [`Event`]s.
//!
//! | machine | waits for | ends with |
//! |---|---|---|
//! | server | first command, next command, rest of an item, settlement of a delivery, the moment of an answer | QUIT, a closing status, a time-out |
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

/// Who a session's SEND was shown to come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sender {
    /// The authenticator was made with this contact's key.
    Contact(ContactId),
    /// The authenticator was made with the secret of this open invitation.
    Invitation(InvitationId),
    /// No authenticator, or one that fits no key.
    Stranger,
}

/// What a SEND asks for.
#[derive(Debug, Clone)]
pub struct SendParams {
    /// To whom, with group and folder.
    pub to: Address,
    /// What the object will be; the session checks that it is so.
    pub claim: Option<Claim>,
    /// The authenticator over the claim (`wire::verify`).
    pub auth: Option<Mac>,
    /// The same for the receiver, where we are to carry the object there.
    pub onward: Option<Mac>,
    /// SHA-256 of the receiver's certificate that the sender has.
    pub certificate: Option<[u8; 32]>,
    /// How urgent.
    pub importance: Importance,
    /// Whether the sender asked for `+SECURE`.
    pub secure: bool,
}

/// The answer to a SEND.
#[derive(Debug, Clone)]
pub enum Offer {
    /// Go on.
    Ready {
        /// The largest object from this sender, in bytes.
        maximum: usize,
        /// The receiver's certificate.
        certificate: Arc<[u8]>,
        /// Who is sending.
        sender: Sender,
    },
    /// Go on: what comes is carried to the receiver's node.
    Carried {
        /// The largest object from this sender, in bytes.
        maximum: usize,
        /// Who is sending.
        sender: Sender,
    },
    /// Not now, or not at all. For whatever a stranger must not learn: [`Status::NotAvailable`].
    Refused(Status),
}

/// An object that arrived whole.
#[derive(Clone)]
pub struct Delivery {
    /// What its SEND asked for.
    pub send: SendParams,
    /// From whom, as far as shown.
    pub sender: Sender,
    /// The sealed object.
    pub object: Vec<u8>,
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivery").field("object", &self.object.len()).finish_non_exhaustive()
    }
}

/// What a [`Server`] asks of its owner, while it handles bytes.
pub trait Host {
    /// Somebody asks to send. One without a claim may only want the certificate: a quota counts what is delivered.
    fn offer(&mut self, now: Timestamp, send: &SendParams) -> Offer;
    /// An object arrived. `Some` answers at once; `None` promises to call [`Server::settle`], until which the
    /// sender waits.
    fn deliver(&mut self, now: Timestamp, ticket: Ticket, delivery: Delivery) -> Option<Status>;
    /// The box that is served here, where one is.
    fn as_box(&mut self) -> Option<&mut dyn BoxHost> {
        None
    }
}

/// One object to send, or a question for a certificate.
#[derive(Clone)]
pub struct Job {
    /// To whom; its onion is what the authenticator covers.
    pub to: Address,
    /// SHA-256 of the receiver's certificate that we have.
    pub certificate: Option<[u8; 32]>,
    /// The sealed object; `None` to ask for the certificate first, then [`DeliveryClient::provide`] it.
    pub object: Option<Arc<[u8]>>,
    /// The key for the authenticator.
    pub auth: Option<MacKey>,
    /// How urgent.
    pub importance: Importance,
    /// Whose node the session leads to.
    pub way: Way,
}

/// How an object gets to its receiver (docs/protocol.md, "Carriage").
#[derive(Clone)]
pub enum Way {
    /// The session leads there.
    Direct,
    /// The session leads to somebody who is to carry it there. The receiver is shown by this key who sends.
    Carried(Option<MacKey>),
    /// The session leads there, and somebody gave us the object with this authenticator to carry.
    Carrying(Option<Mac>),
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// 202: the receiver has it.
    Accepted,
    /// Anything else. [`Code::disposition`] says whether to try again.
    Refused(Code),
    /// 409 for an object that was on its way when the receiver showed another certificate: sealed to that one it may
    /// be taken.
    Outdated,
}

/// What a [`DeliveryClient`] reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The receiver's certificate, other than the one that the job named. The object is wanted now, sealed to it:
    /// [`DeliveryClient::provide`] or [`DeliveryClient::withdraw`]. Where an object was on its way already the job goes on by
    /// itself, and this is for your information.
    Certificate {
        /// Which job.
        ticket: Ticket,
        /// The certificate, as it came: check it before use.
        bytes: Arc<[u8]>,
        /// Whether the job waits for [`DeliveryClient::provide`].
        wanted: bool,
    },
    /// A job without an object named the right certificate: [`DeliveryClient::provide`] or [`DeliveryClient::withdraw`].
    Wanted {
        /// Which job.
        ticket: Ticket,
    },
    /// A job ended.
    Outcome {
        /// Which job.
        ticket: Ticket,
        /// How.
        outcome: Outcome,
    },
    /// The session is of no more use. Each of these jobs has no outcome: it may or may not have arrived.
    Failed {
        /// The jobs.
        unresolved: Vec<Ticket>,
        /// Why.
        failure: Failure,
    },
}

/// Why a [`DeliveryClient`]'s session failed. All are reasons to try again later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// What the peer sent is not RUNE, or not in order.
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
