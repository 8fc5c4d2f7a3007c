//! TOML and YAML as trees of values.

use std::{fmt, path::Path};

use serde_json::{Map, Value};

use crate::config::fields::below;

/// A text is not of the language it should be in.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::cli) struct SyntaxError {
    /// Line and column, from 1, where the reader can tell.
    pub(in crate::cli) place: Option<(u64, u64)>,
    /// What is wrong, without the text itself: it may hold secrets.
    pub(in crate::cli) detail: String,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Some((line, column)) => write!(f, "{line}:{column}: {}", self.detail),
            None => f.write_str(&self.detail),
        }
    }
}

/// Reads YAML where the name of the file ends in `.yaml` or `.yml`, TOML otherwise. An empty file is an empty object.
pub(in crate::cli) fn parse(path: &Path, text: &str) -> Result<Value, SyntaxError> {
    let yaml = path.extension().is_some_and(|end| end.eq_ignore_ascii_case("yaml") || end.eq_ignore_ascii_case("yml"));
    if yaml { parse_yaml(text) } else { parse_toml(text) }
}

fn parse_toml(text: &str) -> Result<Value, SyntaxError> {
    let value: Value = toml::from_str(text).map_err(|error| SyntaxError {
        place: error.span().map(|span| place_of(text, span.start)),
        detail: one_line(error.message()),
    })?;
    // TOML has no null: it stands for a number that JSON does not have.
    match null_at(&value) {
        Some(name) => Err(SyntaxError { place: None, detail: format!("#{name}: must be a finite number") }),
        None => Ok(value),
    }
}

fn parse_yaml(text: &str) -> Result<Value, SyntaxError> {
    let value = serde_saphyr::from_str(text).map_err(|error| SyntaxError {
        place: error.location().map(|location| (location.line(), location.column())),
        detail: one_line(&error.without_snippet().to_string()),
    })?;
    Ok(if value == Value::Null { Value::Object(Map::new()) } else { value })
}

fn place_of(text: &str, offset: usize) -> (u64, u64) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or_default();
    let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX).saturating_add(1);
    (count(before.matches('\n').count()), count(line.chars().count()))
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The place of the first null.
fn null_at(value: &Value) -> Option<String> {
    let within = |name: &str, value| null_at(value).map(|place| below("", name) + &place);
    match value {
        Value::Null => Some(String::new()),
        Value::Array(items) => items.iter().enumerate().find_map(|(n, item)| within(&n.to_string(), item)),
        Value::Object(members) => members.iter().find_map(|(name, member)| within(name, member)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn toml(text: &str) -> Result<Value, SyntaxError> {
        parse(Path::new("a.toml"), text)
    }

    fn yaml(text: &str) -> Result<Value, SyntaxError> {
        parse(Path::new("a.YML"), text)
    }

    #[test]
    fn both_languages_say_the_same() {
        let expected = json!({"drain": "5s", "endpoints": [{"id": "a", "in_flight": 1, "retry": {"jitter": 0.5}}]});
        let in_toml = "drain = \"5s\"\n[[endpoints]]\nid = \"a\"\nin_flight = 1\nretry.jitter = 0.5\n";
        let in_yaml = "drain: 5s\nendpoints:\n  - id: a\n    in_flight: 1\n    retry: {jitter: 0.5}\n";
        assert_eq!(toml(in_toml), Ok(expected.clone()));
        assert_eq!(yaml(in_yaml), Ok(expected));
        assert_eq!((toml(""), yaml("# nothing\n")), (Ok(json!({})), Ok(json!({}))));
    }

    #[test]
    fn syntax_errors_have_a_line_and_a_column() {
        let place = |result: Result<Value, SyntaxError>| result.unwrap_err().place;
        assert_eq!(place(toml("a = 1\nb = = 2\n")).map(|(line, _)| line), Some(2));
        assert_eq!(place(toml("ä = 1\n\"ä\" = 1\n")), Some((1, 1)));
        assert_eq!(place(toml("a = 1\na = 2\n")), Some((2, 1)));
        assert_eq!(place(yaml("a: 1\na: 2\n")).map(|(line, _)| line), Some(2));
        assert_eq!(place(yaml("a:\n - b\n c: 1\n")).map(|(line, _)| line), Some(3));
    }

    #[test]
    fn errors_do_not_repeat_the_text() {
        for result in [toml("a = \"secret\nb = 1\n"), yaml("a: [secret\nb: 1\n"), yaml("a: \"secret\nb: 1\n")] {
            let detail = result.unwrap_err().detail;
            assert!(!detail.contains("secret"), "{detail}");
        }
    }

    #[test]
    fn numbers_that_are_none_are_refused() {
        assert_eq!(toml("a.b = [1.0, nan]").unwrap_err().to_string(), "#/a/b/1: must be a finite number");
        assert_eq!(toml("\"a/b\" = inf").unwrap_err().to_string(), "#/a~1b: must be a finite number");
        assert!(yaml("a: .nan").is_err());
    }

    #[test]
    fn aliases_cannot_blow_up() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..12 {
            let alias = format!("*a{}", n - 1);
            text += &format!("a{n}: &a{n} [{}]\n", vec![alias; 10].join(", "));
        }
        assert!(yaml(&text).is_err());
    }
}
