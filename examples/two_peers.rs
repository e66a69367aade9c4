//! Two peers in one program: alice invites bob, bob writes to her, and she reads it. Run it with
//! `cargo run --example two_peers`.
//!
//! Both are whole daemons, as `runepeer up` starts them: keys, sealing, the log, the mail servers. Unix sockets in a
//! temporary directory stand in for Tor; with `transport: None` the same program would use Tor, and take longer.

#![allow(clippy::print_stdout, reason = "an example is there to be watched")]

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use runepeer::config::{File, ListenFile};
use runepeer::control::reply::{Contact, Folder, Invitation, Message, Queue, QueueId};
use runepeer::control::{Command, Draft};
use runepeer::daemon::{Node, Preparation, Start};
use serde::de::DeserializeOwned;

type Outcome<T> = Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    let home = tempfile::tempdir()?;
    let alice = start("alice", home.path()).await?;
    let bob = start("bob", home.path()).await?;

    // An invitation is a text. Whoever has it can become a contact, once: hand it over by a way that you trust.
    let Invitation { invitation, .. } =
        alice.ask(Command::Invite { public: false, life_secs: 3600, label: None }).await?;
    println!("alice invites: {invitation}");

    let added: Contact = bob.ask(Command::ContactAdd { invitation, petname: Some("alice".into()) }).await?;
    println!("bob adds:      {} = {}", added.petname, added.address);

    // bob may write at once: what he writes waits until the two nodes have exchanged their cards.
    let draft = Draft {
        cc: Vec::new(),
        bcc: Vec::new(),
        subject: "Hello".into(),
        text: "Sent from one onion to another.\n".into(),
        attachments: vec![],
        important: false,
    };
    let _: QueueId = bob.ask(Command::Send { to: vec!["alice".into()], draft }).await?;

    let has_mail = |inbox: &Folder| inbox.messages.len() == 1;
    let inbox = wait(&alice, Command::Ls { folder: "INBOX".into() }, has_mail).await?;
    let uid = inbox.messages.first().ok_or("no message")?.uid;
    let read: Message = alice.ask(Command::Read { folder: "INBOX".into(), uid }).await?;
    let message = data_encoding::BASE64.decode(read.message.as_bytes())?;
    println!("\nalice reads:\n\n{}", String::from_utf8(message)?);

    // bob's queue is empty when alice's node has said that the message is on her disk.
    wait(&bob, Command::QueueList { ended: false }, |queue: &Queue| queue.queue.is_empty()).await?;
    println!("bob knows that she has it.");

    alice.stop().await;
    bob.stop().await;
    Ok(())
}

/// Starts a daemon with a data directory, an identity and mail servers of its own.
async fn start(name: &str, home: &Path) -> Outcome<Node> {
    let any_port = || Some("127.0.0.1:0".to_owned());
    let file = File {
        transport: Some(format!("loopback:{}", home.join("network").display())),
        listen: ListenFile { imap: any_port(), submission: any_port() },
        ..File::default()
    };
    let passphrase = Some(format!("the passphrase of {name}").into());
    let start = Start::new(Some(name.to_owned()), passphrase);
    Ok(Node::start(Preparation::open(&home.join(name))?.ready(file).await?, start).await?)
}

/// Asks again and again until the answer is the one that is waited for.
async fn wait<R: DeserializeOwned>(node: &Node, command: Command, done: impl Fn(&R) -> bool) -> Outcome<R> {
    let begun = Instant::now();
    loop {
        let answer = node.ask(command.clone()).await?;
        if done(&answer) {
            return Ok(answer);
        }
        if begun.elapsed() > Duration::from_secs(60) {
            return Err("waited in vain".into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
