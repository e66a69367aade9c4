//! The disk itself. Nothing else in the product opens a mail or state file.

use std::fs::{DirBuilder, File, FileType};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{CWD, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::{Vfs, VfsFile};

/// The file system of the operating system. Paths are used as they are.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealVfs;

/// How much of a file is overwritten before it is removed, in bytes. The files of keys are shorter.
const ERASED: u64 = 65_536;

struct RealFile(File);

impl RealVfs {
    /// Checks that a directory is our own, and closed to everybody else.
    fn check_private(dir: &Path) -> io::Result<()> {
        let meta = std::fs::symlink_metadata(dir)?;
        let name = dir.display();
        if !meta.is_dir() {
            return Err(io::Error::new(io::ErrorKind::NotADirectory, format!("{name} is not a directory")));
        }
        if meta.uid() != rustix::process::geteuid().as_raw() {
            let text = format!("directory {name} belongs to another user; chown it, or choose another data directory");
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
        }
        if meta.mode() & 0o077 != 0 {
            let text = format!("directory {name} is readable by others; chmod 700 {name}");
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
        }
        Ok(())
    }

    fn names(dir: &Path, wanted: impl Fn(FileType) -> bool) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            if wanted(entry.file_type()?)
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn open_dir(dir: &Path) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(File::from(rustix::fs::open(dir, flags, Mode::empty())?))
    }
}

impl Vfs for RealVfs {
    fn mkdir(&self, dir: &Path) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(dir) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Self::check_private(dir),
            Err(error) => Err(error),
        }
    }

    fn create_excl(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?;
        Ok(Arc::new(RealFile(File::from(file))))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::open(path, flags, Mode::empty())?;
        Ok(Arc::new(RealFile(File::from(file))))
    }

    fn rename_noreplace(&self, from: &Path, to: &Path) -> io::Result<()> {
        match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            Ok(()) => Ok(()),
            // Some file systems cannot do it in one step; making a link is refused everywhere where the name is taken.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                std::fs::hard_link(from, to)?;
                std::fs::remove_file(from)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn erase(&self, path: &Path) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
        let zeros = vec![0; usize::try_from(file.metadata()?.len().min(ERASED)).unwrap_or(0)];
        // Where that fails, the file goes all the same.
        let _ = file.write_all_at(&zeros, 0).and_then(|()| file.sync_all());
        self.unlink(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        Self::open_dir(dir)?.sync_all()
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        Self::names(dir, |kind| kind.is_file())
    }

    fn dirs(&self, dir: &Path) -> io::Result<Vec<String>> {
        Self::names(dir, |kind| kind.is_dir())
    }

    fn free_space(&self, dir: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(dir)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

/// Whether this path leads to this open file. If the path cannot be looked up now, the answer is yes.
pub(crate) fn is_at(file: &File, path: &Path) -> bool {
    let Ok(held) = file.metadata() else { return true };
    match std::fs::symlink_metadata(path) {
        Ok(there) => held.nlink() > 0 && (there.dev(), there.ino()) == (held.dev(), held.ino()),
        Err(error) => !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory),
    }
}

impl VfsFile for RealFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut read = 0_usize;
        while let Some(rest) = buffer.get_mut(read..).filter(|rest| !rest.is_empty()) {
            match self.0.read_at(rest, offset.saturating_add(read as u64)) {
                Ok(0) => break,
                Ok(n) => read += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn is_at(&self, path: &Path) -> bool {
        is_at(&self.0, path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn directories_and_files_are_private_and_links_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("data");
        RealVfs.mkdir(&dir).unwrap();
        assert_eq!(std::fs::metadata(&dir).unwrap().mode() & 0o777, 0o700);
        RealVfs.mkdir(&dir).unwrap();
        let file = RealVfs.create_excl(&dir.join("a")).unwrap();
        assert_eq!(std::fs::metadata(dir.join("a")).unwrap().mode() & 0o777, 0o600);
        file.write_at(0, b"hello").unwrap();
        file.sync().unwrap();
        std::os::unix::fs::symlink(dir.join("a"), dir.join("link")).unwrap();
        assert!(RealVfs.open(&dir.join("link")).is_err());
        assert_eq!(RealVfs.list(&dir).unwrap(), ["a"]);
        assert!(RealVfs.free_space(&dir).unwrap() > 0);
        assert!(RealVfs.create_excl(&dir.join("a")).is_err());

        let mut buffer = [0; 9];
        assert_eq!(RealVfs.open(&dir.join("a")).unwrap().read_at(1, &mut buffer).unwrap(), 4);

        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o750)).unwrap();
        let error = RealVfs.mkdir(&dir).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        assert!(error.to_string().contains("chmod 700"), "{error}");
    }

    #[test]
    fn a_rename_does_not_replace() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        RealVfs.create_excl(&path("a")).unwrap();
        RealVfs.create_excl(&path("b")).unwrap();
        assert_eq!(RealVfs.rename_noreplace(&path("a"), &path("b")).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        RealVfs.rename_noreplace(&path("a"), &path("c")).unwrap();
        RealVfs.sync_dir(root.path()).unwrap();
        assert_eq!(RealVfs.list(root.path()).unwrap(), ["b", "c"]);
    }
}
