use super::*;
use crate::{drift, live::PodLabels};
use rainbow_api::{Color, Rainbow, Sidecar};
use rainbow_plan::{InstanceName, Mark, Selection, Time};
use std::collections::BTreeMap;

fn scope() -> Scope<'static> {
    Scope { namespace: "default", rainbow: "shop", prefix: Some("s-") }
}

fn rainbow() -> Rainbow {
    serde_json::from_value(json!({
        "apiVersion": "rainbow.dev/v1alpha1", "kind": "Rainbow",
        "metadata": { "name": "shop", "namespace": "default", "uid": "root" },
        "spec": {
            "color": "v1", "namePrefix": "s-",
            "tiers": [
                { "name": "backend", "ports": [{ "name": "http", "port": 80, "targetPort": 8080 }],
                  "template": { "spec": { "containers": [{ "name": "b", "image": "b:1" }] } } },
                { "name": "frontend", "needs": [{ "tier": "backend" }],
                  "ports": [{ "name": "http", "port": 80, "targetPort": 8080 }, { "name": "metrics", "port": 90, "protocol": "UDP" }],
                  "template": { "metadata": { "labels": { "app": "x" } }, "spec": {
                      "containers": [{ "name": "f", "image": "f:1", "env": [{ "name": "URL", "value": "http://$(BACKEND)" }] }],
                      "initContainers": [{ "name": "i", "image": "i:1" }], "futureField": 1 } } },
            ],
            "stages": [{ "name": "active", "service": { "type": "NodePort", "annotations": { "a": "b" },
                         "ports": [{ "name": "http", "port": 8000, "nodePort": 30001 }] } }],
        },
    }))
    .unwrap()
}

fn name(tier: &str) -> InstanceName {
    InstanceName { tier: tier.into(), color: "v1".into() }
}

fn v1() -> Color {
    let instances = [("backend".to_owned(), name("backend")), ("frontend".to_owned(), name("frontend"))];
    let mut object = color(&scope(), &rainbow(), "v1", 1, &instances, |_, _| None);
    object["metadata"]["uid"] = json!("c1");
    serde_json::from_value(object).unwrap()
}

#[test]
fn a_color_is_a_snapshot() {
    let color = v1();
    assert_eq!(color.spec.tiers, rainbow().spec.tiers);
    assert_eq!(color.metadata.name.as_deref(), Some("shop-v1"));
    assert_eq!(color.metadata.finalizers.as_deref(), Some([labels::FINALIZER.to_owned()].as_slice()));
    assert_eq!(color.metadata.owner_references.unwrap()[0].uid, "root");
    assert!(color.spec.instances.iter().all(|instance| instance.identity.len() == 20));
}

#[test]
fn a_deployment_carries_labels_and_addresses() {
    let color = v1();
    let object = deployment(&scope(), &rainbow(), &color, &color.spec.tiers[1], &name("frontend"), 5);
    assert_eq!(object["metadata"]["name"], "s-frontend-v1");
    assert_eq!(object["spec"]["replicas"], 5);
    let selector = &object["spec"]["selector"]["matchLabels"];
    assert_eq!(
        *selector,
        json!({ "rainbow.dev/rainbow": "shop", "rainbow.dev/tier": "frontend", "rainbow.dev/color": "v1" })
    );
    let template = &object["spec"]["template"];
    for (key, value) in selector.as_object().unwrap() {
        assert_eq!(template["metadata"]["labels"][key], *value);
    }
    assert_eq!(template["metadata"]["labels"]["app"], "x");
    // The address comes first: the container's own variable refers to it.
    assert_eq!(
        template["spec"]["containers"][0]["env"],
        json!([{ "name": "BACKEND", "value": "s-backend-v1" }, { "name": "URL", "value": "http://$(BACKEND)" }])
    );
    assert_eq!(template["spec"]["initContainers"][0]["env"], json!([{ "name": "BACKEND", "value": "s-backend-v1" }]));
    assert_eq!(template["spec"]["futureField"], 1, "what this version does not know is handed on");
}

#[test]
fn a_tier_without_needs_keeps_its_template() {
    let color = v1();
    let object = deployment(&scope(), &rainbow(), &color, &color.spec.tiers[0], &name("backend"), 1);
    assert_eq!(object["spec"]["template"]["spec"], color.spec.tiers[0].template["spec"]);
}

#[test]
fn services_spell_their_ports_out() {
    let color = v1();
    let inner = service(&scope(), &rainbow(), &color.spec.tiers[0], &name("backend"));
    assert_eq!(inner["metadata"]["name"], "s-backend-v1");
    assert_eq!(inner["spec"]["ports"], json!([{ "name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP" }]));
    let rainbow = rainbow();
    let outer = stage(&scope(), &rainbow, &rainbow.spec.stages[0]).unwrap();
    assert_eq!(outer["metadata"]["name"], "s-frontend-active");
    assert_eq!(
        outer["spec"]["ports"],
        json!([
            { "name": "http", "port": 8000, "targetPort": 8080, "protocol": "TCP", "nodePort": 30001 },
            { "name": "metrics", "port": 90, "targetPort": 90, "protocol": "UDP" },
        ])
    );
}

#[test]
fn a_selection_is_read_back() {
    let rainbow = rainbow();
    for wanted in [Selection::Instance(name("frontend")), Selection::Members] {
        let mut object = stage(&scope(), &rainbow, &rainbow.spec.stages[0]).unwrap();
        let plain = drift::hash(&object);
        select(&scope(), "active", &mut object, &wanted);
        assert_eq!(drift::hash(&object), plain, "the selector is looked at separately");
        let selector = serde_json::from_value(object["spec"]["selector"].clone()).unwrap();
        assert_eq!(selection("shop", "active", &selector), wanted);
        assert_eq!(selection("shop", "smoke", &selector) == wanted, wanted != Selection::Members);
        assert_eq!(selection("other", "active", &selector), Selection::Other);
    }
    assert_eq!(selection("shop", "active", &BTreeMap::new()), Selection::Other);
}

#[test]
fn only_what_changes_is_said_of_a_pod() {
    let before = PodLabels {
        member: [("active".to_owned(), Some(Time(1500))), ("smoke".to_owned(), None)].into(),
        mark: Mark::Held,
    };
    let mut after = before.clone();
    after.member.insert("next".into(), Some(Time(2000)));
    assert_eq!(
        relabel("u", &before, &after)["metadata"],
        json!({
            "uid": "u", "labels": { "member.rainbow.dev/next": "yes" },
            "annotations": { "joined.rainbow.dev/next": "1970-01-01T00:00:02Z" },
        })
    );
    let mut after = before.clone();
    after.member.remove("active");
    assert_eq!(
        relabel("u", &before, &after)["metadata"],
        json!({
            "uid": "u", "labels": { "member.rainbow.dev/active": null },
            "annotations": { "joined.rainbow.dev/active": null },
        })
    );
    assert_eq!(relabel("u", &before, &before)["metadata"], json!({ "uid": "u", "labels": {}, "annotations": {} }));
}

#[test]
fn marks_are_read_back() {
    let none = PodLabels::default();
    for mark in [Mark::None, Mark::Held, Mark::Leaving] {
        let said = PodLabels { member: [("active".to_owned(), Some(Time(1500)))].into(), mark };
        let seen = crate::live::Pod::of(&serde_json::from_value(relabel("u", &none, &said)).unwrap());
        assert_eq!(seen.said, said);
    }
    let held = relabel("u", &none, &PodLabels { mark: Mark::Held, ..PodLabels::default() });
    assert_eq!(held["metadata"]["labels"], json!({ "rainbow.dev/holding": "yes" }));
    assert_eq!(
        held["metadata"]["annotations"],
        json!({ "cluster-autoscaler.kubernetes.io/safe-to-evict": "false", "karpenter.sh/do-not-disrupt": "true" })
    );
    let guarded = &guard(&scope(), &rainbow())["spec"]["selector"]["matchLabels"];
    assert_eq!(*guarded, json!({ "rainbow.dev/rainbow": "shop", "rainbow.dev/holding": "yes" }));
}

fn tally(native: bool) -> Sidecar {
    Sidecar { image: "tally:1".into(), native }
}

#[test]
fn the_counter_is_put_where_it_was_recorded() {
    let instances = [("backend".to_owned(), name("backend")), ("frontend".to_owned(), name("frontend"))];
    let counted = |tier: &rainbow_api::Tier, _: &InstanceName| (tier.name == "frontend").then(|| tally(true));
    let object = color(&scope(), &rainbow(), "v1", 1, &instances, counted);
    let color: Color = serde_json::from_value(object).unwrap();
    assert_eq!(color.spec.instances[0].sidecar, None);
    assert_eq!(color.spec.tiers, rainbow().spec.tiers, "what the user wrote stays as it is");
    let backend = deployment(&scope(), &rainbow(), &color, &color.spec.tiers[0], &name("backend"), 1);
    assert_eq!(backend["spec"]["template"]["spec"], color.spec.tiers[0].template["spec"]);
    let frontend = deployment(&scope(), &rainbow(), &color, &color.spec.tiers[1], &name("frontend"), 1);
    let spec = &frontend["spec"]["template"]["spec"];
    assert_eq!(spec["initContainers"][0]["name"], "rainbow-tally");
    let addresses = json!([{ "name": "BACKEND", "value": "s-backend-v1" }]);
    assert_eq!(spec["initContainers"][1]["env"], addresses);
    let env: Vec<_> = spec["initContainers"][0]["env"].as_array().unwrap().iter().map(|v| &v["name"]).collect();
    assert_eq!(env, ["TALLY_PORTS", "TALLY_NODE", "TALLY_PROBE_SECONDS"], "it needs nobody's address");
}

/// Names that YAML takes for numbers are texts everywhere.
#[test]
fn a_color_may_look_like_a_number() {
    for number in ["123456", "123e45", "000000", "1e1000"] {
        let instance = |tier: &str| InstanceName { tier: tier.into(), color: number.into() };
        let instances = [("backend".to_owned(), instance("backend")), ("frontend".to_owned(), instance("frontend"))];
        let object = color(&scope(), &rainbow(), number, 1, &instances, |_, _| None);
        let color: Color = serde_saphyr::from_str(&serde_saphyr::to_string(&object).unwrap()).unwrap();
        assert_eq!(color.spec.color, number);
        let object = deployment(&scope(), &rainbow(), &color, &color.spec.tiers[1], &instance("frontend"), 1);
        let back: serde_json::Value = serde_saphyr::from_str(&serde_saphyr::to_string(&object).unwrap()).unwrap();
        assert_eq!(back, object);
        assert_eq!(back["spec"]["selector"]["matchLabels"]["rainbow.dev/color"], json!(number));
        let env = &back["spec"]["template"]["spec"]["containers"][0]["env"][0];
        assert_eq!(*env, json!({ "name": "BACKEND", "value": format!("s-backend-{number}") }));
    }
}
