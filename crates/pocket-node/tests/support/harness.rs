//! Harness: runs the scenarios one after the other, each as a daemon of its own.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, ExitCode, Stdio},
};

use super::scenarios::ALL;

pub(crate) fn main(arguments: &[String]) -> ExitCode {
    let mut failed = Vec::new();
    let listing = arguments.iter().any(|argument| argument == "--list");
    let wanted: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let chosen = |name: &str| wanted.is_empty() || wanted.iter().any(|part| name.contains(part.as_str()));
    for name in ALL.iter().chain(&["killed_daemon"]).filter(|name| chosen(name)) {
        if listing {
            println!("{name}: test");
            continue;
        }
        let ok = if *name == "killed_daemon" { killed_daemon() } else { scenario(name) };
        println!("test {name} ... {}", if ok { "ok" } else { "FAILED" });
        if !ok {
            failed.push(*name);
        }
    }
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn daemon(name: &str, dir: &Path) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.args(["daemon", name]).env("POCKET_TEST_DIR", dir).stdin(Stdio::null());
    command
}

fn scenario(name: &str) -> bool {
    in_directory(|dir| daemon(name, dir).status().unwrap().success())
}

/// Gives work a directory, and removes it with what a killed daemon leaves: overlay's own directories have no permissions.
fn in_directory<T>(work: impl FnOnce(&Path) -> T) -> T {
    fn open_up(path: &Path) {
        if fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir()) {
            let _ = fs::set_permissions(path, PermissionsExt::from_mode(0o700));
            fs::read_dir(path).into_iter().flatten().flatten().for_each(|entry| open_up(&entry.path()));
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let result = work(dir.path());
    open_up(dir.path());
    dir.close().unwrap();
    result
}

/// Checks that killing the outer process kills everything.
fn killed_daemon() -> bool {
    in_directory(kill_daemon)
}

fn kill_daemon(dir: &Path) -> bool {
    use std::io::{BufRead, BufReader};
    let mut child = daemon("serve_until_killed", dir).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let ready = lines.next().unwrap().unwrap();
    assert_eq!(ready, "ready");
    let before = descendants(child.id());
    assert!(before.len() >= 3, "the server, the helper and the pod run: {before:?}");
    child.kill().unwrap();
    child.wait().unwrap();
    // The pipe is closed when the last of its holders is gone: the server and the helper had it.
    assert!(lines.next().is_none());
    wait_until(|| before.iter().all(|pid| !alive(*pid)));
    true
}

fn alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

fn wait_until(mut done: impl FnMut() -> bool) {
    while !done() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// Returns all processes below one.
fn descendants(root: u32) -> Vec<u32> {
    let mut found = vec![root];
    let mut at = 0;
    while at < found.len() {
        let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", found[at])).unwrap_or_default();
        found.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        at += 1;
    }
    found
}
