//! A small, faithful Kubernetes in one process, for laptops, demos and tests: no root, no Docker, no network access.
//!
//! A program that embeds the cluster calls [`entry`] first thing in `main`, before it starts any thread: the cluster's daemon is
//! the same program, executed again with a hidden argument. [`up()`] starts the daemon and waits until the cluster is ready;
//! [`down()`] ends it; [`status`] returns its state.
//!
//! ```no_run
//! pocket::entry(pocket::nothing_else);
//! let options = pocket::Options::new(pocket::default_state_dir()?);
//! let up = pocket::up(&options, &mut |step| eprintln!("{step}"))?;
//! println!("export KUBECONFIG={}", up.kubeconfig.display());
//! # Ok::<(), pocket::Error>(())
//! ```
//!
//! | module | subject |
//! |---|---|
//! | `certificates` | certificates of the cluster, and the key for tokens |
//! | `cluster` | assembly of API server, controllers and node |
//! | `daemon` | daemon process, from its hidden argument to its end |
//! | `down`, `up` | end and start of the daemon |
//! | `error` | errors of starting or stopping the cluster |
//! | `files` | files of the state directory |
//! | `kubeconfig` | kubeconfig of the cluster |
//! | `lock` | lock and record of the running daemon |
//! | `node` | kubelet, scheduler, Service proxy and DNS |
//! | `objects` | objects that every cluster has: its node, and the Services of API and DNS |
//! | `options` | options of the cluster |
//! | `progress` | messages from a starting daemon to `up` |
//! | `rest` | periodic tasks: expiry of events, release of memory |
#![warn(missing_docs)]

mod arguments;
mod certificates;
mod cluster;
mod daemon;
mod down;
mod error;
mod files;
mod kubeconfig;
mod lock;
mod node;
mod objects;
mod options;
mod progress;
mod rest;
mod up;

pub use daemon::{Context, Extra, Running, entry, nothing_else};
pub use down::{Down, down, purge, stop};
pub use error::Error;
pub use options::{Options, default_state_dir};
pub use tokio_util::sync::CancellationToken;
pub use up::{Status, Up, status, up};

/// Name of the cluster's one node.
pub const NODE: &str = "pocket";
/// Name of the context, cluster and user in the kubeconfig.
pub const CONTEXT: &str = "rainbow-local";

/// Returns the path of the kubeconfig of a state directory, whether the cluster is up or not.
pub fn kubeconfig_path(state_dir: &std::path::Path) -> std::path::PathBuf {
    files::Files::new(state_dir).kubeconfig()
}

/// Returns the path of the image store of a state directory: open it with `pocket_image::ImageStore::open`.
pub fn image_store_path(state_dir: &std::path::Path) -> std::path::PathBuf {
    files::Files::new(state_dir).images()
}
