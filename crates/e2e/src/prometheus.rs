//! Prometheus server of a test, which scrapes the pods of the test's namespace.
//!
//! The server runs on this machine, from which pods cannot be reached on every cluster. So it scrapes them through the API server's proxy, with the
//! credentials of the test's kubeconfig.

use std::{
    fs::File,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use kube::config::Kubeconfig;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{eventually, load, programs};

/// Time from one scrape to the next, which a scrape may take. One that fails is made again.
const INTERVAL: &str = "500ms";
/// Line in the server's log that has the address, since the server chooses its port.
const LISTENS: &str = "msg=\"Listening on\" address=";

/// Finds the program that the settings name, else the one on the `PATH`. Returns `None` if there is none.
///
/// # Errors
/// When the program that the settings name does not exist.
pub(crate) fn find(wanted: Option<&str>) -> Result<Option<PathBuf>> {
    match wanted.filter(|wanted| !wanted.is_empty()) {
        Some(wanted) => {
            let program = PathBuf::from(wanted);
            ensure!(program.is_file(), "there is no Prometheus at {wanted}");
            Ok(Some(program))
        }
        None => Ok(programs::on_path("prometheus")),
    }
}

/// Running server. Dropping it ends it.
#[derive(Debug)]
pub struct Prometheus {
    child: Child,
    address: String,
    /// Directory of the configuration, the credentials and the data.
    _dir: TempDir,
}

impl Prometheus {
    /// Starts the server for the pods of a namespace, and waits until it answers.
    pub(crate) async fn start(program: &Path, kubeconfig: &Path, namespace: &str) -> Result<Self> {
        let dir = TempDir::with_prefix("rainbow-prometheus-")?;
        let settings = dir.path().join("prometheus.yml");
        let access = Access::write(kubeconfig, dir.path())?;
        // JSON is valid YAML.
        std::fs::write(&settings, access.configuration(kubeconfig, namespace).to_string())?;
        let log = dir.path().join("log");
        let child = Command::new(program)
            .arg(format!("--config.file={}", settings.display()))
            .arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()))
            .arg("--web.listen-address=127.0.0.1:0")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()
            .with_context(|| format!("cannot run {}", program.display()))?;
        let mut server = Self { child, address: String::new(), _dir: dir };
        server.address = eventually("Prometheus listens", || async {
            let text = std::fs::read_to_string(&log)?;
            let address = text.lines().find_map(|line| line.split_once(LISTENS));
            let (_, address) = address.with_context(|| format!("its log is {text}"))?;
            Ok(format!("http://{}", address.trim()))
        })
        .await?;
        let ready = format!("{}/-/ready", server.address);
        eventually("Prometheus is ready", || async { load::query(&ready).await }).await?;
        Ok(server)
    }

    /// Returns the address of the server on this machine.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Returns the values of an instant query, with their labels.
    ///
    /// # Errors
    /// When the server does not answer, or refuses the query.
    pub async fn query(&self, query: &str) -> Result<Vec<Value>> {
        let url = format!("{}/api/v1/query?query={}", self.address, escape(query));
        let answer: Value = serde_json::from_str(&load::query(&url).await?)?;
        answer["data"]["result"].as_array().cloned().with_context(|| format!("no result: {answer}"))
    }

    /// Waits until a query has a value.
    ///
    /// # Errors
    /// When it never has one.
    pub async fn has(&self, query: &str) -> Result<()> {
        eventually(&format!("Prometheus has {query}"), || async {
            ensure!(!self.query(query).await?.is_empty(), "no value");
            Ok(())
        })
        .await
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Access to the API server.
struct Access {
    /// Address of the server without its scheme, and the path below which its API is.
    server: String,
    path: String,
    /// Fields of a scrape configuration that have the credentials.
    credentials: Value,
}

impl Access {
    /// Reads a kubeconfig, and writes the certificates that it has into a directory.
    fn write(kubeconfig: &Path, dir: &Path) -> Result<Self> {
        let read = serde_json::to_value(Kubeconfig::read_from(kubeconfig)?)?;
        let context = &named(&read["contexts"], &read["current-context"])?["context"];
        let cluster = &named(&read["clusters"], &context["cluster"])?["cluster"];
        let user = &named(&read["users"], &context["user"])?["user"];
        let server = cluster["server"].as_str().context("the kubeconfig has no server")?;
        let (server, path) = parts(server)?;

        let mut tls = json!({ "insecure_skip_verify": cluster["insecure-skip-tls-verify"] == true });
        let files = [
            ("ca_file", &cluster["certificate-authority-data"], &cluster["certificate-authority"]),
            ("cert_file", &user["client-certificate-data"], &user["client-certificate"]),
            ("key_file", &user["client-key-data"], &user["client-key"]),
        ];
        for (field, data, file) in files {
            if let Some(data) = data.as_str() {
                let file = dir.join(field);
                let options = File::options().write(true).create(true).mode(0o600).open(&file)?;
                std::io::Write::write_all(&mut &options, &BASE64_STANDARD.decode(data)?)?;
                tls[field] = json!(file);
            } else if file.is_string() {
                tls[field] = file.clone();
            }
        }
        if cluster["tls-server-name"].is_string() {
            tls["server_name"] = cluster["tls-server-name"].clone();
        }
        let mut credentials = json!({ "tls_config": tls });
        if user["token"].is_string() {
            credentials["authorization"] = json!({ "type": "Bearer", "credentials": user["token"] });
        }
        Ok(Self { server, path, credentials })
    }

    /// Builds the server's configuration. Series have the labels `color`, `tier` and `pod`.
    fn configuration(&self, kubeconfig: &Path, namespace: &str) -> Value {
        let copy = |label: &str, to: &str| json!({ "source_labels": [label], "target_label": to });
        let keep = |label: &str, regex: &str| json!({ "source_labels": [label], "regex": regex, "action": "keep" });
        let pod = "__meta_kubernetes_pod_name";
        let mut scrape = json!({
            "job_name": "pods",
            "scheme": "https",
            "kubernetes_sd_configs": [{ "role": "pod", "kubeconfig_file": kubeconfig, "namespaces": { "names": [namespace] } }],
            "relabel_configs": [
                keep("__meta_kubernetes_pod_phase", "Running"),
                // A pod is a target once for each port of its containers, the counter's included.
                keep("__meta_kubernetes_pod_container_port_name", "http"),
                keep("__meta_kubernetes_pod_labelpresent_rainbow_dev_tier", "true"),
                copy("__meta_kubernetes_pod_label_rainbow_dev_color", "color"),
                copy("__meta_kubernetes_pod_label_rainbow_dev_tier", "tier"),
                copy(pod, "pod"),
                copy(pod, "instance"),
                {
                    "source_labels": [pod, "__meta_kubernetes_pod_container_port_number"],
                    "separator": ":",
                    "target_label": "__metrics_path__",
                    "replacement": format!("{}/api/v1/namespaces/{namespace}/pods/$1/proxy/metrics", self.path),
                },
                { "target_label": "__address__", "replacement": self.server },
            ],
        });
        for (field, value) in self.credentials.as_object().into_iter().flatten() {
            scrape[field] = value.clone();
        }
        json!({ "global": { "scrape_interval": INTERVAL, "scrape_timeout": INTERVAL }, "scrape_configs": [scrape] })
    }
}

/// Returns the entry of a kubeconfig's list that has a name.
fn named<'a>(list: &'a Value, name: &Value) -> Result<&'a Value> {
    let mut entries = list.as_array().into_iter().flatten();
    entries.find(|entry| entry["name"] == *name).with_context(|| format!("the kubeconfig has no entry {name}"))
}

/// Splits an API server's URL into host with port, and path.
fn parts(server: &str) -> Result<(String, String)> {
    let rest = server.strip_prefix("https://").with_context(|| format!("{server} is no https:// address"))?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let path = path.trim_end_matches('/');
    let host = if host.rsplit(']').next().is_some_and(|end| end.contains(':')) {
        host.to_owned()
    } else {
        format!("{host}:443")
    };
    Ok((host, if path.is_empty() { String::new() } else { format!("/{path}") }))
}

/// Escapes a value of a URL's query.
fn escape(text: &str) -> String {
    let escaped = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_has_a_port_and_a_path() {
        let check = |server: &str, host: &str, path: &str| {
            assert_eq!(parts(server).unwrap(), (host.to_owned(), path.to_owned()), "{server}");
        };
        check("https://127.0.0.1:6443", "127.0.0.1:6443", "");
        check("https://api.example", "api.example:443", "");
        check("https://[fd00::1]/", "[fd00::1]:443", "");
        check("https://[fd00::1]:6443/k8s/c1/", "[fd00::1]:6443", "/k8s/c1");
        assert!(parts("http://127.0.0.1").is_err());
    }

    #[test]
    fn queries_are_escaped() {
        assert_eq!(escape("up{a=\"b\"}"), "up%7Ba%3D%22b%22%7D");
    }

    #[test]
    fn credentials_of_a_kubeconfig_are_used() {
        let dir = TempDir::new().unwrap();
        let kubeconfig = dir.path().join("kubeconfig");
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "contexts": [{ "name": "c", "context": { "cluster": "k", "user": "u" } }],
            "clusters": [{ "name": "k", "cluster": { "server": "https://10.0.0.1:6443/x", "certificate-authority-data": "YQ==" } }],
            "users": [{ "name": "u", "user": { "token": "t" } }],
        });
        std::fs::write(&kubeconfig, config.to_string()).unwrap();
        let access = Access::write(&kubeconfig, dir.path()).unwrap();
        let scrape = access.configuration(&kubeconfig, "n")["scrape_configs"][0].clone();
        assert_eq!(scrape["authorization"]["credentials"], "t");
        assert_eq!(std::fs::read_to_string(scrape["tls_config"]["ca_file"].as_str().unwrap()).unwrap(), "a");
        let rules = scrape["relabel_configs"].to_string();
        assert!(rules.contains("/x/api/v1/namespaces/n/pods/$1/proxy/metrics"), "{rules}");
    }
}
