//! Model of a small cluster: an API server that may refuse writes, Deployments that make pods, an endpoint controller whose
//! caches lag, a data plane that lags behind it, operators that may crash between any two writes, users, and other writers.
//!
//! The model keeps the worst case at hand instead of one random case: a pod *may* get connections as long as the data plane may
//! still know it, and *surely* serves only once the data plane must know it.
//!
//! | module | subject |
//! |---|---|
//! | `events`, `classes`, `history` | events that can happen, as text, and random histories of them |
//! | `happen` | how each event happens |
//! | `cluster`, `connections` | controllers, pods, data plane, clients |
//! | `api` | the API server: which writes it refuses, and what a write does |
//! | `world` | the caches of an operator |
//! | `operator` | the operators: observe, plan, write |
//! | `gates` | checks that stages ask for, and their outcomes |
//! | `rules`, `checks`, `keeps`, `tiers`, `scalers` | what must hold |
//! | `properties` | what histories are tried for |
//! | `explore`, `script`, `spec`, `words` | how tests use the model |
#![allow(dead_code, unreachable_pub, unused_macros, reason = "each test binary uses a part of the model")]

mod api;
mod checks;
pub mod classes;
mod cluster;
mod connections;
pub mod events;
#[macro_use]
pub mod explore;
pub mod gates;
mod happen;
pub mod history;
mod keeps;
pub mod operator;
pub mod properties;
pub mod rules;
pub mod scalers;
pub mod script;
pub mod spec;
mod tiers;
mod words;
mod world;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub use api::{Refusal, WriteTarget};
use operator::Operator;
use rainbow_plan::*;
use rules::{Rule, Rules};
use world::{Kind, Shown};

/// Longest lag of the data plane, and of the endpoint controller, in milliseconds.
pub const PROPAGATION: i64 = 1_000;

/// A Deployment.
#[derive(Clone, Debug)]
pub struct Dep {
    pub foreign: bool,
    /// The Deployment has the labels that tell which application owns it.
    pub labelled: bool,
    pub current: bool,
    pub replicas: u32,
    pub observed: bool,
    /// Cause why the Deployment has fewer replicas than before.
    pub down: Cause,
    /// Last writer of the replicas.
    pub writer: Cause,
    /// Pods that the planner has let go.
    pub let_go: BTreeSet<String>,
    /// The Deployment is being deleted without its ReplicaSets: the garbage collector is not done.
    pub deleting: bool,
}

/// ReplicaSets of an instance that has no Deployment.
#[derive(Clone, Copy, Debug)]
pub struct Sets {
    pub replicas: u32,
    /// Fate of their pods, where the ReplicaSets are being deleted.
    pub deleting: Option<Cascade>,
}

impl Dep {
    pub fn foreign(replicas: u32) -> Self {
        Self { foreign: true, ..Self::ours(replicas) }
    }

    pub fn ours(replicas: u32) -> Self {
        Self {
            foreign: false,
            labelled: true,
            current: true,
            replicas,
            observed: true,
            down: Cause::Theirs,
            writer: Cause::Theirs,
            let_go: BTreeSet::new(),
            deleting: false,
        }
    }
}

/// Cause of a pod's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The planner.
    Ours,
    /// A user, or the pod itself.
    Theirs,
}

/// Service of an instance or of a stage.
#[derive(Clone, Debug, PartialEq)]
pub enum Svc {
    Foreign,
    Ours(Service),
}

/// Service that Rainbow made.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    pub current: bool,
    pub selects: Option<Selection>,
    /// Color that the stage serves, as the Service says.
    pub serves: Option<String>,
    /// Port of the pods that the Service sends to.
    pub target: u32,
    /// Port of every node that leads to the Service; 0 for none.
    pub node_port: u32,
    /// The Service is being deleted, and the controller that made its load balancer is not done.
    pub deleting: bool,
}

impl Svc {
    /// Returns a Service that Rainbow made, as it should be.
    pub fn ours(selects: Option<Selection>) -> Self {
        Self::Ours(Service { current: true, selects, serves: None, target: 0, node_port: 0, deleting: false })
    }

    /// Returns the selector, where the Service is ours.
    pub fn selects(&self) -> Option<&Selection> {
        match self {
            Self::Foreign => None,
            Self::Ours(service) => service.selects.as_ref(),
        }
    }

    pub fn mine(&mut self) -> Option<&mut Service> {
        match self {
            Self::Foreign => None,
            Self::Ours(service) => Some(service),
        }
    }
}

/// A pod.
#[derive(Clone, Debug)]
pub struct SimPod {
    pub instance: InstanceName,
    pub controller: Controller,
    pub ready: bool,
    pub terminating: bool,
    /// Times when the pod joined, by name of the stage, where the time is readable.
    pub member: BTreeMap<String, Option<i64>>,
    /// Time of the first change that the endpoint controller has not seen.
    pub dirty: Option<i64>,
    /// The same for membership labels, which the endpoint controller may see later than all else.
    pub unseen_labels: Option<i64>,
    /// Connections that the pod really has.
    pub connections: u32,
    /// No request for the number of its connections is answered.
    pub dumb: bool,
    /// The pod does not become ready by itself.
    pub stuck: bool,
    pub mark: Mark,
    /// Time when the mark was changed, and the mark before: the controller that chooses pods may not have seen the new one yet.
    pub marked: (i64, Mark),
    /// The pod lacks the label that Services of instances ask for.
    pub out: Option<Out>,
}

/// State of a pod that was taken out of the Services of its instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Out {
    /// Time when the pod was taken out.
    pub at: i64,
    /// Time that was written, by the clock of the writer.
    pub since: Option<i64>,
}

/// A stage that once had all its pods.
#[derive(Clone, Copy, Debug, Default)]
pub struct Established {
    /// As many as it wanted when it had all of them.
    of: u32,
    /// Pods that have failed since.
    failures: u32,
}

/// What the endpoint controller has seen of a pod.
#[derive(Clone, Debug)]
pub struct Seen {
    pub instance: InstanceName,
    pub ready: bool,
    pub member: BTreeSet<String>,
    pub out: bool,
}

/// The model.
#[derive(Clone)]
pub struct Sim {
    pub now: i64,
    pub spec: Spec,
    /// The spec's version is invalid.
    pub invalid: bool,
    /// Stages whose spec is invalid.
    pub invalid_stages: BTreeSet<String>,
    pub memory: Memory,
    pub colors: BTreeMap<String, Color>,
    /// Tier that the spec named last while it described the color, by stage and color.
    pub entries: BTreeMap<(String, String), String>,
    pub deps: BTreeMap<InstanceName, Dep>,
    pub sets: BTreeMap<InstanceName, Sets>,
    pub svcs: BTreeMap<InstanceName, Svc>,
    pub stages: BTreeMap<String, Svc>,
    pub stage_dirty: BTreeMap<String, i64>,
    pub pods: BTreeMap<String, SimPod>,
    pub guard: Presence,
    pub budgets: BTreeMap<String, StageBudget>,
    /// Instances whose pods never become ready.
    pub broken: BTreeSet<InstanceName>,
    /// Instances whose pods become ready only once a Service has them.
    pub gated: BTreeSet<InstanceName>,
    /// Instances that an older version made: their pods have no label that Services ask for.
    pub unlabeled: BTreeSet<InstanceName>,
    /// Ports that pods listen on, by identity, where the port is not 0.
    pub ports: BTreeMap<String, u32>,
    /// Pods asked for, by identity: the last size in the spec while it had that tier.
    pub asked: BTreeMap<String, u32>,
    /// The same sizes as the operator has seen them.
    heard: BTreeMap<String, u32>,
    // The API server, and other writers.
    pub refusals: BTreeMap<WriteTarget, Refusal>,
    /// Node ports that stages should have.
    pub node_ports: BTreeMap<String, u32>,
    /// Node ports of other Services.
    pub taken_ports: BTreeSet<u32>,
    /// Services end only when their load balancers have gone.
    pub slow_deletes: bool,
    /// Autoscalers as objects of the API.
    pub hpas: BTreeMap<InstanceName, Scaler>,
    /// Writers that scale, and how many pods each finds to be needed.
    pub scalers: BTreeMap<InstanceName, u32>,
    scaled: i64,
    // The endpoint controller.
    /// Longest time until the endpoint controller sees membership labels of pods.
    pub label_lag: i64,
    seen_pods: BTreeMap<String, Seen>,
    seen_stages: BTreeMap<String, Selection>,
    pub endpoints: BTreeMap<String, BTreeSet<String>>,
    /// Endpoints of the stages' shadow Services, to which no client is sent.
    pub shadows: BTreeMap<String, BTreeSet<String>>,
    /// Instances that have been among the endpoints of a stage.
    pub reached: BTreeSet<InstanceName>,
    /// Earlier sets of endpoints, each with the time when it was replaced.
    past: BTreeMap<String, VecDeque<(i64, BTreeSet<String>)>>,
    // The operators.
    pub operator: Operator,
    pub gates: gates::SimGates,
    /// Time by which the clock of the operator that does not lead is ahead.
    pub other_clock: i64,
    /// Content of the caches, and when each was fresh. A cache that does not lag is always fresh.
    shown: Shown,
    /// Longest lag of a cache, by kind.
    pub lags: BTreeMap<Kind, i64>,
    /// Write that an operator had sent when it lost its lease, and the world of its decision.
    pub late: Option<(Action, World)>,
    pub released: bool,
    // Bookkeeping.
    pub started: BTreeMap<String, u32>,
    pub started_instances: BTreeMap<InstanceName, u32>,
    /// World of the decision that is being carried out.
    decided: Option<World>,
    /// Writes that were sent, including refused ones.
    pub writes: usize,
    /// Writes of the last look.
    pub written: Vec<Action>,
    pub trace: Vec<String>,
    pub tracing: bool,
    counter: usize,
    /// Number of versions of the application so far.
    versions: usize,
    /// By stage: it once had all its pods; failures since it last had.
    pub established: BTreeMap<String, Established>,
    /// Chains are carried out in any order and at the same time, but for those of stages, which come first.
    pub interleaves: bool,
    /// Shares that are held, by stage.
    pub held: BTreeMap<String, keeps::Held>,
    /// Edits that other writers have made to the addresses of stages, and the known ages of instances.
    pub ages: tiers::Ages,
    pub checking: bool,
    /// Rules that are watched.
    pub rules: Rules,
    /// Users do nothing that they should not do.
    pub civil: bool,
}

impl Sim {
    pub fn new(spec: Spec) -> Self {
        let mut sim = Self {
            now: 1_000_000,
            spec,
            invalid: false,
            invalid_stages: BTreeSet::new(),
            memory: Memory::default(),
            entries: BTreeMap::new(),
            colors: BTreeMap::new(),
            deps: BTreeMap::new(),
            sets: BTreeMap::new(),
            svcs: BTreeMap::new(),
            stages: BTreeMap::new(),
            stage_dirty: BTreeMap::new(),
            pods: BTreeMap::new(),
            guard: Presence::Absent,
            budgets: BTreeMap::new(),
            broken: BTreeSet::new(),
            gated: BTreeSet::new(),
            unlabeled: BTreeSet::new(),
            ports: BTreeMap::new(),
            asked: BTreeMap::new(),
            heard: BTreeMap::new(),
            refusals: BTreeMap::new(),
            node_ports: BTreeMap::new(),
            taken_ports: BTreeSet::new(),
            slow_deletes: false,
            hpas: BTreeMap::new(),
            scalers: BTreeMap::new(),
            scaled: 0,
            label_lag: 0,
            seen_pods: BTreeMap::new(),
            seen_stages: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            shadows: BTreeMap::new(),
            reached: BTreeSet::new(),
            past: BTreeMap::new(),
            operator: Operator::default(),
            gates: gates::SimGates::default(),
            other_clock: 0,
            shown: Shown::default(),
            lags: BTreeMap::new(),
            late: None,
            released: false,
            started: BTreeMap::new(),
            started_instances: BTreeMap::new(),
            decided: None,
            writes: 0,
            written: Vec::new(),
            trace: Vec::new(),
            tracing: false,
            counter: 0,
            versions: 1,
            established: BTreeMap::new(),
            interleaves: false,
            held: BTreeMap::new(),
            ages: tiers::Ages::default(),
            checking: true,
            rules: Rules::BASE,
            civil: false,
        };
        sim.ask_size();
        sim
    }

    /// Returns the time by the clock of the operator that leads.
    pub fn clock(&self) -> Time {
        Time(self.now + self.operator.clock)
    }

    /// Returns the identity of an instance, as its objects say.
    pub fn identity(&self, name: &InstanceName) -> String {
        identity(&self.colors, name)
    }

    /// Records how many pods a valid spec asks for in its tiers. The operator cannot know the sizes of a version that another one
    /// replaces before the operator has looked.
    pub fn ask_size(&mut self) {
        if self.invalid {
            return;
        }
        self.asked.extend(self.heard.iter().map(|(identity, size)| (identity.clone(), *size)));
        let tiers = self.spec.tiers.iter();
        self.asked.extend(tiers.map(|tier| (tier.identity.clone(), tier.replicas)));
        if self.colors.get(&self.spec.color).is_none_or(|color| self.is_spec(color)) {
            let color = &self.spec.color;
            let entry = |stage: &Stage| ((stage.name.clone(), color.clone()), spec::entry(&self.spec.tiers, stage));
            self.entries.extend(self.spec.stages.iter().map(entry).collect::<Vec<_>>());
        }
    }

    /// Records that the operator has written down the sizes in the spec that it decided by.
    pub fn hear_sizes(&mut self) {
        if let Some(World { spec, .. }) = self.decided.as_ref().filter(|world| world.spec.version == Version::Valid) {
            self.heard.extend(spec.tiers.iter().map(|tier| (tier.identity.clone(), tier.replicas)));
        }
    }

    /// Returns the instance of a color that a stage's clients reach: the last one in a spec that described the color.
    pub fn entry(&self, stage: &Stage, color: &Color) -> Option<InstanceName> {
        if stage.address != Address::Entry {
            return spec::in_stage(color, stage.tier.as_deref()?, stage.user_name());
        }
        let told = self.entries.get(&(stage.name.clone(), color.name.clone())).cloned();
        let tier = told.unwrap_or_else(|| {
            let own = Stage { tier: None, ..stage.clone() };
            let own = spec::entry(&color.tiers, &own);
            if own.is_empty() { spec::entry(&color.tiers, stage) } else { own }
        });
        spec::in_stage(color, &tier, &stage.name)
    }

    /// Returns the stages, and the addresses of inner tiers that have a Service.
    pub fn addresses(&self) -> Vec<Stage> {
        let inner = |stage: &Stage| {
            let own =
                self.stages.keys().filter_map(|name| name.split_once('.').filter(|(user, _)| *user == stage.name));
            let tiers = own.map(|(_, tier)| tier).filter(|tier| !tier.contains(['/', '+']));
            let inner = |tier: &str| Stage {
                name: inner_name(&stage.name, tier),
                tier: Some(tier.to_owned()),
                overlap: None,
                address: Address::Inner { stage: stage.name.clone() },
                ..stage.clone()
            };
            tiers.map(inner).chain([stage.clone()]).collect::<Vec<_>>()
        };
        self.spec.stages.iter().flat_map(inner).collect()
    }

    /// Returns the port that an instance's pods listen on.
    pub fn port(&self, instance: &InstanceName) -> u32 {
        self.ports.get(&self.identity(instance)).copied().unwrap_or(0)
    }

    /// Returns the pods of an instance at full size: the last size that the spec had for that version of the tier.
    pub fn full(&self, instance: &InstanceName) -> u32 {
        self.scaled_size(instance).or_else(|| self.asked.get(&self.identity(instance)).copied()).unwrap_or(0)
    }

    /// Returns the selector of a stage's Service, where it is ours.
    pub fn selected(&self, stage: &str) -> Option<&Selection> {
        self.stages.get(stage)?.selects()
    }

    pub fn log(&mut self, line: impl FnOnce() -> String) {
        if self.tracing {
            let line = line();
            self.trace.push(line);
        }
    }
}

/// Suffix that the simulation appends to a stage's name in the key of its shadow Service.
const SHADOW: &str = "+shadow";

/// Returns the planner's key of a stage's Service, from the simulation's: the stage, `stage/service`, `stage+shadow`, or nothing.
pub fn service_key(name: &str) -> StageKey {
    if let Some(stage) = name.strip_suffix(SHADOW) {
        return StageKey::shadow(stage);
    }
    match name.split_once('/') {
        Some((stage, service)) => StageKey::Former { stage: stage.into(), service: service.into() },
        None if name.is_empty() => StageKey::Gone { service: None },
        None => StageKey::of(name),
    }
}

/// Returns the simulation's key of a stage's Service.
pub fn service_name(key: &StageKey) -> String {
    match key {
        StageKey::Stage(stage) => stage.clone(),
        StageKey::Former { stage, service } => format!("{stage}/{service}"),
        StageKey::Shadow { stage } => format!("{stage}{SHADOW}"),
        StageKey::Gone { service } => service.clone().unwrap_or_default(),
    }
}

fn identity(colors: &BTreeMap<String, Color>, name: &InstanceName) -> String {
    let owner = colors.values().find(|color| spec::has(color, name));
    let tier = owner.and_then(|color| color.tiers.iter().find(|tier| tier.name == *name.tier));
    tier.map_or_else(|| format!("{}@{}", name.tier, name.color), |tier| tier.identity.clone())
}
