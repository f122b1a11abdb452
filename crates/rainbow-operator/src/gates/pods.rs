//! Gate `pods`: what the watch shows of a color's pods.

use rainbow_api::PodsGate;
use rainbow_plan::{Check, InstanceName, Time};
use serde_json::{Value, json};

use crate::cache::App;

/// Verdict on the pods of a color.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PodsVerdict {
    /// Limit that is exceeded, in words.
    pub(crate) failure: Option<String>,
    /// Time at which a pod will have been not ready for too long.
    pub(crate) next: Option<Time>,
}

impl PodsVerdict {
    /// Returns the counts, as the value of a measurement.
    pub(crate) fn result(&self) -> Value {
        json!({})
    }
}

pub(crate) fn judge(
    _app: &App,
    _check: &Check,
    _gate: &PodsGate,
    _instances: &[InstanceName],
    _since: Time,
    _now: Time,
) -> PodsVerdict {
    PodsVerdict::default()
}
