//! The figures: a table for people, JSON for later.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;
use serde::Serialize;

/// All that was measured.
#[derive(Debug, Serialize)]
pub struct Report {
    quick: bool,
    figures: Vec<Figure>,
    variants: Vec<Variant>,
    exact: Vec<Exact>,
}

/// One figure, with what it must reach.
#[derive(Debug, Serialize)]
struct Figure {
    name: String,
    measured: f64,
    unit: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_most: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ok: Option<bool>,
}

/// One variant under load.
#[derive(Clone, Debug, Serialize)]
pub struct Variant {
    /// What it is.
    pub name: String,
    /// CPU time of the Envoy process for one request, the median of the rounds; microseconds.
    pub cpu_us: f64,
    /// The smallest and the largest of the rounds.
    pub cpu_us_range: (f64, f64),
    /// CPU time beyond bare Envoy's for the same request, the median of the rounds' differences.
    pub over_bare_us: f64,
    /// Requests a second, the median of the rounds.
    pub requests_per_s: f64,
}

/// What one request costs on the wasmtime host, exactly.
#[derive(Clone, Debug, Serialize)]
pub struct Exact {
    /// Which request.
    pub name: String,
    /// Times the VM is entered.
    pub entries: f64,
    /// Host calls.
    pub host_calls: f64,
    /// The same by name.
    pub by_name: BTreeMap<&'static str, f64>,
    /// Those of them that hand data over.
    pub data_calls: f64,
    /// Fuel: about one a WebAssembly instruction.
    pub fuel: f64,
}

impl Report {
    /// An empty one.
    pub fn new(quick: bool) -> Self {
        Self { quick, figures: Vec::new(), variants: Vec::new(), exact: Vec::new() }
    }

    /// Adds a figure that must be at most so much.
    pub fn target(&mut self, name: &str, measured: f64, unit: &'static str, at_most: f64) {
        // A cost below nothing is noise, and meets no target.
        let ok = Some((0.0..=at_most).contains(&measured));
        self.figures.push(Figure { name: name.to_owned(), measured, unit, at_most: Some(at_most), ok });
    }

    /// Adds a figure to know.
    pub fn note(&mut self, name: &str, measured: f64, unit: &'static str) {
        self.figures.push(Figure { name: name.to_owned(), measured, unit, at_most: None, ok: None });
    }

    /// Adds a variant under load.
    pub fn variant(&mut self, variant: Variant) {
        self.variants.push(variant);
    }

    /// Adds what a request costs exactly.
    pub fn exact(&mut self, exact: Exact) {
        self.exact.push(exact);
    }

    /// Prints all of it.
    pub fn print(&self) {
        println!(
            "\n{:<44} {:>9} {:>16} {:>10} {:>9}",
            "under load", "CPU µs", "(range)", "over bare", "req/s"
        );
        for one in &self.variants {
            let range = format!("{:.1}-{:.1}", one.cpu_us_range.0, one.cpu_us_range.1);
            println!(
                "{:<44} {:>9.1} {:>16} {:>10.1} {:>9.0}",
                one.name, one.cpu_us, range, one.over_bare_us, one.requests_per_s
            );
        }
        println!(
            "\n{:<44} {:>9} {:>10} {:>10} {:>9}",
            "exactly, per request", "entries", "host calls", "with data", "fuel"
        );
        for one in &self.exact {
            println!(
                "{:<44} {:>9.1} {:>10.1} {:>10.1} {:>9.0}",
                one.name, one.entries, one.host_calls, one.data_calls, one.fuel
            );
        }
        println!("\n{:<64} {:>12} {:>12}", "figure", "measured", "at most");
        for one in &self.figures {
            let (limit, verdict) = match (one.at_most, one.ok) {
                (Some(limit), Some(ok)) => (format!("{limit} {}", one.unit), if ok { "ok" } else { "miss" }),
                _ => (String::new(), ""),
            };
            let measured = format!("{} {}", rounded(one.measured), one.unit);
            println!("{:<64} {measured:>12} {limit:>12}  {verdict}", one.name);
        }
        if self.quick {
            println!("\na quick run: these figures mean nothing");
        }
    }

    /// Writes it as `report.json` into `dir`.
    ///
    /// # Errors
    /// When that cannot be done.
    pub fn write(&self, dir: &Path) -> Result<PathBuf> {
        fs::create_dir_all(dir)?;
        let file = dir.join(if self.quick { "quick.json" } else { "report.json" });
        fs::write(&file, serde_json::to_vec_pretty(self)?)?;
        Ok(file)
    }
}

fn rounded(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value}") } else { format!("{value:.2}") }
}

/// The middle of some numbers.
pub fn median(numbers: &[f64]) -> f64 {
    percentile(numbers, 0.5)
}

/// The smallest number that is not less than such a share of them (nearest rank).
pub fn percentile(numbers: &[f64], share: f64) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "ranks"
    )]
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}
