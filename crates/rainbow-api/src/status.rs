//! Status of a Rainbow, which the operator writes.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{GateStatus, HumanDuration, documented_enum};

/// Status of a Rainbow.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RainbowStatus {
    /// Generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Newest color: the one that the spec describes. While the spec is invalid or its color cannot be made, the one that it described
    /// last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub color: Option<String>,
    /// `stage=color` pairs for the printer column, such as `active=v1→v2 3/5, smoke=v2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// Status of each stage, in the order of the spec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub stages: Vec<StageStatus>,
    /// Conditions `Ready`, `Reconciling` and `Stalled`, as kstatus reads them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// Status of a stage.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StageStatus {
    /// Name of the stage.
    pub name: String,
    /// Name of the stage's Service.
    pub service: String,
    /// Color that the stage serves. During a shift, the color that the stage comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub color: Option<String>,
    /// Color that the stage should serve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Color that the stage served before `color`. `rainbow rollback` returns to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// Time since when the stage serves `color` (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Shift that is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shift: Option<ShiftStatus>,
    /// Time for which the pods that join and those that leave serve together. Set only where the stage does not move as the cluster's own
    /// data plane allows: because of `shift.overlap`, the Service's load balancer, or a traffic policy `Local`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap: Option<HumanDuration>,
    /// Time since when the color that the stage serves or moves to has not been healthy for `keep.warm` without a break (RFC 3339). Unset:
    /// the color is healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub degraded_since: Option<String>,
    /// Color that has not been healthy since `degradedSince`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub degraded_color: Option<String>,
    /// Color that the spec wants the stage to serve, and from which the stage was taken back because the color was unhealthy (`onStalled:
    /// RollBack`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected: Option<String>,
    /// Gate that has rejected the color of `rejected`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected_by: Option<String>,
    /// Color that has passed the gates of `after`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved: Option<String>,
    /// Gates of the latest release, newest last: at most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<GateStatus>,
    /// Whether `spec.holds` holds the stage at a color.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub held: bool,
    /// Hold of `spec.holds` at a color that a later color has ended, by its color and time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_hold: Option<String>,
    /// Reason why the stage does not move although it should, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Status of the tiers that move on their own because needs are `compatible: Backward`, inner tiers first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["tier"]))]
    pub tiers: Vec<TierStatus>,
}

/// Status of a tier that moves on its own. The fields are those of a stage.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TierStatus {
    /// Name of the tier.
    pub tier: String,
    /// Name of the Service through which the stage's callers reach the tier.
    pub service: String,
    /// Color that serves the callers. During a shift, the color that the tier comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub color: Option<String>,
    /// Color that should serve the callers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Color that served the callers before `color`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// Time since when `color` serves the callers (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Shift that is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shift: Option<ShiftStatus>,
    /// Time since when the color that serves or that the tier moves to has not been healthy without a break (RFC 3339). Unset: the color is
    /// healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub degraded_since: Option<String>,
    /// Color that has not been healthy since `degradedSince`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub degraded_color: Option<String>,
    /// Color from which the tier was taken back because the color was unhealthy (`onStalled: RollBack`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected: Option<String>,
    /// Gate that has rejected the color of `rejected`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected_by: Option<String>,
    /// Reason why the tier does not move although it should, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl TierStatus {
    /// Returns the same as the status of a stage.
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
            rejected_by: self.rejected_by,
            message: self.message,
            ..StageStatus::default()
        }
    }

    /// Returns the status of a tier from the status of its address, which has the shape of a stage.
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
            rejected_by: stage.rejected_by,
            message: stage.message,
        }
    }
}

/// Shift that is under way.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShiftStatus {
    /// Color that the shift comes from.
    pub from: String,
    /// Color that the shift goes to.
    pub to: String,
    /// Phase of the shift.
    pub phase: ShiftPhase,
    /// Number of pods of the new color that serve, such as 3 in `3/5`.
    pub moved: i32,
    /// Number of pods that the stage wants to have, such as 5 in `3/5`.
    pub of: i32,
    /// Time at which the shift began (RFC 3339).
    pub started_at: String,
    /// Time at which the next step is due (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_step_at: Option<String>,
    /// Number of the step that is under way, from 1 on, where the shift has `steps`. One more than there are: all pods move.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<i32>,
    /// Number of steps that the shift has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<i32>,
    /// Time since when the shift waits at the step, where the step is a pause or a gate (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_since: Option<String>,
    /// Time since when the shift is held (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_since: Option<String>,
}

documented_enum! {
/// Phase of a shift.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
pub enum ShiftPhase {
    /// The new color is scaled to the stage's full size.
    Preparing,
    /// Pods are exchanged.
    Shifting,
    /// The shift is held by `paused`.
    Paused,
    /// The shift waits at a step, or for a gate.
    Waiting,
    /// All pods are exchanged. The Service selects the color again.
    Finishing,
}
}
