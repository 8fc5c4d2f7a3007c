//! Endpoints as a program writes them.

use std::{fmt, time::Duration};

use serde_json::{Map, Value, json};

use super::{
    Endpoint, EndpointId, Hmac, Preset, Secret, Settings, Signing,
    policy::{Batch, Guard},
    queue::QueuePolicy,
    settings::{Judge, Origin, guard_name, merge_settings, print_batch, print_queue, print_signing},
};
use crate::{
    config::duration,
    error::{Fault, Invalid},
};

/// An endpoint that a program configures. Nothing is checked before [`EndpointBuilder::build`], which names every mistake
/// at once.
///
/// ```
/// # use std::time::Duration;
/// # use hookmill::endpoint::Endpoint;
/// let (id, settings) = Endpoint::http("crm", "https://example.org/hook")
///     .topics(["user.*"])
///     .header("x-team", "sales")
///     .timeout(Duration::from_secs(5))
///     .build(|_, _| Ok(()))?;
/// assert_eq!((id.as_str(), settings.policy.timeout), ("crm", Duration::from_secs(5)));
/// # Ok::<(), hookmill::Invalid>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct EndpointBuilder {
    id: String,
    json: Value,
    secrets: Vec<Secret>,
    faults: Vec<Fault>,
}

impl Endpoint {
    /// An endpoint that is delivered to over HTTP, with the default of every setting. The id is its identity across
    /// restarts: building it again updates it.
    pub fn http(id: impl Into<String>, url: impl Into<String>) -> EndpointBuilder {
        let json = json!({"url": url.into()});
        Self::described(id.into(), json)
    }

    /// An endpoint whose events are lines of JSON in a file, by its absolute path. Each is on disk before it counts as
    /// delivered. Missing directories are not made.
    pub fn file(id: impl Into<String>, path: impl Into<String>) -> EndpointBuilder {
        Self::described(id.into(), json!({"file": path.into()}))
    }

    fn described(id: String, json: Value) -> EndpointBuilder {
        EndpointBuilder { id, json, secrets: Vec::new(), faults: Vec::new() }
    }
}

impl EndpointBuilder {
    fn set(self, name: &str, value: impl Into<Value>) -> Self {
        self.settings(Value::Object(Map::from_iter([(name.to_owned(), value.into())])))
    }

    /// Starts from a preset; what the builder sets, before or after, stands above it.
    pub fn preset(self, preset: Preset) -> Self {
        self.set("preset", preset.as_str())
    }

    /// Sets a name for people.
    pub fn name(self, name: impl Into<String>) -> Self {
        self.set("name", name.into())
    }

    /// Sets which events it gets: `*`, `a.*`, or exact topics. All of them unless set.
    pub fn topics<T: Into<String>>(self, topics: impl IntoIterator<Item = T>) -> Self {
        let topics: Vec<String> = topics.into_iter().map(Into::into).collect();
        self.set("topics", topics)
    }

    /// Sets whose events it gets; `"*"` means everybody's. Only events without a tenant unless set. An endpoint that is there keeps
    /// its tenant: see [`TenantScope`](crate::endpoint::TenantScope).
    pub fn tenant(self, tenant: impl Into<String>) -> Self {
        self.set("tenant", tenant.into())
    }

    /// Adds a signing secret. Deliveries are signed with all of them; one is generated when there is none.
    pub fn secret(mut self, secret: Secret) -> Self {
        self.secrets.push(secret);
        let secrets: Vec<_> = self.secrets.iter().map(Secret::reveal).collect();
        self.set("signing", Value::Null).set("signing", json!({"type": "standard", "secrets": secrets}))
    }

    /// Does not sign deliveries.
    pub fn unsigned(mut self) -> Self {
        self.secrets.clear();
        self.set("signing", Value::Null).set("signing", json!({"type": "none"}))
    }

    /// Signs deliveries with a plain HMAC of the body alone, for receivers that know nothing else.
    pub fn hmac(mut self, hmac: Hmac) -> Self {
        self.secrets.clear();
        let signing = print_signing(&Signing::Hmac(hmac));
        self.set("signing", Value::Null).set("signing", signing)
    }

    /// Puts many events into one request, one request at a time unless [`EndpointBuilder::in_flight`] says otherwise. Parts
    /// of a millisecond round up.
    #[expect(clippy::needless_pass_by_value, reason = "written in place, as all that is set here")]
    pub fn batch(self, batch: Batch) -> Self {
        self.set("batch", print_batch(&batch))
    }

    /// Sets the deadline of one whole exchange, 100 ms to 5 minutes. Parts of a millisecond round up.
    pub fn timeout(self, timeout: Duration) -> Self {
        self.set("timeout", duration::print(timeout))
    }

    /// Sets the waits after failed attempts; there is one attempt more than waits. Parts of a millisecond round up.
    pub fn retry_delays(self, delays: impl IntoIterator<Item = Duration>) -> Self {
        let delays: Vec<String> = delays.into_iter().map(duration::print).collect();
        self.set("retry", json!({"delays": delays}))
    }

    /// Sets how many attempts may run at once; 1 delivers strictly in order.
    pub fn in_flight(self, most: u16) -> Self {
        self.set("in_flight", most)
    }

    /// Delivers the events of one key one after another; see [`Ordered::Key`](super::queue::Ordered::Key).
    pub fn ordered_by_key(self) -> Self {
        self.set("ordered", "key")
    }

    /// Sets how much may wait, and what becomes of what is too much.
    pub fn queue(self, queue: QueuePolicy) -> Self {
        self.set("queue", print_queue(queue))
    }

    /// Sets how long a shutdown waits for this endpoint, within its own deadline: 0 s to 1 h; zero cuts attempts off at once.
    pub fn drain(self, deadline: Duration) -> Self {
        self.set("drain", duration::print(deadline))
    }

    /// Leaves repeats out for this endpoint alone: of events that agree at these JSON Pointers into the event, beside tenant
    /// and topic, the first is delivered at once, and those inside the window after it are suppressed. Parts of a millisecond
    /// round up. What else a rule can do is set by name: `settings(json!({"debounce": {"edge": "trailing"}}))`.
    pub fn debounce<T: Into<String>>(self, key: impl IntoIterator<Item = T>, window: Duration) -> Self {
        let key: Vec<String> = key.into_iter().map(Into::into).collect();
        self.set("debounce", json!({"key": key, "window": duration::print(window)}))
    }

    /// Sets how many dead letters are kept; 10 000 unless set. The oldest fall off, and are counted.
    pub fn dead_letters(self, most: u64) -> Self {
        self.set("dead_letters", json!({"max_items": most}))
    }

    /// Adds a header to every request.
    pub fn header(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let header = Map::from_iter([(name.into(), Value::String(value.into()))]);
        self.set("headers", header)
    }

    /// Sends `Authorization: Bearer …` with every request.
    pub fn bearer(self, token: impl Into<String>) -> Self {
        self.set("auth", json!({"type": "bearer", "token": token.into()}))
    }

    /// Gives a file that would grow longer than `max_bytes` the name `….1`, and the next line a new file; `keep` old ones stay.
    pub fn rotate(self, max_bytes: u64, keep: u32) -> Self {
        self.set("rotate", json!({"max_bytes": max_bytes, "keep": keep}))
    }

    /// Sets which addresses may be reached: [`Guard::Private`] unless set. [`Guard::PublicAndLoopback`] and
    /// [`Guard::PrivateNoLoopback`] are refused, they are for endpoints made through the API.
    pub fn guard(mut self, guard: Guard) -> Self {
        match guard {
            Guard::Private | Guard::Public => {}
            Guard::PublicAndLoopback => {
                self.faults.push(Fault::new("#/guard", "comes of `--allow-loopback` alone: use `Guard::Private`"));
            }
            Guard::PrivateNoLoopback => {
                self.faults
                    .push(Fault::new("#/guard", "is for the API alone: use `Guard::Private` or `Guard::Public`"));
            }
        }
        self.set("guard", guard_name(guard))
    }

    /// Sets what requests carry: a name such as `"cloudevents"`, or a map, `json!({"map": {"order": {"from": "/data/id"}}})`.
    pub fn format(self, format: impl Into<Value>) -> Self {
        self.set("format", format)
    }

    /// Sets which events it gets of those whose topics match: `json!({"pointer": "/data/kind", "only": ["refund"]})`.
    pub fn filter(self, filter: impl Into<Value>) -> Self {
        self.set("filter", filter)
    }

    /// Merges settings written as in the API's JSON into these (RFC 7396: members replace; a `format` or a `filter` is replaced
    /// as a whole). `null` takes back what was set and stands for the default, whatever the preset says.
    pub fn settings(mut self, json: Value) -> Self {
        if json.is_object() {
            let nulls = json.clone();
            merge_settings(&mut self.json, json);
            keep_nulls(&mut self.json, &nulls);
        } else {
            self.faults.push(Fault::new("#", "must be an object"));
        }
        self
    }

    /// Whether a state is set.
    pub(crate) fn names_state(&self) -> bool {
        self.json.get("state").is_some_and(|state| !state.is_null())
    }

    /// The endpoint's id and its settings.
    ///
    /// # Errors
    /// Every mistake at once, with its place in the API's JSON; `#/id` is the id.
    pub fn build(self, judge: impl Judge) -> Result<(EndpointId, Settings), Invalid> {
        let mut faults = self.faults;
        let id = self.id.parse().map_err(|error: crate::event::NameError| {
            faults.push(Fault::new("#/id", error.to_string()));
        });
        if id.as_ref().is_ok_and(EndpointId::is_of_chain) {
            faults.push(Fault::new("#/id", "is for a step of a chain: ids of others hold no dot"));
        }
        let settings = Settings::parse(&self.json, Origin::Code, judge).map_err(|invalid| {
            faults.extend(Vec::from(invalid));
        });
        Invalid::unless_empty(faults)?;
        id.ok().zip(settings.ok()).ok_or_else(|| Invalid::at("#", "is incomplete"))
    }
}

/// What users name themselves: nothing stands there by default.
const NAMED_BY_USERS: [&str; 4] = ["headers", "metadata", "format", "filter"];

/// Has `document` say `null` where `merged` does, which merging has taken away: it stands above a preset.
fn keep_nulls(document: &mut Value, merged: &Value) {
    let (Some(document), Some(merged)) = (document.as_object_mut(), merged.as_object()) else { return };
    for (name, value) in merged {
        if value.is_null() {
            document.insert(name.clone(), Value::Null);
        } else if let Some(inner) = document.get_mut(name).filter(|_| !NAMED_BY_USERS.contains(&name.as_str())) {
            keep_nulls(inner, value);
        }
    }
}

impl fmt::Debug for EndpointBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointBuilder").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::{
        Auth, Encoding, TextSecret,
        debounce::DebouncePolicy,
        policy::{Backoff, Policy},
    };

    fn build(builder: EndpointBuilder) -> Result<(EndpointId, Settings), Invalid> {
        builder.build(|_, _| Ok(()))
    }

    #[test]
    fn every_call_sets_what_it_names() {
        let secrets = [Secret::generate().unwrap(), Secret::generate().unwrap()];
        let builder = Endpoint::http("crm", "https://example.org/")
            .name("CRM")
            .tenant("*")
            .secret(secrets[0].clone())
            .secret(secrets[1].clone())
            .retry_delays([Duration::from_secs(60)])
            .in_flight(1)
            .dead_letters(100)
            .debounce(["/data/k"], Duration::from_secs(5))
            .header("X-A", "1")
            .header("X-B", "2")
            .bearer("token")
            .queue(QueuePolicy { max_items: 7, ..QueuePolicy::default() })
            .drain(Duration::ZERO)
            .ordered_by_key()
            .guard(Guard::Public)
            .batch(Batch { count_header: Some("X-Count".to_owned()), ..Batch::default() })
            .settings(json!({"breaker": {"failures": 3}}));
        let (id, settings) = build(builder).unwrap();
        assert_eq!(id.as_str(), "crm");
        assert_eq!(settings.signing, Signing::standard(secrets.to_vec()));
        assert_eq!(settings.auth, Some(Auth::Bearer("token".to_owned())));
        assert_eq!(settings.policy.retry.backoff, Backoff::Delays(vec![Duration::from_secs(60)]));
        assert_eq!((settings.policy.in_flight, settings.policy.breaker.failures), (1, 3));
        assert_eq!(settings.dead_letters.max_items, 100);
        let debounce = DebouncePolicy::leading(vec!["/data/k".parse().unwrap()], Duration::from_secs(5));
        assert_eq!(settings.debounce, Some(Box::new(debounce)));
        assert_eq!(settings.policy.batch.as_ref().unwrap().count_header.as_deref(), Some("x-count"));
        assert_eq!((settings.policy.queue.max_items, settings.policy.drain), (7, Some(Duration::ZERO)));
        assert_eq!(settings.policy.ordered, super::super::queue::Ordered::Key);
        assert_eq!((settings.headers.len(), settings.guard), (2, Guard::Public));
    }

    #[test]
    fn every_mistake_is_named_at_once() {
        let builder = Endpoint::http("no spaces", "x")
            .timeout(Duration::MAX)
            .guard(Guard::PublicAndLoopback)
            .topics(["a*"])
            .settings(Value::Null);
        let places: Vec<_> = build(builder).unwrap_err().faults().iter().map(|fault| fault.pointer.clone()).collect();
        assert_eq!(places, ["#/guard", "#", "#/id", "#/url", "#/topics/0", "#/timeout"]);
    }

    #[test]
    fn unsigned_forgets_the_secrets() {
        let builder = Endpoint::http("a", "https://a.b").secret(Secret::generate().unwrap()).unsigned();
        assert_eq!(build(builder).unwrap().1.signing, Signing::None);
    }

    #[test]
    fn a_plain_hmac_takes_the_place_of_other_signatures() {
        let hmac = Hmac {
            header: "x-signature".to_owned(),
            prefix: "sha256=".to_owned(),
            encoding: Encoding::Hex,
            secret: Some(TextSecret::new("any text")),
        };
        let builder = Endpoint::http("a", "https://a.b").secret(Secret::generate().unwrap()).hmac(hmac.clone());
        assert_eq!(build(builder.clone()).unwrap().1.signing, Signing::Hmac(hmac));
        assert_eq!(build(builder.unsigned()).unwrap().1.signing, Signing::None);
    }

    #[test]
    fn null_takes_back_what_was_set_and_what_the_preset_says() {
        let preset = Endpoint::http("a", "https://a.b").preset(Preset::BatchHooks);
        let nulls = json!({"timeout": null, "batch": null, "retry": {"exhausted": null}, "headers": {"x-a": null}});
        let settings = build(preset.header("x-a", "1").timeout(Duration::from_secs(3)).settings(nulls)).unwrap().1;
        let default = Policy::default();
        assert_eq!((settings.policy.timeout, &settings.policy.batch), (default.timeout, &None));
        assert_eq!((settings.policy.retry.exhausted, settings.headers.len()), (default.retry.exhausted, 0));
        assert_eq!(settings.policy.retry.backoff.longest(), Duration::from_secs(30), "of the preset");
        let again = Endpoint::http("a", "https://a.b").preset(Preset::Audit).settings(json!({"retry": null}));
        let again = again.retry_delays([Duration::from_secs(7)]).batch(Batch::default());
        let policy = build(again).unwrap().1.policy;
        assert_eq!((policy.retry.backoff.longest(), &policy.batch), (Duration::from_secs(7), &Some(Batch::default())));
    }

    #[test]
    fn debug_shows_no_secret() {
        let builder = Endpoint::http("a", "https://a.b").bearer("hush");
        assert!(!format!("{builder:?}").contains("hush"));
    }
}
