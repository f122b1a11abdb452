//! What an operator sees: caches, each of which may lag by itself, and what it remembers.

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

/// What the caches show.
#[derive(Clone, Default)]
pub struct Shown {
    spec: Option<Spec>,
    invalid: bool,
    memory: Memory,
    colors: BTreeMap<String, Color>,
    deps: BTreeMap<InstanceName, Dep>,
    svcs: BTreeMap<InstanceName, Svc>,
    stages: BTreeMap<String, Svc>,
    pods: BTreeMap<String, SimPod>,
    guard: Presence,
    /// When each was fresh last.
    fresh: BTreeMap<Kind, i64>,
}

impl Sim {
    /// How far a cache may lag.
    pub fn lag(&self, kind: Kind) -> i64 {
        self.lags.get(&kind).copied().unwrap_or(0)
    }

    /// The caches that do not lag, and those that have lagged for as long as they may, are fresh.
    pub fn refresh_due(&mut self) {
        for kind in Kind::ALL {
            let lag = self.lag(kind);
            if lag == 0 || self.shown.fresh.get(&kind).is_none_or(|at| at + lag <= self.now) {
                self.refresh(kind);
            }
        }
    }

    /// When the next cache that lags is to be fresh.
    pub(super) fn next_refresh(&self) -> Option<i64> {
        let lagging = self.lags.iter().filter(|(_, lag)| **lag > 0);
        lagging.map(|(kind, lag)| self.shown.fresh.get(kind).copied().unwrap_or(self.now) + lag).min()
    }

    /// A cache is fresh.
    pub fn refresh(&mut self, kind: Kind) {
        let shown = &mut self.shown;
        shown.fresh.insert(kind, self.now);
        self.operator.expects.remove(&kind);
        match kind {
            Kind::Rainbow => {
                shown.spec = Some(self.spec.clone());
                shown.invalid = self.invalid;
                shown.memory = self.memory.clone();
            }
            Kind::Colors => shown.colors = self.colors.clone(),
            Kind::Deployments => shown.deps = self.deps.clone(),
            Kind::Services => (shown.svcs, shown.stages) = (self.svcs.clone(), self.stages.clone()),
            Kind::Pods => {
                shown.pods = self.pods.clone();
                self.observe_pods();
            }
            Kind::Slices => self.observe_slices(),
            Kind::Budgets => shown.guard = self.guard,
        }
    }

    /// The spec as an operator sees it; `None` where it is not valid.
    pub(super) fn shown_spec(&self) -> Option<&Spec> {
        self.shown.spec.as_ref().filter(|_| !self.shown.invalid)
    }

    /// The world as the operator that leads sees it.
    pub fn world(&mut self) -> World {
        self.refresh_due();
        self.shown_world()
    }

    /// The world as the caches show it.
    pub(super) fn shown_world(&self) -> World {
        let shown = &self.shown;
        let spec = shown.spec.clone().unwrap_or_else(|| self.spec.clone());
        let mut instances = BTreeMap::new();
        let named = shown.colors.values().flat_map(|color| color.instances.values());
        let all: BTreeSet<&InstanceName> = named.chain(shown.deps.keys()).chain(shown.svcs.keys()).collect();
        for name in all {
            let needed = shown.colors.values().any(|color| {
                color.instances.get(&name.tier) == Some(name)
                    && color.tiers.iter().any(|tier| tier.needs.contains(&name.tier))
            });
            let count = shown.pods.values().filter(|pod| pod.instance == *name).count() as u32;
            let deployment = match shown.deps.get(name) {
                Some(dep) if dep.foreign => Deployment::Foreign,
                // Somebody took its labels off; an operator that has tried to make it knows that it is there.
                Some(dep) if !dep.labelled && self.operator.foreign.contains(name) => Deployment::Foreign,
                Some(dep) if dep.labelled => Deployment::Ours {
                    current: dep.current,
                    replicas: dep.replicas,
                    observed: dep.observed,
                    pods: if dep.observed { count } else { 0 },
                },
                Some(_) | None => Deployment::Absent,
            };
            let orphan = !shown.colors.values().any(|color| color.instances.values().any(|own| own == name));
            let service = match (needed || orphan, shown.svcs.get(name)) {
                (false, _) => Presence::NotNeeded,
                (true, None) => Presence::Absent,
                (true, Some(Svc::Foreign)) => Presence::Foreign,
                (true, Some(Svc::Ours(service))) if service.current => Presence::Current,
                (true, Some(Svc::Ours(_))) => Presence::Outdated,
            };
            instances.insert(name.clone(), Instance { identity: identity(&shown.colors, name), deployment, service });
        }
        let stages = shown.stages.iter().map(|(name, svc)| {
            let service = match svc {
                Svc::Foreign => StageService::Foreign,
                Svc::Ours(service) => StageService::Ours {
                    current: self.is_current(&spec, name, service),
                    selects: service.selects.clone().unwrap_or(Selection::Other),
                },
            };
            (service_key(name), service)
        });
        let stages = stages.collect();
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
        let pods = shown.pods.iter().map(|(name, pod)| Pod {
            name: name.clone(),
            instance: pod.instance.clone(),
            ready: pod.ready && !pod.terminating,
            ready_since: time(operator.seen_ready.get(name).map_or(self.now, |(_, at)| *at)),
            terminating: pod.terminating,
            member: pod.member.iter().map(|(stage, at)| (stage.clone(), at.map(Time))).collect(),
            endpoint: endpoint.remove(name).unwrap_or_default(),
            left: left.remove(name).unwrap_or_default(),
            connections: self.known_of(name, &pod.instance).by(operator.clock),
            mark: pod.mark,
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
        }
    }

    /// What the operator remembers of endpoints and pods, from what is there now. It watches: it misses no change while it
    /// lives, but where a cache lags, it sees several at once, as after a watch that broke.
    pub(crate) fn observe(&mut self) {
        if self.lag(Kind::Slices) == 0 {
            self.observe_slices();
        }
        if self.lag(Kind::Pods) == 0 {
            self.observe_pods();
        }
    }

    fn observe_slices(&mut self) {
        let now: BTreeSet<(String, String)> = self
            .endpoints
            .iter()
            .flat_map(|(stage, pods)| pods.iter().map(move |pod| (stage.clone(), pod.clone())))
            .collect();
        let operator = &mut self.operator;
        for gone in operator.seen_since.keys().filter(|key| !now.contains(*key)).cloned().collect::<Vec<_>>() {
            operator.seen_since.remove(&gone);
            operator.seen_left.insert(gone, self.now);
        }
        for key in now {
            operator.seen_left.remove(&key);
            operator.seen_since.entry(key).or_insert(self.now);
        }
        let (pods, limit) = (&self.pods, self.now - 2 * PROPAGATION);
        operator.seen_left.retain(|(_, pod), at| pods.contains_key(pod) && *at > limit);
    }

    fn observe_pods(&mut self) {
        let (pods, operator) = (&self.pods, &mut self.operator);
        for (name, pod) in pods {
            let seen = operator.seen_marks.entry(name.clone()).or_insert((pod.mark, self.now));
            if seen.0 != pod.mark {
                *seen = (pod.mark, self.now);
            }
            let ready = pod.ready && !pod.terminating;
            let seen = operator.seen_ready.entry(name.clone()).or_insert((ready, self.now));
            if seen.0 != ready {
                *seen = (ready, self.now);
            }
        }
        operator.seen_marks.retain(|pod, _| pods.contains_key(pod));
        operator.seen_ready.retain(|pod, _| pods.contains_key(pod));
    }
}

/// Times by another clock.
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
