//! Where a stage goes, and how fast.

use std::{collections::BTreeSet, time::Duration};

use crate::{
    InstanceName, Promote, Shift,
    situation::{Goal, Points, Situation},
    sizes::ready_for,
    view::{ColorId, View},
};

/// How fast a stage moves to its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Not now: lost pods are replaced, the share stays.
    Hold,
    /// As the spec says.
    Steps {
        /// Pods per step.
        step: u32,
        /// From one step to the next.
        every: Duration,
    },
    /// All at once, whatever the spec says: the way back.
    AtOnce,
}

/// Where a stage goes now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    /// The color it shall serve in the end, where that is known.
    pub(crate) wanted: Option<ColorId>,
    /// The color it moves to now: `wanted`, or another one that it was moving to while `wanted` is not ready.
    pub(crate) color: Option<ColorId>,
    /// The instance of `color` that serves the stage's tier.
    pub(crate) instance: Option<&'a InstanceName>,
    /// `color` has the stage's size.
    pub(crate) ready: bool,
    pub(crate) pace: Pace,
    /// `paused` is set, or the stage is invalid, and there is something to hold.
    pub(crate) held_by_pause: bool,
}

impl<'a> Target<'a> {
    pub(crate) fn of(view: &View<'a>, situation: &Situation<'a>) -> Self {
        let wanted = match situation.goal {
            Goal::Color(color) => Some(color),
            Goal::Unknown(_) | Goal::Deleting(_) | Goal::Stay => None,
        };
        // Pods of a color that is on its way out may be about to end: a Deployment that has been asked for fewer is first asked for all.
        let ready = |color: ColorId| {
            let found = view.colors[color];
            let stays = found.released.is_none() || view.keeps_pods(found);
            ready_for(view, situation, color) && !found.deleting && stays
        };
        let color = Self::color(view, situation, wanted, ready);
        let ready = color.is_some_and(ready);
        let back = color.is_some() && Self::is_back(view, situation, color);
        let moving = color != situation.serving || situation.points == Points::Members;
        let paused = situation.stage.paused || situation.stage.invalid;
        let held_by_pause = paused && moving;
        let pace = match (back, paused || !ready || color.is_none(), situation.stage.shift) {
            (true, ..) => Pace::AtOnce,
            (_, true, _) => Pace::Hold,
            (_, _, Shift::Flip) => Pace::Steps { step: u32::MAX, every: Duration::ZERO },
            (_, _, Shift::Rolling { step, every, surge: _ }) => Pace::Steps { step: step.max(1), every },
        };
        let instance = color.and_then(|color| situation.instance(view, color));
        Self { wanted, color, instance, ready, pace, held_by_pause }
    }

    /// A stage in the middle of a shift when the newest color changes: it goes to the newest when that is ready. Until then
    /// an automatic stage goes on to where it went, lest a color that never comes up keeps it between two others; a stage
    /// that was told where to go holds its share.
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
        if situation.points != Points::Members {
            let own = situation.serving.and_then(|color| situation.instance(view, color));
            let is_taken =
                matches!(situation.points, Points::Instance(selected) if own.is_some_and(|own| own != selected));
            // What another writer has selected is taken back before anything is prepared. Else an automatic stage whose newest color is
            // not ready stays, and a told one prepares.
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

    /// The way back is as fast as it can be: to the color a shift came from, and to the color before while it is still up.
    /// Forward again to a newer color goes at the stage's pace. A stage that follows the newest color is not taken back by another spec
    /// while its user holds it.
    fn is_back(view: &View<'a>, situation: &Situation<'a>, color: Option<ColorId>) -> bool {
        let stage = situation.stage;
        let is_held = (stage.paused || stage.invalid) && stage.promote == Promote::Auto && stage.color.is_none();
        if color == situation.serving {
            return match situation.points {
                Points::Members => !is_held,
                // Another writer has pointed the Service elsewhere.
                Points::Instance(instance) => {
                    color.and_then(|color| situation.instance(view, color)).is_some_and(|own| own != instance)
                }
                Points::Nowhere | Points::Foreign | Points::Other => false,
            };
        }
        let (Some(color), Some(serving)) = (color.map(|id| view.colors[id]), situation.serving) else { return false };
        !is_held
            && situation.memory.previous.as_deref() == Some(color.name.as_str())
            && color.revision < view.colors[serving].revision
            && color.retired.is_none()
    }
}
