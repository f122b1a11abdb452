//! Reader of archives: what `docker save` writes, old and new, and OCI archives; plain or compressed by gzip.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek},
};

use serde::{Deserialize, de::DeserializeOwned};
use tempfile::NamedTempFile;

use crate::{
    Digest, Error, ImageStore, Reference, Result,
    digest::Hashing,
    spec::{CONTAINERD_NAME, Descriptor, ImageConfig, Index, LAYER, LAYER_GZIP, Manifest, Platform, REF_NAME},
    store::MAX_DOCUMENT,
    unpack,
};

impl ImageStore {
    /// Loads all images of an archive and returns their names in the familiar form.
    ///
    /// An image for several platforms contributes the manifest for this machine. Every digest is checked. Names are written only
    /// after all content is in the store.
    pub fn load(&self, reader: impl Read) -> Result<Vec<String>> {
        let _guard = self.guard()?;
        let archive = Spool::read(self, reader)?;
        let names = match archive.document::<Index>("index.json")? {
            Some(index) => archive.oci(&index)?,
            None => match archive.document::<Vec<DockerImage>>("manifest.json")? {
                Some(images) => archive.docker(&images)?,
                None => return Err(Error::NotAnArchive("it has neither index.json nor manifest.json".to_owned())),
            },
        };
        if names.is_empty() {
            return Err(Error::NotAnArchive("no image in it has a name".to_owned()));
        }
        self.name(&names)?;
        Ok(names.into_iter().map(|(reference, _)| reference.to_string()).collect())
    }
}

/// Entry of Docker's `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// Files of an archive, spooled onto the store's disk because an archive is read only once, from front to back.
struct Spool<'a> {
    store: &'a ImageStore,
    files: BTreeMap<String, Spooled>,
    /// Links between the files, which old versions of Docker write for equal layers.
    links: BTreeMap<String, String>,
}

struct Spooled {
    file: NamedTempFile,
    digest: Digest,
    size: u64,
}

type NamedImages = Vec<(Reference, Descriptor)>;

/// Reason for which the first entry cannot be read.
const NO_TAR: &str = "it is no tar file";
/// Reason for which a later one cannot.
const CUT_OFF: &str = "it is broken, or a part of it is missing";

impl<'a> Spool<'a> {
    fn read(store: &'a ImageStore, reader: impl Read) -> Result<Self> {
        let mut reader = BufReader::with_capacity(128 << 10, reader);
        let head = reader.fill_buf().map_err(Error::io("read", "the archive"))?;
        if head.is_empty() {
            return Err(Error::NotAnArchive("it is empty".to_owned()));
        }
        let reader: Box<dyn Read + '_> = if head.starts_with(&[0x1f, 0x8b]) {
            Box::new(flate2::bufread::MultiGzDecoder::new(reader))
        } else {
            Box::new(reader)
        };
        let mut spool = Self { store, files: BTreeMap::new(), links: BTreeMap::new() };
        // The reader's message about a file that is no archive quotes the head of that file, so the message is not passed on.
        let broken = |why: &'static str| {
            move |error: io::Error| match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::DiskFull(store.dir().to_owned()),
                _ => Error::NotAnArchive(why.to_owned()),
            }
        };
        let mut archive = tar::Archive::new(reader);
        for (index, entry) in archive.entries().map_err(broken(NO_TAR))?.enumerate() {
            let mut entry = entry.map_err(broken(if index == 0 { NO_TAR } else { CUT_OFF }))?;
            let broken = broken(CUT_OFF);
            let path = entry.path().map_err(broken)?.to_string_lossy().trim_start_matches("./").to_owned();
            let kind = entry.header().entry_type();
            if kind.is_symlink() || kind.is_hard_link() {
                let target = entry.link_name().map_err(broken)?.unwrap_or_default().to_string_lossy().into_owned();
                let dir = path.rsplit_once('/').map_or("", |(dir, _)| dir);
                let target = if kind.is_symlink() { normal(&format!("{dir}/{target}")) } else { normal(&target) };
                spool.links.insert(path, target);
            } else if kind.is_file() {
                let mut writer = Hashing::new(store.temporary()?);
                io::copy(&mut entry, &mut writer).map_err(broken)?;
                let (file, digest, size) = writer.finish();
                spool.files.insert(path, Spooled { file, digest, size });
            }
        }
        if spool.files.is_empty() {
            return Err(Error::NotAnArchive("it has no files".to_owned()));
        }
        Ok(spool)
    }

    fn get(&self, path: &str) -> Option<&Spooled> {
        self.files.get(path).or_else(|| self.files.get(self.links.get(path)?))
    }

    fn open(&self, path: &str) -> Result<(&Spooled, File)> {
        let spooled =
            self.get(path).ok_or_else(|| Error::NotAnArchive(format!("it names {path} but does not have it")))?;
        Ok((spooled, spooled.file.reopen().map_err(Error::io("read", spooled.file.path()))?))
    }

    fn bytes(&self, path: &str) -> Result<Vec<u8>> {
        let (spooled, file) = self.open(path)?;
        if spooled.size > MAX_DOCUMENT {
            return Err(Error::content(path, "is too large for a document"));
        }
        let mut bytes = Vec::new();
        file.take(MAX_DOCUMENT).read_to_end(&mut bytes).map_err(Error::io("read", spooled.file.path()))?;
        Ok(bytes)
    }

    fn document<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>> {
        if self.get(path).is_none() {
            return Ok(None);
        }
        serde_json::from_slice(&self.bytes(path)?).map(Some).map_err(|error| Error::content(path, error))
    }

    /// Makes a file a blob of the store.
    fn store(&self, path: &str, expected: Option<&Digest>) -> Result<(Digest, u64)> {
        let (spooled, mut file) = self.open(path)?;
        if let Some(expected) = expected.filter(|expected| **expected != spooled.digest) {
            return Err(Error::Corrupt { expected: expected.to_string(), found: spooled.digest.to_string() });
        }
        if !self.store.blob_path(&spooled.digest).exists() {
            // A copy is needed because two images of the archive may name one file; reflinks make it cheap where they exist.
            let mut copy = self.store.temporary()?;
            io::copy(&mut file, copy.as_file_mut()).map_err(Error::io("write in", self.store.dir()))?;
            self.store.adopt(copy, &spooled.digest)?;
        }
        Ok((spooled.digest.clone(), spooled.size))
    }

    /// Reads an OCI layout, including the form that newer versions of Docker write.
    fn oci(&self, index: &Index) -> Result<NamedImages> {
        // Docker's own list has the names if the index has none.
        let docker: Vec<DockerImage> = self.document("manifest.json")?.unwrap_or_default();
        let mut named = NamedImages::new();
        for entry in &index.manifests {
            let descriptor = self.select(entry)?;
            let manifest: Manifest = self.blob_document(&descriptor.digest)?;
            let config: ImageConfig = self.blob_document(&manifest.config.digest)?;
            check_platform(&config)?;
            if config.rootfs.diff_ids.len() != manifest.layers.len() {
                let path = blob_path(&manifest.config.digest);
                return Err(Error::content(path, "names another number of layers than the manifest"));
            }
            for blob in [&manifest.config].into_iter().chain(&manifest.layers) {
                if blob.media_type.ends_with("zstd") {
                    return Err(Error::content(
                        format!("layer {}", blob.digest),
                        "is compressed by zstd, which is not supported: save the image with gzip or without compression",
                    ));
                }
                self.store(&blob_path(&blob.digest), Some(&blob.digest))?;
            }
            for (layer, diff_id) in manifest.layers.iter().zip(&config.rootfs.diff_ids) {
                self.check_layer(&blob_path(&layer.digest), diff_id)?;
            }
            self.store(&blob_path(&descriptor.digest), Some(&descriptor.digest))?;
            let full = entry.annotations.get(CONTAINERD_NAME);
            let short = entry.annotations.get(REF_NAME).filter(|name| name.contains([':', '/']));
            let mut names: Vec<&String> = full.or(short).into_iter().collect();
            if names.is_empty() {
                let same = docker.iter().filter(|image| image.config == blob_path(&manifest.config.digest));
                names.extend(same.flat_map(|image| image.repo_tags.iter().flatten()));
            }
            for name in names {
                let mut clean = descriptor.clone();
                clean.annotations.clear();
                named.push((name.parse()?, clean));
            }
        }
        Ok(named)
    }

    /// Returns the manifest for this machine.
    fn select(&self, entry: &Descriptor) -> Result<Descriptor> {
        if !entry.is_index() {
            return Ok(entry.clone());
        }
        let index: Index = self.blob_document(&entry.digest)?;
        let wanted = Platform::host();
        // A manifest whose files are missing was left out on purpose when the archive was saved.
        let usable = index.manifests.iter().find(|manifest| {
            manifest.platform.as_ref().is_none_or(|platform| *platform == wanted)
                && self.get(&blob_path(&manifest.digest)).is_some()
        });
        usable.cloned().ok_or_else(|| Error::Platform {
            wanted: wanted.to_string(),
            found: index
                .manifests
                .iter()
                .filter_map(|manifest| manifest.platform.as_ref())
                .filter(|platform| platform.os != "unknown")
                .map(Platform::to_string)
                .collect::<Vec<_>>()
                .join(", "),
        })
    }

    fn blob_document<T: DeserializeOwned>(&self, digest: &Digest) -> Result<T> {
        let path = blob_path(digest);
        let (spooled, _) = self.open(&path)?;
        if spooled.digest != *digest {
            return Err(Error::Corrupt { expected: digest.to_string(), found: spooled.digest.to_string() });
        }
        serde_json::from_slice(&self.bytes(&path)?).map_err(|error| Error::content(path, error))
    }

    /// Reads the format that `docker save` wrote before version 25.
    fn docker(&self, images: &[DockerImage]) -> Result<NamedImages> {
        let mut named = NamedImages::new();
        for image in images {
            let config_bytes = self.bytes(&image.config)?;
            let config: ImageConfig =
                serde_json::from_slice(&config_bytes).map_err(|error| Error::content(&image.config, error))?;
            check_platform(&config)?;
            if config.rootfs.diff_ids.len() != image.layers.len() {
                return Err(Error::content(&image.config, "names another number of layers than manifest.json"));
            }
            let mut layers = Vec::new();
            for (path, diff_id) in image.layers.iter().zip(&config.rootfs.diff_ids) {
                let gzip = self.check_layer(path, diff_id)?;
                let (digest, size) = self.store(path, None)?;
                layers.push(Descriptor::new(if gzip { LAYER_GZIP } else { LAYER }, digest, size));
            }
            let descriptor = self.store.put_image(&config_bytes, layers)?;
            for name in image.repo_tags.iter().flatten() {
                named.push((name.parse()?, descriptor.clone()));
            }
        }
        Ok(named)
    }

    /// Checks that a layer's uncompressed content has the digest of the configuration. Returns whether the layer is compressed.
    fn check_layer(&self, path: &str, diff_id: &Digest) -> Result<bool> {
        let (spooled, mut file) = self.open(path)?;
        let mut magic = Vec::new();
        let failed = || Error::io("read", spooled.file.path());
        file.by_ref().take(4).read_to_end(&mut magic).map_err(failed())?;
        file.rewind().map_err(failed())?;
        let gzip = magic.starts_with(&[0x1f, 0x8b]);
        let found = if gzip {
            let mut reader = Hashing::new(unpack::gunzip(file));
            io::copy(&mut reader, &mut io::sink()).map_err(|error| Error::content(path, error))?;
            reader.finish().1
        } else {
            spooled.digest.clone()
        };
        if found == *diff_id {
            Ok(gzip)
        } else {
            Err(Error::Corrupt { expected: diff_id.to_string(), found: found.to_string() })
        }
    }
}

fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn check_platform(config: &ImageConfig) -> Result<()> {
    let (wanted, found) =
        (Platform::host(), Platform { architecture: config.architecture.clone(), os: config.os.clone() });
    if found == wanted { Ok(()) } else { Err(Error::Platform { wanted: wanted.to_string(), found: found.to_string() }) }
}

/// Returns a path without `.` and `..`. A `..` above the root is dropped, so no path leads out of the archive.
fn normal(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}
