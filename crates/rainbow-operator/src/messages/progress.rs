//! Changes that are under way: shifts, steps between tiers, colors that start.

use rainbow_api::{Hold, ShiftStatus, StageStatus};
use rainbow_plan::{ColorPhase, ColorReport, Report, ShiftPhase, Shortfall, StageReport, TierReport, Waiting};

use super::{
    events::{of_color, shift_paused},
    reasons::{self, Patience},
};
use crate::domain::{Names, Urgency};

/// Describes stages, and tiers that move on their own, one after the other. `one` has the name of each, and says nothing of most.
fn of_parts(report: &Report, one: impl Fn(String, &StageReport) -> Option<String>) -> Option<String> {
    let of_stage = |stage: &StageReport| {
        let tier = |tier: &TierReport| one(format!("tier {} of stage {}", tier.tier, stage.name), &tier.report);
        let tiers = stage.tiers.iter().filter_map(tier);
        tiers.chain(one(format!("stage {}", stage.name), stage)).collect::<Vec<_>>()
    };
    let all: Vec<String> = report.stages.iter().flat_map(of_stage).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

/// Describes the stages that move: which, from where to where, and how far they are.
pub(crate) fn shifting(report: &Report) -> Option<String> {
    of_parts(report, |name, report| {
        let shift = report.shift.as_ref();
        let shift = shift.filter(|shift| !matches!(shift.phase, ShiftPhase::Paused | ShiftPhase::Waiting))?;
        let step = format!("{} of {} pods", shift.moved, shift.of);
        Some(format!("{name} moves from {} to {}: {step}", shift.from, shift.to))
    })
}

/// Describes the stages that wait between two tiers, or at a step that is a pause.
pub(crate) fn steps(report: &Report, names: &Names<'_>) -> Option<String> {
    let is_step = |waiting: &Waiting| matches!(waiting, Waiting::BetweenTiers { .. } | Waiting::AtPause { .. });
    waiting_for(report, names, is_step)
}

/// Describes the stages that wait for a gate.
pub(crate) fn gated(report: &Report, names: &Names<'_>) -> Option<String> {
    waiting_for(report, names, |waiting| matches!(waiting, Waiting::ForGate { .. }))
}

/// Describes the stages whose tiers must still follow: callers wait for callees, and on the way back callees wait for the end of newer
/// callers.
pub(crate) fn following(report: &Report, names: &Names<'_>) -> Option<String> {
    let follows = |waiting: &Waiting| matches!(waiting, Waiting::ForTier { .. } | Waiting::ForNewerCallers { .. });
    waiting_for(report, names, follows)
}

/// Describes the stages and tiers that wait for certain reasons.
fn waiting_for(report: &Report, names: &Names<'_>, is_one: impl Fn(&Waiting) -> bool) -> Option<String> {
    of_parts(report, |name, report| {
        let waiting = report.waiting.as_ref().filter(|waiting| is_one(waiting))?;
        Some(format!("{name}: {}", reasons::waiting(waiting, None, names)))
    })
}

/// Returns who holds a stage since when, with a space before it where it is known.
fn origin(hold: &Hold) -> String {
    let origin = hold.origin();
    if origin.is_empty() { origin } else { format!(" {origin}") }
}

/// Describes that a user has taken the stage back.
pub(crate) fn held(hold: &Hold, rainbow: &str) -> String {
    let color = hold.color.as_deref().unwrap_or_default();
    let until = match hold.revision {
        Some(_) => "a later color, or ",
        None => "",
    };
    let origin = origin(hold);
    let stage = &hold.stage;
    format!("held at `{color}`{origin} until {until}`rainbow promote {rainbow} --stage {stage}`")
}

/// Describes that a user has paused a stage that does not move: its next move waits.
pub(crate) fn paused_at_rest(hold: &Hold, rainbow: &str) -> String {
    let origin = origin(hold);
    let stage = &hold.stage;
    format!("paused{origin}: the stage does not move before `rainbow resume {rainbow} --stage {stage}`")
}

/// Describes the stages that are held in the middle of a shift.
pub(crate) fn paused(stages: &[StageStatus]) -> Option<String> {
    let held = stages.iter().filter_map(|stage| {
        let shift = stage.shift.as_ref()?;
        let since = shift.paused_since.as_deref()?;
        Some(format!("{} since {since}", shift_paused(&stage.name, &shift.from, &shift.to, shift.moved, shift.of)))
    });
    let held: Vec<String> = held.collect();
    (!held.is_empty()).then(|| held.join("; "))
}

/// Returns the message of a stage that has been held for long.
pub(crate) fn paused_long(shift: &ShiftStatus) -> String {
    format!("paused for long, since {}", shift.paused_since.as_deref().unwrap_or(&shift.started_at))
}

/// Returns a sentence about a stage, such as `stage active: paused`.
pub(crate) fn of_stage(stage: &str, message: &str) -> String {
    format!("stage {stage}: {message}")
}

/// Describes the stages whose color lacks pods.
pub(crate) fn degraded(report: &Report, names: &Names<'_>) -> Option<String> {
    let lacking = report.stages.iter().filter(|stage| stage.degraded.is_some()).filter_map(|stage| {
        let color = report.colors.iter().find(|color| Some(&color.name) == stage.color.as_ref())?;
        let Some(Waiting::ForPods { lacks }) = &color.waiting else { return None };
        let lacks = reasons::lacks(lacks, &color.name, names, Patience::Over);
        Some(format!("color {} of stage {} lacks pods: {lacks}", color.name, stage.name))
    });
    let lacking: Vec<String> = lacking.collect();
    (!lacking.is_empty()).then(|| lacking.join("; "))
}

/// Describes the colors that wait for a slot.
pub(crate) fn without_slot(report: &Report, names: &Names<'_>) -> Option<String> {
    let queued = report.colors.iter().filter_map(|color| match &color.waiting {
        Some(slot @ Waiting::ForSlot { .. }) => Some(of_color(&color.name, &reasons::waiting(slot, None, names))),
        _ => None,
    });
    let queued: Vec<String> = queued.collect();
    (!queued.is_empty()).then(|| queued.join("; "))
}

/// Describes the colors whose pods are starting.
pub(crate) fn starting(report: &Report, names: &Names<'_>) -> Option<String> {
    let starting = report.colors.iter().filter(|color| color.phase == ColorPhase::Starting);
    let one = |color: &ColorReport| match &color.waiting {
        Some(Waiting::ForPods { lacks }) => {
            format!(
                "color {} is starting: {}",
                color.name,
                reasons::lacks(lacks, &color.name, names, Patience::ForAWhile)
            )
        }
        _ => format!("color {} is starting", color.name),
    };
    let all: Vec<String> = starting.map(one).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

/// Describes the colors whose pods have a reason not to be ready, other than that they are being started.
pub(crate) fn unready(report: &Report, names: &Names<'_>) -> Option<String> {
    let one = |color: &ColorReport| {
        let Some(Waiting::ForPods { lacks }) = &color.waiting else { return None };
        let has_reason = lacks.iter().any(|lack| match lack {
            Shortfall::Pods { tier, .. } => {
                names.trouble(&color.name, tier).is_some_and(|trouble| trouble.urgency != Urgency::Starting)
            }
            Shortfall::Instance { .. } | Shortfall::MinReady { .. } => false,
        });
        has_reason.then(|| of_color(&color.name, &reasons::lacks(lacks, &color.name, names, Patience::ForAWhile)))
    };
    let all: Vec<String> = report.colors.iter().filter_map(one).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

/// Describes the stages that serve no color yet.
pub(crate) fn without_color(report: &Report) -> Option<String> {
    let waiting = report.stages.iter().filter(|stage| stage.color.is_none());
    let names: Vec<&str> = waiting.map(|stage| stage.name.as_str()).collect();
    (!names.is_empty()).then(|| format!("stage {} serves no color yet", names.join(", ")))
}

/// Message about colors that have too few or too many pods.
pub(crate) const SIZING: &str = "colors are being brought to their sizes";

/// Describes pods that do not start because the image of the counter cannot be pulled. The text does not vary from pod to pod.
pub(crate) fn no_counter_image(image: &str, color: &str, object: &str) -> String {
    format!(
        "pods of color {color} do not start: their node cannot pull `{image}`, the image of Rainbow's connection counter. Make it \
         available under this name and they start by themselves. Or give the operator another one (--tally-image), or do \
         without (drain.connections: None, or connections: None of a tier), and then delete the color (kubectl delete color \
         {object}): it is made again"
    )
}
