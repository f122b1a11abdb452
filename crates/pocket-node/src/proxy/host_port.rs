//! Host ports: ports of the host that lead to one pod as long as its sandbox exists.

use std::{
    io,
    net::{Ipv4Addr, SocketAddrV4},
    sync::Arc,
};

use tokio::{net::UdpSocket, runtime::Handle};

use super::{balance::Backend, listener::PortListener, splice, tcp, udp};
use crate::{net::NodeNet, scheduler::HostPort};

/// Network and address of a node's host ports.
#[derive(Clone, Debug)]
pub(crate) struct Host<'a> {
    pub(crate) net: &'a NodeNet,
    /// Address on the host. In its own network the node has another one, at which pods reach the ports.
    pub(crate) ip: Ipv4Addr,
}

/// Open host ports of one pod.
#[derive(Default)]
pub(crate) struct HostPorts {
    listeners: Vec<PortListener>,
}

impl HostPorts {
    /// Opens the host ports of a pod, all or none.
    ///
    /// # Errors
    /// When a port cannot be opened. The message says which, why, and what helps.
    pub(crate) async fn open(host: &Host<'_>, pod: Ipv4Addr, wanted: &[HostPort]) -> Result<Self, String> {
        let mut opened = Self::default();
        for port in wanted {
            if let Err(why) = opened.add(host, pod, port).await {
                opened.close().await;
                return Err(why);
            }
        }
        Ok(opened)
    }

    async fn add(&mut self, host: &Host<'_>, pod: Ipv4Addr, port: &HostPort) -> Result<(), String> {
        let asked: Ipv4Addr = port.ip.parse().map_err(|_| format!("hostIP {} is no IPv4 address", port.ip))?;
        let outside = if asked.is_unspecified() { host.ip } else { asked };
        if !outside.is_loopback() {
            return Err(format!("hostIP {asked} is not the node's; use {}, or leave hostIP out", host.ip));
        }
        let (here, node) = (Handle::current(), &host.net.handle);
        let endpoint = SocketAddrV4::new(pod, port.container_port);
        let mut fronts = vec![(SocketAddrV4::new(outside, port.port), &here)];
        if asked.is_unspecified() && outside != host.net.node_ip {
            fronts.push((SocketAddrV4::new(host.net.node_ip, port.port), node));
        }
        for (address, home) in fronts {
            let listener = open(address, home, node, endpoint, &port.protocol).await;
            self.listeners.push(listener.map_err(|error| refusal(address, &error))?);
        }
        Ok(())
    }

    /// Releases the ports.
    pub(crate) async fn close(self) {
        for listener in self.listeners {
            listener.close().await;
        }
    }
}

async fn open(
    address: SocketAddrV4,
    home: &Handle,
    node: &Handle,
    endpoint: SocketAddrV4,
    protocol: &str,
) -> io::Result<PortListener> {
    let backend = Arc::new(Backend::of_pod(endpoint));
    match protocol {
        "TCP" => {
            let listener = home.spawn(tcp::listen(address)).await??;
            let relay = tcp::Relay { backend, pipes: Arc::<splice::Pipes>::default(), node: node.clone() };
            Ok(PortListener::Tcp(tcp::TcpPort::new(listener, home.clone(), relay)))
        }
        "UDP" => {
            let socket = home.spawn(UdpSocket::bind(address)).await??;
            Ok(PortListener::Udp(udp::UdpPort::new(socket, home, backend, node.clone())))
        }
        other => Err(io::Error::new(io::ErrorKind::Unsupported, format!("{other} is not forwarded here"))),
    }
}

fn refusal(address: SocketAddrV4, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("hostPort {address} is held by a Service or by another program of this machine")
        }
        io::ErrorKind::PermissionDenied => {
            format!("hostPort {address} cannot be opened without privileges (net.ipv4.ip_unprivileged_port_start)")
        }
        _ => format!("hostPort {address} cannot be opened: {error}"),
    }
}
