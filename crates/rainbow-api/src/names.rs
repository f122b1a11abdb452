//! Names of the objects that Rainbow makes. The validation of the spec refuses a name that would be too long; it is never cut. The name of
//! a shadow Service is the exception, since no user and no client knows it.

/// Longest name of a Service, a Deployment or a label value (RFC 1123 label), in characters.
pub const MAX_NAME: usize = 63;

/// Returns the name of an instance's Deployment, and of its Service: `<prefix><tier>-<color>`.
pub fn instance(prefix: Option<&str>, tier: &str, color: &str) -> String {
    [prefix.unwrap_or_default(), tier, "-", color].concat()
}

/// Returns the name of the Deployment of an instance that a stage has for itself, and of its Service: `<prefix><tier>-<stage>-<color>`.
pub fn instance_of_stage(prefix: Option<&str>, tier: &str, stage: &str, color: &str) -> String {
    [prefix.unwrap_or_default(), tier, "-", stage, "-", color].concat()
}

/// Returns the name of the address through which a stage's callers reach a tier that may be newer than they are, as a label's value and in
/// the status. The dot tells it from names of stages and tiers, which have none. [`stage_service`] names the address's Service.
pub fn inner_address(stage: &str, tier: &str) -> String {
    [stage, ".", tier].concat()
}

/// Returns the name of a stage's Service, unless the spec names it: `<prefix><tier>-<stage>`.
pub fn stage_service(prefix: Option<&str>, tier: &str, stage: &str) -> String {
    [prefix.unwrap_or_default(), tier, "-", stage].concat()
}

/// Returns the name of the shadow Service of a stage whose own Service is called `service`: `<service>-shadow`. A name that would be too
/// long is cut, and a digest distinguishes it from others that begin in the same way.
pub fn shadow(service: &str) -> String {
    const END: &str = "-shadow";
    const DIGITS: usize = 8;
    if service.len() + END.len() <= MAX_NAME {
        return [service, END].concat();
    }
    let kept: String = service.chars().take(MAX_NAME - END.len() - DIGITS - 1).collect();
    let digest = crate::identity::hash(&service.into(), DIGITS);
    format!("{}-{digest}{END}", kept.trim_end_matches('-'))
}

/// Returns the name of a `Color` object: `<rainbow>-<color>`, since colors of several Rainbows share a namespace.
pub fn color_object(rainbow: &str, color: &str) -> String {
    [rainbow, "-", color].concat()
}

/// Returns the name of the PodDisruptionBudget that guards the pods of draining colors: `<rainbow>-draining`.
pub fn guard(rainbow: &str) -> String {
    [rainbow, "-draining"].concat()
}

/// Returns the name of the PodDisruptionBudget of a stage that is held in the middle of a shift: `<rainbow>-<stage>-paused`.
pub fn stage_budget(rainbow: &str, stage: &str) -> String {
    [rainbow, "-", stage, "-paused"].concat()
}

/// Returns the name of the Job of a measurement: `<rainbow>-<gate>-<digest>`. The digest is that of what is measured, so that a measurement
/// finds the Job that it has made. A name that would be too long is cut before the digest.
pub fn gate_job(rainbow: &str, gate: &str, measurement: &serde_json::Value) -> String {
    const DIGITS: usize = 8;
    let kept: String = [rainbow, "-", gate].concat().chars().take(MAX_NAME - DIGITS - 1).collect();
    format!("{}-{}", kept.trim_end_matches('-'), crate::identity::hash(measurement, DIGITS))
}

/// Returns the name of the Secret with the key for hashes of Secrets: `<rainbow>-config-key`.
pub fn config_key(rainbow: &str) -> String {
    format!("{rainbow}-config-key")
}

/// Name of the container that counts connections in a pod.
pub const SIDECAR: &str = "rainbow-tally";
/// Port on which the container [`SIDECAR`] answers.
pub const SIDECAR_PORT: i32 = 9798;

/// Returns the environment variable that receives a needed tier's address when the spec names none.
pub fn default_env(tier: &str) -> String {
    tier.to_uppercase().replace('-', "_")
}

/// Returns whether a name is a DNS label (RFC 1123): 1 to 63 of `a-z`, `0-9` and `-`, no `-` at either end.
pub fn is_dns_label(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// Returns whether a text can be the key of a label or an annotation: a name, after an optional domain and `/`.
///
/// The rules are those of `IsQualifiedName` of Kubernetes.
pub fn is_qualified(key: &str) -> bool {
    let (domain, name) = key.split_once('/').map_or((None, key), |(domain, name)| (Some(domain), name));
    let is_domain = |domain: &str| domain.len() <= 253 && domain.split('.').all(is_domain_part);
    domain.is_none_or(is_domain) && !name.is_empty() && is_label_value(name)
}

/// Returns whether a text is a part of a domain (RFC 1123). Kubernetes sets no limit for the length of one part.
fn is_domain_part(part: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !part.is_empty() && part.bytes().all(allowed) && !part.starts_with('-') && !part.ends_with('-')
}

/// Returns whether a text can be the value of a label, which may be empty.
pub fn is_label_value(value: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let ends = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    let bytes = value.as_bytes();
    value.len() <= MAX_NAME && value.bytes().all(allowed) && ends(bytes.first()) && ends(bytes.last())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dns_labels() {
        for good in ["v1", "3c3fdc", "000000", "a-b", &"a".repeat(63)] {
            assert!(is_dns_label(good), "{good}");
        }
        for bad in ["", "V1", "-a", "a-", "a.b", "a_b", &"a".repeat(64)] {
            assert!(!is_dns_label(bad), "{bad}");
        }
    }

    #[test]
    fn names_of_jobs_are_labels() {
        let name = gate_job("shop", "smoke-test", &serde_json::json!(["v2", 0]));
        assert!(name.starts_with("shop-smoke-test-") && name.len() == "shop-smoke-test-".len() + 8, "{name}");
        assert_ne!(name, gate_job("shop", "smoke-test", &serde_json::json!(["v2", 1])));
        let long = gate_job(&"a".repeat(53), &"b".repeat(63), &serde_json::json!(0));
        assert!(is_dns_label(&long) && !long.contains("--"), "{long}");
    }

    #[test]
    fn keys_and_values_of_labels() {
        for good in ["app", "example.com/team", "a.b-c/D_e.f", &"a".repeat(63), &format!("x/{}", "a".repeat(63))] {
            assert!(is_qualified(good), "{good}");
        }
        for bad in ["", "/", "a/", "/a", "a/b/c", "-a", "a_", "A.com/x", "a..b/x", "a b", &"a".repeat(64), "ä"] {
            assert!(!is_qualified(bad), "{bad}");
        }
        assert!(is_label_value("") && is_label_value("A_b.c-1") && !is_label_value("-") && !is_label_value("a b"));
    }

    #[test]
    fn names_read_as_in_the_proof_of_concept() {
        assert_eq!(instance(None, "frontend", "v1"), "frontend-v1");
        assert_eq!(stage_service(Some("shop-"), "frontend", "active"), "shop-frontend-active");
        assert_eq!(default_env("user-db"), "USER_DB");
    }

    #[test]
    fn every_stage_has_a_name_for_its_shadow() {
        assert_eq!(shadow("web-active"), "web-active-shadow");
        let longest = "a".repeat(MAX_NAME - 7);
        assert_eq!(shadow(&longest), format!("{longest}-shadow"));
        let (one, other) = (shadow(&"a".repeat(63)), shadow(&"a".repeat(62)));
        assert!(is_dns_label(&one) && is_dns_label(&other) && one != other, "{one} {other}");
        assert!(is_dns_label(&shadow(&format!("{}-{}", "a".repeat(46), "b".repeat(16)))));
    }
}
