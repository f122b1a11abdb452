//! Patches that write single fields of a Rainbow, and nothing else.
//!
//! A JSON patch names list entries by index. Each entry is guarded by a test of its name: where another client has reordered the list in
//! between, the patch fails instead of writing to the wrong entry, and is then made again. All other fields stay as they are, so concurrent
//! edits are not lost.

use json_patch::{AddOperation, PatchOperation, RemoveOperation, TestOperation, jsonptr::PointerBuf};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use rainbow_api::Rainbow;
use serde_json::Value;

use crate::{
    context::Cluster,
    error::{Error, Result},
};

/// Field manager of this command, so that field ownership shows which fields it has written.
pub(crate) const FIELD_MANAGER: &str = "rainbow-cli";
/// Number of attempts when the object changes in between.
const ATTEMPTS: usize = 5;

/// Operations on a Rainbow.
#[derive(Debug, Default)]
pub(crate) struct Change(Vec<PatchOperation>);

impl Change {
    /// Adds a test: nothing is written unless the field has this value.
    pub(crate) fn test(&mut self, path: &[impl AsRef<str>], value: impl Into<Value>) {
        self.0.push(PatchOperation::Test(TestOperation { path: pointer(path), value: value.into() }));
    }

    /// Sets a field.
    pub(crate) fn set(&mut self, path: &[impl AsRef<str>], value: impl Into<Value>) {
        self.0.push(PatchOperation::Add(AddOperation { path: pointer(path), value: value.into() }));
    }

    /// Removes a field that exists.
    pub(crate) fn remove(&mut self, path: &[impl AsRef<str>]) {
        self.0.push(PatchOperation::Remove(RemoveOperation { path: pointer(path) }));
    }

    /// Returns the operations, in order.
    pub(crate) fn operations(&self) -> &[PatchOperation] {
        &self.0
    }

    /// Sets a field of a stage, or removes it. Does nothing where the field has the value already.
    pub(crate) fn stage(&mut self, rainbow: &Rainbow, stage: &str, field: &str, value: Option<Value>) {
        let Some(at) = rainbow.spec.stages.iter().position(|other| other.name == stage) else { return };
        let current = serde_json::to_value(&rainbow.spec.stages[at]).ok().and_then(|stage| stage.get(field).cloned());
        if current == value {
            return;
        }
        let at = at.to_string();
        self.test(&["spec", "stages", &at, "name"], stage);
        match value {
            Some(value) => self.set(&["spec", "stages", &at, field], value),
            None => self.remove(&["spec", "stages", &at, field]),
        }
    }
}

fn pointer(path: &[impl AsRef<str>]) -> PointerBuf {
    PointerBuf::from_tokens(path.iter().map(AsRef::as_ref))
}

/// Reads a Rainbow, asks `make` for a change, and writes it; again if the Rainbow has changed in between. Returns the Rainbow after the change,
/// and whether anything was written.
pub(crate) async fn change(
    cluster: &Cluster,
    name: &str,
    make: impl FnMut(&Rainbow) -> Result<Change>,
) -> Result<(Rainbow, bool)> {
    change_checked(cluster, name, make, async |_: &Rainbow| Ok(())).await
}

/// Changes a Rainbow as [`change`] does; nothing is written where `check` fails for the Rainbow as it would be.
pub(crate) async fn change_checked(
    cluster: &Cluster,
    name: &str,
    mut make: impl FnMut(&Rainbow) -> Result<Change>,
    check: impl AsyncFn(&Rainbow) -> Result,
) -> Result<(Rainbow, bool)> {
    let api: Api<Rainbow> = cluster.api();
    let mut attempt = 1;
    loop {
        let rainbow = cluster.rainbow(name).await?;
        let change = make(&rainbow)?;
        if change.operations().is_empty() {
            return Ok((rainbow, false));
        }
        check(&changed(&rainbow, &change)?).await?;
        let patch = Patch::Json::<()>(json_patch::Patch(change.0));
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
        match api.patch(name, &params, &patch).await {
            Ok(rainbow) => return Ok((rainbow, true)),
            // The API server answers a failed test with a 422 without causes that name a field (older API servers with a 500).
            Err(kube::Error::Api(status))
                if attempt < ATTEMPTS && (status.code == 409 || is_failed_test(&status.message)) =>
            {
                attempt += 1;
            }
            Err(error) => {
                return Err(match cluster.error(&error) {
                    Error::NotFound(_) => Error::NotFound(format!("rainbow `{name}` was deleted meanwhile")),
                    other => other,
                });
            }
        }
    }
}

/// Returns the Rainbow with the change made.
pub(crate) fn changed(rainbow: &Rainbow, change: &Change) -> Result<Rainbow> {
    let name = rainbow.metadata.name.as_deref().unwrap_or_default();
    let wrong = |error: &dyn std::error::Error| Error::failed(format!("cannot change rainbow `{name}`"), error);
    let mut object = serde_json::to_value(rainbow).map_err(|error| wrong(&error))?;
    json_patch::patch(&mut object, change.operations()).map_err(|error| wrong(&error))?;
    serde_json::from_value(object).map_err(|error| wrong(&error))
}

fn is_failed_test(message: &str) -> bool {
    ["testing", "test failed", "test operation", "did not match"].iter().any(|part| message.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_stage_is_named_and_only_its_field_is_written() {
        let rainbow: Rainbow = serde_json::from_value(json!({
            "apiVersion": "rainbow.dev/v1alpha1", "kind": "Rainbow", "metadata": { "name": "shop" },
            "spec": { "tiers": [], "stages": [{ "name": "smoke" }, { "name": "active", "color": "v1" }] },
        }))
        .unwrap();
        let mut change = Change::default();
        change.stage(&rainbow, "active", "color", Some(json!("v2")));
        change.stage(&rainbow, "active", "paused", None);
        assert_eq!(
            serde_json::to_value(change.operations()).unwrap(),
            json!([
                { "op": "test", "path": "/spec/stages/1/name", "value": "active" },
                { "op": "add", "path": "/spec/stages/1/color", "value": "v2" },
            ])
        );
        let mut same = Change::default();
        same.stage(&rainbow, "active", "color", Some(json!("v1")));
        assert!(same.operations().is_empty());
    }

    #[test]
    fn names_are_escaped() {
        assert_eq!(pointer(&["metadata", "annotations", "a/b~c"]).to_string(), "/metadata/annotations/a~1b~0c");
    }
}
