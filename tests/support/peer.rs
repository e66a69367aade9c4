//! A scripted peer: becomes a contact by an invitation as docs/protocol.md, "First contact", says, then sends prepared
//! requests over the socket.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use runepeer::base::limits::WIRE_ANSWER;
use runepeer::base::rng::Rng;
use runepeer::base::{ContentId, IdentityId, MacKey, Onion, OnionSeed, Timestamp};
use runepeer::engine::session::{
    Delivery, DeliveryClient, Event, Host, Job, Offer, Outcome, SendParams, Sender, Server, Ticket, Way,
};
use runepeer::mail::{Address, Card, Content, ContentKind, Invitation, LocalPart};
use runepeer::net::{Isolation, Listener, Loopback, Stream, Transport};
use runepeer::pgp::{self, Certificate, SecretKeys};
use runepeer::store::OsRng;
use runepeer::wire::{self, Claim, Importance, Status};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const DAY: Duration = Duration::from_secs(86_400);

fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// A contact of the node under test.
pub(crate) struct Peer {
    address: Address,
    keys: SecretKeys,
    receiver: Address,
    certificate: Certificate,
    auth: MacKey,
}

/// SEND, MESSAGE and the object, as they go over the wire.
pub(crate) struct Request {
    /// All of it.
    pub(crate) bytes: Vec<u8>,
    /// The object's size.
    pub(crate) object: usize,
}

impl Peer {
    /// Redeems the invitation: sends a card, and takes the node's card with the key for our SENDs.
    pub(crate) async fn befriend(number: usize, transport: &Loopback, invitation: &str) -> Self {
        let invitation = Invitation::parse(invitation).expect("the node's own invitation");
        let seed = OnionSeed::random(&mut OsRng);
        let onion = Onion::of_seed(&seed);
        let keys = pgp::generate(now(), onion, &mut OsRng).expect("keys can be made").keys;
        let name = LocalPart::new(&format!("peer{number}")).expect("a name");
        let address = Address::new(name, onion);
        let mut listener =
            transport.listen(IdentityId::random(&mut OsRng), &seed).await.expect("the onion can be published");
        let card = Card {
            counter: 1,
            address: address.clone(),
            certificate: keys.certificate().bytes().to_vec(),
            binding: pgp::sign_binding(&seed, &keys, 1).expect("it can be signed"),
            auth_key: MacKey::random(&mut OsRng),
            invitation: invitation.secret.map(|secret| secret.to_vec()),
            boxes: Vec::new(),
            receipts: true,
        };
        let receiver = invitation.address.clone();
        let stream = transport.dial(receiver.onion(), Isolation::Fresh).await.expect("the node listens");
        let certificate = introduce(stream, &card, &keys, &invitation).await;
        let auth = answer(&mut listener, &keys, &certificate).await;
        Self { address, keys, receiver, certificate, auth }
    }

    /// Where it sends.
    pub(crate) const fn receiver(&self) -> Onion {
        self.receiver.onion()
    }

    /// Its own address.
    pub(crate) const fn address(&self) -> &Address {
        &self.address
    }

    /// The address to which it sends.
    pub(crate) const fn to(&self) -> &Address {
        &self.receiver
    }

    /// Its keys.
    pub(crate) const fn keys(&self) -> &SecretKeys {
        &self.keys
    }

    /// The certificate of the node under test.
    pub(crate) const fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The key with which its SENDs are authenticated.
    pub(crate) const fn auth(&self) -> &MacKey {
        &self.auth
    }

    /// A message of so many bytes, sealed and addressed.
    pub(crate) fn mail(&self, number: usize, subject: &str, bytes: usize) -> Request {
        self.request(number, &self.sealed_mail(text(&self.address, &self.receiver, subject, bytes)), Some(&self.auth))
    }

    /// This text, header and body, as a sealed message.
    pub(crate) fn sealed_mail(&self, text: String) -> Vec<u8> {
        seal(ContentKind::Mail, text.into_bytes(), &self.keys, &self.certificate)
    }

    /// Brings a sealed object, with this key's authenticator or none.
    pub(crate) fn request(&self, number: usize, object: &[u8], auth: Option<&MacKey>) -> Request {
        let bytes = [self.announced(number, object, auth).as_bytes(), object].concat();
        Request { bytes, object: object.len() }
    }

    /// SEND and the line of MESSAGE for an object.
    pub(crate) fn announced(&self, number: usize, object: &[u8], auth: Option<&MacKey>) -> String {
        let claim = Claim::of(object);
        let send = wire::Send {
            to: self.receiver.to_string(),
            certificate: Some(self.certificate.digest()),
            server: None,
            claim: Some(claim),
            auth: auth.map(|key| wire::authenticator(key, self.receiver.onion(), &claim)),
            onward: None,
            importance: Importance::Normal,
            secure: false,
        };
        let message = wire::Message { sender: None, size: object.len() as u64 };
        let id = format!("{number}").parse().expect("an id");
        wire::Command::Send(send).encode(Some(&id)) + &wire::Command::Message(message).encode(Some(&id))
    }
}

/// Header and body of a plain message of so many bytes.
pub(crate) fn text(from: &Address, to: &Address, subject: &str, bytes: usize) -> String {
    let rng: &mut dyn Rng = &mut OsRng;
    let number = rng.below(u64::MAX);
    let mut text = format!(
        "From: <{from}>\r\nTo: <{to}>\r\nSubject: {subject}\r\nDate: {}\r\nMessage-ID: <{number}@{}>\r\n\r\n",
        now().rfc5322(),
        from.onion(),
    );
    while text.len() + 2 < bytes {
        let line = "All work and no play makes a dull mailbox, and so the day goes by. ";
        text.extend(line.chars().take(bytes - text.len() - 2));
        text.push_str("\r\n");
    }
    text
}

/// A content, signed and sealed.
pub(crate) fn seal(kind: ContentKind, payload: Vec<u8>, keys: &SecretKeys, to: &Certificate) -> Vec<u8> {
    let expires = Timestamp::from_secs(now().plus(5 * DAY).secs());
    let content = Content { kind, id: ContentId::random(&mut OsRng), expires, receipt: None, payload };
    pgp::seal(&content.encode(), keys, to, now()).expect("it can be sealed")
}

/// Somebody who was never introduced: an onion of its own, keys, and the card that it would send.
pub(crate) struct Stranger {
    pub(crate) address: Address,
    pub(crate) keys: SecretKeys,
    pub(crate) card: Card,
}

impl Stranger {
    pub(crate) fn new(name: &str) -> Self {
        let seed = OnionSeed::random(&mut OsRng);
        let onion = Onion::of_seed(&seed);
        let keys = pgp::generate(now(), onion, &mut OsRng).expect("keys can be made").keys;
        let address = Address::new(LocalPart::new(name).expect("a name"), onion);
        let card = Card {
            counter: 1,
            address: address.clone(),
            certificate: keys.certificate().bytes().to_vec(),
            binding: pgp::sign_binding(&seed, &keys, 1).expect("it can be signed"),
            auth_key: MacKey::random(&mut OsRng),
            invitation: None,
            boxes: Vec::new(),
            receipts: true,
        };
        Self { address, keys, card }
    }

    /// Its card, sealed to somebody.
    pub(crate) fn sealed_card(&self, to: &Certificate) -> Vec<u8> {
        seal(ContentKind::Card, serde_json::to_vec(&self.card).expect("a card"), &self.keys, to)
    }

    /// A message of so many bytes, sealed to somebody.
    pub(crate) fn sealed_mail(&self, to: &Address, certificate: &Certificate, subject: &str, bytes: usize) -> Vec<u8> {
        let text = text(&self.address, to, subject, bytes);
        seal(ContentKind::Mail, text.into_bytes(), &self.keys, certificate)
    }
}

/// Asks for the certificate, checks it against the invitation, and sends the card sealed to it.
async fn introduce(
    mut stream: Box<dyn Stream>,
    card: &Card,
    keys: &SecretKeys,
    invitation: &Invitation,
) -> Certificate {
    let mut session = DeliveryClient::new(now());
    let to = invitation.address.clone();
    let job = Job { to, certificate: None, object: None, auth: None, importance: Importance::Normal, way: Way::Direct };
    session.send(now(), Ticket(1), job);
    let (mut certificate, mut buffer) = (None, vec![0; 16 * 1024]);
    loop {
        for event in session.take_events() {
            match event {
                Event::Certificate { ticket, bytes, .. } => {
                    let found = Certificate::from_bytes(&bytes).expect("a certificate of the profile");
                    assert!(found.fingerprint() == invitation.fingerprint, "it has the invitation's key");
                    let card = serde_json::to_vec(card).expect("a card");
                    let object = seal(ContentKind::Card, card, keys, &found);
                    session.provide(now(), ticket, object.into(), invitation.auth_key());
                    certificate = Some(found);
                }
                Event::Outcome { outcome: Outcome::Accepted, .. } => return certificate.expect("it came before"),
                other => panic!("the card was not accepted: {other:?}"),
            }
        }
        stream.write_all(&session.take_output()).await.expect("the node reads");
        let read = stream.read(&mut buffer).await.expect("the node answers");
        session.handle(now(), buffer.get(..read).unwrap_or_default());
    }
}

/// What the node's first session brings.
struct Reception {
    certificate: Arc<[u8]>,
    card: Option<Vec<u8>>,
}

impl Host for Reception {
    fn offer(&mut self, _: Timestamp, _: &SendParams) -> Offer {
        Offer::Ready { maximum: 1 << 20, certificate: Arc::clone(&self.certificate), sender: Sender::Stranger }
    }

    fn deliver(&mut self, _: Timestamp, _: Ticket, delivery: Delivery) -> Option<Status> {
        self.card = Some(delivery.object);
        Some(Status::Roger)
    }
}

/// Takes the node's card; returns the key with which our SENDs are authenticated.
async fn answer(listener: &mut Listener, keys: &SecretKeys, node: &Certificate) -> MacKey {
    let mut stream = listener.accept().await.expect("the node dials");
    let mut session = Server::new(now(), &runepeer::base::Terms::default());
    let mut reception = Reception { certificate: keys.certificate().bytes().into(), card: None };
    let mut buffer = vec![0; 16 * 1024];
    loop {
        // Its answers need not wait for their moment.
        session.handle_timeout(now().plus(WIRE_ANSWER), &mut reception);
        stream.write_all(&session.take_output()).await.expect("the node reads");
        if let Some(object) = &reception.card {
            let known = |_: &_| Some(node.clone());
            let opened = pgp::open(object, keys, &known, now()).expect("sealed to us");
            let content = Content::decode(opened.content).expect("a content");
            let card: Card = serde_json::from_slice(&content.payload).expect("a card");
            return card.auth_key;
        }
        let read = stream.read(&mut buffer).await.expect("the node sends");
        session.handle(now(), buffer.get(..read).unwrap_or_default(), &mut reception);
    }
}

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// One connection to the node's socket.
pub(crate) struct Session {
    stream: UnixStream,
    replies: BufReader<UnixStream>,
}

impl Session {
    /// Connects and reads the greeting.
    pub(crate) fn connect(peers: &Path, onion: Onion) -> io::Result<Self> {
        let stream = UnixStream::connect(peers.join(onion.label()))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let replies = BufReader::new(stream.try_clone()?);
        let mut session = Self { stream, replies };
        let greeting = session.line()?;
        if greeting.starts_with("HOWDY") { Ok(session) } else { Err(io::Error::other(greeting)) }
    }

    /// Sends the requests, at most `window` without their 202, and waits for the last.
    pub(crate) fn exchange(&mut self, requests: &[Request], window: usize) -> io::Result<()> {
        for (sent, request) in requests.iter().enumerate() {
            if sent >= window {
                self.accepted()?;
            }
            self.stream.write_all(&request.bytes)?;
        }
        (0..window.min(requests.len())).try_for_each(|_| self.accepted())
    }

    /// Reads 201 and 202 of one message.
    fn accepted(&mut self) -> io::Result<()> {
        loop {
            let line = self.line()?;
            match line.split_whitespace().nth(1) {
                Some("201") => {}
                Some("202") => return Ok(()),
                _ => return Err(io::Error::other(line)),
            }
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.replies.read_line(&mut line)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line),
        }
    }
}
