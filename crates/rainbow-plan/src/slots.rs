//! Who holds the slots that a color waits for, and what would free one.

use crate::{
    ColorPhase, ColorReport, LivesBecause, Living, Problem,
    colors::{Queued, Role},
    draft::Draft,
    situation::Situation,
    view::View,
};

/// Tells of every color that waits.
pub(crate) fn tell(
    view: &View<'_>,
    situations: &[Situation<'_>],
    roles: &[Role],
    colors: &[ColorReport],
    waiting: &[Queued],
    draft: &mut Draft,
) {
    for Queued { color, living } in waiting {
        let holders = living.iter().map(|id| Living {
            color: view.colors[*id].name.clone(),
            because: because(situations, &roles[*id], &colors[*id]),
        });
        draft.problem(Problem::TooManyColors { color: view.colors[*color].name.clone(), living: holders.collect() });
    }
}

fn because(situations: &[Situation<'_>], role: &Role, report: &ColorReport) -> LivesBecause {
    match role {
        Role::Held { stages } if !stages.is_empty() => {
            LivesBecause::Stages(stages.iter().map(|index| situations[*index].stage.name.clone()).collect())
        }
        Role::Held { .. } => LivesBecause::RemovedStage,
        Role::Candidate | Role::Waiting { .. } => LivesBecause::Spec,
        Role::Leaving => match report.drain.as_ref().filter(|_| report.phase == ColorPhase::Draining) {
            Some(drain) => LivesBecause::Drains {
                connections: report.connections.unwrap_or(0),
                busy: drain.pods.saturating_sub(drain.unknown),
                unknown: drain.unknown,
                unknown_since: drain.unknown_since,
                deadline: drain.deadline,
            },
            None => LivesBecause::Leaves,
        },
    }
}
