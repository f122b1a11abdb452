//! What the operator reports of a Rainbow.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::HumanDuration;

/// What the operator reports of a Rainbow.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RainbowStatus {
    /// Generation of the spec this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Newest color: the one that the spec describes, or described last while the spec is invalid or its color cannot be made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub color: Option<String>,
    /// `stage=color` pairs for the printer column, such as `active=v1→v2 3/5, smoke=v2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// One entry a stage, in the order of the spec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub stages: Vec<StageStatus>,
    /// `Ready`, `Reconciling` and `Stalled`, as kstatus reads them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// What a stage serves.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StageStatus {
    /// Name of the stage.
    pub name: String,
    /// Name of its Service.
    pub service: String,
    /// The color the stage serves; during a shift, the color it comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub color: Option<String>,
    /// The color it shall serve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The color it served before `color`: where `rainbow rollback` goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// Since when it serves `color` (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// The shift under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shift: Option<ShiftStatus>,
    /// Time for which the pods that come and those that go serve together, where the stage does not move as the cluster's own data plane
    /// allows: because of `shift.overlap`, the Service's load balancer, or a traffic policy `Local`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap: Option<HumanDuration>,
    /// Since when the color that the stage serves or moves to has not been healthy for `keep.warm` without a break (RFC 3339). Unset: it is
    /// healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub degraded_since: Option<String>,
    /// The color that has not been healthy since `degradedSince`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub degraded_color: Option<String>,
    /// The color that the stage is told to serve and has been taken back from, because it was unhealthy (`onStalled: RollBack`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected: Option<String>,
    /// The stage is held at a color by `spec.holds`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub held: bool,
    /// The hold of `spec.holds` at a color that a later color has ended, by its color and time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_hold: Option<String>,
    /// Why the stage does not move although it should, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The tiers that move on their own, because needs are `compatible: Backward`: inner tiers first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["tier"]))]
    pub tiers: Vec<TierStatus>,
}

/// Where a tier is that moves on its own. The fields are those of a stage.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TierStatus {
    /// Name of the tier.
    pub tier: String,
    /// Name of the Service through which the stage's callers reach it.
    pub service: String,
    /// The color that serves the callers; during a shift, the color it comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub color: Option<String>,
    /// The color that shall serve them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The color that served them before `color`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// Since when `color` serves them (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// The shift under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shift: Option<ShiftStatus>,
    /// Since when the color that serves or that the tier moves to has not been healthy without a break (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub degraded_since: Option<String>,
    /// The color that has not been healthy since `degradedSince`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub degraded_color: Option<String>,
    /// The color that the tier has been taken back from, because it was unhealthy (`onStalled: RollBack`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected: Option<String>,
    /// Why the tier does not move although it should, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl TierStatus {
    /// The same as the status of a stage.
    pub fn into_stage(self) -> StageStatus {
        StageStatus {
            name: self.tier,
            service: self.service,
            color: self.color,
            target: self.target,
            previous: self.previous,
            since: self.since,
            shift: self.shift,
            degraded_since: self.degraded_since,
            degraded_color: self.degraded_color,
            rejected: self.rejected,
            message: self.message,
            ..StageStatus::default()
        }
    }

    /// The status of a tier, from that of a stage of its own.
    pub fn of_stage(tier: String, stage: StageStatus) -> Self {
        Self {
            tier,
            service: stage.service,
            color: stage.color,
            target: stage.target,
            previous: stage.previous,
            since: stage.since,
            shift: stage.shift,
            degraded_since: stage.degraded_since,
            degraded_color: stage.degraded_color,
            rejected: stage.rejected,
            message: stage.message,
        }
    }
}

/// A shift under way.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShiftStatus {
    /// The color it comes from.
    pub from: String,
    /// The color it goes to.
    pub to: String,
    /// Where it is.
    pub phase: ShiftPhase,
    /// Pods of the new color that serve, such as 3 in `3/5`.
    pub moved: i32,
    /// Pods the stage wants to have.
    pub of: i32,
    /// When it began (RFC 3339).
    pub started_at: String,
    /// When the next step is due (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_step_at: Option<String>,
    /// Since when the shift is held (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_since: Option<String>,
}

/// Where a shift is.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
pub enum ShiftPhase {
    /// The new color is brought to the stage's full size.
    Preparing,
    /// Pods are exchanged.
    Shifting,
    /// Held by `paused`.
    Paused,
    /// All pods are exchanged; the Service goes back to selecting the color.
    Finishing,
}
