//! Tests that the counter starts wherever the application's own containers may: it is never the reason why a namespace refuses a pod.

use anyhow::{Context, Result, ensure};
use e2e::{App, Scope, eventually};
use k8s_openapi::api::core::v1::{LimitRange, Namespace, Pod, ResourceQuota};
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

/// Name of the counter's container.
const COUNTER: &str = "rainbow-tally";

/// Starts the counter under a quota that asks every container for all limits, a limit range, and the strictest Pod Security.
pub(crate) async fn starts_where_a_namespace_is_strict(scope: &mut Scope) -> Result<()> {
    let quota = json!({ "metadata": { "name": "all" }, "spec": { "hard": {
        "requests.cpu": "4", "requests.memory": "4Gi", "limits.cpu": "8", "limits.memory": "4Gi",
    } } });
    scope.api::<ResourceQuota>().create(&PostParams::default(), &serde_json::from_value(quota)?).await?;
    let range = json!({ "metadata": { "name": "strict" }, "spec": { "limits": [{
        "type": "Container", "min": { "cpu": "10m", "memory": "8Mi" }, "max": { "cpu": "1", "memory": "512Mi" },
        "default": { "cpu": "1", "memory": "512Mi" }, "defaultRequest": { "cpu": "500m", "memory": "256Mi" },
        "maxLimitRequestRatio": { "cpu": "4", "memory": "2" },
    }] } });
    scope.api::<LimitRange>().create(&PostParams::default(), &serde_json::from_value(range)?).await?;
    let labels = json!({ "metadata": { "labels": { "pod-security.kubernetes.io/enforce": "restricted" } } });
    let namespaces = Api::<Namespace>::all(scope.client.clone());
    namespaces.patch(&scope.namespace, &PatchParams::default(), &Patch::Merge(labels)).await?;

    let app = App::two_tiers(1);
    let mut manifest = counted(&app);
    for tier in [0, 1] {
        let container = &mut manifest["spec"]["tiers"][tier]["template"]["spec"]["containers"][0];
        container["resources"] =
            json!({ "requests": { "cpu": "25m", "memory": "32Mi" }, "limits": { "cpu": "100m", "memory": "64Mi" } });
        container["securityContext"] = json!({
            "runAsNonRoot": true, "runAsUser": 1000, "allowPrivilegeEscalation": false,
            "capabilities": { "drop": ["ALL"] }, "seccompProfile": { "type": "RuntimeDefault" },
        });
    }
    scope.apply_manifest(&manifest)?;
    scope.serves(&app, "smoke", "v1").await?;
    counters_run(scope, "v1").await
}

/// Starts the counter in a pod whose security context sets root for all containers; the counter does not run as root.
pub(crate) async fn starts_in_a_pod_of_root(scope: &mut Scope) -> Result<()> {
    let app = App::two_tiers(1);
    let mut manifest = counted(&app);
    for tier in [0, 1] {
        manifest["spec"]["tiers"][tier]["template"]["spec"]["securityContext"] = json!({ "runAsUser": 0 });
    }
    scope.apply_manifest(&manifest)?;
    scope.serves(&app, "smoke", "v1").await?;
    counters_run(scope, "v1").await
}

/// Builds the application at v1, with counters.
fn counted(app: &App) -> Value {
    let mut manifest = app.at("v1");
    manifest["spec"]["drain"]["connections"] = json!("Sidecar");
    manifest
}

/// Waits until every pod of a color has a counter that runs.
async fn counters_run(scope: &Scope, color: &str) -> Result<()> {
    eventually("the counters run", || async {
        let tiers = scope.pods(color).await?;
        ensure!(tiers.values().flatten().count() == 2, "there are {tiers:?}");
        tiers.values().flatten().try_for_each(counter_runs)
    })
    .await
}

fn counter_runs(pod: &Pod) -> Result<()> {
    let status: Value = json!(pod.status);
    let lists = ["containerStatuses", "initContainerStatuses"].into_iter().filter_map(|list| status[list].as_array());
    let counter = lists.flatten().find(|container| container["name"] == COUNTER);
    let counter = counter.with_context(|| format!("{} has no counter", pod.name_any()))?;
    ensure!(counter["state"]["running"].is_object(), "{}: {counter}", pod.name_any());
    Ok(())
}
