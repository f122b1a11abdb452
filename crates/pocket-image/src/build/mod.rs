//! Building images: from a Dockerfile without `RUN`, or directly from files.

mod context;
mod dockerfile;
mod expand;
mod glob;
mod layer;
mod quick;
mod run;
mod tree;

use std::path::PathBuf;

pub use quick::{FileToAdd, QuickBuild};

use crate::{Image, ImageStore, Result};

/// A build from a Dockerfile.
///
/// `FROM`, `ARG`, `ENV`, `COPY`, `ADD` (local files), `ENTRYPOINT`, `CMD`, `SHELL`, `WORKDIR`, `USER`, `EXPOSE`, `LABEL`,
/// `VOLUME` and `STOPSIGNAL` do what they do in Docker. `RUN` and further stages are refused, since nothing is executed.
/// The same input gives the same image, byte by byte: times are 0 and owners are root unless told otherwise.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    /// The directory from which `COPY` takes files.
    pub context: PathBuf,
    /// The Dockerfile; `Dockerfile` in the context if `None`.
    pub dockerfile: Option<PathBuf>,
    /// Values for `ARG`.
    pub build_args: Vec<(String, String)>,
    /// Names that the image gets. There must be one at least.
    pub tags: Vec<String>,
}

/// A finished build.
#[derive(Clone, Debug)]
pub struct Built {
    /// The image.
    pub image: Image,
    /// What was ignored, as `Dockerfile:3: …`.
    pub warnings: Vec<String>,
}

impl Builder {
    /// Builds the image and names it in the store.
    pub fn build(&self, store: &ImageStore) -> Result<Built> {
        run::build(self, store)
    }
}
