//! Resources of a pod: requests, limits, and the QoS class that follows from them.

use serde_json::Value;

use crate::{
    json::{list, text},
    quantity::{self, Quantity, Resources, add, raise, resources},
};

/// Lists of containers that count towards the resources of a pod.
const CONTAINERS: [&str; 2] = ["/spec/containers", "/spec/initContainers"];

/// Selection of one of the two amounts of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// Amount that is reserved for the container.
    Requests,
    /// Amount that the container may use.
    Limits,
}

impl Amount {
    fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Limits => "limits",
        }
    }

    /// Returns the amounts of one container.
    pub fn of(self, container: &Value) -> Resources {
        resources(container.get("resources").and_then(|all| all.get(self.name())))
    }
}

/// Returns the sum of a pod's containers. Init containers run one after the other, so only the largest counts; sidecars
/// run beside all others.
pub fn of_pod(pod: &Value, amount: Amount) -> Resources {
    let mut total = Resources::new();
    for container in list(pod, "/spec/containers") {
        add(&mut total, &amount.of(container));
    }
    let (mut sidecars, mut most) = (Resources::new(), Resources::new());
    for container in list(pod, "/spec/initContainers") {
        let mut own = amount.of(container);
        if text(container, "/restartPolicy") == "Always" {
            add(&mut total, &own);
            add(&mut sidecars, &own);
            own.clone_from(&sidecars);
        } else {
            add(&mut own, &sidecars);
        }
        raise(&mut most, &own);
    }
    raise(&mut total, &most);
    for (name, quantity) in resources(pod.pointer(&format!("/spec/resources/{}", amount.name()))) {
        if is_of_pods(&name) {
            total.insert(name, quantity);
        }
    }
    total
}

/// Returns the sum of a pod's containers with the overhead of the pod itself.
pub fn of_pod_with_overhead(pod: &Value, amount: Amount) -> Resources {
    let mut total = of_pod(pod, amount);
    for (name, quantity) in resources(pod.pointer("/spec/overhead")) {
        match (amount, total.get(&name).copied()) {
            (Amount::Requests, have) => {
                total.insert(name, have.unwrap_or(Quantity::ZERO) + quantity);
            }
            (Amount::Limits, Some(have)) if !have.is_zero() => {
                total.insert(name, have + quantity);
            }
            (Amount::Limits, _) => {}
        }
    }
    total
}

/// Returns whether a pod as a whole may request a resource.
fn is_of_pods(name: &str) -> bool {
    matches!(name, "cpu" | "memory") || name.starts_with("hugepages-")
}

/// Returns whether a pod requests any resource as a whole.
pub fn has_pod_level(pod: &Value) -> bool {
    let names =
        ["requests", "limits"].into_iter().filter_map(|amount| pod.pointer(&format!("/spec/resources/{amount}")));
    names.filter_map(Value::as_object).flatten().any(|(name, _)| is_of_pods(name))
}

/// Returns `Guaranteed`, `Burstable` or `BestEffort`.
pub fn qos_class(pod: &Value) -> &'static str {
    if has_pod_level(pod) {
        return pod.get("spec").map_or("BestEffort", class);
    }
    let containers = CONTAINERS.into_iter().flat_map(|path| list(pod, path));
    let mut classes = containers.map(class);
    let Some(first) = classes.next() else { return "BestEffort" };
    if classes.all(|class| class == first) { first } else { "Burstable" }
}

/// Returns the class of a value with `resources`: a container, or the pod's spec.
fn class(holder: &Value) -> &'static str {
    let of = |amount: Amount| -> Resources {
        let mut all = amount.of(holder);
        all.retain(|name, quantity| matches!(name.as_str(), "cpu" | "memory") && *quantity > Quantity::ZERO);
        all
    };
    let (requests, limits) = (of(Amount::Requests), of(Amount::Limits));
    let complete =
        limits.len() == 2 && limits.iter().all(|(name, limit)| requests.get(name).is_none_or(|r| r == limit));
    match (requests.is_empty() && limits.is_empty(), complete) {
        (true, _) => "BestEffort",
        (false, true) => "Guaranteed",
        (false, false) => "Burstable",
    }
}

/// Returns the amounts as JSON.
pub fn to_json(resources: &Resources) -> Value {
    quantity::to_json(resources)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn container(requests: Value, limits: Value) -> Value {
        json!({ "resources": { "requests": requests, "limits": limits } })
    }

    #[test]
    fn sidecars_add_up_and_init_containers_do_not() {
        let mut sidecar = container(json!({ "cpu": "1" }), json!({}));
        sidecar["restartPolicy"] = json!("Always");
        let pod = json!({ "spec": {
            "initContainers": [container(json!({ "cpu": "5" }), json!({})), sidecar, container(json!({ "cpu": "2" }), json!({}))],
            "containers": [container(json!({ "cpu": "1", "memory": "1Gi" }), json!({})), container(json!({ "cpu": "500m" }), json!({}))],
            "overhead": { "cpu": "100m" } } });
        let requests = of_pod(&pod, Amount::Requests);
        assert_eq!(to_json(&requests), json!({ "cpu": "5", "memory": "1Gi" }), "the first init container");
        let with = of_pod_with_overhead(&pod, Amount::Requests);
        assert_eq!(with["cpu"].to_string(), "5100m");
        assert!(of_pod_with_overhead(&pod, Amount::Limits).is_empty());
    }

    #[test]
    fn classes() {
        let check = |containers: Vec<Value>, class: &str| {
            assert_eq!(qos_class(&json!({ "spec": { "containers": containers } })), class, "{containers:?}");
        };
        let full = || container(json!({}), json!({ "cpu": "1", "memory": "1Gi" }));
        check(vec![json!({})], "BestEffort");
        check(vec![full()], "Guaranteed");
        check(vec![full(), json!({})], "Burstable");
        check(vec![container(json!({ "cpu": "1" }), json!({ "cpu": "1" }))], "Burstable");
        check(vec![container(json!({ "cpu": "0" }), json!({}))], "BestEffort");
        check(
            vec![container(json!({ "cpu": "1", "memory": "1Gi" }), json!({ "cpu": "1000m", "memory": "1024Mi" }))],
            "Guaranteed",
        );
        check(vec![container(json!({ "cpu": "1" }), json!({ "cpu": "2", "memory": "1Gi" }))], "Burstable");
    }
}
