//! Metrics adapter whose values a test sets: `external.metrics.k8s.io/v1beta1`, behind the API server's aggregation layer.
//!
//! The controller of HorizontalPodAutoscalers sends `GET …/namespaces/NAMESPACE/METRIC`. `PUT` of the same path, with a quantity as its
//! body, sets the value. Requests come from the API server, which has checked the sender.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::Ipv4Addr,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, Result};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

/// Port on which the pod listens.
const PORT: u16 = 8443;
const GROUP: &str = "external.metrics.k8s.io";
const GROUP_VERSION: &str = "external.metrics.k8s.io/v1beta1";

/// Values by the path of their metric below `namespaces/`.
type Values = Arc<Mutex<BTreeMap<String, String>>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let acceptor = TlsAcceptor::from(Arc::new(tls()?));
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await.context("cannot listen")?;
    let values = Values::default();
    loop {
        let (stream, _) = listener.accept().await?;
        let (acceptor, values) = (acceptor.clone(), values.clone());
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = service_fn(|request| answer(request, values.clone()));
            if let Err(error) = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await {
                eprintln!("a connection ended: {error}");
            }
        });
    }
}

/// Creates a self-signed certificate: the APIService says not to verify it.
fn tls() -> Result<ServerConfig> {
    let made = rcgen::generate_simple_self_signed(["external-metrics".to_owned()])?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    Ok(ServerConfig::builder().with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key)?)
}

async fn answer(request: Request<Incoming>, values: Values) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let path = head.uri.path().trim_matches('/').to_owned();
    let Some(below) = path.strip_prefix("apis/") else { return Ok(reply(StatusCode::NOT_FOUND, &json!({}))) };
    let metric = below.strip_prefix(GROUP_VERSION).and_then(|rest| rest.strip_prefix("/namespaces/"));
    let Some(metric) = metric else {
        return Ok(match below {
            GROUP => reply(StatusCode::OK, &group()),
            GROUP_VERSION => reply(StatusCode::OK, &resources()),
            _ => reply(StatusCode::NOT_FOUND, &json!({})),
        });
    };
    if head.method == Method::PUT {
        let Ok(body) = body.collect().await else { return Ok(reply(StatusCode::BAD_REQUEST, &json!({}))) };
        let value = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        values.lock().unwrap_or_else(PoisonError::into_inner).insert(metric.to_owned(), value);
    }
    let value = values.lock().unwrap_or_else(PoisonError::into_inner).get(metric).cloned();
    Ok(match value {
        Some(value) => reply(StatusCode::OK, &list(metric, &value)),
        None => reply(StatusCode::NOT_FOUND, &json!({})),
    })
}

/// Answers the first request of discovery.
fn group() -> Value {
    let version = json!({ "groupVersion": GROUP_VERSION, "version": "v1beta1" });
    json!({ "kind": "APIGroup", "apiVersion": "v1", "name": GROUP, "versions": [version], "preferredVersion": version })
}

/// Lists the resource with the verb `get` alone, so that the deletion of a namespace skips it.
fn resources() -> Value {
    json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": GROUP_VERSION,
        "resources": [{ "name": "load", "singularName": "", "namespaced": true, "kind": "ExternalMetricValueList", "verbs": ["get"] }],
    })
}

fn list(metric: &str, value: &str) -> Value {
    let name = metric.rsplit('/').next().unwrap_or(metric);
    json!({
        "kind": "ExternalMetricValueList", "apiVersion": GROUP_VERSION, "metadata": {},
        "items": [{ "metricName": name, "metricLabels": {}, "timestamp": Timestamp::now().to_string(), "value": value }],
    })
}

fn reply(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response
}
