//! Quality-of-service class of a pod.

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::PodSpec, apimachinery::pkg::api::resource::Quantity};

use crate::quantity::nanos;

/// Returns `Guaranteed`, `Burstable` or `BestEffort`, as Kubernetes defines them.
pub(crate) fn class(spec: &PodSpec) -> &'static str {
    let value = |map: &Option<BTreeMap<String, Quantity>>, resource: &str| {
        map.as_ref().and_then(|map| map.get(resource)).and_then(|Quantity(text)| nanos(text)).filter(|value| *value > 0)
    };
    let mut any = false;
    let mut guaranteed = true;
    for container in spec.containers.iter().chain(spec.init_containers.iter().flatten()) {
        let resources = container.resources.clone().unwrap_or_default();
        for resource in ["cpu", "memory"] {
            let limit = value(&resources.limits, resource);
            // A missing request is defaulted to the limit.
            let request = value(&resources.requests, resource).or(limit);
            any |= limit.is_some() || request.is_some();
            guaranteed &= limit.is_some() && request == limit;
        }
    }
    match (any, guaranteed) {
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
        (false, _) => "BestEffort",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn classes() {
        for (resources, expected) in [
            (json!({}), "BestEffort"),
            (json!({"requests": {"cpu": "0"}}), "BestEffort"),
            (json!({"requests": {"cpu": "100m"}}), "Burstable"),
            (json!({"limits": {"cpu": "1"}}), "Burstable"),
            (json!({"limits": {"cpu": "1", "memory": "1Gi"}}), "Guaranteed"),
            (
                json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1Gi"}}),
                "Guaranteed",
            ),
            (json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1m", "memory": "1Gi"}}), "Burstable"),
        ] {
            let spec: PodSpec =
                serde_json::from_value(json!({"containers": [{"name": "c", "resources": resources}]})).unwrap();
            assert_eq!(class(&spec), expected, "{resources}");
        }
    }
}
