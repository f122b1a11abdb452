//! Quota controller: counts the usage of each ResourceQuota of a namespace again when objects are deleted.
//!
//! Admission counts new objects at once. A deletion only makes room, so it may be counted a moment later.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::{Pod, ResourceQuota, Service};
use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, ListParams},
};
use pocket_object::quota::{Evaluator, recount};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::{
    Error, Shared,
    cache::{Cache, Key},
    clock,
    objects::{Kind, Objects},
    pods,
    queue::{After, Queue},
};

const WORKERS: usize = 2;
/// Period after which a quota is counted in any case, as in Kubernetes (`--resource-quota-sync-period`).
const RESYNC: Duration = Duration::from_secs(300);

/// Starts the controller.
pub(crate) fn start(shared: &Shared, tasks: &mut JoinSet<()>) {
    let queue = Queue::new();
    let reconciler = Arc::new(QuotaReconciler {
        client: shared.client.clone(),
        quotas: shared.quotas.clone(),
        objects: shared.objects.clone(),
    });
    let changed = queue.clone();
    reconciler.quotas.on_change(move |old, new| {
        // Admission writes the status, too. Its status is right, unless limits are new.
        if let Some(quota) = new.filter(|new| old.is_none_or(|old| old.spec != new.spec)) {
            changed.add(Key::of(quota));
        }
    });
    let all_of = {
        let (queue, quotas) = (queue.clone(), shared.quotas.clone());
        move |namespace: &str| quotas.list(namespace).iter().for_each(|quota| queue.add(Key::of(&**quota)))
    };
    let gone = all_of.clone();
    reconciler.objects.on_change(move |old, new| {
        if let (Some(old), None) = (old, new) {
            gone(&old.namespace);
        }
    });
    let ended = all_of.clone();
    shared.pods.on_change(move |old: Option<&Pod>, new| {
        let is_over = |pod: &Pod| pods::is_terminal(pod);
        if let Some(pod) = new.filter(|new| is_over(new) && !old.is_some_and(is_over)) {
            ended(&pod.namespace().unwrap_or_default());
        }
    });
    shared.services.on_change(move |old: Option<&Service>, new| {
        if let (Some(old), Some(new)) = (old, new)
            && old.spec != new.spec
        {
            all_of(&new.namespace().unwrap_or_default());
        }
    });
    tasks.spawn(async move {
        reconciler.quotas.ready().await;
        reconciler.objects.ready().await;
        queue.work(WORKERS, move |key| reconciler.clone().reconcile(key)).await;
    });
}

struct QuotaReconciler {
    client: Client,
    quotas: Cache<ResourceQuota>,
    objects: Objects,
}

impl QuotaReconciler {
    /// Counts a quota. The quota is read before the objects that it counts: a write that admission charges in between changes
    /// the quota, the status of the count is then refused, and the count starts again.
    async fn reconcile(self: Arc<Self>, key: Key) -> Result<After, Error> {
        let api: Api<ResourceQuota> = Api::namespaced(self.client.clone(), &key.namespace);
        let Some(quota) = api.get_opt(&key.name).await? else { return Ok(After::Rest) };
        let as_json = serde_json::to_value(&quota)?;
        let limits = as_json.pointer("/spec/hard").and_then(Value::as_object);
        let limits: Vec<&str> = limits.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        let mut counted = Vec::new();
        for kind in self.objects.kinds().into_iter().filter(|kind| kind.namespaced) {
            let evaluator = Evaluator::of(&kind.resource.group, &kind.resource.plural);
            if limits.iter().any(|name| evaluator.counts(name)) {
                let objects = self.list(&kind, &evaluator, &key.namespace).await?;
                counted.extend(objects.into_iter().map(|object| (evaluator.clone(), object)));
            }
        }
        let counted = counted.iter().map(|(evaluator, object)| (evaluator, object));
        let status = recount(&as_json, counted, clock::now());
        let old = as_json.get("status").cloned().unwrap_or_default();
        if let Some(patch) = crate::patch::diff(&old, &status)? {
            self.quotas.patch_status(&quota, patch).await?;
        }
        Ok(After::Again(RESYNC))
    }

    /// Returns the objects of a kind, with the fields that their evaluator reads.
    async fn list(&self, kind: &Kind, evaluator: &Evaluator, namespace: &str) -> Result<Vec<Value>, Error> {
        let api: Api<DynamicObject> = kind.api(&self.client, namespace);
        if matches!(evaluator, Evaluator::Count(_)) {
            let found = api.list_metadata(&ListParams::default()).await?;
            return Ok(vec![Value::Null; found.items.len()]);
        }
        let found = api.list(&ListParams::default()).await?;
        found.items.into_iter().map(|object| serde_json::to_value(object).map_err(Error::from)).collect()
    }
}
