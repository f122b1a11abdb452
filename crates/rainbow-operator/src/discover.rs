//! Support of the cluster's Kubernetes by Rainbow. `docs/compatibility.md` lists what differs between the supported versions, and why no
//! decision depends on it.

use k8s_openapi::apimachinery::pkg::version::Info;
use kube::Client;
use std::{fmt, time::Duration};

/// First wait after a failure. It doubles up to the longest.
const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_LONGEST: Duration = Duration::from_secs(30);

/// Oldest Kubernetes that Rainbow supports.
pub const OLDEST: Version = Version { major: 1, minor: 30 };

/// Version of Kubernetes, without its patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    major: u32,
    minor: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl Version {
    /// Returns the version in an answer of `/version`. `None`: the answer has no number.
    ///
    /// Some providers write a minor as `30+`. A build of Kubernetes without its linker flags leaves `major` and `minor` empty
    /// and says `v0.0.0-master+$Format:%H$`: there never was a Kubernetes 0.
    fn of(info: &Info) -> Option<Self> {
        let fields = Self::parse(&info.major, &info.minor);
        [fields, Self::of_text(&info.git_version)].into_iter().flatten().find(|version| version.major > 0)
    }

    /// Returns the version in a text such as `v1.30.14-gke.100`.
    fn of_text(text: &str) -> Option<Self> {
        let (major, rest) = text.strip_prefix('v').unwrap_or(text).split_once('.')?;
        Self::parse(major, rest)
    }

    fn parse(major: &str, minor: &str) -> Option<Self> {
        let number = |text: &str| {
            let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
            text[..end].parse().ok()
        };
        Some(Self { major: number(major)?, minor: number(minor)? })
    }
}

/// Error of a cluster whose Kubernetes is older than [`OLDEST`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this cluster runs Kubernetes {found}, and Rainbow needs {OLDEST} or later")]
pub struct TooOld {
    /// Version as the cluster writes it, without the `v`.
    found: String,
}

/// Support of a cluster by Rainbow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Support {
    /// Kubernetes is new enough.
    Full,
    /// The version has no number. Such a build is its owner's own, and counts as a current one.
    Unknown {
        /// Version as the cluster writes it.
        said: String,
    },
    /// Kubernetes is too old.
    None(TooOld),
}

impl Support {
    fn of(info: &Info) -> Self {
        let text = info.git_version.as_str();
        match Version::of(info) {
            Some(version) if version >= OLDEST => Self::Full,
            // The long form has the patch. It is not shown where it contradicts the number that decided.
            Some(version) if Version::of_text(text) == Some(version) => {
                Self::None(TooOld { found: text.strip_prefix('v').unwrap_or(text).to_owned() })
            }
            Some(version) => Self::None(TooOld { found: version.to_string() }),
            None => Self::Unknown { said: text.to_owned() },
        }
    }
}

/// Asks the API server for its version.
///
/// # Errors
/// Fails when the API server does not answer, or when the answer cannot be read.
pub async fn support(client: &Client) -> kube::Result<Support> {
    Ok(Support::of(&client.apiserver_version().await?))
}

/// Asks for the version until there is an answer.
pub(crate) async fn wait(client: &Client) -> Result<(), TooOld> {
    let mut pause = RETRY_FIRST;
    loop {
        match support(client).await {
            Ok(Support::Full) => return Ok(()),
            Ok(Support::Unknown { said }) => {
                tracing::warn!(
                    version = said,
                    "the cluster's version has no number: it is taken for {OLDEST} or later"
                );
                return Ok(());
            }
            Ok(Support::None(error)) => return Err(error),
            Err(error) => tracing::warn!(%error, again_in = ?pause, "the cluster does not say its version"),
        }
        tokio::time::sleep(pause).await;
        pause = pause.saturating_mul(2).min(RETRY_LONGEST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    };

    fn of(major: &str, minor: &str, git_version: &str) -> Support {
        let info =
            Info { major: major.into(), minor: minor.into(), git_version: git_version.into(), ..Info::default() };
        Support::of(&info)
    }

    #[test]
    fn supported_versions() {
        for (major, minor, text) in [
            ("1", "30", "v1.30.0"),
            ("1", "30+", "v1.30.14-eks-5d4a308"),
            ("1", "37", "v1.37.2"),
            ("1", "31+", "v1.31.0-alpha.1.23+abcdef"),
            ("2", "0", "v2.0.0"),
            ("", "", "v1.34.1+k3s1"),
            ("1", "", "1.33.2"),
            ("1", "33", ""),
            ("0", "0", "v1.33.0"),
        ] {
            assert_eq!(of(major, minor, text), Support::Full, "{major} {minor} {text}");
        }
    }

    #[test]
    fn older_versions_are_named() {
        for (major, minor, text, shown) in [
            ("1", "27", "v1.27.3", "1.27.3"),
            ("1", "29+", "v1.29.9-gke.1496000", "1.29.9-gke.1496000"),
            ("", "", "v1.28.15", "1.28.15"),
            ("1", "9", "v1.9.0", "1.9.0"),
            ("1", "29", "custom", "1.29"),
            ("1", "29", "v1.31.0", "1.29"),
        ] {
            let Support::None(error) = of(major, minor, text) else { panic!("{major} {minor} {text}") };
            let expected = format!("this cluster runs Kubernetes {shown}, and Rainbow needs 1.30 or later");
            assert_eq!(error.to_string(), expected);
        }
    }

    /// A cluster that does not answer may be supported.
    #[tokio::test(start_paused = true)]
    async fn no_answer_is_asked_for_again() {
        let asked = Arc::new(AtomicU32::new(0));
        let requests = Arc::clone(&asked);
        let api = tower::service_fn(move |_: http::Request<kube::client::Body>| {
            let nth = requests.fetch_add(1, Relaxed);
            async move {
                let (code, body) = match nth {
                    0 => (200, "no JSON".to_owned()),
                    1..5 => (503, json!({ "kind": "Status", "status": "Failure", "code": 503 }).to_string()),
                    _ => (200, json!({ "major": "1", "minor": "29", "gitVersion": "v1.29.1" }).to_string()),
                };
                let response = http::Response::builder().status(code);
                response.body(kube::client::Body::from(body.into_bytes()))
            }
        });
        let ended = wait(&Client::new(api, "default")).await;
        assert_eq!(ended, Err(TooOld { found: "1.29.1".into() }));
        assert_eq!(asked.load(Relaxed), 6);
    }

    #[test]
    fn a_version_without_a_number_is_not_old() {
        for (major, minor, text) in [
            ("", "", ""),
            ("", "", "v0.0.0-master+$Format:%H$"),
            ("0", "0", "v0.0.0"),
            ("one", "thirty", "one.thirty"),
            ("99999999999", "1", "v99999999999.1"),
            ("1", "x30", "v1.x30"),
            ("1", "é", "vé.1"),
        ] {
            assert_eq!(of(major, minor, text), Support::Unknown { said: text.into() }, "{major} {minor} {text}");
        }
    }
}
