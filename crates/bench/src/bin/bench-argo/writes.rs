//! Requests of a controller that change something.

use http::Method;
use serde::Serialize;

/// API groups whose objects are no part of a release: leader election, and queries that are sent by POST.
const NO_RELEASE: [&str; 3] = ["coordination.k8s.io", "authorization.k8s.io", "authentication.k8s.io"];

/// Write that a controller has sent to the API server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Write {
    /// Time at which the write was sent, in milliseconds since the Unix epoch.
    pub(crate) at: i64,
    pub(crate) verb: String,
    /// Resource, such as `services` or `rollouts/status`.
    pub(crate) resource: String,
    pub(crate) name: String,
    /// Status of the response; 0 while there is none.
    pub(crate) status: u16,
}

impl Write {
    /// Converts a request to a write. Returns `None` for a read, and for an object that is no part of a release.
    pub(crate) fn of(at: i64, method: &Method, path: &str) -> Option<Self> {
        if !matches!(*method, Method::POST | Method::PUT | Method::PATCH | Method::DELETE) {
            return None;
        }
        let mut parts = path.trim_matches('/').split('/');
        let group = match parts.next()? {
            "api" => "",
            "apis" => parts.next()?,
            _ => return None,
        };
        if NO_RELEASE.contains(&group) {
            return None;
        }
        let _version = parts.next()?;
        let rest: Vec<&str> = parts.collect();
        let rest = match rest.as_slice() {
            ["namespaces", _, rest @ ..] if !rest.is_empty() => rest,
            rest => rest,
        };
        let (resource, name, subresource) = (rest.first()?, rest.get(1).unwrap_or(&""), rest.get(2));
        let resource = subresource.map_or_else(|| (*resource).to_owned(), |sub| format!("{resource}/{sub}"));
        Some(Self { at, verb: method.to_string(), resource, name: (*name).to_owned(), status: 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_are_told_from_reads_and_from_leases() {
        let of = |method: Method, path: &str| {
            Write::of(1, &method, path).map(|write| format!("{} {} {}", write.verb, write.resource, write.name))
        };
        let cases = [
            (Method::GET, "/api/v1/namespaces/a/pods", None),
            (Method::POST, "/api/v1/namespaces/a/events", Some("POST events ")),
            (Method::PATCH, "/api/v1/namespaces/a/services/web", Some("PATCH services web")),
            (
                Method::PUT,
                "/apis/argoproj.io/v1alpha1/namespaces/a/rollouts/web/status",
                Some("PUT rollouts/status web"),
            ),
            (Method::PATCH, "/api/v1/namespaces/a", Some("PATCH namespaces a")),
            (Method::DELETE, "/apis/apps/v1/namespaces/a/deployments/web", Some("DELETE deployments web")),
            (Method::PUT, "/apis/coordination.k8s.io/v1/namespaces/a/leases/web", None),
            (Method::POST, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", None),
            (Method::POST, "/version", None),
        ];
        for (method, path, expected) in cases {
            assert_eq!(of(method, path).as_deref(), expected, "{path}");
        }
    }
}
