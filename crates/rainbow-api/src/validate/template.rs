//! Pod templates: fields that exist, values of the right type, and what every container needs.

use serde_json::{Map, Value};
use std::collections::BTreeSet;

use super::{Errors, not_a_label, quantity};
use crate::{
    Tier, names,
    pod_types::{self, Fields, Type},
};

/// Similarity above which a known field is suggested for an unknown one.
const ALIKE: f64 = 0.75;

pub(super) fn check(tier: &Tier, path: &str, errors: &mut Errors) {
    let path = format!("{path}.template");
    value(&tier.template, &pod_types::template(), &mut path.clone(), errors);
    let spec = &tier.template["spec"];
    containers(spec, &path, errors);
    if let Some(policy) = spec["restartPolicy"].as_str().filter(|policy| *policy != "Always") {
        errors.add(
            format!("{path}.spec.restartPolicy"),
            format!("`{policy}` is not possible in a Deployment: use Always"),
        );
    }
    let labels = tier.template["metadata"]["labels"].as_object();
    for label in labels.into_iter().flat_map(Map::keys).filter(|key| is_reserved(key)) {
        errors.add(format!("{path}.metadata.labels[{label}]"), "is set by Rainbow itself: take it out");
    }
}

fn is_reserved(key: &str) -> bool {
    key.starts_with("rainbow.dev/") || key.split('/').next().is_some_and(|domain| domain.ends_with(".rainbow.dev"))
}

pub(super) fn containers(spec: &Value, path: &str, errors: &mut Errors) {
    let list = |name: &str| spec[name].as_array().map(Vec::as_slice).unwrap_or_default();
    if list("containers").is_empty() && (spec["containers"].is_null() || spec["containers"].is_array()) {
        errors.add(format!("{path}.spec.containers"), "is empty: a pod has at least one container");
    }
    let mut taken = BTreeSet::new();
    for kind in ["initContainers", "containers"] {
        for (index, container) in list(kind).iter().enumerate().filter(|(_, container)| container.is_object()) {
            let path = format!("{path}.spec.{kind}[{index}]");
            // A value of another type has been reported already.
            let text = |field: &str| match &container[field] {
                Value::String(text) => Some(text.as_str()),
                Value::Null => Some(""),
                _ => None,
            };
            if let Some(name) = text("name") {
                if !names::is_dns_label(name) {
                    errors.add(format!("{path}.name"), not_a_label(name));
                } else if !taken.insert(name) {
                    errors.add(
                        format!("{path}.name"),
                        format!("another container is called `{name}`: give each its own name"),
                    );
                }
            }
            match text("image") {
                Some("") => errors.add(format!("{path}.image"), "is empty: name the image to run"),
                Some(image) if image.trim() != image => {
                    errors.add(format!("{path}.image"), format!("`{image}` begins or ends with a space: take it out"));
                }
                Some(_) | None => {}
            }
            resources(&container["resources"], &format!("{path}.resources"), errors);
        }
    }
}

/// Checks for limits that are lower than requests.
pub(super) fn resources(resources: &Value, path: &str, errors: &mut Errors) {
    for (name, request) in resources["requests"].as_object().into_iter().flatten() {
        let limit = &resources["limits"][name];
        if quantity::is_less(limit, request) {
            errors.add(
                format!("{path}.requests.{name}"),
                format!("is more than the limit, which is {}: request at most that", shown(limit)),
            );
        }
    }
}

/// Checks a value and everything within it. `null` counts as unset.
pub(super) fn value(found: &Value, type_: &Type, path: &mut String, errors: &mut Errors) {
    match (type_, found) {
        (_, Value::Null) | (Type::Any, _) => {}
        (Type::Struct(name), Value::Object(object)) => {
            if let Some(known) = pod_types::fields(name) {
                fields(object, known, path, errors);
            }
        }
        (Type::Map(type_), Value::Object(object)) => {
            for (key, found) in object {
                within(path, &format!(".{key}"), |path| value(found, type_, path, errors));
            }
        }
        (Type::List(type_), Value::Array(entries)) => {
            for (index, found) in entries.iter().enumerate() {
                within(path, &format!("[{index}]"), |path| value(found, type_, path, errors));
            }
        }
        (Type::Quantity, Value::String(_) | Value::Number(_)) => {
            if !quantity::is_quantity(found) {
                errors.add(
                    path.as_str(),
                    format!(
                        "{} is no quantity: write a number with a unit such as m, k, M, G, Ki, Mi or Gi, as in 500m or 64Mi",
                        shown(found)
                    ),
                );
            }
        }
        (Type::Text, Value::String(_)) | (Type::Flag, Value::Bool(_)) | (Type::Port, Value::String(_)) => {}
        (Type::Number | Type::Port, Value::Number(number)) if number.as_i64().is_some() => {}
        (type_, found) => {
            errors.add(path.as_str(), format!("{} is {}: write {}", shown(found), kind(found), wanted(type_)))
        }
    }
}

fn fields(object: &Map<String, Value>, known: &Fields, path: &mut String, errors: &mut Errors) {
    for (name, found) in object {
        within(path, &format!(".{name}"), |path| match known.get(name.as_str()) {
            Some(type_) => value(found, type_, path, errors),
            None => errors.add(path.as_str(), no_field(name, known)),
        });
    }
}

/// Runs a check one step deeper.
fn within(path: &mut String, step: &str, check: impl FnOnce(&mut String)) {
    let length = path.len();
    path.push_str(step);
    check(path);
    path.truncate(length);
}

fn no_field(name: &str, known: &Fields) -> String {
    let similarity = |known: &str| strsim::jaro_winkler(&name.to_lowercase(), &known.to_lowercase());
    let nearest = known.keys().copied().max_by(|a, b| similarity(a).total_cmp(&similarity(b)));
    let remedy = match nearest.filter(|nearest| similarity(nearest) > ALIKE) {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => "take it out, or install a newer Rainbow if a newer Kubernetes has it".to_owned(),
    };
    format!("there is no such field in Kubernetes {}: {remedy}", pod_types::kubernetes())
}

/// Returns a value as its author wrote it, if it is short.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) if text.chars().count() <= 40 => format!("`{text}`"),
        Value::Bool(_) | Value::Number(_) => format!("`{value}`"),
        Value::String(_) | Value::Null | Value::Array(_) | Value::Object(_) => "the value".to_owned(),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(number) if number.as_i64().is_none() => "no whole number",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map of fields",
    }
}

fn wanted(type_: &Type) -> &'static str {
    match type_ {
        Type::Text => "a text, in quotes",
        Type::Number => "a whole number, without quotes",
        Type::Flag => "true or false, without quotes",
        Type::Quantity => "a quantity, such as 500m or 64Mi",
        Type::Port => "the number of a port, or its name",
        Type::List(_) => "a list",
        Type::Struct(_) | Type::Map(_) | Type::Any => "a map of fields",
    }
}
