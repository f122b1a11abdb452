//! Build context: the files that `COPY` sees.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

use super::glob;
use crate::{Error, Result};

/// Directory of files without those that `.dockerignore` excludes.
pub(super) struct BuildContext {
    /// Canonical path of the directory.
    root: PathBuf,
    ignore: Vec<Rule>,
}

struct Rule {
    pattern: String,
    keep: bool,
}

/// File, directory or symbolic link of the context.
#[derive(Debug)]
pub(super) struct ContextEntry {
    /// Path relative to the requested source; empty for the source itself.
    pub(super) below: String,
    /// Path on the disk.
    pub(super) path: PathBuf,
    pub(super) metadata: fs::Metadata,
}

impl BuildContext {
    pub(super) fn open(root: &Path, dockerfile: &Path) -> Result<Self> {
        let root = root.canonicalize().map_err(Error::io("use the build context", root))?;
        // The Dockerfile's own ignore file comes first, as in BuildKit.
        let mut own = dockerfile.as_os_str().to_owned();
        own.push(".dockerignore");
        let mut ignore = Vec::new();
        for path in [PathBuf::from(own), root.join(".dockerignore")] {
            match fs::read_to_string(&path) {
                Ok(text) => {
                    ignore = rules(&text);
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::io("read", path)(error)),
            }
        }
        Ok(Self { root, ignore })
    }

    /// Returns the paths in the context that a source of `COPY` names: the path itself, or the matches of the pattern. Sorted.
    pub(super) fn sources(&self, source: &str) -> Result<Vec<String>, String> {
        let clean = clean(source).ok_or_else(|| {
            format!("`{source}` is outside the build context: COPY takes files below {} only", self.root.display())
        })?;
        if !glob::is_pattern(&clean) {
            if self.ignored(&clean) {
                return Err(format!("`{source}` is excluded by .dockerignore"));
            }
            return if self.root.join(&clean).symlink_metadata().is_ok() {
                Ok(vec![clean])
            } else {
                Err(format!("`{source}` does not exist in the build context {}", self.root.display()))
            };
        }
        let fixed: Vec<&str> = clean.split('/').take_while(|part| !glob::is_pattern(part)).collect();
        let mut found = Vec::new();
        self.expand(&fixed.join("/"), &clean, &mut found).map_err(|error| format!("`{source}`: {error}"))?;
        found.sort();
        if found.is_empty() {
            return Err(format!("`{source}` matches nothing in the build context {}", self.root.display()));
        }
        Ok(found)
    }

    fn expand(&self, dir: &str, pattern: &str, found: &mut Vec<String>) -> io::Result<()> {
        let path = self.root.join(dir);
        if !path.is_dir() {
            return Ok(());
        }
        let deep = pattern.split('/').any(|part| part == "**");
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let path = join(dir, &name);
            let matched = glob::matches(pattern, &path, false);
            if matched && !self.ignored(&path) {
                found.push(path.clone());
            }
            let deeper = deep || path.split('/').count() < pattern.split('/').count();
            if deeper && !matched && entry.file_type()?.is_dir() {
                self.expand(&path, pattern, found)?;
            }
        }
        Ok(())
    }

    /// Returns a source and, for a directory, everything below it, sorted by path.
    pub(super) fn walk(&self, source: &str) -> Result<Vec<ContextEntry>, String> {
        let link = self.root.join(source);
        // A source that is a link is followed, but never out of the context.
        let path = link.canonicalize().map_err(|error| format!("`{source}`: {error}"))?;
        if !path.starts_with(&self.root) {
            return Err(format!(
                "`{source}` is a link out of the build context: copy what it points at into the context"
            ));
        }
        let metadata = path.metadata().map_err(|error| format!("`{source}`: {error}"))?;
        let mut found = vec![ContextEntry { below: String::new(), path: path.clone(), metadata }];
        if path.is_dir() {
            self.walk_below(source, "", &path, &mut found).map_err(|error| format!("`{source}`: {error}"))?;
        }
        found.sort_by(|a, b| a.below.cmp(&b.below));
        Ok(found)
    }

    fn walk_below(&self, source: &str, below: &str, dir: &Path, found: &mut Vec<ContextEntry>) -> io::Result<()> {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let name = entry.file_name().into_string().map_err(|name| {
                io::Error::new(io::ErrorKind::InvalidInput, format!("a file's name is not UTF-8: {}", name.display()))
            })?;
            let below = join(below, &name);
            let metadata = entry.path().symlink_metadata()?;
            // An ignored directory may contain paths that a `!` rule keeps.
            if !self.ignored(&join(source, &below)) {
                found.push(ContextEntry { below: below.clone(), path: entry.path(), metadata: metadata.clone() });
            } else if !self.ignore.iter().any(|rule| rule.keep) {
                continue;
            }
            if metadata.is_dir() {
                self.walk_below(source, &below, &entry.path(), found)?;
            }
        }
        Ok(())
    }

    fn ignored(&self, path: &str) -> bool {
        let hit = |rule: &&Rule| glob::matches(&rule.pattern, path, true);
        !path.is_empty() && self.ignore.iter().rev().find(hit).is_some_and(|rule| !rule.keep)
    }
}

/// Returns a path below a root, without `.` and `..`; `None` if the path leads out.
pub(super) fn clean(path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for component in Path::new(path).components() {
        match component {
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::ParentDir => {
                parts.pop()?;
            }
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    Some(parts.join("/"))
}

/// Joins two relative paths, either of which may be empty.
pub(super) fn join(dir: &str, name: &str) -> String {
    match (dir.is_empty(), name.is_empty()) {
        (true, _) => name.to_owned(),
        (_, true) => dir.to_owned(),
        _ => format!("{dir}/{name}"),
    }
}

fn rules(text: &str) -> Vec<Rule> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let (keep, pattern) = line.strip_prefix('!').map_or((false, line), |rest| (true, rest.trim()));
            Rule { pattern: pattern.trim_start_matches('/').to_owned(), keep }
        })
        .collect()
}
