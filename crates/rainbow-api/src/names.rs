//! The names of what Rainbow makes. A name that would be too long is refused where the spec is validated, never cut; but for that of a
//! shadow Service, which no user and no client knows.

/// The longest name of a Service, a Deployment or a label value (RFC 1123 label).
pub const MAX_NAME: usize = 63;

/// Name of an instance's Deployment, and of its Service: `<prefix><tier>-<color>`.
pub fn instance(prefix: Option<&str>, tier: &str, color: &str) -> String {
    [prefix.unwrap_or_default(), tier, "-", color].concat()
}

/// Name of the Deployment of an instance that a stage has for itself, and of its Service: `<prefix><tier>-<stage>-<color>`.
pub fn instance_of_stage(prefix: Option<&str>, tier: &str, stage: &str, color: &str) -> String {
    [prefix.unwrap_or_default(), tier, "-", stage, "-", color].concat()
}

/// Name of the address through which a stage's callers reach a tier that may be newer than they are, as a label's value and in the status.
/// Names of stages and tiers have no dot. The address's Service is called as [`stage_service`] says.
pub fn inner_address(stage: &str, tier: &str) -> String {
    [stage, ".", tier].concat()
}

/// Name of a stage's Service, unless the spec names it: `<prefix><tier>-<stage>`.
pub fn stage_service(prefix: Option<&str>, tier: &str, stage: &str) -> String {
    [prefix.unwrap_or_default(), tier, "-", stage].concat()
}

/// Name of the shadow Service of a stage, whose own Service is called `service`: `<service>-shadow`. One that would be too long is cut,
/// and a digest tells it from others that begin alike.
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

/// Name of a `Color` object: `<rainbow>-<color>`, since colors of several Rainbows share a namespace.
pub fn color_object(rainbow: &str, color: &str) -> String {
    [rainbow, "-", color].concat()
}

/// Name of the PodDisruptionBudget that guards the pods of draining colors: `<rainbow>-draining`.
pub fn guard(rainbow: &str) -> String {
    [rainbow, "-draining"].concat()
}

/// Name of the PodDisruptionBudget of a stage that is held in the middle of a shift: `<rainbow>-<stage>-paused`.
pub fn stage_budget(rainbow: &str, stage: &str) -> String {
    [rainbow, "-", stage, "-paused"].concat()
}

/// Name of the Secret with the key by which hashes of Secrets are made: `<rainbow>-config-key`.
pub fn config_key(rainbow: &str) -> String {
    format!("{rainbow}-config-key")
}

/// Name of the container that counts connections in a pod.
pub const SIDECAR: &str = "rainbow-tally";
/// The port on which it answers.
pub const SIDECAR_PORT: i32 = 9798;

/// The environment variable a needed tier's address goes to when the spec names none.
pub fn default_env(tier: &str) -> String {
    tier.to_uppercase().replace('-', "_")
}

/// Whether a name is a DNS label (RFC 1123): 1 to 63 of `a-z`, `0-9` and `-`, no `-` at either end.
pub fn is_dns_label(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// Whether a text can be the key of a label or an annotation: a name, after a domain and `/` where there is one.
///
/// As `IsQualifiedName` of Kubernetes.
pub fn is_qualified(key: &str) -> bool {
    let (domain, name) = key.split_once('/').map_or((None, key), |(domain, name)| (Some(domain), name));
    let is_domain = |domain: &str| domain.len() <= 253 && domain.split('.').all(is_domain_part);
    domain.is_none_or(is_domain) && !name.is_empty() && is_label_value(name)
}

/// A part of a domain (RFC 1123). One of a domain has no limit of its own in Kubernetes.
fn is_domain_part(part: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !part.is_empty() && part.bytes().all(allowed) && !part.starts_with('-') && !part.ends_with('-')
}

/// Whether a text can be the value of a label, which may be empty.
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
