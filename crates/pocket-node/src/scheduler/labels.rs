//! Label selectors.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{Expression, Selector, SelectorExt};

use super::Labels;

/// Label selector of a pod's constraints.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Matcher {
    /// Selector that is missing or cannot be read, and so matches nothing.
    Nothing,
    Selector(Selector),
}

impl Matcher {
    /// Reads a selector.
    pub(crate) fn of(selector: Option<&LabelSelector>) -> Self {
        selector.cloned().and_then(|selector| selector.try_into().ok()).map_or(Self::Nothing, Self::Selector)
    }

    /// Narrows the selector to the values that a pod has for some keys (`matchLabelKeys`).
    pub(crate) fn with_keys<'a>(self, keys: impl IntoIterator<Item = &'a String>, of: &Labels) -> Self {
        self.and(keys, of, Expression::Equal)
    }

    /// Narrows the selector to other values than those that a pod has for some keys (`mismatchLabelKeys`).
    pub(crate) fn without_keys<'a>(self, keys: impl IntoIterator<Item = &'a String>, of: &Labels) -> Self {
        self.and(keys, of, |key, value| Expression::NotIn(key, [value].into()))
    }

    fn and<'a>(
        self,
        keys: impl IntoIterator<Item = &'a String>,
        of: &Labels,
        expression: fn(String, String) -> Expression,
    ) -> Self {
        let Self::Selector(mut selector) = self else { return self };
        let known = keys.into_iter().filter_map(|key| Some((key.clone(), of.get(key)?.clone())));
        selector.extend(known.map(|(key, value)| expression(key, value)).collect::<Vec<_>>());
        Self::Selector(selector)
    }

    /// Returns whether an object with these labels is selected.
    pub(crate) fn matches(&self, labels: &Labels) -> bool {
        match self {
            Self::Nothing => false,
            Self::Selector(selector) => selector.matches(labels),
        }
    }

    /// Returns whether every object is selected.
    pub(crate) fn is_everything(&self) -> bool {
        matches!(self, Self::Selector(selector) if selector.selects_all())
    }
}
