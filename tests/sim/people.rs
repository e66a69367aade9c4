//! What people do, by their mail programs and the command line.

use std::sync::Arc;

use runepeer::base::{ContactId, FolderId, QueueId};
use runepeer::engine::api::{DeliveryOptions, Response, Submission};
use runepeer::engine::state::book::ContactStatus;
use runepeer::engine::state::introductions::Policy;
use runepeer::engine::state::mailbox::{FlagChange, Flags, FolderRole, NamedFlags, Uid};
use runepeer::engine::state::queue::{Notify, RecipientOptions};
use runepeer::engine::{Request, Snapshot, State};

use crate::climate::DAY;
use crate::world::World;

/// Some act of a node's user.
pub(crate) fn act(world: &mut World, n: usize) {
    let snapshot = world.nodes[n].running.as_ref().unwrap().published.clone();
    match world.below(20) {
        0..=9 => write(world, n, &snapshot),
        10 => save(world, n, &snapshot),
        11 | 12 => flag(world, n, &snapshot),
        13 => remove(world, n, &snapshot),
        14 | 15 => file(world, n, &snapshot),
        16 => folders(world, n, &snapshot),
        17 => regret(world, n, &snapshot),
        18 => {
            let queue = snapshot.queue.iter().next().map(|queued| queued.id);
            world.request(n, Request::Retry(queue));
        }
        _ => meet(world, n),
    }
    if world.introduces && world.below(3) == 0 {
        introductions(world, n, &snapshot);
    }
}

/// Decides about what waits, introduces two contacts to each other, or says who may introduce.
fn introductions(world: &mut World, n: usize, snapshot: &Snapshot) {
    if world.below(2) == 0 {
        return agree(world, n);
    }
    let known: Vec<_> = snapshot
        .book
        .contacts()
        .filter(|contact| contact.status == ContactStatus::Confirmed)
        .map(|contact| contact.id)
        .collect();
    if known.len() < 2 {
        return;
    }
    let (guest, host) = (world.below(known.len() as u64) as usize, world.below(known.len() as u64) as usize);
    if world.below(6) == 0 {
        let policy = [Policy::Yes, Policy::Ask, Policy::Never][world.below(3) as usize];
        world.request(n, Request::SetIntroductions(known[guest], policy));
    } else {
        world.request(n, Request::Introduce { guest: known[guest], host: known[host], text: "they sing".to_owned() });
    }
}

/// Decides about one introduction that waits, if there is one: most are accepted, by a command or by moving the message.
pub(crate) fn agree(world: &mut World, n: usize) {
    let Some(running) = world.nodes[n].running.as_ref() else { return };
    let snapshot = running.published.clone();
    let parts = snapshot.introductions.parts();
    let waiting = parts.asked.iter().map(|(id, asked)| (*id, asked.notice));
    let waiting = waiting.chain(parts.offers.iter().map(|(id, offer)| (*id, offer.notice)));
    let Some((id, notice)) = waiting.into_iter().next() else { return };
    let folder = |role| snapshot.mailbox.by_role(role);
    let (Some(requests), Some(inbox)) = (folder(FolderRole::Requests), folder(FolderRole::Inbox)) else { return };
    let uid = requests.messages.iter().find(|message| Some(message.body) == notice).map(|message| message.uid);
    match (uid, world.introduces && world.below(2) == 0) {
        _ if world.introduces && world.below(6) == 0 => world.request(n, Request::DeclineIntroduction(id)),
        (Some(uid), true) => {
            let (from, to) = (requests.id, inbox.id);
            world.request(n, Request::Transfer { from, to, uids: vec![uid], keep: false })
        }
        _ => world.request(n, Request::AcceptIntroduction(id)),
    };
}

/// How many people somebody has introduced, as all nodes know it. No entry that is no mail outlives its place in the queue, or among
/// those that ended lately.
pub(crate) fn introduced(world: &World) -> u64 {
    let states = world.nodes.iter().filter_map(|node| node.running.as_ref()).map(|running| running.identity.state());
    let count = |state: &State| {
        let parts = state.introductions().parts();
        let queue = state.queue();
        let is_there = |id: &QueueId| queue.get(*id).is_some() || queue.ended().any(|queued| queued.id == *id);
        assert!(parts.kinds.keys().all(is_there), "an entry is forgotten, its kind is not");
        parts.paths.values().map(Vec::len).sum::<usize>() as u64
    };
    states.map(count).sum()
}

/// What a node calls another one in its records.
pub(crate) fn contact(world: &World, of: usize, other: usize) -> Option<ContactId> {
    let onion = world.nodes[other].onion;
    let book = &world.nodes[of].running.as_ref()?.published.book;
    book.by_onion(onion).map(|contact| contact.id)
}

/// Makes two nodes know each other: one invites, the other is told the text.
pub(crate) fn introduce(world: &mut World, host: usize, guest: usize) {
    let expires = world.local(host).plus(crate::climate::duration(7 * DAY));
    let id = world.request(host, Request::Invite { public: false, expires, label: None });
    world.pass(1000);
    if let Some(Ok(Response::Invited { text, .. })) = world.answers.remove(&(host, id)) {
        world.request(guest, Request::AddContact { invitation: text, petname: None });
    }
}

/// An invitation that is used at once, whoever is there.
fn meet(world: &mut World, n: usize) {
    let other = world.below(world.nodes.len() as u64) as usize;
    let public = world.below(4) == 0;
    let expires = world.local(n).plus(crate::climate::duration(7 * DAY));
    if other == n || world.nodes[other].running.is_none() {
        return;
    }
    // The answer comes later; the next act of somebody hands it on.
    // One node gives everybody the same name: all but the first who come are numbered.
    let label = (!public && n == 0).then(|| "friend".to_owned());
    let id = world.request(n, Request::Invite { public, expires, label });
    world.invited.push((n, id, other));
    let due = std::mem::take(&mut world.invited);
    for (from, id, to) in due {
        match world.answers.remove(&(from, id)) {
            Some(Ok(Response::Invited { text, .. })) if world.nodes[to].running.is_some() => {
                world.request(to, Request::AddContact { invitation: text, petname: None });
            }
            Some(_) => {}
            None if world.invited.len() < 8 => world.invited.push((from, id, to)),
            None => {}
        }
    }
}

fn write(world: &mut World, n: usize, snapshot: &Snapshot) {
    let known: Vec<String> = snapshot
        .book
        .contacts()
        .filter(|contact| contact.may_receive())
        .map(|contact| contact.address.to_string())
        .collect();
    if known.is_empty() {
        return;
    }
    let mut recipients = Vec::new();
    let many = if world.below(5) == 0 { 1 + world.below(4) } else { 1 };
    for _ in 0..many {
        let to = known[world.below(known.len() as u64) as usize].clone();
        if !recipients.contains(&to) {
            recipients.push(to);
        }
    }
    // The others are hidden.
    let visible = match world.below(4) {
        0 => Vec::new(),
        // All of them see each other, once they have agreed to that.
        1 if world.introduces => recipients.clone(),
        _ => vec![recipients[0].clone()],
    };
    world.written += 1;
    let size = match world.below(40) {
        0 => 300_000,
        1..=5 => 20_000 + world.below(10_000),
        _ => 200 + world.below(5000),
    } as usize;
    let own = snapshot.profile.as_ref().unwrap().address.to_string();
    let number = world.written;
    let text = format!(
        "From: <{own}>\r\nTo: <{}>\r\nSubject: canary-{n}-{number}x\r\nMessage-ID: <{number}@x>\r\n\r\n{}\r\n",
        if visible.is_empty() { "undisclosed".to_owned() } else { visible.join(">, <") },
        "All work and no play. ".repeat(size / 22)
    );
    let mut asked = DeliveryOptions::default();
    if world.below(4) == 0 {
        let notify = Notify { success: world.below(2) == 0, failure: world.below(4) != 0, delay: world.below(2) == 0 };
        let options = RecipientOptions { notify, original: None };
        asked.full = world.below(2) == 0;
        asked.recipients.insert(recipients[0].clone(), options);
    }
    let message: Arc<[u8]> = text.into_bytes().into();
    let sent = snapshot.mailbox.by_role(FolderRole::Sent).map(|folder| folder.id);
    world.request(n, Request::Submit(Submission { recipients, visible, message: Arc::clone(&message), asked }));
    // Many mail programs save what they sent.
    if let (Some(folder), true) = (sent, world.below(3) == 0) {
        world.request(n, Request::Append { folder, flags: NamedFlags::system(Flags::SEEN), date: None, message });
    }
}

fn some_folder(world: &mut World, snapshot: &Snapshot) -> Option<FolderId> {
    let all: Vec<FolderId> = snapshot.mailbox.folders().map(|folder| folder.id).collect();
    all.get(world.below(all.len() as u64) as usize).copied()
}

fn some_uids(world: &mut World, snapshot: &Snapshot, folder: FolderId) -> Vec<Uid> {
    let Some(folder) = snapshot.mailbox.folder(folder) else { return Vec::new() };
    let uids: Vec<Uid> = folder.messages.iter().map(|message| message.uid).collect();
    uids.into_iter().filter(|_| world.below(4) == 0).collect()
}

fn save(world: &mut World, n: usize, snapshot: &Snapshot) {
    let Some(folder) = some_folder(world, snapshot) else { return };
    let size = world.below(9000) as usize;
    let message: Arc<[u8]> =
        format!("From: <x@y>\r\nSubject: draft\r\n\r\n{}\r\n", "z".repeat(size)).into_bytes().into();
    world.request(n, Request::Append { folder, flags: NamedFlags::default(), date: None, message });
}

fn flag(world: &mut World, n: usize, snapshot: &Snapshot) {
    let Some(folder) = some_folder(world, snapshot) else { return };
    let uids = some_uids(world, snapshot, folder);
    let change = [FlagChange::Add, FlagChange::Remove, FlagChange::Replace][world.below(3) as usize];
    let keywords = (0..world.below(2)).map(|k| format!("$Label{k}")).collect();
    let flags = NamedFlags { system: Flags(world.below(32)), keywords };
    world.request(n, Request::Store { folder, uids, change, flags });
}

fn remove(world: &mut World, n: usize, snapshot: &Snapshot) {
    let Some(folder) = some_folder(world, snapshot) else { return };
    let uids = some_uids(world, snapshot, folder);
    world.request(n, Request::Expunge { folder, uids });
}

fn file(world: &mut World, n: usize, snapshot: &Snapshot) {
    let (Some(from), Some(to)) = (some_folder(world, snapshot), some_folder(world, snapshot)) else { return };
    let uids = some_uids(world, snapshot, from);
    // Not from Requests to Junk: who is blocked is not told, and so neither is the witness.
    let role = |id| snapshot.mailbox.folder(id).and_then(|folder| folder.role);
    if role(from) == Some(FolderRole::Requests) && role(to) == Some(FolderRole::Junk) {
        return;
    }
    let keep = world.below(2) == 0;
    world.request(n, Request::Transfer { from, to, uids, keep });
}

fn folders(world: &mut World, n: usize, snapshot: &Snapshot) {
    let Some(folder) = some_folder(world, snapshot) else { return };
    let name = format!("folder{}", world.below(6));
    let request = match world.below(4) {
        0 | 1 => Request::CreateFolder { name },
        2 => Request::RenameFolder { folder, name },
        _ => Request::DeleteFolder { folder },
    };
    world.request(n, request);
}

/// Takes back what waits, by the Outbox or by hand.
fn regret(world: &mut World, n: usize, snapshot: &Snapshot) {
    let waiting: Vec<QueueId> = snapshot.queue.iter().map(|queued| queued.id).collect();
    let Some(queue) = waiting.get(world.below(waiting.len().max(1) as u64) as usize) else { return };
    if world.below(2) == 0 {
        world.request(n, Request::Cancel(*queue));
        return;
    }
    let Some(outbox) = snapshot.mailbox.by_role(FolderRole::Outbox) else { return };
    let uids = some_uids(world, snapshot, outbox.id);
    world.request(n, Request::Expunge { folder: outbox.id, uids });
}
