//! The lease of an operator: looked at, taken, renewed and given up.

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{Api, Client, Error, api::PostParams};
use std::time::Duration;
use tokio::time::{Instant, timeout};

use super::{Election, NAME, VERSION};
use crate::clock::{Clock, timestamp};

/// The annotation of a lease that names the only namespace its operator looks at.
const NAMESPACE: &str = "rainbow.dev/namespace";
/// Longest time for giving a lease up: an operator that is told to end does not wait for an API server that does not answer.
const RESIGN: Duration = Duration::from_secs(2);

/// The lease that one operator takes.
pub(super) struct Own {
    api: Api<Lease>,
    identity: String,
    /// The only namespace that the operator looks at.
    namespace: Option<String>,
    /// How long it may go without a renewal.
    duration: Duration,
    clock: Clock,
    seen: Option<Seen>,
}

/// The lease as it was last seen, and since when it is so.
struct Seen {
    lease: Lease,
    since: Instant,
}

/// Whose turn it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Mine,
    /// That of another operator, by its name.
    Theirs {
        holder: String,
        /// It has renewed the lease since this one looked first.
        renewed: bool,
    },
    /// That of somebody who was faster: who, is seen next time.
    Raced,
}

impl Own {
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

    /// Another API server.
    #[cfg(test)]
    pub(super) fn serve_by(&mut self, client: Client) {
        self.api = Api::default_namespaced(client);
    }

    /// Time since the last renewal that is known.
    pub(super) fn age(&self) -> Duration {
        self.seen.as_ref().map_or(Duration::ZERO, |seen| seen.since.elapsed())
    }

    /// One look at the lease and, where it may be had, one write.
    pub(super) async fn attempt(&mut self) -> kube::Result<Turn> {
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
        self.seen = Some(Seen { lease: lease.clone(), since });
        let held = holder(&lease).filter(|holder| *holder != self.identity);
        if let Some(holder) = held
            && since.elapsed() < duration(&lease)
        {
            return Ok(Turn::Theirs { holder: holder.to_owned(), renewed });
        }
        let mut next = lease;
        self.fill(&mut next);
        match self.replace(&next).await {
            Ok(replaced) => Ok(self.mine(replaced, begin)),
            Err(error) => lost_race(error),
        }
    }

    /// Gives the lease up, so that the next one need not wait. What fails here costs the others a wait, and no more.
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
        // With the version that was read: the API server refuses it if anybody was faster.
        self.api.replace(NAME, &PostParams::default(), lease).await
    }

    fn mine(&mut self, lease: Lease, since: Instant) -> Turn {
        self.seen = Some(Seen { lease, since });
        Turn::Mine
    }

    /// Makes a lease this one's, from now.
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

fn lost_race(error: Error) -> kube::Result<Turn> {
    match error {
        Error::Api(status) if status.code == 409 => Ok(Turn::Raced),
        other => Err(other),
    }
}

/// The operator that has a lease.
pub(super) fn holder(lease: &Lease) -> Option<&str> {
    lease.spec.as_ref()?.holder_identity.as_deref().filter(|holder| !holder.is_empty())
}

/// How long the holder asked for, so that those of other versions agree. One that says nothing is taken for gone after the longest.
pub(super) fn duration(lease: &Lease) -> Duration {
    let asked = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds);
    asked.and_then(|seconds| u64::try_from(seconds).ok()).map_or(super::DURATION, Duration::from_secs)
}

/// The only namespace that the holder of a lease looks at; `None`: all.
pub(super) fn scope(lease: &Lease) -> Option<&str> {
    lease.metadata.annotations.as_ref()?.get(NAMESPACE).map(String::as_str)
}
