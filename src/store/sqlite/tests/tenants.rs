//! What a tenant looks at costs the same, however much others have; and nobody's readings keep those of others waiting.

use futures_util::future::lazy;

use super::*;
use crate::{
    event::Tenant,
    store::{
        AttemptPage, CancelFilter, CancelStep, CountStep, DeadLetterFilter, DeadLetterSelection, DeliveryFilter,
        DeliveryId, DeliveryState, EventFilter, JobKind, Next,
        contract::bench::{DEAD, at, attempt, delivery, event, success, target},
        on_behalf_of,
        rows::Ruling,
    },
};

const ACME: &str = "acme";

fn acme() -> Option<Tenant> {
    ACME.parse().ok()
}

/// A file with two endpoints of acme's between those of another, and one of all; who has events gets them delivered, dead or not
/// yet settled.
struct World {
    bench: Bench,
    own: [EndpointKey; 2],
    others: [EndpointKey; 2],
    all: EndpointKey,
    dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let (store, dir) = open();
        let bench = Bench::new(store);
        let make = |id: &str, tenant: &str| {
            let settings = format!(r#"{{"tenant": "{tenant}", "topics": ["*"], "url": "https://example.org/"}}"#);
            get(bench.store.create_endpoint(id.parse().unwrap(), settings)).key
        };
        let [first, one, second, two, all] =
            [("a", "globex"), ("b", ACME), ("c", "globex"), ("d", ACME), ("e", "*")].map(|(id, of)| make(id, of));
        Self { own: [one, two], others: [first, second], all, bench, dir }
    }

    fn publish(&self, tenant: &str, to: [EndpointKey; 2], ids: std::ops::Range<usize>) {
        let events: Vec<_> = ids.map(|id| event(&format!("{tenant}-{id}"), "t").tenant(tenant)).collect();
        self.bench.publish(&events).unwrap();
        let accepted = std::mem::take(&mut *self.bench.sunk.lock().unwrap());
        for (place, event) in accepted.iter().enumerate() {
            let targets = to.into_iter().chain([self.all]).map(target).collect();
            self.bench.judge(event, Ruling::Routed(targets));
            if place % 3 != 2 {
                let (attempt, next) =
                    if place % 3 == 1 { (success(1, 5), Next::Delivered) } else { (attempt(1, 5), DEAD) };
                to.iter().for_each(|key| self.bench.settle(delivery(event, *key), attempt.clone(), next));
            }
        }
        get(self.bench.store.flush());
    }

    /// The steps that SQLite's machine takes for each thing that acme may look at.
    fn steps(&self) -> Vec<(&'static str, usize)> {
        let db = schema::open_reader(&self.dir.path().join("hookmill.db")).unwrap();
        let steps = |look: &dyn Fn(&Connection)| {
            look(&db);
            let taken = Arc::new(std::sync::atomic::AtomicUsize::new(0));
            let count = Arc::clone(&taken);
            let counting = move || {
                count.fetch_add(1, Ordering::Relaxed);
                false
            };
            db.progress_handler(1, Some(counting)).unwrap();
            look(&db);
            db.progress_handler(0, None::<fn() -> bool>).unwrap();
            taken.load(Ordering::Relaxed)
        };
        let letters = |replayed, before: Option<DeliveryId>, selection: DeadLetterSelection| {
            let filter = DeadLetterFilter {
                selection: DeadLetterSelection { within: acme(), ..selection },
                replayed,
                before,
                limit: 5,
            };
            steps(&|db| assert!(lists::dead_letters(db, &filter).unwrap().len() <= 5))
        };
        let any = DeadLetterSelection::default();
        let of_one = DeadLetterSelection { endpoint: Some(self.own[0]), ..any.clone() };
        let named = DeadLetterSelection { tenant: acme(), ..any.clone() };
        let old = DeadLetterSelection { until: Some(at(0)), ..any.clone() };
        let middle = DeliveryId { seq: 1, endpoint: self.own[0], run: 0 };
        let events = |delivery| {
            let filter = EventFilter { within: acme(), delivery, limit: 5, ..EventFilter::default() };
            steps(&|db| drop(lists::events(db, &filter).unwrap()))
        };
        let deliveries = |state| {
            let filter = DeliveryFilter { endpoint: self.own[0], state, within: acme(), before: None, limit: 5 };
            steps(&|db| drop(lists::deliveries_of(db, &filter).unwrap()))
        };
        let attempts = AttemptPage { within: acme(), past: None, limit: 5 };
        let job = |kind, endpoint| {
            let selection = DeadLetterSelection { within: acme(), endpoint, ..DeadLetterSelection::default() };
            let step = CountStep { kind, selection, at: at(99), after: None };
            steps(&|db| assert!(jobs::count(db, &step).unwrap().next.is_none()))
        };
        let filter = CancelFilter { endpoint: Some(self.own[0]), within: acme(), ..CancelFilter::default() };
        let cancel = CancelStep { filter, ..CancelStep::default() };
        let one = Some(self.own[0]);
        vec![
            ("dead letters", letters(false, None, any.clone())),
            ("further dead letters", letters(false, Some(middle), any.clone())),
            ("replayed dead letters", letters(true, None, any)),
            ("dead letters of an endpoint", letters(false, None, of_one)),
            ("dead letters of a tenant named", letters(false, None, named)),
            ("old dead letters", letters(false, None, old)),
            ("events", events(None)),
            ("events that failed", events(Some(DeliveryState::DeadLettered))),
            ("deliveries", deliveries(None)),
            ("what waits", deliveries(Some(DeliveryState::Pending))),
            ("attempts", steps(&|db| drop(attempts::of_endpoint(db, self.own[0], &attempts).unwrap()))),
            ("a purge", job(JobKind::PurgeDeadLetters, None)),
            ("a replay of dead letters", job(JobKind::ReplayDeadLetters, one)),
            ("a replay of what failed", job(JobKind::ReplayFailed, one)),
            ("a replay of what is missing", job(JobKind::ReplayMissing, one)),
            ("cancelling", steps(&|db| drop(cancel::look(db, &cancel).unwrap()))),
        ]
    }
}

#[test]
fn what_a_tenant_looks_at_costs_the_same_however_much_others_have() {
    let world = World::new();
    world.publish("globex", world.others, 0..3);
    world.publish(ACME, world.own, 0..30);
    world.publish("globex", world.others, 3..6);
    let alone = world.steps();
    world.publish("globex", world.others, 6..1000);
    let beside_much = world.steps();
    assert_eq!(alone, beside_much);
}

#[test]
fn a_tenant_has_some_places_for_readings_tenants_have_many_and_others_always_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path(), Clock::system(), Retention::default()).unwrap();
    let list = || store.events(EventFilter { limit: 1, ..EventFilter::default() });
    let list_of = |tenant: &str| wait(on_behalf_of(tenant.parse().ok(), lazy(|_| list())));
    let refused = |reply| matches!(wait(reply), Err(StoreError::Busy));
    let at_quota = |reply| matches!(wait(reply), Err(StoreError::Quota));
    let (release, first) = busy(&store);
    let mut waiting: Vec<_> = (0..readings::OF_A_TENANT).map(|_| list_of(ACME)).collect();
    assert!(at_quota(list_of(ACME)));
    // Whose callers hang up holds the places until the readings would have been made.
    waiting.clear();
    assert!(at_quota(list_of(ACME)));
    let tenants = readings::OF_TENANTS / readings::OF_A_TENANT;
    for other in 1..tenants {
        waiting.extend((0..readings::OF_A_TENANT).map(|_| list_of(&format!("t{other}"))));
    }
    assert!(refused(list_of("late")));
    waiting.extend((readings::OF_TENANTS..readings::PLACES).map(|_| list()));
    assert!(refused(list()), "all are taken");
    drop(release);
    get(first);
    waiting.into_iter().for_each(|list| assert!(get(list).is_empty()));
    assert!(get(list_of(ACME)).is_empty() && get(list_of("late")).is_empty());
}
