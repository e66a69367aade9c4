//! A disk in memory that distinguishes what is written from what is durable.
//!
//! A write is durable after [`VfsFile::sync`], a name after [`Vfs::sync_dir`] on its directory. [`MemVfs::crash`] gives
//! the disk as the next start finds it. Bytes that were not synced are lost, or survive in part: blocks of 512 or 4096
//! bytes, each independently, in any order, some as zeros. Of the names that were not synced, any subset survives.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Vfs, VfsFile};
use crate::base::Rng;

/// The event that ended the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrashMode {
    /// The process was killed: everything written is there, synced or not. What was not synced still is not.
    Kill,
    /// The power went, and nothing that was not synced was written.
    PowerCut,
    /// The power went, and some of what was not synced was written.
    Torn,
}

/// A file system in memory. Clones share the same disk.
#[derive(Clone)]
pub struct MemVfs {
    disk: Arc<Mutex<Disk>>,
}

struct MemFile {
    disk: Arc<Mutex<Disk>>,
    inode: u64,
}

#[derive(Clone, Default)]
struct Disk {
    inodes: BTreeMap<u64, Inode>,
    next_inode: u64,
    dirs: BTreeMap<PathBuf, Dir>,
    free: u64,
}

/// The bytes are shared between images until one of them changes: most files never change again.
#[derive(Clone, Default)]
struct Inode {
    durable: Arc<Vec<u8>>,
    current: Arc<Vec<u8>>,
    unsynced: Vec<(usize, Vec<u8>)>,
}

#[derive(Clone, Default)]
struct Dir {
    /// Whether the file's name was synced in its directory.
    named: bool,
    durable: BTreeMap<String, u64>,
    current: BTreeMap<String, u64>,
    unsynced: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Link(String, u64),
    Unlink(String),
    Rename(String, String),
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<String, u64>) {
        match self {
            Self::Link(name, inode) => {
                names.insert(name.clone(), *inode);
            }
            Self::Unlink(name) => {
                names.remove(name);
            }
            Self::Rename(from, to) => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
        }
    }
}

impl Default for MemVfs {
    fn default() -> Self {
        Self::new()
    }
}

impl MemVfs {
    /// An empty disk: only the directory `/`.
    pub fn new() -> Self {
        let root = Dir { named: true, ..Dir::default() };
        let disk = Disk { dirs: BTreeMap::from([(PathBuf::from("/"), root)]), free: 1 << 40, ..Disk::default() };
        Self { disk: Arc::new(Mutex::new(disk)) }
    }

    /// Sets the free space that is reported. It does not shrink with use; [`super::FaultVfs`] simulates full disks.
    pub fn set_free_space(&self, bytes: u64) {
        self.lock().free = bytes;
    }

    /// All files and their bytes, as a reader sees them now.
    pub fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let disk = self.lock();
        let bytes = |inode: &u64| disk.inodes.get(inode).map(|inode| inode.current.to_vec()).unwrap_or_default();
        disk.dirs
            .iter()
            .flat_map(|(path, dir)| dir.current.iter().map(|(name, inode)| (path.join(name), bytes(inode))))
            .collect()
    }

    /// Changes bytes without any call of the store, as a failing disk does: durable at once.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn tamper(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        let mut disk = self.lock();
        let inode = disk.find(path)?;
        let inode = disk.inodes.get_mut(&inode).ok_or(io::ErrorKind::NotFound)?;
        change(Arc::make_mut(&mut inode.current));
        inode.durable = Arc::clone(&inode.current);
        inode.unsynced.clear();
        Ok(())
    }

    /// The disk as the next start finds it. This disk is not changed.
    pub fn crash(&self, mode: CrashMode, rng: &mut dyn Rng) -> Self {
        let disk = self.lock();
        if mode == CrashMode::Kill {
            // The operating system lives on, and with it all bytes that are not synced: a power cut may still follow.
            return Self { disk: Arc::new(Mutex::new(disk.clone())) };
        }
        let mut after = Disk { next_inode: disk.next_inode, free: disk.free, ..Disk::default() };
        for (path, dir) in &disk.dirs {
            if !survives(dir.named, mode, rng) || path.parent().is_some_and(|parent| !after.dirs.contains_key(parent)) {
                continue;
            }
            let mut names = dir.durable.clone();
            for change in &dir.unsynced {
                if survives(false, mode, rng) {
                    change.apply(&mut names);
                }
            }
            let image = Dir { named: true, durable: names.clone(), current: names, unsynced: Vec::new() };
            after.dirs.insert(path.clone(), image);
        }
        for (number, inode) in &disk.inodes {
            let bytes = inode.after(mode, rng);
            after.inodes.insert(*number, Inode { durable: Arc::clone(&bytes), current: bytes, unsynced: Vec::new() });
        }
        Self { disk: Arc::new(Mutex::new(after)) }
    }

    fn lock(&self) -> MutexGuard<'_, Disk> {
        lock(&self.disk)
    }

    fn file(&self, inode: u64) -> Arc<dyn VfsFile> {
        Arc::new(MemFile { disk: Arc::clone(&self.disk), inode })
    }
}

fn lock(disk: &Mutex<Disk>) -> MutexGuard<'_, Disk> {
    disk.lock().unwrap_or_else(PoisonError::into_inner)
}

fn survives(synced: bool, mode: CrashMode, rng: &mut dyn Rng) -> bool {
    match mode {
        CrashMode::Torn => synced || rng.below(2) == 0,
        CrashMode::Kill | CrashMode::PowerCut => synced,
    }
}

fn put(bytes: &mut Vec<u8>, offset: usize, new: &[u8]) {
    let end = offset + new.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    if let Some(place) = bytes.get_mut(offset..end) {
        place.copy_from_slice(new);
    }
}

impl Inode {
    fn after(&self, mode: CrashMode, rng: &mut dyn Rng) -> Arc<Vec<u8>> {
        let mut after = Arc::clone(&self.durable);
        if mode == CrashMode::PowerCut {
            return after;
        }
        let block = if rng.below(2) == 0 { 512 } else { 4096 };
        // Sometimes all blocks but one survive, or none but one: in a long tail, fair odds would rarely give these
        // cases.
        let odds = 2 + rng.below(7);
        for (offset, written) in &self.unsynced {
            let bytes = Arc::make_mut(&mut after);
            let mut start = 0;
            while start < written.len() {
                let end = written.len().min(((offset + start) / block + 1) * block - offset);
                let piece = written.get(start..end).unwrap_or_default();
                match rng.below(odds) {
                    0 => {}
                    1 => put(bytes, offset + start, &vec![0; piece.len()]),
                    _ => put(bytes, offset + start, piece),
                }
                start = end;
            }
        }
        after
    }
}

impl Disk {
    fn dir(&mut self, path: &Path) -> io::Result<&mut Dir> {
        self.dirs.get_mut(path).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn find(&mut self, path: &Path) -> io::Result<u64> {
        let (dir, name) = split(path)?;
        self.dir(dir)?.current.get(&name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn split(path: &Path) -> io::Result<(&Path, String)> {
    let name = path.file_name().and_then(|name| name.to_str()).ok_or(io::ErrorKind::InvalidInput)?;
    Ok((path.parent().ok_or(io::ErrorKind::InvalidInput)?, name.to_owned()))
}

impl Dir {
    fn change(&mut self, change: Change) {
        change.apply(&mut self.current);
        self.unsynced.push(change);
    }
}

impl Vfs for MemVfs {
    fn mkdir(&self, dir: &Path) -> io::Result<()> {
        let mut disk = self.lock();
        let parent = dir.parent().ok_or(io::ErrorKind::InvalidInput)?;
        disk.dir(parent)?;
        disk.dirs.entry(dir.to_owned()).or_default();
        Ok(())
    }

    fn create_excl(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        let mut disk = self.lock();
        let (dir, name) = split(path)?;
        let inode = disk.next_inode;
        let dir = disk.dir(dir)?;
        if dir.current.contains_key(&name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        dir.change(Change::Link(name, inode));
        disk.next_inode += 1;
        disk.inodes.insert(inode, Inode::default());
        drop(disk);
        Ok(self.file(inode))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        let inode = self.lock().find(path)?;
        Ok(self.file(inode))
    }

    fn rename_noreplace(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.lock();
        disk.find(from)?;
        let ((dir, from), (target, to)) = (split(from)?, split(to)?);
        if dir != target {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let dir = disk.dir(dir)?;
        if dir.current.contains_key(&to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        dir.change(Change::Rename(from, to));
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.lock();
        disk.find(from)?;
        let ((dir, from), (target, to)) = (split(from)?, split(to)?);
        if dir != target {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        disk.dir(dir)?.change(Change::Rename(from, to));
        Ok(())
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.lock();
        disk.find(path)?;
        let (dir, name) = split(path)?;
        disk.dir(dir)?.change(Change::Unlink(name));
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.lock();
        let dir = disk.dir(path)?;
        dir.durable = dir.current.clone();
        dir.unsynced.clear();
        for (_, child) in disk.dirs.iter_mut().filter(|(child, _)| child.parent() == Some(path)) {
            child.named = true;
        }
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        Ok(self.lock().dir(dir)?.current.keys().cloned().collect())
    }

    fn dirs(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut disk = self.lock();
        disk.dir(dir)?;
        let name = |path: &PathBuf| (path.parent() == Some(dir)).then(|| Some(path.file_name()?.to_str()?.to_owned()));
        Ok(disk.dirs.keys().filter_map(name).flatten().collect())
    }

    fn free_space(&self, dir: &Path) -> io::Result<u64> {
        let mut disk = self.lock();
        disk.dir(dir)?;
        Ok(disk.free)
    }
}

impl MemFile {
    fn with<T>(&self, act: impl FnOnce(&mut Inode) -> T) -> io::Result<T> {
        lock(&self.disk).inodes.get_mut(&self.inode).map(act).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl VfsFile for MemFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
        self.with(|inode| {
            put(Arc::make_mut(&mut inode.current), offset, bytes);
            inode.unsynced.push((offset, bytes.to_vec()));
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.with(|inode| {
            for (offset, bytes) in std::mem::take(&mut inode.unsynced) {
                put(Arc::make_mut(&mut inode.durable), offset, &bytes);
            }
        })
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let offset = usize::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
        self.with(|inode| {
            let rest = inode.current.get(offset..).unwrap_or_default();
            let len = rest.len().min(buffer.len());
            if let (Some(to), Some(from)) = (buffer.get_mut(..len), rest.get(..len)) {
                to.copy_from_slice(from);
            }
            len
        })
    }

    fn size(&self) -> io::Result<u64> {
        self.with(|inode| inode.current.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::SeededRng;
    use crate::store::vfs::read_small;

    fn read(vfs: &MemVfs, path: &str) -> Option<Vec<u8>> {
        read_small(vfs, Path::new(path), 1 << 20).ok()
    }

    #[test]
    fn only_synced_bytes_under_synced_names_survive_a_power_cut() {
        let mut rng = SeededRng::new(1);
        let vfs = MemVfs::new();
        vfs.mkdir(Path::new("/d")).unwrap();
        let file = vfs.create_excl(Path::new("/d/a")).unwrap();
        file.write_at(0, b"first").unwrap();
        file.sync().unwrap();
        file.write_at(5, b"second").unwrap();
        assert_eq!(read(&vfs, "/d/a").unwrap(), b"firstsecond");
        assert_eq!(read(&vfs.crash(CrashMode::PowerCut, &mut rng), "/d/a"), None);
        vfs.sync_dir(Path::new("/d")).unwrap();
        assert_eq!(read(&vfs.crash(CrashMode::PowerCut, &mut rng), "/d/a"), None, "/d itself was not synced");
        vfs.sync_dir(Path::new("/")).unwrap();
        assert_eq!(read(&vfs.crash(CrashMode::PowerCut, &mut rng), "/d/a").unwrap(), b"first");
        let killed = vfs.crash(CrashMode::Kill, &mut rng);
        assert_eq!(read(&killed, "/d/a").unwrap(), b"firstsecond");
        assert_eq!(read(&killed.crash(CrashMode::PowerCut, &mut rng), "/d/a").unwrap(), b"first");
    }

    #[test]
    fn a_torn_tail_keeps_what_was_synced_and_loses_blocks_of_the_rest() {
        let vfs = MemVfs::new();
        let file = vfs.create_excl(Path::new("/a")).unwrap();
        file.write_at(0, &[1; 1000]).unwrap();
        file.sync().unwrap();
        vfs.sync_dir(Path::new("/")).unwrap();
        file.write_at(1000, &[2; 20_000]).unwrap();
        let mut images = std::collections::BTreeSet::new();
        for seed in 0..50 {
            let image = read(&vfs.crash(CrashMode::Torn, &mut SeededRng::new(seed)), "/a").unwrap();
            assert_eq!(image[..1000], [1; 1000]);
            let torn = (1001..image.len()).filter(|at| image[*at] != image[at - 1]);
            torn.for_each(|at| assert_eq!(at % 512, 0, "torn within a block"));
            images.insert(image);
        }
        assert!(images.len() > 20, "the images must differ");
    }

    #[test]
    fn renames_are_lost_or_whole() {
        let vfs = MemVfs::new();
        vfs.create_excl(Path::new("/a")).unwrap();
        vfs.sync_dir(Path::new("/")).unwrap();
        vfs.rename_noreplace(Path::new("/a"), Path::new("/b")).unwrap();
        for seed in 0..20 {
            let image = vfs.crash(CrashMode::Torn, &mut SeededRng::new(seed));
            assert_eq!(image.list(Path::new("/")).unwrap().len(), 1);
        }
        vfs.create_excl(Path::new("/a")).unwrap();
        assert!(vfs.rename_noreplace(Path::new("/a"), Path::new("/b")).is_err());
    }
}
