//! Deletion of objects: grace, finalizers, propagation and preconditions.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{fields, update::may_go};
use crate::{
    Api,
    json::object,
    resource::{Resource, Strategy},
    status::Status,
    store::{Change, Stored, Writer, key},
    time::timestamp,
    write_options::WriteOptions,
};

/// `metav1.DeleteOptions`.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeleteOptions {
    pub(crate) grace: Option<i64>,
    pub(crate) uid: Option<String>,
    pub(crate) resource_version: Option<String>,
    pub(crate) propagation: Option<Propagation>,
    pub(crate) dry_run: bool,
}

/// Treatment of the objects that a deleted object owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Propagation {
    Orphan,
    Background,
    Foreground,
}

/// Result of a deletion.
pub(crate) enum Deletion {
    /// Removed object, in its last state.
    Gone(Arc<Stored>),
    /// Marked object, which is removed when its grace period is over and its finalizers have been removed.
    Going(Arc<Stored>),
}

/// Namespaces that every cluster has.
const KEPT: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];
/// Finalizer of a definition until its objects are gone.
const CUSTOM_CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

impl Api {
    /// Deletes an object, or marks it as being deleted.
    pub(crate) fn delete(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<Deletion, Status> {
        let mut writer = self.store().writer();
        self.delete_locked(&mut writer, resource, namespace, name, options)
    }

    pub(super) fn delete_locked(
        &self,
        writer: &mut Writer,
        resource: &Resource,
        namespace: &str,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<Deletion, Status> {
        let live = self.live(resource, namespace, name)?;
        let old = live.value();
        check_preconditions(resource, name, &old, options)?;
        if resource.strategy == Strategy::Namespace && KEPT.contains(&name) {
            return Err(Status::forbidden(resource, name, "this namespace may not be deleted"));
        }
        let mut new = old.clone();
        mark(&mut new, &old, options, resource.strategy == Strategy::Pod);
        if resource.strategy == Strategy::Namespace {
            object(&mut new, "status").insert("phase".into(), json!("Terminating"));
        }
        let definition = resource.strategy == Strategy::CustomResourceDefinition;
        if definition && fields::meta(&old, "deletionTimestamp").is_none() {
            let mut finalizers: Vec<Value> = fields::finalizers(&new).into_iter().map(|name| json!(name)).collect();
            finalizers.push(json!(CUSTOM_CLEANUP));
            fields::set_meta(&mut new, "finalizers", finalizers.into());
        }
        let gone = may_go(&new);
        if options.dry_run {
            let stored = Self::dry_run_result(resource, &live.key, &new, live.revision);
            return Ok(if gone { Deletion::Gone(stored) } else { Deletion::Going(stored) });
        }
        if gone {
            return self.commit(writer, resource, &live.key, Some(&old), Change::Delete(new)).map(Deletion::Gone);
        }
        if new == old {
            return Ok(Deletion::Going(live));
        }
        if resource.generation {
            let generation = fields::meta(&old, "generation").and_then(Value::as_i64).unwrap_or(0);
            fields::set_meta(&mut new, "generation", json!(generation + 1));
        }
        let stored = self.commit(writer, resource, &live.key, Some(&old), Change::Put(new))?;
        if definition {
            self.delete_all_of(writer, name)?;
            self.finish_definition(writer, name)?;
            if self.store().get(&resource.storage, &live.key).is_none() {
                return Ok(Deletion::Gone(stored));
            }
        }
        Ok(Deletion::Going(stored))
    }

    /// Deletes all objects of a custom kind.
    fn delete_all_of(&self, writer: &mut Writer, definition: &str) -> Result<(), Status> {
        let registry = self.registry();
        let Some(resource) = served_by(registry.custom(), definition) else { return Ok(()) };
        let (objects, _) = self.store().snapshot(&resource.storage);
        for stored in objects.values() {
            self.delete_locked(writer, resource, stored.namespace(), stored.name(), &DeleteOptions::default())?;
        }
        Ok(())
    }

    /// Removes a definition that is being deleted, once no object of its kind is left.
    pub(super) fn finish_definition(&self, writer: &mut Writer, name: &str) -> Result<(), Status> {
        let registry = self.registry();
        let Some(definitions) = registry.built_in("apiextensions.k8s.io", "customresourcedefinitions") else {
            return Ok(());
        };
        let Some(live) = self.store().get(&definitions.storage, &key("", name)) else { return Ok(()) };
        let old = live.value();
        if !fields::finalizers(&old).contains(&CUSTOM_CLEANUP) || fields::meta(&old, "deletionTimestamp").is_none() {
            return Ok(());
        }
        if let Some(resource) = served_by(registry.custom(), name)
            && !self.store().snapshot(&resource.storage).0.is_empty()
        {
            return Ok(());
        }
        let left = fields::finalizers(&old).into_iter().filter(|name| *name != CUSTOM_CLEANUP).collect::<Vec<_>>();
        let mut new = old.clone();
        fields::set_meta(&mut new, "finalizers", json!(left));
        let change = if may_go(&new) { Change::Delete(new) } else { Change::Put(new) };
        self.commit(writer, definitions, &live.key, Some(&old), change).map(drop)
    }

    /// Removes a namespace's last finalizers, at the request of its controller through `/finalize`.
    pub(crate) fn finalize(
        &self,
        namespaces: &Resource,
        name: &str,
        wanted: &Value,
        write: &WriteOptions,
    ) -> Result<Arc<Stored>, Status> {
        let mut writer = self.store().writer();
        let live = self.live(namespaces, "", name)?;
        let old = live.value();
        let version = fields::text(wanted, "resourceVersion");
        if !version.is_empty() && version != fields::text(&old, "resourceVersion") {
            return Err(Status::modified(namespaces, name));
        }
        let mut new = old.clone();
        let finalizers = wanted.pointer("/spec/finalizers").cloned().unwrap_or_else(|| json!([]));
        object(&mut new, "spec").insert("finalizers".into(), finalizers);
        if new == old || write.dry_run {
            return Ok(live);
        }
        let change = if may_go(&new) { Change::Delete(new) } else { Change::Put(new) };
        self.commit(&mut writer, namespaces, &live.key, Some(&old), change)
    }
}

fn served_by<'a>(custom: &'a [Arc<Resource>], definition: &str) -> Option<&'a Arc<Resource>> {
    custom.iter().find(|known| known.custom.as_ref().is_some_and(|custom| custom.definition == definition))
}

pub(super) fn is_over(pod: &Value) -> bool {
    matches!(pod.pointer("/status/phase").and_then(Value::as_str), Some("Succeeded" | "Failed"))
}

pub(super) fn check_preconditions(
    resource: &Resource,
    name: &str,
    old: &Value,
    options: &DeleteOptions,
) -> Result<(), Status> {
    for (what, wanted, field) in
        [("UID", &options.uid, "uid"), ("ResourceVersion", &options.resource_version, "resourceVersion")]
    {
        let found = fields::text(old, field);
        if let Some(wanted) = wanted
            && wanted != found
        {
            let why = format!("Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {found}");
            return Err(Status::conflict(resource, name, &why));
        }
    }
    Ok(())
}

/// Marks an object as being deleted, with its deadline and the finalizers that it waits for.
fn mark(new: &mut Value, old: &Value, options: &DeleteOptions, is_pod: bool) {
    let grace = if is_pod { pod_grace(old, options.grace) } else { 0 };
    let before = fields::meta(old, "deletionGracePeriodSeconds").and_then(Value::as_i64).unwrap_or(0);
    if fields::meta(old, "deletionTimestamp").is_none() || grace < before {
        let mut at = jiff::Timestamp::now();
        if fields::meta(old, "deletionTimestamp").is_some() {
            // A shortened grace period still counts from the time of the first deletion request.
            let asked = fields::text(old, "deletionTimestamp").parse::<jiff::Timestamp>().ok();
            at = asked.and_then(|at| at.checked_sub(jiff::SignedDuration::from_secs(before)).ok()).unwrap_or(at);
        }
        at = at.checked_add(jiff::SignedDuration::from_secs(grace)).unwrap_or(at);
        fields::set_meta(new, "deletionTimestamp", json!(timestamp(at)));
        fields::set_meta(new, "deletionGracePeriodSeconds", json!(grace));
    }
    let Some(propagation) = options.propagation else { return };
    let mut finalizers: Vec<String> = fields::finalizers(old)
        .into_iter()
        .filter(|name| !matches!(*name, "orphan" | "foregroundDeletion"))
        .map(str::to_owned)
        .collect();
    match propagation {
        Propagation::Orphan => finalizers.push("orphan".into()),
        Propagation::Foreground => finalizers.push("foregroundDeletion".into()),
        Propagation::Background => {}
    }
    match finalizers.is_empty() {
        true => fields::remove_meta(new, "finalizers"),
        false => fields::set_meta(new, "finalizers", json!(finalizers)),
    }
}

/// Returns the grace period of a pod. A pod that runs on no node, or has ended, needs none.
fn pod_grace(pod: &Value, wanted: Option<i64>) -> i64 {
    let bound = pod.pointer("/spec/nodeName").and_then(Value::as_str).is_some_and(|node| !node.is_empty());
    if !bound || is_over(pod) {
        return 0;
    }
    let own = pod.pointer("/spec/terminationGracePeriodSeconds").and_then(Value::as_i64).unwrap_or(30);
    match wanted.unwrap_or(own) {
        negative if negative < 0 => 1,
        grace => grace,
    }
}
