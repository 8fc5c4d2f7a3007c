//! Where secrets are in what is stored of endpoints and chains, and how each is sealed there.
//!
//! In place of a text stands `{"sealed": "<id of the key>", "text": "<base64>"}`, which no setting can be. Each is bound to whose
//! it is and where it stands: one that is moved elsewhere does not open.

use serde_json::{Value, json};

use super::keys::{OpenError, SecretKeys};
use crate::error::StoreError;

/// What the settings belong to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Owner<'a> {
    Endpoint(&'a str),
    Chain(&'a str),
}

/// Members of `auth` and `signing` that are secrets.
const SECRET: [(&str, &str); 4] = [("auth", "token"), ("auth", "password"), ("auth", "value"), ("signing", "secret")];

impl Owner<'_> {
    fn context(self, place: &str) -> String {
        match self {
            Self::Endpoint(id) => format!("hookmill 1\0endpoint\0{id}\0{place}"),
            Self::Chain(name) => format!("hookmill 1\0chain\0{name}\0{place}"),
        }
    }

    fn in_words(self) -> String {
        match self {
            Self::Endpoint(id) => format!("endpoint {id}"),
            Self::Chain(name) => format!("chain {name}"),
        }
    }
}

/// Seals every secret in stored settings that is not sealed. What is no JSON stays as it is: it holds no settings.
pub(super) fn seal(keys: &SecretKeys, owner: Owner<'_>, stored: &str) -> Result<String, StoreError> {
    let Ok(mut value) = serde_json::from_str::<Value>(stored) else { return Ok(stored.to_owned()) };
    each_secret(owner, &mut value, &mut |place, secret| {
        if let Value::String(text) = secret {
            let sealed = keys.seal(&owner.context(place), text);
            let sealed = sealed.ok_or_else(|| StoreError::Failed("no randomness to seal a secret".to_owned()))?;
            *secret = json!({"sealed": keys.id(), "text": sealed});
        }
        Ok(())
    })?;
    Ok(value.to_string())
}

/// Opens every secret in stored settings that is sealed.
pub(super) fn open(keys: &SecretKeys, owner: Owner<'_>, stored: &str) -> Result<String, StoreError> {
    if !stored.contains("\"sealed\"") {
        return Ok(stored.to_owned());
    }
    let Ok(mut value) = serde_json::from_str::<Value>(stored) else { return Ok(stored.to_owned()) };
    each_secret(owner, &mut value, &mut |place, secret| {
        let text = |name| secret.get(name).and_then(Value::as_str);
        let Some((id, sealed)) = text("sealed").zip(text("text")) else { return Ok(()) };
        let opened = keys.open(id, &owner.context(place), sealed).map_err(|error| {
            let why = match error {
                OpenError::NoKey => format!("is sealed with the key {id}, which is not there"),
                OpenError::Damaged => format!("was sealed with the key {id} and has been changed or moved since"),
            };
            StoreError::Unusable(format!("{}: the secret at {place} {why}", owner.in_words()))
        })?;
        *secret = opened.into();
        Ok(())
    })?;
    Ok(value.to_string())
}

type Visit<'a> = dyn FnMut(&str, &mut Value) -> Result<(), StoreError> + 'a;

fn each_secret(owner: Owner<'_>, stored: &mut Value, visit: &mut Visit<'_>) -> Result<(), StoreError> {
    match owner {
        Owner::Endpoint(_) => in_settings("", stored, visit),
        Owner::Chain(_) => {
            let steps = match stored.get_mut("steps") {
                Some(Value::Array(steps)) => steps,
                _ => return Ok(()),
            };
            let mut steps = steps.iter_mut().enumerate();
            steps.try_for_each(|(place, step)| in_settings(&format!("/steps/{place}"), step, visit))
        }
    }
}

fn in_settings(at: &str, settings: &mut Value, visit: &mut Visit<'_>) -> Result<(), StoreError> {
    for (part, name) in SECRET {
        if let Some(secret) = settings.get_mut(part).and_then(|part| part.get_mut(name)) {
            visit(&format!("{at}/{part}/{name}"), secret)?;
        }
    }
    if let Some(headers) = settings.get_mut("headers").and_then(Value::as_object_mut) {
        for (name, value) in headers {
            visit(&format!("{at}/headers/{name}"), value)?;
        }
    }
    let secrets = settings.get_mut("signing").and_then(|signing| signing.get_mut("secrets"));
    for (place, secret) in secrets.and_then(Value::as_array_mut).into_iter().flatten().enumerate() {
        // With a moment at which it ends, it stands in an object.
        let ends = secret.get("secret").is_some();
        let secret = if ends { secret.get_mut("secret") } else { Some(secret) };
        secret.map_or(Ok(()), |secret| visit(&format!("{at}/signing/secrets/{place}"), secret))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(byte: u8) -> SecretKeys {
        SecretKeys::parse(&format!("{byte:02x}").repeat(32)).unwrap()
    }

    fn settings() -> Value {
        json!({
            "url": "https://example.org/",
            "headers": {"x-a": "marker-1", "x-b": "marker-2"},
            "auth": {"type": "basic", "username": "open", "password": "marker-3", "token": "marker-4", "value": "marker-5"},
            "signing": {"type": "standard", "secret": "marker-6",
                "secrets": ["marker-7", {"secret": "marker-8", "until": "2026-01-31T09:30:00Z"}]},
            "metadata": {"sealed": "x", "text": "y", "auth": {"token": "open"}},
        })
    }

    #[test]
    fn every_secret_is_sealed_and_opens_again_and_nothing_else_changes() {
        let one = settings();
        let chain = json!({"deadline": "1m", "steps": [one, {"url": "https://a.b/"}, one]});
        for (owner, plain) in [(Owner::Endpoint("a"), one), (Owner::Chain("a"), chain)] {
            let sealed = seal(&keys(1), owner, &plain.to_string()).unwrap();
            assert!(!sealed.contains("marker") && sealed.contains("open") && sealed.contains(keys(1).id()), "{sealed}");
            let opened: Value = serde_json::from_str(&open(&keys(1), owner, &sealed).unwrap()).unwrap();
            assert_eq!(opened, plain);
            assert_eq!(seal(&keys(2), owner, &sealed).unwrap(), sealed, "what is sealed stays");
        }
    }

    #[test]
    fn what_was_sealed_for_one_place_opens_at_no_other() {
        let sealed = seal(&keys(1), Owner::Endpoint("a"), &settings().to_string()).unwrap();
        for owner in [Owner::Endpoint("b"), Owner::Chain("a")] {
            let chain = json!({"steps": [serde_json::from_str::<Value>(&sealed).unwrap()]}).to_string();
            let stored = if matches!(owner, Owner::Chain(_)) { &chain } else { &sealed };
            assert!(matches!(open(&keys(1), owner, stored), Err(StoreError::Unusable(_))));
        }
        let mut swapped: Value = serde_json::from_str(&sealed).unwrap();
        swapped["auth"]["password"] = swapped["auth"]["token"].clone();
        let error = open(&keys(1), Owner::Endpoint("a"), &swapped.to_string()).unwrap_err().to_string();
        assert!(
            error.contains("endpoint a") && error.contains("/auth/password") && error.contains(keys(1).id()),
            "{error}"
        );
        let error = open(&keys(2), Owner::Endpoint("a"), &sealed).unwrap_err().to_string();
        assert!(error.contains(keys(1).id()), "{error}");
    }

    #[test]
    fn what_holds_no_settings_stays() {
        for text in ["", "words", "{}", "[1]", "{\"steps\":3}", "{\"headers\":[],\"signing\":{\"secrets\":{}}}"] {
            for owner in [Owner::Endpoint("a"), Owner::Chain("a")] {
                assert_eq!(open(&keys(1), owner, &seal(&keys(1), owner, text).unwrap()).unwrap(), text);
            }
        }
    }
}
