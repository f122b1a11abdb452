//! Connections of clients and of pods among each other, and what the operator learns about them.

use rainbow_plan::*;

use super::*;

impl Sim {
    /// Makes the operator ask the pods of these instances, and forget what it knew of all others. Returns whether there are new
    /// ones.
    pub(super) fn ask_for(&mut self, instances: &BTreeSet<InstanceName>) -> bool {
        let (now, count) = (self.now, &mut self.operator.count);
        let before = count.len();
        count.retain(|instance, _| instances.contains(instance));
        let kept = count.len();
        for instance in instances {
            count.entry(instance.clone()).or_insert(now);
        }
        let new = before != kept || count.len() != kept;
        let pods = &self.pods;
        self.operator.evidence.retain(|pod, _| pods.get(pod).is_some_and(|pod| instances.contains(&pod.instance)));
        new
    }

    /// Asks every pod that the operator should ask.
    pub fn ask(&mut self) {
        let Operator { count, evidence, .. } = &mut self.operator;
        for (name, pod) in self.pods.iter().filter(|(_, pod)| count.contains_key(&pod.instance) && !pod.terminating) {
            let now = Time(self.now);
            let before = evidence.get(name).map(|(before, _)| *before);
            let found = match (pod.dumb, pod.connections, before) {
                (true, ..) => continue,
                (false, 0, Some(Connections::Idle { since, .. })) => Connections::Idle { since, counted: now },
                (false, 0, _) => Connections::Idle { since: now, counted: now },
                (false, count, Some(Connections::Busy { since, .. })) => Connections::Busy { count, since },
                (false, count, _) => Connections::Busy { count, since: now },
            };
            evidence.insert(name.clone(), (found, self.now));
        }
    }

    /// Returns what the operator knows of a pod. A count that is older than `settle` has no value.
    pub(super) fn known(&self, pod: &str) -> Connections {
        self.known_of(pod, &self.pods[pod].instance)
    }

    /// Returns the same of a pod that may be gone by now.
    pub(super) fn known_of(&self, pod: &str, instance: &InstanceName) -> Connections {
        let counts = |color: &Color| color.tiers.iter().any(|tier| tier.name == *instance.tier && tier.counted);
        if !self.owners(instance).any(counts) {
            return Connections::Uncounted;
        }
        let settle = self.spec.drain.settle.as_millis() as i64;
        match self.operator.evidence.get(pod) {
            Some((found, at)) if at + settle >= self.now => *found,
            Some((_, at)) => Connections::Unknown { since: Time(at + settle) },
            None => {
                Connections::Unknown { since: Time(self.operator.count.get(instance).copied().unwrap_or(self.now)) }
            }
        }
    }

    /// Does something to the first pods of an instance, by name.
    pub fn on_pods(&mut self, name: &str, most: usize, act: impl Fn(&mut SimPod)) {
        let instance = spec::named(name);
        let pods = self.pods.values_mut().filter(|pod| pod.instance == instance && !pod.terminating);
        pods.take(most).for_each(act);
    }

    pub fn owners<'s>(&'s self, instance: &'s InstanceName) -> impl Iterator<Item = &'s Color> {
        self.colors.values().filter(move |color| spec::has(color, instance))
    }

    /// Returns whether a client of a stage, or a pod that calls this one, can open a connection to the pod.
    pub fn can_be_reached(&self, pod: &str) -> bool {
        let found = &self.pods[pod];
        let by_clients = self.endpoints.keys().chain(self.past.keys()).any(|stage| self.may_receive(stage, pod));
        let calls = |color: &Color, caller: &InstanceName| {
            spec::has(color, caller)
                && color.tiers.iter().any(|tier| {
                    tier.name == *caller.tier && tier.needs.iter().any(|need| *need == *found.instance.tier)
                })
        };
        let callers = || self.pods.values().map(|pod| &pod.instance);
        // Callers learn that a pod was taken out after the endpoint controller's lag and that of the nodes.
        let known = found.out.is_none_or(|out| self.now < out.at + 2 * PROPAGATION);
        let by_pods =
            || known && self.owners(&found.instance).any(|color| callers().any(|caller| calls(color, caller)));
        !found.terminating && (by_clients || by_pods())
    }

    /// Returns whether connections of the pod may be cut now: a user has asked for it, or the deadline has passed.
    fn may_be_cut(&self, instance: &InstanceName) -> bool {
        self.spec.deleting
            || self.owners(instance).all(|color| {
                let after = match color.deadline {
                    _ if color.deleting => return true,
                    Some(Deadline::Now) => 0,
                    Some(Deadline::Never) => return false,
                    Some(Deadline::After(after)) => after.as_millis() as i64,
                    None => self.spec.drain.deadline.as_millis() as i64,
                };
                spec::released(color, instance).is_some_and(|released| released.0 + after <= self.clock().0)
            })
    }

    /// Returns whether the pod was taken out of its Services, and its deadline has passed.
    fn is_out_for_long(&self, pod: &SimPod) -> bool {
        let after = self.spec.drain.deadline.as_millis() as i64;
        pod.out.and_then(|out| out.since).is_some_and(|since| since + after <= self.clock().0)
    }

    /// Checks that no pod that still has connections ends because of us, whatever the operator knows.
    pub(super) fn check_cut(&self, rule: Rule, name: &str) {
        let pod = &self.pods[name];
        let counted = self.known(name) != Connections::Uncounted;
        // A pod that is not ready answers no request, and no stage has sent a client to it.
        let unreached = !self.reached.contains(&pod.instance) && !pod.ready;
        let may_be_cut = self.may_be_cut(&pod.instance) || self.is_out_for_long(pod);
        self.require(rule, !counted || pod.connections == 0 || unreached || may_be_cut, || {
            format!("{name} ends with {} connections", pod.connections)
        });
    }

    /// Checks that a Deployment deletes the pods that it was meant to delete.
    pub(super) fn check_choice(&self, instance: &InstanceName, pod: &str) {
        let dep = &self.deps[instance];
        let is_first = !self.pods[pod].ready && !self.ended(instance);
        let meant = dep.replicas == 0 || dep.let_go.contains(pod) || is_first;
        self.require(Rule::NoCut, meant, || format!("{pod} is taken instead of {:?}", dep.let_go));
    }

    /// Returns whether a pod that is idle since then has been so for as long as the spec asks, and a count from the end of that
    /// time says so.
    fn has_settled(&self, world: &World, since: Time, counted: Time) -> bool {
        since.0 + world.spec.drain.settle.as_millis() as i64 <= counted.0.min(self.clock().0)
    }

    /// Returns marked pods that may end as well as those that are let go: it is open whether the Deployment knows the marks. It
    /// may delete these pods instead, which does no harm.
    pub(super) fn may_go_instead(&self, instance: &InstanceName) -> Vec<String> {
        let Some(world) = &self.decided else { return Vec::new() };
        let may_go = |pod: &&Pod| {
            let done = match pod.connections {
                Connections::Idle { since, counted } => self.has_settled(world, since, counted),
                Connections::Uncounted => true,
                Connections::Busy { .. } | Connections::Unknown { .. } => false,
            };
            let unreached = !self.reached.contains(instance) && !matches!(pod.connections, Connections::Busy { .. });
            pod.instance == *instance && pod.mark == Mark::Leaving && (done || unreached)
        };
        world.pods.iter().filter(may_go).map(|pod| pod.name.to_string()).collect()
    }

    /// Checks that a pod is let go for a reason that the decision's world gives, and only when all colors that have it no longer
    /// need it.
    pub(super) fn check_why(&self, name: &str, why: Why) {
        let Some(world) = &self.decided else { return };
        // An operator that lost its lease may end a pod that the next operator does not know.
        let Some(pod) = world.pods.iter().find(|pod| *pod.name == *name) else { return };
        let told = |good: bool| self.require(Rule::Evidence, good, || format!("{name} goes, {why:?}: {pod:?}"));
        told(pod.endpoint.is_empty());
        let out = matches!(pod.place, Place::Out { .. });
        told(out || self.owners(&pod.instance).all(|color| spec::released(color, &pod.instance).is_some()));
        let may_be_cut =
            || self.may_be_cut(&pod.instance) || self.pods.get(name).is_none_or(|pod| self.is_out_for_long(pod));
        match (why, pod.connections) {
            (Why::NeverServed, connections) => {
                told(!self.reached.contains(&pod.instance));
                told(matches!(connections, Connections::Idle { .. }) || !pod.ready);
            }
            (Why::Time, connections) => told(connections == Connections::Uncounted),
            (Why::Deadline, _) => told(may_be_cut()),
            (Why::Idle, Connections::Idle { since, counted }) => {
                told(self.has_settled(world, since, counted) || may_be_cut());
            }
            (Why::Idle, _) => told(false),
        }
    }

    /// Checks that only a pod that no client can reach is marked as the next to end.
    pub(super) fn check_mark(&self, pod: &str, mark: Mark) {
        if mark == Mark::Leaving {
            self.check_end(pod);
        }
        let out = self.pods[pod].out.is_some();
        let done = out || self.ended(&self.pods[pod].instance);
        self.require(Rule::Evidence, mark == Mark::None || done, || {
            format!("{pod} is marked {mark:?} although its color lives")
        });
    }

    /// Returns whether all colors that have the instance are on their way out.
    pub(super) fn ended(&self, instance: &InstanceName) -> bool {
        self.owners(instance).all(|color| spec::released(color, instance).is_some())
    }

    /// Returns the colors that have pods of their own.
    pub(super) fn living(&self) -> BTreeSet<String> {
        let has_pods = |instance: &InstanceName| {
            self.deps.get(instance).is_some_and(|dep| !dep.foreign && dep.replicas > 0)
                || self.pods.values().any(|pod| pod.instance == *instance)
        };
        let own = |instance: &&InstanceName| self.owners(instance).count() == 1;
        let lives = |color: &&Color| color.instances.values().filter(own).any(has_pods);
        self.colors.values().filter(lives).map(|color| color.name.clone()).collect()
    }

    /// Checks that no more colors live than may, but for those that lived before.
    pub(super) fn check_live(&self, before: &BTreeSet<String>) {
        let now = self.living();
        let few = now.len() <= (self.spec.keep.live as usize).max(before.len());
        self.require(Rule::Limit, !self.civil || few, || format!("{now:?} live, {before:?} did before"));
    }

    /// Checks that no instance that has pods is deleted for good, except one whose color a user took away by force.
    pub(super) fn check_delete(&self, instance: &InstanceName) {
        let pods = self.pods.values().filter(|pod| pod.instance == *instance).count();
        let owned = self.owners(instance).next().is_some();
        self.require(Rule::InUse, self.spec.deleting || !owned || pods == 0, || {
            format!("{instance:?} is deleted with {pods} pods")
        });
    }

    /// Checks that no color that a stage points at, or that has pods of its own, is deleted for good.
    pub(super) fn check_delete_color(&self, name: &str) {
        if self.spec.deleting {
            return;
        }
        let Some(color) = self.colors.get(name) else { return };
        let own = |instance: &&InstanceName| self.owners(instance).count() == 1;
        for instance in color.instances.values().filter(own) {
            let selects = |svc: &Svc| svc.selects() == Some(&Selection::Instance(instance.clone()));
            self.require(Rule::InUse, !self.stages.values().any(selects), || {
                format!("{name} is deleted while a stage points at it")
            });
            let pods = self.pods.values().filter(|pod| pod.instance == *instance).count();
            let foreign = self.deps.get(instance).is_some_and(|dep| dep.foreign);
            self.require(Rule::InUse, foreign || pods == 0, || {
                format!("{name} is deleted with {pods} pods of {instance:?}")
            });
        }
    }
}
