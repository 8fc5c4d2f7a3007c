//! The demo's receiver: three customers on one port, each with its own weakness, and a ledger of what really arrived.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, http::StatusCode, web};
use anyhow::Context;
use bytes::Bytes;

use super::Narrator;
use crate::{
    Clock, Secret,
    cli::bound,
    clock::Mono,
    transport::signature::{self, Verifier},
};

/// What the receiver does and has seen.
pub(super) struct Receiver {
    narrator: Narrator,
    /// `billing` is down.
    pub(super) billing_down: AtomicBool,
    /// What comes to `billing` now is the breaker's probe.
    pub(super) billing_probed: AtomicBool,
    /// `legacy` refuses the one invoice it cannot read.
    pub(super) legacy_broken: AtomicBool,
    requests: AtomicU64,
    ledger: Mutex<Ledger>,
}

#[derive(Default)]
struct Ledger {
    secrets: HashMap<String, Verifier>,
    arrived: HashMap<String, BTreeSet<String>>,
    twice: u64,
    badly_signed: u64,
    /// When an event failed first, by customer and id.
    failed: HashMap<(String, String), Mono>,
    /// Failures and retries that have been told of, by kind.
    told: HashMap<String, u64>,
}

/// Of the same failure only the first few are told.
const TOLD: u64 = 3;
/// Every so many requests `shop` stumbles.
const STUMBLE: u64 = 23;

impl Receiver {
    pub(super) fn new(narrator: Narrator) -> Arc<Self> {
        Arc::new(Self {
            narrator,
            billing_down: AtomicBool::new(false),
            billing_probed: AtomicBool::new(false),
            legacy_broken: AtomicBool::new(true),
            requests: AtomicU64::new(0),
            ledger: Mutex::default(),
        })
    }

    /// Listens on a free port of this machine; tells its address.
    pub(super) fn start(self: &Arc<Self>) -> anyhow::Result<String> {
        let receiver = Arc::clone(self);
        let server = HttpServer::new(move || {
            let receiver = Arc::clone(&receiver);
            let serve = move |request: HttpRequest, body: Bytes| {
                let status = receiver.answer(&request, &body);
                async move { HttpResponse::new(StatusCode::from_u16(status).unwrap_or(StatusCode::OK)) }
            };
            App::new().default_service(web::to(serve))
        });
        let server = server.workers(1).disable_signals().bind("127.0.0.1:0").context("no port for the receiver")?;
        let url = bound(&server.addrs(), "http");
        actix_rt::spawn(server.run());
        Ok(url)
    }

    /// From now on what comes to `customer` must be signed with `secret`.
    pub(super) fn expect(&self, customer: &str, secret: Secret) {
        self.ledger().secrets.insert(customer.to_owned(), Verifier::Secret(secret));
    }

    fn ledger(&self) -> std::sync::MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, request: &HttpRequest, body: &Bytes) -> u16 {
        let customer = request.path().trim_start_matches('/').to_owned();
        let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
        let [id, at, signatures] = [signature::ID, signature::TIMESTAMP, signature::SIGNATURE].map(header);
        let mut ledger = self.ledger();
        let now = Clock::system().now().wall;
        let verifier = ledger.secrets.get(&customer).map(std::slice::from_ref).unwrap_or_default();
        let signed = signature::verify(verifier, id, at, signatures, body, now).is_ok();
        if !signed {
            ledger.badly_signed += 1;
            return 401;
        }
        let status = self.mood(&customer, body);
        if status < 300 {
            self.took(&mut ledger, customer, id);
        } else {
            self.refused(&mut ledger, customer, id, status);
        }
        status
    }

    fn took(&self, ledger: &mut Ledger, customer: String, id: &str) {
        let arrival = (customer, id.to_owned());
        if let Some(failed) = ledger.failed.remove(&arrival) {
            let wait = self.narrator.now().since(failed).as_millis();
            self.tell(ledger, "retry", &format!("{:<8} takes {id} on a retry, {wait} ms after its failure", arrival.0));
        }
        if self.billing_probed.load(Ordering::Relaxed) && arrival.0 == "billing" {
            self.billing_probed.store(false, Ordering::Relaxed);
            self.narrator.say(&format!("billing  takes the probe {id}"));
        }
        if !ledger.arrived.entry(arrival.0).or_default().insert(arrival.1) {
            ledger.twice += 1;
        }
    }

    fn refused(&self, ledger: &mut Ledger, customer: String, id: &str, status: u16) {
        if self.billing_probed.load(Ordering::Relaxed) && customer == "billing" {
            self.narrator.say(&format!("billing  answers {status} to the probe {id}"));
        } else {
            self.tell(ledger, &format!("{customer}{status}"), &format!("{customer:<8} answers {status} to {id}"));
        }
        ledger.failed.entry((customer, id.to_owned())).or_insert(self.narrator.now());
    }

    fn tell(&self, ledger: &mut Ledger, kind: &str, text: &str) {
        let told = ledger.told.entry(kind.to_owned()).or_default();
        *told += 1;
        if *told <= TOLD {
            let more = if *told == TOLD { "  (further ones like this are not shown)" } else { "" };
            self.narrator.say(&format!("{text}{more}"));
        }
    }

    fn mood(&self, customer: &str, body: &[u8]) -> u16 {
        let poison = || body.windows(5).any(|word| word == b"INV-7");
        match customer {
            "shop" if self.requests.fetch_add(1, Ordering::Relaxed) % STUMBLE == STUMBLE - 1 => 500,
            "billing" if self.billing_down.load(Ordering::Relaxed) => 503,
            "legacy" if self.legacy_broken.load(Ordering::Relaxed) && poison() => 422,
            _ => 204,
        }
    }

    /// Whether the event arrived at the customer.
    pub(super) fn has(&self, customer: &str, id: &str) -> bool {
        self.ledger().arrived.get(customer).is_some_and(|ids| ids.contains(id))
    }

    /// How many events arrived at all customers, how many of them more than once, and how many were badly signed.
    pub(super) fn counts(&self) -> (usize, u64, u64) {
        let ledger = self.ledger();
        (ledger.arrived.values().map(BTreeSet::len).sum(), ledger.twice, ledger.badly_signed)
    }
}
