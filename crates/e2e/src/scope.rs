//! Scope of one test: a namespace, an operator that watches no other one, and a client.

mod cleanup;

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{BuildHasher, Hasher, RandomState},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Namespace, Pod, ServiceAccount},
};
use kube::{
    Api, Client, Config, ResourceExt,
    api::{DynamicObject, ListParams, PostParams},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};

use crate::{
    App, Cli, Cluster, Cut, Kubectl, KubectlScope, Operator, Place, Prometheus, Reach, Replica, eventually,
    gate::Gate,
    images,
    kubeconfig::config,
    load::{self, Clients, Loads},
};

/// Label of every namespace that the suite creates, so that one command finds those of a run that was killed.
const MADE_BY: (&str, &str) = ("app.kubernetes.io/created-by", "rainbow-e2e");
/// Limit of the length of a namespace's name.
const NAME_LIMIT: usize = 63;
/// Number of consecutive replies, at each place, until a Service counts as answering: while the data plane learns, old replies slip in.
const IN_A_ROW: usize = 10;

/// Namespace with an operator of its own.
pub struct Scope {
    /// Client of the Kubernetes API.
    pub client: Client,
    /// Command `rainbow`, pointed at the namespace.
    pub cli: Cli,
    pub namespace: String,
    pub operator: Operator,
    kubeconfig: PathBuf,
    kubectl: Option<KubectlScope>,
    prometheus: Option<PathBuf>,
    log: PathBuf,
    embedded: bool,
    reach: Reach,
    rate: f64,
    image_prefix: String,
    operator_start: Duration,
    cut: Option<Cut>,
    chaos: Duration,
    seed: u64,
}

impl Scope {
    /// Creates the namespace and starts the operator.
    pub async fn new(cluster: &Cluster, name: &str) -> Result<Self> {
        let kubeconfig = cluster.kubeconfig().to_owned();
        let client = Client::try_from(config(&kubeconfig).await?)?;
        let reach = cluster.reach().await?.clone();
        let namespace = make_namespace(&client, name).await?;
        let cli = cluster.cli().with("RAINBOW_NAMESPACE", &namespace);
        let log = cluster.dir().join(format!("operator-{namespace}.log"));
        let in_namespace = |kubectl: &Kubectl| kubectl.in_namespace(&kubeconfig, cluster.dir(), &namespace);
        let kubectl = cluster.kubectl().map(in_namespace).transpose()?;
        let operator = Operator::start(cluster, &namespace, log.clone())?;
        Ok(Self {
            client,
            cli,
            namespace,
            operator,
            kubeconfig,
            kubectl,
            prometheus: cluster.prometheus().map(Path::to_owned),
            log,
            embedded: cluster.is_embedded(),
            rate: cluster.rate(&reach),
            reach,
            image_prefix: cluster.settings().image_prefix.clone(),
            operator_start: cluster.operator_start(),
            cut: cluster.settings().cut(),
            chaos: Duration::from_secs(cluster.settings().chaos),
            seed: cluster.settings().seed.unwrap_or_else(random),
        })
    }

    /// Returns kubectl, pointed at the namespace.
    pub fn kubectl(&self) -> Result<KubectlScope> {
        self.kubectl.clone().context("the suite has no kubectl")
    }

    /// Starts a Prometheus server that scrapes this namespace's pods.
    pub async fn prometheus(&self) -> Result<Prometheus> {
        let program = self.prometheus.as_deref().context("the suite has no Prometheus")?;
        Prometheus::start(program, &self.kubeconfig, self.api(), &self.namespace).await
    }

    /// Returns whether this is the embedded cluster.
    pub fn is_embedded(&self) -> bool {
        self.embedded
    }

    /// Returns the configuration of clients of this cluster.
    pub async fn config(&self) -> Result<Config> {
        config(&self.kubeconfig).await
    }

    /// Returns the path of the kubeconfig with the cluster's address and credentials.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Returns the prefix of the names of images in this cluster.
    pub fn image_prefix(&self) -> &str {
        &self.image_prefix
    }

    /// Returns the approximate time in which an operator starts and acts here.
    pub fn operator_start(&self) -> Duration {
        self.operator_start
    }

    /// Returns the duration for which a test makes trouble.
    pub fn chaos(&self) -> Duration {
        self.chaos
    }

    /// Returns the seed of random choices.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Starts one more operator of this namespace, which waits to be elected leader and has its own gate to the API server.
    pub async fn replica(&self, name: &str) -> Result<Replica> {
        let kubeconfig = self.log.with_file_name(format!("kubeconfig-{}-{name}", self.namespace));
        let gate = Gate::to_server_of(&self.kubeconfig, &kubeconfig).await?;
        self.operator.replica(&kubeconfig, gate)
    }

    /// Returns the way to cut off a node of this cluster.
    pub fn cut(&self) -> Result<&Cut> {
        self.cut.as_ref().context("the suite was not told how to cut a node off")
    }

    /// Applies the app at a version, as a user would.
    pub fn apply(&self, app: &App, version: &str) -> Result<()> {
        self.apply_manifest(&app.at(version))
    }

    /// Applies any manifest.
    pub fn apply_manifest(&self, manifest: &Value) -> Result<()> {
        let mut manifest = manifest.clone();
        images::prefix_all(&mut manifest, &self.image_prefix);
        let output = self.cli.output_with_input(&["apply", "-f", "-"], &manifest.to_string())?;
        ensure!(output.code == 0, "apply ended with {}:\n{}{}", output.code, output.stdout, output.stderr);
        Ok(())
    }

    /// Applies the app at a version and waits until a stage serves it, as its clients see it.
    pub async fn deploy(&self, app: &App, version: &str, stage: &str) -> Result<()> {
        self.apply(app, version)?;
        self.serves(app, stage, version).await?;
        self.answers(&format!("{}-{stage}", app.chain[0]), &app.reply(version)).await
    }

    /// Waits until every new connection to a Service gets the expected reply.
    pub async fn answers(&self, service: &str, expected: &str) -> Result<()> {
        let places = self.places(service).await?;
        eventually(&format!("{service} answers {expected}"), || async {
            for place in &places {
                for _ in 0..IN_A_ROW {
                    let reply = load::query(&place.to_string()).await?;
                    ensure!(reply == expected, "{place} answers {reply}");
                }
            }
            Ok(())
        })
        .await
    }

    /// Waits until a stage serves a version and no shift is in progress there.
    pub async fn serves(&self, app: &App, stage: &str, version: &str) -> Result<()> {
        eventually(&format!("stage {stage} serves {version}"), || async {
            let status = self.stage(app, stage).await?;
            let settled = status["shift"].is_null() && status["since"].is_string();
            ensure!(status["color"] == version && settled, "the stage is {status}");
            Ok(())
        })
        .await
    }

    /// Returns the status of a stage.
    pub async fn stage(&self, app: &App, stage: &str) -> Result<Value> {
        let rainbow = self.rainbow(app).await?;
        let stages = rainbow.data["status"]["stages"].as_array().context("no status.stages yet")?.clone();
        stages.into_iter().find(|entry| entry["name"] == stage).with_context(|| format!("no status for stage {stage}"))
    }

    /// Returns the number of pods of the new color that serve in the current shift.
    pub async fn moved(&self, app: &App) -> Result<i64> {
        let stage = self.stage(app, "active").await?;
        stage["shift"]["moved"].as_i64().with_context(|| format!("no shift under way: {stage}"))
    }

    /// Waits until at least this number of pods of the new color serve in the current shift.
    pub async fn has_moved(&self, app: &App, pods: i64) -> Result<()> {
        eventually(&format!("{pods} pods have moved"), || async {
            let moved = self.moved(app).await?;
            ensure!(moved >= pods, "{moved} have moved");
            Ok(())
        })
        .await
    }

    /// Returns the current Rainbow.
    pub async fn rainbow(&self, app: &App) -> Result<DynamicObject> {
        Ok(self.custom("Rainbow").get(app.name).await?)
    }

    /// Returns the API of one of Rainbow's own kinds.
    pub fn custom(&self, kind: &str) -> Api<DynamicObject> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("rainbow.dev", "v1alpha1", kind));
        Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
    }

    /// Returns the API of any kind in this namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Returns the places where a Service answers at its first port; with several nodes, one for each.
    pub async fn places(&self, service: &str) -> Result<Vec<Place>> {
        self.reach.places(&self.api(), service, None).await
    }

    /// Returns the places where a named port of a Service answers.
    pub async fn places_of_port(&self, service: &str, port: &str) -> Result<Vec<Place>> {
        self.reach.places(&self.api(), service, Some(port)).await
    }

    /// Returns one of the addresses at which a Service answers: `http://address:port/`.
    pub async fn url(&self, service: &str) -> Result<String> {
        Ok(self.places(service).await?.first().context("the Service answers nowhere")?.to_string())
    }

    /// Returns the rate of a load, in new connections a second.
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// Returns the rate of a load, limited to `most`.
    pub fn rate_up_to(&self, most: f64) -> f64 {
        self.rate.min(most)
    }

    /// Starts a load on a Service, at every place where it answers.
    pub async fn load(&self, service: &str) -> Result<Loads> {
        Loads::start(&self.places(service).await?, self.rate, Clients::All).await
    }

    /// Starts a load on a Service by clients of one kind.
    pub async fn load_by(&self, service: &str, clients: Clients) -> Result<Loads> {
        Loads::start(&self.places(service).await?, self.rate, clients).await
    }

    /// Starts a load at some of the places where a Service answers.
    pub async fn load_at(&self, places: &[Place]) -> Result<Loads> {
        Loads::start(places, self.rate, Clients::All).await
    }

    /// Starts a load on a Service that avoids one of the nodes.
    pub async fn load_past(&self, service: &str, node: &str) -> Result<Loads> {
        let mut places = self.places(service).await?;
        places.retain(|place| place.node.as_deref() != Some(node));
        Loads::start(&places, self.rate, Clients::All).await
    }

    /// Returns the pods of a color, by tier.
    pub async fn pods(&self, color: &str) -> Result<BTreeMap<String, Vec<Pod>>> {
        let selector = ListParams::default().labels(&format!("rainbow.dev/color={color}"));
        let mut tiers: BTreeMap<String, Vec<Pod>> = BTreeMap::new();
        for pod in self.api::<Pod>().list(&selector).await? {
            tiers.entry(pod.labels()["rainbow.dev/tier"].clone()).or_default().push(pod);
        }
        Ok(tiers)
    }

    /// Returns the UIDs of all pods. The difference of two sets is the pods started in between.
    pub async fn pod_uids(&self) -> Result<BTreeSet<String>> {
        let pods = self.api::<Pod>().list(&ListParams::default()).await?;
        Ok(pods.items.iter().filter_map(ResourceExt::uid).collect())
    }

    /// Waits until every Deployment of a color has the wanted size.
    pub async fn wait_until_scaled(&self, color: &str, pods_per_tier: i32) -> Result<()> {
        let selector = ListParams::default().labels(&format!("rainbow.dev/color={color}"));
        eventually(&format!("color {color} has {pods_per_tier} pods per tier"), || async {
            let deployments = self.api::<Deployment>().list(&selector).await?;
            ensure!(!deployments.items.is_empty(), "no Deployment");
            for deployment in deployments {
                let name = deployment.name_any();
                let status = deployment.status.unwrap_or_default();
                let (pods, ready) = (status.replicas.unwrap_or(0), status.ready_replicas.unwrap_or(0));
                ensure!(pods == pods_per_tier && ready == pods_per_tier, "{name} has {pods} pods, {ready} ready");
            }
            Ok(())
        })
        .await
    }
}

fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Creates a namespace with a unique name, in which pods can be created.
async fn make_namespace(client: &Client, name: &str) -> Result<String> {
    let salt = random() & 0xffff;
    let test: String = name.replace("::", "-").replace('_', "-").chars().take(NAME_LIMIT - 7).collect();
    let namespace = format!("t-{}-{salt:04x}", test.trim_end_matches('-'));
    let object = json!({ "metadata": { "name": namespace, "labels": { MADE_BY.0: MADE_BY.1 } } });
    let namespaces = Api::<Namespace>::all(client.clone());
    namespaces.create(&PostParams::default(), &serde_json::from_value(object)?).await?;
    // A pod is refused as long as its service account does not exist.
    let accounts = Api::<ServiceAccount>::namespaced(client.clone(), &namespace);
    eventually("the namespace has its service account", || async { Ok(accounts.get("default").await?) }).await?;
    Ok(namespace)
}
