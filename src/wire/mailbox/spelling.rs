//! How the drafts spell commands that we spell otherwise (docs/protocol.md, "Spellings of the drafts").

use crate::wire::command::{CommandError, Keyword};
use crate::wire::word::Word;

/// The command at the beginning of a line, and its parameters, in our own spelling.
///
/// # Errors
/// The command does not exist, or lacks something that its spelling in the drafts needs.
pub(in crate::wire) fn keyword_of(
    first: &str,
    mut parameters: Vec<Word>,
) -> Result<(Keyword, Vec<Word>), CommandError> {
    let keyword = match first.to_ascii_uppercase().as_str() {
        "CHALLANGE_ACCEPTED" => Keyword::ChallengeAccepted,
        "CRID" => {
            // The size of the key is dropped, because the key itself says it.
            parameters.retain(|word| word.as_text().is_none());
            parameters.insert(0, Word::text("-"));
            Keyword::Register
        }
        "RESP" => Keyword::Respond,
        "DELE" => Keyword::Delete,
        "RECV" => {
            name_message(&mut parameters)?;
            Keyword::Retrieve
        }
        "RPRT" => {
            name_message(&mut parameters)?;
            for name in ["OFFSET", "LENGTH"] {
                let value = take_text(&mut parameters, 1)?;
                parameters.push(Word::named(name, value));
            }
            Keyword::Retrieve
        }
        "MBOX" => {
            let keyword = match take_text(&mut parameters, 0)?.to_ascii_uppercase().as_str() {
                "CHECK" => Keyword::Check,
                "INDEX" => Keyword::List,
                "FETCH" => Keyword::Retrieve,
                _ => return Err(CommandError::Unknown),
            };
            select(&mut parameters);
            keyword
        }
        ours => *Keyword::ALL.iter().find(|keyword| keyword.as_str() == ours).ok_or(CommandError::Unknown)?,
    };
    Ok((keyword, parameters))
}

/// `<mailbox> <uuid>` as `<mailbox>#<uuid>`.
fn name_message(parameters: &mut Vec<Word>) -> Result<(), CommandError> {
    let mailbox = take_text(parameters, 0)?;
    let message = take_text(parameters, 0)?;
    parameters.insert(0, Word::text(format!("{mailbox}#{message}")));
    Ok(())
}

/// `<mailbox>::unread` as `<mailbox> STATE=unread`, and `<mailbox>::*` as `<mailbox>`.
fn select(parameters: &mut Vec<Word>) {
    if let Some(Word::Text(name)) = parameters.first_mut()
        && let Some((mailbox, state)) = name.rsplit_once("::")
    {
        let state = state.to_owned();
        name.truncate(mailbox.len());
        if state != "*" {
            parameters.push(Word::named("STATE", state));
        }
    }
}

fn take_text(parameters: &mut Vec<Word>, at: usize) -> Result<String, CommandError> {
    match parameters.get(at) {
        Some(Word::Text(_)) => {}
        _ => return Err(CommandError::Parameter),
    }
    match parameters.remove(at) {
        Word::Text(text) => Ok(text),
        _ => Err(CommandError::Parameter),
    }
}

#[cfg(test)]
mod tests {
    use super::super::BoxCommand;
    use super::*;
    use crate::wire::word::words;

    fn read(line: &str) -> Result<BoxCommand, CommandError> {
        let mut words = words(line, false).unwrap().remove(0);
        let first = words.remove(0);
        let (keyword, parameters) = keyword_of(first.as_text().unwrap(), words)?;
        BoxCommand::decode(keyword, &parameters).unwrap()
    }

    #[test]
    fn the_spellings_of_the_drafts_say_what_ours_say() {
        let (nonce, id) = ("ab".repeat(32), "0f".repeat(16));
        for (theirs, ours) in [
            ("CHALLANGE_ACCEPTED #7".to_owned(), "CHALLENGE_ACCEPTED #7".to_owned()),
            ("crid 2048 #7".to_owned(), "REGISTER - #7".to_owned()),
            ("CRID #7".to_owned(), "REGISTER - #7".to_owned()),
            (format!("RESP {nonce} #7"), format!("RESPOND {nonce} #7")),
            (format!("RECV box {id}"), format!("RETRIEVE box#{id}")),
            (format!("RECV box {id} +JSON"), format!("RETRIEVE box#{id} +JSON")),
            (format!("RPRT box {id} 5 END"), format!("RETRIEVE box#{id} OFFSET=5 LENGTH=END")),
            (format!("rprt box {id} 5 9"), format!("RETRIEVE box#{id} OFFSET=5 LENGTH=9")),
            (format!("DELE box {id}"), format!("DELETE box {id}")),
            ("MBOX CHECK box::* +RECURSIVE".to_owned(), "CHECK box +RECURSIVE".to_owned()),
            ("mbox index box::unread +JSON".to_owned(), "LIST box STATE=unread +JSON".to_owned()),
            ("MBOX INDEX box".to_owned(), "LIST box".to_owned()),
            (format!("MBOX FETCH box#{id} +JSON -READ"), format!("RETRIEVE box#{id} +JSON -READ")),
        ] {
            assert_eq!(read(&theirs).unwrap(), read(&ours).unwrap(), "{theirs}");
        }
    }

    #[test]
    fn what_is_missing_is_said_and_another_word_is_no_command() {
        let id = "0f".repeat(16);
        for line in [
            "RECV box".to_owned(),
            "RECV".to_owned(),
            format!("RPRT box {id}"),
            format!("RPRT box {id} 5"),
            "MBOX".to_owned(),
        ] {
            assert_eq!(read(&line), Err(CommandError::Parameter), "{line}");
        }
        for line in ["MBOX DROP box", "CRIDE #7", "BODY 7"] {
            assert_eq!(read(line), Err(CommandError::Unknown), "{line}");
        }
    }
}
