//! Following an operator's file while events flow.

use std::{
    collections::{HashMap, HashSet},
    fmt::Display,
    hash::Hash,
    sync::{Arc, PoisonError},
};

use tracing::info;

use super::{Declared, Hookmill, ManageError, Owner, declared::DeclaredEndpoint};
use crate::{
    endpoint::{Endpoint, EndpointBuilder, Origin},
    error::{Fault, Invalid, StoreError},
};

/// What following a file came to: endpoints, rules and chains together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Applied {
    /// That were not there before.
    pub created: usize,
    /// That have other settings now.
    pub changed: usize,
    /// That are as they were.
    pub unchanged: usize,
    /// That the file does not have any more: they stay as they are, and belong to the callers of the API now.
    pub released: usize,
    /// Chains that the file does not have any more: they are gone. Their endpoints stay, and belong to the callers of the API.
    pub removed: usize,
}

pub(super) enum Became {
    Created,
    Changed,
    Same,
}

impl Hookmill {
    /// Makes the endpoints, rules and chains of the operator's file those of `declared`, as [`Builder::declare`] does at a start. Each
    /// is stored before it is in force; no event is lost, no counter and no id is reset, and what does not change is not
    /// touched. Applying the same again changes nothing.
    ///
    /// # Errors
    /// [`ManageError::Invalid`] with all that belong to the program, all that would change their tenants (see
    /// [`TenantScope`](crate::endpoint::TenantScope)), or all files that disturb those of others: nothing changed. When the
    /// store fails, what came before in the file is in force.
    ///
    /// [`Builder::declare`]: crate::Builder::declare
    pub async fn apply(&self, declared: Declared) -> Result<Applied, ManageError> {
        let turn = self.turn().await;
        self.expect_not_of_the_program(&declared)?;
        self.expect_same_tenants(&declared)?;
        declared.expect_undisturbing(|new| self.disturbing(new))?;
        self.see_through(turn, |hooks| async move { hooks.follow_all(declared).await }).await
    }

    async fn follow_all(&self, declared: Declared) -> Result<Applied, ManageError> {
        let mut applied = Applied { released: self.take_over(&declared), ..Applied::default() };
        let Declared { endpoints, rules, chains } = declared;
        for endpoint in endpoints {
            applied.count(&self.follow(endpoint).await?);
        }
        let old_rules = self.rules();
        for (name, rule) in rules {
            let old = old_rules.get(&name);
            let became = match self.store_rule(name, rule, old).await? {
                true if old.is_none() => Became::Created,
                true => Became::Changed,
                false => Became::Same,
            };
            applied.count(&became);
        }
        self.follow_chains(chains, Owner::File, &mut applied).await?;
        Ok(applied)
    }

    /// Sets one of the program's own endpoints while events flow, or makes it, as [`Builder::endpoint`] does at a start: a
    /// generated secret stays, and so does the state unless the settings name one.
    ///
    /// # Errors
    /// Every mistake at once; a conflict when the endpoint belongs to the operator's file, or to another tenant. Nothing changes
    /// then.
    ///
    /// [`Builder::endpoint`]: crate::Builder::endpoint
    pub async fn set_endpoint(&self, endpoint: EndpointBuilder) -> Result<Arc<Endpoint>, ManageError> {
        let names_state = endpoint.names_state();
        let (id, settings) = endpoint.build(self.judge(Origin::Code))?;
        self.change(|hooks| async move {
            if hooks.endpoint_owner(&id) == Owner::File {
                return Err(ManageError::Conflict(format!("{id} belongs to {}", Owner::File.in_words())));
            }
            if let Some(old) = hooks.endpoint(&id) {
                hooks.expect_same_tenant(&old, &settings)?;
            }
            hooks.expect_undisturbed(&id, &settings)?;
            hooks.follow(DeclaredEndpoint { id: id.clone(), settings, names_state }).await?;
            hooks.0.owners.write().unwrap_or_else(PoisonError::into_inner).endpoints.insert(id.clone(), Owner::Code);
            hooks.endpoint(&id).ok_or_else(|| ManageError::NotFound(format!("endpoint {id}")))
        })
        .await
    }

    async fn follow(&self, declared: DeclaredEndpoint) -> Result<Became, ManageError> {
        let Some(old) = self.endpoint(&declared.id) else {
            self.insert(declared.id, declared.settings).await?;
            return Ok(Became::Created);
        };
        let settings = declared.over(&old).with_generated_secret();
        let settings = settings.map_err(|error| StoreError::Failed(error.to_string()))?;
        if settings == old.settings {
            return Ok(Became::Same);
        }
        self.store_and_apply(&old, settings, None).await?;
        Ok(Became::Changed)
    }

    fn expect_not_of_the_program(&self, declared: &Declared) -> Result<(), Invalid> {
        let fault = |place: String| Fault::new(place, "belongs to the program");
        let endpoints = declared.endpoints.iter().enumerate();
        let endpoints = endpoints.filter(|(_, endpoint)| self.endpoint_owner(&endpoint.id) == Owner::Code);
        let rules = declared.rules.iter().filter(|(name, _)| self.rule_owner(name) == Owner::Code);
        let mut faults: Vec<_> = endpoints.map(|(index, _)| fault(format!("#/endpoints/{index}"))).collect();
        faults.extend(rules.map(|(name, _)| fault(format!("#/debounce_rules/{name}"))));
        faults.extend(self.chains_of_others(&declared.chains, Owner::File));
        Invalid::unless_empty(faults)
    }

    /// Gives the file what it declares and the callers of the API what it has left out; tells how many those are.
    fn take_over(&self, declared: &Declared) -> usize {
        let endpoints = declared.endpoints.iter().map(|endpoint| endpoint.id.clone()).collect();
        let rules = declared.rules.iter().map(|(name, _)| name.clone()).collect();
        let mut owners = self.0.owners.write().unwrap_or_else(PoisonError::into_inner);
        release("endpoint", &mut owners.endpoints, endpoints) + release("debounce rule", &mut owners.rules, rules)
    }
}

fn release<K: Display + Eq + Hash>(kind: &str, owners: &mut HashMap<K, Owner>, declared: HashSet<K>) -> usize {
    let before = owners.len();
    owners.retain(|name, owner| {
        let stays = *owner != Owner::File || declared.contains(name);
        if !stays {
            info!(event = "config.released", kind, %name, "the file has it no more: it stays, and the API can change it");
        }
        stays
    });
    let released = before - owners.len();
    owners.extend(declared.into_iter().map(|name| (name, Owner::File)));
    released
}

impl Applied {
    pub(super) fn count(&mut self, became: &Became) {
        match became {
            Became::Created => self.created += 1,
            Became::Changed => self.changed += 1,
            Became::Same => self.unchanged += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        Builder, Debounce, Endpoint,
        endpoint::{Secret, State},
    };

    const URL: &str = "https://example.org/hook";

    fn declared(endpoints: &Value) -> Declared {
        let rules = json!({"x": {"topics": ["x"], "window": "1m"}});
        Declared::parse(&json!({"endpoints": endpoints, "debounce_rules": rules})).unwrap()
    }

    /// Runs a Hookmill in memory.
    fn run(builder: Builder, test: impl AsyncFnOnce(Hookmill)) {
        actix_rt::System::new().block_on(async { test(builder.in_memory().start().await.unwrap()).await });
    }

    fn counts(applied: Applied) -> [usize; 4] {
        [applied.created, applied.changed, applied.unchanged, applied.released]
    }

    #[test]
    fn the_file_cannot_have_what_the_program_has() {
        let builder = || Hookmill::builder().endpoint(Endpoint::http("a", URL)).debounce(Debounce::on("x"));
        let file = declared(&json!([{"id": "b", "url": URL}, {"id": "a", "url": URL}]));
        run(builder(), async |hooks| {
            let Err(ManageError::Invalid(invalid)) = hooks.apply(file.clone()).await else { panic!("taken over") };
            let places: Vec<_> = invalid.faults().iter().map(|fault| fault.pointer.as_str()).collect();
            assert_eq!(places, ["#/endpoints/1", "#/debounce_rules/x"]);
            assert_eq!(hooks.endpoints().len(), 1, "nothing changed");
            assert!(builder().declare(file).in_memory().start().await.is_err());
        });
    }

    #[test]
    fn what_the_program_and_the_file_declare_keeps_its_tenant() {
        run(Hookmill::builder(), async |hooks| {
            let file = |a: Value, b: Value| {
                declared(
                    &json!([{"id": "a", "url": URL, "tenant": a}, {"id": "b", "url": URL, "tenant": b, "in_flight": 3}]),
                )
            };
            hooks.apply(declared(&json!([{"id": "a", "url": URL, "tenant": "acme"}]))).await.unwrap();
            for other in [json!("beta"), json!("*"), Value::Null] {
                let Err(ManageError::Invalid(invalid)) = hooks.apply(file(other, Value::Null)).await else {
                    panic!("it has changed hands")
                };
                let [fault] = invalid.faults() else { panic!("{invalid}") };
                assert!(fault.pointer == "#/endpoints/0/tenant" && fault.detail.contains("acme"), "{invalid}");
                assert_eq!(hooks.endpoints().len(), 1, "nothing changed");
            }
            assert_eq!(counts(hooks.apply(file(json!("acme"), Value::Null)).await.unwrap()), [1, 0, 2, 0]);
            assert_eq!(counts(hooks.apply(file(json!("acme"), json!("*"))).await.unwrap()), [0, 1, 2, 0]);

            hooks.set_endpoint(Endpoint::http("c", URL).tenant("acme")).await.unwrap();
            for other in [Endpoint::http("c", URL).tenant("beta"), Endpoint::http("c", URL)] {
                let refused = hooks.set_endpoint(other).await;
                assert!(matches!(refused, Err(ManageError::Conflict(_))), "{refused:?}");
            }
            hooks.set_endpoint(Endpoint::http("c", URL).tenant("acme").in_flight(1)).await.unwrap();
        });
    }

    #[cfg(feature = "sqlite")]
    #[test]
    fn a_start_changes_no_tenant_either() {
        let dir = tempfile::tempdir().unwrap();
        let start = |builder: Builder| {
            let stored = builder.data_dir(dir.path());
            actix_rt::System::new().block_on(async {
                let hooks = stored.start().await?;
                hooks.shutdown(std::time::Duration::from_secs(5)).await;
                Ok::<_, crate::StartError>(())
            })
        };
        let of = |tenant: &str| declared(&json!([{"id": "a", "url": URL, "tenant": tenant}]));
        start(Hookmill::builder().declare(of("acme"))).unwrap();
        let builder = || Hookmill::builder().endpoint(Endpoint::http("z", URL));
        let refused = start(builder().declare(of("beta"))).unwrap_err().to_string();
        assert!(refused.contains("#/endpoints/0/tenant") && refused.contains("acme"), "{refused}");
        let refused = start(builder().endpoint(Endpoint::http("a", URL))).unwrap_err().to_string();
        assert!(refused.contains("#/endpoints/1/tenant"), "{refused}");
        start(builder().declare(of("acme"))).unwrap();
    }

    #[test]
    fn applying_again_changes_nothing_and_leaving_out_releases() {
        run(Hookmill::builder(), async |hooks| {
            let both = declared(&json!([{"id": "a", "url": URL}, {"id": "b", "url": URL}]));
            assert_eq!(counts(hooks.apply(both.clone()).await.unwrap()), [3, 0, 0, 0]);
            assert_eq!(counts(hooks.apply(both).await.unwrap()), [0, 0, 3, 0]);
            let one = declared(&json!([{"id": "a", "url": URL, "in_flight": 1}]));
            assert_eq!(counts(hooks.apply(one).await.unwrap()), [0, 1, 1, 1]);
            let owner = |id: &str| hooks.endpoint_owner(&id.parse().unwrap());
            assert_eq!([owner("a"), owner("b")], [Owner::File, Owner::Api]);
            assert_eq!(hooks.endpoints().len(), 2, "it stays");
        });
    }

    #[test]
    fn a_state_and_a_secret_stay_unless_the_file_brings_them() {
        run(Hookmill::builder(), async |hooks| {
            let id = "a".parse().unwrap();
            let file = |more: Value| {
                let mut endpoint = json!({"id": "a", "url": "http://127.0.0.1:1/"});
                endpoint.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
                declared(&json!([endpoint]))
            };
            hooks.apply(file(json!({}))).await.unwrap();
            let made = hooks.endpoint(&id).unwrap().settings.clone();
            hooks.patch_endpoint(&id, &json!({"state": "paused"}), None).await.unwrap();
            hooks.apply(file(json!({"timeout": "1s"}))).await.unwrap();
            let kept = hooks.endpoint(&id).unwrap().settings.clone();
            assert_eq!((kept.state, &kept.signing), (State::Paused, &made.signing));
            let secret = Secret::generate().unwrap().reveal();
            hooks.apply(file(json!({"state": "active", "secret": secret}))).await.unwrap();
            let brought = hooks.endpoint(&id).unwrap().settings.clone();
            assert!(brought.state == State::Active && brought.signing != made.signing);
        });
    }
}
