//! Target of a stage, and the pace of its move.

use std::{collections::BTreeSet, time::Duration};

use crate::{
    InstanceName, Promote, Shift, Stage,
    situation::{Goal, ServiceTarget, Situation},
    sizes::ready_for,
    view::{ColorId, View},
};

/// Pace at which a stage moves to its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// The stage does not move now: lost pods are replaced, the share stays.
    Hold,
    /// The stage moves as the spec says.
    Steps {
        /// Pods per step.
        step: u32,
        /// Time from one step to the next.
        every: Duration,
    },
    /// All pods move at once, whatever the spec says: the way back.
    AtOnce,
}

/// Returns the number of steps of the stage's shifts. 0: the stage moves in another way.
pub(crate) fn steps(stage: &Stage) -> u32 {
    match &stage.shift {
        Shift::Steps { steps, .. } => u32::try_from(steps.len()).unwrap_or(u32::MAX),
        Shift::Flip | Shift::Rolling { .. } => 0,
    }
}

/// Target of a stage's move now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    /// Color that the stage should serve in the end, where that is known.
    pub(crate) wanted: Option<ColorId>,
    /// Color that the stage moves to now: `wanted`, or another one that it was moving to while `wanted` is not ready.
    pub(crate) color: Option<ColorId>,
    /// Instance of `color` that serves the stage's tier.
    pub(crate) instance: Option<&'a InstanceName>,
    /// `color` has the stage's size, is not being deleted, and no controller is about to end its pods.
    pub(crate) ready: bool,
    pub(crate) pace: Pace,
    /// `paused` is set, or the stage is invalid, and the stage is on the move.
    pub(crate) held_by_pause: bool,
}

impl<'a> Target<'a> {
    pub(crate) fn of(view: &View<'a>, situation: &Situation<'a>) -> Self {
        let wanted = match situation.goal {
            Goal::Color(color) => Some(color),
            Goal::Unknown(_) | Goal::Deleting(_) | Goal::Stay => None,
        };
        // Pods of a color that drains may be about to end: a Deployment that asks for fewer pods must first observe that it
        // should keep all of them.
        let ready = |color: ColorId| {
            let found = view.colors[color];
            let stays = found.released.is_none() || view.keeps_pods(found);
            ready_for(view, situation, color) && !found.deleting && stays
        };
        let color = Self::color(view, situation, wanted, ready);
        let ready = color.is_some_and(ready);
        let back = color.is_some() && Self::is_back(view, situation, color);
        let moving = color != situation.serving || situation.points == ServiceTarget::Members;
        let paused = situation.stage.paused || situation.stage.invalid;
        let held_by_pause = paused && moving;
        let pace = match (back, paused || !ready || color.is_none(), &situation.stage.shift) {
            (true, ..) => Pace::AtOnce,
            (_, true, _) => Pace::Hold,
            (_, _, Shift::Rolling { step, every, surge: _ }) => Pace::Steps { step: (*step).max(1), every: *every },
            // The steps say how many pods may move: see `steps`.
            (_, _, Shift::Flip | Shift::Steps { .. }) => Pace::Steps { step: u32::MAX, every: Duration::ZERO },
        };
        let instance = color.and_then(|color| situation.instance(view, color));
        Self { wanted, color, instance, ready, pace, held_by_pause }
    }

    /// Returns the color that a stage moves to now. When the newest color changes in the middle of a shift, the stage goes to the
    /// newest color as soon as that is ready. Until then an automatic stage continues to where it was going, lest a color that
    /// never comes up keeps it between two others. A stage whose color the spec names holds its share.
    fn color(
        view: &View<'a>,
        situation: &Situation<'a>,
        wanted: Option<ColorId>,
        ready: impl Fn(ColorId) -> bool,
    ) -> Option<ColorId> {
        let has_members = |color| situation.members.iter().any(|pod| situation.is_of(view, pod, color));
        if wanted.is_some_and(|color| ready(color) || has_members(color) || Some(color) == situation.serving) {
            return wanted;
        }
        if situation.points != ServiceTarget::Members {
            let own = situation.serving.and_then(|color| situation.instance(view, color));
            let is_taken =
                matches!(situation.points, ServiceTarget::Instance(selected) if own.is_some_and(|own| own != selected));
            // A Service that another writer has pointed elsewhere is first reverted, before anything is prepared. Otherwise the
            // stage prepares the wanted color, and stays until that is ready.
            return if is_taken { situation.serving } else { wanted.or(situation.serving) };
        }
        let members: BTreeSet<ColorId> =
            situation.members.iter().filter_map(|pod| situation.owner(view, &pod.instance)).collect();
        match situation.stage.promote {
            // Colors are indexed newest first.
            Promote::Auto if situation.stage.color.is_none() => members.first().copied(),
            // With one color left there is no share to hold: the shift to it is finished.
            _ if members.len() == 1 => members.first().copied(),
            _ => wanted,
        }
    }

    /// Returns whether the move is a way back, which is as fast as it can be: to the color that a shift came from, or to the
    /// color before while it is still up. A move forward again to a newer color goes at the stage's pace. Another spec does not
    /// take back a stage that follows the newest color while its user holds it.
    fn is_back(view: &View<'a>, situation: &Situation<'a>, color: Option<ColorId>) -> bool {
        let stage = situation.stage;
        let is_held = (stage.paused || stage.invalid) && stage.promote == Promote::Auto && stage.color.is_none();
        if color == situation.serving {
            return match situation.points {
                ServiceTarget::Members => !is_held,
                // Another writer has pointed the Service elsewhere.
                ServiceTarget::Instance(instance) => {
                    color.and_then(|color| situation.instance(view, color)).is_some_and(|own| own != instance)
                }
                ServiceTarget::Nowhere | ServiceTarget::Foreign | ServiceTarget::Other => false,
            };
        }
        let (Some(color), Some(serving)) = (color.map(|id| view.colors[id]), situation.serving) else { return false };
        !is_held
            && situation.memory.previous.as_deref() == Some(color.name.as_str())
            && color.revision < view.colors[serving].revision
            && color.retired.is_none()
    }
}
