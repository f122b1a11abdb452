//! Table of the results: a row a figure, a column a tool.

use std::fmt::Write;

use anyhow::Result;
use serde_json::{Value, json};

use crate::{contestant::Tool, scenario::Scenario, scenarios::Run};

/// Outcome of a scenario with one tool.
enum Outcome {
    Measured(Vec<Run>),
    Skipped(String),
    Failed(String),
}

/// All results.
pub(crate) struct Table {
    machine: String,
    cluster: String,
    rate: f64,
    entries: Vec<(Scenario, Tool, Outcome)>,
}

/// Figure of several runs.
struct Figure {
    median: f64,
    runs: usize,
    /// Number of requests that failed and of connections that were cut, in all runs.
    lost: u64,
}

impl Table {
    pub(crate) fn new(machine: String, cluster: String, rate: f64) -> Self {
        Self { machine, cluster, rate, entries: Vec::new() }
    }

    pub(crate) fn add(&mut self, scenario: Scenario, tool: Tool, measured: Result<Vec<Run>>) {
        let outcome = match measured {
            Ok(runs) => Outcome::Measured(runs),
            Err(error) => {
                eprintln!("{}, {}: {error:?}", scenario.name(), tool.name());
                Outcome::Failed(error.root_cause().to_string())
            }
        };
        self.entries.push((scenario, tool, outcome));
    }

    pub(crate) fn skip(&mut self, scenario: Scenario, tool: Tool, reason: &str) {
        self.entries.push((scenario, tool, Outcome::Skipped(reason.to_owned())));
    }

    /// Returns whether every measurement that was begun succeeded.
    pub(crate) fn is_complete(&self) -> bool {
        self.entries.iter().all(|(_, _, outcome)| !matches!(outcome, Outcome::Failed(_)))
    }

    fn scenarios(&self) -> Vec<Scenario> {
        let mut scenarios: Vec<Scenario> = Vec::new();
        for (scenario, _, _) in &self.entries {
            if !scenarios.contains(scenario) {
                scenarios.push(*scenario);
            }
        }
        scenarios
    }

    fn outcome(&self, scenario: Scenario, tool: Tool) -> Option<&Outcome> {
        self.entries.iter().find(|(of, by, _)| *of == scenario && *by == tool).map(|(_, _, outcome)| outcome)
    }

    fn figure(&self, scenario: Scenario, at: usize, tool: Tool) -> Option<Figure> {
        let Some(Outcome::Measured(runs)) = self.outcome(scenario, tool) else { return None };
        let values: Vec<f64> = runs.iter().filter_map(|run| run.values.get(at).copied()).collect();
        let lost = runs.iter().map(|run| run.lost).sum();
        Some(Figure { median: median(&values)?, runs: values.len(), lost })
    }

    /// Formats the table for people.
    pub(crate) fn text(&self) -> String {
        const WIDTH: usize = 46;
        let mut text = format!(
            "{}\n{}; {} new connections a second; medians, (runs), and what was lost in all of them\n\n",
            self.machine, self.cluster, self.rate
        );
        // Writing to a string does not fail.
        let _ = write!(text, "{:WIDTH$}", "");
        for tool in [Tool::Argo, Tool::Rainbow] {
            let _ = write!(text, "  {:>24}", tool.name());
        }
        let _ = writeln!(text);
        for scenario in self.scenarios() {
            for (at, row) in scenario.rows().iter().enumerate() {
                let _ = write!(text, "{:WIDTH$}", row.name());
                for tool in [Tool::Argo, Tool::Rainbow] {
                    let shown = match (self.figure(scenario, at, tool), self.outcome(scenario, tool)) {
                        (Some(Figure { median, runs, lost }), _) => format!("{} ({runs}), lost {lost}", number(median)),
                        (None, Some(Outcome::Skipped(_))) => "not run".to_owned(),
                        (None, _) => "-".to_owned(),
                    };
                    let _ = write!(text, "  {shown:>24}");
                }
                let _ = writeln!(text);
            }
        }
        for (scenario, tool, outcome) in &self.entries {
            match outcome {
                Outcome::Failed(error) => {
                    let _ = writeln!(text, "{}, {} was not measured: {error}", scenario.name(), tool.name());
                }
                Outcome::Skipped(reason) => {
                    let _ = writeln!(text, "{}, {} was not run: {reason}", scenario.name(), tool.name());
                }
                Outcome::Measured(_) => {}
            }
        }
        text
    }

    /// Formats the table for programs.
    pub(crate) fn json(&self) -> Value {
        let tool = |scenario: Scenario, at: usize, tool: Tool| match self.outcome(scenario, tool) {
            Some(Outcome::Measured(runs)) => {
                let values: Vec<_> = runs.iter().filter_map(|run| run.values.get(at)).collect();
                json!({ "median": self.figure(scenario, at, tool).map(|figure| figure.median), "values": values })
            }
            Some(Outcome::Skipped(reason)) => json!({ "skipped": reason }),
            Some(Outcome::Failed(error)) => json!({ "error": error }),
            None => Value::Null,
        };
        let mut rows = serde_json::Map::new();
        for scenario in self.scenarios() {
            for (at, row) in scenario.rows().iter().enumerate() {
                let figures =
                    json!({ "argo": tool(scenario, at, Tool::Argo), "rainbow": tool(scenario, at, Tool::Rainbow) });
                rows.insert(row.key().to_owned(), figures);
            }
        }
        let runs: Vec<Value> = self
            .entries
            .iter()
            .filter_map(|(scenario, tool, outcome)| match outcome {
                Outcome::Measured(runs) => {
                    Some(json!({ "scenario": scenario.name(), "tool": tool.name(), "runs": runs }))
                }
                Outcome::Skipped(_) | Outcome::Failed(_) => None,
            })
            .collect();
        json!({
            "machine": self.machine, "cluster": self.cluster, "newConnectionsPerSecond": self.rate,
            "rows": rows, "runs": runs,
        })
    }
}

/// Returns the middle value; of an even number, the mean of the two in the middle.
fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = sorted.get(middle)?;
    Some(if sorted.len() % 2 == 1 { *upper } else { (sorted.get(middle - 1)? + upper) / 2.0 })
}

/// Formats whole numbers without digits after the point, and others with two.
fn number(number: f64) -> String {
    if number == number.trunc() { format!("{number:.0}") } else { format!("{number:.2}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Row;

    fn run(values: &[f64], lost: u64) -> Run {
        Run { values: values.to_vec(), lost, writes: Vec::new() }
    }

    #[test]
    fn medians_do_not_care_for_the_order() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn what_was_not_run_is_said_and_what_failed_loses_nothing_else() {
        let mut table = Table::new("a machine".into(), "Kubernetes v1".into(), 150.0);
        table.skip(Scenario::Release, Tool::Argo, "no controller");
        let runs = vec![run(&[20.0, 100.5], 0), run(&[24.0, 101.5], 2), run(&[22.0, 99.5], 1)];
        table.add(Scenario::Release, Tool::Rainbow, Ok(runs));
        table.add(Scenario::Preview, Tool::Rainbow, Err(anyhow::anyhow!("no image").context("it never began")));
        assert!(!table.is_complete());
        let text = table.text();
        let line = |row: Row| text.lines().find_map(|line| line.strip_prefix(row.name())).unwrap().trim().to_owned();
        assert_eq!(line(Row::Writes).split("  ").next(), Some("not run"));
        assert!(line(Row::Writes).ends_with("22 (3), lost 3"), "{text}");
        assert!(line(Row::KeptPodSeconds).ends_with("100.50 (3), lost 3"), "{text}");
        assert!(text.contains("release, Argo Rollouts was not run: no controller\n"), "{text}");
        assert!(text.ends_with("preview, Rainbow was not measured: no image\n"), "{text}");
        let json = table.json();
        assert_eq!(json["rows"]["writes"]["rainbow"]["median"], 22.0);
        assert_eq!(json["rows"]["writes"]["argo"]["skipped"], "no controller");
        assert_eq!(json["rows"]["preview"]["rainbow"]["error"], "no image");
        assert_eq!(json["runs"][0]["runs"][1]["lost"], 2);
    }
}
