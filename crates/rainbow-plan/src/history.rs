//! History: which retired colors are kept, and how a color is deleted for good.

use std::collections::BTreeSet;

use crate::{
    Action, ChainKey, Deployment, InstanceName, Part, Presence, Scaler, Time,
    colors::Role,
    dag::entry_first,
    draft::Draft,
    drain::Ending,
    view::{ColorId, View},
};

/// Deletes colors that are being deleted and have no pods left, and the longest retired ones past `keep.history`.
pub(crate) fn prune(view: &View<'_>, roles: &[Role], ends: &[Ending], draft: &mut Draft) {
    let mut retired: Vec<(bool, Time, i64, ColorId)> = Vec::new();
    let mut goes: BTreeSet<ColorId> = BTreeSet::new();
    let has_ended = |id: ColorId| matches!(ends[id], Ending::Retired { .. });
    for (id, end) in ends.iter().enumerate() {
        let color = view.colors[id];
        if color.part != Part::Shared {
            continue;
        }
        if !view.parts(id).all(has_ended) {
            continue;
        }
        match end {
            Ending::Retired { .. } if color.deleting => {
                goes.insert(id);
            }
            // The newest color, and the spec's own, would only be made again.
            Ending::Retired { retired: at, .. }
                if color.name != view.spec.color && view.newest != Some(id) && roles[id] == Role::Leaving =>
            {
                // A color that never served is no way back: it is deleted before all colors that served.
                retired.push((!view.never_served(id), *at, color.revision, id));
            }
            _ => {}
        }
    }
    retired.sort_unstable();
    let over = retired.len().saturating_sub(view.spec.keep.history as usize);
    goes.extend(retired.iter().take(over).map(|(.., id)| *id));
    let parts: Vec<ColorId> = goes.iter().flat_map(|id| view.parts(*id)).collect();
    goes.extend(parts);
    // The tiers of a stage that is gone serve no way back.
    let is_left_over = |id: &ColorId| match &view.colors[*id].part {
        Part::Shared => false,
        Part::Own { key, .. } => {
            has_ended(*id)
                && roles[*id] == Role::Leaving
                && view.spec.stages.iter().all(|stage| stage.name != key.stage)
        }
    };
    goes.extend((0..ends.len()).filter(is_left_over));
    // The oldest is deleted first, so that a crash leaves the colors that would have been kept longest.
    for id in goes.iter().rev() {
        let color = view.colors[*id];
        let end = || ChainKey::End(color.name.clone());
        for instance in entry_first(color).into_iter().filter_map(|tier| color.instances.get(&tier.name)) {
            let last = view.owners(instance).iter().filter(|owner| goes.contains(owner)).max() == Some(id);
            if last
                && view.owners(instance).iter().all(|owner| goes.contains(owner))
                && exists(view, instance)
                && !draft.taken.contains(instance)
            {
                draft.act(end(), Action::DeleteInstance { instance: instance.clone() });
            }
        }
        if color.part == Part::Shared {
            draft.act(end(), Action::DeleteColor { color: color.name.clone() });
        }
    }
}

/// Returns whether the instance has a Deployment, an autoscaler or a Service of ours to delete.
pub(crate) fn exists(view: &View<'_>, instance: &InstanceName) -> bool {
    matches!(view.deployment(instance), Deployment::Ours { .. })
        || matches!(view.scaler(instance), Scaler::Ours { .. })
        || (view.world.instances.contains_key(instance)
            && matches!(view.service(instance), Presence::Outdated | Presence::Current))
}
