//! Builders of images: from a Dockerfile without `RUN`, or directly from files.

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

/// Build from a Dockerfile.
///
/// `FROM`, `ARG`, `ENV`, `COPY`, `ADD` (local files), `ENTRYPOINT`, `CMD`, `SHELL`, `WORKDIR`, `USER`, `EXPOSE`, `LABEL`,
/// `VOLUME` and `STOPSIGNAL` have the same effect as in Docker. `RUN` and further stages are refused, because the build executes
/// nothing. The same input gives the same image, byte by byte: times are 0, and owners are root unless a flag sets others.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    /// Directory from which `COPY` takes files.
    pub context: PathBuf,
    /// Path of the Dockerfile; `Dockerfile` in the context if `None`.
    pub dockerfile: Option<PathBuf>,
    /// Values for `ARG`.
    pub build_args: Vec<(String, String)>,
    /// Names of the image; at least one is required.
    pub tags: Vec<String>,
}

/// Result of a build.
#[derive(Clone, Debug)]
pub struct Built {
    pub image: Image,
    /// Ignored parts of the Dockerfile, as `Dockerfile:3: …`.
    pub warnings: Vec<String>,
}

impl Builder {
    /// Builds the image and names it in the store.
    pub fn build(&self, store: &ImageStore) -> Result<Built> {
        run::build(self, store)
    }
}
