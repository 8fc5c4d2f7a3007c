//! Query parameters: every mistake at once, unknown names included.

use std::{fmt::Display, str::FromStr};

use url::form_urlencoded;

use super::{cursor::Cursors, json::below};
use crate::{
    config::nearest::nearest,
    error::{Fault, Invalid},
};

/// Items in a list, unless the caller says otherwise, and at most.
const LIMIT: usize = 50;
const MOST: usize = 250;

/// The parameters of one call.
pub(super) struct Query {
    pairs: Vec<(String, String)>,
    known: Vec<&'static str>,
    faults: Vec<Fault>,
}

impl Query {
    pub(super) fn new(query: &str) -> Self {
        Self {
            pairs: form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
            known: Vec::new(),
            faults: Vec::new(),
        }
    }

    pub(super) fn fault(&mut self, name: &str, detail: impl Into<String>) {
        self.faults.push(Fault::new(below("#", name), detail));
    }

    /// The parameter `name`, if it is there.
    pub(super) fn take(&mut self, name: &'static str) -> Option<String> {
        self.known.push(name);
        let mut given = self.pairs.iter().filter(|(given, _)| given == name).map(|(_, value)| value.clone());
        let (value, again) = (given.next(), given.next().is_some());
        if again {
            self.fault(name, "is given twice");
        }
        value
    }

    /// The parameter `name` as `T` reads it.
    pub(super) fn parse<T: FromStr<Err: Display>>(&mut self, name: &'static str) -> Option<T> {
        let parsed = self.take(name)?.parse();
        parsed.map_err(|error: T::Err| self.fault(name, error.to_string())).ok()
    }

    /// The parameter `name`, one of these words.
    pub(super) fn choice<T: Copy>(&mut self, name: &'static str, choices: &[(&str, T)]) -> Option<T> {
        let given = self.take(name)?;
        let chosen = choices.iter().find(|(word, _)| *word == given).map(|(_, value)| *value);
        if chosen.is_none() {
            let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
            self.fault(name, format!("must be {}", words.join(" or ")));
        }
        chosen
    }

    /// `limit`: how many items to answer with at most.
    pub(super) fn limit(&mut self) -> usize {
        let Some(given) = self.take("limit") else { return LIMIT };
        let limit = given.parse().ok().filter(|limit| (1..=MOST).contains(limit));
        limit.unwrap_or_else(|| {
            self.fault("limit", format!("must be a whole number from 1 to {MOST}"));
            LIMIT
        })
    }

    /// `cursor`: where the page before ended.
    pub(super) fn cursor<T: FromStr>(&mut self, cursors: &Cursors<'_>) -> Option<T> {
        let position = cursors.open(&self.take("cursor")?);
        if position.is_none() {
            self.fault("cursor", "is not one that this list answered in `next`");
        }
        position
    }

    /// Refuses what nobody asked for.
    ///
    /// # Errors
    /// Every mistake so far.
    pub(super) fn done(mut self) -> Result<(), Invalid> {
        for (name, _) in std::mem::take(&mut self.pairs) {
            if !self.known.contains(&name.as_str()) {
                let hint =
                    nearest(&name, &self.known).map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
                self.fault(&name, format!("is not a parameter here{hint}"));
            }
        }
        Invalid::unless_empty(self.faults)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::cursor;

    #[test]
    fn every_mistake_is_named_at_once() {
        let key = cursor::tests::key();
        let mut query = Query::new("limit=0&cursor=%21&topci=a&state=on&state=on");
        let _ = (query.limit(), query.cursor::<u64>(&Cursors::of(&key, None, "/v1/events")), query.take("topic"));
        let _ = query.choice("state", &[("off", ())]);
        let invalid = query.done().unwrap_err();
        let places: Vec<_> = invalid.faults().iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(places, ["#/limit", "#/cursor", "#/state", "#/state", "#/topci"]);
    }
}
