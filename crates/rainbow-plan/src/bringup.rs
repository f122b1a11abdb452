//! Bring-up: which objects may be applied now. Inner tiers come up first, so no pod ever starts before the tiers that it calls
//! are there.

use crate::{
    Action, ChainKey, Color, Deployment, InstanceName, Object, Part, Presence, Problem, Tier, adopt, colors::Role,
    draft::Draft, hash::NameSet, sizes::Sizes, view::View,
};

/// Applies Services, then Deployments whose needs are met.
pub(crate) fn bring_up<'a>(view: &View<'a>, roles: &[Role], sizes: &Sizes<'a>, draft: &mut Draft) {
    services(view, roles, draft);
    let mut done: NameSet<&InstanceName> = NameSet::default();
    for (id, _) in roles.iter().enumerate().filter(|(_, role)| role.enforced()) {
        let color = view.colors[id];
        for tier in &color.tiers {
            let Some(instance) = color.instances.get(&tier.name) else { continue };
            if let (true, Some(wanted)) = (done.insert(instance), sizes.of(instance)) {
                deployment(view, sizes, color, tier, instance, wanted, draft);
            }
        }
    }
}

/// Applies the Services of instances. A Service costs nothing, and its callers find its name from the first moment. A color that
/// leaves keeps its Services as long as it has pods that may call them.
///
/// An entry tier has a Service, too: its endpoints are the evidence that the cluster knows the pods before a stage moves to them,
/// and readiness gates of load balancers attach to it. Where an object of another owner has its name, time is the evidence.
fn services(view: &View<'_>, roles: &[Role], draft: &mut Draft) {
    let mut done: NameSet<&InstanceName> = NameSet::default();
    for (id, role) in roles.iter().enumerate() {
        let color = view.colors[id];
        // An instance that a part of a stage calls outlives the part.
        let is_own = |instance: &&InstanceName| color.part == Part::Shared || instance.stage.is_some();
        let mut own = color.instances.values().filter(is_own);
        let kept = role.enforced() || own.any(|instance| !view.pods(instance).is_empty());
        if !kept {
            continue;
        }
        let needed: NameSet<&str> = color.tiers.iter().flat_map(|tier| &tier.needs).map(String::as_str).collect();
        for tier in &color.tiers {
            let Some(instance) = color.instances.get(&tier.name) else { continue };
            if !done.insert(instance) {
                continue;
            }
            match view.service(instance) {
                Presence::Absent | Presence::Outdated => {
                    draft.act(start(instance), Action::ApplyService { instance: instance.clone() });
                }
                Presence::Foreign if needed.contains(tier.name.as_str()) => {
                    draft.problem(foreign(Object::Service(instance.clone())));
                }
                Presence::Foreign | Presence::NotNeeded | Presence::Current => {}
            }
        }
    }
}

fn deployment(
    view: &View<'_>,
    sizes: &Sizes<'_>,
    color: &Color,
    tier: &Tier,
    instance: &InstanceName,
    wanted: u32,
    draft: &mut Draft,
) {
    let may_have_deployment = adopt::give_back(view, instance, draft);
    let replicas = match view.deployment(instance) {
        Deployment::Foreign => {
            draft.problem(foreign(Object::Deployment(instance.clone())));
            return;
        }
        Deployment::Absent if !may_have_deployment => None,
        // The new ReplicaSet adopts pods that exist already; `fewer` decides which of them are too many.
        Deployment::Absent => needs_met(view, sizes, color, tier).then_some(wanted.max(view.asked(instance))),
        Deployment::Deleting => None,
        Deployment::Ours { current, replicas, .. } if *replicas < wanted => {
            // Another writer may have asked for fewer pods than there are: a ReplicaSet would choose which of them end.
            let all = wanted.max(view.present(instance));
            // A Deployment that waits for its needs is fixed at the size that it has.
            if needs_met(view, sizes, color, tier) { Some(all) } else { (!*current).then_some(*replicas) }
        }
        // `fewer` decides which pods are too many.
        Deployment::Ours { current, replicas, .. } => (!*current).then_some(*replicas),
    };
    if let Some(replicas) = replicas {
        let action = Action::ApplyDeployment { instance: instance.clone(), replicas, ends: Vec::new() };
        draft.act(start(instance), action);
    }
}

/// Returns whether every instance that the tier calls has all its pods ready, behind a Service that is seen to be ours. Another
/// owner's Service would lead to another owner's pods, and an apply may have been answered without effect.
fn needs_met(view: &View<'_>, sizes: &Sizes<'_>, color: &Color, tier: &Tier) -> bool {
    tier.needs.iter().all(|need| {
        color.instances.get(need).is_some_and(|called| {
            let wanted = sizes.of(called).unwrap_or(0);
            let is_there = !matches!(view.service(called), Presence::Absent | Presence::Foreign);
            is_there && view.ready(called) >= wanted
        })
    })
}

/// Returns the key of the chain that starts an instance. A shared instance belongs to the start of the color that introduced it:
/// trouble with the other instances of a color is not its own.
fn start(instance: &InstanceName) -> ChainKey {
    ChainKey::Start(instance.color.to_string())
}

fn foreign(object: Object) -> Problem {
    Problem::Foreign { object }
}
