//! Who talks to the nodes while they are killed: mail programs that submit, one that files, a peer that delivers.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use runepeer::net::Loopback;

use crate::support::StopOnDrop;
use crate::support::mail::{Imap, Login, Smtp, message};
use crate::support::node::Node;
use crate::support::peer::{Peer, Session};
use crate::witness::Witness;

/// Where a gateway listens now, while its node runs.
pub(crate) struct Target {
    gateway: &'static str,
    port: Mutex<Option<u16>>,
}

impl Target {
    pub(crate) fn new(node: &Node, gateway: &'static str) -> Self {
        Self { gateway, port: Mutex::new(Some(node.port(gateway))) }
    }

    pub(crate) fn gone(&self) {
        *self.port.lock().unwrap() = None;
    }

    pub(crate) fn back(&self, node: &Node) {
        *self.port.lock().unwrap() = Some(node.port(self.gateway));
    }

    fn port(&self) -> Option<u16> {
        *self.port.lock().unwrap()
    }
}

/// All of them, until they are told to stop.
pub(crate) struct Clients {
    stop: AtomicBool,
    peers: PathBuf,
    peer: Peer,
}

fn pause() {
    std::thread::sleep(Duration::from_millis(5));
}

impl Clients {
    /// A scripted peer becomes a contact of the receiving node.
    pub(crate) fn new(receiver: &Node, peers: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let invitation = receiver.json(&["invite"])["invitation"].as_str().unwrap().to_owned();
        let transport = Loopback::open(peers).unwrap();
        let peer = runtime.block_on(Peer::befriend(0, &transport, &invitation));
        Self { stop: AtomicBool::new(false), peers: peers.to_owned(), peer }
    }

    /// They go on for as long as what this returns lives, also where a test fails: its scope waits for their threads.
    pub(crate) const fn until_dropped(&self) -> StopOnDrop<'_> {
        StopOnDrop(&self.stop)
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    /// Submits one message after the other, for as long as there is somebody to submit to.
    pub(crate) fn submit_on_and_on(&self, who: u32, witness: &Witness, target: &Target, login: &Login, to: &str) {
        let mut number = 0_u32;
        while self.goes_on() {
            let session = target.port().and_then(|port| Smtp::open(port, login).ok());
            let Some(mut smtp) = session else {
                pause();
                continue;
            };
            while self.goes_on() {
                number += 1;
                let subject = format!("submitted-{who}-{number:06}");
                let body = "x".repeat(usize::try_from(number % 7 * 1500).unwrap());
                witness.begins(&subject, "INBOX");
                if smtp.submit(to, &message(&login.user, to, &subject, &body)).is_err() {
                    break;
                }
                witness.is_there("250", &subject, None);
                pause();
            }
        }
    }

    /// Saves, flags, moves and removes messages.
    pub(crate) fn file_on_and_on(&self, who: u32, witness: &Witness, target: &Target, login: &Login) {
        let mut number = 0_u32;
        while self.goes_on() {
            let session = target.port().and_then(|port| Imap::open(port, login).ok());
            let Some(mut imap) = session else {
                pause();
                continue;
            };
            // They are there, most of the time.
            let _ = imap.run("CREATE Notes");
            let _ = imap.run("CREATE Kept");
            if imap.run("SELECT Notes").is_err() {
                continue;
            }
            while self.goes_on() {
                number += 1;
                let subject = format!("filed-{who}-{number:06}");
                if file(&mut imap, witness, login, &subject, number).is_none() {
                    break;
                }
                pause();
            }
        }
    }

    /// Delivers sealed mail as a contact, until each is acknowledged.
    pub(crate) fn deliver_on_and_on(&self, witness: &Witness) {
        let mut number = 0_usize;
        while self.goes_on() {
            number += 1;
            let subject = format!("delivered-{number:06}");
            witness.begins(&subject, "INBOX");
            let request = self.peer.mail(number, &subject, 1000 + number % 5 * 2000);
            let requests = [request];
            while self.goes_on() {
                let session = Session::connect(&self.peers, self.peer.receiver());
                if session.and_then(|mut session| session.exchange(&requests, 1)).is_ok() {
                    witness.is_there("202", &subject, None);
                    break;
                }
                pause();
            }
        }
    }
}

/// One message's life; `None` where the connection broke.
fn file(imap: &mut Imap, witness: &Witness, login: &Login, subject: &str, number: u32) -> Option<()> {
    let body = "y".repeat(usize::try_from(number % 5 * 700).unwrap());
    let text = message(&login.user, &login.user, subject, &body);
    witness.begins(subject, "Notes");
    let answer = imap.append("Notes", &text).ok()?;
    let uid = response(&answer, "APPENDUID", 1)?;
    witness.is_there("saved", subject, Some(uid));
    if number.is_multiple_of(2) {
        witness.flagged(subject, false);
        imap.run(&format!("UID STORE {uid} +FLAGS.SILENT (\\Flagged)")).ok()?;
        witness.flagged(subject, true);
    }
    if number.is_multiple_of(3) {
        witness.may_go(subject, "Kept");
        let (untagged, _) = imap.ask(&format!("UID MOVE {uid} Kept")).ok()?;
        let there = response(&String::from_utf8_lossy(&untagged), "COPYUID", 2)?;
        witness.went("moved", subject, "Kept", Some(there));
    } else if number.is_multiple_of(5) {
        witness.may_go(subject, "");
        imap.run(&format!("UID STORE {uid} +FLAGS.SILENT (\\Deleted)")).ok()?;
        imap.run(&format!("UID EXPUNGE {uid}")).ok()?;
        witness.went("removed", subject, "", None);
    }
    Some(())
}

/// A number of a response code.
fn response(answer: &str, code: &str, place: usize) -> Option<u32> {
    let rest = answer.split(code).nth(1)?;
    rest.split([' ', ']']).filter(|word| !word.is_empty()).nth(place)?.parse().ok()
}
