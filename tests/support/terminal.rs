//! A person at a terminal: sees what a program writes there, waits for a question, and types an answer.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{InputModes, LocalModes, OutputModes, SpecialCodeIndex, tcgetattr};

use super::programs::PATIENCE;
use super::wait_for;

/// How long a person waits before typing: the program has then turned off the echo.
const BREATH: Duration = Duration::from_millis(150);

/// A program at a terminal of its own. Killed when dropped.
pub(crate) struct Terminal {
    child: Child,
    keyboard: File,
    shown: Arc<Mutex<Vec<u8>>>,
    /// How much of it was looked at.
    seen: usize,
}

impl Terminal {
    /// Runs the real binary with these arguments, in a session that the terminal controls: passphrases are read from
    /// it, whatever standard input is.
    pub(crate) fn run(arguments: &[&str]) -> Self {
        Self::begin(&[&[env!("CARGO_BIN_EXE_runepeer")], arguments].concat())
    }

    /// The same as a child of a shell, which tells how it ended and then waits for a line: a terminal that its first
    /// program leaves is set up anew, and what the binary made of it would be lost.
    pub(crate) fn run_by_shell(arguments: &[&str]) -> Self {
        let script = "trap : INT; \"$0\" \"$@\"; echo \"ended with $?\"; read line";
        Self::begin(&[&["sh", "-c", script, env!("CARGO_BIN_EXE_runepeer")], arguments].concat())
    }

    fn begin(words: &[&str]) -> Self {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&terminal).unwrap();
        unlockpt(&terminal).unwrap();
        let name = ptsname(&terminal, Vec::new()).unwrap();
        // Who opens a terminal that controls nobody may become its owner: this process must not.
        let no_owner = rustix::fs::OFlags::NOCTTY.bits().cast_signed();
        let end = std::os::unix::fs::OpenOptionsExt::custom_flags(File::options().read(true).write(true), no_owner)
            .open(name.to_str().unwrap())
            .unwrap();
        let clone = || Stdio::from(OwnedFd::from(end.try_clone().unwrap()));
        let mut command = Command::new("setsid");
        command.arg("--ctty").args(words).env("TERM", "xterm");
        let child = command.stdin(clone()).stdout(clone()).stderr(clone()).spawn().unwrap();
        drop(command);
        drop(end);
        let keyboard = File::from(terminal);
        let (mut screen, shown) = (keyboard.try_clone().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let to = Arc::clone(&shown);
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            // A terminal that its program left gives an error.
            while let Ok(read @ 1..) = screen.read(&mut piece) {
                to.lock().unwrap().extend_from_slice(&piece[..read]);
            }
        });
        Self { child, keyboard, shown, seen: 0 }
    }

    /// Everything that was shown so far.
    pub(crate) fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).replace("\r\n", "\n")
    }

    /// Waits until these words are shown, after those that were waited for last; returns what came before them.
    pub(crate) fn sees(&mut self, words: &str) -> String {
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            let shown = self.shown();
            let news = shown.get(self.seen..).unwrap_or_default();
            if let Some((before, _)) = news.split_once(words) {
                let before = before.to_owned();
                self.seen += before.len() + words.len();
                return before;
            }
            assert!(std::time::Instant::now() < deadline, "waited in vain for {words:?}:\n{shown}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Types a line.
    pub(crate) fn types(&mut self, line: &str) {
        std::thread::sleep(BREATH);
        self.keyboard.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// Takes no passphrase for a new node.
    pub(crate) fn types_no_passphrase(&mut self) {
        for (question, answer) in [("Passphrase: ", ""), ("Choose one? [Y/n]", "n")] {
            self.sees(question);
            self.types(answer);
        }
    }

    /// Presses keys.
    pub(crate) fn presses(&mut self, keys: &[u8]) {
        std::thread::sleep(BREATH);
        self.keyboard.write_all(keys).unwrap();
    }

    /// Sends a signal to the child of the shell.
    pub(crate) fn signals_child(&self, signal: Signal) {
        std::thread::sleep(BREATH);
        let shell = self.child.id();
        let children = std::fs::read_to_string(format!("/proc/{shell}/task/{shell}/children")).unwrap();
        let child = children.split_whitespace().next().unwrap().parse().unwrap();
        rustix::process::kill_process(Pid::from_raw(child).unwrap(), signal).unwrap();
    }

    /// The settings of the terminal: what it does with input and output, its echo among them.
    pub(crate) fn settings(&self) -> (InputModes, OutputModes, LocalModes, [u8; 3]) {
        let settings = tcgetattr(&self.keyboard).unwrap();
        let keys = [SpecialCodeIndex::VINTR, SpecialCodeIndex::VQUIT, SpecialCodeIndex::VSUSP];
        (settings.input_modes, settings.output_modes, settings.local_modes, keys.map(|key| settings.special_codes[key]))
    }

    /// Whether the program still runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until the program ends.
    pub(crate) fn ends(&mut self) -> ExitStatus {
        let child = &mut self.child;
        let status = wait_for("the program to end", PATIENCE, || child.try_wait().unwrap());
        // The last words may still be on their way.
        std::thread::sleep(BREATH);
        status
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
