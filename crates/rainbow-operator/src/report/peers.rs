//! Peer that is connected to every pod that holds a color: most often one that need not be waited for, such as a scraper of metrics.

use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt, api::ListParams};
use rainbow_api::Color;
use rainbow_plan::{ColorReport, Connections, Plan, Time};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use crate::{cache::App, domain::PeerOwner};

/// Time that a color drains before a peer is named: most clients are gone by then.
const NAMED_AFTER: Duration = Duration::from_secs(60);
/// Longest time for an answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Owners of addresses that were asked for.
pub(crate) type Owners = BTreeMap<IpAddr, PeerOwner>;

/// Returns the address that is connected to every pod that holds a color, where there are two such pods or more, with the number of these
/// pods. Of several addresses, the one with the most connections.
pub(super) fn one_peer(report: &ColorReport, color: &Color, app: &App, now: Time) -> Option<(IpAddr, usize)> {
    report.drain.as_ref().filter(|drain| now >= drain.since.after(NAMED_AFTER))?;
    let instances = &color.spec.instances;
    let has = |tier: &str, of: &str| instances.iter().any(|known| known.tier == tier && known.color == of);
    let pods = app.pods.iter().filter(|(_, pod)| !pod.finished && has(&pod.tier, &pod.color));
    let busy = pods.filter(|(name, _)| matches!(app.known.connections(name, now), Connections::Busy { .. }));
    let peers: Vec<Vec<(IpAddr, u64)>> =
        busy.map(|(name, _)| app.known.reading(name).map(|reading| reading.peers()).unwrap_or_default()).collect();
    most_connected(&peers).map(|address| (address, peers.len()))
}

/// Returns the address that is among the peers of every pod, if there are two pods or more.
fn most_connected(peers: &[Vec<(IpAddr, u64)>]) -> Option<IpAddr> {
    let (first, others) = peers.split_first().filter(|(_, others)| !others.is_empty())?;
    let count = |of: &[(IpAddr, u64)], address: IpAddr| of.iter().find(|(other, _)| *other == address).map(|(_, n)| *n);
    let everywhere = first.iter().filter_map(|(address, n)| {
        let more: Option<Vec<u64>> = others.iter().map(|of| count(of, *address)).collect();
        Some((n.saturating_add(more?.iter().sum()), std::cmp::Reverse(*address)))
    });
    everywhere.max().map(|(_, address)| address.0)
}

/// Returns when peers of a color that drains may be named.
pub(super) fn next(plan: &Plan, now: Time) -> Option<Time> {
    let drains = plan.report.colors.iter().filter_map(|color| color.drain.as_ref());
    drains.map(|drain| drain.since.after(NAMED_AFTER)).filter(|at| *at > now).min()
}

/// Asks for the owners of addresses.
pub(super) async fn owners(client: &Client, addresses: &BTreeSet<IpAddr>) -> Owners {
    let ask = async |address: &IpAddr| {
        let list = ListParams::default().fields(&format!("status.podIP={address}"));
        let found = tokio::time::timeout(PATIENCE, Api::<Pod>::all(client.clone()).list(&list)).await;
        let pods = found.ok().and_then(Result::ok).map(|found| found.items).unwrap_or_default();
        (*address, owner(&pods))
    };
    join_all(addresses.iter().map(ask)).await.into_iter().collect()
}

fn owner(pods: &[Pod]) -> PeerOwner {
    let in_host = |pod: &&Pod| pod.spec.as_ref().is_some_and(|spec| spec.host_network == Some(true));
    let is_living = |pod: &&Pod| {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default();
        !["Succeeded", "Failed"].contains(&phase)
    };
    if let Some(pod) = pods.iter().find(in_host) {
        return match pod.spec.as_ref().and_then(|spec| spec.node_name.clone()) {
            Some(node) => PeerOwner::Node(node),
            None => PeerOwner::Unknown,
        };
    }
    match pods.iter().find(is_living) {
        Some(pod) => PeerOwner::Pod { namespace: pod.namespace().unwrap_or_default(), name: pod.name_any() },
        None => PeerOwner::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn a_peer_of_every_pod_is_found() {
        let of = |pods: &[&[(&str, u64)]]| {
            let pods: Vec<Vec<(IpAddr, u64)>> = pods
                .iter()
                .map(|pod| pod.iter().map(|(address, n)| (address.parse().unwrap(), *n)).collect())
                .collect();
            most_connected(&pods).map(|address| address.to_string())
        };
        let (scraper, client) = ("10.0.0.9", "10.0.0.1");
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[&[(scraper, 1)]]), None, "one pod is no pattern");
        assert_eq!(of(&[&[(scraper, 1)], &[(scraper, 1)]]).as_deref(), Some(scraper));
        assert_eq!(of(&[&[(client, 9), (scraper, 1)], &[(scraper, 1)]]).as_deref(), Some(scraper));
        assert_eq!(of(&[&[(client, 9)], &[(scraper, 1)]]), None);
        assert_eq!(of(&[&[(scraper, 1)], &[(scraper, 1)], &[]]), None, "a pod whose peers are not named");
        assert_eq!(of(&[&[(scraper, 1), (client, 2)], &[(scraper, 1), (client, 2)]]).as_deref(), Some(client));
    }

    #[test]
    fn an_owner_is_a_pod_or_a_node() {
        let pod = |spec: Value, phase: &str| -> Pod {
            let metadata = json!({ "name": "p", "namespace": "monitoring" });
            serde_json::from_value(json!({ "metadata": metadata, "spec": spec, "status": { "phase": phase } })).unwrap()
        };
        let (plain, host) =
            (json!({ "containers": [] }), json!({ "containers": [], "hostNetwork": true, "nodeName": "n1" }));
        let running = PeerOwner::Pod { namespace: "monitoring".into(), name: "p".into() };
        assert_eq!(owner(&[]), PeerOwner::Unknown);
        assert_eq!(owner(&[pod(plain.clone(), "Succeeded"), pod(plain.clone(), "Running")]), running);
        assert_eq!(owner(&[pod(plain, "Failed")]), PeerOwner::Unknown);
        assert_eq!(owner(&[pod(host, "Running")]), PeerOwner::Node("n1".into()));
    }
}
