//! What may be applied now. Inner tiers come up first, so no pod ever starts before what it calls is there.

use std::collections::HashSet;

use crate::{
    Action, ChainKey, Color, Deployment, InstanceName, Object, Pod, Presence, Problem, Selection, StageKey,
    StageService, Tier, colors::Role, draft::Draft, sizes::Sizes, view::View,
};

/// Applies Services, then Deployments whose needs are met.
pub(crate) fn bring_up<'a>(view: &View<'a>, roles: &[Role], sizes: &Sizes<'a>, draft: &mut Draft) {
    services(view, roles, draft);
    let mut done: HashSet<&InstanceName> = HashSet::new();
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

/// A Service costs nothing, and whoever calls it finds its name from the first moment. A color that leaves keeps its
/// Services as long as it has pods that may call them.
fn services(view: &View<'_>, roles: &[Role], draft: &mut Draft) {
    let mut done: HashSet<&InstanceName> = HashSet::new();
    for (id, role) in roles.iter().enumerate() {
        let color = view.colors[id];
        let kept = role.enforced() || color.instances.values().any(|instance| !view.pods(instance).is_empty());
        if !kept {
            continue;
        }
        let needed: HashSet<&str> = color.tiers.iter().flat_map(|tier| &tier.needs).map(String::as_str).collect();
        for tier in color.tiers.iter().filter(|tier| needed.contains(tier.name.as_str())) {
            let Some(instance) = color.instances.get(&tier.name) else { continue };
            if !done.insert(instance) {
                continue;
            }
            match view.service(instance) {
                Presence::Absent | Presence::Outdated => {
                    draft.act(start(instance), Action::ApplyService { instance: instance.clone() });
                }
                Presence::Foreign => draft.problem(foreign(Object::Service(instance.clone()))),
                Presence::NotNeeded | Presence::Current => {}
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
    let replicas = match view.deployment(instance) {
        Deployment::Foreign => {
            draft.problem(foreign(Object::Deployment(instance.clone())));
            return;
        }
        Deployment::Absent => needs_met(view, sizes, color, tier).then_some(wanted),
        Deployment::Ours { current, replicas, .. } if *replicas < wanted => {
            // What waits for its needs is mended at the size it has.
            if needs_met(view, sizes, color, tier) { Some(wanted) } else { (!*current).then_some(*replicas) }
        }
        Deployment::Ours { current, replicas, .. } if *replicas > wanted && is_left(view, instance, draft) => {
            (!*current).then_some(*replicas)
        }
        Deployment::Ours { current, replicas, .. } => (*replicas > wanted || !*current).then_some(wanted),
    };
    if let Some(replicas) = replicas {
        let action = Action::ApplyDeployment { instance: instance.clone(), replicas, ends: Vec::new() };
        draft.act(start(instance), action);
    }
}

/// A stage has left the instance only just now: its pods may still be sent to, so none of them is too many yet.
fn is_left(view: &View<'_>, instance: &InstanceName, draft: &mut Draft) -> bool {
    let selected = |stage: &StageKey, pod: &Pod| match view.world.stages.get(stage) {
        Some(StageService::Ours { selects: Selection::Instance(selected), .. }) => selected == instance,
        Some(StageService::Ours { selects: Selection::Members, .. }) => is_member(pod, stage),
        _ => true,
    };
    // Its endpoints are about to change, and that will be seen.
    let leaving = view.pods(instance).iter().any(|pod| pod.endpoint.keys().any(|stage| !selected(stage, pod)));
    let left = view.pods(instance).iter().flat_map(|pod| pod.left.values()).max();
    let until = left.map(|left| view.forgotten(*left)).filter(|until| *until > view.now);
    if let Some(until) = until {
        draft.wake(until);
    }
    leaving || until.is_some()
}

/// The pod carries the membership label of the Service's stage.
fn is_member(pod: &Pod, service: &StageKey) -> bool {
    match service {
        StageKey::Stage(stage) | StageKey::Former { stage, .. } => pod.member.contains_key(stage),
        StageKey::Gone { .. } => false,
    }
}

/// Every instance the tier calls has all its pods ready, behind a Service that is ours: behind somebody else's it would
/// reach somebody else's pods.
fn needs_met(view: &View<'_>, sizes: &Sizes<'_>, color: &Color, tier: &Tier) -> bool {
    tier.needs.iter().all(|need| {
        color.instances.get(need).is_some_and(|called| {
            let wanted = sizes.of(called).unwrap_or(0);
            view.service(called) != Presence::Foreign && view.ready(called) >= wanted
        })
    })
}

/// A shared instance belongs to the start of the color that introduced it: trouble with the others is not its own.
fn start(instance: &InstanceName) -> ChainKey {
    ChainKey::Start(instance.color.clone())
}

fn foreign(object: Object) -> Problem {
    Problem::Foreign { object }
}
