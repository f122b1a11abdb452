//! End of pods of the colors that leave: which pods end now.
//!
//! Entry tiers come first: a tier's pods may end when no pod that calls them is left. Then each pod ends on its own, by what is
//! known of its connections (`evidence`), so that an idle pod does not wait for a busy one. An instance that several colors share
//! ends with the last of them.
//!
//! An instance that ends as a whole is scaled to 0. An instance of which some pods hold connections loses its Deployment first
//! (`adopt`), and the planner deletes its pods one by one: a Deployment would choose the pods itself.
//!
//! An instance that only becomes smaller keeps its Deployment. The ReplicaSet deletes pods that are not ready first, then those
//! with the lowest deletion cost. Therefore the pods that may end are marked as cheap, and the Deployment asks for fewer pods
//! only when the ReplicaSet controller must have seen the mark. It does not as long as a pod that must stay is not ready and has
//! not drained, because the ReplicaSet would delete that pod first.

use std::collections::BTreeSet;

use crate::{
    Action, ChainKey, Connections, Controller, Deployment, InstanceName, Mark, Pod, Time, Why, adopt,
    dag::{Dependents, entry_first},
    draft::Draft,
    drain::Ending,
    evidence::{Clock, Verdict, has_drained, held_from, verdict},
    hash::NameSet,
    marks::holds,
    scalers,
    view::{ColorId, View},
};

/// Instance that only leaving colors have and that is not gone yet, or instance that becomes smaller.
pub(crate) struct EndingInstance<'a> {
    pub(crate) instance: &'a InstanceName,
    /// Newest color that has the instance: it is the one that drains it. For an instance that becomes smaller, the newest color
    /// that lives.
    pub(crate) color: ColorId,
    /// No pod that calls the instance is left: its own pods are next.
    pub(crate) exposed: bool,
    /// Pods of the instance may end as soon as the evidence allows.
    pub(crate) open: bool,
    /// A color that has the instance lives: the instance becomes smaller.
    pub(crate) lives: bool,
    /// Pods that stay; 0 where the whole instance ends.
    pub(crate) keeps: usize,
    /// Pods of the instance that are not being deleted, by name.
    pub(crate) pods: Vec<LeavingPod<'a>>,
}

/// Pod of an instance that ends or becomes smaller, and the verdict of the evidence on the pod.
pub(crate) struct LeavingPod<'a> {
    pub(crate) pod: &'a Pod,
    pub(crate) clock: Clock,
    pub(crate) verdict: Verdict,
}

impl LeavingPod<'_> {
    /// Returns when the pod may end, where that is known.
    fn goes_by(&self, now: Time) -> Option<Time> {
        match self.verdict {
            Verdict::Goes(_) => Some(now),
            Verdict::Settles(until) => Some(until),
            Verdict::Confirms | Verdict::Holds | Verdict::Serves => None,
        }
    }
}

/// Returns all instances on their way out, dependents before the instances that they need.
pub(crate) fn going<'a>(view: &View<'a>, ends: &[Ending], draft: &mut Draft) -> Vec<EndingInstance<'a>> {
    let dependents = Dependents::new(view);
    let mut done: NameSet<&InstanceName> = NameSet::default();
    let mut all = Vec::new();
    for id in (0..ends.len()).filter(|id| ends[*id] != Ending::Lives) {
        let color = view.colors[id];
        for tier in entry_first(color) {
            let Some(instance) = color.instances.get(&tier.name) else { continue };
            if view.count(instance).gone || draft.taken.contains(instance) || !done.insert(instance) {
                continue;
            }
            let owners = view.owners(instance);
            let Some(clock) = clock(view, ends, owners) else { continue };
            // A color whose status does not say yet that it was released does not count as released.
            if owners.iter().any(|owner| view.colors[*owner].released.is_none()) {
                continue;
            }
            let whole = owners.iter().any(|owner| ends[*owner].is_whole());
            let exposed = dependents.gone(view, instance);
            let leaver = |pod| LeavingPod { pod, clock, verdict: verdict(view, &clock, pod) };
            let mut pods: Vec<LeavingPod<'_>> = view.alive(instance).map(leaver).collect();
            pods.sort_by(|a, b| a.pod.name.cmp(&b.pod.name));
            let one =
                EndingInstance { instance, color: id, exposed, open: exposed && !whole, lives: false, keeps: 0, pods };
            if exposed {
                one.count(view, tier.counted, draft);
            }
            all.push(one);
        }
    }
    all
}

/// Returns the clock of an instance of these colors; `None` where one of them lives.
fn clock(view: &View<'_>, ends: &[Ending], owners: &[ColorId]) -> Option<Clock> {
    let of = |owner: &ColorId| Some(Clock::of(view, view.colors[*owner], ends[*owner].released()?));
    owners.iter().map(of).reduce(|one, other| Some(one?.later(other?))).flatten()
}

impl<'a> EndingInstance<'a> {
    /// Has the connections of the instance's pods counted.
    pub(crate) fn count(&self, view: &View<'_>, counted: bool, draft: &mut Draft) {
        if counted || self.pods.iter().any(|leaver| leaver.pod.connections != Connections::Uncounted) {
            draft.count.insert(self.instance.clone());
        }
        let goes = self.pods.iter().filter(|leaver| leaver.verdict != Verdict::Serves);
        let held = goes.filter_map(|leaver| held_from(view, &leaver.clock, leaver.pod));
        if let Some(next) = held.filter(|from| *from > view.now).min() {
            draft.wake(next);
        }
    }

    /// Returns the pods that end now, by name, and why.
    pub(crate) fn leaving(&self) -> impl Iterator<Item = (&'a Pod, Why)> {
        let open = self.open;
        self.pods.iter().filter_map(move |leaver| match leaver.verdict {
            Verdict::Goes(why) if open => Some((leaver.pod, why)),
            Verdict::Goes(_) | Verdict::Settles(_) | Verdict::Confirms | Verdict::Holds | Verdict::Serves => None,
        })
    }

    /// Returns whether all pods of the instance end now.
    pub(crate) fn ends_whole(&self) -> bool {
        self.open && self.keeps == 0 && self.pods.iter().all(|leaver| matches!(leaver.verdict, Verdict::Goes(_)))
    }

    /// Returns whether the Deployment asks for fewer pods than there are, and so is about to delete some.
    pub(crate) fn is_shrinking(&self, view: &View<'_>) -> bool {
        (view.count(self.instance).replicas as usize) < self.pods.len()
    }

    /// Returns the pods that must be marked as the next to end: those that end now, and those that will by the time the mark is
    /// known. The latter are marked only together, so that they do not keep each other waiting; and not where all pods will end
    /// at once.
    pub(crate) fn next(&self, view: &View<'_>) -> BTreeSet<&'a str> {
        if !self.open || self.ends_whole() {
            return BTreeSet::new();
        }
        let soon = view.now.after(view.spec.propagation);
        let goes_by = |leaver: &LeavingPod<'_>| leaver.goes_by(view.now);
        let is_marked = |leaver: &LeavingPod<'_>| leaver.pod.mark == Mark::Leaving;
        let batch = self.pods.iter().filter(|leaver| is_marked(leaver)).filter_map(goes_by).max().unwrap_or(soon);
        let whole = self.pods.iter().all(|leaver| goes_by(leaver).is_some_and(|at| at <= soon));
        let by = if whole { view.now } else { batch.min(soon) };
        let next = self.pods.iter().filter(|leaver| {
            let pending = is_marked(leaver) && goes_by(leaver).is_some_and(|at| at <= soon);
            pending || goes_by(leaver).is_some_and(|at| at <= by)
        });
        next.map(|leaver| &*leaver.pod.name).collect()
    }

    /// Ends the pods that may end.
    pub(crate) fn shrink(&self, view: &View<'_>, draft: &mut Draft) {
        // An autoscaler is deleted first: it could ask for pods again, or cause the end of pods that are not idle.
        if !self.open || scalers::may_scale(view, self.instance) {
            return;
        }
        self.wake(view, draft);
        for (pod, why) in self.leaving() {
            match pod.controller {
                Controller::ReplicaSet => {}
                Controller::None if self.lives => draft.act(self.chain(), Action::Adopt { pod: pod.name.to_string() }),
                Controller::None => {}
                Controller::Rainbow => adopt::end(pod, why, draft),
            }
        }
        if self.lives {
            self.ask_for_fewer(view, draft);
        } else {
            self.let_go(view, draft);
        }
    }

    /// Scales an instance that drains to 0 where all of it ends. An instance of which some pods hold connections loses its
    /// Deployment.
    fn let_go(&self, view: &View<'_>, draft: &mut Draft) {
        let is_ours = matches!(view.deployment(self.instance), Deployment::Ours { .. });
        let asked = view.count(self.instance).replicas as usize;
        let runs_alone = |leaver: &LeavingPod<'_>| leaver.pod.controller != Controller::ReplicaSet;
        if !is_ours || self.pods.iter().any(|leaver| holds(view, leaver) || runs_alone(leaver)) {
            adopt::take_over(view, self.instance, draft);
        } else if self.ends_whole() && asked > 0 {
            self.apply(0, self.ends(asked, self.leaving().collect()), draft);
        }
    }

    /// Asks the Deployment of an instance that lives for fewer pods.
    fn ask_for_fewer(&self, view: &View<'_>, draft: &mut Draft) {
        // A Deployment that is not as it should be is applied first, and asked for fewer pods after that.
        if !matches!(view.deployment(self.instance), Deployment::Ours { current: true, .. }) {
            return;
        }
        let asked = view.count(self.instance).replicas as usize;
        if self.ends_whole() {
            if asked > 0 {
                self.apply(0, self.ends(asked, self.leaving().collect()), draft);
            }
            return;
        }
        if self.stay().count() < self.keeps {
            return;
        }
        // The ReplicaSet may delete a pod that stays and is not ready instead of one that is to end and is not ready either.
        // Nothing is lost by that where the pod that stays has drained as well.
        let unready = self.stay().filter(|pod| !pod.ready);
        let waits = unready.clone().filter(|pod| !has_drained(view, pod, draft)).count();
        if waits > 0 {
            return;
        }
        let all_ready = unready.count() == 0;
        // A pod that stays must not look cheap to the ReplicaSet controller, which may not have seen a new mark yet.
        if self.stay().any(|pod| pod.mark == Mark::Leaving || !view.known(pod.marked)) {
            return;
        }
        // The ReplicaSet may delete a pod whose mark is new, or comes with this plan, instead of one whose mark must have been
        // seen.
        let next = self.next(view);
        let is_fresh = |pod: &Pod| pod.mark != Mark::Leaving || !view.known(pod.marked);
        if self.pods.iter().any(|leaver| next.contains(&*leaver.pod.name) && is_fresh(leaver.pod)) {
            return;
        }
        let known = |pod: &Pod| pod.mark == Mark::Leaving && view.known(pod.marked) && (all_ready || !pod.ready);
        let cheap: Vec<_> = self.leaving().filter(|(pod, _)| known(pod)).collect();
        let rest = self.pods.len() - cheap.len();
        if rest < asked && !cheap.is_empty() {
            self.apply(rest, self.ends(asked, cheap), draft);
        }
    }

    /// Returns the pods that do not end now.
    fn stay(&self) -> impl Iterator<Item = &'a Pod> + Clone {
        self.pods.iter().filter(|leaver| !matches!(leaver.verdict, Verdict::Goes(_))).map(|leaver| leaver.pod)
    }

    /// Returns the pods that a write ends, without those that an earlier write ends already.
    fn ends(&self, asked: usize, mut leaving: Vec<(&Pod, Why)>) -> Vec<(String, Why)> {
        let earlier = self.pods.len().saturating_sub(asked);
        leaving.sort_by_key(|(pod, _)| (pod.mark != Mark::Leaving, pod.marked, &*pod.name));
        leaving.into_iter().skip(earlier).map(|(pod, why)| (pod.name.to_string(), why)).collect()
    }

    fn apply(&self, replicas: usize, ends: Vec<(String, Why)>, draft: &mut Draft) {
        let replicas = u32::try_from(replicas).unwrap_or(u32::MAX);
        let action = Action::ApplyDeployment { instance: self.instance.clone(), replicas, ends };
        draft.act(self.chain(), action);
    }

    fn chain(&self) -> ChainKey {
        ChainKey::End(self.instance.color.to_string())
    }

    /// Wakes the planner when the evidence, a mark or the deadline lets the next pod end.
    fn wake(&self, view: &View<'_>, draft: &mut Draft) {
        let by_cost = self.lives && !self.ends_whole();
        for LeavingPod { pod, clock, verdict } in &self.pods {
            let next: Option<Time> = match verdict {
                Verdict::Goes(_) | Verdict::Serves => None,
                Verdict::Settles(until) => Some(*until),
                // A new count wakes the planner anyway.
                Verdict::Confirms | Verdict::Holds => clock.deadline,
            };
            let mark = Some(pod.marked.after(view.spec.propagation)).filter(|at| by_cost && *at > view.now);
            let before = match verdict {
                Verdict::Settles(until) if by_cost => Some(until.before(view.spec.propagation)),
                _ => None,
            };
            for at in [next, mark, before.filter(|at| *at > view.now)].into_iter().flatten() {
                draft.wake(at);
            }
        }
    }
}
