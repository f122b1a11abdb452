//! Planner of Rainbow: takes a world and a time, returns actions, a report and a wake-up time. The entry point is [`plan()`].
//!
//! The planner is pure and synchronous: it has no Kubernetes type, no clock, no randomness, no input or output. Therefore
//! properties over random worlds and a simulation can test it. The caller validates the spec. A spec that is invalid all the same
//! (unknown needs, a cycle) never makes the planner panic or loop: a tier that cannot be resolved does not come up, and the
//! report says so.
//!
//! Read [`World`] (what the planner is given) and [`Plan`] (what it answers) first, then `decide` below. The modules, in the
//! order in which a decision uses them:
//!
//! | module | question |
//! |---|---|
//! | `world`, `defaults` | what is the planner given: the spec, the memory in the status, the objects in the cluster |
//! | `plan` | what does the planner answer: chains of actions, the report, the wake-up time |
//! | `parts` | which parts of colors and which addresses of inner tiers exist, where callers may be served by newer callees |
//! | `holds` | which color does a held stage serve, and which holds has a later color ended |
//! | `view` | what is in the world, indexed once |
//! | `situation` | what does each stage serve, and what should it serve |
//! | `order` | which tier of a stage moves first |
//! | `surge` | how large a part of its two colors does a stage ask for while it moves with a surge |
//! | `colors`, `reuse` | which colors are held, wait or leave; must a new color be made, and of which instances |
//! | `sizes` | how many pods should each instance have |
//! | `scalers` | which autoscalers are there, and what is the floor of each |
//! | `bringup` | which objects may be applied now, inner tiers first |
//! | `shift` | what is the next move of each stage |
//! | `gates` | which checks does a stage ask for, and what do their outcomes allow |
//! | `health` | is the color that a stage serves healthy, and which color is its way back until it is |
//! | `budgets` | how many pods of a stage that is held in the middle of a shift may be evicted |
//! | `drain` | which colors may begin to end |
//! | `release`, `evidence` | which pods of these colors may end now, entry tiers first, by what is known of their connections |
//! | `adopt` | which pods lose their Deployment while they drain, and get it back |
//! | `fewer` | which pods of a living color are too many, and which come back |
//! | `marks` | which pods are guarded, and which are the next to end |
//! | `history`, `orphans` | which colors and instances are deleted for good |
//! | `copies` | which copies of configuration are made, restored and deleted |
//! | `teardown` | in which order everything ends when the Rainbow is deleted |
//! | `report`, `holders`, `slots`, `reason` | what is reported, as facts: the observer writes the text |
//! | `draft`, `dag`, `hash` | tools: a plan in the making, the graph of tiers, tables by name |

mod adopt;
mod bringup;
mod budgets;
mod colors;
mod copies;
mod dag;
mod defaults;
mod draft;
mod drain;
mod evidence;
mod fewer;
mod gates;
mod hash;
mod health;
mod history;
mod holders;
mod holds;
mod marks;
mod order;
mod orphans;
mod parts;
mod plan;
mod reason;
mod release;
mod report;
mod reuse;
mod scalers;
mod shift;
mod situation;
mod sizes;
mod slots;
mod surge;
mod teardown;
mod view;
mod world;

pub use parts::{inner_name, is_inner_name};
pub use plan::*;
pub use reason::*;
pub use world::*;

use view::View;

/// Decides what to do next about an application.
///
/// The answer depends on nothing but the arguments. Its chains are safe to apply to the world from which they were computed, in
/// any order and at the same time. Each action may be the last one of its chain that is applied: an action that relies on a
/// change being *seen* comes in a later plan. In a steady state a plan has no chains.
pub fn plan(world: &World, now: Time) -> Plan {
    match parts::expanded(world) {
        None => of_whole(world, now),
        Some(expanded) => parts::collapsed(of_whole(&expanded, now), &expanded),
    }
}

/// Decides about an application whose colors are whole: each stage serves all tiers of a color, or one part of a color.
fn of_whole(world: &World, now: Time) -> Plan {
    let spec = &world.spec;
    if spec.stages.iter().all(|stage| stage.hold.is_none()) {
        return decide(&View::new(world, spec, now));
    }
    let mut ended = holds::remembered(world);
    let held = holds::resolved(spec, &ended);
    let freed;
    let mut view = View::new(world, &held, now);
    let ending = holds::ending(&view, spec);
    if !ending.is_empty() {
        ended.extend(ending);
        freed = holds::resolved(spec, &ended);
        // A hold changes only what the spec says of stages, and the view indexes nothing of that.
        view.spec = &freed;
    }
    let mut plan = decide(&view);
    holds::report(&mut plan.report, spec, &ended);
    plan
}

/// Decides for a spec whose stages already say whether they are held.
fn decide(view: &View<'_>) -> Plan {
    if view.spec.deleting {
        return teardown::plan(view);
    }
    let mut draft = draft::Draft::default();
    let situations = situation::situate(view);
    colors::create(view, &mut draft);
    let (roles, waiting) = colors::roles(view, &situations, &mut draft);
    let sizes = sizes::sizes(view, &situations, &roles);
    draft.sizes = sizes.own(view);
    scalers::keep(view, &situations, &roles, &sizes, &mut draft);
    bringup::bring_up(view, &roles, &sizes, &mut draft);
    let stages: Vec<_> =
        situations.iter().map(|situation| shift::advance(view, situation, &sizes, &roles, &mut draft)).collect();
    shift::delete_removed(view, &mut draft);
    budgets::keep(view, &situations, &stages, &mut draft);
    let ends = drain::ends(view, &situations, &roles, &mut draft);
    let mut going = release::going(view, &ends, &mut draft);
    going.extend(fewer::fewer(view, &situations, &roles, &sizes, &mut draft));
    marks::mark(view, &ends, &going, &mut draft);
    going.iter().for_each(|one| one.shrink(view, &mut draft));
    history::prune(view, &roles, &ends, &mut draft);
    copies::keep(view, &roles, &mut draft);
    orphans::delete(view, &mut draft);
    let told =
        report::ReportInput { situations: &situations, roles: &roles, sizes: &sizes, ends: &ends, waiting: &waiting };
    let report = report::report(view, &told, &holders::connection_facts(view, &ends, &going), stages, &mut draft);
    draft.into_plan(view.now, report)
}
