//! Configuration: one TOML file, first as it is written, then validated.
//!
//! [`File`] is the content of `config.toml`; [`Config`] is what the daemon works with. A mistake is reported with the
//! place in the file and what would be right; nothing is guessed.

mod bridges;

pub use bridges::with_bridges;

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::base::Terms;
use crate::base::limits::{MIB, OBJECT_BYTES, WELCOME_CHARACTERS};

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
        /// The error of the system.
        source: std::io::Error,
    },
    /// The file is not TOML, or has a key that does not exist.
    #[error("{path}: {message}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The parser's message, with the line.
        message: String,
    },
    /// An address that is not on the loopback interface.
    #[error(
        "{key} = \"{value}\" is not a loopback address with a port: mail programs connect without TLS, so only this \
         machine may; write for example {example}"
    )]
    NotLoopback {
        /// The name of the setting.
        key: &'static str,
        /// The value as it is written.
        value: String,
        /// A value that would be right.
        example: &'static str,
    },
    /// A welcome that is not allowed in a greeting.
    #[error(
        "identity.{name}.welcome: write 1 to {WELCOME_CHARACTERS} printable ASCII characters, without quotation marks and \
         backslashes, not beginning with RUNE/"
    )]
    Welcome {
        /// The name of the identity.
        name: String,
    },
    /// Two tables for one identity: upper and lower case make no difference in names.
    #[error("[identity.{one}] and [identity.{other}] are of one identity: write one table")]
    Twice {
        /// The name in one of them.
        one: String,
        /// The name in the other.
        other: String,
    },
    /// A maximum that is too small to be of use, or larger than any object.
    #[error("identity.{name}.maximum_mib = {value}: write a number of MiB from 1 to {}", OBJECT_BYTES / MIB)]
    Maximum {
        /// The name of the identity.
        name: String,
        /// The value as it is written.
        value: u64,
    },
    /// Bridges that our own part of the file would contradict.
    #[error(
        "bridges, or a part of their table, were written into {path} by hand; change them there, in the table [tor.bridges]"
    )]
    Bridges {
        /// The file.
        path: PathBuf,
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
    /// `carrier_only = true`: carry mail for others, and have no identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carrier_only: Option<bool>,
    /// `[listen]`: where mail programs connect.
    #[serde(default)]
    pub listen: ListenFile,
    /// `[identity.NAME]`: what one identity announces in its sessions. Each identity has its own table, so that two
    /// identities of a node cannot be recognised by the same words.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub identity: BTreeMap<String, IdentityFile>,
    /// `[tor]`: handed to arti as it is (test networks, bridges: `runepeer bridge add`).
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

/// `[identity.NAME]` as written.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityFile {
    /// `welcome = "…"`: the text after the greeting of a session (docs/protocol.md, "Connection and greeting").
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub welcome: Option<String>,
    /// `maximum_mib = 8`: the largest object that a session takes, in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum_mib: Option<u64>,
    /// `knock = false`: contacts are not shown that the identity can be reached again (docs/protocol.md, "Knock").
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub knock: Option<bool>,
}

/// A validated configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// How peers are reached.
    pub transport: Transport,
    /// Whether the node is only a carrier.
    pub carrier_only: bool,
    /// Where IMAP listens.
    pub imap: SocketAddr,
    /// Where submission listens.
    pub submission: SocketAddr,
    /// The terms, by the names of identities.
    pub terms: BTreeMap<String, Terms>,
    /// Arti's own settings.
    pub tor: BTreeMap<String, toml::Value>,
}

impl File {
    /// Reads the file of a data directory; a missing file counts as an empty one.
    ///
    /// # Errors
    /// [`ConfigError::Read`] and [`ConfigError::Syntax`].
    pub fn load(data: &Path) -> Result<Self, ConfigError> {
        let syntax =
            |error: toml::de::Error| ConfigError::Syntax { path: data.join(FILE_NAME), message: error.to_string() };
        toml::from_str(&Self::text(data)?).map_err(syntax)
    }

    /// Writes the file of a data directory that has none. It appears whole or not at all.
    ///
    /// # Errors
    /// Errors of the disk.
    pub fn save(&self, data: &Path) -> std::io::Result<()> {
        Self::write(data, &self.to_toml())
    }

    /// The text of the file of a data directory; an empty one where there is none.
    ///
    /// # Errors
    /// [`ConfigError::Read`].
    pub fn text(data: &Path) -> Result<String, ConfigError> {
        let path = data.join(FILE_NAME);
        let no_links = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
        let read = OpenOptions::new().read(true).custom_flags(no_links).open(&path).and_then(std::io::read_to_string);
        match read {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
            read => read.map_err(|source| ConfigError::Read { path, source }),
        }
    }

    /// Writes this text as the file of a data directory. It appears whole or not at all.
    ///
    /// # Errors
    /// Errors of the disk.
    pub fn write(data: &Path, text: &str) -> std::io::Result<()> {
        let temporary = data.join(format!("{FILE_NAME}.new"));
        match std::fs::remove_file(&temporary) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&temporary, data.join(FILE_NAME))?;
        std::fs::File::open(data)?.sync_all()
    }

    /// The text of the file.
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).unwrap_or_default()
    }

    /// Takes those settings from `other` that are missing here.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            transport: self.transport.or(other.transport),
            carrier_only: self.carrier_only.or(other.carrier_only),
            listen: ListenFile {
                imap: self.listen.imap.or(other.listen.imap),
                submission: self.listen.submission.or(other.listen.submission),
            },
            identity: if self.identity.is_empty() { other.identity } else { self.identity },
            tor: if self.tor.is_empty() { other.tor } else { self.tor },
        }
    }

    /// Checks everything and fills in the defaults.
    ///
    /// # Errors
    /// Each names the setting, and what would be right.
    pub fn validate(&self) -> Result<Config, ConfigError> {
        let mut names = BTreeMap::new();
        for other in self.identity.keys() {
            if let Some(one) = names.insert(other.to_ascii_lowercase(), other) {
                return Err(ConfigError::Twice { one: one.clone(), other: other.clone() });
            }
        }
        Ok(Config {
            transport: self.transport.as_deref().unwrap_or("tor").parse()?,
            carrier_only: self.carrier_only.unwrap_or(false),
            imap: loopback("listen.imap", self.listen.imap.as_deref(), DEFAULT_IMAP)?,
            submission: loopback("listen.submission", self.listen.submission.as_deref(), DEFAULT_SUBMISSION)?,
            terms: self
                .identity
                .iter()
                .map(|(name, file)| Ok((name.clone(), terms(name, file)?)))
                .collect::<Result<_, _>>()?,
            tor: self.tor.clone(),
        })
    }
}

fn terms(name: &str, file: &IdentityFile) -> Result<Terms, ConfigError> {
    let name = || name.to_owned();
    if let Some(welcome) = &file.welcome {
        let printable = welcome.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\');
        let version = welcome.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("RUNE/"));
        if !(1..=WELCOME_CHARACTERS).contains(&welcome.len()) || !printable || version {
            return Err(ConfigError::Welcome { name: name() });
        }
    }
    let most = (OBJECT_BYTES / MIB) as u64;
    let maximum = file.maximum_mib.unwrap_or(most);
    if !(1..=most).contains(&maximum) {
        return Err(ConfigError::Maximum { name: name(), value: maximum });
    }
    let knocks = file.knock.unwrap_or(true);
    Ok(Terms { welcome: file.welcome.clone(), maximum: maximum as usize * MIB, knocks })
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
        // A file that a crash left.
        std::fs::write(data.path().join("config.toml.new"), "[lis").unwrap();
        let file = File { transport: Some("loopback:/tmp/x".into()), ..File::default() };
        file.save(data.path()).unwrap();
        assert_eq!(File::load(data.path()).unwrap().to_toml(), file.to_toml());
        assert!(!data.path().join("config.toml.new").exists());
        // The mode of the leftover does not matter; the new file is closed to others.
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
            identity: BTreeMap::from([(
                "alice".into(),
                IdentityFile {
                    welcome: Some("Small things, please.".into()),
                    maximum_mib: Some(2),
                    knock: Some(false),
                },
            )]),
            tor: BTreeMap::from([("path_rules".into(), toml::Value::Table(toml::Table::new()))]),
        };
        let again: File = toml::from_str(&file.to_toml()).unwrap();
        assert_eq!(again.to_toml(), file.to_toml());
        let config = again.validate().unwrap();
        assert_eq!(config.transport, Transport::Loopback("/tmp/x".into()));
        let terms = Terms { welcome: Some("Small things, please.".into()), maximum: 2 * MIB, knocks: false };
        assert_eq!(config.terms, BTreeMap::from([("alice".into(), terms)]));
    }

    #[test]
    fn a_welcome_and_a_maximum_are_bounded_and_the_error_names_the_setting() {
        let read = |line: &str| toml::from_str::<File>(&format!("[identity.bob]\n{line}")).unwrap().validate();
        let long = "x".repeat(WELCOME_CHARACTERS);
        for line in [&format!("welcome = '{long}'"), "welcome = 'Hi; #1'", "maximum_mib = 1", "maximum_mib = 27"] {
            assert!(read(line).is_ok(), "{line}");
        }
        for line in [
            &format!("welcome = '{long}x'"),
            "welcome = ''",
            "welcome = 'a\"b'",
            "welcome = 'a\\b'",
            "welcome = \"a\\nb\"",
            "welcome = \"a\\u007fb\"",
            "welcome = 'Grüße'",
            "welcome = 'rune/2'",
            "maximum_mib = 0",
            "maximum_mib = 28",
        ] {
            let error = read(line).unwrap_err().to_string();
            assert!(error.starts_with("identity.bob.") && error.contains("write "), "{line}: {error}");
        }
        assert_eq!(read("").unwrap().terms["bob"], Terms::default());
        let twice = read("maximum_mib = 2\n[identity.Bob]\nmaximum_mib = 3").unwrap_err().to_string();
        assert!(twice.contains("[identity.Bob] and [identity.bob] are of one identity"), "{twice}");
    }

    #[test]
    fn a_link_is_no_configuration() {
        let data = tempfile::tempdir().unwrap();
        let elsewhere = data.path().join("elsewhere");
        std::fs::write(&elsewhere, "carrier_only = true").unwrap();
        std::os::unix::fs::symlink(&elsewhere, data.path().join(FILE_NAME)).unwrap();
        assert!(matches!(File::load(data.path()), Err(ConfigError::Read { .. })));
        // A link in the place of the new file is not written through either.
        std::os::unix::fs::symlink(&elsewhere, data.path().join("config.toml.new")).unwrap();
        File::default().save(data.path()).unwrap();
        assert_eq!(std::fs::read_to_string(elsewhere).unwrap(), "carrier_only = true");
    }
}
