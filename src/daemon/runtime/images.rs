//! Images: the state of a log, kept in the view, so that the next start reads little (docs/on-disk.md, "Start").
//!
//! An image is the state at a place of the log that is durable, and is taken while no commit is under way: the state
//! then is the fold of everything up to that place. Encoding and sealing it takes long where the state is large, so
//! this is done on a thread that may wait, while the driver goes on: records of the meantime are not in the image, and
//! lie behind its place. One image is made at a time, so that an older one never replaces a newer one; a later one that
//! is due waits for it. Where an image cannot be made, the next start takes longer, because it reads more of the log.

use std::sync::Arc;

use tokio::task::JoinHandle;

use super::driver::within_patience;
use super::folded::{Folded, Image};
use crate::store::{IdentityView, Log};

/// Keeps images of one log.
pub(in crate::daemon) struct Images {
    log: Arc<Log>,
    view: IdentityView,
    /// How many records or commits came after the last image.
    since: u32,
    /// The image that is being made.
    making: Option<JoinHandle<()>>,
}

impl Images {
    /// `behind` is how many records the start had to read. If they were many, an image is made soon, so that even a
    /// node that never runs for long gets one.
    pub(in crate::daemon) const fn new(log: Arc<Log>, view: IdentityView, behind: u32) -> Self {
        Self { log, view, since: behind, making: None }
    }

    /// To be told when so many commits were reported and none is under way. Makes an image if one is due and none is
    /// being made.
    pub(in crate::daemon) fn rested<F: Folded>(&mut self, state: &F, commits: u32) {
        self.since = self.since.saturating_add(commits);
        if self.since >= F::COMMITS_PER_IMAGE && self.making.as_ref().is_none_or(JoinHandle::is_finished) {
            self.make(state);
        }
    }

    /// Keeps an image of the last state, and waits until it is on the disk.
    pub(in crate::daemon) async fn finish<F: Folded>(mut self, state: &F) {
        self.made().await;
        self.make(state);
        self.made().await;
        let view = self.view;
        within_patience(move || view.flush()).await;
    }

    fn make<F: Folded>(&mut self, state: &F) {
        self.since = 0;
        let Some(save) = saving(&self.log, &self.view, state) else { return };
        self.making = Some(tokio::task::spawn_blocking(save));
    }

    /// Returns when no image is being made.
    pub(in crate::daemon) async fn made(&mut self) {
        if let Some(making) = self.making.take() {
            // An image whose making panicked was not made.
            let _ = making.await;
        }
    }
}

/// The work that saves an image of this state, as it is now; `None` where its last record is not durable.
pub(in crate::daemon) fn saving<F: Folded>(
    log: &Log,
    view: &IdentityView,
    state: &F,
) -> Option<impl FnOnce() + Send + 'static> {
    let position = log.position(state.last_record())?;
    let (view, image): (_, Image) = (view.clone(), state.image());
    Some(move || {
        if let Some(image) = image() {
            view.save_state(&position, &image);
        }
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::folded;
    use super::*;
    use crate::base::{IdentityId, SymmetricKey};
    use crate::engine::carrier::{CarrierLimits, Held, HeldRecord};
    use crate::store::vfs::{MemVfs, Vfs};
    use crate::store::{OsRng, View};

    /// Runs a test where only one thread may wait for the disk, and that one is busy until the sender is used.
    fn with_one_thread(test: impl AsyncFnOnce(std::sync::mpsc::Sender<()>)) {
        let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).enable_all().build();
        runtime.unwrap().block_on(async {
            let (release, busy) = std::sync::mpsc::channel();
            drop(tokio::task::spawn_blocking(move || busy.recv()));
            test(release).await;
        });
    }

    #[test]
    fn one_image_is_made_at_a_time_and_the_last_one_stays() {
        with_one_thread(async |release| {
            let (vfs, dir, key) = (MemVfs::new(), tempfile::tempdir().unwrap(), SymmetricKey::from_bytes([7; 32]));
            Log::create(&vfs, Path::new("/held")).unwrap();
            let vfs: Arc<dyn Vfs> = Arc::new(vfs);
            let opened = folded::open(&vfs, Path::new("/held"), &key, None, Held::default(), &|_, _| ()).unwrap();
            let (log, mut held) = (Arc::new(opened.0), opened.1);
            let all = View::open(&dir.path().join("view"));
            let view = all.identity(IdentityId::random(&mut OsRng), &key);
            let kept = || view.load_state().map(|(position, _)| position.number());
            let commit = |held: &mut Held| {
                let record = HeldRecord::LimitsSet { limits: CarrierLimits::default() };
                folded::extend(held, &log, &[record], Vec::new()).unwrap();
                held.last_record()
            };
            let mut images = Images::new(Arc::clone(&log), view.clone(), 0);
            let first = commit(&mut held);
            images.rested(&held, Held::COMMITS_PER_IMAGE - 1);
            assert!(images.making.is_none(), "it is not due yet");
            images.rested(&held, 1);
            let second = commit(&mut held);
            images.rested(&held, Held::COMMITS_PER_IMAGE);
            view.flush();
            assert_eq!(kept(), None);
            release.send(()).unwrap();
            images.made().await;
            view.flush();
            assert_eq!(kept(), Some(first), "of the state as it was");
            images.rested(&held, 0);
            images.made().await;
            view.flush();
            assert_eq!(kept(), Some(second), "it was due all the time");
            let third = commit(&mut held);
            images.finish(&held).await;
            assert_eq!(kept(), Some(third));
        });
    }
}
