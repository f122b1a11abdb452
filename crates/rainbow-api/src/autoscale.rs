//! Writers that decide how many pods a tier has.

use k8s_openapi::api::autoscaling::v2::{HorizontalPodAutoscalerBehavior, MetricSpec};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_path_to_error::Segment;

/// Writer that decides how many pods a tier has.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum Scaling {
    /// Rainbow decides, by `replicas`. A Deployment that another writer scales is scaled back.
    #[default]
    Rainbow,
    /// Another controller or a person decides, by the scale of each instance's Deployment. `replicas` is the number of pods that a color
    /// starts with where no color serves.
    External,
}

impl Scaling {
    pub(crate) fn is_rainbow(&self) -> bool {
        *self == Self::Rainbow
    }
}

/// HorizontalPodAutoscaler of each instance of a tier, with the fields of `autoscaling/v2`.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!has(self.minReplicas) || self.minReplicas <= self.maxReplicas",
    "message": "autoscale.minReplicas: more than maxReplicas"
}]))]
pub struct Autoscale {
    /// Lower limit for the number of pods. Default 1. While a stage moves, the lower limit of the autoscaler that Rainbow makes is at least
    /// what the stage needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub min_replicas: Option<i32>,
    /// Upper limit for the number of pods.
    #[schemars(range(min = 1))]
    pub max_replicas: i32,
    /// Metrics, as in a HorizontalPodAutoscaler. Default: the default of Kubernetes, 80 % of the CPU that pods request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "metrics")]
    pub metrics: Vec<Value>,
    /// Pace of scaling, as in a HorizontalPodAutoscaler. Default: the default of Kubernetes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::any_object")]
    pub behavior: Option<Value>,
}

fn metrics(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "array",
        "x-kubernetes-list-type": "atomic",
        "maxItems": 32,
        "items": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
    })
}

impl Autoscale {
    /// Returns the lower limit: `min_replicas`, or 1.
    pub fn least(&self) -> i32 {
        self.min_replicas.unwrap_or(1)
    }

    /// Finding: the field, and a sentence.
    pub(crate) fn errors(&self) -> Vec<(String, String)> {
        let mut errors = Vec::new();
        if self.least() < 1 {
            errors.push((".minReplicas".to_owned(), format!("{} is too few: use 1 or more", self.least())));
        }
        if self.max_replicas < self.least() {
            let message = format!("{} is less than minReplicas, which is {}", self.max_replicas, self.least());
            errors.push((".maxReplicas".to_owned(), format!("{message}: use as many or more")));
        }
        let misfit = "does not fit: write it as in a HorizontalPodAutoscaler of autoscaling/v2";
        let metrics = Value::Array(self.metrics.clone());
        let behavior = self.behavior.clone().unwrap_or_else(|| Value::Object(serde_json::Map::new()));
        let places = [
            misfits::<Vec<MetricSpec>>(&metrics).map(|place| format!(".metrics{place}")),
            misfits::<HorizontalPodAutoscalerBehavior>(&behavior).map(|place| format!(".behavior{place}")),
        ];
        errors.extend(places.into_iter().flatten().map(|place| (place, misfit.to_owned())));
        errors
    }
}

/// Place of the first value that is none of the type, as the rest of a path.
fn misfits<T: serde::de::DeserializeOwned>(value: &Value) -> Option<String> {
    let error = serde_path_to_error::deserialize::<_, T>(value).err()?;
    let steps = error.path().iter().map(|segment| match segment {
        Segment::Seq { index } => format!("[{index}]"),
        Segment::Map { key } => format!(".{key}"),
        Segment::Enum { .. } | Segment::Unknown => String::new(),
    });
    Some(steps.collect())
}

/// Policy of a tier about its size, as a color remembers it.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TierScaling {
    /// Writer that decides how many pods the tier has.
    #[serde(default, skip_serializing_if = "Scaling::is_rainbow")]
    pub scaling: Scaling,
    /// Autoscaler of each instance. Unset: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscale: Option<Autoscale>,
}
