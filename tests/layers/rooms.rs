//! The rooms of the engine: which may import which (docs/architecture.md, "Layers").

use std::collections::BTreeSet;

use super::expect_exactly;
use super::source::{Source, Tree};

/// Each room of the engine with the rooms that it may import, from the ground up. A file `src/engine/<room>.rs` and the
/// folder `src/engine/<room>/` belong to the room by their name.
const ROOMS: &[(&str, &[&str])] = &[
    // How records are encoded.
    ("encoding", &[]),
    // What the store and the carrier need of a commit.
    ("commit", &[]),
    // The records, and the fold of them.
    ("state", &["encoding", "commit"]),
    // RUNE on the wire.
    ("session", &[]),
    // What may be asked of an identity.
    ("api", &["state"]),
    // What goes in and out of its machine.
    ("io", &["commit", "state", "api"]),
    // The carrier at the other end. It stands beside the identity, and the identity knows nothing of it.
    ("carrier", &["encoding", "commit", "state", "session", "api", "io"]),
    // What a room is given when something happens, and what all sessions that are dialled have in common.
    ("context", &["commit", "state", "session", "api", "io"]),
    // The address book, cards, parting.
    ("people", &["commit", "state", "session", "api", "io", "context"]),
    // The queue, direct sessions, receipts and reports.
    ("deliver", &["commit", "state", "session", "api", "io", "context", "people"]),
    // Mail in boxes, ours and those of contacts.
    ("boxes", &["commit", "state", "session", "api", "io", "context", "people", "deliver"]),
    // What is brought for others.
    ("forwarding", &["commit", "state", "session", "api", "io", "context", "people", "deliver", "boxes"]),
    // What peers bring.
    ("receive", &["commit", "state", "session", "api", "io", "context", "people", "deliver", "boxes", "forwarding"]),
    // Which room a request goes to.
    (
        "requests",
        &["commit", "state", "session", "api", "io", "context", "people", "deliver", "boxes", "forwarding", "receive"],
    ),
    // The router. It owns the rooms.
    (
        "identity",
        &[
            "commit",
            "state",
            "session",
            "api",
            "io",
            "context",
            "people",
            "deliver",
            "boxes",
            "forwarding",
            "receive",
            "requests",
        ],
    ),
];

/// Files of a room that do not have its name.
const NAMED_OTHERWISE: &[(&str, &str)] = &[
    ("change.rs", "context"),
    ("dialled.rs", "context"),
    ("status.rs", "context"),
    ("rooms.rs", "identity"),
    ("signals.rs", "identity"),
    ("task.rs", "identity"),
];

/// Imports up that there are still: which file imports which room. A row that is not needed any more has to go.
const STILL_UP: &[(&str, &str)] = &[];

/// The room of a file of the engine, by its path below `src/engine/`. `mod.rs` itself is in none: it lists the rooms.
fn room_of(path: &str) -> Option<&'static str> {
    let head = path.split('/').next().unwrap_or_default().trim_end_matches(".rs");
    let moved = NAMED_OTHERWISE.iter().filter(|(start, _)| path.starts_with(start));
    let moved = moved.max_by_key(|(start, _)| start.len()).map(|(_, room)| *room);
    moved.or_else(|| ROOMS.iter().map(|(room, _)| *room).find(|room| *room == head))
}

fn within_engine(source: &Source) -> Option<&str> {
    source.path.strip_prefix("src/engine/").filter(|path| *path != "mod.rs")
}

/// Which file imports which room above its own.
fn upward(tree: &Tree) -> BTreeSet<(&str, &'static str)> {
    let mut found = BTreeSet::new();
    for (source, path) in tree.layer("engine").filter_map(|source| Some((source, within_engine(source)?))) {
        let Some(own) = room_of(path) else { continue };
        let (_, allowed) = ROOMS.iter().find(|(room, _)| *room == own).unwrap();
        let imported = tree.named_by(source).filter_map(|other| room_of(within_engine(other)?));
        let wrong = imported.filter(|room| *room != own && !allowed.contains(room));
        found.extend(wrong.map(|room| (path, room)));
    }
    found
}

#[test]
fn rooms_import_only_rooms_below() {
    expect_exactly(upward(&Tree::of_the_library()), STILL_UP.iter().copied().collect(), "STILL_UP");
}

/// What a room may import stands before it in the table. So rooms form no circle, apart from what is still up.
#[test]
fn rooms_form_no_circle() {
    for (place, (room, allowed)) in ROOMS.iter().enumerate() {
        for import in *allowed {
            assert!(ROOMS[..place].iter().any(|(name, _)| name == import), "{room} stands before {import}");
        }
    }
}

#[test]
fn every_file_of_the_engine_is_in_a_room() {
    let tree = Tree::of_the_library();
    let files: Vec<&str> = tree.layer("engine").filter_map(within_engine).collect();
    let homeless: Vec<&&str> = files.iter().filter(|path| room_of(path).is_none()).collect();
    assert!(homeless.is_empty(), "in no room: {homeless:?}");
    let is_used = |start: &str| files.iter().any(|path| path.starts_with(start));
    let gone: Vec<_> = NAMED_OTHERWISE.iter().filter(|(start, _)| !is_used(start)).collect();
    assert!(gone.is_empty(), "take out of NAMED_OTHERWISE what has moved: {gone:?}");
    assert!(NAMED_OTHERWISE.iter().all(|(_, room)| ROOMS.iter().any(|(name, _)| name == room)));
}

#[test]
fn an_import_up_is_seen_in_every_form() {
    let texts = [
        (
            "src/engine/mod.rs",
            "pub mod record;\npub mod identity;\n#[cfg(test)]\nmod scenarios;\npub use identity::Identity;",
        ),
        ("src/engine/identity.rs", "use super::record::Record;\npub struct Identity;"),
        ("src/engine/state/record.rs", "pub struct Record;"),
        ("src/engine/tests/scenarios.rs", "use super::Identity;"),
        ("src/engine/session/mod.rs", "#[cfg(test)]\nmod tests;\nuse crate::engine::identity::Identity;"),
        ("src/engine/state/mod.rs", "use super::Identity;"),
        ("src/engine/boxes/client.rs", "fn a(identity: &crate::engine::Identity) {}"),
        ("src/engine/state/boxes/mod.rs", "use super::super::boxes::client::DepositClient;"),
    ];
    let tree = Tree::new(texts.map(|(path, text)| (path.to_owned(), text.to_owned())).to_vec());
    let expected = [
        ("boxes/client.rs", "identity"),
        ("session/mod.rs", "identity"),
        ("state/boxes/mod.rs", "boxes"),
        ("state/mod.rs", "identity"),
    ];
    assert_eq!(upward(&tree), BTreeSet::from(expected));
}
