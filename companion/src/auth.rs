//! Who may call the API: bearer tokens, each with a role, of which only hashes are kept.

use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use utoipa::ToSchema;

use crate::config::{Config, Token};

/// What the holder of a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Read.
    Viewer,
    /// Change, and read.
    Operator,
    /// Fetch snapshots and report, as enforcers do; nothing else.
    Sync,
}

impl Role {
    /// The role as configuration and API spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Sync => "sync",
        }
    }

    /// Whether who has this role may do what needs `needed`.
    pub fn includes(self, needed: Self) -> bool {
        self == needed || (self == Self::Operator && needed == Self::Viewer)
    }
}

/// The SHA-256 of a token. Tokens are random and long, so that a plain hash is enough to hide them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Of this token.
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }

    /// Reads 64 hexadecimal digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// As 64 hexadecimal digits.
    pub fn to_hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Who called.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The name of the token used.
    pub name: String,
    /// What it may do.
    pub role: Role,
}

/// Why a call was not let through.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// No token came with it.
    #[error("this needs a token with the role `{}`", .needed.as_str())]
    Missing {
        /// What it needs.
        needed: Role,
    },
    /// The token is not known.
    #[error("the token is not known here")]
    Unknown,
    /// A web page called that is not the companion's own, or that anybody could have opened.
    #[error("calls of web pages are not answered: the request has the header `Origin`")]
    Browser,
    /// The token is known, and not enough.
    #[error("`{name}` has the role `{}`; this needs `{}`", .has.as_str(), .needed.as_str())]
    Insufficient {
        /// Whose token.
        name: String,
        /// What the token has.
        has: Role,
        /// What it needs.
        needed: Role,
    },
}

/// The known tokens.
#[derive(Default)]
pub struct Tokens(Vec<(Digest, Role, String)>);

/// Why a configured token cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Its file cannot be read.
    #[error("tokens[{index}].file: cannot read {path}: {source}")]
    Unreadable {
        /// Which token.
        index: usize,
        /// Its file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// It is too short to be a secret.
    #[error(
        "tokens[{index}]: the token has fewer than {MIN_TOKEN_BYTES} characters and could be guessed; make one with `quiesce token new`"
    )]
    Short {
        /// Which token.
        index: usize,
    },
    /// Its hash is none.
    #[error("tokens[{index}].sha256 is not a SHA-256")]
    NoDigest {
        /// Which token.
        index: usize,
    },
}

const MIN_TOKEN_BYTES: usize = 16;

impl Tokens {
    /// The tokens that the configuration names; reads the files that hold them.
    pub fn load(config: &Config) -> Result<Self, TokenError> {
        let digest = |(index, token): (usize, &Token)| {
            let digest = match (&token.sha256, &token.file) {
                (Some(hex), _) => Digest::from_hex(hex).ok_or(TokenError::NoDigest { index })?,
                (None, Some(path)) => Self::from_file(index, path)?,
                (None, None) => return Err(TokenError::NoDigest { index }),
            };
            Ok((digest, token.role, token.name.clone()))
        };
        config.tokens.iter().enumerate().map(digest).collect::<Result<_, _>>().map(Self)
    }

    fn from_file(index: usize, path: &Path) -> Result<Digest, TokenError> {
        let text = std::fs::read_to_string(path).map_err(|source| TokenError::Unreadable {
            index,
            path: path.display().to_string(),
            source,
        })?;
        let token = text.trim();
        if token.len() < MIN_TOKEN_BYTES {
            return Err(TokenError::Short { index });
        }
        Ok(Digest::of(token))
    }

    /// Whether everybody may do everything.
    pub fn is_open(&self) -> bool {
        self.0.is_empty()
    }

    /// Who calls with this token, if they may do what needs `needed`. All known tokens are compared,
    /// each in constant time, so that the time taken tells nothing.
    pub fn admit(&self, bearer: Option<&str>, needed: Role) -> Result<Caller, AuthError> {
        if self.is_open() {
            return Ok(Caller { name: "anonymous".to_owned(), role: Role::Operator });
        }
        let digest = Digest::of(bearer.ok_or(AuthError::Missing { needed })?);
        let mut found = None;
        for (known, role, name) in &self.0 {
            if bool::from(known.0.ct_eq(&digest.0)) {
                found = Some((*role, name));
            }
        }
        let (has, name) = found.ok_or(AuthError::Unknown)?;
        if has.includes(needed) {
            Ok(Caller { name: name.clone(), role: has })
        } else {
            Err(AuthError::Insufficient { name: name.clone(), has, needed })
        }
    }
}

/// Makes a token: 32 random bytes, recognisable as ours to scanners for leaked secrets.
pub fn new_token() -> Result<String, getrandom::Error> {
    use base64ct::{Base64UrlUnpadded, Encoding as _};
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(format!("quiesce_{}", Base64UrlUnpadded::encode_string(&bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_round_trip() {
        let digest = Digest::of("secret");
        assert_eq!(digest.to_hex(), "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b");
        assert!(Digest::from_hex(&digest.to_hex()) == Some(digest));
        assert!(Digest::from_hex("2bb8").is_none());
        assert!(Digest::from_hex(&"é".repeat(32)).is_none());
    }

    #[test]
    fn operators_may_read_and_enforcers_only_sync() {
        let all = [Role::Viewer, Role::Operator, Role::Sync];
        let may = |role: Role| all.map(|needed| role.includes(needed));
        assert_eq!(may(Role::Viewer), [true, false, false]);
        assert_eq!(may(Role::Operator), [true, true, false]);
        assert_eq!(may(Role::Sync), [false, false, true]);
    }

    #[test]
    fn new_tokens_differ() {
        assert_ne!(new_token().unwrap(), new_token().unwrap());
    }
}
