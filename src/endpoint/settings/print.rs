//! Settings as JSON.

use serde_json::{Map, Value, json};

use super::{
    MASK,
    access::{ENCODINGS, HEADER_PREFIXES, SCHEMES},
    batch,
    parse::STATES,
    policy::{EXHAUSTED, NEVER, SUCCESSES, UNITS, WHILE_OPEN},
    queue,
};
use crate::{
    config::duration,
    endpoint::{
        Auth, Hmac, Preset, Settings, Signing, SigningKey, Target, TenantScope,
        debounce::DebouncePolicy,
        filter::Filter,
        policy::{Backoff, BreakerPolicy, Guard, Retry, RetryWhen},
    },
};

impl Settings {
    /// Everything, secrets in clear: for the store. [`Settings::parse`] reads it back to equal settings for an
    /// [`Origin`](super::Origin) that gives `"public"` and `"private"` the same meaning.
    pub fn to_json(&self) -> Value {
        print(self, |secret| secret.into())
    }

    /// For people: header values, credentials and secrets are shown as [`MASK`], with what receivers verify asymmetric
    /// signatures with as `signing.public_keys`. [`Settings::parse`] refuses it where it hides something.
    pub fn to_masked_json(&self) -> Value {
        let mut shown = print(self, |_| MASK.into());
        let public = self.signing.public_keys();
        if let (false, Some(Value::Object(signing))) = (public.is_empty(), shown.get_mut("signing")) {
            signing.insert("public_keys".to_owned(), public.iter().map(ToString::to_string).collect());
        }
        shown
    }
}

fn print(settings: &Settings, show: fn(&str) -> Value) -> Value {
    let policy = &settings.policy;
    let mut json = json!({
        "name": settings.name,
        "preset": settings.preset.map(Preset::as_str),
        "tenant": match &settings.tenant {
            TenantScope::None => Value::Null,
            TenantScope::Of(tenant) => tenant.as_str().into(),
            TenantScope::Every => "*".into(),
        },
    });
    let common = json!({
        "topics": settings.topics,
        "filter": settings.filter.as_ref().map(Filter::to_json),
        "format": settings.format.to_json(),
        "state": name_of(&settings.state, &STATES),
        "metadata": settings.metadata,
        "timeout": duration::print(policy.timeout),
        "retry": retry(&policy.retry),
        "breaker": breaker(&policy.breaker),
        "in_flight": policy.in_flight,
        "dead_letters": settings.dead_letters.to_json(),
        "debounce": settings.debounce.as_deref().map(DebouncePolicy::to_json),
        "rate": policy.rate.map(|rate| json!({"per_second": rate.per_second, "burst": rate.burst})),
        "batch": policy.batch.as_ref().map(batch::print),
        "ordered": name_of(&policy.ordered, &queue::ORDERED),
        "queue": queue::print(policy.queue),
        "drain": policy.drain.map(duration::print),
        "disable_after": policy.disable_after.map_or_else(|| NEVER.to_owned(), duration::print),
    });
    for part in [target(settings, show), common] {
        if let (Value::Object(members), Value::Object(part)) = (&mut json, part) {
            members.extend(part);
        }
    }
    json
}

/// `url` or `file`, and what there is for this kind of target alone.
fn target(settings: &Settings, show: fn(&str) -> Value) -> Value {
    match &settings.target {
        Target::Http(url) => json!({
            "url": url,
            "method": settings.method,
            "headers": settings.headers.iter().map(|(name, value)| (name.clone(), show(value))).collect::<Map<_, _>>(),
            "auth": auth(settings.auth.as_ref(), show),
            "signing": signing(&settings.signing, show),
            "success": name_of(&settings.policy.success, &SUCCESSES),
            "guard": guard_name(settings.guard),
        }),
        Target::File(file) => json!({
            "file": file.path.as_str(),
            "rotate": file.rotate.map(|rotate| json!({"max_bytes": rotate.max_bytes, "keep": rotate.keep})),
        }),
    }
}

pub(super) fn name_of<T: PartialEq>(value: &T, names: &[(&'static str, T)]) -> &'static str {
    names.iter().find(|(_, named)| named == value).map_or("", |(name, _)| name)
}

pub(in crate::endpoint) fn guard_name(guard: Guard) -> &'static str {
    match guard {
        Guard::Private | Guard::PrivateNoLoopback => "private",
        Guard::Public | Guard::PublicAndLoopback => "public",
    }
}

fn auth(auth: Option<&Auth>, show: fn(&str) -> Value) -> Value {
    match auth {
        None => json!({"type": "none"}),
        Some(Auth::Bearer(token)) => json!({"type": "bearer", "token": show(token)}),
        Some(Auth::Basic { user, password }) => {
            json!({"type": "basic", "username": user, "password": show(password)})
        }
        Some(Auth::Verbatim(value)) => json!({"type": "verbatim", "value": show(value)}),
    }
}

pub(in crate::endpoint) fn in_clear(signing: &Signing) -> Value {
    self::signing(signing, |secret| secret.into())
}

fn signing(signing: &Signing, show: fn(&str) -> Value) -> Value {
    match signing {
        Signing::None => json!({"type": "none"}),
        Signing::Hmac(Hmac { header, prefix, encoding, secret }) => json!({
            "type": "hmac",
            "header": header,
            "prefix": prefix,
            "encoding": name_of(encoding, &ENCODINGS),
            "secret": secret.as_ref().map(|secret| show(secret.reveal())),
        }),
        Signing::Standard(standard) => {
            let secret = |SigningKey { key, until }: &SigningKey| match until {
                None => show(&key.reveal()),
                Some(until) => json!({"secret": show(&key.reveal()), "until": until}),
            };
            json!({
                "type": "standard",
                "scheme": standard.scheme().map(|scheme| name_of(&scheme, &SCHEMES)),
                "header_prefix": name_of(&standard.header_prefix, &HEADER_PREFIXES),
                "secrets": standard.keys.iter().map(secret).collect::<Vec<_>>(),
            })
        }
    }
}

fn retry(retry: &Retry) -> Value {
    let mut json = match &retry.backoff {
        Backoff::Delays(delays) => {
            json!({"delays": delays.iter().copied().map(duration::print).collect::<Vec<_>>()})
        }
        Backoff::Exponential { initial, factor, max_delay, max_attempts } => json!({
            "initial": duration::print(*initial),
            "factor": factor,
            "max_delay": duration::print(*max_delay),
            "max_attempts": max_attempts,
        }),
    };
    if let Value::Object(members) = &mut json {
        members.insert("jitter".to_owned(), retry.jitter.into());
        members.insert("max_age".to_owned(), duration::print(retry.max_age).into());
        members.insert("when".to_owned(), when(retry.when));
        members.insert("exhausted".to_owned(), name_of(&retry.exhausted, &EXHAUSTED).into());
    }
    json
}

fn when(when: RetryWhen) -> Value {
    let RetryWhen { transport, server_error, client_error, other } = when;
    let outcomes = [("transport", transport), ("5xx", server_error), ("4xx", client_error), ("other", other)];
    outcomes.iter().filter(|(_, repeated)| *repeated).map(|(name, _)| *name).collect()
}

fn breaker(breaker: &BreakerPolicy) -> Value {
    json!({
        "failures": breaker.failures,
        "min_events": breaker.min_events,
        "cooldown": duration::print(breaker.cooldown),
        "max_cooldown": duration::print(breaker.max_cooldown),
        "while_open": name_of(&breaker.while_open, &WHILE_OPEN),
        "unit": name_of(&breaker.unit, &UNITS),
    })
}
