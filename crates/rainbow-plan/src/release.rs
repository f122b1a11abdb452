//! Which pods of the colors that leave go now.
//!
//! Entry tiers first: a tier's pods may go when no pod that calls them is left. Then each pod on its own, by what is known
//! of its connections (`evidence`), so that an idle pod does not wait for a busy one. An instance that several colors have
//! goes with the last of them.
//!
//! An instance that goes as a whole is scaled to 0. One of which some pods hold connections loses its Deployment first (`adopt`), and its pods
//! are deleted one by one: a Deployment would choose by itself.
//!
//! An instance that only becomes smaller keeps its Deployment, which gives up pods that are not ready first, then those that cost least. So
//! the pods that may go are marked as cheap, and fewer replicas are asked for when that mark must have been seen; and not
//! as long as a pod that has to stay is not ready, because it would be the first to be taken.

use std::collections::BTreeSet;

use crate::{
    Action, ChainKey, Connections, Controller, Deployment, InstanceName, Mark, Pod, Time, Why, adopt,
    dag::{Dependents, entry_first},
    draft::Draft,
    drain::End,
    evidence::{Clock, Verdict, has_drained, held_from, verdict},
    hash::NameSet,
    marks::holds,
    scalers,
    view::{ColorId, View},
};

/// An instance that only leaving colors have and that is not gone yet, or one that becomes smaller.
pub(crate) struct Going<'a> {
    pub(crate) instance: &'a InstanceName,
    /// The newest color that has it: it is that one's to drain. Of an instance that becomes smaller, the newest that lives.
    pub(crate) color: ColorId,
    /// No pod that calls it is left: its own pods are next.
    pub(crate) exposed: bool,
    /// Its pods may go as soon as the evidence allows.
    pub(crate) open: bool,
    /// A color that has it lives: it becomes smaller.
    pub(crate) lives: bool,
    /// Pods that stay; 0 where all of it goes.
    pub(crate) keeps: usize,
    /// Its pods that are not being deleted, by name.
    pub(crate) pods: Vec<Leaver<'a>>,
}

/// A pod of an instance that goes or becomes smaller, and what the evidence says of the pod.
pub(crate) struct Leaver<'a> {
    pub(crate) pod: &'a Pod,
    pub(crate) clock: Clock,
    pub(crate) verdict: Verdict,
}

impl Leaver<'_> {
    /// When the pod may go, as far as that is known.
    fn goes_by(&self, now: Time) -> Option<Time> {
        match self.verdict {
            Verdict::Goes(_) => Some(now),
            Verdict::Settles(until) => Some(until),
            Verdict::Confirms | Verdict::Holds | Verdict::Serves => None,
        }
    }
}

/// All instances on their way out, dependents before what they need.
pub(crate) fn going<'a>(view: &View<'a>, ends: &[End], draft: &mut Draft) -> Vec<Going<'a>> {
    let dependents = Dependents::new(view);
    let mut done: NameSet<&InstanceName> = NameSet::default();
    let mut all = Vec::new();
    for id in (0..ends.len()).filter(|id| ends[*id] != End::Lives) {
        let color = view.colors[id];
        for tier in entry_first(color) {
            let Some(instance) = color.instances.get(&tier.name) else { continue };
            if view.count(instance).gone || draft.taken.contains(instance) || !done.insert(instance) {
                continue;
            }
            let owners = view.owners(instance);
            let Some(clock) = clock(view, ends, owners) else { continue };
            // What the statuses do not say yet is not relied on.
            if owners.iter().any(|owner| view.colors[*owner].released.is_none()) {
                continue;
            }
            let whole = owners.iter().any(|owner| ends[*owner].is_whole());
            let exposed = dependents.gone(view, instance);
            let leaver = |pod| Leaver { pod, clock, verdict: verdict(view, &clock, pod) };
            let mut pods: Vec<Leaver<'_>> = view.alive(instance).map(leaver).collect();
            pods.sort_by(|a, b| a.pod.name.cmp(&b.pod.name));
            let one = Going { instance, color: id, exposed, open: exposed && !whole, lives: false, keeps: 0, pods };
            if exposed {
                one.count(view, tier.counted, draft);
            }
            all.push(one);
        }
    }
    all
}

/// When an instance of these colors may go; `None` where one of them lives.
fn clock(view: &View<'_>, ends: &[End], owners: &[ColorId]) -> Option<Clock> {
    let of = |owner: &ColorId| Some(Clock::of(view, view.colors[*owner], ends[*owner].released()?));
    owners.iter().map(of).reduce(|one, other| Some(one?.later(other?))).flatten()
}

impl<'a> Going<'a> {
    /// Has the connections of its pods counted.
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

    /// The pods that go now, by name.
    pub(crate) fn leaving(&self) -> impl Iterator<Item = (&'a Pod, Why)> {
        let open = self.open;
        self.pods.iter().filter_map(move |leaver| match leaver.verdict {
            Verdict::Goes(why) if open => Some((leaver.pod, why)),
            Verdict::Goes(_) | Verdict::Settles(_) | Verdict::Confirms | Verdict::Holds | Verdict::Serves => None,
        })
    }

    /// All its pods go now.
    pub(crate) fn ends_whole(&self) -> bool {
        self.open && self.keeps == 0 && self.pods.iter().all(|leaver| matches!(leaver.verdict, Verdict::Goes(_)))
    }

    /// A Deployment that has been asked for fewer pods than there are is about to delete some.
    pub(crate) fn is_shrinking(&self, view: &View<'_>) -> bool {
        (view.count(self.instance).replicas as usize) < self.pods.len()
    }

    /// The pods that are to be marked as the next to go: those that go now, and those that will by the time the mark is known.
    /// The latter only together, so that they do not keep each other waiting; and not where all will go at once.
    pub(crate) fn next(&self, view: &View<'_>) -> BTreeSet<&'a str> {
        if !self.open || self.ends_whole() {
            return BTreeSet::new();
        }
        let soon = view.now.after(view.spec.propagation);
        let goes_by = |leaver: &Leaver<'_>| leaver.goes_by(view.now);
        let is_marked = |leaver: &Leaver<'_>| leaver.pod.mark == Mark::Leaving;
        let batch = self.pods.iter().filter(|leaver| is_marked(leaver)).filter_map(goes_by).max().unwrap_or(soon);
        let whole = self.pods.iter().all(|leaver| goes_by(leaver).is_some_and(|at| at <= soon));
        let by = if whole { view.now } else { batch.min(soon) };
        let next = self.pods.iter().filter(|leaver| {
            let pending = is_marked(leaver) && goes_by(leaver).is_some_and(|at| at <= soon);
            pending || goes_by(leaver).is_some_and(|at| at <= by)
        });
        next.map(|leaver| &*leaver.pod.name).collect()
    }

    /// Lets the pods go that may.
    pub(crate) fn shrink(&self, view: &View<'_>, draft: &mut Draft) {
        // An autoscaler could ask for pods again, or have others ended than those that are idle: it goes first.
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

    /// Scales an instance that drains to 0 where all of it goes. One of which some pods hold connections loses its Deployment.
    fn let_go(&self, view: &View<'_>, draft: &mut Draft) {
        let is_ours = matches!(view.deployment(self.instance), Deployment::Ours { .. });
        let asked = view.count(self.instance).replicas as usize;
        let runs_alone = |leaver: &Leaver<'_>| leaver.pod.controller != Controller::ReplicaSet;
        if !is_ours || self.pods.iter().any(|leaver| holds(view, leaver) || runs_alone(leaver)) {
            adopt::take_over(view, self.instance, draft);
        } else if self.ends_whole() && asked > 0 {
            self.apply(0, self.ends(asked, self.leaving().collect()), draft);
        }
    }

    /// Asks the Deployment of an instance that lives for fewer pods.
    fn ask_for_fewer(&self, view: &View<'_>, draft: &mut Draft) {
        // A Deployment that is about to be applied as it shall be is asked for fewer pods after that.
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
        // A pod that stays and is not ready may be taken instead of one that goes and is not ready either: nothing is lost by that where
        // the pod has drained as well.
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
        // The ReplicaSet may take a pod whose mark is new, or comes with this plan, instead of one whose mark must have been seen.
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

    /// The pods that do not go now.
    fn stay(&self) -> impl Iterator<Item = &'a Pod> + Clone {
        self.pods.iter().filter(|leaver| !matches!(leaver.verdict, Verdict::Goes(_))).map(|leaver| leaver.pod)
    }

    /// The pods that a write lets go, without those that an earlier one has let go already.
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

    /// When the evidence, a mark or the deadline lets the next pod go.
    fn wake(&self, view: &View<'_>, draft: &mut Draft) {
        let by_cost = self.lives && !self.ends_whole();
        for Leaver { pod, clock, verdict } in &self.pods {
            let next: Option<Time> = match verdict {
                Verdict::Goes(_) | Verdict::Serves => None,
                Verdict::Settles(until) => Some(*until),
                // A count is news by itself.
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
