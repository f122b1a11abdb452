//! Writes that are still on their way: those of an operator that led before, and own writes that were not answered.
//!
//! A write that ends pods names exactly the object that was seen (`only_as_seen`, preconditions of deletions). That does not suffice for a
//! color that drains and is taken back: nothing has changed its objects since the decision to end its pods. So the objects that such a
//! write would go to are changed first, and a late write is refused. That costs a round of writes before the Service, so it is done only
//! while something can be on its way.

use rainbow_api::labels;
use rainbow_plan::{Action, Chain, Controller, Deployment, InstanceName, Selection};
use serde_json::json;
use std::{collections::BTreeSet, sync::Arc, time::Duration};

use super::{Batch, CompileInput, Operation};
use crate::{clock::timestamp, domain, kind::Kind};

/// Longest time that an API server works on a request (`--request-timeout` of kube-apiserver).
pub(crate) const ON_ITS_WAY: Duration = Duration::from_secs(60);

/// Returns the writes that come before all others of a chain.
pub(super) fn precautions(chain: &Chain, basis: CompileInput<'_>) -> Batch {
    if basis.late_until <= basis.now {
        return Batch::new();
    }
    let taken_back: BTreeSet<&InstanceName> =
        chain.actions.iter().flat_map(|action| taken_back(action, basis)).collect();
    taken_back.into_iter().flat_map(|instance| touch(instance, basis)).collect()
}

/// Returns the instances to which an action sends clients again.
fn taken_back<'a>(action: &'a Action, basis: CompileInput<'a>) -> Vec<&'a InstanceName> {
    let world = &basis.observed.world;
    let of_pod = |pod: &str| world.pods.iter().find(|known| *known.name == *pod).map(|pod| &pod.instance);
    // The entry tier passes its calls on to the inner tiers.
    let of_colors = |entry: &InstanceName| -> Vec<&'a InstanceName> {
        // A color that drains, and one that a shift leaves, are those whose pods end.
        let is_left = |color: &str| {
            let mut shifts = world.memory.stages.values().filter_map(|stage| stage.shift.as_ref());
            shifts.any(|shift| shift.from == color)
        };
        let is_released = |color: &rainbow_plan::Color| {
            color.released.is_some() || color.parts.iter().any(|part| part.released.is_some())
        };
        let colors = world.colors.iter().filter(|color| is_released(color) || is_left(&color.name));
        let of_stage = |known: &InstanceName| {
            let own = entry.stage.as_ref().map(|stage| known.of_stage(Arc::clone(stage)));
            let named = own.and_then(|own| world.instances.get_key_value(&own));
            named.or_else(|| world.instances.get_key_value(known)).map(|(name, _)| name)
        };
        colors
            .filter(|color| domain::has_version(color, entry))
            .flat_map(|color| color.instances.values().filter_map(of_stage))
            .collect()
    };
    match action {
        Action::ApplyStage { selects: Selection::Instance(instance), .. } => of_colors(instance),
        Action::Join { pod, .. } => of_pod(pod).map(of_colors).unwrap_or_default(),
        // The pod belongs to an instance that was to become smaller.
        Action::PutBack { pod } => of_pod(pod).into_iter().collect(),
        _ => Vec::new(),
    }
}

/// Changes the objects to which a write that ends an instance's pods would go.
fn touch(instance: &InstanceName, basis: CompileInput<'_>) -> Vec<Operation> {
    let world = &basis.observed.world;
    let name = domain::object_name(basis.scope.prefix, instance);
    let is_ours =
        world.instances.get(instance).is_some_and(|found| matches!(found.deployment, Deployment::Ours { .. }));
    let deployment = is_ours.then_some((Kind::Deployment, name));
    // Without a Deployment, Rainbow itself ends the pods.
    let pods = world.pods.iter().filter(|pod| pod.instance == *instance && pod.controller == Controller::Rainbow);
    let pods = pods.map(|pod| (Kind::Pod, pod.name.to_string()));
    let body = json!({ "metadata": { "annotations": { labels::TAKEN_BACK: timestamp(basis.now) } } });
    let touch = |(kind, name)| Operation::Touch { kind, name, body: body.clone() };
    deployment.into_iter().chain(pods).map(touch).collect()
}
