//! Container ports by number or by name.

use k8s_openapi::{api::core::v1::Container, apimachinery::pkg::util::intstr::IntOrString};

/// Returns the number of a container's port, given as a number, as the name of one of its ports, or as a number in a string.
pub fn resolve(port: &IntOrString, container: &Container) -> Option<u16> {
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => container
            .ports
            .iter()
            .flatten()
            .find(|candidate| candidate.name.as_deref() == Some(name))
            .map(|candidate| candidate.container_port)
            .or_else(|| name.parse().ok())?,
    };
    u16::try_from(number).ok().filter(|number| *number != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolves() {
        let container: Container = serde_json::from_value(
            serde_json::json!({"name": "c", "ports": [{"name": "http", "containerPort": 8080}]}),
        )
        .unwrap();
        for (port, expected) in [
            (IntOrString::Int(80), Some(80)),
            (IntOrString::Int(0), None),
            (IntOrString::Int(70_000), None),
            (IntOrString::String("http".into()), Some(8080)),
            (IntOrString::String("81".into()), Some(81)),
            (IntOrString::String("metrics".into()), None),
        ] {
            assert_eq!(resolve(&port, &container), expected, "{port:?}");
        }
    }
}
