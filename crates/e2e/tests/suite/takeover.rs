//! Test of two operators of which one leads. Each is killed, frozen, cut off from the API server and terminated, while releases, rollbacks and
//! held connections continue.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use e2e::{
    App, Pace, Replica, Scope,
    colors::Colors,
    eventually,
    held::{Held, Kind},
    ledger::Ledger,
    load::Clients,
};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::{Deployment, ReplicaSet},
        coordination::v1::Lease,
        core::v1::{Pod, Service},
        policy::v1::PodDisruptionBudget,
    },
};
use kube::{
    Resource, ResourceExt,
    api::{DeleteParams, ListParams},
};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};
use serde::de::DeserializeOwned;
use serde_json::json;

/// Pods per tier.
const PODS: u32 = 2;
/// Number of held connections to each color.
const HELD: usize = 4;
/// Number of colors that have held connections at the same time.
const COLORS_HELD: usize = 3;
/// Milliseconds between two troubles.
const PAUSE: std::ops::Range<u64> = 2_000..8_000;
/// Milliseconds for which an operator is frozen or cut off: longer than a lease.
const AWAY: std::ops::Range<u64> = 15_000..25_000;
/// Time limit until another operator leads, on a machine that is busy with other things.
const TAKEOVER: Duration = Duration::from_secs(90);
const LEASE: &str = "rainbow-operator";

/// Kind of trouble for an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Trouble {
    Killed,
    Frozen,
    CutOff,
    Terminated,
}

/// Releases two applications under load, while operators come and go.
pub(crate) async fn operators_in_turn(scope: &mut Scope) -> Result<()> {
    let (time, seed) = (scope.chaos(), scope.seed());
    println!("takeover: seed {seed}, {time:?} of troubles");
    scope.operator.kill();
    let mut replicas = [scope.replica("a").await?, scope.replica("b").await?];
    let instances = Instances::watch(scope);

    let app = App { replicas: PODS, ..App::two_tiers(PODS) };
    apply(scope, &app, "c1")?;
    scope.serves(&app, "active", "c1").await?;
    let held_app = Colors { replicas: PODS, live: 20, ..Colors::default() };
    held_app.release(scope, "h1").await?;
    let traffic = scope.load_by("frontend-active", Clients::New).await?;

    let (over, leaders) = (AtomicBool::new(false), Leaders::default());
    let troubles = async {
        let tally = troubles(&mut replicas, &leaders, StdRng::seed_from_u64(seed), time).await;
        over.store(true, Ordering::Relaxed);
        tally
    };
    let work = async {
        let releases = releases(scope, &app, &over, StdRng::seed_from_u64(seed ^ 1));
        tokio::try_join!(troubles, releases, held_releases(scope, &held_app, &over))
    };
    let (tally, (released, rolled_back), (held, held_released)) = tokio::select! {
        done = work => done?,
        broken = leaders.watch(scope) => return broken,
    };

    held.alive().await.context("held connections")?;
    let report = traffic.clean().await?;
    let (deployments_made, pods_started) = instances.made_once()?;
    let wanted = 2 * released + held_released;
    ensure!(deployments_made == wanted, "{deployments_made} Deployments were made for {wanted} instances");
    let held_count = held.len();
    drop(held);
    nothing_is_left(scope, &[app.name, held_app.name]).await?;
    for replica in &mut replicas {
        replica.runs()?;
    }
    let counts: Vec<String> = tally.counts.iter().map(|(trouble, count)| format!("{trouble:?} {count}")).collect();
    println!(
        "takeover: seed {seed}: {} ({} of the leader); another one led after at most {:.1} s ({} times), after SIGTERM {:.1} s ({} times); \
         {released} + {held_released} releases, {rolled_back} rollbacks; {} requests, 0 failed, 0 mixed; {held_count} held connections, 0 cut; \
         {deployments_made} Deployments, {pods_started} pods, each made once",
        counts.join(", "),
        tally.of_leader,
        longest(&tally.after_crash),
        tally.after_crash.len(),
        longest(&tally.after_sigterm),
        tally.after_sigterm.len(),
        report.requests,
    );
    let slowest = tally.after_crash.iter().chain(&tally.after_sigterm).max();
    ensure!(slowest.is_none_or(|slowest| *slowest < TAKEOVER), "another operator led after {slowest:?} only");
    Ok(())
}

/// Records of the created Deployments and pods.
struct Instances {
    deployments: Ledger<String>,
    asked: Ledger<i32>,
    pods: Ledger<String>,
}

impl Instances {
    fn watch(scope: &Scope) -> Self {
        let of_pod = |pod: &Pod| {
            let label = |name: &str| pod.labels().get(name).cloned();
            Some((format!("{}-{}", label("rainbow.dev/tier")?, label("rainbow.dev/color")?), pod.uid()?))
        };
        Self {
            deployments: Ledger::open(scope.api(), |made: &Deployment| Some((made.name_any(), made.uid()?))),
            asked: Ledger::open(scope.api(), |made: &Deployment| {
                Some((made.name_any(), made.spec.as_ref()?.replicas?))
            }),
            pods: Ledger::open(scope.api(), of_pod),
        }
    }

    /// Returns the number of created Deployments and pods. Each Deployment must have been created once, and no instance may have started more pods
    /// than it was asked for; one that is taken back early starts fewer.
    fn made_once(&self) -> Result<(usize, usize)> {
        let deployments = self.deployments.entries();
        let again: Vec<_> = deployments.iter().filter(|(_, uids)| uids.len() != 1).collect();
        ensure!(again.is_empty(), "Deployments were made more than once: {again:?}");
        let (asked, pods) = (self.asked.entries(), self.pods.entries());
        for (instance, started) in &pods {
            let most = asked.get(instance).and_then(|asked| asked.last()).copied().unwrap_or_default();
            ensure!(most <= i32::try_from(PODS)?, "{instance} was asked for {most} pods");
            ensure!(
                started.len() <= usize::try_from(most)?,
                "{instance} was asked for {most} pods, and started {started:?}"
            );
        }
        Ok((deployments.len(), pods.values().map(std::collections::BTreeSet::len).sum()))
    }
}

fn longest(times: &[Duration]) -> f64 {
    times.iter().max().copied().unwrap_or_default().as_secs_f64()
}

/// Holders of the lease, and the time at which each was first seen.
#[derive(Default)]
struct Leaders {
    seen: Mutex<Vec<(Instant, String)>>,
}

impl Leaders {
    /// Polls the lease. Never returns without an error.
    async fn watch(&self, scope: &Scope) -> Result<()> {
        loop {
            let lease = scope.api::<Lease>().get_opt(LEASE).await?;
            let holder = lease.and_then(|lease| lease.spec).and_then(|spec| spec.holder_identity).unwrap_or_default();
            self.note(holder);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn note(&self, holder: String) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.last().is_none_or(|(_, last)| *last != holder) {
            seen.push((Instant::now(), holder));
        }
    }

    /// Returns the holder of the lease; empty if there is none.
    fn now(&self) -> String {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.last().map(|(_, holder)| holder.clone()).unwrap_or_default()
    }

    /// Returns the time from a moment until another operator than the one before leads.
    async fn after(&self, moment: Instant, before: &str) -> Result<Duration> {
        eventually("another operator leads", || async {
            let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            let next = seen.iter().find(|(since, holder)| *since > moment && !holder.is_empty() && holder != before);
            let (since, _) = next.with_context(|| format!("the holders were {seen:?}"))?;
            Ok(since.duration_since(moment))
        })
        .await
    }
}

/// Record of the troubles.
#[derive(Default)]
struct Tally {
    counts: BTreeMap<Trouble, usize>,
    of_leader: usize,
    after_crash: Vec<Duration>,
    after_sigterm: Vec<Duration>,
}

/// Makes troubles in turn, each kind once before any comes again, most of them for the leader.
async fn troubles(replicas: &mut [Replica; 2], leaders: &Leaders, mut random: StdRng, time: Duration) -> Result<Tally> {
    let begin = Instant::now();
    let mut tally = Tally::default();
    let mut next = Vec::new();
    while begin.elapsed() < time {
        if next.is_empty() {
            next = vec![Trouble::Killed, Trouble::Frozen, Trouble::CutOff, Trouble::Terminated];
            next.shuffle(&mut random);
        }
        let Some(trouble) = next.pop() else { continue };
        tokio::time::sleep(Duration::from_millis(random.random_range(PAUSE))).await;
        let leader = leaders.now();
        let leads = replicas.iter().position(|replica| replica.is(&leader));
        let victim = match leads {
            Some(leads) if random.random_bool(0.75) => leads,
            _ => random.random_range(0..replicas.len()),
        };
        let away = Duration::from_millis(random.random_range(AWAY));
        let moment = Instant::now();
        println!(
            "takeover: {:.1} s: {trouble:?}: operator {victim}{}",
            begin.elapsed().as_secs_f64(),
            if leads == Some(victim) { ", which leads" } else { "" }
        );
        let Some(replica) = replicas.get_mut(victim) else { continue };
        match trouble {
            Trouble::Killed => {
                replica.kill()?;
                tokio::time::sleep(away / 10).await;
                replica.restart()?;
            }
            Trouble::Frozen => {
                replica.freeze()?;
                tokio::time::sleep(away).await;
                replica.thaw()?;
            }
            Trouble::CutOff => {
                replica.gate().close();
                tokio::time::sleep(away).await;
                replica.gate().open();
            }
            Trouble::Terminated => {
                replica.terminate().await?;
                tokio::time::sleep(away / 10).await;
                replica.restart()?;
            }
        }
        *tally.counts.entry(trouble).or_default() += 1;
        if leads == Some(victim) {
            tally.of_leader += 1;
            let after = leaders.after(moment, &leader).await.with_context(|| format!("after {trouble:?}"))?;
            println!("takeover: another one leads after {:.1} s", after.as_secs_f64());
            match trouble {
                Trouble::Terminated => tally.after_sigterm.push(after),
                _ => tally.after_crash.push(after),
            }
        }
    }
    Ok(tally)
}

/// Makes one release after another of two tiers, shifted pod by pod or at once, some of which are rolled back on the way. Returns the number of
/// releases, and of those that were rolled back.
async fn releases(scope: &Scope, app: &App, over: &AtomicBool, mut random: StdRng) -> Result<(usize, usize)> {
    let (mut released, mut rolled_back, mut serving) = (1, 0, "c1".to_owned());
    while !over.load(Ordering::Relaxed) {
        released += 1;
        let color = format!("c{released}");
        // Both paces, each with and without a rollback; the more revealing ones first.
        let (pace, back) = match released % 4 {
            2 => (Pace::OneEvery(1_000), true),
            3 => (Pace::Flip, false),
            0 => (Pace::Flip, true),
            _ => (Pace::OneEvery(1_000), false),
        };
        let app = App { pace, ..app.clone() };
        apply(scope, &app, &color)?;
        scope.serves(&app, "smoke", &color).await?;
        scope.cli.run(&["promote", app.name, "--to", &color]).await?;
        if back {
            tokio::time::sleep(Duration::from_millis(random.random_range(0..3_000))).await;
            scope.cli.run(&["rollback", app.name, "--to", &serving]).await?;
            rolled_back += 1;
        } else {
            serving = color;
        }
        scope.serves(&app, "active", &serving).await?;
        scope.answers("frontend-active", &app.reply(&serving)).await?;
    }
    Ok((released, rolled_back))
}

/// Makes one release after another. Clients connect to each and stay while later ones come. Returns the connections that are left, and the
/// number of releases.
async fn held_releases(scope: &Scope, app: &Colors, over: &AtomicBool) -> Result<(Held, usize)> {
    let mut held = Vec::new();
    let mut released = 1;
    loop {
        held.push(app.hold(scope, Kind::Lines, HELD).await?);
        for connections in &held {
            connections.alive().await.context("held connections")?;
        }
        if over.load(Ordering::Relaxed) {
            break;
        }
        if held.len() > COLORS_HELD {
            held.remove(0);
        }
        released += 1;
        app.release(scope, &format!("h{released}")).await?;
    }
    let mut all = Held::default();
    held.into_iter().for_each(|connections| all.append(connections));
    Ok((all, released))
}

/// Applies a color of the app. Each color replies with its name.
fn apply(scope: &Scope, app: &App, color: &str) -> Result<()> {
    let mut manifest = app.at("v1");
    let spec = &mut manifest["spec"];
    spec["color"] = json!(color);
    for tier in spec["tiers"].as_array_mut().context("no tiers")? {
        let env = &mut tier["template"]["spec"]["containers"][0]["env"];
        env.as_array_mut().context("no environment")?.push(json!({ "name": "VERSION", "value": color }));
    }
    // The warm period outlasts every rollback; later, colors go away while the test runs.
    spec["drain"] = json!({ "connections": "Sidecar", "settle": "1s", "deadline": "24h" });
    spec["keep"] = json!({ "live": 8, "history": 3, "warm": "20s" });
    scope.apply_manifest(&manifest)
}

/// Deletes the applications, and waits until the namespace has none of their objects.
async fn nothing_is_left(scope: &Scope, apps: &[&str]) -> Result<()> {
    for app in apps {
        scope.custom("Rainbow").delete(app, &DeleteParams::default()).await?;
    }
    eventually("nothing is left", || async {
        let mut left = vec![
            names::<Deployment>(scope).await?,
            names::<ReplicaSet>(scope).await?,
            names::<Service>(scope).await?,
            names::<PodDisruptionBudget>(scope).await?,
            names::<Pod>(scope).await?,
        ];
        for kind in ["Rainbow", "Color"] {
            let found = scope.custom(kind).list(&ListParams::default()).await?;
            left.push(found.items.iter().map(ResourceExt::name_any).collect());
        }
        ensure!(left.iter().all(Vec::is_empty), "there are {left:?}");
        Ok(())
    })
    .await
}

/// Returns the names of the objects that are not being deleted.
async fn names<K>(scope: &Scope) -> Result<Vec<String>>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
{
    let found = scope.api::<K>().list(&ListParams::default()).await?;
    let live = found.items.iter().filter(|object| object.meta().deletion_timestamp.is_none());
    Ok(live.map(ResourceExt::name_any).collect())
}
