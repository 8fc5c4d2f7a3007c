//! Chains as JSON, in our own form.

use serde_json::{Map, Value, json};

use super::plan::{Input, Kind, Plan, Step};
use crate::{config::duration, endpoint::Settings};

/// Settings that a step shares with endpoints.
pub(super) const SHARED: [&str; 7] = ["url", "headers", "auth", "signing", "secret", "guard", "success"];

impl Plan {
    /// Everything, secrets in clear: for the store. It reads back to an equal plan.
    pub fn to_json(&self) -> Value {
        self.print(Settings::to_json)
    }

    /// For people: header values, credentials and secrets masked.
    pub fn to_masked_json(&self) -> Value {
        self.print(Settings::to_masked_json)
    }

    fn print(&self, print: fn(&Settings) -> Value) -> Value {
        let steps: Vec<_> = self.steps.iter().map(|step| self.step(step, print)).collect();
        json!({"deadline": duration::print(self.deadline), "steps": steps})
    }

    fn step(&self, step: &Step, print: fn(&Settings) -> Value) -> Value {
        let used = match step.input {
            Input::Payload => None,
            Input::Response(place) => self.steps.get(place).map(|step| step.name.as_str()),
        };
        let mut members = Map::from_iter([("name".to_owned(), step.name.as_str().into())]);
        if let Value::Object(settings) = print(&step.settings) {
            members.extend(settings.into_iter().filter(|(name, _)| SHARED.contains(&name.as_str())));
        }
        let own = [
            ("method", json!(step.settings.method)),
            ("async", json!(step.is_async())),
            ("attempts", json!(step.attempts)),
            ("timeout", json!(step.timeout_text())),
            ("use_data_from", json!(used)),
        ];
        members.extend(own.map(|(name, value)| (name.to_owned(), value)));
        if let Kind::Sync { is_final } = step.kind {
            members.insert("final_response".to_owned(), is_final.into());
            members.insert("max_response_bytes".to_owned(), step.max_response_bytes.into());
        }
        Value::Object(members)
    }
}
