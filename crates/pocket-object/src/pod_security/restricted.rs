//! Rules that the level `restricted` has beyond `baseline`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    Check, Level, Pod, Violation,
    baseline::{is_seccomp_type, proc_mount, seccomp},
    containers::{named, quoted, setters},
};
use crate::json::{list, text};

const fn check(id: &'static str, since: &'static [(u32, super::Rule)], replaces: &'static [&'static str]) -> Check {
    Check { id, level: Level::Restricted, since, replaces }
}

pub(super) static CHECKS: &[Check] = &[
    check("allowPrivilegeEscalation", &[(8, escalation), (25, escalation_but_on_windows)], &[]),
    check(
        "capabilities_restricted",
        &[(22, capabilities), (25, capabilities_but_on_windows)],
        &["capabilities_baseline"],
    ),
    check("procMount_restricted", &[(35, proc_mount)], &["procMount"]),
    check("restrictedVolumes", &[(0, volumes)], &["hostPathVolumes"]),
    check("runAsNonRoot", &[(0, non_root), (35, non_root_without_user_namespace)], &[]),
    check("runAsUser", &[(23, user), (35, user_without_user_namespace)], &[]),
    check(
        "seccompProfile_restricted",
        &[(19, seccomp_required), (25, seccomp_required_but_on_windows)],
        &["seccompProfile_baseline"],
    ),
];

fn escalation(pod: &Pod<'_>) -> Option<Violation> {
    let names = pod.containers_where(|container| {
        container.pointer("/securityContext/allowPrivilegeEscalation") != Some(&Value::Bool(false))
    });
    let detail = || format!("{} must set securityContext.allowPrivilegeEscalation=false", named(&names));
    (!names.is_empty()).then(|| Violation::new("allowPrivilegeEscalation != false", detail()))
}

fn escalation_but_on_windows(pod: &Pod<'_>) -> Option<Violation> {
    if pod.is_windows() { None } else { escalation(pod) }
}

fn capabilities(pod: &Pod<'_>) -> Option<Violation> {
    let at = |container: &Value, which: &str| -> Vec<String> {
        let names = list(container, &format!("/securityContext/capabilities/{which}")).iter();
        names.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let added = |container: &Value| -> Vec<String> {
        at(container, "add").into_iter().filter(|name| name != "NET_BIND_SERVICE").collect()
    };
    let keeping = pod.containers_where(|container| !at(container, "drop").iter().any(|name| name == "ALL"));
    let adding = pod.containers_where(|container| !added(container).is_empty());
    let mut wrong = Vec::new();
    if !keeping.is_empty() {
        wrong.push(format!("{} must set securityContext.capabilities.drop=[\"ALL\"]", named(&keeping)));
    }
    if !adding.is_empty() {
        let values: BTreeSet<String> = pod.containers().flat_map(added).collect();
        let values = quoted(values.iter().map(String::as_str));
        wrong.push(format!("{} must not include {values} in securityContext.capabilities.add", named(&adding)));
    }
    (!wrong.is_empty()).then(|| Violation::new("unrestricted capabilities", wrong.join("; ")))
}

fn capabilities_but_on_windows(pod: &Pod<'_>) -> Option<Violation> {
    if pod.is_windows() { None } else { capabilities(pod) }
}

fn volumes(pod: &Pod<'_>) -> Option<Violation> {
    const ALLOWED: [&str; 9] = [
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "image",
        "persistentVolumeClaim",
        "projected",
        "secret",
    ];
    const KNOWN: [&str; 21] = [
        "hostPath",
        "gcePersistentDisk",
        "awsElasticBlockStore",
        "gitRepo",
        "nfs",
        "iscsi",
        "glusterfs",
        "rbd",
        "flexVolume",
        "cinder",
        "cephfs",
        "flocker",
        "fc",
        "azureFile",
        "vsphereVolume",
        "quobyte",
        "azureDisk",
        "photonPersistentDisk",
        "portworxVolume",
        "scaleIO",
        "storageos",
    ];
    let first = |volume: &Value, kinds: &[&'static str]| kinds.iter().copied().find(|kind| volume.get(kind).is_some());
    let bad: Vec<&Value> =
        list(pod.spec, "/volumes").iter().filter(|volume| first(volume, &ALLOWED).is_none()).collect();
    let names: Vec<&str> = bad.iter().map(|volume| text(volume, "/name")).collect();
    let kinds: BTreeSet<&str> = bad.iter().map(|volume| first(volume, &KNOWN).unwrap_or("unknown")).collect();
    let (word, verb) = if names.len() == 1 { ("volume", "uses") } else { ("volumes", "use") };
    let kind = if kinds.len() == 1 { "restricted volume type" } else { "restricted volume types" };
    let detail = || format!("{word} {} {verb} {kind} {}", quoted(names.iter().copied()), quoted(kinds.iter().copied()));
    (!names.is_empty()).then(|| Violation::new("restricted volume types", detail()))
}

fn non_root(pod: &Pod<'_>) -> Option<Violation> {
    let set = |holder: &Value| holder.pointer("/securityContext/runAsNonRoot").and_then(Value::as_bool);
    let refusing = pod.containers_where(|container| set(container) == Some(false));
    if let Some(who) = setters(set(pod.spec) == Some(false), &refusing) {
        let detail = format!("{who} must not set securityContext.runAsNonRoot=false");
        return Some(Violation::new("runAsNonRoot != true", detail));
    }
    if set(pod.spec) == Some(true) {
        return None;
    }
    let silent = pod.containers_where(|container| set(container).is_none());
    let detail = || format!("pod or {} must set securityContext.runAsNonRoot=true", named(&silent));
    (!silent.is_empty()).then(|| Violation::new("runAsNonRoot != true", detail()))
}

fn non_root_without_user_namespace(pod: &Pod<'_>) -> Option<Violation> {
    if pod.has_user_namespace() { None } else { non_root(pod) }
}

fn user(pod: &Pod<'_>) -> Option<Violation> {
    let is_root = |holder: &Value| holder.pointer("/securityContext/runAsUser").and_then(Value::as_i64) == Some(0);
    let who = setters(is_root(pod.spec), &pod.containers_where(is_root))?;
    Some(Violation::new("runAsUser=0", format!("{who} must not set runAsUser=0")))
}

fn user_without_user_namespace(pod: &Pod<'_>) -> Option<Violation> {
    if pod.has_user_namespace() { None } else { user(pod) }
}

fn seccomp_required(pod: &Pod<'_>) -> Option<Violation> {
    if let Some(forbidden) = seccomp(pod) {
        return Some(forbidden);
    }
    let profile = |holder: &Value| holder.pointer("/securityContext/seccompProfile").cloned();
    if profile(pod.spec).is_some_and(|profile| is_seccomp_type(text(&profile, "/type"))) {
        return None;
    }
    let silent = pod.containers_where(|container| profile(container).is_none());
    let detail = || {
        let who = named(&silent);
        format!("pod or {who} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"")
    };
    (!silent.is_empty()).then(|| Violation::new("seccompProfile", detail()))
}

fn seccomp_required_but_on_windows(pod: &Pod<'_>) -> Option<Violation> {
    if pod.is_windows() { None } else { seccomp_required(pod) }
}
