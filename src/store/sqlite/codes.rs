//! How states, reasons and numbers are written in the file.

use crate::store::DropReason;

/// Where a delivery stands: `deliveries.state`.
pub(super) const PENDING: i64 = 0;
pub(super) const DELIVERED: i64 = 1;
pub(super) const DEAD: i64 = 2;
pub(super) const DROPPED: i64 = 3;
/// By the endpoint's own debounce; counted in the totals under a name of its own, for `suppressed` counts events.
pub(super) const MUTED: i64 = 4;
/// Held by the endpoint's own debounce: it is pending, but for what is paged.
pub(super) const HELD_BACK: i64 = 5;
/// Why an event went to nobody: `verdicts.state`.
pub(super) const UNMATCHED: i64 = 1;
pub(super) const SUPPRESSED: i64 = 2;
/// Of the same table: it is held, or was replaced by a later one. 3 stands for none of these in what is asked.
pub(super) const HELD: i64 = 4;
pub(super) const COALESCED: i64 = 5;

/// SQLite's integers have a sign; a seq never reaches it.
pub(super) fn signed(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// The reason as it was stored.
pub(super) fn drop_reason(text: &str) -> rusqlite::Result<DropReason> {
    DropReason::ALL
        .into_iter()
        .find(|reason| reason.as_str() == text)
        .ok_or_else(|| text_error(format!("{text} is not a reason this program knows")))
}

/// What stands in the file is not what this program writes.
pub(super) fn text_error(detail: String) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, detail.into())
}
