//! `rainbow lint`: reports everything that can be found in manifests without a cluster.

use std::path::PathBuf;

use rainbow_api::{ObjectName, Rainbow, object_names};
use serde::Serialize;

use crate::{
    context::Context,
    error::{Error, Result},
    manifest::{self, Document, Finding, InputArgs},
    output::{self, Format},
    refusal, release,
    words::count,
};

/// Arguments of `rainbow lint`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Files or directories; `-` is standard input
    #[arg(value_name = "FILE", conflicts_with_all = ["files", "kustomize"], value_delimiter = ',', value_hint = clap::ValueHint::AnyPath)]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    input: InputArgs,
    /// Color to release it as, which {color} in images and environment variables stands for, as in `rainbow apply`
    #[arg(long)]
    color: Option<String>,
    /// Form of the answer
    #[arg(short, long, value_enum)]
    output: Option<Format>,
}

/// Answer for programs.
#[derive(Debug, Serialize)]
struct Report {
    /// Number of objects that were read.
    objects: usize,
    findings: Vec<Finding>,
}

pub(crate) async fn run(context: &Context, mut args: Args) -> Result {
    args.input.files.append(&mut args.paths);
    let color = match &args.color {
        Some(given) => Some(release::color(given).await?),
        None => None,
    };
    let manifests = manifest::check(&args.input, color.as_deref())?;
    let mut findings = manifests.findings;
    findings.extend(clashes(&manifests.documents, context.namespace.as_deref()));
    let report = Report { objects: manifests.documents.len(), findings };
    let names = report.findings.iter().map(|finding| format!("{}:{}", finding.file, finding.line));
    if !output::print(context.printer, args.output, &report, names)? {
        for finding in &report.findings {
            context.printer.line(finding);
        }
        if report.findings.is_empty() {
            let objects = count(i64::try_from(report.objects).unwrap_or(i64::MAX), "object");
            context.printer.progress(format_args!("{objects} checked: nothing is wrong"));
        }
    }
    // The findings are the answer; the exit code alone says that there are some.
    if report.findings.is_empty() { Ok(()) } else { Err(Error::Found) }
}

/// Finds Rainbows of one namespace that need an object of the same name.
fn clashes(documents: &[Document], namespace: Option<&str>) -> Vec<Finding> {
    let parsed = documents.iter().filter_map(|document| {
        let types = document.object.types.as_ref()?;
        let is_rainbow = types.kind == "Rainbow" && types.api_version.starts_with("rainbow.dev/");
        let rainbow: Rainbow = document.object.clone().try_parse().ok().filter(|_| is_rainbow)?;
        Some((document, rainbow))
    });
    let all: Vec<(&Document, Rainbow)> = parsed.collect();
    let place = |rainbow: &Rainbow| rainbow.metadata.namespace.as_deref().or(namespace).unwrap_or_default().to_owned();
    let name = |rainbow: &Rainbow| rainbow.metadata.name.clone().unwrap_or_default();
    let mut findings = Vec::new();
    for (index, (document, rainbow)) in all.iter().enumerate() {
        let own = object_names(&name(rainbow), &rainbow.spec);
        for (_, other) in &all[..index] {
            if place(other) != place(rainbow) || name(other) == name(rainbow) {
                continue;
            }
            let taken = object_names(&name(other), &other.spec);
            let shared: Vec<&ObjectName> = own.intersection(&taken).collect();
            if shared.is_empty() {
                continue;
            }
            let (file, line) = document.at.rsplit_once(':').unwrap_or((&document.at, "1"));
            findings.push(Finding {
                file: file.to_owned(),
                line: line.parse().unwrap_or(1),
                column: 1,
                object: None,
                path: None,
                message: refusal::clash(&name(rainbow), &name(other), &shared, true),
            });
        }
    }
    findings
}
