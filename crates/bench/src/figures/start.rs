//! Time from `rainbow local up` to an API that answers, and to a node that is Ready.

use std::{
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use e2e::Cli;
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api, Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

use crate::table::Figure;

/// Limit of the wait. A working machine takes less.
const PATIENCE: Duration = Duration::from_secs(30);
/// Interval of the checks: well below the measured times.
const INTERVAL: Duration = Duration::from_millis(1);

pub(crate) async fn measure(runs: u32) -> Result<Vec<Figure>> {
    let (mut answering, mut ready) = (Vec::new(), Vec::new());
    // The first start makes keys and directories, as it does on a user's machine; later ones find the files in the page cache.
    for _ in 0..runs {
        let home = tempfile::TempDir::with_prefix("rainbow-bench-")?;
        let cli = Cli::new(&e2e::programs()?.join("rainbow")).with("RAINBOW_HOME", home.path());
        let times = once(&cli, home.path()).await;
        cli.ok(&["local", "down"])?;
        let (api, node) = times?;
        answering.push(api.as_secs_f64() * 1000.0);
        ready.push(node.as_secs_f64() * 1000.0);
    }
    Ok(vec![
        Figure::new("start to API answering", "ms", 50.0, answering),
        Figure::new("start to node Ready", "ms", 300.0, ready),
    ])
}

async fn once(cli: &Cli, home: &Path) -> Result<(Duration, Duration)> {
    let kubeconfig = home.join("kubeconfig");
    let start = Instant::now();
    let mut up = cli.command(&["local", "up", "--api-port", "0"]);
    let mut up = up.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let client = until(start, "the API answers", async || {
        let client = client(&kubeconfig).await?;
        client.apiserver_version().await?;
        Ok(client)
    })
    .await?;
    let api = start.elapsed();
    let nodes = Api::<Node>::all(client);
    until(start, "the node is Ready", async || {
        let list = nodes.list(&kube::api::ListParams::default()).await?;
        let conditions = list.items.into_iter().filter_map(|node| node.status?.conditions).flatten();
        let ready = conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
        if ready { Ok(()) } else { bail!("not Ready") }
    })
    .await?;
    let node = start.elapsed();
    up.wait()?;
    Ok((api, node))
}

async fn client(kubeconfig: &Path) -> Result<Client> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).context("no kubeconfig yet")?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

async fn until<T>(start: Instant, what: &str, mut look: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    loop {
        match look().await {
            Ok(value) => return Ok(value),
            Err(error) if start.elapsed() > PATIENCE => {
                return Err(error.context(format!("gave up waiting until {what}")));
            }
            Err(_) => tokio::time::sleep(INTERVAL).await,
        }
    }
}
