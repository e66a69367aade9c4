//! The command line's grammar: noun, then verb.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

mod contact;
mod request;

pub(super) use contact::Contact;
pub(super) use request::Request;

/// Serverless electronic mail.
#[derive(Debug, Parser)]
#[command(name = "runepeer", version, about)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Option<Verb>,
}

#[derive(Debug, Args)]
pub(super) struct Global {
    /// The data directory (default: $XDG_DATA_HOME/runepeer, or ~/.local/share/runepeer)
    #[arg(long, global = true, value_name = "DIR")]
    pub(super) data_dir: Option<PathBuf>,
    /// Which identity, where there are several and none is the default (identity default)
    #[arg(short = 'i', long, global = true, value_name = "NAME")]
    pub(super) identity: Option<String>,
    /// Print one JSON object
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Print only what was asked for
    #[arg(long, global = true)]
    pub(super) quiet: bool,
    /// Do not ask before something is removed, and do what is refused without it because it may do harm
    #[arg(long, global = true)]
    pub(super) yes: bool,
    /// Never ask anything
    #[arg(long, global = true)]
    pub(super) no_input: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Run the daemon; on an empty data directory, make an identity first
    Up(Up),
    /// Stop the daemon
    Down,
    /// Say what the daemon does, and what waits
    Status,
    /// Look whether everything works, and say what is wrong, why, and what to do
    Doctor {
        /// Also do what is safe: close files that are open to others, and try again what waits
        #[arg(long)]
        fix: bool,
    },
    /// Show everything with three people on this machine, without a network
    Demo(Demo),
    /// Who you are
    #[command(subcommand)]
    Identity(Identity),
    /// Make an invitation for somebody, list and revoke them, or open one
    Invite(Invite),
    /// The address book
    #[command(subcommand)]
    Contact(Contact),
    /// Send a message
    Send(Send),
    /// List a folder's messages
    Ls {
        /// The folder
        #[arg(default_value = "INBOX")]
        folder: String,
    },
    /// Print a message as it was received
    Read {
        /// The message's UID, from `ls`
        uid: u32,
        /// The folder
        #[arg(default_value = "INBOX")]
        folder: String,
    },
    /// People and introductions that wait for your decision
    #[command(subcommand)]
    Request(Request),
    /// What waits to be sent
    #[command(subcommand)]
    Queue(Queue),
    /// Carry mail for others while they are away
    #[command(subcommand)]
    Carrier(Carrier),
    /// Reach Tor where it is blocked
    #[command(subcommand)]
    Bridge(Bridge),
    /// Connect a mail program
    #[command(subcommand)]
    Mail(Mail),
    /// What locks the data directory; no daemon may run
    #[command(subcommand)]
    Passphrase(Passphrase),
    /// Copies of everything, in one sealed file
    #[command(subcommand)]
    Backup(Backup),
    /// Read everything on the disk, and put aside what is damaged; no daemon may run
    Repair {
        /// Only look, and change nothing
        #[arg(long)]
        check: bool,
        /// A file whose first line is the passphrase; - reads standard input
        #[arg(long, value_name = "F")]
        passphrase_file: Option<PathBuf>,
    },
    /// The configuration
    #[command(subcommand)]
    Config(Config),
    /// Print the version
    Version,
}

#[derive(Debug, Args)]
pub(super) struct Up {
    /// The name of the first identity: the part of its address before @
    #[arg(long)]
    pub(super) name: Option<String>,
    /// A file whose first line is the passphrase; - reads standard input
    #[arg(long, value_name = "F")]
    pub(super) passphrase_file: Option<PathBuf>,
    /// Where IMAP listens, on loopback: a port, or an address with one; port 0 means any free port
    #[arg(long, value_name = "[ADDR:]PORT", value_parser = listen)]
    pub(super) imap: Option<SocketAddr>,
    /// Where submission listens, on loopback: a port, or an address with one; port 0 means any free port
    #[arg(long, value_name = "[ADDR:]PORT", value_parser = listen)]
    pub(super) submission: Option<SocketAddr>,
    /// Bring several identities on line at once; without it each comes at a random moment within a minute, so that it is harder
    /// to see by their onions that they belong together
    #[arg(long)]
    pub(super) at_once: bool,
    /// Carry mail for others, and have no mailbox here
    #[arg(long, conflicts_with_all = ["name", "imap", "submission"])]
    pub(super) carrier_only: bool,
    /// How much that may hold, for example 20GiB (default: 32GiB, or what it was)
    #[arg(long, value_name = "SIZE", requires = "carrier_only", value_parser = size)]
    pub(super) space: Option<u64>,
    /// How peers are reached: tor, or loopback:DIR for tests on one machine
    #[arg(long, value_name = "tor|loopback:DIR")]
    pub(super) transport: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Demo {
    /// Keep the mail servers running and print the settings for a mail program
    #[arg(long)]
    pub(super) keep: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Identity {
    /// All identities
    List,
    /// Make another identity, with keys, address and mailbox of its own
    New {
        /// The part of its address before @
        #[arg(required_unless_present = "random")]
        name: Option<String>,
        /// Make up a name that says nothing of you
        #[arg(long, conflicts_with = "name")]
        random: bool,
    },
    /// One identity
    Show,
    /// Call an identity otherwise on this machine; its address, which your contacts know, stays as it is
    Rename {
        /// Its name
        name: String,
        /// The new name
        new: String,
    },
    /// Remove an identity from this machine, with its keys, its mail and its address book; asks first
    Rm {
        /// Its name
        name: String,
    },
    /// Say for ever that an identity must not be used any more, because its key or device was lost or stolen, or because you
    /// give it up. Its contacts are told, a file is written for everybody else, and it sends no mail any more; asks first
    Revoke {
        /// Its address (onion), its key, or both (all)
        #[arg(value_name = "onion|key|all", value_parser = ["onion", "key", "all"])]
        what: String,
        /// The file for people who are no contacts, who use it with: contact revoked FILE (default: revocation-NAME.json here)
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Choose the identity that commands without -i mean, where there are several
    Default {
        /// Its name
        name: String,
    },
    /// Change how an identity is reached, and what its contacts see of that
    #[command(group = clap::ArgGroup::new("change").required(true).multiple(true))]
    Set {
        /// Whether its onion is published; `never` is for whoever should not be seen to be online: mail comes by boxes only. Without
        /// an open box it is refused unless --yes says so
        #[arg(long, value_name = "always|never", value_parser = ["always", "never"], group = "change")]
        listen: Option<String>,
        /// Whether contacts are shown that it is back after it was away, so that what waits for it there comes at once
        #[arg(long, value_name = "on|off", value_parser = ["on", "off"], group = "change")]
        knock: Option<String>,
    },
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Invite {
    #[command(subcommand)]
    pub(super) command: Option<InviteCommand>,
    /// Also show it as a QR code
    #[arg(long)]
    pub(super) qr: bool,
    /// Also write the QR code to a PNG file
    #[arg(long, value_name = "F")]
    pub(super) png: Option<PathBuf>,
    /// For a poster or a web page: many may use it, and wait in Requests
    #[arg(long)]
    pub(super) public: bool,
    /// What you call the person who gets it: who uses it stands in your address book by that name. Nobody else sees it
    #[arg(long = "for", value_name = "NAME", conflicts_with = "public")]
    pub(super) label: Option<String>,
    /// How long it works: for example 12h, 7d, 4w. It ends with a full hour (UTC), so it may work for up to an hour longer
    #[arg(long, value_name = "D", default_value = "7d")]
    pub(super) expires: String,
}

#[derive(Debug, Subcommand)]
pub(super) enum InviteCommand {
    /// Invitations that can still be used
    List,
    /// Show whose invitation this is, and ask before it is used
    Open {
        /// The text: rune:… or rune-box:…
        text: String,
    },
    /// Have the desktop open invitations that are clicked: it runs `invite open` in a terminal
    #[command(subcommand)]
    Handler(Handler),
    /// Withdraw an invitation
    Revoke {
        /// Its id, from `invite list`; the beginning is enough
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Handler {
    /// Print the desktop file
    Show,
    /// Write it into the applications of this user
    Install,
}

#[derive(Debug, Args)]
pub(super) struct Send {
    /// A recipient: a petname or an address. Several see each other; those who do not know each other are asked first, and the
    /// message waits for them
    #[arg(short = 't', long = "to", value_name = "WHO", required_unless_present_any = ["cc", "bcc"])]
    pub(super) to: Vec<String>,
    /// Somebody who gets a copy, and whom all recipients see
    #[arg(long, value_name = "WHO")]
    pub(super) cc: Vec<String>,
    /// Somebody who gets a copy, and whom nobody sees
    #[arg(long, value_name = "WHO")]
    pub(super) bcc: Vec<String>,
    /// The subject
    #[arg(short = 's', long, value_name = "SUBJECT", default_value = "")]
    pub(super) subject: String,
    /// Say that it is more urgent than others: its receiver's node flags it
    #[arg(long)]
    pub(super) important: bool,
    /// A file to attach
    #[arg(short = 'a', long = "attach", value_name = "FILE")]
    pub(super) attachments: Vec<PathBuf>,
    /// The text is read from standard input; - says so
    #[arg(value_name = "-", value_parser = ["-"])]
    pub(super) stdin: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Queue {
    /// What waits, for whom, why, and until when
    List {
        /// What ended lately instead, and how
        #[arg(long)]
        ended: bool,
    },
    /// One message with all its recipients
    Show {
        /// Its id, from `queue list`; the beginning is enough
        id: String,
    },
    /// Try to send now what waits
    Retry {
        /// One message; all where left out
        id: Option<String>,
    },
    /// Send no more copies of a message; one that a carrier or friend holds may still arrive
    Cancel {
        /// Its id, from `queue list`; the beginning is enough
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Carrier {
    /// Carry mail for others, at an onion of its own
    Enable,
    /// Carry none for now; what is held stays
    Disable,
    /// Its mailboxes, and what they hold
    Show,
    /// Give somebody a box here
    Invite(CarrierInvite),
    /// What it allows, and change that: what is stored or promised already stays
    Limits(CarrierLimits),
    /// Withdraw the invitations that were not used
    Revoke,
    /// Rent a box at the carrier of a friend, for mail while you are away
    Add {
        /// The invitation, rune-box:…; from standard input where left out or `-`
        invitation: Option<String>,
        /// Read it from the QR code in a picture, a PNG; - reads the picture from standard input
        #[arg(long, value_name = "FILE", conflicts_with = "invitation")]
        qr: Option<PathBuf>,
        /// What to call it
        #[arg(long)]
        name: Option<String>,
    },
    /// The boxes that you rent, and how they stand
    List,
    /// See whether a box that you rent works: something is left there, and must come back
    Check {
        /// Its name, from `carrier list`
        name: String,
    },
    /// Give up a box that you rent; your contacts are told first
    Rm {
        /// Its name, from `carrier list`
        name: String,
    },
    /// Put somebody out of your carrier, with the mail in their box
    Evict {
        /// Its name, from `carrier show`; 8 digits are enough
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Bridge {
    /// Connect to Tor through this bridge instead of a public relay
    Add {
        /// The line that you were given, for example 192.0.2.1:443 FINGERPRINT; - or nothing reads standard input, where there may be several
        line: Option<String>,
    },
    /// The bridges of this node
    List,
    /// Take a bridge out
    Rm {
        /// Its number, from `bridge list`
        number: usize,
    },
}

#[derive(Debug, Args)]
pub(super) struct CarrierLimits {
    /// How much all boxes together may take, for example 20GiB
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(super) space: Option<u64>,
    /// What a box may take whose invitation does not say, for example 500MiB
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(super) quota: Option<u64>,
    /// For how many days such a box holds mail, up to 14
    #[arg(long, value_name = "N")]
    pub(super) hold_days: Option<u32>,
    /// Whether anybody who knows the onion may have such a box without an invitation
    #[arg(long, value_name = "true|false")]
    pub(super) free_registration: Option<bool>,
    /// For how long an owner's key, once shown, counts: for a session, for one command, or for 60 to 900 seconds
    #[arg(long, value_name = "session|command|SECONDS")]
    pub(super) identification: Option<String>,
}

/// An address with a port; a port alone, or one of `localhost`, is of 127.0.0.1.
fn listen(text: &str) -> Result<SocketAddr, String> {
    let port = text.strip_prefix("localhost:").unwrap_or(text).parse().ok();
    let here = port.map(|port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    here.or_else(|| text.parse().ok())
        .ok_or_else(|| "give a port, as 1144, or an address with one, as 127.0.0.1:1144".to_owned())
}

/// Bytes, from a number with or without a unit.
fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        "t" | "tib" => 40,
        _ => return Err("give a number with KiB, MiB, GiB or TiB".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| "it begins with a number".to_owned())?;
    number.checked_mul(1 << shift).ok_or_else(|| "it is too much".to_owned())
}

#[derive(Debug, Args)]
pub(super) struct CarrierInvite {
    /// How many invitations, up to 100; each works once
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) count: u32,
    /// How long they work: for example 12h, 7d, 4w. They end with a full hour (UTC), so they may work for up to an hour longer
    #[arg(long, value_name = "D", default_value = "7d")]
    pub(super) expires: String,
    /// What the box may take, in MiB (default: what `carrier limits` says, 1024 where it was not changed)
    #[arg(long, value_name = "N")]
    pub(super) quota_mib: Option<u64>,
    /// For how many days it holds mail (default: what `carrier limits` says, 14 where it was not changed)
    #[arg(long, value_name = "N")]
    pub(super) hold_days: Option<u32>,
    /// Also show them as QR codes
    #[arg(long)]
    pub(super) qr: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Mail {
    /// Settings for a mail program
    #[command(subcommand)]
    Setup(MailSetup),
    /// Passwords for mail programs
    #[command(subcommand)]
    Password(Password),
}

#[derive(Debug, Subcommand)]
pub(super) enum MailSetup {
    /// Print the settings for any mail program
    Show,
    /// Print a whole configuration for mutt, with a new password in it
    Mutt {
        /// Write it into a new file that nobody else can read
        #[arg(long, value_name = "FILE")]
        write: Option<PathBuf>,
    },
    /// Print a whole configuration for neomutt, with a new password in it
    Neomutt {
        /// Write it into a new file that nobody else can read
        #[arg(long, value_name = "FILE")]
        write: Option<PathBuf>,
    },
    /// Write the account into a Thunderbird profile while Thunderbird is closed
    Thunderbird {
        /// The profile's directory; the default profile where left out
        #[arg(long, value_name = "DIR")]
        profile: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Password {
    /// Make one; it is shown once
    New {
        /// What it is for
        #[arg(default_value = "mail")]
        name: String,
    },
    /// Their names
    List,
    /// Withdraw one
    Revoke {
        /// Its name
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Passphrase {
    /// Take another passphrase for the one that there is
    Change {
        /// A file whose first line is the passphrase of now; - reads standard input
        #[arg(long, value_name = "F")]
        passphrase_file: Option<PathBuf>,
        /// A file whose first line is the new passphrase; - reads standard input
        #[arg(long, value_name = "F")]
        new_passphrase_file: Option<PathBuf>,
    },
    /// Lock a data directory that has no passphrase
    Add {
        /// A file whose first line is the new passphrase; - reads standard input
        #[arg(long, value_name = "F")]
        new_passphrase_file: Option<PathBuf>,
    },
    /// Do without a passphrase: whoever takes the disk can then read everything on it
    Remove {
        /// A file whose first line is the passphrase of now; - reads standard input
        #[arg(long, value_name = "F")]
        passphrase_file: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Backup {
    /// Copy identities, mail and keys into a new file; the daemon may run
    Create {
        /// The file to make
        file: PathBuf,
        /// A file whose first line is the passphrase of the backup; - reads standard input
        #[arg(long, value_name = "F")]
        passphrase_file: Option<PathBuf>,
    },
    /// Read everything in a backup, and write nothing
    Verify {
        /// The backup
        file: PathBuf,
        /// A file whose first line is the passphrase of the backup; - reads standard input
        #[arg(long, value_name = "F")]
        passphrase_file: Option<PathBuf>,
        /// A file whose first line is the passphrase of the node in it, where it has one
        #[arg(long, value_name = "F")]
        node_passphrase_file: Option<PathBuf>,
    },
    /// Put a backup into an empty data directory (--data-dir)
    Restore {
        /// The backup
        file: PathBuf,
        /// A file whose first line is the passphrase of the backup; - reads standard input
        #[arg(long, value_name = "F")]
        passphrase_file: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Config {
    /// Print where the configuration file is
    Path,
}

/// A span such as `90m`, `12h`, `7d`, `4w`, in seconds.
pub(super) fn span_secs(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text.strip_prefix(digits)? {
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit).filter(|secs| *secs > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_sound() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }

    #[test]
    fn where_to_listen() {
        for (text, address) in [
            ("1144", "127.0.0.1:1144"),
            ("0", "127.0.0.1:0"),
            ("localhost:1144", "127.0.0.1:1144"),
            ("127.0.0.2:1144", "127.0.0.2:1144"),
            ("[::1]:1144", "[::1]:1144"),
        ] {
            assert_eq!(listen(text).unwrap().to_string(), address);
        }
        for wrong in ["", "imap", "65536", "localhost", "127.0.0.1", "example.org:1144", "::1:1144 "] {
            assert!(listen(wrong).unwrap_err().contains("127.0.0.1:1144"), "{wrong}");
        }
    }

    #[test]
    fn spans() {
        assert_eq!(span_secs("7d"), Some(604_800));
        assert_eq!(span_secs("90m"), Some(5400));
        assert_eq!(span_secs("12h"), Some(43_200));
        assert_eq!(span_secs("4w"), Some(2_419_200));
        assert_eq!(span_secs("1m"), Some(60), "the shortest");
        for bad in ["", "d", "0d", "7", "7x", "-1d", "99999999999999999999d"] {
            assert_eq!(span_secs(bad), None, "{bad}");
        }
    }
}
