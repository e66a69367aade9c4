//! What each mail program sends, and what is known to break one.

use crate::fake::Server;

const FIRST: &str = "Date: Sun, 1 Nov 2026 10:00:00 +0000
From: Bob Example <bob@example.onion>
To: alice@example.onion
Subject: first
Message-ID: <1@example.onion>
Content-Type: text/plain; charset=utf-8

Hello Alice
";

const SECOND: &str = "From: carol@example.onion
Subject: second

Hi
";

async fn with_mail() -> Server {
    let server = Server::start().await;
    server.account.deliver("INBOX", FIRST);
    server.account.deliver("INBOX", SECOND);
    server
}

#[tokio::test]
async fn thunderbird() {
    let server = with_mail().await;
    let mut client = server.connect().await;
    client
        .play(
            r#"
            C: 2 authenticate PLAIN
            S: + 
            "#,
        )
        .await;
    client.send(b"AGFsaWNlAG9wZW4gc2VzYW1l\r\n").await;
    assert!(client.line().await.starts_with("2 OK [CAPABILITY "));
    client
        .play(
            r#"
            C: 3 namespace
            S: * NAMESPACE (("" "/")) NIL NIL
            S: 3 OK done
            C: 4 ID ("name" "Thunderbird" "version" "153.0")
            S: * ID ("name" "runepeer")
            S: 4 OK pleased to meet you
            C: 5 list (subscribed) "" "*" return (special-use)
            S: * LIST (\HasNoChildren \Subscribed) "/" "INBOX"
            S: * LIST (\HasNoChildren \Sent \Subscribed) "/" "Sent"
            S: * LIST (\HasNoChildren \Drafts \Subscribed) "/" "Drafts"
            S: * LIST (\HasNoChildren \Archive \Subscribed) "/" "Archive"
            S: * LIST (\HasNoChildren \Junk \Subscribed) "/" "Junk"
            S: * LIST (\HasNoChildren \Trash \Subscribed) "/" "Trash"
            S: * LIST (\HasNoChildren \Subscribed) "/" "Requests"
            S: * LIST (\HasNoChildren \Subscribed) "/" "Outbox"
            S: 5 OK done
            C: 6 list "" "INBOX"
            S: * LIST (\HasNoChildren) "/" "INBOX"
            S: 6 OK done
            C: 7 select "INBOX"
            S: * FLAGS (\Answered \Flagged \Deleted \Seen \Draft)
            S: * OK [PERMANENTFLAGS (\Answered \Flagged \Deleted \Seen \Draft \*)] what can be stored
            S: * 2 EXISTS
            S: * 0 RECENT
            S: * OK [UNSEEN 1] the first unread message
            S: * OK [UIDVALIDITY 701] UIDs are valid
            S: * OK [UIDNEXT 3] the next UID
            S: 7 OK [READ-WRITE] opened
            C: 8 UID fetch 1:* (FLAGS)
            S: * 1 FETCH (UID 1 FLAGS ())
            S: * 2 FETCH (UID 2 FLAGS ())
            S: 8 OK done
            C: 9 UID fetch 1 (UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (From To Subject Date Message-ID)])
            S: * 1 FETCH (UID 1 RFC822.SIZE 205 FLAGS () BODY[HEADER.FIELDS (From To Subject Date Message-ID)] {151}
            S: Date: Sun, 1 Nov 2026 10:00:00 +0000
            S: From: Bob Example <bob@example.onion>
            S: To: alice@example.onion
            S: Subject: first
            S: Message-ID: <1@example.onion>
            S:
            S: )
            S: 9 OK done
            C: 10 UID fetch 1 BODY.PEEK[TEXT]<0.2048>
            S: * 1 FETCH (UID 1 BODY[TEXT]<0> {13}
            S: Hello Alice
            S: )
            S: 10 OK done
            C: 11 uid store 1 +Flags (\Deleted \Seen)
            S: * 1 FETCH (UID 1 FLAGS (\Deleted \Seen))
            S: 11 OK stored
            C: 12 uid move 2 "Archive"
            S: * OK [COPYUID 704 2 1] moved
            S: * 2 EXPUNGE
            S: 12 OK moved
            C: 13 close
            S: 13 OK closed
            C: 14 logout
            S: * BYE logging out
            S: 14 OK good bye
            "#,
        )
        .await;
    assert!(client.closed().await);
}

#[tokio::test]
async fn neomutt() {
    let server = with_mail().await;
    let mut client = server.connect().await;
    let reply = client.command("a0 AUTHENTICATE PLAIN AGFsaWNlAG9wZW4gc2VzYW1l").await;
    assert!(reply[0].starts_with("a0 OK"), "{reply:?}");
    client
        .play(
            r#"
            C: a1 ENABLE UTF8=ACCEPT
            S: * ENABLED
            S: a1 OK done
            C: a2 LIST "" ""
            S: * LIST (\Noselect) "/" ""
            S: a2 OK done
            C: a3 LSUB "" "INBOX%"
            S: * LSUB () "/" "INBOX"
            S: a3 OK done
            C: a4 STATUS "INBOX" (UIDNEXT UIDVALIDITY UNSEEN RECENT MESSAGES)
            S: * STATUS "INBOX" (UIDNEXT 3 UIDVALIDITY 701 UNSEEN 2 RECENT 0 MESSAGES 2)
            S: a4 OK done
            "#,
        )
        .await;
    client.command("a5 SELECT \"INBOX\"").await;
    client
        .play(
            r#"
            C: a6 UID STORE 1:2 +FLAGS.SILENT (Old)
            S: * FLAGS (\Answered \Flagged \Deleted \Seen \Draft Old)
            S: * OK [PERMANENTFLAGS (\Answered \Flagged \Deleted \Seen \Draft Old \*)] what can be stored
            S: a6 OK stored
            C: a7 FETCH 1:2 (UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (SUBJECT)])
            S: * 1 FETCH (UID 1 FLAGS (Old) INTERNALDATE " 1-Nov-2026 09:05:07 +0000" RFC822.SIZE 205 BODY[HEADER.FIELDS (SUBJECT)] {18}
            S: Subject: first
            S:
            S: )
            S: * 2 FETCH (UID 2 FLAGS (Old) INTERNALDATE " 1-Nov-2026 09:05:07 +0000" RFC822.SIZE 50 BODY[HEADER.FIELDS (SUBJECT)] {19}
            S: Subject: second
            S:
            S: )
            S: a7 OK done
            C: a8 UID STORE 2 +FLAGS.SILENT (\Deleted)
            S: a8 OK stored
            C: a9 EXPUNGE
            S: * 2 EXPUNGE
            S: a9 OK expunged
            C: a10 IDLE
            S: + idling
            C: DONE
            S: a10 OK done
            "#,
        )
        .await;
}

#[tokio::test]
async fn mbsync() {
    let server = with_mail().await;
    let mut client = server.log_in().await;
    client.command("3 SELECT INBOX").await;
    client
        .play(
            r#"
            C: 4 UID FETCH 1:1000 (UID FLAGS)
            S: * 1 FETCH (UID 1 FLAGS ())
            S: * 2 FETCH (UID 2 FLAGS ())
            S: 4 OK done
            C: 5 UID FETCH 2 (BODY.PEEK[])
            C: 6 UID STORE 2 +FLAGS.SILENT (\Deleted)
            S: * 2 FETCH (UID 2 BODY[] {50}
            S: From: carol@example.onion
            S: Subject: second
            S:
            S: Hi
            S: )
            S: 5 OK done
            S: 6 OK stored
            C: 7 CHECK
            S: 7 OK done
            C: 8 APPEND "Drafts" (\Seen) " 1-Nov-2026 10:00:00 +0100" {18+}
            C: Subject: draft
            C: 
            C: 
            S: 8 OK [APPENDUID 703 1] stored
            C: 9 CLOSE
            S: 9 OK closed
            C: 10 STATUS INBOX (MESSAGES)
            S: * STATUS "INBOX" (MESSAGES 1)
            S: 10 OK done
            C: 11 EXAMINE Drafts
            S: * FLAGS (\Answered \Flagged \Deleted \Seen \Draft)
            S: * OK [PERMANENTFLAGS ()] what can be stored
            S: * 1 EXISTS
            S: * 0 RECENT
            S: * OK [UIDVALIDITY 703] UIDs are valid
            S: * OK [UIDNEXT 2] the next UID
            S: 11 OK [READ-ONLY] opened for reading
            C: 12 FETCH 1 (INTERNALDATE FLAGS)
            S: * 1 FETCH (INTERNALDATE " 1-Nov-2026 09:00:00 +0000" FLAGS (\Seen))
            S: 12 OK done
            C: 13 STORE 1 FLAGS ()
            S: 13 NO [READ-ONLY] the folder was opened for reading only
            "#,
        )
        .await;
}

#[tokio::test]
async fn offlineimap_and_names_in_modified_utf7() {
    let server = with_mail().await;
    let mut client = server.log_in().await;
    client
        .play(
            r#"
            C: A1 CREATE Entw&APw-rfe/2026
            S: A1 OK created
            C: A2 LIST "" Entw&APw-rfe*
            S: * LIST (\Noselect \HasChildren) "/" "Entw&APw-rfe"
            S: * LIST (\HasNoChildren) "/" "Entw&APw-rfe/2026"
            S: A2 OK done
            C: A3 LIST "" %
            S: * LIST (\HasNoChildren) "/" "INBOX"
            S: * LIST (\HasNoChildren \Sent) "/" "Sent"
            S: * LIST (\HasNoChildren \Drafts) "/" "Drafts"
            S: * LIST (\HasNoChildren \Archive) "/" "Archive"
            S: * LIST (\HasNoChildren \Junk) "/" "Junk"
            S: * LIST (\HasNoChildren \Trash) "/" "Trash"
            S: * LIST (\HasNoChildren) "/" "Requests"
            S: * LIST (\HasNoChildren) "/" "Outbox"
            S: * LIST (\Noselect \HasChildren) "/" "Entw&APw-rfe"
            S: A3 OK done
            C: A4 LSUB "" %
            S: * LSUB () "/" "INBOX"
            S: * LSUB () "/" "Sent"
            S: * LSUB () "/" "Drafts"
            S: * LSUB () "/" "Archive"
            S: * LSUB () "/" "Junk"
            S: * LSUB () "/" "Trash"
            S: * LSUB () "/" "Requests"
            S: * LSUB () "/" "Outbox"
            S: * LSUB (\Noselect) "/" "Entw&APw-rfe"
            S: A4 OK done
            C: A5 EXAMINE Entw&APw-rfe/2026
            S: * FLAGS (\Answered \Flagged \Deleted \Seen \Draft)
            S: * OK [PERMANENTFLAGS ()] what can be stored
            S: * 0 EXISTS
            S: * 0 RECENT
            S: * OK [UIDVALIDITY 711] UIDs are valid
            S: * OK [UIDNEXT 1] the next UID
            S: A5 OK [READ-ONLY] opened for reading
            C: A6 RENAME Entw&APw-rfe/2026 Old
            S: A6 OK renamed
            C: A7 UNSUBSCRIBE Old
            S: A7 OK done
            C: A8 LSUB "" Ol*
            S: A8 OK done
            C: A9 DELETE Old
            S: * OK [CLOSED] the selected folder was deleted
            S: A9 OK deleted
            C: A10 SELECT Old
            S: A10 NO [NONEXISTENT] there is no such folder
            C: A11 CREATE inbox
            S: A11 NO [ALREADYEXISTS] a folder of that name exists
            C: A12 DELETE Sent
            S: A12 NO [CANNOT] that folder always exists
            C: A13 CREATE a//b
            S: A13 NO [CANNOT] that is not a name for a folder
            C: A14 CREATE a%
            S: A14 BAD the command could not be understood
            C: A15 CREATE "a%"
            S: A15 NO [CANNOT] that is not a name for a folder
            "#,
        )
        .await;
}

#[tokio::test]
async fn aerc() {
    let server = with_mail().await;
    let mut client = server.log_in().await;
    client
        .play(
            r#"
            C: 1 LIST "" (INBOX "Sen%") RETURN (STATUS (MESSAGES UNSEEN SIZE))
            S: * LIST (\HasNoChildren) "/" "INBOX"
            S: * STATUS "INBOX" (MESSAGES 2 UNSEEN 2 SIZE 255)
            S: * LIST (\HasNoChildren \Sent) "/" "Sent"
            S: * STATUS "Sent" (MESSAGES 0 UNSEEN 0 SIZE 0)
            S: 1 OK done
            "#,
        )
        .await;
    client.command("2 SELECT INBOX").await;
    client
        .play(
            r#"
            C: 3 UID SEARCH CHARSET UTF-8 ALL
            S: * SEARCH 1 2
            S: 3 OK done
            C: 4 UID FETCH 1 (BODYSTRUCTURE ENVELOPE)
            S: * 1 FETCH (UID 1 BODYSTRUCTURE ("text" "plain" ("charset" "utf-8") NIL NIL "7bit" 13 1 NIL NIL NIL NIL) ENVELOPE ("Sun, 1 Nov 2026 10:00:00 +0000" "first" (("Bob Example" NIL "bob" "example.onion")) (("Bob Example" NIL "bob" "example.onion")) (("Bob Example" NIL "bob" "example.onion")) ((NIL NIL "alice" "example.onion")) NIL NIL NIL "<1@example.onion>"))
            S: 4 OK done
            "#,
        )
        .await;
}

#[tokio::test]
async fn k9_and_apple_mail() {
    let server = with_mail().await;
    let mut client = server.inbox().await;
    client
        .play(
            r#"
            C: 1 UID SEARCH *:*
            S: * SEARCH 2
            S: 1 OK done
            C: 2 UID SEARCH 1:* NOT DELETED
            S: * SEARCH 1 2
            S: 2 OK done
            C: 3 UID FETCH 2 (BODY.PEEK[]<0.40>)
            S: * 2 FETCH (UID 2 BODY[]<0> {40}
            S: From: carol@example.onion
            S: Subject: seco)
            S: 3 OK done
            C: 4 UID FETCH 2 BODY.PEEK[]<40.393216>
            S: * 2 FETCH (UID 2 BODY[]<40> {10}
            S: nd
            S:
            S: Hi
            S: )
            S: 4 OK done
            C: 5 UID FETCH 2 BODY.PEEK[]<50.100>
            S: * 2 FETCH (UID 2 BODY[]<50> {0}
            S: )
            S: 5 OK done
            C: 6 IDLE
            S: + idling
            C: DONE
            C: 7 NOOP
            S: 6 OK done
            S: 7 OK done
            "#,
        )
        .await;
}

#[tokio::test]
async fn an_open_range_beyond_the_end_gives_the_last_message() {
    let server = with_mail().await;
    let mut client = server.inbox().await;
    client
        .play(
            r#"
            C: 1 UID FETCH 500:* (FLAGS)
            S: * 2 FETCH (UID 2 FLAGS ())
            S: 1 OK done
            C: 2 UID FETCH 500 (FLAGS)
            S: 2 OK done
            C: 3 UID SEARCH UID 500:*
            S: * SEARCH 2
            S: 3 OK done
            "#,
        )
        .await;
}

#[tokio::test]
async fn the_uid_comes_first_wherever_it_was_asked_for() {
    let server = with_mail().await;
    let mut client = server.inbox().await;
    client
        .play(
            r#"
            C: 1 FETCH 2 (FLAGS RFC822.SIZE UID)
            S: * 2 FETCH (UID 2 FLAGS () RFC822.SIZE 50)
            S: 1 OK done
            C: 2 FETCH 2 FAST
            S: * 2 FETCH (FLAGS () INTERNALDATE " 1-Nov-2026 09:05:07 +0000" RFC822.SIZE 50)
            S: 2 OK done
            "#,
        )
        .await;
}

#[tokio::test]
async fn an_expunge_is_not_followed_by_a_needless_exists_and_uids_are_not_reused() {
    let server = with_mail().await;
    let mut client = server.inbox().await;
    client
        .play(
            r#"
            C: 1 STORE 1:2 +FLAGS.SILENT (\Deleted)
            S: 1 OK stored
            C: 2 UID EXPUNGE 1
            S: * 1 EXPUNGE
            S: 2 OK expunged
            C: 3 EXPUNGE
            S: * 1 EXPUNGE
            S: 3 OK expunged
            C: 4 FETCH 1:* (UID)
            S: 4 OK done
            C: 5 APPEND INBOX {8}
            S: + go on
            C: a: b
            C: 
            C: 
            S: * 1 EXISTS
            S: 5 OK [APPENDUID 701 3] stored
            C: 6 FETCH 1 (UID FLAGS)
            S: * 1 FETCH (UID 3 FLAGS ())
            S: 6 OK done
            "#,
        )
        .await;
}

#[tokio::test]
async fn delta_chat_moves_while_another_session_idles() {
    let server = with_mail().await;
    let (mut watching, mut client) = (server.inbox().await, server.inbox().await);
    watching.play("C: A1 IDLE\nS: + idling").await;
    client
        .play(
            r#"
            C: A2 UID FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])
            S: * 1 FETCH (UID 1 BODY[HEADER.FIELDS (MESSAGE-ID)] {33}
            S: Message-ID: <1@example.onion>
            S:
            S: )
            S: * 2 FETCH (UID 2 BODY[HEADER.FIELDS (MESSAGE-ID)] {2}
            S:
            S: )
            S: A2 OK done
            C: A3 GETQUOTAROOT INBOX
            S: A3 BAD that command is not offered here
            C: A4 UID MOVE 1 Archive
            S: * OK [COPYUID 704 1 1] moved
            S: * 1 EXPUNGE
            S: A4 OK moved
            "#,
        )
        .await;
    watching.play("S: * 1 EXPUNGE\nC: DONE\nS: A1 OK done").await;
}

#[tokio::test]
async fn extended_lists_tell_of_what_is_below() {
    let server = Server::start().await;
    let mut client = server.log_in().await;
    for command in ["1 CREATE Work/Tor", "2 CREATE Home", "3 UNSUBSCRIBE Home", "4 CREATE Home/Tax"] {
        client.command(command).await;
    }
    client
        .play(
            r#"
            C: 5 LIST (SUBSCRIBED RECURSIVEMATCH) "" (Work Home)
            S: * LIST (\HasChildren) "/" "Home" ("CHILDINFO" ("SUBSCRIBED"))
            S: * LIST (\Noselect \NonExistent \HasChildren) "/" "Work" ("CHILDINFO" ("SUBSCRIBED"))
            S: 5 OK done
            C: 6 LIST (SUBSCRIBED) "" Ho*
            S: * LIST (\HasNoChildren \Subscribed) "/" "Home/Tax"
            S: 6 OK done
            C: 7 LIST Work/ % RETURN (SUBSCRIBED CHILDREN)
            S: * LIST (\HasNoChildren \Subscribed) "/" "Work/Tor"
            S: 7 OK done
            C: 8 LIST (SPECIAL-USE) "" "*"
            S: * LIST (\HasNoChildren \Sent) "/" "Sent"
            S: * LIST (\HasNoChildren \Drafts) "/" "Drafts"
            S: * LIST (\HasNoChildren \Archive) "/" "Archive"
            S: * LIST (\HasNoChildren \Junk) "/" "Junk"
            S: * LIST (\HasNoChildren \Trash) "/" "Trash"
            S: 8 OK done
            C: 9 LIST (RECURSIVEMATCH) "" *
            S: 9 BAD the command could not be understood
            "#,
        )
        .await;
}
