//! Preparation of objects by the server, beyond the pure rules of `pocket-object`: fills in and checks, kind by kind.

use std::sync::Arc;

use pocket_object::FieldError;
use serde_json::{Map, Value, json};

use crate::{Options, crd, registry::Registry, store::Writer};

/// Preparation of an object before a write: the second argument is the object before, `None` for a create.
pub(crate) type Prepare = fn(&mut Context<'_>, Option<&Value>, &mut Value) -> Result<(), Vec<FieldError>>;

/// Inputs of a [`Prepare`].
pub(crate) struct Context<'a> {
    pub(crate) options: &'a Options,
    pub(crate) registry: &'a Registry,
    pub(crate) writer: &'a mut Writer,
    /// `namespace/name`.
    pub(crate) key: &'a Arc<str>,
    /// Current time in the format of Kubernetes.
    pub(crate) now: &'a str,
}

/// Prepares nothing.
pub(crate) fn nothing(_: &mut Context<'_>, _: Option<&Value>, _: &mut Value) -> Result<(), Vec<FieldError>> {
    Ok(())
}

/// Returns the object at `name`; creates it if it is missing or is no object.
pub(crate) fn object<'a>(value: &'a mut Value, name: &str) -> &'a mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    let slot = match value {
        Value::Object(map) => map.entry(name).or_insert_with(|| Value::Object(Map::new())),
        other => other,
    };
    if !slot.is_object() {
        *slot = Value::Object(Map::new());
    }
    match slot {
        Value::Object(map) => map,
        // The code above has just put an object here; the compiler cannot know that.
        _ => unreachable!("an object was just put here"),
    }
}

pub(crate) fn namespace(_: &mut Context<'_>, old: Option<&Value>, new: &mut Value) -> Result<(), Vec<FieldError>> {
    let name = new.pointer("/metadata/name").cloned().unwrap_or_default();
    let metadata = object(new, "metadata");
    let labels = metadata.entry("labels").or_insert_with(|| json!({}));
    if let Some(labels) = labels.as_object_mut() {
        labels.insert("kubernetes.io/metadata.name".into(), name);
    }
    match old {
        None => {
            object(new, "spec").insert("finalizers".into(), json!(["kubernetes"]));
            object(new, "status").insert("phase".into(), json!("Active"));
        }
        // Only `/finalize` removes finalizers.
        Some(old) => {
            if let Some(finalizers) = old.pointer("/spec/finalizers") {
                object(new, "spec").insert("finalizers".into(), finalizers.clone());
            }
        }
    }
    Ok(())
}

pub(crate) fn claim(_: &mut Context<'_>, old: Option<&Value>, new: &mut Value) -> Result<(), Vec<FieldError>> {
    if old.is_none() {
        object(new, "status").insert("phase".into(), json!("Pending"));
    }
    Ok(())
}

pub(crate) fn pod(_: &mut Context<'_>, old: Option<&Value>, new: &mut Value) -> Result<(), Vec<FieldError>> {
    if old.is_none() {
        let class = pocket_object::resources::qos_class(new);
        let status = object(new, "status");
        status.insert("phase".into(), json!("Pending"));
        status.insert("qosClass".into(), json!(class));
    }
    Ok(())
}

/// Moves `stringData` to `data`.
pub(crate) fn secret(_: &mut Context<'_>, _: Option<&Value>, new: &mut Value) -> Result<(), Vec<FieldError>> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let Some(plain) = new.as_object_mut().and_then(|secret| secret.remove("stringData")) else { return Ok(()) };
    if let Value::Object(plain) = plain {
        let data = object(new, "data");
        for (name, text) in plain {
            data.insert(name, json!(STANDARD.encode(text.as_str().unwrap_or_default())));
        }
    }
    Ok(())
}

/// Gives a Job a selector of its own, unless the Job brings one (`manualSelector`).
pub(crate) fn job(_: &mut Context<'_>, old: Option<&Value>, new: &mut Value) -> Result<(), Vec<FieldError>> {
    if old.is_some() || new.pointer("/spec/manualSelector") == Some(&Value::Bool(true)) {
        return Ok(());
    }
    let uid = new.pointer("/metadata/uid").cloned().unwrap_or_default();
    let name = new.pointer("/metadata/name").cloned().unwrap_or_default();
    let spec = object(new, "spec");
    spec.insert("selector".into(), json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}));
    if let Some(template) = spec.get_mut("template") {
        let metadata = object(template, "metadata");
        let labels = metadata.entry("labels").or_insert_with(|| json!({}));
        if let Some(labels) = labels.as_object_mut() {
            for prefix in ["", "batch.kubernetes.io/"] {
                labels.insert(format!("{prefix}controller-uid"), uid.clone());
                labels.insert(format!("{prefix}job-name"), name.clone());
            }
        }
    }
    Ok(())
}

pub(crate) fn service(context: &mut Context<'_>, old: Option<&Value>, new: &mut Value) -> Result<(), Vec<FieldError>> {
    if old.is_none() {
        object(new, "status").insert("loadBalancer".into(), json!({}));
    }
    context.writer.allocations.assign(context.options, context.key, old, new)
}

pub(crate) fn definition(
    context: &mut Context<'_>,
    old: Option<&Value>,
    new: &mut Value,
) -> Result<(), Vec<FieldError>> {
    crd::prepare(context.registry, old, new, context.now)
}
