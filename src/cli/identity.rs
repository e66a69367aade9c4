//! `runepeer identity`: the identities of the node.

use super::Context;
use super::args::Identity;
use super::show::show;
use crate::control::reply;
use crate::control::{Command, Failure};

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

fn described(identity: &reply::Identity) -> String {
    let default = if identity.is_default { "  default" } else { "" };
    let knock = if identity.knock { "" } else { "  contacts are not shown when it is back after it was away\n" };
    format!("{}  {}{default}\n  key {}\n{knock}", identity.name, identity.address, identity.fingerprint)
}
