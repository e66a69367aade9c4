//! A file system that is only looked at: every operation that would change it is refused. Commands that promise to
//! change nothing read through this.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::{Vfs, VfsFile};

/// Reads as the file system below it does; refuses everything else.
pub struct ReadOnlyVfs(pub Arc<dyn Vfs>);

struct ReadOnlyFile(Arc<dyn VfsFile>);

fn refused<T>() -> io::Result<T> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

impl Vfs for ReadOnlyVfs {
    fn mkdir(&self, dir: &Path) -> io::Result<()> {
        match self.0.list(dir) {
            // The directory exists: checking that it is closed to others changes nothing.
            Ok(_) => self.0.mkdir(dir),
            Err(error) => Err(error),
        }
    }

    fn create_excl(&self, _: &Path) -> io::Result<Arc<dyn VfsFile>> {
        refused()
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        Ok(Arc::new(ReadOnlyFile(self.0.open(path)?)))
    }

    fn rename_noreplace(&self, _: &Path, _: &Path) -> io::Result<()> {
        refused()
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        refused()
    }

    fn unlink(&self, _: &Path) -> io::Result<()> {
        refused()
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
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

impl VfsFile for ReadOnlyFile {
    fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
        refused()
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(offset, buffer)
    }

    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }
}
