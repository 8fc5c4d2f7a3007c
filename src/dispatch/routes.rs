//! Which endpoints an event is for: an index by tenant and topic, so that the cost of an event grows with its matches only.

use std::{
    collections::{BTreeSet, HashMap, hash_map::Entry},
    hash::Hash,
    sync::Arc,
};

use crate::{
    endpoint::{EndpointKey, Settings, TenantScope, filter::Filter},
    event::{Accepted, Tenant, Topic, TopicPattern, pointer::View},
};

/// The index over all endpoints.
#[derive(Debug, Default)]
pub struct Routes {
    without: Topics,
    every: Topics,
    tenants: HashMap<Tenant, Topics>,
}

/// Endpoints by topics that they name.
#[derive(Debug, Default)]
pub(super) struct Topics {
    all: BTreeSet<EndpointKey>,
    /// By prefix, with its dot.
    below: HashMap<Arc<str>, Keys>,
    exact: HashMap<Topic, Keys>,
}

/// Endpoints of one topic; where there are many topics, most have one.
#[derive(Debug)]
enum Keys {
    One(EndpointKey),
    #[expect(clippy::box_collection, reason = "a topic of one endpoint does not pay for those of many")]
    Many(Box<BTreeSet<EndpointKey>>),
}

impl Keys {
    fn add(keys: Entry<'_, impl Eq + Hash, Self>, key: EndpointKey) {
        match keys {
            Entry::Vacant(none) => drop(none.insert(Self::One(key))),
            Entry::Occupied(mut keys) => keys.get_mut().insert(key),
        }
    }

    fn insert(&mut self, key: EndpointKey) {
        match self {
            Self::One(one) if *one == key => {}
            Self::One(one) => *self = Self::Many(Box::new([*one, key].into())),
            Self::Many(keys) => drop(keys.insert(key)),
        }
    }

    /// Takes an endpoint out; tells whether none is left.
    fn remove(&mut self, key: EndpointKey) -> bool {
        match self {
            Self::One(one) => *one == key,
            Self::Many(keys) => {
                keys.remove(&key);
                keys.is_empty()
            }
        }
    }

    fn collect(&self, keys: &mut Vec<EndpointKey>) {
        match self {
            Self::One(key) => keys.push(*key),
            Self::Many(many) => keys.extend(many.iter()),
        }
    }
}

impl Routes {
    /// Adds an endpoint.
    pub fn insert(&mut self, key: EndpointKey, settings: &Settings) {
        let topics = match &settings.tenant {
            TenantScope::None => &mut self.without,
            TenantScope::Every => &mut self.every,
            TenantScope::Of(tenant) => self.tenants.entry(tenant.clone()).or_default(),
        };
        for pattern in &settings.topics {
            topics.add(pattern, key);
        }
    }

    /// Takes an endpoint out, given the settings it was added with.
    pub fn remove(&mut self, key: EndpointKey, settings: &Settings) {
        let topics = match &settings.tenant {
            TenantScope::None => Some(&mut self.without),
            TenantScope::Every => Some(&mut self.every),
            TenantScope::Of(tenant) => self.tenants.get_mut(tenant),
        };
        let Some(topics) = topics else { return };
        settings.topics.iter().for_each(|pattern| topics.forget(pattern, key));
        if let TenantScope::Of(tenant) = &settings.tenant {
            self.tenants.retain(|known, topics| known != tenant || !topics.is_empty());
        }
    }

    /// The endpoints that want `event`, each once, by key; `filter` tells an endpoint's own. The filters share one `view` of
    /// the event: none reads again what another has read, and nothing is read where no endpoint has a filter.
    pub fn wanting<'a>(
        &self,
        event: &Accepted,
        view: &View<'_>,
        filter: impl Fn(EndpointKey) -> Option<&'a Filter>,
    ) -> Vec<EndpointKey> {
        let mut keys = self.matching(event);
        keys.retain(|key| filter(*key).is_none_or(|filter| filter.matches(view)));
        keys
    }

    /// The endpoints whose tenant and topics `event` has, each once, by key.
    pub fn matching(&self, event: &Accepted) -> Vec<EndpointKey> {
        let own = match &event.tenant {
            Some(tenant) => self.tenants.get(tenant),
            None => Some(&self.without),
        };
        let mut keys = Vec::new();
        own.into_iter().chain([&self.every]).for_each(|topics| topics.collect(&event.topic, &mut keys));
        keys.sort_unstable();
        keys.dedup();
        keys
    }
}

impl Topics {
    pub(super) fn add(&mut self, pattern: &TopicPattern, key: EndpointKey) {
        match pattern {
            TopicPattern::All => drop(self.all.insert(key)),
            TopicPattern::Below(prefix) => Keys::add(self.below.entry(Arc::clone(prefix)), key),
            TopicPattern::Exact(topic) => Keys::add(self.exact.entry(topic.clone()), key),
        }
    }

    pub(super) fn forget(&mut self, pattern: &TopicPattern, key: EndpointKey) {
        match pattern {
            TopicPattern::All => drop(self.all.remove(&key)),
            TopicPattern::Below(prefix) => {
                if self.below.get_mut(prefix).is_some_and(|keys| keys.remove(key)) {
                    self.below.remove(prefix);
                }
            }
            TopicPattern::Exact(topic) => {
                if self.exact.get_mut(topic).is_some_and(|keys| keys.remove(key)) {
                    self.exact.remove(topic);
                }
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty() && self.below.is_empty() && self.exact.is_empty()
    }

    pub(super) fn collect(&self, topic: &Topic, keys: &mut Vec<EndpointKey>) {
        // `*` leaves out our own topics: ask the pattern, so that one place knows.
        if !self.all.is_empty() && TopicPattern::All.matches(topic) {
            keys.extend(&self.all);
        }
        if !self.below.is_empty() {
            let prefixes = topic.as_str().match_indices('.').filter_map(|(dot, _)| topic.as_str().get(..=dot));
            prefixes.filter_map(|prefix| self.below.get(prefix)).for_each(|below| below.collect(keys));
        }
        self.exact.get(topic).into_iter().for_each(|exact| exact.collect(keys));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::{
        clock::Timestamp,
        endpoint::settings::Origin,
        event::{Event, pointer::reads},
    };

    fn settings(tenant: Option<&str>, topics: &[String]) -> Settings {
        let value = json!({"url": "https://example.org/", "tenant": tenant, "topics": topics});
        Settings::parse(&value, Origin::Code, |_: &_, _| Ok(())).unwrap()
    }

    fn event(tenant: Option<&str>, topic: &str) -> Accepted {
        let mut event = Event::from_json(topic, "1");
        event.tenant = tenant.map(str::to_owned);
        Accepted::new(1, Timestamp::default(), event.validate(Timestamp::default()).unwrap())
    }

    fn a_tenant() -> impl Strategy<Value = Option<&'static str>> {
        prop_oneof![Just(None), Just(Some("a")), Just(Some("b"))]
    }

    fn a_scope() -> impl Strategy<Value = Option<&'static str>> {
        prop_oneof![Just(None), Just(Some("a")), Just(Some("b")), Just(Some("*"))]
    }

    fn some_topics() -> impl Strategy<Value = Vec<String>> {
        prop::collection::vec(r"(\*|[ab](\.[ab]){0,2}(\.\*)?)", 1..4)
    }

    proptest! {
        /// The index finds exactly what asking each endpoint would find, also after some have been taken out again.
        #[test]
        fn the_index_answers_as_asking_everybody_would(
            endpoints in prop::collection::vec((a_scope(), some_topics(), any::<bool>()), 1..12),
            tenant in a_tenant(),
            topic in r"[ab](\.[ab]){0,3}",
        ) {
            let mut routes = Routes::default();
            let event = event(tenant, &topic);
            let mut expected = Vec::new();
            for (key, (scope, topics, stays)) in (1..).map(EndpointKey).zip(&endpoints) {
                let settings = settings(*scope, topics);
                routes.insert(key, &settings);
                if *stays && settings.wants(&event) {
                    expected.push(key);
                }
            }
            for (key, (scope, topics, stays)) in (1..).map(EndpointKey).zip(&endpoints) {
                if !stays {
                    routes.remove(key, &settings(*scope, topics));
                }
            }
            prop_assert_eq!(routes.matching(&event), expected);
        }
    }

    /// How often data is read for an event that three endpoints want, with these filters.
    fn reads(filters: &[Option<Filter>; 3], expected: usize) -> usize {
        let (mut routes, settings) = (Routes::default(), settings(None, &["*".to_owned()]));
        (1..=3).for_each(|key| routes.insert(EndpointKey(key), &settings));
        let mut event = event(None, "a");
        event.data = r#"{"a": {"b": 1}, "c": [2]}"#.into();
        let filter = |key: EndpointKey| filters[usize::try_from(key.0).unwrap() - 1].as_ref();
        reads::during(|| assert_eq!(routes.wanting(&event, &View::of(&event), filter).len(), expected))
    }

    #[test]
    fn the_data_is_read_at_most_once_and_only_for_filters() {
        let filter = |pointer: &str| {
            let value = json!({"url": "https://a.b/", "filter": {"pointer": pointer, "exists": true}});
            Settings::parse(&value, Origin::Code, |_: &_, _| Ok(())).unwrap().filter
        };
        assert_eq!(reads(&[None, None, None], 3), 0);
        assert_eq!(reads(&[filter("/topic"), filter("/key"), None], 2), 0);
        assert_eq!(reads(&[filter("/data/a"), filter("/data/c"), filter("/data/x")], 2), 1);
        // The whole, and once what is in `a`.
        assert_eq!(reads(&[filter("/data/a/b"), filter("/data/c"), filter("/data/a/b")], 3), 2);
    }

    #[test]
    fn nothing_is_left_of_what_was_taken_out() {
        let mut routes = Routes::default();
        let settings = settings(Some("a"), &["x.*".to_owned(), "y".to_owned()]);
        routes.insert(EndpointKey(1), &settings);
        routes.remove(EndpointKey(1), &settings);
        assert!(routes.tenants.is_empty());
    }
}
