//! Whom an attempt reached.

use std::net::SocketAddr;

/// The other end of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The address that was connected to; where none could be, the last one that was tried.
    pub address: SocketAddr,
    /// Whether it is a public address and none of this machine's, whatever the operator allowed, as the guard judged at that
    /// moment.
    pub public: bool,
}
