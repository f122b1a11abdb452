//! What the cluster does by itself: controllers, pods, data plane.

use std::collections::BTreeSet;

use rainbow_plan::*;

use super::*;

/// How often an autoscaler writes.
const SCALE_EVERY: i64 = 15_000;

impl Sim {
    /// Time passes; what must have been seen by then is seen.
    pub fn tick(&mut self, milliseconds: i64) {
        let end = self.now + milliseconds;
        // In steps no longer than a lag, so that a set of endpoints is never younger than it looks.
        while self.now < end {
            let still = self.stage_dirty.is_empty()
                && self.past.values().all(VecDeque::is_empty)
                && self.pods.values().all(|pod| pod.dirty.is_none());
            let step = if still { end } else { end.min(self.now + PROPAGATION / 2) };
            let scaled = (!self.scalers.is_empty()).then_some(self.scaled + SCALE_EVERY);
            let next = [scaled, self.next_refresh()].into_iter().flatten().min();
            self.now = next.map_or(step, |next| step.min(next.max(self.now + 1)));
            let overdue = |dirty: i64| dirty + PROPAGATION <= self.now;
            let stages: Vec<String> =
                self.stage_dirty.iter().filter(|(_, at)| overdue(**at)).map(|(name, _)| name.clone()).collect();
            let pods: Vec<String> = self
                .pods
                .iter()
                .filter(|(_, pod)| pod.dirty.is_some_and(overdue))
                .map(|(name, _)| name.clone())
                .collect();
            stages.iter().for_each(|stage| self.sync_stage(stage));
            pods.iter().for_each(|pod| self.sync_pod(pod));
            self.forget();
            if !self.lags.is_empty() {
                self.refresh_due();
            }
            self.scale();
            self.check();
        }
    }

    /// Autoscalers write what they want, every 15 seconds.
    fn scale(&mut self) {
        if self.scalers.is_empty() || self.now < self.scaled + SCALE_EVERY {
            return;
        }
        self.scaled = self.now;
        for (instance, replicas) in self.scalers.clone() {
            self.scale_by_other(&instance, replicas);
        }
    }

    /// Somebody else writes how many pods a Deployment of ours shall have.
    pub fn scale_by_other(&mut self, instance: &InstanceName, replicas: u32) {
        let dep = self.deps.get_mut(instance).filter(|dep| !dep.foreign && dep.replicas != replicas);
        if let Some(dep) = dep {
            (dep.replicas, dep.observed, dep.down, dep.writer) = (replicas, false, Cause::Theirs, Cause::Theirs);
        }
    }

    /// The endpoint controller sees a pod.
    pub fn sync_pod(&mut self, name: &str) {
        self.see_pod(name);
        self.compute_endpoints();
    }

    fn see_pod(&mut self, name: &str) {
        match self.pods.get_mut(name) {
            None => {
                self.seen_pods.remove(name);
            }
            Some(pod) => {
                pod.dirty = None;
                let seen = Seen {
                    instance: pod.instance.clone(),
                    ready: pod.ready && !pod.terminating,
                    member: pod.member.keys().cloned().collect(),
                };
                self.seen_pods.insert(name.to_owned(), seen);
            }
        }
    }

    /// The endpoint controller sees a Service.
    pub fn sync_stage(&mut self, name: &str) {
        self.stage_dirty.remove(name);
        match self.stages.get(name) {
            Some(Svc::Ours(service)) => {
                self.seen_stages.insert(name.to_owned(), service.selects.clone().unwrap_or(Selection::Other));
            }
            Some(Svc::Foreign) | None => {
                self.seen_stages.remove(name);
            }
        }
        self.compute_endpoints();
    }

    /// What was seen under one key is now called by another; nothing of the cluster has changed.
    pub fn rename_seen(&mut self, from: &str, to: &str) {
        if let Some(seen) = self.seen_stages.remove(from) {
            self.seen_stages.insert(to.into(), seen);
        }
        if let Some(pods) = self.endpoints.remove(from) {
            self.endpoints.insert(to.into(), pods);
        }
        if let Some(past) = self.past.remove(from) {
            self.past.insert(to.into(), past);
        }
        self.observe();
    }

    pub fn sync_all(&mut self) {
        for stage in self.stage_dirty.keys().cloned().collect::<Vec<_>>() {
            self.sync_stage(&stage);
        }
        let dirty: Vec<String> =
            self.pods.iter().filter(|(_, pod)| pod.dirty.is_some()).map(|(name, _)| name.clone()).collect();
        dirty.iter().for_each(|pod| self.see_pod(pod));
        self.compute_endpoints();
    }

    fn compute_endpoints(&mut self) {
        let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (stage, selects) in &self.seen_stages {
            let selected = self.seen_pods.iter().filter(|(_, pod)| {
                pod.ready
                    && match selects {
                        Selection::Instance(instance) => pod.instance == *instance,
                        Selection::Members => pod.member.contains(stage),
                        Selection::Other => false,
                    }
            });
            all.insert(stage.clone(), selected.map(|(name, _)| name.clone()).collect());
        }
        for stage in all.keys().chain(self.endpoints.keys()).cloned().collect::<BTreeSet<_>>() {
            let (old, new) = (self.endpoints.get(&stage).cloned().unwrap_or_default(), all.get(&stage));
            if Some(&old) != new && !(old.is_empty() && new.is_none()) {
                self.past.entry(stage.clone()).or_default().push_back((self.now, old));
            }
        }
        self.endpoints = all;
        // The operator watches: it misses no change while it lives.
        self.observe();
        self.check();
    }

    /// Somebody deletes the EndpointSlices of a stage: it has no endpoints until the endpoint controller has seen that.
    pub fn lose_endpoints(&mut self, stage: &str) {
        let Some(endpoints) = self.endpoints.get_mut(stage) else { return };
        let lost = std::mem::take(endpoints);
        self.past.entry(stage.to_owned()).or_default().push_back((self.now, lost));
        self.stage_dirty.entry(stage.to_owned()).or_insert(self.now);
        self.disturb();
        self.observe();
    }

    /// Sets of endpoints that no data plane can have any more.
    fn forget(&mut self) {
        let limit = self.now - PROPAGATION;
        self.past.values_mut().for_each(|past| {
            while past.front().is_some_and(|(until, _)| *until <= limit) {
                past.pop_front();
            }
        });
    }

    /// Some node may still send connections of the stage to the pod.
    pub fn may_receive(&self, stage: &str, pod: &str) -> bool {
        self.endpoints.get(stage).is_some_and(|pods| pods.contains(pod))
            || self.past.get(stage).is_some_and(|past| past.iter().any(|(_, pods)| pods.contains(pod)))
    }

    /// Every node knows the pod as an endpoint of the stage.
    pub fn surely_receives(&self, stage: &str, pod: &str) -> bool {
        self.endpoints.get(stage).is_some_and(|pods| pods.contains(pod))
            && self.past.get(stage).is_none_or(|past| past.iter().all(|(_, pods)| pods.contains(pod)))
    }

    /// The Deployment controller looks at one Deployment.
    pub fn run_deployment(&mut self, instance: &InstanceName, pick: usize) {
        let Some(dep) = self.deps.get_mut(instance) else { return };
        if dep.foreign {
            return;
        }
        dep.observed = true;
        let (wanted, cause, writer) = (dep.replicas as usize, dep.down, dep.writer);
        // Pods that are not ready go first, then the cheap ones, as in Kubernetes. A mark that is new may not be seen yet.
        let cheap = |pod: &SimPod| {
            let seen = pod.marked.0 + PROPAGATION <= self.now || pick.is_multiple_of(2);
            Mark::Leaving == if seen { pod.mark } else { pod.marked.1 }
        };
        let mut mine: Vec<((bool, bool), String)> = self
            .pods
            .iter()
            .filter(|(_, pod)| pod.instance == *instance && !pod.terminating)
            .map(|(name, pod)| ((pod.ready, pod.ready && !cheap(pod)), name.clone()))
            .collect();
        for _ in mine.len()..wanted {
            self.counter += 1;
            let name = format!("{}-{}-{}", instance.tier, instance.color, self.counter);
            *self.started.entry(instance.color.clone()).or_default() += 1;
            *self.started_instances.entry(instance.clone()).or_default() += 1;
            let pod = SimPod {
                instance: instance.clone(),
                ready: false,
                terminating: false,
                member: BTreeMap::new(),
                dirty: Some(self.now),
                connections: 0,
                dumb: false,
                stuck: false,
                mark: Mark::None,
                marked: (self.now, Mark::None),
            };
            self.pods.insert(name, pod);
        }
        while mine.len() > wanted {
            mine.sort();
            let first = mine.iter().filter(|(rank, _)| *rank == mine[0].0).count();
            let (_, name) = mine.remove(pick % first);
            if cause == Cause::Ours {
                self.check_choice(instance, &name);
            }
            if writer == Cause::Ours {
                self.keeping_while("a smaller Deployment", |sim| sim.terminate(&name, cause, writer));
            } else {
                self.terminate(&name, cause, writer);
            }
        }
    }

    /// A pod begins to end. `cause` is who is to blame where a user asked for fewer pods; `writer` is who wrote that down.
    pub fn terminate(&mut self, name: &str, cause: Cause, writer: Cause) {
        if writer == Cause::Ours {
            self.check_cut(Rule::NoCutByAnyCause, name);
        }
        match cause {
            Cause::Ours => {
                // Where neither the spec nor a stage wants any pods of a tier, its clients have nowhere to go.
                let instance = &self.pods[name].instance;
                let of_a_stage = |stage: &Stage| stage.tier == instance.tier && stage.replicas.unwrap_or(0) > 0;
                if self.full(instance) > 0 || self.spec.stages.iter().any(of_a_stage) {
                    self.check_end(name);
                }
                self.check_cut(Rule::NoCut, name);
            }
            Cause::Theirs => self.count_failure(name),
        }
        let now = self.now;
        if let Some(pod) = self.pods.get_mut(name) {
            pod.terminating = true;
            pod.dirty.get_or_insert(now);
        }
    }

    /// A terminating pod is gone.
    pub fn end(&mut self, name: &str) {
        if self.pods.get(name).is_some_and(|pod| pod.terminating) {
            self.pods.remove(name);
            self.sync_pod(name);
        }
    }

    /// A pod passes or fails its probes.
    pub fn set_ready(&mut self, name: &str, ready: bool) {
        let Some(pod) = self.pods.get(name) else { return };
        if pod.ready == ready || pod.terminating || (ready && self.broken.contains(&pod.instance)) {
            return;
        }
        // A readiness gate is set by what sends to the pod, when it does.
        let sent = |pod: &SimPod| {
            let selects = |svc: &Svc| svc.selects() == Some(&Selection::Instance(pod.instance.clone()));
            self.stages.values().any(selects) || !pod.member.is_empty()
        };
        if ready && self.gated.contains(&pod.instance) && !sent(pod) {
            return;
        }
        let instance = pod.instance.clone();
        if !ready {
            self.count_failure(name);
            // A Deployment that is about to delete pods takes this one first, and nobody could have known.
            let alive = self.pods.values().filter(|pod| pod.instance == instance && !pod.terminating).count();
            if let Some(dep) = self.deps.get_mut(&instance).filter(|dep| (dep.replicas as usize) < alive) {
                dep.down = Cause::Theirs;
            }
        }
        let now = self.now;
        if let Some(pod) = self.pods.get_mut(name) {
            pod.ready = ready;
            pod.dirty.get_or_insert(now);
        }
        self.observe();
    }

    fn count_failure(&mut self, name: &str) {
        let Some(pod) = self.pods.get(name).filter(|pod| pod.ready && !pod.terminating) else { return };
        let direct = self.spec.swap == Swap::Direct;
        let counts = |stage: &String| {
            let endpoint = self.endpoints.get(stage).is_some_and(|pods| pods.contains(name));
            let instance = Selection::Instance(pod.instance.clone());
            // A Service that has only just been pointed at the pod, or a node that has not seen that it is no longer.
            let selected = self.stages.get(stage).is_some_and(|service| service.selects() == Some(&instance));
            endpoint || pod.member.contains_key(stage) || (direct && (selected || self.may_receive(stage, name)))
        };
        let failed: Vec<String> = self.established.keys().filter(|stage| counts(stage)).cloned().collect();
        for stage in failed {
            *self.established.entry(stage).or_default() += 1;
        }
    }

    /// Everything that is under way in the cluster comes to its end, without the operator.
    pub fn calm(&mut self) {
        for instance in self.deps.keys().cloned().collect::<Vec<_>>() {
            self.run_deployment(&instance, 0);
        }
        for name in self.pods.keys().cloned().collect::<Vec<_>>() {
            if self.pods[&name].terminating {
                self.pods.remove(&name);
                self.see_pod(&name);
            }
            let stuck = self.pods.get(&name).is_some_and(|pod| pod.stuck);
            self.set_ready(&name, !stuck);
        }
        self.sync_all();
        self.ask();
    }
}
