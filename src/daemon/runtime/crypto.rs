//! The pool on which messages are sealed and opened and passwords are hashed: a bounded number of threads, so that no
//! flood of objects starves the rest of the daemon.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

type Job = Box<dyn FnOnce() + Send>;

/// A pool of worker threads. They end when the last handle is dropped.
#[derive(Clone)]
pub(in crate::daemon) struct Pool {
    jobs: Sender<Job>,
}

impl Pool {
    /// A pool with one thread per processor, at most four.
    pub(in crate::daemon) fn new() -> std::io::Result<Self> {
        let threads = thread::available_parallelism().map_or(1, usize::from).min(4);
        let (jobs, queue) = channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        for number in 0..threads {
            let queue = Arc::clone(&queue);
            thread::Builder::new().name(format!("crypto-{number}")).spawn(move || work(&queue))?;
        }
        Ok(Self { jobs })
    }

    /// Runs a job some time soon and hands on its result, or `failed` where it panics: the receiver hears of it in any
    /// case.
    pub(in crate::daemon) fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
        failed: T,
        done: impl FnOnce(T) + Send + 'static,
    ) {
        let job = move || done(catch_unwind(AssertUnwindSafe(job)).unwrap_or_else(|_| unexpected(failed)));
        // The workers live as long as a sender does.
        let _ = self.jobs.send(Box::new(job));
    }

    /// Runs a job and waits for its result; `None` where it panicked.
    pub(in crate::daemon) async fn call<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (done, result) = tokio::sync::oneshot::channel();
        let done = move |result| {
            // The caller may have stopped waiting.
            let _ = done.send(result);
        };
        self.run(move || Some(job()), None, done);
        result.await.ok().flatten()
    }
}

fn unexpected<T>(failed: T) -> T {
    tracing::error!("a cryptographic operation failed unexpectedly and counts as failed. Please report this");
    failed
}

fn work(queue: &Mutex<Receiver<Job>>) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        // A panic in a job is caught in `run`; this keeps the thread alive if handing on the result panics.
        let _ = catch_unwind(AssertUnwindSafe(job));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_ends_its_job_alone() {
        let pool = Pool::new().unwrap();
        for _ in 0..16 {
            assert_eq!(pool.call(|| -> u8 { panic!("expected by the test") }).await, None);
        }
        assert_eq!(pool.call(|| 7).await, Some(7));
    }

    #[tokio::test]
    async fn who_waits_for_a_job_that_panics_is_told() {
        let pool = Pool::new().unwrap();
        let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
        let done = move |result| told.send(result).unwrap();
        pool.run(|| panic!("expected by the test"), "refused", done.clone());
        assert_eq!(heard.recv().await, Some("refused"));
        pool.run(|| "opened", "refused", done);
        assert_eq!(heard.recv().await, Some("opened"));
    }
}
