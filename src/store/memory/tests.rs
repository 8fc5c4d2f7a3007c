use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::{
    super::contract::{bench::*, contract, model},
    *,
};

fn open() -> (Arc<dyn Store>, ()) {
    (Arc::new(MemoryStore::new(Clock::system())), ())
}

contract!(open);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_law_of_conservation_holds_after_every_step_and_answers_depend_on_history_alone(ops in model::ops(60)) {
        model::same_answers(&ops, &MemoryStore::new(Clock::system()), &MemoryStore::new(Clock::system()));
    }

    #[test]
    fn forgetting_changes_no_sum(ops in model::ops(60), keep in 0..4_usize) {
        let store = MemoryStore::with_history(Clock::system(), keep);
        model::keeps_the_law(&ops, &store);
        let state = &store.lock().state;
        prop_assert!(state.finished.len() <= keep);
        let needed = |seq: &u64| state.events[seq].holds > 0 || state.finished.contains(seq);
        prop_assert!(state.events.keys().all(needed));
        prop_assert_eq!(state.events.len(), state.ids.len());
        prop_assert!(state.deliveries.keys().all(|id| state.events.contains_key(&id.seq)));
    }
}

#[test]
fn the_oldest_dead_letters_fall_off_and_let_their_events_go() {
    let mut store = MemoryStore::with_history(Clock::system(), 0);
    store.inner.get_mut().unwrap().state = State::new(0, 2);
    let bench = Bench::new(Arc::new(store));
    let endpoint = bench.endpoint("e");
    for id in ["a", "b", "c"] {
        let event = bench.routed(id, &[endpoint]);
        bench.settle(delivery(&event, endpoint), attempt(1, 5), DEAD);
    }
    let rows = bench.dead_letters(DeadLetterFilter { limit: 9, ..Default::default() });
    assert_eq!(rows.iter().map(|row| row.id.seq).collect::<Vec<_>>(), [3, 2]);
    assert!(get(bench.store.event(None, "a".parse().unwrap())).is_none());
    assert_eq!(bench.totals().deliveries.dead_lettered, 3);
    assert_eq!(bench.accept(event("a", "other")).seq, 4, "the id of a forgotten event is free");
}

#[test]
fn the_sink_may_publish() {
    let store = Arc::new(MemoryStore::new(Clock::system()));
    let (sunk, inside) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
    let (own, seen) = (Arc::downgrade(&store), Arc::clone(&sunk));
    store.connect(Box::new(move |admitted| {
        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "never twice at a time");
        seen.lock().unwrap().extend(admitted.iter().map(|one| one.event.seq));
        if admitted[0].event.seq < 3 {
            let next = event(&format!("after-{}", admitted[0].event.seq), "t");
            own.upgrade().unwrap().append(vec![submit(&next)], oneshot::channel().0);
        }
        inside.fetch_sub(1, Ordering::SeqCst);
    }));
    publish(store.as_ref(), vec![submit(&event("first", "t"))]).unwrap();
    assert_eq!(*sunk.lock().unwrap(), [1, 2, 3]);
}

#[test]
fn many_publishers_keep_the_order_of_seqs() {
    let bench = Bench::new(open().0);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let bench = &bench;
            scope.spawn(move || {
                for n in 0..200 {
                    bench.publish(&[event(&format!("{thread}-{n}"), "t")]).unwrap();
                }
            });
        }
    });
    let seqs: Vec<_> = bench.sunk.lock().unwrap().iter().map(|event| event.seq).collect();
    assert_eq!(seqs, (1..=800).collect::<Vec<_>>());
}
