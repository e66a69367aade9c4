//! `runepeer contact`: the address book.

mod export;
mod graph;
mod verify;

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::Context;
use super::args::Contact;
use super::paste::given_or_pasted;
use super::show::{confirm, done, show};
use crate::control::reply::{self, ContactStatus, ReceiptsGiven};
use crate::control::{Code, Command, ContactChange, Failure};

pub(super) fn run(context: &Context, verb: Contact) -> Result<(), Failure> {
    let parting =
        matches!(verb, Contact::Accept { .. } | Contact::Block { .. } | Contact::Unblock { .. } | Contact::Rm { .. });
    let command = match verb {
        Contact::List => {
            let known: reply::Contacts = context.ask(Command::ContactList)?;
            show(context, &known, |known| known.contacts.iter().map(line).collect());
            return Ok(());
        }
        Contact::Rename { who, petname } => Command::ContactRename { who, petname },
        Contact::Accept { who } => Command::ContactAccept { who },
        Contact::Block { who } => Command::ContactBlock { who },
        Contact::Unblock { who } => Command::ContactUnblock { who },
        Contact::Rm { who } => {
            confirm(context, &format!("{who} is a stranger from then on, and what waits for them ends. Remove them?"))?;
            Command::ContactRemove { who }
        }
        Contact::Add { text, qr, petname } => return add(context, given_or_pasted(context, text, qr)?, petname),
        Contact::Graph { svg } => return graph::run(context, svg.as_deref()),
        Contact::Replace { who, by } => return replace(context, who, by),
        Contact::Export { who, vcard } => return export::run(context, who, vcard),
        Contact::Verify { who } => return verify::run(context, who),
        Contact::Introduce { guest, host, text } => {
            let asked = format!("{host} is asked. If they agree, {guest} is; nobody is told of a no.");
            context.ask::<reply::Done>(Command::ContactIntroduce { guest, host, text })?;
            done(context, &asked);
            return Ok(());
        }
        Contact::Revoked { file } => return revoked(context, &file),
        Contact::Show { who } => Command::ContactShow { who },
        Contact::Set { who, receipts, carry, via, introductions, knock } => {
            let (carry, knock) = (carry.map(|carry| carry == "on"), knock.map(|knock| knock == "on"));
            Command::ContactSet(ContactChange { who, receipts, carry, via, introductions, knock })
        }
    };
    let contact: reply::Contact = context.ask(command)?;
    // A contact that was removed is described as it was before.
    show(context, &contact, |contact| if parting { format!("{}: done", contact.petname) } else { described(contact) });
    Ok(())
}

/// Puts a contact into the place of another.
fn replace(context: &Context, who: String, by: String) -> Result<(), Failure> {
    confirm(
        context,
        &format!(
            "{who} leaves the address book and is a stranger from then on; {by} gets that name, and the mail that waits. \
             Nothing here proves that both are the same person. Replace them?"
        ),
    )?;
    let replaced: reply::Replaced = context.ask(Command::ContactReplace { who, by })?;
    show(context, &replaced, |replaced| described(&replaced.contact));
    let reply::Replaced { contact, moved, ended } = &replaced;
    let messages = |count: &usize| if *count == 1 { "1 message".to_owned() } else { format!("{count} messages") };
    if *moved > 0 {
        context.output.say(format!("{} that waited will go to them.", messages(moved)));
    }
    if *ended > 0 {
        context.output.say(format!(
            "{} that waited ended, because a copy was sent before or others are named in it; a report in INBOX says which: \
             send it again.",
            messages(ended)
        ));
    }
    if contact.verified_at.is_none() {
        context.output.say(format!(
            "They are not verified: compare the number anew before you trust them. runepeer contact verify {}",
            contact.petname
        ));
    }
    Ok(())
}

/// Adds the contact of an invitation, and describes it.
pub(super) fn add(context: &Context, invitation: String, petname: Option<String>) -> Result<(), Failure> {
    let contact: reply::Contact = context.ask(Command::ContactAdd { invitation, petname })?;
    show(context, &contact, described);
    context.output.say(format!("Write to them as {}", contact.write_to));
    Ok(())
}

/// Takes the revocation in a file.
fn revoked(context: &Context, file: &Path) -> Result<(), Failure> {
    let unreadable = |error: &dyn std::fmt::Display| {
        Failure::new(Code::Usage, format!("{} cannot be read: {error}", file.display()))
    };
    let mut read: Box<dyn Read> = match file.as_os_str() == "-" {
        true => Box::new(std::io::stdin()),
        false => Box::new(File::open(file).map_err(|error| unreadable(&error))?),
    };
    let (mut statement, most) = (String::new(), crate::base::limits::CARD_BYTES as u64 + 1024);
    Read::take(&mut read, most).read_to_string(&mut statement).map_err(|error| unreadable(&error))?;
    let taken: reply::RevocationTaken = context.ask(Command::ContactRevoked { statement })?;
    show(context, &taken, |taken| {
        let who = taken.petname.clone().unwrap_or_else(|| format!("nobody in the address book; {}", taken.onion));
        format!("{who}: {} revoked\n  key {}", taken.what, taken.fingerprint)
    });
    context.output.say("Every signature in it is true. Nothing is written there any more, and nothing brings it back.");
    Ok(())
}

fn line(contact: &reply::Contact) -> String {
    let verified = if contact.verified_at.is_some() { "  verified" } else { "" };
    format!("{}  {}  {}{verified}\n", contact.petname, contact.address, contact.status)
}

/// Everything about a contact, in words.
fn described(contact: &reply::Contact) -> String {
    let mut words = line(contact);
    let _ = writeln!(words, "  key {}", contact.fingerprint);
    if let Some(revoked) = &contact.revoked {
        let _ = writeln!(
            words,
            "  they revoked their {} (known here since {}): nothing is sent there; ask them in person or by telephone for a new invitation",
            revoked.what, revoked.at
        );
    }
    let _ = match &contact.verified_at {
        Some(at) => writeln!(words, "  you verified them: {at}"),
        None => {
            writeln!(words, "  not verified (compare a number with them: runepeer contact verify {})", contact.petname)
        }
    };
    words.push_str(match contact.receipts.given {
        ReceiptsGiven::None => "  they hear nothing of their mail\n",
        ReceiptsGiven::Delivered => "",
        ReceiptsGiven::Read => "  they hear what you have read\n",
    });
    if !contact.receipts.expected {
        words.push_str("  they return no receipts\n");
    }
    words.push_str(match contact.introductions.as_str() {
        "yes" => "  they may introduce you to others without asking you\n",
        "never" => "  they cannot introduce you to others\n",
        _ => "",
    });
    if !contact.knock {
        words.push_str("  they are not shown when your node is back after it was away\n");
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
    if !contact.carriers.is_empty() {
        let _ = writeln!(words, "  while they are away, mail can be left for them at: {}", contact.carriers.join(", "));
    }
    match &contact.last_seen_at {
        Some(at) => {
            let _ = writeln!(words, "  last seen {at}");
        }
        None if contact.status == ContactStatus::Confirmed => {
            words.push_str("  not seen for longer than is remembered\n");
        }
        None => {}
    }
    if contact.duplicates > 0 {
        let _ =
            writeln!(words, "  copies of what had come before, dropped since the node started: {}", contact.duplicates);
    }
    match contact.status {
        ContactStatus::Greeting => words.push_str(
            "  their node has not answered yet; it is asked again and again by itself. Where somebody else has used the \
             invitation, they have to accept you first\n",
        ),
        ContactStatus::Request => words.push_str(
            "  they wait in the folder Requests: runepeer contact accept makes them a contact, contact block drops what \
             they send\n",
        ),
        _ => {}
    }
    for step in &contact.provenance {
        let _ = writeln!(words, "  {step}");
    }
    if let Some(invitation) = &contact.invitation {
        let label = invitation.label.as_ref().map(|label| format!(", for {label}")).unwrap_or_default();
        let _ = writeln!(words, "  you made that invitation {}{label}", invitation.made_at);
    }
    words
}
