//! Rules that histories may break: ARCHITECTURE's invariants, one by one, so that a property can watch some of them.

use super::*;

/// Rule that a property may watch. A history that breaks a rule that is not watched continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// A stage never has fewer pods, as any node sees it, than it wants minus those that failed by themselves.
    NoLoss,
    /// A write never makes a stage's Service select fewer pods that answer than the stage wants.
    KeepsPods,
    /// No pod ends because of Rainbow while clients may be sent to it.
    NobodySent,
    /// A pod that was let go has no connections, or its announced deadline has passed.
    NoCut,
    /// No pod that ends because Rainbow asked for fewer has connections, whichever writer caused that, unless its announced
    /// deadline has passed.
    NoCutByAnyCause,
    /// A pod is let go for a reason that the evidence gives.
    Evidence,
    /// Tiers come up inner first and go down entry first.
    Order,
    /// A color enters a stage only as a whole.
    Whole,
    /// Only the entry moves: stages select pods of entry tiers, and an inner Service its own color.
    NoMixing,
    /// No object of another owner is written to.
    Ownership,
    /// No object that is in use is deleted for good.
    InUse,
    /// A write changes something.
    NoVainWrite,
    /// No more colors live than may.
    Limit,
    /// The report is true.
    Report,
    /// A hold keeps the share.
    Hold,
    /// The color that a stage served before keeps its pods while the color that took its place lacks some.
    WayBack,
    /// The planner does not write against the writer that scales a Deployment.
    Scaled,
    /// No caller that is newer than its callee serves.
    Tiers,
    /// No stage goes past a gate that has not passed.
    Gates,
}

/// Rules that are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules(u32);

impl Rules {
    /// Rules that hold in any history of the cluster alone.
    pub const BASE: Self = Self::of(&[
        Rule::NoLoss,
        Rule::NobodySent,
        Rule::NoCut,
        Rule::Evidence,
        Rule::Order,
        Rule::Whole,
        Rule::Ownership,
        Rule::InUse,
        Rule::NoVainWrite,
        Rule::Limit,
        Rule::Report,
        Rule::WayBack,
        Rule::Scaled,
        Rule::Tiers,
        Rule::Gates,
    ]);

    /// Returns the set of these rules.
    pub const fn of(rules: &[Rule]) -> Self {
        let (mut bits, mut index) = (0, 0);
        while index < rules.len() {
            bits |= 1 << rules[index] as u32;
            index += 1;
        }
        Self(bits)
    }

    fn has(self, rule: Rule) -> bool {
        self.0 & 1 << rule as u32 != 0
    }
}

impl Sim {
    /// Returns whether the rule is watched.
    pub fn watches(&self, rule: Rule) -> bool {
        self.rules.has(rule)
    }

    /// Fails where the rule is watched and broken.
    #[track_caller]
    pub fn require(&self, rule: Rule, holds: bool, what: impl FnOnce() -> String) {
        assert!(holds || !self.watches(rule), "{rule:?}: {}\n{}", what(), self.trace.join("\n"));
    }
}
