//! Disruption budgets of stages that are held in the middle of a shift.
//!
//! The replacement of an evicted member becomes a member only through the operator. A hold may last for days, in which nodes are
//! drained and the operator may be away. Therefore at most one member at a time is evicted, and the next one waits for the
//! replacement. A shift that continues is over soon: a budget would cost more than it is worth.

use std::collections::BTreeMap;

use crate::{
    Action, ChainKey, Object, Problem, ShiftPhase, StageBudget, StageReport,
    draft::Draft,
    situation::{ServiceTarget, Situation},
    view::View,
};

/// Makes the budgets of stages that are held, and deletes all others.
pub(crate) fn keep(view: &View<'_>, situations: &[Situation<'_>], reports: &[StageReport], draft: &mut Draft) {
    let held = situations.iter().zip(reports).filter_map(|(situation, report)| {
        let shift =
            report.shift.as_ref().filter(|shift| matches!(shift.phase, ShiftPhase::Paused | ShiftPhase::Waiting))?;
        // The only pod of a stage must be evicted if its node is to be drained at all.
        let least = shift.of.checked_sub(1).filter(|least| *least > 0 && situation.points == ServiceTarget::Members)?;
        Some((report.name.as_str(), least))
    });
    let held: BTreeMap<&str, u32> = held.collect();
    for (stage, least) in &held {
        match view.world.budgets.get(*stage) {
            Some(StageBudget::Foreign) => {
                draft.problem(Problem::Foreign { object: Object::StageBudget { stage: (*stage).to_owned() } });
            }
            Some(StageBudget::Ours { current: true, least: known }) if known == least => {}
            Some(StageBudget::Ours { .. }) | None => {
                let apply = Action::ApplyBudget { stage: (*stage).to_owned(), least: *least };
                draft.act(ChainKey::Budget((*stage).to_owned()), apply);
            }
        }
    }
    let ours = view.world.budgets.iter().filter(|(_, budget)| matches!(budget, StageBudget::Ours { .. }));
    for (stage, _) in ours.filter(|(stage, _)| !held.contains_key(stage.as_str())) {
        draft.act(ChainKey::Budget(stage.clone()), Action::DeleteBudget { stage: stage.clone() });
    }
}
