//! Which events an endpoint wants, beyond their topics: the `filter` setting.

mod number;
mod read;
#[cfg(test)]
pub(super) mod tests;
mod write;

use serde_json::{Number, Value};

use crate::event::pointer::{Pointer, View};
use number::compare;

/// A condition on an event. Declarative on purpose: judging costs no more than the filter is long and the data is large.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// All of these hold.
    All(Vec<Filter>),
    /// At least one of these holds.
    Any(Vec<Filter>),
    /// This does not hold.
    Not(Box<Filter>),
    /// The value at a place passes every one of these tests.
    At(Box<Tests>),
}

/// Most filters of all kinds within one.
pub const MAX_CONDITIONS: usize = 64;
/// Deepest nesting of `all`, `any` and `not`, a filter without them counting one.
pub const MAX_DEPTH: usize = 8;
/// Most values in one `only` or `except`.
pub const MAX_VALUES: usize = 1000;
/// Longest filter, in bytes of JSON.
pub const MAX_FILTER_BYTES: usize = 64 << 10;

/// Tests of the value at one place. At least one is set.
#[derive(Clone, Debug, PartialEq)]
pub struct Tests {
    /// The place.
    pub pointer: Pointer,
    /// It is one of these; strings exactly, numbers by value (`1` is `1.0`). A missing value is none of them.
    pub only: Option<Vec<Value>>,
    /// It is none of these, and may be missing. Not asked when there is `only`.
    pub except: Option<Vec<Value>>,
    /// It is a string that begins so.
    pub prefix: Option<String>,
    /// It is a string that ends so.
    pub suffix: Option<String>,
    /// Whether there is a value, `null` being one.
    pub exists: Option<bool>,
    /// It is a number, at least this.
    pub min: Option<Number>,
    /// It is a number, at most this.
    pub max: Option<Number>,
}

impl Filter {
    /// Whether the event of `view` passes. Depends on nothing else.
    pub fn matches(&self, view: &View<'_>) -> bool {
        match self {
            Self::All(filters) => filters.iter().all(|filter| filter.matches(view)),
            Self::Any(filters) => filters.iter().any(|filter| filter.matches(view)),
            Self::Not(filter) => !filter.matches(view),
            Self::At(tests) => {
                let found = view.raw(&tests.pointer);
                tests.pass(found.as_deref().map(Found::of).as_ref())
            }
        }
    }

    /// How many filters this is, itself among them.
    pub fn conditions(&self) -> usize {
        match self {
            Self::All(filters) | Self::Any(filters) => 1 + filters.iter().map(Self::conditions).sum::<usize>(),
            Self::Not(filter) => 1 + filter.conditions(),
            Self::At(_) => 1,
        }
    }
}

/// A value of an event, as far as filters look at it.
enum Found {
    Scalar(Value),
    /// An array or an object, or a number beyond all bounds: exists and equals nothing.
    Other,
}

impl Found {
    fn of(json: &str) -> Self {
        match json.as_bytes().first() {
            Some(b'[' | b'{') => Self::Other,
            _ => serde_json::from_str(json).map_or(Self::Other, Self::Scalar),
        }
    }

    fn is_one_of(&self, values: &[Value]) -> bool {
        match self {
            Self::Scalar(value) => values.iter().any(|other| same(value, other)),
            Self::Other => false,
        }
    }

    fn text(&self) -> Option<&str> {
        match self {
            Self::Scalar(value) => value.as_str(),
            Self::Other => None,
        }
    }

    fn number(&self) -> Option<&Number> {
        match self {
            Self::Scalar(Value::Number(number)) => Some(number),
            _ => None,
        }
    }
}

fn same(value: &Value, other: &Value) -> bool {
    match (value, other) {
        (Value::Number(value), Value::Number(other)) => compare(value, other).is_eq(),
        _ => value == other,
    }
}

impl Tests {
    fn pass(&self, found: Option<&Found>) -> bool {
        let listed = match (&self.only, &self.except) {
            (Some(only), _) => found.is_some_and(|found| found.is_one_of(only)),
            (None, Some(except)) => !found.is_some_and(|found| found.is_one_of(except)),
            (None, None) => true,
        };
        let holds = |asked: &Option<String>, test: fn(&str, &str) -> bool| {
            asked.as_ref().is_none_or(|part| found.and_then(Found::text).is_some_and(|text| test(text, part)))
        };
        let within = |bound: &Option<Number>, test: fn(std::cmp::Ordering) -> bool| {
            let number = found.and_then(Found::number);
            bound.as_ref().is_none_or(|bound| number.is_some_and(|number| test(compare(number, bound))))
        };
        listed
            && self.exists.is_none_or(|exists| exists == found.is_some())
            && holds(&self.prefix, |text, part| text.starts_with(part))
            && holds(&self.suffix, |text, part| text.ends_with(part))
            && within(&self.min, std::cmp::Ordering::is_ge)
            && within(&self.max, std::cmp::Ordering::is_le)
    }
}
