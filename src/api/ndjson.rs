//! Events as lines: [NDJSON](https://github.com/ndjson/ndjson-spec), one event to a line.

use super::{
    envelope,
    json::{MAX_EVENTS, Node, text},
    problem::{Kind, Problem},
};
use crate::{clock::Timestamp, config::fields::MAX_FAULTS, event::Event};

/// Reads an event from each line that is not blank. Mistakes name the event as in an array: `#/3/topic` is the topic of the
/// fourth event, blank lines not counted.
///
/// # Errors
/// The problem to answer with: lines that are no JSON, every mistake in the form of the others.
pub(super) fn read(body: &[u8], now: Timestamp) -> Result<Vec<Event>, Problem> {
    let lines = || text(body).map(|text| text.lines().filter(|line| !line.trim().is_empty()));
    envelope::expect_some(lines()?.take(MAX_EVENTS + 1).count())?;
    let (mut items, mut problem) = (Vec::new(), Ok(()));
    for (index, line) in lines()?.enumerate() {
        match Node::read(line) {
            Ok(item) => items.push(item),
            Err(error) => problem = Err(not_json(problem, index, &error)),
        }
    }
    problem?;
    envelope::several(items.into_iter(), now)
}

fn not_json(others: Result<(), Problem>, index: usize, error: &serde_json::Error) -> Problem {
    let problem = others.err().unwrap_or_else(|| Problem::new(Kind::Malformed, "a line is no JSON, see `errors`"));
    if problem.mistakes() >= MAX_FAULTS {
        return problem;
    }
    problem.at(format!("#/{index}"), format!("is not JSON: {error}"))
}
