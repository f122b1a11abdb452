//! What is wrong with a `Rainbow`, said so that its author can fix it. Pure: the operator and the command line use it.

mod drain;
mod ignore;
mod names_check;
mod quantity;
mod services;
mod sidecar;
mod stages;
mod template;
mod tiers;

use std::fmt;

pub use drain::connections;
pub use quantity::amount;
pub use sidecar::validate_sidecar;

use crate::{RainbowSpec, Tier, names};

/// One thing that is wrong with a spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecError {
    /// The field, such as `spec.tiers[frontend].needs[backend].tier`. List entries are named, not numbered, where they have names.
    pub path: String,
    /// What is wrong with it and what to do.
    pub message: String,
    /// The part of the spec that cannot be used because of it.
    pub part: SpecPart,
}

/// Part of a spec that an error makes unusable. The rest of the spec counts all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpecPart {
    /// `namePrefix`.
    NamePrefix,
    /// `color` and `tiers`: no color can be made of them.
    Version,
    /// Some of `stages`: which ones there are is unknown.
    Stages,
    /// The stage of this name.
    Stage(String),
    /// `drain`.
    Drain,
    /// `keep`.
    Keep,
    /// `progressDeadlineSeconds`.
    ProgressDeadline,
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

impl std::error::Error for SpecError {}

/// Everything that is wrong with a spec; empty when it is fine.
pub fn validate(spec: &RainbowSpec) -> Vec<SpecError> {
    let mut errors = Errors { found: Vec::new(), part: SpecPart::Version };
    general(spec, &mut errors);
    tiers::check(spec, &mut errors);
    stages::check(spec, &mut errors);
    drain::check(spec, &mut errors);
    sidecar::check(spec, &mut errors);
    ignore::check(spec, &mut errors);
    names_check::check(spec, &mut errors);
    errors.found
}

/// What is wrong with the name of a `Rainbow`. It is a label value on everything that is made.
pub fn validate_name(name: &str) -> Option<SpecError> {
    (name.len() > names::MAX_NAME).then(|| SpecError {
        path: "metadata.name".into(),
        message: format!(
            "has {} characters: use at most {}, since it is a label of everything that is made",
            name.len(),
            names::MAX_NAME
        ),
        part: SpecPart::Version,
    })
}

/// The tiers that no other needs, in the order of the spec.
pub fn entry_tiers(tiers: &[Tier]) -> Vec<&str> {
    let needed =
        |name: &str| tiers.iter().any(|tier| tier.name != name && tier.needs.iter().any(|need| need.tier == name));
    tiers.iter().map(|tier| tier.name.as_str()).filter(|name| !needed(name)).collect()
}

/// The tier that clients of a stage reach: the one it names, else the only entry tier. `None` where that is unclear.
pub fn stage_tier<'a>(spec: &'a RainbowSpec, stage: &'a crate::Stage) -> Option<&'a str> {
    match (&stage.tier, entry_tiers(&spec.tiers).as_slice()) {
        (Some(tier), _) => Some(tier),
        (None, [only]) => Some(only),
        (None, _) => None,
    }
}

fn general(spec: &RainbowSpec, errors: &mut Errors) {
    errors.part = SpecPart::Version;
    if let Some(color) = &spec.color
        && !names::is_dns_label(color)
    {
        errors.add("spec.color", not_a_label(color));
    }
    errors.part = SpecPart::NamePrefix;
    if let Some(prefix) = &spec.name_prefix
        && !prefix.is_empty()
        && !names::is_dns_label(&format!("{prefix}x"))
    {
        errors.add(
            "spec.namePrefix",
            format!("`{prefix}` cannot begin a name: use lower case letters, digits and `-`, such as `shop-`"),
        );
    }
    errors.part = SpecPart::Keep;
    if spec.keep.live < 1 {
        errors.add("spec.keep.live", format!("{} is too few: at least 1 color must be able to live", spec.keep.live));
    }
    if spec.keep.history < 0 {
        errors.add("spec.keep.history", format!("{} is negative: use 0 or more", spec.keep.history));
    }
    errors.part = SpecPart::ProgressDeadline;
    if let Some(seconds) = spec.progress_deadline_seconds
        && seconds < 1
    {
        errors.add("spec.progressDeadlineSeconds", format!("{seconds} is too short: use 1 or more"));
    }
}

/// Gathers errors.
struct Errors {
    found: Vec<SpecError>,
    /// The part of the spec that the next findings make unusable.
    part: SpecPart,
}

impl Errors {
    fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.found.push(SpecError { path: path.into(), message: message.into(), part: self.part.clone() });
    }

    /// Reports every name that comes up again, once.
    fn duplicates<'a>(&mut self, path: &str, what: &str, all: impl Iterator<Item = &'a str>) {
        let mut seen = std::collections::BTreeMap::<&str, u32>::new();
        for name in all {
            let count = seen.entry(name).or_default();
            *count += 1;
            if *count == 2 {
                self.add(format!("{path}[{name}]"), format!("{what} `{name}` is there twice: give each its own name"));
            }
        }
    }
}

fn not_a_label(name: &str) -> String {
    format!(
        "`{name}` is no DNS label: use 1 to 63 lower case letters, digits and `-`, beginning and ending with a letter or a digit"
    )
}

fn list<'a>(all: impl IntoIterator<Item = &'a str>) -> String {
    let all: Vec<_> = all.into_iter().collect();
    if all.is_empty() { "none".into() } else { all.join(", ") }
}

#[cfg(test)]
mod tests;
