//! Container runtime: runs pods as processes in Linux namespaces, with or without root.
//!
//! - [`enter`] is the daemon's first step (see `nest`): it makes two processes, and the inner one is the server.
//! - `forker` is a small helper process with one thread that makes every other process.
//! - A pod is a user, a network, a host name and an IPC namespace, held by descriptors (see `sandbox`). A container adds a
//!   mount and a pid namespace (see `container`, `rootfs`).
//! - [`Namespaces`] implements [`Runtime`](crate::runtime::Runtime) with these.

mod channel;
mod container;
mod exec;
mod forker;
mod identity;
mod images;
mod logs;
mod nest;
mod process;
mod program;
mod protocol;
mod rootfs;
mod runtime;
mod sandbox;
pub(crate) mod sys;

use std::{io, os::fd::OwnedFd, path::PathBuf};

use pocket_image::ImageStore;

pub use nest::{EnterError, Entered, enter};
pub use runtime::{Namespaces, PodSandbox, Running};

use crate::{net::NodeNet, network, runtime::RuntimeError};

/// Releases memory that is not needed: freed memory, and the pages of the program's code. Most of the code ran at the start
/// only; pages that are needed again are loaded again.
pub fn release_memory() {
    sys::release_heap();
    if let Err(error) = sys::release_code() {
        tracing::debug!(%error, "the memory of the program's code is kept");
    }
}

/// Handles of the namespaces that the server gets.
#[derive(Debug)]
pub struct Inside {
    forker: OwnedFd,
    network: OwnedFd,
    ids: identity::Ids,
}

/// Settings of the runtime.
#[derive(Clone, Debug)]
pub struct Config {
    /// Directory for files that containers write; emptied at the start. On the file system of the images, if possible.
    pub dir: PathBuf,
    pub images: ImageStore,
}

impl Inside {
    /// Returns whether containers may have any user id (real root started the daemon), and not only one.
    pub fn has_all_ids(&self) -> bool {
        self.ids == identity::Ids::Range
    }

    /// Starts the runtime, and `workers` threads in the node's network. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// When the directory cannot be made or the node's network cannot be entered.
    pub fn start(
        self,
        config: Config,
        workers: usize,
    ) -> Result<(Namespaces, NodeNet, network::Threads), RuntimeError> {
        let node = |what: &str| {
            let what = what.to_owned();
            move |source: io::Error| RuntimeError::Node { what, source }
        };
        let (runtime, net) = network::start(self.network, workers).map_err(node("enter the node's network"))?;
        let namespaces = Namespaces::new(self.forker, self.ids, config).map_err(node("start the container runtime"))?;
        Ok((namespaces, net, runtime))
    }
}
