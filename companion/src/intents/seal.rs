//! Seals what intents hold while they are on disk: XChaCha20-Poly1305 with a key from the environment.
//!
//! The X variant, because its nonces of 24 bytes may be drawn at random for as many intents as a key ever
//! sees; with the 12 bytes of the other one, a few billion would bring two that are the same.

use base64ct::{Base64UrlUnpadded, Encoding as _};
use chacha20poly1305::{
    KeyInit as _, XChaCha20Poly1305, XNonce,
    aead::{Aead as _, Payload as Sealed},
};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{IntentId, Payload, key::hex};

/// The variable that holds the keys.
pub const KEY_VARIABLE: &str = "QUIESCE_INTENT_KEY";
const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;
/// Bytes of a key's digest that name it.
const NAME_BYTES: usize = 6;

/// Why something cannot be sealed or opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The variable holds no key.
    #[error(
        "{KEY_VARIABLE}: key {number} is none: give 32 random bytes as 64 hexadecimal digits or as base64url"
    )]
    NoKey {
        /// Which of its keys, from 1.
        number: usize,
    },
    /// What is on disk is sealed by a key that is not here.
    #[error(
        "intent `{id}` is sealed by key `{sealed_by}`, and {KEY_VARIABLE} holds {}: add that key, separated by a comma",
        named(.known)
    )]
    OtherKey {
        /// The intent.
        id: IntentId,
        /// The name of its key.
        sealed_by: String,
        /// The names of those that are here.
        known: Vec<String>,
    },
    /// It is not what was sealed.
    #[error("intent `{0}` is not as it was sealed: it was changed on disk")]
    Changed(IntentId),
    /// It could not be sealed.
    #[error("an intent could not be sealed")]
    Unsealed,
    /// The system gives no random numbers.
    #[error("the system gives no random numbers: {0}")]
    NoRandom(#[from] getrandom::Error),
}

fn named(known: &[String]) -> String {
    match known {
        [] => "none".to_owned(),
        [one] => format!("`{one}`"),
        more => format!("`{}`", more.join("`, `")),
    }
}

/// The keys that seal and open. Without any, what is on disk is readable.
#[derive(Clone, Default)]
pub struct Seals {
    /// The first seals, all open.
    keys: Vec<Key>,
}

#[derive(Clone)]
struct Key {
    name: String,
    cipher: XChaCha20Poly1305,
}

impl std::fmt::Debug for Seals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

impl Seals {
    /// The keys in the environment.
    pub fn from_env() -> Result<Self, SealError> {
        let text = std::env::var_os(KEY_VARIABLE).unwrap_or_default();
        let text = Zeroizing::new(text.into_encoded_bytes());
        Self::read(str::from_utf8(&text).map_err(|_| SealError::NoKey { number: 1 })?)
    }

    /// Reads keys separated by commas; none, if there is nothing.
    pub fn read(text: &str) -> Result<Self, SealError> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let key = |(index, text): (usize, &str)| -> Result<Key, SealError> {
            let bytes = key_bytes(text.trim()).ok_or(SealError::NoKey { number: index + 1 })?;
            let digest = Sha256::new().chain_update(b"quiesce intent key").chain_update(&bytes).finalize();
            let name = hex(digest.get(..NAME_BYTES).unwrap_or_default());
            let cipher = XChaCha20Poly1305::new_from_slice(&bytes)
                .map_err(|_| SealError::NoKey { number: index + 1 })?;
            Ok(Key { name, cipher })
        };
        Ok(Self { keys: text.split(',').enumerate().map(key).collect::<Result<_, _>>()? })
    }

    /// The names of the keys, the one that seals first.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| key.name.as_str())
    }

    /// Head and body of an intent as they are to be kept.
    pub fn seal(&self, id: &IntentId, head: &[u8], body: &[u8]) -> Result<Payload, SealError> {
        let Some(key) = self.keys.first() else {
            return Ok(Payload { head: head.to_vec(), body: body.to_vec(), sealed_by: None });
        };
        Ok(Payload {
            head: key.seal(&associated(id, "head"), head)?,
            body: key.seal(&associated(id, "body"), body)?,
            sealed_by: Some(key.name.clone()),
        })
    }

    /// Head and body of an intent as they came.
    pub fn open(&self, id: &IntentId, payload: Payload) -> Result<(Vec<u8>, Vec<u8>), SealError> {
        let Some(sealed_by) = payload.sealed_by else { return Ok((payload.head, payload.body)) };
        let Some(key) = self.keys.iter().find(|key| key.name == sealed_by) else {
            let known = self.names().map(str::to_owned).collect();
            return Err(SealError::OtherKey { id: id.clone(), sealed_by, known });
        };
        let open = |part, sealed: &[u8]| {
            key.open(&associated(id, part), sealed).ok_or_else(|| SealError::Changed(id.clone()))
        };
        Ok((open("head", &payload.head)?, open("body", &payload.body)?))
    }
}

/// What a seal is bound to, so that nothing can be put in another's place.
fn associated(id: &IntentId, part: &str) -> Vec<u8> {
    [id.as_str(), "\0", part].concat().into_bytes()
}

impl Key {
    /// The nonce, and what is sealed with it.
    fn seal(&self, associated: &[u8], plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce)?;
        let sealed = self
            .cipher
            .encrypt(&XNonce::from(nonce), Sealed { msg: plain, aad: associated })
            .map_err(|_| SealError::Unsealed)?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    fn open(&self, associated: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>()?;
        self.cipher.decrypt(&XNonce::from(*nonce), Sealed { msg: sealed, aad: associated }).ok()
    }
}

fn key_bytes(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(vec![0; KEY_BYTES]);
    if text.len() == 2 * KEY_BYTES && text.is_ascii() {
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            *byte = u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?;
        }
        return Some(bytes);
    }
    let decoded = Base64UrlUnpadded::decode(text, &mut bytes).ok()?.len();
    (decoded == KEY_BYTES).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    const BASE64: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
    const OTHER: &str = "ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    fn seals(text: &str) -> Seals {
        Seals::read(text).unwrap()
    }

    fn id(text: &str) -> IntentId {
        IntentId::from(text.to_owned())
    }

    #[test]
    fn what_is_sealed_opens_again_and_is_readable_nowhere() {
        let one = seals(HEX);
        let sealed = one.seal(&id("a"), b"head", b"a secret body").unwrap();
        assert!(!sealed.body.windows(6).any(|window| window == b"secret"));
        assert_eq!(sealed.sealed_by.as_deref(), one.names().next());
        let again = one.seal(&id("a"), b"head", b"a secret body").unwrap();
        assert_ne!(sealed.body, again.body, "nonces differ");
        // The same key in the other notation, behind a newer one.
        let opened = seals(&format!("{OTHER}, {BASE64}")).open(&id("a"), sealed).unwrap();
        assert_eq!(opened, (b"head".to_vec(), b"a secret body".to_vec()));
    }

    #[test]
    fn without_a_key_all_stays_as_it_is() {
        let payload = Seals::default().seal(&id("a"), b"head", b"body").unwrap();
        assert_eq!(payload.sealed_by, None);
        assert_eq!(seals(HEX).open(&id("a"), payload).unwrap(), (b"head".to_vec(), b"body".to_vec()));
    }

    #[test]
    fn a_missing_key_is_named() {
        let sealed = seals(HEX).seal(&id("a"), b"head", b"body").unwrap();
        let error = seals(OTHER).open(&id("a"), sealed.clone()).unwrap_err().to_string();
        let (key, other) = (seals(HEX).names().next().unwrap().to_owned(), seals(OTHER));
        let other = other.names().next().unwrap();
        assert!(error.contains(&format!("sealed by key `{key}`")) && error.contains(other), "{error}");
        let error = Seals::default().open(&id("a"), sealed).unwrap_err().to_string();
        assert!(error.contains("holds none"), "{error}");
    }

    #[test]
    fn nothing_can_be_changed_or_put_elsewhere() {
        let one = seals(HEX);
        let sealed = one.seal(&id("a"), b"one", b"two").unwrap();
        let changed = Err(SealError::Changed(id("b")));
        assert_eq!(one.open(&id("b"), sealed.clone()), changed);
        let swapped = Payload { head: sealed.body.clone(), body: sealed.head.clone(), ..sealed.clone() };
        assert_eq!(one.open(&id("a"), swapped), Err(SealError::Changed(id("a"))));
        let mut flipped = sealed.clone();
        flipped.body[30] ^= 1;
        assert_eq!(one.open(&id("a"), flipped), Err(SealError::Changed(id("a"))));
        let cut = Payload { body: Vec::new(), ..sealed };
        assert_eq!(one.open(&id("a"), cut), Err(SealError::Changed(id("a"))));
    }

    #[test]
    fn what_is_no_key_is_said() {
        for (text, number) in [("secret", 1), (&HEX[1..], 1), (&format!("{HEX},zz"), 2), (&"g".repeat(64), 1)]
        {
            assert_eq!(Seals::read(text).unwrap_err(), SealError::NoKey { number });
        }
        assert_eq!(seals("").names().count(), 0);
    }
}
