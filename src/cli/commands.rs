//! Which file runs which command.

use serde_json::json;

use super::args::{Config, Verb};
use super::show::show;
use super::{
    Context, backup, bridge, carrier, contact, doctor, down, identity, invite, mail, message, passphrase, queue,
    repair, request, status,
};
use crate::control::Failure;

pub(super) fn run(context: &Context, verb: Verb) -> Result<(), Failure> {
    match verb {
        // These two run in this process, and were dispatched before.
        Verb::Up(_) | Verb::Demo(_) => Ok(()),
        Verb::Down => down::run(context),
        Verb::Status => status::run(context),
        Verb::Doctor { fix } => doctor::run(context, fix),
        Verb::Identity(identity) => identity::run(context, identity),
        Verb::Invite(invite) => invite::run(context, invite),
        Verb::Contact(contact) => contact::run(context, contact),
        Verb::Send(send) => message::send(context, &send),
        Verb::Ls { folder } => message::ls(context, folder),
        Verb::Read { uid, folder } => message::read(context, folder, uid),
        Verb::Request(verb) => request::run(context, verb),
        Verb::Queue(verb) => queue::run(context, verb),
        Verb::Carrier(verb) => carrier::run(context, verb),
        Verb::Bridge(verb) => bridge::run(context, verb),
        Verb::Mail(verb) => mail::run(context, verb),
        Verb::Passphrase(verb) => passphrase::run(context, verb),
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
