//! The parts of a node that must never be missing: drivers, gateways, publishing, the control socket.
//!
//! Each is a task that ends only when the node stops. One that ends before, by a panic or otherwise, would leave a node
//! that answers nobody at one of its ends and calls itself well: so the whole node stops instead, says which part it was, and
//! ends with a failure. What was begun is still committed.

use std::sync::PoisonError;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::node::{Ending, Shared};

impl Shared {
    /// Runs a part of the node; `part` completes the sentence "… ended unexpectedly".
    pub(super) fn spawn(&self, part: &'static str, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        let task = tokio::spawn(supervised(part, task, self.stop.subscribe(), self.stop_requested.clone()));
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).push((part, task.abort_handle()));
        task
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

/// Sees that a part ends, in whichever way.
struct Watch {
    part: &'static str,
    stop: watch::Receiver<bool>,
    ended: watch::Sender<Option<Ending>>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        // A node that is gone has stopped too.
        let stops = *self.stop.borrow() || self.stop.has_changed().is_err();
        if stops {
            return;
        }
        tracing::error!("{} ended unexpectedly: the daemon stops", self.part);
        self.ended.send_if_modified(|ended| {
            let first = ended.is_none();
            ended.get_or_insert(Ending::Broken(self.part));
            first
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How a node ends of which one part is this.
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
