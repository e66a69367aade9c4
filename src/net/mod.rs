//! Reaching peers: the only code that dials and listens on the network.
//!
//! A [`Transport`] turns an onion name into a stream of bytes and publishes our own names. There are two: [`tor`]
//! (arti in this process), and [`loopback`] (a directory of Unix sockets named by onion), which replaces it in the
//! demo and in tests. [`pump`] carries one stream's bytes to and from a state machine that does no IO.
//! Failures are typed: [`DialError`], [`ListenError`] and [`StartError`] say whose fault it is and what to do.

pub mod loopback;
mod private;
pub mod pump;
pub mod tor;
mod transport;

pub use loopback::Loopback;
pub use tor::{Tor, TorConfig};
pub use transport::{
    DialError, Isolation, Later, ListenError, Listener, Reachability, StartError, Stream, Transport, TransportState,
    TransportStatus,
};
