//! Missing parts are recognised by the parts that are left; parts that were only being made are not missed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::vfs::{MemVfs, Vfs};
use super::{Keyring, Log, Passphrase, begin_making, end_making, missing, missing_segments};
use crate::base::rng::SeededRng;
use crate::base::{IdentityId, SymmetricKey};
use crate::engine::io::Durability;

const ROOT: &str = "/data";

fn id(byte: u8) -> IdentityId {
    IdentityId::from_bytes([byte; 16])
}

fn root() -> &'static Path {
    Path::new(ROOT)
}

/// Commits one record in a segment of its own.
fn fill(vfs: &MemVfs, dir: &Path, key: &SymmetricKey) {
    let vfs: Arc<dyn Vfs> = Arc::new(vfs.clone());
    let log = Log::open(vfs, dir, key, Box::new(SeededRng::new(1)), None, &mut |_, _| ()).unwrap();
    let (done, committed) = std::sync::mpsc::channel();
    log.commit(vec![vec![1]], Vec::new(), Durability::Synced, Box::new(move |result| done.send(result).unwrap()));
    committed.recv().unwrap().unwrap();
}

/// A node with one identity.
fn node(passphrase: Option<&Passphrase>) -> (MemVfs, Keyring) {
    let vfs = MemVfs::new();
    vfs.mkdir(root()).unwrap();
    let shared: Arc<dyn Vfs> = Arc::new(vfs.clone());
    let keyring = Keyring::create(shared, &root().join("keys"), passphrase, Box::new(SeededRng::new(2))).unwrap();
    make(&vfs, &keyring, id(1));
    (vfs, keyring)
}

fn make(vfs: &MemVfs, keyring: &Keyring, id: IdentityId) {
    let (dir, key) = (root().join(id.to_string()), SymmetricKey::from_bytes([7; 32]));
    begin_making(vfs, &dir).unwrap();
    Log::create(vfs, &dir).unwrap();
    fill(vfs, &dir, &key);
    assert_eq!(missing(vfs, root()).unwrap(), [], "while it is made");
    keyring.add_identity(id, &key).unwrap();
    assert_eq!(missing(vfs, root()).unwrap(), [], "while it is made");
    end_making(vfs, &dir);
    assert_eq!(missing(vfs, root()).unwrap(), []);
}

fn names(vfs: &MemVfs) -> Vec<String> {
    let path = |part: super::Missing| part.path.strip_prefix(root()).unwrap().display().to_string();
    missing(vfs, root()).unwrap().into_iter().map(path).collect()
}

#[test]
fn every_part_is_missed_and_nothing_is_missed_where_nothing_was() {
    let (vfs, keyring) = node(None);
    make(&vfs, &keyring, id(2));
    let parts = [
        "keys/node".to_owned(),
        "keys/node.key".to_owned(),
        format!("keys/{}", id(1)),
        format!("{}/log/0000000000000001.seg", id(2)),
    ];
    for part in &parts {
        let bytes = vfs.files().into_iter().find(|(path, _)| *path == root().join(part)).unwrap().1;
        vfs.unlink(&root().join(part)).unwrap();
        assert_eq!(names(&vfs), std::slice::from_ref(part));
        vfs.create_excl(&root().join(part)).unwrap().write_at(0, &bytes).unwrap();
        assert_eq!(names(&vfs), Vec::<String>::new());
    }
    let empty = MemVfs::new();
    assert_eq!(missing(&empty, root()).unwrap(), [], "a directory that is not there");
    let (vfs, _) = node(Some(&Passphrase::new("secret".to_owned())));
    assert_eq!(names(&vfs), Vec::<String>::new(), "with a passphrase there is no key file");
    vfs.unlink(&root().join("keys/node")).unwrap();
    assert_eq!(names(&vfs), ["keys/node"], "which says no less of what is missing");
    vfs.unlink(&root().join(format!("keys/{}", id(1)))).unwrap();
    assert_eq!(names(&vfs), ["keys/node".to_owned(), format!("keys/{}", id(1))], "nor where no key is left");
    // The same where only the view, or the files of large messages, are left.
    let vfs = MemVfs::new();
    vfs.mkdir(root()).unwrap();
    vfs.mkdir(&root().join("view")).unwrap();
    assert_eq!(names(&vfs), ["keys/node"]);
}

#[test]
fn what_a_crash_leaves_of_a_log_in_the_making_is_no_missing_key() {
    let (vfs, keyring) = node(None);
    let dir = root().join(id(3).to_string());
    begin_making(&vfs, &dir).unwrap();
    Log::create(&vfs, &dir).unwrap();
    fill(&vfs, &dir, &SymmetricKey::from_bytes([3; 32]));
    assert_eq!(names(&vfs), Vec::<String>::new());
    keyring.add_identity(id(3), &SymmetricKey::from_bytes([3; 32])).unwrap();
    end_making(&vfs, &dir);
    vfs.unlink(&root().join(format!("keys/{}", id(3)))).unwrap();
    assert_eq!(names(&vfs), [format!("keys/{}", id(3))], "once it was made, its key is missed");
}

#[test]
fn a_key_file_that_is_there_is_never_replaced() {
    let (vfs, keyring) = node(None);
    let key_file = root().join("keys/node.key");
    let before = vfs.files();
    vfs.unlink(&root().join("keys/node")).unwrap();
    let shared: Arc<dyn Vfs> = Arc::new(vfs.clone());
    let again = Keyring::create(shared, &root().join("keys"), None, Box::new(SeededRng::new(9))).unwrap();
    let bytes = |files: Vec<(PathBuf, Vec<u8>)>| files.into_iter().find(|(path, _)| *path == key_file);
    assert_eq!(bytes(vfs.files()), bytes(before), "what it opened before it opens when that comes back");
    drop((keyring, again));
}

#[test]
fn a_missing_segment_is_known_without_any_key() {
    let (vfs, _keyring) = node(None);
    let dir = root().join(id(1).to_string());
    for _ in 0..2 {
        fill(&vfs, &dir, &SymmetricKey::from_bytes([7; 32]));
    }
    assert_eq!(missing_segments(&vfs, root()).unwrap(), []);
    let second = dir.join("log/0000000000000002.seg");
    vfs.unlink(&second).unwrap();
    let found: Vec<_> = missing_segments(&vfs, root()).unwrap().into_iter().map(|part| part.path).collect();
    assert_eq!(found, [second]);
}

/// The missing segments of a log that has these segments, each with the number of the one before it, and these
/// checkpoints, each with the segment from which a start reads.
fn missing_of(segments: &[(u64, u64)], checkpoints: &[(u64, u64)]) -> Vec<String> {
    let vfs = MemVfs::new();
    let log = root().join(id(1).to_string()).join("log");
    let dirs = log.ancestors().filter(|dir| dir.parent().is_some()).collect::<Vec<_>>();
    dirs.into_iter().rev().for_each(|dir| vfs.mkdir(dir).unwrap());
    let make = |name: String, at: u64, word: u64| {
        let file = vfs.create_excl(&log.join(name)).unwrap();
        file.write_at(0, &[0; 64]).unwrap();
        file.write_at(at, &word.to_le_bytes()).unwrap();
    };
    segments.iter().for_each(|(number, before)| make(format!("{number:016x}.seg"), 32, *before));
    checkpoints.iter().for_each(|(number, begin)| make(format!("{number:016x}.ckp"), 24, *begin));
    let name = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().trim_start_matches('0').to_owned();
    missing_segments(&vfs, root()).unwrap().into_iter().map(|part| name(part.path)).collect()
}

#[test]
fn the_chain_of_segments_is_followed_to_its_beginning_or_to_the_checkpoint() {
    for (segments, checkpoints, expected) in [
        (&[][..], &[][..], &[][..]),
        (&[(1, 0), (2, 1), (3, 2)], &[], &[]),
        // Numbers may be skipped: what counts is the number that a segment names.
        (&[(1, 0), (3, 1)], &[], &[]),
        (&[(1, 0), (3, 2)], &[], &["2.seg"]),
        (&[(2, 1)], &[], &["1.seg"]),
        (&[(5, 4), (3, 2)], &[], &["4.seg"]),
        // A start reads from the place of the newest checkpoint on.
        (&[(3, 2)], &[(1, 3)], &[]),
        (&[(4, 3)], &[(1, 3)], &["3.seg"]),
        (&[(5, 3)], &[(1, 4)], &[]),
        (&[(4, 3)], &[(1, 3), (2, 4)], &[]),
        (&[(4, 3)], &[(1, 4), (2, 3)], &["3.seg"]),
        (&[], &[(1, 5)], &["5.seg"]),
        // A segment that names itself or a later one is damaged, not missing.
        (&[(3, 3)], &[], &[]),
        (&[(3, 9)], &[], &[]),
    ] {
        assert_eq!(missing_of(segments, checkpoints), expected, "{segments:?} and {checkpoints:?}");
    }
}
