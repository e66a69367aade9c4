//! The daemon's end of the control socket.

use std::future::Future;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use super::{Code, Failure, LINE_BYTES, Request, SOCKET_NAME, socket};

/// Answers the requests.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request.
    fn handle(&self, request: Request) -> Pin<Box<dyn Future<Output = Result<Value, Failure>> + Send + '_>>;
}

/// The answer to a request, as it is written on the line.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Answer {
    /// The request was done.
    Ok(Value),
    /// The request was not done.
    Error(Failure),
}

impl Answer {
    /// Reads a line; `None` where it is not such an answer.
    pub(super) fn read(line: &str) -> Option<Result<Value, Failure>> {
        match serde_json::from_str(line).ok()? {
            Self::Ok(value) => Some(Ok(value)),
            Self::Error(failure) => Some(Err(failure)),
        }
    }
}

/// A listening control socket. Its file stays behind: the next daemon, which holds the lock, replaces it.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    file: PathBuf,
}

impl Server {
    /// Listens in this data directory, whose lock the caller holds: a socket that is there is a leftover.
    ///
    /// # Errors
    /// The error of the system.
    pub fn bind(data: &Path) -> io::Result<Self> {
        let (path, _directory) = socket::address(data, SOCKET_NAME)?;
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Self { listener, file: data.join(SOCKET_NAME) })
    }

    /// Serves until this future is dropped.
    pub async fn serve(self, handler: Arc<dyn Handler>) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let handler = Arc::clone(&handler);
                    tokio::spawn(async move {
                        // A client that goes away harms nobody else.
                        let _ = serve_client(stream, handler).await;
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the control socket could not accept a connection");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A leftover does no harm: the next daemon removes it.
        let _ = std::fs::remove_file(&self.file);
    }
}

async fn serve_client(stream: UnixStream, handler: Arc<dyn Handler>) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    loop {
        let mut line = Vec::new();
        let length = (&mut read).take(LINE_BYTES as u64).read_until(b'\n', &mut line).await?;
        if length == 0 {
            return Ok(());
        }
        let answer = match serde_json::from_slice::<Request>(&line) {
            Ok(request) => handler.handle(request).await,
            Err(error) => Err(Failure::new(Code::Usage, format!("not a request: {error}"))),
        };
        let answer = match answer {
            Ok(value) => Answer::Ok(value),
            Err(failure) => Answer::Error(failure),
        };
        let mut line = serde_json::to_vec(&answer).map_err(io::Error::other)?;
        line.push(b'\n');
        write.write_all(&line).await?;
    }
}
