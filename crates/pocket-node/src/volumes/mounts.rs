//! Mounts of a container: which file or directory of the node appears at which path.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use k8s_openapi::api::core::v1::{Container, HostPathVolumeSource, VolumeMount};

use super::{VolumeError, atomic::is_inside};
use crate::{env::expand, runtime::Mount};

/// Returns the mounts of a container, from its volumes' directories on the node.
///
/// # Errors
/// When a mount names no volume, or its subPath leads out of the volume or cannot be made.
pub fn mounts(
    container: &Container,
    volumes: &BTreeMap<String, PathBuf>,
    env: &BTreeMap<String, String>,
) -> Result<Vec<Mount>, VolumeError> {
    container.volume_mounts.iter().flatten().map(|mount| one(mount, volumes, env)).collect()
}

fn one(
    mount: &VolumeMount,
    volumes: &BTreeMap<String, PathBuf>,
    env: &BTreeMap<String, String>,
) -> Result<Mount, VolumeError> {
    let root = volumes.get(&mount.name).ok_or_else(|| VolumeError::NoVolume(mount.name.clone()))?;
    let sub = match (&mount.sub_path, &mount.sub_path_expr) {
        (Some(path), _) if !path.is_empty() => Some(path.clone()),
        (_, Some(path)) if !path.is_empty() => Some(expand(path, env)),
        _ => None,
    };
    let source = match sub {
        Some(sub) => below(root, &sub)?,
        None => root.clone(),
    };
    Ok(Mount { source, target: mount.mount_path.clone(), read_only: mount.read_only == Some(true) })
}

/// Resolves a path in a volume; a missing one is created as a directory. Links are followed only as far as they stay inside.
fn below(root: &Path, sub: &str) -> Result<PathBuf, VolumeError> {
    let outside = || VolumeError::Outside(sub.to_owned());
    if !is_inside(sub) {
        return Err(outside());
    }
    let io = |source| VolumeError::Io { what: format!("subPath \"{sub}\""), source };
    let root = root.canonicalize().map_err(io)?;
    let path = root.join(sub);
    match path.canonicalize() {
        Ok(real) if real.starts_with(&root) => Ok(real),
        Ok(_) => Err(outside()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // The existing part of the path must be inside before anything is made below it.
            let existing = path.ancestors().find_map(|ancestor| ancestor.canonicalize().ok()).unwrap_or_default();
            if !existing.starts_with(&root) {
                return Err(outside());
            }
            fs::create_dir_all(&path).map_err(io)?;
            Ok(path)
        }
        Err(error) => Err(io(error)),
    }
}

/// Checks a hostPath, and creates it where its type requires that.
///
/// # Errors
/// When the path is of another type than required.
pub(crate) fn host_path(source: &HostPathVolumeSource) -> Result<PathBuf, VolumeError> {
    let path = PathBuf::from(&source.path);
    let io = |error| VolumeError::Io { what: format!("hostPath \"{}\"", source.path), source: error };
    let kind = source.type_.as_deref().unwrap_or_default();
    let missing = !path.exists();
    match kind {
        "DirectoryOrCreate" | "" if missing => fs::create_dir_all(&path).map_err(io)?,
        "FileOrCreate" if missing => drop(fs::File::create(&path).map_err(io)?),
        _ => {}
    }
    let wrong = |wanted: &str| VolumeError::HostPath(source.path.clone(), wanted.to_owned());
    let found = fs::metadata(&path).map_err(|_| wrong(if kind.is_empty() { "path" } else { kind }))?;
    let fits = match kind {
        "Directory" | "DirectoryOrCreate" => found.is_dir(),
        "File" | "FileOrCreate" => found.is_file(),
        "Socket" => std::os::unix::fs::FileTypeExt::is_socket(&found.file_type()),
        "CharDevice" => std::os::unix::fs::FileTypeExt::is_char_device(&found.file_type()),
        "BlockDevice" => std::os::unix::fs::FileTypeExt::is_block_device(&found.file_type()),
        _ => true,
    };
    if fits { Ok(path) } else { Err(wrong(kind)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn sub_paths_stay_inside() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("volume");
        fs::create_dir_all(root.join("real")).unwrap();
        fs::write(dir.path().join("secret"), "x").unwrap();
        symlink("real", root.join("link")).unwrap();
        symlink("../secret", root.join("escape")).unwrap();
        symlink("..", root.join("up")).unwrap();
        let root = root.canonicalize().unwrap();
        for (sub, expected) in [
            ("real", Some(root.join("real"))),
            ("link", Some(root.join("real"))),
            ("new/dir", Some(root.join("new/dir"))),
            ("escape", None),
            ("up/other", None),
            ("../x", None),
            ("/etc", None),
        ] {
            assert_eq!(below(&root, sub).ok(), expected, "{sub}");
        }
        assert!(!dir.path().join("other").exists());
    }

    #[test]
    fn host_paths_are_what_they_say() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str, kind: &str| {
            host_path(&HostPathVolumeSource {
                path: dir.path().join(name).to_string_lossy().into_owned(),
                type_: Some(kind.into()),
            })
            .is_ok()
        };
        assert!(!at("a", "Directory"));
        assert!(at("a", "DirectoryOrCreate"));
        assert!(at("a", "Directory"));
        assert!(!at("a", "File"));
        assert!(at("b", "FileOrCreate"));
        assert!(!at("b", "Socket"));
    }
}
