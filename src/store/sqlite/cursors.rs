//! The key that positions in lists are sealed with: made once for a file and all its copies.
//!
//! It is not sealed with the operator's: who can read it can read the seqs themselves.

use rusqlite::{Connection, OptionalExtension, params};

use super::failed;
use crate::{error::StoreError, store::SealingKey};

const NAME: &str = "cursor_key";

/// Makes it where there is none.
pub(super) fn keep_key(db: &Connection) -> Result<(), StoreError> {
    if key(db).optional().map_err(failed)?.is_none() {
        db.execute("INSERT INTO meta VALUES (?1, ?2)", params![NAME, SealingKey::draw()?]).map_err(failed)?;
    }
    Ok(())
}

pub(super) fn key(db: &Connection) -> rusqlite::Result<Vec<u8>> {
    db.query_row("SELECT value FROM meta WHERE name = ?1", [NAME], |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::schema;

    #[test]
    fn a_file_keeps_its_key() {
        let dir = tempfile::tempdir().unwrap();
        let key_of = |name: &str| {
            let db = schema::open_writer(&dir.path().join(name), |_| Ok(())).unwrap();
            keep_key(&db).unwrap();
            key(&db).unwrap()
        };
        let first = key_of("a.db");
        assert_eq!((first.len(), &key_of("a.db")), (32, &first));
        assert_ne!(key_of("b.db"), first);
    }
}
