//! Conditions of a `Rainbow` and a `Color`: their types and their reasons.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use std::fmt;

use crate::documented_enum;

documented_enum! {
/// Type of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConditionType {
    /// Of a Rainbow: everything is as the spec says. Of a color: all wanted pods are ready.
    Ready,
    /// Of a Rainbow: a change is under way.
    Reconciling,
    /// Nothing continues by itself: the user must act, or the API server refuses a write.
    Stalled,
    /// Of a color that drains: the connections of some pods cannot be read, so these pods are kept.
    ConnectionsUnknown,
    /// Of a color that drains: one peer is connected to every pod that holds the color.
    HeldByOnePeer,
}
}

impl ConditionType {
    /// Returns the condition of this type, if the status has one.
    pub fn find(self, conditions: &[Condition]) -> Option<&Condition> {
        conditions.iter().find(|condition| condition.type_ == self.as_str())
    }

    /// Returns the condition of this type, if the status has one and it is `True`.
    pub fn find_true(self, conditions: &[Condition]) -> Option<&Condition> {
        self.find(conditions).filter(|condition| condition.status == "True")
    }
}

impl fmt::Display for ConditionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

documented_enum! {
/// Machine-readable reason of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// Nothing is under way.
    Settled,
    /// Nothing is stalled.
    NothingInTheWay,
    /// A stage moves from one color to another.
    Shifting,
    /// Not all pods of a color are ready yet.
    Starting,
    /// A stage serves no color yet.
    Waiting,
    /// Colors are scaled to their sizes.
    Progressing,
    /// A color that a stage serves lacks pods.
    Degraded,
    /// A stage is held in the middle of a shift.
    Paused,
    /// A stage waits for a gate.
    Checking,
    /// A stage was taken back from the color that the spec wants it to serve.
    RolledBack,
    /// The spec is not valid.
    InvalidSpec,
    /// A ConfigMap or a Secret that a template names does not exist.
    ConfigMissing,
    /// The operator has no right to read a kind of object that a template names.
    ConfigNotAllowed,
    /// A copy of a ConfigMap or a Secret is gone, and the object has changed since it was copied.
    ConfigLost,
    /// The API server refuses a write.
    Rejected,
    /// The API server has failed to carry out a write several times in a row.
    Unavailable,
    /// Other tiers already have the color's name.
    ColorInUse,
    /// A stage is set to a color that does not exist.
    UnknownColor,
    /// A needed name belongs to an object that is not Rainbow's.
    Conflict,
    /// A color was not ready within the progress deadline.
    ProgressDeadlineExceeded,
    /// A color cannot be retired, because a stage points at it.
    InUse,
    /// A color waits, because `spec.keep.live` colors live already.
    TooManyColors,
    /// No node can pull the image of Rainbow's connection counter.
    CounterImageUnavailable,
    /// Of a color: all pods are ready, and no stage points at it yet.
    Ready,
    /// Of a color: a stage points at it.
    Serving,
    /// Of a color: no stage points at it, and it is kept until its connections have ended.
    Draining,
    /// Of a color: it has no pods.
    Retired,
    /// Of a color: it was not ready within the progress deadline.
    Stalled,
    /// Of a color that drains: some pods do not say how many connections they have.
    NoAnswer,
    /// Of a color that drains: the connections of all pods are known.
    Counted,
    /// Of a color that drains: one peer is connected to every pod that holds the color.
    OnePeer,
}
}

impl Reason {
    /// Returns the reason of a condition. `None`: this version does not know the reason.
    pub fn of(condition: &Condition) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == condition.reason)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<crate::ColorPhase> for Reason {
    fn from(phase: crate::ColorPhase) -> Self {
        use crate::ColorPhase as Phase;
        match phase {
            Phase::Starting => Self::Starting,
            Phase::Ready => Self::Ready,
            Phase::Serving => Self::Serving,
            Phase::Draining => Self::Draining,
            Phase::Retired => Self::Retired,
            Phase::Stalled => Self::Stalled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn condition(type_: ConditionType, status: &str, reason: &str) -> Condition {
        serde_json::from_value(serde_json::json!({
            "type": type_.as_str(), "status": status, "reason": reason, "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }))
        .unwrap()
    }

    /// The API server refuses a condition whose reason does not have this form.
    #[test]
    fn reasons_are_in_camel_case_and_differ() {
        let all: BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(all.len(), Reason::ALL.len());
        for reason in all {
            assert!(reason.starts_with(|c: char| c.is_ascii_uppercase()), "{reason}");
            assert!(reason.bytes().all(|byte| byte.is_ascii_alphabetic()), "{reason}");
        }
    }

    #[test]
    fn a_reason_is_read_back() {
        for reason in Reason::ALL {
            assert_eq!(Reason::of(&condition(ConditionType::Ready, "True", reason.as_str())), Some(reason));
        }
        assert_eq!(Reason::of(&condition(ConditionType::Ready, "True", "OfALaterVersion")), None);
    }

    #[test]
    fn a_condition_is_found_by_its_type() {
        for type_ in ConditionType::ALL {
            let conditions = [condition(ConditionType::Ready, "True", "Settled"), condition(type_, "False", "Settled")];
            assert_eq!(type_.find(&conditions).map(|found| found.type_.as_str()), Some(type_.as_str()));
            assert_eq!(type_.find_true(&conditions).is_some(), type_ == ConditionType::Ready);
        }
    }
}
