//! Failures: crashes, other owners' objects, invalid specs, manual edits.

mod common;

use common::{Cluster, seamless};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Pod, Service},
    events::v1::Event,
};
use kube::{
    ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use rainbow_api::{Color, Rainbow};
use rainbow_operator::{
    Options,
    leader::{Contention, Election},
    run,
};
use serde_json::{Value, json};
use std::time::Duration;

async fn at_v1(replicas: u32) -> Cluster {
    let cluster = Cluster::start().await;
    cluster.apply(&seamless("v1", replicas)).await;
    cluster.until("v1 serves", async |c: &Cluster| c.is_ready().await).await;
    cluster
}

/// Applies v2 for both stages. In the end v1 is retired and there is nothing to do.
async fn release(cluster: &Cluster) {
    let mut v2 = seamless("v2", 2);
    v2["spec"]["stages"][1]["color"] = json!("v2");
    cluster.apply(&v2).await;
}

async fn settled(cluster: &Cluster) -> bool {
    cluster.summary().await == "smoke=v2, active=v2"
        && cluster.color_phase("v1").await.as_deref() == Some("Retired")
        && cluster.is_ready().await
}

#[tokio::test(start_paused = true)]
async fn a_crash_after_any_write_changes_nothing_in_the_end() {
    let cluster = at_v1(2).await;
    release(&cluster).await;
    cluster.until("v2 serves", async |c: &Cluster| settled(c).await).await;
    let expected = cluster.state().await;
    drop(cluster);

    let mut k = 0;
    loop {
        k += 1;
        let mut cluster = at_v1(2).await;
        let made = *cluster.fake.made.lock().unwrap();
        cluster.fuse(k);
        release(&cluster).await;
        cluster.until("the fuse blows or all is done", async |c: &Cluster| c.fuse_blown() || settled(c).await).await;
        if !cluster.fuse_blown() {
            break;
        }
        cluster.kill_operator().await;
        cluster.no_fuse();
        tokio::time::sleep(Duration::from_millis(30)).await;
        cluster.start_operator();
        cluster.until("v2 serves after a crash", async |c: &Cluster| settled(c).await).await;
        assert_eq!(cluster.state().await, expected, "crash after write {k}");
        assert_eq!(*cluster.fake.made.lock().unwrap() - made, 4, "crash after write {k}: each pod starts once");
    }
    assert!(k > 20, "only {k} writes");
}

#[tokio::test(start_paused = true)]
async fn a_foreign_service_is_left_alone() {
    let cluster = Cluster::start().await;
    let foreign: Service = serde_json::from_value(json!({
        "metadata": { "name": "frontend-active", "labels": { "app": "theirs" } },
        "spec": { "selector": { "app": "theirs" }, "ports": [{ "port": 80 }] },
    }))
    .unwrap();
    let foreign = cluster.api::<Service>().create(&PostParams::default(), &foreign).await.unwrap();
    cluster.apply(&seamless("v1", 2)).await;
    cluster
        .until("the clash is told", async |c: &Cluster| {
            c.condition("Stalled").await.is_some_and(|(is, ..)| is == "True")
        })
        .await;
    let (_, reason, message) = cluster.condition("Stalled").await.unwrap();
    assert_eq!(reason, "Conflict");
    assert!(message.starts_with("Service `frontend-active` exists and is not Rainbow's"), "{message}");
    cluster.until("the rest goes on", async |c: &Cluster| c.summary().await.starts_with("smoke=v1")).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let now = cluster.api::<Service>().get("frontend-active").await.unwrap();
    assert_eq!(now.resource_version(), foreign.resource_version(), "untouched");
    let writes = cluster.writes.lock().unwrap().len();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(cluster.writes.lock().unwrap().len(), writes, "a clash that stays costs no writes");

    cluster.api::<Service>().delete("frontend-active", &DeleteParams::default()).await.unwrap();
    cluster.until("the name is free", async |c: &Cluster| c.summary().await == "smoke=v1, active=v1").await;
    cluster.until("all is well", async |c: &Cluster| c.is_ready().await).await;
}

#[tokio::test(start_paused = true)]
async fn a_foreign_deployment_is_left_alone() {
    let cluster = Cluster::start().await;
    let foreign: Deployment = serde_json::from_value(json!({
        "metadata": { "name": "backend-v1" },
        "spec": { "replicas": 0, "selector": { "matchLabels": { "app": "theirs" } },
                  "template": { "metadata": { "labels": { "app": "theirs" } },
                                "spec": { "containers": [{ "name": "x", "image": "x" }] } } },
    }))
    .unwrap();
    let foreign = cluster.api::<Deployment>().create(&PostParams::default(), &foreign).await.unwrap();
    cluster.apply(&seamless("v1", 2)).await;
    cluster
        .until("the clash is told", async |c: &Cluster| {
            c.condition("Stalled").await.is_some_and(|(.., message)| message.contains("Deployment `backend-v1` exists"))
        })
        .await;
    let now = cluster.api::<Deployment>().get("backend-v1").await.unwrap();
    assert_eq!((now.spec, now.metadata.labels), (foreign.spec, foreign.metadata.labels));
}

#[tokio::test(start_paused = true)]
async fn an_invalid_spec_is_told_and_nothing_else_happens() {
    let cluster = at_v1(2).await;
    let before = cluster.state().await;
    // A cycle is an error that a schema cannot express.
    let mut cycle = seamless("v2", 2);
    cycle["spec"]["tiers"][0]["needs"] = json!([{ "tier": "frontend" }]);
    cycle["spec"]["stages"][0]["tier"] = json!("frontend");
    cycle["spec"]["stages"][1]["tier"] = json!("frontend");
    cluster.apply(&cycle).await;
    cluster
        .until("it is told", async |c: &Cluster| {
            c.condition("Ready").await.is_some_and(|(_, reason, _)| reason == "InvalidSpec")
        })
        .await;
    let (.., message) = cluster.condition("Stalled").await.unwrap();
    assert_eq!(
        message,
        "spec.tiers[backend].needs: goes round in a circle: backend -> frontend -> backend: take one of these needs away"
    );
    assert_eq!(cluster.state().await, before);
    let events = cluster.api::<Event>().list(&ListParams::default()).await.unwrap();
    assert!(events.iter().any(|event| event.reason.as_deref() == Some("InvalidSpec")));
    let revision = cluster.api.revision();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(cluster.api.revision(), revision, "told once");

    cluster.apply(&seamless("v1", 2)).await;
    cluster.until("all is well again", async |c: &Cluster| c.is_ready().await).await;
}

/// Returns volume mounts that only the API server's own validation refuses.
fn unknown_volume() -> serde_json::Value {
    json!([{ "name": "none", "mountPath": "/none" }])
}

#[tokio::test(start_paused = true)]
async fn a_refused_object_is_told_and_tried_again() {
    let cluster = at_v1(2).await;
    let mut v2 = seamless("v2", 2);
    v2["spec"]["tiers"][0]["template"]["spec"]["containers"][0]["volumeMounts"] = unknown_volume();
    cluster.apply(&v2).await;
    cluster
        .until("it is told", async |c: &Cluster| {
            c.condition("Stalled").await.is_some_and(|(is, reason, _)| is == "True" && reason == "Rejected")
        })
        .await;
    assert_eq!(cluster.summary().await, "smoke=v1→v2 0/1, active=v1");
    let writes = cluster.writes.lock().unwrap().len();
    tokio::time::sleep(Duration::from_secs(600)).await;
    let tries = cluster.writes.lock().unwrap().len() - writes;
    assert!((5..30).contains(&tries), "{tries} tries in ten minutes");
    cluster.apply(&seamless("v3", 2)).await;
    cluster.until("the next version comes", async |c: &Cluster| c.summary().await == "smoke=v3, active=v1").await;
}

#[tokio::test(start_paused = true)]
async fn edits_by_hand_are_mended_and_scaling_is_policy() {
    let cluster = at_v1(2).await;
    let deployments = cluster.api::<Deployment>();
    let edit = json!({ "spec": { "template": { "spec": { "containers": [{ "name": "backend", "image": "backend:other" }] } } } });
    deployments.patch("backend-v1", &PatchParams::default(), &Patch::Strategic(edit)).await.unwrap();
    cluster
        .until("the image is mended", async |c: &Cluster| {
            let deployment = c.api::<Deployment>().get("backend-v1").await.unwrap();
            deployment.spec.unwrap().template.spec.unwrap().containers[0].image.as_deref() == Some("backend:v1")
        })
        .await;
    let mut scaled = seamless("v1", 4);
    scaled["spec"]["tiers"][0]["replicas"] = json!(3);
    cluster.apply(&scaled).await;
    cluster
        .until("it is scaled", async |c: &Cluster| {
            c.is_ready().await && c.state().await["pods"] == json!({ "backend-v1": 3, "frontend-v1": 4 })
        })
        .await;
    assert_eq!(cluster.api::<Color>().list(&ListParams::default()).await.unwrap().items.len(), 1, "no new color");
}

#[tokio::test(start_paused = true)]
async fn a_selector_that_another_writer_edits_is_set_back_and_reported() {
    let cluster = at_v1(2).await;
    for (edit, rounds) in [(json!({ "rainbow.dev/color": "v9" }), 1), (json!({ "app": "theirs" }), 2)] {
        let selector = async |c: &Cluster| {
            c.api::<Service>().get("frontend-active").await.unwrap().spec.unwrap().selector.unwrap_or_default()
        };
        let before = selector(&cluster).await;
        // Events are named after the time, which stands still here between two of them.
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        let edit = Patch::Merge(json!({ "spec": { "selector": edit } }));
        cluster.api::<Service>().patch("frontend-active", &PatchParams::default(), &edit).await.unwrap();
        cluster.until("the selector is set back", async |c: &Cluster| selector(c).await == before).await;
        let told = async |c: &Cluster| {
            let events = c.api::<Event>().list(&ListParams::default()).await.unwrap();
            events.iter().filter(|event| event.reason.as_deref() == Some("SelectorRestored")).count()
        };
        cluster.until("the edit is reported once", async |c: &Cluster| told(c).await == rounds).await;
    }
    assert_eq!(cluster.summary().await, "smoke=v1, active=v1");
    let events = cluster.api::<Event>().list(&ListParams::default()).await.unwrap();
    let reasons: Vec<&str> = events.iter().filter_map(|event| event.reason.as_deref()).collect();
    assert!(!reasons.contains(&"ShiftStarted"), "nothing has moved: {reasons:?}");
}

/// Only the Service itself tells what the stage serves: all statuses are lost, and another writer has changed its selector.
#[tokio::test(start_paused = true)]
async fn a_service_says_what_its_stage_serves() {
    let mut cluster = at_v1(2).await;
    cluster.apply(&seamless("v2", 2)).await;
    cluster.until("v2 is tried", async |c: &Cluster| c.summary().await == "smoke=v2, active=v1").await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    cluster.kill_operator().await;
    let nothing = Patch::Merge(json!({ "status": null }));
    cluster.api::<Rainbow>().patch_status("seamless", &PatchParams::default(), &nothing).await.unwrap();
    for color in ["seamless-v1", "seamless-v2"] {
        cluster.api::<Color>().patch_status(color, &PatchParams::default(), &nothing).await.unwrap();
    }
    let edit = Patch::Merge(json!({ "spec": { "selector": { "app": "theirs" } } }));
    let services = cluster.api::<Service>();
    let edited = services.patch("frontend-active", &PatchParams::default(), &edit).await.unwrap();
    assert_eq!(edited.annotations()["rainbow.dev/serves"], "v1");
    // Until its endpoints are gone, they tell it, too.
    tokio::time::sleep(Duration::from_secs(30)).await;
    cluster.start_operator();
    let color = async |c: &Cluster| {
        let selector = c.api::<Service>().get("frontend-active").await.unwrap().spec.unwrap().selector.unwrap();
        if selector.contains_key("app") { None } else { selector.get("rainbow.dev/color").cloned() }
    };
    cluster.until("the selector is set back", async |c: &Cluster| color(c).await.is_some()).await;
    assert_eq!(color(&cluster).await.as_deref(), Some("v1"));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(cluster.summary().await, "smoke=v2, active=v1");
}

#[tokio::test(start_paused = true)]
async fn a_normalised_quantity_is_written_once() {
    let cluster = Cluster::start().await;
    let mut v1 = seamless("v1", 1);
    v1["spec"]["tiers"][0]["template"]["spec"]["containers"][0]["resources"] =
        json!({ "requests": { "cpu": "1000m", "memory": "1024Ki" } });
    cluster.apply(&v1).await;
    cluster.until("v1 serves", async |c: &Cluster| c.is_ready().await).await;
    let writes = cluster.writes.lock().unwrap().len();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(cluster.writes.lock().unwrap().len(), writes);
}

#[tokio::test(start_paused = true)]
async fn a_used_color_name_is_refused() {
    let cluster = at_v1(2).await;
    let mut other = seamless("v1", 2);
    other["spec"]["tiers"][0]["template"]["spec"]["containers"][0]["image"] = json!("backend:v2");
    cluster.apply(&other).await;
    cluster
        .until("it is told", async |c: &Cluster| {
            c.condition("Stalled").await.is_some_and(|(_, reason, _)| reason == "ColorInUse")
        })
        .await;
    let deployment = cluster.api::<Deployment>().get("backend-v1").await.unwrap();
    assert_eq!(deployment.spec.unwrap().template.spec.unwrap().containers[0].image.as_deref(), Some("backend:v1"));
}

#[tokio::test(start_paused = true)]
async fn a_color_that_never_becomes_ready_stays_out() {
    let cluster = at_v1(2).await;
    cluster.fake.broken.lock().unwrap().insert("v2".into());
    let mut v2 = seamless("v2", 2);
    v2["spec"]["progressDeadlineSeconds"] = json!(60);
    cluster.apply(&v2).await;
    cluster
        .until("it is told", async |c: &Cluster| {
            c.condition("Stalled").await.is_some_and(|(_, reason, _)| reason == "ProgressDeadlineExceeded")
        })
        .await;
    let stages = cluster.rainbow().await.status.unwrap().stages;
    assert!(stages.iter().all(|stage| stage.color.as_deref() == Some("v1")), "{stages:?}");
    cluster.until("so is the color", async |c: &Cluster| c.color_phase("v2").await.as_deref() == Some("Stalled")).await;
}

#[tokio::test(start_paused = true)]
async fn rollback_in_the_middle_of_a_shift_starts_no_pod() {
    let cluster = at_v1(5).await;
    cluster.apply(&seamless("v2", 5)).await;
    cluster.until("smoke serves v2", async |c: &Cluster| c.summary().await == "smoke=v2, active=v1").await;
    cluster.promote("v2").await;
    cluster.until("half way", async |c: &Cluster| c.summary().await.contains("active=v1→v2 2/5")).await;
    let made = *cluster.fake.made.lock().unwrap();
    cluster.promote("v1").await;
    cluster.until("v1 serves again", async |c: &Cluster| c.summary().await == "smoke=v2, active=v1").await;
    cluster.until("all is quiet", async |c: &Cluster| c.is_ready().await).await;
    assert_eq!(*cluster.fake.made.lock().unwrap(), made);
    let pods = cluster.api::<Pod>().list(&ListParams::default()).await.unwrap();
    assert!(pods.iter().all(|pod| pod.labels().keys().all(|key| !key.starts_with("member."))), "no label is left");
}

#[tokio::test(start_paused = true)]
async fn deleting_takes_everything_in_order() {
    let cluster = at_v1(2).await;
    cluster.writes.lock().unwrap().clear();
    cluster.api::<Rainbow>().delete("seamless", &DeleteParams::default()).await.unwrap();
    cluster
        .until("the Rainbow is gone", async |c: &Cluster| {
            c.api::<Rainbow>().get_opt("seamless").await.unwrap().is_none()
        })
        .await;
    let state = cluster.state().await;
    assert_eq!(state, json!({ "deployments": {}, "services": {}, "pods": {}, "colors": {} }));
    let writes = cluster.writes.lock().unwrap().clone();
    let at = |part: &str| {
        writes.iter().position(|write| write.contains(part)).unwrap_or_else(|| panic!("{part}: {writes:#?}"))
    };
    assert!(at("services/frontend-active") < at("deployments/frontend-v1"), "clients stop first: {writes:#?}");
    assert!(at("deployments/frontend-v1") < at("deployments/backend-v1"), "entry before inner: {writes:#?}");
}

/// The color and the Services were deleted while there was no operator: no memory is left of recent endpoints.
#[tokio::test(start_paused = true)]
async fn what_nobody_has_ends_when_the_data_plane_has_forgotten_it() {
    let mut cluster = at_v1(2).await;
    cluster.kill_operator().await;
    for stage in ["active", "smoke"] {
        cluster.api::<Service>().delete(&format!("frontend-{stage}"), &DeleteParams::default()).await.unwrap();
    }
    let colors = cluster.api::<Color>();
    let free = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
    colors.patch("seamless-v1", &PatchParams::default(), &free).await.unwrap();
    colors.delete("seamless-v1", &DeleteParams::default()).await.unwrap();
    release(&cluster).await;

    let began = tokio::time::Instant::now();
    cluster.start_operator();
    let ended = async || {
        let deployments = cluster.api::<Deployment>();
        deployments
            .get_opt("frontend-v1")
            .await
            .unwrap()
            .is_none_or(|found| found.metadata.deletion_timestamp.is_some())
    };
    while !ended().await {
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(began.elapsed() < Duration::from_secs(60), "it stays");
    }
    assert!(began.elapsed() >= common::PROPAGATION, "it ended after {:?}", began.elapsed());
    cluster
        .until("v2 serves", async |c: &Cluster| c.summary().await == "smoke=v2, active=v2" && c.is_ready().await)
        .await;
}

#[tokio::test(start_paused = true)]
async fn another_prefix_makes_nothing_a_second_time() {
    let cluster = at_v1(2).await;
    let mut renamed: Value = seamless("v1", 2);
    renamed["spec"]["namePrefix"] = json!("new-");
    cluster.apply(&renamed).await;
    let refused = async |c: &Cluster| {
        let conditions = c.api::<Rainbow>().get("seamless").await.unwrap().status.unwrap_or_default().conditions;
        conditions
            .iter()
            .any(|c| c.type_ == "Stalled" && c.message.contains("spec.namePrefix cannot change from \"\" to \"new-\""))
    };
    cluster.until("the prefix is refused", refused).await;
    let names: Vec<String> =
        cluster.api::<Deployment>().list(&Default::default()).await.unwrap().iter().map(|d| d.name_any()).collect();
    assert_eq!(names, ["backend-v1", "frontend-v1"]);
    renamed["spec"]["namePrefix"] = json!("");
    cluster.apply(&renamed).await;
    cluster.until("it is well again", async |c: &Cluster| !refused(c).await && c.is_ready().await).await;
    // Existing objects are deleted under their own names, no matter what the spec says by then.
    renamed["spec"]["namePrefix"] = json!("new-");
    cluster.apply(&renamed).await;
    cluster.api::<Rainbow>().delete("seamless", &Default::default()).await.unwrap();
    let gone = async |c: &Cluster| {
        c.api::<Rainbow>().get_opt("seamless").await.unwrap().is_none()
            && c.api::<Deployment>().list(&Default::default()).await.unwrap().items.is_empty()
    };
    cluster.until("all is gone", gone).await;
}

#[tokio::test(start_paused = true)]
async fn two_rainbows_share_a_namespace() {
    let cluster = at_v1(2).await;
    let mut other: Value = seamless("v1", 1);
    other["metadata"]["name"] = json!("other");
    cluster.apply(&other).await;
    let clash = async |c: &Cluster| {
        let other = c.api::<Rainbow>().get("other").await.unwrap();
        other.status.is_some_and(|s| s.conditions.iter().any(|c| c.type_ == "Stalled" && c.reason == "Conflict"))
    };
    cluster.until("the names clash", clash).await;
    other["spec"]["namePrefix"] = json!("other-");
    cluster.apply(&other).await;
    cluster
        .until("both are well", async |c: &Cluster| {
            let other = c.api::<Rainbow>().get("other").await.unwrap();
            c.is_ready().await && other.status.is_some_and(|s| s.summary.as_deref() == Some("smoke=v1, active=v1"))
        })
        .await;
}

/// Nothing is written to a cluster that is too old, not even the lease of an election.
#[tokio::test(start_paused = true)]
async fn an_old_cluster_is_refused() {
    let mut cluster = Cluster::without_operator().await;
    cluster.version = Some(json!({ "major": "1", "minor": "27", "gitVersion": "v1.27.3" }));
    cluster.apply(&seamless("v1", 1)).await;
    let election =
        Election { namespace: "default".into(), identity: "a".into(), scope: None, others: Contention::Wait };
    for election in [None, Some(election)] {
        let ended = run(cluster.operator_client(), Options { election, ..Options::default() }).await;
        let error = ended.unwrap_err().to_string();
        assert_eq!(error, "this cluster runs Kubernetes 1.27.3, and Rainbow needs 1.30 or later");
    }
    assert_eq!(*cluster.writes.lock().unwrap(), Vec::<String>::new());
}

/// Conditions name the object that blocks, no matter what its name is made of.
#[tokio::test(start_paused = true)]
async fn a_clash_is_told_by_the_name_of_the_object() {
    let cluster = Cluster::start().await;
    let service = |name: &str| -> Service {
        let spec = json!({ "selector": { "app": "theirs" }, "ports": [{ "port": 80 }] });
        serde_json::from_value(json!({ "metadata": { "name": name }, "spec": spec })).unwrap()
    };
    for name in ["shop-frontend-smoke", "front", "shop-backend-v1"] {
        cluster.api::<Service>().create(&PostParams::default(), &service(name)).await.unwrap();
    }
    let mut v1 = seamless("v1", 1);
    v1["spec"]["namePrefix"] = json!("shop-");
    v1["spec"]["stages"][1]["service"] = json!({ "name": "front" });
    cluster.apply(&v1).await;
    let told = async |c: &Cluster| {
        let message = c.condition("Stalled").await.map(|(.., message)| message).unwrap_or_default();
        ["shop-frontend-smoke", "front", "shop-backend-v1"]
            .iter()
            .all(|name| message.contains(&format!("Service `{name}` exists and is not Rainbow's")))
    };
    cluster.until("all three are named", told).await;
}

/// A version whose Deployment the API server refuses is a trouble of that version alone: a rollback is possible, and quick.
#[tokio::test(start_paused = true)]
async fn a_refused_deployment_does_not_stop_a_rollback() {
    let cluster = at_v1(2).await;
    release(&cluster).await;
    cluster.until("v2 serves", async |c: &Cluster| c.summary().await == "smoke=v2, active=v2").await;
    let mut v3 = seamless("v3", 2);
    v3["spec"]["stages"][1]["color"] = json!("v2");
    v3["spec"]["tiers"][0]["template"]["spec"]["containers"][0]["volumeMounts"] = unknown_volume();
    cluster.apply(&v3).await;
    let refused = async |c: &Cluster| {
        c.condition("Stalled").await.is_some_and(|(is, reason, message)| {
            is == "True" && reason == "Rejected" && message.starts_with("Deployment `backend-v3`: ")
        })
    };
    cluster.until("it is told", refused).await;
    let color_tells = async |c: &Cluster| {
        let color = c.api::<Color>().get("seamless-v3").await.unwrap().status.unwrap_or_default();
        let stalled = color.conditions.iter().find(|condition| condition.type_ == "Stalled");
        stalled.is_some_and(|condition| condition.message.starts_with("Deployment `backend-v3`: "))
    };
    cluster.until("the color tells it, too", color_tells).await;

    let began = tokio::time::Instant::now();
    cluster.promote("v1").await;
    cluster.until("active serves v1", async |c: &Cluster| c.summary().await.ends_with(", active=v1")).await;
    assert!(began.elapsed() < Duration::from_secs(5), "after {:?}", began.elapsed());
    assert!(refused(&cluster).await, "the trouble is still told");
}

/// A label that another field manager has put on a pod does not keep a shift from ending.
#[tokio::test(start_paused = true)]
async fn a_membership_label_of_another_is_taken_off() {
    let cluster = at_v1(2).await;
    let pods = cluster.api::<Pod>();
    for pod in pods.list(&ListParams::default()).await.unwrap() {
        let label = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "labels": { "member.rainbow.dev/active": "yes" } } });
        pods.patch(&pod.name_any(), &PatchParams::apply("somebody").force(), &Patch::Apply(label)).await.unwrap();
    }
    let unlabeled = async |c: &Cluster| {
        let pods = c.api::<Pod>().list(&ListParams::default()).await.unwrap();
        pods.iter().all(|pod| !pod.labels().contains_key("member.rainbow.dev/active"))
    };
    cluster.until("the labels are gone", unlabeled).await;
    let writes = cluster.writes.lock().unwrap().len();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(cluster.writes.lock().unwrap().len() - writes < 5, "and nothing goes on about it");
}
