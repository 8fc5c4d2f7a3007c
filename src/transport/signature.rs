//! Signatures: those of [Standard Webhooks](https://www.standardwebhooks.com), and plain ones.
//!
//! HMAC-SHA256 (`v1`) or Ed25519 (`v1a`) over `id.timestamp.body` under each of an endpoint's keys: the id so that one message
//! cannot pass for another, the time so that an old one cannot be sent again.

use std::time::Duration;

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};

use crate::{
    clock::Timestamp,
    endpoint::{Encoding, HeaderPrefix, Key, PublicKey, Secret, TextSecret},
    error::Invalid,
};

/// The header with the event's id.
pub const ID: &str = "webhook-id";
/// The header with the time of the attempt, in whole seconds since the Unix epoch.
pub const TIMESTAMP: &str = "webhook-timestamp";
/// The header with the signatures, separated by spaces.
pub const SIGNATURE: &str = "webhook-signature";

/// The names of [`ID`], [`TIMESTAMP`] and [`SIGNATURE`] under a prefix.
pub const fn names(prefix: HeaderPrefix) -> [&'static str; 3] {
    match prefix {
        HeaderPrefix::Webhook => [ID, TIMESTAMP, SIGNATURE],
        HeaderPrefix::Svix => ["svix-id", "svix-timestamp", "svix-signature"],
    }
}

/// How far a message's time may be from the verifier's, before or after.
pub const TOLERANCE: Duration = Duration::from_secs(5 * 60);

const SYMMETRIC: &str = "v1,";
const ASYMMETRIC: &str = "v1a,";

/// The value of [`SIGNATURE`] for a message of [`ID`] `id` sent `at`: one signature for each key, in their order.
pub fn sign<'a>(keys: impl IntoIterator<Item = &'a Key>, id: &str, at: Timestamp, body: &[u8]) -> String {
    let timestamp = at.as_seconds().to_string();
    let sign = |key: &Key| match key {
        Key::Secret(secret) => {
            format!("{SYMMETRIC}{}", BASE64_STANDARD.encode(code(secret, id, &timestamp, body)))
        }
        Key::Private(key) => {
            format!("{ASYMMETRIC}{}", BASE64_STANDARD.encode(key.sign(&message(id, &timestamp, body))))
        }
    };
    keys.into_iter().map(sign).collect::<Vec<_>>().join(" ")
}

/// What a receiver verifies with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verifier {
    /// `v1`: the secret that it shares with the sender.
    Secret(Secret),
    /// `v1a`: the public half of the sender's pair.
    Public(PublicKey),
}

impl Verifier {
    /// Reads `whsec_…` or `whpk_…`.
    ///
    /// # Errors
    /// When the text is something else.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.starts_with("whpk_") {
            PublicKey::parse(text).map(Self::Public)
        } else {
            Secret::parse(text).map(Self::Secret)
        }
    }

    /// Whether one of `signatures` is its sender's.
    fn accepts(&self, id: &str, timestamp: &str, signatures: &str, body: &[u8]) -> bool {
        let of_scheme = |scheme: &'static str| {
            let encoded = signatures.split(' ').filter_map(move |signature| signature.strip_prefix(scheme));
            encoded.filter_map(|encoded| BASE64_STANDARD.decode(encoded).ok())
        };
        match self {
            Self::Secret(secret) => {
                let expected = code(secret, id, timestamp, body);
                let matches = |claimed: Vec<u8>| claimed.as_slice().ct_eq(&expected);
                of_scheme(SYMMETRIC).map(matches).fold(Choice::from(0), |any, one| any | one).into()
            }
            Self::Public(key) => {
                let message = message(id, timestamp, body);
                of_scheme(ASYMMETRIC).take(MOST_VERIFIED).any(|claimed| key.has_signed(&message, &claimed))
            }
        }
    }
}

/// Asymmetric signatures of one message that are looked at: each takes a while.
const MOST_VERIFIED: usize = 16;

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
    /// None of the signatures is of this key and message.
    #[error("no signature matches: another secret or key, or a changed message")]
    Mismatch,
}

/// Checks that a message was signed with one of `verifiers` within [`TOLERANCE`] of `now`. `id`, `timestamp` and `signatures`
/// are the headers [`ID`], [`TIMESTAMP`] and [`SIGNATURE`] as they came; signatures of other schemes than a verifier's are
/// passed over. The time it takes tells nothing about the right signature.
///
/// # Errors
/// When the message must not be believed.
pub fn verify(
    verifiers: &[Verifier],
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
    let accepted = verifiers.iter().any(|verifier| verifier.accepts(id, timestamp, signatures, body));
    if accepted { Ok(()) } else { Err(SignatureError::Mismatch) }
}

/// What is signed.
fn message(id: &str, timestamp: &str, body: &[u8]) -> Vec<u8> {
    [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat()
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

    fn sign(secrets: &[Secret], id: &str, at: Timestamp, body: &[u8]) -> String {
        let keys: Vec<_> = secrets.iter().cloned().map(Key::Secret).collect();
        super::sign(&keys, id, at, body)
    }

    fn verify(
        secret: &Secret,
        id: &str,
        timestamp: &str,
        signatures: &str,
        body: &[u8],
        now: Timestamp,
    ) -> Result<(), SignatureError> {
        super::verify(&[Verifier::Secret(secret.clone())], id, timestamp, signatures, body, now)
    }

    /// Of the first message of [`VECTORS`].
    const PRIVATE: &str =
        "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";
    const ASYMMETRIC_SIGNATURE: &str =
        "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==";

    #[test]
    fn the_known_vector_of_the_asymmetric_scheme_holds() {
        let key = Key::parse(PRIVATE).unwrap();
        let (_, id, at, body, _) = VECTORS[0];
        let (at, timestamp) = (seconds(at), at.to_string());
        assert_eq!(super::sign([&key], id, at, body.as_bytes()), ASYMMETRIC_SIGNATURE);
        let verifier = [Verifier::parse(&key.public().unwrap().to_string()).unwrap()];
        let verify = |id, signatures: &str, body: &str| {
            super::verify(&verifier, id, &timestamp, signatures, body.as_bytes(), at)
        };
        assert_eq!(verify(id, ASYMMETRIC_SIGNATURE, body), Ok(()));
        let others = "v1,AAAA v1a,! v1a,AAAA ";
        assert_eq!(verify(id, &format!("{others}{ASYMMETRIC_SIGNATURE}"), body), Ok(()));
        let symmetric = ASYMMETRIC_SIGNATURE.replace("v1a", "v1");
        for (id, signatures, body) in [
            ("msg_q", ASYMMETRIC_SIGNATURE, body),
            (id, ASYMMETRIC_SIGNATURE, "{}"),
            (id, &symmetric, body),
            (id, "", body),
        ] {
            assert_eq!(verify(id, signatures, body), Err(SignatureError::Mismatch), "{signatures}");
        }
    }

    #[test]
    fn both_schemes_stand_in_one_header_and_each_verifies() {
        let (pair, shared) = (Key::parse(PRIVATE).unwrap(), secret(1));
        let header = super::sign([&pair, &Key::Secret(shared.clone())], "m", seconds(9), b"{}");
        for verifier in [Verifier::Public(pair.public().unwrap()), Verifier::Secret(shared)] {
            assert_eq!(super::verify(&[verifier], "m", "9", &header, b"{}", seconds(9)), Ok(()));
        }
        let stranger = Verifier::Public(Key::generate(crate::endpoint::Scheme::V1a).unwrap().public().unwrap());
        assert!(super::verify(&[stranger], "m", "9", &header, b"{}", seconds(9)).is_err());
        assert!(super::verify(&[], "m", "9", &header, b"{}", seconds(9)).is_err());
    }

    fn seconds(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    #[test]
    fn the_known_vectors_hold() {
        for (secret, id, at, body, signature) in VECTORS {
            let secret = Secret::parse(secret).unwrap();
            assert_eq!(sign(std::slice::from_ref(&secret), id, seconds(at), body.as_bytes()), signature);
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
        let header = sign(&[new.clone(), old.clone()], "m", seconds(9), b"{}");
        assert_eq!(header.split(' ').count(), 2);
        for secret in [&old, &new] {
            assert_eq!(verify(secret, "m", "9", &header, b"{}", seconds(9)), Ok(()));
        }
    }

    #[test]
    fn other_schemes_and_nonsense_beside_the_signature_do_no_harm() {
        let header = format!("v1a,AAAA v1 v1,! {}  v9,x", sign(&[secret(1)], "m", seconds(9), b"{}"));
        assert_eq!(verify(&secret(1), "m", "9", &header, b"{}", seconds(9)), Ok(()));
    }

    #[test]
    fn only_messages_of_the_last_and_next_five_minutes_are_believed() {
        let header = sign(&[secret(1)], "m", seconds(1000), b"{}");
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
        let header = sign(&[secret(1)], "m", seconds(1000), b"{}");
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
            let ours = sign(std::slice::from_ref(&secret), &id, seconds(at), body.as_bytes());
            prop_assert_eq!(&ours, &reference.sign(&id, at, body.as_bytes()).unwrap());
            prop_assert_eq!(verify(&secret, &id, &at.to_string(), &ours, body.as_bytes(), seconds(at)), Ok(()));
        }
    }
}
