//! Any world, even one that a validated spec and a sane cluster never have (cycles, unknown names, times at the end of time,
//! duplicate colors): a plan is made, it is the same one every time, and it touches no object of another owner.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proptest::{
    collection::{btree_map, vec},
    option,
    prelude::*,
    sample::select,
};
use rainbow_plan::*;

fn name() -> impl Strategy<Value = String> {
    select(vec!["a", "b", "c", "v1", "v2", "gone"]).prop_map(Into::into)
}

fn time() -> impl Strategy<Value = Time> {
    prop_oneof![Just(i64::MIN), Just(0), 0i64..100_000, Just(i64::MAX)].prop_map(Time)
}

fn duration() -> impl Strategy<Value = Duration> {
    prop_oneof![Just(Duration::ZERO), (0u64..100_000).prop_map(Duration::from_millis), Just(Duration::MAX)]
}

fn surge() -> impl Strategy<Value = Option<Surge>> {
    proptest::option::of(prop_oneof![number().prop_map(Surge::Pods), number().prop_map(Surge::Percent)])
}

fn number() -> impl Strategy<Value = u32> {
    prop_oneof![0u32..4, Just(u32::MAX)]
}

fn instance_name() -> impl Strategy<Value = InstanceName> {
    let stage = option::weighted(0.3, name());
    (name(), name(), stage).prop_map(|(tier, color, stage)| {
        let shared = InstanceName::shared(tier, color);
        stage.map_or(shared.clone(), |stage| shared.of_stage(stage))
    })
}

fn tiers() -> impl Strategy<Value = Vec<Tier>> {
    let scaling = prop_oneof![
        Just(Scaling::Replicas),
        Just(Scaling::External),
        (number(), number()).prop_map(|(least, most)| Scaling::Autoscale { least, most })
    ];
    let tier = ((name(), scaling), number(), (vec(name(), 0..3), vec(name(), 0..2)), name(), any::<bool>(), duration())
        .prop_map(|((name, scaling), replicas, (needs, calls), identity, counted, min_ready)| Tier {
            name,
            scaling,
            replicas,
            needs,
            calls,
            identity,
            counted,
            min_ready,
        });
    vec(tier, 0..4)
}

fn stages() -> impl Strategy<Value = Vec<Stage>> {
    let shift = prop_oneof![
        Just(Shift::Flip),
        (number(), duration(), surge()).prop_map(|(step, every, surge)| Shift::Rolling { step, every, surge })
    ];
    let promote = prop_oneof![Just(Promote::Auto), Just(Promote::Manual)];
    let hold = (name(), option::of(name()), any::<bool>(), option::of(0i64..4))
        .prop_map(|(id, color, paused, revision)| Hold { id, color, paused, revision });
    let ways = (shift, option::of(duration()), option::of(hold));
    let stage =
        (name(), option::of(name()), promote, option::of(name()), option::of(number()), ways, any::<[bool; 2]>())
            .prop_map(|(name, tier, promote, color, replicas, (shift, overlap, hold), [paused, invalid])| Stage {
                name,
                tier,
                promote,
                color,
                replicas,
                shift,
                overlap,
                paused,
                hold,
                invalid,
                gates: Gates::default(),
                on_stalled: if paused { OnStalled::Hold } else { OnStalled::RollBack },
                between: match (paused, invalid) {
                    (true, _) => Between::Nothing,
                    (false, after) => {
                        Between::Pause { after: after.then_some(Duration::from_secs(60)), passed: Default::default() }
                    }
                },
                address: Address::Entry,
            });
    vec(stage, 0..4)
}

fn spec() -> impl Strategy<Value = Spec> {
    let drain = (duration(), duration()).prop_map(|(deadline, settle)| Drain { deadline, settle });
    let keep = (number(), number(), duration()).prop_map(|(live, history, warm)| Keep { live, history, warm });
    let reuse = select(vec![Reuse::Never, Reuse::Unchanged]);
    let times = (duration(), duration(), duration(), select(vec![Swap::Overlap, Swap::Direct]));
    let version = select(vec![Version::Valid, Version::Invalid]);
    (name(), tiers(), stages(), drain, keep, reuse, times, (version, any::<bool>(), copies_read())).prop_map(
        |(
            color,
            tiers,
            stages,
            drain,
            keep,
            reuse,
            (progress_deadline, propagation, callers, swap),
            (version, deleting, config),
        )| {
            Spec {
                version,
                color,
                tiers,
                stages,
                drain,
                keep,
                config,
                reuse,
                swap,
                progress_deadline,
                propagation,
                callers,
                deleting,
            }
        },
    )
}

fn color() -> impl Strategy<Value = Color> {
    let deadline = prop_oneof![duration().prop_map(Deadline::After), select(vec![Deadline::Now, Deadline::Never])];
    let served = option::of(proptest::collection::btree_set(name(), 0..3));
    let flags = (
        any::<bool>(),
        option::of(deadline),
        any::<bool>(),
        option::of(time()),
        option::of(time()),
        served,
        copies_read(),
    );
    (name(), any::<i64>(), time(), tiers(), btree_map(name(), instance_name(), 0..4), flags).prop_map(
        |(
            name,
            revision,
            created,
            tiers,
            instances,
            (retire, deadline, deleting, released, retired, served, config),
        )| Color {
            name,
            revision,
            created,
            tiers,
            instances,
            retire,
            deadline,
            deleting,
            released,
            retired,
            entries: Default::default(),
            demoted: false,
            rejected_by: None,
            served,
            sizes: BTreeMap::new(),
            config,
            parts: Vec::new(),
            part: Part::Shared,
            bound: Vec::new(),
        },
    )
}

fn copy() -> impl Strategy<Value = ConfigName> {
    (select(vec![ConfigKind::ConfigMap, ConfigKind::Secret]), name()).prop_map(|(kind, name)| ConfigName { kind, name })
}

fn copies_read() -> impl Strategy<Value = BTreeSet<ConfigCopy>> {
    let read = (copy(), name()).prop_map(|(source, copy)| ConfigCopy { source, copy });
    proptest::collection::btree_set(read, 0..3)
}

fn copy_state() -> impl Strategy<Value = CopyState> {
    let source = || select(vec![Source::Same, Source::Changed]);
    prop_oneof![
        select(vec![CopyState::Foreign, CopyState::Deleting]),
        source().prop_map(|source| CopyState::Absent { source }),
        (source(), any::<bool>()).prop_map(|(source, intact)| CopyState::Ours { source, intact }),
    ]
}

fn presence() -> impl Strategy<Value = Presence> {
    select(vec![Presence::NotNeeded, Presence::Absent, Presence::Foreign, Presence::Outdated, Presence::Current])
}

fn instance() -> impl Strategy<Value = Instance> {
    let deployment = prop_oneof![
        Just(Deployment::Absent),
        Just(Deployment::Foreign),
        Just(Deployment::Deleting),
        (any::<bool>(), number(), any::<bool>(), number())
            .prop_map(|(current, replicas, observed, pods)| { Deployment::Ours { current, replicas, observed, pods } })
    ];
    let scaler = prop_oneof![
        Just(Scaler::Absent),
        Just(Scaler::Taken),
        Just(Scaler::Deleting),
        (name(), number()).prop_map(|(name, most)| Scaler::Foreign { name, most }),
        (any::<bool>(), number()).prop_map(|(current, least)| Scaler::Ours { current, least })
    ];
    (name(), deployment, presence(), option::of(any::<u64>()), any::<bool>(), scaler).prop_map(
        |(identity, deployment, service, ports, labeled, scaler)| Instance {
            ports,
            identity,
            deployment,
            service,
            labeled,
            scaler,
        },
    )
}

fn service() -> impl Strategy<Value = StageService> {
    let selects =
        prop_oneof![instance_name().prop_map(Selection::Instance), Just(Selection::Members), Just(Selection::Other)];
    prop_oneof![
        1 => Just(StageService::Foreign),
        5 => (any::<bool>(), selects, option::of(name()))
            .prop_map(|(current, selects, serves)| StageService::Ours { current, selects, serves })
    ]
}

fn key() -> impl Strategy<Value = StageKey> {
    prop_oneof![
        4 => name().prop_map(StageKey::Stage),
        1 => (name(), name()).prop_map(|(stage, service)| StageKey::Former { stage, service }),
        1 => name().prop_map(StageKey::shadow),
        1 => option::of(name()).prop_map(|service| StageKey::Gone { service }),
    ]
}

fn controller() -> impl Strategy<Value = Controller> {
    select(vec![Controller::ReplicaSet, Controller::Rainbow, Controller::None])
}

fn pod() -> impl Strategy<Value = Pod> {
    let seen = || btree_map(key(), time(), 0..3);
    let connections = prop_oneof![
        Just(Connections::Uncounted),
        time().prop_map(|since| Connections::Unknown { since }),
        (number(), time()).prop_map(|(count, since)| Connections::Busy { count, since }),
        (time(), time()).prop_map(|(since, counted)| Connections::Idle { since, counted }),
    ];
    let place = prop_oneof![Just(Place::In), option::of(time()).prop_map(|since| Place::Out { since })];
    let mark = (select(vec![Mark::None, Mark::Held, Mark::Leaving]), time(), place);
    (
        "[a-f]{3}",
        (instance_name(), controller()),
        any::<bool>(),
        any::<bool>(),
        btree_map(name(), option::of(time()), 0..3),
        (seen(), seen()),
        connections,
        mark,
    )
        .prop_map(
            |(
                name,
                (instance, controller),
                ready,
                terminating,
                member,
                (endpoint, left),
                connections,
                (mark, marked, place),
            )| {
                let (ready_since, labelled) = (marked, marked);
                let shadow = member.keys().map(|stage| (stage.clone(), marked)).collect();
                Pod {
                    name: name.into(),
                    instance,
                    controller,
                    ready,
                    ready_since,
                    listed: ready && !terminating,
                    shadow,
                    place,
                    terminating,
                    member,
                    endpoint,
                    left,
                    connections,
                    mark,
                    marked,
                    labelled,
                }
            },
        )
}

fn worlds() -> impl Strategy<Value = World> {
    let names = (option::of(name()), option::of(name()), option::of(name()));
    let shift = (name(), name(), time(), option::of(number())).prop_map(|(from, to, started, held)| ShiftMemory {
        from,
        to,
        started,
        moved: held.unwrap_or(0),
        held,
        step: StepMemory::default(),
    });
    let remembered = (names, option::of(time()), option::of(shift), option::of((name(), time()))).prop_map(
        |((color, previous, target), since, shift, degraded)| StageMemory {
            ended_hold: color.clone(),
            color,
            previous,
            target,
            since,
            shift,
            degraded: degraded.map(|(color, since)| Degraded { color, since }),
            rejected: None,
            approved: None,
            tiers: BTreeMap::new(),
        },
    );
    (
        spec(),
        (option::of(name()), btree_map(name(), remembered, 0..3)),
        vec(color(), 0..5),
        btree_map(instance_name(), instance(), 0..12),
        btree_map(key(), service(), 0..4),
        vec(pod(), 0..12),
        presence(),
        btree_map(copy(), copy_state(), 0..4),
    )
        .prop_map(|(spec, (described, remembered), colors, instances, stages, pods, guard, copies)| World {
            spec,
            memory: Memory { color: described, stages: remembered },
            colors,
            instances,
            stages,
            pods,
            guard,
            budgets: BTreeMap::new(),
            copies,
            checks: BTreeMap::new(),
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_world_has_a_plan(world in worlds(), now in time()) {
        let plan = plan(&world, now);
        prop_assert_eq!(&plan, &rainbow_plan::plan(&world, now));
        prop_assert!(plan.wake.is_none_or(|wake| wake > now || now.0 == i64::MAX));
        prop_assert_eq!(plan.report.colors.len(), world.colors.len());
        for action in plan.actions() {
            untouched(&world, action);
        }
    }
}

/// Returns the stage whose callers use an inner address; any other stage is itself.
fn user_name(stage: &str) -> &str {
    stage.split_once('.').map_or(stage, |(user, _)| user)
}

/// Fails where the action writes to an existing object that is not ours.
fn untouched(world: &World, action: &Action) {
    let deployment = |name| world.instances.get(name).map_or(&Deployment::Absent, |instance| &instance.deployment);
    let service = |name| world.instances.get(name).map_or(Presence::Absent, |instance| instance.service);
    let pods: BTreeMap<&str, &Pod> = world.pods.iter().map(|pod| (&*pod.name, pod)).collect();
    // Any world may have several pods of one name.
    let is_controlled = |name: &str, controller: Controller| {
        world.pods.iter().any(|pod| *pod.name == *name && pod.controller == controller)
    };
    let scaler = |name| world.instances.get(name).map_or(&Scaler::Absent, |instance| &instance.scaler);
    match action {
        Action::ApplyScaler { instance, .. } => {
            assert!(matches!(scaler(instance), Scaler::Absent | Scaler::Ours { .. }));
        }
        Action::DeleteScaler { instance } => assert!(matches!(scaler(instance), Scaler::Ours { .. })),
        Action::CreateColor { color, .. } => assert!(world.colors.iter().all(|known| known.name != *color)),
        Action::ApplyDeployment { instance, .. } => assert_ne!(deployment(instance), &Deployment::Foreign),
        Action::ApplyService { instance } => assert_ne!(service(instance), Presence::Foreign),
        Action::ApplyStage { stage, .. } => {
            assert_ne!(world.stages.get(&StageKey::of(stage)), Some(&StageService::Foreign));
            assert!(world.spec.stages.iter().any(|known| known.name == user_name(stage)));
        }
        Action::ApplyShadow { stage } => {
            assert_ne!(world.stages.get(&StageKey::shadow(stage)), Some(&StageService::Foreign));
            assert!(world.spec.stages.iter().any(|known| known.name == user_name(stage)));
        }
        Action::Join { pod, .. } => assert!(pods.contains_key(pod.as_str())),
        Action::Leave { pod, .. } => assert!(pods.contains_key(pod.as_str())),
        Action::DeleteStage { stage } => assert!(matches!(world.stages[stage], StageService::Ours { .. })),
        // The operator deletes the objects of the instance that are ours; one of them may be another owner's.
        Action::DeleteInstance { instance } => assert!(
            matches!(deployment(instance), Deployment::Ours { .. })
                || matches!(service(instance), Presence::Current | Presence::Outdated)
                || matches!(scaler(instance), Scaler::Ours { .. })
        ),
        Action::DeleteColor { color } => assert!(world.colors.iter().any(|known| known.name == *color)),
        Action::OrphanDeployment { instance } => assert!(matches!(deployment(instance), Deployment::Ours { .. })),
        Action::DeleteReplicaSets { instance, .. } => assert_eq!(deployment(instance), &Deployment::Absent),
        Action::Adopt { pod } => assert!(is_controlled(pod, Controller::None)),
        Action::Disown { pod } | Action::EndPod { pod, .. } => assert!(is_controlled(pod, Controller::Rainbow)),
        Action::TakeOut { pod } | Action::PutBack { pod } => assert!(pods.contains_key(pod.as_str())),
        Action::Mark { pod, .. } => assert!(pods.contains_key(pod.as_str())),
        Action::ApplyGuard => assert_ne!(world.guard, Presence::Foreign),
        Action::ApplyBudget { stage, .. } => assert_ne!(world.budgets.get(stage), Some(&StageBudget::Foreign)),
        Action::DeleteBudget { stage } => assert!(matches!(world.budgets.get(stage), Some(StageBudget::Ours { .. }))),
        Action::DeleteGuard => assert!(matches!(world.guard, Presence::Outdated | Presence::Current)),
        Action::ClearRetire { color } => assert!(world.colors.iter().any(|known| known.name == *color)),
        Action::CreateCopy { copy } => {
            assert_eq!(world.copies.get(copy), Some(&CopyState::Absent { source: Source::Same }));
        }
        // A copy that a color reads is deleted only where a new one can be made.
        Action::DeleteCopy { copy } => {
            let is_read = world.colors.iter().any(|color| color.config.iter().any(|known| known.name() == *copy));
            let is_replaceable = |state: &CopyState| *state == CopyState::Ours { source: Source::Same, intact: false };
            let state = world.copies.get(copy).unwrap();
            assert!(matches!(state, CopyState::Ours { .. }) && (!is_read || is_replaceable(state)));
        }
        Action::Release => assert!(world.spec.deleting),
    }
}
