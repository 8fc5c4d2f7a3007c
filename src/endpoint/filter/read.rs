//! Filters from JSON.

use serde_json::{Number, Value};

use super::{Filter, MAX_CONDITIONS, MAX_DEPTH, MAX_FILTER_BYTES, MAX_VALUES, Tests, number::compare};
use crate::config::fields::{Field, Fields};

impl Filter {
    /// Reads a filter. Mistakes are reported to the field.
    pub(in crate::endpoint) fn read(field: &Field<'_>) -> Option<Self> {
        if field.value().to_string().len() > MAX_FILTER_BYTES {
            field.fault(format!("must be {} KiB of JSON at most", MAX_FILTER_BYTES >> 10));
            return None;
        }
        let filter = filter(field, MAX_DEPTH)?;
        if filter.conditions() > MAX_CONDITIONS {
            field.fault(format!("must have {MAX_CONDITIONS} conditions at most"));
        }
        Some(filter)
    }
}

fn filter(field: &Field<'_>, levels: usize) -> Option<Filter> {
    let Some(below) = levels.checked_sub(1) else {
        field.fault(format!("must be nested {MAX_DEPTH} levels at most"));
        return None;
    };
    let given = |name: &str| field.value().get(name).is_some_and(|value| !value.is_null());
    match ["all", "any", "not"].map(given) {
        [true, ..] => field.object(|fields| nested(fields, "all", below).map(Filter::All)),
        [_, true, _] => field.object(|fields| nested(fields, "any", below).map(Filter::Any)),
        [.., true] => field.object(|fields| {
            let inner = fields.require("not").and_then(|field| filter(&field, below));
            inner.map(Box::new).map(Filter::Not)
        }),
        _ => field.object(|fields| tests(field, fields)).map(Box::new).map(Filter::At),
    }
}

fn nested(fields: &mut Fields<'_>, name: &'static str, levels: usize) -> Option<Vec<Filter>> {
    let filters: Vec<_> =
        fields.require(name)?.list(1..=MAX_CONDITIONS)?.iter().map(|field| filter(field, levels)).collect();
    filters.into_iter().collect()
}

fn tests(whole: &Field<'_>, fields: &mut Fields<'_>) -> Option<Tests> {
    let pointer = fields.require("pointer").and_then(|field| field.parse());
    let only = fields.take("only").map(|field| values(&field));
    let except = fields.take("except").map(|field| values(&field));
    let prefix = fields.take("prefix").map(|field| text(&field));
    let suffix = fields.take("suffix").map(|field| text(&field));
    let exists = fields.take("exists").map(|field| field.flag());
    let min = fields.take("min").map(|field| number(&field));
    let max = fields.take("max").map(|field| {
        let max = number(&field)?;
        if min.as_ref().and_then(Option::as_ref).is_some_and(|min| compare(min, &max).is_gt()) {
            field.fault("must not be less than `min`");
        }
        Some(max)
    });
    let asked = only.is_some() || except.is_some() || prefix.is_some() || suffix.is_some() || exists.is_some();
    if !asked && min.is_none() && max.is_none() {
        whole.fault("must test something: `only`, `except`, `prefix`, `suffix`, `exists`, `min` or `max`");
    }
    let (only, except, exists) = (only.flatten(), except.flatten(), exists.flatten());
    let (prefix, suffix) = (prefix.flatten(), suffix.flatten());
    Some(Tests { pointer: pointer?, only, except, prefix, suffix, exists, min: min.flatten(), max: max.flatten() })
}

fn values(field: &Field<'_>) -> Option<Vec<Value>> {
    let items = field.list(1..=MAX_VALUES)?;
    for item in items.iter().filter(|item| item.value().is_array() || item.value().is_object()) {
        item.fault("must be a string, a number, true, false or null");
    }
    Some(items.iter().map(|item| item.value().clone()).collect())
}

fn text(field: &Field<'_>) -> Option<String> {
    field.text().map(str::to_owned)
}

fn number(field: &Field<'_>) -> Option<Number> {
    let number = field.value().as_number();
    if number.is_none() {
        field.fault("must be a number");
    }
    number.cloned()
}
