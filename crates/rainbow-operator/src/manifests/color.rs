//! A `Color`: the snapshot of the tiers.

use rainbow_api::{Color, ColorInstance, ColorSpec, Rainbow, Sidecar, Tier, identities, labels, names};
use rainbow_plan::InstanceName;
use serde_json::{Map, Value, json};

use super::{Scope, managed, owner};

/// A new `Color` of the tiers in the spec. It is created, never applied again: its spec is immutable.
pub(crate) fn color(
    scope: &Scope<'_>,
    rainbow: &Rainbow,
    name: &str,
    revision: i64,
    instances: &[(String, InstanceName)],
    sidecar: impl Fn(&Tier, &InstanceName) -> Option<Sidecar>,
) -> Value {
    let identities = identities(&rainbow.spec.tiers);
    let tier = |name: &str| rainbow.spec.tiers.iter().find(|tier| tier.name == name);
    let instances = instances.iter().map(|(name, instance)| ColorInstance {
        tier: name.clone(),
        color: instance.color.clone(),
        identity: identities.get(name).cloned().unwrap_or_default(),
        sidecar: tier(name).and_then(|tier| sidecar(tier, instance)),
    });
    let spec = ColorSpec {
        rainbow: scope.rainbow.to_owned(),
        color: name.to_owned(),
        revision,
        tiers: rainbow.spec.tiers.clone(),
        instances: instances.collect(),
        retire: false,
        drain: None,
    };
    let labels: Map<String, Value> = [(labels::RAINBOW, scope.rainbow), (labels::COLOR, name)]
        .map(|(key, value)| (key.to_owned(), json!(value)))
        .into_iter()
        .collect();
    let mut object = json!(Color::new(&names::color_object(scope.rainbow, name), spec));
    object["metadata"] = json!({
        "name": names::color_object(scope.rainbow, name),
        "namespace": scope.namespace,
        "labels": managed(labels),
        "finalizers": [labels::FINALIZER],
        "ownerReferences": owner(scope, rainbow),
    });
    object
}
