//! Report of the counts, as JSON and as Prometheus text.

use std::{cmp::Reverse, fmt::Write, net::IpAddr, time::Duration};

use serde::Serialize;

use crate::{
    ages::{Ages, Key},
    rules::{Peer, Rules},
};

/// Number of peers named for each port where a question does not state a number.
pub const PEERS: usize = 10;
/// Number of peers kept for all ports together, and so the most that a question can get.
const MOST: usize = 1000;

/// Connections at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// One entry for each port that the pod serves, in ascending order.
    pub ports: Vec<Port>,
    /// Connections on all ports.
    pub count: u64,
    /// Connections that may be the kubelet's probes: from the node's address, and younger than a probe may get. They cannot be
    /// classified yet; ask again later.
    pub fresh: u64,
    /// Time at which the table was read, in milliseconds since 1970.
    pub at: u64,
    /// Whether all connections were seen. If `false`, there may be more.
    pub complete: bool,
    /// Seconds for which no sample has found a client; set by the sampler.
    pub idle_seconds: u64,
}

/// Connections on one port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Port {
    /// Port number.
    pub port: u16,
    /// Connections that clients hold.
    pub count: u64,
    /// Connections that may be probes.
    pub fresh: u64,
    /// Seconds for which the oldest of `count` has been seen. 0 without any.
    pub oldest_seconds: u64,
    /// Peers that hold most of `count`, most first; ten at most, or as many as the question asks for.
    pub peers: Vec<PeerCount>,
}

/// Connections of one client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PeerCount {
    pub address: IpAddr,
    /// Number of connections.
    pub count: u64,
}

impl Report {
    /// Counts a sample. `now` is on the clock of the ages, `at` in milliseconds since 1970.
    pub fn new(rules: &Rules, ages: &Ages, now: Duration, at: u64, whole: bool) -> Self {
        // Memory stays bounded for any number of ports.
        let most = (MOST / rules.ports.len().max(1)).max(PEERS);
        let ports: Vec<Port> = rules.ports.iter().map(|port| Port::new(*port, rules, ages, now, most)).collect();
        let overflow = ages.overflow() as u64;
        Self {
            count: ports.iter().map(|port| port.count).sum::<u64>() + overflow,
            fresh: ports.iter().map(|port| port.fresh).sum(),
            ports,
            at,
            complete: whole && overflow == 0,
            idle_seconds: 0,
        }
    }

    /// Returns the report with at most this number of peers of each port.
    #[must_use]
    pub fn with_peers(mut self, most: usize) -> Self {
        self.ports.iter_mut().for_each(|port| port.peers.truncate(most));
        self
    }

    /// Formats the report as Prometheus text.
    pub fn metrics(&self) -> String {
        let mut text = String::new();
        let mut family = |name: &str, help: &str, value: &dyn Fn(&Port) -> u64| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
            for port in &self.ports {
                let _ = writeln!(text, "{name}{{port=\"{}\"}} {}", port.port, value(port));
            }
        };
        family("tally_connections", "Connections that clients hold.", &|port| port.count);
        family("tally_fresh_connections", "Connections that may be probes of the kubelet.", &|port| port.fresh);
        family("tally_oldest_connection_seconds", "How long the oldest connection has been seen.", &|port| {
            port.oldest_seconds
        });
        let _ = writeln!(
            text,
            "# HELP tally_complete Whether all connections were seen.\n# TYPE tally_complete gauge\ntally_complete {}",
            u8::from(self.complete)
        );
        text
    }
}

impl Port {
    fn new(port: u16, rules: &Rules, ages: &Ages, now: Duration, most: usize) -> Self {
        let mut counted = Self { port, count: 0, fresh: 0, oldest_seconds: 0, peers: Vec::new() };
        let mut index = ages.keys().partition_point(|key| key.port < port);
        let end = ages.keys().partition_point(|key| key.port <= port);
        for same in ages.keys()[index..end].chunk_by(|one, other| one.peer() == other.peer()) {
            let Some(address) = same.first().map(Key::peer) else { continue };
            let peer = rules.peer(address);
            let mut count = 0;
            for age in (index..index + same.len()).map(|index| now.saturating_sub(ages.seen(index))) {
                if peer == Peer::Node && age < rules.probe {
                    counted.fresh += 1;
                } else {
                    count += 1;
                    counted.oldest_seconds = counted.oldest_seconds.max(age.as_secs());
                }
            }
            index += same.len();
            counted.count += count;
            counted.add_peer(PeerCount { address, count }, most);
        }
        counted
    }

    /// Adds a peer, and keeps those with the most connections; equal counts are ordered by address.
    fn add_peer(&mut self, peer: PeerCount, most: usize) {
        if peer.count == 0 {
            return;
        }
        let rank = |peer: &PeerCount| (Reverse(peer.count), peer.address);
        let at = self.peers.partition_point(|known| rank(known) < rank(&peer));
        if at < most {
            self.peers.truncate(most - 1);
            self.peers.insert(at.min(self.peers.len()), peer);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        rules::Loopback,
        socket::{Socket, State},
    };

    fn rules() -> Rules {
        Rules {
            ports: vec![8080, 8081],
            node: vec!["10.0.0.1".parse().unwrap()],
            probe: Duration::from_secs(2),
            loopback: Loopback::Ignored,
        }
    }

    fn key(port: u16, peer: &str, number: u16) -> Key {
        let peer = SocketAddr::new(peer.parse().unwrap(), number);
        let local = SocketAddr::from(([10, 0, 0, 5], port));
        Key::new(&Socket { local, peer, state: State::Established, unacknowledged: 0, owned: true, cookie: 0 })
    }

    /// Takes samples, each at its second, and returns the report at the last one.
    fn report(samples: &[(u64, &[Key])]) -> Report {
        let mut ages = Ages::default();
        let mut now = Duration::ZERO;
        for (second, keys) in samples {
            now = Duration::from_secs(*second);
            let mut sample = ages.sample();
            keys.iter().for_each(|key| sample.add(*key));
            ages.update(sample, now);
        }
        Report::new(&rules(), &ages, now, 1_700_000_000_000, true)
    }

    #[test]
    fn says_what_is_there() {
        let (old, new) = (key(8080, "10.0.0.9", 1), key(8080, "10.0.0.9", 2));
        let other = key(8081, "fd00::9", 3);
        let report = report(&[(1, &[old]), (13, &[old, new, other])]);
        assert_eq!(
            serde_json::to_string(&report).unwrap(),
            r#"{"ports":[{"port":8080,"count":2,"fresh":0,"oldestSeconds":12,"peers":[{"address":"10.0.0.9","count":2}]},{"port":8081,"count":1,"fresh":0,"oldestSeconds":0,"peers":[{"address":"fd00::9","count":1}]}],"count":3,"fresh":0,"at":1700000000000,"complete":true,"idleSeconds":0}"#
        );
        assert_eq!(
            report.metrics(),
            "# HELP tally_connections Connections that clients hold.\n\
             # TYPE tally_connections gauge\n\
             tally_connections{port=\"8080\"} 2\n\
             tally_connections{port=\"8081\"} 1\n\
             # HELP tally_fresh_connections Connections that may be probes of the kubelet.\n\
             # TYPE tally_fresh_connections gauge\n\
             tally_fresh_connections{port=\"8080\"} 0\n\
             tally_fresh_connections{port=\"8081\"} 0\n\
             # HELP tally_oldest_connection_seconds How long the oldest connection has been seen.\n\
             # TYPE tally_oldest_connection_seconds gauge\n\
             tally_oldest_connection_seconds{port=\"8080\"} 12\n\
             tally_oldest_connection_seconds{port=\"8081\"} 0\n\
             # HELP tally_complete Whether all connections were seen.\n\
             # TYPE tally_complete gauge\n\
             tally_complete 1\n"
        );
    }

    #[test]
    fn from_the_node_it_is_a_probe_until_it_is_too_old_for_one() {
        let node = key(8080, "10.0.0.1", 1);
        let young = report(&[(0, &[]), (5, &[node]), (6, &[node])]);
        assert_eq!((young.count, young.fresh, young.ports[0].peers.len()), (0, 1, 0));
        let old = report(&[(0, &[]), (5, &[node]), (7, &[node])]);
        assert_eq!((old.count, old.fresh, old.ports[0].oldest_seconds), (1, 0, 2));
        // Just started: the age of the connection is unknown, so it is not classified yet.
        assert_eq!(report(&[(0, &[node])]).fresh, 1);
        // Any other address counts at once.
        assert_eq!(report(&[(0, &[key(8080, "10.0.0.2", 1)])]).count, 1);
    }

    #[test]
    fn names_the_ten_with_the_most() {
        let keys: Vec<Key> = (1..=15u16)
            .flat_map(|peer| (0..peer).map(move |number| key(8080, &format!("10.0.1.{peer}"), number)))
            .collect();
        let all = report(&[(0, &keys)]);
        assert_eq!(all.ports[0].peers.len(), 15, "a question may ask for more");
        let peers = &all.with_peers(PEERS).ports[0].peers;
        let counts: Vec<u64> = peers.iter().map(|peer| peer.count).collect();
        assert_eq!(counts, [15, 14, 13, 12, 11, 10, 9, 8, 7, 6]);
        assert_eq!(peers[0].address.to_string(), "10.0.1.15");
        let equal: Vec<Key> = (1..=12).map(|peer| key(8080, &format!("10.0.1.{peer}"), 1)).collect();
        let peers = &report(&[(0, &equal)]).with_peers(PEERS).ports[0].peers;
        assert_eq!((peers[0].address.to_string(), peers.len()), ("10.0.1.1".into(), 10));
        assert_eq!(peers[9].address.to_string(), "10.0.1.10");
        let many: Vec<Key> =
            (0..2000u16).map(|peer| key(8080, &format!("10.1.{}.{}", peer / 250, peer % 250), 1)).collect();
        let report = report(&[(0, &many)]);
        assert_eq!((report.count, report.ports[0].peers.len()), (2000, MOST / 2), "of two ports each gets half");
    }

    #[test]
    fn what_was_not_seen_whole_is_not_complete() {
        let mut ages = Ages::default();
        assert!(!Report::new(&rules(), &ages, Duration::ZERO, 0, false).complete);
        let mut sample = ages.sample();
        for number in 0..u16::MAX {
            sample.add(key(8080, "10.0.0.9", number));
            sample.add(key(8081, "10.0.0.9", number));
        }
        ages.update(sample, Duration::ZERO);
        let report = Report::new(&rules(), &ages, Duration::ZERO, 0, true);
        assert_eq!((report.count, report.complete), (2 * u64::from(u16::MAX), false));
        assert!(report.metrics().ends_with("tally_complete 0\n"));
    }

    proptest! {
        #[test]
        fn every_connection_is_counted_once(
            connections in proptest::collection::btree_set((8080u16..8082, 1u8..20, 0u16..20), 0..200),
            age in 0u64..5,
        ) {
            let keys: Vec<Key> =
                connections.iter().map(|(port, last, number)| key(*port, &format!("10.0.0.{last}"), *number)).collect();
            let report = report(&[(0, &keys), (age, &keys)]).with_peers(PEERS);
            prop_assert_eq!(report.count + report.fresh, connections.len() as u64);
            let node = connections.iter().filter(|(_, last, _)| *last == 1).count() as u64;
            prop_assert_eq!(report.fresh, if age < 2 { node } else { 0 });
            for port in &report.ports {
                let named: u64 = port.peers.iter().map(|peer| peer.count).sum();
                prop_assert!(named <= port.count && port.peers.len() <= PEERS);
                prop_assert!(port.peers.len() == PEERS || named == port.count);
                prop_assert!(port.peers.is_sorted_by_key(|peer| Reverse(peer.count)));
            }
        }
    }
}
