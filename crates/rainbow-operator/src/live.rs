//! State that is kept of watched objects: no more than decisions need, so that memory grows only with what matters.

mod copy;
mod faults;
mod image;
mod owner;
mod pod;
mod root;
mod scaler;
mod shown;
mod slice;
mod templates;
mod trouble;
mod workload;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use rainbow_api::{Color, ColorSpec, ConfigKind, labels};
use rainbow_plan::InstanceName;
use std::sync::Arc;

use crate::{key::Key, uid::Uid};

pub(crate) use copy::{Check, Copied};
pub(crate) use faults::Faults;
pub(crate) use image::NOT_PULLED;
pub(crate) use owner::rainbow_of;
pub(crate) use pod::{Pod, PodLabels};
pub(crate) use root::Root;
pub(crate) use scaler::Scaler;
pub(crate) use shown::{Shown, ShownApplied, ShownCustom, ShownMeta, ShownPod, ShownSlice};
pub(crate) use slice::{Slice, SliceOf};
pub(crate) use templates::Templates;
pub(crate) use trouble::Trouble;
pub(crate) use workload::{Budget, Deployment, Service};

/// Returns the name of an instance by the labels of its objects. All stages share an instance that belongs to no stage.
pub(crate) fn instance(tier: impl Into<Arc<str>>, color: impl Into<Arc<str>>, belongs_to: &str) -> InstanceName {
    let shared = InstanceName::shared(tier, color);
    if belongs_to.is_empty() { shared } else { shared.of_stage(belongs_to) }
}

/// Implements `instance` for objects that belong to an instance.
macro_rules! of_an_instance {
    ($($kind:ident)*) => {
        $(
            impl $kind {
                /// Returns the name of the instance.
                pub(crate) fn instance(&self) -> InstanceName {
                    let (tier, color) = (Arc::clone(&self.tier), Arc::clone(&self.color));
                    let stage = (!self.belongs_to.is_empty()).then(|| Arc::clone(&self.belongs_to));
                    InstanceName { tier, color, stage }
                }
            }
        )*
    };
}

of_an_instance! { Deployment Service Pod Scaler }

/// Object that a watch has shown, with the application that it belongs to.
pub(crate) struct Object {
    pub(crate) key: Key,
    pub(crate) name: String,
    pub(crate) version: u64,
    pub(crate) live: Live,
}

/// State that is kept of an object, by its kind.
pub(crate) enum Live {
    Rainbow(Root),
    /// `None`: the object cannot be read.
    Color(Option<Box<Color>>),
    Deployment(Box<Deployment>),
    Service(Box<Service>),
    Pod(Box<Pod>),
    Slice(Box<Slice>),
    Budget(Box<Budget>),
    Scaler(Box<Scaler>),
    /// `None`: the object is no copy of Rainbow's.
    Config(ConfigKind, Option<Box<Copied>>),
}

impl Object {
    /// Returns an object of a kind that the operator makes. An object of another writer has at most a label of ours, and belongs to no
    /// application.
    fn owned(meta: &ObjectMeta, live: Live) -> Self {
        Self::new(meta, rainbow_of(meta).unwrap_or_default(), live)
    }

    /// Returns an object that others make from one of ours, with its labels.
    fn labeled(meta: &ObjectMeta, live: Live) -> Self {
        Self::new(meta, label(meta, labels::RAINBOW), live)
    }

    fn new(meta: &ObjectMeta, rainbow: &str, live: Live) -> Self {
        Self {
            key: Key { namespace: meta.namespace.clone().unwrap_or_default(), name: rainbow.to_owned() },
            name: meta.name.clone().unwrap_or_default(),
            version: version(meta),
            live,
        }
    }

    pub(crate) fn rainbow(shown: ShownCustom) -> Self {
        let metadata = needed(&shown.metadata);
        let name = metadata.name.clone().unwrap_or_default();
        Self::new(&metadata, &name, Live::Rainbow(Root::of(shown)))
    }

    pub(crate) fn color(shown: ShownCustom) -> Self {
        let ShownCustom { metadata, spec, status } = shown;
        let color = serde_json::from_value(spec).and_then(|spec: ColorSpec| {
            Ok(Box::new(Color { metadata: needed(&metadata), spec, status: serde_json::from_value(status)? }))
        });
        if let Err(error) = &color {
            tracing::warn!(color = ?metadata.name, %error, "a Color cannot be read and is left out");
        }
        let rainbow = color
            .as_ref()
            .map_or_else(|_| label(&metadata, labels::RAINBOW).to_owned(), |color| color.spec.rainbow.clone());
        Self::new(&metadata, &rainbow, Live::Color(color.ok()))
    }

    pub(crate) fn deployment(shown: ShownApplied) -> Self {
        Self::owned(&shown.metadata, Live::Deployment(Box::new(Deployment::of(&shown))))
    }

    pub(crate) fn service(shown: ShownApplied) -> Self {
        Self::owned(&shown.metadata, Live::Service(Box::new(Service::of(&shown))))
    }

    pub(crate) fn budget(shown: ShownApplied) -> Self {
        Self::owned(&shown.metadata, Live::Budget(Box::new(Budget::of(&shown))))
    }

    pub(crate) fn scaler(shown: ShownApplied) -> Self {
        Self::owned(&shown.metadata, Live::Scaler(Box::new(Scaler::of(&shown))))
    }

    pub(crate) fn config_map(shown: ShownMeta) -> Self {
        Self::config(ConfigKind::ConfigMap, &shown)
    }

    pub(crate) fn secret(shown: ShownMeta) -> Self {
        Self::config(ConfigKind::Secret, &shown)
    }

    fn config(kind: ConfigKind, shown: &ShownMeta) -> Self {
        let copy = Copied::of(shown);
        let rainbow = rainbow_of(&shown.metadata).filter(|_| copy.is_some()).unwrap_or_default();
        Self::new(&shown.metadata, rainbow, Live::Config(kind, copy))
    }

    pub(crate) fn pod(shown: ShownPod) -> Self {
        Self::labeled(&shown.metadata, Live::Pod(Box::new(Pod::of(&shown))))
    }

    pub(crate) fn slice(shown: ShownSlice) -> Self {
        Self::labeled(&shown.metadata, Live::Slice(Box::new(Slice::of(&shown))))
    }
}

/// Returns the needed part of the metadata of a Rainbow or a Color.
fn needed(meta: &ObjectMeta) -> ObjectMeta {
    ObjectMeta {
        name: meta.name.clone(),
        namespace: meta.namespace.clone(),
        uid: meta.uid.clone(),
        resource_version: meta.resource_version.clone(),
        generation: meta.generation,
        creation_timestamp: meta.creation_timestamp.clone(),
        deletion_timestamp: meta.deletion_timestamp.clone(),
        finalizers: meta.finalizers.clone(),
        ..ObjectMeta::default()
    }
}

/// Metadata that is kept of every object. Names are the keys under which objects are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) uid: Uid,
    pub(crate) version: u64,
    pub(crate) deleting: bool,
}

impl Meta {
    /// Returns whether both are metadata of the same object, which is being deleted in both or in none.
    fn is_repeated_by(&self, later: &Self) -> bool {
        (&self.uid, self.deleting) == (&later.uid, later.deleting)
    }

    pub(crate) fn of(meta: &ObjectMeta) -> Self {
        Self {
            uid: Uid::of(meta.uid.as_deref().unwrap_or_default()),
            version: version(meta),
            deleting: meta.deletion_timestamp.is_some(),
        }
    }
}

/// Returns a resource version as a number. Versions are opaque by the API's definition, and numbers of one sequence on every API server.
/// One that is no number counts as 0, and nothing waits for it.
pub(crate) fn version(meta: &ObjectMeta) -> u64 {
    meta.resource_version.as_deref().and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Returns the value of a label, or the empty text.
pub(crate) fn label<'a>(meta: &'a ObjectMeta, key: &str) -> &'a str {
    meta.labels.as_ref().and_then(|labels| labels.get(key)).map(String::as_str).unwrap_or_default()
}
