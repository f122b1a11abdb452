//! Network of the node: one private network namespace with a bridge, to which every pod is connected.
//!
//! Service addresses are routed to the node itself (a `local` route), so that ordinary sockets of the node can listen on
//! them. The host's network is left untouched.

mod addresses;
pub(crate) mod netlink;
pub(crate) mod setup;

use std::{io, net::Ipv4Addr, os::fd::OwnedFd};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::runtime::{Builder, Runtime};

pub(crate) use addresses::{Addresses, Lease};

use crate::net::NodeNet;

/// Range of IPv4 addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Range {
    /// First address.
    pub base: Ipv4Addr,
    /// Number of leading bits that all addresses share.
    pub prefix: u8,
}

impl Range {
    /// Returns whether an address is in the range.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix.min(32))).unwrap_or(0);
        u32::from(address) & mask == u32::from(self.base) & mask
    }

    /// Returns the address at a distance from the first one.
    pub fn nth(self, offset: u32) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.base).wrapping_add(offset))
    }

    /// Returns the number of addresses.
    pub const fn size(self) -> u32 {
        match 1u32.checked_shl(32 - self.prefix as u32) {
            Some(size) => size,
            None => u32::MAX,
        }
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

/// Addresses of pods.
pub const POD_RANGE: Range = Range { base: Ipv4Addr::new(10, 244, 0, 0), prefix: 24 };
/// Addresses of Services.
pub const SERVICE_RANGE: Range = Range { base: Ipv4Addr::new(10, 96, 0, 0), prefix: 16 };
/// Address of the node on the bridge, which is the pods' gateway.
pub const NODE_IP: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 1);
/// Address of the cluster's DNS server.
pub const DNS_IP: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);
/// Address of the API server for pods.
pub const API_IP: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);

/// Threads in the node's network. Their tasks end when this is dropped, which is allowed anywhere.
#[derive(Debug)]
pub struct Threads(Option<Runtime>);

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // Dropping a runtime waits for its threads, which is forbidden in a task of another runtime.
            runtime.shutdown_background();
        }
    }
}

/// Starts a runtime of `workers` threads in a network namespace, and returns the access to it.
pub(crate) fn start(namespace: OwnedFd, workers: usize) -> io::Result<(Threads, NodeNet)> {
    let namespace = std::sync::Arc::new(namespace);
    // One attempt is made here, so that a refusal is an error and not a thread that silently works in the host's network.
    let probe = namespace.clone();
    std::thread::spawn(move || enter(&probe)).join().map_err(|_| io::Error::other("thread died"))??;
    let runtime = Builder::new_multi_thread()
        .worker_threads(workers)
        .max_blocking_threads(4)
        .thread_name("node-net")
        .enable_all()
        .on_thread_start(move || {
            if let Err(error) = enter(&namespace) {
                tracing::error!(%error, "a thread cannot enter the node's network");
                std::process::abort();
            }
        })
        .build()?;
    let net = NodeNet { handle: runtime.handle().clone(), node_ip: NODE_IP };
    Ok((Threads(Some(runtime)), net))
}

/// Moves the calling thread into a network namespace.
fn enter(namespace: &OwnedFd) -> io::Result<()> {
    use std::os::fd::AsFd;
    Ok(move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        assert!(POD_RANGE.contains(NODE_IP));
        assert!(!POD_RANGE.contains(DNS_IP));
        assert!(SERVICE_RANGE.contains(DNS_IP));
        assert!(!SERVICE_RANGE.contains(Ipv4Addr::new(10, 97, 0, 0)));
        assert_eq!(POD_RANGE.size(), 256);
        assert_eq!(SERVICE_RANGE.nth(256), Ipv4Addr::new(10, 96, 1, 0));
        let all = Range { base: Ipv4Addr::UNSPECIFIED, prefix: 0 };
        assert!(all.contains(Ipv4Addr::BROADCAST));
    }
}
