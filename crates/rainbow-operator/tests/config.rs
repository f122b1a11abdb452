//! ConfigMaps and Secrets as part of a version.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod common;

use common::{Cluster, seamless};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Secret},
};
use kube::{
    Api, Resource, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use rainbow_api::{Color, labels};
use rainbow_operator::ConfigAccess;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::{collections::BTreeMap, fmt::Debug, time::Duration};

const LONG: Duration = Duration::from_secs(120);

/// Starts a cluster whose operator may read ConfigMaps and Secrets.
async fn cluster() -> Cluster {
    let mut cluster = Cluster::without_operator().await;
    cluster.config_access = ConfigAccess::All;
    cluster.start_operator();
    cluster
}

/// Returns the sample application with a backend that reads a ConfigMap and a Secret. Without a color, the version is named after its hash.
fn versioned(color: Option<&str>) -> Value {
    let mut rainbow = seamless(color.unwrap_or("x"), 2);
    if color.is_none() {
        rainbow["spec"].as_object_mut().unwrap().remove("color");
    }
    rainbow["spec"]["config"] = json!("Versioned");
    rainbow["spec"]["keep"] = json!({ "warm": "1s", "history": 1 });
    rainbow["spec"]["drain"] = json!({ "settle": "1s", "connections": "None" });
    let backend = &mut rainbow["spec"]["tiers"][0]["template"]["spec"];
    backend["volumes"] = json!([{ "name": "v", "configMap": { "name": "settings" } }]);
    backend["containers"][0]["env"] = json!([
        { "name": "PASSWORD", "valueFrom": { "secretKeyRef": { "name": "database", "key": "password" } } },
    ]);
    rainbow
}

async fn settings(cluster: &Cluster, value: &str) {
    put::<ConfigMap>(cluster, "settings", json!({ "data": { "mode": value } })).await;
}

async fn password(cluster: &Cluster, value: &str) {
    put::<Secret>(cluster, "database", json!({ "stringData": { "password": value } })).await;
}

async fn put<K>(cluster: &Cluster, name: &str, content: Value)
where
    K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let mut object = content;
    object["apiVersion"] = json!(K::api_version(&()));
    object["kind"] = json!(K::kind(&()));
    object["metadata"] = json!({ "name": name });
    cluster.api::<K>().patch(name, &PatchParams::apply("user").force(), &Patch::Apply(&object)).await.unwrap();
}

/// Returns the copies by name, with the object that was copied.
async fn copies<K>(cluster: &Cluster) -> BTreeMap<String, String>
where
    K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let all = cluster.api::<K>().list(&ListParams::default()).await.unwrap();
    let copy = |one: &K| Some((one.name_any(), one.annotations().get(labels::COPY_OF)?.clone()));
    all.iter().filter_map(copy).collect()
}

async fn config_maps(cluster: &Cluster) -> Vec<String> {
    copies::<ConfigMap>(cluster).await.into_keys().collect()
}

/// Returns the newest color once everything is ready.
async fn ready(cluster: &Cluster) -> Color {
    cluster.until("all is ready", async |c: &Cluster| c.is_ready().await).await;
    newest(cluster).await
}

async fn newest(cluster: &Cluster) -> Color {
    let all = cluster.api::<Color>().list(&ListParams::default()).await.unwrap();
    all.items.into_iter().max_by_key(|color| color.spec.revision).unwrap()
}

/// Waits until the newest color has this revision and all its pods.
async fn revision(cluster: &Cluster, revision: i64) -> Color {
    let is_up = async |c: &Cluster| {
        let all = c.api::<Color>().list(&ListParams::default()).await.unwrap();
        let found = all.items.into_iter().find(|color| color.spec.revision == revision);
        found.and_then(|color| color.status?.ready).is_some_and(|ready| ready == "4/4" || ready == "2/2")
    };
    cluster.until("a color of this revision", is_up).await;
    newest(cluster).await
}

fn copy_of(color: &Color, name: &str) -> String {
    color.spec.config.iter().find(|one| one.name == name).unwrap().copy.clone()
}

/// Returns what the template of the backend's Deployment names: the ConfigMap and the Secret.
async fn reads(cluster: &Cluster, color: &Color) -> (String, String) {
    let name = format!("backend-{}", color.spec.color);
    let found = cluster.api::<Deployment>().get(&name).await.unwrap();
    let template = json!(found.spec.unwrap().template.spec.unwrap());
    let text = |pointer: &str| template.pointer(pointer).unwrap().as_str().unwrap().to_owned();
    let secret = template["containers"][0]["env"].as_array().unwrap();
    let at = secret.iter().position(|variable| variable["name"] == "PASSWORD").unwrap();
    (text("/volumes/0/configMap/name"), text(&format!("/containers/0/env/{at}/valueFrom/secretKeyRef/name")))
}

/// Releases the first color, which reads the first content.
async fn released(cluster: &Cluster) -> Color {
    settings(cluster, "one").await;
    password(cluster, "one").await;
    cluster.apply(&versioned(Some("v1"))).await;
    ready(cluster).await
}

#[tokio::test(start_paused = true)]
async fn a_changed_object_is_a_release() {
    let cluster = cluster().await;
    settings(&cluster, "one").await;
    password(&cluster, "secret-one").await;
    cluster.apply(&versioned(None)).await;
    let first = ready(&cluster).await;
    let (map, secret) = reads(&cluster, &first).await;
    assert_eq!((&map, &secret), (&copy_of(&first, "settings"), &copy_of(&first, "database")));
    let made = cluster.api::<ConfigMap>().get(&map).await.unwrap();
    assert_eq!((made.immutable, made.data.unwrap()["mode"].as_str()), (Some(true), "one"));
    let made = cluster.api::<Secret>().get(&secret).await.unwrap();
    assert_eq!((made.immutable, &made.data.unwrap()["password"].0[..]), (Some(true), &b"secret-one"[..]));

    settings(&cluster, "two").await;
    let second = revision(&cluster, 2).await;
    assert_ne!(first.spec.color, second.spec.color);
    assert_ne!(copy_of(&second, "settings"), map);
    assert_eq!(copy_of(&second, "database"), secret, "equal content has one copy");
    assert_eq!(reads(&cluster, &first).await, (map.clone(), secret.clone()), "what serves reads what it has read");
    assert!(cluster.summary().await.contains(&format!("active={}", first.spec.color)));

    password(&cluster, "secret-two").await;
    let third = revision(&cluster, 3).await;
    assert_ne!(copy_of(&third, "database"), secret);
    assert_eq!(copy_of(&third, "settings"), copy_of(&second, "settings"));

    // With the former content, the former color is the newest again.
    settings(&cluster, "one").await;
    password(&cluster, "secret-one").await;
    let is_first = async |c: &Cluster| {
        c.rainbow().await.status.and_then(|status| status.color).as_ref() == Some(&first.spec.color)
    };
    cluster.until("the first color is the newest", is_first).await;
    let text = json!(cluster.api::<Color>().list(&ListParams::default()).await.unwrap()).to_string();
    assert!(!text.contains("secret-"), "no color says what is in a Secret");
}

#[tokio::test(start_paused = true)]
async fn a_write_that_changes_no_content_is_no_release() {
    let cluster = cluster().await;
    settings(&cluster, "one").await;
    password(&cluster, "one").await;
    cluster.apply(&versioned(None)).await;
    let first = ready(&cluster).await;
    let label = json!({ "metadata": { "labels": { "team": "a" } } });
    let api = cluster.api::<ConfigMap>();
    api.patch("settings", &PatchParams::default(), &Patch::Merge(label)).await.unwrap();
    put::<ConfigMap>(&cluster, "another", json!({ "data": {} })).await;
    tokio::time::sleep(LONG).await;
    let writes = cluster.writes.lock().unwrap().len();
    tokio::time::sleep(LONG).await;
    assert_eq!(newest(&cluster).await.spec.color, first.spec.color);
    assert_eq!(cluster.writes.lock().unwrap().len(), writes, "a steady state writes nothing");
}

#[tokio::test(start_paused = true)]
async fn a_used_name_is_refused_and_the_object_is_named() {
    let cluster = cluster().await;
    settings(&cluster, "one").await;
    password(&cluster, "one").await;
    cluster.apply(&versioned(Some("v1"))).await;
    ready(&cluster).await;
    settings(&cluster, "two").await;
    let told = async |c: &Cluster| c.condition("Stalled").await.is_some_and(|(_, reason, _)| reason == "ColorInUse");
    cluster.until("it is told", told).await;
    let (_, _, message) = cluster.condition("Stalled").await.unwrap();
    assert_eq!(message, "color `v1` exists with other content of ConfigMap `settings`: give spec.color a new name");
    assert_eq!(config_maps(&cluster).await.len(), 1, "nothing is half-made");
    cluster.apply(&versioned(Some("v2"))).await;
    let second = revision(&cluster, 2).await;
    assert_eq!(second.spec.color, "v2");
}

#[tokio::test(start_paused = true)]
async fn copies_go_with_the_last_color_that_reads_them() {
    let cluster = cluster().await;
    let first = released(&cluster).await;
    for (number, value) in [(2, "two"), (3, "three")] {
        settings(&cluster, value).await;
        let color = format!("v{number}");
        cluster.apply(&versioned(Some(&color))).await;
        revision(&cluster, number).await;
        cluster.promote(&color).await;
        cluster.until("it serves", async |c: &Cluster| c.summary().await.contains(&format!("active={color}"))).await;
        cluster.until("all is ready", async |c: &Cluster| c.is_ready().await).await;
    }
    // `keep.history` is 1: v2 is kept without pods, v1 is gone.
    let is_gone = async |c: &Cluster| c.color_phase("v1").await.is_none();
    cluster.until("v1 is gone", is_gone).await;
    let old = copy_of(&first, "settings");
    let deleted = async |c: &Cluster| !config_maps(c).await.contains(&old);
    cluster.until("its copy is gone", deleted).await;
    tokio::time::sleep(LONG).await;
    assert_eq!(config_maps(&cluster).await.len(), 2, "a color without pods keeps its copy: it is a way back");
    assert_eq!(copies::<Secret>(&cluster).await.len(), 1);

    // A return to v2 starts its pods with its copy.
    cluster.until("v2 is retired", async |c: &Cluster| c.color_phase("v2").await.as_deref() == Some("Retired")).await;
    cluster.promote("v2").await;
    cluster.until("v2 serves", async |c: &Cluster| c.summary().await.contains("active=v2")).await;
    let second: Color = cluster.api().get("seamless-v2").await.unwrap();
    let (map, _) = reads(&cluster, &second).await;
    let data = cluster.api::<ConfigMap>().get(&map).await.unwrap().data.unwrap();
    assert_eq!(data["mode"], "two");
}

#[tokio::test(start_paused = true)]
async fn a_missing_object_is_waited_for() {
    let cluster = cluster().await;
    password(&cluster, "one").await;
    cluster.apply(&versioned(Some("v1"))).await;
    let told = async |c: &Cluster| c.condition("Ready").await.is_some_and(|(_, reason, _)| reason == "ConfigMissing");
    cluster.until("it is told", told).await;
    let (_, _, message) = cluster.condition("Reconciling").await.unwrap();
    assert_eq!(
        message,
        "ConfigMap `settings` does not exist: a new color waits; create it, or set `optional: true` where templates name it"
    );
    assert_eq!(cluster.condition("Stalled").await.unwrap().0, "False", "it may come");
    assert_eq!(cluster.api::<Color>().list(&ListParams::default()).await.unwrap().items.len(), 0);
    assert_eq!(copies::<Secret>(&cluster).await.len(), 0, "nothing is half-made");
    settings(&cluster, "one").await;
    ready(&cluster).await;
    // Once there is a color, what serves continues, and so do changes that the spec asks of it.
    cluster.api::<ConfigMap>().delete("settings", &Default::default()).await.unwrap();
    cluster.until("it is told", told).await;
    let mut larger = versioned(Some("v1"));
    larger["spec"]["tiers"][0]["replicas"] = json!(3);
    cluster.apply(&larger).await;
    let grown = async |c: &Cluster| {
        let found = c.api::<Deployment>().get("backend-v1").await.unwrap();
        found.spec.unwrap().replicas == Some(3)
    };
    cluster.until("the backend grows", grown).await;
}

#[tokio::test(start_paused = true)]
async fn an_optional_object_may_come_and_go() {
    let cluster = cluster().await;
    settings(&cluster, "one").await;
    let optional = |color: Option<&str>| {
        let mut rainbow = versioned(color);
        let container = &mut rainbow["spec"]["tiers"][0]["template"]["spec"]["containers"][0];
        container["env"][0]["valueFrom"]["secretKeyRef"]["optional"] = json!(true);
        rainbow
    };
    cluster.apply(&optional(None)).await;
    let first = ready(&cluster).await;
    assert_eq!(copies::<Secret>(&cluster).await.len(), 0);
    let (_, absent) = reads(&cluster, &first).await;
    assert_ne!(absent, "database", "an object that comes later is not read by this color");
    password(&cluster, "one").await;
    let second = revision(&cluster, 2).await;
    assert_eq!(copies::<Secret>(&cluster).await.len(), 1);
    assert_ne!(reads(&cluster, &second).await.1, absent);
    cluster.api::<Secret>().delete("database", &Default::default()).await.unwrap();
    let is_first = async |c: &Cluster| {
        c.rainbow().await.status.and_then(|status| status.color).as_ref() == Some(&first.spec.color)
    };
    cluster.until("the first color is the newest", is_first).await;
}

#[tokio::test(start_paused = true)]
async fn without_the_right_it_is_said_what_to_do() {
    for (access, given) in [
        (ConfigAccess::None, "ConfigMap `settings`, Secret `database`"),
        (ConfigAccess::ConfigMaps, "Secret `database`"),
    ] {
        let mut cluster = Cluster::without_operator().await;
        cluster.config_access = access;
        cluster.start_operator();
        settings(&cluster, "one").await;
        password(&cluster, "one").await;
        cluster.apply(&versioned(None)).await;
        let told =
            async |c: &Cluster| c.condition("Stalled").await.is_some_and(|(_, reason, _)| reason == "ConfigNotAllowed");
        cluster.until("it is told", told).await;
        let (_, _, message) = cluster.condition("Stalled").await.unwrap();
        assert_eq!(
            message,
            format!(
                "spec.config: `Versioned` needs the right to read {given}: `rainbow install --versioned-config all` gives it to the \
                 operator, or set spec.config to `Shared`"
            )
        );
        // A spec that needs no copies does not wait for them.
        let mut shared = versioned(Some("v1"));
        shared["spec"]["config"] = json!("Shared");
        cluster.apply(&shared).await;
        let color = ready(&cluster).await;
        assert_eq!((color.spec.config.len(), reads(&cluster, &color).await.0.as_str()), (0, "settings"));
    }
}

async fn delete<K>(api: &Api<K>, name: &str)
where
    K: Clone + Debug + DeserializeOwned,
{
    api.delete(name, &Default::default()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_others_delete_is_put_back_where_that_is_possible() {
    let mut cluster = cluster().await;
    let first = released(&cluster).await;
    let copy = copy_of(&first, "settings");
    let maps = cluster.api::<ConfigMap>();
    delete(&maps, &copy).await;
    let back = async |c: &Cluster| config_maps(c).await.contains(&copy);
    cluster.until("it is back", back).await;
    // Another object takes its place, with the same labels, while no operator sees it.
    cluster.kill_operator().await;
    let mut edited = maps.get(&copy).await.unwrap();
    edited.metadata = kube::core::ObjectMeta {
        name: edited.metadata.name,
        labels: edited.metadata.labels,
        annotations: edited.metadata.annotations,
        owner_references: edited.metadata.owner_references,
        ..Default::default()
    };
    edited.data = Some([("mode".to_owned(), "edited".to_owned())].into());
    delete(&maps, &copy).await;
    maps.create(&Default::default(), &edited).await.unwrap();
    cluster.start_operator();
    let restored = async |c: &Cluster| {
        let found = c.api::<ConfigMap>().get_opt(&copy).await.unwrap();
        found.and_then(|found| found.data).is_some_and(|data| data["mode"] == "one")
    };
    cluster.until("the content is back", restored).await;

    // The content is lost when the object has other content by now.
    settings(&cluster, "two").await;
    tokio::time::sleep(LONG).await;
    let before = cluster.api::<Deployment>().get("backend-v1").await.unwrap().metadata.resource_version;
    delete(&maps, &copy).await;
    let told = async |c: &Cluster| {
        c.condition("Stalled").await.is_some_and(|(.., text)| text.contains("cannot be made again"))
    };
    cluster.until("it is told", told).await;
    let (_, _, message) = cluster.condition("Stalled").await.unwrap();
    assert!(message.contains(&format!("ConfigMap `{copy}` of color `v1` was deleted")), "{message}");
    tokio::time::sleep(LONG).await;
    let after = cluster.api::<Deployment>().get("backend-v1").await.unwrap().metadata.resource_version;
    assert_eq!(before, after, "what runs is left alone");
    settings(&cluster, "one").await;
    cluster.until("the content has come back", back).await;
    ready(&cluster).await;
}

/// The name of a copy belongs to an object of another owner.
#[tokio::test(start_paused = true)]
async fn objects_of_others_are_left_alone() {
    let mut cluster = cluster().await;
    let first = released(&cluster).await;
    let copy = copy_of(&first, "settings");
    cluster.kill_operator().await;
    delete(&cluster.api::<ConfigMap>(), &copy).await;
    put::<ConfigMap>(&cluster, &copy, json!({ "data": { "mode": "mine" } })).await;
    cluster.start_operator();
    let told = async |c: &Cluster| c.condition("Stalled").await.is_some_and(|(_, reason, _)| reason == "Conflict");
    cluster.until("it is told", told).await;
    let found = cluster.api::<ConfigMap>().get(&copy).await.unwrap();
    assert_eq!(found.data.unwrap()["mode"], "mine");
    // The original may belong to the Rainbow, so that it is deleted with it. That does not make it a copy.
    let owner = cluster.rainbow().await.controller_owner_ref(&()).unwrap();
    let owned = json!({ "metadata": { "ownerReferences": [owner], "labels": { labels::RAINBOW: "seamless", labels::MANAGED_BY: labels::MANAGER } } });
    cluster.api::<ConfigMap>().patch("settings", &PatchParams::default(), &Patch::Merge(owned)).await.unwrap();
    delete(&cluster.api::<ConfigMap>(), &copy).await;
    ready(&cluster).await;
    tokio::time::sleep(LONG).await;
    assert!(cluster.api::<ConfigMap>().get_opt("settings").await.unwrap().is_some());
}

/// The operator stops dead after each write of a release by configuration, and another one finishes what it has begun.
#[tokio::test(start_paused = true)]
async fn a_crash_after_any_write_is_resumed() {
    for crash in 1..40 {
        let mut cluster = cluster().await;
        settings(&cluster, "one").await;
        password(&cluster, "one").await;
        cluster.fuse(crash);
        cluster.apply(&versioned(Some("v1"))).await;
        let blown = async |c: &Cluster| c.fuse_blown() || c.is_ready().await;
        cluster.until("a crash, or the end", blown).await;
        let crashed = cluster.fuse_blown();
        cluster.kill_operator().await;
        cluster.no_fuse();
        cluster.start_operator();
        let first = ready(&cluster).await;
        let names = reads(&cluster, &first).await;
        assert_eq!(names, (copy_of(&first, "settings"), copy_of(&first, "database")), "crash after write {crash}");
        assert_eq!(config_maps(&cluster).await, [names.0], "crash after write {crash}");
        assert_eq!(copies::<Secret>(&cluster).await.len(), 1, "crash after write {crash}");
        if !crashed {
            return;
        }
    }
    panic!("a release takes fewer writes");
}

/// The key for the hashes of Secrets survives the operator, and a known key survives its Secret.
#[tokio::test(start_paused = true)]
async fn a_restart_or_a_deleted_key_is_no_release() {
    let mut cluster = cluster().await;
    settings(&cluster, "one").await;
    password(&cluster, "one").await;
    cluster.apply(&versioned(None)).await;
    let first = ready(&cluster).await;
    cluster.kill_operator().await;
    cluster.start_operator();
    tokio::time::sleep(LONG).await;
    ready(&cluster).await;
    delete(&cluster.api::<Secret>(), "seamless-config-key").await;
    // A read of a Secret needs the key.
    password(&cluster, "two").await;
    revision(&cluster, 2).await;
    password(&cluster, "one").await;
    let is_first = async |c: &Cluster| {
        c.rainbow().await.status.and_then(|status| status.color).as_ref() == Some(&first.spec.color)
    };
    cluster.until("the first color is the newest", is_first).await;
}

/// The garbage collector deletes copies and key with the Rainbow.
#[tokio::test(start_paused = true)]
async fn the_rainbow_owns_what_is_made() {
    let cluster = cluster().await;
    settings(&cluster, "one").await;
    password(&cluster, "one").await;
    cluster.apply(&versioned(None)).await;
    let color = ready(&cluster).await;
    let owner = cluster.rainbow().await.metadata.uid;
    let owned = |owners: &[k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference]| {
        owners.iter().map(|owner| Some(owner.uid.clone())).collect::<Vec<_>>()
    };
    let map = cluster.api::<ConfigMap>().get(&copy_of(&color, "settings")).await.unwrap();
    assert_eq!(owned(map.owner_references()), vec![owner.clone()]);
    for secret in [copy_of(&color, "database"), "seamless-config-key".to_owned()] {
        let found = cluster.api::<Secret>().get(&secret).await.unwrap();
        assert_eq!((owned(found.owner_references()), found.immutable), (vec![owner.clone()], Some(true)), "{secret}");
    }
    cluster.delete().await;
    let gone = async |c: &Cluster| c.api::<rainbow_api::Rainbow>().get_opt("seamless").await.unwrap().is_none();
    cluster.until("no copy holds the Rainbow", gone).await;
}
