//! Preparation of objects by the server, beyond the pure rules of `pocket-object`: fills in and checks, kind by kind.

use std::sync::Arc;

use pocket_object::FieldError;
use serde_json::{Value, json};

use crate::{crd, json::object, options::Options, registry::Registry, resource::Strategy, store::Writer};

/// State of the server that a [`Strategy`] reads and changes.
pub(crate) struct StrategyContext<'a> {
    pub(crate) options: &'a Options,
    pub(crate) registry: &'a Registry,
    pub(crate) writer: &'a mut Writer,
    /// `namespace/name`.
    pub(crate) key: &'a Arc<str>,
    /// Current time in the format of Kubernetes.
    pub(crate) now: &'a str,
}

impl Strategy {
    /// Prepares an object for a write. `old` is the object before, `None` for a create.
    pub(crate) fn prepare(
        self,
        context: &mut StrategyContext<'_>,
        old: Option<&Value>,
        new: &mut Value,
    ) -> Result<(), Vec<FieldError>> {
        match self {
            Self::Plain | Self::Question(_) => {}
            Self::Namespace => namespace(old, new),
            Self::PersistentVolumeClaim => claim(old, new),
            Self::Pod => pod(old, new),
            Self::Secret => secret(new),
            Self::Job => job(old, new),
            Self::Service => return service(context, old, new),
            Self::CustomResourceDefinition => return crd::prepare(context.registry, old, new, context.now),
        }
        Ok(())
    }
}

fn namespace(old: Option<&Value>, new: &mut Value) {
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
}

fn claim(old: Option<&Value>, new: &mut Value) {
    if old.is_none() {
        object(new, "status").insert("phase".into(), json!("Pending"));
    }
}

fn pod(old: Option<&Value>, new: &mut Value) {
    if old.is_none() {
        let class = pocket_object::resources::qos_class(new);
        let status = object(new, "status");
        status.insert("phase".into(), json!("Pending"));
        status.insert("qosClass".into(), json!(class));
    }
}

/// Moves `stringData` to `data`.
fn secret(new: &mut Value) {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let Some(plain) = new.as_object_mut().and_then(|secret| secret.remove("stringData")) else { return };
    if let Value::Object(plain) = plain {
        let data = object(new, "data");
        for (name, text) in plain {
            data.insert(name, json!(STANDARD.encode(text.as_str().unwrap_or_default())));
        }
    }
}

/// Gives a Job a selector of its own, unless the Job brings one (`manualSelector`).
fn job(old: Option<&Value>, new: &mut Value) {
    if old.is_some() || new.pointer("/spec/manualSelector") == Some(&Value::Bool(true)) {
        return;
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
}

fn service(context: &mut StrategyContext<'_>, old: Option<&Value>, new: &mut Value) -> Result<(), Vec<FieldError>> {
    if old.is_none() {
        object(new, "status").insert("loadBalancer".into(), json!({}));
    }
    context.writer.allocations.assign(context.options, context.key, old, new)
}
