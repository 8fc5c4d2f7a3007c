//! Signatures: those of [Standard Webhooks](https://www.standardwebhooks.com), symmetric scheme `v1`, and plain ones.
//!
//! HMAC-SHA256 over `id.timestamp.body` under each of an endpoint's secrets: the id so that one message cannot pass for
//! another, the time so that an old one cannot be sent again.

use std::time::Duration;

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};

use crate::{
    clock::Timestamp,
    endpoint::{Encoding, Secret, TextSecret},
};

/// The header with the event's id.
pub const ID: &str = "webhook-id";
/// The header with the time of the attempt, in whole seconds since the Unix epoch.
pub const TIMESTAMP: &str = "webhook-timestamp";
/// The header with the signatures, separated by spaces.
pub const SIGNATURE: &str = "webhook-signature";

/// How far a message's time may be from the verifier's, before or after.
pub const TOLERANCE: Duration = Duration::from_secs(5 * 60);

const SCHEME: &str = "v1,";

/// The value of [`SIGNATURE`] for a message of [`ID`] `id` sent `at`: one signature for each secret, in their order.
pub fn sign<'a>(secrets: impl IntoIterator<Item = &'a Secret>, id: &str, at: Timestamp, body: &[u8]) -> String {
    let timestamp = at.as_seconds().to_string();
    let sign = |secret| format!("{SCHEME}{}", BASE64_STANDARD.encode(code(secret, id, &timestamp, body)));
    secrets.into_iter().map(sign).collect::<Vec<_>>().join(" ")
}

/// Why a message is not to be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The timestamp is not a number of seconds.
    #[error("webhook-timestamp must be whole seconds since the Unix epoch")]
    Timestamp,
    /// The message is too old, or the clocks differ.
    #[error("webhook-timestamp is more than five minutes in the past")]
    TooOld,
    /// The message is from the future, or the clocks differ.
    #[error("webhook-timestamp is more than five minutes in the future")]
    TooNew,
    /// None of the signatures is of this secret and message.
    #[error("no signature matches: another secret, or a changed message")]
    Mismatch,
}

/// Checks that a message was signed with `secret` within [`TOLERANCE`] of `now`. `id`, `timestamp` and `signatures` are the
/// headers [`ID`], [`TIMESTAMP`] and [`SIGNATURE`] as they came; signatures of schemes other than `v1` are passed over.
/// The time it takes tells nothing about the right signature.
///
/// # Errors
/// When the message must not be believed.
pub fn verify(
    secret: &Secret,
    id: &str,
    timestamp: &str,
    signatures: &str,
    body: &[u8],
    now: Timestamp,
) -> Result<(), SignatureError> {
    let seconds: i64 = timestamp.parse().map_err(|_| SignatureError::Timestamp)?;
    let tolerance = i64::try_from(TOLERANCE.as_secs()).unwrap_or(i64::MAX);
    match now.as_seconds().saturating_sub(seconds) {
        age if age > tolerance => return Err(SignatureError::TooOld),
        age if age < -tolerance => return Err(SignatureError::TooNew),
        _ => {}
    }
    let expected = code(secret, id, timestamp, body);
    let matches = |signature: &str| {
        let claimed = signature.strip_prefix(SCHEME).and_then(|text| BASE64_STANDARD.decode(text).ok());
        claimed.map_or(Choice::from(0), |claimed| claimed.as_slice().ct_eq(&expected))
    };
    let any = signatures.split(' ').map(matches).fold(Choice::from(0), |any, one| any | one);
    if bool::from(any) { Ok(()) } else { Err(SignatureError::Mismatch) }
}

fn code(secret: &Secret, id: &str, timestamp: &str, body: &[u8]) -> [u8; 32] {
    hmac(secret.key(), &[id.as_bytes(), b".", timestamp.as_bytes(), b".", body])
}

/// The HMAC-SHA256 of `body` alone, in text. The key is the secret's own bytes.
pub fn plain(secret: &TextSecret, encoding: Encoding, body: &[u8]) -> String {
    let code = hmac(secret.reveal().as_bytes(), &[body]);
    match encoding {
        Encoding::Hex => code.iter().map(|byte| format!("{byte:02x}")).collect(),
        Encoding::Base64 => BASE64_STANDARD.encode(code),
    }
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of every length (RFC 2104)")]
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Secret, id, seconds, body, signature: known to hold in other implementations.
    const VECTORS: [(&str, &str, i64, &str, &str); 2] = [
        (
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            r#"{"test": 2432232314}"#,
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        ),
        (
            "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
            "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
            1_649_367_553,
            r#"{"email":"test@example.com","username":"test_user"}"#,
            "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
        ),
    ];

    fn secret(byte: u8) -> Secret {
        Secret::parse(&format!("whsec_{}", BASE64_STANDARD.encode([byte; 32]))).unwrap()
    }

    fn seconds(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    #[test]
    fn the_known_vectors_hold() {
        for (secret, id, at, body, signature) in VECTORS {
            let secret = Secret::parse(secret).unwrap();
            assert_eq!(sign([&secret], id, seconds(at), body.as_bytes()), signature);
            let now = seconds(at + 299);
            assert_eq!(verify(&secret, id, &at.to_string(), signature, body.as_bytes(), now), Ok(()));
        }
    }

    /// RFC 4231, test case 2.
    #[test]
    fn plain_codes_are_those_of_the_rfc() {
        let code = plain(&TextSecret::new("Jefe"), Encoding::Hex, b"what do ya want for nothing?");
        assert_eq!(code, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        let code = plain(&TextSecret::new("Jefe"), Encoding::Base64, b"what do ya want for nothing?");
        assert_eq!(code, "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM=");
    }

    #[test]
    fn while_a_secret_is_rotated_out_both_old_and_new_verify() {
        let (old, new) = (secret(1), secret(2));
        let header = sign([&new, &old], "m", seconds(9), b"{}");
        assert_eq!(header.split(' ').count(), 2);
        for secret in [&old, &new] {
            assert_eq!(verify(secret, "m", "9", &header, b"{}", seconds(9)), Ok(()));
        }
    }

    #[test]
    fn other_schemes_and_nonsense_beside_the_signature_do_no_harm() {
        let header = format!("v1a,AAAA v1 v1,! {}  v9,x", sign([&secret(1)], "m", seconds(9), b"{}"));
        assert_eq!(verify(&secret(1), "m", "9", &header, b"{}", seconds(9)), Ok(()));
    }

    #[test]
    fn only_messages_of_the_last_and_next_five_minutes_are_believed() {
        let header = sign([&secret(1)], "m", seconds(1000), b"{}");
        let at = |now| verify(&secret(1), "m", "1000", &header, b"{}", seconds(now));
        assert_eq!((at(1300), at(700)), (Ok(()), Ok(())));
        assert_eq!((at(1301), at(699)), (Err(SignatureError::TooOld), Err(SignatureError::TooNew)));
        for timestamp in ["", "1e3", "1000.0", "now"] {
            let verdict = verify(&secret(1), "m", timestamp, &header, b"{}", seconds(1000));
            assert_eq!(verdict, Err(SignatureError::Timestamp), "{timestamp}");
        }
    }

    #[test]
    fn any_change_to_the_message_is_noticed() {
        let header = sign([&secret(1)], "m", seconds(1000), b"{}");
        let verify = |secret: &Secret, id, timestamp, signatures: &str, body: &[u8]| {
            verify(secret, id, timestamp, signatures, body, seconds(1000))
        };
        let mismatch = Err(SignatureError::Mismatch);
        assert_eq!(verify(&secret(2), "m", "1000", &header, b"{}"), mismatch);
        assert_eq!(verify(&secret(1), "n", "1000", &header, b"{}"), mismatch);
        assert_eq!(verify(&secret(1), "m", "1001", &header, b"{}"), mismatch);
        assert_eq!(verify(&secret(1), "m", "1000", &header, b"{} "), mismatch);
        assert_eq!(verify(&secret(1), "m", "1000", "", b"{}"), mismatch);
        assert_eq!(verify(&secret(1), "m", "1000", "v1,AAAA", b"{}"), mismatch);
    }

    proptest! {
        #[test]
        fn signatures_are_those_of_the_reference_implementation(
            key in any::<[u8; 32]>(), id in "[a-z0-9_]{1,20}", at in 0_i64..4_000_000_000, body in ".{0,64}",
        ) {
            let secret = Secret::parse(&format!("whsec_{}", BASE64_STANDARD.encode(key))).unwrap();
            let reference = standardwebhooks::Webhook::new(&secret.reveal()).unwrap();
            let ours = sign([&secret], &id, seconds(at), body.as_bytes());
            prop_assert_eq!(&ours, &reference.sign(&id, at, body.as_bytes()).unwrap());
            prop_assert_eq!(verify(&secret, &id, &at.to_string(), &ours, body.as_bytes(), seconds(at)), Ok(()));
        }
    }
}
