//! Operators that have their lease in other namespaces and look after the same Rainbows: two installations of one cluster, or an
//! installation and an operator that was started manually.

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::{Api, Client, Error, ResourceExt, api::ListParams};
use std::{collections::HashMap, fmt};
use tokio::time::Instant;

use super::{
    Election, NAME,
    lease::{duration, holder, scope},
};

/// Operator that acts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rival {
    /// Name of the operator.
    pub holder: String,
    /// Namespace of its lease.
    pub namespace: String,
}

impl fmt::Display for Rival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`, which holds the lease {NAME} of the namespace {}", self.holder, self.namespace)
    }
}

/// Knowledge about the leases of other namespaces.
pub(super) struct RivalLeases {
    api: Api<Lease>,
    /// Namespace of the own lease.
    own: String,
    scope: Option<String>,
    seen: HashMap<String, ObservedLease>,
}

/// Lease of another operator.
struct ObservedLease {
    spec: Option<LeaseSpec>,
    since: Instant,
    /// Whether the lease has been renewed since it was first seen.
    renewed: bool,
}

/// Other operators that were found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Rivalry {
    Nobody,
    /// A lease that its operator may renew, or that an operator that is gone has left. A later look will tell.
    Perhaps,
    Alive(Rival),
}

impl RivalLeases {
    pub(super) fn new(client: &Client, election: &Election) -> Self {
        Self {
            api: Api::all(client.clone()),
            own: election.namespace.clone(),
            scope: election.scope.clone(),
            seen: HashMap::new(),
        }
    }

    pub(super) async fn look(&mut self) -> Rivalry {
        let named = ListParams::default().fields(&format!("metadata.name={NAME}"));
        match self.api.list(&named).await {
            Ok(leases) => self.judge(&leases.items),
            Err(Error::Api(status)) if status.is_forbidden() => {
                // The operator is one of one namespace, or an earlier version has installed it.
                tracing::debug!("leases of other namespaces may not be listed");
                Rivalry::Nobody
            }
            Err(error) => {
                tracing::warn!(%error, "leases of other namespaces cannot be listed");
                Rivalry::Perhaps
            }
        }
    }

    fn judge(&mut self, leases: &[Lease]) -> Rivalry {
        let now = Instant::now();
        let mut found = Rivalry::Nobody;
        let mut seen = HashMap::new();
        for lease in leases {
            let namespace = lease.namespace().unwrap_or_default();
            let Some(holder) = holder(lease).filter(|_| namespace != self.own && self.overlaps(lease)) else {
                continue;
            };
            let state = match self.seen.remove(&namespace) {
                Some(before) if before.spec == lease.spec => before,
                before => ObservedLease { spec: lease.spec.clone(), since: now, renewed: before.is_some() },
            };
            if now.duration_since(state.since) < duration(lease) {
                if state.renewed {
                    found = Rivalry::Alive(Rival { holder: holder.to_owned(), namespace: namespace.clone() });
                } else if found == Rivalry::Nobody {
                    found = Rivalry::Perhaps;
                }
            }
            seen.insert(namespace, state);
        }
        self.seen = seen;
        found
    }

    /// Returns whether the holder of a lease looks after a namespace that this operator looks after, too.
    fn overlaps(&self, lease: &Lease) -> bool {
        match (scope(lease), self.scope.as_deref()) {
            (Some(theirs), Some(own)) => theirs == own,
            (None, _) | (_, None) => true,
        }
    }
}
