//! Slots: which colors hold those that a color waits for, and what would free one.

use crate::{
    ColorPhase, ColorReport, LivesBecause, LivingColor, Problem, Waiting,
    colors::{Role, SlotQueueEntry},
    draft::Draft,
    report::stage_names,
    situation::Situation,
    view::View,
};

/// Reports, for every color that waits, which colors hold the slots. Where none of them ends by itself, a user must free a slot.
/// Returns whether a slot frees itself.
pub(crate) fn report(
    view: &View<'_>,
    situations: &[Situation<'_>],
    roles: &[Role],
    colors: &mut [ColorReport],
    waiting: &[SlotQueueEntry],
    draft: &mut Draft,
) -> bool {
    let mut frees_itself = false;
    for SlotQueueEntry { color, living } in waiting {
        let holder = |id: &usize| LivingColor {
            color: view.colors[*id].name.clone(),
            because: because(situations, role(view, roles, *id), &colors[*id]),
        };
        let living: Vec<LivingColor> = living.iter().map(holder).collect();
        if living.iter().any(|living| goes_by_itself(&living.because)) {
            frees_itself = true;
        } else {
            let color = view.colors[*color].name.clone();
            draft.problem(Problem::TooManyColors { color, living: living.clone() });
        }
        colors[*color].waiting = Some(Waiting::ForSlot { living });
    }
    frees_itself
}

/// Returns the role of the part of a color that keeps the color alive.
fn role<'r>(view: &View<'_>, roles: &'r [Role], id: usize) -> &'r Role {
    let mut parts = std::iter::once(id).chain(view.parts(id));
    parts.find(|part| roles[*part] != Role::Leaving).map_or(&roles[id], |part| &roles[part])
}

fn because(situations: &[Situation<'_>], role: &Role, report: &ColorReport) -> LivesBecause {
    match role {
        Role::Held { stages } if !stages.is_empty() => LivesBecause::Stages(stage_names(situations, stages)),
        Role::Held { .. } => LivesBecause::RemovedStage,
        Role::Candidate | Role::Waiting { .. } => LivesBecause::Spec,
        Role::Leaving => leaves_because(report),
    }
}

fn leaves_because(report: &ColorReport) -> LivesBecause {
    if let Some(Waiting::KeptWarm { stage, color, is_unhealthy: true }) = &report.waiting {
        return LivesBecause::KeptWarm { stage: stage.clone(), color: color.clone() };
    }
    match report.drain.as_ref().filter(|_| report.phase == ColorPhase::Draining) {
        Some(drain) => LivesBecause::Drains {
            connections: report.connections.unwrap_or(0),
            busy: drain.pods.saturating_sub(drain.unknown),
            unknown: drain.unknown,
            unknown_since: drain.unknown_since,
            deadline: drain.deadline,
        },
        None => LivesBecause::Leaves,
    }
}

/// Returns whether the slot frees itself: the color has no connections, or a deadline for them.
fn goes_by_itself(because: &LivesBecause) -> bool {
    match because {
        LivesBecause::Drains { busy, unknown, deadline, .. } => deadline.is_some() || (*busy == 0 && *unknown == 0),
        LivesBecause::Leaves => true,
        LivesBecause::Stages(_) | LivesBecause::RemovedStage | LivesBecause::Spec | LivesBecause::KeptWarm { .. } => {
            false
        }
    }
}
