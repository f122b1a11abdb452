//! Unpacked layers: directories that serve as the lower directories of overlay mounts, shared by all containers.
//!
//! A layer is unpacked once for each stack of layers below it. An unprivileged process cannot express deletions (`.wh.`
//! files) in a lower directory everywhere. So an image whose layers delete something, or write through a link of a lower
//! layer, is unpacked into one directory instead.

mod tree;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, Permissions},
    io::{self, BufReader, Read, Seek},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use rustix::{fs::FlockOperation, process::geteuid};

use self::tree::Tree;
use crate::{Digest, Error, Image, ImageStore, Layer, Result};

/// Greatest number of layers in a stack: the options of a mount must fit into one page. Images with more are unpacked into one directory.
const MAX_STACK: usize = 16;
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
        let dir = self.unpacked_dir();
        for entry in fs::read_dir(&dir).map_err(Error::io("read", &dir))? {
            let path = entry.map_err(Error::io("read", &dir))?.path();
            if !needed.contains(&path) {
                remove_all(&path).map_err(Error::io("remove", path))?;
            }
        }
        Ok(())
    }

    fn unpacked_dir(&self) -> PathBuf {
        self.dir().join("unpacked")
    }

    /// Returns the directories of an image's layers, topmost first, and the directory of the image if it is unpacked into one.
    fn places(&self, image: &Image) -> (Vec<PathBuf>, PathBuf) {
        let dir = self.unpacked_dir();
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
        let temporary = tempfile::Builder::new().prefix(".new-").tempdir_in(self.unpacked_dir());
        let temporary = temporary.map_err(Error::io("make a directory in", self.unpacked_dir()))?.keep();
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
