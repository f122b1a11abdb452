//! Test of `rainbow install`: two operators for all namespaces, and policies at admission. It has the cluster for itself.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, Result, ensure};
use e2e::{App, KubectlScope, Output, Pace, Scope, eventually, load::Loads};
use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{Namespace, Node, Pod, Service},
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};

/// Namespace of the operators. Differs from the usual one, which may be the user's.
const NAMESPACE: &str = "rainbow-test-install";
/// Name of the lease, and of the operators' label.
const NAME: &str = "rainbow-operator";
const SELECTOR: &str = "app.kubernetes.io/name=rainbow-operator";

/// Checks that two replicas on two nodes carry a release through the end of the leader and the drain of its node, that policies refuse what is
/// wrong and nothing else, and that nothing is left in the end.
pub(crate) async fn two_replicas_and_policies(scope: &mut Scope) -> Result<()> {
    let done = installed(scope).await;
    // Runs after any outcome: the next test needs the definitions, and nodes that accept pods.
    let nodes = uncordon(scope).await;
    let left = scope.cli.run(&["uninstall", "--operator-namespace", NAMESPACE, "--purge"]).await;
    let definitions = scope.cli.run(&["install", "--crds-only"]).await;
    done?;
    nodes?;
    left?;
    definitions.map(drop)
}

async fn installed(scope: &mut Scope) -> Result<()> {
    let app = App::two_tiers(3);
    scope.deploy(&app, "v1", "active").await?;
    // An object from the time before the policies: a sibling with the same names.
    let twin = manifest(scope, &app, "twin", "v1", "v1")?;
    scope.custom("Rainbow").create(&PostParams::default(), &serde_json::from_value(twin)?).await?;
    scope.operator.kill();

    let image = format!("{}rainbow:e2e", scope.image_prefix());
    let tally = format!("{}tally:e2e", scope.image_prefix());
    let install = ["install", "--operator-namespace", NAMESPACE, "--image", &image, "--tally-image", &tally, "--wait"];
    scope.cli.run(&install).await?;
    let operators = Operators::of(scope);
    let nodes = operators.nodes().await?;
    ensure!(nodes.len() == 2, "the operators are on {nodes:?}");
    operators.led_by_another_than("").await?;

    policies(scope, &app).await.context("policies")?;
    the_leader_is_deleted(scope, &operators).await.context("the leader is deleted")?;
    the_node_is_drained(scope, &operators).await.context("the node of the leader is drained")?;

    scope.cli.run(&["uninstall", "--purge"]).await?;
    nothing_is_left(&scope.client).await
}

/// Starts a load on a release of which one pod has moved.
async fn in_mid_shift(scope: &Scope, app: &App, version: &str) -> Result<Loads> {
    scope.apply(app, version)?;
    scope.serves(app, "smoke", version).await?;
    let traffic = scope.load("frontend-active").await?;
    scope.cli.run(&["promote", app.name]).await?;
    scope.has_moved(app, 1).await?;
    Ok(traffic)
}

/// Deletes the leader's pod in the middle of a release.
async fn the_leader_is_deleted(scope: &Scope, operators: &Operators) -> Result<()> {
    let app = App { pace: Pace::OneEvery(2_000), ..App::two_tiers(3) };
    let traffic = in_mid_shift(scope, &app, "v2").await?;
    let leader = operators.leader().await?;
    operators.pods.delete(&leader, &DeleteParams::default()).await?;
    operators.led_by_another_than(&leader).await?;
    scope.serves(&app, "active", "v2").await?;
    scope.answers("frontend-active", &app.reply("v2")).await?;
    traffic.clean().await?;
    operators.are_ready(2).await
}

/// Drains the leader's node in the middle of a release, and then the other one, on which both replicas are by then: the budget allows one
/// of them to be evicted.
async fn the_node_is_drained(scope: &Scope, operators: &Operators) -> Result<()> {
    let kubectl = scope.kubectl()?;
    let mut app = App { pace: Pace::HELD, ..App::two_tiers(3) };
    let traffic = in_mid_shift(scope, &app, "v3").await?;
    let leader = operators.leader().await?;
    let node = operators.node_of(&leader).await?;
    let drained = drain(&kubectl, &node, "3m").await?;
    ensure!(drained.code == 0, "{drained:?}");
    operators.led_by_another_than(&leader).await?;
    operators.are_ready(2).await?;
    let others = operators.nodes().await?;
    ensure!(!others.contains(&node), "after the drain of {node} they are on {others:?}");
    let other = others.first().context("no node")?;
    let drained = drain(&kubectl, other, "20s").await?;
    ensure!(drained.code != 0 && drained.stderr.contains("disruption budget"), "{drained:?}");
    operators.are_ready(1).await?;
    uncordon(scope).await?;
    app.pace = Pace::BRISK;
    scope.apply(&app, "v3")?;
    scope.serves(&app, "active", "v3").await?;
    scope.answers("frontend-active", &app.reply("v3")).await?;
    traffic.clean().await?;
    operators.are_ready(2).await
}

/// Checks what is refused from any client, in the words of docs/refused.md, and what is not.
async fn policies(scope: &Scope, app: &App) -> Result<()> {
    let kubectl = scope.kubectl()?;
    let used = manifest(scope, app, app.name, "v1", "v2")?;
    let in_use = "spec.color: color `v1` exists with other tiers: give the color a new name";
    refused(&kubectl, &used, in_use).await.context("a used color name")?;
    let sibling = manifest(scope, app, "sibling", "v1", "v1")?;
    // Two Rainbows have the names: the message may name either.
    let names =
        "` in the same namespace: frontend-smoke, frontend-active, frontend-v1, backend-v1: set spec.namePrefix";
    refused(&kubectl, &sibling, names).await.context("names of a sibling")?;
    address_of_a_tier(scope).await.context("the address of a tier")?;

    let rainbows = scope.custom("Rainbow");
    let parameters = PatchParams::default();
    for name in [app.name, "twin"] {
        let label = Patch::Merge(json!({ "metadata": { "labels": { "edited": "yes" } } }));
        rainbows.patch(name, &parameters, &label).await.with_context(|| format!("a label of {name}"))?;
        let status = Patch::Merge(json!({ "status": { "observedGeneration": 0 } }));
        rainbows.patch_status(name, &parameters, &status).await.with_context(|| format!("the status of {name}"))?;
        scope.cli.run(&["pause", name, "--stage", "active"]).await?;
        scope.cli.run(&["resume", name, "--stage", "active"]).await?;
    }
    scope.cli.run(&["rollback", app.name, "--to", "v1"]).await?;
    scope.cli.run(&["promote", app.name, "--to", "v1"]).await?;
    rainbows.delete("twin", &DeleteParams::default()).await?;
    eventually("the sibling is gone", || async {
        ensure!(rainbows.get_opt("twin").await?.is_none(), "it is there");
        Ok(())
    })
    .await?;
    scope.serves(app, "active", "v1").await?;
    scope.answers("frontend-active", &app.reply("v1")).await
}

/// Checks that no other writer than Rainbow can point the address of a tier elsewhere.
async fn address_of_a_tier(scope: &Scope) -> Result<()> {
    let services = scope.api::<Service>();
    let service = json!({
        "metadata": { "name": "address", "labels": { "rainbow.dev/stage": "other.backend" } },
        "spec": { "selector": { "color": "v2" }, "ports": [{ "port": 80 }] },
    });
    services.create(&PostParams::default(), &serde_json::from_value(service)?).await?;
    let by = |manager: &str| PatchParams { field_manager: Some(manager.to_owned()), ..PatchParams::default() };
    let tries = AtomicU32::new(0);
    // A policy that was applied a moment ago may not be active yet, so each try makes another edit.
    eventually("an edit is refused", || async {
        let color = format!("v{}", tries.fetch_add(1, Ordering::Relaxed) + 3);
        let elsewhere = Patch::Merge(json!({ "spec": { "selector": { "color": color } } }));
        let edited = services.patch("address", &by("kubectl-edit"), &elsewhere).await;
        let error = edited.err().context("it is admitted")?;
        ensure!(error.to_string().contains("spec.selector: Rainbow moves Service `address`"), "{error}");
        Ok(())
    })
    .await?;
    let moved = Patch::Merge(json!({ "spec": { "selector": { "color": "v1" } } }));
    services.patch("address", &by("rainbow"), &moved).await.context("Rainbow itself")?;
    services.delete("address", &DeleteParams::default()).await?;
    Ok(())
}

/// Builds a manifest with a name, and with a color of another version's images.
fn manifest(scope: &Scope, app: &App, name: &str, color: &str, version: &str) -> Result<Value> {
    let mut manifest = app.at(version);
    manifest["metadata"]["name"] = json!(name);
    manifest["spec"]["color"] = json!(color);
    for tier in manifest["spec"]["tiers"].as_array_mut().context("no tiers")? {
        let image = &mut tier["template"]["spec"]["containers"][0]["image"];
        *image = json!(format!("{}{}", scope.image_prefix(), image.as_str().unwrap_or_default()));
    }
    Ok(manifest)
}

/// Waits until a manifest is refused: a policy becomes active some moments after its creation.
async fn refused(kubectl: &KubectlScope, manifest: &Value, expected: &str) -> Result<()> {
    let text = manifest.to_string();
    eventually(&format!("it is refused: {expected}"), || async {
        let apply = ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", "-"];
        let output = kubectl.cli().output_with_input(&apply, &text)?;
        ensure!(output.code != 0 && output.stderr.contains(expected), "{output:?}");
        Ok(())
    })
    .await?;
    let output = kubectl.cli().output_with_input(&["apply", "-f", "-"], &text)?;
    ensure!(output.code != 0 && output.stderr.contains(expected), "client-side: {output:?}");
    Ok(())
}

/// Operators in the cluster.
struct Operators {
    pods: Api<Pod>,
    leases: Api<Lease>,
}

impl Operators {
    fn of(scope: &Scope) -> Self {
        let client = || scope.client.clone();
        Self { pods: Api::namespaced(client(), NAMESPACE), leases: Api::namespaced(client(), NAMESPACE) }
    }

    /// Returns the pods that are not being deleted.
    async fn live(&self) -> Result<Vec<Pod>> {
        let found = self.pods.list(&ListParams::default().labels(SELECTOR)).await?;
        Ok(found.items.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).collect())
    }

    async fn nodes(&self) -> Result<BTreeSet<String>> {
        Ok(self.live().await?.into_iter().filter_map(|pod| pod.spec?.node_name).collect())
    }

    async fn node_of(&self, pod: &str) -> Result<String> {
        self.pods.get(pod).await?.spec.and_then(|spec| spec.node_name).context("the pod is on no node")
    }

    /// Returns the name of the leader's pod.
    async fn leader(&self) -> Result<String> {
        let lease = self.leases.get(NAME).await?;
        let holder = lease.spec.and_then(|spec| spec.holder_identity).unwrap_or_default();
        let pods: Vec<String> = self.live().await?.iter().map(ResourceExt::name_any).collect();
        ensure!(pods.contains(&holder), "{holder:?} leads, which is none of {pods:?}");
        Ok(holder)
    }

    async fn led_by_another_than(&self, pod: &str) -> Result<()> {
        eventually("another operator leads", || async {
            let leader = self.leader().await?;
            ensure!(leader != pod, "{leader} leads");
            Ok(())
        })
        .await
    }

    async fn are_ready(&self, count: usize) -> Result<()> {
        eventually(&format!("{count} operators are ready"), || async {
            let is_ready = |pod: &Pod| {
                let mut conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
                conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
            };
            let ready = self.live().await?.iter().filter(|pod| is_ready(pod)).count();
            ensure!(ready == count, "{ready} are ready");
            Ok(())
        })
        .await
    }
}

/// Evicts the operators of a node, as for its upgrade. Other pods there have budgets of their own.
async fn drain(kubectl: &KubectlScope, node: &str, timeout: &str) -> Result<Output> {
    let cli = kubectl.cli().clone();
    let (selector, timeout) = (format!("--pod-selector={SELECTOR}"), format!("--timeout={timeout}"));
    let node = node.to_owned();
    tokio::task::spawn_blocking(move || cli.output(&["drain", &node, &selector, &timeout])).await?
}

/// Makes all nodes schedulable again.
async fn uncordon(scope: &Scope) -> Result<()> {
    let nodes = Api::<Node>::all(scope.client.clone());
    for node in nodes.list(&ListParams::default()).await? {
        if node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true) {
            nodes.uncordon(&node.name_any()).await?;
        }
    }
    Ok(())
}

/// Checks that no cluster-scoped object is labelled as Rainbow's.
async fn nothing_is_left(client: &Client) -> Result<()> {
    let kinds = [
        ("admissionregistration.k8s.io", "v1", "ValidatingAdmissionPolicy"),
        ("admissionregistration.k8s.io", "v1", "ValidatingAdmissionPolicyBinding"),
        ("apiextensions.k8s.io", "v1", "CustomResourceDefinition"),
        ("rbac.authorization.k8s.io", "v1", "ClusterRole"),
        ("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding"),
        ("scheduling.k8s.io", "v1", "PriorityClass"),
    ];
    for (group, version, kind) in kinds {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        let found = Api::<DynamicObject>::all_with(client.clone(), &resource).list(&ListParams::default()).await?;
        let ours: Vec<String> =
            found.iter().map(ResourceExt::name_any).filter(|name| name.contains("rainbow")).collect();
        ensure!(ours.is_empty(), "{kind}: {ours:?}");
    }
    let left = Api::<Namespace>::all(client.clone()).get_opt(NAMESPACE).await?;
    ensure!(left.is_none(), "namespace {NAMESPACE} is there");
    Ok(())
}
