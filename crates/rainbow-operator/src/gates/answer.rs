//! One measurement of a gate: what is asked, and what was answered.

use kube::Client;
use rainbow_api::{GateArgument, GateCheck};
use rainbow_plan::{Check, Time};
use serde_json::Value;

use crate::{clock::Clock, count::CountVia};

/// Question of one measurement.
pub(crate) struct Question<'a> {
    pub(crate) client: &'a Client,
    pub(crate) clock: Clock,
    /// Way in which the operator reaches pods and Services.
    pub(crate) via: CountVia,
    pub(crate) check: &'a Check,
    pub(crate) gate: &'a GateCheck,
    pub(crate) place: &'a Place,
    /// Time since which the stage's change has reached its clients.
    pub(crate) since: Time,
    /// Number of measurements that the check has had before, so that an object that is made for each has a name of its own.
    pub(crate) number: u32,
}

/// Place of a check in the application.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Place {
    pub(crate) namespace: String,
    pub(crate) rainbow: String,
    pub(crate) rainbow_uid: String,
    /// Name of the stage, as users know it.
    pub(crate) stage: String,
    /// Tier that the stage, or the address, leads to in the checked color.
    pub(crate) tier: String,
    /// Name of the stage's Service.
    pub(crate) service: String,
    /// Name of the Service of the checked color's instance of `tier`. `None`: the tier has no ports.
    pub(crate) candidate: Option<String>,
    /// Ports of that Service: name, number, protocol.
    pub(crate) ports: Vec<(String, i32, String)>,
    /// Environment variable and address of each tier of the checked color, as its callers have them.
    pub(crate) tiers: Vec<(String, String)>,
    /// Arguments of the gate's template.
    pub(crate) args: Vec<GateArgument>,
}

/// Answer of one measurement, before it is judged.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    /// There is a value, which the gate's conditions judge.
    Value {
        /// `result` of the conditions.
        result: Value,
        /// Further names of the conditions, such as `status`.
        names: Vec<(&'static str, Value)>,
        /// Verdict where the gate has no conditions.
        is_good: bool,
        /// Query or URL as it was sent, without values from Secrets.
        query: Option<String>,
    },
    /// The question was answered, and there is no value.
    NoData { query: Option<String> },
    /// Nothing can be said yet, and that is no error: a Job runs, or nobody has approved.
    Pending { why: String },
    /// There was no answer.
    Error { why: String, query: Option<String> },
}
