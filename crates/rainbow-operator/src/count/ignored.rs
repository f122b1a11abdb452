//! Addresses whose connections hold no pod, as `spec.drain.ignore` names them.
//!
//! Addresses of selected pods are listed repeatedly while they are needed, and only then. There is no watch, and memory only for the
//! selected pods. A list that is too old selects nothing: an unknown address is never ignored.

use futures::future::try_join_all;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::{Api, Client, ResourceExt, api::ListParams};
use rainbow_api::{Cidr, IgnoredPeer, Selector};
use std::{collections::BTreeSet, net::IpAddr, time::Duration};
use tokio::time::Instant;

/// Time between two lists of the selected pods.
pub(super) const REFRESH: Duration = Duration::from_secs(2);
/// Age beyond which a list selects nothing: a freed address may belong to another pod by then.
const WORTH: Duration = Duration::from_secs(10);
/// Largest number of namespaces that are listed one by one. With more, the pods of all namespaces are listed at once.
const NAMESPACES: usize = 8;

/// Addresses whose connections hold no pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ignored {
    blocks: Vec<Block>,
    selected: BTreeSet<IpAddr>,
    /// Time at which the pods were listed.
    listed: Option<Instant>,
    /// Whether there are peers to ignore, even if their addresses are not known.
    names_peers: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Block {
    range: Cidr,
    except: Vec<Cidr>,
}

impl Ignored {
    /// Returns the addresses that are known without a question: the ranges, without pods.
    pub fn of(peers: &[IgnoredPeer]) -> Self {
        let block = |peer: &IgnoredPeer| {
            let block = peer.ip_block.as_ref()?;
            // The validation refuses a range that cannot be read. A range without one of its exceptions would ignore too much.
            let except: Result<Vec<Cidr>, _> = block.except.iter().map(|text| text.parse()).collect();
            Some(Block { range: block.cidr.parse().ok()?, except: except.ok()? })
        };
        Self { blocks: peers.iter().filter_map(block).collect(), names_peers: !peers.is_empty(), ..Self::default() }
    }

    /// Returns whether there is no peer to ignore.
    pub fn is_empty(&self) -> bool {
        !self.names_peers
    }

    /// Returns these addresses with those of the pods that the peers select.
    ///
    /// # Errors
    /// Fails when the pods or their namespaces cannot be listed.
    pub async fn resolve(self, client: &Client, namespace: &str, peers: &[IgnoredPeer]) -> Result<Self, kube::Error> {
        let listed = Instant::now();
        let selected = try_join_all(peers.iter().map(|peer| addresses(client, namespace, peer))).await?;
        Ok(self.with(selected.into_iter().flatten().collect(), listed))
    }

    pub(super) fn with(self, selected: BTreeSet<IpAddr>, listed: Instant) -> Self {
        Self { selected, listed: Some(listed), ..self }
    }

    pub(super) fn selected(&self) -> &BTreeSet<IpAddr> {
        &self.selected
    }

    /// Returns whether the connections of an address hold no pod.
    pub fn covers(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let in_block = |block: &Block| {
            block.range.contains(address) && !block.except.iter().any(|except| except.contains(address))
        };
        let is_fresh = self.listed.is_some_and(|listed| listed.elapsed() <= WORTH);
        self.blocks.iter().any(in_block) || (is_fresh && self.selected.contains(&address))
    }
}

/// Returns whether some peers are pods.
pub(super) fn selects(peers: &[IgnoredPeer]) -> bool {
    peers.iter().any(|peer| peer.pod_selector.is_some() || peer.namespace_selector.is_some())
}

async fn addresses(client: &Client, own: &str, peer: &IgnoredPeer) -> Result<BTreeSet<IpAddr>, kube::Error> {
    let everything = Selector::default();
    let pods = peer.pod_selector.as_ref();
    let selector = pods.unwrap_or(&everything);
    let of =
        |api: Api<Pod>| async move { Ok::<_, kube::Error>(of_pods(&api.list(&chosen(selector)).await?.items, None)) };
    match &peer.namespace_selector {
        None if pods.is_none() => Ok(BTreeSet::new()),
        None => of(Api::namespaced(client.clone(), own)).await,
        Some(namespaces) if namespaces.is_empty() => of(Api::all(client.clone())).await,
        Some(namespaces) => {
            let found = Api::<Namespace>::all(client.clone()).list_metadata(&chosen(namespaces)).await?;
            let names: BTreeSet<String> = found.items.iter().map(ResourceExt::name_any).collect();
            if names.len() <= NAMESPACES {
                let each = names.iter().map(|name| of(Api::namespaced(client.clone(), name)));
                return Ok(try_join_all(each).await?.into_iter().flatten().collect());
            }
            let all = Api::<Pod>::all(client.clone()).list(&chosen(selector)).await?;
            Ok(of_pods(&all.items, Some(&names)))
        }
    }
}

/// Reads from the API server's cache, as the implementation of a NetworkPolicy does as well.
fn chosen(selector: &Selector) -> ListParams {
    ListParams::default().labels(&selector.query()).match_any()
}

/// Returns the addresses that pods have of their own. An address that a pod has given back is left out, and so is a node's.
fn of_pods(pods: &[Pod], namespaces: Option<&BTreeSet<String>>) -> BTreeSet<IpAddr> {
    let is_meant = |pod: &&Pod| {
        let is_in = namespaces.is_none_or(|all| pod.namespace().is_some_and(|name| all.contains(&name)));
        let in_host = pod.spec.as_ref().is_some_and(|spec| spec.host_network == Some(true));
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default();
        is_in && !in_host && !["Succeeded", "Failed"].contains(&phase)
    };
    let statuses = pods.iter().filter(is_meant).filter_map(|pod| pod.status.as_ref());
    let texts = statuses.flat_map(|status| {
        let more = status.pod_ips.iter().flatten().map(|address| address.ip.as_str());
        status.pod_ip.as_deref().into_iter().chain(more)
    });
    texts.filter_map(|text| text.parse::<IpAddr>().ok()).map(|address| address.to_canonical()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn peers(peers: Value) -> Vec<IgnoredPeer> {
        serde_json::from_value(peers).unwrap()
    }

    #[test]
    fn ranges_have_exceptions() {
        let ignored = Ignored::of(&peers(json!([
            { "ipBlock": { "cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"] } }, { "ipBlock": { "cidr": "10.1.2.3/32" } },
            { "ipBlock": { "cidr": "nonsense" } }, { "ipBlock": { "cidr": "0.0.0.0/0", "except": ["nonsense"] } },
            { "podSelector": {} },
        ])));
        for (address, expected) in [
            ("10.9.0.1", true),
            ("10.1.0.1", false),
            ("10.1.2.3", true),
            ("11.0.0.1", false),
            ("::ffff:10.9.0.1", true),
        ] {
            assert_eq!(ignored.covers(address.parse().unwrap()), expected, "{address}");
        }
        assert!(!ignored.is_empty());
        assert_eq!(Ignored::of(&[]), Ignored::default());
        assert!(Ignored::default().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn an_old_list_selects_nothing() {
        let address: IpAddr = "10.0.0.9".parse().unwrap();
        let ignored = Ignored::of(&peers(json!([{ "podSelector": {} }])));
        assert!(!ignored.covers(address), "never listed");
        let ignored = ignored.with([address].into(), Instant::now());
        assert!(ignored.covers(address));
        tokio::time::advance(WORTH + Duration::from_millis(1)).await;
        assert!(!ignored.covers(address));
    }

    #[test]
    fn only_addresses_of_living_pods_count() {
        let pod = |namespace: &str, spec: Value, status: Value| -> Pod {
            serde_json::from_value(
                json!({ "metadata": { "name": "p", "namespace": namespace }, "spec": spec, "status": status }),
            )
            .unwrap()
        };
        let plain = || json!({ "containers": [] });
        let pods = [
            pod(
                "a",
                plain(),
                json!({ "phase": "Running", "podIP": "10.0.0.1", "podIPs": [{ "ip": "10.0.0.1" }, { "ip": "fd00::1" }] }),
            ),
            pod("a", plain(), json!({ "phase": "Succeeded", "podIP": "10.0.0.2" })),
            pod(
                "a",
                json!({ "containers": [], "hostNetwork": true }),
                json!({ "phase": "Running", "podIP": "192.168.0.1" }),
            ),
            pod("b", plain(), json!({ "phase": "Running", "podIP": "10.0.0.3" })),
            pod("b", plain(), json!({ "phase": "Pending" })),
        ];
        let text = |all: BTreeSet<IpAddr>| all.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        assert_eq!(text(of_pods(&pods, None)), "10.0.0.1 10.0.0.3 fd00::1");
        assert_eq!(text(of_pods(&pods, Some(&["b".to_owned()].into()))), "10.0.0.3");
    }
}
