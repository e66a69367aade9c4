//! The words behind `runepeer request`.

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Request {
    /// Who waits, and what for
    List,
    /// Accept somebody who waits, an introduction, or that a contact introduces you. What waits from them goes to INBOX
    Accept {
        /// Petname or address of somebody who waits, or the id of an introduction, from `request list`
        what: String,
    },
    /// Block somebody who waits, or decline an introduction. Nobody is told
    Reject {
        /// Petname or address of somebody who waits, or the id of an introduction, from `request list`
        what: String,
    },
}
