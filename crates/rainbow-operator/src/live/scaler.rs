//! HorizontalPodAutoscalers: Rainbow's own, and those of others that scale a Deployment of Rainbow's.

use rainbow_api::labels;
use std::sync::Arc;

use super::{Meta, ShownApplied, label};
use crate::drift::Content;

#[derive(Clone, Debug)]
pub(crate) struct Scaler {
    pub(crate) meta: Meta,
    /// Labels. Empty: absent.
    pub(crate) tier: Arc<str>,
    pub(crate) color: Arc<str>,
    pub(crate) belongs_to: Arc<str>,
    /// Whether the object carries the labels of objects that Rainbow makes.
    pub(crate) is_ours: bool,
    /// Name of the Deployment that the autoscaler scales. `None`: it scales something else.
    pub(crate) deployment: Option<Box<str>>,
    pub(crate) least: u32,
    pub(crate) most: u32,
    pub(crate) content: Content,
}

impl Scaler {
    /// Returns whether a later state says the same.
    pub(crate) fn is_repeated_by(&self, later: &Self) -> bool {
        self.meta.is_repeated_by(&later.meta) && self.content.is_repeated_by(&later.content)
    }

    pub(super) fn of(object: &ShownApplied) -> Self {
        let (meta, spec) = (&object.metadata, &object.spec);
        let target = &spec["scaleTargetRef"];
        // The version in the reference is the one that its author has looked up, so only the group is compared.
        let group = target["apiVersion"].as_str().and_then(|version| version.split('/').next());
        let is_deployment = target["kind"] == "Deployment" && group == Some("apps");
        let name = target["name"].as_str().filter(|_| is_deployment);
        let number = |field: &str| spec[field].as_u64().and_then(|number| u32::try_from(number).ok());
        let (tier, color) = (label(meta, labels::TIER), label(meta, labels::COLOR));
        let managed = label(meta, labels::MANAGED_BY) == labels::MANAGER;
        Self {
            meta: Meta::of(meta),
            tier: tier.into(),
            color: color.into(),
            belongs_to: label(meta, labels::BELONGS_TO).into(),
            is_ours: managed && ![label(meta, labels::RAINBOW), tier, color].contains(&""),
            deployment: name.map(Into::into),
            least: number("minReplicas").unwrap_or(1),
            most: number("maxReplicas").unwrap_or(u32::MAX),
            content: Content::of(meta, spec),
        }
    }
}
