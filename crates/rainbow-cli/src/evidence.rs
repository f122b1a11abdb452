//! Evidence of connections, by asking the pods now, as the operator does.

use std::collections::BTreeMap;

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use rainbow_api::{Color, Rainbow, Version, labels};
use rainbow_operator::count::{CountVia, Ignored, PodAddress, Reading, Source, ask};
use serde::Serialize;

use crate::{context::Cluster, error::Result};

/// Number of pods that are asked at the same time.
const AT_ONCE: usize = 16;

/// Known facts about a pod's connections.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PodEvidence {
    pub(crate) pod: String,
    pub(crate) tier: String,
    /// Number of connections. `None`: unknown.
    pub(crate) connections: Option<i64>,
    /// Number of connections that are too young to distinguish from the node's probes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fresh: Option<i64>,
    /// Number of connections of peers that `drain.ignore` names, which `connections` does not include.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ignored: Option<i64>,
    /// Number of those in `connections` whose peers the counter does not name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) unnamed: Option<i64>,
    /// Age of the oldest connection.
    pub(crate) oldest_seconds: Option<i64>,
    /// Peers of the pod, most connections first.
    pub(crate) peers: Vec<Peer>,
    /// Reason why the connections are unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) unknown: Option<String>,
    /// Whether the pod is terminating.
    pub(crate) ending: bool,
}

/// Peer of a pod's connections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Peer {
    pub(crate) address: String,
    /// Number of connections. `None`: only the address was reported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) connections: Option<i64>,
    /// Pod of the same namespace that has the address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pod: Option<String>,
}

/// Returns whether the spec describes the color, as far as that can be found without the content of its configuration.
fn is_described(rainbow: &Rainbow, color: &Color) -> bool {
    match Version::beside(&rainbow.spec, &color.spec) {
        Some(version) => version.is_of(&color.spec),
        // The operator names the version in the status.
        None => rainbow.status.as_ref().and_then(|status| status.color.as_ref()) == Some(&color.spec.color),
    }
}

/// Known facts about a color's connections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Evidence {
    /// Pods that can be asked at all, those with the most connections first.
    pub(crate) pods: Vec<PodEvidence>,
    /// Reason why the evidence is the operator's last report, and not the pods' answers of now.
    pub(crate) reported: Option<String>,
}

impl Evidence {
    /// Asks the pods of a color. Where no pod can be asked, returns the operator's last report.
    pub(crate) async fn gather(cluster: &Cluster, rainbow: &Rainbow, color: &Color) -> Result<Self> {
        let selector = ListParams::default().labels(&format!("{}={}", labels::RAINBOW, color.spec.rainbow));
        let pods = cluster.api::<Pod>().list(&selector).await.map_err(|error| cluster.error(&error))?.items;
        let addresses: BTreeMap<String, String> = pods.iter().filter_map(address).collect();
        let described = is_described(rainbow, color);
        let asked = color.spec.tiers.iter().flat_map(|tier| {
            let source = Source::of(&rainbow.spec, described, color, tier);
            of_instance(&pods, color, &tier.name).into_iter().filter_map(move |pod| {
                let unasked = PodEvidence {
                    pod: pod.metadata.name.clone()?,
                    tier: tier.name.clone(),
                    ending: pod.metadata.deletion_timestamp.is_some(),
                    ..PodEvidence::default()
                };
                let source = source.clone()?;
                // A pod without an address has no connections yet.
                Some((unasked, if address(pod).is_some() { source.map(Some) } else { Ok(None) }))
            })
        });
        let asked: Vec<(PodEvidence, Result<Option<Source>, &str>)> = asked.collect();
        let peers = &rainbow.spec.drain.ignore;
        let known = Ignored::of(peers);
        // Without the right to list pods elsewhere, the connections of ignored pods are shown as they count then: as held.
        let ignored = &known.clone().resolve(&cluster.client, &cluster.namespace, peers).await.unwrap_or(known);
        let answers = stream::iter(asked.into_iter().map(|(pod, source)| async move {
            let answer = match &source {
                Ok(Some(source)) => {
                    let whom =
                        PodAddress { namespace: &cluster.namespace, pod: &pod.pod, address: None, source, ignored };
                    ask(CountVia::Api, &cluster.client, whom).await
                }
                Ok(None) => Ok(Reading::default()),
                Err(why) => Err((*why).to_owned()),
            };
            (pod, answer)
        }));
        let mut answers: Vec<_> = answers.buffered(AT_ONCE).collect().await;
        answers.retain(|(pod, answer)| is_told(pod, answer));
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

    /// Returns the number of known connections.
    pub(crate) fn connections(&self) -> i64 {
        self.pods.iter().filter_map(|pod| pod.connections).sum()
    }

    /// Returns the number of connections that are too young to distinguish from the node's probes.
    pub(crate) fn fresh(&self) -> i64 {
        self.pods.iter().filter_map(|pod| pod.fresh).sum()
    }

    /// Returns the number of connections of peers that `drain.ignore` names.
    pub(crate) fn ignored(&self) -> i64 {
        self.pods.iter().filter_map(|pod| pod.ignored).sum()
    }

    /// Returns the number of connections of peers that the counter does not name, where some peers hold nothing.
    pub(crate) fn unnamed(&self) -> i64 {
        self.pods.iter().filter_map(|pod| pod.unnamed).sum()
    }

    /// Returns the number of pods with connections.
    pub(crate) fn busy(&self) -> usize {
        self.pods.iter().filter(|pod| pod.connections.is_some_and(|number| number > 0)).count()
    }

    /// Returns the number of pods whose connections are unknown.
    pub(crate) fn unknown(&self) -> usize {
        self.pods.iter().filter(|pod| pod.unknown.is_some()).count()
    }

    /// Returns the age of the oldest connection.
    pub(crate) fn oldest(&self) -> Option<i64> {
        self.pods.iter().filter_map(|pod| pod.oldest_seconds).max()
    }
}

/// Returns the operator's last report. `None`: the operator counts nothing.
fn reported(color: &Color) -> Option<Vec<PodEvidence>> {
    let drain = color.status.as_ref()?.drain.as_ref()?;
    let pods = drain.holders.iter().map(|holder| PodEvidence {
        pod: holder.pod.clone(),
        tier: holder.tier.clone(),
        connections: holder.connections.filter(|_| holder.unknown.is_none()),
        fresh: None,
        ignored: holder.ignored,
        unnamed: holder.unnamed,
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

/// Returns the living pods of the instance that serves a tier.
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

/// Returns whether to show a pod: a terminating pod holds nothing any more, and its counter may have ended before it.
fn is_told(pod: &PodEvidence, answer: &Result<Reading, String>) -> bool {
    !pod.ending || answer.is_ok()
}

/// Makes the evidence of a pod from its answer.
fn evidence(
    unasked: PodEvidence,
    answer: Result<Reading, String>,
    addresses: &BTreeMap<String, String>,
) -> PodEvidence {
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    match answer {
        Err(why) => PodEvidence { unknown: Some(why), ..unasked },
        Ok(answer) => {
            let peers = answer.peers().into_iter().map(|(address, count)| {
                let address = address.to_string();
                Peer { pod: addresses.get(&address).cloned(), address, connections: Some(number(count)) }
            });
            PodEvidence {
                connections: Some(number(answer.count)),
                fresh: Some(number(answer.fresh)).filter(|fresh| *fresh > 0),
                ignored: Some(number(answer.ignored)).filter(|number| *number > 0),
                unnamed: Some(number(answer.unnamed)).filter(|number| *number > 0),
                oldest_seconds: answer.oldest_seconds().map(number),
                peers: peers.collect(),
                ..unasked
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rainbow_operator::count::Port;

    #[test]
    fn an_answer_names_peers_by_their_pods() {
        let port = |port, count, oldest_seconds, peers: &[(&str, u64)]| Port {
            port,
            count,
            oldest_seconds: Some(oldest_seconds),
            peers: peers.iter().map(|(address, count)| (address.parse().unwrap(), *count)).collect(),
        };
        let ports = vec![port(8080, 3, 12, &[("10.0.0.2", 1), ("fd00::1", 2)]), port(8081, 4, 90, &[("10.0.0.2", 4)])];
        let answer = Reading { count: 7, fresh: 1, ports, ..Reading::default() };
        let addresses = [("10.0.0.2".to_owned(), "client-1".to_owned())].into();
        let shown = evidence(PodEvidence::default(), Ok(answer), &addresses);
        assert_eq!((shown.connections, shown.fresh, shown.oldest_seconds), (Some(7), Some(1), Some(90)));
        let peers: Vec<_> =
            shown.peers.iter().map(|peer| (&*peer.address, peer.connections, peer.pod.as_deref())).collect();
        assert_eq!(peers, [("10.0.0.2", Some(5), Some("client-1")), ("fd00::1", Some(2), None)]);
    }

    #[test]
    fn a_pod_that_ends_need_not_answer() {
        let pod = |ending| PodEvidence { ending, ..PodEvidence::default() };
        let silent = || Err("no answer".to_owned());
        assert!(is_told(&pod(true), &Ok(Reading::default())));
        assert!(is_told(&pod(false), &silent()));
        assert!(!is_told(&pod(true), &silent()));
    }

    #[test]
    fn what_says_nothing_is_unknown() {
        let unknown = evidence(PodEvidence::default(), Err("why".into()), &BTreeMap::new());
        assert_eq!((unknown.connections, unknown.unknown.as_deref()), (None, Some("why")));
    }
}
