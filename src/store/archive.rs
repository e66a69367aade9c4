//! A file that a passphrase opens: any bytes in a row, sealed in chunks, readable at any place (docs/on-disk.md,
//! "Backup").

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use zeroize::Zeroizing;

use super::codec::Fields;
use super::crypt::{CHUNK_BYTES, Chunks, SEALED_CHUNK, Sealer, TAG_BYTES, open_chunk};
use super::keys::{Passphrase, Stretching};
use super::log::segment::is_ours;
use super::vfs::{VfsFile, read_exact_at};
use crate::base::{Rng, SymmetricKey};

const MAGIC: &[u8; 8] = b"RUNEBKUP";
const VERSION: u16 = 1;
/// The part of the header that is authenticated: everything before the wrapped key.
const AUTHENTICATED: usize = 48;
/// Nonce, key and tag.
const WRAPPED_BYTES: usize = 60;
const HEADER_BYTES: usize = 256;

/// Why an archive cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The file is not a backup.
    #[error("this is no backup of runepeer")]
    NotAnArchive,
    /// A later version of the program wrote it.
    #[error("this backup was written by a later version of this program; use that version")]
    Version,
    /// Another passphrase was given, or the first bytes were changed.
    #[error("the passphrase is wrong")]
    WrongPassphrase,
    /// Bytes were changed, or the end is missing.
    #[error("the backup is damaged at byte {offset}, or its end is missing; use another one")]
    Damaged {
        /// The place in the file.
        offset: u64,
    },
    /// The disk failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Writes an archive, from its first byte to its last.
pub struct ArchiveWriter<W> {
    to: W,
    chunks: Chunks,
    sealed: Vec<u8>,
}

impl<W: io::Write> ArchiveWriter<W> {
    /// Begins an archive that this passphrase opens. Takes some tenths of a second and 64 MiB.
    ///
    /// # Errors
    /// Errors of the output.
    pub fn new(mut to: W, passphrase: &Passphrase, rng: &mut dyn Rng) -> io::Result<Self> {
        let stretching = Stretching::new(rng);
        let key = SymmetricKey::random(rng);
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(&VERSION.to_le_bytes());
        header.resize(16, 0);
        stretching.encode(&mut header);
        header.resize(AUTHENTICATED, 0);
        let authenticated = header.clone();
        let stretched = stretching.stretch(passphrase).ok_or(io::ErrorKind::InvalidInput)?;
        let wrapped = Sealer::new(&stretched).seal_value(&authenticated, key.expose(), rng);
        header.extend_from_slice(&wrapped);
        header.resize(HEADER_BYTES, 0);
        to.write_all(&header)?;
        Ok(Self { to, chunks: Chunks::new(&key, &authenticated), sealed: Vec::new() })
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// Errors of the output.
    pub fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.chunks.push(bytes, &mut self.sealed);
        self.flush()
    }

    /// Ends the archive: an archive without its end counts as damaged.
    ///
    /// # Errors
    /// Errors of the output.
    pub fn finish(self) -> io::Result<W> {
        let Self { mut to, chunks, mut sealed } = self;
        chunks.finish(&mut sealed);
        to.write_all(&sealed)?;
        Ok(to)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.write_all(&self.sealed)?;
        self.sealed.clear();
        Ok(())
    }
}

/// An opened archive.
pub struct Archive {
    file: Arc<dyn VfsFile>,
    sealer: Sealer,
    authenticated: Vec<u8>,
    /// Bytes of all chunks, as they are sealed.
    sealed: u64,
    /// The chunk that was opened last.
    held: Mutex<Option<(u64, Zeroizing<Vec<u8>>)>>,
}

impl Archive {
    /// Opens an archive. Takes some tenths of a second and 64 MiB. Damage is found only in chunks that are read.
    ///
    /// # Errors
    /// See [`ArchiveError`].
    pub fn open(file: Arc<dyn VfsFile>, passphrase: &Passphrase) -> Result<Self, ArchiveError> {
        let size = file.size()?;
        if size < (HEADER_BYTES + TAG_BYTES) as u64 {
            return Err(ArchiveError::NotAnArchive);
        }
        let header = read_exact_at(&*file, 0, HEADER_BYTES)?;
        let authenticated = header.get(..AUTHENTICATED).unwrap_or_default().to_vec();
        let mut fields = Fields(&header);
        if fields.take(MAGIC.len()) != Some(MAGIC.as_slice()) {
            return Err(ArchiveError::NotAnArchive);
        }
        let version = fields.u16();
        // This program writes zeros there: other bytes are damage.
        let more = header.get(AUTHENTICATED + WRAPPED_BYTES..).unwrap_or_default();
        if version == Some(VERSION) && more.iter().any(|byte| *byte != 0) {
            return Err(ArchiveError::Damaged { offset: (AUTHENTICATED + WRAPPED_BYTES) as u64 });
        }
        let stretching = fields.take(6).and_then(|_| Stretching::decode(&mut fields));
        let wrapped = header.get(AUTHENTICATED..AUTHENTICATED + WRAPPED_BYTES).unwrap_or_default();
        if version != Some(VERSION) {
            let ours = |key: &SymmetricKey| is_ours(&authenticated, VERSION, wrapped, &Sealer::new(key)).then_some(());
            let is_ours = stretching.and_then(|stretching| stretching.open(passphrase, ours)).flatten().is_some();
            let damaged = ArchiveError::Damaged { offset: MAGIC.len() as u64 };
            return Err(if is_ours { damaged } else { ArchiveError::Version });
        }
        let open = |key: &SymmetricKey| {
            let bytes = Zeroizing::new(Sealer::new(key).open_value(&authenticated, wrapped).ok()?);
            bytes.as_slice().try_into().ok().map(SymmetricKey::from_bytes)
        };
        let key = stretching
            .and_then(|stretching| stretching.open(passphrase, open))
            .ok_or(ArchiveError::Damaged { offset: 16 })?
            .ok_or(ArchiveError::WrongPassphrase)?;
        let sealer = Sealer::new(&key);
        Ok(Self { file, sealer, authenticated, sealed: size - HEADER_BYTES as u64, held: Mutex::default() })
    }

    /// How many bytes the archive holds.
    pub fn len(&self) -> u64 {
        let chunks = self.sealed.div_ceil(SEALED_CHUNK as u64);
        self.sealed.saturating_sub(chunks * TAG_BYTES as u64)
    }

    /// Whether the archive holds no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes at a place; fewer than asked for only at the end.
    ///
    /// # Errors
    /// [`ArchiveError::Damaged`], and errors of the disk.
    pub fn read(&self, range: Range<u64>) -> Result<Vec<u8>, ArchiveError> {
        let end = range.end.min(self.len());
        let mut at = range.start;
        let mut bytes = Vec::with_capacity(usize::try_from(end.saturating_sub(at)).unwrap_or(0));
        // The end is checked by every read, so that an archive without its end never looks whole.
        let last = self.sealed.div_ceil(SEALED_CHUNK as u64) - 1;
        if at >= end && range.start >= self.len() {
            self.with_chunk(last, |_| ())?;
        }
        while at < end {
            let number = at / CHUNK_BYTES as u64;
            let from = usize::try_from(at % CHUNK_BYTES as u64).unwrap_or(0);
            let wanted = usize::try_from(end - at).unwrap_or(usize::MAX).min(CHUNK_BYTES - from);
            self.with_chunk(number, |plain| {
                bytes.extend_from_slice(plain.get(from..from + wanted).unwrap_or_default())
            })?;
            at += wanted as u64;
        }
        Ok(bytes)
    }

    fn with_chunk(&self, number: u64, act: impl FnOnce(&[u8])) -> Result<(), ArchiveError> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, plain)) = held.as_ref().filter(|(of, _)| *of == number) {
            act(plain);
            return Ok(());
        }
        let start = number * SEALED_CHUNK as u64;
        let len = (self.sealed - start).min(SEALED_CHUNK as u64);
        let last = start + len == self.sealed;
        let offset = HEADER_BYTES as u64 + start;
        let damaged = || ArchiveError::Damaged { offset };
        let len = usize::try_from(len).map_err(|_| damaged())?;
        let mut plain = read_exact_at(&*self.file, offset, len)?;
        open_chunk(&self.sealer, &self.authenticated, number, last, &mut plain).map_err(|_| damaged())?;
        act(&plain);
        *held = Some((number, Zeroizing::new(plain)));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::base::rng::SeededRng;
    use crate::store::vfs::{MemVfs, Vfs};

    fn write(bytes: &[u8]) -> MemVfs {
        let mut archive = ArchiveWriter::new(Vec::new(), &passphrase("right"), &mut SeededRng::new(1)).unwrap();
        bytes.chunks(10_000).for_each(|part| archive.push(part).unwrap());
        let sealed = archive.finish().unwrap();
        let vfs = MemVfs::new();
        vfs.create_excl(Path::new("/a")).unwrap().write_at(0, &sealed).unwrap();
        vfs
    }

    fn open(vfs: &MemVfs) -> Result<Archive, ArchiveError> {
        Archive::open(vfs.open(Path::new("/a"))?, &passphrase("right"))
    }

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::new(text.to_owned())
    }

    #[test]
    fn any_part_is_read_as_it_was_written() {
        let bytes: Vec<u8> = (0..200_000_u32).map(|n| (n * 7 % 251) as u8).collect();
        for len in [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES, 200_000] {
            let archive = open(&write(&bytes[..len])).unwrap();
            assert_eq!(archive.len(), len as u64);
            assert_eq!(archive.is_empty(), len == 0);
            for (start, end) in [(0, len), (len / 3, len / 2), (len, len + 5), (len / 2, len + 100)] {
                let part = archive.read(start as u64..end as u64).unwrap();
                assert_eq!(part, &bytes[start..end.min(len)]);
            }
        }
    }

    #[test]
    fn what_was_changed_cut_or_locked_otherwise_is_refused_by_name() {
        let vfs = write(&[1; 150_000]);
        let path = Path::new("/a");
        let wrong = Archive::open(vfs.open(path).unwrap(), &passphrase("wrong"));
        assert!(matches!(wrong, Err(ArchiveError::WrongPassphrase)));
        let changed = |change: &dyn Fn(&mut Vec<u8>)| {
            let copy = vfs.crash(crate::store::vfs::CrashMode::Kill, &mut SeededRng::new(1));
            copy.tamper(path, |bytes| change(bytes)).unwrap();
            open(&copy).and_then(|archive| archive.read(0..u64::MAX))
        };
        assert_eq!(changed(&|_| ()).unwrap().len(), 150_000);
        assert!(matches!(changed(&|bytes| bytes[70_000] ^= 1), Err(ArchiveError::Damaged { offset: 65_808 })));
        assert!(matches!(changed(&|bytes| bytes.truncate(65_808)), Err(ArchiveError::Damaged { .. })));
        assert!(matches!(changed(&|bytes| bytes.truncate(100_000)), Err(ArchiveError::Damaged { .. })));
        assert!(matches!(changed(&|bytes| bytes.truncate(200)), Err(ArchiveError::NotAnArchive)));
        assert!(matches!(changed(&|bytes| bytes[0] ^= 1), Err(ArchiveError::NotAnArchive)));
        assert!(matches!(changed(&|bytes| bytes[8] = 2), Err(ArchiveError::Damaged { offset: 8 })), "no later version");
        let later = |bytes: &mut Vec<u8>| {
            bytes[8] = 2;
            bytes[70] ^= 1;
        };
        assert!(matches!(changed(&later), Err(ArchiveError::Version)));
        assert!(matches!(changed(&|bytes| bytes[30] ^= 1), Err(ArchiveError::WrongPassphrase)));
        assert!(matches!(changed(&|bytes| bytes[19] = 255), Err(ArchiveError::Damaged { offset: 16 })));
    }

    #[test]
    fn every_byte_of_the_header_counts() {
        let vfs = write(b"content");
        for place in 0..HEADER_BYTES {
            vfs.tamper(Path::new("/a"), |bytes| bytes[place] ^= 1).unwrap();
            assert!(open(&vfs).is_err(), "byte {place}");
            vfs.tamper(Path::new("/a"), |bytes| bytes[place] ^= 1).unwrap();
        }
        open(&vfs).unwrap();
    }

    #[test]
    fn a_backup_that_was_locked_with_another_form_of_the_text_still_opens() {
        for given in ["cafe\u{301}", "\u{feff}caf\u{e9}"] {
            let earlier = Passphrase::of_earlier_version(given.to_owned());
            let sealed = ArchiveWriter::new(Vec::new(), &earlier, &mut SeededRng::new(1)).unwrap().finish().unwrap();
            let vfs = MemVfs::new();
            vfs.create_excl(Path::new("/a")).unwrap().write_at(0, &sealed).unwrap();
            let opens = |text: &str| Archive::open(vfs.open(Path::new("/a")).unwrap(), &passphrase(text));
            assert!(opens(given).is_ok(), "{given:?}");
            assert!(matches!(opens("caf\u{e9}"), Err(ArchiveError::WrongPassphrase)));
        }
    }
}
