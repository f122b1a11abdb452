//! A faithful Kubernetes API server as an axum [`Router`]: no processes and no sockets of its own.
//!
//! [`Api`] holds the objects and serves them: through [`Api::router`], through [`Api::client`] inside the process (also
//! under tokio's paused clock), and through [`serve()`] over TLS. Every authenticated client may do everything, pods with
//! the tokens of their service accounts included: roles and bindings are stored, but not enforced.
//!
//! | module | subject |
//! |---|---|
//! | `admission` | limit ranges, Pod Security and quotas |
//! | `convert` | versions in which clients see a stored object |
//! | `crd` | CustomResourceDefinitions as rows of the resource table |
//! | `discovery` | groups, versions and kinds |
//! | `exec_status` | status that ends an exec session |
//! | `expiry` | expiry of events |
//! | `http` | requests, replies, watches |
//! | `json` | JSON values as the server changes them |
//! | `node` | logs, exec and port forwarding: the interface to the node |
//! | `openapi` | `/openapi/v3` |
//! | `ops` | operations on objects: create, update, delete, evict |
//! | `options` | options of the server |
//! | `registry` | kinds that are served now |
//! | `reply` | replies in JSON |
//! | `request` | paths, queries and selections of requests |
//! | `resource` | a kind: names, paths, storage, strategy |
//! | `serve` | TLS and authentication |
//! | `services` | addresses and node ports of Services |
//! | `spdy`, `websocket` | protocols of exec and port forwarding |
//! | `status` | errors as `metav1.Status` |
//! | `store` | objects in memory and on disk, and their changes |
//! | `strategy` | preparation of an object before a write, kind by kind |
//! | `table` | resource table: one row per built-in kind |
//! | `time` | times in the format of Kubernetes |
//! | `token`, `token_key` | tokens of service accounts, and the key that signs them |
//! | `write_options` | options of a write |

mod admission;
mod convert;
mod crd;
mod discovery;
mod exec_status;
mod expiry;
mod http;
mod json;
mod node;
mod openapi;
mod ops;
mod options;
mod registry;
mod reply;
mod request;
mod resource;
mod serve;
mod services;
mod spdy;
mod status;
mod store;
mod strategy;
mod table;
mod time;
mod token;
mod token_key;
mod websocket;
mod write_options;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, OnceLock, PoisonError, RwLock},
};

use axum::Router;
pub use node::{Duplex, ExecRequest, ExecStreams, LogRequest, NodeAccess};
pub use options::{Cidr, CidrError, Options, VersionInfo};
pub use resource::{Resource, ScalePaths, Subresource, Verbs};
use serde_json::Value;
pub use serve::{Authenticator, User, serve};
pub use status::Status;
pub use token_key::{TokenKey, TokenKeyError};

use crate::{
    registry::Registry,
    store::{Objects, Store},
    write_options::WriteOptions,
};

/// Reason for which the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// State on disk that cannot be used.
    #[error(transparent)]
    Storage(Box<dyn std::error::Error + Send + Sync>),
    /// Key that cannot sign tokens.
    #[error(transparent)]
    TokenKey(#[from] TokenKeyError),
    /// Failure of a write that the server needs for itself.
    #[error("cannot prepare the cluster: {0}")]
    Prepare(#[from] Status),
}

/// API server. Clones share all state.
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
    /// Opens the store and creates the namespaces that every cluster has.
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

    /// Returns the server as a service; each call makes another one for the same objects.
    pub fn router(&self) -> Router {
        http::router(self.clone())
    }

    /// Returns a client that calls the server without any socket, with the given default namespace.
    ///
    /// Upgrades (exec, port forwarding) need a real connection: use [`serve()`] for them.
    pub fn client(&self, namespace: &str) -> kube::Client {
        kube::Client::new(self.router(), namespace)
    }

    /// Connects the node. Without a node, logs, exec and port forwarding answer 503. Only the first call has an effect.
    pub fn set_node(&self, node: Arc<dyn NodeAccess>) {
        if self.inner.node.set(node).is_err() {
            tracing::warn!("the API server has a node already");
        }
    }

    /// Returns the options that the server was made with.
    pub fn options(&self) -> &Options {
        &self.inner.options
    }

    /// Returns the newest resource version. Each write increases it by one, so a test can count writes.
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

    /// Returns the kinds that are served now.
    pub(crate) fn registry(&self) -> Arc<Registry> {
        self.inner.registry.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the definitions again after one has changed.
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

    /// Indexes the loaded objects and creates the objects that must exist.
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
                    self.create(namespaces, "", object, &WriteOptions::by_server())?;
                }
            }
        }
        Ok(())
    }
}
