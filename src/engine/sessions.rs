//! Sessions of peers who connected to us: who is it, may it send, and the bytes back and forth
//! (docs/protocol.md, "Authenticator" and "Unrevealing answers").

use std::collections::BTreeSet;

use crate::base::limits;
use crate::base::rng::Rng;
use crate::base::{ClockStep, ContactId, SessionId, Timestamp};
use crate::wire::Status;

use super::book::ContactStatus;
use super::effect::Effect;
use super::identity::Identity;
use super::keys::Keys;
use super::profile::PublicProfile;
use super::rates::Rates;
use super::session::{Delivery, Host, Offer, Responder, SendParams, Sender, Ticket};
use super::state::State;

/// One session that a peer opened.
pub(super) struct Inbound {
    machine: Responder,
    /// The contacts that have authenticated in it.
    authenticated: BTreeSet<ContactId>,
    /// Whether it has shown the key of an invitation.
    invited: bool,
}

impl Inbound {
    pub(super) fn poll_timeout(&self) -> Option<Timestamp> {
        self.machine.poll_timeout()
    }

    /// The clock was set.
    pub(super) fn clock_set(&mut self, step: ClockStep) {
        self.machine.clock_set(step);
    }

    fn is_authenticated(&self) -> bool {
        self.invited || !self.authenticated.is_empty()
    }
}

/// An answer that a session waits for.
pub(super) struct Settlement {
    session: SessionId,
    ticket: Ticket,
    status: Status,
}

/// What a session may ask of the identity while it reads.
struct Reception<'a> {
    state: &'a State,
    public: &'a PublicProfile,
    rates: &'a mut Rates,
    keys: &'a mut Keys,
    disk_low: bool,
    /// Payload bytes that all sessions hold or were promised, in memory.
    in_memory: u64,
    authenticated: &'a mut BTreeSet<ContactId>,
    invited: &'a mut bool,
    arrived: Vec<(Ticket, Delivery)>,
    online: BTreeSet<ContactId>,
}

impl Host for Reception<'_> {
    fn offer(&mut self, now: Timestamp, send: &SendParams) -> Offer {
        // First, so that the time is the same for an address that is not here.
        let sender = self.sender(now, send);
        let carried = send.to.without_folder() != self.public.address;
        if carried && !self.carries(sender, send) {
            return Offer::Refused(Status::NotAvailable);
        }
        let size = send.claim.map_or(0, |claim| claim.size);
        // Whoever is not a contact learns nothing from a refusal, whatever its reason.
        let is_contact = matches!(sender, Sender::Contact(_));
        let because = |status| if is_contact { status } else { Status::NotAvailable };
        let maximum = if is_contact { limits::OBJECT_BYTES } else { limits::STRANGER_BYTES };
        if size > maximum as u64 {
            return Offer::Refused(because(Status::ObjectTooLarge));
        }
        if self.disk_low {
            return Offer::Refused(because(Status::NoSpace));
        }
        if self.in_memory.saturating_add(size) > limits::IN_FLIGHT_BYTES as u64 {
            return Offer::Refused(because(Status::Busy));
        }
        // Without a claim it is only a question for the certificate, which whoever has the address may ask: a used-up
        // quota must not stop an invited peer from greeting.
        if send.claim.is_some() && !self.rates.admits(sender, size, now) {
            return Offer::Refused(because(Status::TryLater));
        }
        if carried {
            if !self.has_room(sender, send) {
                return Offer::Refused(Status::TryLater);
            }
            return Offer::Carried { maximum, sender };
        }
        Offer::Ready { maximum, certificate: self.public.certificate.clone(), sender }
    }

    fn deliver(&mut self, _now: Timestamp, ticket: Ticket, delivery: Delivery) -> Option<Status> {
        self.arrived.push((ticket, delivery));
        None
    }
}

impl Reception<'_> {
    /// Whether an object for somebody else's node is taken from this sender.
    fn carries(&self, sender: Sender, send: &SendParams) -> bool {
        let Sender::Contact(contact) = sender else { return false };
        let confirmed = self.state.book().contact(contact).is_some_and(|it| it.status == ContactStatus::Confirmed);
        let elsewhere = send.to.onion() != self.public.onion();
        confirmed && elsewhere && !send.secure && self.state.carriage().allows(contact)
    }

    /// Whether one more object may be carried for a sender, or this one is already.
    fn has_room(&self, sender: Sender, send: &SendParams) -> bool {
        let (Sender::Contact(contact), Some(claim)) = (sender, send.claim) else { return false };
        let carriage = self.state.carriage();
        carriage.load(contact, &claim.hash).is_some() || carriage.has_room(contact, claim.size)
    }

    fn sender(&mut self, now: Timestamp, send: &SendParams) -> Sender {
        let (Some(claim), Some(mac)) = (send.claim, send.auth) else { return Sender::Stranger };
        let sender = self.keys.sender(self.state.book(), now, send.to.onion(), &claim, &mac);
        match sender {
            Sender::Contact(contact) => {
                self.authenticated.insert(contact);
                self.online.insert(contact);
            }
            Sender::Invitation(_) => *self.invited = true,
            Sender::Stranger => {}
        }
        sender
    }
}

impl Identity {
    /// Whether a session that a peer opened reads no further until deliveries are settled: the driver leaves its bytes
    /// in the socket meanwhile.
    pub fn is_blocked(&self, session: SessionId) -> bool {
        self.inbound.get(&session).is_some_and(|inbound| inbound.machine.is_blocked())
    }

    /// A peer connected. Whoever it is may authenticate with its first bytes, so that where there are too many sessions
    /// the oldest one that nobody authenticated gives way: strangers who hold theirs open keep nobody out.
    pub(super) fn accepted(&mut self, now: Timestamp, session: SessionId) {
        let unauthenticated = self.inbound.values().filter(|inbound| !inbound.is_authenticated()).count();
        let full = self.inbound.len() >= limits::SESSIONS || unauthenticated >= limits::UNAUTHENTICATED_SESSIONS;
        if full && !self.end_oldest_unauthenticated() {
            self.effect(Effect::Close(session));
            return;
        }
        let inbound = Inbound { machine: Responder::new(now), authenticated: BTreeSet::new(), invited: false };
        self.inbound.insert(session, inbound);
        self.flush_inbound(session);
    }

    /// Ends the oldest session that nobody authenticated and to which no answer is owed; `false` where there is none.
    fn end_oldest_unauthenticated(&mut self) -> bool {
        // Sessions are numbered as they come.
        let oldest =
            self.inbound.iter().find(|(_, inbound)| !inbound.is_authenticated() && !inbound.machine.owes_answer());
        let Some((&session, _)) = oldest else { return false };
        self.give_way(session);
        true
    }

    /// Ends a session that a peer opened, without the answers that it is owed.
    pub(super) fn give_way(&mut self, session: SessionId) {
        if let Some(inbound) = self.inbound.get_mut(&session) {
            inbound.machine.give_way();
            self.flush_inbound(session);
        } else if self.collections.contains_key(&session) {
            // What was collected stays where it is.
            self.settle(session, Ticket(0), Status::Busy);
        }
    }

    /// A peer's session ended; what it delivered is settled with nobody.
    pub(super) fn closed_inbound(&mut self, session: SessionId) {
        self.inbound.remove(&session);
    }

    /// A peer sent bytes.
    pub(super) fn received_inbound(&mut self, now: Timestamp, rng: &mut dyn Rng, session: SessionId, bytes: &[u8]) {
        self.with_host(now, rng, session, |machine, host| machine.handle(now, bytes, host));
    }

    /// Notes the answer to a delivery. It is given by [`Self::settle_all`], one after the other: an answer can let
    /// a session read on and bring the next delivery.
    pub(super) fn settle(&mut self, session: SessionId, ticket: Ticket, status: Status) {
        self.settlements.push_back(Settlement { session, ticket, status });
    }

    /// Gives the answers that were noted.
    pub(super) fn settle_all(&mut self, now: Timestamp, rng: &mut dyn Rng) {
        while let Some(Settlement { session, ticket, status }) = self.settlements.pop_front() {
            if self.collections.contains_key(&session) {
                self.collection_judged(now, rng, session, status);
                continue;
            }
            self.with_host(now, rng, session, |machine, host| machine.settle(now, ticket, status, host));
        }
    }

    /// Lets sessions see that time has passed.
    pub(super) fn inbound_timeouts(&mut self, now: Timestamp, rng: &mut dyn Rng) {
        let due = |inbound: &Inbound| inbound.poll_timeout().is_some_and(|at| at <= now);
        let sessions: Vec<_> =
            self.inbound.iter().filter(|(_, inbound)| due(inbound)).map(|(&session, _)| session).collect();
        for session in sessions {
            self.with_host(now, rng, session, |machine, _| machine.handle_timeout(now));
        }
    }

    fn with_host(
        &mut self,
        now: Timestamp,
        rng: &mut dyn Rng,
        session: SessionId,
        act: impl FnOnce(&mut Responder, &mut dyn Host),
    ) {
        let receiving: u64 = self.inbound.values().map(|inbound| inbound.machine.in_flight()).sum();
        let in_memory = receiving.saturating_add(self.in_flight as u64);
        let Some(inbound) = self.inbound.get_mut(&session) else { return };
        let mut host = Reception {
            state: &self.state,
            public: &self.profile.public,
            rates: &mut self.rates,
            keys: &mut self.keys,
            disk_low: self.disk_low,
            in_memory,
            authenticated: &mut inbound.authenticated,
            invited: &mut inbound.invited,
            arrived: Vec::new(),
            online: BTreeSet::new(),
        };
        act(&mut inbound.machine, &mut host);
        let Reception { arrived, online, .. } = host;
        for contact in online {
            self.schedule.online(contact, now, rng);
        }
        for (ticket, delivery) in arrived {
            self.arrived(now, rng, session, ticket, delivery);
        }
        self.flush_inbound(session);
    }

    fn flush_inbound(&mut self, session: SessionId) {
        let Some(inbound) = self.inbound.get_mut(&session) else { return };
        let output = inbound.machine.take_output();
        let close = inbound.machine.wants_close();
        self.transmit(session, output);
        if close {
            self.inbound.remove(&session);
            self.effect(Effect::Close(session));
        }
    }
}
