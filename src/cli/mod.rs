//! The command line: arguments in, words and JSON out. It decides nothing: a running daemon does.

mod absent;
mod args;
mod backup;
mod bridge;
mod carrier;
mod commands;
mod contact;
mod demo;
mod doctor;
mod down;
mod handler;
mod identity;
mod invite;
mod mail;
mod mail_client;
mod message;
mod mutt;
mod output;
mod passphrase;
mod paste;
mod progress;
mod prompt;
mod qr;
mod queue;
mod repair;
mod request;
mod show;
mod signals;
mod status;
mod thunderbird;
mod up;
mod weak;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use clap::error::{ContextKind, ContextValue};

use crate::control::{Client, Code, Command, Failure, Request};
use crate::daemon::FailedStart;
use args::{Arguments, Global, Verb};
use output::Output;

/// Runs the program with the process's arguments.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return refuse(&with_the_word(error)),
    };
    let output = Output::new(arguments.global.json, arguments.global.quiet);
    let context = Context {
        output: if matches!(arguments.command, Some(Verb::Up(_))) { output.unattended() } else { output },
        data: arguments.global.data_dir.clone().unwrap_or_else(default_data_dir),
        global: arguments.global,
    };
    let result = run(&context, arguments.command).and_then(|()| context.output.is_written());
    let status = match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.message.is_empty() {
                context.output.failure(&failure);
            }
            ExitCode::from(failure.code.exit_status())
        }
    };
    context.output.flush();
    status
}

/// Reports wrong arguments, as JSON to a script that asked for it. Help and version are not failures.
fn refuse(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    // The arguments could not be parsed, so the switch is looked for among the raw ones.
    if std::env::args_os().any(|argument| argument == "--json") {
        let message = error.to_string();
        let first = message.lines().next().unwrap_or_default();
        let failure = Failure::new(Code::Usage, first.strip_prefix("error: ").unwrap_or(first));
        Output::new(true, false).failure(&failure.hint("see: runepeer --help"));
    } else {
        let _ = error.print();
    }
    ExitCode::from(Code::Usage.exit_status())
}

/// The failure with the word of this program, where another one is more usual elsewhere.
fn with_the_word(mut error: clap::Error) -> clap::Error {
    let usage = error.get(ContextKind::Usage).map(ToString::to_string).unwrap_or_default();
    let word = match error.get(ContextKind::InvalidSubcommand) {
        // Behind a noun, the same word would mean something else.
        Some(ContextValue::String(word)) if usage.contains("runepeer [") => match word.as_str() {
            "start" | "run" | "init" => "up",
            "stop" | "quit" => "down",
            "list" => "ls",
            _ => return error,
        },
        _ => return error,
    };
    error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(vec![word.to_owned()]));
    error
}

/// The settings that every command needs: where the data is, and how to print.
struct Context {
    output: Output,
    data: PathBuf,
    global: Global,
}

impl Context {
    /// Asks the running daemon; the answer is of a type of [`reply`](crate::control::reply).
    fn ask<R: serde::de::DeserializeOwned>(&self, command: Command) -> Result<R, Failure> {
        let request = Request { identity: self.global.identity.clone(), command };
        Client::connect(&self.data)?.ask(&request)
    }
}

fn run(context: &Context, verb: Option<Verb>) -> Result<(), Failure> {
    if matches!(verb, Some(Verb::Up(_) | Verb::Demo(_) | Verb::Backup(_) | Verb::Repair { .. } | Verb::Passphrase(_))) {
        crate::daemon::close_to_others();
    }
    match verb {
        Some(Verb::Up(up)) => up::run(context, up).inspect_err(|failure| FailedStart::note(&context.data, failure)),
        Some(Verb::Demo(demo)) => demo::run(context, &demo),
        Some(verb) => commands::run(context, verb),
        None => commands::run(context, Verb::Status),
    }
}

/// `$XDG_DATA_HOME/runepeer`, or `~/.local/share/runepeer`.
fn default_data_dir() -> PathBuf {
    data_home().join("runepeer")
}

/// `$XDG_DATA_HOME`, or `~/.local/share` (XDG Base Directory Specification).
fn data_home() -> PathBuf {
    let home = || std::env::home_dir().unwrap_or_default().join(".local/share");
    std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute()).unwrap_or_else(home)
}
