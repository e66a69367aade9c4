//! Links that begin with `rune:` or `rune-box:`: the desktop file that hands them to this program, and what happens with one.
//!
//! A link may come from anybody. So nothing is done before its reader was shown what it is and agreed, and it reaches the
//! program as one argument, through no shell.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::args::Handler;
use super::show::{confirm, show};
use super::signals::if_interrupted;
use super::{Context, carrier, contact, output};
use crate::control::{Code, Failure};
use crate::daemon::look;

/// The name of the desktop file.
const FILE: &str = "runepeer.desktop";

/// Prints or installs the desktop file.
pub(super) fn run(context: &Context, verb: &Handler) -> Result<(), Failure> {
    let text = entry(context)?;
    match verb {
        Handler::Show => {
            show(context, &json!({ "name": FILE, "text": text }), |_| text.clone());
            Ok(())
        }
        Handler::Install => {
            let path = super::data_home().join("applications").join(FILE);
            let unwritten =
                |error| Failure::new(Code::Failed, format!("{} cannot be written: {error}", path.display()));
            install(&path, &text).map_err(unwritten)?;
            show(context, &json!({ "path": path.display().to_string() }), |_| path.display().to_string());
            context.output.say(
                "To have links opened with it: xdg-mime default runepeer.desktop x-scheme-handler/rune \
                                x-scheme-handler/rune-box",
            );
            Ok(())
        }
    }
}

/// Shows whom an invitation would add, or what it would rent, and does it if its reader agrees. On a terminal its window stays
/// until it was read.
pub(super) fn open(context: &Context, text: String) -> Result<(), Failure> {
    let result = agreed(context, text);
    if !output::can_ask(context.global.no_input) {
        return result;
    }
    let result = result.map_err(|failure| {
        context.output.failure(&failure);
        Failure::new(failure.code, "")
    });
    if_interrupted("");
    // Where the terminal is gone, nobody waits.
    let _ = output::ask("Press Enter to close this.");
    result
}

fn agreed(context: &Context, text: String) -> Result<(), Failure> {
    let looked = look(&text)?;
    if looked.is_box {
        context.output.warn(format!("This invitation gives you a box at the carrier {}", looked.onion));
        context.output.warn(format!("  key {}", looked.fingerprint));
        confirm(context, "Mail for you is left there while you are away, and your contacts are told of it. Rent it?")?;
        return carrier::rent(context, text, None);
    }
    context.output.warn(format!("This invitation is from {}", looked.address));
    context.output.warn(format!("  key {}", looked.fingerprint));
    confirm(context, "Your node greets theirs, and they learn your address. Add them to your address book?")?;
    contact::add(context, text, None)
}

/// The desktop file, for the program that runs and the data directory that was named.
fn entry(context: &Context) -> Result<String, Failure> {
    let failed = |what: String| Failure::new(Code::Failed, what);
    let program = std::env::current_exe().map_err(|error| failed(format!("this program cannot be found: {error}")))?;
    let mut words = vec![program];
    if let Some(data) = &context.global.data_dir {
        let data = std::path::absolute(data).map_err(|error| failed(format!("{}: {error}", data.display())))?;
        words.extend([PathBuf::from("--data-dir"), data]);
    }
    let words = words.iter().map(|word| quoted(word)).collect::<Option<Vec<_>>>();
    let words =
        words.ok_or_else(|| failed("a path with a line break, or not of UTF-8, has no place there".to_owned()))?;
    Ok(format!(
        "[Desktop Entry]\nType=Application\nName=runepeer\nComment=Open an invitation\nExec={} invite open -- %u\n\
         Terminal=true\nNoDisplay=true\nMimeType=x-scheme-handler/rune;x-scheme-handler/rune-box;\n",
        words.join(" ")
    ))
}

/// A word of `Exec` (Desktop Entry Specification, "The Exec key"): in quotation marks, with the characters escaped that mean
/// something within them, and then all backslashes once more, because the value is a string.
fn quoted(path: &Path) -> Option<String> {
    let text = path.to_str().filter(|text| !text.contains(char::is_control))?;
    let mut word = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '`' | '$' => word.extend(["\\\\", &character.to_string()]),
            '\\' => word.push_str("\\\\\\\\"),
            '%' => word.push_str("%%"),
            _ => word.push(character),
        }
    }
    word.push('"');
    Some(word)
}

fn install(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let temporary = path.with_extension("desktop.new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&temporary)?;
    file.write_all(text.as_bytes())?;
    std::fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_whatever_is_in_it() {
        for (path, word) in [
            ("/usr/bin/runepeer", "\"/usr/bin/runepeer\""),
            ("/a b/%u;c", "\"/a b/%%u;c\""),
            ("/a\"b`c$d", "\"/a\\\\\"b\\\\`c\\\\$d\""),
            ("/a\\b", "\"/a\\\\\\\\b\""),
        ] {
            assert_eq!(quoted(Path::new(path)).as_deref(), Some(word));
        }
        assert_eq!(quoted(Path::new("/a\nExec=evil")), None);
    }
}
