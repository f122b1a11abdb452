//! Writes: the effects of create, update, apply and delete on the store. All of them are synchronous and hold the writer's
//! lock, so an object cannot change between being read and being written.

mod create;
mod delete;
mod evict;
mod fields;
mod update;

use std::sync::Arc;

use pocket_object::{
    FieldError,
    managed::{self, ApplyError, Operation, Versions},
};
use serde_json::{Value, json};

pub(crate) use self::create::uid;
pub(crate) use self::delete::{DeleteOptions, Deletion, Propagation};
use crate::{
    Api, admission,
    resource::{Resource, Strategy, Subresource},
    status::Status,
    store::{Change, Stored, Writer, key},
    strategy::StrategyContext,
    write_options::WriteOptions,
};

/// Write of one object.
#[derive(Clone, Copy)]
struct Step<'a> {
    resource: &'a Resource,
    sub: Option<&'a Subresource>,
    key: &'a Arc<str>,
    old: Option<&'a Value>,
    write: &'a WriteOptions,
    /// Set for a create, update or patch, after which the writer owns what it changed. Server-side apply has noted ownership already.
    tracks: bool,
}

/// Source of the ownership of fields.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ownership {
    /// Create, update or patch: a manager that changes a value owns it.
    Track,
    /// Server-side apply: ownership is recorded already.
    Recorded,
}

impl Api {
    /// Creates an object from a client's apply, or changes the existing one. Returns whether it was created.
    #[expect(clippy::too_many_arguments, reason = "one write has all of these")]
    pub(crate) fn apply(
        &self,
        resource: &Resource,
        sub: Option<&Subresource>,
        namespace: &str,
        name: &str,
        mut intent: Value,
        force: bool,
        write: &WriteOptions,
    ) -> Result<(Arc<Stored>, bool), Status> {
        check_type(resource, &intent)?;
        fields::warn_of_deprecation(resource, write);
        fields::keep_only(resource, sub, &mut intent);
        let mut writer = self.store().writer();
        let api_version = resource.api_version();
        let manager = write.manager(Operation::Apply, &api_version, sub);
        let failed = |error: ApplyError| apply_failed(resource, name, error);
        let versions = self.versions(resource);
        match self.store().get(&resource.storage, &key(namespace, name)) {
            None if sub.is_some() => Err(Status::not_found(resource, name)),
            None => {
                if intent.pointer("/metadata/uid").is_some() {
                    let why = "uid mismatch: the provided object specified uid, and no existing object was found";
                    return Err(Status::conflict(resource, name, why));
                }
                fields::set_meta(&mut intent, "name", json!(name));
                // An apply with a version that no object has creates one, and changes none: kube-apiserver compares versions only where
                // an object exists.
                if let Some(metadata) = intent.get_mut("metadata").and_then(Value::as_object_mut) {
                    metadata.remove("resourceVersion");
                }
                let made = managed::apply(None, &intent, &manager, force, &versions).map_err(failed)?;
                let stored = self.create_locked(&mut writer, resource, namespace, made, write, Ownership::Recorded)?;
                Ok((stored, true))
            }
            Some(live) => {
                let stored =
                    self.update_locked(&mut writer, resource, sub, live, write, Ownership::Recorded, |live| {
                        managed::apply(Some(live), &intent, &manager, force, &versions).map_err(failed)
                    })?;
                Ok((stored, false))
            }
        }
    }

    /// Returns the types of all served versions of a kind.
    fn versions(&self, resource: &Resource) -> Versions {
        let Some(custom) = &resource.custom else {
            return Versions::one(&resource.api_version(), resource.shape());
        };
        let registry = self.registry();
        let same =
            |known: &&Arc<Resource>| known.custom.as_ref().is_some_and(|other| other.definition == custom.definition);
        Versions::new(registry.custom().iter().filter(same).map(|known| (known.api_version(), known.shape().clone())))
    }

    /// Prepares an object for the store: fills in defaults, records field ownership, asks admission, runs the kind's own rules,
    /// and checks the result. The order is that of Kubernetes: what the server fills in belongs to no manager.
    fn complete(&self, writer: &mut Writer, step: &Step<'_>, new: &mut Value) -> Result<(), Status> {
        let Step { resource, sub, key, old, write, .. } = *step;
        fields::tidy(resource, new);
        match &resource.custom {
            Some(custom) => {
                custom.schema.prune(new);
                custom.schema.default(new);
            }
            None => pocket_object::defaults::apply(&resource.group, &resource.kind, new),
        }
        if step.tracks {
            let api_version = resource.api_version();
            let manager = write.manager(Operation::Update, &api_version, sub);
            managed::update(old, new, &manager, &self.versions(resource));
        }
        let name = fields::name(new).to_owned();
        let namespace = fields::text(new, "namespace").to_owned();
        let mut request =
            admission::Request { api: self, writer, resource, namespace: &namespace, name: &name, old, write };
        if sub.is_none() {
            admission::admit(&mut request, new)?;
        }
        let invalid = |errors: Vec<FieldError>| match errors.is_empty() {
            true => Ok(()),
            false => Err(Status::invalid(resource, &name, &errors)),
        };
        let check = |new: &Value| match old {
            None => pocket_object::validate::create(&resource.group, &resource.kind, new),
            Some(old) => pocket_object::validate::update(&resource.group, &resource.kind, old, new),
        };
        if let Some(custom) = &resource.custom {
            let mut errors = check(new);
            errors.extend(custom.schema.validate(new, old));
            invalid(errors)?;
        } else if sub.is_none() {
            let registry = self.registry();
            let mut context = StrategyContext {
                options: self.options(),
                registry: &registry,
                writer: &mut *request.writer,
                key,
                now: &write.now,
            };
            resource.strategy.prepare(&mut context, old, new).or_else(invalid)?;
            invalid(check(new))?;
        }
        if sub.is_none() { admission::validate(&mut request, new) } else { Ok(()) }
    }

    /// Stores a change and its consequences.
    pub(crate) fn commit(
        &self,
        writer: &mut Writer,
        resource: &Resource,
        key: &Arc<str>,
        old: Option<&Value>,
        change: Change,
    ) -> Result<Arc<Stored>, Status> {
        let services = resource.strategy == Strategy::Service;
        let new = match &change {
            Change::Put(value) if services => Some(value.clone()),
            _ => None,
        };
        let gone = matches!(change, Change::Delete(_));
        let stored = self.store().commit(writer, &resource.storage, key, change)?;
        if services {
            writer.allocations.record(key, old, new.as_ref());
        }
        if resource.strategy == Strategy::CustomResourceDefinition {
            self.refresh_definitions();
        }
        if gone && let Some(custom) = &resource.custom {
            self.finish_definition(writer, &custom.definition)?;
        }
        Ok(stored)
    }

    /// Returns the object that a dry run would have stored.
    fn dry_run_result(resource: &Resource, key: &Arc<str>, value: &Value, revision: u64) -> Arc<Stored> {
        Arc::new(Stored::new(key.clone(), value, revision, &resource.storage.fields))
    }
}

/// Checks that the API version and kind of a body are those of the path; the caller fills in absent ones.
pub(crate) fn check_type(resource: &Resource, object: &Value) -> Result<(), Status> {
    let text = |name: &str| object.get(name).and_then(Value::as_str).unwrap_or_default();
    let api_version = resource.api_version();
    if !object.is_object() {
        return Err(Status::bad_request("the body of the request must be a JSON object"));
    }
    if text("apiVersion") != api_version {
        return Err(Status::bad_request(format!(
            "the API version in the data ({}) does not match the expected API version ({api_version})",
            text("apiVersion")
        )));
    }
    if text("kind") != resource.kind {
        return Err(Status::bad_request(format!(
            "the kind in the data ({}) does not match the expected kind ({})",
            text("kind"),
            resource.kind
        )));
    }
    Ok(())
}

/// Returns the 409 with a cause per field, or the 400 or 500, of a failed apply.
fn apply_failed(resource: &Resource, name: &str, error: ApplyError) -> Status {
    use http::StatusCode;
    match error {
        ApplyError::Conflicts(conflicts) => {
            let message = ApplyError::Conflicts(conflicts.clone()).to_string();
            let causes = conflicts
                .iter()
                .map(|conflict| {
                    json!({"reason": "FieldManagerConflict", "field": conflict.field,
                        "message": format!("conflict with {}", conflict.manager)})
                })
                .collect();
            let mut status = Status::new(StatusCode::CONFLICT, "Conflict", message).about(resource, name, causes);
            // Kubernetes names no object in the details of an apply conflict, only causes.
            if let Some(details) = &mut status.details
                && let Some(details) = details.as_object_mut()
            {
                details.retain(|field, _| field == "causes");
            }
            status
        }
        ApplyError::Untyped(message) => Status::new(StatusCode::INTERNAL_SERVER_ERROR, "", message),
        ApplyError::Invalid(message) => Status::bad_request(message),
    }
}
