//! Operators that act in a cluster, found by their leases.

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, api::ListParams};
use rainbow_operator::leader;
use serde::Serialize;

use crate::{context::Cluster, local};

/// Time in seconds for which a lease counts beyond its duration, because clocks differ.
const SLACK: i64 = 10;

/// Operator that acts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Operator {
    /// Version of the operator; absent where its lease does not give one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
    /// Identity that holds the lease.
    pub(crate) holder: String,
    /// Namespace of the lease.
    pub(crate) namespace: String,
}

impl Operator {
    /// Returns whether the operator runs in the process of a local cluster.
    pub(crate) fn is_local(&self) -> bool {
        self.holder == local::OPERATOR
    }
}

/// Returns the operators that act, and none where the user may not read leases.
pub(crate) async fn acting(cluster: &Cluster) -> Vec<Operator> {
    let named = ListParams::default().fields(&format!("metadata.name={}", leader::NAME));
    let leases = Api::<Lease>::all(cluster.client.clone()).list(&named).await;
    let now = Timestamp::now();
    leases.into_iter().flatten().filter_map(|lease| of_lease(&lease, now)).collect()
}

/// Returns the operator that holds a lease now.
fn of_lease(lease: &Lease, now: Timestamp) -> Option<Operator> {
    let spec = lease.spec.as_ref()?;
    let holder = spec.holder_identity.clone().filter(|holder| !holder.is_empty())?;
    let age = now.as_second() - spec.renew_time.as_ref()?.0.as_second();
    let lasts = i64::from(spec.lease_duration_seconds.unwrap_or_default());
    (age <= lasts.saturating_add(SLACK)).then(|| Operator {
        version: lease.metadata.annotations.as_ref().and_then(|all| all.get(leader::VERSION).cloned()),
        holder,
        namespace: lease.metadata.namespace.clone().unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_a_lease_that_is_held_counts() {
        let now: Timestamp = "2026-12-01T10:00:00Z".parse().unwrap();
        let found = |holder: &str, renewed: &str| {
            let lease: Lease = serde_json::from_value(json!({
                "metadata": { "name": "rainbow-operator", "namespace": "default", "annotations": { "rainbow.dev/version": "0.1.0" } },
                "spec": { "holderIdentity": holder, "leaseDurationSeconds": 12, "renewTime": renewed },
            }))
            .unwrap();
            of_lease(&lease, now)
        };
        let here = found("rainbow-local", "2026-12-01T09:59:50.000000Z").unwrap();
        assert!(here.is_local());
        assert_eq!(here.version.as_deref(), Some("0.1.0"));
        assert_eq!(found("", "2026-12-01T09:59:50.000000Z"), None, "given up");
        assert_eq!(found("rainbow-local", "2026-12-01T09:59:00.000000Z"), None, "gone");
    }
}
