//! Tree of files that a layer's archive is unpacked into.

use std::{
    collections::BTreeMap,
    fs::{self, File, Permissions},
    io::{self, Read},
    os::unix::fs::{PermissionsExt, lchown, symlink},
    path::{Component, Path, PathBuf},
    time::{Duration, SystemTime},
};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::{bad_layer, open_layer, remove_all};
use crate::{Error, ImageStore, Layer, Result, digest::Hashing};

/// Greatest number of links in one path; more are a loop. The kernel has the same limit.
const MAX_LINKS: usize = 40;

/// Tree that is being unpacked.
pub(super) struct Tree {
    pub(super) root: PathBuf,
    /// Directories of the layers below, topmost first.
    pub(super) lower: Vec<PathBuf>,
    /// Whether the tree is one of a stack, so that it can delete nothing.
    pub(super) stacked: bool,
    /// Directories with their modes. The modes are set at the end, because a read-only directory accepts no files.
    pub(super) directories: BTreeMap<PathBuf, u32>,
    pub(super) root_user: bool,
}

/// Place of an archive's path on the disk.
enum Place {
    At(PathBuf),
    /// Place that only the layers below determine.
    Below,
    /// Place in a directory that does not exist.
    Missing,
}

/// Treatment of a directory of a path that does not exist.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Absent {
    Create,
    Report,
}

impl Tree {
    /// Adds a layer's entries; returns `false` if a stacked tree cannot express them.
    pub(super) fn add(&mut self, store: &ImageStore, layer: &Layer) -> Result<bool> {
        let bad = bad_layer(layer);
        let mut archive = tar::Archive::new(Hashing::new(open_layer(store, layer)?));
        for entry in archive.entries().map_err(&bad)? {
            let mut entry = entry.map_err(&bad)?;
            let path = entry.path().map_err(&bad)?.into_owned();
            let path = inside(&path).ok_or_else(|| {
                Error::content(format!("layer {}", layer.digest), format!("{} leads out of the image", path.display()))
            })?;
            let Some(name) = path.file_name() else { continue };
            if name.to_string_lossy().starts_with(".wh.") {
                // In the lowest layer there is nothing to delete.
                if self.stacked && !self.lower.is_empty() {
                    return Ok(false);
                }
                continue;
            }
            let shown = path.display().to_string();
            match self.entry(&mut entry, &path) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(error) => {
                    return Err(Error::io("unpack", PathBuf::from(format!("{shown} of layer {}", layer.digest)))(
                        error,
                    ));
                }
            }
        }
        let mut rest = archive.into_inner();
        io::copy(&mut rest, &mut io::sink()).map_err(&bad)?;
        let (_, found, _) = rest.finish();
        if found != layer.diff_id {
            return Err(Error::Corrupt { expected: layer.diff_id.to_string(), found: found.to_string() });
        }
        Ok(true)
    }

    /// Deletes the paths of earlier layers that a layer deletes.
    pub(super) fn delete(&mut self, store: &ImageStore, layer: &Layer) -> Result<()> {
        let bad = bad_layer(layer);
        let mut archive = tar::Archive::new(open_layer(store, layer)?);
        for entry in archive.entries().map_err(&bad)? {
            let entry = entry.map_err(&bad)?;
            let path = entry.path().map_err(&bad)?.into_owned();
            let Some(path) = inside(&path) else { continue };
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let Some(name) = name.strip_prefix(".wh.") else { continue };
            let parent = path.parent().unwrap_or(Path::new(""));
            // A file that no layer below has needs no deletion.
            let Place::At(dir) = self.directory(parent, Absent::Report).map_err(&bad)? else { continue };
            if name == ".wh..opq" {
                for child in fs::read_dir(&dir).map_err(&bad)? {
                    remove_all(&child.map_err(&bad)?.path()).map_err(&bad)?;
                }
                self.directories.retain(|path, _| *path == dir || !path.starts_with(&dir));
            } else if !name.starts_with(".wh.") {
                let gone = dir.join(name);
                remove_all(&gone).map_err(&bad)?;
                self.directories.retain(|path, _| !path.starts_with(&gone));
            }
        }
        Ok(())
    }

    fn entry(&mut self, entry: &mut tar::Entry<'_, impl Read>, path: &Path) -> io::Result<bool> {
        let header = entry.header();
        let kind = header.entry_type();
        let mode = header.mode()? & 0o7777;
        // Blank fields are 0, as for GNU tar.
        let (uid, gid) = (header.uid().unwrap_or(0), header.gid().unwrap_or(0));
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(header.mtime().unwrap_or(0).min(1 << 40));
        if matches!(kind, tar::EntryType::Block | tar::EntryType::Char) {
            return Ok(true);
        }
        let Place::At(at) = self.place(path)? else { return Ok(false) };
        let there = at.symlink_metadata().ok();
        if kind.is_dir() {
            if !there.as_ref().is_some_and(fs::Metadata::is_dir) {
                remove_all(&at)?;
                fs::create_dir(&at)?;
            }
            self.own(&at, uid, gid)?;
            self.directories.insert(at, mode);
            return Ok(true);
        }
        if there.is_some() {
            remove_all(&at)?;
            self.directories.retain(|path, _| !path.starts_with(&at));
        }
        if kind.is_symlink() {
            let target = entry.link_name()?.ok_or_else(|| invalid("a link without a target"))?;
            symlink(target, &at)?;
            return self.own(&at, uid, gid).map(|()| true);
        }
        if kind.is_hard_link() {
            let target = entry.link_name()?.ok_or_else(|| invalid("a link without a target"))?;
            let target = inside(&target).ok_or_else(|| invalid("a link that leads out of the image"))?;
            return match self.place(&target)? {
                Place::At(target) if target.symlink_metadata().is_ok() => fs::hard_link(target, at).map(|()| true),
                _ if self.stacked => Ok(false),
                _ => Err(invalid("a link to a file that is not there")),
            };
        }
        if kind.is_fifo() {
            mknodat(CWD, &at, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
        } else if kind.is_file() || kind.is_contiguous() || kind.is_gnu_sparse() {
            let mut file = File::options().write(true).create_new(true).open(&at)?;
            io::copy(entry, &mut file)?;
            file.set_modified(modified)?;
        } else {
            return Ok(true);
        }
        self.own(&at, uid, gid)?;
        fs::set_permissions(&at, Permissions::from_mode(mode))?;
        Ok(true)
    }

    /// Returns the place of a path. Creates its parent directories, and follows links among them inside the root.
    fn place(&mut self, path: &Path) -> io::Result<Place> {
        let Some(name) = path.file_name() else { return Ok(Place::At(self.root.clone())) };
        let parent = self.directory(path.parent().unwrap_or(Path::new("")), Absent::Create)?;
        Ok(match parent {
            Place::At(parent) => Place::At(parent.join(name)),
            other => other,
        })
    }

    /// Returns the place of a directory. Follows links inside the root.
    fn directory(&mut self, path: &Path, absent: Absent) -> io::Result<Place> {
        let mut todo = names(path);
        todo.reverse();
        let mut done = PathBuf::new();
        let mut links = 0;
        while let Some(part) = todo.pop() {
            if part == ".." {
                done.pop();
                continue;
            }
            let next = done.join(&part);
            let here = self.root.join(&next);
            match here.symlink_metadata() {
                Ok(metadata) if metadata.is_symlink() => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(invalid("too many links in its path"));
                    }
                    let target = fs::read_link(&here)?;
                    if target.is_absolute() {
                        done = PathBuf::new();
                    }
                    todo.extend(names(&target).into_iter().rev());
                    continue;
                }
                Ok(metadata) if metadata.is_dir() => {}
                Ok(_) if absent == Absent::Report => return Ok(Place::Missing),
                Ok(_) => return Err(invalid("a directory above it is a file")),
                Err(error) if error.kind() == io::ErrorKind::NotFound && absent == Absent::Report => {
                    return Ok(Place::Missing);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let below = self.lower.iter().find_map(|lower| lower.join(&next).symlink_metadata().ok());
                    let mode = match below {
                        Some(metadata) if metadata.is_symlink() => return Ok(Place::Below),
                        // The directory will hide the one below it, so it must have the same mode.
                        Some(metadata) if metadata.is_dir() => metadata.permissions().mode() & 0o7777,
                        _ => 0o755,
                    };
                    fs::create_dir(&here)?;
                    self.directories.insert(here, mode);
                }
                Err(error) => return Err(error),
            }
            done = next;
        }
        Ok(Place::At(self.root.join(done)))
    }

    /// Sets an owner as far as this process may.
    fn own(&self, path: &Path, uid: u64, gid: u64) -> io::Result<()> {
        if !self.root_user || (uid, gid) == (0, 0) {
            return Ok(());
        }
        let id = |id: u64| u32::try_from(id).map_err(|_| invalid("an owner's id is too large"));
        match lchown(path, Some(id(uid)?), Some(id(gid)?)) {
            // Root of a user namespace only has the ids that are mapped.
            Err(error) if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput) => {
                Ok(())
            }
            other => other,
        }
    }

    /// Sets the modes of directories, inner ones first.
    pub(super) fn finish(&mut self) -> Result<()> {
        fs::set_permissions(&self.root, Permissions::from_mode(0o755))
            .map_err(Error::io("change the mode of", &self.root))?;
        for (path, mode) in self.directories.iter().rev() {
            if path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) {
                fs::set_permissions(path, Permissions::from_mode(*mode))
                    .map_err(Error::io("change the mode of", path))?;
            }
        }
        Ok(())
    }
}

fn invalid(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message.to_owned())
}

/// Returns a relative path without `.`; `None` if it has a `..` that could lead out.
fn inside(path: &Path) -> Option<PathBuf> {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => clean.push(part),
            Component::ParentDir if !clean.pop() => return None,
            _ => {}
        }
    }
    Some(clean)
}

/// Returns the names in a path, with `..`, without `/` and `.`.
fn names(path: &Path) -> Vec<std::ffi::OsString> {
    let name = |component: Component<'_>| match component {
        Component::Normal(_) | Component::ParentDir => Some(component.as_os_str().to_owned()),
        _ => None,
    };
    path.components().filter_map(name).collect()
}
