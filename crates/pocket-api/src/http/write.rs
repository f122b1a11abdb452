//! Create, replace, patch and delete over HTTP.

use axum::{body::Body, response::Response};
use http::{HeaderMap, Request, StatusCode, header};
use pocket_object::patch::{self, PatchError};
use serde_json::{Value, json};

use super::{body, present};
use crate::{
    Api, convert,
    json::to_bytes,
    ops::{DeleteOptions, Deletion, Propagation},
    reply::{bytes_reply, json_reply, success},
    request::{Query, Selection, Target},
    resource::Resource,
    status::Status,
    store::in_namespace,
    write_options::{BodyForm, FieldValidation, WriteOptions},
};

/// Returns the options of a write.
pub(crate) fn write_options(query: &Query, headers: &HeaderMap) -> Result<WriteOptions, Status> {
    let validation = match query.get("fieldValidation") {
        None | Some("Warn") => FieldValidation::Warn,
        Some("Ignore") => FieldValidation::Ignore,
        Some("Strict") => FieldValidation::Strict,
        Some(other) => {
            return Err(Status::bad_request(format!(
                "fieldValidation: Unsupported value: \"{other}\": supported values: \"Ignore\", \"Warn\", \"Strict\""
            )));
        }
    };
    let manager = match query.get("fieldManager") {
        Some(name) if name.len() > 128 || name.chars().any(char::is_control) => {
            return Err(Status::bad_request("fieldManager: Invalid value: must be at most 128 printable characters"));
        }
        Some(name) => name.to_owned(),
        // Name of the program, as in `kubectl/v1.33.0 (linux/amd64) …`.
        None => {
            let agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or("unknown");
            agent.split('/').next().unwrap_or_default().chars().take(128).collect()
        }
    };
    Ok(WriteOptions::new(query.dry_run()?, manager, validation))
}

/// Handles POST to a collection.
pub(crate) async fn create(
    api: &Api,
    target: &Target,
    query: &Query,
    request: Request<Body>,
) -> Result<Response, Status> {
    let resource = &target.resource;
    let (headers, bytes) = body::read(request).await?;
    let (mut object, mistakes) = body::parse_strictly(&headers, &bytes)?;
    fill_type(resource, &mut object);
    if resource.namespaced && target.namespace.is_none() {
        return Err(Status::bad_request("an empty namespace may not be set during creation"));
    }
    let write = write_options(query, &headers)?.with_mistakes(mistakes);
    let stored = api.create(resource, target.namespace(), object, &write)?;
    Ok(present::write_reply(resource, &stored, StatusCode::CREATED, &write.take_warnings()))
}

/// Handles PUT of an object.
pub(crate) async fn replace(
    api: &Api,
    target: &Target,
    query: &Query,
    request: Request<Body>,
) -> Result<Response, Status> {
    let resource = &target.resource;
    let (headers, bytes) = body::read(request).await?;
    let (mut object, mistakes) = body::parse_strictly(&headers, &bytes)?;
    fill_type(resource, &mut object);
    let write = write_options(query, &headers)?.with_mistakes(mistakes);
    let stored =
        api.update(resource, target.sub.as_ref(), target.namespace(), target.name(), &write, |_| Ok(object))?;
    Ok(present::write_reply(resource, &stored, StatusCode::OK, &write.take_warnings()))
}

/// Fills in API version and kind, which a body may leave out because the path has them.
fn fill_type(resource: &Resource, object: &mut Value) {
    if let Some(fields) = object.as_object_mut() {
        if fields.get("apiVersion").is_none_or(|value| value == "") {
            fields.insert("apiVersion".into(), json!(resource.api_version()));
        }
        if fields.get("kind").is_none_or(|value| value == "") {
            fields.insert("kind".into(), json!(resource.kind));
        }
    }
}

/// Patch in one of its formats.
pub(crate) enum Patch {
    Json(Value),
    Merge(Value),
    Strategic(Value),
    Apply(Value),
}

impl Patch {
    pub(crate) fn parse(headers: &HeaderMap, bytes: &[u8]) -> Result<Self, Status> {
        match body::media_type(headers) {
            "application/json-patch+json" => body::json(bytes).map(Self::Json),
            "application/merge-patch+json" => body::json(bytes).map(Self::Merge),
            "application/strategic-merge-patch+json" => body::json(bytes).map(Self::Strategic),
            "application/apply-patch+yaml" | "application/apply-patch+json" => body::yaml(bytes).map(Self::Apply),
            other => Err(Status::unsupported_media_type(
                other,
                "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml",
            )),
        }
    }

    fn body_form(&self) -> BodyForm {
        match self {
            Self::Json(_) | Self::Merge(_) | Self::Apply(_) => BodyForm::JsonPatch,
            Self::Strategic(changes) => BodyForm::StrategicPatch(pocket_object::strict::go_text(changes)),
        }
    }

    /// Returns the object after the patch.
    pub(crate) fn on(&self, resource: &Resource, live: &Value) -> Result<Value, Status> {
        let name = live.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        let patched = match self {
            Self::Json(operations) => patch::json_patch(live, operations),
            Self::Merge(changes) => patch::merge_patch(live, changes),
            Self::Strategic(changes) if resource.custom.is_none() => {
                patch::strategic_merge_patch(live, changes, resource.shape())
            }
            Self::Strategic(_) => {
                return Err(Status::unsupported_media_type(
                    "application/strategic-merge-patch+json",
                    "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
                ));
            }
            Self::Apply(_) => return Err(Status::internal("an apply patch is no change of an object")),
        };
        patched.map_err(|error| patch_failed(resource, name, &error))
    }
}

fn patch_failed(resource: &Resource, name: &str, error: &PatchError) -> Status {
    if matches!(error, PatchError::Unprocessable(_)) {
        let text = format!("{} \"{name}\" is invalid: {error}", resource.group_resource());
        // If the details had a kind and a name, kubectl would show these in place of the message.
        let mut status = Status::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", text);
        status.details = Some(Box::new(json!({})));
        return status;
    }
    Status::bad_request(error.to_string())
}

/// Handles PATCH of an object or of its status.
pub(crate) async fn patch(
    api: &Api,
    target: &Target,
    query: &Query,
    request: Request<Body>,
) -> Result<Response, Status> {
    let resource = &target.resource;
    let (headers, bytes) = body::read(request).await?;
    let patch = Patch::parse(&headers, &bytes)?;
    let mut write = write_options(query, &headers)?;
    write.body_form = patch.body_form();
    if matches!(patch, Patch::Merge(_) | Patch::Strategic(_)) {
        write.mistakes = body::json_strictly(&bytes)?.1;
    }
    let (namespace, name, sub) = (target.namespace(), target.name(), target.sub.as_ref());
    let (stored, made) = match patch {
        Patch::Apply(intent) => {
            if query.get("fieldManager").is_none() {
                return Err(Status::bad_request(
                    "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch",
                ));
            }
            let named = intent.pointer("/metadata/name").and_then(Value::as_str).unwrap_or(name);
            if named != name {
                return Err(Status::bad_request(format!(
                    "the name of the object ({named}) does not match the name on the URL ({name})"
                )));
            }
            api.apply(resource, sub, namespace, name, intent, query.flag("force"), &write)?
        }
        patch => {
            if query.get("force").is_some() {
                return Err(Status::bad_request(
                    "PatchOptions.meta.k8s.io \"\" is invalid: force: Forbidden: may not be specified for non-apply patch",
                ));
            }
            let stored = api.update(resource, sub, namespace, name, &write, |live| patch.on(resource, live))?;
            (stored, false)
        }
    };
    let code = if made { StatusCode::CREATED } else { StatusCode::OK };
    Ok(present::write_reply(resource, &stored, code, &write.take_warnings()))
}

/// Reads the options of a deletion from the body and the query.
pub(crate) fn delete_options(query: &Query, body: &Value) -> Result<DeleteOptions, Status> {
    let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let propagation = match text("/propagationPolicy")
        .or_else(|| query.get("propagationPolicy").map(str::to_owned))
        .as_deref()
    {
        Some("Orphan") => Some(Propagation::Orphan),
        Some("Background") => Some(Propagation::Background),
        Some("Foreground") => Some(Propagation::Foreground),
        Some(other) => {
            return Err(Status::bad_request(format!(
                "propagationPolicy: Unsupported value: \"{other}\": supported values: \"Background\", \"Foreground\", \"Orphan\""
            )));
        }
        None => match body["orphanDependents"]
            .as_bool()
            .or_else(|| query.get("orphanDependents").map(|_| query.flag("orphanDependents")))
        {
            Some(true) => Some(Propagation::Orphan),
            Some(false) => Some(Propagation::Background),
            None => None,
        },
    };
    let dry = body["dryRun"].as_array().is_some_and(|values| !values.is_empty());
    Ok(DeleteOptions {
        grace: body["gracePeriodSeconds"].as_i64().or(query.number("gracePeriodSeconds")?),
        uid: text("/preconditions/uid"),
        resource_version: text("/preconditions/resourceVersion"),
        propagation,
        dry_run: dry || query.dry_run()?,
    })
}

async fn read_delete_options(query: &Query, request: Request<Body>) -> Result<DeleteOptions, Status> {
    let (headers, bytes) = body::read(request).await?;
    let body = if bytes.is_empty() { Value::Null } else { body::parse(&headers, &bytes)? };
    delete_options(query, &body)
}

/// Handles DELETE of an object.
pub(crate) async fn delete(
    api: &Api,
    target: &Target,
    query: &Query,
    request: Request<Body>,
) -> Result<Response, Status> {
    let options = read_delete_options(query, request).await?;
    let resource = &target.resource;
    match api.delete(resource, target.namespace(), target.name(), &options)? {
        Deletion::Going(stored) => Ok(present::write_reply(resource, &stored, StatusCode::OK, &[])),
        // Pods and Services answer with the object, most kinds with a Status.
        Deletion::Gone(stored)
            if resource.group.is_empty() && matches!(resource.plural.as_ref(), "pods" | "services") =>
        {
            Ok(present::write_reply(resource, &stored, StatusCode::OK, &[]))
        }
        Deletion::Gone(stored) => {
            let uid = stored.value().pointer("/metadata/uid").cloned().unwrap_or_default();
            let mut details = json!({"name": target.name(), "kind": resource.plural, "uid": uid});
            if !resource.group.is_empty() {
                details["group"] = json!(resource.group);
            }
            Ok(json_reply(StatusCode::OK, &success(details)))
        }
    }
}

/// Handles DELETE of a collection: deletes each selected object by itself. An object that has been deleted meanwhile is no error.
pub(crate) async fn delete_collection(
    api: &Api,
    target: &Target,
    query: &Query,
    request: Request<Body>,
) -> Result<Response, Status> {
    let resource = &target.resource;
    let options = read_delete_options(query, request).await?;
    let selection = Selection::new(target, query)?;
    if resource.namespaced && target.namespace.is_none() {
        return Err(Status::method_not_allowed());
    }
    let (objects, revision) = api.store().snapshot(&resource.storage);
    let mut items = Vec::new();
    for stored in in_namespace(&objects, selection.namespace()).filter(|stored| selection.matches(stored)) {
        match api.delete(resource, stored.namespace(), stored.name(), &options) {
            Ok(_) => items.push(convert::value(resource, stored)),
            Err(error) if error.code == StatusCode::NOT_FOUND => {}
            Err(error) => return Err(error),
        }
    }
    let list = json!({"kind": resource.list_kind, "apiVersion": resource.api_version(),
        "metadata": {"resourceVersion": revision.to_string()}, "items": items});
    Ok(bytes_reply(StatusCode::OK, to_bytes(&list)))
}
