//! Settings from JSON.

use serde_json::{Map, Value};

use super::{Files, Judge, Origin, access, batch, headers, limits, patch::completed, policy, target};
use crate::{
    config::fields::{Field, Fields, read},
    endpoint::{
        Settings, Signing, State, Target, TenantScope,
        debounce::DebouncePolicy,
        filter::Filter,
        policy::DeadLetters,
        preset::{PRESETS, Preset},
    },
    error::Invalid,
    event::TopicPattern,
};

pub(super) const STATES: [(&str, State); 3] =
    [("active", State::Active), ("paused", State::Paused), ("disabled", State::Disabled)];
pub(super) const METHODS: [(&str, &str); 3] = [("POST", "POST"), ("PUT", "PUT"), ("PATCH", "PATCH")];

impl Settings {
    /// Reads settings. Only `url` or `file` must be there, everything else has its default; bounds are in [`limits`]. Where a
    /// `preset` is named, what is not said is as the preset has it, and `null` is the default all the same. Signed settings
    /// that bring no secret have none yet: see [`Settings::with_generated_secret`].
    ///
    /// # Errors
    /// Every mistake at once, with its place.
    pub fn parse(value: &Value, origin: Origin, judge: impl Judge) -> Result<Self, Invalid> {
        let whole = Preset::named_in(value).map(|preset| completed(preset, value));
        Self::parse_whole(whole.as_ref().unwrap_or(value), origin, judge)
    }

    /// The same for settings that leave nothing to their preset.
    pub(super) fn parse_whole(value: &Value, origin: Origin, judge: impl Judge) -> Result<Self, Invalid> {
        read(value, |fields| settings(fields, origin, origin.files(), &judge))
    }

    /// Reads what the store holds: where it leads was judged when it was made, by whoever it belonged to then. Headers that
    /// could be given once and cannot any more are left out: they are not sent either.
    ///
    /// # Errors
    /// As for [`Settings::parse`].
    pub fn restore(value: &Value, origin: Origin) -> Result<Self, Invalid> {
        let restored = headers::without_reserved(value);
        let value = restored.as_ref().unwrap_or(value);
        read(value, |fields| settings(fields, origin, Files::Any, &|_: &_, _| Ok(())))
    }
}

fn settings(fields: &mut Fields<'_>, origin: Origin, files: Files, judge: &impl Judge) -> Option<Settings> {
    let private = origin.private().map(|private| ("private", private));
    let guards: Vec<_> = private.into_iter().chain([("public", origin.public())]).collect();
    let guard = fields.take("guard").map_or_else(|| Some(origin.default_guard()), |field| field.choice(&guards));
    let target = target::target(fields, files, guard, judge);
    let to_file = matches!(target, Some(Target::File(_)));
    let preset = fields.take("preset").and_then(|field| field.choice(&PRESETS));
    let name = fields.take("name").and_then(|field| field.label(limits::MAX_NAME_BYTES));
    let tenant = fields.take("tenant").and_then(|field| tenant(&field));
    let topics = fields.take("topics").and_then(|field| field.parsed(1..=limits::MAX_TOPICS));
    let filter = fields.take("filter").and_then(|field| Filter::read(&field));
    let format = fields.take("format").and_then(|field| target::format(&field, to_file));
    let state = fields.take("state").and_then(|field| field.choice(&STATES));
    let method = fields.take("method").and_then(|field| field.choice(&METHODS));
    let headers = fields.take("headers").and_then(|field| headers::headers(&field));
    let metadata = fields.take("metadata").and_then(|field| metadata(&field));
    let auth = fields.take("auth").and_then(|field| access::auth(&field)).flatten();
    let signing = if to_file { Signing::None } else { access::signing(fields) };
    let policy = policy::policy(fields).shared();
    let dead_letters = fields.take("dead_letters").and_then(|field| field.object(DeadLetters::read));
    let debounce = fields.take("debounce").and_then(|field| field.object(DebouncePolicy::read)).map(Box::new);
    let settings = Settings {
        name: name.map(str::to_owned),
        preset,
        tenant: tenant.unwrap_or_default(),
        target: target?,
        topics: topics.unwrap_or_else(|| vec![TopicPattern::All]),
        filter,
        state: state.unwrap_or_default(),
        format: format.unwrap_or_default(),
        method: method.unwrap_or("POST").to_owned(),
        headers: headers.unwrap_or_default(),
        metadata: metadata.unwrap_or_default(),
        auth,
        signing,
        guard: guard?,
        policy,
        dead_letters: dead_letters.unwrap_or_default(),
        debounce,
    };
    batch::check(fields, &settings);
    Some(settings)
}

fn tenant(field: &Field<'_>) -> Option<TenantScope> {
    match field.text()? {
        "*" => Some(TenantScope::Every),
        _ => field.parse().map(TenantScope::Of),
    }
}

fn metadata(field: &Field<'_>) -> Option<Map<String, Value>> {
    let map = field.map()?;
    if deeper_than(field.value(), limits::MAX_METADATA_DEPTH) {
        field.fault(format!("must be nested {} levels at most", limits::MAX_METADATA_DEPTH));
    } else if field.value().to_string().len() > limits::MAX_METADATA_BYTES {
        field.fault("must be 16 KiB of JSON at most");
    }
    Some(map.clone())
}

fn deeper_than(value: &Value, levels: usize) -> bool {
    let below = |value| levels == 0 || deeper_than(value, levels - 1);
    match value {
        Value::Array(items) => levels == 0 || items.iter().any(below),
        Value::Object(members) => levels == 0 || members.values().any(below),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;
    use url::Url;

    use super::*;
    use crate::endpoint::{
        Standard,
        policy::{Guard, Policy},
        settings::laws::{parse, places, with},
    };

    #[test]
    fn a_url_is_enough_and_the_rest_is_default() {
        let settings = with(json!({})).unwrap();
        assert_eq!(settings.topics, [TopicPattern::All]);
        assert_eq!(*settings.policy, Policy::default());
        assert_eq!(settings.signing, Signing::Standard(Standard::default()));
        assert_eq!((settings.method.as_str(), settings.state), ("POST", State::Active));
    }

    #[test]
    fn those_who_leave_the_policy_to_the_defaults_share_it() {
        let policy = |settings| with(settings).unwrap().policy;
        let [left, spelled_out, own] = [json!({}), json!({"timeout": "15s"}), json!({"timeout": "7s"})].map(policy);
        assert!(Arc::ptr_eq(&left, &spelled_out) && !Arc::ptr_eq(&left, &own));
    }

    #[test]
    fn every_mistake_is_named_at_once() {
        let value = json!({
            "url": "ftp://x", "name": "", "tenant": "a b", "topics": ["*", "a*"], "state": "off", "method": "GET",
            "metadata": [], "success": "3xx", "timeout": "99ms", "in_flight": 0, "guard": "none", "timeuot": "1s",
            "retry": {"delays": ["5s", "31d"], "factor": 0.5, "max_age": 5, "jitter": 1.1, "when": ["3xx"]},
            "breaker": {"failures": 0, "cooldown": "1h", "max_cooldown": "1m"}
        });
        let mut places = places(parse(&value));
        places.sort();
        let mut expected = [
            "#/url",
            "#/name",
            "#/tenant",
            "#/topics/1",
            "#/state",
            "#/method",
            "#/metadata",
            "#/success",
            "#/timeout",
            "#/in_flight",
            "#/guard",
            "#/timeuot",
            "#/retry/delays",
            "#/retry/delays/1",
            "#/retry/factor",
            "#/retry/max_age",
            "#/retry/jitter",
            "#/retry/when/0",
            "#/breaker/failures",
            "#/breaker/max_cooldown",
        ];
        expected.sort_unstable();
        assert_eq!(places, expected);
    }

    #[test]
    fn settings_that_come_later_are_not_known() {
        assert_eq!(places(with(json!({"mtls": {}}))), ["#/mtls"]);
    }

    #[test]
    fn the_judge_is_asked_with_the_guard_that_holds() {
        let judge = |url: &Url, guard: Guard| match guard {
            Guard::Public => Err(format!("{url} is not public")),
            _ => Ok(()),
        };
        let url = json!({"url": "http://10.0.0.1/"});
        let api = |allow_loopback| Settings::parse(&url, Origin::Api { allow_loopback, file_root: false }, judge);
        assert_eq!(places(api(false)), ["#/url"]);
        assert_eq!(api(true).unwrap().guard, Guard::PublicAndLoopback);
        assert_eq!(Settings::parse(&url, Origin::Operator, judge).unwrap().guard, Guard::Private);
        let private = json!({"url": "http://10.0.0.1/", "guard": "private"});
        let guard = |origin| Settings::parse(&private, origin, judge).unwrap().guard;
        assert_eq!(guard(Origin::Code), Guard::Private);
        assert_eq!(guard(Origin::Api { allow_loopback: true, file_root: false }), Guard::Private);
        assert_eq!(guard(Origin::Api { allow_loopback: false, file_root: false }), Guard::PrivateNoLoopback);
        let public = json!({"url": "http://10.0.0.1/", "guard": "public"});
        assert_eq!(places(Settings::parse(&public, Origin::Code, judge)), ["#/url"]);
    }

    #[test]
    fn metadata_is_bounded_in_size_and_depth() {
        let nested = |levels| (0..levels).fold(json!(1), |inner, _| json!({"a": inner}));
        assert!(with(json!({"metadata": nested(limits::MAX_METADATA_DEPTH)})).is_ok());
        assert!(with(json!({"metadata": nested(limits::MAX_METADATA_DEPTH + 1)})).is_err());
        assert!(with(json!({"metadata": {"a": "x".repeat(limits::MAX_METADATA_BYTES)}})).is_err());
    }

    #[test]
    fn a_tenant_or_everybody() {
        assert_eq!(with(json!({"tenant": "*"})).unwrap().tenant, TenantScope::Every);
        assert_eq!(with(json!({"tenant": "acme"})).unwrap().tenant, TenantScope::Of("acme".parse().unwrap()));
    }
}
