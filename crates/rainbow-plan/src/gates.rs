//! Gates: checks that a stage asks for before, while and after it moves to a color.
//!
//! The planner names the checks, and the observer makes them. A stage goes on past a gate that has passed and past no other: a check without
//! an outcome holds the stage, as one that is inconclusive or has no data does. A check that has failed takes the stage back, by the same
//! means as a color that is unhealthy: the status records the rejection first, and the next plan goes back.
//!
//! Checks are about a color that a stage moves *forward* to. A way back is never held by a gate.

use std::collections::BTreeMap;

use crate::{
    Address, Check, CheckOutcome, Moment, RejectedBy, Time, Waiting,
    draft::Draft,
    situation::{ServiceTarget, Situation, has_ready},
    view::{ColorId, View},
};

/// Checks that a stage asks for now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Checks {
    /// Checks, and since when measurements count.
    pub(crate) asked: BTreeMap<Check, Time>,
    /// First check that keeps the stage where it is.
    pub(crate) holds: Option<Hold>,
}

/// Check that keeps a stage where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hold {
    pub(crate) check: Check,
    pub(crate) outcome: Option<CheckOutcome>,
}

impl Hold {
    pub(crate) fn waiting(self) -> Waiting {
        Waiting::ForGate { check: self.check, outcome: self.outcome }
    }
}

impl Checks {
    /// Asks for gates of a stage at one moment. Returns whether all of them have passed.
    pub(crate) fn ask(
        &mut self,
        view: &View<'_>,
        situation: &Situation<'_>,
        gates: &[String],
        color: ColorId,
        moment: &Moment,
        since: Time,
    ) -> bool {
        let stage = situation.stage;
        let color = &view.colors[color].name;
        let mut has_passed = true;
        for gate in gates.iter().filter(|gate| !stage.gates.was_skipped(gate, color)) {
            // The whole release is checked before it begins, and after it has ended. In between, each address moves on its own.
            let stage_name = match moment {
                Moment::Before | Moment::After | Moment::Between { .. } => stage.user_name(),
                Moment::During { .. } | Moment::Step { .. } | Moment::Watch => stage.name.as_str(),
            };
            let check = Check {
                stage: stage_name.to_owned(),
                gate: gate.clone(),
                color: color.clone(),
                moment: moment.clone(),
            };
            let outcome = view.world.checks.get(&check).copied();
            self.asked.insert(check.clone(), since);
            let decides = !stage.gates.dry.contains(gate);
            if decides && outcome != Some(CheckOutcome::Passed) {
                has_passed = false;
                // A failure is more than a wait: it takes the stage back.
                let is_first = self.holds.is_none() || outcome == Some(CheckOutcome::Failed);
                if is_first && self.failed().is_none() {
                    self.holds = Some(Hold { check, outcome });
                }
            }
        }
        has_passed
    }

    /// Returns the check that has failed.
    pub(crate) fn failed(&self) -> Option<&Check> {
        self.holds.as_ref().filter(|hold| hold.outcome == Some(CheckOutcome::Failed)).map(|hold| &hold.check)
    }

    /// Adds the checks of another moment. What held the stage first holds it still, unless the other moment has failed.
    pub(crate) fn extend(&mut self, other: Self) {
        self.asked.extend(other.asked);
        let takes_precedence = self.holds.is_none()
            || (self.failed().is_none()
                && other.holds.as_ref().is_some_and(|hold| hold.outcome == Some(CheckOutcome::Failed)));
        if takes_precedence {
            self.holds = other.holds;
        }
    }

    /// Asks for the checks in a plan.
    pub(crate) fn add_to(&self, draft: &mut Draft) {
        draft.checks.extend(self.asked.iter().map(|(check, since)| (check.clone(), *since)));
    }
}

/// Asks for the gates that guard a stage while it moves to a color, and until its way back is let go. They hold nothing up: a guard without
/// an outcome is no reason to wait.
pub(crate) fn guards(view: &View<'_>, situation: &Situation<'_>, color: ColorId, since: Time) -> Checks {
    let mut checks = Checks::default();
    checks.ask(view, situation, &situation.stage.gates.guards, color, &Moment::Watch, since);
    if checks.failed().is_none() {
        checks.holds = None;
    }
    checks
}

/// Gates of a stage that has moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// There is nothing to judge: the stage has no gates for it, has not moved forward, or has nothing to go back to.
    Nothing,
    /// The color has passed.
    Approved,
    /// The color is being judged. The stage's way back is kept as long.
    Open {
        checks: Checks,
        /// Time until which measurements go on at least.
        until: Time,
    },
}

/// Returns the judgement of the color that a stage has moved to.
pub(crate) fn judgement(view: &View<'_>, situation: &Situation<'_>) -> Judgement {
    let gates = &situation.stage.gates;
    if gates.after.is_empty() || situation.stage.address != Address::Entry {
        return Judgement::Nothing;
    }
    let Some((color, since)) = moved_forward(view, situation) else { return Judgement::Nothing };
    let name = &view.colors[color].name;
    if situation.memory.approved.as_ref() == Some(name) {
        return Judgement::Approved;
    }
    if gates.after.iter().all(|gate| gates.was_skipped(gate, name)) {
        return Judgement::Nothing;
    }
    let mut checks = Checks::default();
    let has_passed = checks.ask(view, situation, &gates.after, color, &Moment::After, since);
    let until = since.after(gates.watch);
    if has_passed && until <= view.now { Judgement::Approved } else { Judgement::Open { checks, until } }
}

/// Returns the color that a stage has moved to from an older one that it can go back to at once, and since when every client reaches it.
pub(crate) fn moved_forward(view: &View<'_>, situation: &Situation<'_>) -> Option<(ColorId, Time)> {
    let serving = situation.serving.filter(|_| matches!(situation.points, ServiceTarget::Instance(_)))?;
    let memory = &situation.memory;
    let name = &view.colors[serving].name;
    let since = memory.since.filter(|_| memory.color.as_ref() == Some(name))?;
    let previous = view.color_in(&situation.stage.name, memory.previous.as_deref()?)?;
    let is_forward = view.colors[serving].revision > view.colors[previous].revision;
    // Pods that are not ready for a moment are still a way back.
    let instance = view.entry_instance(situation.stage, previous);
    let has_pods = has_ready(view, situation.stage, previous) || instance.is_some_and(|own| view.asked(own) > 0);
    let can_return = has_pods && !view.colors[previous].deleting;
    (is_forward && can_return).then(|| (serving, view.sent_to_at(&situation.key, since)))
}

/// Returns the gate that has rejected a color, if no user has skipped it since.
pub(crate) fn rejected_by<'v>(view: &'v View<'_>, color: ColorId) -> Option<&'v RejectedBy> {
    let color = view.colors[color];
    let stage = |by: &RejectedBy| view.spec.stages.iter().find(|stage| stage.name == by.stage);
    color
        .rejected_by
        .as_ref()
        .filter(|by| !stage(by).is_some_and(|stage| stage.gates.is_skipped(&by.gate, &color.name)))
}
