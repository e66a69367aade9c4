//! Connections: who may hold one, for how long, and who gives way.

use std::sync::Mutex;
use std::time::Duration;

use runepeer::base::limits;
use runepeer::engine::Unaddressable;
use runepeer::gateway::pacer::Pacer;
use runepeer::gateway::submission::Bounds;
use runepeer::gateway::uploads::Uploads;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use crate::fake::{ENVELOPE, LOGIN, bob, codes, message, resolve, setup, setup_resolving, setup_with};

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
    let script = |number: usize| {
        let guess = data_encoding::BASE64.encode(format!("\0alice\0wrong {number}").as_bytes());
        format!("EHLO x\r\nAUTH PLAIN {guess}\r\n")
    };
    let guess = async |number| {
        let script = script(number);
        tokio::time::timeout(Duration::from_secs(2), setup.talk(&script)).await
    };
    let guesses = futures::future::join_all((0..100).map(guess));
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
    let replies = setup.talk(&script(100)).await;
    assert!(replies.contains("535") && started.elapsed() >= Duration::from_millis(600), "{replies}");
}

/// The clock of this test stands while anything is computed, so that the speed of the machine does not count.
#[tokio::test(start_paused = true)]
async fn a_password_that_was_mistyped_and_then_right_makes_no_later_answer_slower_here_either() {
    let pace = Duration::from_secs(1);
    let setup = setup_with(Bounds { pacer: Pacer::new(pace), ..Bounds::default() });
    let wrong = |password: &str| {
        format!("AUTH PLAIN {}\r\n", data_encoding::BASE64.encode(format!("\0alice\0{password}").as_bytes()))
    };
    let corrected = format!("EHLO x\r\n{}{}{}QUIT\r\n", wrong("a"), wrong("b"), LOGIN.replace("EHLO client\r\n", ""));
    assert_eq!(setup.codes(&corrected).await, [250, 535, 535, 235, 221]);
    for (password, expected) in [("c", pace), ("c", 2 * pace), ("c", 2 * pace), ("d", 2 * pace), ("e", 4 * pace)] {
        let started = Instant::now();
        setup.talk(&format!("EHLO x\r\n{}", wrong(password))).await;
        assert_eq!(started.elapsed().as_secs(), expected.as_secs(), "{password}");
    }
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
