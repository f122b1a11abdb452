//! Start of a shift: from all pods of an instance to single pods.

use std::collections::BTreeSet;

use super::{Pace, Progress, Shifter};
use crate::{InstanceName, Pod, Selection, ShiftPhase, draft::Draft, view::serves};

impl Shifter<'_, '_> {
    /// Decides the next move while the Service selects `serving` and should select `target`.
    pub(super) fn start(&self, serving: &InstanceName, target: &InstanceName, draft: &mut Draft) -> Progress {
        if !self.target.ready {
            return Progress { phase: Some(ShiftPhase::Preparing), ..Progress::default() };
        }
        let step = match self.target.pace {
            Pace::Hold => return Progress { phase: Some(ShiftPhase::Paused), ..Progress::default() },
            Pace::Steps { step, .. } => step,
            Pace::AtOnce => u32::MAX,
        };
        let (permitted, next_step) = (self.permission.step, self.permission.until);
        let mut progress =
            Progress { phase: Some(ShiftPhase::Shifting), step: permitted, next_step, ..Progress::default() };
        let mut old = self.candidates(serving);
        if old.is_empty() && !self.view.pods(serving).iter().any(|pod| pod.endpoint.contains_key(&self.situation.key)) {
            // Without pods that serve there is nothing to exchange step by step.
            if self.may_leave_others() && self.may_move_all() {
                self.select(Selection::Instance(target.clone()), draft);
            }
            return progress;
        }
        if self.permission.limit == 0 {
            progress.phase = self.waiting_phase().or(Some(ShiftPhase::Preparing));
            return progress;
        }
        // A stage that asks for fewer pods than its color has needs only as many as it asks for, of those that certainly serve.
        if old.iter().filter(|pod| self.known_endpoint(pod)).count() >= self.from as usize {
            old.retain(|pod| self.known_endpoint(pod));
            old.truncate(self.from as usize);
        } else if old.len() > self.from as usize {
            // Then fewer labels have to be seen, and only time tells when.
            let known = old.iter().filter_map(|pod| Some(self.sent_to_at(self.endpoint(pod)?)));
            known.filter(|known| *known > self.view.now).for_each(|known| draft.wake(known));
        }
        let first = step.min(self.of).min(self.permission.limit) as usize;
        let new = self.candidates(target).into_iter().filter(|pod| self.view.is_available(pod)).take(first);
        progress.starts = true;
        let members: BTreeSet<&str> = old.iter().copied().chain(new).map(|pod| &*pod.name).collect();
        let labeled: BTreeSet<&str> = self.situation.members.iter().map(|pod| &*pod.name).collect();
        for pod in members.difference(&labeled) {
            self.join(pod, draft);
        }
        // A label that is left over from a shift before, or that a user has put on. No Service selects by the label now, so it
        // can be taken off. Pods that served keep it: one that is not ready for a moment would only be labelled again.
        for pod in self.situation.members.iter().filter(|pod| pod.instance != *serving) {
            if !members.contains(&*pod.name) {
                self.leave(&pod.name, draft);
            }
        }
        if members.is_subset(&labeled)
            && labeled.iter().all(|name| members.contains(name) || self.is_of(name, serving))
            && self.labels_are_seen(&members, draft)
        {
            self.select(Selection::Members, draft);
        } else {
            self.make_shadow(draft);
        }
        progress
    }

    /// Returns the ready pods of an instance: members first, then by name.
    pub(super) fn candidates(&self, instance: &InstanceName) -> Vec<&Pod> {
        let stage = &self.situation.stage.name;
        let mut pods: Vec<&Pod> = self.view.pods(instance).iter().copied().filter(|pod| serves(pod)).collect();
        pods.sort_by(|a, b| {
            let order = |pod: &Pod| !pod.member.contains_key(stage);
            order(a).cmp(&order(b)).then_with(|| a.name.cmp(&b.name))
        });
        pods
    }

    fn is_of(&self, name: &str, instance: &InstanceName) -> bool {
        self.situation.members.iter().any(|pod| *pod.name == *name && pod.instance == *instance)
    }
}
