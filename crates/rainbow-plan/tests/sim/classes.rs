//! Parts of random histories: events by class, and random applications.

use std::time::Duration;

use proptest::prelude::*;
use rainbow_plan::*;

use super::{events::Event, history::History, *};

/// Returns events without users: those of the cluster and the operator.
pub fn of_the_cluster() -> impl Strategy<Value = Event> {
    let n = || 0usize..64;
    prop_oneof![
        8 => Just(Event::Reconcile),
        2 => (0usize..6).prop_map(Event::Crash),
        6 => prop_oneof![Just(1), Just(300), Just(1_000), Just(2_500), Just(11_000), Just(31_000)].prop_map(Event::Tick),
        3 => Just(Event::Calm),
        4 => (n(), n()).prop_map(|(d, p)| Event::Deployment(d, p)),
        6 => n().prop_map(Event::Ready),
        1 => n().prop_map(Event::Unready),
        3 => n().prop_map(Event::End),
        4 => n().prop_map(Event::SeePod),
        2 => n().prop_map(Event::SeeStage),
        1 => n().prop_map(Event::Kill),
        4 => (n(), 1u32..4).prop_map(|(p, c)| Event::Connect(p, c)),
        4 => n().prop_map(Event::Disconnect),
        4 => Just(Event::Ask),
        1 => n().prop_map(Event::Dumb),
    ]
}

/// Returns events of users in the ordinary course of releases.
pub fn of_users() -> impl Strategy<Value = Event> {
    let n = || 0usize..64;
    prop_oneof![
        4 => n().prop_map(Event::NewColor),
        5 => (n(), n()).prop_map(|(s, c)| Event::Promote(s, c)),
        1 => n().prop_map(Event::Unpin),
        1 => n().prop_map(Event::Pause),
        1 => n().prop_map(Event::BackToColor),
        1 => n().prop_map(Event::Retire),
        1 => (n(), n()).prop_map(|(c, d)| Event::Drain(c, d)),
    ]
}

/// Returns events of users who do the worst that they can.
pub fn of_vandals() -> impl Strategy<Value = Event> {
    let n = || 0usize..64;
    prop_oneof![
        Just(Event::SameNameOtherTiers),
        n().prop_map(Event::PromoteUnknown),
        (n(), 0u32..5).prop_map(|(t, r)| Event::Replicas(t, r)),
        (n(), proptest::option::of(0u32..4)).prop_map(|(s, r)| Event::StageReplicas(s, r)),
        n().prop_map(Event::DeleteColor),
        n().prop_map(Event::ForceDeleteColor),
        Just(Event::AddStage),
        n().prop_map(Event::RemoveStage),
        n().prop_map(Event::EditSelector),
        n().prop_map(Event::DeleteStageService),
        (n(), 0u32..6).prop_map(|(d, r)| Event::ScaleByHand(d, r)),
        n().prop_map(Event::Drift),
        Just(Event::LoseStatus),
        Just(Event::Mend),
        n().prop_map(Event::ForeignAhead),
    ]
}

/// Returns a surge, or none.
pub fn surges() -> impl Strategy<Value = Option<Surge>> {
    let some = prop_oneof![(0u32..4).prop_map(Surge::Pods), (0u32..150).prop_map(Surge::Percent)];
    proptest::option::weighted(0.4, some)
}

/// Returns a random application: one to five tiers, one to three stages.
pub fn specs() -> impl Strategy<Value = Spec> {
    let tier = (1u32..4, any::<u8>());
    let shift = prop_oneof![
        Just(Shift::Flip),
        (0u32..4, 0u64..20, surges())
            .prop_map(|(step, every, surge)| { Shift::Rolling { step, every: Duration::from_secs(every), surge } })
    ];
    let stage = (any::<bool>(), proptest::option::weighted(0.3, 1u32..4), shift);
    let keep = (2u32..6, 0u32..3);
    let tiers = proptest::collection::vec(tier, 1..6);
    // Bits that say which tiers are counted, and how stages move.
    let ways = any::<u16>();
    (tiers, proptest::collection::vec(stage, 1..4), keep, 0u64..12, ways).prop_map(
        |(tiers, stages, (live, history), settle, ways)| {
            let tiers: Vec<Tier> = tiers
                .iter()
                .enumerate()
                .map(|(index, (replicas, needs))| Tier {
                    name: format!("t{index}"),
                    replicas: *replicas,
                    // A tier needs some of the tiers after it, so the first is always an entry tier.
                    needs: (index + 1..tiers.len())
                        .filter(|j| needs >> (j % 8) & 1 == 1)
                        .map(|j| format!("t{j}"))
                        .collect(),
                    calls: Vec::new(),
                    scaling: Scaling::Replicas,
                    identity: format!("t{index}@v1"),
                    counted: ways >> index & 1 == 1,
                    min_ready: Duration::from_secs(u64::from(ways >> (15 - index) & 1) * 3),
                })
                .collect();
            let stages = stages.into_iter().enumerate().map(|(index, (auto, replicas, shift))| Stage {
                promote: if auto { Promote::Auto } else { Promote::Manual },
                replicas,
                shift,
                // A load balancer that is slower than the cluster, and one that is faster.
                overlap: [Some(4_000), Some(300)][index % 2]
                    .filter(|_| ways >> (9 + index % 2) & 1 == 1)
                    .map(Duration::from_millis),
                ..spec::stage(&format!("s{index}"), "t0")
            });
            let mut spec = spec::spec("v1", tiers, stages.collect());
            let warm = Duration::from_secs(u64::from(ways >> 6 & 3) * 10);
            spec.keep = Keep { live, history, warm };
            spec.drain.settle = Duration::from_secs(settle);
            spec.swap = if ways & 256 == 0 { Swap::Overlap } else { Swap::Direct };
            spec.progress_deadline = Duration::from_secs(120);
            spec
        },
    )
}

fn steps() -> impl Strategy<Value = Shift> {
    let step = prop_oneof![
        (1u32..4).prop_map(Step::Pods),
        (0u32..101).prop_map(Step::Percent),
        Just(Step::Pause { after: None }),
        (0u64..20).prop_map(|after| Step::Pause { after: Some(Duration::from_secs(after)) }),
        gate().prop_map(Step::Gate),
    ];
    let steps = proptest::collection::vec(step, 1..6);
    steps.prop_map(|steps| Shift::Steps { steps, passed: BTreeSet::new() })
}

fn gate() -> impl Strategy<Value = String> {
    prop_oneof![Just("a"), Just("b"), Just("c")].prop_map(str::to_owned)
}

fn gates() -> impl Strategy<Value = Gates> {
    let few = || proptest::collection::vec(gate(), 0..2);
    (few(), few(), few(), few(), few(), 0u64..30).prop_map(|(before, during, between, after, guards, watch)| Gates {
        before,
        during,
        between,
        after,
        watch: Duration::from_secs(watch),
        guards,
        ..Gates::default()
    })
}

/// Returns a random application, and the events that happen to it.
pub fn histories(events: impl Strategy<Value = Event>, most: usize) -> impl Strategy<Value = History> {
    let parts = (specs(), proptest::collection::vec(events, 0..most));
    parts.prop_map(|(spec, events)| History { spec, events, then: Vec::new() })
}

/// Returns a random application in which some callers may be served by newer callees.
pub fn tiered_specs() -> impl Strategy<Value = Spec> {
    let pause = prop_oneof![
        4 => Just(Between::Nothing),
        1 => Just(Between::Pause { after: None, passed: BTreeSet::new() }),
        1 => (0u64..30).prop_map(|after| Between::Pause {
            after: Some(Duration::from_secs(after)),
            passed: BTreeSet::new(),
        }),
    ];
    let parts = (specs(), any::<u32>(), pause, 0u32..8, any::<bool>());
    parts.prop_map(|(mut spec, kinds, between, reuse, few)| {
        // Few tiers, so that events affect the same ones; each tier has a callee, where there is one.
        spec.tiers.truncate(if few { 3 } else { 4 });
        let names: Vec<String> = spec.tiers.iter().map(|tier| tier.name.clone()).collect();
        for (index, tier) in spec.tiers.iter_mut().enumerate() {
            tier.needs.retain(|need| names.contains(need));
            if tier.needs.is_empty() {
                tier.needs.extend(names.get(index + 1).cloned());
            }
            let is_call = |need: &String| {
                let callee = names.iter().position(|name| name == need).unwrap_or(0);
                kinds >> ((index * 5 + callee) % 32) & 1 == 1 || (index == 0 && callee == 1)
            };
            (tier.calls, tier.needs) = std::mem::take(&mut tier.needs).into_iter().partition(is_call);
        }
        spec.stages.truncate(2);
        spec.stages.iter_mut().for_each(|stage| stage.between = between.clone());
        spec.reuse = if reuse == 0 { Reuse::Never } else { Reuse::Unchanged };
        spec
    })
}

/// Returns events of a class in an application with tiers that may be newer than their callers. Each history has a release, the
/// way back, or several releases in a row in which some tiers change.
pub fn of_tiers_and(class: Class) -> impl Strategy<Value = History> {
    let n = || 0usize..64;
    let seconds = || prop_oneof![Just(0i64), 1i64..8, 8i64..60];
    let steps = (8usize..64, any::<bool>(), n(), 0usize..2, seconds(), seconds(), 0usize..5);
    let release = steps.prop_map(|(tier, edge, color, stage, before, after, go_on)| {
        let version = if edge && tier % 3 == 0 { Event::NewEdge(tier) } else { Event::NewColor(tier) };
        let mut events = vec![version, Event::Pass(before), Event::Promote(stage, color), Event::Pass(after)];
        events.extend((go_on < 2).then_some(Event::GoOn(stage, color)));
        events.extend((go_on == 4).then_some(Event::Pause(stage)));
        events
    });
    let own = match class {
        Class::Edges => class.own(),
        _ => prop_oneof![3 => class.own(), 1 => Class::Edges.own()].boxed(),
    };
    let others = prop_oneof![
        20 => of_the_cluster(),
        5 => of_releases(),
        2 => (n(), n()).prop_map(|(stage, color)| Event::GoOn(stage, color)),
        1 => seconds().prop_map(Event::Pass),
        4 => own,
    ];
    let start = proptest::collection::vec(release, 0..4);
    let parts = (tiered_specs(), start, proptest::collection::vec(others, 0..50), 0i64..70);
    parts.prop_map(|(spec, releases, others, seconds)| {
        let mut events = vec![Event::Pass(seconds)];
        events.extend(releases.into_iter().flatten());
        events.extend(others);
        History { spec, events, then: Vec::new() }
    })
}

/// Returns the same as [`of_releases_and`], with steps and gates. Events of the class of checks happen beside those of the class.
pub fn of_checked_releases_and(class: Class) -> impl Strategy<Value = History> {
    let checks =
        proptest::collection::vec(prop_oneof![2 => Class::Checks.own(), 1 => (0i64..20).prop_map(Event::Pass)], 0..12);
    let ways = proptest::collection::vec((proptest::option::weighted(0.6, steps()), gates()), 3);
    (of_releases_and(class), ways, checks, any::<u64>()).prop_map(|(mut history, ways, checks, places)| {
        for (stage, (shift, gates)) in history.spec.stages.iter_mut().zip(ways) {
            stage.shift = shift.unwrap_or(stage.shift.clone());
            stage.gates = gates;
        }
        for (index, event) in checks.into_iter().enumerate() {
            let place = places.rotate_left(index as u32 * 5) as usize % (history.events.len() + 1);
            history.events.insert(place, event);
        }
        history
    })
}

/// Returns events of a class: from the first write on, or when the application serves, often in the middle of a release or after
/// one. The second part has the changes that the class makes to specs.
pub fn of_releases_and(class: Class) -> impl Strategy<Value = History> {
    let release = (0usize..3, 0i64..40, any::<bool>(), any::<bool>()).prop_map(|(stage, seconds, twice, paused)| {
        let one = |color| {
            let promoted = Event::Promote(stage, color);
            vec![Event::NewColor(63), Event::Pass(5), promoted, Event::Pass(seconds)]
        };
        let mut events = one(1);
        events.extend(if twice { one(2) } else { Vec::new() });
        events.extend(paused.then_some(Event::Pause(stage)));
        events
    });
    let release = proptest::option::weighted(0.6, release);
    let start = proptest::option::weighted(0.8, release);
    let all = histories_then(class.events(), 60, class.newest(), 4);
    (start, all).prop_map(|(start, mut history)| {
        if let Some(release) = start {
            let serves = std::iter::once(Event::Pass(60));
            history.events.splice(0..0, serves.chain(release.into_iter().flatten()));
        }
        history
    })
}

/// Returns the same as `histories`, with a second part.
pub fn histories_then(
    events: impl Strategy<Value = Event>,
    most: usize,
    then: impl Strategy<Value = Event>,
    most_then: usize,
) -> impl Strategy<Value = History> {
    let then = proptest::collection::vec(then, 0..most_then);
    (histories(events, most), then).prop_map(|(history, then)| History { then, ..history })
}

/// Class of events, with which a property is tried by itself. The ordinary events of the cluster and of users during releases
/// happen in all classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Only these ordinary events.
    Ordinary,
    /// Writes that are refused for good or for a while, or that time out.
    Refused,
    /// Writes without effect, or that a webhook rewrites.
    Vain,
    /// Versions with other ports.
    Ports,
    /// Versions with another entry tier.
    Entry,
    /// Node ports taken or swapped, Services renamed and slow to delete.
    NodePorts,
    /// Selectors, labels, annotations and ports that others edit.
    Edits,
    /// Objects that others delete.
    Deletions,
    /// Deployments that lose the label that tells which application owns them.
    Owners,
    /// Pods that are evicted, restarted, gone with their node, that flap, or crash as soon as they are ready.
    Pods,
    /// Readiness gates that are set once a Service has the pod.
    Gates,
    /// Other writers that scale: an autoscaler every 15 seconds, `kubectl scale`.
    Scalers,
    /// Tiers that other writers scale: Rainbow's own autoscalers, those of other owners, any other controller.
    Autoscalers,
    /// `replicas` raised and lowered.
    Replicas,
    /// New versions of another size.
    Sizes,
    /// The operator is away for minutes, while clients continue.
    Away,
    /// Caches that lag, each by its own delay: the operator's, and the endpoint controller's for labels.
    Lags,
    /// Two operators that follow each other, one of which sends a last write late.
    LateWrites,
    /// Two operators whose clocks are minutes apart.
    Clocks,
    /// Specs whose version, or one of whose stages, is invalid.
    Invalid,
    /// Old manifests that are applied again.
    Manifests,
    /// Stages that are added, removed and named like a color.
    Stages,
    /// Versions in which a call changes its kind, or that have a tier more or less.
    Edges,
    /// Gates with outcomes of all kinds, and steps.
    Checks,
}

impl Class {
    /// Returns the events of the class.
    pub fn events(self) -> BoxedStrategy<Event> {
        let own = self.own();
        match self {
            Self::Ordinary => prop_oneof![12 => of_the_cluster(), 2 => of_releases()].boxed(),
            _ => prop_oneof![10 => of_the_cluster(), 2 => of_releases(), 2 => own].boxed(),
        }
    }

    /// Returns the changes that the class makes to the newest spec, which no stage is moved to.
    pub fn newest(self) -> BoxedStrategy<Event> {
        let steps = prop_oneof![Just(Event::Pass(5)), Just(Event::Reconcile), Just(Event::Calm)];
        let new = (8usize..64).prop_map(Event::NewColor);
        match self {
            Self::Ordinary => prop_oneof![new, steps].boxed(),
            _ => prop_oneof![2 => self.own(), 1 => steps].boxed(),
        }
    }

    /// Returns the events that happen in this class alone.
    pub fn own(self) -> BoxedStrategy<Event> {
        let n = || 0usize..64;
        let size = || 0u32..5;
        match self {
            Self::Ordinary => Just(Event::Calm).boxed(),
            Self::Refused => prop_oneof![
                4 => (n(), 0usize..3).prop_map(|(object, way)| Event::Refuse(object, way)),
                1 => Just(Event::Allow),
            ]
            .boxed(),
            Self::Vain => prop_oneof![
                4 => (n(), 3usize..5).prop_map(|(object, way)| Event::Refuse(object, way)),
                1 => Just(Event::Allow),
            ]
            .boxed(),
            Self::Ports => (0u32..3).prop_map(Event::NewPort).boxed(),
            Self::Entry => Just(Event::NewGate).boxed(),
            Self::NodePorts => prop_oneof![
                (n(), 0u32..4).prop_map(|(stage, port)| Event::NodePort(stage, port)),
                (n(), n()).prop_map(|(stage, other)| Event::SwapNodePorts(stage, other)),
                (1u32..4).prop_map(Event::TakeNodePort),
                n().prop_map(Event::RenameService),
                n().prop_map(Event::DeleteStageService),
                Just(Event::SlowDeletes),
                Just(Event::FinishDeletes),
            ]
            .boxed(),
            Self::Edits => prop_oneof![
                (n(), n()).prop_map(|(stage, instance)| Event::SelectByHand(stage, instance)),
                n().prop_map(Event::EditSelector),
                (n(), n()).prop_map(|(stage, color)| Event::SayByHand(stage, color)),
                (n(), n()).prop_map(|(pod, stage)| Event::LabelByHand(pod, stage)),
                n().prop_map(Event::UnlabelByHand),
                n().prop_map(Event::ServingByHand),
                n().prop_map(Event::BlurJoined),
                (n(), n()).prop_map(|(pod, mark)| Event::MarkByHand(pod, mark)),
                (n(), 0u32..3).prop_map(|(stage, port)| Event::EditPort(stage, port)),
                Just(Event::Allow),
                n().prop_map(Event::Drift),
                Just(Event::LoseStatus),
            ]
            .boxed(),
            Self::Deletions => prop_oneof![
                n().prop_map(Event::DeleteDeployment),
                n().prop_map(Event::OrphanDeployment),
                n().prop_map(Event::RestartDeployment),
                n().prop_map(Event::DeleteService),
                n().prop_map(Event::DeleteStageService),
                Just(Event::DeleteGuardByHand),
                n().prop_map(Event::DeleteSlices),
                n().prop_map(Event::DeleteColor),
                n().prop_map(Event::ForceDeleteColor),
            ]
            .boxed(),
            Self::Owners => prop_oneof![3 => n().prop_map(Event::Disown), 1 => Just(Event::Own)].boxed(),
            Self::Pods => prop_oneof![
                n().prop_map(Event::Evict),
                n().prop_map(Event::Restart),
                n().prop_map(Event::NodeGone),
                n().prop_map(Event::Flap),
                n().prop_map(Event::ReadyThenCrash),
            ]
            .boxed(),
            Self::Gates => prop_oneof![2 => Just(Event::GateNewest), 1 => Just(Event::OpenGates)].boxed(),
            Self::Scalers => prop_oneof![
                (n(), size()).prop_map(|(deployment, replicas)| Event::Autoscale(deployment, replicas)),
                (n(), size()).prop_map(|(deployment, replicas)| Event::ScaleByHand(deployment, replicas)),
                Just(Event::NoAutoscale),
            ]
            .boxed(),
            Self::Autoscalers => prop_oneof![
                4 => (n(), 0usize..4).prop_map(|(tier, way)| Event::SayScaling(tier, way)),
                4 => (n(), size()).prop_map(|(deployment, replicas)| Event::Autoscale(deployment, replicas)),
                2 => (n(), 1u32..6).prop_map(|(deployment, most)| Event::ForeignScaler(deployment, most)),
                1 => Just(Event::NoForeignScaler),
                1 => Just(Event::NoAutoscale),
                1 => (n(), size()).prop_map(|(deployment, replicas)| Event::ScaleByHand(deployment, replicas)),
            ]
            .boxed(),
            Self::Replicas => prop_oneof![
                3 => (n(), size()).prop_map(|(tier, replicas)| Event::Replicas(tier, replicas)),
                1 => (n(), proptest::option::of(size())).prop_map(|(stage, size)| Event::StageReplicas(stage, size)),
                1 => n().prop_map(Event::Pause),
            ]
            .boxed(),
            Self::Sizes => (n(), size()).prop_map(|(tier, replicas)| Event::NewSize(tier, replicas)).boxed(),
            Self::Away => prop_oneof![
                (30i64..600).prop_map(|seconds| Event::Tick(seconds * 1_000)),
                (n(), 1u32..4).prop_map(|(pod, count)| Event::Connect(pod, count)),
                n().prop_map(Event::Disconnect),
            ]
            .boxed(),
            Self::Lags => prop_oneof![
                3 => (0usize..7, prop_oneof![Just(0i64), Just(500), Just(3_000), Just(20_000)])
                    .prop_map(|(kind, lag)| Event::Lag(kind, lag)),
                2 => (0usize..7).prop_map(Event::Refresh),
                2 => prop_oneof![Just(0i64), Just(500), Just(5_000), Just(20_000)].prop_map(Event::SlowLabels),
            ]
            .boxed(),
            Self::LateWrites => prop_oneof![
                2 => (0usize..6).prop_map(Event::TakeOver),
                3 => Just(Event::LateWrite),
            ]
            .boxed(),
            Self::Clocks => prop_oneof![
                2 => (0usize..6).prop_map(Event::TakeOver),
                1 => prop_oneof![Just(-180i64), Just(-2), Just(2), Just(180)].prop_map(Event::OtherClock),
            ]
            .boxed(),
            Self::Invalid => prop_oneof![
                3 => Just(Event::Invalid),
                2 => n().prop_map(Event::InvalidStage),
                1 => Just(Event::Valid),
            ]
            .boxed(),
            Self::Manifests => prop_oneof![2 => Just(Event::Apply), 1 => n().prop_map(Event::Pause)].boxed(),
            Self::Stages => prop_oneof![
                Just(Event::AddStage),
                n().prop_map(Event::RemoveStage),
                (n(), n()).prop_map(|(color, tier)| Event::AddStageLikeColor(color, tier)),
            ]
            .boxed(),
            Self::Checks => prop_oneof![
                3 => (0usize..3, 0usize..5).prop_map(|(gate, says)| Event::Judge(gate, says)),
                1 => (n(), n(), n()).prop_map(|(stage, gate, color)| Event::SkipGate(stage, gate, color)),
                3 => n().prop_map(Event::PassStep),
            ]
            .boxed(),
            Self::Edges => prop_oneof![
                4 => n().prop_map(Event::NewEdge),
                2 => n().prop_map(Event::NewCallee),
                1 => n().prop_map(Event::NoTier),
            ]
            .boxed(),
        }
    }
}

/// Returns the events of users in the ordinary course of releases, including holds.
pub fn of_releases() -> impl Strategy<Value = Event> {
    let n = || 0usize..64;
    prop_oneof![
        4 => n().prop_map(Event::NewColor),
        6 => (n(), n()).prop_map(|(stage, color)| Event::Promote(stage, color)),
        2 => n().prop_map(Event::Pause),
        1 => n().prop_map(Event::BackToColor),
        1 => n().prop_map(Event::Retire),
        1 => (n(), n()).prop_map(|(color, deadline)| Event::Drain(color, deadline)),
        2 => (5i64..60).prop_map(Event::Pass),
    ]
}
