//! `runepeer up`: asks what it must know, then runs the daemon in the foreground.

mod name;
mod waiting;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::Context;
use super::args::Up;
use super::progress::Bar;
use super::prompt::{self, note_weakness, read_passphrase, until_right};
use super::signals::{if_interrupted, interrupted};
use crate::config::{File, ListenFile};
use crate::control::reply::{IdentityStatus, Listen, Status};
use crate::control::{Code, Command, Failure};
use crate::daemon::{Node, Preparation, Ready, Start, clear_failed_first_start, logging};
use waiting::{Waiting, carrying};

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
    if let Some(name) = &up.name {
        name::check(name)?;
    }
    let result = Preparation::open(&context.data).and_then(|preparation| start(context, up, preparation));
    if result.is_err() {
        clear_failed_first_start(&context.data);
    }
    result
}

/// Asks for the name, takes the ports, asks for the passphrase, and runs the node: each failure comes before the next
/// question.
fn start(context: &Context, up: Up, preparation: Preparation) -> Result<(), Failure> {
    let name = name_of_first(context, &up, &preparation)?;
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
    if_interrupted(if name.is_some() { "Nothing was made." } else { "The node was not started." });
    let is_restored = preparation.is_restored();
    let runtime = runtime()?;
    let mut ready = runtime.block_on(preparation.ready(file))?;
    let file = up.passphrase_file.as_deref();
    let passphrase = if ready.preparation().is_initialised()? {
        unlock(context, file, &mut ready)?;
        None
    } else {
        new_passphrase(context, file)?
    };
    let bar = Bar::new(context, "Reading the mailbox");
    let reading = {
        let bar = bar.clone();
        Arc::new(move |done, total| {
            if total > WORTH_A_BAR {
                bar.set(done, total);
            }
        })
    };
    let waiting = Waiting { is_new: name.is_some(), is_restored };
    let start = Start { reading, at_once: up.at_once, space: up.space, ..Start::new(name, passphrase) };
    let result = runtime.block_on(serve(context, ready, start, bar, waiting));
    // A thread that waits for a disk must not delay the end of the process: acknowledged mail is safe.
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

/// The name of the identity that this start makes: as it was given, or asked for; `None` where it makes none.
fn name_of_first(context: &Context, up: &Up, preparation: &Preparation) -> Result<Option<String>, Failure> {
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
    match up.name.clone() {
        None if carrier_only => Ok(None),
        name if has_identity => {
            if name.is_some() {
                context.output.say("There is an identity already; --name is for an empty data directory.");
            }
            Ok(None)
        }
        Some(name) => Ok(Some(name)),
        None if prompt::can_ask(context) => {
            if_interrupted("Nothing was made.");
            name::ask(context).map(Some)
        }
        None => Err(Failure::new(
            Code::Usage,
            "there is no identity in this data directory, and nobody can be asked for a name",
        )
        .hint("give the first identity a name: runepeer up --name NAME")),
    }
}

/// The same transport with an absolute directory, because the setting is kept and the next start may be in another
/// directory.
fn absolute(transport: String) -> String {
    let directory = transport.strip_prefix("loopback:").and_then(|directory| std::path::absolute(directory).ok());
    directory.map_or(transport, |directory| format!("loopback:{}", directory.display()))
}

async fn serve(context: &Context, ready: Ready, start: Start, reading: Bar, waiting: Waiting) -> Result<(), Failure> {
    let started = Node::start(ready, start).await;
    reading.clear();
    let node = started?;
    let result = tokio::select! {
        result = node.stop_requested() => result,
        () = interrupted() => Ok(()),
        Err(failure) = show_progress(context, &node, waiting) => Err(failure),
    };
    context.output.say("Stopping…");
    node.stop().await;
    result
}

/// Shows how the node starts, tells the user what to do next, and then waits; returns only with a failure.
async fn show_progress(context: &Context, node: &Node, waiting: Waiting) -> Result<(), Failure> {
    waiting::wait_until_reachable(context, node, waiting).await?;
    next_steps(context, node, waiting.is_new).await?;
    std::future::pending().await
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
            context.output.flush();
            context.output.say("Invite a friend to a box here with: runepeer carrier invite");
        }
    }
    // Data and words are written by two threads.
    context.output.flush();
    if !node.is_passphrase_protected() {
        context.output.say("Note: no passphrase is set. Whoever takes this disk can read the mail on it. To set one:");
        context.output.say("  runepeer down, then runepeer passphrase add");
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

/// The passphrase of a node that is to be made, from the file or the terminal; `None` where it gets none, or where nobody
/// can be asked.
fn new_passphrase(context: &Context, file: Option<&Path>) -> Result<Option<Zeroizing<String>>, Failure> {
    if let Some(path) = file {
        let passphrase = read_passphrase(context, path)?;
        note_weakness(context, &passphrase);
        return Ok(Some(passphrase));
    }
    if !prompt::can_ask(context) {
        return Ok(None);
    }
    context.output.warn(
        "\nA passphrase seals your mail and keys on this disk. Without one, whoever takes the disk reads everything.\n\
         It cannot be recovered: keep it well. Empty means none.",
    );
    let chosen = prompt::choose(context, "Passphrase: ", true)?;
    if chosen.is_none() {
        context.output.say("No passphrase: the key lies beside the data, and protects nothing if the disk is taken.");
    }
    Ok(chosen)
}

/// Opens the keys of a node that exists, where they are locked; asks again where the passphrase is wrong.
fn unlock(context: &Context, file: Option<&Path>, ready: &mut Ready) -> Result<(), Failure> {
    let needs_passphrase = ready.preparation().needs_passphrase()?;
    match file {
        None if !needs_passphrase => return Ok(()),
        None if !prompt::can_ask(context) => return Err(prompt::nobody_to_ask()),
        _ => {}
    }
    let question = if file.is_some() { "" } else { prompt::question(context, ready.preparation()) };
    until_right(context, file, question, |passphrase| ready.unlock(passphrase))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_of_a_transport_is_kept_absolute() {
        assert_eq!(absolute("tor".to_owned()), "tor");
        assert_eq!(absolute("loopback:/a/b".to_owned()), "loopback:/a/b");
        let here = std::env::current_dir().unwrap();
        assert_eq!(absolute("loopback:peers".to_owned()), format!("loopback:{}/peers", here.display()));
    }
}
