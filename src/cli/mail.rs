//! `runepeer mail`: what a mail program needs: settings and passwords.

use super::args::{Mail, MailSetup, Password};
use super::show::{confirm, done, show};
use super::{Context, thunderbird};
use crate::control::reply::{self, Done};
use crate::control::{Command, Failure};

pub(super) fn run(context: &Context, verb: Mail) -> Result<(), Failure> {
    match verb {
        Mail::Setup(setup) => self::setup(context, setup),
        Mail::Password(verb) => password(context, verb),
    }
}

fn setup(context: &Context, setup: MailSetup) -> Result<(), Failure> {
    let asked = context.ask(Command::MailSettings)?;
    match setup {
        MailSetup::Thunderbird { profile } => thunderbird::set_up(context, profile, &asked),
        MailSetup::Show => {
            show(context, &asked, settings);
            context.output.say("Make a password for it with: runepeer mail password new");
            Ok(())
        }
    }
}

/// The settings in words, for any mail program.
pub(super) fn settings(settings: &reply::MailSettings) -> String {
    let reply::MailSettings { address, imap, submission, .. } = settings;
    format!(
        "Address:        {}\n\
         Incoming mail:  IMAP, server {}, port {}, no encryption (it stays on this machine), normal password\n\
         Outgoing mail:  SMTP, server {}, port {}, no encryption, normal password\n\
         User name:      {}\n\
         mutt, neomutt:  also set hostname=\"{}\": answers then stand under your own copies\n",
        address,
        imap.host,
        imap.port,
        submission.host,
        submission.port,
        imap.user,
        address.rsplit('@').next().unwrap_or_default(),
    )
}

fn password(context: &Context, verb: Password) -> Result<(), Failure> {
    match verb {
        Password::New { name } => {
            let made: reply::NewPassword = context.ask(Command::PasswordNew { name })?;
            context.output.say("This password is shown once; give it to the mail program now.");
            show(context, &made, |made| format!("user:     {}\npassword: {}\n", made.user, made.password));
        }
        Password::List => {
            let line = |password: &reply::Password| format!("{}  made {}\n", password.name, password.created_at);
            let known: reply::Passwords = context.ask(Command::PasswordList)?;
            show(context, &known, |known| known.passwords.iter().map(line).collect());
        }
        Password::Revoke { name } => {
            confirm(context, &format!("Mail programs that use the password {name} lose access. Revoke it?"))?;
            context.ask::<Done>(Command::PasswordRevoke { name })?;
            done(context, "Revoked.");
        }
    }
    Ok(())
}
