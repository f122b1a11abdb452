//! The shapes of the built-in kinds, as the types of Kubernetes 1.33 declare them (`+listType`, `patchMergeKey`, …).
//! A table.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};

use serde_json::Value;

use super::{Node, Ownership, Strategy};

type Shared = Arc<Node>;

/// A map with these fields.
fn map<const N: usize>(fields: [(&str, Shared); N]) -> Shared {
    Arc::new(Node {
        fields: fields.into_iter().map(|(name, node)| (name.to_owned(), node)).collect(),
        ..Node::default()
    })
}

/// Owned as a whole by server-side apply; merged (map) or replaced (list) by a strategic merge patch.
fn atomic() -> Shared {
    Arc::new(Node { ownership: Ownership::Atomic, ..Node::default() })
}

/// Owned as a whole, and replaced by a strategic merge patch, too.
fn replaced() -> Shared {
    Arc::new(Node { ownership: Ownership::Atomic, strategy: Strategy::Replace, ..Node::default() })
}

/// Owned as a whole, but a strategic merge patch merges its elements by `key`.
fn atomic_merged_by(key: &str) -> Shared {
    Arc::new(Node { ownership: Ownership::Atomic, strategy: Strategy::MergeBy(key.to_owned()), ..Node::default() })
}

/// A list of unique scalars; a strategic merge patch adds to it.
fn merged_set() -> Shared {
    Arc::new(Node { ownership: Ownership::Set, strategy: Strategy::Merge, ..Node::default() })
}

/// A keyed list: `keys` for server-side apply, `merge` (if not empty) for a strategic merge patch.
/// `protocol` counts as TCP when missing.
fn keyed(keys: &[&str], merge: &str, element: Option<Shared>) -> Shared {
    let default = |key: &str| (key == "protocol").then(|| Value::from("TCP"));
    Arc::new(Node {
        ownership: Ownership::Keyed(keys.iter().map(|key| ((*key).to_owned(), default(key))).collect()),
        strategy: if merge.is_empty() { Strategy::Default } else { Strategy::MergeBy(merge.to_owned()) },
        element,
        ..Node::default()
    })
}

/// A keyed list with one and the same key for both.
fn by(key: &str, element: Option<Shared>) -> Shared {
    keyed(&[key], key, element)
}

static METADATA: LazyLock<Shared> =
    LazyLock::new(|| map([("finalizers", merged_set()), ("ownerReferences", by("uid", Some(atomic())))]));
static UNTYPED: LazyLock<Shared> = LazyLock::new(|| map([("metadata", metadata())]));

/// The shape of `metadata`.
pub(super) fn metadata() -> Shared {
    METADATA.clone()
}

/// The shape of an object of an unknown kind.
pub(super) fn untyped() -> Shared {
    UNTYPED.clone()
}

fn conditions() -> Shared {
    by("type", None)
}

/// A kind with a spec and a status.
fn kind(spec: Shared, status: Shared) -> Shared {
    map([("metadata", metadata()), ("spec", spec), ("status", status)])
}

/// A status that has conditions.
fn with_conditions() -> Shared {
    map([("conditions", conditions())])
}

fn env() -> Shared {
    let value_from = map([
        ("configMapKeyRef", atomic()),
        ("secretKeyRef", atomic()),
        ("fieldRef", atomic()),
        ("resourceFieldRef", atomic()),
        ("fileKeyRef", atomic()),
    ]);
    by("name", Some(map([("valueFrom", value_from)])))
}

fn container() -> Shared {
    map([
        ("env", env()),
        ("ports", keyed(&["containerPort", "protocol"], "containerPort", None)),
        ("volumeMounts", by("mountPath", None)),
        ("volumeDevices", by("devicePath", None)),
        ("resources", map([("claims", keyed(&["name"], "", None))])),
    ])
}

fn volume() -> Shared {
    let reference = || map([("secretRef", atomic())]);
    map([
        ("downwardAPI", map([])),
        ("cephfs", reference()),
        ("csi", map([("nodePublishSecretRef", atomic())])),
        ("flexVolume", reference()),
        ("rbd", reference()),
        ("iscsi", reference()),
        ("scaleIO", reference()),
        ("storageos", reference()),
        ("cinder", reference()),
        ("ephemeral", map([("volumeClaimTemplate", map([("metadata", metadata()), ("spec", claim_spec())]))])),
    ])
}

fn claim_spec() -> Shared {
    map([("selector", atomic()), ("dataSource", atomic()), ("accessModes", atomic())])
}

fn pod_spec() -> Shared {
    let node_affinity = map([("requiredDuringSchedulingIgnoredDuringExecution", atomic())]);
    let containers = by("name", Some(container()));
    map([
        ("containers", containers.clone()),
        ("initContainers", containers.clone()),
        ("ephemeralContainers", containers),
        ("volumes", by("name", Some(volume()))),
        ("imagePullSecrets", by("name", Some(atomic()))),
        ("hostAliases", by("ip", None)),
        ("topologySpreadConstraints", keyed(&["topologyKey", "whenUnsatisfiable"], "topologyKey", None)),
        ("nodeSelector", atomic()),
        ("affinity", map([("nodeAffinity", node_affinity)])),
        ("schedulingGates", by("name", None)),
        ("resourceClaims", by("name", None)),
    ])
}

fn pod_template() -> Shared {
    map([("metadata", metadata()), ("spec", pod_spec())])
}

fn pod_status() -> Shared {
    map([
        ("conditions", conditions()),
        ("podIPs", by("ip", None)),
        ("hostIPs", atomic_merged_by("ip")),
        ("resourceClaimStatuses", by("name", None)),
    ])
}

fn service() -> Shared {
    let spec = map([("ports", keyed(&["port", "protocol"], "port", None)), ("selector", atomic())]);
    kind(spec, with_conditions())
}

fn node() -> Shared {
    let spec = map([("podCIDRs", merged_set()), ("taints", atomic_merged_by("key"))]);
    let status = map([("conditions", conditions()), ("addresses", by("type", None))]);
    kind(spec, status)
}

fn workload() -> Shared {
    kind(map([("selector", atomic()), ("template", pod_template())]), with_conditions())
}

fn job_spec() -> Shared {
    map([("selector", atomic()), ("template", pod_template())])
}

fn binding() -> Shared {
    map([("metadata", metadata()), ("roleRef", atomic())])
}

/// All built-in kinds by group and kind.
pub(super) fn all() -> HashMap<(&'static str, &'static str), Shared> {
    let plain = untyped;
    let status = || kind(map([]), with_conditions());
    let claim = || kind(claim_spec(), with_conditions());
    HashMap::from([
        (("", "Pod"), kind(pod_spec(), pod_status())),
        (("", "PodTemplate"), map([("metadata", metadata()), ("template", pod_template())])),
        (("", "Service"), service()),
        (("", "ConfigMap"), plain()),
        (("", "Secret"), plain()),
        (
            ("", "ServiceAccount"),
            map([("metadata", metadata()), ("secrets", by("name", Some(atomic()))), ("imagePullSecrets", atomic())]),
        ),
        (("", "Namespace"), status()),
        (("", "Node"), node()),
        (("", "Event"), map([("metadata", metadata()), ("involvedObject", atomic()), ("related", atomic())])),
        (("events.k8s.io", "Event"), map([("metadata", metadata()), ("regarding", atomic()), ("related", atomic())])),
        (("", "Endpoints"), plain()),
        (("", "PersistentVolumeClaim"), claim()),
        (
            ("", "PersistentVolume"),
            kind(map([("claimRef", map([])), ("nodeAffinity", map([("required", atomic())]))]), map([])),
        ),
        (("", "LimitRange"), plain()),
        (("", "ResourceQuota"), kind(map([("scopeSelector", atomic())]), map([]))),
        (
            ("", "ReplicationController"),
            kind(map([("selector", atomic()), ("template", pod_template())]), with_conditions()),
        ),
        (("apps", "Deployment"), workload()),
        (("apps", "ReplicaSet"), workload()),
        (("apps", "StatefulSet"), workload()),
        (("apps", "DaemonSet"), workload()),
        (("apps", "ControllerRevision"), plain()),
        (("batch", "Job"), kind(job_spec(), map([("conditions", atomic_merged_by("type"))]))),
        (
            ("batch", "CronJob"),
            kind(map([("jobTemplate", map([("metadata", metadata()), ("spec", job_spec())]))]), map([])),
        ),
        (("discovery.k8s.io", "EndpointSlice"), plain()),
        (("coordination.k8s.io", "Lease"), plain()),
        (("policy", "PodDisruptionBudget"), kind(map([("selector", replaced())]), with_conditions())),
        (
            ("autoscaling", "HorizontalPodAutoscaler"),
            kind(map([]), map([("conditions", keyed(&["type"], "type", None))])),
        ),
        (("networking.k8s.io", "NetworkPolicy"), kind(map([("podSelector", atomic())]), map([]))),
        (("networking.k8s.io", "Ingress"), kind(map([("defaultBackend", map([("resource", atomic())]))]), map([]))),
        (("networking.k8s.io", "IngressClass"), plain()),
        (("rbac.authorization.k8s.io", "Role"), plain()),
        (("rbac.authorization.k8s.io", "ClusterRole"), plain()),
        (("rbac.authorization.k8s.io", "RoleBinding"), binding()),
        (("rbac.authorization.k8s.io", "ClusterRoleBinding"), binding()),
        (("scheduling.k8s.io", "PriorityClass"), plain()),
        (("storage.k8s.io", "StorageClass"), map([("metadata", metadata()), ("allowedTopologies", atomic())])),
        (("apiextensions.k8s.io", "CustomResourceDefinition"), {
            let status = map([("conditions", keyed(&["type"], "", None)), ("storedVersions", atomic())]);
            kind(map([("names", map([("shortNames", atomic())]))]), status)
        }),
    ])
}
