//! Changes of objects.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Ownership, Step, check_type, fields};
use crate::{
    Api, convert,
    resource::{Resource, Subresource},
    status::Status,
    store::{Change, Stored, Writer, key},
    write_options::WriteOptions,
};

impl Api {
    /// Changes an object: `change` gets the current object in the version of `resource`, and returns the wanted one.
    pub(crate) fn update(
        &self,
        resource: &Resource,
        sub: Option<&Subresource>,
        namespace: &str,
        name: &str,
        write: &WriteOptions,
        change: impl FnOnce(&Value) -> Result<Value, Status>,
    ) -> Result<Arc<Stored>, Status> {
        let mut writer = self.store().writer();
        let live = self.live(resource, namespace, name)?;
        self.update_locked(&mut writer, resource, sub, live, write, Ownership::Track, |live| {
            let mut new = change(live)?;
            fields::check(resource, &mut new, write)?;
            Ok(new)
        })
    }

    /// Returns an object, or 404.
    pub(crate) fn live(&self, resource: &Resource, namespace: &str, name: &str) -> Result<Arc<Stored>, Status> {
        let found = self.store().get(&resource.storage, &key(namespace, name));
        found.ok_or_else(|| Status::not_found(resource, name))
    }

    #[expect(clippy::too_many_arguments, reason = "one write has all of these")]
    pub(super) fn update_locked(
        &self,
        writer: &mut Writer,
        resource: &Resource,
        sub: Option<&Subresource>,
        live: Arc<Stored>,
        write: &WriteOptions,
        ownership: Ownership,
        change: impl FnOnce(&Value) -> Result<Value, Status>,
    ) -> Result<Arc<Stored>, Status> {
        let mut old = live.value();
        convert::from_storage(resource, &mut old);
        let mut new = change(&old)?;
        check_type(resource, &new)?;
        check_identity(resource, &live, &old, &new)?;
        restore_system_fields(&mut new, &old);
        keep_apart(resource, sub, &mut new, &old);
        check_finalizers(resource, &live, &old, &new)?;
        let tracks = ownership == Ownership::Track;
        let step = Step { resource, sub, key: &live.key, old: Some(&old), write, tracks };
        self.complete(writer, &step, &mut new)?;
        if resource.generation && sub != Some(&Subresource::Status) && spec_differs(resource, &old, &new) {
            let generation = fields::meta(&old, "generation").and_then(Value::as_i64).unwrap_or(0);
            fields::set_meta(&mut new, "generation", json!(generation + 1));
        }
        pocket_object::managed::keep_times(&old, &mut new);
        if new == old {
            return Ok(live);
        }
        let gone = may_go(&new);
        convert::to_storage(resource, &mut new);
        if write.dry_run {
            return Ok(Self::dry_run_result(resource, &live.key, &new, live.revision));
        }
        let change = if gone { Change::Delete(new) } else { Change::Put(new) };
        self.commit(writer, resource, &live.key, Some(&old), change)
    }
}

/// Returns whether an object can be removed: deletion was requested, the grace period is over, and no finalizer is left.
pub(super) fn may_go(object: &Value) -> bool {
    let grace = fields::meta(object, "deletionGracePeriodSeconds").and_then(Value::as_i64).unwrap_or(0);
    let content = object["kind"] == "Namespace"
        && object.pointer("/spec/finalizers").and_then(Value::as_array).is_some_and(|list| !list.is_empty());
    fields::meta(object, "deletionTimestamp").is_some()
        && grace == 0
        && !content
        && fields::finalizers(object).is_empty()
}

/// Checks that name, namespace and uid do not change, and that a given resource version is the object's.
fn check_identity(resource: &Resource, live: &Stored, old: &Value, new: &Value) -> Result<(), Status> {
    let name = live.name();
    if fields::name(new) != name {
        return Err(Status::bad_request(format!(
            "the name of the object ({}) does not match the name on the URL ({name})",
            fields::name(new)
        )));
    }
    let namespace = fields::text(new, "namespace");
    if resource.namespaced && !namespace.is_empty() && namespace != live.namespace() {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    let (wanted, found) = (fields::text(new, "uid"), fields::text(old, "uid"));
    if !wanted.is_empty() && wanted != found {
        let why = format!("Precondition failed: UID in precondition: {wanted}, UID in object meta: {found}");
        return Err(Status::conflict(resource, name, &why));
    }
    let version = fields::text(new, "resourceVersion");
    if !version.is_empty() && version != "0" && version != fields::text(old, "resourceVersion") {
        return Err(Status::modified(resource, name));
    }
    Ok(())
}

fn restore_system_fields(new: &mut Value, old: &Value) {
    for field in [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "generateName",
        "selfLink",
    ] {
        fields::restore_meta(new, old, field);
    }
}

/// Keeps the status and the rest apart: only `/status` writes the status, and `/status` writes nothing else.
fn keep_apart(resource: &Resource, sub: Option<&Subresource>, new: &mut Value, old: &Value) {
    if sub == Some(&Subresource::Status) {
        let status = new.get("status").cloned();
        let managed = fields::meta(new, "managedFields").cloned();
        *new = old.clone();
        if let Some(managed) = managed {
            fields::set_meta(new, "managedFields", managed);
        }
        if let Some(fields) = new.as_object_mut() {
            match status {
                Some(status) => drop(fields.insert("status".into(), status)),
                None => drop(fields.remove("status")),
            }
        }
    } else if resource.has_status()
        // A binding also writes to the status that the pod is scheduled.
        && sub != Some(&Subresource::Binding)
        && let Some(fields) = new.as_object_mut()
    {
        match old.get("status") {
            Some(status) => drop(fields.insert("status".into(), status.clone())),
            None => drop(fields.remove("status")),
        }
    }
}

fn check_finalizers(resource: &Resource, live: &Stored, old: &Value, new: &Value) -> Result<(), Status> {
    if fields::meta(old, "deletionTimestamp").is_none() {
        return Ok(());
    }
    let before = fields::finalizers(old);
    let added: Vec<_> = fields::finalizers(new).into_iter().filter(|name| !before.contains(name)).collect();
    if added.is_empty() {
        return Ok(());
    }
    let why =
        format!("no new finalizers can be added if the object is being deleted, found new finalizers {}", json!(added));
    Err(Status::invalid(resource, live.name(), &[pocket_object::FieldError::forbidden("metadata.finalizers", why)]))
}

/// Returns whether anything but metadata and status differs.
fn spec_differs(resource: &Resource, old: &Value, new: &Value) -> bool {
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else { return true };
    // A custom kind without `/status` has its status in the object like any other field.
    let ignored =
        |field: &str| field == "metadata" || field == "status" && (resource.has_status() || resource.custom.is_none());
    let relevant = |fields: &serde_json::Map<String, Value>| fields.keys().filter(|field| !ignored(field)).count();
    relevant(old) != relevant(new) || old.iter().any(|(field, value)| !ignored(field) && new.get(field) != Some(value))
}
