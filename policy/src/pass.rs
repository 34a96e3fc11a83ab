//! Passes: short-lived permissions to write during a window, verified with a public key alone.
//!
//! A pass is a compact JWS (RFC 7515) signed with Ed25519 (RFC 8037). Its protected header names the
//! algorithm, the key and the type, and nothing else, so that there is nothing to be confused about.

use base64ct::{Base64UrlUnpadded as Base64, Encoding as _};
use ed25519_compact::{PublicKey, Signature};
use serde::{Deserialize, Serialize};

use crate::{
    json,
    snapshot::{PassKey, WindowId},
    time::Timestamp,
};

/// The request header that carries a pass.
pub const PASS_HEADER: &[u8; 12] = b"quiesce-pass";

/// The `typ` of a pass.
pub const PASS_TYPE: &str = "quiesce-pass+jwt";

/// No pass is longer; bytes.
const MAX_PASS_BYTES: usize = 2048;

/// The protected header of a pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PassHeader {
    /// Always `EdDSA`.
    pub alg: String,
    /// The key it is signed with, as in [`PassKey::kid`].
    pub kid: String,
    /// Always [`PASS_TYPE`].
    pub typ: String,
}

/// What a pass says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PassClaims {
    /// Who was given it.
    pub sub: String,
    /// When it was issued; Unix seconds.
    pub iat: u64,
    /// When it runs out; Unix seconds.
    pub exp: u64,
    /// The pass's own id, for the event log.
    pub jti: String,
    /// The only window that it counts in; without one, any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub win: Option<WindowId>,
}

/// Why a pass does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PassError {
    /// It cannot be read as a pass.
    #[error("it is not a pass")]
    Malformed,
    /// No such key is honoured here.
    #[error("its key is not honoured here")]
    UnknownKey,
    /// It has run out.
    #[error("it has expired")]
    Expired,
    /// It is for another window.
    #[error("it is for another window")]
    OtherWindow,
    /// Its signature is wrong.
    #[error("its signature is wrong")]
    Forged,
}

/// Keys whose passes are honoured.
#[derive(Debug, Default)]
pub struct PassKeys(Vec<(String, PublicKey)>);

impl PassKeys {
    /// Reads the keys; the error is the index of one that is no key.
    pub fn read(keys: &[PassKey]) -> Result<Self, usize> {
        let read = |(at, key): (usize, &PassKey)| {
            let bytes = Base64::decode_vec(&key.public_key).map_err(|_| at)?;
            Ok((key.kid.clone(), PublicKey::from_slice(&bytes).map_err(|_| at)?))
        };
        keys.iter().enumerate().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// Checks a pass shown in `window` at `now`. The costly signature comes last, so that only a pass
    /// that would count gets so far.
    pub fn verify(&self, pass: &[u8], window: &WindowId, now: Timestamp) -> Result<PassClaims, PassError> {
        let pass = std::str::from_utf8(pass).map_err(|_| PassError::Malformed)?.trim();
        if pass.len() > MAX_PASS_BYTES {
            return Err(PassError::Malformed);
        }
        let (signed, signature) = pass.rsplit_once('.').ok_or(PassError::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(PassError::Malformed)?;
        let header = json::from_slice::<PassHeader>(&decode(header)?).map_err(|_| PassError::Malformed)?;
        let claims = json::from_slice::<PassClaims>(&decode(claims)?).map_err(|_| PassError::Malformed)?;
        if header.alg != "EdDSA" || header.typ != PASS_TYPE {
            return Err(PassError::Malformed);
        }
        let known = self.0.iter().find(|(kid, _)| *kid == header.kid);
        let (_, key) = known.ok_or(PassError::UnknownKey)?;
        if now >= Timestamp::from_unix_ms(claims.exp.saturating_mul(1000)) {
            return Err(PassError::Expired);
        }
        if claims.win.as_ref().is_some_and(|only| only != window) {
            return Err(PassError::OtherWindow);
        }
        let signature = Signature::from_slice(&decode(signature)?).map_err(|_| PassError::Malformed)?;
        key.verify(signed, &signature).map_err(|_| PassError::Forged)?;
        Ok(claims)
    }
}

fn decode(part: &str) -> Result<Vec<u8>, PassError> {
    Base64::decode_vec(part).map_err(|_| PassError::Malformed)
}

#[cfg(test)]
mod tests {
    use ed25519_compact::{KeyPair, Seed};

    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_ms(1_000_000_000);

    fn keys() -> (KeyPair, PassKeys) {
        let pair = KeyPair::from_seed(Seed::new([7; 32]));
        let public_key = Base64::encode_string(&*pair.pk);
        (pair, PassKeys::read(&[PassKey { kid: "k1".to_owned(), public_key }]).unwrap())
    }

    fn sign(pair: &KeyPair, header: &str, claims: &str) -> String {
        let signed = format!(
            "{}.{}",
            Base64::encode_string(header.as_bytes()),
            Base64::encode_string(claims.as_bytes())
        );
        let signature = pair.sk.sign(&signed, None);
        format!("{signed}.{}", Base64::encode_string(&*signature))
    }

    const HEADER: &str = r#"{"alg":"EdDSA","kid":"k1","typ":"quiesce-pass+jwt"}"#;
    const CLAIMS: &str = r#"{"sub":"migrate","iat":999000,"exp":1000100,"jti":"1","win":"w1"}"#;

    fn verify(pass: &str, now: Timestamp) -> Result<PassClaims, PassError> {
        keys().1.verify(pass.as_bytes(), &WindowId::from("w1"), now)
    }

    #[test]
    fn a_good_pass_counts_until_it_runs_out() {
        let pass = sign(&keys().0, HEADER, CLAIMS);
        assert_eq!(verify(&pass, NOW).unwrap().sub, "migrate");
        assert_eq!(verify(&pass, NOW.plus_ms(100_000)), Err(PassError::Expired));
    }

    #[test]
    fn every_other_pass_is_refused_by_name() {
        let (pair, _) = keys();
        let good = sign(&pair, HEADER, CLAIMS);
        let stranger = KeyPair::from_seed(Seed::new([8; 32]));
        let cases = [
            (String::new(), PassError::Malformed),
            ("a.b.c".to_owned(), PassError::Malformed),
            (good.replace('.', "!"), PassError::Malformed),
            ("x".repeat(MAX_PASS_BYTES + 1), PassError::Malformed),
            (sign(&pair, &HEADER.replace("EdDSA", "none"), CLAIMS), PassError::Malformed),
            (sign(&pair, &HEADER.replace("quiesce-pass+jwt", "JWT"), CLAIMS), PassError::Malformed),
            (sign(&pair, &HEADER.replace("}", r#","crit":["x"]}"#), CLAIMS), PassError::Malformed),
            (sign(&pair, &HEADER.replace("k1", "k2"), CLAIMS), PassError::UnknownKey),
            (sign(&pair, HEADER, &CLAIMS.replace("w1", "w2")), PassError::OtherWindow),
            (sign(&stranger, HEADER, CLAIMS), PassError::Forged),
        ];
        for (pass, expected) in cases {
            assert_eq!(verify(&pass, NOW), Err(expected), "{pass}");
        }
    }

    #[test]
    fn a_key_that_is_none_is_named() {
        let bad = PassKey { kid: "k".to_owned(), public_key: "short".to_owned() };
        assert_eq!(PassKeys::read(&[bad]).unwrap_err(), 0);
    }
}
