//! Leader election: of several operators with the same scope, one acts.
//!
//! A `Lease` names the one that leads. As client-go does it, and for its reasons: every write carries the resource version
//! that was read, so that of two who try at the same time one fails; and how long a lease has not been renewed is measured
//! by the clock of the one who looks, from when it first saw that very renewal, so that no two clocks are ever compared.
//! Who cannot renew stops well before others may take over.

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{Api, Client, Error, api::PostParams};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

use crate::clock::{Clock, timestamp};

/// Name of the lease.
pub const NAME: &str = "rainbow-operator";

/// A leader that has not renewed for this long is gone. With `RETRY` and the time to list a cluster's objects, another one acts within
/// 20 s; client-go's default of 15 s leaves too little for the list.
const DURATION: Duration = Duration::from_secs(12);
/// A leader that could not renew for this long stops: 4 s before another one may begin, for requests that are still on their way.
const DEADLINE: Duration = Duration::from_secs(8);
/// How often a leader renews.
const RENEW: Duration = Duration::from_secs(3);
/// How often one looks that does not lead, and how soon a renewal that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Who stands for election, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Election {
    /// The namespace of the lease.
    pub namespace: String,
    /// Who this is. No two processes that live at the same time may have the same name; one that comes back under its old
    /// name, as a container of the same pod does, leads again at once.
    pub identity: String,
}

/// The lease as it was last seen, and since when it is so.
struct Seen {
    lease: Lease,
    since: Instant,
}

/// Stands for election, and leads when elected.
pub(crate) struct Candidate {
    api: Api<Lease>,
    identity: String,
    clock: Clock,
    seen: Option<Seen>,
}

impl Candidate {
    pub(crate) fn new(client: &Client, election: &Election, clock: Clock) -> Self {
        let api = Api::namespaced(client.clone(), &election.namespace);
        Self { api, identity: election.identity.clone(), clock, seen: None }
    }

    /// Waits until this one leads.
    pub(crate) async fn elected(&mut self) {
        let mut told = None;
        loop {
            match self.attempt().await {
                Ok(Turn::Mine) => return,
                Ok(Turn::Theirs(holder)) => {
                    if told.as_ref() != Some(&holder) {
                        tracing::info!(leader = holder, "another operator leads; this one waits");
                        told = Some(holder);
                    }
                }
                Err(error) => tracing::warn!(%error, "the lease cannot be had"),
            }
            sleep(RETRY).await;
        }
    }

    /// Goes on leading; returns when that is over. Whoever led stops then at once.
    pub(crate) async fn lost(&mut self) {
        loop {
            let renewed = self.seen.as_ref().map_or_else(Instant::now, |seen| seen.since);
            let left = DEADLINE.saturating_sub(renewed.elapsed());
            match timeout(left, self.attempt()).await {
                Ok(Ok(Turn::Mine)) => {
                    sleep(RENEW).await;
                    continue;
                }
                Ok(Ok(Turn::Theirs(holder))) => {
                    tracing::warn!(leader = holder, "another operator has taken over");
                    return;
                }
                Ok(Err(error)) => tracing::warn!(%error, "the lease cannot be renewed"),
                Err(_) => {
                    tracing::warn!("the lease could not be renewed for {DEADLINE:?}");
                    return;
                }
            }
            sleep(RETRY).await;
        }
    }

    /// Gives the lease up, so that the next one need not wait. What fails here costs the others a wait, and no more.
    pub(crate) async fn resign(&mut self) {
        let Some(seen) = self.seen.take() else { return };
        let mut lease = seen.lease;
        if holder(&lease) != Some(self.identity.as_str()) {
            return;
        }
        let spec = lease.spec.get_or_insert_default();
        spec.holder_identity = None;
        spec.lease_duration_seconds = Some(1);
        spec.renew_time = Some(MicroTime(timestamp(self.clock.now())));
        if let Err(error) = self.replace(&lease).await {
            tracing::debug!(%error, "the lease was not given up");
        }
    }

    /// One look at the lease and, where it may be had, one write.
    async fn attempt(&mut self) -> kube::Result<Turn> {
        // An own renewal counts from here: others may see it from now on.
        let begin = Instant::now();
        let Some(lease) = self.api.get_opt(NAME).await? else {
            let spec = self.spec(None);
            let metadata = ObjectMeta { name: Some(NAME.to_owned()), ..ObjectMeta::default() };
            let lease = Lease { metadata, spec: Some(spec) };
            return match self.api.create(&PostParams::default(), &lease).await {
                Ok(created) => Ok(self.mine(created, begin)),
                Err(error) => lost_race(error),
            };
        };
        let since = match &self.seen {
            Some(seen) if seen.lease.spec == lease.spec => seen.since,
            _ => Instant::now(),
        };
        self.seen = Some(Seen { lease: lease.clone(), since });
        let held = holder(&lease).filter(|holder| *holder != self.identity);
        if let Some(holder) = held
            && since.elapsed() < duration(&lease)
        {
            return Ok(Turn::Theirs(holder.to_owned()));
        }
        let mut next = lease;
        next.spec = Some(self.spec(next.spec.as_ref()));
        match self.replace(&next).await {
            Ok(replaced) => Ok(self.mine(replaced, begin)),
            Err(error) => lost_race(error),
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

    /// The lease as this one holds it.
    fn spec(&self, before: Option<&LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(timestamp(self.clock.now()));
        let mut spec = before.cloned().unwrap_or_default();
        if spec.holder_identity.as_deref() != Some(self.identity.as_str()) {
            spec.acquire_time = Some(now.clone());
            if before.is_some() {
                spec.lease_transitions = Some(spec.lease_transitions.unwrap_or(0).saturating_add(1));
            }
        }
        spec.holder_identity = Some(self.identity.clone());
        spec.lease_duration_seconds = i32::try_from(DURATION.as_secs()).ok();
        spec.renew_time = Some(now);
        spec
    }
}

/// Whose turn it is.
enum Turn {
    Mine,
    /// The leader's name.
    Theirs(String),
}

/// Somebody else was faster: who, is seen next time.
fn lost_race(error: Error) -> kube::Result<Turn> {
    match error {
        Error::Api(status) if status.code == 409 => Ok(Turn::Theirs("another one".to_owned())),
        other => Err(other),
    }
}

fn holder(lease: &Lease) -> Option<&str> {
    lease.spec.as_ref()?.holder_identity.as_deref().filter(|holder| !holder.is_empty())
}

/// How long the leader asked for, so that those of other versions agree.
fn duration(lease: &Lease) -> Duration {
    let asked = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds);
    asked.and_then(|seconds| u64::try_from(seconds).ok()).map_or(DURATION, Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Cluster {
        api: pocket_api::Api,
        clock: Clock,
    }

    impl Cluster {
        fn new() -> Self {
            Self { api: pocket_api::Api::new(pocket_api::Options::default()).unwrap(), clock: Clock::tokio() }
        }

        fn candidate(&self, identity: &str) -> Candidate {
            let election = Election { namespace: "default".into(), identity: identity.into() };
            Candidate::new(&self.api.client("default"), &election, self.clock)
        }

        async fn lease(&self) -> LeaseSpec {
            let api: Api<Lease> = Api::namespaced(self.api.client("default"), "default");
            api.get(NAME).await.unwrap().spec.unwrap()
        }

        async fn leader(&self) -> Option<String> {
            self.lease().await.holder_identity
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_leads_and_the_next_takes_over_when_it_is_gone() {
        let cluster = Cluster::new();
        let (mut a, mut b) = (cluster.candidate("a"), cluster.candidate("b"));
        a.elected().await;
        assert_eq!(cluster.leader().await.as_deref(), Some("a"));
        // It renews, so nobody else gets the lease.
        tokio::select! {
            () = a.lost() => panic!("a renews"),
            () = b.elected() => panic!("a leads"),
            () = sleep(Duration::from_secs(120)) => {}
        }
        // It dies without a word.
        drop(a);
        let died = Instant::now();
        b.elected().await;
        assert!(died.elapsed() >= DEADLINE, "after {:?} a may still have led", died.elapsed());
        let lease = cluster.lease().await;
        assert_eq!((lease.holder_identity.as_deref(), lease.lease_transitions), (Some("b"), Some(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn who_resigns_or_comes_back_costs_no_wait() {
        let cluster = Cluster::new();
        let mut a = cluster.candidate("a");
        a.elected().await;
        drop(a);
        let begin = Instant::now();
        let mut a = cluster.candidate("a");
        a.elected().await;
        assert!(begin.elapsed() < RETRY, "the same pod's next container waited {:?}", begin.elapsed());
        a.resign().await;
        let mut b = cluster.candidate("b");
        b.elected().await;
        assert!(begin.elapsed() < RETRY, "{:?}", begin.elapsed());
        a.resign().await;
        assert_eq!(cluster.leader().await.as_deref(), Some("b"), "what one does not have one does not give up");
    }

    #[tokio::test(start_paused = true)]
    async fn of_two_at_the_same_time_one_is_elected() {
        let cluster = Cluster::new();
        let (mut a, mut b) = (cluster.candidate("a"), cluster.candidate("b"));
        // Both have read the same lease before either writes.
        let (first, second) = tokio::join!(a.attempt(), b.attempt());
        let mine = [first.unwrap(), second.unwrap()].into_iter().filter(|turn| matches!(turn, Turn::Mine)).count();
        assert_eq!(mine, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_was_deposed_stops() {
        let cluster = Cluster::new();
        let (mut a, mut b) = (cluster.candidate("a"), cluster.candidate("b"));
        a.elected().await;
        // As long as a process that is stopped does: it neither renews nor notices.
        b.elected().await;
        a.lost().await;
        assert_eq!(cluster.leader().await.as_deref(), Some("b"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_cannot_renew_stops_before_others_begin() {
        let cluster = Cluster::new();
        let mut a = cluster.candidate("a");
        a.elected().await;
        // An API server that never answers from now on.
        let silent = tower::service_fn(|_: http::Request<kube::client::Body>| {
            std::future::pending::<Result<http::Response<kube::client::Body>, std::convert::Infallible>>()
        });
        a.api = Api::namespaced(Client::new(silent, "default"), "default");
        let begin = Instant::now();
        a.lost().await;
        assert!(begin.elapsed() < DURATION, "{:?}", begin.elapsed());
    }
}
