//! Requests of the operator: the name that they carry, so that audit logs and API priority rules can tell who sends them, and the exchange
//! over a connection of their own.

use http::{HeaderValue, Request, header::USER_AGENT};
use kube::{Client, client::Body};
use std::pin::pin;

/// Name and version of the operator.
pub(crate) const OPERATOR: &str = concat!("rainbow-operator/", env!("CARGO_PKG_VERSION"));

/// Returns a client whose requests carry a `User-Agent`. A request that already has one keeps it.
pub fn named(client: Client, agent: &'static str) -> Client {
    let namespace = client.default_namespace().to_owned();
    let valid_until = *client.valid_until();
    let service = tower::service_fn(move |mut request: Request<Body>| {
        let client = client.clone();
        request.headers_mut().entry(USER_AGENT).or_insert(HeaderValue::from_static(agent));
        async move { client.send(request).await }
    });
    Client::new(service, namespace).with_valid_until(valid_until)
}

/// Waits for the answer to a request, and drives the request's connection as long.
pub(crate) async fn answered<A>(answer: impl Future<Output = A>, connection: impl Future) -> A {
    let (mut answer, mut connection) = (pin!(answer), pin!(connection));
    let mut open = true;
    loop {
        // The connection may end before the last of its data has been read.
        tokio::select! {
            answer = &mut answer => return answer,
            _ = &mut connection, if open => open = false,
        }
    }
}
