//! A checkpoint: the state of an identity as records, and where every body is, at one place of the log
//! (docs/on-disk.md, "Checkpoints"). A start reads the newest one and the log behind it; the log before it is needed
//! only for the bodies in it.
//!
//! A checkpoint is written under a temporary name, read back, and only then given its name. A damaged checkpoint stops
//! the start, unless an older one, or the whole log, is still there.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::segment::{BodyEntry, Place, is_ours};
use crate::base::{Rng, SymmetricKey};
use crate::store::codec::{Fields, put_len};
use crate::store::crypt::{Chunks, NONCE_BYTES, SEALED_CHUNK, Sealer, TAG_BYTES, open_chunk};
use crate::store::vfs::{TEMPORARY, Vfs, VfsFile, read_exact_at};

/// Bytes of a checkpoint's header.
const HEADER_BYTES: usize = 256;
const MAGIC: &[u8; 8] = b"RUNECKPT";
const VERSION: u16 = 1;
const AUTHENTICATED: usize = 80;
const WRAPPED_BYTES: usize = NONCE_BYTES + 32 + TAG_BYTES;
/// A checkpoint is written in pieces of about this many bytes.
const PIECE_BYTES: usize = 1 << 20;

/// The place in the log up to which a checkpoint holds everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// The number of the last record that it holds.
    pub(super) number: u64,
    /// The segment in which that record is.
    pub(super) segment: u64,
    /// The id of that segment.
    pub(super) segment_id: [u8; 16],
    /// The offset in it at which the next transaction begins.
    pub(super) offset: u64,
    /// The place of the next transaction in it, from 0.
    pub(super) counter: u64,
    /// The number of its next record.
    pub(super) next: u64,
}

/// The contents of a checkpoint.
#[derive(Debug)]
pub(super) struct Checkpoint {
    pub(super) mark: Mark,
    /// The state, as records that lead to it.
    pub(super) records: Vec<Vec<u8>>,
    /// Every body, and whether it is there only because others share their end with it.
    pub(super) bodies: Vec<(BodyEntry, bool)>,
}

/// Why a checkpoint cannot be used.
#[derive(Debug)]
pub(super) enum CheckpointError {
    Io(io::Error),
    Damaged,
    Version,
}

impl From<io::Error> for CheckpointError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The file of a checkpoint.
pub(in crate::store) fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:016x}.ckp"))
}

/// The number in a checkpoint's file name.
pub(in crate::store) fn number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".ckp")?;
    let number = u64::from_str_radix(digits, 16).ok()?;
    (digits == format!("{number:016x}") && number > 0).then_some(number)
}

impl Checkpoint {
    /// Writes the checkpoint, durably and read back, under this number, which no file has.
    pub(super) fn write(
        &self,
        vfs: &dyn Vfs,
        dir: &Path,
        number: u64,
        wrap: &Sealer,
        rng: &mut dyn Rng,
    ) -> Result<(), CheckpointError> {
        let unique = data_encoding::HEXLOWER.encode(&rng.array::<8>());
        let temporary = dir.join(format!("{TEMPORARY}{unique}"));
        let written = self.write_to(vfs, &temporary, wrap, rng).and_then(|()| {
            // The files that it replaces will be removed, so the bytes are read back first.
            let read = Self::read(vfs, &temporary, wrap)?;
            let same = read.mark == self.mark
                && read.records.len() == self.records.len()
                && read.bodies.len() == self.bodies.len();
            if same { Ok(()) } else { Err(CheckpointError::Damaged) }
        });
        let named = written.and_then(|()| Ok(vfs.rename_noreplace(&temporary, &path(dir, number))?));
        if named.is_err() {
            // The temporary file may not exist; if it stays, the next start removes it.
            let _ = vfs.unlink(&temporary);
        }
        named?;
        Ok(vfs.sync_dir(dir)?)
    }

    fn write_to(&self, vfs: &dyn Vfs, path: &Path, wrap: &Sealer, rng: &mut dyn Rng) -> Result<(), CheckpointError> {
        let key = SymmetricKey::random(rng);
        let mut piece = self.mark.encode(&key, wrap, rng);
        let authenticated = piece.get(..AUTHENTICATED).unwrap_or_default().to_vec();
        let file = vfs.create_excl(path)?;
        let mut chunks = Chunks::new(&key, &authenticated);
        let mut offset = 0;
        let mut flush = |piece: &mut Vec<u8>, least: usize| -> io::Result<()> {
            if piece.len() >= least {
                file.write_at(offset, piece)?;
                offset += piece.len() as u64;
                piece.clear();
            }
            Ok(())
        };
        let mut plain = Zeroizing::new(Vec::new());
        put_len(&mut plain, self.records.len());
        put_len(&mut plain, self.bodies.len());
        for record in &self.records {
            put_len(&mut plain, record.len());
            plain.extend_from_slice(record);
            chunks.push(&plain, &mut piece);
            plain.clear();
            flush(&mut piece, PIECE_BYTES)?;
        }
        for (entry, hidden) in &self.bodies {
            let segment = match entry.place {
                Place::Inline { segment, .. } => segment,
                Place::Blob(_) => 0,
            };
            plain.extend_from_slice(&segment.to_le_bytes());
            plain.push(u8::from(*hidden));
            entry.encode(&mut plain);
            chunks.push(&plain, &mut piece);
            plain.clear();
            flush(&mut piece, PIECE_BYTES)?;
        }
        chunks.push(&plain, &mut piece);
        chunks.finish(&mut piece);
        flush(&mut piece, 0)?;
        Ok(file.sync()?)
    }

    /// Reads a checkpoint, whole.
    pub(super) fn read(vfs: &dyn Vfs, path: &Path, wrap: &Sealer) -> Result<Self, CheckpointError> {
        let file = vfs.open(path)?;
        let size = file.size()?;
        let header = read_exact_at(&*file, 0, HEADER_BYTES).map_err(short)?;
        let (mark, key) = Mark::decode(&header, wrap)?;
        let authenticated = header.get(..AUTHENTICATED).unwrap_or_default();
        let plain = open_all(&*file, size, &Sealer::new(&key), authenticated)?;
        let mut fields = Fields(&plain);
        Self::decode(mark, &mut fields).filter(|_| fields.is_empty()).ok_or(CheckpointError::Damaged)
    }

    /// The segments in which bodies lie.
    pub(super) fn holding(&self) -> BTreeSet<u64> {
        let segment = |(entry, _): &(BodyEntry, bool)| match entry.place {
            Place::Inline { segment, .. } => Some(segment),
            Place::Blob(_) => None,
        };
        self.bodies.iter().filter_map(segment).collect()
    }

    fn decode(mark: Mark, fields: &mut Fields<'_>) -> Option<Self> {
        let (records, bodies) = (fields.u32()?, fields.u32()?);
        let mut read = Self { mark, records: Vec::new(), bodies: Vec::new() };
        for _ in 0..records {
            let len = usize::try_from(fields.u32()?).ok()?;
            read.records.push(fields.take(len)?.to_vec());
        }
        for _ in 0..bodies {
            let segment = fields.u64()?;
            let hidden = fields.u8()? != 0;
            read.bodies.push((BodyEntry::decode(fields, segment)?, hidden));
        }
        Some(read)
    }
}

impl Mark {
    fn encode(&self, key: &SymmetricKey, wrap: &Sealer, rng: &mut dyn Rng) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; 6]);
        for field in [self.number, self.segment, self.offset, self.counter, self.next] {
            bytes.extend_from_slice(&field.to_le_bytes());
        }
        bytes.extend_from_slice(&self.segment_id);
        bytes.resize(AUTHENTICATED, 0);
        let wrapped = wrap.seal_value(&bytes, key.expose(), rng);
        bytes.extend_from_slice(&wrapped);
        bytes.resize(HEADER_BYTES, 0);
        bytes
    }

    fn decode(bytes: &[u8], wrap: &Sealer) -> Result<(Self, SymmetricKey), CheckpointError> {
        Self::parse(bytes, wrap).unwrap_or(Err(CheckpointError::Damaged))
    }

    fn parse(bytes: &[u8], wrap: &Sealer) -> Option<Result<(Self, SymmetricKey), CheckpointError>> {
        let (authenticated, rest) = bytes.split_at_checked(AUTHENTICATED)?;
        let mut fields = Fields(authenticated);
        if fields.array()? != *MAGIC {
            return None;
        }
        let version = fields.u16()?;
        let wrapped = rest.get(..WRAPPED_BYTES)?;
        if version != VERSION {
            let is_later = version > VERSION && !is_ours(authenticated, VERSION, wrapped, wrap);
            return is_later.then_some(Err(CheckpointError::Version));
        }
        fields.take(6)?;
        let mark = Self {
            number: fields.u64()?,
            segment: fields.u64()?,
            offset: fields.u64()?,
            counter: fields.u64()?,
            next: fields.u64()?,
            segment_id: fields.array()?,
        };
        let key = wrap.open_value(authenticated, wrapped).ok().map(Zeroizing::new)?;
        Some(Ok((mark, SymmetricKey::from_bytes(key.as_slice().try_into().ok()?))))
    }
}

fn open_all(
    file: &dyn VfsFile,
    size: u64,
    sealer: &Sealer,
    authenticated: &[u8],
) -> Result<Zeroizing<Vec<u8>>, CheckpointError> {
    let content = size.checked_sub(HEADER_BYTES as u64).ok_or(CheckpointError::Damaged)?;
    let chunks = content.div_ceil(SEALED_CHUNK as u64).max(1);
    let mut plain = Zeroizing::new(Vec::new());
    for counter in 0..chunks {
        let begin = counter * SEALED_CHUNK as u64;
        let len = usize::try_from((content - begin).min(SEALED_CHUNK as u64)).map_err(|_| CheckpointError::Damaged)?;
        let mut chunk = read_exact_at(file, HEADER_BYTES as u64 + begin, len).map_err(short)?;
        open_chunk(sealer, authenticated, counter, counter + 1 == chunks, &mut chunk)
            .map_err(|_| CheckpointError::Damaged)?;
        plain.extend_from_slice(&chunk);
    }
    Ok(plain)
}

/// A file that ends too soon was cut.
fn short(error: io::Error) -> CheckpointError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => CheckpointError::Damaged,
        _ => CheckpointError::Io(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::BodyId;
    use crate::base::rng::SeededRng;
    use crate::store::log::segment::BodyTail;
    use crate::store::vfs::{FaultVfs, MemVfs};

    fn wrap() -> Sealer {
        Sealer::new(&SymmetricKey::from_bytes([9; 32]))
    }

    fn checkpoint(records: usize) -> Checkpoint {
        let mark = Mark { number: 77, segment: 3, segment_id: [5; 16], offset: 999, counter: 4, next: 80 };
        let entry = |n: u8, place, tail| BodyEntry {
            id: BodyId::from_bytes([n; 16]),
            key: SymmetricKey::from_bytes([n; 32]),
            place,
            len: 10,
            tail,
        };
        let tail = Some(BodyTail { of: BodyId::from_bytes([1; 16]), from: 2, len: 8 });
        let bodies = vec![
            (entry(1, Place::Inline { segment: 2, offset: 300 }, None), true),
            (entry(2, Place::Blob([7; 16]), tail), false),
        ];
        let records = (0..records).map(|n| format!("canary record {n}").into_bytes()).collect();
        Checkpoint { mark, records, bodies }
    }

    fn write(vfs: &MemVfs, checkpoint: &Checkpoint) -> PathBuf {
        checkpoint.write(vfs, Path::new("/"), 6, &wrap(), &mut SeededRng::new(1)).unwrap();
        path(Path::new("/"), 6)
    }

    #[test]
    fn what_was_written_is_read_whole_and_nothing_of_it_is_readable() {
        for records in [0, 1, 20_000] {
            let vfs = MemVfs::new();
            let written = checkpoint(records);
            let read = Checkpoint::read(&vfs, &write(&vfs, &written), &wrap()).unwrap();
            assert_eq!((read.mark, &read.records), (written.mark, &written.records));
            let shape = |checkpoint: &Checkpoint| format!("{:?}", checkpoint.bodies);
            assert_eq!(shape(&read), shape(&written));
            for (_, bytes) in vfs.files() {
                assert!(!bytes.windows(6).any(|window| window == b"canary"));
            }
        }
    }

    #[test]
    fn a_large_one_is_written_in_pieces_and_read_whole() {
        let mut written = checkpoint(0);
        written.records = (0..350_usize).map(|n| vec![(n % 251) as u8; 10_000]).collect();
        let entry = |n: u32| {
            let (first, _) = &checkpoint(0).bodies[0];
            let mut id = [0; 16];
            id[..4].copy_from_slice(&n.to_be_bytes());
            (BodyEntry { id: BodyId::from_bytes(id), ..first.clone() }, n.is_multiple_of(3))
        };
        written.bodies = (0..20_000).map(entry).collect();
        let vfs = MemVfs::new();
        let read = Checkpoint::read(&vfs, &write(&vfs, &written), &wrap()).unwrap();
        assert!(read.records == written.records);
        assert!(format!("{:?}", read.bodies) == format!("{:?}", written.bodies));
        assert_eq!(read.holding(), BTreeSet::from([2]));
        // No more than one piece is held in memory: the file is written in pieces, with one step for each.
        let faulty = FaultVfs::new(std::sync::Arc::new(MemVfs::new()), None);
        let steps = |checkpoint: &Checkpoint| {
            let before = faulty.steps();
            checkpoint.write_to(&faulty, Path::new(&format!("/{before}")), &wrap(), &mut SeededRng::new(1)).unwrap();
            faulty.steps() - before
        };
        let bytes = vfs.files()[0].1.len();
        assert!(bytes > 4 * PIECE_BYTES);
        assert_eq!(steps(&written) - steps(&checkpoint(0)), (bytes / PIECE_BYTES) as u64);
    }

    #[test]
    fn one_that_was_cut_anywhere_or_is_of_a_later_version_is_named() {
        let vfs = MemVfs::new();
        let path = write(&vfs, &checkpoint(5));
        let whole = vfs.files()[0].1.clone();
        for left in [0, 1, AUTHENTICATED, HEADER_BYTES - 1, HEADER_BYTES, HEADER_BYTES + 1, HEADER_BYTES + TAG_BYTES] {
            vfs.tamper(&path, |bytes| *bytes = whole[..left].to_vec()).unwrap();
            assert!(matches!(Checkpoint::read(&vfs, &path, &wrap()), Err(CheckpointError::Damaged)), "{left}");
        }
        vfs.tamper(&path, |bytes| *bytes = [&whole[..], b"x"].concat()).unwrap();
        assert!(matches!(Checkpoint::read(&vfs, &path, &wrap()), Err(CheckpointError::Damaged)));
        vfs.tamper(&path, |bytes| {
            *bytes = whole.clone();
            bytes[8] = 2;
        })
        .unwrap();
        // A later version authenticates its version number too; a number that was only changed is damage.
        assert!(matches!(Checkpoint::read(&vfs, &path, &wrap()), Err(CheckpointError::Damaged)));
        vfs.tamper(&path, |bytes| bytes[AUTHENTICATED] ^= 1).unwrap();
        assert!(matches!(Checkpoint::read(&vfs, &path, &wrap()), Err(CheckpointError::Version)));
        let absent = Checkpoint::read(&vfs, Path::new("/none"), &wrap());
        assert!(matches!(absent, Err(CheckpointError::Io(error)) if error.kind() == io::ErrorKind::NotFound));
    }

    #[test]
    fn file_names_round_trip_and_others_are_no_checkpoints() {
        assert_eq!(number(path(Path::new("/"), 0xabc).file_name().unwrap().to_str().unwrap()), Some(0xabc));
        for name in
            ["1.ckp", "0000000000000000.ckp", "000000000000000A.ckp", "0000000000000001", "0000000000000001.seg"]
        {
            assert_eq!(number(name), None, "{name}");
        }
    }

    #[test]
    fn any_change_shows() {
        let vfs = MemVfs::new();
        let path = write(&vfs, &checkpoint(5));
        let size = vfs.files()[0].1.len();
        for place in (0..AUTHENTICATED + WRAPPED_BYTES).chain(HEADER_BYTES..size) {
            vfs.tamper(&path, |bytes| bytes[place] ^= 1).unwrap();
            assert!(Checkpoint::read(&vfs, &path, &wrap()).is_err(), "byte {place}");
            vfs.tamper(&path, |bytes| bytes[place] ^= 1).unwrap();
        }
        vfs.tamper(&path, |bytes| bytes.truncate(size - 1)).unwrap();
        assert!(matches!(Checkpoint::read(&vfs, &path, &wrap()), Err(CheckpointError::Damaged)));
        vfs.tamper(&path, |bytes| bytes.truncate(100)).unwrap();
        assert!(matches!(Checkpoint::read(&vfs, &path, &wrap()), Err(CheckpointError::Damaged)));
    }

    #[test]
    fn one_that_cannot_be_read_back_gets_no_name() {
        use crate::store::vfs::{Fault, Plan};
        for step in 1.. {
            let vfs = MemVfs::new();
            let plan = Plan { step, fault: Fault::ShortWrite, sticky: false };
            let faulty = FaultVfs::new(std::sync::Arc::new(vfs.clone()), Some(plan));
            let written = checkpoint(9).write(&faulty, Path::new("/"), 6, &wrap(), &mut SeededRng::new(1));
            if !faulty.fired() {
                assert!(step > 6, "{step}");
                break;
            }
            let named = vfs.files().iter().any(|(file, _)| *file == path(Path::new("/"), 6));
            assert!(!named || Checkpoint::read(&vfs, &path(Path::new("/"), 6), &wrap()).is_ok(), "step {step}");
            assert!(written.is_err(), "step {step}");
        }
    }
}
