//! Tree of an application: stages, the colors they serve, their tiers, their pods.

mod fit;
#[cfg(test)]
pub(crate) mod tests;

use std::{collections::BTreeSet, fmt::Write};

use anstyle::Style;
use jiff::Timestamp;
use rainbow_api::{ColorPhase, ShiftPhase, ShiftStatus, TierStatus};

use crate::{
    pace,
    paint::Painted,
    printer::{BAD, BUSY, DIM, GOOD, NAME},
    terminal::Room,
    view::{ColorView, PodView, Share, StageView, State, TierView, View},
    words::{self, count},
};

/// Number of cells of a bar.
const BAR: i32 = 10;

/// Options of a drawing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    /// Addresses and nodes of pods are drawn, too.
    pub(crate) wide: bool,
    /// All pods are drawn, in any state and in any room.
    pub(crate) pods: bool,
    pub(crate) room: Room,
}

/// Amount of detail about pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Detail {
    /// All pods.
    All,
    /// Pods of colors that change.
    Moving,
    /// Pods that are not ready or hold connections.
    Troubled,
    /// No pods: tiers show their numbers.
    Counts,
    /// Not even the tiers of stages that do not change.
    Stages,
}

#[derive(Debug, Default)]
struct Node {
    text: String,
    children: Vec<Node>,
    /// Whether the node changes.
    moves: bool,
}

/// State of a drawing.
struct Drawing<'a> {
    view: &'a View,
    wide: bool,
    detail: Detail,
    now: Timestamp,
    /// Colors that were drawn in full.
    colors: BTreeSet<String>,
    /// Colors of which only the number of pods was drawn.
    named: BTreeSet<String>,
    /// Tier, color and stage of the instances whose pods were drawn: shared ones are drawn once.
    instances: BTreeSet<(String, String, Option<String>)>,
}

/// Draws a view. `now` gives the time to the next step.
pub(crate) fn draw(view: &View, look: &Look, now: Timestamp) -> String {
    let details: &[Detail] = match look.pods || look.wide {
        true => &[Detail::All],
        false => &[Detail::Moving, Detail::Troubled, Detail::Counts, Detail::Stages],
    };
    fit::choose(details, look.room, |detail| tree(view, look.wide, detail, now))
}

fn tree(view: &View, wide: bool, detail: Detail, now: Timestamp) -> Node {
    let mut drawing = Drawing {
        view,
        wide,
        detail,
        now,
        colors: BTreeSet::new(),
        named: BTreeSet::new(),
        instances: BTreeSet::new(),
    };
    let mut children: Vec<Node> = view.stages.iter().map(|stage| stage_node(stage, &mut drawing)).collect();
    let is_drawn = |name: &String| drawing.colors.contains(name) || drawing.named.contains(name);
    let rest: Vec<&ColorView> = view.colors.iter().filter(|color| !is_drawn(&color.name)).collect();
    let rest: Vec<Node> =
        rest.into_iter().map(|color| color_node(&title(&color.name), color, Place::Nowhere, &mut drawing)).collect();
    if !rest.is_empty() {
        let moves = rest.iter().any(|node| node.moves);
        let text = format!("{DIM}in no stage{DIM:#}");
        children.push(Node { text, children: rest, moves });
    }
    Node { text: root(view, now), children, moves: true }
}

fn root(view: &View, now: Timestamp) -> String {
    let (style, word) = state_word(view.state);
    let message = view.message.as_ref().map(|message| words::aged(message, now)).unwrap_or_default();
    let state = headline(word, &message);
    // The word has its color; where the message contains the word, the whole message has the color.
    let state = match state.strip_prefix(word) {
        Some(message) => format!("{style}{word}{style:#}{message}"),
        None => format!("{style}{state}{style:#}"),
    };
    format!("{NAME}{}{NAME:#}  {state}", view.name)
}

/// Returns a state as a word, and its style.
pub(crate) fn state_word(state: State) -> (Style, &'static str) {
    match state {
        State::Ready => (GOOD, "Ready"),
        State::Reconciling => (BUSY, "Reconciling"),
        State::Paused => (BUSY, "Paused"),
        State::Stalled => (BAD, "Stalled"),
        State::Unobserved => (BUSY, "Not seen by the operator yet"),
        State::Deleting => (BUSY, "Deleting"),
    }
}

/// Returns the headline `Reconciling: stage active moves`. A message that contains the word stands alone.
fn headline(word: &str, message: &str) -> String {
    let says = |message: &str| message.split_whitespace().any(|other| other.eq_ignore_ascii_case(word));
    match message {
        "" => word.to_owned(),
        message if says(message) => message.to_owned(),
        message => format!("{word}: {message}"),
    }
}

fn stage_node(stage: &StageView, drawing: &mut Drawing<'_>) -> Node {
    let now = drawing.now;
    let mut text = format!("stage {NAME}{}{NAME:#}  {DIM}{}{DIM:#}", stage.name, stage.service);
    let mut phase = "";
    if let Some(shift) = &stage.shift {
        phase = phase_word(shift.phase);
        text.push_str(&shift_text(shift, phase, now));
        if let Some(countdown) = pace::countdown(stage.pace, shift, now) {
            let _ = write!(text, ", {countdown}");
        }
    } else if stage.color.is_none() {
        let yet = if drawing.view.state == State::Deleting { "" } else { " yet" };
        let _ = write!(text, "  {BUSY}serves nothing{yet}{BUSY:#}");
    }
    // The headline already gives the message of a deletion.
    let message = stage.message.as_deref().filter(|_| drawing.view.state != State::Deleting);
    if let Some(message) = said(message, phase, now) {
        let _ = write!(text, "  {BUSY}{message}{BUSY:#}");
    }
    let moves = stage_moves(stage, drawing.view);
    if drawing.detail == Detail::Stages && !moves {
        text.push_str(&summary(stage, drawing.view));
        drawing.named.extend(stage.shares.iter().map(|share| share.color.clone()));
        return Node { text, children: Vec::new(), moves };
    }
    let mut children: Vec<Node> = stage.tiers.iter().map(|tier| moving_tier_node(tier, now)).collect();
    children.extend(stage.shares.iter().map(|share| share_node(share, &stage.name, drawing)));
    Node { text, children, moves }
}

/// Returns whether the stage moves or will move, or its color is not settled.
fn stage_moves(stage: &StageView, view: &View) -> bool {
    let unsettled = |share: &Share| view.color(&share.color).is_none_or(|color| !is_settled(color));
    stage.shift.is_some()
        || stage.color.is_none()
        || stage.target.is_some() && stage.target != stage.color
        || stage.tiers.iter().any(|tier| tier.shift.is_some() || tier.color != stage.color)
        || stage.shares.iter().any(unsettled)
}

/// Returns the colors of a stage that does not change, and the number of their pods.
fn summary(stage: &StageView, view: &View) -> String {
    let one = |share: &Share| {
        let tiers = view.color(&share.color).map(|color| color.tiers.as_slice()).unwrap_or_default();
        let ready: i32 = tiers.iter().map(|tier| tier.ready).sum();
        format!("  {}  {GOOD}{} ready{GOOD:#}", Painted(&share.color), count(ready.into(), "pod"))
    };
    stage.shares.iter().map(one).collect()
}

fn phase_word(phase: ShiftPhase) -> &'static str {
    match phase {
        ShiftPhase::Preparing => "preparing",
        ShiftPhase::Shifting => "shifting",
        ShiftPhase::Paused => "paused",
        ShiftPhase::Waiting => "waiting",
        ShiftPhase::Finishing => "finishing",
    }
}

fn shift_text(shift: &ShiftStatus, phase: &str, now: Timestamp) -> String {
    let (from, to) = (Painted(&shift.from), Painted(&shift.to));
    let since = shift.paused_since.as_deref().and_then(|time| words::age(time, now));
    let since = since.map(|age| format!(" for {age}")).unwrap_or_default();
    match shift.phase {
        ShiftPhase::Finishing => format!("  {BUSY}{phase}{BUSY:#} {}/{}", shift.moved, shift.of),
        _ => format!("  {BUSY}{phase}{BUSY:#} {from} → {to} {}/{}{since}", shift.moved, shift.of),
    }
}

/// Returns a message of the operator with ages in place of times. `None`: it only repeats what is drawn already.
fn said(message: Option<&str>, phase: &str, now: Timestamp) -> Option<String> {
    let message = message.filter(|message| phase.is_empty() || !message.starts_with(phase))?;
    Some(words::aged(message, now))
}

/// Draws a tier that moves on its own: the address by which callers reach it, and the color that serves them.
fn moving_tier_node(tier: &TierStatus, now: Timestamp) -> Node {
    let mut text = format!("tier {NAME}{}{NAME:#}  {DIM}{}{DIM:#}", tier.tier, tier.service);
    let _ = match (&tier.shift, &tier.color) {
        (Some(shift), _) if shift.phase != ShiftPhase::Finishing => {
            let (from, to) = (Painted(&shift.from), Painted(&shift.to));
            write!(text, "  {BUSY}moves{BUSY:#} {from} → {to} {}/{}", shift.moved, shift.of)
        }
        (_, Some(color)) => write!(text, "  {}", Painted(color)),
        (_, None) => write!(text, "  {BUSY}serves nothing yet{BUSY:#}"),
    };
    if let Some(countdown) = tier.shift.as_ref().and_then(|shift| pace::countdown(None, shift, now)) {
        let _ = write!(text, ", {countdown}");
    }
    if let Some(message) = said(tier.message.as_deref(), "", now) {
        let _ = write!(text, "  {BUSY}{message}{BUSY:#}");
    }
    Node { text, children: Vec::new(), moves: tier.shift.is_some() }
}

/// Place of a color in the tree.
#[derive(Clone, Copy)]
enum Place<'a> {
    /// Below no stage, with all its tiers.
    Nowhere,
    /// Below a stage, with the tiers that all stages share and those that this stage has for itself.
    In(&'a str),
    /// Below a second stage, with the tiers that this stage has for itself.
    Again(&'a str),
}

impl Place<'_> {
    fn has(self, tier: &TierView) -> bool {
        match (self, &tier.stage) {
            (Self::Nowhere, _) | (Self::In(_), None) => true,
            (Self::Again(_), None) => false,
            (Self::In(stage) | Self::Again(stage), Some(own)) => stage == own,
        }
    }
}

fn share_node(share: &Share, stage: &str, drawing: &mut Drawing<'_>) -> Node {
    let view = drawing.view;
    let Some(color) = view.color(&share.color) else {
        let text = format!("{}  {BAD}gone{BAD:#}", title(&share.color));
        return Node { text, ..Node::default() };
    };
    let title = format!("{}  {}", title(&share.color), bar_of(share, stage, color));
    // A color that several stages serve is drawn in full once.
    if drawing.colors.insert(share.color.clone()) {
        return color_node(&title, color, Place::In(stage), drawing);
    }
    let own = color.tiers.iter().filter(|tier| Place::Again(stage).has(tier));
    let children = own.map(|tier| tier_node(tier, color, drawing)).collect();
    Node { text: format!("{title}  {DIM}as above{DIM:#}"), children, moves: false }
}

fn title(color: &str) -> String {
    Painted(color).to_string()
}

/// Returns the share that a color has of a stage; for a color that starts, the progress of its pods.
fn bar_of(share: &Share, stage: &str, color: &ColorView) -> String {
    let starts = matches!(color.phase, None | Some(ColorPhase::Starting | ColorPhase::Stalled));
    let (ready, wanted) = color.pods();
    if share.percent > 0 && !(starts && ready < wanted && share.percent == 100) {
        return format!("{} {:>3}% of {stage}", bar(share.percent), share.percent);
    }
    let percent = ready.saturating_mul(100).checked_div(wanted).unwrap_or_default();
    format!("{} {ready}/{wanted} pods ready", bar(percent))
}

/// Draws a bar that is full only at 100 percent, and empty only at 0.
fn bar(percent: i32) -> String {
    let full = match percent {
        ..=0 => 0,
        100.. => BAR,
        percent => ((percent * BAR + 50) / 100).clamp(1, BAR - 1),
    };
    (0..BAR).map(|cell| if cell < full { '█' } else { '░' }).collect()
}

fn color_node(title: &str, color: &ColorView, place: Place<'_>, drawing: &mut Drawing<'_>) -> Node {
    let (style, word) = match color.phase {
        _ if color.deleting => (BUSY, "Deleting"),
        Some(ColorPhase::Starting) => (BUSY, "Starting"),
        Some(ColorPhase::Ready) => (GOOD, "Ready"),
        // The color's status is older than the stage's.
        Some(ColorPhase::Serving) if matches!(place, Place::Nowhere) => (BUSY, "Leaving"),
        Some(ColorPhase::Serving) => (GOOD, "Serving"),
        Some(ColorPhase::Draining) => (BUSY, "Draining"),
        Some(ColorPhase::Retired) => (DIM, "Retired"),
        Some(ColorPhase::Stalled) => (BAD, "Stalled"),
        None => (DIM, "New"),
    };
    let message = color.message.as_ref().filter(|_| !color.deleting);
    let what = match (facts(color, drawing.now), message) {
        (Some(facts), _) => format!("  {facts}"),
        (None, Some(message)) => format!(": {}", words::aged(message, drawing.now)),
        (None, None) => String::new(),
    };
    let retired = color.phase == Some(ColorPhase::Retired);
    let tiers = color.tiers.iter().filter(|tier| place.has(tier) && (!retired || !tier.pods.is_empty()));
    Node {
        children: tiers.map(|tier| tier_node(tier, color, drawing)).collect(),
        text: format!("{title}  {style}{word}{style:#}{what}"),
        moves: !is_settled(color),
    }
}

/// Returns whether the color changes.
fn is_moving(color: &ColorView, view: &View) -> bool {
    let is_end = |shift: &ShiftStatus| shift.from == color.name || shift.to == color.name;
    let shifts = |stage: &StageView| {
        stage.shift.as_ref().is_some_and(is_end)
            || stage.tiers.iter().filter_map(|tier| tier.shift.as_ref()).any(is_end)
    };
    !is_settled(color) || view.stages.iter().any(shifts)
}

/// Returns whether the color neither starts nor ends.
fn is_settled(color: &ColorView) -> bool {
    !color.deleting && matches!(color.phase, Some(ColorPhase::Ready | ColorPhase::Serving | ColorPhase::Retired))
}

/// Returns the facts of a drain, in a few words.
fn facts(color: &ColorView, now: Timestamp) -> Option<String> {
    let drain = color.drain.as_ref()?;
    let cut: i64 = drain.cut.iter().filter_map(|cut| cut.connections).sum();
    if color.phase == Some(ColorPhase::Retired) {
        return (cut > 0).then(|| format!("{BAD}{} cut{BAD:#} at its deadline", count(cut, "connection")));
    }
    if color.phase != Some(ColorPhase::Draining) {
        return None;
    }
    let mut parts: Vec<String> = Vec::new();
    // Without counted connections, time alone decides.
    if let Some(connections) = color.connections {
        parts.push(count(connections, "connection"));
    }
    if drain.ignored > 0 {
        parts.push(format!("{} ignored", drain.ignored));
    }
    if drain.unknown_pods > 0 {
        let since = color.unknown_since.as_deref().and_then(|time| words::age(time, now));
        let since = since.map(|age| format!(" for {age}")).unwrap_or_default();
        parts.push(format!("{BAD}{} unknown{BAD:#}{since}", count(drain.unknown_pods.into(), "pod")));
    }
    if cut > 0 {
        parts.push(format!("{BAD}{cut} cut{BAD:#}"));
    }
    parts.push(words::deadline(drain.deadline.as_deref(), now));
    Some(parts.join(", "))
}

fn tier_node(tier: &TierView, color: &ColorView, drawing: &mut Drawing<'_>) -> Node {
    let style = if tier.ready >= tier.replicas { GOOD } else { BUSY };
    let mut text = format!("{}  {style}{}/{} ready{style:#}", tier.name, tier.ready, tier.replicas);
    if tier.instance != color.name {
        let _ = write!(text, "  of {}", Painted(&tier.instance));
    }
    let others: Vec<String> = tier
        .shared_with
        .iter()
        .filter(|other| **other != tier.instance)
        .map(|other| Painted(other).to_string())
        .collect();
    if !others.is_empty() {
        let _ = write!(text, "  shared with {}", others.join(", "));
    }
    let pods = i32::try_from(tier.pods.len()).unwrap_or(i32::MAX);
    let is_new = drawing.instances.insert((tier.name.clone(), tier.instance.clone(), tier.stage.clone()));
    let shown: Vec<&PodView> = tier.pods.iter().filter(|pod| is_new && is_drawn(pod, tier, color, drawing)).collect();
    let hidden = tier.pods.len() - shown.len();
    if !is_new && drawing.detail == Detail::All && pods > 0 {
        let _ = write!(text, "  {DIM}pods as above{DIM:#}");
    } else if shown.is_empty() && pods > tier.replicas.max(tier.ready) {
        let _ = write!(text, "  {DIM}{}{DIM:#}", count(pods.into(), "pod"));
    }
    let width = shown.iter().map(|pod| pod.name.len()).max().unwrap_or_default();
    let mut children: Vec<Node> = shown.iter().map(|pod| pod_node(pod, width, drawing.wide)).collect();
    if hidden > 0 && !children.is_empty() {
        children.push(Node { text: format!("{DIM}{hidden} more ready{DIM:#}"), ..Node::default() });
    }
    Node { text, children, moves: false }
}

fn is_drawn(pod: &PodView, tier: &TierView, color: &ColorView, drawing: &Drawing<'_>) -> bool {
    let holds = |pod: &PodView| {
        let holder = pod.holder.as_ref();
        holder.is_some_and(|holder| holder.unknown.is_some() || holder.connections.is_some_and(|number| number > 0))
    };
    match drawing.detail {
        Detail::All => true,
        Detail::Moving => is_moving(color, drawing.view) || tier.pods.iter().any(|pod| !pod.ready),
        Detail::Troubled => !pod.ready || holds(pod),
        Detail::Counts | Detail::Stages => false,
    }
}

fn pod_node(pod: &PodView, width: usize, wide: bool) -> Node {
    let style: Style = match pod.state.as_str() {
        "Ready" => GOOD,
        "Terminating" => DIM,
        "Pending" | "NotReady" | "ContainerCreating" => BUSY,
        _ => BAD,
    };
    let mut text = format!("{:width$}  {style}{}{style:#}", pod.name, pod.state);
    match pod.restarts {
        0 => {}
        1 => text.push_str(", 1 restart"),
        restarts => {
            let _ = write!(text, ", {restarts} restarts");
        }
    }
    if let Some(holder) = &pod.holder {
        let _ = match (&holder.unknown, holder.connections) {
            (Some(why), _) => write!(text, "  {BAD}unknown{BAD:#}: {why}"),
            (None, connections) => write!(text, "  {}", count(connections.unwrap_or_default(), "connection")),
        };
    }
    if !pod.stages.is_empty() {
        let _ = write!(text, "  {DIM}in {}{DIM:#}", pod.stages.join(", "));
    }
    if wide {
        let or = |text: &Option<String>| text.clone().unwrap_or_else(|| "<none>".into());
        let _ = write!(text, "  {}  {}", or(&pod.ip), or(&pod.node));
    }
    Node { text, ..Node::default() }
}
