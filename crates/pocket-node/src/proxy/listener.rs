//! Ports that the proxy holds, and the reasons why one could not be opened.

use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, SocketAddrV4},
    sync::Arc,
};

use super::{balance::Backend, tcp, udp};
use crate::{cluster::Service, watch::Key};

/// Place where a port of a Service is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Front {
    /// Address in the node's network.
    Inside(SocketAddrV4),
    /// Port on the host.
    Host(u16),
}

/// Port that the proxy holds.
pub(super) enum PortListener {
    Tcp(tcp::TcpPort),
    Udp(udp::UdpPort),
}

impl PortListener {
    /// Accepts connections from now on.
    pub(super) fn open(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(listener) => listener.open(),
            Self::Udp(listener) => listener.open(),
        }
    }

    /// Refuses connections from now on.
    pub(super) async fn shut(&mut self) {
        match self {
            Self::Tcp(listener) => listener.shut().await,
            // At worst, datagrams are swallowed instead of refused.
            Self::Udp(listener) => drop(listener.shut()),
        }
    }

    /// Releases the port. After this it can be opened again.
    pub(super) async fn close(self) {
        match self {
            Self::Tcp(listener) => listener.close().await,
            Self::Udp(listener) => listener.close().await,
        }
    }
}

/// Port of a Service.
pub(super) struct Port {
    /// Backend for clients in the cluster.
    pub(super) inside: Arc<Backend>,
    /// Backend for clients outside.
    pub(super) outside: Arc<Backend>,
    pub(super) fronts: HashMap<Front, Result<PortListener, Refusal>>,
}

impl Port {
    pub(super) fn new(service: &Service) -> Self {
        Self {
            inside: Arc::new(Backend::new(service)),
            outside: Arc::new(Backend::new(service)),
            fronts: HashMap::new(),
        }
    }

    pub(super) fn backend(&self, front: Front) -> &Arc<Backend> {
        match front {
            Front::Inside(_) => &self.inside,
            Front::Host(_) => &self.outside,
        }
    }
}

/// Reason why a port could not be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Value of `PortStatus.error`.
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// Closes listeners; returns whether a port of the host was released.
pub(super) async fn close_all(fronts: HashMap<Front, Result<PortListener, Refusal>>) -> bool {
    let mut freed = false;
    for (front, listener) in fronts {
        if let Ok(listener) = listener {
            listener.close().await;
            freed |= matches!(front, Front::Host(_));
        }
    }
    freed
}

/// Describes why a port could not be opened, and what helps.
pub(super) fn refusal(front: Front, host: Ipv4Addr, error: &io::Error, holder: Option<Key>) -> Refusal {
    let address = match front {
        Front::Inside(address) => address,
        Front::Host(port) => SocketAddrV4::new(host, port),
    };
    match (error.kind(), holder) {
        (io::ErrorKind::AddrInUse, Some(holder)) => Refusal {
            reason: "PortInUse",
            message: format!(
                "port {address} is held by the Service {holder}; use the node port, or give one of them another port"
            ),
        },
        (io::ErrorKind::AddrInUse, None) => Refusal {
            reason: "PortInUse",
            message: format!(
                "port {address} is held by another program of this machine; use the node port, or end that program"
            ),
        },
        (io::ErrorKind::PermissionDenied, _) => Refusal {
            reason: "PortForbidden",
            message: format!(
                "port {address} cannot be opened without privileges (net.ipv4.ip_unprivileged_port_start); use the node port"
            ),
        },
        (_, _) => Refusal { reason: "PortUnavailable", message: format!("port {address} cannot be opened: {error}") },
    }
}
