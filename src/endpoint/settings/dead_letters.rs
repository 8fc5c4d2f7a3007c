//! How many dead letters an endpoint keeps.

use serde_json::{Value, json};

use super::limits;
use crate::{
    config::{
        duration,
        fields::{Fields, read},
    },
    endpoint::policy::DeadLetters,
};

impl DeadLetters {
    /// What stored settings say, which are JSON: the default where they say nothing that can be read.
    pub(crate) fn of_settings(settings: &str) -> Self {
        let settings: Option<Value> = serde_json::from_str(settings).ok();
        let given = settings.as_ref().and_then(|settings| settings.get("dead_letters"));
        given.and_then(|given| read(given, Self::read).ok()).unwrap_or_default()
    }

    pub(super) fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let default = Self::default();
        let max_items = fields.take("max_items").and_then(|field| field.whole(limits::DEAD_LETTERS));
        let max_bytes = fields.take("max_bytes").and_then(|field| field.whole(limits::DEAD_LETTER_BYTES));
        let max_age = fields.take("max_age").and_then(|field| field.duration(limits::DEAD_LETTER_AGE));
        Some(Self {
            max_items: max_items.unwrap_or(default.max_items),
            max_bytes: max_bytes.unwrap_or(default.max_bytes),
            max_age: max_age.unwrap_or(default.max_age),
        })
    }

    pub(super) fn to_json(self) -> Value {
        json!({"max_items": self.max_items, "max_bytes": self.max_bytes, "max_age": duration::print(self.max_age)})
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::settings::laws::{places, with};

    #[test]
    fn bounds_that_are_left_out_have_their_defaults() {
        let settings = with(json!({"dead_letters": {"max_items": 100}})).unwrap();
        assert_eq!(settings.dead_letters, DeadLetters { max_items: 100, ..DeadLetters::default() });
        let wrong = json!({"max_items": -1, "max_bytes": "1 GiB", "max_age": "500ms", "max": 1});
        let expected = ["max_items", "max_bytes", "max_age", "max"].map(|name| format!("#/dead_letters/{name}"));
        assert_eq!(places(with(json!({"dead_letters": wrong}))), expected);
    }

    #[test]
    fn stored_settings_are_read_as_they_were_written() {
        let settings = with(json!({"dead_letters": {"max_bytes": 5, "max_age": "2d"}})).unwrap();
        assert_eq!(DeadLetters::of_settings(&settings.to_json().to_string()), settings.dead_letters);
        for settings in ["", "{}", "[3]", r#"{"dead_letters": {"max_items": "many"}}"#] {
            assert_eq!(DeadLetters::of_settings(settings), DeadLetters::default());
        }
    }
}
