//! The name of the first identity: asked for until it is allowed.

use crate::base::LocalPart;
use crate::cli::{Context, output, prompt};
use crate::control::{Code, Failure};

/// Which names are allowed (docs/protocol.md, "Addresses").
const RULE: &str = "a name has 3 to 50 letters (a to z), digits, dots, hyphens or underscores";

/// Refuses a name that is not allowed.
pub(super) fn check(name: &str) -> Result<(), Failure> {
    match objection(name) {
        Some(objection) => {
            Err(Failure::new(Code::Usage, objection)
                .hint("nothing was made. Give another name: runepeer up --name NAME"))
        }
        None => Ok(()),
    }
}

/// Asks for a name on the terminal, again with the reason where it is not allowed.
pub(super) fn ask(context: &Context) -> Result<String, Failure> {
    context.output.warn(
        "Choose a name for your address: what stands before the @. A name has 3 to 50 letters (a to z), digits, dots,\n\
         hyphens or underscores; capital letters become small ones. Everybody you write to sees it. It need not be\n\
         your real name.",
    );
    loop {
        let name = output::ask("Name:").map_err(|error| prompt::unreadable(&error))?;
        match objection(&name) {
            None => return Ok(name),
            Some(objection) => context.output.warn(format!("{objection}.")),
        }
    }
}

/// Why a name is not allowed; `None` where it is.
fn objection(name: &str) -> Option<String> {
    let refused = LocalPart::chosen(name).err()?;
    let is_allowed = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let reason = match (name.chars().find(|c| !is_allowed(c)), name.len()) {
        (Some('@'), _) => "leave out the @ and what follows it".to_owned(),
        (Some(c), _) if c.is_whitespace() => "it has a space".to_owned(),
        (Some(c), _) if c.is_alphanumeric() => format!("it has {c}, and only the letters a to z are allowed"),
        (Some(c), _) if c.is_control() => "it has a character that cannot be seen".to_owned(),
        (Some(c), _) => format!("it has {c}"),
        (None, 0) => return Some(format!("There must be a name: {RULE}")),
        (None, 1..3) => "it is too short".to_owned(),
        (None, 3..=50) => refused.to_string(),
        (None, _) => "it is too long".to_owned(),
    };
    let shown: String = name.chars().filter(|c| !c.is_control()).take(60).collect();
    Some(format!("\"{shown}\" cannot be a name: {reason}; {RULE}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_not_allowed_is_refused_with_its_reason() {
        for name in ["bob", "Bob.Smith-2_x", &"x".repeat(50)] {
            assert_eq!(objection(name), None, "{name}");
        }
        for (name, reason) in [
            ("", "There must be a name"),
            ("bo", "too short"),
            (&"x".repeat(51), "too long"),
            ("bob smith", "a space"),
            ("bob@example.org", "leave out the @"),
            ("b\u{f6}b", "it has \u{f6}, and only the letters a to z"),
            ("bob!", "it has !"),
            ("bob\u{1b}[2J", "cannot be seen"),
            (".bob", "a dot at its beginning or end"),
            ("bob.", "a dot at its beginning or end"),
            ("bo..b", "two in a row"),
        ] {
            let words = objection(name).unwrap();
            assert!(words.contains(reason) && words.contains("3 to 50 letters"), "{name}: {words}");
            assert!(!words.contains('\u{1b}'), "{words:?}");
            assert_eq!(check(name).unwrap_err().code, Code::Usage);
        }
    }
}
