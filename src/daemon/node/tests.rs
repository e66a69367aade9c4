//! A node in this process, on the loopback transport.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::*;
use crate::backup::Entry;
use crate::base::limits;
use crate::config::{File, ListenFile};
use crate::control::Code;
use crate::control::reply::BackupFiles;
use crate::daemon::Preparation;
use crate::daemon::gateways::Listening;
use crate::daemon::runtime::supervision::Ending;
use crate::daemon::runtime::twin::Look;
use crate::net::TransportStatus;
use crate::store::{Keyring, OsRng};

/// A node with an identity and a carrier, in this directory.
async fn node(home: &Path) -> Node {
    let node = started(home, "data", Some("alice".to_owned())).await;
    node.ask::<reply::Carrier>(Command::CarrierEnable).await.unwrap();
    node
}

/// A node on the loopback network in this directory, with its data in a part of it.
async fn started(home: &Path, data: &str, name: Option<String>) -> Node {
    let any = || Some("127.0.0.1:0".to_owned());
    let file = File {
        transport: Some(format!("loopback:{}", home.join("net").display())),
        listen: ListenFile { imap: any(), submission: any() },
        ..File::default()
    };
    let preparation = Preparation::open(&home.join(data)).unwrap();
    Node::start(preparation.ready(file).await.unwrap(), Start::new(name, None)).await.unwrap()
}

/// Copies the files of a directory, except sockets.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    std::fs::set_permissions(to, std::fs::Permissions::from_mode(0o700)).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (kind, to) = (entry.file_type().unwrap(), to.join(entry.file_name()));
        if kind.is_dir() {
            copy(&entry.path(), &to);
        } else if kind.is_file() {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn home() -> tempfile::TempDir {
    tempfile::Builder::new().permissions(std::fs::Permissions::from_mode(0o700)).tempdir().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_has_the_key_of_every_identity_that_runs_and_no_key_of_one_whose_making_failed() {
    use crate::base::IdentityId;
    let home = home();
    let node = node(home.path()).await;
    let data = home.path().join("data");
    let names = |dir: &Path| -> BTreeSet<String> {
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    let own = names(&data.join("keys")).into_iter().find(|name| name.parse::<IdentityId>().is_ok()).unwrap();
    let failed = IdentityId::from_bytes([7; 16]).to_string();
    std::fs::copy(data.join("keys").join(&own), data.join("keys").join(&failed)).unwrap();
    let (of_own, of_failed) = (data.join(&own).join("log"), data.join(&failed).join("log"));
    std::fs::create_dir_all(&of_failed).unwrap();
    std::fs::create_dir(data.join(&failed).join("blob")).unwrap();
    for name in names(&of_own) {
        std::fs::copy(of_own.join(&name), of_failed.join(&name)).unwrap();
    }
    let listed: BackupFiles<Entry> = node.ask(Command::BackupBegin).await.unwrap();
    let paths: Vec<&str> = listed.files.iter().map(|entry| entry.path.as_str()).collect();
    let begins = |beginning: &str| paths.iter().any(|path| path.starts_with(beginning));
    assert!(begins(&format!("keys/{own}")) && begins(&format!("{own}/")), "{paths:?}");
    assert!(paths.iter().all(|path| !path.contains(&failed)), "{paths:?}");
    node.stop().await;
}

#[test]
fn a_directory_says_which_keys_were_made_in_it() {
    use crate::base::{IdentityId, SymmetricKey};
    let home = home();
    let preparation = Preparation::open(&home.path().join("data")).unwrap();
    let made = || {
        let has = [preparation.is_initialised(), preparation.has_identity(), preparation.has_carrier()];
        has.map(Result::unwrap)
    };
    assert_eq!(made(), [false, false, false]);
    assert_eq!(preparation.needs_passphrase().unwrap_err().code, Code::Failed, "there is nothing to lock");
    let keyring = Keyring::create(Arc::clone(&preparation.vfs), &preparation.keys(), None, Box::new(OsRng)).unwrap();
    assert_eq!(made(), [true, false, false]);
    let key = SymmetricKey::from_bytes([1; 32]);
    keyring.add_carrier(IdentityId::from_bytes([1; 16]), &key).unwrap();
    assert_eq!(made(), [true, false, true]);
    keyring.add_identity(IdentityId::from_bytes([2; 16]), &key).unwrap();
    assert_eq!(made(), [true, true, true]);
    assert!(!preparation.needs_passphrase().unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_loses_any_part_ends_with_a_failure_that_names_it() {
    let (count, names) = {
        let (home, mut names) = (home(), BTreeSet::new());
        let node = node(home.path()).await;
        let parts = node.runtime.supervisor.parts().iter().map(|(name, _)| *name).collect::<Vec<_>>();
        names.extend(parts.iter().copied());
        node.stop().await;
        (parts.len(), names)
    };
    // A driver and a publishing task each of an identity and of a carrier; two gateways, the control socket, the
    // network.
    assert_eq!((count, names.len()), (8, 8), "{names:?}");
    for number in 0..count {
        let home = home();
        let node = node(home.path()).await;
        let (name, part) = node.runtime.supervisor.parts().remove(number);
        part.abort();
        let ended = tokio::time::timeout(Duration::from_secs(5), node.stop_requested()).await;
        let failure = ended.unwrap_or_else(|_| panic!("without {name} the node goes on")).unwrap_err();
        assert!(failure.message.contains(name) && failure.code == Code::Failed, "{name}: {failure}");
        Ending::Asked.request(node.runtime.supervisor.ending());
        assert!(node.stop_requested().await.is_err(), "to be told to stop makes it no better");
        node.stop().await;
    }
}

/// Sends this to a port, as a mail program does, and reads until a line begins like `answer`.
async fn told(at: SocketAddr, words: &str, answer: &str) -> BufReader<TcpStream> {
    let mut stream = BufReader::new(TcpStream::connect(at).await.unwrap());
    stream.write_all(words.as_bytes()).await.unwrap();
    heard(&mut stream, answer).await;
    stream
}

async fn heard(stream: &mut BufReader<TcpStream>, answer: &str) {
    let mut line = String::new();
    while !line.starts_with(answer) {
        line.clear();
        assert!(stream.read_line(&mut line).await.unwrap() > 0, "it ended without {answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_servers_of_mail_programs_have_one_pace_of_wrong_passwords_and_one_memory_for_uploads() {
    let home = home();
    let node = node(home.path()).await;
    let Listening { imap, submission } = node.commands.listening.unwrap();
    told(imap, "a LOGIN alice wrong\r\n", "a NO").await;
    let begun = Instant::now();
    told(submission, "EHLO x\r\nAUTH PLAIN AGFsaWNlAHdyb25n\r\n", "535").await;
    assert!(begun.elapsed() >= 2 * limits::LOGIN_DELAY, "the second wrong one of the node: {:?}", begun.elapsed());
    // What both of them were sent again and again is told.
    let status: reply::Status = node.ask(Command::Status).await.unwrap();
    assert_eq!(status.wrong_passwords, []);
    told(imap, "a LOGIN alice wrong\r\n", "a NO").await;
    let status: reply::Status = node.ask(Command::Status).await.unwrap();
    let [sent] = status.wrong_passwords.as_slice() else { panic!("{status:?}") };
    assert_eq!((sent.identity.as_deref(), sent.times), (Some("alice"), 3));
    assert!(sent.since < sent.last_at && sent.last_at <= status.clock, "{sent:?}");
    let made: reply::NewPassword = node.ask(Command::PasswordNew { name: "test".to_owned() }).await.unwrap();
    let (user, password) = (made.user.as_str(), made.password.as_str());
    // An APPEND of all the memory that an account may have, of which no byte is sent.
    let half = format!("a LOGIN {user} {password}\r\nb APPEND Drafts {{{}}}\r\n", limits::MESSAGE_BYTES);
    let _halves = [told(imap, &half, "+").await, told(imap, &half, "+").await];
    let begun = Instant::now();
    let plain = data_encoding::BASE64.encode(format!("\0{user}\0{password}").as_bytes());
    let envelope = format!("MAIL FROM:<{user}>\r\nRCPT TO:<{user}>\r\nDATA\r\n");
    let mut large = told(submission, &format!("EHLO x\r\nAUTH PLAIN {plain}\r\n{envelope}"), "354").await;
    let text = format!("From: <{user}>\r\n\r\n{}.\r\n", "text\r\n".repeat(100_000));
    large.write_all(text.as_bytes()).await.unwrap();
    heard(&mut large, "250").await;
    assert!(begun.elapsed() >= limits::UPLOAD_STALL, "it waits for those: {:?}", begun.elapsed());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_node_knows_its_own_looks_at_its_addresses() {
    let home = home();
    let node = node(home.path()).await;
    let account = Arc::clone(node.registry.all().first().unwrap());
    let mut presence = account.presence.clone();
    presence.wait_for(|presence| presence.reachable).await.unwrap();
    let found = node.runtime.network.lookout.look(&*node.runtime.network.transport, account.address.onion()).await;
    assert_eq!(found, Look::Own);
    let carrier = node.carrier.current().unwrap();
    carrier.presence.clone().wait_for(|presence| presence.reachable).await.unwrap();
    let found = node.runtime.network.lookout.look(&*node.runtime.network.transport, carrier.address.onion()).await;
    assert_eq!(found, Look::Own);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_of_a_node_that_runs_ends_before_it_publishes_anything_and_says_why() {
    let home = home();
    let original = node(home.path()).await;
    let account = Arc::clone(original.registry.all().first().unwrap());
    account.presence.clone().wait_for(|presence| presence.reachable).await.unwrap();
    copy(&home.path().join("data"), &home.path().join("copy"));
    let copy = started(home.path(), "copy", None).await;
    let ended = tokio::time::timeout(Duration::from_secs(10), copy.stop_requested()).await;
    let failure = ended.expect("the copy goes on").unwrap_err();
    assert!(failure.code == Code::Busy && failure.message.contains("another node answers"), "{failure}");
    copy.stop().await;
    assert!(account.is_reachable(&TransportStatus::ready()), "the original is not disturbed");
    original.stop().await;
}
