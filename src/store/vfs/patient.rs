//! A disk with bad blocks: readable blocks are read, the others are read as zeros.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::{Vfs, VfsFile};

/// Reads around bad blocks; does everything else as the file system below it does.
pub struct PatientVfs(pub Arc<dyn Vfs>);

/// A disk returns or refuses whole blocks of this many bytes.
const BLOCK: usize = 4096;

impl Vfs for PatientVfs {
    fn mkdir(&self, dir: &Path) -> io::Result<()> {
        self.0.mkdir(dir)
    }

    fn create_excl(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        self.0.create_excl(path)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        Ok(Arc::new(Patient(self.0.open(path)?)))
    }

    fn rename_noreplace(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename_noreplace(from, to)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.0.unlink(path)
    }

    fn erase(&self, path: &Path) -> io::Result<()> {
        self.0.erase(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.sync_dir(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.0.list(dir)
    }

    fn dirs(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.0.dirs(dir)
    }

    fn free_space(&self, dir: &Path) -> io::Result<u64> {
        self.0.free_space(dir)
    }
}

struct Patient(Arc<dyn VfsFile>);

impl VfsFile for Patient {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if let Ok(read) = self.0.read_at(offset, buffer) {
            return Ok(read);
        }
        let there = self.0.size()?.saturating_sub(offset);
        let len = usize::try_from(there).unwrap_or(usize::MAX).min(buffer.len());
        let mut at = offset;
        let mut rest = buffer.get_mut(..len).unwrap_or_default();
        while !rest.is_empty() {
            // Up to the next border between two blocks.
            let piece = BLOCK - usize::try_from(at % BLOCK as u64).unwrap_or(0);
            let (block, behind) = rest.split_at_mut(piece.min(rest.len()));
            if !self.0.read_at(at, block).is_ok_and(|read| read == block.len()) {
                block.fill(0);
            }
            at += block.len() as u64;
            rest = behind;
        }
        Ok(len)
    }

    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }

    fn is_at(&self, path: &Path) -> bool {
        self.0.is_at(path)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::super::MemVfs;
    use super::*;

    /// A file of 10,000 sevens on a disk with one bad block.
    struct Failing;

    impl VfsFile for Failing {
        fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
            Err(io::ErrorKind::ReadOnlyFilesystem.into())
        }

        fn sync(&self) -> io::Result<()> {
            Ok(())
        }

        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
            if offset < 5001 && offset + buffer.len() as u64 > 5000 {
                return Err(io::Error::other("the disk failed"));
            }
            let len = buffer.len().min(usize::try_from(10_000 - offset).unwrap());
            buffer[..len].fill(7);
            Ok(len)
        }

        fn size(&self) -> io::Result<u64> {
            Ok(10_000)
        }
    }

    #[test]
    fn of_a_failing_disk_every_block_that_can_be_read_is_read() {
        let file = Patient(Arc::new(Failing));
        for from in [0_usize, 17, 4095, 4096, 5000] {
            let mut read = vec![1; 12_000];
            assert_eq!(file.read_at(from as u64, &mut read).unwrap(), 10_000 - from);
            for (at, byte) in (from..10_000).zip(&read) {
                assert_eq!(*byte, if (4096..8192).contains(&at) { 0 } else { 7 }, "at {at}, from {from}");
            }
        }
        // A file without damage is read as it is.
        let vfs = MemVfs::new();
        vfs.mkdir(Path::new("/d")).unwrap();
        vfs.create_excl(Path::new("/d/f")).unwrap().write_at(0, b"whole").unwrap();
        let mut read = [0; 9];
        let file = PatientVfs(Arc::new(vfs)).open(Path::new("/d/f")).unwrap();
        assert_eq!((file.read_at(0, &mut read).unwrap(), &read[..5]), (5, &b"whole"[..]));
    }
}
