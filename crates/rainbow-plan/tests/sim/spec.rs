//! Specs in few words.

use std::{collections::BTreeSet, time::Duration};

use rainbow_plan::*;

pub fn instance(tier: &str, color: &str) -> InstanceName {
    InstanceName::shared(tier, color)
}

/// Returns the name of an instance: `tier-color`, or `tier@stage-color`.
pub fn show(instance: &InstanceName) -> String {
    let stage = instance.stage.as_ref().map_or_else(String::new, |stage| format!("@{stage}"));
    format!("{}{stage}-{}", instance.tier, instance.color)
}

/// Reads a name that `show` writes.
pub fn named(text: &str) -> InstanceName {
    let (tier, color) = text.rsplit_once('-').unwrap();
    match tier.split_once('@') {
        Some((tier, stage)) => instance(tier, color).of_stage(stage),
        None => instance(tier, color),
    }
}

/// Returns whether both are instances of one version of a tier, even of different stages.
pub fn is_same(one: &InstanceName, other: &InstanceName) -> bool {
    (&one.tier, &one.color) == (&other.tier, &other.color)
}

/// Returns whether the color has the instance, or stages have their own instances of it.
pub fn has(color: &Color, instance: &InstanceName) -> bool {
    color.instances.get(&*instance.tier).is_some_and(|known| is_same(known, instance))
}

/// Returns when the color left its last stage, or, for an instance that belongs to a stage, that stage.
pub fn released(color: &Color, instance: &InstanceName) -> Option<Time> {
    match &instance.stage {
        None => color.released,
        Some(stage) => {
            color.parts.iter().filter(|part| *part.key.stage == **stage).filter_map(|part| part.released).max()
        }
    }
}

/// Returns whether each stage has its own instance of the tier: the tier reaches, directly or through others, a callee that may
/// be newer.
pub fn is_bound(tiers: &[Tier], name: &str) -> bool {
    let mut found = tiers.iter().filter(|tier| tier.name == name);
    found.any(|tier| !tier.calls.is_empty() || tier.needs.iter().any(|need| is_bound(tiers, need)))
}

/// Returns the instance of a tier in a color, as it is in a stage.
pub fn in_stage(color: &Color, tier: &str, stage: &str) -> Option<InstanceName> {
    let instance = color.instances.get(tier)?;
    Some(if is_bound(&color.tiers, tier) { instance.of_stage(stage) } else { instance.clone() })
}

/// Returns tiers such as `backend:5 frontend:5>backend`, in one version. A callee behind `~` may be newer.
pub fn tiers(text: &str, version: &str) -> Vec<Tier> {
    text.split_whitespace()
        .map(|tier| {
            let (head, needs) = tier.split_once('>').unwrap_or((tier, ""));
            let (name, replicas) = head.split_once(':').unwrap_or((head, "1"));
            Tier {
                name: name.into(),
                replicas: replicas.parse().unwrap(),
                needs: needs.split(',').filter(|n| !n.is_empty() && !n.starts_with('~')).map(Into::into).collect(),
                calls: needs.split(',').filter_map(|need| need.strip_prefix('~')).map(Into::into).collect(),
                identity: format!("{name}@{version}"),
                scaling: Scaling::Replicas,
                counted: false,
                min_ready: Duration::ZERO,
            }
        })
        .collect()
}

/// Returns the tier that a stage names, else the only entry tier, else an empty name.
pub fn entry(tiers: &[Tier], stage: &Stage) -> String {
    let calls = |tier: &Tier, name: &String| tier.needs.contains(name) || tier.calls.contains(name);
    let needed = |tier: &Tier| tiers.iter().any(|other| other.name != tier.name && calls(other, &tier.name));
    let mut entries = tiers.iter().filter(|tier| !needed(tier)).map(|tier| tier.name.clone());
    let only = entries.next().filter(|_| entries.next().is_none());
    stage.tier.clone().or(only).unwrap_or_default()
}

/// Returns the color that a stage should serve, and whether it is paused. Holds come before the manifest.
pub fn told(stage: &Stage) -> (Option<&String>, bool) {
    let hold = stage.hold.as_ref();
    let color = hold.and_then(|hold| hold.color.as_ref()).or(stage.color.as_ref());
    (color, stage.paused || hold.is_some_and(|hold| hold.paused))
}

/// Pauses or resumes the stage, as its user does.
pub fn pause(stage: &mut Stage, paused: bool) {
    stage.hold.get_or_insert_default().paused = paused;
    stage.paused &= paused;
}

/// Takes the stage back to a color, as its user does. `None`: lets it go where the manifest says.
pub fn take_back(stage: &mut Stage, color: Option<String>) {
    stage.hold.get_or_insert_default().color = color;
}

/// Returns a stage. The tier `-` means none.
pub fn stage(name: &str, tier: &str) -> Stage {
    Stage {
        name: name.into(),
        tier: Some(tier.to_owned()).filter(|tier| tier != "-"),
        promote: Promote::Manual,
        color: None,
        replicas: None,
        shift: Shift::Flip,
        overlap: None,
        paused: false,
        hold: None,
        gates: Gates::default(),
        on_stalled: OnStalled::Hold,
        invalid: false,
        between: Between::Nothing,
        address: Address::Entry,
    }
}

pub fn rolling(step: u32, seconds: u64) -> Shift {
    Shift::Rolling { step, every: Duration::from_secs(seconds), surge: None }
}

/// Returns whether the stage moves to colors that are not whole.
pub fn has_surge(stage: &Stage) -> bool {
    matches!(stage.shift, Shift::Rolling { surge: Some(_), .. })
}

/// Reads the value of `rolling=`: `STEP/SECONDS`, and `+PODS` or `+PERCENT%` for a surge.
fn rolling_of(value: &str) -> Shift {
    let (step, rest) = value.split_once('/').unwrap();
    let (every, surge) = rest.split_once('+').map_or((rest, None), |(every, surge)| (every, Some(surge)));
    let surge = surge.map(|surge| match surge.strip_suffix('%') {
        Some(percent) => Surge::Percent(percent.parse().unwrap()),
        None => Surge::Pods(surge.parse().unwrap()),
    });
    Shift::Rolling { step: step.parse().unwrap(), every: Duration::from_secs(every.parse().unwrap()), surge }
}

fn names_of(value: &str) -> Vec<String> {
    value.split(',').map(str::to_owned).collect()
}

/// Reads the value of `steps=`: `PODS`, `PERCENT%`, `pause`, `pause:SECONDS` and `gate:NAME`, separated by commas.
fn steps_of(value: &str) -> Shift {
    let step = |word: &str| match word.split_once(':').unwrap_or((word, "")) {
        ("pause", "") => Step::Pause { after: None },
        ("pause", seconds) => Step::Pause { after: Some(Duration::from_secs(seconds.parse().unwrap())) },
        ("gate", name) => Step::Gate(name.into()),
        (number, _) => match number.strip_suffix('%') {
            Some(percent) => Step::Percent(percent.parse().unwrap()),
            None => Step::Pods(number.parse().unwrap()),
        },
    };
    Shift::Steps { steps: value.split(',').map(step).collect(), passed: BTreeSet::new() }
}

fn step_words(step: &Step) -> String {
    match step {
        Step::Pods(pods) => pods.to_string(),
        Step::Percent(percent) => format!("{percent}%"),
        Step::Pause { after: None } => "pause".into(),
        Step::Pause { after: Some(after) } => format!("pause:{}", after.as_secs()),
        Step::Gate(name) => format!("gate:{name}"),
    }
}

fn gate_words(gates: &Gates) -> String {
    let lists = [
        ("before", &gates.before),
        ("during", &gates.during),
        ("between", &gates.between),
        ("after", &gates.after),
        ("guards", &gates.guards),
    ];
    let lists = lists.into_iter().filter(|(_, names)| !names.is_empty());
    let watch = (!gates.watch.is_zero()).then(|| format!(" watch={}", gates.watch.as_secs()));
    lists.map(|(moment, names)| format!(" {moment}={}", names.join(","))).chain(watch).collect()
}

pub fn spec(color: &str, tiers: Vec<Tier>, stages: Vec<Stage>) -> Spec {
    let propagation = Duration::from_millis(super::PROPAGATION as u64);
    Spec { propagation, ..Spec::new(color, tiers, stages) }
}

/// Applies a line to a spec. Returns whether the line is about a spec.
pub fn set(spec: &mut Spec, words: &[&str]) -> bool {
    match words {
        ["tiers", color, rest @ ..] => {
            spec.color = (*color).into();
            let (version, rest) = match rest {
                ["as", version, rest @ ..] => (*version, rest),
                rest => (*color, rest),
            };
            spec.tiers = tiers(&rest.join(" "), version);
        }
        ["counted", names @ ..] if !names.is_empty() => {
            spec.tiers.iter_mut().for_each(|tier| tier.counted = names.contains(&tier.name.as_str()));
        }
        // Time for which the tier's pods must be ready.
        ["minready", tier, seconds] => {
            let found = spec.tiers.iter_mut().find(|known| known.name == *tier).unwrap();
            found.min_ready = Duration::from_secs(seconds.parse().unwrap());
        }
        ["scaling", tier, how] => {
            let scaling = match how.split_once("..") {
                Some((least, most)) => {
                    Scaling::Autoscale { least: least.parse().unwrap(), most: most.parse().unwrap() }
                }
                None if *how == "external" => Scaling::External,
                None => Scaling::Replicas,
            };
            spec.tiers.iter_mut().filter(|known| known.name == *tier).for_each(|known| known.scaling = scaling);
        }
        ["reuse"] => spec.reuse = Reuse::Unchanged,
        ["swap", "directly"] => spec.swap = Swap::Direct,
        ["deadline", seconds] => spec.drain.deadline = Duration::from_secs(seconds.parse().unwrap()),
        ["settling", seconds] => spec.drain.settle = Duration::from_secs(seconds.parse().unwrap()),
        ["progress", seconds] => spec.progress_deadline = Duration::from_secs(seconds.parse().unwrap()),
        ["keep", live, history] => {
            let (live, history) = (live.parse().unwrap(), history.parse().unwrap());
            spec.keep = Keep { live, history, ..spec.keep };
        }
        ["warm", seconds] => spec.keep.warm = Duration::from_secs(seconds.parse().unwrap()),
        ["stage", name, tier, rest @ ..] => {
            let mut stage = stage(name, tier);
            for word in rest {
                match word.split_once('=').unwrap_or((word, "")) {
                    ("auto", _) => stage.promote = Promote::Auto,
                    ("rollback", _) => stage.on_stalled = OnStalled::RollBack,
                    ("rolling", value) => stage.shift = rolling_of(value),
                    ("steps", value) => stage.shift = steps_of(value),
                    ("before", value) => stage.gates.before = names_of(value),
                    ("during", value) => stage.gates.during = names_of(value),
                    ("between", value) => stage.gates.between = names_of(value),
                    ("after", value) => stage.gates.after = names_of(value),
                    ("guards", value) => stage.gates.guards = names_of(value),
                    ("watch", value) => stage.gates.watch = Duration::from_secs(value.parse().unwrap()),
                    ("overlap", value) => stage.overlap = Some(Duration::from_millis(value.parse().unwrap())),
                    ("pause", "") => stage.between = Between::Pause { after: None, passed: BTreeSet::new() },
                    ("pause", value) => {
                        let after = Some(Duration::from_secs(value.parse().unwrap()));
                        stage.between = Between::Pause { after, passed: BTreeSet::new() };
                    }
                    ("replicas", value) => stage.replicas = Some(value.parse().unwrap()),
                    ("color", value) => stage.color = Some(value.into()),
                    other => panic!("{other:?}"),
                }
            }
            spec.stages.retain(|known| known.name != *name);
            spec.stages.push(stage);
        }
        _ => return false,
    }
    true
}

/// Returns the lines that make this spec of an empty one, for `set`.
pub fn lines(spec: &Spec) -> Vec<String> {
    let mut lines = Vec::new();
    let tier = |tier: &Tier| {
        let calls = tier.calls.iter().map(|call| format!("~{call}"));
        let needs: Vec<String> = tier.needs.iter().cloned().chain(calls).collect();
        let needs = if needs.is_empty() { String::new() } else { format!(">{}", needs.join(",")) };
        format!(" {}:{}{needs}", tier.name, tier.replicas)
    };
    lines.push(format!("tiers {}{}", spec.color, spec.tiers.iter().map(tier).collect::<String>()));
    let counted: String = spec.tiers.iter().filter(|t| t.counted).map(|tier| format!(" {}", tier.name)).collect();
    lines.extend((!counted.is_empty()).then(|| format!("counted{counted}")));
    let slow = spec.tiers.iter().filter(|tier| !tier.min_ready.is_zero());
    lines.extend(slow.map(|tier| format!("minready {} {}", tier.name, tier.min_ready.as_secs())));
    for stage in &spec.stages {
        let auto = if stage.promote == Promote::Auto { " auto" } else { "" };
        let replicas = stage.replicas.map_or_else(String::new, |replicas| format!(" replicas={replicas}"));
        let shift = match &stage.shift {
            Shift::Flip => String::new(),
            Shift::Steps { steps, .. } => {
                format!(" steps={}", steps.iter().map(step_words).collect::<Vec<_>>().join(","))
            }
            Shift::Rolling { step, every, surge } => {
                let surge = match surge {
                    None => String::new(),
                    Some(Surge::Pods(pods)) => format!("+{pods}"),
                    Some(Surge::Percent(percent)) => format!("+{percent}%"),
                };
                format!(" rolling={step}/{}{surge}", every.as_secs())
            }
        };
        let overlap = stage.overlap.map_or_else(String::new, |lag| format!(" overlap={}", lag.as_millis()));
        let color = stage.color.as_ref().map_or_else(String::new, |color| format!(" color={color}"));
        let rollback = if stage.on_stalled == OnStalled::RollBack { " rollback" } else { "" };
        let tier = stage.tier.as_deref().unwrap_or("-");
        let gates = gate_words(&stage.gates);
        let pause = match &stage.between {
            Between::Nothing => String::new(),
            Between::Pause { after: None, .. } => " pause".into(),
            Between::Pause { after: Some(after), .. } => format!(" pause={}", after.as_secs()),
        };
        lines.push(format!(
            "stage {} {tier}{auto}{rollback}{replicas}{shift}{overlap}{pause}{gates}{color}",
            stage.name
        ));
    }
    let default = self::spec("", Vec::new(), Vec::new());
    lines.extend((spec.reuse != default.reuse).then(|| "reuse".into()));
    lines.extend((spec.swap != default.swap).then(|| "swap directly".into()));
    let keeps = |spec: &Spec| (spec.keep.live, spec.keep.history);
    lines.extend((keeps(spec) != keeps(&default)).then(|| format!("keep {} {}", spec.keep.live, spec.keep.history)));
    let seconds =
        |word: &str, now: Duration, usual: Duration| (now != usual).then(|| format!("{word} {}", now.as_secs()));
    lines.extend(seconds("warm", spec.keep.warm, default.keep.warm));
    lines.extend(seconds("settling", spec.drain.settle, default.drain.settle));
    lines.extend(seconds("deadline", spec.drain.deadline, default.drain.deadline));
    lines.extend(seconds("progress", spec.progress_deadline, default.progress_deadline));
    lines
}
