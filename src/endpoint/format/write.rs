//! Formats as JSON.

use serde_json::{Map, Value, json};

use super::{
    Format, Lookup, Part,
    read::{NAMES, READ_AS},
};

impl Format {
    /// As it is read.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Map(part) => match part.as_ref() {
                Part::Merge(parts) => json!({"merge": array(parts)}),
                part => json!({"map": print(part)}),
            },
            named => NAMES.iter().find(|(_, format)| format == named).map_or("", |(name, _)| name).into(),
        }
    }
}

fn print(part: &Part) -> Value {
    match part {
        Part::Literal(value @ (Value::Array(_) | Value::Object(_))) => json!({"literal": value}),
        Part::Literal(value) => value.clone(),
        Part::Object(members) => members.iter().map(|(name, part)| (name.clone(), print(part))).collect(),
        Part::Array(parts) => array(parts),
        Part::Merge(parts) => json!({"merge": array(parts)}),
        Part::Concat(parts) => json!({"concat": array(parts)}),
        Part::Lookup(lookup) => print_lookup(lookup),
    }
}

fn array(parts: &[Part]) -> Value {
    parts.iter().map(print).collect()
}

fn print_lookup(lookup: &Lookup) -> Value {
    let Lookup { from, read_as, percent, name_prefix, default } = lookup;
    let read_as = read_as.and_then(|read_as| READ_AS.iter().find(|(_, known)| *known == read_as));
    let members = [
        ("from", Some(from.to_string().into())),
        ("as", read_as.map(|(name, _)| (*name).into())),
        ("encode", percent.then(|| "percent".into())),
        ("name_prefix", name_prefix.clone().map(Value::from)),
        ("default", default.as_ref().map(print)),
    ];
    let members = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(members.collect::<Map<_, _>>())
}
