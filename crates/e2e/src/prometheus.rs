//! Prometheus server of a test, which scrapes the pods of the test's namespace.
//!
//! The server runs on this machine, from which pods cannot be reached on every cluster. So it scrapes them through the API server's proxy, with the
//! credentials of the test's kubeconfig. Debian builds Prometheus without its discovery of Kubernetes' pods, so this module lists the pods, and
//! writes them into a file that the server watches.

use std::{
    fs::File,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt, api::ListParams, config::Kubeconfig};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::{eventually, load, programs};

/// Time from one scrape to the next, which a scrape may take. One that fails is made again.
const INTERVAL: &str = "500ms";
/// Interval at which the pods are listed.
const LOOK: Duration = Duration::from_millis(250);
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
    /// Task that lists the pods.
    lister: JoinHandle<()>,
    address: String,
    /// Directory of the configuration, the credentials and the data.
    _dir: TempDir,
}

impl Prometheus {
    /// Starts the server for the pods of a namespace, and waits until it answers.
    pub(crate) async fn start(program: &Path, kubeconfig: &Path, pods: Api<Pod>, namespace: &str) -> Result<Self> {
        let dir = TempDir::with_prefix("rainbow-prometheus-")?;
        let settings = dir.path().join("prometheus.yml");
        let access = Access::write(kubeconfig, dir.path())?;
        let file = dir.path().join("targets.json");
        // JSON is valid YAML.
        std::fs::write(&settings, access.configuration(&file).to_string())?;
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
        let Access { server, path, .. } = access;
        let targets = Targets { pods, namespace: namespace.to_owned(), server, path, file };
        let lister = tokio::spawn(targets.keep());
        let mut server = Self { child, lister, address: String::new(), _dir: dir };
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
        self.lister.abort();
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
                let options = File::options().write(true).create(true).truncate(true).mode(0o600).open(&file)?;
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

    /// Builds the server's configuration, for the targets of a file.
    fn configuration(&self, targets: &Path) -> Value {
        let mut scrape = json!({ "job_name": "pods", "scheme": "https", "file_sd_configs": [{ "files": [targets] }] });
        for (field, value) in self.credentials.as_object().into_iter().flatten() {
            scrape[field] = value.clone();
        }
        json!({ "global": { "scrape_interval": INTERVAL, "scrape_timeout": INTERVAL }, "scrape_configs": [scrape] })
    }
}

/// Lister of the targets. It writes those of a namespace into a file, whenever they change.
struct Targets {
    pods: Api<Pod>,
    namespace: String,
    server: String,
    path: String,
    file: PathBuf,
}

impl Targets {
    async fn keep(self) {
        let mut written = String::new();
        loop {
            // A list that fails is asked for again.
            if let Ok(pods) = self.pods.list(&ListParams::default().labels("rainbow.dev/tier")).await {
                let targets = Value::from_iter(pods.items.iter().filter_map(|pod| self.target(pod))).to_string();
                if targets != written && self.write(&targets).is_ok() {
                    written = targets;
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Returns the target of a pod that runs. Its series have the labels `color`, `tier` and `pod`.
    fn target(&self, pod: &Pod) -> Option<Value> {
        let runs = pod.status.as_ref()?.phase.as_deref() == Some("Running");
        let containers = &pod.spec.as_ref()?.containers;
        let mut ports = containers.iter().flat_map(|container| container.ports.iter().flatten());
        let port = ports.find(|port| port.name.as_deref() == Some("http")).filter(|_| runs)?.container_port;
        let (name, namespace) = (pod.name_any(), &self.namespace);
        let path = format!("{}/api/v1/namespaces/{namespace}/pods/{name}:{port}/proxy/metrics", self.path);
        let label = |key: &str| pod.labels().get(key);
        let (color, tier) = (label("rainbow.dev/color"), label("rainbow.dev/tier"));
        let labels = json!({ "__metrics_path__": path, "color": color, "tier": tier, "pod": name, "instance": name });
        Some(json!({ "targets": [self.server], "labels": labels }))
    }

    /// Replaces the file in one step: the server reads it at any time.
    fn write(&self, targets: &str) -> std::io::Result<()> {
        let new = self.file.with_extension("new");
        std::fs::write(&new, targets)?;
        std::fs::rename(new, &self.file)
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
        let scrape = access.configuration(Path::new("/targets.json"))["scrape_configs"][0].clone();
        assert_eq!(scrape["authorization"]["credentials"], "t");
        assert_eq!(std::fs::read_to_string(scrape["tls_config"]["ca_file"].as_str().unwrap()).unwrap(), "a");
        assert_eq!((access.server.as_str(), access.path.as_str()), ("10.0.0.1:6443", "/x"));
    }
}
