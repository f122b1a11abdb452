//! Asks pods how many connections they have: the counter beside the application, or the application itself, through the API.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use rainbow_api::{Color, Connections, HttpCount, Rainbow, labels, names};
use serde::{Deserialize, Serialize};

use crate::{
    context::Cluster,
    error::{Error, Result},
};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// Pods that are asked at the same time.
const AT_ONCE: usize = 16;

/// What is known of a pod's connections.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PodEvidence {
    pub(crate) pod: String,
    pub(crate) tier: String,
    /// None: they are not known.
    pub(crate) connections: Option<i64>,
    /// Too young to be told from the node's probes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fresh: Option<i64>,
    /// Age of the oldest.
    pub(crate) oldest_seconds: Option<i64>,
    /// Whom it is connected to, most connections first.
    pub(crate) peers: Vec<Peer>,
    /// Why they are not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) unknown: Option<String>,
    /// It has been told to end.
    pub(crate) ending: bool,
}

/// Whom a pod is connected to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Peer {
    pub(crate) address: String,
    /// None where only the address was reported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) connections: Option<i64>,
    /// The pod of the same namespace that has the address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pod: Option<String>,
}

/// What is known of a color's connections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Evidence {
    /// The pods that can be asked at all, those with the most connections first.
    pub(crate) pods: Vec<PodEvidence>,
    /// Why this is what the operator reported last, and not what the pods say now.
    pub(crate) reported: Option<String>,
}

impl Evidence {
    /// Asks the pods of a color. Where none of them can be asked, it is what the operator reported.
    pub(crate) async fn gather(cluster: &Cluster, rainbow: &Rainbow, color: &Color) -> Result<Self> {
        let selector = ListParams::default().labels(&format!("{}={}", labels::RAINBOW, color.spec.rainbow));
        let pods = cluster.api::<Pod>().list(&selector).await.map_err(|error| cluster.error(&error))?.items;
        let addresses: BTreeMap<String, String> = pods.iter().filter_map(address).collect();
        let asked = color.spec.tiers.iter().flat_map(|tier| {
            let source = source(rainbow, color, &tier.name);
            of_instance(&pods, color, &tier.name).into_iter().filter_map(move |pod| {
                let unasked = PodEvidence {
                    pod: pod.metadata.name.clone()?,
                    tier: tier.name.clone(),
                    ending: pod.metadata.deletion_timestamp.is_some(),
                    ..PodEvidence::default()
                };
                Some((unasked, source.clone()?))
            })
        });
        let asked: Vec<(PodEvidence, Source)> = asked.collect();
        let answers = stream::iter(asked.into_iter().map(|(pod, source)| async move {
            let answer = ask(cluster, &pod.pod, &source).await;
            (pod, answer)
        }));
        let answers: Vec<_> = answers.buffered(AT_ONCE).collect().await;
        let failure = answers.iter().find_map(|(pod, answer)| Some(format!("{}: {}", pod.pod, answer.as_ref().err()?)));
        if let Some(failure) = failure
            && answers.iter().all(|(_, answer)| answer.is_err())
            && let Some(reported) = reported(color)
        {
            let note = format!("no pod could be asked ({failure}): this is what the operator reported last");
            return Ok(Self { pods: reported, reported: Some(note) });
        }
        let mut found: Vec<PodEvidence> =
            answers.into_iter().map(|(pod, answer)| evidence(pod, answer, &addresses)).collect();
        found.sort_by_key(|pod| (pod.unknown.is_none(), std::cmp::Reverse(pod.connections), pod.pod.clone()));
        Ok(Self { pods: found, reported: None })
    }

    /// Connections that are known of.
    pub(crate) fn connections(&self) -> i64 {
        self.pods.iter().filter_map(|pod| pod.connections).sum()
    }

    /// Connections that are too young to be told from the node's probes.
    pub(crate) fn fresh(&self) -> i64 {
        self.pods.iter().filter_map(|pod| pod.fresh).sum()
    }

    /// Pods with connections.
    pub(crate) fn busy(&self) -> usize {
        self.pods.iter().filter(|pod| pod.connections.is_some_and(|number| number > 0)).count()
    }

    /// Pods whose connections are not known.
    pub(crate) fn unknown(&self) -> usize {
        self.pods.iter().filter(|pod| pod.unknown.is_some()).count()
    }

    /// Age of the oldest connection.
    pub(crate) fn oldest(&self) -> Option<i64> {
        self.pods.iter().filter_map(|pod| pod.oldest_seconds).max()
    }
}

/// What the operator reported; `None` while it counts nothing.
fn reported(color: &Color) -> Option<Vec<PodEvidence>> {
    let drain = color.status.as_ref()?.drain.as_ref()?;
    let pods = drain.holders.iter().map(|holder| PodEvidence {
        pod: holder.pod.clone(),
        tier: holder.tier.clone(),
        connections: holder.connections.filter(|_| holder.unknown.is_none()),
        fresh: None,
        oldest_seconds: holder.oldest_seconds,
        peers: holder
            .peers
            .iter()
            .map(|address| Peer { address: address.clone(), connections: None, pod: None })
            .collect(),
        unknown: holder.unknown.clone(),
        ending: false,
    });
    Some(pods.collect())
}

/// The living pods of the instance that serves a tier.
fn of_instance<'a>(pods: &'a [Pod], color: &Color, tier: &str) -> Vec<&'a Pod> {
    let instance = color.spec.instances.iter().find(|instance| instance.tier == tier);
    let instance = instance.map_or(color.spec.color.as_str(), |instance| instance.color.as_str());
    let is_it = |pod: &&Pod| {
        let label = |key: &str| pod.metadata.labels.as_ref().and_then(|labels| labels.get(key)).map(String::as_str);
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        label(labels::TIER) == Some(tier)
            && label(labels::COLOR) == Some(instance)
            && !matches!(phase, Some("Succeeded" | "Failed"))
    };
    pods.iter().filter(is_it).collect()
}

fn address(pod: &Pod) -> Option<(String, String)> {
    Some((pod.status.as_ref()?.pod_ip.clone()?, pod.metadata.name.clone()?))
}

/// Who is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    Sidecar,
    Http(HttpCount),
}

/// Who is asked for the connections of a tier; `None` where time alone decides.
fn source(rainbow: &Rainbow, color: &Color, tier: &str) -> Option<Source> {
    // Policy is what the Rainbow says now; a tier that it no longer has keeps what it had.
    let now = rainbow.spec.tiers.iter().chain(&color.spec.tiers).find(|other| other.name == tier)?;
    match rainbow_api::connections(&rainbow.spec, now) {
        Connections::Http => rainbow.spec.drain.http.clone().map(Source::Http),
        Connections::Sidecar => {
            let instance = color.spec.instances.iter().find(|instance| instance.tier == tier)?;
            instance.sidecar.as_ref().map(|_| Source::Sidecar)
        }
        Connections::None => None,
    }
}

/// What a pod has answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Answer {
    connections: u64,
    fresh: u64,
    oldest_seconds: Option<u64>,
    peers: Vec<(IpAddr, u64)>,
}

async fn ask(cluster: &Cluster, pod: &str, source: &Source) -> Result<Answer, String> {
    let (port, path) = match source {
        Source::Sidecar => (names::SIDECAR_PORT, "/connections"),
        Source::Http(http) => (http.port, http.path.as_str()),
    };
    let uri = format!("/api/v1/namespaces/{}/pods/{pod}:{port}/proxy{path}", cluster.namespace);
    let request = http::Request::get(uri).body(Vec::new()).map_err(|error| error.to_string())?;
    let answer = tokio::time::timeout(PATIENCE, cluster.client.request_text(request)).await;
    let body = answer.map_err(|_| format!("no answer within {} s", PATIENCE.as_secs()))?;
    let body = body.map_err(|error| match cluster.error(&error) {
        // Of a pod, not of a cluster without Rainbow.
        _ if matches!(&error, kube::Error::Api(status) if status.code == 404) => "nobody answers there".to_owned(),
        Error::Refused(message) | Error::Failed(message) | Error::Usage(message) => message,
        other => other.to_string(),
    })?;
    read(source, &body)
}

#[derive(Deserialize)]
struct Tally {
    ports: Vec<TallyPort>,
    count: u64,
    fresh: u64,
    complete: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TallyPort {
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

/// Reads an answer. Whoever answers there may be anybody.
fn read(source: &Source, body: &str) -> Result<Answer, String> {
    match source {
        Source::Http(http) => {
            let value = serde_json::from_str(body).map_err(|_| "the answer is no JSON".to_owned())?;
            let number = http.number(&value);
            let connections = number.ok_or_else(|| format!("the answer has no number at `{}`", http.field))?;
            Ok(Answer { connections, ..Answer::default() })
        }
        Source::Sidecar => {
            let said: Tally = serde_json::from_str(body).map_err(|_| "the answer is not that of the counter")?;
            if said.count == 0 && !said.complete {
                return Err("not all connections could be seen".into());
            }
            let mut peers = BTreeMap::<IpAddr, u64>::new();
            for peer in said.ports.iter().flat_map(|port| &port.peers) {
                let sum = peers.entry(peer.address).or_default();
                *sum = sum.saturating_add(peer.count);
            }
            let mut peers: Vec<(IpAddr, u64)> = peers.into_iter().collect();
            peers.sort_by_key(|(address, count)| (std::cmp::Reverse(*count), *address));
            let busy = said.ports.iter().filter(|port| port.count > 0);
            Ok(Answer {
                connections: said.count,
                fresh: said.fresh,
                oldest_seconds: busy.map(|port| port.oldest_seconds).max(),
                peers,
            })
        }
    }
}

/// What a pod's answer says of it.
fn evidence(unasked: PodEvidence, answer: Result<Answer, String>, addresses: &BTreeMap<String, String>) -> PodEvidence {
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    match answer {
        Err(why) => PodEvidence { unknown: Some(why), ..unasked },
        Ok(answer) => {
            let peers = answer.peers.into_iter().map(|(address, count)| {
                let address = address.to_string();
                Peer { pod: addresses.get(&address).cloned(), address, connections: Some(number(count)) }
            });
            PodEvidence {
                connections: Some(number(answer.connections)),
                fresh: Some(number(answer.fresh)).filter(|fresh| *fresh > 0),
                oldest_seconds: answer.oldest_seconds.map(number),
                peers: peers.collect(),
                ..unasked
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_is_understood() {
        let body = r#"{"ports":[
            {"port":8080,"count":3,"fresh":0,"oldestSeconds":12,"peers":[{"address":"10.0.0.2","count":1},{"address":"fd00::1","count":2}]},
            {"port":8081,"count":4,"fresh":1,"oldestSeconds":90,"peers":[{"address":"10.0.0.2","count":4}]}
        ],"count":7,"fresh":1,"at":1,"complete":true}"#;
        let answer = read(&Source::Sidecar, body).unwrap();
        let addresses = [("10.0.0.2".to_owned(), "client-1".to_owned())].into();
        let shown = evidence(PodEvidence::default(), Ok(answer), &addresses);
        assert_eq!((shown.connections, shown.fresh, shown.oldest_seconds), (Some(7), Some(1), Some(90)));
        let peers: Vec<_> =
            shown.peers.iter().map(|peer| (&*peer.address, peer.connections, peer.pod.as_deref())).collect();
        assert_eq!(peers, [("10.0.0.2", Some(5), Some("client-1")), ("fd00::1", Some(2), None)]);
    }

    #[test]
    fn what_says_nothing_is_unknown() {
        for body in ["", "{}", "<html>", r#"{"ports":[],"count":-1,"fresh":0,"complete":true}"#] {
            assert_eq!(read(&Source::Sidecar, body).unwrap_err(), "the answer is not that of the counter", "{body}");
        }
        let partial = r#"{"ports":[],"count":0,"fresh":0,"complete":false}"#;
        assert_eq!(read(&Source::Sidecar, partial).unwrap_err(), "not all connections could be seen");
        let http = Source::Http(HttpCount { port: 80, path: "/".into(), field: "open".into() });
        assert_eq!(read(&http, r#"{"open":3}"#).unwrap().connections, 3);
        assert_eq!(read(&http, r#"{"open":"3"}"#).unwrap_err(), "the answer has no number at `open`");
        let unknown = evidence(PodEvidence::default(), Err("why".into()), &BTreeMap::new());
        assert_eq!((unknown.connections, unknown.unknown.as_deref()), (None, Some("why")));
    }
}
