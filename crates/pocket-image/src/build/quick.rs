//! Images made directly from files, without a Dockerfile.

use std::path::PathBuf;

use super::{
    context::clean,
    layer::{LayerBuilder, Owner},
    run::finish,
    tree::Tree,
};
use crate::{Error, Image, ImageStore, Result, RunConfig, spec::History};

/// Content of a file in the image.
#[derive(Clone, Debug)]
pub enum FileToAdd {
    /// Copy of a file on the disk.
    Copy(PathBuf),
    /// Given bytes.
    Bytes(Vec<u8>),
}

/// Image from scratch, with a few files in one layer.
#[derive(Clone, Debug, Default)]
pub struct QuickBuild {
    /// Name of the image.
    pub reference: String,
    /// Files: content, absolute path in the image, and mode. They belong to root.
    pub files: Vec<(FileToAdd, String, u32)>,
    /// Configuration with which the image is run.
    pub config: RunConfig,
}

impl QuickBuild {
    /// Builds the image and names it in the store.
    pub fn build(&self, store: &ImageStore) -> Result<Image> {
        let mut layer = LayerBuilder::default();
        let mut tree = Tree::default();
        for (source, target, mode) in &self.files {
            let path = clean(target)
                .filter(|path| !path.is_empty())
                .ok_or_else(|| Error::content(format!("`{target}`"), "is no path of a file in an image"))?;
            super::run::parents(&mut layer, &mut tree, &path, Owner::default());
            match source {
                FileToAdd::Bytes(bytes) => layer.bytes(&path, bytes.clone(), *mode, Owner::default()),
                FileToAdd::Copy(file) => {
                    let len = file.metadata().map_err(Error::io("read", file))?.len();
                    layer.file(&path, file.clone(), len, *mode, Owner::default());
                }
            }
        }
        let _guard = store.guard()?;
        let layers = if layer.is_empty() { Vec::new() } else { vec![layer.write(store)?] };
        let history = vec![History { created_by: Some("files".to_owned()), ..History::default() }];
        finish(store, layers, self.config.clone(), history, std::slice::from_ref(&self.reference))
    }
}
