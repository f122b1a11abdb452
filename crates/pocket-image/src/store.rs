//! Image store: an OCI image layout in a directory.
//!
//! All locks are `flock` locks, so they end with their process. `index.lock` is held for a change of `index.json`. `gc.lock`
//! is held shared by every operation that writes or reads blobs over some time, and exclusively by the garbage collection, so
//! that it never removes blobs that are about to be named. Files appear by rename, so a reader needs no lock.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    str::FromStr,
};

use rustix::fs::{FlockOperation, flock};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Digest, Error, Reference, Result, RunConfig,
    digest::Hashing,
    spec::{self, CREATED, Descriptor, ImageConfig, Index, Manifest, Platform, REF_NAME},
};

/// Store of images. Cheap to open and to clone; several processes may use one directory.
#[derive(Clone, Debug)]
pub struct ImageStore {
    dir: PathBuf,
}

/// Image in a store.
#[derive(Clone, Debug)]
pub struct Image {
    /// Name of the image; `None` if it was found by its id.
    pub reference: Option<Reference>,
    /// Digest of the configuration, which Docker calls the image's id.
    pub id: Digest,
    /// Digest of the manifest, which a reference with `@` names.
    pub manifest: Digest,
    /// Settings for running the image.
    pub config: RunConfig,
    /// Layers, lowest first.
    pub layers: Vec<Layer>,
}

/// Layer of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Digest of the blob.
    pub digest: Digest,
    /// Size of the blob in bytes.
    pub size: u64,
    /// Digest of the uncompressed archive.
    pub diff_id: Digest,
    pub(crate) media_type: String,
}

/// Entry of a list of images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageSummary {
    /// Name in the familiar form, as `frontend:v1`.
    pub reference: String,
    /// Digest of the configuration.
    pub id: Digest,
    /// Time at which the image was built or loaded; `None` if it is unknown.
    pub created: Option<jiff::Timestamp>,
    /// Size of its layers in the store, in bytes.
    pub size: u64,
    /// Platform, as `linux/amd64`.
    pub platform: String,
}

/// Lock that is held while blobs are written or read.
pub(crate) struct Guard(#[allow(dead_code, reason = "it is there to be dropped")] File);

impl ImageStore {
    /// Opens the store in a directory, and creates it if it does not exist.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self> {
        let store = Self { dir: dir.into() };
        for sub in ["blobs/sha256", "unpacked", "tmp"] {
            let path = store.dir.join(sub);
            fs::create_dir_all(&path).map_err(Error::io("make the directory", path))?;
        }
        if !store.dir.join("oci-layout").exists() {
            store.replace("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        }
        Ok(store)
    }

    /// Returns the directory of the store.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns all images, by name.
    pub fn list(&self) -> Result<Vec<ImageSummary>> {
        let mut images = Vec::new();
        for descriptor in self.index()?.manifests {
            let Some(reference) = name_of(&descriptor) else { continue };
            let (image, config) = self.read(&descriptor)?;
            let created = descriptor.annotations.get(CREATED).or(config.created.as_ref());
            images.push(ImageSummary {
                reference: reference.to_string(),
                id: image.id,
                created: created.and_then(|time| time.parse().ok()),
                size: image.layers.iter().map(|layer| layer.size).sum(),
                platform: Platform { architecture: config.architecture, os: config.os }.to_string(),
            });
        }
        images.sort_by(|a, b| a.reference.cmp(&b.reference));
        Ok(images)
    }

    /// Finds an image by name (`frontend:v1`), by name and digest (`frontend@sha256:…`), or by its id (`sha256:…`).
    pub fn resolve(&self, reference: &str) -> Result<Image> {
        Ok(self.read(&self.find(reference)?)?.0)
    }

    /// Gives an image one more name. A name that belongs to another image moves to this one.
    pub fn tag(&self, reference: &str, new: &str) -> Result<()> {
        let new: Reference = new.parse()?;
        let _guard = self.guard()?;
        let descriptor = self.find(reference)?;
        self.name(&[(new, descriptor)])
    }

    /// Removes a name, and the content of its image that no other name needs. Unpacked trees stay, because containers may run
    /// on them: see [`ImageStore::prune_unpacked`].
    pub fn remove(&self, reference: &str) -> Result<()> {
        let found = self.find(reference)?;
        self.change_index(|index| {
            index.manifests.retain(|have| have.digest != found.digest || name_of(have) != name_of(&found));
        })?;
        self.collect_garbage()
    }

    fn find(&self, reference: &str) -> Result<Descriptor> {
        let manifests = self.index()?.manifests;
        let not_found = || Error::NotFound(reference.to_owned());
        if let Ok(digest) = Digest::from_str(reference) {
            let is_it = |d: &Descriptor| {
                d.digest == digest || self.json::<Manifest>(&d.digest).is_ok_and(|m| m.config.digest == digest)
            };
            return manifests.into_iter().find(is_it).ok_or_else(not_found);
        }
        let wanted: Reference = reference.parse()?;
        let is_it = |d: &Descriptor| {
            name_of(d).is_some_and(|have| match wanted.digest() {
                Some(digest) => have.same_repository(&wanted) && d.digest == *digest,
                None => have == wanted,
            })
        };
        manifests.into_iter().find(is_it).ok_or_else(not_found)
    }

    /// Reads the image whose manifest a descriptor names.
    pub(crate) fn read(&self, descriptor: &Descriptor) -> Result<(Image, ImageConfig)> {
        let manifest: Manifest = self.json(&descriptor.digest)?;
        let config: ImageConfig = self.json(&manifest.config.digest)?;
        if manifest.layers.len() != config.rootfs.diff_ids.len() {
            let why = format!("{} layers but {} diff ids", manifest.layers.len(), config.rootfs.diff_ids.len());
            return Err(Error::content(format!("image {}", manifest.config.digest), why));
        }
        let layers = manifest.layers.into_iter().zip(&config.rootfs.diff_ids);
        let image = Image {
            reference: name_of(descriptor),
            id: manifest.config.digest,
            manifest: descriptor.digest.clone(),
            config: config.config.clone(),
            layers: layers
                .map(|(layer, diff_id)| Layer {
                    digest: layer.digest,
                    size: layer.size,
                    diff_id: diff_id.clone(),
                    media_type: layer.media_type,
                })
                .collect(),
        };
        Ok((image, config))
    }

    /// Writes names into the index. The manifests they name must be in the store, under the guard that the caller holds.
    pub(crate) fn name(&self, names: &[(Reference, Descriptor)]) -> Result<()> {
        let now = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second()).unwrap_or_default().to_string();
        self.change_index(|index| {
            for (reference, descriptor) in names {
                let name = reference.canonical();
                let same = |have: &Descriptor| have.annotations.get(REF_NAME) == Some(&name);
                if index.manifests.iter().any(|have| same(have) && have.digest == descriptor.digest) {
                    continue;
                }
                index.manifests.retain(|have| !same(have));
                let mut entry = descriptor.clone();
                entry.annotations.entry(CREATED.to_owned()).or_insert_with(|| now.clone());
                entry.annotations.insert(REF_NAME.to_owned(), name);
                index.manifests.push(entry);
            }
        })
    }

    /// Writes manifest and configuration of an image whose layers are in the store already.
    pub(crate) fn put_image(&self, config: &[u8], layers: Vec<Descriptor>) -> Result<Descriptor> {
        let digest = self.put(config)?;
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(spec::MANIFEST.to_owned()),
            config: Descriptor::new(spec::CONFIG, digest, config.len() as u64),
            layers,
        };
        let manifest = to_json(&manifest)?;
        Ok(Descriptor::new(spec::MANIFEST, self.put(&manifest)?, manifest.len() as u64))
    }

    /// Blocks the garbage collection for the lifetime of the guard.
    pub(crate) fn guard(&self) -> Result<Guard> {
        self.lock("gc.lock", FlockOperation::LockShared)
    }

    pub(crate) fn lock(&self, name: &str, operation: FlockOperation) -> Result<Guard> {
        let path = self.dir.join(name);
        let file = File::options().create(true).append(true).open(&path).map_err(Error::io("open", &path))?;
        loop {
            match flock(&file, operation) {
                Ok(()) => return Ok(Guard(file)),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(Error::io("lock", path)(error.into())),
            }
        }
    }

    pub(crate) fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.dir.join("blobs/sha256").join(digest.hex())
    }

    /// Opens a blob for reading.
    pub(crate) fn blob(&self, digest: &Digest) -> Result<File> {
        let path = self.blob_path(digest);
        File::open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                Error::content(format!("blob {digest}"), "is not in the store: load the image again")
            }
            _ => Error::io("read", path)(error),
        })
    }

    /// Reads a document, whose content must match its digest.
    pub(crate) fn json<T: DeserializeOwned>(&self, digest: &Digest) -> Result<T> {
        let mut bytes = Vec::new();
        self.blob(digest)?
            .take(MAX_DOCUMENT)
            .read_to_end(&mut bytes)
            .map_err(Error::io("read", self.blob_path(digest)))?;
        let found = Digest::of(&bytes);
        if found != *digest {
            return Err(Error::Corrupt { expected: digest.to_string(), found: found.to_string() });
        }
        serde_json::from_slice(&bytes).map_err(|error| Error::content(format!("blob {digest}"), error))
    }

    /// Stores the given bytes.
    pub(crate) fn put(&self, bytes: &[u8]) -> Result<Digest> {
        let (digest, _) = self.put_with(|writer| writer.write_all(bytes).map_err(Error::io("write in", &self.dir)))?;
        Ok(digest)
    }

    /// Stores the bytes that a function writes.
    pub(crate) fn put_with(&self, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<(Digest, u64)> {
        let file = self.temporary()?;
        let mut hashing = Hashing::new(io::BufWriter::with_capacity(128 << 10, file));
        write(&mut hashing)?;
        let (writer, digest, len) = hashing.finish();
        let file = writer.into_inner().map_err(|error| Error::io("write in", &self.dir)(error.into_error()))?;
        self.adopt(file, &digest)?;
        Ok((digest, len))
    }

    /// Returns a file on the store's disk that is removed when it is dropped.
    pub(crate) fn temporary(&self) -> Result<tempfile::NamedTempFile> {
        let dir = self.dir.join("tmp");
        tempfile::NamedTempFile::new_in(&dir).map_err(Error::io("make a file in", dir))
    }

    /// Makes a temporary file a blob.
    pub(crate) fn adopt(&self, file: tempfile::NamedTempFile, digest: &Digest) -> Result<()> {
        let path = self.blob_path(digest);
        if path.exists() {
            return Ok(());
        }
        file.persist(&path).map(drop).map_err(|error| Error::io("write", path)(error.error))
    }

    fn index(&self) -> Result<Index> {
        let path = self.dir.join("index.json");
        match fs::read(&path) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map_err(|error| Error::content(path.display().to_string(), error))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Index::new(Vec::new())),
            Err(error) => Err(Error::io("read", path)(error)),
        }
    }

    fn change_index(&self, change: impl FnOnce(&mut Index)) -> Result<()> {
        let _lock = self.lock("index.lock", FlockOperation::LockExclusive)?;
        let mut index = self.index()?;
        change(&mut index);
        self.replace("index.json", &to_json(&index)?)
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.dir.join(name);
        let mut file = self.temporary()?;
        file.write_all(bytes).map_err(Error::io("write", &path))?;
        file.as_file().sync_all().map_err(Error::io("write", &path))?;
        file.persist(&path).map(drop).map_err(|error| Error::io("write", path)(error.error))
    }

    /// Removes blobs that no image needs. Does nothing while another operation writes or reads blobs; the next collection finds them.
    fn collect_garbage(&self) -> Result<()> {
        let Ok(_lock) = self.lock("gc.lock", FlockOperation::NonBlockingLockExclusive) else { return Ok(()) };
        let mut needed = BTreeSet::new();
        for descriptor in self.index()?.manifests {
            // An image that cannot be read only needs to be removable.
            if let Ok(manifest) = self.json::<Manifest>(&descriptor.digest) {
                needed.insert(manifest.config.digest);
                needed.extend(manifest.layers.into_iter().map(|layer| layer.digest));
            }
            needed.insert(descriptor.digest);
        }
        let dir = self.dir.join("blobs/sha256");
        for entry in fs::read_dir(&dir).map_err(Error::io("read", &dir))? {
            let entry = entry.map_err(Error::io("read", &dir))?;
            let name = entry.file_name();
            if !needed.iter().any(|digest| name == *digest.hex()) {
                fs::remove_file(entry.path()).map_err(Error::io("remove", entry.path()))?;
            }
        }
        Ok(())
    }
}

/// Greatest size of a document that is read; containerd has the same limit.
pub(crate) const MAX_DOCUMENT: u64 = 8 << 20;

pub(crate) fn to_json(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|error| Error::content("document", error))
}

fn name_of(descriptor: &Descriptor) -> Option<Reference> {
    descriptor.annotations.get(REF_NAME)?.parse().ok()
}
