//! The command line's end of the control socket. Blocking: a command asks one thing and waits.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde::de::DeserializeOwned;

use super::{Code, Failure, Request, SOCKET_NAME, reply, socket};

/// A connection to the daemon of a data directory.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
}

impl Client {
    /// Connects to the daemon of a data directory.
    ///
    /// # Errors
    /// [`Code::DaemonDown`] where none listens, [`Code::Failed`] where its socket cannot be used.
    pub fn connect(data: &Path) -> Result<Self, Failure> {
        socket::address(data, SOCKET_NAME)
            .and_then(|(path, _directory)| UnixStream::connect(path))
            .map(|stream| Self { stream: BufReader::new(stream) })
            .map_err(|error| match error.kind() {
                // The socket of a daemon that was killed stays behind.
                ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
                    Failure::new(Code::DaemonDown, format!("no daemon runs in {}", data.display()))
                        .hint("start it with: runepeer up")
                }
                ErrorKind::PermissionDenied => {
                    Failure::new(Code::Failed, format!("the daemon in {} is not yours", data.display()))
                        .hint("ask as the user who runs it, or choose another one with --data-dir")
                }
                _ => Failure::new(Code::Failed, format!("the daemon in {} cannot be asked: {error}", data.display())),
            })
    }

    /// Asks one thing and waits for the answer, which is of a type of [`reply`].
    ///
    /// # Errors
    /// The failure that the daemon reports, [`Code::DaemonDown`] where it goes away, or [`Code::Failed`] where its
    /// answer is of another type.
    pub fn ask<R: DeserializeOwned>(&mut self, request: &Request) -> Result<R, Failure> {
        let gone = |_| Failure::new(Code::DaemonDown, "the daemon went away before it answered");
        let mut line = serde_json::to_string(request).map_err(|error| Failure::new(Code::Failed, error.to_string()))?;
        line.push('\n');
        self.stream.get_mut().write_all(line.as_bytes()).map_err(gone)?;
        let mut answer = String::new();
        self.stream.read_line(&mut answer).map_err(gone)?;
        super::server::Answer::read(&answer)
            .unwrap_or_else(|| Err(Failure::new(Code::DaemonDown, "the daemon went away before it answered")))
            .and_then(reply::read)
    }
}
