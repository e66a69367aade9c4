//! The socket of one session: reading that loses nothing when it is interrupted, writing with back-pressure.
//!
//! [`Reader`] keeps the bytes behind the line that it gave out, so that `DONE` and the next command may share a packet.
//! [`Writer`] collects a response and sends it in pieces of at most a quarter of a MiB.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use zeroize::Zeroize;

use crate::base::limits;

/// Why reading ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadFailure {
    /// The client is gone.
    #[error("the client closed the connection")]
    Closed,
    /// A line is longer than its bound.
    #[error("a line is too long")]
    TooLong,
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Lines and literals from a socket.
pub(super) struct Reader {
    inner: Box<dyn AsyncRead + Send + Unpin>,
    buffer: Vec<u8>,
    start: usize,
    /// How many bytes of the buffer are known to hold no line end.
    scanned: usize,
}

const READ_BYTES: usize = 16 * limits::KIB;
/// While a command takes long, up to so many bytes are read ahead, to notice whether the client is still there.
const READ_AHEAD_BYTES: usize = 64 * limits::KIB;

impl Reader {
    pub(super) fn new(inner: impl AsyncRead + Send + Unpin + 'static) -> Self {
        Self { inner: Box::new(inner), buffer: Vec::new(), start: 0, scanned: 0 }
    }

    /// The next line without its line end. Can be dropped and called again without losing bytes.
    pub(super) async fn line(&mut self, bound: usize) -> Result<Vec<u8>, ReadFailure> {
        loop {
            let waiting = self.waiting();
            let new = waiting.get(self.scanned..).unwrap_or_default();
            if let Some(end) = new.iter().position(|&byte| byte == b'\n') {
                let line = waiting.get(..self.scanned + end).unwrap_or_default();
                let line = line.strip_suffix(b"\r").unwrap_or(line).to_vec();
                self.consume(self.scanned + end + 1);
                return if line.len() > bound { Err(ReadFailure::TooLong) } else { Ok(line) };
            }
            self.scanned = waiting.len();
            if self.scanned > bound + 1 {
                return Err(ReadFailure::TooLong);
            }
            self.fill().await?;
        }
    }

    /// The first byte of the next line, once it has arrived.
    pub(super) async fn first(&mut self) -> Result<u8, ReadFailure> {
        loop {
            if let Some(&byte) = self.waiting().first() {
                return Ok(byte);
            }
            self.fill().await?;
        }
    }

    /// Moves up to `wanted` received bytes into `target`, waiting for at least one.
    pub(super) async fn take(&mut self, wanted: usize, target: &mut Vec<u8>) -> Result<usize, ReadFailure> {
        if self.waiting().is_empty() && wanted > 0 {
            self.fill().await?;
        }
        let found = self.waiting();
        let found = found.get(..wanted.min(found.len())).unwrap_or_default();
        target.extend_from_slice(found);
        let len = found.len();
        self.consume(len);
        Ok(len)
    }

    /// Waits for bytes, and drops up to `wanted` of them.
    pub(super) async fn skip(&mut self, wanted: usize) -> Result<usize, ReadFailure> {
        if self.waiting().is_empty() && wanted > 0 {
            self.fill().await?;
        }
        let len = self.waiting().len().min(wanted);
        self.consume(len);
        Ok(len)
    }

    /// Returns when the client has closed its side; never if the client goes on sending. Can be dropped without losing
    /// bytes.
    pub(super) async fn closed(&mut self) {
        while self.waiting().len() < READ_AHEAD_BYTES {
            if self.fill().await.is_err() {
                return;
            }
        }
        std::future::pending().await
    }

    fn waiting(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    fn consume(&mut self, len: usize) {
        // The bytes are wiped because passwords pass through here.
        if let Some(used) = self.buffer.get_mut(self.start..self.start + len) {
            used.zeroize();
        }
        self.start += len;
        self.scanned = 0;
        if self.start >= self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        }
    }

    async fn fill(&mut self) -> Result<(), ReadFailure> {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.reserve(READ_BYTES);
        match self.inner.read_buf(&mut self.buffer).await? {
            0 => Err(ReadFailure::Closed),
            _ => Ok(()),
        }
    }
}

/// Writes responses to a socket.
pub(super) struct Writer {
    inner: Box<dyn AsyncWrite + Send + Unpin>,
    buffer: Vec<u8>,
    sent: u64,
    patience: Duration,
}

impl Writer {
    pub(super) fn new(inner: impl AsyncWrite + Send + Unpin + 'static, patience: Duration) -> Self {
        Self { inner: Box::new(inner), buffer: Vec::new(), sent: 0, patience }
    }

    /// From now on the client has one second to take the bytes that are sent.
    pub(super) const fn be_brief(&mut self) {
        self.patience = Duration::from_secs(1);
    }

    /// The buffer in which a response is put together.
    pub(super) const fn out(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Adds a whole line.
    pub(super) fn line(&mut self, line: &str) {
        self.buffer.extend_from_slice(line.as_bytes());
        self.buffer.extend_from_slice(b"\r\n");
    }

    /// A place to which [`Self::take_back`] can return.
    pub(super) const fn mark(&self) -> (u64, usize) {
        (self.sent, self.buffer.len())
    }

    /// Takes back the bytes that were written since the mark; false where some of them were already sent.
    pub(super) fn take_back(&mut self, (sent, len): (u64, usize)) -> bool {
        let whole = self.sent == sent;
        if whole {
            self.buffer.truncate(len);
        }
        whole
    }

    /// Sends the buffer, if it has grown large.
    pub(super) async fn relieve(&mut self) -> io::Result<()> {
        if self.buffer.len() >= limits::IMAP_PIECE_BYTES { self.flush().await } else { Ok(()) }
    }

    /// Sends everything. A client that takes nothing for too long is given up.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let send = async {
            self.inner.write_all(&self.buffer).await?;
            self.inner.flush().await
        };
        timeout(self.patience, send).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        self.sent += 1;
        self.buffer.clear();
        Ok(())
    }

    /// Frees the memory of a large response, since a session mostly waits.
    pub(super) fn rest(&mut self) {
        self.buffer.shrink_to(READ_BYTES);
    }

    /// Sends everything and closes.
    pub(super) async fn close(&mut self) -> io::Result<()> {
        self.flush().await?;
        timeout(self.patience, self.inner.shutdown()).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_and_literals_come_out_however_they_were_cut() {
        let (mut client, server) = tokio::io::duplex(3);
        let mut reader = Reader::new(server);
        let writing = tokio::spawn(async move {
            client.write_all(b"DONE\r\na NOOP\nb X {3}\r\nx\ny z\r\n").await.unwrap();
        });
        assert_eq!(reader.line(100).await.unwrap(), b"DONE");
        assert_eq!(reader.line(100).await.unwrap(), b"a NOOP");
        assert_eq!(reader.line(100).await.unwrap(), b"b X {3}");
        let mut literal = Vec::new();
        while literal.len() < 3 {
            reader.take(3 - literal.len(), &mut literal).await.unwrap();
        }
        assert_eq!(literal, b"x\ny");
        assert_eq!(reader.line(100).await.unwrap(), b" z");
        writing.await.unwrap();
        assert!(matches!(reader.line(100).await, Err(ReadFailure::Closed)));
    }

    #[tokio::test]
    async fn a_long_line_is_refused_before_it_is_complete() {
        let (mut client, server) = tokio::io::duplex(64);
        let mut reader = Reader::new(server);
        let writing = tokio::spawn(async move {
            let _ = client.write_all(&[b'x'; 10_000]).await;
            client
        });
        assert!(matches!(reader.line(100).await, Err(ReadFailure::TooLong)));
        assert!(reader.buffer.len() < 2 * READ_BYTES);
        drop(reader);
        writing.await.unwrap();
    }
}
