//! Messages about the fields of Services.

use super::{check, errors};
use serde_json::{Value, json};

/// Checks that the stage's Service with these fields gets exactly this error.
#[track_caller]
fn stage(service: Value, expected: &str) {
    check(&format!("spec.stages[active].service.{expected}"), |s| s["stages"][1]["service"] = service);
}

/// Checks the same for the Service of tier `backend`.
#[track_caller]
fn tier(service: Value, expected: &str) {
    check(&format!("spec.tiers[backend].service.{expected}"), |s| s["tiers"][0]["service"] = service);
}

#[test]
fn fields_that_go_together_are_fine() {
    let services = [
        json!({ "type": "NodePort", "externalTrafficPolicy": "Local" }),
        json!({ "clusterIP": "None", "type": "ClusterIP", "publishNotReadyAddresses": true }),
        json!({
            "type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 30500,
            "loadBalancerClass": "example.com/lb", "loadBalancerSourceRanges": ["10.0.0.0/8", "2001:db8::/32", " 0.0.0.0/0"],
            "allocateLoadBalancerNodePorts": false, "trafficDistribution": "PreferSameNode",
            "sessionAffinity": "ClientIP", "sessionAffinityConfig": { "clientIP": { "timeoutSeconds": 86400 } },
            "ipFamilyPolicy": "PreferDualStack", "ipFamilies": ["IPv6", "IPv4"], "internalTrafficPolicy": "Local",
            "labels": { "team": "shop", "example.com/empty": "" }, "annotations": { "example.com/any": "text, of any kind\n" },
        }),
    ];
    for service in services {
        assert_eq!(errors(|s| s["stages"][1]["service"] = service.clone()), [""; 0], "{service}");
    }
    let inner = json!({
        "clusterIP": "None", "sessionAffinity": "ClientIP", "internalTrafficPolicy": "Cluster", "labels": { "a": "b" },
        "trafficDistribution": "PreferClose", "ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"], "annotations": { "a": "b" },
    });
    assert_eq!(errors(|s| s["tiers"][0]["service"] = inner), [""; 0]);
}

#[test]
fn fields_of_stages() {
    stage(
        json!({ "externalTrafficPolicy": "Local" }),
        "externalTrafficPolicy: is only possible for type NodePort or LoadBalancer: set service.type",
    );
    stage(
        json!({ "type": "NodePort", "externalTrafficPolicy": "local" }),
        "externalTrafficPolicy: `local` is not supported: use Cluster or Local",
    );
    for (field, value) in [
        ("loadBalancerClass", json!("a/b")),
        ("loadBalancerSourceRanges", json!(["10.0.0.0/8"])),
        ("allocateLoadBalancerNodePorts", json!(false)),
    ] {
        let expected = format!("{field}: is only possible for type LoadBalancer: set service.type");
        stage(json!({ "type": "NodePort", field: value }), &expected);
    }
    stage(
        json!({ "type": "LoadBalancer", "loadBalancerClass": "a b" }),
        "loadBalancerClass: `a b` is no class of load balancers: use a name such as `example.com/internal`",
    );
    for range in ["10.0.0.0", "10.0.0.0/33", "10.0.0/8", "x/8", "10.0.0.0/+8", "10.0.0.0/", "::/129"] {
        let expected =
            format!("loadBalancerSourceRanges[1]: `{range}` is no range of addresses: use one such as `10.0.0.0/8`");
        stage(json!({ "type": "LoadBalancer", "loadBalancerSourceRanges": ["10.0.0.0/8", range] }), &expected);
    }
    for service in [
        json!({ "type": "LoadBalancer", "healthCheckNodePort": 30500 }),
        json!({ "type": "NodePort", "externalTrafficPolicy": "Local", "healthCheckNodePort": 30500 }),
    ] {
        stage(
            service,
            "healthCheckNodePort: is only possible for type LoadBalancer with externalTrafficPolicy: Local: set both",
        );
    }
    stage(
        json!({ "type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 0 }),
        "healthCheckNodePort: 0 is no port number: use 1 to 65535",
    );
    for kind in ["NodePort", "LoadBalancer"] {
        let expected = format!(
            "clusterIP: a Service of type {kind} cannot be headless: remove this field, or set type: ClusterIP"
        );
        stage(json!({ "type": kind, "clusterIP": "None" }), &expected);
    }
}

/// The Services of stages and of tiers have the same rules for the fields that both have.
#[test]
fn fields_of_both() {
    for check in [stage, tier] as [fn(Value, &str); 2] {
        check(
            json!({ "clusterIP": "10.1.2.3" }),
            "clusterIP: `10.1.2.3` is not supported: use None for a headless Service, or remove this field",
        );
        check(
            json!({ "sessionAffinity": "Cookie" }),
            "sessionAffinity: `Cookie` is not supported: use ClientIP or None",
        );
        check(
            json!({ "sessionAffinityConfig": { "clientIP": { "timeoutSeconds": 60 } } }),
            "sessionAffinityConfig: is only possible with sessionAffinity: ClientIP: set service.sessionAffinity",
        );
        for seconds in [-1, 0, 86_401] {
            let expected = format!(
                "sessionAffinityConfig.clientIP.timeoutSeconds: {seconds} is not possible: use 1 to 86400, which is a day"
            );
            let config = json!({ "clientIP": { "timeoutSeconds": seconds } });
            check(json!({ "sessionAffinity": "ClientIP", "sessionAffinityConfig": config }), &expected);
        }
        check(
            json!({ "internalTrafficPolicy": "Nearby" }),
            "internalTrafficPolicy: `Nearby` is not supported: use Cluster or Local",
        );
        check(
            json!({ "trafficDistribution": "Close" }),
            "trafficDistribution: `Close` is not supported: use PreferClose, PreferSameZone or PreferSameNode",
        );
        check(
            json!({ "ipFamilyPolicy": "DualStack" }),
            "ipFamilyPolicy: `DualStack` is not supported: use SingleStack, PreferDualStack or RequireDualStack",
        );
        check(json!({ "ipFamilies": ["ipv4"] }), "ipFamilies[0]: `ipv4` is not supported: use IPv4 or IPv6");
        check(
            json!({ "ipFamilyPolicy": "PreferDualStack", "ipFamilies": ["IPv4", "IPv4"] }),
            "ipFamilies[1]: `IPv4` is there twice: name each family once",
        );
        for policy in [json!(null), json!("SingleStack")] {
            check(
                json!({ "ipFamilyPolicy": policy, "ipFamilies": ["IPv4", "IPv6"] }),
                "ipFamilies: names two families: set service.ipFamilyPolicy to PreferDualStack or RequireDualStack",
            );
        }
    }
}

#[test]
fn labels_and_annotations() {
    for check in [stage, tier] as [fn(Value, &str); 2] {
        for key in ["rainbow.dev/stage", "member.rainbow.dev/active", "app.kubernetes.io/managed-by"] {
            for field in ["labels", "annotations"] {
                check(json!({ field: { key: "x" } }), &format!("{field}[{key}]: is set by Rainbow itself: remove it"));
            }
        }
        let no_key = "`a b` is no key: use a name of at most 63 letters, digits, `-`, `_` and `.`, after a domain and `/` if you like";
        for field in ["labels", "annotations"] {
            check(json!({ field: { "a b": "x" } }), &format!("{field}[a b]: {no_key}"));
        }
        check(
            json!({ "labels": { "team": "the shop" } }),
            "labels[team]: `the shop` is no label value: use at most 63 letters, digits, `-`, `_` and `.`, beginning and ending with a letter or a digit",
        );
    }
}

#[test]
fn a_tier_without_ports_has_no_service() {
    check(
        "spec.tiers[worker].service: is about no Service, since the tier has no ports: name the ports that it is reached on",
        |s| {
            let worker = json!({
                "name": "worker", "service": { "sessionAffinity": "ClientIP" },
                "template": { "spec": { "containers": [{ "name": "w", "image": "w:1" }] } },
            });
            s["tiers"].as_array_mut().unwrap().push(worker);
            for stage in s["stages"].as_array_mut().unwrap() {
                stage["tier"] = json!("frontend");
            }
        },
    );
}
