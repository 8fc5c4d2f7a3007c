//! Tokens.

use std::collections::BTreeMap;

use super::super::*;

/// Every token by its id.
#[derive(Default)]
pub(super) struct Tokens(BTreeMap<TokenId, TokenRow>);

impl Tokens {
    pub(super) fn create(&mut self, token: TokenRow) -> Result<(), StoreError> {
        if self.0.contains_key(&token.id) {
            return Err(StoreError::Failed(format!("there is a token {} already", token.id)));
        }
        self.0.insert(token.id.clone(), token);
        Ok(())
    }

    pub(super) fn delete(&mut self, id: &TokenId) -> bool {
        self.0.remove(id).is_some()
    }

    pub(super) fn used(&mut self, id: &TokenId, at: Timestamp) {
        if let Some(token) = self.0.get_mut(id) {
            token.last_used_at = token.last_used_at.max(Some(at));
        }
    }

    pub(super) fn all(&self) -> Vec<TokenRow> {
        self.0.values().cloned().collect()
    }
}
