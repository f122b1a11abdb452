//! Reasons why a stage or a color waits, and problems that a person must fix.

use rainbow_plan::{LivesBecause, LivingColor, Problem, Shortfall, Waiting};

use super::{
    config::config_name,
    gates,
    names::{foreign, name_taken},
    plural, to_the_second,
};
use crate::domain::{Names, PodTrouble, Urgency};

pub(crate) const SETTLED: &str = "everything is as the spec says";
pub(crate) const NOTHING_UNDER_WAY: &str = "nothing is under way";
pub(crate) const NOTHING_IN_THE_WAY: &str = "nothing is stalled";

/// Describes why a stage or a color is not yet where it should be. `of` is the color whose pods are waited for, where the reason does not
/// name it.
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
        Waiting::WholeForReturn => "in no stage; whole for a quick return".to_owned(),
        Waiting::KeptWarm { stage, color, is_unhealthy: true } => {
            format!("kept whole as the way back of stage `{stage}`: `{color}`, which the stage serves now, lacks pods")
        }
        Waiting::KeptWarm { stage, color, is_unhealthy: false } => format!(
            "kept whole as the way back of stage `{stage}`, until `{color}` has been healthy for spec.keep.warm without a break"
        ),
        Waiting::KeptForGates { stage, color } => format!(
            "kept whole as the way back of stage `{stage}`, until `{color}` has passed the gates of stages[{stage}].gates.after"
        ),
        Waiting::RolledBack { color, gate } => {
            format!("taken back from `{color}`, {}", gates::cause(gate.as_deref()))
        }
        Waiting::AtPause { index, color, until } => gates::at_pause(*index, color, *until),
        Waiting::ForGate { check, outcome } => gates::for_gate(check, *outcome, names.rainbow),
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
             are; the stage continues without them after spec.progressDeadlineSeconds"
        ),
        Waiting::ForDeletion => "the Rainbow is being deleted".to_owned(),
    }
}

/// Whether a trouble that may pass by itself is mentioned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// Nodes may still be preparing pods: it is not mentioned.
    ForAWhile,
    /// Pods have had their time: it is mentioned.
    Over,
}

/// Describes what is lacking, such as `backend 0/1 ready (backend-v2-x: container `web` ended with code 1), frontend has no instance`.
pub(super) fn lacks(lacks: &[Shortfall], color: &str, names: &Names<'_>, patience: Patience) -> String {
    let because = |tier: &str| {
        let told = |trouble: &&PodTrouble| patience == Patience::Over || trouble.urgency != Urgency::Starting;
        let trouble = names.trouble(color, tier).filter(told);
        trouble.map_or_else(String::new, |trouble| format!(" ({}: {})", trouble.object, trouble.says))
    };
    let one = |lack: &Shortfall| match lack {
        Shortfall::Instance { tier } => format!("{tier} has no instance"),
        Shortfall::Pods { tier, ready, wanted } => format!("{tier} {ready}/{wanted} ready{}", because(tier)),
        Shortfall::MinReady { tier, available, wanted, min_ready } => {
            format!("{tier} {available}/{wanted} ready for {} s without a break", min_ready.as_secs())
        }
    };
    lacks.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Describes what a person must fix, and how.
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
            "{} of color `{color}` was deleted and cannot be made again, because {} has other content now: put that content back, or \
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
        Problem::RolledBack { stage, color, gate: None, to } => format!(
            "stage `{stage}` should serve `{color}`, which was unhealthy for too long, and has been taken back to `{to}`: release \
             another version, or `rainbow rollback {} --stage {stage}`",
            names.rainbow
        ),
        Problem::RolledBack { stage, color, gate: Some(gate), to } => format!(
            "stage `{stage}` should serve `{color}`, which failed gate `{gate}`, and serves `{to}`: release another version, or \
             `rainbow promote {} {color} --stage {stage} --skip-gate {gate} --reason …`",
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

/// Describes colors that live, and why.
fn all(living: &[LivingColor]) -> String {
    living.iter().map(self::living).collect::<Vec<_>>().join(", ")
}

/// Returns the part of a problem's text that changes only when the problem does: counts of connections are left out.
pub(crate) fn gist(message: &str) -> &str {
    message.split(": ").next().unwrap_or(message)
}

/// Describes a color that lives, such as `v1 (draining: 12 connections on 3 pods, connections of 1 pod unknown since …, cut at …)`.
fn living(living: &LivingColor) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::PodTroubles;
    use rainbow_plan::Time;
    use std::collections::BTreeMap;

    fn drains(connections: u64, busy: u32, unknown: u32, deadline: Option<i64>) -> LivesBecause {
        let unknown_since = (unknown > 0).then_some(Time(1_500));
        LivesBecause::Drains { connections, busy, unknown, unknown_since, deadline: deadline.map(Time) }
    }

    #[track_caller]
    fn check(because: LivesBecause, expected: &str) {
        assert_eq!(living(&LivingColor { color: "v1".into(), because }), format!("v1 ({expected})"));
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
            Shortfall::Pods { tier: "backend".into(), ready: 0, wanted: 1 },
            Shortfall::Instance { tier: "frontend".into() },
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
