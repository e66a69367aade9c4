//! Answers of more than a status: several lines, parameters, blocks.

use std::sync::Arc;

use crate::wire::mailbox::Said;
use crate::wire::{PipelineId, Reply, Status, Word};

/// One line of an answer.
#[derive(Clone)]
pub struct Line {
    status: Status,
    /// Words in place of the fixed text of the status.
    words: Option<Vec<Word>>,
    block: Arc<[u8]>,
}

/// The answer to one command: one line or more, in order.
#[derive(Clone)]
pub struct Answer(Vec<Line>);

impl Line {
    /// A line with this status and these words.
    pub fn new(status: Status, words: Vec<Word>) -> Self {
        Self { status, words: Some(words), block: Arc::default() }
    }

    /// A line with this status and its parameters.
    pub fn saying(status: Status, said: &impl Said) -> Self {
        Self::new(status, said.words())
    }

    /// The same line with the block that its words announce.
    #[must_use]
    pub fn with(self, block: Arc<[u8]>) -> Self {
        Self { block, ..self }
    }
}

impl Answer {
    /// An answer of these lines; `last` ends it.
    pub fn lines(before: impl IntoIterator<Item = Line>, last: Line) -> Self {
        let mut lines: Vec<_> = before.into_iter().collect();
        lines.push(last);
        Self(lines)
    }

    /// Whether the session ends with this answer.
    pub(super) fn closes(&self) -> bool {
        self.0.iter().any(|line| line.status.closes())
    }

    /// Its bytes, as the answer to a command of this id.
    pub(super) fn encode(&self, id: Option<&PipelineId>) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (number, line) in self.0.iter().enumerate() {
            let plain = Reply::plain(id.cloned(), line.status);
            let words = line.words.clone().unwrap_or(plain.words);
            let reply = Reply { more: number + 1 < self.0.len(), words, ..plain };
            bytes.extend_from_slice(reply.encode().as_bytes());
            bytes.extend_from_slice(&line.block);
        }
        bytes
    }
}

impl From<Line> for Answer {
    fn from(line: Line) -> Self {
        Self(vec![line])
    }
}

impl From<Status> for Answer {
    fn from(status: Status) -> Self {
        Self(vec![Line { status, words: None, block: Arc::default() }])
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|line| line.status)).finish()
    }
}
