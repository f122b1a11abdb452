//! What one test has for itself: a namespace, an operator that looks at nothing else, and a client.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Namespace, Node, Pod, Service},
};
use kube::{
    Api, Client, Config, ResourceExt,
    api::{DeleteParams, DynamicObject, ListParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};

use crate::{App, Cli, Cluster, Operator, eventually, load};

/// A namespace with an operator of its own.
pub struct Scope {
    /// The Kubernetes API.
    pub client: Client,
    /// The `rainbow` command, pointed at the namespace.
    pub cli: Cli,
    /// Name of the namespace.
    pub namespace: String,
    /// The operator.
    pub operator: Operator,
    kubeconfig: PathBuf,
    log: PathBuf,
}

impl Scope {
    /// Makes the namespace and starts the operator.
    pub async fn new(cluster: &Cluster, name: &str) -> Result<Self> {
        let namespace = format!("t-{}", name.replace("::", "-").replace('_', "-"));
        let kubeconfig = cluster.cli().ok(&["local", "kubeconfig"])?;
        let kubeconfig = PathBuf::from(kubeconfig.trim());
        let client = Client::try_from(config(&kubeconfig).await?)?;
        let object = serde_json::from_value(json!({ "metadata": { "name": namespace } }))?;
        Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &object).await?;
        let cli = cluster.cli().with("RAINBOW_NAMESPACE", &namespace);
        let log = cluster.dir().join(format!("operator-{namespace}.log"));
        let operator = Operator::start(cluster.cli().clone(), &namespace, log.clone())?;
        Ok(Self { client, cli, namespace, operator, kubeconfig, log })
    }

    /// How clients of this cluster are configured.
    pub async fn config(&self) -> Result<Config> {
        config(&self.kubeconfig).await
    }

    /// Applies the app at a version, as a user would.
    pub fn apply(&self, app: &App, version: &str) -> Result<()> {
        self.apply_manifest(&app.at(version))
    }

    /// Applies any manifest.
    pub fn apply_manifest(&self, manifest: &Value) -> Result<()> {
        let output = self.cli.output_with_input(&["apply", "-f", "-"], &manifest.to_string())?;
        ensure!(output.code == 0, "apply ended with {}:\n{}{}", output.code, output.stdout, output.stderr);
        Ok(())
    }

    /// Applies the app at a version and waits until a stage serves it, as its clients see it.
    pub async fn deploy(&self, app: &App, version: &str, stage: &str) -> Result<()> {
        self.apply(app, version)?;
        self.serves(app, stage, version).await?;
        let url = self.url(&format!("{}-{stage}", app.chain[0])).await?;
        eventually(&format!("{url} answers"), || async {
            let reply = load::query(&url).await?;
            ensure!(reply == app.reply(version), "the reply is {reply}");
            Ok(())
        })
        .await
    }

    /// Waits until a stage serves a version, and nothing is under way there.
    pub async fn serves(&self, app: &App, stage: &str, version: &str) -> Result<()> {
        eventually(&format!("stage {stage} serves {version}"), || async {
            let status = self.stage(app, stage).await?;
            let settled = status["shift"].is_null() && status["since"].is_string();
            ensure!(status["color"] == version && settled, "the stage is {status}");
            Ok(())
        })
        .await
    }

    /// What the status says of a stage.
    pub async fn stage(&self, app: &App, stage: &str) -> Result<Value> {
        let rainbow = self.rainbow(app).await?;
        let stages = rainbow.data["status"]["stages"].as_array().context("no status.stages yet")?.clone();
        stages.into_iter().find(|entry| entry["name"] == stage).with_context(|| format!("no status for stage {stage}"))
    }

    /// How many pods of the new color serve in the shift under way.
    pub async fn moved(&self, app: &App) -> Result<i64> {
        let stage = self.stage(app, "active").await?;
        stage["shift"]["moved"].as_i64().with_context(|| format!("no shift under way: {stage}"))
    }

    /// Waits until at least so many pods of the new color serve in the shift under way.
    pub async fn has_moved(&self, app: &App, pods: i64) -> Result<()> {
        eventually(&format!("{pods} pods have moved"), || async {
            let moved = self.moved(app).await?;
            ensure!(moved >= pods, "{moved} have moved");
            Ok(())
        })
        .await
    }

    /// The Rainbow as it is.
    pub async fn rainbow(&self, app: &App) -> Result<DynamicObject> {
        Ok(self.custom("Rainbow").get(app.name).await?)
    }

    /// Rainbow's own kinds.
    pub fn custom(&self, kind: &str) -> Api<DynamicObject> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("rainbow.dev", "v1alpha1", kind));
        Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
    }

    /// Any kind of this namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Where a stage answers: `http://address:port`.
    pub async fn url(&self, service: &str) -> Result<String> {
        let service = self.api::<Service>().get(service).await?;
        let port = service
            .spec
            .and_then(|spec| spec.ports?.first()?.node_port)
            .context("the stage's Service has no node port")?;
        let nodes = Api::<Node>::all(self.client.clone()).list(&ListParams::default()).await?;
        let addresses: Vec<_> = nodes
            .items
            .into_iter()
            .flat_map(|node| node.status.and_then(|status| status.addresses))
            .flatten()
            .collect();
        let address =
            addresses.iter().find(|address| address.type_ == "InternalIP").context("no node has an address")?;
        let ip: IpAddr = address.address.parse().with_context(|| format!("the node's address {}", address.address))?;
        // Load never leaves this machine: the embedded cluster opens node ports on its loopback.
        ensure!(ip.is_loopback(), "the node's address {ip} is not this machine's loopback");
        Ok(format!("http://{ip}:{port}/"))
    }

    /// The pods of a color, by tier.
    pub async fn pods(&self, color: &str) -> Result<BTreeMap<String, Vec<Pod>>> {
        let selector = ListParams::default().labels(&format!("rainbow.dev/color={color}"));
        let mut tiers: BTreeMap<String, Vec<Pod>> = BTreeMap::new();
        for pod in self.api::<Pod>().list(&selector).await? {
            tiers.entry(pod.labels()["rainbow.dev/tier"].clone()).or_default().push(pod);
        }
        Ok(tiers)
    }

    /// The UIDs of all pods there are: compare two sets to count the pods started in between.
    pub async fn pod_uids(&self) -> Result<BTreeSet<String>> {
        let pods = self.api::<Pod>().list(&ListParams::default()).await?;
        Ok(pods.items.iter().filter_map(ResourceExt::uid).collect())
    }

    /// Waits until every Deployment of a color has the size it shall have.
    pub async fn scaled(&self, color: &str, pods_per_tier: i32) -> Result<()> {
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

    /// Removes the namespace and waits until it is gone.
    pub async fn remove(mut self) -> Result<()> {
        // Rainbows first: they hold a finalizer that only a running operator takes off.
        let rainbows = self.custom("Rainbow");
        for rainbow in rainbows.list(&ListParams::default()).await? {
            rainbows.delete(&rainbow.name_any(), &DeleteParams::default()).await?;
        }
        eventually("the Rainbows are gone", || async {
            let left = rainbows.list(&ListParams::default()).await?.items;
            ensure!(left.is_empty(), "{} left", left.len());
            Ok(())
        })
        .await?;
        self.operator.kill();
        let namespaces = Api::<Namespace>::all(self.client.clone());
        namespaces.delete(&self.namespace, &DeleteParams::default()).await?;
        eventually("the namespace is gone", || async {
            match namespaces.get_opt(&self.namespace).await? {
                None => Ok(()),
                Some(namespace) => bail!("it is still there: {:?}", namespace.status),
            }
        })
        .await
    }

    /// What helps to understand a failure.
    pub async fn diagnose(&self) -> String {
        let rainbows = self.custom("Rainbow").list(&ListParams::default()).await;
        let status = rainbows
            .map(|list| {
                list.items.iter().map(|item| format!("{:#}", item.data["status"])).collect::<Vec<_>>().join("\n")
            })
            .unwrap_or_else(|error| error.to_string());
        let pods = match self.api::<Pod>().list(&ListParams::default()).await {
            Ok(list) => list
                .items
                .iter()
                .map(|pod| {
                    let phase = pod.status.as_ref().and_then(|status| status.phase.clone()).unwrap_or_default();
                    format!("{} {phase} {:?}", pod.name_any(), pod.labels())
                })
                .collect::<Vec<_>>()
                .join("\n"),
            Err(error) => error.to_string(),
        };
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let tail: Vec<&str> = log.lines().rev().take(40).collect();
        format!(
            "--- status\n{status}\n--- pods\n{pods}\n--- operator\n{}",
            tail.into_iter().rev().collect::<Vec<_>>().join("\n")
        )
    }
}

async fn config(kubeconfig: &Path) -> Result<Config> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    Ok(Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?)
}
