//! Connections of an attacker: any bytes, in any order, and whatever comes back.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use runepeer::base::Onion;

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// One connection.
pub(crate) struct Raw<S>(S);

/// To an onion.
pub(crate) fn onion(peers: &Path, onion: Onion) -> Raw<UnixStream> {
    try_onion(peers, onion).expect("somebody listens")
}

/// To an onion, where it takes more connections.
pub(crate) fn try_onion(peers: &Path, onion: Onion) -> Option<Raw<UnixStream>> {
    let stream = UnixStream::connect(peers.join(onion.label())).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    Some(Raw(stream))
}

/// To a port of this machine.
pub(crate) fn port(port: u16) -> Raw<TcpStream> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    Raw(stream)
}

impl Raw<TcpStream> {
    /// It waits for an answer no longer than this.
    pub(crate) fn impatient(self, limit: Duration) -> Self {
        self.0.set_read_timeout(Some(limit)).unwrap();
        self
    }
}

impl<S: Read + Write> Raw<S> {
    /// Sends these bytes; `false` where the other side has closed.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.0.write_all(bytes.as_ref()).is_ok()
    }

    /// What comes until the other side closes, or says nothing for a while.
    pub(crate) fn rest(&mut self) -> String {
        let (mut all, mut buffer) = (Vec::new(), [0; 16 * 1024]);
        while let Ok(read @ 1..) = self.0.read(&mut buffer) {
            all.extend_from_slice(&buffer[..read]);
        }
        String::from_utf8_lossy(&all).into_owned()
    }

    /// Reads until this was said.
    pub(crate) fn until(&mut self, said: &str) -> String {
        let (mut all, mut byte) = (Vec::new(), [0; 1]);
        while !all.ends_with(said.as_bytes()) {
            match self.0.read(&mut byte) {
                Ok(1) => all.push(byte[0]),
                _ => panic!("waited for {said:?} and got {:?}", String::from_utf8_lossy(&all)),
            }
        }
        String::from_utf8_lossy(&all).into_owned()
    }

    /// Reads one line.
    pub(crate) fn line(&mut self) -> String {
        self.until("\n")
    }

    /// Sends a script and gives what is said until the end.
    pub(crate) fn talk(mut self, script: impl AsRef<[u8]>) -> String {
        // It may be closed before it has all.
        self.send(script);
        self.rest()
    }
}

/// The codes of the replies of a RUNE session, without its greeting.
pub(crate) fn codes(said: &str) -> Vec<u16> {
    let code = |line: &str| line.split(' ').find_map(|word| word.get(..3)?.parse().ok().filter(|_| word.len() == 3));
    said.lines().filter(|line| !line.starts_with("HOWDY")).filter_map(code).collect()
}
