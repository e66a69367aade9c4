//! Repairs on a disk in memory: lost parts are named, the others are kept, and the next start works.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::io;
use std::sync::Arc;

use super::super::hosts::identity::genesis;
use super::super::runtime::folded::Reader;
use super::identity::Recovery;
use super::*;
use crate::base::rng::SeededRng;
use crate::base::{BodyId, ContentId, FolderId, SymmetricKey};
use crate::engine::io::{Durability, NewBody};
use crate::engine::state::mailbox::{FolderRole, NamedFlags, NewMessage};
use crate::engine::{MailboxRecord, Record, State};
use crate::mail::LocalPart;
use crate::store::vfs::{MemVfs, Vfs, VfsFile};
use crate::store::{Log, OpenError, OsRng, Sizes, SteppedLog};

const ROOT: &str = "/node";

/// A disk of which one block cannot be read.
struct BadBlock {
    disk: MemVfs,
    path: PathBuf,
    block: std::ops::Range<u64>,
}

struct BadFile(Arc<dyn VfsFile>, std::ops::Range<u64>);

impl VfsFile for BadFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        match offset < self.1.end && offset + buffer.len() as u64 > self.1.start {
            true => Err(io::Error::other("the disk failed")),
            false => self.0.read_at(offset, buffer),
        }
    }

    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }
}

impl Vfs for BadBlock {
    fn mkdir(&self, dir: &Path) -> io::Result<()> {
        self.disk.mkdir(dir)
    }

    fn create_excl(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        self.disk.create_excl(path)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        let file = self.disk.open(path)?;
        Ok(if path == self.path { Arc::new(BadFile(file, self.block.clone())) } else { file })
    }

    fn rename_noreplace(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename_noreplace(from, to)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.disk.unlink(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }

    fn dirs(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.disk.dirs(dir)
    }

    fn free_space(&self, dir: &Path) -> io::Result<u64> {
        self.disk.free_space(dir)
    }
}

/// An identity on a disk in memory, with its log open.
struct Case {
    disk: MemVfs,
    id: IdentityId,
    log: SteppedLog,
    state: State,
    rng: SeededRng,
}

fn key() -> SymmetricKey {
    SymmetricKey::from_bytes([5; 32])
}

fn start(disk: &MemVfs, id: IdentityId) -> Result<(SteppedLog, State), OpenError> {
    let mut state = State::default();
    let mut replay = |number, bytes: &[u8]| drop(state.apply(number, &Record::decode(bytes).unwrap().unwrap()));
    let (vfs, dir) = (Arc::new(disk.clone()) as Arc<dyn Vfs>, Path::new(ROOT).join(id.to_string()));
    let log = SteppedLog::open(vfs, &dir, &key(), Box::new(OsRng), Sizes::default(), None, &mut replay)?;
    Ok((log, state))
}

impl Case {
    fn new() -> Self {
        let (disk, mut rng) = (MemVfs::new(), SeededRng::new(1));
        let id = IdentityId::random(&mut rng);
        disk.mkdir(Path::new(ROOT)).unwrap();
        Log::create(&disk, &Path::new(ROOT).join(id.to_string())).unwrap();
        let (log, state) = start(&disk, id).unwrap();
        let mut case = Self { disk, id, log, state, rng };
        case.commit(genesis(&LocalPart::new("alice").unwrap()).unwrap().0, Vec::new());
        case
    }

    fn commit(&mut self, records: Vec<Record>, bodies: Vec<NewBody>) {
        let encoded = records.iter().map(|record| record.encode().unwrap()).collect();
        let first = self.log.commit(vec![(encoded, bodies, Durability::Synced)])[0].unwrap();
        for (number, record) in (first..).zip(&records) {
            drop(self.state.apply(number, record));
        }
    }

    /// Puts a message of so many bytes into a folder.
    fn add(&mut self, folder: FolderId, len: usize) -> BodyId {
        let uid = self.state.mailbox().folder(folder).unwrap().uid_next;
        let body = NewBody::new(BodyId::random(&mut self.rng), vec![b'x'; len].into());
        let (id, size, content) = (body.id, u32::try_from(len).unwrap(), None::<ContentId>);
        let flags = NamedFlags::default();
        let message = NewMessage { uid, flags, date: Timestamp::from_secs(1), body: id, size, content };
        self.commit(vec![Record::Mailbox(MailboxRecord::MessageAdded { folder, message })], vec![body]);
        id
    }

    fn inbox(&self) -> FolderId {
        self.state.mailbox().by_role(FolderRole::Inbox).unwrap().id
    }

    /// Everything after this lies in a segment of its own; returns the segment before it.
    fn next_segment(&mut self) -> PathBuf {
        let newest = self.segments().pop().unwrap();
        let (log, state) = start(&self.disk, self.id).unwrap();
        std::mem::replace(&mut self.log, log).close();
        self.state = state;
        newest
    }

    fn segments(&self) -> Vec<PathBuf> {
        let files = self.disk.files().into_iter().map(|(path, _)| path);
        files.filter(|path| path.extension().is_some_and(|extension| extension == "seg")).collect()
    }

    fn checkpoint(&mut self) {
        let mark = self.log.mark(self.state.last_record()).unwrap();
        let state = self.state.checkpoint().iter().map(|record| record.encode().unwrap()).collect();
        self.log.compact(mark, state, &mut self.rng).unwrap();
    }

    /// Examines and mends the log; returns the finding, and the state of the next start.
    fn repair(self, vfs: Arc<dyn Vfs>) -> (Finding, State, SteppedLog) {
        let Self { disk, id, log, .. } = self;
        drop(log);
        let before = disk.files();
        let examined = identity::examine(&vfs, Path::new(ROOT), id, &key(), &mut |_, _| ()).unwrap();
        assert_eq!(disk.files(), before, "looking changes nothing");
        assert!(examined.read.disk_fails || !examined.read.is_whole());
        let finding = examined.finding();
        identity::mend(&vfs, Path::new(ROOT), examined).unwrap();
        let (log, state) = start(&disk, id).unwrap();
        for body in state.bodies() {
            log.read_body(body, 0..u64::MAX).unwrap();
        }
        (finding, state, log)
    }
}

#[test]
fn a_folder_whose_record_is_lost_is_made_again_for_what_lies_in_it() {
    let mut case = Case::new();
    case.next_segment();
    let (id, name) = (FolderId::random(&mut case.rng), "Work".to_owned());
    let uid_validity = case.state.last_uid_validity() + 1;
    case.commit(vec![Record::Mailbox(MailboxRecord::FolderCreated { id, name, role: None, uid_validity })], Vec::new());
    let lost = case.next_segment();
    let body = case.add(id, 3_000_000);
    case.disk.unlink(&lost).unwrap();
    let disk = Arc::new(case.disk.clone());
    let (finding, state, _log) = case.repair(disk);
    assert_eq!(finding.recovered, ["Recovered"]);
    assert!(finding.unreadable.is_empty(), "{finding:?}");
    let folder = state.mailbox().by_name("Recovered").unwrap();
    assert_eq!(folder.messages.iter().map(|message| message.body).collect::<Vec<_>>(), [body]);
    assert_eq!(state.mailbox().by_role(FolderRole::Inbox).unwrap().messages.len(), 1, "told in INBOX");
}

#[test]
fn a_folder_that_is_made_again_has_the_next_number_and_one_that_was_deleted_is_not_made() {
    let mut case = Case::new();
    let (mut reader, mut recovery) = (Reader::<State>::default(), Recovery::default());
    let mut number = 0;
    let mut read = |reader: &mut Reader<State>, record: &Record| {
        number += 1;
        let bytes = record.encode().unwrap();
        reader.record_after(number, &bytes, |state, number, record| recovery.before(state, number, record));
    };
    for record in genesis(&LocalPart::new("alice").unwrap()).unwrap().0 {
        read(&mut reader, &record);
    }
    let last = reader.state.last_uid_validity();
    let [lost, deleted, later] = [(); 3].map(|()| FolderId::random(&mut case.rng));
    let message = |uid| {
        let (flags, date, body) = (NamedFlags::default(), Timestamp::from_secs(1), BodyId::from_bytes([uid as u8; 16]));
        NewMessage { uid, flags, date, body, size: 1, content: None }
    };
    read(&mut reader, &Record::Mailbox(MailboxRecord::FolderDeleted { id: deleted }));
    for (folder, uid) in [(lost, 7), (deleted, 8), (lost, 9)] {
        read(&mut reader, &Record::Mailbox(MailboxRecord::MessageAdded { folder, message: message(uid) }));
    }
    let name = "Later".to_owned();
    read(
        &mut reader,
        &Record::Mailbox(MailboxRecord::FolderCreated { id: later, name, role: None, uid_validity: last + 2 }),
    );
    let mailbox = reader.state.mailbox();
    assert_eq!(recovery.made, ["Recovered"]);
    let recovered = mailbox.by_name("Recovered").unwrap();
    assert_eq!((recovered.id, recovered.uid_validity, recovered.messages.len()), (lost, last + 1, 2));
    assert_eq!(mailbox.folder(later).unwrap().uid_validity, last + 2, "as it had");
    assert!(mailbox.folder(deleted).is_none());
}

#[test]
fn what_nothing_needs_in_a_missing_segment_does_not_stop_the_next_start() {
    let mut case = Case::new();
    case.next_segment();
    let inbox = case.inbox();
    case.add(inbox, 2_000);
    let lost = case.next_segment();
    case.checkpoint();
    // The message is expunged, and the process ends before its body is given up.
    let uids = vec![case.state.mailbox().folder(inbox).unwrap().messages.iter().next().unwrap().uid];
    case.commit(vec![Record::Mailbox(MailboxRecord::Expunged { folder: inbox, uids })], Vec::new());
    case.disk.unlink(&lost).unwrap();
    assert!(matches!(start(&case.disk, case.id), Err(OpenError::Missing { .. })));
    let disk = Arc::new(case.disk.clone());
    let (finding, _, _log) = case.repair(disk);
    assert_eq!((finding.damage.len(), finding.unreadable.len()), (1, 0));
}

#[test]
fn a_block_that_the_disk_does_not_give_costs_what_lies_in_it() {
    let mut case = Case::new();
    let inbox = case.inbox();
    let bodies: Vec<_> = (0..8).map(|_| case.add(inbox, 20_000)).collect();
    let path = case.segments().pop().unwrap();
    // A place in the middle of the third message.
    let end = case.disk.files().into_iter().find(|(file, _)| *file == path).unwrap().1.len();
    let from = (end - 5 * 21_000) as u64 / 4096 * 4096;
    let vfs = Arc::new(BadBlock { disk: case.disk.clone(), path, block: from..from + 4096 });
    let (finding, state, _log) = case.repair(vfs);
    assert!(finding.disk_fails && finding.lines().iter().any(|line| line.contains("ddrescue")), "{finding:?}");
    let left = state.bodies();
    let kept = bodies.iter().filter(|body| left.contains(body)).count();
    assert!((6..8).contains(&kept), "{kept} of 8");
}

#[test]
fn a_checkpoint_that_is_damaged_and_not_needed_is_named_and_made_anew() {
    let mut case = Case::new();
    let inbox = case.inbox();
    let body = case.add(inbox, 2_000);
    case.next_segment();
    case.checkpoint();
    let checkpoint = |disk: &MemVfs| {
        let files = disk.files().into_iter().map(|(path, _)| path);
        let of_log = files.filter(|path| path.extension().is_some_and(|extension| extension == "ckp"));
        of_log.filter(|path| !path.starts_with("/node/corrupt")).max().unwrap()
    };
    let (id, disk, damaged) = (case.id, case.disk.clone(), checkpoint(&case.disk));
    disk.tamper(&damaged, |bytes| *bytes.last_mut().unwrap() ^= 1).unwrap();
    let (finding, state, _log) = case.repair(Arc::new(disk.clone()));
    assert!(finding.damage[0].contains(damaged.file_name().unwrap().to_str().unwrap()), "{finding:?}");
    assert!(finding.unreadable.is_empty() && state.bodies().contains(&body));
    assert!(checkpoint(&disk) > damaged, "a newer one stands for it");
    let vfs: Arc<dyn Vfs> = Arc::new(disk);
    let examined = identity::examine(&vfs, Path::new(ROOT), id, &key(), &mut |_, _| ()).unwrap();
    assert!(examined.read.is_whole());
}

#[test]
fn a_key_that_was_changed_exchanged_or_lost_is_damage_and_one_that_cannot_be_had_otherwise_is_not() {
    let file = || PathBuf::from("keys/node");
    let damaged = [
        UnlockError::Damaged { file: file() },
        UnlockError::Foreign { file: file() },
        UnlockError::Unfit { node: file(), key_file: file() },
        UnlockError::Missing { file: file() },
    ];
    let others = [UnlockError::Version { file: file() }, UnlockError::Io(io::ErrorKind::PermissionDenied.into())];
    for (errors, code) in [(&damaged[..], Code::Damaged), (&others, Code::Failed)] {
        for error in errors {
            let failure = without_key("the keys", error);
            assert_eq!(failure.code, code, "{error}");
            assert!(failure.hint.is_some(), "what to do about it: {error}");
        }
    }
}
