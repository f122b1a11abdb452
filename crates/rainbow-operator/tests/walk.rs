//! Walk: first deploy, smoke, upgrade, and back.

mod common;

use common::{Cluster, seamless};
use serde_json::json;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn first_deploy_smoke_upgrade_retire() {
    let cluster = Cluster::start().await;
    cluster.apply(&seamless("v1", 5)).await;
    cluster.until("v1 serves", async |c: &Cluster| c.is_ready().await).await;
    assert_eq!(cluster.summary().await, "smoke=v1, active=v1");
    let state = cluster.state().await;
    assert_eq!(state["pods"], json!({ "backend-v1": 5, "frontend-v1": 5 }));
    assert_eq!(state["services"]["frontend-active"]["rainbow.dev/color"], "v1");
    assert!(state["services"]["backend-v1"].is_object() && state["services"]["frontend-v1"].is_object());

    // Releases do not follow each other within a second. The time is long enough for the data plane to know v1.
    tokio::time::sleep(Duration::from_secs(5)).await;
    cluster.writes.lock().unwrap().clear();
    let pods_before = *cluster.fake.made.lock().unwrap();
    cluster.apply(&seamless("v2", 5)).await;
    cluster.until("smoke serves v2", async |c: &Cluster| c.summary().await == "smoke=v2, active=v1").await;
    cluster.until("all is quiet", async |c: &Cluster| c.is_ready().await).await;
    assert_eq!(cluster.state().await["pods"]["frontend-v2"], 1, "smoke asks for one pod a tier");

    cluster.promote("v2").await;
    cluster.until("the shift has begun", async |c: &Cluster| c.summary().await.contains("active=v1→v2 2/5")).await;
    cluster.until("active serves v2", async |c: &Cluster| c.summary().await == "smoke=v2, active=v2").await;
    cluster.until("v1 is retired", async |c: &Cluster| c.color_phase("v1").await.as_deref() == Some("Retired")).await;
    cluster.until("all is quiet", async |c: &Cluster| c.is_ready().await).await;
    let state = cluster.state().await;
    assert_eq!(state["pods"], json!({ "backend-v2": 5, "frontend-v2": 5 }), "and no membership label is left");
    assert_eq!(state["deployments"], json!({ "backend-v1": 0, "backend-v2": 5, "frontend-v1": 0, "frontend-v2": 5 }));
    assert_eq!(*cluster.fake.made.lock().unwrap() - pods_before, 10, "each pod starts once");

    let writes = cluster.writes.lock().unwrap().clone();
    assert!(writes.len() <= 60, "{} writes for one release\n{writes:#?}", writes.len());

    // A steady state writes nothing, no matter how much time passes.
    let revision = cluster.api.revision();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(cluster.api.revision(), revision, "{:#?}", cluster.writes.lock().unwrap().split_off(writes.len()));
}

/// Releases that follow each other faster than statuses are written: each has a way back.
#[tokio::test(start_paused = true)]
async fn a_release_right_after_another_has_a_way_back() {
    for wait in (0..20).map(|step| Duration::from_millis(100 * step)) {
        let cluster = Cluster::start().await;
        cluster.apply(&seamless("v1", 2)).await;
        cluster.until("v1 is made", async |c: &Cluster| c.state().await["pods"]["frontend-v1"] == json!(2)).await;
        tokio::time::sleep(wait).await;
        cluster.apply(&seamless("v2", 2)).await;
        cluster.until("smoke serves v2", async |c: &Cluster| c.summary().await.starts_with("smoke=v2")).await;
        let smoke = cluster.rainbow().await.status.unwrap().stages.remove(0);
        assert_eq!((smoke.name.as_str(), smoke.previous.as_deref()), ("smoke", Some("v1")), "after {wait:?}");
    }
}
