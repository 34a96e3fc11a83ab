//! Clients: what all of them can be told to do, and those that are programs of their own.

use std::{net::SocketAddr, process::Stdio, time::Duration};

use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

/// Every operation ends within this time, refused or not.
pub const BOUND: Duration = Duration::from_secs(20);

/// A list of operations that a client knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Everything that it can read.
    Read,
    /// Writes that can be repeated.
    Write,
    /// Writes that would end the test if they passed, or that this server does not serve: tried while frozen only.
    Ruin,
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Ruin => "ruin",
        }
    }
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// What it was.
    pub operation: String,
    /// What it gave, or the error as the client shows it.
    pub result: Result<Value, String>,
}

/// Whoever can be told to read and write.
pub trait Client {
    /// Tries all operations of a step.
    async fn run(&mut self, step: Step) -> Vec<Outcome>;
}

/// A program that takes steps on its standard input, as `clients/python/steps.py` says; killed when dropped.
pub struct Program {
    _child: Child,
    steps: ChildStdin,
    outcomes: Lines<BufReader<ChildStdout>>,
    errors: NamedTempFile,
}

impl Program {
    /// Starts one, and waits until it is connected.
    pub async fn start(command: std::process::Command) -> Self {
        let errors = NamedTempFile::new().unwrap();
        let mut child = Command::from(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors.reopen().unwrap())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (steps, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut program = Self { _child: child, steps, outcomes: BufReader::new(stdout).lines(), errors };
        assert_eq!(program.line("its start").await, json!({ "end": "start" }));
        program
    }

    async fn line(&mut self, since: &str) -> Value {
        let line = timeout(BOUND, self.outcomes.next_line()).await;
        let line = line.ok().and_then(Result::unwrap);
        let errors = || std::fs::read_to_string(self.errors.path()).unwrap();
        let line = line.unwrap_or_else(|| panic!("no answer within {BOUND:?} after {since}:\n{}", errors()));
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }
}

impl Client for Program {
    async fn run(&mut self, step: Step) -> Vec<Outcome> {
        self.steps.write_all(format!("{}\n", step.name()).as_bytes()).await.unwrap();
        let mut outcomes: Vec<Outcome> = Vec::new();
        loop {
            let since = outcomes.last().map_or(step.name(), |outcome| &outcome.operation).to_owned();
            let mut line = self.line(&since).await;
            if line["end"] == step.name() {
                return outcomes;
            }
            let result = match line["error"].as_str() {
                Some(error) => Err(error.to_owned()),
                None => Ok(line["value"].take()),
            };
            outcomes.push(Outcome { operation: line["operation"].as_str().unwrap().to_owned(), result });
        }
    }
}

/// An address as two arguments.
pub fn host_and_port(addr: SocketAddr) -> [String; 2] {
    [addr.ip().to_string(), addr.port().to_string()]
}
