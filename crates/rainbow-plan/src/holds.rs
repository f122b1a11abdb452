//! Holds: colors that a user has taken stages back to, and pauses, whatever else the spec says of the stages.
//!
//! A hold at a color ends when the stage is to go to a color that was made after the hold: a release that fixes the reason for
//! the hold. Until then, every manifest that is applied again asks for the color that existed when the hold was made. The status
//! remembers that the hold has ended, because the spec may go back to an earlier color later.

use std::collections::BTreeSet;

use crate::{
    Address, HoldReport, Promote, Report, Spec, Stage, World,
    situation::{self, ServiceTarget, Situation},
    sizes,
    view::{ColorId, View},
};

/// Names of the stages whose hold at a color has ended.
pub(crate) type Ended = BTreeSet<String>;

/// Returns the stages whose hold has ended before.
pub(crate) fn remembered(world: &World) -> Ended {
    let has_ended = |stage: &&Stage| {
        // An address of a stage follows the stage's hold, also when the address has only just come into use.
        let memory = world.memory.stages.get(stage.user_name());
        let ended = memory.and_then(|memory| memory.ended_hold.as_ref());
        stage.hold.as_ref().is_some_and(|hold| ended == Some(&hold.id))
    };
    world.spec.stages.iter().filter(has_ended).map(|stage| stage.name.clone()).collect()
}

/// Returns the spec in which the stages have the colors and pauses of their holds.
pub(crate) fn resolved(spec: &Spec, ended: &Ended) -> Spec {
    let mut resolved = spec.clone();
    for stage in &mut resolved.stages {
        let Some(hold) = stage.hold.take() else { continue };
        stage.paused |= hold.paused;
        if !ended.contains(&stage.name) {
            stage.color = hold.color.or(stage.color.take());
        }
    }
    resolved
}

/// Returns the stages whose hold ends now. `view` is that of the spec in which stages are held; `spec` is as the user wrote it.
pub(crate) fn ending(view: &View<'_>, spec: &Spec) -> Ended {
    let situations = situation::situate(view);
    let ends = |(stage, situation): &(&Stage, &Situation<'_>)| {
        let revision = stage.hold.as_ref().filter(|hold| hold.color.is_some()).and_then(|hold| hold.revision);
        let is_later = |color: &ColorId| revision.is_some_and(|revision| view.colors[*color].revision > revision);
        match (&stage.color, stage.promote) {
            (Some(color), _) => view.color_in(&stage.name, color).is_some_and(|color| is_later(&color)),
            // A stage on its way back would stay at, or continue to, the color that it is taken back from.
            (None, Promote::Auto) => view
                .newest_in(&stage.name)
                .filter(is_later)
                .is_some_and(|newest| has_arrived(view, stage, situation) || sizes::ready_for(view, situation, newest)),
            (None, Promote::Manual) => false,
        }
    };
    // A hold concerns a stage with all its addresses. If each address were checked for itself, one could leave the color that its
    // stage is held at.
    let users = spec.stages.iter().zip(&situations).filter(|(stage, _)| stage.address == Address::Entry);
    let ended: BTreeSet<&str> = users.filter(ends).map(|(stage, _)| stage.name.as_str()).collect();
    let is_ended = |stage: &&Stage| ended.contains(stage.user_name());
    spec.stages.iter().filter(is_ended).map(|stage| stage.name.clone()).collect()
}

/// Returns whether the stage serves the color that it was taken back to, and no other.
fn has_arrived(view: &View<'_>, stage: &Stage, situation: &Situation<'_>) -> bool {
    let held = stage.hold.as_ref().and_then(|hold| view.color_in(&stage.name, hold.color.as_deref()?));
    matches!(situation.points, ServiceTarget::Instance(_)) && held.is_some() && held == situation.serving
}

/// Reports the state of the holds.
pub(crate) fn report(report: &mut Report, spec: &Spec, ended: &Ended) {
    for stage in &mut report.stages {
        let hold = spec.stages.iter().find(|known| known.name == stage.name).and_then(|known| known.hold.as_ref());
        stage.hold = hold.map(|hold| match ended.contains(&stage.name) {
            true => HoldReport::Ended { id: hold.id.clone() },
            false => HoldReport::Holds,
        });
    }
}
