//! A faithful Kubernetes API server as an axum [`Router`]: no processes and no sockets of its own.
//!
//! [`Api`] holds the objects and serves them: through [`Api::router`], through [`Api::client`] inside the process (also
//! under tokio's paused clock), and through [`serve`] over TLS. Everything that is authenticated, pods with the
//! tokens of their service accounts included, may do everything: roles and bindings are stored, but not enforced.

mod admission;
mod crd;
mod discovery;
mod expiry;
mod http;
mod node;
mod openapi;
mod ops;
mod options;
mod registry;
mod serve;
mod services;
mod spdy;
mod status;
mod store;
mod strategy;
mod table;
mod token;
mod websocket;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, OnceLock, PoisonError, RwLock},
};

use axum::Router;
pub use node::{Duplex, ExecRequest, ExecStreams, LogRequest, NodeAccess};
pub use options::{Cidr, CidrError, Options, VersionInfo};
use serde_json::Value;
pub use serve::{Authenticator, User, serve};
pub use status::Status;
pub use table::{Resource, ScalePaths, Subresource, Verbs};
pub use token::{TokenKey, TokenKeyError};

use crate::{
    registry::Registry,
    store::{Objects, Store},
};

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The state on disk cannot be used.
    #[error(transparent)]
    Storage(Box<dyn std::error::Error + Send + Sync>),
    /// No key to sign tokens with.
    #[error(transparent)]
    TokenKey(#[from] TokenKeyError),
    /// A write that the server needs for itself failed.
    #[error("cannot prepare the cluster: {0}")]
    Prepare(#[from] Status),
}

/// The API server. Clones share everything.
#[derive(Clone)]
pub struct Api {
    inner: Arc<Inner>,
}

struct Inner {
    options: Options,
    store: Store,
    registry: RwLock<Arc<Registry>>,
    node: OnceLock<Arc<dyn NodeAccess>>,
    token_key: TokenKey,
    /// Snapshots that clients page through, newest last.
    pages: Mutex<VecDeque<(u64, Arc<str>, Objects)>>,
}

impl Api {
    /// Opens the store and makes the namespaces that every cluster has.
    pub fn new(options: Options) -> Result<Self, Error> {
        let store = Store::open(options.persistence.as_deref())
            .map_err(|error: store::OpenError| Error::Storage(error.into()))?;
        let token_key = options.token_key.clone().map_or_else(TokenKey::random, Ok)?;
        let inner = Inner {
            options,
            token_key,
            store,
            registry: RwLock::new(Arc::new(Registry::new())),
            node: OnceLock::new(),
            pages: Mutex::default(),
        };
        let api = Self { inner: Arc::new(inner) };
        api.start()?;
        Ok(api)
    }

    /// The server as a service; any number of them may be made.
    pub fn router(&self) -> Router {
        http::router(self.clone())
    }

    /// A client that calls the server without any socket, for the given default namespace.
    ///
    /// Upgrades (exec, port forwarding) need a real connection: use [`serve`] for them.
    pub fn client(&self, namespace: &str) -> kube::Client {
        kube::Client::new(self.router(), namespace)
    }

    /// Connects the node. Before this, logs, exec and port forwarding answer 503. Only the first call counts.
    pub fn set_node(&self, node: Arc<dyn NodeAccess>) {
        if self.inner.node.set(node).is_err() {
            tracing::warn!("the API server has a node already");
        }
    }

    /// The options it was made with.
    pub fn options(&self) -> &Options {
        &self.inner.options
    }

    /// The newest resourceVersion: it grows by one with each write, so a test can count writes.
    pub fn revision(&self) -> u64 {
        self.inner.store.revision()
    }

    pub(crate) fn token_key(&self) -> &TokenKey {
        &self.inner.token_key
    }

    pub(crate) fn store(&self) -> &Store {
        &self.inner.store
    }

    pub(crate) fn node(&self) -> Option<Arc<dyn NodeAccess>> {
        self.inner.node.get().cloned()
    }

    pub(crate) fn pages(&self) -> std::sync::MutexGuard<'_, VecDeque<(u64, Arc<str>, Objects)>> {
        self.inner.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The kinds served right now.
    pub(crate) fn registry(&self) -> Arc<Registry> {
        self.inner.registry.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the definitions again, after one has changed.
    pub(crate) fn refresh_definitions(&self) {
        let registry = self.registry();
        let Some(definitions) = registry.built_in("apiextensions.k8s.io", "customresourcedefinitions") else { return };
        let (objects, _) = self.store().snapshot(&definitions.storage);
        let custom: Vec<_> = objects.values().flat_map(|stored| crd::resources(&stored.value())).collect();
        for resource in &custom {
            self.store().index(&resource.storage);
        }
        let changed = Arc::new(registry.with_custom(custom));
        *self.inner.registry.write().unwrap_or_else(PoisonError::into_inner) = changed;
    }

    /// Indexes what was loaded and makes what must be there.
    fn start(&self) -> Result<(), Error> {
        let registry = self.registry();
        for resource in registry.all() {
            self.store().index(&resource.storage);
        }
        self.refresh_definitions();
        if let Some(services) = registry.built_in("", "services") {
            let (objects, _) = self.store().snapshot(&services.storage);
            let mut writer = self.store().writer();
            for stored in objects.values() {
                writer.allocations.record(&stored.key, None, Some(&stored.value()));
            }
        }
        if let Some(namespaces) = registry.built_in("", "namespaces") {
            for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
                if self.store().get(&namespaces.storage, &store::key("", name)).is_none() {
                    let object: Value = serde_json::json!({
                        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name},
                    });
                    self.create(namespaces, "", object, &ops::Write::by_server())?;
                }
            }
        }
        Ok(())
    }
}
