//! What is kept of the objects that are watched: no more than decisions need, so that memory grows with what matters.

mod image;
mod pod;
mod slice;
mod workload;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::DynamicObject;
use rainbow_api::{Color, Rainbow, RainbowStatus, labels};
use std::sync::Arc;

use crate::{key::Key, kind::Kind};

pub(crate) use pod::{Pod, PodLabels};
pub(crate) use slice::Slice;
pub(crate) use workload::{Budget, Deployment, Service};

/// An object that a watch has shown, and the application that it belongs to.
pub(crate) struct Object {
    pub(crate) key: Key,
    pub(crate) name: String,
    pub(crate) version: u64,
    pub(crate) live: Live,
}

/// What is kept of an object, by its kind.
pub(crate) enum Live {
    Rainbow(Root),
    /// `None`: the object cannot be read.
    Color(Option<Arc<Color>>),
    Deployment(Box<Deployment>),
    Service(Box<Service>),
    Pod(Box<Pod>),
    Slice(Slice),
    Budget(Box<Budget>),
}

impl Live {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Rainbow(_) => Kind::Rainbow,
            Self::Color(_) => Kind::Color,
            Self::Deployment(_) => Kind::Deployment,
            Self::Service(_) => Kind::Service,
            Self::Pod(_) => Kind::Pod,
            Self::Slice(_) => Kind::EndpointSlice,
            Self::Budget(_) => Kind::PodDisruptionBudget,
        }
    }
}

/// A `Rainbow` as it was read.
#[derive(Clone, Debug)]
pub(crate) enum Root {
    /// The object was understood.
    Read(Arc<Rainbow>),
    /// The API server let something in that cannot be read, such as a duration beyond all bounds.
    Unreadable { meta: Arc<ObjectMeta>, status: Box<RainbowStatus>, error: String },
}

impl Root {
    pub(crate) fn meta(&self) -> &ObjectMeta {
        match self {
            Self::Read(rainbow) => &rainbow.metadata,
            Self::Unreadable { meta, .. } => meta,
        }
    }
}

impl Object {
    /// An object that carries the label of its Rainbow.
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

    pub(crate) fn rainbow(object: &DynamicObject) -> Self {
        let mut object = object.clone();
        object.metadata.managed_fields = None;
        let meta = object.metadata.clone();
        let status = object.data.get("status").cloned().unwrap_or_default();
        let root = match object.try_parse::<Rainbow>() {
            Ok(rainbow) => Root::Read(Arc::new(rainbow)),
            Err(error) => Root::Unreadable {
                meta: Arc::new(meta.clone()),
                status: serde_json::from_value(status).unwrap_or_default(),
                error: error.to_string(),
            },
        };
        let name = meta.name.clone().unwrap_or_default();
        Self::new(&meta, &name, Live::Rainbow(root))
    }

    pub(crate) fn color(object: &DynamicObject) -> Self {
        let mut object = object.clone();
        object.metadata.managed_fields = None;
        let meta = object.metadata.clone();
        let color = object.try_parse::<Color>();
        if let Err(error) = &color {
            tracing::warn!(color = ?meta.name, %error, "a Color cannot be read and is left out");
        }
        Self::labeled(&meta, Live::Color(color.ok().map(Arc::new)))
    }

    pub(crate) fn deployment(object: &DynamicObject) -> Self {
        Self::labeled(&object.metadata, Live::Deployment(Box::new(Deployment::of(object))))
    }

    pub(crate) fn service(object: &DynamicObject) -> Self {
        Self::labeled(&object.metadata, Live::Service(Box::new(Service::of(object))))
    }

    pub(crate) fn budget(object: &DynamicObject) -> Self {
        Self::labeled(&object.metadata, Live::Budget(Box::new(Budget::of(object))))
    }

    pub(crate) fn pod(pod: &k8s_openapi::api::core::v1::Pod) -> Self {
        Self::labeled(&pod.metadata, Live::Pod(Box::new(Pod::of(pod))))
    }

    pub(crate) fn slice(slice: &k8s_openapi::api::discovery::v1::EndpointSlice) -> Self {
        Self::labeled(&slice.metadata, Live::Slice(Slice::of(slice)))
    }
}

/// What is kept of every object's metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) version: u64,
    pub(crate) deleting: bool,
}

impl Meta {
    pub(crate) fn of(meta: &ObjectMeta) -> Self {
        Self {
            name: meta.name.clone().unwrap_or_default(),
            uid: meta.uid.clone().unwrap_or_default(),
            version: version(meta),
            deleting: meta.deletion_timestamp.is_some(),
        }
    }
}

/// A resource version as a number. Versions are opaque by the API's definition, and numbers of one sequence on every API
/// server; one that is no number counts as 0, and nothing waits for it.
pub(crate) fn version(meta: &ObjectMeta) -> u64 {
    meta.resource_version.as_deref().and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Value of a label, or the empty text.
pub(crate) fn label<'a>(meta: &'a ObjectMeta, key: &str) -> &'a str {
    meta.labels.as_ref().and_then(|labels| labels.get(key)).map(String::as_str).unwrap_or_default()
}
