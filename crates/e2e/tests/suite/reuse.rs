//! Tests of colors that share unchanged instances: a release starts the changed tiers and their callers, and nothing mixes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use e2e::{POD_PATIENCE, Scope, eventually};
use k8s_openapi::api::core::v1::Pod;
use kube::{ResourceExt, api::ListParams};
use serde_json::{Value, json};
use traffic::{Load, Report, Target, Traffic, Verdict};

/// Name of the Rainbow.
const NAME: &str = "tree";
/// Pods of each tier.
const REPLICAS: usize = 2;
/// New connections a second; each costs one to every tier below.
const RATE: f64 = 40.0;
/// Least number of replies, before and after the stage has moved.
const REPLIES: u64 = 20;

/// Tiers and their needs, the entry first.
type Shape = &'static [(&'static str, &'static [&'static str])];

const CHAIN: Shape =
    &[("gate", &["shop"]), ("shop", &["cart"]), ("cart", &["stock"]), ("stock", &["store"]), ("store", &[])];
const DIAMOND: Shape =
    &[("gate", &["shop"]), ("shop", &["left", "right"]), ("left", &["store"]), ("right", &["store"]), ("store", &[])];

/// Application at one version: each tier has a version of its own, which its replies contain.
struct Tree {
    shape: Shape,
    versions: BTreeMap<&'static str, u32>,
}

impl Tree {
    fn new(shape: Shape) -> Self {
        Self { shape, versions: shape.iter().map(|(tier, _)| (*tier, 1)).collect() }
    }

    fn needs(&self, tier: &str) -> &'static [&'static str] {
        self.shape.iter().find(|(name, _)| *name == tier).map_or(&[], |(_, needs)| needs)
    }

    /// Returns a tier and all its direct and indirect callers.
    fn from(&self, changed: &'static str) -> BTreeSet<&'static str> {
        // A caller comes before the tiers that it needs.
        self.shape.iter().rev().fold(BTreeSet::from([changed]), |mut found, (tier, needs)| {
            if needs.iter().any(|need| found.contains(need)) {
                found.insert(tier);
            }
            found
        })
    }

    /// Returns the reply of the whole tree through a tier.
    fn reply(&self, tier: &str) -> String {
        let needs = self.needs(tier);
        let program = if needs.is_empty() { "backend" } else { "frontend" };
        let own = format!("{program}:{tier}-{}", self.versions.get(tier).copied().unwrap_or_default());
        std::iter::once(own).chain(needs.iter().map(|need| self.reply(need))).collect::<Vec<_>>().join(" - ")
    }

    fn manifest(&self, color: &str) -> Value {
        let tiers: Vec<Value> = self.shape.iter().map(|(tier, needs)| self.tier(tier, needs)).collect();
        json!({
            "apiVersion": "rainbow.dev/v1alpha1",
            "kind": "Rainbow",
            "metadata": { "name": NAME },
            "spec": {
                "color": color,
                "reuse": "Unchanged",
                "tiers": tiers,
                "stages": [{
                    "name": "active",
                    "promote": "Manual",
                    "shift": { "rolling": { "step": 1, "every": "200ms" } },
                    "service": { "type": "NodePort" },
                }],
                "drain": { "connections": "Sidecar", "settle": "1s", "deadline": "24h" },
                "keep": { "live": 4, "history": 8, "warm": "1s" },
            }
        })
    }

    fn tier(&self, tier: &str, needs: &[&str]) -> Value {
        let image = if needs.is_empty() { "backend:v1" } else { "frontend:v1" };
        let version = format!("{tier}-{}", self.versions.get(tier).copied().unwrap_or_default());
        let env = |at: usize| if at == 0 { "BACKEND".to_owned() } else { format!("BACKEND_{}", at + 1) };
        let needs: Vec<Value> =
            needs.iter().enumerate().map(|(at, need)| json!({ "tier": need, "env": env(at) })).collect();
        json!({
            "name": tier,
            "replicas": REPLICAS,
            "needs": needs,
            "ports": [{ "name": "http", "port": 80, "targetPort": 8080 }],
            "template": { "spec": {
                "terminationGracePeriodSeconds": 5,
                "containers": [{
                    "name": tier,
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "env": [
                        { "name": "VERSION", "value": version },
                        { "name": "ON_SIGTERM", "value": "die" },
                        { "name": "BACKEND_TIMEOUT_MS", "value": (POD_PATIENCE * 1000).to_string() },
                    ],
                    "readinessProbe": { "httpGet": { "path": "/ready", "port": 8080 }, "periodSeconds": 1, "timeoutSeconds": POD_PATIENCE },
                }],
            } },
        })
    }
}

pub(crate) async fn a_chain_starts_what_changed_and_its_callers(scope: &mut Scope) -> Result<()> {
    releases(scope, CHAIN, "cart").await
}

pub(crate) async fn a_diamond_starts_what_changed_and_its_callers(scope: &mut Scope) -> Result<()> {
    releases(scope, DIAMOND, "left").await
}

/// Releases a change of the entry, then of a tier in the middle, then of the innermost.
async fn releases(scope: &Scope, shape: Shape, middle: &'static str) -> Result<()> {
    let mut tree = Tree::new(shape);
    let (entry, leaf) = (shape[0].0, shape[shape.len() - 1].0);
    release(scope, &tree, "a").await?;
    scope.answers(&format!("{entry}-active"), &tree.reply(entry)).await?;
    // Color whose instance each tier has.
    let mut made: BTreeMap<&str, &str> = shape.iter().map(|(tier, _)| (*tier, "a")).collect();
    let mut before = "a";
    for (color, changed) in [("b", entry), ("c", middle), ("d", leaf)] {
        let old = tree.reply(entry);
        *tree.versions.entry(changed).or_default() += 1;
        let new = tree.reply(entry);
        let starts = tree.from(changed);
        let pods = running(scope).await?;
        let ever = scope.pod_uids().await?;
        let load = load(scope, entry, &old, &new).await?;
        replies(&load, &old).await?;
        release(scope, &tree, color).await?;
        replies(&load, &new).await?;
        clean(load.stop().await)?;
        scope.answers(&format!("{entry}-active"), &new).await?;
        made.extend(starts.iter().map(|tier| (*tier, color)));

        // Nothing else was started, not even for a moment: no pod exists that did not exist before.
        let shared: BTreeSet<String> = pods
            .iter()
            .filter(|(tier, _)| !starts.contains(tier.as_str()))
            .flat_map(|(_, uids)| uids.clone())
            .collect();
        told(scope, before, color, changed, &starts, &made).await?;
        let now = eventually(&format!("what only {before} had is gone"), || async {
            let now = running(scope).await?;
            ensure!(now.values().all(|uids| uids.len() == REPLICAS), "pods by tier: {now:?}");
            Ok(now)
        })
        .await?;
        for (tier, uids) in &now {
            let started = uids.iter().filter(|uid| !ever.contains(*uid)).count();
            let expected = if starts.contains(tier.as_str()) { REPLICAS } else { 0 };
            ensure!(started == expected, "{color}: {started} pods of {tier} are new, {expected} expected");
        }
        let kept: BTreeSet<String> = now.into_values().flatten().filter(|uid| ever.contains(uid)).collect();
        ensure!(kept == shared, "{color}: shared pods were {shared:?}, now {kept:?}");
        let deployments = instances(scope).await?;
        let expected: BTreeSet<String> = made.iter().map(|(tier, color)| format!("{tier}-{color}")).collect();
        ensure!(deployments == expected, "{color}: instances with pods are {deployments:?}, {expected:?} expected");
        before = color;
    }
    Ok(())
}

/// Applies a color and moves the stage to it when it is ready.
async fn release(scope: &Scope, tree: &Tree, color: &str) -> Result<()> {
    scope.apply_manifest(&tree.manifest(color))?;
    eventually(&format!("color {color} is ready"), || async {
        let found = scope.custom("Color").get(&format!("{NAME}-{color}")).await?;
        let phase = found.data["status"]["phase"].as_str().unwrap_or_default().to_owned();
        ensure!(phase == "Ready" || phase == "Serving", "it is {phase}");
        Ok(())
    })
    .await?;
    scope.cli.run(&["promote", NAME, "--to", color, "--wait"]).await?;
    Ok(())
}

/// Returns the UIDs of all pods that are not being deleted, by tier.
async fn running(scope: &Scope) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let mut tiers: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for pod in scope.api::<Pod>().list(&ListParams::default()).await? {
        if pod.metadata.deletion_timestamp.is_none() {
            let tier = pod.labels().get("rainbow.dev/tier").context("a pod without a tier")?;
            tiers.entry(tier.clone()).or_default().insert(pod.uid().context("a pod without a UID")?);
        }
    }
    Ok(tiers)
}

/// Returns the instances that have pods: `<tier>-<color that introduced it>`.
async fn instances(scope: &Scope) -> Result<BTreeSet<String>> {
    let pods = scope.api::<Pod>().list(&ListParams::default()).await?;
    let name = |pod: Pod| {
        let label = |key: &str| pod.labels().get(key).cloned().unwrap_or_default();
        format!("{}-{}", label("rainbow.dev/tier"), label("rainbow.dev/color"))
    };
    Ok(pods.items.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).map(name).collect())
}

/// Checks that `diff` and `status` report what is shared, and with which color.
async fn told(
    scope: &Scope,
    old: &str,
    new: &str,
    changed: &str,
    starts: &BTreeSet<&str>,
    made: &BTreeMap<&str, &str>,
) -> Result<()> {
    let diff = scope.cli.output(&["diff", NAME, old, new, "-o", "json"])?;
    ensure!(diff.code == 1, "diff of {old} and {new}: {diff:?}");
    let diff: Value = serde_json::from_str(&diff.stdout)?;
    let tiers = diff["tiers"].as_array().context("no tiers")?;
    ensure!(tiers.len() == made.len(), "diff names {} tiers", tiers.len());
    for tier in tiers {
        let name = tier["tier"].as_str().unwrap_or_default();
        let expected = match name {
            name if name == changed => "Differs",
            name if starts.contains(name) => "Needs",
            _ => "Shared",
        };
        ensure!(tier["kind"] == expected, "diff of {old} and {new}: {name} should be {expected}: {tier}");
        ensure!(tier["instanceB"] == made.get(name).copied().unwrap_or_default(), "{name} is whose? {tier}");
    }
    let status = scope.cli.run(&["status", NAME]).await?;
    for (tier, color) in made.iter().filter(|(_, color)| **color != new) {
        let line = format!("{tier}  {REPLICAS}/{REPLICAS} ready  of {color}");
        ensure!(status.contains(&line), "status does not say `{line}`:\n{status}");
    }
    Ok(())
}

/// Starts requests to the stage. A reply is of one color or the other, from top to bottom.
async fn load(scope: &Scope, entry: &str, old: &str, new: &str) -> Result<Traffic> {
    traffic::raise_file_limit();
    let mut load = Load::new(Target::resolve(&scope.url(&format!("{entry}-active")).await?).await?);
    (load.rate, load.keep_alive, load.pause) = (scope.rate_up_to(RATE), 2, Duration::from_millis(100));
    // A slow request is no failure.
    (load.connect_timeout, load.timeout) = (Duration::from_secs(20), Duration::from_secs(40));
    let whole = [old.to_owned(), new.to_owned()];
    load.check = Some(Arc::new(move |reply: &str| {
        if whole.iter().any(|whole| whole == reply.trim_end()) { Verdict::Good } else { Verdict::Mixed }
    }));
    Ok(Traffic::start(load))
}

/// Waits until a reply has arrived many times.
async fn replies(load: &Traffic, reply: &str) -> Result<()> {
    let before = count(&load.report(), reply);
    eventually(&format!("many replies are {reply}"), || async {
        let came = count(&load.report(), reply) - before;
        ensure!(came >= REPLIES, "{came} came");
        Ok(())
    })
    .await
}

fn count(report: &Report, reply: &str) -> u64 {
    report.replies.iter().filter(|(body, _)| body.trim_end() == reply).map(|(_, tally)| tally.count).sum()
}

fn clean(report: Report) -> Result<()> {
    let text = serde_json::to_string_pretty(&report)?;
    ensure!(report.failed == 0 && report.mixed == 0, "{} failed, {} mixed:\n{text}", report.failed, report.mixed);
    Ok(())
}
