//! The kubelet against the real API server (in process), a fake runtime and a paused clock.

mod termination;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::api::{
    authentication::v1::TokenReview,
    core::v1::{ConfigMap, Event, Node, Pod, ServiceAccount},
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{Config, Kubelet, fake::Fake};
use crate::{cluster::Cluster, net::NodeNet, scheduler::Scheduler, sync::lock};

struct Lab {
    client: Client,
    fake: Fake,
    dir: tempfile::TempDir,
    shutdown: CancellationToken,
    kubelet: JoinHandle<()>,
}

impl Lab {
    async fn new() -> Self {
        let api = pocket_api::Api::new(pocket_api::Options::default()).unwrap();
        let client = api.client("default");
        let nodes: Api<Node> = Api::all(client.clone());
        let node = serde_json::from_value(json!({"metadata": {"name": "pocket", "labels": {"arch": "any"}}})).unwrap();
        nodes.create(&PostParams::default(), &node).await.unwrap();
        let status = json!({"status": {"allocatable": {"cpu": "2", "memory": "1Gi", "pods": "110"}}});
        nodes.patch_status("pocket", &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
        Self::with(
            client,
            Fake::new(&["app", "stubborn", "job", "minute", "crash", "broken"]),
            tempfile::tempdir().unwrap(),
        )
    }

    fn with(client: Client, fake: Fake, dir: tempfile::TempDir) -> Self {
        let shutdown = CancellationToken::new();
        let cluster = Cluster::new();
        tokio::spawn(cluster.clone().run(client.clone(), shutdown.clone()));
        let net = NodeNet { handle: tokio::runtime::Handle::current(), node_ip: [127, 78, 0, 254].into() };
        let config = Config {
            node_name: "pocket".into(),
            state_dir: dir.path().into(),
            cluster_dns: [10, 96, 0, 10].into(),
            cluster_domain: "cluster.local".into(),
            host_ip: [127, 78, 0, 1].into(),
            host_resolv_conf: String::new(),
            shutdown_grace: Duration::from_secs(5),
            cpus: 2,
            memory: 1 << 30,
        };
        let kubelet = Kubelet::new(client.clone(), fake.clone(), net, cluster, config);
        let kubelet = tokio::spawn(kubelet.run(shutdown.clone()));
        tokio::spawn(Scheduler::new(client.clone(), "pocket").run(shutdown.clone()));
        Self { client, fake, dir, shutdown, kubelet }
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), "default")
    }

    async fn create(&self, name: &str, spec: Value) -> Pod {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap();
        self.pods().create(&PostParams::default(), &pod).await.unwrap()
    }

    /// Waits until a pod is as wanted, for at most two hours of the paused clock.
    async fn until(&self, name: &str, wanted: impl Fn(&Pod) -> bool) -> Pod {
        let mut last = None;
        for _ in 0..144_000 {
            last = self.pods().get_opt(name).await.unwrap();
            if let Some(pod) = &last
                && wanted(pod)
            {
                return pod.clone();
            }
            sleep(Duration::from_millis(50)).await;
        }
        panic!("not reached; the pod is {}\n{:?}", serde_json::to_string_pretty(&last).unwrap(), self.fake.story());
    }

    async fn gone(&self, name: &str) {
        for _ in 0..144_000 {
            if self.pods().get_opt(name).await.unwrap().is_none() {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
        panic!("the pod is still there: {:?}", self.fake.story());
    }

    async fn reasons(&self) -> Vec<String> {
        sleep(Duration::from_secs(1)).await;
        let events =
            Api::<Event>::namespaced(self.client.clone(), "default").list(&ListParams::default()).await.unwrap();
        events.items.into_iter().filter_map(|event| event.reason).collect()
    }
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

fn condition(pod: &Pod, type_: &str) -> String {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().find(|condition| condition.type_ == type_).map(|c| c.status.clone()).unwrap_or_default()
}

fn ready(pod: &Pod) -> bool {
    condition(pod, "Ready") == "True"
}

fn waiting(pod: &Pod) -> String {
    let status = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref()?.first().cloned());
    status.and_then(|status| status.state?.waiting?.reason).unwrap_or_default()
}

fn restarts(pod: &Pod) -> i32 {
    pod.status.as_ref().and_then(|s| s.container_statuses.as_ref()?.first().map(|c| c.restart_count)).unwrap_or(-1)
}

fn one(image: &str) -> Value {
    json!({"containers": [{"name": "c", "image": image}]})
}

#[tokio::test(start_paused = true)]
async fn a_pod_runs_and_then_nothing_is_written() {
    let lab = Lab::new().await;
    lab.create("p", json!({"containers": [{"name": "c", "image": "app", "args": ["-x", "$(A)"], "env": [{"name": "A", "value": "a"}]}]}))
        .await;
    let pod = lab.until("p", ready).await;
    let status = pod.status.clone().unwrap();
    assert_eq!(status.phase.as_deref(), Some("Running"));
    assert_eq!(status.pod_ip.as_deref(), Some("10.244.0.1"));
    assert_eq!(status.host_ip.as_deref(), Some("127.78.0.254"));
    assert_eq!(status.qos_class.as_deref(), Some("BestEffort"));
    let container = &status.container_statuses.unwrap()[0];
    assert!(container.ready && container.started == Some(true));
    assert_eq!(container.image_id, "sha256:app");
    for type_ in ["PodScheduled", "PodReadyToStartContainers", "Initialized", "ContainersReady"] {
        assert_eq!(condition(&pod, type_), "True", "{type_}");
    }
    {
        let world = lock(&lab.fake.world);
        let spec = &world.specs[0];
        assert_eq!(spec.argv, ["/app", "-x", "a"]);
        assert_eq!((spec.env["IMAGE"].as_str(), spec.env["HOSTNAME"].as_str()), ("yes", "p"));
        let targets: Vec<_> = spec.mounts.iter().map(|mount| mount.target.as_str()).collect();
        assert_eq!(targets, ["/dev/termination-log", "/etc/hostname", "/etc/hosts", "/etc/resolv.conf"]);
        assert!(std::fs::read_to_string(&spec.mounts[2].source).unwrap().ends_with("10.244.0.1\tp\n"));
    }
    let mut reasons = lab.reasons().await;
    reasons.sort();
    assert_eq!(reasons, ["Created", "Pulled", "Scheduled", "Started"]);
    let before = lab.until("p", |_| true).await.resource_version();
    sleep(Duration::from_secs(3600)).await;
    assert_eq!(lab.until("p", |_| true).await.resource_version(), before);
}

#[tokio::test(start_paused = true)]
async fn a_pod_ends_politely() {
    let lab = Lab::new().await;
    lab.create("p", one("app")).await;
    lab.until("p", ready).await;
    lab.pods().delete("p", &DeleteParams::default()).await.unwrap();
    lab.gone("p").await;
    assert_eq!(lab.fake.story(), ["start c", "c signal 15", "remove default/p"]);
    assert_eq!(std::fs::read_dir(lab.dir.path().join("pods")).unwrap().count(), 0);
    assert!(lab.reasons().await.contains(&"Killing".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_stubborn_pod_is_killed_at_its_deadline() {
    let lab = Lab::new().await;
    let mut spec = one("stubborn");
    spec["terminationGracePeriodSeconds"] = json!(40);
    lab.create("p", spec).await;
    lab.until("p", ready).await;
    lab.pods().delete("p", &DeleteParams::default()).await.unwrap();
    let pod = lab.until("p", |pod| pod.metadata.deletion_timestamp.is_some()).await;
    assert!(ready(&pod), "it serves on until it ends");
    lab.gone("p").await;
    assert_eq!(lab.fake.story(), ["start c", "c signal 15", "c signal 9", "remove default/p"]);
    let world = lock(&lab.fake.world);
    let took = world.story[2].1 - world.story[1].1;
    assert_eq!(took.as_secs(), 40);
}

#[tokio::test(start_paused = true)]
async fn a_second_deletion_shortens_the_grace() {
    let lab = Lab::new().await;
    lab.create("p", one("stubborn")).await;
    lab.until("p", ready).await;
    lab.pods().delete("p", &DeleteParams::default()).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    lab.pods().delete("p", &DeleteParams::default().grace_period(3)).await.unwrap();
    lab.gone("p").await;
    {
        let world = lock(&lab.fake.world);
        assert!((world.story[2].1 - world.story[1].1).as_secs() <= 4, "{:?}", world.story);
    }
}

#[tokio::test(start_paused = true)]
async fn init_containers_come_first_and_sidecars_go_last() {
    let lab = Lab::new().await;
    lab.create(
        "p",
        json!({
            "initContainers": [
                {"name": "first", "image": "job"},
                {"name": "side", "image": "app", "restartPolicy": "Always", "startupProbe": {"exec": {"command": ["up"]}}},
                {"name": "second", "image": "job"},
            ],
            "containers": [{"name": "c", "image": "app"}],
        }),
    )
    .await;
    let pod = lab.until("p", |pod| condition(pod, "PodScheduled") == "True" && !waiting(pod).is_empty()).await;
    assert_eq!((phase(&pod), waiting(&pod).as_str()), ("Pending", "PodInitializing"));
    lab.until("p", ready).await;
    lab.pods().delete("p", &DeleteParams::default()).await.unwrap();
    lab.gone("p").await;
    assert_eq!(
        lab.fake.story(),
        [
            "start first",
            "start side",
            "side exec up",
            "start second",
            "start c",
            "c signal 15",
            "side signal 15",
            "remove default/p"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn containers_that_crash_are_restarted_more_and_more_slowly() {
    let lab = Lab::new().await;
    lab.create("p", one("crash")).await;
    let pod = lab.until("p", |pod| restarts(pod) == 4).await;
    assert_eq!(phase(&pod), "Running");
    // Each run takes one second: starts at once, then after 10, 20 and 40.
    assert_eq!(lab.fake.times("start c"), [0, 1, 12, 33, 74]);
    let pod = lab.until("p", |pod| waiting(pod) == "CrashLoopBackOff").await;
    let status = pod.status.unwrap().container_statuses.unwrap()[0].clone();
    assert_eq!(status.last_state.unwrap().terminated.unwrap().exit_code, 1);
    assert!(
        status
            .state
            .unwrap()
            .waiting
            .unwrap()
            .message
            .unwrap()
            .starts_with("back-off 1m20s restarting failed container=c pod=p_default(")
    );
    assert!(lab.reasons().await.contains(&"BackOff".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_executed_says_so() {
    let lab = Lab::new().await;
    lab.create("p", one("broken")).await;
    let pod = lab.until("p", |pod| waiting(pod) == "CrashLoopBackOff").await;
    let end = pod.status.unwrap().container_statuses.unwrap()[0].last_state.clone().unwrap().terminated.unwrap();
    assert_eq!((end.reason.as_deref(), end.exit_code), (Some("StartError"), 128));
    assert_eq!(end.message.as_deref(), Some("exec \"/app\": no such file or directory"));
}

#[tokio::test(start_paused = true)]
async fn pods_that_end_by_themselves() {
    let lab = Lab::new().await;
    for (name, image, policy, expected) in
        [("a", "job", "Never", "Succeeded"), ("b", "crash", "Never", "Failed"), ("c", "job", "OnFailure", "Succeeded")]
    {
        let mut spec = one(image);
        spec["restartPolicy"] = json!(policy);
        lab.create(name, spec).await;
        let pod = lab.until(name, |pod| matches!(phase(pod), "Succeeded" | "Failed")).await;
        assert_eq!(phase(&pod), expected, "{image} {policy}");
        assert!(!ready(&pod));
    }
    sleep(Duration::from_secs(1)).await;
    assert_eq!(lock(&lab.fake.world).sandboxes, 0, "their namespaces are gone, their objects not");
    lab.pods().delete("a", &DeleteParams::default()).await.unwrap();
    lab.gone("a").await;
}

#[tokio::test(start_paused = true)]
async fn a_job_with_a_sidecar_ends() {
    let lab = Lab::new().await;
    lab.create(
        "p",
        json!({"restartPolicy": "Never", "initContainers": [{"name": "side", "image": "app", "restartPolicy": "Always"}],
            "containers": [{"name": "c", "image": "job"}]}),
    )
    .await;
    lab.until("p", |pod| phase(pod) == "Succeeded").await;
    assert_eq!(lab.fake.story(), ["start side", "start c", "side signal 15", "remove default/p"]);
}

#[tokio::test(start_paused = true)]
async fn images_that_come_later() {
    let lab = Lab::new().await;
    lab.create("p", one("late:v1")).await;
    let pod = lab.until("p", |pod| waiting(pod) == "ErrImagePull").await;
    let message =
        pod.status.unwrap().container_statuses.unwrap()[0].state.clone().unwrap().waiting.unwrap().message.unwrap();
    assert!(message.contains("`late:v1` is not in the local store"), "{message}");
    lab.until("p", |pod| waiting(pod) == "ImagePullBackOff").await;
    let before = lab.until("p", |_| true).await.resource_version();
    sleep(Duration::from_secs(600)).await;
    assert_eq!(lab.until("p", |_| true).await.resource_version(), before, "waiting writes nothing");
    lock(&lab.fake.world).images.insert("late:v1".into());
    lab.until("p", ready).await;

    let mut never = one("none:v1");
    never["containers"][0]["imagePullPolicy"] = json!("Never");
    lab.create("q", never).await;
    lab.until("q", |pod| waiting(pod) == "ErrImageNeverPull").await;
}

#[tokio::test(start_paused = true)]
async fn probes_decide() {
    let lab = Lab::new().await;
    lock(&lab.fake.world).programs = [("ready".into(), 1), ("alive".into(), 0)].into();
    lab.create(
        "p",
        json!({"containers": [{"name": "c", "image": "app",
            "readinessProbe": {"exec": {"command": ["ready"]}, "periodSeconds": 5},
            "livenessProbe": {"exec": {"command": ["alive"]}, "periodSeconds": 2, "failureThreshold": 2}}]}),
    )
    .await;
    let pod = lab.until("p", |pod| phase(pod) == "Running").await;
    assert!(!ready(&pod));
    sleep(Duration::from_secs(60)).await;
    assert!(!ready(&lab.until("p", |_| true).await));
    lock(&lab.fake.world).programs.insert("ready".into(), 0);
    lab.until("p", ready).await;
    lock(&lab.fake.world).programs.insert("ready".into(), 1);
    lab.until("p", |pod| !ready(pod)).await;
    lock(&lab.fake.world).programs.insert("ready".into(), 0);
    lab.until("p", ready).await;
    lock(&lab.fake.world).programs.insert("alive".into(), 1);
    lab.until("p", |pod| restarts(pod) == 1).await;
    lock(&lab.fake.world).programs.insert("alive".into(), 0);
    lab.until("p", ready).await;
    let reasons = lab.reasons().await;
    assert!(reasons.contains(&"Unhealthy".to_owned()) && reasons.contains(&"Killing".to_owned()), "{reasons:?}");
    assert_eq!(lab.fake.story().iter().filter(|what| *what == "c signal 15").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_start_that_is_awaited_is_not_seen_late() {
    let lab = Lab::new().await;
    lock(&lab.fake.world).programs = [("up".into(), 1)].into();
    lab.create(
        "p",
        json!({"containers": [{"name": "c", "image": "app", "startupProbe": {"exec": {"command": ["up"]}, "periodSeconds": 10, "failureThreshold": 3}}]}),
    )
    .await;
    lab.until("p", |pod| phase(pod) == "Running").await;
    // Three periods pass before the restart, although the probe ran far more often.
    lab.until("p", |pod| restarts(pod) == 1).await;
    let asked = lab.fake.times("c exec up");
    let killed = lab.fake.times("c signal 15").len();
    assert_eq!(killed, 1);
    assert!(asked.len() > 10, "asked {} times", asked.len());
    assert!(lab.fake.times("start c")[1] >= 20);
}

#[tokio::test(start_paused = true)]
async fn hooks_run() {
    let lab = Lab::new().await;
    lab.create(
        "p",
        json!({"containers": [{"name": "c", "image": "app", "lifecycle": {
            "postStart": {"exec": {"command": ["hello"]}}, "preStop": {"sleep": {"seconds": 7}}}}]}),
    )
    .await;
    lab.until("p", ready).await;
    lab.pods().delete("p", &DeleteParams::default()).await.unwrap();
    let asked = tokio::time::Instant::now();
    lab.gone("p").await;
    assert_eq!(lab.fake.story(), ["start c", "c exec hello", "c signal 15", "remove default/p"]);
    assert_eq!((lock(&lab.fake.world).story[2].1 - asked).as_secs(), 7, "preStop comes before SIGTERM");
}

#[tokio::test(start_paused = true)]
async fn config_maps_in_variables_and_files() {
    let lab = Lab::new().await;
    lab.create(
        "p",
        json!({
            "containers": [{"name": "c", "image": "app", "envFrom": [{"configMapRef": {"name": "settings"}}],
                "volumeMounts": [{"name": "v", "mountPath": "/etc/settings"}]}],
            "volumes": [{"name": "v", "configMap": {"name": "settings"}}],
        }),
    )
    .await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(phase(&lab.until("p", |_| true).await), "Pending");
    assert!(lab.reasons().await.contains(&"FailedMount".to_owned()));
    let maps: Api<ConfigMap> = Api::namespaced(lab.client.clone(), "default");
    let map = ConfigMap {
        metadata: kube::api::ObjectMeta { name: Some("settings".into()), ..Default::default() },
        data: Some(BTreeMap::from([("COLOR".into(), "red".into())])),
        ..ConfigMap::default()
    };
    maps.create(&PostParams::default(), &map).await.unwrap();
    lab.until("p", ready).await;
    let dir = {
        let world = lock(&lab.fake.world);
        assert_eq!(world.specs[0].env["COLOR"], "red");
        world.specs[0].mounts.iter().find(|mount| mount.target == "/etc/settings").unwrap().source.clone()
    };
    assert_eq!(std::fs::read_to_string(dir.join("COLOR")).unwrap(), "red");
    let patch = json!({"data": {"COLOR": "blue", "SIZE": "9"}});
    maps.patch("settings", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(std::fs::read_to_string(dir.join("COLOR")).unwrap(), "blue");
    assert_eq!(std::fs::read_to_string(dir.join("SIZE")).unwrap(), "9");
}

#[tokio::test(start_paused = true)]
async fn service_accounts_are_shown_to_containers() {
    let lab = Lab::new().await;
    for automount in [true, false] {
        let account =
            json!({"metadata": {"name": format!("mounts-{automount}")}, "automountServiceAccountToken": automount});
        let accounts: Api<ServiceAccount> = Api::namespaced(lab.client.clone(), "default");
        accounts.create(&PostParams::default(), &serde_json::from_value(account).unwrap()).await.unwrap();
    }
    let maps: Api<ConfigMap> = Api::namespaced(lab.client.clone(), "default");
    let root = json!({"metadata": {"name": "kube-root-ca.crt"}, "data": {"ca.crt": "root"}});
    maps.create(&PostParams::default(), &serde_json::from_value(root).unwrap()).await.unwrap();
    // The pod's own setting overrides that of its account.
    for (name, account, automount, shown) in [
        ("a", "mounts-true", None, true),
        ("b", "mounts-true", Some(false), false),
        ("c", "mounts-false", None, false),
        ("d", "mounts-false", Some(true), true),
    ] {
        let mut spec = one("app");
        spec["serviceAccountName"] = json!(account);
        spec["automountServiceAccountToken"] = json!(automount);
        lab.create(name, spec).await;
        lab.until(name, ready).await;
        let dir = {
            let world = lock(&lab.fake.world);
            let mounts = &world.specs.last().unwrap().mounts;
            let found = mounts.iter().find(|mount| mount.target == "/var/run/secrets/kubernetes.io/serviceaccount");
            found.map(|mount| (mount.source.clone(), mount.read_only))
        };
        assert_eq!(dir.is_some(), shown, "{name}");
        let Some((dir, read_only)) = dir else { continue };
        let read = |file: &str| std::fs::read_to_string(dir.join(file)).unwrap();
        assert_eq!((read("ca.crt").as_str(), read("namespace").as_str(), read_only), ("root", "default", true));
        let reviews: Api<TokenReview> = Api::all(lab.client.clone());
        let review = serde_json::from_value(json!({"spec": {"token": read("token")}})).unwrap();
        let status = reviews.create(&PostParams::default(), &review).await.unwrap().status.unwrap();
        assert_eq!(status.user.unwrap().username, Some(format!("system:serviceaccount:default:{account}")));
    }
}

#[tokio::test(start_paused = true)]
async fn pods_that_do_not_fit_wait() {
    let lab = Lab::new().await;
    let mut spec = one("app");
    spec["nodeSelector"] = json!({"disk": "ssd"});
    lab.create("p", spec).await;
    let pod = lab.until("p", |pod| condition(pod, "PodScheduled") == "False").await;
    assert!(pod.spec.unwrap().node_name.is_none());
    assert!(lab.reasons().await.contains(&"FailedScheduling".to_owned()));
    let nodes: Api<Node> = Api::all(lab.client.clone());
    let patch = json!({"metadata": {"labels": {"disk": "ssd"}}});
    nodes.patch("pocket", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    lab.until("p", ready).await;
}

#[tokio::test(start_paused = true)]
async fn the_active_deadline_ends_a_pod() {
    let lab = Lab::new().await;
    let mut spec = one("app");
    spec["activeDeadlineSeconds"] = json!(20);
    lab.create("p", spec).await;
    lab.until("p", ready).await;
    let pod = lab.until("p", |pod| phase(pod) == "Failed").await;
    assert_eq!(pod.status.unwrap().reason.as_deref(), Some("DeadlineExceeded"));
    assert_eq!(lab.fake.story(), ["start c", "c signal 15", "remove default/p"]);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_comes_back_starts_its_pods_again() {
    let lab = Lab::new().await;
    lab.create("p", one("app")).await;
    let mut never = one("app");
    never["restartPolicy"] = json!("Never");
    lab.create("q", never).await;
    let before = lab.until("p", ready).await;
    lab.until("q", ready).await;
    let Lab { client, fake, dir, shutdown, kubelet } = lab;
    shutdown.cancel();
    kubelet.await.unwrap();
    assert_eq!(lock(&fake.world).sandboxes, 0, "a node that shuts down leaves nothing");
    std::fs::create_dir_all(dir.path().join("pods/unknown")).unwrap();

    let lab = Lab::with(client, fake, dir);
    let pod = lab.until("p", |pod| ready(pod) && restarts(pod) == 1).await;
    assert_eq!(pod.uid(), before.uid());
    let end = pod.status.unwrap().container_statuses.unwrap()[0].last_state.clone().unwrap().terminated.unwrap();
    assert_eq!((end.exit_code, end.reason.as_deref()), (255, Some("Unknown")));
    lab.until("q", |pod| phase(pod) == "Failed").await;
    assert!(!lab.dir.path().join("pods/unknown").exists());
}

#[tokio::test(start_paused = true)]
async fn many_pods_at_once() {
    let lab = Arc::new(Lab::new().await);
    for index in 0..50 {
        lab.create(&format!("p{index}"), one("app")).await;
    }
    for index in 0..50 {
        lab.until(&format!("p{index}"), ready).await;
    }
    for index in 0..50 {
        lab.pods().delete(&format!("p{index}"), &DeleteParams::default()).await.unwrap();
    }
    for index in 0..50 {
        lab.gone(&format!("p{index}")).await;
    }
    assert_eq!(lock(&lab.fake.world).sandboxes, 0);
}

#[tokio::test(start_paused = true)]
async fn host_ports_are_open_while_the_pod_lives_or_it_does_not_start() {
    let lab = Lab::new().await;
    // Another program of the host has the port.
    let other = tokio::net::TcpListener::bind("127.78.0.1:30080").await.unwrap();
    let mut spec = one("app");
    spec["containers"][0]["ports"] = json!([{"containerPort": 80, "hostPort": 30_080}]);
    lab.create("p", spec.clone()).await;
    sleep(Duration::from_secs(10)).await;
    assert_eq!(phase(&lab.until("p", |_| true).await), "Pending");
    let events = Api::<Event>::namespaced(lab.client.clone(), "default").list(&ListParams::default()).await.unwrap();
    let why = events.items.iter().find(|event| event.reason.as_deref() == Some("FailedCreatePodSandBox")).unwrap();
    let why = why.message.clone().unwrap();
    assert!(why.contains("hostPort 127.78.0.1:30080 is held by a Service or by another program"), "{why}");
    drop(other);
    lab.until("p", ready).await;
    for address in ["127.78.0.1:30080", "127.78.0.254:30080"] {
        tokio::net::TcpStream::connect(address).await.unwrap();
    }
    lab.create("q", spec).await;
    let pod = lab.until("q", |pod| condition(pod, "PodScheduled") == "False").await;
    assert!(pod.spec.unwrap().node_name.is_none(), "the port is taken");
    lab.pods().delete("p", &DeleteParams::default()).await.unwrap();
    lab.gone("p").await;
    lab.until("q", ready).await;
    lab.pods().delete("q", &DeleteParams::default()).await.unwrap();
    lab.gone("q").await;
    for address in ["127.78.0.1:30080", "127.78.0.254:30080"] {
        tokio::net::TcpStream::connect(address).await.unwrap_err();
    }
}
