//! Table of the results: a column a way, a row a figure, and the target of Rainbow.

use std::fmt::Write;

use anyhow::Result;
use serde_json::{Value, json};

use crate::{Plan, measure::Measured, way::Way};

/// Row: its name, the target, and the value of a measurement.
struct Row {
    name: &'static str,
    key: &'static str,
    target: Option<f64>,
    of: fn(&Measured) -> f64,
}

/// All results.
pub(crate) struct Table {
    machine: String,
    cluster: String,
    rate: f64,
    plan: Plan,
    columns: Vec<(Way, Result<Measured, String>)>,
}

impl Table {
    pub(crate) fn new(machine: String, cluster: String, rate: f64, plan: &Plan) -> Self {
        Self { machine, cluster, rate, plan: *plan, columns: Vec::new() }
    }

    pub(crate) fn add(&mut self, way: Way, measured: Result<Measured>) {
        let measured = measured.map_err(|error| {
            eprintln!("{}: {error:?}", way.name());
            error.root_cause().to_string()
        });
        self.columns.push((way, measured));
    }

    /// Returns whether everything could be measured.
    pub(crate) fn is_complete(&self) -> bool {
        self.columns.iter().all(|(_, measured)| measured.is_ok())
    }

    fn rows(&self) -> Vec<Row> {
        let pods = f64::from(2 * self.plan.pods);
        let row = |name, key, target, of| Row { name, key, target, of };
        vec![
            row("requests", "requests", None, |m| m.requests as f64),
            row("failed requests", "failed", Some(0.0), |m| m.failed as f64),
            row("mixed replies", "mixed", Some(0.0), |m| m.mixed as f64),
            row("time to all-new, s", "allNew", None, |m| m.all_new),
            row("  of it beyond the pace, s", "beyondPace", Some(2.0), |m| m.beyond_pace),
            row("time back to all-old, s", "allOld", Some(1.5), |m| m.all_old),
            row("pods created by the release", "podsCreated", Some(pods), |m| m.pods_created as f64),
            row("pods created by the way back", "podsCreatedBack", Some(0.0), |m| m.pods_created_back as f64),
            row("surplus pod-seconds until all-new", "surplusPodSeconds", None, |m| m.surplus_pod_seconds),
        ]
    }

    /// Formats the table for people.
    pub(crate) fn text(&self) -> String {
        let mut text = format!(
            "{}\n{}; {} + {} pods, {} s from pod to pod, {} new connections a second and kept ones, programs {}\n\n",
            self.machine,
            self.cluster,
            self.plan.pods,
            self.plan.pods,
            self.plan.every.as_secs(),
            self.rate,
            match self.plan.on_sigterm {
                e2e::OnSigterm::Die => "that end at once on SIGTERM",
                e2e::OnSigterm::Drain => "that go on for a moment after SIGTERM",
            }
        );
        let rows = self.rows();
        let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
        // Writing to a string does not fail.
        let _ = write!(text, "{:width$}", "");
        for (way, _) in &self.columns {
            let _ = write!(text, "  {:>18}", way.name());
        }
        let _ = writeln!(text, "  {:>10}", "to reach");
        for row in rows {
            let _ = write!(text, "{:width$}", row.name);
            for (_, measured) in &self.columns {
                let shown = measured.as_ref().map_or_else(|_| "-".to_owned(), |measured| number((row.of)(measured)));
                let _ = write!(text, "  {shown:>18}");
            }
            let target = row.target.map(|target| format!("≤ {}", number(target))).unwrap_or_default();
            let _ = writeln!(text, "  {target:>10}");
        }
        for (way, measured) in &self.columns {
            if let Err(error) = measured {
                let _ = writeln!(text, "{} was not measured: {error}", way.name());
            }
        }
        text
    }

    /// Formats the table for programs.
    pub(crate) fn json(&self) -> Value {
        let targets: serde_json::Map<String, Value> =
            self.rows().iter().filter_map(|row| Some((row.key.to_owned(), json!(row.target?)))).collect();
        let ways: Vec<Value> = self
            .columns
            .iter()
            .map(|(way, measured)| match measured {
                Ok(measured) => json!({ "way": way.name(), "rainbow": way.is_rainbow(), "measured": measured }),
                Err(error) => json!({ "way": way.name(), "rainbow": way.is_rainbow(), "error": error }),
            })
            .collect();
        json!({
            "machine": self.machine, "cluster": self.cluster, "newConnectionsPerSecond": self.rate,
            "podsPerTier": self.plan.pods, "everySeconds": self.plan.every.as_secs(),
            "targetsOfRainbow": targets, "ways": ways,
        })
    }
}

/// Formats whole numbers without digits after the point, and others with two.
fn number(number: f64) -> String {
    if number == number.trunc() { format!("{number:.0}") } else { format!("{number:.2}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_way_that_failed_is_shown_and_the_others_are_not_lost() {
        let plan = Plan { pods: 5, every: Duration::from_secs(30), on_sigterm: e2e::OnSigterm::Die };
        let mut table = Table::new("a machine".into(), "Kubernetes v1".into(), 200.0, &plan);
        let measured = Measured {
            requests: 1000,
            failed: 0,
            mixed: 0,
            all_new: 121.25,
            beyond_pace: 1.25,
            all_old: 1.0,
            pods_created: 10,
            pods_created_back: 0,
            surplus_pod_seconds: 1210.5,
        };
        table.add(Way::RainbowRolling, Ok(measured));
        table.add(Way::KubectlRolling, Err(anyhow::anyhow!("no image").context("it never began")));
        assert!(!table.is_complete());
        let text = table.text();
        let line = |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap().to_owned();
        let words = |start: &str| line(start)[start.len()..].split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words("time back to all-old, s"), ["1", "-", "≤", "1.50"]);
        assert_eq!(words("  of it beyond the pace, s"), ["1.25", "-", "≤", "2"]);
        assert!(text.ends_with("kubectl, rolling was not measured: no image\n"), "{text}");
        let json = table.json();
        assert_eq!(json["targetsOfRainbow"]["podsCreated"], 10.0);
        assert_eq!(json["ways"][0]["measured"]["beyondPace"], 1.25);
        assert_eq!(json["ways"][1]["error"], "no image");
    }
}
