//! Everything that can happen, for random histories.

use std::time::Duration;

use proptest::prelude::*;
use rainbow_plan::*;

use super::{operator::Run, *};

/// One thing that happens. Numbers choose among what there is at that moment, so that a history stays valid while it shrinks.
#[derive(Clone, Debug)]
pub enum Event {
    Reconcile,
    Crash(usize),
    Tick(i64),
    Calm,
    Deployment(usize, usize),
    Ready(usize),
    Unready(usize),
    End(usize),
    SeePod(usize),
    SeeStage(usize),
    Kill(usize),
    /// A new version; the number tells which of its tiers never comes up, if any.
    NewColor(usize),
    BackToColor(usize),
    SameNameOtherTiers,
    Promote(usize, usize),
    PromoteUnknown(usize),
    Unpin(usize),
    Pause(usize),
    Replicas(usize, u32),
    StageReplicas(usize, Option<u32>),
    Retire(usize),
    Drain(usize, usize),
    DeleteColor(usize),
    ForceDeleteColor(usize),
    /// Connections to a pod that can be reached: so many more.
    Connect(usize, u32),
    Disconnect(usize),
    /// The operator asks.
    Ask,
    /// A pod can no longer be asked, or can again.
    Dumb(usize),
    AddStage,
    RemoveStage(usize),
    EditSelector(usize),
    DeleteStageService(usize),
    ScaleByHand(usize, u32),
    Drift(usize),
    LoseStatus,
    Mend,
    ForeignAhead(usize),
}

/// Histories without users: what the cluster and the operator do.
pub fn of_the_cluster() -> impl Strategy<Value = Event> {
    let n = || 0usize..64;
    prop_oneof![
        8 => Just(Event::Reconcile),
        2 => (0usize..6).prop_map(Event::Crash),
        6 => prop_oneof![Just(1), Just(300), Just(1_000), Just(2_500), Just(11_000), Just(31_000)].prop_map(Event::Tick),
        3 => Just(Event::Calm),
        4 => (n(), n()).prop_map(|(d, p)| Event::Deployment(d, p)),
        6 => n().prop_map(Event::Ready),
        1 => n().prop_map(Event::Unready),
        3 => n().prop_map(Event::End),
        4 => n().prop_map(Event::SeePod),
        2 => n().prop_map(Event::SeeStage),
        1 => n().prop_map(Event::Kill),
        4 => (n(), 1u32..4).prop_map(|(p, c)| Event::Connect(p, c)),
        4 => n().prop_map(Event::Disconnect),
        4 => Just(Event::Ask),
        1 => n().prop_map(Event::Dumb),
    ]
}

/// What users do in the ordinary course of releases.
pub fn of_users() -> impl Strategy<Value = Event> {
    let n = || 0usize..64;
    prop_oneof![
        4 => n().prop_map(Event::NewColor),
        5 => (n(), n()).prop_map(|(s, c)| Event::Promote(s, c)),
        1 => n().prop_map(Event::Unpin),
        1 => n().prop_map(Event::Pause),
        1 => n().prop_map(Event::BackToColor),
        1 => n().prop_map(Event::Retire),
        1 => (n(), n()).prop_map(|(c, d)| Event::Drain(c, d)),
    ]
}

/// What users do when they know no mercy.
pub fn of_vandals() -> impl Strategy<Value = Event> {
    let n = || 0usize..64;
    prop_oneof![
        Just(Event::SameNameOtherTiers),
        n().prop_map(Event::PromoteUnknown),
        (n(), 0u32..5).prop_map(|(t, r)| Event::Replicas(t, r)),
        (n(), proptest::option::of(0u32..4)).prop_map(|(s, r)| Event::StageReplicas(s, r)),
        n().prop_map(Event::DeleteColor),
        n().prop_map(Event::ForceDeleteColor),
        Just(Event::AddStage),
        n().prop_map(Event::RemoveStage),
        n().prop_map(Event::EditSelector),
        n().prop_map(Event::DeleteStageService),
        (n(), 0u32..6).prop_map(|(d, r)| Event::ScaleByHand(d, r)),
        n().prop_map(Event::Drift),
        Just(Event::LoseStatus),
        Just(Event::Mend),
        n().prop_map(Event::ForeignAhead),
    ]
}

/// A random application: one to five tiers, one to three stages.
pub fn specs() -> impl Strategy<Value = Spec> {
    let tier = (1u32..4, any::<u8>());
    let shift = prop_oneof![
        Just(Shift::Flip),
        (0u32..4, 0u64..20).prop_map(|(step, every)| Shift::Rolling { step, every: Duration::from_secs(every) })
    ];
    let stage = (any::<bool>(), proptest::option::weighted(0.3, 1u32..4), shift);
    let keep = (2u32..6, 0u32..3);
    let tiers = proptest::collection::vec(tier, 1..6);
    // Bit by bit: which tiers are counted, how stages move.
    let ways = any::<u16>();
    (tiers, proptest::collection::vec(stage, 1..4), keep, 0u64..12, ways).prop_map(
        |(tiers, stages, (live, history), settle, ways)| {
            let tiers: Vec<Tier> = tiers
                .iter()
                .enumerate()
                .map(|(index, (replicas, needs))| Tier {
                    name: format!("t{index}"),
                    replicas: *replicas,
                    // A tier needs some of those after it, so the first is always an entry tier.
                    needs: (index + 1..tiers.len())
                        .filter(|j| needs >> (j % 8) & 1 == 1)
                        .map(|j| format!("t{j}"))
                        .collect(),
                    identity: format!("t{index}@v1"),
                    counted: ways >> index & 1 == 1,
                })
                .collect();
            let stages = stages.into_iter().enumerate().map(|(index, (auto, replicas, shift))| Stage {
                promote: if auto { Promote::Auto } else { Promote::Manual },
                replicas,
                shift,
                ..spec::stage(&format!("s{index}"), "t0")
            });
            let mut spec = spec::spec("v1", tiers, stages.collect());
            spec.keep = Keep { live, history };
            spec.drain.settle = Duration::from_secs(settle);
            spec.swap = if ways & 256 == 0 { Swap::Overlap } else { Swap::Direct };
            spec.progress_deadline = Duration::from_secs(120);
            spec
        },
    )
}

fn nth<T: Clone>(items: impl Iterator<Item = T>, n: usize) -> Option<T> {
    let items: Vec<T> = items.collect();
    (!items.is_empty()).then(|| items[n % items.len()].clone())
}

impl Sim {
    /// Makes it happen.
    pub fn happen(&mut self, event: &Event) {
        self.log(|| format!("{event:?}"));
        match event {
            Event::Reconcile => {
                self.reconcile(Run::Whole);
            }
            Event::Crash(writes) => {
                self.reconcile(Run::CrashAfter(*writes));
            }
            Event::Tick(milliseconds) => self.tick(*milliseconds),
            Event::Calm => self.calm(),
            Event::Deployment(n, pick) => {
                if let Some(instance) = nth(self.deps.keys().cloned(), *n) {
                    self.run_deployment(&instance, *pick);
                }
            }
            Event::Ready(n) => self.on_pod(*n, |sim, pod| sim.set_ready(pod, true)),
            Event::Unready(n) => self.on_pod(*n, |sim, pod| sim.set_ready(pod, false)),
            Event::Kill(n) => self.on_pod(*n, |sim, pod| sim.terminate(pod, Cause::Theirs)),
            Event::End(n) => {
                let pods = self.pods.iter().filter(|(_, pod)| pod.terminating);
                if let Some(pod) = nth(pods.map(|(name, _)| name.clone()), *n) {
                    self.end(&pod);
                }
            }
            Event::SeePod(n) => self.on_pod(*n, Sim::sync_pod),
            Event::SeeStage(n) => {
                if let Some(stage) = nth(self.stage_dirty.keys().cloned(), *n) {
                    self.sync_stage(&stage);
                }
            }
            Event::NewColor(broken) => {
                // Never a name that a deleted color had: identities are made of it, and two tiers that need different things
                // must not have one.
                self.versions += 1;
                let color = format!("v{}", self.versions);
                // With reuse, one tier changes, and with it all who call it.
                let mut changed = vec![self.spec.tiers[broken % self.spec.tiers.len()].name.clone()];
                for tier in self.spec.tiers.iter_mut().rev() {
                    if self.spec.reuse == Reuse::Never
                        || changed.contains(&tier.name)
                        || tier.needs.iter().any(|need| changed.contains(need))
                    {
                        tier.identity = format!("{}@{color}", tier.name);
                        changed.push(tier.name.clone());
                    }
                }
                if *broken < 8 {
                    let tier = &self.spec.tiers[broken % self.spec.tiers.len()].name;
                    self.broken.insert(spec::instance(tier, &color));
                }
                self.spec.color = color;
            }
            Event::BackToColor(n) => {
                if let Some(color) = nth(self.colors.values().cloned(), *n) {
                    self.spec
                        .tiers
                        .iter_mut()
                        .zip(&color.tiers)
                        .for_each(|(tier, old)| tier.identity = old.identity.clone());
                    self.spec.color = color.name;
                }
            }
            Event::SameNameOtherTiers => {
                self.spec.tiers.iter_mut().for_each(|tier| tier.identity.push('!'));
            }
            Event::Promote(stage, color) => {
                if let Some(color) = nth(self.colors.keys().cloned(), *color) {
                    self.on_stage(*stage, |stage| stage.color = Some(color));
                }
            }
            Event::PromoteUnknown(stage) => self.on_stage(*stage, |stage| stage.color = Some("nowhere".into())),
            Event::Unpin(stage) => self.on_stage(*stage, |stage| stage.color = None),
            Event::Pause(stage) => self.on_stage(*stage, |stage| stage.paused = !stage.paused),
            Event::Replicas(n, replicas) => {
                self.disturb();
                let index = n % self.spec.tiers.len();
                self.spec.tiers[index].replicas = *replicas;
            }
            Event::StageReplicas(stage, replicas) => {
                self.disturb();
                self.on_stage(*stage, |stage| stage.replicas = *replicas);
            }
            Event::Retire(n) => {
                if let Some(color) = nth(self.colors.keys().cloned(), *n) {
                    self.colors.get_mut(&color).unwrap().retire = true;
                }
            }
            Event::Drain(n, deadline) => {
                if let Some(color) = nth(self.colors.keys().cloned(), *n) {
                    let after = |seconds| Some(Deadline::After(Duration::from_secs(seconds)));
                    let deadline =
                        [Some(Deadline::Now), None, Some(Deadline::Never), after(5), after(60)][deadline % 5];
                    self.colors.get_mut(&color).unwrap().deadline = deadline;
                }
            }
            Event::ForceDeleteColor(n) => {
                if let Some(color) = nth(self.colors.keys().cloned(), *n) {
                    self.disturb();
                    self.colors.remove(&color);
                }
            }
            Event::Connect(n, count) => {
                let pods: Vec<String> = self.pods.keys().filter(|pod| self.can_be_reached(pod)).cloned().collect();
                if let Some(pod) = nth(pods.into_iter(), *n) {
                    self.pods.get_mut(&pod).unwrap().connections += count;
                }
            }
            Event::Disconnect(n) => {
                let pods = self.pods.iter().filter(|(_, pod)| pod.connections > 0);
                if let Some(pod) = nth(pods.map(|(name, _)| name.clone()), *n) {
                    self.pods.get_mut(&pod).unwrap().connections -= 1;
                }
            }
            Event::Ask => self.ask(),
            Event::Dumb(n) => self.on_pod(*n, |sim, pod| {
                let found = sim.pods.get_mut(pod).unwrap();
                found.dumb = !found.dumb;
            }),
            Event::DeleteColor(n) => {
                if let Some(color) = nth(self.colors.keys().cloned(), *n) {
                    self.colors.get_mut(&color).unwrap().deleting = true;
                }
            }
            Event::AddStage => {
                self.counter += 1;
                let name = format!("s{}", self.counter + 10);
                self.spec.stages.push(spec::stage(&name, "t0"));
            }
            Event::RemoveStage(n) => {
                if self.spec.stages.len() > 1 {
                    let index = n % self.spec.stages.len();
                    self.spec.stages.remove(index);
                    self.disturb();
                }
            }
            Event::EditSelector(n) => {
                let ours = self.stages.iter().filter(|(_, svc)| matches!(svc, Svc::Ours { .. }));
                if let Some(stage) = nth(ours.map(|(name, _)| name.clone()), *n) {
                    self.stages.insert(stage.clone(), Svc::Ours { current: true, selects: None });
                    self.sync_stage_by_hand(&stage);
                }
            }
            Event::DeleteStageService(n) => {
                let ours = self.stages.iter().filter(|(_, svc)| matches!(svc, Svc::Ours { .. }));
                if let Some(stage) = nth(ours.map(|(name, _)| name.clone()), *n) {
                    self.stages.remove(&stage);
                    self.sync_stage_by_hand(&stage);
                }
            }
            Event::ScaleByHand(n, replicas) => {
                let ours = self.deps.iter().filter(|(_, dep)| !dep.foreign).map(|(name, _)| name.clone());
                if let Some(name) = nth(ours, *n) {
                    let dep = self.deps.get_mut(&name).unwrap();
                    (dep.replicas, dep.observed, dep.down) = (*replicas, false, Cause::Theirs);
                }
            }
            Event::Drift(n) => {
                let ours = self.deps.iter().filter(|(_, dep)| !dep.foreign).map(|(name, _)| name.clone());
                if let Some(name) = nth(ours, *n) {
                    self.deps.get_mut(&name).unwrap().current = false;
                }
                for svc in self.svcs.values_mut().chain(self.stages.values_mut()) {
                    if let Svc::Ours { current, .. } = svc {
                        *current = false;
                    }
                }
            }
            Event::LoseStatus => {
                self.memory = Memory::default();
                self.colors.values_mut().for_each(|color| (color.released, color.retired) = (None, None));
            }
            Event::Mend => self.broken.clear(),
            Event::ForeignAhead(n) => {
                let tier = self.spec.tiers[n % self.spec.tiers.len()].name.clone();
                let instance = spec::instance(&tier, &format!("v{}", self.versions + 1));
                if n % 2 == 0 {
                    self.svcs.entry(instance).or_insert(Svc::Foreign);
                } else {
                    self.deps.entry(instance).or_insert(Dep::foreign(2));
                }
            }
        }
        self.check();
    }

    /// What a user does to a Service takes effect at once and is nobody else's fault.
    fn sync_stage_by_hand(&mut self, stage: &str) {
        self.checking = false;
        self.sync_stage(stage);
        self.checking = true;
        self.past.remove(stage);
        self.disturb();
    }

    fn on_pod(&mut self, n: usize, act: impl FnOnce(&mut Self, &str)) {
        if let Some(pod) = nth(self.pods.iter().filter(|(_, pod)| !pod.terminating).map(|(name, _)| name.clone()), n) {
            act(self, &pod);
        }
    }

    fn on_stage(&mut self, n: usize, act: impl FnOnce(&mut Stage)) {
        let index = n % self.spec.stages.len();
        act(&mut self.spec.stages[index]);
    }
}
