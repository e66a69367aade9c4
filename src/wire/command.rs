//! Commands of a client, typed (docs/protocol.md, "Delivery", "Box", "Carriage", "Notices" and "Settings").

use std::fmt;

use super::auth::{Claim, Mac};
use super::mailbox::keyword_of;
use super::word::{PipelineId, Word, number};

/// A command or reply, with the name that the client gave to the command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tagged<T> {
    /// From `AS <id>`.
    pub id: Option<PipelineId>,
    /// The rest of the line.
    pub body: T,
}

/// How urgent the sender says that a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Importance {
    /// `-IMPORTANT`
    Low,
    /// Neither switch.
    #[default]
    Normal,
    /// `+IMPORTANT`
    High,
}

/// `SEND <address> [CERT= SERVER= HASH= SIZE= AUTH= ONWARD=] [+IMPORTANT|-IMPORTANT] [+SECURE]`
#[derive(Clone, PartialEq, Eq)]
pub struct Send {
    /// The receiver, as it is written; the session reads it as an address.
    pub to: String,
    /// The digest of the receiver's certificate that the sender has.
    pub certificate: Option<[u8; 32]>,
    /// The digest of the server's certificate that the sender has.
    pub server: Option<[u8; 32]>,
    /// The object that will follow.
    pub claim: Option<Claim>,
    /// The authenticator over the claim.
    pub auth: Option<Mac>,
    /// The authenticator for the receiver, where the receiver of this SEND is to forward the object to another node.
    pub onward: Option<Mac>,
    /// How urgent the message is.
    pub importance: Importance,
    /// Whether the sender prefers a refusal to any delivery that is not sealed to the certificate that it names.
    pub secure: bool,
}

/// `MESSAGE <sender or -> #<size>`
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// The sender's address, where a hosting server is told it; `None` for `-`.
    pub sender: Option<String>,
    /// The size of the block that follows.
    pub size: u64,
}

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `HOWDY <version> …`: the versions that the client speaks.
    Howdy(Vec<String>),
    /// Asks to send an object.
    Send(Send),
    /// Sends the object.
    Message(Message),
    /// Ends the session.
    Quit,
    /// A command of RUNE/1 that this server does not serve.
    Unsupported {
        /// Its keyword.
        keyword: Keyword,
        /// Its parameters.
        parameters: Vec<Word>,
    },
}

/// Why a command is refused. The session goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The command does not exist.
    #[error("no such command")]
    Unknown,
    /// A parameter is missing, malformed, repeated, or too many.
    #[error("a parameter is missing or malformed")]
    Parameter,
    /// The same mistake in a SEND: a later MESSAGE with its id belongs to this SEND, and not to one before it.
    #[error("a parameter of SEND is missing or malformed")]
    Send,
}

macro_rules! keywords {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)+) => {
        /// Commands of RUNE/1 beyond delivery.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Keyword {
            $($(#[$doc])* $name,)+
        }

        impl Keyword {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The word on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),+ }
            }
        }
    };
}

keywords! {
    /// Register a box.
    Register = "REGISTER";
    /// Register a box with an invitation.
    RegisterInvitation = "REGISTER_INVITATION";
    /// Answer a registration challenge.
    ChallengeAccepted = "CHALLENGE_ACCEPTED";
    /// Ask for an identification challenge.
    Identify = "IDENTIFY";
    /// Answer an identification challenge.
    Respond = "RESPOND";
    /// Leave an object at a box.
    Deposit = "DEPOSIT";
    /// Upload the hashes of tokens.
    Tokens = "TOKENS";
    /// Keep a page for everybody who has its token.
    Page = "PAGE";
    /// Give a page.
    Fetch = "FETCH";
    /// Count messages.
    Check = "CHECK";
    /// List messages.
    List = "LIST";
    /// Read a message or a part.
    Retrieve = "RETRIEVE";
    /// Delete messages.
    Delete = "DELETE";
    /// Be told of new messages.
    Watch = "WATCH";
    /// Send a notice.
    Push = "PUSH";
    /// Publish to a node.
    Publish = "PUBLISH";
    /// Subscribe to a node, or list subscriptions.
    Subscribe = "SUBSCRIBE";
    /// End a subscription.
    Unsubscribe = "UNSUBSCRIBE";
    /// Change a setting.
    Set = "SET";
}

impl Command {
    /// Reads the words of a line. The id is returned even where the rest is wrong, so that the reply can carry it.
    pub fn decode(words: Vec<Word>) -> Tagged<Result<Self, CommandError>> {
        let mut words = words.into_iter().peekable();
        if words.peek().is_none_or(|first| !first.is_keyword("AS")) {
            return Tagged { id: None, body: Self::from_words(words.collect()) };
        }
        words.next();
        match words.next().and_then(|id| id.as_text()?.parse().ok()) {
            Some(id) => Tagged { id: Some(id), body: Self::from_words(words.collect()) },
            None => Tagged { id: None, body: Err(CommandError::Parameter) },
        }
    }

    /// The line, with its line end, without the blocks that follow it.
    pub fn encode(&self, id: Option<&PipelineId>) -> String {
        let mut words = Vec::new();
        if let Some(id) = id {
            words.extend([Word::text("AS"), Word::text(id.as_str())]);
        }
        self.push_words(&mut words);
        line(&words)
    }

    fn from_words(words: Vec<Word>) -> Result<Self, CommandError> {
        let mut words = words.into_iter();
        let keyword = match words.next() {
            Some(Word::Text(keyword)) => keyword.to_ascii_uppercase(),
            _ => return Err(CommandError::Unknown),
        };
        let parameters: Vec<Word> = words.collect();
        match keyword.as_str() {
            "HOWDY" => Ok(Self::Howdy(parameters.iter().filter_map(Word::as_text).map(str::to_owned).collect())),
            "SEND" => Send::from_words(parameters).map(Self::Send).map_err(|_| CommandError::Send),
            "MESSAGE" => Message::from_words(&parameters).map(Self::Message),
            "QUIT" if parameters.is_empty() => Ok(Self::Quit),
            "QUIT" => Err(CommandError::Parameter),
            other => {
                let (keyword, parameters) = keyword_of(other, parameters)?;
                Ok(Self::Unsupported { keyword, parameters })
            }
        }
    }

    fn push_words(&self, words: &mut Vec<Word>) {
        match self {
            Self::Howdy(versions) => {
                words.push(Word::text("HOWDY"));
                words.extend(versions.iter().map(Word::text));
            }
            Self::Send(send) => send.push_words(words),
            Self::Message(message) => {
                let sender = message.sender.as_deref().unwrap_or("-");
                words.extend([Word::text("MESSAGE"), Word::text(sender), Word::Block(message.size)]);
            }
            Self::Quit => words.push(Word::text("QUIT")),
            Self::Unsupported { keyword, parameters } => {
                words.push(Word::text(keyword.as_str()));
                words.extend(parameters.iter().cloned());
            }
        }
    }
}

impl Send {
    /// A SEND with nothing but the receiver.
    pub fn to(address: impl Into<String>) -> Self {
        Self {
            to: address.into(),
            certificate: None,
            server: None,
            claim: None,
            auth: None,
            onward: None,
            importance: Importance::Normal,
            secure: false,
        }
    }

    fn from_words(parameters: Vec<Word>) -> Result<Self, CommandError> {
        let mut parameters = parameters.into_iter();
        let Some(Word::Text(to)) = parameters.next() else { return Err(CommandError::Parameter) };
        let mut send = Self::to(to);
        let (mut hash, mut size, mut important) = (None, None, None);
        for parameter in parameters {
            match parameter {
                Word::Named { name, value } => match name.as_str() {
                    "CERT" => once(&mut send.certificate, unhex(&value))?,
                    "SERVER" => once(&mut send.server, unhex(&value))?,
                    "HASH" => once(&mut hash, unhex(&value))?,
                    "AUTH" => once(&mut send.auth, unhex(&value))?,
                    "ONWARD" => once(&mut send.onward, unhex(&value))?,
                    "SIZE" => once(&mut size, number(&value))?,
                    _ => {}
                },
                Word::Switch { name, on } => match name.as_str() {
                    "IMPORTANT" => once(&mut important, Some(on))?,
                    "SECURE" => send.secure = on,
                    _ => {}
                },
                Word::Text(_) | Word::Block(_) => return Err(CommandError::Parameter),
            }
        }
        send.claim = match (hash, size) {
            (Some(hash), Some(size)) => Some(Claim { hash, size }),
            (None, None) => None,
            _ => return Err(CommandError::Parameter),
        };
        if (send.auth.is_some() || send.onward.is_some()) && send.claim.is_none() {
            return Err(CommandError::Parameter);
        }
        send.importance = match important {
            Some(true) => Importance::High,
            Some(false) => Importance::Low,
            None => Importance::Normal,
        };
        Ok(send)
    }

    fn push_words(&self, words: &mut Vec<Word>) {
        words.extend([Word::text("SEND"), Word::text(&self.to)]);
        let hashes =
            [("CERT", self.certificate), ("SERVER", self.server), ("HASH", self.claim.map(|claim| claim.hash))];
        words.extend(hashes.into_iter().filter_map(|(name, value)| Some(Word::named(name, hex(&value?)))));
        words.extend(self.claim.map(|claim| Word::named("SIZE", claim.size.to_string())));
        words.extend(self.auth.map(|auth| Word::named("AUTH", hex(&auth))));
        words.extend(self.onward.map(|onward| Word::named("ONWARD", hex(&onward))));
        match self.importance {
            Importance::Low => words.push(Word::switch("IMPORTANT", false)),
            Importance::Normal => {}
            Importance::High => words.push(Word::switch("IMPORTANT", true)),
        }
        if self.secure {
            words.push(Word::switch("SECURE", true));
        }
    }
}

impl Message {
    fn from_words(parameters: &[Word]) -> Result<Self, CommandError> {
        match parameters {
            [Word::Text(sender), Word::Block(size)] => {
                Ok(Self { sender: (sender != "-").then(|| sender.clone()), size: *size })
            }
            _ => Err(CommandError::Parameter),
        }
    }
}

impl fmt::Debug for Send {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Send").field("authenticated", &self.auth.is_some()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message").field("size", &self.size).finish_non_exhaustive()
    }
}

/// The words as a line, with its line end.
pub(super) fn line(words: &[Word]) -> String {
    let mut line = String::new();
    for (index, word) in words.iter().enumerate() {
        if index > 0 {
            line.push(' ');
        }
        word.encode(&mut line);
    }
    line.push('\n');
    line
}

pub(super) fn hex(bytes: &[u8; 32]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

pub(super) fn unhex(text: &str) -> Option<[u8; 32]> {
    data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?.try_into().ok()
}

pub(super) fn once<T>(place: &mut Option<T>, value: Option<T>) -> Result<(), CommandError> {
    let value = value.ok_or(CommandError::Parameter)?;
    if place.replace(value).is_some() { Err(CommandError::Parameter) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::super::{Decoder, Item, Side};
    use super::*;
    use proptest::prelude::*;

    fn decode(line: &str) -> Tagged<Result<Command, CommandError>> {
        let mut decoder = Decoder::new(Side::Commands);
        decoder.push(line.as_bytes());
        match decoder.next_item() {
            Ok(Some(Item::Line(words))) => Command::decode(words),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn keywords_are_read_in_any_case_and_unknown_extensions_ignored() {
        let expected = Command::Send(Send { importance: Importance::High, secure: true, ..Send::to("Bob@x") });
        let read = decode("as Q-1 Send  Bob@x  +important +Secure +LATER when=\"2 h\"\r\n");
        assert_eq!(read.id.unwrap().as_str(), "Q-1");
        assert_eq!(read.body, Ok(expected));
    }

    #[test]
    fn wrong_parameters_are_told_from_wrong_commands() {
        let hash = "0".repeat(64);
        for line in [
            "SEND".to_owned(),
            "SEND a b".to_owned(),
            "SEND +IMPORTANT a".to_owned(),
            "SEND a #3".to_owned(),
            format!("SEND a HASH={hash}"),
            "SEND a SIZE=3".to_owned(),
            format!("SEND a AUTH={hash}"),
            format!("SEND a ONWARD={hash}"),
            format!("SEND a HASH={hash} SIZE=3 ONWARD={hash} ONWARD={hash}"),
            format!("SEND a HASH={hash} HASH={hash} SIZE=3"),
            format!("SEND a HASH={hash}0 SIZE=3"),
            format!("SEND a HASH={hash} SIZE=03"),
            format!("SEND a HASH={hash} SIZE=-3"),
            "SEND a +IMPORTANT -IMPORTANT".to_owned(),
            "MESSAGE -".to_owned(),
            "MESSAGE #3".to_owned(),
            "MESSAGE - 3".to_owned(),
            "MESSAGE - #3 #3".to_owned(),
            "QUIT now".to_owned(),
            "AS a:b QUIT".to_owned(),
            "AS".to_owned(),
        ] {
            let wrong = if line.starts_with("SEND") { CommandError::Send } else { CommandError::Parameter };
            assert_eq!(decode(&format!("{line}\n")).body, Err(wrong), "{line}");
        }
        for line in ["EHLO x", "GET / HTTP/1.1", "AS 1", "+SEND a", "#3"] {
            assert_eq!(decode(&format!("{line}\n")).body, Err(CommandError::Unknown), "{line}");
        }
    }

    fn text() -> impl Strategy<Value = String> {
        prop_oneof!["[a-z0-9./+@-]{1,60}", "[^\\p{Cc}]{1,30}"]
    }

    fn send() -> impl Strategy<Value = Command> {
        let importance = prop_oneof![Just(Importance::Low), Just(Importance::Normal), Just(Importance::High)];
        let claim = (any::<[u8; 32]>(), any::<u64>(), any::<[Option<[u8; 32]>; 2]>());
        (text(), any::<[Option<[u8; 32]>; 2]>(), prop::option::of(claim), importance, any::<bool>()).prop_map(
            |(to, [certificate, server], claim, importance, secure)| {
                let [auth, onward] = claim.map_or([None, None], |(_, _, macs)| macs);
                let claim = claim.map(|(hash, size, _)| Claim { hash, size });
                Command::Send(Send { to, certificate, server, claim, auth, onward, importance, secure })
            },
        )
    }

    fn command() -> impl Strategy<Value = Command> {
        prop_oneof![
            prop::collection::vec("RUNE/[1-9]{1,3}", 0..4).prop_map(Command::Howdy),
            send(),
            (prop::option::of("[a-z]{3}@[a-z]{1,9}"), any::<u64>())
                .prop_map(|(sender, size)| Command::Message(Message { sender, size })),
            Just(Command::Quit),
            (prop::sample::select(Keyword::ALL), prop::collection::vec(text().prop_map(Word::Text), 0..4))
                .prop_map(|(keyword, parameters)| Command::Unsupported { keyword, parameters }),
        ]
    }

    proptest! {
        #[test]
        fn every_command_reads_as_it_was_written(command in command(), id in prop::option::of("[A-Za-z0-9._-]{1,32}")) {
            let id: Option<PipelineId> = id.map(|id| id.parse().unwrap());
            let line = command.encode(id.as_ref());
            prop_assert!(line.ends_with('\n') && line.matches('\n').count() == 1);
            let read = decode(&line);
            prop_assert_eq!(read.id, id);
            prop_assert_eq!(read.body, Ok(command));
        }
    }
}
