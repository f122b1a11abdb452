//! Manifest of a `Color`: the snapshot of the tiers.

use rainbow_api::{
    Color, ColorConfig, ColorInstance, ColorSpec, Rainbow, ServiceLinks, Sidecar, TerminationMessages, Tier, Version,
    labels, names,
};
use rainbow_plan::InstanceName;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

use super::{Scope, managed, owner};

/// Additions of the operator to an instance's pods. They are recorded when the instance is made, so that an upgrade restarts nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PodAdditions {
    /// Counter of connections.
    pub(crate) sidecar: Option<Sidecar>,
    /// Whether the pods carry the label that Services ask for.
    pub(crate) serving_label: bool,
    pub(crate) service_links: ServiceLinks,
    pub(crate) termination_messages: TerminationMessages,
}

/// Color to be made of the tiers in the spec.
pub(crate) struct NewColor<'a> {
    pub(crate) name: &'a str,
    pub(crate) revision: i64,
    pub(crate) instances: &'a [(String, InstanceName)],
    pub(crate) entries: &'a BTreeMap<String, String>,
    pub(crate) version: Option<&'a Version>,
    /// Copies that the version reads.
    pub(crate) config: &'a [ColorConfig],
}

/// Returns a new `Color` of the tiers in the spec. It is created and never applied again: its spec is immutable.
pub(crate) fn color(
    scope: &Scope<'_>,
    rainbow: &Rainbow,
    new: &NewColor<'_>,
    made: impl Fn(&Tier, &InstanceName) -> PodAdditions,
) -> Value {
    let NewColor { name, revision, instances, entries, version, config } = *new;
    let tiers = scope.templates.unpacked(&rainbow.spec.tiers);
    let identity = |tier: &str| version.and_then(|version| version.identities.get(tier)).cloned();
    let tier = |name: &str| rainbow.spec.tiers.iter().find(|tier| tier.name == name);
    let instances = instances.iter().map(|(name, instance)| {
        let made = tier(name).map(|tier| made(tier, instance)).unwrap_or_default();
        ColorInstance {
            tier: name.clone(),
            color: instance.color.to_string(),
            identity: identity(name).unwrap_or_default(),
            sidecar: made.sidecar,
            serving_label: made.serving_label,
            service_links: made.service_links,
            termination_messages: made.termination_messages,
        }
    });
    let spec = ColorSpec {
        rainbow: scope.rainbow.to_owned(),
        color: name.to_owned(),
        revision,
        tiers,
        instances: instances.collect(),
        entries: entries.clone(),
        evidence: Some(rainbow.spec.evidence(&rainbow.spec.tiers)),
        config: config.to_vec(),
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
    let causes = causes(rainbow, name);
    if !causes.is_empty() {
        object["metadata"]["annotations"] = Value::Object(causes);
    }
    object
}

/// Why the color is made, and who released it, as far as the Rainbow says so of this color.
fn causes(rainbow: &Rainbow, color: &str) -> Map<String, Value> {
    let annotation = |key: &str| rainbow.metadata.annotations.as_ref().and_then(|all| all.get(key));
    let cause = annotation(labels::CHANGE_CAUSE).filter(|cause| !cause.is_empty());
    // Another writer may have changed the version since, and is not named.
    let by = annotation(labels::RELEASED_BY).and_then(|by| by.split_once(' ')).filter(|(of, _)| *of == color);
    let cause = cause.map(|cause| (labels::CHANGE_CAUSE.to_owned(), json!(cause)));
    cause.into_iter().chain(by.map(|(_, by)| (labels::RELEASED_BY.to_owned(), json!(by)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_color_keeps_why_it_was_made_and_by_whom() {
        let of = |annotations: Value| {
            let rainbow: Rainbow = serde_json::from_value(json!({
                "metadata": { "name": "shop", "annotations": annotations }, "spec": { "tiers": [] },
            }))
            .unwrap();
            Value::Object(causes(&rainbow, "v2"))
        };
        let both =
            of(json!({ "kubernetes.io/change-cause": "new prices", "rainbow.dev/released-by": "v2 ann b", "x": "y" }));
        assert_eq!(both, json!({ "kubernetes.io/change-cause": "new prices", "rainbow.dev/released-by": "ann b" }));
        let other = of(json!({ "kubernetes.io/change-cause": "", "rainbow.dev/released-by": "v1 ann" }));
        assert_eq!(other, json!({}), "of an earlier color");
        assert_eq!(of(json!(null)), json!({}));
    }
}
