//! The guard of a Rainbow's pods that hold connections while their color drains: no eviction takes them.

use rainbow_api::{Rainbow, labels, names};
use serde_json::{Value, json};

use super::{Scope, managed, owner};
use crate::kind::Kind;

/// The PodDisruptionBudget. It counts pods that carry the mark only, so it is in nobody's way otherwise.
pub(crate) fn guard(scope: &Scope<'_>, rainbow: &Rainbow) -> Value {
    let of_rainbow = [(labels::RAINBOW.to_owned(), json!(scope.rainbow))].into_iter().collect();
    json!({
        "apiVersion": Kind::PodDisruptionBudget.api_version(),
        "kind": Kind::PodDisruptionBudget.name(),
        "metadata": {
            "name": names::guard(scope.rainbow),
            "namespace": scope.namespace,
            "labels": managed(of_rainbow),
            "ownerReferences": owner(scope, rainbow),
        },
        "spec": {
            "maxUnavailable": 0,
            "selector": { "matchLabels": { labels::RAINBOW: scope.rainbow, labels::HOLDING: labels::YES } },
        },
    })
}
