//! `runepeer invite`: invitations, made and withdrawn.

use super::args::{Invite, InviteCommand};
use super::show::{confirm, done, life_secs, show, until};
use super::{Context, handler, qr};
use crate::control::reply::{self, Done};
use crate::control::{Command, Failure};
use crate::daemon::now;

pub(super) fn run(context: &Context, invite: Invite) -> Result<(), Failure> {
    match invite.command {
        Some(InviteCommand::List) => {
            let line = |row: &reply::OpenInvitation| {
                let kind = if row.public { "public" } else { "private" };
                let label = row.label.iter().map(|label| format!("  for {label}")).collect::<String>();
                format!("{}  {kind}  until {}{label}\n", row.id, row.expires_at)
            };
            let open: reply::OpenInvitations = context.ask(Command::InviteList)?;
            show(context, &open, |open| open.invitations.iter().map(line).collect());
            Ok(())
        }
        Some(InviteCommand::Open { text }) => handler::open(context, text),
        Some(InviteCommand::Handler(verb)) => handler::run(context, &verb),
        Some(InviteCommand::Revoke { id }) => {
            confirm(context, "Whoever has this invitation can no longer use it. Revoke it?")?;
            context.ask::<Done>(Command::InviteRevoke { id })?;
            done(context, "Revoked.");
            Ok(())
        }
        None => {
            let life_secs = life_secs(&invite.expires)?;
            let (public, label) = (invite.public, invite.label);
            let made: reply::Invitation = context.ask(Command::Invite { public, life_secs, label })?;
            let text = &made.invitation;
            if let Some(path) = &invite.png {
                qr::png(text, path)?;
                context.output.say(format!("QR code written to {}", path.display()));
            }
            if invite.qr && !context.output.is_json() {
                context.output.data(qr::terminal(text)?);
            }
            let until = until(&made.expires_at, now());
            context.output.say(match &made.label {
                _ if public => {
                    format!("Many may use this text {until}. What they write waits in the folder Requests.")
                }
                Some(label) => {
                    format!("Give this text to {label} only, by a way you trust. It works once, {until}.")
                }
                None => format!("Give this text to one person, by a way you trust. It works once, {until}."),
            });
            if let Some(taken) = &made.name_taken {
                context.output.say(format!("Note: {taken}."));
            }
            show(context, &made, |made| made.invitation.clone());
            Ok(())
        }
    }
}
