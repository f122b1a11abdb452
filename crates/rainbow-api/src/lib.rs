//! Rainbow's resources, labels and names: everything that other crates, other tools and people may rely on.
//!
//! The kinds are defined as Rust types. The CRDs in `deploy/crds` are generated from them by [`crds`]. Entry points: [`Rainbow`] and
//! [`Color`] (the resources), [`read_spec`] and [`validate()`] (a spec as its user wrote it).
//!
//! | module | subject |
//! |---|---|
//! | `rainbow` | the `Rainbow` resource: what its user writes |
//! | `status` | the status of a `Rainbow` |
//! | `color` | the `Color` resource: one version of the application |
//! | `condition` | types and reasons of conditions |
//! | `crd` | the custom resource definitions |
//! | `read` | a spec that is read as far as possible |
//! | `validate` | errors of a spec |
//! | `autoscale` | writers that decide how many pods a tier has |
//! | `compatible` | tiers that each stage has for itself |
//! | `config` | kinds and names of the configuration that is part of a version |
//! | `documented` | enums and keys whose doc comments are data |
//! | `drain` | the drain of a color, and its status |
//! | `freeze` | freeze windows of manual gates: when they are open |
//! | `gate` | checks of a color before, during or after a stage's shift |
//! | `approval` | the `Approval` and `GateTemplate` resources |
//! | `hold` | stages that a user has taken back or paused |
//! | `identity` | identity of instances, and the version that a spec describes |
//! | `ignore` | peers whose connections hold no pod |
//! | `schedule` | schedules as cron writes them |
//! | `schema` | schemas that several kinds use |
//! | `service` | fields of the Services of stages and tiers |
//! | `sidecar` | settings of the container that counts connections |
//! | `template_config` | ConfigMaps and Secrets that pod templates name, and the names of their copies |
//! | `cidr` | ranges of addresses |
//! | `duration` | durations as people write them |
//! | `labels` | keys of labels and annotations |
//! | `names` | names of objects |
//! | `object_names` | all objects that a `Rainbow` makes, by name |
//! | `pod_types` | types of a pod template's fields |
#![warn(missing_docs)]

mod approval;
mod autoscale;
mod cidr;
mod color;
mod compatible;
mod condition;
mod config;
mod crd;
mod documented;
mod drain;
mod duration;
mod freeze;
mod gate;
mod hold;
mod identity;
mod ignore;
pub mod labels;
pub mod names;
mod object_names;
mod pod_types;
mod rainbow;
mod read;
mod schedule;
mod schema;
mod service;
mod sidecar;
mod status;
mod template_config;
mod validate;

pub use approval::{Approval, ApprovalSpec, GateTemplate, GateTemplateSpec};
pub use autoscale::{Autoscale, Scaling, TierScaling};
pub use cidr::{Cidr, CidrError};
pub use color::{
    Color, ColorConfig, ColorInstance, ColorPhase, ColorSpec, ColorStatus, ConfigContent, PartStatus, ServiceLinks,
    Sidecar, TerminationMessages,
};
pub use compatible::{bound_tiers, compatible_callees, inner_stage};
pub use condition::{ConditionType, Reason};
pub use config::{Config, ConfigKind, ConfigName, Demand, TierConfig};
pub use crd::crds;
pub use drain::{
    ColorDrain, Connections, Cut, Deadline, DeadlineError, Drain, DrainStatus, Evidence, Holder, HttpCount,
};
pub use duration::{DurationError, HumanDuration};
pub use gate::{
    BasicAuthentication, FreezeWindow, Gate, GateArgument, GateAuthentication, GateCheck, GateCounts, GateMoment,
    GateStatus, GateTls, GateVerdict, JobGate, KeyRef, ManualGate, Measurement, MeasurementOutcome, OnNoData,
    PODS_GATE, PodsGate, PrometheusGate, PrometheusRange, SkippedGate, StageGates, TemplateUse, TrafficGate,
    ValueSource, WebGate,
};
pub use hold::Hold;
pub use identity::{Identity, Version, identities, tiers_hash};
pub use ignore::{IgnoredPeer, IpBlock, Operator, Requirement, Selector};
pub use object_names::{ObjectName, object_names, object_names_of_colors};
pub use rainbow::{
    Compatible, Flip, Keep, Need, OnStalled, Passed, PassedStep, Promote, Rainbow, RainbowSpec, Reuse, Rolling, Shift,
    ShiftKind, ShiftStep, ShiftTiers, Stage, StepKind, StepPause, Surge, Tier, TierPause, TierPort, declared_port,
};
pub use read::read_spec;
pub use service::{ClientIpConfig, SessionAffinityConfig, StageService, StageServicePort, TierService, service_fields};
pub use sidecar::SidecarSettings;
pub use status::{RainbowStatus, ShiftPhase, ShiftStatus, StageStatus, TierStatus};
pub use template_config::{CONTENT_DIGITS, config_of, config_of_tiers, copy_name, read_copies};
pub use validate::{
    SpecError, SpecPart, amount, connections, entry_tiers, stage_tier, validate, validate_name, validate_sidecar,
};

/// API group of both kinds.
pub const GROUP: &str = "rainbow.dev";
/// Field manager of everything that the operator applies. There is only one, so that ownership stays readable.
pub const FIELD_MANAGER: &str = "rainbow";
