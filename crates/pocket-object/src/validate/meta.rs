//! `metadata` of any kind.

use serde_json::Value;

use super::Errors;
use crate::{
    FieldError,
    json::{entries, list, text},
    names,
};

const MAX_ANNOTATIONS: usize = 256 * 1024;

pub(super) fn check(group: &str, kind: &str, object: &Value, errors: &mut Errors) {
    let Some(metadata) = object.get("metadata").filter(|metadata| metadata.is_object()) else {
        errors.required("metadata", "");
        return;
    };
    let name = text(metadata, "/name");
    let prefix = text(metadata, "/generateName");
    let rule = name_rule(group, kind);
    if name.is_empty() && prefix.is_empty() {
        errors.required("metadata.name", "name or generateName is required");
    }
    if !name.is_empty() {
        errors.named("metadata.name", name, rule);
    }
    if !prefix.is_empty() {
        // The server appends a plain word, so a dash at the end is allowed.
        errors.named("metadata.generateName", &without_dash(prefix), rule);
    }
    if let Some(namespace) = metadata.get("namespace").and_then(Value::as_str).filter(|name| !name.is_empty()) {
        errors.named("metadata.namespace", namespace, names::label);
    }
    errors.labels("metadata.labels", metadata.get("labels"));
    annotations(metadata, errors);
    for (index, finalizer) in list(metadata, "/finalizers").iter().enumerate() {
        let path = format!("metadata.finalizers[{index}]");
        match finalizer.as_str() {
            Some(name) => {
                errors.named("metadata.finalizers", name, names::qualified_name);
                let standard = ["orphan", "foregroundDeletion", "kubernetes"].contains(&name);
                if !standard && !name.contains('/') {
                    let detail = "name is neither a standard finalizer name nor is it fully qualified";
                    errors.invalid("metadata.finalizers", finalizer, detail);
                }
            }
            None => errors.add(FieldError::type_invalid(path, finalizer, "must be a string")),
        }
    }
    owners(metadata, errors);
}

/// Returns a prefix in the form that is checked: a dash at its end stands for the appended word, as in Kubernetes (`maskTrailingDash`).
/// A dot does not.
fn without_dash(prefix: &str) -> String {
    let mut name: Vec<char> = prefix.chars().collect();
    if name.len() > 1 && name.ends_with(&['-']) {
        name.truncate(name.len() - 2);
        name.push('a');
    }
    name.into_iter().collect()
}

fn annotations(metadata: &Value, errors: &mut Errors) {
    let path = "metadata.annotations";
    let mut total = 0;
    for (key, value) in entries(metadata, "/annotations") {
        // Keys of annotations may have capitals in their prefix.
        errors.named(path, &key.to_lowercase(), names::qualified_name);
        match value.as_str() {
            Some(text) => total += key.len() + text.len(),
            None => errors.add(FieldError::type_invalid(format!("{path}.{key}"), value, "must be a string")),
        }
    }
    if total > MAX_ANNOTATIONS {
        errors.add(FieldError::too_long(path, MAX_ANNOTATIONS));
    }
}

fn owners(metadata: &Value, errors: &mut Errors) {
    let mut controllers = 0;
    for (index, owner) in list(metadata, "/ownerReferences").iter().enumerate() {
        let path = format!("metadata.ownerReferences[{index}]");
        for (field, detail) in [
            ("apiVersion", "version must not be empty"),
            ("kind", "must not be empty"),
            ("name", "must not be empty"),
            ("uid", "must not be empty"),
        ] {
            if text(owner, &format!("/{field}")).is_empty() {
                errors.invalid(format!("{path}.{field}"), owner.get(field).unwrap_or(&Value::from("")), detail);
            }
        }
        controllers += usize::from(owner.get("controller") == Some(&Value::Bool(true)));
    }
    if controllers > 1 {
        errors.invalid(
            "metadata.ownerReferences",
            metadata.get("ownerReferences").unwrap_or(&Value::Null),
            "Only one reference can have Controller set to true",
        );
    }
}

/// Returns the rule for the names of a kind's objects.
fn name_rule(group: &str, kind: &str) -> fn(&str) -> Vec<String> {
    match (group, kind) {
        ("", "Service") => names::dns_1035,
        ("", "Namespace") => names::label,
        ("rbac.authorization.k8s.io", _) => names::path_segment,
        _ => names::subdomain,
    }
}

pub(super) fn check_change(old: &Value, new: &Value, errors: &mut Errors) {
    for field in ["name", "namespace", "uid", "creationTimestamp"] {
        let pointer = format!("/metadata/{field}");
        let (before, after) = (text(old, &pointer), text(new, &pointer));
        // A client need not send the fields that only the server writes.
        if before != after && !(after.is_empty() && field != "name") {
            errors.invalid(format!("metadata.{field}"), &Value::from(after), "field is immutable");
        }
    }
    if !text(old, "/metadata/deletionTimestamp").is_empty() {
        let before = list(old, "/metadata/finalizers");
        let added: Vec<String> = list(new, "/metadata/finalizers")
            .iter()
            .filter(|finalizer| !before.contains(finalizer))
            .map(ToString::to_string)
            .collect();
        if !added.is_empty() {
            errors.add(FieldError::forbidden(
                "metadata.finalizers",
                format!(
                    "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                    added.join(", ")
                ),
            ));
        }
    }
}
