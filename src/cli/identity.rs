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
        Identity::Set { listen } => Command::IdentityListen { on: listen == "always", anyway: context.global.yes },
    };
    show(context, &context.ask(command)?, described);
    Ok(())
}

fn described(identity: &reply::Identity) -> String {
    let default = if identity.is_default { "  default" } else { "" };
    format!("{}  {}{default}\n  key {}\n", identity.name, identity.address, identity.fingerprint)
}
