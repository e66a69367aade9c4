//! The commands of a box on the side that was dialled (docs/protocol.md, "Box").
//!
//! A deposit is a SEND with a token in place of an address: DEPOSIT asks, MESSAGE brings the object. Every other
//! exchange is a command and its answer, with at most one block. The size of that block is bounded before any of it is
//! stored.

use crate::base::Timestamp;
use crate::base::limits::{CERTIFICATE_BYTES, CHALLENGE_BYTES, PAGE_BYTES, SIGNATURE_BYTES, TOKENS_OF_SET};
use crate::wire::mailbox::{BoxCommand, Registration};
use crate::wire::{Claim, CommandError, Keyword, PipelineId, Reply, Status, Word, digest};

use super::server::{Envelope, Expected};
use super::{Answer, Host, Server, Ticket};

/// The octets of the hash of one token.
const TOKEN_BYTES: u64 = 32;

/// The parameters of a DEPOSIT.
#[derive(Clone, Copy)]
pub struct Deposit {
    /// The token.
    pub token: [u8; 32],
    /// The size and hash that the object is to have, which the session checks.
    pub claim: Claim,
}

impl std::fmt::Debug for Deposit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Deposit").field("size", &self.claim.size).finish_non_exhaustive()
    }
}

/// The questions of a [`Server`] to a box, while it handles bytes.
pub trait BoxHost {
    /// Whether a deposit may come. The reason of a refusal is told to nobody.
    fn admits(&mut self, now: Timestamp, deposit: &Deposit) -> bool;
    /// The object of a deposit came. `Some` answers at once; `None` promises to call [`Server::answer`].
    fn deposit(&mut self, now: Timestamp, ticket: Ticket, deposit: Deposit, object: Vec<u8>) -> Option<Status>;
    /// Any other command, with the block that it brought. `None` promises to call [`Server::answer`].
    fn command(&mut self, now: Timestamp, ticket: Ticket, command: BoxCommand, block: Vec<u8>) -> Option<Answer>;
}

impl Server {
    /// A command other than those of delivery.
    pub(super) fn beyond(
        &mut self,
        now: Timestamp,
        id: Option<PipelineId>,
        keyword: Keyword,
        parameters: &[Word],
        host: &mut dyn Host,
    ) {
        let decoded = host.as_box().is_some().then(|| BoxCommand::decode(keyword, parameters)).flatten();
        match decoded {
            None => self.refuse_past_blocks(id, Status::NotImplemented),
            Some(Ok(BoxCommand::Deposit { token, claim })) => self.ask_deposit(now, id, Deposit { token, claim }, host),
            Some(Ok(command)) => match bound(&command) {
                Some(maximum) => self.take(id, maximum, Expected::Command(command)),
                None => self.ask(now, id, command, Vec::new(), host),
            },
            Some(Err(CommandError::Parameter | CommandError::Unknown | CommandError::Send)) => {
                // As after a refused SEND, a MESSAGE that follows belongs to this DEPOSIT, and not to a command before
                // it.
                if keyword == Keyword::Deposit {
                    self.open(id.clone(), Envelope::Refused(Status::BadParameter));
                }
                self.refuse_past_blocks(id, Status::BadParameter);
            }
        }
    }

    /// Writes a line that answers nothing: something happened in a box that the client watches.
    pub fn tell(&mut self, id: Option<PipelineId>, status: Status, words: Vec<Word>) {
        if !self.closed {
            self.replies.push(&Reply { id, code: status.code(), more: false, words }, b"");
        }
    }

    pub(super) fn ask(
        &mut self,
        now: Timestamp,
        id: Option<PipelineId>,
        command: BoxCommand,
        block: Vec<u8>,
        host: &mut dyn Host,
    ) {
        let Some(host) = host.as_box() else { return self.refuse(id, Status::NotImplemented) };
        let ticket = self.wait(id);
        if let Some(answer) = host.command(now, ticket, command, block) {
            self.settle_with(now, ticket, &answer);
        }
    }

    pub(super) fn deposited(
        &mut self,
        now: Timestamp,
        id: Option<PipelineId>,
        deposit: Deposit,
        object: Vec<u8>,
        host: &mut dyn Host,
    ) {
        if deposit.claim.hash != digest(&object) {
            return self.end(id, Status::ProtocolError);
        }
        let Some(host) = host.as_box() else { return self.refuse(id, Status::NotImplemented) };
        let ticket = self.wait(id);
        if let Some(status) = host.deposit(now, ticket, deposit, object) {
            self.settle_with(now, ticket, &status.into());
        }
    }

    fn ask_deposit(&mut self, now: Timestamp, id: Option<PipelineId>, deposit: Deposit, host: &mut dyn Host) {
        if !host.as_box().is_some_and(|host| host.admits(now, &deposit)) {
            self.open(id.clone(), Envelope::Refused(Status::NotAvailable));
            return self.refuse(id, Status::NotAvailable);
        }
        let words = vec![Word::text(deposit.claim.size.to_string()), Word::text("-"), Word::text("-")];
        self.replies.push(&Reply { id: id.clone(), code: Status::Ready.code(), more: false, words }, b"");
        self.open(id, Envelope::Deposit(deposit));
    }
}

/// The largest block that a command may bring, in octets; `None` if it brings none.
const fn bound(command: &BoxCommand) -> Option<u64> {
    match command {
        BoxCommand::Register(Registration { .. }) => Some(CERTIFICATE_BYTES as u64),
        BoxCommand::ChallengeAccepted { .. } => Some(CHALLENGE_BYTES as u64),
        BoxCommand::Respond { .. } => Some(SIGNATURE_BYTES as u64),
        BoxCommand::Tokens { .. } => Some(TOKENS_OF_SET as u64 * TOKEN_BYTES),
        BoxCommand::Page { .. } => Some(PAGE_BYTES),
        BoxCommand::Identify { .. }
        | BoxCommand::Fetch { .. }
        | BoxCommand::Deposit { .. }
        | BoxCommand::Check { .. }
        | BoxCommand::List { .. }
        | BoxCommand::Retrieve { .. }
        | BoxCommand::Delete { .. }
        | BoxCommand::Watch { .. }
        | BoxCommand::Set { .. } => None,
    }
}
