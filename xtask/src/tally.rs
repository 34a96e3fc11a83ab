//! Counts the tests that ran, over all the runs of `cargo test` that make one of xtask's.

use std::{
    fmt,
    io::{BufRead, BufReader, Write},
    ops::Add,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use xshell::Cmd;

/// Tests by how they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// They did what they should.
    pub passed: u64,
    /// They did not.
    pub failed: u64,
    /// They were not run.
    pub skipped: u64,
}

impl Tally {
    /// Runs a test command, passes on what it prints, and counts by the lines that close each suite.
    pub fn run(&mut self, command: Cmd<'_>) -> Result<()> {
        let mut child =
            Command::from(command).stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
        let stdout = child.stdout.take().context("no standard output")?;
        let mut here = std::io::stdout();
        for line in BufReader::new(stdout).split(b'\n') {
            let mut line = line?;
            self.read(&String::from_utf8_lossy(&line));
            line.push(b'\n');
            here.write_all(&line)?;
            here.flush()?;
        }
        let status = child.wait()?;
        if !status.success() {
            bail!("`cargo test` ended with {status}");
        }
        Ok(())
    }

    /// How many were run.
    pub fn ran(&self) -> u64 {
        self.passed + self.failed
    }

    /// Adds what a line like `test result: ok. 3 passed; 0 failed; 1 ignored; …` says.
    fn read(&mut self, line: &str) {
        let Some(("test result", rest)) = line.split_once(": ") else { return };
        let Some((_, counts)) = rest.split_once(". ") else { return };
        for count in counts.split("; ") {
            match count.split_once(' ').map(|(number, what)| (number.parse::<u64>(), what)) {
                Some((Ok(number), "passed")) => self.passed += number,
                Some((Ok(number), "failed")) => self.failed += number,
                Some((Ok(number), "ignored")) => self.skipped += number,
                _ => {}
            }
        }
    }
}

impl Add for Tally {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            skipped: self.skipped + other.skipped,
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_up_what_suites_say() {
        let mut tally = Tally::default();
        for line in [
            "running 4 tests",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test a_test ... ok",
            "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s",
        ] {
            tally.read(line);
        }
        assert_eq!(tally, Tally { passed: 4, failed: 2, skipped: 1 });
        assert_eq!(tally.ran(), 6);
        assert_eq!(tally.to_string(), "4 passed, 2 failed, 1 skipped");
    }
}
