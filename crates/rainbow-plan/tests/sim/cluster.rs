//! Cluster without the operator: controllers, pods, data plane.

use std::collections::BTreeSet;

use rainbow_plan::*;

use super::*;

/// Time between two writes of an autoscaler.
pub(super) const SCALE_EVERY: i64 = 15_000;

impl Sim {
    /// Lets time pass; every change that must have been seen by then is seen.
    pub fn tick(&mut self, milliseconds: i64) {
        let end = self.now + milliseconds;
        // Steps are no longer than a lag, so that a set of endpoints is never younger than it looks.
        while self.now < end {
            let still = self.stage_dirty.is_empty()
                && self.past.values().all(VecDeque::is_empty)
                && self.pods.values().all(|pod| pod.dirty.is_none());
            let step = if still { end } else { end.min(self.now + PROPAGATION / 2) };
            let scaled = (!self.scalers.is_empty()).then_some(self.scaled + SCALE_EVERY);
            let next = [scaled, self.next_refresh(), self.next_labels()].into_iter().flatten().min();
            self.now = next.map_or(step, |next| step.min(next.max(self.now + 1)));
            let overdue = |dirty: i64| dirty + PROPAGATION <= self.now;
            let stages: Vec<String> =
                self.stage_dirty.iter().filter(|(_, at)| overdue(**at)).map(|(name, _)| name.clone()).collect();
            let pods: Vec<String> = self
                .pods
                .iter()
                .filter(|(_, pod)| pod.dirty.is_some_and(overdue) || self.has_overdue_labels(pod))
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

    /// Lets autoscalers write the numbers that they want, every 15 seconds.
    fn scale(&mut self) {
        if self.scalers.is_empty() || self.now < self.scaled + SCALE_EVERY {
            return;
        }
        self.scaled = self.now;
        for (instance, replicas) in self.scalers.clone() {
            if let Some(replicas) = self.scaler_writes(&instance, replicas) {
                self.scale_by_other(&instance, replicas);
            }
        }
    }

    /// Writes, for another writer, how many pods a Deployment of ours should have.
    pub fn scale_by_other(&mut self, instance: &InstanceName, replicas: u32) {
        let dep = self.deps.get_mut(instance).filter(|dep| !dep.foreign && dep.replicas != replicas);
        if let Some(dep) = dep {
            (dep.replicas, dep.observed, dep.down, dep.writer) = (replicas, false, Cause::Theirs, Cause::Theirs);
        }
    }

    /// Lets the endpoint controller see a pod.
    pub fn sync_pod(&mut self, name: &str) {
        self.see_pod(name);
        self.compute_endpoints();
    }

    /// Lets the endpoint controller see a pod, including membership labels that it could see later.
    pub fn sync_labels(&mut self, name: &str) {
        if let Some(pod) = self.pods.get_mut(name) {
            pod.unseen_labels = None;
        }
        self.sync_pod(name);
    }

    fn see_pod(&mut self, name: &str) {
        let Some(pod) = self.pods.get(name) else {
            self.seen_pods.remove(name);
            return;
        };
        let is_due = pod.unseen_labels.is_none() || self.has_due_labels(pod);
        let known = self.seen_pods.get(name).map(|seen| seen.member.clone()).unwrap_or_default();
        let seen = Seen {
            instance: pod.instance.clone(),
            ready: pod.ready && !pod.terminating,
            member: if is_due { pod.member.keys().cloned().collect() } else { known },
            out: pod.out.is_some(),
        };
        self.seen_pods.insert(name.to_owned(), seen);
        if let Some(pod) = self.pods.get_mut(name) {
            pod.dirty = None;
            pod.unseen_labels = pod.unseen_labels.filter(|_| !is_due);
        }
    }

    /// Returns whether the endpoint controller sees the pod's membership labels when it looks at the pod.
    fn has_due_labels(&self, pod: &SimPod) -> bool {
        pod.unseen_labels.is_some_and(|at| at + self.label_lag <= self.now)
    }

    /// Returns whether the endpoint controller has seen the pod's membership labels by now.
    fn has_overdue_labels(&self, pod: &SimPod) -> bool {
        pod.unseen_labels.is_some_and(|at| at + self.label_lag.max(PROPAGATION) <= self.now)
    }

    /// Returns when the endpoint controller has seen the next membership labels.
    fn next_labels(&self) -> Option<i64> {
        let first = self.pods.values().filter_map(|pod| pod.unseen_labels).min();
        first.filter(|_| self.label_lag > 0).map(|at| at + self.label_lag.max(PROPAGATION))
    }

    /// Lets the endpoint controller see a Service.
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

    /// Renames the key of endpoints that were seen; nothing of the cluster changes.
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
        let is_dirty = |pod: &SimPod| pod.dirty.is_some() || self.has_due_labels(pod);
        let dirty: Vec<String> =
            self.pods.iter().filter(|(_, pod)| is_dirty(pod)).map(|(name, _)| name.clone()).collect();
        dirty.iter().for_each(|pod| self.see_pod(pod));
        self.compute_endpoints();
    }

    fn compute_endpoints(&mut self) {
        let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut shadows = all.clone();
        for (name, selects) in &self.seen_stages {
            let (stage, found) = match name.strip_suffix(SHADOW) {
                Some(stage) => (stage, &mut shadows),
                None => (name.as_str(), &mut all),
            };
            let selected = self.seen_pods.iter().filter(|(_, pod)| {
                pod.ready
                    && match selects {
                        Selection::Instance(instance) => pod.instance == *instance && !pod.out,
                        Selection::Members => pod.member.contains(stage),
                        Selection::Other => false,
                    }
            });
            found.insert(stage.to_owned(), selected.map(|(name, _)| name.clone()).collect());
        }
        for stage in all.keys().chain(self.endpoints.keys()).cloned().collect::<BTreeSet<_>>() {
            let (old, new) = (self.endpoints.get(&stage).cloned().unwrap_or_default(), all.get(&stage));
            if Some(&old) != new && !(old.is_empty() && new.is_none()) {
                self.past.entry(stage.clone()).or_default().push_back((self.now, old));
            }
        }
        let reached = all.values().flatten().filter_map(|pod| self.pods.get(pod)).map(|pod| pod.instance.clone());
        self.reached.extend(reached.collect::<Vec<_>>());
        self.endpoints = all;
        self.shadows = shadows;
        // The operator watches: it misses no change while it lives.
        self.observe();
        self.check();
    }

    /// Deletes the EndpointSlices of a stage: it has no endpoints until the endpoint controller has seen that.
    pub fn lose_endpoints(&mut self, stage: &str) {
        let Some(endpoints) = self.endpoints.get_mut(stage) else { return };
        let lost = std::mem::take(endpoints);
        self.past.entry(stage.to_owned()).or_default().push_back((self.now, lost));
        self.stage_dirty.entry(stage.to_owned()).or_insert(self.now);
        self.disturb();
        self.observe();
    }

    /// Removes sets of endpoints that no data plane can have any more.
    fn forget(&mut self) {
        let limits: Vec<i64> = self.past.keys().map(|stage| self.now - self.data_plane_lag(stage)).collect();
        self.past.values_mut().zip(limits).for_each(|(past, limit)| {
            while past.front().is_some_and(|(until, _)| *until <= limit) {
                past.pop_front();
            }
        });
    }

    /// Returns the lag of those that send clients of a stage to pods.
    pub(super) fn data_plane_lag(&self, stage: &str) -> i64 {
        let found = self.spec.stages.iter().find(|known| known.name == stage);
        found.and_then(|stage| stage.overlap).map_or(PROPAGATION, |overlap| overlap.as_millis() as i64)
    }

    /// Returns how those that send clients of a stage to pods take over new endpoints.
    pub fn swap(&self, stage: &str) -> Swap {
        let found = self.spec.stages.iter().find(|known| known.name == stage);
        if found.is_some_and(|stage| stage.overlap.is_some()) { Swap::Overlap } else { self.spec.swap }
    }

    /// Returns whether some node may still send connections of the stage to the pod.
    pub fn may_receive(&self, stage: &str, pod: &str) -> bool {
        self.endpoints.get(stage).is_some_and(|pods| pods.contains(pod))
            || self.past.get(stage).is_some_and(|past| past.iter().any(|(_, pods)| pods.contains(pod)))
    }

    /// Returns whether every node knows the pod as an endpoint of the stage.
    pub fn surely_receives(&self, stage: &str, pod: &str) -> bool {
        self.endpoints.get(stage).is_some_and(|pods| pods.contains(pod))
            && self.past.get(stage).is_none_or(|past| past.iter().all(|(_, pods)| pods.contains(pod)))
    }

    /// Lets the garbage collector and the Deployment controller look at one Deployment, or at the objects that it has left
    /// behind.
    pub fn run_deployment(&mut self, instance: &InstanceName, pick: usize) {
        self.collect(instance);
        let sets = self.sets.get(instance).copied();
        let Some(dep) = self.deps.get_mut(instance) else {
            return self.refill(instance, sets.map_or(0, |sets| sets.replicas));
        };
        if dep.foreign {
            return;
        }
        dep.observed = true;
        if sets.is_some_and(|sets| sets.deleting.is_none()) {
            self.sets.remove(instance);
        }
        let Some(dep) = self.deps.get(instance) else { return };
        let (wanted, cause, writer) = (dep.replicas as usize, dep.down, dep.writer);
        for pod in self.pods.values_mut().filter(|pod| pod.instance == *instance && !pod.terminating) {
            if pod.controller == Controller::None {
                pod.controller = Controller::ReplicaSet;
            }
        }
        self.refill(instance, wanted as u32);
        // Pods that are not ready end first, then the cheap ones, as in Kubernetes. A mark that is new may not be seen yet.
        let cheap = |pod: &SimPod| {
            let seen = pod.marked.0 + PROPAGATION <= self.now || pick.is_multiple_of(2);
            Mark::Leaving == if seen { pod.mark } else { pod.marked.1 }
        };
        let mut mine: Vec<((bool, bool), String)> = self
            .pods
            .iter()
            .filter(|(_, pod)| is_controlled(pod, instance))
            .map(|(name, pod)| ((pod.ready, pod.ready && !cheap(pod)), name.clone()))
            .collect();
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

    /// Lets the garbage collector end objects that were deleted, without their dependents or with them.
    fn collect(&mut self, instance: &InstanceName) {
        if let Some(dep) = self.deps.get(instance).filter(|dep| dep.deleting) {
            self.sets.insert(instance.clone(), Sets { replicas: dep.replicas, deleting: None });
            self.deps.remove(instance);
            return;
        }
        let Some(cascade) = self.sets.get(instance).and_then(|sets| sets.deleting) else { return };
        self.sets.remove(instance);
        let pods = self.pods.iter().filter(|(_, pod)| is_controlled(pod, instance));
        for name in pods.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            match cascade {
                Cascade::Orphan => self.pods.get_mut(&name).unwrap().controller = Controller::None,
                Cascade::Background => self.terminate(&name, Cause::Ours, Cause::Ours),
            }
        }
    }

    /// Lets a ReplicaSet make the pods that it lacks.
    fn refill(&mut self, instance: &InstanceName, wanted: u32) {
        let there = self.pods.values().filter(|pod| is_controlled(pod, instance)).count();
        for _ in there..wanted as usize {
            self.counter += 1;
            let name = format!("{}-{}", spec::show(instance), self.counter);
            *self.started.entry(instance.color.to_string()).or_default() += 1;
            *self.started_instances.entry(instance.clone()).or_default() += 1;
            let pod = SimPod {
                instance: instance.clone(),
                controller: Controller::ReplicaSet,
                ready: false,
                terminating: false,
                member: BTreeMap::new(),
                dirty: Some(self.now),
                unseen_labels: None,
                connections: 0,
                dumb: false,
                stuck: false,
                mark: Mark::None,
                marked: (self.now, Mark::None),
                out: None,
            };
            self.pods.insert(name, pod);
        }
    }

    /// Begins the end of a pod. `cause` is where a request for fewer pods came from; `writer` is the one that wrote it down.
    pub fn terminate(&mut self, name: &str, cause: Cause, writer: Cause) {
        if writer == Cause::Ours {
            self.check_cut(Rule::NoCutByAnyCause, name);
        }
        match cause {
            Cause::Ours => {
                // Where neither the spec nor a stage wants any pods of a tier, its clients have no other pods.
                let instance = &self.pods[name].instance;
                let of_a_stage = |stage: &Stage| {
                    spec::entry(&self.spec.tiers, stage) == *instance.tier && stage.replicas.unwrap_or(0) > 0
                };
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

    /// Removes a terminating pod.
    pub fn end(&mut self, name: &str) {
        if self.pods.get(name).is_some_and(|pod| pod.terminating) {
            self.pods.remove(name);
            self.sync_pod(name);
        }
    }

    /// Lets a pod pass or fail its probes.
    pub fn set_ready(&mut self, name: &str, ready: bool) {
        let Some(pod) = self.pods.get(name) else { return };
        if pod.ready == ready || pod.terminating || (ready && self.is_one_of(&self.broken, &pod.instance)) {
            return;
        }
        // The writer of a readiness gate sets it when it sends to the pod.
        let sent = |pod: &SimPod| {
            let instance = Selection::Instance(pod.instance.clone());
            let selects = |svc: &Svc| pod.out.is_none() && svc.selects() == Some(&instance);
            self.stages.values().any(selects) || !pod.member.is_empty()
        };
        if ready && self.is_one_of(&self.gated, &pod.instance) && !sent(pod) {
            return;
        }
        let instance = pod.instance.clone();
        if !ready {
            self.count_failure(name);
            // A Deployment that is about to delete pods deletes this one first, which no operator could have known. While a color
            // drains, no Deployment chooses.
            let drains = self.ended(&instance);
            let alive = self.pods.values().filter(|pod| pod.instance == instance && !pod.terminating).count();
            if let Some(dep) = self.deps.get_mut(&instance).filter(|dep| !drains && (dep.replicas as usize) < alive) {
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
        let counts = |stage: &String| {
            let endpoint = self.endpoints.get(stage).is_some_and(|pods| pods.contains(name));
            let instance = Selection::Instance(pod.instance.clone());
            // A Service that has only just been pointed at the pod, or a node that has not seen that the Service no longer is.
            let selects = |service: &Svc| pod.out.is_none() && service.selects() == Some(&instance);
            let selected = self.stages.get(stage).is_some_and(selects);
            let direct = self.swap(stage) == Swap::Direct;
            endpoint || pod.member.contains_key(stage) || (direct && (selected || self.may_receive(stage, name)))
        };
        let failed: Vec<String> = self.established.keys().filter(|stage| counts(stage)).cloned().collect();
        for stage in failed {
            self.established.entry(stage).or_default().failures += 1;
        }
    }

    /// Lets everything that is under way in the cluster come to its end, without the operator.
    pub fn calm(&mut self) {
        for instance in self.deps.keys().chain(self.sets.keys()).cloned().collect::<BTreeSet<_>>() {
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

/// Returns whether a ReplicaSet of the instance counts the pod.
fn is_controlled(pod: &SimPod, instance: &InstanceName) -> bool {
    pod.instance == *instance && !pod.terminating && pod.controller == Controller::ReplicaSet
}
