//! Rainbow's resources, labels and names: everything that other crates, other tools and people may rely on.
//!
//! The kinds are defined as Rust types; the CRDs in `deploy/crds` are generated from them.

mod autoscale;
mod color;
mod condition;
mod crd;
mod drain;
mod duration;
mod identity;
pub mod labels;
pub mod names;
mod rainbow;
mod read;
mod status;
mod validate;

pub use autoscale::{Autoscale, Scaling, TierScaling};
pub use color::{Color, ColorInstance, ColorPhase, ColorSpec, ColorStatus, Sidecar};
pub use condition::{ConditionType, Reason};
pub use crd::crds;
pub use drain::{
    ColorDrain, Connections, Cut, Deadline, DeadlineError, Drain, DrainStatus, Evidence, Holder, HttpCount,
};
pub use duration::{DurationError, HumanDuration};
pub use identity::{Identity, Version, identities, tiers_hash};
pub use rainbow::{
    Flip, Keep, Need, OnStalled, Promote, Rainbow, RainbowSpec, Reuse, Rolling, Shift, ShiftKind, Stage, StageService,
    StageServicePort, Surge, Tier, TierPort, declared_port,
};
pub use read::read_spec;
pub use status::{RainbowStatus, ShiftPhase, ShiftStatus, StageStatus};
pub use validate::{SpecError, SpecPart, connections, entry_tiers, stage_tier, validate, validate_name};

/// The API group of both kinds.
pub const GROUP: &str = "rainbow.dev";
/// The field manager of everything the operator applies. There is one, so that ownership stays readable.
pub const FIELD_MANAGER: &str = "rainbow";
