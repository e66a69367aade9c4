//! A node at run time: one data directory, one transport, the identities, the local listeners.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle};
use zeroize::Zeroizing;

use super::account::Registry;
use super::backup::Leases;
use super::carrier::LocalCarrier;
use super::clock::now;
use super::compose;
use super::crypto::Pool;
use super::directory::DataDir;
use super::restored::Cautious;
use super::twin::Lookout;
use crate::backup;
use crate::base::Terms;
use crate::config::{Config, File, Transport as TransportChoice};
use crate::control::{CarrierChange, Code, Command, Failure, Handler, Request, Server};
use crate::engine::drops::Delays;
use crate::gateway;
use crate::mail::LocalPart;
use crate::net::{Loopback, Tor, TorConfig, Transport, TransportState, TransportStatus};
use crate::store::vfs::{ReadOnlyVfs, RealVfs, Vfs};
use crate::store::{Keyring, OsRng, Passphrase, UnlockError, View};

/// The longest that stopping may take; with what follows it, less than ten seconds.
const STOP: Duration = Duration::from_secs(7);
/// How long the sessions of mail programs have to end.
const FAREWELL: Duration = Duration::from_secs(2);
/// How long files and threads have to be closed.
const LETTING_GO: Duration = Duration::from_secs(1);

/// A data directory that this process holds, before its daemon runs.
pub struct Preparation {
    pub(super) directory: DataDir,
    pub(super) vfs: Arc<dyn Vfs>,
}

/// What a daemon is started with.
pub struct Start {
    /// The name of the identity to make, in an empty data directory.
    pub name: Option<String>,
    /// The passphrase, where there is one.
    pub passphrase: Option<Zeroizing<String>>,
    /// Settings that go before those of the file; an empty data directory keeps them.
    pub file: File,
    /// Told how many bytes of how many of an identity's log were read.
    pub reading: Reading,
    /// What the carrier may hold, where that is to change, in bytes.
    pub space: Option<u64>,
    /// Within which times mail goes to drops and receipts come back.
    pub delays: Delays,
}

impl Start {
    /// A start of which nobody watches the progress.
    pub fn new(name: Option<String>, passphrase: Option<Zeroizing<String>>, file: File) -> Self {
        Self { name, passphrase, file, reading: Arc::new(|_, _| ()), space: None, delays: Delays::default() }
    }
}

/// Told how many bytes of how many were read.
pub type Reading = Arc<dyn Fn(u64, u64) + Send + Sync>;

impl Preparation {
    /// Takes the data directory, making it where it is missing. Where a part of a node is missing, nothing is changed.
    ///
    /// # Errors
    /// See [`DataDir::open`]; [`Code::Failed`] where only a part of a node is there.
    pub fn open(data: &Path) -> Result<Self, Failure> {
        // Before the lock, which may be what is missing: it would be made.
        backup::check_whole(&RealVfs, data)?;
        let directory = DataDir::open(data)?;
        backup::check_whole(&RealVfs, directory.path())?;
        directory.note_process()?;
        Ok(Self { directory, vfs: Arc::new(RealVfs) })
    }

    /// Takes a data directory in which there is a node, to look at it. Nothing in it can be changed by what this
    /// returns.
    ///
    /// # Errors
    /// As of [`Self::open`]; [`Code::NotFound`] where there is no node.
    pub fn open_to_read(data: &Path) -> Result<Self, Failure> {
        let vfs: Arc<dyn Vfs> = Arc::new(ReadOnlyVfs(Arc::new(RealVfs)));
        let none = || {
            Failure::new(Code::NotFound, format!("there is no node in {}", data.display()))
                .hint("say where it is with --data-dir")
        };
        if !data.exists() {
            return Err(none());
        }
        let directory = DataDir::open_to_read(data)?;
        backup::check_whole(&*vfs, directory.path())?;
        let preparation = Self { directory, vfs };
        if preparation.is_initialised()? { Ok(preparation) } else { Err(none()) }
    }

    /// The same for who changes what is there, and makes no node.
    ///
    /// # Errors
    /// As of [`Self::open_to_read`].
    pub fn open_existing(data: &Path) -> Result<Self, Failure> {
        drop(Self::open_to_read(data)?);
        Self::open(data)
    }

    /// Where the data directory is.
    pub fn root(&self) -> &Path {
        self.directory.path()
    }

    pub(super) fn keys(&self) -> std::path::PathBuf {
        self.root().join("keys")
    }

    /// Whether a key was made here.
    ///
    /// # Errors
    /// [`Code::Failed`] where the directory cannot be read.
    pub fn is_initialised(&self) -> Result<bool, Failure> {
        Keyring::is_initialised(&*self.vfs, &self.keys()).map_err(|error| broken("the keys", error))
    }

    /// Whether an identity was made here.
    ///
    /// # Errors
    /// [`Code::Failed`] where the directory cannot be read.
    pub fn has_identity(&self) -> Result<bool, Failure> {
        Keyring::has_identity(&*self.vfs, &self.keys()).map_err(|error| broken("the keys", error))
    }

    /// Whether a carrier was made here.
    ///
    /// # Errors
    /// [`Code::Failed`] where the directory cannot be read.
    pub fn has_carrier(&self) -> Result<bool, Failure> {
        Keyring::has_carrier(&*self.vfs, &self.keys()).map_err(|error| broken("the keys", error))
    }

    /// Whether a passphrase locks the keys.
    ///
    /// # Errors
    /// [`Code::Failed`] where the keys cannot be read.
    pub fn needs_passphrase(&self) -> Result<bool, Failure> {
        Keyring::is_passphrase_protected(&*self.vfs, &self.keys()).map_err(|error| keyless("the keys", &error))
    }
}

/// Where mail programs connect.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listening {
    pub(super) imap: SocketAddr,
    pub(super) submission: SocketAddr,
}

/// What the tasks of a node share.
pub(super) struct Shared {
    pub(super) directory: DataDir,
    pub(super) vfs: Arc<dyn Vfs>,
    pub(super) keyring: Mutex<Keyring>,
    pub(super) making: tokio::sync::Mutex<()>,
    pub(super) view: View,
    pub(super) pool: Pool,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) transport_status: watch::Receiver<TransportStatus>,
    pub(super) registry: Arc<Registry>,
    pub(super) carrier: Mutex<Option<Arc<LocalCarrier>>>,
    /// Why the carrier that exists could not be opened.
    pub(super) carrier_problem: Mutex<Option<Failure>>,
    /// `None` where there is nothing but a carrier.
    pub(super) listening: Option<Listening>,
    pub(super) stop_requested: watch::Sender<Option<Ending>>,
    pub(super) stop: watch::Sender<bool>,
    pub(super) drivers: Mutex<Vec<JoinHandle<()>>>,
    /// Everything that must not end before the node does, with its name.
    pub(super) parts: Mutex<Vec<(&'static str, AbortHandle)>>,
    pub(super) leases: Arc<Leases>,
    /// By which this process knows itself.
    pub(super) lookout: Arc<Lookout>,
    pub(super) delays: Delays,
    /// By the names of identities, where config.toml has them.
    pub(super) terms: BTreeMap<String, Terms>,
}

/// A running node.
pub struct Node {
    shared: Arc<Shared>,
    gateways: Vec<JoinHandle<()>>,
    is_passphrase_protected: bool,
}

pub(super) fn broken(what: &str, error: impl std::fmt::Display) -> Failure {
    Failure::new(Code::Failed, format!("{what}: {error}"))
}

/// The failure of a command that could not get a key: why, and what its user does next.
pub(super) fn keyless(what: &str, error: &UnlockError) -> Failure {
    let failure = broken(what, error);
    match error {
        UnlockError::Damaged { file } | UnlockError::Foreign { file } if Keyring::is_of_carrier(file) => failure.hint(
            "nothing was changed, and no backup has this file. Put it back as it was, from wherever a copy of it is; \
             or, to begin a new carrier, move it and the directory held out of the data directory",
        ),
        error if error.is_damage() => failure.hint(
            "nothing was changed. Put back what was there, from wherever a copy of it is; or restore a backup into a \
             new directory: runepeer --data-dir NEW backup restore FILE",
        ),
        UnlockError::Version { .. } => failure.hint("nothing was changed. Start the newer runepeer"),
        UnlockError::Io(_) => failure.hint(
            "see what the system says about the disk, and whether this user may read and write the directory keys; \
             then try again",
        ),
        _ => failure,
    }
}

impl Node {
    /// Starts a node: keys, logs, identities, listeners, control socket. The network comes up meanwhile.
    ///
    /// # Errors
    /// Each is a sentence for the user. Nothing is left running.
    pub async fn start(preparation: Preparation, start: Start) -> Result<Self, Failure> {
        let name = start.name.as_deref().map(local_part).transpose()?;
        let (config, unwritten) = configuration(&preparation, start.file)?;
        let keyring = unlock_or_make(&preparation, start.passphrase)?;
        let gateways = if config.carrier_only { None } else { Some(Gateways::listen(&config).await?) };
        let listening = gateways.as_ref().map(Gateways::addresses).transpose()?;
        let server = Server::bind(preparation.directory.path()).map_err(|error| broken("the control socket", error))?;
        let ids = keyring.identities().map_err(|error| broken("the keys", error))?;
        if config.carrier_only && !ids.is_empty() {
            return Err(Failure::new(Code::Usage, "this data directory has identities, and carrier_only is set")
                .hint("give a carrier without a mailbox a directory of its own: --data-dir DIR"));
        }
        let stop_requested = watch::channel(None).0;
        let transport = Cautious::where_needed(
            transport(&config, preparation.directory.path()).await?,
            &preparation.vfs,
            preparation.directory.path(),
            ids,
            &stop_requested,
        );
        // Only now: settings with which nothing starts are not kept.
        if let Some(file) = unwritten {
            file.save(preparation.directory.path())
                .map_err(|error| broken("the configuration cannot be written", error))?;
        }
        let pool = Pool::new().map_err(|error| broken("this process cannot start threads", error))?;
        let view = View::open(&preparation.directory.path().join("view"));
        let shared = Arc::new(Shared {
            keyring: Mutex::new(keyring),
            making: tokio::sync::Mutex::default(),
            view,
            registry: Arc::new(Registry::new(pool.clone())),
            carrier: Mutex::default(),
            carrier_problem: Mutex::default(),
            pool,
            transport_status: transport.status(),
            transport,
            listening,
            stop_requested,
            stop: watch::channel(false).0,
            drivers: Mutex::default(),
            parts: Mutex::default(),
            leases: Arc::default(),
            lookout: Arc::default(),
            delays: start.delays,
            terms: config.terms.clone(),
            directory: preparation.directory,
            vfs: preparation.vfs,
        });
        let is_passphrase_protected = shared.with_keyring(|keyring| Ok(keyring.has_passphrase()))?;
        tokio::spawn(Shared::watch_directory(Arc::downgrade(&shared)));
        let mut node = Self { shared, gateways: Vec::new(), is_passphrase_protected };
        let opened = match config.carrier_only {
            true => node.carrier_only().await,
            false => node.identities(name, &start.reading).await,
        };
        let opened = match (opened, start.space) {
            (Ok(()), Some(_)) => node
                .shared
                .carrier_limits(&CarrierChange { space: start.space, ..CarrierChange::default() })
                .await
                .map(drop),
            (opened, _) => opened,
        };
        if let Err(failure) = opened {
            node.stop().await;
            return Err(failure);
        }
        if let Some(gateways) = gateways {
            node.serve(gateways);
        }
        let control = server.serve(Arc::clone(&node.shared) as Arc<dyn Handler>);
        node.shared.spawn("the control socket", control);
        node.shared.spawn("the connection to the network", network(node.shared.transport_status.clone()));
        Ok(node)
    }

    /// Opens the identities that exist, and makes the first one.
    async fn identities(&self, name: Option<LocalPart>, reading: &Reading) -> Result<(), Failure> {
        let ids = self.shared.with_keyring(|keyring| keyring.identities())?;
        for id in &ids {
            self.shared.open_identity(*id, reading).await?;
        }
        // What is wrong with other people's mail keeps nobody from their own.
        if let Err(failure) = self.shared.open_known_carrier().await {
            let hint = failure.hint.as_deref().unwrap_or_default();
            tracing::error!(%failure, hint, "this node carries no mail for others until that is mended");
            *self.shared.carrier_problem.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
        }
        let here = |name: &String| self.shared.registry.all().iter().any(|it| it.name.eq_ignore_ascii_case(name));
        if !ids.is_empty() && !self.shared.terms.keys().all(here) {
            tracing::warn!("config.toml has a table [identity.NAME] for a name that no identity here has");
        }
        match name {
            Some(name) if ids.is_empty() => self.shared.make_identity(name).await.map(|_| ()),
            _ => Ok(()),
        }
    }

    /// Opens the carrier, or makes it.
    async fn carrier_only(&self) -> Result<(), Failure> {
        self.shared.open_known_carrier().await?;
        match self.shared.carrier() {
            Some(_) => Ok(()),
            None => self.shared.enable_carrier().await.map(drop),
        }
    }

    fn serve(&mut self, Gateways { imap, submission }: Gateways) {
        let shared = &self.shared;
        let stop = || shared.stop.subscribe();
        let accounts = || Arc::clone(&shared.registry) as Arc<dyn gateway::account::Accounts>;
        let pacer = gateway::pacer::Pacer::default();
        let uploads = gateway::uploads::Uploads::default();
        let limits = gateway::imap::Limits {
            pacer: pacer.clone(),
            uploads: uploads.clone(),
            ..gateway::imap::Limits::default()
        };
        let server = gateway::imap::Server::new(accounts(), limits);
        let stopping = stop();
        self.gateways.push(shared.spawn("the IMAP server", async move { server.serve(imap, stopping).await }));
        let resolve = |account: &dyn gateway::account::Account, name: &str| {
            compose::resolve(&account.snapshot().borrow().book, &account.address(), name)
        };
        let config = gateway::submission::Config {
            resolve: Arc::new(resolve),
            clock: now,
            rng: || Box::new(OsRng),
            bounds: gateway::submission::Bounds { pacer, uploads, ..gateway::submission::Bounds::default() },
        };
        let server = gateway::submission::Server::new(accounts(), config);
        let stopping = stop();
        let serve = async move { server.serve(submission, stopping).await };
        self.gateways.push(shared.spawn("the submission server", serve));
    }

    /// Asks what the control socket can ask.
    ///
    /// # Errors
    /// What the socket would answer.
    pub async fn ask(&self, command: Command) -> Result<Value, Failure> {
        self.shared.handle(Request { identity: None, command }).await
    }

    /// Whether a passphrase locks the keys of this node.
    pub const fn is_passphrase_protected(&self) -> bool {
        self.is_passphrase_protected
    }

    /// Returns when the node has to stop: somebody asked for it by the control socket, or it cannot go on.
    ///
    /// # Errors
    /// [`Code::Failed`] where it cannot go on.
    pub async fn stop_requested(&self) -> Result<(), Failure> {
        let mut requested = self.shared.stop_requested.subscribe();
        // The sender lives in `self`.
        match requested.wait_for(Option::is_some).await.ok().and_then(|ending| *ending) {
            Some(Ending::Broken(part)) => Err(Failure::new(Code::Failed, format!("{part} failed unexpectedly"))
                .hint("nothing that was acknowledged is lost; start it again, and please report this")),
            Some(Ending::Original) => Err(Failure::new(
                Code::Busy,
                "another node answers at an address of this one: its original, or a copy of it, runs somewhere else",
            )
            .hint("stop one of them for good, then start the other again; two of them split their mail")),
            Some(Ending::Gone) => Err(Failure::new(
                Code::Failed,
                "the data directory of this node is gone: it, or a file of it that is being written, was removed, \
                 moved or replaced, or its file system is not there any more",
            )
            .hint(
                "no mail that came since then was acknowledged. Put the directory back where it was, then start \
                 again; or restore a backup into a new one: runepeer --data-dir NEW backup restore FILE",
            )),
            Some(Ending::ReadOnly) => Err(Failure::new(
                Code::Failed,
                "nothing can be written to the data directory any more: its file system is read-only",
            )
            .hint("nothing that was acknowledged is lost. See what the system says about the disk, then start again")),
            Some(Ending::Asked) | None => Ok(()),
        }
    }

    /// Stops: no new sessions, what was begun is committed, within ten seconds.
    pub async fn stop(self) {
        let mut gateways = self.gateways;
        self.shared.stop.send_replace(true);
        let drivers = std::mem::take(&mut *self.shared.drivers.lock().unwrap_or_else(PoisonError::into_inner));
        let ended = async {
            for driver in drivers {
                // A driver that panicked has nothing more to commit.
                let _ = driver.await;
            }
            // The answers to what was committed last are on their way to mail programs.
            let _ = tokio::time::timeout(FAREWELL, futures::future::join_all(&mut gateways)).await;
            self.shared.transport.stop().await;
        };
        if tokio::time::timeout(STOP, ended).await.is_err() {
            tracing::warn!("stopping took too long and was cut short; nothing that was acknowledged is lost");
        }
        let parts = std::mem::take(&mut *self.shared.parts.lock().unwrap_or_else(PoisonError::into_inner));
        parts.iter().for_each(|(_, part)| part.abort());
        self.shared.registry.clear();
        self.shared.carrier.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Not while a thread of the async runtime waits for the disk.
        let shared = self.shared;
        let _ = tokio::time::timeout(LETTING_GO, tokio::task::spawn_blocking(move || drop(shared))).await;
    }
}

impl Shared {
    pub(super) fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(super) const fn pool(&self) -> &Pool {
        &self.pool
    }

    pub(super) const fn listening(&self) -> Option<Listening> {
        self.listening
    }

    pub(super) fn transport_status(&self) -> TransportStatus {
        self.transport_status.borrow().clone()
    }

    pub(super) fn request_stop(&self) {
        // Where it ends already, for a reason that is worse, that stays.
        self.stop_requested.send_if_modified(|ending| ending.replace(ending.unwrap_or(Ending::Asked)).is_none());
    }

    pub(super) fn with_keyring<T>(
        &self,
        work: impl FnOnce(&mut Keyring) -> Result<T, UnlockError>,
    ) -> Result<T, Failure> {
        let mut keyring = self.keyring.lock().unwrap_or_else(PoisonError::into_inner);
        work(&mut keyring).map_err(|error| keyless("the keys", &error))
    }
}

/// Why a node has to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// Somebody asked for it.
    Asked,
    /// This part of it ended.
    Broken(&'static str),
    /// Another node has its addresses: its original, or a copy of it.
    Original,
    /// Its data directory is not there any more, or is another one.
    Gone,
    /// Its data directory cannot be written.
    ReadOnly,
}

/// Returns when the transport is no more: nobody reports what it does.
async fn network(mut status: watch::Receiver<TransportStatus>) {
    let _ = status.wait_for(|status| status.state == TransportState::Stopped).await;
}

pub(super) fn local_part(name: &str) -> Result<LocalPart, Failure> {
    LocalPart::new(name).map_err(|error| Failure::new(Code::Usage, format!("\"{name}\" cannot be a name: {error}")))
}

/// The configuration: what was given now, then the file's. Where there is no file, also what it is to hold.
fn configuration(preparation: &Preparation, given: File) -> Result<(Config, Option<File>), Failure> {
    let path = preparation.directory.path();
    let usage = |error: crate::config::ConfigError| Failure::new(Code::Usage, error.to_string());
    let written = path.join(crate::config::FILE_NAME).metadata().map(|meta| meta.len());
    if preparation.is_initialised()? && written.as_ref().map_or(true, |bytes| *bytes == 0) {
        tracing::warn!(
            "config.toml is missing or empty, and every node has one: what is not given now is as for a new node. \
             Put it back if anything stood there, such as a table [tor]"
        );
    }
    let file = given.or(File::load(path).map_err(usage)?);
    let config = file.validate().map_err(usage)?;
    Ok((config, written.is_err().then_some(file)))
}

/// The keys of a node; of a new one where the data directory is empty.
fn unlock_or_make(preparation: &Preparation, passphrase: Option<Zeroizing<String>>) -> Result<Keyring, Failure> {
    if preparation.is_initialised()? {
        return unlock(preparation, passphrase, keyless);
    }
    let (vfs, keys) = (Arc::clone(&preparation.vfs), preparation.keys());
    let passphrase = passphrase.map(|text| Passphrase::new(text.to_string()));
    Keyring::create(vfs, &keys, passphrase.as_ref(), Box::new(OsRng))
        .map_err(|error| broken("the keys cannot be made", error))
}

/// The keys of a node that exists. What went wrong becomes a failure by `told`, of [`keyless`] or like it.
pub(super) fn unlock(
    preparation: &Preparation,
    passphrase: Option<Zeroizing<String>>,
    told: fn(&str, &UnlockError) -> Failure,
) -> Result<Keyring, Failure> {
    let (vfs, keys) = (Arc::clone(&preparation.vfs), preparation.keys());
    let passphrase = passphrase.map(|text| Passphrase::new(text.to_string()));
    let is_locked = || Keyring::is_passphrase_protected(&*vfs, &keys).map_err(|error| told("the keys", &error));
    if passphrase.is_some() && !is_locked()? {
        return Err(Failure::new(Code::Usage, "this data directory was made without a passphrase, and one was given")
            .hint("start without it: a passphrase given now would protect nothing"));
    }
    Keyring::unlock(Arc::clone(&vfs), &keys, passphrase.as_ref(), Box::new(OsRng)).map_err(|error| match error {
        UnlockError::WrongPassphrase => Failure::new(Code::NeedsUnlock, "the passphrase is wrong; nothing was changed")
            .hint("try again; it cannot be recovered if it is lost"),
        UnlockError::NeedsPassphrase => {
            Failure::new(Code::NeedsUnlock, "this data directory is locked with a passphrase")
                .hint("give it with --passphrase-file FILE, or start on a terminal")
        }
        error => told("the keys cannot be opened", &error),
    })
}

/// The sockets of mail programs.
struct Gateways {
    imap: TcpListener,
    submission: TcpListener,
}

impl Gateways {
    async fn listen(config: &Config) -> Result<Self, Failure> {
        let imap = listen(config.imap, "IMAP", "--imap").await?;
        let submission = listen(config.submission, "submission", "--submission").await?;
        Ok(Self { imap, submission })
    }

    fn addresses(&self) -> Result<Listening, Failure> {
        Ok(Listening {
            imap: self.imap.local_addr().map_err(|error| broken("IMAP", error))?,
            submission: self.submission.local_addr().map_err(|error| broken("submission", error))?,
        })
    }
}

async fn listen(address: SocketAddr, what: &str, flag: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        let failure = Failure::new(Code::Failed, format!("{what} cannot listen on {address}: {error}"));
        if error.kind() == std::io::ErrorKind::AddrInUse {
            failure.hint(format!(
                "another program uses the port; choose another one with {flag} 127.0.0.1:PORT, or port 0 for any"
            ))
        } else {
            failure
        }
    })
}

async fn transport(config: &Config, data: &Path) -> Result<Arc<dyn Transport>, Failure> {
    let failed = |error: crate::net::StartError| Failure::new(Code::Failed, error.to_string());
    match &config.transport {
        TransportChoice::Loopback(directory) => Ok(Arc::new(Loopback::open(directory).map_err(failed)?)),
        TransportChoice::Tor => {
            let table: toml::Table = config.tor.clone().into_iter().collect();
            Ok(Arc::new(Tor::start(TorConfig::new(data.join("tor"), table)).await.map_err(failed)?))
        }
    }
}

#[cfg(test)]
mod tests;
