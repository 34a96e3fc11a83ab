//! Why a command fails: a kind that decides the exit code, a message, and hints what to do.

use std::{fmt, process::ExitCode};

use serde_json::json;

use crate::view::ProblemView;

/// What kind of failure it is; its number is the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ErrorKind {
    /// Something failed that is nobody's input.
    Internal = 1,
    /// The command line is wrong.
    Usage = 2,
    /// A value or a configuration is wrong.
    BadInput = 3,
    /// There is no such window, enforcer, intent or delivery.
    NotFound = 4,
    /// Something else stands in the way, such as another window.
    Conflict = 5,
    /// The token does not allow it.
    NotAllowed = 6,
    /// The companion does not answer.
    Unreachable = 7,
    /// The barrier cannot be proven.
    NotProven = 8,
    /// The barrier did not hold in time.
    TimedOut = 9,
    /// A signal came.
    Interrupted = 130,
}

/// What `--help` says of exit codes.
pub const EXIT_CODES: &str = "\
Exit codes:
    0  done
    1  internal error
    2  wrong command line
    3  bad value or configuration
    4  no such window, enforcer, intent or delivery
    5  conflict, for example with another window
    6  not allowed with this token
    7  the companion does not answer
    8  not proven: the barrier cannot hold
    9  timed out before the barrier held
  130  interrupted
`quiesce run` exits with the code of its command: 126 if it cannot be executed, 127 if it is not
found, 128 + N if signal N ended it.";

impl ErrorKind {
    fn name(self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::Usage => "usage",
            Self::BadInput => "bad-input",
            Self::NotFound => "not-found",
            Self::Conflict => "conflict",
            Self::NotAllowed => "not-allowed",
            Self::Unreachable => "unreachable",
            Self::NotProven => "not-proven",
            Self::TimedOut => "timed-out",
            Self::Interrupted => "interrupted",
        }
    }
}

impl From<ErrorKind> for ExitCode {
    fn from(kind: ErrorKind) -> Self {
        Self::from(kind as u8)
    }
}

/// Why a command fails.
#[derive(Clone, Debug)]
pub struct CliError {
    /// What kind of failure it is.
    pub kind: ErrorKind,
    /// What happened.
    pub message: String,
    /// What to do about it, one line each.
    pub hints: Vec<String>,
    /// The companion's name for the reason.
    pub code: Option<String>,
}

impl CliError {
    /// A failure of this kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hints: Vec::new(), code: None }
    }

    /// Something failed that is nobody's input.
    pub fn internal(error: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Internal, error.to_string())
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// The failure as `--output json` shows it.
    pub fn to_json(&self) -> serde_json::Value {
        json!({
            "error": {
                "kind": self.kind.name(),
                "exit_code": self.kind as u8,
                "code": self.code,
                "message": self.message,
                "hints": self.hints,
            }
        })
    }
}

impl From<ProblemView> for CliError {
    fn from(problem: ProblemView) -> Self {
        let kind = match problem.status {
            400 | 413 | 422 => ErrorKind::BadInput,
            404 => ErrorKind::NotFound,
            409 => ErrorKind::Conflict,
            401 | 403 => ErrorKind::NotAllowed,
            _ => ErrorKind::Internal,
        };
        let message = match problem.place.as_deref().and_then(|place| Some((place, flag(place)?))) {
            Some((place, flag)) => problem.detail.replacen(place, flag, 1),
            None => problem.detail,
        };
        Self { kind, message, hints: problem.hint.into_iter().collect(), code: Some(problem.code) }
    }
}

/// The flag that sets a field of the API.
fn flag(place: &str) -> Option<&'static str> {
    let field = place.split('.').next().unwrap_or(place);
    Some(match field {
        "starts_at" => "--at",
        "duration_ms" => "--for",
        "reason" => "--reason",
        "contact" => "--contact",
        "scope" => "--scope",
        "drain_timeout_ms" => "--drain-timeout",
        "by_ms" => "--by",
        "subject" => "--subject",
        "all" => "--all",
        _ => return None,
    })
}
