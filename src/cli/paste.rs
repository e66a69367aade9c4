//! An invitation that is pasted at a terminal: it is taken at Enter as soon as all of it is there, and asked for again
//! where it is mistyped.

use std::io::{self, BufRead, ErrorKind, Write};
use std::path::PathBuf;

use rustix::termios::{LocalModes, SpecialCodeIndex};

use super::prompt::{TRIES, unreadable};
use super::show::PASTED;
use super::signals::Asking;
use super::{Context, output, qr, show};
use crate::control::Failure;
use crate::daemon::{Progress, progress};

/// In tenths of a second: a pause in which nothing comes is the end of what was pasted.
const PAUSE: u8 = 2;
/// What Ctrl-D sends.
const CTRL_D: u8 = 4;

/// The invitation in the arguments or in a picture, or the one that is pasted, or that comes from standard input.
pub(super) fn given_or_pasted(
    context: &Context,
    given: Option<String>,
    picture: Option<PathBuf>,
) -> Result<String, Failure> {
    if let Some(picture) = picture {
        return qr::invitation(&picture);
    }
    match given.filter(|text| text != "-") {
        Some(text) => Ok(text),
        None if output::can_ask(context.global.no_input) => ask(context),
        None => show::pasted("Paste the invitation, then press Enter and Ctrl-D:"),
    }
}

fn ask(context: &Context) -> Result<String, Failure> {
    let asking = Asking::begin().map_err(|error| unreadable(&error))?;
    context.output.warn("Paste the invitation, then press Enter:");
    let mut tries = 1;
    loop {
        let text = read(context, &asking).map_err(|error| unreadable(&error))?;
        if text.trim().is_empty() {
            return Err(unreadable(&ErrorKind::UnexpectedEof.into()));
        }
        match progress(&text) {
            Progress::Begun(failure) | Progress::Wrong(failure) if tries < TRIES => {
                context.output.warn(format!("{failure}. Paste it again, then press Enter:"));
                tries += 1;
            }
            Progress::Begun(failure) | Progress::Wrong(failure) => return Err(failure),
            Progress::Whole => return Ok(text),
        }
    }
}

/// Reads until the text holds an invitation, or something that cannot be one, or ends.
fn read(context: &Context, asking: &Asking) -> io::Result<String> {
    let (mut bytes, mut is_told) = (Vec::new(), false);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    loop {
        let line = next(&mut io::stdin().lock())?;
        bytes.extend_from_slice(&line);
        // A terminal gives a line at a time. One without an end, or nothing, is given at Ctrl-D.
        let mut is_end = !line.ends_with(b"\n");
        if is_end && !line.is_empty() {
            io::stderr().write_all(b"\n")?;
        }
        // The shell would take for a command what was pasted behind an invitation.
        let behind = behind(asking)?;
        if !matches!(progress(&text(&bytes)), Progress::Whole) {
            is_end |= behind.contains(&CTRL_D);
            bytes.extend(behind.iter().filter(|byte| **byte != CTRL_D));
        }
        let text = text(&bytes);
        if is_end || !matches!(progress(&text), Progress::Begun(_)) {
            return Ok(text);
        }
        if bytes.len() > PASTED {
            return Err(io::Error::other(format!("it has more than {PASTED} bytes")));
        }
        if behind.is_empty() && !is_told && !text.trim().is_empty() {
            context.output.warn("That is no whole invitation yet. Paste the rest and press Enter, or press Ctrl-D:");
            is_told = true;
        }
    }
}

/// The next piece of the input; empty at its end.
fn next(input: &mut impl BufRead) -> io::Result<Vec<u8>> {
    loop {
        match input.fill_buf() {
            Ok(piece) => {
                let piece = piece.to_owned();
                input.consume(piece.len());
                return Ok(piece);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The input that follows a line without a pause: it was pasted together with that line, because nobody types so fast.
fn behind(asking: &Asking) -> io::Result<Vec<u8>> {
    asking.change(io::stdin(), |settings| {
        settings.local_modes.remove(LocalModes::ICANON);
        settings.special_codes[SpecialCodeIndex::VMIN] = 0;
        settings.special_codes[SpecialCodeIndex::VTIME] = PAUSE;
    })?;
    let mut behind = Vec::new();
    while behind.len() <= PASTED {
        let piece = next(&mut io::stdin().lock())?;
        if piece.is_empty() {
            break;
        }
        behind.extend(piece);
    }
    asking.restore();
    Ok(behind)
}
