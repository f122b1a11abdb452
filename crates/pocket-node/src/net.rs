//! The node's own network, seen from the process's ordinary runtime.

use std::{future::Future, io, net::Ipv4Addr};

use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;

/// A way into the node's network: tasks on `handle` open their sockets there, where pods and Services have their addresses.
///
/// Sockets of any other task belong to the host. In tests both are the same.
#[derive(Clone, Debug)]
pub struct NodeNet {
    /// A runtime whose threads all live in the node's network namespace.
    pub handle: Handle,
    /// The node's address there, which pods see as `status.hostIP`.
    pub node_ip: Ipv4Addr,
}

impl NodeNet {
    /// Runs a future in the node's network. Dropping the answer stops it.
    ///
    /// # Errors
    /// When the node's runtime is shutting down.
    pub async fn run<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> io::Result<T> {
        AbortOnDropHandle::new(self.handle.spawn(future)).await.map_err(io::Error::other)
    }
}
