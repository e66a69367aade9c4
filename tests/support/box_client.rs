//! A client of a box that follows docs/protocol.md, "Box", with real keys, over the socket of a node on this machine.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use runepeer::base::ids::Fingerprint;
use runepeer::base::{ContentId, Onion, OnionSeed, Timestamp, TokenSeed};
use runepeer::mail::proof::{IdentificationProof, RegistrationProof};
use runepeer::mail::{Content, ContentKind, Invitation};
use runepeer::pgp::{self, Certificate, SecretKeys};
use runepeer::store::OsRng;
use runepeer::wire::mailbox::{BoxCommand, Challenge, IdentificationChallenge, Registration, Said};
use runepeer::wire::token::{Class, Token, epoch, hash_of, token};
use runepeer::wire::{Command, Decoder, Item, Message, Reply, ServerLine, Side};

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// New keys: of a box, or of somebody who deposits.
pub(crate) fn new_keys() -> SecretKeys {
    let onion = Onion::of_seed(&OnionSeed::random(&mut OsRng));
    pgp::generate(now(), onion, &mut OsRng).expect("keys can be made").keys
}

/// A reply with its blocks.
pub(crate) struct Answer {
    pub(crate) reply: Reply,
    pub(crate) blocks: Vec<Vec<u8>>,
}

impl Answer {
    pub(crate) fn code(&self) -> u16 {
        self.reply.code.number()
    }

    pub(crate) fn said<T: Said>(&self) -> T {
        T::from_words(&self.reply.words).expect("as specified")
    }
}

/// One connection to a carrier.
pub(crate) struct Session {
    onion: Onion,
    stream: UnixStream,
    decoder: Decoder,
}

impl Session {
    /// Connects and reads the greeting.
    pub(crate) fn connect(peers: &Path, onion: Onion) -> io::Result<Self> {
        let stream = UnixStream::connect(peers.join(onion.label()))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut session = Self { onion, stream, decoder: Decoder::new(Side::Replies) };
        let greeting = session.line()?;
        match ServerLine::decode(greeting) {
            Ok(ServerLine::Greeting(greeting)) if greeting.capabilities == ["BOX"] => Ok(session),
            _ => Err(io::Error::other("no box")),
        }
    }

    /// Sends a command with its block, and reads the reply with all its lines.
    pub(crate) fn ask(&mut self, command: &BoxCommand, block: &[u8]) -> io::Result<Vec<Answer>> {
        self.write(&[command.encode(None).as_bytes(), block].concat())?;
        self.answers()
    }

    /// The connection itself.
    pub(crate) fn into_stream(self) -> UnixStream {
        self.stream
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The lines of the next reply.
    pub(crate) fn answers(&mut self) -> io::Result<Vec<Answer>> {
        let mut answers = Vec::new();
        loop {
            let words = self.line()?;
            let Ok(ServerLine::Reply(reply)) = ServerLine::decode(words) else {
                return Err(io::Error::other("no reply"));
            };
            let blocks = if self.decoder.announced().is_some() { self.blocks()? } else { Vec::new() };
            let more = reply.more;
            answers.push(Answer { reply, blocks });
            if !more {
                return Ok(answers);
            }
        }
    }

    /// Registers a mailbox with an invitation; the code of the last reply.
    pub(crate) fn register(&mut self, keys: &SecretKeys, invitation: &Invitation) -> io::Result<u16> {
        let certificate = keys.certificate().bytes();
        let registration =
            Registration { address: None, invitation: invitation.secret, certificate: certificate.len() as u64 };
        let answer = self.ask(&BoxCommand::Register(registration), certificate)?.remove(0);
        if answer.code() != 215 {
            return Ok(answer.code());
        }
        let _: Challenge = answer.said();
        let server = Certificate::from_bytes(&answer.blocks[1]).expect("a certificate of the profile");
        assert!(server.fingerprint() == invitation.fingerprint, "it is the key of the invitation");
        let known = |fingerprint: &Fingerprint| (*fingerprint == server.fingerprint()).then(|| server.clone());
        let opened = pgp::open(&answer.blocks[0], keys, &known, now()).expect("it is sealed to us");
        assert!(opened.verified);
        let challenge = Content::decode(opened.content).expect("a content");
        assert_eq!(challenge.kind, ContentKind::Challenge);
        let proof = RegistrationProof::from_text(&challenge.payload).expect("a challenge");
        assert!(proof.server == self.onion && proof.key == keys.certificate().fingerprint());
        let content = Content {
            kind: ContentKind::ChallengeAnswer,
            id: ContentId::random(&mut OsRng),
            expires: challenge.expires,
            receipt: None,
            payload: challenge.payload,
        };
        let object = pgp::seal(&content.encode(), keys, &server, now()).expect("it can be sealed");
        let answer = self.ask(&BoxCommand::ChallengeAccepted { answer: object.len() as u64 }, &object)?.remove(0);
        Ok(answer.code())
    }

    /// Shows the key of a mailbox; the code of the last reply.
    pub(crate) fn identify(&mut self, name: Fingerprint, keys: &SecretKeys) -> io::Result<u16> {
        let purpose = "collect".to_owned();
        let identify = BoxCommand::Identify { mailbox: name.to_string(), purpose: purpose.clone() };
        let challenge: IdentificationChallenge = self.ask(&identify, b"")?.remove(0).said();
        let proof = IdentificationProof {
            server: self.onion,
            key: name,
            server_nonce: challenge.nonce,
            client_nonce: [7; 32],
            purpose,
            command: None,
        };
        let signature = keys.sign_statement(proof.text().as_bytes()).expect("it can be signed");
        let respond = BoxCommand::Respond { nonce: [7; 32], command: None, signature: signature.len() as u64 };
        Ok(self.ask(&respond, &signature)?.remove(0).code())
    }

    /// Gives the box a set of so many tokens of a class, for today.
    pub(crate) fn upload(&mut self, class: Class, count: u32) -> Vec<Token> {
        let (seed, today) = (TokenSeed::random(&mut OsRng), epoch(now()));
        let tokens: Vec<_> = (0..count).map(|number| token(&seed, today, class, number)).collect();
        let mut hashes: Vec<_> = tokens.iter().map(hash_of).collect();
        hashes.sort_unstable();
        let block = hashes.concat();
        let command = BoxCommand::Tokens { epoch: today, class: class.number(), size: block.len() as u64 };
        let answer = self.ask(&command, &block).expect("an answer").remove(0);
        assert_eq!(answer.code(), 220, "the set is kept");
        tokens
    }

    /// Leaves an object: the code that refused it, or that of the last reply.
    pub(crate) fn deposit(&mut self, token: [u8; 32], object: &[u8]) -> io::Result<u16> {
        let claim = runepeer::wire::Claim::of(object);
        let answer = self.ask(&BoxCommand::Deposit { token, claim }, b"")?.remove(0);
        if answer.code() != 201 {
            return Ok(answer.code());
        }
        let message = Command::Message(Message { sender: None, size: object.len() as u64 });
        self.write(&[message.encode(None).as_bytes(), object].concat())?;
        Ok(self.answers()?.remove(0).code())
    }

    fn line(&mut self) -> io::Result<Vec<runepeer::wire::Word>> {
        match self.item()? {
            Item::Line(words) => Ok(words),
            _ => Err(io::Error::other("not a line")),
        }
    }

    fn blocks(&mut self) -> io::Result<Vec<Vec<u8>>> {
        self.decoder.take_blocks(u64::MAX).map_err(io::Error::other)?;
        match self.item()? {
            Item::Blocks(blocks) => Ok(blocks),
            _ => Err(io::Error::other("not blocks")),
        }
    }

    fn item(&mut self) -> io::Result<Item> {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            if let Some(item) = self.decoder.next_item().map_err(io::Error::other)? {
                return Ok(item);
            }
            match self.stream.read(&mut buffer)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => self.decoder.push(&buffer[..read]),
            }
        }
    }
}
