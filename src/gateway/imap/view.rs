//! What one session believes about its selected folder: its sequence numbers, and which changes it was told.
//!
//! Sequence numbers belong to the session, not to the mailbox: a message that another session expunged keeps its number
//! until this session may be told (RFC 3501 §7.4.1). [`View::sync`] compares the belief with the committed state and
//! gives the responses that close the gap; nothing is told twice, and changes that the client made itself in silence
//! are not told.

use std::collections::BTreeMap;
use std::sync::Arc;

use imap_codec::imap_types::sequence::{SeqOrUid, Sequence, SequenceSet};

use crate::engine::state::mailbox::{Flags, Folder, Message, Uid};

use super::syntax::{Cursor, SyntaxError};

/// A set of sequence numbers or UIDs as a client wrote it; `None` is `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NumberSet(Vec<(Option<u32>, Option<u32>)>);

impl NumberSet {
    /// Reads a set within a command.
    pub(super) fn read(cursor: &mut Cursor<'_>) -> Result<Self, SyntaxError> {
        let mut ranges = Vec::new();
        loop {
            let first = Self::bound(cursor)?;
            let last = if cursor.eat(b':') { Self::bound(cursor)? } else { first };
            ranges.push((first, last));
            if !cursor.eat(b',') {
                return Ok(Self(ranges));
            }
        }
    }

    fn bound(cursor: &mut Cursor<'_>) -> Result<Option<u32>, SyntaxError> {
        if cursor.eat(b'*') {
            return Ok(None);
        }
        match cursor.number()? {
            0 => Err(SyntaxError),
            number => Ok(Some(number)),
        }
    }

    /// The numbers, with `largest` for `*`; none where that is 0. Sorted, without overlap.
    pub(super) fn resolve(&self, largest: u32) -> Vec<(u32, u32)> {
        if largest == 0 {
            return Vec::new();
        }
        let ends = |(a, b): &(Option<u32>, Option<u32>)| {
            let (a, b) = (a.unwrap_or(largest), b.unwrap_or(largest));
            (a.min(b), a.max(b))
        };
        let mut ranges: Vec<(u32, u32)> = self.0.iter().map(ends).collect();
        ranges.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match merged.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
                _ => merged.push((first, last)),
            }
        }
        merged
    }
}

impl From<&SequenceSet> for NumberSet {
    fn from(set: &SequenceSet) -> Self {
        let bound = |bound: &SeqOrUid| match bound {
            SeqOrUid::Value(number) => Some(number.get()),
            SeqOrUid::Asterisk => None,
        };
        let range = |sequence: &Sequence| match sequence {
            Sequence::Single(one) => (bound(one), bound(one)),
            Sequence::Range(first, last) => (bound(first), bound(last)),
        };
        Self(set.0.as_ref().iter().map(range).collect())
    }
}

/// A message of the view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    /// Its sequence number in this session.
    pub(super) seq: u32,
    /// Its UID.
    pub(super) uid: Uid,
}

/// An untagged response that brings the client up to date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Update {
    /// The folder has new keywords.
    Keywords,
    /// `* n EXPUNGE`
    Expunge(u32),
    /// `* n EXISTS`
    Exists(u32),
    /// `* n FETCH (UID … FLAGS …)`
    Flags(Row, Flags),
}

/// The belief of one session.
#[derive(Debug)]
pub(super) struct View {
    known: Arc<Folder>,
    uids: Vec<Uid>,
    told: BTreeMap<Uid, Flags>,
}

impl View {
    /// The view at SELECT: everything that is in the folder now.
    pub(super) fn new(folder: Arc<Folder>) -> Self {
        let uids = folder.messages.iter().map(|message| message.uid).collect();
        Self { known: folder, uids, told: BTreeMap::new() }
    }

    /// The folder as it was when the client was last told its flags.
    pub(super) const fn known(&self) -> &Arc<Folder> {
        &self.known
    }

    /// How many messages the client believes to be there.
    pub(super) fn exists(&self) -> u32 {
        number(self.uids.len())
    }

    /// All messages.
    pub(super) fn rows(&self) -> impl Iterator<Item = Row> {
        (1_u32..).zip(self.uids.iter()).map(|(seq, &uid)| Row { seq, uid })
    }

    /// The messages of a set. Numbers without a message are left out (for UIDs see RFC 9051 §6.4.9; with sequence
    /// numbers, a client that raced an expunge still gets the other messages).
    pub(super) fn select(&self, set: &NumberSet, by_uid: bool) -> Vec<Row> {
        let largest = self.largest(by_uid);
        let mut rows = Vec::new();
        for (first, last) in set.resolve(largest) {
            let (from, to) = if by_uid {
                (self.uids.partition_point(|&uid| uid < first), self.uids.partition_point(|&uid| uid <= last))
            } else {
                (place(first), place(last.min(largest)).saturating_add(1))
            };
            let found = self.uids.get(from..to.min(self.uids.len())).unwrap_or_default();
            rows.extend((number(from).saturating_add(1)..).zip(found).map(|(seq, &uid)| Row { seq, uid }));
        }
        rows
    }

    /// The number that `*` stands for; 0 in an empty folder.
    pub(super) fn largest(&self, by_uid: bool) -> u32 {
        if by_uid { self.uids.last().copied().unwrap_or(0) } else { self.exists() }
    }

    /// The first message that is not `\Seen`.
    pub(super) fn first_unseen(&self) -> Option<u32> {
        let place = self.known.messages.iter().position(|message| !message.flags.contains(Flags::SEEN))?;
        Some(number(place).saturating_add(1))
    }

    /// Records that the client knows, or assumes, these flags of a message.
    pub(super) fn tell(&mut self, uid: Uid, flags: Flags) {
        match self.known.messages.get(uid) {
            Some(message) if message.flags == flags => {
                self.told.remove(&uid);
            }
            _ => {
                self.told.insert(uid, flags);
            }
        }
    }

    /// The flags that the client believes a message to have.
    pub(super) fn believed(&self, uid: Uid) -> Option<Flags> {
        self.told.get(&uid).copied().or_else(|| self.known.messages.get(uid).map(|message| message.flags))
    }

    /// Forgets which flags of these messages the client was told, so that they are reported in any case.
    pub(super) fn doubt(&mut self, uids: &[Uid], folder: &Folder) {
        for &uid in uids {
            if let Some(message) = folder.messages.get(uid) {
                // Any value that differs from the true one has that effect.
                self.told.insert(uid, Flags(!message.flags.0));
            }
        }
    }

    /// Moves the belief to `folder` and gives the responses to send, in this order. Where `expunges` is false, messages
    /// that are gone keep their numbers until later.
    pub(super) fn sync(&mut self, folder: &Arc<Folder>, expunges: bool) -> Vec<Update> {
        let ghosts = self.uids.len() > self.known.messages.len();
        if Arc::ptr_eq(&self.known, folder) && self.told.is_empty() && !(ghosts && expunges) {
            return Vec::new();
        }
        let mut updates = Vec::new();
        if folder.keywords.len() != self.known.keywords.len() {
            updates.push(Update::Keywords);
        }
        if expunges {
            self.expunge(folder, &mut updates);
        }
        let before = self.uids.len();
        let last = self.uids.last().copied().unwrap_or(0);
        let arrived = folder.messages.iter().rev().take_while(|message| message.uid > last);
        let mut arrived: Vec<Uid> = arrived.map(|message| message.uid).collect();
        arrived.reverse();
        self.uids.append(&mut arrived);
        if self.uids.len() != before {
            updates.push(Update::Exists(self.exists()));
        }
        self.report_flags(folder, before, &mut updates);
        self.known = Arc::clone(folder);
        self.told.clear();
        updates
    }

    fn expunge(&mut self, folder: &Folder, updates: &mut Vec<Update>) {
        let mut there = folder.messages.iter().map(|message| message.uid).peekable();
        let mut gone = Vec::new();
        let mut kept = Vec::with_capacity(self.uids.len());
        for row in self.rows() {
            while there.next_if(|&uid| uid < row.uid).is_some() {}
            if there.peek() == Some(&row.uid) {
                kept.push(row.uid);
            } else {
                gone.push(row.seq);
            }
        }
        self.uids = kept;
        // The highest number comes first, so that no number changes before its own response.
        updates.extend(gone.into_iter().rev().map(Update::Expunge));
    }

    fn report_flags(&self, folder: &Folder, old: usize, updates: &mut Vec<Update>) {
        let mut before = self.known.messages.iter().peekable();
        let mut now = folder.messages.iter().peekable();
        for row in self.rows().take(old) {
            let was = seek(&mut before, row.uid).map(|message| message.flags);
            let Some(message) = seek(&mut now, row.uid) else { continue };
            let believed = self.told.get(&row.uid).copied().or(was);
            if believed != Some(message.flags) {
                updates.push(Update::Flags(row, message.flags));
            }
        }
    }
}

fn seek<'a>(messages: &mut std::iter::Peekable<impl Iterator<Item = &'a Message>>, uid: Uid) -> Option<&'a Message> {
    while messages.next_if(|message| message.uid < uid).is_some() {}
    messages.next_if(|message| message.uid == uid)
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn place(seq: u32) -> usize {
    usize::try_from(seq).unwrap_or(usize::MAX).saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{BodyId, FolderId, Timestamp};
    use crate::engine::Mailbox;
    use crate::engine::state::mailbox::{FlagChange, NamedFlags, NewMessage};
    use proptest::prelude::*;

    const FOLDER: FolderId = FolderId::from_bytes([1; 16]);

    fn mailbox(uids: std::ops::Range<Uid>) -> Mailbox {
        let mut mailbox = Mailbox::default();
        mailbox.create(1, FOLDER, "Work", None, 7);
        uids.for_each(|uid| add(&mut mailbox, uid));
        mailbox
    }

    fn add(mailbox: &mut Mailbox, uid: Uid) {
        let new = NewMessage {
            uid,
            flags: NamedFlags::default(),
            date: Timestamp::from_secs(0),
            body: BodyId::from_bytes([0; 16]),
            size: 1,
            content: None,
        };
        assert!(mailbox.add(u64::from(uid), FOLDER, &new));
    }

    fn seen(mailbox: &mut Mailbox, uid: Uid) {
        mailbox.store(99, FOLDER, &[uid], FlagChange::Add, &NamedFlags::system(Flags::SEEN));
    }

    fn folder(mailbox: &Mailbox) -> Arc<Folder> {
        mailbox.folder(FOLDER).unwrap().clone()
    }

    fn set(text: &str) -> NumberSet {
        let command = format!("a {text}\r\n");
        let mut cursor = Cursor::after_words(command.as_bytes(), 1).unwrap();
        let set = NumberSet::read(&mut cursor).unwrap();
        cursor.end().unwrap();
        set
    }

    fn uids(view: &View, text: &str, by_uid: bool) -> Vec<Uid> {
        view.select(&set(text), by_uid).iter().map(|row| row.uid).collect()
    }

    #[test]
    fn an_open_range_above_the_last_uid_gives_the_last_message() {
        let view = View::new(folder(&mailbox(10..13)));
        assert_eq!(uids(&view, "500:*", true), vec![12]);
        assert_eq!(uids(&view, "*:500", true), vec![12]);
        assert_eq!(uids(&view, "*:*", true), vec![12]);
        assert_eq!(uids(&view, "2:*", false), vec![11, 12]);
        assert_eq!(uids(&view, "12,10:11,11", true), vec![10, 11, 12]);
        assert_eq!(uids(&view, "4,2:9", false), vec![11, 12]);
        assert_eq!(uids(&view, "1:4294967295", true), vec![10, 11, 12]);
        let empty = View::new(folder(&mailbox(1..1)));
        assert_eq!(uids(&empty, "1:*", true), Vec::<Uid>::new());
        assert_eq!(uids(&empty, "*", false), Vec::<Uid>::new());
    }

    #[test]
    fn ranges_are_sorted_and_those_that_meet_are_one() {
        for (text, ranges) in [
            ("1:3,4:6", vec![(1, 6)]),
            ("4:6,1:3", vec![(1, 6)]),
            ("1:3,5:6", vec![(1, 3), (5, 6)]),
            ("1:9,2:3,9", vec![(1, 9)]),
            ("7,7,7", vec![(7, 7)]),
            ("*,1", vec![(1, 1), (9, 9)]),
            ("12:*", vec![(9, 12)]),
            ("4294967295,4294967294", vec![(4_294_967_294, 4_294_967_295)]),
        ] {
            assert_eq!(set(text).resolve(9), ranges, "{text}");
        }
        assert_eq!(set("1:*").resolve(0), []);
    }

    #[test]
    fn an_expunge_waits_and_is_not_followed_by_a_needless_exists() {
        let mut mailbox = mailbox(1..5);
        let mut view = View::new(folder(&mailbox));
        mailbox.expunge(50, FOLDER, &[2, 3]);
        assert_eq!(view.sync(&folder(&mailbox), false), vec![]);
        assert_eq!(uids(&view, "2", false), vec![2]);
        add(&mut mailbox, 5);
        assert_eq!(view.sync(&folder(&mailbox), false), vec![Update::Exists(5)]);
        assert_eq!(view.sync(&folder(&mailbox), true), vec![Update::Expunge(3), Update::Expunge(2)]);
        assert_eq!(uids(&view, "1:*", false), vec![1, 4, 5]);
        assert_eq!(view.sync(&folder(&mailbox), true), vec![]);
    }

    #[test]
    fn own_changes_are_not_echoed_unless_somebody_interfered() {
        let mut mailbox = mailbox(1..4);
        let mut view = View::new(folder(&mailbox));
        view.tell(1, Flags::SEEN);
        view.tell(2, Flags::SEEN);
        seen(&mut mailbox, 1);
        mailbox.store(100, FOLDER, &[2], FlagChange::Replace, &NamedFlags::system(Flags::FLAGGED));
        seen(&mut mailbox, 3);
        assert_eq!(
            view.sync(&folder(&mailbox), false),
            vec![
                Update::Flags(Row { seq: 2, uid: 2 }, Flags::FLAGGED),
                Update::Flags(Row { seq: 3, uid: 3 }, Flags::SEEN),
            ]
        );
        view.doubt(&[1], &folder(&mailbox));
        assert_eq!(view.sync(&folder(&mailbox), false), vec![Update::Flags(Row { seq: 1, uid: 1 }, Flags::SEEN)]);
    }

    proptest! {
        /// A client that applies the responses ends with the folder as it is committed.
        #[test]
        fn a_client_that_believes_us_is_right(steps in proptest::collection::vec((0u8..4, 1u32..30, any::<bool>()), 1..60)) {
            let mut mailbox = mailbox(1..6);
            let mut next = 6;
            let mut view = View::new(folder(&mailbox));
            let mut client: Vec<(Uid, Flags)> = (1..=5).map(|uid| (uid, Flags::default())).collect();
            for (what, uid, may) in steps.into_iter().chain([(3, 1, true)]) {
                match what {
                    0 => { add(&mut mailbox, next); next += 1; }
                    1 => { mailbox.expunge(60, FOLDER, &[uid]); }
                    2 => seen(&mut mailbox, uid),
                    _ => {}
                }
                for update in view.sync(&folder(&mailbox), may) {
                    match update {
                        Update::Expunge(seq) => { client.remove(place(seq)); }
                        Update::Exists(count) => {
                            prop_assert!(place(count) + 1 > client.len());
                            while client.len() <= place(count) {
                                let uid = uids(&view, &format!("{}", client.len() + 1), false)[0];
                                let flags = view.believed(uid).unwrap_or_default();
                                client.push((uid, flags));
                            }
                        }
                        Update::Flags(row, flags) => client[place(row.seq)] = (row.uid, flags),
                        Update::Keywords => {}
                    }
                }
            }
            let truth: Vec<(Uid, Flags)> =
                folder(&mailbox).messages.iter().map(|message| (message.uid, message.flags)).collect();
            prop_assert_eq!(client, truth);
        }
    }
}
