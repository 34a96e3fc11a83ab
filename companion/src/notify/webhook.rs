//! Signs webhooks as <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md> says.

use base64ct::{Base64, Encoding as _};
use hmac::{Hmac, KeyInit as _, Mac as _};
use hyper::{
    Method,
    header::{HeaderName, HeaderValue},
};
use reqwest::Url;
use serde_json::Value;
use sha2::Sha256;

use super::{
    http::{Call, Failure},
    secret::Revealed,
};
use crate::outbox::DeliveryId;

const PREFIX: &str = "whsec_";
/// The lengths that the specification allows; bytes.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// The request that delivers `body`, signed at `unix_s`. Its id stays the same however often it is sent.
pub fn signed<'a>(
    url: Url,
    id: &DeliveryId,
    unix_s: u64,
    body: &Value,
    secrets: &'a Revealed,
) -> Result<Call<'a>, Failure> {
    let text = body.to_string();
    let id = format!("msg_{id}");
    let signatures: Vec<_> = secrets
        .expose()
        .split_whitespace()
        .map(|secret| signature(secret, &id, unix_s, &text))
        .collect::<Result<_, _>>()?;
    let mut call = Call::new(Method::POST, url, Some(secrets)).json(body);
    for (name, value) in [
        ("webhook-id", id),
        ("webhook-timestamp", unix_s.to_string()),
        ("webhook-signature", signatures.join(" ")),
    ] {
        let value = HeaderValue::from_str(&value).map_err(Failure::broken)?;
        call.headers.push((HeaderName::from_static(name), value));
    }
    Ok(call)
}

fn signature(secret: &str, id: &str, unix_s: u64, body: &str) -> Result<String, Failure> {
    let unusable = || {
        Failure::broken(
            "the secret is none of a webhook: write `whsec_` and the base64 of 24 to 64 random bytes",
        )
    };
    let key = secret.strip_prefix(PREFIX).ok_or_else(unusable)?;
    let key = Base64::decode_vec(key).map_err(|_| unusable())?;
    if !KEY_BYTES.contains(&key.len()) {
        return Err(unusable());
    }
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).map_err(|_| unusable())?;
    mac.update(format!("{id}.{unix_s}.{body}").as_bytes());
    Ok(format!("v1,{}", Base64::encode_string(&mac.finalize().into_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's libraries.
    #[test]
    fn signs_the_example_of_the_specification() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let body = r#"{"test": 2432232314}"#;
        let signed = signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body).unwrap();
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn keys_are_long_enough_and_marked() {
        for secret in ["", "hunter2", "whsec_", "whsec_c2hvcnQ=", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"] {
            assert!(signature(secret, "msg_1", 1, "{}").is_err(), "{secret}");
        }
    }
}
