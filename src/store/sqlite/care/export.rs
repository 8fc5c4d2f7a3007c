//! Events as text, also out of a damaged database.

use std::{
    io::{self, Write},
    path::Path,
};

use rusqlite::{Connection, Row};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    super::{codes::unsigned, read::Sql},
    open,
};
use crate::{clock::Timestamp, error::StoreError};

/// Which events are written out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// All that are kept.
    All,
    /// Those that somebody still waits for: not routed yet, held by a debounce rule, or with a pending delivery.
    Undelivered,
}

/// What an export came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Exported {
    /// Lines written.
    pub(crate) events: u64,
    /// Ranges of seqs, ends included, that lie on damaged pages. Some of them may have been pruned long ago.
    pub(crate) unreadable: Vec<(u64, u64)>,
}

/// Writes the events of the database at `path` to `out`, oldest first, one JSON object a line, as `POST /v1/events` takes them.
/// Damaged pages are passed over.
///
/// # Errors
/// When it is no database that this program knows, or `out` cannot be written.
pub(crate) fn export(path: &Path, which: Which, out: &mut dyn Write) -> Result<Exported, StoreError> {
    let db = open(path)?;
    let last = db.query_row("SELECT value FROM meta WHERE name = 'last_seq'", [], |row| row.get(0));
    let mut walk = Walk { db: &db, which, last: last.unwrap_or(i64::MAX - 1), out, exported: Exported::default() };
    walk.run().map_err(|error| StoreError::Failed(format!("the events cannot be written out: {error}")))?;
    Ok(walk.exported)
}

struct Walk<'a> {
    db: &'a Connection,
    which: Which,
    last: i64,
    out: &'a mut dyn Write,
    exported: Exported,
}

impl Walk<'_> {
    fn run(&mut self) -> io::Result<()> {
        let mut after = 0;
        while let Some(damaged) = self.write_from(&mut after)? {
            let end = self.end_of_damage(damaged);
            self.exported.unreadable.push((unsigned(damaged + 1), unsigned(end)));
            after = end;
        }
        self.out.flush()
    }

    /// Writes what follows `after`, moving it, to the end; or until the damage that begins behind the seq told.
    fn write_from(&mut self, after: &mut i64) -> io::Result<Option<i64>> {
        let (db, sql) = (self.db, self.sql());
        let damaged = |after: i64, end: i64| (after < end).then_some(after);
        let Ok(mut select) = db.prepare(&sql) else { return Ok(damaged(*after, self.last)) };
        let Ok(mut rows) = select.query([*after]) else { return Ok(damaged(*after, self.last)) };
        loop {
            let line = match rows.next() {
                Ok(None) => return Ok(None),
                Ok(Some(row)) => line(row),
                Err(error) => Err(error),
            };
            match line {
                Ok((seq, line)) => {
                    self.out.write_all(&line)?;
                    self.exported.events += 1;
                    *after = seq;
                }
                Err(_) => return Ok(damaged(*after, self.last)),
            }
        }
    }

    /// The first seq at or behind which events can be read again, less one; found in steps that double, and then by halves.
    fn end_of_damage(&self, begin: i64) -> i64 {
        let mut bad = begin;
        let mut step = 1;
        let mut good = loop {
            let probe = begin.saturating_add(step).min(self.last);
            if probe == self.last || self.can_be_read(probe) {
                break probe;
            }
            bad = probe;
            step = step.saturating_mul(2);
        };
        while good - bad > 1 {
            let middle = bad + (good - bad) / 2;
            if self.can_be_read(middle) { good = middle } else { bad = middle }
        }
        good
    }

    fn can_be_read(&self, after: i64) -> bool {
        let read = || -> Sql<()> {
            let mut select = self.db.prepare_cached(&self.sql())?;
            let mut rows = select.query([after])?;
            rows.next()?.map(line).transpose().map(drop)
        };
        read().is_ok()
    }

    fn sql(&self) -> String {
        let condition = match self.which {
            Which::All => "",
            Which::Undelivered => {
                "AND (e.seq > (SELECT value FROM meta WHERE name = 'judged_through')
                     OR EXISTS (SELECT 1 FROM deliveries d WHERE d.seq = e.seq AND d.state IN (0, 5))
                     OR EXISTS (SELECT 1 FROM verdicts v WHERE v.seq = e.seq AND v.state = 4))"
            }
        };
        format!(
            "SELECT e.seq, e.topic, e.id, e.tenant, e.key, e.source, e.timestamp, e.metadata, e.data FROM events e
             WHERE e.seq > ?1 {condition} ORDER BY e.seq"
        )
    }
}

/// An event as it is published.
#[derive(Serialize)]
struct Line<'a> {
    topic: String,
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    timestamp: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a RawValue>,
    data: &'a RawValue,
}

fn line(row: &Row<'_>) -> Sql<(i64, Vec<u8>)> {
    let tenant: String = row.get(3)?;
    let (metadata, data) = (row.get::<_, Option<String>>(7)?, row.get_ref(8)?.as_blob()?);
    let broken = |error: serde_json::Error| {
        rusqlite::Error::FromSqlConversionFailure(8, rusqlite::types::Type::Blob, Box::new(error))
    };
    // JSON has line breaks between its tokens only, where a space stands for them.
    let data: Vec<u8> = data.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }).collect();
    let line = Line {
        topic: row.get(1)?,
        id: row.get(2)?,
        tenant: Some(tenant).filter(|tenant| !tenant.is_empty()),
        key: row.get(4)?,
        source: row.get(5)?,
        timestamp: Timestamp::from_millis(row.get(6)?),
        metadata: metadata.as_deref().map(serde_json::from_str).transpose().map_err(broken)?,
        data: serde_json::from_slice(&data).map_err(broken)?,
    };
    let mut line = serde_json::to_vec(&line).map_err(broken)?;
    line.push(b'\n');
    Ok((row.get(0)?, line))
}
