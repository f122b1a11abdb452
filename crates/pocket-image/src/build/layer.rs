//! Writer of a layer: sorted, with times 0, so that the same files always give the same bytes.

use std::{collections::BTreeMap, fs::File, io::Read, path::PathBuf};

use crate::{
    Error, ImageStore, Layer, Result,
    spec::{Descriptor, LAYER},
};

/// Entries of a layer, by path without a slash at the start.
#[derive(Debug, Default)]
pub(super) struct LayerBuilder(BTreeMap<String, Entry>);

#[derive(Debug)]
struct Entry {
    kind: Kind,
    mode: u32,
    owner: Owner,
}

#[derive(Debug)]
enum Kind {
    Directory,
    File(PathBuf, u64),
    Bytes(Vec<u8>),
    Link(String),
}

/// Numeric ids of a file's owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl LayerBuilder {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn directory(&mut self, path: &str, mode: u32, owner: Owner) {
        self.0.insert(path.to_owned(), Entry { kind: Kind::Directory, mode, owner });
    }

    pub(super) fn file(&mut self, path: &str, source: PathBuf, len: u64, mode: u32, owner: Owner) {
        self.0.insert(path.to_owned(), Entry { kind: Kind::File(source, len), mode, owner });
    }

    pub(super) fn bytes(&mut self, path: &str, bytes: Vec<u8>, mode: u32, owner: Owner) {
        self.0.insert(path.to_owned(), Entry { kind: Kind::Bytes(bytes), mode, owner });
    }

    pub(super) fn link(&mut self, path: &str, target: String, owner: Owner) {
        self.0.insert(path.to_owned(), Entry { kind: Kind::Link(target), mode: 0o777, owner });
    }

    /// Writes the layer into the store.
    pub(super) fn write(&self, store: &ImageStore) -> Result<(Descriptor, Layer)> {
        let (digest, size) = store.put_with(|writer| {
            let mut tar = tar::Builder::new(writer);
            tar.mode(tar::HeaderMode::Deterministic);
            for (path, entry) in &self.0 {
                append(&mut tar, path, entry, store)?;
            }
            tar.into_inner().map(drop).map_err(Error::io("write in", store.dir()))
        })?;
        let layer = Layer { digest: digest.clone(), size, diff_id: digest.clone(), media_type: LAYER.to_owned() };
        Ok((Descriptor::new(LAYER, digest, size), layer))
    }
}

fn append(
    tar: &mut tar::Builder<&mut dyn std::io::Write>,
    path: &str,
    entry: &Entry,
    store: &ImageStore,
) -> Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_mode(entry.mode);
    header.set_uid(entry.owner.uid.into());
    header.set_gid(entry.owner.gid.into());
    header.set_mtime(0);
    header.set_size(0);
    let written = match &entry.kind {
        Kind::Directory => {
            header.set_entry_type(tar::EntryType::Directory);
            tar.append_data(&mut header, format!("{path}/"), std::io::empty())
        }
        Kind::Link(target) => {
            header.set_entry_type(tar::EntryType::Symlink);
            tar.append_link(&mut header, path, target)
        }
        Kind::Bytes(bytes) => {
            header.set_entry_type(tar::EntryType::Regular);
            header.set_size(bytes.len() as u64);
            tar.append_data(&mut header, path, bytes.as_slice())
        }
        Kind::File(source, len) => {
            header.set_entry_type(tar::EntryType::Regular);
            header.set_size(*len);
            let file = File::open(source).map_err(Error::io("read", source))?;
            // A file that grows meanwhile is cut. A file that shrinks is an error, because the archive would be broken.
            let mut counted = CountingReader { inner: file.take(*len), count: 0 };
            let written = tar.append_data(&mut header, path, &mut counted);
            if written.is_ok() && counted.count != *len {
                return Err(Error::content(source.display().to_string(), "changed while it was read: build again"));
            }
            written
        }
    };
    written.map_err(Error::io("write in", store.dir()))
}

struct CountingReader<R> {
    inner: R,
    count: u64,
}

impl<R: Read> Read for CountingReader<R> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.count += n as u64;
        Ok(n)
    }
}
