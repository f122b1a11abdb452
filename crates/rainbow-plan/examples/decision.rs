//! Benchmark of one decision over 20 colors of 10 tiers of 50 pods: prints the median and the slowest of many, in milliseconds.
//!
//! `cargo run --release -p rainbow-plan --example decision`

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use rainbow_plan::*;

const COLORS: usize = 20;
const TIERS: usize = 10;
const PODS: usize = 50;
const RUNS: usize = 101;

fn main() {
    let now = Time(1_000_000);
    let (quiet, moving, mut draining) = (world(false), world(true), world(false));
    drain(&mut draining);
    for (name, world) in
        [("steady", &quiet), ("two shifts, all colors live", &moving), ("sixteen colors drain, all held", &draining)]
    {
        let actions = plan(world, now).actions().count();
        let mut times: Vec<Duration> = (0..RUNS)
            .map(|_| {
                let start = Instant::now();
                std::hint::black_box(plan(std::hint::black_box(world), now));
                start.elapsed()
            })
            .collect();
        times.sort_unstable();
        let milliseconds = |duration: Duration| duration.as_secs_f64() * 1_000.0;
        println!(
            "{name}: {} pods, {actions} actions, median {:.3} ms, slowest {:.3} ms",
            world.pods.len(),
            milliseconds(times[RUNS / 2]),
            milliseconds(times[RUNS - 1]),
        );
    }
}

/// Returns a chain of tiers in many colors, and two stages, which serve the oldest colors.
fn world(moving: bool) -> World {
    let tiers: Vec<Tier> = (0..TIERS)
        .map(|tier| Tier {
            name: format!("tier-{tier}"),
            replicas: PODS as u32,
            needs: (tier + 1 < TIERS).then(|| format!("tier-{}", tier + 1)).into_iter().collect(),
            calls: Vec::new(),
            scaling: Scaling::Replicas,
            identity: format!("tier-{tier}@{}", COLORS - 1),
            counted: true,
            min_ready: Duration::ZERO,
        })
        .collect();
    let stage = |name: &str, color: usize| Stage {
        name: name.into(),
        tier: Some("tier-0".into()),
        promote: Promote::Manual,
        color: Some(format!("color-{color}")),
        replicas: None,
        shift: Shift::Rolling { step: 1, every: Duration::from_secs(30), surge: None },
        overlap: None,
        paused: false,
        hold: None,
        gates: Gates::default(),
        on_stalled: OnStalled::Hold,
        invalid: false,
        between: Between::Nothing,
        address: Address::Entry,
    };
    let mut spec = Spec::new(
        format!("color-{}", COLORS - 1),
        tiers.clone(),
        vec![stage("active", usize::from(moving)), stage("smoke", 2 + usize::from(moving))],
    );
    spec.keep.live = COLORS as u32;
    spec.swap = Swap::Direct;
    let mut world = World::new(spec);
    for color in 0..COLORS {
        let name = format!("color-{color}");
        let mut instances = BTreeMap::new();
        for tier in 0..TIERS {
            let instance = InstanceName::shared(format!("tier-{tier}"), name.as_str());
            instances.insert(instance.tier.to_string(), instance.clone());
            world.pods.extend((0..PODS).map(|pod| pod_of(&instance, pod, color)));
            let replicas = PODS as u32;
            let deployment = Deployment::Ours { current: true, replicas, observed: true, pods: replicas };
            world.instances.insert(
                instance,
                Instance {
                    identity: String::new(),
                    deployment,
                    service: Presence::Current,
                    ports: None,
                    scaler: Scaler::Absent,
                    labeled: true,
                },
            );
        }
        let tiers =
            tiers.iter().map(|tier| Tier { identity: format!("{}@{color}", tier.name), ..tier.clone() }).collect();
        world.colors.push(Color {
            name,
            revision: color as i64,
            created: Time(0),
            tiers,
            instances,
            retire: false,
            deadline: None,
            deleting: false,
            released: (color > 3).then_some(Time(999_000)),
            retired: None,
            entries: Default::default(),
            demoted: false,
            rejected_by: None,
            served: None,
            config: Default::default(),
            sizes: BTreeMap::new(),
            parts: Vec::new(),
            part: Part::Shared,
            bound: Vec::new(),
        });
    }
    for (stage, color) in [("active", 0), ("smoke", 2)] {
        let instance = InstanceName::shared("tier-0", format!("color-{color}"));
        let service =
            StageService::Ours { current: true, selects: Selection::Instance(instance), serves: Some("v1".into()) };
        world.stages.insert(StageKey::of(stage), service);
        let since = Some(Time(0));
        let memory = StageMemory { color: Some(format!("color-{color}")), since, ..StageMemory::default() };
        world.memory.stages.insert(stage.into(), memory);
    }
    world
}

/// Has all connections counted, and lets the colors that no stage has drain: of their pods some are busy, some idle, some unknown.
fn drain(world: &mut World) {
    for color in &mut world.colors {
        color.tiers.iter_mut().for_each(|tier| tier.counted = true);
        color.released = color.released.map(|_| Time(0));
    }
    for (number, pod) in world.pods.iter_mut().enumerate() {
        pod.connections = match number % 3 {
            0 => Connections::Busy { count: 3, since: Time(0) },
            1 => Connections::Idle { since: Time(0), counted: Time(1_000_000) },
            _ => Connections::Unknown { since: Time(0) },
        };
    }
    // Marks are as they are once all pods that hold connections are marked.
    let marks: BTreeMap<String, Mark> = plan(world, Time(1_000_000))
        .actions()
        .cloned()
        .filter_map(|action| if let Action::Mark { pod, mark } = action { Some((pod, mark)) } else { None })
        .collect();
    for pod in &mut world.pods {
        pod.mark = marks.get(&*pod.name).copied().unwrap_or(pod.mark);
        pod.marked = Time(999_900);
    }
    world.guard = Presence::Current;
}

fn pod_of(instance: &InstanceName, number: usize, color: usize) -> Pod {
    let stage = match (color, &*instance.tier) {
        (0, "tier-0") => Some("active"),
        (2, "tier-0") => Some("smoke"),
        _ => None,
    };
    Pod {
        endpoint: stage.map(|stage| (StageKey::of(stage), Time(0))).into_iter().collect(),
        ..Pod::new(format!("{}-{}-5d4f8c7b9-{number:05}", instance.tier, instance.color), instance.clone())
    }
}
