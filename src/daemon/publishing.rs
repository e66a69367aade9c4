//! Publishing an onion for as long as that is wanted, and handing over whoever connects.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::driver::stopped;
use super::node::Shared;
use super::twin::{Lookout, Search};
use crate::base::{IdentityId, Onion, OnionSeed};
use crate::net::{Listener, Stream};

/// How long after a failure an onion is published again.
const PUBLISH_AGAIN: Duration = Duration::from_secs(5);

/// Where those who connect go.
type Incoming = mpsc::Sender<Box<dyn Stream>>;

impl Shared {
    /// Publishes an onion while it is `wanted`, and hands its streams to a driver; says whether it is reachable.
    pub(super) fn publish(
        &self,
        part: &'static str,
        id: IdentityId,
        seed: OnionSeed,
        incoming: Incoming,
        mut wanted: watch::Receiver<bool>,
    ) -> watch::Receiver<bool> {
        let (reachable, receiver) = watch::channel(false);
        let search = self.search(Onion::of_seed(&seed));
        let mut stop = self.stop.subscribe();
        self.spawn(part, async move {
            let published = async {
                if !search.first().await {
                    // The node ends.
                    return std::future::pending().await;
                }
                loop {
                    if wanted.wait_for(|wanted| *wanted).await.is_err() && !*wanted.borrow() {
                        return;
                    }
                    let mut no_longer = wanted.clone();
                    tokio::select! {
                        () = publish(&search, id, &seed, &incoming, &reachable) => return,
                        Ok(_) = no_longer.wait_for(|wanted| !*wanted) => {}
                    }
                    reachable.send_replace(false);
                }
            };
            let searched = async {
                search.now_and_then().await;
                std::future::pending().await
            };
            tokio::select! {
                () = published => {}
                () = searched => {}
                () = stopped(&mut stop) => {}
            }
        });
        receiver
    }
}

/// Publishes an onion again and again, until nobody takes who comes.
async fn publish(
    search: &Search,
    id: IdentityId,
    seed: &OnionSeed,
    incoming: &Incoming,
    reachable: &watch::Sender<bool>,
) {
    let mut told = None;
    while !incoming.is_closed() {
        match search.transport.listen(id, seed).await {
            Ok(listener) => {
                accept(listener, &search.lookout, incoming, reachable).await;
                told = None;
            }
            // Once, and not at every try.
            Err(error) if told.as_ref() != Some(&error) => {
                tracing::warn!(%error, "an onion cannot be published now; trying again");
                told = Some(error);
            }
            Err(_) => {}
        }
        reachable.send_replace(false);
        tokio::time::sleep(PUBLISH_AGAIN).await;
    }
}

/// Hands over streams until the service ends.
async fn accept(mut listener: Listener, lookout: &Arc<Lookout>, incoming: &Incoming, reachable: &watch::Sender<bool>) {
    let mut reachability = listener.reachability();
    reachable.send_replace(reachability.borrow_and_update().is_reachable());
    loop {
        tokio::select! {
            stream = listener.accept() => match stream {
                Some(stream) => if incoming.send(lookout.watch(stream)).await.is_err() { return },
                None => return,
            },
            Ok(()) = reachability.changed() => {
                reachable.send_replace(reachability.borrow_and_update().is_reachable());
            }
        }
    }
}
