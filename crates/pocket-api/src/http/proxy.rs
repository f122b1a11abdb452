//! Proxy: requests that are passed on to a port of a pod, directly or behind a Service.

use std::{sync::Arc, time::Duration};

use axum::{body::Body, response::Response};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header,
    uri::{PathAndQuery, Scheme},
};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use pocket_object::selector::LabelSelector;
use rand::seq::IndexedRandom;
use serde_json::Value;

use super::subresource::node;
use crate::{
    Api,
    node::Duplex,
    request::Target,
    resource::Resource,
    status::Status,
    store::{Stored, in_namespace},
};

/// Time that a pod may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(30);
/// Headers that concern one connection only.
const HOP_BY_HOP: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
];

/// Handles `…/proxy` and `…/proxy/{path}`.
pub(crate) async fn handle(api: &Api, target: &Target, request: Request<Body>) -> Result<Response, Status> {
    let (base, path) = split(request.uri().path());
    if path.is_empty() && matches!(*request.method(), Method::GET | Method::HEAD) {
        // With the redirect, relative links of the page lead to the same pod.
        return redirect(&format!("{base}/"), request.uri().query());
    }
    let name = ProxyName::parse(target.name())?;
    let (pod, port) = match target.resource.plural.as_ref() {
        "services" => behind(api, target, &name)?,
        _ => (name.name.to_owned(), pod_port(api, target, &name)?),
    };
    let (base, path) = (base.to_owned(), path.to_owned());
    let connecting = node(api)?.port_forward(target.namespace(), &pod, port);
    let connected = tokio::time::timeout(CONNECT, connecting).await;
    let connected = connected.map_err(|_| unreachable(&format!("no answer from port {port} of pod {pod}")))?;
    let connection = connected.map_err(|error| unreachable(&error))?;
    pass_on(connection, request, &base, &path).await
}

/// Splits a path, as it was sent, into the part up to and with `/proxy` and the part behind it.
fn split(path: &str) -> (&str, &str) {
    let mut end = 0;
    // Steps: api, v1, namespaces, the namespace, the kind, the name, proxy.
    for _ in 0..7 {
        let rest = &path[end..];
        let start = end + rest.len() - rest.trim_start_matches('/').len();
        end = path[start..].find('/').map_or(path.len(), |length| start + length);
    }
    path.split_at(end)
}

fn redirect(to: &str, query: Option<&str>) -> Result<Response, Status> {
    let to = query.map_or_else(|| to.to_owned(), |query| format!("{to}?{query}"));
    let location = HeaderValue::from_str(&to).map_err(|_| Status::no_such_path())?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}

/// Name in the path: `name`, `name:port` or `scheme:name:port`.
#[derive(Debug, PartialEq, Eq)]
struct ProxyName<'a> {
    name: &'a str,
    /// Port; empty if none was given.
    port: &'a str,
}

impl<'a> ProxyName<'a> {
    fn parse(text: &'a str) -> Result<Self, Status> {
        let parts: Vec<&str> = text.split(':').collect();
        let (scheme, name, port) = match parts.as_slice() {
            [name] => ("", *name, ""),
            [name, port] => ("", *name, *port),
            [scheme, name, port] => (*scheme, *name, *port),
            _ => ("", "", ""),
        };
        match scheme {
            _ if name.is_empty() => Err(Status::bad_request(format!("invalid proxy request \"{text}\""))),
            "" | "http" => Ok(Self { name, port }),
            _ => Err(Status::bad_request(format!(
                "invalid proxy request \"{text}\": this cluster passes on plain HTTP only"
            ))),
        }
    }
}

/// Returns the requested port, else the first port that a container names, else 80.
fn pod_port(api: &Api, target: &Target, name: &ProxyName<'_>) -> Result<u16, Status> {
    let pod = api.live(&target.resource, target.namespace(), name.name)?.value();
    if !name.port.is_empty() {
        return port_number(name.port);
    }
    let containers = pod.pointer("/spec/containers").and_then(Value::as_array);
    let first = containers.into_iter().flatten().find_map(|container| container.pointer("/ports/0/containerPort"));
    Ok(first.and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok()).unwrap_or(80))
}

fn port_number(text: &str) -> Result<u16, Status> {
    text.parse().ok().filter(|port| *port > 0).ok_or_else(|| {
        Status::bad_request(format!("invalid port \"{text}\" in the proxy request: must be between 1 and 65535"))
    })
}

/// Returns a pod behind a Service's port, and its port there.
fn behind(api: &Api, target: &Target, name: &ProxyName<'_>) -> Result<(String, u16), Status> {
    let namespace = target.namespace();
    let service = api.live(&target.resource, namespace, name.name)?.value();
    let ports = service.pointer("/spec/ports").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let wanted = |port: &&Value| {
        port["name"].as_str() == Some(name.port) || name.port.parse().is_ok_and(|number: u64| port["port"] == number)
    };
    let port = match (name.port, ports) {
        ("", [only]) => only,
        _ => ports.iter().find(wanted).ok_or_else(|| {
            unavailable(format!("no service port \"{}\" found for service \"{}\"", name.port, name.name))
        })?,
    };
    let port_name = port["name"].as_str().unwrap_or_default();
    let registry = api.registry();
    let slices = registry.built_in("discovery.k8s.io", "endpointslices");
    let endpoints: Vec<_> =
        slices.map(|slices| endpoints(api, slices, namespace, name.name, port_name)).unwrap_or_default();
    endpoints
        .choose(&mut rand::rng())
        .cloned()
        .ok_or_else(|| unavailable(format!("no endpoints available for service \"{}\"", name.name)))
}

/// Returns the names of the ready pods behind a Service, each with its port of that name.
fn endpoints(api: &Api, slices: &Resource, namespace: &str, service: &str, port: &str) -> Vec<(String, u16)> {
    let Ok(selector) = LabelSelector::parse(&format!("kubernetes.io/service-name={service}")) else {
        return Vec::new();
    };
    let (objects, _) = api.store().snapshot(&slices.storage);
    let mine = in_namespace(&objects, Some(namespace)).filter(|slice| selector.matches(&slice.labels));
    mine.flat_map(|slice: &Arc<Stored>| {
        let slice = slice.value();
        let ports = slice["ports"].as_array().map(Vec::as_slice).unwrap_or_default();
        let number = ports
            .iter()
            .find(|known| known["name"].as_str().unwrap_or_default() == port)
            .and_then(|known| u16::try_from(known["port"].as_u64()?).ok());
        let endpoints = slice["endpoints"].as_array().cloned().unwrap_or_default();
        endpoints.into_iter().filter_map(move |endpoint| {
            // An absent `ready` means true.
            let ready = endpoint.pointer("/conditions/ready").and_then(Value::as_bool) != Some(false);
            let pod = endpoint.pointer("/targetRef/name")?.as_str()?;
            Some((pod.to_owned(), number?)).filter(|_| ready)
        })
    })
    .collect()
}

fn unavailable(message: String) -> Status {
    Status::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message)
}

/// Returns the error of the API server for a port that does not answer.
fn unreachable(why: &dyn std::fmt::Display) -> Status {
    unavailable(format!("error trying to reach service: {why}"))
}

/// Sends the request through a connection of its own. The bodies are streamed both ways, upgrades included.
async fn pass_on(
    connection: Box<dyn Duplex>,
    mut request: Request<Body>,
    base: &str,
    path: &str,
) -> Result<Response, Status> {
    let client = request.extensions_mut().remove::<hyper::upgrade::OnUpgrade>();
    let request = rewrite(request, path)?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(connection)).await.map_err(|error| unreachable(&error))?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a connection to a pod ended");
        }
    });
    let mut response = sender.send_request(request).await.map_err(|error| unreachable(&in_words(&error)))?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let Some(client) = client else {
            return Err(Status::bad_request("this connection cannot be upgraded"));
        };
        let pod = hyper::upgrade::on(&mut response);
        tokio::spawn(async move {
            if let (Ok(client), Ok(pod)) = tokio::join!(client, pod) {
                let _ = tokio::io::copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(pod)).await;
            }
        });
    } else {
        remove_hop_by_hop(response.headers_mut());
    }
    relocate(response.headers_mut(), base);
    Ok(response.map(Body::new))
}

fn in_words(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// Returns the request for the pod: with its own path and the caller's host, and without the headers of the caller's connection.
fn rewrite(request: Request<Body>, path: &str) -> Result<Request<Body>, Status> {
    let (mut parts, body) = request.into_parts();
    let original = parts.uri.clone();
    let path = if path.is_empty() { "/" } else { path };
    let path = original.query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    parts.uri = path.parse::<PathAndQuery>().map(Uri::from).map_err(|error| Status::bad_request(error.to_string()))?;
    parts.version = http::Version::HTTP_11;
    let upgrade = parts.headers.get(header::UPGRADE).cloned();
    remove_hop_by_hop(&mut parts.headers);
    if upgrade.is_some() {
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    }
    // A pod must not see the caller's credentials.
    parts.headers.remove(header::AUTHORIZATION);
    let host = original.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    let host =
        parts.headers.entry(header::HOST).or_insert(host.unwrap_or(HeaderValue::from_static("localhost"))).clone();
    let proto = if original.scheme() == Some(&Scheme::HTTP) { "http" } else { "https" };
    parts.headers.insert(HeaderName::from_static("x-forwarded-host"), host);
    parts.headers.insert(HeaderName::from_static("x-forwarded-proto"), HeaderValue::from_static(proto));
    if let Ok(path) = HeaderValue::from_str(original.path()) {
        parts.headers.insert(HeaderName::from_static("x-forwarded-uri"), path);
    }
    Ok(Request::from_parts(parts, body))
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .filter(|name| *name != header::UPGRADE)
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

/// Rewrites a redirect to a path of the pod so that it leads through the proxy.
fn relocate(headers: &mut HeaderMap, base: &str) {
    let moved = headers.get(header::LOCATION).and_then(|location| location.to_str().ok());
    let moved = moved.filter(|location| location.starts_with('/') && !location.starts_with("//"));
    if let Some(location) = moved.and_then(|location| HeaderValue::from_str(&format!("{base}{location}")).ok()) {
        headers.insert(header::LOCATION, location);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (text, expected) in [
            ("web", Some(("web", ""))),
            ("web:8080", Some(("web", "8080"))),
            ("http:web:http", Some(("web", "http"))),
            (":web:80", Some(("web", "80"))),
            ("https:web:443", None),
            ("a:b:c:d", None),
            (":80", None),
        ] {
            let parsed = ProxyName::parse(text);
            assert_eq!(parsed.ok().map(|name| (name.name, name.port)), expected, "{text}");
        }
    }

    #[test]
    fn paths_stay_as_they_were_sent() {
        for (path, base, rest) in [
            ("/api/v1/namespaces/a/pods/b/proxy", "/api/v1/namespaces/a/pods/b/proxy", ""),
            ("/api/v1/namespaces/a/pods/b/proxy/", "/api/v1/namespaces/a/pods/b/proxy", "/"),
            ("/api/v1/namespaces/a/pods/b:80/proxy/x%2Fy//z/", "/api/v1/namespaces/a/pods/b:80/proxy", "/x%2Fy//z/"),
            ("//api/v1/namespaces/a/pods/b/proxy/ü", "//api/v1/namespaces/a/pods/b/proxy", "/ü"),
        ] {
            assert_eq!(split(path), (base, rest));
        }
    }
}
