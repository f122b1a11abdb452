//! OCI images without a daemon: an image store in a directory, a builder for a subset of Dockerfiles, archives that
//! Docker, kind, minikube and containerd load, and unpacked layers for a container runtime. The entry point is [`ImageStore`].
//!
//! All operations are synchronous. Apart from the inputs of a build they only touch files below the store's directory. Several
//! processes may use one store at the same time.
//!
//! | module | subject |
//! |---|---|
//! | `archive` | archives of images: load and save |
//! | `build` | builds from a Dockerfile or from files |
//! | `digest` | SHA-256 digests |
//! | `error` | errors |
//! | `reference` | names of images |
//! | `spec` | documents of the OCI image specification |
//! | `store` | image store: names, blobs, garbage collection |
//! | `unpack` | unpacked layers for overlay mounts |

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

/// Result of the functions of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
