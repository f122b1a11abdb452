//! Schemas of the served kinds: for `kubectl explain`, validation and editors.
//!
//! The documents are large and rarely requested, so each is made on demand and not kept.

mod builtin;

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::{body::Body, response::Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};

use crate::{
    Api,
    registry::Registry,
    reply::json_reply,
    resource::{Resource, Subresource, Verbs},
    status::Status,
};

/// Returns whether a built-in kind has a schema.
#[cfg(test)]
pub(crate) fn has(group: &str, kind: &str) -> bool {
    builtin::reference(&mut builtin::generator(), group, kind).is_some()
}

/// Answers `/openapi/v3` and the documents below it.
pub(crate) fn v3(registry: &Registry, rest: &[&str]) -> Result<Response, Status> {
    let (group, version) = match rest {
        [] => return Ok(json_reply(StatusCode::OK, &index(registry))),
        ["api", version] => ("", *version),
        ["apis", group, version] => (*group, *version),
        _ => return Err(Status::no_such_path()),
    };
    if !registry.has_version(group, version) {
        return Err(Status::no_such_path());
    }
    Ok(json_reply(StatusCode::OK, &document(registry, group, version)))
}

/// Answers `/openapi/v2` with the minimum that old clients need to continue. They read the v3 documents, or do without.
///
/// Old clients insist on protobuf, so the reply is an empty document in it: `swagger` (1) and `info` (2) with title and version.
pub(crate) fn v2(api: &Api, headers: &HeaderMap) -> Response {
    let version = &api.options().version.git_version;
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !accept.contains("proto-openapi.spec.v2") {
        let document = json!({"swagger": "2.0", "info": info(version), "paths": {}, "definitions": {}});
        return json_reply(StatusCode::OK, &document);
    }
    let text = |number: u8, text: &[u8]| {
        let text = text.get(..text.len().min(100)).unwrap_or_default();
        [&[number << 3 | 2, u8::try_from(text.len()).unwrap_or(0)], text].concat()
    };
    let info = [text(1, b"Kubernetes"), text(2, version.as_bytes())].concat();
    let mut reply = Response::new(Body::from([text(1, b"2.0"), text(2, &info)].concat()));
    let type_ = HeaderValue::from_static("application/com.github.proto-openapi.spec.v2.v1.0+protobuf");
    reply.headers_mut().insert(header::CONTENT_TYPE, type_);
    reply
}

fn info(version: &str) -> Value {
    json!({"title": "Kubernetes", "version": version})
}

fn index(registry: &Registry) -> Value {
    let mut paths = Map::new();
    for (group, versions) in registry.groups() {
        for version in versions {
            let path = if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") };
            // Clients keep a document as long as its address is the same.
            let mut hasher = DefaultHasher::new();
            env!("CARGO_PKG_VERSION").hash(&mut hasher);
            for resource in registry.all().filter(|known| known.group == group && known.version == version) {
                resource.plural.hash(&mut hasher);
                if let Some(custom) = &resource.custom {
                    custom.schema_json().to_string().hash(&mut hasher);
                }
            }
            let address = format!("/openapi/v3/{path}?hash={:016X}", hasher.finish());
            paths.insert(path, json!({"serverRelativeURL": address}));
        }
    }
    json!({ "paths": paths })
}

fn document(registry: &Registry, group: &str, version: &str) -> Value {
    let mut paths = Map::new();
    let mut schemas = builtin::Schemas::new();
    for resource in registry.all().filter(|known| known.group == group && known.version == version) {
        let reference = match &resource.custom {
            Some(custom) => schemas.add_custom(resource, custom.schema_json()),
            None => schemas.add(resource),
        };
        add_paths(&mut paths, resource, reference.as_deref());
    }
    json!({
        "openapi": "3.0.0", "info": info("unversioned"), "paths": paths,
        "components": {"schemas": schemas.finish()},
    })
}

fn parameter(name: &str, type_: &str, description: &str) -> Value {
    json!({"name": name, "in": "query", "description": description,
        "schema": {"type": type_, "uniqueItems": true}})
}

fn write_parameters(patch: bool) -> Vec<Value> {
    let mut all = vec![
        parameter("dryRun", "string", "When present, indicates that modifications should not be persisted."),
        parameter("fieldManager", "string", "The name of who makes the change."),
        parameter("fieldValidation", "string", "What to do with unknown or duplicate fields: Ignore, Warn or Strict."),
    ];
    if patch {
        all.push(parameter("force", "boolean", "Take fields from other managers. Only for apply."));
    }
    all
}

fn add_paths(paths: &mut Map<String, Value>, resource: &Resource, schema: Option<&str>) {
    let gvk = json!({"group": resource.group, "version": resource.version, "kind": resource.kind});
    let content = |reference: Option<&str>| match reference {
        Some(name) => json!({"application/json": {"schema": {"$ref": format!("#/components/schemas/{name}")}}}),
        None => json!({"application/json": {"schema": {"type": "object"}}}),
    };
    let operation = |action: &str, parameters: Vec<Value>, body: bool| {
        let mut shown = json!({
            "x-kubernetes-action": action, "x-kubernetes-group-version-kind": gvk, "parameters": parameters,
            "responses": {"200": {"description": "OK", "content": content(schema)}},
        });
        if body {
            shown["requestBody"] = json!({"content": content(schema)});
        }
        shown
    };
    let base = match resource.group.as_ref() {
        "" => format!("/api/{}", resource.version),
        group => format!("/apis/{group}/{}", resource.version),
    };
    let base = match resource.namespaced {
        true => format!("{base}/namespaces/{{namespace}}/{}", resource.plural),
        false => format!("{base}/{}", resource.plural),
    };
    let mut collection = json!({"post": operation("post", write_parameters(false), true)});
    if resource.verbs == Verbs::All {
        collection["get"] = operation("list", Vec::new(), false);
        collection["delete"] = operation("deletecollection", Vec::new(), false);
        let item = json!({
            "get": operation("get", Vec::new(), false),
            "put": operation("put", write_parameters(false), true),
            "patch": operation("patch", write_parameters(true), true),
            "delete": operation("delete", Vec::new(), false),
        });
        for sub in &resource.subresources {
            if matches!(sub, Subresource::Status) {
                paths.insert(
                    format!("{base}/{{name}}/status"),
                    json!({
                        "get": operation("get", Vec::new(), false),
                        "put": operation("put", write_parameters(false), true),
                        "patch": operation("patch", write_parameters(true), true),
                    }),
                );
            }
        }
        paths.insert(format!("{base}/{{name}}"), item);
    }
    paths.insert(base, collection);
}
