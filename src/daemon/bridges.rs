//! The bridges of a data directory: how the daemon gets into Tor where Tor is blocked, or where its use is not to be seen.
//!
//! They are a part of `config.toml`, which a daemon reads when it starts. A bridge is taken only if a start would take it.

use std::path::{Path, PathBuf};

use crate::config::{ConfigError, File, with_bridges};
use crate::control::{Code, Failure};
use crate::net::TorConfig;

/// The bridges that `config.toml` of a data directory names.
pub struct Bridges {
    data: PathBuf,
    text: String,
    lines: Vec<String>,
}

impl Bridges {
    /// Reads them.
    ///
    /// # Errors
    /// [`Code::Usage`] where the file has a mistake.
    pub fn open(data: &Path) -> Result<Self, Failure> {
        // What a first start left that was killed would otherwise be removed by the next one, with what is added here.
        super::clear_failed_first_start(data);
        let text = File::text(data).map_err(usage)?;
        let lines = File::load(data).map_err(usage)?.bridges();
        Ok(Self { data: data.to_owned(), text, lines })
    }

    /// Their lines, as they were given.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// Takes the bridges of a text: a line for each, or the list that a QR code of Tor's has. Those that are known already
    /// are left as they are. Returns how many are new.
    ///
    /// # Errors
    /// [`Code::Usage`] where arti cannot use one, or where somebody wrote bridges into the file by hand; nothing is changed
    /// then.
    pub fn add(&mut self, text: &str) -> Result<usize, Failure> {
        let (given, mut lines) = (given(text), self.lines.clone());
        if given.is_empty() {
            return Err(Failure::new(Code::Usage, "there is no bridge in this text").hint(
                "a bridge is one line: ADDRESS:PORT FINGERPRINT, or TRANSPORT ADDRESS:PORT FINGERPRINT KEY=VALUE…",
            ));
        }
        for line in given {
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
        let new = lines.len() - self.lines.len();
        if new > 0 {
            self.write(lines)?;
        }
        Ok(new)
    }

    /// Takes one out, by its number from 1.
    ///
    /// # Errors
    /// [`Code::NotFound`] where there are fewer; [`Code::Usage`] where somebody wrote them into the file by hand.
    pub fn remove(&mut self, number: usize) -> Result<(), Failure> {
        let mut lines = self.lines.clone();
        let Some(place) = number.checked_sub(1).filter(|place| *place < lines.len()) else {
            return Err(
                Failure::new(Code::NotFound, format!("there is no bridge {number}")).hint("see: runepeer bridge list")
            );
        };
        lines.remove(place);
        self.write(lines)
    }

    /// Writes the file, if a start would take it.
    fn write(&mut self, lines: Vec<String>) -> Result<(), Failure> {
        let text = with_bridges(&self.data, &self.text, &lines).map_err(usage)?;
        let file: File = toml::from_str(&text).map_err(|error| Failure::new(Code::Usage, error.to_string()))?;
        // A mistake that was there before must not keep anybody from taking a bridge out.
        if lines.len() >= self.lines.len() {
            let config = TorConfig::new(self.data.join("tor"), file.tor.into_iter().collect());
            config.check().map_err(|error| {
                Failure::new(Code::Usage, error.to_string()).hint("nothing was changed; mend it, then try again")
            })?;
        }
        let unwritten = |error| Failure::new(Code::Failed, format!("config.toml cannot be written: {error}"));
        File::write(&self.data, &text).map_err(unwritten)?;
        (self.text, self.lines) = (text, lines);
        Ok(())
    }
}

fn usage(error: ConfigError) -> Failure {
    Failure::new(Code::Usage, error.to_string())
}

/// The lines of a text, without the word that Tor's own configuration has before them.
fn given(text: &str) -> Vec<String> {
    // Tor's QR codes have a list of texts in single quotation marks.
    let listed: Option<Vec<String>> = serde_json::from_str(&text.trim().replace('\'', "\"")).ok();
    let lines = listed.unwrap_or_else(|| text.lines().map(str::to_owned).collect());
    let words = lines.iter().map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let keyword = words.first().is_some_and(|word| word.eq_ignore_ascii_case("bridge"));
        words.get(usize::from(keyword)..).unwrap_or_default().join(" ")
    });
    words.filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "0123456789012345678901234567890123456789";

    #[test]
    fn bridges_are_taken_from_lines_a_torrc_and_the_text_of_a_code() {
        let (one, other) = (format!("192.0.2.1:443 {KEY}"), format!("[2001:db8::1]:443 {KEY}"));
        for text in [
            format!("{one}\n{other}\n"),
            format!("# mine\r\nBridge {one}\r\n\r\n  bridge  192.0.2.1:443   {KEY}\r\n{other}"),
            format!("['{one}', '{other}']"),
        ] {
            let data = tempfile::tempdir().unwrap();
            let mut bridges = Bridges::open(data.path()).unwrap();
            assert_eq!(bridges.add(&text).unwrap(), 2, "{text}");
            assert_eq!(bridges.add(&other).unwrap(), 0);
            assert_eq!(Bridges::open(data.path()).unwrap().lines(), [one.clone(), other.clone()]);
            bridges.remove(1).unwrap();
            assert_eq!(bridges.remove(2).unwrap_err().code, Code::NotFound);
            assert_eq!(bridges.remove(0).unwrap_err().code, Code::NotFound);
            assert_eq!(Bridges::open(data.path()).unwrap().lines(), std::slice::from_ref(&other));
            bridges.remove(1).unwrap();
            assert_eq!(File::text(data.path()).unwrap(), "");
        }
    }

    #[test]
    fn a_bridge_that_no_start_would_take_changes_nothing_and_a_wrong_one_can_be_taken_out() {
        let data = tempfile::tempdir().unwrap();
        let mut bridges = Bridges::open(data.path()).unwrap();
        for (text, said) in [
            (format!("192.0.2.1:443 {KEY}\n192.0.2.1:443"), "bridge 2"),
            (format!("obfs4 192.0.2.1:443 {KEY} cert=x iat-mode=0"), "obfs4proxy"),
            ("\n# nothing\n".to_owned(), "no bridge"),
        ] {
            let failure = bridges.add(&text).unwrap_err();
            assert!(failure.code == Code::Usage && failure.message.contains(said), "{failure}");
            assert!(!data.path().join("config.toml").exists());
        }
        bridges.add(&format!("192.0.2.1:443 {KEY}\n192.0.2.2:443 {KEY}")).unwrap();
        let broken = File::text(data.path()).unwrap().replace("192.0.2.1:443", "192.0.2.1");
        File::write(data.path(), &broken).unwrap();
        let mut bridges = Bridges::open(data.path()).unwrap();
        assert!(bridges.add(&format!("192.0.2.3:443 {KEY}")).is_err());
        bridges.remove(1).unwrap();
        assert_eq!(Bridges::open(data.path()).unwrap().lines(), [format!("192.0.2.2:443 {KEY}")]);
    }
}
