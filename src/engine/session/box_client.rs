//! The side that dialled a carrier (docs/protocol.md, "Box"): commands go out, each gets its answer, in their order.
//!
//! States: greeting awaited, open, quitting, closed. The owner of the session decides what the answers mean, and how
//! much an answer may bring: a carrier is no more trusted than anybody else.

use std::collections::VecDeque;

use crate::base::ids::Fingerprint;
use crate::base::limits::{LIST_ENTRIES, OBJECTS_OF_MAILBOX, WIRE_INFORMATION_LINES};
use crate::base::{ClockStep, ObjectId, Timestamp};
use crate::wire::mailbox::BoxCommand;
use crate::wire::{self, Claim, Code, Command, Disposition, Message, Reply, Status};

use super::client::{ClientCore, Heard};
use super::{Failure, Ticket};

/// How many lines the answer to LIST may have: its entries, and its end. Every other answer has few.
const LINES_OF_LIST: usize = LIST_ENTRIES + 1;

/// One line of an answer, with its blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// The line.
    pub reply: Reply,
    /// The blocks that the line announced.
    pub blocks: Vec<Vec<u8>>,
}

/// What a [`BoxClient`] reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Service {
    /// The answer to a command, in full.
    Answer(Ticket, Vec<Answered>),
    /// An object came into a box that is watched.
    Arrived(Fingerprint, ObjectId),
    /// The session is of no more use; these commands have no answer.
    Failed(Vec<Ticket>, Failure),
}

/// A command that waits for its answer.
struct Waiting {
    ticket: Ticket,
    /// The most that its blocks may have together, in bytes.
    bound: u64,
    /// The most lines that the answer may have.
    lines: usize,
}

/// One session with a carrier that we dialled.
pub struct BoxClient {
    /// With each announcement it keeps the line whose blocks are coming.
    core: ClientCore<Reply, Service>,
    waiting: VecDeque<Waiting>,
    /// The lines of the answer that is coming.
    lines: Vec<Answered>,
    watching: bool,
    /// How many objects came into boxes that are watched, which is bounded by what a box holds.
    arrived: usize,
}

impl BoxClient {
    /// A session that begins now.
    pub fn new(now: Timestamp) -> Self {
        let (waiting, lines) = (VecDeque::new(), Vec::new());
        Self { core: ClientCore::new(now), waiting, lines, watching: false, arrived: 0 }
    }

    /// Sends a command with its block; its answer may bring blocks of up to `bound` bytes together.
    pub fn ask(&mut self, now: Timestamp, ticket: Ticket, command: &BoxCommand, block: &[u8], bound: u64) {
        self.watching |= matches!(command, BoxCommand::Watch { .. });
        let lines = if matches!(command, BoxCommand::List { .. }) { LINES_OF_LIST } else { WIRE_INFORMATION_LINES };
        let waiting = Waiting { ticket, bound, lines };
        self.write(now, waiting, &[command.encode(None).as_bytes(), block].concat());
    }

    /// Brings the object that a DEPOSIT asked for.
    pub fn bring(&mut self, now: Timestamp, ticket: Ticket, object: &[u8]) {
        let message = Command::Message(Message { sender: None, size: object.len() as u64 });
        let waiting = Waiting { ticket, bound: 0, lines: WIRE_INFORMATION_LINES };
        self.write(now, waiting, &[message.encode(None).as_bytes(), object].concat());
    }

    /// Asks to leave an object, and brings it without waiting for the answer.
    pub fn deposit(&mut self, now: Timestamp, asked: Ticket, brought: Ticket, token: [u8; 32], object: &[u8]) {
        self.ask(now, asked, &BoxCommand::Deposit { token, claim: Claim::of(object) }, b"", 0);
        self.bring(now, brought, object);
    }

    /// Says QUIT. No command may follow.
    pub fn finish(&mut self) {
        self.core.quit();
    }

    /// Bytes from the carrier.
    pub fn handle(&mut self, now: Timestamp, bytes: &[u8]) {
        self.core.push(bytes);
        while let Some(heard) = self.core.hear() {
            if let Err(failure) = heard.and_then(|heard| self.heard(now, heard)) {
                self.fail(failure);
            }
        }
        self.core.received(now, bytes.len());
    }

    /// The connection ended.
    pub fn disconnected(&mut self) {
        self.fail(Failure::Disconnected);
    }

    /// The clock was set: deadlines move with it.
    pub fn clock_set(&mut self, step: ClockStep) {
        self.core.clock_set(step);
    }

    /// When to call [`Self::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        self.core.poll_timeout(self.waits_for_answer())
    }

    /// The deadline may be over.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        if self.core.is_over(now, self.waits_for_answer()) {
            self.fail(Failure::TimeOut);
        }
    }

    /// The bytes to send now.
    pub fn take_output(&mut self) -> Vec<u8> {
        self.core.take_output()
    }

    /// What happened since the last call, in order.
    pub fn take_events(&mut self) -> Vec<Service> {
        self.core.take_events()
    }

    /// Whether to close the connection once the output is sent.
    pub const fn wants_close(&self) -> bool {
        self.core.wants_close()
    }

    fn write(&mut self, now: Timestamp, waiting: Waiting, bytes: &[u8]) {
        if self.core.wants_close() {
            return self.core.report(Service::Failed(vec![waiting.ticket], Failure::Disconnected));
        }
        let awaited = self.waits_for_answer();
        self.core.ask(now, awaited, |output| output.extend_from_slice(bytes));
        self.waiting.push_back(waiting);
    }

    fn waits_for_answer(&self) -> bool {
        !self.waiting.is_empty()
    }

    fn heard(&mut self, now: Timestamp, heard: Heard<Reply>) -> Result<(), Failure> {
        match heard {
            Heard::Reply(reply) => self.reply(now, reply),
            Heard::Blocks(reply, blocks) => self.answered(now, reply, blocks),
        }
    }

    fn reply(&mut self, now: Timestamp, reply: Reply) -> Result<(), Failure> {
        if !self.core.is_greeted() || reply.id.is_some() {
            return Err(Failure::Protocol);
        }
        if reply.code == Status::Arrived.code() {
            return self.arrived(&reply);
        }
        if reply.code.disposition() == Disposition::Pending {
            return self.core.informed();
        }
        let Some(waiting) = self.waiting.front_mut() else { return Err(Failure::Closed(reply.code)) };
        let Some(announced) = self.core.announced() else { return self.answered(now, reply, Vec::new()) };
        // The bound is for the whole answer, however many lines it has.
        let bound = waiting.bound;
        waiting.bound = bound.saturating_sub(announced);
        self.core.take_blocks(bound, reply)
    }

    fn arrived(&mut self, reply: &Reply) -> Result<(), Failure> {
        let [mailbox, object] = [0, 1].map(|at| reply.words.get(at).and_then(wire::Word::as_text).unwrap_or_default());
        let (Ok(mailbox), Ok(object), true) = (mailbox.parse(), object.parse(), self.watching) else {
            return Err(Failure::Protocol);
        };
        self.arrived += 1;
        if self.arrived > OBJECTS_OF_MAILBOX {
            return Err(Failure::Protocol);
        }
        self.core.report(Service::Arrived(mailbox, object));
        Ok(())
    }

    fn answered(&mut self, now: Timestamp, reply: Reply, blocks: Vec<Vec<u8>>) -> Result<(), Failure> {
        let (more, code) = (reply.more, reply.code);
        self.lines.push(Answered { reply, blocks });
        if more {
            let most = self.waiting.front().map_or(0, |waiting| waiting.lines);
            return if self.lines.len() < most { Ok(()) } else { Err(Failure::Protocol) };
        }
        let Some(waiting) = self.waiting.pop_front() else { return Err(Failure::Protocol) };
        self.core.answered(now);
        self.core.report(Service::Answer(waiting.ticket, std::mem::take(&mut self.lines)));
        if code.status().is_some_and(Status::closes) { Err(Failure::Closed(code)) } else { Ok(()) }
    }

    fn fail(&mut self, failure: Failure) {
        if !self.core.close() {
            return;
        }
        let unanswered: Vec<_> = self.waiting.drain(..).map(|waiting| waiting.ticket).collect();
        if !unanswered.is_empty() || !self.core.is_quitting() {
            self.core.report(Service::Failed(unanswered, failure));
        }
    }
}

impl Answered {
    /// The code of the line.
    pub const fn code(&self) -> Code {
        self.reply.code
    }
}

impl std::fmt::Debug for BoxClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BoxClient").field("closed", &self.core.is_closed()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::wire::mailbox::{Part, Selection, Style};

    const GREETING: &str = "HOWDY RUNE/1 MAX=16777216 CAP=BOX\n";
    const NAME: &str = "0101010101010101010101010101010101010101010101010101010101010101";
    const OBJECT: &str = "02020202020202020202020202020202";

    fn start() -> Timestamp {
        Timestamp::from_secs(1_800_000_000)
    }

    fn check() -> BoxCommand {
        BoxCommand::Check { mailbox: NAME.to_owned(), recursive: false }
    }

    fn codes(event: &Service) -> (u64, Vec<u16>) {
        match event {
            Service::Answer(ticket, lines) => (ticket.0, lines.iter().map(|line| line.code().number()).collect()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn answers_come_in_the_order_of_the_commands_with_their_lines_and_blocks() {
        let mut patron = BoxClient::new(start());
        patron.ask(start(), Ticket(1), &check(), b"", 0);
        let retrieve = BoxCommand::Retrieve {
            mailbox: NAME.to_owned(),
            object: OBJECT.parse().unwrap(),
            part: Part::Whole,
            style: Style::default(),
        };
        patron.ask(start(), Ticket(2), &retrieve, b"", 4);
        patron.deposit(start(), Ticket(3), Ticket(4), [7; 32], b"abc");
        assert!(String::from_utf8(patron.take_output()).unwrap().ends_with("MESSAGE - #3\nabc"));
        let text = format!(
            "{GREETING}241- a\n241- b\n242 2\n100 patience\n251 #4\nwxyz261 {NAME} {OBJECT}\n201 3 - -\n202 ROGER\n"
        );
        // A peer must not say what arrives to a client that does not watch.
        patron.handle(start(), text.as_bytes());
        let events = patron.take_events();
        assert_eq!(codes(&events[0]), (1, vec![241, 241, 242]));
        assert_eq!(codes(&events[1]), (2, vec![251]));
        assert_eq!(events[2], Service::Failed(vec![Ticket(3), Ticket(4)], Failure::Protocol));
    }

    #[test]
    fn whoever_watches_waits_and_is_told() {
        let mut patron = BoxClient::new(start());
        patron.ask(start(), Ticket(1), &BoxCommand::Watch { mailbox: NAME.to_owned() }, b"", 0);
        patron.handle(start(), format!("{GREETING}260 WATCHING\n261 {NAME} {OBJECT}\n").as_bytes());
        let events = patron.take_events();
        assert_eq!(codes(&events[0]), (1, vec![260]));
        assert_eq!(events[1], Service::Arrived(NAME.parse().unwrap(), OBJECT.parse().unwrap()));
        let idle = start().plus(crate::base::limits::WIRE_IDLE).plus(Duration::from_secs(1));
        patron.handle_timeout(idle);
        assert!(!patron.wants_close(), "silence is no fault");
        patron.ask(idle, Ticket(2), &check(), b"", 0);
        patron.handle_timeout(idle.plus(crate::base::limits::WIRE_IDLE));
        assert_eq!(patron.take_events(), [Service::Failed(vec![Ticket(2)], Failure::TimeOut)]);
    }

    #[test]
    fn a_closing_refusal_answers_its_command_and_leaves_the_others() {
        let mut patron = BoxClient::new(start());
        patron.ask(start(), Ticket(1), &check(), b"", 0);
        patron.ask(start(), Ticket(2), &check(), b"", 0);
        patron.handle(start(), format!("{GREETING}411 IDENTIFICATION FAILED\n").as_bytes());
        let events = patron.take_events();
        assert_eq!(codes(&events[0]), (1, vec![411]));
        let failure = Failure::Closed(Status::IdentificationFailed.code());
        assert_eq!(events[1], Service::Failed(vec![Ticket(2)], failure));
        patron.ask(start(), Ticket(3), &check(), b"", 0);
        assert_eq!(patron.take_events(), [Service::Failed(vec![Ticket(3)], Failure::Disconnected)]);
    }

    #[test]
    fn an_answer_may_bring_what_was_asked_for_and_no_more() {
        for (bound, fails) in [(4, false), (3, true)] {
            let mut patron = BoxClient::new(start());
            patron.ask(start(), Ticket(1), &check(), b"", bound);
            patron.handle(start(), format!("{GREETING}251 #4\nwxyz").as_bytes());
            let failed = matches!(patron.take_events().last(), Some(Service::Failed(_, Failure::Protocol)));
            assert_eq!(failed, fails);
        }
        // The lines of one answer share the bound.
        let mut patron = BoxClient::new(start());
        patron.ask(start(), Ticket(1), &check(), b"", 6);
        patron.handle(start(), format!("{GREETING}252- 0 #4\nwxyz252 4 #4\nwxyz").as_bytes());
        assert!(matches!(patron.take_events().last(), Some(Service::Failed(_, Failure::Protocol))));
        let (mailbox, selection) = (NAME.to_owned(), Selection::default());
        let list = BoxCommand::List { mailbox, selection, json: false };
        for (command, lines) in [(list, LINES_OF_LIST), (check(), WIRE_INFORMATION_LINES)] {
            let mut patron = BoxClient::new(start());
            patron.ask(start(), Ticket(1), &command, b"", 0);
            patron.handle(start(), GREETING.as_bytes());
            for _ in 1..lines {
                patron.handle(start(), b"241- x\n");
            }
            assert!(!patron.wants_close(), "{lines} lines may come");
            patron.handle(start(), b"241- x\n");
            assert!(patron.wants_close(), "an answer without end");
        }
    }

    #[test]
    fn quitting_says_so_and_a_late_end_is_no_failure() {
        let mut patron = BoxClient::new(start());
        patron.ask(start(), Ticket(1), &check(), b"", 0);
        patron.handle(start(), format!("{GREETING}240 {NAME} U=0 T=0\n").as_bytes());
        patron.take_events();
        patron.take_output();
        patron.finish();
        assert_eq!(patron.take_output(), b"QUIT\n");
        patron.disconnected();
        assert!(patron.take_events().is_empty());
    }

    proptest! {
        #[test]
        fn every_command_is_answered_or_failed_once_whatever_comes(
            pieces in prop::collection::vec(prop_oneof![
                Just(GREETING.to_owned()), Just("202 ROGER\n".to_owned()), Just("241- x\n".to_owned()),
                Just("251 #2\nab".to_owned()), Just("261 x y\n".to_owned()), Just("100 x\n".to_owned()),
                Just("411 x\n".to_owned()), "[ -~]{0,9}\n",
            ], 0..12),
            asked in 0..5_u64,
        ) {
            let mut patron = BoxClient::new(start());
            for ticket in 0..asked {
                patron.ask(start(), Ticket(ticket), &check(), b"", 10);
            }
            pieces.iter().for_each(|piece| patron.handle(start(), piece.as_bytes()));
            patron.disconnected();
            let mut ended = Vec::new();
            for event in patron.take_events() {
                match event {
                    Service::Answer(ticket, _) => ended.push(ticket.0),
                    Service::Failed(tickets, _) => ended.extend(tickets.iter().map(|ticket| ticket.0)),
                    Service::Arrived(..) => {}
                }
            }
            prop_assert_eq!(ended, (0..asked).collect::<Vec<_>>());
        }
    }
}
