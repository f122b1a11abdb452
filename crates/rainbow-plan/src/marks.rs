//! Marks of pods, and the guard of those that hold connections.
//!
//! While a color drains, evictions and autoscalers must not cut the connections that the drain waits for. Therefore every pod
//! that has connections is marked as held, and with it all pods of the tiers that it calls in its color. A held pod stays held
//! until it ends: a pod that is busy now and then would otherwise be written to each time. A color that is taken back loses all
//! marks.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    Action, ChainKey, Controller, Deployment, InstanceName, Mark, Object, Pod, Presence, Problem,
    draft::Draft,
    drain::Ending,
    evidence::{Verdict, is_held},
    hash::NameMap,
    release::{EndingInstance, LeavingPod},
    view::View,
};

/// Marks pods, takes marks off, and keeps the guard as long as a pod is held.
pub(crate) fn mark(view: &View<'_>, ends: &[Ending], going: &[EndingInstance<'_>], draft: &mut Draft) {
    let cleared = cleared(view, ends, going);
    let mut wanted = wanted(view, going);
    wanted.extend(cleared.iter().map(|pod| (*pod, Mark::None)));
    let marked = view.world.pods.iter().filter(|pod| pod.mark != Mark::None && !pod.terminating);
    let kept: BTreeMap<&str, Mark> = marked.map(|pod| (&*pod.name, pod.mark)).collect();
    let held_now = kept.values().any(|mark| *mark == Mark::Held);
    let held = wanted.values().any(|mark| *mark == Mark::Held)
        || kept.iter().any(|(pod, mark)| wanted.get(*pod).unwrap_or(mark) == &Mark::Held);
    if held {
        match view.world.guard {
            Presence::NotNeeded | Presence::Absent | Presence::Outdated => {
                draft.act(ChainKey::Guard, Action::ApplyGuard)
            }
            Presence::Foreign => {
                draft.problem(Problem::Foreign { object: Object::Guard });
            }
            Presence::Current => {}
        }
    }
    let changes: BTreeMap<&str, (&Pod, Mark)> = view
        .world
        .pods
        .iter()
        .filter_map(|pod| Some((&*pod.name, (pod, *wanted.get(&*pod.name)?))))
        .filter(|(_, (pod, mark))| !pod.terminating && pod.mark != *mark)
        .collect();
    for (pod, mark) in changes.into_values() {
        // A pod that its color takes back may lose its controller reference by the same plan: both writes are in one chain, one
        // after the other.
        let is_cleared = cleared.contains(&*pod.name);
        let chain = if is_cleared { ChainKey::Start } else { ChainKey::End };
        draft.act(chain(pod.instance.color.to_string()), Action::Mark { pod: pod.name.to_string(), mark });
    }
    // The guard is a chain of its own: it is deleted when the marks are seen to be gone.
    if !held && !held_now {
        unguard(view, draft);
    }
}

/// Deletes the guard.
pub(crate) fn unguard(view: &View<'_>, draft: &mut Draft) {
    if matches!(view.world.guard, Presence::Outdated | Presence::Current) {
        draft.act(ChainKey::Guard, Action::DeleteGuard);
    }
}

/// Returns the marks that pods of instances that end or become smaller should have, by name. A pod that is not named keeps its
/// mark.
fn wanted<'a>(view: &View<'a>, going: &[EndingInstance<'a>]) -> BTreeMap<&'a str, Mark> {
    let holding = holding(view, going);
    let mut wanted = BTreeMap::new();
    for one in going {
        let next = if one.lives { one.next(view) } else { BTreeSet::new() };
        wanted.extend(next.iter().map(|pod| (*pod, Mark::Leaving)));
        let goes = |leaver: &LeavingPod<'_>| one.open && matches!(leaver.verdict, Verdict::Goes(_));
        let stay = one.pods.iter().filter(|leaver| !goes(leaver) && !next.contains(&*leaver.pod.name));
        for leaver in stay {
            let pod = leaver.pod;
            let held = if one.exposed { holds(view, leaver) } else { holding.contains(one.instance) };
            // Removing the mark (a deletion cost) while the Deployment deletes pods can delete a different pod.
            let stuck = pod.mark == Mark::Leaving && one.is_shrinking(view);
            match (held, pod.mark) {
                _ if stuck => {}
                (true, Mark::None | Mark::Leaving) => {
                    wanted.insert(&*pod.name, Mark::Held);
                }
                (false, Mark::Leaving) => {
                    wanted.insert(&*pod.name, Mark::None);
                }
                (true, Mark::Held) | (false, Mark::Held | Mark::None) => {}
            }
        }
    }
    wanted
}

/// Returns the pods that lose their marks because a color that has them lives.
fn cleared<'a>(view: &View<'a>, ends: &[Ending], going: &[EndingInstance<'a>]) -> BTreeSet<&'a str> {
    let goes = |leaver: &&LeavingPod<'_>| leaver.verdict != Verdict::Serves;
    let going: BTreeSet<&str> =
        going.iter().flat_map(|one| one.pods.iter().filter(goes)).map(|leaver| &*leaver.pod.name).collect();
    let marked = view.world.pods.iter().filter(|pod| pod.mark != Mark::None && !pod.terminating);
    let living = marked
        .filter(|pod| !going.contains(&*pod.name))
        .filter(|pod| view.owners(&pod.instance).iter().any(|owner| ends[*owner] == Ending::Lives));
    living.filter(|pod| may_be_cleared(view, pod)).map(|pod| &*pod.name).collect()
}

/// Returns whether the mark may be taken off: the Deployment of a color that was taken back has observed that it should keep all
/// its pods.
fn may_be_cleared(view: &View<'_>, pod: &Pod) -> bool {
    let alive = view.pods(&pod.instance).iter().filter(|pod| !pod.terminating).count();
    match view.deployment(&pod.instance) {
        _ if pod.mark == Mark::Held => true,
        Deployment::Ours { replicas, observed, .. } => *observed && *replicas as usize >= alive,
        // Only a ReplicaSet chooses by marks.
        Deployment::Absent => pod.controller != Controller::ReplicaSet,
        Deployment::Deleting | Deployment::Foreign => false,
    }
}

/// Returns whether the pod has connections, or it has been unknown for a while whether it has any.
pub(crate) fn holds(view: &View<'_>, leaver: &LeavingPod<'_>) -> bool {
    leaver.verdict == Verdict::Holds && is_held(view, &leaver.clock, leaver.pod)
}

/// Returns the instances that hold connections, and those that they call directly or through other tiers.
fn holding<'a>(view: &View<'a>, going: &[EndingInstance<'a>]) -> BTreeSet<&'a InstanceName> {
    let by_name: NameMap<&InstanceName, &EndingInstance<'_>> = going.iter().map(|one| (one.instance, one)).collect();
    let mut found = BTreeSet::new();
    let mut next: Vec<&InstanceName> = going
        .iter()
        .filter(|one| one.exposed && one.pods.iter().any(|leaver| holds(view, leaver)))
        .map(|one| one.instance)
        .collect();
    while let Some(instance) = next.pop() {
        if !by_name.contains_key(instance) || !found.insert(instance) {
            continue;
        }
        for color in view.owners(instance).iter().map(|owner| view.colors[*owner]) {
            let needs = color.tiers.iter().filter(|tier| tier.name == *instance.tier).flat_map(|tier| &tier.needs);
            next.extend(needs.filter_map(|need| color.instances.get(need)));
        }
    }
    found
}
