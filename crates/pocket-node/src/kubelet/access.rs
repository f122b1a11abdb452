//! Requests of the API server to the node: logs, exec, port-forward.

use std::sync::Arc;

use bytes::Bytes;
use futures::Stream;
use tokio::net::TcpStream;

use super::{
    Shared,
    logs::{self, LogQuery},
    pod_context::PodContext,
    tracker::{Place, RunState, Slot, View},
};
use crate::{
    runtime::{Container, ExecSession, ExecSpec, Runtime},
    sync::lock,
    watch::Key,
};

/// Reason why a request to the node was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// This node does not run the pod.
    #[error("pod {0} is not running on this node")]
    NoPod(String),
    /// The pod has no such container.
    #[error("container {1} is not valid for pod {0}")]
    NoContainer(String, String),
    /// The container has not run yet.
    #[error("container \"{container}\" in pod \"{pod}\" is waiting to start: {reason}")]
    Waiting {
        pod: String,
        container: String,
        /// Reason of the waiting container.
        reason: String,
    },
    /// The container has no earlier run.
    #[error("previous terminated container \"{container}\" in pod \"{pod}\" not found")]
    NoPrevious { pod: String, container: String },
    /// The container does not run now.
    #[error("container not running ({0})")]
    NotRunning(String),
    /// The program could not be run, or the port could not be reached.
    #[error("{0}")]
    Failed(String),
}

/// Answers the API server's requests. Cheap to clone.
pub struct Access<R: Runtime> {
    node: Arc<Shared<R>>,
}

impl<R: Runtime> Clone for Access<R> {
    fn clone(&self) -> Self {
        Self { node: self.node.clone() }
    }
}

impl<R: Runtime> Access<R> {
    pub(super) fn new(node: Arc<Shared<R>>) -> Self {
        Self { node }
    }

    fn pod(&self, namespace: &str, name: &str) -> Result<Arc<PodContext<R>>, AccessError> {
        let key = Key::new(namespace, name);
        let pods = lock(&self.node.pods);
        pods.get(&key).cloned().ok_or_else(|| AccessError::NoPod(key.to_string()))
    }

    /// Streams a container's log.
    ///
    /// # Errors
    /// When there is no such log.
    pub fn logs(&self, query: LogQuery) -> Result<impl Stream<Item = Bytes> + Send + use<R>, AccessError> {
        let context = self.pod(&query.namespace, &query.pod)?;
        let (place, slot) = find(&context.tracker.read(), &query.container)
            .ok_or_else(|| AccessError::NoContainer(query.pod.clone(), query.container.clone()))?;
        let run = if query.previous {
            // The caller sees the current run; an earlier one must exist.
            if slot.restarts == 0 && !matches!(&slot.state, RunState::Waiting { .. } if slot.last.is_some()) {
                return Err(AccessError::NoPrevious { pod: query.pod, container: query.container });
            }
            if matches!(slot.state, RunState::Waiting { .. }) { slot.restarts } else { slot.restarts - 1 }
        } else {
            if let (RunState::Waiting { reason, .. }, None) = (&slot.state, &slot.last) {
                return Err(AccessError::Waiting {
                    pod: query.pod,
                    container: query.container,
                    reason: reason.clone(),
                });
            }
            slot.restarts
        };
        let path = context.log_dir().join(&query.container).join(format!("{run}.log"));
        let ended = async move {
            loop {
                let notified = context.tracker.log_followers.notified();
                tokio::pin!(notified);
                notified.as_mut().enable();
                let running = context
                    .tracker
                    .read()
                    .slot(place)
                    .is_some_and(|slot| matches!(slot.state, RunState::Running { .. }) && slot.restarts == run);
                if !running {
                    return;
                }
                notified.await;
            }
        };
        Ok(logs::stream(path, query, ended))
    }

    /// Runs a program in a container.
    ///
    /// # Errors
    /// When the container does not run, or the program cannot be run.
    pub async fn exec(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        spec: ExecSpec,
    ) -> Result<ExecSession, AccessError> {
        let context = self.pod(namespace, pod)?;
        if find(&context.tracker.read(), container).is_none() {
            return Err(AccessError::NoContainer(pod.into(), container.into()));
        }
        let running = lock(&context.running).get(container).cloned();
        let running = running.ok_or_else(|| AccessError::NotRunning(container.into()))?;
        running.exec(spec).await.map_err(|error| AccessError::Failed(error.to_string()))
    }

    /// Connects to a port of a pod.
    ///
    /// # Errors
    /// When the pod has no network or no program listens.
    pub async fn port_forward(&self, namespace: &str, pod: &str, port: u16) -> Result<TcpStream, AccessError> {
        let context = self.pod(namespace, pod)?;
        let ip = {
            let view = context.tracker.read();
            view.ip.filter(|_| view.sandbox)
        };
        let ip = ip.ok_or_else(|| AccessError::NotRunning(pod.into()))?;
        let connected = self.node.net.run(TcpStream::connect((ip, port))).await.and_then(|connected| connected);
        connected.map_err(|error| {
            let why = crate::probes::http::plain(&error);
            AccessError::Failed(format!("failed to connect to {ip}:{port} inside pod {namespace}/{pod}: {why}"))
        })
    }
}

fn find(view: &View, container: &str) -> Option<(Place, Slot)> {
    let init = view.init.iter().enumerate().map(|(index, slot)| (Place::Init(index), slot));
    let apps = view.apps.iter().enumerate().map(|(index, slot)| (Place::App(index), slot));
    init.chain(apps).find(|(_, slot)| slot.name == container).map(|(place, slot)| (place, slot.clone()))
}
