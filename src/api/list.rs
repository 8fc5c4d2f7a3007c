//! Lists, page by page.

use std::fmt::Display;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::{
    cursor::Cursors,
    problem::{Kind, Problem},
};
use crate::error::StoreError;

/// One page of a list, as it is answered.
#[derive(Debug, Serialize)]
pub(super) struct List {
    items: Vec<Box<RawValue>>,
    /// Where the next page starts; `None` at the end.
    next: Option<String>,
}

/// What one page may show.
#[derive(Debug)]
pub(super) struct Page<T> {
    items: Vec<T>,
    /// Whether there is more.
    more: bool,
}

/// Items read at a time.
const STEP: usize = 32;
/// A page has no more bytes than this, unless it is a single item: a list of what is large must not fill the memory.
const PAGE_BYTES: usize = 1 << 20;

impl<T> Page<T> {
    /// Reads on until there is one item too many, or enough bytes. `read` answers what comes after an item, at most so many, of
    /// which it may leave out what comes after so many bytes.
    pub(super) async fn read(
        limit: usize,
        mut read: impl AsyncFnMut(Option<&T>, usize, usize) -> Result<Vec<T>, StoreError>,
        weight: impl Fn(&T) -> usize,
    ) -> Result<Self, StoreError> {
        let (mut items, mut bytes): (Vec<T>, usize) = (Vec::new(), 0);
        loop {
            // One more than is shown, to learn that it is there.
            let (wanted, room) = (STEP.min(limit + 1 - items.len()), (PAGE_BYTES - bytes).max(1));
            let step = read(items.last(), wanted, room).await?;
            let end = step.len() < wanted && step.iter().map(&weight).sum::<usize>() < room;
            for item in step {
                let fits = items.len() < limit && bytes + weight(&item) <= PAGE_BYTES;
                if !fits && !items.is_empty() {
                    return Ok(Self { items, more: true });
                }
                bytes = PAGE_BYTES.min(bytes + weight(&item));
                items.push(item);
            }
            if end {
                return Ok(Self { items, more: false });
            }
        }
    }

    /// The first `limit` of `items`, which may hold one more to tell that there is another page.
    pub(super) fn of(mut items: Vec<T>, limit: usize) -> Self {
        let more = items.len() > limit;
        items.truncate(limit);
        Self { items, more }
    }

    /// Shows as many as a page has bytes for, the first in any case. The next page starts after the `position` of the last.
    ///
    /// # Errors
    /// Internal: an item cannot be written.
    pub(super) fn show<'a, U: Serialize, P: Display>(
        &'a self,
        cursors: &Cursors<'_>,
        position: impl Fn(&'a T) -> P,
        mut show: impl FnMut(&'a T) -> U,
    ) -> Result<List, Problem> {
        let (mut items, mut bytes, mut last) = (Vec::new(), 0, None);
        for item in &self.items {
            let shown = to_raw_value(&show(item)).map_err(|error| Problem::new(Kind::Internal, error.to_string()))?;
            bytes += shown.get().len() + 1;
            if bytes > PAGE_BYTES && !items.is_empty() {
                break;
            }
            items.push(shown);
            last = Some(item);
        }
        let more = self.more || items.len() < self.items.len();
        let next = last.filter(|_| more).map(|last| cursors.seal(position(last))).transpose()?;
        Ok(List { items, next })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::api::cursor;

    /// The pages of a list of items of these bytes, by number; `strict` reads leave out what they may.
    async fn pages(limit: usize, weights: &[usize], strict: bool) -> Vec<Vec<usize>> {
        let (mut pages, mut past) = (Vec::new(), None);
        let key = cursor::tests::key();
        let cursors = Cursors::of(&key, None, "/v1/events");
        loop {
            let read = async |last: Option<&usize>, most: usize, bytes: usize| {
                let first = last.copied().or(past).map_or(0, |last| last + 1);
                let mut sum = 0;
                let fits = |item: &usize| {
                    let fits = sum < bytes || !strict;
                    sum += weights[*item];
                    fits
                };
                Ok::<Vec<usize>, StoreError>((first..weights.len()).take(most).take_while(fits).collect())
            };
            let page = Page::read(limit, read, |item| weights[*item]).await.unwrap();
            let shown = page.show(&cursors, |item| *item, |item| *item).unwrap();
            past = page.items.last().copied();
            assert_eq!(shown.items.len(), page.items.len());
            pages.push(page.items);
            match shown.next {
                Some(next) => assert_eq!(cursors.open(&next), past),
                None => return pages,
            }
        }
    }

    fn sizes(limit: usize, weight: usize) -> Vec<usize> {
        let pages = futures_util::FutureExt::now_or_never(pages(limit, &[weight; 100], true)).unwrap();
        assert!(pages.iter().flatten().copied().eq(0..100), "each item once, in order");
        pages.iter().map(Vec::len).collect()
    }

    #[test]
    fn a_page_ends_at_its_limit_or_after_enough_bytes() {
        assert_eq!(sizes(250, 1), [100]);
        assert_eq!(sizes(100, 1), [100]);
        assert_eq!(sizes(40, 1), [40, 40, 20]);
        assert_eq!(sizes(250, PAGE_BYTES / 40), [40, 40, 20]);
        assert_eq!(sizes(250, PAGE_BYTES), [1; 100]);
        assert_eq!(sizes(250, PAGE_BYTES * 2), [1; 100]);
        assert_eq!(sizes(1, PAGE_BYTES), [1; 100]);
    }

    #[test]
    fn what_is_shown_longer_than_it_was_read_is_bounded_too() {
        let text = "x".repeat(PAGE_BYTES / 4);
        let page = Page::of((0..10).collect::<Vec<usize>>(), 9);
        let key = cursor::tests::key();
        let cursors = Cursors::of(&key, None, "/v1/events");
        let shown = page.show(&cursors, |item| *item, |_| &text).unwrap();
        assert_eq!((shown.items.len(), cursors.open(&shown.next.unwrap())), (3, Some(2)));
        let long = "x".repeat(PAGE_BYTES * 2);
        let shown = page.show(&cursors, |item| *item, |_| &long).unwrap();
        assert_eq!((shown.items.len(), cursors.open(&shown.next.unwrap())), (1, Some(0)));
    }

    proptest! {
        #[test]
        fn every_item_is_on_one_page_and_no_page_is_too_large(
            weights in prop::collection::vec(prop_oneof![1..2000_usize, 1..PAGE_BYTES * 2], 0..120),
            limit in 1..100_usize, strict: bool,
        ) {
            let pages = futures_util::FutureExt::now_or_never(pages(limit, &weights, strict)).unwrap();
            prop_assert!(pages.iter().flatten().copied().eq(0..weights.len()));
            for page in &pages {
                let bytes: usize = page.iter().map(|item| weights[*item]).sum();
                prop_assert!(page.len() <= limit && (page.len() <= 1 || bytes <= PAGE_BYTES));
                prop_assert!(!page.is_empty() || weights.is_empty());
            }
        }
    }
}
