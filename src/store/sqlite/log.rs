//! How long the write-ahead log is, as SQLite tells it to whoever has written.

use std::cell::Cell;

use rusqlite::Connection;

thread_local! {
    /// Pages in the log behind the last commit of this thread.
    static PAGES: Cell<i64> = const { Cell::new(0) };
}

/// From now on each commit of this connection tells.
pub(super) fn watch(db: &Connection) {
    db.wal_hook(Some(|_, pages| {
        PAGES.set(pages.into());
        Ok(())
    }));
}

/// Pages in the log behind the last commit of this thread; fewer than before once it has started anew.
pub(super) fn pages() -> i64 {
    PAGES.get()
}
