//! Content of ConfigMaps and Secrets: the part that is copied, and the digest that a copy is named after.
//!
//! Names of copies stand in Deployments, Colors and pods, which more people may read than Secrets. A plain hash of a short password can be
//! found by trying passwords, so hashes of Secrets have a key: random, one for each Rainbow, in a Secret of its own.

use rainbow_api::{CONTENT_DIGITS, ConfigKind, ConfigName, copy_name};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::{fmt, sync::Arc};

/// Block size of SHA-256, in bytes.
const BLOCK: usize = 64;
/// Length of a key, in bytes.
const KEY: usize = 32;
/// Type of Secrets that only Kubernetes itself makes. The API server refuses another Secret of this type.
const ACCOUNT_TOKEN: &str = "kubernetes.io/service-account-token";

/// Key of the hashes of an application's Secrets.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ContentKey(Arc<[u8; KEY]>);

/// Shows nothing of the key.
impl fmt::Debug for ContentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ContentKey")
    }
}

impl ContentKey {
    pub(crate) fn random() -> Self {
        Self(Arc::new(rand::random()))
    }

    /// Returns the key with these bytes. `None`: they have not the length of a key.
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(|bytes| Self(Arc::new(bytes)))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &*self.0
    }

    /// Returns the HMAC with SHA-256 (RFC 2104).
    fn sign(&self, text: &[u8]) -> Vec<u8> {
        let mut block = [0; BLOCK];
        block[..KEY].copy_from_slice(&*self.0);
        let padded = |pad: u8| block.map(|byte| byte ^ pad);
        let inner = Sha256::new().chain_update(padded(0x36)).chain_update(text).finalize();
        Sha256::new().chain_update(padded(0x5c)).chain_update(inner).finalize().to_vec()
    }
}

/// Returns the fields of an object that are copied, each as a whole.
pub(crate) fn copied(kind: ConfigKind, object: &Value) -> Map<String, Value> {
    let fields: &[&str] = match kind {
        ConfigKind::ConfigMap => &["data", "binaryData"],
        ConfigKind::Secret => &["data", "type"],
    };
    let is_said = |value: &&Value| !value.is_null() && value.as_object().is_none_or(|fields| !fields.is_empty());
    let mut all: Map<String, Value> = fields
        .iter()
        .filter_map(|field| Some(((*field).to_owned(), object.get(*field).filter(is_said)?.clone())))
        .collect();
    if all.get("type").is_some_and(|text| text == ACCOUNT_TOKEN) {
        all.insert("type".into(), json!("Opaque"));
    }
    all
}

/// Returns the name of the copy of an object as it is.
pub(crate) fn name_of_copy(rainbow: &str, source: &ConfigName, object: &Value, key: Option<&ContentKey>) -> String {
    named(rainbow, source, &Value::Object(copied(source.kind, object)), key)
}

/// Returns the name that stands for the copy of an object that does not exist and is optional. No object has this name.
pub(crate) fn name_of_nothing(rainbow: &str, source: &ConfigName) -> String {
    named(rainbow, source, &Value::Null, None)
}

/// Returns the name of a copy. The Rainbow is part of the digest, so that two Rainbows of a namespace share no copy: each deletes its own.
fn named(rainbow: &str, source: &ConfigName, content: &Value, key: Option<&ContentKey>) -> String {
    let content = json!({ "rainbow": rainbow, "kind": source.kind, "name": source.name, "content": content });
    let text = content.to_string();
    let digest = match key.filter(|_| source.kind == ConfigKind::Secret) {
        Some(key) => key.sign(text.as_bytes()),
        None => Sha256::digest(&text).to_vec(),
    };
    let mut digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.truncate(CONTENT_DIGITS);
    copy_name(&source.name, &digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(kind: ConfigKind) -> ConfigName {
        ConfigName { kind, name: "settings".into() }
    }

    /// RFC 4231, test case 1, with a key that is padded as HMAC does it.
    #[test]
    fn hashes_are_hmac() {
        let mut bytes = [0; KEY];
        bytes[..20].copy_from_slice(&[0x0b; 20]);
        let digest = ContentKey::of(&bytes).unwrap().sign(b"Hi There");
        let text: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(text, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    }

    #[test]
    fn a_name_follows_from_the_content_alone() {
        let source = settings(ConfigKind::ConfigMap);
        let name = |object: &Value| name_of_copy("shop", &source, object, None);
        let one = json!({ "metadata": { "resourceVersion": "1", "labels": { "a": "b" } }, "data": { "A": "1" } });
        let same = json!({ "metadata": { "resourceVersion": "2" }, "immutable": true, "data": { "A": "1" }, "binaryData": null });
        assert_eq!(name(&one), name(&same));
        assert!(name(&one).starts_with("settings-") && name(&one).len() == "settings-".len() + CONTENT_DIGITS);
        for other in [json!({ "data": { "A": "2" } }), json!({ "binaryData": { "A": "MQ==" } }), json!({})] {
            assert_ne!(name(&one), name(&other), "{other}");
        }
        assert_ne!(name(&one), name_of_copy("other", &source, &one, None));
        assert_ne!(name(&json!({})), name_of_nothing("shop", &source));
    }

    #[test]
    fn a_secret_cannot_be_guessed_from_its_name() {
        let (source, object) = (settings(ConfigKind::Secret), json!({ "type": "Opaque", "data": { "p": "MTIzNA==" } }));
        let keys = [ContentKey::random(), ContentKey::random()];
        let [one, two] = keys.clone().map(|key| name_of_copy("shop", &source, &object, Some(&key)));
        let plain = name_of_copy("shop", &source, &object, None);
        assert!(one != two && one != plain);
        assert_eq!(one, name_of_copy("shop", &source, &object, ContentKey::of(keys[0].bytes()).as_ref()));
        assert_eq!(format!("{:?}", keys[0]), "ContentKey");
        assert_eq!(ContentKey::of(b"short"), None);
    }

    #[test]
    fn tokens_of_accounts_are_copied_as_any_other_secret() {
        let object = json!({ "type": ACCOUNT_TOKEN, "data": { "token": "eA==" }, "metadata": { "name": "x" } });
        let all = copied(ConfigKind::Secret, &object);
        assert_eq!(Value::Object(all), json!({ "type": "Opaque", "data": { "token": "eA==" } }));
    }
}
