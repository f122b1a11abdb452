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
pub(crate) struct Made {
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
    made: impl Fn(&Tier, &InstanceName) -> Made,
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
    object
}
