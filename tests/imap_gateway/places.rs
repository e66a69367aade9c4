//! Connections and sessions: how many there may be, and who gives way.

use std::time::{Duration, Instant};

use runepeer::gateway::imap::Limits;
use runepeer::gateway::pacer::Pacer;

use crate::fake::{Server, limits};

#[tokio::test]
async fn sessions_of_an_account_are_bounded_and_places_come_back() {
    let server = Server::with(Limits { sessions: 2, ..limits() }).await;
    let (one, _two) = (server.log_in().await, server.log_in().await);
    let mut third = server.connect().await;
    let full = "a NO [LIMIT] too many sessions of this account; close one";
    assert_eq!(third.command("a LOGIN alice \"open sesame\"").await, [full]);
    drop(one);
    // The place is free when the server has seen the end of the first connection.
    for _ in 0..15 {
        if third.command("a LOGIN alice \"open sesame\"").await[0].starts_with("a OK") {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("the place did not come back");
}

#[tokio::test]
async fn strangers_cannot_take_all_connections_for_ever() {
    let short = Duration::from_secs(1);
    let server = Server::with(Limits { before_login: 1, idle_before_login: short, ..limits() }).await;
    let mut silent = server.connect().await;
    assert_eq!(silent.line().await, "* BYE silent for too long");
    assert!(silent.closed().await);
    let mut client = server.connect().await;
    assert!(client.command("a LOGIN alice \"open sesame\"").await[0].starts_with("a OK"));
    // A client that is logged in takes no place from those that are not.
    server.connect().await;
}

/// 64 connections on which nobody logs in, and one's own mail program.
#[tokio::test]
async fn connections_that_never_log_in_give_way_to_ones_that_do() {
    let server = Server::start().await;
    let mut mine = server.log_in().await;
    let mut silent = Vec::new();
    for _ in 0..64 {
        silent.push(server.connect().await);
    }
    let mut program = server.log_in().await;
    assert_eq!(silent[0].line().await, "* BYE another connection needs the place; log in sooner");
    assert!(silent[0].closed().await);
    // The others still have their places, and the clients that are logged in have no need of one.
    assert_eq!(silent[63].command("a NOOP").await, ["a OK done"]);
    for client in [&mut mine, &mut program] {
        assert_eq!(client.command("a NOOP").await, ["a OK done"]);
    }
}

#[tokio::test]
async fn who_guesses_takes_no_place_either() {
    let pace = Duration::from_secs(3);
    let server = Server::with(Limits { pacer: Pacer::new(pace), ..limits() }).await;
    let mut guessers = Vec::new();
    for _ in 0..200 {
        let mut guesser = server.connect().await;
        guesser.send(b"a LOGIN alice wrong\r\n").await;
        guessers.push(guesser);
    }
    let started = Instant::now();
    server.log_in().await;
    assert!(started.elapsed() < pace, "{:?}", started.elapsed());
    // Most of them were turned away without an answer.
    let mut answered = 0;
    for guesser in &mut guessers[..180] {
        answered += usize::from(guesser.line().await.starts_with("a NO"));
    }
    assert!(answered <= 1, "{answered}");
}
