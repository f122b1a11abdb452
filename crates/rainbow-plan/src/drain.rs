//! How a color that no stage needs comes to its end: by time, entry tiers first.
//!
//! A color's clock starts when it is *seen* to be out of every stage, and is kept in its status. A crash that loses it
//! makes the wait longer, never shorter; so a color that nobody remembers is still whole while the data plane may know it.

use std::collections::HashSet;

use crate::{
    Action, InstanceName, Time,
    colors::Role,
    dag::{Dependents, entry_first},
    draft::Draft,
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
    /// It goes down, entry tiers first.
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

pub(crate) fn drain<'a>(view: &View<'a>, roles: &[Role], draft: &mut Draft) -> Vec<End> {
    let ends: Vec<End> = (0..roles.len()).map(|id| end(view, id, roles, draft)).collect();
    let kept: HashSet<&InstanceName> = (0..ends.len())
        .filter(|id| matches!(ends[*id], End::Lives | End::Settles { .. }))
        .flat_map(|id| view.colors[id].instances.values())
        .collect();
    let dependents = Dependents::new(view);
    let mut done: HashSet<&InstanceName> = HashSet::new();
    for id in (0..ends.len()).filter(|id| matches!(ends[*id], End::Ends { .. })) {
        let color = view.colors[id];
        for instance in entry_first(color).into_iter().filter_map(|tier| color.instances.get(&tier.name)) {
            let goes = !kept.contains(instance) && view.count(instance).replicas > 0;
            // Its callers' last pod may still be asking it something, terminating or not.
            if goes && dependents.gone(view, instance) && done.insert(instance) {
                draft.act(Action::ApplyDeployment { instance: instance.clone(), replicas: 0, ends: Vec::new() });
            }
        }
    }
    ends
}

fn end(view: &View<'_>, id: ColorId, roles: &[Role], draft: &mut Draft) -> End {
    let color = view.colors[id];
    if roles[id] != Role::Leaving {
        return End::Lives;
    }
    let released = color.released.unwrap_or(view.now);
    // An instance that lives on with another color is that color's.
    let shared = |instance: &InstanceName| view.owners(instance).iter().any(|owner| roles[*owner] != Role::Leaving);
    if color.instances.values().all(|instance| shared(instance) || view.count(instance).gone) {
        return End::Gone { released, retired: color.retired.unwrap_or(view.now) };
    }
    // Asked to go, it goes as soon as the data plane no longer knows it. Left alone, it stays whole a while: a way back.
    let drain = &view.spec().drain;
    let whole = drain.settle.min(drain.deadline);
    let settle = if color.retire || color.deleting { released } else { released.after(whole) };
    let own = || color.instances.values().filter(|instance| !shared(instance));
    let pods = || own().flat_map(|instance| view.pods(instance));
    let left = pods().flat_map(|pod| pod.left.values()).copied().chain([released]).max().unwrap_or(released);
    let until = settle.max(view.forgotten(left));
    // A stage that was taken out of the spec may have it among its endpoints to the last.
    if pods().any(|pod| !pod.endpoint.is_empty()) {
        return End::Settles { released, until: until.max(view.now) };
    }
    // What the status does not say yet is not relied on: it is said first.
    if color.released.is_none() || until > view.now {
        draft.wake(until);
        return End::Settles { released, until };
    }
    End::Ends { released }
}
