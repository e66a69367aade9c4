//! The parts of a node that must never be missing: drivers, gateways, publishing, the control socket.
//!
//! Each is a task that ends only when the node stops. If one ended before, by a panic or otherwise, the node would go
//! on calling itself well while one of its ends answers nobody. So the whole node stops instead, says which part it
//! was, and ends with a failure. Commits under way are still completed.

use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle};

use crate::control::{Code, Failure};

/// Why a node has to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::daemon) enum Ending {
    /// The user asked for it.
    Asked,
    /// This part of the node ended.
    Broken(&'static str),
    /// Another node uses its addresses: its original, or a copy of it.
    Original,
    /// Its data directory is missing or was replaced.
    Gone,
    /// Its data directory cannot be written.
    ReadOnly,
}

impl Ending {
    /// Asks the node to end. If it is already ending, the first reason stays.
    pub(in crate::daemon) fn request(self, ending: &watch::Sender<Option<Self>>) {
        ending.send_if_modified(|ending| {
            let first = ending.is_none();
            ending.get_or_insert(self);
            first
        });
    }

    /// The failure that the user is told, unless the user asked for the end.
    ///
    /// # Errors
    /// [`Code::Failed`] or [`Code::Busy`], with what to do next.
    pub(in crate::daemon) fn told(self) -> Result<(), Failure> {
        let failure = match self {
            Self::Asked => return Ok(()),
            Self::Broken(part) => Failure::new(Code::Failed, format!("{part} failed unexpectedly"))
                .hint("nothing that was acknowledged is lost; start it again, and please report this"),
            Self::Original => Failure::new(
                Code::Busy,
                "another node answers at an address of this one: its original, or a copy of it, runs somewhere else",
            )
            .hint("stop one of them for good, then start the other again; two of them split their mail"),
            Self::Gone => Failure::new(
                Code::Failed,
                "the data directory of this node is gone: it, or a file of it that is being written, was removed, \
                 moved or replaced, or its file system is not there any more",
            )
            .hint(
                "no mail that came since then was acknowledged. Put the directory back where it was, then start \
                 again; or restore a backup into a new one: runepeer --data-dir NEW backup restore FILE",
            ),
            Self::ReadOnly => Failure::new(
                Code::Failed,
                "nothing can be written to the data directory any more: its file system is read-only",
            )
            .hint("nothing that was acknowledged is lost. See what the system says about the disk, then start again"),
        };
        Err(failure)
    }
}

/// Runs the parts of a node, and is told how the node ends.
#[derive(Default)]
pub(in crate::daemon) struct Supervisor {
    stop: watch::Sender<bool>,
    ending: watch::Sender<Option<Ending>>,
    /// The drivers are waited for when the node stops: they complete their commits.
    drivers: Mutex<Vec<JoinHandle<()>>>,
    /// Everything that must not end before the node does, with its name.
    parts: Mutex<Vec<(&'static str, AbortHandle)>>,
}

impl Supervisor {
    /// Runs a part of the node; `part` completes the sentence "… ended unexpectedly".
    pub(in crate::daemon) fn spawn(
        &self,
        part: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> JoinHandle<()> {
        self.spawn_until(self.stopping(), part, task)
    }

    /// As [`Self::spawn`], for a part that may end when this says so, and not only when the node stops.
    pub(in crate::daemon) fn spawn_until(
        &self,
        stop: watch::Receiver<bool>,
        part: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> JoinHandle<()> {
        let task = tokio::spawn(supervised(part, task, stop, self.ending.clone()));
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).push((part, task.abort_handle()));
        task
    }

    /// As [`Self::spawn_until`], for a driver.
    pub(in crate::daemon) fn drive(
        &self,
        stop: watch::Receiver<bool>,
        part: &'static str,
        driver: impl Future<Output = ()> + Send + 'static,
    ) {
        let driver = self.spawn_until(stop, part, driver);
        self.drivers.lock().unwrap_or_else(PoisonError::into_inner).push(driver);
    }

    /// Becomes true when the node stops.
    pub(in crate::daemon) fn stopping(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }

    /// The stop of a machine that can end before the node does; it stops with the node as well.
    pub(in crate::daemon) fn branch(&self) -> watch::Sender<bool> {
        let branch = watch::Sender::new(false);
        let (mut stop, stopped) = (self.stopping(), branch.clone());
        tokio::spawn(async move {
            // A node that is gone has stopped too.
            let _ = stop.wait_for(|stop| *stop).await;
            stopped.send_replace(true);
        });
        branch
    }

    /// The place of the reason for which the node has to end.
    pub(in crate::daemon) const fn ending(&self) -> &watch::Sender<Option<Ending>> {
        &self.ending
    }

    /// Returns when the node has to end.
    pub(in crate::daemon) async fn ended(&self) -> Ending {
        let mut ending = self.ending.subscribe();
        // The sender lives in `self`.
        ending.wait_for(Option::is_some).await.ok().and_then(|ending| *ending).unwrap_or(Ending::Asked)
    }

    /// Tells every part to stop, and gives the drivers.
    pub(in crate::daemon) fn stop(&self) -> Vec<JoinHandle<()>> {
        self.stop.send_replace(true);
        std::mem::take(&mut *self.drivers.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Ends every part, also those that have not stopped.
    pub(in crate::daemon) fn abort(&self) {
        let parts = std::mem::take(&mut *self.parts.lock().unwrap_or_else(PoisonError::into_inner));
        parts.iter().for_each(|(_, part)| part.abort());
    }

    /// The names of the parts that were started.
    #[cfg(test)]
    pub(in crate::daemon) fn parts(&self) -> std::sync::MutexGuard<'_, Vec<(&'static str, AbortHandle)>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn supervised(
    part: &'static str,
    task: impl Future<Output = ()>,
    stop: watch::Receiver<bool>,
    ended: watch::Sender<Option<Ending>>,
) {
    let _watch = Watch { part, stop, ended };
    task.await;
}

/// Notices the end of a part, whatever its reason.
struct Watch {
    part: &'static str,
    stop: watch::Receiver<bool>,
    ended: watch::Sender<Option<Ending>>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        // If the sender is gone, the node has stopped too.
        let stops = *self.stop.borrow() || self.stop.has_changed().is_err();
        if stops {
            return;
        }
        tracing::error!("{} ended unexpectedly: the daemon stops", self.part);
        Ending::Broken(self.part).request(&self.ended);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reason for which a node with this one part ends.
    async fn ending(stopping: bool, part: impl Future<Output = ()> + Send + 'static, abort: bool) -> Option<Ending> {
        let (_stopping, stop) = watch::channel(stopping);
        let (ended, requested) = watch::channel(None);
        let task = tokio::spawn(supervised("the part", part, stop, ended));
        if abort {
            tokio::task::yield_now().await;
            task.abort();
        }
        let _ = task.await;
        *requested.borrow()
    }

    #[tokio::test]
    async fn a_part_that_ends_before_the_node_stops_ends_the_node() {
        let broken = Some(Ending::Broken("the part"));
        assert_eq!(ending(false, async { panic!("expected by the test") }, false).await, broken);
        assert_eq!(ending(false, async {}, false).await, broken, "one that returns is as useless");
        assert_eq!(ending(false, std::future::pending(), true).await, broken, "so is one that somebody ended");
        assert_eq!(ending(true, async {}, false).await, None, "one that stops with the node is no failure");
    }
}
