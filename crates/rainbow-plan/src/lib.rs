//! Rainbow's planner: a world and a time in; actions, status and a wake-up time out.
//!
//! It is pure and synchronous: no Kubernetes type, no clock, no randomness, no input or output. So it can be tested by
//! properties over random worlds and by simulation. A spec is assumed to be validated; one that is not (unknown needs, a
//! cycle) never makes the planner panic or loop: what cannot be resolved simply does not come up, and the report says so.
//!
//! One decision, in the order of its modules:
//!
//! | module | question |
//! |---|---|
//! | `parts` | which parts of colors, and which addresses of inner tiers, are there where callers may be served by newer callees |
//! | `view` | what is there, indexed once |
//! | `situation` | what does each stage serve, and what shall it serve |
//! | `order` | which tier of a stage moves first |
//! | `colors`, `reuse` | which colors are held, wait or leave; is a new one to be made, and of which instances |
//! | `copies` | which copies of configuration are made, put back and deleted |
//! | `surge` | which part of two colors does a stage ask for while it moves with few pods too many |
//! | `sizes` | how many pods shall each instance have |
//! | `scalers` | which autoscalers are there, and how few pods may they ask for |
//! | `bringup` | what may be applied now, inner tiers first |
//! | `shift` | what is each stage's next move |
//! | `budgets` | how many pods of a stage that is held may be evicted |
//! | `drain` | which colors may begin to go |
//! | `health` | is what a stage serves healthy, and which color is its way back until it is |
//! | `fewer` | which pods of a living color are too many, and which come back |
//! | `release`, `evidence` | which of their pods go, entry tiers first, by what is known of their connections |
//! | `adopt` | which pods lose their Deployment while they drain, and get it back |
//! | `marks` | which pods are guarded, and which are the next to go |
//! | `history`, `orphans` | what is deleted for good |
//! | `teardown` | how all of it goes when the Rainbow is deleted |
//! | `report`, `holders`, `slots` | what to say about it, as facts (`reason`): the observer writes the text |

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
/// The answer depends on nothing but the arguments. Its chains are safe to apply to the world they were computed from, in any
/// order and at the same time, and each action may be the last one of its chain that is applied: whatever must be *seen* first
/// comes in a later plan. In a steady state there are none.
pub fn plan(world: &World, now: Time) -> Plan {
    match parts::expanded(world) {
        None => of_whole(world, now),
        Some(expanded) => parts::collapsed(of_whole(&expanded, now), &expanded),
    }
}

/// Decides about an application whose colors are whole: each stage serves all tiers of one, or a part of one.
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
        // Holds concern stages, and nothing that the view has indexed does.
        view.spec = &freed;
    }
    let mut plan = decide(&view);
    holds::report(&mut plan.report, spec, &ended);
    plan
}

/// Decides for a spec in which stages say themselves whether they are held.
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
    let told = report::Told { situations: &situations, roles: &roles, sizes: &sizes, ends: &ends, waiting: &waiting };
    let report = report::report(view, &told, &holders::holdings(view, &ends, &going), stages, &mut draft);
    draft.into_plan(view.now, report)
}
