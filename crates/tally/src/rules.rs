//! Rules that decide which sockets are connections of the pod's clients.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use crate::{ages::Key, socket::Socket};

/// Source address of a service mesh's proxy inside the pod (Istio). Behind it are clients, but also probes.
const MESH: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::new(127, 0, 0, 6)), IpAddr::V6(Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 6))];

/// Treatment of connections from inside the pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Loopback {
    /// Connections from inside do not count: they end with the pod, so they hold nothing.
    #[default]
    Ignored,
    /// Connections from inside count, for trials on one machine.
    Counted,
}

/// Settings that decide which connections count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Ports that the pod serves, in ascending order.
    pub ports: Vec<u16>,
    /// Node's own addresses. A connection from there is the kubelet's probe, or that of a client whose address the node has
    /// replaced by its own: only time can tell them apart.
    pub node: Vec<IpAddr>,
    /// Longest duration of a probe.
    pub probe: Duration,
    /// Treatment of connections from inside the pod.
    pub loopback: Loopback,
}

/// Kind of the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Client,
    /// Client behind the node's address, or a probe.
    Node,
}

impl Rules {
    /// Returns the socket's key, if it is a client's connection to one of the ports.
    pub fn key(&self, socket: &Socket) -> Option<Key> {
        if self.ports.binary_search(&socket.local.port()).is_err() || !socket.is_held() {
            return None;
        }
        let (local, peer) = (socket.local.ip(), socket.peer.ip());
        let inside = (peer.is_loopback() && !MESH.contains(&peer)) || peer == local;
        if inside && self.loopback == Loopback::Ignored {
            return None;
        }
        Some(Key::new(socket))
    }

    /// Classifies an address.
    pub fn peer(&self, address: IpAddr) -> Peer {
        if self.node.contains(&address) || MESH.contains(&address) { Peer::Node } else { Peer::Client }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::State;

    fn rules() -> Rules {
        Rules {
            ports: vec![8080, 8081],
            node: vec!["192.168.0.7".parse().unwrap(), "10.0.0.1".parse().unwrap()],
            probe: Duration::from_secs(2),
            loopback: Loopback::Ignored,
        }
    }

    fn counts(rules: &Rules, local: &str, peer: &str, state: State) -> bool {
        let (local, peer) = (local.parse().unwrap(), peer.parse().unwrap());
        rules.key(&Socket { local, peer, state, unacknowledged: 0, owned: true, cookie: 1 }).is_some()
    }

    #[test]
    fn clients_of_the_ports_count() {
        for (local, peer, state, wanted) in [
            ("10.0.0.5:8080", "10.0.0.9:40000", State::Established, true),
            ("10.0.0.5:8081", "10.0.0.9:40000", State::CloseWait, true),
            ("10.0.0.5:8080", "10.0.0.9:40000", State::TimeWait, false),
            ("10.0.0.5:9090", "10.0.0.9:40000", State::Established, false),
            ("10.0.0.5:50000", "10.0.0.9:8080", State::Established, false), // the pod is the client
            ("127.0.0.1:8080", "127.0.0.1:40000", State::Established, false),
            ("[::1]:8080", "[::1]:40000", State::Established, false),
            ("10.0.0.5:8080", "10.0.0.5:40000", State::Established, false), // the pod's own address
            ("10.0.0.5:8080", "127.0.0.6:40000", State::Established, true),
            ("[fd00::5]:8080", "[::6]:40000", State::Established, true),
            ("10.0.0.5:8080", "10.0.0.1:40000", State::Established, true), // the node: its age decides
        ] {
            assert_eq!(counts(&rules(), local, peer, state), wanted, "{local} {peer} {state:?}");
        }
        let rules = Rules { loopback: Loopback::Counted, ..rules() };
        assert!(counts(&rules, "127.0.0.1:8080", "127.0.0.1:40000", State::Established));
    }

    #[test]
    fn knows_the_node() {
        for (address, wanted) in [
            ("10.0.0.1", Peer::Node),
            ("192.168.0.7", Peer::Node),
            ("127.0.0.6", Peer::Node),
            ("::6", Peer::Node),
            ("10.0.0.9", Peer::Client),
            ("fd00::9", Peer::Client),
        ] {
            assert_eq!(rules().peer(address.parse().unwrap()), wanted, "{address}");
        }
    }
}
