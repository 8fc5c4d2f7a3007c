//! What a start finds in the store, and what becomes of it.

use std::{
    collections::{BTreeMap, HashSet},
    path::Path,
    sync::Arc,
};

use serde_json::Value;
use tracing::info;

use super::{
    StartError,
    declared::{DeclaredEndpoint, in_the_way},
    grounds, whose,
};
use crate::{
    chain::{self, ChainName, Plan, plan::Step},
    clock::Clock,
    debounce::{Rule, RuleName},
    deliver::machine::Disabled,
    dispatch::Known,
    endpoint::{Endpoint, EndpointId, EndpointKey, Origin, Settings, State, target},
    error::{Invalid, StoreError},
    event::new_id,
    hub::{Hub, Publish},
    store::{Admitted, DropReason, EndpointChange, EndpointRow, Loaded, Store},
};

/// Events read at a time for recovery.
const RECOVERY: usize = 1000;
/// Endpoints read at a time.
const ENDPOINTS: usize = 500;

/// What the program and the file bring.
pub(super) struct Own<'a> {
    /// The program's endpoints, then the file's.
    pub(super) endpoints: Vec<DeclaredEndpoint>,
    /// Where those begin.
    pub(super) first_of_file: usize,
    pub(super) chains_of_file: &'a [(ChainName, Plan)],
    /// Where relative files lie.
    pub(super) file_root: Option<&'a Path>,
    /// Where none may lie.
    pub(super) data_dir: Option<&'a Path>,
}

/// What the store holds, with the endpoints of the program and the file as they are to be.
pub(super) async fn endpoints(
    store: &dyn Store,
    own: Own<'_>,
    allow_loopback: bool,
) -> Result<BTreeMap<EndpointId, Arc<Endpoint>>, StartError> {
    let Own { endpoints: own, first_of_file, chains_of_file, file_root, data_dir } = own;
    let mut endpoints = BTreeMap::new();
    let steps: HashSet<_> = chains_of_file.iter().flat_map(|(_, plan)| plan.endpoints()).map(Step::endpoint).collect();
    let declared: HashSet<_> = own.iter().map(|declared| &declared.id).collect();
    let mut rows = store.endpoints(EndpointKey(0), ENDPOINTS).await?;
    while let Some(last) = rows.last() {
        // The next ones are read from the store while these are made sense of.
        let next = store.endpoints(last.key, ENDPOINTS);
        for row in rows {
            // What belonged to a chain and does so no more has no more rights than what the API's callers make.
            let is_own = steps.contains(&row.id) || declared.contains(&row.id);
            let origin = if is_own { Origin::Code } else { Origin::Api { allow_loopback, file_root: true } };
            let endpoint = read_endpoint(&row, origin)?;
            endpoints.insert(endpoint.id.clone(), Arc::new(endpoint));
        }
        rows = next.await?;
    }
    let in_list = |index: usize| index.checked_sub(first_of_file).unwrap_or(index);
    let found = own.iter().enumerate();
    let moved = found.filter_map(|(index, new)| whose::fault(in_list(index), endpoints.get(&new.id)?, new));
    Invalid::unless_empty(moved.collect())?;
    let found = disturbing(&endpoints, &own, file_root, data_dir).into_iter();
    Invalid::unless_empty(found.map(|(index, why)| in_the_way((in_list(index), why))).collect())?;
    for declared in own {
        let id = declared.id.clone();
        let endpoint = match endpoints.get(&id) {
            Some(old) => {
                let settings = declared.over(old);
                if print(&settings) == print(&old.settings) {
                    Endpoint { settings, ..Endpoint::clone(old) }
                } else {
                    let row = store.update_endpoint(old.key, change(old, &settings, None)).await?;
                    endpoint_of(&row, settings)
                }
            }
            None => {
                let settings = with_secret(declared.settings)?;
                let row = store.create_endpoint(id.clone(), print(&settings)).await?;
                endpoint_of(&row, settings)
            }
        };
        endpoints.insert(id, Arc::new(endpoint));
    }
    Ok(endpoints)
}

/// Before anything is written: a file that several endpoints have is rotated in one way, and none is among the data.
fn disturbing(
    stored: &BTreeMap<EndpointId, Arc<Endpoint>>,
    own: &[DeclaredEndpoint],
    file_root: Option<&Path>,
    data_dir: Option<&Path>,
) -> Vec<(usize, String)> {
    let declared: HashSet<_> = own.iter().map(|declared| &declared.id).collect();
    let stored = stored.values().filter(|endpoint| !declared.contains(&endpoint.id));
    let stored: Vec<_> = stored.map(|endpoint| (&endpoint.id, &endpoint.settings.target)).collect();
    let own: Vec<_> = own.iter().map(|declared| (&declared.id, &declared.settings.target)).collect();
    let mut found = target::disturbing(&stored, &own, file_root);
    found.extend(grounds::trespassing(&own, file_root, data_dir));
    found
}

/// The change from `old` to `settings`, for the store.
pub(super) fn change(old: &Endpoint, settings: &Settings, reason: Option<Disabled>) -> EndpointChange {
    let state = settings.state;
    EndpointChange {
        settings: print(settings),
        state_changed: state != old.settings.state,
        state_reason: reason.map(|reason| reason.as_str().to_owned()),
        drop_pending: (state == State::Disabled).then_some(DropReason::EndpointDisabled),
    }
}

pub(super) fn with_secret(settings: Settings) -> Result<Settings, StartError> {
    settings.with_generated_secret().map_err(|source| StartError::System { what: "no randomness for a secret", source })
}

/// Settings as the store keeps them.
pub(super) fn print(settings: &Settings) -> String {
    settings.to_json().to_string()
}

pub(super) fn endpoint_of(row: &EndpointRow, settings: Settings) -> Endpoint {
    let EndpointRow { key, id, version, created_at, updated_at, state_since, state_reason, .. } = row;
    Endpoint {
        key: *key,
        id: id.clone(),
        settings,
        version: *version,
        created_at: *created_at,
        updated_at: *updated_at,
        state_since: *state_since,
        state_reason: state_reason.clone(),
    }
}

pub(super) fn read_endpoint(row: &EndpointRow, origin: Origin) -> Result<Endpoint, StartError> {
    let unusable = |detail: String| StoreError::Unusable(format!("endpoint {}: {detail}", row.id));
    let value: Value = serde_json::from_str(&row.settings).map_err(|error| unusable(error.to_string()))?;
    // Its addresses and its files are judged again at each attempt.
    let settings = Settings::restore(&value, origin);
    Ok(endpoint_of(row, settings.map_err(|invalid| unusable(invalid.to_string()))?))
}

/// What the store holds, with the program's own rules as they are to be; those that change forget their windows.
pub(super) async fn rules(
    store: &dyn Store,
    loaded: &mut Loaded,
    own: Vec<(RuleName, Rule)>,
) -> Result<BTreeMap<RuleName, Rule>, StartError> {
    let mut rules = BTreeMap::new();
    for (name, rule) in &loaded.rules {
        let unusable = |detail: String| StoreError::Unusable(format!("debounce rule {name}: {detail}"));
        let value: Value = serde_json::from_str(rule).map_err(|error| unusable(error.to_string()))?;
        let rule = Rule::parse(&value).map_err(|invalid| unusable(invalid.to_string()))?;
        rules.insert(name.parse().map_err(|error| unusable(format!("{error}")))?, rule);
    }
    for (name, rule) in own {
        if rules.get(&name) != Some(&rule) {
            store.put_rule(name.to_string(), Some(rule.to_json().to_string())).await?;
            loaded.windows.retain(|window| window.rule != name.as_str());
        }
        rules.insert(name, rule);
    }
    Ok(rules)
}

/// The chains that callers of the API have made.
pub(super) fn stored_chains(loaded: &Loaded, allow_loopback: bool) -> Result<Vec<(ChainName, Plan)>, StoreError> {
    let read = |(name, chain): &(String, String)| {
        let unusable = |detail: String| StoreError::Unusable(format!("chain {name}: {detail}"));
        let value: Value = serde_json::from_str(chain).map_err(|error| unusable(error.to_string()))?;
        let name: ChainName = name.parse().map_err(|error| unusable(format!("{error}")))?;
        let plan = chain::restore(&name, &value, Origin::Api { allow_loopback, file_root: true });
        Ok((name, plan.map_err(|invalid| unusable(invalid.to_string()))?))
    };
    loaded.chains.iter().map(read).collect()
}

pub(super) fn known(endpoints: &BTreeMap<EndpointId, Arc<Endpoint>>, loaded: &Loaded) -> Vec<Known> {
    let pending: HashSet<_> = loaded.pending.iter().copied().collect();
    let breakers: BTreeMap<_, _> = loaded.breakers.iter().copied().collect();
    let known = |endpoint: &Arc<Endpoint>| Known {
        endpoint: Arc::clone(endpoint),
        breaker: breakers.get(&endpoint.key).copied().unwrap_or_default(),
        pending: pending.contains(&endpoint.key),
    };
    endpoints.values().map(known).collect()
}

/// Sends what was accepted and not judged before the last end through the pipeline again, in order.
pub(super) async fn recover(store: &dyn Store, judged_through: u64, hub: &actix::Addr<Hub>) -> Result<(), StoreError> {
    let mut after = judged_through;
    loop {
        let events = store.unjudged(after, RECOVERY).await?;
        let Some(last) = events.last() else { break };
        after = last.seq;
        hub.do_send(Publish(events.into_iter().map(|event| Admitted { event, permit: None }).collect()));
    }
    if after > judged_through {
        info!(event = "store.recovered", events = after - judged_through, "events accepted before go on their way");
    }
    Ok(())
}

/// A new id for an endpoint that was given none.
pub(super) fn new_endpoint_id(clock: &Clock) -> String {
    new_id("ep", clock.now().wall)
}

#[cfg(all(test, feature = "testing", feature = "sqlite"))]
mod tests {
    use crate::{
        Endpoint, Hookmill,
        testing::{Script, ScriptedTransport},
    };

    async fn start(dir: &std::path::Path) -> Result<Hookmill, crate::StartError> {
        let receiver = ScriptedTransport::new(|_| Script::status(200));
        let endpoint = Endpoint::http("crm", "https://crm.example/").unsigned();
        let builder = Hookmill::builder().data_dir(dir).disk_reserve(0).endpoint(endpoint);
        builder.transport(receiver.factory()).start().await
    }

    #[test]
    fn a_row_that_cannot_be_read_at_the_start_is_told_with_the_file_and_a_way_out() {
        for damage in [
            "UPDATE endpoints SET settings = CAST(x'ff41' AS TEXT)",
            "UPDATE endpoints SET id = CAST(x'ff41' AS TEXT)",
            "UPDATE endpoints SET settings = x'00'",
            "UPDATE endpoints SET settings = '{}x'",
            "UPDATE endpoints SET breaker_cooldown = 'x', failing_since = 'y'",
            "INSERT INTO rules (name, rule) VALUES ('a', x'00')",
            "INSERT INTO rules (name, rule) VALUES ('a', '[]')",
            "INSERT INTO chains (name, chain) VALUES ('a', CAST(x'ff41' AS TEXT))",
            "UPDATE meta SET value = 'x' WHERE name = 'judged_through'",
            "DROP TABLE tokens",
        ] {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let dir = tempfile::tempdir().unwrap();
                start(dir.path()).await.unwrap().shutdown(std::time::Duration::from_secs(5)).await;
                let file = dir.path().join("hookmill.db");
                rusqlite::Connection::open(&file).unwrap().execute_batch(damage).unwrap();
                let error = start(dir.path()).await.unwrap_err().to_string();
                assert_eq!(error.matches(file.to_str().unwrap()).count(), 1, "{damage}: {error}");
                for way_out in ["store check", "store restore", "store export"] {
                    assert_eq!(error.matches(way_out).count(), 1, "{damage}: {error}");
                }
            });
        }
    }
}
