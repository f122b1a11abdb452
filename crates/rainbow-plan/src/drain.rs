//! How a color that no stage needs comes to its end: when its pods may begin to go. Which of them go is decided in
//! `release`.
//!
//! A color's clock starts when it is *seen* to be out of every stage, and is kept in its status. A crash that loses it
//! makes the wait longer, never shorter; so a color that nobody remembers is still whole while the data plane may know it.

use crate::{
    Color, Deadline, InstanceName, Time,
    colors::Role,
    draft::Draft,
    evidence::Clock,
    health::{self, Warmth, WayBack},
    situation::Situation,
    view::{ColorId, View},
};

/// Where a color is on its way out. By index of the color.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It is not on its way out.
    Lives,
    /// It keeps its pods until this time.
    Settles {
        /// When it left its last stage.
        released: Time,
        /// When it may go.
        until: Time,
    },
    /// The color keeps its pods as the way back of a stage whose new color is not known to be healthy.
    KeptWarm {
        /// When it left its last stage.
        released: Time,
        /// The stage.
        way: WayBack,
    },
    /// It goes down, entry tiers first, as its connections end.
    Ends {
        /// When it left its last stage.
        released: Time,
    },
    /// It has no pods.
    Gone {
        /// When it left its last stage.
        released: Time,
        /// When the last pod was seen to be gone.
        retired: Time,
    },
}

impl End {
    /// The color keeps all its pods for now.
    pub(crate) fn is_whole(&self) -> bool {
        matches!(self, Self::Settles { .. } | Self::KeptWarm { .. })
    }

    /// When it left its last stage.
    pub(crate) fn released(&self) -> Option<Time> {
        match self {
            Self::Lives => None,
            Self::Settles { released, .. }
            | Self::KeptWarm { released, .. }
            | Self::Ends { released }
            | Self::Gone { released, .. } => Some(*released),
        }
    }
}

/// The end of every color.
pub(crate) fn ends(view: &View<'_>, situations: &[Situation<'_>], roles: &[Role], draft: &mut Draft) -> Vec<End> {
    (0..roles.len()).map(|id| end(view, situations, id, roles, draft)).collect()
}

fn end(view: &View<'_>, situations: &[Situation<'_>], id: ColorId, roles: &[Role], draft: &mut Draft) -> End {
    let color = view.colors[id];
    if roles[id] != Role::Leaving {
        return End::Lives;
    }
    let released = color.released.unwrap_or(view.now);
    let gone = End::Gone { released, retired: color.retired.unwrap_or(view.now) };
    // An instance that lives on with another color is that color's.
    let lives_on = |instance: &InstanceName| view.owners(instance).iter().any(|owner| roles[*owner] != Role::Leaving);
    let own = || color.instances.values().filter(|instance| !lives_on(instance));
    if own().all(|instance| view.count(instance).gone) {
        return gone;
    }
    // Asked to go, it goes as soon as the data plane no longer knows it. Left alone, it stays whole a while: a way back.
    // A color that no stage has served is no way back, and no data plane knows it.
    let whole = released.after(view.spec.drain.settle);
    let deadline = Clock::of(view, color, released).deadline;
    let whole = deadline.map_or(whole, |deadline| deadline.min(whole));
    let never = view.never_served(id);
    let settle = if color.retire || color.deleting || never { released } else { whole };
    let pods = || own().flat_map(|instance| view.pods(instance));
    let left = pods().flat_map(|pod| pod.left.values()).copied().chain((!never).then_some(released)).max();
    let until = left.map_or(settle, |left| settle.max(view.forgotten(left)));
    // A stage that was taken out of the spec may have it among its endpoints to the last.
    if pods().any(|pod| !pod.endpoint.is_empty()) {
        return End::Settles { released, until: until.max(view.now) };
    }
    // What the status does not say yet is not relied on: it is said first.
    if color.released.is_none() || until > view.now {
        draft.wake(until);
        return End::Settles { released, until };
    }
    if let Some(way) = way_back(view, situations, color, id, deadline) {
        if let Warmth::Until(until) = way.warmth {
            draft.wake(until);
        }
        return End::KeptWarm { released, way };
    }
    // What several leaving colors have goes with the newest of them.
    if own().all(|instance| view.owners(instance).first() != Some(&id) || view.count(instance).gone) {
        return gone;
    }
    End::Ends { released }
}

/// The stage that the color is kept whole for. Its user's word on its end comes first. The deadline of all colors does so only where
/// the color that took its place is healthy.
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
        Warmth::WhileUnhealthy => true,
    })
}
