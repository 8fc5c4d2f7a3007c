//! Debounce rules as a program writes them.

use std::time::Duration;

use serde_json::json;

use super::{Edge, Rule, RuleName};
use crate::{config::duration, error::Invalid, event::NameError};

/// A debounce rule as a program writes it.
///
/// ```
/// # use std::time::Duration;
/// # use hookmill::{Debounce, Edge};
/// Debounce::on("attention_raised").by(["/data/session", "/data/state"]).within(Duration::from_secs(60));
/// // Only what a document looks like when nobody has touched it for five seconds, but at least once a minute:
/// Debounce::on("document.changed").by(["/data/id"]).within(Duration::from_secs(5)).edge(Edge::Trailing)
///     .max_wait(Duration::from_secs(60));
/// ```
#[derive(Clone, Debug)]
pub struct Debounce {
    name: String,
    topics: String,
    key: Vec<String>,
    window: Duration,
    edge: Edge,
    max_wait: Option<Duration>,
    reset_on: Vec<String>,
    release_on_failure: bool,
}

impl Debounce {
    /// A rule for a topic, or a pattern of topics. It is named after it, with `_` for what a name cannot have.
    pub fn on(topics: &str) -> Self {
        let word = |letter: char| if letter.is_ascii_alphanumeric() || letter == '-' { letter } else { '_' };
        Self {
            name: topics.chars().map(word).collect(),
            topics: topics.to_owned(),
            key: Vec::new(),
            window: Duration::from_secs(60),
            edge: Edge::Leading,
            max_wait: None,
            reset_on: Vec::new(),
            release_on_failure: false,
        }
    }

    /// Sets the rule's name. Two rules need two names.
    #[must_use]
    pub fn named(self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self }
    }

    /// Events fall together that agree at these JSON Pointers into the event.
    #[must_use]
    pub fn by<T: Into<String>>(mut self, pointers: impl IntoIterator<Item = T>) -> Self {
        self.key = pointers.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the window; one minute otherwise.
    #[must_use]
    pub fn within(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// Sets which of the events that fall together pass; the first otherwise.
    #[must_use]
    pub fn edge(mut self, edge: Edge) -> Self {
        self.edge = edge;
        self
    }

    /// Sets the longest that an event is held, from the first that it stands for on; ten windows otherwise. Not for the
    /// leading edge, which holds nothing.
    #[must_use]
    pub fn max_wait(mut self, wait: Duration) -> Self {
        self.max_wait = Some(wait);
        self
    }

    /// Events of these topics, or patterns, clear the keys of their tenant that agree with them wherever they carry something
    /// of the key: the next event passes as the first would, and what was held passes at once.
    #[must_use]
    pub fn reset_on<T: Into<String>>(mut self, topics: impl IntoIterator<Item = T>) -> Self {
        self.reset_on = topics.into_iter().map(Into::into).collect();
        self
    }

    /// Ends the window when no delivery of the event that opened it succeeded: every one is a dead letter or dropped.
    #[must_use]
    pub fn release_on_failure(mut self) -> Self {
        self.release_on_failure = true;
        self
    }

    /// Checks the rule.
    ///
    /// # Errors
    /// Every mistake at once.
    pub fn build(&self) -> Result<(RuleName, Rule), Invalid> {
        let name = self.name.parse().map_err(|error: NameError| Invalid::at("#/name", error.to_string()))?;
        let rule = json!({
            "topics": [self.topics],
            "key": self.key,
            "window": duration::print(self.window),
            "edge": self.edge.as_str(),
            "max_wait": self.max_wait.map(duration::print),
            "reset_on": self.reset_on,
            "release_on_failure": self.release_on_failure,
        });
        Ok((name, Rule::parse(&rule)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::debounce::DebouncePolicy;

    #[test]
    fn everything_that_is_set_is_in_the_rule() {
        let seconds = Duration::from_secs;
        let debounce = Debounce::on("a.*").named("x").by(["/data/k"]).within(seconds(5)).edge(Edge::Both);
        let debounce = debounce.max_wait(seconds(30)).reset_on(["b", "c.*"]).release_on_failure();
        let (name, rule) = debounce.build().unwrap();
        let policy = DebouncePolicy {
            key: vec!["/data/k".parse().unwrap()],
            window: seconds(5),
            edge: Edge::Both,
            max_wait: Some(seconds(30)),
            reset_on: vec!["b".parse().unwrap(), "c.*".parse().unwrap()],
            release_on_failure: true,
        };
        let expected = Rule { topics: vec!["a.*".parse().unwrap()], policy };
        assert_eq!((name.as_str(), rule), ("x", expected));
    }
}
