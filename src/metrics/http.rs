//! Calls of the HTTP API, by the pattern of their path: never by the path itself, which callers choose.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use super::{Counter, EXCHANGES, Histogram};

/// Every route that was mounted.
#[derive(Debug, Default)]
pub struct Http(RwLock<Vec<Arc<Route>>>);

/// The calls of one route.
#[derive(Debug)]
pub struct Route {
    /// The pattern of its path.
    pub name: String,
    /// How long its calls took.
    pub duration: Histogram,
    /// By method and status. Written to for each pair once.
    calls: RwLock<BTreeMap<(&'static str, u16), Counter>>,
}

impl Http {
    /// The route of this name; the same one for all who serve it.
    pub fn route(&self, name: &str) -> Arc<Route> {
        let mut routes = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = routes.iter().find(|route| route.name == name) {
            return Arc::clone(known);
        }
        let route = Arc::new(Route {
            name: name.to_owned(),
            duration: Histogram::seconds(EXCHANGES),
            calls: RwLock::default(),
        });
        routes.push(Arc::clone(&route));
        route
    }

    /// Every route, in the order in which they were mounted.
    pub fn routes(&self) -> Vec<Arc<Route>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Route {
    /// A call was answered.
    pub fn answered(&self, method: &'static str, status: u16, took: Duration) {
        self.duration.time(took);
        let key = (method, status);
        if let Some(counter) = self.calls.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return counter.one();
        }
        self.calls.write().unwrap_or_else(PoisonError::into_inner).entry(key).or_default().one();
    }

    /// How many calls there were, by method and status.
    pub fn calls(&self) -> Vec<(&'static str, u16, u64)> {
        let calls = self.calls.read().unwrap_or_else(PoisonError::into_inner);
        calls.iter().map(|((method, status), counter)| (*method, *status, counter.read())).collect()
    }
}
