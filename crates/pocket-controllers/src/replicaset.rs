//! ReplicaSet controller: keeps the wanted number of pods of each ReplicaSet.

mod status;

use std::{future::Future, sync::Arc};

use futures::future::join_all;
use k8s_openapi::api::{
    apps::v1::{ReplicaSet, ReplicaSetSpec},
    core::v1::Pod,
};
use kube::ResourceExt;
use tokio::task::JoinSet;

use crate::{
    Error, Shared,
    cache::{Cache, Key},
    events::Events,
    owner, pods,
    queue::{After, Queue},
};

const COMPONENT: &str = "replicaset-controller";
const WORKERS: usize = 8;
/// Greatest number of pods that one pass creates or deletes.
const BURST: usize = 500;

/// Starts the controller.
pub(crate) fn start(shared: &Shared, tasks: &mut JoinSet<()>) {
    let queue = Queue::new();
    let reconciler = Arc::new(ReplicaSetReconciler {
        sets: shared.replica_sets.clone(),
        pods: shared.pods.clone(),
        events: shared.events.clone(),
    });
    let changed = queue.clone();
    reconciler.sets.on_change(move |_, new| new.into_iter().for_each(|set| changed.add(Key::of(set))));
    let (changed, sets) = (queue.clone(), reconciler.sets.clone());
    reconciler.pods.on_change(move |old, new| {
        for pod in old.into_iter().chain(new) {
            let namespace = pod.namespace().unwrap_or_default();
            if let Some(name) = owner::controller_name::<ReplicaSet>(pod) {
                changed.add(Key::new(namespace, name));
            } else if owner::controller(pod).is_none() && pod.metadata.deletion_timestamp.is_none() {
                let selects = |set: &ReplicaSet| {
                    set.spec.as_ref().is_some_and(|spec| owner::selects(&spec.selector, pod.labels()))
                };
                sets.list(&namespace).iter().filter(|set| selects(set)).for_each(|set| changed.add(Key::of(&**set)));
            }
        }
    });
    tasks.spawn(async move {
        reconciler.sets.ready().await;
        reconciler.pods.ready().await;
        queue.work(WORKERS, move |key| reconciler.clone().reconcile(key)).await;
    });
}

struct ReplicaSetReconciler {
    sets: Cache<ReplicaSet>,
    pods: Cache<Pod>,
    events: Events,
}

/// Reason for which pods could not be created or deleted.
struct Failure {
    reason: &'static str,
    error: Error,
}

impl ReplicaSetReconciler {
    async fn reconcile(self: Arc<Self>, key: Key) -> Result<After, Error> {
        let Some(set) = self.sets.get(&key) else { return Ok(After::Rest) };
        let Some(spec) = set.spec.as_ref() else { return Ok(After::Rest) };
        let (all, others): (Vec<_>, Vec<_>) =
            self.pods.list(&key.namespace).into_iter().partition(|pod| pods::is_active(pod));
        let mine = owner::claim(&*set, &self.sets, &spec.selector, all, &self.pods).await?;
        let failure =
            if set.metadata.deletion_timestamp.is_none() { self.manage(&set, spec, &mine).await.err() } else { None };
        // The status counts the pods as they were before: as in Kubernetes, a new generation is observed before its number of pods
        // exists. The pods that were just created or deleted trigger the next pass.
        let ends = |pod: &Pod| pod.metadata.deletion_timestamp.is_some() && !pods::is_terminal(pod);
        let belongs = |pod: &Pod| owner::is_controlled_by(pod, &*set) && owner::selects(&spec.selector, pod.labels());
        let terminating = others.iter().filter(|pod| ends(pod) && belongs(pod)).count();
        let failed = failure.as_ref().map(|failure| (failure.reason, failure.error.to_string()));
        let (status, after) = status::of(&set, spec, &mine, terminating, failed);
        if let Some(patch) = crate::patch::diff(&set.status.clone().unwrap_or_default(), &status)? {
            self.sets.patch_status(&set, patch).await?;
        }
        match failure {
            Some(failure) => Err(failure.error),
            None => Ok(after),
        }
    }

    /// Creates missing pods or deletes surplus ones.
    async fn manage(&self, set: &ReplicaSet, spec: &ReplicaSetSpec, mine: &[Arc<Pod>]) -> Result<(), Failure> {
        let wanted = usize::try_from(spec.replicas.unwrap_or(1)).unwrap_or(0);
        if mine.len() < wanted {
            let missing = (wanted - mine.len()).min(BURST);
            let (_, error) = slow_start(missing, || self.create(set, spec)).await;
            return error.map_or(Ok(()), |error| Err(Failure { reason: "FailedCreate", error }));
        }
        if mine.len() > wanted {
            let mut mine = mine.to_vec();
            pods::sort_for_deletion(&mut mine);
            mine.truncate((mine.len() - wanted).min(BURST));
            let results = join_all(mine.iter().map(|pod| self.delete(set, pod))).await;
            if let Some(error) = results.into_iter().find_map(Result::err) {
                return Err(Failure { reason: "FailedDelete", error });
            }
        }
        Ok(())
    }

    async fn create(&self, set: &ReplicaSet, spec: &ReplicaSetSpec) -> Result<Arc<Pod>, Error> {
        let template = spec.template.clone().unwrap_or_default();
        let namespace = set.namespace().unwrap_or_default();
        let pod = pods::from_template(&template, &namespace, &set.name_any(), owner::reference(set));
        match self.pods.create(&pod).await {
            Ok(pod) => {
                self.events.normal(COMPONENT, set, "SuccessfulCreate", format!("Created pod: {}", pod.name_any()));
                Ok(pod)
            }
            Err(error) => {
                if !pods::namespace_ends(&error) {
                    self.events.warning(COMPONENT, set, "FailedCreate", format!("Error creating: {error}"));
                }
                Err(error)
            }
        }
    }

    async fn delete(&self, set: &ReplicaSet, pod: &Pod) -> Result<(), Error> {
        let name = pod.name_any();
        match self.pods.delete(pod).await {
            Ok(()) => {
                self.events.normal(COMPONENT, set, "SuccessfulDelete", format!("Deleted pod: {name}"));
                Ok(())
            }
            Err(error) => {
                self.events.warning(COMPONENT, set, "FailedDelete", format!("Error deleting: {error}"));
                Err(error)
            }
        }
    }
}

/// Runs an action `count` times, in batches of 1, 2, 4 and so on. When an action of a batch fails, no further batch is tried, because its
/// actions would fail, too.
pub(crate) async fn slow_start<T, F>(count: usize, action: impl Fn() -> F) -> (Vec<T>, Option<Error>)
where
    F: Future<Output = Result<T, Error>>,
{
    let (mut done, mut batch) = (Vec::new(), 1);
    let mut left = count;
    while left > 0 {
        let now = batch.min(left);
        let mut failed = None;
        for result in join_all((0..now).map(|_| action())).await {
            match result {
                Ok(value) => done.push(value),
                Err(error) => failed = Some(error),
            }
        }
        if failed.is_some() {
            return (done, failed);
        }
        left -= now;
        batch *= 2;
    }
    (done, None)
}
