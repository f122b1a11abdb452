use super::*;

fn desired(cpu: &str, replicas: u32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "a-v1", "labels": { "x": "y" } },
        "spec": { "replicas": replicas, "template": { "spec": { "containers": [
            { "name": "a", "image": "a:1", "resources": { "requests": { "cpu": cpu } } },
        ] } } },
    })
}

fn live(mut object: Value, applied: &str) -> Content {
    object["metadata"]["annotations"] = json!({ labels::APPLIED: applied, "deployment.kubernetes.io/revision": "1" });
    let meta = serde_json::from_value(object["metadata"].clone()).unwrap();
    Content::of(&meta, &object["spec"])
}

fn fingerprint(desired: &Value) -> String {
    Fingerprint::of(desired).to_string()
}

fn is_current(content: &mut Content, answers: &mut AwaitedContents, desired: &Value) -> bool {
    content.is_current(&Uid::of("u"), Epoch::default(), answers, || desired.clone())
}

#[track_caller]
fn check(object: Value, applied: &str, expected: bool) {
    let found = is_current(&mut live(object, applied), &mut AwaitedContents::default(), &desired("1", 1));
    assert_eq!(found, expected);
}

#[test]
fn replicas_are_looked_at_elsewhere() {
    assert_eq!(Fingerprint::of(&desired("1", 1)), Fingerprint::of(&desired("1", 5)));
    assert_ne!(Fingerprint::of(&desired("1", 1)), Fingerprint::of(&desired("2", 1)));
}

#[test]
fn only_fingerprints_are_read() {
    let own = Fingerprint::of(&desired("1", 1));
    assert_eq!(Fingerprint::read(&own.to_string()), Some(own));
    for other in ["", "0", "+123456789abcdef", "0123456789ABCDEF", "0123456789abcdef0"] {
        assert_eq!(Fingerprint::read(other), None, "{other}");
    }
    assert_eq!(Fingerprint::read("0000000000000001").map(|read| read.to_string()), Some("0000000000000001".into()));
}

#[test]
fn what_the_server_adds_is_no_drift() {
    let mut object = desired("1", 3);
    object["spec"]["template"]["spec"]["dnsPolicy"] = json!("ClusterFirst");
    object["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = json!("IfNotPresent");
    check(object, &fingerprint(&desired("1", 1)), true);
}

#[test]
fn an_edit_is_drift() {
    let applied = fingerprint(&desired("1", 1));
    let mut object = desired("1", 1);
    object["spec"]["template"]["spec"]["containers"][0]["image"] = json!("a:2");
    check(object, &applied, false);
    let mut object = desired("1", 1);
    object["metadata"]["labels"] = json!({});
    check(object, &applied, false);
    check(desired("1", 1), "old", false);
}

#[test]
fn a_range_more_is_drift() {
    let service = |ranges: &[&str]| {
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "name": "a" },
            "spec": { "ports": [{ "port": 80 }], "loadBalancerSourceRanges": ranges },
        })
    };
    let wanted = service(&["10.0.0.0/8"]);
    let applied = fingerprint(&wanted);
    let is_current =
        |ranges: &[&str]| is_current(&mut live(service(ranges), &applied), &mut AwaitedContents::default(), &wanted);
    assert!(is_current(&["10.0.0.0/8"]));
    assert!(!is_current(&["10.0.0.0/8", "0.0.0.0/0"]) && !is_current(&[]));
}

#[test]
fn normalisation_is_written_against_once() {
    let wanted = desired("1000m", 1);
    let applied = fingerprint(&wanted);
    let mut answers = AwaitedContents::default();
    let mut normalised = live(desired("1", 1), &applied);
    assert!(!is_current(&mut normalised, &mut answers, &wanted));
    // The answer to the apply has this content.
    answers.remember(Uid::of("u"), Fingerprint::of(&wanted), normalised.digest);
    assert!(is_current(&mut normalised, &mut answers, &wanted));
    // The next state, with the same content, is correct as well.
    let mut next = live(desired("1", 4), &applied);
    next.inherit(normalised);
    assert!(is_current(&mut next, &mut answers, &wanted));
    // An edit after that is drift.
    let mut edited = live(desired("2", 1), &applied);
    edited.inherit(next);
    assert!(!is_current(&mut edited, &mut answers, &wanted));
}

#[test]
fn what_should_be_is_rendered_once_in_an_epoch() {
    let rendered = std::cell::Cell::new(0);
    let render = || {
        rendered.set(rendered.get() + 1);
        desired("1", 1)
    };
    let (mut epoch, mut answers) = (Epoch::default(), AwaitedContents::default());
    let mut content = live(desired("1", 1), &fingerprint(&desired("1", 1)));
    for _ in 0..3 {
        assert!(content.is_current(&Uid::of("u"), epoch, &mut answers, render));
    }
    assert_eq!(rendered.get(), 1, "for the fingerprint and to compare");
    epoch.advance();
    assert!(content.is_current(&Uid::of("u"), epoch, &mut answers, render));
    assert_eq!(rendered.get(), 2);
}
