//! What a call that works on many things is to work on: members of a JSON object, every mistake at once.

use std::{fmt::Display, str::FromStr};

use serde_json::{Map, Value};

use super::{call::Call, json::below};
use crate::{
    config::nearest::nearest,
    endpoint::{EndpointId, EndpointKey},
    error::{Fault, Invalid},
    pipeline::REPLAY_RATES,
};

/// The members of one object.
pub(super) struct Selection<'a> {
    members: Option<&'a Map<String, Value>>,
    place: &'a str,
    faults: Vec<Fault>,
}

impl<'a> Selection<'a> {
    /// What `value` says, which stands at `place`.
    pub(super) fn of(value: &'a Value, place: &'a str) -> Self {
        let members = value.as_object();
        let faults = members.is_none().then(|| Fault::new(place, "must be an object"));
        Self { members, place, faults: faults.into_iter().collect() }
    }

    /// The member `name`; a `null` counts as left out.
    pub(super) fn given(&self, name: &str) -> Option<&'a Value> {
        self.members?.get(name).filter(|value| !value.is_null())
    }

    pub(super) fn fault(&mut self, name: &str, detail: impl Into<String>) {
        self.faults.push(Fault::new(below(self.place, name), detail));
    }

    /// The member `name` as `T` reads it.
    pub(super) fn parse<T: FromStr<Err: Display>>(&mut self, name: &str) -> Option<T> {
        let Some(text) = self.given(name)?.as_str() else {
            self.fault(name, "must be a string");
            return None;
        };
        text.parse().map_err(|error: T::Err| self.fault(name, error.to_string())).ok()
    }

    /// The member `name`, one of these words.
    pub(super) fn choice<T: Copy>(&mut self, name: &str, choices: &[(&str, T)]) -> Option<T> {
        let given = self.given(name)?;
        let chosen = choices.iter().find(|(word, _)| given.as_str() == Some(word)).map(|(_, value)| *value);
        if chosen.is_none() {
            let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
            self.fault(name, format!("must be {}", words.join(" or ")));
        }
        chosen
    }

    /// `endpoint`: one that there is for the caller.
    pub(super) fn endpoint(&mut self, call: &Call) -> Option<EndpointKey> {
        let id: EndpointId = self.parse("endpoint")?;
        let known = call.known_endpoint(&id).map(|endpoint| endpoint.key);
        if known.is_none() {
            self.fault("endpoint", "is not the id of an endpoint");
        }
        known
    }

    /// The member `name`, `false` unless given.
    pub(super) fn flag(&mut self, name: &str) -> bool {
        let Some(given) = self.given(name) else { return false };
        given.as_bool().unwrap_or_else(|| {
            self.fault(name, "must be true or false");
            false
        })
    }

    /// `rate`: how many deliveries a job makes in a second. It is judged also where no job comes of it.
    pub(super) fn rate(&mut self) -> Option<f64> {
        let rate = self.given("rate")?.as_f64().filter(|rate| REPLAY_RATES.contains(rate));
        if rate.is_none() {
            self.fault("rate", format!("must be a number from {} to {}", REPLAY_RATES.start(), REPLAY_RATES.end()));
        }
        rate
    }

    /// Whether a mistake was found.
    pub(super) fn is_faulty(&self) -> bool {
        !self.faults.is_empty()
    }

    /// Refuses to work on everything there is, unless that was asked for in so many words.
    pub(super) fn expect_some(&mut self, some: bool) {
        if !some && self.faults.is_empty() {
            self.faults.push(Fault::new(self.place, "names no condition: say `\"all\": true` to mean all"));
        }
    }

    /// Refuses members that are none of `names`.
    ///
    /// # Errors
    /// Every mistake so far.
    pub(super) fn done(mut self, names: &[&str]) -> Result<(), Invalid> {
        for name in self.members.into_iter().flat_map(Map::keys).filter(|name| !names.contains(&name.as_str())) {
            let hint = nearest(name, names).map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            self.faults.push(Fault::new(below(self.place, name), format!("is not known here{hint}")));
        }
        Invalid::unless_empty(self.faults)
    }
}
