//! The words behind `runepeer request`.

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Request {
    /// List the people and introductions that wait for your decision
    List,
    /// Say yes: somebody who waits becomes a contact and their mail goes to INBOX; an introduction goes on
    Accept {
        /// Petname or address of somebody who waits, or the id of an introduction, from `request list`
        what: String,
    },
    /// Say no: somebody who waits is blocked; an introduction is declined. Nobody is told
    Reject {
        /// Petname or address of somebody who waits, or the id of an introduction, from `request list`
        what: String,
    },
}
