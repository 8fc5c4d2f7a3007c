//! Changes to settings.

use serde_json::{Map, Value};
use url::Url;

use super::{
    Judge, Origin,
    moved::moved,
    target::{OF_FILES, OF_REQUESTS},
};
use crate::{
    config::merge::merge,
    endpoint::{Settings, policy::Policy, preset::Preset},
    error::Invalid,
};

/// Members of `retry` that belong to a list of waits.
const LIST: &[&str] = &["delays"];
/// Members of `retry` that belong to a formula.
const FORMULA: &[&str] = &["initial", "factor", "max_delay", "max_attempts"];

impl Settings {
    /// These settings with a JSON Merge Patch (RFC 7396) applied to [`Settings::to_json`]: what the patch leaves out stays,
    /// `null` goes back to the default. Header names match in any case. A patch that chooses another form drops what
    /// belongs to the old one alone: `file` in place of `url` or the other way round, another `type` of `auth` or `signing`,
    /// the other form of `retry`, a new `secret`. An `in_flight` that is the default stays it where batches begin or end. A
    /// `format` or `filter` is replaced as a whole. A patch with a `preset` takes over all that the preset says, then the rest
    /// of the patch. The secret stays unless the patch brings one or ends signing; a patch that begins signing without one
    /// leaves the
    /// result without, see [`Settings::with_generated_secret`]. A `url` with another scheme, host or port drops `auth` and all
    /// headers that the patch does not bring: they were for the receiver there ([`Settings::cleared_from`]).
    ///
    /// # Errors
    /// Every mistake of the result at once, with its place.
    pub fn patched(&self, patch: &Value, origin: Origin, judge: impl Judge) -> Result<Self, Invalid> {
        let patch = with_lower_case_headers(patch.clone());
        let mut document = self.to_json();
        let to = patch.get("url").and_then(Value::as_str).and_then(|url| Url::parse(url).ok());
        if moved(self.target.url(), to.as_ref()) {
            remove(&mut document, "", &["auth", "headers"]);
        }
        if let Some(preset) = Preset::named_in(&patch) {
            let to_file = is_given(&document, "file") || is_given(&patch, "file");
            document = overlaid(document, fitting(preset, to_file));
        }
        let document = overlaid(document, patch);
        let mut patched = Self::parse_whole(&document, origin, judge)?;
        patched.keep_secret_of(self);
        Ok(patched)
    }
}

/// `settings` with what they leave to their preset. A secret without `signing` means the usual signature.
pub(super) fn completed(preset: Preset, settings: &Value) -> Value {
    let mut document = fitting(preset, is_given(settings, "file"));
    if is_given(settings, "secret") {
        remove(&mut document, "", &["signing"]);
    }
    let mut document = overlaid(document, settings.clone());
    // No preset has any: what is given stands as it is, with what is null in it.
    if let (Some(members), Some(metadata)) = (document.as_object_mut(), settings.get("metadata")) {
        members.insert("metadata".to_owned(), metadata.clone());
    }
    document
}

/// What a preset says, without what belongs to requests where there are none.
fn fitting(preset: Preset, to_file: bool) -> Value {
    let mut settings = preset.settings();
    if to_file {
        remove(&mut settings, "", &OF_REQUESTS);
        remove(&mut settings, "/batch", &["count_header"]);
    }
    settings
}

fn is_given(settings: &Value, name: &str) -> bool {
    settings.get(name).is_some_and(|value| !value.is_null())
}

/// `document` with other settings applied: what cannot stand beside them goes.
fn overlaid(mut document: Value, settings: Value) -> Value {
    make_room(&mut document, &settings);
    merge_settings(&mut document, settings);
    document
}

/// Settings that mean something as a whole only: half of one filter and half of another is neither, and a `null` in a map
/// is to be sent.
const WHOLE: [&str; 2] = ["format", "filter"];

/// Applies a merge patch (RFC 7396) to settings as JSON, but for `format` and `filter`, which it replaces as they are.
pub(in crate::endpoint) fn merge_settings(document: &mut Value, mut patch: Value) {
    let replaced = patch.as_object_mut().map_or_else(Vec::new, |patch| {
        let given = |name: &&str| patch.get(*name).is_some_and(|value| !value.is_null());
        let names: Vec<_> = WHOLE.into_iter().filter(given).collect();
        names.into_iter().filter_map(|name| Some((name, patch.shift_remove(name)?))).collect()
    });
    merge(document, patch);
    if let Some(members) = document.as_object_mut() {
        members.extend(replaced.into_iter().map(|(name, value)| (name.to_owned(), value)));
    }
}

/// Two spellings of one name are left as they are, for the validator to refuse.
fn with_lower_case_headers(mut patch: Value) -> Value {
    if let Some(Value::Object(headers)) = patch.get_mut("headers") {
        let lower: Map<_, _> = headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect();
        if lower.len() == headers.len() {
            *headers = lower;
        }
    }
    patch
}

/// Drops from `document` what cannot stand beside what `patch` brings.
fn make_room(document: &mut Value, patch: &Value) {
    let given = |name: &str| is_given(patch, name);
    for (chosen, other, of_other) in [("url", "file", &OF_FILES[..]), ("file", "url", &OF_REQUESTS[..])] {
        if given(chosen) && document.get(other).is_some() {
            remove(document, "", &[other]);
            remove(document, "", of_other);
            remove(document, "/batch", &["count_header"]);
        }
    }
    for name in ["auth", "signing"] {
        let chosen = patch.pointer(&format!("/{name}/type")).filter(|chosen| chosen.is_string());
        if chosen.is_some() && chosen != document.pointer(&format!("/{name}/type")) {
            remove(document, "", &[name]);
        }
    }
    if given("secret") {
        remove(document, "/signing", &["scheme", "secrets", "secret"]);
    }
    let of_signing = |name: &str| patch.pointer(&format!("/signing/{name}")).filter(|value| !value.is_null());
    if of_signing("secrets").is_some() {
        remove(document, "/signing", &["scheme"]);
    } else if let Some(scheme) = of_signing("scheme")
        && document.pointer("/signing/scheme") != Some(scheme)
    {
        remove(document, "/signing", &["secrets"]);
    }
    move_in_flight(document, patch);
    let brings =
        |name: &&str| patch.get("retry").and_then(|retry| retry.get(*name)).is_some_and(|value| !value.is_null());
    for (chosen, other) in [(LIST, FORMULA), (FORMULA, LIST)] {
        if chosen.iter().any(brings) {
            remove(document, "/retry", other);
        }
    }
}

/// `in_flight` has another default with batches than without: where it is the default, it stays the default.
fn move_in_flight(document: &mut Value, patch: &Value) {
    let was = document.get("batch").is_some_and(Value::is_object);
    let default = if was { Policy::BATCHES_IN_FLIGHT } else { Policy::IN_FLIGHT };
    let begins_or_ends = patch.get("batch").is_some_and(|batch| batch.is_null() == was);
    if begins_or_ends && document.get("in_flight") == Some(&default.into()) {
        remove(document, "", &["in_flight"]);
    }
}

/// Removes members of the object at `place`.
fn remove(document: &mut Value, place: &str, names: &[&str]) {
    if let Some(members) = document.pointer_mut(place).and_then(Value::as_object_mut) {
        members.retain(|name, _| !names.contains(&name.as_str()));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::endpoint::{
        Auth, HeaderPrefix, Signing,
        format::Format,
        policy::Backoff,
        settings::laws::{places, with},
    };

    fn settings(more: Value) -> Settings {
        with(more).unwrap().with_generated_secret().unwrap()
    }

    #[expect(clippy::needless_pass_by_value, reason = "called with literals")]
    fn patch(settings: &Settings, patch: Value) -> Result<Settings, Invalid> {
        settings.patched(&patch, Origin::Code, |_, _| Ok(()))
    }

    #[test]
    fn what_a_patch_leaves_out_stays() {
        let old = settings(json!({"name": "a", "auth": {"type": "bearer", "token": "t"}, "timeout": "2s"}));
        let new = patch(&old, json!({"name": "b", "timeout": null, "signing": null})).unwrap();
        assert_eq!((new.name.as_deref(), new.policy.timeout.as_secs()), (Some("b"), 15));
        assert_eq!((&new.auth, &new.signing), (&old.auth, &old.signing));
    }

    #[test]
    fn another_origin_drops_what_the_receiver_was_to_know() {
        let old = json!({"url": "https://example.org:443/a", "auth": {"type": "bearer", "token": "t"},
            "headers": {"x-a": "1", "x-b~": "2"}});
        let old = settings(old);
        for url in ["https://example.org/b?c", "https://EXAMPLE.org:443/"] {
            let new = patch(&old, json!({"url": url})).unwrap();
            assert_eq!((&new.auth, &new.headers, new.cleared_from(&old).len()), (&old.auth, &old.headers, 0), "{url}");
        }
        for url in
            ["http://example.org/a", "https://example.org:444/a", "https://example.com/a", "https://a.example.org/"]
        {
            let new = patch(&old, json!({"url": url})).unwrap();
            assert_eq!((&new.auth, new.headers.len()), (&None, 0), "{url}");
            assert_eq!(new.cleared_from(&old), ["/auth", "/headers/x-a", "/headers/x-b~0"]);
            assert_eq!(new.signing, old.signing, "it never leaves");
        }
        let url = "https://example.com/";
        let again = patch(&old, json!({"url": url, "headers": {"X-A": "3"}, "auth": {"type": "bearer", "token": "u"}}));
        let again = again.unwrap();
        assert_eq!(again.headers, [("x-a".to_owned(), "3".to_owned())]);
        assert_eq!(
            (&again.auth, again.cleared_from(&old)),
            (&Some(Auth::Bearer("u".to_owned())), vec!["/headers/x-b~0".to_owned()])
        );
        let half = patch(&old, json!({"url": url, "auth": {"type": "bearer"}}));
        assert_eq!(places(half), ["#/auth/token"], "half of it does not bring the rest");
    }

    #[test]
    fn another_scheme_or_secret_drops_the_old_secrets() {
        let old = settings(json!({"signing": {"header_prefix": "svix"}}));
        let new = patch(&old, json!({"signing": {"scheme": "v1a"}})).unwrap().with_generated_secret().unwrap();
        let Signing::Standard(standard) = &new.signing else { panic!() };
        assert_eq!((standard.keys.len(), standard.header_prefix), (1, HeaderPrefix::Svix));
        assert_eq!(new.signing.public_keys().len(), 1);
        let brought = crate::endpoint::Secret::generate().unwrap();
        for change in [json!({"secret": brought.reveal()}), json!({"signing": {"secrets": [brought.reveal()]}})] {
            assert_eq!(patch(&new, change).unwrap().signing.reveal(), Some(brought.reveal()));
        }
        assert_eq!(patch(&new, json!({"signing": {"scheme": "v1a"}})).unwrap().signing, new.signing);
        assert_eq!(patch(&new, json!({"signing": {"secrets": []}})).unwrap().signing, new.signing);
    }

    #[test]
    fn another_form_drops_the_old_one() {
        let old =
            settings(json!({"auth": {"type": "bearer", "token": "t"}, "retry": {"delays": ["1s"], "jitter": 0.5}}));
        let auth = json!({"type": "basic", "username": "u", "password": "p"});
        let new = patch(&old, json!({"auth": auth, "retry": {"initial": "3s"}, "signing": {"type": "none"}})).unwrap();
        assert!(matches!(new.auth, Some(Auth::Basic { .. })));
        assert!(matches!(new.policy.retry.backoff, Backoff::Exponential { .. }) && new.policy.retry.jitter == 0.5);
        assert_eq!(new.signing, Signing::None);
        let back = patch(&new, json!({"retry": {"delays": ["1s"]}, "auth": {"type": "none"}})).unwrap();
        assert_eq!((&back.policy.retry.backoff, &back.auth), (&old.policy.retry.backoff, &None));
    }

    #[test]
    fn a_file_takes_the_place_of_a_url_and_the_other_way_round() {
        let old = settings(json!({"auth": {"type": "bearer", "token": "t"}, "method": "PUT", "success": "below_400"}));
        let rotate = json!({"max_bytes": 4096, "keep": 2});
        let file = patch(&old, json!({"file": "/var/log/a", "rotate": rotate})).unwrap();
        assert_eq!((file.target.to_string().as_str(), &file.signing), ("/var/log/a", &Signing::None));
        assert_eq!((&file.auth, file.method.as_str()), (&None, "POST"));
        let elsewhere = patch(&file, json!({"file": "/var/log/b"})).unwrap();
        assert!(elsewhere.target.file().unwrap().rotate.is_some(), "what a patch leaves out stays");
        let back = patch(&file, json!({"url": "https://a.b/"})).unwrap();
        assert_eq!(
            (back.target.to_string().as_str(), back.signing),
            ("https://a.b/", Signing::Standard(crate::endpoint::Standard::default()))
        );
        let both = json!({"file": "/a", "url": "https://a.b/"});
        for settings in [&old, &file] {
            assert_eq!(places(patch(settings, both.clone())), ["#/url", "#/file"]);
        }
        assert_eq!(places(patch(&old, json!({"rotate": rotate}))), ["#/rotate"]);
        assert_eq!(places(patch(&file, json!({"headers": {}, "file": null}))), ["#/url"]);
    }

    #[test]
    fn formats_and_filters_are_replaced_as_a_whole() {
        let at = |pointer| json!({"pointer": pointer, "exists": true});
        let old = settings(json!({"format": {"map": {"a": 1, "b": 2}}, "filter": {"all": [at("/key")]}}));
        let format = json!({"map": {"c": null, "a": {"from": "/id"}}});
        let new = patch(&old, json!({"format": format, "filter": at("/id")})).unwrap();
        assert_eq!((new.format.to_json(), new.filter.unwrap().to_json()), (format, at("/id")));
        let none = patch(&old, json!({"format": null, "filter": null})).unwrap();
        assert_eq!((none.format, none.filter), (Format::Standard, None));
    }

    #[test]
    fn metadata_beside_a_preset_keeps_what_is_null_in_it() {
        let settings = settings(json!({"preset": "daemon", "metadata": {"a": null}}));
        assert_eq!(settings.metadata["a"], Value::Null);
        assert_eq!(with(settings.to_json()).unwrap().metadata, settings.metadata);
    }

    #[test]
    fn a_new_secret_replaces_the_old_one() {
        let (old, other) = (settings(json!({})), settings(json!({})));
        let Signing::Standard(secrets) = &other.signing else { panic!("unsigned") };
        let new = patch(&old, json!({"secret": secrets.keys[0].key.reveal()})).unwrap();
        assert_eq!(new.signing, other.signing);
    }

    #[test]
    fn header_names_match_in_any_case() {
        let old = settings(json!({"headers": {"x-a": "1", "x-b": "2"}}));
        let new = patch(&old, json!({"headers": {"X-A": "3", "X-B": null}})).unwrap();
        assert_eq!(new.headers, [("x-a".to_owned(), "3".to_owned())]);
        assert_eq!(places(patch(&old, json!({"headers": {"X-C": "1", "x-c": "2"}}))), ["#/headers/x-c"]);
    }

    #[test]
    fn stars_never_overwrite_a_secret() {
        let old = settings(json!({"headers": {"x": "1"}, "auth": {"type": "bearer", "token": "t"}}));
        let shown = old.to_masked_json();
        let expected = ["#/headers/x", "#/auth/token", "#/signing/secrets/0"];
        assert_eq!(places(patch(&old, shown.clone())), expected);
        assert_eq!(places(with(shown)), expected);
    }

    #[test]
    fn a_patch_that_is_no_object_is_refused() {
        for value in [json!(null), json!([]), json!("x")] {
            assert_eq!(places(patch(&settings(json!({})), value)), ["#"]);
        }
    }
}
