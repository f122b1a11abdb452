//! Checks of what must hold at every moment.

use std::collections::BTreeSet;

use rainbow_plan::*;

use super::*;

impl Sim {
    /// Checks that a stage never has fewer ready pods, as every node sees it, than it wants minus those that failed by
    /// themselves.
    pub fn check(&mut self) {
        self.measure(false);
        self.check_tiers();
    }

    /// Checks before a decision, which has seen all failures so far. Counts failures from zero once the stage has all its pods,
    /// apart from those that have been made to leave.
    pub(super) fn decide(&mut self) {
        self.measure(true);
    }

    fn measure(&mut self, decision: bool) {
        if !self.checking || self.spec.deleting || !self.watches(Rule::NoLoss) {
            return;
        }
        for stage in self.addresses() {
            let Some(Svc::Ours(Service { selects, .. })) = self.stages.get(&stage.name) else { continue };
            if !self.is_used(&stage.name) {
                continue;
            }
            let Some(endpoints) = self.endpoints.get(&stage.name) else { continue };
            let serves = |pod: &&String| {
                self.surely_receives(&stage.name, pod)
                    && self.pods.get(*pod).is_some_and(|pod| pod.ready && !pod.terminating)
            };
            let capacity = match self.swap(&stage.name) {
                // One write of ports and selector has no overlap (docs/overlap.md).
                Swap::Overlap if self.has_several_ports(&stage.name) => self.least(&stage.name),
                Swap::Overlap => endpoints.iter().filter(serves).count() as u32,
                Swap::Direct => self.least(&stage.name),
            };
            // Pods that the Service does not select any more have been made to leave, too, seen or not.
            let selected = |pod: &String| match selects {
                Some(Selection::Members) => self.pods[pod].member.contains_key(&stage.name),
                Some(Selection::Instance(instance)) => {
                    self.pods[pod].instance == *instance && self.pods[pod].out.is_none()
                }
                _ => true,
            };
            // What a user points the Service at by hand, and is not the stage's tier, does not serve the stage.
            let of_tier = |pod: &&String| self.is_of_tier(&stage, &self.pods[*pod].instance);
            let stays = |pod: &&String| serves(pod) && selected(pod) && of_tier(pod);
            let staying = endpoints.iter().filter(stays).count() as u32;
            let of = self.wants_at_least(&stage);
            let known = self.established.get(&stage.name).copied();
            let has_all = staying >= of;
            match known {
                None if of == 0 => {}
                None if has_all => drop(self.established.insert(stage.name.clone(), Established { of, failures: 0 })),
                None => {}
                Some(_) if decision && has_all => {
                    self.established.insert(stage.name.clone(), Established { of, failures: 0 });
                }
                // A stage that wants more than it has had has to come up with those first: an autoscaler asks for more, or the stage goes
                // back to a larger version.
                Some(Established { of: had, failures }) => {
                    if has_all && had < of {
                        self.established.insert(stage.name.clone(), Established { of, failures });
                    }
                    self.require(Rule::NoLoss, capacity + failures >= of.min(had), || {
                        format!("stage {} has {capacity} of {of} pods and {failures} failed", stage.name)
                    });
                }
            }
        }
    }

    /// Returns how many ready pods the smallest set of endpoints has, among the sets that some node may have.
    fn least(&self, stage: &str) -> u32 {
        let past = self.past.get(stage).into_iter().flatten().map(|(_, pods)| pods);
        let ready = |pod: &&String| self.pods.get(*pod).is_some_and(|pod| pod.ready && !pod.terminating);
        let sets = self.endpoints.get(stage).into_iter().chain(past);
        sets.map(|pods| pods.iter().filter(ready).count() as u32).min().unwrap_or(0)
    }

    /// The sets of endpoints that some node may have lead to several ports.
    fn has_several_ports(&self, stage: &str) -> bool {
        let past = self.past.get(stage).into_iter().flatten().map(|(_, pods)| pods);
        let pods = self.endpoints.get(stage).into_iter().chain(past).flatten();
        let ports = pods.filter_map(|pod| self.pods.get(pod)).map(|pod| self.port(&pod.instance));
        ports.collect::<BTreeSet<u32>>().len() > 1
    }

    /// The user changed what a stage wants, or took it away: it has to come up again before it is watched.
    pub fn disturb(&mut self) {
        self.established.clear();
    }

    /// Checks that no pod ends because of us while a client may be sent to it.
    pub(super) fn check_end(&self, pod: &str) {
        for stage in self.endpoints.keys().chain(self.past.keys()).collect::<BTreeSet<_>>() {
            self.require(Rule::NobodySent, !self.may_receive(stage, pod), || {
                format!("{pod} ends while clients of {stage} may be sent to it")
            });
        }
    }

    /// Checks that a tier is made smaller only after all tiers that call it, and only by pods that may end. Otherwise only pods
    /// that were taken out of the Services may end, or pods beyond the full size.
    pub(super) fn check_size(&self, instance: &InstanceName, replicas: u32, ends: &[(String, Why)]) {
        self.check_needs(instance, replicas);
        ends.iter().for_each(|(pod, why)| self.check_why(pod, *why));
        let Some(dep) = self.deps.get(instance).filter(|dep| dep.replicas > replicas) else { return };
        let is_out = |(pod, _): &(String, Why)| self.pods.get(pod).is_none_or(|pod| pod.out.is_some());
        if !ends.is_empty() && ends.iter().all(is_out) {
            return;
        }
        // A color that a stage with a surge leaves gets no replacements of lost pods whose place new pods have taken. No pod ends by that.
        let alive = self.pods.values().filter(|pod| pod.instance == *instance && !pod.terminating).count();
        let selects_all = Some(&Selection::Instance(instance.clone()));
        let is_left = |stage: &Stage| spec::has_surge(stage) && self.selected(&stage.name) != selects_all;
        if ends.is_empty() && replicas as usize >= alive && self.spec.stages.iter().any(is_left) {
            return;
        }
        let drains = !ends.is_empty() || replicas == 0 || (self.ended(instance) && self.full(instance) >= dep.replicas);
        if !drains || self.full(instance) == 0 {
            self.require(Rule::Order, dep.replicas > self.full(instance), || {
                format!("{instance:?} is made smaller: {} to {replicas}", dep.replicas)
            });
            return;
        }
        self.check_callers(instance);
    }

    /// Checks that no pod is left that calls the instance.
    pub(super) fn check_callers(&self, instance: &InstanceName) {
        for color in self.colors.values().filter(|color| spec::has(color, instance)) {
            for tier in color.tiers.iter().filter(|tier| tier.needs.iter().any(|need| *need == *instance.tier)) {
                let Some(caller) = color.instances.get(&tier.name) else { continue };
                let pods = self.pods.values().filter(|pod| spec::is_same(&pod.instance, caller)).count();
                let asked = self.deps.get(caller).map_or(0, |dep| if dep.foreign { 0 } else { dep.replicas });
                self.require(Rule::Order, pods == 0 && asked == 0, || {
                    format!("{instance:?} goes while {caller:?} has {pods} pods")
                });
            }
        }
    }

    /// Checks that only an instance whose colors all drain, or that ends for good, loses its controllers.
    pub(super) fn check_drains(&self, instance: &InstanceName) {
        let Some(world) = &self.decided else { return };
        let mut owners = world.colors.iter().filter(|color| spec::has(color, instance));
        self.require(
            Rule::Evidence,
            world.spec.deleting || owners.all(|color| spec::released(color, instance).is_some()),
            || format!("{instance:?} loses its Deployment while one of its colors lives"),
        );
    }

    /// Checks that pods of the color that a stage served before are let go only where the color that took its place has all pods
    /// that it needs.
    pub(super) fn check_way_back(&self, instance: &InstanceName) {
        let Some(world) = &self.decided else { return };
        let ordered = |color: &Color| {
            color.retire || color.deleting || matches!(color.deadline, Some(Deadline::Now | Deadline::After(_)))
        };
        let color = |name: &Option<String>| world.colors.iter().find(|color| Some(&color.name) == name.as_ref());
        for stage in &world.spec.stages {
            let Some(memory) = world.memory.stages.get(&stage.name) else { continue };
            let (Some(before), Some(serving)) = (color(&memory.previous), color(&memory.color)) else { continue };
            let has = |color: &Color, instance| color.instances.values().any(|known| known == instance);
            let selects = match world.stages.get(&StageKey::of(&stage.name)) {
                Some(StageService::Ours { selects: Selection::Instance(selected), .. }) => has(serving, selected),
                _ => false,
            };
            if !selects || !has(before, instance) || has(serving, instance) || ordered(before) {
                continue;
            }
            let serves = |pod: &&Pod| pod.ready && !pod.terminating && pod.mark != Mark::Leaving;
            for needed in serving.instances.values() {
                let ready = world.pods.iter().filter(|pod| pod.instance == *needed).filter(serves).count() as u32;
                let wanted = stage.replicas.unwrap_or(u32::MAX).min(self.full(needed));
                self.require(Rule::WayBack, ready >= wanted, || {
                    format!("{instance:?} goes while {} has {ready} of {wanted} pods of {needed:?}", stage.name)
                });
            }
        }
    }

    /// Checks that a tier gets pods only when all tiers that it calls are there.
    fn check_needs(&self, instance: &InstanceName, replicas: u32) {
        if self.deps.get(instance).map_or(0, |dep| dep.replicas) >= replicas {
            return;
        }
        for color in self.colors.values().filter(|color| spec::has(color, instance)) {
            let needs = color.tiers.iter().filter(|tier| tier.name == *instance.tier).flat_map(|tier| &tier.needs);
            let stage = instance.stage.as_deref().unwrap_or_default();
            for called in needs.filter_map(|need| spec::in_stage(color, need, stage)) {
                let called = &called;
                let asked = self.deps.get(called).map_or(1, |dep| dep.replicas).min(self.full(called));
                let serves = |pod: &&SimPod| pod.instance == *called && pod.ready && !pod.terminating;
                let ready = self.pods.values().filter(serves).count() as u32;
                self.require(Rule::Order, ready >= asked, || {
                    format!("{instance:?} comes up while {called:?} has {ready} of {asked} pods")
                });
                let callable = matches!(self.svcs.get(called), Some(Svc::Ours(_)));
                self.require(Rule::Order, callable, || format!("{called:?} cannot be called"));
            }
        }
    }

    /// Checks what a plan must not say about the world that it was made for.
    pub(super) fn check_plan(&self, world: &World, plan: &Plan) {
        for stage in &plan.report.stages {
            let serving: BTreeSet<&InstanceName> = world
                .pods
                .iter()
                .filter(|pod| pod.endpoint.contains_key(&StageKey::of(&stage.name)))
                .map(|pod| &pod.instance)
                // Nothing can be reported of a color that was taken away by force.
                .filter(|instance| self.owners(instance).next().is_some())
                .collect();
            let steered = matches!(
                world.stages.get(&StageKey::of(&stage.name)),
                Some(StageService::Ours { selects: Selection::Instance(_) | Selection::Members, .. })
            );
            if serving.len() > 1 && steered && !self.spec.deleting {
                self.require(Rule::Report, stage.shift.is_some(), || {
                    format!("{} serves {serving:?} outside a shift", stage.name)
                });
            }
            if let Some(shift) = &stage.shift {
                self.require(Rule::Report, shift.moved <= shift.of, || format!("{shift:?}"));
            }
        }
        self.check_first_joins(world, plan);
        self.check_gates(world, plan);
        assert!(plan.wake.is_none_or(|wake| wake > self.clock()), "a busy loop");
        self.check_wake(world, plan);
    }

    /// Checks that a plan that does nothing asks to be woken no later than time alone makes it do something.
    fn check_wake(&self, world: &World, plan: &Plan) {
        // A status that is not written yet is an event to come.
        let is_written = |stage: &StageReport| {
            let known = world.memory.stages.get(&stage.name);
            known.is_some_and(|known| (&known.color, known.since) == (&stage.color, stage.since))
        };
        if !plan.chains.is_empty() || !plan.report.stages.iter().all(is_written) {
            return;
        }
        let late = self.clock().after(std::time::Duration::from_secs(3_600));
        let before = plan.wake.map_or(late, |wake| Time(wake.0 - 1).min(late));
        let then = rainbow_plan::plan(world, before);
        assert!(
            then.chains.is_empty(),
            "nothing wakes the operator before {:?}, when it would do {:?}\n{}",
            plan.wake,
            then.chains,
            self.trace.join("\n")
        );
    }

    /// Checks that the first pod of a color enters a stage only when all tiers of the color have the stage's size; where the
    /// stage has a surge, when each tier has a pod.
    fn check_first_joins(&self, world: &World, plan: &Plan) {
        for action in plan.actions() {
            let Action::Join { stage, pod } = action else { continue };
            let Some(joining) = world.pods.iter().find(|known| *known.name == *pod).map(|pod| &pod.instance) else {
                continue;
            };
            let selected = match world.stages.get(&StageKey::of(stage)) {
                Some(StageService::Ours { selects: Selection::Instance(instance), .. }) if instance != joining => stage,
                _ => continue,
            };
            let Some(stage) = world.spec.stages.iter().find(|stage| stage.name == *selected) else { continue };
            let whole = |color: &&Color| {
                color.instances.iter().all(|(tier, instance)| {
                    let size = self.begins_with(world, stage, instance).unwrap_or_else(|| self.full(instance));
                    let size = stage.replicas.unwrap_or(u32::MAX).min(size);
                    let wanted = if spec::has_surge(stage) { size.min(1) } else { size };
                    let serves = |pod: &&Pod| pod.instance == *instance && pod.ready;
                    world.pods.iter().filter(serves).count() as u32 >= wanted
                        || !self.spec.tiers.iter().any(|t| t.name == *tier)
                })
            };
            let owners = self.colors.values().filter(|color| self.entry(stage, color).as_ref() == Some(joining));
            self.require(Rule::Whole, owners.into_iter().any(|color| whole(&color)), || {
                format!("{pod} joins {} before all of its color is ready", stage.name)
            });
        }
    }

    pub fn check_nothing_left(&self) {
        assert!(self.colors.is_empty());
        assert!(self.deps.values().all(|dep| dep.foreign), "{:?}", self.deps);
        assert!(self.sets.is_empty(), "{:?}", self.sets);
        assert!(!self.hpas.values().any(|hpa| matches!(hpa, Scaler::Ours { .. })), "{:?}", self.hpas);
        assert!(self.svcs.values().all(|svc| *svc == Svc::Foreign));
        assert!(self.stages.values().all(|svc| *svc == Svc::Foreign));
        assert!(self.pods.is_empty());
        assert_eq!(self.guard, Presence::Absent);
    }
}

impl Sim {
    /// Checks what must hold when nothing happens any more.
    pub fn check_rest(&mut self) {
        let world = self.world();
        let plan = plan(&world, self.clock());
        assert_eq!(plan.chains, [], "not at rest");
        let waits = |color: &ColorReport| matches!(color.waiting, Some(Waiting::ForSlot { .. }));
        let waiting = plan.report.colors.iter().any(waits);
        for stage in &self.spec.stages {
            let Some(selects) = self.selected(&stage.name) else { continue };
            let (told, paused) = spec::told(stage);
            let wanted = match (told, stage.promote) {
                (Some(color), _) => self.colors.get(color),
                (None, Promote::Auto) => self.colors.get(&self.spec.color).filter(|color| self.is_spec(color)),
                (None, Promote::Manual) => None,
            };
            if let Some(color) = wanted.filter(|color| self.healthy(color) && !waiting && !paused) {
                assert_eq!(
                    *selects,
                    Selection::Instance(self.entry(stage, color).unwrap()),
                    "{} is not where it shall be\n{:#?}\n{}",
                    stage.name,
                    plan.report,
                    self.trace.join("\n")
                );
                let labeled: Vec<&String> = self
                    .pods
                    .iter()
                    .filter(|(_, pod)| pod.member.contains_key(&stage.name))
                    .map(|(name, _)| name)
                    .collect();
                assert_eq!(labeled, Vec::<&String>::new(), "labels left over of {}", stage.name);
                self.check_inner_at_rest(stage, color, &plan.report);
            }
        }
        let ours = self.stages.iter().filter(|(_, svc)| matches!(svc, Svc::Ours(_)));
        let shadows: Vec<_> = ours.map(|(name, _)| name).filter(|name| name.ends_with(SHADOW)).collect();
        assert_eq!(shadows, Vec::<&String>::new(), "nothing moves, and there are shadow Services");
        self.check_colors_at_rest(&plan.report);
        self.check_scalers_at_rest();
        // A pod that has lost its color keeps its mark until it ends, too.
        let is_owned = |pod: &SimPod| self.owners(&pod.instance).next().is_some();
        let marked = |pod: &SimPod| pod.mark != Mark::None && is_owned(pod);
        let marked: Vec<_> = self.pods.iter().filter(|(_, pod)| marked(pod)).map(|(name, _)| name).collect();
        assert_eq!(marked, Vec::<&String>::new(), "nothing drains, and pods are marked");
        if !self.pods.values().any(|pod| pod.mark == Mark::Held) {
            assert_eq!(self.guard, Presence::Absent, "nothing drains, and there is a guard");
        }
        assert!(plan.count.is_empty(), "nothing drains, and pods are asked: {:?}", plan.count);
        let lost = |pod: &SimPod| !pod.terminating && pod.controller != Controller::ReplicaSet && is_owned(pod);
        let lost: Vec<_> = self.pods.iter().filter(|(_, pod)| lost(pod)).map(|(name, _)| name).collect();
        assert_eq!(lost, Vec::<&String>::new(), "nothing drains, and pods have no ReplicaSet");
        for instance in self.deps.iter().filter(|(_, dep)| !dep.foreign).map(|(instance, _)| instance) {
            // An instance that a stage still points at stays, even when its color was taken away, and with it all instances that
            // it calls.
            let unowned = |instance: &InstanceName| self.owners(instance).next().is_none();
            let selects = |svc: &Svc| matches!(svc.selects(), Some(Selection::Instance(i)) if unowned(i));
            let member = |pod: &SimPod| unowned(&pod.instance) && !pod.member.is_empty();
            let used = self.stages.values().any(selects) || self.pods.values().any(member);
            assert!(used || self.owners(instance).next().is_some(), "{instance:?} is nobody's");
        }
    }

    /// Checks that the addresses of a stage that is where it should be lead to that color, and that no address is unused.
    fn check_inner_at_rest(&self, stage: &Stage, color: &Color, report: &Report) {
        let told = || format!("{report:#?}\n{}", self.trace.join("\n"));
        let used: BTreeSet<&String> = color.tiers.iter().flat_map(|tier| &tier.calls).collect();
        for tier in used.iter().filter(|tier| color.tiers.iter().any(|known| known.name == ***tier)) {
            let address = inner_name(&stage.name, tier);
            if self.stages.get(&address) == Some(&Svc::Foreign) {
                continue;
            }
            let expected = spec::in_stage(color, tier, &stage.name).map(Selection::Instance);
            assert_eq!(self.selected(&address), expected.as_ref(), "{address} is not where it shall be\n{}", told());
            let labeled: Vec<_> = self.pods.iter().filter(|(_, pod)| pod.member.contains_key(&address)).collect();
            assert!(labeled.is_empty(), "labels left over of {address}: {labeled:?}");
        }
        let own = self.stages.iter().filter(|(_, svc)| matches!(svc, Svc::Ours(_)));
        let inner = own.filter_map(|(name, _)| name.split_once('.')).filter(|(user, _)| *user == stage.name);
        for (_, tier) in inner {
            let unused = used.iter().all(|used| *used != tier);
            assert!(!unused, "no tier of {} calls {tier} by its address\n{}", color.name, told());
        }
    }

    fn check_colors_at_rest(&self, report: &Report) {
        let mut retired = 0;
        for told in &report.colors {
            let color = &self.colors[&told.name];
            let shared = |name: &InstanceName| {
                self.colors.values().filter(|c| c.instances.values().any(|n| n == name)).count() > 1
            };
            let own = |pod: &&SimPod| {
                let mut instances = color.instances.values();
                instances.any(|name| spec::is_same(name, &pod.instance) && !shared(name))
            };
            let pods = self.pods.values().filter(own).count();
            match told.phase {
                ColorPhase::Retired => {
                    assert_eq!(pods, 0, "{told:?}");
                    retired += u32::from(color.name != self.spec.color);
                    assert!(!color.deleting, "{told:?}");
                }
                // A way back stays as long as the color that took its place is unhealthy.
                ColorPhase::Draining if matches!(told.waiting, Some(Waiting::KeptWarm { is_unhealthy: true, .. })) => {}
                ColorPhase::Draining => panic!("{told:?} drains for ever\n{}", self.trace.join("\n")),
                ColorPhase::Starting => {
                    let waits = matches!(told.waiting, Some(Waiting::ForSlot { .. }));
                    assert!(waits, "{told:?} starts for ever");
                }
                ColorPhase::Serving if self.healthy(color) => assert!(told.ready >= told.wanted, "{told:?}"),
                ColorPhase::Ready => assert!(told.ready >= told.wanted, "{told:?}"),
                ColorPhase::Serving | ColorPhase::Stalled => {}
            }
            let kept = !told.stages.is_empty() || color.name == self.spec.color;
            assert!(kept || pods == 0, "{told:?} is of no use and has {pods} pods\n{}", self.trace.join("\n"));
        }
        assert!(retired <= self.spec.keep.history, "{retired} retired colors");
    }

    pub(super) fn is_spec(&self, color: &Color) -> bool {
        color
            .tiers
            .iter()
            .all(|tier| self.spec.tiers.iter().any(|t| t.name == tier.name && t.identity == tier.identity))
    }

    /// Returns whether nothing keeps the color from coming up.
    fn healthy(&self, color: &Color) -> bool {
        !color.deleting
            && color.instances.values().all(|name| {
                let is = |known: &InstanceName| spec::is_same(known, name);
                !self.broken.contains(name)
                    && !self.svcs.iter().any(|(known, svc)| is(known) && *svc == Svc::Foreign)
                    && !self.deps.iter().any(|(known, dep)| is(known) && dep.foreign)
            })
    }
}
