//! An application as a tree: stages, the colors they serve, their tiers, their pods.

use std::{collections::BTreeSet, fmt::Write};

use anstyle::Style;
use jiff::Timestamp;
use rainbow_api::{ColorPhase, ShiftPhase, TierStatus};

use crate::{
    paint::Painted,
    printer::{BAD, BUSY, DIM, GOOD, NAME},
    view::{ColorView, PodView, Share, StageView, State, TierView, View},
    words::{self, count},
};

/// Cells of a share bar.
const BAR: i32 = 10;

struct Node {
    text: String,
    children: Vec<Node>,
}

/// How it is drawn, and what has been.
struct Drawing {
    wide: bool,
    now: Timestamp,
    /// Colors that were drawn in full.
    colors: BTreeSet<String>,
    /// Tier, color and stage of the instances whose pods were drawn: shared ones are drawn once.
    instances: BTreeSet<(String, String, Option<String>)>,
}

/// Draws a view. `wide` adds addresses and nodes. `now` says how far away the next step is.
pub(crate) fn draw(view: &View, wide: bool, now: Timestamp) -> String {
    let mut drawing = Drawing { wide, now, colors: BTreeSet::new(), instances: BTreeSet::new() };
    let mut children: Vec<Node> = view.stages.iter().map(|stage| stage_node(stage, view, &mut drawing)).collect();
    let rest: Vec<&ColorView> = view.colors.iter().filter(|color| !drawing.colors.contains(&color.name)).collect();
    let rest: Vec<Node> =
        rest.into_iter().map(|color| color_node(&title(&color.name, None), color, Tiers::All, &mut drawing)).collect();
    if !rest.is_empty() {
        children.push(Node { text: format!("{DIM}in no stage{DIM:#}"), children: rest });
    }
    let root = Node { text: root(view), children };
    let mut text = String::new();
    write_node(&root, "", "", &mut text);
    text
}

fn write_node(node: &Node, first: &str, rest: &str, text: &mut String) {
    text.push_str(first);
    text.push_str(node.text.trim_end());
    text.push('\n');
    for (at, child) in node.children.iter().enumerate() {
        let (branch, below) = if at + 1 < node.children.len() { ("├─ ", "│  ") } else { ("└─ ", "   ") };
        write_node(child, &format!("{rest}{branch}"), &format!("{rest}{below}"), text);
    }
}

fn root(view: &View) -> String {
    let (style, word) = match view.state {
        State::Ready => (GOOD, "Ready"),
        State::Reconciling => (BUSY, "Reconciling"),
        State::Paused => (BUSY, "Paused"),
        State::Stalled => (BAD, "Stalled"),
        State::Unobserved => (BUSY, "Not seen by the operator yet"),
    };
    let message = view.message.as_ref().map(|message| format!(": {message}")).unwrap_or_default();
    format!("{NAME}{}{NAME:#}  {style}{word}{style:#}{message}", view.name)
}

fn stage_node(stage: &StageView, view: &View, drawing: &mut Drawing) -> Node {
    let mut text = format!("stage {NAME}{}{NAME:#}  {DIM}{}{DIM:#}", stage.name, stage.service);
    if let Some(shift) = &stage.shift {
        let phase = match shift.phase {
            ShiftPhase::Preparing => "preparing",
            ShiftPhase::Shifting => "shifting",
            ShiftPhase::Paused => "paused",
            ShiftPhase::Finishing => "finishing",
        };
        let _ = match shift.phase {
            ShiftPhase::Finishing => write!(text, "  {BUSY}{phase}{BUSY:#} {}/{}", shift.moved, shift.of),
            _ => {
                let (from, to) = (Painted(&shift.from), Painted(&shift.to));
                write!(text, "  {BUSY}{phase}{BUSY:#} {from} → {to} {}/{}", shift.moved, shift.of)
            }
        };
        if let Some(seconds) = shift.next_step_at.as_deref().and_then(|time| until(time, drawing.now)) {
            let _ = write!(text, ", next step in {seconds}s");
        }
    } else if stage.color.is_none() {
        let _ = write!(text, "  {BUSY}serves nothing yet{BUSY:#}");
    }
    if let Some(message) = &stage.message {
        let _ = write!(text, "  {BUSY}{message}{BUSY:#}");
    }
    let tiers = stage.tiers.iter().map(|tier| moving_tier_node(tier, drawing.now)).collect::<Vec<_>>();
    let colors = stage.shares.iter().map(|share| share_node(share, &stage.name, view, drawing));
    Node { children: tiers.into_iter().chain(colors).collect(), text }
}

/// A tier that moves on its own: through which address callers reach it, and which color serves them.
fn moving_tier_node(tier: &TierStatus, now: Timestamp) -> Node {
    let mut text = format!("tier {NAME}{}{NAME:#}  {DIM}{}{DIM:#}", tier.tier, tier.service);
    let _ = match (&tier.shift, &tier.color) {
        (Some(shift), _) if shift.phase != ShiftPhase::Finishing => {
            let (from, to) = (Painted(&shift.from), Painted(&shift.to));
            write!(text, "  {BUSY}moves{BUSY:#} {from} → {to} {}/{}", shift.moved, shift.of)
        }
        (_, Some(color)) => write!(text, "  {}", Painted(color)),
        (_, None) => write!(text, "  {BUSY}serves nothing yet{BUSY:#}"),
    };
    let next = tier.shift.as_ref().and_then(|shift| shift.next_step_at.as_deref());
    if let Some(seconds) = next.and_then(|time| until(time, now)) {
        let _ = write!(text, ", next step in {seconds}s");
    }
    if let Some(message) = &tier.message {
        let _ = write!(text, "  {BUSY}{message}{BUSY:#}");
    }
    Node { text, children: Vec::new() }
}

/// Whole seconds from now to a time; `None` when it has passed or is unreadable.
fn until(time: &str, now: Timestamp) -> Option<i64> {
    let time: Timestamp = time.parse().ok()?;
    Some(time.as_second() - now.as_second()).filter(|seconds| *seconds > 0)
}

/// Tiers of a color that are drawn.
#[derive(Clone, Copy)]
enum Tiers<'a> {
    All,
    /// Those that all stages share, and those that this one has for itself.
    In(&'a str),
    /// Those that this stage has for itself.
    Of(&'a str),
}

impl Tiers<'_> {
    fn has(self, tier: &TierView) -> bool {
        match (self, &tier.stage) {
            (Self::All, _) | (Self::In(_), None) => true,
            (Self::Of(_), None) => false,
            (Self::In(stage) | Self::Of(stage), Some(own)) => stage == own,
        }
    }
}

fn share_node(share: &Share, stage: &str, view: &View, drawing: &mut Drawing) -> Node {
    let title = title(&share.color, Some(share.percent));
    match view.color(&share.color) {
        // A color that several stages serve is drawn in full once.
        Some(color) if !drawing.colors.insert(share.color.clone()) => {
            let own = color.tiers.iter().filter(|tier| Tiers::Of(stage).has(tier));
            let children = own.map(|tier| tier_node(tier, color, drawing)).collect();
            Node { text: format!("{title}  {DIM}as above{DIM:#}"), children }
        }
        Some(color) => color_node(&title, color, Tiers::In(stage), drawing),
        None => Node { text: format!("{title}  {BAD}gone{BAD:#}"), children: Vec::new() },
    }
}

fn title(color: &str, percent: Option<i32>) -> String {
    let color = Painted(color);
    let Some(percent) = percent else { return color.to_string() };
    let full = ((percent * BAR + 50) / 100).clamp(0, BAR);
    let bar: String = (0..BAR).map(|cell| if cell < full { '█' } else { '░' }).collect();
    format!("{color}  {bar} {percent:>3}%")
}

fn color_node(title: &str, color: &ColorView, drawn: Tiers<'_>, drawing: &mut Drawing) -> Node {
    let (style, word) = match color.phase {
        Some(ColorPhase::Starting) => (BUSY, "Starting"),
        Some(ColorPhase::Ready) => (GOOD, "Ready"),
        Some(ColorPhase::Serving) => (GOOD, "Serving"),
        Some(ColorPhase::Draining) => (BUSY, "Draining"),
        Some(ColorPhase::Retired) => (DIM, "Retired"),
        Some(ColorPhase::Stalled) => (BAD, "Stalled"),
        None => (DIM, "New"),
    };
    let what = match facts(color, drawing.now) {
        Some(facts) => format!("  {facts}"),
        None => color.message.as_ref().map(|message| format!(": {message}")).unwrap_or_default(),
    };
    let retired = color.phase == Some(ColorPhase::Retired);
    let tiers = color.tiers.iter().filter(|tier| drawn.has(tier) && (!retired || !tier.pods.is_empty()));
    Node {
        children: tiers.map(|tier| tier_node(tier, color, drawing)).collect(),
        text: format!("{title}  {style}{word}{style:#}{what}"),
    }
}

/// What is known of a drain, in a few words.
fn facts(color: &ColorView, now: Timestamp) -> Option<String> {
    let drain = color.drain.as_ref()?;
    let cut: i64 = drain.cut.iter().filter_map(|cut| cut.connections).sum();
    if color.phase == Some(ColorPhase::Retired) {
        return (cut > 0).then(|| format!("{BAD}{} cut{BAD:#} at its deadline", count(cut, "connection")));
    }
    if color.phase != Some(ColorPhase::Draining) {
        return None;
    }
    let mut parts: Vec<String> = Vec::new();
    // Where nobody counts, time alone decides.
    if let Some(connections) = color.connections {
        parts.push(count(connections, "connection"));
    }
    if drain.ignored > 0 {
        parts.push(format!("{} ignored", drain.ignored));
    }
    if drain.unknown_pods > 0 {
        let since = color.unknown_since.as_deref().and_then(|time| words::age(time, now));
        let since = since.map(|age| format!(" for {age}")).unwrap_or_default();
        parts.push(format!("{BAD}{} unknown{BAD:#}{since}", count(drain.unknown_pods.into(), "pod")));
    }
    if cut > 0 {
        parts.push(format!("{BAD}{cut} cut{BAD:#}"));
    }
    parts.push(words::deadline(drain.deadline.as_deref(), now));
    Some(parts.join(", "))
}

fn tier_node(tier: &TierView, color: &ColorView, drawing: &mut Drawing) -> Node {
    let style = if tier.ready >= tier.replicas { GOOD } else { BUSY };
    let mut text = format!("{}  {style}{}/{} ready{style:#}", tier.name, tier.ready, tier.replicas);
    if tier.instance != color.name {
        let _ = write!(text, "  of {}", Painted(&tier.instance));
    }
    let others: Vec<String> = tier
        .shared_with
        .iter()
        .filter(|other| **other != tier.instance)
        .map(|other| Painted(other).to_string())
        .collect();
    if !others.is_empty() {
        let _ = write!(text, "  shared with {}", others.join(", "));
    }
    if !drawing.instances.insert((tier.name.clone(), tier.instance.clone(), tier.stage.clone())) {
        if !tier.pods.is_empty() {
            let _ = write!(text, "  {DIM}pods as above{DIM:#}");
        }
        return Node { text, children: Vec::new() };
    }
    let width = tier.pods.iter().map(|pod| pod.name.len()).max().unwrap_or_default();
    Node { text, children: tier.pods.iter().map(|pod| pod_node(pod, width, drawing.wide)).collect() }
}

fn pod_node(pod: &PodView, width: usize, wide: bool) -> Node {
    let style: Style = match pod.state.as_str() {
        "Ready" => GOOD,
        "Terminating" => DIM,
        "Pending" | "NotReady" | "ContainerCreating" => BUSY,
        _ => BAD,
    };
    let mut text = format!("{:width$}  {style}{}{style:#}", pod.name, pod.state);
    match pod.restarts {
        0 => {}
        1 => text.push_str(", 1 restart"),
        restarts => {
            let _ = write!(text, ", {restarts} restarts");
        }
    }
    if let Some(holder) = &pod.holder {
        let _ = match (&holder.unknown, holder.connections) {
            (Some(why), _) => write!(text, "  {BAD}unknown{BAD:#}: {why}"),
            (None, connections) => write!(text, "  {}", count(connections.unwrap_or_default(), "connection")),
        };
    }
    if !pod.stages.is_empty() {
        let _ = write!(text, "  {DIM}in {}{DIM:#}", pod.stages.join(", "));
    }
    if wide {
        let or = |text: &Option<String>| text.clone().unwrap_or_else(|| "<none>".into());
        let _ = write!(text, "  {}  {}", or(&pod.ip), or(&pod.node));
    }
    Node { text, children: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::World;
    use serde_json::json;

    fn world(shift: serde_json::Value) -> World {
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

    fn drawn(world: &World, wide: bool) -> String {
        let now = "2026-01-01T00:00:20Z".parse().unwrap();
        anstream::adapter::strip_str(&draw(&View::new(world), wide, now)).to_string()
    }

    #[test]
    fn in_the_middle_of_a_shift() {
        let shift = json!({
            "from": "v1", "to": "v2", "phase": "Shifting", "moved": 1, "of": 2,
            "startedAt": "2026-01-01T00:00:00Z", "nextStepAt": "2026-01-01T00:00:32Z",
        });
        let expected = "\
shop  Reconciling: stage active moves to v2
├─ stage smoke  frontend-smoke
│  └─ v2  ██████████ 100%  Serving
│     ├─ backend  1/2 ready
│     │  ├─ backend-v2-5  Ready
│     │  └─ backend-v2-6  CrashLoopBackOff, 3 restarts
│     └─ frontend  2/2 ready
│        ├─ frontend-v2-7  Ready  in active
│        └─ frontend-v2-8  Ready
├─ stage active  frontend-active  shifting v1 → v2 1/2, next step in 12s
│  ├─ v1  █████░░░░░  50%  Serving
│  │  ├─ backend  2/2 ready
│  │  │  ├─ backend-v1-1  Ready
│  │  │  └─ backend-v1-2  Ready
│  │  └─ frontend  2/2 ready
│  │     ├─ frontend-v1-3  Ready  in active
│  │     └─ frontend-v1-4  Ready
│  └─ v2  █████░░░░░  50%  as above
└─ in no stage
   └─ v0  Retired
";
        assert_eq!(drawn(&world(shift), false), expected);
    }

    #[test]
    fn wide_adds_addresses() {
        let text = drawn(&world(json!(null)), true);
        assert!(text.contains("backend-v1-1  Ready  10.244.0.1  pocket\n"), "{text}");
        assert!(text.contains("└─ v1  ██████████ 100%  Serving"), "{text}");
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
            "v2  ██████████ 100%  Draining  5 connections, 1 pod unknown for 10s, ends in 10h at the latest\n",
            "frontend-v2-7  Ready  5 connections  in active\n",
            "frontend-v2-8  Ready  unknown: no answer\n",
            "v1  ██████████ 100%  Retired  2 connections cut at its deadline\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
    }

    /// Each stage shows its own frontends, and where its backend's address is.
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
            let tier = TierStatus {
                tier: "backend".into(),
                service,
                color: Some(color.into()),
                message,
                ..TierStatus::default()
            };
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
        assert!(active.contains("frontend-v1-3"), "{text}");
    }

    #[test]
    fn shared_pods_are_drawn_once() {
        let mut world = world(json!(null));
        world.colors[2].spec.instances[0].color = "v1".into();
        let text = drawn(&world, false);
        assert!(text.contains("backend  2/2 ready  of v1\n"), "{text}");
        assert!(text.contains("backend  2/2 ready  shared with v2  pods as above\n"), "{text}");
        assert_eq!(text.matches("backend-v1-1").count(), 1, "{text}");
    }
}
