//! Lists, page by page.

use std::fmt::Display;

use serde::Serialize;

use super::query::cursor;

/// One page of a list.
#[derive(Debug, Serialize)]
pub(super) struct List<T> {
    pub(super) items: Vec<T>,
    /// Where the next page starts; `None` at the end.
    pub(super) next: Option<String>,
}

impl<T> List<T> {
    /// The first `limit` of `items`, which may hold one more to tell that there is another page.
    pub(super) fn of<P: Display>(mut items: Vec<T>, limit: usize, position: impl Fn(&T) -> P) -> Self {
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(|last| cursor(position(last)));
        Self { items, next }
    }

    pub(super) fn map<U>(self, show: impl FnMut(T) -> U) -> List<U> {
        List { items: self.items.into_iter().map(show).collect(), next: self.next }
    }
}
