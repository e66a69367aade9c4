//! Starting a node: settings, keys, listeners, transport; then the identities and the carrier in its data directory.

use std::path::Path;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::super::commands::Commands;
use super::super::directory;
use super::super::failed_start::FailedStart;
use super::super::failures::{broken, keyless};
use super::super::first_start;
use super::super::gateways::Gateways;
use super::super::home::Home;
use super::super::hosts::account::Registry;
use super::super::hosts::carrier::CarrierHost;
use super::super::hosts::identity::{Identities, Usage, local_part};
use super::super::preparation::{Preparation, unlock};
use super::super::ready::Ready;
use super::super::runtime::Runtime;
use super::super::runtime::crypto::Pool;
use super::super::runtime::publishing::Network;
use super::super::runtime::restored::Cautious;
use super::super::runtime::supervision::Supervisor;
use super::{Node, Reading, Start};
use crate::base::IdentityId;
use crate::config::{Config, Transport as TransportChoice};
use crate::control::{CarrierChange, Code, Failure, Handler, Server};
use crate::mail::LocalPart;
use crate::net::{Loopback, StartError, Tor, TorConfig, Transport};
use crate::store::{Keyring, OsRng, Passphrase, end_first_start};

impl Node {
    /// Starts a node: keys, logs, identities, control socket. The network comes up meanwhile.
    ///
    /// # Errors
    /// Each is a sentence for the user. Nothing is left running. What a first start made until then means nothing: the
    /// next [`Preparation::open`] removes it.
    pub async fn start(ready: Ready, start: Start) -> Result<Self, Failure> {
        let name = start.name.as_deref().map(local_part).transpose()?;
        let Ready { preparation, config, unwritten, gateways, keyring } = ready;
        let listening = gateways.as_ref().map(Gateways::addresses).transpose()?;
        let server = Server::bind(preparation.root()).map_err(|error| broken("the control socket", error))?;
        let keyring = match keyring {
            Some(keyring) => keyring,
            None => unlock_or_make(&preparation, start.passphrase)?,
        };
        let ids = identities(&keyring, &config)?;
        let supervisor = Arc::new(Supervisor::default());
        let transport = Cautious::where_needed(
            transport(&config, preparation.root()).await?,
            &preparation.vfs,
            preparation.root(),
            ids,
            supervisor.ending(),
        );
        // The file is written only now, so that settings with which the node cannot start are not kept.
        if let Some(file) = unwritten {
            file.save(preparation.root()).map_err(|error| broken("the configuration cannot be written", error))?;
        }
        let pool = Pool::new().map_err(|error| broken("this process cannot start threads", error))?;
        let home = Arc::new(Home::new(preparation, keyring));
        let is_passphrase_protected = home.with_keyring(|keyring| Ok(keyring.has_passphrase()))?;
        let registry = Arc::new(Registry::new(pool.clone()));
        let runtime = Runtime { network: Arc::new(Network::new(transport)), supervisor, pool };
        let usage = Usage { delays: start.delays, terms: config.terms };
        let identities = Arc::new(Identities::new(Arc::clone(&home), runtime.clone(), Arc::clone(&registry), usage));
        let carrier = Arc::new(CarrierHost::new(Arc::clone(&home), runtime.clone()));
        let commands = Arc::new(Commands {
            home: Arc::clone(&home),
            runtime: runtime.clone(),
            registry: Arc::clone(&registry),
            identities: Arc::clone(&identities),
            carrier: Arc::clone(&carrier),
            leases: Arc::default(),
            listening,
        });
        let ending = runtime.supervisor.ending().clone();
        tokio::spawn(directory::watch(Arc::downgrade(&home), Arc::downgrade(&registry), ending));
        let mut node =
            Self { runtime, registry, identities, carrier, commands, gateways: Vec::new(), is_passphrase_protected };
        let opened = match config.carrier_only {
            true => node.open_carrier_alone().await,
            false => node.open_everything(name, &start.reading, start.at_once).await,
        };
        let opened = match (opened, start.space) {
            (Ok(()), Some(_)) => {
                let change = CarrierChange { space: start.space, ..CarrierChange::default() };
                node.carrier.limit(&change).await.map(drop)
            }
            (opened, _) => opened,
        };
        if let Err(failure) = opened {
            node.stop().await;
            return Err(failure);
        }
        end_first_start(&**home.vfs(), home.path());
        let Runtime { network, supervisor, .. } = &node.runtime;
        node.gateways.extend(gateways.into_iter().flat_map(|gateways| gateways.serve(&node.registry, supervisor)));
        let control = server.serve(Arc::clone(&node.commands) as Arc<dyn Handler>);
        supervisor.spawn("the control socket", control);
        supervisor.spawn("the connection to the network", network.ended());
        FailedStart::clear(home.path());
        Ok(node)
    }

    /// Opens the identities that exist and the carrier, and makes the first identity.
    async fn open_everything(&self, name: Option<LocalPart>, reading: &Reading, at_once: bool) -> Result<(), Failure> {
        let found = self.identities.open_all(reading, at_once).await?;
        // A carrier that cannot be opened holds other people's mail; it does not keep the owner from their own.
        self.carrier.open_or_note_why().await;
        self.identities.look_at_terms(found);
        match name {
            Some(name) if found == 0 => self.identities.make(name).await.map(drop),
            _ => Ok(()),
        }
    }

    /// Opens the carrier, or makes it.
    async fn open_carrier_alone(&self) -> Result<(), Failure> {
        self.carrier.open_known().await?;
        match self.carrier.current() {
            Some(_) => Ok(()),
            None => self.carrier.enable().await.map(drop),
        }
    }
}

/// The keys of a node; those of a new node where the data directory is empty.
fn unlock_or_make(preparation: &Preparation, passphrase: Option<Zeroizing<String>>) -> Result<Keyring, Failure> {
    if preparation.is_initialised()? {
        return unlock(preparation, passphrase, keyless);
    }
    first_start::begin(&*preparation.vfs, preparation.root())?;
    let (vfs, keys) = (Arc::clone(&preparation.vfs), preparation.keys());
    let passphrase = passphrase.map(|text| Passphrase::new(text.to_string()));
    Keyring::create(vfs, &keys, passphrase.as_ref(), Box::new(OsRng))
        .map_err(|error| broken("the keys cannot be made", error))
}

/// The identities that exist.
fn identities(keyring: &Keyring, config: &Config) -> Result<Vec<IdentityId>, Failure> {
    let ids = keyring.identities().map_err(|error| broken("the keys", error))?;
    if config.carrier_only && !ids.is_empty() {
        return Err(Failure::new(Code::Usage, "this data directory has identities, and carrier_only is set")
            .hint("give a carrier without a mailbox a directory of its own: --data-dir DIR"));
    }
    Ok(ids)
}

async fn transport(config: &Config, data: &Path) -> Result<Arc<dyn Transport>, Failure> {
    let failed = |error: StartError| {
        let failure = Failure::new(Code::Failed, error.to_string());
        match error {
            StartError::Config(_) => failure.hint("see what stands there: runepeer config path, runepeer bridge list"),
            _ => failure,
        }
    };
    match &config.transport {
        TransportChoice::Loopback(directory) => Ok(Arc::new(Loopback::open(directory).map_err(failed)?)),
        TransportChoice::Tor => {
            let table: toml::Table = config.tor.clone().into_iter().collect();
            Ok(Arc::new(Tor::start(TorConfig::new(data.join("tor"), table)).await.map_err(failed)?))
        }
    }
}
