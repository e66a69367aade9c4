//! The words behind `runepeer contact`.

use std::path::PathBuf;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Contact {
    /// Add somebody from an invitation
    Add {
        /// The rune: text; - or nothing reads standard input
        text: Option<String>,
        /// Read it from the QR code in a picture, a PNG; - reads the picture from standard input
        #[arg(long, value_name = "FILE", conflicts_with = "text")]
        qr: Option<PathBuf>,
        /// What you call them
        #[arg(long, value_name = "NAME")]
        petname: Option<String>,
    },
    /// Everybody in the address book
    List,
    /// One contact
    Show {
        /// Petname or address
        who: String,
    },
    /// Draw who came into the address book how. Nothing of it is sent
    Graph {
        /// Write it as a picture (SVG) into a file that nobody else can read, instead of printing it
        #[arg(long, value_name = "FILE")]
        svg: Option<PathBuf>,
    },
    /// Print people with their addresses and the fingerprints of their keys. Whoever gets the list learns whom you know
    Export {
        /// Petname or address; everybody to whom you can write where left out
        who: Option<String>,
        /// As vCard 4.0, for the address book of another program
        #[arg(long)]
        vcard: bool,
    },
    /// Change what a contact learns from you, and who carries mail for whom
    #[command(group = clap::ArgGroup::new("change").required(true).multiple(true))]
    Set {
        /// Petname or address
        who: String,
        /// What they hear of their mail: nothing, that what they left at your carriers was delivered, or also what you have read
        #[arg(long, value_name = "none|delivered|read", value_parser = ["none", "delivered", "read"], group = "change")]
        receipts: Option<String>,
        /// Whether your node carries their sealed mail to other people, up to 256 MiB at a time. Your node then sees to whom they write, when and how much. With off, what it has already is still brought
        #[arg(long, value_name = "on|off", value_parser = ["on", "off"], group = "change")]
        carry: Option<String>,
        /// A contact whose node carries your mail to them when theirs does not answer, or none. They have to allow it at theirs (contact set YOU --carry on). That node then sees that you write to them, when and how much
        #[arg(long, value_name = "WHO|none", group = "change")]
        via: Option<String>,
        /// Whether they may introduce you to others: without asking you, asking each time, or never. They are not told which
        #[arg(long, value_name = "yes|ask|never", value_parser = ["yes", "ask", "never"], group = "change")]
        introductions: Option<String>,
        /// Whether your node shows them that it is back after it was away, so that what waits for you there comes at once
        #[arg(long, value_name = "on|off", value_parser = ["on", "off"], group = "change")]
        knock: Option<String>,
    },
    /// Put a contact into the place of another: for somebody who lost their node and began anew. The new contact gets the name and
    /// the mail that waits, and the other one leaves the address book
    Replace {
        /// Petname or address of the contact who is no more
        who: String,
        /// Petname or address of the contact who takes its place
        #[arg(long, value_name = "NEW")]
        by: String,
    },
    /// Make two of your contacts known to each other. The second is asked first, then the first; neither learns of the other before they agree
    Introduce {
        /// Petname or address of the one who gets to know somebody
        guest: String,
        /// Petname or address of the one who is asked first
        host: String,
        /// What you say of it, to both
        #[arg(long, default_value = "", hide_default_value = true)]
        text: String,
    },
    /// Call a contact otherwise. Mail that is here already keeps the name that it shows, and an answer to it can take that name along
    Rename {
        /// Petname or address
        who: String,
        /// The new petname
        petname: String,
    },
    /// Show the number that you and a contact compare to know that nobody stands between you, and mark them as verified
    /// where it is the same at both sides; --yes marks them without a question
    Verify {
        /// Petname or address
        who: String,
    },
    /// Accept somebody who waits in the folder Requests: they become a contact, and what they wrote goes to INBOX
    Accept {
        /// Petname or address
        who: String,
    },
    /// Drop what a contact sends, and send it nothing more. Its node still hears that its mail arrived, so that they do not notice
    Block {
        /// Petname or address
        who: String,
    },
    /// Let a blocked contact back; what it sent meanwhile stays lost
    Unblock {
        /// Petname or address
        who: String,
    },
    /// Take a contact out of the address book; it is a stranger from then on, and hears so
    Rm {
        /// Petname or address
        who: String,
    },
    /// Take the file of a revocation: nothing is written to that key or address any more, and nothing brings it back
    Revoked {
        /// The file that `identity revoke` wrote; - reads standard input
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}
