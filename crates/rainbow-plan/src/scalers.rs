//! Autoscalers of instances whose tier has `autoscale`: when one exists, and the floor of pods that it asks for.
//!
//! An autoscaler knows the load of pods, and nothing of shifts. While a stage moves, pods that have not joined it are idle, and
//! pods that have left it lose their load. An autoscaler would end the pods that the stage is about to need, and its way back.
//! Therefore the autoscalers of both colors have a floor until the stage has moved: the pods that exist, and those that the stage
//! waits for.
//!
//! Only the connections of an instance that drains decide when it becomes smaller: its autoscaler is deleted first, and seen to
//! be gone.

use crate::{
    Action, ChainKey, Deployment, InstanceName, Object, Problem, Scaler, Scaling,
    colors::Role,
    draft::Draft,
    hash::NameSet,
    situation::{Goal, ServiceTarget, Situation},
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

/// Returns the pods that the autoscaler must leave while a stage moves from or to a color that has the instance. `None`: no stage
/// does.
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
    goes_elsewhere || situation.points == ServiceTarget::Members
}

/// Returns whether an autoscaler of Rainbow's may still ask the instance's Deployment for another number of pods.
pub(crate) fn may_scale(view: &View<'_>, instance: &InstanceName) -> bool {
    matches!(view.scaler(instance), Scaler::Ours { .. } | Scaler::Deleting)
}
