//! Answers of pods, read defensively: any program may answer on the port, with any content.

use rainbow_api::{Color, Connections, HttpCount, RainbowSpec, Tier};
use rainbow_plan::Time;
use serde::Deserialize;
use serde_json::Value;
use std::{net::IpAddr, time::Duration};

use super::ignored::Ignored;
use crate::{domain, messages};

/// Largest number of peers that are kept of a port, after those that do not count have been left out.
const PEERS: usize = 10;
/// Largest number of peers that are read of a port: as many as the counter names when it is asked for all.
const NAMED: usize = 1000;
/// Largest number of ports that are kept: as many as a tier may have.
const PORTS: usize = 32;

/// Program that answers, and what counts in its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Sidecar, which must name these ports.
    Tally {
        /// Ports of the tier, in the pod.
        ports: Vec<i32>,
    },
    /// Application itself.
    Http(HttpCount),
}

impl Source {
    /// Returns the source of the connections of a color's tier. `described` says whether the spec describes the color. `None`: the pods are
    /// not asked, and time alone decides.
    ///
    /// # Errors
    /// Fails with the reason why no pod can be asked although connections decide.
    pub fn of(spec: &RainbowSpec, described: bool, color: &Color, tier: &Tier) -> Option<Result<Self, &'static str>> {
        let evidence = domain::evidence(spec, described, color);
        if !domain::counted(&evidence, tier) {
            return None;
        }
        let is_counted = evidence.of_tier(&tier.name) == Connections::Sidecar;
        if is_counted && domain::has_associations(tier) {
            return Some(Err(messages::ASSOCIATIONS));
        }
        let has_counter = || color.spec.instances.iter().any(|it| it.tier == tier.name && it.sidecar.is_some());
        Some(match (evidence.of_tier(&tier.name), &evidence.http) {
            (Connections::Http, Some(http)) => Ok(Self::Http(http.clone())),
            (Connections::Sidecar, _) if has_counter() => Ok(Self::Tally { ports: tier.tcp_ports() }),
            _ => Err(messages::NO_COUNTER),
        })
    }
}

/// Answer of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Number of connections that count.
    pub count: u64,
    /// Number of connections that may be the node's probes or clients behind the node: too young to tell.
    pub fresh: u64,
    /// Connections by port, where they are known.
    pub ports: Vec<Port>,
    /// Clock of the program that answers, in milliseconds, where it sends one. The clock must advance.
    pub at: Option<u64>,
    /// Time for which the program that answers has seen no connection, where it sends one. It looks more often than it is asked.
    pub idle: Duration,
    /// Number of connections of peers that do not count. They are in no other number.
    pub ignored: u64,
    /// Number of connections among `count` whose peers the answer does not name, where some peers do not count. They may belong to these.
    pub unnamed: u64,
}

/// Connections on one port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Number of the port in the pod.
    pub port: i32,
    /// Number of connections that count.
    pub count: u64,
    /// Age of the oldest connection in seconds. `None`: the oldest may be a connection that does not count.
    pub oldest_seconds: Option<u64>,
    /// Addresses of peers with their numbers of connections, most first.
    pub peers: Vec<(IpAddr, u64)>,
}

impl Reading {
    /// Returns the time since when there is no connection, where earlier answers do not tell. The program that answers may have looked all
    /// the time, so the wait need not start again because an operator has. A connection that was seen here takes precedence over the
    /// answer.
    pub(super) fn idle_since(&self, busy: Option<Time>, now: Time) -> Time {
        let idle = i64::try_from(self.idle.as_millis()).unwrap_or(i64::MAX);
        let said = Time(now.0.saturating_sub(idle));
        busy.map_or(said, |busy| said.max(busy)).min(now)
    }

    /// Returns the age of the oldest connection in seconds, where there is one and its age is known.
    pub fn oldest_seconds(&self) -> Option<u64> {
        self.ports.iter().filter(|port| port.count > 0).filter_map(|port| port.oldest_seconds).max()
    }

    /// Returns the answer without the connections of peers that do not count. Connections of peers that are not named count.
    #[must_use]
    pub fn without(mut self, ignored: &Ignored) -> Self {
        for port in &mut self.ports {
            let named = port.peers.iter().fold(0u64, |sum, (_, count)| sum.saturating_add(*count));
            if !ignored.is_empty() {
                self.unnamed = self.unnamed.saturating_add(port.count.saturating_sub(named));
                let before = port.peers.len();
                let mut left_out = 0u64;
                port.peers.retain(|(address, count)| {
                    let is_left_out = ignored.covers(*address);
                    left_out = left_out.saturating_add(if is_left_out { *count } else { 0 });
                    !is_left_out
                });
                // Never more than the port has: the rest of the answer is believed, too.
                let left_out = left_out.min(port.count);
                port.count -= left_out;
                self.count = self.count.saturating_sub(left_out);
                self.ignored = self.ignored.saturating_add(left_out);
                if port.peers.len() < before {
                    port.oldest_seconds = None;
                }
            }
            port.peers.truncate(PEERS);
        }
        self
    }

    /// Returns the addresses of the peers with the numbers of their connections over all ports, most first.
    pub fn peers(&self) -> Vec<(IpAddr, u64)> {
        let mut sums = std::collections::BTreeMap::<IpAddr, u64>::new();
        for (address, count) in self.ports.iter().flat_map(|port| &port.peers) {
            let sum = sums.entry(*address).or_default();
            *sum = sum.saturating_add(*count);
        }
        most_first(sums.into_iter().collect())
    }
}

/// Reads an answer.
///
/// # Errors
/// Fails with a short text, which does not vary from answer to answer, about why the answer says nothing.
pub fn read(source: &Source, body: &[u8]) -> Result<Reading, String> {
    match source {
        Source::Tally { ports } => tally(ports, body),
        Source::Http(http) => {
            let value: Value = serde_json::from_slice(body).map_err(|_| messages::NO_JSON.to_owned())?;
            let count = http.number(&value).ok_or_else(|| messages::no_number(&http.field))?;
            Ok(Reading { count, ..Reading::default() })
        }
    }
}

#[derive(Deserialize)]
struct Tally {
    ports: Vec<TallyPort>,
    count: u64,
    fresh: u64,
    at: u64,
    complete: bool,
    /// Counters of earlier versions do not send this field.
    #[serde(default, rename = "idleSeconds")]
    idle_seconds: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TallyPort {
    port: i32,
    count: u64,
    #[serde(default)]
    oldest_seconds: u64,
    #[serde(default)]
    peers: Vec<TallyPeer>,
}

#[derive(Deserialize)]
struct TallyPeer {
    address: IpAddr,
    count: u64,
}

fn tally(wanted: &[i32], body: &[u8]) -> Result<Reading, String> {
    let said: Tally = serde_json::from_slice(body).map_err(|_| messages::NO_TALLY.to_owned())?;
    if let Some(missing) = wanted.iter().find(|port| said.ports.iter().all(|said| said.port != **port)) {
        return Err(messages::no_port(*missing));
    }
    let sum = said.ports.iter().fold(0u64, |sum, port| sum.saturating_add(port.count));
    // Where the two differ, the higher one is believed.
    let count = said.count.max(sum);
    if count == 0 && !said.complete {
        return Err(messages::IN_PART.to_owned());
    }
    let mut ports: Vec<Port> = said.ports.into_iter().take(PORTS).map(port).collect();
    ports.sort_by_key(|port| port.port);
    let idle = Duration::from_secs(said.idle_seconds);
    Ok(Reading { count, fresh: said.fresh, ports, at: Some(said.at), idle, ..Reading::default() })
}

fn port(said: TallyPort) -> Port {
    let mut peers = most_first(said.peers.into_iter().map(|peer| (peer.address, peer.count)).collect());
    peers.truncate(NAMED);
    Port { port: said.port, count: said.count, oldest_seconds: Some(said.oldest_seconds), peers }
}

fn most_first(mut peers: Vec<(IpAddr, u64)>) -> Vec<(IpAddr, u64)> {
    peers.sort_by_key(|(address, count)| (std::cmp::Reverse(*count), *address));
    peers
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"ports":[{"port":8080,"count":3,"fresh":0,"oldestSeconds":12,"peers":[{"address":"10.0.0.2","count":1},{"address":"fd00::1","count":2}]},{"port":8081,"count":0,"fresh":1,"oldestSeconds":0,"peers":[]}],"count":3,"fresh":1,"at":1790000000000,"complete":true}"#;

    fn read_tally(ports: &[i32], body: &str) -> Result<Reading, String> {
        read(&Source::Tally { ports: ports.to_vec() }, body.as_bytes())
    }

    #[test]
    fn the_counter_is_understood() {
        let reading = read_tally(&[8080, 8081], GOOD).unwrap();
        assert_eq!((reading.count, reading.fresh, reading.oldest_seconds()), (3, 1, Some(12)));
        let peers: Vec<String> = reading.peers().iter().map(|(address, count)| format!("{address} {count}")).collect();
        assert_eq!(peers, ["fd00::1 2", "10.0.0.2 1"]);
        assert_eq!(reading.idle, Duration::ZERO, "it does not say");
        let empty = r#"{"ports":[{"port":80,"count":0}],"count":0,"fresh":0,"at":1,"complete":true,"idleSeconds":40}"#;
        assert_eq!(read_tally(&[80], empty).unwrap().idle, Duration::from_secs(40));
    }

    #[test]
    fn peers_that_do_not_count_are_left_out() {
        let peers = |ranges: &[&str]| -> Ignored {
            let peers: Vec<_> =
                ranges.iter().map(|range| serde_json::json!({ "ipBlock": { "cidr": range } })).collect();
            Ignored::of(&serde_json::from_value::<Vec<rainbow_api::IgnoredPeer>>(peers.into()).unwrap())
        };
        let check = |body: &str, ranges: &[&str], expected: (u64, u64, u64)| {
            let reading = read_tally(&[8080], body).unwrap().without(&peers(ranges));
            assert_eq!((reading.count, reading.ignored, reading.unnamed), expected, "{ranges:?}");
            reading
        };
        assert_eq!(check(GOOD, &[], (3, 0, 0)).oldest_seconds(), Some(12));
        let one = check(GOOD, &["10.0.0.2/32"], (2, 1, 0));
        assert_eq!((one.oldest_seconds(), one.peers().len()), (None, 1), "the oldest may be the one that is left out");
        check(GOOD, &["10.0.0.0/8", "fd00::/8"], (0, 3, 0));
        check(GOOD, &["192.168.0.0/16"], (3, 0, 0));
        // The counter names only some peers. The connections of the others count.
        let part = GOOD.replace(r#""count":3"#, r#""count":7"#);
        check(&part, &["0.0.0.0/0", "::/0"], (4, 3, 4));
        // A number that is larger than possible is not believed.
        let liar = r#"{"ports":[{"port":8080,"count":1,"peers":[{"address":"10.0.0.2","count":9}]}],"count":2,"fresh":0,"at":1,"complete":true}"#;
        check(liar, &["10.0.0.0/8"], (1, 1, 0));
    }

    /// A tier with an SCTP port is not asked and unknown: its pods have connections that the counter does not see.
    #[test]
    fn associations_are_never_known() {
        let source = |protocols: &[&str]| {
            let port = |(index, protocol)| serde_json::json!({ "name": format!("p{index}"), "port": 80 + index, "protocol": protocol });
            let ports: Vec<Value> = protocols.iter().enumerate().map(port).collect();
            let tier = serde_json::json!({ "name": "web", "ports": ports, "template": {} });
            let color: Color = serde_json::from_value(serde_json::json!({
                "apiVersion": "rainbow.dev/v1alpha1", "kind": "Color", "metadata": { "name": "shop-v1" },
                "spec": {
                    "rainbow": "shop", "color": "v1", "revision": 1, "tiers": [tier],
                    "instances": [{ "tier": "web", "color": "v1", "identity": "1", "sidecar": { "image": "t", "native": true } }],
                },
            }))
            .unwrap();
            let spec = RainbowSpec { tiers: color.spec.tiers.clone(), ..RainbowSpec::default() };
            Source::of(&spec, true, &color, &color.spec.tiers[0])
        };
        assert_eq!(source(&["TCP", "UDP"]), Some(Ok(Source::Tally { ports: vec![80] })));
        assert_eq!(source(&["UDP"]), None, "time alone decides");
        for protocols in [&["SCTP"][..], &["TCP", "SCTP"], &["UDP", "SCTP"]] {
            assert_eq!(source(protocols), Some(Err(messages::ASSOCIATIONS)), "{protocols:?}");
        }
    }

    #[test]
    fn what_says_nothing_is_an_error() {
        for (ports, body, expected) in [
            (&[8080][..], "", "the answer is not that of the counter"),
            (&[8080], "<html>", "the answer is not that of the counter"),
            (&[8080], "{}", "the answer is not that of the counter"),
            (
                &[8080],
                &GOOD.replace("\"count\":3,\"fresh\":1", "\"count\":-3,\"fresh\":1"),
                "the answer is not that of the counter",
            ),
            (&[8080], &GOOD.replace("10.0.0.2", "<script>"), "the answer is not that of the counter"),
            (&[8080, 9000], GOOD, "the answer does not speak of port 9000"),
            (
                &[8080],
                r#"{"ports":[{"port":8080,"count":0}],"count":0,"fresh":0,"at":1,"complete":false}"#,
                "not all connections could be seen",
            ),
        ] {
            assert_eq!(read_tally(ports, body), Err(expected.to_owned()), "{body}");
        }
    }

    #[test]
    fn the_worse_number_is_believed() {
        let low = GOOD.replace("\"count\":3,\"fresh\":1", "\"count\":0,\"fresh\":0");
        assert_eq!(read_tally(&[8080], &low).unwrap().count, 3);
        let high = GOOD.replace("\"count\":3,\"fresh\":1", "\"count\":7,\"fresh\":0").replace("true", "false");
        assert_eq!(read_tally(&[8080], &high).unwrap().count, 7, "seen in part, and busy all the same");
        let huge = format!(r#"{{"port":8080,"count":{}}}"#, u64::MAX);
        let huge = format!(r#"{{"ports":[{huge},{huge}],"count":1,"fresh":0,"at":1,"complete":true}}"#);
        assert_eq!(read_tally(&[8080], &huge).unwrap().count, u64::MAX);
    }

    #[test]
    fn an_application_says_it_itself() {
        let source = Source::Http(HttpCount { port: 80, path: "/".into(), field: "server.open".into() });
        assert_eq!(read(&source, br#"{"server":{"open":4}}"#).unwrap().count, 4);
        assert_eq!(read(&source, b"4"), Err("the answer has no number of connections at `server.open`".to_owned()));
        assert_eq!(read(&source, b"nonsense"), Err(messages::NO_JSON.to_owned()));
    }
}
