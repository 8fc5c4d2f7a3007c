//! Signing secrets that are replaced while events flow.

use std::sync::Mutex;

use hookmill::{
    ManageError, SecretRotation, Timestamp,
    endpoint::{Key, Scheme, Signing},
    testing::{Script, paused},
    transport::signature::{self, Verifier},
};
use serde_json::Value;

use super::*;

const BODY: &[u8] = b"{}";

/// When attempts were made, and what they are signed with.
type Kept = Arc<Mutex<Vec<(Timestamp, String)>>>;

/// A receiver that fails each delivery's first attempt and keeps what every attempt would be signed with.
fn keeping() -> (ScriptedTransport, Kept) {
    let signatures = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&signatures);
    let receiver = ScriptedTransport::new(move |attempt| {
        let Signing::Standard(standard) = &attempt.endpoint.settings.signing else { panic!("unsigned") };
        let signed = signature::sign(standard.keys_at(attempt.at), "m", attempt.at, BODY);
        kept.lock().unwrap().push((attempt.at, signed));
        Script::status(if attempt.number == 1 { 500 } else { 200 })
    });
    (receiver, signatures)
}

fn accepts(key: &Key, (at, signatures): &(Timestamp, String)) -> bool {
    let verifier = match key {
        Key::Secret(secret) => Verifier::Secret(secret.clone()),
        Key::Private(pair) => Verifier::Public(pair.public()),
    };
    signature::verify(&[verifier], "m", &at.as_seconds().to_string(), signatures, BODY, *at).is_ok()
}

fn newest(hooks: &Hookmill) -> Key {
    let Signing::Standard(standard) = hooks.endpoint(&id("crm")).unwrap().settings.signing.clone() else { panic!() };
    standard.keys[0].key.clone()
}

fn count(hooks: &Hookmill) -> usize {
    let Signing::Standard(standard) = hooks.endpoint(&id("crm")).unwrap().settings.signing.clone() else { panic!() };
    standard.keys.len()
}

async fn create(hooks: &Hookmill, signing: Value) {
    let retry = json!({"delays": ["2h"], "jitter": 0});
    let settings = json!({"url": "https://crm.example/", "signing": signing, "retry": retry});
    hooks.create_endpoint(Some(id("crm")), &settings).await.unwrap();
}

#[test]
fn both_secrets_sign_until_the_overlap_is_over_and_the_old_one_is_forgotten() {
    paused(async {
        let (receiver, signatures) = keeping();
        let hooks = start(Hookmill::builder(), &receiver).await;
        create(&hooks, json!({})).await;
        let old = newest(&hooks);
        hooks.rotate_secret(&id("crm"), &SecretRotation::new().overlap(HOUR), None).await.unwrap();
        let new = newest(&hooks);
        publish(&hooks, 1).await;
        settled(&hooks).await;
        let made = signatures.lock().unwrap().clone();
        assert_eq!(made.iter().map(|made| made.1.split(' ').count()).collect::<Vec<_>>(), [2, 1]);
        assert!(accepts(&old, &made[0]) && accepts(&new, &made[0]) && accepts(&new, &made[1]));
        assert!(!accepts(&old, &made[1]));
        assert_eq!(count(&hooks), 1, "the old one is gone from the settings too");
    });
}

#[test]
fn the_usual_overlap_is_a_day_and_ends_to_the_millisecond() {
    paused(async {
        let (receiver, _) = keeping();
        let hooks = start(Hookmill::builder(), &receiver).await;
        create(&hooks, json!({"scheme": "v1a"})).await;
        hooks.rotate_secret(&id("crm"), &SecretRotation::new(), None).await.unwrap();
        assert_eq!(newest(&hooks).scheme(), Scheme::V1a);
        pass(24 * HOUR - millis(1)).await;
        assert_eq!(count(&hooks), 2);
        pass(millis(50)).await;
        assert_eq!(count(&hooks), 1);
    });
}

#[test]
fn overlaps_that_follow_one_another_each_end_in_their_time() {
    paused(async {
        let (receiver, _) = keeping();
        let hooks = start(Hookmill::builder(), &receiver).await;
        create(&hooks, json!({})).await;
        for _ in 0..3 {
            hooks.rotate_secret(&id("crm"), &SecretRotation::new().overlap(3 * HOUR), None).await.unwrap();
            pass(HOUR).await;
        }
        // Other changes leave the ends as they are.
        hooks.patch_endpoint(&id("crm"), &json!({"timeout": "3s"}), None).await.unwrap();
        pass(seconds(1)).await;
        let mut counts = vec![count(&hooks)];
        for _ in 0..3 {
            pass(HOUR).await;
            counts.push(count(&hooks));
        }
        assert_eq!(counts, [3, 2, 1, 1]);
    });
}

#[test]
fn what_belongs_to_others_or_is_not_signed_cannot_be_rotated() {
    paused(async {
        let (receiver, _) = keeping();
        let builder = Hookmill::builder().endpoint(endpoint("code"));
        let hooks = start(builder, &receiver).await;
        create(&hooks, json!({"type": "none"})).await;
        let rotate = async |name: &str| hooks.rotate_secret(&id(name), &SecretRotation::new(), None).await.unwrap_err();
        assert!(matches!(rotate("crm").await, ManageError::Conflict(_)));
        assert!(matches!(rotate("code").await, ManageError::Conflict(_)));
        assert!(matches!(rotate("nobody").await, ManageError::NotFound(_)));
        let stale = hooks.rotate_secret(&id("crm"), &SecretRotation::new(), Some(7)).await;
        assert!(matches!(stale, Err(ManageError::Stale { version: 1 })));
    });
}
