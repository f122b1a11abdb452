//! Which pods of the colors that leave go now.
//!
//! Entry tiers first: a tier's pods may go when no pod that calls them is left. Then each pod on its own, by what is known
//! of its connections (`evidence`), so that an idle pod does not wait for a busy one. An instance that several colors have
//! goes with the last of them.
//!
//! A Deployment chooses by itself which pods it gives up: first those that are not ready, then those that cost least. So
//! the pods that may go are marked as cheap, and fewer replicas are asked for when that mark must have been seen; and not
//! as long as a pod that has to stay is not ready, because it would be the first to be taken.

use std::collections::{BTreeSet, HashSet};

use crate::{
    Action, ChainKey, Connections, InstanceName, Mark, Pod, Time, Why,
    dag::{Dependents, entry_first},
    draft::Draft,
    drain::End,
    evidence::{Clock, Verdict, held_from, verdict},
    view::{ColorId, View},
};

/// An instance that only leaving colors have, and that is not gone yet.
pub(crate) struct Going<'a> {
    pub(crate) instance: &'a InstanceName,
    /// The newest color that has it: it is that one's to drain.
    pub(crate) color: ColorId,
    pub(crate) clock: Clock,
    /// No pod that calls it is left: its own pods are next.
    pub(crate) exposed: bool,
    /// Its pods may go as soon as the evidence allows.
    pub(crate) open: bool,
    /// Its pods that are not being deleted, by name, and what the evidence says of each.
    pub(crate) pods: Vec<(&'a Pod, Verdict)>,
}

/// All instances on their way out, dependents before what they need.
pub(crate) fn going<'a>(view: &View<'a>, ends: &[End], draft: &mut Draft) -> Vec<Going<'a>> {
    let dependents = Dependents::new(view);
    let mut done: HashSet<&InstanceName> = HashSet::new();
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
            let whole = owners.iter().any(|owner| matches!(ends[*owner], End::Settles { .. }));
            let exposed = dependents.gone(view, instance);
            let mut pods: Vec<(&Pod, Verdict)> = view
                .pods(instance)
                .iter()
                .filter(|pod| !pod.terminating)
                .map(|pod| (*pod, verdict(view, &clock, pod)))
                .collect();
            pods.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
            if exposed {
                let counted = pods.iter().any(|(pod, _)| pod.connections != Connections::Uncounted);
                if counted || tier.counted {
                    draft.count.insert(instance.clone());
                }
                let held = pods.iter().filter_map(|(pod, _)| held_from(view, &clock, pod));
                if let Some(next) = held.filter(|from| *from > view.now).min() {
                    draft.wake(next);
                }
            }
            all.push(Going { instance, color: id, clock, exposed, open: exposed && !whole, pods });
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
    /// The pods that go now, by name.
    pub(crate) fn leaving(&self) -> impl Iterator<Item = (&'a Pod, Why)> {
        let open = self.open;
        self.pods.iter().filter_map(move |(pod, verdict)| match verdict {
            Verdict::Goes(why) if open => Some((*pod, *why)),
            _ => None,
        })
    }

    /// All its pods go now.
    pub(crate) fn ends_whole(&self) -> bool {
        self.open && self.pods.iter().all(|(_, verdict)| matches!(verdict, Verdict::Goes(_)))
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
        let soon = view.now.after(view.spec().propagation);
        let goes_by = |verdict: &Verdict| match verdict {
            Verdict::Goes(_) => Some(view.now),
            Verdict::Settles(until) => Some(*until),
            Verdict::Confirms | Verdict::Holds => None,
        };
        let marked = self.pods.iter().filter(|(pod, _)| pod.mark == Mark::Leaving);
        let batch = marked.filter_map(|(_, verdict)| goes_by(verdict)).max().unwrap_or(soon);
        let whole = self.pods.iter().all(|(_, verdict)| goes_by(verdict).is_some_and(|at| at <= soon));
        let by = if whole { view.now } else { batch.min(soon) };
        let next = self.pods.iter().filter(|(pod, verdict)| {
            let pending = pod.mark == Mark::Leaving && goes_by(verdict).is_some_and(|at| at <= soon);
            pending || goes_by(verdict).is_some_and(|at| at <= by)
        });
        next.map(|(pod, _)| pod.name.as_str()).collect()
    }

    /// Lets the pods go that may.
    pub(crate) fn shrink(&self, view: &View<'_>, draft: &mut Draft) {
        if !self.open {
            return;
        }
        self.wake(view, draft);
        let asked = view.count(self.instance).replicas as usize;
        if self.ends_whole() {
            if asked > 0 {
                self.apply(0, self.ends(asked, self.leaving().collect()), draft);
            }
            return;
        }
        if self.stay().any(|pod| !pod.ready) {
            return;
        }
        // A pod that stays must not look cheap to the ReplicaSet controller, which may not have seen a new mark yet.
        if self.stay().any(|pod| pod.mark == Mark::Leaving || !view.known(pod.marked)) {
            return;
        }
        let known = |pod: &Pod| pod.mark == Mark::Leaving && view.known(pod.marked);
        let cheap: Vec<_> = self.leaving().filter(|(pod, _)| known(pod)).collect();
        let rest = self.pods.len() - cheap.len();
        if rest < asked && !cheap.is_empty() {
            self.apply(rest, self.ends(asked, cheap), draft);
        }
    }

    /// The pods that do not go now.
    fn stay(&self) -> impl Iterator<Item = &'a Pod> {
        self.pods.iter().filter(|(_, verdict)| !matches!(verdict, Verdict::Goes(_))).map(|(pod, _)| *pod)
    }

    /// The pods that a write lets go, without those that an earlier one has let go already.
    fn ends(&self, asked: usize, mut leaving: Vec<(&Pod, Why)>) -> Vec<(String, Why)> {
        let earlier = self.pods.len().saturating_sub(asked);
        leaving.sort_by_key(|(pod, _)| (pod.mark != Mark::Leaving, pod.marked, pod.name.as_str()));
        leaving.into_iter().skip(earlier).map(|(pod, why)| (pod.name.clone(), why)).collect()
    }

    fn apply(&self, replicas: usize, ends: Vec<(String, Why)>, draft: &mut Draft) {
        let replicas = u32::try_from(replicas).unwrap_or(u32::MAX);
        let action = Action::ApplyDeployment { instance: self.instance.clone(), replicas, ends };
        draft.act(ChainKey::End(self.instance.color.clone()), action);
    }

    /// When the evidence, a mark or the deadline lets the next pod go.
    fn wake(&self, view: &View<'_>, draft: &mut Draft) {
        let by_cost = !self.ends_whole();
        for (pod, verdict) in &self.pods {
            let next: Option<Time> = match verdict {
                Verdict::Goes(_) => None,
                Verdict::Settles(until) => Some(*until),
                // A count is news by itself.
                Verdict::Confirms | Verdict::Holds => self.clock.deadline,
            };
            let mark = Some(pod.marked.after(view.spec().propagation)).filter(|at| by_cost && *at > view.now);
            let before = match verdict {
                Verdict::Settles(until) if by_cost => Some(until.before(view.spec().propagation)),
                _ => None,
            };
            for at in [next, mark, before.filter(|at| *at > view.now)].into_iter().flatten() {
                draft.wake(at);
            }
        }
    }
}
