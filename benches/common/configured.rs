//! A data directory with many endpoints, made without starting a Hookmill.

use std::path::Path;

use futures_util::future::join_all;
use hookmill::{
    Clock, Retention,
    endpoint::EndpointBuilder,
    store::{Store, sqlite::SqliteStore},
};

/// Endpoints made together.
const GROUP: usize = 500;

/// Makes so many endpoints; the API may change them later.
pub async fn configure(dir: &Path, endpoints: usize, endpoint: impl Fn(usize) -> EndpointBuilder) {
    let store = SqliteStore::open(dir, Clock::system(), Retention::default()).unwrap();
    let create = |index: usize| {
        let (id, settings) = endpoint(index).build(|_, _| Ok(())).unwrap();
        store.create_endpoint(id, settings.with_generated_secret().unwrap().to_json().to_string())
    };
    for first in (0..endpoints).step_by(GROUP) {
        let rows = join_all((first..endpoints.min(first + GROUP)).map(create)).await;
        rows.into_iter().for_each(|row| drop(row.unwrap()));
    }
    store.close().await.unwrap();
}
