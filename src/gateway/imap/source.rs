//! The bytes of one message, of which no more is read than a command needs.
//!
//! A header is read without the body behind it; the structure is parsed once and kept with
//! [`Account::cache`]; sections are ranges of the stored body. One body at a time is in memory per session, and all
//! of them together are bounded ([`Limits::memory`](super::Limits::memory)).

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::base::limits;
use crate::engine::state::mailbox::Message;
use crate::gateway::account::{Account, ReadError};
use crate::mail::headers;
use crate::mail::structure::{self, Envelope, MessageStructure, Span};

/// The version of the values in [`Account::cache`]; a value of another version is computed anew.
const CACHE_VERSION: u8 = 2;
/// How many bytes are read first for a header.
const HEADER_READ: u32 = 16 * 1024;
/// For the envelope of a message larger than this, only the header is read. In bytes.
const LARGE: usize = 128 * limits::KIB;
/// The cost of reading the structure, in steps for a byte (`mail::structure`).
const STRUCTURE_STEPS_PER_BYTE: usize = 24;
/// Work of more steps than this is done on another thread than the one that serves sessions: about a millisecond of a
/// slow machine.
const STEPS_AT_ONCE: usize = limits::MIB;

#[derive(Serialize, Deserialize)]
struct Cached {
    version: u8,
    structure: MessageStructure,
}

/// One message, with everything that was found out about it so far.
pub(super) struct Source<'a> {
    account: &'a dyn Account,
    memory: &'a Arc<Semaphore>,
    message: &'a Message,
    header: Option<Vec<u8>>,
    structure: Option<MessageStructure>,
    verified: Option<Span>,
}

/// These bytes, in pieces that are each read at once.
pub(super) fn pieces(span: Span) -> impl Iterator<Item = Span> {
    let piece = u32::try_from(limits::IMAP_PIECE_BYTES).unwrap_or(u32::MAX);
    let starts = std::iter::successors(Some(span.start), move |start| start.checked_add(piece));
    starts.take_while(move |start| *start < span.end).map(move |start| {
        let end = start.saturating_add(piece).min(span.end);
        Span { start, end }
    })
}

impl<'a> Source<'a> {
    pub(super) const fn new(account: &'a dyn Account, memory: &'a Arc<Semaphore>, message: &'a Message) -> Self {
        Self { account, memory, message, header: None, structure: None, verified: None }
    }

    /// The whole message.
    pub(super) const fn whole(&self) -> Span {
        Span { start: 0, end: self.message.size }
    }

    /// Reads these bytes. Fewer than asked for are an error, because a length may have been announced already.
    pub(super) async fn read(&self, span: Span) -> Result<Vec<u8>, ReadError> {
        if span.is_empty() {
            return Ok(Vec::new());
        }
        let bytes = self.account.body(self.message.body, span.range()).await?;
        if u32::try_from(bytes.len()) == Ok(span.len()) { Ok(bytes) } else { Err(ReadError) }
    }

    /// Reads all of these bytes once and keeps none, so that it is known whether they can be read before they are
    /// announced.
    pub(super) async fn verify(&mut self, span: Span) -> Result<(), ReadError> {
        if self.verified.is_none_or(|known| span.start < known.start || known.end < span.end) {
            for piece in pieces(span) {
                self.read(piece).await?;
            }
            self.verified = Some(span);
        }
        Ok(())
    }

    /// The header of the message, with its empty line.
    pub(super) async fn header(&mut self) -> Result<&[u8], ReadError> {
        if self.header.is_none() {
            let known = self.cached().map(|structure| structure.root.header);
            let header = match known {
                Some(span) => self.read(span).await?,
                None => self.find_header().await?,
            };
            self.header = Some(header);
        }
        Ok(self.header.as_deref().unwrap_or_default())
    }

    async fn find_header(&self) -> Result<Vec<u8>, ReadError> {
        let mut wanted = HEADER_READ;
        loop {
            let end = wanted.min(self.message.size);
            let mut bytes = self.read(Span { start: 0, end }).await?;
            let (header, body) = headers::split(&bytes);
            if !body.is_empty() || end == self.message.size {
                let len = header.len();
                bytes.truncate(len);
                return Ok(bytes);
            }
            wanted = wanted.saturating_mul(8);
        }
    }

    fn cached(&mut self) -> Option<&MessageStructure> {
        if self.structure.is_none() {
            let bytes = self.account.cached(self.message.body)?;
            let cached: Cached = postcard::from_bytes(&bytes).ok()?;
            if cached.version != CACHE_VERSION {
                return None;
            }
            self.structure = Some(cached.structure);
        }
        self.structure.as_ref()
    }

    /// The structure of the message.
    pub(super) async fn structure(&mut self) -> Result<&MessageStructure, ReadError> {
        if self.cached().is_none() {
            let (bytes, _reserved) = self.load().await?;
            let structure = offload(structure_cost(bytes.len()), move || structure::parse(&bytes)).await?;
            let cached = Cached { version: CACHE_VERSION, structure };
            if let Ok(bytes) = postcard::to_stdvec(&cached) {
                self.account.cache(self.message.body, bytes);
            }
            self.structure = Some(cached.structure);
        }
        self.structure.as_ref().ok_or(ReadError)
    }

    /// The envelope. For a large message only the header is read.
    pub(super) async fn envelope(&mut self) -> Result<Envelope, ReadError> {
        if self.cached().is_none() && usize::try_from(self.message.size).is_ok_and(|size| size > LARGE) {
            let header = self.header().await?.to_vec();
            return offload(structure_cost(header.len()), move || structure::parse(&header).envelope).await;
        }
        Ok(self.structure().await?.envelope.clone())
    }

    /// The whole message in memory, and its share of the memory of all sessions.
    pub(super) async fn load(&self) -> Result<(Arc<[u8]>, OwnedSemaphorePermit), ReadError> {
        let size = self.message.size.min(u32::try_from(limits::IN_FLIGHT_BYTES).unwrap_or(u32::MAX));
        let reserved = Arc::clone(self.memory).acquire_many_owned(size).await.map_err(|_| ReadError)?;
        let bytes = self.read(self.whole()).await?;
        Ok((bytes.into(), reserved))
    }
}

const fn structure_cost(bytes: usize) -> usize {
    bytes.saturating_mul(STRUCTURE_STEPS_PER_BYTE)
}

/// Computes something that costs so many steps: on this thread if they are few, on a thread of its own if they are
/// many.
pub(super) async fn offload<T: Send + 'static>(
    cost: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ReadError> {
    if cost <= STEPS_AT_ONCE {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await.map_err(|_| ReadError)
}
