//! `runepeer passphrase`: the keys of a node are locked with another passphrase, with a first one, or with none.

use std::path::Path;

use zeroize::Zeroizing;

use super::Context;
use super::args::Passphrase as Verb;
use super::prompt::{self, note_weakness, read_passphrase, until_right};
use super::show::{confirm, done};
use crate::control::{Code, Failure};
use crate::daemon::Preparation;
use crate::store::{Keyring, Passphrase};

pub(super) fn run(context: &Context, verb: Verb) -> Result<(), Failure> {
    let preparation = Preparation::open_existing(&context.data).map_err(|failure| match failure.code {
        Code::Busy => {
            failure.hint("the passphrase can be changed only while no daemon runs. Stop it first: runepeer down")
        }
        _ => failure,
    })?;
    let is_locked = preparation.needs_passphrase()?;
    match verb {
        Verb::Change { .. } | Verb::Remove { .. } if !is_locked => {
            Err(Failure::new(Code::Usage, "this data directory has no passphrase")
                .hint("nothing was changed. Lock it with: runepeer passphrase add"))
        }
        Verb::Add { .. } if is_locked => Err(Failure::new(Code::Usage, "this data directory has a passphrase already")
            .hint("nothing was changed. Take another one with: runepeer passphrase change")),
        Verb::Change { passphrase_file, new_passphrase_file } => {
            let mut keyring = unlocked(context, &preparation, passphrase_file.as_deref())?;
            let new = new_passphrase(context, new_passphrase_file.as_deref())?;
            preparation.change_passphrase(&mut keyring, Some(&new))?;
            done(context, "The passphrase is changed. The old one opens this data directory no longer.");
            say_what_stays(context, "opens with the old passphrase", true);
            Ok(())
        }
        Verb::Add { new_passphrase_file } => {
            let new = new_passphrase(context, new_passphrase_file.as_deref())?;
            let mut keyring = preparation.unlock(None)?;
            preparation.change_passphrase(&mut keyring, Some(&new))?;
            done(context, "The data directory is locked. It cannot be opened without the passphrase: keep it well.");
            say_what_stays(context, "opens without a passphrase", true);
            Ok(())
        }
        Verb::Remove { passphrase_file } => {
            confirm(
                context,
                "Without a passphrase the key lies beside the data: whoever takes this disk, or a copy of the \
                 directory, reads all mail on it and can be you. Remove the passphrase?",
            )?;
            let mut keyring = unlocked(context, &preparation, passphrase_file.as_deref())?;
            preparation.change_passphrase(&mut keyring, None)?;
            done(context, "The passphrase is removed: the node starts without one, and the disk protects nothing.");
            say_what_stays(context, "opens with the old passphrase", false);
            Ok(())
        }
    }
}

/// The keys, opened with the passphrase of now.
fn unlocked(context: &Context, preparation: &Preparation, file: Option<&Path>) -> Result<Keyring, Failure> {
    if file.is_none() && !prompt::can_ask(context) {
        return Err(prompt::nobody_to_ask());
    }
    let question = if file.is_some() { "" } else { prompt::question(context, preparation) };
    until_right(context, file, question, |passphrase| preparation.unlock(Some(passphrase)))
}

fn new_passphrase(context: &Context, file: Option<&Path>) -> Result<Passphrase, Failure> {
    let nobody = || {
        Failure::new(Code::Usage, "a new passphrase is needed, and nobody can be asked for one")
            .hint("nothing was changed. Give it with --new-passphrase-file FILE, or run this on a terminal")
    };
    let text: Option<Zeroizing<String>> = match file {
        Some(file) => Some(read_passphrase(context, file)?),
        None if !prompt::can_ask(context) => None,
        None => prompt::choose(context, "New passphrase: ", false)?,
    };
    let text = text.ok_or_else(nobody)?;
    if file.is_some() {
        note_weakness(context, &text);
    }
    Ok(Passphrase::new(text.to_string()))
}

/// Says what a change of the passphrase cannot change: what opens the node in earlier copies; and what to do if those
/// `are_weaker` than the node is now.
fn say_what_stays(context: &Context, old: &str, are_weaker: bool) {
    context.output.say(format!("In backups and other copies that were made before, the node still {old}."));
    if are_weaker {
        context.output.say("If that is why you changed it, destroy them, and make a new backup.");
    }
}
