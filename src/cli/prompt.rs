//! Passphrases: asked for on the terminal, again where a person mistyped, or read from a file.

use std::fs::File;
use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::termios::{LocalModes, SpecialCodeIndex};
use zeroize::Zeroizing;

use super::signals::Asking;
use super::weak::weakness;
use super::{Context, output};
use crate::control::{Code, Failure};
use crate::daemon::Preparation;
use crate::store::Passphrase;

/// How often a passphrase that opens something is asked for, before the command ends.
pub(super) const TRIES: u32 = 3;

/// The most bytes of a line that a terminal takes.
const LINE: usize = 4096;
/// In the settings of a terminal: no key does this.
const NO_KEY: u8 = 0;

/// Whether a person can be asked for a passphrase.
pub(super) fn can_ask(context: &Context) -> bool {
    output::can_ask(context.global.no_input)
}

/// Asks for a passphrase on the terminal, which does not show it.
pub(super) fn prompt(context: &Context, question: &str) -> Result<Zeroizing<String>, Failure> {
    context.output.flush();
    hidden(question).map_err(|error| unreadable(&error))
}

/// The failure of a question that got no answer.
pub(super) fn unreadable(error: &io::Error) -> Failure {
    Failure::new(
        Code::Failed,
        match error.kind() {
            ErrorKind::UnexpectedEof => "the input ended before there was an answer; nothing was changed".to_owned(),
            _ => format!("the terminal cannot be read: {error}"),
        },
    )
}

/// Asks for a line on the terminal that controls this process, whatever standard input is. What is typed is not shown.
fn hidden(question: &str) -> io::Result<Zeroizing<String>> {
    let mut terminal = File::options().read(true).write(true).open("/dev/tty")?;
    let asking = Asking::begin()?;
    // A process that is stopped would leave the terminal without echo, and one that dumps its memory the passphrase.
    asking.change(&terminal, |settings| {
        settings.local_modes.remove(LocalModes::ECHO | LocalModes::ECHONL);
        settings.local_modes.insert(LocalModes::ICANON | LocalModes::ISIG);
        settings.special_codes[SpecialCodeIndex::VSUSP] = NO_KEY;
        settings.special_codes[SpecialCodeIndex::VQUIT] = NO_KEY;
    })?;
    terminal.write_all(question.as_bytes())?;
    // The terminal gives at most so much at once, so that no copy is left behind in memory.
    let mut line = Zeroizing::new(Vec::with_capacity(2 * LINE));
    let mut piece = Zeroizing::new([0; LINE]);
    while line.len() < LINE && !line.ends_with(b"\n") {
        match terminal.read(&mut *piece) {
            Ok(0) if line.is_empty() => {
                terminal.write_all(b"\n")?;
                return Err(ErrorKind::UnexpectedEof.into());
            }
            Ok(0) => break,
            Ok(read) => line.extend_from_slice(piece.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    terminal.write_all(b"\n")?;
    let text = std::str::from_utf8(&line).map_err(|_| io::Error::other("what was typed is no text in UTF-8"))?;
    Ok(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned()))
}

/// Asks for a new passphrase, twice, until both are the same. `None` is an empty one, where that `may_be_none`.
pub(super) fn choose(
    context: &Context,
    question: &str,
    may_be_none: bool,
) -> Result<Option<Zeroizing<String>>, Failure> {
    loop {
        let first = prompt(context, question)?;
        if Passphrase::new(first.to_string()).is_empty() {
            if !may_be_none {
                context.output.warn("It may not be empty. Once again.");
            } else if !takes_another(context, "No passphrase was typed.", "Choose one?")? {
                return Ok(None);
            }
            continue;
        }
        if let Some(reason) = weakness(&first)
            && takes_another(context, &format!("This passphrase is weak: {reason}."), "Choose another one?")?
        {
            continue;
        }
        if Passphrase::new(prompt(context, "Once more: ")?.to_string()) == Passphrase::new(first.to_string()) {
            return Ok(Some(first));
        }
        context.output.warn("The two are not the same; neither was kept. Once again.");
    }
}

/// Whether the user takes another passphrase than the one in question, after these words on it.
fn takes_another(context: &Context, words: &str, question: &str) -> Result<bool, Failure> {
    context.output.warn(words);
    output::ask_whether(question, true).map_err(|error| unreadable(&error))
}

/// Says that a new passphrase from a file is weak. It is used all the same.
pub(super) fn note_weakness(context: &Context, passphrase: &str) {
    if let Some(reason) = weakness(passphrase) {
        context.output.say(format!("Note: this passphrase is weak: {reason}."));
    }
}

/// Does something with the passphrase in a file, or with one that is asked for on the terminal: again where it is wrong,
/// three times at most. A wrong one in a file ends the command.
pub(super) fn until_right<T>(
    context: &Context,
    file: Option<&Path>,
    question: &str,
    mut act: impl FnMut(Zeroizing<String>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    if let Some(file) = file {
        return act(read_passphrase(context, file)?);
    }
    let mut tries = 1;
    loop {
        match act(prompt(context, question)?) {
            Err(failure) if failure.code == Code::NeedsUnlock && tries < TRIES => {
                context.output.warn("That passphrase is wrong. Once again.");
                tries += 1;
            }
            other => return other,
        }
    }
}

/// How the passphrase of a node is asked for. Of a restored one it is said which one that is.
pub(super) fn question(context: &Context, preparation: &Preparation) -> &'static str {
    if preparation.is_restored() {
        context.output.warn(
            "This node was restored from a backup. It opens with the passphrase that the node had when the backup was\n\
             made. The passphrase of the backup opens the backup only.",
        );
        return "Passphrase of the restored node: ";
    }
    "Passphrase of this node: "
}

/// The failure of a command for which nobody can be asked for the passphrase of a node.
pub(super) fn nobody_to_ask() -> Failure {
    Failure::new(Code::NeedsUnlock, "this data directory is locked with a passphrase")
        .hint("give it with --passphrase-file FILE, or start on a terminal")
}

/// The passphrase in the first line of a file; `-` is standard input. A file that others can read gets a warning.
pub(super) fn read_passphrase(context: &Context, path: &Path) -> Result<Zeroizing<String>, Failure> {
    let unreadable = |error: io::Error| {
        let why = match error.kind() {
            ErrorKind::InvalidData => "it is no text in UTF-8; save it as such".to_owned(),
            _ => error.to_string(),
        };
        Failure::new(Code::Failed, format!("the passphrase file {} cannot be read: {why}", path.display()))
    };
    let mut line = Zeroizing::new(String::new());
    if path == Path::new("-") {
        io::stdin().lock().read_line(&mut line).map_err(unreadable)?;
    } else {
        let file = File::open(path).map_err(unreadable)?;
        let meta = file.metadata().map_err(unreadable)?;
        let mode = meta.permissions().mode() & 0o777;
        if meta.is_file() && mode & 0o077 != 0 {
            let name = path.display();
            context.output.warn(format!(
                "Others may read the passphrase file {name} (mode {mode:o}). Close it to them: chmod 600 '{name}'"
            ));
        }
        io::BufReader::new(file).read_line(&mut line).map_err(unreadable)?;
    }
    let passphrase = Zeroizing::new(line.trim_end_matches(['\r', '\n']).to_owned());
    if Passphrase::new(passphrase.to_string()).is_empty() {
        let name = path.display();
        return Err(if line.is_empty() {
            Failure::new(Code::Usage, format!("the passphrase file {name} is empty"))
                .hint("write the passphrase into its first line")
        } else {
            Failure::new(Code::Usage, format!("the first line of the passphrase file {name} is empty"))
                .hint("the passphrase is what stands in the first line: write it there, and no empty line before it")
        });
    }
    Ok(passphrase)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::Output;

    #[test]
    fn a_passphrase_is_the_first_line_of_its_file() {
        let global = crate::cli::args::Global {
            data_dir: None,
            identity: None,
            json: false,
            quiet: false,
            yes: false,
            no_input: true,
        };
        let context = Context { output: Output::new(false, false), data: "/nowhere".into(), global };
        let file = tempfile::NamedTempFile::new().unwrap();
        for (content, passphrase) in [("secret", "secret"), ("a b \r\nmore\n", "a b "), ("\u{fc}\n", "\u{fc}")] {
            std::fs::write(file.path(), content).unwrap();
            assert_eq!(*read_passphrase(&context, file.path()).unwrap(), passphrase);
        }
        // What an editor put before it is no part of it.
        std::fs::write(file.path(), "\u{feff}secret\r\n").unwrap();
        let read = read_passphrase(&context, file.path()).unwrap();
        assert!(Passphrase::new(read.to_string()) == Passphrase::new("secret".to_owned()));
        for (empty, words) in [
            ("", " is empty"),
            ("\n", "the first line of"),
            ("\r\nsecret\n", "the first line of"),
            ("\u{feff}\r\n", "the first line of"),
        ] {
            std::fs::write(file.path(), empty).unwrap();
            let failure = read_passphrase(&context, file.path()).unwrap_err();
            assert!(failure.code == Code::Usage && failure.message.contains(words), "{empty:?}: {failure}");
            assert!(failure.hint.unwrap().contains("first line"));
        }
        std::fs::write(file.path(), b"\xff\xfes\0e\0c\0").unwrap();
        let failure = read_passphrase(&context, file.path()).unwrap_err();
        assert!(failure.code == Code::Failed && failure.message.contains("UTF-8"), "{failure}");
        assert_eq!(read_passphrase(&context, Path::new("/nowhere/at/all")).unwrap_err().code, Code::Failed);
    }
}
