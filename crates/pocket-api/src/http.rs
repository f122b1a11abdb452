//! HTTP: conversion of requests to operations, and of results to replies.

mod body;
pub(crate) mod convert;
mod list;
mod present;
mod protobuf;
mod proxy;
mod questions;
mod request;
mod subresource;
mod watch;
mod write;

use axum::{
    Router,
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, Method, Request, StatusCode, header};
use serde_json::{Value, json};

pub(crate) use self::{
    present::Form,
    request::{Query, Target},
};
use crate::{Api, discovery, openapi, status::Status};

/// Returns the router. One handler serves all paths, because definitions change which paths there are.
pub(crate) fn router(api: Api) -> Router {
    Router::new().fallback(handle).with_state(api)
}

async fn handle(State(api): State<Api>, request: Request<Body>) -> Response {
    route(&api, request).await.unwrap_or_else(IntoResponse::into_response)
}

async fn route(api: &Api, request: Request<Body>) -> Result<Response, Status> {
    let path = request.uri().path().to_owned();
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    match parts.as_slice() {
        [] => Ok(json_reply(StatusCode::OK, &discovery::paths(&api.registry()))),
        ["healthz" | "livez" | "readyz", ..] => Ok("ok".into_response()),
        ["version"] => Ok(json_reply(StatusCode::OK, &discovery::version(&api.options().version))),
        ["api"] => Ok(discovery::core_versions(&api.registry(), &request)),
        ["apis"] => Ok(discovery::groups(&api.registry(), &request)),
        ["apis", group] => discovery::group(&api.registry(), group),
        ["api", version] => discovery::resources(&api.registry(), "", version),
        ["apis", group, version] => discovery::resources(&api.registry(), group, version),
        ["openapi", "v3", rest @ ..] => openapi::v3(&api.registry(), rest),
        ["openapi", "v2"] => Ok(openapi::v2(api, request.headers())),
        ["api", version, rest @ ..] => resource(api, request, "", version, rest).await,
        ["apis", group, version, rest @ ..] => resource(api, request, group, version, rest).await,
        _ => Err(Status::no_such_path()),
    }
}

async fn resource(
    api: &Api,
    request: Request<Body>,
    group: &str,
    version: &str,
    rest: &[&str],
) -> Result<Response, Status> {
    let target = Target::find(&api.registry(), group, version, rest)?;
    let query = Query::parse(request.uri());
    let method = request.method().clone();
    if target.resource.verbs == crate::Verbs::Create {
        return match method {
            Method::POST => questions::answer(api, &target, request).await,
            _ => Err(Status::method_not_allowed()),
        };
    }
    match (&method, target.name.is_some(), target.sub.is_some()) {
        (_, true, true) => subresource::handle(api, &target, &query, request).await,
        (&Method::GET | &Method::HEAD, named, false) => {
            let form = Form::accepted(request.headers())?;
            // The old `/watch/` paths are not served; `?watch=1` is the only way to watch.
            if query.flag("watch") {
                watch::watch(api, &target, &query, form)
            } else if named {
                present::one(api, &target, &query, form)
            } else {
                list::list(api, &target, &query, form)
            }
        }
        (&Method::POST, false, false) => write::create(api, &target, &query, request).await,
        (&Method::PUT, true, false) => write::replace(api, &target, &query, request).await,
        (&Method::PATCH, true, false) => write::patch(api, &target, &query, request).await,
        (&Method::DELETE, true, false) => write::delete(api, &target, &query, request).await,
        (&Method::DELETE, false, false) => write::delete_collection(api, &target, &query, request).await,
        _ => Err(Status::method_not_allowed()),
    }
}

/// Returns a JSON reply.
pub(crate) fn json_reply(code: StatusCode, value: &Value) -> Response {
    bytes_reply(code, crate::store::to_bytes(value))
}

/// Returns a reply whose body is already JSON.
pub(crate) fn bytes_reply(code: StatusCode, bytes: bytes::Bytes) -> Response {
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Returns the `metav1.Status` of a success.
pub(crate) fn success(details: Value) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}
