//! Pod Security Standards: checks of pods against the level that a namespace's labels set.

mod baseline;
mod containers;
mod policy;
mod restricted;

use serde_json::Value;

pub use self::policy::{Level, LevelVersion, Policy, Version, policy};

/// Check, with the versions of the standards that have it.
struct Check {
    id: &'static str,
    level: Level,
    /// Rules by the minor version from which each one applies.
    since: &'static [(u32, Rule)],
    /// Rules of the level below that this rule replaces.
    replaces: &'static [&'static str],
}

/// Rule; returns the violation of a pod that breaks it.
type Rule = fn(&Pod<'_>) -> Option<Violation>;

/// Pod, or the template of a pod.
struct Pod<'a> {
    metadata: &'a Value,
    spec: &'a Value,
}

/// Violation of a rule by a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Rule in short: `allowPrivilegeEscalation != false`.
    pub reason: String,
    /// Place and correct form: `container "c" must set securityContext.allowPrivilegeEscalation=false`.
    pub detail: String,
}

impl Violation {
    fn new(reason: &str, detail: String) -> Self {
        Self { reason: reason.to_owned(), detail }
    }
}

/// Returns the violations of a level and version by a pod (or a pod template).
pub fn evaluate(at: LevelVersion, pod: &Value) -> Vec<Violation> {
    const NOTHING: &Value = &Value::Null;
    let pod = Pod { metadata: pod.get("metadata").unwrap_or(NOTHING), spec: pod.get("spec").unwrap_or(NOTHING) };
    let minor = at.version.minor();
    // Each check has several rules; the newest one that the version has applies.
    let rules = |level: Level| {
        let of_level = baseline::CHECKS.iter().chain(restricted::CHECKS).filter(move |check| check.level == level);
        let mut rules: Vec<(&Check, Rule)> = of_level
            .filter_map(|check| Some((check, check.since.iter().rev().find(|(since, _)| *since <= minor)?.1)))
            .collect();
        rules.sort_by_key(|(check, _)| check.id);
        rules
    };
    let (mut baseline, restricted) = match at.level {
        Level::Privileged => return Vec::new(),
        Level::Baseline => (rules(Level::Baseline), Vec::new()),
        Level::Restricted => (rules(Level::Baseline), rules(Level::Restricted)),
    };
    baseline.retain(|(check, _)| !restricted.iter().any(|(other, _)| other.replaces.contains(&check.id)));
    baseline.iter().chain(&restricted).filter_map(|(_, rule)| rule(&pod)).collect()
}

/// Returns all reasons with their details: `host namespaces (hostNetwork=true), privileged (…)`.
pub fn detail(violations: &[Violation]) -> String {
    let shown = violations.iter().map(|violation| match violation.detail.as_str() {
        "" => violation.reason.clone(),
        detail => format!("{} ({detail})", violation.reason),
    });
    shown.collect::<Vec<_>>().join(", ")
}

/// Returns all reasons: `host namespaces, privileged`.
pub fn reasons(violations: &[Violation]) -> String {
    violations.iter().map(|violation| violation.reason.as_str()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
