//! A small node in memory that is backed up, read and restored, with every step of each failing once.

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::base::ids::Fingerprint;
use crate::base::rng::SeededRng;
use crate::base::{BodyId, IdentityId, Onion, OnionSeed, SymmetricKey, Timestamp};
use crate::engine::io::{Durability, NewBody};
use crate::engine::state::mailbox::{FolderRole, NamedFlags, NewMessage};
use crate::engine::{MailboxRecord, Profile, PublicProfile, Record, SecretBytes, State};
use crate::mail::{Address, Binding, LocalPart};
use crate::store::vfs::{CrashMode, Fault, FaultVfs, MemVfs, Plan, Vfs};
use crate::store::{Keyring, Log, Passphrase, Sizes, SteppedLog};

const ROOT: &str = "/data";
const SIZES: Sizes = Sizes { segment: 4096, inline_body: 1000 };

fn id() -> IdentityId {
    IdentityId::from_bytes([7; 16])
}

fn passphrase() -> Passphrase {
    Passphrase::new("of the backup".to_owned())
}

fn now() -> Timestamp {
    Timestamp::from_secs(1_800_000_000)
}

fn rng() -> SeededRng {
    SeededRng::new(1)
}

fn profile() -> Profile {
    let key = [5; 32];
    let fingerprint = Fingerprint::from_bytes(key);
    Profile {
        public: Arc::new(PublicProfile {
            name: "alice".to_owned(),
            address: Address::new(LocalPart::new("alice").unwrap(), Onion::from_public_key(key)),
            fingerprint,
            certificate: vec![1].into(),
            binding: Binding { epoch: 1, onion_signature: vec![1], key_signature: vec![2] },
            created: now(),
        }),
        onion_seed: OnionSeed::from_bytes(key),
        secret_keys: SecretBytes::new(vec![3]),
        certificate_revocation: vec![4],
        onion_revocation: vec![5],
    }
}

fn open(vfs: &Arc<dyn Vfs>, root: &Path, key: &SymmetricKey) -> (SteppedLog, State) {
    let mut state = State::default();
    let mut replay = |number, bytes: &[u8]| {
        state.apply(number, &Record::decode(bytes).unwrap().unwrap());
    };
    let dir = root.join(id().to_string());
    let log = SteppedLog::open(Arc::clone(vfs), &dir, key, Box::new(rng()), SIZES, None, &mut replay).unwrap();
    (log, state)
}

/// Saves a message in INBOX.
fn save(log: &mut SteppedLog, state: &mut State, number: u8, size: usize) {
    let body = NewBody::new(BodyId::from_bytes([number; 16]), vec![number; size].into());
    let inbox = state.mailbox().by_role(FolderRole::Inbox).unwrap();
    let message = NewMessage {
        uid: inbox.uid_next,
        flags: NamedFlags::default(),
        date: now(),
        body: body.id,
        size: size as u32,
        content: None,
    };
    let record = Record::Mailbox(MailboxRecord::MessageAdded { folder: inbox.id, message });
    let done = log.commit(vec![(vec![record.encode().unwrap()], vec![body], Durability::Synced)]);
    state.apply(done[0].unwrap(), &record);
}

/// A node with messages in segments and in files of their own.
fn node() -> (MemVfs, SymmetricKey) {
    let disk = MemVfs::new();
    let vfs: Arc<dyn Vfs> = Arc::new(disk.clone());
    vfs.mkdir(Path::new(ROOT)).unwrap();
    vfs.mkdir(Path::new("/elsewhere")).unwrap();
    let keyring = Keyring::create(Arc::clone(&vfs), &Path::new(ROOT).join("keys"), None, Box::new(rng())).unwrap();
    let key = SymmetricKey::from_bytes([9; 32]);
    Log::create(&*vfs, &Path::new(ROOT).join(id().to_string())).unwrap();
    let (mut log, mut state) = open(&vfs, Path::new(ROOT), &key);
    let genesis = State::genesis(profile(), &mut rng());
    let records = genesis.iter().map(|record| record.encode().unwrap()).collect();
    let first = log.commit(vec![(records, Vec::new(), Durability::Synced)])[0].unwrap();
    (first..).zip(&genesis).for_each(|(number, record)| drop(state.apply(number, record)));
    for number in 1..=8 {
        save(&mut log, &mut state, number, 900 + usize::from(number % 3) * 400);
    }
    log.close();
    keyring.add_identity(id(), &key).unwrap();
    vfs.create_excl(Path::new("/data/config.toml")).unwrap().write_at(0, b"transport = \"tor\"\n").unwrap();
    vfs.create_excl(Path::new("/data/lock")).unwrap();
    (disk, key)
}

fn back_up(vfs: &dyn Vfs) -> Result<Made, Failure> {
    let files = contents(vfs, Path::new(ROOT), true).map_err(|error| failed("listing", error))?;
    let order = Order { root: Path::new(ROOT), files, to: Path::new("/elsewhere/a"), passphrase: &passphrase() };
    create(vfs, order, now(), &mut rng(), &mut |_, _| Ok(()))
}

fn read(vfs: &dyn Vfs) -> Result<Checked, Failure> {
    let backup = super::open(vfs, Path::new("/elsewhere/a"), &passphrase())?;
    verify(&backup, &mut |_| panic!("the node has no passphrase"), &mut |_, _| Ok(()))
}

fn put_back(vfs: &dyn Vfs) -> Result<(), Failure> {
    vfs.mkdir(Path::new("/new")).unwrap();
    let backup = super::open(vfs, Path::new("/elsewhere/a"), &passphrase())?;
    restore(&backup, vfs, Path::new("/new"), &mut |_, _| Ok(()))
}

/// Asserts that everything in the copy is as in the original.
fn compare(disk: &MemVfs, key: &SymmetricKey) {
    let vfs: Arc<dyn Vfs> = Arc::new(disk.clone());
    let ((log, state), (copied, copy)) = (open(&vfs, Path::new(ROOT), key), open(&vfs, Path::new("/new"), key));
    assert!(state == copy);
    assert_eq!(state.bodies().len(), 8);
    for body in state.bodies() {
        assert_eq!(copied.read_body(body, 0..9999).unwrap(), log.read_body(body, 0..9999).unwrap());
    }
    let keyring = Keyring::unlock(Arc::clone(&vfs), Path::new("/new/keys"), None, Box::new(rng())).unwrap();
    assert!(keyring.identity_key(id()).unwrap() == *key);
    assert_eq!(restored_from(&*vfs, &mark(Path::new("/new"), id())).unwrap(), Some(now()));
    assert!(vfs.open(&Path::new("/new").join(NODE_MARK)).is_ok());
    assert!(!was_interrupted(&*vfs, Path::new("/new")));
}

#[test]
fn a_backup_is_read_and_put_back_whole() {
    let (disk, key) = node();
    let made = back_up(&disk).unwrap();
    let checked = read(&disk).unwrap();
    assert_eq!((checked.id, checked.made), (made.id, now()));
    let identity = &checked.identities[0];
    assert_eq!((identity.messages, identity.waiting, identity.contacts), (8, 0, 0));
    assert!(identity.address.starts_with("alice@"));
    put_back(&disk).unwrap();
    compare(&disk, &key);
    assert!(put_back(&disk).unwrap_err().message.contains("there is something"), "never over another node");
    assert!(back_up(&disk).unwrap_err().message.contains("exists already"), "never over another backup");
}

#[test]
fn what_is_damaged_or_locked_is_named() {
    let (disk, _) = node();
    back_up(&disk).unwrap();
    let wrong = super::open(&disk, Path::new("/elsewhere/a"), &Passphrase::new("wrong".to_owned()));
    assert_eq!(wrong.map(|_| ()).unwrap_err().code, Code::NeedsUnlock);
    let bytes = disk.files().into_iter().find(|(path, _)| path.ends_with("a")).unwrap().1.len();
    for at in (100..bytes).step_by(997) {
        let copy = disk.crash(CrashMode::Kill, &mut rng());
        copy.tamper(Path::new("/elsewhere/a"), |bytes| bytes[at] ^= 1).unwrap();
        assert!(read(&copy).is_err(), "byte {at}");
        copy.tamper(Path::new("/elsewhere/a"), |bytes| bytes.truncate(at)).unwrap();
        assert!(read(&copy).is_err());
        assert!(put_back(&copy).is_err());
        assert!(copy.open(Path::new("/new/keys/node")).is_err(), "no node was made of it");
    }
}

#[test]
fn a_message_that_cannot_be_read_is_named_though_the_backup_is_whole() {
    let (disk, _) = node();
    let dir = format!("/data/{}", id());
    let files = disk.files().into_iter().filter(|(path, _)| path.starts_with(&dir));
    let (mut in_blobs, mut in_segments) = (0, 0);
    for (path, bytes) in files.filter(|(_, bytes)| bytes.len() > 700) {
        let copy = disk.crash(CrashMode::Kill, &mut rng());
        copy.tamper(&path, |bytes| bytes[600] ^= 1).unwrap();
        // Damaged bytes are copied as they are.
        back_up(&copy).unwrap();
        let failure = read(&copy).map(|_| ()).unwrap_err();
        if path.starts_with(format!("{dir}/blob")) {
            assert!(failure.message.contains("a message in the backup cannot be read"), "{failure}");
            in_blobs += 1;
        } else {
            in_segments += usize::from(bytes.len() > 1000);
        }
    }
    assert!(in_blobs > 1 && in_segments > 0, "{in_blobs}, {in_segments}");
}

#[test]
fn nothing_is_put_back_beside_what_is_there_already() {
    let (disk, _) = node();
    back_up(&disk).unwrap();
    let files = ["config.toml", "notes.txt", "restored", "backup", "keys/node", "keys/somebody.key"];
    for file in files.map(str::to_owned).into_iter().chain([format!("{}/log/0000000000000001.seg", id())]) {
        let copy = disk.crash(CrashMode::Kill, &mut rng());
        let path = Path::new("/new").join(&file);
        let parents = path.ancestors().skip(1).collect::<Vec<_>>();
        parents.into_iter().rev().skip(1).for_each(|dir| copy.mkdir(dir).unwrap());
        copy.create_excl(&path).unwrap().write_at(0, b"mine").unwrap();
        let before = copy.files();
        let refused = put_back(&copy).map(|_| ());
        assert!(refused.is_err_and(|failure| failure.message.contains("there is something")), "beside {file}");
        assert!(copy.files() == before, "{file} stays as it was, and nothing comes beside it");
    }
}

#[test]
fn any_step_of_making_one_may_fail_and_leaves_a_whole_one_or_none() {
    let (disk, key) = node();
    sync_all(&disk);
    for fault in [Fault::Kill, Fault::KillAfter, Fault::Eio, Fault::Enospc, Fault::ShortWrite] {
        for step in 1.. {
            let copy = disk.crash(CrashMode::Kill, &mut rng());
            let faulty = FaultVfs::new(Arc::new(copy.clone()), Some(Plan { step, fault, sticky: false }));
            let made = back_up(&faulty);
            let after = copy.crash(CrashMode::Torn, &mut SeededRng::new(step));
            let there = after.open(Path::new("/elsewhere/a")).is_ok();
            assert!(there || made.is_err(), "{fault:?} at step {step}: made, and gone");
            if there {
                read(&after).unwrap_or_else(|failure| panic!("{fault:?} at step {step}: {failure}"));
            } else {
                back_up(&after).unwrap();
                read(&after).unwrap();
            }
            if !faulty.fired() {
                put_back(&copy).unwrap();
                compare(&copy, &key);
                break;
            }
        }
    }
}

#[test]
fn any_step_of_putting_one_back_may_fail_and_the_next_attempt_completes_it() {
    let (disk, key) = node();
    back_up(&disk).unwrap();
    for fault in [Fault::Kill, Fault::KillAfter, Fault::Eio, Fault::Enospc, Fault::ShortWrite] {
        for step in 1.. {
            let mut fired = false;
            for mode in [CrashMode::Kill, CrashMode::PowerCut, CrashMode::Torn] {
                let copy = disk.crash(CrashMode::Kill, &mut rng());
                copy.mkdir(Path::new("/new")).unwrap();
                sync_all(&copy);
                let faulty = FaultVfs::new(Arc::new(copy.clone()), Some(Plan { step, fault, sticky: false }));
                let result = put_back_into(&faulty);
                let after = copy.crash(mode, &mut SeededRng::new(step));
                let complete = after.open(&Path::new("/new").join(NODE_MARK)).is_ok()
                    && !was_interrupted(&after, Path::new("/new"));
                assert!(result.is_err() || complete, "{fault:?} at step {step}, {mode:?}: said to be done, and is not");
                if !complete {
                    let usable = after.open(Path::new("/new/keys/node")).is_ok();
                    assert!(!usable || was_interrupted(&after, Path::new("/new")), "a half of a node would start");
                    put_back_into(&after).unwrap_or_else(|failure| panic!("{fault:?} at {step}, {mode:?}: {failure}"));
                }
                compare(&after, &key);
                fired |= faulty.fired();
            }
            if !fired {
                break;
            }
        }
    }
}

#[test]
fn progress_goes_from_piece_to_piece_up_to_the_end_and_whoever_is_told_may_end_the_work() {
    const MIB: u64 = 1 << 20;
    let disk = MemVfs::new();
    for dir in [ROOT, "/data/keys", "/elsewhere", "/new", "/other"] {
        disk.mkdir(Path::new(dir)).unwrap();
    }
    let config: Vec<u8> = (0..2 * MIB + 1).map(|at| (at % 251) as u8).collect();
    disk.create_excl(Path::new("/data/config.toml")).unwrap().write_at(0, &config).unwrap();
    disk.create_excl(Path::new("/data/keys/node")).unwrap().write_at(0, b"key").unwrap();
    let made = |to: &Path, progress: Progress<'_>| {
        let files = contents(&disk, Path::new(ROOT), true).unwrap();
        let order = Order { root: Path::new(ROOT), files, to, passphrase: &passphrase() };
        create(&disk, order, now(), &mut rng(), progress)
    };
    let total = 2 * MIB + 1 + 3;
    let steps = [MIB, 2 * MIB, 2 * MIB + 1, total].map(|done| (done, total));
    let mut told = Vec::new();
    let mut note = |done, of| {
        told.push((done, of));
        Ok(())
    };
    let size = made(Path::new("/elsewhere/a"), &mut note).unwrap().bytes;
    assert_eq!(size, disk.open(Path::new("/elsewhere/a")).unwrap().size().unwrap());
    let backup = super::open(&disk, Path::new("/elsewhere/a"), &passphrase()).unwrap();
    restore(&backup, &disk, Path::new("/new"), &mut note).unwrap();
    assert_eq!(told, [steps, steps].concat());
    let copy = disk.files().into_iter().find(|(path, _)| path == Path::new("/new/config.toml")).unwrap().1;
    assert!(copy == config);

    let mut no = |_, _| Err(Failure::new(Code::Failed, "no more"));
    assert_eq!(made(Path::new("/elsewhere/b"), &mut no).unwrap_err().message, "no more");
    assert_eq!(disk.list(Path::new("/elsewhere")).unwrap(), ["a"], "nothing is left of it");
    assert_eq!(restore(&backup, &disk, Path::new("/other"), &mut no).unwrap_err().message, "no more");
    assert!(was_interrupted(&disk, Path::new("/other")));
}

#[test]
fn every_byte_is_read_to_verify_a_backup_and_whoever_is_told_may_end_it() {
    let (disk, _) = node();
    back_up(&disk).unwrap();
    let backup = super::open(&disk, Path::new("/elsewhere/a"), &passphrase()).unwrap();
    let mut told = Vec::new();
    let mut note = |done, of| {
        told.push((done, of));
        Ok(())
    };
    let checked = verify(&backup, &mut |_| panic!("the node has no passphrase"), &mut note).unwrap();
    let listed = contents(&disk, Path::new(ROOT), true).unwrap().iter().map(|entry| entry.bytes).sum();
    assert_eq!(checked.bytes, listed);
    assert!(told.is_sorted() && told.iter().all(|(_, of)| *of == listed));
    assert_eq!(told.last(), Some(&(listed, listed)));
    let mut no = |_, _| Err(Failure::new(Code::Failed, "no more"));
    assert_eq!(verify(&backup, &mut |_| panic!(), &mut no).unwrap_err().message, "no more");
}

#[test]
fn a_record_of_a_later_version_is_named_unless_it_may_be_ignored() {
    for (critical, expected) in [(0, None), (1, Some("a record in the backup is of a later version"))] {
        let (disk, key) = node();
        let vfs: Arc<dyn Vfs> = Arc::new(disk.clone());
        let (mut log, _) = open(&vfs, Path::new(ROOT), &key);
        log.commit(vec![(vec![vec![0xff, 0xff, 1, critical]], Vec::new(), Durability::Synced)]).remove(0).unwrap();
        log.close();
        back_up(&disk).unwrap();
        let failure = read(&disk).err().map(|failure| failure.message);
        assert_eq!(failure.is_some(), expected.is_some(), "{failure:?}");
        assert!(failure.unwrap_or_default().contains(expected.unwrap_or_default()));
    }
}

#[test]
fn the_mark_of_a_restore_is_read_or_the_disk_says_why_not() {
    let disk = MemVfs::new();
    let path = Path::new("/mark");
    assert_eq!(restored_from(&disk, path).unwrap(), None);
    disk.create_excl(path).unwrap().write_at(0, b"1800000000123\n").unwrap();
    assert_eq!(restored_from(&disk, path).unwrap(), Some(Timestamp::from_millis(1_800_000_000_123)));
    for step in 1.. {
        let plan = Plan { step, fault: Fault::Eio, sticky: false };
        let faulty = FaultVfs::new(Arc::new(disk.clone()), Some(plan));
        let read = restored_from(&faulty, path);
        if !faulty.fired() {
            break;
        }
        assert_eq!(read.unwrap_err().raw_os_error(), Some(rustix::io::Errno::IO.raw_os_error()), "step {step}");
    }
}

fn put_back_into(vfs: &dyn Vfs) -> Result<(), Failure> {
    let backup = super::open(vfs, Path::new("/elsewhere/a"), &passphrase())?;
    restore(&backup, vfs, Path::new("/new"), &mut |_, _| Ok(()))
}

/// Makes everything on the disk durable, so that a crash affects only later writes.
fn sync_all(disk: &MemVfs) {
    disk.sync_dir(Path::new("/")).unwrap();
    for (path, _) in disk.files() {
        disk.open(&path).unwrap().sync().unwrap();
        path.ancestors().skip(1).for_each(|dir| disk.sync_dir(dir).unwrap());
    }
}

#[test]
fn parts_are_missed_where_one_is_gone_and_no_restore_was_interrupted() {
    let (disk, _) = node();
    let lacks = |disk: &MemVfs| lacks_parts(disk, Path::new(ROOT));
    assert!(!lacks(&MemVfs::new()) && !lacks(&disk), "nothing is gone");
    disk.unlink(&Path::new(ROOT).join("keys").join(id().to_string())).unwrap();
    assert!(lacks(&disk), "the key of an identity is gone");
    disk.create_excl(&Path::new(ROOT).join("restoring")).unwrap();
    assert!(!lacks(&disk), "the same command has to be run again, and then nothing is gone");
    let (whole, _) = node();
    whole.create_excl(&Path::new(ROOT).join("restoring")).unwrap();
    assert!(!lacks(&whole));
}
