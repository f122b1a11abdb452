//! Autoscalers of instances whose tier has `autoscale`: when there is one, and how few pods it may ask for.
//!
//! An autoscaler knows the load of pods, and nothing of shifts. While a stage moves, the pods that have not joined it are idle, and those
//! that have left it lose their load: an autoscaler would take away what the stage is about to need, and what is its way back. So the
//! autoscalers of both colors have a floor until the stage has moved: the pods that there are, and those that the stage waits for.
//!
//! An instance that drains is made smaller by its connections alone: its autoscaler is deleted first, and seen to be gone.

use crate::{
    Action, ChainKey, Deployment, InstanceName, Object, Problem, Scaler, Scaling,
    colors::Role,
    draft::Draft,
    hash::NameSet,
    situation::{Goal, Points, Situation},
    sizes::Sizes,
    view::View,
};

/// Makes and deletes the autoscalers, and gives each its floor.
pub(crate) fn keep(
    view: &View<'_>,
    situations: &[Situation<'_>],
    roles: &[Role],
    sizes: &Sizes<'_>,
    draft: &mut Draft,
) {
    let mut kept: NameSet<&InstanceName> = NameSet::default();
    for (id, _) in roles.iter().enumerate().filter(|(_, role)| role.enforced()) {
        for instance in view.colors[id].instances.values() {
            let Scaling::Autoscale { least, most } = view.scaling(instance) else { continue };
            if !kept.insert(instance) || !matches!(view.deployment(instance), Deployment::Ours { .. }) {
                continue;
            }
            let floor = floor(view, situations, sizes, instance).map_or(least, |floor| floor.min(most).max(least));
            match view.scaler(instance) {
                Scaler::Ours { current: true, least } if *least == floor => {}
                Scaler::Ours { .. } | Scaler::Absent => {
                    let action = Action::ApplyScaler { instance: instance.clone(), least: floor };
                    draft.act(ChainKey::Start(instance.color.to_string()), action);
                }
                Scaler::Taken | Scaler::Foreign { .. } => {
                    draft.problem(Problem::Foreign { object: Object::Scaler(instance.clone()) });
                }
                Scaler::Deleting => {}
            }
        }
    }
    for (instance, found) in &view.world.instances {
        if matches!(found.scaler, Scaler::Ours { .. }) && !kept.contains(instance) {
            let action = Action::DeleteScaler { instance: instance.clone() };
            draft.act(ChainKey::End(instance.color.to_string()), action);
        }
    }
}

/// Pods that the autoscaler has to leave while a stage moves from or to a color that has the instance. `None`: no stage does.
fn floor(view: &View<'_>, situations: &[Situation<'_>], sizes: &Sizes<'_>, instance: &InstanceName) -> Option<u32> {
    let owners = view.owners(instance);
    let mut moving = situations.iter().filter(|situation| is_moving(situation));
    let is_concerned = moving.any(|situation| owners.iter().any(|owner| situation.touches.contains(owner)));
    is_concerned.then(|| view.asked(instance).max(sizes.of(instance).unwrap_or(0)))
}

fn is_moving(situation: &Situation<'_>) -> bool {
    let goes_elsewhere = match situation.goal {
        Goal::Color(goal) => situation.serving.is_some_and(|serving| serving != goal),
        Goal::Unknown(_) | Goal::Deleting(_) | Goal::Stay => false,
    };
    goes_elsewhere || situation.points == Points::Members
}

/// An autoscaler of Rainbow's may still ask the instance's Deployment for another number of pods.
pub(crate) fn may_scale(view: &View<'_>, instance: &InstanceName) -> bool {
    matches!(view.scaler(instance), Scaler::Ours { .. } | Scaler::Deleting)
}
