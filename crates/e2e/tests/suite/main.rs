//! End-to-end suite: real processes and sockets, on one cluster for all tests.
//!
//! A test is a function that takes a [`Scope`]: a namespace and an operator of its own, on the embedded cluster or on
//! the one of the kubeconfig. Further needs of a test are stated where it is listed, below.
//!
//! | module | subject |
//! |---|---|
//! | `cluster` | faithfulness of the embedded cluster |
//! | `config` | ConfigMaps and Secrets as part of a version |
//! | `crash` | operators and nodes that fail |
//! | `drain` | connections of draining colors |
//! | `gates` | gates and steps |
//! | `health` | versions that fail |
//! | `holds` | manifests after `deploy` and `rollback` |
//! | `hpa`, `scale` | autoscalers |
//! | `input` | bad input |
//! | `install` | `rainbow install` |
//! | `kubectl` | kubectl |
//! | `local` | life of the embedded cluster |
//! | `network` | failing networks during a drain |
//! | `others` | other writers |
//! | `plain`, `seed` | the proofs of concept's own ways |
//! | `reuse` | shared instances |
//! | `serves` | independence of what serves from later specs |
//! | `service` | fields of Services |
//! | `shift` | shifts under load |
//! | `sidecar` | start of the counter |
//! | `takeover` | two operators, one of which leads |
//! | `tiers` | releases tier by tier |
//! | `unready` | pods that do not become ready |
//! | `walk` | the main job by Rainbow's own commands |

mod cluster;
mod config;
mod crash;
mod documents;
mod drain;
mod gates;
mod health;
mod holds;
mod hpa;
mod input;
mod install;
mod kubectl;
mod local;
mod network;
mod others;
mod plain;
mod reuse;
mod scale;
mod seed;
mod serves;
mod service;
mod shift;
mod sidecar;
mod takeover;
mod tiers;
mod unready;
mod walk;
mod watching;

use std::{
    future::Future,
    path::Path,
    pin::Pin,
    process::ExitCode,
    sync::{Arc, PoisonError, RwLock, mpsc},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use clap::Parser;
use e2e::{Cluster, ClusterKind, OperatorPlace, Reach, Scope, Settings, metrics};
use libtest_mimic::{Arguments, Failed, Trial};

/// Default number of tests at once. Each has its own load, and often one machine is client and cluster.
const AT_ONCE: usize = 3;
/// Time limit of a test. The slowest takes 5 min on a real cluster of a machine with two cores.
const LIMIT: Duration = Duration::from_secs(20 * 60);
/// Time that a test has beyond [`LIMIT`] to report what it waits for and to clean up.
const LAST_WORDS: Duration = Duration::from_secs(2 * 60);

#[derive(Parser)]
#[command(disable_version_flag = true, about = "The end-to-end suite (docs/testing.md)")]
struct Options {
    #[command(flatten)]
    harness: Arguments,
    #[command(flatten)]
    settings: Settings,
}

/// Requirement of a test on its cluster. Where it is not met, the test is shown as ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs {
    /// Test of the embedded cluster itself.
    Embedded,
    /// Connections of clients are counted. Those that come through the API are not: they begin in the pod itself.
    Counted,
    /// Test kills or replaces its operator.
    OperatorOutside,
    /// Test signals processes of pods, so they must be this machine's.
    Processes,
    /// Test disconnects pods from the network: as `Processes`, and this machine must have the programs for it.
    Cables,
    /// Test runs kubectl.
    Kubectl,
    /// Test runs a Prometheus server.
    Prometheus,
    /// Requests are refused where a client lacks the right.
    Rights,
    /// Autoscalers are moved by Kubernetes' own controller, by metrics that the test registers.
    Autoscalers,
    /// Operator of all namespaces may be installed and removed again, with no other test in parallel: only where Rainbow did not exist before,
    /// and on two nodes.
    Install,
    /// Test cuts a node off: only where the settings say how, and with no other test in parallel.
    CutNode,
}

impl Needs {
    fn met(self, settings: &Settings, cluster: Option<&Cluster>, reach: Option<&Reach>) -> bool {
        match self {
            Self::Kubectl => cluster.is_some_and(|cluster| cluster.kubectl().is_some()),
            Self::Prometheus => cluster.is_some_and(|cluster| cluster.prometheus().is_some()),
            Self::Rights => settings.cluster == ClusterKind::Current,
            Self::Embedded => settings.cluster == ClusterKind::Embedded,
            Self::Counted => reach != Some(&Reach::PortForward),
            Self::OperatorOutside => settings.operator == OperatorPlace::Outside,
            Self::Processes => settings.reaches_pods(),
            Self::Cables => settings.reaches_pods() && network::can_pull(),
            Self::Autoscalers => cluster.is_some_and(Cluster::has_autoscalers),
            Self::Install => cluster.is_some_and(Cluster::may_install),
            Self::CutNode => settings.cut().is_some(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Counted => "counted connections",
            Self::OperatorOutside => "operator outside",
            Self::Processes => "pods of this machine",
            Self::Cables => "pods of this machine, nsenter, ip",
            Self::Kubectl => "kubectl",
            Self::Prometheus => "Prometheus",
            Self::Rights => "rights",
            Self::Autoscalers => "autoscalers that act",
            Self::Install => "two nodes, no Rainbow before",
            Self::CutNode => "node to cut off",
        }
    }

    /// Returns whether a test has the cluster for itself.
    fn is_alone(self) -> bool {
        matches!(self, Self::CutNode | Self::Install)
    }
}

fn main() -> ExitCode {
    let Options { mut harness, settings } = Options::parse();
    harness.test_threads.get_or_insert(AT_ONCE);
    // Listing tests must not start anything.
    let found = if harness.list { Ok(None) } else { start(&settings).map(Some) };
    let (cluster, reach) = match found.map(Option::unzip) {
        Ok(found) => found,
        Err(error) => {
            eprintln!("the cluster cannot be used: {error:#}");
            return ExitCode::FAILURE;
        }
    };

    if let Some(cluster) = &cluster {
        println!("{}", which_kubectl(cluster));
        println!("{}", which_prometheus(cluster));
    }
    let conclusion = libtest_mimic::run(&harness, trials(cluster.as_ref(), &settings, reach.as_ref()));
    let stopped = match cluster.map(Arc::try_unwrap) {
        Some(Ok(cluster)) => cluster.stop(),
        // A test that still holds the cluster was abandoned by the harness; the process ends and takes it along.
        Some(Err(_)) | None => Ok(()),
    };
    if let Err(error) = stopped {
        eprintln!("the cluster is not left as it was: {error:#}");
        return ExitCode::FAILURE;
    }
    conclusion.exit_code()
}

/// Describes the kubectl in use, before the tests: an ignored test does not show its reason.
fn which_kubectl(cluster: &Cluster) -> String {
    match cluster.kubectl() {
        Some(kubectl) => format!("kubectl: {} at {}", kubectl.version(), kubectl.program().display()),
        None => "kubectl: none on the PATH, so the tests of kubectl are ignored; \
                 KUBECTL=\"$(scripts/kubectl)\" has one built (docs/testing.md)"
            .to_owned(),
    }
}

/// Describes the Prometheus in use, as [`which_kubectl`] does.
fn which_prometheus(cluster: &Cluster) -> String {
    match cluster.prometheus() {
        Some(program) => format!("Prometheus: {}", program.display()),
        None => "Prometheus: none on the PATH, so the tests of its gates are ignored; \
                 PROMETHEUS=\"$(scripts/prometheus)\" has one downloaded (docs/testing.md)"
            .to_owned(),
    }
}

/// Starts the cluster, and determines how its Services are reached.
fn start(settings: &Settings) -> Result<(Arc<Cluster>, Reach)> {
    let cluster = Cluster::of(settings.clone())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let found = give_images(&cluster).and_then(|()| runtime.block_on(cluster.reach()).cloned());
    match found {
        Ok(reach) => Ok((Arc::new(cluster), reach)),
        Err(error) => {
            // The first error is reported, not that something could not be undone either.
            let _ = cluster.stop();
            Err(error)
        }
    }
}

/// Gives the cluster the images that only some tests need, where these tests are not ignored.
fn give_images(cluster: &Cluster) -> Result<()> {
    if cluster.has_autoscalers() {
        cluster.build_image_from(metrics::PROGRAM, Path::new(env!("CARGO_BIN_EXE_external-metrics")))?;
    }
    if cluster.may_install() {
        cluster.build_operator_image()?;
    }
    Ok(())
}

fn trials(cluster: Option<&Arc<Cluster>>, settings: &Settings, reach: Option<&Reach>) -> Vec<Trial> {
    let mut trials = Vec::new();
    let turns = Arc::new(RwLock::new(()));
    let with_needs = |trial: Trial, needs: &[Needs]| {
        let names: Vec<&str> = needs.iter().map(|need| need.name()).collect();
        trial
            .with_kind(names.join(", "))
            .with_ignored_flag(!needs.iter().all(|need| need.met(settings, cluster.map(Arc::as_ref), reach)))
    };
    // Tests with a namespace of their own.
    macro_rules! scoped {
        ($needs:expr; $($test:path),* $(,)?) => {
            let needs: &'static [Needs] = $needs;
            $({
                let trial = scoped(cluster, &turns, needs, stringify!($test), |scope| Box::pin($test(scope)));
                trials.push(with_needs(trial, needs));
            })*
        };
    }
    // Tests of the command, or with a cluster of their own.
    macro_rules! alone {
        ($needs:expr; $($test:path),* $(,)?) => {
            $({
                let cluster = cluster.cloned();
                let trial = limited(stringify!($test), move || cluster.as_deref().map_or(Ok(()), $test));
                trials.push(with_needs(trial, $needs));
            })*
        };
    }
    scoped!(&[];
        walk::from_v1_to_v2_and_away,
        walk::rolls_back_without_a_pod_start,
        walk::pauses_resumes_and_aborts,
        walk::scales_during_a_shift,
        walk::scales_by_a_command,
        shift::rolling_under_load_with_polite_pods,
        shift::rolling_under_load_with_pods_that_die_at_once,
        shift::flips_under_load_with_polite_pods,
        shift::flips_under_load_with_pods_that_die_at_once,
        shift::retires_under_load_with_pods_that_die_at_once,
        shift::three_tiers_in_a_chain,
        shift::with_one_pod_more,
        scale::an_autoscaler_scales_in_during_a_shift,
        scale::another_controller_scales_in_during_a_shift,
        serves::a_declared_port_that_changes,
        serves::a_port_that_changes,
        serves::a_named_port_that_changes,
        serves::a_smaller_release,
        serves::a_release_without_the_tier_in_front,
        serves::a_flip_under_a_local_policy_overlaps,
        service::local_traffic_through_a_flip,
        health::a_way_back_from_a_version_that_fails,
        health::a_stage_takes_itself_back,
        health::a_version_that_never_becomes_ready_is_given_up,
        health::a_version_that_never_served_goes_at_once,
        serves::fewer_replicas_cut_no_connection,
        serves::an_invalid_spec_in_mid_shift,
        serves::a_stage_named_like_a_living_color,
        serves::a_held_stage_has_a_budget,
        serves::stages_swap_their_node_ports,
        gates::pods::a_version_that_breaks_under_load_is_taken_back,
        gates::held::a_job_decides,
        gates::held::own_requests_decide,
        gates::held::a_person_approves,
        holds::a_tier_goes_after_a_deploy,
        watching::history_says_why,
        watching::a_wait_that_is_left_goes_on,
        watching::logs_of_all_pods,
        shift::pods_killed_during_a_shift,
        shift::a_color_that_never_becomes_ready_stays_out,
        others::labels_that_others_write,
        others::a_service_that_others_edit,
        plain::by_kubectl_alone,
        input::refused_by_the_cluster,
        input::refused_before_anything_is_written,
        input::two_of_the_same_names,
        input::foreign_objects_stay_untouched,
        sidecar::starts_where_a_namespace_is_strict,
        sidecar::starts_in_a_pod_of_root,
        unready::pods_that_do_not_start_say_why,
        unready::a_readiness_gate_opens_by_the_own_service,
        config::a_changed_config_map_is_a_release,
        config::a_changed_secret_is_a_release,
        config::a_used_color_name_is_refused,
        drain::what_is_not_understood_holds,
        drain::flips_back_and_forth_under_load,
        tiers::a_release_of_the_backend_alone,
        tiers::tested_tier_by_tier,
        reuse::a_chain_starts_what_changed_and_its_callers,
        reuse::a_diamond_starts_what_changed_and_its_callers,
        seed::a_service_that_moves_at_once_drops_connections,
        seed::a_stage_that_moves_at_once_drops_none,
        cluster::a_pod_that_does_not_fit_waits,
    );
    scoped!(&[Needs::Counted];
        cluster::an_endpoint_that_refuses_fails_its_connections,
        service::affinity_through_a_shift,
        tiers::connections_between_tiers_hold,
        drain::three_colors_keep_their_connections_through_flips,
        drain::idle_pods_leave_before_busy_ones,
        drain::ignored_peers_hold_nothing,
        serves::a_release_that_is_counted_otherwise,
        drain::a_draining_color_is_taken_back_as_it_is,
        drain::pods_that_drain_have_no_deployment,
        drain::a_pool_ends_at_the_deadline_with_a_report,
        drain::websockets_last,
        drain::retire_is_refused_and_forced,
        drain::twenty_colors_at_once,
        drain::deleting_a_color_ends_no_other,
    );
    scoped!(&[Needs::Rights];
        gates::held::approving_is_a_right_of_its_own,
    );
    // Servers of gates are on this machine, which an operator in the cluster does not reach.
    scoped!(&[Needs::OperatorOutside];
        gates::held::a_web_server_decides,
        gates::steps::one_after_the_other,
        gates::steps::a_failed_gate_goes_back,
        gates::steps::between_tiers,
    );
    scoped!(&[Needs::Prometheus, Needs::OperatorOutside];
        gates::metrics::a_version_that_answers_500_is_taken_back,
        gates::metrics::a_slow_version_is_not_taken_again,
        gates::metrics::no_data_holds_passes_or_fails,
    );
    scoped!(&[Needs::Kubectl];
        holds::an_old_manifest_undoes_no_rollback,
        kubectl::applies_changes_and_deletes,
        kubectl::rolls_out_and_back,
        kubectl::shows_and_explains,
        kubectl::creates_by_generators,
        kubectl::reaches_into_pods,
        kubectl::watches_and_waits,
        kubectl::evicts,
        kubectl::knows_rainbow,
    );
    scoped!(&[Needs::OperatorOutside];
        crash::operator_killed_twenty_times_in_a_shift,
        crash::traffic_needs_no_operator,
        tiers::operator_killed_twenty_times_tier_by_tier,
        config::without_the_right_it_is_told,
        drain::a_counter_that_talks_nonsense_holds,
    );
    scoped!(&[Needs::OperatorOutside, Needs::Counted];
        drain::operator_killed_twenty_times_in_a_drain,
        takeover::operators_in_turn,
        drain::a_counter_that_cannot_be_pulled_is_told,
    );
    scoped!(&[Needs::Autoscalers];
        hpa::a_real_autoscaler_scales_in_mid_shift,
    );
    scoped!(&[Needs::Install, Needs::Kubectl];
        install::two_replicas_and_policies,
    );
    scoped!(&[Needs::CutNode];
        crash::a_node_cut_off_in_a_shift,
    );
    scoped!(&[Needs::Processes, Needs::Counted];
        drain::a_counter_that_is_killed_holds,
        drain::a_counter_that_hangs_holds,
    );
    scoped!(&[Needs::Cables, Needs::Counted];
        network::a_pod_cut_off_holds,
    );
    scoped!(&[Needs::Cables];
        network::a_client_that_vanished_holds_until_the_deadline,
    );
    alone!(&[];
        input::refused_before_anything_is_sent,
        input::no_cluster,
    );
    alone!(&[Needs::Embedded];
        local::up_status_down,
        local::killed_and_up_again,
        local::stopped_and_started,
        local::two_profiles,
        local::two_at_the_same_time,
        local::interrupted,
    );
    alone!(&[Needs::Embedded, Needs::Kubectl];
        documents::readme_walks,
        documents::pages,
    );
    trials
}

type Test = for<'a> fn(&'a mut Scope) -> Pin<Box<dyn Future<Output = Result<()>> + 'a>>;

/// Builds a test with a namespace of its own, which must be gone without a trace afterwards.
fn scoped(
    cluster: Option<&Arc<Cluster>>,
    turns: &Arc<RwLock<()>>,
    needs: &'static [Needs],
    name: &'static str,
    test: Test,
) -> Trial {
    let (cluster, turns) = (cluster.cloned(), Arc::clone(turns));
    limited(name, move || {
        let Some(cluster) = cluster else { return Ok(()) };
        let _turn = match needs.iter().any(|need| need.is_alone()) {
            true => (Some(turns.write().unwrap_or_else(PoisonError::into_inner)), None),
            false => (None, Some(turns.read().unwrap_or_else(PoisonError::into_inner))),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(run(&cluster, name, test))
    })
}

/// Builds a test that fails when it does not end by itself, so that one that hangs neither holds up the others nor stays unnamed.
/// A failure is printed when it happens: the harness prints it at the end, which a run that is cut off does not reach.
fn limited(name: &'static str, test: impl FnOnce() -> Result<()> + Send + 'static) -> Trial {
    Trial::test(name, move || {
        let (ended, end) = mpsc::channel();
        thread::Builder::new().name(name.to_owned()).spawn(move || ended.send(test()))?;
        let result = end.recv_timeout(LIMIT + LAST_WORDS).unwrap_or_else(|error| {
            Err(match error {
                mpsc::RecvTimeoutError::Timeout => anyhow!("{name} hangs, and is left behind"),
                mpsc::RecvTimeoutError::Disconnected => anyhow!("{name} panicked"),
            })
        });
        result.map_err(|error| {
            let error = format!("{error:#}");
            eprintln!("{name} failed: {error}");
            Failed::from(error)
        })
    })
}

async fn run(cluster: &Cluster, name: &str, test: Test) -> Result<()> {
    let mut scope = Scope::new(cluster, name).await?;
    let ended = tokio::time::timeout(LIMIT, test(&mut scope)).await;
    let Err(error) = ended.context("the test has not ended by itself").flatten() else { return scope.remove().await };
    let diagnosis = scope.diagnose().await;
    if !cluster.settings().keep {
        // The first failure is the one to report.
        if let Err(left) = scope.abandon().await {
            eprintln!("{name}: something is left: {left:#}");
        }
    }
    Err(error.context(format!("{name}\n{diagnosis}\n--- why")))
}
