//! Basis of every command: the printer, and the way to the cluster.

use std::{
    env,
    path::{Path, PathBuf},
    time::Duration,
};

use kube::{
    Api, Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
    core::NamespaceResourceScope,
};
use rainbow_api::{Color, Rainbow, names};
use rainbow_operator::agent;

use crate::{
    error::{Error, Result, cannot_read, chain, hint, io_cause},
    local,
    printer::Printer,
};

/// Name and version of this program in the requests that it sends. The operator's requests carry a name of their own.
pub(crate) const AGENT: &str = concat!("rainbow/", env!("CARGO_PKG_VERSION"));
/// Longest time for the connection to the API server to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Basis of every command.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    pub(crate) printer: Printer,
    pub(crate) kubeconfig: Option<PathBuf>,
    pub(crate) context: Option<String>,
    pub(crate) namespace: Option<String>,
}

/// Cluster, and a namespace in it.
#[derive(Clone)]
pub(crate) struct Cluster {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    /// Address of the API server.
    pub(crate) server: String,
    /// Source of the address and the credentials.
    pub(crate) source: String,
}

impl Context {
    /// Finds the cluster as kubectl does, by `--kubeconfig`, `$KUBECONFIG` and `~/.kube/config`; after these, by the pod that this process runs
    /// in, and by the local cluster.
    pub(crate) async fn cluster(&self) -> Result<Cluster> {
        self.cluster_with(None).await
    }

    /// Finds the cluster as [`Context::cluster`] does, with a limit for reads: a connection on which nothing arrives for `patience` while an
    /// answer is awaited is closed. Without a limit, a connection that is dead but not closed, as behind a load balancer that has failed over,
    /// stays until the kernel gives up after a quarter of an hour.
    pub(crate) async fn cluster_with(&self, patience: Option<Duration>) -> Result<Cluster> {
        let (mut config, source) = self.config().await?;
        config.read_timeout = patience;
        // Without this, the time that a connection has been idle would count.
        config.reset_reader_on_write = true;
        let server = config.cluster_url.to_string();
        self.printer.detail(format_args!("cluster: {server} (from {source})"));
        self.printer.doing(format_args!("asking the cluster at {server}"));
        let namespace = self.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        if !names::is_dns_label(&namespace) {
            return Err(Error::Usage(format!(
                "`{namespace}` is no name of a namespace: use lower case letters, digits and `-`; correct --namespace, \
                 $RAINBOW_NAMESPACE or the context"
            )));
        }
        let client = Client::try_from(config)
            .map_err(|error| Error::NoCluster(format!("cannot use {source}: {}", chain(&error))))?;
        let client = agent::named(client, AGENT);
        Ok(Cluster { client, namespace, server, source })
    }

    async fn config(&self) -> Result<(Config, String)> {
        if let Some(path) = &self.kubeconfig {
            return self.read_file(path).await;
        }
        if env::var_os("KUBECONFIG").is_some_and(|value| !value.is_empty()) {
            let source = "$KUBECONFIG";
            let kubeconfig = Kubeconfig::from_env().map_err(|error| {
                let files = env::var_os("KUBECONFIG").unwrap_or_default();
                unreadable(&format!("{source} ({})", files.display()), &error)
            })?;
            let kubeconfig = kubeconfig
                .ok_or_else(|| Error::Usage("$KUBECONFIG names no file that exists: unset it or correct it".into()))?;
            return Ok((self.select(kubeconfig, source).await?, source.into()));
        }
        let home = env::home_dir().map(|home| home.join(".kube/config"));
        if let Some(path) = home.filter(|path| path.exists()) {
            return self.read_file(&path).await;
        }
        if let Ok(config) = Config::incluster() {
            return Ok((with_timeout(config), "the pod's service account".into()));
        }
        match local::Home::of_environment().map(|home| home.kubeconfig()) {
            Ok(Some(path)) => return self.read_file(&path).await,
            Err(Error::Usage(wrong)) => return Err(Error::Usage(wrong)),
            // Without a home there is no local cluster.
            Ok(None) | Err(_) => {}
        }
        Err(Error::NoCluster(
            "no cluster: there is no --kubeconfig, $KUBECONFIG, ~/.kube/config or local cluster; \
             start one with `rainbow local up`"
                .into(),
        ))
    }

    async fn read_file(&self, path: &Path) -> Result<(Config, String)> {
        let source = path.display().to_string();
        let kubeconfig = Kubeconfig::read_from(path).map_err(|error| unreadable(&source, &error))?;
        Ok((self.select(kubeconfig, &source).await?, source))
    }

    async fn select(&self, kubeconfig: Kubeconfig, source: &str) -> Result<Config> {
        if let Some(context) = &self.context {
            let names: Vec<String> = kubeconfig.contexts.iter().map(|context| context.name.clone()).collect();
            if !names.contains(context) {
                let hint = hint(context, &names);
                return Err(Error::NoCluster(format!("{source} has no context `{context}`{hint}")));
            }
        }
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
        config.map(with_timeout).map_err(|error| unreadable(source, &error))
    }
}

fn with_timeout(mut config: Config) -> Config {
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config
}

fn unreadable(source: &str, error: &(dyn std::error::Error + 'static)) -> Error {
    use kube::config::KubeconfigError as E;
    let remedy = "get a new one";
    let (cause, remedy) = match error.downcast_ref::<E>() {
        // A named file that does not exist is wrong usage, as for any other file.
        Some(E::ReadConfig(error, path)) if error.kind() == std::io::ErrorKind::NotFound => {
            return cannot_read(path, error);
        }
        Some(E::ReadConfig(error, path)) => (format!("{}: {}", path.display(), io_cause(error)), remedy),
        Some(E::CurrentContextNotSet) => ("it sets no current-context".into(), "choose one with --context"),
        Some(E::LoadContext(name)) => (format!("its context `{name}` is not in it"), "choose one with --context"),
        Some(E::LoadClusterOfContext(name)) => (format!("its cluster `{name}` is not in it"), remedy),
        Some(E::Parse(error)) => (format!("it is no kubeconfig{}", place_of(&error.to_string())), remedy),
        _ => (chain(error), remedy),
    };
    let cause = cause.strip_prefix(&format!("{source}: ")).map(str::to_owned).unwrap_or(cause);
    // A parser draws the place below its message; the line and column in the message say the same.
    let cause = cause.lines().next().unwrap_or_default();
    Error::NoCluster(format!("cannot use the kubeconfig {source}: {cause}: {remedy}"))
}

/// Returns the line that a parser's message names, as the end of a sentence.
fn place_of(message: &str) -> String {
    let number =
        message.split("line ").nth(1).map(|rest| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
    number.filter(|number| !number.is_empty()).map(|number| format!(", line {number}")).unwrap_or_default()
}

impl Cluster {
    /// Returns the API of a kind's objects in the namespace.
    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Finds a Rainbow by name. `None`: there is none.
    pub(crate) async fn find_rainbow(&self, name: &str) -> Result<Option<Rainbow>> {
        // Other characters would make the name another path of the API.
        let is_fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
        if name.chars().all(|c| c == '.') || !name.chars().all(is_fine) {
            return Err(Error::Usage(format!(
                "`{name}` is no name of a Rainbow: use lower case letters, digits and `-`"
            )));
        }
        self.api::<Rainbow>().get_opt(name).await.map_err(|error| self.error(&error))
    }

    /// Returns a Rainbow by name, or fails with the names that exist.
    pub(crate) async fn rainbow(&self, name: &str) -> Result<Rainbow> {
        if let Some(rainbow) = self.find_rainbow(name).await? {
            return Ok(rainbow);
        }
        let api = self.api::<Rainbow>();
        let all = match api.list(&Default::default()).await {
            Ok(all) => all,
            Err(kube::Error::Api(status)) if status.code == 404 => return Err(not_installed()),
            Err(error) => return Err(self.error(&error)),
        };
        let names: Vec<String> = all.items.into_iter().filter_map(|rainbow| rainbow.metadata.name).collect();
        let hint = hint(name, &names);
        Err(Error::NotFound(format!("rainbow `{name}` does not exist in namespace `{}`{hint}", self.namespace)))
    }

    /// Returns the colors of a Rainbow, newest first.
    pub(crate) async fn colors(&self, rainbow: &str) -> Result<Vec<Color>> {
        let mut colors = self.all_colors().await?;
        colors.retain(|color| color.spec.rainbow == rainbow);
        colors.sort_by_key(|color| std::cmp::Reverse(color.spec.revision));
        Ok(colors)
    }

    /// Returns the colors of all Rainbows in the namespace.
    pub(crate) async fn all_colors(&self) -> Result<Vec<Color>> {
        let all = self.api::<Color>().list(&Default::default()).await.map_err(|error| self.error(&error))?;
        Ok(all.items)
    }

    /// Converts an error of the API to a message for people.
    pub(crate) fn error(&self, error: &kube::Error) -> Error {
        if let kube::Error::Api(status) = error {
            let message = &status.message;
            return match status.code {
                401 => Error::NoCluster(format!(
                    "the cluster at {} does not accept the credentials in {}: they may have expired; get a new kubeconfig",
                    self.server, self.source
                )),
                404 if status.details.as_ref().is_none_or(|details| details.name.is_empty()) => not_installed(),
                404 => Error::NotFound(message.clone()),
                403 | 409 => Error::Refused(format!("the cluster refused: {message}")),
                400 | 422 => Error::Usage(format!("the cluster refused: {message}")),
                code => Error::Failed(format!("the cluster answered {code}: {message}")),
            };
        }
        let text = chain(error);
        if let Some(whose) = expired(&text) {
            return Error::NoCluster(match whose {
                CertificateOwner::Client => format!(
                    "the client certificate in {} has expired: get a new kubeconfig (that of the local cluster is made anew \
                     by `rainbow local up`)",
                    self.source
                ),
                CertificateOwner::Server => {
                    format!("the certificate of the cluster at {} has expired: it has to be renewed there", self.server)
                }
            });
        }
        if is_untrusted(&text) {
            return Error::NoCluster(format!(
                "the certificate of the cluster at {} is not one that {} trusts: the file is of another cluster or of an earlier one; get \
                 a new kubeconfig",
                self.server, self.source
            ));
        }
        if let Some(remedy) = self.local_remedy().filter(|_| text.contains("Connection refused")) {
            return Error::NoCluster(format!(
                "the local cluster at {} (from {}) is not running: start it with `{remedy}`",
                self.server, self.source
            ));
        }
        if matches!(error, kube::Error::Service(_) | kube::Error::HyperError(_) | kube::Error::Auth(_)) {
            let cause = text.rsplit(": ").next().unwrap_or(&text);
            let cause = cause.split(" (os error").next().unwrap_or(cause);
            return Error::NoCluster(format!(
                "cannot reach the cluster at {} (from {}): {cause}; is it running?",
                self.server, self.source
            ));
        }
        Error::Failed(text)
    }
}

/// Owner of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CertificateOwner {
    Client,
    Server,
}

impl Cluster {
    /// Returns the command that starts the local cluster whose kubeconfig was read. `None`: the kubeconfig is that of another cluster.
    fn local_remedy(&self) -> Option<String> {
        let profiles = local::Home::profiles().ok()?.into_iter().filter_map(|name| local::Home::of(Some(&name)).ok());
        let is_it = |home: &local::Home| {
            let own = home.kubeconfig_file();
            let same_server =
                || std::fs::read_to_string(&own).is_ok_and(|text| text.contains(self.server.trim_end_matches('/')));
            Path::new(&self.source) == own || same_server()
        };
        let home = profiles.into_iter().find(is_it)?;
        Some(home.start_command())
    }
}

/// Returns whether a server's certificate was refused for another reason than its age, by the words of rustls.
fn is_untrusted(text: &str) -> bool {
    text.contains("invalid peer certificate") || text.contains("UnknownIssuer")
}

/// Returns whose certificate has expired. A server refuses an expired certificate of the client by a TLS alert.
fn expired(text: &str) -> Option<CertificateOwner> {
    let text = text.to_lowercase().replace(' ', "");
    if text.contains("alert") && text.contains("certificateexpired") {
        Some(CertificateOwner::Client)
    } else if text.contains("invalidpeercertificate") && text.contains("expired") {
        Some(CertificateOwner::Server)
    } else {
        None
    }
}

pub(crate) fn not_installed() -> Error {
    Error::Failed("Rainbow is not installed in this cluster: run `rainbow install`".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_server_that_says_nothing_is_given_up() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let kubeconfig = serde_json::json!({
            "current-context": "c",
            "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "u" } }],
            "clusters": [{ "name": "c", "cluster": { "server": format!("http://{}", listener.local_addr().unwrap()) } }],
            "users": [{ "name": "u", "user": {} }],
        });
        std::fs::write(dir.path().join("config"), kubeconfig.to_string()).unwrap();
        let context = Context {
            printer: Printer::new(crate::printer::ColorWhen::Auto, false, false),
            kubeconfig: Some(dir.path().join("config")),
            context: None,
            namespace: None,
        };
        let cluster = context.cluster_with(Some(Duration::from_millis(200))).await.unwrap();
        // The kernel accepts the connections, and no process answers.
        let error = cluster.client.apiserver_version().await.unwrap_err();
        assert!(!matches!(error, kube::Error::Api(_)), "{error}");
    }

    /// The messages are those of rustls.
    #[test]
    fn it_is_told_whose_certificate_has_expired() {
        let client = "client error (SendRequest): received fatal alert: CertificateExpired";
        let server = "client error (Connect): invalid peer certificate: certificate expired: verified at time 1795343000 \
                      (UNIX), but certificate is not valid after 1738368000 (9000 seconds ago)";
        assert_eq!(expired(client), Some(CertificateOwner::Client));
        assert_eq!(
            expired("received fatal alert: the peer certificate expired: CertificateExpired"),
            Some(CertificateOwner::Client)
        );
        assert_eq!(expired(server), Some(CertificateOwner::Server));
        assert_eq!(expired("invalid peer certificate: UnknownIssuer"), None);
        assert_eq!(expired("connection refused"), None);
        assert!(is_untrusted("client error (Connect): invalid peer certificate: UnknownIssuer"));
        assert!(!is_untrusted("connection refused"));
    }
}
