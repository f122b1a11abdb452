//! Steps of a shift: one choice each, in an order that only moves forward.

use super::{Errors, not_a_label};
use crate::{RainbowSpec, Shift, ShiftStep, Stage, names};

pub(super) fn check(spec: &RainbowSpec, stage: &Stage, shift: &Shift, path: &str, errors: &mut Errors) {
    let path = format!("{path}.shift.steps");
    for (index, step) in shift.steps.iter().enumerate() {
        one(step, &format!("{path}[{index}]"), errors);
    }
    // Only like is compared with like: how many pods a percentage is depends on the size of the stage.
    never_less(shift, |step| step.pods, &path, "pods", errors);
    never_less(shift, |step| step.percent, &path, "percent", errors);
    for passed in spec.passed_steps.iter().filter(|passed| passed.stage == stage.name) {
        let path = format!("spec.passedSteps[{},{}]", passed.stage, passed.step);
        if !names::is_dns_label(&passed.color) {
            errors.add(format!("{path}.color"), not_a_label(&passed.color));
        }
        if passed.step < 1 {
            errors.add(format!("{path}.step"), format!("{} is no step: steps count from 1", passed.step));
        }
    }
}

fn one(step: &ShiftStep, path: &str, errors: &mut Errors) {
    let set = [
        ("pods", step.pods.is_some()),
        ("percent", step.percent.is_some()),
        ("pause", step.pause.is_some()),
        ("gate", step.gate.is_some()),
    ];
    let set: Vec<&str> = set.into_iter().filter(|(_, is_set)| *is_set).map(|(name, _)| name).collect();
    match set.as_slice() {
        [_] => {}
        [] => errors.add(path, "is empty: set one of pods, percent, pause and gate"),
        several => errors.add(path, format!("{} are set: make a step of each", several.join(" and "))),
    }
    if let Some(pods) = step.pods.filter(|pods| *pods < 1) {
        errors.add(format!("{path}.pods"), format!("{pods} is too few: use 1 or more pods"));
    }
    if let Some(percent) = step.percent.filter(|percent| !(1..=100).contains(percent)) {
        errors.add(format!("{path}.percent"), format!("{percent} is out of range: use 1 to 100"));
    }
}

fn never_less(shift: &Shift, number: impl Fn(&ShiftStep) -> Option<i32>, path: &str, field: &str, errors: &mut Errors) {
    let mut most: Option<i32> = None;
    for (index, found) in shift.steps.iter().enumerate().filter_map(|(index, step)| Some((index, number(step)?))) {
        if let Some(before) = most.filter(|before| found < *before) {
            errors.add(
                format!("{path}[{index}].{field}"),
                format!("{found} is less than the {before} of an earlier step: a shift only moves forward"),
            );
        }
        most = most.max(Some(found));
    }
}
