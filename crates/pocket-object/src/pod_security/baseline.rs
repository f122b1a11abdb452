//! Rules of the level `baseline`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    Check, Level, Pod, Violation,
    containers::{Forbidden, named, quoted, setters},
};
use crate::json::{entries, list, text, truth};

const fn check(id: &'static str, since: &'static [(u32, super::Rule)]) -> Check {
    Check { id, level: Level::Baseline, since, replaces: &[] }
}

pub(super) static CHECKS: &[Check] = &[
    check("appArmorProfile", &[(0, app_armor)]),
    check("capabilities_baseline", &[(0, capabilities)]),
    check("hostNamespaces", &[(0, host_namespaces)]),
    check("hostPathVolumes", &[(0, host_paths)]),
    check("hostPorts", &[(0, host_ports)]),
    check("hostProbesAndHostLifecycle", &[(34, probe_hosts)]),
    check("privileged", &[(0, privileged)]),
    check("procMount", &[(0, proc_mount), (35, proc_mount_without_user_namespace)]),
    check("seLinuxOptions", &[(0, selinux), (31, selinux_31)]),
    check("seccompProfile_baseline", &[(0, seccomp_annotations), (19, seccomp)]),
    check("sysctls", &[(0, sysctls_0), (27, sysctls_27), (29, sysctls_29), (32, sysctls_32), (37, sysctls_37)]),
    check("windowsHostProcess", &[(0, host_process)]),
];

fn app_armor(pod: &Pod<'_>) -> Option<Violation> {
    const PREFIX: &str = "container.apparmor.security.beta.kubernetes.io/";
    let bad = Forbidden::of(pod, "appArmorProfile", |type_| matches!(type_, "RuntimeDefault" | "Localhost"));
    let annotations: BTreeSet<String> = entries(pod.metadata, "/annotations")
        .filter_map(|(name, value)| Some((name, value.as_str()?)))
        .filter(|(name, _)| name.starts_with(PREFIX))
        .filter(|(_, value)| !(value.is_empty() || *value == "runtime/default" || value.starts_with("localhost/")))
        .map(|(name, value)| format!("{name}={value:?}"))
        .collect();
    let mut who: Vec<String> = setters(bad.pod, &bad.containers).into_iter().collect();
    match annotations.len() {
        0 => {}
        1 => who.push("annotation".to_owned()),
        _ => who.push("annotations".to_owned()),
    }
    let values: Vec<&str> = bad.values.iter().chain(&annotations).map(String::as_str).collect();
    let reason = if values.len() == 1 { "forbidden AppArmor profile" } else { "forbidden AppArmor profiles" };
    let detail = || format!("{} must not set AppArmor profile type to {}", who.join(" and "), quoted(values.clone()));
    (!who.is_empty()).then(|| Violation::new(reason, detail()))
}

fn capabilities(pod: &Pod<'_>) -> Option<Violation> {
    const ALLOWED: [&str; 13] = [
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    ];
    let added = |container: &Value| -> Vec<String> {
        let all = list(container, "/securityContext/capabilities/add").iter().filter_map(Value::as_str);
        all.filter(|name| !ALLOWED.contains(name)).map(str::to_owned).collect()
    };
    let names = pod.containers_where(|container| !added(container).is_empty());
    let values: BTreeSet<String> = pod.containers().flat_map(added).collect();
    let detail = || {
        let values = quoted(values.iter().map(String::as_str));
        format!("{} must not include {values} in securityContext.capabilities.add", named(&names))
    };
    (!names.is_empty()).then(|| Violation::new("non-default capabilities", detail()))
}

fn host_namespaces(pod: &Pod<'_>) -> Option<Violation> {
    let set = ["hostNetwork", "hostPID", "hostIPC"];
    let set = set.iter().filter(|field| truth(pod.spec, &format!("/{field}"))).map(|field| format!("{field}=true"));
    let set: Vec<String> = set.collect();
    (!set.is_empty()).then(|| Violation::new("host namespaces", set.join(", ")))
}

fn host_paths(pod: &Pod<'_>) -> Option<Violation> {
    let volumes = list(pod.spec, "/volumes").iter().filter(|volume| volume.get("hostPath").is_some());
    let volumes: Vec<&str> = volumes.map(|volume| text(volume, "/name")).collect();
    let word = if volumes.len() == 1 { "volume" } else { "volumes" };
    (!volumes.is_empty())
        .then(|| Violation::new("hostPath volumes", format!("{word} {}", quoted(volumes.iter().copied()))))
}

fn host_ports(pod: &Pod<'_>) -> Option<Violation> {
    let ports = |container: &Value| -> Vec<String> {
        let ports = list(container, "/ports").iter().filter_map(|port| port.get("hostPort")?.as_i64());
        ports.filter(|port| *port != 0).map(|port| port.to_string()).collect()
    };
    let names = pod.containers_where(|container| !ports(container).is_empty());
    let used: BTreeSet<String> = pod.containers().flat_map(ports).collect();
    let (verb, word) = (uses(names.len()), if used.len() == 1 { "hostPort" } else { "hostPorts" });
    let used = used.into_iter().collect::<Vec<_>>().join(", ");
    (!names.is_empty()).then(|| Violation::new("hostPort", format!("{} {verb} {word} {used}", named(&names))))
}

fn uses(count: usize) -> &'static str {
    if count == 1 { "uses" } else { "use" }
}

fn probe_hosts(pod: &Pod<'_>) -> Option<Violation> {
    const PLACES: [&str; 5] =
        ["/livenessProbe", "/readinessProbe", "/startupProbe", "/lifecycle/postStart", "/lifecycle/preStop"];
    let hosts = |container: &Value| -> BTreeSet<String> {
        let handlers = PLACES.iter().filter_map(|place| container.pointer(place));
        let hosts = handlers.flat_map(|handler| ["/httpGet/host", "/tcpSocket/host"].map(|host| text(handler, host)));
        hosts.filter(|host| !host.is_empty()).map(str::to_owned).collect()
    };
    let names: BTreeSet<&str> = pod.containers_where(|container| !hosts(container).is_empty()).into_iter().collect();
    let names: Vec<&str> = names.into_iter().collect();
    let used: BTreeSet<String> = pod.containers().flat_map(hosts).collect();
    let word = if used.len() == 1 { "probe or lifecycle host" } else { "probe or lifecycle hosts" };
    let detail = || {
        let used = quoted(used.iter().map(String::as_str));
        format!("{} {} {word} {used}", named(&names), uses(names.len()))
    };
    (!names.is_empty()).then(|| Violation::new("probe or lifecycle host", detail()))
}

fn privileged(pod: &Pod<'_>) -> Option<Violation> {
    let names = pod.containers_where(|container| truth(container, "/securityContext/privileged"));
    let detail = || format!("{} must not set securityContext.privileged=true", named(&names));
    (!names.is_empty()).then(|| Violation::new("privileged", detail()))
}

/// Checks `procMount`; a rule of both levels.
pub(super) fn proc_mount(pod: &Pod<'_>) -> Option<Violation> {
    let mount = |container: &Value| text(container, "/securityContext/procMount").to_owned();
    let bad = |mount: &str| !matches!(mount, "" | "Default");
    let names = pod.containers_where(|container| bad(&mount(container)));
    let values: BTreeSet<String> = pod.containers().map(mount).filter(|mount| bad(mount)).collect();
    let detail = || {
        let values = quoted(values.iter().map(String::as_str));
        format!("{} must not set securityContext.procMount to {values}", named(&names))
    };
    (!names.is_empty()).then(|| Violation::new("procMount", detail()))
}

fn proc_mount_without_user_namespace(pod: &Pod<'_>) -> Option<Violation> {
    if pod.has_user_namespace() { None } else { proc_mount(pod) }
}

fn selinux(pod: &Pod<'_>) -> Option<Violation> {
    selinux_types(pod, &["", "container_t", "container_init_t", "container_kvm_t"])
}

fn selinux_31(pod: &Pod<'_>) -> Option<Violation> {
    selinux_types(pod, &["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"])
}

fn selinux_types(pod: &Pod<'_>, allowed: &[&str]) -> Option<Violation> {
    const OPTIONS: &str = "/securityContext/seLinuxOptions";
    let at = |holder: &Value, field: &str| text(holder, &format!("{OPTIONS}/{field}")).to_owned();
    let bad_type = |holder: &Value| !allowed.contains(&at(holder, "type").as_str());
    let bad = |holder: &Value| bad_type(holder) || !at(holder, "user").is_empty() || !at(holder, "role").is_empty();
    let who = setters(bad(pod.spec), &pod.containers_where(bad))?;
    let holders: Vec<&Value> = std::iter::once(pod.spec).chain(pod.containers()).collect();
    let types: BTreeSet<String> =
        holders.iter().filter(|holder| bad_type(holder)).map(|holder| at(holder, "type")).collect();
    let mut wrong = Vec::new();
    if !types.is_empty() {
        let word = if types.len() == 1 { "type" } else { "types" };
        wrong.push(format!("{word} {}", quoted(types.iter().map(String::as_str))));
    }
    for field in ["user", "role"] {
        if holders.iter().any(|holder| !at(holder, field).is_empty()) {
            wrong.push(format!("{field} may not be set"));
        }
    }
    let detail = format!("{who} set forbidden securityContext.seLinuxOptions: {}", wrong.join("; "));
    Some(Violation::new("seLinuxOptions", detail))
}

fn seccomp_annotations(pod: &Pod<'_>) -> Option<Violation> {
    let of_containers = pod
        .containers()
        .map(|container| format!("container.seccomp.security.alpha.kubernetes.io/{}", text(container, "/name")));
    let names = std::iter::once("seccomp.security.alpha.kubernetes.io/pod".to_owned()).chain(of_containers);
    let forbidden: BTreeSet<String> = names
        .filter_map(|name| {
            let value = pod.metadata.pointer("/annotations")?.get(&name)?.as_str()?;
            let allowed = matches!(value, "runtime/default" | "docker/default") || value.starts_with("localhost/");
            (!allowed).then(|| format!("{name}={value:?}"))
        })
        .collect();
    let word = if forbidden.len() == 1 { "annotation" } else { "annotations" };
    let shown = forbidden.iter().cloned().collect::<Vec<_>>().join(", ");
    (!forbidden.is_empty()).then(|| Violation::new("seccompProfile", format!("forbidden {word} {shown}")))
}

/// Returns whether a type of seccomp profile is allowed at any level.
pub(super) fn is_seccomp_type(type_: &str) -> bool {
    matches!(type_, "RuntimeDefault" | "Localhost")
}

/// Checks seccomp profiles; a rule of both levels.
pub(super) fn seccomp(pod: &Pod<'_>) -> Option<Violation> {
    let bad = Forbidden::of(pod, "seccompProfile", is_seccomp_type);
    let who = setters(bad.pod, &bad.containers)?;
    let values = quoted(bad.values.iter().map(String::as_str));
    Some(Violation::new(
        "seccompProfile",
        format!("{who} must not set securityContext.seccompProfile.type to {values}"),
    ))
}

/// Allowed sysctls, each with the minor version since which it is allowed.
const SYSCTLS: [(u32, &str); 14] = [
    (0, "kernel.shm_rmid_forced"),
    (0, "net.ipv4.ip_local_port_range"),
    (0, "net.ipv4.tcp_syncookies"),
    (0, "net.ipv4.ping_group_range"),
    (0, "net.ipv4.ip_unprivileged_port_start"),
    (27, "net.ipv4.ip_local_reserved_ports"),
    (29, "net.ipv4.tcp_keepalive_time"),
    (29, "net.ipv4.tcp_fin_timeout"),
    (29, "net.ipv4.tcp_keepalive_intvl"),
    (29, "net.ipv4.tcp_keepalive_probes"),
    (32, "net.ipv4.tcp_rmem"),
    (32, "net.ipv4.tcp_wmem"),
    (37, "net.ipv4.tcp_slow_start_after_idle"),
    (37, "net.ipv4.tcp_notsent_lowat"),
];

fn sysctls(pod: &Pod<'_>, version: u32) -> Option<Violation> {
    let allowed = |name: &str| SYSCTLS.iter().any(|(since, known)| *since <= version && *known == name);
    let set = list(pod.spec, "/securityContext/sysctls").iter().map(|sysctl| text(sysctl, "/name"));
    let forbidden: Vec<&str> = set.filter(|name| !allowed(name)).collect();
    (!forbidden.is_empty()).then(|| Violation::new("forbidden sysctls", forbidden.join(", ")))
}

fn sysctls_0(pod: &Pod<'_>) -> Option<Violation> {
    sysctls(pod, 0)
}

fn sysctls_27(pod: &Pod<'_>) -> Option<Violation> {
    sysctls(pod, 27)
}

fn sysctls_29(pod: &Pod<'_>) -> Option<Violation> {
    sysctls(pod, 29)
}

fn sysctls_32(pod: &Pod<'_>) -> Option<Violation> {
    sysctls(pod, 32)
}

fn sysctls_37(pod: &Pod<'_>) -> Option<Violation> {
    sysctls(pod, 37)
}

fn host_process(pod: &Pod<'_>) -> Option<Violation> {
    let bad = |holder: &Value| truth(holder, "/securityContext/windowsOptions/hostProcess");
    let who = setters(bad(pod.spec), &pod.containers_where(bad))?;
    Some(Violation::new("hostProcess", format!("{who} must not set securityContext.windowsOptions.hostProcess=true")))
}
