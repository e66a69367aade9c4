//! Every IO step of every operation fails: once or from then on, by a kill, EIO, ENOSPC, half a write; then the power goes
//! or the process does, and a start finds everything that was reported. Then the same again with a second fault at every
//! step of that start.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use runepeer::base::FolderId;
use runepeer::engine::api::{DeliveryOptions, Response, Submission};
use runepeer::engine::state::introductions::Policy;
use runepeer::engine::state::mailbox::{FlagChange, Flags, FolderRole, NamedFlags, Uid};
use runepeer::engine::{Request, State};
use runepeer::store::OpenError;
use runepeer::store::vfs::{CrashMode, Fault, Plan};

use crate::climate::{Climate, DAY, HOUR, MINUTE, SECOND};
use crate::node::Node;
use crate::people;
use crate::world::{Stopped, World};

/// Whose disk fails.
const NODE: usize = 0;
const PEER: usize = 1;
const OTHER: usize = 2;

/// What is done before, and what is done while the disk fails.
struct Story {
    name: &'static str,
    before: fn(&mut World),
    act: fn(&mut World),
}

const STORIES: &[Story] = &[
    Story { name: "submission", before: nothing, act: |world| submit(world, NODE, &[PEER], 1000) },
    Story { name: "large submission", before: nothing, act: |world| submit(world, NODE, &[PEER], 40_000) },
    Story { name: "submission to two", before: nothing, act: |world| submit(world, NODE, &[PEER, OTHER], 9000) },
    Story { name: "delivery", before: nothing, act: |world| submit(world, PEER, &[NODE], 1000) },
    Story { name: "large delivery", before: nothing, act: |world| submit(world, PEER, &[NODE], 40_000) },
    Story {
        name: "deliveries",
        before: nothing,
        act: |world| (0..5).for_each(|_| submit(world, OTHER, &[NODE], 3000)),
    },
    Story { name: "saving", before: nothing, act: |world| append(world, 8000) },
    Story { name: "saving what was sent", before: nothing, act: save_sent },
    Story { name: "flags", before: nothing, act: flag },
    Story { name: "removing", before: nothing, act: |world| remove(world, FolderRole::Inbox) },
    Story { name: "removing what has a file", before: nothing, act: |world| remove(world, FolderRole::Drafts) },
    Story { name: "moving", before: nothing, act: |world| transfer(world, false) },
    Story { name: "copying", before: nothing, act: |world| transfer(world, true) },
    Story { name: "folders", before: nothing, act: folders },
    Story { name: "inviting", before: nothing, act: |world| people::introduce(world, NODE, OTHER + 1) },
    Story { name: "accepting an invitation", before: nothing, act: |world| people::introduce(world, OTHER + 1, NODE) },
    Story {
        name: "introducing",
        before: |world| may_introduce(world, OTHER, NODE),
        act: |world| bring(world, NODE, PEER, OTHER),
    },
    Story { name: "being introduced", before: among_others, act: |world| bring(world, PEER, OTHER + 1, NODE) },
    Story {
        name: "getting to know somebody",
        before: |world| {
            among_others(world);
            may_introduce(world, OTHER + 1, PEER);
        },
        act: |world| bring(world, PEER, NODE, OTHER + 1),
    },
    Story { name: "passwords", before: nothing, act: passwords },
    Story { name: "notice of delay", before: |world| waiting(world, DAY), act: |world| world.pass(2 * HOUR) },
    Story { name: "end of waiting", before: |world| waiting(world, 5 * DAY), act: |world| world.pass(2 * HOUR) },
    Story { name: "taking back", before: |world| waiting(world, HOUR), act: take_back },
    Story { name: "recall", before: |world| waiting(world, HOUR), act: |world| remove(world, FolderRole::Outbox) },
    Story { name: "compaction", before: clutter, act: |world| world.upkeep(NODE) },
    Story { name: "giving back", before: compacted, act: |world| world.upkeep(NODE) },
    Story { name: "a clean stop", before: unsettled, act: |world| world.stop(world.nodes[NODE].host) },
];

fn nothing(_: &mut World) {}

/// Five who know each other, all there, with a little mail.
fn base() -> World {
    let quiet = Climate { hosts: 4, double: 0, upkeep: 1, ..Climate::of(0).calm() };
    let mut world = World::empty(1, quiet);
    people::introduce(&mut world, NODE, PEER);
    people::introduce(&mut world, OTHER, NODE);
    world.pass(HOUR);
    for (from, to) in [(NODE, PEER), (PEER, NODE), (OTHER, NODE)] {
        submit(&mut world, from, &[to], 700);
    }
    append(&mut world, 300);
    append(&mut world, 7000);
    world.pass(HOUR);
    world
}

fn folder(world: &World, role: FolderRole) -> (FolderId, Vec<Uid>) {
    let state = world.nodes[NODE].running.as_ref().map(|running| running.identity.state());
    let folder = state.and_then(|state| state.mailbox().by_role(role));
    folder.map_or((FolderId::from_bytes([0; 16]), Vec::new()), |folder| {
        (folder.id, folder.messages.iter().map(|message| message.uid).collect())
    })
}

pub(crate) fn submit(world: &mut World, from: usize, to: &[usize], size: usize) {
    let address = |node: usize| format!("persona{node}@{}", world.nodes[node].onion);
    world.written += 1;
    let number = world.written;
    let (own, recipients) = (address(from), to.iter().map(|to| address(*to)).collect::<Vec<_>>());
    let text = format!(
        "From: <{own}>\r\nTo: <{}>\r\nSubject: canary-{from}-{number}x\r\nMessage-ID: <{number}@x>\r\n\r\n{}\r\n",
        recipients[0],
        "A stitch in time. ".repeat(size / 18)
    );
    let visible = vec![recipients[0].clone()];
    let message: Arc<[u8]> = text.into_bytes().into();
    world
        .request(from, Request::Submit(Submission { recipients, visible, message, asked: DeliveryOptions::default() }));
}

fn append(world: &mut World, size: usize) {
    let (folder, _) = folder(world, FolderRole::Drafts);
    let message: Arc<[u8]> = format!("Subject: draft\r\n\r\n{}\r\n", "d".repeat(size)).into_bytes().into();
    world.request(NODE, Request::Append { folder, flags: NamedFlags::default(), date: None, message });
}

fn save_sent(world: &mut World) {
    submit(world, NODE, &[PEER], 5000);
    let number = world.written;
    let (folder, _) = folder(world, FolderRole::Sent);
    let address = |node: usize| format!("persona{node}@{}", world.nodes[node].onion);
    let text = format!(
        "From: <{}>\r\nTo: <{}>\r\nSubject: canary-0-{number}x\r\nMessage-ID: <{number}@x>\r\n\r\n{}\r\n",
        address(NODE),
        address(PEER),
        "A stitch in time. ".repeat(5000 / 18)
    );
    let flags = NamedFlags::system(Flags::SEEN);
    world.request(NODE, Request::Append { folder, flags, date: None, message: text.into_bytes().into() });
}

fn flag(world: &mut World) {
    let (folder, uids) = folder(world, FolderRole::Inbox);
    for keyword in ["$Label1", "$Label2"] {
        let flags = NamedFlags { system: Flags::SEEN, keywords: vec![keyword.to_owned()] };
        world.request(NODE, Request::Store { folder, uids: uids.clone(), change: FlagChange::Add, flags });
        world.pass(300);
    }
    append(world, 100);
}

fn remove(world: &mut World, role: FolderRole) {
    let (folder, uids) = folder(world, role);
    world.request(NODE, Request::Expunge { folder, uids });
}

fn transfer(world: &mut World, keep: bool) {
    let ((from, uids), (to, _)) = (folder(world, FolderRole::Inbox), folder(world, FolderRole::Archive));
    world.request(NODE, Request::Transfer { from, to, uids, keep });
}

fn folders(world: &mut World) {
    let id = world.request(NODE, Request::CreateFolder { name: "one/two".into() });
    world.pass(SECOND);
    if let Some(Ok(Response::FolderCreated(folder))) = world.answers.remove(&(NODE, id)) {
        world.request(NODE, Request::SubscribeFolder { folder, subscribed: true });
        world.request(NODE, Request::RenameFolder { folder, name: "three".into() });
        world.pass(SECOND);
        world.request(NODE, Request::DeleteFolder { folder });
    }
}

fn passwords(world: &mut World) {
    world.request(NODE, Request::AddPassword { name: "phone".into(), hash: "$argon2id$x".into() });
    world.pass(SECOND);
    world.request(NODE, Request::RevokePassword { name: "phone".into() });
}

/// Somebody may be introduced by another without being asked.
fn may_introduce(world: &mut World, host: usize, by: usize) {
    if let Some(by) = people::contact(world, host, by) {
        world.request(host, Request::SetIntroductions(by, Policy::Yes));
        world.pass(SECOND);
    }
}

/// The peer knows one more, whom the node does not know.
fn among_others(world: &mut World) {
    people::introduce(world, PEER, OTHER + 1);
    world.pass(MINUTE);
}

/// One introduces two others to each other, and both agree.
fn bring(world: &mut World, by: usize, guest: usize, host: usize) {
    let (Some(to), Some(asked)) = (people::contact(world, by, guest), people::contact(world, by, host)) else { return };
    world.request(by, Request::Introduce { guest: to, host: asked, text: "an introduction".to_owned() });
    for node in [host, guest] {
        world.pass(3 * SECOND);
        people::agree(world, node);
    }
}

/// A message waits for somebody who is away, since so long but for a moment.
fn waiting(world: &mut World, time: i64) {
    let host = world.nodes[PEER].host;
    world.stop(host);
    submit(world, NODE, &[PEER], 900);
    world.pass(time - MINUTE);
}

fn take_back(world: &mut World) {
    let running = world.nodes[NODE].running.as_ref();
    let queue = running.and_then(|running| running.published.queue.iter().next().map(|queued| queued.id));
    if let Some(queue) = queue {
        world.request(NODE, Request::Cancel(queue));
    }
}

/// More than a segment, most of it removed again.
fn clutter(world: &mut World) {
    for _ in 0..30 {
        append(world, 5000);
    }
    append(world, 9000);
    world.pass(MINUTE);
    let (folder, mut uids) = folder(world, FolderRole::Drafts);
    uids.truncate(28);
    world.request(NODE, Request::Expunge { folder, uids });
    world.pass(MINUTE);
}

/// What a compaction leaves behind may go by now.
fn compacted(world: &mut World) {
    clutter(world);
    world.upkeep(NODE);
    world.pass(2 * HOUR);
}

/// Something was reported that is not durable yet.
fn unsettled(world: &mut World) {
    let (folder, uids) = folder(world, FolderRole::Inbox);
    world.request(
        NODE,
        Request::Store { folder, uids, change: FlagChange::Add, flags: NamedFlags::system(Flags::FLAGGED) },
    );
    world.pass(60);
}

const FAULTS: &[(Fault, bool)] = &[
    (Fault::Kill, false),
    (Fault::KillAfter, false),
    (Fault::Eio, false),
    (Fault::Eio, true),
    (Fault::Enospc, false),
    (Fault::Enospc, true),
    (Fault::ShortWrite, false),
    (Fault::ShortWrite, true),
];
const MODES: &[CrashMode] = &[CrashMode::Kill, CrashMode::PowerCut, CrashMode::Torn];

/// How many runs there were of each kind.
#[derive(Default)]
struct Count {
    single: AtomicU64,
    pairs: AtomicU64,
}

/// A story with one fault in it, and everything that may follow; `false` where the fault did not happen any more.
fn single(story: &Story, plan: Plan, mode: CrashMode, pairs: bool, count: &Count) -> bool {
    let mut world = base();
    (story.before)(&mut world);
    world.crash_mode = mode;
    // Whoever dies is not started by itself.
    let host = world.nodes[NODE].host;
    world.hosts[host].on = false;
    world.nodes[NODE].faults.lock().unwrap().set_plan(plan);
    (story.act)(&mut world);
    world.pass(10 * SECOND);
    let fired = world.nodes[NODE].faults.lock().unwrap().end_plan();
    world.end(NODE, mode);
    let disk = world.nodes[NODE].disk.clone();
    if let Err(error) = world.nodes[NODE].peek(disk) {
        panic!("it does not start again: {error}");
    }
    if let (true, Some(stopped)) = (pairs && fired, world.stopped.get(&NODE)) {
        let stopped = Stopped { reported: stopped.reported.clone(), doubtful: stopped.doubtful.clone() };
        second(&mut world, &stopped, mode, count);
    }
    (0..world.hosts.len()).for_each(|host| world.start(host));
    world.pass(HOUR);
    for _ in 0..12 {
        if world.is_settled() {
            break;
        }
        world.pass(12 * HOUR);
    }
    world.witness.finish(&world.nodes);
    count.single.fetch_add(1, Ordering::Relaxed);
    fired
}

/// A start of what is on the disk with this fault, and a crash after it; what it found, where it found something.
fn start(node: &mut Node, plan: Plan, mode: CrashMode) -> (Result<State, OpenError>, bool) {
    node.faults.lock().unwrap().set_plan(plan);
    let opened = node.open(false);
    let fired = node.faults.lock().unwrap().end_plan();
    let found = opened.map(|(_, state)| state);
    node.crash(mode);
    (found, fired)
}

/// Every step of the start fails as well.
fn second(world: &mut World, stopped: &Stopped, mode: CrashMode, count: &Count) {
    let real = world.nodes[NODE].disk.clone();
    for &(fault, sticky) in FAULTS {
        for step in 1.. {
            let node = &mut world.nodes[NODE];
            node.disk = real.crash(CrashMode::Kill, &mut node.rng);
            let (found, fired) = start(node, Plan { step, fault, sticky }, mode);
            match found {
                Ok(state) => world.witness.recovered(NODE, &state, &stopped.reported, &stopped.doubtful),
                Err(error) => assert!(matches!(error, OpenError::Io { .. }) && fired, "{error}"),
            }
            let disk = world.nodes[NODE].disk.clone();
            let found = world.nodes[NODE].peek(disk);
            let found = found.unwrap_or_else(|error| panic!("after {fault:?} at step {step} of a start: {error}"));
            world.witness.recovered(NODE, &found, &stopped.reported, &stopped.doubtful);
            count.pairs.fetch_add(1, Ordering::Relaxed);
            if !fired {
                break;
            }
        }
    }
    world.nodes[NODE].disk = real;
}

/// All stories with all faults, at one step in `firsts`; a second one follows to one in `seconds` of them.
pub(crate) fn all(firsts: usize, seconds: u64) {
    let cases: Vec<_> = STORIES.iter().flat_map(|story| FAULTS.iter().map(move |fault| (story, *fault))).collect();
    let (next, count) = (AtomicUsize::new(0), Count::default());
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((story, (fault, sticky))) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    run(story, (*fault, *sticky), firsts, seconds, &count);
                }
            });
        }
    });
    println!(
        "{} runs with one fault, {} with a second one at the start that followed",
        count.single.load(Ordering::Relaxed),
        count.pairs.load(Ordering::Relaxed)
    );
}

fn run(story: &Story, (fault, sticky): (Fault, bool), firsts: usize, seconds: u64, count: &Count) {
    for step in (1..).step_by(firsts) {
        let mut fired = false;
        for (place, mode) in MODES.iter().enumerate() {
            let doing = Doing { story: story.name, fault, sticky, step, mode: *mode };
            let pairs = (step + place as u64).is_multiple_of(seconds);
            fired |= single(story, Plan { step, fault, sticky }, *mode, pairs, count);
            std::mem::forget(doing);
        }
        if !fired {
            assert!(step > 1, "{}: nothing touches the disk", story.name);
            return;
        }
    }
}

/// Says what was going on when a run fails.
struct Doing {
    story: &'static str,
    fault: Fault,
    sticky: bool,
    step: u64,
    mode: CrashMode,
}

impl Drop for Doing {
    fn drop(&mut self) {
        let Self { story, fault, sticky, step, mode } = self;
        println!("FAILED: {story}, {fault:?} at step {step} (sticky: {sticky}), then {mode:?}");
    }
}
