//! Peers that hold no pod: the ranges are ranges, the selectors select, and a counter counts by peer.

use super::{Errors, SpecPart, drain::connections};
use crate::{Cidr, Connections, IgnoredPeer, IpBlock, RainbowSpec, Selector, ignore::Operator};

pub(super) fn check(spec: &RainbowSpec, errors: &mut Errors) {
    errors.part = SpecPart::Drain;
    let ignored = &spec.drain.ignore;
    let counts = spec.drain.connections == Connections::Sidecar
        || spec.tiers.iter().any(|tier| connections(spec, tier) == Connections::Sidecar);
    if !ignored.is_empty() && !counts {
        errors.add(
            "spec.drain.ignore",
            "is set, but connections is Sidecar nowhere, and only the sidecar knows peers: take it out, or leave these peers out \
             where the application counts",
        );
    }
    for (index, peer) in ignored.iter().enumerate() {
        entry(peer, &format!("spec.drain.ignore[{index}]"), errors);
    }
}

fn entry(peer: &IgnoredPeer, path: &str, errors: &mut Errors) {
    match (&peer.ip_block, peer.pod_selector.is_some() || peer.namespace_selector.is_some()) {
        (Some(block), false) => ip_block(block, &format!("{path}.ipBlock"), errors),
        (None, true) => {}
        (None, false) => errors.add(path, "is empty: give it an ipBlock, a podSelector or a namespaceSelector"),
        (Some(_), true) => errors.add(path, "has an ipBlock and a selector: make two entries of it"),
    }
    for (field, selector) in [("podSelector", &peer.pod_selector), ("namespaceSelector", &peer.namespace_selector)] {
        if let Some(found) = selector {
            self::selector(found, &format!("{path}.{field}"), errors);
        }
    }
}

fn ip_block(block: &IpBlock, path: &str, errors: &mut Errors) {
    let range = match block.cidr.parse::<Cidr>() {
        Ok(range) => Some(range),
        Err(error) => {
            errors.add(format!("{path}.cidr"), error.to_string());
            None
        }
    };
    for (index, text) in block.except.iter().enumerate() {
        let path = format!("{path}.except[{index}]");
        match text.parse::<Cidr>() {
            Ok(except) if range.is_none_or(|range| range.covers(&except)) => {}
            Ok(_) => errors.add(path, format!("`{text}` is not within `{}`: use a part of it", block.cidr)),
            Err(error) => errors.add(path, error.to_string()),
        }
    }
}

fn selector(selector: &Selector, path: &str, errors: &mut Errors) {
    for (index, requirement) in selector.match_expressions.iter().enumerate() {
        let path = format!("{path}.matchExpressions[{index}].values");
        match (requirement.operator, requirement.values.is_empty()) {
            (Operator::In | Operator::NotIn, true) => errors.add(path, "is empty: In and NotIn need values"),
            (Operator::Exists | Operator::DoesNotExist, false) => {
                errors.add(path, "is set: Exists and DoesNotExist have no values");
            }
            (Operator::In | Operator::NotIn, false) | (Operator::Exists | Operator::DoesNotExist, true) => {}
        }
    }
}
