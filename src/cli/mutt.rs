//! `mail setup mutt` and `mail setup neomutt`: a complete configuration, with a new password in it.
//!
//! Both programs insist on TLS, which no server on this machine needs, and ask for each password twice, unless they are
//! told otherwise. So the file has everything, and the program starts with it and nothing else. It holds a secret:
//! `--write` makes it readable to its owner only.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::Context;
use crate::control::reply::{Done, MailServer, MailSettings, NewPassword, Passwords};
use crate::control::{Code, Command, Failure};

/// Makes a password for the program (`mutt` or `neomutt`), and prints or writes its configuration.
pub(super) fn set_up(
    context: &Context,
    program: &str,
    write: Option<PathBuf>,
    settings: &MailSettings,
) -> Result<(), Failure> {
    let name = free_name(program, &context.ask::<Passwords>(Command::PasswordList)?);
    // The file comes first, so that no password is made for a file that cannot be.
    let file = write.map(|path| create(&path).map(|file| (path, file))).transpose()?;
    let made = context.ask(Command::PasswordNew { name: name.clone() });
    let text = made.map(|made: NewPassword| muttrc(program, settings, &made.password));
    match (file, text) {
        (None, text) => printed(context, program, &name, &text?),
        (Some((path, mut file)), text) => {
            let written = text.and_then(|text| {
                let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
                written.map_err(|error| cannot_write(&path, &error))
            });
            if let Err(failure) = written {
                // Neither the file nor the password has a use; where one stays, the next attempt says so.
                let _ = fs::remove_file(&path);
                let _: Result<Done, Failure> = context.ask(Command::PasswordRevoke { name });
                return Err(failure);
            }
            finished(context, program, &name, &path);
        }
    }
    Ok(())
}

fn printed(context: &Context, program: &str, name: &str, text: &str) {
    if context.output.is_json() {
        return context.output.object(&json!({ "program": program, "password_name": name, "muttrc": text }));
    }
    context.output.say(format!(
        "This configuration holds a new password, {name}. Save it in a file that nobody else can read; this makes one:"
    ));
    context.output.say(format!("  runepeer mail setup {program} --write FILE"));
    context.output.say(format!("Then start: {program} -F FILE"));
    context.output.data(text.trim_end());
}

fn finished(context: &Context, program: &str, name: &str, path: &Path) {
    context.output.say(format!("The file holds a new password, {name}; only you can read it. Next:"));
    context.output.say(format!("  {program} -F {}", path.display()));
    context.output.say("Write to a contact as petname@rune.internal; runepeer contact list shows the petnames.");
    if context.output.is_json() {
        let file = path.display().to_string();
        context.output.object(&json!({ "program": program, "password_name": name, "file": file }));
    } else {
        context.output.data(path.display().to_string());
    }
}

/// A new file that its owner alone can read. Folders that are missing are made.
fn create(path: &Path) -> Result<fs::File, Failure> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|error| cannot_write(path, &error))?;
    }
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(|error| {
        let failure = cannot_write(path, &error);
        if error.kind() == std::io::ErrorKind::AlreadyExists {
            failure.hint("nothing was changed; give another name, or remove that file first")
        } else {
            failure
        }
    })
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Code::Failed, format!("cannot write {}: {error}", path.display()))
}

/// The name of the program, or with a number behind it: each file has a password of its own.
fn free_name(program: &str, taken: &Passwords) -> String {
    let is_taken = |name: &str| taken.passwords.iter().any(|password| password.name == name);
    let numbered = (2_u32..).map(|number| format!("{program}-{number}"));
    std::iter::once(program.to_owned()).chain(numbered).find(|name| !is_taken(name)).unwrap_or_default()
}

/// A server as a URL names it: an address with colons stands in brackets.
pub(super) fn authority(server: &MailServer) -> String {
    let MailServer { host, port, .. } = server;
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// The configuration. None of its values has a character that a muttrc would read in another way.
fn muttrc(program: &str, settings: &MailSettings, password: &str) -> String {
    let MailSettings { name, address, imap, submission } = settings;
    let onion = address.rsplit('@').next().unwrap_or_default();
    let (imap, submission) = (authority(imap), authority(submission));
    // No setting of neomutt makes it connect again by itself. mutt does.
    let again = match program {
        "neomutt" => {
            "\n# After runepeer itself was started again, neomutt shows an old list, or none: leave it with q, and start it again."
        }
        _ => "",
    };
    format!(
        r#"# Mail of {address}, for {program}. It holds a password: let nobody else read it.
# Start it so: {program} -F THIS_FILE
# Write to a contact as petname@rune.internal (runepeer contact list shows the petnames).{again}

set from="{address}"
set use_from=yes
# Otherwise the name of your account on this machine would stand there.
set realname="{name}"
# With this, answers stand under your own copies.
set hostname="{onion}"
# A recipient without a domain is a petname, and nobody of this host.
set use_domain=no

# The servers are on this machine only, so that nothing is encrypted on the way to them.
set ssl_starttls=no
set ssl_force_tls=no

set folder="imap://{name}@{imap}/"
set imap_user="{name}"
set imap_pass="{password}"
set spoolfile="+INBOX"
set record="+Sent"
set postponed="+Drafts"
set trash="+Trash"
set move=no
set imap_idle=yes
# So that new mail is shown within seconds, also while no key is pressed.
set timeout=5
set mail_check=30
mailboxes +INBOX +Requests +Outbox +Sent +Drafts +Archive +Trash

set smtp_url="smtp://{name}@{submission}/"
set smtp_pass="{password}"

# The line above a quotation leaves with the message; the name that you gave to a contact need not.
set attribution="On %d you wrote:"
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::reply::{MailServer, Password};

    #[test]
    fn a_server_with_colons_in_its_address_stands_in_brackets() {
        let server = |host: &str| MailServer { host: host.to_owned(), port: 1143, user: String::new() };
        assert_eq!(authority(&server("::1")), "[::1]:1143");
        assert_eq!(authority(&server("127.0.0.1")), "127.0.0.1:1143");
    }

    #[test]
    fn each_file_has_a_password_of_its_own() {
        let named = |name: &str| Password { name: name.to_owned(), created_at: String::new() };
        let taken = |names: &[&str]| Passwords { passwords: names.iter().map(|name| named(name)).collect() };
        assert_eq!(free_name("mutt", &taken(&["neomutt"])), "mutt");
        assert_eq!(free_name("mutt", &taken(&["mutt"])), "mutt-2");
        assert_eq!(free_name("mutt", &taken(&["mutt", "mutt-3", "mutt-2"])), "mutt-4");
    }

    #[test]
    fn a_file_with_a_password_is_its_owners_alone_and_replaces_nothing() {
        use std::os::unix::fs::PermissionsExt as _;
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("config/mutt/rc");
        create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let refused = create(&path).unwrap_err();
        assert!(refused.message.contains("config/mutt/rc") && refused.hint.is_some(), "{refused}");
    }

    #[test]
    fn the_servers_have_the_short_name_and_tls_is_off() {
        let server = |port| MailServer { host: "127.0.0.1".to_owned(), port, user: "alice@x.onion".to_owned() };
        let (name, address) = ("alice".to_owned(), "alice@x.onion".to_owned());
        let settings = MailSettings { name, address, imap: server(1143), submission: server(1587) };
        let text = muttrc("mutt", &settings, "secret");
        for line in [
            "set folder=\"imap://alice@127.0.0.1:1143/\"",
            "set smtp_url=\"smtp://alice@127.0.0.1:1587/\"",
            "set ssl_force_tls=no",
            "set timeout=5",
            "set from=\"alice@x.onion\"",
            "set hostname=\"x.onion\"",
            "set realname=\"alice\"",
            "set smtp_pass=\"secret\"",
        ] {
            assert!(text.lines().any(|one| one == line), "{line}");
        }
        // mutt connects again by itself.
        let says_how =
            |program| muttrc(program, &settings, "secret").contains("leave it with q, and start it again.\n\nset");
        assert!(says_how("neomutt") && !says_how("mutt"));
    }
}
