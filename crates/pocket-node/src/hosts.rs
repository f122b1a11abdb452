//! Files `/etc/hosts` and `/etc/resolv.conf` of a pod. Pure.

use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::PodSpec;

/// Builds `/etc/hosts`.
pub fn hosts(spec: &PodSpec, ip: Ipv4Addr, hostname: &str, namespace: &str, domain: &str) -> String {
    let mut text = String::from(
        "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\n\
         fe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n",
    );
    match spec.subdomain.as_deref().filter(|name| !name.is_empty()) {
        Some(subdomain) => {
            text.push_str(&format!("{ip}\t{hostname}.{subdomain}.{namespace}.svc.{domain}\t{hostname}\n"));
        }
        None => text.push_str(&format!("{ip}\t{hostname}\n")),
    }
    let aliases = spec.host_aliases.iter().flatten();
    if aliases.clone().next().is_some() {
        text.push_str("\n# Entries added by HostAliases.\n");
    }
    for alias in aliases {
        let names = alias.hostnames.clone().unwrap_or_default().join("\t");
        text.push_str(&format!("{}\t{names}\n", alias.ip));
    }
    text
}

/// Builds `/etc/resolv.conf`: the cluster's, the host's, or the pod's own.
pub fn resolv_conf(spec: &PodSpec, namespace: &str, domain: &str, cluster_dns: Ipv4Addr, host: &str) -> String {
    let (mut servers, mut searches, mut options) = (Vec::new(), Vec::new(), Vec::new());
    match spec.dns_policy.as_deref() {
        Some("None") => {}
        Some("Default") => {
            for line in host.lines() {
                let mut words = line.split_whitespace();
                match words.next() {
                    Some("nameserver") => servers.extend(words.map(str::to_owned)),
                    Some("search") => searches = words.map(str::to_owned).collect(),
                    Some("options") => options = words.map(str::to_owned).collect(),
                    _ => {}
                }
            }
        }
        // ClusterFirstWithHostNet means the same, since there is no host network.
        _ => {
            servers.push(cluster_dns.to_string());
            searches = vec![format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.to_owned()];
            options.push("ndots:5".to_owned());
        }
    }
    if let Some(config) = &spec.dns_config {
        servers.extend(config.nameservers.iter().flatten().cloned());
        searches.extend(config.searches.iter().flatten().cloned());
        for option in config.options.iter().flatten() {
            let name = option.name.clone().unwrap_or_default();
            options.retain(|former| former.split(':').next() != Some(name.as_str()));
            options.push(option.value.as_ref().map_or(name.clone(), |value| format!("{name}:{value}")));
        }
    }
    let mut text = String::new();
    if !searches.is_empty() {
        text.push_str(&format!("search {}\n", searches.join(" ")));
    }
    for server in servers {
        text.push_str(&format!("nameserver {server}\n"));
    }
    if !options.is_empty() {
        text.push_str(&format!("options {}\n", options.join(" ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn spec(mut value: serde_json::Value) -> PodSpec {
        value["containers"] = json!([]);
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn resolv_confs() {
        let host = "search corp\nnameserver 9.9.9.9\noptions edns0\n";
        for (value, expected) in [
            (
                json!({}),
                "search n.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n",
            ),
            (json!({"dnsPolicy": "Default"}), "search corp\nnameserver 9.9.9.9\noptions edns0\n"),
            (json!({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["1.1.1.1"]}}), "nameserver 1.1.1.1\n"),
            (
                json!({"dnsConfig": {"searches": ["x"], "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]}}),
                "search n.svc.cluster.local svc.cluster.local cluster.local x\nnameserver 10.96.0.10\noptions ndots:2 edns0\n",
            ),
        ] {
            let text = resolv_conf(&spec(value.clone()), "n", "cluster.local", Ipv4Addr::new(10, 96, 0, 10), host);
            assert_eq!(text, expected, "{value}");
        }
    }

    #[test]
    fn hosts_files() {
        let ip = Ipv4Addr::new(10, 244, 0, 7);
        let text = hosts(&spec(json!({})), ip, "p", "n", "cluster.local");
        assert!(text.ends_with("10.244.0.7\tp\n"), "{text}");
        let value = json!({"subdomain": "sub", "hostAliases": [{"ip": "1.2.3.4", "hostnames": ["a", "b"]}]});
        let text = hosts(&spec(value), ip, "p", "n", "cluster.local");
        assert!(text.contains("10.244.0.7\tp.sub.n.svc.cluster.local\tp\n"), "{text}");
        assert!(text.ends_with("1.2.3.4\ta\tb\n"), "{text}");
    }
}
