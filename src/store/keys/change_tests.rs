//! Another passphrase: what opens the node then, also after a failure or a crash at any step.

use std::path::Path;
use std::sync::Arc;

use super::{KEY_FILE, Keyring, NODE, Passphrase, Stretching, UnlockError, Wrap, wrapped};
use crate::base::rng::SeededRng;
use crate::base::{IdentityId, Rng, SymmetricKey};
use crate::store::vfs::{CrashMode, Fault, FaultVfs, MemVfs, Plan, TEMPORARY, Vfs, write_durably};

fn rng(seed: u64) -> Box<dyn Rng> {
    Box::new(SeededRng::new(seed))
}

fn dir() -> &'static Path {
    Path::new("/keys")
}

fn id() -> IdentityId {
    IdentityId::from_bytes([1; 16])
}

fn key() -> SymmetricKey {
    SymmetricKey::from_bytes([7; 32])
}

fn phrase(text: &str) -> Passphrase {
    Passphrase::new(text.to_owned())
}

/// Whether this opens the node and the key of its identity. A wrong passphrase is the only reason why not.
fn opens(vfs: &MemVfs, passphrase: Option<&Passphrase>) -> bool {
    match Keyring::unlock(Arc::new(vfs.clone()), dir(), passphrase, rng(3)) {
        Ok(ring) => {
            assert!(ring.identity_key(id()).unwrap() == key());
            assert_eq!(ring.has_passphrase(), Keyring::is_passphrase_protected(vfs, dir()).unwrap());
            // A passphrase that nobody needs opens nothing.
            passphrase.is_some() == ring.has_passphrase()
        }
        Err(UnlockError::WrongPassphrase | UnlockError::NeedsPassphrase) => false,
        Err(error) => panic!("{error}"),
    }
}

/// A disk with a node and an identity, all of it synced.
fn node(passphrase: Option<&Passphrase>) -> MemVfs {
    let vfs = MemVfs::new();
    let ring = Keyring::create(Arc::new(vfs.clone()), dir(), passphrase, rng(1)).unwrap();
    ring.add_identity(id(), &key()).unwrap();
    vfs
}

#[test]
fn what_opens_a_node_can_be_changed_and_nothing_else_opens_it_then() {
    let (first, second) = (phrase("the first"), phrase("the second"));
    let vfs = node(None);
    let steps = [None, Some(&first), Some(&second), None, Some(&first)];
    for step in steps.windows(2) {
        let (old, new) = (step[0], step[1]);
        assert!(opens(&vfs, old));
        let mut ring = Keyring::unlock(Arc::new(vfs.clone()), dir(), old, rng(4)).unwrap();
        ring.change_passphrase(new).unwrap();
        assert_eq!(ring.has_passphrase(), new.is_some());
        for other in [None, Some(&first), Some(&second)] {
            assert_eq!(opens(&vfs, other), other == new, "{:?}", other.is_some());
        }
        let names = vfs.list(dir()).unwrap();
        assert_eq!(names.iter().any(|name| name == KEY_FILE), new.is_none(), "{names:?}");
    }
    // The same passphrase again gets another salt.
    let bytes = |vfs: &MemVfs| vfs.files().into_iter().find(|(path, _)| path.ends_with(NODE)).unwrap().1;
    let before = bytes(&vfs);
    let mut ring = Keyring::unlock(Arc::new(vfs.clone()), dir(), Some(&first), rng(5)).unwrap();
    ring.change_passphrase(Some(&first)).unwrap();
    assert!(bytes(&vfs) != before && opens(&vfs, Some(&first)));
}

#[test]
fn a_crash_at_any_step_of_a_change_leaves_a_node_that_opens_with_the_old_or_the_new_passphrase() {
    let (first, second) = (phrase("the first"), phrase("the second"));
    let changes = [(Some(&first), Some(&second)), (None, Some(&second)), (Some(&first), None)];
    for (old, new) in changes {
        let before = node(old);
        for fault in [Fault::Kill, Fault::KillAfter, Fault::Eio, Fault::Enospc, Fault::ShortWrite] {
            for mode in [CrashMode::Kill, CrashMode::PowerCut, CrashMode::Torn] {
                for step in 1.. {
                    let disk = before.crash(CrashMode::Kill, &mut SeededRng::new(0));
                    let faulty = FaultVfs::new(Arc::new(disk.clone()), Some(Plan { step, fault, sticky: false }));
                    let ring = Keyring::unlock(Arc::new(faulty.clone()), dir(), old, rng(2));
                    let changed = ring.and_then(|mut ring| ring.change_passphrase(new));
                    for seed in 0..4 {
                        let image = disk.crash(mode, &mut SeededRng::new(step * 10 + seed));
                        let (by_old, by_new) = (opens(&image, old), opens(&image, new));
                        let told = format!("{fault:?} {mode:?} step {step}: {by_old} {by_new} {changed:?}");
                        assert!(by_old != by_new, "one of them, and not both: {told}");
                        assert!(changed.is_err() || by_new, "{told}");
                        // Whatever was left is gone with the start, which every later change begins with.
                        let left = image.list(dir()).unwrap();
                        assert!(left.iter().all(|name| !name.starts_with(TEMPORARY)), "{told} {left:?}");
                        let opened_by = if by_new { new } else { old };
                        assert_eq!(left.iter().any(|name| name == KEY_FILE), opened_by.is_none(), "{told} {left:?}");
                        let ring = Keyring::unlock(Arc::new(image.clone()), dir(), opened_by, rng(6));
                        ring.unwrap().change_passphrase(new).unwrap();
                        let after = image.crash(CrashMode::PowerCut, &mut SeededRng::new(seed));
                        assert!(opens(&after, new), "{told}");
                    }
                    if !faulty.fired() {
                        assert!(changed.is_ok() && step > 12, "{step} {changed:?}");
                        break;
                    }
                }
            }
        }
    }
}

#[test]
fn what_was_locked_with_a_text_that_is_not_in_normal_form_still_opens() {
    for given in ["cafe\u{301}", "\u{feff}caf\u{e9}"] {
        let vfs = node(Some(&phrase("caf\u{e9}")));
        assert!(opens(&vfs, Some(&phrase(given))), "{given:?} is the same passphrase");
        // As an earlier version did: the key is made of the text as it was given.
        let ring = Keyring::unlock(Arc::new(vfs.clone()), dir(), Some(&phrase(given)), rng(2)).unwrap();
        let stretching = Stretching::new(&mut *rng(8));
        let key = stretching.of_text(given).unwrap();
        let bytes = wrapped(Wrap::Passphrase(stretching), &key, &ring.node, &mut *rng(9));
        vfs.unlink(&dir().join(NODE)).unwrap();
        write_durably(&vfs, &dir().join(NODE), &bytes, &mut *rng(10)).unwrap();
        assert!(opens(&vfs, Some(&phrase(given))), "{given:?}");
        assert!(!opens(&vfs, Some(&phrase("caf\u{e9}"))) && !opens(&vfs, Some(&phrase("cafe"))));
        // From the next change on, every form opens it.
        let mut ring = Keyring::unlock(Arc::new(vfs.clone()), dir(), Some(&phrase(given)), rng(2)).unwrap();
        ring.change_passphrase(Some(&phrase(given))).unwrap();
        assert!(opens(&vfs, Some(&phrase("caf\u{e9}"))) && opens(&vfs, Some(&phrase(given))));
    }
}
