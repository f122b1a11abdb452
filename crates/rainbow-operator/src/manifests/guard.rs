//! PodDisruptionBudgets of pods that hold connections while their color drains, and of stages that are held in the middle of a shift.

use rainbow_api::{Rainbow, labels, names};
use serde_json::{Value, json};

use super::{Scope, owned};
use crate::kind::Kind;

/// More pods than any cluster has. Kubernetes is tested with 150,000.
const ALL_PODS: u32 = 1_000_000;

/// Returns the PodDisruptionBudget of pods that hold connections. It selects no others. It has a number of pods: for percentages and
/// `maxUnavailable` the scale of the pods' controller is read, and the Rainbow, which controls a pod that drains, has none.
pub(crate) fn guard(scope: &Scope<'_>, rainbow: &Rainbow) -> Value {
    let of_rainbow = [(labels::RAINBOW.to_owned(), json!(scope.rainbow))].into_iter().collect();
    let spec = json!({
        "minAvailable": ALL_PODS,
        "selector": { "matchLabels": { labels::RAINBOW: scope.rainbow, labels::HOLDING: labels::YES } },
    });
    owned(scope, rainbow, Kind::PodDisruptionBudget, &names::guard(scope.rainbow), of_rainbow, spec)
}

/// Returns the PodDisruptionBudget of a stage that is held: `least` members must stay. It has a number of pods, since members belong to
/// several Deployments, whose sizes do not tell how many pods the stage wants. `label` is the stage after which the membership labels of
/// its pods are named.
pub(crate) fn stage_budget(scope: &Scope<'_>, rainbow: &Rainbow, stage: &str, label: &str, least: u32) -> Value {
    let labels = [(labels::RAINBOW.to_owned(), json!(scope.rainbow)), (labels::STAGE.to_owned(), json!(stage))];
    let spec = json!({
        "minAvailable": least,
        "selector": { "matchLabels": { labels::RAINBOW: scope.rainbow, labels::member(label): labels::MEMBER } },
    });
    let name = names::stage_budget(scope.rainbow, stage);
    owned(scope, rainbow, Kind::PodDisruptionBudget, &name, labels.into_iter().collect(), spec)
}
