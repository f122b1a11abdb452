//! The watches: one a kind, as narrow as its labels allow.

use futures::{
    StreamExt,
    stream::{BoxStream, select_all},
};
use k8s_openapi::api::{core::v1::Pod, discovery::v1::EndpointSlice};
use kube::{
    Api, Client, Resource,
    api::DynamicObject,
    core::{ApiResource, NamespaceResourceScope},
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use rainbow_api::labels;
use serde::de::DeserializeOwned;
use std::{fmt::Debug, time::Duration};

use crate::{change::Change, kind::Kind, live::Object};

/// A watch begins again after this long, where it left off. A watch whose connection has died silently is noticed then at the
/// latest; Kubernetes clients usually take five minutes or more.
pub const WATCH: Duration = Duration::from_secs(50);

/// What all watches say, in one stream.
pub(crate) fn all(client: &Client, namespace: Option<&str>) -> BoxStream<'static, (Kind, Change<Object>)> {
    select_all(Kind::ALL.into_iter().map(|kind| one(client, namespace, kind))).boxed()
}

fn one(client: &Client, namespace: Option<&str>, kind: Kind) -> BoxStream<'static, (Kind, Change<Object>)> {
    // Most are read generically: one object that cannot be understood must not hide all others.
    let generic = || generic(client, namespace, &kind.resource());
    match kind {
        Kind::Rainbow => changes(kind, generic(), Object::rainbow),
        Kind::Color => changes(kind, generic(), Object::color),
        Kind::Deployment => changes(kind, generic(), Object::deployment),
        Kind::Service => changes(kind, generic(), Object::service),
        Kind::PodDisruptionBudget => changes(kind, generic(), Object::budget),
        Kind::Pod => changes(kind, typed::<Pod>(client, namespace), Object::pod),
        Kind::EndpointSlice => changes(kind, typed::<EndpointSlice>(client, namespace), Object::slice),
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

fn changes<K>(
    kind: Kind,
    api: Api<K>,
    read: impl Fn(&K) -> Object + Send + 'static,
) -> BoxStream<'static, (Kind, Change<Object>)>
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
        .map(move |event| {
            let change = match event {
                Ok(Event::Init) => Change::Restarted,
                Ok(Event::InitApply(object)) => Change::Listed(read(&object)),
                Ok(Event::InitDone) => Change::Complete,
                Ok(Event::Apply(object)) => Change::Seen(read(&object)),
                Ok(Event::Delete(object)) => Change::Gone(read(&object)),
                Err(error) => Change::Failed(error),
            };
            (kind, change)
        })
        .boxed()
}
