//! `Approval` resource: a person lets a color pass a gate. `GateTemplate` resource: a gate that the whole cluster shares.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{GateArgument, GateCheck};

/// Approval of a color at a manual gate. RBAC grants the right to create approvals apart from the right to edit a Rainbow.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[kube(
    group = "rainbow.dev",
    version = "v1alpha1",
    doc = "Approval of a color at a manual gate.",
    kind = "Approval",
    plural = "approvals",
    namespaced,
    printcolumn = r#"{"name":"Rainbow","type":"string","jsonPath":".spec.rainbow"}"#,
    printcolumn = r#"{"name":"Color","type":"string","jsonPath":".spec.color"}"#,
    printcolumn = r#"{"name":"Gate","type":"string","jsonPath":".spec.gate"}"#,
    printcolumn = r#"{"name":"By","type":"string","jsonPath":".spec.by"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".spec.reason"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "self == oldSelf",
    "message": "spec: an approval does not change; delete it and make another one"
}]))]
pub struct ApprovalSpec {
    /// Name of the Rainbow.
    #[schemars(length(min = 1, max = 63))]
    pub rainbow: String,
    /// Color that is approved.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub color: String,
    /// Stage for which the color is approved. Default: every stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub stage: Option<String>,
    /// Gate at which the color is approved. Default: every manual gate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub gate: Option<String>,
    /// User who approves. The admission policy of `rainbow install` refuses every other name than that of the user who writes.
    #[schemars(length(min = 1, max = 253))]
    pub by: String,
    /// Reason of the approval, which freeze windows may ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub reason: Option<String>,
    /// Time until which the approval counts (RFC 3339). Default: as long as it exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub until: Option<String>,
}

/// Gate that Rainbows of all namespaces use by its name.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "rainbow.dev",
    version = "v1alpha1",
    doc = "Gate that Rainbows of all namespaces use by its name.",
    kind = "GateTemplate",
    plural = "gatetemplates",
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "[has(self.prometheus), has(self.web), has(self.job), has(self.traffic), has(self.manual)].filter(set, set).size() == 1",
    "message": "spec: set exactly one of prometheus, web, job, traffic and manual"
}]))]
pub struct GateTemplateSpec {
    /// Arguments of the template, which texts name as `{{args.NAME}}`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]), length(max = 32))]
    pub args: Vec<GateArgument>,
    /// Provider of the check, and the rules by which its values are judged.
    #[serde(flatten)]
    pub check: GateCheck,
}
