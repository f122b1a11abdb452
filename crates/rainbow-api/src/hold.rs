//! Holds: what a user has taken a stage back to, or paused.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a user holds a stage at, whatever `stages` says of it. A list of its own beside `stages`: a manifest that knows nothing of holds,
/// applied again, leaves it as it is.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Hold {
    /// Name of the stage.
    #[schemars(length(min = 1, max = 63))]
    pub stage: String,
    /// The color that the stage serves, in place of `stages[].color` and of the newest. `rainbow rollback` and `rainbow abort` write
    /// it, `rainbow promote` and `rainbow resume` remove it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub color: Option<String>,
    /// Holds a shift where it is. `rainbow pause` writes it, `rainbow resume` removes it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// Revision of the newest color when the stage was taken back. The hold at `color` ends when the stage is to go to a color with a
    /// higher one: a later release. Unset: it ends when it is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<i64>,
    /// User who holds the stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub by: Option<String>,
    /// Time since when (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub since: Option<String>,
}

impl Hold {
    /// Tells this hold from earlier and later ones of its stage.
    pub fn id(&self) -> String {
        format!("{}@{}", self.color.as_deref().unwrap_or_default(), self.since.as_deref().unwrap_or_default())
    }

    /// `by ann since 2026-11-30T19:00:00Z`; empty where neither is known.
    pub fn origin(&self) -> String {
        let by = self.by.iter().map(|by| format!(" by {by}"));
        let since = self.since.iter().map(|since| format!(" since {since}"));
        by.chain(since).collect::<String>().trim_start().to_owned()
    }
}
