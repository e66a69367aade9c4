//! The commands that ask a running daemon and print its answer.

use std::fmt::Write as _;
use std::io::{IsTerminal, Read};
use std::path::Path;
use std::time::{Duration, Instant};

use data_encoding::BASE64;
use serde::Serialize;
use serde_json::json;

use super::args::{Config, Contact, Identity, Invite, InviteCommand, Mail, MailSetup, Password, Send, Verb};
use super::{Context, args, backup, carrier, output, qr, queue, repair, thunderbird};
use crate::control::reply::{self, Done, Listen, ReceiptsGiven};
use crate::control::{Attachment, Code, Command, ContactChange, Draft, Failure};

/// A daemon stops within ten seconds; a busy machine may need longer.
const STOP: Duration = Duration::from_secs(20);

/// The most bytes that are read for an invitation: many times the longest, because mail may be pasted with it.
const PASTED: usize = 64 * crate::base::limits::KIB;

pub(super) fn run(context: &Context, verb: Verb) -> Result<(), Failure> {
    match verb {
        // These two run in this process, and were dispatched before.
        Verb::Up(_) | Verb::Demo(_) => Ok(()),
        Verb::Down => {
            context.ask::<Done>(Command::Stop)?;
            wait_until_stopped(&context.data, STOP)?;
            done(context, "The daemon has stopped.");
            Ok(())
        }
        Verb::Status => status(context),
        Verb::Identity(identity) => identities(context, identity),
        Verb::Invite(invite) => invitation(context, invite),
        Verb::Contact(contact) => contacts(context, contact),
        Verb::Send(send) => submit(context, &send),
        Verb::Ls { folder } => ls(context, folder),
        Verb::Read { uid, folder } => read(context, folder, uid),
        Verb::Queue(verb) => queue::run(context, verb),
        Verb::Carrier(verb) => carrier::run(context, verb),
        Verb::Mail(Mail::Setup(setup)) => mail_setup(context, setup),
        Verb::Mail(Mail::Password(password)) => passwords(context, password),
        Verb::Backup(verb) => backup::run(context, verb),
        Verb::Repair { check, passphrase_file } => repair::run(context, check, passphrase_file.as_deref()),
        Verb::Config(Config::Path) => {
            let path = context.data.join(crate::config::FILE_NAME);
            show(context, &json!({ "path": path.display().to_string() }), |_| path.display().to_string());
            Ok(())
        }
        Verb::Version => {
            let version = env!("CARGO_PKG_VERSION");
            show(context, &json!({ "version": version }), |_| format!("runepeer {version}"));
            Ok(())
        }
    }
}

/// Waits until the daemon has let go of the data directory, but no longer than this.
fn wait_until_stopped(data: &Path, longest: Duration) -> Result<(), Failure> {
    let begin = Instant::now();
    loop {
        match crate::daemon::DataDir::open_to_read(data) {
            Err(failure) if failure.code == Code::Busy && begin.elapsed() < longest => {
                std::thread::sleep(Duration::from_millis(50));
            }
            Err(failure) if failure.code == Code::Busy => return Err(failure),
            // Whatever else is wrong with the directory, no daemon holds it.
            _ => return Ok(()),
        }
    }
}

/// Prints an answer: as JSON where asked for, else in words.
pub(super) fn show<R: Serialize>(context: &Context, answer: &R, words: impl FnOnce(&R) -> String) {
    if context.output.is_json() {
        context.output.object(answer);
    } else {
        let words = words(answer);
        if !words.is_empty() {
            context.output.data(words.trim_end());
        }
    }
}

/// Reports that a command was done: in words, or as an object without fields of its own.
pub(super) fn done(context: &Context, words: &str) {
    if context.output.is_json() {
        context.output.object(&Done {});
    } else {
        context.output.say(words);
    }
}

fn status(context: &Context) -> Result<(), Failure> {
    let status = match context.ask(Command::Status) {
        Err(failure) if failure.code == Code::DaemonDown && !context.data.join("keys").exists() => {
            return Err(failure.hint("nothing is set up yet; begin with: runepeer up"));
        }
        answer => answer?,
    };
    show(context, &status, standing);
    Ok(())
}

/// The status of a node, in words.
fn standing(status: &reply::Status) -> String {
    let mut words = format!("runepeer {}, process {}\n", status.version, status.pid);
    let tor = &status.tor;
    let _ = writeln!(words, "network: {} ({} %)", tor.state, tor.percent);
    if let Some(reason) = &tor.blocked_reason {
        let _ = writeln!(words, "  {reason}");
    }
    for identity in &status.identities {
        let reachable = match (identity.listen, identity.reachable) {
            (Listen::Never, _) => "by its boxes only",
            (Listen::Always, true) => "reachable",
            (Listen::Always, false) => "not reachable yet",
        };
        let _ = writeln!(words, "{}: {} ({reachable})", identity.name, identity.address);
        if let Some(problem) = &identity.problem {
            let _ = writeln!(words, "  {problem}");
        }
    }
    words += &status.carrier.as_ref().map(carrier::standing).unwrap_or_default();
    if let Some(disk) = status.disk.filter(|disk| disk.low) {
        let free = disk.free >> 20;
        let _ = writeln!(words, "disk: nearly full ({free} MiB free); no mail is taken until there is space");
    }
    for own_box in &status.carriers {
        let _ = write!(words, "box: {}", carrier::own_box(own_box));
    }
    if let Some(listen) = &status.listen {
        let _ = writeln!(words, "mail programs: IMAP {}, SMTP {}", listen.imap, listen.submission);
    }
    let _ = match status.queue.len() {
        0 => writeln!(words, "nothing waits"),
        waiting => writeln!(words, "{waiting} waiting:"),
    };
    for item in &status.queue {
        let _ = writeln!(words, "  {}", queue::line(item));
    }
    let _ = match (&status.backup.last, &status.backup.verified) {
        (None, _) => writeln!(words, "no backup yet: runepeer backup create FILE"),
        (Some(last), Some(verified)) => writeln!(words, "last backup {last}, verified {verified}"),
        (Some(last), None) => writeln!(words, "last backup {last}, not verified: runepeer backup verify FILE"),
    };
    if status.identities.iter().any(|identity| identity.contacts == 0) {
        words.push_str("next: runepeer invite, or runepeer contact add, to know somebody\n");
    }
    words
}

fn identities(context: &Context, verb: Identity) -> Result<(), Failure> {
    let line = |identity: &reply::Identity| {
        format!("{}  {}\n  key {}\n", identity.name, identity.address, identity.fingerprint)
    };
    let command = match verb {
        Identity::List => {
            let known: reply::Identities = context.ask(Command::IdentityList)?;
            show(context, &known, |known| known.identities.iter().map(line).collect());
            return Ok(());
        }
        Identity::New { name } => Command::IdentityNew { name },
        Identity::Show => Command::IdentityShow,
        Identity::Set { listen } => Command::IdentityListen { on: listen == "always", anyway: context.global.yes },
    };
    show(context, &context.ask(command)?, line);
    Ok(())
}

fn invitation(context: &Context, invite: Invite) -> Result<(), Failure> {
    match invite.command {
        Some(InviteCommand::List) => {
            let line = |row: &reply::OpenInvitation| {
                let kind = if row.public { "public" } else { "private" };
                format!("{}  {kind}  until {}\n", row.id, row.expires_at)
            };
            let open: reply::OpenInvitations = context.ask(Command::InviteList)?;
            show(context, &open, |open| open.invitations.iter().map(line).collect());
            Ok(())
        }
        Some(InviteCommand::Revoke { id }) => {
            confirm(context, "Whoever has this invitation can no longer use it. Revoke it?")?;
            context.ask::<Done>(Command::InviteRevoke { id })?;
            done(context, "Revoked.");
            Ok(())
        }
        None => {
            let life_secs = life_secs(&invite.expires)?;
            let made: reply::Invitation = context.ask(Command::Invite { public: invite.public, life_secs })?;
            let text = &made.invitation;
            if let Some(path) = &invite.png {
                qr::png(text, path)?;
                context.output.say(format!("QR code written to {}", path.display()));
            }
            if invite.qr && !context.output.is_json() {
                context.output.data(qr::terminal(text)?);
            }
            context.output.say(if invite.public {
                "Whoever has this text can write to you; their mail waits in the folder Requests."
            } else {
                "Give this text to one person, by a way you trust. It works once."
            });
            show(context, &made, |made| made.invitation.clone());
            Ok(())
        }
    }
}

/// The time of `--expires`, in seconds.
pub(super) fn life_secs(expires: &str) -> Result<u64, Failure> {
    args::span_secs(expires).ok_or_else(|| {
        Failure::new(Code::Usage, format!("--expires {expires} is not a span of time"))
            .hint("write a number and m, h, d or w: 12h, 7d, 4w")
    })
}

/// Asks before something is removed.
pub(super) fn confirm(context: &Context, question: &str) -> Result<(), Failure> {
    if context.global.yes {
        return Ok(());
    }
    let refused = || Failure::new(Code::Usage, "nothing was changed").hint("say yes with --yes");
    if !output::can_ask(context.global.no_input) {
        return Err(refused());
    }
    match output::ask(&format!("{question} [y/N]")) {
        Ok(answer) if matches!(answer.as_str(), "y" | "Y" | "yes") => Ok(()),
        _ => Err(refused()),
    }
}

fn contacts(context: &Context, verb: Contact) -> Result<(), Failure> {
    let parting = matches!(verb, Contact::Block { .. } | Contact::Unblock { .. } | Contact::Rm { .. });
    let command = match verb {
        Contact::List => {
            let known: reply::Contacts = context.ask(Command::ContactList)?;
            show(context, &known, |known| known.contacts.iter().map(contact_line).collect());
            return Ok(());
        }
        Contact::Block { who } => Command::ContactBlock { who },
        Contact::Unblock { who } => Command::ContactUnblock { who },
        Contact::Rm { who } => {
            confirm(context, &format!("{who} is a stranger from then on, and what waits for them ends. Remove them?"))?;
            Command::ContactRemove { who }
        }
        Contact::Add { text, petname } => Command::ContactAdd { invitation: given_or_pasted(text)?, petname },
        Contact::Show { who } => Command::ContactShow { who },
        Contact::Set { who, receipts, carry, via } => {
            let carry = carry.map(|carry| carry == "on");
            Command::ContactSet(ContactChange { who, receipts, carry, via })
        }
    };
    let contact: reply::Contact = context.ask(command)?;
    // A contact that was removed is described as it was before.
    show(context, &contact, |contact| if parting { format!("{}: done", contact.petname) } else { described(contact) });
    Ok(())
}

fn contact_line(contact: &reply::Contact) -> String {
    format!("{}  {}  {}\n", contact.petname, contact.address, contact.status)
}

/// Everything about a contact, in words.
fn described(contact: &reply::Contact) -> String {
    let mut words = contact_line(contact);
    let _ = writeln!(words, "  key {}", contact.fingerprint);
    words.push_str(match contact.receipts.given {
        ReceiptsGiven::None => "  they hear nothing of their mail\n",
        ReceiptsGiven::Delivered => "",
        ReceiptsGiven::Read => "  they hear what you have read\n",
    });
    if !contact.receipts.expected {
        words.push_str("  they return no receipts\n");
    }
    let waiting = contact.carry.waiting;
    if contact.carry.allowed || waiting > 0 {
        let _ = writeln!(
            words,
            "  your node carries their mail ({waiting} waiting), and sees to whom they write, when and how much"
        );
    }
    if let Some(friend) = &contact.via {
        let _ = writeln!(
            words,
            "  when they do not answer, {friend} carries your mail to them, and sees that you write to them, when and how \
             much"
        );
    }
    for step in &contact.provenance {
        let _ = writeln!(words, "  {step}");
    }
    words
}

/// The invitation in the arguments, or the one that is pasted.
pub(super) fn given_or_pasted(given: Option<String>) -> Result<String, Failure> {
    match given.filter(|text| text != "-") {
        Some(text) => Ok(text),
        None => read_stdin("Paste the invitation, then press Ctrl-D:", PASTED),
    }
}

/// Reads standard input to its end. Input that is too long is refused, never cut.
fn read_stdin(question: &str, most: usize) -> Result<String, Failure> {
    if std::io::stdin().is_terminal() {
        output::Output::new(false, false).warn(question);
    }
    let mut text = String::new();
    std::io::stdin()
        .lock()
        .take(most as u64 + 1)
        .read_to_string(&mut text)
        .map_err(|error| Failure::new(Code::Failed, format!("standard input cannot be read as text: {error}")))?;
    if text.len() > most {
        return Err(Failure::new(Code::Usage, format!("standard input has more than {most} bytes")));
    }
    Ok(text)
}

fn submit(context: &Context, send: &Send) -> Result<(), Failure> {
    let attachments = send.attachments.iter().map(|path| attachment(path)).collect::<Result<Vec<_>, _>>()?;
    let text = read_stdin("Write the message, then press Ctrl-D:", crate::base::limits::MESSAGE_BYTES)?;
    let draft = Draft { subject: send.subject.clone(), text, important: send.important, attachments };
    let queued: reply::QueueId = context.ask(Command::Send { to: send.to.clone(), draft })?;
    show(context, &queued, |queued| format!("queued as {}", queued.id));
    Ok(())
}

fn attachment(path: &Path) -> Result<Attachment, Failure> {
    let unreadable = |error: String| Failure::new(Code::Failed, format!("cannot attach {}: {error}", path.display()));
    let bytes = std::fs::read(path).map_err(|error| unreadable(error.to_string()))?;
    let name = path.file_name().ok_or_else(|| unreadable("it has no name".into()))?;
    Ok(Attachment { name: name.to_string_lossy().into_owned(), base64: BASE64.encode(&bytes) })
}

fn ls(context: &Context, folder: String) -> Result<(), Failure> {
    let line = |message: &reply::FolderMessage| {
        let reply::FolderMessage { uid, date, from, subject, problem, .. } = message;
        let new = if message.seen { " " } else { "N" };
        format!("{uid:>6} {new} {date}  {from}  {}\n", problem.as_ref().unwrap_or(subject))
    };
    let folder: reply::Folder = context.ask(Command::Ls { folder })?;
    show(context, &folder, |folder| folder.messages.iter().map(line).collect());
    Ok(())
}

fn read(context: &Context, folder: String, uid: u32) -> Result<(), Failure> {
    let read: reply::Message = context.ask(Command::Read { folder, uid })?;
    if context.output.is_json() {
        context.output.object(&read);
        return Ok(());
    }
    let message = BASE64
        .decode(read.message.as_bytes())
        .map_err(|_| Failure::new(Code::Failed, "the daemon's answer cannot be read"))?;
    context.output.bytes(&message);
    Ok(())
}

fn mail_setup(context: &Context, setup: MailSetup) -> Result<(), Failure> {
    let asked = context.ask(Command::MailSettings)?;
    match setup {
        MailSetup::Thunderbird { profile } => thunderbird::set_up(context, profile, &asked),
        MailSetup::Show => {
            show(context, &asked, settings);
            context.output.say("Make a password for it with: runepeer mail password new");
            Ok(())
        }
    }
}

/// The settings in words, for any mail program.
pub(super) fn settings(settings: &reply::MailSettings) -> String {
    let reply::MailSettings { address, imap, submission, .. } = settings;
    format!(
        "Address:        {}\n\
         Incoming mail:  IMAP, server {}, port {}, no encryption (it stays on this machine), normal password\n\
         Outgoing mail:  SMTP, server {}, port {}, no encryption, normal password\n\
         User name:      {}\n\
         mutt, neomutt:  also set hostname=\"{}\": answers then stand under your own copies\n",
        address,
        imap.host,
        imap.port,
        submission.host,
        submission.port,
        imap.user,
        address.rsplit('@').next().unwrap_or_default(),
    )
}

fn passwords(context: &Context, verb: Password) -> Result<(), Failure> {
    match verb {
        Password::New { name } => {
            let made: reply::NewPassword = context.ask(Command::PasswordNew { name })?;
            context.output.say("This password is shown once; give it to the mail program now.");
            show(context, &made, |made| format!("user:     {}\npassword: {}\n", made.user, made.password));
        }
        Password::List => {
            let line = |password: &reply::Password| format!("{}  made {}\n", password.name, password.created_at);
            let known: reply::Passwords = context.ask(Command::PasswordList)?;
            show(context, &known, |known| known.passwords.iter().map(line).collect());
        }
        Password::Revoke { name } => {
            confirm(context, &format!("Mail programs that use the password {name} lose access. Revoke it?"))?;
            context.ask::<Done>(Command::PasswordRevoke { name })?;
            done(context, "Revoked.");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::DataDir;

    #[test]
    fn whoever_stops_a_daemon_waits_until_nobody_holds_the_directory_and_not_for_ever() {
        let home = tempfile::tempdir().unwrap();
        let (data, while_held) = (home.path().join("data"), Duration::from_millis(200));
        assert!(wait_until_stopped(&data, while_held).is_ok(), "nobody ever ran there");
        let held = DataDir::open(&data).unwrap();
        let begin = Instant::now();
        assert_eq!(wait_until_stopped(&data, while_held).unwrap_err().code, Code::Busy);
        assert!((while_held..10 * while_held).contains(&begin.elapsed()), "{:?}", begin.elapsed());
        let leaving = std::thread::spawn(move || {
            std::thread::sleep(while_held);
            drop(held);
        });
        assert!(wait_until_stopped(&data, STOP).is_ok());
        assert!(leaving.is_finished() || leaving.join().is_ok());
    }
}
