//! Labels of a namespace, and the policy that they set.

use std::fmt;

use serde_json::Value;

use crate::FieldError;

const PREFIX: &str = "pod-security.kubernetes.io/";

/// Level of the standards, from the least strict on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Forbids nothing.
    Privileged,
    /// Forbids what is known to give a pod rights over its node.
    Baseline,
    /// Forbids everything that pods do not need.
    Restricted,
}

impl Level {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "privileged" => Some(Self::Privileged),
            "baseline" => Some(Self::Baseline),
            "restricted" => Some(Self::Restricted),
            _ => None,
        }
    }
}

/// Version of the standards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Newest version.
    Latest,
    /// Version of Kubernetes 1.x.
    Minor(u32),
}

impl Version {
    pub(super) fn minor(self) -> u32 {
        match self {
            Self::Latest => u32::MAX,
            Self::Minor(minor) => minor,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        if text == "latest" {
            return Some(Self::Latest);
        }
        let digits = text.strip_prefix("v1.")?;
        let canonical = digits == "0" || !digits.starts_with('0') && digits.bytes().all(|digit| digit.is_ascii_digit());
        digits.parse().ok().filter(|_| canonical).map(Self::Minor)
    }
}

/// Level of a version: `restricted:latest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LevelVersion {
    /// Level of strictness.
    pub level: Level,
    /// Version of the standards that defines the level.
    pub version: Version,
}

impl fmt::Display for LevelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.level {
            Level::Privileged => "privileged:",
            Level::Baseline => "baseline:",
            Level::Restricted => "restricted:",
        })?;
        match self.version {
            Version::Latest => f.write_str("latest"),
            Version::Minor(minor) => write!(f, "v1.{minor}"),
        }
    }
}

/// Policy of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Level that pods must meet; a pod that violates it is refused.
    pub enforce: LevelVersion,
    /// Level whose violation by a new pod, or by a template of pods, gives the client a warning.
    pub warn: LevelVersion,
}

/// Returns the policy of a namespace with these labels, and the mistakes in them. A malformed level enforces the most and
/// warns of nothing.
pub fn policy(labels: &Value) -> (Policy, Vec<FieldError>) {
    let mut errors = Vec::new();
    let label = |name: &str| labels.get(format!("{PREFIX}{name}")).and_then(Value::as_str);
    let mut level = |name: &str, wrong: Level| {
        let text = label(name)?;
        let parsed = Level::parse(text);
        if parsed.is_none() {
            errors.push(invalid(name, text, "must be one of privileged, baseline, restricted"));
        }
        Some(parsed.ok_or(wrong))
    };
    let enforced = level("enforce", Level::Restricted);
    // Nothing is audited here, but the label must be valid.
    level("audit", Level::Privileged);
    let warned = level("warn", Level::Privileged);
    let mut version = |name: &str| {
        let text = label(name)?;
        let parsed = Version::parse(text);
        if parsed.is_none() {
            errors.push(invalid(name, text, "must be \"latest\" or \"v1.x\""));
        }
        Some(parsed.unwrap_or(Version::Latest))
    };
    let enforced_version = version("enforce-version").unwrap_or(Version::Latest);
    version("audit-version");
    let warned_version = version("warn-version");

    let either = |level: Result<Level, Level>| level.unwrap_or_else(|wrong| wrong);
    let enforce = LevelVersion { level: enforced.map_or(Level::Privileged, either), version: enforced_version };
    let warn = match (warned, enforced) {
        (Some(level), _) => LevelVersion { level: either(level), version: warned_version.unwrap_or(Version::Latest) },
        // The enforced level is also the level of warnings, so that templates are checked, too.
        (None, Some(Ok(level))) if level > Level::Privileged => {
            LevelVersion { level, version: warned_version.unwrap_or(enforced_version) }
        }
        (None, _) => LevelVersion { level: Level::Privileged, version: warned_version.unwrap_or(Version::Latest) },
    };
    (Policy { enforce, warn }, errors)
}

fn invalid(name: &str, text: &str, detail: &str) -> FieldError {
    FieldError::invalid(format!("metadata.labels[{PREFIX}{name}]"), &Value::from(text), detail)
}
