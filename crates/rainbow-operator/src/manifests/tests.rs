use super::*;
use crate::{
    drift::Fingerprint,
    live::{Live, Object, PodLabels},
};
use rainbow_api::{Color, Rainbow, ServiceLinks, Sidecar, TerminationMessages};
use rainbow_plan::{InstanceName, Mark, Place, Selection, Time};
use std::{collections::BTreeMap, sync::LazyLock};

fn scope() -> Scope<'static> {
    static NONE: LazyLock<Templates> = LazyLock::new(Templates::default);
    Scope { namespace: "default", rainbow: "shop", prefix: Some("s-"), templates: &NONE }
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

const NEW: PodAdditions = PodAdditions {
    sidecar: None,
    serving_label: true,
    service_links: ServiceLinks::Off,
    termination_messages: TerminationMessages::Logs,
};

fn name(tier: &str) -> InstanceName {
    InstanceName::shared(tier, "v1")
}

/// Returns a new color of the tiers of `rainbow()`.
fn made_of(
    name: &str,
    instances: &[(String, InstanceName)],
    made: impl Fn(&rainbow_api::Tier, &InstanceName) -> PodAdditions,
) -> serde_json::Value {
    let version = rainbow_api::Version::of(&rainbow().spec);
    let (entries, version) = (&BTreeMap::new(), Some(&version));
    color(&scope(), &rainbow(), &NewColor { name, revision: 1, instances, entries, version, config: &[] }, made)
}

fn v1() -> Color {
    let instances = [("backend".to_owned(), name("backend")), ("frontend".to_owned(), name("frontend"))];
    let mut object = made_of("v1", &instances, |_, _| NEW);
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
    // The address comes first, since the container's own variable refers to it.
    assert_eq!(
        template["spec"]["containers"][0]["env"],
        json!([{ "name": "BACKEND", "value": "s-backend-v1" }, { "name": "URL", "value": "http://$(BACKEND)" }])
    );
    assert_eq!(template["spec"]["initContainers"][0]["env"], json!([{ "name": "BACKEND", "value": "s-backend-v1" }]));
    assert_eq!(template["spec"]["futureField"], 1, "what this version does not know is handed on");
}

#[test]
fn an_address_has_the_port_that_is_asked_for() {
    let mut color = v1();
    color.spec.tiers[1].needs[0].port = Some("http".into());
    let object = deployment(&scope(), &rainbow(), &color, &color.spec.tiers[1], &name("frontend"), 5);
    let env = &object["spec"]["template"]["spec"]["containers"][0]["env"];
    assert_eq!(env[0], json!({ "name": "BACKEND", "value": "s-backend-v1:80" }));
}

#[test]
fn a_tier_without_needs_keeps_its_template() {
    let color = v1();
    let object = deployment(&scope(), &rainbow(), &color, &color.spec.tiers[0], &name("backend"), 1);
    let mut expected = color.spec.tiers[0].template["spec"].clone();
    expected["enableServiceLinks"] = json!(false);
    expected["containers"][0]["terminationMessagePolicy"] = json!("FallbackToLogsOnError");
    assert_eq!(object["spec"]["template"]["spec"], expected);
}

#[test]
fn services_spell_their_ports_out() {
    let color = v1();
    let inner = service(&scope(), &rainbow(), &color.spec.tiers[0], &name("backend"), true);
    assert_eq!(inner["metadata"]["name"], "s-backend-v1");
    assert_eq!(inner["spec"]["ports"], json!([{ "name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP" }]));
    let rainbow = rainbow();
    let outer = stage(&scope(), &rainbow, &rainbow.spec.stages[0], "s-frontend-active", &rainbow.spec.tiers[1]);
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
fn services_have_what_their_user_says() {
    let mut rainbow = rainbow();
    let labels = || json!({ "team": "x", labels::TIER: "mine" });
    let service = json!({
        "type": "LoadBalancer", "sessionAffinity": "ClientIP", "externalTrafficPolicy": "Local", "labels": labels(),
        "annotations": { "a": "b", labels::SERVES: "mine" }, "ports": [{ "name": "http", "port": 8000 }],
    });
    rainbow.spec.stages[0].service = serde_json::from_value(service).unwrap();
    let outer = stage(&scope(), &rainbow, &rainbow.spec.stages[0], "s-frontend-active", &rainbow.spec.tiers[1]);
    let fields: Vec<&str> = outer["spec"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(fields, ["externalTrafficPolicy", "ports", "sessionAffinity", "type"]);
    assert_eq!(outer["metadata"]["annotations"], json!({ "a": "b" }), "Rainbow's own are not their user's");
    assert_eq!(outer["metadata"]["labels"]["team"], "x");
    assert_eq!(outer["metadata"]["labels"][labels::TIER], "frontend");
    let service = json!({ "clusterIP": "None", "labels": labels(), "annotations": { "a": "b" } });
    rainbow.spec.tiers[0].service = serde_json::from_value(service).unwrap();
    let inner = super::service(&scope(), &rainbow, &rainbow.spec.tiers[0], &name("backend"), true);
    assert_eq!(inner["spec"]["clusterIP"], "None");
    assert_eq!(inner["metadata"]["annotations"], json!({ "a": "b" }));
    assert_eq!(
        (&inner["metadata"]["labels"]["team"], &inner["metadata"]["labels"][labels::TIER]),
        (&json!("x"), &json!("backend"))
    );
}

#[test]
fn a_shadow_selects_members_behind_the_ports_of_its_stage() {
    let rainbow = rainbow();
    let tier = &rainbow.spec.tiers[1];
    let families = ["IPv6".into(), "IPv4".into()];
    let made = shadow(&scope(), &rainbow, "active", "s-frontend-active-shadow", tier, &families);
    assert_eq!(
        made["spec"]["ipFamilies"],
        json!(["IPv6", "IPv4"]),
        "pods have the addresses that those of the stage have"
    );
    let own = stage(&scope(), &rainbow, &rainbow.spec.stages[0], "s-frontend-active", tier);
    let names = |service: &Value| -> Vec<Value> {
        let ports = service["spec"]["ports"].as_array().unwrap();
        ports.iter().map(|port| json!([port["name"], port["targetPort"], port["protocol"]])).collect()
    };
    assert_eq!(names(&made), names(&own));
    assert_eq!(made["spec"]["clusterIP"], "None");
    assert_eq!(made["metadata"]["ownerReferences"], own["metadata"]["ownerReferences"]);
    let fixed = made["spec"]["ports"].as_array().unwrap().iter().any(|port| port["nodePort"].is_i64());
    assert!(!fixed, "a headless Service has no node port");
    let found = found(&made, labels::MANAGED_BY, labels::MANAGER);
    assert_eq!((found.selects, &*found.members_of), (Selection::Members, "active"));
    assert_eq!((&*found.shadow_of, &*found.stage, &*found.tier), ("active", "", ""));
}

#[test]
fn a_selection_is_read_back() {
    let rainbow = rainbow();
    let object = || stage(&scope(), &rainbow, &rainbow.spec.stages[0], "s-frontend-active", &rainbow.spec.tiers[1]);
    let plain = Fingerprint::of(&object());
    let instance = Selection::Instance(name("frontend"));
    for (wanted, labeled) in [(instance.clone(), true), (instance, false), (Selection::Members, true)] {
        let mut object = object();
        select(&scope(), "active", &mut object, &wanted, |_| labeled);
        assert_eq!(Fingerprint::of(&object), plain, "the selector is looked at separately");
        assert_eq!(selects(&object, labels::STAGE, "active"), wanted);
        assert_eq!(selects(&object, labels::STAGE, "smoke"), wanted, "a stage that was renamed");
        let members_of = if wanted == Selection::Members { "active" } else { "" };
        assert_eq!(&*found(&object, labels::STAGE, "smoke").members_of, members_of);
        object["spec"]["selector"][labels::RAINBOW] = json!("other");
        assert_eq!(selects(&object, labels::STAGE, "active"), Selection::Other, "pods of another application");
    }
    assert_eq!(selects(&object(), labels::STAGE, "active"), Selection::Other, "there is no selector");
}

/// Returns what a Service with this label selects.
fn selects(object: &Value, label: &str, value: &str) -> Selection {
    found(object, label, value).selects
}

fn found(object: &Value, label: &str, value: &str) -> Box<crate::live::Service> {
    let mut object = object.clone();
    object["metadata"]["labels"][label] = json!(value);
    match Object::service(serde_json::from_value(object).unwrap()).live {
        Live::Service(service) => service,
        _ => panic!("another kind"),
    }
}

#[test]
fn only_what_changes_is_said_of_a_pod() {
    let before = PodLabels {
        member: [("active".to_owned(), Some(Time(1500))), ("smoke".to_owned(), None)].into(),
        mark: Mark::Held,
        place: Place::In,
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
    let none = PodLabels { place: Place::Out { since: None }, ..PodLabels::default() };
    let outside = Place::Out { since: Some(Time(2500)) };
    let marks = [Mark::None, Mark::Held, Mark::Leaving];
    for (mark, place) in marks.into_iter().flat_map(|mark| [(mark, Place::In), (mark, outside)]) {
        let said = PodLabels { member: [("active".to_owned(), Some(Time(1500)))].into(), mark, place };
        let seen = crate::live::Pod::of(&serde_json::from_value(relabel("u", &none, &said)).unwrap());
        assert_eq!(seen.said, said);
    }
    let held = relabel("u", &none, &PodLabels { mark: Mark::Held, ..none.clone() });
    assert_eq!(held["metadata"]["labels"], json!({ "rainbow.dev/holding": "yes" }));
    assert_eq!(
        held["metadata"]["annotations"],
        json!({ "cluster-autoscaler.kubernetes.io/safe-to-evict": "false", "karpenter.sh/do-not-disrupt": "true" })
    );
    let guarded = &guard(&scope(), &rainbow())["spec"]["selector"]["matchLabels"];
    assert_eq!(*guarded, json!({ "rainbow.dev/rainbow": "shop", "rainbow.dev/holding": "yes" }));
    let budget = stage_budget(&scope(), &rainbow(), "active", "active", 4);
    assert_eq!(
        budget["spec"],
        json!({
            "minAvailable": 4,
            "selector": { "matchLabels": { "rainbow.dev/rainbow": "shop", "member.rainbow.dev/active": "yes" } },
        })
    );
}

#[test]
fn a_pod_is_taken_out_and_put_back_by_a_label() {
    let (inside, outside) =
        (PodLabels::default(), PodLabels { place: Place::Out { since: Some(Time(2500)) }, ..PodLabels::default() });
    let since = "1970-01-01T00:00:02.5Z";
    assert_eq!(
        relabel("u", &inside, &outside)["metadata"],
        json!({ "uid": "u", "labels": { "rainbow.dev/serving": null }, "annotations": { "rainbow.dev/out-since": since } })
    );
    assert_eq!(
        relabel("u", &outside, &inside)["metadata"],
        json!({ "uid": "u", "labels": { "rainbow.dev/serving": "yes" }, "annotations": { "rainbow.dev/out-since": null } })
    );
    // Pods of an instance that an older version made.
    let older = PodLabels { place: Place::Out { since: None }, ..PodLabels::default() };
    let member = PodLabels { member: [("active".to_owned(), None)].into(), ..older.clone() };
    let joined = relabel("u", &older, &member);
    assert_eq!(joined["metadata"]["labels"], json!({ "member.rainbow.dev/active": "yes" }));
}

#[test]
fn services_ask_for_the_label_that_pods_carry() {
    let color = v1();
    let object = deployment(&scope(), &rainbow(), &color, &color.spec.tiers[1], &name("frontend"), 5);
    assert_eq!(object["spec"]["template"]["metadata"]["labels"]["rainbow.dev/serving"], "yes");
    assert!(object["spec"]["selector"]["matchLabels"]["rainbow.dev/serving"].is_null(), "a pod out keeps its place");
    for (labeled, expected) in [(true, json!("yes")), (false, json!(null))] {
        let inner = service(&scope(), &rainbow(), &color.spec.tiers[0], &name("backend"), labeled);
        assert_eq!(inner["spec"]["selector"]["rainbow.dev/serving"], expected);
        let mut outer = json!({});
        select(&scope(), "active", &mut outer, &Selection::Instance(name("frontend")), |_| labeled);
        assert_eq!(outer["spec"]["selector"]["rainbow.dev/serving"], expected);
    }
    // An instance that an older version made stays as it is.
    let mut color = color;
    color.spec.instances.iter_mut().for_each(|instance| instance.serving_label = false);
    let object = deployment(&scope(), &rainbow(), &color, &color.spec.tiers[1], &name("frontend"), 5);
    assert!(object["spec"]["template"]["metadata"]["labels"]["rainbow.dev/serving"].is_null());
}

#[test]
fn a_new_instance_has_defaults_where_its_template_is_silent() {
    let rendered = |color: &Color| {
        let object = deployment(&scope(), &rainbow(), color, &color.spec.tiers[1], &name("frontend"), 5);
        let spec = &object["spec"]["template"]["spec"];
        let policy = |list: &str| spec[list][0].get("terminationMessagePolicy").cloned();
        (spec.get("enableServiceLinks").cloned(), policy("containers"), policy("initContainers"))
    };
    let color = v1();
    let logs = Some(json!("FallbackToLogsOnError"));
    assert_eq!(rendered(&color), (Some(json!(false)), logs.clone(), logs.clone()));
    assert_eq!(color.spec.tiers, rainbow().spec.tiers, "what the user wrote stays as it is");
    let says = |links: serde_json::Value, policy: serde_json::Value| {
        let mut color = v1();
        let spec = &mut color.spec.tiers[1].template["spec"];
        spec["enableServiceLinks"] = links;
        spec["containers"][0]["terminationMessagePolicy"] = policy;
        rendered(&color)
    };
    let file = Some(json!("File"));
    assert_eq!(says(json!(true), json!("File")), (Some(json!(true)), file, logs.clone()));
    assert_eq!(says(json!(null), json!(null)), (Some(json!(false)), logs.clone(), logs));
    // A color that an older version made has no such fields, and is rendered as before.
    let mut older = json!(color);
    for instance in older["spec"]["instances"].as_array_mut().unwrap() {
        for field in ["serviceLinks", "terminationMessages"] {
            instance.as_object_mut().unwrap().remove(field).unwrap();
        }
    }
    assert_eq!(rendered(&serde_json::from_value(older).unwrap()), (None, None, None));
}

fn tally(native: bool) -> Sidecar {
    Sidecar { image: "tally:1".into(), native, container: None }
}

#[test]
fn the_counter_is_put_where_it_was_recorded() {
    let instances = [("backend".to_owned(), name("backend")), ("frontend".to_owned(), name("frontend"))];
    let counted = |tier: &rainbow_api::Tier, _: &InstanceName| PodAdditions {
        sidecar: (tier.name == "frontend").then(|| tally(true)),
        ..NEW
    };
    let object = made_of("v1", &instances, counted);
    let color: Color = serde_json::from_value(object).unwrap();
    assert_eq!(color.spec.instances[0].sidecar, None);
    assert_eq!(color.spec.tiers, rainbow().spec.tiers, "what the user wrote stays as it is");
    let backend = deployment(&scope(), &rainbow(), &color, &color.spec.tiers[0], &name("backend"), 1);
    let spec = &backend["spec"]["template"]["spec"];
    assert_eq!(spec["containers"].as_array().map(Vec::len), Some(1));
    assert_eq!(spec["initContainers"], json!(null));
    let frontend = deployment(&scope(), &rainbow(), &color, &color.spec.tiers[1], &name("frontend"), 1);
    let spec = &frontend["spec"]["template"]["spec"];
    assert_eq!(spec["initContainers"][0]["name"], "rainbow-tally");
    let addresses = json!([{ "name": "BACKEND", "value": "s-backend-v1" }]);
    assert_eq!(spec["initContainers"][1]["env"], addresses);
    let env: Vec<_> = spec["initContainers"][0]["env"].as_array().unwrap().iter().map(|v| &v["name"]).collect();
    assert_eq!(env, ["TALLY_PORTS", "TALLY_NODE", "TALLY_PROBE_SECONDS"], "it needs nobody's address");
}

/// Names that YAML reads as numbers are texts everywhere.
#[test]
fn a_color_may_look_like_a_number() {
    for number in ["123456", "123e45", "000000", "1e1000"] {
        let instance = |tier: &str| InstanceName::shared(tier, number);
        let instances = [("backend".to_owned(), instance("backend")), ("frontend".to_owned(), instance("frontend"))];
        let object = made_of(number, &instances, |_, _| NEW);
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
