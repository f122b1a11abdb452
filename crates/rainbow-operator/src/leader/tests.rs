//! Tests with candidates of one cluster and a clock that is moved.

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::{Api, ResourceExt};
use tokio::time::Instant;

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
        self.candidate_of(identity, "default", None, Contention::Wait)
    }

    /// Returns a candidate that does not wait for others.
    fn alone(&self, identity: &str, namespace: &str) -> Candidate {
        self.candidate_of(identity, namespace, None, Contention::Refuse)
    }

    fn candidate_of(&self, identity: &str, namespace: &str, scope: Option<&str>, others: Contention) -> Candidate {
        let scope = scope.map(str::to_owned);
        let election = Election { namespace: namespace.into(), identity: identity.into(), scope, others };
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
    a.elected().await.unwrap();
    assert_eq!(cluster.leader().await.as_deref(), Some("a"));
    // The leader renews, so no other candidate gets the lease.
    tokio::select! {
        _ = a.lost() => panic!("a renews"),
        _ = b.elected() => panic!("a leads"),
        () = sleep(Duration::from_secs(120)) => {}
    }
    // The leader dies without giving up the lease.
    drop(a);
    let died = Instant::now();
    b.elected().await.unwrap();
    assert!(died.elapsed() >= DEADLINE, "after {:?} a may still have led", died.elapsed());
    let lease = cluster.lease().await;
    assert_eq!((lease.holder_identity.as_deref(), lease.lease_transitions), (Some("b"), Some(1)));
}

#[tokio::test(start_paused = true)]
async fn who_resigns_or_comes_back_costs_no_wait() {
    let cluster = Cluster::new();
    let mut a = cluster.candidate("a");
    a.elected().await.unwrap();
    drop(a);
    let begin = Instant::now();
    let mut a = cluster.candidate("a");
    a.elected().await.unwrap();
    assert!(begin.elapsed() < RETRY, "the same pod's next container waited {:?}", begin.elapsed());
    a.resign().await;
    let mut b = cluster.candidate("b");
    b.elected().await.unwrap();
    assert!(begin.elapsed() < RETRY, "{:?}", begin.elapsed());
    a.resign().await;
    assert_eq!(cluster.leader().await.as_deref(), Some("b"), "what one does not have one does not give up");
}

#[tokio::test(start_paused = true)]
async fn of_two_at_the_same_time_one_is_elected() {
    let cluster = Cluster::new();
    let (mut a, mut b) = (cluster.candidate("a"), cluster.candidate("b"));
    // Both have read the same lease before either writes.
    let (first, second) = tokio::join!(a.own.attempt(), b.own.attempt());
    let mine = [first.unwrap(), second.unwrap()].into_iter().filter(|turn| matches!(turn, Holder::Mine)).count();
    assert_eq!(mine, 1);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_was_deposed_stops() {
    let cluster = Cluster::new();
    let (mut a, mut b) = (cluster.candidate("a"), cluster.candidate("b"));
    a.elected().await.unwrap();
    // The other one is elected after the time for which a stopped process neither renews nor notices.
    b.elected().await.unwrap();
    a.lost().await;
    assert_eq!(cluster.leader().await.as_deref(), Some("b"));
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_cannot_renew_stops_before_others_begin() {
    let cluster = Cluster::new();
    let mut a = cluster.candidate("a");
    a.elected().await.unwrap();
    // The API server never answers from now on.
    let silent = tower::service_fn(|_: http::Request<kube::client::Body>| {
        std::future::pending::<Result<http::Response<kube::client::Body>, std::convert::Infallible>>()
    });
    a.own.serve_by(Client::new(silent, "default"));
    let begin = Instant::now();
    a.lost().await;
    assert!(begin.elapsed() < DURATION, "{:?}", begin.elapsed());
}

/// Longest time from the start of an operator until it knows that another one acts.
const SOON: Duration = Duration::from_secs(6);

#[tokio::test(start_paused = true)]
async fn of_two_that_do_not_wait_the_second_one_ends() {
    let cluster = Cluster::new();
    for (first, second) in [("default", "default"), ("default", "kube-system"), ("kube-system", "default")] {
        let (mut a, mut b) = (cluster.alone("a", first), cluster.alone("b", second));
        a.elected().await.unwrap();
        let begin = Instant::now();
        let refused = tokio::select! {
            _ = a.lost() => panic!("{first}, {second}: the first one goes on"),
            elected = b.elected() => elected.unwrap_err(),
        };
        assert_eq!(refused, Rival { holder: "a".into(), namespace: first.into() });
        assert!(begin.elapsed() <= SOON, "{:?}", begin.elapsed());
        // The end of the first operator makes room at once.
        a.resign().await;
        let begin = Instant::now();
        b.elected().await.unwrap();
        assert!(begin.elapsed() <= RETRY, "{:?}", begin.elapsed());
        b.resign().await;
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_was_killed_holds_the_next_up_for_seconds() {
    let cluster = Cluster::new();
    let mut a = cluster.alone("a", "default");
    a.elected().await.unwrap();
    drop(a);
    let begin = Instant::now();
    cluster.alone("b", "default").elected().await.unwrap();
    assert!(begin.elapsed() <= SOON, "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn different_namespaces_are_different_work() {
    let cluster = Cluster::new();
    let mut one = cluster.candidate_of("a", "default", Some("default"), Contention::Refuse);
    let mut other = cluster.candidate_of("b", "kube-system", Some("kube-system"), Contention::Refuse);
    one.elected().await.unwrap();
    other.elected().await.unwrap();
    let mut all = cluster.candidate_of("c", "kube-public", None, Contention::Refuse);
    tokio::select! {
        _ = one.lost() => panic!("the first one goes on"),
        _ = other.lost() => panic!("the other one goes on"),
        refused = all.elected() => { refused.unwrap_err(); }
    }
}

/// Of two installations of one cluster, made by mistake, one acts, in any order.
#[tokio::test(start_paused = true)]
async fn of_two_installations_one_leads_and_the_other_takes_over() {
    let cluster = Cluster::new();
    let mut a = cluster.candidate_of("a", "kube-system", None, Contention::Wait);
    let mut b = cluster.candidate_of("b", "default", None, Contention::Wait);
    let first = tokio::select! {
        _ = a.elected() => "a",
        _ = b.elected() => "b",
    };
    let (mut leads, mut waits) = if first == "a" { (a, b) } else { (b, a) };
    tokio::select! {
        _ = leads.lost() => panic!("the first one goes on"),
        _ = waits.elected() => panic!("another one leads"),
        () = sleep(Duration::from_secs(300)) => {}
    }
    drop(leads);
    let died = Instant::now();
    waits.elected().await.unwrap();
    assert!((DEADLINE..DURATION + Duration::from_secs(8)).contains(&died.elapsed()), "{:?}", died.elapsed());
}

/// Another writer's change of a lease, such as a label, takes the lease from no operator.
#[tokio::test(start_paused = true)]
async fn a_write_of_others_is_no_takeover() {
    let cluster = Cluster::new();
    let mut a = cluster.alone("a", "default");
    a.elected().await.unwrap();
    let writes = async {
        let api: Api<Lease> = Api::namespaced(cluster.api.client("default"), "default");
        for i in 0..50 {
            let mut lease = api.get(NAME).await.unwrap();
            lease.labels_mut().insert("touched".into(), i.to_string());
            api.replace(NAME, &kube::api::PostParams::default(), &lease).await.unwrap();
            sleep(Duration::from_millis(313)).await;
        }
    };
    tokio::select! {
        lost = a.lost() => panic!("{lost:?}"),
        () = writes => {}
    }
}
