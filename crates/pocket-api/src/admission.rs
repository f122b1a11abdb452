//! Admission: checks of a namespace on the objects that are created in it.
//!
//! Plugins run in a fixed order: first every plugin completes the object, then, once the object is valid, every plugin
//! checks it. No plugin knows HTTP.

mod limit_ranger;
mod pod_security;
mod resource_quota;

use std::sync::Arc;

use serde_json::Value;

use crate::{
    Api,
    resource::Resource,
    status::Status,
    store::{Stored, Writer, in_namespace},
    write_options::WriteOptions,
};

/// A create or update of an object itself, not of a subresource.
pub(crate) struct Request<'a> {
    pub(crate) api: &'a Api,
    pub(crate) writer: &'a mut Writer,
    pub(crate) resource: &'a Resource,
    /// Empty for a cluster-scoped kind.
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    /// Object before the write; `None` for a new object.
    pub(crate) old: Option<&'a Value>,
    pub(crate) write: &'a WriteOptions,
}

impl Request<'_> {
    /// Returns whether the request is about a built-in kind.
    fn is(&self, group: &str, plural: &str) -> bool {
        self.resource.custom.is_none() && self.resource.group == group && self.resource.plural == plural
    }

    /// Returns the objects of a core kind in the request's namespace.
    fn neighbors(&self, plural: &str) -> Vec<Arc<Stored>> {
        objects_in(self.api, self.namespace, plural)
    }

    /// Returns a 403 with the given cause.
    fn forbidden(&self, why: &str) -> Status {
        Status::forbidden(self.resource, self.name, why)
    }
}

/// Returns the objects of a core kind in a namespace.
fn objects_in(api: &Api, namespace: &str, plural: &str) -> Vec<Arc<Stored>> {
    let registry = api.registry();
    let Some(resource) = registry.built_in("", plural).filter(|_| !namespace.is_empty()) else { return Vec::new() };
    let (objects, _) = api.store().snapshot(&resource.storage);
    in_namespace(&objects, Some(namespace)).cloned().collect()
}

/// Admission plugin. Both steps run for every request, so each step first decides whether the request concerns it.
trait Plugin: Sync {
    /// Completes an object before it is checked.
    fn admit(&self, _: &mut Request<'_>, _: &mut Value) -> Result<(), Status> {
        Ok(())
    }

    /// Refuses an object, or accepts it.
    fn validate(&self, request: &mut Request<'_>, new: &Value) -> Result<(), Status>;
}

/// Plugins in the order of Kubernetes. Quotas come last, because a refused object must not be counted.
const PLUGINS: [&dyn Plugin; 3] =
    [&limit_ranger::LimitRanger, &pod_security::PodSecurity, &resource_quota::ResourceQuota];

/// Lets all plugins complete an object.
pub(crate) fn admit(request: &mut Request<'_>, new: &mut Value) -> Result<(), Status> {
    PLUGINS.iter().try_for_each(|plugin| plugin.admit(request, new))
}

/// Asks all plugins whether an object may be written as it is.
pub(crate) fn validate(request: &mut Request<'_>, new: &Value) -> Result<(), Status> {
    PLUGINS.iter().try_for_each(|plugin| plugin.validate(request, new))
}
