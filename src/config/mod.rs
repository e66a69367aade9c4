//! Configuration: one TOML file, as written → validated.
//!
//! [`File`] is what stands in `config.toml`; [`Config`] is what the daemon works with. A mistake is reported with the
//! place in the file and what would be right; nothing is guessed.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The file's name in the data directory.
pub const FILE_NAME: &str = "config.toml";

/// Where IMAP listens unless told otherwise.
pub const DEFAULT_IMAP: &str = "127.0.0.1:1143";
/// Where submission listens unless told otherwise.
pub const DEFAULT_SUBMISSION: &str = "127.0.0.1:1587";

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file exists and cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is not TOML, or holds a key that does not exist.
    #[error("{path}: {message}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The parser's words, with the line.
        message: String,
    },
    /// An address that is not on the loopback interface.
    #[error(
        "{key} = \"{value}\" is not a loopback address with a port: mail programs connect without TLS, so only this machine may; write for example {example}"
    )]
    NotLoopback {
        /// Which setting.
        key: &'static str,
        /// As written.
        value: String,
        /// What would be right.
        example: &'static str,
    },
    /// A transport that does not exist.
    #[error("transport = \"{0}\" is not known; write \"tor\", or \"loopback:DIRECTORY\" for tests on one machine")]
    Transport(String),
}

/// How peers are reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// Onion services over the embedded Tor client.
    Tor,
    /// Unix sockets in this directory, for demos and tests on one machine.
    Loopback(PathBuf),
}

impl FromStr for Transport {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        match text.split_once(':') {
            None if text == "tor" => Ok(Self::Tor),
            Some(("loopback", directory)) if !directory.is_empty() => Ok(Self::Loopback(directory.into())),
            _ => Err(ConfigError::Transport(text.to_owned())),
        }
    }
}

impl std::fmt::Display for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tor => f.write_str("tor"),
            Self::Loopback(directory) => write!(f, "loopback:{}", directory.display()),
        }
    }
}

/// `config.toml` as written. Everything has a default.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// `transport = "tor"` or `"loopback:DIRECTORY"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<String>,
    /// `carrier_only = true`: carry mail for others, and have no mailbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carrier_only: Option<bool>,
    /// `[listen]`: where mail programs connect.
    #[serde(default)]
    pub listen: ListenFile,
    /// `[tor]`: handed to arti as it is (bridges, test networks).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tor: BTreeMap<String, toml::Value>,
}

/// `[listen]` as written.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenFile {
    /// `imap = "127.0.0.1:1143"`; port 0 means any free port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imap: Option<String>,
    /// `submission = "127.0.0.1:1587"`; port 0 means any free port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub submission: Option<String>,
}

/// A validated configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// How peers are reached.
    pub transport: Transport,
    /// Whether there is nothing but a carrier.
    pub carrier_only: bool,
    /// Where IMAP listens.
    pub imap: SocketAddr,
    /// Where submission listens.
    pub submission: SocketAddr,
    /// Arti's own settings.
    pub tor: BTreeMap<String, toml::Value>,
}

impl File {
    /// Reads the file of a data directory; a missing one is an empty one.
    ///
    /// # Errors
    /// [`ConfigError::Read`] and [`ConfigError::Syntax`].
    pub fn load(data: &Path) -> Result<Self, ConfigError> {
        let path = data.join(FILE_NAME);
        let no_links = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
        let read = OpenOptions::new().read(true).custom_flags(no_links).open(&path).and_then(std::io::read_to_string);
        match read {
            Ok(text) => toml::from_str(&text).map_err(|error| ConfigError::Syntax { path, message: error.to_string() }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(ConfigError::Read { path, source }),
        }
    }

    /// Writes the file of a data directory that has none, so that it is there whole or not at all.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn save(&self, data: &Path) -> std::io::Result<()> {
        let temporary = data.join(format!("{FILE_NAME}.new"));
        match std::fs::remove_file(&temporary) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(self.to_toml().as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&temporary, data.join(FILE_NAME))?;
        std::fs::File::open(data)?.sync_all()
    }

    /// The text of the file.
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).unwrap_or_default()
    }

    /// Fills in what is missing here from `other`.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            transport: self.transport.or(other.transport),
            carrier_only: self.carrier_only.or(other.carrier_only),
            listen: ListenFile {
                imap: self.listen.imap.or(other.listen.imap),
                submission: self.listen.submission.or(other.listen.submission),
            },
            tor: if self.tor.is_empty() { other.tor } else { self.tor },
        }
    }

    /// Checks everything and fills in the defaults.
    ///
    /// # Errors
    /// [`ConfigError::NotLoopback`] and [`ConfigError::Transport`].
    pub fn validate(&self) -> Result<Config, ConfigError> {
        Ok(Config {
            transport: self.transport.as_deref().unwrap_or("tor").parse()?,
            carrier_only: self.carrier_only.unwrap_or(false),
            imap: loopback("listen.imap", self.listen.imap.as_deref(), DEFAULT_IMAP)?,
            submission: loopback("listen.submission", self.listen.submission.as_deref(), DEFAULT_SUBMISSION)?,
            tor: self.tor.clone(),
        })
    }
}

fn loopback(key: &'static str, value: Option<&str>, default: &'static str) -> Result<SocketAddr, ConfigError> {
    let value = value.unwrap_or(default);
    match value.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_loopback() => Ok(address),
        _ => Err(ConfigError::NotLoopback { key, value: value.to_owned(), example: default }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_has_safe_defaults() {
        let config = toml::from_str::<File>("").unwrap().validate().unwrap();
        assert_eq!(config.transport, Transport::Tor);
        assert!(config.imap.ip().is_loopback() && config.submission.ip().is_loopback());
    }

    #[test]
    fn mistakes_are_refused() {
        assert!(toml::from_str::<File>("[listen]\nimpa = \"x\"").is_err());
        for text in ["[listen]\nimap = \"0.0.0.0:143\"", "[listen]\nsubmission = \"1587\"", "transport = \"ftp\""] {
            assert!(toml::from_str::<File>(text).unwrap().validate().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_saved_is_loaded_and_closed_to_others() {
        use std::os::unix::fs::PermissionsExt;
        let data = tempfile::tempdir().unwrap();
        // What a crash left.
        std::fs::write(data.path().join("config.toml.new"), "[lis").unwrap();
        let file = File { transport: Some("loopback:/tmp/x".into()), ..File::default() };
        file.save(data.path()).unwrap();
        assert_eq!(File::load(data.path()).unwrap().to_toml(), file.to_toml());
        assert!(!data.path().join("config.toml.new").exists());
        // The leftover's mode is its own business; a new file is closed.
        std::fs::remove_file(data.path().join(FILE_NAME)).unwrap();
        file.save(data.path()).unwrap();
        assert_eq!(data.path().join(FILE_NAME).metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_is_written_reads_back() {
        let file = File {
            transport: Some("loopback:/tmp/x".into()),
            carrier_only: Some(true),
            listen: ListenFile { imap: Some("127.0.0.1:0".into()), submission: None },
            tor: BTreeMap::from([("path_rules".into(), toml::Value::Table(toml::Table::new()))]),
        };
        let again: File = toml::from_str(&file.to_toml()).unwrap();
        assert_eq!(again.to_toml(), file.to_toml());
        assert_eq!(again.validate().unwrap().transport, Transport::Loopback("/tmp/x".into()));
    }

    #[test]
    fn a_link_is_no_configuration() {
        let data = tempfile::tempdir().unwrap();
        let elsewhere = data.path().join("elsewhere");
        std::fs::write(&elsewhere, "carrier_only = true").unwrap();
        std::os::unix::fs::symlink(&elsewhere, data.path().join(FILE_NAME)).unwrap();
        assert!(matches!(File::load(data.path()), Err(ConfigError::Read { .. })));
        // Nor is anything written through one.
        std::os::unix::fs::symlink(&elsewhere, data.path().join("config.toml.new")).unwrap();
        File::default().save(data.path()).unwrap();
        assert_eq!(std::fs::read_to_string(elsewhere).unwrap(), "carrier_only = true");
    }
}
