//! Checks of what a write must not change: the pods that a stage selects, the share that is held, and which tiers reach which.

use rainbow_plan::*;

use super::*;

/// Share that is held.
#[derive(Clone, Debug)]
pub struct Held {
    /// Instance that the stage came from, or was rolled back to.
    from: InstanceName,
    /// Pods of other instances that the stage selected when the hold began.
    moved: u32,
    /// Pods that the stage wanted when the hold began.
    of: u32,
}

impl Sim {
    /// Returns the pods that a stage's Service selects and that answer, by the API: its endpoints to be.
    pub fn answering(&self, stage: &str) -> Vec<&SimPod> {
        let Some(Svc::Ours(service)) = self.stages.get(stage) else { return Vec::new() };
        let answers = |pod: &&SimPod| pod.ready && !pod.terminating && self.port(&pod.instance) == service.target;
        self.selected_pods(stage).filter(answers).collect()
    }

    /// Returns the pods that a stage's Service selects.
    fn selected_pods(&self, stage: &str) -> impl Iterator<Item = &SimPod> {
        let selected = self.selected(stage);
        self.pods.values().filter(move |pod| match selected {
            Some(Selection::Instance(instance)) => pod.instance == *instance && pod.out.is_none(),
            Some(Selection::Members) => pod.member.contains_key(stage),
            Some(Selection::Other) | None => false,
        })
    }

    /// Returns the instance that a stage should serve, as the spec says.
    fn goal(&self, stage: &Stage) -> Option<InstanceName> {
        let color = match (spec::told(stage).0, stage.promote) {
            (Some(color), _) => color,
            (None, Promote::Auto) if self.invalid => self.memory.color.as_ref()?,
            (None, Promote::Auto) => &self.spec.color,
            (None, Promote::Manual) => return None,
        };
        self.entry(stage, self.colors.get(color)?)
    }

    /// Returns the number of pods that a stage wants: its own size, else the size of the color that it serves or should serve,
    /// the smaller one while it moves from one to the other. A size is the last one that the spec had for that version.
    pub fn wanted(&self, stage: &Stage) -> u32 {
        let answering = self.answering(&stage.name).into_iter().map(|pod| pod.instance.clone());
        // Another tier that another writer points the Service at says nothing of how many pods the stage wants.
        let answering = answering.filter(|instance| self.is_of_tier(stage, instance));
        let serving = self.serving_color(&stage.name).and_then(|color| self.colors.get(color));
        let serving = serving.and_then(|color| self.entry(stage, color));
        // A color that another writer scales has as many pods as the one that serves when its first pod serves, and may be
        // smaller before.
        let goal = self.goal(stage).filter(|goal| !self.is_scaled(goal));
        let instances = answering.chain(serving).chain(goal);
        let size = |instance: InstanceName| {
            let told = || self.asked.get(&self.identity(&instance)).copied();
            self.scaled_size(&instance).or_else(told).unwrap_or(u32::MAX)
        };
        // Before the first color is made, the spec has the size.
        let size = instances.map(size).min().unwrap_or_else(|| self.newest_size(&spec::entry(&self.spec.tiers, stage)));
        stage.replicas.map_or(size, |replicas| replicas.min(size))
    }

    /// Returns the same where some node may still have the endpoints of an earlier version, which had fewer pods.
    pub(super) fn wants_at_least(&self, stage: &Stage) -> u32 {
        let past = self.past.get(&stage.name).into_iter().flatten().map(|(_, pods)| pods);
        let sets = self.endpoints.get(&stage.name).into_iter().chain(past);
        let sizes = sets.flatten().filter_map(|pod| self.pods.get(pod)).map(|pod| self.full(&pod.instance));
        let size = sizes.chain([self.wanted(stage)]).min().unwrap_or(0);
        stage.replicas.map_or(size, |replicas| replicas.min(size))
    }

    /// The stage's clients reach this instance in a color; so they may where no color has it.
    pub(super) fn is_of_tier(&self, stage: &Stage, instance: &InstanceName) -> bool {
        let mut owners = self.owners(instance).peekable();
        owners.peek().is_none() || owners.any(|color| self.entry(stage, color).as_ref() == Some(instance))
    }

    fn newest_size(&self, tier: &str) -> u32 {
        self.spec.tiers.iter().find(|known| known.name == tier).map_or(u32::MAX, |tier| tier.replicas)
    }

    /// Returns how many pods answer, and how many the stage wants, by stage.
    fn coverage(&self) -> Vec<(String, u32, u32)> {
        if !self.watches(Rule::KeepsPods) || self.spec.deleting {
            return Vec::new();
        }
        let covered =
            |stage: &Stage| (stage.name.clone(), self.answering(&stage.name).len() as u32, self.wanted(stage));
        self.addresses().iter().filter(|stage| self.is_used(&stage.name)).map(covered).collect()
    }

    /// Carries out a write of ours and checks its effect: it must not take pods from a stage that no user asked to take.
    pub(super) fn keeping(&mut self, action: &Action) {
        let before = self.coverage();
        let shares = self.shares();
        self.apply(action);
        self.check_coverage(&before, || format!("{action:?}"));
        self.check_holds(action, &shares);
        self.check_mixing(action);
        self.check_tiers();
    }

    /// Carries out what a controller does because of us, and checks the effect.
    pub(super) fn keeping_while<T>(&mut self, what: &str, act: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.coverage();
        let done = act(self);
        self.check_coverage(&before, || what.to_owned());
        done
    }

    fn check_coverage(&self, before: &[(String, u32, u32)], what: impl Fn() -> String) {
        for (stage, before, wanted) in before {
            let after = self.answering(stage).len() as u32;
            self.require(Rule::KeepsPods, after >= *before.min(wanted), || {
                format!("{} takes stage {stage} from {before} to {after} of {wanted} pods", what())
            });
        }
    }

    /// Returns whether the stage is to go back to a color that is older than the one that it serves.
    pub(super) fn is_taken_back(&self, stage: &str) -> bool {
        let pin = self.spec.stages.iter().find(|known| known.name == stage).and_then(|stage| spec::told(stage).0);
        let revision = |color: &String| self.colors.get(color).map(|color| color.revision);
        let has_served = |color: &&Color| color.served.as_ref().is_some_and(|stages| stages.contains(stage));
        // Where the status is lost, only the records of which colors have served are known.
        let newest_served = || self.colors.values().filter(has_served).map(|color| color.revision).max();
        let serving = self.serving_color(stage).and_then(revision).or_else(newest_served);
        pin.and_then(revision).is_some_and(|pin| serving > Some(pin))
    }

    fn serving_color(&self, stage: &str) -> Option<&String> {
        let memory = match stage.split_once('.') {
            Some((user, tier)) => self.memory.stages.get(user)?.tiers.get(tier),
            None => self.memory.stages.get(stage),
        };
        memory.and_then(|memory| memory.color.as_ref())
    }

    /// Records that the user holds a stage: at the color that it is taken back to, else between the color that it serves and
    /// another one.
    pub(super) fn hold(&mut self, stage: &str) {
        let serving = self.serving_color(stage).cloned();
        let pin =
            self.spec.stages.iter().find(|known| known.name == stage).and_then(|stage| spec::told(stage).0.cloned());
        // A stage cannot go to a color that is being deleted.
        let is_deleted = |color: &String| self.colors.get(color).is_some_and(|color| color.deleting);
        let goes_back = self.is_taken_back(stage) && !pin.as_ref().is_some_and(is_deleted);
        let color = if goes_back { pin } else { serving };
        let Some(found) = self.spec.stages.iter().find(|known| known.name == stage) else { return };
        let color = color.and_then(|color| self.colors.get(&color));
        let Some(from) = color.and_then(|color| self.entry(found, color)) else { return };
        // Where another writer has taken the Service away, the share is the one in the status.
        let of = self.wanted(found).max(1);
        let memory = self.memory.stages.get(stage);
        // Where the status is lost, a way back is one from a newer color.
        let is_lost = memory.is_none_or(|memory| memory.color.is_none());
        let differs = memory.is_some_and(|memory| memory.color.as_deref() != Some(&*from.color));
        let serves_another = if is_lost { goes_back } else { differs };
        let labelled = || {
            let moved = |pod: &&SimPod| pod.member.contains_key(stage) && pod.instance != from && !pod.terminating;
            self.pods.values().filter(moved).filter(|pod| pod.ready).count() as u32
        };
        let told = || match memory.and_then(|memory| memory.shift.as_ref()) {
            _ if serves_another => of,
            // The status tells of the newest color alone; labels tell of another one that a shift of three colors has brought.
            Some(shift) => shift.moved.max(labelled()),
            None => 0,
        };
        let moved = match self.selected(stage) {
            // All pods have moved, ready or not.
            Some(Selection::Instance(instance)) if *instance != from => of,
            // The stage is told to go back to an older color than the one that the shift comes from, and nothing of it serves.
            Some(Selection::Members) if serves_another && self.selected_pods(stage).all(|pod| pod.instance != from) => {
                of
            }
            Some(Selection::Instance(_) | Selection::Members) => self.moved(stage, &from),
            Some(Selection::Other) | None => told(),
        };
        let held = Held { moved, of, from };
        self.held.insert(stage.to_owned(), held);
    }

    /// Adds to a held share: another writer has put the stage's label on a pod.
    pub(super) fn hold_more(&mut self, stage: &str) {
        let Some(from) = self.held.get(stage).map(|held| held.from.clone()) else { return };
        let labelled = |pod: &&SimPod| pod.member.contains_key(stage) && pod.instance != from;
        let moved = self.pods.values().filter(labelled).count() as u32;
        self.held.entry(stage.to_owned()).and_modify(|held| held.moved = held.moved.max(moved));
    }

    /// Adds to a held share all pods of an instance that another writer has pointed the stage's Service at: they may serve until
    /// that is reverted.
    pub(super) fn hold_selected(&mut self, stage: &str, instance: &InstanceName) {
        let pods = self.pods.values().filter(|pod| pod.instance == *instance).count() as u32;
        if let Some(held) = self.held.get_mut(stage).filter(|held| held.from != *instance) {
            held.moved = held.moved.max(pods);
        }
    }

    /// Returns how many ready pods of another instance the stage's Service selects. A pod that another writer has taken out of
    /// the Services is among them: putting it back moves nothing.
    fn moved(&self, stage: &str, from: &InstanceName) -> u32 {
        let selects = |pod: &&SimPod| match self.selected(stage) {
            Some(Selection::Instance(instance)) => pod.instance == *instance,
            Some(Selection::Members) => pod.member.contains_key(stage),
            Some(Selection::Other) | None => false,
        };
        let ready = |pod: &&SimPod| pod.ready && !pod.terminating;
        self.pods.values().filter(selects).filter(ready).filter(|pod| pod.instance != *from).count() as u32
    }

    /// Returns the pods that are moved, by stage whose share is held.
    fn shares(&self) -> BTreeMap<String, u32> {
        self.held.iter().map(|(stage, held)| (stage.clone(), self.moved(stage, &held.from))).collect()
    }

    /// Checks that no write moves a held share forward, as long as the color that the stage came from has a pod that serves.
    fn check_holds(&self, action: &Action, before: &BTreeMap<String, u32>) {
        for (stage, held) in &self.held {
            let Some(found) = self.spec.stages.iter().find(|known| known.name == *stage) else { continue };
            // A cache may not show the hold yet, and a late write was decided before.
            let decided =
                self.decided.as_ref().and_then(|world| world.spec.stages.iter().find(|known| known.name == *stage));
            let invalid = self.invalid_stages.contains(stage);
            let is_known = |decided: &Stage| (spec::told(decided), decided.invalid) == (spec::told(found), invalid);
            if !decided.is_some_and(is_known) {
                continue;
            }
            let moved = self.moved(stage, &held.from);
            let serves = |pod: &&SimPod| pod.instance == held.from && pod.ready && !pod.terminating;
            let of = self.wanted(found);
            // Rounded up: a pod is moved or it is not.
            let share = (held.moved * of).div_ceil(held.of).max(held.moved.min(of));
            // All pods have moved: then the Service selects the instance, which may have more pods than the stage wants.
            let most = if held.moved >= held.of { u32::MAX } else { share };
            // Nothing can be reported of a color that was taken away by force.
            let remains = self.owners(&held.from).next().is_some() && self.pods.values().any(|pod| serves(&pod));
            self.require(Rule::Hold, moved <= most.max(before[stage]) || !remains, || {
                format!("{action:?} moves {moved} pods of stage {stage}, which holds {held:?}")
            });
        }
    }

    /// Checks that a stage selects entry tiers, or the tier that it names, and takes over no other Service.
    fn check_mixing(&self, action: &Action) {
        let Action::ApplyStage { stage, selects, .. } = action else { return };
        if let Selection::Instance(instance) = selects {
            let found = self.spec.stages.iter().find(|known| known.name == *stage);
            let needs =
                |color: &Color| color.tiers.iter().any(|tier| tier.needs.iter().any(|need| *need == *instance.tier));
            let names_it =
                |color: &Color| found.is_some_and(|stage| self.entry(stage, color).as_ref() == Some(instance));
            let inner = self.owners(instance).any(|color| needs(color) && !names_it(color));
            self.require(Rule::NoMixing, !inner, || {
                format!("stage {stage} is pointed at {instance:?}, which is behind another tier")
            });
        }
        let tier = self
            .spec
            .stages
            .iter()
            .find(|known| known.name == *stage)
            .map(|stage| spec::entry(&self.spec.tiers, stage));
        let service = tier.map(|tier| spec::instance(&tier, stage));
        let taken = service.filter(|service| matches!(self.svcs.get(service), Some(Svc::Ours(_))));
        self.require(Rule::NoMixing, taken.is_none(), || format!("stage {stage} takes the Service {taken:?} over"));
    }

    /// Checks that every stage that served has again the pods that it wants, once pods have had the time to start.
    pub fn check_refilled(&self) {
        for stage in &self.spec.stages {
            let instances: BTreeSet<&InstanceName> = match self.selected(&stage.name) {
                Some(Selection::Instance(instance)) => [instance].into(),
                Some(Selection::Members) => self.selected_pods(&stage.name).map(|pod| &pod.instance).collect(),
                Some(Selection::Other) | None => continue,
            };
            let able =
                |instance: &InstanceName| !self.is_one_of(&self.broken, instance) && self.deps.contains_key(instance);
            let is_whole = |color: &Color| color.instances.values().all(able);
            let whole = instances.iter().all(|instance| self.owners(instance).any(is_whole));
            let (now, wanted) = (self.answering(&stage.name).len() as u32, self.wanted(stage));
            assert!(
                now >= wanted || !whole,
                "stage {} has {now} of {wanted} pods for good\n{}",
                stage.name,
                self.trace.join("\n")
            );
        }
    }
}

impl Sim {
    /// Returns what serves: by stage, the port and the number of pods by instance. A stage that selects members is on its way.
    pub fn serving(&self) -> BTreeMap<String, BTreeMap<InstanceName, usize>> {
        let by_instance = |stage: &Stage| {
            let mut pods: BTreeMap<InstanceName, usize> = BTreeMap::new();
            for pod in self.answering(&stage.name) {
                *pods.entry(pod.instance.clone()).or_default() += 1;
            }
            (stage.name.clone(), pods)
        };
        self.spec.stages.iter().map(by_instance).collect()
    }

    /// Pins every stage to the color that it serves.
    pub fn pin_all(&mut self) {
        for stage in &mut self.spec.stages {
            let serving = self.memory.stages.get(&stage.name).and_then(|memory| memory.color.clone());
            stage.color = serving.filter(|color| self.colors.contains_key(color));
            (stage.promote, stage.paused, stage.hold) = (Promote::Manual, false, None);
        }
    }

    /// Removes all pauses between tiers.
    pub fn pause_nowhere(&mut self) {
        self.spec.stages.iter_mut().for_each(|stage| stage.between = Between::Nothing);
    }

    /// Returns whether writes to the stage's Service, or to a pod, are refused.
    pub fn is_refused(&self, stage: &str) -> bool {
        let about = |object: &WriteTarget| match object {
            WriteTarget::Stage(name) => name == stage,
            WriteTarget::Pod(_) => true,
            WriteTarget::Color(_)
            | WriteTarget::Deployment(_)
            | WriteTarget::Scaler(_)
            | WriteTarget::Service(_)
            | WriteTarget::Guard
            | WriteTarget::Budget(_) => false,
        };
        self.refusals.keys().any(about)
    }

    /// Returns whether the budget of a stage that is held keeps the pod from being evicted.
    pub(super) fn is_kept_by_a_budget(&self, pod: &str) -> bool {
        self.pods[pod].member.keys().any(|stage| {
            let Some(StageBudget::Ours { least, .. }) = self.budgets.get(stage) else { return false };
            let healthy = |pod: &&SimPod| pod.member.contains_key(stage) && pod.ready && !pod.terminating;
            self.pods.values().filter(healthy).count() as u32 <= *least
        })
    }

    /// Returns whether the stage has moved, and its labels of the shift are not off yet.
    pub fn is_finishing(&self, stage: &str) -> bool {
        let labeled = || self.pods.values().any(|pod| pod.member.contains_key(stage));
        matches!(self.selected(stage), Some(Selection::Instance(_))) && labeled()
    }

    /// Returns whether the stage serves the color, selects pods of it, or points at it before it has any.
    pub fn touches(&self, stage: &str, color: &str) -> bool {
        let of_color = |instance: &InstanceName| self.owners(instance).any(|owner| owner.name == color);
        let points = matches!(self.selected(stage), Some(Selection::Instance(instance)) if of_color(instance));
        points
            || self.serving_color(stage).is_some_and(|serving| serving == color)
            || self.selected_pods(stage).any(|pod| of_color(&pod.instance))
    }

    /// Refreshes every cache; no own write is waited for.
    pub fn refresh_all(&mut self) {
        Kind::ALL.into_iter().for_each(|kind| self.refresh(kind));
    }

    /// Returns whether the stage has members of this instance: the next step waits for the data plane.
    pub fn is_on_its_way(&self, stage: &str, instance: &InstanceName) -> bool {
        let member = |pod: &SimPod| pod.member.contains_key(stage) && pod.instance == *instance;
        self.pods.values().any(member)
    }
}
