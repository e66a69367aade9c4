//! `runepeer backup`: backups are made, verified and restored in this process; a running daemon only names the files to
//! copy.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Context;
use super::args::Backup as Verb;
use super::progress::Bar;
use super::prompt::{self, TRIES, note_weakness, prompt, read_passphrase, until_right};
use super::show::show;
use super::signals::if_interrupted;
use crate::backup::{self, Checked, Entry, Last, Order};
use crate::control::reply::{BackupFiles, Done};
use crate::control::{Client, Code, Command, Failure, Request};
use crate::daemon::{DataDir, Preparation, clear_failed_first_start, now};
use crate::store::vfs::RealVfs;
use crate::store::{Keyring, OsRng, Passphrase};

/// How often the daemon is told that its files are still needed.
const SIGN_OF_LIFE: Duration = Duration::from_secs(20);

pub(super) fn run(context: &Context, verb: Verb) -> Result<(), Failure> {
    match verb {
        Verb::Create { file, passphrase_file } => create(context, &absolute(file)?, passphrase_file.as_deref()),
        Verb::Verify { file, passphrase_file, node_passphrase_file } => {
            verify(context, &absolute(file)?, passphrase_file.as_deref(), node_passphrase_file.as_deref())
        }
        Verb::Restore { file, passphrase_file } => restore(context, &absolute(file)?, passphrase_file.as_deref()),
    }
}

fn absolute(file: PathBuf) -> Result<PathBuf, Failure> {
    std::path::absolute(&file)
        .map_err(|error| Failure::new(Code::Usage, format!("{} is no file name: {error}", file.display())))
}

/// Where the copied files are: in a running daemon, or in a directory that this process holds.
enum Source {
    Daemon { client: Client, lease: String, heard: Instant },
    Directory(#[allow(dead_code, reason = "held until the copy is made")] Preparation),
}

impl Source {
    fn ask<R: DeserializeOwned>(client: &mut Client, command: Command) -> Result<R, Failure> {
        client.ask(&Request { identity: None, command })
    }

    fn open(context: &Context) -> Result<(Self, PathBuf, Vec<Entry>), Failure> {
        let failed = |error: &dyn std::fmt::Display| {
            Failure::new(Code::Failed, format!("the files of {} cannot be listed: {error}", context.data.display()))
        };
        match Client::connect(&context.data) {
            Ok(mut client) => {
                let BackupFiles { lease, files } = Self::ask(&mut client, Command::BackupBegin)?;
                let root = context.data.canonicalize().map_err(|error| failed(&error))?;
                Ok((Self::Daemon { client, lease, heard: Instant::now() }, root, files))
            }
            Err(failure) if failure.code == Code::DaemonDown => {
                let preparation = Preparation::open_to_read(&context.data)?;
                let root = preparation.root().to_owned();
                backup::check_logs(&RealVfs, &root)?;
                let files = backup::contents(&RealVfs, &root, true).map_err(|error| failed(&error))?;
                Ok((Self::Directory(preparation), root, files))
            }
            Err(failure) => Err(failure),
        }
    }

    /// Tells the daemon that the files are still needed.
    fn hold(&mut self) -> Result<(), Failure> {
        if let Self::Daemon { client, lease, heard } = self
            && heard.elapsed() > SIGN_OF_LIFE
        {
            Self::ask::<Done>(client, Command::BackupHold { lease: lease.clone() })?;
            *heard = Instant::now();
        }
        Ok(())
    }

    fn release(mut self) {
        if let Self::Daemon { client, lease, .. } = &mut self {
            // A daemon that is not told forgets the lease by itself.
            let _ = Self::ask::<Done>(client, Command::BackupEnd { lease: lease.clone() });
        }
    }
}

fn create(context: &Context, to: &Path, passphrase_file: Option<&Path>) -> Result<(), Failure> {
    if to.exists() {
        return Err(Failure::new(Code::Usage, format!("{} exists already", to.display()))
            .hint("choose another name; a backup is never written over another"));
    }
    let passphrase = match passphrase_file {
        Some(file) => {
            let text = read_passphrase(context, file)?;
            note_weakness(context, &text);
            Passphrase::new(text.to_string())
        }
        None => new_passphrase(context)?,
    };
    let (mut source, root, files) = Source::open(context)?;
    let bar = Bar::new(context, "copying");
    let order = Order { root: &root, files, to, passphrase: &passphrase };
    let made = backup::create(&RealVfs, order, now(), &mut OsRng, &mut |done, total| {
        bar.set(done, total);
        source.hold()
    });
    bar.clear();
    source.release();
    let made = made?;
    let noted = Last { id: made.id, made: made.made, verified: None }.save(&RealVfs, &root);
    if let Err(error) = noted {
        context.output.warn(format!("The backup is made; that it was made could not be noted: {error}"));
    }
    let answer = json!({ "file": to.display().to_string(), "bytes": made.bytes, "made": made.made.rfc3339() });
    show(context, &answer, |_| format!("{}  {} bytes", to.display(), made.bytes));
    context.output.say("Keep it apart from this machine, and its passphrase apart from it. Check it now and then:");
    context.output.say(format!("  runepeer backup verify '{}'", to.display()));
    context.output.say("The passphrase of the backup opens this file, and nothing else.");
    context.output.say(opened_by(is_locked(&root)));
    Ok(())
}

/// Whether a passphrase locks the node in this data directory; `None` where that cannot be read.
fn is_locked(root: &Path) -> Option<bool> {
    Keyring::is_passphrase_protected(&RealVfs, &root.join("keys")).ok()
}

/// What opens the node in a backup once it is restored.
const fn opened_by(is_locked: Option<bool>) -> &'static str {
    match is_locked {
        Some(true) => {
            "The node in it keeps its own passphrase, the one that `runepeer up` asks for today: once the backup is\n\
             restored, the node opens with that one. Keep both."
        }
        Some(false) => "The node in it has no passphrase: whoever opens this file has everything.",
        None => {
            "Where the node in it has a passphrase of its own, that one opens the node once the backup is restored."
        }
    }
}

fn verify(
    context: &Context,
    file: &Path,
    passphrase_file: Option<&Path>,
    node_passphrase_file: Option<&Path>,
) -> Result<(), Failure> {
    let backup = open(context, file, passphrase_file)?;
    let bar = Bar::new(context, "reading");
    let mut tries = 0;
    let mut ask = |wrong: Option<Failure>| {
        match wrong {
            Some(failure) if node_passphrase_file.is_some() || tries == TRIES => return Err(failure),
            Some(_) => context.output.warn("That passphrase is wrong. Once again."),
            None => {}
        }
        tries += 1;
        let text = match node_passphrase_file {
            Some(file) => read_passphrase(context, file)?,
            None => {
                bar.clear();
                let needed = "the node in this backup is locked with a passphrase of its own";
                can_ask(context, needed, "--node-passphrase-file")?;
                prompt(context, "Passphrase of the node in the backup: ")?
            }
        };
        Ok(Passphrase::new(text.to_string()))
    };
    let checked = backup::verify(&backup, &mut ask, &mut |done, total| {
        bar.set(done, total);
        Ok(())
    });
    bar.clear();
    let checked = checked?;
    if let Some(last) = Last::load(&RealVfs, &context.data).filter(|last| last.id == checked.id) {
        // The note serves only `status`, so a failure to write it does not matter.
        let _ = Last { verified: Some(now()), ..last }.save(&RealVfs, &context.data);
    }
    show(context, &describe(&checked), |_| words(&checked));
    Ok(())
}

fn describe(checked: &Checked) -> Value {
    let identities: Vec<Value> = checked
        .identities
        .iter()
        .map(|identity| {
            json!({
                "address": identity.address,
                "messages": identity.messages,
                "waiting": identity.waiting,
                "contacts": identity.contacts,
            })
        })
        .collect();
    json!({ "made": checked.made.rfc3339(), "bytes": checked.bytes, "identities": identities })
}

fn words(checked: &Checked) -> String {
    let mut words = format!("The backup of {} is whole; everything in it was read.\n", checked.made.rfc3339());
    for identity in &checked.identities {
        words += &format!(
            "{}: {} messages, {} waiting to be sent, {} contacts\n",
            identity.address, identity.messages, identity.waiting, identity.contacts
        );
    }
    words
}

fn restore(context: &Context, file: &Path, passphrase_file: Option<&Path>) -> Result<(), Failure> {
    let backup = open(context, file, passphrase_file)?;
    clear_failed_first_start(&context.data);
    let directory = DataDir::open(&context.data)?;
    directory.note_process()?;
    let bar = Bar::new(context, "writing");
    let restored = backup::restore(&backup, &RealVfs, directory.path(), &mut |done, total| {
        bar.set(done, total);
        Ok(())
    });
    bar.clear();
    restored?;
    let root = directory.path().to_owned();
    show(context, &json!({ "data_dir": root.display().to_string() }), |_| format!("restored into {}", root.display()));
    context.output.say("Never run the original and this copy at the same time: the next start looks for the original");
    context.output.say("first. Mail programs will fetch everything anew. Start it with:");
    context.output.say(format!("  runepeer --data-dir '{}' up", root.display()));
    context.output.say(match is_locked(&root) {
        Some(false) => "It asks for no passphrase: the node had none when the backup was made.",
        _ => {
            "It asks for the passphrase that the node had when the backup was made. The passphrase of the backup is not\n\
             needed any more."
        }
    });
    Ok(())
}

fn open(context: &Context, file: &Path, passphrase_file: Option<&Path>) -> Result<backup::Backup, Failure> {
    if passphrase_file.is_none() {
        can_ask(context, "the backup is locked with its passphrase", "--passphrase-file")?;
    }
    until_right(context, passphrase_file, "Passphrase of the backup: ", |text| {
        backup::open(&RealVfs, file, &Passphrase::new(text.to_string()))
    })
}

/// Fails where a passphrase is needed and nobody can be asked for it.
fn can_ask(context: &Context, needed: &str, flag: &str) -> Result<(), Failure> {
    if prompt::can_ask(context) {
        return Ok(());
    }
    Err(Failure::new(Code::NeedsUnlock, needed).hint(format!("give it with {flag} FILE, or ask on a terminal")))
}

fn new_passphrase(context: &Context) -> Result<Passphrase, Failure> {
    if !prompt::can_ask(context) {
        return Err(Failure::new(Code::NeedsUnlock, "a backup needs a passphrase")
            .hint("give one with --passphrase-file FILE, or run this on a terminal"));
    }
    if_interrupted("No backup was made.");
    context.output.warn(
        "A backup has a passphrase of its own, which need not be that of the node. Whoever has the backup and its\n\
         passphrase has your identity and all your mail. It cannot be recovered: without it the backup is worth\n\
         nothing.",
    );
    let chosen = prompt::choose(context, "Passphrase of the backup: ", false)?;
    let none = || Failure::new(Code::Usage, "a backup needs a passphrase; nothing was made");
    chosen.map(|text| Passphrase::new(text.to_string())).ok_or_else(none)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::os::unix::net::UnixListener;
    use std::sync::mpsc::channel;

    use super::*;
    use crate::control::SOCKET_NAME;

    /// The other half of the promise in `daemon::commands::backup`, which forgets a lease that is not extended for two
    /// minutes.
    #[test]
    fn a_daemon_hears_again_and_again_that_its_files_are_still_needed() {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join(SOCKET_NAME)).unwrap();
        let (told, heard) = channel();
        std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            while let Some(Ok(line)) = lines.next() {
                told.send(line).unwrap();
                (&stream).write_all(b"{\"ok\":{}}\n").unwrap();
            }
        });
        let client = Client::connect(dir.path()).unwrap();
        let next = || heard.recv_timeout(Duration::from_secs(5)).unwrap();
        let ago = |time: Duration| Instant::now().checked_sub(time).unwrap();
        let mut source = Source::Daemon { client, lease: "lease".to_owned(), heard: ago(Duration::from_secs(60)) };
        for _ in 0..3 {
            // The second call comes at once, which is too early to tell the daemon anything.
            source.hold().unwrap();
            source.hold().unwrap();
            let said: Value = serde_json::from_str(&next()).unwrap();
            assert_eq!((&said["command"], &said["lease"]), (&json!("backup-hold"), &json!("lease")), "{said}");
            assert!(heard.try_recv().is_err());
            let Source::Daemon { heard, .. } = &mut source else { panic!() };
            *heard = ago(Duration::from_secs(60));
        }
        source.release();
        assert!(next().contains("backup-end"));
    }
}
