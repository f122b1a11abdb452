//! Access to the node's own network from the process's ordinary runtime.

use std::{future::Future, io, net::Ipv4Addr};

use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;

/// Entry to the node's network: tasks on `handle` open their sockets there, where pods and Services have their addresses.
///
/// Sockets of any other task belong to the host. In tests both networks are the same.
#[derive(Clone, Debug)]
pub struct NodeNet {
    /// Runtime whose threads all live in the node's network namespace.
    pub handle: Handle,
    /// Address of the node in that network, which pods see as `status.hostIP`.
    pub node_ip: Ipv4Addr,
}

impl NodeNet {
    /// Runs a future in the node's network. Dropping the returned future stops it.
    ///
    /// # Errors
    /// When the node's runtime is shutting down.
    pub async fn run<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> io::Result<T> {
        AbortOnDropHandle::new(self.handle.spawn(future)).await.map_err(io::Error::other)
    }
}
