//! Writer of an archive that Docker, kind, minikube and containerd load: an OCI layout with Docker's `manifest.json` beside it.

use std::{
    collections::BTreeSet,
    io::{Read, Write},
};

use serde_json::json;

use crate::{
    Digest, Error, ImageStore, Reference, Result,
    spec::{self, CONTAINERD_NAME, Descriptor, Index, Manifest, REF_NAME},
    store::to_json,
};

impl ImageStore {
    /// Writes images into one archive, under the requested names. The same images give the same bytes.
    pub fn save(&self, references: &[impl AsRef<str>], writer: impl Write) -> Result<()> {
        let _guard = self.guard()?;
        let mut blobs = BTreeSet::new();
        let mut index = Vec::new();
        let mut docker = Vec::new();
        for text in references {
            let image = self.resolve(text.as_ref())?;
            let manifest: Manifest = self.json(&image.manifest)?;
            let path = |digest: &Digest| format!("blobs/sha256/{}", digest.hex());
            let tagged = image.reference.filter(|reference| reference.tag().is_some());
            docker.push(json!({
                "Config": path(&manifest.config.digest),
                "RepoTags": tagged.iter().map(Reference::to_string).collect::<Vec<_>>(),
                "Layers": manifest.layers.iter().map(|layer| path(&layer.digest)).collect::<Vec<_>>(),
            }));
            let size = self
                .blob(&image.manifest)?
                .metadata()
                .map_err(Error::io("read", self.blob_path(&image.manifest)))?
                .len();
            let media_type = manifest.media_type.as_deref().unwrap_or(spec::MANIFEST);
            let mut descriptor = Descriptor::new(media_type, image.manifest.clone(), size);
            if let Some(reference) = tagged {
                descriptor.annotations.insert(CONTAINERD_NAME.to_owned(), reference.canonical());
                descriptor.annotations.insert(REF_NAME.to_owned(), reference.tag().unwrap_or_default().to_owned());
            }
            index.push(descriptor);
            blobs.insert(image.manifest);
            blobs.insert(manifest.config.digest);
            blobs.extend(manifest.layers.into_iter().map(|layer| layer.digest));
        }
        let mut tar = tar::Builder::new(writer);
        let failed = || Error::io("write", "the archive");
        directory(&mut tar, "blobs/").map_err(failed())?;
        directory(&mut tar, "blobs/sha256/").map_err(failed())?;
        for digest in &blobs {
            let blob = self.blob(digest)?;
            let len = blob.metadata().map_err(Error::io("read", self.blob_path(digest)))?.len();
            file(&mut tar, &format!("blobs/sha256/{}", digest.hex()), len, blob).map_err(failed())?;
        }
        let documents = [
            ("index.json", to_json(&Index::new(index))?),
            ("manifest.json", to_json(&docker)?),
            ("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
        ];
        for (name, bytes) in documents {
            file(&mut tar, name, bytes.len() as u64, bytes.as_slice()).map_err(failed())?;
        }
        tar.into_inner().and_then(|mut writer| writer.flush()).map_err(failed())
    }
}

fn header(size: u64, mode: u32, kind: tar::EntryType) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_size(size);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_entry_type(kind);
    header
}

fn directory(tar: &mut tar::Builder<impl Write>, name: &str) -> std::io::Result<()> {
    tar.append_data(&mut header(0, 0o755, tar::EntryType::Directory), name, std::io::empty())
}

fn file(tar: &mut tar::Builder<impl Write>, name: &str, len: u64, content: impl Read) -> std::io::Result<()> {
    tar.append_data(&mut header(len, 0o644, tar::EntryType::Regular), name, content.take(len))
}
