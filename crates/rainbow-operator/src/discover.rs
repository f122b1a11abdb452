//! What the API server has, asked once at the start: Rainbow runs on old clusters, too, and does there without what they
//! lack. Everything that depends on the cluster's version is asked here, with its why, and nowhere else.
//!
//! Two requests answer all of it: the list of API groups says which kinds there are, the version says how the cluster
//! behaves where no kind tells. What every cluster since 1.19 has is not asked for: server-side apply, definitions of
//! `apiextensions.k8s.io/v1`, `events.k8s.io/v1`.

use kube::Client;
use std::{collections::BTreeSet, time::Duration};

/// The first wait after a failure; it doubles up to the longest.
const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_LONGEST: Duration = Duration::from_secs(30);

/// What the cluster can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// How the ready pods of a Service are read.
    pub endpoints: EndpointsKind,
    /// `policy/v1` (1.21): pods that hold connections are guarded by a PodDisruptionBudget. Without it they are not: the
    /// older `policy/v1beta1` is gone from today's client libraries, and its empty selector means something else.
    pub policy_v1: bool,
    /// The kubelet runs init containers with `restartPolicy: Always` (on by default from 1.29). An older API server drops
    /// the field, and such a pod would wait for its sidecar to end forever: there a plain container is used.
    pub native_sidecars: bool,
    /// The ReplicaSet controller heeds `controller.kubernetes.io/pod-deletion-cost` (on by default from 1.22). Elsewhere a
    /// pod that may go is deleted by name instead.
    pub deletion_cost: bool,
    /// Definitions may hold rules of CEL, `x-kubernetes-validations` (on by default from 1.25). An older API server refuses
    /// to apply a field that it does not know.
    pub validation_rules: bool,
}

/// Which kind says which pods of a Service are ready. All of them carry the labels of their Service, by which the operator
/// finds those of the stages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointsKind {
    /// `discovery.k8s.io/v1` (1.21).
    Slices,
    /// `discovery.k8s.io/v1beta1`. Slices got the labels of their Service in 1.20, so those of older clusters are not used.
    SlicesBeta,
    /// `v1` Endpoints, which every cluster has. They name no more than 1000 pods.
    Endpoints,
}

impl Capabilities {
    /// Everything that there is: a current cluster.
    pub const ALL: Self = Self {
        endpoints: EndpointsKind::Slices,
        policy_v1: true,
        native_sidecars: true,
        deletion_cost: true,
        validation_rules: true,
    };

    /// What a cluster of this version with these groups (`policy/v1`) can do.
    fn of(version: Version, groups: &BTreeSet<String>) -> Self {
        let has = |group: &str| groups.contains(group);
        Self {
            endpoints: if has("discovery.k8s.io/v1") {
                EndpointsKind::Slices
            } else if has("discovery.k8s.io/v1beta1") && version >= Version(1, 20) {
                EndpointsKind::SlicesBeta
            } else {
                EndpointsKind::Endpoints
            },
            policy_v1: has("policy/v1"),
            native_sidecars: version >= Version(1, 29),
            deletion_cost: version >= Version(1, 22),
            validation_rules: version >= Version(1, 25),
        }
    }
}

/// Major and minor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version(u32, u32);

impl Version {
    /// Some providers write a minor as `20+`. What is no number counts as 0: an old cluster is the safe guess.
    fn of(major: &str, minor: &str) -> Self {
        let number = |text: &str| {
            let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
            text[..end].parse().unwrap_or(0)
        };
        Self(number(major), number(minor))
    }
}

/// Asks the API server.
///
/// # Errors
/// When it does not answer, or not in a way that can be understood.
pub async fn capabilities(client: &Client) -> kube::Result<Capabilities> {
    let version = client.apiserver_version().await?;
    let groups = client.list_api_groups().await?;
    let groups = groups.groups.into_iter().flat_map(|group| group.versions).map(|version| version.group_version);
    Ok(Capabilities::of(Version::of(&version.major, &version.minor), &groups.collect()))
}

/// Asks until there is an answer.
pub(crate) async fn wait(client: &Client) -> Capabilities {
    let mut pause = RETRY_FIRST;
    loop {
        match capabilities(client).await {
            Ok(found) => {
                tracing::info!(?found, "the cluster has");
                return found;
            }
            Err(error) => tracing::warn!(%error, again_in = ?pause, "the cluster does not say what it has"),
        }
        tokio::time::sleep(pause).await;
        pause = pause.saturating_mul(2).min(RETRY_LONGEST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(version: (&str, &str), groups: &[&str]) -> Capabilities {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        Capabilities::of(Version::of(version.0, version.1), &groups)
    }

    #[test]
    fn a_current_cluster_has_everything() {
        let groups = ["discovery.k8s.io/v1", "policy/v1", "apps/v1"];
        assert_eq!(of(("1", "35"), &groups), Capabilities::ALL);
        assert_eq!(of(("1", "29+"), &groups), Capabilities::ALL, "as some providers write it");
    }

    #[test]
    fn an_old_cluster_is_done_without() {
        let old = Capabilities {
            endpoints: EndpointsKind::SlicesBeta,
            policy_v1: false,
            native_sidecars: false,
            deletion_cost: false,
            validation_rules: false,
        };
        let groups = ["discovery.k8s.io/v1beta1", "policy/v1beta1", "apps/v1"];
        assert_eq!(of(("1", "20"), &groups), old);
        assert_eq!(of(("1", "19"), &groups), Capabilities { endpoints: EndpointsKind::Endpoints, ..old });
        let none = Capabilities { endpoints: EndpointsKind::Endpoints, ..old };
        assert_eq!(of(("1", "16"), &[]), none);
        assert_eq!(of(("", "garbage"), &[]), none, "what is not understood is old");
    }

    #[test]
    fn behaviours_come_with_versions() {
        let groups = ["discovery.k8s.io/v1beta1", "discovery.k8s.io/v1", "policy/v1"];
        let found = |minor| of(("1", minor), &groups);
        assert_eq!(found("21").endpoints, EndpointsKind::Slices, "the newer one where both are");
        assert_eq!((found("21").deletion_cost, found("22").deletion_cost), (false, true));
        assert_eq!((found("24").validation_rules, found("25").validation_rules), (false, true));
        assert_eq!((found("28").native_sidecars, found("29").native_sidecars), (false, true));
    }
}
