//! Running the programs of this machine, never for longer than they should take: one that hangs fails its test and is
//! ended, with all that it started.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Output, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// What programs of these tests take seconds for, on a slow machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Runs a command with this on its standard input.
pub(crate) fn run(mut command: Command, input: &[u8]) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let (mut child, words) = spawn(command);
    let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_vec());
    // A program may end without having read all of it.
    let writer = thread::spawn(move || stdin.write_all(&input).unwrap_or_default());
    let (stdout, stderr) = (read(child.stdout.take().unwrap()), read(child.stderr.take().unwrap()));
    let status = wait(child);
    let (stdout, stderr) = (stdout.join().unwrap(), stderr.join().unwrap());
    writer.join().unwrap();
    Output { status: in_time(status, &words, &[&stdout[..], &stderr].concat()), stdout, stderr }
}

/// Runs a command that wants a terminal; its standard output is all that it showed there.
pub(crate) fn run_in_terminal(command: Command) -> Output {
    run_with_typed(command, b"")
}

/// The same where this was typed before.
pub(crate) fn run_with_typed(mut command: Command, typed: &[u8]) -> Output {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    tcsetwinsize(&terminal, Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap();
    let end = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    let clone = || Stdio::from(OwnedFd::from(end.try_clone().unwrap()));
    command.stdin(clone()).stdout(clone()).stderr(clone()).env("TERM", "xterm");
    let (child, words) = spawn(command);
    drop(end);
    let mut terminal = File::from(terminal);
    terminal.write_all(typed).unwrap();
    let shown = read(terminal);
    let status = wait(child);
    let stdout = shown.join().unwrap();
    Output { status: in_time(status, &words, &stdout), stdout, stderr: Vec::new() }
}

/// Starts the command in a process group of its own. The command is dropped, and with it our ends of its terminal.
fn spawn(mut command: Command) -> (std::process::Child, String) {
    let words = format!("{command:?}");
    (command.process_group(0).spawn().unwrap_or_else(|error| panic!("{words}: {error}")), words)
}

/// Reads beside the program, so that it never waits for us. A terminal that its program left gives an error.
fn read(mut source: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut all = Vec::new();
        let _: io::Result<usize> = source.read_to_end(&mut all);
        all
    })
}

/// How it ended; `None` where it had to be ended. Nothing of its group is left in either case.
fn wait(mut child: std::process::Child) -> Option<ExitStatus> {
    let (deadline, group) = (Instant::now() + PATIENCE, Pid::from_child(&child));
    let mut ended = None;
    while ended.is_none() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(5));
        ended = child.try_wait().unwrap();
    }
    let _ = kill_process_group(group, Signal::KILL);
    if ended.is_none() {
        child.wait().unwrap();
    }
    ended
}

fn in_time(status: Option<ExitStatus>, words: &str, said: &[u8]) -> ExitStatus {
    status.unwrap_or_else(|| panic!("{words} did not end within {PATIENCE:?}:\n{}", String::from_utf8_lossy(said)))
}
