//! Reads objects field by field and collects every mistake with its place, instead of stopping at the first.
//!
//! A reader asks for fields by name and type. What is wrong becomes a [`Fault`] at its JSON Pointer (RFC 6901, as a URI
//! fragment) and reads as `None`; the reader goes on with a default, and [`read`] refuses the whole in the end.
//!
//! ```
//! # use hookmill::config::fields::read;
//! let value = serde_json::json!({"in_flight": 0, "retries": {"max": "many"}});
//! let result = read(&value, |fields| {
//!     let in_flight = fields.take("in_flight").and_then(|field| field.whole(1..=64_u16));
//!     let max = fields.take("retries").and_then(|field| {
//!         field.object(|retries| retries.take("max").and_then(|field| field.whole(0..=9_u16)))
//!     });
//!     Some((in_flight, max))
//! });
//! assert_eq!(
//!     result.unwrap_err().to_string(),
//!     "#/in_flight: must be a whole number from 1 to 64; #/retries/max: must be a whole number from 0 to 9"
//! );
//! ```

use std::{cell::RefCell, fmt::Display, ops::RangeInclusive, str::FromStr, time::Duration};

use serde_json::{Map, Number, Value};

use super::{duration, nearest::nearest};
use crate::error::{Fault, Invalid};

/// Mistakes reported of one input; further ones are found once these are mended.
pub const MAX_FAULTS: usize = 100;

/// No control characters, as a regular expression.
pub(crate) const PRINTED: &str = r"^[^\u0000-\u001f\u007f-\u009f]*$";

/// Reads an object with `reader`, then refuses every name that `reader` did not ask for.
///
/// # Errors
/// Every mistake, up to [`MAX_FAULTS`]; also when `reader` returns `None`.
pub fn read<T>(value: &Value, reader: impl FnOnce(&mut Fields<'_>) -> Option<T>) -> Result<T, Invalid> {
    let faults = RefCell::default();
    let whole = Field { value, place: "#".to_owned(), faults: &faults };
    let result = whole.object(reader);
    Invalid::unless_empty(faults.into_inner())?;
    result.ok_or_else(|| Invalid::at("#", "is incomplete"))
}

/// The members of one object.
pub struct Fields<'a> {
    map: &'a Map<String, Value>,
    place: String,
    faults: &'a RefCell<Vec<Fault>>,
    known: Vec<&'static str>,
    any_name: bool,
}

impl<'a> Fields<'a> {
    /// The member `name`, if it is there; a `null` counts as left out.
    pub fn take(&mut self, name: &'static str) -> Option<Field<'a>> {
        self.known.push(name);
        let value = self.map.get(name).filter(|value| !value.is_null())?;
        Some(Field { value, place: below(&self.place, name), faults: self.faults })
    }

    /// The member `name`, if it is there, also when it is `null`.
    pub fn take_even_null(&mut self, name: &'static str) -> Option<Field<'a>> {
        self.known.push(name);
        let value = self.map.get(name)?;
        Some(Field { value, place: below(&self.place, name), faults: self.faults })
    }

    /// The member `name`, which must be there.
    pub fn require(&mut self, name: &'static str) -> Option<Field<'a>> {
        let field = self.take(name);
        if field.is_none() {
            push(self.faults, &below(&self.place, name), "is missing");
        }
        field
    }

    /// Does not refuse unknown names: what they mean cannot be told, as another mistake hides it.
    pub fn allow_unknown(&mut self) {
        self.any_name = true;
    }

    /// Knows these names and leaves them unread.
    pub fn allow(&mut self, names: &[&'static str]) {
        self.known.extend(names);
    }

    fn refuse_unknown(&self) {
        let unknown = self.map.keys().filter(|name| !self.known.contains(&name.as_str()));
        for name in unknown.filter(|_| !self.any_name) {
            let hint = nearest(name, &self.known).map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            push(self.faults, &below(&self.place, name), format!("is not a known setting{hint}"));
        }
    }
}

/// One value with its place.
pub struct Field<'a> {
    value: &'a Value,
    place: String,
    faults: &'a RefCell<Vec<Fault>>,
}

impl<'a> Field<'a> {
    /// Reports a mistake at this place.
    pub fn fault(&self, detail: impl Into<String>) {
        push(self.faults, &self.place, detail);
    }

    fn or_fault<T>(&self, value: Option<T>, rule: impl FnOnce() -> String) -> Option<T> {
        if value.is_none() {
            self.fault(rule());
        }
        value
    }

    /// The value as it is.
    pub fn value(&self) -> &'a Value {
        self.value
    }

    /// A string.
    pub fn text(&self) -> Option<&'a str> {
        self.or_fault(self.value.as_str(), || "must be a string".to_owned())
    }

    /// A string of 1 to `max_bytes` bytes without control characters.
    pub fn label(&self, max_bytes: usize) -> Option<&'a str> {
        let text = self.text()?;
        let fits = (1..=max_bytes).contains(&text.len()) && !text.contains(char::is_control);
        self.or_fault(fits.then_some(text), || format!("must be 1 to {max_bytes} bytes without control characters"))
    }

    /// A string that `T` reads.
    pub fn parse<T: FromStr<Err: Display>>(&self) -> Option<T> {
        self.text()?.parse().map_err(|error: T::Err| self.fault(error.to_string())).ok()
    }

    /// One of these strings, read as the value beside it.
    pub fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Option<T> {
        let chosen = self.value.as_str().and_then(|text| choices.iter().find(|(name, _)| *name == text));
        self.or_fault(chosen.map(|(_, value)| *value), || {
            let names: Vec<_> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
            format!("must be {}", names.join(" or "))
        })
    }

    /// `true` or `false`.
    pub fn flag(&self) -> Option<bool> {
        self.or_fault(self.value.as_bool(), || "must be true or false".to_owned())
    }

    /// A whole number within `range`, also one that is written as a fraction: `8.0`, `1e3`.
    pub fn whole<T: TryFrom<u64> + PartialOrd + Display>(&self, range: RangeInclusive<T>) -> Option<T> {
        let number = self.value.as_number().and_then(whole).and_then(|number| number.as_u64());
        let number = number.and_then(|number| T::try_from(number).ok());
        self.or_fault(number.filter(|number| range.contains(number)), || {
            format!("must be a whole number from {} to {}", range.start(), range.end())
        })
    }

    /// A number within `range`.
    pub fn number(&self, range: RangeInclusive<f64>) -> Option<f64> {
        self.or_fault(self.value.as_f64().filter(|number| range.contains(number)), || {
            format!("must be a number from {} to {}", range.start(), range.end())
        })
    }

    /// A duration within `range`, written as [`duration::parse`] reads it.
    pub fn duration(&self, range: RangeInclusive<Duration>) -> Option<Duration> {
        let parsed = self.value.as_str().and_then(|text| duration::parse(text).ok());
        self.or_fault(parsed.filter(|parsed| range.contains(parsed)), || {
            let (shortest, longest) = (duration::print(*range.start()), duration::print(*range.end()));
            format!("must be a duration from {shortest} to {longest}, such as \"{longest}\"")
        })
    }

    /// The items of an array whose length is within `lengths`.
    pub fn list(&self, lengths: RangeInclusive<usize>) -> Option<Vec<Self>> {
        let items = self.or_fault(self.value.as_array(), || "must be an array".to_owned())?;
        let fitting = lengths.contains(&items.len()).then_some(items);
        let items = self.or_fault(fitting, || format!("must have {} to {} items", lengths.start(), lengths.end()))?;
        let place = |(n, value)| Self { value, place: format!("{}/{n}", self.place), faults: self.faults };
        Some(items.iter().enumerate().map(place).collect())
    }

    /// The items of an array whose length is within `lengths`, each as `T` reads it.
    pub fn parsed<T: FromStr<Err: Display>>(&self, lengths: RangeInclusive<usize>) -> Option<Vec<T>> {
        let items: Vec<Option<T>> = self.list(lengths)?.iter().map(Self::parse).collect();
        items.into_iter().collect()
    }

    /// The members of an object whose names are the user's own, at most `most`.
    pub fn entries(&self, most: usize) -> Option<Vec<(&'a str, Self)>> {
        let map = self.map()?;
        let map = self.or_fault((map.len() <= most).then_some(map), || format!("must have {most} members at most"))?;
        let entry = |(name, value): (&'a String, &'a Value)| {
            (name.as_str(), Self { value, place: below(&self.place, name), faults: self.faults })
        };
        Some(map.iter().map(entry).collect())
    }

    /// Any object.
    pub fn map(&self) -> Option<&'a Map<String, Value>> {
        self.or_fault(self.value.as_object(), || "must be an object".to_owned())
    }

    /// What was read from this value on its own; its mistakes are reported below this place.
    pub fn nested<T>(&self, result: Result<T, Invalid>) -> Option<T> {
        let prefix = self.place.strip_prefix('#').unwrap_or(&self.place);
        let report = |fault: Fault| push(self.faults, &fault.pointer, fault.detail);
        result.map_err(|invalid| Vec::from(invalid.below(prefix)).into_iter().for_each(report)).ok()
    }

    /// An object that `reader` reads; names it did not ask for are refused.
    pub fn object<T>(&self, reader: impl FnOnce(&mut Fields<'_>) -> Option<T>) -> Option<T> {
        let place = self.place.clone();
        let mut fields = Fields { map: self.map()?, place, faults: self.faults, known: Vec::new(), any_name: false };
        let result = reader(&mut fields);
        fields.refuse_unknown();
        result
    }
}

fn push(faults: &RefCell<Vec<Fault>>, place: &str, detail: impl Into<String>) {
    let mut faults = faults.borrow_mut();
    if faults.len() < MAX_FAULTS {
        faults.push(Fault::new(place, detail));
    }
}

/// The whole number that `number` is. One that is written as a fraction or with an exponent (`8.0`, `1e3`) is one too, as JSON
/// Schema has it, below 2^53: from there on it may have been another number.
pub(crate) fn whole(number: &Number) -> Option<Number> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if !number.is_f64() {
        return Some(number.clone());
    }
    #[expect(clippy::cast_possible_truncation, reason = "whole, and within 54 bits")]
    number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < EXACT).map(|float| Number::from(float as i64))
}

/// The place of member `name`, escaped as RFC 6901 asks.
pub(crate) fn below(place: &str, name: &str) -> String {
    format!("{place}/{}", name.replace('~', "~0").replace('/', "~1"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn faults(value: &Value, reader: impl FnOnce(&mut Fields<'_>) -> Option<()>) -> Vec<String> {
        let invalid = read(value, reader).unwrap_err();
        invalid.faults().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn wrong_types_are_named_all_at_once() {
        let value = json!({"a": 1, "b": "x", "c": -1, "d": [], "e": "1w", "f": 0.5, "g": 7, "h": "z"});
        let seconds = Duration::from_secs(1)..=Duration::from_secs(60);
        let found = faults(&value, |fields| {
            let _ = fields.take("a").and_then(|field| field.text());
            let _ = fields.take("b").and_then(|field| field.flag());
            let _ = fields.take("c").and_then(|field| field.whole(1..=4096_u16));
            let _ = fields.take("d").and_then(|field| field.list(1..=2));
            let _ = fields.take("e").and_then(|field| field.duration(seconds));
            let _ = fields.take("f").and_then(|field| field.number(0.0..=0.2));
            let _ = fields.take("g").and_then(|field| field.map());
            fields.take("h").and_then(|field| field.choice(&[("x", ()), ("y", ())]))
        });
        assert_eq!(
            found,
            [
                "#/a: must be a string",
                "#/b: must be true or false",
                "#/c: must be a whole number from 1 to 4096",
                "#/d: must have 1 to 2 items",
                "#/e: must be a duration from 1s to 1m, such as \"1m\"",
                "#/f: must be a number from 0 to 0.2",
                "#/g: must be an object",
                "#/h: must be \"x\" or \"y\"",
            ]
        );
    }

    fn read_whole(json: &str) -> Option<u64> {
        let value = json!({"n": serde_json::from_str::<Value>(json).unwrap()});
        read(&value, |fields| fields.take("n")?.whole(0..=u64::MAX)).ok()
    }

    #[test]
    fn a_whole_number_is_one_however_it_is_written() {
        for (json, number) in [
            ("8", 8),
            ("8.0", 8),
            ("1e3", 1000),
            ("-0.0", 0),
            ("0.08e2", 8),
            ("9007199254740991.0", 9_007_199_254_740_991),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(read_whole(json), Some(number), "{json}");
        }
        // From 2^53 on, a fraction may have been another number.
        for json in ["0.5", "-1.0", "8.000001", "9007199254740992.0", "1e300", "18446744073709551616", "\"8\"", "true"]
        {
            assert_eq!(read_whole(json), None, "{json}");
        }
    }

    #[test]
    fn places_are_nested_indexed_and_escaped() {
        let value = json!({"a": {"b": [1, {"c/d~e": 0}]}});
        let found = faults(&value, |fields| {
            fields.take("a")?.object(|a| a.take("b")?.list(0..=9)?.last()?.object(|_| Some(())))
        });
        assert_eq!(found, ["#/a/b/1/c~1d~0e: is not a known setting"]);
    }

    #[test]
    fn unknown_names_come_with_a_guess_and_missing_ones_are_named() {
        let value = json!({"timeuot": 1, "zzz": 2});
        let found = faults(&value, |fields| {
            let _ = fields.take("timeout");
            fields.require("url").map(drop)
        });
        assert_eq!(
            found,
            [
                "#/url: is missing",
                "#/timeuot: is not a known setting; did you mean `timeout`?",
                "#/zzz: is not a known setting",
            ]
        );
    }

    #[test]
    fn null_is_left_out_and_the_whole_must_be_an_object() {
        let absent = read(&json!({"a": null}), |fields| Some(fields.take("a").is_none()));
        assert_eq!(absent, Ok(true));
        assert_eq!(faults(&json!([1]), |_| Some(())), ["#: must be an object"]);
    }

    #[test]
    fn the_number_of_faults_is_bounded() {
        let value: Map<String, Value> = (0..1000).map(|n| (n.to_string(), Value::Null)).collect();
        assert_eq!(faults(&value.into(), |_| Some(())).len(), MAX_FAULTS);
    }
}
