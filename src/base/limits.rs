//! Every bound of the product in one folder, with its unit and its reason. Reaching one is a typed error,
//! found before anything is allocated (docs/protocol.md, "Limits").

mod boxes;
mod delivery;
mod disk;
mod messages;
mod network;
mod people;
mod programs;
mod sessions;

pub use boxes::*;
pub use delivery::*;
pub use disk::*;
pub use messages::*;
pub use network::*;
pub use people::*;
pub use programs::*;
pub use sessions::*;

/// Bytes in a KiB.
pub const KIB: usize = 1024;
/// Bytes in a MiB.
pub const MIB: usize = 1024 * KIB;
