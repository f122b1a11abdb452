//! Effect of each event on the model.

use std::time::Duration;

use rainbow_plan::*;

use super::{events::Event, operator::Run, *};

fn nth<T: Clone>(items: impl Iterator<Item = T>, n: usize) -> Option<T> {
    let items: Vec<T> = items.collect();
    (!items.is_empty()).then(|| items[n % items.len()].clone())
}

impl Sim {
    /// Makes an event happen.
    pub fn happen(&mut self, event: &Event) {
        self.log(|| format!("> {event}"));
        match event {
            Event::Reconcile => {
                self.reconcile(Run::Whole);
            }
            Event::Crash(writes) => {
                self.reconcile(Run::CrashAfter(*writes));
            }
            Event::Tick(milliseconds) => self.tick(*milliseconds),
            Event::Calm => self.calm(),
            Event::Pass(seconds) => self.pass(*seconds),
            Event::DeleteRainbow => self.spec.deleting = true,
            Event::Deployment(n, pick) => {
                let instances: BTreeSet<_> = self.deps.keys().chain(self.sets.keys()).cloned().collect();
                if let Some(instance) = nth(instances.into_iter(), *n) {
                    self.run_deployment(&instance, *pick);
                }
            }
            Event::Ready(n) => self.on_pod(*n, |sim, pod| sim.set_ready(pod, true)),
            Event::Unready(n) => self.on_pod(*n, |sim, pod| sim.set_ready(pod, false)),
            Event::Kill(n) => self.on_pod(*n, |sim, pod| sim.terminate(pod, Cause::Theirs, Cause::Theirs)),
            Event::End(n) => {
                let pods = self.pods.iter().filter(|(_, pod)| pod.terminating);
                if let Some(pod) = nth(pods.map(|(name, _)| name.clone()), *n) {
                    self.end(&pod);
                }
            }
            Event::SeePod(n) => self.on_pod(*n, Sim::sync_labels),
            Event::SeeStage(n) => {
                if let Some(stage) = nth(self.stage_dirty.keys().cloned(), *n) {
                    self.sync_stage(&stage);
                }
            }
            Event::NewColor(broken) => {
                // A new version never has a name that a deleted color had: identities are made of it, and two tiers that need
                // different things must not have the same identity.
                let color = self.new_version();
                // With reuse, one tier changes, and with it all tiers that call it.
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
            }
            Event::BackToColor(n) => {
                // The manifest of that version has its tiers, at their last sizes, and the tiers that stages had named in it.
                if let Some(color) = nth(self.colors.values().cloned(), *n) {
                    self.spec.tiers = color.tiers.clone();
                    for tier in &mut self.spec.tiers {
                        tier.replicas = self.asked.get(&tier.identity).copied().unwrap_or(tier.replicas);
                    }
                    for stage in &mut self.spec.stages {
                        let named = self.entries.get(&(stage.name.clone(), color.name.clone()));
                        stage.tier = named.cloned().or(stage.tier.take());
                    }
                    self.spec.color = color.name;
                }
                // An automatic stage goes back by a pin.
                for stage in self
                    .spec
                    .stages
                    .iter()
                    .filter(|stage| stage.promote == Promote::Auto && spec::told(stage).0.is_none())
                {
                    if self.invalid_stages.contains(&stage.name) {
                        continue;
                    }
                    self.held.remove(&stage.name);
                }
            }
            Event::SameNameOtherTiers => {
                self.spec.tiers.iter_mut().for_each(|tier| tier.identity.push('!'));
            }
            Event::Promote(stage, color) => {
                if let Some(color) = nth(self.colors.keys().cloned(), *color) {
                    self.promote(*stage, color);
                }
            }
            Event::GoOn(stage, color) => {
                if let Some(color) = nth(self.colors.values().cloned(), *color) {
                    let tiers = color.tiers.iter().flat_map(|tier| tier.calls.iter().cloned());
                    let steps = tiers.map(|tier| PassedTier { tier, color: color.name.clone() }).collect::<Vec<_>>();
                    self.on_stage(*stage, |stage| {
                        if let Between::Pause { passed, .. } = &mut stage.between {
                            passed.extend(steps);
                        }
                    });
                }
            }
            Event::Judge(gate, says) => {
                let outcomes = [
                    Some(CheckOutcome::Passed),
                    Some(CheckOutcome::Failed),
                    Some(CheckOutcome::Inconclusive),
                    Some(CheckOutcome::NoData),
                    None,
                ];
                let gate = ["a", "b", "c"][*gate % 3];
                self.gates.says.insert(gate.into(), outcomes[*says % outcomes.len()]);
            }
            Event::SkipGate(stage, gate, color) => {
                if let Some(color) = nth(self.colors.keys().cloned(), *color) {
                    let gate = ["a", "b", "c"][*gate % 3].to_owned();
                    self.on_stage(*stage, |stage| {
                        stage.gates.skipped.insert(SkippedGate { gate, color });
                    });
                }
            }
            Event::PassStep(stage) => {
                let name = self.stage_name(*stage);
                let shift = self.memory.stages.get(&name).and_then(|memory| memory.shift.clone());
                if let Some(shift) = shift {
                    let step = PassedStep { index: shift.step.index, color: shift.to, started: shift.started };
                    self.on_stage(*stage, |stage| {
                        if let Shift::Steps { passed, .. } = &mut stage.shift {
                            passed.insert(step);
                        }
                    });
                }
            }
            Event::PromoteUnknown(stage) => self.on_stage(*stage, |stage| {
                spec::take_back(stage, None);
                stage.color = Some("nowhere".into());
            }),
            Event::Unpin(stage) => {
                self.on_stage(*stage, |stage| {
                    spec::take_back(stage, None);
                    stage.color = None;
                });
                let name = self.stage_name(*stage);
                if self.spec.stages.iter().any(|stage| stage.name == name && !spec::told(stage).1)
                    && !self.invalid_stages.contains(&name)
                {
                    self.held.remove(&name);
                }
            }
            Event::Pause(stage) => {
                self.on_stage(*stage, |stage| spec::pause(stage, !spec::told(stage).1));
                let name = self.stage_name(*stage);
                if self.spec.stages.iter().any(|stage| stage.name == name && spec::told(stage).1) {
                    self.hold(&name);
                } else if !self.invalid_stages.contains(&name) {
                    self.held.remove(&name);
                }
            }
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
                let ours = self.stages.iter().filter(|(_, svc)| matches!(svc, Svc::Ours(_)));
                if let Some(stage) = nth(ours.map(|(name, _)| name.clone()), *n) {
                    if let Some(service) = self.stages.get_mut(&stage).and_then(Svc::mine) {
                        service.selects = None;
                    }
                    self.sync_stage_by_hand(&stage);
                }
            }
            Event::DeleteStageService(n) => {
                let ours = self.stages.iter().filter(|(_, svc)| matches!(svc, Svc::Ours(_)));
                if let Some(stage) = nth(ours.map(|(name, _)| name.clone()), *n) {
                    self.stages.remove(&stage);
                    self.sync_stage_by_hand(&stage);
                }
            }
            Event::ScaleByHand(n, replicas) => {
                let ours = self.deps.iter().filter(|(_, dep)| !dep.foreign).map(|(name, _)| name.clone());
                if let Some(name) = nth(ours, *n) {
                    let dep = self.deps.get_mut(&name).unwrap();
                    (dep.replicas, dep.observed) = (*replicas, false);
                    (dep.down, dep.writer) = (Cause::Theirs, Cause::Theirs);
                }
            }
            Event::Drift(n) => {
                let ours = self.deps.iter().filter(|(_, dep)| !dep.foreign).map(|(name, _)| name.clone());
                if let Some(name) = nth(ours, *n) {
                    self.deps.get_mut(&name).unwrap().current = false;
                }
                for svc in self.svcs.values_mut().chain(self.stages.values_mut()) {
                    if let Some(service) = svc.mine() {
                        service.current = false;
                    }
                }
            }
            Event::LoseStatus => {
                self.memory = Memory::default();
                for color in self.colors.values_mut() {
                    (color.released, color.retired) = (None, None);
                    color.parts.iter_mut().for_each(|part| (part.released, part.retired) = (None, None));
                }
            }
            Event::Mend => self.broken.clear(),
            Event::Refuse(n, way) => {
                if let Some(object) = nth(self.objects().into_iter(), *n) {
                    let ways =
                        [Refusal::Denied, Refusal::Busy(2), Refusal::TimedOut, Refusal::Vain, Refusal::Rewritten];
                    self.log(|| format!("{object:?}"));
                    self.refusals.insert(object, ways[way % 5]);
                }
            }
            Event::Allow => self.refusals.clear(),
            Event::Lag(kind, milliseconds) => {
                self.lags.insert(Kind::ALL[kind % 7], *milliseconds);
            }
            Event::SlowLabels(milliseconds) => self.label_lag = *milliseconds,
            Event::Refresh(kind) => self.refresh(Kind::ALL[kind % 7]),
            Event::TakeOver(writes) => {
                self.reconcile(Run::LoseAfter(*writes));
            }
            Event::OtherClock(seconds) => self.other_clock = seconds * 1_000,
            Event::LateWrite => self.late_write(),
            Event::NewPort(port) => {
                let color = self.new_version();
                for tier in &mut self.spec.tiers {
                    tier.identity = format!("{}@{color}", tier.name);
                    self.ports.insert(tier.identity.clone(), *port);
                }
            }
            Event::NewSize(tier, replicas) => {
                let color = self.new_version();
                self.spec.tiers.iter_mut().for_each(|tier| tier.identity = format!("{}@{color}", tier.name));
                let index = tier % self.spec.tiers.len();
                self.spec.tiers[index].replicas = *replicas;
            }
            Event::NewGate => self.new_gate(),
            Event::NewEdge(edge) => self.new_edge(*edge),
            Event::NewCallee(tier) => self.new_callee(*tier),
            Event::NoTier(tier) => self.new_without(*tier),
            Event::Invalid => self.invalid = true,
            Event::InvalidStage(stage) => {
                let name = self.stage_name(*stage);
                if self.invalid_stages.insert(name.clone()) {
                    self.hold(&name);
                }
            }
            Event::Valid => self.make_valid(),
            Event::Apply => {
                self.spec.stages.iter_mut().for_each(|stage| (stage.color, stage.paused) = (None, false));
            }
            Event::AddStageLikeColor(color, tier) => {
                let inner = self.spec.tiers.iter().skip(1).map(|tier| tier.name.clone());
                if let (Some(color), Some(tier)) = (nth(self.colors.keys().cloned(), *color), nth(inner, *tier))
                    && self.spec.stages.iter().all(|stage| stage.name != color)
                {
                    self.spec.stages.push(spec::stage(&color, &tier));
                }
            }
            Event::NodePort(stage, port) => {
                let name = self.stage_name(*stage);
                // Two stages with one port are refused before any write.
                if *port == 0 || !self.node_ports.values().any(|taken| taken == port) {
                    self.node_ports.insert(name, *port);
                }
            }
            Event::SwapNodePorts(stage, other) => {
                let (stage, other) = (self.stage_name(*stage), self.stage_name(*other));
                let port = |name: &String| self.node_ports.get(name).copied().unwrap_or(0);
                let (first, second) = (port(&stage), port(&other));
                self.node_ports.extend([(stage, second), (other, first)]);
            }
            Event::TakeNodePort(port) => {
                if !self.taken_ports.remove(port) {
                    self.taken_ports.insert(*port);
                }
            }
            Event::RenameService(stage) => {
                let name = self.stage_name(*stage);
                self.counter += 1;
                let key = format!("{name}/old{}", self.counter);
                if let Some(svc) = self.stages.remove(&name) {
                    self.stages.insert(key.clone(), svc);
                    self.checking = false;
                    self.rename_seen(&name, &key);
                    self.checking = true;
                    self.disturb();
                }
            }
            Event::SlowDeletes => self.slow_deletes = !self.slow_deletes,
            Event::FinishDeletes => {
                let deleting = |svc: &Svc| matches!(svc, Svc::Ours(Service { deleting: true, .. }));
                let gone = self.stages.iter().filter(|(_, svc)| deleting(svc)).map(|(name, _)| name.clone());
                for name in gone.collect::<Vec<_>>() {
                    self.stages.remove(&name);
                    self.sync_stage_by_hand(&name);
                }
            }
            Event::SelectByHand(stage, instance) => {
                let known = self.colors.values().flat_map(|color| color.instances.values().cloned());
                let nowhere = spec::instance(&spec::entry(&self.spec.tiers, &self.spec.stages[0]), "nowhere");
                let instance = nth(known.chain([nowhere]), *instance).unwrap();
                let name = self.address_name(*stage);
                let user = name.split_once('.').map_or(name.as_str(), |(user, _)| user);
                let color = self.colors.get(&*instance.color);
                let instance = color.and_then(|color| spec::in_stage(color, &instance.tier, user)).unwrap_or(instance);
                if let Some(service) = self.stages.get_mut(&name).and_then(Svc::mine) {
                    service.selects = Some(Selection::Instance(instance.clone()));
                    self.ages.selected_by_hand(&name);
                    self.hold_selected(&name, &instance);
                    self.sync_stage_by_hand(&name);
                }
            }
            Event::SayByHand(stage, color) => {
                let name = self.address_name(*stage);
                let colors = self.colors.keys().cloned().map(Some).chain([None]);
                let said = nth(colors, *color).flatten();
                if let Some(service) = self.stages.get_mut(&name).and_then(Svc::mine) {
                    service.serves = said;
                }
            }
            Event::LabelByHand(pod, stage) => {
                let (name, clock) = (self.address_name(*stage), self.clock().0);
                self.on_pod(*pod, |sim, pod| {
                    let found = sim.pods.get_mut(pod).unwrap();
                    found.member.entry(name.clone()).or_insert(Some(clock));
                    sim.ages.labelled_by_hand(&name, pod);
                    sim.hold_more(&name);
                    sim.touched(pod);
                });
            }
            Event::UnlabelByHand(pod) => self.on_pod(*pod, |sim, pod| {
                let found = sim.pods.get_mut(pod).unwrap();
                found.member.clear();
                sim.touched(pod);
                sim.disturb();
            }),
            Event::ServingByHand(pod) => self.on_pod(*pod, |sim, pod| {
                let now = sim.now;
                let found = sim.pods.get_mut(pod).unwrap();
                found.out = match found.out {
                    Some(_) => None,
                    None => Some(Out { at: now, since: None }),
                };
                sim.touched(pod);
                sim.disturb();
            }),
            Event::BlurJoined(pod) => self.on_pod(*pod, |sim, pod| {
                sim.pods.get_mut(pod).unwrap().member.values_mut().for_each(|joined| *joined = None);
            }),
            Event::MarkByHand(pod, mark) => {
                let (mark, now) = ([Mark::None, Mark::Held, Mark::Leaving][mark % 3], self.now);
                self.on_pod(*pod, |sim, pod| {
                    let found = sim.pods.get_mut(pod).unwrap();
                    (found.mark, found.marked) = (mark, (now, found.mark));
                });
                self.observe();
            }
            Event::EditPort(stage, port) => {
                let name = self.stage_name(*stage);
                if let Some(service) = self.stages.get_mut(&name).and_then(Svc::mine) {
                    (service.target, service.current) = (*port, false);
                    self.disturb();
                }
            }
            Event::Disown(n) => {
                let ours = self.deps.iter().filter(|(_, dep)| !dep.foreign).map(|(name, _)| name.clone());
                if let Some(name) = nth(ours, *n) {
                    self.deps.get_mut(&name).unwrap().labelled = false;
                }
            }
            Event::Own => {
                self.deps.values_mut().for_each(|dep| dep.labelled = true);
                self.operator.foreign.clear();
            }
            Event::DeleteDeployment(n) => {
                let ours = self.deps.iter().filter(|(_, dep)| !dep.foreign).map(|(name, _)| name.clone());
                if let Some(name) = nth(ours, *n) {
                    self.delete_deployment(&name, Cause::Theirs);
                }
            }
            Event::OrphanDeployment(n) => {
                let ours = self.deps.iter().filter(|(_, dep)| !dep.foreign).map(|(name, _)| name.clone());
                if let Some(name) = nth(ours, *n) {
                    self.deps.get_mut(&name).unwrap().deleting = true;
                }
            }
            Event::RestartDeployment(n) => {
                let ours = self.deps.iter().filter(|(_, dep)| !dep.foreign && !dep.deleting);
                let Some(instance) = nth(ours.map(|(name, _)| name.clone()), *n) else { return };
                let controlled = |pod: &SimPod| pod.instance == instance && pod.controller == Controller::ReplicaSet;
                let pods = self.pods.iter().filter(|(_, pod)| controlled(pod) && !pod.terminating);
                for pod in pods.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
                    self.terminate(&pod, Cause::Theirs, Cause::Theirs);
                }
            }
            Event::DeleteService(n) => {
                let ours = self.svcs.iter().filter(|(_, svc)| **svc != Svc::Foreign).map(|(name, _)| name.clone());
                if let Some(name) = nth(ours, *n) {
                    self.svcs.remove(&name);
                }
            }
            Event::DeleteGuardByHand => {
                if self.guard == Presence::Current {
                    self.guard = Presence::Absent;
                }
                self.budgets.clear();
            }
            Event::DeleteSlices(stage) => {
                let name = self.stage_name(*stage);
                self.lose_endpoints(&name);
            }
            Event::Autoscale(n, replicas) => {
                let ours = self.deps.iter().filter(|(_, dep)| !dep.foreign).map(|(name, _)| name.clone());
                if let Some(name) = nth(ours, *n) {
                    if let Some(replicas) = self.scaler_writes(&name, *replicas) {
                        self.scale_by_other(&name, replicas);
                    }
                    self.scalers.insert(name, *replicas);
                }
            }
            Event::NoAutoscale => self.scalers.clear(),
            Event::SayScaling(tier, way) => {
                let scaling = match way % 4 {
                    0 => Scaling::Replicas,
                    1 => Scaling::External,
                    least => Scaling::Autoscale { least: least as u32 - 1, most: 5 },
                };
                if let Some(tier) = nth(self.spec.tiers.iter().map(|tier| tier.name.clone()), *tier) {
                    self.say_scaling(&tier, scaling);
                }
            }
            Event::ForeignScaler(n, most) => {
                let free = |name: &&InstanceName| !self.hpas.contains_key(*name);
                let ours = self.deps.iter().filter(|(_, dep)| !dep.foreign).map(|(name, _)| name).filter(free);
                if let Some(name) = nth(ours.cloned(), *n) {
                    self.hpas.insert(name, Scaler::Foreign { name: "theirs".into(), most: (*most).max(1) });
                }
            }
            Event::NoForeignScaler => {
                self.disturb();
                self.hpas.retain(|_, hpa| !matches!(hpa, Scaler::Foreign { .. }));
            }
            Event::Evict(pod) => self.on_pod(*pod, |sim, pod| {
                // The budget of pods that are held allows none to be evicted.
                let held = sim.pods[pod].mark == Mark::Held && sim.guard == Presence::Current;
                if !held && !sim.is_kept_by_a_budget(pod) {
                    sim.terminate(pod, Cause::Theirs, Cause::Theirs);
                }
            }),
            Event::Restart(pod) => self.on_pod(*pod, |sim, pod| sim.restart(pod)),
            Event::NodeGone(node) => {
                let pods: Vec<String> = self.pods.keys().skip(node % 3).step_by(3).cloned().collect();
                for pod in pods {
                    self.terminate(&pod, Cause::Theirs, Cause::Theirs);
                    self.end(&pod);
                }
            }
            Event::Flap(pod) => self.on_pod(*pod, |sim, pod| {
                sim.set_ready(pod, false);
                sim.tick(100);
                sim.set_ready(pod, true);
            }),
            Event::ReadyThenCrash(pod) => self.on_pod(*pod, |sim, pod| {
                sim.set_ready(pod, true);
                sim.tick(1_000);
                sim.restart(pod);
            }),
            Event::GateNewest => {
                let tiers = self.spec.tiers.iter().map(|tier| spec::instance(&tier.name, &self.spec.color));
                self.gated.extend(tiers);
            }
            Event::OpenGates => self.gated.clear(),
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
        self.ask_size();
        self.check();
    }

    /// Gives the spec the name of a new version.
    fn new_version(&mut self) -> String {
        self.versions += 1;
        self.spec.color = format!("v{}", self.versions);
        self.spec.color.clone()
    }

    /// Makes a new version in which `gate` calls the tier that was the entry before, or in which `gate` is gone. The stages name
    /// no tier.
    fn new_gate(&mut self) {
        let color = self.new_version();
        if self.spec.tiers[0].name == "gate" {
            // A version has at least one tier, and an earlier version may have lost all others.
            if self.spec.tiers.len() > 1 {
                self.spec.tiers.remove(0);
            }
        } else {
            let entry = self.spec.tiers[0].name.clone();
            let gate = Tier { name: "gate".into(), needs: vec![entry], ..self.spec.tiers[0].clone() };
            self.spec.tiers.insert(0, gate);
        }
        self.spec.tiers.iter_mut().for_each(|tier| tier.identity = format!("{}@{color}", tier.name));
        let entry = self.spec.tiers[0].name.clone();
        for stage in &mut self.spec.stages {
            stage.tier =
                stage.tier.take().map(|tier| if tier == "gate" || tier == "t0" { entry.clone() } else { tier });
        }
        self.ask_size();
    }

    /// Makes a new version in which these tiers change, and all that call them in their own color.
    fn change(&mut self, mut changed: Vec<String>) {
        let color = self.new_version();
        for tier in self.spec.tiers.iter_mut().rev() {
            let calls = tier.needs.iter().any(|need| changed.contains(need));
            if self.spec.reuse == Reuse::Never || calls || changed.contains(&tier.name) {
                tier.identity = format!("{}@{color}", tier.name);
                changed.push(tier.name.clone());
            }
        }
        self.ask_size();
    }

    fn new_edge(&mut self, edge: usize) {
        let edges = |tier: &Tier| {
            let callees = tier.needs.iter().chain(&tier.calls);
            callees.map(|callee| (tier.name.clone(), callee.clone())).collect::<Vec<_>>()
        };
        let Some((caller, callee)) = nth(self.spec.tiers.iter().flat_map(edges), edge) else { return };
        for tier in self.spec.tiers.iter_mut().filter(|tier| tier.name == caller) {
            let (from, to) = match tier.calls.contains(&callee) {
                true => (&mut tier.calls, &mut tier.needs),
                false => (&mut tier.needs, &mut tier.calls),
            };
            from.retain(|known| *known != callee);
            to.push(callee.clone());
        }
        self.change(vec![caller]);
    }

    /// Makes a new version in which a tier calls `extra`, or in which `extra` is gone.
    fn new_callee(&mut self, tier: usize) {
        if self.spec.tiers.iter().any(|known| known.name == "extra") {
            return self.without("extra");
        }
        let index = tier % self.spec.tiers.len();
        let extra =
            Tier { name: "extra".into(), needs: Vec::new(), calls: Vec::new(), ..self.spec.tiers[index].clone() };
        let caller = &mut self.spec.tiers[index];
        caller.calls.push("extra".into());
        let changed = vec![caller.name.clone(), "extra".into()];
        self.spec.tiers.push(extra);
        self.change(changed);
    }

    /// Makes a new version without an inner tier.
    fn new_without(&mut self, tier: usize) {
        let entries: BTreeSet<String> =
            self.spec.stages.iter().map(|stage| spec::entry(&self.spec.tiers, stage)).collect();
        let inner = self.spec.tiers.iter().map(|tier| tier.name.clone()).filter(|name| !entries.contains(name));
        if let Some(name) = nth(inner, tier).filter(|_| self.spec.tiers.len() > 1) {
            self.without(&name);
        }
    }

    fn without(&mut self, name: &str) {
        self.spec.tiers.retain(|tier| tier.name != name);
        let mut changed = Vec::new();
        for tier in &mut self.spec.tiers {
            let edges = tier.needs.len() + tier.calls.len();
            tier.needs.retain(|callee| callee != name);
            tier.calls.retain(|callee| callee != name);
            if tier.needs.len() + tier.calls.len() < edges {
                changed.push(tier.name.clone());
            }
        }
        self.change(changed);
    }

    /// Sends a stage to a color, as its user does. A move back to an older version is a hold until the user says otherwise.
    fn promote(&mut self, stage: usize, color: String) {
        let name = self.stage_name(stage);
        let index = stage % self.spec.stages.len();
        // The same as `rainbow rollback` and `rainbow promote`.
        spec::take_back(&mut self.spec.stages[index], Some(color.clone()));
        if !self.is_taken_back(&name) {
            spec::take_back(&mut self.spec.stages[index], None);
            self.spec.stages[index].color = Some(color);
        }
        if self.is_taken_back(&name) || spec::told(&self.spec.stages[index]).1 {
            self.hold(&name);
        } else if !self.invalid_stages.contains(&name) {
            self.held.remove(&name);
        }
    }

    fn stage_name(&self, n: usize) -> String {
        self.spec.stages[n % self.spec.stages.len()].name.clone()
    }

    /// Returns the name of a stage, or of an address of an inner tier.
    fn address_name(&self, n: usize) -> String {
        let addresses = self.addresses();
        addresses[n % addresses.len()].name.clone()
    }

    /// Notes that another writer wrote to a pod.
    fn touched(&mut self, pod: &str) {
        let now = self.now;
        if let Some(found) = self.pods.get_mut(pod) {
            found.dirty.get_or_insert(now);
        }
        self.observe();
    }

    /// Restarts a pod's container: its connections are gone, whatever the cause.
    fn restart(&mut self, pod: &str) {
        self.set_ready(pod, false);
        if let Some(found) = self.pods.get_mut(pod) {
            found.connections = 0;
        }
    }

    /// Makes all well in the cluster from now on: no write is refused, no cache lags, no pod is held back.
    pub fn heal(&mut self) {
        self.refusals.clear();
        self.lags.clear();
        self.label_lag = 0;
        self.late = None;
        self.make_valid();
        self.scalers.clear();
        self.taken_ports.clear();
        self.slow_deletes = false;
        self.happen(&Event::FinishDeletes);
        self.happen(&Event::Own);
        self.gated.clear();
        self.gates.says.clear();
    }

    /// Makes all of the spec valid; no stage is held because it was invalid.
    fn make_valid(&mut self) {
        self.invalid = false;
        for name in std::mem::take(&mut self.invalid_stages) {
            if self.spec.stages.iter().any(|stage| stage.name == name && !spec::told(stage).1)
                && !self.is_taken_back(&name)
            {
                self.held.remove(&name);
            }
        }
        self.ask_size();
    }

    /// Lets a user's change of a Service take effect at once: the checks blame nothing else for it.
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
