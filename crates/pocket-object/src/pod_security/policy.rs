//! Labels of a namespace, and the policy that they ask for.

use std::fmt;

use serde_json::Value;

use crate::FieldError;

const PREFIX: &str = "pod-security.kubernetes.io/";

/// How much is forbidden, least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing.
    Privileged,
    /// What is known to give a pod rights over its node.
    Baseline,
    /// Everything that pods do not need.
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
    /// The newest.
    Latest,
    /// That of Kubernetes 1.x.
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

/// A level of a version: `restricted:latest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LevelVersion {
    /// How much is forbidden.
    pub level: Level,
    /// By which version.
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

/// What a namespace asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Pods that break it are refused.
    pub enforce: LevelVersion,
    /// Clients that make such pods, or templates of them, are warned.
    pub warn: LevelVersion,
}

/// The policy of a namespace with these labels, and what is wrong with them. A level that makes no sense enforces the
/// most and warns of nothing.
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
    // Nothing is audited here, but the label must make sense.
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
        // What is enforced is warned of, so that templates are looked at, too.
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
