//! Namespaces and Rainbows that are deleted while the operator runs, and what they leave behind.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{Cluster, seamless};
use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        core::v1::{Namespace, Service},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
    core::ApiResource,
};
use rainbow_api::{Color, Rainbow, labels};
use serde_json::{Value, json};
use std::time::Duration;

/// Namespace that is deleted.
const DOOMED: &str = "doomed";

fn doomed<K>(cluster: &Cluster) -> Api<K>
where
    K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
{
    Api::namespaced(cluster.client.clone(), DOOMED)
}

/// Returns whether a write creates an object. An apply may create one, too, as for Deployments.
fn is_made(write: &str) -> bool {
    write.starts_with("POST") && !write.ends_with("/events")
        || write.starts_with("PATCH") && write.contains("/doomed/deployments/")
}

/// Returns a cluster with an application in a namespace that is being deleted, before the namespace controller has deleted the Rainbow.
async fn ending() -> Cluster {
    let cluster = Cluster::start().await;
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    let namespace: Namespace = serde_json::from_value(json!({ "metadata": { "name": DOOMED } })).unwrap();
    namespaces.create(&PostParams::default(), &namespace).await.unwrap();
    apply(&cluster, &in_doomed("v1")).await;
    cluster
        .until("v1 is starting", async |c: &Cluster| {
            doomed::<Deployment>(c).get_opt("backend-v1").await.unwrap().is_some()
        })
        .await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    namespaces.delete(DOOMED, &DeleteParams::default()).await.unwrap();
    let state = namespaces.get(DOOMED).await.unwrap();
    assert!(state.metadata.deletion_timestamp.is_some(), "the namespace is being deleted, and not gone");
    cluster.writes.lock().unwrap().clear();
    cluster
}

fn in_doomed(color: &str) -> Value {
    let mut rainbow = seamless(color, 2);
    rainbow["metadata"]["namespace"] = json!(DOOMED);
    rainbow
}

async fn apply(cluster: &Cluster, rainbow: &Value) {
    let api = doomed::<Rainbow>(cluster);
    api.patch("seamless", &PatchParams::apply("user").force(), &Patch::Apply(rainbow)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn nothing_is_made_in_a_namespace_that_ends() {
    let cluster = ending().await;
    // Objects that the namespace controller deletes first, and a release that comes too late.
    doomed::<Deployment>(&cluster).delete("backend-v1", &DeleteParams::default()).await.unwrap();
    doomed::<Service>(&cluster).delete("backend-v1", &DeleteParams::default()).await.unwrap();
    apply(&cluster, &in_doomed("v2")).await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    let writes = std::mem::take(&mut *cluster.writes.lock().unwrap());
    let made: Vec<&String> = writes.iter().filter(|write| is_made(write)).collect();
    assert!(made.is_empty(), "{made:#?}");
    assert!(writes.len() < 60, "{} writes\n{writes:#?}", writes.len());
    assert!(doomed::<Deployment>(&cluster).get_opt("backend-v1").await.unwrap().is_none());
    let status = doomed::<Rainbow>(&cluster).get("seamless").await.unwrap().status.unwrap();
    let stalled = status.conditions.iter().find(|condition| condition.type_ == "Stalled").unwrap();
    assert!(stalled.message.contains("namespace `doomed` is being deleted"), "{}", stalled.message);
}

/// The namespace controller deletes everything in the namespace, in any order.
#[tokio::test(start_paused = true)]
async fn an_application_ends_with_its_namespace() {
    let cluster = ending().await;
    let everything = ListParams::default();
    for service in doomed::<Service>(&cluster).list(&everything).await.unwrap() {
        doomed::<Service>(&cluster).delete(&service.name_any(), &DeleteParams::default()).await.unwrap();
    }
    for color in doomed::<Color>(&cluster).list(&everything).await.unwrap() {
        doomed::<Color>(&cluster).delete(&color.name_any(), &DeleteParams::default()).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(30)).await;
    for deployment in doomed::<Deployment>(&cluster).list(&everything).await.unwrap() {
        doomed::<Deployment>(&cluster).delete(&deployment.name_any(), &DeleteParams::default()).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(30)).await;
    doomed::<Rainbow>(&cluster).delete("seamless", &DeleteParams::default()).await.unwrap();
    cluster
        .until("nothing is left", async |c: &Cluster| {
            doomed::<Rainbow>(c).list(&ListParams::default()).await.unwrap().items.is_empty()
                && doomed::<Color>(c).list(&ListParams::default()).await.unwrap().items.is_empty()
        })
        .await;
    let writes = std::mem::take(&mut *cluster.writes.lock().unwrap());
    let made: Vec<&String> = writes.iter().filter(|write| is_made(write)).collect();
    assert!(made.is_empty(), "{made:#?}");
}

/// Deletes a Rainbow and removes its finalizer manually. The garbage collector then deletes the objects that it owned.
async fn rainbow_removed(cluster: &Cluster) {
    let api = cluster.api::<Rainbow>();
    let none = json!({ "metadata": { "finalizers": [] } });
    // Both happen in one moment: the operator must not put its finalizer back in between.
    api.delete("seamless", &DeleteParams::default()).await.unwrap();
    api.patch("seamless", &PatchParams::default(), &Patch::Merge(&none)).await.unwrap();
    assert!(api.get_opt("seamless").await.unwrap().is_none());
    for color in cluster.api::<Color>().list_metadata(&ListParams::default()).await.unwrap() {
        let deleted = cluster.api::<Color>().delete(&color.name_any(), &DeleteParams::default()).await;
        // The answer is the color, which may be one that cannot be read.
        assert!(matches!(deleted, Ok(_) | Err(kube::Error::SerdeError(_))), "{deleted:?}");
    }
    for service in cluster.api::<Service>().list(&ListParams::default()).await.unwrap() {
        cluster.api::<Service>().delete(&service.name_any(), &DeleteParams::default()).await.unwrap();
    }
    for deployment in cluster.api::<Deployment>().list(&ListParams::default()).await.unwrap() {
        cluster.api::<Deployment>().delete(&deployment.name_any(), &DeleteParams::default()).await.unwrap();
    }
}

async fn no_color_is_left(cluster: &Cluster) -> bool {
    cluster.api::<Color>().list_metadata(&ListParams::default()).await.unwrap().items.is_empty()
}

#[tokio::test(start_paused = true)]
async fn colors_end_without_their_rainbow() {
    let cluster = at_v1().await;
    rainbow_removed(&cluster).await;
    cluster.until("no color is left", async |c: &Cluster| no_color_is_left(c).await).await;
}

#[tokio::test(start_paused = true)]
async fn colors_end_although_the_operator_was_away() {
    let mut cluster = at_v1().await;
    cluster.kill_operator().await;
    rainbow_removed(&cluster).await;
    assert!(!no_color_is_left(&cluster).await, "the finalizer keeps them");
    cluster.start_operator();
    cluster.until("no color is left", async |c: &Cluster| no_color_is_left(c).await).await;
}

/// The operator does not remove other finalizers.
#[tokio::test(start_paused = true)]
async fn a_color_keeps_the_finalizers_of_others() {
    let cluster = at_v1().await;
    let api = cluster.api::<Color>();
    let others = json!({ "metadata": { "finalizers": [labels::FINALIZER, "example.com/theirs"] } });
    api.patch("seamless-v1", &PatchParams::default(), &Patch::Merge(&others)).await.unwrap();
    rainbow_removed(&cluster).await;
    cluster
        .until("only the other one is left", async |c: &Cluster| {
            c.api::<Color>().get("seamless-v1").await.unwrap().finalizers() == ["example.com/theirs"]
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_color_that_cannot_be_read_ends_too() {
    let cluster = at_v1().await;
    // The definition of another version admits it.
    let definitions: Api<CustomResourceDefinition> = Api::all(cluster.client.clone());
    let anything = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    let path = "/spec/versions/0/schema/openAPIV3Schema";
    let open = serde_json::from_value(json!([{ "op": "replace", "path": path, "value": anything }])).unwrap();
    definitions.patch("colors.rainbow.dev", &PatchParams::default(), &Patch::<()>::Json(open)).await.unwrap();
    let resource = ApiResource::erase::<Color>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(cluster.client.clone(), "default", &resource);
    let unreadable = json!({ "status": { "minReadySeconds": { "backend": 9_999_999_999_i64 } } });
    api.patch_status("seamless-v1", &PatchParams::default(), &Patch::Merge(&unreadable)).await.unwrap();
    rainbow_removed(&cluster).await;
    cluster.until("no color is left", async |c: &Cluster| no_color_is_left(c).await).await;
}

/// A GitOps tool creates the application again at once, while the colors of the former one still exist.
#[tokio::test(start_paused = true)]
async fn an_application_is_made_again_after_its_rainbow_was_removed() {
    let cluster = at_v1().await;
    rainbow_removed(&cluster).await;
    cluster.apply(&seamless("v1", 2)).await;
    cluster.until("v1 serves again", async |c: &Cluster| c.is_ready().await).await;
    let color = cluster.api::<Color>().get("seamless-v1").await.unwrap();
    assert!(color.metadata.deletion_timestamp.is_none(), "another color of the same name");
}

/// `rainbow uninstall --keep-rainbows` removes finalizers. The next operator needs them.
#[tokio::test(start_paused = true)]
async fn finalizers_come_back_with_the_operator() {
    let mut cluster = at_v1().await;
    cluster.kill_operator().await;
    let none = Patch::Merge(json!({ "metadata": { "finalizers": [] } }));
    cluster.api::<Rainbow>().patch("seamless", &PatchParams::default(), &none).await.unwrap();
    cluster.api::<Color>().patch("seamless-v1", &PatchParams::default(), &none).await.unwrap();
    cluster.start_operator();
    cluster
        .until("both are held", async |c: &Cluster| {
            let color = c.api::<Color>().get("seamless-v1").await.unwrap();
            color.finalizers() == [labels::FINALIZER] && c.rainbow().await.finalizers() == [labels::FINALIZER]
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn every_request_says_who_sends_it() {
    let cluster = at_v1().await;
    let agents = cluster.agents.lock().unwrap().iter().cloned().collect::<Vec<_>>();
    assert_eq!(agents, [concat!("rainbow-operator/", env!("CARGO_PKG_VERSION"))]);
}

async fn at_v1() -> Cluster {
    let cluster = Cluster::start().await;
    cluster.apply(&seamless("v1", 2)).await;
    cluster.until("v1 serves", async |c: &Cluster| c.is_ready().await).await;
    cluster
}
