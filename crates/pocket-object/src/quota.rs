//! Quotas of a namespace: the usage of an object under a `ResourceQuota`, and whether enough is left.

mod scope;
mod usage;

use serde_json::{Value, json};

pub use self::usage::Evaluator;
use crate::{
    json::text,
    quantity::{Quantity, Resources, add, resources, to_json},
};

/// Write that may use resources of a quota.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Object before the write; `None` for a new object.
    pub old: Option<&'a Value>,
    /// Object after the write.
    pub new: &'a Value,
    /// Time of the write.
    pub now: jiff::Timestamp,
}

/// Returns the new `status.used` of quotas after a write, by their index in the list of all quotas. Quotas that do not
/// change are left out. Fails with a sentence if any quota does not allow the write.
pub fn charge(evaluator: &Evaluator, request: &Request<'_>, quotas: &[Value]) -> Result<Vec<(usize, Value)>, String> {
    if !evaluator.handles(request.old, request.new) {
        return Ok(Vec::new());
    }
    let mut concerned = Vec::new();
    for (index, quota) in quotas.iter().enumerate() {
        let hard = resources(quota.pointer("/status/hard"));
        let limited: Vec<&str> = hard.keys().map(String::as_str).filter(|name| evaluator.counts(name)).collect();
        if limited.is_empty() || !scope::all_match(evaluator, quota, request.new) {
            continue;
        }
        let name = text(quota, "/metadata/name");
        evaluator.check_complete(&limited, request.new).map_err(|wrong| format!("failed quota: {name}: {wrong}"))?;
        let used = resources(quota.pointer("/status/used"));
        if limited.iter().any(|resource| !used.contains_key(*resource)) {
            return Err(format!("status unknown for quota: {name}, resources: {}", limited.join(",")));
        }
        concerned.push((index, hard, used));
    }
    let usage = evaluator.usage(request.new, request.now);
    let negative: Vec<&str> =
        usage.iter().filter(|(_, amount)| amount.is_negative()).map(|(name, _)| name.as_str()).collect();
    if !negative.is_empty() {
        return Err(format!("quota usage is negative for resource(s): {}", negative.join(",")));
    }
    let mut charged = Vec::new();
    for (index, hard, used) in concerned {
        let mut requested = usage.clone();
        if let Some(old) = request.old
            && quotas.get(index).is_some_and(|quota| scope::all_match(evaluator, quota, old))
        {
            requested = more_than(&requested, &evaluator.usage(old, request.now));
        }
        requested.retain(|name, amount| !amount.is_zero() && hard.contains_key(name));
        if requested.is_empty() {
            continue;
        }
        let mut after = used.clone();
        add(&mut after, &requested);
        let exceeded: Vec<&str> = requested
            .keys()
            .filter(|name| after.get(*name).zip(hard.get(*name)).is_some_and(|(used, hard)| used > hard))
            .map(String::as_str)
            .collect();
        if !exceeded.is_empty() {
            let name = quotas.get(index).map(|quota| text(quota, "/metadata/name")).unwrap_or_default();
            let [requested, used, hard] = [&requested, &used, &hard].map(|amounts| show(amounts, &exceeded));
            return Err(format!("exceeded quota: {name}, requested: {requested}, used: {used}, limited: {hard}"));
        }
        charged.push((index, to_json(&after)));
    }
    Ok(charged)
}

/// Returns the status of a quota, counted again over all objects of its namespace, each with its evaluator.
pub fn recount<'a>(
    quota: &Value,
    objects: impl IntoIterator<Item = (&'a Evaluator, &'a Value)>,
    now: jiff::Timestamp,
) -> Value {
    let hard = resources(quota.pointer("/spec/hard"));
    let mut used: Resources = hard.keys().map(|name| (name.clone(), Quantity::ZERO)).collect();
    for (evaluator, object) in objects {
        if scope::all_match(evaluator, quota, object) {
            let mut usage = evaluator.usage(object, now);
            usage.retain(|name, _| hard.contains_key(name));
            add(&mut used, &usage);
        }
    }
    json!({ "hard": to_json(&hard), "used": to_json(&used) })
}

/// Returns the growth of `now` over `before`; a decrease counts as zero.
fn more_than(now: &Resources, before: &Resources) -> Resources {
    let mut more = Resources::new();
    for (name, amount) in now {
        let rest = before.get(name).map_or(*amount, |before| *amount - *before);
        more.insert(name.clone(), if rest.is_negative() { Quantity::ZERO } else { rest });
    }
    more
}

/// Returns amounts as `cpu=1,pods=3`.
fn show(amounts: &Resources, names: &[&str]) -> String {
    let parts = amounts.iter().filter(|(name, _)| names.contains(&name.as_str()));
    parts.map(|(name, amount)| format!("{name}={amount}")).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests;
