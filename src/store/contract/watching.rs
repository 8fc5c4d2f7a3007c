use super::bench::*;
use crate::store::*;

pub(in crate::store) fn vitals_name_who_waits_and_who_fails(bench: &Bench) {
    let vitals = || get(bench.store.vitals());
    let [well, waits, fails, gone] = ["well", "waits", "fails", "gone"].map(|id| bench.endpoint(id));
    assert_eq!(vitals(), Vitals::default());
    let event = bench.routed("a", &[well, waits, gone]);
    bench.routed("b", &[waits]);
    bench.settle(delivery(&event, well), success(1, 1), Next::Delivered);
    let breaker = BreakerRecord { failing_since: Some(at(3)), ..BreakerRecord::default() };
    bench.store.keep_breaker(fails, breaker);
    bench.store.keep_breaker(gone, breaker);
    get(bench.store.delete_endpoint(gone));

    let (_, oldest_pending_at) = get(bench.store.endpoint_totals(waits));
    assert!(oldest_pending_at.is_some());
    let waits = Health { endpoint: waits, pending: 2, oldest_pending_at, breaker: BreakerRecord::default() };
    let fails = Health { endpoint: fails, pending: 0, oldest_pending_at: None, breaker };
    assert_eq!(vitals(), Vitals { endpoints: vec![waits, fails], dead_letters: 0 });
}

pub(in crate::store) fn vitals_count_dead_letters_that_were_not_replayed(bench: &Bench) {
    let endpoint = bench.endpoint("one");
    let count = || get(bench.store.vitals()).dead_letters;
    for id in ["a", "b"] {
        let delivery = delivery(&bench.routed(id, &[endpoint]), endpoint);
        bench.settle(delivery, attempt(1, 1), DEAD);
    }
    assert_eq!(count(), 2);
    get(bench.store.replay(DeliveryId { seq: 1, endpoint, run: 0 }));
    assert_eq!(count(), 1);
}
