//! The watches: one a kind, as narrow as its labels allow.

use futures::{
    StreamExt,
    stream::{BoxStream, select_all},
};
use k8s_openapi::api::{core::v1::Pod as CorePod, discovery::v1::EndpointSlice};
use kube::{
    Api, Client, Resource,
    api::DynamicObject,
    core::{ApiResource, GroupVersionKind, NamespaceResourceScope},
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use rainbow_api::labels;
use serde::de::DeserializeOwned;
use std::{fmt::Debug, time::Duration};

use crate::{
    cache::Object,
    live::{Kind, Pod, Slice, Workload, label},
};

/// A watch is begun anew after so long, where it left off. One whose connection has died without a word is missed then at
/// the latest; Kubernetes clients usually take five minutes or more.
pub const WATCH: Duration = Duration::from_secs(50);

/// Something that a watch says.
pub(crate) enum Change {
    /// The list begins anew.
    Init(Kind),
    /// An object of the list.
    Listed(Object),
    /// The list is complete.
    Listing(Kind),
    /// An object is new or has changed.
    Seen(Object),
    /// An object is gone.
    Gone(Object),
    /// The watch broke; it starts again by itself, later each time.
    Failed(Kind, watcher::Error),
}

/// The kind as the generic client knows it.
pub(crate) fn resource(kind: Kind) -> ApiResource {
    let (group, version) = kind.api_version().split_once('/').unwrap_or(("", kind.api_version()));
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind.name()))
}

/// All watches in one stream.
pub(crate) fn all(client: &Client, namespace: Option<&str>) -> BoxStream<'static, Change> {
    select_all(Kind::ALL.into_iter().map(|kind| one(client, namespace, kind))).boxed()
}

fn one(client: &Client, namespace: Option<&str>, kind: Kind) -> BoxStream<'static, Change> {
    match kind {
        Kind::Pod => {
            let api = typed::<CorePod>(client, namespace);
            changes(kind, api, |pod| Object::pod(&pod.metadata, label(&pod.metadata, labels::RAINBOW), Pod::of(pod)))
        }
        Kind::EndpointSlice => {
            let api = typed::<EndpointSlice>(client, namespace);
            changes(kind, api, |slice| {
                Object::slice(&slice.metadata, label(&slice.metadata, labels::RAINBOW), Slice::of(slice))
            })
        }
        // These are read generically: one object that cannot be understood must not hide all others.
        Kind::Rainbow => changes(kind, generic(client, namespace, &resource(kind)), Object::rainbow),
        Kind::Color => changes(kind, generic(client, namespace, &resource(kind)), Object::color),
        Kind::Deployment | Kind::Service | Kind::PodDisruptionBudget => {
            changes(kind, generic(client, namespace, &resource(kind)), move |object| {
                Object::workload(kind, &object.metadata, label(&object.metadata, labels::RAINBOW), Workload::of(object))
            })
        }
    }
}

fn typed<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

fn generic(client: &Client, namespace: Option<&str>, resource: &ApiResource) -> Api<DynamicObject> {
    match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, resource),
        None => Api::all_with(client.clone(), resource),
    }
}

fn changes<K>(kind: Kind, api: Api<K>, read: impl Fn(&K) -> Object + Send + 'static) -> BoxStream<'static, Change>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let managed = format!("{}={}", labels::MANAGED_BY, labels::MANAGER);
    let all = watcher::Config::default().timeout(u32::try_from(WATCH.as_secs()).unwrap_or(u32::MAX));
    let config = match kind {
        Kind::Rainbow => all,
        Kind::Color | Kind::Deployment | Kind::Service | Kind::PodDisruptionBudget => all.labels(&managed),
        // Pods carry the labels of their instance only: `managed-by` in a template is its author's.
        Kind::Pod => all.labels(labels::RAINBOW),
        // Endpoint slices carry the labels of their Service.
        Kind::EndpointSlice => all.labels(labels::STAGE),
    };
    watcher(api, config)
        .default_backoff()
        .map(move |event| match event {
            Ok(Event::Init) => Change::Init(kind),
            Ok(Event::InitApply(object)) => Change::Listed(read(&object)),
            Ok(Event::InitDone) => Change::Listing(kind),
            Ok(Event::Apply(object)) => Change::Seen(read(&object)),
            Ok(Event::Delete(object)) => Change::Gone(read(&object)),
            Err(error) => Change::Failed(kind, error),
        })
        .boxed()
}
