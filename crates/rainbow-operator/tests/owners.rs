//! Labels and owner references that others remove from objects that the operator has made.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{Cluster, seamless, tally::Says};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Pod, Service},
};
use kube::{
    Api, Resource, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use rainbow_api::Color;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::{fmt::Debug, time::Duration};

/// Object that another writer has edited.
trait Object: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize {}

impl<T: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize> Object for T {}

/// Writes the metadata as another field manager does.
async fn edit<K: Object>(api: &Api<K>, name: &str, metadata: Value) {
    let parameters = PatchParams { field_manager: Some("helm".into()), ..PatchParams::default() };
    api.patch(name, &parameters, &Patch::Merge(json!({ "metadata": metadata }))).await.unwrap();
}

/// Returns the labels and the owner references.
async fn marks<K: Object>(api: &Api<K>, name: &str) -> Value {
    let found = api.get(name).await.unwrap();
    json!([found.labels(), found.owner_references()])
}

/// Checks that each of the edits is reverted, and that everything stays as it was.
async fn check<K: Object>(cluster: &Cluster, api: &Api<K>, name: &str) {
    let before = marks(api, name).await;
    let uid = api.get(name).await.unwrap().uid();
    let nothing = [
        "rainbow.dev/rainbow",
        "rainbow.dev/stage",
        "rainbow.dev/tier",
        "rainbow.dev/color",
        "app.kubernetes.io/managed-by",
    ];
    let nothing: Value =
        nothing.iter().map(|key| ((*key).to_owned(), Value::Null)).collect::<serde_json::Map<_, _>>().into();
    let edits = [
        json!({ "labels": { "app.kubernetes.io/managed-by": "Helm" } }),
        json!({ "labels": { "app.kubernetes.io/managed-by": null } }),
        json!({ "labels": { "rainbow.dev/rainbow": null } }),
        json!({ "labels": { "rainbow.dev/rainbow": "other" } }),
        json!({ "labels": { "rainbow.dev/color": null, "rainbow.dev/tier": null, "rainbow.dev/stage": null } }),
        json!({ "labels": nothing }),
        json!({ "ownerReferences": [] }),
    ];
    for metadata in edits {
        edit(api, name, metadata.clone()).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(marks(api, name).await, before, "{name} after {metadata}");
        assert_eq!(api.get(name).await.unwrap().uid(), uid, "{name} after {metadata}");
        assert!(cluster.is_ready().await, "{:?} after {metadata} of {name}", cluster.condition("Ready").await);
    }
}

#[tokio::test(start_paused = true)]
async fn an_edit_of_what_tells_whose_an_object_is_is_taken_back() {
    let cluster = Cluster::start().await;
    cluster.apply(&seamless("v1", 2)).await;
    cluster.until("v1 serves", async |c: &Cluster| c.is_ready().await).await;
    let pods = async || {
        let pods = cluster.api::<Pod>().list(&ListParams::default()).await.unwrap();
        pods.iter().map(ResourceExt::uid).collect::<Vec<_>>()
    };
    let before = pods().await;
    check(&cluster, &cluster.api::<Deployment>(), "backend-v1").await;
    check(&cluster, &cluster.api::<Deployment>(), "frontend-v1").await;
    check(&cluster, &cluster.api::<Service>(), "backend-v1").await;
    check(&cluster, &cluster.api::<Service>(), "frontend-active").await;
    assert_eq!(pods().await, before);
}

#[tokio::test(start_paused = true)]
async fn a_color_is_its_rainbows_whatever_its_labels_say() {
    let cluster = Cluster::start().await;
    cluster.apply(&seamless("v1", 2)).await;
    cluster.until("v1 serves", async |c: &Cluster| c.is_ready().await).await;
    for value in [json!(null), json!("other")] {
        let labels = json!({ "labels": { "rainbow.dev/rainbow": value, "app.kubernetes.io/managed-by": "Helm" } });
        edit(&cluster.api::<Color>(), "seamless-v1", labels).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(cluster.is_ready().await, "{:?}", cluster.condition("Ready").await);
    }
}

/// The frontends of v1 hold connections, and the operator does not see their backends.
#[tokio::test(start_paused = true)]
async fn a_draining_deployment_that_is_out_of_sight_ends_nothing() {
    let cluster = Cluster::start().await;
    let counted = |color: &str| {
        let mut rainbow = seamless(color, 2);
        rainbow["spec"]["drain"] = json!({ "settle": "5s" });
        rainbow
    };
    cluster.apply(&counted("v1")).await;
    cluster.until("v1 serves", async |c: &Cluster| c.is_ready().await).await;
    let pods = cluster.api::<Pod>().list(&ListParams::default()).await.unwrap();
    let pods: Vec<String> = pods.iter().map(ResourceExt::name_any).collect();
    pods.iter().for_each(|pod| cluster.tally.say(pod, Says::Count(3)));
    cluster.apply(&counted("v2")).await;
    cluster.until("v2 is there", async |c: &Cluster| c.color_phase("v2").await.as_deref() == Some("Serving")).await;
    cluster.promote("v2").await;
    cluster.until("v1 drains", async |c: &Cluster| c.color_phase("v1").await.as_deref() == Some("Draining")).await;
    let deployments = cluster.api::<Deployment>();
    for name in ["backend-v1", "frontend-v1"] {
        let none = json!({ "labels": { "rainbow.dev/rainbow": null, "app.kubernetes.io/managed-by": "Helm" } });
        edit(&deployments, name, none).await;
    }
    tokio::time::sleep(Duration::from_secs(300)).await;
    for pod in &pods {
        let found = cluster.api::<Pod>().get_opt(pod).await.unwrap();
        assert!(found.is_some_and(|pod| pod.metadata.deletion_timestamp.is_none()), "{pod} has ended");
    }
    pods.iter().for_each(|pod| cluster.tally.say(pod, Says::Count(0)));
    let retired = async |c: &Cluster| c.color_phase("v1").await.as_deref() == Some("Retired");
    cluster.until("v1 is retired", retired).await;
}
