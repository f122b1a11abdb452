//! API server: which writes it refuses, and what a write does.

use rainbow_plan::*;

use super::*;

/// Object that writes are about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WriteTarget {
    Color(String),
    Deployment(InstanceName),
    Scaler(InstanceName),
    Service(InstanceName),
    Stage(String),
    Pod(String),
    Guard,
    Budget(String),
}

/// Way in which writes to an object go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Refused for good: admission, quota, an immutable field.
    Denied,
    /// Refused this many times: 429, 500.
    Busy(u32),
    /// Carried out, and answered with an error.
    TimedOut,
    /// Answered as a success, but without effect: another field manager keeps the old value.
    Vain,
    /// Answered as a success, but with another effect: a webhook rewrites the request.
    Rewritten,
}

impl WriteTarget {
    fn of(action: &Action) -> Option<Self> {
        Some(match action {
            Action::CreateColor { color, .. } | Action::ClearRetire { color } | Action::DeleteColor { color } => {
                Self::Color(color.clone())
            }
            Action::ApplyDeployment { instance, .. }
            | Action::OrphanDeployment { instance }
            | Action::DeleteReplicaSets { instance, .. }
            | Action::DeleteInstance { instance } => Self::Deployment(instance.clone()),
            Action::ApplyScaler { instance, .. } | Action::DeleteScaler { instance } => Self::Scaler(instance.clone()),
            Action::ApplyService { instance } => Self::Service(instance.clone()),
            Action::ApplyStage { stage, .. } => Self::Stage(stage.clone()),
            Action::DeleteStage { stage } => Self::Stage(service_name(stage)),
            Action::ApplyShadow { stage } => Self::Stage(service_name(&StageKey::shadow(stage))),
            Action::Join { pod, .. }
            | Action::Leave { pod, .. }
            | Action::Mark { pod, .. }
            | Action::TakeOut { pod }
            | Action::PutBack { pod }
            | Action::Adopt { pod }
            | Action::Disown { pod }
            | Action::EndPod { pod, .. } => Self::Pod(pod.clone()),
            // Histories have no configuration.
            Action::CreateCopy { .. } | Action::DeleteCopy { .. } => return None,
            Action::ApplyGuard | Action::DeleteGuard => Self::Guard,
            Action::ApplyBudget { stage, .. } | Action::DeleteBudget { stage } => Self::Budget(stage.clone()),
            Action::Release => return None,
        })
    }

    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Color(_) => Kind::Colors,
            Self::Deployment(_) | Self::Scaler(_) => Kind::Deployments,
            Self::Service(_) | Self::Stage(_) => Kind::Services,
            Self::Pod(_) => Kind::Pods,
            Self::Guard | Self::Budget(_) => Kind::Budgets,
        }
    }
}

impl Sim {
    /// Returns every object that a write may be about, now or soon.
    pub fn objects(&self) -> Vec<WriteTarget> {
        let own = self.spec.tiers.iter().map(|tier| spec::instance(&tier.name, &self.spec.color));
        let others = self.colors.values().flat_map(|color| color.instances.values().cloned());
        let instances: BTreeSet<InstanceName> = own.chain(others).chain(self.deps.keys().cloned()).collect();
        let mut objects: Vec<WriteTarget> = instances.iter().cloned().map(WriteTarget::Deployment).collect();
        objects.extend(self.addresses().into_iter().map(|stage| WriteTarget::Stage(stage.name)));
        let shadow = |stage: &Stage| WriteTarget::Stage(service_name(&StageKey::shadow(&stage.name)));
        objects.extend(self.spec.stages.iter().map(shadow));
        objects.extend(self.pods.keys().cloned().map(WriteTarget::Pod));
        objects.extend(instances.into_iter().map(WriteTarget::Service));
        objects.push(WriteTarget::Guard);
        objects.extend(self.spec.stages.iter().map(|stage| WriteTarget::Budget(stage.name.clone())));
        objects.push(WriteTarget::Color(self.spec.color.clone()));
        objects.extend(self.colors.keys().cloned().map(WriteTarget::Color));
        objects.extend(self.hpas.keys().cloned().map(WriteTarget::Scaler));
        objects
    }

    /// Sends a write. Returns whether the operator sees a success.
    pub(super) fn submit(&mut self, action: &Action) -> bool {
        self.writes += 1;
        let object = WriteTarget::of(action);
        let refusal = object.as_ref().and_then(|object| self.refusals.get(object).copied());
        let answer = match (refusal, object.clone()) {
            (Some(Refusal::Denied), _) => false,
            (Some(Refusal::Busy(times)), Some(object)) => {
                match times {
                    0 | 1 => self.refusals.remove(&object),
                    _ => self.refusals.insert(object, Refusal::Busy(times - 1)),
                };
                false
            }
            (Some(Refusal::TimedOut), Some(object)) => {
                self.refusals.remove(&object);
                self.carry_out(action);
                false
            }
            // The operator finds that the answer is not what it wrote, and waits before it tries again.
            (Some(Refusal::Vain), _) => {
                self.log(|| format!("in vain: {action:?}"));
                false
            }
            (Some(Refusal::Rewritten), _) => self.rewrite(action),
            (..) => self.carry_out(action),
        };
        if !answer {
            self.log(|| format!("refused: {action:?}"));
        }
        if let Some(object) = object.filter(|object| self.lag(object.kind()) > 0) {
            self.operator.expects.insert(object.kind());
            self.operator.expects_until = self.now + operator::VISIBLE_WITHIN;
        }
        answer
    }

    /// Applies the change of a webhook that wants one more pod than is asked for, and drops labels from pods.
    fn rewrite(&mut self, action: &Action) -> bool {
        match action {
            Action::ApplyDeployment { instance, replicas, .. } => {
                self.carry_out(action);
                self.scale_by_other(instance, replicas.saturating_add(1));
                return false;
            }
            Action::Join { .. }
            | Action::Leave { .. }
            | Action::Mark { .. }
            | Action::TakeOut { .. }
            | Action::PutBack { .. } => {
                self.log(|| format!("in vain: {action:?}"));
                return false;
            }
            // The operator accepts any answer of the API server as current; the selector is as written.
            Action::ApplyStage { .. }
            | Action::ApplyService { .. }
            | Action::CreateColor { .. }
            | Action::ClearRetire { .. }
            | Action::ApplyScaler { .. }
            | Action::DeleteScaler { .. }
            | Action::OrphanDeployment { .. }
            | Action::DeleteReplicaSets { .. }
            | Action::Adopt { .. }
            | Action::Disown { .. }
            | Action::EndPod { .. }
            | Action::CreateCopy { .. }
            | Action::DeleteCopy { .. }
            | Action::ApplyGuard
            | Action::DeleteGuard
            | Action::ApplyBudget { .. }
            | Action::DeleteBudget { .. }
            | Action::ApplyShadow { .. }
            | Action::DeleteStage { .. }
            | Action::DeleteInstance { .. }
            | Action::DeleteColor { .. }
            | Action::Release => {}
        }
        self.carry_out(action)
    }

    /// Carries out a write, unless the API server finds a reason not to.
    pub(super) fn carry_out(&mut self, action: &Action) -> bool {
        match action {
            // A Deployment without its labels is not seen. The operator finds it by its name and labels it again.
            Action::ApplyDeployment { instance, .. } | Action::DeleteReplicaSets { instance, .. }
                if self.deps.get(instance).is_some_and(|dep| !dep.labelled && !dep.foreign) =>
            {
                self.deps.get_mut(instance).unwrap().labelled = true;
                return false;
            }
            // A Deployment that is made while a ReplicaSet of its name is being deleted makes one of another name, which adopts
            // no pod.
            Action::ApplyDeployment { instance, .. }
                if !self.deps.contains_key(instance)
                    && self.sets.get(instance).is_some_and(|sets| sets.deleting.is_some()) =>
            {
                return false;
            }
            // The planner must not delete the ReplicaSets of a Deployment that exists.
            Action::DeleteReplicaSets { instance, .. } if self.deps.contains_key(instance) => return false,
            // The pod has a controller that the decision did not know.
            Action::Adopt { pod } if !self.is_controlled_by(pod, Controller::None) => return false,
            Action::Disown { pod } | Action::EndPod { pod, .. } if !self.is_controlled_by(pod, Controller::Rainbow) => {
                return false;
            }
            // An apply of a Service that was not seen makes one, and changes none.
            Action::ApplyStage { stage, .. } if self.stages.contains_key(stage) && self.has_not_seen(stage) => {
                return false;
            }
            Action::ApplyStage { stage, .. } => {
                let wanted = self.possible_port(&self.stages, stage);
                let holds = |(name, svc): (&String, &Svc)| {
                    name != stage && matches!(svc, Svc::Ours(service) if service.node_port == wanted)
                };
                if wanted > 0 && (self.taken_ports.contains(&wanted) || self.stages.iter().any(holds)) {
                    return false;
                }
            }
            // The Service is being deleted already, and is not gone: the operator writes nothing.
            Action::DeleteStage { stage } => {
                if let Some(Svc::Ours(Service { deleting: true, .. })) = self.stages.get(&service_name(stage)) {
                    self.writes -= 1;
                    return true;
                }
            }
            _ => {}
        }
        self.log_action(action);
        self.keeping(action);
        true
    }

    /// Returns whether the decision that is being carried out has not seen a stage's Service.
    fn has_not_seen(&self, stage: &str) -> bool {
        self.decided.as_ref().is_some_and(|world| !world.stages.contains_key(&StageKey::of(stage)))
    }

    /// Returns whether a stage's Service is as it should be, its selector aside. Its port is that of the pods that it selects.
    pub(super) fn is_current(
        &self,
        spec: &Spec,
        shown: &BTreeMap<String, Svc>,
        stage: &str,
        service: &Service,
    ) -> bool {
        let user = stage.split_once('.').map_or(stage, |(user, _)| user);
        if !spec.stages.iter().any(|known| known.name == user) {
            return service.current;
        }
        service.current
            && self.target(stage, service.selects.as_ref()).is_none_or(|target| service.target == target)
            && service.node_port == self.possible_port(shown, stage)
    }

    /// Returns the node port that a stage's Service can have: its own, unless another Service has it; none as long as it has
    /// another stage's.
    fn possible_port(&self, services: &BTreeMap<String, Svc>, stage: &str) -> u32 {
        let wanted = self.node_ports.get(stage).copied().unwrap_or(0);
        let port = |svc: &Svc| match svc {
            Svc::Ours(service) => service.node_port,
            Svc::Foreign => 0,
        };
        let own = services.get(stage).map_or(0, port);
        let is_anothers = own > 0 && self.node_ports.iter().any(|(other, number)| other != stage && *number == own);
        let is_held = services.iter().any(|(name, svc)| name != stage && port(svc) == wanted);
        if is_anothers || is_held { 0 } else { wanted }
    }

    /// Returns the port of the pods that a stage's Service selects.
    fn target(&self, stage: &str, selects: Option<&Selection>) -> Option<u32> {
        let instance = match selects? {
            Selection::Instance(instance) => Some(instance),
            Selection::Members => {
                let member = self.pods.values().find(|pod| !pod.terminating && pod.member.contains_key(stage));
                member.map(|pod| &pod.instance)
            }
            Selection::Other => None,
        };
        instance.map(|instance| self.port(instance))
    }

    /// Applies a write to the cluster.
    pub(super) fn apply(&mut self, action: &Action) {
        match action {
            Action::CreateColor { color, revision, instances, entries } => {
                self.require(Rule::NoVainWrite, !self.colors.contains_key(color), || format!("{color} exists"));
                let made = Color {
                    name: color.clone(),
                    revision: *revision,
                    created: Time(self.now),
                    tiers: self.spec.tiers.clone(),
                    instances: instances.iter().cloned().collect(),
                    retire: false,
                    deadline: None,
                    deleting: false,
                    released: None,
                    retired: None,
                    entries: entries.clone(),
                    demoted: false,
                    rejected_by: None,
                    sizes: BTreeMap::new(),
                    served: None,
                    config: self.spec.config.clone(),
                    parts: Vec::new(),
                    part: Part::Shared,
                    bound: Vec::new(),
                };
                self.ages.created(&made);
                self.colors.entry(color.clone()).or_insert(made);
            }
            // Histories have no configuration, so nothing is copied.
            Action::CreateCopy { copy } | Action::DeleteCopy { copy } => {
                self.require(Rule::NoVainWrite, false, || format!("no version reads {}", copy.name));
            }
            Action::ApplyDeployment { instance, replicas, ends } => self.apply_deployment(instance, *replicas, ends),
            Action::ApplyScaler { instance, least } => self.apply_scaler(instance, *least),
            Action::DeleteScaler { instance } => self.delete_scaler(instance),
            Action::ApplyService { instance } => {
                self.require(Rule::Ownership, self.svcs.get(instance) != Some(&Svc::Foreign), || {
                    format!("Service {instance:?} is somebody else's")
                });
                let made = Svc::ours(None);
                let before = self.svcs.insert(instance.clone(), made.clone());
                self.require(Rule::NoVainWrite, before != Some(made), || format!("service {instance:?}"));
            }
            Action::ApplyStage { stage, selects, serves } => self.apply_stage(stage, selects, serves.as_deref()),
            Action::ApplyShadow { stage } => self.apply_shadow(stage),
            Action::Join { stage, pod } => {
                let (now, clock) = (self.now, self.clock().0);
                let Some(found) = self.pods.get_mut(pod) else { return };
                let before = found.member.insert(stage.clone(), Some(clock));
                found.dirty.get_or_insert(now);
                found.unseen_labels.get_or_insert(now);
                self.require(Rule::NoVainWrite, before.is_none(), || format!("{pod} is a member of {stage} already"));
            }
            Action::Leave { stage, pod } => {
                let now = self.now;
                let Some(found) = self.pods.get_mut(pod) else { return };
                let before = found.member.remove(stage);
                found.dirty.get_or_insert(now);
                found.unseen_labels.get_or_insert(now);
                self.require(Rule::NoVainWrite, before.is_some(), || format!("{pod} is no member of {stage}"));
            }
            Action::Mark { pod, mark } => {
                let now = self.now;
                let Some(found) = self.pods.get_mut(pod) else { return };
                let before = found.mark;
                (found.mark, found.marked) = (*mark, (now, before));
                self.require(Rule::NoVainWrite, before != *mark, || format!("{pod} is {mark:?}"));
                self.check_mark(pod, *mark);
            }
            Action::TakeOut { pod } => {
                let (now, clock) = (self.now, self.clock().0);
                let Some(found) = self.pods.get_mut(pod) else { return };
                let before = found.out;
                let at = before.map_or(now, |before| before.at);
                found.out = Some(Out { at, since: Some(clock) });
                found.member.clear();
                found.dirty.get_or_insert(now);
                // The endpoint controller sees the write as a whole.
                found.unseen_labels = None;
                let known = before.is_some_and(|out| out.since.is_some());
                self.require(Rule::NoVainWrite, !known, || format!("{pod} is out already"));
                let labeled = !self.unlabeled.contains(&self.pods[pod].instance);
                self.require(Rule::NoVainWrite, labeled, || format!("{pod} has no label to take off"));
            }
            Action::PutBack { pod } => {
                let now = self.now;
                let Some(found) = self.pods.get_mut(pod) else { return };
                let before = found.out.take();
                found.dirty.get_or_insert(now);
                self.require(Rule::NoVainWrite, before.is_some(), || format!("{pod} is not out"));
            }
            Action::ApplyGuard => {
                let may = matches!(self.guard, Presence::Absent | Presence::Outdated);
                self.require(Rule::NoVainWrite, may, || "guard".into());
                self.guard = Presence::Current;
            }
            Action::DeleteGuard => {
                let is_there = matches!(self.guard, Presence::Current | Presence::Outdated);
                self.require(Rule::NoVainWrite, is_there, || "no guard".into());
                let held = self.pods.values().filter(|pod| pod.mark == Mark::Held && !pod.terminating).count();
                self.require(Rule::InUse, held == 0, || "pods are held without a guard".into());
                self.guard = Presence::Absent;
            }
            Action::ApplyBudget { stage, least } => {
                let made = StageBudget::Ours { current: true, least: *least };
                let before = self.budgets.insert(stage.clone(), made);
                self.require(Rule::Ownership, before != Some(StageBudget::Foreign), || format!("budget of {stage}"));
                self.require(Rule::NoVainWrite, before != Some(made), || format!("budget of {stage}"));
            }
            Action::DeleteBudget { stage } => {
                let before = self.budgets.remove(stage);
                self.require(Rule::NoVainWrite, before.is_some(), || format!("no budget of {stage}"));
            }
            Action::ClearRetire { color } => {
                let Some(found) = self.colors.get_mut(color) else { return };
                let before = found.retire || found.deadline.is_some();
                (found.retire, found.deadline) = (false, None);
                self.require(Rule::NoVainWrite, before, || format!("clear retire of {color}"));
            }
            Action::DeleteStage { stage } => {
                let stage = &service_name(stage);
                let found = self.stages.get(stage);
                self.require(Rule::Ownership, found != Some(&Svc::Foreign), || format!("no Service of ours: {stage}"));
                // A cache that lags shows an object that is gone: a delete of that very object has no effect.
                self.require(Rule::NoVainWrite, found.is_some(), || format!("no Service: {stage}"));
                self.delete_service_of(stage);
                self.established.remove(stage);
            }
            Action::OrphanDeployment { instance } => {
                self.check_drains(instance);
                self.check_scaled(instance, None);
                let Some(dep) = self.deps.get_mut(instance) else { return };
                let was_deleting = std::mem::replace(&mut dep.deleting, true);
                self.require(Rule::NoVainWrite, !was_deleting, || format!("{instance:?} is being deleted already"));
            }
            Action::DeleteReplicaSets { instance, cascade } => {
                self.check_drains(instance);
                // ReplicaSets of a Deployment are left alone.
                if let Some(sets) = self.sets.get_mut(instance).filter(|_| !self.deps.contains_key(instance)) {
                    sets.deleting.get_or_insert(*cascade);
                }
            }
            Action::Adopt { pod } => self.pods.get_mut(pod).unwrap().controller = Controller::Rainbow,
            Action::Disown { pod } => self.pods.get_mut(pod).unwrap().controller = Controller::None,
            Action::EndPod { pod, why } => {
                let instance = self.pods[pod].instance.clone();
                self.check_callers(&instance);
                self.check_why(pod, *why);
                self.check_way_back(&instance);
                self.terminate(pod, Cause::Ours, Cause::Ours);
            }
            Action::DeleteInstance { instance } => self.delete_instance(instance),
            Action::DeleteColor { color } => {
                self.check_delete_color(color);
                let gone = self.colors.remove(color);
                self.require(Rule::NoVainWrite, gone.is_some(), || format!("no color {color}"));
            }
            Action::Release => {
                assert!(self.spec.deleting);
                self.check_nothing_left();
                self.released = true;
            }
        }
    }

    fn is_controlled_by(&self, pod: &str, controller: Controller) -> bool {
        self.pods.get(pod).is_some_and(|pod| pod.controller == controller && !pod.terminating)
    }

    fn apply_deployment(&mut self, instance: &InstanceName, replicas: u32, ends: &[(String, Why)]) {
        let before = self.deps.get(instance).map(|dep| (dep.replicas, dep.current, dep.foreign));
        self.require(Rule::Ownership, before.is_none_or(|(_, _, foreign)| !foreign), || {
            format!("Deployment {instance:?} is somebody else's")
        });
        self.require(Rule::NoVainWrite, before != Some((replicas, true, false)), || format!("deploy {instance:?}"));
        self.check_size(instance, replicas, ends);
        self.check_scaled(instance, Some(replicas));
        if before.is_some_and(|(before, ..)| before > replicas) {
            self.check_way_back(instance);
        }
        let fewer = before.is_some_and(|(before, ..)| before > replicas);
        let by_user = ends.is_empty() && (replicas > 0 || self.full(instance) == 0);
        // A write of the number that the Deployment already has makes nothing smaller.
        let same = self.deps.get(instance).filter(|dep| dep.replicas == replicas);
        let (down, writer) = match same {
            Some(dep) => (dep.down, dep.writer),
            None if by_user => (Cause::Theirs, Cause::Ours),
            None => (Cause::Ours, Cause::Ours),
        };
        let mut let_go = self.deps.get(instance).map(|dep| dep.let_go.clone()).unwrap_or_default();
        let_go.extend(ends.iter().map(|(pod, _)| pod.clone()));
        let_go.extend(self.may_go_instead(instance));
        let living = self.living();
        let dep = Dep { observed: false, down, writer, let_go, ..Dep::ours(replicas) };
        self.deps.insert(instance.clone(), dep);
        if !fewer {
            self.check_live(&living);
        }
    }

    fn apply_stage(&mut self, stage: &str, selects: &Selection, serves: Option<&str>) {
        self.require(Rule::Ownership, self.stages.get(stage) != Some(&Svc::Foreign), || {
            format!("stage {stage} is somebody else's")
        });
        let known = match self.stages.get(stage) {
            Some(Svc::Ours(service)) => service.target,
            _ => 0,
        };
        let made = Service {
            current: true,
            selects: Some(selects.clone()),
            serves: serves.map(str::to_owned),
            target: self.target(stage, Some(selects)).unwrap_or(known),
            node_port: self.possible_port(&self.stages, stage),
            deleting: matches!(self.stages.get(stage), Some(Svc::Ours(Service { deleting: true, .. }))),
        };
        let before = self.stages.insert(stage.to_owned(), Svc::Ours(made.clone()));
        self.ages.taken_back(stage, self.now);
        self.require(Rule::NoVainWrite, before != Some(Svc::Ours(made)), || format!("stage {stage}"));
        let now = self.now;
        self.stage_dirty.entry(stage.to_owned()).or_insert(now);
    }

    fn apply_shadow(&mut self, stage: &str) {
        let (key, made) = (service_name(&StageKey::shadow(stage)), Svc::ours(Some(Selection::Members)));
        let before = self.stages.insert(key.clone(), made.clone());
        self.require(Rule::Ownership, before != Some(Svc::Foreign), || format!("shadow of {stage}"));
        self.require(Rule::NoVainWrite, before != Some(made), || format!("shadow of {stage}"));
        let now = self.now;
        self.stage_dirty.entry(key).or_insert(now);
    }

    /// Deletes a Service. One whose load balancer goes slowly exists until that has gone.
    pub(super) fn delete_service_of(&mut self, stage: &str) {
        match self.stages.get_mut(stage) {
            // A shadow has no load balancer.
            Some(Svc::Ours(service)) if self.slow_deletes && !stage.ends_with(SHADOW) => service.deleting = true,
            _ => {
                self.stages.remove(stage);
            }
        }
        let now = self.now;
        self.stage_dirty.entry(stage.to_owned()).or_insert(now);
    }

    fn delete_instance(&mut self, instance: &InstanceName) {
        self.check_size(instance, 0, &[]);
        self.check_delete(instance);
        let dep = self.deps.get(instance).is_some_and(|dep| !dep.foreign);
        let svc = matches!(self.svcs.get(instance), Some(Svc::Ours(_)));
        let hpa = matches!(self.hpas.get(instance), Some(Scaler::Ours { .. }));
        if hpa {
            self.hpas.remove(instance);
        }
        // A cache that lags shows what is gone: a delete of those very objects has no effect.
        let foreign = self.deps.contains_key(instance) || self.svcs.contains_key(instance);
        let rule = if foreign { Rule::Ownership } else { Rule::NoVainWrite };
        self.require(rule, dep || svc || hpa, || format!("nothing of ours: {instance:?}"));
        if dep {
            self.delete_deployment(instance, Cause::Ours);
        }
        if svc {
            self.svcs.remove(instance);
        }
    }

    /// Deletes a Deployment, and its pods with it.
    pub(super) fn delete_deployment(&mut self, instance: &InstanceName, cause: Cause) {
        self.deps.remove(instance);
        let is_controlled = |pod: &SimPod| pod.instance == *instance && pod.controller == Controller::ReplicaSet;
        let mine = self.pods.iter().filter(|(_, pod)| is_controlled(pod) && !pod.terminating);
        for pod in mine.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            self.terminate(&pod, cause, cause);
        }
    }
}
