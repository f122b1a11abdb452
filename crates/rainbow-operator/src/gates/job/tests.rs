//! Jobs of gates against an API server, whose Job controller and kubelet are played by the tests.

use super::*;
use crate::{clock::Clock, count::CountVia, gates::answer::Place};
use kube::{
    Client, Resource as _,
    api::{Patch, PatchParams},
};
use rainbow_api::GateCheck;
use rainbow_plan::{Check, Moment, Time};
use tokio::time::Instant;

struct Cluster {
    client: Client,
    gate: JobGate,
    place: Place,
    since: Time,
    number: u32,
    /// Time that has passed since the start, in seconds.
    passed: i64,
}

impl Cluster {
    fn start(gate: Value) -> Self {
        let api = pocket_api::Api::new(pocket_api::Options::default()).unwrap();
        let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let place = Place {
            namespace: "default".into(),
            rainbow: "shop".into(),
            rainbow_uid: "uid-of-shop".into(),
            stage: "active".into(),
            tier: "frontend".into(),
            service: "frontend-active".into(),
            candidate: Some("frontend-v2".into()),
            ports: vec![("http".into(), 8080, "TCP".into())],
            tiers: vec![
                variable("FRONTEND", "frontend-v2:8080"),
                variable("BACKEND", "backend-v2:9090"),
                variable("COLOR", "no"),
            ],
            args: Vec::new(),
        };
        let gate = serde_json::from_value(gate).unwrap();
        Self { client: api.client("default"), gate, place, since: Time(1_790_000_000_123), number: 0, passed: 0 }
    }

    async fn measure(&self) -> Answer {
        let check = Check { stage: "active".into(), gate: "smoke".into(), color: "v2".into(), moment: Moment::Before };
        let question = Question {
            client: &self.client,
            clock: Clock::Tokio { base: Time(Clock::System.now().0 + self.passed * 1_000), start: Instant::now() },
            via: CountVia::Api,
            check: &check,
            gate: &GateCheck::default(),
            place: &self.place,
            since: self.since,
            number: self.number,
        };
        measure(&question, &self.gate).await
    }

    fn jobs(&self) -> Api<Job> {
        Api::default_namespaced(self.client.clone())
    }

    async fn job(&self) -> Job {
        let mut jobs = self.jobs().list(&ListParams::default()).await.unwrap().items;
        assert_eq!(jobs.len(), 1, "one Job a measurement");
        jobs.remove(0)
    }

    /// Ends the Job, as the Job controller does.
    async fn end(&self, type_: &str, reason: &str, message: &str) {
        let conditions = json!([{ "type": type_, "status": "True", "reason": reason, "message": message }]);
        let status = Patch::Merge(json!({ "status": { "conditions": conditions } }));
        self.jobs().patch_status(&self.job().await.name_any(), &PatchParams::default(), &status).await.unwrap();
    }

    /// Makes a pod of the Job with a status.
    async fn pod(&self, status: Value) {
        let (pods, job): (Api<Pod>, _) = (Api::default_namespaced(self.client.clone()), self.job().await);
        let name = job.name_any();
        let pod = json!({
            "metadata": { "name": format!("{name}-x"), "labels": { "job-name": name }, "ownerReferences": [job.controller_owner_ref(&()).unwrap()] },
            "spec": { "containers": [{ "name": "check", "image": "check:1" }] },
        });
        pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
        let status = Patch::Merge(json!({ "status": status }));
        pods.patch_status(&format!("{name}-x"), &PatchParams::default(), &status).await.unwrap();
    }
}

fn check_with(container: Value) -> Value {
    let mut all = json!({ "name": "check", "image": "check:1" });
    for (field, value) in container.as_object().unwrap() {
        all[field] = value.clone();
    }
    json!({ "template": { "spec": { "containers": [all] } } })
}

fn state(state: Value) -> Value {
    json!({ "containerStatuses": [{
        "name": "check", "image": "check:1", "imageID": "", "ready": false, "restartCount": 0, "state": state,
    }] })
}

fn why(answer: Answer) -> String {
    match answer {
        Answer::Pending { why } => format!("pending: {why}"),
        Answer::Error { why, .. } => format!("error: {why}"),
        answer => panic!("{answer:?}"),
    }
}

#[tokio::test]
async fn a_job_has_what_it_needs_and_is_made_once() {
    let env = json!([{ "name": "STAGE", "value": "mine" }, { "name": "URL", "value": "http://$(CANDIDATE)/" }]);
    let cluster = Cluster::start(check_with(json!({ "env": env })));
    let first = cluster.measure().await;
    let job = cluster.job().await;
    let name = job.name_any();
    assert!(name.starts_with("shop-smoke-") && name.len() == "shop-smoke-".len() + 8, "{name}");
    assert_eq!(first, Answer::Pending { why: format!("Job `{name}` runs") });
    assert_eq!(cluster.measure().await, first, "an operator that starts again looks at the Job");
    let job = json!(cluster.job().await);
    assert_eq!(
        job["metadata"]["labels"],
        json!({ "rainbow.dev/rainbow": "shop", "app.kubernetes.io/managed-by": "rainbow" })
    );
    let owner =
        json!([{ "apiVersion": "rainbow.dev/v1alpha1", "kind": "Rainbow", "name": "shop", "uid": "uid-of-shop" }]);
    assert_eq!(job["metadata"]["ownerReferences"], owner);
    let spec = &job["spec"];
    assert_eq!((&spec["backoffLimit"], &spec["activeDeadlineSeconds"]), (&json!(0), &json!(600)));
    assert_eq!(spec["ttlSecondsAfterFinished"], 3600);
    let pod = &spec["template"]["spec"];
    assert_eq!(pod["restartPolicy"], "Never");
    assert_eq!(pod["containers"][0]["terminationMessagePolicy"], "FallbackToLogsOnError");
    let variable = |name: &str, value: &str| json!({ "name": name, "value": value });
    assert_eq!(
        pod["containers"][0]["env"],
        json!([
            variable("ACTIVE", "frontend-active:8080"),
            variable("CANDIDATE", "frontend-v2:8080"),
            variable("COLOR", "v2"),
            variable("FRONTEND", "frontend-v2:8080"),
            variable("BACKEND", "backend-v2:9090"),
            variable("STAGE", "mine"),
            variable("URL", "http://$(CANDIDATE)/"),
        ])
    );
}

#[tokio::test]
async fn the_exit_code_decides() {
    let cluster = Cluster::start(check_with(json!({})));
    cluster.measure().await;
    cluster.end("Complete", "CompletionsReached", "Reached expected number of succeeded pods").await;
    let Answer::Value { result, is_good: true, query, .. } = cluster.measure().await else { panic!() };
    let name = cluster.job().await.name_any();
    assert_eq!((result, query), (json!(0), Some(format!("job/{name}"))));

    let cluster = Cluster { number: 1, ..Cluster::start(check_with(json!({}))) };
    cluster.measure().await;
    assert_ne!(cluster.job().await.name_any(), name, "each measurement has a Job of its own");
    cluster
        .pod(state(json!({ "terminated": { "exitCode": 7, "reason": "Error", "message": "try\nno price\n" } })))
        .await;
    assert!(why(cluster.measure().await).starts_with("pending: "), "the Job may make another pod");
    cluster.end("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit").await;
    let Answer::Value { result, names, is_good: false, .. } = cluster.measure().await else { panic!() };
    assert_eq!(result, json!(7));
    assert_eq!(names, [("message", json!("container `check` ended with code 7: no price"))]);
}

#[tokio::test]
async fn a_pod_that_does_not_start_is_an_error() {
    for reason in ["ErrImagePull", "ImagePullBackOff", "CreateContainerConfigError", "InvalidImageName"] {
        let cluster = Cluster::start(check_with(json!({})));
        cluster.measure().await;
        let name = cluster.job().await.name_any();
        cluster.pod(state(json!({ "waiting": { "reason": "ContainerCreating" } }))).await;
        assert_eq!(why(cluster.measure().await), format!("pending: Job `{name}` runs"));
        let waits = Patch::Merge(
            json!({ "status": state(json!({ "waiting": { "reason": reason, "message": "no such thing" } })) }),
        );
        let pods: Api<Pod> = Api::default_namespaced(cluster.client.clone());
        pods.patch_status(&format!("{name}-x"), &PatchParams::default(), &waits).await.unwrap();
        let expected = format!("error: Job `{name}`: container `check` of image `check:1`: {reason}: no such thing");
        assert_eq!(why(cluster.measure().await), expected);
        let left = cluster.jobs().get_opt(&name).await.unwrap();
        assert!(left.is_none_or(|job| job.metadata.deletion_timestamp.is_some()), "a late start would answer nothing");
    }
}

#[tokio::test]
async fn a_job_that_takes_too_long_is_an_error() {
    let cluster = Cluster::start(check_with(json!({})));
    cluster.measure().await;
    let name = cluster.job().await.name_any();
    let condition = json!({ "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes are available" });
    cluster.pod(json!({ "conditions": [condition] })).await;
    let waits = "not scheduled: 0/1 nodes are available";
    assert_eq!(why(cluster.measure().await), format!("pending: Job `{name}`: {waits}"));
    cluster.end("Failed", "DeadlineExceeded", "Job was active longer than specified deadline").await;
    let expected = format!("error: Job `{name}`: Job was active longer than specified deadline: {waits}");
    assert_eq!(why(cluster.measure().await), expected);

    // Before the deadline takes the pod and what the scheduler says of it.
    let mut cluster = Cluster::start(check_with(json!({})));
    cluster.measure().await;
    let condition = json!({ "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes are available" });
    cluster.pod(json!({ "conditions": [condition] })).await;
    cluster.passed = 530;
    assert_eq!(why(cluster.measure().await), format!("pending: Job `{name}`: {waits}"));
    cluster.passed = 545;
    assert_eq!(why(cluster.measure().await), format!("error: Job `{name}`: {waits}"));
}

/// The same color may come to a stage again within the hour for which a Job is kept.
#[tokio::test]
async fn the_result_of_an_earlier_release_does_not_count() {
    let mut cluster = Cluster::start(check_with(json!({})));
    cluster.measure().await;
    let first = cluster.job().await;
    cluster.since = Time(cluster.since.0 + 60_000);
    assert!(why(cluster.measure().await).ends_with(" runs"), "a Job that runs answers now");
    cluster.end("Complete", "CompletionsReached", "").await;
    assert!(why(cluster.measure().await).ends_with("is being deleted"));
    assert!(why(cluster.measure().await).ends_with(" runs"));
    assert_ne!(cluster.job().await.uid(), first.uid());
    cluster.end("Complete", "CompletionsReached", "").await;
    assert!(matches!(cluster.measure().await, Answer::Value { is_good: true, .. }));
}

#[tokio::test]
async fn what_cannot_be_made_is_an_error() {
    for (gate, expected) in [
        (json!({ "template": {} }), "error: job.template.spec is missing: write a pod template, with its containers"),
        (
            json!({ "template": { "metadata": { "labels": { "rainbow.dev/tier": "web" } }, "spec": { "containers": [] } } }),
            "error: job.template.metadata.labels: `rainbow.dev/tier` is Rainbow's own: give the label another name",
        ),
        (check_with(json!({ "env": "x" })), "error: job.template.spec.containers[].env is no list"),
    ] {
        assert_eq!(why(Cluster::start(gate).measure().await), expected);
    }
    let refused = why(Cluster::start(check_with(json!({ "name": "Not A Name" }))).measure().await);
    assert!(refused.starts_with("error: Job `shop-smoke-") && refused.contains("Not A Name"), "{refused}");

    let mut cluster = Cluster::start(check_with(json!({})));
    cluster.measure().await;
    let name = cluster.job().await.name_any();
    cluster.place.rainbow_uid = "another".into();
    let expected = format!("error: Job `{name}` exists and is not Rainbow's: delete it, or give the gate another name");
    assert_eq!(why(cluster.measure().await), expected);
}
