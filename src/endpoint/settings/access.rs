//! Credentials and signatures.

use super::{
    headers::{header_name, header_value, unmasked},
    limits::{MAX_HEADER_BYTES, MAX_PREFIX_BYTES, MAX_SECRETS, MAX_TEXT_SECRET_BYTES},
};
use crate::{
    config::fields::{Field, Fields},
    endpoint::{Auth, Encoding, Hmac, Secret, Signing, TextSecret},
    error::Invalid,
};

pub(super) const AUTH_TYPES: [(&str, &str); 4] =
    [("none", "none"), ("bearer", "bearer"), ("basic", "basic"), ("verbatim", "verbatim")];

pub(super) const SIGNING_TYPES: [(&str, &str); 3] = [("standard", "standard"), ("hmac", "hmac"), ("none", "none")];
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
    let Some(brought) = fields.take("secret") else { return signing.unwrap_or(Signing::Standard(Vec::new())) };
    match signing {
        Some(Signing::None) => brought.fault("has no use: `signing` is of type \"none\""),
        Some(Signing::Standard(secrets)) if !secrets.is_empty() => {
            brought.fault("stands beside `signing.secrets`: give one of them");
        }
        Some(Signing::Hmac(hmac @ Hmac { secret: Some(_), .. })) => {
            brought.fault("stands beside `signing.secret`: give one of them");
            return Signing::Hmac(hmac);
        }
        Some(Signing::Hmac(hmac)) => return Signing::Hmac(Hmac { secret: text_secret(&brought), ..hmac }),
        Some(Signing::Standard(_)) | None => {}
    }
    Signing::Standard(secret(&brought).into_iter().collect())
}

fn scheme(fields: &mut Fields<'_>) -> Option<Signing> {
    match fields.take("type").map_or(Some("standard"), |field| field.choice(&SIGNING_TYPES)) {
        Some("standard") => {
            let secrets = fields.take("secrets").and_then(|field| field.list(0..=MAX_SECRETS)).unwrap_or_default();
            Some(Signing::Standard(secrets.iter().filter_map(secret).collect()))
        }
        Some("hmac") => hmac(fields).map(Signing::Hmac),
        Some(_) => Some(Signing::None),
        None => {
            fields.allow_unknown();
            None
        }
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

fn secret(field: &Field<'_>) -> Option<Secret> {
    let rule = |invalid: Invalid| invalid.faults().iter().for_each(|fault| field.fault(fault.detail.clone()));
    Secret::parse(unmasked(field)?).map_err(rule).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::endpoint::settings::laws::{places, with};

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
            assert!(matches!(with(value).unwrap().signing, Signing::Standard(secrets) if secrets.len() == 1));
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
    fn a_secret_is_generated_only_where_one_is_missing() {
        let count = |value| match with(value).unwrap().with_generated_secret().unwrap().signing {
            Signing::Standard(secrets) => secrets.len(),
            Signing::Hmac(hmac) => hmac.secret.iter().len(),
            Signing::None => 0,
        };
        assert_eq!(count(json!({})), 1);
        assert_eq!(count(json!({"secret": secret()})), 1);
        assert_eq!(count(json!({"signing": {"type": "hmac", "header": "x-signature"}})), 1);
        assert_eq!(count(json!({"signing": {"type": "none"}})), 0);
    }
}
