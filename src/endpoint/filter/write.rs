//! Filters as JSON.

use serde_json::{Map, Value, json};

use super::{Filter, Tests};

impl Filter {
    /// As it is read.
    pub fn to_json(&self) -> Value {
        let list = |filters: &[Self]| filters.iter().map(Self::to_json).collect::<Value>();
        match self {
            Self::All(filters) => json!({"all": list(filters)}),
            Self::Any(filters) => json!({"any": list(filters)}),
            Self::Not(filter) => json!({"not": filter.to_json()}),
            Self::At(tests) => print(tests),
        }
    }
}

fn print(tests: &Tests) -> Value {
    let Tests { pointer, only, except, prefix, suffix, exists, min, max } = tests;
    let members = [
        ("pointer", Some(pointer.to_string().into())),
        ("only", only.clone().map(Value::from)),
        ("except", except.clone().map(Value::from)),
        ("prefix", prefix.clone().map(Value::from)),
        ("suffix", suffix.clone().map(Value::from)),
        ("exists", exists.map(Value::from)),
        ("min", min.clone().map(Value::from)),
        ("max", max.clone().map(Value::from)),
    ];
    let members = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(members.collect::<Map<_, _>>())
}
