//! Watches: one for each kind, as narrow as its labels allow.

mod stream;

use futures::{
    FutureExt, StreamExt,
    stream::{BoxStream, select_all},
};
use kube::{Client, Resource, api::DynamicObject, runtime::WatchStreamExt};
use rainbow_api::{GateTemplate, labels};
use std::{sync::Arc, time::Duration};
use tokio::sync::Semaphore;

use crate::{
    change::Change,
    kind::{ConfigAccess, Kind},
    live::{Object, Shown, ShownCustom},
};
use stream::{Part, Watched};

/// Time after which a watch begins again, where it left off. A watch whose connection has died silently is noticed then at the latest.
/// Kubernetes clients usually take five minutes or more.
pub const WATCH: Duration = Duration::from_secs(50);

/// Kinds that are listed before all others, since the desired state of other objects follows from them.
const FIRST: [Kind; 2] = [Kind::Rainbow, Kind::Color];

/// Returns the changes of all watches in one stream.
pub(crate) fn all(
    client: &Client,
    namespace: Option<&str>,
    access: ConfigAccess,
) -> BoxStream<'static, (Kind, Change<Object>)> {
    let lists = Arc::new(Semaphore::new(0));
    let watch = |kind: Kind| {
        let (changes, lists) = (one(client, namespace, kind), Arc::clone(&lists));
        if FIRST.contains(&kind) {
            let done = move |change: &(Kind, Change<Object>)| {
                if matches!(change.1, Change::Complete) {
                    lists.add_permits(1);
                }
            };
            return changes.inspect(done).boxed();
        }
        // The semaphore is never closed.
        let first = async move { drop(lists.acquire_many(FIRST.len() as u32).await) };
        first.map(|()| changes).flatten_stream().boxed()
    };
    select_all(Kind::ALWAYS.iter().chain(access.kinds()).copied().map(watch)).boxed()
}

/// Returns the changes of the cluster's GateTemplates, which belong to no application.
pub(crate) fn gate_templates(client: &Client) -> BoxStream<'static, Change<ShownCustom>> {
    let path = GateTemplate::url_path(&(), None);
    let watched = Watched { client: client.clone(), path, labels: None, part: Part::Whole };
    let changes = stream::changes::<ShownCustom>(watched).default_backoff();
    changes.map(|change| change.unwrap_or_else(Change::Failed)).boxed()
}

fn one(client: &Client, namespace: Option<&str>, kind: Kind) -> BoxStream<'static, (Kind, Change<Object>)> {
    let labels = match kind {
        // Autoscalers of others scale Deployments of Rainbow's, and have any labels.
        Kind::Rainbow | Kind::Color | Kind::HorizontalPodAutoscaler => None,
        // The objects that templates name are their users', and have any labels.
        Kind::ConfigMap | Kind::Secret => None,
        // Endpoint slices carry the labels of their Service. An object that loses this label is found by its name (`apply`).
        Kind::Deployment | Kind::Service | Kind::PodDisruptionBudget | Kind::Pod | Kind::EndpointSlice => {
            Some(labels::RAINBOW.to_owned())
        }
    };
    let part = match kind {
        Kind::ConfigMap | Kind::Secret => Part::Metadata,
        Kind::Rainbow
        | Kind::Color
        | Kind::Deployment
        | Kind::Service
        | Kind::Pod
        | Kind::EndpointSlice
        | Kind::PodDisruptionBudget
        | Kind::HorizontalPodAutoscaler => Part::Whole,
    };
    let path = DynamicObject::url_path(&kind.resource(), namespace);
    let watched = Watched { client: client.clone(), path, labels, part };
    match kind {
        Kind::Rainbow => changes(kind, watched, Object::rainbow),
        Kind::Color => changes(kind, watched, Object::color),
        Kind::Deployment => changes(kind, watched, Object::deployment),
        Kind::Service => changes(kind, watched, Object::service),
        Kind::PodDisruptionBudget => changes(kind, watched, Object::budget),
        Kind::HorizontalPodAutoscaler => changes(kind, watched, Object::scaler),
        Kind::ConfigMap => changes(kind, watched, Object::config_map),
        Kind::Secret => changes(kind, watched, Object::secret),
        Kind::Pod => changes(kind, watched, Object::pod),
        Kind::EndpointSlice => changes(kind, watched, Object::slice),
    }
}

fn changes<T: Shown>(
    kind: Kind,
    watched: Watched,
    read: fn(T) -> Object,
) -> BoxStream<'static, (Kind, Change<Object>)> {
    let changes = stream::changes::<T>(watched).default_backoff();
    changes.map(move |change| (kind, change.map_or_else(Change::Failed, |change| change.map(read)))).boxed()
}
