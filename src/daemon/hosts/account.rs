//! The gateways' view of an identity at run time.

use std::ops::Range;
use std::sync::{Arc, RwLock};

use tokio::sync::{mpsc, oneshot, watch};
use zeroize::Zeroizing;

use super::identity::Asked;
use super::passwords::{self, Verifier};
use crate::base::{BodyId, IdentityId};
use crate::daemon::runtime::Running;
use crate::daemon::runtime::crypto::Pool;
use crate::daemon::runtime::presence::Presence;
use crate::engine::{Request, RequestError, Response, Snapshot};
use crate::gateway::account::{Account, Accounts, Later, ReadError};
use crate::gateway::pacer::Pacer;
use crate::mail::Address;
use crate::net::TransportStatus;
use crate::store::{self, IdentityView, Log};

/// One identity, for gateways and the control socket.
#[derive(Clone)]
pub(in crate::daemon) struct LocalAccount {
    pub(in crate::daemon) id: IdentityId,
    pub(in crate::daemon) address: Address,
    pub(in crate::daemon) requests: mpsc::Sender<Asked>,
    /// Read by [`Self::state`] alone: whoever holds what `borrow` gives and asks for it once more waits for ever where the machine
    /// has something to publish in between.
    pub(super) snapshot: watch::Receiver<Arc<Snapshot>>,
    pub(in crate::daemon) log: Arc<Log>,
    pub(in crate::daemon) view: Arc<IdentityView>,
    pub(in crate::daemon) presence: watch::Receiver<Presence>,
    pub(in crate::daemon) running: Running,
}

impl LocalAccount {
    /// The state that is committed now.
    pub(in crate::daemon) fn state(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.borrow())
    }

    /// What its owner calls it. The part of its address before `@` stays as it was when the identity was made.
    pub(in crate::daemon) fn name(&self) -> String {
        let snapshot = self.state();
        snapshot.profile.as_ref().map_or_else(|| self.address.local().to_string(), |profile| profile.name.clone())
    }

    /// Whether peers can find the identity's onion now, where this is the status of the network.
    pub(in crate::daemon) fn is_reachable(&self, network: &TransportStatus) -> bool {
        self.presence.borrow().is_reachable(network)
    }

    /// Asks the machine for a change.
    pub(in crate::daemon) async fn ask(&self, request: Request) -> Result<Response, RequestError> {
        let (answer, result) = oneshot::channel();
        self.requests.send(Asked { request, answer }).await.map_err(|_| RequestError::Stopping)?;
        result.await.unwrap_or(Err(RequestError::Stopping))
    }

    /// A part of a body, read on a thread that may wait for the disk.
    pub(in crate::daemon) async fn read(&self, id: BodyId, range: Range<u64>) -> Result<Vec<u8>, ReadError> {
        let log = Arc::clone(&self.log);
        let read = tokio::task::spawn_blocking(move || log.read_body(id, range)).await;
        read.map_err(|_| ReadError)?.map_err(|error| {
            if matches!(error, store::ReadError::Unknown) && !self.holds(id) {
                // Another session expunged it.
                return ReadError;
            }
            tracing::error!(%error, "a message cannot be read from the disk");
            if matches!(error, store::ReadError::Damaged { .. }) {
                let account = self.clone();
                // The report is sent by a task of its own, so that the reader need not wait for it.
                tokio::spawn(async move { account.ask(Request::TellDamaged(id)).await });
            }
            ReadError
        })
    }

    /// Whether some folder has a message with this body.
    fn holds(&self, id: BodyId) -> bool {
        let snapshot = self.state();
        snapshot.mailbox.folders().any(|folder| folder.messages.iter().any(|message| message.body == id))
    }

    pub(in crate::daemon) fn answers_to(&self, user: &str) -> bool {
        user.eq_ignore_ascii_case(&self.name()) || user.eq_ignore_ascii_case(&self.address.to_string())
    }
}

impl Account for LocalAccount {
    fn address(&self) -> Address {
        self.address.clone()
    }

    fn snapshot(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshot.clone()
    }

    fn body(&self, id: BodyId, range: Range<u64>) -> Later<'_, Result<Vec<u8>, ReadError>> {
        Box::pin(self.read(id, range))
    }

    fn cached(&self, id: BodyId) -> Option<Vec<u8>> {
        self.view.get_row(id)
    }

    fn cache(&self, id: BodyId, value: Vec<u8>) {
        self.view.put_row(id, &value);
    }

    fn request(&self, request: Request) -> Later<'_, Result<Response, RequestError>> {
        Box::pin(self.ask(request))
    }
}

/// All identities of the node, and the check of their passwords.
pub(in crate::daemon) struct Registry {
    accounts: RwLock<Vec<Arc<LocalAccount>>>,
    verifier: Arc<Verifier>,
    pool: Pool,
    /// The pace of wrong passwords, of all gateways.
    pacer: Pacer,
}

impl Registry {
    pub(in crate::daemon) fn new(pool: Pool) -> Self {
        Self { accounts: RwLock::default(), verifier: Arc::default(), pool, pacer: Pacer::default() }
    }

    pub(in crate::daemon) fn add(&self, account: Arc<LocalAccount>) {
        if let Ok(mut accounts) = self.accounts.write() {
            accounts.push(account);
        }
    }

    pub(in crate::daemon) fn all(&self) -> Vec<Arc<LocalAccount>> {
        self.accounts.read().map(|accounts| accounts.clone()).unwrap_or_default()
    }

    /// The identity with this name or address. An identity that was renamed is found by the part of its address before `@`
    /// as well, where no other one is called so and no other address begins so.
    pub(in crate::daemon) fn find(&self, user: &str) -> Option<Arc<LocalAccount>> {
        let accounts = self.all();
        let named = accounts.iter().find(|account| account.answers_to(user));
        let begins = |account: &&Arc<LocalAccount>| account.address.local().as_str().eq_ignore_ascii_case(user);
        let mut by_address = accounts.iter().filter(begins);
        let only = by_address.next().filter(|_| by_address.next().is_none());
        named.or(only).map(Arc::clone)
    }

    /// Takes out an identity that is being removed: nobody logs in to it, and no command finds it.
    pub(in crate::daemon) fn remove(&self, id: IdentityId) {
        if let Ok(mut accounts) = self.accounts.write() {
            accounts.retain(|account| account.id != id);
        }
    }

    pub(in crate::daemon) const fn pacer(&self) -> &Pacer {
        &self.pacer
    }

    /// Ends all requests: their channels close, and with them the drivers.
    pub(in crate::daemon) fn clear(&self) {
        if let Ok(mut accounts) = self.accounts.write() {
            accounts.clear();
        }
    }
}

impl Registry {
    /// Whether the password is one of this user's; takes the same work where no such user exists.
    async fn verify(&self, account: Option<&Arc<LocalAccount>>, password: Zeroizing<String>) -> bool {
        let hashes = |account: &Arc<LocalAccount>| -> Vec<String> {
            account.state().passwords.iter().map(|password| password.hash.clone()).collect()
        };
        let (own, of_all) = (account.map(hashes).unwrap_or_default(), self.all().iter().flat_map(hashes).collect());
        let renewed = passwords::hash(&password);
        let Some(hash) = self.verifier.verify(&self.pool, password, own, of_all).await else { return false };
        if let Some(account) = account.cloned().filter(|_| passwords::is_old(&hash)) {
            // If the disk fails, the hash is renewed another time.
            tokio::spawn(async move { account.ask(Request::RenewPassword { hash, renewed }).await });
        }
        true
    }
}

impl Accounts for Registry {
    fn login(&self, user: &str, password: &str) -> Later<'_, Option<Arc<dyn Account>>> {
        let account = self.find(user);
        let password = Zeroizing::new(password.to_owned());
        Box::pin(async move {
            let verified = self.verify(account.as_ref(), password).await;
            account.filter(|_| verified).map(|account| account as Arc<dyn Account>)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_login_of_somebody_who_is_not_here_costs_a_hash_as_every_other_does() {
        let registry = Registry::new(Pool::new().unwrap());
        for user in ["nobody", ""] {
            let before = registry.verifier.computed();
            assert!(registry.login(user, "a password").await.is_none());
            assert_eq!(registry.verifier.computed() - before, 1);
        }
    }
}
