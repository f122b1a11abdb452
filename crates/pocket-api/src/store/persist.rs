//! Objects on disk, in one `redb` file.
//!
//! A write is in the operating system's hands when it returns, so it survives SIGKILL of this process. The file is
//! flushed to the disk itself about once a second (group commit): after a power failure up to a second may be lost.

use std::{
    fs::{File, OpenOptions},
    io,
    ops::Bound,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use redb::{BackendError, Database, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition};

/// `group/plural\0namespace/name` to the object's JSON.
const OBJECTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("objects");
/// Facts about the store itself.
const FACTS: TableDefinition<'_, &str, u64> = TableDefinition::new("facts");
const REVISION: &str = "revision";
/// redb's own cache; objects are in memory anyway.
const CACHE_BYTES: usize = 256 << 10;
const FLUSH_EVERY: Duration = Duration::from_secs(1);

/// Why the store on disk cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// The directory or file cannot be made or opened.
    #[error("cannot open {path}: {source}")]
    File { path: PathBuf, source: io::Error },
    /// The file is in use, damaged or of another format.
    #[error("cannot use {path}: {source}: if no other process uses it, delete it to start with an empty cluster")]
    Database { path: PathBuf, source: Box<redb::Error> },
}

/// The file.
pub(super) struct Persist {
    path: PathBuf,
    database: Database,
}

impl Persist {
    pub(super) fn open(directory: &Path) -> Result<Self, OpenError> {
        let path = directory.join("state.redb");
        let file_error = |source| OpenError::File { path: path.clone(), source };
        std::fs::create_dir_all(directory).map_err(file_error)?;
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(file_error)?;
        let backend = LazilyFlushed::new(file).map_err(file_error)?;
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create_with_backend(backend)
            .map_err(|error| OpenError::Database { path: path.clone(), source: Box::new(error.into()) })?;
        Ok(Self { path, database })
    }

    /// Hands every object to `take` (storage, key, JSON) and returns the newest revision; 0 if there is none.
    pub(super) fn load(&self, take: impl FnMut(&str, &str, &[u8])) -> Result<u64, OpenError> {
        self.try_load(take).map_err(|error| OpenError::Database { path: self.path.clone(), source: Box::new(error) })
    }

    fn try_load(&self, mut take: impl FnMut(&str, &str, &[u8])) -> Result<u64, redb::Error> {
        // Opening the tables for writing makes them, if the file is new.
        let write = self.database.begin_write()?;
        write.open_table(OBJECTS)?;
        write.open_table(FACTS)?;
        write.commit()?;
        let read = self.database.begin_read()?;
        for entry in read.open_table(OBJECTS)?.iter()? {
            let (key, bytes) = entry?;
            if let Some((storage, key)) = key.value().split_once('\0') {
                take(storage, key, bytes.value());
            }
        }
        Ok(read.open_table(FACTS)?.get(REVISION)?.map_or(0, |revision| revision.value()))
    }

    /// Stores an object, or removes it if there are no bytes.
    pub(super) fn write(
        &self,
        storage: &str,
        key: &str,
        bytes: Option<&Bytes>,
        revision: u64,
    ) -> Result<(), Box<redb::Error>> {
        self.try_write(&format!("{storage}\0{key}"), bytes, revision).map_err(Box::new)
    }

    fn try_write(&self, key: &str, bytes: Option<&Bytes>, revision: u64) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        {
            let mut objects = transaction.open_table(OBJECTS)?;
            match bytes {
                Some(bytes) => objects.insert(key, bytes.as_ref())?.map(drop),
                None => objects.remove(key)?.map(drop),
            };
            transaction.open_table(FACTS)?.insert(REVISION, revision)?;
        }
        transaction.commit()?;
        Ok(())
    }
}

/// A file whose writes go to the operating system at once and to the disk a little later.
#[derive(Debug)]
struct LazilyFlushed {
    file: Arc<File>,
    dirty: Arc<AtomicBool>,
}

impl LazilyFlushed {
    fn new(file: File) -> io::Result<Self> {
        if let Err(error) = file.try_lock() {
            return Err(io::Error::new(io::ErrorKind::WouldBlock, format!("another process uses it ({error})")));
        }
        Ok(Self { file: Arc::new(file), dirty: Arc::default() })
    }
}

impl StorageBackend for LazilyFlushed {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.dirty.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let (file, dirty) = (self.file.clone(), self.dirty.clone());
        let flush = move || {
            std::thread::sleep(FLUSH_EVERY);
            dirty.store(false, Ordering::Release);
            // A disk that fails now shows itself at the next write.
            let _ = file.sync_data();
        };
        std::thread::Builder::new().name("flush".into()).stack_size(64 << 10).spawn(flush).map(drop)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_all_at(data, offset)
    }

    fn close(&self) -> io::Result<()> {
        self.file.sync_data()?;
        // A flush that still waits has the file open; it must not keep the next server out.
        self.file.unlock()
    }

    // The whole file is locked when it is opened.
    fn try_lock_range(&self, _start: Bound<u64>, _end: Bound<u64>) -> Result<bool, BackendError> {
        Err(BackendError::Unsupported)
    }
}
