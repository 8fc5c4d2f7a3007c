//! `hookmill demo`: the main job in half a minute, on a temporary directory, over real sockets and a real disk.

mod receiver;
mod sums;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use anyhow::{Context, bail};
use futures_util::future::try_join_all;
use serde_json::{Value, json};

use super::{
    Failed, Outcome, block_on,
    client::Api,
    config::{CHAINS_HOLD, ENDPOINTS_OF_A_TENANT, InForce},
    scratch::Scratch,
    serve::Running,
};
use crate::{Clock, Declared, Retention, Secret, clock::Mono};
use receiver::Receiver;

#[derive(Debug, clap::Args)]
pub(super) struct Demo {
    /// Keep the temporary directory and tell its name
    #[arg(long)]
    keep: bool,
}

/// Says what happens, and when.
#[derive(Clone)]
struct Narrator {
    clock: Clock,
    start: Mono,
}

impl Narrator {
    fn new() -> Self {
        let clock = Clock::system();
        Self { clock, start: clock.now().mono }
    }

    fn now(&self) -> Mono {
        self.clock.now().mono
    }

    fn elapsed(&self) -> Duration {
        self.now().since(self.start)
    }

    fn say(&self, text: &str) {
        say!("{:>6.1}s  {text}", self.elapsed().as_secs_f64());
    }
}

const DRAIN: Duration = Duration::from_secs(5);

impl Demo {
    pub(super) fn run(self) -> Outcome {
        block_on(async move {
            let scratch = Scratch::below(&std::env::temp_dir(), "demo", self.keep);
            let running = Running::start(InForce {
                listen: ([127, 0, 0, 1], 0).into(),
                data_dir: scratch.path.clone(),
                allow_loopback: true,
                guard_allow: Vec::new(),
                https_only: false,
                drain: DRAIN,
                file_roots: Vec::new(),
                // A newcomer with a full disk is to see it too: it takes a few kilobytes.
                disk_reserve: Some(0),
                retention: Retention::default(),
                chain_bytes: CHAINS_HOLD,
                max_endpoints_per_tenant: ENDPOINTS_OF_A_TENANT,
                tls: None,
                hosts: Vec::new(),
                max_connections: None,
                secret_key_file: None,
                declared: Declared::default(),
            });
            let running = running.await?;
            let outcome = Story::new(&running)?.tell().await;
            let report = running.stop(DRAIN).await;
            if self.keep {
                say!("\nkept: {}", scratch.path.display());
            }
            outcome?;
            match report.kept {
                0 => Ok(()),
                left => Err(Failed::new(1, format!("{left} deliveries were left behind"))),
            }
        })
    }
}

/// Events published at a time.
const AT_ONCE: usize = 6;
/// How long the demo waits for anything that must happen.
const PATIENCE: Duration = Duration::from_secs(15);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);

struct Story {
    api: Api,
    url: String,
    narrator: Narrator,
    receiver: Arc<Receiver>,
    /// Ids that were answered 202, with their topics.
    acknowledged: Vec<(String, &'static str)>,
}

/// The customers and what they are told of.
const CUSTOMERS: [(&str, &[&str]); 3] =
    [("shop", &["order.*", "alert.raised"]), ("billing", &["order.paid", "invoice.*"]), ("legacy", &["invoice.*"])];

impl Story {
    fn new(running: &Running) -> anyhow::Result<Self> {
        let narrator = Narrator::new();
        let receiver = Receiver::new(narrator.clone());
        let api = Api::new(&running.url, &running.token.token);
        Ok(Self { api, url: running.url.clone(), narrator, receiver, acknowledged: Vec::new() })
    }

    async fn tell(mut self) -> anyhow::Result<()> {
        self.configure().await?;
        self.narrator.say("publishing orders, invoices and sign-ups over HTTP");
        self.publish(120).await?;
        self.outage().await?;
        self.alerts().await?;
        self.dead_letter().await?;
        self.finish().await
    }

    async fn configure(&mut self) -> anyhow::Result<()> {
        let target = self.receiver.start()?;
        say!("Hookmill runs on {}, its customers on {target}\n", self.url);
        for (id, topics) in CUSTOMERS {
            let endpoint = json!({
                "id": id, "url": format!("{target}/{id}"), "topics": topics, "timeout": "2s",
                "retry": {"delays": ["400ms", "800ms", "1600ms"], "jitter": 0.0},
                "breaker": {"failures": 5, "min_events": 2, "cooldown": "1s", "max_cooldown": "4s"},
            });
            let made = self.call(self.api.post("/v1/endpoints", &endpoint)).await?;
            let secret = made.get("secret").and_then(Value::as_str).context("no secret was shown")?;
            self.receiver.expect(id, Secret::parse(secret)?);
            self.narrator.say(&format!("{id:<8} is told of {}", topics.join(", ")));
        }
        let rule = json!({"topics": ["alert.raised"], "key": ["/data/host"], "window": "60s"});
        self.call(self.api.put("/v1/debounce-rules/alerts", &rule)).await?;
        Ok(())
    }

    async fn call(&self, answer: impl Future<Output = Result<Value, Failed>>) -> anyhow::Result<Value> {
        answer.await.map_err(|failed| anyhow::anyhow!(failed.message))
    }

    /// Publishes `count` events, a few at a time.
    async fn publish(&mut self, count: u64) -> anyhow::Result<()> {
        let first = u64::try_from(self.acknowledged.len()).unwrap_or(0);
        let events: Vec<_> = (first..first + count).map(event).collect();
        for group in events.chunks(AT_ONCE) {
            self.accept(group).await?;
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
        Ok(())
    }

    async fn accept(&mut self, events: &[(&'static str, Value)]) -> anyhow::Result<()> {
        let publish = |(topic, data): &(&'static str, Value)| {
            let body = json!({"topic": topic, "data": data});
            let topic = *topic;
            let api = &self.api;
            async move {
                let answer = api.post("/v1/events", &body).await.map_err(|failed| anyhow::anyhow!(failed.message))?;
                let id = answer.get("id").and_then(Value::as_str).context("no id in the answer")?;
                anyhow::Ok((id.to_owned(), topic))
            }
        };
        let accepted = try_join_all(events.iter().map(publish)).await?;
        self.acknowledged.extend(accepted);
        Ok(())
    }

    async fn outage(&mut self) -> anyhow::Result<()> {
        self.narrator.say("billing  goes down");
        self.receiver.billing_down.store(true, Ordering::Relaxed);
        self.publish(120).await?;
        self.breaker("billing", "open").await?;
        self.narrator.say("billing  breaker is open: its events wait on disk, the others' go out");
        self.receiver.billing_probed.store(true, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(1500)).await;
        self.receiver.billing_down.store(false, Ordering::Relaxed);
        self.narrator.say("billing  is up again; the next probe will find out");
        self.breaker("billing", "closed").await?;
        self.narrator.say("billing  breaker is closed: what waited goes out");
        Ok(())
    }

    async fn breaker(&self, endpoint: &str, state: &str) -> anyhow::Result<()> {
        let path = format!("/v1/endpoints/{endpoint}/state");
        self.until(&format!("the breaker of {endpoint} is {state}"), &path, |answer| {
            answer.get("breaker").and_then(Value::as_str) == Some(state)
        })
        .await?;
        Ok(())
    }

    async fn until(&self, what: &str, path: &str, done: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        let deadline = self.narrator.elapsed() + PATIENCE;
        loop {
            let answer = self.call(self.api.get(path)).await?;
            if done(&answer) {
                return Ok(answer);
            }
            if self.narrator.elapsed() > deadline {
                bail!("waited in vain until {what}: {answer}");
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn alerts(&mut self) -> anyhow::Result<()> {
        let alert = || ("alert.raised", json!({"host": "db-1", "text": "disk nearly full"}));
        self.accept(&[alert(), alert(), alert(), alert(), alert(), alert()]).await?;
        self.narrator.say("six alerts of one host within a minute: the first passes, five are suppressed");
        Ok(())
    }

    async fn dead_letter(&mut self) -> anyhow::Result<()> {
        let items = |answer: &Value| answer.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
        let path = "/v1/dead-letters?endpoint=legacy";
        let answer = self.until("a dead letter", path, |answer| !items(answer).is_empty()).await?;
        for letter in items(&answer) {
            let text = |name: &str| letter.get(name).map(Value::to_string).unwrap_or_default().replace('"', "");
            let id = text("id");
            let (reason, attempts, error) = (text("reason"), text("attempts"), text("last_error"));
            self.narrator.say(&format!("legacy   dead letter {id}: {reason} after {attempts} attempts, {error}"));
            self.receiver.legacy_broken.store(false, Ordering::Relaxed);
            self.call(self.api.post(&format!("/v1/dead-letters/{id}/replay"), &json!({}))).await?;
            self.narrator.say(&format!("legacy   is mended, {id} is replayed"));
        }
        Ok(())
    }

    async fn finish(self) -> anyhow::Result<()> {
        let settled = |stats: &Value| {
            let at = |pointer: &str| stats.pointer(pointer).and_then(Value::as_u64);
            at("/unrouted") == Some(0) && at("/deliveries/pending") == Some(0) && at("/deliveries/in_flight") == Some(0)
        };
        let stats = self.until("everything is settled", "/v1/stats", settled).await?;
        self.narrator.say("everything is settled\n");
        let (arrived, twice, badly_signed) = self.receiver.counts();
        say!("acknowledged over HTTP   {:>6}", self.acknowledged.len());
        say!("arrived at customers     {arrived:>6}   ({twice} more than once, {badly_signed} badly signed)");
        let accepted = stats.pointer("/accepted").and_then(Value::as_u64);
        if accepted != u64::try_from(self.acknowledged.len()).ok() {
            bail!("{} events were acknowledged, and {accepted:?} are accounted for", self.acknowledged.len());
        }
        let missing = self.missing();
        if !missing.is_empty() || badly_signed > 0 {
            bail!("{} deliveries never arrived, {badly_signed} were badly signed", missing.len());
        }
        sums::show(&stats)
    }

    /// What was acknowledged and did not arrive where it belongs; of the alerts, one must have.
    fn missing(&self) -> Vec<(&'static str, &str)> {
        let mut missing = Vec::new();
        let alerts = self.acknowledged.iter().filter(|(_, topic)| *topic == "alert.raised");
        if alerts.filter(|(id, _)| self.receiver.has("shop", id)).count() != 1 {
            missing.push(("shop", "alert.raised"));
        }
        for (id, topic) in self.acknowledged.iter().filter(|(_, topic)| *topic != "alert.raised") {
            for (customer, topics) in CUSTOMERS {
                let wanted = topics.iter().any(|pattern| {
                    pattern == topic || pattern.strip_suffix('*').is_some_and(|prefix| topic.starts_with(prefix))
                });
                if wanted && !self.receiver.has(customer, id) {
                    missing.push((customer, id));
                }
            }
        }
        missing
    }
}

/// The `n`th event of a shop's day.
fn event(n: u64) -> (&'static str, Value) {
    let name = ["Ada", "Grace", "Alan", "Edsger", "Barbara", "Donald"];
    let who = usize::try_from(n).ok().and_then(|n| name.get(n % name.len())).copied().unwrap_or("Ada");
    match n % 4 {
        0 => ("order.created", json!({"order": 1000 + n, "customer": who, "items": 1 + n % 5})),
        1 => ("order.paid", json!({"order": 1000 + n - 1, "amount": {"value": 990 + 10 * n, "currency": "EUR"}})),
        2 => ("invoice.sent", json!({"invoice": format!("INV-{}", if n == 30 { 7 } else { 100 + n }), "to": who})),
        _ => ("user.signed_up", json!({"user": 5000 + n, "name": who, "plan": "team"})),
    }
}
