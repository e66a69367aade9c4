//! The carrier of a node: made, opened from its log, published.
//!
//! It has an onion, a certificate, a key and a log of its own; nothing ties it to the identities of the node but the
//! file system. Like an identity, it exists once its key is kept. A carrier that is switched off keeps what it holds.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

mod shell;

use tokio::sync::{mpsc, oneshot, watch};

use self::shell::CarrierShell;
use super::identity::new_profile;
use super::keys::KeyChain;
use crate::base::ids::Fingerprint;
use crate::base::{BodyId, IdentityId, Rng, SymmetricKey, Timestamp, limits};
use crate::control::{Code, Failure};
use crate::daemon::failures::broken;
use crate::daemon::home::Home;
use crate::daemon::runtime::clock::now;
use crate::daemon::runtime::folded::{self, Folded, Image};
use crate::daemon::runtime::images::{self, Images};
use crate::daemon::runtime::presence::Presence;
use crate::daemon::runtime::{Published, Reached, Runtime, Tasks};
use crate::engine::RecordError;
use crate::engine::carrier::{
    Carrier, CarrierLimits, CarrierRequest, CarrierRequestError, CarrierStatus, Held, HeldRecord, Terms,
};
use crate::mail::{Address, Invitation, LocalPart};
use crate::net::TransportStatus;
use crate::pgp;
use crate::store::{IdentityView, OpenError, OsRng, end_making};

/// The name in the address of a carrier; no mail is ever sent to it.
const NAME: &str = "box";

type Answer = oneshot::Sender<Result<(), CarrierRequestError>>;

/// A carrier as the rest of the daemon sees it.
pub(in crate::daemon) struct LocalCarrier {
    pub(in crate::daemon) address: Address,
    pub(in crate::daemon) fingerprint: Fingerprint,
    pub(in crate::daemon) status: watch::Receiver<CarrierStatus>,
    requests: mpsc::Sender<Asked>,
    pub(in crate::daemon) presence: watch::Receiver<Presence>,
    /// Whether the end of its log was found missing when it was opened.
    pub(in crate::daemon) rolled_back: bool,
}

/// A request and where its answer goes.
pub(in crate::daemon) struct Asked {
    request: CarrierRequest,
    answer: Answer,
}

impl LocalCarrier {
    /// Whether peers can find its onion now, where this is the status of the network.
    pub(in crate::daemon) fn is_reachable(&self, network: &TransportStatus) -> bool {
        self.presence.borrow().is_reachable(network)
    }

    /// Asks its machine to do something.
    pub(in crate::daemon) async fn ask(&self, request: CarrierRequest) -> Result<(), Failure> {
        let stopping = || Failure::new(Code::Busy, "the daemon is stopping").retryable();
        let (answer, result) = oneshot::channel();
        self.requests.send(Asked { request, answer }).await.map_err(|_| stopping())?;
        result.await.map_err(|_| stopping())?.map_err(|error| match error {
            CarrierRequestError::NoMailbox => Failure::new(Code::NotFound, error.to_string()),
            CarrierRequestError::TooMany => Failure::new(Code::Failed, error.to_string()),
            CarrierRequestError::Disk(_) => Failure::new(Code::Busy, error.to_string()).retryable(),
        })
    }

    /// Makes so many invitations; returns their texts and the time until which they can be used.
    pub(in crate::daemon) async fn invite(
        &self,
        count: usize,
        terms: Terms,
        life: Duration,
    ) -> Result<(Vec<String>, Timestamp), Failure> {
        let expires = whole_hours(now().plus(life));
        let secrets: Vec<_> = (0..count).map(|_| (&mut OsRng as &mut dyn Rng).array()).collect();
        self.ask(CarrierRequest::Invite { secrets: secrets.clone(), terms, expires }).await?;
        let text = |secret| {
            let (address, fingerprint) = (self.address.clone(), self.fingerprint);
            Invitation { address, fingerprint, secret: Some(secret), expires: Some(expires), carriers: Vec::new() }
                .encode_box()
        };
        Ok((secrets.into_iter().map(text).collect(), expires))
    }
}

/// The carrier of a node, where there is one.
pub(in crate::daemon) struct CarrierHost {
    home: Arc<Home>,
    runtime: Runtime,
    open: Mutex<Option<Arc<LocalCarrier>>>,
    /// Why the carrier that exists could not be opened.
    problem: Mutex<Option<Failure>>,
}

impl CarrierHost {
    /// A host that has not opened a carrier yet.
    pub(in crate::daemon) fn new(home: Arc<Home>, runtime: Runtime) -> Self {
        Self { home, runtime, open: Mutex::default(), problem: Mutex::default() }
    }

    /// The status of the network that it is published in.
    pub(in crate::daemon) fn network(&self) -> TransportStatus {
        self.runtime.network.status()
    }

    /// The carrier that was opened or made.
    pub(in crate::daemon) fn current(&self) -> Option<Arc<LocalCarrier>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why the carrier that exists could not be opened.
    pub(in crate::daemon) fn problem(&self) -> Option<Failure> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends its requests: their channel closes, and with it the driver.
    pub(in crate::daemon) fn close(&self) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Switches the carrier on, making it where there is none.
    pub(in crate::daemon) async fn enable(&self) -> Result<Arc<LocalCarrier>, Failure> {
        let _turn = self.home.turn().await;
        let carrier = match self.current() {
            Some(carrier) => carrier,
            None => match self.home.with_keyring(|keyring| keyring.carrier())? {
                Some((id, key)) => self.open(id, key).await?,
                None => self.make().await?,
            },
        };
        carrier.ask(CarrierRequest::Serve(true)).await?;
        Ok(carrier)
    }

    /// Opens the carrier that exists. Each failure says what to do next.
    pub(in crate::daemon) async fn open_known(&self) -> Result<(), Failure> {
        let opened = match self.home.with_keyring(|keyring| keyring.carrier()) {
            Ok(Some((id, key))) => self.open(id, key).await.map(drop),
            Ok(None) => Ok(()),
            Err(failure) => Err(failure),
        };
        opened.map_err(with_next_step)
    }

    /// As [`Self::open_known`]; a carrier that cannot be opened is reported in the log and in `status`.
    pub(in crate::daemon) async fn open_or_note_why(&self) {
        if let Err(failure) = self.open_known().await {
            let hint = failure.hint.as_deref().unwrap_or_default();
            tracing::error!(%failure, hint, "this node carries no mail for others until that is mended");
            *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
        }
    }

    /// Makes a carrier: its log with its first records, then its key file, which is the commit (docs/on-disk.md).
    async fn make(&self) -> Result<Arc<LocalCarrier>, Failure> {
        let (id, key) = (IdentityId::random(&mut OsRng), SymmetricKey::random(&mut OsRng));
        let name = LocalPart::new(NAME).map_err(|error| broken("the carrier", error))?;
        let limits = CarrierLimits { space: limits::CARRIER_SPACE, ..CarrierLimits::default() };
        let created = HeldRecord::CarrierCreated { profile: Box::new(new_profile(&name)?) };
        let records = [created, HeldRecord::LimitsSet { limits }];
        let (vfs, path, log_key) = (Arc::clone(self.home.vfs()), self.path(id), key.clone());
        let made = move || {
            let held = path.parent().unwrap_or(&path);
            vfs.mkdir(held).map_err(|error| broken("the carrier's log cannot be made", error))?;
            folded::make::<Held>(&vfs, &path, &log_key, &records)
        };
        tokio::task::spawn_blocking(made).await.map_err(|error| broken("the carrier's log", error))??;
        self.home.with_keyring(|keyring| keyring.add_carrier(id, &key))?;
        self.open(id, key).await
    }

    fn path(&self, id: IdentityId) -> PathBuf {
        self.home.path().join("held").join(id.to_string())
    }

    async fn open(&self, id: IdentityId, key: SymmetricKey) -> Result<Arc<LocalCarrier>, Failure> {
        let (vfs, path) = (Arc::clone(self.home.vfs()), self.path(id));
        end_making(&*vfs, &path);
        let view = self.home.view(id, &key);
        let opened = {
            let view = view.clone();
            let open = move || {
                let opened = folded::open(&vfs, &path, &key, None, Held::default(), &|_, _| ());
                opened.map(|(log, held, _)| (is_rolled_back(&held, &view), log, held))
            };
            tokio::task::spawn_blocking(open).await
        };
        let (rolled_back, log, held) = opened.map_err(|error| broken("the carrier's log", error))??;
        let carrier = Carrier::new(held, now()).map_err(|error| broken("the carrier's log", error))?;
        let profile = carrier.held().profile().cloned().ok_or_else(|| broken("the carrier's log", "it is empty"))?;
        let keys = pgp::SecretKeys::from_bytes(profile.secret_keys.expose())
            .map_err(|error| broken("the carrier's keys", error))?;
        let (status, receiver) = watch::channel(carrier.status());
        let serves = watch::channel(carrier.held().serves()).0;
        let log = Arc::new(log);
        // From now on the view knows a position of this log, so that the next start does not report a missing end.
        if let Some(save) = images::saving(&log, &view, carrier.held()) {
            save();
        }
        let images = Images::new(Arc::clone(&log), view, 0);
        let shell = CarrierShell::new(log, KeyChain::new(keys), status, serves.clone());
        let tasks = Tasks { driver: "the carrier", publishing: "publishing the carrier's address" };
        let onion =
            Published { id, seed: profile.onion_seed.clone(), wanted: serves.subscribe(), after: Duration::ZERO };
        let Reached { requests, presence, .. } = self.runtime.run(tasks, carrier, shell, images, onion);
        let carrier = Arc::new(LocalCarrier {
            address: profile.public.address.clone(),
            fingerprint: profile.public.fingerprint,
            status: receiver,
            requests,
            presence,
            rolled_back,
        });
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&carrier));
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok(carrier)
    }
}

/// The failure, with a hint if it had none.
fn with_next_step(failure: Failure) -> Failure {
    match failure.hint {
        Some(_) => failure,
        None => failure.hint("stop the daemon, and see what is wrong with what is stored: runepeer repair --check"),
    }
}

/// The words in the log and in `status` for the owner of a carrier whose log lacks its end.
pub(in crate::daemon) const ROLLED_BACK: &str = "the end of the carrier's log is missing: an older copy was put back, or the disk lost what \
                           it had confirmed; what was left here last may be gone, and its senders hear of no \
                           delivery; status says this until the next start";

/// Whether the view knows a later position than the log has. The view keeps only positions that were durable.
fn is_rolled_back(held: &Held, view: &IdentityView) -> bool {
    let seen = view.load_state().map_or(0, |(position, _)| position.number());
    let rolled_back = held.last_record() < seen;
    if rolled_back {
        tracing::error!("{ROLLED_BACK}");
    }
    rolled_back
}

/// The end of the hour. The text of an invitation counts in hours (docs/protocol.md, "Invitation"): an hour that has
/// begun counts whole.
fn whole_hours(end: Timestamp) -> Timestamp {
    Timestamp::from_secs(end.secs().saturating_add(3599) / 3600 * 3600)
}

impl Folded for Held {
    type Record = HeldRecord;

    const LOG: &'static str = "the carrier's log";
    const COMMITS_PER_IMAGE: u32 = 64;

    fn next_step(_: &OpenError) -> Option<&'static str> {
        Some("save what can still be read: runepeer repair")
    }

    fn decode(bytes: &[u8]) -> Result<Option<HeldRecord>, RecordError> {
        HeldRecord::decode(bytes)
    }

    fn encode(record: &HeldRecord) -> Result<Vec<u8>, RecordError> {
        record.encode()
    }

    fn apply(&mut self, number: u64, record: &HeldRecord) {
        Self::apply(self, number, record);
    }

    fn last_record(&self) -> u64 {
        Self::last_record(self)
    }

    fn is_begun(&self) -> bool {
        self.profile().is_some()
    }

    fn bodies(&self) -> BTreeSet<BodyId> {
        Self::bodies(self).collect()
    }

    fn settle(&mut self) {
        self.take_released();
    }

    /// The image is empty, because only its position is needed: by that a later start sees that the end of the log is
    /// missing.
    fn image(&self) -> Image {
        Box::new(|| Some(Vec::new()))
    }

    fn checkpoint(&self) -> Vec<HeldRecord> {
        Self::checkpoint(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_carrier_that_cannot_be_opened_says_what_to_do_next() {
        let hint = |failure| with_next_step(failure).hint.unwrap();
        assert!(hint(broken("the carrier's log", "it is empty")).contains("runepeer repair"));
        assert_eq!(hint(broken("the carrier's log", "another").hint("do this")), "do this");
    }

    #[test]
    fn an_invitation_to_a_box_ends_with_an_hour_and_not_before_it_was_asked_to() {
        let hour = 1_800_000_000;
        for (asked, end) in [(0, 0), (1, 3600), (3599, 3600), (3600, 3600), (3601, 7200)] {
            let [asked, end] = [asked, end].map(|seconds| Timestamp::from_secs(hour + seconds));
            assert_eq!(whole_hours(asked), end);
        }
    }
}
