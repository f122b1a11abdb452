//! Gates and steps: each rule with each class of events, in applications whose stages have steps and gates with any outcome.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[macro_use]
mod sim;

use sim::{
    classes::{Class, of_checked_releases_and},
    properties::*,
    rules::Rule,
};

/// Histories of each property in `make test`.
const CASES: u32 = 6;

/// Tests of a property, one for each class of events.
macro_rules! property {
    ($($property:tt)+) => { classes! { "checked_", of_checked_releases_and; $($property)+ } };
}

property! {
    /// No stage goes past a gate that has not passed.
    no_stage_passes_a_closed_gate = keeps(&[Rule::Gates]);
    Ordinary Checks Refused Vain Ports Entry NodePorts Edits Deletions Owners Pods Scalers Autoscalers Replicas Sizes Away Lags
    LateWrites Clocks Invalid Manifests Stages
}

property! {
    /// All other rules hold as they do without steps and gates.
    every_rule = keeps(&[
        Rule::NoLoss, Rule::KeepsPods, Rule::NobodySent, Rule::NoCut, Rule::NoCutByAnyCause, Rule::Evidence, Rule::WayBack,
        Rule::Order, Rule::NoMixing, Rule::Whole, Rule::Ownership, Rule::InUse, Rule::Hold,
    ]);
    Ordinary Checks Refused Vain Ports Entry NodePorts Edits Deletions Owners Pods Scalers Autoscalers Replicas Sizes Away Lags
    LateWrites Clocks Invalid Manifests Stages
}

property! {
    /// When gates pass, and pauses are passed, everything comes to rest where the spec says.
    comes_to_rest = checked_comes_to_rest;
    Ordinary Checks Refused Ports Edits Deletions Pods Replicas Sizes Away Lags LateWrites Clocks Invalid Stages
}

property! {
    /// A failed gate always ends on the color that served.
    a_failed_gate_keeps_what_served = a_failed_gate_keeps_what_served;
    Ordinary Checks Ports Pods Replicas Sizes Away Lags Clocks Invalid
}
