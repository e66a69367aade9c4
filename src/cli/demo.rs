//! `runepeer demo`: three people on this machine, without a network, in under a minute.
//!
//! Everything is real but the network: keys, sealing, the log, the mail servers on free ports. The loopback
//! transport (Unix sockets named by onion) stands in for Tor.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use super::args::Demo;
use super::mail_client::{self, Imap, Login};
use super::{Context, mail};
use crate::config::File;
use crate::control::reply::{
    BoxInvitations, BoxStatus, Carrier, Contact, ContactStatus, Contacts, Folder, Identity, Invitation, NewPassword,
    Queue, QueueId, RecipientState, Status,
};
use crate::control::{BoxInvite, Code, Command, Draft, Failure};
use crate::daemon::{Delays, Node, Preparation, Start};

/// How long the demo waits for something that takes a moment.
const PATIENCE: Duration = Duration::from_secs(30);
/// The attachment's size, in bytes.
const ATTACHMENT: usize = 300 * 1024;

pub(super) fn run(context: &Context, demo: &Demo) -> Result<(), Failure> {
    let runtime = super::up::runtime()?;
    runtime.block_on(async {
        let home = Home::new()?;
        let result = tokio::select! {
            result = story(context, &home.path, demo.keep) => result,
            () = super::signals::interrupted() => Err(Failure::new(Code::Failed, "the demo was interrupted")),
        };
        // Only the directory of a demo that was kept or failed stays behind, and its path is printed.
        drop(home);
        result
    })
}

/// The demo's own directory, removed at its end.
struct Home {
    path: PathBuf,
}

impl Home {
    fn new() -> Result<Self, Failure> {
        use std::os::unix::fs::DirBuilderExt;
        // The name is random, so that nobody can have made the directory before.
        let number = getrandom::u64().map_err(|error| Failure::new(Code::Failed, error.to_string()))?;
        let path = std::env::temp_dir().join(format!("runepeer-demo-{number:016x}"));
        std::fs::DirBuilder::new().mode(0o700).create(&path).map_err(|error| {
            Failure::new(Code::Failed, format!("cannot make the directory {}: {error}", path.display()))
        })?;
        Ok(Self { path })
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // Removing may fail: the directory is in the system's place for temporary files.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// One of the three people, with a running node.
struct Person {
    name: &'static str,
    node: Node,
    login: Login,
    imap: SocketAddr,
    submission: SocketAddr,
}

impl Person {
    async fn start(name: &'static str, home: &Path) -> Result<Self, Failure> {
        let node = Self::node(name, home).await?;
        let NewPassword { user, password } = node.ask(Command::PasswordNew { name: "demo".into() }).await?;
        let login = Login { user, password };
        Self::with(name, node, login).await
    }

    async fn node(name: &'static str, home: &Path) -> Result<Node, Failure> {
        let data = home.join(name);
        let file = File {
            transport: Some(format!("loopback:{}", home.join("net").display())),
            listen: crate::config::ListenFile {
                imap: Some("127.0.0.1:0".into()),
                submission: Some("127.0.0.1:0".into()),
            },
            ..File::default()
        };
        let ready = Preparation::open(&data)?.ready(file).await?;
        let mut start = Start::new(Some(name.to_owned()), Some(format!("{name}'s passphrase").into()));
        // Short delays, so that the demo is not spent waiting.
        start.delays = Delays { deposit: Duration::from_secs(2), receipt: Duration::from_secs(2) };
        Node::start(ready, start).await
    }

    async fn with(name: &'static str, node: Node, login: Login) -> Result<Self, Failure> {
        let status: Status = node.ask(Command::Status).await?;
        let missing = || Failure::new(Code::Failed, "the node reports no address for mail programs");
        let listen = status.listen.ok_or_else(missing)?;
        let address = |text: String| text.parse().map_err(|_| missing());
        let (imap, submission) = (address(listen.imap)?, address(listen.submission)?);
        Ok(Self { name, node, login, imap, submission })
    }

    /// Takes the person offline, runs this, and brings the person back.
    async fn while_away(
        self,
        home: &Path,
        meanwhile: impl Future<Output = Result<(), Failure>>,
    ) -> Result<Self, Failure> {
        let Self { name, node, login, .. } = self;
        node.stop().await;
        meanwhile.await?;
        Self::with(name, Self::node(name, home).await?, login).await
    }

    /// Waits until an answer fulfils this condition.
    async fn wait<R: DeserializeOwned>(
        &self,
        command: Command,
        what: &str,
        holds: impl Fn(&R) -> bool,
    ) -> Result<(), Failure> {
        let start = Instant::now();
        loop {
            if holds(&self.node.ask(command.clone()).await?) {
                return Ok(());
            }
            if start.elapsed() > PATIENCE {
                return Err(Failure::new(Code::Failed, format!("{}: waited in vain: {what}", self.name)));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until this contact has answered.
    async fn knows(&self, petname: &str) -> Result<(), Failure> {
        let is_known = |contact: &Contact| contact.petname == petname && contact.status == ContactStatus::Confirmed;
        let knows = |known: &Contacts| known.contacts.iter().any(is_known);
        self.wait(Command::ContactList, "for the other side to answer", knows).await
    }
}

async fn story(context: &Context, home: &Path, keep: bool) -> Result<(), Failure> {
    let begin = Instant::now();
    let out = context.output;
    out.say("Three people on this machine: alice, bob and carol. Unix sockets stand in for Tor; all else is real.\n");
    let alice = Person::start("alice", home).await?;
    let bob = Person::start("bob", home).await?;
    let carol = Person::start("carol", home).await?;
    out.say("Each has an address of its own (an onion name), OpenPGP keys whose seal a quantum computer does");
    out.say("not open either, and a sealed mailbox. Nobody knows anybody yet.\n");

    introduce(context, &alice, &bob).await?;
    introduce(context, &alice, &carol).await?;

    let bobs_address = address_of(&bob).await?;
    let message = letter(&alice.login.user, &bobs_address);
    out.say(format!(
        "alice writes to bob in her mail program, with a photo of {} KiB attached. It speaks SMTP to",
        ATTACHMENT / 1024
    ));
    out.say("her own node, which answers only when the message is safe on the disk:");
    let accepted = blocking({
        let (to, login, message) = (bobs_address, clone(&alice.login), message.clone());
        let address = alice.submission;
        move || mail_client::submit(address, &login, &to, &message)
    })
    .await?;
    out.say(format!("  {accepted}\n"));

    let has_mail = |inbox: &Folder| !inbox.messages.is_empty();
    bob.wait(Command::Ls { folder: "INBOX".into() }, "for alice's mail", has_mail).await?;
    let is_empty = |queue: &Queue| queue.queue.is_empty();
    alice.wait(Command::QueueList { ended: false }, "for bob's acknowledgement", is_empty).await?;
    out.say("Her node signed it, sealed it to bob, and handed it to bob's node, onion to onion. bob's node opened");
    out.say("and verified it, put it on its disk, and only then said 202: alice's queue is empty.\n");

    let received = blocking({
        let (address, login) = (bob.imap, clone(&bob.login));
        move || {
            let (mut imap, exists) = Imap::open(address, &login)?;
            if exists != 1 {
                return Err(std::io::Error::other(format!("expected one message, found {exists}")));
            }
            imap.newest()
        }
    })
    .await?;
    // Her node writes the header and the lines between the parts in its own way (docs/protocol.md, "What a submission
    // changes").
    if shown(&received) != shown(&message) {
        return Err(Failure::new(Code::Failed, "what bob reads is not what alice wrote"));
    }
    out.say(format!(
        "bob reads it in his mail program over IMAP: {} bytes, text and photo as she wrote them.",
        received.len()
    ));
    let carol = away(context, home, &alice, &bob, carol).await?;
    out.say(format!("\nThat was the whole thing, in {:.1} seconds.", begin.elapsed().as_secs_f32()));
    if context.output.is_json() {
        context.output.object(&serde_json::json!({ "delivered_bytes": received.len(), "identical": true }));
    }
    if keep {
        hold(context, &[&alice, &bob, &carol]).await?;
    }
    for person in [alice, bob, carol] {
        person.node.stop().await;
    }
    Ok(())
}

/// carol rents a box at bob's carrier, goes offline, is sent mail, and comes back.
async fn away(context: &Context, home: &Path, alice: &Person, bob: &Person, carol: Person) -> Result<Person, Failure> {
    let out = context.output;
    out.say("\nbob's node is always on. He makes it a carrier, and gives carol an invitation to a box there:");
    bob.node.ask::<Carrier>(Command::CarrierEnable).await?;
    let asked = BoxInvite { count: 1, life_secs: 3600, quota: None, hold_days: None };
    let invited: BoxInvitations = bob.node.ask(Command::CarrierInvite(asked)).await?;
    let invitation = invited.invitations.into_iter().next().map(|made| made.invitation).unwrap_or_default();
    out.say(format!("  {}…", invitation.chars().take(64).collect::<String>()));
    carol.node.ask::<BoxStatus>(Command::BoxAdd { invitation, name: Some("bob".into()) }).await?;
    let has_box = |contact: &Contact| contact.boxes == 1;
    alice.wait(Command::ContactShow { who: "carol".into() }, "for carol's card", has_box).await?;
    out.say("carol's node tells alice's. bob's will not learn who leaves what there, nor what it says.\n");

    out.say("carol goes offline, and alice writes to her.");
    let carol = carol
        .while_away(home, async {
            let draft = Draft {
                cc: vec![],
                bcc: vec![],
                subject: "While you were out".into(),
                text: "See you soon.".into(),
                important: false,
                attachments: vec![],
            };
            alice.node.ask::<QueueId>(Command::Send { to: vec!["carol".into()], draft }).await?;
            let held = |queue: &Queue| queue.queue.iter().all(|row| row.state == RecipientState::Held);
            alice.wait(Command::QueueList { ended: false }, "for the carrier", held).await?;
            out.say(
                "alice's status says: held by 1 carrier, not with her yet. That is all she can know, and all it says.\n",
            );
            Ok(())
        })
        .await?;
    let has_it = |inbox: &Folder| inbox.messages.len() == 1;
    carol.wait(Command::Ls { folder: "INBOX".into() }, "for the mail in her box", has_it).await?;
    out.say("carol is back. Her node collects the mail from her box, and returns a receipt that only it can make.");
    let delivered = |queue: &Queue| queue.queue.iter().all(|row| row.state == RecipientState::Delivered);
    alice.wait(Command::QueueList { ended: true }, "for the receipt", delivered).await?;
    bob.wait(Command::CarrierShow, "for an empty box", |carrier: &Carrier| carrier.held == 0).await?;
    out.say("alice's status says: delivered. bob's carrier holds nothing any more.");
    Ok(carol)
}

async fn address_of(person: &Person) -> Result<String, Failure> {
    let identity: Identity = person.node.ask(Command::IdentityShow).await?;
    Ok(identity.address)
}

/// One invites, the other adds the invitation: afterwards both know each other.
async fn introduce(context: &Context, inviter: &Person, guest: &Person) -> Result<(), Failure> {
    let made: Invitation = inviter.node.ask(Command::Invite { public: false, life_secs: 3600, label: None }).await?;
    let invitation = made.invitation;
    let out = context.output;
    out.say(format!("{} makes an invitation and gives it to {}:", inviter.name, guest.name));
    out.say(format!("  {}…", invitation.chars().take(64).collect::<String>()));
    guest.node.ask::<Contact>(Command::ContactAdd { invitation, petname: Some(inviter.name.into()) }).await?;
    inviter.knows(guest.name).await?;
    guest.knows(inviter.name).await?;
    out.say(format!(
        "{} adds it. Now both have each other in the address book, with keys that were checked.\n",
        guest.name
    ));
    Ok(())
}

/// A message with an attachment, as a mail program would write it.
fn letter(from: &str, to: &str) -> Vec<u8> {
    let photo: Vec<u8> = (u8::MIN..=u8::MAX).cycle().take(ATTACHMENT).collect();
    let mut message = format!(
        "From: Alice <{from}>\r\nTo: <{to}>\r\nSubject: The photo\r\nDate: Fri, 20 Nov 2026 12:00:00 +0000\r\n\
         Message-ID: <demo-letter@{}>\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=\"=_demo\"\r\n\r\n\
         --=_demo\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
         Dear Bob,\r\nhere is the photo. Grüße!\r\n.\r\n-- \r\nAlice\r\n\
         --=_demo\r\nContent-Type: image/jpeg; name=\"photo.jpg\"\r\n\
         Content-Disposition: attachment; filename=\"photo.jpg\"\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n",
        from.rsplit('@').next().unwrap_or_default(),
    );
    let encoded = data_encoding::BASE64_MIME.encode(&photo);
    message.push_str(&encoded);
    if !encoded.ends_with("\r\n") {
        message.push_str("\r\n");
    }
    message.push_str("--=_demo--\r\n");
    message.into_bytes()
}

/// What a reader sees of a message: its subject, and the lines of its text and of its attachment.
fn shown(message: &[u8]) -> (Option<String>, Vec<String>) {
    let text = String::from_utf8_lossy(message);
    let (header, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let subject = header.lines().find(|line| line.starts_with("Subject:")).map(str::to_owned);
    // The node folds the headers of parts anew.
    let frames = ["--", "Content-", " "];
    let is_content = |line: &&str| !line.is_empty() && !frames.iter().any(|frame| line.starts_with(frame));
    (subject, body.lines().filter(is_content).map(str::to_owned).collect())
}

fn clone(login: &Login) -> Login {
    Login { user: login.user.clone(), password: login.password.clone() }
}

/// Runs the mail program, which waits for the network, on a thread of its own.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> std::io::Result<T> + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Failure::new(Code::Failed, error.to_string()))?
        .map_err(|error| Failure::new(Code::Failed, format!("the mail program: {error}")))
}

/// Keeps the mail servers up until Ctrl-C.
async fn hold(context: &Context, people: &[&Person]) -> Result<(), Failure> {
    context.output.say("\nThe three nodes stay up. Connect a mail program with these settings; Ctrl-C ends the demo.");
    for person in people {
        let settings = person.node.ask(Command::MailSettings).await?;
        context.output.data(format!("\n{}", person.name));
        context.output.data(format!("{}Password:       {}", mail::settings(&settings), person.login.password));
    }
    super::signals::interrupted().await;
    Ok(())
}
