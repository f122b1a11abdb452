//! Gates: checks of a color before, during or after a stage's shift.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{HumanDuration, documented_enum, schema::any_object};

/// Check of a color. `stages[].gates` and `stages[].shift` say when a stage asks for it.
///
/// The fields that say how often it is measured and how the values are judged have the names of Argo Rollouts' AnalysisTemplate.
#[derive(Serialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "[has(self.template), has(self.prometheus), has(self.web), has(self.job), has(self.traffic), has(self.manual)].filter(set, set).size() == 1",
    "message": "gates[]: set exactly one of template, prometheus, web, job, traffic and manual"
}]))]
pub struct Gate {
    /// Name of the gate: a DNS label, unique within the Rainbow. `pods` is the name of the check that every stage has.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Gate of a `GateTemplate`, which the whole cluster shares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<TemplateUse>,
    /// Provider of the check, and the rules by which its values are judged.
    #[serde(flatten)]
    pub check: GateCheck,
}

/// Fields of a gate as they stand side by side. serde reports the place of an error only without `flatten`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GateFields {
    name: String,
    template: Option<TemplateUse>,
    prometheus: Option<PrometheusGate>,
    web: Option<WebGate>,
    job: Option<JobGate>,
    traffic: Option<TrafficGate>,
    manual: Option<ManualGate>,
    interval: Option<HumanDuration>,
    initial_delay: Option<HumanDuration>,
    count: Option<i32>,
    success_condition: Option<String>,
    failure_condition: Option<String>,
    failure_limit: Option<i32>,
    inconclusive_limit: Option<i32>,
    consecutive_error_limit: Option<i32>,
    #[serde(default)]
    on_no_data: OnNoData,
    #[serde(default)]
    dry_run: bool,
}

impl<'de> Deserialize<'de> for Gate {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = GateFields::deserialize(deserializer)?;
        let check = GateCheck {
            prometheus: read.prometheus,
            web: read.web,
            job: read.job,
            traffic: read.traffic,
            manual: read.manual,
            interval: read.interval,
            initial_delay: read.initial_delay,
            count: read.count,
            success_condition: read.success_condition,
            failure_condition: read.failure_condition,
            failure_limit: read.failure_limit,
            inconclusive_limit: read.inconclusive_limit,
            consecutive_error_limit: read.consecutive_error_limit,
            on_no_data: read.on_no_data,
            dry_run: read.dry_run,
        };
        Ok(Self { name: read.name, template: read.template, check })
    }
}

/// Provider of a check, and the rules by which its values are judged: the part that a gate of a Rainbow and a `GateTemplate` have in common.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GateCheck {
    /// Query of a Prometheus server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<PrometheusGate>,
    /// HTTP request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub web: Option<WebGate>,
    /// Job in the Rainbow's namespace. Its exit code decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobGate>,
    /// Requests that Rainbow sends to the color itself, whose failures and mixed replies are counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<TrafficGate>,
    /// Approval of a person: an `Approval`, as `rainbow approve` makes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manual: Option<ManualGate>,
    /// Time from one measurement to the next, such as `30s`. Default: `10s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<HumanDuration>,
    /// Time before the first measurement. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_delay: Option<HumanDuration>,
    /// Number of measurements after which the gate passes, if not too many of them failed. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub count: Option<i32>,
    /// CEL expression over `result` that is true where a measurement is good, such as `result[0] < 0.01`. Default: every value that the
    /// failure condition does not call bad. With neither, a value that is true, or a call that succeeds, is good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub success_condition: Option<String>,
    /// CEL expression over `result` that is true where a measurement is bad. A measurement that is neither good nor bad is inconclusive.
    /// Default: every value that the success condition does not call good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub failure_condition: Option<String>,
    /// Number of bad measurements that the gate bears. One more, and it fails. Default 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub failure_limit: Option<i32>,
    /// Number of inconclusive measurements that the gate bears. One more, and it is inconclusive: the stage waits for a person. Default 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub inconclusive_limit: Option<i32>,
    /// Number of errors in a row that the gate bears, such as a server that does not answer. One more, and it is inconclusive. Default 4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub consecutive_error_limit: Option<i32>,
    /// Meaning of an answer without a value, such as a query that finds no series: `Hold` (default), `Pass` or `Fail`.
    #[serde(default, skip_serializing_if = "OnNoData::is_hold")]
    pub on_no_data: OnNoData,
    /// Whether the gate is measured and reported, and decides nothing. Default false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

/// Use of a `GateTemplate`.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TemplateUse {
    /// Name of the `GateTemplate`.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Values of the template's arguments. They replace the template's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]), length(max = 32))]
    pub args: Vec<GateArgument>,
}

/// Argument of a template, which texts name as `{{args.NAME}}`.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GateArgument {
    /// Name of the argument.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-zA-Z]([-_a-zA-Z0-9]*[a-zA-Z0-9])?$"))]
    pub name: String,
    /// Value of the argument. A template's argument without a value must be given where the template is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub value: Option<String>,
    /// Source of the value, in the Rainbow's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from: Option<ValueSource>,
}

/// Source of a value in the Rainbow's namespace. Exactly one field is set.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.secretKeyRef) != has(self.configMapKeyRef)",
    "message": "set either secretKeyRef or configMapKeyRef"
}]))]
pub struct ValueSource {
    /// Key of a Secret. The operator needs the right to get the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<KeyRef>,
    /// Key of a ConfigMap. The operator needs the right to get the ConfigMap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_key_ref: Option<KeyRef>,
}

/// Key of an object.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyRef {
    /// Name of the object.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key in the object's data.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// Query of a Prometheus server. Its `result` is the list of the samples' values, newest last for a range.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PrometheusGate {
    /// Address of the server, such as `http://prometheus.monitoring:9090`.
    #[schemars(length(min = 1, max = 2048))]
    pub address: String,
    /// Query in PromQL. `{{color}}`, `{{stage}}`, `{{tier}}`, `{{service}}`, `{{namespace}}`, `{{since}}` (the time since the stage's change
    /// has reached its clients, such as `90s`) and `{{args.NAME}}` are replaced.
    #[schemars(length(min = 1, max = 8192))]
    pub query: String,
    /// Query of a range of time instead of the present. Default: the present.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<PrometheusRange>,
    /// Time in which the server must answer. Default `10s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<HumanDuration>,
    /// Credentials. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication: Option<GateAuthentication>,
    /// Settings of TLS. Default: the certificate is checked against the usual authorities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<GateTls>,
}

/// Range of time of a query.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PrometheusRange {
    /// Length of the range, which ends now, such as `5m`. Default: since the stage's change has reached its clients.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub duration: Option<HumanDuration>,
    /// Time from one value to the next. Default `15s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<HumanDuration>,
}

/// Credentials of a request. At most one of the two is set.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!(has(self.bearer) && has(self.basic))",
    "message": "set bearer or basic, not both"
}]))]
pub struct GateAuthentication {
    /// Token that is sent as `Authorization: Bearer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer: Option<ValueSource>,
    /// User name and password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic: Option<BasicAuthentication>,
}

/// User name and password of a request.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BasicAuthentication {
    /// User name.
    #[schemars(length(min = 1, max = 253))]
    pub username: String,
    /// Source of the password.
    pub password: ValueSource,
}

/// Settings of TLS.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GateTls {
    /// Certificates in PEM that may have signed the server's, in place of the usual authorities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<ValueSource>,
    /// Name that the server's certificate must have. Default: the host of the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub server_name: Option<String>,
}

/// HTTP request. Its `result` is the value at `jsonPath` in the answer, or the whole answer; `status` is the status code.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebGate {
    /// URL, in which the names of a Prometheus query are replaced as there.
    #[schemars(length(min = 1, max = 4096))]
    pub url: String,
    /// Method: `GET` (default), `POST` or `PUT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["GET", "POST", "PUT"]))]
    pub method: Option<String>,
    /// Headers of the request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]), length(max = 32))]
    pub headers: Vec<GateArgument>,
    /// Body of the request. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 65536))]
    pub body: Option<String>,
    /// Path to a value in an answer that is JSON, such as `{$.data.ok}`. Default: the whole answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub json_path: Option<String>,
    /// Time in which the server must answer. Default `10s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<HumanDuration>,
    /// Credentials. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication: Option<GateAuthentication>,
    /// Settings of TLS. Default: the certificate is checked against the usual authorities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<GateTls>,
}

/// Job in the Rainbow's namespace. Exit code 0 is good, every other is bad; a Job whose pod cannot start is an error.
///
/// The containers have the variables `ACTIVE` (address of the stage), `CANDIDATE` (address of the color's tier that the stage's clients
/// reach), `COLOR`, `STAGE`, and for each tier of the color one that is named as in `tiers[].needs`.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobGate {
    /// A `PodTemplateSpec`, kept as it was written. `restartPolicy` is `Never` where the template is silent.
    #[schemars(schema_with = "any_object")]
    pub template: Value,
    /// Number of times that a pod that failed is replaced. Default 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 16))]
    pub backoff_limit: Option<i32>,
    /// Time after which the Job is ended, and is an error. Default `10m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<HumanDuration>,
}

/// Requests that Rainbow sends to the color. Its `result` has the numbers `requests`, `failed` and `mixed`. Without conditions, a
/// measurement is good if nothing failed and nothing was mixed.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrafficGate {
    /// Number of requests of each measurement. Default 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub requests: Option<i32>,
    /// Requests that are under way at a time. Default 4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 64))]
    pub concurrency: Option<i32>,
    /// Path of the requests. Default `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub path: Option<String>,
    /// Name of the tier's port. Default: its first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 15))]
    pub port: Option<String>,
    /// Regular expression whose groups are the versions in a reply, such as `frontend:(\S+) - backend:(\S+)`. A reply whose groups differ is
    /// mixed, and one that does not match has failed. Default: every reply with a status below 400 is good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub pattern: Option<String>,
    /// Time in which a reply must come. Default `5s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<HumanDuration>,
}

/// Approval of a person. The gate passes when there is an `Approval` of the color, and no freeze window is open.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ManualGate {
    /// Sentence that says what is to be approved, for those who are asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
    /// Whether an `Approval` is needed where no freeze window is open. Default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<bool>,
    /// Windows of time in which the gate does not pass.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"), length(max = 32))]
    pub freeze: Vec<FreezeWindow>,
}

/// Window of time in which a gate does not pass.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FreezeWindow {
    /// Time at which the window opens, as a cron expression of five fields: `0 16 * * FRI`.
    #[schemars(length(min = 1, max = 128))]
    pub schedule: String,
    /// Time for which the window is open, such as `64h`.
    #[serde(rename = "for")]
    pub duration: HumanDuration,
    /// Time zone of the schedule, such as `Europe/Berlin`. Default `Etc/UTC`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: Option<String>,
    /// Reasons for which the gate passes all the same: an `Approval` whose reason begins with one of these texts, such as `incident`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"), length(max = 16), inner(length(min = 1, max = 128)))]
    pub except_for: Vec<String>,
}

/// Meaning of an answer without a value.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum OnNoData {
    /// The stage waits until there is a value, or a person decides.
    #[default]
    Hold,
    /// The measurement is good.
    Pass,
    /// The measurement is bad.
    Fail,
}

impl OnNoData {
    fn is_hold(&self) -> bool {
        *self == Self::Hold
    }
}

/// Gates of a stage, by their names.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StageGates {
    /// Gates that must pass before the stage begins to move. If one fails, the stage does not move.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"), length(max = 16), inner(length(min = 1, max = 63)))]
    pub before: Vec<String>,
    /// Gates that must pass between one step of a shift and the next. If one fails, the stage goes back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"), length(max = 16), inner(length(min = 1, max = 63)))]
    pub during: Vec<String>,
    /// Gates that are measured after the stage has moved, for the time of `for`. If one fails, the stage goes back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"), length(max = 16), inner(length(min = 1, max = 63)))]
    pub after: Vec<String>,
    /// Time for which the gates of `after` are measured, such as `10m`, if they have passed by then. The previous color keeps its pods for as
    /// long. Default: until each has passed.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub duration: Option<HumanDuration>,
    /// Check of the new color's pods while the stage moves and until the way back is let go. It needs no set-up.
    #[serde(default, skip_serializing_if = "PodsGate::is_default")]
    pub pods: PodsGate,
}

impl StageGates {
    /// Returns whether the stage has no gates, and checks the pods as it does by default.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Check of the pods of the color that a stage moves to. It fails when a pod was killed for its memory, when containers restart too often, or
/// when a pod that serves stays not ready for too long.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodsGate {
    /// Whether the check is off. Default false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
    /// Number of restarts of the color's containers that the check bears. Default 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub restarts: Option<i32>,
    /// Number of containers killed for their memory that the check bears. Default 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub oom_kills: Option<i32>,
    /// Time for which a pod that serves may be not ready. Default: it does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_ready: Option<HumanDuration>,
}

impl PodsGate {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the number of restarts that the check bears: 2 where the field is unset.
    pub fn restarts(&self) -> i32 {
        self.restarts.unwrap_or(2).max(0)
    }

    /// Returns the number of containers killed for their memory that the check bears: 0 where the field is unset.
    pub fn oom_kills(&self) -> i32 {
        self.oom_kills.unwrap_or(0).max(0)
    }
}

/// Name of the check of pods that every stage has.
pub const PODS_GATE: &str = "pods";

/// Gate that a user has skipped for a color.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SkippedGate {
    /// Name of the stage.
    #[schemars(length(min = 1, max = 63))]
    pub stage: String,
    /// Name of the gate.
    #[schemars(length(min = 1, max = 63))]
    pub gate: String,
    /// Color for which the gate is skipped. For another color it is asked for again.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub color: String,
    /// Reason why the gate is skipped.
    #[schemars(length(min = 1, max = 1024))]
    pub reason: String,
    /// User who skipped the gate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub by: Option<String>,
    /// Time at which the gate was skipped (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub at: Option<String>,
}

/// State of a gate for a color at a stage.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GateStatus {
    /// Name of the gate.
    pub name: String,
    /// Color that is checked.
    pub color: String,
    /// Moment of the release at which the gate is asked for.
    pub moment: GateMoment,
    /// Number of pods (`During`) or number of the step (`Step`) at that moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<i32>,
    /// Tier that has moved (`Between`), or whose address moves on its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// Outcome.
    pub verdict: GateVerdict,
    /// Whether the gate decides nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// Time since when measurements count: the stage's change had reached its clients (RFC 3339).
    pub since: String,
    /// Time of the verdict (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_at: Option<String>,
    /// Time since when the gate is no longer asked for (RFC 3339). Absent: it is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// Number of measurements, by outcome.
    #[serde(default)]
    pub counts: GateCounts,
    /// Latest measurements, newest last: at most 5.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub measurements: Vec<Measurement>,
    /// Reason of the verdict, or what the gate waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Number of measurements, by outcome.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GateCounts {
    /// Good measurements.
    pub passed: i32,
    /// Bad measurements.
    pub failed: i32,
    /// Measurements that were neither good nor bad.
    pub inconclusive: i32,
    /// Answers without a value.
    pub no_data: i32,
    /// Attempts without an answer.
    pub errors: i32,
    /// Attempts without an answer since the last one with an answer.
    pub consecutive_errors: i32,
}

/// One measurement of a gate.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Measurement {
    /// Time of the answer (RFC 3339).
    pub at: String,
    /// Outcome of the measurement.
    pub outcome: MeasurementOutcome,
    /// Value, shortened to 256 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Query or URL as it was sent, shortened to 1024 characters. Values from Secrets are left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// Reason where there is no value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

documented_enum! {
/// Outcome of one measurement.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema)]
pub enum MeasurementOutcome {
    /// The value is good.
    Passed,
    /// The value is bad.
    Failed,
    /// The value is neither good nor bad.
    Inconclusive,
    /// The answer has no value.
    NoData,
    /// There was no answer.
    Error,
}
}

documented_enum! {
/// Moment of a release at which a gate is asked for.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema)]
pub enum GateMoment {
    /// Before the stage begins to move.
    Before,
    /// Between two steps of the shift.
    During,
    /// At a step of the shift that names the gate.
    Step,
    /// Between two tiers of the release.
    Between,
    /// After the stage has moved.
    After,
    /// All the time while the stage moves, and until its way back is let go.
    Watch,
}
}

documented_enum! {
/// Outcome of a gate.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema)]
pub enum GateVerdict {
    /// The gate is being measured.
    Running,
    /// The gate has passed.
    Passed,
    /// The gate has failed: the stage does not move, or goes back.
    Failed,
    /// The gate can neither pass nor fail: the stage waits for a person.
    Inconclusive,
    /// The answers have no value: the stage waits for one, or for a person.
    NoData,
}
}
