//! A backup whose file was changed, read at any place: as it was, or not at all.
#![no_main]

use std::path::Path;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use runepeer::base::rng::SeededRng;
use runepeer::store::vfs::{MemVfs, Vfs};
use runepeer::store::{Archive, ArchiveWriter, Passphrase};

const FILE: &str = "/backup";
/// Where the chunks begin: what lies before is opened with the passphrase, which takes a tenth of a second each time.
const HEADER: usize = 256;

fn content() -> Vec<u8> {
    (0..150_000_u32).map(|at| (at / 7) as u8).collect()
}

struct World {
    vfs: MemVfs,
    archive: Archive,
    sealed: Vec<u8>,
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let passphrase = Passphrase::new("correct horse".to_owned());
        let mut writer = ArchiveWriter::new(Vec::new(), &passphrase, &mut SeededRng::new(1)).expect("a header");
        writer.push(&content()).expect("memory");
        let sealed = writer.finish().expect("memory");
        let vfs = MemVfs::new();
        let file = vfs.create_excl(Path::new(FILE)).expect("a file");
        file.write_at(0, &sealed).expect("memory");
        let archive = Archive::open(file, &passphrase).expect("an archive");
        World { vfs, archive, sealed }
    })
}

fuzz_target!(|input: (u32, u32, Vec<(u32, &[u8])>)| {
    let (start, len, changes) = input;
    let World { vfs, archive, sealed } = world();
    let mut changed = sealed.clone();
    for (at, bytes) in changes {
        let at = HEADER + at as usize % (changed.len() - HEADER);
        changed.iter_mut().skip(at).zip(bytes).for_each(|(to, from)| *to = *from);
    }
    vfs.tamper(Path::new(FILE), |file| *file = changed).expect("the file");
    let content = content();
    let (start, len) = (start as usize % (content.len() * 2), len as usize % (content.len() * 2));
    if let Ok(read) = archive.read(start as u64..(start + len) as u64) {
        assert_eq!(read, content[start.min(content.len())..(start + len).min(content.len())]);
    }
});
