//! Submission, as mail programs and attackers speak it: scripts against the gateway over a pipe.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::string_slice)]

use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use runepeer::base::rng::SeededRng;
use runepeer::base::{BodyId, Onion, QueueId, Timestamp, limits};
use runepeer::engine::request::Submission;
use runepeer::engine::{Request, RequestError, Response, Snapshot, Unaddressable};
use runepeer::gateway::account::{Account, Accounts, Later, ReadError};
use runepeer::gateway::pacer::Pacer;
use runepeer::gateway::submission::{Bounds, Config, Server};
use runepeer::gateway::uploads::Uploads;
use runepeer::mail::Address;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;

fn alice() -> Address {
    format!("alice@{}", Onion::from_public_key([1; 32])).parse().unwrap()
}

fn bob() -> Address {
    format!("bob@{}", Onion::from_public_key([2; 32])).parse().unwrap()
}

/// Takes what is submitted, or fails as it is told.
#[derive(Default)]
struct FakeAccount {
    submitted: Mutex<Vec<Submission>>,
    failure: Mutex<Option<RequestError>>,
}

impl Account for FakeAccount {
    fn address(&self) -> Address {
        alice()
    }

    fn snapshot(&self) -> watch::Receiver<Arc<Snapshot>> {
        watch::channel(Arc::new(Snapshot::default())).1
    }

    fn body(&self, _: BodyId, _: Range<u64>) -> Later<'_, Result<Vec<u8>, ReadError>> {
        Box::pin(async { Err(ReadError) })
    }

    fn cached(&self, _: BodyId) -> Option<Vec<u8>> {
        None
    }

    fn cache(&self, _: BodyId, _: Vec<u8>) {}

    fn request(&self, request: Request) -> Later<'_, Result<Response, RequestError>> {
        Box::pin(async move {
            let Request::Submit(submission) = request else { panic!("not a submission") };
            if let Some(failure) = self.failure.lock().unwrap().clone() {
                return Err(failure);
            }
            self.submitted.lock().unwrap().push(submission);
            Ok(Response::Submitted(QueueId::from_bytes([0xab; 16])))
        })
    }
}

struct FakeAccounts(Arc<FakeAccount>);

impl Accounts for FakeAccounts {
    fn login(&self, user: &str, password: &str) -> Later<'_, Option<Arc<dyn Account>>> {
        let right = user == "alice" && password == "secret";
        Box::pin(async move { right.then(|| Arc::clone(&self.0) as Arc<dyn Account>) })
    }
}

struct Setup {
    server: Server,
    account: Arc<FakeAccount>,
    shutdown: watch::Sender<bool>,
}

fn setup() -> Setup {
    setup_with(Bounds { pacer: Pacer::new(Duration::ZERO), message: 200_000, ..Bounds::default() })
}

fn setup_with(bounds: Bounds) -> Setup {
    setup_resolving(bounds, resolve)
}

/// Who is meant by a name.
fn resolve(name: &str) -> Result<Address, Unaddressable> {
    let known = ["bobby@rune.internal".to_owned(), "bobby".to_owned(), bob().to_string()];
    match name.to_ascii_lowercase() {
        name if known.contains(&name) => Ok(bob()),
        name if name == "mallory@rune.internal" => Err(Unaddressable::Blocked),
        _ => Err(Unaddressable::Unknown),
    }
}

fn setup_resolving(
    bounds: Bounds,
    resolve: impl Fn(&str) -> Result<Address, Unaddressable> + Send + Sync + 'static,
) -> Setup {
    let account = Arc::new(FakeAccount::default());
    let config = Config {
        resolve: Arc::new(move |_, name| resolve(name)),
        clock: || Timestamp::from_secs(1_795_218_052),
        rng: || Box::new(SeededRng::new(1)),
        bounds,
    };
    let server = Server::new(Arc::new(FakeAccounts(Arc::clone(&account))), config);
    Setup { server, account, shutdown: watch::channel(false).0 }
}

impl Setup {
    /// Sends everything at once, in pieces of this size, and gives all replies.
    async fn talk_in(&self, script: &[u8], piece: usize) -> String {
        let (client, server) = tokio::io::duplex(if piece > 1000 { piece } else { 64 });
        let (mut read, mut write) = tokio::io::split(client);
        let mut replies = Vec::new();
        let writing = async move {
            for piece in script.chunks(piece) {
                if write.write_all(piece).await.is_err() {
                    return;
                }
            }
            let _closed_already = write.shutdown().await;
        };
        let serving = self.server.session(server, self.shutdown.subscribe());
        let ((), (), read) = tokio::join!(serving, writing, read.read_to_end(&mut replies));
        read.unwrap();
        String::from_utf8(replies).unwrap()
    }

    async fn talk(&self, script: &str) -> String {
        self.talk_in(script.as_bytes(), 1000).await
    }

    /// The reply codes of a script, after the greeting.
    async fn codes(&self, script: &str) -> Vec<u16> {
        codes(&self.talk(script).await)
    }

    /// The codes after a login.
    async fn logged_in(&self, script: &str) -> Vec<u16> {
        let codes = self.codes(&format!("{LOGIN}{script}")).await;
        assert_eq!(codes[..2], [250, 235]);
        codes[2..].to_vec()
    }

    fn submitted(&self) -> Vec<Submission> {
        std::mem::take(&mut self.account.submitted.lock().unwrap())
    }
}

fn codes(replies: &str) -> Vec<u16> {
    assert!(replies.starts_with("220 ") && replies.ends_with("\r\n"), "{replies:?}");
    let is_last = |line: &&str| line.as_bytes().get(3) == Some(&b' ');
    replies.split_terminator("\r\n").filter(is_last).skip(1).map(|line| line[..3].parse().unwrap()).collect()
}

/// With `\0alice\0secret`.
const LOGIN: &str = "EHLO client\r\nAUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n";
const ENVELOPE: &str =
    "MAIL FROM:<alice@rune.internal> SIZE=100 BODY=8BITMIME\r\nRCPT TO:<bobby@rune.internal>\r\nDATA\r\n";

fn message(body: &str) -> String {
    format!("From: alice@rune.internal\r\nTo: Bob <bobby@rune.internal>, c@example.org\r\nBcc: x@y\r\n\r\n{body}")
}

#[tokio::test]
async fn reports_are_asked_for_as_rfc_3461_says() {
    let setup = setup();
    let own = alice();
    assert!(setup.talk("EHLO x\r\n").await.contains("250-DSN\r\n"));
    let script = format!(
        "MAIL FROM:<{own}> RET=FULL ENVID=QQ+20314159\r\n\
         RCPT TO:<bobby@rune.internal> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;first+2Bname@x\r\n\
         DATA\r\nFrom: <{own}>\r\n\r\nx\r\n.\r\n"
    );
    assert_eq!(setup.logged_in(&script).await, [250, 250, 354, 250]);
    let asked = setup.submitted().remove(0).asked;
    assert_eq!((asked.envelope.as_deref(), asked.full), (Some("QQ 314159"), true));
    let options = &asked.recipients["bobby@rune.internal"];
    assert_eq!(options.original.as_deref(), Some("rfc822;first+name@x"));
    assert!(options.notify.success && options.notify.delay && !options.notify.failure);

    let never = format!(
        "MAIL FROM:<{own}>\r\nRCPT TO:<bobby@rune.internal> NOTIFY=NEVER\r\nDATA\r\nFrom: <{own}>\r\n\r\nx\r\n.\r\n"
    );
    setup.logged_in(&never).await;
    let notify = setup.submitted().remove(0).asked.recipients["bobby@rune.internal"].notify;
    assert!(!notify.success && !notify.failure && !notify.delay);

    for bad in ["RET=SOME", "RET=FULL RET=HDRS", "ENVID=", "ENVID=a+0Ab", "ENVID=a+E4b"] {
        let codes = setup.logged_in(&format!("MAIL FROM:<{own}> {bad}\r\n")).await;
        assert_eq!(codes, [501], "{bad}");
    }
    for bad in ["NOTIFY=NEVER,SUCCESS", "NOTIFY=SOON", "ORCPT=rfc822;a+0Db", "ORCPT=x"] {
        let script = format!("MAIL FROM:<{own}>\r\nRCPT TO:<bobby@rune.internal> {bad}\r\n");
        assert_eq!(setup.logged_in(&script).await, [250, 501], "{bad}");
    }
}

#[tokio::test]
async fn a_message_is_queued_before_its_250() {
    let setup = setup();
    let replies = setup.talk(&format!("{LOGIN}{ENVELOPE}{}..dot\r\n.\r\nQUIT\r\n", message("body\r\n"))).await;
    assert_eq!(codes(&replies), [250, 235, 250, 250, 354, 250, 221], "{replies}");
    assert!(replies.contains(&format!("250 2.0.0 queued as {}", QueueId::from_bytes([0xab; 16]))), "{replies}");
    let submitted = setup.submitted();
    assert_eq!(submitted.len(), 1);
    assert_eq!(submitted[0].recipients, ["bobby@rune.internal"]);
    assert_eq!(submitted[0].visible, ["bobby@rune.internal", "c@example.org"]);
    let text = String::from_utf8(submitted[0].message.to_vec()).unwrap();
    let rest = format!("From: {}\r\nTo: Bob <{}>, c@example.org\r\n\r\nbody\r\n.dot\r\n", alice(), bob());
    assert!(text.ends_with(&rest), "{text}");
    assert!(text.starts_with("Date: Fri, 20 Nov 2026 23:40:52 +0000\r\nMessage-ID: <"), "{text}");
}

#[tokio::test]
async fn every_cut_of_the_stream_gives_the_same() {
    let setup = setup();
    let (first, second) = (message("a\r\n"), message("b"));
    let script = format!("{LOGIN}{ENVELOPE}{first}.\r\nNOOP\r\n{ENVELOPE}{second}\r\n.\r\nQUIT\r\n");
    let whole = setup.talk_in(script.as_bytes(), script.len()).await;
    assert_eq!(codes(&whole), [250, 235, 250, 250, 354, 250, 250, 250, 250, 354, 250, 221]);
    for piece in [1, 2, 3, 7, 64] {
        assert_eq!(setup.talk_in(script.as_bytes(), piece).await, whole, "{piece}");
    }
    let messages: Vec<_> = setup.submitted().iter().map(|submission| submission.message.clone()).collect();
    assert_eq!(messages.len(), 12);
    assert!(messages.chunks(2).all(|pair| pair == &messages[..2]));
}

#[tokio::test]
async fn what_is_advertised_is_offered() {
    let replies = setup().talk("EHLO x\r\n").await;
    for keyword in ["SIZE 200000", "8BITMIME", "PIPELINING", "ENHANCEDSTATUSCODES", "AUTH PLAIN LOGIN", "HELP"] {
        assert!(replies.replace("250-", "250 ").contains(&format!("250 {keyword}\r\n")), "{keyword}");
    }
    assert_eq!(Bounds::default().message, 26_214_400 - 524_288);
    let script = "HELO x\r\nNOOP\r\nVRFY bob\r\nHELP\r\nRSET\r\nEXPN x\r\nSTARTTLS\r\nBDAT 3 LAST\r\nNONSENSE\r\n\r\n\
                  EHLO\r\nquit\r\nNOOP\r\n";
    assert_eq!(setup().codes(script).await, [250, 250, 252, 214, 250, 502, 502, 502, 500, 500, 501, 221]);
}

#[tokio::test]
async fn login_works_in_every_way_that_programs_use() {
    let (user, password) = ("YWxpY2U=", "c2VjcmV0");
    for script in [
        "AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n".to_owned(),
        "auth plain\r\nAGFsaWNlAHNlY3JldA==\r\n".to_owned(),
        "AUTH PLAIN YWxpY2UAYWxpY2UAc2VjcmV0\r\n".to_owned(),
        format!("AUTH LOGIN\r\n{user}\r\n{password}\r\n"),
        format!("AUTH LOGIN {user}\r\n{password}\r\n"),
    ] {
        let codes = setup().codes(&format!("EHLO x\r\n{script}")).await;
        assert_eq!(codes.last(), Some(&235), "{script}");
        assert!(codes[1..codes.len() - 1].iter().all(|code| *code == 334), "{script}");
    }
}

#[tokio::test]
async fn failed_logins_leave_the_session_usable_and_closed_to_mail() {
    for (script, code) in [
        ("AUTH PLAIN AGFsaWNlAHdyb25n\r\n", 535),
        ("AUTH PLAIN Ym9iAGFsaWNlAHNlY3JldA==\r\n", 535),
        ("AUTH PLAIN =\r\n", 501),
        ("AUTH PLAIN !!!\r\n", 501),
        ("AUTH PLAIN\r\n*\r\n", 501),
        ("AUTH LOGIN\r\n*\r\n", 501),
        ("AUTH LOGIN YWxpY2U=\r\n=\r\n", 535),
        ("AUTH CRAM-MD5\r\n", 504),
        ("AUTH\r\n", 501),
        ("RCPT TO:<a@b>\r\n", 503),
        ("DATA\r\n", 503),
    ] {
        let codes = setup().codes(&format!("EHLO x\r\n{script}MAIL FROM:<>\r\nNOOP\r\n")).await;
        assert_eq!(codes[codes.len() - 3..], [code, 530, 250], "{script}");
    }
    assert_eq!(setup().codes("AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n").await, [503]);
    assert_eq!(setup().logged_in("AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n").await, [503]);
}

#[tokio::test]
async fn sender_and_recipients_are_checked_before_the_message() {
    let setup = setup();
    for (script, expected) in [
        (format!("MAIL FROM:<{}>\r\n", alice()), vec![250]),
        ("MAIL FROM:<>\r\n".into(), vec![250]),
        (format!("MAIL FROM:<{}>\r\n", bob()), vec![553]),
        ("MAIL FROM:<root@laptop>\r\n".into(), vec![553]),
        ("MAIL FROM:alice\r\n".into(), vec![501]),
        ("MAIL FROM:<> SIZE=200001\r\n".into(), vec![552]),
        ("MAIL FROM:<> SIZE=9999999999999999999\r\n".into(), vec![552]),
        ("MAIL FROM:<> SMTPUTF8\r\n".into(), vec![555]),
        ("MAIL FROM:<> BODY=BINARYMIME\r\n".into(), vec![555]),
        ("MAIL FROM:<> AUTH=<> BODY=7BIT\r\n".into(), vec![250]),
        ("MAIL FROM:<> FOO=bar\r\n".into(), vec![555]),
        ("MAIL FROM:<>\r\nMAIL FROM:<>\r\n".into(), vec![250, 503]),
        ("MAIL FROM:<>\r\nRCPT TO:<carol@rune.internal>\r\nDATA\r\n".into(), vec![250, 550, 554]),
        ("MAIL FROM:<>\r\nRCPT TO:<bobby>\r\n".into(), vec![250, 501]),
        ("MAIL FROM:<>\r\nRSET\r\nRCPT TO:<bobby@rune.internal>\r\n".into(), vec![250, 250, 503]),
        ("MAIL FROM:<>\r\nEHLO x\r\nRCPT TO:<bobby@rune.internal>\r\n".into(), vec![250, 250, 503]),
    ] {
        assert_eq!(setup.logged_in(&script).await, expected, "{script}");
    }
    let replies = setup.talk(&format!("{LOGIN}MAIL FROM:<>\r\nRCPT TO:<carol@rune.internal>\r\n")).await;
    assert!(replies.contains("550 5.1.1 carol@rune.internal is not in the address book; add the contact"), "{replies}");
    let replies = setup.talk(&format!("{LOGIN}MAIL FROM:<>\r\nRCPT TO:<mallory@rune.internal>\r\n")).await;
    assert!(replies.contains("550 5.7.1 mallory@rune.internal is blocked; to write to them, let them"), "{replies}");
}

#[tokio::test]
async fn a_message_has_its_last_recipient_and_no_other() {
    let setup = setup();
    // Every way to write his name is a recipient of its own.
    let recipient = |number: usize| {
        let written = "bobbyrune".char_indices().map(|(bit, letter)| match number >> bit & 1 {
            1 => letter.to_ascii_uppercase(),
            _ => letter,
        });
        let written: String = written.collect();
        format!("RCPT TO:<{}@{}.internal>\r\n", &written[..5], &written[5..])
    };
    let recipients: String = (0..=limits::RECIPIENTS).map(recipient).collect();
    let script = format!("{LOGIN}MAIL FROM:<>\r\n{recipients}");
    let replies = setup.talk(&script).await;
    let codes = codes(&replies);
    assert_eq!(codes[3..], [vec![250; limits::RECIPIENTS], vec![452]].concat());
    assert!(replies.contains("too many recipients; send to the others in another message"), "{replies}");
}

#[tokio::test]
async fn the_author_must_be_the_account() {
    let setup = setup();
    let forged = message("x\r\n").replace("From: alice@rune.internal", &format!("From: {}", bob()));
    let replies = setup.talk(&format!("{LOGIN}{ENVELOPE}{forged}.\r\nNOOP\r\n")).await;
    assert_eq!(codes(&replies)[4..], [354, 550, 250]);
    assert!(replies.contains(&format!("550 5.7.1 From must be {} and nobody else", alice())), "{replies}");
    let from = "From: alice@rune.internal\r\n";
    for bad in ["", "To: x\r\n\r\n", &format!("{from}From: x@y\r\n\r\n"), &format!("{from}no field\r\n\r\n")] {
        assert_eq!(setup.logged_in(&format!("{ENVELOPE}{bad}.\r\nNOOP\r\n")).await[2..], [354, 550, 250], "{bad:?}");
    }
    let unknown = message("x\r\n").replace("bobby@", "carol@");
    assert_eq!(setup.logged_in(&format!("{ENVELOPE}{unknown}.\r\n")).await[2..], [354, 550]);
    assert!(setup.submitted().is_empty());
}

#[tokio::test]
async fn smuggled_commands_stay_in_the_message() {
    let setup = setup();
    for end in [
        "\n.\n",
        "\n.\r\n",
        "\r\n.\n",
        "\r.\r",
        "\r\n.\r",
        "\r.\r\n",
        "\r\n.\r\r\n",
        "\r\n\0.\r\n",
        "\r\n.\0\r\n",
        "\n\n.\r\n",
    ] {
        let smuggled = format!("{end}MAIL FROM:<>\r\nRCPT TO:<{}>\r\nDATA\r\nFrom: evil\r\n\r\nevil", bob());
        let script = format!("{ENVELOPE}{}{smuggled}\r\n.\r\nNOOP\r\nQUIT\r\n", message("good"));
        assert_eq!(setup.logged_in(&script).await, [250, 250, 354, 550, 250, 221], "{end:?}");
        assert!(setup.submitted().is_empty(), "{end:?}");
    }
}

#[tokio::test]
async fn messages_beyond_their_bounds_are_drained() {
    let setup = setup();
    let large = format!("{ENVELOPE}{}\r\n.\r\nNOOP\r\n", message(&"line\r\n".repeat(40_000)));
    assert_eq!(setup.logged_in(&large).await[2..], [354, 552, 250]);
    let long = format!("{ENVELOPE}{}\r\n.\r\nNOOP\r\n", message(&"x".repeat(limits::DATA_LINE_BYTES + 1)));
    assert_eq!(setup.logged_in(&long).await[2..], [354, 550, 250]);
    let longest = format!("{ENVELOPE}{}\r\n.\r\nNOOP\r\n", message(&"x".repeat(limits::DATA_LINE_BYTES)));
    assert_eq!(setup.logged_in(&longest).await[2..], [354, 250, 250]);
    assert_eq!(setup.submitted().len(), 1);
}

#[tokio::test]
async fn a_failed_queue_is_told_with_its_code() {
    for (failure, expected) in [
        (RequestError::UnknownRecipient { recipient: "x".into(), why: Unaddressable::Unknown }, "550 5.1.1 "),
        (RequestError::UnknownRecipient { recipient: "x".into(), why: Unaddressable::Blocked }, "550 5.7.1 "),
        (RequestError::UnknownRecipient { recipient: "x".into(), why: Unaddressable::Waiting }, "550 5.7.1 "),
        (
            RequestError::NotIntroduced { first: "a".into(), second: "b".into() },
            "550 5.7.1 a and b would see each other",
        ),
        (RequestError::Disk, "452 4.3.1 "),
        (RequestError::Limit("messages in the queue"), "452 4.3.1 "),
        (RequestError::Stopping, "451 4.3.2 "),
        (RequestError::NameTaken, "451 4.3.0 "),
    ] {
        let setup = setup();
        *setup.account.failure.lock().unwrap() = Some(failure);
        let replies = setup.talk(&format!("{LOGIN}{ENVELOPE}{}.\r\n", message(""))).await;
        assert!(replies.lines().last().unwrap().starts_with(expected), "{replies}");
        assert!(!replies.contains("queued as"), "{replies}");
    }
}

#[tokio::test]
async fn foreign_protocols_are_closed_without_an_echo() {
    for script in [
        "GET /canary HTTP/1.1\r\nHost: x\r\n\r\nMAIL FROM:<>\r\n",
        "POST / HTTP/1.1\r\n",
        "get / HTTP/1.0\n",
        "Host: canary\r\n",
        "X-Canary: 1\r\n",
        "SSH-2.0-x\r\n",
        "\u{16}\u{3}\u{1}canary\n",
        "PRI * HTTP/2.0\r\n",
    ] {
        let replies = setup().talk(&format!("{script}NOOP\r\nEHLO x\r\n")).await;
        assert_eq!(codes(&replies), [421], "{script}");
        assert!(!replies.to_ascii_lowercase().contains("canary"));
    }
    assert_eq!(setup().logged_in("Cookie: x\r\nMAIL FROM:<>\r\n").await, [421]);
}

#[tokio::test]
async fn malformed_lines_are_mistakes_and_many_mistakes_end_the_session() {
    for (script, code) in [
        ("NOOP\n".to_owned(), 500),
        ("NO\rOP\r\n".to_owned(), 500),
        ("NOOP\0\r\n".to_owned(), 500),
        (format!("NOOP {}\r\n", "x".repeat(3000)), 500),
        (format!("NOOP {}\r\n", "x".repeat(100_000)), 500),
    ] {
        for piece in [1, 1000, 200_000] {
            let replies = setup().talk_in(format!("{script}NOOP\r\n").as_bytes(), piece).await;
            assert_eq!(codes(&replies), [code, 250], "{:?}", &script[..5]);
        }
    }
    let mistakes = setup().codes(&"NONSENSE\r\n".repeat(50)).await;
    assert_eq!(mistakes.len(), limits::CLIENT_MISTAKES as usize + 1);
    assert_eq!(mistakes.last(), Some(&421));
    let guesses = setup().codes(&format!("EHLO x\r\n{}", "AUTH PLAIN AGFsaWNlAHdyb25n\r\n".repeat(50))).await;
    assert_eq!(guesses.last(), Some(&421));
    assert_eq!(guesses.iter().filter(|code| **code == 535).count(), limits::CLIENT_MISTAKES as usize);
}

#[tokio::test]
async fn a_client_that_goes_away_has_sent_nothing() {
    let setup = setup();
    assert_eq!(setup.logged_in(&format!("{ENVELOPE}{}", message("no end\r\n."))).await, [250, 250, 354]);
    assert!(setup.submitted().is_empty());
}

#[tokio::test]
async fn silence_ends_the_session() {
    let setup = setup_with(Bounds { idle: Duration::from_millis(20), ..Bounds::default() });
    let (mut client, server) = tokio::io::duplex(4096);
    let mut replies = String::new();
    let serving = setup.server.session(server, setup.shutdown.subscribe());
    let ((), read) = tokio::join!(serving, client.read_to_string(&mut replies));
    read.unwrap();
    assert_eq!(codes(&replies), [421]);
}

#[tokio::test]
async fn whoever_does_not_log_in_keeps_no_place_by_talking() {
    let setup = setup_with(Bounds { idle: Duration::from_millis(200), ..Bounds::default() });
    let (mut client, server) = tokio::io::duplex(4096);
    let serving = setup.server.session(server, setup.shutdown.subscribe());
    let talking = async {
        let mut replies = Vec::new();
        while client.write_all(b"NOOP\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let _ = client.read_to_end(&mut replies).await;
        String::from_utf8(replies).unwrap()
    };
    let ((), replies) = tokio::join!(serving, talking);
    assert_eq!(codes(&replies).last(), Some(&421), "{replies}");
}

#[tokio::test]
async fn tls_is_told_from_smtp_by_its_first_byte() {
    let setup = setup();
    let (mut client, server) = tokio::io::duplex(4096);
    let serving = setup.server.session(server, setup.shutdown.subscribe());
    // A ClientHello in which no byte is a line end.
    client.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await.unwrap();
    let mut replies = String::new();
    let both = async { tokio::join!(serving, client.read_to_string(&mut replies)) };
    let ((), read) = tokio::time::timeout(Duration::from_secs(60), both).await.expect("it does not wait for a line");
    read.unwrap();
    assert!(codes(&replies).iter().all(|code| *code != 500), "{replies}");
}

/// A message grows on its way out: its names become addresses, and it gets Date and Message-ID. The announced size is
/// that of the message as it was written.
#[tokio::test]
async fn a_message_of_exactly_the_announced_size_is_taken() {
    let most = Bounds::default().message;
    let setup = setup_with(Bounds::default());
    let announced = format!("250-SIZE {most}\r\n");
    assert!(setup.talk("EHLO x\r\n").await.contains(&announced));
    let head = message("");
    let lines = "x".repeat(998) + "\r\n";
    let text: String = head.chars().chain(lines.chars().cycle()).take(most - 2).collect();
    for (extra, code) in [("", 250), ("x", 552)] {
        let script = format!(
            "{LOGIN}MAIL FROM:<> SIZE={most}\r\nRCPT TO:<bobby@rune.internal>\r\nDATA\r\n{text}{extra}\r\n.\r\n"
        );
        let replies = setup.talk_in(script.as_bytes(), 1 << 20).await;
        assert_eq!(codes(&replies), [250, 235, 250, 250, 354, code]);
    }
    let submitted = setup.submitted();
    assert_eq!(submitted.len(), 1);
    assert!((most + 1..=limits::MESSAGE_BYTES).contains(&submitted[0].message.len()));
    assert_eq!(setup.logged_in(&format!("MAIL FROM:<> SIZE={}\r\n", most + 1)).await, [552]);
}

/// The recipients would refuse such a message, for good and after its 250.
#[tokio::test]
async fn a_header_that_becomes_too_large_is_refused_at_once() {
    let setup = setup_with(Bounds::default());
    let many = vec!["bobby@rune.internal"; 2000].join(",\r\n ");
    let text = format!("From: alice@rune.internal\r\nTo: {many}\r\n\r\nx\r\n");
    assert!(text.len() < limits::HEADER_BYTES);
    let replies = setup.talk(&format!("{LOGIN}{ENVELOPE}{text}.\r\n")).await;
    assert!(replies.contains("550 5.6.0 the header of the message is too long"), "{replies}");
    assert!(setup.submitted().is_empty());
}

/// Reads one line of a reply.
async fn reply_line(stream: &mut TcpStream) -> String {
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        line.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(line).unwrap()
}

#[tokio::test]
async fn connections_that_never_log_in_give_way_to_ones_that_do() {
    let setup = setup();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let (server, stop) = (setup.server.clone(), setup.shutdown.subscribe());
    let serving = tokio::spawn(async move { server.serve(listener, stop).await });
    let mut mine = TcpStream::connect(at).await.unwrap();
    mine.write_all(LOGIN.as_bytes()).await.unwrap();
    while !reply_line(&mut mine).await.starts_with("235") {}
    let mut silent = Vec::new();
    for _ in 0..limits::SUBMISSION_SESSIONS_BEFORE_LOGIN {
        let mut stream = TcpStream::connect(at).await.unwrap();
        assert!(reply_line(&mut stream).await.starts_with("220 "));
        silent.push(stream);
    }
    let mut program = TcpStream::connect(at).await.unwrap();
    program.write_all(LOGIN.as_bytes()).await.unwrap();
    while !reply_line(&mut program).await.starts_with("235") {}
    for stream in [&mut mine, &mut program] {
        stream.write_all(b"NOOP\r\n").await.unwrap();
        assert!(reply_line(stream).await.starts_with("250 "));
    }
    assert!(reply_line(&mut silent[0]).await.starts_with("421 4.7.0 another connection needs the place"));
    setup.shutdown.send_replace(true);
    serving.await.unwrap();
}

/// 820 guesses in 15 s were answered before, by a new connection for each. The clock of this test stands while anything
/// is computed, so that the speed of the machine does not count.
#[tokio::test(start_paused = true)]
async fn guesses_on_new_connections_share_one_pace_and_keep_nobody_out() {
    let setup = setup_with(Bounds { pacer: Pacer::new(Duration::from_millis(20)), ..Bounds::default() });
    let script = "EHLO x\r\nAUTH PLAIN AGFsaWNlAHdyb25n\r\n";
    let guess = || tokio::time::timeout(Duration::from_secs(2), setup.talk(script));
    let guesses = futures::future::join_all((0..100).map(|_| guess()));
    let program = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let started = Instant::now();
        assert_eq!(setup.logged_in("QUIT\r\n").await, [221]);
        started.elapsed()
    };
    let (guesses, took) = tokio::join!(guesses, program);
    let answered = guesses.iter().flatten().filter(|replies| replies.contains("535")).count();
    assert!(answered <= 7, "{answered} guesses in 2 s, where each takes twice as long as the one before it");
    assert_eq!(took, Duration::ZERO, "a right password waits for no wrong one");
    let started = Instant::now();
    let replies = setup.talk(script).await;
    assert!(replies.contains("535") && started.elapsed() >= Duration::from_millis(600), "{replies}");
}

/// The clock of this test stands while anything is computed, so that the speed of the machine does not count.
#[tokio::test(start_paused = true)]
async fn a_small_message_waits_for_no_half_sent_large_ones_here_either() {
    let setup = setup_with(Bounds { uploads: Uploads::new(Duration::from_millis(300)), ..Bounds::default() });
    let half = format!("{LOGIN}{ENVELOPE}{}{}", message(""), "x".repeat(60_000) + "\r\n").into_bytes();
    let mut large = half.clone();
    (0..10).for_each(|_| large.extend_from_slice(&[b"x".repeat(60_000), b"\r\n".to_vec()].concat()));
    let mut halves = Vec::new();
    for _ in 0..8 {
        let (mut client, server) = tokio::io::duplex(1 << 20);
        let (gateway, stop) = (setup.server.clone(), setup.shutdown.subscribe());
        tokio::spawn(async move { gateway.session(server, stop).await });
        client.write_all(&large).await.unwrap();
        halves.push(client);
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    let started = Instant::now();
    assert_eq!(setup.logged_in(&format!("{ENVELOPE}{}.\r\n", message("x\r\n"))).await[2..], [354, 250]);
    assert_eq!(started.elapsed(), Duration::ZERO, "a small message waits for a large one");
    // One that is really sent has its turn.
    let script = [large.as_slice(), b".\r\nQUIT\r\n"].concat();
    let replies = setup.talk_in(&script, 1 << 20).await;
    assert_eq!(codes(&replies)[4..], [354, 250, 221], "{replies}");
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
}

/// A message that is larger than 32 KiB is made ready on another thread than the one that serves the sessions.
#[tokio::test]
async fn a_message_that_takes_long_to_make_ready_holds_up_no_other_session() {
    // The names in a header are looked up while a message is made ready: here that takes until another session has an
    // answer.
    let (begins, mut begun) = tokio::sync::mpsc::unbounded_channel();
    let (answered, answer) = std::sync::mpsc::channel();
    let answer = Mutex::new(answer);
    let setup = setup_resolving(Bounds::default(), move |name| {
        if name == "bobby@rune.internal" {
            begins.send(()).unwrap();
            let answered = answer.lock().unwrap().recv_timeout(Duration::from_secs(20));
            return answered.map_err(|_| Unaddressable::Unknown).and_then(|()| resolve(name));
        }
        resolve(name)
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let (server, stop) = (setup.server.clone(), setup.shutdown.subscribe());
    let serving = tokio::spawn(async move { server.serve(listener, stop).await });
    let (mut sending, mut other) = (TcpStream::connect(at).await.unwrap(), TcpStream::connect(at).await.unwrap());
    reply_line(&mut other).await;
    let envelope = format!("MAIL FROM:<>\r\nRCPT TO:<{}>\r\nDATA\r\n", bob());
    let large = message(&"x\r\n".repeat(12_000)).replace(", c@example.org", "");
    sending.write_all(format!("{LOGIN}{envelope}{large}.\r\n").as_bytes()).await.unwrap();
    begun.recv().await.unwrap();
    other.write_all(b"NOOP\r\n").await.unwrap();
    assert!(reply_line(&mut other).await.starts_with("250 "));
    // A look-up that waited in vain has ended: then the reply says so.
    let _in_time_or_not = answered.send(());
    while !reply_line(&mut sending).await.starts_with("354 ") {}
    let reply = reply_line(&mut sending).await;
    assert!(reply.contains("queued"), "the other session had no answer meanwhile: {reply}");
    setup.shutdown.send_replace(true);
    serving.await.unwrap();
}

#[tokio::test]
async fn sessions_are_bounded_and_end_with_the_daemon() {
    let setup = setup_with(Bounds { sessions: 1, ..Bounds::default() });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let (server, stop) = (setup.server.clone(), setup.shutdown.subscribe());
    let serving = tokio::spawn(async move { server.serve(listener, stop).await });
    let mut first = TcpStream::connect(at).await.unwrap();
    first.write_all(LOGIN.as_bytes()).await.unwrap();
    while !reply_line(&mut first).await.starts_with("235") {}
    let mut second = TcpStream::connect(at).await.unwrap();
    second.write_all(LOGIN.as_bytes()).await.unwrap();
    let mut all = String::new();
    second.read_to_string(&mut all).await.unwrap();
    assert_eq!(codes(&all), [250, 421]);
    setup.shutdown.send_replace(true);
    assert!(reply_line(&mut first).await.starts_with("421 4.3.2"));
    serving.await.unwrap();
    assert!(TcpStream::connect(at).await.is_err());
}
