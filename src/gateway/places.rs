//! The places of connections that have not logged in: a bounded number, of which the oldest gives way to a new one.
//!
//! So connections that never log in keep nobody out: a new connection has a place at once, and leaves it when it logs
//! in. Connections that are logged in have places of their own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

/// The places of one gateway.
#[derive(Debug)]
pub(super) struct Places {
    most: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    /// The places by age, the oldest first.
    places: BTreeMap<u64, oneshot::Sender<()>>,
}

/// One connection's place; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    number: u64,
}

/// Tells a connection that it must give way.
pub(super) struct GivingWay(oneshot::Receiver<()>);

impl Places {
    /// Places for `most` connections; at least one.
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most: most.max(1), taken: Mutex::default() })
    }

    /// Takes a place for a new connection; if none is free, the oldest connection loses its own.
    pub(super) fn enter(self: &Arc<Self>) -> (Place, GivingWay) {
        let (leave, giving_way) = oneshot::channel();
        let mut taken = self.taken();
        while taken.places.len() >= self.most
            && let Some((_, oldest)) = taken.places.pop_first()
        {
            // The oldest connection may have ended meanwhile.
            let _ = oldest.send(());
        }
        taken.next += 1;
        let number = taken.next;
        taken.places.insert(number, leave);
        drop(taken);
        (Place { places: Arc::clone(self), number }, GivingWay(giving_way))
    }

    fn taken(&self) -> std::sync::MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken().places.remove(&self.number);
    }
}

impl GivingWay {
    /// Returns when the connection must end; never once the connection has logged in.
    pub(super) async fn wait(self) {
        if self.0.await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_oldest_gives_way_and_who_left_its_place_does_not() {
        let places = Places::new(2);
        let ((first, first_way), (second, second_way), (_third, third_way)) =
            (places.enter(), places.enter(), places.enter());
        let soon = |way: GivingWay| tokio::time::timeout(std::time::Duration::from_secs(5), way.wait());
        soon(first_way).await.unwrap();
        drop((first, second));
        let _others: Vec<_> = (0..5).map(|_| places.enter()).collect();
        soon(third_way).await.unwrap();
        let waits = tokio::time::timeout(std::time::Duration::from_millis(20), second_way.wait()).await;
        assert!(waits.is_err(), "it has logged in");
    }
}
