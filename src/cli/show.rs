//! How commands answer and ask: words or JSON, questions before something is removed, and what is pasted.

use std::io::{IsTerminal, Read};

use serde::Serialize;

use super::{Context, args, output};
use crate::base::Timestamp;
use crate::control::reply::Done;
use crate::control::{Code, Failure};

/// The most bytes that are read for an invitation or a bridge: many times the longest, because mail may be pasted with it.
pub(super) const PASTED: usize = 64 * crate::base::limits::KIB;

/// Prints an answer: as JSON where asked for, else in words.
pub(super) fn show<R: Serialize>(context: &Context, answer: &R, words: impl FnOnce(&R) -> String) {
    if context.output.is_json() {
        context.output.object(answer);
    } else {
        let words = words(answer);
        if !words.is_empty() {
            context.output.data(words.trim_end());
        }
    }
}

/// Reports that a command was done: in words, or as an object without fields of its own.
pub(super) fn done(context: &Context, words: &str) {
    if context.output.is_json() {
        context.output.object(&Done {});
    } else {
        context.output.say(words);
    }
}

/// Asks before something is removed.
pub(super) fn confirm(context: &Context, question: &str) -> Result<(), Failure> {
    if context.global.yes {
        return Ok(());
    }
    let refused = || Failure::new(Code::Usage, "nothing was changed").hint("say yes with --yes");
    if !output::can_ask(context.global.no_input) {
        return Err(refused());
    }
    match output::ask_whether(question, false) {
        Ok(true) => Ok(()),
        _ => Err(refused()),
    }
}

/// The time of `--expires`, in seconds.
pub(super) fn life_secs(expires: &str) -> Result<u64, Failure> {
    args::span_secs(expires).ok_or_else(|| {
        Failure::new(Code::Usage, format!("--expires {expires} is not a span of time"))
            .hint("write a number and m, h, d or w: 12h, 7d, 4w")
    })
}

/// Until when something works, for people: `until 2026-12-07 14:00 UTC (7 days)`. Takes a time of the JSON interface; one that
/// cannot be read is shown as it is.
pub(super) fn until(expires_at: &str, now: Timestamp) -> String {
    let Some(end) = Timestamp::parse_rfc3339(expires_at) else { return format!("until {expires_at}") };
    let minutes = end.since(now).as_secs() / 60;
    let (number, unit) = match minutes {
        2880.. => (minutes / 1440, "days"),
        120.. => (minutes / 60, "hours"),
        1 => (1, "minute"),
        _ => (minutes, "minutes"),
    };
    let time = end.civil();
    format!(
        "until {:04}-{:02}-{:02} {:02}:{:02} UTC ({number} {unit})",
        time.year, time.month, time.day, time.hour, time.minute
    )
}

/// A text that is pasted, or comes from standard input.
pub(super) fn pasted(question: &str) -> Result<String, Failure> {
    read_stdin(question, PASTED)
}

/// Reads standard input to its end. Input that is too long is refused, never cut.
pub(super) fn read_stdin(question: &str, most: usize) -> Result<String, Failure> {
    let is_terminal = std::io::stdin().is_terminal();
    if is_terminal {
        output::Output::new(false, false).warn(question);
    }
    let mut text = String::new();
    std::io::stdin()
        .lock()
        .take(most as u64 + 1)
        .read_to_string(&mut text)
        .map_err(|error| Failure::new(Code::Failed, format!("standard input cannot be read as text: {error}")))?;
    if is_terminal && !text.ends_with('\n') {
        output::Output::new(false, false).warn("");
    }
    if text.len() > most {
        return Err(Failure::new(Code::Usage, format!("standard input has more than {most} bytes")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_as_a_date_and_as_a_span() {
        let at = |text: &str| Timestamp::parse_rfc3339(text).unwrap();
        let told = |now: &str| until("2026-12-07T15:00:00Z", at(now));
        for (now, span) in [
            ("2026-11-30T14:30:00Z", "7 days"),
            ("2026-12-05T15:00:00Z", "2 days"),
            ("2026-12-05T15:00:01Z", "47 hours"),
            ("2026-12-07T13:00:00Z", "2 hours"),
            ("2026-12-07T13:00:01Z", "119 minutes"),
            ("2026-12-07T14:59:00Z", "1 minute"),
            ("2026-12-08T00:00:00Z", "0 minutes"),
        ] {
            assert_eq!(told(now), format!("until 2026-12-07 15:00 UTC ({span})"), "{now}");
        }
        assert_eq!(until("soon", at("2026-12-07T15:00:00Z")), "until soon");
    }
}
