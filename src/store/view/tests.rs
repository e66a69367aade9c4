//! What the cache keeps, what it loses, and what it must never do.

use super::*;
use crate::base::Rng;
use crate::base::rng::SeededRng;
use std::os::unix::fs::PermissionsExt;

const CANARY: &[u8] = b"canary-of-the-view";

fn position(number: u64) -> LogPosition {
    postcard::from_bytes(&postcard::to_stdvec(&(1_u64, [7_u8; 16], number)).unwrap()).unwrap()
}

fn key(byte: u8) -> SymmetricKey {
    SymmetricKey::from_bytes([byte; 32])
}

fn identity(view: &View, byte: u8) -> IdentityView {
    view.identity(IdentityId::from_bytes([byte; 16]), &key(byte))
}

fn state(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    SeededRng::new(seed).fill(&mut bytes);
    bytes.extend_from_slice(CANARY);
    bytes
}

fn files(path: &Path) -> Vec<PathBuf> {
    fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect()
}

#[test]
fn states_and_rows_survive_a_restart_and_identities_are_apart() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("view");
    let row = BodyId::from_bytes([1; 16]);
    let mut bytes = state(1, 900_000);
    {
        let view = View::open(&path);
        let alice = identity(&view, 1);
        assert!(alice.load_state().is_none());
        alice.save_state(&position(5), &bytes);
        bytes.splice(1000..1000, *b"inserted");
        alice.save_state(&position(6), &bytes);
        alice.put_row(row, CANARY);
        alice.flush();
        assert_eq!(alice.load_state().unwrap(), (position(6), bytes.clone()));
        assert_eq!(alice.get_row(row).unwrap(), CANARY);
        assert_eq!(identity(&view, 2).get_row(row), None);
        assert!(identity(&view, 2).load_state().is_none());
        assert!(view.is_on());
    }
    {
        let view = View::open(&path);
        let alice = identity(&view, 1);
        assert_eq!(alice.load_state().unwrap(), (position(6), bytes.clone()));
        bytes.truncate(300_000);
        alice.save_state(&position(7), &bytes);
        alice.remove_rows(&[row]);
        alice.flush();
        assert_eq!(alice.load_state().unwrap(), (position(7), bytes));
        assert_eq!(alice.get_row(row), None);
        // The same tree under another key: no value opens.
        let other = view.identity(IdentityId::from_bytes([1; 16]), &key(9));
        assert!(other.load_state().is_none());
    }
    for file in files(&path) {
        let content = fs::read(&file).unwrap();
        assert!(!content.windows(CANARY.len()).any(|window| window == CANARY), "{}", file.display());
    }
}

#[test]
fn whatever_happened_to_its_files_the_view_opens_and_never_lies() {
    let root = tempfile::tempdir().unwrap();
    let bytes = state(2, 400_000);
    for damage in 0..14_u64 {
        let path = root.path().join(format!("view{damage}"));
        {
            let view = View::open(&path);
            let alice = identity(&view, 1);
            alice.save_state(&position(5), &bytes);
            (0..50).for_each(|n| alice.put_row(BodyId::from_bytes([n; 16]), &[n; 100]));
            alice.flush();
        }
        let mut rng = SeededRng::new(damage);
        for file in files(&path) {
            let mut content = fs::read(&file).unwrap();
            let rng: &mut dyn Rng = &mut rng;
            match damage {
                0 => content.clear(),
                1 => content.truncate(content.len() / 2),
                2 => content.fill(0xff),
                3 => content = vec![0; 64],
                _ => {
                    for _ in 0..1 << damage.min(12) {
                        let place = rng.below(content.len() as u64) as usize;
                        content[place] ^= rng.below(255) as u8 + 1;
                    }
                }
            }
            fs::write(&file, content).unwrap();
        }
        fs::write(path.join("snap.0000000000000001.generating"), b"half").unwrap();
        // After a panic inside sled, its lock stays with this process. A new process would not meet it, and neither
        // does a copy.
        let mut path = path;
        let restart = |path: &mut PathBuf, run: u8| {
            let copy = root.path().join(format!("copy{damage}-{run}"));
            fs::create_dir(&copy).unwrap();
            fs::set_permissions(&copy, fs::Permissions::from_mode(0o700)).unwrap();
            for file in files(path) {
                fs::copy(&file, copy.join(file.file_name().unwrap())).unwrap();
            }
            *path = copy;
        };
        for run in 0..2 {
            restart(&mut path, run);
            let view = View::open(&path);
            let alice = identity(&view, 1);
            if let Some((at, read)) = alice.load_state() {
                assert_eq!((at, read), (position(5), bytes.clone()), "damage {damage}");
            }
            for n in 0..50 {
                let row = alice.get_row(BodyId::from_bytes([n; 16]));
                assert!(row.is_none_or(|row| row == [n; 100]), "damage {damage}");
            }
            alice.put_row(BodyId::from_bytes([99; 16]), b"new");
            alice.flush();
        }
        restart(&mut path, 2);
        let view = View::open(&path);
        assert!(view.is_on(), "damage {damage}: the start after a failure has a view");
    }
}

#[test]
fn a_directory_that_cannot_be_used_turns_the_view_off() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("view");
    fs::write(&path, b"a file").unwrap();
    let view = View::open(&path);
    assert!(!view.is_on());
    let alice = identity(&view, 1);
    alice.save_state(&position(1), b"state");
    alice.put_row(BodyId::from_bytes([1; 16]), b"row");
    alice.flush();
    assert!(alice.load_state().is_none() && alice.get_row(BodyId::from_bytes([1; 16])).is_none());
}

#[test]
fn a_view_that_failed_is_made_anew() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("view");
    {
        let view = View::open(&path);
        let alice = identity(&view, 1);
        alice.save_state(&position(1), b"state");
        alice.flush();
        let none: Option<()> = view.core.guard(|_| panic!("as sled does"));
        assert!(none.is_none() && !view.is_on());
    }
    let view = View::open(&path);
    assert!(view.is_on());
    assert!(identity(&view, 1).load_state().is_none());
}

#[test]
fn letting_go_of_what_panics_ends_nothing_else() {
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("expected by the test");
        }
    }
    drop(Held(Some(Panics)));
}

#[test]
fn a_view_is_wasteful_where_it_is_large_and_holds_little() {
    let root = tempfile::tempdir().unwrap();
    let db = Held(try_open(root.path()).ok());
    let db = db.get().unwrap();
    assert_eq!(held(db).unwrap(), 0);
    db.open_tree("a").unwrap().insert("key", "value").unwrap();
    db.open_tree("b").unwrap().insert("k", "").unwrap();
    db.open_tree("b").unwrap().insert("another", "12").unwrap();
    assert_eq!(held(db).unwrap(), 3 + 5 + 1 + 7 + 2);
    // Bytes that compression does not shrink.
    let full = db.open_tree("c").unwrap();
    (0..60_u8).for_each(|n| drop(full.insert([n], state(n.into(), 50_000)).unwrap()));
    db.flush().unwrap();
    let (size, bytes) = (db.size_on_disk().unwrap(), held(db).unwrap());
    assert!(bytes > 3_000_000 && !is_wasteful(db, size), "{bytes} in {size}");
    full.clear().unwrap();
    db.flush().unwrap();
    let size = db.size_on_disk().unwrap();
    assert!(is_wasteful(db, size), "{size}");
    assert!(!is_wasteful(db, size + 1), "too small to matter");
}

#[test]
fn a_state_that_is_saved_takes_the_place_of_the_one_before() {
    let root = tempfile::tempdir().unwrap();
    let chunks = |states: &[u64]| {
        let name: String = states.iter().map(ToString::to_string).collect();
        let view = View::open(&root.path().join(name));
        let alice = identity(&view, 1);
        for seed in states {
            alice.save_state(&position(*seed), &state(*seed, 300_000));
            alice.flush();
        }
        let last = *states.last().unwrap();
        assert_eq!(alice.load_state(), Some((position(last), state(last, 300_000))));
        alice.inner.tree.get().unwrap().len()
    };
    // Chunks with the same bytes are kept, the others go.
    assert!(chunks(&[3]) > 3);
    assert_eq!(chunks(&[1, 2, 3]), chunks(&[3]));
    assert_eq!(chunks(&[3, 3]), chunks(&[3]));
}

#[test]
fn a_row_is_stored_up_to_its_bound() {
    let root = tempfile::tempdir().unwrap();
    let view = View::open(&root.path().join("view"));
    let alice = identity(&view, 1);
    for (n, len, stored) in [(1, 0, true), (2, VIEW_VALUE_BYTES - 1, true), (3, VIEW_VALUE_BYTES, false)] {
        let row = BodyId::from_bytes([n; 16]);
        alice.put_row(row, &vec![n; len]);
        alice.flush();
        assert_eq!(alice.get_row(row), stored.then(|| vec![n; len]), "{len}");
    }
}
