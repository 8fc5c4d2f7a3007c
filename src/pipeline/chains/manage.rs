//! Chains that come, change and go while they are being made. An invocation goes on with the chain it began with.

use std::sync::{Arc, PoisonError};

use serde_json::Value;
use tracing::info;

use super::{
    super::{Applied, Hookmill, ManageError, Owner, StartError, apply::Became, manage::expect_api},
    Chains, Tally,
};
use crate::{
    chain::{self, ChainName, Plan, plan::Step},
    endpoint::EndpointId,
    error::Fault,
};

/// A chain as it stands.
#[derive(Debug)]
pub struct Chain {
    name: ChainName,
    plan: Arc<Plan>,
    owner: Owner,
    tally: Tally,
}

impl Chain {
    fn new(name: ChainName, plan: Plan, owner: Owner) -> Self {
        let tally = Tally::new(plan.steps().len());
        Self { name, plan: Arc::new(plan), owner, tally }
    }

    /// The event it is for.
    pub fn name(&self) -> &ChainName {
        &self.name
    }

    /// Its steps.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// Who decides over it.
    pub fn owner(&self) -> Owner {
        self.owner
    }

    /// What came of its invocations.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }
}

impl Hookmill {
    /// The chains, for their callers.
    pub fn chains(&self) -> Chains {
        Chains(Arc::new(self.clone()))
    }

    /// The chain of an event.
    pub fn chain(&self, event: &str) -> Option<Arc<Chain>> {
        let name: ChainName = event.parse().ok()?;
        self.0.chains.read().unwrap_or_else(PoisonError::into_inner).get(&name).cloned()
    }

    /// Every chain, by event.
    pub fn chain_list(&self) -> Vec<Arc<Chain>> {
        self.0.chains.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Sets a chain from its JSON form, `{"deadline", "steps"}`; tells whether it is new. The endpoints of asynchronous steps
    /// that it has no more are deleted, and what they held is dropped, reason `endpoint_deleted`.
    ///
    /// # Errors
    /// Every mistake at once; a conflict when the chain belongs to the program or the file.
    pub async fn put_chain(&self, name: ChainName, chain: &Value) -> Result<(Arc<Chain>, bool), ManageError> {
        let origin = self.origin(Owner::Api);
        let plan = chain::parse(&name, chain, origin, &self.judge(origin))?;
        self.change(|hooks| async move { hooks.store_chain(name, plan).await }).await
    }

    async fn store_chain(&self, name: ChainName, plan: Plan) -> Result<(Arc<Chain>, bool), ManageError> {
        let old = self.chain(name.as_str());
        if let Some(old) = &old {
            expect_api(old.owner, &name)?;
        }
        // What a crash leaves undone of the endpoints of a stored chain is done at the next start, and only of those: what goes is
        // erased while the old chain is stored, and what comes is made once the new one is.
        if let Some(old) = &old {
            self.erase_endpoints(old.plan.endpoints().map(Step::endpoint).filter(|id| !has(&plan, id))).await?;
        }
        self.0.store.put_chain(name.to_string(), Some(plan.to_json().to_string())).await?;
        self.settle_endpoints(&name, &plan).await?;
        Ok((self.set_chain(name, plan, Owner::Api), old.is_none()))
    }

    /// Removes a chain and the endpoints of its asynchronous steps; what they held is dropped, reason `endpoint_deleted`.
    ///
    /// # Errors
    /// When there is none; a conflict when it belongs to the program or the file.
    pub async fn delete_chain(&self, name: &ChainName) -> Result<(), ManageError> {
        let name = name.clone();
        self.change(|hooks| async move {
            let old = hooks.chain(name.as_str()).ok_or_else(|| ManageError::NotFound(format!("chain {name}")))?;
            expect_api(old.owner, &name)?;
            // The chain goes last: a crash before leaves one that can be deleted again.
            hooks.erase_endpoints(old.plan.endpoints().map(Step::endpoint)).await?;
            hooks.0.store.put_chain(name.to_string(), None).await?;
            hooks.0.chains.write().unwrap_or_else(PoisonError::into_inner).remove(&name);
            info!(event = "chain.deleted", chain = %name, "chain deleted");
            Ok(())
        })
        .await
    }

    /// Starts with the chains that were stored and those of the operator's file; these win.
    pub(in super::super) async fn start_chains(
        &self,
        stored: Vec<(ChainName, Plan)>,
        file: Vec<(ChainName, Plan)>,
    ) -> Result<(), StartError> {
        let start = async {
            for (name, plan) in stored {
                self.settle_endpoints(&name, &plan).await?;
                self.set_chain(name, plan, Owner::Api);
            }
            self.follow_chains(file, Owner::File, &mut Applied::default()).await
        };
        start.await.map_err(|error: ManageError| match error {
            ManageError::Store(error) => StartError::Store(error),
            ManageError::Invalid(invalid) => StartError::Config(invalid),
            other => StartError::Store(crate::StoreError::Failed(other.to_string())),
        })
    }

    /// Those of `chains` that another one owns who is not the API's callers, as mistakes of `owner`'s.
    pub(in super::super) fn chains_of_others(&self, chains: &[(ChainName, Plan)], owner: Owner) -> Vec<Fault> {
        let taken = |(name, _): &(ChainName, Plan)| {
            let other = self.chain(name.as_str())?.owner;
            let place = name.as_str().replace('~', "~0").replace('/', "~1");
            let detail = || format!("belongs to {}", other.in_words());
            (other != owner && other != Owner::Api).then(|| Fault::new(format!("#/chains/{place}"), detail()))
        };
        chains.iter().filter_map(taken).collect()
    }

    /// Makes `chains` those of `owner`. One that is not among them is configured no more; the endpoints it leaves behind deliver
    /// what they hold, and belong to the callers of the API.
    pub(in super::super) async fn follow_chains(
        &self,
        chains: Vec<(ChainName, Plan)>,
        owner: Owner,
        applied: &mut Applied,
    ) -> Result<(), ManageError> {
        for old in self.chain_list().iter().filter(|old| old.owner == owner) {
            if !chains.iter().any(|(name, _)| *name == old.name) {
                self.0.chains.write().unwrap_or_else(PoisonError::into_inner).remove(&old.name);
                self.release_endpoints(&old.plan, None);
                applied.removed += 1;
                info!(event = "chain.deleted", chain = %old.name, "chain taken out; what it has started is delivered");
            }
        }
        for (name, plan) in chains {
            let old = self.chain(name.as_str());
            if old.as_ref().is_some_and(|old| *old.plan == plan && old.owner == owner) {
                applied.count(&Became::Same);
                continue;
            }
            self.settle_endpoints(&name, &plan).await?;
            if let Some(old) = &old {
                self.release_endpoints(&old.plan, Some(&plan));
            }
            self.0.store.put_chain(name.to_string(), None).await?;
            applied.count(&if old.is_some() { Became::Changed } else { Became::Created });
            self.set_chain(name, plan, owner);
        }
        Ok(())
    }

    fn set_chain(&self, name: ChainName, plan: Plan, owner: Owner) -> Arc<Chain> {
        let chain = Arc::new(Chain::new(name.clone(), plan, owner));
        info!(event = "chain.changed", chain = %name, owner = owner.as_str(), "chain configured");
        self.0.chains.write().unwrap_or_else(PoisonError::into_inner).insert(name, Arc::clone(&chain));
        chain
    }

    /// Makes the endpoints of the asynchronous steps what they are to be; one that is there keeps its state.
    async fn settle_endpoints(&self, name: &ChainName, plan: &Plan) -> Result<(), ManageError> {
        for step in plan.endpoints() {
            let mut settings = step.endpoint_settings(name.as_str());
            self.own(|owners| {
                owners.insert(step.endpoint().clone(), Owner::Chain);
            });
            match self.endpoint(step.endpoint()) {
                None => drop(self.insert(step.endpoint().clone(), settings).await?),
                Some(old) => {
                    settings.state = old.settings.state;
                    if settings != old.settings {
                        self.store_and_apply(&old, settings, None).await?;
                    }
                }
            }
        }
        Ok(())
    }

    async fn erase_endpoints<'a>(&self, ids: impl Iterator<Item = &'a EndpointId>) -> Result<(), ManageError> {
        for id in ids {
            if let Some(endpoint) = self.endpoint(id) {
                self.erase(&endpoint).await?;
            }
            self.own(|owners| {
                owners.remove(id);
            });
        }
        Ok(())
    }

    fn release_endpoints(&self, old: &Plan, new: Option<&Plan>) {
        let left = old.endpoints().map(Step::endpoint).filter(|id| !new.is_some_and(|new| has(new, id)));
        self.own(|owners| {
            for id in left {
                owners.remove(id);
            }
        });
    }

    fn own(&self, change: impl FnOnce(&mut std::collections::HashMap<EndpointId, Owner>)) {
        change(&mut self.0.owners.write().unwrap_or_else(PoisonError::into_inner).endpoints);
    }

    /// Who decides over the chain that has this endpoint.
    pub(in super::super) fn owner_of_chain_with(&self, id: &EndpointId) -> Owner {
        let chains = self.chain_list();
        chains.iter().find(|chain| has(&chain.plan, id)).map_or(Owner::Api, |chain| chain.owner)
    }
}

/// Whether one of its asynchronous steps has this endpoint.
fn has(plan: &Plan, id: &EndpointId) -> bool {
    plan.endpoints().any(|step| step.endpoint() == id)
}
