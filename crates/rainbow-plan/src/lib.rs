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
//! | `view` | what is there, indexed once |
//! | `situation` | what does each stage serve, and what shall it serve |
//! | `colors` | which colors are held, wait or leave; is a new one to be made |
//! | `sizes` | how many pods shall each instance have |
//! | `bringup` | what may be applied now, inner tiers first |
//! | `shift` | what is each stage's next move |
//! | `drain`, `history` | what may go, entry tiers first |
//! | `teardown` | how all of it goes when the Rainbow is deleted |
//! | `report` | what to say about it |

mod bringup;
mod colors;
mod dag;
mod draft;
mod drain;
mod history;
mod plan;
mod report;
mod shift;
mod situation;
mod sizes;
mod teardown;
mod view;
mod world;

pub use plan::*;
pub use world::*;

/// Decides what to do next about an application.
///
/// The answer depends on nothing but the arguments. Its actions are safe to apply in order to the world they were
/// computed from, and each may be the last one applied: whatever must be *seen* first comes in a later plan. In a steady
/// state there are none.
pub fn plan(world: &World, now: Time) -> Plan {
    let view = view::View::new(world, now);
    if world.spec.deleting {
        return teardown::plan(&view);
    }
    let mut draft = draft::Draft::default();
    let situations = situation::situate(&view);
    colors::create(&view, &mut draft);
    let roles = colors::roles(&view, &situations, &mut draft);
    let sizes = sizes::sizes(&view, &situations, &roles);
    bringup::bring_up(&view, &roles, &sizes, &mut draft);
    let stages: Vec<_> =
        situations.iter().map(|situation| shift::advance(&view, situation, &sizes, &roles, &mut draft)).collect();
    shift::delete_removed(&view, &mut draft);
    let ends = drain::drain(&view, &roles, &mut draft);
    history::prune(&view, &roles, &ends, &mut draft);
    let report = report::report(&view, &situations, &roles, &sizes, &ends, stages, &mut draft);
    draft.into_plan(now, report)
}
