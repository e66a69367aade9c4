//! `runepeer identity`: the identities of the node.

use std::fmt::Write as _;

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
        Identity::Default { name } => Command::IdentityDefault { name },
        Identity::Show => Command::IdentityShow,
        Identity::Set { listen } => Command::IdentityListen { on: listen == "always", anyway: context.global.yes },
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
        let _ = write!(
            words,
            "\n{} to be sent and will not be; look first: runepeer -i {name} queue list",
            if *waiting == 1 { "1 message waits".to_owned() } else { format!("{waiting} messages wait") }
        );
    }
    if !boxes.is_empty() {
        let _ = write!(
            words,
            "\nIts boxes ({}) are not given up, and hold what is in them until that expires. To empty them, collect first, and \
             give them up: runepeer -i {name} carrier rm NAME",
            boxes.join(", ")
        );
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
    format!("{}  {}{default}\n  key {}\n", identity.name, identity.address, identity.fingerprint)
}
