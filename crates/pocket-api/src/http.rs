//! HTTP: conversion of requests to operations, and of results to replies.

mod body;
mod list;
mod present;
pub(crate) mod protobuf;
mod proxy;
mod questions;
mod subresource;
mod watch;
mod write;

use axum::{
    Router,
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{Method, Request, StatusCode};

use self::present::Form;
use crate::{
    Api, discovery, openapi,
    reply::json_reply,
    request::{Query, Target},
    resource::Verbs,
    status::Status,
};

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
    if target.resource.verbs == Verbs::Create {
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
