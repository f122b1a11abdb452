//! The names of what Rainbow makes. A name that would be too long is refused where the spec is validated, never cut.

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

/// Name of a `Color` object: `<rainbow>-<color>`, since colors of several Rainbows share a namespace.
pub fn color_object(rainbow: &str, color: &str) -> String {
    format!("{rainbow}-{color}")
}

/// Name of the PodDisruptionBudget that guards the pods of draining colors: `<rainbow>-draining`.
pub fn guard(rainbow: &str) -> String {
    format!("{rainbow}-draining")
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
}
