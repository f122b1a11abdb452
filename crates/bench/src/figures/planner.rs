//! Time of one decision of the planner for a large application, and for one with many draining colors.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rainbow_plan::{
    Color, Connections, Deployment, Instance, InstanceName, Mark, Pod, Presence, Promote, Selection, Shift, Spec,
    Stage, StageKey, StageMemory, StageService, Swap, Tier, Time, World, plan,
};

use crate::table::Figure;

/// Size of an application.
struct Size {
    colors: usize,
    tiers: usize,
    /// Pods of each tier of a color.
    pods: usize,
}

const LARGE: Size = Size { colors: 20, tiers: 10, pods: 50 };
/// Sixteen colors that drain, one that serves, and one that is about to.
const MANY: Size = Size { colors: 18, tiers: 2, pods: 10 };
/// Number of decisions per run, to be well above the clock's resolution.
const DECISIONS: u32 = 20;

pub(crate) fn measure(runs: u32) -> Result<Vec<Figure>> {
    let now = Time(1_000_000_000);
    let mut draining = world(&MANY, now);
    hold(&mut draining, now);
    let counted = plan(&draining, now).count.len();
    ensure!(counted >= MANY.colors - 2, "only {counted} instances are to be asked for their connections");
    Ok(vec![
        Figure::new("planner: 20 colors × 10 tiers × 50 pods", "ms", 5.0, times(&world(&LARGE, now), now, runs)?),
        Figure::new("planner: 16 draining colors × 20 pods with connections", "ms", 5.0, times(&draining, now, runs)?),
    ])
}

/// Returns the milliseconds of a decision, in each run.
fn times(world: &World, now: Time, runs: u32) -> Result<Vec<f64>> {
    ensure!(!plan(world, now).report.colors.is_empty(), "the planner has nothing to say");
    let times = (0..runs).map(|_| {
        let start = Instant::now();
        for _ in 0..DECISIONS {
            std::hint::black_box(plan(std::hint::black_box(world), now));
        }
        start.elapsed().as_secs_f64() * 1000.0 / f64::from(DECISIONS)
    });
    Ok(times.collect())
}

/// Connects clients to the pods of draining colors; for some pods this is unknown, or no longer known.
fn hold(world: &mut World, now: Time) {
    let since = Time(now.0 - 500);
    let draining: Vec<&str> =
        world.colors.iter().filter(|color| color.released.is_some()).map(|color| color.name.as_str()).collect();
    let pods = world.pods.iter_mut().filter(|pod| draining.contains(&&*pod.instance.color));
    for (number, pod) in pods.enumerate() {
        (pod.connections, pod.mark) = match number % 5 {
            0 => (Connections::Idle { since, counted: now }, Mark::None),
            1 => (Connections::Unknown { since }, Mark::None),
            _ => (Connections::Busy { count: 3, since }, Mark::Held),
        };
    }
    world.guard = Presence::Current;
}

/// Builds a world in which the newest color is about to take over from the one before; all others are still up.
fn world(size: &Size, now: Time) -> World {
    let tiers = |color: &str| -> Vec<Tier> {
        (0..size.tiers)
            .map(|tier| Tier {
                name: format!("tier{tier}"),
                replicas: size.pods as u32,
                calls: Vec::new(),
                needs: if tier + 1 < size.tiers { vec![format!("tier{}", tier + 1)] } else { Vec::new() },
                scaling: rainbow_plan::Scaling::Replicas,
                identity: format!("{color}-{tier}"),
                counted: true,
                min_ready: Duration::ZERO,
            })
            .collect()
    };
    let name = |color: usize| format!("c{color}");
    let stage = Stage {
        name: "active".into(),
        tier: Some("tier0".into()),
        promote: Promote::Manual,
        color: Some(name(size.colors - 1)),
        replicas: None,
        shift: Shift::Rolling { step: 1, every: Duration::from_secs(30), surge: None },
        overlap: None,
        paused: false,
        hold: None,
        gates: rainbow_plan::Gates::default(),
        on_stalled: rainbow_plan::OnStalled::Hold,
        invalid: false,
        between: rainbow_plan::Between::Nothing,
        address: rainbow_plan::Address::Entry,
    };
    let mut spec = Spec::new(name(size.colors - 1), tiers(&name(size.colors - 1)), vec![stage]);
    spec.drain.settle = Duration::from_secs(3_600);
    spec.keep.live = size.colors as u32;
    spec.swap = Swap::Direct;
    let mut world = World::new(spec);
    let serving = InstanceName::shared("tier0", name(size.colors - 2));
    let memory = StageMemory { color: Some(name(size.colors - 2)), since: Some(Time(0)), ..StageMemory::default() };
    world.memory.stages.insert("active".into(), memory);
    let selects = Selection::Instance(serving.clone());
    world.stages.insert(
        StageKey::of("active"),
        StageService::Ours { current: true, selects, serves: Some(name(size.colors - 2)) },
    );
    for color in 0..size.colors {
        let color_name = name(color);
        let instance = |tier: &Tier| InstanceName::shared(tier.name.as_str(), color_name.as_str());
        let tiers = tiers(&color_name);
        for (at, tier) in tiers.iter().enumerate() {
            let deployment =
                Deployment::Ours { current: true, replicas: tier.replicas, observed: true, pods: tier.replicas };
            let service = if at == 0 { Presence::NotNeeded } else { Presence::Current };
            world.instances.insert(
                instance(tier),
                Instance {
                    identity: tier.identity.clone(),
                    deployment,
                    service,
                    ports: None,
                    scaler: rainbow_plan::Scaler::Absent,
                    labeled: true,
                },
            );
            world.pods.extend((0..size.pods).map(|pod| {
                let endpoint =
                    if instance(tier) == serving { vec![(StageKey::of("active"), Time(0))] } else { Vec::new() };
                let pod = Pod::new(format!("{}-{color_name}-{pod}", tier.name), instance(tier));
                Pod { endpoint: endpoint.into_iter().collect(), ..pod }
            }));
        }
        world.colors.push(Color {
            name: color_name.clone(),
            revision: color as i64,
            created: Time(now.0 - 1_000),
            instances: tiers.iter().map(|tier| (tier.name.clone(), instance(tier))).collect(),
            tiers,
            retire: false,
            deadline: None,
            deleting: false,
            released: (color + 2 < size.colors).then_some(Time(now.0 - 1_000)),
            retired: None,
            entries: Default::default(),
            demoted: false,
            rejected_by: None,
            served: None,
            config: Default::default(),
            sizes: Default::default(),
            parts: Vec::new(),
            part: rainbow_plan::Part::Shared,
            bound: Vec::new(),
        });
    }
    world
}
