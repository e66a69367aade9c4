//! SEARCH (RFC 3501 §6.4.4): its grammar, and the walk over the messages.
//!
//! Conditions on flags, dates and sizes are decided without reading; then headers are read, bodies last. The whole
//! search has a time budget, after which the command is refused rather than answered in part.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::time::timeout_at;

use crate::base::limits;
use crate::engine::state::mailbox::{Flags, Folder, NamedFlags};
use crate::gateway::account::Account;

use super::Shared;
use super::matching::{Day, Facts, Key, Needs, Texts};
use super::reply::{Done, End, Reply};
use super::session::Session;
use super::source::{Source, offload};
use super::stream::Reader;
use super::syntax::{Cursor, SyntaxError};
use super::view::{NumberSet, Row, View};

/// After so many keys the other sessions are served.
const KEYS_AT_A_TIME: usize = 4096;
/// The cost of decoding and searching, in steps for a byte.
const STEPS_PER_BYTE: usize = 80;
/// A client that closed its sending side gets results that are found within this time: it may still be reading.
const LINGER: Duration = Duration::from_millis(500);

impl Session {
    pub(super) async fn search(&mut self, command: &[u8], by_uid: bool) -> Done {
        let until = Instant::now() + self.shared.limits.search_time;
        let (folder, selected) = self.user()?.selected()?;
        let key = match parse(command, by_uid, &selected.view, &folder) {
            Ok(key) => Arc::new(key),
            Err(Refusal::Syntax) => return Err(SyntaxError.into()),
            Err(Refusal::Charset) => {
                return Ok(Reply::no("only these character sets are known").code("BADCHARSET (UTF-8 US-ASCII)"));
            }
            Err(Refusal::Complex) => return Ok(Reply::no("the search is too complex").code("LIMIT")),
        };
        let rows: Vec<_> = selected.view.rows().collect();
        let Self { user: Some(user), shared, reader, .. } = self else { return Ok(Reply::bad("log in first")) };
        let search = Search { account: user.account.as_ref(), shared, key, until, over: Over::default() };
        let found = tokio::select! {
            found = search.rows(rows, &folder) => found,
            () = left(reader) => return Err(End::Silent.into()),
        };
        let Some(found) = found else { return Ok(Reply::no("the search takes too long; narrow it").code("LIMIT")) };
        let out = self.writer.out();
        out.extend_from_slice(b"* SEARCH");
        for row in found {
            let number = if by_uid { row.uid } else { row.seq };
            out.extend_from_slice(format!(" {number}").as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        self.report(by_uid)?;
        Ok(Reply::ok("done"))
    }
}

/// Returns when the client is gone.
async fn left(reader: &mut Reader) {
    reader.closed().await;
    tokio::time::sleep(LINGER).await;
}

/// Ends the work on other threads when the search is no longer wanted.
#[derive(Default)]
struct Over(Arc<AtomicBool>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// One search under way.
struct Search<'a> {
    account: &'a dyn Account,
    shared: &'a Shared,
    key: Arc<Key>,
    until: Instant,
    over: Over,
}

impl Search<'_> {
    /// The messages for which the condition holds; `None` when the time is over.
    async fn rows(&self, rows: Vec<Row>, folder: &Folder) -> Option<Vec<Row>> {
        let mut found = Vec::new();
        let (mut looked_at, (keys, _)) = (0, self.key.count());
        for row in rows {
            looked_at += keys;
            if looked_at > KEYS_AT_A_TIME {
                looked_at = 0;
                tokio::task::yield_now().await;
            }
            let Some(message) = folder.messages.get(row.uid) else { continue };
            let facts = Facts::new(row, message);
            let hit = match self.key.known(&facts) {
                Some(hit) => hit,
                None => {
                    let mut source = Source::new(self.account, &self.shared.limits.memory, message);
                    // A message that cannot be read matches nothing; FETCH says that it cannot be read.
                    self.look(&mut source, facts).await.unwrap_or(false)
                }
            };
            if Instant::now() > self.until {
                return None;
            }
            if hit {
                found.push(row);
            }
        }
        Some(found)
    }

    async fn look(&self, source: &mut Source<'_>, facts: Facts) -> Option<bool> {
        let (key, until, over) = (Arc::clone(&self.key), self.until, Arc::clone(&self.over.0));
        let mut go_on = move || !over.load(Ordering::Relaxed) && Instant::now() <= until;
        let (_, looking) = key.count();
        let cost = |bytes: usize| cost(bytes, looking);
        if key.needs() == Needs::Body {
            // Other sessions may occupy the memory for messages for long.
            let (bytes, reserved) = timeout_at(until.into(), source.load()).await.ok()?.ok()?;
            let cost = cost(bytes.len());
            let look = move || {
                // The reservation lasts as long as the message is in memory, even if nothing waits for the result any
                // more.
                let _reserved = reserved;
                key.holds(&facts, &mut Texts::of_message(&bytes, &mut go_on))
            };
            return offload(cost, look).await.ok()?;
        }
        let header = source.header().await.ok()?;
        let header = header.get(..header.len().min(limits::HEADER_BYTES)).unwrap_or_default().to_vec();
        let cost = cost(header.len());
        let look = move || key.holds(&facts, &mut Texts::of_header(&header, &mut go_on));
        offload(cost, look).await.ok()?
    }
}

/// The cost in steps of searching so many bytes for so many texts.
const fn cost(bytes: usize, texts: usize) -> usize {
    bytes.saturating_mul(STEPS_PER_BYTE.saturating_add(texts.saturating_mul(2)))
}

/// Why a SEARCH is refused.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    Syntax,
    Charset,
    Complex,
}

impl From<SyntaxError> for Refusal {
    fn from(_: SyntaxError) -> Self {
        Self::Syntax
    }
}

fn parse(command: &[u8], by_uid: bool, view: &View, folder: &Folder) -> Result<Key, Refusal> {
    let mut cursor = Cursor::after_words(command, if by_uid { 3 } else { 2 })?;
    let mut lookahead = cursor;
    if lookahead.word().is_ok_and(|word| word == "CHARSET") {
        cursor = lookahead;
        cursor.expect(b' ')?;
        let charset = cursor.astring()?.to_ascii_uppercase();
        if !matches!(charset.as_slice(), b"UTF-8" | b"US-ASCII") {
            return Err(Refusal::Charset);
        }
        cursor.expect(b' ')?;
    }
    let mut parser = Parser { cursor, view, folder, keys: 0 };
    let key = parser.list(limits::IMAP_SEARCH_DEPTH)?;
    parser.cursor.end()?;
    Ok(key)
}

struct Parser<'a> {
    cursor: Cursor<'a>,
    view: &'a View,
    folder: &'a Folder,
    keys: usize,
}

impl Parser<'_> {
    /// `key *(SP key)`, up to `)` or the end.
    fn list(&mut self, depth: usize) -> Result<Key, Refusal> {
        let mut keys = vec![self.key(depth)?];
        while !self.cursor.at_end() && self.cursor.eat(b' ') {
            keys.push(self.key(depth)?);
        }
        Ok(Key::all(keys))
    }

    fn key(&mut self, depth: usize) -> Result<Key, Refusal> {
        self.keys += 1;
        let depth = depth.checked_sub(1).ok_or(Refusal::Complex)?;
        if self.keys > limits::IMAP_SEARCH_KEYS {
            return Err(Refusal::Complex);
        }
        match self.cursor.peek() {
            Some(b'(') => {
                self.cursor.expect(b'(')?;
                let key = self.list(depth)?;
                self.cursor.expect(b')')?;
                Ok(key)
            }
            Some(b'0'..=b'9' | b'*') => {
                let set = NumberSet::read(&mut self.cursor)?;
                Ok(Key::Numbers(set.resolve(self.view.largest(false))))
            }
            _ => {
                let word = self.cursor.word()?;
                self.named(&word, depth)
            }
        }
    }

    fn named(&mut self, word: &str, depth: usize) -> Result<Key, Refusal> {
        let flag = |flag| Ok(Key::Flag(flag));
        let not = |key| Ok(Key::Not(Box::new(key)));
        match word {
            "ALL" => Ok(Key::All(Vec::new())),
            "ANSWERED" => flag(Flags::ANSWERED),
            "DELETED" => flag(Flags::DELETED),
            "DRAFT" => flag(Flags::DRAFT),
            "FLAGGED" => flag(Flags::FLAGGED),
            "SEEN" => flag(Flags::SEEN),
            "UNANSWERED" => not(Key::Flag(Flags::ANSWERED)),
            "UNDELETED" => not(Key::Flag(Flags::DELETED)),
            "UNDRAFT" => not(Key::Flag(Flags::DRAFT)),
            "UNFLAGGED" => not(Key::Flag(Flags::FLAGGED)),
            "UNSEEN" => not(Key::Flag(Flags::SEEN)),
            // No message is ever \Recent.
            "RECENT" | "NEW" => not(Key::All(Vec::new())),
            "OLD" => Ok(Key::All(Vec::new())),
            "KEYWORD" => self.keyword(),
            "UNKEYWORD" => not(self.keyword()?),
            "LARGER" => Ok(Key::Larger(self.number()?)),
            "SMALLER" => Ok(Key::Smaller(self.number()?)),
            "BEFORE" => Ok(Key::Before(self.date()?)),
            "ON" => Ok(Key::On(self.date()?)),
            "SINCE" => Ok(Key::Since(self.date()?)),
            "SENTBEFORE" => Ok(Key::SentBefore(self.date()?)),
            "SENTON" => Ok(Key::SentOn(self.date()?)),
            "SENTSINCE" => Ok(Key::SentSince(self.date()?)),
            "BCC" | "CC" | "FROM" | "TO" | "SUBJECT" => Ok(Key::header(word, &self.text()?)),
            "HEADER" => {
                self.cursor.expect(b' ')?;
                let name = self.cursor.astring()?;
                Ok(Key::header(&String::from_utf8_lossy(&name), &self.text()?))
            }
            "BODY" => Ok(Key::body(&self.text()?)),
            "TEXT" => Ok(Key::text(&self.text()?)),
            "UID" => {
                self.cursor.expect(b' ')?;
                let set = NumberSet::read(&mut self.cursor)?;
                Ok(Key::Uids(set.resolve(self.view.largest(true))))
            }
            "NOT" => {
                self.cursor.expect(b' ')?;
                not(self.key(depth)?)
            }
            "OR" => {
                self.cursor.expect(b' ')?;
                let first = self.key(depth)?;
                self.cursor.expect(b' ')?;
                Ok(Key::either(first, self.key(depth)?))
            }
            _ => Err(Refusal::Syntax),
        }
    }

    fn number(&mut self) -> Result<u32, Refusal> {
        self.cursor.expect(b' ')?;
        Ok(self.cursor.number()?)
    }

    fn text(&mut self) -> Result<String, Refusal> {
        self.cursor.expect(b' ')?;
        String::from_utf8(self.cursor.astring()?).map_err(|_| Refusal::Syntax)
    }

    /// A keyword, as the flag that stands for it in this folder. A keyword that the folder does not know matches no
    /// message.
    fn keyword(&mut self) -> Result<Key, Refusal> {
        let named = NamedFlags { system: Flags::default(), keywords: vec![self.text()?] };
        let flag = self.folder.flags(&named);
        Ok(if flag == Flags::default() { Key::Not(Box::new(Key::All(Vec::new()))) } else { Key::Flag(flag) })
    }

    /// `1-Feb-1994`, perhaps quoted.
    fn date(&mut self) -> Result<Day, Refusal> {
        let text = self.text()?;
        Day::parse(&text.replace('-', " ")).ok_or(Refusal::Syntax)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{BodyId, FolderId, Timestamp, meter};
    use crate::engine::Mailbox;
    use crate::engine::state::mailbox::{NamedFlags, NewMessage};
    use proptest::prelude::*;

    fn view() -> View {
        let mut mailbox = Mailbox::default();
        let id = FolderId::from_bytes([1; 16]);
        mailbox.create(1, id, "Work", None, 7);
        View::new(mailbox.folder(id).unwrap().clone())
    }

    fn parsed(keys: &str) -> Result<Key, Refusal> {
        parse(format!("a SEARCH {keys}\r\n").as_bytes(), false, &view(), view().known())
    }

    #[test]
    fn what_clients_send_is_understood() {
        for keys in [
            "ALL",
            "1:* NOT DELETED",
            "*:*",
            "CHARSET UTF-8 ALL",
            "CHARSET \"us-ascii\" SUBJECT {3}\r\nabc UNSEEN",
            "OR (FROM a TO b) NOT (KEYWORD $Forwarded) SINCE 1-Feb-2026",
            "SENTSINCE \"10-Dec-2025\" HEADER Message-ID <a@b> ",
            "UID 5:7,9 LARGER 1000",
        ] {
            assert!(parsed(keys).is_ok(), "{keys}");
        }
        for keys in ["", "FOO", "SINCE yesterday", "(ALL", "ALL)", "OR ALL", "0", "RETURN (COUNT) ALL", "LARGER x"] {
            assert_eq!(parsed(keys), Err(Refusal::Syntax), "{keys}");
        }
        assert_eq!(parsed("CHARSET KOI8-R ALL"), Err(Refusal::Charset));
    }

    #[test]
    fn a_keyword_is_looked_for_where_the_folder_knows_it_and_else_nothing_has_it() {
        let mut mailbox = Mailbox::default();
        let id = FolderId::from_bytes([1; 16]);
        mailbox.create(1, id, "Work", None, 7);
        let flags = NamedFlags { keywords: vec!["$Forwarded".to_owned()], ..NamedFlags::default() };
        let (date, body) = (Timestamp::from_secs(0), BodyId::from_bytes([1; 16]));
        assert!(mailbox.add(2, id, &NewMessage { uid: 1, flags, date, body, size: 1, content: None }));
        let view = View::new(mailbox.folder(id).unwrap().clone());
        let parsed = |keys: &str| parse(format!("a SEARCH {keys}\r\n").as_bytes(), false, &view, view.known()).unwrap();
        let (known, unknown) = (Key::Flag(Flags::keyword(0)), Key::Not(Box::new(Key::All(Vec::new()))));
        assert_eq!(parsed("KEYWORD $forwarded"), Key::All(vec![known]));
        assert_eq!(parsed("KEYWORD $other"), Key::All(vec![unknown]));
    }

    #[test]
    fn looking_costs_more_for_each_byte_and_each_text() {
        assert_eq!(cost(10, 0), 10 * STEPS_PER_BYTE);
        assert_eq!(cost(10, 3), 10 * (STEPS_PER_BYTE + 6));
        assert_eq!(cost(usize::MAX, usize::MAX), usize::MAX);
    }

    #[test]
    fn depth_is_bounded_and_enough_for_a_quick_filter() {
        assert!(parsed(&("OR HEADER Message-ID a ".repeat(100) + "SUBJECT b")).is_ok());
        assert_eq!(parsed(&("NOT ".repeat(200) + "ALL")), Err(Refusal::Complex));
        assert_eq!(parsed(&"(".repeat(20_000)), Err(Refusal::Complex));
    }

    #[test]
    fn sets_of_numbers_are_ranges_however_many_messages_there_are() {
        let mut mailbox = Mailbox::default();
        let id = FolderId::from_bytes([1; 16]);
        mailbox.create(1, id, "Work", None, 7);
        let parsed = |mailbox: &Mailbox| {
            let view = View::new(mailbox.folder(id).unwrap().clone());
            parse(b"a SEARCH 1:*,3,2:90 UID 5:*,6:7\r\n", false, &view, view.known()).unwrap()
        };
        assert_eq!(parsed(&mailbox), Key::All(vec![Key::Numbers(vec![]), Key::Uids(vec![])]));
        for uid in [5, 6, 9] {
            let (flags, date, body) = (NamedFlags::default(), Timestamp::from_secs(0), BodyId::from_bytes([1; 16]));
            assert!(mailbox.add(2, id, &NewMessage { uid, flags, date, body, size: 1, content: None }));
        }
        assert_eq!(parsed(&mailbox), Key::All(vec![Key::Numbers(vec![(1, 90)]), Key::Uids(vec![(5, 9)])]));
    }

    #[test]
    fn no_search_makes_more_steps_than_so_many_a_byte() {
        let units = [
            "(",
            "NOT ",
            "OR ",
            "ALL ",
            "ALL  ",
            "1,",
            "1:*,",
            "SUBJECT \"",
            "SUBJECT \"\\\" ",
            "SUBJECT {1}\r\nx ",
            "KEYWORD x ",
            "UID 1 ",
        ];
        for unit in units {
            for count in [1000, 4000, 16_000] {
                let command = format!("a SEARCH {}ALL\r\n", unit.repeat(count));
                let view = view();
                let (steps, _) = meter::work(|| parse(command.as_bytes(), false, &view, view.known()));
                assert!(steps <= 16 * command.len() as u64, "{unit:?} {count}: {steps} for {}", command.len());
            }
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(keys in "[A-Z(){}*:0-9 \"\\\\-]{0,60}") {
            let _ = parsed(&keys);
        }
    }
}
