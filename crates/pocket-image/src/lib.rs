//! OCI images without a daemon: an image store in a directory, a builder for a subset of Dockerfiles, archives that
//! Docker, kind, minikube and containerd load, and unpacked layers for a container runtime.
//!
//! Everything here is synchronous and only touches files below the store's directory. Several processes may use one
//! store at the same time.

mod archive;
mod build;
mod digest;
mod error;
mod reference;
mod spec;
mod store;
mod unpack;

pub use build::{Builder, Built, FileToAdd, QuickBuild};
pub use digest::Digest;
pub use error::Error;
pub use reference::Reference;
pub use spec::RunConfig;
pub use store::{Image, ImageStore, ImageSummary, Layer};

/// The result of everything here.
pub type Result<T, E = Error> = std::result::Result<T, E>;
