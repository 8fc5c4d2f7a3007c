//! Credentials and signatures.

use serde_json::Value;

use super::{
    headers::{header_name, header_value, unmasked},
    limits::{MAX_HEADER_BYTES, MAX_PREFIX_BYTES, MAX_SECRETS, MAX_TEXT_SECRET_BYTES, OVERLAP},
};
use crate::{
    config::fields::{Field, Fields, read},
    endpoint::{
        Auth, Encoding, HeaderPrefix, Hmac, Key, Scheme, SecretRotation, Signing, SigningKey, Standard, TextSecret,
    },
    error::Invalid,
};

pub(super) const AUTH_TYPES: [(&str, &str); 4] =
    [("none", "none"), ("bearer", "bearer"), ("basic", "basic"), ("verbatim", "verbatim")];

pub(super) const SIGNING_TYPES: [(&str, &str); 3] = [("standard", "standard"), ("hmac", "hmac"), ("none", "none")];
pub(super) const SCHEMES: [(&str, Scheme); 2] = [("v1", Scheme::V1), ("v1a", Scheme::V1a)];
pub(super) const HEADER_PREFIXES: [(&str, HeaderPrefix); 2] =
    [("webhook", HeaderPrefix::Webhook), ("svix", HeaderPrefix::Svix)];
pub(super) const ENCODINGS: [(&str, Encoding); 2] = [("hex", Encoding::Hex), ("base64", Encoding::Base64)];

/// `Some(None)` is no credentials at all.
pub(super) fn auth(field: &Field<'_>) -> Option<Option<Auth>> {
    field.object(|fields| match fields.require("type").and_then(|field| field.choice(&AUTH_TYPES)) {
        Some("bearer") => {
            fields.require("token").and_then(|field| token(&field)).map(|token| Some(Auth::Bearer(token)))
        }
        Some("basic") => basic(fields).map(Some),
        Some("verbatim") => {
            let value = fields.require("value").and_then(|field| filled(&field));
            value.map(|value| Some(Auth::Verbatim(value.to_owned())))
        }
        Some(_) => Some(None),
        None => {
            fields.allow_unknown();
            None
        }
    })
}

fn basic(fields: &mut Fields<'_>) -> Option<Auth> {
    let user = fields.require("username").and_then(|field| {
        let user = credential(&field)?;
        if user.contains(':') {
            field.fault("must hold no colon (RFC 7617)");
        }
        Some(user)
    });
    let password = fields.require("password").and_then(|field| credential(&field));
    Some(Auth::Basic { user: user?, password: password? })
}

/// User names and passwords: any text without control characters (RFC 7617), also none.
fn credential(field: &Field<'_>) -> Option<String> {
    let text = unmasked(field)?;
    if text.len() > MAX_HEADER_BYTES / 4 || text.contains(char::is_control) {
        field.fault(format!("must be {} bytes at most, without control characters", MAX_HEADER_BYTES / 4));
        return None;
    }
    Some(text.to_owned())
}

fn token(field: &Field<'_>) -> Option<String> {
    let text = filled(field)?;
    if text.contains([' ', '\t']) {
        field.fault("must hold no spaces");
        return None;
    }
    Some(text.to_owned())
}

fn filled<'a>(field: &Field<'a>) -> Option<&'a str> {
    let text = header_value(field, MAX_HEADER_BYTES)?;
    if text.trim().is_empty() {
        field.fault("must not be empty");
        return None;
    }
    Some(text)
}

/// `signing`, and `secret` beside it: the short way to bring one secret.
pub(super) fn signing(fields: &mut Fields<'_>) -> Signing {
    let signing = fields.take("signing").and_then(|field| field.object(scheme));
    let Some(brought) = fields.take("secret") else {
        return signing.unwrap_or_else(|| Signing::Standard(Standard::default()));
    };
    match signing {
        Some(Signing::None) => brought.fault("has no use: `signing` is of type \"none\""),
        Some(Signing::Standard(Standard { keys, .. })) if !keys.is_empty() => {
            brought.fault("stands beside `signing.secrets`: give one of them");
        }
        Some(Signing::Hmac(hmac @ Hmac { secret: Some(_), .. })) => {
            brought.fault("stands beside `signing.secret`: give one of them");
            return Signing::Hmac(hmac);
        }
        Some(Signing::Hmac(hmac)) => return Signing::Hmac(Hmac { secret: text_secret(&brought), ..hmac }),
        Some(Signing::Standard(standard)) => return Signing::Standard(with_first(&standard, &brought)),
        None => {}
    }
    Signing::Standard(with_first(&Standard::default(), &brought))
}

fn with_first(standard: &Standard, brought: &Field<'_>) -> Standard {
    let key = key(brought);
    let scheme = key.as_ref().and_then(|key| settled(standard.scheme, key, brought));
    Standard { keys: key.map(SigningKey::from).into_iter().collect(), scheme, header_prefix: standard.header_prefix }
}

/// Keys tell their scheme themselves.
fn settled(scheme: Option<Scheme>, first: &Key, place: &Field<'_>) -> Option<Scheme> {
    if scheme.is_some_and(|scheme| scheme != first.scheme()) {
        place.fault("is not of the `scheme` that is named: v1 has whsec_…, v1a has whsk_…");
    }
    None
}

fn scheme(fields: &mut Fields<'_>) -> Option<Signing> {
    match fields.take("type").map_or(Some("standard"), |field| field.choice(&SIGNING_TYPES)) {
        Some("standard") => Some(Signing::Standard(standard(fields))),
        Some("hmac") => hmac(fields).map(Signing::Hmac),
        Some(_) => Some(Signing::None),
        None => {
            fields.allow_unknown();
            None
        }
    }
}

fn standard(fields: &mut Fields<'_>) -> Standard {
    let scheme = fields.take("scheme").and_then(|field| field.choice(&SCHEMES));
    let header_prefix = fields.take("header_prefix").and_then(|field| field.choice(&HEADER_PREFIXES));
    let secrets = fields.take("secrets").and_then(|field| field.list(0..=MAX_SECRETS)).unwrap_or_default();
    let mut keys: Vec<_> = secrets.iter().filter_map(signing_key).collect();
    keys.shrink_to_fit();
    let scheme = match (secrets.first(), keys.first()) {
        (Some(place), Some(first)) => {
            if first.until.is_some() {
                place.fault("must have no `until`: the first one is the newest, and signs for good");
            }
            settled(scheme, &first.key, place)
        }
        _ => scheme,
    };
    Standard { header_prefix: header_prefix.unwrap_or_default(), keys, scheme }
}

/// A key as it is, or with the moment at which it ends.
fn signing_key(field: &Field<'_>) -> Option<SigningKey> {
    if field.value().is_string() {
        return key(field).map(SigningKey::from);
    }
    field.object(|fields| {
        let key = fields.require("secret").and_then(|field| key(&field));
        let until = fields.take("until").map(|field| field.parse());
        Some(SigningKey { key: key?, until: until.flatten() })
    })
}

impl SecretRotation {
    /// Reads `{"overlap": "24h", "secret": "whsec_…"}`; both may be left out.
    ///
    /// # Errors
    /// Every mistake at once, with its place.
    pub fn parse(value: &Value) -> Result<Self, Invalid> {
        read(value, |fields| {
            let overlap = fields.take("overlap").and_then(|field| field.duration(OVERLAP));
            let secret = fields.take("secret").and_then(|field| text_secret(&field));
            let secret = secret.map(|secret| secret.reveal().to_owned());
            Some(Self::with(overlap, secret))
        })
    }
}

fn hmac(fields: &mut Fields<'_>) -> Option<Hmac> {
    let header = fields.require("header").and_then(|field| header_name(&field));
    let prefix = fields.take("prefix").and_then(|field| header_value(&field, MAX_PREFIX_BYTES).map(str::to_owned));
    let encoding = fields.take("encoding").and_then(|field| field.choice(&ENCODINGS));
    let secret = fields.take("secret").and_then(|field| text_secret(&field));
    Some(Hmac { header: header?, prefix: prefix.unwrap_or_default(), encoding: encoding.unwrap_or_default(), secret })
}

/// Any text of a bounded length that is not the mask.
fn text_secret(field: &Field<'_>) -> Option<TextSecret> {
    let text = unmasked(field)?;
    if text.is_empty() || text.len() > MAX_TEXT_SECRET_BYTES {
        field.fault(format!("must be 1 to {MAX_TEXT_SECRET_BYTES} bytes"));
        return None;
    }
    Some(TextSecret::new(text))
}

fn key(field: &Field<'_>) -> Option<Key> {
    let rule = |invalid: Invalid| invalid.faults().iter().for_each(|fault| field.fault(fault.detail.clone()));
    Key::parse(unmasked(field)?).map_err(rule).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::endpoint::{
        Secret,
        settings::laws::{places, with},
    };

    fn secret() -> Value {
        Secret::generate().unwrap().reveal().into()
    }

    #[test]
    fn credentials_are_read_by_type() {
        let basic = with(json!({"auth": {"type": "basic", "username": "u", "password": ""}})).unwrap();
        assert_eq!(basic.auth, Some(Auth::Basic { user: "u".to_owned(), password: String::new() }));
        assert_eq!(with(json!({"auth": {"type": "none"}})).unwrap().auth, None);
    }

    #[test]
    fn credentials_that_cannot_be_sent_are_refused() {
        let cases = [
            (json!({}), "#/auth/type"),
            (json!({"type": "digest", "token": "x"}), "#/auth/type"),
            (json!({"type": "bearer"}), "#/auth/token"),
            (json!({"type": "bearer", "token": "a b"}), "#/auth/token"),
            (json!({"type": "bearer", "token": "a\r\nx: y"}), "#/auth/token"),
            (json!({"type": "bearer", "token": "***"}), "#/auth/token"),
            (json!({"type": "bearer", "token": "x", "value": "x"}), "#/auth/value"),
            (json!({"type": "basic", "username": "a:b", "password": "x"}), "#/auth/username"),
            (json!({"type": "basic", "username": "a", "password": "***"}), "#/auth/password"),
            (json!({"type": "verbatim", "value": " "}), "#/auth/value"),
        ];
        for (auth, place) in cases {
            assert_eq!(places(with(json!({"auth": auth}))), [place], "{auth}");
        }
    }

    #[test]
    fn a_secret_may_be_brought_in_one_way_at_a_time() {
        let (own, more) = (secret(), secret());
        let standard = |secrets: &[Value]| json!({"type": "standard", "secrets": secrets});
        for value in [json!({"secret": own}), json!({"signing": standard(std::slice::from_ref(&own))})] {
            assert!(matches!(with(value).unwrap().signing, Signing::Standard(standard) if standard.keys.len() == 1));
        }
        assert_eq!(places(with(json!({"secret": own, "signing": standard(&[more])}))), ["#/secret"]);
        assert_eq!(places(with(json!({"secret": own, "signing": {"type": "none"}}))), ["#/secret"]);
        assert_eq!(places(with(json!({"signing": standard(&[own, json!("***"), json!(1)])}))).len(), 2);
        assert_eq!(places(with(json!({"secret": "whsec_AAAA"}))), ["#/secret"]);
    }

    #[test]
    fn a_plain_hmac_has_any_text_for_a_secret() {
        let hmac = json!({"type": "hmac", "header": "X-Signature", "prefix": "sha256=", "encoding": "base64"});
        let expected = |secret| {
            let (header, prefix, secret) =
                ("x-signature".to_owned(), "sha256=".to_owned(), Some(TextSecret::new(secret)));
            Signing::Hmac(Hmac { header, prefix, encoding: Encoding::Base64, secret })
        };
        assert_eq!(with(json!({"secret": "hush", "signing": hmac})).unwrap().signing, expected("hush"));
        let mut own = hmac.clone();
        own["secret"] = json!("whsec_AAAA");
        assert_eq!(with(json!({"signing": own})).unwrap().signing, expected("whsec_AAAA"));
        assert!(!format!("{:?}", with(json!({"signing": own})).unwrap()).contains("AAAA"));
        assert_eq!(places(with(json!({"secret": "hush", "signing": own}))), ["#/secret"]);
        let wrong = json!({"type": "hmac", "prefix": "a\nb", "encoding": "hex64", "secret": "", "secrets": []});
        let found = ["header", "prefix", "encoding", "secret", "secrets"].map(|name| format!("#/signing/{name}"));
        assert_eq!(places(with(json!({"signing": wrong}))), found);
        for header in ["webhook-signature", "Content-Length", "authorization", "content-type"] {
            let signing = json!({"type": "hmac", "header": header});
            assert_eq!(places(with(json!({"signing": signing}))), ["#/signing/header"], "{header}");
        }
    }

    #[test]
    fn asymmetric_keys_ends_and_older_header_names_are_read() {
        let pair = Key::generate(Scheme::V1a).unwrap();
        let until = "2026-01-31T09:30:00.000Z";
        let signing =
            json!({"header_prefix": "svix", "secrets": [pair.reveal(), {"secret": secret(), "until": until}]});
        let Signing::Standard(read) = with(json!({"signing": signing})).unwrap().signing else { panic!() };
        assert_eq!((read.header_prefix, read.scheme(), read.scheme), (HeaderPrefix::Svix, Some(Scheme::V1a), None));
        assert_eq!((&read.keys[0].key, read.keys[1].until), (&pair, Some(until.parse().unwrap())));
        let wanted = with(json!({"signing": {"scheme": "v1a"}})).unwrap().with_generated_secret().unwrap();
        assert_eq!(wanted.signing.public_keys().len(), 1);
        let brought = with(json!({"secret": pair.reveal()})).unwrap();
        assert_eq!(brought.signing.public_keys().len(), 1);
        let cases = [
            (json!({"signing": {"scheme": "v2"}}), "#/signing/scheme"),
            (json!({"signing": {"header_prefix": "x"}}), "#/signing/header_prefix"),
            (json!({"signing": {"scheme": "v1", "secrets": [pair.reveal()]}}), "#/signing/secrets/0"),
            (json!({"signing": {"scheme": "v1"}, "secret": pair.reveal()}), "#/secret"),
            (json!({"signing": {"secrets": [{"secret": secret(), "until": until}]}}), "#/signing/secrets/0"),
            (
                json!({"signing": {"secrets": [secret(), {"secret": secret(), "until": "soon"}]}}),
                "#/signing/secrets/1/until",
            ),
            (json!({"signing": {"secrets": [{"until": until}]}}), "#/signing/secrets/0/secret"),
            (json!({"secret": "whsk_AAAA"}), "#/secret"),
        ];
        for (settings, place) in cases {
            assert_eq!(places(with(settings.clone())), [place], "{settings}");
        }
    }

    #[test]
    fn a_rotation_is_read_with_every_mistake() {
        assert_eq!(SecretRotation::parse(&json!({})).unwrap(), SecretRotation::new());
        let hour = std::time::Duration::from_secs(3600);
        let read = SecretRotation::parse(&json!({"overlap": "1h", "secret": "x"})).unwrap();
        assert_eq!(read, SecretRotation::new().overlap(hour).secret("x"));
        let wrong = SecretRotation::parse(&json!({"overlap": "31d", "secret": "***", "when": 1})).unwrap_err();
        let places: Vec<_> = wrong.faults().iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(places, ["#/overlap", "#/secret", "#/when"]);
    }

    #[test]
    fn a_secret_is_generated_only_where_one_is_missing() {
        let count = |value| match with(value).unwrap().with_generated_secret().unwrap().signing {
            Signing::Standard(standard) => standard.keys.len(),
            Signing::Hmac(hmac) => hmac.secret.iter().len(),
            Signing::None => 0,
        };
        assert_eq!(count(json!({})), 1);
        assert_eq!(count(json!({"secret": secret()})), 1);
        assert_eq!(count(json!({"signing": {"type": "hmac", "header": "x-signature"}})), 1);
        assert_eq!(count(json!({"signing": {"type": "none"}})), 0);
    }
}
