//! Garbage collection and namespaces.

use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::{ConfigMap, Namespace, Pod, ServiceAccount},
};
use kube::{
    Api, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, PostParams},
};
use serde_json::{Value, json};

use crate::{cluster::Cluster, replicaset::replica_set};

async fn config(cluster: &Cluster, name: &str, owners: &[&ConfigMap], blocks: bool) -> ConfigMap {
    let owners: Vec<Value> = owners
        .iter()
        .map(|owner| {
            json!({ "apiVersion": "v1", "kind": "ConfigMap", "name": owner.name_any(), "uid": owner.uid().unwrap(), "blockOwnerDeletion": blocks })
        })
        .collect();
    cluster
        .create(
            json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name, "ownerReferences": owners } }),
        )
        .await
}

async fn names(cluster: &Cluster) -> Vec<String> {
    cluster
        .list::<ConfigMap>()
        .await
        .iter()
        .map(ResourceExt::name_any)
        .filter(|name| name != "kube-root-ca.crt")
        .collect()
}

#[track_caller]
fn left<'a>(cluster: &'a Cluster, expected: &'a [&'a str]) -> impl Future<Output = ()> + 'a {
    cluster.until(move || async move {
        let seen = names(cluster).await;
        if seen == expected { Ok(()) } else { Err(seen) }
    })
}

#[tokio::test(start_paused = true)]
async fn owned_objects_go_with_their_last_owner() {
    let cluster = Cluster::new();
    let a = config(&cluster, "a", &[], false).await;
    let b = config(&cluster, "b", &[], false).await;
    let child = config(&cluster, "child", &[&a, &b], false).await;
    config(&cluster, "grandchild", &[&child], false).await;
    cluster.settle().await;
    assert_eq!(names(&cluster).await.len(), 4);
    cluster.delete::<ConfigMap>("a", DeleteParams::background()).await;
    left(&cluster, &["b", "child", "grandchild"]).await;
    let child = cluster
        .until_is::<ConfigMap>("child", |c| c["metadata"]["ownerReferences"].as_array().is_some_and(|o| o.len() == 1))
        .await;
    assert_eq!(child.owner_references()[0].name, "b");
    cluster.delete::<ConfigMap>("b", DeleteParams::background()).await;
    left(&cluster, &[]).await;
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_never_was_is_no_owner() {
    let cluster = Cluster::new();
    let a = config(&cluster, "a", &[], false).await;
    let mut stranger = a.clone();
    stranger.metadata.uid = Some("00000000-0000-0000-0000-000000000000".into());
    config(&cluster, "child", &[&stranger], false).await;
    left(&cluster, &["a"]).await;
}

#[tokio::test(start_paused = true)]
async fn in_the_foreground_owned_objects_go_first() {
    let cluster = Cluster::new();
    let a = config(&cluster, "a", &[], false).await;
    config(&cluster, "child", &[&a], true).await;
    cluster.patch::<ConfigMap>("child", json!({ "metadata": { "finalizers": ["test/hold"] } })).await;
    cluster.delete::<ConfigMap>("a", DeleteParams::foreground()).await;
    cluster.until_is::<ConfigMap>("child", |c| !c["metadata"]["deletionTimestamp"].is_null()).await;
    cluster.settle().await;
    assert_eq!(names(&cluster).await, ["a", "child"], "the owner waits");
    cluster.patch::<ConfigMap>("child", json!({ "metadata": { "finalizers": null } })).await;
    left(&cluster, &[]).await;
}

#[tokio::test(start_paused = true)]
async fn orphans_stay() {
    let cluster = Cluster::new();
    let a = config(&cluster, "a", &[], false).await;
    config(&cluster, "child", &[&a], true).await;
    cluster.settle().await;
    cluster.delete::<ConfigMap>("a", DeleteParams::orphan()).await;
    left(&cluster, &["child"]).await;
    cluster.settle().await;
    assert!(cluster.get::<ConfigMap>("child").await.unwrap().owner_references().is_empty());
}

/// When the garbage collector sees that an owner is gone, it may not have seen yet that an object has been orphaned.
#[tokio::test(start_paused = true)]
async fn many_orphans_stay() {
    let cluster = Cluster::new();
    for round in 0..20 {
        let name = |kind: &str| format!("{kind}-{round}");
        let owner = config(&cluster, &name("owner"), &[], false).await;
        for child in 0..10 {
            config(&cluster, &format!("{}-{child}", name("child")), &[&owner], true).await;
        }
        cluster.settle().await;
        cluster.delete::<ConfigMap>(&name("owner"), DeleteParams::orphan()).await;
    }
    cluster.settle().await;
    let left = names(&cluster).await;
    assert_eq!(left.len(), 200, "{left:?}");
    assert!(left.iter().all(|name| name.starts_with("child")), "{left:?}");
}

#[tokio::test(start_paused = true)]
async fn a_deployment_takes_everything_along() {
    for params in [DeleteParams::background(), DeleteParams::foreground()] {
        let cluster = Cluster::new();
        let mut object = replica_set("web", 3, json!({}));
        object["kind"] = json!("Deployment");
        cluster.create::<Deployment>(object).await;
        cluster.until_is::<Deployment>("web", |d| d["status"]["availableReplicas"] == 3).await;
        cluster.delete::<Deployment>("web", params).await;
        cluster
            .until(|| async {
                let left = (
                    cluster.list::<Deployment>().await.len(),
                    cluster.list::<ReplicaSet>().await.len(),
                    cluster.list::<Pod>().await.len(),
                );
                if left == (0, 0, 0) { Ok(()) } else { Err(left) }
            })
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn custom_resources_own_and_are_owned() {
    let cluster = Cluster::new();
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": { "name": "things.test.dev" },
        "spec": {
            "group": "test.dev", "scope": "Namespaced", "names": { "plural": "things", "singular": "thing", "kind": "Thing" },
            "versions": [{ "name": "v1", "served": true, "storage": true,
                "schema": { "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } } }],
        },
    });
    let definitions =
        ApiResource::from_gvk(&GroupVersionKind::gvk("apiextensions.k8s.io", "v1", "CustomResourceDefinition"));
    let api: Api<DynamicObject> = Api::all_with(cluster.client.clone(), &definitions);
    api.create(&PostParams::default(), &serde_json::from_value(definition).unwrap()).await.unwrap();
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("test.dev", "v1", "Thing"));
    let things: Api<DynamicObject> = Api::namespaced_with(cluster.client.clone(), "default", &resource);
    let thing = json!({ "apiVersion": "test.dev/v1", "kind": "Thing", "metadata": { "name": "thing" } });
    let thing: DynamicObject = serde_json::from_value(thing).unwrap();
    let thing = cluster.until(|| async { things.create(&PostParams::default(), &thing).await }).await;
    let owner = json!([{ "apiVersion": "test.dev/v1", "kind": "Thing", "name": "thing", "uid": thing.uid().unwrap() }]);
    cluster.create::<ConfigMap>(json!({ "metadata": { "name": "child", "ownerReferences": owner } })).await;
    cluster.settle().await;
    assert_eq!(names(&cluster).await, ["child"]);
    things.delete("thing", &DeleteParams::background()).await.unwrap();
    left(&cluster, &[]).await;
}

#[tokio::test(start_paused = true)]
async fn a_namespace_is_emptied_and_goes() {
    let cluster = Cluster::new();
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    let namespace: Namespace = serde_json::from_value(json!({ "metadata": { "name": "team" } })).unwrap();
    namespaces.create(&PostParams::default(), &namespace).await.unwrap();
    let accounts: Api<ServiceAccount> = Api::namespaced(cluster.client.clone(), "team");
    cluster.until(|| async { accounts.get("default").await }).await;
    let sets: Api<ReplicaSet> = Api::namespaced(cluster.client.clone(), "team");
    let set: ReplicaSet = serde_json::from_value(replica_set("web", 2, json!({}))).unwrap();
    sets.create(&PostParams::default(), &set).await.unwrap();
    let configs: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), "team");
    let held: ConfigMap =
        serde_json::from_value(json!({ "metadata": { "name": "held", "finalizers": ["test/hold"] } })).unwrap();
    configs.create(&PostParams::default(), &held).await.unwrap();
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), "team");
    cluster
        .until(|| async {
            let count = pods.list(&Default::default()).await.unwrap().items.len();
            if count == 2 { Ok(()) } else { Err(count) }
        })
        .await;

    namespaces.delete("team", &DeleteParams::default()).await.unwrap();
    cluster
        .until(|| async {
            let namespace = serde_json::to_value(namespaces.get("team").await.unwrap()).unwrap();
            let message = crate::cluster::condition(&namespace, "NamespaceFinalizersRemaining", "message").to_owned();
            let rest = crate::cluster::condition(&namespace, "NamespaceContentRemaining", "message").to_owned();
            let expected = "Some content in the namespace has finalizers remaining: test/hold in 1 resource instances";
            if message == expected && rest == "Some resources are remaining: configmaps has 1 resource instances" {
                Ok(())
            } else {
                Err((message, rest))
            }
        })
        .await;
    let release = kube::api::Patch::Merge(json!({ "metadata": { "finalizers": null } }));
    configs.patch("held", &Default::default(), &release).await.unwrap();
    cluster.until(|| async { namespaces.get_opt("team").await.unwrap().map_or(Ok(()), Err) }).await;
    assert!(pods.list(&Default::default()).await.unwrap().items.is_empty());
}

#[tokio::test(start_paused = true)]
async fn namespaces_have_the_root_certificate() {
    let cluster = Cluster::bare();
    let first = cluster.control("old");
    let shows = |text: &'static str| move |map: &serde_json::Value| map["data"] == json!({ "ca.crt": text });
    cluster.until_is::<ConfigMap>("kube-root-ca.crt", shows("old")).await;
    cluster.delete::<ConfigMap>("kube-root-ca.crt", DeleteParams::default()).await;
    cluster.until_is::<ConfigMap>("kube-root-ca.crt", shows("old")).await;
    cluster.patch::<ConfigMap>("kube-root-ca.crt", json!({ "data": { "ca.crt": "forged", "other": "" } })).await;
    cluster.until_is::<ConfigMap>("kube-root-ca.crt", shows("old")).await;
    first.abort();
    // The next authority has another certificate.
    cluster.control("new");
    cluster.until_is::<ConfigMap>("kube-root-ca.crt", shows("new")).await;
}
