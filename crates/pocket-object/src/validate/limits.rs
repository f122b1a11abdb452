//! Limits of a namespace: `LimitRange` and `ResourceQuota`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Errors;
use crate::{
    json::{entries, list, text},
    quantity::{Quantity, Resources},
};

const AMOUNTS: [&str; 5] = ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"];
const TYPES: [&str; 3] = ["Pod", "Container", "PersistentVolumeClaim"];

pub(super) fn limit_range(object: &Value, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for (index, item) in list(object, "/spec/limits").iter().enumerate() {
        let at = format!("spec.limits[{index}]");
        let kind = text(item, "/type");
        let shown = Value::from(kind);
        if !kind.contains('/') && !TYPES.contains(&kind) {
            errors.invalid(format!("{at}.type"), &shown, "must be a standard limit type or fully qualified");
        }
        if !seen.insert(kind) {
            errors.add(crate::FieldError::duplicate(format!("{at}.type"), &shown));
        }
        let amounts: BTreeMap<&str, Resources> = AMOUNTS
            .into_iter()
            .map(|name| (name, amounts(item, &format!("/{name}"), &format!("{at}.{name}"), errors)))
            .collect();
        if kind == "Pod" {
            for name in ["default", "defaultRequest"] {
                if amounts.get(name).is_some_and(|all| !all.is_empty()) {
                    let detail = "may not be specified when `type` is 'Pod'";
                    errors.add(crate::FieldError::forbidden(format!("{at}.{name}"), detail));
                }
            }
        }
        let storage = |name: &str| amounts.get(name).is_some_and(|all| all.contains_key("storage"));
        if kind == "PersistentVolumeClaim" && !storage("min") && !storage("max") {
            let detail = "either minimum or maximum storage value is required, but neither was provided";
            errors.required(format!("{at}.limits"), detail);
        }
        compare(&at, &amounts, errors);
    }
}

/// Checks that a minimum is no more than a maximum, and that defaults are between them.
fn compare(at: &str, amounts: &BTreeMap<&str, Resources>, errors: &mut Errors) {
    // The smaller and the larger amount, each with its name in messages; then the amount that is reported as wrong.
    const ORDER: [(&str, &str, &str, &str, &str, &str); 6] = [
        ("min", "min", "max", "max", "min", "min"),
        ("min", "min", "defaultRequest", "default request", "defaultRequest", "defaultRequest"),
        ("defaultRequest", "default request", "max", "max", "defaultRequest", "defaultRequest"),
        ("defaultRequest", "default request", "default", "default limit", "defaultRequest", "defaultRequest"),
        ("min", "min", "default", "default", "default", "min"),
        ("default", "default", "max", "max", "default", "max"),
    ];
    let names: BTreeSet<&String> = amounts.values().flat_map(BTreeMap::keys).collect();
    for name in names {
        let of = |which: &str| amounts.get(which).and_then(|all| all.get(name)).copied();
        for (less, less_name, more, more_name, place, shown) in ORDER {
            if let (Some(small), Some(large)) = (of(less), of(more))
                && small > large
            {
                let detail = format!("{less_name} value {small} is greater than {more_name} value {large}");
                let shown = Value::from(of(shown).unwrap_or(small).to_string());
                errors.invalid(format!("{at}.{place}[{name}]"), &shown, detail);
            }
        }
        if let Some(ratio) = of("maxLimitRequestRatio").filter(|ratio| *ratio < Quantity::count(1)) {
            let shown = Value::from(ratio.to_string());
            errors.invalid(
                format!("{at}.maxLimitRequestRatio[{name}]"),
                &shown,
                format!("ratio {ratio} is less than 1"),
            );
        }
    }
}

/// Reads the quantities at a place. A value that is no quantity is a mistake.
fn amounts(object: &Value, pointer: &str, path: &str, errors: &mut Errors) -> Resources {
    let mut found = Resources::new();
    for (name, value) in entries(object, pointer) {
        match Quantity::of(value) {
            Some(quantity) => drop(found.insert(name.clone(), quantity)),
            None => errors.invalid(
                format!("{path}[{name}]"),
                value,
                "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
            ),
        }
    }
    found
}

pub(super) fn resource_quota(object: &Value, errors: &mut Errors) {
    let hard = amounts(object, "/spec/hard", "spec.hard", errors);
    for (name, amount) in &hard {
        let at = format!("spec.hard[{name}]");
        if !name.contains('/') && !is_standard(name) {
            errors.invalid(&at, &Value::from(name.as_str()), "must be a standard resource for quota");
        }
        let shown = Value::from(amount.to_string());
        if amount.is_negative() {
            errors.invalid(&at, &shown, "must be greater than or equal to 0");
        }
        if is_whole(name) && amount.milli_value() % 1000 != 0 {
            errors.invalid(&at, &shown, "must be an integer");
        }
    }
    let scopes: Vec<&str> = list(object, "/spec/scopes").iter().filter_map(Value::as_str).collect();
    let shown = object.pointer("/spec/scopes").cloned().unwrap_or_default();
    check_scopes(&scopes, &hard, "spec.scopes", "spec.scopes", &shown, errors);
    let Some(selector) = object.pointer("/spec/scopeSelector") else { return };
    let at = "spec.scopeSelector.matchExpressions";
    let expressions = list(selector, "/matchExpressions");
    let selected: Vec<&str> = expressions.iter().map(|expression| text(expression, "/scopeName")).collect();
    check_scopes(&selected, &hard, &format!("{at}.scopeName"), at, selector, errors);
    for expression in expressions {
        check_expression(expression, at, errors);
    }
}

fn check_scopes(scopes: &[&str], hard: &Resources, place: &str, at: &str, shown: &Value, errors: &mut Errors) {
    for scope in scopes {
        let suits: fn(&str) -> bool = match *scope {
            "Terminating" | "NotTerminating" | "NotBestEffort" | "PriorityClass" | "CrossNamespacePodAffinity" => {
                |name| name == "pods" || is_computing(name)
            }
            "BestEffort" => |name| name == "pods",
            "VolumeAttributesClass" => |name| matches!(name, "persistentvolumeclaims" | "requests.storage"),
            _ => {
                errors.invalid(place, shown, "unsupported scope");
                continue;
            }
        };
        for _ in hard.keys().filter(|name| is_standard(name) && !suits(name)) {
            errors.invalid(at, shown, "unsupported scope applied to resource");
        }
    }
    for (one, other) in [("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")] {
        if scopes.contains(&one) && scopes.contains(&other) {
            errors.invalid(at, shown, "conflicting scopes");
        }
    }
}

fn check_expression(expression: &Value, at: &str, errors: &mut Errors) {
    let (scope, operator) = (text(expression, "/scopeName"), text(expression, "/operator"));
    let shown = Value::from(operator);
    let exists_only =
        ["BestEffort", "NotBestEffort", "Terminating", "NotTerminating", "CrossNamespacePodAffinity"].contains(&scope);
    if exists_only && operator != "Exists" {
        let detail = "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity";
        errors.invalid(format!("{at}.operator"), &shown, detail);
    }
    let values = list(expression, "/values");
    match operator {
        "In" | "NotIn" if values.is_empty() => {
            let detail = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
            errors.required(format!("{at}.values"), detail);
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let detail = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
            errors.invalid(format!("{at}.values"), &Value::from(values.to_vec()), detail);
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        _ => errors.invalid(format!("{at}.operator"), &shown, "not a valid selector operator"),
    }
}

/// Checks that the scopes of a quota do not change.
pub(super) fn resource_quota_change(old: &Value, new: &Value, errors: &mut Errors) {
    let scopes = |quota: &Value| -> BTreeSet<String> {
        list(quota, "/spec/scopes").iter().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    if scopes(old) != scopes(new) {
        let shown = new.pointer("/spec/scopes").cloned().unwrap_or_default();
        errors.invalid("spec.scopes", &shown, "field is immutable");
    }
}

fn is_computing(name: &str) -> bool {
    matches!(name, "cpu" | "memory" | "limits.cpu" | "limits.memory" | "requests.cpu" | "requests.memory")
}

/// Returns whether a resource has a name of its own in quotas.
fn is_standard(name: &str) -> bool {
    is_computing(name)
        || is_counted(name)
        || matches!(name, "ephemeral-storage" | "requests.ephemeral-storage" | "limits.ephemeral-storage")
        || name == "requests.storage"
        || name.starts_with("hugepages-")
        || name.starts_with("requests.hugepages-")
}

fn is_counted(name: &str) -> bool {
    matches!(
        name,
        "pods"
            | "resourcequotas"
            | "services"
            | "replicationcontrollers"
            | "secrets"
            | "configmaps"
            | "persistentvolumeclaims"
            | "services.nodeports"
            | "services.loadbalancers"
    )
}

/// Returns whether a resource is counted in whole units.
fn is_whole(name: &str) -> bool {
    is_counted(name) || name.contains('/') && !name.contains("kubernetes.io/") && !name.starts_with("requests.")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::validate::{create, update};

    fn check(kind: &str, spec: serde_json::Value, want: &[&str]) {
        let object = json!({ "metadata": { "name": "x", "namespace": "n" }, "spec": spec });
        let errors: Vec<String> = create("", kind, &object).iter().map(ToString::to_string).collect();
        assert_eq!(errors, want, "{object}");
    }

    #[test]
    fn limit_ranges() {
        let one = |item: serde_json::Value, want: &[&str]| check("LimitRange", json!({ "limits": [item] }), want);
        one(
            json!({ "type": "Container", "max": { "cpu": "2" }, "min": { "cpu": "1" }, "default": { "cpu": "1500m" } }),
            &[],
        );
        one(
            json!({ "type": "Container", "max": { "cpu": "1" }, "min": { "cpu": "2" } }),
            &["spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than max value 1"],
        );
        one(
            json!({ "type": "Container", "default": { "cpu": "1" }, "defaultRequest": { "cpu": "2" } }),
            &[
                "spec.limits[0].defaultRequest[cpu]: Invalid value: \"2\": default request value 2 is greater than default limit value 1",
            ],
        );
        one(
            json!({ "type": "Pod", "default": { "cpu": "1" } }),
            &["spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'"],
        );
        one(
            json!({ "type": "PersistentVolumeClaim" }),
            &[
                "spec.limits[0].limits: Required value: either minimum or maximum storage value is required, but neither was provided",
            ],
        );
        one(
            json!({ "type": "Box", "maxLimitRequestRatio": { "cpu": "500m" } }),
            &[
                "spec.limits[0].type: Invalid value: \"Box\": must be a standard limit type or fully qualified",
                "spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: \"500m\": ratio 500m is less than 1",
            ],
        );
    }

    #[test]
    fn resource_quotas() {
        let hard = |hard: serde_json::Value, want: &[&str]| check("ResourceQuota", json!({ "hard": hard }), want);
        hard(json!({ "pods": 3, "count/jobs.batch": "1", "limits.cpu": "1500m", "requests.nvidia.com/gpu": 1 }), &[]);
        hard(json!({ "pod": "1" }), &["spec.hard[pod]: Invalid value: \"pod\": must be a standard resource for quota"]);
        hard(json!({ "pods": "500m" }), &["spec.hard[pods]: Invalid value: \"500m\": must be an integer"]);
        hard(json!({ "cpu": "-1" }), &["spec.hard[cpu]: Invalid value: \"-1\": must be greater than or equal to 0"]);
        check(
            "ResourceQuota",
            json!({ "hard": { "pods": "1" }, "scopes": ["BestEffort", "NotBestEffort"] }),
            &["spec.scopes: Invalid value: [\"BestEffort\",\"NotBestEffort\"]: conflicting scopes"],
        );
        check(
            "ResourceQuota",
            json!({ "hard": { "services": "1" }, "scopes": ["Terminating"] }),
            &["spec.scopes: Invalid value: [\"Terminating\"]: unsupported scope applied to resource"],
        );
        let with = |scopes: serde_json::Value| json!({ "metadata": { "name": "x", "namespace": "n" }, "spec": { "hard": { "pods": "1" }, "scopes": scopes } });
        let errors = update("", "ResourceQuota", &with(json!(["Terminating"])), &with(json!(["NotTerminating"])));
        assert_eq!(errors[0].to_string(), "spec.scopes: Invalid value: [\"NotTerminating\"]: field is immutable");
    }
}
