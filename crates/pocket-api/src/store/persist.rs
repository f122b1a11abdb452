//! Objects on disk, in one `redb` file.
//!
//! A write is handed to the operating system before the call returns, so it survives SIGKILL of this process. The file is
//! flushed to the disk itself about once a second (group commit): after a power failure up to a second may be lost.
//!
//! A write that fails, most likely because the disk is full, is not made. `redb` gives up on a file after a failed write, so
//! the next write opens the file again. How far the failed write came is unknown, so that next write first restores the old values.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io,
    ops::Bound,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use redb::{BackendError, Database, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition};

/// Table from `group/plural\0namespace/name` to the object's JSON.
const OBJECTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("objects");
/// Facts about the store itself.
const FACTS: TableDefinition<'_, &str, u64> = TableDefinition::new("facts");
const REVISION: &str = "revision";
/// Size of redb's own cache; objects are in memory anyway.
const CACHE_BYTES: usize = 256 << 10;
const FLUSH_EVERY: Duration = Duration::from_secs(1);

/// Reason for which the store on disk cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// Directory or file that cannot be created or opened.
    #[error("cannot open {path}: {source}")]
    File { path: PathBuf, source: io::Error },
    /// File that is in use, damaged or of another format.
    #[error("cannot use {path}: {source}: {}", advice(.source))]
    Database { path: PathBuf, source: Box<redb::Error> },
}

/// Returns the remedy for an error.
fn advice(error: &redb::Error) -> &'static str {
    match error {
        redb::Error::Io(error) if error.kind() == io::ErrorKind::StorageFull => "free some disk space and try again",
        redb::Error::Io(_) => "see to the disk and try again",
        _ => "if no other process uses it, delete it to start with an empty cluster",
    }
}

/// Store on disk.
pub(super) struct Persist<B = LazilyFlushed> {
    path: PathBuf,
    backend: B,
    state: Mutex<PersistState>,
}

struct PersistState {
    /// Open database; absent after a failed write, until the next write.
    database: Option<Database>,
    /// Values from before a failed write, by key (`None` if there was no object): the file may have something else.
    unclear: BTreeMap<String, Option<Bytes>>,
}

/// Change of an object on disk.
pub(super) struct Write<'a> {
    /// Storage of the object's kind.
    pub(super) storage: &'a str,
    /// Key of the object in its storage.
    pub(super) key: &'a str,
    /// Current value, as the server has it in memory.
    pub(super) before: Option<&'a Bytes>,
    /// Wanted value; `None` removes the object.
    pub(super) after: Option<&'a Bytes>,
    /// Newest revision after the change.
    pub(super) revision: u64,
}

impl Persist {
    pub(super) fn open(directory: &Path) -> Result<Self, OpenError> {
        let path = directory.join("state.redb");
        let file_error = |source| OpenError::File { path: path.clone(), source };
        std::fs::create_dir_all(directory).map_err(file_error)?;
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(file_error)?;
        let backend = LazilyFlushed::new(file).map_err(file_error)?;
        Self::on(path, backend)
    }
}

impl<B: StorageBackend + Clone> Persist<B> {
    fn on(path: PathBuf, backend: B) -> Result<Self, OpenError> {
        let database = open(backend.clone())
            .map_err(|error| OpenError::Database { path: path.clone(), source: Box::new(error) })?;
        let state = PersistState { database: Some(database), unclear: BTreeMap::new() };
        Ok(Self { path, backend, state: Mutex::new(state) })
    }

    /// Passes every object to `take` (storage, key, JSON) and returns the newest revision; 0 if there is none.
    pub(super) fn load(&self, take: impl FnMut(&str, &str, &[u8])) -> Result<u64, OpenError> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(database) = &state.database else { return Ok(0) };
        load(database, take).map_err(|error| OpenError::Database { path: self.path.clone(), source: Box::new(error) })
    }

    /// Stores or removes an object. After an error the file has the old value, or will have it at the next write.
    pub(super) fn write(&self, write: &Write<'_>) -> Result<(), Box<redb::Error>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let PersistState { database, unclear } = &mut *state;
        let key = format!("{}\0{}", write.storage, write.key);
        let open = match database.take() {
            Some(open) => open,
            None => open(self.backend.clone())?,
        };
        match change(&open, unclear, &key, write.after, write.revision) {
            Ok(()) => {
                unclear.clear();
                *database = Some(open);
                Ok(())
            }
            Err(error) => {
                // The first failure counts: memory has not changed since then.
                unclear.entry(key).or_insert_with(|| write.before.cloned());
                Err(Box::new(error))
            }
        }
    }
}

fn open(backend: impl StorageBackend) -> Result<Database, redb::Error> {
    Ok(Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(backend)?)
}

fn load(database: &Database, mut take: impl FnMut(&str, &str, &[u8])) -> Result<u64, redb::Error> {
    // Opening the tables for writing creates them, if the file is new.
    let write = database.begin_write()?;
    write.open_table(OBJECTS)?;
    write.open_table(FACTS)?;
    write.commit()?;
    let read = database.begin_read()?;
    for entry in read.open_table(OBJECTS)?.iter()? {
        let (key, bytes) = entry?;
        if let Some((storage, key)) = key.value().split_once('\0') {
            take(storage, key, bytes.value());
        }
    }
    Ok(read.open_table(FACTS)?.get(REVISION)?.map_or(0, |revision| revision.value()))
}

/// Makes one transaction: restores the unclear values, then makes the change.
fn change(
    database: &Database,
    unclear: &BTreeMap<String, Option<Bytes>>,
    key: &str,
    after: Option<&Bytes>,
    revision: u64,
) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut objects = transaction.open_table(OBJECTS)?;
        let former = unclear.iter().map(|(key, bytes)| (key.as_str(), bytes.as_ref()));
        for (key, bytes) in former.chain([(key, after)]) {
            match bytes {
                Some(bytes) => objects.insert(key, bytes.as_ref())?.map(drop),
                None => objects.remove(key)?.map(drop),
            };
        }
        transaction.open_table(FACTS)?.insert(REVISION, revision)?;
    }
    Ok(transaction.commit()?)
}

/// File whose writes go to the operating system at once and to the disk a little later. Clones share the file.
#[derive(Clone, Debug)]
pub(super) struct LazilyFlushed {
    locked: Arc<Locked>,
    dirty: Arc<AtomicBool>,
}

/// File that is locked until this value is dropped. A pending flush keeps the file open; it must not keep the next server out.
#[derive(Debug)]
struct Locked(Arc<File>);

impl Drop for Locked {
    fn drop(&mut self) {
        // Without this, the lock would last until the last handle is closed.
        let _ = self.0.unlock();
    }
}

impl LazilyFlushed {
    fn new(file: File) -> io::Result<Self> {
        if let Err(error) = file.try_lock() {
            return Err(io::Error::new(io::ErrorKind::WouldBlock, format!("another process uses it ({error})")));
        }
        Ok(Self { locked: Arc::new(Locked(Arc::new(file))), dirty: Arc::default() })
    }
}

impl StorageBackend for LazilyFlushed {
    fn len(&self) -> io::Result<u64> {
        Ok(self.locked.0.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.locked.0.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.locked.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.dirty.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let (file, dirty) = (self.locked.0.clone(), self.dirty.clone());
        let flush = move || {
            std::thread::sleep(FLUSH_EVERY);
            dirty.store(false, Ordering::Release);
            // A disk that fails now shows the failure at the next write.
            let _ = file.sync_data();
        };
        std::thread::Builder::new().name("flush".into()).stack_size(64 << 10).spawn(flush).map(drop)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.locked.0.write_all_at(data, offset)
    }

    fn close(&self) -> io::Result<()> {
        self.locked.0.sync_data()
    }

    // Opening the file locks all of it.
    fn try_lock_range(&self, _start: Bound<u64>, _end: Bound<u64>) -> Result<bool, BackendError> {
        Err(BackendError::Unsupported)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Disk that may be full: after a number of writes it accepts no more.
    #[derive(Clone, Debug)]
    struct Disk {
        file: LazilyFlushed,
        /// Number of writes that the disk still accepts.
        left: Arc<std::sync::atomic::AtomicUsize>,
    }

    impl Disk {
        fn take(&self) -> io::Result<()> {
            let less = |left: usize| left.checked_sub(1);
            match self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less) {
                Ok(_) => Ok(()),
                Err(_) => Err(io::ErrorKind::StorageFull.into()),
            }
        }
    }

    impl StorageBackend for Disk {
        fn len(&self) -> io::Result<u64> {
            self.file.len()
        }
        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            self.file.read(offset, out)
        }
        fn set_len(&self, len: u64) -> io::Result<()> {
            self.take()?;
            self.file.set_len(len)
        }
        fn sync_data(&self) -> io::Result<()> {
            self.file.sync_data()
        }
        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            self.take()?;
            self.file.write(offset, data)
        }
        fn close(&self) -> io::Result<()> {
            self.file.close()
        }
        fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
            self.file.try_lock_range(start, end)
        }
    }

    fn content(persist: &Persist<Disk>) -> (BTreeMap<String, String>, u64) {
        let mut found = BTreeMap::new();
        let revision = persist.load(|_, key, bytes| {
            found.insert(key.to_owned(), String::from_utf8_lossy(bytes).into_owned());
        });
        (found, revision.unwrap())
    }

    #[test]
    fn a_full_disk_at_the_start_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path).unwrap();
        let disk = Disk { file: LazilyFlushed::new(file).unwrap(), left: Arc::default() };
        let Err(error) = Persist::on(path, disk) else { panic!("there was room") };
        let error = error.to_string();
        assert!(error.ends_with(": free some disk space and try again"), "{error}");
    }

    /// The disk fills up at every possible moment of a write; the content of the file always equals what was answered.
    #[test]
    fn a_full_disk_loses_nothing_and_makes_nothing_up() {
        let mut failures = 0;
        for room in 0..60 {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("state");
            let options = || OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
            let left = Arc::new(std::sync::atomic::AtomicUsize::new(usize::MAX));
            let disk = Disk { file: LazilyFlushed::new(options().unwrap()).unwrap(), left: left.clone() };
            let persist = Persist::on(path.clone(), disk).unwrap();
            let mut model: BTreeMap<String, Bytes> = BTreeMap::new();
            let (_, mut revision) = content(&persist);
            let mut write = |model: &mut BTreeMap<String, Bytes>, key: &str, after: Option<Bytes>| {
                let write =
                    Write { storage: "s", key, before: model.get(key), after: after.as_ref(), revision: revision + 1 };
                let result = persist.write(&write);
                if result.is_ok() {
                    revision += 1;
                    match after {
                        Some(bytes) => drop(model.insert(key.to_owned(), bytes)),
                        None => drop(model.remove(key)),
                    }
                }
                result.is_ok()
            };
            let text = |n: usize| Some(Bytes::from(format!("{n}").repeat(3000)));
            assert!(write(&mut model, "a", text(1)) && write(&mut model, "b", text(2)));
            left.store(room, Ordering::Relaxed);
            for (key, after) in [("a", text(3)), ("b", None), ("c", text(4)), ("a", None), ("c", text(5))] {
                failures += usize::from(!write(&mut model, key, after));
            }
            left.store(usize::MAX, Ordering::Relaxed);
            assert!(write(&mut model, "d", text(6)), "there is room again");
            let model: BTreeMap<String, String> =
                model.into_iter().map(|(key, bytes)| (key, String::from_utf8_lossy(&bytes).into_owned())).collect();
            assert_eq!(content(&persist), (model.clone(), revision), "room for {room} writes");
            drop(persist);
            let again = LazilyFlushed::new(options().unwrap()).unwrap();
            let again = Persist::on(path.clone(), Disk { file: again, left }).unwrap();
            assert_eq!(content(&again).0, model);
        }
        assert!(failures > 60, "the disk was full {failures} times");
    }
}
