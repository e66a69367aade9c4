//! Stopping a node: no new session is accepted, commits under way are completed, files and threads are released.

use std::time::Duration;

use super::Node;

/// The longest that stopping may take; together with the closing of files it takes less than ten seconds.
const STOP: Duration = Duration::from_secs(7);
/// How long the sessions of mail programs have to end.
const FAREWELL: Duration = Duration::from_secs(2);
/// How long the closing of files and threads may take.
const LETTING_GO: Duration = Duration::from_secs(1);

impl Node {
    /// Stops the node: no new session is accepted, commits under way are completed, within ten seconds.
    pub async fn stop(self) {
        let Self { runtime, registry, identities, carrier, commands, mut gateways, .. } = self;
        let drivers = runtime.supervisor.stop();
        let ended = async {
            for driver in drivers {
                // A driver that panicked has nothing more to commit.
                let _ = driver.await;
            }
            // The answers to the last commits are still on their way to mail programs.
            let _ = tokio::time::timeout(FAREWELL, futures::future::join_all(&mut gateways)).await;
            runtime.network.stop().await;
        };
        if tokio::time::timeout(STOP, ended).await.is_err() {
            tracing::warn!("stopping took too long and was cut short; nothing that was acknowledged is lost");
        }
        runtime.supervisor.abort();
        registry.clear();
        carrier.close();
        // Dropped on a thread of its own, so that no thread of the async runtime waits for the disk.
        let everything = (runtime, registry, identities, carrier, commands);
        let _ = tokio::time::timeout(LETTING_GO, tokio::task::spawn_blocking(move || drop(everything))).await;
    }
}
