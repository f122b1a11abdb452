//! Holds in the spec: their effect, and what the status remembers of them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{Cluster, seamless};
use kube::api::{Patch, PatchParams};
use rainbow_api::Rainbow;
use serde_json::{Value, json};

/// Writes a hold as the command line does.
async fn hold(cluster: &Cluster, hold: Value) {
    let patch = Patch::Merge(json!({ "spec": { "holds": [hold] } }));
    cluster.api::<Rainbow>().patch("seamless", &PatchParams::default(), &patch).await.unwrap();
}

/// Returns a cluster in which stage `smoke` follows the newest color, has served v2, and is taken back to v1.
async fn taken_back() -> Cluster {
    let cluster = Cluster::start().await;
    cluster.apply(&seamless("v1", 1)).await;
    cluster.until("v1 serves", async |c: &Cluster| c.is_ready().await).await;
    cluster.apply(&seamless("v2", 1)).await;
    cluster
        .until("v2 serves", async |c: &Cluster| c.summary().await == "smoke=v2, active=v1" && c.is_ready().await)
        .await;
    let since = "2026-11-30T19:00:00Z";
    hold(&cluster, json!({ "stage": "smoke", "color": "v1", "revision": 2, "by": "ann", "since": since })).await;
    cluster.until("v1 is held", async |c: &Cluster| held(c).await && c.is_ready().await).await;
    cluster
}

async fn held(cluster: &Cluster) -> bool {
    cluster.summary().await == "smoke=v1 held, active=v1"
}

#[tokio::test(start_paused = true)]
async fn a_manifest_that_is_applied_again_undoes_no_rollback() {
    let mut cluster = taken_back().await;
    let stage = cluster.rainbow().await.status.unwrap().stages.remove(0);
    assert_eq!(
        stage.message.as_deref(),
        Some(
            "held at `v1` by ann since 2026-11-30T19:00:00Z until a later color, or `rainbow promote seamless --stage smoke`"
        )
    );
    for color in ["v2", "v1", "v2"] {
        cluster.apply(&seamless(color, 1)).await;
        cluster.until("it is seen, and changes nothing", async |c: &Cluster| c.is_ready().await && held(c).await).await;
    }
    // A hold that a later color has ended stays ended, under any operator.
    cluster.apply(&seamless("v3", 1)).await;
    cluster
        .until("v3 serves", async |c: &Cluster| c.summary().await == "smoke=v3, active=v1" && c.is_ready().await)
        .await;
    cluster.kill_operator().await;
    cluster.start_operator();
    cluster.apply(&seamless("v2", 1)).await;
    cluster
        .until("v2 serves", async |c: &Cluster| c.summary().await == "smoke=v2, active=v1" && c.is_ready().await)
        .await;
}

/// The manifest does not mention pauses.
#[tokio::test(start_paused = true)]
async fn a_pause_that_is_a_hold_outlives_a_manifest() {
    let cluster = Cluster::start().await;
    cluster.apply(&seamless("v1", 3)).await;
    cluster.until("v1 serves", async |c: &Cluster| c.is_ready().await).await;
    cluster.apply(&seamless("v2", 3)).await;
    cluster
        .until("v2 is there", async |c: &Cluster| c.summary().await == "smoke=v2, active=v1" && c.is_ready().await)
        .await;
    cluster.promote("v2").await;
    cluster.until("the shift has begun", async |c: &Cluster| c.summary().await.contains("active=v1→v2 1/3")).await;
    hold(&cluster, json!({ "stage": "active", "paused": true })).await;
    let mut manifest = seamless("v2", 3);
    manifest["spec"]["stages"][1]["color"] = json!("v2");
    cluster.apply(&manifest).await;
    cluster
        .until("it is paused", async |c: &Cluster| {
            c.condition("Ready").await.is_some_and(|(_, reason, _)| reason == "Paused")
        })
        .await;
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    assert!(cluster.summary().await.contains("active=v1→v2"), "{}", cluster.summary().await);
    hold(&cluster, json!({ "stage": "smoke" })).await;
    cluster.until("it goes on", async |c: &Cluster| c.summary().await == "smoke=v2, active=v2").await;
}
