//! What is kept of the objects that are watched: no more than decisions need, so that memory grows with what matters.

mod image;
mod pod;
mod slice;
mod template;
mod workload;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::DynamicObject;
use rainbow_api::{Color, Rainbow, RainbowStatus, labels, validate, validate_name};
use std::sync::Arc;

use crate::{domain::Version, key::Key};

pub(crate) use pod::{Pod, PodLabels};
pub(crate) use slice::Slice;
pub(crate) use template::{template, unpacked};
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
    Slice(Box<Slice>),
    Budget(Box<Budget>),
}

/// A `Rainbow` as it was read.
#[derive(Clone, Debug)]
pub(crate) enum Root {
    /// The object was understood.
    Read(Arc<Readable>),
    /// The API server let something in that cannot be read, such as a duration beyond all bounds.
    Unreadable { meta: Arc<ObjectMeta>, status: Box<RainbowStatus>, error: String },
}

/// A `Rainbow` that was understood, and what follows from its spec alone.
#[derive(Debug)]
pub(crate) struct Readable {
    /// With its templates packed.
    pub(crate) rainbow: Arc<Rainbow>,
    pub(crate) version: Version,
    /// What is wrong with the spec, in one sentence.
    pub(crate) invalid: Option<String>,
}

impl Readable {
    pub(crate) fn of(mut rainbow: Rainbow) -> Self {
        let version = Version::of(&rainbow.spec);
        let name = rainbow.metadata.name.as_deref().unwrap_or_default();
        let errors = validate_name(name).into_iter().chain(validate(&rainbow.spec));
        let errors: Vec<String> = errors.map(|error| error.to_string()).collect();
        template::pack(&mut rainbow.spec.tiers);
        let invalid = (!errors.is_empty()).then(|| errors.join("; "));
        Self { rainbow: Arc::new(rainbow), version, invalid }
    }
}

impl Root {
    pub(crate) fn meta(&self) -> &ObjectMeta {
        match self {
            Self::Read(readable) => &readable.rainbow.metadata,
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
        let status = object.data.get("status").cloned().unwrap_or_default();
        let meta = needed(&object.metadata);
        let root = match parse::<Rainbow>(object) {
            Ok(rainbow) => Root::Read(Arc::new(Readable::of(Rainbow { metadata: meta, ..rainbow }))),
            Err(error) => Root::Unreadable {
                meta: Arc::new(meta),
                status: serde_json::from_value(status).unwrap_or_default(),
                error: error.to_string(),
            },
        };
        let name = object.metadata.name.clone().unwrap_or_default();
        Self::new(&object.metadata, &name, Live::Rainbow(root))
    }

    pub(crate) fn color(object: &DynamicObject) -> Self {
        let color = parse::<Color>(object).map(|mut color| {
            color.metadata = needed(&object.metadata);
            template::pack(&mut color.spec.tiers);
            Arc::new(color)
        });
        if let Err(error) = &color {
            tracing::warn!(color = ?object.metadata.name, %error, "a Color cannot be read and is left out");
        }
        Self::labeled(&object.metadata, Live::Color(color.ok()))
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
        Self::labeled(&slice.metadata, Live::Slice(Box::new(Slice::of(slice))))
    }
}

/// Reads an object without the records of its field managers.
fn parse<K: serde::de::DeserializeOwned>(object: &DynamicObject) -> Result<K, serde_json::Error> {
    let mut object = object.clone();
    object.metadata.managed_fields = None;
    serde_json::to_value(object).and_then(serde_json::from_value)
}

/// What is needed of the metadata of a Rainbow or a Color.
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

/// What is kept of every object's metadata; names are the keys under which objects are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) uid: Box<str>,
    pub(crate) version: u64,
    pub(crate) deleting: bool,
}

impl Meta {
    /// Uid and resource version.
    pub(crate) fn identity(&self) -> (&str, u64) {
        (&self.uid, self.version)
    }

    pub(crate) fn of(meta: &ObjectMeta) -> Self {
        Self {
            uid: meta.uid.as_deref().unwrap_or_default().into(),
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
