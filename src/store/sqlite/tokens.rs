//! Tokens.

use rusqlite::{Connection, Row, params};

use super::{
    read::{Sql, moment, moment_or_none, named, parsed},
    write::Writer,
};
use crate::{
    clock::Timestamp,
    event::Tenant,
    store::{TokenId, TokenRow},
};

pub(super) fn all(db: &Connection) -> Sql<Vec<TokenRow>> {
    let mut select = db.prepare_cached(
        "SELECT id, name, scopes, tenant, hash, created_at, expires_at, last_used_at FROM tokens ORDER BY id",
    )?;
    select.query_map([], token_row)?.collect()
}

fn token_row(row: &Row<'_>) -> Sql<TokenRow> {
    Ok(TokenRow {
        id: named(row, 0)?,
        name: row.get(1)?,
        scopes: named(row, 2)?,
        tenant: row.get_ref(3)?.as_str_or_null()?.map(|tenant| parsed::<Tenant>(3, tenant)).transpose()?,
        hash: row.get(4)?,
        created_at: moment(row, 5)?,
        expires_at: moment_or_none(row, 6)?,
        last_used_at: moment_or_none(row, 7)?,
    })
}

impl Writer<'_> {
    pub(super) fn create_token(&mut self, token: &TokenRow) -> Sql<()> {
        let TokenRow { id, name, scopes, tenant, hash, created_at, expires_at, last_used_at } = token;
        self.db.execute(
            "INSERT INTO tokens (id, name, scopes, tenant, hash, created_at, expires_at, last_used_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                id.as_str(),
                name,
                scopes.to_string(),
                tenant.as_ref().map(Tenant::as_str),
                hash,
                created_at.as_millis(),
                expires_at.map(Timestamp::as_millis),
                last_used_at.map(Timestamp::as_millis),
            ],
        )?;
        Ok(())
    }

    pub(super) fn delete_token(&mut self, id: &TokenId) -> Sql<bool> {
        Ok(self.db.execute("DELETE FROM tokens WHERE id = ?1", [id.as_str()])? > 0)
    }

    pub(super) fn use_token(&mut self, id: &TokenId, at: Timestamp) -> Sql<()> {
        let mut update = self.db.prepare_cached(
            "UPDATE tokens SET last_used_at = ?2 WHERE id = ?1 AND (last_used_at IS NULL OR last_used_at < ?2)",
        )?;
        update.execute(params![id.as_str(), at.as_millis()]).map(drop)
    }
}
