//! Endpoints, debounce rules and chains as an operator's file declares them.

use std::collections::HashMap;

use serde_json::{Map, Value};
use url::Url;

use crate::{
    chain::{self, ChainName, Plan},
    config::fields::{Field, Fields, read},
    debounce::{Rule, RuleName},
    endpoint::{
        Endpoint, EndpointId, Origin, Settings,
        settings::{Judge, OF_REQUESTS},
        target,
    },
    error::{Fault, Invalid},
    event::NameError,
    transport::Perimeter,
};

/// Most endpoints, and most rules, in one file.
const MOST: usize = 100_000;

/// What each endpoint says for itself.
const OWN: [&str; 8] = ["id", "name", "url", "file", "rotate", "secret", "tenant", "state"];

/// Endpoints, debounce rules and chains that belong to an operator's file. They are there from the start, follow the file, and the
/// API can pause and resume the endpoints, nothing else.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Declared {
    pub(super) endpoints: Vec<DeclaredEndpoint>,
    pub(super) rules: Vec<(RuleName, Rule)>,
    pub(super) chains: Vec<(ChainName, Plan)>,
}

/// One endpoint of the file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct DeclaredEndpoint {
    pub(super) id: EndpointId,
    pub(super) settings: Settings,
    /// Whether the file names a `state`; if it does not, the endpoint stays in the state it is in.
    pub(super) names_state: bool,
}

impl DeclaredEndpoint {
    /// The settings that are to take the place of those of `old`, whose secret and state they keep where they name none.
    pub(super) fn over(&self, old: &Endpoint) -> Settings {
        let mut settings = self.settings.clone();
        settings.keep_secret_of(&old.settings);
        if !self.names_state {
            settings.state = old.settings.state;
        }
        settings
    }
}

impl Declared {
    /// Reads an object of `endpoints`, a list of settings as in the API with an `id` each, `defaults`, settings for those of them
    /// that say nothing else and name no `preset`, `debounce_rules`, by name, and `chains`, by event, or `webhooks`, see [`ChainConfig::parse`](crate::ChainConfig::parse).
    /// Endpoints are judged as the operator's own: their guard is `private` unless they say otherwise.
    ///
    /// ```
    /// # use hookmill::Declared;
    /// let file = serde_json::json!({
    ///     "endpoints": [{"id": "crm", "url": "https://example.org/hook"}, {"url": "ftp://example.org/"}],
    ///     "debounce_rules": {"alarms": {"topics": ["alarm.*"], "window": "often"}},
    /// });
    /// let places: Vec<_> = Declared::parse(&file).unwrap_err().faults().iter().map(|it| it.pointer.clone()).collect();
    /// assert_eq!(places, ["#/endpoints/1/id", "#/endpoints/1/url", "#/debounce_rules/alarms/window"]);
    /// ```
    ///
    /// # Errors
    /// Every mistake at once, with its place.
    pub fn parse(value: &Value) -> Result<Self, Invalid> {
        read(value, |fields| Some(Self::read(fields, &Perimeter::default())))
    }

    /// Reads the same members among others, with URLs judged as `perimeter` does; mistakes are reported through `fields`.
    pub fn read(fields: &mut Fields<'_>, perimeter: &Perimeter) -> Self {
        let defaults = fields.take("defaults");
        let endpoints = fields.take("endpoints").and_then(|field| field.list(0..=MOST)).unwrap_or_default();
        let rules = fields.take("debounce_rules").and_then(|field| field.entries(MOST)).unwrap_or_default();
        let rules = rules.into_iter().filter_map(|(name, field)| rule(name, &field));
        let judge = |url: &Url, guard| perimeter.judge_url(url, guard);
        let defaults = defaults.and_then(|field| read_defaults(&field, &judge)).unwrap_or_default();
        let (endpoints, rules) = (read_endpoints(&endpoints, &defaults, &judge), rules.collect());
        Self { endpoints, rules, chains: chain::read(fields, Origin::Operator, &judge) }
    }

    /// Refuses endpoints whose files `disturbing` finds in the way of others.
    pub(super) fn expect_undisturbing(
        &self,
        disturbing: impl FnOnce(&[(&EndpointId, &Settings)]) -> Vec<(usize, String)>,
    ) -> Result<(), Invalid> {
        let all: Vec<_> = self.endpoints.iter().map(|endpoint| (&endpoint.id, &endpoint.settings)).collect();
        Invalid::unless_empty(disturbing(&all).into_iter().map(in_the_way).collect())
    }

    /// The numbers of endpoints and of rules.
    pub fn counts(&self) -> (usize, usize) {
        (self.endpoints.len(), self.rules.len())
    }

    /// The number of chains.
    pub fn chain_count(&self) -> usize {
        self.chains.len()
    }

    /// For people: every setting with its default, in the form that [`Declared::parse`] reads, secrets masked. A `state` is
    /// shown only where it is named: elsewhere it is not the file that decides.
    pub fn to_masked_json(&self) -> Value {
        let endpoint = |endpoint: &DeclaredEndpoint| {
            let mut shown = endpoint.settings.to_masked_json();
            if let Value::Object(members) = &mut shown {
                members.insert("id".to_owned(), endpoint.id.as_str().into());
                if !endpoint.names_state {
                    members.remove("state");
                }
            }
            shown
        };
        let rules = self.rules.iter().map(|(name, rule)| (name.to_string(), rule.to_json()));
        let chains = self.chains.iter().map(|(name, plan)| (name.to_string(), plan.to_masked_json()));
        Value::Object(Map::from_iter([
            ("endpoints".to_owned(), self.endpoints.iter().map(endpoint).collect()),
            ("debounce_rules".to_owned(), Value::Object(rules.collect())),
            ("chains".to_owned(), Value::Object(chains.collect())),
        ]))
    }
}

/// Settings for every endpoint that says nothing else.
fn read_defaults(field: &Field<'_>, judge: &impl Judge) -> Option<Map<String, Value>> {
    let mut defaults = field.map()?.clone();
    for name in OWN {
        if defaults.shift_remove(name).is_some() {
            let fault = Invalid::at(format!("#/{name}"), "is for each endpoint to say");
            let _reported: Option<()> = field.nested(Err(fault));
        }
    }
    let mut whole = defaults.clone();
    whole.insert("url".to_owned(), "https://example.org/".into());
    field.nested(Settings::parse(&Value::Object(whole), Origin::Operator, judge)).map(|_| defaults)
}

/// What an endpoint says, and what it leaves to `defaults`: each setting as a whole.
fn completed(mut members: Map<String, Value>, defaults: &Map<String, Value>) -> Map<String, Value> {
    let is_given = |name| members.get(name).is_some_and(|value: &Value| !value.is_null());
    let (preset, to_file) = (is_given("preset"), is_given("file"));
    if preset {
        return members;
    }
    for (name, value) in defaults {
        if !(members.contains_key(name) || to_file && OF_REQUESTS.contains(&name.as_str())) {
            members.insert(name.clone(), value.clone());
        }
    }
    members
}

fn read_endpoints(fields: &[Field<'_>], defaults: &Map<String, Value>, judge: &impl Judge) -> Vec<DeclaredEndpoint> {
    let mut first = HashMap::new();
    for (index, field) in fields.iter().enumerate() {
        let Some(id) = field.value().get("id").and_then(Value::as_str) else { continue };
        let first = *first.entry(id).or_insert(index);
        if first != index {
            let detail = format!("is taken: #/endpoints/{first} has it");
            let _reported: Option<()> = field.nested(Err(Invalid::at("#/id", detail)));
        }
    }
    let endpoint = |field: &Field<'_>| field.nested(endpoint(completed(field.map()?.clone(), defaults), judge));
    let (fields, endpoints): (Vec<_>, Vec<_>) =
        fields.iter().filter_map(|field| Some((field, endpoint(field)?))).unzip();
    let targets: Vec<_> = endpoints.iter().map(|endpoint| (&endpoint.id, &endpoint.settings.target)).collect();
    for (index, why) in target::disturbing(&[], &targets, None) {
        let _reported: Option<()> = fields.get(index).and_then(|field| field.nested(Err(Invalid::at("#/file", why))));
    }
    endpoints
}

/// The mistake that the endpoint at this place has a file which is in the way of another's.
pub(super) fn in_the_way((index, why): (usize, String)) -> Fault {
    Fault::new(format!("#/endpoints/{index}/file"), why)
}

fn endpoint(mut members: Map<String, Value>, judge: &impl Judge) -> Result<DeclaredEndpoint, Invalid> {
    let id = match members.remove("id") {
        None => Err("is missing".to_owned()),
        Some(Value::String(id)) => match id.parse::<EndpointId>() {
            Ok(id) if id.is_of_chain() => Err("is for a step of a chain: ids of others hold no dot".to_owned()),
            parsed => parsed.map_err(|error| error.to_string()),
        },
        Some(_) => Err("must be a string".to_owned()),
    };
    let names_state = members.get("state").is_some_and(|state| !state.is_null());
    let settings = Settings::parse(&Value::Object(members), Origin::Operator, judge);
    match (id, settings) {
        (Ok(id), Ok(settings)) => Ok(DeclaredEndpoint { id, settings, names_state }),
        (Ok(_), Err(invalid)) => Err(invalid),
        (Err(detail), settings) => {
            let mut faults = vec![Fault::new("#/id", detail)];
            faults.extend(settings.err().map(Vec::from).unwrap_or_default());
            Err(Invalid::unless_empty(faults).err().unwrap_or_else(|| Invalid::at("#/id", "is wrong")))
        }
    }
}

fn rule(name: &str, field: &Field<'_>) -> Option<(RuleName, Rule)> {
    let name = name.parse().map_err(|error: NameError| field.fault(format!("its name {error}"))).ok();
    let rule = field.nested(Rule::parse(field.value()));
    Some((name?, rule?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_endpoint_takes_what_it_does_not_say_from_the_defaults() {
        let file = json!({
            "defaults": {"timeout": "3s", "retry": {"delays": ["1s"]}, "headers": {"x-team": "a"}, "in_flight": 2},
            "endpoints": [
                {"id": "a", "url": "https://example.org/"},
                {"id": "b", "url": "https://example.org/", "timeout": "4s", "retry": {"delays": []}, "in_flight": null},
                {"id": "c", "url": "https://example.org/", "preset": "daemon"},
                {"id": "d", "file": "/var/log/d.jsonl"},
            ],
        });
        let shown = Declared::parse(&file).unwrap().to_masked_json();
        let of = |index: usize, path: &str| shown.pointer(&format!("/endpoints/{index}{path}")).cloned();
        assert_eq!((of(0, "/timeout"), of(0, "/retry/delays")), (Some(json!("3s")), Some(json!(["1s"]))));
        assert_eq!((of(1, "/timeout"), of(1, "/retry/delays")), (Some(json!("4s")), Some(json!([]))), "zero is zero");
        assert_eq!((of(0, "/in_flight"), of(1, "/in_flight")), (Some(json!(2)), Some(json!(8))), "null is the usual");
        let preset = json!({"endpoints": [{"id": "c", "url": "https://example.org/", "preset": "daemon"}]});
        let alone = Declared::parse(&preset).unwrap().to_masked_json();
        assert_eq!(of(2, "/retry"), alone.pointer("/endpoints/0/retry").cloned(), "a preset is all there is");
        assert_eq!((of(3, "/timeout"), of(3, "/headers")), (Some(json!("3s")), None), "a file is not requested");
    }

    #[test]
    fn mistakes_in_the_defaults_are_named_once_and_there() {
        let file = json!({
            "defaults": {"timeout": "soon", "url": "https://example.org/", "colour": 1},
            "endpoints": [{"id": "a", "url": "https://example.org/"}],
        });
        let invalid = Declared::parse(&file).unwrap_err();
        let places: Vec<_> = invalid.faults().iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(places, ["#/defaults/url", "#/defaults/timeout", "#/defaults/colour"]);
    }
}
