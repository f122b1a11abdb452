//! Pods without a Deployment: those of a color that drains while some of its pods hold connections.
//!
//! A ReplicaSet ends pods that are not ready before idle ones, and a Deployment replaces all pods when its template changes.
//! Therefore an instance with busy pods loses its controllers while it drains. Each step is seen before the next is taken:
//!
//! 1. Delete the Deployment, and leave its ReplicaSets and pods running.
//! 2. Delete the ReplicaSets, and leave the pods running.
//! 3. Make the Rainbow the controller of the pods. `kubectl drain` refuses pods that have no controller, and the garbage
//!    collector ends the pods with the Rainbow.
//! 4. Delete each pod when the evidence allows it (`release`). Nothing replaces it.
//!
//! An instance that is taken back goes the other way: the Rainbow's references come off, then the Deployment is made again. The
//! same template makes a ReplicaSet of the same name, which adopts the pods. A Deployment that comes too early starts pods of its
//! own.

use crate::{Action, Cascade, ChainKey, Controller, Deployment, InstanceName, Pod, Why, draft::Draft, view::View};

/// Takes the next step towards pods whose only controller is the Rainbow. Does nothing when the pods are in that state already.
pub(crate) fn take_over(view: &View<'_>, instance: &InstanceName, draft: &mut Draft) {
    match view.deployment(instance) {
        Deployment::Ours { .. } => act(instance, Action::OrphanDeployment { instance: instance.clone() }, draft),
        Deployment::Absent => take_from_replica_sets(view, instance, Cascade::Orphan, draft),
        Deployment::Deleting | Deployment::Foreign => {}
    }
}

/// Deletes the ReplicaSets that have pods of an instance without a Deployment, then adopts the pods that are left.
fn take_from_replica_sets(view: &View<'_>, instance: &InstanceName, cascade: Cascade, draft: &mut Draft) {
    if view.alive(instance).any(|pod| pod.controller == Controller::ReplicaSet) {
        act(instance, Action::DeleteReplicaSets { instance: instance.clone(), cascade }, draft);
        return;
    }
    for pod in controlled_by(view, instance, Controller::None) {
        act(instance, Action::Adopt { pod: pod.name.to_string() }, draft);
    }
}

/// Ends a pod whose controller is the Rainbow.
pub(crate) fn end(pod: &Pod, why: Why, draft: &mut Draft) {
    act(&pod.instance, Action::EndPod { pod: pod.name.to_string(), why }, draft);
}

/// Ends the pods of an instance that has no Deployment and that ends for good, even where they hold connections.
pub(crate) fn remove(view: &View<'_>, instance: &InstanceName, draft: &mut Draft) {
    if *view.deployment(instance) != Deployment::Absent {
        return;
    }
    take_from_replica_sets(view, instance, Cascade::Background, draft);
    for pod in controlled_by(view, instance, Controller::Rainbow) {
        end(pod, Why::Deadline, draft);
    }
}

/// Gives the pods of an instance that lives again back to its Deployment. Returns whether the Deployment may be made: the Rainbow
/// is the controller of none of the pods any more.
pub(crate) fn give_back(view: &View<'_>, instance: &InstanceName, draft: &mut Draft) -> bool {
    let is_absent = matches!(view.deployment(instance), Deployment::Absent | Deployment::Deleting);
    // Beside a Deployment, a pod that was taken out of its Services ends with the Rainbow as its controller (`release`).
    let mut found = controlled_by(view, instance, Controller::Rainbow);
    found.retain(|pod| is_absent || !crate::view::is_out(pod));
    for pod in &found {
        draft.act(ChainKey::Start(instance.color.to_string()), Action::Disown { pod: pod.name.to_string() });
    }
    found.is_empty()
}

/// Returns the pods of an instance with this controller, by name.
fn controlled_by<'a>(view: &View<'a>, instance: &InstanceName, controller: Controller) -> Vec<&'a Pod> {
    let mut found: Vec<&Pod> = view.alive(instance).filter(|pod| pod.controller == controller).collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

fn act(instance: &InstanceName, action: Action, draft: &mut Draft) {
    draft.act(ChainKey::End(instance.color.to_string()), action);
}
