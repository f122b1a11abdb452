//! Gates and steps as the planner is given them: the gates and steps of stages, and the outcomes of checks.

use std::{collections::BTreeSet, time::Duration};

use super::Time;

/// Check of a color at one moment of a stage's release. A gate that is asked for at another moment is another check.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Check {
    /// Stage, or address of an inner tier, that waits for the check.
    pub stage: String,
    /// Name of the gate.
    pub gate: String,
    /// Color that is checked.
    pub color: String,
    pub moment: Moment,
}

/// Moment of a stage's release at which a gate is asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Moment {
    /// Before the stage begins to move.
    Before,
    /// While this number of pods of the new color serve, before more do.
    During { moved: u32 },
    /// At the step of this index in [`Shift::Steps`](crate::Shift::Steps).
    Step { index: u32 },
    /// After the tier of this name has moved, before the tiers that call it follow.
    Between { tier: String },
    /// After the stage has moved.
    After,
    /// While the stage moves, and until its way back is let go. The stage does not wait for such a check.
    Watch,
}

/// Outcome of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckOutcome {
    /// The gate has passed.
    Passed,
    /// The gate has failed.
    Failed,
    /// The gate can neither pass nor fail: a person decides.
    Inconclusive,
    /// The answers have no value.
    NoData,
}

/// Gates of a stage, by name. Gates that decide nothing are in [`Gates::dry`], too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gates {
    /// Gates that must pass before the stage begins to move.
    pub before: Vec<String>,
    /// Gates that must pass between two steps.
    pub during: Vec<String>,
    /// Gates that must pass between two tiers of a release.
    pub between: Vec<String>,
    /// Gates that must pass after the stage has moved.
    pub after: Vec<String>,
    /// Time for which the gates of `after` are measured at least.
    pub watch: Duration,
    /// Gates that can take the stage back while it moves and until its way back is let go. The stage does not wait for them.
    pub guards: Vec<String>,
    /// Gates that are measured and decide nothing.
    pub dry: BTreeSet<String>,
    /// Gates that a user has skipped.
    pub skipped: BTreeSet<SkippedGate>,
}

impl Gates {
    /// Returns whether a user has skipped the gate for the color, or the gate decides nothing.
    pub(crate) fn is_skipped(&self, gate: &str, color: &str) -> bool {
        self.dry.contains(gate) || self.was_skipped(gate, color)
    }

    /// Returns whether a user has skipped the gate for the color.
    pub(crate) fn was_skipped(&self, gate: &str, color: &str) -> bool {
        self.skipped.iter().any(|skipped| skipped.gate == gate && skipped.color == color)
    }
}

/// Gate that a user has skipped for a color.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SkippedGate {
    pub gate: String,
    pub color: String,
}

/// Step of a shift.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// This number of pods of the new color serve.
    Pods(u32),
    /// This percentage of the stage's pods are of the new color, rounded up.
    Percent(u32),
    /// The stage waits.
    Pause {
        /// Time after which the stage goes on by itself. `None`: only a user lets it go on.
        after: Option<Duration>,
    },
    /// The gate of this name must pass.
    Gate(String),
}

/// Step that a user has let pass, of one shift.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PassedStep {
    /// Index of the step.
    pub index: u32,
    /// Color that the shift goes to.
    pub color: String,
    /// Time when the shift began.
    pub started: Time,
}

/// Place of a shift in its steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepMemory {
    /// Index of the step that is under way: the number of steps that are done.
    pub index: u32,
    /// Time since which the shift waits at this step, where the step is a pause or a gate.
    pub since: Option<Time>,
}

/// Color that a stage has been taken back from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    pub color: String,
    /// Gate that has failed. `None`: the color was unhealthy.
    pub gate: Option<String>,
}

/// Gate that has rejected a color.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedBy {
    /// Stage that asked for the gate.
    pub stage: String,
    pub gate: String,
}
