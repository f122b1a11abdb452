//! Leader election: of several operators that look after the same namespaces, one acts.
//!
//! A `Lease` names the one that leads, as in client-go and for its reasons. Every write carries the resource version that was read, so that
//! of two concurrent attempts one fails. The age of a lease is measured by the observer's clock, from when the observer first saw exactly
//! that renewal, so that no two clocks are ever compared. A leader that cannot renew stops well before others may take over.
//!
//! An operator that does not wait for its turn has a lease as well, so that others see it: a second one ends with a sentence, and one that
//! was installed beside it waits. Leases of other namespaces are read, too.

mod lease;
mod rivals;

use kube::{Client, Error};
use std::time::Duration;
use tokio::time::{sleep, timeout};

pub use rivals::Rival;

use crate::clock::Clock;
use lease::{Holder, OwnLease};
use rivals::{RivalLeases, Rivalry};

/// Name of the lease.
pub const NAME: &str = "rainbow-operator";
/// Annotation of the lease with the version of the operator that holds it.
pub const VERSION: &str = "rainbow.dev/version";

/// Time without a renewal after which a leader is gone. With `RETRY` and the time to list a cluster's objects, another operator acts within
/// 20 s. client-go's default of 15 s leaves too little for the list.
const DURATION: Duration = Duration::from_secs(12);
/// Time without a renewal after which a leader stops: 4 s before another one may begin, for requests that are still on their way.
const DEADLINE: Duration = Duration::from_secs(8);
/// Interval of a leader's renewals.
const RENEW: Duration = Duration::from_secs(3);
/// Interval at which a waiting operator looks, and time after which a failed renewal is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Time without a renewal after which an operator that does not wait for its turn is gone: shorter, since one that was killed and is
/// started again manually waits for it.
const DURATION_OF_ONE: Duration = Duration::from_secs(5);
/// Interval of the renewals of such an operator.
const RENEW_OF_ONE: Duration = Duration::from_secs(2);

/// Answers that will not change: no rights, or no such namespace.
const NO_LEASE: [u16; 3] = [401, 403, 404];
/// Time by which an operator that gave way waits longer than the other one.
const GIVE_WAY: Duration = Duration::from_secs(4);

/// Behavior of an operator where another one acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contention {
    /// The operator waits for its turn.
    Wait,
    /// The operator ends, and says which one acts.
    Refuse,
}

/// Settings of an election.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Election {
    /// Namespace of the lease.
    pub namespace: String,
    /// Name of this operator. No two processes that live at the same time may have the same name. A process that comes back under its old
    /// name, as a container of the same pod does, leads again at once.
    pub identity: String,
    /// Only namespace that the operator looks at. `None`: all.
    pub scope: Option<String>,
    /// Behavior where another operator acts.
    pub others: Contention,
}

/// Candidate of an election, which leads when elected.
pub(crate) struct Candidate {
    own: OwnLease,
    rivals: RivalLeases,
    /// Namespace of the own lease.
    namespace: String,
    others: Contention,
    knows: KnownRivals,
}

/// Knowledge of a candidate about others, beside its lease.
#[derive(Clone, Debug, PartialEq, Eq)]
enum KnownRivals {
    Nothing,
    /// An operator with a lease in another namespace acts. An operator that waits for it has no lease.
    Rival,
    /// The rights do not allow a lease, so it is unknown whether another operator acts.
    NoLease,
}

/// Outcome of one attempt to lead.
enum Standing {
    Elected,
    /// Another operator acts.
    Behind(Rival),
    /// Unknown yet. A later attempt will tell.
    Unsure,
}

impl Candidate {
    pub(crate) fn new(client: &Client, election: &Election, clock: Clock) -> Self {
        let duration = match election.others {
            Contention::Wait => DURATION,
            Contention::Refuse => DURATION_OF_ONE,
        };
        Self {
            own: OwnLease::new(client, election, duration, clock),
            rivals: RivalLeases::new(client, election),
            namespace: election.namespace.clone(),
            others: election.others,
            knows: KnownRivals::Nothing,
        }
    }

    /// Waits until this operator leads.
    ///
    /// # Errors
    /// Fails with the operator that acts, where this one does not wait for it.
    pub(crate) async fn elected(&mut self) -> Result<(), Rival> {
        let mut told = None;
        loop {
            // A connection whose other end is gone answers nothing. The next attempt opens another one.
            let standing = timeout(DEADLINE, self.turn()).await.unwrap_or_else(|_| {
                tracing::warn!("the lease could not be looked at for {DEADLINE:?}");
                Standing::Unsure
            });
            match standing {
                Standing::Elected => return Ok(()),
                Standing::Unsure => {}
                Standing::Behind(rival) => {
                    if self.others == Contention::Refuse {
                        return Err(rival);
                    }
                    if told.as_ref() != Some(&rival) {
                        tracing::info!(leader = %rival, "another operator leads; this one waits");
                        told = Some(rival);
                    }
                }
            }
            sleep(RETRY).await;
        }
    }

    /// Makes one attempt to lead.
    async fn turn(&mut self) -> Standing {
        if self.knows == KnownRivals::Rival {
            match self.rivals.look().await {
                Rivalry::Nobody => self.knows = KnownRivals::Nothing,
                Rivalry::Perhaps => return Standing::Unsure,
                Rivalry::Alive(rival) => return Standing::Behind(rival),
            }
        }
        let turn = match self.own.attempt().await {
            Ok(turn) => turn,
            Err(Error::Api(status)) if self.others == Contention::Refuse && NO_LEASE.contains(&status.code) => {
                tracing::warn!(error = %status, "whether another operator acts cannot be told");
                self.knows = KnownRivals::NoLease;
                return Standing::Elected;
            }
            Err(error) => {
                tracing::warn!(%error, "the lease cannot be had");
                return Standing::Unsure;
            }
        };
        match turn {
            Holder::Mine => {}
            Holder::Raced => return Standing::Unsure,
            Holder::Theirs { renewed: false, .. } if self.others == Contention::Refuse => return Standing::Unsure,
            Holder::Theirs { holder, .. } => {
                return Standing::Behind(Rival { holder, namespace: self.namespace.clone() });
            }
        }
        match self.rivals.look().await {
            Rivalry::Nobody => Standing::Elected,
            Rivalry::Perhaps => Standing::Unsure,
            Rivalry::Alive(rival) => {
                self.own.resign().await;
                self.knows = KnownRivals::Rival;
                // Two operators that began at the same time have both given way. One of them tries again first.
                if self.namespace > rival.namespace {
                    sleep(GIVE_WAY).await;
                }
                Standing::Behind(rival)
            }
        }
    }

    /// Keeps leading, and returns when that is over. The leader must then stop at once.
    ///
    /// Returns the operator that has taken over, where it is known.
    pub(crate) async fn lost(&mut self) -> Option<Rival> {
        if self.knows == KnownRivals::NoLease {
            return std::future::pending().await;
        }
        loop {
            let (renew, left) = match self.others {
                Contention::Wait => (RENEW, DEADLINE.saturating_sub(self.own.age())),
                // No operator waits for this lease: the leader continues until another operator has begun.
                Contention::Refuse => (RENEW_OF_ONE, DEADLINE),
            };
            match timeout(left, self.own.attempt()).await {
                Ok(Ok(Holder::Mine)) => {
                    sleep(renew).await;
                    continue;
                }
                Ok(Ok(Holder::Theirs { holder, .. })) => {
                    tracing::warn!(leader = holder, "another operator has taken over");
                    return Some(Rival { holder, namespace: self.namespace.clone() });
                }
                Ok(Ok(Holder::Raced)) => {}
                Ok(Err(error)) => tracing::warn!(%error, "the lease cannot be renewed"),
                Err(_) => {
                    tracing::warn!("the lease could not be renewed for {DEADLINE:?}");
                    if self.others == Contention::Wait {
                        return None;
                    }
                }
            }
            sleep(RETRY).await;
        }
    }

    /// Gives up the lease, so that the next operator need not wait.
    pub(crate) async fn resign(&mut self) {
        self.own.resign().await;
    }
}

#[cfg(test)]
mod tests;
