//! Introductions between nodes of the real binary, decided by a mail program and from the command line.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::string_slice)]

mod support;

use std::time::Duration;

use serde_json::Value;
use support::mail::{Imap, Login, Smtp};
use support::node::Node;
use support::{temp_dir, wait_for};

fn requests(node: &Node) -> Vec<Value> {
    node.json(&["request", "list"])["requests"].as_array().unwrap().clone()
}

fn waits(node: &Node, kind: &str) -> Value {
    wait_for("a request", Duration::from_secs(30), || requests(node).into_iter().find(|it| it["kind"] == kind))
}

fn knows(node: &Node, petname: &str) -> Option<Value> {
    let contact = node.try_json(&["contact", "show", petname])?;
    (contact["status"] == "confirmed").then_some(contact)
}

/// Three nodes that run: bob, who knows alice and carol, and these two, who do not know each other.
fn apart(peers: &std::path::Path) -> [Node; 3] {
    let mut nodes = ["alice", "bob", "carol"].map(|name| Node::loopback(name, peers));
    nodes.iter_mut().for_each(Node::start);
    nodes[1].befriend(&nodes[0]);
    nodes[1].befriend(&nodes[2]);
    nodes
}

#[test]
fn a_contact_introduces_two_others_who_agree_in_a_mail_program_and_from_the_command_line() {
    let peers = temp_dir();
    let [alice, bob, carol] = apart(peers.path());
    let strangers = |node: &Node, who: &str| node.try_json(&["contact", "show", who]).is_none();

    let asked = bob.run(&["contact", "introduce", "alice", "carol", "--text", "We met in Wien."]);
    assert!(asked.status.success() && String::from_utf8_lossy(&asked.stderr).contains("carol is asked"), "{asked:?}");
    let again = bob.run(&["contact", "introduce", "alice", "carol"]);
    assert!(String::from_utf8_lossy(&again.stderr).contains("they were asked already"), "{again:?}");

    let ask = waits(&carol, "ask");
    assert!(ask["from"] == "bob" && ask["address"] == Value::Null, "{ask}");
    assert_eq!(carol.json(&["status"])["identities"][0]["introductions"], 1);
    let id = ask["id"].as_str().unwrap();
    // INBOX says that something waits, and shows nobody before both agree.
    let told = |node: &Node| -> Vec<String> {
        let inbox = node.json(&["ls"]);
        let messages = inbox["messages"].as_array().unwrap();
        let told = messages.iter().filter(|message| message["subject"] == "Somebody waits for your decision");
        let text = |message: &Value| node.run(&["read", &message["uid"].to_string()]).stdout;
        told.map(|message| String::from_utf8(text(message)).unwrap()).collect()
    };
    let notes = told(&carol);
    assert!(notes.len() == 1 && notes[0].contains("contact bob would like to introduce you"), "{notes:?}");
    assert!(!notes[0].contains("alice"), "{notes:?}");
    let accepted = carol.run(&["request", "accept", &id[..8]]);
    wait_for("alice to be told", Duration::from_secs(30), || (told(&alice).len() == 1).then_some(()));
    assert!(accepted.status.success(), "{accepted:?}");
    assert!(requests(&carol).is_empty());

    let offer = waits(&alice, "introduction");
    assert!(offer["from"] == "bob" && offer["address"].as_str().unwrap().starts_with("carol@"), "{offer}");
    assert!(strangers(&alice, "carol") && strangers(&carol, "alice"));
    // A mail program moves the message to INBOX.
    let mut program = Imap::open(alice.port("imap"), &Login::new(&alice, "laptop")).unwrap();
    program.run("SELECT Requests").unwrap();
    let text = program.run("FETCH 1 BODY.PEEK[TEXT]").unwrap();
    assert!(String::from_utf8_lossy(&text).contains("> We met in Wien."));
    program.run("MOVE 1 INBOX").unwrap();
    for (node, other) in [(&alice, "carol"), (&carol, "alice")] {
        let contact = wait_for("a contact", Duration::from_secs(30), || knows(node, other));
        let history = contact["provenance"].to_string();
        assert!(history.contains("bob introduced you to each other"), "{history}");
    }
    // Whoever was introduced stands below the introducer, as text and in a picture.
    let graph = String::from_utf8(alice.run(&["contact", "graph"]).stdout).unwrap();
    let lines: Vec<&str> = graph.lines().collect();
    let place = |name: &str| lines.iter().position(|line| line.contains(&format!("\u{2500} {name}  "))).unwrap();
    assert_eq!(lines.iter().filter(|line| line.contains("carol")).count(), 1, "{graph}");
    assert!(place("carol") == place("bob") + 1 && lines[place("carol")].contains("introduced by bob"), "{graph}");
    let picture = peers.path().join("graph.svg");
    let drawn = alice.run(&["contact", "graph", "--svg", picture.to_str().unwrap()]);
    assert!(drawn.status.success() && drawn.stdout.is_empty(), "{drawn:?}");
    let svg = std::fs::read_to_string(&picture).unwrap();
    assert!(
        svg.starts_with("<?xml") && svg.contains("carol: introduced by bob") && svg.contains(">bob</text>"),
        "{svg}"
    );
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&picture).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let edges = alice.json(&["contact", "graph"]);
    let carol_came = edges["edges"].as_array().unwrap().iter().find(|edge| edge["petname"] == "carol").unwrap();
    assert!(carol_came["how"] == "introduced" && carol_came["by"] == "bob", "{edges}");
    let sent = alice.feed(&["send", "--to", "carol", "--subject", "hello"], b"It is a pleasure.\n");
    assert!(sent.status.success(), "{sent:?}");
    wait_for("mail", Duration::from_secs(30), || {
        let inbox = carol.json(&["ls"]);
        inbox["messages"].as_array().unwrap().iter().any(|message| message["subject"] == "hello").then_some(())
    });
}

#[test]
fn who_rejects_an_introduction_or_never_wants_one_is_not_introduced() {
    let peers = temp_dir();
    let [alice, bob, carol] = apart(peers.path());
    let introduce = |guest: &str, host: &str| assert!(bob.run(&["contact", "introduce", guest, host]).status.success());
    introduce("alice", "carol");
    let id = waits(&carol, "ask")["id"].as_str().unwrap().to_owned();
    assert!(carol.run(&["request", "reject", &id]).status.success());
    assert!(requests(&carol).is_empty());
    let gone = carol.run(&["request", "accept", &id]);
    assert!(!gone.status.success() && String::from_utf8_lossy(&gone.stderr).contains("request list"), "{gone:?}");

    alice.json(&["contact", "set", "bob", "--introductions", "never"]);
    assert_eq!(alice.json(&["contact", "show", "bob"])["introductions"], "never");
    introduce("carol", "alice");
    // What is sent later than the ask is there, and the ask is not.
    assert!(bob.feed(&["send", "--to", "alice", "--subject", "later"], b"x\n").status.success());
    wait_for("mail", Duration::from_secs(30), || {
        let inbox = alice.json(&["ls"]);
        inbox["messages"].as_array().unwrap().iter().any(|message| message["subject"] == "later").then_some(())
    });
    assert!(requests(&alice).is_empty() && requests(&carol).is_empty());
    assert!(bob.json(&["queue", "list"])["queue"].as_array().unwrap().is_empty());
}

#[test]
fn a_message_to_two_who_have_not_met_waits_for_both_and_each_can_answer_all() {
    let peers = temp_dir();
    let [alice, bob, carol] = apart(peers.path());
    let subjects = |node: &Node| -> Vec<String> {
        let inbox = node.json(&["ls"]);
        let messages = inbox["messages"].as_array().unwrap();
        messages.iter().map(|message| message["subject"].as_str().unwrap().to_owned()).collect()
    };
    // A mail program is answered 250, and sees the message in the Outbox.
    let mut program = Smtp::open(bob.port("submission"), &Login::new(&bob, "laptop")).unwrap();
    let text = format!(
        "From: <{}>\r\nTo: alice@rune.internal, carol@rune.internal\r\nSubject: dinner\r\n\r\nAt eight?\r\n",
        bob.address()
    );
    program.submit_to(&["alice@rune.internal", "carol@rune.internal"], text.as_bytes()).unwrap();
    let waiting = bob.json(&["queue", "list"])["queue"].as_array().unwrap().clone();
    let held: Vec<_> = waiting.iter().filter(|it| it["consent"].as_array().unwrap().len() == 2).collect();
    assert_eq!(held.len(), 2, "{waiting:?}");
    let words = String::from_utf8(bob.run(&["queue", "list"]).stdout).unwrap();
    assert!(words.contains("goes when alice and carol have agreed to be shown to the others"), "{words}");

    let id = waits(&alice, "ask")["id"].as_str().unwrap().to_owned();
    assert!(alice.run(&["request", "accept", &id]).status.success());
    let one_left = || bob.json(&["queue", "list"])["queue"][0]["consent"].as_array().map(Vec::len) == Some(1);
    wait_for("one to have agreed", Duration::from_secs(30), || one_left().then_some(()));
    assert!(subjects(&alice).iter().all(|subject| subject != "dinner"));
    let id = waits(&carol, "ask")["id"].as_str().unwrap().to_owned();
    assert!(carol.run(&["request", "accept", &id]).status.success());
    for node in [&alice, &carol] {
        wait_for("the message", Duration::from_secs(30), || {
            subjects(node).contains(&"dinner".to_owned()).then_some(())
        });
    }
    wait_for("both to know each other", Duration::from_secs(30), || {
        (knows(&alice, "carol").is_some() && knows(&carol, "alice").is_some()).then_some(())
    });
    // An answer to all, and a copy that nobody sees.
    let sent = carol.feed(&["send", "--to", "bob", "--cc", "alice", "--subject", "Re: dinner"], b"Gladly.\n");
    assert!(sent.status.success(), "{sent:?}");
    let sent = bob.feed(&["send", "--to", "alice", "--bcc", "carol", "--subject", "a hint"], b"Bring wine.\n");
    assert!(sent.status.success(), "{sent:?}");
    for (node, subject) in [(&bob, "Re: dinner"), (&alice, "Re: dinner"), (&alice, "a hint"), (&carol, "a hint")] {
        wait_for("the answer", Duration::from_secs(30), || subjects(node).contains(&subject.to_owned()).then_some(()));
    }
    let none = |node: &Node| {
        requests(node).is_empty() && node.json(&["queue", "list"])["queue"].as_array().unwrap().is_empty()
    };
    wait_for("nothing to wait any more", Duration::from_secs(30), || {
        [&alice, &bob, &carol].into_iter().all(none).then_some(())
    });
}

#[test]
fn the_queue_names_asks_and_introductions_as_what_they_are() {
    let peers = temp_dir();
    let [mut alice, bob, mut carol] = apart(peers.path());
    let queue = |node: &Node| node.json(&["queue", "list"])["queue"].as_array().unwrap().clone();
    let listed = |node: &Node| String::from_utf8(node.run(&["queue", "list"]).stdout).unwrap();
    alice.kill();
    carol.kill();
    assert!(bob.run(&["contact", "introduce", "alice", "carol"]).status.success());
    assert!(bob.feed(&["send", "--to", "carol", "--subject", "hello"], b"x\n").status.success());
    let waiting = queue(&bob);
    let kinds: Vec<&str> = waiting.iter().map(|it| it["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["introduction_ask", "mail"]);
    assert!(listed(&bob).contains("  question whether others may get to know them, to carol"), "{}", listed(&bob));
    let id = waiting[0]["id"].as_str().unwrap().to_owned();
    let shown = String::from_utf8(bob.run(&["queue", "show", &id]).stdout).unwrap();
    assert!(shown.contains("what       question whether") && !shown.contains("subject"), "{shown}");
    let mail = String::from_utf8(bob.run(&["queue", "show", waiting[1]["id"].as_str().unwrap()]).stdout).unwrap();
    assert!(mail.contains("subject    hello"), "{mail}");

    carol.start();
    bob.json(&["queue", "retry"]);
    let ask = waits(&carol, "ask")["id"].as_str().unwrap().to_owned();
    assert!(carol.run(&["request", "accept", &ask]).status.success());
    // Alice is away, so that the introduction waits for her.
    let introduction = wait_for("the introduction", Duration::from_secs(60), || {
        queue(&bob).into_iter().find(|it| it["kind"] == "introduction")
    });
    assert_eq!(introduction["to"], "alice");
    // What ended is named as well.
    let ended = bob.json(&["queue", "list", "--ended"])["queue"].as_array().unwrap().clone();
    assert!(ended.iter().any(|it| it["id"] == id.as_str() && it["kind"] == "introduction_ask"), "{ended:?}");
    let given = carol.json(&["queue", "list", "--ended"])["queue"].as_array().unwrap().clone();
    assert!(given.iter().any(|it| it["kind"] == "introduction_grant"), "{given:?}");
}

#[test]
fn a_message_may_have_recipients_of_copies_alone() {
    let peers = temp_dir();
    let [alice, bob, _carol] = apart(peers.path());
    let sent = bob.feed(&["send", "--cc", "alice", "--subject", "a copy"], b"Text.\n");
    assert!(sent.status.success(), "{sent:?}");
    let uid = wait_for("the message", Duration::from_secs(30), || {
        let inbox = alice.json(&["ls"]);
        let found = inbox["messages"].as_array().unwrap().iter().find(|message| message["subject"] == "a copy")?;
        assert_eq!(found["to"], "", "{found}");
        found["uid"].as_u64()
    });
    let text = String::from_utf8(alice.run(&["read", &uid.to_string()]).stdout).unwrap();
    let header = text.split("\r\n\r\n").next().unwrap();
    assert!(header.contains("\r\nCc:") && header.contains(&alice.address()) && !header.contains("\r\nTo:"), "{header}");
    let nobody = bob.run(&["send", "--subject", "to nobody"]);
    assert_eq!(nobody.status.code(), Some(2), "{nobody:?}");
}

/// Thunderbird's filter marks what it takes for junk with a keyword, and moves it where its user wants that.
#[test]
fn a_junk_filter_that_marks_and_moves_mail_of_a_contact_blocks_nobody() {
    let peers = temp_dir();
    let [alice, bob, _carol] = apart(peers.path());
    let arrives = |subject: &str| {
        assert!(bob.feed(&["send", "--to", "alice", "--subject", subject], b"Buy now!\n").status.success());
        wait_for(subject, Duration::from_secs(30), || {
            let inbox = alice.json(&["ls"]);
            inbox["messages"].as_array().unwrap().iter().any(|message| message["subject"] == subject).then_some(())
        });
    };
    let mut program = Imap::open(alice.port("imap"), &Login::new(&alice, "thunderbird")).unwrap();
    for (round, marks) in ["Junk", "$Junk", "Junk $Junk"].into_iter().enumerate() {
        arrives(&format!("offer {round}"));
        program.run("SELECT INBOX").unwrap();
        program.run("UID STORE 1:* -FLAGS (NonJunk $NotJunk)").unwrap();
        program.run(&format!("UID STORE 1:* +FLAGS ({marks})")).unwrap();
        // With MOVE, and as programs do that lack it.
        if round == 0 {
            program.run("UID MOVE 1:* Junk").unwrap();
        } else {
            program.run("UID COPY 1:* Junk").unwrap();
            program.run("UID STORE 1:* +FLAGS (\\Deleted)").unwrap();
            program.run("EXPUNGE").unwrap();
        }
        assert!(alice.json(&["ls"])["messages"].as_array().unwrap().is_empty());
        assert_eq!(alice.json(&["contact", "show", "bob"])["status"], "confirmed");
    }
    arrives("after all that");
    // What bob asks meanwhile is marked where it lies: that decides nothing.
    assert!(bob.run(&["contact", "introduce", "carol", "alice"]).status.success());
    let ask = waits(&alice, "ask");
    program.run("SELECT Requests").unwrap();
    program.run("UID STORE 1:* +FLAGS (Junk $Junk)").unwrap();
    assert_eq!(waits(&alice, "ask"), ask);
    // Moved to Junk it declines, and that is all.
    program.run("UID MOVE 1:* Junk").unwrap();
    assert!(requests(&alice).is_empty());
    assert_eq!(alice.json(&["contact", "show", "bob"])["status"], "confirmed");
    arrives("still a contact");
}
