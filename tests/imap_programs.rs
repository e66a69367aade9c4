//! Real programs against the IMAP gateway alone: Python's imaplib, mbsync, curl, neomutt. Ignored, with the reason,
//! where one of them is not installed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::string_slice)]

#[path = "imap_gateway/fake.rs"]
#[allow(dead_code, reason = "the transcripts use the rest")]
mod fake;
mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, ExitCode, Output};

use fake::Server;
use runepeer::engine::state::mailbox::Flags;
use support::runner::{self, Missing};
use support::{program, programs};
use tokio::runtime::Runtime;

fn main() -> ExitCode {
    runner::main(
        || {
            for name in ["python3", "mbsync", "curl", "neomutt"] {
                program(name).ok_or_else(|| Missing(format!("{name} is not installed")))?;
            }
            Ok(Runtime::new().unwrap())
        },
        &[
            ("python_imaplib", |runtime: &Runtime| runtime.block_on(python_imaplib())),
            ("mbsync_copies_a_thousand_messages_and_keeps_them_in_step", |runtime: &Runtime| {
                runtime.block_on(mbsync())
            }),
            ("curl_lists_and_reads", |runtime: &Runtime| runtime.block_on(curl())),
            ("neomutt_opens_a_thousand_messages_saves_and_deletes", |runtime: &Runtime| runtime.block_on(neomutt())),
        ],
    )
}

/// Runs a program beside the server.
async fn run(command: Command) -> Output {
    tokio::task::spawn_blocking(move || programs::run(command, b"")).await.unwrap()
}

fn succeeded(output: &Output) {
    let said = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
}

async fn python_imaplib() {
    let server = Server::start().await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/imaplib_check.py");
    let mut command = Command::new("python3");
    command.args([script, "127.0.0.1", &server.port.to_string(), "alice", "open sesame"]);
    succeeded(&run(command).await);
}

/// A message of a Maildir, without the mark by which mbsync finds it again.
fn content(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    text.split_inclusive('\n').filter(|line| !line.starts_with("X-TUID: ")).collect()
}

/// The bodies of a Maildir folder and the flags in their names.
fn maildir(folder: &Path) -> BTreeSet<(String, String)> {
    let files = ["cur", "new"].iter().flat_map(|sub| std::fs::read_dir(folder.join(sub)).unwrap());
    files
        .map(|file| {
            let path = file.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let flags = name.split_once(":2,").map(|(_, flags)| flags.to_owned()).unwrap_or_default();
            (content(&path), flags)
        })
        .collect()
}

async fn mbsync() {
    let server = Server::start().await;
    let message = |n: u32| format!("From: bob@example.onion\nSubject: number {n}\nMessage-ID: <{n}@x>\n\nBody {n}\n");
    for n in 1..=1000 {
        server.account.deliver("INBOX", &message(n));
    }
    let home = tempfile::tempdir().unwrap();
    let mail = home.path().join("mail");
    std::fs::create_dir(&mail).unwrap();
    let config = home.path().join("mbsyncrc");
    let text = format!(
        "FSync no\n\nIMAPAccount a\nHost 127.0.0.1\nPort {}\nUser alice\nPass \"open sesame\"\nSSLType None\nAuthMechs LOGIN\n\n\
         IMAPStore far\nAccount a\n\n\
         MaildirStore near\nPath {mail}/\nInbox {mail}/INBOX\nSubFolders Verbatim\n\n\
         Channel all\nFar :far:\nNear :near:\nPatterns *\nCreate Both\nExpunge Both\nSyncState *\n",
        server.port,
        mail = mail.display()
    );
    std::fs::write(&config, text).unwrap();
    let sync = || {
        let mut command = Command::new("mbsync");
        command.arg("-c").arg(&config).arg("-a").env("HOME", home.path());
        run(command)
    };
    succeeded(&sync().await);
    let inbox = mail.join("INBOX");
    let expected: BTreeSet<_> = (1..=1000).map(|n| (message(n), String::new())).collect();
    assert_eq!(maildir(&inbox), expected);

    // Changes on both sides meet.
    server.account.flag("INBOX", &[1], Flags::SEEN);
    server.account.expunge("INBOX", &[2]);
    server.account.deliver("INBOX", &message(1001));
    let local = |wanted: u32| {
        let files = ["cur", "new"].into_iter().flat_map(|sub| std::fs::read_dir(inbox.join(sub)).unwrap());
        let mut paths = files.map(|file| file.unwrap().path());
        paths.find(|path| content(path) == message(wanted)).unwrap()
    };
    let third = local(3);
    let name = third.file_name().unwrap().to_string_lossy().into_owned();
    let name = name.split(":2,").next().unwrap().to_owned();
    std::fs::rename(&third, inbox.join("cur").join(format!("{name}:2,FRS"))).unwrap();
    std::fs::remove_file(local(4)).unwrap();
    std::fs::write(inbox.join("new").join("1.1.local"), "Subject: written here\n\nx\n").unwrap();
    succeeded(&sync().await);
    succeeded(&sync().await);

    let mut client = server.inbox().await;
    client
        .play(
            r#"
            C: 1 UID SEARCH SEEN
            S: * SEARCH 1 3
            S: 1 OK done
            C: 2 UID SEARCH ANSWERED FLAGGED SEEN
            S: * SEARCH 3
            S: 2 OK done
            C: 3 UID SEARCH UID 2:4
            S: * SEARCH 3
            S: 3 OK done
            C: 4 UID SEARCH SUBJECT "written here"
            S: * SEARCH 1002
            S: 4 OK done
            "#,
        )
        .await;
    let now = maildir(&inbox);
    assert_eq!(now.len(), 1000);
    assert!(now.contains(&(message(1), "S".to_owned())));
    assert!(now.contains(&(message(1001), String::new())));
    assert!(!now.iter().any(|(body, _)| *body == message(2)));
}

async fn curl() {
    let server = Server::start().await;
    server.account.deliver("INBOX", "Subject: a\n\nx\n");
    let curl = |path: &str| {
        let mut command = Command::new("curl");
        let url = format!("imap://127.0.0.1:{}/{path}", server.port);
        command.args(["-sS", "--max-time", "20", "-u", "alice:open sesame", &url]);
        run(command)
    };
    let listed = curl("").await;
    succeeded(&listed);
    assert!(String::from_utf8_lossy(&listed.stdout).contains("\"INBOX\""));
    let read = curl("INBOX;UID=1").await;
    succeeded(&read);
    assert_eq!(read.stdout, b"Subject: a\r\n\r\nx\r\n");
}

async fn neomutt() {
    let server = Server::start().await;
    for n in 1..=1000 {
        server.account.deliver("INBOX", &format!("From: bob@example.onion\nSubject: number {n}\n\nBody {n}\n"));
    }
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("neomuttrc");
    let text = format!(
        "set folder=imap://alice@127.0.0.1:{}/\nset spoolfile=+INBOX\nset imap_pass=\"open sesame\"\n\
         set ssl_starttls=no ssl_force_tls=no\nset mail_check=1 delete=yes confirmappend=no move=no wait_key=no\n\
         push \"<delete-pattern>~s 'number 7$'<enter><tag-pattern>~s 'number 8$'<enter>\
         <tag-prefix><save-message>=Archive<enter><sync-mailbox><quit>\"\n",
        server.port
    );
    std::fs::write(&config, text).unwrap();
    let mut command = Command::new("neomutt");
    command.arg("-n").arg("-F").arg(&config).env("HOME", home.path());
    succeeded(&tokio::task::spawn_blocking(move || programs::run_in_terminal(command)).await.unwrap());
    let mut client = server.inbox().await;
    client
        .play(
            r#"
            C: 1 UID SEARCH OR SUBJECT "number 7" SUBJECT "number 8" UID 1:10
            S: * SEARCH
            S: 1 OK done
            C: 2 STATUS Archive (MESSAGES)
            S: * STATUS "Archive" (MESSAGES 1)
            S: 2 OK done
            C: 3 STATUS INBOX (MESSAGES)
            S: * STATUS "INBOX" (MESSAGES 998)
            S: 3 OK done
            "#,
        )
        .await;
}
