//! `rainbow list`: lists all applications, one line each.

use futures::StreamExt;
use jiff::Timestamp;
use kube::{Api, api::ListParams, runtime::watcher};
use rainbow_api::Rainbow;
use serde::Serialize;

use crate::{
    context::{Cluster, Context},
    error::{Error, Result},
    observe,
    output::{self, Format},
    paint::Painted,
    printer::{Screen, table},
    terminal::Charset,
    tree, view, words,
};

/// Selection of applications, and the form of the list.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// Those of all namespaces
    #[arg(short = 'A', long)]
    pub(crate) all_namespaces: bool,
    /// Those with these labels, such as `team=shop`
    #[arg(short = 'l', long, value_name = "LABELS")]
    pub(crate) selector: Option<String>,
    /// Go on showing it as it changes
    #[arg(short, long)]
    pub(crate) watch: bool,
    /// Form of the answer
    #[arg(short, long, value_enum)]
    pub(crate) output: Option<Format>,
}

/// Application as one line of the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    namespace: String,
    name: String,
    state: view::State,
    /// Reason for the state.
    message: Option<String>,
    /// Newest color.
    color: Option<String>,
    /// Colors that the stages serve, such as `active=v1→v2 3/5, smoke=v2`.
    stages: Option<String>,
    images: Vec<String>,
    created: Option<String>,
}

impl Line {
    fn of(rainbow: &Rainbow) -> Self {
        let status = rainbow.status.clone().unwrap_or_default();
        let (state, message) = view::state(rainbow, &status.conditions);
        Self {
            namespace: rainbow.metadata.namespace.clone().unwrap_or_default(),
            name: rainbow.metadata.name.clone().unwrap_or_default(),
            state,
            message,
            color: status.color,
            stages: status.summary.filter(|summary| !summary.is_empty()),
            images: view::images(&rainbow.spec.tiers).into_iter().map(|(_, image)| image).collect(),
            created: rainbow.metadata.creation_timestamp.as_ref().map(|time| time.0.to_string()),
        }
    }

    fn row(&self, columns: Columns, now: Timestamp) -> Vec<String> {
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
        let (style, word) = match self.state {
            view::State::Unobserved => (tree::state_word(self.state).0, "Not seen yet"),
            state => tree::state_word(state),
        };
        let mut row = if columns.namespace { vec![self.namespace.clone()] } else { Vec::new() };
        row.extend([
            self.name.clone(),
            format!("{style}{word}{style:#}"),
            or_dash(self.color.as_deref().map(|color| Painted(color).to_string())),
            or_dash(self.stages.clone()),
            or_dash(self.created.as_deref().and_then(|time| words::age(time, now))),
        ]);
        if columns.wide {
            row.push(self.images.join(","));
            row.push(or_dash(self.message.as_deref().map(|message| words::aged(message, now))));
        }
        row
    }
}

/// Columns that are shown beside the usual ones.
#[derive(Clone, Copy, Debug)]
struct Columns {
    namespace: bool,
    wide: bool,
}

impl Columns {
    fn header(self) -> Vec<&'static str> {
        let mut header = if self.namespace { vec!["NAMESPACE"] } else { Vec::new() };
        header.extend(["NAME", "STATE", "COLOR", "STAGES", "AGE"]);
        header.extend(["IMAGES", "MESSAGE"].into_iter().filter(|_| self.wide));
        header
    }
}

pub(crate) async fn run(context: &Context, args: Args) -> Result {
    let cluster = context.cluster().await?;
    let api: Api<Rainbow> = match args.all_namespaces {
        true => Api::all(cluster.client.clone()),
        false => cluster.api(),
    };
    let columns = Columns { namespace: args.all_namespaces, wide: args.output == Some(Format::Wide) };
    if args.watch {
        return watch(context, &cluster, api, &args, columns).await;
    }
    let selected = ListParams { label_selector: args.selector.clone(), ..ListParams::default() };
    let found = api.list(&selected).await.map_err(|error| cluster.error(&error))?.items;
    let lines = lines(found.iter());
    let names = lines.iter().map(|line| format!("rainbow.rainbow.dev/{}", line.name));
    if output::print(context.printer, args.output, &lines, names)? {
        return Ok(());
    }
    if lines.is_empty() {
        let place = match args.all_namespaces {
            true => "in this cluster".to_owned(),
            false => format!("in namespace `{}`", cluster.namespace),
        };
        let with = args.selector.map(|selector| format!(" with labels `{selector}`")).unwrap_or_default();
        context.printer.progress(format_args!("there is no rainbow{with} {place}"));
        return Ok(());
    }
    let text = draw(&lines, columns, Timestamp::now());
    // `-o wide` prints everything, so no line is cut.
    match columns.wide {
        true => context.printer.text(Charset::of_locale().write(&text)),
        false => context.printer.drawn(&text),
    }
    Ok(())
}

/// Returns the lines, sorted by namespace and name.
fn lines<'a>(rainbows: impl Iterator<Item = &'a Rainbow>) -> Vec<Line> {
    let mut lines: Vec<Line> = rainbows.map(Line::of).collect();
    lines.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    lines
}

fn draw(lines: &[Line], columns: Columns, now: Timestamp) -> String {
    let rows: Vec<Vec<String>> = lines.iter().map(|line| line.row(columns, now)).collect();
    table(&columns.header(), &rows)
}

/// Shows the list as it changes. On a terminal the table is drawn over; elsewhere each change is a line, as with `kubectl get --watch`.
async fn watch(context: &Context, cluster: &Cluster, api: Api<Rainbow>, args: &Args, columns: Columns) -> Result {
    let config = watcher::Config { label_selector: args.selector.clone(), ..watcher::Config::default() };
    let (store, mut changes) = observe::follow(api, config);
    let (mut screen, mut before) = (Screen::default(), Vec::<Line>::new());
    let mut resized = observe::Resizes::new()?;
    let mut is_first = true;
    loop {
        tokio::select! {
            change = changes.next() => observe::check(cluster, change)?,
            () = resized.next() => screen.resized(),
            // Ages grow without any change.
            () = tokio::time::sleep(std::time::Duration::from_secs(1)), if context.printer.can_redraw() => {}
        }
        let state = store.state();
        let now = lines(state.iter().map(AsRef::as_ref));
        let printer = context.printer;
        let new: Vec<&Line> = now.iter().filter(|line| !before.contains(line)).collect();
        match args.output {
            Some(Format::Json) => new.iter().try_for_each(|line| output::json(line).map(|text| printer.line(text)))?,
            Some(Format::Yaml) => {
                new.iter()
                    .try_for_each(|line| output::yaml(line).map(|text| printer.text(format_args!("---\n{text}"))))?;
            }
            Some(Format::Name) => {
                new.iter().for_each(|line| printer.line(format_args!("rainbow.rainbow.dev/{}", line.name)))
            }
            Some(Format::Wide) | None if printer.can_redraw() => {
                screen.draw(printer, &draw(&now, columns, Timestamp::now()));
            }
            Some(Format::Wide) | None if !new.is_empty() => {
                let new: Vec<Line> = new.into_iter().cloned().collect();
                let text = draw(&new, columns, Timestamp::now());
                let skipped = if is_first { 0 } else { 1 };
                let text: String = text.lines().skip(skipped).map(|line| format!("{line}\n")).collect();
                printer.text(Charset::of_locale().write(&text));
                is_first = false;
            }
            Some(Format::Wide) | None => {}
        }
        before = now;
    }
}

/// Fails where a name is given together with options of `rainbow list`.
pub(crate) fn only_of_all(args: &Args) -> Result {
    match args.all_namespaces || args.selector.is_some() {
        true => Err(Error::Usage("give a name, or --all-namespaces and --selector, not both".into())),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rainbow(name: &str, generation: i64, observed: Option<i64>, condition: &str, message: &str) -> Rainbow {
        serde_json::from_value(json!({
            "metadata": {
                "name": name, "namespace": "default", "generation": generation, "creationTimestamp": "2026-01-01T00:00:00Z",
            },
            "spec": { "tiers": [{ "name": "web", "template": { "spec": { "containers": [{ "name": "web", "image": "web:2" }] } } }] },
            "status": {
                "observedGeneration": observed, "color": "v2", "summary": "active=v1→v2 3/5, smoke=v2",
                "conditions": [{
                    "type": condition, "status": "True", "reason": "Shifting", "message": message,
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                }],
            },
        }))
        .unwrap()
    }

    #[test]
    fn a_line_per_application_at_every_width() {
        let mut gone = rainbow("zoo", 2, Some(1), "Ready", "");
        gone.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:10Z")).unwrap();
        let all = [
            rainbow("shop", 2, Some(2), "Reconciling", "stage active moves from v1 to v2: 3 of 5 pods"),
            rainbow("blog", 2, Some(1), "Ready", ""),
            rainbow("mail", 2, Some(2), "Stalled", "color `v2` is not ready since 2026-01-01T00:01:00Z: web 0/1 ready"),
            gone,
        ];
        let now = "2026-01-01T00:02:30Z".parse().unwrap();
        let lines = lines(all.iter());
        crate::golden::check("list", &draw(&lines, Columns { namespace: false, wide: false }, now));
        crate::golden::check_whole("list-wide", &draw(&lines, Columns { namespace: true, wide: true }, now));
    }
}
