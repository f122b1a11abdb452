//! How a color that no stage points at comes to its end, and what is reported of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{borrow::Cow, collections::BTreeMap, fmt, str::FromStr};

use crate::{DurationError, HumanDuration, IgnoredPeer, RainbowSpec, SidecarSettings, Tier};

/// How a color that no stage points at comes to its end.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Drain {
    /// The longest a color may drain. Past it, pods end with their grace period, connections or not. Default 24h.
    #[serde(default = "Drain::default_deadline")]
    pub deadline: HumanDuration,
    /// How long a pod must be without connections before it may go; where none are counted, how long it stays after it left its last
    /// stage. A color that has served stays whole for this long, and as a way back for `keep.warm`. Default 5s.
    #[serde(default = "Drain::default_settle")]
    pub settle: HumanDuration,
    /// Where the evidence comes from that connections have ended. Default: Sidecar.
    #[serde(default)]
    pub connections: Connections,
    /// Where the application answers how many connections a pod has. Needed where `connections` is `Http`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpCount>,
    /// Settings of the container that Rainbow adds where `connections` is `Sidecar`. A change is about new colors only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sidecar: Option<SidecarSettings>,
    /// Peers whose connections hold no pod, such as scrapers of metrics. It is about all colors, those that drain as well. Only the
    /// sidecar knows peers.
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

/// Where the evidence that connections have ended comes from.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum Connections {
    /// From `tally`, a small container that Rainbow adds to the pods: it reads the pod's own socket table.
    #[default]
    Sidecar,
    /// From the application itself, over HTTP.
    Http,
    /// Time alone: a color is drained `settle` after it left its last stage.
    None,
}

/// Where the application answers how many connections a pod has.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpCount {
    /// Number of the port in the pod.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// Path of the request, such as `/connections`.
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^/"))]
    pub path: String,
    /// Where the number is in the JSON of the reply: a JSON pointer such as `/server/open`, or a dotted path such as `server.open`.
    #[schemars(length(min = 1, max = 256))]
    pub field: String,
}

impl HttpCount {
    /// The number in a reply; `None` where there is none or it is no count.
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

/// Source of the evidence that the connections of a color's pods have ended: the words of the Rainbow's spec while that spec
/// describes the color.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    /// The Rainbow's `drain.connections`.
    pub connections: Connections,
    /// The Rainbow's `drain.http`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpCount>,
    /// By tier: its own `connections`, where it has a word of its own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub tiers: BTreeMap<String, Connections>,
}

impl Evidence {
    /// The words of a spec about tiers.
    pub fn of<'a>(spec: &RainbowSpec, tiers: impl IntoIterator<Item = &'a Tier>) -> Self {
        let own = tiers.into_iter().filter_map(|tier| Some((tier.name.clone(), tier.connections?)));
        Self { connections: spec.drain.connections, http: spec.drain.http.clone(), tiers: own.collect() }
    }

    /// Source of the evidence for a tier.
    pub fn of_tier(&self, tier: &str) -> Connections {
        self.tiers.get(tier).copied().unwrap_or(self.connections)
    }
}

/// What is different in the drain of one color.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ColorDrain {
    /// Instead of the Rainbow's `drain.deadline`, for this color: a duration since it left its last stage, `now` or `never`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Deadline>,
}

/// When the pods of a draining color end whatever they still hold: `10m` after it left its last stage, `now` or `never`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Deadline {
    /// So long after the color left its last stage.
    After(HumanDuration),
    /// At once.
    Now,
    /// Not as long as a connection is left.
    Never,
}

/// A text that is no deadline.
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

/// What is known of a drain under way.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DrainStatus {
    /// When the color left its last stage (RFC 3339).
    pub since: String,
    /// When its pods end whatever they still hold (RFC 3339). Unset: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<String>,
    /// Connections last known, over all its pods.
    pub connections: i64,
    /// Connections of peers that `drain.ignore` names, over all its pods: they hold nothing.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub ignored: i64,
    /// Pods whose connections cannot be read now. They count as busy.
    pub unknown_pods: i32,
    /// Pods that are still there.
    pub pods: i32,
    /// The pods that hold it, the one with the most connections first; at most ten.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holders: Vec<Holder>,
    /// What the deadline ended. Kept when the color is retired.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cut: Vec<Cut>,
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// A pod that holds a draining color.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Holder {
    /// Name of the pod.
    pub pod: String,
    /// Its tier.
    pub tier: String,
    /// Connections last known. Unset: none could ever be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<i64>,
    /// Connections beside those of peers that `drain.ignore` names. Unset: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignored: Option<i64>,
    /// Connections among `connections` of peers that the counter does not name, so that it is unknown whether `drain.ignore` names them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unnamed: Option<i64>,
    /// Age of the oldest connection in seconds when it was last asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_seconds: Option<i64>,
    /// Addresses of those it is connected to, the ones with the most connections first; at most five.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<String>,
    /// Why its connections cannot be read, where they cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
}

/// Connections that the deadline ended.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Cut {
    /// Name of the pod.
    pub pod: String,
    /// The pod's port. Unset where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<i32>,
    /// How many there were when the pod was last asked. Unset where that could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<i64>,
    /// Age of the oldest in seconds.
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
