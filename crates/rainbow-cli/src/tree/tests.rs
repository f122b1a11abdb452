use super::*;
use crate::{golden, terminal::Charset, view::World};
use serde_json::json;

/// Makes an application of two tiers whose stage `active` may be in a shift from v1 to v2.
pub(crate) fn world(shift: serde_json::Value) -> World {
    let tiers = json!([
        { "name": "backend", "replicas": 2, "template": {} },
        { "name": "frontend", "replicas": 2, "needs": [{ "tier": "backend" }], "template": {} },
    ]);
    let color = |name: &str, revision: i64, phase: &str| {
        json!({
            "apiVersion": "rainbow.dev/v1alpha1", "kind": "Color",
            "metadata": { "name": format!("shop-{name}") },
            "spec": {
                "rainbow": "shop", "color": name, "revision": revision, "tiers": tiers,
                "instances": [
                    { "tier": "backend", "color": name, "identity": "1" },
                    { "tier": "frontend", "color": name, "identity": "2" },
                ],
            },
            "status": { "phase": phase },
        })
    };
    let labels = |tier: &str, color: &str| json!({ "rainbow.dev/rainbow": "shop", "rainbow.dev/tier": tier, "rainbow.dev/color": color });
    let deployment = |tier: &str, color: &str| {
        json!({
            "metadata": { "name": format!("{tier}-{color}"), "labels": labels(tier, color) },
            "spec": { "replicas": 2, "selector": {}, "template": {} },
        })
    };
    let pod = |tier: &str, color: &str, number: i32, ready: bool, member: bool| {
        let mut labels = labels(tier, color);
        if member {
            labels["member.rainbow.dev/active"] = json!("yes");
        }
        json!({
            "metadata": { "name": format!("{tier}-{color}-{number}"), "labels": labels },
            "spec": { "containers": [], "nodeName": "pocket" },
            "status": {
                "phase": "Running", "podIP": format!("10.244.0.{number}"),
                "conditions": [{ "type": "Ready", "status": if ready { "True" } else { "False" } }],
                "containerStatuses": if ready { json!([]) } else { json!([{
                    "name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 3,
                    "state": { "waiting": { "reason": "CrashLoopBackOff" } },
                }]) },
            },
        })
    };
    let from = |value| serde_json::from_value(value).unwrap();
    World {
        rainbow: serde_json::from_value(json!({
            "apiVersion": "rainbow.dev/v1alpha1", "kind": "Rainbow",
            "metadata": { "name": "shop", "namespace": "default", "generation": 3 },
            "spec": { "tiers": tiers },
            "status": {
                "observedGeneration": 3, "color": "v2",
                "stages": [
                    { "name": "smoke", "service": "frontend-smoke", "color": "v2", "target": "v2" },
                    { "name": "active", "service": "frontend-active", "color": "v1", "target": "v2", "shift": shift },
                ],
                "conditions": [{
                    "type": "Reconciling", "status": "True", "reason": "Shifting", "message": "stage active moves to v2",
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                }],
            },
        }))
        .unwrap(),
        colors: vec![
            serde_json::from_value(color("v0", 1, "Retired")).unwrap(),
            serde_json::from_value(color("v1", 2, "Serving")).unwrap(),
            serde_json::from_value(color("v2", 3, "Serving")).unwrap(),
        ],
        deployments: ["v1", "v2"]
            .into_iter()
            .flat_map(|color| [deployment("backend", color), deployment("frontend", color)])
            .map(|value| serde_json::from_value(value).unwrap())
            .collect(),
        pods: vec![
            from(pod("backend", "v1", 1, true, false)),
            from(pod("backend", "v1", 2, true, false)),
            from(pod("frontend", "v1", 3, true, true)),
            from(pod("frontend", "v1", 4, true, false)),
            from(pod("backend", "v2", 5, true, false)),
            from(pod("backend", "v2", 6, false, false)),
            from(pod("frontend", "v2", 7, true, true)),
            from(pod("frontend", "v2", 8, true, false)),
        ],
    }
}

const NOW: &str = "2026-01-01T00:00:20Z";

fn look(room: Room) -> Look {
    Look { wide: false, pods: false, room }
}

/// Draws as in a pipe.
fn drawn(world: &World, wide: bool) -> String {
    let room = Room { columns: None, rows: None, charset: Charset::Utf8 };
    plain(&draw(&View::new(world), &Look { wide, ..look(room) }, NOW.parse().unwrap()))
}

fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

/// Compares drawings for terminals of 24 lines.
#[track_caller]
fn check(name: &str, world: &World) {
    golden::check_with(name, |room| {
        let text = draw(&View::new(world), &look(room), NOW.parse().unwrap());
        assert!(text.lines().count() < 24, "{name}: {text}");
        room.cut(&text)
    });
}

fn shifting() -> World {
    world(json!({
        "from": "v1", "to": "v2", "phase": "Shifting", "moved": 1, "of": 2,
        "startedAt": "2026-01-01T00:00:00Z", "nextStepAt": "2026-01-01T00:00:32Z",
    }))
}

/// Makes the stage `active` move by steps, and be at one of them.
fn at_step(step: i32, gates: serde_json::Value) -> World {
    let mut world = world(json!({
        "from": "v1", "to": "v2", "phase": "Shifting", "moved": 1, "of": 2, "step": step, "steps": 4,
        "startedAt": "2026-01-01T00:00:00Z", "stepSince": "2026-01-01T00:00:05Z",
    }));
    world.rainbow.spec.gates = serde_json::from_value(
        json!([{ "name": "errors", "count": 3, "traffic": {} }, { "name": "release", "manual": {} }]),
    )
    .unwrap();
    world.rainbow.spec.stages =
        serde_json::from_value(json!([{ "name": "smoke" }, { "name": "active", "shift": { "steps": [
        { "pods": 1 }, { "pause": {} }, { "gate": "errors" }, { "percent": 100 },
    ] } }]))
        .unwrap();
    world.rainbow.status.as_mut().unwrap().stages[1].gates = serde_json::from_value(gates).unwrap();
    world
}

#[test]
fn steps_and_gates_are_drawn() {
    let gate = |name: &str| {
        json!({
            "name": name, "color": "v2", "moment": "Step", "at": 3, "verdict": "Running", "since": "2026-01-01T00:00:05Z",
            "counts": { "passed": 2, "failed": 1 },
        })
    };
    let mut world = at_step(3, json!([gate("errors"), gate("release")]));
    world.rainbow.status.as_mut().unwrap().stages[1].message =
        Some("waits for gate `errors` of color `v2` at step 3".into());
    check("status-gates", &world);
    let paused = drawn(&at_step(2, json!([])), false);
    assert!(paused.contains("shifting v1 → v2 1/2, step 2 of 4: pause, for `rainbow resume`\n"), "{paused}");
}

#[test]
fn a_rejected_color_names_its_gate() {
    let mut world = world(json!(null));
    world.colors[2].status.as_mut().unwrap().rejected_by = Some("active/errors".into());
    let text = drawn(&world, false);
    assert!(text.contains("v2  ██████████ 100% of smoke  Serving  rejected by gate errors of active\n"), "{text}");
}

/// Gives each tier and color the given number of pods.
fn with_pods(mut world: World, number: usize) -> World {
    let pods = std::mem::take(&mut world.pods);
    for pod in pods {
        for copy in 0..number {
            let mut pod = pod.clone();
            pod.metadata.name = pod.metadata.name.map(|name| format!("{name}-{copy}"));
            world.pods.push(pod);
        }
    }
    world
}

#[test]
fn in_the_middle_of_a_shift() {
    check("status-shift", &shifting());
}

/// The headline and the stage that moves are on the screen even with 80 pods.
#[test]
fn what_moves_is_on_a_small_screen() {
    check("status-crowd", &with_pods(shifting(), 10));
    let mut crowd = with_pods(shifting(), 10);
    let stages = &mut crowd.rainbow.status.as_mut().unwrap().stages;
    let smoke = stages[0].clone();
    let many = (0..30).map(|number| rainbow_api::StageStatus { name: format!("s{number}"), ..smoke.clone() });
    stages.splice(0..1, many);
    let text = plain(&draw(&View::new(&crowd), &look(golden::room(80)), NOW.parse().unwrap()));
    assert!(text.lines().count() == 23 && text.lines().nth(1).unwrap().contains("stage active"), "{text}");
    assert!(text.lines().last().unwrap().ends_with(" more lines"), "{text}");
}

#[test]
fn pods_are_all_shown_where_that_is_asked_for() {
    let world = with_pods(shifting(), 10);
    let look = Look { pods: true, ..look(golden::room(80)) };
    let text = draw(&View::new(&world), &look, NOW.parse().unwrap());
    let pods: Vec<&str> = world.pods.iter().filter_map(|pod| pod.metadata.name.as_deref()).collect();
    assert!(pods.len() == 80 && pods.into_iter().all(|pod| text.contains(pod)), "{text}");
}

/// No pod is ready: the bar is that of the start, and not full.
#[test]
fn a_start_is_not_a_share() {
    let mut world = world(json!(null));
    world.rainbow.status.as_mut().unwrap().stages.truncate(1);
    world.colors.drain(..2);
    let starting = serde_json::from_value(json!({ "phase": "Starting" })).unwrap();
    world.colors[0].status = Some(starting);
    world.pods.retain(|pod| !pod.metadata.name.as_deref().unwrap().starts_with("frontend-v2"));
    check("status-start", &world);
    let text = drawn(&world, false);
    assert!(text.contains("v2  ███░░░░░░░ 1/4 pods ready  Starting\n"), "{text}");
    assert!(!text.contains('%'), "{text}");
}

/// v0 still has a pod in the stage that now moves from v1 to v2.
#[test]
fn a_third_color_has_its_share() {
    let mut world = shifting();
    let mut pod = world.pods[2].clone();
    pod.metadata.name = Some("frontend-v0-1".into());
    pod.metadata.labels.as_mut().unwrap().insert("rainbow.dev/color".into(), "v0".into());
    world.pods.push(pod);
    let view = View::new(&world);
    let shares: Vec<_> = view.stages[1].shares.iter().map(|share| (share.color.as_str(), share.percent)).collect();
    assert_eq!(shares, [("v1", 17), ("v2", 50), ("v0", 33)]);
}

#[test]
fn what_is_told_is_never_older_than_the_last_command() {
    let mut world = shifting();
    world.rainbow.metadata.generation = Some(4);
    let text = drawn(&world, false);
    let headline = "shop  Not seen by the operator yet: what follows is older than the last change\n";
    assert!(text.starts_with(headline), "{text}");
    // The status was stalled by the spec before.
    world.rainbow.status.as_mut().unwrap().conditions[0].type_ = "Stalled".into();
    assert!(drawn(&world, false).starts_with(headline));
}

#[test]
fn what_is_deleted_serves_no_more() {
    let mut world = shifting();
    let time: Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time> =
        serde_json::from_value(json!("2026-01-01T00:00:10Z")).unwrap();
    world.colors[1].metadata.deletion_timestamp = time.clone();
    let text = drawn(&world, false);
    assert!(text.contains("v1  █████░░░░░  50% of active  Deleting\n"), "{text}");
    world.rainbow.metadata.deletion_timestamp = time;
    let text = drawn(&world, false);
    assert!(text.starts_with("shop  Deleting: pods end, entry tiers first\n") && !text.contains("Serving"), "{text}");
}

/// The status of the stage is newer than that of its color.
#[test]
fn a_color_in_no_stage_does_not_serve() {
    let mut world = world(json!(null));
    world.rainbow.status.as_mut().unwrap().stages.truncate(1);
    let text = drawn(&world, false);
    let (_, rest) = text.split_once("in no stage").unwrap();
    assert!(rest.contains("v1  Leaving\n") && !rest.contains("Serving"), "{text}");
}

#[test]
fn a_pause_is_said_once() {
    let mut world = world(json!({
        "from": "v1", "to": "v2", "phase": "Paused", "moved": 1, "of": 2,
        "startedAt": "2026-01-01T00:00:00Z", "pausedSince": "2026-01-01T00:00:05Z",
    }));
    let status = world.rainbow.status.as_mut().unwrap();
    status.stages[1].message = Some("paused".into());
    status.conditions[0].reason = "Paused".into();
    let message = "stage active is paused on the way from v1 to v2: 1 of 2 pods since 2026-01-01T00:00:05Z";
    status.conditions[0].message = message.into();
    check("status-paused", &world);
    for line in drawn(&world, false).lines() {
        assert!(line.to_lowercase().matches("paused").count() < 2, "{line}");
    }
}

#[test]
fn wide_adds_addresses() {
    let text = drawn(&world(json!(null)), true);
    assert!(text.contains("backend-v1-1  Ready  10.244.0.1  pocket\n"), "{text}");
    assert!(text.contains("└─ v1  ██████████ 100% of active  Serving"), "{text}");
}

#[test]
fn before_the_operator_has_seen_it() {
    let mut world = world(json!(null));
    world.rainbow.status = None;
    world.colors.clear();
    assert_eq!(drawn(&world, false), "shop  Not seen by the operator yet\n");
}

#[test]
fn a_drain_shows_what_holds_it() {
    let mut world = world(json!(null));
    let color = |value| serde_json::from_value::<rainbow_api::ColorStatus>(value).unwrap();
    world.colors[1].status = Some(color(json!({ "phase": "Retired", "drain": {
        "since": "2026-01-01T00:00:00Z", "connections": 0, "unknownPods": 0, "pods": 0,
        "cut": [{ "pod": "frontend-v1-3", "port": 80, "connections": 2 }],
    } })));
    world.colors[2].status = Some(color(json!({
        "phase": "Draining", "connections": 5,
        "drain": {
            "since": "2026-01-01T00:00:00Z", "deadline": "2026-01-01T10:00:20Z",
            "connections": 5, "unknownPods": 1, "pods": 4,
            "holders": [
                { "pod": "frontend-v2-7", "tier": "frontend", "connections": 5, "oldestSeconds": 9 },
                { "pod": "frontend-v2-8", "tier": "frontend", "unknown": "no answer" },
            ],
        },
        "conditions": [{
            "type": "ConnectionsUnknown", "status": "True", "reason": "NoAnswer", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:10Z",
        }],
    })));
    let text = drawn(&world, false);
    for line in [
        "v2  ██████████ 100% of smoke  Draining  5 connections, 1 pod unknown for 10s, ends in 10h at the latest\n",
        "frontend-v2-7  Ready  5 connections  in active\n",
        "frontend-v2-8  Ready  unknown: no answer\n",
        "v1  ██████████ 100% of active  Retired  2 connections cut at its deadline\n",
    ] {
        assert!(text.contains(line), "{line}{text}");
    }
}

/// Each stage shows its own frontends, and the address of its backend.
#[test]
fn tiers_of_stages_are_drawn_with_them() {
    let mut world = world(json!(null));
    for color in &mut world.colors {
        color.spec.tiers[1].needs[0].compatible = rainbow_api::Compatible::Backward;
    }
    let status = world.rainbow.status.as_mut().unwrap();
    for (stage, color) in status.stages.iter_mut().zip(["v2", "v1"]) {
        let message = (color == "v1").then(|| "waits".to_owned());
        let service = format!("backend-{}", stage.name);
        let tier =
            TierStatus { tier: "backend".into(), service, color: Some(color.into()), message, ..TierStatus::default() };
        stage.tiers.push(tier);
    }
    let belong = |metadata: &mut kube::api::ObjectMeta, stage: &str| {
        let labels = metadata.labels.as_mut().unwrap();
        if labels["rainbow.dev/tier"] == "frontend" {
            labels.insert("rainbow.dev/belongs-to".into(), stage.into());
        }
    };
    world.deployments.iter_mut().for_each(|deployment| belong(&mut deployment.metadata, "active"));
    world.pods.iter_mut().for_each(|pod| belong(&mut pod.metadata, "active"));
    let text = drawn(&world, false);
    let (smoke, active) = text.split_once("─ stage active").unwrap();
    assert!(smoke.contains("├─ tier backend  backend-smoke  v2\n"), "{text}");
    assert!(smoke.contains("backend  ") && !smoke.contains("frontend-v2-"), "{text}");
    assert!(active.contains("├─ tier backend  backend-active  v1  waits\n"), "{text}");
    assert!(active.contains("frontend  2/2 ready"), "{text}");
}

#[test]
fn shared_pods_are_drawn_once() {
    let mut world = world(json!(null));
    world.colors[2].spec.instances[0].color = "v1".into();
    let text = drawn(&world, false);
    assert!(text.contains("backend  2/2 ready  of v1\n"), "{text}");
    assert!(text.contains("backend  2/2 ready  shared with v2\n"), "{text}");
    let all = drawn(&world, true);
    assert!(all.contains("backend  2/2 ready  shared with v2  pods as above\n"), "{all}");
    assert_eq!(all.matches("backend-v1-1").count(), 1, "{all}");
}
