//! Copies of configuration: when they are made, restored and deleted.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::BTreeSet;

use rainbow_plan::*;

fn name(name: &str) -> ConfigName {
    ConfigName { kind: ConfigKind::ConfigMap, name: name.into() }
}

fn reads(copy: &str) -> BTreeSet<ConfigCopy> {
    BTreeSet::from([ConfigCopy { source: name("settings"), copy: copy.into() }])
}

/// Returns a world with a spec of one tier and no stage, whose version reads a copy.
fn world(color: &str, copy: &str) -> World {
    let tier = Tier {
        name: "web".into(),
        replicas: 1,
        scaling: Scaling::Replicas,
        needs: Vec::new(),
        calls: Vec::new(),
        identity: format!("web with {copy}"),
        counted: false,
        min_ready: std::time::Duration::ZERO,
    };
    let mut world = World::new(Spec::new(color, vec![tier], Vec::new()));
    world.spec.config = reads(copy);
    world.memory.color = Some(color.into());
    world
}

/// Returns a color without pods.
fn color(world: &World, name: &str, revision: i64, copy: &str) -> Color {
    let web = InstanceName::shared("web", name);
    Color {
        name: name.into(),
        revision,
        created: Time(0),
        tiers: vec![Tier { identity: format!("web with {copy}"), ..world.spec.tiers[0].clone() }],
        instances: [("web".to_owned(), web)].into(),
        retire: false,
        deadline: None,
        deleting: false,
        released: Some(Time(0)),
        retired: Some(Time(0)),
        entries: Default::default(),
        demoted: false,
        rejected_by: None,
        sizes: Default::default(),
        served: None,
        config: reads(copy),
        parts: Vec::new(),
        part: Part::Shared,
        bound: Vec::new(),
    }
}

const SAME: CopyState = CopyState::Absent { source: Source::Same };
const INTACT: CopyState = CopyState::Ours { source: Source::Changed, intact: true };

fn plan_of(world: &World) -> Plan {
    plan(world, Time(1_000_000))
}

fn of_copies(plan: &Plan) -> Vec<String> {
    let one = |action: &Action| match action {
        Action::CreateCopy { copy } => Some(format!("create {}", copy.name)),
        Action::DeleteCopy { copy } => Some(format!("delete {}", copy.name)),
        Action::CreateColor { color, .. } => Some(format!("color {color}")),
        _ => None,
    };
    plan.actions().filter_map(one).collect()
}

fn with(mut world: World, copies: &[(&str, CopyState)]) -> World {
    world.copies = copies.iter().map(|(copy, state)| (name(copy), *state)).collect();
    world
}

#[test]
fn a_color_is_made_when_its_copies_are_seen() {
    let new = |state| of_copies(&plan_of(&with(world("v1", "settings-1"), &[("settings-1", state)])));
    assert_eq!(new(SAME), ["create settings-1"]);
    assert_eq!(new(CopyState::Deleting), [""; 0]);
    assert_eq!(new(CopyState::Absent { source: Source::Changed }), [""; 0]);
    assert_eq!(new(CopyState::Ours { source: Source::Same, intact: false }), ["delete settings-1"]);
    assert_eq!(new(CopyState::Ours { source: Source::Same, intact: true }), ["color v1"]);
    let taken = plan_of(&with(world("v1", "settings-1"), &[("settings-1", CopyState::Foreign)]));
    assert_eq!(of_copies(&taken), [""; 0]);
    assert_eq!(taken.report.problems, [Problem::Foreign { object: Object::Copy(name("settings-1")) }]);
}

#[test]
fn a_copy_stays_as_long_as_a_color_reads_it() {
    let mut world = world("v2", "settings-2");
    world.colors = vec![color(&world, "v1", 1, "settings-1"), color(&world, "v2", 2, "settings-2")];
    let world = with(world, &[("settings-0", INTACT), ("settings-1", INTACT), ("settings-2", INTACT)]);
    assert_eq!(of_copies(&plan_of(&world)), ["delete settings-0"]);
    let mut gone = world.clone();
    gone.colors.remove(0);
    assert_eq!(of_copies(&plan_of(&gone)), ["delete settings-0", "delete settings-1"]);
    // Nothing tells which copies the pods of an instance without a color read.
    let orphan = InstanceName::shared("web", "v1");
    gone.pods = vec![Pod::new("web-v1-x", orphan.clone())];
    gone.instances.insert(
        orphan,
        Instance {
            identity: String::new(),
            deployment: Deployment::Absent,
            service: Presence::NotNeeded,
            ports: None,
            scaler: Scaler::Absent,
            labeled: true,
        },
    );
    assert_eq!(of_copies(&plan_of(&gone)), [""; 0]);
    let mut invalid = world;
    invalid.spec.version = Version::Invalid;
    assert_eq!(of_copies(&plan_of(&invalid)), [""; 0], "which copies the spec names is unknown");
}

#[test]
fn a_copy_is_put_back_where_the_content_is_known() {
    let mut world = world("v1", "settings-1");
    world.colors = vec![color(&world, "v1", 1, "settings-1")];
    let state = |state| plan_of(&with(world.clone(), &[("settings-1", state)]));
    assert_eq!(of_copies(&state(SAME)), ["create settings-1"]);
    assert_eq!(of_copies(&state(CopyState::Ours { source: Source::Same, intact: false })), ["delete settings-1"]);
    let lost = Problem::CopyLost { color: "v1".into(), copy: name("settings-1"), source: name("settings") };
    for lost_state in
        [CopyState::Absent { source: Source::Changed }, CopyState::Ours { source: Source::Changed, intact: false }]
    {
        let plan = state(lost_state);
        assert_eq!((of_copies(&plan).len(), plan.report.problems), (0, vec![lost.clone()]), "{lost_state:?}");
    }
    // A color that has no pods, and should have none, blocks nothing.
    let mut retired = world.clone();
    retired.spec.color = "v2".into();
    retired.spec.tiers[0].identity = "another".into();
    retired.spec.config.clear();
    retired.memory.color = None;
    let plan = plan_of(&with(retired, &[("settings-1", CopyState::Absent { source: Source::Changed })]));
    assert_eq!(plan.report.problems, []);
}

#[test]
fn changed_configuration_under_a_used_name_is_refused() {
    let mut world = world("v1", "settings-2");
    world.colors = vec![color(&world, "v1", 1, "settings-1")];
    let plan = plan_of(&with(world, &[("settings-1", INTACT), ("settings-2", SAME)]));
    assert_eq!(plan.report.problems, [Problem::ColorInUse { color: "v1".into(), config: vec![name("settings")] }]);
    assert_eq!(of_copies(&plan), [""; 0], "nothing is half-made");
}
