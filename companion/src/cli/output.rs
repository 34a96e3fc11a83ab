//! What commands print: words for people, or one JSON document for programs.

use std::io::Write as _;

use anstyle::{AnsiColor, Style};
use quiesce_policy::time::Timestamp;
use serde::Serialize;

use super::error::CliError;
use crate::config::Period;

/// Something went well.
pub const GOOD: Style = AnsiColor::Green.on_default().bold();
/// Something needs attention.
pub const WARN: Style = AnsiColor::Yellow.on_default().bold();
/// Something went wrong.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// What is worth less attention than the rest.
pub const DIM: Style = Style::new().dimmed();

/// In what form results are printed: for people, coloured on a terminal, or as one JSON document on
/// standard output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    #[default]
    Human,
    Json,
}

/// Prints results.
#[derive(Clone, Copy, Debug)]
pub struct Printer {
    /// In what form.
    pub format: Format,
}

impl Printer {
    /// Prints a line for people, and nothing for programs.
    pub fn line(self, text: impl AsRef<str>) {
        if self.format == Format::Human {
            // Whoever does not want to read on closes the pipe; that is not our failure.
            let mut out = anstream::stdout().lock();
            let _ = writeln!(out, "{}", text.as_ref());
            let _ = out.flush();
        }
    }

    /// Prints a document for programs, and nothing for people.
    pub fn document(self, value: &impl Serialize) -> Result<(), CliError> {
        if self.format == Format::Json {
            let text = serde_json::to_string_pretty(value).map_err(CliError::internal)?;
            let _ = writeln!(std::io::stdout().lock(), "{text}");
        }
        Ok(())
    }

    /// Prints a document as one line, as one of several.
    pub fn record(self, value: &impl Serialize) -> Result<(), CliError> {
        let text = serde_json::to_string(value).map_err(CliError::internal)?;
        let _ = writeln!(std::io::stdout().lock(), "{text}");
        Ok(())
    }

    /// Prints why a command fails.
    pub fn error(self, error: &CliError) {
        if self.format == Format::Json {
            let text = serde_json::to_string_pretty(&error.to_json()).unwrap_or_default();
            let _ = writeln!(std::io::stdout().lock(), "{text}");
            return;
        }
        let mut out = anstream::stderr().lock();
        let _ = writeln!(out, "{BAD}error{BAD:#}: {}", error.message);
        for hint in &error.hints {
            let _ = writeln!(out, "{WARN}hint{WARN:#}: {hint}");
        }
    }
}

/// Rows with each column as wide as its widest cell; styles in the last one do not count.
pub fn columns<const N: usize>(rows: &[[String; N]]) -> Vec<String> {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let line = |row: &[String; N]| {
        let cells: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// An instant to the second, as people compare it with their clock.
pub fn at(time: Timestamp) -> String {
    let text = time.to_string();
    match text.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => text,
    }
}

/// `in 5m`, `3s ago`.
pub fn relative(time: Timestamp, now: Timestamp) -> String {
    if time >= now {
        format!("in {}", span(time.ms_since(now)))
    } else {
        format!("{} ago", span(now.ms_since(time)))
    }
}

/// A span of time, with no more precision than anybody needs.
pub fn span(ms: u64) -> String {
    let rounded = match ms {
        0..1_000 => return format!("{ms}ms"),
        1_000..3_600_000 => ms / 1_000 * 1_000,
        _ => ms / 60_000 * 60_000,
    };
    Period::from_ms(rounded).to_string()
}
