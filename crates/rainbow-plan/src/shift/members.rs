//! Exchange of members, pod by pod.
//!
//! Three rules, each of which is safe on its own after any crash and any loss:
//!
//! - **Out**: the stage keeps as many old pods that the data plane knows as it lacks of new pods that have arrived there.
//! - **In**: when the step before is done and `every` has passed, `step` more new pods join.
//! - **Gaps**: where pods were lost and fewer are ready than the stage wants, spare ready pods join at once, paused or not.
//!   Spares of the colors that the stage comes from join first as long as one of their pods is a member: a gap never moves the
//!   share forward. Spares of the new color join when there are no others. A paused stage waits for pods of the colors that it
//!   comes from rather than move its share, as long as one of their members serves. On a way back, spares of
//!   the color that the stage goes to join first.

use std::collections::BTreeSet;

use super::{Pace, Progress, Shifter, may_leave};
use crate::{
    Pod, Selection, ShiftPhase, Swap, Time,
    draft::Draft,
    view::{ColorId, serves},
};

/// Members of a stage, by the color that they belong to.
struct Members<'a> {
    /// Members of the color that the stage moves to.
    new: Vec<&'a Pod>,
    /// Members of all other colors.
    old: Vec<&'a Pod>,
}

impl<'a> Shifter<'_, 'a> {
    /// Decides the next move while the Service selects members.
    pub(super) fn exchange(&self, draft: &mut Draft) -> Progress {
        let is_new = |pod: &&Pod| self.target.instance == Some(&pod.instance);
        let (new, old) = self.situation.members.iter().partition(|pod| is_new(pod));
        let members = Members { new, old };
        let moved = members.new.iter().filter(|pod| serves(pod) && self.endpoint(pod).is_some()).count();
        let mut progress = Progress {
            phase: Some(ShiftPhase::Shifting),
            from: self.target.color.and_then(|_| self.largest_old(&members)),
            to: self.newest_member(),
            starts: false,
            ended: false,
            moved: u32::try_from(moved).unwrap_or(u32::MAX),
            next_step: None,
            step: self.permission.step,
        };
        if self.finished(&members) {
            if let Some(target) = self.target.instance {
                self.select(Selection::Instance(target.clone()), draft);
            }
            progress.phase = Some(ShiftPhase::Finishing);
            return progress;
        }
        let leaving = self.out(&members, draft);
        let mut joining: BTreeSet<&str> = BTreeSet::new();
        match self.target.pace {
            Pace::Hold => {
                progress.phase = Some(match (self.target.held_by_pause, members.new.is_empty()) {
                    (true, _) => ShiftPhase::Paused,
                    (false, true) => ShiftPhase::Preparing,
                    // Some pods of the new color serve; the next step waits until the whole color is ready again.
                    (false, false) => ShiftPhase::Shifting,
                });
            }
            Pace::AtOnce => joining.extend(self.spares_of_target(&members, u32::MAX)),
            Pace::Steps { step, every } => {
                let due = self.last_step(&members).map_or(self.view.now, |last| last.after(every));
                let ready_new = members.new.iter().filter(|pod| serves(pod)).count();
                let room = (self.permission.limit as usize).saturating_sub(members.new.len());
                if room == 0 || (ready_new >= self.of as usize && !self.may_move_all()) {
                    progress.phase = self.waiting_phase().or(progress.phase);
                    progress.next_step = self.permission.until;
                } else if ready_new < self.of as usize {
                    progress.next_step = Some(due);
                    let settled = leaving == 0 && members.new.iter().all(|pod| !serves(pod) || self.arrived(pod));
                    if settled && due <= self.view.now {
                        let room = u32::try_from(room).unwrap_or(u32::MAX);
                        joining.extend(self.spares_of_target(&members, step.min(room)));
                    } else if due > self.view.now {
                        draft.wake(due);
                    }
                }
            }
        }
        self.fill(&members, &mut joining, leaving);
        for pod in joining {
            self.join(pod, draft);
        }
        self.wake_for(&members, draft);
        progress
    }

    /// Returns since when the pod is seen among the stage's endpoints.
    pub(super) fn endpoint(&self, pod: &Pod) -> Option<Time> {
        pod.endpoint.get(&self.situation.key).copied()
    }

    /// Returns whether the pod serves and the data plane knows it as an endpoint.
    pub(super) fn known_endpoint(&self, pod: &Pod) -> bool {
        serves(pod) && self.endpoint(pod).is_some_and(|since| self.sent_to_at(since) <= self.view.now)
    }

    /// Returns when those that send the stage's clients to pods know an endpoint that has been one since this time.
    pub(super) fn sent_to_at(&self, since: Time) -> Time {
        self.view.sent_to_at(&self.situation.key, since)
    }

    /// Returns whether the data plane knows the member as an endpoint because of its label. The endpoint may be left over from an
    /// earlier selector of the Service, so a member that joined only now counts when its label must have been seen, too.
    fn knows(&self, pod: &Pod) -> bool {
        self.known_endpoint(pod) && self.view.known(pod.labelled)
    }

    /// Returns whether the new member can take the place of an old one.
    ///
    /// Where the data plane replaces sets of endpoints one after the other, each as a whole, a new member can do so as soon as it
    /// is seen in one set: every later set has it, and a node that still has an earlier set has the old pods, which continue to
    /// run. An endpoint from before the pod joined proves nothing; then the data plane must know the endpoint.
    pub(super) fn arrived(&self, pod: &Pod) -> bool {
        let after = |since: Time| self.joined(pod).is_some_and(|joined| since >= joined.max(pod.labelled));
        let seen = || self.endpoint(pod).is_some_and(after);
        self.knows(pod) || (self.swap() == Swap::Direct && serves(pod) && seen())
    }

    /// Returns whether only new pods are members and endpoints, and there are enough of them, or no spare pod is left that could
    /// help.
    fn finished(&self, members: &Members<'_>) -> bool {
        if !members.old.is_empty() || self.target.instance.is_none() || self.old_endpoints() || !self.may_move_all() {
            return false;
        }
        let ready = members.new.iter().filter(|pod| serves(pod)).count();
        let enough = ready >= self.of as usize;
        enough || (ready > 0 && self.spares(members, false).is_empty())
    }

    /// Returns whether a pod of another color is still an endpoint of the stage.
    fn old_endpoints(&self) -> bool {
        let colors = self.situation.touches.iter().filter_map(|color| self.situation.instance(self.view, *color));
        colors
            .filter(|instance| Some(*instance) != self.target.instance)
            .flat_map(|instance| self.view.pods(instance))
            .any(|pod| self.endpoint(pod).is_some())
    }

    /// Takes out the old members that are no longer needed. Returns how many leave.
    fn out(&self, members: &Members<'_>, draft: &mut Draft) -> usize {
        let new = members.new.iter().filter(|pod| self.arrived(pod)).count();
        let keep = self.needed_old(new);
        if members.old.iter().filter(|pod| self.knows(pod)).count() < keep {
            return 0;
        }
        // Pods that the data plane knows stay first, then those of the color that the stage serves: the fewer colors serve at
        // once the better.
        let mut old = members.old.clone();
        old.sort_by_key(|pod| {
            let serving = self.situation.serving.is_some_and(|color| self.situation.is_of(self.view, pod, color));
            (!self.knows(pod), !serving, &*pod.name)
        });
        let leaving = old[keep.min(old.len())..].iter().filter(|pod| self.may_leave_color_of(pod));
        leaving.map(|pod| self.leave(&pod.name, draft)).count()
    }

    fn may_leave_color_of(&self, pod: &Pod) -> bool {
        self.situation.owner(self.view, &pod.instance).is_none_or(|color| may_leave(self.view, color))
    }

    /// Returns when the step before was taken. A member whose time is unreadable counts from when it was seen among the
    /// endpoints.
    fn last_step(&self, members: &Members<'_>) -> Option<Time> {
        members.new.iter().filter_map(|pod| self.joined(pod).or_else(|| self.endpoint(pod))).max()
    }

    /// Returns the ready pods of the new color that may join in one step.
    fn spares_of_target(&self, members: &Members<'_>, step: u32) -> Vec<&'a str> {
        let ready = members.new.iter().filter(|pod| serves(pod)).count();
        let room = (self.of as usize).saturating_sub(ready).min(step as usize);
        self.spares(members, true).into_iter().take(room).collect()
    }

    /// Returns the ready pods that are no members, by name: of the new color, or of the colors that the stage comes from.
    fn spares(&self, members: &Members<'_>, new: bool) -> Vec<&'a str> {
        let stage = &self.situation.stage.name;
        let instances: BTreeSet<_> = if new {
            self.target.instance.into_iter().collect()
        } else {
            let serving = self.situation.serving.and_then(|color| self.situation.instance(self.view, color));
            let others = members.old.iter().map(|pod| &pod.instance).chain(serving);
            others.filter(|instance| Some(*instance) != self.target.instance).collect()
        };
        let instances = instances.into_iter().filter(|instance| self.joins_members(instance));
        let pods = instances.flat_map(|instance| self.view.pods(instance));
        let joins = |pod: &Pod| if new { self.view.is_available(pod) } else { serves(pod) };
        let mut spares: Vec<&str> =
            pods.filter(|pod| joins(pod) && !pod.member.contains_key(stage)).map(|pod| &*pod.name).collect();
        spares.sort_unstable();
        spares
    }

    /// Replaces lost pods.
    fn fill(&self, members: &Members<'a>, joining: &mut BTreeSet<&'a str>, leaving: usize) {
        let ready = |pods: &[&Pod]| pods.iter().filter(|pod| serves(pod)).count();
        let (new, old) = (ready(&members.new), ready(&members.old));
        let gap = self.needed_old(new + joining.len()).saturating_sub(old);
        // When pods leave now, the stage that they leave is full.
        if gap == 0 || leaving > 0 {
            return;
        }
        // Steps and gates keep the share as a pause does.
        let is_held = (self.target.held_by_pause && self.target.pace == Pace::Hold) || self.is_at_limit(members);
        let old_first = self.target.pace != Pace::AtOnce && (is_held || !members.old.is_empty());
        // A hold waits for the replacements of old pods as long as one of the old members serves. A way back waits for the
        // replacements of the color that it goes to.
        let has_target = new > 0 || !joining.is_empty();
        // So it does for one that was taken out and is put back.
        let comes_back = || self.situation.serving.is_some_and(|color| self.has_ready_outside(color));
        let waits = (is_held && (old > 0 || comes_back())) || (self.target.pace == Pace::AtOnce && has_target);
        let others = if waits { Vec::new() } else { self.spares(members, old_first) };
        let mut spares = self.spares(members, !old_first);
        if is_held {
            self.keep_serving(&mut spares);
        }
        let spares = spares.into_iter().chain(others);
        let chosen: Vec<&str> = spares.filter(|pod| !joining.contains(pod)).take(gap).collect();
        joining.extend(chosen);
    }

    /// Returns whether steps or gates keep more pods of the new color from serving.
    fn is_at_limit(&self, members: &Members<'_>) -> bool {
        !self.may_move_all() && members.new.len() >= self.permission.limit as usize
    }

    /// Keeps only the spares of the color that the stage serves, as long as that color has a pod that serves: a held stage that
    /// comes from several colors fills gaps with this one.
    fn keep_serving(&self, spares: &mut Vec<&'a str>) {
        let serving = self.situation.serving.and_then(|color| self.situation.instance(self.view, color));
        let Some(serving) = serving.filter(|instance| self.view.ready(instance) > 0) else { return };
        let pods = self.view.pods(serving);
        spares.retain(|name| pods.iter().any(|pod| *pod.name == **name));
    }

    /// Wakes the planner when the data plane will know the members that it does not know yet.
    fn wake_for(&self, members: &Members<'_>, draft: &mut Draft) {
        let new = members.new.iter().filter(|pod| !self.arrived(pod));
        for pod in new.chain(members.old.iter().filter(|pod| !self.knows(pod))).filter(|pod| serves(pod)) {
            if let Some(since) = self.endpoint(pod) {
                draft.wake(self.sent_to_at(since).max(pod.labelled.after(self.view.spec.propagation)));
            }
        }
    }

    /// Returns the newest color with members that the stage does not serve alone: where the stage was going, when its target is
    /// lost.
    fn newest_member(&self) -> Option<ColorId> {
        let colors = self.situation.members.iter().filter_map(|pod| self.situation.owner(self.view, &pod.instance));
        let others = colors.filter(|color| Some(*color) != self.situation.serving);
        // Colors are indexed newest first.
        others.min().or(self.situation.serving)
    }

    /// Returns the color with the most old members: the report calls it the color that the shift comes from.
    fn largest_old(&self, members: &Members<'_>) -> Option<ColorId> {
        let colors: BTreeSet<ColorId> =
            members.old.iter().filter_map(|pod| self.situation.owner(self.view, &pod.instance)).collect();
        let counted = colors
            .into_iter()
            .map(|color| (members.old.iter().filter(|pod| self.situation.is_of(self.view, pod, color)).count(), color));
        counted.max().map(|(_, color)| color)
    }
}
