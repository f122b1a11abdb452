//! Root file system of a container: the image's layers below a writable one, `/proc`, `/dev`, `/sys`, and the mounts.
//!
//! Runs as the first process of the container's mount and pid namespaces. None of it is visible outside, and the kernel
//! undoes all of it when the container ends.

use std::{
    ffi::CString,
    fs, io,
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, StatVfsMountFlags, mkdirat, openat2, statvfs, symlinkat, unlinkat},
    io::Errno,
    mount::{
        MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive, mount_change,
        mount_remount, unmount,
    },
    process::{chdir, pivot_root, umask},
};

use super::protocol::{Failure, MountAt, Root};

/// Devices that every container has, taken from the node.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
/// Links in `/dev`.
const LINKS: [(&str, &str); 5] = [
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("pts/ptmx", "ptmx"),
];
/// Files that reveal or change the machine. Container runtimes hide them.
const HIDDEN_FILES: [&str; 6] =
    ["/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug"];
/// Directories that are hidden for the same reason.
const HIDDEN_DIRS: [&str; 4] = ["/proc/acpi", "/proc/asound", "/proc/scsi", "/sys/firmware"];
/// Paths that containers may read but not write.
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

const SAFE: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);

/// Mounts everything and makes it the process's root.
pub(crate) fn enter(root: &Root, mounts: &[MountAt]) -> Result<(), Failure> {
    umask(Mode::from_bits_retain(0o022));
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)
        .map_err(Failure::call("make the container's mounts private"))?;
    layers(root)?;
    let at = Tree { root: open_directory(&root.target).map_err(Failure::call("open the container's root"))? };

    let proc = at.directory("/proc")?;
    mount("proc", path_of(&proc), "proc", SAFE, None).map_err(Failure::call(
        "mount /proc in the container (a masked /proc, as in Docker's containers, forbids it: start the outer container with `--security-opt systempaths=unconfined`)",
    ))?;
    sys(&at);
    devices(&at)?;
    for wanted in mounts {
        bind(&at, wanted)?;
    }

    chdir(&root.target).map_err(Failure::call("go to the container's root"))?;
    pivot_root(".", ".").map_err(Failure::call("change the root"))?;
    unmount(".", UnmountFlags::DETACH).map_err(Failure::call("leave the node's files"))?;
    chdir("/").map_err(Failure::call("go to the container's root"))?;

    protect()
}

/// Makes the process's root read-only, after everything in it is in place.
pub(crate) fn make_root_read_only() -> Result<(), Failure> {
    mount_remount("/", MountFlags::BIND | MountFlags::RDONLY, "")
        .map_err(Failure::call("make the container's root read-only"))
}

/// Mounts the layers at the target.
fn layers(root: &Root) -> Result<(), Failure> {
    let target = root.target.as_path();
    if root.layers.is_empty() {
        return mount_bind(&root.upper, target).map_err(Failure::call("mount an image without layers"));
    }
    // The kernel takes one page of options, so names are relative if possible.
    let common = root.layers[0].parent().filter(|dir| root.layers.iter().all(|layer| layer.parent() == Some(dir)));
    let lower: Vec<String> = root
        .layers
        .iter()
        .map(|layer| match (common, layer.file_name()) {
            (Some(_), Some(name)) => escape(Path::new(name)),
            _ => escape(layer),
        })
        .collect();
    let back = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    if let Some(common) = common {
        chdir(common).map_err(Failure::call("go to the unpacked layers"))?;
    }
    let options =
        format!("lowerdir={},upperdir={},workdir={}", lower.join(":"), escape(&root.upper), escape(&root.work));
    let mounted = overlay(target, &format!("{options},userxattr")).or_else(|error| match error {
        // Kernels before 5.11 do not know `userxattr`.
        Errno::INVAL => overlay(target, &options),
        other => Err(other),
    });
    let _ = chdir(&back);
    match mounted {
        Ok(()) => Ok(()),
        Err(refused) => {
            // Some file systems (an overlay itself, as in Docker's containers, or NFS) cannot be the upper one.
            for layer in root.layers.iter().rev() {
                copy_tree(layer, &root.upper).map_err(Failure::node(format!(
                    "copy the image (the kernel refused an overlay mount: {refused}; a state directory on ext4, xfs or btrfs avoids copies)"
                )))?;
            }
            mount_bind(&root.upper, target).map_err(Failure::call("mount the copied image"))
        }
    }
}

fn overlay(target: &Path, options: &str) -> Result<(), Errno> {
    let options = CString::new(options).map_err(|_| Errno::INVAL)?;
    mount("overlay", target, "overlay", MountFlags::empty(), options.as_c_str())
}

/// Escapes a path for overlay's options.
fn escape(path: &Path) -> String {
    let mut text = String::new();
    for c in path.to_string_lossy().chars() {
        if matches!(c, ':' | ',' | '\\') {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

/// Copies the content of a directory over that of another.
fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        let there = fs::symlink_metadata(&target).ok();
        if let Some(there) = &there
            && !(there.is_dir() && kind.is_dir())
        {
            if there.is_dir() { fs::remove_dir_all(&target)? } else { fs::remove_file(&target)? }
        }
        if kind.is_dir() {
            if !there.is_some_and(|there| there.is_dir()) {
                fs::create_dir(&target)?;
            }
            fs::set_permissions(&target, entry.metadata()?.permissions())?;
            copy_tree(&source, &target)?;
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(&source)?, &target)?;
        } else if kind.is_file() {
            fs::copy(&source, &target)?;
        }
    }
    Ok(())
}

/// Container's root under construction. Paths are looked up inside it, whatever symlinks the image has.
struct Tree {
    root: OwnedFd,
}

impl Tree {
    fn open(&self, path: &str) -> Result<OwnedFd, Errno> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        openat2(&self.root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT)
    }

    /// Opens a directory; a missing one is created with its parents.
    fn directory(&self, path: &str) -> Result<OwnedFd, Failure> {
        let fail = |error| Failure::call(format!("make {path} in the container"))(error);
        match self.open(path) {
            Err(Errno::NOENT) => {}
            other => return other.map_err(fail),
        }
        let mut so_far = String::new();
        for part in path.split('/').filter(|part| !part.is_empty()) {
            let parent = self.open(if so_far.is_empty() { "/" } else { &so_far }).map_err(fail)?;
            match mkdirat(&parent, part, Mode::from_bits_retain(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(fail(error)),
            }
            so_far = format!("{so_far}/{part}");
        }
        self.open(path).map_err(fail)
    }

    /// Opens a file; a missing one is created empty.
    fn file(&self, path: &str) -> Result<OwnedFd, Failure> {
        let fail = |error| Failure::call(format!("make {path} in the container"))(error);
        match self.open(path) {
            Err(Errno::NOENT) => {}
            other => return other.map_err(fail),
        }
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let parent = self.directory(if parent.is_empty() { "/" } else { parent })?;
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        rustix::fs::openat(&parent, name, flags, Mode::from_bits_retain(0o644)).map_err(fail)?;
        self.open(path).map_err(fail)
    }
}

/// Returns a path for a descriptor, for calls that take paths only.
fn path_of(fd: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

fn open_directory(path: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Mounts `/sys`, read-only. Some hosts refuse it, and few programs need it.
fn sys(at: &Tree) {
    if let Ok(dir) = at.directory("/sys") {
        let _ = mount("sysfs", path_of(&dir), "sysfs", SAFE | MountFlags::RDONLY, None);
    }
}

fn devices(at: &Tree) -> Result<(), Failure> {
    let dev = at.directory("/dev")?;
    mount("tmpfs", path_of(&dev), "tmpfs", MountFlags::NOSUID | MountFlags::STRICTATIME, c"mode=755,size=64k")
        .map_err(Failure::call("mount /dev in the container"))?;
    for name in DEVICES {
        let source = format!("/dev/{name}");
        if !Path::new(&source).exists() {
            continue;
        }
        let target = at.file(&source)?;
        mount_bind(&source, path_of(&target)).map_err(Failure::call(format!("mount {source} in the container")))?;
    }
    let dev = at.directory("/dev")?;
    for (to, name) in LINKS {
        symlinkat(to, &dev, name).map_err(Failure::call(format!("make /dev/{name} in the container")))?;
    }
    let shm = at.directory("/dev/shm")?;
    mount("tmpfs", path_of(&shm), "tmpfs", SAFE, c"mode=1777,size=64m")
        .map_err(Failure::call("mount /dev/shm in the container"))?;
    let pts = at.directory("/dev/pts")?;
    let options = c"newinstance,ptmxmode=0666,mode=0620";
    if mount("devpts", path_of(&pts), "devpts", MountFlags::NOSUID | MountFlags::NOEXEC, options).is_err() {
        // Terminals inside are optional; without them the link would only mislead.
        let _ = unlinkat(&dev, "ptmx", AtFlags::empty());
    }
    Ok(())
}

/// Mounts a file or directory of the node.
fn bind(at: &Tree, wanted: &MountAt) -> Result<(), Failure> {
    let shown = format!("{} at {}", wanted.source.display(), wanted.target);
    let source = fs::metadata(&wanted.source).map_err(|error| Failure::Container(format!("mount {shown}: {error}")))?;
    if !wanted.target.starts_with('/') {
        return Err(Failure::Container(format!("mount {shown}: the path in the container must start with /")));
    }
    let target = if source.is_dir() { at.directory(&wanted.target)? } else { at.file(&wanted.target)? };
    mount_bind_recursive(&wanted.source, path_of(&target)).map_err(Failure::call(format!("mount {shown}")))?;
    if wanted.read_only {
        // The first descriptor refers to what lies below the mount now.
        let mounted = at.open(&wanted.target).map_err(Failure::call(format!("open {shown}")))?;
        make_read_only(&path_of(&mounted)).map_err(Failure::call(format!("make {shown} read-only")))?;
    }
    Ok(())
}

/// Makes a mount read-only and keeps its other flags, which a user namespace may not remove.
fn make_read_only(path: &str) -> Result<(), Errno> {
    let now = statvfs(path)?.f_flag;
    let mut flags = MountFlags::BIND | MountFlags::RDONLY;
    for (has, flag) in [
        (now.contains(StatVfsMountFlags::NOSUID), MountFlags::NOSUID),
        (now.bits() & 4 != 0, MountFlags::NODEV),
        (now.bits() & 8 != 0, MountFlags::NOEXEC),
        (now.bits() & 1024 != 0, MountFlags::NOATIME),
        (now.bits() & 2048 != 0, MountFlags::NODIRATIME),
        (now.bits() & 4096 != 0, MountFlags::RELATIME),
    ] {
        if has {
            flags |= flag;
        }
    }
    mount_remount(path, flags, "")
}

/// Hides the parts of the machine that a container must not see. Runs inside the container.
fn protect() -> Result<(), Failure> {
    for path in READ_ONLY {
        let done = mount_bind_recursive(path, path).and_then(|()| make_read_only(path));
        match done {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(Failure::call(format!("make {path} read-only"))(error)),
        }
    }
    for path in HIDDEN_FILES {
        match mount_bind("/dev/null", path) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(Failure::call(format!("hide {path}"))(error)),
        }
    }
    for path in HIDDEN_DIRS {
        match mount("tmpfs", path, "tmpfs", SAFE | MountFlags::RDONLY, c"size=0k") {
            // `/sys` may be missing altogether.
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(Failure::call(format!("hide {path}"))(error)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_layers_over_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b, to) = (dir.path().join("a"), dir.path().join("b"), dir.path().join("to"));
        for d in [&a, &b, &to] {
            fs::create_dir(d).unwrap();
        }
        fs::create_dir(a.join("x")).unwrap();
        fs::write(a.join("x/one"), "1").unwrap();
        fs::write(a.join("file"), "old").unwrap();
        std::os::unix::fs::symlink("x/one", a.join("link")).unwrap();
        fs::create_dir(b.join("x")).unwrap();
        fs::write(b.join("x/two"), "2").unwrap();
        fs::write(b.join("file"), "new").unwrap();
        fs::write(b.join("link"), "a file now").unwrap();
        copy_tree(&a, &to).unwrap();
        copy_tree(&b, &to).unwrap();
        let read = |name: &str| fs::read_to_string(to.join(name)).unwrap();
        assert_eq!(
            (read("x/one"), read("x/two"), read("file"), read("link")),
            ("1".into(), "2".into(), "new".into(), "a file now".into())
        );
        assert_eq!(fs::read_to_string(a.join("x/one")).unwrap(), "1");
    }

    #[test]
    fn options_are_escaped() {
        assert_eq!(escape(Path::new("/a:b,c\\d")), "/a\\:b\\,c\\\\d");
    }

    #[test]
    fn lookups_stay_inside() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir(&root).unwrap();
        std::os::unix::fs::symlink("/", root.join("escape")).unwrap();
        std::os::unix::fs::symlink("../../..", root.join("up")).unwrap();
        let at = Tree { root: open_directory(&root).unwrap() };
        at.file("/escape/etc/made").unwrap();
        at.directory("/up/deep/er").unwrap();
        assert!(root.join("etc/made").is_file());
        assert!(root.join("deep/er").is_dir());
    }
}
