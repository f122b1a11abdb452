//! End of a color that no stage points at, and what is reported of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{borrow::Cow, collections::BTreeMap, fmt, str::FromStr};

use crate::{DurationError, HumanDuration, IgnoredPeer, SidecarSettings};

/// Drain of a color that no stage points at.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Drain {
    /// Longest time that a color may drain, such as `24h`. After it, pods end with their grace period, with or without connections. Default
    /// 24h.
    #[serde(default = "Drain::default_deadline")]
    pub deadline: HumanDuration,
    /// Time that a pod must be without connections before it may end, such as `5s`. Where connections are not counted: time that a pod
    /// stays after it left its last stage. A color that has served stays whole for this long, and as a way back for `keep.warm`. Default
    /// 5s.
    #[serde(default = "Drain::default_settle")]
    pub settle: HumanDuration,
    /// Source of the evidence that connections have ended: `Sidecar` (default), `Http` or `None`.
    #[serde(default)]
    pub connections: Connections,
    /// Address at which the application answers how many connections a pod has. Required where `connections` is `Http`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpCount>,
    /// Settings of the container that Rainbow adds where `connections` is `Sidecar`. A change affects new colors only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sidecar: Option<SidecarSettings>,
    /// Peers whose connections hold no pod, such as scrapers of metrics. A change affects all colors, draining ones included. Only the
    /// sidecar knows peers. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub ignore: Vec<IgnoredPeer>,
}

impl Drain {
    fn default_deadline() -> HumanDuration {
        HumanDuration::from_secs(24 * 3600)
    }

    fn default_settle() -> HumanDuration {
        HumanDuration::from_secs(5)
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            deadline: Self::default_deadline(),
            settle: Self::default_settle(),
            connections: Connections::default(),
            http: None,
            sidecar: None,
            ignore: Vec::new(),
        }
    }
}

/// Source of the evidence that connections have ended.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum Connections {
    /// `tally`, a small container that Rainbow adds to the pods and that reads the pod's own socket table.
    #[default]
    Sidecar,
    /// The application itself, over HTTP.
    Http,
    /// Time alone: a color is drained when `settle` has passed since it left its last stage.
    None,
}

/// Address at which the application answers how many connections a pod has.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpCount {
    /// Number of the port in the pod.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// Path of the request, such as `/connections`.
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^/"))]
    pub path: String,
    /// Place of the number in the JSON of the reply: a JSON pointer such as `/server/open`, or a dotted path such as `server.open`.
    #[schemars(length(min = 1, max = 256))]
    pub field: String,
}

impl HttpCount {
    /// Returns the number in a reply. `None`: there is none, or it is no count.
    pub fn number(&self, reply: &Value) -> Option<u64> {
        let found = match self.field.strip_prefix('/') {
            Some(_) => reply.pointer(&self.field)?,
            None => self.field.split('.').try_fold(reply, |value, key| match value {
                Value::Array(all) => all.get(key.parse::<usize>().ok()?),
                _ => value.get(key),
            })?,
        };
        found.as_u64()
    }
}

/// Source of the evidence that the connections of a color's pods have ended. While the Rainbow's spec describes the color, this is what the
/// spec says.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    /// `drain.connections` of the Rainbow.
    pub connections: Connections,
    /// `drain.http` of the Rainbow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpCount>,
    /// `connections` of each tier that has its own value, by tier.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub tiers: BTreeMap<String, Connections>,
}

impl Evidence {
    /// Returns the source of the evidence for a tier.
    pub fn of_tier(&self, tier: &str) -> Connections {
        self.tiers.get(tier).copied().unwrap_or(self.connections)
    }
}

/// Drain settings of one color.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ColorDrain {
    /// Deadline of this color in place of the Rainbow's `drain.deadline`: a duration since the color left its last stage such as `10m`,
    /// `now` or `never`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Deadline>,
}

/// Time at which the pods of a draining color end with or without connections: `10m` after the color left its last stage, `now` or `never`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Deadline {
    /// This long after the color left its last stage.
    After(HumanDuration),
    /// Immediately.
    Now,
    /// Not while a connection is left.
    Never,
}

/// Error of a text that is no deadline.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}; or write now or never")]
pub struct DeadlineError(#[from] DurationError);

impl FromStr for Deadline {
    type Err = DeadlineError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "now" => Ok(Self::Now),
            "never" => Ok(Self::Never),
            duration => Ok(Self::After(duration.parse()?)),
        }
    }
}

impl TryFrom<String> for Deadline {
    type Error = DeadlineError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl fmt::Display for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::After(duration) => duration.fmt(f),
            Self::Now => f.write_str("now"),
            Self::Never => f.write_str("never"),
        }
    }
}

impl From<Deadline> for String {
    fn from(deadline: Deadline) -> Self {
        deadline.to_string()
    }
}

impl JsonSchema for Deadline {
    fn schema_name() -> Cow<'static, str> {
        "Deadline".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": r"^(now|never|0|(\d+(ms|s|m|h))+)$" })
    }
}

/// State of a drain.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DrainStatus {
    /// Time at which the color left its last stage (RFC 3339).
    pub since: String,
    /// Time at which the color's pods end with or without connections (RFC 3339). Unset: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<String>,
    /// Connections last known, over all pods of the color.
    pub connections: i64,
    /// Connections of peers that `drain.ignore` names, over all pods of the color. They hold no pod.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub ignored: i64,
    /// Number of pods whose connections cannot be read now. These pods count as busy.
    pub unknown_pods: i32,
    /// Number of pods that still exist.
    pub pods: i32,
    /// Pods that hold the color, the one with the most connections first. At most ten.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holders: Vec<Holder>,
    /// Connections that the deadline ended. Kept when the color is retired.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cut: Vec<Cut>,
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// Pod that holds a draining color.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Holder {
    /// Name of the pod.
    pub pod: String,
    /// Tier of the pod.
    pub tier: String,
    /// Connections last known. Unset: they could never be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<i64>,
    /// Connections of peers that `drain.ignore` names, beside `connections`. Unset: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignored: Option<i64>,
    /// Connections among `connections` whose peer the counter does not name, so that it is unknown whether `drain.ignore` names the peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unnamed: Option<i64>,
    /// Age of the oldest connection in seconds, when the pod was last asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_seconds: Option<i64>,
    /// Addresses of the pod's peers, the ones with the most connections first. At most five.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<String>,
    /// Reason why the pod's connections cannot be read. Unset: they can be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
}

/// Connections that the deadline ended.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Cut {
    /// Name of the pod.
    pub pod: String,
    /// Port of the pod. Unset: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<i32>,
    /// Number of connections when the pod was last asked. Unset: it could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<i64>,
    /// Age of the oldest connection in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_seconds: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn deadlines_are_read_and_written() {
        for text in ["10m", "now", "never", "1h30m"] {
            assert_eq!(text.parse::<Deadline>().unwrap().to_string(), text);
        }
        assert_eq!(
            "soon".parse::<Deadline>().unwrap_err().to_string(),
            "`soon` is no duration: write a number and a unit (ms, s, m, h), such as 30s or 1h30m; or write now or never"
        );
        assert!(serde_json::from_value::<ColorDrain>(json!({ "deadline": 10 })).is_err());
    }

    #[test]
    fn a_number_is_found_by_pointer_or_dots() {
        let reply =
            json!({ "server": { "open": 7, "a.b": 1, "list": [3] }, "text": "7", "minus": -1, "part": 1.5, "0": 2 });
        let number = |field: &str| HttpCount { port: 80, path: "/".into(), field: field.into() }.number(&reply);
        for (field, expected) in [
            ("/server/open", Some(7)),
            ("server.open", Some(7)),
            ("/server/a.b", Some(1)),
            ("server.list.0", Some(3)),
            ("0", Some(2)),
            ("server", None),
            ("server.none", None),
            ("text", None),
            ("minus", None),
            ("part", None),
            ("", None),
        ] {
            assert_eq!(number(field), expected, "{field}");
        }
    }
}
