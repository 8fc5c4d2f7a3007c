//! Chains from JSON, in two forms with the same meaning: our own, `chains`, and the older `webhooks` with its own names.

use std::{collections::HashMap, time::Duration};

use serde_json::{Map, Value, json};
use url::Url;

use super::{
    ChainName, MAX_NAME_BYTES, MAX_STEPS,
    names::endpoint_id,
    plan::{ATTEMPTS, DEADLINE, Input, Kind, MAX_RESPONSE_BYTES, Plan, Step, TIMEOUT},
    print::SHARED,
};
use crate::{
    config::fields::{self, Field, Fields},
    endpoint::{
        EndpointId, Origin, Settings,
        settings::{Judge, limits},
    },
    error::{Fault, Invalid},
    event::NameError,
    transport::Perimeter,
};

/// Most chains in one configuration.
const MOST: usize = 10_000;
/// The deadline of a chain.
const DEADLINES: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(24 * 3600);
/// Most attempts of a step.
const MOST_ATTEMPTS: u32 = 10_000;
/// Most bytes of an answer.
const MOST_BYTES: usize = 16 << 20;
/// Methods of a synchronous step, and, of these, of an asynchronous one.
const METHODS: [&str; 5] = ["POST", "PUT", "PATCH", "GET", "DELETE"];
const ASYNC_METHODS: &[&str] = &["POST", "PUT", "PATCH"];

/// The chains of a program, from its configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct ChainConfig {
    pub(crate) enabled: bool,
    pub(crate) chains: Vec<(ChainName, Plan)>,
}

impl ChainConfig {
    /// Reads the members `webhooks` and `chains` of an object; others are passed over, as it may be the configuration of a
    /// whole program. URLs may point into the private network and to this machine.
    ///
    /// ```
    /// # use hookmill::ChainConfig;
    /// let config = ChainConfig::parse(&serde_json::json!({"webhooks": {"enabled": true, "config": {"OrderCreated": [
    ///     {"name": "stock", "url": "http://stock.internal/reserve", "method": "POST", "finalResponse": true},
    ///     {"name": "mail", "url": "http://mail.internal/send", "async": true, "useDataFrom": "stock"},
    /// ]}}}))?;
    /// assert!(config.is_enabled());
    /// # Ok::<(), hookmill::Invalid>(())
    /// ```
    ///
    /// # Errors
    /// Every mistake at once, with its place. What is not enabled is not looked at.
    pub fn parse(value: &Value) -> Result<Self, Invalid> {
        let is_there = |name| value.get(name).is_some_and(|value| !value.is_null());
        if value.is_object() && !is_there("webhooks") && !is_there("chains") {
            return Err(Invalid::at("#", "holds neither `webhooks` nor `chains`"));
        }
        let enabled = is_there("chains") || value.pointer("/webhooks/enabled") == Some(&Value::Bool(true));
        let perimeter = Perimeter::default();
        let judge = |url: &Url, guard| perimeter.judge_url(url, guard);
        fields::read(value, |fields| {
            fields.allow_unknown();
            Some(Self { enabled, chains: read(fields, Origin::Code, &judge) })
        })
    }

    /// Reads the same from YAML.
    ///
    /// # Errors
    /// As for [`ChainConfig::parse`]; also when it is no YAML.
    #[cfg(feature = "cli")]
    pub fn from_yaml(text: &str) -> Result<Self, Invalid> {
        let place = |error: serde_saphyr::Error| {
            let at =
                error.location().map_or_else(String::new, |at| format!("line {}, column {}: ", at.line(), at.column()));
            Invalid::at("#", format!("{at}{}", error.without_snippet()))
        };
        Self::parse(&serde_saphyr::from_str::<Value>(text).map_err(place)?)
    }

    /// Whether there are to be chains at all: `webhooks.enabled`, or `chains`.
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// How many chains there are.
    pub fn count(&self) -> usize {
        self.chains.len()
    }
}

/// The members of a step that the two forms call by different names.
struct Names {
    attempts: &'static str,
    use_data_from: &'static str,
    final_response: &'static str,
}

const OWN: Names = Names { attempts: "attempts", use_data_from: "use_data_from", final_response: "final_response" };
const HERITAGE: Names = Names { attempts: "numRetries", use_data_from: "useDataFrom", final_response: "finalResponse" };

/// Reads `chains` and `webhooks`; mistakes are reported through `fields`.
pub(crate) fn read(fields: &mut Fields<'_>, origin: Origin, judge: &dyn Judge) -> Vec<(ChainName, Plan)> {
    let source = Source { origin, judge };
    let heritage = fields.take("webhooks").and_then(|field| field.object(|fields| heritage(fields, source)));
    let own = fields.take("chains").and_then(|field| field.entries(MOST)).unwrap_or_default();
    let mut chains = heritage.unwrap_or_default();
    for (name, field) in own {
        let plan = read_plan(name, &field, source);
        let Some((name, plan)) = chain_name(name, &field).zip(plan) else { continue };
        if chains.iter().any(|(taken, _)| *taken == name) {
            field.fault("stands in `webhooks` too: give it once");
        }
        chains.push((name, plan));
    }
    chains
}

/// Reads one chain of our own form: `{"deadline", "steps"}`, or the steps alone.
///
/// # Errors
/// Every mistake at once, with its place.
pub(crate) fn parse(name: &ChainName, value: &Value, origin: Origin, judge: &dyn Judge) -> Result<Plan, Invalid> {
    parse_from(name, value, Source { origin, judge })
}

/// Reads one chain back that was written by [`Plan::to_json`]. Its addresses were judged when it was made, and are again at each
/// attempt.
///
/// # Errors
/// As for [`parse`].
pub(crate) fn restore(name: &ChainName, value: &Value, origin: Origin) -> Result<Plan, Invalid> {
    parse_from(name, value, Source { origin, judge: &|_: &Url, _| Ok(()) })
}

/// Who writes, and what may be written.
#[derive(Clone, Copy)]
struct Source<'a> {
    origin: Origin,
    judge: &'a dyn Judge,
}

fn parse_from(name: &ChainName, value: &Value, source: Source<'_>) -> Result<Plan, Invalid> {
    let whole = json!({ "chain": value });
    let plan = fields::read(&whole, |fields| read_plan(name.as_str(), &fields.require("chain")?, source));
    plan.map_err(|invalid| {
        let place = |fault: Fault| Fault { pointer: fault.pointer.replacen("#/chain", "#", 1), ..fault };
        let faults = Vec::from(invalid).into_iter().map(place).collect();
        Invalid::unless_empty(faults).err().unwrap_or_else(|| Invalid::at("#", "is incomplete"))
    })
}

fn heritage(fields: &mut Fields<'_>, source: Source<'_>) -> Option<Vec<(ChainName, Plan)>> {
    let enabled = fields.take("enabled").and_then(|field| field.flag()).unwrap_or(false);
    let config = fields.take("config");
    if !enabled {
        return None;
    }
    let chains = config?.entries(MOST)?;
    let chain = |(name, field): (&str, Field<'_>)| {
        let name = chain_name(name, &field);
        if field.value().is_null() {
            return None;
        }
        let steps = steps(name.as_ref(), &field, &HERITAGE, source)?;
        Some((name?, plan(None, steps)))
    };
    Some(chains.into_iter().filter_map(chain).collect())
}

fn chain_name(name: &str, field: &Field<'_>) -> Option<ChainName> {
    name.parse().map_err(|error: NameError| field.fault(format!("its name {error}"))).ok()
}

fn read_plan(name: &str, field: &Field<'_>, source: Source<'_>) -> Option<Plan> {
    let name = name.parse().ok();
    if field.value().is_array() {
        return Some(plan(None, steps(name.as_ref(), field, &OWN, source)?));
    }
    field.object(|fields| {
        let deadline = fields.take("deadline").and_then(|field| field.duration(DEADLINES));
        let steps = steps(name.as_ref(), &fields.require("steps")?, &OWN, source);
        Some(plan(deadline, steps?))
    })
}

fn plan(deadline: Option<Duration>, steps: Vec<Step>) -> Plan {
    let longest = steps.iter().filter_map(|step| step.timeout).max().unwrap_or_default();
    Plan { deadline: deadline.unwrap_or_else(|| DEADLINE.max(longest)), steps }
}

/// A step as it stands alone, with what is to be held against the others.
struct Draft {
    step: Option<Step>,
    is_async: bool,
    claims_final: bool,
}

fn steps(chain: Option<&ChainName>, field: &Field<'_>, names: &Names, source: Source<'_>) -> Option<Vec<Step>> {
    let items = field.list(0..=MAX_STEPS)?;
    let known: Vec<_> = items.iter().map(|item| item.value().get("name").and_then(Value::as_str)).collect();
    let mut first = HashMap::new();
    let mut drafts: Vec<Draft> = Vec::new();
    for (place, item) in items.iter().enumerate() {
        if let Some(name) = known.get(place).copied().flatten() {
            let first = *first.entry(name).or_insert(place);
            if first != place {
                item.nested::<()>(Err(Invalid::at("#/name", format!("is taken: step {first} has it"))));
            }
        }
        let earlier = Earlier { names: &known, drafts: &drafts };
        drafts.push(draft(chain, item, names, source, &earlier));
    }
    let finals = drafts.iter().filter(|draft| draft.claims_final && !draft.is_async).count();
    if finals != 1 && drafts.iter().any(|draft| !draft.is_async) {
        let rule = format!("must have one step with `{}`: it has {finals}", names.final_response);
        field.fault(rule);
    }
    drafts.into_iter().map(|draft| draft.step).collect()
}

/// What stands before a step, and the names of all.
struct Earlier<'a> {
    names: &'a [Option<&'a str>],
    drafts: &'a [Draft],
}

impl Earlier<'_> {
    /// The place of the synchronous step `name`.
    fn input(&self, name: &str) -> Result<Input, &'static str> {
        let place = self.names.iter().position(|known| *known == Some(name)).ok_or("names no step of this chain")?;
        match self.drafts.get(place) {
            None if place == self.drafts.len() => Err("names the step itself"),
            None => Err("names a later step"),
            Some(draft) if draft.is_async => Err("names an asynchronous step: nobody waits for its response"),
            Some(_) => Ok(Input::Response(place)),
        }
    }
}

fn draft(
    chain: Option<&ChainName>,
    item: &Field<'_>,
    names: &Names,
    source: Source<'_>,
    earlier: &Earlier<'_>,
) -> Draft {
    let flag = |name: &str| item.value().get(name).and_then(Value::as_bool).unwrap_or(false);
    let (is_async, claims_final) = (flag("async"), flag(names.final_response));
    let step = item.object(|fields| {
        let read = if names.attempts == OWN.attempts { own_settings } else { heritage_settings };
        let Shared { settings, timeout } = read(fields, item);
        let settings = judged(settings, item, names, source);
        let name = fields.require("name").and_then(|field| field.label(MAX_NAME_BYTES));
        let _read_above = fields.take("async").map(|field| field.flag());
        if let Some(field) = fields.take(names.final_response)
            && field.flag() == Some(true)
            && is_async
        {
            field.fault("is for synchronous steps: nobody waits for this one");
        }
        let attempts = fields.take(names.attempts).and_then(|field| field.whole(0..=MOST_ATTEMPTS));
        let input = fields.take(names.use_data_from);
        let input = input
            .filter(|field| field.value() != "")
            .map_or(Some(Input::Payload), |field| earlier.input(field.text()?).map_err(|rule| field.fault(rule)).ok());
        let bytes = fields.take("max_response_bytes").and_then(|field| field.whole(0..=MOST_BYTES));
        let method = method(fields, is_async);
        let endpoint = chain.zip(name).and_then(|(chain, name)| endpoint(chain, name, item));
        let mut settings = settings?;
        Step::adapt(&mut settings, &method?);
        Some(Step {
            name: name?.to_owned(),
            endpoint: endpoint?,
            settings,
            attempts: attempts.unwrap_or(ATTEMPTS).max(1),
            timeout: timeout?,
            input: input?,
            kind: if is_async { Kind::Async } else { Kind::Sync { is_final: claims_final } },
            max_response_bytes: bytes.filter(|_| !is_async).unwrap_or(MAX_RESPONSE_BYTES),
        })
    });
    Draft { step, is_async, claims_final }
}

/// What a step shares with endpoints, as it will be judged there, and its timeout.
struct Shared {
    settings: Map<String, Value>,
    /// `Some(None)` is none.
    timeout: Option<Option<Duration>>,
}

fn own_settings(fields: &mut Fields<'_>, _: &Field<'_>) -> Shared {
    let shared = SHARED.into_iter().filter_map(|name| Some((name.to_owned(), fields.take(name)?.value().clone())));
    let mut settings: Map<_, _> = shared.collect();
    if !settings.contains_key("signing") && !settings.contains_key("secret") {
        settings.insert("signing".to_owned(), json!({"type": "none"}));
    }
    let timeout = match fields.take("timeout") {
        None => Some(Some(TIMEOUT)),
        Some(field) if field.value() == "0s" => Some(None),
        Some(field) => field.duration(limits::TIMEOUT).map(Some),
    };
    Shared { settings, timeout }
}

fn heritage_settings(fields: &mut Fields<'_>, item: &Field<'_>) -> Shared {
    let mut settings = Map::from_iter([("signing".to_owned(), json!({"type": "none"}))]);
    for name in ["url", "success"] {
        settings.extend(fields.take(name).map(|field| (name.to_owned(), field.value().clone())));
    }
    let enabled = fields.take("authEnabled").and_then(|field| field.flag()).unwrap_or(false);
    let token = fields.take("authToken").filter(|field| field.value() != "");
    match token {
        Some(token) if enabled => {
            let auth = json!({"type": "bearer", "token": token.value()});
            settings.insert("auth".to_owned(), auth);
        }
        None if enabled => {
            item.nested::<()>(Err(Invalid::at("#/authToken", "is missing, and `authEnabled` asks for it")));
        }
        _ => {}
    }
    let timeout = match fields.take("timeout") {
        None => Some(Some(TIMEOUT)),
        Some(field) => {
            let seconds = field.whole(0..=86_400_u64);
            seconds.map(|seconds| (seconds > 0).then(|| Duration::from_secs(seconds)))
        }
    };
    Shared { settings, timeout }
}

fn judged(settings: Map<String, Value>, item: &Field<'_>, names: &Names, source: Source<'_>) -> Option<Settings> {
    let mut settings = Value::Object(settings);
    if settings.get("url").is_some_and(|url| url == "")
        && let Value::Object(members) = &mut settings
    {
        members.shift_remove("url");
    }
    let parsed = Settings::parse(&settings, source.origin, source.judge).map_err(|invalid| {
        let place = |fault: Fault| match fault.pointer.as_str() {
            "#/auth/token" if names.attempts == HERITAGE.attempts => {
                Fault { pointer: "#/authToken".to_owned(), ..fault }
            }
            _ => fault,
        };
        let faults = Vec::from(invalid).into_iter().map(place).collect();
        Invalid::unless_empty(faults).err().unwrap_or_else(|| Invalid::at("#", "is incomplete"))
    });
    let settings = item.nested(parsed)?;
    if settings.signing.is_incomplete() {
        item.nested::<()>(Err(Invalid::at("#/signing", "needs a secret: bring it as `secret`")));
    }
    Some(settings)
}

fn method(fields: &mut Fields<'_>, is_async: bool) -> Option<String> {
    let Some(field) = fields.take("method").filter(|field| field.value() != "") else { return Some("POST".to_owned()) };
    let methods = if is_async { ASYNC_METHODS } else { &METHODS };
    let method = field.text()?.to_ascii_uppercase();
    if !methods.contains(&method.as_str()) {
        field.fault(format!("must be one of {}", methods.join(", ")));
        return None;
    }
    Some(method)
}

fn endpoint(chain: &ChainName, step: &str, item: &Field<'_>) -> Option<EndpointId> {
    let endpoint = endpoint_id(chain, step);
    if endpoint.is_none() {
        item.nested::<()>(Err(Invalid::at("#/name", "is too long together with the name of its chain")));
    }
    endpoint
}
