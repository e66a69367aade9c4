//! The view: a cache in sled of what can be computed from the logs (docs/on-disk.md, "View").
//!
//! It is never on a commit path, may lose anything it was given, and may be deleted at any time. sled 0.34 can fail to
//! open what a power cut left, and can panic: both end in an empty view. States: working, or off (the directory cannot
//! be used, or sled failed while running). A view that is off stores nothing and returns nothing; the next start makes
//! it anew. All values are sealed and all keys are keyed hashes.

mod state;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use zeroize::Zeroizing;

use self::state::{ChunkName, Manifest, cut};
use crate::base::limits::{VIEW_CACHE_BYTES, VIEW_VALUE_BYTES, VIEW_WAITING, VIEW_WASTE_BYTES};
use crate::base::{BodyId, IdentityId, SymmetricKey};
use crate::store::crypt::{OsRng, Sealer, derive, mac};
use crate::store::log::LogPosition;
use crate::store::vfs::{RealVfs, Vfs};

/// The cache of a node. Dropping it writes everything that waits.
pub struct View {
    core: Arc<Core>,
    thread: Option<JoinHandle<()>>,
    /// Disconnected when the thread has ended.
    ended: Mutex<Receiver<()>>,
}

/// The part of the cache that belongs to one identity.
#[derive(Clone)]
pub struct IdentityView {
    inner: Arc<Inner>,
}

struct Inner {
    core: Arc<Core>,
    tree: Held<sled::Tree>,
    sealer: Sealer,
    names: SymmetricKey,
    /// The chunks of the state that is stored. Locked while a state is saved.
    stored: Mutex<BTreeSet<ChunkName>>,
}

struct Core {
    path: PathBuf,
    db: Held<sled::Db>,
    off: AtomicBool,
    jobs: Mutex<Option<SyncSender<Job>>>,
}

enum Job {
    Apply(Held<sled::Tree>, sled::Batch),
    /// A request to make everything before it durable, and then to answer.
    Flush(SyncSender<()>),
}

/// A value of sled's. Dropping the last one writes, and sled panics where that fails: the panic is caught here.
struct Held<T>(Option<T>);

impl<T> Held<T> {
    const fn get(&self) -> Option<&T> {
        self.0.as_ref()
    }
}

impl<T> Drop for Held<T> {
    fn drop(&mut self) {
        let held = self.0.take();
        if catch_unwind(AssertUnwindSafe(|| drop(held))).is_err() {
            tracing::warn!("the view could not be closed; it is made anew where it does not open again");
        }
    }
}

/// A file in the directory of a view that failed while running: the next start makes the view anew.
const FAILED: &str = "failed";
/// A file with which it is tested whether the disk can write.
const PROBE: &str = "probe";
/// Rows are made durable at the latest after this much silence.
const QUIET: Duration = Duration::from_secs(5);
/// The longest that anything waits for the view's writer.
const STALL: Duration = Duration::from_secs(10);
/// A view this many times as large as its contents is made anew. (sled never shrinks, and needs about twice by itself.)
const WASTE: u64 = 4;

impl View {
    /// Opens the cache in this directory, `<data>/view`. A cache that cannot be opened is deleted and made anew; where
    /// even that fails, the view is off. Only one view may be open on a directory; all [`IdentityView`]s of the last
    /// one must be dropped before.
    pub fn open(path: &Path) -> Self {
        let db = Held(open_or_rebuild(path));
        let off = AtomicBool::new(db.get().is_none());
        let core = Arc::new(Core { path: path.to_owned(), db, off, jobs: Mutex::new(None) });
        let (sender, receiver) = sync_channel(VIEW_WAITING);
        let on_thread = Arc::clone(&core);
        let (running, ended) = sync_channel(0);
        let work = move || {
            on_thread.run(&receiver);
            drop(running);
        };
        let thread = thread::Builder::new().name("view".to_owned()).spawn(work).ok();
        if thread.is_some() {
            *core.jobs.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        }
        Self { core, thread, ended: Mutex::new(ended) }
    }

    /// The part of the cache that belongs to one identity.
    pub fn identity(&self, id: IdentityId, key: &SymmetricKey) -> IdentityView {
        let names = derive(key, "runepeer view names 1");
        let sealer = Sealer::new(&derive(key, "runepeer view values 1"));
        let tree = mac(&names, id.as_bytes());
        let tree = Held(self.core.guard(|db| db.open_tree(tree)));
        let core = Arc::clone(&self.core);
        IdentityView { inner: Arc::new(Inner { core, tree, sealer, names, stored: Mutex::default() }) }
    }

    /// Drops the part of an identity that is removed. What sled leaves of it on the disk is sealed.
    pub fn forget(&self, id: IdentityId, key: &SymmetricKey) {
        let tree = mac(&derive(key, "runepeer view names 1"), id.as_bytes());
        self.core.guard(|db| db.drop_tree(tree));
    }

    /// Whether the cache works.
    pub fn is_on(&self) -> bool {
        !self.core.off.load(Ordering::SeqCst)
    }
}

impl Drop for View {
    fn drop(&mut self) {
        self.core.jobs.lock().unwrap_or_else(PoisonError::into_inner).take();
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(STALL);
        match (ended, self.thread.take()) {
            (Err(RecvTimeoutError::Disconnected), Some(thread)) => drop(thread.join()),
            (_, None) => {}
            // A thread of sled's own panicked, and our thread waits for it: nothing else has to wait.
            _ => self.core.fail("it does not answer"),
        }
    }
}

impl IdentityView {
    /// The saved state and its position; the log decides whether that still fits ([`crate::store::Log::open`]). To be called
    /// before the first [`IdentityView::save_state`], which removes the state that this reads.
    pub fn load_state(&self) -> Option<(LogPosition, Vec<u8>)> {
        let inner = &*self.inner;
        let manifest = inner.get(inner.name("state", &[]))?;
        let read = postcard::from_bytes::<Manifest>(&manifest).ok().and_then(|manifest| {
            let state = inner.read_chunks(&manifest.chunks)?;
            Some((manifest, state))
        });
        let Some((manifest, state)) = read else {
            // Without this, nothing would ever remove the chunks that are left.
            inner.tree.get().and_then(|tree| inner.core.guard(|_| tree.clear()));
            return None;
        };
        *inner.stored.lock().unwrap_or_else(PoisonError::into_inner) = manifest.chunks.iter().copied().collect();
        Some((manifest.position, state))
    }

    /// Saves a state: the fold of all records up to the position. Only chunks that changed are written. Hashing and
    /// sealing happen in this call, at some hundred MiB per second. The state may be lost.
    pub fn save_state(&self, position: &LogPosition, state: &[u8]) {
        let inner = &*self.inner;
        let chunks: Vec<_> = cut(state).into_iter().map(|chunk| (inner.chunk_name(chunk), chunk)).collect();
        let names = chunks.iter().map(|(name, _)| *name).collect();
        let Ok(manifest) = postcard::to_stdvec(&Manifest { position: position.clone(), chunks: names }) else { return };
        if manifest.len() > VIEW_VALUE_BYTES {
            // A state above about 120 MiB is not kept: every start then replays the log.
            return;
        }
        let mut stored = inner.stored.lock().unwrap_or_else(PoisonError::into_inner);
        let mut batch = sled::Batch::default();
        let mut kept = BTreeSet::new();
        for (name, chunk) in chunks {
            if kept.insert(name) && !stored.contains(&name) {
                inner.put(&mut batch, inner.chunk_key(name), chunk);
            }
        }
        for name in stored.difference(&kept) {
            batch.remove(&inner.chunk_key(*name));
        }
        inner.put(&mut batch, inner.name("state", &[]), &manifest);
        // The lock is still held: two saves must not overtake each other.
        if inner.send(batch) {
            *stored = kept;
        }
    }

    /// The value that was stored for this body, if it is still there.
    pub fn get_row(&self, id: BodyId) -> Option<Vec<u8>> {
        self.inner.get(self.inner.name("row", id.as_bytes()))
    }

    /// Stores a value for a body; returns at once. May be lost; one above 64 KiB is not taken.
    pub fn put_row(&self, id: BodyId, value: &[u8]) {
        if value.len() < VIEW_VALUE_BYTES {
            let mut batch = sled::Batch::default();
            self.inner.put(&mut batch, self.inner.name("row", id.as_bytes()), value);
            self.inner.send(batch);
        }
    }

    /// Removes the values of bodies that no longer exist.
    pub fn remove_rows(&self, ids: &[BodyId]) {
        let mut batch = sled::Batch::default();
        for id in ids {
            batch.remove(&self.inner.name("row", id.as_bytes()));
        }
        self.inner.send(batch);
    }

    /// Waits until everything that was stored before is on the disk, or the view is off.
    pub fn flush(&self) {
        let (sender, receiver) = sync_channel(1);
        if let Some(jobs) = self.inner.core.sender()
            && jobs.try_send(Job::Flush(sender)).is_ok()
        {
            drop(jobs);
            if receiver.recv_timeout(STALL) == Err(RecvTimeoutError::Timeout) {
                self.inner.core.fail("it does not answer");
            }
        }
    }
}

impl Inner {
    fn name(&self, kind: &str, name: &[u8]) -> [u8; 32] {
        mac(&self.names, &[kind.as_bytes(), &[0], name].concat())
    }

    fn chunk_name(&self, content: &[u8]) -> ChunkName {
        let mut name = ChunkName::default();
        name.iter_mut().zip(self.name("content", content)).for_each(|(to, from)| *to = from);
        name
    }

    fn chunk_key(&self, name: ChunkName) -> [u8; 32] {
        self.name("chunk", &name)
    }

    fn read_chunks(&self, names: &[ChunkName]) -> Option<Vec<u8>> {
        let mut state = Vec::new();
        for name in names {
            let bytes = Zeroizing::new(self.get(self.chunk_key(*name))?);
            if self.chunk_name(&bytes) != *name {
                return None;
            }
            state.extend_from_slice(&bytes);
        }
        Some(state)
    }

    fn put(&self, batch: &mut sled::Batch, key: [u8; 32], value: &[u8]) {
        batch.insert(&key, self.sealer.seal_value(&key, value, &mut OsRng));
    }

    fn get(&self, key: [u8; 32]) -> Option<Vec<u8>> {
        let tree = self.tree.get()?;
        let sealed = self.core.guard(|_| tree.get(key))??;
        self.sealer.open_value(&key, &sealed).ok()
    }

    /// Whether the writer accepts the batch. If it is too far behind, the values are lost, and computed again when they
    /// are needed.
    fn send(&self, batch: sled::Batch) -> bool {
        let (Some(tree), Some(jobs)) = (self.tree.get(), self.core.sender()) else { return false };
        jobs.try_send(Job::Apply(Held(Some(tree.clone())), batch)).is_ok()
    }
}

impl Core {
    fn sender(&self) -> Option<SyncSender<Job>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Does something with sled, unless the view is off; an error or a panic turns it off.
    fn guard<T>(&self, act: impl FnOnce(&sled::Db) -> sled::Result<T>) -> Option<T> {
        let db = self.db.get().filter(|_| !self.off.load(Ordering::SeqCst))?;
        match catch_unwind(AssertUnwindSafe(|| act(db))) {
            Ok(Ok(value)) => Some(value),
            failed => {
                let error = failed.map_or_else(
                    |_| "it panicked".to_owned(),
                    |result| result.err().map_or_else(String::new, |error| error.to_string()),
                );
                self.fail(&error);
                None
            }
        }
    }

    fn fail(&self, reason: &str) {
        if !self.off.swap(true, Ordering::SeqCst) {
            tracing::warn!(reason, "the view failed; going on without it until the next start");
            let _ = File::create(self.path.join(FAILED));
        }
    }

    fn run(&self, jobs: &Receiver<Job>) {
        let mut dirty = false;
        loop {
            match jobs.recv_timeout(QUIET) {
                Ok(Job::Apply(tree, batch)) => {
                    dirty = true;
                    self.guard(|_| tree.get().map_or(Ok(()), |tree| tree.apply_batch(batch)));
                }
                Ok(Job::Flush(answer)) => {
                    self.flush(&mut dirty);
                    let _ = answer.send(());
                }
                Err(RecvTimeoutError::Timeout) => self.flush(&mut dirty),
                Err(RecvTimeoutError::Disconnected) => {
                    self.flush(&mut dirty);
                    return;
                }
            }
        }
    }

    /// sled's own flush is no fsync: the file is synced on a descriptor of ours.
    fn flush(&self, dirty: &mut bool) {
        if std::mem::take(dirty) {
            self.guard(|db| {
                db.flush()?;
                File::open(self.path.join("db"))?.sync_all()?;
                Ok(())
            });
        }
    }
}

fn open_or_rebuild(path: &Path) -> Option<sled::Db> {
    if let Err(error) = RealVfs.mkdir(path).and_then(|()| try_to_sync(path)) {
        tracing::warn!(%error, "the view cannot be used");
        return None;
    }
    let reason = if path.join(FAILED).exists() {
        "it failed in the run before".to_owned()
    } else {
        match try_open(path) {
            Ok(db) if !is_wasteful(&db, VIEW_WASTE_BYTES) => return Some(db),
            Ok(db) => {
                drop(Held(Some(db)));
                "it is much larger than what it holds".to_owned()
            }
            Err(Failure::Locked) => {
                tracing::warn!("the view is in use by another process; going on without it");
                return None;
            }
            Err(Failure::Broken(reason)) => reason,
        }
    };
    tracing::info!(reason, "the view is made anew");
    let made = fs::remove_dir_all(path).and_then(|()| RealVfs.mkdir(path)).map_err(|error| error.to_string());
    match made.and_then(|()| try_open(path).map_err(|_| "sled does not open an empty directory".to_owned())) {
        Ok(db) => Some(db),
        Err(error) => {
            tracing::warn!(error, "the view cannot be made; going on without it");
            None
        }
    }
}

/// Whether the disk can write here. sled cannot be used to find out: it panics.
fn try_to_sync(path: &Path) -> io::Result<()> {
    let probe = path.join(PROBE);
    match fs::remove_file(&probe) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = File::create_new(&probe)?;
    let synced = file.sync_data().and_then(|()| file.sync_all());
    fs::remove_file(probe)?;
    synced
}

enum Failure {
    Locked,
    Broken(String),
}

/// Opens the database with the precautions that sled 0.34 needs to survive a power cut.
fn try_open(path: &Path) -> Result<sled::Db, Failure> {
    let broken = |error: io::Error| Failure::Broken(error.to_string());
    // An unfinished snapshot would be read as the newest one.
    for name in RealVfs.list(path).map_err(broken)? {
        if name.starts_with("snap.") && name.ends_with(".generating") {
            RealVfs.unlink(&path.join(name)).map_err(broken)?;
        }
    }
    let config =
        sled::Config::new().path(path).cache_capacity(VIEW_CACHE_BYTES).flush_every_ms(None).mode(sled::Mode::LowSpace);
    let db = match catch_unwind(AssertUnwindSafe(|| config.open())) {
        Ok(Ok(db)) => db,
        Ok(Err(error)) => {
            let text = error.to_string();
            return Err(if text.contains("could not acquire lock") { Failure::Locked } else { Failure::Broken(text) });
        }
        Err(_) => return Err(Failure::Broken("sled panicked".to_owned())),
    };
    if let Err(error) = sync_all(path) {
        drop(Held(Some(db)));
        return Err(broken(error));
    }
    Ok(db)
}

/// Makes the files that sled made durable.
fn sync_all(path: &Path) -> io::Result<()> {
    for name in ["conf", "db"] {
        File::open(path.join(name)).and_then(|file| file.sync_all())?;
    }
    RealVfs.sync_dir(path)?;
    path.parent().map_or(Ok(()), |parent| RealVfs.sync_dir(parent))
}

/// Whether a database is far larger than its contents; databases below `least` bytes do not count.
fn is_wasteful(db: &sled::Db, least: u64) -> bool {
    let measure = || -> sled::Result<bool> {
        let size = db.size_on_disk()?;
        Ok(size >= least && size / WASTE > held(db)?)
    };
    !matches!(catch_unwind(AssertUnwindSafe(measure)), Ok(Ok(false)))
}

/// Bytes of everything that a database holds.
fn held(db: &sled::Db) -> sled::Result<u64> {
    let mut bytes = 0_u64;
    for name in db.tree_names() {
        for entry in &db.open_tree(name)? {
            let (key, value) = entry?;
            bytes += (key.len() + value.len()) as u64;
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
