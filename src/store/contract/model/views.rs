//! What can be read of a store, in words.

use super::*;

pub(super) fn say(what: &impl Debug) -> String {
    format!("{what:?}")
}

pub(super) type Waiting = (u64, u32, String, u32, u32, Option<Timestamp>, Option<Timestamp>, (bool, Option<u16>));

/// All that a cursor leads to, three rows at a time.
pub(super) fn pages(store: &dyn Store, endpoint: EndpointKey, mut cursor: Cursor) -> Vec<Waiting> {
    let mut all = Vec::new();
    loop {
        let page = page(store, PageRequest { endpoint, cursor: cursor.clone(), items: 3, bytes: usize::MAX }).unwrap();
        let row = |row: &PendingRow| {
            let event = words(&row.event);
            (
                row.event.seq,
                row.run,
                event,
                row.attempts,
                row.spent,
                row.attempted_at,
                row.due,
                (row.asked, row.batch_status),
            )
        };
        all.extend(page.rows.iter().map(row));
        let Some(last) = page.rows.last().filter(|_| !page.end) else { return all };
        let after = Some((last.event.seq, last.run));
        cursor = match cursor {
            Cursor::Fresh(_) => Cursor::Fresh(after),
            Cursor::InOrder(_) => Cursor::InOrder(after),
            Cursor::Keyed { without, .. } => Cursor::Keyed { after: page.through, without },
            Cursor::OfKey { key, .. } => Cursor::OfKey { key, after },
            Cursor::Retries { .. } => Cursor::Retries { from: last.due.expect("a retry has a due time"), after },
        };
    }
}

fn words(event: &Accepted) -> String {
    let Accepted { seq, id, topic, tenant, key, source, timestamp, data, metadata, suppressed, accepted_at: _ } = event;
    say(&(seq, id, topic, tenant, key, source, timestamp, data, metadata, suppressed))
}

pub(super) fn x() -> Option<Tenant> {
    Some("x".parse().unwrap())
}

/// A whole list, page by page.
#[expect(clippy::needless_pass_by_value, reason = "called with literals")]
pub(super) fn attempts(
    within: Option<Tenant>,
    limit: usize,
    read: impl Fn(AttemptPage) -> Vec<AttemptRow>,
) -> Vec<AttemptRow> {
    let mut all: Vec<AttemptRow> = Vec::new();
    loop {
        let page = read(AttemptPage { within: within.clone(), past: all.last().map(AttemptRow::place), limit });
        let end = page.len() < limit;
        assert!(page.len() <= limit);
        all.extend(page);
        if end {
            return all;
        }
    }
}

pub(super) fn lists(store: &dyn Store) -> Vec<String> {
    let mut said = Vec::new();
    let all = || EventFilter { limit: 100, ..EventFilter::default() };
    let filters = [
        all(),
        EventFilter { limit: 3, before: Some(5), ..all() },
        EventFilter { topic: Some("t1.*".parse().unwrap()), state: Some(EventState::Routed), ..all() },
        EventFilter { tenant: Some("x".parse().unwrap()), ..all() },
        EventFilter { state: Some(EventState::Debouncing), ..all() },
        EventFilter { state: Some(EventState::Coalesced), ..all() },
        EventFilter { delivery: Some(DeliveryState::DeadLettered), ..all() },
        EventFilter { delivery: Some(DeliveryState::Suppressed), ..all() },
        EventFilter { delivery: Some(DeliveryState::Pending), ..all() },
        EventFilter { within: Some("x".parse().unwrap()), ..all() },
        EventFilter { within: Some("x".parse().unwrap()), delivery: Some(DeliveryState::Pending), ..all() },
        EventFilter { delivery: Some(DeliveryState::Dropped), topic: Some("t2.x".parse().unwrap()), ..all() },
    ];
    for filter in filters {
        said.extend(get(store.events(filter)).iter().map(|row| say(&(words(&row.event), row.state))));
    }
    for row in get(store.events(all())) {
        let detail = get(store.event(row.event.tenant.clone(), row.event.id.clone())).expect("it is listed");
        said.push(say(&(words(&detail.event), detail.state, &detail.deliveries)));
        said.push(say(&attempts(None, 2, |page| get(store.event_attempts(row.event.seq, page)))));
        said.push(say(&attempts(x(), 1, |page| get(store.event_attempts(row.event.seq, page)))));
    }
    let pages = [(false, 100, None, None), (true, 100, None, None), (false, 2, Some(5), None), (false, 2, None, x())];
    for (replayed, limit, before, within) in pages {
        let before = before.map(|seq| DeliveryId { seq, endpoint: EndpointKey(2), run: 0 });
        said.push(say(&get(store.dead_letters(DeadLetterFilter {
            selection: DeadLetterSelection { within, ..DeadLetterSelection::default() },
            replayed,
            before,
            limit,
        }))));
    }
    said
}

/// All deliveries to an endpoint, three at a time, and those that wait.
pub(super) fn deliveries(
    store: &dyn Store,
    endpoint: EndpointKey,
    within: Option<Tenant>,
) -> Vec<(DeliveryRow, Option<EventId>)> {
    let mut filter = DeliveryFilter { endpoint, state: None, within, before: None, limit: 3 };
    let mut all = Vec::new();
    loop {
        let rows = get(store.deliveries(filter.clone()));
        all.extend(rows.iter().map(|row| (row.delivery.clone(), row.event.clone())));
        let Some(last) = rows.last().filter(|_| rows.len() == 3) else { break };
        filter.before = Some((last.delivery.id.seq, last.delivery.id.run));
    }
    let waiting = DeliveryFilter { state: Some(DeliveryState::Pending), before: None, limit: 100, ..filter };
    all.extend(get(store.deliveries(waiting)).into_iter().map(|row| (row.delivery, row.event)));
    all
}

pub(super) fn loaded(store: &dyn Store, judged: u64) -> Vec<String> {
    let mut loaded = get(store.load());
    assert_eq!(loaded.judged_through, judged);
    loaded.breakers.sort_by_key(|(key, _)| *key);
    loaded.pending.sort();
    loaded.windows.sort_by(|a, b| (&a.rule, &a.key).cmp(&(&b.rule, &b.key)));
    let endpoint = |row: &EndpointRow| say(&(row.key, &row.id, &row.settings, row.version));
    let unjudged = get(store.unjudged(judged, 100));
    let mut vitals = get(store.vitals());
    vitals.endpoints.iter_mut().for_each(|one| one.oldest_pending_at = one.oldest_pending_at.and(Some(at(0))));
    let mut said: Vec<_> = get(store.endpoints(EndpointKey(0), 100)).iter().map(endpoint).collect();
    loaded.held_deliveries.sort_by_key(|held| held.delivery);
    said.push(say(&loaded.held_deliveries));
    said.push(say(&(loaded.breakers, loaded.pending, loaded.rules, loaded.chains, loaded.windows, vitals)));
    said.extend(unjudged.iter().chain(&loaded.held).map(|event| words(event)));
    said
}
