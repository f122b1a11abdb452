//! Limits of a namespace: the defaults that a `LimitRange` gives to pods, and the bounds that it checks.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    json::{Object, child_or_new, default, each, entries, list, text},
    quantity::{Quantity, Resources, resources},
    resources::{Amount, of_pod},
};

const ANNOTATION: &str = "kubernetes.io/limit-ranger";

/// Gives the containers of a new pod the defaults of a `LimitRange`, and records that in an annotation.
pub fn apply_defaults(range: &Value, pod: &mut Value) {
    let (mut limits, mut requests) = (BTreeMap::new(), BTreeMap::new());
    for item in list(range, "/spec/limits").iter().filter(|item| text(item, "/type") == "Container") {
        limits.extend(entries(item, "/default").map(|(name, amount)| (name.clone(), amount.clone())));
        requests.extend(entries(item, "/defaultRequest").map(|(name, amount)| (name.clone(), amount.clone())));
    }
    let Some(pod) = pod.as_object_mut() else { return };
    let mut notes = Vec::new();
    if let Some(spec) = child_or_new(pod, "spec") {
        for (containers, what) in [("containers", "container"), ("initContainers", "init container")] {
            for container in each(spec, containers) {
                fill(container, "requests", &requests, &format!("request for {what}"), &mut notes);
                fill(container, "limits", &limits, &format!("limit for {what}"), &mut notes);
            }
        }
    }
    if !notes.is_empty()
        && let Some(annotations) = child_or_new(pod, "metadata").and_then(|meta| child_or_new(meta, "annotations"))
    {
        let note = format!("LimitRanger plugin set: {}", notes.join("; "));
        annotations.insert(ANNOTATION.to_owned(), json!(note));
    }
}

fn fill(container: &mut Object, amount: &str, defaults: &BTreeMap<String, Value>, what: &str, notes: &mut Vec<String>) {
    if defaults.is_empty() {
        return;
    }
    let name = container.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let Some(amounts) = child_or_new(container, "resources").and_then(|all| child_or_new(all, amount)) else { return };
    let missing: Vec<&String> = defaults.keys().filter(|resource| !amounts.contains_key(*resource)).collect();
    if missing.is_empty() {
        return;
    }
    let shown: Vec<&str> = missing.iter().map(|resource| resource.as_str()).collect();
    notes.push(format!("{} {what} {name}", shown.join(", ")));
    for resource in missing {
        if let Some(value) = defaults.get(resource) {
            default(amounts, resource, value.clone());
        }
    }
}

/// Returns the violations of a `LimitRange` by a pod.
pub fn check_pod(range: &Value, pod: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    for item in list(range, "/spec/limits") {
        match text(item, "/type") {
            kind @ "Container" => {
                for container in list(pod, "/spec/containers").iter().chain(list(pod, "/spec/initContainers")) {
                    let (requests, limits) = (Amount::Requests.of(container), Amount::Limits.of(container));
                    check(item, kind, &requests, &limits, &mut wrong);
                }
            }
            kind @ "Pod" => {
                let (requests, limits) = (of_pod(pod, Amount::Requests), of_pod(pod, Amount::Limits));
                check(item, kind, &requests, &limits, &mut wrong);
            }
            _ => {}
        }
    }
    wrong
}

/// Returns the violations of a `LimitRange` by a claim.
pub fn check_claim(range: &Value, claim: &Value) -> Vec<String> {
    let requests = resources(claim.pointer("/spec/resources/requests"));
    let mut wrong = Vec::new();
    for item in list(range, "/spec/limits").iter().filter(|item| text(item, "/type") == "PersistentVolumeClaim") {
        let kind = "PersistentVolumeClaim";
        for (name, enforced) in resources(item.get("min")) {
            wrong.extend(below_min(kind, &name, enforced, requests.get(&name).copied(), None));
        }
        for (name, enforced) in resources(item.get("max")) {
            wrong.extend(match requests.get(&name).copied() {
                None => Some(format!("maximum {name} usage per {kind} is {enforced}.  No request is specified")),
                Some(request) if request > enforced => {
                    Some(format!("maximum {name} usage per {kind} is {enforced}, but request is {request}"))
                }
                Some(_) => None,
            });
        }
    }
    wrong
}

/// Joins messages as `[a, b]`; a single message has no brackets. `None` if there is none.
pub fn joined(mut wrong: Vec<String>) -> Option<String> {
    let mut seen = std::collections::BTreeSet::new();
    wrong.retain(|text| seen.insert(text.clone()));
    match wrong.as_slice() {
        [] => None,
        [one] => Some(one.clone()),
        many => Some(format!("[{}]", many.join(", "))),
    }
}

fn check(item: &Value, kind: &str, requests: &Resources, limits: &Resources, wrong: &mut Vec<String>) {
    let of = |name: &str| (requests.get(name).copied(), limits.get(name).copied());
    for (name, enforced) in resources(item.get("min")) {
        let (request, limit) = of(&name);
        wrong.extend(below_min(kind, &name, enforced, request, limit));
    }
    for (name, enforced) in resources(item.get("max")) {
        let (request, limit) = of(&name);
        wrong.extend(above_max(kind, &name, enforced, request, limit));
    }
    for (name, enforced) in resources(item.get("maxLimitRequestRatio")) {
        let (request, limit) = of(&name);
        wrong.extend(above_ratio(kind, &name, enforced, request, limit));
    }
}

fn below_min(
    kind: &str,
    name: &str,
    enforced: Quantity,
    request: Option<Quantity>,
    limit: Option<Quantity>,
) -> Option<String> {
    let text = format!("minimum {name} usage per {kind} is {enforced}");
    match (request, limit) {
        (None, _) => Some(format!("{text}.  No request is specified")),
        (Some(request), _) if request < enforced => Some(format!("{text}, but request is {request}")),
        (_, Some(limit)) if limit < enforced => Some(format!("{text}, but limit is {limit}")),
        _ => None,
    }
}

fn above_max(
    kind: &str,
    name: &str,
    enforced: Quantity,
    request: Option<Quantity>,
    limit: Option<Quantity>,
) -> Option<String> {
    let text = format!("maximum {name} usage per {kind} is {enforced}");
    match (request, limit) {
        (_, None) => Some(format!("{text}.  No limit is specified")),
        (_, Some(limit)) if limit > enforced => Some(format!("{text}, but limit is {limit}")),
        (Some(request), _) if request > enforced => Some(format!("{text}, but request is {request}")),
        _ => None,
    }
}

fn above_ratio(
    kind: &str,
    name: &str,
    enforced: Quantity,
    request: Option<Quantity>,
    limit: Option<Quantity>,
) -> Option<String> {
    let text = format!("{name} max limit to request ratio per {kind} is {enforced}");
    let (request, limit) = (request.unwrap_or(Quantity::ZERO), limit.unwrap_or(Quantity::ZERO));
    if request.is_zero() {
        return Some(format!("{text}, but no request is specified or request is 0"));
    }
    if limit.is_zero() {
        return Some(format!("{text}, but no limit is specified or limit is 0"));
    }
    let small = request.fits_milli() && limit.fits_milli() && enforced.fits_milli();
    let in_units = |quantity: Quantity| if small { quantity.milli_value() } else { quantity.value() } as f64;
    let ratio = in_units(limit) / in_units(request);
    let allowed = if enforced.fits_milli() { enforced.milli_value() as f64 / 1000.0 } else { enforced.value() as f64 };
    (ratio > allowed).then(|| format!("{text}, but provided ratio is {ratio:.6}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(items: Value) -> Value {
        let mut range = json!({ "kind": "LimitRange", "spec": { "limits": items } });
        crate::defaults::apply("", "LimitRange", &mut range);
        range
    }

    fn pod(resources: Value) -> Value {
        json!({ "metadata": {}, "spec": { "containers": [{ "name": "c", "resources": resources }] } })
    }

    #[test]
    fn defaults_are_given_and_noted() {
        let range = range(json!([{ "type": "Container", "default": { "cpu": "500m", "memory": "1Gi" },
            "defaultRequest": { "cpu": "100m" } }]));
        let mut new = pod(json!({ "limits": { "cpu": "1" } }));
        apply_defaults(&range, &mut new);
        assert_eq!(
            new["spec"]["containers"][0]["resources"],
            json!({ "limits": { "cpu": "1", "memory": "1Gi" }, "requests": { "cpu": "100m", "memory": "1Gi" } })
        );
        assert_eq!(
            new["metadata"]["annotations"][ANNOTATION],
            "LimitRanger plugin set: cpu, memory request for container c; memory limit for container c"
        );
        let before = new.clone();
        apply_defaults(&range, &mut new);
        assert_eq!(new, before, "a pod that has everything is left alone");
    }

    #[test]
    fn a_maximum_is_a_default_and_a_minimum_is_a_request() {
        let range = range(json!([{ "type": "Container", "max": { "cpu": "2" }, "min": { "memory": "64Mi" } }]));
        let item = &range["spec"]["limits"][0];
        assert_eq!(item["default"], json!({ "cpu": "2" }));
        assert_eq!(item["defaultRequest"], json!({ "cpu": "2", "memory": "64Mi" }));
    }

    #[test]
    fn sentences_are_those_of_kubernetes() {
        let check = |item: Value, resources: Value, want: &[&str]| {
            assert_eq!(check_pod(&json!({ "spec": { "limits": [item] } }), &pod(resources)), want);
        };
        let min = || json!({ "type": "Container", "min": { "cpu": "100m" } });
        check(min(), json!({ "requests": { "cpu": "100m" } }), &[]);
        check(min(), json!({}), &["minimum cpu usage per Container is 100m.  No request is specified"]);
        check(
            min(),
            json!({ "requests": { "cpu": "50m" } }),
            &["minimum cpu usage per Container is 100m, but request is 50m"],
        );
        check(
            min(),
            json!({ "requests": { "cpu": "100m" }, "limits": { "cpu": "10m" } }),
            &["minimum cpu usage per Container is 100m, but limit is 10m"],
        );
        let max = || json!({ "type": "Pod", "max": { "memory": "1Gi" } });
        check(max(), json!({}), &["maximum memory usage per Pod is 1Gi.  No limit is specified"]);
        check(
            max(),
            json!({ "limits": { "memory": "2Gi" } }),
            &["maximum memory usage per Pod is 1Gi, but limit is 2Gi"],
        );
        let ratio = || json!({ "type": "Container", "maxLimitRequestRatio": { "cpu": "1500m" } });
        check(ratio(), json!({ "requests": { "cpu": "2" }, "limits": { "cpu": "3" } }), &[]);
        check(
            ratio(),
            json!({ "requests": { "cpu": "1" }, "limits": { "cpu": "2" } }),
            &["cpu max limit to request ratio per Container is 1500m, but provided ratio is 2.000000"],
        );
        check(
            ratio(),
            json!({ "limits": { "cpu": "2" } }),
            &["cpu max limit to request ratio per Container is 1500m, but no request is specified or request is 0"],
        );
        let claims =
            json!({ "spec": { "limits": [{ "type": "PersistentVolumeClaim", "max": { "storage": "2Gi" } }] } });
        let claim = json!({ "spec": { "resources": { "requests": { "storage": "3Gi" } } } });
        assert_eq!(
            check_claim(&claims, &claim),
            ["maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi"]
        );
    }
}
