//! The contract every store keeps, the model, and what only a file can be asked: what it says after it was closed.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::store::{
    contract::{contract, model},
    memory::MemoryStore,
};

fn open() -> (Arc<dyn Store>, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path(), Clock::system(), Retention::default()).unwrap();
    (Arc::new(store), dir)
}

contract!(open);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn it_answers_as_the_model_does(ops in model::ops(40)) {
        let (store, _dir) = open();
        model::same_answers(&ops, &MemoryStore::new(Clock::system()), store.as_ref());
    }
}

#[test]
fn a_second_store_in_the_same_directory_is_refused() {
    let (store, dir) = open();
    let second = SqliteStore::open(dir.path(), Clock::system(), Retention::default());
    assert!(matches!(second, Err(StoreError::Unusable(detail)) if detail.contains("another process")));
    drop(store);
    assert!(SqliteStore::open(dir.path(), Clock::system(), Retention::default()).is_ok());
}
