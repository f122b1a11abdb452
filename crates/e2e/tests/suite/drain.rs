//! Tests of colors that drain: pods with connections stay, pods without go, and no connection is forgotten.
//!
//! The programs die at SIGTERM, even in the middle of a request: a connection that lives was left alone.

use std::{collections::BTreeSet, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use e2e::{
    Scope,
    colors::{self, Colors, color, count_connections, counts, line, pods, shrinks_to},
    eventually,
    held::{Held, Kind},
    processes,
};
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::Pod,
    events::v1::Event,
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, EvictParams, ListParams, Patch, PatchParams},
};
use rand::RngExt;
use serde_json::json;

/// Number of connections that each of three colors holds.
const MANY: usize = 300;
/// Average number of connections to each pod, so that every pod gets some: the data plane may choose at random.
const EACH: usize = 15;
/// Number of kills of the operator.
const KILLS: usize = 20;
/// Number of flips back and forth under load.
const FLIPS: usize = 50;
/// Number of colors at once.
const RAINBOW: usize = 20;
/// Annotation by which a ReplicaSet orders the pods that it deletes.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
/// Annotation that tells the cluster's autoscaler whether it may move a pod.
const SAFE_TO_EVICT: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict";

/// Flips the stage between three colors and back, each with connections. The colors have names with which commits begin
/// now and then, and which YAML takes for numbers.
pub(crate) async fn three_colors_keep_their_connections_through_flips(scope: &mut Scope) -> Result<()> {
    let app = Colors { replicas: 3, ..Colors::default() };
    let names = ["123456", "123e45", "000000"];
    let mut held: Vec<Held> = Vec::new();
    for name in names {
        app.release(scope, name).await?;
        // A pod without a connection would rightly leave.
        app.spreads(scope, name).await?;
        let mut new = app.hold(scope, Kind::Lines, MANY - 20).await?;
        new.append(app.hold(scope, Kind::OneWay, 20).await?);
        ensure!(
            new.line_counts().into_keys().eq([line(name)]),
            "new connections to {name} heard {:?}",
            new.line_counts()
        );
        held.push(new);
    }
    for name in &names[..2] {
        counts(scope, name, MANY).await?;
    }
    let before = scope.pod_uids().await?;
    for name in ["123456", "000000", "123e45", "123456", "000000"] {
        app.flip(scope, name).await?;
        let new = app.hold(scope, Kind::Lines, 5).await?;
        ensure!(
            new.line_counts().into_keys().eq([line(name)]),
            "new connections to {name} heard {:?}",
            new.line_counts()
        );
        for held in &held {
            held.whole()?;
        }
    }
    ensure!(scope.pod_uids().await? == before, "flips started or ended pods");

    // Each color leaves when its own connections have ended, and the others stay.
    for (number, name) in names[..2].iter().enumerate() {
        held[number].close(MANY);
        shrinks_to(scope, name, 0).await?;
        for held in &held {
            held.alive().await?;
        }
    }
    ensure!(pods(scope, "000000").await?.len() == 3, "the color that serves has lost pods");
    Ok(())
}

/// Checks that peers that the policy ignores hold no pod of a color that drains already. The address that a pod sees is up to the data
/// plane, so all addresses but those of the documentation's ranges are ignored.
pub(crate) async fn ignored_peers_hold_nothing(scope: &mut Scope) -> Result<()> {
    let app = Colors { replicas: 1, ..Colors::default() };
    app.release(scope, "c1").await?;
    let held = app.hold(scope, Kind::Lines, 3).await?;
    app.release(scope, "c2").await?;
    counts(scope, "c1", 3).await?;
    let ignore = |ranges: &[&str]| {
        let peers: Vec<_> = ranges.iter().map(|range| json!({ "ipBlock": { "cidr": range } })).collect();
        json!({ "spec": { "drain": { "ignore": peers } } })
    };
    let api = scope.custom("Rainbow");
    let none = ignore(&["192.0.2.0/24", "2001:db8::/32"]);
    api.patch(app.name, &PatchParams::default(), &Patch::Merge(none)).await?;
    counts(scope, "c1", 3).await?;
    held.alive().await?;
    let all = ignore(&["0.0.0.0/0", "::/0"]);
    api.patch(app.name, &PatchParams::default(), &Patch::Merge(all)).await?;
    shrinks_to(scope, "c1", 0).await
}

/// Checks that idle pods do not wait for a busy one, and that the busy one is guarded until it is idle.
pub(crate) async fn idle_pods_leave_before_busy_ones(scope: &mut Scope) -> Result<()> {
    let app = Colors { replicas: 4, ..Colors::default() };
    let (mut held, busy) = one_busy(&app, scope, "c1").await?;
    app.release(scope, "c2").await?;
    shrinks_to(scope, "c1", 1).await?;
    ensure!(pods(scope, "c1").await? == [busy.clone()], "the busy pod {busy} left first");
    held.alive().await?;
    eventually("the busy pod is guarded", || async {
        let pod = scope.api::<Pod>().get(&busy).await?;
        ensure!(pod.labels().get("rainbow.dev/holding").is_some_and(|value| value == "yes"), "{:?}", pod.labels());
        let annotations = pod.annotations();
        for (name, value) in [(SAFE_TO_EVICT, "false"), ("karpenter.sh/do-not-disrupt", "true")] {
            ensure!(annotations.get(name).is_some_and(|found| found == value), "{name}: {annotations:?}");
        }
        Ok(())
    })
    .await?;
    guarded(scope, &busy).await?;
    held.alive().await?;
    held.close(1);
    shrinks_to(scope, "c1", 0).await?;
    eventually("the guard is gone", || async {
        ensure!(scope.api::<PodDisruptionBudget>().get_opt("colors-draining").await?.is_none());
        Ok(())
    })
    .await
}

/// Waits until the budget allows no disruption, and checks that a pod's eviction is refused.
async fn guarded(scope: &Scope, pod: &str) -> Result<()> {
    eventually("the budget allows no disruption", || async {
        let guard = scope.api::<PodDisruptionBudget>().get("colors-draining").await?;
        let status = guard.status.context("it has no status")?;
        ensure!(
            status.observed_generation.is_some() && status.observed_generation == guard.metadata.generation,
            "generation {:?} is observed of {:?}",
            status.observed_generation,
            guard.metadata.generation
        );
        ensure!(status.disruptions_allowed == 0, "it allows {}", status.disruptions_allowed);
        Ok(())
    })
    .await?;
    // By default the client would repeat the request again and again.
    let mut config = scope.config().await?;
    config.default_retry = false;
    let pods = Api::<Pod>::namespaced(Client::try_from(config)?, &scope.namespace);
    let evict = pods.evict(pod, &EvictParams::default()).await;
    ensure!(evict.as_ref().is_err_and(is_too_many), "the busy pod's eviction: {evict:?}");
    Ok(())
}

fn is_too_many(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 429)
}

/// Releases a color, and opens a connection to one of its pods. Returns the connection and the name of the pod.
async fn one_busy(app: &Colors, scope: &Scope, name: &str) -> Result<(Held, String)> {
    app.release(scope, name).await?;
    // The connections that checked the stage must not be taken for the one that stays.
    colors::quiet(scope, name).await?;
    let held = app.hold(scope, Kind::Lines, 1).await?;
    Ok((held, busy_pod(scope, name).await?))
}

/// Returns the pod of a color that has connections.
async fn busy_pod(scope: &Scope, name: &str) -> Result<String> {
    eventually("one pod is busy", || async {
        let mut busy = Vec::new();
        for pod in pods(scope, name).await? {
            if count_connections(scope, &pod).await? > 0 {
                busy.push(pod);
            }
        }
        ensure!(busy.len() == 1, "busy: {busy:?}");
        busy.pop().context("one pod")
    })
    .await
}

/// Checks that a stage that is pointed back at a draining color takes it as it is.
pub(crate) async fn a_draining_color_is_taken_back_as_it_is(scope: &mut Scope) -> Result<()> {
    let app = Colors { replicas: 3, ..Colors::default() };
    app.release(scope, "c1").await?;
    app.spreads(scope, "c1").await?;
    let held = app.hold(scope, Kind::Lines, 30).await?;
    app.release(scope, "c2").await?;
    counts(scope, "c1", 30).await?;
    eventually("the pods of c1 are marked", || async {
        let marked = marks(scope, "c1").await?;
        ensure!(marked == 3, "{marked} of 3");
        Ok(())
    })
    .await?;
    let before = scope.pod_uids().await?;
    scope.cli.run(&["rollback", colors::NAME, "--wait"]).await?;
    app.flip(scope, "c1").await?;
    eventually("no pod of c1 is marked", || async {
        let marked = marks(scope, "c1").await?;
        ensure!(marked == 0, "{marked} of 3");
        Ok(())
    })
    .await?;
    ensure!(scope.pod_uids().await? == before, "taking back started or ended pods");
    held.alive().await
}

/// Checks that no controller chooses among the pods of a draining color: it has no Deployment and no ReplicaSet. A color that is taken back has
/// them again, with the same pods.
pub(crate) async fn pods_that_drain_have_no_deployment(scope: &mut Scope) -> Result<()> {
    let app = Colors { replicas: 3, ..Colors::default() };
    let (mut held, busy) = one_busy(&app, scope, "c1").await?;
    let uid = scope.api::<Pod>().get(&busy).await?.uid();
    app.release(scope, "c2").await?;
    shrinks_to(scope, "c1", 1).await?;
    ensure!(scope.api::<Deployment>().get_opt("colors-c1").await?.is_none(), "c1 has a Deployment");
    ensure!(replica_sets(scope, "c1").await?.is_empty(), "c1 has {:?}", replica_sets(scope, "c1").await?);
    // `kubectl drain` refuses a node with pods that have no controller.
    ensure!(controller(scope, &busy).await?.as_deref() == Some("Rainbow"), "{:?}", controller(scope, &busy).await?);
    guarded(scope, &busy).await?;

    app.flip(scope, "c1").await?;
    app.ready(scope, "c1").await?;
    ensure!(scope.api::<Pod>().get(&busy).await?.uid() == uid, "the busy pod is another one");
    eventually("the busy pod has a ReplicaSet", || async {
        let controller = controller(scope, &busy).await?;
        ensure!(controller.as_deref() == Some("ReplicaSet"), "{controller:?}");
        Ok(())
    })
    .await?;
    ensure!(pods(scope, "c1").await?.len() == 3, "c1 has {:?}", pods(scope, "c1").await?);
    held.alive().await?;

    app.flip(scope, "c2").await?;
    held.close(1);
    shrinks_to(scope, "c1", 0).await
}

/// Returns the names of the ReplicaSets of a color.
async fn replica_sets(scope: &Scope, name: &str) -> Result<Vec<String>> {
    let selector = ListParams::default().labels(&format!("rainbow.dev/color={name}"));
    let sets = scope.api::<ReplicaSet>().list(&selector).await?;
    Ok(sets.items.iter().map(ResourceExt::name_any).collect())
}

/// Returns the kind of a pod's controller.
async fn controller(scope: &Scope, pod: &str) -> Result<Option<String>> {
    let pod = scope.api::<Pod>().get(pod).await?;
    let owners = pod.owner_references().iter().filter(|owner| owner.controller == Some(true));
    Ok(owners.map(|owner| owner.kind.clone()).next())
}

/// Counts the pods of a color with a mark that only pods of a draining color carry.
async fn marks(scope: &Scope, name: &str) -> Result<usize> {
    let pods = scope.pods(name).await?.into_values().flatten();
    let marked = pods.filter(|pod| {
        let noted = |name| pod.annotations().contains_key(name);
        pod.labels().contains_key("rainbow.dev/holding") || noted(DELETION_COST) || noted(SAFE_TO_EVICT)
    });
    Ok(marked.count())
}

/// Checks that a color is held when the application's HTTP probe returns no number, or no program answers. Its connections are unknown, so it
/// stays, though another color with the same number of connections leaves meanwhile.
pub(crate) async fn what_is_not_understood_holds(scope: &mut Scope) -> Result<()> {
    let answers = json!({ "port": 8080, "path": "/color", "field": "/count" });
    let silent = json!({ "port": 8099, "path": "/", "field": "/count" });
    for (name, next, http, reason) in [("c1", "c2", answers, "no JSON"), ("c3", "c4", silent, "")] {
        let drain = json!({ "connections": "Http", "http": http, "settle": "1s", "deadline": "24h" });
        let app = Colors { drain, replicas: 1, ..Colors::default() };
        app.release(scope, name).await?;
        app.release(scope, next).await?;
        unknown(scope, name, reason).await?;
        outlives_another(scope, name).await?;
        scope.cli.run(&["drain", colors::NAME, name, "--deadline", "now"]).await?;
        shrinks_to(scope, name, 0).await?;
    }
    Ok(())
}

/// Waits for the condition `ConnectionsUnknown` with a reason.
pub(crate) async fn unknown(scope: &Scope, name: &str, reason: &str) -> Result<()> {
    eventually(&format!("the status says that {name} is unknown"), || async {
        let status = color(scope, name).await?.data["status"].clone();
        let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
        let found = conditions.iter().find(|condition| condition["type"] == "ConnectionsUnknown");
        let found = found.with_context(|| format!("no condition: {status}"))?;
        ensure!(found["status"] == "True" && found["message"].as_str().unwrap_or_default().contains(reason), "{found}");
        Ok(())
    })
    .await
}

/// Kills the counter while its pod drains: it is started again, and no connection is cut.
pub(crate) async fn a_counter_that_is_killed_holds(scope: &mut Scope) -> Result<()> {
    let app = Colors::default();
    app.release(scope, "c1").await?;
    let mut held = hold_each(&app, scope, "c1").await?;
    let counters = counters(scope, "c1").await?;
    app.release(scope, "c2").await?;
    counts(scope, "c1", held.len()).await?;
    signal(&counters, "KILL")?;
    held.alive().await?;
    // The connections are counted again by a counter without memory of before.
    eventually("the counters are back", || async {
        let mut sum = 0;
        for pod in pods(scope, "c1").await? {
            sum += count_connections(scope, &pod).await?;
        }
        ensure!(sum == u64::try_from(held.len())?, "they count {sum}");
        Ok(())
    })
    .await?;
    counts(scope, "c1", held.len()).await?;
    held.alive().await?;
    held.close(held.len());
    shrinks_to(scope, "c1", 0).await
}

/// Freezes the counter, then ends the last connection: that cannot be known, so the pods stay until the counter answers again.
pub(crate) async fn a_counter_that_hangs_holds(scope: &mut Scope) -> Result<()> {
    let app = Colors::default();
    app.release(scope, "c1").await?;
    let mut held = hold_each(&app, scope, "c1").await?;
    let counters = counters(scope, "c1").await?;
    app.release(scope, "c2").await?;
    counts(scope, "c1", held.len()).await?;
    signal(&counters, "STOP")?;
    held.close(held.len());
    let looked = async {
        unknown(scope, "c1", "no answer").await?;
        outlives_another(scope, "c1").await
    };
    let looked = looked.await;
    let woken = signal(&counters, "CONT");
    looked?;
    woken?;
    shrinks_to(scope, "c1", 0).await
}

/// Replaces the counter by a program with other replies.
pub(crate) async fn a_counter_that_talks_nonsense_holds(scope: &mut Scope) -> Result<()> {
    let liar = format!("{}liar:v1", scope.image_prefix());
    scope.operator.restart_with_tally(&liar)?;
    let app = Colors::default();
    app.release(scope, "c1").await?;
    app.release(scope, "c2").await?;
    unknown(scope, "c1", "not that of the counter").await?;
    // The control application needs a good counter.
    scope.operator.restart()?;
    unknown(scope, "c1", "not that of the counter").await?;
    outlives_another(scope, "c1").await?;
    scope.cli.run(&["drain", colors::NAME, "c1", "--deadline", "now"]).await?;
    shrinks_to(scope, "c1", 0).await
}

/// Uses a counter whose image cannot be pulled, so that the pods of a new color never start. The status reports that at once, with the
/// remedy; open connections notice nothing.
pub(crate) async fn a_counter_that_cannot_be_pulled_is_told(scope: &mut Scope) -> Result<()> {
    let app = Colors::default();
    app.release(scope, "c1").await?;
    let held = app.hold(scope, Kind::Lines, 5).await?;
    scope.operator.restart_with_tally("missing.example/tally:v9")?;
    scope.apply_manifest(&app.at("c2"))?;
    eventually("the status says what is missing", || async {
        let status = scope.custom("Rainbow").get(colors::NAME).await?.data["status"].clone();
        let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
        let stalled = conditions.iter().find(|condition| condition["type"] == "Stalled").context("no condition")?;
        ensure!(stalled["status"] == "True" && stalled["reason"] == "CounterImageUnavailable", "{stalled}");
        let message = stalled["message"].as_str().unwrap_or_default();
        ensure!(message.contains("`missing.example/tally:v9`") && message.contains("--tally-image"), "{message}");
        Ok(())
    })
    .await?;
    held.alive().await?;
    // The remedy of the message: another image, and the color is made again.
    scope.operator.restart()?;
    scope.custom("Color").delete("colors-c2", &DeleteParams::default()).await?;
    app.ready(scope, "c2").await?;
    app.flip(scope, "c2").await?;
    held.alive().await
}

/// Checks that a color is still complete after another application's color, which has no connections either, has drained from beginning
/// to end.
pub(crate) async fn outlives_another(scope: &Scope, name: &str) -> Result<()> {
    let before = pods(scope, name).await?;
    let control = Colors { name: "control", replicas: 1, ..Colors::default() };
    let (old, new) = (format!("{name}-old"), format!("{name}-new"));
    control.release(scope, &old).await?;
    control.release(scope, &new).await?;
    shrinks_to(scope, &old, 0).await?;
    let after = pods(scope, name).await?;
    ensure!(after == before && !after.is_empty(), "unknown pods were let go: {before:?}, now {after:?}");
    Ok(())
}

/// Opens connections to every pod of a color: a pod without one would rightly leave, and its counter with it.
async fn hold_each(app: &Colors, scope: &Scope, name: &str) -> Result<Held> {
    app.spreads(scope, name).await?;
    let held = app.hold(scope, Kind::Lines, EACH * usize::try_from(app.replicas)?).await?;
    for pod in pods(scope, name).await? {
        ensure!(count_connections(scope, &pod).await? > 0, "{pod} has no connection");
    }
    Ok(held)
}

fn signal(processes: &[i32], name: &str) -> Result<()> {
    for pid in processes {
        let status = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status()?;
        ensure!(status.success(), "{pid} cannot be signalled");
    }
    Ok(())
}

/// Returns the counter processes of a color: their environment names the ports, and their pod.
async fn counters(scope: &Scope, name: &str) -> Result<Vec<i32>> {
    let pods = pods(scope, name).await?;
    let counters = processes::with_env("TALLY_PORTS", "8080,8081");
    let of_pods: BTreeSet<i32> = pods.iter().flat_map(|pod| processes::with_env("HOSTNAME", pod)).collect();
    let mine: Vec<i32> = counters.intersection(&of_pods).copied().collect();
    ensure!(mine.len() == pods.len(), "{} counters of {} pods are found", mine.len(), pods.len());
    Ok(mine)
}

/// Kills the operator with SIGKILL at random moments while colors drain and connections end; it is started again and continues.
pub(crate) async fn operator_killed_twenty_times_in_a_drain(scope: &mut Scope) -> Result<()> {
    let app = Colors { replicas: 3, ..Colors::default() };
    app.release(scope, "c1").await?;
    let mut one = app.hold(scope, Kind::Lines, 40).await?;
    app.release(scope, "c2").await?;
    let mut two = app.hold(scope, Kind::Lines, 40).await?;
    app.release(scope, "c3").await?;
    let three = app.hold(scope, Kind::Lines, 40).await?;
    let most = u64::try_from(scope.operator_start().as_millis())?;
    for _ in 0..KILLS {
        one.close(2);
        two.close(1);
        let pause = rand::rng().random_range(0..most);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        scope.operator.restart()?;
        for held in [&one, &two, &three] {
            held.whole()?;
        }
    }
    ensure!(one.is_empty() && two.len() == 20);
    shrinks_to(scope, "c1", 0).await?;
    two.alive().await?;
    two.close(20);
    shrinks_to(scope, "c2", 0).await?;
    three.alive().await?;
    ensure!(pods(scope, "c3").await?.len() == 3, "the color that serves has lost pods");
    Ok(())
}

/// Checks that a color with a connection pool that never empties ends at the deadline, and that the cut connections are reported.
pub(crate) async fn a_pool_ends_at_the_deadline_with_a_report(scope: &mut Scope) -> Result<()> {
    let app = Colors { replicas: 1, ..Colors::default() };
    app.release(scope, "c1").await?;
    let pool = app.hold(scope, Kind::Lines, 7).await?;
    app.release(scope, "c2").await?;
    let other = app.hold(scope, Kind::Lines, 3).await?;
    counts(scope, "c1", 7).await?;
    let pod = pods(scope, "c1").await?.pop().context("a pod of c1")?;
    pool.alive().await?;
    scope.cli.run(&["drain", colors::NAME, "c1", "--deadline", "1s"]).await?;
    shrinks_to(scope, "c1", 0).await?;
    eventually("the pool is cut", || async {
        ensure!(pool.cut() == 7, "{} of 7", pool.cut());
        Ok(())
    })
    .await?;
    eventually("the status says what was cut", || async {
        let cut = color(scope, "c1").await?.data["status"]["drain"]["cut"].clone();
        ensure!(cut[0]["pod"] == pod && cut[0]["port"] == 8081 && cut[0]["connections"] == 7, "{cut}");
        ensure!(cut[0]["oldestSeconds"].is_number(), "{cut}");
        Ok(())
    })
    .await?;
    eventually("an event says what was cut", || async {
        let events = scope.api::<Event>().list(&ListParams::default()).await?.items;
        let told = events.iter().filter(|event| event.reason.as_deref() == Some("ConnectionsCut"));
        let notes: Vec<&str> = told.filter_map(|event| event.note.as_deref()).collect();
        ensure!(notes.iter().any(|note| note.contains(&pod) && note.contains('7')), "{notes:?}");
        Ok(())
    })
    .await?;
    other.alive().await
}

/// Checks that a websocket counts as a connection as long as it is open.
pub(crate) async fn websockets_last(scope: &mut Scope) -> Result<()> {
    let app = Colors::default();
    app.release(scope, "c1").await?;
    let mut sockets = app.hold(scope, Kind::WebSocket, 20).await?;
    app.release(scope, "c2").await?;
    let new = app.hold(scope, Kind::WebSocket, 20).await?;
    app.release(scope, "c3").await?;
    ensure!(new.line_counts().into_keys().eq([line("c2")]), "new websockets heard {:?}", new.line_counts());
    counts(scope, "c1", 20).await?;
    counts(scope, "c2", 20).await?;
    sockets.alive().await?;
    sockets.close(20);
    shrinks_to(scope, "c1", 0).await?;
    new.alive().await
}

/// Flips back and forth under new connections, with some that stay: none fails, none is cut, no pod is started or ended.
pub(crate) async fn flips_back_and_forth_under_load(scope: &mut Scope) -> Result<()> {
    // No pod leaves meanwhile.
    let drain = json!({ "connections": "Sidecar", "settle": "1h", "deadline": "24h" });
    let app = Colors { drain, ..Colors::default() };
    app.release(scope, "c1").await?;
    let one = app.hold(scope, Kind::Lines, 30).await?;
    app.release(scope, "c2").await?;
    let two = app.hold(scope, Kind::WebSocket, 30).await?;
    let before = scope.pod_uids().await?;
    let url = format!("{}color", scope.url(colors::SERVICE).await?);
    let mut load = traffic::Load::new(traffic::Target::resolve(&url).await?);
    load.rate = scope.rate_up_to(100.0);
    load.keep_alive = 4;
    load.pause = Duration::from_millis(50);
    let load = traffic::Traffic::start(load);
    for flip in 0..FLIPS {
        app.flip(scope, ["c1", "c2"][flip % 2]).await?;
    }
    let report = load.stop().await;
    ensure!(
        report.requests > 0 && report.failed == 0,
        "{} of {}: {:?}",
        report.failed,
        report.requests,
        report.failures
    );
    let replies: Vec<&str> = report.replies.keys().map(|reply| reply.trim()).collect();
    ensure!(replies == ["#c1", "#c2"], "{replies:?}");
    one.alive().await?;
    two.alive().await?;
    ensure!(scope.pod_uids().await? == before, "flips started or ended pods");
    Ok(())
}

/// Checks that `retire` is refused for a color with connections, and that `retire --force` cuts that color and no other, and reports the cuts.
pub(crate) async fn retire_is_refused_and_forced(scope: &mut Scope) -> Result<()> {
    let app = Colors { replicas: 1, ..Colors::default() };
    app.release(scope, "c1").await?;
    let held = app.hold(scope, Kind::Lines, 4).await?;
    app.release(scope, "c2").await?;
    let other = app.hold(scope, Kind::Lines, 4).await?;
    counts(scope, "c1", 4).await?;
    let refused = scope.cli.output(&["retire", colors::NAME, "c1"])?;
    ensure!(refused.code != 0 && refused.stderr.contains('4'), "retire of a busy color: {refused:?}");
    let serving = scope.cli.output(&["retire", colors::NAME, "c2", "--force"])?;
    ensure!(serving.code != 0, "retire of the color that serves: {serving:?}");
    held.alive().await?;
    scope.cli.run(&["retire", colors::NAME, "c1", "--force"]).await?;
    shrinks_to(scope, "c1", 0).await?;
    eventually("its connections are cut", || async {
        ensure!(held.cut() == 4, "{} of 4", held.cut());
        Ok(())
    })
    .await?;
    other.alive().await
}

/// Runs twenty colors at once, each with connections. One more waits, with the reason in its status, and comes when a slot is free.
pub(crate) async fn twenty_colors_at_once(scope: &mut Scope) -> Result<()> {
    let app = Colors { replicas: 1, live: u32::try_from(RAINBOW)?, ..Colors::default() };
    let names: Vec<String> = (0..RAINBOW).map(|number| format!("{number:06}")).collect();
    let mut held = Vec::new();
    for name in &names {
        app.release(scope, name).await?;
        let new = app.hold(scope, Kind::Lines, 3).await?;
        ensure!(
            new.line_counts().into_keys().eq([line(name)]),
            "new connections to {name} heard {:?}",
            new.line_counts()
        );
        held.push(new);
    }
    for held in &held {
        held.alive().await?;
    }
    let status = scope.cli.run(&["status", colors::NAME]).await?;
    for name in &names {
        ensure!(status.contains(name.as_str()), "status does not name {name}:\n{status}");
    }

    scope.apply_manifest(&app.at("ffffff"))?;
    eventually("the new color waits and says for what", || async {
        let rainbow = scope.custom("Rainbow").get(colors::NAME).await?;
        let conditions = rainbow.data["status"]["conditions"].to_string();
        ensure!(conditions.contains("ffffff") && conditions.contains("000000"), "{conditions}");
        Ok(())
    })
    .await?;
    ensure!(pods(scope, "ffffff").await?.is_empty(), "a color over the budget has pods");
    for held in &held {
        held.alive().await?;
    }
    held[7].close(3);
    shrinks_to(scope, "000007", 0).await?;
    app.ready(scope, "ffffff").await?;
    app.flip(scope, "ffffff").await?;
    for held in &held {
        held.whole()?;
    }
    Ok(())
}

/// Checks that a color that is deleted while a stage points at it stays, with all of its connections, and that a draining color
/// goes, with its own connections and no others.
pub(crate) async fn deleting_a_color_ends_no_other(scope: &mut Scope) -> Result<()> {
    let app = Colors::default();
    app.release(scope, "c1").await?;
    let one = app.hold(scope, Kind::Lines, 10).await?;
    app.release(scope, "c2").await?;
    let two = app.hold(scope, Kind::Lines, 10).await?;
    let colors = scope.custom("Color");
    colors.delete("colors-c1", &DeleteParams::default()).await?;
    eventually("the connections of the deleted color are cut", || async {
        ensure!(one.cut() == 10, "{} of 10", one.cut());
        Ok(())
    })
    .await?;
    two.alive().await?;

    colors.delete("colors-c2", &DeleteParams::default()).await?;
    eventually("the status says why it is still there", || async {
        let held = color(scope, "c2").await?;
        ensure!(held.metadata.deletion_timestamp.is_some(), "it is not being deleted");
        let rainbow = scope.custom("Rainbow").get(self::colors::NAME).await?;
        let said = format!("{}{}", held.data["status"]["conditions"], rainbow.data["status"]["conditions"]);
        ensure!(said.contains("c2") && said.contains("active"), "{said}");
        Ok(())
    })
    .await?;
    two.alive().await?;
    let new = app.hold(scope, Kind::Lines, 5).await?;
    ensure!(new.line_counts().into_keys().eq([line("c2")]), "new connections heard {:?}", new.line_counts());
    app.release(scope, "c3").await?;
    eventually("c2 is gone", || async {
        ensure!(colors.get_opt("colors-c2").await?.is_none());
        Ok(())
    })
    .await
}
