//! Colors example as an application under test: one tier with long-lived connections.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{
    ResourceExt,
    api::{DynamicObject, ListParams},
};
use serde_json::{Value, json};

use crate::{
    OnSigterm, Scope, eventually,
    held::{self, Held, Kind},
};

/// Name of the Rainbow and of its only tier, unless a test has two.
pub const NAME: &str = "colors";
/// Name of the stage.
const STAGE: &str = "active";
/// Number of consecutive new connections that must get a color before all are assumed to.
const IN_A_ROW: usize = 6;
/// Name of the stage's Service.
pub const SERVICE: &str = "colors-active";

/// Application as its user would describe it.
#[derive(Clone, Debug)]
pub struct Colors {
    /// Name of the Rainbow and of its only tier.
    pub name: &'static str,
    /// Pods of each color.
    pub replicas: u32,
    /// Reaction of the program to SIGTERM.
    pub on_sigterm: OnSigterm,
    /// Value of `spec.drain`.
    pub drain: Value,
    /// Colors that may live at once.
    pub live: u32,
    /// Time for which a color must be healthy before the color before it may drain.
    pub warm: &'static str,
    /// Time that a pod needs until it is ready.
    pub ready_after: Duration,
}

impl Default for Colors {
    fn default() -> Self {
        Self {
            name: NAME,
            replicas: 2,
            on_sigterm: OnSigterm::Die,
            drain: json!({ "connections": "Sidecar", "settle": "1s", "deadline": "24h" }),
            live: 20,
            warm: "1s",
            ready_after: Duration::ZERO,
        }
    }
}

impl Colors {
    /// Returns the manifest of the Rainbow at a color. Its stage moves only on request.
    pub fn at(&self, color: &str) -> Value {
        let on_sigterm = match self.on_sigterm {
            OnSigterm::Drain => "drain",
            OnSigterm::Die => "die",
        };
        json!({
            "apiVersion": "rainbow.dev/v1alpha1",
            "kind": "Rainbow",
            "metadata": { "name": self.name },
            "spec": {
                "color": color,
                "tiers": [{
                    "name": self.name,
                    "replicas": self.replicas,
                    "ports": [{ "name": "http", "port": 8080 }, { "name": "lines", "port": 8081 }],
                    "template": { "spec": {
                        "terminationGracePeriodSeconds": 5,
                        "containers": [{
                            "name": self.name,
                            "image": "colors:v1",
                            "imagePullPolicy": "IfNotPresent",
                            "env": [
                                { "name": "COLOR", "value": color },
                                { "name": "INTERVAL_MS", "value": "500" },
                                { "name": "GRACE_MS", "value": "0" },
                                { "name": "READY_AFTER_MS", "value": self.ready_after.as_millis().to_string() },
                                { "name": "ON_SIGTERM", "value": on_sigterm },
                            ],
                            "readinessProbe": { "httpGet": { "path": "/ready", "port": 8080 }, "periodSeconds": 1 },
                        }],
                    } },
                }],
                "stages": [{
                    "name": STAGE,
                    "promote": "Manual",
                    "shift": { "flip": {} },
                    "service": { "type": "NodePort" },
                }],
                "drain": self.drain,
                "keep": { "live": self.live, "history": 3, "warm": self.warm },
            }
        })
    }

    /// Applies a color and waits until its stage serves it.
    pub async fn release(&self, scope: &Scope, color: &str) -> Result<()> {
        scope.apply_manifest(&self.at(color))?;
        self.ready(scope, color).await?;
        self.flip(scope, color).await
    }

    /// Waits until all pods of a color are ready.
    pub async fn ready(&self, scope: &Scope, color: &str) -> Result<()> {
        let wanted = i32::try_from(self.replicas)?;
        eventually(&format!("color {color} is ready"), || async {
            let deployments = scope.api::<Deployment>();
            let status = deployments.get(&format!("{}-{color}", self.name)).await?.status.unwrap_or_default();
            let ready = status.ready_replicas.unwrap_or(0);
            ensure!(ready == wanted, "{ready} of {wanted} pods are ready");
            Ok(())
        })
        .await
    }

    /// Points the stage at a color and waits until it serves it, and until every new connection gets it.
    pub async fn flip(&self, scope: &Scope, color: &str) -> Result<()> {
        scope.cli.run(&["promote", self.name, "--to", color]).await?;
        eventually(&format!("the stage serves {color}"), || async {
            let rainbow = scope.custom("Rainbow").get(self.name).await?;
            let stage = &rainbow.data["status"]["stages"][0];
            let settled = stage["shift"].is_null() && stage["since"].is_string();
            ensure!(stage["color"] == color && settled, "the stage is {stage}");
            Ok(())
        })
        .await?;
        // The data plane may need a moment for the last change, at each node.
        let places = scope.places_of_port(&format!("{}-{STAGE}", self.name), "lines").await?;
        eventually(&format!("new connections get {color}"), || async {
            for place in &places {
                let counts = held::open_at(Kind::Lines, &[place.address], IN_A_ROW).await?.line_counts();
                ensure!(counts.keys().all(|heard| *heard == line(color)), "at {place} they hear {counts:?}");
            }
            Ok(())
        })
        .await
    }

    /// Waits until new connections get to every pod of a color that the stage serves: each node's data plane has them all.
    /// No other client may be connected to the color.
    pub async fn spreads(&self, scope: &Scope, color: &str) -> Result<()> {
        let many = IN_A_ROW * usize::try_from(self.replicas)?;
        let pods = pods(scope, color).await?;
        for place in self.addresses(scope, Kind::Lines).await? {
            eventually(&format!("new connections at {place} get to every pod of {color}"), || async {
                counts_add_up(scope, &pods, 0).await?;
                let held = Held::open(Kind::Lines, place, many).await?;
                let counts = counts_add_up(scope, &pods, held.len()).await?;
                ensure!(counts.iter().all(|count| *count > 0), "they get {counts:?} of them");
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    /// Opens connections to the color that the stage serves.
    pub async fn hold(&self, scope: &Scope, kind: Kind, count: usize) -> Result<Held> {
        held::open_at(kind, &self.addresses(scope, kind).await?, count).await
    }

    /// Returns the addresses at which the stage is reached.
    async fn addresses(&self, scope: &Scope, kind: Kind) -> Result<Vec<SocketAddr>> {
        let port = if kind == Kind::WebSocket { "http" } else { "lines" };
        let places = scope.places_of_port(&format!("{}-{STAGE}", self.name), port).await?;
        Ok(places.iter().map(|place| place.address).collect())
    }
}

/// Returns the line that connections to a color get.
pub fn line(color: &str) -> String {
    format!("The color is #{color}")
}

/// Returns the current Color object.
pub async fn color(scope: &Scope, color: &str) -> Result<DynamicObject> {
    Ok(scope.custom("Color").get(&format!("{NAME}-{color}")).await?)
}

/// Returns the names of a color's pods that are not being deleted.
pub async fn pods(scope: &Scope, color: &str) -> Result<Vec<String>> {
    let selector = ListParams::default().labels(&format!("rainbow.dev/color={color}"));
    let pods = scope.api::<Pod>().list(&selector).await?;
    let live = pods.items.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
    Ok(live.map(ResourceExt::name_any).collect())
}

/// Waits until a color has exactly `count` pods.
pub async fn shrinks_to(scope: &Scope, color: &str, count: usize) -> Result<()> {
    eventually(&format!("color {color} has {count} pods"), || async {
        let pods = pods(scope, color).await?;
        ensure!(pods.len() == count, "it has {pods:?}");
        Ok(())
    })
    .await
}

/// Waits until a color's status reports exactly `count` connections.
pub async fn counts(scope: &Scope, name: &str, count: usize) -> Result<()> {
    eventually(&format!("the status of {name} says {count} connections"), || async {
        let status = color(scope, name).await?.data["status"].clone();
        ensure!(status["connections"] == count, "it says {}", status["connections"]);
        Ok(())
    })
    .await
}

/// Waits until no counter of a color counts a connection: those that an earlier check of the stage opened and closed are gone, too.
pub async fn quiet(scope: &Scope, color: &str) -> Result<()> {
    counts_add_up(scope, &pods(scope, color).await?, 0).await.map(drop)
}

/// Waits until the counters of some pods count `sum` connections together. Returns the count of each pod.
async fn counts_add_up(scope: &Scope, pods: &[String], sum: usize) -> Result<Vec<u64>> {
    let sum = u64::try_from(sum)?;
    eventually(&format!("the counters count {sum} connections"), || async {
        let counts = try_join_all(pods.iter().map(|pod| count_connections(scope, pod))).await?;
        ensure!(counts.iter().sum::<u64>() == sum, "they count {counts:?}");
        Ok(counts)
    })
    .await
}

/// Returns the number of connections of a pod, by its own counter.
pub async fn count_connections(scope: &Scope, pod: &str) -> Result<u64> {
    let uri = format!("/api/v1/namespaces/{}/pods/{pod}:9798/proxy/connections", scope.namespace);
    let request = http::Request::get(uri).body(Vec::new())?;
    let report: Value = scope.client.request(request).await?;
    report["count"].as_u64().with_context(|| format!("no count: {report}"))
}
