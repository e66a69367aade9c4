//! The ports of mail programs: whether the daemon greets there; where none runs, whether they are free.

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use crate::config::File;
use crate::control::reply::Status;

/// A server on this machine answers within this time.
const GREETING: Duration = Duration::from_secs(10);

/// One of the two ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli::doctor) struct Port {
    /// The protocol.
    pub(in crate::cli::doctor) what: &'static str,
    /// Its setting in `config.toml`.
    pub(in crate::cli::doctor) setting: &'static str,
    pub(in crate::cli::doctor) at: String,
    pub(in crate::cli::doctor) answer: Answer,
}

/// What is at a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli::doctor) enum Answer {
    /// The daemon greets there.
    Greets,
    /// It does not, and why.
    Silent(String),
    /// No daemon runs, and the port is free.
    Free,
    /// No daemon runs, and another program uses the port.
    Taken,
    /// No daemon runs, and the port cannot be used.
    Unusable(String),
}

/// Reads the greetings of a daemon that runs.
pub(in crate::cli::doctor) fn that_answer(status: &Status) -> Vec<Port> {
    let Some(listen) = &status.listen else { return Vec::new() };
    let port = |what, setting, at: &String, greeting| {
        let answer = at.parse().map_or_else(
            |_| Answer::Silent("its address cannot be read".to_owned()),
            |address| greeting_of(address, greeting),
        );
        Port { what, setting, at: at.clone(), answer }
    };
    vec![
        port("IMAP", "listen.imap", &listen.imap, "* OK"),
        port("submission", "listen.submission", &listen.submission, "220"),
    ]
}

/// Looks whether the ports of the configuration are free.
pub(in crate::cli::doctor) fn that_are_free(data: &Path) -> Vec<Port> {
    let Ok(config) = File::load(data).and_then(|file| file.validate()) else { return Vec::new() };
    if config.carrier_only {
        return Vec::new();
    }
    let port = |what, setting, address: SocketAddr| {
        let answer = match TcpListener::bind(address) {
            Ok(_) => Answer::Free,
            Err(error) if error.kind() == ErrorKind::AddrInUse => Answer::Taken,
            Err(error) => Answer::Unusable(error.to_string()),
        };
        Port { what, setting, at: address.to_string(), answer }
    };
    vec![port("IMAP", "listen.imap", config.imap), port("submission", "listen.submission", config.submission)]
}

fn greeting_of(address: SocketAddr, wanted: &str) -> Answer {
    let mut line = [0; 64];
    let read = TcpStream::connect_timeout(&address, GREETING).and_then(|mut stream| {
        stream.set_read_timeout(Some(GREETING))?;
        stream.read(&mut line)
    });
    match read {
        Ok(read) if line.get(..read).is_some_and(|line| line.starts_with(wanted.as_bytes())) => Answer::Greets,
        Ok(_) => Answer::Silent("something else answers there".to_owned()),
        Err(error) => Answer::Silent(error.to_string()),
    }
}
