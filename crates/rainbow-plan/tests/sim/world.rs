//! Operator's view of the model: caches, each of which may lag by itself, and the operator's memory.

use rainbow_plan::*;

use super::*;

/// Kinds of objects, each with a cache of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Rainbow,
    Colors,
    Deployments,
    Services,
    Pods,
    Slices,
    Budgets,
}

impl Kind {
    pub const ALL: [Self; 7] =
        [Self::Rainbow, Self::Colors, Self::Deployments, Self::Services, Self::Pods, Self::Slices, Self::Budgets];
}

/// Content of the caches.
#[derive(Clone, Default)]
pub struct Shown {
    spec: Option<Spec>,
    invalid: bool,
    invalid_stages: BTreeSet<String>,
    memory: Memory,
    colors: BTreeMap<String, Color>,
    deps: BTreeMap<InstanceName, Dep>,
    hpas: BTreeMap<InstanceName, Scaler>,
    svcs: BTreeMap<InstanceName, Svc>,
    stages: BTreeMap<String, Svc>,
    pods: BTreeMap<String, SimPod>,
    guard: Presence,
    budgets: BTreeMap<String, StageBudget>,
    /// Time when each cache was fresh last.
    fresh: BTreeMap<Kind, i64>,
}

impl Sim {
    /// Returns how far a cache may lag.
    pub fn lag(&self, kind: Kind) -> i64 {
        self.lags.get(&kind).copied().unwrap_or(0)
    }

    /// Refreshes the caches that do not lag, and those that have lagged for as long as they may.
    pub fn refresh_due(&mut self) {
        for kind in Kind::ALL {
            let lag = self.lag(kind);
            if lag == 0 || self.shown.fresh.get(&kind).is_none_or(|at| at + lag <= self.now) {
                self.refresh(kind);
            }
        }
    }

    /// Returns when the next cache that lags is to be refreshed.
    pub(super) fn next_refresh(&self) -> Option<i64> {
        let lagging = self.lags.iter().filter(|(_, lag)| **lag > 0);
        lagging.map(|(kind, lag)| self.shown.fresh.get(kind).copied().unwrap_or(self.now) + lag).min()
    }

    /// Refreshes a cache.
    pub fn refresh(&mut self, kind: Kind) {
        let shown = &mut self.shown;
        shown.fresh.insert(kind, self.now);
        self.operator.expects.remove(&kind);
        match kind {
            Kind::Rainbow => {
                shown.spec = Some(self.spec.clone());
                shown.invalid = self.invalid;
                shown.invalid_stages = self.invalid_stages.clone();
                shown.memory = self.memory.clone();
            }
            Kind::Colors => shown.colors = self.colors.clone(),
            Kind::Deployments => (shown.deps, shown.hpas) = (self.deps.clone(), self.hpas.clone()),
            Kind::Services => (shown.svcs, shown.stages) = (self.svcs.clone(), self.stages.clone()),
            Kind::Pods => {
                shown.pods = self.pods.clone();
                self.observe_pods();
            }
            Kind::Slices => self.observe_slices(),
            Kind::Budgets => (shown.guard, shown.budgets) = (self.guard, self.budgets.clone()),
        }
    }

    /// Returns the spec as an operator plans for it: invalid parts are marked as such and not used.
    pub(super) fn shown_spec(&self) -> Option<Spec> {
        let mut spec = self.shown.spec.clone()?;
        if self.shown.invalid {
            spec = Spec { version: Version::Invalid, color: String::new(), tiers: Vec::new(), ..spec };
        }
        spec.stages.iter_mut().for_each(|stage| stage.invalid = self.shown.invalid_stages.contains(&stage.name));
        Some(spec)
    }

    /// Returns the world as the operator that leads sees it.
    pub fn world(&mut self) -> World {
        self.refresh_due();
        self.shown_world()
    }

    /// Returns the world as the caches show it.
    pub(super) fn shown_world(&self) -> World {
        let shown = &self.shown;
        let spec = self.shown_spec().unwrap_or_else(|| self.spec.clone());
        let mut instances = BTreeMap::new();
        let named = shown.colors.values().flat_map(|color| color.instances.values());
        let all: BTreeSet<&InstanceName> = named
            .chain(shown.deps.keys())
            .chain(shown.hpas.keys())
            .chain(shown.svcs.keys())
            .chain(shown.pods.values().map(|pod| &pod.instance))
            .collect();
        for name in all {
            let count = shown.pods.values().filter(|pod| pod.instance == *name).count() as u32;
            let deployment = match shown.deps.get(name) {
                Some(dep) if dep.foreign => Deployment::Foreign,
                // A user took the labels off; an operator that has tried to make the Deployment knows that it is there.
                Some(dep) if !dep.labelled && self.operator.foreign.contains(name) => Deployment::Foreign,
                Some(dep) if dep.labelled && dep.deleting => Deployment::Deleting,
                Some(dep) if dep.labelled => Deployment::Ours {
                    current: dep.current,
                    replicas: dep.replicas,
                    observed: dep.observed,
                    pods: if dep.observed { count } else { 0 },
                },
                Some(_) | None => Deployment::Absent,
            };
            let service = match shown.svcs.get(name) {
                None => Presence::Absent,
                Some(Svc::Foreign) => Presence::Foreign,
                Some(Svc::Ours(service)) if service.current => Presence::Current,
                Some(Svc::Ours(_)) => Presence::Outdated,
            };
            instances.insert(
                name.clone(),
                Instance {
                    identity: identity(&shown.colors, name),
                    deployment,
                    service,
                    ports: Some(self.port(name).into()),
                    scaler: shown.hpas.get(name).cloned().unwrap_or_default(),
                    labeled: !self.unlabeled.contains(name),
                },
            );
        }
        let stages = shown.stages.iter().map(|(name, svc)| {
            let service = match svc {
                Svc::Foreign => StageService::Foreign,
                Svc::Ours(service) => StageService::Ours {
                    current: self.is_current(&spec, &shown.stages, name, service),
                    selects: service.selects.clone().unwrap_or(Selection::Other),
                    serves: service.serves.clone(),
                },
            };
            (service_key(name), service)
        });
        let mut stages: BTreeMap<StageKey, StageService> = stages.collect();
        // A name that an instance has, or should have, is not the stage's.
        let written = shown.spec.as_ref().unwrap_or(&self.spec);
        for stage in written.stages.iter().filter(|stage| !shown.stages.contains_key(&stage.name)) {
            let name = spec::instance(&spec::entry(&written.tiers, stage), &stage.name);
            if instances.contains_key(&name) {
                stages.insert(StageKey::of(&stage.name), StageService::Foreign);
            }
        }
        let operator = &self.operator;
        // Observed times are by the operator's own clock.
        let time = |at: i64| Time(at + operator.clock);
        let mut endpoint: BTreeMap<&String, BTreeMap<StageKey, Time>> = BTreeMap::new();
        let mut left = endpoint.clone();
        for ((stage, pod), at) in &operator.seen_since {
            endpoint.entry(pod).or_default().insert(service_key(stage), time(*at));
        }
        for ((stage, pod), at) in &operator.seen_left {
            left.entry(pod).or_default().insert(service_key(stage), time(*at));
        }
        let mut shadow: BTreeMap<&String, BTreeMap<String, Time>> = BTreeMap::new();
        for ((stage, pod), at) in &operator.seen_shadows {
            shadow.entry(pod).or_default().insert(stage.clone(), time(*at));
        }
        let pods = shown.pods.iter().map(|(name, pod)| Pod {
            name: name.as_str().into(),
            instance: pod.instance.clone(),
            controller: pod.controller,
            ready: pod.ready && !pod.terminating,
            ready_since: time(operator.seen_ready.get(name).map_or(self.now, |(_, at)| *at)),
            place: pod.out.map_or(Place::In, |out| Place::Out { since: out.since.map(Time) }),
            listed: operator.seen_listed.contains(name),
            terminating: pod.terminating,
            member: pod.member.iter().map(|(stage, at)| (stage.clone(), at.map(Time))).collect(),
            shadow: shadow.remove(name).unwrap_or_default(),
            endpoint: endpoint.remove(name).unwrap_or_default(),
            left: left.remove(name).unwrap_or_default(),
            connections: self.known_of(name, &pod.instance).by(operator.clock),
            mark: pod.mark,
            labelled: time(operator.seen_labels.get(name).map_or(self.now, |(_, at)| *at)),
            marked: time(operator.seen_marks.get(name).map_or(self.now, |(_, at)| *at)),
        });
        World {
            pods: pods.collect(),
            spec,
            memory: shown.memory.clone(),
            colors: shown.colors.values().cloned().collect(),
            instances,
            stages,
            guard: shown.guard,
            budgets: shown.budgets.clone(),
            copies: BTreeMap::new(),
            checks: self.check_outcomes(),
        }
    }

    /// Updates what the operator remembers of endpoints and pods, from the present state. The operator watches: it misses no
    /// change while it lives. Where a cache lags, it sees several changes at once, as after a watch that broke.
    pub(crate) fn observe(&mut self) {
        if self.lag(Kind::Slices) == 0 {
            self.observe_slices();
        }
        if self.lag(Kind::Pods) == 0 {
            self.observe_pods();
        }
    }

    fn observe_slices(&mut self) {
        let by_pod = |endpoints: &BTreeMap<String, BTreeSet<String>>| {
            let all = endpoints.iter().flat_map(|(stage, pods)| pods.iter().map(move |pod| (stage, pod)));
            all.map(|(stage, pod)| (stage.clone(), pod.clone())).collect::<BTreeSet<_>>()
        };
        let now = by_pod(&self.endpoints);
        let shadows = by_pod(&self.shadows);
        self.operator.seen_shadows.retain(|key, _| shadows.contains(key));
        for key in shadows {
            self.operator.seen_shadows.entry(key).or_insert(self.now);
        }
        let is_listed =
            |seen: &Seen| seen.ready && !seen.out && matches!(self.svcs.get(&seen.instance), Some(Svc::Ours(_)));
        let listed = self.seen_pods.iter().filter(|(_, seen)| is_listed(seen)).map(|(name, _)| name.clone());
        self.operator.seen_listed = listed.collect();
        let operator = &mut self.operator;
        for gone in operator.seen_since.keys().filter(|key| !now.contains(*key)).cloned().collect::<Vec<_>>() {
            operator.seen_since.remove(&gone);
            operator.seen_left.insert(gone, self.now);
        }
        for key in now {
            operator.seen_left.remove(&key);
            operator.seen_since.entry(key).or_insert(self.now);
        }
        let overlaps = self.spec.stages.iter().filter_map(|stage| stage.overlap);
        let slowest = overlaps.map(|overlap| overlap.as_millis() as i64).fold(PROPAGATION, i64::max);
        let (pods, limit) = (&self.pods, self.now - PROPAGATION - slowest);
        operator.seen_left.retain(|(_, pod), at| pods.contains_key(pod) && *at > limit);
    }

    fn observe_pods(&mut self) {
        let (pods, operator) = (&self.pods, &mut self.operator);
        for (name, pod) in pods {
            let seen = operator.seen_marks.entry(name.clone()).or_insert((pod.mark, self.now));
            if seen.0 != pod.mark {
                *seen = (pod.mark, self.now);
            }
            let stages: BTreeSet<String> = pod.member.keys().cloned().collect();
            let seen = operator.seen_labels.entry(name.clone()).or_insert_with(|| (stages.clone(), self.now));
            if seen.0 != stages {
                *seen = (stages, self.now);
            }
            let ready = (pod.ready && !pod.terminating, pod.out.is_none());
            let seen = operator.seen_ready.entry(name.clone()).or_insert((ready, self.now));
            if seen.0 != ready {
                *seen = (ready, self.now);
            }
        }
        operator.seen_labels.retain(|pod, _| pods.contains_key(pod));
        operator.seen_marks.retain(|pod, _| pods.contains_key(pod));
        operator.seen_ready.retain(|pod, _| pods.contains_key(pod));
    }
}

/// Conversion of times to another clock.
trait By {
    fn by(self, ahead: i64) -> Self;
}

impl By for Connections {
    fn by(self, ahead: i64) -> Self {
        let time = |since: Time| Time(since.0 + ahead);
        match self {
            Self::Uncounted => Self::Uncounted,
            Self::Unknown { since } => Self::Unknown { since: time(since) },
            Self::Busy { count, since } => Self::Busy { count, since: time(since) },
            Self::Idle { since, counted } => Self::Idle { since: time(since), counted: time(counted) },
        }
    }
}
