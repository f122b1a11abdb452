//! Steps and gates of a stage's move: how far they let it go now, which checks they ask for, and what a failed one means.

use super::{
    Pace, Shifter, pace,
    steps::{self, Moving, Permission},
};
use crate::{
    Pod, Rejection, ShiftPhase, Time,
    draft::Draft,
    gates::{self, Checks, Judgement},
    situation::{ServiceTarget, Situation, has_ready},
    view::{ColorId, View},
};

/// Returns the color that the stage is taken back from, or has been taken back from. A failure of a gate is reported before the stage moves:
/// a crash between the two leaves a stage that knows why it goes back.
pub(super) fn rejection(
    view: &View<'_>,
    situation: &Situation<'_>,
    unhealthy: Option<ColorId>,
    checks: &Checks,
) -> Option<Rejection> {
    let name = |color: ColorId| view.colors[color].name.clone();
    if let Some(color) = situation.rejected {
        return Some(Rejection { color: name(color), gate: situation.rejecting_gate(view) });
    }
    // A stage that its user holds keeps its share, whatever the gates say.
    let is_held = situation.stage.paused || situation.stage.invalid;
    let failed = checks.failed().filter(|_| !is_held);
    let failed = failed.map(|check| Rejection { color: check.color.clone(), gate: Some(check.gate.clone()) });
    failed.or_else(|| unhealthy.map(|color| Rejection { color: name(color), gate: None }))
}

/// Returns the color that has passed the gates that are measured after a shift.
pub(super) fn approved(view: &View<'_>, situation: &Situation<'_>, judgement: &Judgement) -> Option<String> {
    let serving = situation.serving.map(|color| view.colors[color].name.clone())?;
    match judgement {
        Judgement::Approved => Some(serving),
        // A stage that has nothing to go back to, or that has gone back, has nothing to judge.
        Judgement::Nothing => {
            let is_at_rest = matches!(situation.points, ServiceTarget::Instance(_)) && situation.memory.since.is_some();
            let is_known = situation.memory.color.as_ref() == Some(&serving);
            let known = situation.memory.approved.clone().filter(|approved| *approved == serving);
            known.or_else(|| (!situation.stage.gates.after.is_empty() && is_at_rest && is_known).then_some(serving))
        }
        Judgement::Open { .. } => None,
    }
}

impl Shifter<'_, '_> {
    /// Returns how far steps and gates let the stage move. They are about moves forward alone: a way back is as fast as it can be.
    pub(super) fn permit(&self) -> Permission {
        let Situation { serving, members, points, .. } = self.situation;
        let (Some(color), Some(serving)) = (self.target.color, *serving) else { return Permission::whole() };
        let is_forward = self.view.colors[color].revision > self.view.colors[serving].revision;
        let instance = self.target.instance.filter(|_| is_forward && self.target.pace != Pace::AtOnce);
        let Some(instance) = instance else { return Permission::whole() };
        let shifts = *points == ServiceTarget::Members;
        let new: Vec<&Pod> = members.iter().copied().filter(|pod| shifts && pod.instance == *instance).collect();
        let old = members.iter().any(|pod| pod.instance != *instance && crate::view::serves(pod));
        let has_old = old || has_ready(self.view, self.situation.stage, serving);
        let reached = new.iter().filter(|pod| crate::view::serves(pod)).map(|pod| {
            let since = self.endpoint(pod).filter(|_| self.arrived(pod))?;
            Some(self.sent_to_at(since))
        });
        let reached: Option<Vec<Time>> = reached.collect();
        let reached = reached.and_then(|all| all.into_iter().max()).filter(|since| *since <= self.view.now);
        let moving = Moving {
            color,
            moved: u32::try_from(new.len()).unwrap_or(u32::MAX),
            of: self.of,
            is_gradual: has_old && self.joins_members(instance),
            reached,
            has_begun: !new.is_empty(),
            is_ready: self.target.ready,
        };
        steps::permission(self.view, self.situation, moving)
    }

    /// Returns the time when the last of the new members is known to those who send clients, if that is still to come.
    pub(super) fn wake_when_reached(&self, draft: &mut Draft) {
        let needs = !self.permission.checks.asked.is_empty() || pace::steps(self.situation.stage) > 0;
        let gates = &self.situation.stage.gates;
        if !needs && gates.during.is_empty() {
            return;
        }
        let new = self.situation.members.iter().filter(|pod| self.target.instance == Some(&pod.instance));
        for at in new.filter_map(|pod| Some(self.sent_to_at(self.endpoint(pod)?))).filter(|at| *at > self.view.now) {
            draft.wake(at);
        }
    }

    /// Returns the checks that the stage asks for now, of all moments.
    pub(super) fn checks(&self, judgement: &Judgement, draft: &mut Draft) -> Checks {
        let mut checks = self.permission.checks.clone();
        checks.extend(self.situation.between.clone());
        let warm = self.view.spec.keep.warm;
        let is_open = matches!(judgement, Judgement::Open { .. });
        if let Judgement::Open { checks: after, until } = judgement {
            checks.extend(after.clone());
            if *until > self.view.now {
                draft.wake(*until);
            }
        }
        let guarded = match self.situation.points {
            ServiceTarget::Members => self.moves_forward_to(),
            _ => gates::moved_forward(self.view, self.situation)
                .filter(|(_, since)| is_open || since.after(warm) > self.view.now),
        };
        if let Some((color, since)) = guarded {
            checks.extend(gates::guards(self.view, self.situation, color, since));
        }
        checks
    }

    /// Returns the color that the stage is moving forward to, of which pods serve already, and when it began.
    fn moves_forward_to(&self) -> Option<(ColorId, Time)> {
        let (color, serving) = (self.target.color?, self.situation.serving?);
        let is_forward = self.view.colors[color].revision > self.view.colors[serving].revision;
        let has_members = self.situation.members.iter().any(|pod| self.situation.is_of(self.view, pod, color));
        let began = steps::started(self.view, self.situation, color).unwrap_or(self.view.now);
        (is_forward && has_members).then_some((color, began))
    }

    /// Returns whether steps and gates let the stage move as a whole. At the last pod there may still be a gate.
    pub(super) fn may_move_all(&self) -> bool {
        self.permission.is_whole
    }

    /// Returns the phase of a stage that its steps or gates keep from moving further.
    pub(super) fn waiting_phase(&self) -> Option<ShiftPhase> {
        self.permission.waiting.as_ref().map(|_| ShiftPhase::Waiting)
    }
}
