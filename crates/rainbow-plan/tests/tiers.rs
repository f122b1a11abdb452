//! Applications in which callers may be served by newer callees, in a cluster as wide as a real one: each rule with each class of
//! events by itself, as in `wide.rs`. Random applications have calls of both kinds, pauses between tiers, and versions in which
//! one tier changes, a call changes its kind, or a tier comes or goes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[macro_use]
mod sim;

use sim::{
    classes::{Class, of_tiers_and},
    properties::*,
    rules::Rule,
};

/// Histories of each property in `make test`.
const CASES: u32 = 6;

/// Tests of a property, one for each class of events.
macro_rules! property {
    ($($property:tt)+) => { classes! { "tiers-", of_tiers_and; $($property)+ } };
}

/// Tests of a property that `every_rule` tries, too: an exploration has its histories there.
macro_rules! rule {
    ($($property:tt)+) => { samples! { of_tiers_and; $($property)+ } };
}

property! {
    /// A caller that is newer than its callee never serves.
    in_order = keeps(&[Rule::Tiers]);
    Edges Ordinary Refused Vain Ports Entry NodePorts Edits Deletions Owners Pods Gates Scalers Autoscalers Replicas Sizes Away Lags
    LateWrites Clocks Invalid Manifests Stages
}

property! {
    /// All other rules, on one history.
    every_rule = keeps(&[
        Rule::NoLoss, Rule::KeepsPods, Rule::NobodySent, Rule::NoCut, Rule::NoCutByAnyCause, Rule::Evidence, Rule::Ownership,
        Rule::InUse,
    ]);
    Edges Ordinary Refused Vain Entry NodePorts Edits Deletions Owners Pods Gates Scalers Autoscalers Replicas Sizes Away Lags
    LateWrites Clocks Invalid Manifests Stages
    Ports
}

rule! {
    /// A stage never has fewer pods, as any node sees it, than it wants minus those that failed by themselves.
    no_loss = keeps(&[Rule::NoLoss]);
    Edges Ordinary Refused Edits Deletions Pods Replicas Lags LateWrites Stages
}

rule! {
    /// A Service of a stage never selects fewer ready pods than before an event that no user asked to reduce it.
    keeps_pods = keeps(&[Rule::KeepsPods]);
    Edges Ordinary Refused Edits Deletions Pods Replicas Lags LateWrites Stages
}

rule! {
    /// No pod ends because of Rainbow while callers or clients may be sent to it.
    no_client_is_sent_away = keeps(&[Rule::NobodySent]);
    Edges Ordinary Refused Edits Deletions Pods Replicas Lags LateWrites Stages
}

rule! {
    /// No connection is cut by anything that Rainbow decides, except at a deadline that it announced.
    no_cut = keeps(&[Rule::NoCut, Rule::NoCutByAnyCause]);
    Edges Ordinary Refused Edits Deletions Pods Replicas Lags LateWrites Stages
}

rule! {
    /// A pod is let go for a reason that the evidence gives.
    unknown_is_not_drained = keeps(&[Rule::Evidence]);
    Edges Ordinary Refused Edits Deletions Pods Replicas Lags LateWrites Stages
}

rule! {
    /// No object of another owner is written to, and no object that is in use is deleted for good.
    only_what_it_owns = keeps(&[Rule::Ownership, Rule::InUse]);
    Edges Ordinary Refused Edits Deletions Owners Pods Replicas Lags LateWrites Stages
}

property! {
    /// When nothing happens any more and no write is refused, everything comes to rest where the spec says.
    comes_to_rest = tiers_come_to_rest;
    Edges Ordinary Refused Vain Ports Entry NodePorts Edits Deletions Owners Pods Gates Scalers Autoscalers Replicas Sizes Away Lags
    LateWrites Clocks Invalid Manifests Stages
}

property! {
    /// The number of writes is bounded by the number of events: a write without effect is not repeated without a pause.
    bounds_writes = bounds_writes;
    Edges Ordinary Refused Ports Entry NodePorts Edits Deletions Owners Pods Gates Scalers Autoscalers Replicas Sizes Away Lags
    LateWrites Clocks Invalid Manifests Stages
}

property! {
    /// A tier that a release does not change keeps its pods.
    leaves_unchanged_tiers = leaves_unchanged_tiers;
    Edges Ordinary Refused Deletions Pods Replicas Sizes Lags Clocks Stages
}
