//! Stages: names, tiers, sizes, shifts and Services.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::collections::BTreeSet;

use super::{Errors, SpecPart, entry_tiers, list, not_a_label, services, steps, tiers::number};
use crate::{RainbowSpec, Rolling, Shift, Stage, names, stage_tier};

pub(super) fn check(spec: &RainbowSpec, errors: &mut Errors) {
    for (index, stage) in spec.stages.iter().enumerate() {
        let path = format!("spec.stages[{}]", stage.name);
        errors.part = SpecPart::Stage(stage.name.clone());
        if spec.stages[..index].iter().filter(|known| known.name == stage.name).count() == 1 {
            errors.add(&path, format!("stage `{}` is there twice: give each its own name", stage.name));
        }
        if !names::is_dns_label(&stage.name) {
            errors.add(format!("{path}.name"), not_a_label(&stage.name));
        }
        if let Some(color) = &stage.color
            && !names::is_dns_label(color)
        {
            errors.add(format!("{path}.color"), not_a_label(color));
        }
        if let Some(color) = spec.hold(&stage.name).and_then(|hold| hold.color.as_ref())
            && !names::is_dns_label(color)
        {
            errors.add(format!("spec.holds[{}].color", stage.name), not_a_label(color));
        }
        if let Some(replicas) = stage.replicas
            && replicas < 1
        {
            errors.add(
                format!("{path}.replicas"),
                format!("{replicas} is too few: a stage needs at least 1 pod per tier"),
            );
        }
        shift(spec, stage, &path, errors);
        tier(spec, stage, &path, errors);
        service(spec, stage, &path, errors);
    }
}

fn shift(spec: &RainbowSpec, stage: &Stage, path: &str, errors: &mut Errors) {
    let Some(shift) = &stage.shift else { return };
    if shift.kind().is_none() {
        errors.add(format!("{path}.shift"), several_ways(shift));
    }
    if let Some(rolling) = &shift.rolling
        && rolling.step < 1
    {
        errors.add(format!("{path}.shift.rolling.step"), format!("{} is too few: use 1 or more pods", rolling.step));
    }
    for passed in spec.passed.iter().filter(|passed| passed.stage == stage.name) {
        if !names::is_dns_label(&passed.color) {
            let path = format!("spec.passed[{},{}].color", passed.stage, passed.tier);
            errors.add(path, not_a_label(&passed.color));
        }
    }
    steps::check(spec, stage, shift, path, errors);
    if let Some(Err(surge)) = shift.rolling.as_ref().map(Rolling::surge) {
        let found = match surge {
            IntOrString::Int(number) => number.to_string(),
            IntOrString::String(text) => format!("`{text}`"),
        };
        let text = format!("{found} is no surge: use a number of pods from 1 on, or a percentage such as `25%`");
        errors.add(format!("{path}.shift.rolling.surge"), text);
    }
}

fn several_ways(shift: &Shift) -> String {
    let ways =
        [("flip", shift.flip.is_some()), ("rolling", shift.rolling.is_some()), ("steps", !shift.steps.is_empty())];
    let set: Vec<&str> = ways.into_iter().filter(|(_, is_set)| *is_set).map(|(name, _)| name).collect();
    format!("{} are set: set one of them", set.join(" and "))
}

fn tier(spec: &RainbowSpec, stage: &Stage, path: &str, errors: &mut Errors) {
    let known = || list(spec.tiers.iter().map(|tier| tier.name.as_str()));
    match &stage.tier {
        Some(name) => match spec.tiers.iter().find(|tier| tier.name == *name) {
            None => errors.add(format!("{path}.tier"), format!("there is no tier `{name}`: use one of {}", known())),
            Some(tier) if tier.ports.is_empty() => no_ports(name, stage, errors),
            Some(_) => {}
        },
        None => match entry_tiers(&spec.tiers).as_slice() {
            [only] => {
                if spec.tiers.iter().any(|tier| tier.name == *only && tier.ports.is_empty()) {
                    no_ports(only, stage, errors);
                }
            }
            // No tiers, or only cycles: that is reported where the tiers are checked.
            [] => {}
            several => errors.add(
                format!("{path}.tier"),
                format!("is needed, since there are several entry tiers: use one of {}", list(several.iter().copied())),
            ),
        },
    }
}

fn no_ports(tier: &str, stage: &Stage, errors: &mut Errors) {
    // The stage can still serve another color.
    let of_stage = std::mem::replace(&mut errors.part, SpecPart::Version);
    errors.add(
        format!("spec.tiers[{tier}].ports"),
        format!("is empty, but stage `{}` leads to this tier: name the ports it is reached on", stage.name),
    );
    errors.part = of_stage;
}

fn service(spec: &RainbowSpec, stage: &Stage, path: &str, errors: &mut Errors) {
    let service = &stage.service;
    let path = format!("{path}.service");
    let kind = service.type_.as_deref().unwrap_or("ClusterIP");
    if !["ClusterIP", "NodePort", "LoadBalancer"].contains(&kind) {
        errors
            .add(format!("{path}.type"), format!("`{kind}` is not supported: use ClusterIP, NodePort or LoadBalancer"));
    }
    services::of_stage(service, &path, errors);
    let tier = stage_tier(spec, stage).and_then(|name| spec.tiers.iter().find(|tier| tier.name == name));
    errors.duplicates(&format!("{path}.ports"), "port", service.ports.iter().map(|port| port.name.as_str()));
    for port in &service.ports {
        let path = format!("{path}.ports[{}]", port.name);
        if let Some(tier) = tier
            && !tier.ports.iter().any(|known| known.name == port.name)
        {
            errors.add(
                format!("{path}.name"),
                format!(
                    "tier `{}` has no port `{}`: use one of {}",
                    tier.name,
                    port.name,
                    list(tier.ports.iter().map(|port| port.name.as_str()))
                ),
            );
        }
        if let Some(number_) = port.port {
            number(number_, &format!("{path}.port"), errors);
        }
        if let Some(node_port) = port.node_port {
            number(node_port, &format!("{path}.nodePort"), errors);
            if kind == "ClusterIP" {
                errors.add(
                    format!("{path}.nodePort"),
                    "is only possible for type NodePort or LoadBalancer: set service.type",
                );
            }
        }
    }
    let Some(tier) = tier else { return };
    let mut taken = BTreeSet::new();
    for port in &tier.ports {
        let number = service
            .ports
            .iter()
            .find(|known| known.name == port.name)
            .and_then(|known| known.port)
            .unwrap_or(port.port);
        if !taken.insert((number, port.protocol.as_deref().unwrap_or("TCP")))
            && service.ports.iter().any(|p| p.port.is_some())
        {
            errors.add(format!("{path}.ports"), format!("port {number} is there twice: give each its own"));
        }
    }
}
