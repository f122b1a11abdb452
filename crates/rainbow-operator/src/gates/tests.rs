//! Gates against real servers on loopback, and the checks of an application from plan to plan.

use axum::{Router, extract::State, response::IntoResponse, routing::any};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client, api::PostParams, client::Body};
use rainbow_api::{GateCheck, GateTemplate, GateVerdict, MeasurementOutcome, RainbowStatus, StageStatus};
use rainbow_plan::{Check, CheckOutcome, Moment, Plan, Report, StageReport, Time};
use rustls_pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{net::TcpListener, time::timeout};

use super::{
    Gates, Measurer, News, Site,
    answer::{Place, Question},
    judge::{Judged, Judgement},
    measure::measure,
};
use crate::{
    cache::App,
    clock::Clock,
    count::CountVia,
    effective::Effective,
    key::Key,
    live::{Root, ShownCustom, Templates},
    manifests::Scope,
};

/// Request that a server has received: method, path with query, headers, body.
type Received = (Method, Uri, HeaderMap, String);

/// Server that gives the answers of a list, one after the other, and the last one again and again.
#[derive(Clone, Default)]
struct Server {
    answers: Arc<Mutex<VecDeque<(u16, String)>>>,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Server {
    fn with(answers: &[(u16, &str)]) -> Self {
        let server = Self::default();
        server.answers(answers);
        server
    }

    fn answers(&self, answers: &[(u16, &str)]) {
        *self.answers.lock().unwrap() = answers.iter().map(|(status, body)| (*status, (*body).to_owned())).collect();
    }

    fn router(&self) -> Router {
        Router::new().fallback(any(answer)).with_state(self.clone())
    }

    /// Starts the server, and returns its address.
    async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let router = self.router();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        address
    }

    /// Starts the server with TLS, and returns its port.
    async fn start_tls(&self, certificate: &rcgen::CertifiedKey<rcgen::KeyPair>) -> u16 {
        let key = PrivateKeyDer::Pkcs8(certificate.signing_key.serialize_der().into());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.unwrap().with_no_client_auth();
        let config = config.with_single_cert(vec![certificate.cert.der().clone()], key).unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let router = self.router();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, router) = (acceptor.clone(), router.clone());
                tokio::spawn(async move {
                    // A client that does not trust the server breaks off.
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = hyper_util::service::TowerToHyperService::new(router);
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        port
    }

    fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
}

async fn answer(
    State(server): State<Server>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: String,
) -> axum::response::Response {
    server.received.lock().unwrap().push((method, uri, headers, body));
    let (status, body) = {
        let mut answers = server.answers.lock().unwrap();
        if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() }.unwrap()
    };
    if status == 0 {
        std::future::pending::<()>().await;
    }
    let location = [("location", "http://elsewhere/login")];
    (StatusCode::from_u16(status).unwrap(), location, body).into_response()
}

fn vector(value: &str) -> String {
    json!({ "status": "success", "data": { "resultType": "vector", "result": [{ "metric": {}, "value": [1, value] }] } })
        .to_string()
}

/// Returns a cluster with a Secret and a ConfigMap, and no operator.
async fn cluster(ca: &str) -> Client {
    let client = pocket_api::Api::new(pocket_api::Options::default()).unwrap().client("default");
    let secret = json!({ "metadata": { "name": "token" }, "stringData": { "value": "s3cret-value\n", "ca": ca } });
    let secret: Secret = serde_json::from_value(secret).unwrap();
    Api::namespaced(client.clone(), "default").create(&PostParams::default(), &secret).await.unwrap();
    let map: ConfigMap =
        serde_json::from_value(json!({ "metadata": { "name": "limits" }, "data": { "max": "7" } })).unwrap();
    Api::namespaced(client.clone(), "default").create(&PostParams::default(), &map).await.unwrap();
    client
}

fn check(gate: &str, moment: Moment) -> Check {
    Check { stage: "active".into(), gate: gate.into(), color: "v2".into(), moment }
}

/// Measures a gate once.
async fn once(client: &Client, gate: Value, args: Value) -> Judged {
    let gate: Arc<GateCheck> = Arc::new(serde_json::from_value(gate).unwrap());
    let place = Place {
        namespace: "default".into(),
        stage: "active".into(),
        tier: "web".into(),
        service: "web-active".into(),
        args: serde_json::from_value(args).unwrap(),
        ..Place::default()
    };
    let since = Time(Clock::System.now().0 - 90_500);
    let check = check("errors", Moment::After);
    let question = Question {
        client,
        via: CountVia::Direct,
        clock: Clock::System,
        check: &check,
        gate: &gate,
        place: &place,
        since,
        number: 0,
    };
    match measure(&question, &gate).await {
        Judgement::Measured(judged) => judged,
        Judgement::Pending { why } => panic!("pending: {why}"),
    }
}

#[tokio::test]
async fn a_query_reaches_the_server_and_its_value_is_judged() {
    let server = Server::with(&[(200, &vector("0.02")), (200, &vector("0.5")), (200, &vector("NaN"))]);
    let (client, address) = (cluster("").await, server.start().await);
    let gate = json!({
        "prometheus": {
            "address": format!("{address}/"),
            "query": "sum(rate(e{c=\"{{color}}\",s=\"{{stage}}/{{tier}}/{{service}}\",n=\"{{namespace}}\",m=\"{{args.max}}\"}[{{since}}]))",
            "authentication": { "bearer": { "secretKeyRef": { "name": "token", "key": "value" } } },
        },
        "successCondition": "result[0] < 0.1",
    });
    let args = json!([{ "name": "max", "valueFrom": { "configMapKeyRef": { "name": "limits", "key": "max" } } }]);
    let query = r#"sum(rate(e{c="v2",s="active/web/web-active",n="default",m="7"}[90s]))"#;
    let good = once(&client, gate.clone(), args.clone()).await;
    let expected = Judged {
        outcome: MeasurementOutcome::Passed,
        value: Some("0.02".into()),
        query: Some(query.into()),
        message: None,
    };
    assert_eq!(good, expected);
    let bad = once(&client, gate.clone(), args.clone()).await;
    assert_eq!((bad.outcome, bad.message.as_deref()), (MeasurementOutcome::Failed, Some("`result[0] < 0.1` is false")));
    assert_eq!(once(&client, gate, args).await.outcome, MeasurementOutcome::NoData);
    let (method, uri, headers, body) = server.received().remove(0);
    assert_eq!((method, uri.to_string()), (Method::POST, "/api/v1/query".to_owned()));
    assert_eq!(headers["authorization"], "Bearer s3cret-value");
    assert_eq!(headers["content-type"], "application/x-www-form-urlencoded");
    assert!(headers["user-agent"].to_str().unwrap().starts_with("rainbow-operator/"));
    let form: BTreeMap<String, String> = serde_json::from_value(decoded(&body)).unwrap();
    assert_eq!(form["query"], query);
}

/// Returns a form's fields.
fn decoded(form: &str) -> Value {
    let text = |text: &str| {
        let mut bytes = Vec::new();
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            match byte {
                b'%' => {
                    let digits: String = [rest.next().unwrap(), rest.next().unwrap()].map(char::from).iter().collect();
                    bytes.push(u8::from_str_radix(&digits, 16).unwrap());
                }
                _ => bytes.push(byte),
            }
        }
        String::from_utf8(bytes).unwrap()
    };
    form.split('&')
        .map(|pair| pair.split_once('=').unwrap())
        .map(|(name, value)| (name.to_owned(), json!(text(value))))
        .collect()
}

#[tokio::test]
async fn a_range_ends_now() {
    let matrix = json!({ "status": "success", "data": { "resultType": "matrix", "result": [{ "metric": {}, "values": [[1, "1"], [2, "3"]] }] } });
    let server = Server::with(&[(200, &matrix.to_string())]);
    let (client, address) = (cluster("").await, server.start().await);
    for (range, length, step) in [(json!({}), 90.0, "15"), (json!({ "for": "5m", "step": "1m" }), 300.0, "60")] {
        let gate = json!({ "prometheus": { "address": address, "query": "up", "range": range }, "successCondition": "result[1] == 3" });
        assert_eq!(once(&client, gate, json!([])).await.outcome, MeasurementOutcome::Passed);
        let (_, uri, _, body) = server.received().pop().unwrap();
        assert_eq!(uri.path(), "/api/v1/query_range");
        let form: BTreeMap<String, String> = serde_json::from_value(decoded(&body)).unwrap();
        let number = |name: &str| form[name].parse::<f64>().unwrap();
        assert!((number("end") - number("start") - length).abs() < 0.01, "{form:?}");
        assert!((number("end") * 1000.0 - Clock::System.now().0 as f64).abs() < 5_000.0, "{form:?}");
        assert_eq!(form["step"], step);
    }
}

#[tokio::test]
async fn values_from_secrets_appear_nowhere() {
    // The server repeats everything that it is given.
    let echo =
        json!({ "status": "error", "error": "bad token s3cret-value, Basic dXNlcjpzM2NyZXQtdmFsdWU=" }).to_string();
    let server = Server::with(&[(400, &echo)]);
    let (client, address) = (cluster("").await, server.start().await);
    let source = json!({ "secretKeyRef": { "name": "token", "key": "value" } });
    let args = json!([{ "name": "key", "valueFrom": source }]);
    let prometheus = json!({ "prometheus": {
        "address": address, "query": "up{key=\"{{args.key}}\"}",
        "authentication": { "basic": { "username": "user", "password": source } },
    } });
    let judged = once(&client, prometheus, args).await;
    let seen = format!("{judged:?}");
    assert!(!seen.contains("s3cret") && !seen.contains("dXNlcjpzM2"), "{seen}");
    assert_eq!(judged.query.as_deref(), Some("up{key=\"{{args.key}}\"}"));
    assert_eq!(judged.message.as_deref(), Some("the server answered 400: bad token ***, Basic ***"));
    let (_, _, headers, _) = server.received().remove(0);
    assert_eq!(headers["authorization"], "Basic dXNlcjpzM2NyZXQtdmFsdWU=");
    let web =
        json!({ "web": { "url": format!("{address}/x"), "headers": [{ "name": "x-key", "valueFrom": source }] } });
    let judged = once(&client, web, json!([])).await;
    assert_eq!(judged.outcome, MeasurementOutcome::Failed);
    assert!(!format!("{judged:?}").contains("s3cret"), "{judged:?}");
    assert_eq!(server.received().pop().unwrap().2["x-key"], "s3cret-value");
}

#[tokio::test]
async fn a_web_gate_sends_what_it_says() {
    let server = Server::with(&[(200, r#"{"data":{"ok":true,"rate":0.5}}"#), (302, "")]);
    let (client, address) = (cluster("").await, server.start().await);
    let gate = json!({
        "web": {
            "url": format!("{address}/check?color={{{{color}}}}"), "method": "POST", "body": "{\"stage\":\"{{stage}}\"}",
            "headers": [{ "name": "x-color", "value": "{{color}}" }], "jsonPath": "{$.data.rate}",
        },
        "failureCondition": "status != 200 || result > 0.9",
    });
    let judged = once(&client, gate, json!([])).await;
    assert_eq!((judged.outcome, judged.value.as_deref()), (MeasurementOutcome::Passed, Some("0.5")));
    let (method, uri, headers, body) = server.received().remove(0);
    assert_eq!(
        (method, uri.to_string(), body.as_str()),
        (Method::POST, "/check?color=v2".into(), r#"{"stage":"active"}"#)
    );
    assert_eq!(headers["x-color"], "v2");
    let redirected = once(&client, json!({ "web": { "url": address } }), json!([])).await;
    let note = format!("{address} (the server answered 302: the redirect to `http://elsewhere/login` is not followed)");
    assert_eq!((redirected.outcome, redirected.query), (MeasurementOutcome::Passed, Some(note)));
}

#[tokio::test]
async fn a_server_that_gives_no_answer_is_an_error() {
    let large = "x".repeat(1024 * 1024 + 1);
    let server = Server::with(&[(200, &large), (0, "")]);
    let (client, address) = (cluster("").await, server.start().await);
    let error = async |gate: Value, expected: &str| {
        let judged = once(&client, gate, json!([])).await;
        assert_eq!(judged.outcome, MeasurementOutcome::Error, "{judged:?}");
        let message = judged.message.unwrap();
        assert!(message.starts_with(expected), "{message}");
    };
    let web = |url: &str| json!({ "web": { "url": url, "timeout": "1s" } });
    error(web(&address), "the answer has more than 1024 KiB").await;
    error(web(&address), "no answer within 1s").await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    error(
        web(&format!("http://{closed}")),
        &format!("`{}:{}` cannot be connected: connection refused", closed.ip(), closed.port()),
    )
    .await;
    error(web("http://name.invalid/"), "host `name.invalid` cannot be resolved").await;
    error(web("ftp://a/"), "the URL must begin with `http://` or `https://`").await;
    error(web("no url"), "the URL cannot be used: ").await;
    error(web("http://user:word@127.0.0.1/"), "the URL contains credentials").await;
    error(web("http://a/{{colour}}"), "`{{colour}}` is no name").await;
    let bearer = |name: &str, key: &str| json!({ "web": { "url": address, "authentication": { "bearer": { "secretKeyRef": { "name": name, "key": key } } } } });
    error(bearer("none", "value"), "Secret `none` does not exist in namespace `default`").await;
    error(bearer("token", "none"), "Secret `token` has no key `none` with a text").await;
}

#[tokio::test]
async fn a_right_that_is_missing_is_named() {
    let refused = Client::new(
        tower::service_fn(|_: Request<Body>| async {
            let status = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 403, "reason": "Forbidden", "message": "no" });
            Ok::<_, std::io::Error>(
                Response::builder().status(403).body(Body::from(Bytes::from(status.to_string()))).unwrap(),
            )
        }),
        "default",
    );
    let gate = json!({ "web": { "url": "http://127.0.0.1:1", "authentication": { "bearer": { "secretKeyRef": { "name": "token", "key": "value" } } } } });
    let judged = once(&refused, gate, json!([])).await;
    assert_eq!(
        judged.message.as_deref(),
        Some(
            "Secret `token` cannot be read: the operator needs the right `get` for secrets `token` in namespace `default`; \
             bind the operator's ServiceAccount to a Role with resources [\"secrets\"], resourceNames [\"token\"] and verbs [\"get\"]"
        )
    );
}

#[tokio::test]
async fn certificates_are_checked() {
    let certificate = rcgen::generate_simple_self_signed(vec!["prometheus.test".to_owned()]).unwrap();
    let server = Server::with(&[(200, &vector("1"))]);
    let port = server.start_tls(&certificate).await;
    let client = cluster(&certificate.cert.pem()).await;
    let ca = json!({ "secretKeyRef": { "name": "token", "key": "ca" } });
    let token = json!({ "secretKeyRef": { "name": "token", "key": "value" } });
    for (tls, expected) in [
        (json!({ "ca": ca, "serverName": "prometheus.test" }), None),
        (json!({ "ca": ca }), Some("TLS with `127.0.0.1` failed: invalid peer certificate")),
        (
            json!({ "ca": ca, "serverName": "other.test" }),
            Some("TLS with `127.0.0.1` failed: invalid peer certificate"),
        ),
        (json!({ "serverName": "prometheus.test" }), Some("TLS with `127.0.0.1` failed: invalid peer certificate")),
        (json!({ "ca": ca, "serverName": "no name" }), Some("`no name` cannot be the name of a certificate")),
        (json!({ "ca": token }), Some("`tls.ca` contains no certificate in PEM")),
    ] {
        let gate =
            json!({ "prometheus": { "address": format!("https://127.0.0.1:{port}"), "query": "up", "tls": tls } });
        let judged = once(&client, gate, json!([])).await;
        match expected {
            None => assert_eq!(judged.outcome, MeasurementOutcome::Passed, "{judged:?}"),
            Some(expected) => {
                assert!(judged.message.as_deref().unwrap_or("").starts_with(expected), "{tls}: {judged:?}")
            }
        }
    }
    assert_eq!(server.received().len(), 1, "nothing is sent to a server that is not trusted");
}

/// Application whose plans are written by the test.
struct Application {
    client: Client,
    measurer: Measurer,
    gates: Gates,
    key: Key,
    app: App,
    rainbow: Value,
    checks: BTreeMap<Check, Time>,
}

impl Application {
    fn new(client: Client, gates: Value) -> Self {
        Self {
            measurer: Measurer::start(client.clone(), CountVia::Direct, Clock::System),
            client,
            gates: Gates::default(),
            key: Key { namespace: "default".into(), name: "shop".into() },
            app: App::default(),
            rainbow: json!({
                "metadata": { "name": "shop", "namespace": "default" },
                "spec": {
                    "color": "v2",
                    "tiers": [{ "name": "web", "replicas": 1, "ports": [{ "name": "http", "port": 80 }], "template": { "spec": { "containers": [{ "name": "web", "image": "web:2" }] } } }],
                    "stages": [{ "name": "active" }],
                    "gates": gates,
                },
            }),
            checks: BTreeMap::new(),
        }
    }

    /// Asks for a check from now on.
    fn ask(&mut self, gate: &str, moment: Moment) {
        self.checks.insert(check(gate, moment), Clock::System.now());
    }

    /// Looks at the application, as after a plan.
    fn look(&mut self) {
        let shown: ShownCustom = serde_json::from_value(self.rainbow.clone()).unwrap();
        let (root, templates) = (Root::of(shown), Templates::default());
        let scope = Scope { namespace: "default", rainbow: "shop", prefix: None, templates: &templates };
        let effective = Effective::of(&self.app, &root, &scope);
        let (services, plan) = (BTreeMap::new(), self.plan());
        self.gates.restore(root.status());
        let site = Site { app: &self.app, effective: &effective, scope: &scope, services: &services };
        self.gates.follow(&self.key, &site, &plan, &self.measurer, Clock::System.now());
    }

    fn plan(&self) -> Plan {
        let stage = StageReport {
            name: "active".into(),
            color: Some("v1".into()),
            target: Some("v2".into()),
            previous: None,
            since: None,
            shift: None,
            degraded: None,
            rejected: None,
            approved: None,
            hold: None,
            waiting: None,
            tiers: Vec::new(),
        };
        Plan {
            chains: Vec::new(),
            wake: None,
            report: Report { stages: vec![stage], ..Report::default() },
            count: BTreeSet::new(),
            checks: self.checks.clone(),
            sizes: BTreeMap::new(),
        }
    }

    /// Takes in news until the check has an outcome.
    async fn until(&mut self, check: &Check, outcome: CheckOutcome) {
        let found = timeout(Duration::from_secs(20), async {
            while self.gates.outcomes().get(check) != Some(&outcome) {
                self.next().await;
            }
        })
        .await;
        assert!(found.is_ok(), "never {outcome:?}: {:?} {:?}", self.gates.outcomes(), self.gates.statuses());
    }

    /// Takes in the next news.
    async fn next(&mut self) {
        match self.measurer.news().await.unwrap() {
            News::Answered(answered) => {
                self.gates.answered(answered, &self.measurer, Clock::System.now());
            }
            News::TemplatesChanged => self.look(),
        }
    }

    /// Starts another operator, which knows the status alone.
    fn restart(&mut self) {
        let gates = self.gates.statuses().remove("active").unwrap_or_default();
        let stage = StageStatus { name: "active".into(), gates, ..StageStatus::default() };
        self.rainbow["status"] = json!(RainbowStatus { stages: vec![stage], ..RainbowStatus::default() });
        self.measurer = Measurer::start(self.client.clone(), CountVia::Direct, Clock::System);
        self.gates = Gates::default();
    }
}

fn errors(address: &str, more: Value) -> Value {
    let mut gate = json!({
        "name": "errors", "interval": "1s", "successCondition": "result[0] < 0.1",
        "prometheus": { "address": address, "query": "errors" },
    });
    for (name, value) in more.as_object().unwrap() {
        gate[name] = value.clone();
    }
    gate
}

#[tokio::test]
async fn a_check_runs_from_the_first_plan_that_names_it_to_the_last() {
    let (good, bad) = (vector("0.01"), vector("0.9"));
    let empty = json!({ "status": "success", "data": { "resultType": "vector", "result": [] } }).to_string();
    let server = Server::with(&[(200, &empty), (200, &good), (503, "down"), (200, &good), (200, &good), (200, &bad)]);
    let address = server.start().await;
    let mut shop = Application::new(cluster("").await, json!([errors(&address, json!({ "count": 3 }))]));
    let after = check("errors", Moment::After);
    shop.look();
    assert!(shop.gates.statuses().is_empty() && server.received().is_empty(), "no plan has asked");
    shop.ask("errors", Moment::After);
    shop.look();
    shop.until(&after, CheckOutcome::NoData).await;
    shop.until(&after, CheckOutcome::Passed).await;
    let status = shop.gates.statuses()["active"][0].clone();
    let counts = status.counts;
    assert_eq!((counts.passed, counts.no_data, counts.errors, counts.consecutive_errors), (3, 1, 1, 0));
    assert_eq!(status.measurements.len(), 5);
    assert_eq!(status.measurements[2].message.as_deref(), Some("the server answered 503, and not as Prometheus does"));
    // What has passed is measured as long as it is asked for, and may fail.
    shop.until(&after, CheckOutcome::Failed).await;
    let status = shop.gates.statuses()["active"][0].clone();
    assert_eq!(status.message.as_deref(), Some("1 bad measurement; the last: `result[0] < 0.1` is false"));
    assert!(status.decided_at.is_some() && status.ended_at.is_none());
    let asked = server.received().len();
    shop.checks.clear();
    shop.look();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(server.received().len(), asked, "no plan asks any more");
    assert!(shop.gates.outcomes().is_empty());
    let status = shop.gates.statuses()["active"][0].clone();
    assert!(status.ended_at.is_some() && status.verdict == GateVerdict::Failed, "people still see it");
    // The same check, asked for again, begins again.
    server.answers(&[(200, &good)]);
    shop.ask("errors", Moment::After);
    shop.look();
    assert_eq!(shop.gates.statuses()["active"].len(), 1);
    shop.until(&after, CheckOutcome::Passed).await;
}

#[tokio::test]
async fn nothing_is_measured_before_its_time() {
    let server = Server::with(&[(200, &vector("0.01"))]);
    let address = server.start().await;
    let mut shop = Application::new(cluster("").await, json!([errors(&address, json!({ "initialDelay": "1s" }))]));
    let since = Time(Clock::System.now().0 + 1_000);
    let before = check("errors", Moment::Before);
    shop.checks.insert(before.clone(), since);
    shop.look();
    shop.until(&before, CheckOutcome::Passed).await;
    assert!(Clock::System.now().0 >= since.0 + 1_000, "neither before `since` nor before `initialDelay` has passed");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(server.received().len(), 1, "a gate that has passed is not asked again before a stage moves");
}

#[tokio::test]
async fn another_operator_continues_where_the_last_one_was() {
    let server = Server::with(&[(200, &vector("0.01"))]);
    let address = server.start().await;
    let mut shop = Application::new(
        cluster("").await,
        json!([errors(&address, json!({ "count": 3 })), errors(&address, json!({ "name": "old" }))]),
    );
    let (before, old) = (check("errors", Moment::Before), check("old", Moment::Before));
    shop.ask("errors", Moment::Before);
    shop.ask("old", Moment::Before);
    shop.look();
    shop.until(&old, CheckOutcome::Passed).await;
    shop.checks.remove(&old);
    shop.look();
    while shop.gates.statuses()["active"].iter().find(|gate| gate.name == "errors").unwrap().counts.passed < 2 {
        shop.next().await;
    }
    let asked = server.received().len();
    shop.restart();
    // A plan of the new operator gives a later time, since it has seen the endpoints later.
    shop.ask("errors", Moment::Before);
    shop.look();
    shop.until(&before, CheckOutcome::Passed).await;
    assert_eq!(server.received().len(), asked + 1, "one measurement was missing");
    // A check that had ended begins again.
    shop.restart();
    shop.ask("old", Moment::Before);
    shop.look();
    assert_eq!(shop.gates.outcomes().keys().collect::<Vec<_>>(), [&before]);
    shop.until(&old, CheckOutcome::Passed).await;
}

#[tokio::test]
async fn other_settings_and_later_times_begin_again() {
    let server = Server::with(&[(200, &vector("0.5"))]);
    let address = server.start().await;
    let mut shop = Application::new(cluster("").await, json!([errors(&address, json!({}))]));
    let before = check("errors", Moment::Before);
    shop.ask("errors", Moment::Before);
    shop.look();
    shop.until(&before, CheckOutcome::Failed).await;
    shop.rainbow["spec"]["gates"][0]["successCondition"] = json!("result[0] < 0.6");
    shop.look();
    assert!(shop.gates.outcomes().is_empty());
    shop.until(&before, CheckOutcome::Passed).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    shop.ask("errors", Moment::Before);
    shop.look();
    assert!(shop.gates.outcomes().is_empty(), "what was measured before the time does not count");
    shop.until(&before, CheckOutcome::Passed).await;
    shop.rainbow["spec"]["gates"] = json!([]);
    shop.look();
    assert_eq!(shop.gates.outcomes().get(&before), Some(&CheckOutcome::Inconclusive));
    assert_eq!(shop.gates.statuses()["active"][0].message.as_deref(), Some("gate `errors` is not in spec.gates"));
}

#[tokio::test]
async fn an_application_that_is_gone_asks_no_more() {
    let server = Server::with(&[(0, "")]);
    let address = server.start().await;
    let mut shop = Application::new(cluster("").await, json!([errors(&address, json!({}))]));
    shop.ask("errors", Moment::After);
    shop.look();
    while server.received().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    shop.gates.stop(&shop.measurer);
    assert!(timeout(Duration::from_millis(1500), shop.measurer.news()).await.is_err(), "the open question is given up");
    assert_eq!(server.received().len(), 1);
}

#[tokio::test]
async fn a_template_is_used_as_soon_as_it_is_there() {
    let server = Server::with(&[(200, &vector("0.01"))]);
    let address = server.start().await;
    let client = cluster("").await;
    let gate = json!({ "name": "errors", "interval": "1s", "template": { "name": "shared", "args": [{ "name": "service", "value": "shop" }] } });
    let mut shop = Application::new(client.clone(), json!([gate]));
    let before = check("errors", Moment::Before);
    shop.ask("errors", Moment::Before);
    shop.look();
    // The cluster has no such kind.
    shop.until(&before, CheckOutcome::Inconclusive).await;
    let message = shop.gates.statuses()["active"][0].message.clone().unwrap();
    assert!(message.starts_with("GateTemplate `shared` cannot be read: "), "{message}");
    let definitions = Api::all(client.clone());
    for crd in rainbow_api::crds() {
        definitions.create(&PostParams::default(), &crd).await.unwrap();
    }
    let template = json!({ "metadata": { "name": "shared" }, "spec": {
        "args": [{ "name": "service" }], "successCondition": "result[0] < 0.1",
        "prometheus": { "address": address, "query": "errors{service=\"{{args.service}}\"}" },
    } });
    let template: GateTemplate = serde_json::from_value(template).unwrap();
    Api::all(client).create(&PostParams::default(), &template).await.unwrap();
    shop.until(&before, CheckOutcome::Passed).await;
    let query = shop.gates.statuses()["active"][0].measurements[0].query.clone();
    assert_eq!(query.as_deref(), Some("errors{service=\"shop\"}"));
}
