//! `runepeer identity`: the identities of the node.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::args::Identity;
use super::show::show;
use super::{Context, output};
use crate::control::reply;
use crate::control::{Code, Command, Failure};

pub(super) fn run(context: &Context, verb: Identity) -> Result<(), Failure> {
    let command = match verb {
        Identity::List => {
            let known: reply::Identities = context.ask(Command::IdentityList)?;
            show(context, &known, |known| known.identities.iter().map(described).collect());
            return Ok(());
        }
        Identity::New { name, .. } => {
            let made: reply::Identity = context.ask(Command::IdentityNew { name })?;
            show(context, &made, described);
            let known: reply::Identities = context.ask(Command::IdentityList)?;
            if !known.identities.iter().any(|identity| identity.is_default) {
                context.output.say(
                    "There are several identities now. Say with each command which one is meant (-i NAME), or choose one for \
                     all commands without -i: runepeer identity default NAME",
                );
            }
            return Ok(());
        }
        Identity::Rename { name, new } => return rename(context, name, new),
        Identity::Rm { name } => return remove(context, name),
        Identity::Revoke { what, file } => return revoke(context, &what, file),
        Identity::Default { name } => Command::IdentityDefault { name },
        Identity::Show => Command::IdentityShow,
        Identity::Set { listen, knock } => {
            let anyway = context.global.yes;
            let listen = listen.map(|listen| Command::IdentityListen { on: listen == "always", anyway });
            let knock = knock.map(|knock| Command::IdentityKnock { on: knock == "on" });
            let mut changed: Option<reply::Identity> = None;
            for command in listen.into_iter().chain(knock) {
                changed = Some(context.ask(command)?);
            }
            if let Some(identity) = changed {
                show(context, &identity, described);
            }
            return Ok(());
        }
    };
    show(context, &context.ask(command)?, described);
    Ok(())
}

fn rename(context: &Context, name: String, to: String) -> Result<(), Failure> {
    let renamed: reply::Renamed = context.ask(Command::IdentityRename { name, to })?;
    show(context, &renamed, |renamed| described(&renamed.identity));
    context.output.say(
        "Only the name on this machine changed. The address is as before, so your contacts notice nothing, and mail programs \
         that log in with the address need no change.",
    );
    if let Some(before) = &renamed.settings_of {
        let name = &renamed.identity.name;
        context.output.say(format!(
            "config.toml has settings in a table [identity.{before}]: call it [identity.{name}], or the usual settings count \
             from the next start on."
        ));
    }
    Ok(())
}

fn remove(context: &Context, name: String) -> Result<(), Failure> {
    let gone: reply::Holdings = context.ask(Command::IdentityHoldings { name })?;
    if !context.global.yes {
        context.output.warn(what_goes(&gone));
        confirm_by_name(context, &gone.name)?;
    }
    // By its address, so that nothing else is removed than what was asked about.
    let gone: reply::Holdings = context.ask(Command::IdentityRemove { name: gone.address })?;
    show(context, &gone, |gone| format!("{}  {}: removed", gone.name, gone.address));
    context.output.say(WHAT_STAYS);
    Ok(())
}

fn revoke(context: &Context, what: &str, file: Option<PathBuf>) -> Result<(), Failure> {
    let identity: reply::Identity = context.ask(Command::IdentityShow)?;
    let name = &identity.name;
    let file = file.unwrap_or_else(|| PathBuf::from(format!("revocation-{name}.json")));
    if file.symlink_metadata().is_ok() {
        return Err(Failure::new(
            Code::Usage,
            format!("there is a file {} already; nothing was changed", file.display()),
        )
        .hint("choose another one: --file FILE"));
    }
    let (onion, key) = (what != "key", what != "onion");
    if !context.global.yes {
        context.output.warn(format!(
            "This revokes {} of {name}, {}, for ever. Every contact is told that nothing must be sent there any more, and \
             takes no other word for it, not even from a backup of this node. {name} sends no mail, makes no contacts and gives no \
             invitations from then on; mail that waits ends with reports. What it has stays readable.",
            if onion && key { "the address and the key" } else if onion { "the address" } else { "the key" },
            identity.address
        ));
        confirm_by_name(context, name)?;
    }
    let revoked: reply::Revocation = context.ask(Command::IdentityRevoke { onion, key })?;
    let written = write_new(&file, &revoked.statement);
    show(context, &revoked, |revoked| described(&revoked.identity));
    context.output.say(match revoked.contacts {
        0 => "There is no contact to tell, or they are being told already.".to_owned(),
        count => format!(
            "{} being told, directly and by their boxes, for 14 days. Leave this node running; who has not answered yet: \
             runepeer -i {name} identity show",
            if count == 1 { "1 contact is".to_owned() } else { format!("{count} contacts are") }
        ),
    });
    written.map_err(|error| {
        Failure::new(Code::Failed, format!("it is revoked, but {} cannot be written: {error}", file.display()))
            .hint("the same command with another --file writes it again, and tells nobody twice")
    })?;
    context.output.say(format!(
        "For everybody else, such as people who have an invitation or a poster of yours, there is {}. It is no secret. They use \
         it with: runepeer contact revoked FILE",
        file.display()
    ));
    Ok(())
}

/// Writes a file that is not there yet.
fn write_new(file: &Path, text: &str) -> io::Result<()> {
    let mut created = File::create_new(file)?;
    created.write_all(text.as_bytes())?;
    created.write_all(b"\n")?;
    created.sync_all()
}

/// What goes with an identity, for the person who is asked.
fn what_goes(gone: &reply::Holdings) -> String {
    let reply::Holdings { name, address, messages, waiting, contacts, boxes } = gone;
    let mut words = format!(
        "This removes {name}, {address}, from this machine for ever: its keys, {}, {} and its passwords. Without a backup \
         nobody can bring it back.",
        counted(*messages, "message"),
        counted(*contacts, "contact"),
    );
    if *waiting > 0 {
        let wait = if *waiting == 1 { "1 message waits".to_owned() } else { format!("{waiting} messages wait") };
        words.push_str(&format!("\n{wait} to be sent and will not be; look first: runepeer -i {name} queue list"));
    }
    if !boxes.is_empty() {
        words.push_str(&format!(
            "\nIts boxes ({}) are not given up, and hold what is in them until that expires. To empty them, collect first, and \
             give them up: runepeer -i {name} carrier rm NAME",
            boxes.join(", ")
        ));
    }
    words
}

const WHAT_STAYS: &str = "Its key was destroyed first, then its files. What this machine cannot destroy: what your contacts \
    have, backups that were made before (with their passphrase they bring the identity back), what lies in boxes until it \
    expires, the accounts and copies in your mail programs, and what a disk keeps of deleted files. Nobody is told: mail to \
    that address comes back to its senders after five days.";

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// Asks for the name of what is to be removed, so that nobody does it by a key pressed too soon.
fn confirm_by_name(context: &Context, name: &str) -> Result<(), Failure> {
    let refused = |hint: String| Failure::new(Code::Usage, "nothing was changed").hint(hint);
    if !output::can_ask(context.global.no_input) {
        return Err(refused("say yes with --yes".to_owned()));
    }
    match output::ask(&format!("Type the name ({name}) to go on:")) {
        Ok(typed) if typed == name => Ok(()),
        _ => Err(refused(format!("to go on, type {name}"))),
    }
}

fn described(identity: &reply::Identity) -> String {
    let default = if identity.is_default { "  default" } else { "" };
    let mut words = format!("{}  {}{default}\n  key {}\n", identity.name, identity.address, identity.fingerprint);
    if !identity.knock {
        words.push_str("  contacts are not shown when it is back after it was away\n");
    }
    if let Some(revoked) = &identity.revoked {
        words.push_str(&format!("  you revoked its {}: {}; it sends no mail any more\n", revoked.what, revoked.at));
        if !identity.untold.is_empty() {
            words.push_str(&format!("  not acknowledged yet by: {}\n", identity.untold.join(", ")));
        }
    }
    words
}
