//! Validation of a `Rainbow`: errors that its author can fix. Pure: the operator and the command line use it.

mod drain;
mod gates;
mod ignore;
mod names_check;
mod quantity;
mod services;
mod sidecar;
mod stages;
mod steps;
mod template;
mod tiers;

use std::fmt;

pub use drain::connections;
pub(crate) use gates::parts_of as parts_of_gate;
pub use gates::validate_template;
pub use quantity::amount;
pub use sidecar::validate_sidecar;

use crate::{RainbowSpec, Tier, names};

/// Error in a spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecError {
    /// Field, such as `spec.tiers[frontend].needs[backend].tier`. List entries are named, not numbered, where they have names.
    pub path: String,
    /// Sentence about what is wrong with the field and what to do.
    pub message: String,
    /// Part of the spec that the error makes unusable.
    pub part: SpecPart,
}

/// Part of a spec that an error makes unusable. The rest of the spec stays in effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpecPart {
    /// `namePrefix`.
    NamePrefix,
    /// `color` and `tiers`: no color can be made of them.
    Version,
    /// Some of `stages`: which stages there are is unknown.
    Stages,
    /// Stage of this name.
    Stage(String),
    /// `drain`.
    Drain,
    /// `keep`.
    Keep,
    /// `progressDeadlineSeconds`.
    ProgressDeadline,
    /// Gates that no stage names, and entries of lists that only let a stage continue. Everything else can be used without them.
    Gates,
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

impl std::error::Error for SpecError {}

/// Returns all errors of a spec. Empty: the spec is valid.
pub fn validate(spec: &RainbowSpec) -> Vec<SpecError> {
    let mut errors = Errors { found: Vec::new(), part: SpecPart::Version };
    general(spec, &mut errors);
    tiers::check(spec, &mut errors);
    stages::check(spec, &mut errors);
    gates::check(spec, &mut errors);
    drain::check(spec, &mut errors);
    sidecar::check(spec, &mut errors);
    ignore::check(spec, &mut errors);
    names_check::check(spec, &mut errors);
    errors.found
}

/// Returns the error in the name of a `Rainbow`, if there is one. The name is a label value on every object that is made.
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

/// Returns the tiers that no other needs, in the order of the spec.
pub fn entry_tiers(tiers: &[Tier]) -> Vec<&str> {
    let needed =
        |name: &str| tiers.iter().any(|tier| tier.name != name && tier.needs.iter().any(|need| need.tier == name));
    tiers.iter().map(|tier| tier.name.as_str()).filter(|name| !needed(name)).collect()
}

/// Returns the tier that clients of a stage reach: the one that the stage names, otherwise the only entry tier. `None`: that is unclear.
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

/// Collected errors.
struct Errors {
    found: Vec<SpecError>,
    /// Part of the spec that the next errors make unusable.
    part: SpecPart,
}

impl Errors {
    fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.found.push(SpecError { path: path.into(), message: message.into(), part: self.part.clone() });
    }

    /// Reports every name that occurs more than once, one time.
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
