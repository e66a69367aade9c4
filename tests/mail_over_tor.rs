//! The main job, end to end, on a private Tor network: two daemons of the real binary, invitations, mail both ways with
//! real mail programs, kill and restart. Ignored, with the reason, where something that it needs is not installed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::string_slice)]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::{Duration, Instant};

use runepeer::base::{Address, ContactId, IdentityId, Onion, limits};
use runepeer::net::{Isolation, Stream, Tor, TorConfig, Transport, TransportState};
use tokio::io::AsyncReadExt;
use tokio::task::JoinSet;

use support::mail::Login;
use support::node::Node;
use support::runner::{self, Missing};
use support::tornet::TorNet;
use support::{mbsync, program, programs, temp_dir, wait_for};

/// What takes seconds on a quiet machine.
const SOON: Duration = Duration::from_secs(120);
/// What waits for a dial that fails, and then for the next attempts (after one minute, then five) or a random moment.
const LATER: Duration = Duration::from_secs(500);
/// The attachment that travels each way, in bytes.
const ATTACHMENT: usize = 5 * 1024 * 1024;
const STRANGER: IdentityId = IdentityId::from_bytes([7; 16]);
const STREAMS_OF_A_CIRCUIT: usize = 8;

fn main() -> ExitCode {
    runner::main(
        || {
            for name in ["swaks", "msmtp", "mbsync"] {
                program(name).ok_or_else(|| Missing(format!("{name} is not installed")))?;
            }
            TorNet::start()
        },
        &[
            ("two_people_mail_each_other_through_a_kill_and_restarts", two_people),
            ("silent_streams_of_strangers_shut_neither_a_person_nor_a_carrier", silent_strangers),
        ],
    )
}

/// Streams that say nothing, to an onion: so many, a few for each circuit.
async fn hold(tor: &Arc<Tor>, onion: Onion, count: usize) -> Vec<Box<dyn Stream>> {
    let mut dials = JoinSet::new();
    let mut held = Vec::new();
    for number in 0..count {
        let (tor, circuit) = (Arc::clone(tor), (number / STREAMS_OF_A_CIRCUIT) as u8);
        dials.spawn(async move {
            let isolation = Isolation::Pair(STRANGER, ContactId::from_bytes([circuit; 16]));
            tor.dial(onion, isolation).await
        });
        if dials.len() >= 16 {
            held.extend(dials.join_next().await.unwrap().unwrap().ok());
        }
    }
    while let Some(dialled) = dials.join_next().await {
        held.extend(dialled.unwrap().ok());
    }
    held
}

/// Whether a node greets somebody who comes now.
async fn greets(tor: &Tor, onion: Onion) -> bool {
    let isolation = Isolation::Pair(STRANGER, ContactId::from_bytes([255; 16]));
    let Ok(mut stream) = tor.dial(onion, isolation).await else { return false };
    let mut greeting = [0; 5];
    let read = tokio::time::timeout(SOON, stream.read_exact(&mut greeting)).await;
    matches!(read, Ok(Ok(_))) && &greeting == b"HOWDY"
}

/// A stranger who only has the onions holds more streams open than there are places: mail of a contact takes at most three times
/// as long as before, and a carrier still greets each new peer.
fn silent_strangers(network: &TorNet) {
    let (mut alice, mut bob) = (Node::tor("alice", network.table()), Node::tor("bob", network.table()));
    let mut carol = Node::tor("carol", network.table()).carrier_only();
    alice.start();
    bob.start();
    alice.befriend(&bob);
    carol.spawn();
    carol.wait_until_reachable();
    let takes = |subject: &str| {
        let begun = Instant::now();
        bob.feed(&["send", "-t", "alice", "-s", subject, "-"], b"Hello\n");
        arrives(&alice, subject);
        begun.elapsed()
    };
    takes("the first");
    let before = ["one", "two", "three"].map(&takes);
    // A session that delivered ends, so that each message needs a place of its own.
    let usual = before.into_iter().max().unwrap().max(Duration::from_secs(5));
    let alices = alice.address().parse::<Address>().unwrap().onion();
    let carols: Onion = carol.json(&["carrier", "show"])["onion"].as_str().unwrap().parse().unwrap();
    let directory = temp_dir();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (tor, held) = runtime.block_on(async {
        let tor = Tor::start(TorConfig::new(directory.path().join("tor"), network.table())).await.unwrap();
        let mut status = tor.status();
        let ready = status.wait_for(|now| now.state == TransportState::Ready);
        tokio::time::timeout(SOON, ready).await.expect("ready in time").unwrap();
        let tor = Arc::new(tor);
        let held = [hold(&tor, alices, limits::SESSIONS + 8).await, hold(&tor, carols, limits::CONNECTIONS + 8).await];
        (tor, held)
    });
    let [at_alice, at_carol] = held.each_ref().map(Vec::len);
    assert!(at_alice >= limits::SESSIONS && at_carol >= limits::CONNECTIONS, "{at_alice} and {at_carol} streams");
    let meanwhile = takes("meanwhile");
    assert!(meanwhile <= usual * 3, "{meanwhile:?} instead of {usual:?}");
    assert!(runtime.block_on(greets(&tor, carols)), "the carrier is shut");
    drop(held);
    runtime.shutdown_timeout(Duration::from_secs(1));
}

/// A file of bytes that no compression shortens.
fn attachment(directory: &Path, seed: u64) -> (PathBuf, Vec<u8>) {
    use runepeer::base::Rng;
    let mut bytes = vec![0; ATTACHMENT];
    runepeer::base::rng::SeededRng::new(seed).fill(&mut bytes);
    let path = directory.join(format!("attachment-{seed}"));
    std::fs::write(&path, &bytes).unwrap();
    (path, bytes)
}

/// Runs a program that must succeed; what it said.
fn succeed(command: Command, input: &[u8]) -> String {
    let words = format!("{command:?}");
    let output = programs::run(command, input);
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words} ended with {}:\n{text}", output.status);
    text
}

/// Submits with swaks; its transcript must show 250 for the message.
fn swaks(node: &Node, login: &Login, to: &str, subject: &str, file: &Path) {
    let mut command = Command::new("swaks");
    command
        .args(["--server", "127.0.0.1", "--port", &node.port("submission").to_string()])
        .args(["--auth", "PLAIN", "--auth-user", &login.user, "--auth-password", &login.password])
        .args(["--from", &login.user, "--to", to, "--header", &format!("Subject: {subject}")])
        .args(["--body", "Here it is.", "--attach", &format!("@{}", file.display())])
        .args(["--timeout", "120", "--suppress-data"]);
    let transcript = succeed(command, b"");
    assert!(transcript.contains("250 2.0.0 queued as"), "{transcript}");
}

/// Submits with msmtp, which reads the message on its standard input.
fn msmtp(node: &Node, login: &Login, directory: &Path, to: &str, message: &[u8]) {
    let config = directory.join("msmtprc");
    let text = format!(
        "account default\nhost 127.0.0.1\nport {}\ntls off\nauth plain\nuser {}\npassword {}\nfrom {}\ndomain localhost\n",
        node.port("submission"),
        login.user,
        login.password,
        login.user
    );
    std::fs::write(&config, text).unwrap();
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&config, std::fs::Permissions::from_mode(0o600)).unwrap();
    let mut command = Command::new("msmtp");
    command.arg("-C").arg(&config).arg(to);
    succeed(command, message);
}

/// The decoded attachments of the messages with this subject in a Maildir.
fn attachments(messages: &[Vec<u8>], subject: &str) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for message in messages {
        let parsed = mailparse::parse_mail(message).unwrap();
        if parsed.headers.iter().any(|header| header.get_key() == "Subject" && header.get_value() == subject) {
            found.extend(parsed.subparts.iter().skip(1).map(|part| part.get_body_raw().unwrap()));
        }
    }
    found
}

fn subjects(node: &Node) -> Vec<String> {
    let list = node.json(&["ls"]);
    list["messages"].as_array().unwrap().iter().map(|row| row["subject"].as_str().unwrap().to_owned()).collect()
}

fn arrives(node: &Node, subject: &str) {
    wait_for(&format!("{subject} at {}", node.name()), LATER, || {
        subjects(node).iter().any(|known| known == subject).then_some(())
    });
}

fn two_people(network: &TorNet) {
    let (mut alice, mut bob) = (Node::tor("alice", network.table()), Node::tor("bob", network.table()));
    alice.start();
    bob.start();
    let (alices_address, bobs_address) = (alice.address(), bob.address());
    alice.befriend(&bob);
    let (alices, bobs) = (Login::new(&alice, "test"), Login::new(&bob, "test"));
    let directory = temp_dir();

    // alice → bob with swaks.
    let (file, bytes) = attachment(directory.path(), 1);
    swaks(&alice, &alices, &bobs_address, "from alice", &file);
    arrives(&bob, "from alice");
    let messages = mbsync(&bob, &bobs, &directory.path().join("bob"));
    assert!(attachments(&messages, "from alice") == [bytes], "bob's attachment differs");

    // bob → alice with msmtp.
    let (_, bytes) = attachment(directory.path(), 2);
    let encoded = data_encoding::BASE64_MIME.encode(&bytes);
    let message = format!(
        "From: <{bobs_address}>\r\nTo: <{alices_address}>\r\nSubject: from bob\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=\"b\"\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nHello\r\n\
         --b\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n{encoded}\r\n--b--\r\n"
    );
    msmtp(&bob, &bobs, directory.path(), &alices_address, message.as_bytes());
    arrives(&alice, "from bob");
    let messages = mbsync(&alice, &alices, &directory.path().join("alice"));
    assert!(attachments(&messages, "from bob") == [bytes], "alice's attachment differs");

    // bob's daemon dies; the next mail arrives once it is back, under the same address.
    let (file, _) = attachment(directory.path(), 3);
    bob.restart_after_kill();
    assert_eq!(bob.address(), bobs_address, "a restart changed the address");
    swaks(&alice, &alices, &bobs_address, "after the kill", &file);
    arrives(&bob, "after the kill");

    // alice stops in good order, and comes back under her address too.
    assert!(alice.terminate().success());
    alice.start();
    assert_eq!(alice.address(), alices_address, "a restart changed the address");
    swaks(&alice, &alices, &bobs_address, "after the stop", &file);
    arrives(&bob, "after the stop");
    let mut received = subjects(&bob);
    received.sort();
    assert_eq!(received, ["after the kill", "after the stop", "from alice"]);
    nothing_of_the_address_in_tors_files(&alice, &alices_address);
    mail_while_away(network, &alice, bob);
}

/// bob rents boxes at two nodes that are nothing but carriers; what alice writes while he is off waits at both, and one of them
/// loses its disk.
fn mail_while_away(network: &TorNet, alice: &Node, mut bob: Node) {
    let [mut carol, mut erin] = ["carol", "erin"].map(|name| Node::tor(name, network.table()).carrier_only());
    for carrier in [&mut carol, &mut erin] {
        carrier.spawn();
    }
    for carrier in [&mut carol, &mut erin] {
        carrier.wait_until_reachable();
        let invited = carrier.json(&["carrier", "invite"]);
        bob.json(&[
            "carrier",
            "add",
            invited["invitations"][0]["invitation"].as_str().unwrap(),
            "--name",
            carrier.name(),
        ]);
    }
    wait_for("alice knows bob's boxes", LATER, || {
        (alice.json(&["contact", "show", bob.name()])["boxes"] == 2).then_some(())
    });
    bob.kill();
    alice.feed(&["send", "-t", bob.name(), "-s", "while away", "-"], b"It waits.\n");
    let queued = || alice.json(&["queue", "list"])["queue"][0].clone();
    wait_for("both hold it", LATER, || {
        (queued()["custody"].as_array()?.len() == 2 && queued()["state"] == "held").then_some(())
    });
    let id = queued()["id"].as_str().unwrap().to_owned();
    for carrier in [&carol, &erin] {
        assert_eq!(carrier.json(&["carrier", "show"])["held"], 1);
    }
    carol.kill();
    std::fs::remove_dir_all(carol.data()).unwrap();
    bob.start();
    arrives(&bob, "while away");
    wait_for("the box is empty", SOON, || (erin.json(&["carrier", "show"])["held"] == 0).then_some(()));
    // A receipt takes up to an hour; asked to try again, alice hears it from bob himself.
    // It may have come to its end by then.
    let _ = alice.try_json(&["queue", "retry", &id]);
    wait_for("alice knows", LATER, || {
        let ended = alice.json(&["queue", "list", "--ended"]);
        let row = ended["queue"].as_array()?.iter().find(|row| row["id"] == id.as_str())?.clone();
        (row["state"] == "delivered").then_some(())
    });
    assert_eq!(subjects(&bob).iter().filter(|subject| *subject == "while away").count(), 1);
    first_contact_while_away(network, &erin, bob);
}

/// dave uses an invitation of bob's while bob is off: his card waits at the carrier that it names.
fn first_contact_while_away(network: &TorNet, carrier: &Node, mut bob: Node) {
    let invitation = bob.json(&["invite"])["invitation"].as_str().unwrap().to_owned();
    let mailbox = |what: &str| carrier.json(&["carrier", "show"])["mailboxes"][0][what].clone();
    wait_for("the page is there", SOON, || (mailbox("stored") == 4096).then_some(()));
    bob.kill();
    let mut dave = Node::tor("dave", network.table());
    dave.start();
    dave.json(&["contact", "add", &invitation]);
    wait_for("dave's card is there", LATER, || (mailbox("objects") == 1).then_some(()));
    bob.start();
    for (node, other) in [(&bob, &dave), (&dave, &bob)] {
        wait_for("they know each other", LATER, || {
            (node.try_json(&["contact", "show", other.name()])?["status"] == "confirmed").then_some(())
        });
    }
    dave.feed(&["send", "-t", bob.name(), "-s", "nice to meet you", "-"], b"At last.\n");
    arrives(&bob, "nice to meet you");
}

/// Tor's own files must not tell whose they are.
fn nothing_of_the_address_in_tors_files(node: &Node, address: &str) {
    let onion: Onion = address.split('@').nth(1).unwrap().parse().unwrap();
    let label = onion.label();
    let needles = [&label.as_bytes()[..16], onion.public_key().as_slice()];
    let mut directories = vec![node.data().join("tor")];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            assert!(!path.to_string_lossy().contains(&label[..16]), "{} is named after the onion", path.display());
            if path.is_dir() {
                directories.push(path);
            } else if let Ok(bytes) = std::fs::read(&path) {
                for needle in needles {
                    let found = bytes.windows(needle.len()).any(|window| window == needle);
                    assert!(!found, "{} tells the onion", path.display());
                }
            }
        }
    }
}
