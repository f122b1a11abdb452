//! Invariants of ARCHITECTURE in a cluster as wide as a real one: each rule with each class of events by itself (see
//! `sim::classes::Class`), so that rules that hold are enforced although others do not hold yet. An `ignore` names the issue that
//! it waits for; a property has no exemptions inside.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[macro_use]
mod sim;

use sim::{
    classes::{Class, of_releases_and},
    properties::*,
    rules::Rule,
};

/// Histories of each property in `make test`.
const CASES: u32 = 6;

/// Tests of a property, one for each class of events.
macro_rules! property {
    ($($property:tt)+) => { classes! { "", of_releases_and; $($property)+ } };
}

/// Tests of a property that `every_rule` tries, too: an exploration has its histories there.
macro_rules! rule {
    ($($property:tt)+) => { samples! { of_releases_and; $($property)+ } };
}

property! {
    /// All rules that hold with each class, on one history: a long exploration tries them together.
    every_rule = keeps(&[
        Rule::NoLoss, Rule::KeepsPods, Rule::NobodySent, Rule::NoCut, Rule::NoCutByAnyCause, Rule::Evidence, Rule::WayBack,
        Rule::Order, Rule::NoMixing, Rule::Whole, Rule::Ownership, Rule::InUse, Rule::Hold,
    ]);
    Ordinary Refused Vain Ports Entry NodePorts Edits Deletions Owners Pods Gates Scalers Autoscalers Replicas Sizes Away Lags
    LateWrites Clocks Invalid Manifests Stages
}

rule! {
    /// A stage never has fewer pods, as any node sees it, than it wants minus those that failed by themselves.
    no_loss = keeps(&[Rule::NoLoss]);
    Ordinary Refused Vain Ports NodePorts Edits Deletions Owners Pods Gates Scalers Autoscalers Replicas Away Lags LateWrites Clocks
    Invalid Manifests Stages
    Entry
    Sizes
}

rule! {
    /// A stage's Service never selects fewer ready pods than before an event that no user asked to reduce it.
    keeps_pods = keeps(&[Rule::KeepsPods]);
    Ordinary Refused Vain Entry NodePorts Edits Deletions Owners Pods Gates Scalers Autoscalers Away Lags LateWrites Clocks Invalid
    Manifests Stages
    Ports Replicas Sizes
}

rule! {
    /// No pod ends because of Rainbow while clients may be sent to it.
    no_client_is_sent_away = keeps(&[Rule::NobodySent]);
    Owners
    Ordinary Refused Vain Ports Entry NodePorts Edits Deletions Pods Gates Scalers Autoscalers Replicas Sizes Away Lags
    LateWrites Clocks Invalid Manifests Stages
}

rule! {
    /// No connection is cut by anything that Rainbow decides, except at a deadline that it announced.
    no_cut = keeps(&[Rule::NoCut, Rule::NoCutByAnyCause]);
    Ordinary Refused Vain Ports Entry NodePorts Edits Deletions Owners Pods Gates Away Lags LateWrites Clocks Invalid
    Manifests
    Scalers Autoscalers
    Replicas Sizes Stages
}

rule! {
    /// A pod is let go for a reason that the evidence gives.
    unknown_is_not_drained = keeps(&[Rule::Evidence]);
    Ordinary Refused Vain Ports Entry NodePorts Edits Deletions Owners Pods Gates Scalers Autoscalers Replicas Sizes Away Lags
    LateWrites Clocks Invalid Manifests Stages
}

rule! {
    /// The color that a stage served before keeps its pods while the color that took its place lacks some.
    keeps_the_way_back = keeps(&[Rule::WayBack]);
    Ordinary Refused Vain Ports Entry NodePorts Edits Deletions Owners Pods Gates Scalers Autoscalers Replicas Sizes Away Lags
    LateWrites Clocks Invalid Manifests Stages
}

property! {
    /// The planner does not write against the writer that scales a Deployment, and Rainbow's own autoscaler is gone before a
    /// Deployment becomes smaller.
    leaves_scaling_to_others = keeps(&[Rule::Scaled, Rule::NoVainWrite]);
    Autoscalers
}

rule! {
    /// Tiers come up inner first and go down entry first.
    in_order = keeps(&[Rule::Order]);
    Ordinary Refused Vain Ports Entry NodePorts Edits Deletions Pods Gates Scalers Autoscalers Replicas Sizes Away Lags
    LateWrites Clocks Invalid Manifests Stages
    Owners
}

rule! {
    /// Only the entry moves, and a color enters a stage as a whole.
    no_mixing = keeps(&[Rule::NoMixing, Rule::Whole]);
    Ordinary Refused Vain Ports NodePorts Edits Deletions Owners Pods Gates Scalers Autoscalers Replicas Sizes Away Lags LateWrites
    Clocks Invalid Manifests Stages
    Entry
}

rule! {
    /// No object of another owner is written to, and no object that is in use is deleted for good.
    only_what_it_owns = keeps(&[Rule::Ownership, Rule::InUse]);
    Ordinary Refused Vain Ports Entry NodePorts Edits Deletions Pods Gates Scalers Autoscalers Replicas Sizes Away Lags LateWrites
    Clocks Invalid Manifests Stages
    Owners
}

rule! {
    /// A hold keeps the share whatever else changes.
    holds = keeps(&[Rule::Hold]);
    Ordinary Refused Vain Ports Entry Owners Pods Gates Scalers Autoscalers Replicas Sizes Away Lags LateWrites Clocks Invalid Stages
    NodePorts Deletions
    Edits
    Manifests
}

property! {
    /// When nothing happens any more and no write is refused, everything comes to rest where the spec says.
    comes_to_rest = comes_to_rest;
    Ordinary Refused Vain Ports Edits Deletions Owners Pods Gates Scalers Autoscalers Replicas Sizes Away Lags LateWrites Clocks
    Invalid Manifests Stages
    Entry
    NodePorts
}

property! {
    /// A stage has all its pods again a while after some were lost, even when other things are wrong.
    refills = refills;
    Ordinary Refused Vain Entry NodePorts Deletions Owners Pods Gates Scalers Autoscalers Replicas Away Lags LateWrites Clocks
    Invalid Manifests Stages
    Ports
    Edits
    Sizes
}

property! {
    /// The number of writes is bounded by the number of events: a write without effect is not repeated without a pause.
    bounds_writes = bounds_writes;
    Ordinary Refused Ports Entry NodePorts Edits Deletions Owners Pods Gates Scalers Autoscalers Replicas Sizes Away Lags LateWrites
    Clocks Invalid Manifests Stages
    Vain
}

property! {
    /// A rollback is written within one look after the user asks for it, even when other chains are stuck.
    moves_at_once = moves_at_once;
    Ordinary Refused Vain Ports Entry NodePorts Edits Deletions Owners Pods Gates Scalers Autoscalers Replicas Sizes Away Lags
    LateWrites Clocks Invalid Manifests Stages
}

property! {
    /// The same out of a shift that has just ended.
    moves_at_once_after_a_shift = moves_at_once_after_a_shift;
    Ordinary
}

property! {
    /// A chain that is stuck never delays another chain.
    delays_no_other = delays_no_other;
    Ordinary Refused Vain Ports Entry Edits Deletions Owners Pods Gates Scalers Autoscalers Replicas Sizes Away Lags LateWrites
    Clocks Invalid Manifests Stages
    NodePorts
}

property! {
    /// The pods that serve do not depend on a spec that no stage was moved to.
    serves_its_own = serves_its_own;
    Ordinary Invalid
    Ports
    Entry
    Sizes
}

property! {
    /// A steady state needs no controller: with the operator gone, lost pods come back by native means.
    needs_no_controller = needs_no_controller;
    Ordinary Ports Edits Replicas
}
