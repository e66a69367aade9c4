//! arti's configuration: the `[tor]` table as its user wrote it, and what runepeer itself decides.
//!
//! The user cannot set where arti keeps its files, nor that keys stay in memory. Where the table says nothing, we set
//! full vanguards and the memory limit: arti's defaults for both are weaker, so the result is checked. A key that arti
//! does not know is an error: a mistyped protection must not be ignored.

use std::error::Error;
use std::fmt::Write;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arti_client::TorClientConfig;
use arti_client::config::BridgeConfigBuilder;
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use tokio::time::{Instant, sleep};
use toml::{Table, Value};
use tor_config::load::{ConfigResolveOptions, resolve_return_results};
use tor_config::sources::MustRead;
use tor_config::{ConfigurationSource, ConfigurationSources};
use tor_hsservice::OnionServiceConfig;
use tor_hsservice::config::{OnionServiceConfigBuilder, TokenBucketConfig};

use crate::base::{Timestamp, limits};
use crate::net::StartError;
use crate::net::private::make_private_directory;

/// 1 November 2026: a clock that shows an earlier time is wrong.
const MADE: i64 = 1_793_491_200;

/// The time between two looks at a lock.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// The settings with which Tor is started.
#[derive(Debug, Clone)]
pub struct TorConfig {
    /// Where arti keeps its cache and state: `<data>/tor`. One process at a time; the node's lock sees to that.
    pub dir: PathBuf,
    /// The `[tor]` table of the configuration: arti's own options.
    pub table: Table,
    /// Without progress for this long, a bootstrap counts as blocked.
    pub blocked_after: Duration,
}

impl TorConfig {
    /// The usual settings, with this directory and the user's table.
    pub const fn new(dir: PathBuf, table: Table) -> Self {
        Self { dir, table, blocked_after: limits::TOR_BLOCKED_AFTER }
    }

    /// Checks the table as a start does, and starts nothing.
    ///
    /// # Errors
    /// [`StartError::Config`] with the place of the mistake.
    pub fn check(&self) -> Result<(), StartError> {
        client_config(self).map(drop)
    }

    fn cache(&self) -> PathBuf {
        self.dir.join("cache")
    }

    fn state(&self) -> PathBuf {
        self.dir.join("state")
    }
}

/// A clock that shows a time before this program was made is wrong, and Tor would fail with a less helpful message.
pub(super) fn check_clock() -> Result<(), StartError> {
    judge_clock(clock().secs())
}

/// The time that the system's clock shows.
pub(super) fn clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

fn judge_clock(now: i64) -> Result<(), StartError> {
    if now < MADE { Err(StartError::Clock(Timestamp::from_secs(now).rfc3339())) } else { Ok(()) }
}

/// Makes arti's directories, closed to others, and refuses open ones.
pub(super) fn prepare_directories(config: &TorConfig) -> Result<(), StartError> {
    for dir in [config.dir.clone(), config.cache(), config.state()] {
        let _: File = make_private_directory(&dir)?;
    }
    Ok(())
}

/// Waits until no other client holds arti's files. Otherwise arti would go on, but without saving its guards and
/// without loading a directory; a client that was just stopped in this process still holds them for a while.
pub(super) async fn wait_for_files(config: &TorConfig, limit: Duration) -> Result<(), StartError> {
    let deadline = Instant::now() + limit;
    for lock in [config.state().join("state").join("state.lock"), config.cache().join("dir.lock")] {
        while is_locked(&lock) {
            if Instant::now() >= deadline {
                return Err(StartError::Busy(config.dir.clone()));
            }
            sleep(LOCK_PAUSE).await;
        }
    }
    Ok(())
}

/// Whether another client holds this lock of arti's. A file that does not exist is free.
fn is_locked(path: &Path) -> bool {
    File::open(path)
        .is_ok_and(|file| rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK))
}

/// arti's configuration from the user's table and our own decisions, checked.
pub(super) fn client_config(config: &TorConfig) -> Result<TorClientConfig, StartError> {
    check_bridges(&config.table)?;
    let table = overlaid(config)?;
    let text = toml::to_string(&table).map_err(|error| StartError::Config(error.to_string()))?;
    let mut sources = ConfigurationSources::new_empty();
    sources.push_source(ConfigurationSource::from_verbatim(text), MustRead::MustRead);
    let tree = sources.load().map_err(|error| StartError::Config(chain(&error)))?;
    let resolved = resolve_return_results::<TorClientConfig>(&tree, &ConfigResolveOptions::default())
        .map_err(|error| StartError::Config(chain(&error)))?;
    if let Some(key) = resolved.unrecognized.first() {
        return Err(StartError::Config(format!("arti knows no option {key}")));
    }
    check_limits(config, &resolved.value)?;
    Ok(resolved.value)
}

/// Whether this build of arti can use bridges. That is decided when it is compiled, and we advise only bridges that
/// work.
pub(super) fn bridges_work() -> bool {
    let text = format!("[bridges]\nenabled = true\nbridges = \"192.0.2.1:443 {}\"", "0".repeat(40));
    let mut sources = ConfigurationSources::new_empty();
    sources.push_source(ConfigurationSource::from_verbatim(text), MustRead::MustRead);
    sources.load().is_ok_and(|tree| tor_config::resolve_ignore_warnings::<TorClientConfig>(&tree).is_ok())
}

/// Names the bridge that cannot be used, which arti does not, and the transport that is missing for one: of several bridges
/// arti would leave it out without a word.
fn check_bridges(table: &Table) -> Result<(), StartError> {
    let Some(bridges) = table.get("bridges").and_then(Value::as_table) else { return Ok(()) };
    let lines: Vec<&str> = match bridges.get("bridges") {
        Some(Value::Array(lines)) => lines.iter().map(|line| line.as_str().unwrap_or_default()).collect(),
        Some(Value::String(text)) => {
            text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
        }
        _ => Vec::new(),
    };
    let transports = bridges.get("transports").and_then(Value::as_array).into_iter().flatten();
    let protocols = transports.filter_map(|transport| transport.get("protocols")?.as_array()).flatten();
    let protocols: Vec<&str> = protocols.filter_map(Value::as_str).collect();
    // A bridge that is written as a table is arti's to judge.
    for (number, line) in (1..).zip(lines).filter(|(_, line)| !line.is_empty()) {
        let bridge: BridgeConfigBuilder = line
            .parse()
            .map_err(|error| StartError::Config(format!("bridge {number} cannot be used: {}", chain(&error))))?;
        let transport = bridge.get_transport().unwrap_or_default();
        if !transport.is_empty() && !protocols.contains(&transport) {
            return Err(StartError::Config(lacking(number, transport)));
        }
    }
    Ok(())
}

/// What is missing for a bridge with this transport, and where it is to be had.
fn lacking(number: usize, transport: &str) -> String {
    let (package, path) = match transport {
        "snowflake" => ("snowflake-client", "/usr/bin/snowflake-client"),
        "webtunnel" => ("lyrebird", "/usr/bin/lyrebird"),
        _ => ("obfs4proxy, or lyrebird in newer ones", "/usr/bin/obfs4proxy"),
    };
    format!(
        "bridge {number} is reached by a program for {transport}, and no [[tor.bridges.transports]] names one. Install it \
         (Debian's package: {package}), and write into config.toml:\n[[tor.bridges.transports]]\nprotocols = \
         [\"{transport}\"]\npath = \"{path}\""
    )
}

/// The user's table with our decisions in it.
fn overlaid(config: &TorConfig) -> Result<Table, StartError> {
    let mut table = config.table.clone();
    let storage = subtable(&mut table, "storage")?;
    if let Some(key) = storage.keys().find(|key| *key != "permissions") {
        return Err(StartError::Config(format!("storage.{key} is runepeer's own decision; remove it")));
    }
    storage.insert("cache_dir".to_owned(), literal(&config.cache())?);
    storage.insert("state_dir".to_owned(), literal(&config.state())?);
    let primary = subtable(subtable(storage, "keystore")?, "primary")?;
    primary.insert("kind".to_owned(), Value::from("ephemeral"));
    subtable(&mut table, "vanguards")?.entry("mode").or_insert_with(|| Value::from("full"));
    let memory = i64::try_from(limits::TOR_MEMORY_BYTES).unwrap_or(i64::MAX);
    subtable(subtable(&mut table, "system")?, "memory")?.entry("max").or_insert_with(|| Value::from(memory));
    Ok(table)
}

fn subtable<'a>(table: &'a mut Table, name: &str) -> Result<&'a mut Table, StartError> {
    table
        .entry(name)
        .or_insert_with(|| Value::Table(Table::new()))
        .as_table_mut()
        .ok_or_else(|| StartError::Config(format!("{name} must be a table")))
}

/// A path in a form that arti takes literally: `~` and `$` in it mean nothing.
fn literal(path: &Path) -> Result<Value, StartError> {
    let text = path
        .to_str()
        .ok_or_else(|| StartError::Config(format!("the directory {} has a name that is not UTF-8", path.display())))?;
    Ok(Value::Table(Table::from_iter([("literal".to_owned(), Value::from(text))])))
}

/// Checks that arti took over our decisions. Where the user decided, that decision stands.
fn check_limits(config: &TorConfig, built: &TorClientConfig) -> Result<(), StartError> {
    let chosen = |path: [&str; 2]| {
        let [outer, inner] = path;
        config.table.get(outer).and_then(|outer| outer.get(inner)).is_some()
    };
    // arti offers no accessors for these two.
    let vanguards: &arti_client::config::vanguards::VanguardConfig = built.as_ref();
    if !chosen(["vanguards", "mode"]) && !format!("{vanguards:?}").contains("Explicit(Full)") {
        return Err(StartError::Limit("vanguards.mode"));
    }
    let memory = format!("max: ByteQty({})", limits::TOR_MEMORY_BYTES);
    if !chosen(["system", "memory"]) && !format!("{built:?}").contains(&memory) {
        return Err(StartError::Limit("system.memory.max"));
    }
    Ok(())
}

/// The configuration of one onion service, with its limits checked.
pub(super) fn service_config(nickname: &str) -> Result<OnionServiceConfig, StartError> {
    let nickname = nickname.parse().map_err(|error| StartError::Config(chain(&error)))?;
    let intro = TokenBucketConfig::new(limits::TOR_INTRODUCTIONS_PER_SECOND, limits::TOR_INTRODUCTION_BURST);
    let config = OnionServiceConfigBuilder::default()
        .nickname(nickname)
        .rate_limit_at_intro(Some(intro.clone()))
        .max_concurrent_streams_per_circuit(limits::TOR_STREAMS_PER_CIRCUIT)
        .build()
        .map_err(|error| StartError::Config(chain(&error)))?;
    if *config.max_concurrent_streams_per_circuit() != limits::TOR_STREAMS_PER_CIRCUIT {
        return Err(StartError::Limit("max_concurrent_streams_per_circuit"));
    }
    if config.rate_limit_at_intro() != &Some(intro) {
        return Err(StartError::Limit("rate_limit_at_intro"));
    }
    Ok(config)
}

/// An error with its causes, each named once.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !text.contains(&words) {
            let _ = write!(text, ": {words}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(toml: &str) -> TorConfig {
        TorConfig::new(PathBuf::from("/nowhere/$HOME/~x"), toml.parse().unwrap())
    }

    fn refusal(toml: &str) -> String {
        client_config(&config(toml)).unwrap_err().to_string()
    }

    #[test]
    fn our_limits_hold_where_the_table_says_nothing() {
        let built = client_config(&config("")).unwrap();
        assert!(check_limits(&config(""), &built).is_ok());
        // The check really can fail: arti's own defaults do not pass it.
        let defaults = TorClientConfig::default();
        assert!(matches!(check_limits(&config(""), &defaults), Err(StartError::Limit("vanguards.mode"))));
        let lite = "[vanguards]\nmode = \"lite\"";
        assert!(matches!(check_limits(&config(lite), &defaults), Err(StartError::Limit("system.memory.max"))));
        assert!(client_config(&config(lite)).is_ok(), "the user's word stands");
    }

    #[test]
    fn files_and_keys_are_ours() {
        let text = toml::to_string(&overlaid(&config("")).unwrap()).unwrap();
        assert!(text.contains("kind = \"ephemeral\"") && text.contains("literal = \"/nowhere/$HOME/~x/state\""));
        assert!(refusal("[storage]\nstate_dir = \"/x\"").contains("storage.state_dir"));
        assert!(refusal("[storage.keystore.primary]\nkind = \"native\"").contains("storage.keystore"));
        assert!(client_config(&config("[storage.permissions]\ndangerously_trust_everyone = true")).is_ok());
    }

    #[test]
    fn a_mistake_in_the_table_is_named() {
        assert!(refusal("[path_rule]\nx = 1").contains("path_rule"));
        assert!(refusal("vanguards = 3").contains("vanguards"));
        assert!(refusal("[vanguards]\nmode = \"most\"").contains("vanguards.mode"));
    }

    #[test]
    fn bridges_in_the_table_are_taken_or_refused_and_never_ignored() {
        let table = format!("[bridges]\nenabled = true\nbridges = \"192.0.2.1:443 {}\"", "0".repeat(40));
        assert_eq!(client_config(&config(&table)).is_ok(), bridges_work());
    }

    #[test]
    fn a_bridge_that_cannot_be_used_is_named_and_so_is_a_missing_transport() {
        let key = "0123456789012345678901234567890123456789";
        let of = |lines: &str| format!("[bridges]\nenabled = true\nbridges = {lines}\n");
        let good = format!("192.0.2.1:443 {key}");
        for (line, reason) in [
            ("192.0.2.1 x", "192.0.2.1"),
            ("192.0.2.1:443", "RSA identity"),
            ("192.0.2.1:443 0123", "0123"),
            (&*format!("192.0.2.1:443 {key} cert=x"), "without a pluggable transport"),
        ] {
            for lines in [format!("[\"{good}\", \"{line}\"]"), format!("'''\n# two\n{good}\n\n{line}\n'''")] {
                let said = refusal(&of(&lines));
                assert!(said.contains("bridge 2 cannot be used: ") && said.contains(reason), "{said}");
            }
        }
        let obfs4 = of(&format!("[\"{good}\", \"obfs4 192.0.2.1:443 {key} cert=x iat-mode=0\"]"));
        let said = refusal(&obfs4);
        assert!(said.contains("bridge 2 is reached by a program for obfs4") && said.contains("obfs4proxy"), "{said}");
        // What the sentence says to write is what was missing.
        let (_, entry) = said.split_once("config.toml:\n").unwrap();
        assert!(client_config(&config(&format!("{obfs4}{}", entry.replace("tor.", "")))).is_ok(), "{entry}");
        let table = of(&format!("[{{ addrs = [\"192.0.2.1:443\"], ids = [\"{key}\"] }}]"));
        assert!(config(&table).check().is_ok());
    }

    #[test]
    fn a_service_has_our_limits() {
        let config = service_config("abc").unwrap();
        // The machine sees more connections than it serves, from even more circuits, because it decides which
        // connection makes room.
        const { assert!(limits::CONNECTIONS > limits::SESSIONS && limits::TOR_CIRCUITS > limits::CONNECTIONS) };
        assert_eq!(*config.max_concurrent_streams_per_circuit(), 8);
        assert!(config.rate_limit_at_intro().is_some());
        assert!(service_config("no/slash").is_err());
    }

    #[tokio::test]
    async fn files_that_another_client_holds_are_waited_for_and_refused() {
        let dir = tempfile::tempdir().unwrap();
        let config = TorConfig::new(dir.path().join("tor"), Table::new());
        prepare_directories(&config).unwrap();
        assert!(wait_for_files(&config, Duration::ZERO).await.is_ok());
        for lock in ["state/state/state.lock", "cache/dir.lock"] {
            let path = config.dir.join(lock);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            let held = File::create(path).unwrap();
            rustix::fs::flock(&held, FlockOperation::LockExclusive).unwrap();
            let refused = wait_for_files(&config, Duration::from_millis(50)).await;
            assert!(matches!(refused, Err(StartError::Busy(_))), "{lock}");
            let (waited, ()) = tokio::join!(wait_for_files(&config, Duration::from_secs(10)), async { drop(held) });
            assert!(waited.is_ok());
        }
    }

    #[test]
    fn a_clock_from_the_past_is_refused_with_its_time() {
        let refusal = judge_clock(0).unwrap_err().to_string();
        assert!(refusal.contains("1970-01-01T00:00:00Z") && refusal.contains("set the clock"), "{refusal}");
        assert!(check_clock().is_ok());
    }
}
