//! Discovery: groups, versions and kinds, in the old form and in the aggregated form.

use axum::{body::Body, response::Response};
use http::{HeaderValue, Request, StatusCode, header};
use serde_json::{Value, json};

use crate::{
    options::VersionInfo,
    registry::Registry,
    reply::json_reply,
    resource::{Resource, Subresource},
    status::Status,
};

/// Answers `/version`.
pub(crate) fn version(info: &VersionInfo) -> Value {
    json!({
        "major": info.major, "minor": info.minor, "gitVersion": info.git_version, "gitCommit": "",
        "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "rustc",
        "platform": format!("linux/{}", match std::env::consts::ARCH { "x86_64" => "amd64", "aarch64" => "arm64", other => other }),
    })
}

/// Answers `/`.
pub(crate) fn paths(registry: &Registry) -> Value {
    let mut paths = vec!["/api".to_owned(), "/api/v1".into(), "/apis".into()];
    for (group, versions) in registry.groups() {
        if !group.is_empty() {
            paths.push(format!("/apis/{group}"));
            paths.extend(versions.iter().map(|version| format!("/apis/{group}/{version}")));
        }
    }
    paths.extend(["/healthz", "/livez", "/openapi/v3", "/readyz", "/version"].map(str::to_owned));
    json!({ "paths": paths })
}

/// Returns the aggregated form that a client accepts, if any: `v2` or `v2beta1`.
fn aggregated(request: &Request<Body>) -> Option<&'static str> {
    let accept = request.headers().get(header::ACCEPT)?.to_str().ok()?;
    accept.split(',').find_map(|one| {
        let has = |parameter: &str| one.split(';').any(|part| part.trim() == parameter);
        if !one.trim().starts_with("application/json") || !has("as=APIGroupDiscoveryList") {
            return None;
        }
        ["v2", "v2beta1"].into_iter().find(|version| has(&format!("v={version}")))
    })
}

/// Answers `/api`.
pub(crate) fn core_versions(registry: &Registry, request: &Request<Body>) -> Response {
    match aggregated(request) {
        Some(version) => aggregated_reply(registry, version, true),
        None => json_reply(
            StatusCode::OK,
            &json!({"kind": "APIVersions", "versions": ["v1"],
                "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": ""}]}),
        ),
    }
}

/// Answers `/apis`.
pub(crate) fn groups(registry: &Registry, request: &Request<Body>) -> Response {
    if let Some(version) = aggregated(request) {
        return aggregated_reply(registry, version, false);
    }
    let groups: Vec<Value> = registry
        .groups()
        .into_iter()
        .filter(|(group, _)| !group.is_empty())
        .map(|(group, versions)| group_json(group, &versions))
        .collect();
    json_reply(StatusCode::OK, &json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}))
}

fn group_json(group: &str, versions: &[&str]) -> Value {
    let shown: Vec<Value> = versions
        .iter()
        .map(|version| json!({"groupVersion": format!("{group}/{version}"), "version": version}))
        .collect();
    json!({"name": group, "versions": shown, "preferredVersion": shown.first()})
}

/// Answers `/apis/GROUP`.
pub(crate) fn group(registry: &Registry, name: &str) -> Result<Response, Status> {
    let groups = registry.groups();
    let (group, versions) =
        groups.iter().find(|(group, _)| *group == name && !name.is_empty()).ok_or_else(Status::no_such_path)?;
    let mut shown = group_json(group, versions);
    shown["kind"] = json!("APIGroup");
    shown["apiVersion"] = json!("v1");
    Ok(json_reply(StatusCode::OK, &shown))
}

/// Answers `/api/v1` and `/apis/GROUP/VERSION`.
pub(crate) fn resources(registry: &Registry, group: &str, version: &str) -> Result<Response, Status> {
    if !registry.has_version(group, version) {
        return Err(Status::no_such_path());
    }
    let mut list = Vec::new();
    for resource in registry.all().filter(|known| known.group == group && known.version == version) {
        let mut shown = json!({
            "name": resource.plural, "singularName": resource.singular, "namespaced": resource.namespaced,
            "kind": resource.kind, "verbs": resource.verbs.names(),
        });
        if !resource.short_names.is_empty() {
            shown["shortNames"] = json!(resource.short_names);
        }
        if !resource.categories.is_empty() {
            shown["categories"] = json!(resource.categories);
        }
        list.push(shown);
        for sub in &resource.subresources {
            let mut shown = json!({
                "name": format!("{}/{}", resource.plural, sub.name()), "singularName": "",
                "namespaced": resource.namespaced, "kind": resource.kind, "verbs": sub.verbs(),
            });
            if let Some((group, version, kind)) = sub.serves() {
                shown["kind"] = json!(kind);
                if !group.is_empty() {
                    shown["group"] = json!(group);
                    shown["version"] = json!(version);
                }
            }
            list.push(shown);
        }
    }
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    Ok(json_reply(
        StatusCode::OK,
        &json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": list}),
    ))
}

/// Returns all of `/api` or all of `/apis` in one reply.
fn aggregated_reply(registry: &Registry, form: &str, core: bool) -> Response {
    let items: Vec<Value> = registry
        .groups()
        .into_iter()
        .filter(|(group, _)| group.is_empty() == core)
        .map(|(group, versions)| {
            let versions: Vec<Value> = versions
                .iter()
                .map(|version| {
                    let all = registry.all().filter(|known| known.group == group && known.version == *version);
                    let resources: Vec<Value> = all.map(|resource| aggregated_resource(resource)).collect();
                    json!({"version": version, "freshness": "Current", "resources": resources})
                })
                .collect();
            json!({"metadata": {"name": group, "creationTimestamp": null}, "versions": versions})
        })
        .collect();
    let api_version = format!("apidiscovery.k8s.io/{form}");
    let list = json!({"kind": "APIGroupDiscoveryList", "apiVersion": api_version, "metadata": {}, "items": items});
    let mut reply = json_reply(StatusCode::OK, &list);
    let type_ = format!("application/json;g=apidiscovery.k8s.io;v={form};as=APIGroupDiscoveryList");
    if let Ok(value) = HeaderValue::from_str(&type_) {
        reply.headers_mut().insert(header::CONTENT_TYPE, value);
    }
    reply.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    reply
}

fn aggregated_resource(resource: &Resource) -> Value {
    let own = json!({"group": resource.group, "version": resource.version, "kind": resource.kind});
    let subresources: Vec<Value> = resource
        .subresources
        .iter()
        .map(|sub: &Subresource| {
            let kind = match sub.serves() {
                Some((group, version, kind)) => json!({"group": group, "version": version, "kind": kind}),
                None => own.clone(),
            };
            json!({"subresource": sub.name(), "responseKind": kind, "verbs": sub.verbs()})
        })
        .collect();
    let mut shown = json!({
        "resource": resource.plural, "responseKind": own, "singularResource": resource.singular,
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" }, "verbs": resource.verbs.names(),
    });
    for (field, names) in [("shortNames", &resource.short_names), ("categories", &resource.categories)] {
        if !names.is_empty() {
            shown[field] = json!(names);
        }
    }
    if !subresources.is_empty() {
        shown["subresources"] = json!(subresources);
    }
    shown
}
