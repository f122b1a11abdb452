//! Rules that are written twice: as CEL in the definition of a `Rainbow`, for API servers, and in Rust, for the operator and the command line.
//! One table feeds both, and has a case for each rule.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use pocket_object::structural::Schema;
use rainbow_api::{GateTemplateSpec, crds, read_spec, validate, validate_template};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Message of a CEL rule, and a spec that breaks no other rule.
fn cases() -> Vec<(&'static str, Value)> {
    let tier = |name: &str| {
        json!({
            "name": name, "ports": [{ "name": "http", "port": 80 }],
            "template": { "spec": { "containers": [{ "name": "web", "image": "web:v1" }] } },
        })
    };
    let with = |mut base: Value, fields: Value| {
        for (field, value) in fields.as_object().unwrap() {
            base[field] = value.clone();
        }
        base
    };
    let spec = |fields: Value| with(json!({ "tiers": [tier("web")] }), fields);
    let tiers = |fields: Value| json!({ "tiers": [with(tier("web"), fields)] });
    let stage = |fields: Value| spec(json!({ "stages": [with(json!({ "name": "active" }), fields)] }));
    let gate = |fields: Value| spec(json!({ "gates": [with(json!({ "name": "errors" }), fields)] }));
    let web = |fields: Value| json!({ "web": with(json!({ "url": "http://web" }), fields) });
    let key = |name: &str| json!({ "secretKeyRef": { "name": name, "key": "token" } });
    let basic = |password: Value| json!({ "username": "ann", "password": password });
    let during = |shift: Value| {
        let mut stage = json!({ "name": "active", "gates": { "during": ["errors"] } });
        if !shift.is_null() {
            stage["shift"] = shift;
        }
        json!({ "stages": [stage] })
    };
    let service = |fields: Value| stage(json!({ "service": fields }));
    vec![
        ("tiers[].needs[].tier: names a tier", tiers(json!({ "needs": [{ "tier": "db", "env": "DB" }] }))),
        ("stages[].tier: names a tier", stage(json!({ "tier": "db" }))),
        ("stages[].tier: required", json!({ "tiers": [tier("web"), tier("db")], "stages": [{ "name": "active" }] })),
        ("drain.http: required", spec(json!({ "drain": { "connections": "Http" } }))),
        ("drain.http: required", with(tiers(json!({ "connections": "Http" })), json!({ "drain": {} }))),
        (
            "drain.http: set, but",
            spec(json!({ "drain": { "connections": "None", "http": { "port": 80, "path": "/c", "field": "n" } } })),
        ),
        ("drain.ignore: each entry", spec(json!({ "drain": { "ignore": [{}] } }))),
        (
            "drain.ignore: each entry",
            spec(json!({ "drain": { "ignore": [{ "ipBlock": { "cidr": "10.0.0.0/8" }, "podSelector": {} }] } })),
        ),
        ("needs: a tier cannot need itself", tiers(json!({ "needs": [{ "tier": "web", "env": "WEB" }] }))),
        ("autoscale: set, but scaling", tiers(json!({ "scaling": "External", "autoscale": { "maxReplicas": 3 } }))),
        ("autoscale.minReplicas: more than", tiers(json!({ "autoscale": { "minReplicas": 4, "maxReplicas": 3 } }))),
        ("shift: set one of flip", stage(json!({ "shift": { "flip": {}, "rolling": { "every": "1s" } } }))),
        ("shift: set one of flip", stage(json!({ "shift": { "flip": {}, "steps": [{ "pods": 1 }] } }))),
        ("shift.steps[]: set exactly one", stage(json!({ "shift": { "steps": [{}] } }))),
        ("shift.steps[]: set exactly one", stage(json!({ "shift": { "steps": [{ "pods": 1, "percent": 20 }] } }))),
        ("gates.during: a flip", with(gate(web(json!({}))), during(json!(null)))),
        ("gates.during: a flip", with(gate(web(json!({}))), during(json!({ "flip": {} })))),
        ("gates[]: set exactly one", gate(json!({}))),
        ("gates[]: set exactly one", gate(json!({ "manual": {}, "traffic": {} }))),
        ("gates[]: set exactly one", gate(json!({ "manual": {}, "template": { "name": "shared" } }))),
        (
            "set bearer or basic",
            gate(web(json!({ "authentication": { "bearer": key("a"), "basic": basic(key("b")) } }))),
        ),
        ("set either secretKeyRef", gate(web(json!({ "authentication": { "bearer": {} } })))),
        ("set either secretKeyRef", gate(web(json!({ "authentication": { "basic": basic(json!({})) } })))),
        ("set either secretKeyRef", gate(web(json!({ "tls": { "ca": {} } })))),
        ("set either secretKeyRef", gate(web(json!({ "headers": [{ "name": "X", "valueFrom": {} }] })))),
        (
            "set either secretKeyRef",
            gate(json!({ "template": { "name": "shared", "args": [{ "name": "x", "valueFrom": {} }] } })),
        ),
        ("service.externalTrafficPolicy: only", service(json!({ "externalTrafficPolicy": "Local" }))),
        ("service.loadBalancerClass,", service(json!({ "type": "NodePort", "loadBalancerClass": "example.com/fast" }))),
        ("service.loadBalancerClass,", service(json!({ "loadBalancerSourceRanges": ["10.0.0.0/8"] }))),
        ("service.loadBalancerClass,", service(json!({ "allocateLoadBalancerNodePorts": false }))),
        ("service.healthCheckNodePort: only", service(json!({ "type": "LoadBalancer", "healthCheckNodePort": 31000 }))),
        ("service.clusterIP: None is only", service(json!({ "type": "NodePort", "clusterIP": "None" }))),
        (
            "service.sessionAffinityConfig: only",
            service(json!({ "sessionAffinityConfig": { "clientIP": { "timeoutSeconds": 60 } } })),
        ),
        (
            "service.sessionAffinityConfig: only",
            tiers(json!({ "service": { "sessionAffinityConfig": { "clientIP": { "timeoutSeconds": 60 } } } })),
        ),
        ("service.ipFamilies: two families", service(json!({ "ipFamilies": ["IPv4", "IPv6"] }))),
        ("service.ipFamilies: two families", tiers(json!({ "service": { "ipFamilies": ["IPv4", "IPv6"] } }))),
    ]
}

/// Returns the schema of a kind, by its place among the definitions.
fn schema(index: usize) -> Value {
    let definition = serde_json::to_value(&crds()[index]).unwrap();
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

/// Messages of all CEL rules of the spec.
fn messages(schema: &Value, found: &mut BTreeSet<String>) {
    match schema {
        Value::Object(fields) => {
            let rules = fields.get("x-kubernetes-validations").and_then(Value::as_array);
            found
                .extend(rules.into_iter().flatten().filter_map(|rule| rule["message"].as_str()).map(ToOwned::to_owned));
            fields.values().for_each(|value| messages(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| messages(value, found)),
        _ => {}
    }
}

#[test]
fn rules_in_cel_and_in_rust_agree() {
    let schema = schema(0);
    let compiled = Schema::parse(&schema).unwrap();
    let mut untried = BTreeSet::new();
    messages(&schema["properties"]["spec"], &mut untried);
    assert!(untried.len() > 10, "{untried:?}");
    for (message, spec) in cases() {
        let mut object = json!({
            "apiVersion": "rainbow.dev/v1alpha1", "kind": "Rainbow", "metadata": { "name": "shop" }, "spec": spec,
        });
        compiled.default(&mut object);
        let found = compiled.validate(&object, None);
        let texts: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert!(texts.iter().all(|text| text.contains(message)) && !texts.is_empty(), "CEL, {spec}: {texts:?}");
        let (read, mut errors) = read_spec(&spec);
        errors.extend(validate(&read));
        assert!(!errors.is_empty(), "Rust lets pass what CEL refuses: {message}: {spec}");
        untried.retain(|rule| !rule.starts_with(message));
    }
    assert!(untried.is_empty(), "rules without a case: {untried:?}");
}

#[test]
fn rules_of_a_template_in_cel_and_in_rust_agree() {
    let compiled = Schema::parse(&schema(3)).unwrap();
    let manual = json!({ "manual": {} });
    for (expected, spec) in [
        (None, manual),
        (Some("spec: set exactly one"), json!({})),
        (Some("spec: set exactly one"), json!({ "manual": {}, "traffic": {} })),
        (Some("set either secretKeyRef"), json!({ "manual": {}, "args": [{ "name": "x", "valueFrom": {} }] })),
    ] {
        let object = json!({
            "apiVersion": "rainbow.dev/v1alpha1", "kind": "GateTemplate", "metadata": { "name": "shared" }, "spec": spec,
        });
        let found: Vec<String> = compiled.validate(&object, None).iter().map(ToString::to_string).collect();
        let read: GateTemplateSpec = serde_json::from_value(spec.clone()).unwrap();
        let is_refused = !validate_template(&read).is_empty();
        assert_eq!((found.is_empty(), is_refused), (expected.is_none(), expected.is_some()), "{spec}: {found:?}");
        assert!(found.iter().all(|text| text.contains(expected.unwrap_or_default())), "{spec}: {found:?}");
    }
}
