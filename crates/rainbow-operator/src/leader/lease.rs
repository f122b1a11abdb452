//! Lease of an operator: looked at, taken, renewed and given up.

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{Api, Client, Error, api::PostParams};
use std::time::Duration;
use tokio::time::{Instant, timeout};

use super::{Election, NAME, VERSION};
use crate::clock::{Clock, timestamp};

/// Annotation of a lease that names the only namespace that its operator looks at.
const NAMESPACE: &str = "rainbow.dev/namespace";
/// Longest time for giving up a lease: an operator that is asked to end does not wait for an API server that does not answer.
const RESIGN: Duration = Duration::from_secs(2);

/// Lease that one operator takes.
pub(super) struct OwnLease {
    api: Api<Lease>,
    identity: String,
    /// Only namespace that the operator looks at.
    namespace: Option<String>,
    /// Time that the lease may go without a renewal.
    duration: Duration,
    clock: Clock,
    seen: Option<ObservedLease>,
}

/// Lease as it was last seen, and since when it has been so.
struct ObservedLease {
    lease: Lease,
    since: Instant,
}

/// Operator whose turn it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    Mine,
    /// Another operator, by its name.
    Theirs {
        holder: String,
        /// Whether the operator has renewed the lease since this one looked first.
        renewed: bool,
    },
    /// An operator that was faster. The next look shows its name.
    Raced,
}

impl OwnLease {
    pub(super) fn new(client: &Client, election: &Election, duration: Duration, clock: Clock) -> Self {
        Self {
            api: Api::namespaced(client.clone(), &election.namespace),
            identity: election.identity.clone(),
            namespace: election.scope.clone(),
            duration,
            clock,
            seen: None,
        }
    }

    /// Connects to another API server.
    #[cfg(test)]
    pub(super) fn serve_by(&mut self, client: Client) {
        self.api = Api::default_namespaced(client);
    }

    /// Returns the time since the last known renewal.
    pub(super) fn age(&self) -> Duration {
        self.seen.as_ref().map_or(Duration::ZERO, |seen| seen.since.elapsed())
    }

    /// Looks at the lease once and, where it may be taken, writes once.
    pub(super) async fn attempt(&mut self) -> kube::Result<Holder> {
        // An own renewal counts from here: others may see it from now on.
        let begin = Instant::now();
        let Some(lease) = self.api.get_opt(NAME).await? else {
            let mut lease = Lease {
                metadata: ObjectMeta { name: Some(NAME.to_owned()), ..ObjectMeta::default() },
                ..Lease::default()
            };
            self.fill(&mut lease);
            return match self.api.create(&PostParams::default(), &lease).await {
                Ok(created) => Ok(self.mine(created, begin)),
                Err(error) => lost_race(error),
            };
        };
        let (since, renewed) = match &self.seen {
            Some(seen) if seen.lease.spec == lease.spec => (seen.since, false),
            Some(seen) => (begin, holder(&seen.lease) == holder(&lease)),
            None => (begin, false),
        };
        self.seen = Some(ObservedLease { lease: lease.clone(), since });
        let held = holder(&lease).filter(|holder| *holder != self.identity);
        if let Some(holder) = held
            && since.elapsed() < duration(&lease)
        {
            return Ok(Holder::Theirs { holder: holder.to_owned(), renewed });
        }
        let mut next = lease;
        self.fill(&mut next);
        match self.replace(&next).await {
            Ok(replaced) => Ok(self.mine(replaced, begin)),
            Err(error) => lost_race(error),
        }
    }

    /// Gives up the lease, so that the next operator need not wait. A failure here only costs the others a wait.
    pub(super) async fn resign(&mut self) {
        let Some(seen) = self.seen.take() else { return };
        let mut lease = seen.lease;
        if holder(&lease) != Some(self.identity.as_str()) {
            return;
        }
        let spec = lease.spec.get_or_insert_default();
        spec.holder_identity = None;
        spec.lease_duration_seconds = Some(1);
        spec.renew_time = Some(MicroTime(timestamp(self.clock.now())));
        match timeout(RESIGN, self.replace(&lease)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the lease was not given up"),
            Err(_) => tracing::debug!("the lease was not given up in {RESIGN:?}"),
        }
    }

    async fn replace(&self, lease: &Lease) -> kube::Result<Lease> {
        // The lease carries the version that was read. The API server refuses it if another operator was faster.
        self.api.replace(NAME, &PostParams::default(), lease).await
    }

    fn mine(&mut self, lease: Lease, since: Instant) -> Holder {
        self.seen = Some(ObservedLease { lease, since });
        Holder::Mine
    }

    /// Makes a lease this operator's, from now.
    fn fill(&self, lease: &mut Lease) {
        let annotations = lease.metadata.annotations.get_or_insert_default();
        annotations.insert(VERSION.to_owned(), env!("CARGO_PKG_VERSION").to_owned());
        match &self.namespace {
            Some(namespace) => annotations.insert(NAMESPACE.to_owned(), namespace.clone()),
            None => annotations.remove(NAMESPACE),
        };
        let now = MicroTime(timestamp(self.clock.now()));
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() != Some(self.identity.as_str()) {
            let is_first = *spec == LeaseSpec::default();
            spec.acquire_time = Some(now.clone());
            if !is_first {
                spec.lease_transitions = Some(spec.lease_transitions.unwrap_or(0).saturating_add(1));
            }
        }
        spec.holder_identity = Some(self.identity.clone());
        spec.lease_duration_seconds = i32::try_from(self.duration.as_secs()).ok();
        spec.renew_time = Some(now);
    }
}

fn lost_race(error: Error) -> kube::Result<Holder> {
    match error {
        Error::Api(status) if status.code == 409 => Ok(Holder::Raced),
        other => Err(other),
    }
}

/// Returns the operator that holds a lease.
pub(super) fn holder(lease: &Lease) -> Option<&str> {
    lease.spec.as_ref()?.holder_identity.as_deref().filter(|holder| !holder.is_empty())
}

/// Returns the duration that the holder asked for, so that operators of different versions agree. A holder that says nothing is gone after
/// the longest one.
pub(super) fn duration(lease: &Lease) -> Duration {
    let asked = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds);
    asked.and_then(|seconds| u64::try_from(seconds).ok()).map_or(super::DURATION, Duration::from_secs)
}

/// Returns the only namespace that the holder of a lease looks at. `None`: all.
pub(super) fn scope(lease: &Lease) -> Option<&str> {
    lease.metadata.annotations.as_ref()?.get(NAMESPACE).map(String::as_str)
}
