//! Scenarios about whose things are, and about the tokens that say who calls.

use super::bench::*;
use crate::store::*;

fn acme() -> Option<Tenant> {
    Some("acme".parse().unwrap())
}

fn endpoint_of(bench: &Bench, id: &str, tenant: &str) -> EndpointKey {
    get(bench.store.create_endpoint(id.parse().unwrap(), format!(r#"{{"tenant": {tenant}}}"#))).key
}

/// Endpoints of acme, of others, of all and of none; and events of acme, of others and of none that went to each.
struct Shop<'a> {
    bench: &'a Bench,
    acme: EndpointKey,
    endpoints: [EndpointKey; 4],
    events: [Arc<Accepted>; 3],
}

impl<'a> Shop<'a> {
    fn open(bench: &'a Bench) -> Self {
        let endpoints = [("a", r#""acme""#), ("b", r#""globex""#), ("c", r#""*""#), ("d", "null")];
        let endpoints = endpoints.map(|(id, tenant)| endpoint_of(bench, id, tenant));
        let named = |id: &str| event(id, "t");
        let events = [named("one").tenant("acme"), named("two").tenant("globex"), named("three")];
        let events = events.map(|event| {
            let event = bench.accept(event);
            bench.judge(&event, Ruling::Routed(endpoints.map(target).into()));
            event
        });
        Self { bench, acme: endpoints[0], endpoints, events }
    }

    fn each(&self, settle: impl Fn(&Bench, DeliveryId)) {
        for event in &self.events {
            self.endpoints.iter().for_each(|endpoint| settle(self.bench, delivery(event, *endpoint)));
        }
    }

    /// The one delivery that acme may see and change.
    fn own(&self) -> DeliveryId {
        delivery(&self.events[0], self.acme)
    }
}

pub(in crate::store) fn a_tenant_finds_its_own_events_and_deliveries(bench: &Bench) {
    let shop = Shop::open(bench);
    let found = |delivery| -> Vec<_> {
        let filter = EventFilter { within: acme(), delivery, limit: 9, ..EventFilter::default() };
        get(bench.store.events(filter)).iter().map(|row| row.event.seq).collect()
    };
    assert_eq!((found(None), found(Some(DeliveryState::Pending))), (vec![1], vec![1]));
    bench.settle(shop.own(), success(1, 5), Next::Delivered);
    assert_eq!(found(Some(DeliveryState::Pending)), [0; 0], "what waits for the endpoints of others is not its own");
    assert_eq!(found(Some(DeliveryState::Delivered)), [1]);
    let detail = get(bench.store.event(acme(), "one".parse().unwrap())).unwrap();
    let owners: Vec<_> = detail.deliveries.iter().map(|row| row.of.as_ref().map(Tenant::as_str)).collect();
    assert_eq!(owners, [Some("acme"), Some("globex"), None, None]);
    let attempts = get(bench.store.event_attempts(1, AttemptPage::of(99)));
    assert_eq!((attempts.len(), &attempts[0].of), (1, &acme()));
}

pub(in crate::store) fn an_attempt_tells_whom_it_reached(bench: &Bench) {
    let (one, two) = (bench.endpoint("one"), bench.endpoint("two"));
    let event = bench.routed("a", &[one, two]);
    bench.settle(delivery(&event, one), success(1, 5), Next::Delivered);
    for number in 1..4 {
        bench.settle(delivery(&event, two), attempt(number, i64::from(number) + 9), retry(20));
    }
    bench.settle(delivery(&event, two), success(4, 25), Next::Delivered);
    let attempts = get(bench.store.event_attempts(event.seq, AttemptPage::of(9)));
    let reached: Vec<_> = attempts.iter().map(|row| (row.number, row.peer)).collect();
    assert_eq!(reached, [1, 1, 2, 3, 4].map(|number| (number, peer(number))));
    assert_eq!(reached.iter().filter(|(_, peer)| peer.is_some_and(|peer| peer.public)).count(), 3);
}

pub(in crate::store) fn a_tenant_finds_its_own_dead_letters(bench: &Bench) {
    let shop = Shop::open(bench);
    shop.each(|bench, id| bench.settle(id, attempt(1, 5), DEAD));
    let selection = DeadLetterSelection { within: acme(), ..DeadLetterSelection::default() };
    let filter = DeadLetterFilter { selection: selection.clone(), limit: 1, ..DeadLetterFilter::default() };
    let rows = bench.dead_letters(filter.clone());
    assert_eq!((rows[0].id, &rows[0].of), (shop.own(), &acme()));
    assert!(bench.dead_letters(DeadLetterFilter { before: Some(shop.own()), ..filter }).is_empty());
    let counted = get(bench.store.count_for_job(CountStep {
        kind: JobKind::PurgeDeadLetters,
        selection,
        at: at(9),
        after: None,
    }));
    assert_eq!((counted.matched, counted.next), (1, None));
    let (letter, _) = get(bench.store.dead_letter(shop.own())).unwrap();
    assert_eq!(letter.of, acme());
}

pub(in crate::store) fn a_tenant_finds_the_attempts_of_its_own_events(bench: &Bench) {
    let shop = Shop::open(bench);
    shop.each(|bench, id| bench.settle(id, attempt(1, 5), retry(60)));
    let seqs = |within, past| -> Vec<_> {
        let rows = get(bench.store.endpoint_attempts(shop.acme, AttemptPage { within, past, limit: 1 }));
        rows.iter().map(|row| row.delivery.seq).collect()
    };
    let past = Some(AttemptPlace { at: at(5), delivery: shop.own(), number: 1 });
    assert_eq!((seqs(None, None), seqs(acme(), None), seqs(acme(), past)), (vec![3], vec![1], vec![]));
    let of_event = |within, past| -> Vec<_> {
        let rows = get(bench.store.event_attempts(1, AttemptPage { within, past, limit: 9 }));
        rows.iter().map(|row| row.delivery.endpoint).collect()
    };
    assert_eq!((of_event(None, None), of_event(acme(), None)), (shop.endpoints.to_vec(), vec![shop.acme]));
    assert!(of_event(acme(), past).is_empty(), "those of others at the same moment are not its own");
}

pub(in crate::store) fn a_tenant_cancels_what_is_its_own(bench: &Bench) {
    let shop = Shop::open(bench);
    let filter = CancelFilter { within: acme(), ..CancelFilter::default() };
    for dry_run in [true, false] {
        let found = get(bench.store.cancel(CancelStep { filter: filter.clone(), dry_run, after: None }));
        assert_eq!((found.matched, found.endpoints), (1, vec![shop.acme]));
    }
    assert_eq!((bench.totals().deliveries.pending, bench.pending(shop.acme)), (11, vec![(2, 0), (3, 0)]));
}

pub(in crate::store) fn a_job_for_a_tenant_touches_nothing_of_others(bench: &Bench) {
    let shop = Shop::open(bench);
    shop.each(|bench, id| bench.settle(id, attempt(1, 5), DEAD));
    let job = Job {
        id: "job_1".parse().unwrap(),
        kind: JobKind::PurgeDeadLetters,
        selection: DeadLetterSelection { within: acme(), ..DeadLetterSelection::default() },
        rate: None,
        total: 12,
        done: 0,
        failed: 0,
        state: JobState::Running,
        created_at: at(9),
        ended_at: None,
    };
    get(bench.store.create_job(job.clone()));
    assert_eq!(get(bench.store.job(job.id.clone())), Some(job.clone()), "whose it is is kept");
    let advance = get(bench.store.advance_job(job.id, 100)).unwrap();
    assert_eq!((advance.job.done, advance.job.state), (1, JobState::Finished));
    assert!(get(bench.store.dead_letter(shop.own())).is_none());
    assert_eq!(bench.totals().deliveries.dead_letters.kept, 11);
}

/// Replays events to acme's endpoint on behalf of this tenant.
fn job(kind: JobKind, endpoint: EndpointKey, within: Option<Tenant>) -> Job {
    Job {
        id: format!("job_{}", kind.as_str()).parse().unwrap(),
        kind,
        selection: DeadLetterSelection { endpoint: Some(endpoint), within, ..DeadLetterSelection::default() },
        rate: None,
        total: 1,
        done: 0,
        failed: 0,
        state: JobState::Running,
        created_at: at(9),
        ended_at: None,
    }
}

fn counted(bench: &Bench, Job { kind, selection, created_at, .. }: Job) -> u64 {
    get(bench.store.count_for_job(CountStep { kind, selection, at: created_at, after: None })).matched
}

pub(in crate::store) fn a_tenant_finds_the_deliveries_of_its_own_endpoint(bench: &Bench) {
    let shop = Shop::open(bench);
    bench.settle(shop.own(), success(1, 5), Next::Delivered);
    let found = |endpoint, within, state| -> Vec<_> {
        let filter = DeliveryFilter { endpoint, state, within, before: None, limit: 9 };
        get(bench.store.deliveries(filter)).iter().map(|row| row.delivery.id.seq).collect()
    };
    assert_eq!((found(shop.acme, None, None), found(shop.acme, acme(), None)), (vec![3, 2, 1], vec![1]));
    let pending = Some(DeliveryState::Pending);
    assert_eq!((found(shop.acme, None, pending), found(shop.acme, acme(), pending)), (vec![3, 2], vec![]));
    for other in &shop.endpoints[1..] {
        assert_eq!((found(*other, None, None), found(*other, acme(), None)), (vec![3, 2, 1], vec![]), "{other:?}");
    }
}

pub(in crate::store) fn a_job_delivers_a_tenants_own_events_again(bench: &Bench) {
    let shop = Shop::open(bench);
    shop.each(|bench, id| bench.settle(id, attempt(1, 5), DEAD));
    // Of these there is no delivery: one is acme's.
    for event in [event("four", "t").tenant("globex"), event("five", "t").tenant("acme"), event("six", "t")] {
        bench.judge(&bench.accept(event), Ruling::Unmatched);
    }
    let settings = r#"{"tenant": "acme", "url": "https://example.org/"}"#.to_owned();
    let change = EndpointChange { settings, state_changed: false, state_reason: None, drop_pending: None };
    get(bench.store.update_endpoint(shop.acme, change));
    for (kind, all, own) in [
        (JobKind::ReplayFailed, 3, vec![(1, 1)]),
        (JobKind::ReplayMissing, 1, vec![(5, 1)]),
        (JobKind::ReplayAll, 2, vec![]),
    ] {
        assert_eq!(counted(bench, job(kind, shop.acme, None)), all, "{kind:?}");
        let job = job(kind, shop.acme, acme());
        assert_eq!(counted(bench, job.clone()), own.len() as u64, "{kind:?}");
        for other in &shop.endpoints[1..] {
            assert_eq!(counted(bench, self::job(kind, *other, acme())), 0, "{kind:?} to {other:?}");
        }
        get(bench.store.create_job(job.clone()));
        let advance = get(bench.store.advance_job(job.id, 100)).unwrap();
        assert_eq!((advance.job.done, advance.job.failed), (own.len() as u64, 0), "{kind:?}");
        assert_eq!(advance.job.state, JobState::Finished);
        assert_eq!(advance.replayed.iter().map(|id| (id.seq, id.run)).collect::<Vec<_>>(), own, "{kind:?}");
    }
    assert!(bench.totals().add_up());
}

pub(in crate::store) fn a_job_ends_when_the_endpoint_is_the_tenants_no_more(bench: &Bench) {
    let shop = Shop::open(bench);
    shop.each(|bench, id| bench.settle(id, success(1, 5), Next::Delivered));
    let job = job(JobKind::ReplayAll, shop.acme, acme());
    assert_eq!(counted(bench, job.clone()), 1);
    get(bench.store.create_job(job.clone()));
    let settings = r#"{"tenant": "globex", "url": "https://example.org/"}"#.to_owned();
    let change = EndpointChange { settings, state_changed: false, state_reason: None, drop_pending: None };
    get(bench.store.update_endpoint(shop.acme, change));
    assert_eq!(counted(bench, job.clone()), 0);
    let advance = get(bench.store.advance_job(job.id, 100)).unwrap();
    assert_eq!((advance.job.done, advance.job.state, advance.replayed), (0, JobState::Finished, vec![]));
}

pub(in crate::store) fn an_endpoint_is_its_tenants_as_its_settings_say(bench: &Bench) {
    let shop = Shop::open(bench);
    let found = |tenant: &str| -> usize {
        let within = Some(tenant.parse().unwrap());
        let filter = EventFilter { within, delivery: Some(DeliveryState::Dropped), limit: 9, ..Default::default() };
        get(bench.store.events(filter)).len()
    };
    get(bench.store.delete_endpoint(shop.acme));
    wait_until_dropped(bench.store.as_ref(), shop.acme);
    assert_eq!((found("acme"), found("globex")), (1, 0), "its history stays its own");
    let settings = r#"{"tenant": "acme"}"#.to_owned();
    let drop_pending = Some(DropReason::EndpointDisabled);
    let change = EndpointChange { settings, state_changed: false, state_reason: None, drop_pending };
    get(bench.store.update_endpoint(shop.endpoints[1], change));
    wait_until_dropped(bench.store.as_ref(), shop.endpoints[1]);
    assert_eq!((found("acme"), found("globex")), (1, 0), "events of another stay hidden when an endpoint goes over");
}

fn token(id: &str, tenant: Option<Tenant>) -> TokenRow {
    let name = tenant.as_ref().map(ToString::to_string);
    let expires_at = tenant.as_ref().map(|_| at(99));
    let scopes = [Scope::Read, Scope::Admin].into_iter().collect();
    let (id, created_at) = (id.parse().unwrap(), at(1));
    TokenRow { id, name, scopes, tenant, hash: [7; 32], created_at, expires_at, last_used_at: None }
}

pub(in crate::store) fn tokens_are_kept_until_deleted(bench: &Bench) {
    let (one, two) = (token("tok_1", None), token("tok_2", acme()));
    get(bench.store.create_token(two.clone()));
    get(bench.store.create_token(one.clone()));
    assert!(wait(bench.store.create_token(token("tok_1", acme()))).is_err());
    assert_eq!(get(bench.store.tokens()), [one.clone(), two]);
    assert!(get(bench.store.delete_token("tok_2".parse().unwrap())));
    assert!(!get(bench.store.delete_token("tok_2".parse().unwrap())));
    assert_eq!(get(bench.store.tokens()), [one]);
}

pub(in crate::store) fn a_token_was_used_last_when_it_was_used_last(bench: &Bench) {
    get(bench.store.create_token(token("tok_1", None)));
    for (used, last) in [(5, 5), (4, 5), (7, 7)] {
        get(bench.store.use_token("tok_1".parse().unwrap(), at(used)));
        assert_eq!(get(bench.store.tokens())[0].last_used_at, Some(at(last)));
    }
    get(bench.store.use_token("tok_2".parse().unwrap(), at(9)));
    assert_eq!(get(bench.store.tokens()).len(), 1);
}
