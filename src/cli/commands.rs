//! The commands that ask a running daemon and print its answer.

use std::fmt::Write as _;
use std::io::{IsTerminal, Read};
use std::path::Path;
use std::time::{Duration, Instant};

use data_encoding::BASE64;
use serde_json::{Value, json};

use super::args::{Config, Contact, Identity, Invite, InviteCommand, Mail, MailSetup, Password, Send, Verb};
use super::{Context, args, backup, carrier, output, qr, queue, repair, thunderbird};
use crate::control::{Attachment, Code, Command, ContactChange, Draft, Failure};

/// A daemon stops within ten seconds; the rest is for a busy machine.
const STOP: Duration = Duration::from_secs(20);

/// The most that is read where an invitation is asked for, in bytes: many times the longest, with mail around it.
const PASTED: usize = 64 * crate::base::limits::KIB;

pub(super) fn run(context: &Context, verb: Verb) -> Result<(), Failure> {
    match verb {
        // Both run in this process and are dispatched before.
        Verb::Up(_) | Verb::Demo(_) => Ok(()),
        Verb::Down => {
            context.ask(Command::Stop)?;
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
            show(context, json!({ "path": path.display().to_string() }), |_| path.display().to_string());
            Ok(())
        }
        Verb::Version => {
            let version = env!("CARGO_PKG_VERSION");
            show(context, json!({ "version": version }), |_| format!("runepeer {version}"));
            Ok(())
        }
    }
}

/// Until the daemon has let go of the data directory; for so long at most.
fn wait_until_stopped(data: &Path, longest: Duration) -> Result<(), Failure> {
    let begin = Instant::now();
    loop {
        match crate::daemon::DataDir::open_to_read(data) {
            Err(failure) if failure.code == Code::Busy && begin.elapsed() < longest => {
                std::thread::sleep(Duration::from_millis(50));
            }
            Err(failure) if failure.code == Code::Busy => return Err(failure),
            // Whatever else is wrong with it, nobody holds it.
            _ => return Ok(()),
        }
    }
}

/// Prints an answer: as JSON where asked for, else in words.
pub(super) fn show(context: &Context, value: Value, words: impl FnOnce(&Value) -> String) {
    if context.output.is_json() {
        context.output.object(value);
    } else {
        let words = words(&value);
        if !words.is_empty() {
            context.output.data(words.trim_end());
        }
    }
}

/// Says that something was done: in words, or as an object without members of its own.
pub(super) fn done(context: &Context, words: &str) {
    if context.output.is_json() {
        context.output.object(json!({}));
    } else {
        context.output.say(words);
    }
}

/// A member of an answer as text.
pub(super) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn rows<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value.get(name).and_then(Value::as_array).into_iter().flatten()
}

fn status(context: &Context) -> Result<(), Failure> {
    let value = match context.ask(Command::Status) {
        Err(failure) if failure.code == Code::DaemonDown && !context.data.join("keys").exists() => {
            return Err(failure.hint("nothing is set up yet; begin with: runepeer up"));
        }
        answer => answer?,
    };
    show(context, value, |value| {
        let mut words = format!("runepeer {}, process {}\n", text(value, "version"), value["pid"]);
        let tor = &value["tor"];
        let _ = writeln!(words, "network: {} ({} %)", text(tor, "state"), tor["percent"]);
        if let Some(reason) = tor["blocked_reason"].as_str() {
            let _ = writeln!(words, "  {reason}");
        }
        for identity in rows(value, "identities") {
            let reachable = match (identity["listen"] == "never", identity["reachable"] == true) {
                (true, _) => "by its boxes only",
                (false, true) => "reachable",
                (false, false) => "not reachable yet",
            };
            let _ = writeln!(words, "{}: {} ({reachable})", text(identity, "name"), text(identity, "address"));
            if let Some(problem) = identity["problem"].as_str() {
                let _ = writeln!(words, "  {problem}");
            }
        }
        let carrier = &value["carrier"];
        if carrier["enabled"] == true {
            let reachable = if carrier["reachable"] == true { "reachable" } else { "not reachable yet" };
            let boxes = rows(carrier, "mailboxes").count();
            let _ = writeln!(words, "carrier: {} held in {boxes} boxes ({reachable})", carrier["held"]);
        }
        if let Some(problem) = carrier["problem"].as_str() {
            let means = if carrier["open"] == true { "" } else { "it carries nothing until this is mended: " };
            let _ = writeln!(words, "carrier: {means}{problem}");
            if let Some(hint) = carrier["hint"].as_str() {
                let _ = writeln!(words, "  {hint}");
            }
        }
        if value["disk"]["low"] == true {
            let free = value["disk"]["free"].as_u64().unwrap_or(0) >> 20;
            let _ = writeln!(words, "disk: nearly full ({free} MiB free); no mail is taken until there is space");
        }
        for rented in rows(value, "carriers") {
            let _ = write!(words, "box: {}", carrier::rented(rented));
        }
        let listen = &value["listen"];
        if !listen.is_null() {
            let (imap, submission) = (text(listen, "imap"), text(listen, "submission"));
            let _ = writeln!(words, "mail programs: IMAP {imap}, SMTP {submission}");
        }
        let waiting = rows(value, "queue").count();
        let _ =
            writeln!(words, "{}", if waiting == 0 { "nothing waits".into() } else { format!("{waiting} waiting:") });
        for item in rows(value, "queue") {
            let _ = writeln!(words, "  {}", queue::line(item));
        }
        let backup = &value["backup"];
        let _ = match backup["last"].as_str() {
            None => writeln!(words, "no backup yet: runepeer backup create FILE"),
            Some(last) => match backup["verified"].as_str() {
                Some(verified) => writeln!(words, "last backup {last}, verified {verified}"),
                None => writeln!(words, "last backup {last}, not verified: runepeer backup verify FILE"),
            },
        };
        if rows(value, "identities").any(|identity| identity["contacts"] == 0) {
            words.push_str("next: runepeer invite, or runepeer contact add, to know somebody\n");
        }
        words
    });
    Ok(())
}

fn identities(context: &Context, verb: Identity) -> Result<(), Failure> {
    let command = match verb {
        Identity::List => Command::IdentityList,
        Identity::New { name } => Command::IdentityNew { name },
        Identity::Show => Command::IdentityShow,
        Identity::Set { listen } => Command::IdentityListen { on: listen == "always", anyway: context.global.yes },
    };
    let value = context.ask(command)?;
    show(context, value, |value| {
        let line = |identity: &Value| {
            format!("{}  {}\n", text(identity, "name"), text(identity, "address"))
                + &match identity["fingerprint"].as_str() {
                    Some(fingerprint) => format!("  key {fingerprint}\n"),
                    None => String::new(),
                }
        };
        match value.get("identities") {
            Some(_) => rows(value, "identities").map(line).collect(),
            None => line(value),
        }
    });
    Ok(())
}

fn invitation(context: &Context, invite: Invite) -> Result<(), Failure> {
    match invite.command {
        Some(InviteCommand::List) => {
            let value = context.ask(Command::InviteList)?;
            show(context, value, |value| {
                rows(value, "invitations")
                    .map(|row| {
                        let kind = if row["public"] == true { "public" } else { "private" };
                        format!("{}  {kind}  until {}\n", text(row, "id"), text(row, "expires_at"))
                    })
                    .collect()
            });
            Ok(())
        }
        Some(InviteCommand::Revoke { id }) => {
            confirm(context, "Whoever has this invitation can no longer use it. Revoke it?")?;
            context.ask(Command::InviteRevoke { id })?;
            done(context, "Revoked.");
            Ok(())
        }
        None => {
            let life_secs = life_secs(&invite.expires)?;
            let value = context.ask(Command::Invite { public: invite.public, life_secs })?;
            let text = text(&value, "invitation").to_owned();
            if let Some(path) = &invite.png {
                qr::png(&text, path)?;
                context.output.say(format!("QR code written to {}", path.display()));
            }
            if invite.qr && !context.output.is_json() {
                context.output.data(qr::terminal(&text)?);
            }
            context.output.say(if invite.public {
                "Whoever has this text can write to you; their mail waits in the folder Requests."
            } else {
                "Give this text to one person, by a way you trust. It works once."
            });
            show(context, value, |_| text);
            Ok(())
        }
    }
}

/// What `--expires` says, in seconds.
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
        Contact::Block { who } => Command::ContactBlock { who },
        Contact::Unblock { who } => Command::ContactUnblock { who },
        Contact::Rm { who } => {
            confirm(context, &format!("{who} is a stranger from then on, and what waits for them ends. Remove them?"))?;
            Command::ContactRemove { who }
        }
        Contact::Add { text, petname } => Command::ContactAdd { invitation: given_or_pasted(text)?, petname },
        Contact::List => Command::ContactList,
        Contact::Show { who } => Command::ContactShow { who },
        Contact::Set { who, receipts, carry, via } => {
            let carry = carry.map(|carry| carry == "on");
            Command::ContactSet(ContactChange { who, receipts, carry, via })
        }
    };
    let value = context.ask(command)?;
    if parting {
        // One that was removed is described as it was.
        show(context, value, |value| format!("{}: done", text(value, "petname")));
        return Ok(());
    }
    show(context, value, |value| {
        let line = |contact: &Value| {
            format!("{}  {}  {}\n", text(contact, "petname"), text(contact, "address"), text(contact, "status"))
        };
        match value.get("contacts") {
            Some(_) => rows(value, "contacts").map(line).collect(),
            None => {
                let mut words = line(value);
                let _ = writeln!(words, "  key {}", text(value, "fingerprint"));
                match value["receipts"]["given"].as_str() {
                    Some("none") => words.push_str("  they hear nothing of their mail\n"),
                    Some("read") => words.push_str("  they hear what you have read\n"),
                    _ => {}
                }
                if value["receipts"]["expected"] == false {
                    words.push_str("  they return no receipts\n");
                }
                let waiting = value["carry"]["waiting"].as_u64().unwrap_or(0);
                if value["carry"]["allowed"] == true || waiting > 0 {
                    let _ = writeln!(
                        words,
                        "  your node carries their mail ({waiting} waiting), and sees to whom they write, when and how much"
                    );
                }
                if let Some(friend) = value["via"].as_str() {
                    let _ = writeln!(
                        words,
                        "  when they do not answer, {friend} carries your mail to them, and sees that you write to them, when \
                         and how much"
                    );
                }
                for step in rows(value, "provenance") {
                    let _ = writeln!(words, "  {}", step.as_str().unwrap_or_default());
                }
                words
            }
        }
    });
    Ok(())
}

/// The invitation that was given, or the one that is pasted.
pub(super) fn given_or_pasted(given: Option<String>) -> Result<String, Failure> {
    match given.filter(|text| text != "-") {
        Some(text) => Ok(text),
        None => read_stdin("Paste the invitation, then press Ctrl-D:", PASTED),
    }
}

/// Standard input to its end. What is longer than it may be is refused, never cut.
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
    let value = context.ask(Command::Send { to: send.to.clone(), draft })?;
    show(context, value, |value| format!("queued as {}", text_of_id(value)));
    Ok(())
}

fn text_of_id(value: &Value) -> &str {
    text(value, "id")
}

fn attachment(path: &Path) -> Result<Attachment, Failure> {
    let unreadable = |error: String| Failure::new(Code::Failed, format!("cannot attach {}: {error}", path.display()));
    let bytes = std::fs::read(path).map_err(|error| unreadable(error.to_string()))?;
    let name = path.file_name().ok_or_else(|| unreadable("it has no name".into()))?;
    Ok(Attachment { name: name.to_string_lossy().into_owned(), base64: BASE64.encode(&bytes) })
}

fn ls(context: &Context, folder: String) -> Result<(), Failure> {
    let value = context.ask(Command::Ls { folder })?;
    show(context, value, |value| {
        rows(value, "messages")
            .map(|row| {
                let new = if row["seen"] == true { " " } else { "N" };
                format!(
                    "{:>6} {new} {}  {}  {}\n",
                    row["uid"],
                    text(row, "date"),
                    text(row, "from"),
                    row["problem"].as_str().unwrap_or_else(|| text(row, "subject"))
                )
            })
            .collect()
    });
    Ok(())
}

fn read(context: &Context, folder: String, uid: u32) -> Result<(), Failure> {
    let value = context.ask(Command::Read { folder, uid })?;
    if context.output.is_json() {
        context.output.object(value);
        return Ok(());
    }
    let message = BASE64
        .decode(text(&value, "message").as_bytes())
        .map_err(|_| Failure::new(Code::Failed, "the daemon's answer cannot be read"))?;
    context.output.bytes(&message);
    Ok(())
}

fn mail_setup(context: &Context, setup: MailSetup) -> Result<(), Failure> {
    let value = context.ask(Command::MailSettings)?;
    match setup {
        MailSetup::Thunderbird { profile } => thunderbird::set_up(context, profile, &value),
        MailSetup::Show => {
            show(context, value, settings);
            context.output.say("Make a password for it with: runepeer mail password new");
            Ok(())
        }
    }
}

/// The settings in words, for any mail program.
pub(super) fn settings(value: &Value) -> String {
    let (imap, submission) = (&value["imap"], &value["submission"]);
    format!(
        "Address:        {}\n\
         Incoming mail:  IMAP, server {}, port {}, no encryption (it stays on this machine), normal password\n\
         Outgoing mail:  SMTP, server {}, port {}, no encryption, normal password\n\
         User name:      {}\n\
         mutt, neomutt:  also set hostname=\"{}\": answers then stand under your own copies\n",
        text(value, "address"),
        text(imap, "host"),
        imap["port"],
        text(submission, "host"),
        submission["port"],
        text(imap, "user"),
        text(value, "address").rsplit('@').next().unwrap_or_default(),
    )
}

fn passwords(context: &Context, verb: Password) -> Result<(), Failure> {
    match verb {
        Password::New { name } => {
            let value = context.ask(Command::PasswordNew { name })?;
            context.output.say("This password is shown once; give it to the mail program now.");
            show(context, value, |value| {
                format!("user:     {}\npassword: {}\n", text(value, "user"), text(value, "password"))
            });
        }
        Password::List => {
            let value = context.ask(Command::PasswordList)?;
            show(context, value, |value| {
                rows(value, "passwords")
                    .map(|row| format!("{}  made {}\n", text(row, "name"), text(row, "created_at")))
                    .collect()
            });
        }
        Password::Revoke { name } => {
            confirm(context, &format!("Mail programs that use the password {name} lose access. Revoke it?"))?;
            context.ask(Command::PasswordRevoke { name })?;
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
