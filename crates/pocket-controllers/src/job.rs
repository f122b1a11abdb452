//! Job controller: runs the pods of Jobs to their end.
//!
//! Pods carry the finalizer `batch.kubernetes.io/job-tracking` until their end is counted, so none is counted twice or lost,
//! as in Kubernetes. Pods belong to a Job by their owner reference alone; completion mode `Indexed` is refused by a condition.

mod status;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::future::join_all;
use k8s_openapi::api::{
    batch::v1::{Job, JobSpec, JobStatus},
    core::v1::Pod,
};
use kube::ResourceExt;
use serde_json::json;
use tokio::{task::JoinSet, time::Instant};

use crate::{
    Error, Shared,
    cache::{Cache, Key},
    clock,
    events::Events,
    owner, patch, pods,
    queue::{After, Queue},
    replicaset::slow_start,
};

const COMPONENT: &str = "job-controller";
const WORKERS: usize = 4;
const FINALIZER: &str = "batch.kubernetes.io/job-tracking";
const FIRST_BACKOFF: Duration = Duration::from_secs(10);
const LAST_BACKOFF: Duration = Duration::from_secs(360);

/// Starts the controller.
pub(crate) fn start(shared: &Shared, tasks: &mut JoinSet<()>) {
    let queue = Queue::new();
    let reconciler = Arc::new(JobReconciler {
        jobs: shared.jobs.clone(),
        pods: shared.pods.clone(),
        events: shared.events.clone(),
        backoff: Mutex::default(),
    });
    let changed = queue.clone();
    reconciler.jobs.on_change(move |old, new| new.or(old).into_iter().for_each(|job| changed.add(Key::of(job))));
    let changed = queue.clone();
    reconciler.pods.on_change(move |old, new| {
        for pod in old.into_iter().chain(new) {
            if let Some(name) = owner::controller_name::<Job>(pod) {
                changed.add(Key::new(pod.namespace().unwrap_or_default(), name));
            }
        }
    });
    tasks.spawn(async move {
        reconciler.jobs.ready().await;
        reconciler.pods.ready().await;
        queue.work(WORKERS, move |key| reconciler.clone().reconcile(key)).await;
    });
}

struct JobReconciler {
    jobs: Cache<Job>,
    pods: Cache<Pod>,
    events: Events,
    /// Time at which the next pod may be created after failures, by the Job's uid.
    backoff: Mutex<HashMap<String, Instant>>,
}

/// Pods of a Job, by their state.
struct Census {
    active: Vec<Arc<Pod>>,
    terminating: usize,
    ready: usize,
    /// Pods that have ended and are not counted finally yet.
    ended: Vec<Arc<Pod>>,
}

impl JobReconciler {
    async fn reconcile(self: Arc<Self>, key: Key) -> Result<After, Error> {
        let all = self.pods.list(&key.namespace);
        let job = self.jobs.get(&key);
        let Some(job) = job.filter(|job| job.metadata.deletion_timestamp.is_none()) else {
            // No Job will count these pods any more.
            let orphans = all.iter().filter(|pod| owner::controller_name::<Job>(&***pod) == Some(&key.name));
            self.let_go(orphans.filter(|pod| is_tracked(pod))).await?;
            return Ok(After::Rest);
        };
        let Some(spec) = job.spec.clone() else { return Ok(After::Rest) };
        let mine: Vec<_> = all.into_iter().filter(|pod| owner::is_controlled_by(&**pod, &*job)).collect();
        if let Some(finished) = status::finished(&job) {
            self.let_go(mine.iter().filter(|pod| is_tracked(pod))).await?;
            return self.expire(&job, &spec, &finished).await;
        }
        self.run(job, &spec, &mine).await
    }

    async fn run(&self, job: Arc<Job>, spec: &JobSpec, mine: &[Arc<Pod>]) -> Result<After, Error> {
        let mut census = census(mine);
        let before = job.status.clone().unwrap_or_default();
        // First the names of ended pods, then their release, then the sums: a crash in between repeats nothing.
        let mut status = before.clone();
        status::note_ended(&mut status, &census.ended);
        let job = self.write(job, &status).await?;
        self.let_go(census.ended.iter()).await?;
        let failures = status::count_released(&mut status);
        if failures > 0 {
            self.back_off(&job, status.failed.unwrap_or(0));
        }
        let mut after = After::Rest;
        let suspended = spec.suspend == Some(true);
        let failure = status::failure(&job, spec, &status, &census.active);
        let success = failure.is_none() && status::has_succeeded(spec, &status, census.active.len());
        if failure.is_some() || success || suspended {
            self.delete(&job, &census.active).await?;
            census.terminating += census.active.len();
            census.active.clear();
        } else {
            if status.start_time.is_none() {
                status.start_time = Some(clock::time());
            }
            after = self.adjust(&job, spec, &status, &mut census).await?;
            after = after.or(status::deadline(spec, &status));
        }
        status::set_suspended(&mut status, suspended);
        status::set_counts(&mut status, census.active.len(), census.ready, census.terminating);
        if let Some((reason, message)) = &failure {
            status::set_failed(&mut status, reason, message, census.terminating == 0);
        } else if success {
            status::set_complete(&mut status, census.terminating == 0);
        }
        self.record_events(&job, &before, &status);
        self.write(job, &status).await?;
        Ok(after)
    }

    /// Creates or deletes pods until the wanted number runs.
    async fn adjust(&self, job: &Job, spec: &JobSpec, status: &JobStatus, census: &mut Census) -> Result<After, Error> {
        let wanted = status::wanted_pods(spec, status, census.active.len());
        // With this policy a pod that is still ending keeps its place.
        let ending = if spec.pod_replacement_policy.as_deref() == Some("Failed") { census.terminating } else { 0 };
        if census.active.len() > wanted {
            pods::sort_for_deletion(&mut census.active);
            let surplus: Vec<_> = census.active.drain(..census.active.len() - wanted).collect();
            census.terminating += surplus.len();
            self.delete(job, &surplus).await?;
        }
        let missing = wanted.saturating_sub(census.active.len() + ending);
        if missing == 0 {
            return Ok(After::Rest);
        }
        if let Some(wait) = self.wait(job) {
            return Ok(After::Again(wait));
        }
        let (made, error) = slow_start(missing, || self.create(job, spec)).await;
        census.active.extend(made);
        match error {
            Some(error) => Err(error),
            None => Ok(After::Rest),
        }
    }

    async fn create(&self, job: &Job, spec: &JobSpec) -> Result<Arc<Pod>, Error> {
        let (name, uid) = (job.name_any(), job.uid().unwrap_or_default());
        let mut pod =
            pods::from_template(&spec.template, &job.namespace().unwrap_or_default(), &name, owner::reference(job));
        let labels = pod.metadata.labels.get_or_insert_default();
        for prefix in ["", "batch.kubernetes.io/"] {
            labels.insert(format!("{prefix}controller-uid"), uid.clone());
            labels.insert(format!("{prefix}job-name"), name.clone());
        }
        pod.metadata.finalizers.get_or_insert_default().push(FINALIZER.to_owned());
        match self.pods.create(&pod).await {
            Ok(pod) => {
                self.events.normal(COMPONENT, job, "SuccessfulCreate", format!("Created pod: {}", pod.name_any()));
                Ok(pod)
            }
            Err(error) => {
                if !pods::namespace_ends(&error) {
                    self.events.warning(COMPONENT, job, "FailedCreate", format!("Error creating: {error}"));
                }
                Err(error)
            }
        }
    }

    async fn delete(&self, job: &Job, surplus: &[Arc<Pod>]) -> Result<(), Error> {
        for (pod, result) in surplus.iter().zip(join_all(surplus.iter().map(|pod| self.pods.delete(pod))).await) {
            result?;
            self.events.normal(COMPONENT, job, "SuccessfulDelete", format!("Deleted pod: {}", pod.name_any()));
        }
        Ok(())
    }

    /// Removes the finalizer from pods whose end is recorded.
    async fn let_go<'a>(&self, ended: impl Iterator<Item = &'a Arc<Pod>>) -> Result<(), Error> {
        let release = |pod: &'a Arc<Pod>| async move {
            let left: Vec<_> = pod.finalizers().iter().filter(|have| *have != FINALIZER).collect();
            match self.pods.patch(pod, json!({ "metadata": { "finalizers": left } })).await {
                Err(error) if error.code() != 404 => Err(error),
                _ => Ok(()),
            }
        };
        join_all(ended.map(release)).await.into_iter().collect()
    }

    async fn write(&self, job: Arc<Job>, status: &JobStatus) -> Result<Arc<Job>, Error> {
        match patch::diff(&job.status.clone().unwrap_or_default(), status)? {
            Some(patch) => self.jobs.patch_status(&job, patch).await,
            None => Ok(job),
        }
    }

    /// Deletes a finished Job when its time to live is over.
    async fn expire(
        &self,
        job: &Job,
        spec: &JobSpec,
        finished: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Time,
    ) -> Result<After, Error> {
        self.backoff().remove(&job.uid().unwrap_or_default());
        let Some(seconds) = spec.ttl_seconds_after_finished else { return Ok(After::Rest) };
        match clock::remaining(finished, seconds.into()) {
            Some(left) => Ok(After::Again(left)),
            None => self.jobs.delete(job).await.map(|()| After::Rest),
        }
    }

    fn backoff(&self) -> std::sync::MutexGuard<'_, HashMap<String, Instant>> {
        self.backoff.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn back_off(&self, job: &Job, failed: i32) {
        let doublings = u32::try_from(failed - 1).unwrap_or(0).min(16);
        let wait = FIRST_BACKOFF.saturating_mul(1 << doublings).min(LAST_BACKOFF);
        self.backoff().insert(job.uid().unwrap_or_default(), Instant::now() + wait);
    }

    fn wait(&self, job: &Job) -> Option<Duration> {
        let until = *self.backoff().get(job.uid().as_deref().unwrap_or_default())?;
        Some(until.saturating_duration_since(Instant::now())).filter(|wait| !wait.is_zero())
    }

    /// Emits events for changes of the conditions.
    fn record_events(&self, job: &Job, before: &JobStatus, after: &JobStatus) {
        let has = |status: &JobStatus, kind: &str| {
            status::find(status, kind).is_some_and(|condition| condition.status == "True")
        };
        let new = |kind: &str| !has(before, kind) && has(after, kind);
        if new("Complete") {
            self.events.normal(COMPONENT, job, "Completed", "Job completed".to_owned());
        }
        if new("Suspended") {
            self.events.normal(COMPONENT, job, "Suspended", "Job suspended".to_owned());
        }
        if has(before, "Suspended") && !has(after, "Suspended") {
            self.events.normal(COMPONENT, job, "Resumed", "Job resumed".to_owned());
        }
        if let Some(failed) = status::find(after, "Failed").filter(|_| new("Failed")) {
            let (reason, message) =
                (failed.reason.as_deref().unwrap_or_default(), failed.message.clone().unwrap_or_default());
            self.events.warning(COMPONENT, job, reason, message);
        }
    }
}

fn is_tracked(pod: &Pod) -> bool {
    pod.finalizers().iter().any(|have| have == FINALIZER)
}

/// Returns whether a pod has ended, including a pod that the node has released without a final phase.
fn has_ended(pod: &Pod) -> bool {
    let meta = &pod.metadata;
    pods::is_terminal(pod) || meta.deletion_timestamp.is_some() && meta.deletion_grace_period_seconds == Some(0)
}

fn census(mine: &[Arc<Pod>]) -> Census {
    let mut census = Census { active: Vec::new(), terminating: 0, ready: 0, ended: Vec::new() };
    for pod in mine {
        if has_ended(pod) {
            if is_tracked(pod) {
                census.ended.push(pod.clone());
            }
        } else if pod.metadata.deletion_timestamp.is_some() {
            census.terminating += 1;
        } else {
            census.ready += usize::from(pods::is_ready(pod));
            census.active.push(pod.clone());
        }
    }
    census
}
