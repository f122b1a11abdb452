//! Controllers of a small cluster: Deployment, ReplicaSet, Job, PodDisruptionBudget, EndpointSlice (with the older Endpoints), garbage
//! collection by owner, namespaces and quotas. They are plain clients of the Kubernetes API. [`run`] starts all of them.
//!
//! Every controller is level-triggered: it compares the present state with the wanted one and takes the next step, so it may
//! be stopped and started at any moment. Watches feed caches that the controllers share. A change puts the objects that it
//! concerns into work queues at once; one worker at a time processes an object.
//!
//! | module | subject |
//! |---|---|
//! | `cache` | cache of one kind, fed by a watch and by own writes |
//! | `clock` | time of day |
//! | `deployment`, `replicaset`, `job` | controllers of workloads |
//! | `disruption` | PodDisruptionBudgets |
//! | `endpoints` | EndpointSlices and Endpoints |
//! | `events` | writer of events |
//! | `garbage` | garbage collection by owner |
//! | `namespace` | service account and certificate of a namespace, and its end |
//! | `objects` | metadata of every object in the cluster |
//! | `owner` | controller references, adoption and release |
//! | `patch` | merge patches between two states |
//! | `pods` | questions about pods, and their order of deletion |
//! | `queue` | work queue with backoff |
//! | `quota` | usage of ResourceQuotas |

mod cache;
mod clock;
mod deployment;
mod disruption;
mod endpoints;
mod events;
mod garbage;
mod job;
mod namespace;
mod objects;
mod owner;
mod patch;
mod pods;
mod queue;
mod quota;
mod replicaset;

use std::{collections::BTreeSet, future::Future};

use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    batch::v1::Job,
    core::v1::{Endpoints, Pod, ResourceQuota, Service},
    discovery::v1::EndpointSlice,
    policy::v1::PodDisruptionBudget,
};
use kube::Client;
use tokio::task::JoinSet;

use crate::{cache::Cache, events::Events, objects::Objects};

/// Field manager of all writes, as in the `managedFields` of a real cluster.
const MANAGER: &str = "kube-controller-manager";

/// Controller that can be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Controller {
    /// Keeps the ReplicaSets of Deployments.
    Deployment,
    /// Keeps the pods of ReplicaSets.
    ReplicaSet,
    /// Runs the pods of Jobs.
    Job,
    /// Keeps the status of PodDisruptionBudgets.
    Disruption,
    /// Keeps the EndpointSlices and Endpoints of Services.
    EndpointSlice,
    /// Deletes objects that have lost their owners.
    GarbageCollector,
    /// Empties namespaces that are being deleted, and gives each namespace a service account and the root certificate.
    Namespace,
    /// Counts the usage of ResourceQuotas.
    ResourceQuota,
}

impl Controller {
    /// All controllers.
    pub const ALL: [Self; 8] = [
        Self::Deployment,
        Self::ReplicaSet,
        Self::Job,
        Self::Disruption,
        Self::EndpointSlice,
        Self::GarbageCollector,
        Self::Namespace,
        Self::ResourceQuota,
    ];
}

/// Reason for which a controller's work failed. The controller tries again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{}", text(.0))]
    Api(#[from] kube::Error),
    #[error("cannot encode: {0}")]
    Encode(#[from] serde_json::Error),
    #[error("{0}")]
    Other(String),
}

/// Returns an answer of the API server in its own words, as events and conditions quote it.
fn text(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

impl Error {
    /// Returns the status code of the API's answer; 0 if there was none.
    pub(crate) fn code(&self) -> u16 {
        match self {
            Self::Api(kube::Error::Api(status)) => status.code,
            _ => 0,
        }
    }
}

/// Settings of the controllers.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Authority's certificate as PEM, with which pods verify the API server.
    pub root_ca: Option<String>,
}

/// Runs all controllers until `shutdown` is done.
pub async fn run(client: Client, settings: Settings, shutdown: impl Future<Output = ()>) {
    run_some(client, settings, &Controller::ALL, shutdown).await;
}

/// Runs some of the controllers until `shutdown` is done.
pub async fn run_some(
    client: Client,
    settings: Settings,
    controllers: &[Controller],
    shutdown: impl Future<Output = ()>,
) {
    let wanted: BTreeSet<Controller> = controllers.iter().copied().collect();
    let mut tasks = JoinSet::new();
    let shared = Shared::new(&client, settings, &mut tasks);
    for controller in wanted {
        match controller {
            Controller::Deployment => deployment::start(&shared, &mut tasks),
            Controller::ReplicaSet => replicaset::start(&shared, &mut tasks),
            Controller::Job => job::start(&shared, &mut tasks),
            Controller::Disruption => disruption::start(&shared, &mut tasks),
            Controller::EndpointSlice => endpoints::start(&shared, &mut tasks),
            Controller::GarbageCollector => garbage::start(&shared, &mut tasks),
            Controller::Namespace => namespace::start(&shared, &mut tasks),
            Controller::ResourceQuota => quota::start(&shared, &mut tasks),
        }
    }
    shared.watch(&mut tasks);
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            ended = tasks.join_next() => match ended {
                Some(Ok(())) => {}
                Some(Err(error)) => tracing::error!(%error, "a controller ended"),
                None => shutdown.as_mut().await,
            }
        }
        if tasks.is_empty() {
            break;
        }
    }
    tasks.shutdown().await;
}

/// State that the controllers share. A cache is watched only if it is used.
pub(crate) struct Shared {
    pub(crate) client: Client,
    pub(crate) settings: Settings,
    pub(crate) events: Events,
    pub(crate) deployments: Cache<Deployment>,
    pub(crate) replica_sets: Cache<ReplicaSet>,
    pub(crate) pods: Cache<Pod>,
    pub(crate) jobs: Cache<Job>,
    pub(crate) budgets: Cache<PodDisruptionBudget>,
    pub(crate) services: Cache<Service>,
    pub(crate) slices: Cache<EndpointSlice>,
    pub(crate) endpoints: Cache<Endpoints>,
    pub(crate) quotas: Cache<ResourceQuota>,
    pub(crate) objects: Objects,
}

impl Shared {
    fn new(client: &Client, settings: Settings, tasks: &mut JoinSet<()>) -> Self {
        Self {
            client: client.clone(),
            settings,
            events: Events::start(client.clone(), tasks),
            deployments: Cache::new(client.clone(), |_| {}),
            replica_sets: Cache::new(client.clone(), |_| {}),
            pods: Cache::new(client.clone(), pods::slim),
            jobs: Cache::new(client.clone(), |_| {}),
            budgets: Cache::new(client.clone(), |_| {}),
            services: Cache::new(client.clone(), |_| {}),
            slices: Cache::new(client.clone(), |_| {}),
            endpoints: Cache::new(client.clone(), |_| {}),
            quotas: Cache::new(client.clone(), |_| {}),
            objects: Objects::new(client.clone()),
        }
    }

    fn watch(&self, tasks: &mut JoinSet<()>) {
        self.deployments.watch(tasks);
        self.replica_sets.watch(tasks);
        self.pods.watch(tasks);
        self.jobs.watch(tasks);
        self.budgets.watch(tasks);
        self.services.watch(tasks);
        self.slices.watch(tasks);
        self.endpoints.watch(tasks);
        self.quotas.watch(tasks);
        self.objects.watch(tasks);
    }
}
