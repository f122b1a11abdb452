//! Traffic of gates to a server on loopback: directly, and through the proxy of an API server.

use super::*;
use crate::{clock::Clock, gates::answer::Place};
use axum::{Router, extract::Request as Asked};
use futures::{FutureExt, future::BoxFuture, stream::BoxStream};
use k8s_openapi::api::{
    core::v1::{Pod, Service},
    discovery::v1::EndpointSlice,
};
use kube::{Api, api::PostParams};
use pocket_api::{Duplex, ExecRequest, ExecStreams, LogRequest, NodeAccess, Status};
use rainbow_api::GateCheck;
use rainbow_plan::{Check, Moment, Time};
use serde_json::Value;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use tokio::net::TcpListener;

const PATTERN: &str = r"frontend:(\S+) - backend:(\S+)";

/// Starts a server that gives replies in turn, for one path.
async fn server(replies: &'static [(u16, &'static str)]) -> SocketAddr {
    let number = Arc::new(AtomicUsize::new(0));
    let app = Router::new().fallback(move |asked: Asked| {
        let (status, body) = replies[number.fetch_add(1, Ordering::Relaxed) % replies.len()];
        let is_expected = asked.uri().path() == "/check";
        async move {
            if body == "late" {
                tokio::time::sleep(Duration::from_secs(60)).await;
            }
            let status = if is_expected { status } else { 404 };
            (StatusCode::from_u16(status).unwrap(), body)
        }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

async fn direct(addresses: Vec<SocketAddr>, pattern: Option<&str>, requests: usize) -> Tally {
    let target = Target::Direct { addresses, host: "frontend-v2.default.svc:80".into(), path: "/check".into() };
    let traffic = Traffic { target, rule: Rule::of(pattern).unwrap(), patience: Duration::from_millis(300) };
    traffic.run(requests, 4).await.unwrap()
}

#[tokio::test]
async fn replies_are_counted() {
    let good: &[_] = &[(200, "frontend:v2 - backend:v2")];
    let tally = direct(vec![server(good).await], Some(PATTERN), 20).await;
    assert_eq!((tally.requests, tally.failed, tally.mixed), (20, 0, 0), "{}", tally.message());
    let bad: &[_] =
        &[(200, "frontend:v2 - backend:v2"), (200, "frontend:v2 - backend:v1"), (500, "no database"), (200, "hello")];
    let tally = direct(vec![server(bad).await], Some(PATTERN), 20).await;
    assert_eq!((tally.requests, tally.failed, tally.mixed), (20, 10, 5), "{}", tally.message());
    for part in [
        "10 of 20 requests failed and 5 were mixed: ",
        "versions are mixed: v2, v1 (5 times)",
        "status 500: `no database` (5 times)",
    ] {
        assert!(tally.message().contains(part), "{}", tally.message());
    }
    let tally = direct(vec![server(bad).await], None, 20).await;
    assert_eq!((tally.failed, tally.mixed), (5, 0), "without a pattern the status decides");
}

#[tokio::test]
async fn no_reply_is_a_failure() {
    let late = server(&[(200, "late")]).await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let tally = direct(vec![late, closed], None, 4).await;
    assert_eq!((tally.requests, tally.failed), (4, 4));
    assert!(tally.message().contains("connection refused (2 times)"), "{}", tally.message());
    assert!(tally.message().contains("no reply within 300ms (2 times)"), "{}", tally.message());
}

/// Node with one pod, whose every port is a server's.
struct Node(SocketAddr);

impl NodeAccess for Node {
    fn logs(&self, _: LogRequest) -> BoxFuture<'static, Result<BoxStream<'static, Bytes>, Status>> {
        async { Err(Status::internal("not to be asked")) }.boxed()
    }

    fn exec(&self, _: ExecRequest) -> BoxFuture<'static, Result<ExecStreams, Status>> {
        async { Err(Status::internal("not to be asked")) }.boxed()
    }

    fn port_forward(&self, _: &str, _: &str, port: u16) -> BoxFuture<'static, Result<Box<dyn Duplex>, Status>> {
        let address = self.0;
        async move {
            let refused = || Status::internal("connection refused");
            let stream = TcpStream::connect(address).await.map_err(|_| refused())?;
            if port == 8080 { Ok(Box::new(stream) as Box<dyn Duplex>) } else { Err(refused()) }
        }
        .boxed()
    }
}

async fn create<K>(client: &Client, object: Value)
where
    K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned
        + serde::Serialize,
{
    let api: Api<K> = Api::default_namespaced(client.clone());
    api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
}

async fn measured(client: &Client, candidate: Option<&str>, gate: Value) -> Answer {
    let check = Check { stage: "active".into(), gate: "traffic".into(), color: "v2".into(), moment: Moment::Before };
    let place = Place {
        namespace: "default".into(),
        tier: "frontend".into(),
        candidate: candidate.map(str::to_owned),
        ports: vec![("http".into(), 80, "TCP".into()), ("other".into(), 81, "TCP".into())],
        ..Place::default()
    };
    let question = Question {
        client,
        clock: Clock::System,
        via: CountVia::Api,
        check: &check,
        gate: &GateCheck::default(),
        place: &place,
        since: Time(0),
        number: 0,
    };
    measure(&question, &serde_json::from_value(gate).unwrap()).await
}

#[tokio::test]
async fn the_api_server_passes_requests_on() {
    let api = pocket_api::Api::new(pocket_api::Options::default()).unwrap();
    api.set_node(Arc::new(Node(server(&[(200, "frontend:v2 - backend:v2"), (200, "frontend:v2 - backend:v1")]).await)));
    let client = api.client("default");
    let gate = json!({ "path": "check", "requests": 6, "pattern": PATTERN });
    let Answer::Error { why, .. } = measured(&client, Some("frontend-v2"), gate.clone()).await else { panic!() };
    assert!(
        why.contains("frontend-v2") && why.contains("not found"),
        "a Service that is missing says nothing of the color: {why}"
    );

    let ports = json!([{ "name": "http", "port": 80, "targetPort": 8080 }, { "name": "other", "port": 81 }]);
    create::<Service>(&client, json!({ "metadata": { "name": "frontend-v2" }, "spec": { "ports": ports } })).await;
    let Answer::Value { result, names, is_good, .. } = measured(&client, Some("frontend-v2"), gate.clone()).await
    else {
        panic!()
    };
    assert_eq!((result, is_good), (json!({ "requests": 6, "failed": 6, "mixed": 0 }), false));
    assert!(names[0].1.as_str().unwrap().contains("no endpoints available"), "{names:?}");

    create::<Pod>(
        &client,
        json!({ "metadata": { "name": "a" }, "spec": { "containers": [{ "name": "web", "image": "web:1" }] } }),
    )
    .await;
    let slice = json!({
        "metadata": { "name": "frontend-v2-1", "labels": { "kubernetes.io/service-name": "frontend-v2" } }, "addressType": "IPv4",
        "ports": [{ "name": "http", "port": 8080 }, { "name": "other", "port": 81 }],
        "endpoints": [{ "addresses": ["10.244.0.8"], "conditions": { "ready": true }, "targetRef": { "kind": "Pod", "name": "a" } }],
    });
    create::<EndpointSlice>(&client, slice).await;
    let Answer::Value { result, is_good, query, .. } = measured(&client, Some("frontend-v2"), gate).await else {
        panic!()
    };
    assert_eq!((result, is_good), (json!({ "requests": 6, "failed": 0, "mixed": 3 }), false));
    assert_eq!(query.as_deref(), Some("http://frontend-v2.default:80/check"));
    let plain = measured(&client, Some("frontend-v2"), json!({ "path": "/check", "requests": 2 })).await;
    assert!(matches!(plain, Answer::Value { is_good: true, .. }), "{plain:?}");
    let Answer::Value { result, names, .. } =
        measured(&client, Some("frontend-v2"), json!({ "path": "/check", "port": "other", "requests": 2 })).await
    else {
        panic!()
    };
    assert_eq!(result["failed"], 2);
    assert!(names[0].1.as_str().unwrap().contains("connection refused"), "{names:?}");
}

#[tokio::test]
async fn a_gate_that_cannot_be_asked_is_an_error() {
    let client = pocket_api::Api::new(pocket_api::Options::default()).unwrap().client("default");
    for (candidate, gate, expected) in [
        (None, json!({}), "tier `frontend` has no TCP port to send requests to"),
        (Some("frontend-v2"), json!({ "port": "grpc" }), "traffic.port: tier `frontend` has no port `grpc`"),
        (
            Some("frontend-v2"),
            json!({ "pattern": "(" }),
            "traffic.pattern: `(` is no regular expression: unclosed group",
        ),
    ] {
        let Answer::Error { why, .. } = measured(&client, candidate, gate).await else { panic!() };
        assert_eq!(why, expected);
    }
}
