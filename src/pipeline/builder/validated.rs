//! What a program and its operator's file declare, judged before anything is started.

use std::{collections::HashMap, hash::Hash};

use url::Url;

use super::{
    super::{Declared, Owner, Owners, declared::DeclaredEndpoint},
    Builder,
};
use crate::{
    debounce::{Rule, RuleName},
    error::{Fault, Invalid},
};

impl Builder {
    /// The endpoints and rules of the program and of the file, and whose they are; or every mistake in them.
    #[expect(clippy::type_complexity, reason = "named where it is taken apart")]
    pub(super) fn validated(&self) -> Result<(Vec<DeclaredEndpoint>, Vec<(RuleName, Rule)>, Owners), Invalid> {
        let mut faults = Vec::new();
        let relative = self.file_roots.iter().enumerate().filter(|(_, root)| !root.is_absolute());
        faults
            .extend(relative.map(|(index, _)| Fault::new(format!("#/file_roots/{index}"), "must be an absolute path")));
        faults.extend(self.retention.mistake().map(|mistake| Fault::new("#/retention/outcomes", mistake)));
        let judge = |url: &Url, guard| self.perimeter.judge_url(url, guard);
        let endpoints = self.endpoints.iter().enumerate().map(|(index, endpoint)| {
            endpoint.clone().build(judge).map_err(|invalid| invalid.below(&format!("/endpoints/{index}")))
        });
        let endpoints = collect(endpoints, &mut faults).into_iter();
        let endpoints = endpoints.map(|(id, settings)| DeclaredEndpoint { id, settings, names_state: false }).collect();
        let rules = self.rules.iter().enumerate();
        let rules =
            rules.map(|(index, rule)| rule.build().map_err(|invalid| invalid.below(&format!("/debounce/{index}"))));
        let rules = collect(rules, &mut faults);
        let Declared { endpoints: file_endpoints, rules: file_rules, .. } = self.declared.clone();
        let endpoints = owned([(Owner::Code, endpoints), (Owner::File, file_endpoints)], |endpoint| &endpoint.id);
        let rules = owned([(Owner::Code, rules), (Owner::File, file_rules)], |(name, _)| name);
        faults.extend(
            endpoints
                .taken
                .iter()
                .map(|(index, id)| Fault::new(format!("#/endpoints/{index}"), format!("{id} is there already"))),
        );
        faults.extend(rules.taken.iter().map(|(index, name)| {
            Fault::new(format!("#/debounce/{index}"), format!("{name} is there already: name one of them"))
        }));
        let owners = Owners { endpoints: endpoints.owners, rules: rules.owners };
        Invalid::unless_empty(faults).map(|()| (endpoints.items, rules.items, owners))
    }
}

/// What two owners bring, in one list.
struct Owned<T, K> {
    items: Vec<T>,
    owners: HashMap<K, Owner>,
    /// Those whose name another one has, with their place among what their owner brings.
    taken: Vec<(usize, K)>,
}

fn owned<T, K: Clone + Eq + Hash>(brought: [(Owner, Vec<T>); 2], name: impl Fn(&T) -> &K) -> Owned<T, K> {
    let mut owned = Owned { items: Vec::new(), owners: HashMap::new(), taken: Vec::new() };
    for (owner, items) in brought {
        for (index, item) in items.into_iter().enumerate() {
            if owned.owners.insert(name(&item).clone(), owner).is_some() {
                owned.taken.push((index, name(&item).clone()));
            }
            owned.items.push(item);
        }
    }
    owned
}

fn collect<T>(results: impl Iterator<Item = Result<T, Invalid>>, faults: &mut Vec<Fault>) -> Vec<T> {
    results.filter_map(|result| result.map_err(|invalid| faults.extend(Vec::from(invalid))).ok()).collect()
}
