use super::*;
use crate::drift::Epoch;
use serde_json::{Value, json};

const NOW: Time = Time(1);

fn object(kind: &str, name: &str, rainbow: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": kind,
        "metadata": {
            "name": name, "namespace": "default", "uid": format!("uid-{name}"), "resourceVersion": "1",
            "labels": { "rainbow.dev/rainbow": rainbow, "rainbow.dev/tier": "web", "rainbow.dev/color": "v1" },
        },
    })
}

fn pod(name: &str, rainbow: &str) -> Object {
    Object::pod(&serde_json::from_value(object("Pod", name, rainbow)).unwrap())
}

fn deployment(name: &str, rainbow: &str, spec: Value) -> Object {
    let mut object = object("Deployment", name, rainbow);
    object["spec"] = spec;
    Object::deployment(&serde_json::from_value(object).unwrap())
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
    assert!(Arc::ptr_eq(&app.pods["a"].tier, &app.pods["b"].tier));
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
