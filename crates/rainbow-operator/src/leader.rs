//! Leader election: of several operators that look after the same namespaces, one acts.
//!
//! A `Lease` names the one that leads. As client-go does it, and for its reasons: every write carries the resource version
//! that was read, so that of two who try at the same time one fails; and how long a lease has not been renewed is measured
//! by the clock of the one who looks, from when it first saw that very renewal, so that no two clocks are ever compared.
//! Who cannot renew stops well before others may take over.
//!
//! An operator that does not wait for its turn has a lease as well, so that others see it: a second one ends with a sentence, and one
//! that was installed beside it waits. Leases of other namespaces are looked at, too.

mod lease;
mod rivals;

use kube::{Client, Error};
use std::time::Duration;
use tokio::time::{sleep, timeout};

pub use rivals::Rival;

use crate::clock::Clock;
use lease::{Own, Turn};
use rivals::{Found, Rivals};

/// Name of the lease.
pub const NAME: &str = "rainbow-operator";
/// Annotation of the lease with the version of the operator that holds it.
pub const VERSION: &str = "rainbow.dev/version";

/// A leader that has not renewed for this long is gone. With `RETRY` and the time to list a cluster's objects, another one acts within
/// 20 s; client-go's default of 15 s leaves too little for the list.
const DURATION: Duration = Duration::from_secs(12);
/// A leader that could not renew for this long stops: 4 s before another one may begin, for requests that are still on their way.
const DEADLINE: Duration = Duration::from_secs(8);
/// How often a leader renews.
const RENEW: Duration = Duration::from_secs(3);
/// How often one looks that does not lead, and how soon a renewal that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// What an operator that does not wait for its turn takes for gone: shorter, since one that was killed and is started again by hand
/// waits for it.
const DURATION_OF_ONE: Duration = Duration::from_secs(5);
/// How often it renews.
const RENEW_OF_ONE: Duration = Duration::from_secs(2);

/// Answers that will not become another one: no rights, or no such namespace.
const NO_LEASE: [u16; 3] = [401, 403, 404];
/// How much longer than another one an operator waits that gave way to it.
const GIVE_WAY: Duration = Duration::from_secs(4);

/// What an operator does where another one acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// It waits for its turn.
    Wait,
    /// It ends, and says who acts.
    Refuse,
}

/// Who stands for election, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Election {
    /// The namespace of the lease.
    pub namespace: String,
    /// Who this is. No two processes that live at the same time may have the same name; one that comes back under its old
    /// name, as a container of the same pod does, leads again at once.
    pub identity: String,
    /// The only namespace that the operator looks at; `None`: all.
    pub scope: Option<String>,
    /// What it does where another one acts.
    pub others: Others,
}

/// Stands for election, and leads when elected.
pub(crate) struct Candidate {
    own: Own,
    rivals: Rivals,
    /// Name of the own lease's namespace.
    namespace: String,
    others: Others,
    knows: Knows,
}

/// What a candidate knows of others, beside its lease.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Knows {
    /// Nothing.
    Nothing,
    /// An operator with a lease in another namespace acts. Whoever waits for it has no lease.
    Rival,
    /// Its rights do not let it have a lease: whether another operator acts cannot be told.
    NoLease,
}

/// Outcome of one attempt to lead.
enum Standing {
    Elected,
    /// Behind an operator that acts.
    Behind(Rival),
    /// Time will tell.
    Unsure,
}

impl Candidate {
    pub(crate) fn new(client: &Client, election: &Election, clock: Clock) -> Self {
        let duration = match election.others {
            Others::Wait => DURATION,
            Others::Refuse => DURATION_OF_ONE,
        };
        Self {
            own: Own::new(client, election, duration, clock),
            rivals: Rivals::new(client, election),
            namespace: election.namespace.clone(),
            others: election.others,
            knows: Knows::Nothing,
        }
    }

    /// Waits until this one leads.
    ///
    /// # Errors
    /// The operator that acts, where this one does not wait for it.
    pub(crate) async fn elected(&mut self) -> Result<(), Rival> {
        let mut told = None;
        loop {
            // A connection whose other end is gone answers nothing: the next attempt has another one.
            let standing = timeout(DEADLINE, self.turn()).await.unwrap_or_else(|_| {
                tracing::warn!("the lease could not be looked at for {DEADLINE:?}");
                Standing::Unsure
            });
            match standing {
                Standing::Elected => return Ok(()),
                Standing::Unsure => {}
                Standing::Behind(rival) => {
                    if self.others == Others::Refuse {
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

    /// One attempt to lead.
    async fn turn(&mut self) -> Standing {
        if self.knows == Knows::Rival {
            match self.rivals.look().await {
                Found::Nobody => self.knows = Knows::Nothing,
                Found::Perhaps => return Standing::Unsure,
                Found::Alive(rival) => return Standing::Behind(rival),
            }
        }
        let turn = match self.own.attempt().await {
            Ok(turn) => turn,
            Err(Error::Api(status)) if self.others == Others::Refuse && NO_LEASE.contains(&status.code) => {
                tracing::warn!(error = %status, "whether another operator acts cannot be told");
                self.knows = Knows::NoLease;
                return Standing::Elected;
            }
            Err(error) => {
                tracing::warn!(%error, "the lease cannot be had");
                return Standing::Unsure;
            }
        };
        match turn {
            Turn::Mine => {}
            Turn::Raced => return Standing::Unsure,
            Turn::Theirs { renewed: false, .. } if self.others == Others::Refuse => return Standing::Unsure,
            Turn::Theirs { holder, .. } => {
                return Standing::Behind(Rival { holder, namespace: self.namespace.clone() });
            }
        }
        match self.rivals.look().await {
            Found::Nobody => Standing::Elected,
            Found::Perhaps => Standing::Unsure,
            Found::Alive(rival) => {
                self.own.resign().await;
                self.knows = Knows::Rival;
                // Two that began at the same time both gave way: one of them tries again first.
                if self.namespace > rival.namespace {
                    sleep(GIVE_WAY).await;
                }
                Standing::Behind(rival)
            }
        }
    }

    /// Goes on leading; returns when that is over. Whoever led stops then at once.
    ///
    /// The operator that has taken over, where that is known.
    pub(crate) async fn lost(&mut self) -> Option<Rival> {
        if self.knows == Knows::NoLease {
            return std::future::pending().await;
        }
        loop {
            let (renew, left) = match self.others {
                Others::Wait => (RENEW, DEADLINE.saturating_sub(self.own.age())),
                // Nobody waits for its lease: it goes on for as long as no other operator has begun.
                Others::Refuse => (RENEW_OF_ONE, DEADLINE),
            };
            match timeout(left, self.own.attempt()).await {
                Ok(Ok(Turn::Mine)) => {
                    sleep(renew).await;
                    continue;
                }
                Ok(Ok(Turn::Theirs { holder, .. })) => {
                    tracing::warn!(leader = holder, "another operator has taken over");
                    return Some(Rival { holder, namespace: self.namespace.clone() });
                }
                Ok(Ok(Turn::Raced)) => {}
                Ok(Err(error)) => tracing::warn!(%error, "the lease cannot be renewed"),
                Err(_) => {
                    tracing::warn!("the lease could not be renewed for {DEADLINE:?}");
                    if self.others == Others::Wait {
                        return None;
                    }
                }
            }
            sleep(RETRY).await;
        }
    }

    /// Gives the lease up, so that the next one need not wait.
    pub(crate) async fn resign(&mut self) {
        self.own.resign().await;
    }
}

#[cfg(test)]
mod tests;
