//! A file system on which operations fail.
//!
//! Every operation is a step, counted from 1. A test runs its work with the fault at step 1, 2, 3 … until it no longer
//! fires; so every operation has failed once, in every way. A simulation decides for every step.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Vfs, VfsFile};

/// How a step fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The process dies before the step: it and everything after it fails.
    Kill,
    /// The process dies after the step was done and before it could be reported.
    KillAfter,
    /// The disk reports an error (EIO); the step is not done.
    Eio,
    /// The disk is full (ENOSPC); the step is not done.
    Enospc,
    /// Half of a write is done, then the disk reports an error. Steps that are no writes fail as with [`Fault::Eio`].
    ShortWrite,
}

/// When and how to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// The step that fails, counted from 1.
    pub step: u64,
    /// How it fails.
    pub fault: Fault,
    /// Whether every step after it fails in the same way.
    pub sticky: bool,
}

/// A file system that fails as planned, and otherwise does what the one behind it does.
#[derive(Clone)]
pub struct FaultVfs {
    inner: Arc<dyn Vfs>,
    control: Arc<Control>,
}

struct FaultFile {
    inner: Arc<dyn VfsFile>,
    control: Arc<Control>,
}

/// Decides for each step, by its number, whether and how it fails.
pub type Decide = Box<dyn FnMut(u64) -> Option<Fault> + Send>;

struct Control {
    decide: Mutex<Decide>,
    steps: AtomicU64,
    fired: AtomicBool,
}

impl FaultVfs {
    /// Fails as planned; with no plan it only counts.
    pub fn new(inner: Arc<dyn Vfs>, plan: Option<Plan>) -> Self {
        Self::deciding(inner, Box::new(move |step| plan?.at(step)))
    }

    /// Lets `decide` choose for every step. A process that has died stays dead only if `decide` says so again.
    pub fn deciding(inner: Arc<dyn Vfs>, decide: Decide) -> Self {
        let control = Control { decide: Mutex::new(decide), steps: AtomicU64::new(0), fired: AtomicBool::new(false) };
        Self { inner, control: Arc::new(control) }
    }

    /// How many steps there were.
    pub fn steps(&self) -> u64 {
        self.control.steps.load(Ordering::SeqCst)
    }

    /// Whether the fault happened.
    pub fn fired(&self) -> bool {
        self.control.fired.load(Ordering::SeqCst)
    }

    fn wrap(&self, file: Arc<dyn VfsFile>) -> Arc<dyn VfsFile> {
        Arc::new(FaultFile { inner: file, control: Arc::clone(&self.control) })
    }
}

impl Plan {
    /// The fault of this step.
    pub fn at(self, step: u64) -> Option<Fault> {
        let dead = matches!(self.fault, Fault::Kill | Fault::KillAfter);
        match step.cmp(&self.step) {
            std::cmp::Ordering::Less => None,
            std::cmp::Ordering::Equal => Some(self.fault),
            std::cmp::Ordering::Greater if dead => Some(Fault::Kill),
            std::cmp::Ordering::Greater => self.sticky.then_some(self.fault),
        }
    }
}

impl Control {
    /// The fault of this step.
    fn next(&self) -> Option<Fault> {
        let step = self.steps.fetch_add(1, Ordering::SeqCst) + 1;
        let fault = (self.decide.lock().unwrap_or_else(PoisonError::into_inner))(step);
        if fault.is_some() {
            self.fired.store(true, Ordering::SeqCst);
        }
        fault
    }

    fn run<T>(&self, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        match self.next() {
            None => act(),
            Some(Fault::KillAfter) => {
                let _ = act();
                Err(killed())
            }
            Some(fault) => Err(error(fault)),
        }
    }
}

fn killed() -> io::Error {
    io::Error::other("the process was killed")
}

fn error(fault: Fault) -> io::Error {
    match fault {
        Fault::Kill | Fault::KillAfter => killed(),
        Fault::Eio | Fault::ShortWrite => rustix::io::Errno::IO.into(),
        Fault::Enospc => rustix::io::Errno::NOSPC.into(),
    }
}

impl Vfs for FaultVfs {
    fn mkdir(&self, dir: &Path) -> io::Result<()> {
        self.control.run(|| self.inner.mkdir(dir))
    }

    fn create_excl(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        self.control.run(|| self.inner.create_excl(path)).map(|file| self.wrap(file))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        self.control.run(|| self.inner.open(path)).map(|file| self.wrap(file))
    }

    fn rename_noreplace(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.control.run(|| self.inner.rename_noreplace(from, to))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.control.run(|| self.inner.rename(from, to))
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.control.run(|| self.inner.unlink(path))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.control.run(|| self.inner.sync_dir(dir))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.control.run(|| self.inner.list(dir))
    }

    fn dirs(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.control.run(|| self.inner.dirs(dir))
    }

    fn free_space(&self, dir: &Path) -> io::Result<u64> {
        self.control.run(|| self.inner.free_space(dir))
    }
}

impl VfsFile for FaultFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        match self.control.next() {
            None => self.inner.write_at(offset, bytes),
            Some(Fault::KillAfter) => {
                let _ = self.inner.write_at(offset, bytes);
                Err(killed())
            }
            Some(Fault::ShortWrite) => {
                let half = bytes.get(..bytes.len() / 2).unwrap_or_default();
                self.inner.write_at(offset, half)?;
                Err(error(Fault::ShortWrite))
            }
            Some(fault) => Err(error(fault)),
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.control.run(|| self.inner.sync())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.control.run(|| self.inner.read_at(offset, buffer))
    }

    fn size(&self) -> io::Result<u64> {
        self.control.run(|| self.inner.size())
    }

    fn is_at(&self, path: &Path) -> bool {
        self.inner.is_at(path)
    }
}
