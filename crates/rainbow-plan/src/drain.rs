//! End of a color that no stage needs: when its pods may begin to end. `release` decides which of them end.
//!
//! A color's clock starts when the color is *seen* to be out of every stage, and is kept in its status. A crash that loses the
//! clock makes the wait longer, never shorter. Therefore a color without a clock is still whole while the data plane may know it.

use crate::{
    Color, Deadline, InstanceName, Time,
    colors::Role,
    draft::Draft,
    evidence::Clock,
    health::{self, Warmth, WayBack},
    situation::Situation,
    view::{ColorId, View},
};

/// State of a color on its way to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The color is not on its way out.
    Lives,
    /// The color keeps its pods until this time.
    StaysWhole {
        /// Time when the color left its last stage.
        released: Time,
        /// Time when the color may begin to end.
        until: Time,
    },
    /// The color keeps its pods as the way back of a stage whose new color is not known to be healthy.
    KeptWarm {
        /// Time when the color left its last stage.
        released: Time,
        /// Stage whose way back the color is, and for how long.
        way: WayBack,
    },
    /// The pods of the color end, entry tiers first, as their connections end.
    Drains {
        /// Time when the color left its last stage.
        released: Time,
    },
    /// The color has no pods.
    Retired {
        /// Time when the color left its last stage.
        released: Time,
        /// Time when the last pod was seen to be gone.
        retired: Time,
    },
}

impl Ending {
    /// Returns whether the color keeps all its pods for now.
    pub(crate) fn is_whole(&self) -> bool {
        matches!(self, Self::StaysWhole { .. } | Self::KeptWarm { .. })
    }

    /// Returns when the color left its last stage.
    pub(crate) fn released(&self) -> Option<Time> {
        match self {
            Self::Lives => None,
            Self::StaysWhole { released, .. }
            | Self::KeptWarm { released, .. }
            | Self::Drains { released }
            | Self::Retired { released, .. } => Some(*released),
        }
    }
}

/// Returns the end of every color, by index of the color.
pub(crate) fn ends(view: &View<'_>, situations: &[Situation<'_>], roles: &[Role], draft: &mut Draft) -> Vec<Ending> {
    (0..roles.len()).map(|id| end(view, situations, id, roles, draft)).collect()
}

fn end(view: &View<'_>, situations: &[Situation<'_>], id: ColorId, roles: &[Role], draft: &mut Draft) -> Ending {
    let color = view.colors[id];
    if roles[id] != Role::Leaving {
        return Ending::Lives;
    }
    let released = color.released.unwrap_or(view.now);
    let gone = Ending::Retired { released, retired: color.retired.unwrap_or(view.now) };
    // An instance that lives on with another color belongs to that color.
    let lives_on = |instance: &InstanceName| view.owners(instance).iter().any(|owner| roles[*owner] != Role::Leaving);
    let own = || color.instances.values().filter(|instance| !lives_on(instance));
    if own().all(|instance| view.count(instance).gone) {
        return gone;
    }
    // A color that a user retires or deletes begins to end as soon as the data plane no longer knows it. Any other color stays
    // whole for a while: a way back. A color that no stage has served is no way back, and no data plane knows it.
    let whole = released.after(view.spec.drain.settle);
    let deadline = Clock::of(view, color, released).deadline;
    let whole = deadline.map_or(whole, |deadline| deadline.min(whole));
    let never = view.never_served(id);
    let settle = if color.retire || color.deleting || never { released } else { whole };
    let pods = || own().flat_map(|instance| view.pods(instance));
    let left = pods().flat_map(|pod| pod.left.values()).copied().chain((!never).then_some(released)).max();
    let until = left.map_or(settle, |left| settle.max(view.forgotten(left)));
    // A stage that was taken out of the spec may have the color among its endpoints to the last.
    if pods().any(|pod| !pod.endpoint.is_empty()) {
        return Ending::StaysWhole { released, until: until.max(view.now) };
    }
    // A release that the status does not say yet does not count: the status says it first.
    if color.released.is_none() || until > view.now {
        draft.wake(until);
        return Ending::StaysWhole { released, until };
    }
    if let Some(way) = way_back(view, situations, color, id, deadline) {
        if let Warmth::Until(until) = way.warmth {
            draft.wake(until);
        }
        return Ending::KeptWarm { released, way };
    }
    // An instance that several leaving colors share drains with the newest of them.
    if own().all(|instance| view.owners(instance).first() != Some(&id) || view.count(instance).gone) {
        return gone;
    }
    Ending::Drains { released }
}

/// Returns the stage that the color is kept whole for. An end that the color's user has asked for comes before that. The deadline
/// of all colors does so only where the color that took its place is healthy.
fn way_back(
    view: &View<'_>,
    situations: &[Situation<'_>],
    color: &Color,
    id: ColorId,
    deadline: Option<Time>,
) -> Option<WayBack> {
    let is_ordered = matches!(color.deadline, Some(Deadline::Now | Deadline::After(_)));
    if color.retire || color.deleting || is_ordered {
        return None;
    }
    let is_over = deadline.is_some_and(|deadline| deadline <= view.now);
    health::way_back(view, situations, id).filter(|way| match way.warmth {
        Warmth::Until(_) => !is_over,
        Warmth::WhileUnhealthy | Warmth::WhileJudged => true,
    })
}
