//! Takeover between two operators with one lease: how soon the second one acts.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{Cluster, seamless};
use futures::FutureExt;
use k8s_openapi::api::coordination::v1::Lease;
use rainbow_operator::{
    Options,
    leader::{Contention, Election},
    run,
};
use std::time::Duration;
use tokio::{sync::oneshot, task::JoinHandle, time::Instant};

/// Longest time without an operator that acts.
const TAKEOVER: Duration = Duration::from_secs(20);

/// One of several operators.
struct Replica {
    task: JoinHandle<()>,
    /// Stands for SIGTERM.
    terminate: oneshot::Sender<()>,
}

fn replica(cluster: &Cluster, identity: &str) -> Replica {
    let (terminate, terminated) = oneshot::channel();
    let options = Options {
        election: Some(Election {
            namespace: "default".into(),
            identity: identity.into(),
            scope: None,
            others: Contention::Wait,
        }),
        propagation: common::PROPAGATION,
        shutdown: terminated.map(drop).boxed(),
        ..Options::default()
    };
    let client = cluster.operator_client();
    Replica { task: tokio::spawn(async move { run(client, options).await.unwrap() }), terminate }
}

/// Starts two replicas and an application that serves. The first replica leads.
async fn two() -> (Cluster, Replica, Replica) {
    let cluster = Cluster::without_operator().await;
    let first = replica(&cluster, "first");
    cluster.until("the first one leads", async |c: &Cluster| leader(c).await.as_deref() == Some("first")).await;
    let second = replica(&cluster, "second");
    cluster.apply(&seamless("v1", 2)).await;
    cluster.until("v1 serves", async |c: &Cluster| c.is_ready().await).await;
    // The moment lies between two renewals.
    tokio::time::sleep(Duration::from_millis(61_700)).await;
    (cluster, first, second)
}

async fn leader(cluster: &Cluster) -> Option<String> {
    let lease = cluster.api::<Lease>().get_opt("rainbow-operator").await.unwrap()?;
    lease.spec?.holder_identity.filter(|holder| !holder.is_empty())
}

/// Returns the time until a release that is applied now is made.
async fn acts_after(cluster: &Cluster) -> Duration {
    let begin = Instant::now();
    cluster.apply(&seamless("v2", 2)).await;
    cluster.until("v2 is made", async |c: &Cluster| c.color_phase("v2").await.is_some()).await;
    begin.elapsed()
}

#[tokio::test(start_paused = true)]
async fn another_one_acts_soon_after_a_crash() {
    let (cluster, first, _second) = two().await;
    first.task.abort();
    let waited = acts_after(&cluster).await;
    assert!(waited < TAKEOVER, "{waited:?}");
    assert_eq!(leader(&cluster).await.as_deref(), Some("second"));
}

#[tokio::test(start_paused = true)]
async fn another_one_acts_at_once_after_a_polite_end() {
    let (cluster, first, _second) = two().await;
    first.terminate.send(()).unwrap();
    let waited = acts_after(&cluster).await;
    assert!(waited < Duration::from_secs(3), "{waited:?}");
    assert_eq!(leader(&cluster).await.as_deref(), Some("second"));
    first.task.await.unwrap();
}

/// In a `kubectl rollout restart` of the operator, each replica resigns while the next one waits.
#[tokio::test(start_paused = true)]
async fn a_restart_of_all_loses_no_lease() {
    let (cluster, first, second) = two().await;
    let _third = replica(&cluster, "third");
    first.terminate.send(()).unwrap();
    first.task.await.unwrap();
    second.terminate.send(()).unwrap();
    second.task.await.unwrap();
    let waited = acts_after(&cluster).await;
    assert!(waited < Duration::from_secs(3), "{waited:?}");
    assert_eq!(leader(&cluster).await.as_deref(), Some("third"));
}

/// The API server answers no write any more: neither the last ones of an operator that ends nor those to its lease.
#[tokio::test(start_paused = true)]
async fn an_operator_ends_although_it_loses_its_lease_meanwhile() {
    let (cluster, first, _second) = two().await;
    cluster.fuse(0);
    cluster.apply(&seamless("v2", 2)).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    first.terminate.send(()).unwrap();
    let ended = tokio::time::timeout(TAKEOVER, first.task).await;
    ended.expect("the operator ends in time").expect("the operator ends without a panic");
    cluster.no_fuse();
    let waited = acts_after(&cluster).await;
    assert!(waited < TAKEOVER, "{waited:?}");
}

/// A request that is never answered, as on a connection whose other end is gone, delays an election and does not end it.
#[tokio::test(start_paused = true)]
async fn an_election_outlives_a_request_that_is_not_answered() {
    let cluster = Cluster::without_operator().await;
    *cluster.lost.lock().unwrap() = Some("/leases");
    let _first = replica(&cluster, "first");
    while !cluster.has_lost() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    *cluster.lost.lock().unwrap() = None;
    let begin = Instant::now();
    cluster.until("the first one leads", async |c: &Cluster| leader(c).await.as_deref() == Some("first")).await;
    assert!(begin.elapsed() < TAKEOVER, "{:?}", begin.elapsed());
}
