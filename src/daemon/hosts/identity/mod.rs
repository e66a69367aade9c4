//! The identities of a node: made, opened from their logs, published.
//!
//! An identity exists once its key is kept; its log, with its first records, is made before that. Opening folds the
//! state from the view's image and the rest of the log, or from the whole log where no image fits.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

mod parting;
mod random_name;
mod shell;

use tokio::sync::watch;

pub(in crate::daemon) use self::parting::complete_removals;
use self::random_name::random_name;
pub(in crate::daemon) use self::shell::Asked;
use self::shell::{IdentityShell, Tools};
use super::account::{LocalAccount, Registry};
use super::keys::KeyChain;
use super::seal_keys::SealKeyFile;
use crate::backup;
use crate::base::{BodyId, IdentityId, Onion, OnionSeed, Rng, SymmetricKey, Terms};
use crate::control::{Code, Failure};
use crate::daemon::failures::broken;
use crate::daemon::home::Home;
use crate::daemon::node::Reading;
use crate::daemon::runtime::clock::now;
use crate::daemon::runtime::folded::{self, Folded, Image};
use crate::daemon::runtime::images::{self, Images};
use crate::daemon::runtime::{Published, Reached, Runtime, Tasks};
use crate::engine::boxes::Delays;
use crate::engine::state::profile::{Profile, PublicProfile, SecretBytes};
use crate::engine::{Identity, IdentityRecord, Record, RecordError, State};
use crate::mail::{Address, LocalPart};
use crate::pgp::{self, SealKey};
use crate::store::vfs::Vfs;
use crate::store::{IdentityView, Log, LogPosition, OpenError, OsRng, end_making};

/// The settings of identities.
pub(in crate::daemon) struct Usage {
    /// Within which times mail goes to boxes and receipts come back.
    pub(in crate::daemon) delays: Delays,
    /// The terms in config.toml, by the names of identities.
    pub(in crate::daemon) terms: BTreeMap<String, Terms>,
}

/// Makes and opens identities.
pub(in crate::daemon) struct Identities {
    home: Arc<Home>,
    runtime: Runtime,
    registry: Arc<Registry>,
    usage: Usage,
}

pub(in crate::daemon) fn local_part(name: &str) -> Result<LocalPart, Failure> {
    LocalPart::chosen(name).map_err(|error| Failure::new(Code::Usage, format!("\"{name}\" cannot be a name: {error}")))
}

impl Identities {
    /// Opens no identity yet. Identities that are opened later are added to this registry.
    pub(in crate::daemon) const fn new(
        home: Arc<Home>,
        runtime: Runtime,
        registry: Arc<Registry>,
        usage: Usage,
    ) -> Self {
        Self { home, runtime, registry, usage }
    }

    /// Opens all identities that exist; returns how many there are. Several come on line at moments of their own, unless
    /// `at_once` says otherwise.
    pub(in crate::daemon) async fn open_all(&self, reading: &Reading, at_once: bool) -> Result<usize, Failure> {
        let ids = self.home.with_keyring(|keyring| {
            keyring.erase_orphans()?;
            keyring.identities()
        })?;
        for (id, after) in ids.iter().zip(moments(ids.len(), at_once, &mut OsRng)) {
            self.open(*id, reading, after).await?;
        }
        Ok(ids.len())
    }

    /// Warns of terms in config.toml for a name that no identity has. Before there is an identity it does not warn.
    pub(in crate::daemon) fn look_at_terms(&self, found: usize) {
        let here = |name: &String| self.registry.all().iter().any(|it| it.name().eq_ignore_ascii_case(name));
        if found > 0 && !self.usage.terms.keys().all(here) {
            tracing::warn!("config.toml has a table [identity.NAME] for a name that no identity here has");
        }
    }

    /// Makes another identity, for the control socket: with this name, or with a random one that no identity here has.
    pub(in crate::daemon) async fn make_another(&self, name: Option<&str>) -> Result<Arc<LocalAccount>, Failure> {
        let name = name.map(local_part).transpose()?;
        // Identities are made one after the other, so that no two get the same name.
        let _turn = self.home.turn().await;
        let accounts = self.registry.all();
        let is_taken = |name: &str| accounts.iter().any(|account| account.name().eq_ignore_ascii_case(name));
        let Some(name) = name else {
            let mut names = std::iter::repeat_with(|| random_name(&mut OsRng));
            return self.make(local_part(&names.find(|name| !is_taken(name)).unwrap_or_default())?).await;
        };
        if is_taken(name.as_str()) {
            return Err(
                Failure::new(Code::Failed, format!("there is an identity {name} already")).hint("choose another name")
            );
        }
        self.make(name).await
    }

    /// Makes an identity: its log with its first records, then its key file, which is the commit (docs/on-disk.md).
    pub(in crate::daemon) async fn make(&self, name: LocalPart) -> Result<Arc<LocalAccount>, Failure> {
        let id = IdentityId::random(&mut OsRng);
        let (records, seal_keys) = genesis(&name)?;
        let key = SymmetricKey::random(&mut OsRng);
        let (vfs, path, log_key) = (Arc::clone(self.home.vfs()), self.path(id), key.clone());
        let made = tokio::task::spawn_blocking(move || folded::make::<State>(&vfs, &path, &log_key, &records)).await;
        made.map_err(|error| broken("the identity's log cannot be made", error))??;
        SealKeyFile { home: Arc::clone(&self.home), id }.write(&seal_keys)?;
        self.home.with_keyring(|keyring| keyring.add_identity(id, &key))?;
        self.open(id, &(Arc::new(|_, _| ()) as Reading), Duration::ZERO).await
    }

    fn path(&self, id: IdentityId) -> PathBuf {
        self.home.path().join(id.to_string())
    }

    /// Opens an identity's log, folds its state, and starts its machine and, after this time, its onion service.
    async fn open(&self, id: IdentityId, reading: &Reading, after: Duration) -> Result<Arc<LocalAccount>, Failure> {
        let key = self.home.with_keyring(|keyring| keyring.identity_key(id))?;
        let view = Arc::new(self.home.view(id, &key));
        let (vfs, path) = (Arc::clone(self.home.vfs()), self.path(id));
        end_making(&*vfs, &path);
        let opened = {
            let (home, view, reading) = (Arc::clone(&self.home), Arc::clone(&view), Arc::clone(reading));
            tokio::task::spawn_blocking(move || {
                let mut opened = replay(&vfs, &path, &key, &view, &*reading)?;
                opened.tell(&home, id, &view)?;
                Ok::<_, Failure>(opened)
            })
            .await
        };
        let Opened { log, state, replayed, .. } = opened.map_err(|error| broken("the identity's log", error))??;
        let profile = state.profile().cloned().ok_or_else(|| broken("the identity's log", "it has no first record"))?;
        let keys = pgp::SecretKeys::from_bytes(profile.secret_keys.expose())
            .map_err(|error| broken("the identity's keys", error))?;
        let file = SealKeyFile { home: Arc::clone(&self.home), id };
        let current = state.seal_keys().current().map(|key| key.id);
        let keys = KeyChain::of_identity(keys, &profile.public.certificate, current, file)?;
        if current.is_some_and(|key| !keys.holds(key)) {
            tracing::error!(
                "the present encryption key is not in keys/{id}.seal: a new one is made, and contacts send again, sealed to \
                 that one, what cannot be opened"
            );
        }
        let log = Arc::new(log);
        let tools = Tools {
            id,
            log: Arc::clone(&log),
            view: Arc::clone(&view),
            keys: Arc::new(keys),
            transport: Arc::clone(&self.runtime.network.transport),
        };
        let mut machine = Identity::new(state, self.usage.delays, now(), &mut OsRng)
            .map_err(|error| broken("the identity's log", error))?;
        machine.set_terms(self.terms_of(&profile.public.name));
        let (listens, wanted) = watch::channel(true);
        let (shell, snapshot) = IdentityShell::new(tools, machine.snapshot(), listens);
        let images = Images::new(Arc::clone(&log), IdentityView::clone(&view), replayed);
        let tasks = Tasks { driver: "an identity", publishing: "publishing an address" };
        let onion = Published { id, seed: profile.onion_seed.clone(), wanted, after };
        let Reached { requests, presence, running } = self.runtime.run(tasks, machine, shell, images, onion);
        let account = Arc::new(LocalAccount {
            id,
            address: profile.public.address.clone(),
            requests,
            snapshot,
            log,
            view,
            presence,
            running,
        });
        self.registry.add(Arc::clone(&account));
        Ok(account)
    }

    /// The terms that config.toml has for an identity, or the usual ones.
    fn terms_of(&self, name: &str) -> Terms {
        let mut terms = self.usage.terms.iter();
        terms.find(|(of, _)| of.eq_ignore_ascii_case(name)).map(|(_, terms)| terms.clone()).unwrap_or_default()
    }
}

/// The longest time after the start of a node at which an identity comes on line, where there are several.
const SPREAD: Duration = Duration::from_secs(60);

/// How long each of so many identities waits before its onion is published: somebody who sees several onions come at one
/// moment again and again would know that they belong together.
fn moments(count: usize, at_once: bool, rng: &mut dyn Rng) -> Vec<Duration> {
    let most = if at_once || count < 2 { Duration::ZERO } else { SPREAD };
    let most = u64::try_from(most.as_millis()).unwrap_or(0);
    (0..count).map(|_| Duration::from_millis(if most == 0 { 0 } else { rng.below(most) })).collect()
}

/// An identity's log, and the state that was read from it.
struct Opened {
    log: Log,
    state: State,
    /// How many records were read.
    replayed: u32,
    /// Whether the view has seen more of the log than is there.
    rolled_back: bool,
}

impl Opened {
    /// Tells an identity, once, that its log was restored from a backup, or that the end of its log is missing.
    fn tell(&mut self, home: &Home, id: IdentityId, view: &IdentityView) -> Result<(), Failure> {
        if !self.tell_restored(home, id)? && self.rolled_back {
            self.tell_rolled_back(view)?;
        }
        Ok(())
    }

    /// Tells an identity that its log was restored from a backup; returns whether it was.
    fn tell_restored(&mut self, home: &Home, id: IdentityId) -> Result<bool, Failure> {
        let mark = backup::mark(home.path(), id);
        let failed = |error: std::io::Error| broken("the mark of a restored backup", error);
        let Some(made) = backup::restored_from(&**home.vfs(), &mark).map_err(failed)? else { return Ok(false) };
        let (records, bodies) = self.state.restoration(made, now(), &mut OsRng);
        folded::extend(&mut self.state, &self.log, &records, bodies)?;
        // If the mark stays, the next start tells the identity once more, which does no harm.
        let _ = home.vfs().unlink(&mark);
        Ok(true)
    }

    /// Tells an identity that the end of its log is missing. The view is told the present end at once.
    fn tell_rolled_back(&mut self, view: &IdentityView) -> Result<(), Failure> {
        let Self { log, state, .. } = self;
        let (records, bodies) = state.rollback(now(), &mut OsRng);
        folded::extend(state, log, &records, bodies)?;
        if let Some(save) = images::saving(log, view, state) {
            save();
            view.flush();
        }
        Ok(())
    }

    /// Makes the folders that are new in this version.
    fn make_missing_folders(&mut self) {
        let missing = self.state.missing_folders(now(), &mut OsRng);
        // Nobody is to be locked out of their mail by a full disk: the next start tries again.
        if !missing.is_empty()
            && let Err(failure) = folded::extend(&mut self.state, &self.log, &missing, Vec::new())
        {
            tracing::warn!(%failure, "a folder that came with this version could not be made");
        }
    }
}

/// The state of an identity: from the view's image where there is one, and the rest of the log; else from the whole
/// log.
fn replay(
    vfs: &Arc<dyn Vfs>,
    path: &Path,
    key: &SymmetricKey,
    view: &IdentityView,
    reading: &dyn Fn(u64, u64),
) -> Result<Opened, Failure> {
    let image = view.load_state().and_then(|(position, bytes)| Some((position, State::decode(&bytes).ok()?)));
    let (position, state): (Option<LogPosition>, State) = match image {
        Some((position, state)) => (Some(position), state),
        None => (None, State::default()),
    };
    fold(vfs, path, key, position.as_ref(), state, reading).or_else(|failure| match position {
        // An image that does not fit the log is no reason to fail: the log is the truth. But an image is only kept of a
        // durable state, so a part of the log is lost, and the user must be told and not find out by missing mail.
        Some(_) => fold(vfs, path, key, None, State::default(), reading).map(|opened| {
            tracing::error!(
                "the end of an identity's log is missing: an older copy was put back, or the disk lost what it had \
                 confirmed; mail that came last may be gone, and what was sent last may be sent again; a message in INBOX \
                 says more"
            );
            Opened { rolled_back: true, ..opened }
        }),
        None => Err(failure),
    })
}

fn fold(
    vfs: &Arc<dyn Vfs>,
    path: &Path,
    key: &SymmetricKey,
    from: Option<&LogPosition>,
    state: State,
    reading: &dyn Fn(u64, u64),
) -> Result<Opened, Failure> {
    let (log, state, replayed) = folded::open(vfs, path, key, from, state, reading)?;
    let mut opened = Opened { log, state, replayed, rolled_back: false };
    opened.make_missing_folders();
    Ok(opened)
}

impl Folded for State {
    type Record = Record;

    const LOG: &'static str = "the identity's log";
    const COMMITS_PER_IMAGE: u32 = 5000;

    fn next_step(error: &OpenError) -> Option<&'static str> {
        matches!(error, OpenError::Damaged { .. } | OpenError::Missing { .. }).then_some(
            "nothing was changed. Copy the data directory first; then either put back a backup (runepeer --data-dir NEW \
             backup restore FILE), or save what can still be read: runepeer repair",
        )
    }

    fn decode(bytes: &[u8]) -> Result<Option<Record>, RecordError> {
        Record::decode(bytes)
    }

    fn encode(record: &Record) -> Result<Vec<u8>, RecordError> {
        record.encode()
    }

    fn apply(&mut self, number: u64, record: &Record) {
        Self::apply(self, number, record);
    }

    fn last_record(&self) -> u64 {
        Self::last_record(self)
    }

    fn is_begun(&self) -> bool {
        self.profile().is_some()
    }

    fn bodies(&self) -> BTreeSet<BodyId> {
        Self::bodies(self)
    }

    fn settle(&mut self) {
        self.take_released();
    }

    fn image(&self) -> Image {
        let state = self.clone();
        Box::new(move || state.encode().ok())
    }

    fn checkpoint(&self) -> Vec<Record> {
        Self::checkpoint(self)
    }
}

/// The first records of a new identity, and its encryption keys, which are kept apart: what is in a log stays there.
pub(in crate::daemon) fn genesis(name: &LocalPart) -> Result<(Vec<Record>, Vec<SealKey>), Failure> {
    let mut profile = new_profile(name)?;
    let parted = pgp::SecretKeys::from_bytes(profile.secret_keys.expose()).and_then(|keys| keys.parted());
    let (keys, seal_keys) = parted.map_err(|error| broken("the identity's keys cannot be made", error))?;
    profile.secret_keys = SecretBytes::new(keys.to_bytes().to_vec());
    let (certificate, at) = (profile.public.certificate.clone(), profile.public.created);
    let mut records = State::genesis(profile, &mut OsRng);
    records.extend(seal_keys.iter().map(|key| {
        let certificate = certificate.clone();
        IdentityRecord::SealKeyRenewed { id: key.id(), certificate, at }.into()
    }));
    Ok((records, seal_keys))
}

/// New keys, and the statement that binds them.
pub(in crate::daemon) fn new_profile(name: &LocalPart) -> Result<Profile, Failure> {
    let failed = |error: &dyn std::fmt::Display| broken("the identity's keys cannot be made", error);
    let seed = OnionSeed::random(&mut OsRng);
    let onion = Onion::of_seed(&seed);
    let generated = pgp::generate(now(), onion, &mut OsRng).map_err(|error| failed(&error))?;
    let binding = pgp::sign_binding(&seed, &generated.keys, 1).map_err(|error| failed(&error))?;
    let certificate = generated.keys.certificate();
    Ok(Profile {
        public: Arc::new(PublicProfile {
            name: name.to_string(),
            address: Address::new(name.clone(), onion),
            fingerprint: certificate.fingerprint(),
            certificate: certificate.bytes().into(),
            binding,
            created: now(),
        }),
        onion_seed: seed,
        secret_keys: SecretBytes::new(generated.keys.to_bytes().to_vec()),
        certificate_revocation: generated.key_revocation,
        onion_revocation: generated.onion_revocation,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_identities_come_on_line_at_independent_moments_within_a_minute_unless_told_otherwise() {
        use crate::base::rng::SeededRng;
        let zero = |all: &[Duration]| all.iter().all(Duration::is_zero);
        assert!(zero(&moments(1, false, &mut SeededRng::new(1))), "one alone has no reason to wait");
        assert!(zero(&moments(5, true, &mut SeededRng::new(1))));
        let mut gaps = BTreeSet::new();
        for seed in 0..100 {
            let pair = moments(2, false, &mut SeededRng::new(seed));
            assert!(pair.len() == 2 && pair.iter().all(|after| *after < SPREAD));
            gaps.insert(pair[0].abs_diff(pair[1]).as_secs() / 10);
        }
        assert_eq!(gaps.len(), 6, "any gap between the two occurs");
    }

    #[test]
    fn the_first_records_of_an_identity_have_no_encryption_key() {
        let (records, seal_keys) = genesis(&LocalPart::new("alice").unwrap()).unwrap();
        let mut state = State::default();
        for (number, record) in (1..).zip(&records) {
            state.apply(number, record);
        }
        assert_eq!(state.seal_keys().current().map(|key| key.id), Some(seal_keys[0].id()));
        let halves = &seal_keys[0].to_bytes()[16..];
        for record in &records {
            let bytes = record.encode().unwrap();
            assert!(halves.chunks(32).all(|half| !bytes.windows(32).any(|window| window == half)));
        }
    }

    /// Two identities share nothing by which somebody who knows both could link them.
    #[test]
    fn two_identities_share_no_key_and_no_onion() {
        let name = LocalPart::new("alice").unwrap();
        let [one, two] = [(), ()].map(|()| new_profile(&name).unwrap());
        assert_ne!(one.public.address.onion(), two.public.address.onion());
        assert_ne!(one.public.fingerprint, two.public.fingerprint);
        // The length of the shortest key.
        let runs: BTreeSet<&[u8]> = one.public.certificate.windows(32).collect();
        assert!(two.public.certificate.windows(32).all(|run| !runs.contains(run)), "a key or a signature");
    }

    #[test]
    fn a_log_of_a_newer_version_is_refused_and_loses_nothing() {
        use crate::engine::io::{Durability, NewBody};
        use crate::store::vfs::MemVfs;

        let vfs: Arc<dyn Vfs> = Arc::new(MemVfs::new());
        let (path, key) = (Path::new("/alice"), SymmetricKey::from_bytes([7; 32]));
        Log::create(&*vfs, path).unwrap();
        let open = || Log::open(Arc::clone(&vfs), path, &key, Box::new(OsRng), None, &mut |_, _| ()).unwrap();
        let body = NewBody::new(BodyId::from_bytes([1; 16]), b"of a later version".as_slice().into());
        let (done, committed) = std::sync::mpsc::channel();
        // A critical record of an unknown kind.
        let record = vec![0xff, 0xff, 1, 1];
        let log = open();
        log.commit(vec![record], vec![body], Durability::Synced, Box::new(move |first| done.send(first).unwrap()));
        committed.recv().unwrap().unwrap();
        drop(log);
        let failure = fold(&vfs, path, &key, None, State::default(), &|_, _| ()).map(|_| ()).unwrap_err();
        assert!(failure.hint.unwrap().contains("newer"));
        assert_eq!(open().read_body(BodyId::from_bytes([1; 16]), 0..100).unwrap(), b"of a later version");
    }
}
