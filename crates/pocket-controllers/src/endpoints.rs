//! Endpoint controller: keeps EndpointSlices, and the older Endpoints, of each Service that has a selector.

mod desired;
mod legacy;
mod slices;

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::{
    core::v1::{Endpoints, Pod, Service},
    discovery::v1::EndpointSlice,
};
use kube::ResourceExt;
use tokio::task::JoinSet;

use crate::{
    Error, Shared,
    cache::{Cache, Key},
    queue::{After, Queue},
};

const WORKERS: usize = 8;
/// Delay after which a real controller undoes a change of a slice (`endpointSliceChangeMinSyncDelay`).
const SLICE_DELAY: Duration = Duration::from_secs(1);
const SERVICE_NAME: &str = "kubernetes.io/service-name";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const ME: &str = "endpointslice-controller.k8s.io";
const HEADLESS: &str = "service.kubernetes.io/headless";

/// Starts the controller.
pub(crate) fn start(shared: &Shared, tasks: &mut JoinSet<()>) {
    let queue = Queue::new();
    let reconciler = Arc::new(EndpointsReconciler {
        services: shared.services.clone(),
        pods: shared.pods.clone(),
        slices: shared.slices.clone(),
        endpoints: shared.endpoints.clone(),
    });
    let changed = queue.clone();
    reconciler.services.on_change(move |old, new| {
        old.or(new).into_iter().for_each(|service| changed.add(Key::of(service)));
    });
    let (changed, services) = (queue.clone(), reconciler.services.clone());
    reconciler.pods.on_change(move |old, new| {
        let Some(pod) = new.or(old) else { return };
        if old.zip(new).is_some_and(|(old, new)| desired::is_alike(old, new)) {
            return;
        }
        for service in services.list(&pod.namespace().unwrap_or_default()) {
            if old.into_iter().chain(new).any(|pod| desired::selects(&service, pod)) {
                changed.add(Key::of(&*service));
            }
        }
    });
    // A change of a slice by another client is undone after a delay. Own writes cause one more pass, which finds nothing to do.
    let changed = queue.clone();
    reconciler.slices.on_change(move |old, new| {
        for slice in old.into_iter().chain(new).filter(|slice| is_managed(slice)) {
            if let Some(service) = slice.labels().get(SERVICE_NAME) {
                changed.add_after(Key::new(slice.namespace().unwrap_or_default(), service), SLICE_DELAY);
            }
        }
    });
    let changed = queue.clone();
    reconciler.endpoints.on_change(move |old, new| {
        // Only a deletion is undone.
        let gone = old.filter(|_| new.is_none());
        gone.into_iter().for_each(|endpoints| changed.add(Key::of(endpoints)));
    });
    tasks.spawn(async move {
        reconciler.services.ready().await;
        reconciler.pods.ready().await;
        reconciler.slices.ready().await;
        reconciler.endpoints.ready().await;
        queue.work(WORKERS, move |key| reconciler.clone().reconcile(key)).await;
    });
}

struct EndpointsReconciler {
    services: Cache<Service>,
    pods: Cache<Pod>,
    slices: Cache<EndpointSlice>,
    endpoints: Cache<Endpoints>,
}

fn is_managed(slice: &EndpointSlice) -> bool {
    slice.labels().get(MANAGED_BY).is_some_and(|by| by == ME)
}

impl EndpointsReconciler {
    async fn reconcile(self: Arc<Self>, key: Key) -> Result<After, Error> {
        let mut have = self.slices.list(&key.namespace);
        have.retain(|slice| {
            let here = slice.metadata.deletion_timestamp.is_none();
            here && is_managed(slice) && slice.labels().get(SERVICE_NAME) == Some(&key.name)
        });
        let service = self.services.get(&key).filter(|service| service.metadata.deletion_timestamp.is_none());
        // The garbage collector deletes the slices of a Service that is gone, and it also knows of orphans.
        let Some(service) = service else { return self.drop_endpoints(&key).await };
        if desired::selector(&service).is_none() {
            // Endpoints of a Service without a selector belong to another client.
            return Ok(After::Rest);
        }
        let mut pods = self.pods.list(&key.namespace);
        pods.retain(|pod| desired::selects(&service, pod));
        let plan = slices::plan(&service, desired::groups(&service, &pods), have);
        // New slices are written first: an endpoint that moves is in both places for a moment rather than in none.
        for slice in plan.create {
            self.slices.create(&slice).await?;
        }
        for (slice, patch) in plan.change {
            self.slices.patch(&slice, patch).await?;
        }
        for slice in plan.delete {
            self.slices.delete(&slice).await?;
        }
        self.sync_endpoints(&key, &service, &pods).await
    }

    async fn sync_endpoints(&self, key: &Key, service: &Service, pods: &[Arc<Pod>]) -> Result<After, Error> {
        let want = legacy::endpoints(service, pods);
        match self.endpoints.get(key) {
            None => {
                self.endpoints.create(&want).await?;
            }
            Some(have) => {
                if let Some(patch) = legacy::difference(&have, &want)? {
                    self.endpoints.patch(&have, patch).await?;
                }
            }
        }
        Ok(After::Rest)
    }

    async fn drop_endpoints(&self, key: &Key) -> Result<After, Error> {
        // Endpoints that a client made for a Service without a selector are deleted, too.
        if let Some(endpoints) = self.endpoints.get(key) {
            self.endpoints.delete(&endpoints).await?;
        }
        Ok(After::Rest)
    }
}
