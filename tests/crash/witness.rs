//! What was promised to whom, and whether it was kept.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::support::mail::{Imap, Login};

/// Where a message may be, and how: everything that is still possible after what was acknowledged and what was not.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Promise {
    /// Folders in which it may be; an empty name is nowhere.
    places: Vec<&'static str>,
    /// Its UID, while it is in the folder in which it got it.
    uid: Option<u32>,
    flagged: Option<bool>,
    /// When that was acknowledged.
    flagged_at: Option<Instant>,
}

/// All promises, by subject.
#[derive(Default)]
pub(crate) struct Witness {
    promises: Mutex<BTreeMap<String, Promise>>,
    acknowledged: Mutex<BTreeMap<&'static str, u64>>,
}

/// A message as a mail program sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shown {
    folder: &'static str,
    uid: u32,
    flagged: bool,
}

/// How long a flag may take to reach the disk, with room for a busy machine.
const LAG: Duration = Duration::from_secs(2);

pub(crate) const FOLDERS: [&str; 3] = ["INBOX", "Notes", "Kept"];

impl Witness {
    fn count(&self, what: &'static str) {
        *self.acknowledged.lock().unwrap().entry(what).or_default() += 1;
    }

    /// It may come into being there.
    pub(crate) fn begins(&self, subject: &str, place: &'static str) {
        let promise = Promise { places: vec!["", place], uid: None, flagged: Some(false), flagged_at: None };
        self.promises.lock().unwrap().insert(subject.to_owned(), promise);
    }

    /// It was acknowledged: it is there.
    pub(crate) fn is_there(&self, what: &'static str, subject: &str, uid: Option<u32>) {
        self.change(subject, |promise| {
            promise.places.retain(|place| !place.is_empty());
            promise.uid = uid;
        });
        self.count(what);
    }

    /// It may have gone there.
    pub(crate) fn may_go(&self, subject: &str, to: &'static str) {
        self.change(subject, |promise| {
            promise.places.push(to);
            promise.uid = None;
        });
    }

    /// It went there, that was acknowledged.
    pub(crate) fn went(&self, what: &'static str, subject: &str, to: &'static str, uid: Option<u32>) {
        self.change(subject, |promise| {
            promise.places = vec![to];
            promise.uid = uid;
        });
        self.count(what);
    }

    /// Its flag may have changed; with `acknowledged`, has.
    pub(crate) fn flagged(&self, subject: &str, acknowledged: bool) {
        self.change(subject, |promise| {
            promise.flagged = acknowledged.then_some(true);
            promise.flagged_at = acknowledged.then(Instant::now);
        });
        if acknowledged {
            self.count("flagged");
        }
    }

    /// The power goes: flags may lag a little (docs/on-disk.md, "Flags"), so that the last of them may be lost.
    #[allow(dead_code, reason = "only one of the programs that use this cuts the power")]
    pub(crate) fn power_goes(&self) {
        for promise in self.promises.lock().unwrap().values_mut() {
            if promise.flagged_at.is_some_and(|at| at.elapsed() < LAG) {
                (promise.flagged, promise.flagged_at) = (None, None);
            }
        }
    }

    fn change(&self, subject: &str, act: impl FnOnce(&mut Promise)) {
        act(self.promises.lock().unwrap().get_mut(subject).expect("it was begun"));
    }

    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged.lock().unwrap().values().sum()
    }

    pub(crate) fn summary(&self, shown: usize) -> String {
        let kinds = self.acknowledged.lock().unwrap().clone();
        let kinds: Vec<String> = kinds.iter().map(|(what, count)| format!("{count} {what}")).collect();
        format!("{} acknowledgements ({}), {shown} messages shown", self.acknowledged(), kinds.join(", "))
    }

    /// Everything that is not as it was promised.
    pub(crate) fn compare(&self, shown: &BTreeMap<String, Vec<Shown>>) -> Vec<String> {
        let mut broken = Vec::new();
        let promises = self.promises.lock().unwrap();
        for (subject, promise) in &*promises {
            match shown.get(subject).map_or(&[][..], Vec::as_slice) {
                [] if promise.places.contains(&"") => {}
                [one] if promise.places.contains(&one.folder) => {
                    if promise.uid.is_some_and(|uid| uid != one.uid) {
                        broken.push(format!("{subject} has another UID: {one:?}, {promise:?}"));
                    }
                    if promise.flagged.is_some_and(|flagged| flagged != one.flagged) {
                        broken.push(format!("{subject} lost its flag: {one:?}, {promise:?}"));
                    }
                }
                others => broken.push(format!("{subject}: {others:?}, {promise:?}")),
            }
        }
        broken
            .extend(shown.keys().filter(|subject| !promises.contains_key(*subject)).map(|it| format!("unknown: {it}")));
        broken
    }
}

/// Every message of every folder.
pub(crate) fn shown(port: u16, login: &Login) -> BTreeMap<String, Vec<Shown>> {
    let mut all: BTreeMap<String, Vec<Shown>> = BTreeMap::new();
    let mut imap = Imap::open(port, login).unwrap();
    for folder in FOLDERS {
        imap.run(&format!("EXAMINE {folder}")).unwrap();
        let answer = imap.run("UID FETCH 1:* (UID FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])").unwrap();
        let answer = String::from_utf8(answer).unwrap();
        for piece in answer.split("* ").filter(|piece| piece.contains("FETCH (")) {
            let uid = piece.split("UID ").nth(1).unwrap().split([' ', ')']).next().unwrap().parse().unwrap();
            let subject = piece.split("Subject: ").nth(1).unwrap().split("\r\n").next().unwrap().to_owned();
            let shown = Shown { folder, uid, flagged: piece.contains("\\Flagged") };
            all.entry(subject).or_default().push(shown);
        }
    }
    all
}
