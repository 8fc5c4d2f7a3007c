//! Nothing acknowledged is ever lost, whenever the server dies.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    PATIENCE,
    http::Client,
    list, number,
    receiver::{Receiver, Reply, Request},
    server::{Home, Server, endpoint},
    settled, sums, until,
};

/// Times the server is killed.
const KILLS: usize = 6;
const PUBLISHERS: u64 = 4;
const IN_FLIGHT: usize = 8;
/// Each life of the server ends at a random moment within this time, in milliseconds.
const LIFE: u64 = 2500;
/// An outcome is on disk much sooner after its answer than this, also on a busy machine.
const RECORDED_WITHIN: Duration = Duration::from_millis(300);

/// What the publishers know, whatever the server believes.
#[derive(Default)]
struct Ledger {
    /// Where the server listens, while it lives.
    server: Mutex<Option<(String, String)>>,
    /// Ids that were answered 202; their seqs where the answer told them.
    acknowledged: Mutex<BTreeMap<String, Option<u64>>>,
    /// Ids that were published together, for a group is accepted as a whole.
    groups: Mutex<Vec<Vec<String>>>,
    /// Acknowledged although an earlier answer had been lost.
    duplicates: Mutex<u64>,
    stop: AtomicBool,
}

impl Ledger {
    fn count(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Publishes one event after another, each until it is acknowledged.
    fn publish_singly(&self, publisher: u64) {
        for number in 0.. {
            let id = format!("p{publisher}-{number}");
            let event = json!({"topic": "load.single", "id": id, "data": {"number": number}});
            let Some(answer) = self.acknowledgement(&event) else { return };
            assert_eq!(answer["id"], json!(id));
            assert_eq!(answer["durable"], json!(true));
            *self.duplicates.lock().unwrap() += u64::from(answer["duplicate"] == json!(true));
            self.acknowledged.lock().unwrap().insert(id, answer["seq"].as_u64());
        }
    }

    /// The same by tens.
    fn publish_groups(&self, publisher: u64) {
        for number in 0.. {
            let ids: Vec<_> = (0..10).map(|index| format!("g{publisher}-{number}-{index}")).collect();
            let events = ids.iter().map(|id| json!({"topic": "load.group", "id": id, "data": null}));
            self.groups.lock().unwrap().push(ids.clone());
            let Some(answer) = self.acknowledgement(&events.collect()) else { return };
            let new = number_of(&answer, "accepted");
            assert!(new == 0 || new == 10, "a group is accepted as a whole: {answer}");
            *self.duplicates.lock().unwrap() += number_of(&answer, "duplicates");
            let first = answer["first_seq"].as_u64();
            let seqs = (0..10).map(|index| first.map(|first| first + index));
            self.acknowledged.lock().unwrap().extend(ids.into_iter().zip(seqs));
        }
    }

    /// Publishes until it is answered 202; `None` when it is time to stop.
    fn acknowledgement(&self, body: &Value) -> Option<Value> {
        let mut client: Option<(String, Client)> = None;
        until("an event is acknowledged", PATIENCE * 2, || {
            if self.stopped() {
                return Some(None);
            }
            let (addr, token) = self.server.lock().unwrap().clone()?;
            if client.as_ref().is_none_or(|(known, _)| *known != addr) {
                client = Some((addr.clone(), Client::new(addr, Some(&token))));
            }
            let answer = client.as_mut()?.1.try_call("POST", "/v1/events", Some(body)).ok()?;
            match answer.status {
                202 => Some(Some(answer.json())),
                503 => None,
                _ => panic!("{answer:?}"),
            }
        })
    }
}

fn number_of(answer: &Value, name: &str) -> u64 {
    number(answer, &format!("/{name}"))
}

/// When the server was killed, and what could not be on disk then.
struct Death {
    at: Instant,
    unrecorded: usize,
}

#[test]
fn every_acknowledged_event_arrives_however_often_the_server_is_killed() {
    let seed = std::env::var("HOOKMILL_TEST_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("HOOKMILL_TEST_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let failed = Mutex::new(BTreeSet::new());
    // One endpoint takes everything at once, the other refuses every fifth event the first time.
    let receiver = Receiver::new(move |request: &Request| {
        let fails = request.path == "/moody" && request.id().ends_with(['0', '5']);
        let first = fails && failed.lock().unwrap().insert(request.id().to_owned());
        Reply::Status(if first { 500 } else { 200 })
    });
    let home = Home::new();
    let ledger = Ledger::default();
    let deaths = thread::scope(|scope| {
        // Also when an assertion below fails the publishers must not go on.
        let _stop = Stop(&ledger);
        let mut server = home.serve();
        let mut client = server.client();
        endpoint(&mut client, "calm", &receiver.url("/calm"), json!({"in_flight": IN_FLIGHT}));
        let retry = json!({"initial": "20ms", "factor": 1.0, "max_delay": "20ms", "max_attempts": 1000});
        endpoint(&mut client, "moody", &receiver.url("/moody"), json!({"in_flight": IN_FLIGHT, "retry": retry}));
        announce(&ledger, &server);
        for publisher in 0..PUBLISHERS {
            let ledger = &ledger;
            scope.spawn(move || match publisher {
                0 => ledger.publish_groups(publisher),
                _ => ledger.publish_singly(publisher),
            });
        }
        let mut deaths = Vec::new();
        for kill in 0..KILLS {
            let before = ledger.count();
            let last_moment = Instant::now() + Duration::from_millis(random.u64(0..LIFE));
            until("its time has come", PATIENCE, || {
                (Instant::now() >= last_moment && ledger.count() > before).then_some(())
            });
            deaths.push(end(server, &ledger, &receiver));
            if kill % 2 == 1 {
                deaths.push(die_early(&home, &receiver, Duration::from_millis(random.u64(0..100))));
            }
            server = home.serve();
            let acknowledged = ledger.count() as u64;
            let stats = sums(&mut server.client());
            assert!(number(&stats, "/accepted") >= acknowledged, "acknowledged {acknowledged}, but {stats}");
            announce(&ledger, &server);
        }
        ledger.stop.store(true, Ordering::Release);
        let stats = settled(&mut server.client());
        check_the_end(&stats, &ledger, &receiver, &mut server);
        deaths
    });
    check_duplicates(&receiver, &deaths);
}

struct Stop<'a>(&'a Ledger);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Release);
    }
}

fn announce(ledger: &Ledger, server: &Server) {
    *ledger.server.lock().unwrap() = Some((server.addr.clone(), server.token.clone()));
}

fn end(server: Server, ledger: &Ledger, receiver: &Receiver) -> Death {
    let at = Instant::now();
    server.kill();
    *ledger.server.lock().unwrap() = None;
    Death { at, unrecorded: receiver.count_since(at - RECORDED_WITHIN) }
}

/// A server that is killed while it starts, or soon after.
fn die_early(home: &Home, receiver: &Receiver, life: Duration) -> Death {
    let start = Instant::now();
    let mut process = home.launch(&["--allow-loopback"]);
    thread::sleep(life);
    let at = Instant::now();
    process.kill();
    Death { at, unrecorded: receiver.count_since(start) }
}

fn check_the_end(stats: &Value, ledger: &Ledger, receiver: &Receiver, server: &mut Server) {
    let accepted = number(stats, "/accepted");
    assert_eq!(number(stats, "/routed"), accepted, "{stats}");
    assert_eq!(number(stats, "/deliveries/created"), 2 * accepted, "{stats}");
    assert_eq!(number(stats, "/deliveries/delivered"), 2 * accepted, "{stats}");
    let events = list(&mut server.client(), "/v1/events");
    let seqs: Vec<_> = events.iter().rev().map(|event| number(event, "/seq")).collect();
    assert_eq!(seqs, (1..=accepted).collect::<Vec<_>>(), "seqs from 1 without a gap");
    let stored: HashMap<_, _> =
        events.iter().map(|event| (event["id"].as_str().unwrap(), number(event, "/seq"))).collect();
    let (calm, moody) = (receiver.taken("/calm"), receiver.taken("/moody"));
    for (id, seq) in ledger.acknowledged.lock().unwrap().iter() {
        let kept = stored.get(id.as_str()).unwrap_or_else(|| panic!("{id} was acknowledged and is not kept"));
        assert!(seq.is_none_or(|seq| seq == *kept), "{id} was acknowledged as {seq:?} and is kept as {kept}");
        assert!(calm.contains(id) && moody.contains(id), "{id} was acknowledged and did not arrive");
    }
    for group in ledger.groups.lock().unwrap().iter() {
        let seqs: Vec<_> = group.iter().filter_map(|id| stored.get(id.as_str()).copied()).collect();
        assert!(seqs.is_empty() || seqs.len() == group.len(), "{group:?} is kept in part");
        assert!(seqs.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{group:?} is kept as {seqs:?}");
    }
    let acknowledged = ledger.count();
    println!(
        "{acknowledged} acknowledged of {accepted}, {} of them after a lost answer",
        ledger.duplicates.lock().unwrap()
    );
}

/// What was delivered stays delivered, except where a kill came between the answer and its record.
fn check_duplicates(receiver: &Receiver, deaths: &[Death]) {
    let mut taken: HashMap<(String, String), Instant> = HashMap::new();
    let mut repeats = 0;
    for request in receiver.seen().into_iter().filter(|request| request.status == Some(200)) {
        let (id, at) = (request.id().to_owned(), request.at);
        if let Some(before) = taken.insert((request.path, id.clone()), at) {
            repeats += 1;
            let between = |death: &Death| death.at < at && before + RECORDED_WITHIN > death.at;
            assert!(deaths.iter().any(between), "{id} arrived twice and no kill explains it");
        }
    }
    let bound: usize = deaths.iter().map(|death| death.unrecorded + 2 * IN_FLIGHT).sum();
    println!("{repeats} of {} deliveries came twice; {bound} may have", receiver.count());
    assert!(repeats <= bound, "{repeats} of {} deliveries came twice, more than {bound}", receiver.count());
}
