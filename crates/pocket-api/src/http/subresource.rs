//! Subresources: paths below an object.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use futures::StreamExt;
use http::{HeaderValue, Method, Request, StatusCode, header};
use serde_json::{Value, json};

use super::{
    body, present, proxy,
    write::{self, Patch, delete_options, write_options},
};
use crate::{
    Api, convert,
    json::object,
    node::{LogRequest, NodeAccess},
    reply::{json_reply, success},
    request::{Query, Target},
    resource::{Resource, ScalePaths, Subresource},
    status::Status,
    websocket,
    write_options::WriteOptions,
};

/// Answers a request for a subresource.
pub(crate) async fn handle(
    api: &Api,
    target: &Target,
    query: &Query,
    request: Request<Body>,
) -> Result<Response, Status> {
    let Some(sub) = &target.sub else { return Err(Status::no_such_path()) };
    match (sub, request.method()) {
        (Subresource::Status, &Method::GET) => {
            present::one(api, target, query, present::Form::accepted(request.headers())?)
        }
        (Subresource::Status, &Method::PUT) => write::replace(api, target, query, request).await,
        (Subresource::Status, &Method::PATCH) => write::patch(api, target, query, request).await,
        (Subresource::Scale(paths), &Method::GET | &Method::PUT | &Method::PATCH) => {
            scale(api, target, paths, query, request).await
        }
        (Subresource::Binding, &Method::POST) => bind(api, target, query, request).await,
        (Subresource::Eviction, &Method::POST) => evict(api, target, query, request).await,
        (Subresource::Finalize, &Method::PUT) => finalize(api, target, query, request).await,
        (Subresource::Token, &Method::POST) => token(api, target, request).await,
        (Subresource::Log, &Method::GET) => log(api, target, query).await,
        (Subresource::Exec, &Method::GET | &Method::POST) => {
            let container = container(api, target, query)?;
            websocket::exec(node(api)?, target, container, query, request).await
        }
        (Subresource::PortForward, &Method::GET | &Method::POST) => {
            api.live(&target.resource, target.namespace(), target.name())?;
            websocket::port_forward(node(api)?, target, query, request).await
        }
        (Subresource::Proxy(_), _) => proxy::handle(api, target, request).await,
        _ => Err(Status::method_not_allowed()),
    }
}

pub(super) fn node(api: &Api) -> Result<std::sync::Arc<dyn NodeAccess>, Status> {
    api.node().ok_or_else(|| {
        Status::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", "the node is not running yet: try again")
    })
}

/// Returns the Scale of an object.
fn scale_of(resource: &Resource, paths: &ScalePaths, live: &Value) -> Value {
    let metadata = &live["metadata"];
    let number = |pointer: &str| live.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
    let selector = match paths.selector.as_deref().and_then(|pointer| live.pointer(pointer)) {
        Some(Value::String(text)) => text.clone(),
        Some(selector) => selector_text(selector),
        None => String::new(),
    };
    let mut status = json!({"replicas": number(&paths.status)});
    if !selector.is_empty() {
        status["selector"] = json!(selector);
    }
    let mut kept = json!({});
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = metadata.get(field) {
            kept[field] = value.clone();
        }
    }
    let _ = resource;
    json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": kept,
        "spec": {"replicas": number(&paths.spec)}, "status": status})
}

/// Returns a label selector in the clients' notation: `app=web,tier in (a,b)`.
fn selector_text(selector: &Value) -> String {
    let mut parts = Vec::new();
    let labels = selector.get("matchLabels").or_else(|| selector.get("matchExpressions").is_none().then_some(selector));
    for (name, value) in labels.and_then(Value::as_object).into_iter().flatten() {
        parts.push(format!("{name}={}", value.as_str().unwrap_or_default()));
    }
    for expression in selector.get("matchExpressions").and_then(Value::as_array).into_iter().flatten() {
        let name = expression["key"].as_str().unwrap_or_default();
        let values: Vec<&str> =
            expression["values"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        parts.push(match expression["operator"].as_str() {
            Some("In") => format!("{name} in ({})", values.join(",")),
            Some("NotIn") => format!("{name} notin ({})", values.join(",")),
            Some("DoesNotExist") => format!("!{name}"),
            _ => name.to_owned(),
        });
    }
    parts.join(",")
}

async fn scale(
    api: &Api,
    target: &Target,
    paths: &ScalePaths,
    query: &Query,
    request: Request<Body>,
) -> Result<Response, Status> {
    let resource = &target.resource;
    if request.method() == Method::GET {
        let live = convert::value(resource, &*api.live(resource, target.namespace(), target.name())?);
        return Ok(present::plain(&scale_of(resource, paths, &live)));
    }
    let replace = request.method() == Method::PUT;
    let (headers, bytes) = body::read(request).await?;
    let patch = if replace { None } else { Some(Patch::parse(&headers, &bytes)?) };
    let body = if replace { body::parse(&headers, &bytes)? } else { Value::Null };
    let write = write_options(query, &headers)?;
    let stored = api.update(resource, target.sub.as_ref(), target.namespace(), target.name(), &write, |live| {
        let scale = scale_of(resource, paths, live);
        let wanted = match &patch {
            None => body,
            Some(Patch::Apply(intent)) => Patch::Merge(intent.clone()).on(resource, &scale)?,
            // A Scale has no lists, so a strategic merge is a merge.
            Some(Patch::Strategic(changes)) => Patch::Merge(changes.clone()).on(resource, &scale)?,
            Some(patch) => patch.on(resource, &scale)?,
        };
        set_scale(resource, paths, live, &wanted)
    })?;
    let scale = scale_of(resource, paths, &convert::value(resource, &stored));
    Ok(present::plain(&scale))
}

/// Returns the object with the number of replicas that a Scale wants.
fn set_scale(resource: &Resource, paths: &ScalePaths, live: &Value, wanted: &Value) -> Result<Value, Status> {
    let name = live.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let replicas = wanted.pointer("/spec/replicas").cloned().unwrap_or_else(|| json!(0));
    if replicas.as_i64().is_none_or(|number| !(0..=i64::from(i32::MAX)).contains(&number)) {
        let errors =
            [pocket_object::FieldError::invalid("spec.replicas", &replicas, "must be greater than or equal to 0")];
        return Err(Status::invalid(resource, name, &errors));
    }
    let mut new = live.clone();
    for field in ["resourceVersion", "uid"] {
        if let Some(value) = wanted.pointer(&format!("/metadata/{field}")) {
            object(&mut new, "metadata").insert(field.into(), value.clone());
        }
    }
    let steps: Vec<&str> = paths.spec.split('/').filter(|step| !step.is_empty()).collect();
    set(&mut new, &steps, replicas);
    Ok(new)
}

/// Sets the value at a path, and creates the objects on the way.
fn set(value: &mut Value, steps: &[&str], to: Value) {
    match steps {
        [] => *value = to,
        [first, rest @ ..] => {
            if !value.is_object() {
                *value = json!({});
            }
            if let Some(fields) = value.as_object_mut() {
                set(fields.entry(*first).or_insert(Value::Null), rest, to);
            }
        }
    }
}

/// Binds a pod to a node, for a scheduler.
async fn bind(api: &Api, target: &Target, query: &Query, request: Request<Body>) -> Result<Response, Status> {
    let (headers, bytes) = body::read(request).await?;
    let binding = body::parse(&headers, &bytes)?;
    let write = write_options(query, &headers)?;
    let node = binding.pointer("/target/name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let kind = binding.pointer("/target/kind").and_then(Value::as_str).unwrap_or("Node");
    if node.is_empty() || !matches!(kind, "" | "Node") {
        return Err(Status::bad_request("target.name: Required value: a Binding must name a Node"));
    }
    let (resource, name) = (&target.resource, target.name());
    api.bind(resource, target.namespace(), name, &node, &write)?;
    Ok(json_reply(
        StatusCode::CREATED,
        &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}),
    ))
}

async fn evict(api: &Api, target: &Target, query: &Query, request: Request<Body>) -> Result<Response, Status> {
    let (headers, bytes) = body::read(request).await?;
    let eviction = body::parse(&headers, &bytes)?;
    if eviction.pointer("/metadata/name").and_then(Value::as_str).is_some_and(|name| name != target.name()) {
        return Err(Status::bad_request("name in URL does not match name in Eviction object"));
    }
    let mut options = delete_options(query, eviction.get("deleteOptions").unwrap_or(&Value::Null))?;
    options.dry_run |= query.dry_run()?;
    api.evict(&target.resource, target.namespace(), target.name(), &options)?;
    let mut reply = success(json!({}));
    reply["code"] = json!(201);
    Ok(json_reply(StatusCode::CREATED, &reply))
}

async fn finalize(api: &Api, target: &Target, query: &Query, request: Request<Body>) -> Result<Response, Status> {
    let (headers, bytes) = body::read(request).await?;
    let wanted = body::parse(&headers, &bytes)?;
    let write = write_options(query, &headers)?;
    let stored = api.finalize(&target.resource, target.name(), &wanted, &write)?;
    Ok(present::write_reply(&target.resource, &stored, StatusCode::OK, &[]))
}

async fn token(api: &Api, target: &Target, request: Request<Body>) -> Result<Response, Status> {
    let (headers, bytes) = body::read(request).await?;
    let mut wanted = body::parse(&headers, &bytes)?;
    let account = api.live(&target.resource, target.namespace(), target.name())?;
    api.issue_token(&account, &mut wanted)?;
    Ok(json_reply(StatusCode::CREATED, &wanted))
}

/// Returns the container that a request is about: the one it names, else the only one, else the default one.
fn container(api: &Api, target: &Target, query: &Query) -> Result<String, Status> {
    let pod = api.live(&target.resource, target.namespace(), target.name())?.value();
    let names = |lists: &[&str]| -> Vec<String> {
        let containers = lists.iter().filter_map(|list| pod.pointer(list)?.as_array()).flatten();
        containers.filter_map(|container| container["name"].as_str()).map(str::to_owned).collect()
    };
    let name = target.name();
    if let Some(wanted) = query.get("container") {
        let all = names(&["/spec/containers", "/spec/initContainers", "/spec/ephemeralContainers"]);
        return match all.iter().any(|known| known == wanted) {
            true => Ok(wanted.to_owned()),
            false => Err(Status::bad_request(format!("container {wanted} is not valid for pod {name}"))),
        };
    }
    let usual = names(&["/spec/containers"]);
    let annotated = pod
        .pointer("/metadata/annotations")
        .and_then(|annotations| annotations.get("kubectl.kubernetes.io/default-container")?.as_str())
        .filter(|wanted| usual.iter().any(|known| known == wanted));
    match (annotated, usual.as_slice()) {
        (Some(wanted), _) => Ok(wanted.to_owned()),
        (None, [only]) => Ok(only.clone()),
        (None, _) => Err(Status::bad_request(format!(
            "a container name must be specified for pod {name}, choose one of: [{}]",
            usual.join(" ")
        ))),
    }
}

async fn log(api: &Api, target: &Target, query: &Query) -> Result<Response, Status> {
    let container = container(api, target, query)?;
    let since = match (query.number::<i64>("sinceSeconds")?, query.get("sinceTime")) {
        (Some(seconds), _) => jiff::Timestamp::now().checked_sub(jiff::SignedDuration::from_secs(seconds)).ok(),
        (None, Some(text)) => Some(
            text.parse()
                .map_err(|error| Status::bad_request(format!("sinceTime: Invalid value: \"{text}\": {error}")))?,
        ),
        (None, None) => None,
    };
    let request = LogRequest {
        namespace: target.namespace().to_owned(),
        pod: target.name().to_owned(),
        container,
        follow: query.flag("follow"),
        previous: query.flag("previous"),
        timestamps: query.flag("timestamps"),
        tail_lines: query.number("tailLines")?,
        since,
        limit_bytes: query.number("limitBytes")?,
    };
    let stream = node(api)?.logs(request).await?;
    let mut response = Body::from_stream(stream.map(Ok::<_, std::convert::Infallible>)).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    Ok(response)
}

impl Api {
    /// Binds a pod to a node; a bound pod cannot be bound again.
    fn bind(
        &self,
        pods: &Resource,
        namespace: &str,
        name: &str,
        node: &str,
        write: &WriteOptions,
    ) -> Result<(), Status> {
        self.update(pods, Some(&Subresource::Binding), namespace, name, write, |live| {
            if live.pointer("/metadata/deletionTimestamp").is_some() {
                return Err(Status::conflict(
                    pods,
                    name,
                    &format!("pod {name} is being deleted, cannot be assigned to a host"),
                ));
            }
            if let Some(there) =
                live.pointer("/spec/nodeName").and_then(Value::as_str).filter(|there| !there.is_empty())
            {
                return Err(Status::conflict(
                    pods,
                    name,
                    &format!("pod {name} is already assigned to node \"{there}\""),
                ));
            }
            let mut new = live.clone();
            object(&mut new, "spec").insert("nodeName".into(), json!(node));
            let conditions = object(&mut new, "status").entry("conditions").or_insert_with(|| json!([]));
            if let Some(conditions) = conditions.as_array_mut() {
                conditions.retain(|condition| condition["type"] != "PodScheduled");
                conditions.push(json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null,
                    "lastTransitionTime": write.now}));
            }
            Ok(new)
        })
        .map(drop)
    }
}
