//! What opens the keys of a node, and what does not open them.

use super::*;
use crate::base::limits::{PASSPHRASE_MEMORY_KIB, PASSPHRASE_PASSES};
use crate::base::rng::SeededRng;
use crate::store::vfs::{CrashMode, Fault, FaultVfs, MemVfs, Plan};
use std::sync::atomic::{AtomicBool, Ordering};

fn rng(seed: u64) -> Box<dyn Rng> {
    Box::new(SeededRng::new(seed))
}

fn dir() -> &'static Path {
    Path::new("/keys")
}

fn unlock(vfs: &MemVfs, passphrase: Option<&Passphrase>) -> Result<Keyring, UnlockError> {
    Keyring::unlock(Arc::new(vfs.clone()), dir(), passphrase, rng(9))
}

fn id(byte: u8) -> IdentityId {
    IdentityId::from_bytes([byte; 16])
}

#[test]
fn a_passphrase_opens_the_node_and_no_other_does() {
    let vfs = MemVfs::new();
    assert!(matches!(unlock(&vfs, None), Err(UnlockError::NotInitialised)));
    let right = Passphrase::new("correct horse\n".to_owned());
    let ring = Keyring::create(Arc::new(vfs.clone()), dir(), Some(&right), rng(1)).unwrap();
    let key = key(1);
    ring.add_identity(id(1), &key).unwrap();
    assert!(ring.has_passphrase());
    assert!(Keyring::is_passphrase_protected(&vfs, dir()).unwrap());
    assert!(matches!(unlock(&vfs, None), Err(UnlockError::NeedsPassphrase)));
    assert!(matches!(
        unlock(&vfs, Some(&Passphrase::new("correct hors".to_owned()))),
        Err(UnlockError::WrongPassphrase)
    ));
    let ring = unlock(&vfs, Some(&Passphrase::new("correct horse".to_owned()))).unwrap();
    assert!(ring.identity_key(id(1)).unwrap() == key);
    assert!(matches!(ring.identity_key(id(2)), Err(UnlockError::NoSuchIdentity)));
    assert_eq!(vfs.list(dir()).unwrap().len(), 2, "no key file");
    vfs.tamper(&dir().join(NODE), |bytes| bytes[40] ^= 1).unwrap();
    assert!(matches!(unlock(&vfs, Some(&right)), Err(UnlockError::Damaged { .. })), "damage is not a wrong passphrase");
}

fn key(n: u8) -> SymmetricKey {
    SymmetricKey::from_bytes([n; 32])
}

#[test]
fn every_changed_byte_of_a_key_file_is_damage() {
    let vfs = MemVfs::new();
    let ring = Keyring::create(Arc::new(vfs.clone()), dir(), None, rng(1)).unwrap();
    ring.add_identity(id(1), &key(1)).unwrap();
    ring.add_identity(id(2), &key(2)).unwrap();
    assert!(matches!(ring.add_identity(id(2), &key(3)), Err(UnlockError::Exists { .. })));
    assert_eq!(unlock(&vfs, None).unwrap().identities().unwrap(), [id(1), id(2)]);
    assert!(!Keyring::is_passphrase_protected(&vfs, dir()).unwrap());
    for (path, bytes) in vfs.files() {
        for place in 0..bytes.len() {
            vfs.tamper(&path, |bytes| bytes[place] ^= 0x20).unwrap();
            let read =
                unlock(&vfs, None).and_then(|ring| ring.identity_key(id(1)).and_then(|_| ring.identity_key(id(2))));
            // A changed version is damage too: a later version would have changed the sum with it.
            assert!(matches!(read, Err(UnlockError::Damaged { .. })), "{} byte {place}", path.display());
            vfs.tamper(&path, |bytes| bytes[place] ^= 0x20).unwrap();
        }
    }
    // One identity's file under another's name is neither accepted nor called damaged.
    let (one, two) = (dir().join(id(1).to_string()), dir().join(id(2).to_string()));
    vfs.unlink(&two).unwrap();
    vfs.rename_noreplace(&one, &two).unwrap();
    assert!(matches!(unlock(&vfs, None).unwrap().identity_key(id(2)), Err(UnlockError::Foreign { .. })));
    vfs.unlink(&dir().join(KEY_FILE)).unwrap();
    assert!(matches!(unlock(&vfs, None), Err(UnlockError::Missing { .. })));
}

/// Sets up a node with two identities over a disk that fails; returns which steps were reported, in order.
fn set_up(vfs: &FaultVfs) -> Result<Keyring, UnlockError> {
    match Keyring::create(Arc::new(vfs.clone()), dir(), None, rng(4)) {
        Err(UnlockError::Exists { .. }) => Keyring::unlock(Arc::new(vfs.clone()), dir(), None, rng(5)),
        other => other,
    }
}

#[test]
fn an_identity_that_was_reported_exists_after_every_crash() {
    for fault in [Fault::Kill, Fault::KillAfter, Fault::Eio, Fault::Enospc, Fault::ShortWrite] {
        for mode in [CrashMode::Kill, CrashMode::PowerCut, CrashMode::Torn] {
            for step in 1.. {
                let disk = MemVfs::new();
                let faulty = FaultVfs::new(Arc::new(disk.clone()), Some(Plan { step, fault, sticky: false }));
                let mut reported = Vec::new();
                let ring = set_up(&faulty);
                let made = ring.is_ok();
                if let Ok(ring) = ring {
                    reported.extend(
                        [1, 2]
                            .into_iter()
                            .filter_map(|n| ring.add_identity(id(n), &key(n)).ok().map(|()| (id(n), key(n)))),
                    );
                }
                for seed in 0..4 {
                    let image = disk.crash(mode, &mut SeededRng::new(step * 10 + seed));
                    let ring = set_up(&FaultVfs::new(Arc::new(image.clone()), None)).unwrap();
                    assert!(reported.is_empty() || made);
                    for (id, key) in &reported {
                        assert!(ring.identity_key(*id).unwrap() == *key, "{fault:?} {mode:?} step {step}");
                    }
                    // An identity that was not reported is either there and good, or can be made.
                    for n in [1, 2] {
                        match ring.identity_key(id(n)) {
                            Err(UnlockError::NoSuchIdentity) => ring.add_identity(id(n), &key(n)).unwrap(),
                            other => drop(other.unwrap()),
                        }
                    }
                    let after = image.crash(CrashMode::PowerCut, &mut SeededRng::new(seed));
                    let again = unlock(&after, None).unwrap();
                    assert!(
                        [1, 2]
                            .iter()
                            .all(|n| again.identity_key(id(*n)).unwrap() == ring.identity_key(id(*n)).unwrap())
                    );
                    let left = image.list(dir()).unwrap();
                    assert!(left.iter().all(|name| !name.starts_with(TEMPORARY)), "{left:?}");
                }
                if !faulty.fired() {
                    assert!(step > 15);
                    break;
                }
            }
        }
    }
}

#[test]
fn a_key_file_of_a_later_version_is_not_called_damaged() {
    let vfs = MemVfs::new();
    let ring = Keyring::create(Arc::new(vfs.clone()), dir(), None, rng(1)).unwrap();
    ring.add_identity(id(1), &key(1)).unwrap();
    for (path, _) in vfs.files() {
        // A later version's file is recognised also where its sum is made in another way.
        let change = |bytes: &mut Vec<u8>, version| {
            bytes[8] = version;
            *bytes.last_mut().unwrap() ^= 1;
        };
        vfs.tamper(&path, |bytes| change(bytes, 2)).unwrap();
        let read = unlock(&vfs, None).and_then(|ring| ring.identity_key(id(1)));
        let error = read.unwrap_err();
        assert!(matches!(error, UnlockError::Version { .. }), "{}", path.display());
        assert!(error.to_string().contains("a later version"), "{error}");
        vfs.tamper(&path, |bytes| change(bytes, 1)).unwrap();
    }
    unlock(&vfs, None).and_then(|ring| ring.identity_key(id(1))).unwrap();
}

/// A disk that fails while the flag is set, with a node and an identity on it.
fn failing() -> (MemVfs, FaultVfs, Arc<AtomicBool>) {
    let disk = MemVfs::new();
    let ring = Keyring::create(Arc::new(disk.clone()), dir(), None, rng(1)).unwrap();
    ring.add_identity(id(1), &key(1)).unwrap();
    let fails = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&fails);
    let decide = move |_| told.load(Ordering::SeqCst).then_some(Fault::Eio);
    let faulty = FaultVfs::deciding(Arc::new(disk.clone()), Box::new(decide));
    (disk, faulty, fails)
}

fn is_io<T>(read: Result<T, UnlockError>) -> bool {
    matches!(read, Err(UnlockError::Io(error)) if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()))
}

#[test]
fn a_failing_disk_is_not_taken_for_a_key_that_is_not_there() {
    let (_, faulty, fails) = failing();
    let ring = Keyring::unlock(Arc::new(faulty.clone()), dir(), None, rng(2)).unwrap();
    ring.add_carrier(id(7), &key(7)).unwrap();
    fails.store(true, Ordering::SeqCst);
    assert!(is_io(ring.identity_key(id(1))) && is_io(ring.identities()) && is_io(ring.carrier()));
    assert!(is_io(Keyring::has_identity(&faulty, dir())) && is_io(Keyring::has_carrier(&faulty, dir())));
    assert!(is_io(Keyring::is_passphrase_protected(&faulty, dir())));
    assert!(is_io(Keyring::unlock(Arc::new(faulty.clone()), dir(), None, rng(2))));
    fails.store(false, Ordering::SeqCst);
    assert!(ring.identity_key(id(1)).unwrap() == key(1));
    assert!(ring.carrier().unwrap() == Some((id(7), key(7))));
    assert_eq!(ring.identities().unwrap(), [id(1)], "a carrier is none");
}

#[test]
fn a_node_has_what_it_has_a_key_of() {
    let vfs = MemVfs::new();
    let has = || (Keyring::has_identity(&vfs, dir()).unwrap(), Keyring::has_carrier(&vfs, dir()).unwrap());
    assert_eq!(has(), (false, false), "without a directory");
    let ring = Keyring::create(Arc::new(vfs.clone()), dir(), None, rng(1)).unwrap();
    assert!(ring.carrier().unwrap().is_none());
    assert_eq!(has(), (false, false));
    ring.add_carrier(id(7), &key(7)).unwrap();
    assert_eq!(has(), (false, true));
    ring.add_identity(id(1), &key(1)).unwrap();
    assert_eq!(has(), (true, true));
    vfs.unlink(&dir().join(format!("{CARRIER}{}", id(7)))).unwrap();
    assert_eq!(has(), (true, false));
}

#[test]
fn a_passphrase_is_stretched_as_it_is_written_there_up_to_four_times_what_we_write() {
    let (memory, passes, lanes) = (4 * PASSPHRASE_MEMORY_KIB, 4 * PASSPHRASE_PASSES, 16);
    let read = |memory: u32, passes: u32, lanes: u32| {
        let mut bytes = Vec::new();
        Stretching { memory, passes, lanes, salt: [5; 16] }.encode(&mut bytes);
        let read = Stretching::decode(&mut Fields(&bytes));
        read.map(|read| (read.memory, read.passes, read.lanes, read.salt))
    };
    assert_eq!(read(memory, passes, lanes), Some((memory, passes, lanes, [5; 16])));
    assert_eq!(read(memory + 1, 1, 1), None);
    assert_eq!(read(1, passes + 1, 1), None);
    assert_eq!(read(1, 1, lanes + 1), None);
}
