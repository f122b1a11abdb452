//! Owners of addresses that are connected to pods.

use std::net::IpAddr;

/// Owner of a peer's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PeerOwner {
    Pod {
        namespace: String,
        name: String,
    },
    /// Pods in the node's network, or clients whose address the node has replaced by its own.
    Node(String),
    /// No pod has the address, or pods may not be listed.
    Unknown,
}

/// Peer that is connected to every pod that holds a color.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OnePeer {
    pub(crate) address: IpAddr,
    pub(crate) owner: PeerOwner,
    /// Number of pods that the peer is connected to: all that hold the color.
    pub(crate) pods: usize,
}
