//! A session that we dial, and what all of them have in common.
//!
//! Each kind of session is a type of its own that implements [`Dialled`]: what it does once it is connected, what an
//! answer of the other side means, and what it leaves behind when it ends. [`Line`] holds its connection, and
//! [`Dialled::handle`] drives it. `task.rs` lists the kinds.

use crate::base::{ClockStep, ContactId, ContentId, Onion, OpId, QueueId, SessionId, Timestamp};
use crate::engine::context::{Completion, Context, Out};
use crate::engine::io::{DialError, Effect};
use crate::engine::session::{self, BoxClient, DeliveryClient, Service};
use crate::engine::state::AttemptError;
use crate::engine::state::forwarding::ObjectHash;
use crate::wire::Status;

/// Something that waits for a contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::engine) enum Outgoing {
    /// The card with this content id.
    Card(ContentId),
    /// Receipts, in the content with this id.
    Receipts(ContentId),
    /// A queued message.
    Mail(QueueId),
}

/// An event of a session that we dialled.
pub(in crate::engine) enum TaskEvent<'a> {
    /// The other side answers, or cannot be reached.
    Dialled(Result<(), DialError>),
    /// The other side sent bytes.
    Received(&'a [u8]),
    /// The connection ended.
    Closed,
    /// Time has passed.
    Timeout,
    ClockSet(ClockStep),
    /// An operation that the session began is over.
    Completed(OpId, Completion),
    /// News for one kind of session alone.
    News(News),
    /// There are too many sessions of its kind, and this one is to end.
    Surplus,
    /// We have parted from the contact: the session is to end.
    Parted,
}

/// News for one kind of session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum News {
    /// The outcome of an item is on the disk, or the commit failed.
    Settled(Outgoing, bool),
    /// The contact's certificate is on the disk, or the commit failed.
    CertificateKept(bool),
    /// It is noted on the disk what the session is about to hand over, or the commit failed.
    Noted(bool),
    /// An object that a session collected was judged.
    Judged(Status),
    /// The object that was collected cannot be opened.
    Unread(ObjectHash),
    /// There may be something new to tell a carrier.
    ForCarriers,
}

/// A machine of the side that dialled.
pub(in crate::engine) trait Client {
    /// What the machine reports.
    type Event;
    fn handle(&mut self, now: Timestamp, bytes: &[u8]);
    fn handle_timeout(&mut self, now: Timestamp);
    fn poll_timeout(&self) -> Option<Timestamp>;
    fn clock_set(&mut self, step: ClockStep);
    fn disconnected(&mut self);
    fn finish(&mut self, now: Timestamp);
    fn take_events(&mut self) -> Vec<Self::Event>;
    fn take_output(&mut self) -> Vec<u8>;
}

impl Client for DeliveryClient {
    type Event = session::Event;

    fn handle(&mut self, now: Timestamp, bytes: &[u8]) {
        self.handle(now, bytes);
    }

    fn handle_timeout(&mut self, now: Timestamp) {
        self.handle_timeout(now);
    }

    fn poll_timeout(&self) -> Option<Timestamp> {
        self.poll_timeout()
    }

    fn clock_set(&mut self, step: ClockStep) {
        self.clock_set(step);
    }

    fn disconnected(&mut self) {
        self.disconnected();
    }

    fn finish(&mut self, now: Timestamp) {
        self.finish(now);
    }

    fn take_events(&mut self) -> Vec<Self::Event> {
        self.take_events()
    }

    fn take_output(&mut self) -> Vec<u8> {
        self.take_output()
    }
}

impl Client for BoxClient {
    type Event = Service;

    fn handle(&mut self, now: Timestamp, bytes: &[u8]) {
        self.handle(now, bytes);
    }

    fn handle_timeout(&mut self, now: Timestamp) {
        self.handle_timeout(now);
    }

    fn poll_timeout(&self) -> Option<Timestamp> {
        self.poll_timeout()
    }

    fn clock_set(&mut self, step: ClockStep) {
        self.clock_set(step);
    }

    fn disconnected(&mut self) {
        self.disconnected();
    }

    fn finish(&mut self, _: Timestamp) {
        self.finish();
    }

    fn take_events(&mut self) -> Vec<Self::Event> {
        self.take_events()
    }

    fn take_output(&mut self) -> Vec<u8> {
        self.take_output()
    }
}

/// The connection of a session that we dial.
pub(in crate::engine) struct Line<M> {
    session: SessionId,
    /// `None` until the other side answers, and once the connection is of no more use.
    machine: Option<M>,
    phase: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Dialling,
    Connected,
    Over,
}

impl<M: Client> Line<M> {
    /// Dials, on circuits of the contact's own, or of the session's own if there is no contact.
    pub(in crate::engine) fn dial(out: &mut Out, onion: Onion, contact: Option<ContactId>) -> Self {
        let session = out.new_session();
        out.effect(Effect::Dial(session, onion, contact));
        Self { session, machine: None, phase: Phase::Dialling }
    }

    pub(in crate::engine) const fn session(&self) -> SessionId {
        self.session
    }

    /// The other side answers.
    pub(in crate::engine) fn connected(&mut self, machine: M) {
        self.phase = Phase::Connected;
        self.machine = Some(machine);
    }

    pub(in crate::engine) const fn machine(&mut self) -> Option<&mut M> {
        self.machine.as_mut()
    }

    /// Whether anything can still be sent.
    pub(in crate::engine) const fn is_usable(&self) -> bool {
        self.machine.is_some()
    }

    /// The connection is of no more use.
    pub(in crate::engine) fn lose(&mut self) {
        self.machine = None;
    }

    /// Whether the session has ended.
    pub(in crate::engine) fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    pub(in crate::engine) fn poll_timeout(&self) -> Option<Timestamp> {
        self.machine.as_ref()?.poll_timeout()
    }

    fn clock_set(&mut self, step: ClockStep) {
        if let Some(machine) = &mut self.machine {
            machine.clock_set(step);
        }
    }

    /// Sends the output of the machine.
    pub(in crate::engine) fn flush(&mut self, out: &mut Out) {
        if let Some(machine) = &mut self.machine {
            out.transmit(self.session, machine.take_output());
        }
    }

    /// Ends the session: says QUIT to the other side, and closes the connection. `false` if it had ended already.
    pub(in crate::engine) fn end(&mut self, now: Timestamp, out: &mut Out) -> bool {
        if self.is_over() {
            return false;
        }
        if let Some(mut machine) = self.machine.take() {
            machine.finish(now);
            out.transmit(self.session, machine.take_output());
        }
        self.phase = Phase::Over;
        out.effect(Effect::Close(self.session));
        true
    }

    /// The other side could not be reached: there is nothing to close.
    fn fail(&mut self) {
        self.phase = Phase::Over;
    }
}

/// One kind of session that we dial.
pub(in crate::engine) trait Dialled {
    /// The machine that it talks through.
    type Machine: Client;
    /// The rooms whose memory it uses.
    type Rooms<'r>;

    fn line(&self) -> &Line<Self::Machine>;
    fn line_mut(&mut self) -> &mut Line<Self::Machine>;

    /// The other side answers.
    fn dialled(&mut self, cx: &mut Context<'_>, rooms: &mut Self::Rooms<'_>);

    /// The machine reports something.
    fn event(&mut self, cx: &mut Context<'_>, rooms: &mut Self::Rooms<'_>, event: <Self::Machine as Client>::Event);

    /// An operation that the session began is over.
    fn completed(&mut self, cx: &mut Context<'_>, rooms: &mut Self::Rooms<'_>, op: OpId, completion: Completion);

    /// The session has ended: its rooms note how it went.
    fn ended(&mut self, cx: &mut Context<'_>, rooms: &mut Self::Rooms<'_>, problem: Option<AttemptError>);

    /// The connection is gone, and the machine has reported what that means.
    fn closed(&mut self, cx: &mut Context<'_>, rooms: &mut Self::Rooms<'_>) {
        self.end(cx, rooms, Some(AttemptError::Broken));
    }

    /// There are too many sessions of this kind, and this one has delivered nothing for the longest time.
    fn surplus(&mut self, cx: &mut Context<'_>, rooms: &mut Self::Rooms<'_>) {
        self.end(cx, rooms, Some(AttemptError::Broken));
    }

    /// Everything that the machine reported was handled: the session may begin something else.
    fn go_on(&mut self, _: &mut Context<'_>, _: &mut Self::Rooms<'_>) {}

    /// A deadline of the session's own has come.
    fn timeout(&mut self, _: &mut Context<'_>, _: &mut Self::Rooms<'_>) {}

    fn clock_set(&mut self, _: ClockStep, _: Timestamp) {}

    fn told(&mut self, _: &mut Context<'_>, _: &mut Self::Rooms<'_>, _: News) {}

    /// After each event the session shows its rooms what other sessions have to know of it.
    fn show(&self, _: &mut Self::Rooms<'_>) {}

    fn poll_timeout(&self) -> Option<Timestamp> {
        self.line().poll_timeout()
    }

    /// Ends the session, if it has not ended yet.
    fn end(&mut self, cx: &mut Context<'_>, rooms: &mut Self::Rooms<'_>, problem: Option<AttemptError>) {
        if self.line_mut().end(cx.now, cx.out) {
            self.ended(cx, rooms, problem);
        }
    }

    /// Lets the machine act, and handles the events that it reports.
    fn drive(&mut self, cx: &mut Context<'_>, rooms: &mut Self::Rooms<'_>, act: impl FnOnce(&mut Self::Machine)) {
        let Some(machine) = self.line_mut().machine() else { return };
        act(machine);
        for event in machine.take_events() {
            if !self.line().is_over() {
                self.event(cx, rooms, event);
            }
        }
        if !self.line().is_over() {
            self.go_on(cx, rooms);
        }
        self.line_mut().flush(cx.out);
    }

    /// Handles an event; `false` if the session is over.
    fn handle(&mut self, cx: &mut Context<'_>, rooms: &mut Self::Rooms<'_>, event: TaskEvent<'_>) -> bool {
        let now = cx.now;
        match event {
            TaskEvent::Dialled(Ok(())) => {
                self.dialled(cx, rooms);
                self.line_mut().flush(cx.out);
            }
            TaskEvent::Dialled(Err(error)) => {
                self.line_mut().fail();
                self.ended(cx, rooms, Some(error.into()));
            }
            TaskEvent::Received(bytes) => self.drive(cx, rooms, |machine| machine.handle(now, bytes)),
            TaskEvent::Closed => {
                self.drive(cx, rooms, Client::disconnected);
                if !self.line().is_over() {
                    self.line_mut().lose();
                    self.closed(cx, rooms);
                }
            }
            TaskEvent::Timeout => {
                if self.poll_timeout().is_some_and(|at| at <= now) {
                    self.drive(cx, rooms, |machine| machine.handle_timeout(now));
                    self.timeout(cx, rooms);
                    self.line_mut().flush(cx.out);
                }
            }
            TaskEvent::ClockSet(step) => {
                self.line_mut().clock_set(step);
                self.clock_set(step, now);
            }
            TaskEvent::Completed(op, completion) => {
                self.completed(cx, rooms, op, completion);
                self.line_mut().flush(cx.out);
            }
            TaskEvent::News(told) => {
                self.told(cx, rooms, told);
                self.line_mut().flush(cx.out);
            }
            TaskEvent::Surplus => self.surplus(cx, rooms),
            TaskEvent::Parted => self.end(cx, rooms, None),
        }
        self.show(rooms);
        !self.line().is_over()
    }
}
