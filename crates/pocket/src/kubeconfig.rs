//! Kubeconfig of the cluster.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::json;

use crate::certificates::Client;

/// The file's content. JSON is YAML, too, and needs no quoting rules.
pub(crate) fn render(name: &str, server: &str, client: &Client) -> String {
    let encode = |text: &str| BASE64_STANDARD.encode(text);
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": name, "cluster": {
            "server": server,
            "certificate-authority-data": encode(&client.authority),
        } }],
        "users": [{ "name": name, "user": {
            "client-certificate-data": encode(&client.certificate),
            "client-key-data": encode(&client.key),
        } }],
        "contexts": [{ "name": name, "context": { "cluster": name, "user": name, "namespace": "default" } }],
        "current-context": name,
    });
    serde_saphyr::to_string(&config).unwrap_or_else(|_| config.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kube_reads_it() {
        let client = Client { authority: "a".into(), certificate: "b".into(), key: "c".into() };
        let config = kube::config::Kubeconfig::from_yaml(&render("here", "https://127.0.0.1:6443", &client)).unwrap();
        assert_eq!(config.current_context.as_deref(), Some("here"));
        let cluster = config.clusters[0].cluster.as_ref().unwrap();
        assert_eq!(cluster.server.as_deref(), Some("https://127.0.0.1:6443"));
        assert_eq!(cluster.certificate_authority_data.as_deref(), Some("YQ=="));
    }
}
