//! The kinds of objects that the operator reads.

use kube::core::{ApiResource, GroupVersionKind};
use std::fmt;

/// Kind of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    Rainbow,
    Color,
    Deployment,
    Service,
    Pod,
    EndpointSlice,
    PodDisruptionBudget,
    HorizontalPodAutoscaler,
}

impl Kind {
    pub(crate) const ALL: [Self; 8] = [
        Self::Rainbow,
        Self::Color,
        Self::Deployment,
        Self::Service,
        Self::Pod,
        Self::EndpointSlice,
        Self::PodDisruptionBudget,
        Self::HorizontalPodAutoscaler,
    ];

    /// Name of the kind in manifests.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Rainbow => "Rainbow",
            Self::Color => "Color",
            Self::Deployment => "Deployment",
            Self::Service => "Service",
            Self::Pod => "Pod",
            Self::EndpointSlice => "EndpointSlice",
            Self::PodDisruptionBudget => "PodDisruptionBudget",
            Self::HorizontalPodAutoscaler => "HorizontalPodAutoscaler",
        }
    }

    pub(crate) const fn api_version(self) -> &'static str {
        match self {
            Self::Rainbow | Self::Color => "rainbow.dev/v1alpha1",
            Self::Deployment => "apps/v1",
            Self::Service | Self::Pod => "v1",
            Self::EndpointSlice => "discovery.k8s.io/v1",
            Self::PodDisruptionBudget => "policy/v1",
            Self::HorizontalPodAutoscaler => "autoscaling/v2",
        }
    }

    /// The kind as the generic client knows it.
    pub(crate) fn resource(self) -> ApiResource {
        let (group, version) = self.api_version().split_once('/').unwrap_or(("", self.api_version()));
        ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, self.name()))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
