//! Drains on evidence: pods end one by one as their connections end, and pods with unknown connections are kept.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{Cluster, seamless, tally::Says};
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::{Container, LimitRange, Namespace, Pod},
    events::v1::Event,
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Api, Resource, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use rainbow_api::{
    Color, ColorInstance, ColorSpec, ColorStatus, Rainbow, ServiceLinks, Sidecar, TerminationMessages, identities,
    labels,
};
use serde_json::{Value, json};
use std::time::Duration;

/// Returns the sample application with connections that are counted.
fn counted(color: &str, replicas: u32) -> Value {
    let mut rainbow = seamless(color, replicas);
    rainbow["spec"]["drain"] = json!({ "settle": "30s", "deadline": "10m" });
    // A color that is kept warm waits again after a restart, which is not what these tests are about.
    rainbow["spec"]["keep"] = json!({ "warm": "0s" });
    rainbow
}

/// Returns a cluster in which v2 serves, no stage points at v1, and the frontends of v1 answer with `says`.
async fn draining(says: &[Says]) -> (Cluster, Vec<String>) {
    let cluster = Cluster::start().await;
    let pods = drain_v1(&cluster, says).await;
    (cluster, pods)
}

async fn drain_v1(cluster: &Cluster, says: &[Says]) -> Vec<String> {
    let replicas = u32::try_from(says.len()).unwrap();
    cluster.apply(&counted("v1", replicas)).await;
    cluster.until("v1 serves", async |c: &Cluster| c.is_ready().await).await;
    let pods = pods(cluster, "frontend", "v1").await;
    for (pod, says) in pods.iter().zip(says) {
        cluster.tally.say(pod, says.clone());
    }
    let mut v2 = counted("v2", replicas);
    v2["spec"]["stages"][1]["color"] = json!("v2");
    cluster.apply(&v2).await;
    cluster.until("v2 serves", async |c: &Cluster| c.summary().await == "smoke=v2, active=v2").await;
    cluster.until("v1 drains", async |c: &Cluster| phase(c, "v1").await == "Draining").await;
    pods
}

async fn phase(cluster: &Cluster, color: &str) -> String {
    cluster.color_phase(color).await.unwrap_or_default()
}

/// Returns the names of an instance's pods, in order.
async fn pods(cluster: &Cluster, tier: &str, color: &str) -> Vec<String> {
    let list = ListParams::default().labels(&format!("rainbow.dev/tier={tier},rainbow.dev/color={color}"));
    let mut names: Vec<String> =
        cluster.api::<Pod>().list(&list).await.unwrap().iter().map(ResourceExt::name_any).collect();
    names.sort();
    names
}

async fn status(cluster: &Cluster, color: &str) -> ColorStatus {
    cluster.api::<Color>().get(&format!("seamless-{color}")).await.unwrap().status.unwrap_or_default()
}

async fn unknown(cluster: &Cluster) -> Option<String> {
    let found = status(cluster, "v1").await.conditions.into_iter().find(|c| c.type_ == "ConnectionsUnknown")?;
    (found.status == "True").then_some(found.message)
}

async fn guard(cluster: &Cluster) -> bool {
    cluster.api::<PodDisruptionBudget>().get_opt("seamless-draining").await.unwrap().is_some()
}

async fn pod(cluster: &Cluster, name: &str) -> Pod {
    cluster.api::<Pod>().get(name).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn pods_go_one_by_one_as_their_connections_end() {
    let (cluster, all) = draining(&[Says::Count(3), Says::Count(0), Says::Hangs]).await;
    let (busy, silent) = (&all[0], &all[2]);
    cluster
        .until("the idle pod goes", async |c: &Cluster| {
            pods(c, "frontend", "v1").await == [busy.as_str(), silent.as_str()]
        })
        .await;
    cluster.until("it is told who is silent", async |c: &Cluster| unknown(c).await.is_some()).await;
    let message = unknown(&cluster).await.unwrap();
    assert_eq!(
        message,
        format!("the connections of 1 pod are not known, so it is kept: {silent}: no answer within 2 s")
    );
    let told = status(&cluster, "v1").await;
    let drain = told.drain.unwrap();
    assert_eq!((told.connections, drain.unknown_pods, drain.pods), (Some(3), 1, 2));
    let holder = drain.holders.iter().find(|holder| holder.pod == *busy).unwrap();
    assert_eq!((holder.connections, holder.peers.as_slice()), (Some(3), ["10.1.0.9".to_owned()].as_slice()));
    assert!(guard(&cluster).await);
    let held = pod(&cluster, busy).await;
    assert_eq!(held.labels()["rainbow.dev/holding"], "yes");
    assert_eq!(held.annotations()["cluster-autoscaler.kubernetes.io/safe-to-evict"], "false");
    assert_eq!(pods(&cluster, "backend", "v1").await.len(), 3, "the frontends may still call them");

    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(pods(&cluster, "frontend", "v1").await.len(), 2, "unknown and busy hold");

    cluster.tally.say(busy, Says::Count(0));
    cluster
        .until("its connections have ended", async |c: &Cluster| pods(c, "frontend", "v1").await == [silent.as_str()])
        .await;
    cluster.tally.say(silent, Says::Garbage("<html>"));
    tokio::time::sleep(Duration::from_secs(60)).await;
    let message = unknown(&cluster).await.unwrap();
    assert!(message.ends_with(&format!("{silent}: the answer is not that of the counter")), "{message}");
    cluster.tally.say(silent, Says::Fresh(1));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(pods(&cluster, "frontend", "v1").await, [silent.as_str()], "young connections may be somebody's");
    cluster.tally.say(silent, Says::Count(0));
    cluster.until("v1 is retired", async |c: &Cluster| phase(c, "v1").await == "Retired").await;
    assert!(!guard(&cluster).await, "nobody is held any more");
    let told = status(&cluster, "v1").await;
    assert_eq!((told.connections, told.drain), (None, None));
    assert_eq!(pods(&cluster, "frontend", "v2").await.len(), 3);
    let asked = cluster.tally.asked();
    assert!(asked.iter().all(|pod| pod.contains("-v1-")), "only pods of draining colors are asked: {asked:?}");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(cluster.tally.asked().is_empty(), "and nobody once they are gone");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_appears_starts_the_wait_anew() {
    let (cluster, all) = draining(&[Says::Count(1)]).await;
    cluster.until("it is counted", async |c: &Cluster| status(c, "v1").await.connections == Some(1)).await;
    for _ in 0..10 {
        cluster.tally.say(&all[0], Says::Count(0));
        tokio::time::sleep(Duration::from_secs(25)).await;
        cluster.tally.say(&all[0], Says::Count(1));
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    assert_eq!(pods(&cluster, "frontend", "v1").await, all);
    cluster.tally.say(&all[0], Says::Count(0));
    cluster.until("v1 is retired", async |c: &Cluster| phase(c, "v1").await == "Retired").await;
}

#[tokio::test(start_paused = true)]
async fn the_deadline_cuts_and_tells_what() {
    let (cluster, all) = draining(&[Says::Count(2), Says::Hangs]).await;
    cluster.until("it is counted", async |c: &Cluster| status(c, "v1").await.connections == Some(2)).await;
    cluster.until("v1 is retired", async |c: &Cluster| phase(c, "v1").await == "Retired").await;
    let drain = status(&cluster, "v1").await.drain.unwrap();
    let mut cut: Vec<_> = drain.cut.iter().map(|cut| (cut.pod.clone(), cut.port, cut.connections)).collect();
    cut.sort();
    assert_eq!(cut, [(all[0].clone(), Some(8080), Some(2)), (all[1].clone(), None, None)]);
    let events = cluster.api::<Event>().list(&ListParams::default()).await.unwrap();
    let notes: Vec<&str> = events
        .iter()
        .filter(|event| event.reason.as_deref() == Some("ConnectionsCut"))
        .filter_map(|event| event.note.as_deref())
        .collect();
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(notes[0].starts_with("color v1 ends with at least 2 connections: "), "{notes:?}");
    assert!(notes[0].contains(&format!("pod {} port 8080: 2, the oldest ", all[0])), "{notes:?}");
    assert!(notes[0].contains(&format!("pod {}: unknown", all[1])), "{notes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_color_may_have_a_deadline_of_its_own() {
    let (cluster, all) = draining(&[Says::Count(2)]).await;
    let set = async |deadline: &str| {
        let patch = Patch::Merge(json!({ "spec": { "drain": { "deadline": deadline } } }));
        cluster.api::<Color>().patch("seamless-v1", &PatchParams::default(), &patch).await.unwrap();
    };
    set("never").await;
    tokio::time::sleep(Duration::from_secs(1000)).await;
    assert_eq!(pods(&cluster, "frontend", "v1").await, all, "past the Rainbow's deadline");
    assert_eq!(status(&cluster, "v1").await.drain.unwrap().deadline, None);
    set("now").await;
    cluster.until("v1 is retired", async |c: &Cluster| phase(c, "v1").await == "Retired").await;
    assert_eq!(status(&cluster, "v1").await.drain.unwrap().cut[0].connections, Some(2));
}

#[tokio::test(start_paused = true)]
async fn counts_that_do_not_change_write_nothing() {
    let (cluster, all) = draining(&[Says::Count(40), Says::Hangs]).await;
    cluster.until("it is told who is silent", async |c: &Cluster| unknown(c).await.is_some()).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let revision = cluster.api.revision();
    let writes = cluster.writes.lock().unwrap().len();
    tokio::time::sleep(Duration::from_secs(120)).await;
    let new = cluster.writes.lock().unwrap().split_off(writes);
    assert_eq!(cluster.api.revision(), revision, "{new:#?}");

    for count in 0..60 {
        cluster.tally.say(&all[0], Says::Count(1 + count % 2));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let new = cluster.writes.lock().unwrap().split_off(writes);
    assert!((2..=14).contains(&new.len()), "{} writes in a minute: {new:#?}", new.len());
    assert!(new.iter().all(|write| write.ends_with("colors/seamless-v1/status")), "{new:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_time_cuts_nobody() {
    let mut cluster = Cluster::start().await;
    let all = drain_v1(&cluster, &[Says::Count(1), Says::Count(0), Says::Count(0), Says::Count(0)]).await;
    for round in 0..8u64 {
        tokio::time::sleep(Duration::from_millis(4_300 + 700 * round)).await;
        cluster.kill_operator().await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        cluster.start_operator();
    }
    cluster.until("the idle ones go", async |c: &Cluster| pods(c, "frontend", "v1").await == all[..1]).await;
    cluster.tally.say(&all[0], Says::Count(0));
    cluster.until("v1 is retired", async |c: &Cluster| phase(c, "v1").await == "Retired").await;
    let drain = status(&cluster, "v1").await.drain;
    assert_eq!(drain, None, "nothing was cut");
}

/// The counter has seen that no client came while there was no operator.
#[tokio::test(start_paused = true)]
async fn a_restart_does_not_begin_the_wait_anew() {
    let mut cluster = Cluster::start().await;
    let now = tokio::time::Instant::now();
    drain_v1(&cluster, &[Says::Nobody(now), Says::Count(0), Says::Count(1)]).await;
    // Statuses are paced: v1 left its stage up to two seconds before they say that the shift is over and that it drains.
    let begin = tokio::time::Instant::now() - Duration::from_secs(2);
    tokio::time::sleep(Duration::from_secs(20)).await;
    cluster.kill_operator().await;
    cluster.start_operator();
    let left = async |c: &Cluster, count: usize| pods(c, "frontend", "v1").await.len() == count;
    cluster.until("the one goes", async |c: &Cluster| left(c, 2).await).await;
    let took = begin.elapsed();
    assert!(
        took >= Duration::from_secs(30) && took < Duration::from_secs(40),
        "it settles in 30 s, and went after {took:?}"
    );
    // The other pod's counter does not say for how long there has been no client.
    cluster.until("the other goes", async |c: &Cluster| left(c, 1).await).await;
    assert!(begin.elapsed() >= Duration::from_secs(50), "{:?}", begin.elapsed());
}

/// While a color drains, no controller chooses among its pods. A color that is taken back gets its Deployment again, with the same pods.
#[tokio::test(start_paused = true)]
async fn pods_that_drain_have_no_deployment() {
    let (cluster, all) = draining(&[Says::Count(2), Says::Count(0), Says::Count(1)]).await;
    let busy = [all[0].as_str(), all[2].as_str()];
    cluster.until("the idle pod goes", async |c: &Cluster| pods(c, "frontend", "v1").await == busy).await;
    assert!(cluster.api::<Deployment>().get_opt("frontend-v1").await.unwrap().is_none());
    assert!(cluster.api::<ReplicaSet>().get_opt("frontend-v1-set").await.unwrap().is_none());
    assert!(cluster.api::<Deployment>().get_opt("backend-v1").await.unwrap().is_some(), "the frontends call it");
    for name in busy {
        let owners = pod(&cluster, name).await.metadata.owner_references.unwrap();
        let owners: Vec<_> = owners.iter().map(|owner| (&*owner.kind, &*owner.name, owner.controller)).collect();
        assert_eq!(owners, [("Rainbow", "seamless", Some(true))]);
    }
    let made = *cluster.fake.made.lock().unwrap();
    cluster.promote("v1").await;
    cluster.until("v1 serves again", async |c: &Cluster| c.summary().await == "smoke=v2, active=v1").await;
    cluster.until("it has all its pods", async |c: &Cluster| pods(c, "frontend", "v1").await.len() == 3).await;
    cluster.until("all is quiet", async |c: &Cluster| c.is_ready().await && !guard(c).await).await;
    assert_eq!(*cluster.fake.made.lock().unwrap() - made, 1, "only the pod that had gone is made");
    for name in busy {
        let owners = pod(&cluster, name).await.metadata.owner_references.unwrap();
        assert_eq!(owners.iter().map(|owner| &*owner.kind).collect::<Vec<_>>(), ["ReplicaSet"]);
    }
}

/// A Rainbow that is deleted while a color of it drains without a Deployment leaves nothing behind.
#[tokio::test(start_paused = true)]
async fn pods_without_a_deployment_go_with_their_rainbow() {
    let (cluster, all) = draining(&[Says::Count(2), Says::Count(0)]).await;
    cluster.until("the idle pod goes", async |c: &Cluster| pods(c, "frontend", "v1").await == all[..1]).await;
    cluster.api::<Rainbow>().delete("seamless", &DeleteParams::background()).await.unwrap();
    cluster
        .until("nothing is left", async |c: &Cluster| {
            c.api::<Pod>().list(&ListParams::default()).await.unwrap().items.is_empty()
                && c.api::<Rainbow>().get_opt("seamless").await.unwrap().is_none()
        })
        .await;
}

/// A Deployment may be orphaned when it has already been scaled to 0: an operator that takes over does not know yet that the remaining pods
/// hold no connections. Its ReplicaSet then has no pods, by which the planner would know of it.
#[tokio::test(start_paused = true)]
async fn a_replica_set_without_pods_goes_with_its_color() {
    let (cluster, all) = draining(&[Says::Count(2), Says::Count(0)]).await;
    cluster.until("the idle pod goes", async |c: &Cluster| pods(c, "frontend", "v1").await == all[..1]).await;
    let labels =
        json!({ "rainbow.dev/rainbow": "seamless", "rainbow.dev/tier": "frontend", "rainbow.dev/color": "v1" });
    let template =
        json!({ "metadata": { "labels": labels }, "spec": { "containers": [{ "name": "a", "image": "a" }] } });
    let left = json!({
        "metadata": { "name": "frontend-v1-left", "labels": labels },
        "spec": { "replicas": 0, "selector": { "matchLabels": labels }, "template": template },
    });
    let sets = cluster.api::<ReplicaSet>();
    sets.create(&PostParams::default(), &serde_json::from_value(left).unwrap()).await.unwrap();
    cluster.api::<Rainbow>().delete("seamless", &DeleteParams::background()).await.unwrap();
    cluster
        .until("the Rainbow is gone", async |c: &Cluster| {
            c.api::<Rainbow>().get_opt("seamless").await.unwrap().is_none()
        })
        .await;
    assert!(sets.get_opt("frontend-v1-left").await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_color_is_taken_back_as_it_is() {
    let (cluster, all) = draining(&[Says::Count(2), Says::Count(0)]).await;
    let patch = Patch::Merge(json!({ "spec": { "retire": true, "drain": { "deadline": "never" } } }));
    cluster.api::<Color>().patch("seamless-v1", &PatchParams::default(), &patch).await.unwrap();
    cluster.until("the busy pod is held", async |c: &Cluster| guard(c).await).await;
    let made = *cluster.fake.made.lock().unwrap();
    cluster.promote("v1").await;
    cluster.until("v1 serves again", async |c: &Cluster| c.summary().await == "smoke=v2, active=v1").await;
    cluster.until("all is quiet", async |c: &Cluster| c.is_ready().await && !guard(c).await).await;
    let color = cluster.api::<Color>().get("seamless-v1").await.unwrap();
    assert_eq!((color.spec.retire, color.spec.drain), (false, None), "what was asked about its end is over");
    let now = pods(&cluster, "frontend", "v1").await;
    assert!(now.contains(&all[0]), "{now:?}");
    assert!(*cluster.fake.made.lock().unwrap() - made <= 2, "only pods that had gone are made anew");
    let marked: Vec<_> = futures::future::join_all(now.iter().map(|name| pod(&cluster, name))).await;
    for pod in marked {
        assert!(!pod.labels().contains_key("rainbow.dev/holding"), "{:?}", pod.metadata.labels);
        assert!(pod.annotations().keys().all(|key| !key.contains("safe-to-evict") && !key.contains("deletion-cost")));
    }
}

#[tokio::test(start_paused = true)]
async fn an_application_says_itself_what_it_has() {
    let cluster = Cluster::start().await;
    let http = |color: &str| {
        let mut rainbow = counted(color, 1);
        rainbow["spec"]["drain"]["connections"] = json!("Http");
        rainbow["spec"]["drain"]["http"] = json!({ "port": 8080, "path": "/stats?all=1", "field": "server.open" });
        rainbow["spec"]["stages"][1]["color"] = json!(color);
        rainbow
    };
    cluster.apply(&http("v1")).await;
    cluster.until("v1 serves", async |c: &Cluster| c.is_ready().await).await;
    let all = pods(&cluster, "frontend", "v1").await;
    cluster.tally.say(&all[0], Says::Garbage(r#"{"server":{"open":7}}"#));
    cluster.apply(&http("v2")).await;
    cluster.until("it is counted", async |c: &Cluster| status(c, "v1").await.connections == Some(7)).await;
    cluster.tally.say(&all[0], Says::Garbage(r#"{"server":{}}"#));
    cluster.until("it says nothing", async |c: &Cluster| unknown(c).await.is_some()).await;
    let message = unknown(&cluster).await.unwrap();
    assert!(message.ends_with(": the answer has no number of connections at `server.open`"), "{message}");
    for pod in all.iter().chain(&pods(&cluster, "backend", "v1").await) {
        cluster.tally.say(pod, Says::Garbage(r#"{"server":{"open":0}}"#));
    }
    cluster.until("v1 is retired", async |c: &Cluster| phase(c, "v1").await == "Retired").await;
    assert_eq!(status(&cluster, "v1").await.drain, None, "nothing was cut");
}

/// Policy about the pods of a release does not apply to the pods of older colors. Those are asked as before, even by an operator that knows
/// of them only what their colors remember.
#[tokio::test(start_paused = true)]
async fn a_release_that_is_counted_otherwise_changes_nothing_for_older_colors() {
    let mut cluster = Cluster::start().await;
    // Connections of v1 were not counted when the color was made. That was changed while the spec described the color.
    let mut v1 = counted("v1", 1);
    v1["spec"]["drain"]["connections"] = json!("None");
    cluster.apply(&v1).await;
    cluster.until("v1 serves", async |c: &Cluster| c.is_ready().await).await;
    v1["spec"]["drain"]["connections"] = json!("Http");
    v1["spec"]["drain"]["http"] = json!({ "port": 8080, "path": "/stats?all=1", "field": "server.open" });
    v1["spec"]["tiers"][0]["connections"] = json!("None");
    cluster.apply(&v1).await;
    cluster
        .until("v1 remembers it", async |c: &Cluster| {
            status(c, "v1").await.evidence.is_some_and(|evidence| evidence.http.is_some())
        })
        .await;
    let all = pods(&cluster, "frontend", "v1").await;
    cluster.tally.say(&all[0], Says::Garbage(r#"{"server":{"open":7}}"#));

    for (color, drain) in [
        ("v2", json!({ "settle": "30s", "connections": "None" })),
        (
            "v3",
            json!({ "settle": "30s", "connections": "Http", "http": { "port": 8080, "path": "/other", "field": "x" } }),
        ),
    ] {
        let mut release = counted(color, 1);
        release["spec"]["drain"] = drain;
        release["spec"]["stages"][1]["color"] = json!(color);
        cluster.apply(&release).await;
        let serves = format!("smoke={color}, active={color}");
        cluster.until("it serves", async |c: &Cluster| c.summary().await == serves).await;
        cluster.until("v1 is counted", async |c: &Cluster| status(c, "v1").await.connections == Some(7)).await;
        cluster.kill_operator().await;
        cluster.start_operator();
        tokio::time::sleep(Duration::from_secs(90)).await;
        assert_eq!(pods(&cluster, "frontend", "v1").await, all, "its connections have not ended");
    }
    cluster.until("v2 goes by time", async |c: &Cluster| phase(c, "v2").await == "Retired").await;
    cluster.tally.say(&all[0], Says::Garbage(r#"{"server":{"open":0}}"#));
    cluster.until("v1 is retired", async |c: &Cluster| phase(c, "v1").await == "Retired").await;
    assert_eq!(status(&cluster, "v1").await.drain, None, "nothing was cut");
}

#[tokio::test(start_paused = true)]
async fn pods_without_a_counter_are_kept_until_the_deadline() {
    let mut cluster = Cluster::without_operator().await;
    cluster.tally_image = None;
    cluster.start_operator();
    let all = drain_v1(&cluster, &[Says::Count(0)]).await;
    cluster.until("it is told", async |c: &Cluster| unknown(c).await.is_some()).await;
    let message = unknown(&cluster).await.unwrap();
    assert!(message.ends_with(&format!("{}: the pod was made without Rainbow's counter", all[0])), "{message}");
    assert!(cluster.tally.asked().is_empty());
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(pods(&cluster, "frontend", "v1").await, all);
    cluster.until("v1 is retired", async |c: &Cluster| phase(c, "v1").await == "Retired").await;
    assert_eq!(status(&cluster, "v1").await.drain.unwrap().cut[0].connections, None);
}

#[tokio::test(start_paused = true)]
async fn a_tier_opts_out() {
    let cluster = Cluster::start().await;
    let mut v1 = counted("v1", 1);
    v1["spec"]["tiers"][0]["connections"] = json!("None");
    cluster.apply(&v1).await;
    cluster.until("v1 serves", async |c: &Cluster| c.is_ready().await).await;
    let containers = async |name: &str| {
        let spec = cluster.api::<Deployment>().get(name).await.unwrap().spec.unwrap().template.spec.unwrap();
        let init = spec.init_containers.unwrap_or_default();
        (spec.containers.len(), init.iter().map(|c| c.name.clone()).collect::<Vec<_>>())
    };
    assert_eq!(containers("backend-v1").await, (1, Vec::new()));
    assert_eq!(containers("frontend-v1").await, (1, vec!["rainbow-tally".to_owned()]));
    let color = cluster.api::<Color>().get("seamless-v1").await.unwrap();
    assert_eq!(color.spec.instances[0].sidecar, None);
    assert_eq!(color.spec.instances[1].sidecar.as_ref().unwrap().image, "tally:test");
}

/// An operator that supported clusters without native sidecars recorded a plain container there. Its pods are not restarted to get a native
/// one.
#[tokio::test(start_paused = true)]
async fn a_plain_counter_that_a_color_recorded_stays() {
    let mut cluster = Cluster::without_operator().await;
    let unchanged = |color: &str, image: &str| {
        let mut rainbow = counted(color, 2);
        rainbow["spec"]["reuse"] = json!("Unchanged");
        rainbow["spec"]["stages"][1]["color"] = json!(color);
        rainbow["spec"]["tiers"][0]["template"]["spec"]["containers"][0]["image"] = json!("b:1");
        rainbow["spec"]["tiers"][1]["template"]["spec"]["containers"][0]["image"] = json!(image);
        rainbow
    };
    cluster.apply(&unchanged("v1", "f:1")).await;
    record_plain_counter(&cluster).await;
    cluster.start_operator();
    cluster.until("v1 serves", async |c: &Cluster| c.is_ready().await && c.summary().await.contains("active=v1")).await;
    let containers = async |name: &str| {
        let spec = cluster.api::<Deployment>().get(name).await.unwrap().spec.unwrap().template.spec.unwrap();
        let init = spec.init_containers.unwrap_or_default();
        let name = |c: &Container| format!("{} {}", c.name, c.image.as_deref().unwrap_or_default());
        (spec.containers.iter().map(name).collect::<Vec<_>>(), init.iter().map(name).collect::<Vec<_>>())
    };
    let plain = |first: &str| (vec![first.to_owned(), "rainbow-tally tally:old".to_owned()], Vec::new());
    assert_eq!(containers("backend-v1").await, plain("backend b:1"));
    assert_eq!(containers("frontend-v1").await, plain("frontend f:1"));

    // A new color takes over the instance as it is, and gets a native counter where it starts pods of its own.
    cluster.apply(&unchanged("v2", "f:2")).await;
    cluster.until("v2 serves", async |c: &Cluster| c.summary().await == "smoke=v2, active=v2").await;
    assert_eq!(containers("backend-v1").await, plain("backend b:1"));
    let native = (vec!["frontend f:2".to_owned()], vec!["rainbow-tally tally:test".to_owned()]);
    assert_eq!(containers("frontend-v2").await, native);
    let color = cluster.api::<Color>().get("seamless-v2").await.unwrap();
    let recorded: Vec<bool> = color.spec.instances.iter().map(|i| i.sidecar.as_ref().unwrap().native).collect();
    assert_eq!(recorded, [false, true]);
}

/// Creates a pod with an address, of an application that is not Rainbow's.
async fn stranger(cluster: &Cluster, namespace: &str, name: &str, address: &str) {
    let object = json!({ "metadata": { "name": namespace, "labels": { "team": namespace } } });
    let namespaces = Api::<Namespace>::all(cluster.client.clone());
    namespaces.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
    let pods = Api::<Pod>::namespaced(cluster.client.clone(), namespace);
    let pod = json!({ "metadata": { "name": name, "labels": { "app": "prometheus" } },
                      "spec": { "containers": [{ "name": "main", "image": "p:1" }] } });
    pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
    let status = json!({ "status": { "phase": "Running", "podIP": address, "podIPs": [{ "ip": address }] } });
    pods.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
}

/// Peers of `drain.ignore` hold no pod, even of a color that is already draining. Before that, a peer that holds all pods is named.
#[tokio::test(start_paused = true)]
async fn peers_that_are_ignored_hold_nothing() {
    let scraper = || Says::Peers(vec![("10.1.0.9", 1)]);
    let (cluster, all) = draining(&[scraper(), Says::Peers(vec![("10.1.0.9", 1), ("10.2.0.1", 2)])]).await;
    stranger(&cluster, "monitoring", "prometheus-0", "10.1.0.9").await;
    let named = async |c: &Cluster| {
        let found = status(c, "v1").await.conditions.into_iter().find(|c| c.type_ == "HeldByOnePeer")?;
        Some(found.message)
    };
    cluster.until("the peer is named", async |c: &Cluster| named(c).await.is_some()).await;
    assert_eq!(
        named(&cluster).await.unwrap(),
        "10.1.0.9 (pod monitoring/prometheus-0) is connected to all 2 pods that hold the color: if no client is behind it, as with a \
         scraper of metrics, name it in spec.drain.ignore of rainbow `seamless` (podSelector or ipBlock)"
    );
    cluster
        .until("an event warns", async |c: &Cluster| {
            let events = c.api::<Event>().list(&ListParams::default()).await.unwrap();
            let of_peer = events.iter().filter(|event| event.reason.as_deref() == Some("HeldByOnePeer"));
            of_peer.map(|event| event.type_.as_deref()).eq([Some("Warning")])
        })
        .await;
    assert_eq!(pods(&cluster, "frontend", "v1").await.len(), 2);

    let ignoring = |ignore: Value| {
        let mut v2 = counted("v2", 2);
        v2["spec"]["stages"][1]["color"] = json!("v2");
        v2["spec"]["drain"]["ignore"] = ignore;
        v2
    };
    let by_labels = json!([{ "namespaceSelector": { "matchLabels": { "team": "monitoring" } },
                             "podSelector": { "matchLabels": { "app": "prometheus" } } }]);
    cluster.apply(&ignoring(by_labels)).await;
    let held = &all[1];
    cluster
        .until("the scraper holds nothing", async |c: &Cluster| pods(c, "frontend", "v1").await == [held.as_str()])
        .await;
    let holder = |status: &ColorStatus| status.drain.as_ref().unwrap().holders.iter().find(|h| h.pod == *held).cloned();
    cluster
        .until("it is told what is ignored", async |c: &Cluster| {
            holder(&status(c, "v1").await)
                .is_some_and(|holder| (holder.connections, holder.ignored) == (Some(2), Some(1)))
        })
        .await;
    assert_eq!(named(&cluster).await, None, "one pod is no pattern");

    // An address that no selected pod has holds the pod, no matter which pod had the address before.
    let pods_of = Api::<Pod>::namespaced(cluster.client.clone(), "monitoring");
    let at_once = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
    pods_of.delete("prometheus-0", &at_once).await.unwrap();
    tokio::time::sleep(Duration::from_secs(15)).await;
    cluster.tally.say(held, scraper());
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(pods(&cluster, "frontend", "v1").await, [held.as_str()]);

    cluster.apply(&ignoring(json!([{ "ipBlock": { "cidr": "10.1.0.0/16" } }]))).await;
    cluster.until("v1 is retired", async |c: &Cluster| phase(c, "v1").await == "Retired").await;
}

/// Settings of the counter apply to new colors only: a change of them restarts no pod.
#[tokio::test(start_paused = true)]
async fn settings_of_the_counter_are_about_new_colors() {
    let cluster = Cluster::start().await;
    let with = |color: &str, settings: Value| {
        let mut rainbow = counted(color, 1);
        rainbow["spec"]["stages"][1]["color"] = json!(color);
        rainbow["spec"]["drain"]["sidecar"] = settings;
        rainbow
    };
    let range = json!({ "metadata": { "name": "strict" }, "spec": { "limits": [
        { "type": "Container", "min": { "memory": "8Mi" }, "max": { "cpu": "1" }, "maxLimitRequestRatio": { "cpu": "5" } },
    ] } });
    cluster.api::<LimitRange>().create(&PostParams::default(), &serde_json::from_value(range).unwrap()).await.unwrap();
    let counter = async |color: &str| {
        let name = format!("frontend-{color}");
        let spec = cluster.api::<Deployment>().get(&name).await.unwrap().spec.unwrap().template.spec.unwrap();
        let counter =
            spec.init_containers.into_iter().flatten().chain(spec.containers).find(|c| c.name == "rainbow-tally");
        json!(counter.unwrap())
    };
    cluster.apply(&with("v1", json!({}))).await;
    cluster
        .until("v1 serves", async |c: &Cluster| c.summary().await == "smoke=v1, active=v1" && c.is_ready().await)
        .await;
    let fitted = counter("v1").await;
    assert_eq!(
        fitted["resources"],
        json!({ "requests": { "cpu": "10m", "memory": "8Mi" }, "limits": { "cpu": "50m", "memory": "16Mi" } })
    );
    assert!(fitted["securityContext"].get("runAsUser").is_none(), "OpenShift gives it a user of the namespace's range");

    let made = *cluster.fake.made.lock().unwrap();
    let own = json!({ "resources": { "limits": { "memory": "32Mi" } }, "securityContext": { "runAsUser": 7 }, "native": false });
    cluster.apply(&with("v1", own.clone())).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!((counter("v1").await, *cluster.fake.made.lock().unwrap()), (fitted, made), "no pod was restarted");

    cluster.apply(&with("v2", own.clone())).await;
    cluster.until("v2 serves", async |c: &Cluster| c.summary().await == "smoke=v2, active=v2").await;
    let new = counter("v2").await;
    assert_eq!((&new["resources"], &new["securityContext"]), (&own["resources"], &own["securityContext"]));
    assert!(new.get("restartPolicy").is_none(), "a plain container");
}

/// Creates color v1 of the Rainbow as an operator made it that put a plain container into pods.
async fn record_plain_counter(cluster: &Cluster) {
    let rainbow = cluster.rainbow().await;
    let identities = identities(&rainbow.spec.tiers);
    let sidecar = Some(Sidecar { image: "tally:old".into(), native: false, container: None });
    let instances = rainbow.spec.tiers.iter().map(|tier| ColorInstance {
        tier: tier.name.clone(),
        color: "v1".into(),
        identity: identities[&tier.name].clone(),
        sidecar: sidecar.clone(),
        serving_label: false,
        service_links: ServiceLinks::Default,
        termination_messages: TerminationMessages::Default,
    });
    let spec = ColorSpec {
        rainbow: "seamless".into(),
        color: "v1".into(),
        revision: 1,
        instances: instances.collect(),
        tiers: rainbow.spec.tiers.clone(),
        entries: Default::default(),
        evidence: None,
        config: Vec::new(),
        retire: false,
        drain: None,
    };
    let mut color = Color::new("seamless-v1", spec);
    let own = [(labels::RAINBOW, "seamless"), (labels::COLOR, "v1"), (labels::MANAGED_BY, labels::MANAGER)];
    color.metadata.labels = Some(own.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
    color.metadata.finalizers = Some(vec![labels::FINALIZER.to_owned()]);
    color.metadata.owner_references = rainbow.controller_owner_ref(&()).map(|owner| vec![owner]);
    cluster.api::<Color>().create(&PostParams::default(), &color).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn unchanged_tiers_are_shared_and_their_pods_stay_as_they_are() {
    let mut cluster = Cluster::start().await;
    let shared = |color: &str, image: &str| {
        let mut rainbow = counted(color, 2);
        rainbow["spec"]["reuse"] = json!("Unchanged");
        rainbow["spec"]["stages"][1]["color"] = json!(color);
        for tier in [0, 1] {
            rainbow["spec"]["tiers"][tier]["template"]["spec"]["containers"][0]["image"] = json!("x:1");
        }
        rainbow["spec"]["tiers"][1]["template"]["spec"]["containers"][0]["image"] = json!(image);
        rainbow
    };
    cluster.apply(&shared("v1", "f:1")).await;
    cluster.until("v1 serves", async |c: &Cluster| c.is_ready().await && c.summary().await.contains("active=v1")).await;
    let backend = cluster.api::<Deployment>().get("backend-v1").await.unwrap();
    // A newer operator changes nothing in existing pods.
    cluster.kill_operator().await;
    cluster.tally_image = Some("tally:newer".into());
    cluster.start_operator();
    let made = *cluster.fake.made.lock().unwrap();
    cluster.apply(&shared("v2", "f:2")).await;
    cluster.until("v2 serves", async |c: &Cluster| c.summary().await == "smoke=v2, active=v2").await;
    cluster.until("v1 is retired", async |c: &Cluster| phase(c, "v1").await == "Retired").await;
    let state = cluster.state().await;
    assert_eq!(state["deployments"], json!({ "backend-v1": 2, "frontend-v1": 0, "frontend-v2": 2 }));
    assert_eq!(*cluster.fake.made.lock().unwrap() - made, 2, "only the changed tier starts");
    let now = cluster.api::<Deployment>().get("backend-v1").await.unwrap();
    assert_eq!(now.metadata.generation, backend.metadata.generation, "nothing of it was written");
    assert_eq!(now.owner_references()[0].kind, "Rainbow");
    let v2 = cluster.api::<Color>().get("seamless-v2").await.unwrap().spec;
    let instance = |tier: &str| v2.instances.iter().find(|instance| instance.tier == tier).unwrap();
    assert_eq!((instance("backend").color.as_str(), instance("frontend").color.as_str()), ("v1", "v2"));
    assert_eq!(instance("backend").sidecar.as_ref().unwrap().image, "tally:test", "as it was made");
    assert_eq!(instance("frontend").sidecar.as_ref().unwrap().image, "tally:newer");
    let env = cluster.api::<Deployment>().get("frontend-v2").await.unwrap().spec.unwrap().template.spec.unwrap();
    let address = env.containers[0].env.as_ref().unwrap()[0].value.as_deref();
    assert_eq!(address, Some("backend-v1"));

    // The color that introduced the instance is deleted. The living color still has it.
    cluster.api::<Color>().delete("seamless-v1", &kube::api::DeleteParams::default()).await.unwrap();
    cluster
        .until("v1 is gone", async |c: &Cluster| c.api::<Color>().get_opt("seamless-v1").await.unwrap().is_none())
        .await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let now = cluster.api::<Deployment>().get("backend-v1").await.unwrap();
    assert_eq!(now.metadata.generation, backend.metadata.generation, "no pod of it was restarted");
    let state = cluster.state().await;
    assert_eq!(state["pods"], json!({ "backend-v1": 2, "frontend-v2": 2 }));
    assert_eq!(state["deployments"], state["pods"], "what nobody has any more is gone");
}

/// The counter's image cannot be pulled: pods with it never start, and that is reported at once.
#[tokio::test(start_paused = true)]
async fn a_counter_that_cannot_be_pulled_is_told_at_once() {
    let mut cluster = Cluster::start().await;
    cluster.apply(&counted("v1", 2)).await;
    cluster.until("v1 is there", async |c: &Cluster| c.is_ready().await).await;
    cluster.kill_operator().await;
    cluster.tally_image = Some("tally:missing".into());
    cluster.fake.missing.lock().unwrap().insert("tally:missing".into());
    cluster.start_operator();
    let begin = tokio::time::Instant::now();
    cluster.apply(&counted("v2", 2)).await;
    let stalled = async |c: &Cluster| c.condition("Stalled").await.filter(|(status, ..)| status == "True");
    cluster.until("it is told", async |c: &Cluster| stalled(c).await.is_some()).await;
    assert!(begin.elapsed() < Duration::from_secs(10), "long before the progress deadline");
    let (_, reason, message) = stalled(&cluster).await.unwrap();
    assert_eq!(reason, "CounterImageUnavailable");
    for part in
        ["color v2", "`tally:missing`", "--tally-image", "connections: None", "kubectl delete color seamless-v2"]
    {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert_eq!(cluster.summary().await, "smoke=v1→v2 0/1, active=v1", "what serves goes on");
    cluster
        .until("an event tells it, too", async |c: &Cluster| {
            let events = c.api::<Event>().list(&ListParams::default()).await.unwrap();
            events.iter().any(|event| event.reason.as_deref() == Some("CounterImageUnavailable"))
        })
        .await;

    // The remedy in the message helps.
    cluster.kill_operator().await;
    cluster.tally_image = Some("tally:test".into());
    cluster.start_operator();
    cluster.api::<Color>().delete("seamless-v2", &kube::api::DeleteParams::default()).await.unwrap();
    cluster
        .until("v2 is there", async |c: &Cluster| c.is_ready().await && c.summary().await.contains("smoke=v2"))
        .await;
    assert_eq!(stalled(&cluster).await, None);
}
