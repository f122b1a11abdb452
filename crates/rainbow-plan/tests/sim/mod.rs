//! A tiny model of a cluster: Deployments that make pods, an endpoint controller whose caches lag, a data plane that lags
//! behind that, an operator that may crash between any two writes, and users.
//!
//! The model keeps the worst case at hand instead of one random case: a pod *may* get connections as long as the data
//! plane may still know it, and *surely* serves only once the data plane must know it.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of the model")]

mod checks;
mod cluster;
mod connections;
pub mod events;
pub mod operator;
pub mod script;
pub mod spec;
mod words;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::test_runner::{Config as ProptestConfig, RngSeed};
use rainbow_plan::*;

/// How far the data plane, and the endpoint controller, may lag. Milliseconds.
pub const PROPAGATION: i64 = 1_000;

/// So many random histories, the same ones each time: what was green stays so until the code changes. With `PROPTEST_CASES`
/// in the environment there are as many as that says, and new ones, unless `PROPTEST_RNG_SEED` names them.
pub fn cases(number: u32) -> ProptestConfig {
    let default = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => default,
        None => ProptestConfig { cases: number, rng_seed: RngSeed::Fixed(1), ..default },
    }
}

/// A Deployment.
#[derive(Clone, Debug)]
pub struct Dep {
    pub foreign: bool,
    pub current: bool,
    pub replicas: u32,
    pub observed: bool,
    /// Why it has fewer replicas than before.
    pub down: Cause,
    /// Pods that the planner has let go.
    pub let_go: BTreeSet<String>,
}

impl Dep {
    pub fn foreign(replicas: u32) -> Self {
        let down = Cause::Theirs;
        Self { foreign: true, current: true, replicas, observed: true, down, let_go: BTreeSet::new() }
    }
}

/// Who is to blame for a pod's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The planner.
    Ours,
    /// A user, or the pod itself.
    Theirs,
}

/// A Service of an instance or of a stage.
#[derive(Clone, Debug, PartialEq)]
pub enum Svc {
    Foreign,
    Ours { current: bool, selects: Option<Selection> },
}

/// A pod.
#[derive(Clone, Debug)]
pub struct SimPod {
    pub instance: InstanceName,
    pub ready: bool,
    pub terminating: bool,
    /// Stage name to time of joining.
    pub member: BTreeMap<String, i64>,
    /// Changed since then without the endpoint controller having seen it.
    pub dirty: Option<i64>,
    /// Connections it really has.
    pub connections: u32,
    /// Nobody can be asked for their number.
    pub dumb: bool,
    /// It does not become ready by itself.
    pub stuck: bool,
    pub mark: Mark,
    /// When the mark was changed, and from what: who chooses pods may not have seen it yet.
    pub marked: (i64, Mark),
}

/// What the endpoint controller has seen of a pod.
#[derive(Clone, Debug)]
pub struct Seen {
    pub instance: InstanceName,
    pub ready: bool,
    pub member: BTreeSet<String>,
}

/// The model.
#[derive(Clone)]
pub struct Sim {
    pub now: i64,
    pub spec: Spec,
    pub memory: Memory,
    pub colors: BTreeMap<String, Color>,
    pub deps: BTreeMap<InstanceName, Dep>,
    pub svcs: BTreeMap<InstanceName, Svc>,
    pub stages: BTreeMap<String, Svc>,
    pub stage_dirty: BTreeMap<String, i64>,
    pub pods: BTreeMap<String, SimPod>,
    /// Colors whose pods never become ready in a tier.
    pub broken: BTreeSet<InstanceName>,
    // The endpoint controller.
    seen_pods: BTreeMap<String, Seen>,
    seen_stages: BTreeMap<String, Selection>,
    pub endpoints: BTreeMap<String, BTreeSet<String>>,
    /// Endpoints as they were, with the time each set was replaced.
    past: BTreeMap<String, VecDeque<(i64, BTreeSet<String>)>>,
    // The operator.
    seen_since: BTreeMap<(String, String), i64>,
    seen_left: BTreeMap<(String, String), i64>,
    seen_marks: BTreeMap<String, (Mark, i64)>,
    seen_ready: BTreeMap<String, (bool, i64)>,
    /// What was found when a pod was asked, and when that was.
    evidence: BTreeMap<String, (Connections, i64)>,
    /// Whom to ask, and since when.
    count: BTreeMap<InstanceName, i64>,
    pub guard: Presence,
    pub released: bool,
    // Bookkeeping.
    pub started: BTreeMap<String, u32>,
    pub started_instances: BTreeMap<InstanceName, u32>,
    /// The world of the decision that is being carried out.
    decided: Option<World>,
    pub writes: usize,
    pub trace: Vec<String>,
    pub tracing: bool,
    counter: usize,
    /// Versions there have been of the application.
    versions: usize,
    /// By stage: it once had all its pods; failures since it last had.
    pub established: BTreeMap<String, u32>,
    pub checking: bool,
    /// Nobody does what users should not do.
    pub civil: bool,
}

impl Sim {
    pub fn new(spec: Spec) -> Self {
        Self {
            now: 1_000_000,
            spec,
            memory: Memory::default(),
            colors: BTreeMap::new(),
            deps: BTreeMap::new(),
            svcs: BTreeMap::new(),
            stages: BTreeMap::new(),
            stage_dirty: BTreeMap::new(),
            pods: BTreeMap::new(),
            broken: BTreeSet::new(),
            seen_pods: BTreeMap::new(),
            seen_stages: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            past: BTreeMap::new(),
            seen_since: BTreeMap::new(),
            seen_left: BTreeMap::new(),
            seen_marks: BTreeMap::new(),
            seen_ready: BTreeMap::new(),
            evidence: BTreeMap::new(),
            count: BTreeMap::new(),
            guard: Presence::Absent,
            released: false,
            started: BTreeMap::new(),
            started_instances: BTreeMap::new(),
            decided: None,
            writes: 0,
            trace: Vec::new(),
            tracing: false,
            counter: 0,
            versions: 1,
            established: BTreeMap::new(),
            checking: true,
            civil: false,
        }
    }

    /// The world as an observer with fresh caches sees it.
    pub fn world(&mut self) -> World {
        self.observe();
        let mut instances = BTreeMap::new();
        let named = self.colors.values().flat_map(|color| color.instances.values());
        let all: BTreeSet<&InstanceName> = named.chain(self.deps.keys()).chain(self.svcs.keys()).collect();
        for name in all {
            let needed = self.colors.values().any(|color| {
                color.instances.get(&name.tier) == Some(name)
                    && color.tiers.iter().any(|tier| tier.needs.contains(&name.tier))
            });
            let count = self.pods.values().filter(|pod| pod.instance == *name).count() as u32;
            let deployment = match self.deps.get(name) {
                None => Deployment::Absent,
                Some(dep) if dep.foreign => Deployment::Foreign,
                Some(dep) => Deployment::Ours {
                    current: dep.current,
                    replicas: dep.replicas,
                    observed: dep.observed,
                    pods: if dep.observed { count } else { 0 },
                },
            };
            let orphan = !self.colors.values().any(|color| color.instances.values().any(|own| own == name));
            let service = match (needed || orphan, self.svcs.get(name)) {
                (false, _) => Presence::NotNeeded,
                (true, None) => Presence::Absent,
                (true, Some(Svc::Foreign)) => Presence::Foreign,
                (true, Some(Svc::Ours { current: true, .. })) => Presence::Current,
                (true, Some(Svc::Ours { current: false, .. })) => Presence::Outdated,
            };
            instances.insert(name.clone(), Instance { identity: self.identity(name), deployment, service });
        }
        let stages = self.stages.iter().map(|(name, svc)| {
            let service = match svc {
                Svc::Foreign => StageService::Foreign,
                Svc::Ours { current, selects } => {
                    StageService::Ours { current: *current, selects: selects.clone().unwrap_or(Selection::Other) }
                }
            };
            (service_key(name), service)
        });
        let mut endpoint: BTreeMap<&String, BTreeMap<StageKey, Time>> = BTreeMap::new();
        let mut left = endpoint.clone();
        for ((stage, pod), at) in &self.seen_since {
            endpoint.entry(pod).or_default().insert(service_key(stage), Time(*at));
        }
        for ((stage, pod), at) in &self.seen_left {
            left.entry(pod).or_default().insert(service_key(stage), Time(*at));
        }
        let pods = self.pods.iter().map(|(name, pod)| Pod {
            name: name.clone(),
            instance: pod.instance.clone(),
            ready: pod.ready && !pod.terminating,
            ready_since: Time(self.seen_ready.get(name).map_or(self.now, |(_, at)| *at)),
            terminating: pod.terminating,
            member: pod.member.iter().map(|(stage, at)| (stage.clone(), Some(Time(*at)))).collect(),
            endpoint: endpoint.remove(name).unwrap_or_default(),
            left: left.remove(name).unwrap_or_default(),
            connections: self.known(name),
            mark: pod.mark,
            marked: Time(self.seen_marks.get(name).map_or(self.now, |(_, at)| *at)),
        });
        World {
            spec: self.spec.clone(),
            memory: self.memory.clone(),
            colors: self.colors.values().cloned().collect(),
            instances,
            stages: stages.collect(),
            pods: pods.collect(),
            guard: self.guard,
        }
    }

    /// What the operator remembers of endpoints, from what it sees now.
    pub(crate) fn observe(&mut self) {
        let now: BTreeSet<(String, String)> = self
            .endpoints
            .iter()
            .flat_map(|(stage, pods)| pods.iter().map(move |pod| (stage.clone(), pod.clone())))
            .collect();
        for gone in self.seen_since.keys().filter(|key| !now.contains(*key)).cloned().collect::<Vec<_>>() {
            self.seen_since.remove(&gone);
            self.seen_left.insert(gone, self.now);
        }
        for key in now {
            self.seen_left.remove(&key);
            self.seen_since.entry(key).or_insert(self.now);
        }
        let (pods, limit) = (&self.pods, self.now - 2 * PROPAGATION);
        self.seen_left.retain(|(_, pod), at| pods.contains_key(pod) && *at > limit);
        for (name, pod) in pods {
            let seen = self.seen_marks.entry(name.clone()).or_insert((pod.mark, self.now));
            if seen.0 != pod.mark {
                *seen = (pod.mark, self.now);
            }
            let ready = pod.ready && !pod.terminating;
            let seen = self.seen_ready.entry(name.clone()).or_insert((ready, self.now));
            if seen.0 != ready {
                *seen = (ready, self.now);
            }
        }
        self.seen_marks.retain(|pod, _| pods.contains_key(pod));
        self.seen_ready.retain(|pod, _| pods.contains_key(pod));
    }

    /// What an instance's objects say that it is.
    fn identity(&self, name: &InstanceName) -> String {
        let owner = self.colors.values().find(|color| color.instances.get(&name.tier) == Some(name));
        let tier = owner.and_then(|color| color.tiers.iter().find(|tier| tier.name == name.tier));
        tier.map_or_else(|| format!("{}@{}", name.tier, name.color), |tier| tier.identity.clone())
    }

    /// Pods a stage wants, as the spec says.
    pub fn of(&self, stage: &Stage) -> u32 {
        let full = self.spec.tiers.iter().find(|tier| tier.name == stage.tier).map_or(0, |tier| tier.replicas);
        stage.replicas.unwrap_or(full)
    }

    /// Pods of an instance at full size, as the spec says.
    pub fn full(&self, instance: &InstanceName) -> u32 {
        self.spec.tiers.iter().find(|tier| tier.name == instance.tier).map_or(0, |tier| tier.replicas)
    }

    pub fn log(&mut self, line: impl FnOnce() -> String) {
        if self.tracing {
            let line = line();
            self.trace.push(line);
        }
    }
}

/// The planner's key of a stage's Service, from the simulation's: the stage, `stage/service`, or nothing.
pub fn service_key(name: &str) -> StageKey {
    match name.split_once('/') {
        Some((stage, service)) => StageKey::Former { stage: stage.into(), service: service.into() },
        None if name.is_empty() => StageKey::Gone { service: None },
        None => StageKey::of(name),
    }
}

/// The simulation's key of a stage's Service.
pub fn service_name(key: &StageKey) -> String {
    match key {
        StageKey::Stage(stage) => stage.clone(),
        StageKey::Former { stage, service } => format!("{stage}/{service}"),
        StageKey::Gone { service } => service.clone().unwrap_or_default(),
    }
}
