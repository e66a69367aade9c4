//! `runepeer identity`: the identities of the node.

use super::Context;
use super::args::Identity;
use super::show::show;
use crate::control::reply;
use crate::control::{Command, Failure};

pub(super) fn run(context: &Context, verb: Identity) -> Result<(), Failure> {
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
