use serde_json::json;

use super::*;

fn at(level: Level, minor: u32) -> LevelVersion {
    LevelVersion { level, version: Version::Minor(minor) }
}

fn latest(level: Level) -> LevelVersion {
    LevelVersion { level, version: Version::Latest }
}

fn pod(spec: Value) -> Value {
    json!({ "metadata": {}, "spec": spec })
}

/// Returns a pod that violates no level.
fn good() -> Value {
    pod(json!({ "securityContext": { "runAsNonRoot": true, "seccompProfile": { "type": "RuntimeDefault" } },
        "containers": [{ "name": "c", "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } } }] }))
}

fn check(at: LevelVersion, pod: &Value, want: &str) {
    assert_eq!(detail(&evaluate(at, pod)), want, "{at} {pod}");
}

#[test]
fn a_bare_pod_under_every_level() {
    let bare = pod(json!({ "containers": [{ "name": "c" }] }));
    check(latest(Level::Privileged), &bare, "");
    check(latest(Level::Baseline), &bare, "");
    check(
        latest(Level::Restricted),
        &bare,
        "allowPrivilegeEscalation != false (container \"c\" must set securityContext.allowPrivilegeEscalation=false), \
         unrestricted capabilities (container \"c\" must set securityContext.capabilities.drop=[\"ALL\"]), \
         runAsNonRoot != true (pod or container \"c\" must set securityContext.runAsNonRoot=true), \
         seccompProfile (pod or container \"c\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")",
    );
    check(latest(Level::Restricted), &good(), "");
    check(
        at(Level::Restricted, 7),
        &bare,
        "runAsNonRoot != true (pod or container \"c\" must set securityContext.runAsNonRoot=true)",
    );
}

#[test]
fn baseline_rules() {
    let one = |spec: Value, want: &str| check(latest(Level::Baseline), &pod(spec), want);
    one(
        json!({ "hostNetwork": true, "hostIPC": true, "containers": [] }),
        "host namespaces (hostNetwork=true, hostIPC=true)",
    );
    one(
        json!({ "volumes": [{ "name": "a", "hostPath": {} }, { "name": "b", "hostPath": {} }] }),
        "hostPath volumes (volumes \"a\", \"b\")",
    );
    let containers = |context: Value| json!({ "containers": [{ "name": "c", "securityContext": context }] });
    one(
        containers(json!({ "privileged": true })),
        "privileged (container \"c\" must not set securityContext.privileged=true)",
    );
    one(
        containers(json!({ "capabilities": { "add": ["CHOWN", "NET_RAW", "SYS_ADMIN"] } })),
        "non-default capabilities (container \"c\" must not include \"NET_RAW\", \"SYS_ADMIN\" in securityContext.capabilities.add)",
    );
    one(
        json!({ "containers": [{ "name": "a", "ports": [{ "hostPort": 80 }] }, { "name": "b", "ports": [{ "hostPort": 81 }] }] }),
        "hostPort (containers \"a\", \"b\" use hostPorts 80, 81)",
    );
    one(
        containers(json!({ "procMount": "Unmasked" })),
        "procMount (container \"c\" must not set securityContext.procMount to \"Unmasked\")",
    );
    one(
        json!({ "securityContext": { "seccompProfile": { "type": "Unconfined" } }, "containers": [
            { "name": "c", "securityContext": { "seccompProfile": { "type": "Unconfined" } } }] }),
        "seccompProfile (pod and container \"c\" must not set securityContext.seccompProfile.type to \"Unconfined\")",
    );
    one(
        json!({ "securityContext": { "sysctls": [{ "name": "kernel.msgmax" }, { "name": "net.ipv4.tcp_rmem" }] } }),
        "forbidden sysctls (kernel.msgmax)",
    );
    one(
        json!({ "securityContext": { "seLinuxOptions": { "type": "x", "user": "u" } } }),
        "seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type \"x\"; user may not be set)",
    );
    one(
        json!({ "containers": [{ "name": "c", "livenessProbe": { "httpGet": { "host": "h" } } }] }),
        "probe or lifecycle host (container \"c\" uses probe or lifecycle host \"h\")",
    );
    one(
        json!({ "securityContext": { "appArmorProfile": { "type": "Unconfined" } } }),
        "forbidden AppArmor profile (pod must not set AppArmor profile type to \"Unconfined\")",
    );
    one(
        containers(json!({ "windowsOptions": { "hostProcess": true } })),
        "hostProcess (container \"c\" must not set securityContext.windowsOptions.hostProcess=true)",
    );
    // Later versions allow more sysctls, and check more fields.
    let sysctl = pod(json!({ "securityContext": { "sysctls": [{ "name": "net.ipv4.tcp_rmem" }] } }));
    check(at(Level::Baseline, 31), &sysctl, "forbidden sysctls (net.ipv4.tcp_rmem)");
    let probe = pod(json!({ "containers": [{ "name": "c", "livenessProbe": { "httpGet": { "host": "h" } } }] }));
    check(at(Level::Baseline, 33), &probe, "");
}

#[test]
fn restricted_rules() {
    let with = |change: &dyn Fn(&mut Value), want: &str| {
        let mut pod = good();
        change(&mut pod["spec"]);
        check(latest(Level::Restricted), &pod, want);
    };
    with(
        &|spec| spec["volumes"] = json!([{ "name": "a", "hostPath": {} }, { "name": "b", "emptyDir": {} }]),
        "restricted volume types (volume \"a\" uses restricted volume type \"hostPath\")",
    );
    with(&|spec| spec["securityContext"]["runAsUser"] = json!(0), "runAsUser=0 (pod must not set runAsUser=0)");
    with(
        &|spec| spec["containers"][0]["securityContext"]["runAsNonRoot"] = json!(false),
        "runAsNonRoot != true (container \"c\" must not set securityContext.runAsNonRoot=false)",
    );
    with(
        &|spec| spec["containers"][0]["securityContext"]["capabilities"]["add"] = json!(["CHOWN", "NET_BIND_SERVICE"]),
        "unrestricted capabilities (container \"c\" must not include \"CHOWN\" in securityContext.capabilities.add)",
    );
    // A pod with a user namespace may be root in it.
    let mut rootless = good();
    rootless["spec"]["hostUsers"] = json!(false);
    rootless["spec"]["securityContext"]["runAsNonRoot"] = json!(false);
    check(latest(Level::Restricted), &rootless, "");
    check(
        at(Level::Restricted, 34),
        &rootless,
        "runAsNonRoot != true (pod must not set securityContext.runAsNonRoot=false)",
    );
    let mut windows = pod(json!({ "os": { "name": "windows" }, "securityContext": { "runAsNonRoot": true },
        "containers": [{ "name": "c" }] }));
    check(latest(Level::Restricted), &windows, "");
    windows["spec"]["os"]["name"] = json!("linux");
    assert_eq!(evaluate(latest(Level::Restricted), &windows).len(), 3);
}

#[test]
fn labels_become_a_policy() {
    let of = |labels: Value| {
        let labels: Value = labels
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| (format!("pod-security.kubernetes.io/{name}"), value.clone()))
            .collect();
        let (policy, errors) = policy(&labels);
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        (policy.enforce.to_string(), policy.warn.to_string(), errors)
    };
    let is = |labels: Value, enforce: &str, warn: &str| {
        assert_eq!(of(labels), (enforce.to_owned(), warn.to_owned(), Vec::new()));
    };
    is(json!({}), "privileged:latest", "privileged:latest");
    is(json!({ "enforce": "baseline" }), "baseline:latest", "baseline:latest");
    is(json!({ "enforce": "baseline", "enforce-version": "v1.30" }), "baseline:v1.30", "baseline:v1.30");
    is(json!({ "enforce": "baseline", "warn": "restricted" }), "baseline:latest", "restricted:latest");
    is(json!({ "warn": "restricted", "warn-version": "v1.9" }), "privileged:latest", "restricted:v1.9");
    let (enforce, warn, errors) = of(json!({ "enforce": "strict", "warn-version": "1.9" }));
    assert_eq!((enforce.as_str(), warn.as_str()), ("restricted:latest", "privileged:latest"));
    assert_eq!(
        errors,
        [
            "metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"strict\": must be one of privileged, baseline, restricted",
            "metadata.labels[pod-security.kubernetes.io/warn-version]: Invalid value: \"1.9\": must be \"latest\" or \"v1.x\""
        ]
    );
}
