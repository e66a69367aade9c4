//! The bridges of `[tor.bridges]`: read from `config.toml` however they are written there, and changed in a part of the
//! file that only this program writes. Everything else in the file, comments included, stays as it is.

use std::path::Path;

use toml::{Table, Value};

use super::{ConfigError, FILE_NAME, File};

/// The first and the last line of our part.
const BEGIN: &str = "# Written by runepeer bridge add and runepeer bridge rm:";
const END: &str = "# (the end of what they write)";

impl File {
    /// The lines of its bridges, in their order: a list of texts, or one text with a bridge on each line, as arti takes
    /// both. What is written as a table is not among them.
    pub fn bridges(&self) -> Vec<String> {
        let bridges = self.tor.get("bridges").and_then(|bridges| bridges.get("bridges"));
        match bridges {
            Some(Value::Array(lines)) => lines.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            Some(Value::String(text)) => {
                let lines = text.lines().map(str::trim);
                lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// The text of a configuration with these bridges in place of those that it had. Without any the part is left out.
///
/// # Errors
/// [`ConfigError::Syntax`] where the text cannot be read; [`ConfigError::Bridges`] where somebody wrote bridges by hand.
pub fn with_bridges(data: &Path, text: &str, bridges: &[String]) -> Result<String, ConfigError> {
    let path = || data.join(FILE_NAME);
    let read = |text: &str| {
        let message = |error: toml::de::Error| ConfigError::Syntax { path: path(), message: error.to_string() };
        text.parse::<Table>().map_err(message)
    };
    let before = read(text)?;
    let rest = without_our_part(text);
    let mut changed = rest.trim_end().to_owned();
    if !bridges.is_empty() {
        let lines: String = bridges.iter().map(|line| format!("    {},\n", Value::from(line.as_str()))).collect();
        let gap = if changed.is_empty() { "" } else { "\n\n" };
        changed.push_str(&format!("{gap}{BEGIN}\n[tor.bridges]\nenabled = true\nbridges = [\n{lines}]\n{END}"));
    }
    if !changed.is_empty() {
        changed.push('\n');
    }
    // What is there by hand may be in the way, in more forms than are worth knowing: what counts is what is read.
    let is_right = toml::from_str::<File>(&changed).is_ok_and(|file| file.bridges() == bridges)
        && read(&changed).is_ok_and(|after| without_bridges(after) == without_bridges(before));
    if is_right { Ok(changed) } else { Err(ConfigError::Bridges { path: path() }) }
}

/// The text without the part that we wrote.
fn without_our_part(text: &str) -> String {
    let mut ours = false;
    let kept = text.lines().filter(|line| {
        let begins = *line == BEGIN;
        let ends = ours && *line == END;
        ours = (ours || begins) && !ends;
        !(ours || begins || ends)
    });
    kept.flat_map(|line| [line, "\n"]).collect()
}

/// A configuration without what our part says.
fn without_bridges(mut table: Table) -> Table {
    if let Some(tor) = table.get_mut("tor").and_then(Value::as_table_mut) {
        if let Some(bridges) = tor.get_mut("bridges").and_then(Value::as_table_mut) {
            bridges.remove("bridges");
            bridges.remove("enabled");
            if bridges.is_empty() {
                tor.remove("bridges");
            }
        }
        if tor.is_empty() {
            table.remove("tor");
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "192.0.2.1:443 0123456789012345678901234567890123456789";
    const OTHER: &str = "obfs4 192.0.2.2:443 0123456789012345678901234567890123456789 cert=a\"\\b iat-mode=0";

    fn changed(text: &str, bridges: &[&str]) -> Result<String, ConfigError> {
        let bridges: Vec<String> = bridges.iter().map(|line| (*line).to_owned()).collect();
        with_bridges(Path::new("/nowhere"), text, &bridges)
    }

    #[test]
    fn bridges_come_and_go_and_everything_else_stays() {
        for text in [
            "",
            "# mine\ntransport = \"tor\" # why\n\n[listen]\nimap = \"127.0.0.1:0\"\n",
            "[tor.vanguards]\nmode = \"lite\"\n",
            "[[tor.bridges.transports]]\nprotocols = [\"obfs4\"]\npath = \"/usr/bin/obfs4proxy\"\n",
        ] {
            let one = changed(text, &[ONE]).unwrap();
            assert!(one.starts_with(text), "{one}");
            let both = changed(&one, &[ONE, OTHER]).unwrap();
            assert_eq!(toml::from_str::<File>(&both).unwrap().bridges(), [ONE, OTHER]);
            let table: Table = both.parse().unwrap();
            assert_eq!(table["tor"]["bridges"]["enabled"], Value::Boolean(true));
            assert_eq!(changed(&both, &[ONE]).unwrap(), one);
            assert_eq!(changed(&both, &[]).unwrap(), text);
            // What its owner writes behind our part stays too.
            let more = format!("{both}\n[identity.bob]\nmaximum_mib = 2\n");
            let kept = changed(&more, &[ONE]).unwrap();
            assert!(kept.contains("[identity.bob]\nmaximum_mib = 2\n"), "{kept}");
            assert_eq!(toml::from_str::<File>(&kept).unwrap().bridges(), [ONE]);
        }
    }

    #[test]
    fn bridges_that_somebody_wrote_by_hand_are_read_and_not_touched() {
        let list = format!("[tor.bridges]\nbridges = [\"{ONE}\"]\n");
        let text = format!("tor.bridges.bridges = '''\n# from a friend\n\n  {ONE}\n'''\n");
        for hand in [list, text, "[tor.bridges]\nenabled = false\n".to_owned(), "tor = {}\n".to_owned()] {
            let error = changed(&hand, &[OTHER]).unwrap_err();
            assert!(matches!(error, ConfigError::Bridges { .. }), "{error}");
            assert!(error.to_string().contains("/nowhere/config.toml"), "{error}");
            let found = toml::from_str::<File>(&hand).unwrap().bridges();
            assert!(found.is_empty() != hand.contains(ONE) && found.iter().all(|line| line == ONE), "{found:?}");
        }
        assert!(matches!(changed("[tor", &[ONE]), Err(ConfigError::Syntax { .. })));
    }
}
