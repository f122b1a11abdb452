//! Facts about processes, from `/proc`.

use std::{collections::BTreeSet, fs};

/// Returns the processes whose environment has `name=value`: those of one embedded cluster, which its pods' processes do not inherit.
pub fn with_env(name: &str, value: &str) -> BTreeSet<i32> {
    let wanted = format!("{name}={value}");
    all_where(|pid| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes())
    })
}

/// Returns the given processes and all their descendants.
pub fn with_descendants(roots: &BTreeSet<i32>) -> BTreeSet<i32> {
    let mut family = roots.clone();
    loop {
        let children = all_where(|pid| parent(pid).is_some_and(|parent| family.contains(&parent)));
        let before = family.len();
        family.extend(children);
        if family.len() == before {
            return family;
        }
    }
}

/// Returns a process's name, as `ps` shows it.
pub fn name(pid: i32) -> Option<String> {
    Some(fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim().to_owned())
}

/// Returns whether a process exists.
pub fn exists(pid: i32) -> bool {
    fs::exists(format!("/proc/{pid}")).unwrap_or(false)
}

/// Returns a process's resident memory in KiB, where pages shared by several processes count in parts (`Pss`).
pub fn memory_kib(pid: i32) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    rollup.lines().find_map(|line| line.strip_prefix("Pss:")?.trim().strip_suffix("kB")?.trim().parse().ok())
}

/// Returns a process's resident memory in KiB, shared pages included (`VmRSS`).
pub fn resident_kib(pid: i32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix("kB")?.trim().parse().ok())
}

fn all_where(wanted: impl Fn(i32) -> bool) -> BTreeSet<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return BTreeSet::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid| wanted(*pid)).collect()
}

fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may contain any character, so fields are counted from the last parenthesis.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}
