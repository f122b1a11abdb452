//! Cluster for tests: the real API server in process, and a fake of everything behind it.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

pub mod fake;
pub mod tally;

use futures::future::BoxFuture;
use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        core::v1::{Pod, Service},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, ListParams, Patch, PatchParams, PostParams},
    core::ApiResource,
};
use rainbow_api::{Color, Rainbow, RainbowStatus, crds};
use rainbow_operator::{Clock, ConfigAccess, Options, run};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::task::JoinHandle;
use tower::ServiceExt;

/// Virtual time after which a condition counts as never met.
const PATIENCE: Duration = Duration::from_secs(1200);

pub struct Cluster {
    pub api: pocket_api::Api,
    pub client: Client,
    pub fake: fake::Fake,
    /// Every write of the operator, as `METHOD path`.
    pub writes: Arc<Mutex<Vec<String>>>,
    /// Writes of the operator that the API server refused.
    pub refused: Arc<Mutex<Vec<String>>>,
    /// Webhook that rewrites the bodies of the operator's writes, as an admission webhook does.
    pub webhook: Arc<Mutex<Option<Webhook>>>,
    /// End of the names of writes that never arrive, and are kept: see [`Cluster::late`].
    pub lost: Arc<Mutex<Option<&'static str>>>,
    /// Whether the connection of a lost write breaks, so that its operator continues.
    pub breaks: Arc<Mutex<bool>>,
    kept: Arc<Mutex<Vec<http::Request<kube::client::Body>>>>,
    /// `User-Agent` of every request of the operator, without repetitions.
    pub agents: Arc<Mutex<BTreeSet<String>>>,
    /// Number of writes after which the operator stops dead.
    fuse: Arc<Mutex<Option<usize>>>,
    operator: Option<JoinHandle<()>>,
    /// Clock of all operators, so that time continues while there is none.
    clock: Clock,
    /// Answers of the pods to questions about their connections.
    pub tally: tally::Tally,
    /// Image of the counter.
    pub tally_image: Option<String>,
    /// ConfigMaps and Secrets that the operator may read.
    pub config_access: ConfigAccess,
    /// Answer of `/version`, where it is not the API server's own.
    pub version: Option<Value>,
}

/// Changes the body of a write. The first argument is the path.
pub type Webhook = fn(&str, &mut Value);

/// Time for which the data plane may send clients to a Service's former endpoints.
pub const PROPAGATION: Duration = Duration::from_millis(50);

impl Cluster {
    /// Starts a cluster with the definitions, the fake and the operator.
    pub async fn start() -> Self {
        let mut cluster = Self::without_operator().await;
        cluster.start_operator();
        cluster
    }

    pub async fn without_operator() -> Self {
        if std::env::var_os("RUST_LOG").is_some() {
            let _ =
                tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).try_init();
        }
        let api = pocket_api::Api::new(pocket_api::Options::default()).unwrap();
        let client = api.client("default");
        let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
        for crd in crds() {
            definitions.create(&PostParams::default(), &crd).await.unwrap();
        }
        let fake = fake::Fake::start(client.clone());
        Self {
            api,
            client,
            fake,
            writes: Arc::default(),
            refused: Arc::default(),
            webhook: Arc::default(),
            lost: Arc::default(),
            breaks: Arc::default(),
            kept: Arc::default(),
            agents: Arc::default(),
            fuse: Arc::default(),
            operator: None,
            clock: Clock::tokio(),
            tally: tally::Tally::default(),
            tally_image: Some("tally:test".into()),
            config_access: ConfigAccess::None,
            version: None,
        }
    }

    pub fn start_operator(&mut self) {
        let options = Options {
            namespace: None,
            propagation: PROPAGATION,
            clock: self.clock,
            config_access: self.config_access,
            tally_image: self.tally_image.clone(),
            ..Options::default()
        };
        let client = self.operator_client();
        self.operator = Some(tokio::spawn(async move {
            run(client, options).await.unwrap();
        }));
    }

    /// Stops the operator from one moment to the next.
    pub async fn kill_operator(&mut self) {
        if let Some(operator) = self.operator.take() {
            operator.abort();
            let _ = operator.await;
        }
    }

    /// Blows the fuse after this many more writes: the last write happens, but no request of the operator is answered any more.
    pub fn fuse(&self, writes: usize) {
        *self.fuse.lock().unwrap() = Some(writes);
    }

    /// Lets the lost writes arrive now, under any operator. Returns their status codes.
    pub async fn late(&self) -> Vec<u16> {
        *self.lost.lock().unwrap() = None;
        let kept = std::mem::take(&mut *self.kept.lock().unwrap());
        let mut codes = Vec::new();
        for request in kept {
            codes.push(self.api.router().oneshot(request).await.unwrap().status().as_u16());
        }
        codes
    }

    pub fn has_lost(&self) -> bool {
        !self.kept.lock().unwrap().is_empty()
    }

    pub fn fuse_blown(&self) -> bool {
        *self.fuse.lock().unwrap() == Some(0)
    }

    pub fn no_fuse(&self) {
        *self.fuse.lock().unwrap() = None;
    }

    pub fn operator_client(&self) -> Client {
        let (router, writes, fuse) = (self.api.router(), Arc::clone(&self.writes), Arc::clone(&self.fuse));
        let (tally, version, refused) = (self.tally.clone(), self.version.clone(), Arc::clone(&self.refused));
        let webhook = Arc::clone(&self.webhook);
        let (lost, kept) = (Arc::clone(&self.lost), Arc::clone(&self.kept));
        let breaks = Arc::clone(&self.breaks);
        let agents = Arc::clone(&self.agents);
        let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
            let (router, writes, fuse) = (router.clone(), Arc::clone(&writes), Arc::clone(&fuse));
            let (refused, webhook) = (Arc::clone(&refused), Arc::clone(&webhook));
            let (lost, kept, breaks) = (Arc::clone(&lost), Arc::clone(&kept), Arc::clone(&breaks));
            let (tally, version) = (tally.clone(), version.clone());
            let agent = request.headers().get(http::header::USER_AGENT).and_then(|agent| agent.to_str().ok());
            agents.lock().unwrap().insert(agent.unwrap_or("none").to_owned());
            let answer: BoxFuture<'static, Result<_, std::convert::Infallible>> = Box::pin(async move {
                if let Some(pod) = tally::asked(request.uri()) {
                    return Ok(tally.answer(pod).await);
                }
                if let Some(version) = version.filter(|_| request.uri().path() == "/version") {
                    return Ok(tally::reply(version.to_string()));
                }
                let write = request.method() != http::Method::GET;
                if write && *fuse.lock().unwrap() == Some(0) {
                    return futures::future::pending().await;
                }
                let name = format!("{} {}", request.method(), request.uri().path());
                if write {
                    writes.lock().unwrap().push(name.clone());
                }
                let is_lost = lost.lock().unwrap().is_some_and(|part| write && name.ends_with(part));
                if is_lost {
                    kept.lock().unwrap().push(request);
                    if *breaks.lock().unwrap() {
                        *lost.lock().unwrap() = None;
                        return Ok(tally::unavailable());
                    }
                    return futures::future::pending().await;
                }
                let webhook = *webhook.lock().unwrap();
                let request = match webhook.filter(|_| write) {
                    Some(webhook) => rewritten(request, webhook).await,
                    None => request,
                };
                let response = router.oneshot(request).await;
                if let Ok(response) = &response
                    && write
                    && !response.status().is_success()
                {
                    refused.lock().unwrap().push(format!("{name}: {}", response.status()));
                }
                let blown = write && {
                    let mut fuse = fuse.lock().unwrap();
                    *fuse = fuse.map(|left| left.saturating_sub(1));
                    *fuse == Some(0)
                };
                if blown {
                    return futures::future::pending().await;
                }
                response
            });
            answer
        });
        Client::new(service, "default")
    }

    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), "default")
    }

    /// Applies a Rainbow as a user would.
    pub async fn apply(&self, rainbow: &Value) {
        let name = rainbow["metadata"]["name"].as_str().unwrap();
        self.raw().patch(name, &PatchParams::apply("user").force(), &Patch::Apply(rainbow)).await.unwrap();
    }

    pub async fn delete(&self) {
        self.raw().delete("seamless", &Default::default()).await.unwrap();
    }

    /// Returns the API of Rainbows as they are written, readable or not.
    fn raw(&self) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), "default", &ApiResource::erase::<Rainbow>(&()))
    }

    async fn status(&self) -> Option<RainbowStatus> {
        let object = self.raw().get_opt("seamless").await.unwrap()?;
        serde_json::from_value(object.data.get("status")?.clone()).unwrap()
    }

    pub async fn try_apply(&self, rainbow: &Value) -> kube::Result<Rainbow> {
        let name = rainbow["metadata"]["name"].as_str().unwrap();
        self.api::<Rainbow>().patch(name, &PatchParams::apply("user").force(), &Patch::Apply(rainbow)).await
    }

    /// Writes what `rainbow promote` writes.
    pub async fn promote(&self, color: &str) {
        loop {
            let mut rainbow = self.rainbow().await;
            rainbow.spec.stages.iter_mut().find(|stage| stage.name == "active").unwrap().color = Some(color.to_owned());
            rainbow.metadata.managed_fields = None;
            match self.api::<Rainbow>().replace("seamless", &PostParams::default(), &rainbow).await {
                // The operator has written the status since.
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                answer => return drop(answer.unwrap()),
            }
        }
    }

    pub async fn rainbow(&self) -> Rainbow {
        self.api::<Rainbow>().get("seamless").await.unwrap()
    }

    pub async fn summary(&self) -> String {
        self.status().await.and_then(|status| status.summary).unwrap_or_default()
    }

    pub async fn condition(&self, type_: &str) -> Option<(String, String, String)> {
        let status = self.status().await?;
        let found = status.conditions.into_iter().find(|c| c.type_ == type_)?;
        Some((found.status, found.reason, found.message))
    }

    pub async fn is_ready(&self) -> bool {
        let rainbow = self.rainbow().await;
        let seen = rainbow.status.as_ref().and_then(|status| status.observed_generation) == rainbow.metadata.generation;
        seen && self.condition("Ready").await.is_some_and(|(status, ..)| status == "True")
    }

    pub async fn color_phase(&self, name: &str) -> Option<String> {
        let color = self.api::<Color>().get_opt(&format!("seamless-{name}")).await.unwrap()?;
        Some(format!("{:?}", color.status?.phase?))
    }

    /// Waits, in virtual time, until a condition holds.
    #[track_caller]
    pub fn until<'a, F>(
        &'a self,
        what: &'a str,
        condition: impl Fn(&'a Self) -> F + 'a,
    ) -> impl Future<Output = ()> + 'a
    where
        F: Future<Output = bool> + 'a,
    {
        let place = std::panic::Location::caller();
        async move {
            let begin = tokio::time::Instant::now();
            loop {
                // A look costs several requests, and there is something new to see only after a write.
                let revision = self.api.revision();
                if condition(self).await {
                    return;
                }
                while self.api.revision() == revision && begin.elapsed() <= PATIENCE && !self.fuse_blown() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                if begin.elapsed() > PATIENCE {
                    let state = self.state().await;
                    let status = serde_json::to_string_pretty(&self.status().await);
                    let writes = self.writes.lock().unwrap().clone();
                    let tail = &writes[writes.len().saturating_sub(20)..];
                    panic!(
                        "{place}: never: {what}\n{state:#}\n{}\n{} writes\n{tail:#?}",
                        status.unwrap(),
                        writes.len()
                    );
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    /// Returns what is in the cluster, without what differs from run to run.
    pub async fn state(&self) -> Value {
        let everything = ListParams::default();
        let deployments = self.api::<Deployment>().list(&everything).await.unwrap();
        let services = self.api::<Service>().list(&everything).await.unwrap();
        let pods = self.api::<Pod>().list(&everything).await.unwrap();
        let colors = self.api::<Color>().list(&everything).await.unwrap();
        let mut counts = std::collections::BTreeMap::<String, u32>::new();
        for pod in &pods {
            let labels = pod.labels();
            let member: String = labels.keys().filter_map(|key| key.strip_prefix("member.rainbow.dev/")).collect();
            let name = format!(
                "{}-{}{}{member}",
                labels.get("rainbow.dev/tier").map_or("", |v| v),
                labels.get("rainbow.dev/color").map_or("", |v| v),
                if member.is_empty() { "" } else { " in " },
            );
            *counts.entry(name).or_default() += 1;
        }
        let spec = |service: &Service| service.spec.as_ref().and_then(|spec| spec.selector.clone());
        json!({
            "deployments": deployments.iter().map(|d| (d.name_any(), json!(d.spec.as_ref().and_then(|s| s.replicas)))).collect::<serde_json::Map<_, _>>(),
            "services": services.iter().map(|s| (s.name_any(), json!(spec(s)))).collect::<serde_json::Map<_, _>>(),
            "pods": counts,
            "colors": colors.iter().map(|c| (c.name_any(), json!(c.status.as_ref().and_then(|s| s.phase)))).collect::<serde_json::Map<_, _>>(),
        })
    }
}

/// Returns a request whose body, where it has one, went through a webhook.
async fn rewritten(request: http::Request<kube::client::Body>, webhook: Webhook) -> http::Request<kube::client::Body> {
    let (mut parts, body) = request.into_parts();
    let mut bytes = body.collect_bytes().await.unwrap().to_vec();
    if let Ok(mut value) = serde_json::from_slice::<Value>(&bytes) {
        webhook(parts.uri.path(), &mut value);
        bytes = serde_json::to_vec(&value).unwrap();
        parts.headers.remove(http::header::CONTENT_LENGTH);
    }
    http::Request::from_parts(parts, bytes.into())
}

/// Returns the sample application at a version.
pub fn seamless(color: &str, replicas: u32) -> Value {
    let tier = |name: &str, needs: Value| {
        json!({
            "name": name, "replicas": replicas, "needs": needs,
            "ports": [{ "name": "http", "port": 80, "targetPort": 8080 }],
            "template": { "spec": { "containers": [{ "name": name, "image": format!("{name}:{color}") }] } },
        })
    };
    json!({
        "apiVersion": "rainbow.dev/v1alpha1",
        "kind": "Rainbow",
        "metadata": { "name": "seamless", "namespace": "default" },
        "spec": {
            "color": color,
            "tiers": [tier("backend", json!([])), tier("frontend", json!([{ "tier": "backend", "env": "BACKEND" }]))],
            "stages": [
                { "name": "smoke", "promote": "Auto", "replicas": 1 },
                { "name": "active", "shift": { "rolling": { "step": 1, "every": "2s" } } },
            ],
            "drain": { "settle": "30s", "connections": "None" },
        },
    })
}
