//! The names of what Rainbow makes. A name that would be too long is refused where the spec is validated, never cut; but for that of a
//! shadow Service, which no user and no client knows.

/// The longest name of a Service, a Deployment or a label value (RFC 1123 label).
pub const MAX_NAME: usize = 63;

/// Name of an instance's Deployment, and of its Service: `<prefix><tier>-<color>`.
pub fn instance(prefix: Option<&str>, tier: &str, color: &str) -> String {
    format!("{}{tier}-{color}", prefix.unwrap_or_default())
}

/// Name of a stage's Service, unless the spec names it: `<prefix><tier>-<stage>`.
pub fn stage_service(prefix: Option<&str>, tier: &str, stage: &str) -> String {
    format!("{}{tier}-{stage}", prefix.unwrap_or_default())
}

/// Name of the shadow Service of a stage, whose own Service is called `service`: `<service>-shadow`. One that would be too long is cut,
/// and a digest tells it from others that begin alike.
pub fn shadow(service: &str) -> String {
    const END: &str = "-shadow";
    const DIGITS: usize = 8;
    if service.len() + END.len() <= MAX_NAME {
        return format!("{service}{END}");
    }
    let kept: String = service.chars().take(MAX_NAME - END.len() - DIGITS - 1).collect();
    let digest = crate::identity::hash(&service.into(), DIGITS);
    format!("{}-{digest}{END}", kept.trim_end_matches('-'))
}

/// Name of a `Color` object: `<rainbow>-<color>`, since colors of several Rainbows share a namespace.
pub fn color_object(rainbow: &str, color: &str) -> String {
    format!("{rainbow}-{color}")
}

/// Name of the PodDisruptionBudget that guards the pods of draining colors: `<rainbow>-draining`.
pub fn guard(rainbow: &str) -> String {
    format!("{rainbow}-draining")
}

/// Name of the PodDisruptionBudget of a stage that is held in the middle of a shift: `<rainbow>-<stage>-paused`.
pub fn stage_budget(rainbow: &str, stage: &str) -> String {
    format!("{rainbow}-{stage}-paused")
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
