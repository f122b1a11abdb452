//! Unpacked layers: directories that serve as the lower directories of overlay mounts, shared by all containers.
//!
//! A layer is unpacked once for each stack of layers below it. An unprivileged process cannot express deletions (`.wh.`
//! files) in a lower directory everywhere. So an image whose layers delete something, or write through a link of a lower
//! layer, is unpacked into one directory instead.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, Permissions},
    io::{self, BufReader, Read, Seek},
    os::unix::fs::{PermissionsExt, lchown, symlink},
    path::{Component, Path, PathBuf},
    time::{Duration, SystemTime},
};

use rustix::{
    fs::{CWD, FileType, FlockOperation, Mode, mknodat},
    process::geteuid,
};

use crate::{Digest, Error, Image, ImageStore, Layer, Result, digest::Hashing};

/// Greatest number of layers in a stack: the options of a mount must fit into one page. Images with more are unpacked into one directory.
const MAX_STACK: usize = 16;
/// Greatest number of links in one path; more are a loop. The kernel has the same limit.
const MAX_LINKS: usize = 40;

impl ImageStore {
    /// Returns the directories that make up an image's root, and unpacks them if necessary, *topmost first*, which is the order of
    /// overlayfs' `lowerdir`. There is always at least one. Callers must not write in them.
    ///
    /// Owners are kept as far as the process is root and the ids exist in its user namespace. Device files are left out.
    pub fn layers(&self, image: &Image) -> Result<Vec<PathBuf>> {
        if let Some(ready) = self.ready(image) {
            return Ok(ready);
        }
        let _guard = self.guard()?;
        // One at a time: ten pods of one image must unpack it only once.
        let _lock = self.lock("unpack.lock", FlockOperation::LockExclusive)?;
        if let Some(ready) = self.ready(image) {
            return Ok(ready);
        }
        let chains = chains(image);
        let (_, flat) = self.places(image);
        if image.layers.is_empty() {
            fs::create_dir_all(&flat).map_err(Error::io("make the directory", &flat))?;
        } else if image.layers.len() > MAX_STACK || !self.stack(image, &chains)? {
            self.unpack(&flat, |tree| {
                for layer in &image.layers {
                    tree.delete(self, layer)?;
                    tree.add(self, layer)?;
                }
                Ok(true)
            })?;
        }
        self.ready(image)
            .ok_or_else(|| Error::content(format!("image {}", image.id), "was unpacked but is gone: try again"))
    }

    /// Removes unpacked trees that no image of the store needs, and leftovers of interrupted work. `in_use` are
    /// directories that containers run on, as [`ImageStore::layers`] returned them.
    pub fn prune_unpacked(&self, in_use: &[PathBuf]) -> Result<()> {
        let _lock = self.lock("unpack.lock", FlockOperation::LockExclusive)?;
        let mut needed: BTreeSet<PathBuf> = in_use.iter().cloned().collect();
        for summary in self.list()? {
            let (stack, flat) = self.places(&self.resolve(&summary.reference)?);
            needed.extend(stack);
            needed.insert(flat);
        }
        let dir = self.unpacked();
        for entry in fs::read_dir(&dir).map_err(Error::io("read", &dir))? {
            let path = entry.map_err(Error::io("read", &dir))?.path();
            if !needed.contains(&path) {
                remove_all(&path).map_err(Error::io("remove", path))?;
            }
        }
        Ok(())
    }

    fn unpacked(&self) -> PathBuf {
        self.dir().join("unpacked")
    }

    /// Returns the directories of an image's layers, topmost first, and the directory of the image if it is unpacked into one.
    fn places(&self, image: &Image) -> (Vec<PathBuf>, PathBuf) {
        let dir = self.unpacked();
        let chains = chains(image);
        // Half of the digest is unique enough, and keeps mount options short.
        let name = |chain: &Digest| chain.hex().chars().take(32).collect::<String>();
        let flat = chains.last().map_or_else(|| "empty".to_owned(), |top| format!("{}.flat", name(top)));
        (chains.iter().rev().map(|chain| dir.join(name(chain))).collect(), dir.join(flat))
    }

    fn ready(&self, image: &Image) -> Option<Vec<PathBuf>> {
        let (stack, flat) = self.places(image);
        if flat.is_dir() {
            return Some(vec![flat]);
        }
        (!stack.is_empty() && stack.len() <= MAX_STACK && stack.iter().all(|dir| dir.is_dir())).then_some(stack)
    }

    /// Unpacks layer by layer; returns `false` if a layer cannot be expressed in a stack.
    fn stack(&self, image: &Image, chains: &[Digest]) -> Result<bool> {
        let (mut places, _) = self.places(image);
        places.reverse();
        for (at, (layer, _)) in image.layers.iter().zip(chains).enumerate() {
            let Some(place) = places.get(at) else { continue };
            if place.is_dir() {
                continue;
            }
            let lower = places.get(..at).unwrap_or_default();
            let done = self.unpack(place, |tree| {
                tree.lower = lower.iter().rev().cloned().collect();
                tree.stacked = true;
                tree.add(self, layer)
            })?;
            if !done {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Creates a directory with its complete content, or not at all.
    fn unpack(&self, place: &Path, fill: impl FnOnce(&mut Tree) -> Result<bool>) -> Result<bool> {
        let temporary = tempfile::Builder::new().prefix(".new-").tempdir_in(self.unpacked());
        let temporary = temporary.map_err(Error::io("make a directory in", self.unpacked()))?.keep();
        let mut tree = Tree {
            root: temporary.clone(),
            lower: Vec::new(),
            stacked: false,
            directories: BTreeMap::new(),
            root_user: geteuid().is_root(),
        };
        let done = fill(&mut tree).and_then(|done| {
            if done {
                tree.finish()?;
                fs::rename(&temporary, place).map_err(Error::io("write", place))?;
            }
            Ok(done)
        });
        if !matches!(done, Ok(true))
            && let Err(error) = remove_all(&temporary)
        {
            tracing::warn!(path = %temporary.display(), %error, "cannot remove a directory that is not needed");
        }
        done
    }
}

/// Returns for each layer the digest of the stack that it tops, as the OCI specification computes it.
fn chains(image: &Image) -> Vec<Digest> {
    let mut chains: Vec<Digest> = Vec::new();
    for layer in &image.layers {
        let next = match chains.last() {
            Some(below) => Digest::of(format!("{below} {}", layer.diff_id).as_bytes()),
            None => layer.diff_id.clone(),
        };
        chains.push(next);
    }
    chains
}

/// Opens a layer, uncompressed.
pub(crate) fn open_layer(store: &ImageStore, layer: &Layer) -> Result<Box<dyn Read>> {
    let mut file = store.blob(&layer.digest)?;
    let mut magic = Vec::new();
    file.by_ref().take(2).read_to_end(&mut magic).map_err(bad_layer(layer))?;
    file.rewind().map_err(bad_layer(layer))?;
    if magic == [0x1f, 0x8b] {
        Ok(Box::new(gunzip(file)))
    } else {
        Ok(Box::new(BufReader::with_capacity(128 << 10, file)))
    }
}

/// Returns a reader of a file's uncompressed content.
pub(crate) fn gunzip(file: File) -> impl Read {
    flate2::bufread::MultiGzDecoder::new(BufReader::with_capacity(128 << 10, file))
}

/// Returns a function that makes the error of a layer's archive.
pub(crate) fn bad_layer(layer: &Layer) -> impl Fn(io::Error) -> Error + use<> {
    let digest = layer.digest.to_string();
    move |error| Error::content(format!("layer {digest}"), error)
}

/// Tree that is being unpacked.
struct Tree {
    root: PathBuf,
    /// Directories of the layers below, topmost first.
    lower: Vec<PathBuf>,
    /// Whether the tree is one of a stack, so that it can delete nothing.
    stacked: bool,
    /// Directories with their modes. The modes are set at the end, because a read-only directory accepts no files.
    directories: BTreeMap<PathBuf, u32>,
    root_user: bool,
}

/// Place of an archive's path on the disk.
enum Place {
    At(PathBuf),
    /// Place that only the layers below determine.
    Below,
}

impl Tree {
    /// Adds a layer's entries; returns `false` if a stacked tree cannot express them.
    fn add(&mut self, store: &ImageStore, layer: &Layer) -> Result<bool> {
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
    fn delete(&mut self, store: &ImageStore, layer: &Layer) -> Result<()> {
        let bad = bad_layer(layer);
        let mut archive = tar::Archive::new(open_layer(store, layer)?);
        for entry in archive.entries().map_err(&bad)? {
            let entry = entry.map_err(&bad)?;
            let path = entry.path().map_err(&bad)?.into_owned();
            let Some(path) = inside(&path) else { continue };
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let Some(name) = name.strip_prefix(".wh.") else { continue };
            let parent = path.parent().unwrap_or(Path::new(""));
            let Some(dir) = self.existing(parent).map_err(&bad)? else { continue };
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
        let mut todo = names(path.parent().unwrap_or(Path::new("")));
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
                Ok(_) => return Err(invalid("a directory above it is a file")),
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
        Ok(Place::At(self.root.join(done).join(name)))
    }

    /// Returns the place of a directory, which [`Self::place`] creates if it is missing. `None` if only the layers below determine it.
    fn existing(&mut self, path: &Path) -> io::Result<Option<PathBuf>> {
        // An invented name below the directory makes `place` follow the directory itself, too.
        if path.as_os_str().is_empty() {
            return Ok(Some(self.root.clone()));
        }
        match self.place(&path.join("x"))? {
            Place::At(inner) => Ok(inner.parent().map(Path::to_path_buf)),
            Place::Below => Ok(None),
        }
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
    fn finish(&mut self) -> Result<()> {
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

/// Removes any file or directory, including read-only directories.
fn remove_all(path: &Path) -> io::Result<()> {
    let gone = |result: io::Result<()>| match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    let Ok(metadata) = path.symlink_metadata() else { return Ok(()) };
    if !metadata.is_dir() {
        return gone(fs::remove_file(path));
    }
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            make_writable(path)?;
            gone(fs::remove_dir_all(path))
        }
        other => gone(other),
    }
}

fn make_writable(dir: &Path) -> io::Result<()> {
    fs::set_permissions(dir, Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            make_writable(&entry.path())?;
        }
    }
    Ok(())
}
