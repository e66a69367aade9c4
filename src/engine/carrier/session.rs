//! One session with a client: which keys it has shown, and what each of its commands becomes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::held::{Admission, Held};
use crate::base::ids::Fingerprint;
use crate::base::limits::IN_FLIGHT_BYTES;
use crate::base::{ClockStep, SessionId, Timestamp};
use crate::engine::session::{Answer, BoxHost, Delivery, Deposit, Host, Offer, SendParams, Server, Ticket};
use crate::wire::Status;
use crate::wire::mailbox::{BoxCommand, Style};
use crate::wire::token::{TokenHash, epoch, hash_of};

/// A session that a client opened.
pub(super) struct BoxSession {
    pub(super) machine: Server,
    /// The challenge that it was asked to register.
    pub(super) registering: Option<Registering>,
    /// The challenge that it was asked to identify itself.
    pub(super) identifying: Option<Identifying>,
    /// The box whose key it has shown.
    pub(super) identified: Option<Identified>,
    /// The box that it watches.
    pub(super) watching: Option<Fingerprint>,
    /// The style of answers that every LIST and RETRIEVE of it asks for.
    pub(super) style: Style,
    /// The command that is being done, and those behind it.
    pub(super) doing: Option<Ticket>,
    pub(super) waiting: VecDeque<(Ticket, Asked)>,
}

/// A challenge of a registration.
#[derive(Clone)]
pub(super) struct Registering {
    pub(super) mailbox: Fingerprint,
    pub(super) certificate: Arc<[u8]>,
    pub(super) invitation: Option<[u8; 32]>,
    pub(super) nonce: [u8; 32],
    pub(super) asked: Timestamp,
}

/// A challenge of an identification.
pub(super) struct Identifying {
    /// `None` if there is no such box, which is told to nobody.
    pub(super) mailbox: Option<Fingerprint>,
    pub(super) nonce: [u8; 32],
    pub(super) purpose: String,
}

/// The box whose key was shown, and what that allows.
#[derive(Clone)]
pub(super) struct Identified {
    pub(super) mailbox: Fingerprint,
    /// Until when the identification counts; `None` for the whole session.
    pub(super) until: Option<Timestamp>,
    /// The one command for which it counts.
    pub(super) command: Option<BoxCommand>,
    /// Whether that command has come. The session still counts as one of this owner.
    pub(super) used: bool,
}

impl BoxSession {
    pub(super) fn new(now: Timestamp) -> Self {
        let machine = Server::of_box(now);
        Self {
            machine,
            registering: None,
            identifying: None,
            identified: None,
            watching: None,
            style: Style::default(),
            doing: None,
            waiting: VecDeque::new(),
        }
    }

    /// The clock was set.
    pub(super) fn clock_set(&mut self, step: ClockStep) {
        self.machine.clock_set(step);
        if let Some(identified) = &mut self.identified {
            identified.until = identified.until.map(|until| until.stepped(step));
        }
    }

    /// Whether it has shown a key.
    pub(super) const fn is_identified(&self) -> bool {
        self.identified.is_some()
    }

    /// Whether the session may do this in this box now. An identification for one command is used up by it.
    pub(super) fn may(&mut self, now: Timestamp, mailbox: &str, command: &BoxCommand) -> Option<Fingerprint> {
        let Identified { mailbox: shown, until, command: only, used } = self.identified.as_mut()?;
        let counts = mailbox.parse() == Ok(*shown)
            && !*used
            && until.is_none_or(|until| now <= until)
            && only.as_ref().is_none_or(|only| only == command);
        *used = only.is_some();
        counts.then_some(*shown)
    }
}

/// A command or an object that came while a session read.
pub(super) enum Asked {
    Command(BoxCommand, Vec<u8>),
    Deposit(Deposit, Vec<u8>),
}

/// The parts of the carrier that a session may ask while it reads.
pub(super) struct Reception<'a> {
    pub(super) held: &'a Held,
    /// Objects on their way to the disk, by the hashes of their tokens.
    pub(super) storing: &'a BTreeMap<TokenHash, Storing>,
    pub(super) disk_low: bool,
    /// Bytes in memory that all sessions hold or were promised.
    pub(super) in_memory: u64,
    pub(super) asked: Vec<(Ticket, Asked)>,
}

/// An object on its way to the disk, and the commands that wait until it is there.
pub(super) struct Storing {
    pub(super) hash: [u8; 32],
    pub(super) size: u64,
    pub(super) waiting: Vec<(SessionId, Ticket)>,
}

impl Host for Reception<'_> {
    fn offer(&mut self, _now: Timestamp, _send: &SendParams) -> Offer {
        Offer::Refused(Status::NotAvailable)
    }

    fn deliver(&mut self, _now: Timestamp, _ticket: Ticket, _delivery: Delivery) -> Option<Status> {
        Some(Status::NotAvailable)
    }

    fn as_box(&mut self) -> Option<&mut dyn BoxHost> {
        Some(self)
    }
}

impl BoxHost for Reception<'_> {
    fn admits(&mut self, now: Timestamp, deposit: &Deposit) -> bool {
        let token = hash_of(&deposit.token);
        // Everything is looked at in any case, so that the time does not show the reason.
        let admission = self.held.admits(&token, &deposit.claim, epoch(now));
        let in_the_way = self.storing.get(&token).is_some_and(|storing| storing.hash != deposit.claim.hash);
        let fits = self.in_memory.saturating_add(deposit.claim.size) <= IN_FLIGHT_BYTES as u64;
        // An object that is there already needs no room on the disk.
        let (again, fresh) = (admission == Admission::Again, admission == Admission::Fresh);
        fits & (again | (fresh & !in_the_way & !self.disk_low))
    }

    fn deposit(&mut self, _now: Timestamp, ticket: Ticket, deposit: Deposit, object: Vec<u8>) -> Option<Status> {
        self.asked.push((ticket, Asked::Deposit(deposit, object)));
        None
    }

    fn command(&mut self, _now: Timestamp, ticket: Ticket, command: BoxCommand, block: Vec<u8>) -> Option<Answer> {
        self.asked.push((ticket, Asked::Command(command, block)));
        None
    }
}
