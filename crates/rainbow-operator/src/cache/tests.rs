use super::*;
use crate::drift::Epoch;
use serde_json::{Value, json};

const NOW: Time = Time(1);

fn object(kind: &str, name: &str, rainbow: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": kind,
        "metadata": {
            "name": name, "namespace": "default", "uid": format!("uid-{name}"), "resourceVersion": "1",
            "labels": { "rainbow.dev/rainbow": rainbow, "rainbow.dev/tier": "web", "rainbow.dev/color": "v1", "app.kubernetes.io/managed-by": "rainbow" },
        },
    })
}

fn pod(name: &str, rainbow: &str) -> Object {
    Object::pod(serde_json::from_value(object("Pod", name, rainbow)).unwrap())
}

fn deployment(name: &str, rainbow: &str, spec: Value) -> Object {
    let mut object = object("Deployment", name, rainbow);
    object["spec"] = spec;
    Object::deployment(serde_json::from_value(object).unwrap())
}

fn pods(cache: &Cache, rainbow: &str) -> Vec<String> {
    let key = Key { namespace: "default".into(), name: rainbow.into() };
    cache.apps.get(&key).map(|app| app.pods.keys().map(ToString::to_string).collect()).unwrap_or_default()
}

fn list(cache: &mut Cache, names: &[&str], complete: bool) {
    cache.change(Kind::Pod, Change::Restarted, NOW);
    for name in names {
        cache.change(Kind::Pod, Change::Listed(pod(name, "shop")), NOW);
    }
    if complete {
        cache.change(Kind::Pod, Change::Complete, NOW);
    }
}

#[test]
fn what_a_later_list_does_not_show_is_gone() {
    let mut cache = Cache::default();
    list(&mut cache, &["a", "b"], true);
    assert_eq!(pods(&cache, "shop"), ["a", "b"]);
    list(&mut cache, &["b", "c"], true);
    assert_eq!(pods(&cache, "shop"), ["b", "c"]);
}

#[test]
fn what_only_a_broken_list_has_shown_is_gone() {
    let mut cache = Cache::default();
    list(&mut cache, &["a", "b"], false);
    list(&mut cache, &["b"], true);
    assert_eq!(pods(&cache, "shop"), ["b"]);
}

#[test]
fn an_object_goes_where_its_label_says() {
    let mut cache = Cache::default();
    cache.change(Kind::Pod, Change::Seen(pod("a", "shop")), NOW);
    let keys = cache.change(Kind::Pod, Change::Seen(pod("a", "other")), NOW);
    assert_eq!(keys.iter().map(|key| key.name.as_str()).collect::<Vec<_>>(), ["shop", "other"]);
    assert_eq!((pods(&cache, "shop"), pods(&cache, "other")), (vec![], vec!["a".to_owned()]));
    cache.change(Kind::Pod, Change::Gone(pod("a", "other")), NOW);
    assert!(cache.apps.is_empty() && cache.places.is_empty());
}

#[test]
fn pods_share_the_names_of_tiers() {
    let mut cache = Cache::default();
    list(&mut cache, &["a", "b"], true);
    let app = cache.apps.values().next().unwrap();
    assert!(Arc::ptr_eq(&app.pods.get("a").unwrap().tier, &app.pods.get("b").unwrap().tier));
}

#[test]
fn the_first_and_the_last_deployment_say_what_names_begin_with() {
    let mut cache = Cache::default();
    let mut epochs = Vec::new();
    for change in [
        Change::Seen(deployment("s-web-v1", "shop", json!({}))),
        Change::Seen(deployment("s-web-v2", "shop", json!({}))),
        Change::Seen(deployment("s-web-v2", "shop", json!({ "replicas": 2 }))),
        Change::Gone(deployment("s-web-v2", "shop", json!({}))),
    ] {
        cache.change(Kind::Deployment, change, NOW);
        epochs.push(cache.apps.values().next().unwrap().epoch);
    }
    assert!(epochs.iter().all(|epoch| *epoch == epochs[0]));
    assert_ne!(epochs[0], Epoch::default());
}

/// The ports that a Service should have depend on the ports of others, so all Services are compared again when one port changes.
#[test]
fn a_node_port_that_changes_concerns_all_services() {
    let mut cache = Cache::default();
    let service = |version: &str, port: Option<i32>| {
        let mut object = object("Service", "web-active", "shop");
        object["metadata"]["resourceVersion"] = json!(version);
        object["spec"] = json!({ "ports": [{ "port": 80, "nodePort": port }] });
        Change::Seen(Object::service(serde_json::from_value(object).unwrap()))
    };
    let key = Key { namespace: "default".into(), name: "shop".into() };
    let mut epochs: Vec<Epoch> = Vec::new();
    for (version, port) in [("1", Some(1)), ("2", Some(1)), ("3", None), ("4", None), ("5", Some(2))] {
        cache.change(Kind::Service, service(version, port), NOW);
        epochs.push(cache.apps[&key].epoch);
    }
    assert_eq!(epochs[0], epochs[1], "nothing has changed");
    assert_ne!(epochs[1], epochs[2], "it is given up");
    assert_eq!(epochs[2], epochs[3]);
    assert_ne!(epochs[3], epochs[4], "it is taken");
}

#[test]
fn a_new_version_of_an_object_that_says_the_same_is_no_change() {
    let mut cache = Cache::default();
    let mut see = |kind: Kind, object: Object, version: u64, now: i64| {
        let object = Object { version, ..object };
        let keys = cache.change(kind, Change::Seen(object), Time(now));
        assert_eq!(keys.len(), 1, "the application is looked at, which ends an expectation");
        let app = cache.apps.values().next().unwrap();
        (app.changes, app.pods.get("a").map(|pod| (pod.meta.version, pod.ready_since)))
    };
    let a = |version: &str, change: fn(&mut Value)| {
        let mut object = object("Pod", "a", "shop");
        object["metadata"]["resourceVersion"] = json!(version);
        change(&mut object);
        Object::pod(serde_json::from_value(object).unwrap())
    };
    assert_eq!(see(Kind::Pod, a("1", |_| {}), 1, 1), (1, Some((1, Time(1)))));
    let noted = |pod: &mut Value| pod["metadata"]["annotations"] = json!({ "example.com/noted": "x" });
    assert_eq!(see(Kind::Pod, a("2", noted), 2, 2), (1, Some((2, Time(1)))), "an annotation of somebody else");
    let changes: [fn(&mut Value); 6] = [
        |pod| pod["status"] = json!({ "conditions": [{ "type": "Ready", "status": "True" }] }),
        |pod| pod["status"] = json!({ "podIP": "10.0.0.7" }),
        |pod| pod["metadata"]["labels"]["rainbow.dev/serving"] = json!("yes"),
        |pod| pod["metadata"]["labels"]["rainbow.dev/color"] = json!("v2"),
        |pod| pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z"),
        |pod| pod["metadata"]["uid"] = json!("another"),
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let (count, pod) = see(Kind::Pod, a("3", change), 3, 3);
        assert_eq!(count, index as u64 + 2, "change {index}");
        assert_eq!(pod.unwrap().0, 3);
    }
    let slice = |version: &str, pods: Value| {
        let mut object = object("EndpointSlice", "web-x", "shop");
        object["metadata"]["resourceVersion"] = json!(version);
        object["endpoints"] = pods;
        Object::slice(serde_json::from_value(object).unwrap())
    };
    let pod = |name: &str| json!([{ "targetRef": { "kind": "Pod", "name": name } }]);
    assert_eq!(see(Kind::EndpointSlice, slice("4", pod("a")), 4, 4).0, 8);
    assert_eq!(see(Kind::EndpointSlice, slice("5", pod("a")), 5, 5).0, 8);
    assert_eq!(see(Kind::EndpointSlice, slice("6", pod("b")), 6, 6).0, 9);
}
