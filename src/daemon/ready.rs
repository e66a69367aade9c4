//! A data directory whose node can start as far as that is known without its keys: the configuration was read, and the
//! ports of mail programs are taken. So a start that cannot succeed makes no keys, and asks for no passphrase.

use zeroize::Zeroizing;

use super::failures::keyless;
use super::gateways::Gateways;
use super::preparation::{Preparation, unlock};
use crate::config::{Config, File};
use crate::control::{Code, Failure};
use crate::store::Keyring;

/// A node that is ready to start.
pub struct Ready {
    pub(super) preparation: Preparation,
    pub(super) config: Config,
    /// The file of the configuration, where there is none yet.
    pub(super) unwritten: Option<File>,
    /// The ports of mail programs; a node that is only a carrier has none.
    pub(super) gateways: Option<Gateways>,
    pub(super) keyring: Option<Keyring>,
}

impl Preparation {
    /// Reads the configuration, in which what is given comes first, and takes the ports. Makes nothing.
    ///
    /// # Errors
    /// [`Code::Usage`] where a setting is wrong; [`Code::Failed`] where a port cannot be taken, with a free one.
    pub async fn ready(self, given: File) -> Result<Ready, Failure> {
        let (config, unwritten) = configuration(&self, given)?;
        let gateways =
            if config.carrier_only { None } else { Some(Gateways::listen(&config, unwritten.is_none()).await?) };
        Ok(Ready { preparation: self, config, unwritten, gateways, keyring: None })
    }
}

impl Ready {
    /// The data directory.
    pub const fn preparation(&self) -> &Preparation {
        &self.preparation
    }

    /// Opens the keys of a node that exists, before the rest of it starts: a wrong passphrase can be followed by another.
    ///
    /// # Errors
    /// [`Code::NeedsUnlock`] where the passphrase is wrong; [`Code::Failed`] where the keys cannot be read.
    pub fn unlock(&mut self, passphrase: Zeroizing<String>) -> Result<(), Failure> {
        self.keyring = Some(unlock(&self.preparation, Some(passphrase), keyless)?);
        Ok(())
    }
}

/// The configuration: settings given now come before those of the file. Where there is no file, also the file to be
/// written.
fn configuration(preparation: &Preparation, given: File) -> Result<(Config, Option<File>), Failure> {
    let path = preparation.root();
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
