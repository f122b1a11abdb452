//! No application waits for another one's trouble.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod common;

use common::{Cluster, PROPAGATION, seamless};
use http::Method;
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
    client::Body,
};
use rainbow_operator::{Clock, Options, run};
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::time::{Instant, sleep};
use tower::ServiceExt;

/// Number of busy applications: more than have their turn at a time.
const BUSY: usize = 70;
/// Time that the API server takes for a write about a busy application.
const SLOW: Duration = Duration::from_millis(500);

/// Returns an application whose Deployment another writer edits as soon as the operator has corrected it, so that there is always something
/// to write.
fn busy(number: usize) -> Value {
    json!({
        "apiVersion": "rainbow.dev/v1alpha1",
        "kind": "Rainbow",
        "metadata": { "name": format!("busy-{number}"), "namespace": "default" },
        "spec": {
            "color": "v1",
            "namePrefix": format!("busy-{number}-"),
            "tiers": [{
                "name": "web", "replicas": 0, "ports": [{ "name": "http", "port": 80 }],
                "template": { "spec": { "containers": [{ "name": "web", "image": "web:1" }] } },
            }],
            "stages": [{ "name": "active" }],
            "drain": { "connections": "None" },
        },
    })
}

/// Returns a client for the operator, which counts how often a busy application's Deployment is corrected.
fn restless(cluster: &Cluster, mended: &Arc<AtomicU32>) -> Client {
    let (router, other, mended) = (cluster.api.router(), cluster.client.clone(), Arc::clone(mended));
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let (router, other, mended) = (router.clone(), other.clone(), Arc::clone(&mended));
        async move {
            let path = request.uri().path().to_owned();
            let write = request.method() != Method::GET && path.contains("/busy-");
            if write {
                sleep(SLOW).await;
            }
            let response = router.oneshot(request).await;
            if let Some((_, name)) = path.rsplit_once("/deployments/").filter(|_| write) {
                mended.fetch_add(1, Relaxed);
                let edit = json!({ "metadata": { "annotations": { "rainbow.dev/identity": "another's" } } });
                let api: Api<Deployment> = Api::namespaced(other, "default");
                api.patch(name, &PatchParams::default(), &Patch::Merge(edit)).await.unwrap();
            }
            response
        }
    });
    Client::new(service, "default")
}

#[tokio::test(start_paused = true)]
async fn busy_applications_do_not_delay_one_later_in_the_alphabet() {
    let cluster = Cluster::without_operator().await;
    for number in 0..BUSY {
        cluster.apply(&busy(number)).await;
    }
    let mended = Arc::new(AtomicU32::new(0));
    let options = Options { propagation: PROPAGATION, clock: Clock::tokio(), ..Options::default() };
    let operator = tokio::spawn(run(restless(&cluster, &mended), options));
    let all = u32::try_from(BUSY).unwrap();
    while mended.load(Relaxed) < all {
        sleep(SLOW).await;
    }
    let (begin, before) = (Instant::now(), mended.load(Relaxed));
    cluster.apply(&seamless("v1", 1)).await;
    cluster.until("it is released", Cluster::is_ready).await;
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    assert!(mended.load(Relaxed) > before + all, "the others were busy all the time");
    operator.abort();
}
