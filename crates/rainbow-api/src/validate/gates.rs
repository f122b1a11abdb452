//! Gates: their names, their settings, and that those that stages name exist.

mod providers;

use std::collections::BTreeSet;

use super::{Errors, SpecError, SpecPart, list, not_a_label};
use crate::{Gate, GateCheck, GateTemplateSpec, HumanDuration, PODS_GATE, RainbowSpec, ShiftKind, Stage, names};

pub(super) fn check(spec: &RainbowSpec, errors: &mut Errors) {
    for (index, found) in spec.gates.iter().enumerate() {
        let is_second = spec.gates[..index].iter().filter(|known| known.name == found.name).count() == 1;
        // The same errors make each stage unusable that names the gate.
        for part in parts_of(spec, &found.name) {
            errors.part = part;
            gate(found, is_second, errors);
        }
    }
    for stage in &spec.stages {
        errors.part = SpecPart::Stage(stage.name.clone());
        of_stage(spec, stage, errors);
    }
    skipped(spec, errors);
}

/// Returns the errors of a `GateTemplate`.
pub fn validate_template(template: &GateTemplateSpec) -> Vec<SpecError> {
    let mut errors = Errors { found: Vec::new(), part: SpecPart::Gates };
    errors.duplicates("spec.args", "argument", template.args.iter().map(|arg| arg.name.as_str()));
    for arg in &template.args {
        // A template's argument without a value is given where the template is used.
        providers::argument(arg, false, &format!("spec.args[{}]", arg.name), &mut errors);
    }
    one_of(&providers::set(&template.check), &providers::NAMES, "spec", &mut errors);
    measured(&template.check, "spec", &mut errors);
    errors.found
}

/// Returns the parts of a spec that are unusable without a gate: the stages that name the gate, or none but the gate itself.
pub(crate) fn parts_of(spec: &RainbowSpec, gate: &str) -> Vec<SpecPart> {
    let names_it = |stage: &&Stage| named(stage).any(|(_, name)| name == gate);
    let stages = spec.stages.iter().filter(names_it).map(|stage| SpecPart::Stage(stage.name.clone()));
    let stages: Vec<SpecPart> = stages.collect();
    if stages.is_empty() { vec![SpecPart::Gates] } else { stages }
}

/// Returns the names of gates that a stage names, each with its field.
fn named(stage: &Stage) -> impl Iterator<Item = (String, &str)> {
    let own = &stage.gates;
    let tiers = stage.shift.as_ref().and_then(|shift| shift.tiers.as_ref());
    let between = tiers.map(|tiers| tiers.gates.as_slice()).unwrap_or_default();
    let lists = [
        ("gates.before", own.before.as_slice()),
        ("gates.during", &own.during),
        ("gates.after", &own.after),
        ("shift.tiers.gates", between),
    ];
    let of_lists =
        lists.into_iter().flat_map(|(field, names)| names.iter().map(move |name| (field.to_owned(), name.as_str())));
    let steps = stage.shift.iter().flat_map(|shift| shift.steps.iter().enumerate());
    let of_steps =
        steps.filter_map(|(index, step)| Some((format!("shift.steps[{index}].gate"), step.gate.as_deref()?)));
    of_lists.chain(of_steps)
}

fn gate(gate: &Gate, is_second: bool, errors: &mut Errors) {
    let path = format!("spec.gates[{}]", gate.name);
    if is_second {
        errors.add(&path, format!("gate `{}` is there twice: give each its own name", gate.name));
    }
    if !names::is_dns_label(&gate.name) {
        errors.add(format!("{path}.name"), not_a_label(&gate.name));
    }
    if gate.name == PODS_GATE {
        errors.add(
            format!("{path}.name"),
            format!(
                "`{PODS_GATE}` is the check of pods that every stage has: use another name, and stages[].gates.pods to change that check"
            ),
        );
    }
    let mut set = providers::set(&gate.check);
    set.extend(gate.template.is_some().then_some("template"));
    let mut names = vec!["template"];
    names.extend(providers::NAMES);
    one_of(&set, &names, &path, errors);
    if let Some(template) = &gate.template {
        let path = format!("{path}.template");
        if template.name.is_empty() {
            errors.add(format!("{path}.name"), "is empty: name a GateTemplate");
        }
        errors.duplicates(&format!("{path}.args"), "argument", template.args.iter().map(|arg| arg.name.as_str()));
        for arg in &template.args {
            providers::argument(arg, true, &format!("{path}.args[{}]", arg.name), errors);
        }
    }
    measured(&gate.check, &path, errors);
}

fn one_of(set: &[&str], names: &[&str], path: &str, errors: &mut Errors) {
    match set {
        [_] => {}
        [] => errors.add(path, format!("says nothing about how it is measured: set one of {}", names.join(", "))),
        several => errors.add(path, format!("{} are set: set one of them", several.join(" and "))),
    }
}

/// Checks how often a gate is measured, and how its values are judged.
fn measured(check: &GateCheck, path: &str, errors: &mut Errors) {
    if check.interval == Some(HumanDuration::default()) {
        errors.add(format!("{path}.interval"), "0s is too short: use a time such as 10s");
    }
    if let Some(count) = check.count
        && count < 1
    {
        errors.add(format!("{path}.count"), format!("{count} is too few: use 1 or more measurements"));
    }
    for (field, limit) in [
        ("failureLimit", check.failure_limit),
        ("inconclusiveLimit", check.inconclusive_limit),
        ("consecutiveErrorLimit", check.consecutive_error_limit),
    ] {
        if let Some(limit) = limit
            && limit < 0
        {
            errors.add(format!("{path}.{field}"), format!("{limit} is negative: use 0 or more"));
        }
    }
    for (field, condition) in
        [("successCondition", &check.success_condition), ("failureCondition", &check.failure_condition)]
    {
        if condition.as_ref().is_some_and(|text| text.trim().is_empty()) {
            errors.add(format!("{path}.{field}"), "is empty: write a CEL expression such as `result[0] < 0.01`");
        }
    }
    providers::check(check, path, errors);
}

/// Checks that the gates that a stage names exist, and that the stage has a moment at which each can be measured.
fn of_stage(spec: &RainbowSpec, stage: &Stage, errors: &mut Errors) {
    let path = format!("spec.stages[{}]", stage.name);
    let known: Vec<&str> = spec.gates.iter().map(|gate| gate.name.as_str()).collect();
    let mut seen: BTreeSet<(String, &str)> = BTreeSet::new();
    for (field, name) in named(stage) {
        let at = format!("{path}.{field}");
        if name == PODS_GATE {
            errors.add(&at, format!("`{PODS_GATE}` is checked in every stage without being named: take it out"));
        } else if !known.contains(&name) {
            let remedy = match known.as_slice() {
                [] => "add it to spec.gates".to_owned(),
                known => format!("add it to spec.gates, or use one of {}", list(known.iter().copied())),
            };
            errors.add(&at, format!("there is no gate `{name}`: {remedy}"));
        }
        // A step may ask again for the gate of an earlier step.
        if !field.starts_with("shift.steps") && !seen.insert((field, name)) {
            errors.add(&at, format!("gate `{name}` is there twice: name it once"));
        }
    }
    let gates = &stage.gates;
    if !gates.during.is_empty() && matches!(stage.shift_kind(), Some(ShiftKind::Flip)) {
        errors.add(
            format!("{path}.gates.during"),
            "a flip has no steps between which a gate could be measured: use before or after, or shift.steps",
        );
    }
    if gates.duration.is_some() && gates.after.is_empty() {
        errors.add(format!("{path}.gates.for"), "is set, but after names no gate: name one there, or take it out");
    }
    for (field, limit) in [("restarts", gates.pods.restarts), ("oomKills", gates.pods.oom_kills)] {
        if let Some(limit) = limit
            && limit < 0
        {
            errors.add(format!("{path}.gates.pods.{field}"), format!("{limit} is negative: use 0 or more"));
        }
    }
}

/// Checks the gates that users have skipped.
fn skipped(spec: &RainbowSpec, errors: &mut Errors) {
    for skipped in &spec.skipped_gates {
        let path = format!("spec.skippedGates[{},{}]", skipped.stage, skipped.gate);
        let is_known = spec.stages.iter().any(|stage| stage.name == skipped.stage);
        errors.part = if is_known { SpecPart::Stage(skipped.stage.clone()) } else { SpecPart::Gates };
        for (field, name) in [("stage", &skipped.stage), ("gate", &skipped.gate), ("color", &skipped.color)] {
            if !names::is_dns_label(name) {
                errors.add(format!("{path}.{field}"), not_a_label(name));
            }
        }
        if skipped.reason.trim().is_empty() {
            errors.add(format!("{path}.reason"), "is empty: write why the gate is skipped");
        }
    }
}
