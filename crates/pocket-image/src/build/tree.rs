//! Paths in the layers so far: directories, links and others. `COPY` depends on them.

use std::{collections::BTreeMap, io::Read};

use super::context::{clean, join};
use crate::{ImageStore, Layer, Result, unpack};

/// Kind of a path in the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Directory,
    Link(String),
    Other,
}

/// Paths in the image so far, without a slash at the start.
#[derive(Debug, Default)]
pub(super) struct Tree(BTreeMap<String, Node>);

/// Greatest number of links in one path; more are a loop. The kernel has the same limit.
const MAX_LINKS: usize = 40;

impl Tree {
    /// Returns the paths in the layers of a base image.
    pub(super) fn of(store: &ImageStore, layers: &[Layer]) -> Result<Self> {
        let mut tree = Self::default();
        for layer in layers {
            let bad = unpack::bad_layer(layer);
            let mut archive = tar::Archive::new(unpack::open_layer(store, layer)?);
            for entry in archive.entries().map_err(&bad)? {
                let entry = entry.map_err(&bad)?;
                let path = entry.path().map_err(&bad)?;
                let Some(path) = path.to_str().and_then(clean).filter(|path| !path.is_empty()) else { continue };
                let kind = entry.header().entry_type();
                let (dir, name) = path.rsplit_once('/').unwrap_or(("", &path));
                match name.strip_prefix(".wh.") {
                    Some(".wh..opq") => tree.remove_below(dir),
                    Some(gone) => {
                        let gone = join(dir, gone);
                        tree.remove_below(&gone);
                        tree.0.remove(&gone);
                    }
                    None if kind.is_dir() => tree.add(&path, Node::Directory),
                    None if kind.is_symlink() => {
                        let target = entry.link_name().map_err(&bad)?.unwrap_or_default();
                        tree.add(&path, Node::Link(target.to_string_lossy().into_owned()));
                    }
                    None => tree.add(&path, Node::Other),
                }
            }
            // The rest is padding; reading it detects a truncated archive.
            std::io::copy(&mut archive.into_inner().take(1 << 20), &mut std::io::sink()).map_err(&bad)?;
        }
        Ok(tree)
    }

    /// Adds a path and its parent directories.
    pub(super) fn add(&mut self, path: &str, node: Node) {
        if node != Node::Directory {
            self.remove_below(path);
        }
        for (at, _) in path.match_indices('/') {
            let above = self.0.entry(path[..at].to_owned()).or_insert(Node::Directory);
            if *above == Node::Other {
                *above = Node::Directory;
            }
        }
        self.0.insert(path.to_owned(), node);
    }

    pub(super) fn is_directory(&self, path: &str) -> bool {
        path.is_empty() || self.0.get(path) == Some(&Node::Directory)
    }

    /// Follows the links in a path. A link that leads nowhere is followed as far as it goes.
    pub(super) fn follow(&self, path: &str) -> String {
        let mut todo: Vec<String> = path.split('/').rev().filter(|part| !part.is_empty()).map(str::to_owned).collect();
        let mut done = String::new();
        let mut links = 0;
        while let Some(part) = todo.pop() {
            match part.as_str() {
                "." | "" => continue,
                ".." => {
                    done.truncate(done.rfind('/').unwrap_or(0));
                    continue;
                }
                _ => {}
            }
            let next = join(&done, &part);
            match self.0.get(&next) {
                Some(Node::Link(target)) if links < MAX_LINKS => {
                    links += 1;
                    if target.starts_with('/') {
                        done.clear();
                    }
                    todo.extend(target.split('/').rev().filter(|part| !part.is_empty()).map(str::to_owned));
                }
                _ => done = next,
            }
        }
        done
    }

    fn remove_below(&mut self, dir: &str) {
        let prefix = if dir.is_empty() { String::new() } else { format!("{dir}/") };
        let gone: Vec<String> = self
            .0
            .range(prefix.clone()..)
            .map(|(path, _)| path)
            .take_while(|path| path.starts_with(&prefix))
            .cloned()
            .collect();
        for path in gone {
            self.0.remove(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_followed() {
        let mut tree = Tree::default();
        tree.add("usr/lib", Node::Directory);
        tree.add("lib", Node::Link("usr/lib".to_owned()));
        tree.add("usr/up", Node::Link("../lib/../x".to_owned()));
        tree.add("loop", Node::Link("loop".to_owned()));
        assert_eq!(tree.follow("lib/a/b"), "usr/lib/a/b");
        assert_eq!(tree.follow("usr/up/y"), "usr/x/y");
        assert_eq!(tree.follow("loop/y"), "loop/y");
        assert!(tree.is_directory("usr") && !tree.is_directory("lib"));
    }

    #[test]
    fn a_file_replaces_what_was_below() {
        let mut tree = Tree::default();
        tree.add("a/b/c", Node::Other);
        tree.add("a/b", Node::Other);
        assert!(!tree.0.contains_key("a/b/c") && tree.0.contains_key("a/b") && tree.is_directory("a"));
    }
}
