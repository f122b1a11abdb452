//! Tests of other writers: labels, ports and selectors of Rainbow's objects are edited, and nothing is lost by it.

use anyhow::{Result, ensure};
use e2e::{App, Scope, eventually};
use k8s_openapi::{
    api::{apps::v1::Deployment, core::v1::Service},
    serde::{Serialize, de::DeserializeOwned},
};
use kube::{
    Api, Resource, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use std::fmt::Debug;

/// Writes `app.kubernetes.io/managed-by` as Helm and Kyverno do, and removes Rainbow's own label. A release continues meanwhile.
pub(crate) async fn labels_that_others_write(scope: &mut Scope) -> Result<()> {
    let app = App::two_tiers(3);
    scope.deploy(&app, "v1", "active").await?;
    let traffic = scope.load("frontend-active").await?;
    let (deployments, services) = (scope.api::<Deployment>(), scope.api::<Service>());
    label_all(&deployments, &json!({ "app.kubernetes.io/managed-by": "Helm" })).await?;
    label_all(&services, &json!({ "app.kubernetes.io/managed-by": "Helm" })).await?;
    scope.deploy(&app, "v2", "smoke").await?;
    label_all(&deployments, &json!({ "rainbow.dev/rainbow": null, "app.kubernetes.io/managed-by": null })).await?;
    scope.cli.run(&["promote", app.name, "--wait"]).await?;
    label_all(&services, &json!({ "rainbow.dev/rainbow": null })).await?;
    scope.serves(&app, "active", "v2").await?;
    scope.answers("frontend-active", &app.reply("v2")).await?;
    eventually("all labels are back", || async {
        for labels in labels_of(&deployments).await?.into_iter().chain(labels_of(&services).await?) {
            ensure!(labels["rainbow.dev/rainbow"] == "seamless", "{labels}");
            ensure!(labels["app.kubernetes.io/managed-by"] == "rainbow", "{labels}");
        }
        Ok(())
    })
    .await?;
    traffic.clean().await?;
    Ok(())
}

/// Edits the port of a stage's Service and narrows its selector. Both are set back, and a promotion in the same moment is not held up.
pub(crate) async fn a_service_that_others_edit(scope: &mut Scope) -> Result<()> {
    let app = App::two_tiers(2);
    scope.deploy(&app, "v1", "active").await?;
    scope.deploy(&app, "v2", "smoke").await?;
    let services = scope.api::<Service>();
    let mut ports = json!(services.get("frontend-active").await?.spec.map(|spec| spec.ports));
    let number = ports[0]["port"].clone();
    ports[0]["port"] = json!(8181);
    let edited = json!({ "spec": { "ports": ports, "selector": { "track": "stable" } } });
    services.patch("frontend-active", &as_kubectl(), &Patch::Merge(edited)).await?;
    scope.cli.run(&["promote", app.name, "--wait"]).await?;
    scope.serves(&app, "active", "v2").await?;
    eventually("the Service is what it was", || async {
        let spec = json!(services.get("frontend-active").await?.spec);
        let ports = spec["ports"].as_array().map_or(0, Vec::len);
        ensure!(ports == 1 && spec["ports"][0]["port"] == number, "{spec}");
        ensure!(spec["selector"].get("track").is_none(), "{spec}");
        Ok(())
    })
    .await?;
    scope.answers("frontend-active", &app.reply("v2")).await
}

fn as_kubectl() -> PatchParams {
    PatchParams { field_manager: Some("kubectl-edit".to_owned()), ..PatchParams::default() }
}

/// Puts labels on all objects of a kind; `null` removes one.
async fn label_all<K>(api: &Api<K>, labels: &Value) -> Result<()>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize,
{
    for found in api.list(&ListParams::default()).await? {
        let labels = json!({ "metadata": { "labels": labels } });
        api.patch(&found.name_any(), &as_kubectl(), &Patch::Merge(labels)).await?;
    }
    Ok(())
}

async fn labels_of<K>(api: &Api<K>) -> Result<Vec<Value>>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize,
{
    Ok(api.list(&ListParams::default()).await?.iter().map(|found| json!(found.labels())).collect())
}
