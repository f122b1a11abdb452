//! Kinds of objects that the operator reads.

use kube::core::{ApiResource, GroupVersionKind};
use rainbow_api::ConfigKind;
use std::fmt;

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
    ConfigMap,
    Secret,
}

impl Kind {
    /// Kinds that every operator reads. ConfigMaps and Secrets are read where the operator has the right.
    pub(crate) const ALWAYS: [Self; 8] = [
        Self::Rainbow,
        Self::Color,
        Self::Deployment,
        Self::Service,
        Self::Pod,
        Self::EndpointSlice,
        Self::PodDisruptionBudget,
        Self::HorizontalPodAutoscaler,
    ];

    /// Returns the name of the kind in manifests.
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
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
        }
    }

    pub(crate) const fn api_version(self) -> &'static str {
        match self {
            Self::Rainbow | Self::Color => "rainbow.dev/v1alpha1",
            Self::Deployment => "apps/v1",
            Self::Service | Self::Pod | Self::ConfigMap | Self::Secret => "v1",
            Self::EndpointSlice => "discovery.k8s.io/v1",
            Self::PodDisruptionBudget => "policy/v1",
            Self::HorizontalPodAutoscaler => "autoscaling/v2",
        }
    }

    /// Returns the kind for the generic client.
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

/// Objects with configuration that the operator may read. `rainbow install --versioned-config` grants the rights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConfigAccess {
    /// None: `spec.config: Versioned` is refused.
    #[default]
    None,
    /// ConfigMaps only, no Secrets.
    ConfigMaps,
    /// ConfigMaps and Secrets.
    All,
}

impl ConfigAccess {
    /// Returns the kinds that are read beside [`Kind::ALWAYS`].
    pub(crate) const fn kinds(self) -> &'static [Kind] {
        match self {
            Self::None => &[],
            Self::ConfigMaps => &[Kind::ConfigMap],
            Self::All => &[Kind::ConfigMap, Kind::Secret],
        }
    }
}

/// Returns the kind of an object with configuration, among all kinds.
pub(crate) fn kind_of(kind: ConfigKind) -> Kind {
    match kind {
        ConfigKind::ConfigMap => Kind::ConfigMap,
        ConfigKind::Secret => Kind::Secret,
    }
}
