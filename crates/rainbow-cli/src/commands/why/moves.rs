//! Tiers of stages: which have moved to a color, which are moving, and what the others wait for.

use rainbow_api::{Rainbow, ShiftPhase, ShiftStatus, StageStatus};

/// Returns a line for each tier of the stages that go to a color tier by tier, and none for stages that serve the color.
pub(super) fn explain(rainbow: &Rainbow, color: &str) -> Vec<String> {
    let stages = rainbow.status.iter().flat_map(|status| &status.stages);
    stages.filter(|stage| is_on_its_way(stage, color)).flat_map(|stage| of_stage(stage, color)).collect()
}

/// Returns whether tiers of the stage are at different colors, one of which is the given color or will be.
fn is_on_its_way(stage: &StageStatus, color: &str) -> bool {
    let is = |name: &Option<String>| name.as_deref() == Some(color);
    let concerns = is(&stage.target) || stage.tiers.iter().any(|tier| is(&tier.color) || is(&tier.target));
    let is_whole = is(&stage.color) && stage.shift.is_none() && stage.tiers.iter().all(|tier| is(&tier.color));
    !stage.tiers.is_empty() && concerns && !is_whole
}

fn of_stage(stage: &StageStatus, color: &str) -> Vec<String> {
    let tiers = stage.tiers.iter().map(|tier| {
        let what = place(tier.color.as_deref(), tier.shift.as_ref(), tier.message.as_deref(), color);
        format!("stage {}: tier {} {what}", stage.name, tier.tier)
    });
    let clients = place(stage.color.as_deref(), stage.shift.as_ref(), stage.message.as_deref(), color);
    tiers.chain([format!("stage {}: what clients reach {clients}", stage.name)]).collect()
}

fn place(now: Option<&str>, shift: Option<&ShiftStatus>, message: Option<&str>, color: &str) -> String {
    let because = message.map(|message| format!(": {message}")).unwrap_or_default();
    match shift.filter(|shift| shift.phase != ShiftPhase::Finishing) {
        Some(shift) => format!("moves from {} to {}, {} of {} pods", shift.from, shift.to, shift.moved, shift.of),
        None if now == Some(color) => format!("has moved to {color}{because}"),
        None => format!("is at {}{because}", now.unwrap_or("no color")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tells_where_each_tier_is() {
        let rainbow: Rainbow = serde_json::from_value(json!({
            "metadata": { "name": "shop" }, "spec": { "tiers": [] },
            "status": { "stages": [
                { "name": "active", "service": "web-active", "color": "v1", "target": "v2", "message": "waits",
                  "tiers": [
                      { "tier": "db", "service": "db-active", "color": "v2" },
                      { "tier": "api", "service": "api-active", "color": "v1",
                        "shift": { "from": "v1", "to": "v2", "phase": "Shifting", "moved": 1, "of": 5, "startedAt": "" } },
                  ] },
                { "name": "smoke", "service": "web-smoke", "color": "v2",
                  "tiers": [{ "tier": "db", "service": "db-smoke", "color": "v2" }] },
            ] },
        }))
        .unwrap();
        let expected = [
            "stage active: tier db has moved to v2",
            "stage active: tier api moves from v1 to v2, 1 of 5 pods",
            "stage active: what clients reach is at v1: waits",
        ];
        assert_eq!(explain(&rainbow, "v2"), expected);
        assert_eq!(explain(&rainbow, "v3"), Vec::<String>::new());
    }
}
