//! Availability of an operator: a second replica on another node, a priority, a budget. Traffic needs no operator; a rollback does.

use serde_json::{Value, json};

use super::{Install, NAME, metadata};

/// Number of operators in the cluster: one leads, one waits for its turn.
pub(super) const REPLICAS: u32 = 2;
/// Highest priority that a class of a user may have. `system-cluster-critical` is higher, but some clusters (GKE, and any with a quota for
/// it) allow it in `kube-system` only.
const PRIORITY: u32 = 1_000_000_000;

/// Returns the priority class by which pods of the operator run before those of applications.
pub(super) fn priority_class() -> Value {
    json!({
        "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": metadata(NAME, None),
        "value": PRIORITY, "globalDefault": false,
        "description": "Rainbow's operator, which rollbacks need.",
    })
}

/// Returns the budget by which a drain of nodes evicts one replica at a time. A replica that is not ready protects nothing, and does not
/// block the drain.
pub(super) fn budget(install: &Install, selector: &Value) -> Value {
    json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata(NAME, Some(&install.namespace)),
        "spec": { "maxUnavailable": 1, "selector": { "matchLabels": selector }, "unhealthyPodEvictionPolicy": "AlwaysAllow" },
    })
}

/// Returns the affinity by which replicas prefer different nodes, and different zones. In a cluster of one node, both run there.
pub(super) fn affinity(selector: &Value) -> Value {
    let apart = |weight: u32, topology: &str| json!({ "weight": weight, "podAffinityTerm": { "topologyKey": topology, "labelSelector": { "matchLabels": selector } } });
    let preferred = [apart(100, "kubernetes.io/hostname"), apart(50, "topology.kubernetes.io/zone")];
    json!({ "podAntiAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": preferred } })
}

#[cfg(test)]
mod tests {
    use super::{super::objects, *};

    fn find(kind: &str) -> Value {
        let mut all = objects(&Install::default()).into_iter();
        all.find(|object| object["kind"] == kind).unwrap()
    }

    /// A drain of a node, or the loss of a node, leaves one operator running.
    #[test]
    fn one_replica_may_be_missing() {
        let deployment = find("Deployment");
        let pod = &deployment["spec"]["template"];
        assert_eq!(deployment["spec"]["replicas"], 2);
        assert!(pod["spec"]["containers"][0]["args"].as_array().unwrap().contains(&json!("--leader-elect")));
        let (budget, class) = (find("PodDisruptionBudget"), find("PriorityClass"));
        assert_eq!(budget["spec"]["maxUnavailable"], 1);
        assert_eq!(pod["spec"]["priorityClassName"], class["metadata"]["name"]);
        assert!(class["value"].as_u64().unwrap() <= 1_000_000_000, "more is reserved for the system");
        let labels = &pod["metadata"]["labels"];
        let apart = &pod["spec"]["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"];
        for selector in [
            &budget["spec"]["selector"],
            &deployment["spec"]["selector"],
            &apart[0]["podAffinityTerm"]["labelSelector"],
            &apart[1]["podAffinityTerm"]["labelSelector"],
        ] {
            assert_eq!(selector["matchLabels"], *labels);
        }
    }
}
