//! The end-to-end suite: real processes and sockets, on one embedded cluster for all tests.
//!
//! A test is a function that takes a [`Scope`]: a namespace and an operator of its own. `local` and `input` hold tests
//! that need no cluster, or one of their own.

mod crash;
mod input;
mod local;
mod plain;
mod shift;
mod walk;

use std::{future::Future, process::ExitCode, sync::Arc};

use anyhow::Result;
use e2e::{Cluster, Scope};
use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let listing = arguments.list;
    // Listing tests must not start anything.
    let cluster = if listing { None } else { Some(Cluster::start()) };
    let cluster = match cluster.transpose() {
        Ok(cluster) => cluster.map(Arc::new),
        Err(error) => {
            eprintln!("the cluster did not start: {error:#}");
            return ExitCode::FAILURE;
        }
    };

    let conclusion = libtest_mimic::run(&arguments, trials(cluster.as_ref()));
    let stopped = match cluster.map(Arc::try_unwrap) {
        Some(Ok(cluster)) => cluster.stop(),
        // A test that still holds it has been abandoned by the harness; the process ends and takes it along.
        Some(Err(_)) | None => Ok(()),
    };
    if let Err(error) = stopped {
        eprintln!("the cluster did not stop: {error:#}");
        return ExitCode::FAILURE;
    }
    conclusion.exit_code()
}

fn trials(cluster: Option<&Arc<Cluster>>) -> Vec<Trial> {
    let mut trials = Vec::new();
    macro_rules! scoped {
        ($($test:path),* $(,)?) => {
            $(trials.push(scoped(cluster, stringify!($test), |scope| Box::pin($test(scope))));)*
        };
    }
    macro_rules! alone {
        ($($test:path),* $(,)?) => {
            $({
                let cluster = cluster.cloned();
                trials.push(Trial::test(stringify!($test), move || match cluster {
                    Some(cluster) => $test(&cluster).map_err(|error| Failed::from(format!("{error:#}"))),
                    None => Ok(()),
                }));
            })*
        };
    }
    scoped!(
        walk::from_v1_to_v2_and_away,
        walk::rolls_back_without_a_pod_start,
        walk::pauses_resumes_and_aborts,
        walk::scales_during_a_shift,
        shift::rolling_under_load_with_polite_pods,
        shift::rolling_under_load_with_pods_that_die_at_once,
        shift::flips_under_load_with_polite_pods,
        shift::flips_under_load_with_pods_that_die_at_once,
        shift::retires_under_load_with_pods_that_die_at_once,
        shift::three_tiers_in_a_chain,
        shift::pods_killed_during_a_shift,
        shift::a_color_that_never_becomes_ready_stays_out,
        crash::operator_killed_twenty_times_in_a_shift,
        crash::traffic_needs_no_operator,
        plain::by_kubectl_alone,
        input::refused_by_the_cluster,
        input::foreign_objects_stay_untouched,
    );
    alone!(
        input::refused_before_anything_is_sent,
        input::no_cluster,
        local::up_status_down,
        local::killed_and_up_again,
        local::two_at_the_same_time,
        local::interrupted,
    );
    trials
}

type Test = for<'a> fn(&'a mut Scope) -> std::pin::Pin<Box<dyn Future<Output = Result<()>> + 'a>>;

/// A test with a namespace of its own, which must be gone without a trace afterwards.
fn scoped(cluster: Option<&Arc<Cluster>>, name: &'static str, test: Test) -> Trial {
    let cluster = cluster.cloned();
    Trial::test(name, move || {
        let Some(cluster) = cluster else { return Ok(()) };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(async {
            let mut scope = Scope::new(&cluster, name).await.map_err(|error| Failed::from(format!("{error:#}")))?;
            match test(&mut scope).await {
                Ok(()) => scope.remove().await.map_err(|error| Failed::from(format!("{error:#}"))),
                Err(error) => {
                    let diagnosis = scope.diagnose().await;
                    Err(Failed::from(format!("{error:#}\n{diagnosis}")))
                }
            }
        })
    })
}
