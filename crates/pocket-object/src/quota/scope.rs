//! Scopes: selection of the objects that a quota counts.

use serde_json::Value;

use super::Evaluator;
use crate::{
    json::{list, text},
    resources::qos_class,
};

/// Returns whether an object is in every scope of a quota. A quota without scopes counts all objects.
pub(super) fn all_match(evaluator: &Evaluator, quota: &Value, object: &Value) -> bool {
    let scopes = list(quota, "/spec/scopes").iter().filter_map(Value::as_str);
    let selectors = list(quota, "/spec/scopeSelector/matchExpressions");
    scopes.into_iter().all(|scope| matches(evaluator, scope, None, object))
        && selectors.iter().all(|selector| matches(evaluator, text(selector, "/scopeName"), Some(selector), object))
}

fn matches(evaluator: &Evaluator, scope: &str, selector: Option<&Value>, object: &Value) -> bool {
    match (evaluator, scope) {
        (Evaluator::Pods, "Terminating") => is_terminating(object),
        (Evaluator::Pods, "NotTerminating") => !is_terminating(object),
        (Evaluator::Pods, "BestEffort") => is_best_effort(object),
        (Evaluator::Pods, "NotBestEffort") => !is_best_effort(object),
        (Evaluator::Pods, "PriorityClass") => {
            let class = text(object, "/spec/priorityClassName");
            named(selector, if class.is_empty() { &[] } else { std::slice::from_ref(&class) })
        }
        (Evaluator::Pods, "CrossNamespacePodAffinity") => crosses_namespaces(object),
        (Evaluator::Claims, "VolumeAttributesClass") => {
            let places = ["/spec/volumeAttributesClassName", "/status/currentVolumeAttributesClassName"];
            let mut classes: Vec<&str> = places.iter().map(|place| text(object, place)).collect();
            classes.push(text(object, "/status/modifyVolumeStatus/targetVolumeAttributesClassName"));
            classes.retain(|class| !class.is_empty());
            named(selector, &classes)
        }
        _ => false,
    }
}

/// Returns whether a selector matches any of the names that an object has.
fn named(selector: Option<&Value>, names: &[&str]) -> bool {
    let wanted = |name: &str| {
        selector.is_some_and(|selector| list(selector, "/values").iter().any(|value| value.as_str() == Some(name)))
    };
    match selector.map_or("Exists", |selector| text(selector, "/operator")) {
        "Exists" => !names.is_empty(),
        "DoesNotExist" => names.is_empty(),
        "In" => names.iter().any(|name| wanted(name)),
        "NotIn" => names.is_empty() || names.iter().any(|name| !wanted(name)),
        _ => false,
    }
}

/// Returns whether a pod ends by itself, after a time that it sets.
pub(super) fn is_terminating(pod: &Value) -> bool {
    pod.pointer("/spec/activeDeadlineSeconds").and_then(Value::as_i64).is_some_and(|seconds| seconds >= 0)
}

fn is_best_effort(pod: &Value) -> bool {
    match text(pod, "/status/qosClass") {
        "" => qos_class(pod) == "BestEffort",
        class => class == "BestEffort",
    }
}

fn crosses_namespaces(pod: &Value) -> bool {
    let crosses = |term: &Value| !list(term, "/namespaces").is_empty() || term.get("namespaceSelector").is_some();
    ["podAffinity", "podAntiAffinity"].iter().any(|kind| {
        let at = |rule: &str| list(pod, &format!("/spec/affinity/{kind}/{rule}DuringSchedulingIgnoredDuringExecution"));
        at("required").iter().any(crosses)
            || at("preferred").iter().any(|term| term.get("podAffinityTerm").is_some_and(crosses))
    })
}
