//! Orphans: instances that no color has, because a user took their color away by force. They end as a deleted color does, entry
//! tiers first.

use crate::{
    Action, ChainKey, InstanceName, Selection, StageService, Version, adopt, draft::Draft, history::exists, view::View,
};

/// Deletes orphans that no client can be sent to and that no other orphan calls.
pub(crate) fn delete(view: &View<'_>, draft: &mut Draft) {
    // Only the newest tiers tell which tier calls which: the color that knew it is gone.
    let tiers = match (view.spec.version, view.newest) {
        (Version::Valid, _) => &view.spec.tiers,
        (Version::Invalid, Some(newest)) => &view.colors[newest].tiers,
        (Version::Invalid, None) => return,
    };
    let is_orphan = |instance: &&InstanceName| {
        let is_there = exists(view, instance) || view.alive(instance).next().is_some();
        view.owners(instance).is_empty() && is_there && !draft.taken.contains(*instance)
    };
    let orphans: Vec<&InstanceName> = view.world.instances.keys().filter(is_orphan).collect();
    for orphan in &orphans {
        let called = |caller: &InstanceName| {
            let tier = tiers.iter().find(|tier| tier.name == *caller.tier);
            tier.is_some_and(|tier| tier.needs.iter().chain(&tier.calls).any(|called| *called == *orphan.tier))
                && tier.is_some_and(|tier| tier.name != *orphan.tier)
        };
        let has_callers = orphans.iter().any(|caller| called(caller))
            || view.world.pods.iter().any(|pod| view.owners(&pod.instance).is_empty() && called(&pod.instance));
        if !has_callers && !in_use(view, orphan, draft) {
            if exists(view, orphan) {
                let end = ChainKey::End(orphan.color.to_string());
                draft.act(end, Action::DeleteInstance { instance: (*orphan).clone() });
            }
            adopt::remove(view, orphan, draft);
        }
    }
}

/// Returns whether clients of a stage may be sent to the orphan.
fn in_use(view: &View<'_>, orphan: &InstanceName, draft: &mut Draft) -> bool {
    let selected = view.world.stages.values().any(
        |service| matches!(service, StageService::Ours { selects: Selection::Instance(instance), .. } if instance == orphan),
    );
    let pods = view.pods(orphan);
    if selected || pods.iter().any(|pod| !pod.endpoint.is_empty() || !pod.member.is_empty()) {
        return true;
    }
    let left = pods.iter().flat_map(|pod| pod.left.values()).max();
    let until = left.map(|left| view.forgotten(*left)).filter(|until| *until > view.now);
    if let Some(until) = until {
        draft.wake(until);
    }
    until.is_some()
}
