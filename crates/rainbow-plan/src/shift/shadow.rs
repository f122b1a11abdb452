//! Shadow Service of a stage: evidence that the endpoint controller has seen the membership labels.
//!
//! The endpoint controller computes endpoints from the Service and from the pods, and it may see the one before the other. A
//! Service that is pointed at members whose labels the controller has not seen yet has no endpoints. The shadow Service selects
//! the members before the stage's own Service does. When its endpoints are the members, the labels have been seen, and the
//! stage's Service can follow.

use std::collections::BTreeSet;

use super::Shifter;
use crate::{Action, ChainKey, Object, Pod, Problem, Selection, StageKey, StageService, Time, draft::Draft};

/// Wait for labels where no shadow Service shows them, in multiples of `propagation`. A name that is taken or a write that is
/// refused delays a shift for this time, and does not stop it. Only time is left as evidence then, so it is longer than a slow
/// watch or a slow endpoint controller takes: 90 s with the operator's default `propagation`.
const WITHOUT_SHADOW: u32 = 30;

impl Shifter<'_, '_> {
    fn shadow_key(&self) -> StageKey {
        StageKey::shadow(&self.situation.stage.name)
    }

    /// Returns the state of the shadow Service, which says whether its endpoints are evidence.
    fn shadow(&self) -> Shadow {
        match self.view.world.stages.get(&self.shadow_key()) {
            None => Shadow::Absent,
            Some(StageService::Foreign) => Shadow::Foreign,
            Some(StageService::Ours { selects: Selection::Members, .. }) => Shadow::Tells,
            Some(StageService::Ours { selects: Selection::Instance(_) | Selection::Other, .. }) => Shadow::Edited,
        }
    }

    /// Makes the shadow Service, in a chain of its own: an obstacle to it delays no label.
    pub(super) fn make_shadow(&self, draft: &mut Draft) {
        let stage = self.situation.stage.name.clone();
        match self.shadow() {
            Shadow::Absent | Shadow::Edited => {
                draft.act(ChainKey::Stage(self.shadow_key()), Action::ApplyShadow { stage });
            }
            Shadow::Foreign => draft.problem(Problem::Foreign { object: Object::ShadowService { stage } }),
            Shadow::Tells => {}
        }
    }

    /// Deletes the shadow Service: the stage's own Service selects the members, or the shift does not start after all.
    pub(super) fn delete_shadow(&self, draft: &mut Draft) {
        match self.shadow() {
            Shadow::Tells | Shadow::Edited => {
                let stage = self.shadow_key();
                draft.act(ChainKey::Stage(stage.clone()), Action::DeleteStage { stage });
            }
            Shadow::Absent | Shadow::Foreign => {}
        }
    }

    /// Returns whether the endpoint controller has seen the labels of the pods that are needed.
    pub(super) fn labels_are_seen(&self, needed: &BTreeSet<&str>, draft: &mut Draft) -> bool {
        let members = &self.situation.members;
        match self.shadow() {
            Shadow::Tells => {
                let needed = members.iter().filter(|pod| needed.contains(&*pod.name));
                let unseen = needed.filter(|pod| !self.label_is_seen(pod, draft)).count();
                unseen == 0 && !self.has_former_members()
            }
            Shadow::Absent | Shadow::Edited | Shadow::Foreign => {
                let wait = self.view.spec.propagation.saturating_mul(WITHOUT_SHADOW);
                let seen = members.iter().map(|pod| pod.labelled.after(wait)).max();
                self.has_come(seen, draft)
            }
        }
    }

    /// Returns whether the endpoint controller has seen the pod's label. An endpoint from before the label may be left over from
    /// a label that the pod had before; then the label must be old enough to be known.
    fn label_is_seen(&self, pod: &Pod, draft: &mut Draft) -> bool {
        let Some(since) = pod.shadow.get(&self.situation.stage.name) else { return false };
        let labelled = self.joined(pod).map_or(pod.labelled, |joined| joined.max(pod.labelled));
        *since >= labelled || self.has_come(Some(pod.labelled.after(self.view.spec.propagation)), draft)
    }

    /// Returns whether the endpoint controller has yet to see that a pod is no longer a member: the stage's Service would send
    /// clients to the pod again.
    fn has_former_members(&self) -> bool {
        let stage = &self.situation.stage.name;
        self.view.world.pods.iter().any(|pod| pod.shadow.contains_key(stage) && !pod.member.contains_key(stage))
    }

    fn has_come(&self, time: Option<Time>, draft: &mut Draft) -> bool {
        let waits_until = time.filter(|time| *time > self.view.now);
        if let Some(until) = waits_until {
            draft.wake(until);
        }
        waits_until.is_none()
    }
}

/// State of a shadow Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shadow {
    /// No object has the name.
    Absent,
    /// The object is not Rainbow's.
    Foreign,
    /// The shadow Service selects the members. Its endpoints show which labels have been seen.
    Tells,
    /// Another writer has changed the selector of the shadow Service.
    Edited,
}
