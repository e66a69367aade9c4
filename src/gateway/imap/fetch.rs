//! FETCH: the items that a client asks for, of the messages that it names.
//!
//! Each response begins with the UID where that is asked for. Large sections go out in pieces as they are read. A
//! literal is announced only after all its bytes were read once: a body that cannot be read costs its own response and
//! makes the command end with NO. If bytes can no longer be read after that, others replace them, in the length that
//! was announced. A message that another session expunged meanwhile is left out (RFC 2180 §4.1); its EXPUNGE follows as
//! soon as it may be told.

use std::sync::Arc;

use imap_codec::imap_types::fetch::{MacroOrMessageDataItemNames, MessageDataItemName, Part, Section as SectionName};

use crate::engine::Request;
use crate::engine::state::mailbox::{FlagChange, Flags, Folder, Message, NamedFlags, Uid};
use crate::gateway::account::ReadError;
use crate::mail::headers;
use crate::mail::structure::{Section, Span};

use super::encode;
use super::reply::{Done, End, Fail, Reply};
use super::session::Session;
use super::source::{Source, offload, pieces};
use super::stream::Writer;
use super::view::{NumberSet, Row};

/// An item that a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Item {
    Uid,
    Flags,
    InternalDate,
    Size,
    Envelope,
    Body,
    BodyStructure,
    Content(Content),
}

/// Bytes of a message, under the label with which they are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Content {
    label: Vec<u8>,
    path: Vec<u32>,
    section: Section,
    fields: Option<Fields>,
    partial: Option<(u32, u32)>,
    peek: bool,
}

/// HEADER.FIELDS and HEADER.FIELDS.NOT.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fields {
    names: Vec<Vec<u8>>,
    except: bool,
}

/// The completeness of the response for one message.
enum Told {
    /// With everything that the client asked for.
    Whole,
    /// Incomplete because another session expunged the message meanwhile.
    Gone,
    /// Incomplete because the disk could not be read.
    Unreadable,
}

/// Replaces bytes that were announced and can no longer be read.
const REPLACEMENT: &[u8] = b"\r\n[this could not be read from the disk]";

/// Why one response could not be completed.
enum Trouble {
    Unreadable,
    Socket,
}

impl From<ReadError> for Trouble {
    fn from(_: ReadError) -> Self {
        Self::Unreadable
    }
}

impl From<std::io::Error> for Trouble {
    fn from(_: std::io::Error) -> Self {
        Self::Socket
    }
}

impl Session {
    pub(super) async fn fetch(
        &mut self,
        set: &NumberSet,
        names: &MacroOrMessageDataItemNames<'_>,
        by_uid: bool,
    ) -> Done {
        let Some(items) = items(names, by_uid) else { return Ok(Reply::bad("that cannot be fetched here")) };
        let (folder, selected) = self.user()?.selected()?;
        let rows = selected.view.select(set, by_uid);
        let may_mark = !selected.read_only;
        let marks = items.iter().any(|item| matches!(item, Item::Content(content) if !content.peek));
        let marked = if may_mark && marks { self.mark_seen(&folder, &rows).await? } else { Vec::new() };
        let (folder, _) = self.user()?.selected()?;
        let (mut gone, mut unreadable) = (false, false);
        for row in rows {
            let Some(message) = folder.messages.get(row.uid) else {
                gone = true;
                continue;
            };
            let now_seen = marked.binary_search(&row.uid).is_ok();
            match self.fetch_row(row, message, &folder, &items, now_seen).await? {
                Told::Whole => {}
                Told::Gone => gone = true,
                Told::Unreadable => unreadable = true,
            }
        }
        self.report(by_uid)?;
        if unreadable {
            return Ok(Reply::no("some messages could not be read; the daemon's log says more").code("SERVERBUG"));
        }
        Ok(Reply::ok("done").gone(gone && !by_uid))
    }

    /// Sets `\Seen` on the messages that lack it, in one change; returns those messages, sorted.
    async fn mark_seen(&mut self, folder: &Folder, rows: &[Row]) -> Result<Vec<Uid>, Fail> {
        let unseen = |uid: &Uid| folder.messages.get(*uid).is_some_and(|found| !found.flags.contains(Flags::SEEN));
        let mut uids: Vec<Uid> = rows.iter().map(|row| row.uid).filter(unseen).collect();
        uids.sort_unstable();
        if uids.is_empty() {
            return Ok(uids);
        }
        let request = Request::Store {
            folder: folder.id,
            uids: uids.clone(),
            change: FlagChange::Add,
            flags: NamedFlags::system(Flags::SEEN),
        };
        // Mail is shown even where the disk cannot store this change.
        match self.user()?.account.request(request).await {
            Ok(_) => Ok(uids),
            Err(_) => Ok(Vec::new()),
        }
    }

    /// Sends the response for one message.
    async fn fetch_row(
        &mut self,
        row: Row,
        message: &Message,
        folder: &Arc<Folder>,
        items: &[Item],
        now_seen: bool,
    ) -> Result<Told, Fail> {
        let Self { user: Some(user), writer, shared, .. } = self else { return Err(End::Silent.into()) };
        let mut source = Source::new(user.account.as_ref(), &shared.limits.memory, message);
        let mark = writer.mark();
        let tells_flags = now_seen || items.contains(&Item::Flags);
        let whole = write_row(writer, &mut source, row, message, folder, items, now_seen).await?;
        // If a part of the response was already sent, that part stays, without the items that are missing.
        let stands = whole || !writer.take_back(mark);
        if let Some(selected) = user.selected.as_mut().filter(|_| tells_flags && stands) {
            selected.view.tell(row.uid, message.flags);
        }
        writer.relieve().await?;
        if whole {
            return Ok(Told::Whole);
        }
        // A body is forgotten only after the folder without its message was published, so the folder tells the two
        // cases apart.
        let (now, _) = user.selected()?;
        Ok(if now.messages.get(row.uid).is_some() { Told::Unreadable } else { Told::Gone })
    }
}

/// Writes the response for one message; false where a part of it could not be read.
async fn write_row(
    writer: &mut Writer,
    source: &mut Source<'_>,
    row: Row,
    message: &Message,
    folder: &Folder,
    items: &[Item],
    now_seen: bool,
) -> std::io::Result<bool> {
    writer.out().extend_from_slice(format!("* {} FETCH (", row.seq).as_bytes());
    let more = (now_seen && !items.contains(&Item::Flags)).then_some(&Item::Flags);
    let (mut whole, mut first) = (true, true);
    for item in items.iter().chain(more) {
        let mark = writer.mark();
        if !first {
            writer.out().push(b' ');
        }
        match write_item(writer, source, row, message, folder, item).await {
            Ok(complete) => {
                first = false;
                whole &= complete;
            }
            Err(Trouble::Unreadable) => {
                // No part of an item is sent unless all of it can be sent.
                writer.take_back(mark);
                whole = false;
            }
            Err(Trouble::Socket) => return Err(std::io::ErrorKind::BrokenPipe.into()),
        }
        // However many items a client asks for, little of the response is in memory.
        writer.relieve().await?;
    }
    writer.out().extend_from_slice(b")\r\n");
    Ok(whole)
}

/// Writes one item; false where a part of it was replaced.
async fn write_item(
    writer: &mut Writer,
    source: &mut Source<'_>,
    row: Row,
    message: &Message,
    folder: &Folder,
    item: &Item,
) -> Result<bool, Trouble> {
    match item {
        Item::Uid => writer.out().extend_from_slice(format!("UID {}", row.uid).as_bytes()),
        Item::Flags => {
            writer.out().extend_from_slice(b"FLAGS ");
            encode::flags(writer.out(), folder, message.flags);
        }
        Item::InternalDate => {
            writer.out().extend_from_slice(b"INTERNALDATE ");
            encode::internal_date(writer.out(), message.date);
        }
        Item::Size => writer.out().extend_from_slice(format!("RFC822.SIZE {}", message.size).as_bytes()),
        Item::Envelope => {
            let envelope = source.envelope().await?;
            writer.out().extend_from_slice(b"ENVELOPE ");
            encode::envelope(writer.out(), &envelope);
        }
        Item::Body | Item::BodyStructure => {
            let extended = *item == Item::BodyStructure;
            let structure = source.structure().await?;
            writer.out().extend_from_slice(if extended { b"BODYSTRUCTURE " } else { b"BODY " });
            encode::body_structure(writer.out(), &structure.root, extended);
        }
        Item::Content(content) => return write_content(writer, source, content).await,
    }
    Ok(true)
}

/// The bytes of a section: a range of the stored body, or bytes that were put together.
enum Found {
    There(Span),
    Made(Vec<u8>),
    Missing,
}

/// The cost of choosing fields, in steps for a byte of the header and of the names.
const FIELDS_STEPS_PER_BYTE: usize = 24;

async fn find(source: &mut Source<'_>, content: &Content) -> Result<Found, ReadError> {
    if let Some(fields) = &content.fields {
        let header = if content.path.is_empty() {
            source.header().await?.to_vec()
        } else {
            let Some(span) = source.structure().await?.part(&content.path, Section::Header) else {
                return Ok(Found::Missing);
            };
            source.read(span).await?
        };
        let Fields { names, except } = fields.clone();
        let cost = header.len() + names.iter().map(Vec::len).sum::<usize>();
        let chosen = offload(cost.saturating_mul(FIELDS_STEPS_PER_BYTE), move || {
            let names: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
            headers::select_fields(&header, &names, except)
        });
        return Ok(Found::Made(chosen.await?));
    }
    if !content.path.is_empty() {
        let found = source.structure().await?.part(&content.path, content.section);
        return Ok(found.map_or(Found::Missing, Found::There));
    }
    let whole = source.whole();
    match content.section {
        Section::Body => Ok(Found::There(whole)),
        Section::Mime => Ok(Found::Missing),
        Section::Header => Ok(Found::Made(source.header().await?.to_vec())),
        Section::Text => {
            let end = u32::try_from(source.header().await?.len()).unwrap_or(u32::MAX);
            Ok(Found::There(Span { start: end.min(whole.end), end: whole.end }))
        }
    }
}

async fn write_content(writer: &mut Writer, source: &mut Source<'_>, content: &Content) -> Result<bool, Trouble> {
    let found = find(source, content).await?;
    let out = writer.out();
    out.extend_from_slice(&content.label);
    if let Some((start, _)) = content.partial {
        out.extend_from_slice(format!("<{start}>").as_bytes());
    }
    out.push(b' ');
    match found {
        Found::Missing => out.extend_from_slice(b"NIL"),
        Found::Made(bytes) => {
            let span = cut(Span { start: 0, end: u32::try_from(bytes.len()).unwrap_or(u32::MAX) }, content.partial);
            let bytes = span.of(&bytes);
            encode::literal_head(out, bytes.len());
            out.extend(bytes.iter().map(|&byte| encode::harmless(byte)));
        }
        Found::There(span) => return stream(writer, source, cut(span, content.partial)).await,
    }
    Ok(true)
}

/// Sends a literal, piece by piece: the next piece is read when the socket took the last one. False where bytes that
/// could be read when the literal was announced could no longer be read, and were replaced.
async fn stream(writer: &mut Writer, source: &mut Source<'_>, span: Span) -> Result<bool, Trouble> {
    let mut pieces = pieces(span);
    let first = pieces.next().unwrap_or(span);
    if first != span {
        source.verify(span).await?;
    }
    let mut bytes = source.read(first).await?;
    encode::literal_head(writer.out(), usize::try_from(span.len()).unwrap_or(usize::MAX));
    let mut whole = true;
    loop {
        if bytes.contains(&0) {
            writer.out().extend(bytes.iter().map(|&byte| encode::harmless(byte)));
        } else {
            writer.out().extend_from_slice(&bytes);
        }
        let Some(piece) = pieces.next() else { return Ok(whole) };
        writer.relieve().await?;
        bytes = match source.read(piece).await {
            Ok(bytes) => bytes,
            Err(ReadError) => {
                whole = false;
                let len = usize::try_from(piece.len()).unwrap_or(usize::MAX);
                REPLACEMENT.iter().copied().cycle().take(len).collect()
            }
        };
    }
}

/// `<start.count>` of these bytes (RFC 9051 §6.4.5.1): cut at the end, empty where it begins behind it.
fn cut(span: Span, partial: Option<(u32, u32)>) -> Span {
    let Some((start, count)) = partial else { return span };
    let from = span.start.saturating_add(start).min(span.end);
    Span { start: from, end: from.saturating_add(count).min(span.end) }
}

fn items(names: &MacroOrMessageDataItemNames<'_>, by_uid: bool) -> Option<Vec<Item>> {
    let mut items = match names {
        MacroOrMessageDataItemNames::Macro(name) => name.expand().iter().map(item).collect::<Option<Vec<_>>>()?,
        MacroOrMessageDataItemNames::MessageDataItemNames(names) => {
            names.iter().map(item).collect::<Option<Vec<_>>>()?
        }
    };
    // The UID comes first; otherwise Thunderbird takes the rest for another message's.
    if by_uid || items.contains(&Item::Uid) {
        items.retain(|item| *item != Item::Uid);
        items.insert(0, Item::Uid);
    }
    Some(items)
}

fn item(name: &MessageDataItemName<'_>) -> Option<Item> {
    use MessageDataItemName as N;
    let whole = |label: &str, section, peek| {
        Item::Content(Content {
            label: label.as_bytes().to_vec(),
            path: Vec::new(),
            section,
            fields: None,
            partial: None,
            peek,
        })
    };
    Some(match name {
        N::Uid => Item::Uid,
        N::Flags => Item::Flags,
        N::InternalDate => Item::InternalDate,
        N::Rfc822Size => Item::Size,
        N::Envelope => Item::Envelope,
        N::Body => Item::Body,
        N::BodyStructure => Item::BodyStructure,
        N::Rfc822 => whole("RFC822", Section::Body, false),
        N::Rfc822Header => whole("RFC822.HEADER", Section::Header, true),
        N::Rfc822Text => whole("RFC822.TEXT", Section::Text, false),
        N::BodyExt { section, partial, peek } => {
            Item::Content(content(section.as_ref(), partial.map(|(start, count)| (start, count.get())), *peek))
        }
        N::Binary { .. } | N::BinarySize { .. } => return None,
    })
}

fn content(name: Option<&SectionName<'_>>, partial: Option<(u32, u32)>, peek: bool) -> Content {
    let numbers = |part: &Part| part.0.as_ref().iter().map(|number| number.get()).collect::<Vec<u32>>();
    let maybe = |part: &Option<Part>| part.as_ref().map(numbers).unwrap_or_default();
    let fields = |names: &[imap_codec::imap_types::core::AString<'_>], except| {
        Some(Fields { names: names.iter().map(|name| name.as_ref().to_vec()).collect(), except })
    };
    let (path, section, fields, word) = match name {
        None => (Vec::new(), Section::Body, None, ""),
        Some(SectionName::Part(part)) => (numbers(part), Section::Body, None, ""),
        Some(SectionName::Header(part)) => (maybe(part), Section::Header, None, "HEADER"),
        Some(SectionName::HeaderFields(part, names)) => {
            (maybe(part), Section::Header, fields(names.as_ref(), false), "HEADER.FIELDS")
        }
        Some(SectionName::HeaderFieldsNot(part, names)) => {
            (maybe(part), Section::Header, fields(names.as_ref(), true), "HEADER.FIELDS.NOT")
        }
        Some(SectionName::Text(part)) => (maybe(part), Section::Text, None, "TEXT"),
        Some(SectionName::Mime(part)) => (numbers(part), Section::Mime, None, "MIME"),
    };
    let label = label(&path, word, fields.as_ref());
    Content { label, path, section, fields, partial, peek }
}

/// `BODY[1.2.HEADER.FIELDS (From)]`
fn label(path: &[u32], word: &str, fields: Option<&Fields>) -> Vec<u8> {
    let mut parts: Vec<String> = path.iter().map(u32::to_string).collect();
    if !word.is_empty() {
        parts.push(word.to_owned());
    }
    let mut label = format!("BODY[{}", parts.join(".")).into_bytes();
    if let Some(fields) = fields {
        label.extend_from_slice(b" (");
        for (place, name) in fields.names.iter().enumerate() {
            if place > 0 {
                label.push(b' ');
            }
            encode::astring(&mut label, name);
        }
        label.push(b')');
    }
    label.push(b']');
    label
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partial_is_cut_at_the_end() {
        let span = Span { start: 10, end: 30 };
        assert_eq!(cut(span, Some((0, 5))), Span { start: 10, end: 15 });
        assert_eq!(cut(span, Some((15, 100))), Span { start: 25, end: 30 });
        assert_eq!(cut(span, Some((20, 1))), Span { start: 30, end: 30 });
        assert_eq!(cut(span, Some((u32::MAX, u32::MAX))), Span { start: 30, end: 30 });
    }

    #[test]
    fn labels_repeat_what_was_asked() {
        let fields = Fields { names: vec![b"From".to_vec(), b"X (y".to_vec()], except: true };
        assert_eq!(label(&[1, 2], "HEADER.FIELDS.NOT", Some(&fields)), b"BODY[1.2.HEADER.FIELDS.NOT (From \"X (y\")]");
        assert_eq!(label(&[], "", None), b"BODY[]");
    }
}
