//! Observer that follows the objects of an application by watches.

use std::{fmt::Debug, hash::Hash, pin::Pin};

use futures::{Stream, StreamExt, future, stream};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{
    Api, ResourceExt,
    runtime::{WatchStreamExt, reflector, watcher},
};
use rainbow_api::{Color, Rainbow, labels};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{
    context::Cluster,
    error::{Error, Result},
    view::World,
};

/// Observer of one application. Its first state is complete: it exists when every kind has been listed once.
pub(crate) struct Observer {
    cluster: Cluster,
    rainbow: reflector::Store<Rainbow>,
    colors: reflector::Store<Color>,
    deployments: reflector::Store<Deployment>,
    pods: reflector::Store<Pod>,
    changes: Changes,
}

pub(crate) type Changes = Pin<Box<dyn Stream<Item = Result<(), watcher::Error>> + Send>>;

impl Observer {
    /// Starts to follow. Fails with a clear error where the Rainbow does not exist.
    pub(crate) async fn start(cluster: &Cluster, name: &str) -> Result<Self> {
        cluster.rainbow(name).await?;
        let by_name = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let by_label = watcher::Config::default().labels(&format!("{}={name}", labels::RAINBOW));
        let (rainbow, rainbow_changes) = follow(cluster.api(), by_name);
        let (colors, color_changes) = follow(cluster.api(), by_label.clone());
        let (deployments, deployment_changes) = follow(cluster.api(), by_label.clone());
        let (pods, pod_changes) = follow(cluster.api(), by_label);
        let changes = stream::select_all([rainbow_changes, color_changes, deployment_changes, pod_changes]);
        let mut observer =
            Self { cluster: cluster.clone(), rainbow, colors, deployments, pods, changes: changes.boxed() };
        observer.first().await?;
        Ok(observer)
    }

    /// Drives the watches until every store has its first list.
    async fn first(&mut self) -> Result {
        let (rainbow, colors, deployments, pods) =
            (self.rainbow.clone(), self.colors.clone(), self.deployments.clone(), self.pods.clone());
        let all = future::join4(
            rainbow.wait_until_ready(),
            colors.wait_until_ready(),
            deployments.wait_until_ready(),
            pods.wait_until_ready(),
        );
        tokio::pin!(all);
        loop {
            tokio::select! {
                _ = &mut all => return Ok(()),
                change = self.changes.next() => self.check(change)?,
            }
        }
    }

    /// Waits for the next change, and takes all changes that come at the same time.
    pub(crate) async fn changed(&mut self) -> Result {
        let change = self.changes.next().await;
        self.check(change)?;
        while let Some(change) = future::FutureExt::now_or_never(self.changes.next()) {
            self.check(change)?;
        }
        Ok(())
    }

    fn check(&self, change: Option<Result<(), watcher::Error>>) -> Result {
        check(&self.cluster, change)
    }

    /// Returns the current state. `None`: the Rainbow is gone.
    pub(crate) fn world(&self) -> Option<World> {
        let rainbow = self.rainbow.state().into_iter().next()?;
        Some(World {
            rainbow: (*rainbow).clone(),
            colors: all(&self.colors),
            deployments: all(&self.deployments),
            pods: all(&self.pods),
        })
    }
}

/// Fails where a watch cannot recover. The watchers open lost connections again by themselves.
pub(crate) fn check(cluster: &Cluster, change: Option<Result<(), watcher::Error>>) -> Result {
    match change {
        Some(Ok(())) => Ok(()),
        Some(Err(watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error))) => {
            match cluster.error(&error) {
                Error::Failed(_) => Ok(()),
                other => Err(other),
            }
        }
        Some(Err(_)) => Ok(()),
        None => Err(Error::Failed("the watch has ended".into())),
    }
}

/// Changes of the terminal's size.
pub(crate) struct Resizes {
    signal: Signal,
    /// Whether the size has changed since the last drawing.
    is_new: bool,
}

impl Resizes {
    pub(crate) fn new() -> Result<Self> {
        let signal = signal(SignalKind::window_change());
        let signal = signal.map_err(|error| Error::failed("cannot follow the size of the terminal", error))?;
        Ok(Self { signal, is_new: false })
    }

    /// Waits for the next change of the size.
    pub(crate) async fn next(&mut self) {
        self.signal.recv().await;
        self.is_new = true;
    }

    /// Returns whether the size has changed since the last call.
    pub(crate) fn is_new(&mut self) -> bool {
        std::mem::take(&mut self.is_new)
    }
}

fn all<K>(store: &reflector::Store<K>) -> Vec<K>
where
    K: reflector::Lookup + Clone + 'static,
    K::DynamicType: Eq + Hash + Clone,
{
    store.state().iter().map(|object| (**object).clone()).collect()
}

/// Follows the objects of a kind: returns their store, and a stream that drives it.
pub(crate) fn follow<K>(api: Api<K>, config: watcher::Config) -> (reflector::Store<K>, Changes)
where
    K: kube::Resource<DynamicType = ()> + Clone + Debug + Send + Sync + serde::de::DeserializeOwned + 'static,
{
    let (store, writer) = reflector::store();
    let stream = watcher(api, config)
        .default_backoff()
        // Managed fields are the longest part of most objects, and have no use here.
        .modify(|object| object.managed_fields_mut().clear())
        .reflect(writer)
        .map(|event| event.map(drop));
    (store, stream.boxed())
}
