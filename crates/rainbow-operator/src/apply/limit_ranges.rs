//! Limit ranges of a namespace, which the counters of a new color must fit. The API server refuses a pod with a container that does not
//! fit.

use k8s_openapi::api::core::v1::LimitRange;
use kube::{Api, Error, api::ListParams};
use serde_json::{Value, json};

use super::{Failure, Site, classify};
use crate::{kind::Kind, manifests};

/// Fits the counters that a color records for its own instances to the limit ranges. Without the right to list limit ranges the counters
/// stay as they are.
pub(super) async fn fit(site: &Site<'_>, name: &str, color: &Value) -> Result<Value, Failure> {
    let mut color = color.clone();
    let of_color = color["spec"]["color"].clone();
    let instances = color["spec"]["instances"].as_array_mut().into_iter().flatten();
    let own =
        instances.filter(|instance| instance["color"] == of_color && instance["sidecar"]["container"].is_object());
    let mut own: Vec<&mut Value> = own.collect();
    if own.is_empty() {
        return Ok(color);
    }
    let api = Api::<LimitRange>::namespaced(site.client.clone(), &site.key.namespace);
    let ranges = match api.list(&ListParams::default().match_any()).await {
        Ok(ranges) => ranges.items,
        Err(Error::Api(status)) if [401, 403, 404].contains(&status.code) => {
            tracing::debug!(app = %site.key, "limit ranges may not be listed: the counter has its usual resources");
            return Ok(color);
        }
        Err(error) => return Err(classify(Kind::Color, name, error)),
    };
    let limits: Vec<Value> = ranges
        .into_iter()
        .filter_map(|range| range.spec)
        .flat_map(|spec| spec.limits)
        .map(|item| json!(item))
        .collect();
    for instance in &mut own {
        manifests::fit(&mut instance["sidecar"]["container"]["resources"], &limits);
    }
    Ok(color)
}
