//! Texts of the planner's reasons, as the walks have them.

use rainbow_plan::*;

pub fn waiting(waiting: &Waiting) -> String {
    match waiting {
        Waiting::ForeignService => "its Service's name is taken by an object that is not Rainbow's".into(),
        Waiting::ForMissingColor { color } => format!("color `{color}` does not exist"),
        Waiting::ForDeletedColor { color } => format!("color `{color}` is being deleted"),
        Waiting::ForColorWithoutSlot { color } => format!("waits for color `{color}`, which waits for others to go"),
        Waiting::ForMissingTier { color, tier: Some(tier) } => format!("color `{color}` has no tier `{tier}`"),
        Waiting::ForMissingTier { color, tier: None } => format!("color `{color}` has several entry tiers"),
        Waiting::ForColor { color, lacks } => format!("waits for color `{color}`: {}", self::lacks(lacks)),
        Waiting::ForTier { tier, color, is_rejected: false } => format!("waits until tier `{tier}` serves `{color}`"),
        Waiting::ForTier { tier, color, is_rejected: true } => format!("tier `{tier}` was taken back from `{color}`"),
        Waiting::ForNewerCallers { tier, color } => format!("waits for the end of `{tier}` of `{color}`"),
        Waiting::BetweenTiers { tier, color, until } => {
            let until = until.map_or("it is told to go on".into(), |until| format!("@{}", until.0 / 1_000));
            format!("tier `{tier}` serves `{color}`: waits until {until}")
        }
        Waiting::Paused => "paused".into(),
        Waiting::ForRoom { color } => format!("waits for room beside `{color}`"),
        Waiting::Pinned { color, newest } => format!("told to stay at `{color}`, and not to follow to `{newest}`"),
        Waiting::ForValidStage => "waits for a valid stage".into(),
        Waiting::ForPods { lacks } => self::lacks(lacks),
        Waiting::ForSlot { living } => {
            format!("as many colors live as spec.keep.live allows: {}", self::living(living))
        }
        Waiting::HeldByStages { stages } => {
            format!("being deleted, but held by stage {}: move it to another color", stages.join(", "))
        }
        Waiting::WholeForReturn => "in no stage; whole for a quick return".into(),
        Waiting::KeptWarm { stage, color, is_unhealthy } => {
            let health = if *is_unhealthy { "is unhealthy" } else { "has not been healthy for long" };
            format!("way back of stage `{stage}`: `{color}` {health}")
        }
        Waiting::RolledBack { color, gate: None } => format!("taken back from `{color}`"),
        Waiting::RolledBack { color, gate: Some(gate) } => format!("taken back from `{color}` by `{gate}`"),
        Waiting::KeptForGates { stage, color } => format!("kept for the gates of `{color}` in `{stage}`"),
        Waiting::AtPause { index, color, until } => {
            let until = if until.is_some() { " for a time" } else { "" };
            format!("pauses at step {index} to `{color}`{until}")
        }
        Waiting::ForGate { check, outcome } => {
            let outcome = outcome.map(|outcome| format!(", {outcome:?}")).unwrap_or_default();
            format!("waits for `{}` {:?} of `{}`{outcome}", check.gate, check.moment, check.color)
        }
        Waiting::ForDataPlane => "goes as soon as no client can be sent to it".into(),
        Waiting::ForConnections => "waits for its connections to end".into(),
        Waiting::ForUnknownConnections => "its connections are unknown, which counts as busy".into(),
        Waiting::ForCounts => "its connections are being counted".into(),
        Waiting::ForIdleTime => "has no connections; goes when that has been so for spec.drain.settle".into(),
        Waiting::ForCallers => "going down, entry tiers first".into(),
        Waiting::ForFewerPods { holders } if holders.is_empty() => "becomes smaller".into(),
        Waiting::ForFewerPods { holders } => {
            format!("becomes smaller: waits for the connections of {} pods", holders.len())
        }
        Waiting::CannotShrink { tier, pods, wanted } => {
            format!("{tier} keeps {pods} pods of {wanted}: an older version made it")
        }
        Waiting::Scaled { tier, scaler } => format!("autoscaler {scaler} scales {tier}"),
        Waiting::ForScaler { color, moved, wanted } => {
            format!("color `{color}` has no more than {moved} pods of {wanted}: another scales it")
        }
        Waiting::ForDeletion => "the Rainbow is being deleted".into(),
    }
}

fn lacks(lacks: &[Shortfall]) -> String {
    let one = |lack: &Shortfall| match lack {
        Shortfall::Instance { tier } => format!("{tier} has no instance"),
        Shortfall::Pods { tier, ready, wanted } => format!("{tier} {ready}/{wanted} ready"),
        Shortfall::MinReady { tier, available, wanted, min_ready } => {
            format!("{tier} {available}/{wanted} ready for {min_ready:?}")
        }
    };
    lacks.iter().map(one).collect::<Vec<_>>().join(", ")
}

pub fn problem(problem: &Problem) -> String {
    match problem {
        Problem::CopyLost { color, copy, .. } => format!("copy `{}` of color `{color}` is lost", copy.name),
        Problem::ColorInUse { color, .. } => {
            format!("color `{color}` exists with other tiers: give spec.color a new name")
        }
        Problem::UnknownColor { stage, color, known } => format!(
            "stage `{stage}` shall serve color `{color}`, which does not exist: set spec.stages[{stage}].color to one of: {}",
            known.join(", ")
        ),
        Problem::Foreign { object } => {
            let object = match object {
                Object::Deployment(instance) => format!("Deployment `{}-{}`", instance.tier, instance.color),
                Object::Scaler(instance) => format!("autoscaler `{}-{}`", instance.tier, instance.color),
                Object::Service(instance) => format!("Service `{}-{}`", instance.tier, instance.color),
                Object::StageService { stage } => format!("Service of stage `{stage}`"),
                Object::ShadowService { stage } => format!("shadow Service of stage `{stage}`"),
                Object::Copy(copy) => format!("copy `{}`", copy.name),
                Object::Guard => "the guard".into(),
                Object::StageBudget { stage } => format!("the budget of stage `{stage}`"),
            };
            format!("{object} exists and is not Rainbow's")
        }
        Problem::Stalled { color, after, lacks } => {
            format!("color `{color}` is not ready after {after:?}: {}", self::lacks(lacks))
        }
        Problem::Degraded { stage, color, since, lacks, previous } => {
            let lacks = if lacks.is_empty() { String::new() } else { format!(": {}", self::lacks(lacks)) };
            let back = previous.as_ref().map_or(String::new(), |color| format!(" (back: {color})"));
            format!("stage `{stage}`: color `{color}` is degraded since @{}{lacks}{back}", since.0 / 1_000)
        }
        Problem::RolledBack { stage, color, to, gate: _ } => {
            format!("stage `{stage}` is told to serve `{color}` and has been taken back to `{to}`")
        }
        Problem::InUse { color, stage } => {
            format!("color `{color}` cannot be retired while stage `{stage}` points at it")
        }
        Problem::DeletingInUse { color, stage } => format!(
            "color `{color}` is being deleted while stage `{stage}` points at it: move the stage to another color"
        ),
        Problem::InstanceInUse { color, instance, user } => {
            format!(
                "color `{color}` cannot be made: `{}-{}` exists and color `{user}` has it",
                instance.tier, instance.color
            )
        }
        Problem::TooManyColors { color, living } => {
            format!("color `{color}` waits: {} colors live: {}", living.len(), self::living(living))
        }
    }
}

fn living(living: &[LivingColor]) -> String {
    let one = |living: &LivingColor| format!("{} ({})", living.color, because(&living.because));
    living.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn because(because: &LivesBecause) -> String {
    match because {
        LivesBecause::Stages(stages) => format!("stage {}", stages.join(", ")),
        LivesBecause::RemovedStage => "a removed stage".into(),
        LivesBecause::Spec => "the spec's color".into(),
        LivesBecause::Drains { connections, busy, unknown, unknown_since, deadline } => {
            let second = |time: &Option<Time>| time.map_or("never".into(), |time| format!("@{}", time.0 / 1_000));
            let unknown = match unknown {
                0 => String::new(),
                pods => format!(", {pods} pods unknown since {}", second(unknown_since)),
            };
            format!("drains: {connections} connections on {busy} pods{unknown}, cut {}", second(deadline))
        }
        LivesBecause::KeptWarm { stage, color } => format!("way back of stage {stage}: {color} is unhealthy"),
        LivesBecause::Leaves => "leaves".into(),
    }
}
