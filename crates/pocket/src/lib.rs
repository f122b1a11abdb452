//! A small, faithful Kubernetes in one process, for laptops, demos and tests: no root, no Docker, no network access.
//!
//! A program that wants to have it calls [`entry`] first thing in `main`, before it starts any thread: the cluster's daemon is
//! that very program, executed again with a hidden argument. [`up`] starts the daemon and waits until the cluster is ready;
//! [`down`] ends it; [`status`] looks.
//!
//! ```no_run
//! pocket::entry(pocket::nothing_else);
//! let options = pocket::Options::new(pocket::default_state_dir()?);
//! let up = pocket::up(&options, &mut |step| eprintln!("{step}"))?;
//! println!("export KUBECONFIG={}", up.kubeconfig.display());
//! # Ok::<(), pocket::Error>(())
//! ```

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

/// The name of the cluster's one node.
pub const NODE: &str = "pocket";
/// The usual name of the context, cluster and user in the kubeconfig.
pub const CONTEXT: &str = "rainbow-local";

/// Where the kubeconfig of a state directory is, whether the cluster is up or not.
pub fn kubeconfig_path(state_dir: &std::path::Path) -> std::path::PathBuf {
    files::Files::new(state_dir).kubeconfig()
}

/// Where the image store of a state directory is: open it with `pocket_image::ImageStore::open`.
pub fn image_store_path(state_dir: &std::path::Path) -> std::path::PathBuf {
    files::Files::new(state_dir).images()
}
