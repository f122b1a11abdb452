//! Name that requests carry, so that audit logs and API priority rules can tell who sends them.

use http::{HeaderValue, Request, header::USER_AGENT};
use kube::{Client, client::Body};

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
