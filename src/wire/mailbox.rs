//! Commands and replies of a box, typed (docs/protocol.md, "Box").
//!
//! A server that serves no box answers their keywords without reading them further, so [`Command`](super::Command)
//! leaves them as words; a carrier reads them here.

mod parameters;
mod replies;
mod spelling;
#[cfg(test)]
mod tests;

use std::fmt;

use super::auth::Claim;
use super::command::{CommandError, Keyword, hex, line, unhex};
use super::word::{PipelineId, Word, number, words};
use crate::base::ids::ObjectId;
use parameters::{Parameters, small};
pub use replies::{Challenge, Count, Entry, IdentificationChallenge, Piece, Policy, Said};
pub(super) use spelling::keyword_of;

/// The word after `SET` for a setting of the box.
const GLOBAL: &str = "GLOBAL";

/// The secret of an invitation to a box, as it is sent.
pub type InvitationToken = [u8; 16];

/// `REGISTER` and `REGISTER_INVITATION`.
#[derive(Clone, PartialEq, Eq)]
pub struct Registration {
    /// The hosted account that is asked for; `None` (`-`) for a box that is named by the certificate's fingerprint.
    pub address: Option<String>,
    /// The secret of an invitation.
    pub invitation: Option<InvitationToken>,
    /// The size of the certificate that follows, in octets.
    pub certificate: u64,
}

/// The messages that `LIST` is to name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    /// Only messages that were read, or only those that were not.
    pub read: Option<bool>,
    /// Only messages of this epoch or a later one.
    pub since: Option<u32>,
    /// Only messages behind this one.
    pub after: Option<ObjectId>,
    /// At most this many.
    pub limit: Option<u64>,
}

/// The part of an object that `RETRIEVE` is to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The whole object.
    Whole,
    /// A range of its octets.
    Range {
        /// Where the range begins.
        offset: u64,
        /// Its length; `None` for `END`.
        length: Option<u64>,
    },
}

/// The form in which `RETRIEVE` is to give it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Style {
    /// `+JSON`: as a JSON object.
    pub json: bool,
    /// `+PRETTY`: in lines for people.
    pub pretty: bool,
    /// `-READ`: the message counts as unread afterwards.
    pub keep_unread: bool,
}

/// A command of a box.
#[derive(Clone, PartialEq, Eq)]
pub enum BoxCommand {
    /// Asks for a box.
    Register(Registration),
    /// Answers the challenge of a registration with an object.
    ChallengeAccepted {
        /// Its size in octets.
        answer: u64,
    },
    /// Asks for a challenge for an identification.
    Identify {
        /// The box.
        mailbox: String,
        /// The purpose, which is signed.
        purpose: String,
    },
    /// Answers the challenge of an identification.
    Respond {
        /// The client's part of the challenge.
        nonce: [u8; 32],
        /// The one command that the identification is for, if the server's policy demands it.
        command: Option<String>,
        /// The size of the signature that follows, in octets.
        signature: u64,
    },
    /// Uploads the hashes of the tokens of one epoch and class.
    Tokens {
        /// The epoch.
        epoch: u32,
        /// The class: objects of 2^class octets.
        class: u8,
        /// The size of the set that follows, in octets.
        size: u64,
    },
    /// Keeps a page, which may replace an earlier one.
    Page {
        /// SHA-256 of its token.
        name: [u8; 32],
        /// The last epoch in which it is kept.
        until: u32,
        /// The size of the page that follows, in octets.
        size: u64,
    },
    /// Asks for a page.
    Fetch {
        /// Its token.
        token: [u8; 32],
    },
    /// Asks to leave an object.
    Deposit {
        /// The token.
        token: [u8; 32],
        /// The object that will follow.
        claim: Claim,
    },
    /// Counts messages.
    Check {
        /// The box.
        mailbox: String,
        /// Whether boxes below it count too.
        recursive: bool,
    },
    /// Lists messages.
    List {
        /// The box.
        mailbox: String,
        /// The messages to list.
        selection: Selection,
        /// Whether to answer in JSON.
        json: bool,
    },
    /// Asks for a message.
    Retrieve {
        /// The box.
        mailbox: String,
        /// The message.
        object: ObjectId,
        /// The part of it.
        part: Part,
        /// The form of the answer.
        style: Style,
    },
    /// Deletes messages.
    Delete {
        /// The box.
        mailbox: String,
        /// The messages; at least one.
        objects: Vec<ObjectId>,
    },
    /// Asks to be told of messages that arrive.
    Watch {
        /// The box.
        mailbox: String,
    },
    /// Changes a setting.
    Set {
        /// Whether it is a setting of the box, and not of the session.
        global: bool,
        /// The name of the setting, in upper case.
        name: String,
        /// The new value.
        value: String,
    },
}

impl BoxCommand {
    /// Reads the parameters of a command; `None` where the keyword does not belong to a box.
    ///
    /// # Errors
    /// A parameter is missing, malformed, repeated, or too many. Unknown named parameters and switches are ignored.
    pub fn decode(keyword: Keyword, parameters: &[Word]) -> Option<Result<Self, CommandError>> {
        let parameters = Parameters::new(parameters);
        Some(match keyword {
            Keyword::Register => Self::register(&parameters, false),
            Keyword::RegisterInvitation => Self::register(&parameters, true),
            Keyword::ChallengeAccepted => parameters.plain().map(|([], answer)| Self::ChallengeAccepted { answer }),
            Keyword::Identify => Self::identify(&parameters),
            Keyword::Respond => parameters.plain().and_then(|([nonce], signature)| {
                let command = parameters.named("COMMAND")?.map(str::to_owned);
                Ok(Self::Respond { nonce: unhex(nonce).ok_or(CommandError::Parameter)?, command, signature })
            }),
            Keyword::Tokens => Self::tokens(&parameters),
            Keyword::Page => parameters.plain().and_then(|([name, until], size)| match (unhex(name), small(until)) {
                (Some(name), Some(until)) => Ok(Self::Page { name, until, size }),
                _ => Err(CommandError::Parameter),
            }),
            Keyword::Fetch => parameters
                .texts()
                .and_then(|[token]| Ok(Self::Fetch { token: unhex(token).ok_or(CommandError::Parameter)? })),
            Keyword::Deposit => Self::deposit(&parameters),
            Keyword::Check => parameters.texts().and_then(|[mailbox]| {
                Ok(Self::Check {
                    mailbox: mailbox.to_owned(),
                    recursive: parameters.switch("RECURSIVE")?.unwrap_or(false),
                })
            }),
            Keyword::List => Self::list(&parameters),
            Keyword::Retrieve => Self::retrieve(&parameters),
            Keyword::Delete => Self::delete(&parameters),
            Keyword::Watch => parameters.texts().map(|[mailbox]| Self::Watch { mailbox: mailbox.to_owned() }),
            Keyword::Set => Self::set(&parameters),
            Keyword::Push | Keyword::Publish | Keyword::Subscribe | Keyword::Unsubscribe => return None,
        })
    }

    /// The keyword of this command.
    pub const fn keyword(&self) -> Keyword {
        match self {
            Self::Register(Registration { invitation: None, .. }) => Keyword::Register,
            Self::Register(Registration { invitation: Some(_), .. }) => Keyword::RegisterInvitation,
            Self::ChallengeAccepted { .. } => Keyword::ChallengeAccepted,
            Self::Identify { .. } => Keyword::Identify,
            Self::Respond { .. } => Keyword::Respond,
            Self::Tokens { .. } => Keyword::Tokens,
            Self::Page { .. } => Keyword::Page,
            Self::Fetch { .. } => Keyword::Fetch,
            Self::Deposit { .. } => Keyword::Deposit,
            Self::Check { .. } => Keyword::Check,
            Self::List { .. } => Keyword::List,
            Self::Retrieve { .. } => Keyword::Retrieve,
            Self::Delete { .. } => Keyword::Delete,
            Self::Watch { .. } => Keyword::Watch,
            Self::Set { .. } => Keyword::Set,
        }
    }

    /// The line, with its line end, without the block that follows it.
    pub fn encode(&self, id: Option<&PipelineId>) -> String {
        let mut words = Vec::new();
        if let Some(id) = id {
            words.extend([Word::text("AS"), Word::text(id.as_str())]);
        }
        words.extend(self.command_line());
        line(&words)
    }

    /// Reads a whole line, without its line end and without an id. A signature for one command names the command in
    /// this form.
    pub fn from_line(text: &str) -> Option<Self> {
        let commands = words(text, false).ok()?;
        let (keyword, parameters) = commands.first()?.split_first()?;
        let (keyword, parameters) = keyword_of(keyword.as_text()?, parameters.to_vec()).ok()?;
        Self::decode(keyword, &parameters)?.ok()
    }

    /// The line in the form that a signature for this command names.
    pub fn to_line(&self) -> String {
        self.encode(None).trim_end().to_owned()
    }

    fn command_line(&self) -> Vec<Word> {
        let mut words = vec![Word::text(self.keyword().as_str())];
        self.push_parameters(&mut words);
        words
    }

    fn push_parameters(&self, words: &mut Vec<Word>) {
        match self {
            Self::Register(Registration { address, invitation, certificate }) => {
                words.push(Word::text(address.as_deref().unwrap_or("-")));
                words.extend(invitation.map(|token| Word::text(data_encoding::HEXLOWER.encode(&token))));
                words.push(Word::Block(*certificate));
            }
            Self::ChallengeAccepted { answer } => words.push(Word::Block(*answer)),
            Self::Identify { mailbox, purpose } => {
                words.push(Word::text(mailbox));
                if !purpose.is_empty() {
                    words.push(Word::named("PURPOSE", purpose));
                }
            }
            Self::Respond { nonce, command, signature } => {
                words.extend([Word::text(hex(nonce)), Word::Block(*signature)]);
                words.extend(command.as_ref().map(|command| Word::named("COMMAND", command)));
            }
            Self::Tokens { epoch, class, size } => {
                words.extend([Word::text(epoch.to_string()), Word::text(class.to_string()), Word::Block(*size)]);
            }
            Self::Page { name, until, size } => {
                words.extend([Word::text(hex(name)), Word::text(until.to_string()), Word::Block(*size)]);
            }
            Self::Fetch { token } => words.push(Word::text(hex(token))),
            Self::Deposit { token, claim } => words.extend([
                Word::text(hex(token)),
                Word::named("HASH", hex(&claim.hash)),
                Word::named("SIZE", claim.size.to_string()),
            ]),
            Self::Check { mailbox, recursive } => {
                words.push(Word::text(mailbox));
                words.extend(recursive.then(|| Word::switch("RECURSIVE", true)));
            }
            Self::List { mailbox, selection, json } => {
                words.push(Word::text(mailbox));
                let Selection { read, since, after, limit } = selection;
                words.extend(read.map(|read| Word::named("STATE", if read { "read" } else { "unread" })));
                words.extend(since.map(|since| Word::named("SINCE", since.to_string())));
                words.extend(after.map(|after| Word::named("AFTER", after.to_string())));
                words.extend(limit.map(|limit| Word::named("LIMIT", limit.to_string())));
                words.extend(json.then(|| Word::switch("JSON", true)));
            }
            Self::Retrieve { mailbox, object, part, style } => {
                words.push(Word::text(format!("{mailbox}#{object}")));
                if let Part::Range { offset, length } = part {
                    words.push(Word::named("OFFSET", offset.to_string()));
                    words.push(Word::named("LENGTH", length.map_or("END".to_owned(), |length| length.to_string())));
                }
                words.extend(style.json.then(|| Word::switch("JSON", true)));
                words.extend(style.pretty.then(|| Word::switch("PRETTY", true)));
                words.extend(style.keep_unread.then(|| Word::switch("READ", false)));
            }
            Self::Delete { mailbox, objects } => {
                words.push(Word::text(mailbox));
                words.extend(objects.iter().map(|object| Word::text(object.to_string())));
            }
            Self::Watch { mailbox } => words.push(Word::text(mailbox)),
            Self::Set { global, name, value } => {
                words.extend(global.then(|| Word::text(GLOBAL)));
                words.extend([Word::text(name), Word::text(value)]);
            }
        }
    }

    fn register(parameters: &Parameters<'_>, invited: bool) -> Result<Self, CommandError> {
        let (address, invitation, certificate) = if invited {
            let ([address, token], certificate) = parameters.plain()?;
            (address, Some(token_of(token).ok_or(CommandError::Parameter)?), certificate)
        } else {
            let ([address], certificate) = parameters.plain()?;
            (address, None, certificate)
        };
        let address = (address != "-").then(|| address.to_owned());
        Ok(Self::Register(Registration { address, invitation, certificate }))
    }

    fn identify(parameters: &Parameters<'_>) -> Result<Self, CommandError> {
        let [mailbox] = parameters.texts()?;
        let purpose = parameters.named("PURPOSE")?.unwrap_or_default().to_owned();
        Ok(Self::Identify { mailbox: mailbox.to_owned(), purpose })
    }

    fn tokens(parameters: &Parameters<'_>) -> Result<Self, CommandError> {
        let ([epoch, class], size) = parameters.plain()?;
        let (epoch, class) = (small(epoch), small(class).and_then(|class| u8::try_from(class).ok()));
        let (Some(epoch), Some(class)) = (epoch, class) else { return Err(CommandError::Parameter) };
        Ok(Self::Tokens { epoch, class, size })
    }

    fn deposit(parameters: &Parameters<'_>) -> Result<Self, CommandError> {
        let [token] = parameters.texts()?;
        let hash = parameters.named("HASH")?.and_then(unhex);
        let size = parameters.named("SIZE")?.and_then(number);
        match (unhex(token), hash, size) {
            (Some(token), Some(hash), Some(size)) => Ok(Self::Deposit { token, claim: Claim { hash, size } }),
            _ => Err(CommandError::Parameter),
        }
    }

    fn list(parameters: &Parameters<'_>) -> Result<Self, CommandError> {
        let [mailbox] = parameters.texts()?;
        let read = parameters.parsed("STATE", |state| match state {
            "read" => Some(true),
            "unread" => Some(false),
            _ => None,
        })?;
        let selection = Selection {
            read,
            since: parameters.parsed("SINCE", small)?,
            after: parameters.parsed("AFTER", |after| after.parse().ok())?,
            limit: parameters.parsed("LIMIT", number)?,
        };
        let json = parameters.switch("JSON")?.unwrap_or(false);
        Ok(Self::List { mailbox: mailbox.to_owned(), selection, json })
    }

    fn retrieve(parameters: &Parameters<'_>) -> Result<Self, CommandError> {
        let [name] = parameters.texts()?;
        let (mailbox, object) = name.rsplit_once('#').ok_or(CommandError::Parameter)?;
        let object = object.parse().map_err(|_| CommandError::Parameter)?;
        let offset = parameters.parsed("OFFSET", number)?;
        let length = parameters.parsed("LENGTH", |length| match length {
            "END" => Some(None),
            length => number(length).map(Some),
        })?;
        let part = match (offset, length) {
            (None, None) => Part::Whole,
            (offset, length) => Part::Range { offset: offset.unwrap_or(0), length: length.flatten() },
        };
        let style = Style {
            json: parameters.switch("JSON")?.unwrap_or(false),
            pretty: parameters.switch("PRETTY")?.unwrap_or(false),
            keep_unread: parameters.switch("READ")? == Some(false),
        };
        Ok(Self::Retrieve { mailbox: mailbox.to_owned(), object, part, style })
    }

    fn set(parameters: &Parameters<'_>) -> Result<Self, CommandError> {
        let (global, name, value) = match parameters.all_texts()? {
            [global, name, value] if global.eq_ignore_ascii_case(GLOBAL) => (true, name, value),
            [name, value] if !name.eq_ignore_ascii_case(GLOBAL) => (false, name, value),
            _ => return Err(CommandError::Parameter),
        };
        Ok(Self::Set { global, name: name.to_ascii_uppercase(), value: (*value).to_owned() })
    }

    fn delete(parameters: &Parameters<'_>) -> Result<Self, CommandError> {
        let Some((mailbox, objects)) =
            parameters.all_texts()?.split_first().map(|(first, rest)| (*first, rest.to_vec()))
        else {
            return Err(CommandError::Parameter);
        };
        let objects: Option<Vec<ObjectId>> = objects.into_iter().map(|object| object.parse().ok()).collect();
        match objects {
            Some(objects) if !objects.is_empty() => Ok(Self::Delete { mailbox: mailbox.to_owned(), objects }),
            _ => Err(CommandError::Parameter),
        }
    }
}

impl fmt::Debug for BoxCommand {
    /// The kind of command only, without names and secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BoxCommand({})", self.keyword().as_str())
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration").field("invited", &self.invitation.is_some()).finish_non_exhaustive()
    }
}

fn token_of(text: &str) -> Option<InvitationToken> {
    data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?.try_into().ok()
}
