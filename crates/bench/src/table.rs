//! Figures, and their table.

use std::fmt::Write;

use serde::Serialize;

/// Line of the table.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    /// Name of what was measured.
    pub(crate) name: String,
    /// Unit of all numbers: `ms`, `s`, `MiB`, `%`, or empty for a count.
    pub(crate) unit: &'static str,
    /// Target. For most figures less is better.
    pub(crate) target: Option<f64>,
    /// Whether more is better.
    pub(crate) more_is_better: bool,
    /// Values of all runs.
    pub(crate) runs: Vec<f64>,
    /// Median of the runs.
    pub(crate) median: Option<f64>,
    /// Reason why there is no number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

impl Figure {
    /// Creates a figure of which less is better.
    pub(crate) fn new(name: &str, unit: &'static str, target: f64, runs: Vec<f64>) -> Self {
        let median = median(&runs);
        Self { name: name.to_owned(), unit, target: Some(target), more_is_better: false, runs, median, error: None }
    }

    /// Creates a figure of which more is better.
    pub(crate) fn at_least(name: &str, unit: &'static str, target: f64, runs: Vec<f64>) -> Self {
        Self { more_is_better: true, ..Self::new(name, unit, target, runs) }
    }

    /// Creates a figure without a target, for comparison with others.
    pub(crate) fn beside(name: &str, unit: &'static str, runs: Vec<f64>) -> Self {
        Self { target: None, ..Self::new(name, unit, 0.0, runs) }
    }

    /// Creates a figure that could not be taken.
    pub(crate) fn failed(name: &str, error: &str) -> Self {
        Self {
            name: name.to_owned(),
            unit: "",
            target: None,
            more_is_better: false,
            runs: Vec::new(),
            median: None,
            error: Some(error.to_owned()),
        }
    }
}

/// All results.
#[derive(Debug, Serialize)]
pub(crate) struct Results {
    machine: String,
    runs: u32,
    pub(crate) figures: Vec<Figure>,
}

impl Results {
    pub(crate) fn new(machine: String, runs: u32) -> Self {
        Self { machine, runs, figures: Vec::new() }
    }

    /// Formats the table for people.
    pub(crate) fn table(&self) -> String {
        let mut text = format!("{}; medians of {} runs\n\n", self.machine, self.runs);
        let width = self.figures.iter().map(|figure| figure.name.chars().count()).max().unwrap_or(0);
        let _ = writeln!(text, "{:width$}  {:>10}  {:>10}  {:>21}", "figure", "median", "target", "min … max");
        for figure in &self.figures {
            let Figure { name, unit, target, median, runs, error, more_is_better } = figure;
            let show = |number: &f64| format!("{} {unit}", round(*number)).trim_end().to_owned();
            if let Some(error) = error {
                let _ = writeln!(text, "{name:width$}  not measured: {error}");
                continue;
            }
            let bound = if *more_is_better { "≥ " } else { "≤ " };
            let least = runs.iter().copied().reduce(f64::min);
            let most = runs.iter().copied().reduce(f64::max);
            let _ = writeln!(
                text,
                "{name:width$}  {:>10}  {:>10}  {:>21}",
                median.as_ref().map(show).unwrap_or_default(),
                target.as_ref().map(|target| format!("{bound}{}", show(target))).unwrap_or_default(),
                least.zip(most).map(|(least, most)| format!("{} … {}", show(&least), show(&most))).unwrap_or_default(),
            );
        }
        text
    }
}

/// Rounds to three significant digits: a noisy machine gives no more.
fn round(number: f64) -> String {
    if number.abs() >= 100.0 || number == number.trunc() { format!("{number:.0}") } else { format!("{number:.2}") }
}

fn median(runs: &[f64]) -> Option<f64> {
    let mut sorted = runs.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        length if length % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }
}
