//! Passes: short-lived, signed permissions to write during a window. A pass is a compact JWS (RFC
//! 7515) signed with Ed25519 (RFC 8037); enforcers check it with the public key in the snapshot.

use std::{
    fs::OpenOptions,
    io::{Read as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use base64ct::{Base64UrlUnpadded as Base64, Encoding as _};
use ed25519_compact::{KeyPair, Seed};
use quiesce_policy::{
    pass::{PASS_TYPE, PassClaims, PassHeader},
    snapshot::{PassKey, WindowId},
    time::Timestamp,
};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::config::Period;

/// No pass is valid for less; milliseconds. Times in a pass are whole seconds.
const SHORTEST_MS: u64 = 1_000;
const SEED_BYTES: usize = 32;

/// Why there is no key, or no pass.
#[derive(Debug, thiserror::Error)]
pub enum PassError {
    /// The key's file cannot be used.
    #[error("cannot use the signing key {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Others than the owner can read the key.
    #[error("the signing key {path} can be read by others (mode {mode:04o}): run `chmod 600 {path}`")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The file holds no key.
    #[error(
        "the signing key {path} is not 32 bytes in unpadded base64url: remove it and restart for a new one"
    )]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// No random numbers are to be had.
    #[error("the system gives no random numbers: {0}")]
    Random(#[from] getrandom::Error),
    /// The lifetime asked for is out of bounds.
    #[error("duration_ms: a pass is valid for 1s at least and {longest} at most, not {asked}")]
    Lifetime {
        /// What was asked for.
        asked: Period,
        /// What is allowed.
        longest: Period,
    },
    /// Enforcers do not know the key.
    #[error(
        "the signing key of this companion is not the one in force: give all companions on a database the same \
         `passes.key_file`, and start this one again"
    )]
    ForeignKey,
    /// The subject is none.
    #[error("subject: {0}")]
    Subject(String),
    /// The claims could not be written as JSON.
    #[error("the pass cannot be written: {0}")]
    Json(#[from] serde_json::Error),
}

/// The key that passes are signed with.
pub struct PassSigner {
    pair: KeyPair,
    kid: String,
    longest: Period,
}

/// A pass just issued.
#[derive(Debug)]
pub struct IssuedPass {
    /// The pass itself: a secret, not to be logged or stored.
    pub token: String,
    /// Names it in the event log.
    pub jti: String,
    /// Until when it is valid.
    pub expires_at: Timestamp,
}

impl PassSigner {
    /// Reads the key, or makes one where there is no file yet.
    pub fn open(path: &Path, longest: Period) -> Result<Self, PassError> {
        let file = |source| PassError::File { path: path.to_owned(), source };
        if !path.exists() {
            create(path)?;
        }
        let mut handle = std::fs::File::open(path).map_err(file)?;
        let mode = handle.metadata().map_err(file)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(PassError::Exposed { path: path.to_owned(), mode });
        }
        let mut text = Zeroizing::new(String::new());
        handle.read_to_string(&mut text).map_err(file)?;
        let no_key = || PassError::NoKey { path: path.to_owned() };
        let seed = Zeroizing::new(Base64::decode_vec(text.trim()).map_err(|_| no_key())?);
        let pair = KeyPair::from_seed(Seed::from_slice(&seed).map_err(|_| no_key())?);
        let digest = Sha256::digest(pair.pk.as_ref());
        let kid = Base64::encode_string(&digest.iter().copied().take(9).collect::<Vec<u8>>());
        Ok(Self { pair, kid, longest })
    }

    /// The public key as enforcers are told.
    pub fn public(&self) -> PassKey {
        PassKey { kid: self.kid.clone(), public_key: Base64::encode_string(self.pair.pk.as_ref()) }
    }

    /// Signs a pass for `subject`, for one window or for any.
    pub fn issue(
        &self,
        subject: &str,
        lifetime: Period,
        window: Option<&WindowId>,
        now: Timestamp,
    ) -> Result<IssuedPass, PassError> {
        crate::limits::text(subject, crate::limits::MAX_NAME).map_err(PassError::Subject)?;
        if lifetime > self.longest || lifetime.ms() < SHORTEST_MS {
            return Err(PassError::Lifetime { asked: lifetime, longest: self.longest });
        }
        let jti = ulid::Ulid::generate().to_string().to_lowercase();
        let iat = now.unix_ms() / 1000;
        let exp = iat + lifetime.ms() / 1000;
        let header = PassHeader { alg: "EdDSA".to_owned(), kid: self.kid.clone(), typ: PASS_TYPE.to_owned() };
        let claims = PassClaims { sub: subject.to_owned(), iat, exp, jti: jti.clone(), win: window.cloned() };
        let mut token = Base64::encode_string(&serde_json::to_vec(&header)?);
        token.push('.');
        token.push_str(&Base64::encode_string(&serde_json::to_vec(&claims)?));
        let signature = self.pair.sk.sign(token.as_bytes(), None);
        token.push('.');
        token.push_str(&Base64::encode_string(signature.as_ref()));
        Ok(IssuedPass { token, jti, expires_at: Timestamp::from_unix_ms(exp * 1000) })
    }
}

/// Writes a new key beside the file and links it into place, so that no reader sees half a key.
fn create(path: &Path) -> Result<(), PassError> {
    let file = |source| PassError::File { path: path.to_owned(), source };
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        std::fs::create_dir_all(directory).map_err(file)?;
    }
    let mut seed = Zeroizing::new([0; SEED_BYTES]);
    getrandom::fill(seed.as_mut_slice())?;
    let text = Zeroizing::new(Base64::encode_string(seed.as_slice()));
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    let mut handle =
        OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&new).map_err(file)?;
    handle.write_all(text.as_bytes()).map_err(file)?;
    handle.sync_all().map_err(file)?;
    std::fs::rename(&new, path).map_err(file)
}

#[cfg(test)]
mod tests {
    use quiesce_policy::pass::PassKeys;

    use super::*;

    #[test]
    fn makes_one_key_and_signs_what_its_public_half_verifies() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state/key");
        let signer = PassSigner::open(&path, Period::from_ms(3_600_000)).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let again = PassSigner::open(&path, Period::from_ms(3_600_000)).unwrap();
        assert_eq!(signer.public(), again.public());

        let now = Timestamp::from_unix_ms(1_795_435_200_123);
        let window = WindowId::from("w1");
        let pass = again.issue("migrate", Period::from_ms(1_800_000), Some(&window), now).unwrap();
        assert_eq!(pass.expires_at.unix_ms(), 1_795_437_000_000);
        let claims = PassKeys::read(&[signer.public()])
            .unwrap()
            .verify(pass.token.as_bytes(), &window, now)
            .expect("what enforcers honour");
        assert_eq!(
            claims,
            PassClaims {
                sub: "migrate".to_owned(),
                iat: 1_795_435_200,
                exp: 1_795_437_000,
                jti: pass.jti,
                win: Some(window),
            }
        );
    }

    #[test]
    fn refuses_long_lives_exposed_keys_and_rubbish() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let signer = PassSigner::open(&path, Period::from_ms(60_000)).unwrap();
        let now = Timestamp::from_unix_ms(0);
        assert!(matches!(
            signer.issue("x", Period::from_ms(60_001), None, now),
            Err(PassError::Lifetime { .. })
        ));
        assert!(matches!(
            signer.issue("a\nb", Period::from_ms(5_000), None, now),
            Err(PassError::Subject(_))
        ));
        std::fs::write(&path, "AAAA").unwrap();
        assert!(matches!(PassSigner::open(&path, Period::from_ms(1)), Err(PassError::NoKey { .. })));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(PassSigner::open(&path, Period::from_ms(1)), Err(PassError::Exposed { .. })));
    }
}
