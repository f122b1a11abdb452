//! Files of the state directory.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use crate::Error;

/// State directory.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    dir: PathBuf,
}

/// Size beyond which the log is put aside when the cluster starts.
const MAX_LOG: u64 = 4 << 20;

impl Files {
    pub(crate) fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// Creates the directory, for this user only.
    pub(crate) fn create(&self) -> Result<(), Error> {
        let fail = || Error::file("make the directory", &self.dir);
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir).map_err(fail())?;
        fs::set_permissions(&self.dir, PermissionsExt::from_mode(0o700)).map_err(fail())
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Lock file, locked while a daemon runs. Never removed, so that all daemons lock the same file.
    pub(crate) fn lock(&self) -> PathBuf {
        self.dir.join("lock")
    }

    /// Record of the running daemon.
    pub(crate) fn record(&self) -> PathBuf {
        self.dir.join("daemon.json")
    }

    /// Port of the API server, for the next start.
    pub(crate) fn port(&self) -> PathBuf {
        self.dir.join("port")
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.dir.join("kubeconfig")
    }

    pub(crate) fn certificates(&self) -> PathBuf {
        self.dir.join("pki")
    }

    pub(crate) fn images(&self) -> PathBuf {
        self.dir.join("images")
    }

    /// Objects of the cluster.
    pub(crate) fn cluster(&self) -> PathBuf {
        self.dir.join("cluster")
    }

    /// Files of the kubelet: volumes and logs of pods.
    pub(crate) fn node(&self) -> PathBuf {
        self.dir.join("node")
    }

    /// Files that containers write.
    pub(crate) fn containers(&self) -> PathBuf {
        self.dir.join("containers")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.dir.join("pocket.log")
    }

    /// Opens the daemon's log for appending.
    pub(crate) fn open_log(&self) -> Result<File, Error> {
        let path = self.log();
        if fs::metadata(&path).is_ok_and(|meta| meta.len() > MAX_LOG) {
            let _ = fs::rename(&path, path.with_extension("log.1"));
        }
        let open = File::options().create(true).append(true).open(&path);
        open.map_err(Error::file("open", path))
    }

    /// Returns the last lines of the log, from an offset on.
    pub(crate) fn log_tail(&self, from: u64) -> String {
        const LINES: usize = 12;
        const BYTES: u64 = 8 << 10;
        let read = || -> io::Result<String> {
            let mut file = File::open(self.log())?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(from.max(length.saturating_sub(BYTES)).min(length)))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        let text = read().unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }
}

/// Writes a file that only this user may read, either all of it or nothing.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let write = || {
        let dir = path.parent().unwrap_or(Path::new("/"));
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        file.write_all(bytes)?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    write().map_err(Error::file("write", path))
}

/// Removes a file or a directory with its content, if it exists. Directories that containers leave may be unreadable at first.
pub(crate) fn remove_all(path: &Path) -> Result<(), Error> {
    fn open_up(path: &Path) {
        let Ok(meta) = fs::symlink_metadata(path) else { return };
        if !meta.is_dir() {
            return;
        }
        if meta.permissions().mode() & 0o700 != 0o700 {
            let _ = fs::set_permissions(path, PermissionsExt::from_mode(0o700));
        }
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            open_up(&entry.path());
        }
    }
    let remove = || match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match remove() {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_up(path);
            remove()
        }
        other => other,
    }
    .or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
    .map_err(Error::file("remove", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_files_and_their_end() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::new(dir.path().join("a/b"));
        files.create().unwrap();
        assert_eq!(fs::metadata(files.dir()).unwrap().permissions().mode() & 0o777, 0o700);
        write_private(&files.kubeconfig(), b"secret").unwrap();
        assert_eq!(fs::metadata(files.kubeconfig()).unwrap().permissions().mode() & 0o777, 0o600);
        let locked = files.containers().join("work");
        fs::create_dir_all(&locked).unwrap();
        fs::set_permissions(&locked, PermissionsExt::from_mode(0o000)).unwrap();
        remove_all(files.dir()).unwrap();
        remove_all(files.dir()).unwrap();
        assert!(!files.dir().exists());
    }

    #[test]
    fn the_tail_of_a_log() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::new(dir.path());
        assert_eq!(files.log_tail(0), "");
        let text: String = (0..100).map(|n| format!("line {n}\n")).collect();
        fs::write(files.log(), &text).unwrap();
        assert!(files.log_tail(0).starts_with("line 88\n") && files.log_tail(0).ends_with("line 99"));
        assert_eq!(files.log_tail(text.len() as u64 - 8), "line 99");
    }
}
