use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::testing::any_json;

fn applier<'a>(name: &'a str, time: &'a str) -> Manager<'a> {
    Manager { name, operation: Operation::Apply, api_version: "apps/v1", subresource: None, time }
}

fn updater<'a>(name: &'a str, time: &'a str) -> Manager<'a> {
    Manager { operation: Operation::Update, ..applier(name, time) }
}

fn deployment() -> Versions {
    Versions::one("apps/v1", &Shape::builtin("apps", "Deployment"))
}

fn of(group: &str, kind: &str) -> Versions {
    Versions::one("apps/v1", &Shape::builtin(group, kind))
}

fn untyped() -> Versions {
    Versions::one("apps/v1", &Shape::untyped())
}

fn intent(spec: Value) -> Value {
    json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "d" }, "spec": spec })
}

fn owners(object: &Value) -> Vec<(String, Vec<String>)> {
    let entries = object.pointer("/metadata/managedFields").and_then(Value::as_array);
    let owner = |entry: &Value| {
        let name = format!("{} {}", entry["manager"].as_str().unwrap(), entry["operation"].as_str().unwrap());
        (name, FieldSet::decode(&entry["fieldsV1"]).unwrap().paths())
    };
    entries.into_iter().flatten().map(owner).collect()
}

fn bare(object: &Value) -> Value {
    let mut object = object.clone();
    entries::strip(&mut object);
    object
}

fn conflicts(result: Result<Value, ApplyError>) -> Vec<(String, String)> {
    match result {
        Err(ApplyError::Conflicts(conflicts)) => conflicts.into_iter().map(|c| (c.manager, c.field)).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_apply_owns_what_it_says() {
    let object = apply(None, &intent(json!({ "replicas": 3 })), &applier("a", "t1"), false, &deployment()).unwrap();
    assert_eq!(object["spec"]["replicas"], 3);
    assert_eq!(
        object["metadata"]["managedFields"],
        json!([{ "manager": "a", "operation": "Apply", "apiVersion": "apps/v1", "time": "t1", "fieldsType": "FieldsV1",
            "fieldsV1": { "f:spec": { "f:replicas": {} } } }])
    );
}

#[test]
fn the_same_apply_again_is_no_write() {
    let what = intent(
        json!({ "replicas": 3, "template": { "spec": { "containers": [{ "name": "a", "image": "i", "ports": [{ "containerPort": 80 }] }] } } }),
    );
    let mut live = apply(None, &what, &applier("a", "t1"), false, &deployment()).unwrap();
    crate::defaults::apply("apps", "Deployment", &mut live);
    let again = apply(Some(&live), &what, &applier("a", "t2"), false, &deployment()).unwrap();
    assert_eq!(again, live);
}

#[test]
fn a_change_of_what_another_owns_conflicts_unless_forced() {
    let live = apply(None, &intent(json!({ "replicas": 3 })), &applier("a", "t1"), false, &deployment()).unwrap();
    let other = intent(json!({ "replicas": 5, "paused": true }));
    let refused = apply(Some(&live), &other, &applier("b", "t2"), false, &deployment());
    assert_eq!(
        refused.as_ref().unwrap_err().to_string(),
        "Apply failed with 1 conflict: conflict with \"a\": .spec.replicas"
    );
    assert_eq!(conflicts(refused), [("\"a\"".to_owned(), ".spec.replicas".to_owned())]);
    let forced = apply(Some(&live), &other, &applier("b", "t2"), true, &deployment()).unwrap();
    assert_eq!(owners(&forced), [("b Apply".to_owned(), vec![".spec.paused".to_owned(), ".spec.replicas".to_owned()])]);
}

#[test]
fn the_same_value_is_shared() {
    let live = apply(None, &intent(json!({ "replicas": 3 })), &applier("a", "t1"), false, &deployment()).unwrap();
    let live =
        apply(Some(&live), &intent(json!({ "replicas": 3 })), &applier("b", "t2"), false, &deployment()).unwrap();
    assert_eq!(owners(&live).len(), 2);
    // One of two owners gives up the field: the field stays.
    let live =
        apply(Some(&live), &intent(json!({ "paused": true })), &applier("a", "t3"), false, &deployment()).unwrap();
    assert_eq!(live["spec"], json!({ "replicas": 3, "paused": true }));
    // The last owner gives it up, too: the field is removed.
    let live =
        apply(Some(&live), &intent(json!({ "paused": true })), &applier("b", "t4"), false, &deployment()).unwrap();
    assert_eq!(live["spec"], json!({ "paused": true }));
}

#[test]
fn what_leaves_the_intent_goes_with_its_defaults() {
    let with_probe = intent(json!({ "template": { "spec": { "containers": [
        { "name": "a", "image": "i", "readinessProbe": { "httpGet": { "port": 80 } } }, { "name": "b", "image": "i" }] } } }));
    let mut live = apply(None, &with_probe, &applier("a", "t1"), false, &deployment()).unwrap();
    crate::defaults::apply("apps", "Deployment", &mut live);
    let without = intent(json!({ "template": { "spec": { "containers": [{ "name": "a", "image": "i" }] } } }));
    let after = apply(Some(&live), &without, &applier("a", "t2"), false, &deployment()).unwrap();
    let containers = after["spec"]["template"]["spec"]["containers"].as_array().unwrap();
    assert_eq!(containers.len(), 1);
    assert!(containers[0].get("readinessProbe").is_none());
    assert_eq!(containers[0]["imagePullPolicy"], live["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"]);
    assert_eq!(after["spec"]["replicas"], 1, "a default outside of what left stays");
}

#[test]
fn a_field_that_another_updated_is_the_others() {
    let live = apply(None, &intent(json!({ "replicas": 3 })), &applier("a", "t1"), false, &deployment()).unwrap();
    let mut scaled = live.clone();
    scaled["spec"]["replicas"] = json!(7);
    update(Some(&live), &mut scaled, &updater("kubectl-edit", "t2"), &deployment());
    assert_eq!(owners(&scaled), [("kubectl-edit Update".to_owned(), vec![".spec.replicas".to_owned()])]);
    let refused = apply(Some(&scaled), &intent(json!({ "replicas": 3 })), &applier("a", "t3"), false, &deployment());
    assert_eq!(conflicts(refused), [("\"kubectl-edit\" using apps/v1".to_owned(), ".spec.replicas".to_owned())]);
    // A field left out of the intent stays as the other manager made it.
    let after = apply(Some(&scaled), &intent(json!({})), &applier("a", "t3"), false, &deployment()).unwrap();
    assert_eq!(after["spec"]["replicas"], 7);
}

#[test]
fn several_conflicts_are_grouped_by_manager() {
    let live =
        apply(None, &intent(json!({ "replicas": 3, "paused": false })), &applier("a", "t1"), false, &deployment())
            .unwrap();
    let refused = apply(
        Some(&live),
        &intent(json!({ "replicas": 5, "paused": true })),
        &applier("b", "t2"),
        false,
        &deployment(),
    );
    assert_eq!(
        refused.unwrap_err().to_string(),
        "Apply failed with 2 conflicts: conflicts with \"a\":\n- .spec.paused\n- .spec.replicas"
    );
}

#[test]
fn an_update_that_changes_nothing_keeps_times_and_a_client_may_forget_the_entries() {
    let mut live = intent(json!({ "replicas": 1 }));
    update(None, &mut live, &updater("create", "t1"), &deployment());
    let mut same = live.clone();
    update(Some(&live), &mut same, &updater("create", "t2"), &deployment());
    assert_eq!(same, live);
    // A client that does not know `managedFields` drops it from its write.
    let mut sent = bare(&live);
    update(Some(&live), &mut sent, &updater("old", "t2"), &deployment());
    assert_eq!(sent, live);
    for nothing in [json!([]), json!([{}])] {
        let mut reset = live.clone();
        reset["metadata"]["managedFields"] = nothing;
        update(Some(&live), &mut reset, &updater("x", "t2"), &deployment());
        assert!(reset["metadata"].get("managedFields").is_none());
    }
}

#[test]
fn an_object_without_entries_is_not_taken_over_silently() {
    let live = intent(json!({ "replicas": 1 }));
    let refused = apply(Some(&live), &intent(json!({ "replicas": 2 })), &applier("a", "t"), false, &deployment());
    assert_eq!(conflicts(refused), [("\"before-first-apply\" using apps/v1".to_owned(), ".spec.replicas".to_owned())]);
}

#[test]
fn kubectl_goes_from_client_side_to_server_side_apply() {
    let mut live = intent(json!({ "replicas": 1 }));
    live["metadata"]["annotations"] = json!({ last_applied::ANNOTATION: intent(json!({ "replicas": 1 })).to_string() });
    update(None, &mut live, &updater("kubectl-client-side-apply", "t1"), &deployment());
    let after =
        apply(Some(&live), &intent(json!({ "replicas": 2 })), &applier("kubectl", "t2"), false, &deployment()).unwrap();
    assert_eq!(after["spec"]["replicas"], 2);
    assert!(after["metadata"]["annotations"][last_applied::ANNOTATION].as_str().unwrap().contains("\"replicas\":2"));
    // kubectl does this since 1.26: a patch of managedFields alone renames the old entry.
    let mut moved = live.clone();
    moved["metadata"]["managedFields"][0]["manager"] = json!("kubectl");
    moved["metadata"]["managedFields"][0]["operation"] = json!("Apply");
    update(Some(&live), &mut moved, &updater("kubectl", "t3"), &deployment());
    assert_eq!(owners(&moved)[0].0, "kubectl Apply");
    // Now a field that leaves the intent is removed.
    let after = apply(Some(&moved), &intent(json!({})), &applier("kubectl", "t4"), false, &deployment()).unwrap();
    assert!(after.pointer("/spec/replicas").is_none());
}

#[test]
fn list_elements_are_owned_by_key() {
    let service = of("", "Service");
    let port =
        |port: u16| json!({ "kind": "Service", "spec": { "ports": [{ "port": port, "name": format!("p{port}") }] } });
    let live = apply(None, &port(80), &applier("a", "t1"), false, &service).unwrap();
    let both = apply(Some(&live), &port(81), &applier("b", "t2"), false, &service).unwrap();
    assert_eq!(both["spec"]["ports"].as_array().unwrap().len(), 2);
    let fewer =
        apply(Some(&both), &json!({ "kind": "Service", "spec": {} }), &applier("a", "t3"), false, &service).unwrap();
    assert_eq!(fewer["spec"]["ports"], json!([{ "port": 81, "name": "p81" }]));
    let double = json!({ "spec": { "ports": [{ "port": 80 }, { "port": 80, "protocol": "TCP" }] } });
    let error = apply(None, &double, &applier("a", "t"), false, &service).unwrap_err();
    assert!(
        error.to_string().ends_with(": .spec.ports: duplicate entries for key [port=80,protocol=\"TCP\"]"),
        "{error}"
    );
}

#[test]
fn the_intents_order_wins_and_others_keep_their_place() {
    let pod = of("", "Pod");
    let names = |names: &[&str]| {
        let containers: Vec<Value> = names.iter().map(|name| json!({ "name": name, "image": "i" })).collect();
        json!({ "spec": { "containers": containers } })
    };
    let live = apply(None, &names(&["x", "a", "b"]), &applier("other", "t1"), false, &pod).unwrap();
    let after = apply(Some(&live), &names(&["b", "a"]), &applier("me", "t2"), false, &pod).unwrap();
    let order: Vec<&str> =
        after["spec"]["containers"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(order, ["x", "b", "a"]);
}

#[test]
fn status_has_an_owner_of_its_own() {
    let mut live = intent(json!({ "replicas": 1 }));
    update(None, &mut live, &updater("c", "t1"), &deployment());
    let mut after = live.clone();
    after["status"] = json!({ "replicas": 1, "conditions": [{ "type": "Available", "status": "True" }] });
    let controller = Manager { subresource: Some("status"), ..updater("c", "t2") };
    update(Some(&live), &mut after, &controller, &deployment());
    let entries = after["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[1]["subresource"], "status");
    assert_eq!(
        entries[1]["fieldsV1"],
        json!({ "f:status": { "f:replicas": {}, "f:conditions": { ".": {}, "k:{\"type\":\"Available\"}": { ".": {}, "f:type": {}, "f:status": {} } } } })
    );
}

#[test]
fn many_updaters_are_merged() {
    let mut live = intent(json!({ "replicas": 1 }));
    update(None, &mut live, &updater("m", "t00"), &deployment());
    for n in 0..30 {
        let mut next = live.clone();
        next["metadata"]["labels"][format!("l{n}")] = json!("x");
        update(Some(&live), &mut next, &updater(&format!("m{n}"), &format!("t{n:02}")), &deployment());
        live = next;
    }
    let entries = live["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!(entries.len(), 10);
    assert_eq!(entries.iter().filter(|entry| entry["manager"] == "ancient-changes").count(), 1);
    let owned: usize = owners(&live).iter().map(|(_, paths)| paths.len()).sum();
    assert_eq!(owned, 32, "thirty labels, the map of labels and the replicas");
}

#[test]
fn a_secrets_string_data_is_owned_as_data() {
    let what = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s" }, "stringData": { "a": "b" } });
    let shape = of("", "Secret");
    let mut live = apply(None, &what, &applier("a", "t1"), false, &shape).unwrap();
    crate::defaults::apply("", "Secret", &mut live);
    assert_eq!(live["data"], json!({ "a": "Yg==" }));
    live.as_object_mut().unwrap().remove("stringData");
    let mut again = apply(Some(&live), &what, &applier("a", "t2"), false, &shape).unwrap();
    crate::defaults::apply("", "Secret", &mut again);
    again.as_object_mut().unwrap().remove("stringData");
    keep_times(&live, &mut again);
    assert_eq!(again, live, "the same apply again is no write");
}

proptest! {
    #[test]
    fn applying_twice_is_applying_once(intent in any_json(), live in any_json(), crd in any::<bool>()) {
        let shape = if crd { untyped() } else { deployment() };
        let mut live = live;
        if live.is_object() {
            update(None, &mut live, &updater("u", "t0"), &shape);
        }
        let live = live.is_object().then_some(&live);
        if let Ok(once) = apply(live, &intent, &applier("a", "t1"), true, &shape) {
            let twice = apply(Some(&once), &intent, &applier("a", "t2"), false, &shape);
            prop_assert_eq!(twice.as_ref(), Ok(&once));
        }
    }

    #[test]
    fn what_is_applied_is_there(intent in any_json()) {
        if let Ok(object) = apply(None, &intent, &applier("a", "t1"), false, &untyped()) {
            for (key, value) in intent.as_object().unwrap() {
                if key != "metadata" { prop_assert_eq!(&object[key], value); }
            }
        }
    }

    #[test]
    fn an_update_never_panics_and_its_repetition_changes_nothing(a in any_json(), b in any_json()) {
        let shape = deployment();
        let mut b = b;
        update(Some(&a), &mut b, &updater("u", "t1"), &shape);
        let mut again = b.clone();
        update(Some(&b), &mut again, &updater("v", "t2"), &shape);
        prop_assert_eq!(again, b);
    }
}
