//! Tokens of service accounts: JSON Web Tokens that this server signs and verifies.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    Api, User,
    json::object,
    ops::uid,
    resource::Resource,
    status::Status,
    store::{Stored, key},
    time::timestamp,
};

/// Issuer of the tokens, and their audience unless the request names others.
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
const MIN_SECONDS: i64 = 600;
const MAX_SECONDS: i64 = 1 << 32;

/// Claims of a token.
#[derive(Serialize, Deserialize)]
struct Claims {
    aud: Vec<String>,
    exp: i64,
    iat: i64,
    nbf: i64,
    iss: String,
    jti: String,
    sub: String,
    #[serde(rename = "kubernetes.io")]
    private: PrivateClaims,
}

/// Objects that the token is bound to: it is valid only while they exist.
#[derive(Serialize, Deserialize)]
struct PrivateClaims {
    namespace: String,
    serviceaccount: BoundObject,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod: Option<BoundObject>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<BoundObject>,
}

#[derive(Serialize, Deserialize)]
struct BoundObject {
    name: String,
    uid: String,
}

impl BoundObject {
    fn of(stored: &Stored) -> Self {
        Self { name: stored.name().to_owned(), uid: uid_of(stored) }
    }
}

fn uid_of(stored: &Stored) -> String {
    let value = stored.value();
    value.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default().to_owned()
}

impl Api {
    /// Answers a TokenRequest for an account.
    pub(crate) fn issue_token(&self, account: &Stored, wanted: &mut Value) -> Result<(), Status> {
        let seconds = wanted.pointer("/spec/expirationSeconds").and_then(Value::as_i64).unwrap_or(3600);
        check_duration(account.name(), seconds)?;
        let audiences = wanted.pointer("/spec/audiences").and_then(Value::as_array);
        let mut aud: Vec<String> =
            audiences.into_iter().flatten().filter_map(|name| name.as_str().map(str::to_owned)).collect();
        if aud.is_empty() {
            aud.push(ISSUER.to_owned());
        }
        let namespace = account.namespace();
        let mut private = PrivateClaims {
            namespace: namespace.to_owned(),
            serviceaccount: BoundObject::of(account),
            pod: None,
            secret: None,
        };
        if let Some(reference) = wanted.pointer("/spec/boundObjectRef").filter(|reference| reference.is_object()) {
            match reference["kind"].as_str().unwrap_or_default() {
                "Pod" => private.pod = Some(self.bound("pods", account, reference)?),
                "Secret" => private.secret = Some(self.bound("secrets", account, reference)?),
                other => return Err(Status::bad_request(format!("cannot bind token for object of type {other}"))),
            }
        }
        let now = jiff::Timestamp::now();
        let expires = now.checked_add(jiff::SignedDuration::from_secs(seconds)).unwrap_or(jiff::Timestamp::MAX);
        let claims = Claims {
            exp: expires.as_second(),
            iat: now.as_second(),
            nbf: now.as_second(),
            iss: ISSUER.to_owned(),
            jti: uid(),
            sub: format!("system:serviceaccount:{namespace}:{}", account.name()),
            aud,
            private,
        };
        let token = self.token_key().sign(&claims)?;
        let spec = object(wanted, "spec");
        spec.insert("expirationSeconds".into(), json!(seconds));
        spec.insert("audiences".into(), json!(claims.aud));
        let status = json!({"token": token, "expirationTimestamp": timestamp(expires)});
        object(wanted, "metadata").insert("name".into(), json!(account.name()));
        if let Some(fields) = wanted.as_object_mut() {
            fields.insert("status".into(), status);
        }
        Ok(())
    }

    /// Returns the object to which a token is to be bound.
    fn bound(&self, plural: &str, account: &Stored, reference: &Value) -> Result<BoundObject, Status> {
        let text = |field: &str| reference[field].as_str().unwrap_or_default();
        let registry = self.registry();
        let resource = registry.built_in("", plural).ok_or_else(Status::no_such_path)?;
        let object = self.live(resource, account.namespace(), text("name"))?;
        let bound = BoundObject::of(&object);
        if !text("uid").is_empty() && text("uid") != bound.uid {
            let why = format!(
                "the UID in the bound object reference ({}) does not match the UID in record. The object might have been deleted and then recreated",
                text("uid")
            );
            return Err(Status::conflict(resource, &bound.name, &why));
        }
        let pod = object.value();
        let runs_as = pod.pointer("/spec/serviceAccountName").and_then(Value::as_str).unwrap_or("default");
        if plural == "pods" && runs_as != account.name() {
            return Err(Status::bad_request(format!(
                "cannot bind token for serviceaccount \"{}\" to pod running with different serviceaccount name.",
                account.name()
            )));
        }
        Ok(bound)
    }

    /// Returns the user of a token and the audiences that it is valid for, or the reason why it is not valid.
    pub(crate) fn token_user(&self, token: &str, audiences: &[String]) -> Result<(User, Vec<String>), &'static str> {
        let claims = self.token_key().read::<Claims>(token).ok_or("invalid bearer token")?;
        let now = jiff::Timestamp::now().as_second();
        if claims.iss != ISSUER || now < claims.nbf {
            return Err("invalid bearer token");
        }
        if now >= claims.exp {
            return Err("service account token has expired");
        }
        let own = [ISSUER.to_owned()];
        let wanted = if audiences.is_empty() { &own } else { audiences };
        let shared: Vec<String> = claims.aud.into_iter().filter(|audience| wanted.contains(audience)).collect();
        if shared.is_empty() {
            return Err("token audiences do not match");
        }
        let PrivateClaims { namespace, serviceaccount, pod, secret } = claims.private;
        let bound = [("serviceaccounts", Some(&serviceaccount)), ("pods", pod.as_ref()), ("secrets", secret.as_ref())];
        for (plural, object) in bound {
            if object.is_some_and(|object| !self.is_there(plural, &namespace, object)) {
                return Err("service account token has been invalidated: what it was bound to is gone");
            }
        }
        let groups = [
            "system:serviceaccounts".to_owned(),
            format!("system:serviceaccounts:{namespace}"),
            "system:authenticated".to_owned(),
        ];
        Ok((User { name: claims.sub, groups: groups.into() }, shared))
    }

    fn is_there(&self, plural: &str, namespace: &str, object: &BoundObject) -> bool {
        let registry = self.registry();
        let found = |resource: &Arc<Resource>| self.store().get(&resource.storage, &key(namespace, &object.name));
        registry.built_in("", plural).and_then(found).is_some_and(|stored| uid_of(&stored) == object.uid)
    }
}

fn check_duration(account: &str, seconds: i64) -> Result<(), Status> {
    let why = match seconds {
        ..MIN_SECONDS => "may not specify a duration less than 10 minutes",
        MIN_SECONDS..=MAX_SECONDS => return Ok(()),
        _ => "may not specify a duration larger than 2^32 seconds",
    };
    let error = pocket_object::FieldError::invalid("spec.expirationSeconds", &json!(seconds), why);
    let mut status = Status::new(
        http::StatusCode::UNPROCESSABLE_ENTITY,
        "Invalid",
        format!("TokenRequest.authentication.k8s.io \"{account}\" is invalid: {error}"),
    );
    status.details = Some(Box::new(json!({
        "name": account, "group": "authentication.k8s.io", "kind": "TokenRequest",
        "causes": [{"reason": error.reason(), "message": why, "field": "spec.expirationSeconds"}],
    })));
    Err(status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TokenKey;

    fn claims(sub: &str) -> Claims {
        let account = BoundObject { name: "a".into(), uid: "1".into() };
        let private = PrivateClaims { namespace: "n".into(), serviceaccount: account, pod: None, secret: None };
        let (aud, iss, jti) = (vec!["x".into()], ISSUER.into(), "j".into());
        Claims { aud, exp: 2, iat: 1, nbf: 1, iss, jti, sub: sub.into(), private }
    }

    #[test]
    fn only_the_key_that_signed_knows_a_token() {
        let (ours, theirs) = (TokenKey::random().unwrap(), TokenKey::random().unwrap());
        let token = ours.sign(&claims("me")).unwrap();
        assert_eq!(ours.read::<Claims>(&token).map(|claims| claims.sub).as_deref(), Some("me"));
        assert!(theirs.read::<Claims>(&token).is_none());
        let (text, signature) = token.rsplit_once('.').unwrap();
        let (header, _) = text.split_once('.').unwrap();
        let other = ours.sign(&claims("root")).unwrap();
        let forged = other.split('.').nth(1).unwrap();
        for wrong in
            ["", "a.b.c", &format!("{header}.{forged}.{signature}"), text, &format!("{text}."), &format!("{token}x")]
        {
            assert!(ours.read::<Claims>(wrong).is_none(), "{wrong}");
        }
        assert!(!format!("{ours:?}").contains("EcdsaKeyPair"), "keys are not for logs");
        assert!(TokenKey::from_pkcs8(b"no key").is_err());
    }
}
