//! Completion of names from the cluster, which are requested while the user types. A cluster that does not answer in time gives no candidate,
//! and only candidates are ever printed.

use std::{env, ffi::OsString, io::Write, time::Duration};

use clap_complete::{
    CompleteEnv,
    engine::{ArgValueCandidates, CompletionCandidate},
};
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, api::ListParams, config::Kubeconfig};
use rainbow_api::{Color, PODS_GATE, Rainbow};

use crate::{
    context::{Cluster, Context},
    local,
    printer::{ColorWhen, Printer},
};

/// Environment variable that asks for completion; its value is the shell.
pub(crate) const VARIABLE: &str = "RAINBOW_COMPLETE";
/// Longest time for the cluster to answer, because a user who presses TAB waits for the answer.
const PATIENCE: Duration = Duration::from_millis(800);
/// Name under which kubectl asks a plugin for candidates.
const OF_KUBECTL: &str = "kubectl_complete-rainbow";
/// Directive to kubectl, behind the candidates: offer no files.
const NO_FILES: &str = ":4";

/// Answers a shell that asks for candidates, and then ends the process.
pub(crate) fn answer() {
    let called = env::args_os().next().map(std::path::PathBuf::from);
    if called.as_ref().and_then(|path| path.file_name()).is_some_and(|name| name == OF_KUBECTL) {
        let mut out = String::new();
        for candidate in of_words(env::args_os().skip(1).collect()) {
            let help = candidate.get_help().map(|help| format!("\t{help}")).unwrap_or_default();
            out.push_str(&format!("{}{help}\n", candidate.get_value().to_string_lossy()));
        }
        // A shell that has gone needs no answer.
        let _ = writeln!(std::io::stdout(), "{out}{NO_FILES}");
        std::process::exit(0);
    }
    CompleteEnv::with_factory(offered).var(VARIABLE).bin("rainbow").complete();
}

/// Returns the command line for completion: options are offered only where the user has begun to write one, or where nothing else can be
/// offered.
fn offered() -> clap::Command {
    let is_option = env::args_os().last().is_some_and(|word| word.to_string_lossy().starts_with('-'));
    if is_option { crate::command() } else { without_options(crate::command()) }
}

fn without_options(command: clap::Command) -> clap::Command {
    let hidden = |arg: clap::Arg| if arg.is_positional() { arg } else { arg.hide(true) };
    command.disable_help_flag(true).disable_version_flag(true).mut_args(hidden).mut_subcommands(without_options)
}

/// Returns candidates for the last of the words behind the program's name.
fn of_words(words: Vec<OsString>) -> Vec<CompletionCandidate> {
    let all: Vec<OsString> = std::iter::once("rainbow".into()).chain(words).collect();
    let last = all.len() - 1;
    let here = env::current_dir().ok();
    clap_complete::engine::complete(&mut offered(), all, last, here.as_deref()).unwrap_or_default()
}

/// Completes names of Rainbows.
pub(crate) fn rainbows() -> ArgValueCandidates {
    ArgValueCandidates::new(|| ask(async |cluster, _| names(rainbows_of(&cluster).await)))
}

/// Completes names of the stages of the Rainbow that is named before.
pub(crate) fn stages() -> ArgValueCandidates {
    of_rainbow(|rainbow| rainbow.spec.stages.iter().map(|stage| stage.name.clone()).collect())
}

/// Completes names of the gates of the Rainbow that is named before, and of the check of pods that every stage has.
pub(crate) fn gates() -> ArgValueCandidates {
    of_rainbow(|rainbow| {
        let own = rainbow.spec.gates.iter().map(|gate| gate.name.clone());
        own.chain([PODS_GATE.to_owned()]).collect()
    })
}

/// Completes names of the tiers of the Rainbow that is named before, each with an ending.
pub(crate) fn tiers(end: &'static str) -> ArgValueCandidates {
    of_rainbow(move |rainbow| rainbow.spec.tiers.iter().map(|tier| format!("{}{end}", tier.name)).collect())
}

/// Completes names of the colors of the Rainbow that is named before, else of all.
pub(crate) fn colors() -> ArgValueCandidates {
    ArgValueCandidates::new(|| ask(async |cluster, name| names(colors_of(&cluster, name.as_deref()).await)))
}

/// Completes names of Rainbows and of colors, where either may stand.
pub(crate) fn rainbows_and_colors() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        ask(async |cluster, name| {
            let first = if name.is_none() { rainbows_of(&cluster).await } else { Vec::new() };
            let names_of = |rainbow: &Rainbow| rainbow.metadata.name.clone();
            let mut all: Vec<String> = first.iter().filter_map(names_of).collect();
            all.extend(colors_of(&cluster, name.as_deref()).await.into_iter().map(|color| color.spec.color));
            candidates(all)
        })
    })
}

/// Completes names of namespaces.
pub(crate) fn namespaces() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        ask(async |cluster, _| {
            let all = Api::<Namespace>::all(cluster.client).list(&ListParams::default()).await;
            candidates(all.into_iter().flatten().filter_map(|namespace| namespace.metadata.name))
        })
    })
}

/// Completes names of the kubeconfig's contexts.
pub(crate) fn contexts() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let config = match situation().0.kubeconfig {
            Some(path) => Kubeconfig::read_from(path).ok(),
            None => Kubeconfig::read().ok(),
        };
        candidates(config.into_iter().flat_map(|config| config.contexts).map(|context| context.name))
    })
}

/// Completes names of images in the local store.
pub(crate) fn images() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let Ok(home) = local::Home::of_environment() else { return Vec::new() };
        candidates(home.image_names())
    })
}

/// Completes names of profiles of the local cluster.
pub(crate) fn profiles() -> ArgValueCandidates {
    ArgValueCandidates::new(|| candidates(local::Home::profiles().unwrap_or_default()))
}

fn of_rainbow(names: impl Fn(&Rainbow) -> Vec<String> + Send + Sync + 'static) -> ArgValueCandidates {
    ArgValueCandidates::new(move || {
        ask(async |cluster, name| {
            let rainbows = rainbows_of(&cluster).await;
            let is_it = |rainbow: &&Rainbow| name.is_none() || rainbow.metadata.name == name;
            candidates(rainbows.iter().filter(is_it).flat_map(&names))
        })
    })
}

async fn rainbows_of(cluster: &Cluster) -> Vec<Rainbow> {
    let all = cluster.api::<Rainbow>().list(&ListParams::default()).await;
    all.map(|all| all.items).unwrap_or_default()
}

async fn colors_of(cluster: &Cluster, rainbow: Option<&str>) -> Vec<Color> {
    let mut all = cluster.all_colors().await.unwrap_or_default();
    all.retain(|color| rainbow.is_none_or(|rainbow| color.spec.rainbow == rainbow));
    all
}

/// Object that has a name to complete.
trait Named {
    fn name(self) -> Option<String>;
}

impl Named for Rainbow {
    fn name(self) -> Option<String> {
        self.metadata.name
    }
}

impl Named for Color {
    fn name(self) -> Option<String> {
        Some(self.spec.color)
    }
}

fn names(all: Vec<impl Named>) -> Vec<CompletionCandidate> {
    candidates(all.into_iter().filter_map(Named::name))
}

fn candidates(names: impl IntoIterator<Item = String>) -> Vec<CompletionCandidate> {
    let mut names: Vec<String> = names.into_iter().collect();
    names.sort();
    names.dedup();
    names.into_iter().map(CompletionCandidate::new).collect()
}

/// Asks the cluster of the command line, and passes the name of the Rainbow in it.
fn ask(question: impl AsyncFn(Cluster, Option<String>) -> Vec<CompletionCandidate>) -> Vec<CompletionCandidate> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else { return Vec::new() };
    let (context, name) = situation();
    let answer = runtime.block_on(async {
        let asked = async {
            let cluster = context.cluster().await.ok()?;
            Some(question(cluster, name).await)
        };
        tokio::time::timeout(PATIENCE, asked).await.ok().flatten()
    });
    // A name lookup that is still running would delay the end of the process.
    runtime.shutdown_background();
    answer.unwrap_or_default()
}

/// Returns the context of the command line that is being typed, and the Rainbow that it names.
fn situation() -> (Context, Option<String>) {
    let mut words: Vec<OsString> = env::args_os().collect();
    // The words from a shell follow `--`; kubectl passes only the words.
    match words.iter().position(|word| word == "--") {
        Some(at) => drop(words.drain(..=at)),
        None => words[0] = "rainbow".into(),
    }
    // The last word is being typed.
    words.pop();
    let mut context = Context {
        printer: Printer::new(ColorWhen::Never, true, false),
        kubeconfig: None,
        context: None,
        namespace: None,
    };
    let matches = crate::command().ignore_errors(true).try_get_matches_from(words);
    let Some((_, matches)) = matches.as_ref().ok().and_then(|matches| matches.subcommand()) else {
        return (context, None);
    };
    let text = |id: &str| matches.try_get_one::<String>(id).ok().flatten().cloned();
    context.kubeconfig = matches.try_get_one::<std::path::PathBuf>("kubeconfig").ok().flatten().cloned();
    context.context = text("context");
    context.namespace = text("namespace");
    let first = |id: &str| matches.try_get_many::<String>(id).ok().flatten().and_then(|mut all| all.next().cloned());
    let name = text("name").or_else(|| first("names"));
    (context, name)
}
