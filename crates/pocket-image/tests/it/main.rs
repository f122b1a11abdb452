//! Tests of the store, the builder, archives and unpacking, through the public interface.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, too")]

mod archive;
mod build;
mod store;
mod unpack;

use std::{fs, path::Path};

use pocket_image::{Builder, Built, Error, FileToAdd, Image, ImageStore, QuickBuild, RunConfig};
use tempfile::TempDir;

/// Store and build context, both removed at the end.
struct Bench {
    dir: TempDir,
    store: ImageStore,
}

impl Bench {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let store = ImageStore::open(dir.path().join("store")).unwrap();
        fs::create_dir(dir.path().join("context")).unwrap();
        Self { dir, store }
    }

    fn context(&self) -> std::path::PathBuf {
        self.dir.path().join("context")
    }

    fn file(&self, path: &str, content: &str) -> std::path::PathBuf {
        let path = self.context().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    fn build(&self, dockerfile: &str) -> Result<Built, Error> {
        self.file("Dockerfile", dockerfile);
        Builder { context: self.context(), tags: vec!["test".to_owned()], ..Builder::default() }.build(&self.store)
    }

    fn quick(&self, reference: &str, text: &str) -> Image {
        QuickBuild {
            reference: reference.to_owned(),
            files: vec![(FileToAdd::Bytes(text.into()), "/etc/text".to_owned(), 0o644)],
            config: RunConfig { env: vec!["VERSION=1".to_owned()], ..RunConfig::default() },
        }
        .build(&self.store)
        .unwrap()
    }

    /// Returns the paths and file contents of an image as a container sees them.
    fn tree(&self, image: &Image) -> Vec<String> {
        let mut seen = std::collections::BTreeMap::new();
        for layer in self.store.layers(image).unwrap() {
            let mut lines = Vec::new();
            walk(&layer, Path::new(""), &mut lines);
            for (path, line) in lines {
                seen.entry(path).or_insert(line);
            }
        }
        seen.into_values().collect()
    }
}

fn walk(root: &Path, below: &Path, lines: &mut Vec<(String, String)>) {
    use std::os::unix::fs::PermissionsExt;
    for entry in fs::read_dir(root.join(below)).unwrap() {
        let path = below.join(entry.unwrap().file_name());
        let full = root.join(&path);
        let metadata = full.symlink_metadata().unwrap();
        let mode = metadata.permissions().mode() & 0o7777;
        let name = path.display().to_string();
        if metadata.is_symlink() {
            lines.push((name.clone(), format!("{name} -> {}", fs::read_link(&full).unwrap().display())));
        } else if metadata.is_dir() {
            lines.push((name.clone(), format!("{name}/ {mode:o}")));
            walk(root, &path, lines);
        } else {
            lines.push((name.clone(), format!("{name} {mode:o} {}", fs::read_to_string(&full).unwrap())));
        }
    }
}
