//! LIST and LSUB: patterns, special uses (RFC 6154), children (RFC 3348), LIST-EXTENDED (RFC 5258) and LIST-STATUS
//! (RFC 5819).

use std::collections::BTreeMap;
use std::sync::Arc;

use imap_codec::imap_types::mailbox::{ListMailbox, Mailbox as MailboxName};

use crate::base::limits;
use crate::engine::Mailbox;
use crate::engine::state::mailbox::{Folder, FolderRole};

use super::folders::{StatusItem, each_once, write_status};
use super::reply::{Done, Reply};
use super::session::{Session, folder_name};
use super::syntax::{Cursor, SyntaxError};
use super::{encode, utf7};

/// A LIST command.
#[derive(Debug, Default, PartialEq, Eq)]
struct Query {
    /// Whether it is written in the form of RFC 5258.
    extended: bool,
    only_subscribed: bool,
    only_special: bool,
    recursive: bool,
    patterns: Vec<String>,
    return_subscribed: bool,
    status: Vec<StatusItem>,
}

/// A name in the hierarchy. One without a folder only has other names below it.
#[derive(Debug, Default)]
struct Node {
    folder: Option<Arc<Folder>>,
    children: bool,
    subscribed_below: bool,
}

impl Session {
    pub(super) fn list(&mut self, command: &[u8]) -> Done {
        let user = self.user()?;
        let query = parse(command)?;
        let snapshot = user.snapshot();
        let out = self.writer.out();
        if query.patterns.iter().all(String::is_empty) && !query.extended {
            out.extend_from_slice(b"* LIST (\\Noselect) \"/\" \"\"\r\n");
            return Ok(Reply::ok("done"));
        }
        for (name, node) in &nodes(&snapshot.mailbox) {
            if let Some(attributes) = attributes(&query, name, node) {
                write_list(out, "LIST", &attributes, name);
                if query.recursive && node.subscribed_below {
                    out.truncate(out.len().saturating_sub(2));
                    out.extend_from_slice(b" (\"CHILDINFO\" (\"SUBSCRIBED\"))\r\n");
                }
                if let Some(folder) = node.folder.as_ref().filter(|_| !query.status.is_empty()) {
                    write_status(out, folder, &query.status);
                }
            }
        }
        self.report(true)?;
        Ok(Reply::ok("done"))
    }

    pub(super) fn lsub(&mut self, reference: &MailboxName<'_>, wildcard: &ListMailbox<'_>) -> Done {
        let user = self.user()?;
        let wildcard = match wildcard {
            ListMailbox::Token(token) => token.as_ref(),
            ListMailbox::String(string) => string.as_ref(),
        };
        let (Some(reference), Some(wildcard)) = (folder_name(reference), utf7::decode(wildcard)) else {
            return Ok(Reply::ok("done"));
        };
        let pattern = format!("{reference}{wildcard}");
        let snapshot = user.snapshot();
        let out = self.writer.out();
        for (name, node) in &nodes(&snapshot.mailbox) {
            if !matches(&pattern, name) {
                continue;
            }
            if node.folder.as_ref().is_some_and(|folder| folder.subscribed) {
                write_list(out, "LSUB", &[], name);
            } else if node.subscribed_below && !pattern.contains('*') {
                // RFC 3501 §6.3.9: a pattern with % also lists a name above a subscribed one.
                write_list(out, "LSUB", &["\\Noselect"], name);
            }
        }
        self.report(true)?;
        Ok(Reply::ok("done"))
    }
}

fn write_list(out: &mut Vec<u8>, response: &str, attributes: &[&str], name: &str) {
    out.extend_from_slice(format!("* {response} ({}) \"/\" ", attributes.join(" ")).as_bytes());
    encode::mailbox(out, name);
    out.extend_from_slice(b"\r\n");
}

/// All names in the order in which lists show them: the folders that always exist, then the others.
fn nodes(mailbox: &Mailbox) -> Vec<(String, Node)> {
    let mut nodes: BTreeMap<String, Node> = BTreeMap::new();
    for folder in mailbox.folders() {
        for (slash, _) in folder.name.match_indices('/') {
            let above = folder.name.get(..slash).unwrap_or_default().to_owned();
            let node = nodes.entry(above).or_default();
            node.children = true;
            node.subscribed_below |= folder.subscribed;
        }
        nodes.entry(folder.name.clone()).or_default().folder = Some(Arc::clone(folder));
    }
    let mut nodes: Vec<(String, Node)> = nodes.into_iter().collect();
    let place = |node: &Node| {
        node.folder
            .as_ref()
            .and_then(|folder| folder.role)
            .map_or(usize::MAX, |role| FolderRole::ALL.iter().position(|known| *known == role).unwrap_or(usize::MAX))
    };
    nodes.sort_by_key(|(_, node)| place(node));
    nodes
}

/// The attributes with which a name is listed; `None` if it is not listed.
fn attributes(query: &Query, name: &str, node: &Node) -> Option<Vec<&'static str>> {
    if !query.patterns.iter().any(|pattern| matches(pattern, name)) {
        return None;
    }
    let subscribed = node.folder.as_ref().is_some_and(|folder| folder.subscribed);
    if query.only_subscribed && !subscribed && !(query.recursive && node.subscribed_below) {
        return None;
    }
    let special = node.folder.as_ref().and_then(|folder| folder.role).and_then(special_use);
    if query.only_special && special.is_none() {
        return None;
    }
    let mut attributes = Vec::new();
    if node.folder.is_none() {
        attributes.push("\\Noselect");
        if query.extended {
            attributes.push("\\NonExistent");
        }
    }
    attributes.push(if node.children { "\\HasChildren" } else { "\\HasNoChildren" });
    attributes.extend(special);
    if subscribed && (query.only_subscribed || query.return_subscribed) {
        attributes.push("\\Subscribed");
    }
    Some(attributes)
}

const fn special_use(role: FolderRole) -> Option<&'static str> {
    match role {
        FolderRole::Sent => Some("\\Sent"),
        FolderRole::Drafts => Some("\\Drafts"),
        FolderRole::Archive => Some("\\Archive"),
        FolderRole::Junk => Some("\\Junk"),
        FolderRole::Trash => Some("\\Trash"),
        FolderRole::Inbox | FolderRole::Requests | FolderRole::Outbox => None,
    }
}

fn parse(command: &[u8]) -> Result<Query, SyntaxError> {
    let mut query = Query::default();
    let mut cursor = Cursor::after_words(command, 2)?;
    if cursor.peek() == Some(b'(') {
        query.extended = true;
        words(&mut cursor, |word, _| query.selection(word))?;
        cursor.expect(b' ')?;
    }
    if query.recursive && !query.only_subscribed {
        return Err(SyntaxError);
    }
    let reference = utf7::decode(&cursor.astring()?).ok_or(SyntaxError)?;
    cursor.expect(b' ')?;
    let mut patterns = Vec::new();
    if cursor.eat(b'(') {
        query.extended = true;
        patterns.push(cursor.pattern()?);
        while cursor.eat(b' ') {
            patterns.push(cursor.pattern()?);
            if patterns.len() > limits::LIST_PATTERNS {
                return Err(SyntaxError);
            }
        }
        cursor.expect(b')')?;
    } else {
        patterns.push(cursor.pattern()?);
    }
    for pattern in patterns {
        let pattern = utf7::decode(&pattern).ok_or(SyntaxError)?;
        // An empty pattern asks for the delimiter, whatever the reference.
        query.patterns.push(if pattern.is_empty() { pattern } else { format!("{reference}{pattern}") });
    }
    if !cursor.at_end() {
        cursor.expect(b' ')?;
        if cursor.word()? != "RETURN" {
            return Err(SyntaxError);
        }
        cursor.expect(b' ')?;
        query.extended = true;
        words(&mut cursor, |word, cursor| query.returned(word, cursor))?;
    }
    cursor.end()?;
    each_once(&mut query.status);
    Ok(query)
}

impl Query {
    /// A selection option (RFC 5258 §3.1).
    fn selection(&mut self, word: &str) -> Result<(), SyntaxError> {
        match word {
            "SUBSCRIBED" => self.only_subscribed = true,
            "SPECIAL-USE" => self.only_special = true,
            "RECURSIVEMATCH" => self.recursive = true,
            // This server has no mailboxes elsewhere.
            "REMOTE" => {}
            _ => return Err(SyntaxError),
        }
        Ok(())
    }

    /// A return option (RFC 5258 §3.2, RFC 5819).
    fn returned(&mut self, word: &str, cursor: &mut Cursor<'_>) -> Result<(), SyntaxError> {
        match word {
            "SUBSCRIBED" => self.return_subscribed = true,
            // Every response has these anyway.
            "CHILDREN" | "SPECIAL-USE" => {}
            "STATUS" => {
                cursor.expect(b' ')?;
                return words(cursor, |item, _| {
                    self.status.push(StatusItem::by_name(item).ok_or(SyntaxError)?);
                    Ok(())
                });
            }
            _ => return Err(SyntaxError),
        }
        Ok(())
    }
}

/// `(word word …)`, perhaps empty.
fn words(
    cursor: &mut Cursor<'_>,
    mut each: impl FnMut(&str, &mut Cursor<'_>) -> Result<(), SyntaxError>,
) -> Result<(), SyntaxError> {
    cursor.expect(b'(')?;
    if cursor.eat(b')') {
        return Ok(());
    }
    loop {
        let word = cursor.word()?;
        each(&word, cursor)?;
        if cursor.eat(b')') {
            return Ok(());
        }
        cursor.expect(b' ')?;
    }
}

/// Whether a name matches a pattern: `*` stands for anything, `%` for anything within one level. INBOX matches in any
/// case. Time is bounded by the product of the two lengths, and both are bounded.
fn matches(pattern: &str, name: &str) -> bool {
    if pattern.len() > 2 * limits::FOLDER_NAME_BYTES {
        return false;
    }
    let inbox = name == "INBOX" || name.starts_with("INBOX/");
    let same = |a: char, b: char, place: usize| a == b || (inbox && place < 5 && a.eq_ignore_ascii_case(&b));
    let name: Vec<char> = name.chars().collect();
    // reached[i]: the pattern so far matches the first i characters of the name.
    let mut reached = vec![false; name.len() + 1];
    if let Some(first) = reached.first_mut() {
        *first = true;
    }
    for wanted in pattern.chars() {
        let mut next = vec![false; name.len() + 1];
        let mut carry = false;
        for (place, slot) in next.iter_mut().enumerate() {
            let here = reached.get(place).copied().unwrap_or(false);
            let before = place.checked_sub(1).and_then(|before| Some((*reached.get(before)?, *name.get(before)?)));
            *slot = match wanted {
                '*' | '%' => {
                    // The run goes on over the last character, unless that is a delimiter and the wildcard is %.
                    let crosses = before.is_some_and(|(_, c)| wanted == '*' || c != '/');
                    carry = here || (carry && crosses);
                    carry
                }
                _ => before.is_some_and(|(was, c)| was && same(wanted, c, place - 1)),
            };
        }
        reached = next;
    }
    reached.last().copied().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn wildcards_respect_levels() {
        for (pattern, name) in [
            ("*", "a/b"),
            ("%", "a"),
            ("%/%", "a/b"),
            ("a*", "a/b/c"),
            ("inbox", "INBOX"),
            ("iNb%", "INBOX"),
            ("inbox/%", "INBOX/x"),
            ("a%c/d", "abc/d"),
            ("*d", "a/d"),
            ("", ""),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in
            [("%", "a/b"), ("a", "A"), ("a/%", "a"), ("inbox/x", "INBOX/X"), ("a%", "a/b"), ("", "a")]
        {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn what_clients_send_is_understood() {
        let query = parse(b"5 list (subscribed) \"\" \"*\" return (special-use)\r\n").unwrap();
        assert!(query.only_subscribed && query.extended);
        assert_eq!(query.patterns, ["*"]);
        let query = parse(b"5 LIST \"\" * RETURN (CHILDREN STATUS (MESSAGES UNSEEN))\r\n").unwrap();
        assert_eq!(query.status, [StatusItem::Messages, StatusItem::Unseen]);
        let query = parse(b"5 LIST Work/ (% &ANw-*)\r\n").unwrap();
        assert_eq!(query.patterns, ["Work/%", "Work/Ü*"]);
        for bad in [
            &b"5 LIST (FOO) \"\" *\r\n"[..],
            b"5 LIST \"\"\r\n",
            b"5 LIST (RECURSIVEMATCH) \"\" *\r\n",
            b"5 LIST \"\" * x\r\n",
        ] {
            assert!(parse(bad).is_err());
        }
    }

    proptest! {
        #[test]
        fn matching_is_what_a_regular_expression_would_say(pattern in "[ab/%*]{0,8}", name in "[ab/]{0,8}") {
            fn slow(pattern: &[u8], name: &[u8]) -> bool {
                match (pattern.split_first(), name.split_first()) {
                    (None, None) => true,
                    (Some((b'*' | b'%', rest)), _) if slow(rest, name) => true,
                    (Some((b'*', _)), Some((_, after))) => slow(pattern, after),
                    (Some((b'%', _)), Some((c, after))) => *c != b'/' && slow(pattern, after),
                    (Some((p, rest)), Some((c, after))) => p == c && slow(rest, after),
                    _ => false,
                }
            }
            prop_assert_eq!(matches(&pattern, &name), slow(pattern.as_bytes(), name.as_bytes()));
        }
    }
}
