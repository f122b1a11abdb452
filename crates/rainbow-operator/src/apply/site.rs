//! Namespace that writes go to. Nothing is created in a namespace that is being deleted: the API server refuses it, and an object that was
//! created just before would only be deleted again.

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, core::Status};
use tokio::sync::OnceCell;

use super::Failure;
use crate::{key::Key, messages};

/// Cause in the API server's refusal to create an object in a namespace that is being deleted.
const ENDING: &str = "NamespaceTerminating";

/// Namespace and client with which one turn of an application writes.
pub(crate) struct Site<'a> {
    pub(super) client: &'a Client,
    pub(super) key: &'a Key,
    /// Whether the namespace is being deleted. Asked once, and only where an object is to be created.
    is_ending: OnceCell<bool>,
}

impl<'a> Site<'a> {
    pub(crate) fn new(client: &'a Client, key: &'a Key) -> Self {
        Self { client, key, is_ending: OnceCell::new() }
    }

    /// Fails if the namespace is being deleted. An operator that may not read the namespace relies on the API server's refusal.
    pub(super) async fn takes_objects(&self) -> Result<(), Failure> {
        let asked = self.is_ending.get_or_init(async || {
            let found = Api::<Namespace>::all(self.client.clone()).get_metadata_opt(&self.key.namespace).await;
            found.is_ok_and(|found| found.is_some_and(|found| found.metadata.deletion_timestamp.is_some()))
        });
        match *asked.await {
            true => Err(Failure::Ending(messages::namespace_ends(&self.key.namespace))),
            false => Ok(()),
        }
    }
}

/// Returns whether the API server refuses a write because the namespace is being deleted.
pub(super) fn is_ending(refusal: &Status) -> bool {
    refusal.details.iter().flat_map(|details| &details.causes).any(|cause| cause.reason == ENDING)
}
