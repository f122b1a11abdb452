//! Shift that is held.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{Cluster, seamless};
use k8s_openapi::api::events::v1::Event;
use kube::api::ListParams;
use serde_json::json;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

/// Returns the notes of the warnings about held shifts.
async fn warnings(cluster: &Cluster) -> Vec<String> {
    let events = cluster.api::<Event>().list(&ListParams::default()).await.unwrap();
    let warns =
        |event: &Event| event.type_.as_deref() == Some("Warning") && event.reason.as_deref() == Some("ShiftPaused");
    events.items.into_iter().filter(warns).filter_map(|event| event.note).collect()
}

#[tokio::test(start_paused = true)]
async fn a_shift_that_is_held_for_long_is_a_warning() {
    let mut cluster = Cluster::start().await;
    let release = |color: &str, paused: bool| {
        let mut rainbow = seamless(color, 3);
        rainbow["spec"]["stages"] = json!([
            { "name": "active", "promote": "Auto", "shift": { "rolling": { "step": 1, "every": "60s" } }, "paused": paused },
        ]);
        rainbow
    };
    cluster.apply(&release("v1", false)).await;
    cluster.until("v1 serves", async |c: &Cluster| c.is_ready().await).await;
    cluster.apply(&release("v2", false)).await;
    cluster.until("a pod has moved", async |c: &Cluster| c.summary().await == "active=v1→v2 1/3").await;
    cluster.apply(&release("v2", true)).await;
    tokio::time::sleep(HOUR / 2).await;
    let (status, reason, message) = cluster.condition("Ready").await.unwrap();
    assert_eq!((status.as_str(), reason.as_str()), ("False", "Paused"));
    assert!(message.starts_with("stage active is paused on the way from v1 to v2: 1 of 3 pods since "), "{message}");
    assert!(warnings(&cluster).await.is_empty());

    // Neither the elapsed time nor the warning is lost with the operator.
    cluster.kill_operator().await;
    cluster.start_operator();
    tokio::time::sleep(HOUR).await;
    let told = warnings(&cluster).await;
    assert!(matches!(told.as_slice(), [one] if one.starts_with("stage active: paused for long, since ")), "{told:?}");
    let stage = cluster.rainbow().await.status.unwrap().stages[0].message.clone();
    assert_eq!(stage.map(|message| format!("stage active: {message}")).as_ref(), told.first());
    cluster.kill_operator().await;
    cluster.start_operator();
    tokio::time::sleep(HOUR).await;
    assert_eq!(warnings(&cluster).await.len(), 1);

    cluster.apply(&release("v2", false)).await;
    cluster.until("v2 serves", async |c: &Cluster| c.is_ready().await).await;
    assert_eq!(warnings(&cluster).await.len(), 1);
}
