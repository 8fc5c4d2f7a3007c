//! Changes of debounce rules while events flow: checked, stored, put in force, and only then answered.

use std::{collections::BTreeMap, sync::PoisonError};

use serde_json::Value;

use super::{Hookmill, ManageError, Owner, manage::expect_api};
use crate::{
    debounce::{self, Rule, RuleName},
    dispatch,
    error::StoreError,
    store::RuleTotals,
};

impl Hookmill {
    /// Who decides over a debounce rule.
    pub fn rule_owner(&self, name: &RuleName) -> Owner {
        let owners = self.0.owners.read().unwrap_or_else(PoisonError::into_inner);
        owners.rules.get(name).copied().unwrap_or_default()
    }

    /// Sets a debounce rule from its JSON form; tells whether it is new. A rule that changes forgets its windows, and what
    /// they held passes.
    ///
    /// # Errors
    /// Every mistake at once; a conflict when the rule belongs to the program or the file.
    pub async fn put_rule(&self, name: RuleName, rule: &Value) -> Result<(Rule, bool), ManageError> {
        let rule = Rule::parse(rule)?;
        self.change(|hooks| async move {
            expect_api(hooks.rule_owner(&name), &name)?;
            let old = hooks.rules().remove(&name);
            hooks.store_rule(name, rule.clone(), old.as_ref()).await?;
            Ok((rule, old.is_none()))
        })
        .await
    }

    /// What each debounce rule has come to since it was made.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn rule_totals(&self) -> Result<BTreeMap<String, RuleTotals>, StoreError> {
        let mut totals = self.0.store.rule_totals().await?;
        totals.retain(|name, _| !dispatch::muting::is_own(name));
        Ok(totals)
    }

    /// Puts a rule in the place of `old`; tells whether that changes anything.
    pub(super) async fn store_rule(&self, name: RuleName, rule: Rule, old: Option<&Rule>) -> Result<bool, StoreError> {
        if old == Some(&rule) {
            return Ok(false);
        }
        self.0.store.put_rule(name.to_string(), Some(rule.to_json().to_string())).await?;
        self.set_rule(name, Some(rule)).await;
        Ok(true)
    }

    /// Removes a debounce rule. What it held passes.
    ///
    /// # Errors
    /// When there is none; a conflict when it belongs to the program or the file.
    pub async fn delete_rule(&self, name: &RuleName) -> Result<(), ManageError> {
        let name = name.clone();
        self.change(|hooks| async move {
            if !hooks.rules().contains_key(&name) {
                return Err(ManageError::NotFound(format!("debounce rule {name}")));
            }
            expect_api(hooks.rule_owner(&name), &name)?;
            hooks.0.store.put_rule(name.to_string(), None).await?;
            hooks.set_rule(name, None).await;
            Ok(())
        })
        .await
    }

    async fn set_rule(&self, name: RuleName, rule: Option<Rule>) {
        let _gone = self.0.debouncer.send(debounce::SetRule(name.clone(), rule.clone())).await;
        let mut rules = self.0.rules.write().unwrap_or_else(PoisonError::into_inner);
        match rule {
            Some(rule) => drop(rules.insert(name, rule)),
            None => drop(rules.remove(&name)),
        }
    }
}
