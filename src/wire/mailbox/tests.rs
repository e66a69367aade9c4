//! Commands of a box: which are refused, which are read in several spellings, and that written commands read back.

use super::super::{CertificateRef, Command, Decoder, Item, Side, Tagged};
use super::*;
use proptest::prelude::*;

fn read(line: &str, side: Side) -> Vec<Word> {
    let mut decoder = Decoder::new(side);
    decoder.push(line.as_bytes());
    match decoder.next_item() {
        Ok(Some(Item::Line(words))) => words,
        other => panic!("{line}: {other:?}"),
    }
}

fn decode(line: &str) -> Option<Result<BoxCommand, CommandError>> {
    match Command::decode(read(line, Side::Commands)) {
        Tagged { body: Ok(Command::Unsupported { keyword, parameters }), .. } => {
            BoxCommand::decode(keyword, &parameters)
        }
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn what_is_not_as_specified_is_refused() {
    let (hash, id) = ("0".repeat(64), "0".repeat(32));
    for line in [
        "REGISTER #3".to_owned(),
        "REGISTER -".to_owned(),
        format!("REGISTER - {id} #3"),
        "REGISTER_INVITATION - #3".to_owned(),
        format!("REGISTER_INVITATION - {id}0 #3"),
        "CHALLENGE_ACCEPTED".to_owned(),
        "CHALLANGE_ACCEPTED #1 #2".to_owned(),
        "IDENTIFY".to_owned(),
        "IDENTIFY a PURPOSE=x PURPOSE=y".to_owned(),
        format!("RESPOND {hash}"),
        "RESPOND 12 #3".to_owned(),
        "TOKENS 1 #3".to_owned(),
        "TOKENS 01 12 #3".to_owned(),
        "TOKENS 1 256 #3".to_owned(),
        "TOKENS 4294967296 12 #3".to_owned(),
        format!("DEPOSIT {hash} HASH={hash}"),
        format!("DEPOSIT {hash} SIZE=3"),
        format!("DEPOSIT {hash} HASH={hash} SIZE=3 #3"),
        format!("DEPOSIT {hash}0 HASH={hash} SIZE=3"),
        format!("PAGE {hash} #3"),
        format!("PAGE {hash} 1"),
        format!("PAGE {hash}0 1 #3"),
        "FETCH".to_owned(),
        format!("FETCH {hash}0"),
        "CHECK".to_owned(),
        "CHECK a b".to_owned(),
        "LIST a STATE=new".to_owned(),
        "LIST a LIMIT=-1".to_owned(),
        "RETRIEVE a".to_owned(),
        "RETRIEVE a#1".to_owned(),
        format!("RETRIEVE a#{id} LENGTH=all"),
        "DELETE a".to_owned(),
        "DELETE a b".to_owned(),
        "SET JSON".to_owned(),
        "SET GLOBAL HOLD".to_owned(),
        "SET MY HOLD 3".to_owned(),
        "WATCH".to_owned(),
        "WATCH a #0".to_owned(),
    ] {
        assert_eq!(decode(&format!("{line}\n")), Some(Err(CommandError::Parameter)), "{line}");
    }
    assert_eq!(decode("PUBLISH x\n"), None);
}

#[test]
fn keywords_in_any_case_the_spelling_of_the_draft_and_extensions_are_read() {
    let id = "0f".repeat(16);
    assert_eq!(decode("challange_accepted #7 +later\n"), Some(Ok(BoxCommand::ChallengeAccepted { answer: 7 })));
    let expected = BoxCommand::Retrieve {
        mailbox: "FF".to_owned(),
        object: id.parse().unwrap(),
        part: Part::Range { offset: 5, length: None },
        style: Style { json: true, pretty: false, keep_unread: true },
    };
    assert_eq!(decode(&format!("Retrieve FF#{id} offset=5 length=END +json -read x=1\n")), Some(Ok(expected)));
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[A-F0-9]{64}", "[a-z]{3,9}@[a-z]{3}"]
}

fn object() -> impl Strategy<Value = ObjectId> {
    any::<[u8; 16]>().prop_map(ObjectId::from_bytes)
}

fn selection() -> impl Strategy<Value = Selection> {
    (any::<Option<bool>>(), any::<Option<u32>>(), prop::option::of(object()), any::<Option<u64>>())
        .prop_map(|(read, since, after, limit)| Selection { read, since, after, limit })
}

fn part() -> impl Strategy<Value = Part> {
    let range = (any::<u64>(), any::<Option<u64>>()).prop_map(|(offset, length)| Part::Range { offset, length });
    prop_oneof![Just(Part::Whole), range]
}

fn style() -> impl Strategy<Value = Style> {
    any::<[bool; 3]>().prop_map(|[json, pretty, keep_unread]| Style { json, pretty, keep_unread })
}

fn command() -> impl Strategy<Value = BoxCommand> {
    prop_oneof![
        (prop::option::of("[a-z]{3}@[a-z]{1,9}"), any::<Option<[u8; 16]>>(), any::<u64>()).prop_map(
            |(address, invitation, certificate)| {
                BoxCommand::Register(Registration { address, invitation, certificate })
            }
        ),
        any::<u64>().prop_map(|answer| BoxCommand::ChallengeAccepted { answer }),
        (name(), "[^\\p{Cc}]{0,20}").prop_map(|(mailbox, purpose)| BoxCommand::Identify { mailbox, purpose }),
        (any::<[u8; 32]>(), prop::option::of("[^\\p{Cc}]{0,20}"), any::<u64>())
            .prop_map(|(nonce, command, signature)| BoxCommand::Respond { nonce, command, signature }),
        any::<(u32, u8, u64)>().prop_map(|(epoch, class, size)| BoxCommand::Tokens { epoch, class, size }),
        any::<([u8; 32], [u8; 32], u64)>()
            .prop_map(|(token, hash, size)| BoxCommand::Deposit { token, claim: Claim { hash, size } }),
        (name(), any::<bool>()).prop_map(|(mailbox, recursive)| BoxCommand::Check { mailbox, recursive }),
        (name(), selection(), any::<bool>()).prop_map(|(mailbox, selection, json)| BoxCommand::List {
            mailbox,
            selection,
            json
        }),
        (name(), object(), part(), style()).prop_map(|(mailbox, object, part, style)| BoxCommand::Retrieve {
            mailbox,
            object,
            part,
            style
        }),
        (name(), prop::collection::vec(object(), 1..9))
            .prop_map(|(mailbox, objects)| BoxCommand::Delete { mailbox, objects }),
        name().prop_map(|mailbox| BoxCommand::Watch { mailbox }),
        (any::<bool>(), "[A-FH-Z]{1,9}", "[a-z0-9]{1,9}").prop_map(|(global, name, value)| BoxCommand::Set {
            global,
            name,
            value
        }),
        any::<([u8; 32], u32, u64)>().prop_map(|(name, until, size)| BoxCommand::Page { name, until, size }),
        any::<[u8; 32]>().prop_map(|token| BoxCommand::Fetch { token }),
    ]
}

fn reads_back<T: Said + PartialEq + fmt::Debug>(said: &T) -> bool {
    T::from_words(&read(&line(&said.words()), Side::Replies)).as_ref() == Ok(said)
}

proptest! {
    #[test]
    fn every_command_reads_as_it_was_written(expected in command(), id in prop::option::of("[a-z0-9]{1,9}")) {
        let id = id.map(|id| id.parse().unwrap());
        prop_assert_eq!(decode(&expected.encode(id.as_ref())), Some(Ok(expected.clone())));
        prop_assert_eq!(BoxCommand::from_line(expected.encode(None).trim_end_matches('\n')), Some(expected));
    }

    #[test]
    fn every_reply_reads_as_it_was_written(
        (size, offset, day, seconds, read) in any::<(u64, u64, u32, u32, bool)>(),
        nonce: [u8; 32],
        id: [u8; 16],
        mailbox in name(),
    ) {
        for server in [CertificateRef::Block(size), CertificateRef::Digest(nonce)] {
            prop_assert!(reads_back(&Challenge { size, server }), "Challenge");
        }
        for policy in [Policy::Session, Policy::TimeOut(seconds), Policy::Command] {
            prop_assert!(reads_back(&IdentificationChallenge { nonce, policy }), "IdentificationChallenge");
        }
        prop_assert!(reads_back(&Count { mailbox, unread: offset, total: size }), "Count");
        prop_assert!(reads_back(&Entry { object: ObjectId::from_bytes(id), size, day, read }), "Entry");
        prop_assert!(reads_back(&Piece { offset, size }), "Piece");
    }
}
