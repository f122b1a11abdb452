//! Scenarios of the measurement, and the rows that they fill.

use clap::ValueEnum;

/// Limit of the runs of a scenario that takes a minute or more.
const LONG: u32 = 3;

/// Way to use a tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// A version is applied and comes into the preview, without load
    Preview,
    /// Users are taken back to a version that still has its pods, while each write takes 1.5 s
    SlowRollback,
    /// Users are taken back to a version that has no pods any more
    Return,
    /// A release of 5 pods with 100 connections, which end 10 s after it
    Release,
    /// A release of 2 pods without connections that last
    SmallRelease,
    /// A release pod by pod
    Rolling,
    /// A release pod by pod of a version that dies 3 s after each start
    Crash,
    /// The same, with 10 s that a pod has to be ready, and an end to a release that makes no progress for 30 s
    CrashWithCare,
}

/// Figure of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Row {
    Preview,
    SlowRollback,
    Return,
    Writes,
    KeptPodSeconds,
    WritesOfSmall,
    RollingSurplus,
    RollingTime,
    LostToCrash,
    LostToCrashWithCare,
}

impl Scenario {
    /// Returns the name used in messages about progress.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Preview => "preview",
            Self::SlowRollback => "slow-rollback",
            Self::Return => "return",
            Self::Release => "release",
            Self::SmallRelease => "small-release",
            Self::Rolling => "rolling",
            Self::Crash => "crash",
            Self::CrashWithCare => "crash-with-care",
        }
    }

    /// Returns the number of runs of the scenario when `runs` are asked for.
    pub(crate) fn runs(self, runs: u32) -> u32 {
        match self {
            Self::Preview | Self::SlowRollback | Self::Return => runs,
            Self::Release | Self::SmallRelease | Self::Rolling | Self::Crash | Self::CrashWithCare => runs.min(LONG),
        }
    }

    /// Returns the rows that the scenario fills.
    pub(crate) fn rows(self) -> &'static [Row] {
        match self {
            Self::Preview => &[Row::Preview],
            Self::SlowRollback => &[Row::SlowRollback],
            Self::Return => &[Row::Return],
            Self::Release => &[Row::Writes, Row::KeptPodSeconds],
            Self::SmallRelease => &[Row::WritesOfSmall],
            Self::Rolling => &[Row::RollingSurplus, Row::RollingTime],
            Self::Crash => &[Row::LostToCrash],
            Self::CrashWithCare => &[Row::LostToCrashWithCare],
        }
    }
}

impl Row {
    /// Returns the name in the table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Preview => "from apply to v2 in the preview, no load, s",
            Self::SlowRollback => "rollback, each write 1.5 s late, s",
            Self::Return => "return to a version without pods, s",
            Self::Writes => "writes per release, 5 pods with connections",
            Self::KeptPodSeconds => "pod-seconds after the last connection",
            Self::WritesOfSmall => "writes per release, 2 pods without",
            Self::RollingSurplus => "surplus pod-seconds, pod by pod",
            Self::RollingTime => "time pod by pod, s",
            Self::LostToCrash => "requests lost in 60 s, v2 crashes",
            Self::LostToCrashWithCare => "the same with minReadySeconds and an end",
        }
    }

    /// Returns the name in the JSON.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Preview => "preview",
            Self::SlowRollback => "slowRollback",
            Self::Return => "return",
            Self::Writes => "writes",
            Self::KeptPodSeconds => "keptPodSeconds",
            Self::WritesOfSmall => "writesOfSmall",
            Self::RollingSurplus => "rollingSurplus",
            Self::RollingTime => "rollingTime",
            Self::LostToCrash => "lostToCrash",
            Self::LostToCrashWithCare => "lostToCrashWithCare",
        }
    }
}
