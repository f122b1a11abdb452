//! Holds: stages that a user has taken back or paused.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Hold of a stage by a user, which takes precedence over `stages`. Holds are a list beside `stages`, so that a manifest that does not
/// mention them leaves them as they are when it is applied again.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Hold {
    /// Name of the stage.
    #[schemars(length(min = 1, max = 63))]
    pub stage: String,
    /// Color that the stage serves, in place of `stages[].color` and of the newest color. `rainbow rollback` and `rainbow abort` write this
    /// field, `rainbow promote` and `rainbow resume` remove it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub color: Option<String>,
    /// Whether a shift stays where it is. `rainbow pause` writes this field, `rainbow resume` removes it. Default false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// Revision of the newest color when the stage was taken back. The hold at `color` ends when the stage is to go to a color with a
    /// higher revision, which is a later release. Unset: the hold ends when it is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<i64>,
    /// User who holds the stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub by: Option<String>,
    /// Time since when the stage is held (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub since: Option<String>,
}

impl Hold {
    /// Returns an id that differs from those of earlier and later holds of the same stage.
    pub fn id(&self) -> String {
        format!("{}@{}", self.color.as_deref().unwrap_or_default(), self.since.as_deref().unwrap_or_default())
    }

    /// Returns who holds the stage since when, such as `by ann since 2026-11-30T19:00:00Z`. Empty where neither is known.
    pub fn origin(&self) -> String {
        let by = self.by.iter().map(|by| format!(" by {by}"));
        let since = self.since.iter().map(|since| format!(" since {since}"));
        by.chain(since).collect::<String>().trim_start().to_owned()
    }
}
