//! Values that gates read from Secrets and ConfigMaps of the Rainbow's namespace, at the time of each measurement.

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client, Error};
use rainbow_api::{KeyRef, ValueSource};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::timeout;

use crate::messages;

/// Time in which the API server must answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Text, and whether people may see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) value: String,
    /// Whether the text is from a Secret: statuses, events and logs never have it.
    pub(super) is_secret: bool,
}

impl Text {
    pub(super) fn plain(value: impl Into<String>) -> Self {
        Self { value: value.into(), is_secret: false }
    }
}

/// Values from Secrets that a measurement has used.
#[derive(Clone, Debug, Default)]
pub(super) struct Secrets(Vec<String>);

impl Secrets {
    /// Adds a value that people must not see.
    pub(super) fn note(&mut self, text: &Text) {
        if text.is_secret && !text.value.is_empty() {
            self.0.push(text.value.clone());
            // A value that has lines appears in messages without the last line break.
            let trimmed = text.value.trim();
            if !trimmed.is_empty() && trimmed != text.value {
                self.0.push(trimmed.to_owned());
            }
        }
    }

    /// Returns the text with `***` in place of the values.
    pub(super) fn hide(&self, text: &str) -> String {
        let mut values: Vec<&String> = self.0.iter().collect();
        // A value may contain another one.
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        values.into_iter().fold(text.to_owned(), |text, value| text.replace(value.as_str(), "***"))
    }
}

/// Reads a value.
///
/// # Errors
/// Fails with a sentence that names the object, and the right that is missing where that is the reason.
pub(super) async fn read(client: &Client, namespace: &str, source: &ValueSource) -> Result<Text, String> {
    if let Some(reference) = &source.secret_key_ref {
        let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
        let secret = get(api.get(&reference.name), "Secret", "secrets", reference, namespace).await?;
        let bytes = secret.data.unwrap_or_default().remove(&reference.key).map(|bytes| bytes.0);
        let value = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
        return Ok(Text { value: value.ok_or_else(|| messages::no_key("Secret", reference))?, is_secret: true });
    }
    let reference = source.config_map_key_ref.as_ref().ok_or(messages::NO_SOURCE)?;
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let map = get(api.get(&reference.name), "ConfigMap", "configmaps", reference, namespace).await?;
    let found = value_of(map.data, &reference.key);
    Ok(Text::plain(found.ok_or_else(|| messages::no_key("ConfigMap", reference))?))
}

fn value_of(data: Option<BTreeMap<String, String>>, key: &str) -> Option<String> {
    data.unwrap_or_default().remove(key)
}

async fn get<T>(
    answer: impl Future<Output = Result<T, Error>>,
    kind: &str,
    resource: &str,
    KeyRef { name, .. }: &KeyRef,
    namespace: &str,
) -> Result<T, String> {
    let answer = timeout(PATIENCE, answer).await;
    answer.map_err(|_| messages::value_unread(kind, name, messages::too_slow(PATIENCE)))?.map_err(|error| match error {
        Error::Api(status) if status.code == 403 => messages::no_right(kind, resource, name, namespace),
        Error::Api(status) if status.code == 404 => messages::no_object(kind, name, namespace),
        Error::Api(status) => messages::value_unread(kind, name, status.message),
        _ => messages::value_unread(kind, name, messages::NO_API_SERVER),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_from_secrets_are_hidden_wherever_they_appear() {
        let mut secrets = Secrets::default();
        for value in ["tok", "token-1\n", ""] {
            secrets.note(&Text { value: value.into(), is_secret: true });
        }
        secrets.note(&Text::plain("shop"));
        assert_eq!(secrets.hide("shop: bad token-1, tok"), "shop: bad ***, ***");
    }
}
