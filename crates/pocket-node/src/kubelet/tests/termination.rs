//! The end of pods and the start of their containers, second by second, as in `kuberuntime_container.go` of Kubernetes 1.37.

use tokio::time::Instant;

use super::*;

/// Deletes a pod. Returns the time of the deletion.
async fn delete(lab: &Lab, name: &str) -> Instant {
    sleep(Duration::from_secs(1)).await;
    lab.pods().delete(name, &DeleteParams::default()).await.unwrap();
    Instant::now()
}

/// Returns the entries of the story from an instant on, with the seconds since.
fn since(lab: &Lab, from: Instant) -> Vec<String> {
    let world = lock(&lab.fake.world);
    let later = world.story.iter().filter(|(_, at)| *at >= from);
    later.map(|(what, at)| format!("{} {what}", (*at - from).as_secs())).collect()
}

fn sidecar(name: &str, image: &str) -> Value {
    json!({"name": name, "image": image, "restartPolicy": "Always"})
}

#[tokio::test(start_paused = true)]
async fn a_sidecars_hook_runs_at_once_and_its_signal_waits_for_its_turn() {
    let lab = Lab::new().await;
    let mut side = sidecar("side", "app");
    side["lifecycle"] = json!({"preStop": {"exec": {"command": ["bye"]}}});
    let spec = json!({"terminationGracePeriodSeconds": 20, "initContainers": [side],
        "containers": [{"name": "c", "image": "app", "lifecycle": {"preStop": {"sleep": {"seconds": 5}}}}]});
    lab.create("p", spec).await;
    lab.until("p", ready).await;
    let asked = delete(&lab, "p").await;
    lab.gone("p").await;
    assert_eq!(since(&lab, asked), ["0 side exec bye", "5 c signal 15", "5 side signal 15", "5 remove default/p"]);
}

#[tokio::test(start_paused = true)]
async fn sidecars_end_in_reverse_order() {
    let lab = Lab::new().await;
    let mut last = sidecar("last", "app");
    last["lifecycle"] = json!({"preStop": {"sleep": {"seconds": 8}}});
    let spec = json!({"initContainers": [sidecar("first", "app"), {"name": "i", "image": "job"}, last],
        "containers": [{"name": "c", "image": "app"}]});
    lab.create("p", spec).await;
    lab.until("p", ready).await;
    let asked = delete(&lab, "p").await;
    lab.gone("p").await;
    assert_eq!(since(&lab, asked), ["0 c signal 15", "8 last signal 15", "8 first signal 15", "8 remove default/p"]);
}

#[tokio::test(start_paused = true)]
async fn sidecars_share_the_grace_and_get_two_seconds_after_it() {
    let lab = Lab::new().await;
    let spec = json!({"terminationGracePeriodSeconds": 20,
        "initContainers": [sidecar("first", "stubborn"), sidecar("last", "stubborn")],
        "containers": [{"name": "c", "image": "stubborn"}]});
    lab.create("p", spec).await;
    lab.until("p", ready).await;
    let asked = delete(&lab, "p").await;
    lab.gone("p").await;
    let mut story = since(&lab, asked);
    story[1..4].sort();
    story[4..6].sort();
    let expected = [
        "0 c signal 15",
        "20 c signal 9",
        "20 first signal 15",
        "20 last signal 15",
        "22 first signal 9",
        "22 last signal 9",
        "22 remove default/p",
    ];
    assert_eq!(story, expected);
}

#[tokio::test(start_paused = true)]
async fn hooks_use_up_the_grace() {
    let lab = Lab::new().await;
    for (name, grace, hook, term, kill) in [("a", 10, 4, 4, 10), ("b", 5, 60, 5, 7), ("c", 30, 29, 29, 31)] {
        let mut spec = one("stubborn");
        spec["terminationGracePeriodSeconds"] = json!(grace);
        spec["containers"][0]["lifecycle"] = json!({"preStop": {"sleep": {"seconds": hook}}});
        lab.create(name, spec).await;
        lab.until(name, ready).await;
        let asked = delete(&lab, name).await;
        lab.gone(name).await;
        let expected =
            [format!("{term} c signal 15"), format!("{kill} c signal 9"), format!("{kill} remove default/{name}")];
        assert_eq!(since(&lab, asked), expected, "grace {grace}, hook {hook}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hook_is_waited_for_although_its_container_has_ended() {
    let lab = Lab::new().await;
    let spec = json!({"terminationGracePeriodSeconds": 40, "initContainers": [sidecar("side", "app")],
        "containers": [{"name": "c", "image": "minute", "lifecycle": {"preStop": {"sleep": {"seconds": 20}}}}]});
    lab.create("p", spec).await;
    lab.until("p", ready).await;
    sleep(Duration::from_secs(50)).await;
    let asked = delete(&lab, "p").await;
    lab.gone("p").await;
    assert_eq!(since(&lab, asked), ["20 side signal 15", "20 remove default/p"]);
}

#[tokio::test(start_paused = true)]
async fn a_sidecar_does_not_wait_for_an_init_container() {
    let lab = Lab::new().await;
    let spec = json!({"terminationGracePeriodSeconds": 10,
        "initContainers": [sidecar("side", "app"), {"name": "i", "image": "stubborn"}],
        "containers": [{"name": "c", "image": "app"}]});
    lab.create("p", spec).await;
    lab.until("p", |_| lab.fake.story().contains(&"start i".to_owned())).await;
    let asked = delete(&lab, "p").await;
    lab.gone("p").await;
    let mut story = since(&lab, asked);
    story[..2].sort();
    assert_eq!(story, ["0 i signal 15", "0 side signal 15", "10 i signal 9", "10 remove default/p"]);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_forced_out_gets_two_seconds() {
    let lab = Lab::new().await;
    lab.create("p", one("stubborn")).await;
    lab.until("p", ready).await;
    sleep(Duration::from_secs(1)).await;
    lab.pods().delete("p", &DeleteParams::default().grace_period(0)).await.unwrap();
    let asked = Instant::now();
    lab.gone("p").await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(since(&lab, asked), ["0 c signal 15", "2 c signal 9", "2 remove default/p"]);
}

#[tokio::test(start_paused = true)]
async fn readiness_is_probed_until_the_end() {
    let lab = Lab::new().await;
    lock(&lab.fake.world).programs.insert("ready".into(), 1);
    let mut spec = one("stubborn");
    spec["terminationGracePeriodSeconds"] = json!(120);
    spec["containers"][0]["readinessProbe"] =
        json!({"exec": {"command": ["ready"]}, "periodSeconds": 5, "failureThreshold": 1});
    lab.create("p", spec).await;
    lab.until("p", |pod| phase(pod) == "Running").await;
    delete(&lab, "p").await;
    for expected in [true, false, true] {
        lock(&lab.fake.world).programs.insert("ready".into(), i32::from(!expected));
        let pod = lab.until("p", |pod| ready(pod) == expected).await;
        assert!(pod.metadata.deletion_timestamp.is_some());
    }
    assert!(!lab.fake.story().contains(&"c signal 9".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_container_that_fails_its_liveness_is_ready_until_it_has_ended() {
    let lab = Lab::new().await;
    let mut spec = one("stubborn");
    spec["containers"][0]["livenessProbe"] =
        json!({"exec": {"command": ["alive"]}, "periodSeconds": 2, "failureThreshold": 1});
    lab.create("p", spec).await;
    lab.until("p", ready).await;
    lock(&lab.fake.world).programs.insert("alive".into(), 1);
    lab.until("p", |_| lab.fake.story().contains(&"c signal 15".to_owned())).await;
    sleep(Duration::from_secs(20)).await;
    assert!(ready(&lab.until("p", |_| true).await), "it may still serve");
    lab.until("p", |pod| !ready(pod)).await;
    assert!(lab.fake.story().contains(&"c signal 9".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn containers_start_one_after_the_other() {
    let lab = Lab::new().await;
    let spec = json!({"containers": [
        {"name": "a", "image": "app", "lifecycle": {"postStart": {"sleep": {"seconds": 5}}}},
        {"name": "b", "image": "later"},
        {"name": "c", "image": "app"}]});
    let from = Instant::now();
    lab.create("p", spec).await;
    lab.until("p", |_| lab.fake.story().contains(&"start c".to_owned())).await;
    assert_eq!(since(&lab, from), ["0 start a", "5 start c"], "an image that is missing holds no other container up");
}

#[tokio::test(start_paused = true)]
async fn sidecars_are_restarted_whatever_the_pods_policy_is() {
    let lab = Lab::new().await;
    let spec = json!({"restartPolicy": "Never", "initContainers": [sidecar("side", "crash")],
        "containers": [{"name": "c", "image": "app"}]});
    lab.create("p", spec).await;
    lab.until("p", |_| lab.fake.times("start side").len() == 3).await;
    assert_eq!(phase(&lab.until("p", |_| true).await), "Running");
}
