//! `runepeer mail`: what a mail program needs: settings and passwords.

use super::args::{Mail, MailSetup, Password};
use super::show::{confirm, done, show};
use super::{Context, mutt, thunderbird};
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
        MailSetup::Mutt { write } => mutt::set_up(context, "mutt", write, &asked),
        MailSetup::Neomutt { write } => mutt::set_up(context, "neomutt", write, &asked),
        MailSetup::Show => {
            show(context, &asked, settings);
            context.output.say("Make a password for it with: runepeer mail password new");
            Ok(())
        }
    }
}

/// The settings in words, for any mail program.
pub(super) fn settings(settings: &reply::MailSettings) -> String {
    let reply::MailSettings { name, address, imap, submission } = settings;
    let onion = address.rsplit('@').next().unwrap_or_default();
    format!(
        "Address:        {address}\n\
         Incoming mail:  IMAP, server {}, port {}, no encryption (it stays on this machine), normal password\n\
         Outgoing mail:  SMTP, server {}, port {}, no encryption, normal password\n\
         User name:      {name} (the whole address does it too, but alpine takes 64 characters at most)\n\
         Recipients:     petname@rune.internal, with a petname from: runepeer contact list\n\
         mutt, neomutt:  runepeer mail setup mutt (or neomutt) prints a whole configuration. In one of your own set\n\
         {space}ssl_force_tls=no, ssl_starttls=no, and, so that answers stand under your own copies,\n\
         {space}hostname=\"{onion}\"\n\
         alpine:         server of incoming mail {}/user={name}/notls\n\
         {space}SMTP server {}/user={name}/notls\n\
         {space}user-domain {onion}, and, because alpine would take the name of your account on this\n\
         {space}machine: customized-hdrs From: {name} <{address}>\n\
         {space}(It warns that the server is not encrypted; it is on this machine only.)\n",
        imap.host,
        imap.port,
        submission.host,
        submission.port,
        mutt::authority(imap),
        mutt::authority(submission),
        space = " ".repeat(16),
    )
}

/// A wrong password that keeps coming, in words, and what to do.
pub(super) fn wrong_password(sent: &reply::WrongPassword, names: &[&str]) -> (String, String) {
    let reply::WrongPassword { identity, times, since, last_at } = sent;
    match identity {
        Some(name) => (
            format!(
                "{name}: a mail program keeps sending the same wrong password: {times} times since {since}, last at {last_at}"
            ),
            format!(
                "find the program that does not get in, and give it a new password, which this makes: runepeer -i {name} mail \
                 password new PROGRAM. One that was revoked stays wrong"
            ),
        ),
        None => (
            format!(
                "a mail program keeps trying to log in with a user name that no identity here has: {times} times since {since}, \
                 last at {last_at}"
            ),
            format!("find the program that does not get in, and set its user name: {}", names.join(" or ")),
        ),
    }
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
