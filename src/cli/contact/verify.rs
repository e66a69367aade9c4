//! `runepeer contact verify`: the number that two people compare, and the mark that it was the same.

use crate::cli::prompt::unreadable;
use crate::cli::show::show;
use crate::cli::{Context, output};
use crate::control::reply::Verification;
use crate::control::{Command, Failure};

pub(super) fn run(context: &Context, who: String) -> Result<(), Failure> {
    let ask = |who: String, same| context.ask::<Verification>(Command::ContactVerify { who, same });
    let seen = ask(who, context.global.yes.then_some(true))?;
    show(context, &seen, |seen| seen.number.clone());
    let Verification { petname, address, verified_at, .. } = seen;
    if context.global.yes {
        context.output.say(format!("{petname} is marked as verified."));
        return Ok(());
    }
    context.output.say(format!(
        "Compare this number with {petname}, where nobody can change what you say or show: in person, or by a voice that you \
         know. At theirs it is shown by: runepeer contact verify, with their name for you."
    ));
    if let Some(at) = &verified_at {
        context.output.say(format!("{petname} is marked as verified since {at}."));
    }
    if context.output.is_json() || !output::can_ask(context.global.no_input) {
        context.output.say(format!("Where it is the same, mark them: runepeer contact verify {petname} --yes"));
        return Ok(());
    }
    // By the address, so that the mark goes to the identity whose number was shown.
    match asked()? {
        Some(true) => {
            ask(address, Some(true))?;
            context.output.say(format!("{petname} is marked as verified."));
        }
        Some(false) => {
            ask(address, Some(false))?;
            context.output.warn(format!(
                "{petname} is not marked as verified. If you compared whole numbers, you have another key or address for \
                 {petname} than they have, or they for you: write nothing secret to them, remove them (runepeer contact rm \
                 {petname}), and exchange a new invitation in person."
            ));
        }
        None => context.output.say("Nothing was changed."),
    }
    Ok(())
}

/// Whether the numbers are the same; `None` where only Enter was pressed.
fn asked() -> Result<Option<bool>, Failure> {
    let mut question = "Is it the same at both sides? [y/n, Enter leaves the mark as it is]";
    loop {
        match output::ask(question).map_err(|error| unreadable(&error))?.to_ascii_lowercase().as_str() {
            "" => return Ok(None),
            "y" | "yes" => return Ok(Some(true)),
            "n" | "no" => return Ok(Some(false)),
            _ => question = "Answer with y or n, or press Enter.",
        }
    }
}
