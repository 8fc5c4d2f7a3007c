//! Secrets in the file: sealed with the operator's first key, all of them or none.

use rusqlite::{Connection, OptionalExtension, Row, params};
use tracing::{info, warn};

use super::failed;
use crate::{
    error::StoreError,
    store::{
        EndpointChange, EndpointRow, Loaded, Reply,
        keys::SecretKeys,
        sealing::{self, Owner},
    },
};

/// The operator's keys, if there are any.
#[derive(Clone, Debug, Default)]
pub(super) struct Seal(pub(super) Option<SecretKeys>);

/// The id of the key that every secret in the file is sealed with.
const SEALED_WITH: &str = "sealed_with";
/// There while the file may still hold what was stored in another way before.
const TO_REWRITE: &str = "to_rewrite";

impl Seal {
    pub(super) fn seal(&self, owner: Owner<'_>, settings: &str) -> Result<String, StoreError> {
        self.0.as_ref().map_or_else(|| Ok(settings.to_owned()), |keys| sealing::seal(keys, owner, settings))
    }

    pub(super) fn seal_change(&self, id: &str, change: EndpointChange) -> Result<EndpointChange, StoreError> {
        Ok(EndpointChange { settings: self.seal(Owner::Endpoint(id), &change.settings)?, ..change })
    }

    pub(super) fn open_endpoints(&self, mut rows: Vec<EndpointRow>) -> Result<Vec<EndpointRow>, StoreError> {
        let Some(keys) = &self.0 else { return Ok(rows) };
        for EndpointRow { id, settings, .. } in &mut rows {
            *settings = sealing::open(keys, Owner::Endpoint(id.as_str()), settings)?;
        }
        Ok(rows)
    }

    pub(super) fn open_chains(&self, mut loaded: Loaded) -> Result<Loaded, StoreError> {
        let Some(keys) = &self.0 else { return Ok(loaded) };
        for (name, chain) in &mut loaded.chains {
            *chain = sealing::open(keys, Owner::Chain(name), chain)?;
        }
        Ok(loaded)
    }

    /// Refuses a file whose secrets cannot be opened. Changes nothing.
    pub(super) fn check(&self, db: &Connection) -> Result<(), StoreError> {
        let Some(id) = sealed_with(db).map_err(failed)? else { return Ok(()) };
        let given: Vec<_> = self.0.iter().flat_map(SecretKeys::ids).collect();
        if given.contains(&id.as_str()) {
            return Ok(());
        }
        let given =
            if given.is_empty() { "no key is given".to_owned() } else { format!("given: {}", given.join(", ")) };
        let detail = format!(
            "its secrets are sealed with the key {id}, and {given}; name the file with that key (--secret-key-file, \
             HOOKMILL_SECRET_KEY). Nothing was changed"
        );
        Err(StoreError::Unusable(detail))
    }

    /// Whether there is a key.
    pub(super) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Seals with the first key what is not, all or nothing, and leaves no copy of what stood there before.
    pub(super) fn settle(&self, db: &mut Connection) -> Result<(), StoreError> {
        let Some(keys) = &self.0 else { return Ok(()) };
        if sealed_with(db).map_err(failed)?.as_deref() != Some(keys.id()) {
            seal_all(db, keys)?;
        }
        if meta(db, TO_REWRITE).map_err(failed)?.is_some()
            && let Err(error) = rewrite(db)
        {
            warn!(event = "store.unsealed", %error, "secrets are sealed, but old copies may be left in the file until a start has room to rewrite it");
        }
        Ok(())
    }
}

/// Whoever stores settings is answered with what was given, not with how it is kept.
pub(super) fn in_clear(row: Reply<EndpointRow>, settings: String) -> Reply<EndpointRow> {
    Box::pin(async move { Ok(EndpointRow { settings, ..row.await? }) })
}

fn meta(db: &Connection, name: &str) -> rusqlite::Result<Option<String>> {
    db.query_row("SELECT value FROM meta WHERE name = ?1", [name], |row| row.get(0)).optional()
}

fn sealed_with(db: &Connection) -> rusqlite::Result<Option<String>> {
    if db.table_exists(None, "meta")? { meta(db, SEALED_WITH) } else { Ok(None) }
}

pub(super) fn seal_all(db: &mut Connection, keys: &SecretKeys) -> Result<(), StoreError> {
    let anew = |owner: Owner<'_>, stored: &str| sealing::seal(keys, owner, &sealing::open(keys, owner, stored)?);
    let tx = db.transaction().map_err(failed)?;
    let endpoints: Vec<(i64, String)> = all(&tx, "SELECT key, id FROM endpoints").map_err(failed)?;
    for (key, id) in &endpoints {
        let read = tx.query_row("SELECT settings FROM endpoints WHERE key = ?1", [key], |row| row.get(0));
        let settings: String = read.map_err(failed)?;
        let sealed = anew(Owner::Endpoint(id), &settings)?;
        tx.execute("UPDATE endpoints SET settings = ?2 WHERE key = ?1", params![key, sealed]).map_err(failed)?;
    }
    let chains: Vec<(String, String)> = all(&tx, "SELECT name, chain FROM chains").map_err(failed)?;
    for (name, chain) in &chains {
        let sealed = anew(Owner::Chain(name), chain)?;
        tx.execute("UPDATE chains SET chain = ?2 WHERE name = ?1", [name, &sealed]).map_err(failed)?;
    }
    let put = |name, value| tx.execute("INSERT OR REPLACE INTO meta VALUES (?1, ?2)", [name, value]);
    put(SEALED_WITH, keys.id()).map_err(failed)?;
    // Also without any: what was deleted may stand on freed pages.
    put(TO_REWRITE, "1").map_err(failed)?;
    tx.commit().map_err(failed)?;
    let (endpoints, chains) = (endpoints.len(), chains.len());
    info!(event = "store.sealed", key = keys.id(), endpoints, chains, "secrets are sealed");
    Ok(())
}

fn all<A: rusqlite::types::FromSql, B: rusqlite::types::FromSql>(
    db: &Connection,
    sql: &str,
) -> rusqlite::Result<Vec<(A, B)>> {
    let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
    db.prepare(sql)?.query_map([], read)?.collect()
}

/// Writes the whole file anew: freed pages keep what they held.
fn rewrite(db: &Connection) -> rusqlite::Result<()> {
    // As large as the data: not in memory.
    db.execute_batch("PRAGMA temp_store = FILE; VACUUM; PRAGMA temp_store = MEMORY")?;
    let busy: i64 = db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if busy == 0 {
        db.execute("DELETE FROM meta WHERE name = ?1", [TO_REWRITE])?;
    }
    Ok(())
}
