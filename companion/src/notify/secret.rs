//! Secrets of notifiers: where they are is configured, and they are read when they are used, so that a new one takes
//! effect without a restart.

use std::{env, fmt, fs, path::PathBuf};

use serde::Deserialize;
use zeroize::Zeroizing;

/// More than any key or URL; bytes.
const MAX_BYTES: u64 = 4_096;

/// Where a secret is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Secret {
    /// In a variable of the environment.
    Env(String),
    /// In a file, alone.
    File(PathBuf),
}

/// Why a secret cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The variable is not set.
    #[error("the variable {0} is not set in the companion's environment, or is empty")]
    Unset(String),
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// There is too much, or nothing, in the file.
    #[error("{0} holds no secret: it is empty, or longer than 4096 bytes")]
    Unlikely(PathBuf),
}

impl Secret {
    /// The secret as it is now.
    pub fn read(&self) -> Result<Revealed, SecretError> {
        match self {
            Self::Env(name) => match env::var(name) {
                Ok(value) if !value.trim().is_empty() => Ok(Revealed::new(value)),
                _ => Err(SecretError::Unset(name.clone())),
            },
            Self::File(path) => {
                let unreadable = |source| SecretError::Unreadable { path: path.clone(), source };
                let size = fs::metadata(path).map_err(unreadable)?.len();
                let text = if size > MAX_BYTES {
                    String::new()
                } else {
                    fs::read_to_string(path).map_err(unreadable)?
                };
                if text.trim().is_empty() {
                    return Err(SecretError::Unlikely(path.clone()));
                }
                Ok(Revealed::new(text))
            }
        }
    }
}

/// A secret in memory, which no log shows.
pub struct Revealed(Zeroizing<String>);

impl Revealed {
    fn new(text: String) -> Self {
        let text = Zeroizing::new(text);
        Self(Zeroizing::new(text.trim().to_owned()))
    }

    /// What it is.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// A text without it.
    pub fn redact(&self, text: &str) -> String {
        text.replace(self.expose(), "[secret]")
    }
}

impl fmt::Debug for Revealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Revealed([secret])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_anew_and_shown_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        let secret = Secret::File(file.clone());
        assert!(secret.read().unwrap_err().to_string().contains("cannot read"));
        fs::write(&file, " \n").unwrap();
        assert!(secret.read().unwrap_err().to_string().contains("holds no secret"));
        fs::write(&file, "one\n").unwrap();
        assert_eq!(secret.read().unwrap().expose(), "one");
        fs::write(&file, "two\n").unwrap();
        let two = secret.read().unwrap();
        assert_eq!(two.redact("http://x/two?"), "http://x/[secret]?");
        assert_eq!(format!("{two:?}"), "Revealed([secret])");
        fs::write(&file, "x".repeat(5_000)).unwrap();
        assert!(secret.read().is_err());
        assert!(Secret::Env("QUIESCE_TEST_NOT_SET".to_owned()).read().is_err());
    }
}
