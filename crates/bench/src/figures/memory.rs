//! Memory of the embedded cluster, operator included, and the memory that each pod adds beyond its application.

use std::time::Duration;

use anyhow::Result;
use e2e::{Cluster, Scope, processes};

use super::pods::{deployment, scale};
use crate::table::Figure;

/// Number of pods that are started to measure the memory of one.
const PODS: i32 = 20;
/// Time after which start-up is over and memory is read.
const REST: Duration = Duration::from_secs(2);

pub(crate) async fn measure(runs: u32) -> Result<Vec<Figure>> {
    let (mut idle, mut per_pod) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let cluster = Cluster::start_with_operator()?;
        tokio::time::sleep(REST).await;
        let before = own_memory(&cluster);
        let mut scope = Scope::new(&cluster, "memory").await?;
        scope.operator.kill();
        scale(&scope, &deployment(PODS), PODS).await?;
        tokio::time::sleep(REST).await;
        let after = own_memory(&cluster);
        cluster.stop()?;
        idle.push(mib(before));
        per_pod.push((mib(after) - mib(before)) / f64::from(PODS));
    }
    Ok(vec![
        Figure::new("memory, idle, operator included", "MiB", 30.0, idle),
        Figure::new("memory per pod beyond its application", "MiB", 1.0, per_pod),
    ])
}

/// Returns the memory in KiB of everything that the cluster runs except the application's own processes.
fn own_memory(cluster: &Cluster) -> u64 {
    let roots = processes::with_env("RAINBOW_HOME", &cluster.dir().to_string_lossy());
    let family = processes::with_descendants(&roots);
    let own = family.into_iter().filter(|pid| processes::name(*pid).as_deref() != Some("backend"));
    own.filter_map(processes::memory_kib).sum()
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
