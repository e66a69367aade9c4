//! The matrix itself: what a node does and says for each kind of file and each damage (docs/on-disk.md, "Damage").

use super::world::State;
use Damage::{Empty, First, Gone, Half, Last, Middle, Old, Swapped, Version, Zeros};
use State::{Checkpoint, Compacted, Locked, Making, Plain, Restored, Restoring};

/// What is done to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Damage {
    /// One byte is changed: the first,
    First,
    /// the ninth, in which most formats have their version,
    Version,
    /// one in the middle,
    Middle,
    /// the last.
    Last,
    /// A quarter of it is zeros.
    Zeros,
    /// The second half is gone.
    Half,
    /// Nothing is left in it.
    Empty,
    /// It is deleted.
    Gone,
    /// It and another file of its kind are in each other's place.
    Swapped,
    /// It is as it was at an earlier moment.
    Old,
}

pub(crate) const DAMAGES: [Damage; 10] = [First, Version, Middle, Last, Zeros, Half, Empty, Gone, Swapped, Old];

/// What a start does. In what must be said `{file}` stands for the name of the damaged file.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Start {
    /// It starts, and everything is there.
    Well,
    /// It starts, and says this in its log, its status, or a message in INBOX. What is not there lay in that file.
    Says(&'static [&'static str]),
    /// It ends with this sentence, and has changed nothing.
    Refuses(&'static [&'static str]),
}

/// What `repair --check` finds: its status, and what it says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Check(pub(crate) i32, pub(crate) &'static [&'static str]);

/// What becomes of a backup that is made of it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Backup {
    /// It is made, and `verify` finds it whole.
    Whole,
    /// It is made, and `verify` says this.
    Verify(&'static [&'static str]),
    /// It is not made, and this is said.
    Refused(&'static [&'static str]),
}

/// What is expected of a kind of file in a state, for these damages.
pub(crate) struct Row {
    pub(crate) state: State,
    pub(crate) kind: &'static str,
    pub(crate) damages: &'static [Damage],
    pub(crate) start: Start,
    pub(crate) check: Check,
    /// Tried with the first of the damages.
    pub(crate) backup: Backup,
}

const fn row(
    state: State,
    kind: &'static str,
    damages: &'static [Damage],
    start: Start,
    check: Check,
    backup: Backup,
) -> Row {
    Row { state, kind, damages, start, check, backup }
}

use Backup::{Refused, Verify, Whole};
use Start::{Refuses, Says, Well};

/// All damages by which the bytes of a file become others.
const CHANGED: &[Damage] = &[First, Version, Middle, Last, Zeros, Half, Empty];
const FINE: Check = Check(0, &["nothing is damaged"]);

const MISSING: &[&str] = &["{file} is missing", "nothing was changed", "Put back what is missing", "backup restore"];
/// The node key of a node without a passphrase is in the place of one that has one.
const NO_KEY_FILE: &[&str] = &["keys/node.key is missing", "it opens keys/node", "Put back what is missing"];
const NO_KEY: &[&str] = &["the key file", "{file} is damaged", "nothing was changed", "Put back", "backup restore"];
const FOREIGN: &[&str] = &["{file} is whole and does not fit the others", "Put back", "backup restore"];
/// Nobody is locked out: contacts seal anew what they sealed to a key that is not there.
const NO_SEAL_KEYS: &[&str] = &["the present encryption key is not in keys/", "{file}", "a new one is made"];
/// Of an identity, with whose key it was exchanged.
const FOREIGN_IDENTITY: &[&str] = &["is whole and does not fit the others", "Put back", "backup restore"];
const UNFIT: &[&str] = &["node and", "node.key are whole and do not fit each other", "Put back", "backup restore"];
const NO_CARRIER_KEY: &[&str] =
    &["carries no mail for others until that is mended", "{file} is damaged", "no backup has this file"];
const LOG: &[&str] =
    &["the log is damaged", "{file} was changed or is incomplete", "backup restore", "runepeer repair"];
const NO_SEGMENT: &[&str] =
    &["the log is incomplete", "{file} is missing, or a newer checkpoint", "backup restore", "runepeer repair"];
const HELD: &[&str] =
    &["carries no mail for others until that is mended", "{file} was changed or is incomplete", "runepeer repair"];
const HELD_GONE: &[&str] =
    &["carries no mail for others until that is mended", "{file} is missing, or a newer checkpoint", "runepeer repair"];
const OLDER: &[&str] = &["the end of an identity's log is missing", "This mailbox is older than it was"];
const HELD_OLDER: &[&str] = &["the end of the carrier's log is missing", "\"problem\":\"the end of the carrier's log"];
const FIRST_RECORDS: &[&str] =
    &["nothing of it can be saved", "its first records are lost", "{file}", "nothing was changed"];
const BODY: &[&str] = &["A message is damaged on the disk", "{file} was changed or is incomplete"];
const WITHOUT: &[&str] = &["a checkpoint of the log is damaged", "{file}"];
const IN_BACKUP: &[&str] = &["{file}", "runepeer repair --check", "use another backup"];

/// The matrix. A kind is a row of its own in each state in which its damage means something else.
pub(crate) const MATRIX: &[Row] = &[
    // Keys.
    row(Plain, "keys/node", CHANGED, Refuses(NO_KEY), Check(7, NO_KEY), Verify(IN_BACKUP)),
    row(Plain, "keys/node", &[Gone], Refuses(MISSING), Check(7, MISSING), Refused(MISSING)),
    row(Plain, "keys/node", &[Swapped], Refuses(UNFIT), Check(7, UNFIT), Verify(&["do not fit each other"])),
    row(Plain, "keys/node.key", CHANGED, Refuses(NO_KEY), Check(7, NO_KEY), Verify(IN_BACKUP)),
    row(Plain, "keys/node.key", &[Gone], Refuses(MISSING), Check(7, MISSING), Refused(MISSING)),
    row(Plain, "keys/node.key", &[Swapped], Refuses(UNFIT), Check(7, UNFIT), Verify(&["do not fit each other"])),
    row(Plain, "keys/<identity>", CHANGED, Refuses(NO_KEY), Check(7, NO_KEY), Verify(IN_BACKUP)),
    row(Plain, "keys/<identity>", &[Gone], Refuses(MISSING), Check(7, MISSING), Refused(MISSING)),
    row(Plain, "keys/<identity>", &[Swapped], Refuses(FOREIGN), Check(7, FOREIGN), Verify(IN_BACKUP)),
    row(Plain, "keys/<identity>.seal", CHANGED, Says(NO_SEAL_KEYS), FINE, Whole),
    row(Plain, "keys/<identity>.seal", &[Gone, Swapped], Says(NO_SEAL_KEYS), FINE, Whole),
    row(
        Plain,
        "keys/held-<carrier>",
        CHANGED,
        Says(NO_CARRIER_KEY),
        Check(7, &["{file} is damaged", "no backup has this file"]),
        Whole,
    ),
    row(Plain, "keys/held-<carrier>", &[Gone], Refuses(MISSING), Check(7, MISSING), Refused(MISSING)),
    row(
        Plain,
        "keys/held-<carrier>",
        &[Swapped],
        Refuses(FOREIGN_IDENTITY),
        Check(7, FOREIGN),
        Verify(&["use another backup"]),
    ),
    row(Locked, "keys/node", CHANGED, Refuses(NO_KEY), Check(7, NO_KEY), Verify(IN_BACKUP)),
    row(Locked, "keys/node", &[Gone], Refuses(MISSING), Check(7, MISSING), Refused(MISSING)),
    row(Locked, "keys/node", &[Swapped], Refuses(NO_KEY_FILE), Check(7, NO_KEY_FILE), Refused(NO_KEY_FILE)),
    // The log: its first records have the identity's keys.
    row(
        Plain,
        "first segment",
        &[First, Version, Middle, Zeros, Half, Empty],
        Refuses(LOG),
        Check(7, FIRST_RECORDS),
        Verify(IN_BACKUP),
    ),
    row(
        Plain,
        "first segment",
        &[Last],
        Refuses(LOG),
        Check(7, &["{file}: bytes", "runepeer repair"]),
        Verify(IN_BACKUP),
    ),
    row(Plain, "first segment", &[Gone], Refuses(NO_SEGMENT), Check(7, FIRST_RECORDS), Refused(&["{file} is missing"])),
    row(Plain, "first segment", &[Swapped], Refuses(LOG), Check(7, FIRST_RECORDS), Verify(IN_BACKUP)),
    row(
        Plain,
        "newest segment",
        &[First, Version],
        Refuses(LOG),
        Check(7, &["{file} cannot be read", "runepeer repair"]),
        Verify(IN_BACKUP),
    ),
    row(
        Plain,
        "newest segment",
        &[Middle],
        Refuses(LOG),
        Check(7, &["cannot be read: ", "{file}", "runepeer repair"]),
        Verify(IN_BACKUP),
    ),
    row(
        Plain,
        "newest segment",
        &[Zeros],
        Refuses(LOG),
        Check(7, &["{file}: bytes", "runepeer repair"]),
        Verify(IN_BACKUP),
    ),
    // The mark of the clean stop.
    row(Plain, "newest segment", &[Last], Well, FINE, Whole),
    // What is left of the log looks like one that ends there; the view has seen more.
    row(Plain, "newest segment", &[Half, Empty, Gone, Old], Says(OLDER), FINE, Whole),
    row(
        Plain,
        "newest segment",
        &[Swapped],
        Refuses(&["the log is damaged", ".seg was changed or is incomplete"]),
        Check(7, FIRST_RECORDS),
        Verify(&["use another backup"]),
    ),
    row(Compacted, "segment for its bodies", &[First, Version, Last], Well, FINE, Whole),
    row(
        Compacted,
        "segment for its bodies",
        &[Middle, Zeros, Half, Empty],
        Says(BODY),
        Check(7, &["cannot be read: ", "{file}", "runepeer repair"]),
        Verify(IN_BACKUP),
    ),
    // Two of them are in each other's place: what lies in them is found.
    row(
        Compacted,
        "segment for its bodies",
        &[Swapped],
        Says(BODY),
        Check(
            7,
            &["messages cannot be read where they should be, and lie whole in another segment", "runepeer repair"],
        ),
        Verify(&["was changed or is incomplete", "use another backup"]),
    ),
    row(
        Compacted,
        "segment for its bodies",
        &[Gone],
        Refuses(NO_SEGMENT),
        Check(7, &["{file} is missing", "runepeer repair"]),
        Verify(&["{file} is missing", "use another backup"]),
    ),
    row(
        Checkpoint,
        "checkpoint",
        CHANGED,
        Says(WITHOUT),
        Check(7, &["{file} was changed or is incomplete; everything was read without it"]),
        Whole,
    ),
    row(Checkpoint, "checkpoint", &[Gone], Well, FINE, Whole),
    row(
        Checkpoint,
        "checkpoint",
        &[Swapped],
        Says(WITHOUT),
        Check(7, &["{file} was changed or is incomplete; everything was read without it"]),
        Whole,
    ),
    row(Compacted, "checkpoint", CHANGED, Refuses(LOG), Check(7, FIRST_RECORDS), Verify(IN_BACKUP)),
    row(
        Compacted,
        "checkpoint",
        &[Gone],
        Refuses(&["is missing, or a newer checkpoint", "backup restore"]),
        Check(7, &["or a newer checkpoint"]),
        Refused(&["no checkpoint (.ckp) stands for it"]),
    ),
    row(Compacted, "checkpoint", &[Swapped], Refuses(LOG), Check(7, FIRST_RECORDS), Verify(IN_BACKUP)),
    row(
        Plain,
        "blob",
        CHANGED,
        Says(BODY),
        Check(7, &["cannot be read: ", "{file}", "runepeer repair"]),
        Verify(IN_BACKUP),
    ),
    row(
        Plain,
        "blob",
        &[Gone, Swapped],
        Says(BODY),
        Check(7, &["cannot be read: ", "{file}", "runepeer repair"]),
        Verify(IN_BACKUP),
    ),
    // The carrier's: what is wrong with other people's mail keeps nobody from their own. A backup has nothing of it.
    row(
        Plain,
        "carrier's first segment",
        &[First, Version, Middle, Zeros, Half, Empty, Swapped],
        Says(HELD),
        Check(7, FIRST_RECORDS),
        Whole,
    ),
    row(Plain, "carrier's first segment", &[Last], Says(HELD), Check(7, &["{file}: bytes"]), Whole),
    row(Plain, "carrier's first segment", &[Gone], Says(HELD_GONE), Check(7, FIRST_RECORDS), Whole),
    row(Plain, "carrier's newest segment", &[First, Version], Says(HELD), Check(7, &["{file} cannot be read"]), Whole),
    row(
        Plain,
        "carrier's newest segment",
        &[Middle, Zeros],
        Says(HELD),
        Check(7, &["{file}", "objects and pages"]),
        Whole,
    ),
    row(Plain, "carrier's newest segment", &[Last], Well, FINE, Whole),
    row(Plain, "carrier's newest segment", &[Half, Empty, Gone, Old], Says(HELD_OLDER), FINE, Whole),
    row(
        Plain,
        "carrier's newest segment",
        &[Swapped],
        Says(&["carries no mail for others until that is mended"]),
        Check(7, FIRST_RECORDS),
        Whole,
    ),
    row(
        Checkpoint,
        "carrier's checkpoint",
        &[First, Version, Middle, Last, Zeros, Half, Empty, Swapped],
        Says(WITHOUT),
        Check(7, &["{file} was changed or is incomplete; everything was read without it"]),
        Whole,
    ),
    row(Checkpoint, "carrier's checkpoint", &[Gone], Well, FINE, Whole),
    row(Compacted, "carrier's checkpoint", CHANGED, Says(HELD), Check(7, FIRST_RECORDS), Whole),
    row(
        Compacted,
        "carrier's checkpoint",
        &[Gone],
        Says(&["or a newer checkpoint (.ckp) that does without it"]),
        Check(7, &["or a newer checkpoint (.ckp)"]),
        Whole,
    ),
    row(Compacted, "carrier's checkpoint", &[Swapped], Refuses(LOG), Check(7, FIRST_RECORDS), Verify(IN_BACKUP)),
    row(
        Plain,
        "carrier's blob",
        &[First, Version, Middle, Last, Zeros, Half, Empty, Gone, Swapped],
        Says(&["a held object cannot be read from the disk", "{file}"]),
        Check(7, &["objects and pages that it holds cannot be read", "{file}"]),
        Whole,
    ),
    // What people write: what can be read is believed.
    row(
        Plain,
        "config.toml",
        &[First, Version, Middle, Last, Zeros, Half],
        Refuses(&["{file}", "TOML parse error at line"]),
        FINE,
        Whole,
    ),
    row(Plain, "config.toml", &[Empty, Gone], Says(&["config.toml is missing or empty"]), FINE, Whole),
    // What means nothing.
    row(Plain, "lock", &[First, Version, Middle, Last, Zeros, Half, Empty, Gone, Swapped], Well, FINE, Whole),
    row(
        Plain,
        "backup.json",
        &[First, Version, Middle, Last, Zeros, Half, Empty, Gone, Swapped, Old],
        Well,
        FINE,
        Whole,
    ),
    row(Checkpoint, "corrupt/", &[First, Version, Middle, Last, Zeros, Half, Empty, Gone, Swapped], Well, FINE, Whole),
    // A cache.
    row(Plain, "view/conf", &[First, Version, Middle, Last, Zeros, Half, Empty, Gone], Well, FINE, Whole),
    row(Plain, "view/db", &[First, Version, Middle, Last, Zeros, Half, Empty, Gone, Swapped, Old], Well, FINE, Whole),
    row(Plain, "view/snap", &[First, Version, Middle, Last, Zeros, Half, Empty, Gone, Swapped], Well, FINE, Whole),
    // Marks.
    row(Restored, "restored", &[Gone], Says(&["This mailbox was restored from a backup"]), FINE, Whole),
    row(
        Restored,
        "<identity>/restored",
        &[First, Version, Middle, Last, Zeros, Half, Empty],
        Says(&["This mailbox was restored from a backup"]),
        FINE,
        Whole,
    ),
    row(Restored, "<identity>/restored", &[Gone], Well, FINE, Whole),
    row(
        Restoring,
        "restoring",
        &[Gone],
        Refuses(&["keys/node is missing", "Put back"]),
        Check(7, &["keys/node is missing"]),
        Refused(&["keys/node is missing"]),
    ),
    row(
        Making,
        "<identity>/making",
        &[Gone],
        Refuses(&["is missing", "log is there"]),
        Check(7, &["is missing"]),
        Refused(&["is missing"]),
    ),
];

/// What cannot be, and why.
pub(crate) const NEVER: &[(&str, &[Damage], &str)] = &[
    ("keys/node", &[Old], "it is written once"),
    ("keys/node.key", &[Old], "it is written once"),
    ("keys/<identity>", &[Old], "it is written once"),
    ("keys/<identity>.seal", &[Old], "no key is made within the test"),
    ("keys/held-<carrier>", &[Old], "it is written once"),
    ("first segment", &[Old], "what is closed does not change"),
    ("carrier's first segment", &[Old], "what is closed does not change"),
    ("segment for its bodies", &[Old], "what is closed does not change"),
    ("checkpoint", &[Old], "it is written once"),
    ("carrier's checkpoint", &[Old], "it is written once"),
    ("blob", &[Old], "it is written once"),
    ("carrier's blob", &[Old], "it is written once"),
    ("config.toml", &[Swapped, Old], "people write it; the program writes it once"),
    ("lock", &[Old], "its content means nothing"),
    ("corrupt/", &[Old], "it is written once"),
    ("view/conf", &[Swapped, Old], "it is the same in every view"),
    ("view/snap", &[Old], "each has a name of its own"),
    ("restored", &[First, Version, Middle, Last, Zeros, Half, Empty, Swapped, Old], "it is empty"),
    ("restoring", &[First, Version, Middle, Last, Zeros, Half, Empty, Swapped, Old], "it is empty"),
    ("<identity>/making", &[First, Version, Middle, Last, Zeros, Half, Empty, Swapped, Old], "it is empty"),
    ("<identity>/restored", &[Swapped, Old], "it is written once"),
];
