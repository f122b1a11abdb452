//! Every sentence that the operator says to people: in conditions, statuses, events, and answers about connections.
//!
//! The planner and the modules of the operator know reasons; this module knows words.

use rainbow_api::{ConfigKind, ConfigName, Cut, Hold, HumanDuration, ShiftStatus, StageStatus};
use rainbow_plan::{
    ColorPhase, ColorReport, InstanceName, Lack, LivesBecause, Living, Problem, Report, ShiftPhase, StageReport,
    TierReport, Time, Waiting,
};
use std::{collections::BTreeSet, fmt::Display, time::Duration};

use crate::{
    clock,
    domain::{self, Names, OnePeer, Owner, PeerOwner, PodTrouble, Urgency},
    fixed::Kept,
    kind::Kind,
};

/// Longest note of an event, in bytes, as the API server checks it.
pub(crate) const NOTE_BYTES: usize = 1024;

// What is asked of a Rainbow, and why it is not so.

/// Everything is as the spec says.
pub(crate) const SETTLED: &str = "everything is as the spec says";
/// Nothing is under way.
pub(crate) const NOTHING_UNDER_WAY: &str = "nothing is under way";
/// Nothing is stalled.
pub(crate) const NOTHING_IN_THE_WAY: &str = "nothing is in the way";

/// Why a stage or a color is not yet where it should be. `of` is the color whose pods are waited for, where the reason does not say it.
pub(crate) fn waiting(waiting: &Waiting, of: Option<&str>, names: &Names<'_>) -> String {
    match waiting {
        Waiting::ForeignService => "its Service's name is taken by another object".to_owned(),
        Waiting::ForMissingColor { color } => format!("color `{color}` does not exist"),
        Waiting::ForDeletedColor { color } => format!("color `{color}` is being deleted"),
        Waiting::ForColorWithoutSlot { color } => format!("waits for color `{color}`, which waits for others to go"),
        Waiting::ForMissingTier { color, tier: Some(tier) } => format!("color `{color}` has no tier `{tier}`"),
        Waiting::ForMissingTier { color, tier: None } => {
            format!("color `{color}` has several entry tiers: name the stage's in spec.stages[].tier")
        }
        Waiting::ForColor { color, lacks } => {
            format!("waits for color `{color}`: {}", self::lacks(lacks, color, names, Patience::ForAWhile))
        }
        Waiting::ForRoom { color } => {
            format!("waits until pods of color `{color}` end: shift.rolling.surge lets no more run beside them")
        }
        Waiting::ForTier { tier, color, is_rejected: false } => {
            format!("waits until tier `{tier}` has moved to color `{color}`")
        }
        Waiting::ForTier { tier, color, is_rejected: true } => {
            format!("stays, because tier `{tier}` was taken back from color `{color}`, which was unhealthy")
        }
        Waiting::ForNewerCallers { tier, color } => {
            format!("stays until the pods of tier `{tier}` that color `{color}` introduced have ended: an older color must not serve them")
        }
        Waiting::BetweenTiers { tier, color, until } => {
            let until = match until {
                Some(until) => format!("until {}", to_the_second(*until)),
                None => "for `rainbow resume` or `rainbow promote`".to_owned(),
            };
            format!("tier `{tier}` has moved to color `{color}`; waits {until} before the tiers that call it follow")
        }
        Waiting::Paused => "paused".to_owned(),
        Waiting::ForValidStage => "held: what the spec says of the stage is invalid".to_owned(),
        Waiting::Pinned { color, newest } => format!(
            "stays at `{color}`, to which it was moved by hand, and does not follow to `{newest}` before `rainbow promote`"
        ),
        Waiting::ForPods { lacks } => self::lacks(lacks, of.unwrap_or_default(), names, Patience::ForAWhile),
        Waiting::ForSlot { living } => {
            format!("waits for a slot: {} colors live, as many as spec.keep.live allows: {}", living.len(), all(living))
        }
        Waiting::HeldByStages { stages } => {
            format!("being deleted, but held by stage {}: move it to another color", stages.join(", "))
        }
        Waiting::Settling => "in no stage; whole for a quick return".to_owned(),
        Waiting::KeptWarm { stage, color, is_unhealthy: true } => {
            format!("kept whole as the way back of stage `{stage}`: `{color}`, which the stage serves now, lacks pods")
        }
        Waiting::KeptWarm { stage, color, is_unhealthy: false } => format!(
            "kept whole as the way back of stage `{stage}`, until `{color}` has been healthy for spec.keep.warm without a break"
        ),
        Waiting::RolledBack { color } => format!("taken back from `{color}`, which was unhealthy"),
        Waiting::ForDataPlane => "goes as soon as no client can be sent to it".to_owned(),
        Waiting::ForConnections => "waits for its connections to end".to_owned(),
        Waiting::ForUnknownConnections => "its connections are unknown, which counts as busy".to_owned(),
        Waiting::ForCounts => "its connections are being counted".to_owned(),
        Waiting::ForIdleTime => "has no connections; goes when that has been so for spec.drain.settle".to_owned(),
        Waiting::ForCallers => "going down, entry tiers first".to_owned(),
        Waiting::ForFewerPods { holders } => match holders.as_slice() {
            [] => "becomes smaller: pods that were taken out of their Services go when they have been idle for spec.drain.settle"
                .to_owned(),
            [pod] => format!("becomes smaller: waits for the connections of pod `{pod}` to end"),
            [pod, rest @ ..] => {
                format!("becomes smaller: waits for the connections of pod `{pod}` and {} more to end", rest.len())
            }
        },
        Waiting::CannotShrink { tier, pods, wanted } => format!(
            "keeps {pods} pods of tier `{tier}` instead of {wanted}: an older version made them, and they cannot be taken out of \
             their Services; the next release has {wanted}"
        ),
        Waiting::Scaled { tier, scaler } => format!(
            "HorizontalPodAutoscaler `{scaler}`, which is not Rainbow's, decides how many pods tier `{tier}` has"
        ),
        Waiting::ForScaler { color, moved, wanted } => format!(
            "has moved to the {moved} pods that color `{color}` has, and waits for {wanted}: another controller decides how many there \
             are; it goes on without them after spec.progressDeadlineSeconds"
        ),
        Waiting::ForDeletion => "the Rainbow is being deleted".to_owned(),
    }
}

/// Whether what may pass by itself is worth a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Patience {
    /// Nodes may be preparing pods.
    ForAWhile,
    /// Pods have had their time.
    Over,
}

/// `backend 0/1 ready (backend-v2-x: container `web` ended with code 1), frontend has no instance`.
fn lacks(lacks: &[Lack], color: &str, names: &Names<'_>, patience: Patience) -> String {
    let because = |tier: &str| {
        let told = |trouble: &&PodTrouble| patience == Patience::Over || trouble.urgency != Urgency::Starting;
        let trouble = names.trouble(color, tier).filter(told);
        trouble.map_or_else(String::new, |trouble| format!(" ({}: {})", trouble.object, trouble.says))
    };
    let one = |lack: &Lack| match lack {
        Lack::Instance { tier } => format!("{tier} has no instance"),
        Lack::Pods { tier, ready, wanted } => format!("{tier} {ready}/{wanted} ready{}", because(tier)),
        Lack::MinReady { tier, available, wanted, min_ready } => {
            format!("{tier} {available}/{wanted} ready for {} s without a break", min_ready.as_secs())
        }
    };
    lacks.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// What a person has to fix, and how.
pub(crate) fn problem(problem: &Problem, names: &Names<'_>) -> String {
    match problem {
        Problem::ColorInUse { color, config } if config.is_empty() => {
            format!("color `{color}` exists with other tiers: give spec.color a new name")
        }
        Problem::ColorInUse { color, config } => {
            let config: Vec<String> = config.iter().map(config_name).collect();
            format!("color `{color}` exists with other content of {}: give spec.color a new name", config.join(", "))
        }
        Problem::CopyLost { color, copy, source } => format!(
            "{} of color `{color}` is gone and cannot be made again, because {} has other content by now: put that content back, or \
             release another version; pods that run keep what they have read, and a pod that starts waits",
            config_name(copy),
            config_name(source)
        ),
        Problem::UnknownColor { stage, color, known } if known.is_empty() => format!(
            "stage `{stage}` should serve color `{color}`, which does not exist, nor does any other yet: remove spec.stages[{stage}].color"
        ),
        Problem::UnknownColor { stage, color, known } => format!(
            "stage `{stage}` should serve color `{color}`, which does not exist: set spec.stages[{stage}].color to one of: {}",
            known.join(", ")
        ),
        Problem::Foreign { object } => {
            let (kind, name) = names.object(object);
            let owner = names.taken.get(&(kind, name.clone()));
            if let Some((owner, purpose)) = owner.zip(Names::purpose(object)) {
                return name_taken(kind, &name, &purpose, owner);
            }
            format!("{}: rename or delete it, or make this Rainbow again with a spec.namePrefix", foreign(kind, &name))
        }
        Problem::Stalled { color, after, lacks } => {
            format!(
                "color `{color}` is not ready after {after:?}: {}",
                self::lacks(lacks, color, names, Patience::Over)
            )
        }
        Problem::Degraded { stage, color, since, lacks, previous } => {
            let lacks = match lacks.is_empty() {
                true => "its pods fail again and again".to_owned(),
                false => self::lacks(lacks, color, names, Patience::Over),
            };
            let back = previous.as_ref().map_or_else(String::new, |color| {
                format!(": `{color}` is kept as the way back: `rainbow rollback {} --stage {stage}`", names.rainbow)
            });
            format!("color `{color}` of stage `{stage}` is unhealthy since {}: {lacks}{back}", to_the_second(*since))
        }
        Problem::RolledBack { stage, color, to } => format!(
            "stage `{stage}` is told to serve `{color}`, which was unhealthy for too long, and has been taken back to `{to}`: release \
             another version, or `rainbow rollback {} --stage {stage}`",
            names.rainbow
        ),
        Problem::InUse { color, stage } => {
            format!("color `{color}` cannot be retired while stage `{stage}` points at it")
        }
        Problem::DeletingInUse { color, stage } => format!(
            "color `{color}` is being deleted while stage `{stage}` points at it: move the stage to another color"
        ),
        Problem::InstanceInUse { color, instance, user } => format!(
            "color `{color}` cannot be made: `{}` exists and color `{user}` has it: give spec.color a new name",
            names.instance(instance)
        ),
        Problem::TooManyColors { color, living } => format!(
            "color `{color}` waits: {} colors live, as many as spec.keep.live allows; held by {}; wait for a drain, move a \
             stage, raise spec.keep.live, or cut what a color holds with `rainbow retire COLOR --force`",
            living.len(),
            all(living)
        ),
    }
}

/// Colors that live, and why.
fn all(living: &[Living]) -> String {
    living.iter().map(self::living).collect::<Vec<_>>().join(", ")
}

/// The part of a problem's text that changes only when the problem does: counts of connections are left out.
pub(crate) fn gist(message: &str) -> &str {
    message.split(": ").next().unwrap_or(message)
}

/// Two purposes come to one name.
pub(crate) fn name_taken(kind: Kind, name: &str, purpose: &Owner, owner: &Owner) -> String {
    let remedy = match purpose {
        Owner::Stage(stage) | Owner::Shadow(stage) => {
            format!("rename the stage, or set another spec.stages[{stage}].service.name")
        }
        Owner::Instance(_) | Owner::Rainbow(_) => match owner {
            Owner::Stage(stage) | Owner::Shadow(stage) => {
                format!("rename stage `{stage}`, or set another spec.stages[{stage}].service.name")
            }
            Owner::Instance(_) => "give spec.color another name".to_owned(),
            Owner::Rainbow(_) => "make this Rainbow again with a spec.namePrefix".to_owned(),
        },
    };
    format!("{} cannot have {kind} `{name}`, which is that of {}: {remedy}", self::owner(purpose), self::owner(owner))
}

/// The color that the spec describes cannot be made for the sake of a name.
pub(crate) fn color_name_taken(kind: Kind, name: &str, purpose: &Owner, owner: &Owner) -> String {
    format!("spec.color: {}", name_taken(kind, name, purpose, owner))
}

/// ``ConfigMap `settings` ``.
fn config_name(name: &rainbow_plan::ConfigName) -> String {
    format!("{} `{}`", domain::kind_of_config(name.kind), name.name)
}

/// The operator was installed without the right to read what templates name.
pub(crate) fn config_not_allowed(names: &BTreeSet<ConfigName>) -> String {
    let access = if names.iter().any(|name| name.kind == ConfigKind::Secret) { "all" } else { "configmaps" };
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    format!(
        "spec.config: `Versioned` needs the right to read {}: `rainbow install --versioned-config {access}` gives it to the operator, or set \
         spec.config to `Shared`",
        names.join(", ")
    )
}

/// Required objects that do not exist.
pub(crate) fn config_missing(names: &[&ConfigName]) -> String {
    let (names, verb) =
        (names.iter().map(ToString::to_string).collect::<Vec<_>>(), if names.len() == 1 { "does" } else { "do" });
    format!(
        "{} {verb} not exist: a new color waits; create it, or set `optional: true` where templates name it",
        names.join(", ")
    )
}

pub(crate) fn not_listed(kind: ConfigKind, why: &str) -> String {
    format!("{kind}s cannot be listed, so no color with copies of them is made: {why}")
}

pub(crate) fn not_read_yet(name: &ConfigName) -> String {
    format!("{name} has not been read yet")
}

pub(crate) fn not_read(name: &ConfigName, why: &impl Display) -> String {
    format!("{name} cannot be read, so no color with a copy of it is made: {why}")
}

pub(crate) fn no_config_key(name: &str, why: &impl Display) -> String {
    format!("Secret `{name}`, which holds the key by which Secrets are compared, cannot be read or made: {why}")
}

pub(crate) fn foreign_config_key(name: &str) -> String {
    format!(
        "Secret `{name}` exists and holds no key of Rainbow's, and Secrets are compared by that key: rename or delete it"
    )
}

/// The object is another one than it was when the plan was made.
pub(crate) fn config_changed(name: &ConfigName) -> String {
    format!("{name} has changed meanwhile")
}

fn owner(owner: &Owner) -> String {
    match owner {
        Owner::Instance(instance) => format!("tier `{}` of color `{}`", instance.tier, instance.color),
        Owner::Stage(stage) => format!("stage `{stage}`"),
        Owner::Shadow(stage) => format!("the shadow of stage `{stage}`"),
        Owner::Rainbow(rainbow) => format!("Rainbow `{rainbow}`"),
    }
}

/// An object that is not Rainbow's has a name that is needed.
pub(crate) fn foreign(kind: Kind, name: &str) -> String {
    format!("{kind} `{name}` exists and is not Rainbow's")
}

/// `v1 (draining: 12 connections on 3 pods, connections of 1 pod unknown since …, cut at …)`.
fn living(living: &Living) -> String {
    let because = match &living.because {
        LivesBecause::Stages(stages) => format!("stage {}", stages.join(", ")),
        LivesBecause::RemovedStage => "a removed stage".to_owned(),
        LivesBecause::Spec => "the spec's color".to_owned(),
        LivesBecause::Drains { busy: 0, unknown_since: None, .. } => "draining: goes by itself".to_owned(),
        LivesBecause::Drains { connections, busy, unknown, unknown_since, deadline } => {
            let mut parts = Vec::new();
            if *busy > 0 {
                parts.push(format!("{} on {}", plural(*connections, "connection"), plural(u64::from(*busy), "pod")));
            }
            if let Some(since) = unknown_since {
                let pods = plural(u64::from(*unknown), "pod");
                parts.push(format!("connections of {pods} unknown since {}", to_the_second(*since)));
            }
            parts.push(match deadline {
                Some(deadline) => format!("cut at {}", to_the_second(*deadline)),
                None => "no deadline".to_owned(),
            });
            format!("draining: {}", parts.join(", "))
        }
        LivesBecause::KeptWarm { stage, color } => {
            format!("way back of stage {stage}, whose color {color} is unhealthy")
        }
        LivesBecause::Leaves => "draining".to_owned(),
    };
    format!("{} ({because})", living.color)
}

fn plural(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

fn to_the_second(time: Time) -> String {
    clock::write(Time(time.0.div_euclid(1_000).saturating_mul(1_000)))
}

/// Stages that move: which, from where to where, and how far they are.
pub(crate) fn shifting(report: &Report) -> Option<String> {
    let one = |name: String, report: &StageReport| {
        let shift = report.shift.as_ref().filter(|shift| shift.phase != ShiftPhase::Paused)?;
        let step = format!("{} of {} pods", shift.moved, shift.of);
        Some(format!("{name} moves from {} to {}: {step}", shift.from, shift.to))
    };
    let of_stage = |stage: &StageReport| {
        let tier = |tier: &TierReport| one(format!("tier {} of stage {}", tier.tier, stage.name), &tier.report);
        let tiers = stage.tiers.iter().filter_map(tier);
        tiers.chain(one(format!("stage {}", stage.name), stage)).collect::<Vec<_>>()
    };
    let shifts: Vec<String> = report.stages.iter().flat_map(of_stage).collect();
    (!shifts.is_empty()).then(|| shifts.join("; "))
}

/// Stages that wait between two tiers.
pub(crate) fn steps(report: &Report, names: &Names<'_>) -> Option<String> {
    let step = |stage: &StageReport| match stage.waiting.as_ref()? {
        waiting @ Waiting::BetweenTiers { .. } => {
            Some(format!("stage {}: {}", stage.name, self::waiting(waiting, None, names)))
        }
        _ => None,
    };
    let steps: Vec<String> = report.stages.iter().filter_map(step).collect();
    (!steps.is_empty()).then(|| steps.join("; "))
}

/// Stages whose tiers have yet to follow: callers wait for callees, and on the way back callees for the end of newer callers.
pub(crate) fn following(report: &Report, names: &Names<'_>) -> Option<String> {
    let one = |name: String, report: &StageReport| match report.waiting.as_ref()? {
        waiting @ (Waiting::ForTier { .. } | Waiting::ForNewerCallers { .. }) => {
            Some(format!("{name}: {}", self::waiting(waiting, None, names)))
        }
        _ => None,
    };
    let of_stage = |stage: &StageReport| {
        let tier = |tier: &TierReport| one(format!("tier {} of stage {}", tier.tier, stage.name), &tier.report);
        let tiers = stage.tiers.iter().filter_map(tier);
        tiers.chain(one(format!("stage {}", stage.name), stage)).collect::<Vec<_>>()
    };
    let all: Vec<String> = report.stages.iter().flat_map(of_stage).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

/// The stage was taken back by its user.
pub(crate) fn held(hold: &Hold, rainbow: &str) -> String {
    let color = hold.color.as_deref().unwrap_or_default();
    let until = match hold.revision {
        Some(_) => "a later color, or ",
        None => "",
    };
    let origin = hold.origin();
    let origin = if origin.is_empty() { origin } else { format!(" {origin}") };
    let stage = &hold.stage;
    format!("held at `{color}`{origin} until {until}`rainbow promote {rainbow} --stage {stage}`")
}

/// Stages that are held in the middle of a shift.
pub(crate) fn paused(stages: &[StageStatus]) -> Option<String> {
    let held = stages.iter().filter_map(|stage| {
        let shift = stage.shift.as_ref()?;
        let since = shift.paused_since.as_deref()?;
        Some(format!("{} since {since}", shift_paused(&stage.name, &shift.from, &shift.to, shift.moved, shift.of)))
    });
    let held: Vec<String> = held.collect();
    (!held.is_empty()).then(|| held.join("; "))
}

/// Message of a stage that has been held for long.
pub(crate) fn paused_long(shift: &ShiftStatus) -> String {
    format!("paused for long, since {}", shift.paused_since.as_deref().unwrap_or(&shift.started_at))
}

/// Sentence about a stage, such as `stage active: paused`.
pub(crate) fn of_stage(stage: &str, message: &str) -> String {
    format!("stage {stage}: {message}")
}

/// Stages whose color lacks pods.
pub(crate) fn degraded(report: &Report, names: &Names<'_>) -> Option<String> {
    let lacking = report.stages.iter().filter(|stage| stage.degraded.is_some()).filter_map(|stage| {
        let color = report.colors.iter().find(|color| Some(&color.name) == stage.color.as_ref())?;
        let Some(Waiting::ForPods { lacks }) = &color.waiting else { return None };
        let lacks = self::lacks(lacks, &color.name, names, Patience::Over);
        Some(format!("color {} of stage {} lacks pods: {lacks}", color.name, stage.name))
    });
    let lacking: Vec<String> = lacking.collect();
    (!lacking.is_empty()).then(|| lacking.join("; "))
}

/// Colors that wait for a slot.
pub(crate) fn without_slot(report: &Report, names: &Names<'_>) -> Option<String> {
    let queued = report.colors.iter().filter_map(|color| match &color.waiting {
        Some(slot @ Waiting::ForSlot { .. }) => Some(of_color(&color.name, &waiting(slot, None, names))),
        _ => None,
    });
    let queued: Vec<String> = queued.collect();
    (!queued.is_empty()).then(|| queued.join("; "))
}

/// Colors whose pods are on their way.
pub(crate) fn starting(report: &Report, names: &Names<'_>) -> Option<String> {
    let starting = report.colors.iter().filter(|color| color.phase == ColorPhase::Starting);
    let one = |color: &ColorReport| match &color.waiting {
        Some(Waiting::ForPods { lacks }) => {
            format!(
                "color {} is on its way: {}",
                color.name,
                self::lacks(lacks, &color.name, names, Patience::ForAWhile)
            )
        }
        _ => format!("color {} is on its way", color.name),
    };
    let all: Vec<String> = starting.map(one).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

/// Colors whose pods have a reason not to be ready, other than that they are being started.
pub(crate) fn unready(report: &Report, names: &Names<'_>) -> Option<String> {
    let one = |color: &ColorReport| {
        let Some(Waiting::ForPods { lacks }) = &color.waiting else { return None };
        let has_reason = lacks.iter().any(|lack| match lack {
            Lack::Pods { tier, .. } => {
                names.trouble(&color.name, tier).is_some_and(|trouble| trouble.urgency != Urgency::Starting)
            }
            Lack::Instance { .. } | Lack::MinReady { .. } => false,
        });
        has_reason.then(|| of_color(&color.name, &self::lacks(lacks, &color.name, names, Patience::ForAWhile)))
    };
    let all: Vec<String> = report.colors.iter().filter_map(one).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

/// Stages that serve nothing yet.
pub(crate) fn without_color(report: &Report) -> Option<String> {
    let waiting = report.stages.iter().filter(|stage| stage.color.is_none());
    let names: Vec<&str> = waiting.map(|stage| stage.name.as_str()).collect();
    (!names.is_empty()).then(|| format!("stage {} serves no color yet", names.join(", ")))
}

/// Colors that have too few or too many pods.
pub(crate) const SIZING: &str = "colors are being brought to their sizes";

/// The prefix of all names was changed while objects have names with the former one.
pub(crate) fn prefix_changed(was: &str, is: &str) -> String {
    format!(
        "spec.namePrefix cannot change from \"{was}\" to \"{is}\" while Deployments have names with the former, so names keep the \
         former: set it back, or delete the Rainbow and make it again"
    )
}

/// Pods that do not start because the image of the counter cannot be pulled. The text does not vary from pod to pod.
pub(crate) fn no_counter_image(image: &str, color: &str, object: &str) -> String {
    format!(
        "pods of color {color} do not start: their node cannot pull `{image}`, the image of Rainbow's connection counter. Make it \
         available under this name and they start by themselves. Or give the operator another one (--tally-image), or do \
         without (drain.connections: None, or connections: None of a tier), and then delete the color (kubectl delete color \
         {object}): it is made again"
    )
}

// Writes that fail.

/// What the API server says about an object.
pub(crate) fn of_object(kind: Kind, name: &str, says: &dyn std::fmt::Display) -> String {
    format!("{kind} `{name}`: {says}")
}

/// Objects are needed in a namespace that is being deleted.
pub(crate) fn namespace_ends(namespace: &str) -> String {
    format!("namespace `{namespace}` is being deleted: nothing is made in it")
}

/// The object is not the one that the write was decided on.
pub(crate) fn not_what_it_was(kind: Kind, name: &str, says: Option<&str>) -> String {
    match says {
        Some(says) => format!("{kind} `{name}` is not what it was: {says}"),
        None => format!("{kind} `{name}` is not what it was"),
    }
}

/// A write was answered as if all were well, and a field is not what was written.
pub(crate) fn without_effect(kind: Kind, name: &str, field: &str, managers: &[String]) -> String {
    let managers = managers.iter().map(|manager| format!("`{manager}`")).collect::<Vec<_>>().join(", ");
    let cause = match managers.as_str() {
        "" => "an admission webhook or policy may change it".to_owned(),
        managers => format!("field manager {managers} has it"),
    };
    format!("{kind} `{name}`: a write of `{field}` has no effect: {cause}")
}

/// A Deployment cannot be made yet: its ReplicaSet would find its name taken.
pub(crate) fn replica_set_goes(deployment: &str) -> String {
    format!("a ReplicaSet of Deployment `{deployment}` is being deleted")
}

/// An object that should be made exists.
pub(crate) fn there_already(kind: Kind, name: &str) -> String {
    format!("{kind} `{name}` is there already")
}

/// A Color that should be made is another Rainbow's.
pub(crate) fn color_of_another(kind: Kind, name: &str) -> String {
    format!("{kind} `{name}` exists and is not this Rainbow's: delete it or change spec.color")
}

/// A status cannot be written as a patch.
pub(crate) fn no_patch(kind: Kind, name: &str, error: &dyn std::fmt::Display) -> String {
    format!("{kind} `{name}`: its status is no patch: {error}")
}

/// A stage's Service keeps what cannot change, although the spec says otherwise.
pub(crate) fn kept(service: &str, stage: &str, kept: &Kept) -> String {
    let (field, what) = match kept {
        Kept::Headless(true) => ("clusterIP", "is headless, and cannot get an address".to_owned()),
        Kept::Headless(false) => ("clusterIP", "has an address, and cannot become headless".to_owned()),
        Kept::Family(family) => ("ipFamilies", format!("has {family} as its main family, which cannot change")),
        Kept::LoadBalancerClass(Some(class)) => {
            ("loadBalancerClass", format!("has the load balancer class `{class}`, which cannot change"))
        }
        Kept::LoadBalancerClass(None) => {
            ("loadBalancerClass", "has a load balancer without a class, and cannot get one".to_owned())
        }
        Kept::HealthCheckNodePort(port) => ("healthCheckNodePort", format!("has {port}, which cannot change")),
    };
    format!(
        "spec.stages[{stage}].service.{field}: Service `{service}` {what}: set it back, or set another \
         spec.stages[{stage}].service.name, which makes a second Service before the first one goes"
    )
}

// Connections.

/// The pod has not been asked for its connections yet.
pub(crate) const NOT_ASKED: &str = "not asked yet";
/// Nothing is written down about the pod's tier.
pub(crate) const NO_TIER: &str = "no color has the pod's tier any more";
/// The pod was made without the container that counts its connections.
pub const NO_COUNTER: &str = "the pod was made without Rainbow's counter";
/// The tier has ports of a protocol whose connections the counter does not see.
pub const ASSOCIATIONS: &str = "the counter does not see SCTP associations";
/// The counter repeats an old answer.
pub(crate) const CLOCK_STANDS_STILL: &str = "the answers are old ones: the counter's clock stands still";
/// Connections that may be probes of the kubelet.
pub(crate) const UNDECIDED: &str = "there are connections from the node that may be probes or clients";
/// The connections of all pods can be read.
pub(crate) const ALL_KNOWN: &str = "the connections of all its pods are known";
/// The pod has no address yet.
pub(crate) const NO_ADDRESS: &str = "the pod has no address";
/// The request's connection was cut.
pub(crate) const BROKEN_OFF: &str = "the connection broke off";
/// No request reaches the API server.
pub(crate) const NO_API_SERVER: &str = "the API server cannot be reached";
/// The answer is no JSON.
pub(crate) const NO_JSON: &str = "the answer is no JSON";
/// The answer has another form than the counter's.
pub(crate) const NO_TALLY: &str = "the answer is not that of the counter";
/// The counter has seen a part of the connections.
pub(crate) const IN_PART: &str = "not all connections could be seen";

/// No answer came in time.
pub(crate) fn no_answer(patience: Duration) -> String {
    format!("no answer within {} s", patience.as_secs())
}

/// The answer was a status other than 200.
pub(crate) fn refused(how: &str, status: &dyn std::fmt::Display) -> String {
    format!("asked {how}, the answer was {status}")
}

/// The answer is longer than any that can be meant.
pub(crate) fn too_long(limit: usize) -> String {
    format!("the answer has more than {} KiB", limit / 1024)
}

/// The path cannot be part of a request.
pub(crate) fn no_path(path: &str) -> String {
    format!("`{path}` is no path")
}

/// The answer lacks the number.
pub(crate) fn no_number(field: &str) -> String {
    format!("the answer has no number of connections at `{field}`")
}

/// The answer lacks a port.
pub(crate) fn no_port(port: i32) -> String {
    format!("the answer does not speak of port {port}")
}

/// Pods whose connections cannot be read: how many, and why, of some of them.
pub(crate) fn unknown(count: u32, why: &[(&str, &str)]) -> String {
    let of = match count {
        1 => "1 pod are not known, so it is kept".to_owned(),
        many => format!("{many} pods are not known, so they are kept"),
    };
    let pods: Vec<String> = why.iter().map(|(pod, why)| format!("{pod}: {why}")).collect();
    format!("the connections of {of}: {}", pods.join("; "))
}

/// One peer is connected to every pod that holds a color.
pub(crate) fn one_peer(peer: &OnePeer, rainbow: &str) -> String {
    let OnePeer { address, owner, pods } = peer;
    let (owner, remedy) = match owner {
        PeerOwner::Pod { namespace, name } => (format!(" (pod {namespace}/{name})"), "podSelector or ipBlock"),
        PeerOwner::Node(node) => (format!(" (node {node}, which may stand for many clients)"), "ipBlock"),
        PeerOwner::Unknown => (String::new(), "ipBlock"),
    };
    format!(
        "{address}{owner} is connected to all {pods} pods that hold the color: if no client is behind it, as with a scraper of metrics, \
         name it in spec.drain.ignore of rainbow `{rainbow}` ({remedy})"
    )
}

// Events.

pub(crate) fn color_created(color: &str) -> String {
    format!("color {color} is new")
}

pub(crate) fn color_deleted(color: &str) -> String {
    format!("color {color} is gone")
}

pub(crate) fn color_ready(color: &str) -> String {
    format!("all pods of color {color} are ready")
}

pub(crate) fn color_retired(color: &str) -> String {
    format!("color {color} has no pods any more")
}

/// What is said of a color, where the subject is the Rainbow.
pub(crate) fn of_color(color: &str, message: &str) -> String {
    format!("color {color}: {message}")
}

pub(crate) fn shift_started(stage: &str, from: &str, to: &str) -> String {
    format!("stage {stage} moves from {from} to {to}")
}

pub(crate) fn shift_turned(stage: &str, to: &str, instead_of: &str) -> String {
    format!("stage {stage} moves to {to} instead of {instead_of}")
}

pub(crate) fn shift_step(stage: &str, moved: i32, of: i32, to: &str) -> String {
    format!("stage {stage}: {moved} of {of} pods are {to}")
}

pub(crate) fn shift_paused(stage: &str, from: &str, to: &str, moved: i32, of: i32) -> String {
    format!("stage {stage} is paused on the way from {from} to {to}: {moved} of {of} pods")
}

pub(crate) fn shift_finished(stage: &str, color: &str) -> String {
    format!("stage {stage} serves {color}")
}

pub(crate) fn selector_restored(stage: &str, color: Option<&str>) -> String {
    let back = color.map_or_else(String::new, |color| format!(", which serves `{color}`"));
    format!(
        "the selector of the Service of stage `{stage}`{back}, was changed by another writer and is set back: use `rainbow promote`"
    )
}

/// Source of the size of a color's tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SizeOf<'a> {
    /// The spec of the Rainbow, which describes the color.
    Spec { rainbow: &'a str },
    /// The color, which keeps the size that it had when the spec described it.
    Color,
}

/// Another writer has scaled a Deployment from the size that it should have.
pub(crate) fn scale_taken_back(
    deployment: &str,
    manager: &str,
    (scaled, wanted): (u32, u32),
    instance: &InstanceName,
    size: SizeOf<'_>,
) -> String {
    let remedy = match size {
        SizeOf::Spec { rainbow } => format!(
            "change `tiers[{tier}].replicas` of Rainbow `{rainbow}`, or set `tiers[{tier}].autoscale`, or \
             `tiers[{tier}].scaling: External` where another controller decides",
            tier = instance.tier
        ),
        SizeOf::Color => format!("color `{}` keeps its size until the spec describes it", instance.color),
    };
    format!("Deployment `{deployment}` was scaled to {scaled} by `{manager}` and is taken back to {wanted}: {remedy}")
}

pub(crate) fn shift_aborted(stage: &str, color: &str) -> String {
    format!("stage {stage} serves {color} as before")
}

/// Connections that are about to be cut, as many as a note has room for.
pub(crate) fn cuts(color: &str, cut: &[Cut]) -> String {
    let known: i64 = cut.iter().filter_map(|cut| cut.connections).fold(0, i64::saturating_add);
    let of = if cut.iter().all(|cut| cut.connections.is_some()) { "" } else { "at least " };
    let connections = if known == 1 { "connection" } else { "connections" };
    let mut message = format!("color {color} ends with {of}{known} {connections}: ");
    for (index, one) in cut.iter().enumerate() {
        let text = of_cut(one);
        let more = format!(" and {} more", cut.len() - index);
        if message.len() + text.len() + more.len() + 2 > NOTE_BYTES {
            message.push_str(&more);
            break;
        }
        if index > 0 {
            message.push_str("; ");
        }
        message.push_str(&text);
    }
    message
}

/// `pod a-v1-x port 8081: 3, the oldest 12m`.
fn of_cut(cut: &Cut) -> String {
    let port = cut.port.map_or_else(String::new, |port| format!(" port {port}"));
    let number = cut.connections.map_or_else(|| "unknown".to_owned(), |number| number.to_string());
    let seconds = cut.oldest_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    let age = seconds.map_or_else(String::new, |age| format!(", the oldest {}", HumanDuration::from_secs(age)));
    format!("pod {}{port}: {number}{age}", cut.pod)
}

// What the operator says of itself.

/// The loop turns, or another operator's does.
pub(crate) const OK: &str = "ok\n";
/// Another operator leads, or none yet.
pub(crate) const OK_WAITING: &str = "ok: another operator leads, or the cluster has not answered yet\n";
/// The API server's list cannot be watched on from.
pub(crate) const NO_VERSION: &str = "the API server's answer has no resourceVersion";
/// The caches are not filled yet.
pub(crate) const NOT_READ: &str = "not everything has been seen yet: are the definitions there?\n";
/// Another path was asked for.
pub(crate) const PATHS: &str = "there is /healthz, /readyz, /metrics\n";
/// A request that would change something.
pub(crate) const READ_ONLY: &str = "for reading only\n";

/// The loop has not turned for too long.
pub(crate) fn stuck(since: Duration) -> String {
    format!("the loop has not turned for {since:?}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::PodTroubles;
    use std::collections::BTreeMap;

    fn drains(connections: u64, busy: u32, unknown: u32, deadline: Option<i64>) -> LivesBecause {
        let unknown_since = (unknown > 0).then_some(Time(1_500));
        LivesBecause::Drains { connections, busy, unknown, unknown_since, deadline: deadline.map(Time) }
    }

    #[track_caller]
    fn check(because: LivesBecause, expected: &str) {
        assert_eq!(living(&Living { color: "v1".into(), because }), format!("v1 ({expected})"));
    }

    #[test]
    fn why_a_color_lives() {
        check(LivesBecause::Stages(vec!["active".into(), "smoke".into()]), "stage active, smoke");
        check(drains(0, 0, 0, Some(60_000)), "draining: goes by itself");
        check(drains(12, 3, 0, None), "draining: 12 connections on 3 pods, no deadline");
        check(
            drains(1, 1, 2, Some(60_999)),
            "draining: 1 connection on 1 pod, connections of 2 pods unknown since 1970-01-01T00:00:01Z, cut at \
             1970-01-01T00:01:00Z",
        );
    }

    #[test]
    fn what_a_color_lacks() {
        let lacks = vec![
            Lack::Pods { tier: "backend".into(), ready: 0, wanted: 1 },
            Lack::Instance { tier: "frontend".into() },
        ];
        let says = |waiting: &Waiting, troubles: &PodTroubles| {
            let names =
                Names { rainbow: "shop", prefix: None, services: &BTreeMap::new(), troubles, taken: &BTreeMap::new() };
            super::waiting(waiting, Some("v2"), &names)
        };
        let none = PodTroubles::new();
        let pods = Waiting::ForPods { lacks: lacks.clone() };
        assert_eq!(says(&pods, &none), "backend 0/1 ready, frontend has no instance");
        let trouble = |urgency| {
            let trouble = PodTrouble { object: "backend-v2-x".into(), says: "no image".into(), urgency };
            [(("v2".to_owned(), "backend".to_owned()), trouble)].into()
        };
        assert_eq!(says(&pods, &trouble(Urgency::Starting)), "backend 0/1 ready, frontend has no instance");
        let expected = "backend 0/1 ready (backend-v2-x: no image), frontend has no instance";
        assert_eq!(says(&pods, &trouble(Urgency::Unready)), expected);
        assert_eq!(says(&pods, &trouble(Urgency::Stuck)), expected);
        let stage = Waiting::ForColor { color: "v2".into(), lacks };
        assert_eq!(says(&stage, &none), "waits for color `v2`: backend 0/1 ready, frontend has no instance");
    }

    #[test]
    fn the_gist_has_no_counts() {
        assert_eq!(gist("color `v9` waits: 8 colors live; held by v1"), "color `v9` waits");
    }
}
