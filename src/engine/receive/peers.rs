//! Sessions of peers who connected to us: which sender it is, whether it may send, and the bytes back and forth
//! (docs/protocol.md, "Authenticator" and "Unrevealing answers").

use std::collections::BTreeSet;

use crate::base::limits;
use crate::base::{ClockStep, ContactId, SessionId, Timestamp};
use crate::wire::Status;

use crate::engine::context::{Context, Out, Signal};
use crate::engine::dialled::News;
use crate::engine::io::{DIALLED_SESSIONS, Effect};
use crate::engine::receive::Receive;
use crate::engine::receive::keys::Keys;
use crate::engine::receive::rates::Rates;
use crate::engine::receive::shares::{self, Crowd};
use crate::engine::session::{Delivery, Host, Offer, Promise, SendParams, Sender, Server, Ticket};
use crate::engine::state::State;
use crate::engine::state::book::ContactStatus;
use crate::engine::state::profile::PublicProfile;
use crate::engine::status::frank;

/// One session that a peer opened.
pub(in crate::engine) struct Inbound {
    pub(super) machine: Server,
    shown: Shown,
}

/// What a session has shown by the authenticators of its SENDs.
#[derive(Default)]
struct Shown {
    /// The senders whose keys it has shown.
    keys: BTreeSet<Sender>,
    /// The sender to which the session counts: the first contact that it has shown, or else the first invitation.
    owner: Option<Sender>,
    /// How many authenticators fitted no key.
    misses: u32,
}

impl Shown {
    /// An authenticator came, and shows this sender.
    fn note(&mut self, sender: Sender) {
        if sender == Sender::Stranger {
            self.misses += 1;
            return;
        }
        self.keys.insert(sender);
        let counts_already = match self.owner {
            None => false,
            Some(Sender::Invitation(_)) => !matches!(sender, Sender::Contact(_)),
            Some(_) => true,
        };
        if !counts_already {
            self.owner = Some(sender);
        }
    }
}

impl Inbound {
    pub(in crate::engine) fn poll_timeout(&self) -> Option<Timestamp> {
        self.machine.poll_timeout()
    }

    /// The clock was set.
    pub(in crate::engine) fn clock_set(&mut self, step: ClockStep) {
        self.machine.clock_set(step);
    }

    /// The sender to which the session counts; `None` if it has shown no key.
    pub(in crate::engine) const fn owner(&self) -> Option<Sender> {
        self.shown.owner
    }
}

/// An answer that a session waits for.
pub(in crate::engine) struct Settlement {
    session: SessionId,
    ticket: Ticket,
    status: Status,
}

/// The parts of the identity that a session may ask while it reads.
struct Reception<'a> {
    state: &'a State,
    public: &'a PublicProfile,
    rates: &'a mut Rates,
    keys: &'a mut Keys,
    /// The largest object that is taken from a contact.
    maximum: usize,
    disk_low: bool,
    crowd: Crowd<'a>,
    shown: &'a mut Shown,
    arrived: Vec<(Ticket, Delivery)>,
    online: BTreeSet<ContactId>,
    /// Sessions that end so that this one has memory.
    give_way: BTreeSet<SessionId>,
}

impl Host for Reception<'_> {
    fn offer(&mut self, now: Timestamp, send: &SendParams) -> Offer {
        // The sender is looked for first, so that an address which is not here takes the same time.
        let sender = self.sender(now, send);
        if self.shown.misses > limits::WIRE_AUTH_MISSES {
            return Offer::Refused(Status::TooManyMistakes);
        }
        let carried = send.to.without_folder() != self.public.address;
        if carried && !self.carries(sender, send) {
            return Offer::Refused(Status::NotAvailable);
        }
        let size = send.claim.map_or(0, |claim| claim.size);
        // A sender that is no contact learns nothing from a refusal, whatever the reason.
        let is_contact = matches!(sender, Sender::Contact(_));
        let because = |status| if is_contact { status } else { Status::NotAvailable };
        let maximum = if is_contact { self.maximum } else { self.maximum.min(limits::STRANGER_BYTES) };
        if size > maximum as u64 {
            return Offer::Refused(because(Status::ObjectTooLarge));
        }
        if self.disk_low {
            return Offer::Refused(because(Status::NoSpace));
        }
        let Some(give_way) = self.crowd.room_for(sender, size, now) else {
            return Offer::Refused(because(Status::Busy));
        };
        // Without a claim this is only a question for the certificate, which everybody who has the address may ask: a
        // used-up quota must not stop an invited peer from greeting.
        if send.claim.is_some() && !self.rates.admits(sender, size, now) {
            return Offer::Refused(because(Status::TryLater));
        }
        if carried && !self.has_room(sender, send) {
            return Offer::Refused(Status::TryLater);
        }
        self.give_way.extend(give_way);
        self.crowd.own.push(Promise { sender, size, came: 0, since: now });
        self.crowd.own_bytes = self.crowd.own_bytes.saturating_add(size);
        if carried {
            return Offer::Carried { maximum, sender };
        }
        Offer::Ready { maximum, certificate: self.public.certificate.clone(), sender }
    }

    fn deliver(&mut self, _now: Timestamp, ticket: Ticket, delivery: Delivery) -> Option<Status> {
        let here = self.arrived.iter().filter(|(_, other)| other.sender == delivery.sender).count();
        if here + self.crowd.unsettled.of(delivery.sender).0 >= limits::OBJECTS_UNSETTLED {
            return Some(frank(delivery.sender, Status::Busy));
        }
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
        confirmed && elsewhere && !send.secure && self.state.forwarding().allows(contact)
    }

    /// Whether one more object may be forwarded for a sender, or this one is here already.
    fn has_room(&self, sender: Sender, send: &SendParams) -> bool {
        let (Sender::Contact(contact), Some(claim)) = (sender, send.claim) else { return false };
        let forwarding = self.state.forwarding();
        forwarding.object(contact, &claim.hash).is_some() || forwarding.has_room(contact, claim.size)
    }

    fn sender(&mut self, now: Timestamp, send: &SendParams) -> Sender {
        let (Some(claim), Some(mac)) = (send.claim, send.auth) else { return Sender::Stranger };
        let sender = self.keys.sender(self.state.book(), now, &self.shown.keys, send.to.onion(), &claim, &mac);
        self.shown.note(sender);
        if let Sender::Contact(contact) = sender {
            self.online.insert(contact);
        }
        sender
    }
}

impl Receive {
    /// Whether a session that a peer opened reads no further until deliveries are settled.
    pub(in crate::engine) fn is_blocked(&self, session: SessionId) -> bool {
        self.inbound.get(&session).is_some_and(|inbound| inbound.machine.is_blocked())
    }

    /// A peer connected. Its first bytes may authenticate it, so where there are too many sessions another one gives
    /// way: neither strangers nor contacts keep a new peer out by holding their sessions open.
    pub(in crate::engine) fn accepted(&mut self, cx: &mut Context<'_>, session: SessionId) {
        match shares::place_for_another(&self.inbound) {
            Err(()) => return cx.out.effect(Effect::Close(session)),
            Ok(Some(other)) => self.give_way(cx.out, other),
            Ok(None) => {}
        }
        let machine = Server::new(cx.now, &self.terms);
        self.inbound.insert(session, Inbound { machine, shown: Shown::default() });
        self.flush(cx.out, session);
    }

    /// Ends a session that brought an object, without the answers that it is owed.
    pub(in crate::engine) fn give_way(&mut self, out: &mut Out, session: SessionId) {
        if let Some(inbound) = self.inbound.get_mut(&session) {
            inbound.machine.give_way();
            self.flush(out, session);
        } else {
            // The object was collected, and stays in its box.
            self.settle(session, Ticket(0), Status::Busy);
        }
    }

    /// A peer's session ended: the answers to its deliveries are dropped.
    pub(in crate::engine) fn closed(&mut self, session: SessionId) {
        self.inbound.remove(&session);
    }

    /// A peer sent bytes.
    pub(in crate::engine) fn received(&mut self, cx: &mut Context<'_>, session: SessionId, bytes: &[u8]) {
        let now = cx.now;
        self.with_host(cx, session, |machine, host| machine.handle(now, bytes, host));
    }

    /// Notes the answer to a delivery. It is given by [`Self::settle_all`], one after the other: an answer can let
    /// a session read on and bring the next delivery.
    pub(in crate::engine) fn settle(&mut self, session: SessionId, ticket: Ticket, status: Status) {
        self.settlements.push_back(Settlement { session, ticket, status });
    }

    /// Gives the answers that were noted.
    pub(in crate::engine) fn settle_all(&mut self, cx: &mut Context<'_>) {
        let now = cx.now;
        while let Some(Settlement { session, ticket, status }) = self.settlements.pop_front() {
            if session.0 >= DIALLED_SESSIONS {
                cx.out.tell(Signal::News(session, News::Judged(status)));
                continue;
            }
            self.with_host(cx, session, |machine, host| machine.settle(now, ticket, status, host));
        }
    }

    /// Lets sessions see that time has passed.
    pub(in crate::engine) fn handle_timeout(&mut self, cx: &mut Context<'_>) {
        let now = cx.now;
        let due = |inbound: &Inbound| inbound.poll_timeout().is_some_and(|at| at <= now);
        let sessions: Vec<_> =
            self.inbound.iter().filter(|(_, inbound)| due(inbound)).map(|(&session, _)| session).collect();
        for session in sessions {
            self.with_host(cx, session, |machine, host| machine.handle_timeout(now, host));
        }
    }

    fn with_host(&mut self, cx: &mut Context<'_>, session: SessionId, act: impl FnOnce(&mut Server, &mut dyn Host)) {
        let Some(Inbound { mut machine, mut shown }) = self.inbound.remove(&session) else { return };
        let own = machine.promises().collect();
        let crowd = Crowd { others: &self.inbound, unsettled: &self.unsettled, own_bytes: machine.in_flight(), own };
        let owner = shown.owner;
        let mut host = Reception {
            state: cx.state,
            public: cx.public(),
            rates: &mut self.rates,
            keys: &mut self.keys,
            maximum: self.terms.maximum,
            disk_low: cx.disk_low,
            crowd,
            shown: &mut shown,
            arrived: Vec::new(),
            online: BTreeSet::new(),
            give_way: BTreeSet::new(),
        };
        act(&mut machine, &mut host);
        let Reception { arrived, online, mut give_way, .. } = host;
        let known = shown.owner.filter(|known| owner != Some(*known));
        self.inbound.insert(session, Inbound { machine, shown });
        give_way.extend(known.and_then(|known| shares::one_too_many(&self.inbound, known, session)));
        for other in give_way {
            self.give_way(cx.out, other);
        }
        for contact in online {
            cx.out.tell(Signal::PeerCameOnline(contact));
        }
        for (ticket, delivery) in arrived {
            self.arrived(cx, session, ticket, delivery);
        }
        self.flush(cx.out, session);
    }

    fn flush(&mut self, out: &mut Out, session: SessionId) {
        let Some(inbound) = self.inbound.get_mut(&session) else { return };
        let output = inbound.machine.take_output();
        let close = inbound.machine.wants_close();
        out.transmit(session, output);
        if close {
            self.inbound.remove(&session);
            out.effect(Effect::Close(session));
        }
    }
}
