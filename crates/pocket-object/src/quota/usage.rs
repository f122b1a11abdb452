//! Usage of a quota by an object.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::scope::is_terminating;
use crate::{
    json::{list, text},
    quantity::{Quantity, Resources, resources},
    resources::{Amount, has_pod_level, of_pod_with_overhead},
};

const STORAGE_CLASS: &str = ".storageclass.storage.k8s.io/";
const CLAIM_RESOURCES: [&str; 2] = ["persistentvolumeclaims", "requests.storage"];
/// Resources that every container must state where a quota limits them. Kubernetes regrets this rule and adds no more resources to it.
const TO_BE_STATED: [&str; 6] = ["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];

/// Rule by which objects of a kind count.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Evaluator {
    /// Pods count by number and by their requests and limits.
    Pods,
    /// Services count by number and by what they open.
    Services,
    /// Claims count by number and by storage.
    Claims,
    /// Objects count by number, under each of these names.
    Count(Vec<String>),
}

impl Evaluator {
    /// Returns the evaluator of a kind, by its group and plural.
    pub fn of(group: &str, plural: &str) -> Self {
        match (group, plural) {
            ("", "pods") => Self::Pods,
            ("", "services") => Self::Services,
            ("", "persistentvolumeclaims") => Self::Claims,
            ("", old @ ("configmaps" | "resourcequotas" | "replicationcontrollers" | "secrets")) => {
                Self::Count(vec![format!("count/{old}"), old.to_owned()])
            }
            ("", plural) => Self::Count(vec![format!("count/{plural}")]),
            (group, plural) => Self::Count(vec![format!("count/{plural}.{group}")]),
        }
    }

    /// Returns whether a resource of a quota concerns objects of this kind.
    pub fn counts(&self, resource: &str) -> bool {
        match self {
            Self::Pods => {
                let of_containers = resource.strip_prefix("requests.").or(resource.strip_prefix("limits."));
                matches!(resource, "pods" | "count/pods" | "cpu" | "memory" | "ephemeral-storage")
                    || matches!(of_containers, Some("cpu" | "memory" | "ephemeral-storage"))
                    || resource.starts_with("hugepages-")
                    || resource.starts_with("requests.hugepages-")
                    || resource.strip_prefix("requests.").is_some_and(is_extended)
            }
            Self::Services => {
                matches!(resource, "count/services" | "services" | "services.nodeports" | "services.loadbalancers")
            }
            Self::Claims => {
                let of_class = resource.split_once(STORAGE_CLASS).map(|(_, of_class)| of_class);
                resource == "count/persistentvolumeclaims" || CLAIM_RESOURCES.contains(&of_class.unwrap_or(resource))
            }
            Self::Count(names) => names.iter().any(|name| name == resource),
        }
    }

    /// Returns whether a write can use anything of a quota.
    pub(super) fn handles(&self, old: Option<&Value>, new: &Value) -> bool {
        match (self, old) {
            (_, None) | (Self::Services | Self::Claims, _) => true,
            (Self::Pods, Some(old)) => is_terminating(old) != is_terminating(new),
            (Self::Count(_), Some(_)) => false,
        }
    }

    /// Fails if an object does not state an amount that a quota must know.
    pub(super) fn check_complete(&self, limited: &[&str], object: &Value) -> Result<(), String> {
        if *self != Self::Pods || has_pod_level(object) {
            return Ok(());
        }
        let mut missing: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for container in list(object, "/spec/containers").iter().chain(list(object, "/spec/initContainers")) {
            let stated = compute(&Amount::Requests.of(container), &Amount::Limits.of(container));
            for resource in limited.iter().filter(|resource| TO_BE_STATED.contains(resource)) {
                if !stated.contains_key(*resource) {
                    missing.entry(resource).or_default().insert(text(container, "/name"));
                }
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let parts = missing.iter().map(|(resource, containers)| {
            format!("{resource} for: {}", containers.iter().copied().collect::<Vec<_>>().join(","))
        });
        Err(format!("must specify {}", parts.collect::<Vec<_>>().join("; ")))
    }

    /// Returns the usage of an object.
    pub fn usage(&self, object: &Value, now: jiff::Timestamp) -> Resources {
        let one = |name: &str| (name.to_owned(), Quantity::count(1));
        match self {
            Self::Pods => pod(object, now),
            Self::Services => service(object),
            Self::Claims => claim(object),
            Self::Count(names) => names.iter().map(|name| one(name)).collect(),
        }
    }
}

/// Returns whether a resource is neither one of Kubernetes' own nor a request of one.
fn is_extended(name: &str) -> bool {
    name.contains('/') && !name.contains("kubernetes.io/") || name.starts_with("deviceclass.resource.kubernetes.io/")
}

/// Returns the usage of a pod. A pod that has ended counts only as an object.
fn pod(pod: &Value, now: jiff::Timestamp) -> Resources {
    let mut usage = if is_over(pod, now) {
        Resources::new()
    } else {
        let of = |amount: Amount| of_pod_with_overhead(pod, amount);
        compute(&of(Amount::Requests), &of(Amount::Limits))
    };
    usage.insert("count/pods".to_owned(), Quantity::count(1));
    usage
}

/// Returns whether a pod has ended, or is past its deadline to end.
fn is_over(pod: &Value, now: jiff::Timestamp) -> bool {
    if matches!(text(pod, "/status/phase"), "Failed" | "Succeeded") {
        return true;
    }
    let deleted: Option<jiff::Timestamp> = text(pod, "/metadata/deletionTimestamp").parse().ok();
    let grace = pod.pointer("/metadata/deletionGracePeriodSeconds").and_then(Value::as_i64);
    deleted
        .zip(grace)
        .is_some_and(|(at, grace)| at.checked_add(jiff::SignedDuration::from_secs(grace)).is_ok_and(|end| now > end))
}

/// Returns the usage of a pod under the names that quotas give to requests and limits.
fn compute(requests: &Resources, limits: &Resources) -> Resources {
    let mut usage = Resources::from([("pods".to_owned(), Quantity::count(1))]);
    for (name, amount) in requests {
        let known = matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage");
        if known || name.starts_with("hugepages-") {
            usage.insert(name.clone(), *amount);
        }
        if known || name.starts_with("hugepages-") || is_extended(name) {
            usage.insert(format!("requests.{name}"), *amount);
        }
    }
    for name in ["cpu", "memory", "ephemeral-storage"] {
        if let Some(limit) = limits.get(name) {
            usage.insert(format!("limits.{name}"), *limit);
        }
    }
    usage
}

fn service(service: &Value) -> Resources {
    let ports = list(service, "/spec/ports");
    let allocates = service.pointer("/spec/allocateLoadBalancerNodePorts") != Some(&Value::Bool(false));
    let has_node_port = |port: &&Value| port.get("nodePort").and_then(Value::as_i64).unwrap_or(0) != 0;
    let (node_ports, balancers) = match text(service, "/spec/type") {
        "NodePort" => (ports.len(), 0),
        "LoadBalancer" if allocates => (ports.len(), 1),
        "LoadBalancer" => (ports.iter().filter(has_node_port).count(), 1),
        _ => (0, 0),
    };
    let counts = [
        ("count/services", 1),
        ("services", 1),
        ("services.nodeports", node_ports),
        ("services.loadbalancers", balancers),
    ];
    counts.map(|(name, count)| (name.to_owned(), Quantity::count(count))).into()
}

fn claim(claim: &Value) -> Resources {
    let class = match text(claim, "/metadata/annotations/volume.beta.kubernetes.io~1storage-class") {
        "" => text(claim, "/spec/storageClassName"),
        class => class,
    };
    let mut usage = Resources::new();
    let mut put = |name: &str, amount: Quantity| {
        usage.insert(name.to_owned(), amount);
        if !class.is_empty() {
            usage.insert(format!("{class}{STORAGE_CLASS}{name}"), amount);
        }
    };
    put("persistentvolumeclaims", Quantity::count(1));
    let at = |pointer: &str| resources(claim.pointer(pointer)).get("storage").copied();
    if let Some(requested) = at("/spec/resources/requests") {
        let most = at("/status/allocatedResources").map_or(requested, |allocated| allocated.max(requested));
        put("requests.storage", most.rounded_up());
    }
    usage.insert("count/persistentvolumeclaims".to_owned(), Quantity::count(1));
    usage
}
