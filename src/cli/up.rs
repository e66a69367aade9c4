//! `runepeer up`: asks what it must know, then runs the daemon in the foreground.

use std::io::BufRead;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::args::Up;
use super::progress::Bar;
use super::{Context, output};
use crate::config::{File, ListenFile};
use crate::control::reply::{Carrier, CarrierStatus, IdentityStatus, Listen, Status};
use crate::control::{Code, Command, Failure};
use crate::daemon::{Node, Preparation, Start, logging};

/// Only a log of at least so many bytes takes long enough for a progress bar.
const WORTH_A_BAR: u64 = 32 << 20;

pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 4))
        .max_blocking_threads(32)
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Code::Failed, format!("this process cannot start threads: {error}")))
}

pub(super) fn run(context: &Context, up: Up) -> Result<(), Failure> {
    let preparation = Preparation::open(&context.data)?;
    let has_identity = preparation.has_identity()?;
    let kept = File::load(&context.data).ok().and_then(|file| file.carrier_only).unwrap_or(false);
    let carrier_only = up.carrier_only || kept;
    if !carrier_only && !has_identity && preparation.has_carrier()? {
        return Err(Failure::new(
            Code::Usage,
            "there is only a carrier here, and config.toml does not say so any more",
        )
        .hint("nothing was changed. Put config.toml back, or start with: runepeer up --carrier-only"));
    }
    let name = match up.name.clone() {
        None if carrier_only => None,
        name if has_identity => {
            if name.is_some() {
                context.output.say("There is an identity already; --name is for an empty data directory.");
            }
            None
        }
        Some(name) => Some(name),
        None if output::can_ask(context.global.no_input) => Some(ask_name(context)?),
        None => {
            return Err(Failure::new(
                Code::Usage,
                "there is no identity in this data directory, and nobody can be asked for a name",
            )
            .hint("give the first identity a name: runepeer up --name NAME"));
        }
    };
    let passphrase = passphrase(context, &up, &preparation)?;
    let file = File {
        transport: up.transport.map(absolute),
        listen: ListenFile {
            imap: up.imap.map(|address| address.to_string()),
            submission: up.submission.map(|address| address.to_string()),
        },
        carrier_only: up.carrier_only.then_some(true),
        ..File::default()
    };
    logging::start();
    let bar = Bar::new(context, "Reading the mailbox");
    let reading = {
        let bar = bar.clone();
        Arc::new(move |done, total| {
            if total > WORTH_A_BAR {
                bar.set(done, total);
            }
        })
    };
    let start = Start { reading, space: up.space, ..Start::new(name, passphrase, file) };
    let runtime = runtime()?;
    let result = runtime.block_on(serve(context, preparation, start, bar));
    // A thread that waits for a disk must not delay the end of the process: acknowledged mail is safe.
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

/// The same transport with an absolute directory, because the setting is kept and the next start may be in another
/// directory.
fn absolute(transport: String) -> String {
    let directory = transport.strip_prefix("loopback:").and_then(|directory| std::path::absolute(directory).ok());
    directory.map_or(transport, |directory| format!("loopback:{}", directory.display()))
}

async fn serve(context: &Context, preparation: Preparation, start: Start, reading: Bar) -> Result<(), Failure> {
    let is_new = start.name.is_some();
    let started = Node::start(preparation, start).await;
    reading.clear();
    let node = started?;
    let result = tokio::select! {
        result = node.stop_requested() => result,
        () = interrupted() => Ok(()),
        Err(failure) = show_progress(context, &node, is_new) => Err(failure),
    };
    context.output.say("Stopping…");
    node.stop().await;
    result
}

/// Shows how the node starts, tells the user what to do next, and then waits; returns only with a failure.
async fn show_progress(context: &Context, node: &Node, is_new: bool) -> Result<(), Failure> {
    wait_until_reachable(context, node).await?;
    next_steps(context, node, is_new).await?;
    std::future::pending().await
}

/// Waits for SIGINT, SIGTERM, or SIGHUP: closing the terminal stops the daemon as cleanly. `nohup` still keeps it
/// running. Later signals change nothing.
pub(super) async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let hangup = if ignores_hangup() { None } else { signal(SignalKind::hangup()).ok() };
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        // Without handlers, a signal ends the process at once, which is always safe.
        return std::future::pending().await;
    };
    let hung_up = async {
        match hangup {
            Some(mut hangup) => hangup.recv().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hung_up => {}
    }
}

/// Whether this process was started so that SIGHUP does nothing to it, as `nohup` does.
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // SIGHUP is number 1, which is the lowest bit.
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

/// Shows how the network comes up.
async fn wait_until_reachable(context: &Context, node: &Node) -> Result<(), Failure> {
    let bar = Bar::new(context, "Connecting to Tor");
    let mut told = String::new();
    loop {
        let status: Status = node.ask(Command::Status).await?;
        let identities = status.identities.iter();
        let identities = identities.map(|identity| identity.reachable || identity.listen == Listen::Never);
        let mut published = identities.chain(carrying(&status).map(|carrier| carrier.reachable)).peekable();
        if published.peek().is_some() && published.all(|reached| reached) {
            bar.clear();
            return Ok(());
        }
        let percent = u64::from(status.tor.percent);
        bar.set(percent, 100);
        bar.say(coming_up(percent));
        let reason = status.tor.blocked_reason.as_deref().unwrap_or_default();
        if is_news(reason, &told) {
            reason.clone_into(&mut told);
            bar.suspend(|| {
                context.output.warn(reason);
                context.output.flush();
            });
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// The carrier of this node, if it is switched on.
fn carrying(status: &Status) -> Option<&Carrier> {
    match &status.carrier {
        Some(CarrierStatus::Open(carrier)) => Some(carrier).filter(|carrier| carrier.enabled),
        _ => None,
    }
}

/// Whether the user should be told this reason for which Tor is blocked: it is not empty, and not the one that was told
/// last.
fn is_news(reason: &str, told: &str) -> bool {
    !reason.is_empty() && reason != told
}

/// The step for which `up` waits, at this percentage of the way to the network.
const fn coming_up(percent: u64) -> &'static str {
    if percent < 100 { "Connecting to Tor" } else { "Publishing the address" }
}

async fn next_steps(context: &Context, node: &Node, is_new: bool) -> Result<(), Failure> {
    let status: Status = node.ask(Command::Status).await?;
    if context.output.is_json() {
        context.output.object(&status);
        return Ok(());
    }
    if context.output.is_quiet() {
        return Ok(());
    }
    for IdentityStatus { name, address, listen, .. } in &status.identities {
        context.output.data(match listen {
            Listen::Never => format!("{name} is {address}, and gets mail by its boxes only (runepeer carrier list)"),
            Listen::Always => format!("{name} is reachable as {address}"),
        });
    }
    if let Some(carrier) = carrying(&status) {
        context.output.data(format!("This node carries mail for others at {}", carrier.onion));
        if status.identities.is_empty() {
            context.output.say("Invite a friend to a box here with: runepeer carrier invite");
        }
    }
    if !node.is_passphrase_protected() {
        context.output.say("Note: no passphrase is set. Whoever takes this disk can read the mail on it.");
    }
    if is_new {
        context.output.say("\nNext, in another terminal:");
        context.output.say("  1. runepeer mail setup show           the settings for your mail program");
        context.output.say("  2. runepeer mail password new         a password for it");
        context.output.say("  3. runepeer invite                    an invitation for your first friend");
        context.output.say("     (or, if you were given one:  runepeer contact add)");
    }
    context.output.say("\nThe daemon runs here until Ctrl-C, or: runepeer down");
    Ok(())
}

fn ask_name(context: &Context) -> Result<String, Failure> {
    context
        .output
        .say("What name shall stand before the @ of your address? Letters, digits, dots, hyphens, underscores;");
    context.output.say("3 to 50 of them. Everybody you write to sees it. It need not be your real name.");
    output::ask("Name:").map_err(|error| Failure::new(Code::Failed, format!("the terminal cannot be read: {error}")))
}

/// The passphrase, from the file or the terminal; `None` where the data directory has none, or where nobody can be
/// asked.
fn passphrase(context: &Context, up: &Up, preparation: &Preparation) -> Result<Option<Zeroizing<String>>, Failure> {
    if let Some(path) = &up.passphrase_file {
        return read_passphrase(path).map(Some);
    }
    if preparation.is_initialised()? {
        return known_passphrase(context, preparation);
    }
    let can_ask = output::can_ask(context.global.no_input);
    if !can_ask {
        return Ok(None);
    }
    context
        .output
        .say("\nA passphrase seals your mail and keys on this disk. Without one, whoever takes the disk reads");
    context.output.say("everything. It cannot be recovered: keep it well. Empty means none.");
    let first = prompt("Passphrase: ")?;
    if first.is_empty() {
        context.output.say("No passphrase: the key lies beside the data, and protects nothing if the disk is taken.");
        return Ok(None);
    }
    if *prompt("Once more: ")? != *first {
        return Err(Failure::new(Code::Failed, "the two passphrases differ; nothing was made, try again"));
    }
    Ok(Some(first))
}

/// The passphrase of a data directory that has one.
pub(super) fn known_passphrase(
    context: &Context,
    preparation: &Preparation,
) -> Result<Option<Zeroizing<String>>, Failure> {
    match (preparation.needs_passphrase()?, output::can_ask(context.global.no_input)) {
        (false, _) => Ok(None),
        (true, true) => prompt("Passphrase: ").map(Some),
        (true, false) => Err(Failure::new(Code::NeedsUnlock, "this data directory is locked with a passphrase")
            .hint("give it with --passphrase-file FILE, or start on a terminal")),
    }
}

/// Asks for a passphrase on the terminal.
pub(super) fn prompt(question: &str) -> Result<Zeroizing<String>, Failure> {
    rpassword::prompt_password(question)
        .map(Zeroizing::new)
        .map_err(|error| Failure::new(Code::Failed, format!("the terminal cannot be read: {error}")))
}

pub(super) fn read_passphrase(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let unreadable = |error: std::io::Error| {
        Failure::new(Code::Failed, format!("the passphrase file {} cannot be read: {error}", path.display()))
    };
    let mut line = Zeroizing::new(String::new());
    if path == Path::new("-") {
        std::io::stdin().lock().read_line(&mut line).map_err(unreadable)?;
    } else {
        let file = std::fs::File::open(path).map_err(unreadable)?;
        std::io::BufReader::new(file).read_line(&mut line).map_err(unreadable)?;
    }
    let passphrase = Zeroizing::new(line.trim_end_matches(['\r', '\n']).to_owned());
    if passphrase.is_empty() {
        return Err(Failure::new(Code::Usage, format!("the passphrase file {} is empty", path.display())));
    }
    Ok(passphrase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_published_once_the_network_is_there() {
        let words = [0, 1, 99, 100].map(coming_up);
        let connecting = "Connecting to Tor";
        assert_eq!(words, [connecting, connecting, connecting, "Publishing the address"]);
    }

    #[test]
    fn the_directory_of_a_transport_is_kept_absolute() {
        assert_eq!(absolute("tor".to_owned()), "tor");
        assert_eq!(absolute("loopback:/a/b".to_owned()), "loopback:/a/b");
        let here = std::env::current_dir().unwrap();
        assert_eq!(absolute("loopback:peers".to_owned()), format!("loopback:{}/peers", here.display()));
    }

    #[test]
    fn a_reason_for_which_tor_is_blocked_is_told_once() {
        assert!(is_news("the clock", "") && is_news("the clock", "no relay"));
        assert!(!is_news("the clock", "the clock") && !is_news("", "") && !is_news("", "the clock"));
    }

    #[test]
    fn a_passphrase_is_the_first_line_of_its_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (content, passphrase) in [("secret", "secret"), ("a b \r\nmore\n", "a b "), ("\u{fc}\n", "\u{fc}")] {
            std::fs::write(file.path(), content).unwrap();
            assert_eq!(*read_passphrase(file.path()).unwrap(), passphrase);
        }
        for empty in ["", "\n", "\r\nsecret\n"] {
            std::fs::write(file.path(), empty).unwrap();
            assert_eq!(read_passphrase(file.path()).unwrap_err().code, Code::Usage, "{empty:?}");
        }
        assert_eq!(read_passphrase(Path::new("/nowhere/at/all")).unwrap_err().code, Code::Failed);
    }
}
