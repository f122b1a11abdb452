//! Directories whose files change all at once, in the layout that Kubernetes uses:
//! `file -> ..data/file`, `..data -> ..2026_01_01_…/`. Exchanging the one link `..data` exchanges all files.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink},
    path::{Component, Path},
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) data: Vec<u8>,
    /// Permission bits.
    pub(crate) mode: u32,
}

/// Files by their path in the volume.
pub(crate) type Files = BTreeMap<String, File>;

const DATA: &str = "..data";
const DATA_NEW: &str = "..data_tmp";

/// Returns whether a path stays inside the volume and does not interfere with its layout.
pub(crate) fn is_inside(path: &str) -> bool {
    !path.is_empty()
        && !path.starts_with("..")
        && Path::new(path).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

/// Makes a directory show exactly these files. Returns `false` if it did already.
///
/// # Errors
/// When the file system refuses an operation; the former files then stay visible.
pub(crate) fn write(dir: &Path, files: &Files) -> io::Result<bool> {
    fs::create_dir_all(dir)?;
    let former = fs::read_link(dir.join(DATA)).ok();
    if let Some(former) = &former
        && is_current(&dir.join(former), files)
    {
        return Ok(false);
    }
    let stamp = jiff::Timestamp::now().strftime("%Y_%m_%d_%H_%M_%S").to_string();
    let fresh = format!("..{stamp}.{}", rand::random::<u32>());
    let target = dir.join(&fresh);
    fs::DirBuilder::new().mode(0o755).create(&target)?;
    for (path, file) in files {
        let path = target.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let mut options = fs::OpenOptions::new();
        io::Write::write_all(&mut options.write(true).create_new(true).mode(0o600).open(&path)?, &file.data)?;
        // Set separately from the creation, so that the umask does not apply.
        fs::set_permissions(&path, fs::Permissions::from_mode(file.mode & 0o777))?;
    }
    let new = dir.join(DATA_NEW);
    if let Err(error) = fs::remove_file(&new)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    symlink(&fresh, &new)?;
    fs::rename(&new, dir.join(DATA))?;
    link(dir, files)?;
    if let Some(former) = former {
        fs::remove_dir_all(dir.join(former))?;
    }
    Ok(true)
}

/// Creates one link for every first part of a path, and removes those of files that are gone.
fn link(dir: &Path, files: &Files) -> io::Result<()> {
    let wanted: BTreeSet<&str> = files.keys().map(|path| path.split('/').next().unwrap_or(path)).collect();
    for name in &wanted {
        let at = dir.join(name);
        if fs::symlink_metadata(&at).is_err() {
            symlink(Path::new(DATA).join(name), at)?;
        }
    }
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if !name.starts_with("..") && !wanted.contains(name.as_ref()) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn is_current(dir: &Path, files: &Files) -> bool {
    let mut seen = 0;
    let mut open = vec![dir.to_owned()];
    while let Some(next) = open.pop() {
        let Ok(entries) = fs::read_dir(next) else {
            return false;
        };
        for entry in entries.flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let name = path.strip_prefix(dir).map(|name| name.to_string_lossy().into_owned());
            let Some(file) = name.ok().and_then(|name| files.get(&name)) else {
                return false;
            };
            let mode = entry.metadata().map(|meta| meta.permissions().mode() & 0o777).ok();
            if mode != Some(file.mode & 0o777) || fs::read(&path).ok().as_ref() != Some(&file.data) {
                return false;
            }
            seen += 1;
        }
    }
    seen == files.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(pairs: &[(&str, &str)]) -> Files {
        pairs.iter().map(|(name, data)| ((*name).into(), File { data: data.as_bytes().into(), mode: 0o644 })).collect()
    }

    #[test]
    fn exchanges_all_files_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        assert!(write(dir, &files(&[("a", "1"), ("b", "1"), ("deep/c", "1")])).unwrap());
        assert_eq!(fs::read_to_string(dir.join("deep/c")).unwrap(), "1");
        let former = fs::read_link(dir.join("..data")).unwrap();
        assert!(!write(dir, &files(&[("a", "1"), ("b", "1"), ("deep/c", "1")])).unwrap(), "nothing changed");
        assert_eq!(fs::read_link(dir.join("..data")).unwrap(), former);
        assert!(write(dir, &files(&[("a", "2"), ("d", "2")])).unwrap());
        assert_eq!(fs::read_to_string(dir.join("a")).unwrap(), "2");
        assert_eq!(fs::read_to_string(dir.join("d")).unwrap(), "2");
        assert!(!dir.join("b").exists() && !dir.join("deep").exists());
        let left: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left.len(), 4, "the former directory is gone: {left:?}");
    }

    #[test]
    fn paths_stay_inside() {
        for (path, inside) in [
            ("a", true),
            ("a/b", true),
            ("", false),
            ("/a", false),
            ("../a", false),
            ("a/../../b", false),
            ("..data", false),
        ] {
            assert_eq!(is_inside(path), inside, "{path}");
        }
    }
}
