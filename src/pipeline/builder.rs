//! Starting a Hookmill: every mistake at once, then sink first.

mod validated;

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    rc::Rc,
    sync::{Arc, RwLock, atomic::AtomicU64},
    thread,
    time::Duration,
};

use actix::Actor;
use actix_rt::{Arbiter, ArbiterHandle, System};
use tokio::sync::oneshot;
use tracing::warn;

use super::{
    Asker, BodyBounds, Counters, Declared, Hookmill, Inner, StartError,
    asker::ANSWER_BYTES,
    death,
    enrich::{self, Enricher, Hook},
    found::{Own, endpoints, known, recover, rules, stored_chains},
    grounds,
    operational::Listeners,
    room::ENDPOINTS_OF_A_TENANT,
    tokens::Keyring,
};
use crate::{
    clock::Clock,
    debounce::{Begin, Debounce, Debouncer, Kept},
    deliver::Parts,
    descriptors,
    dispatch::{self, Barrier, Dispatcher, Full, Placement, muting::is_own},
    endpoint::EndpointBuilder,
    error::{Invalid, StoreError},
    hub::{Hub, Publish},
    intake::Intake,
    metrics::Metrics,
    quota::{Commons, Fair, Quota},
    store::{Loaded, Retention, Store, memory::MemoryStore},
    transport::{HttpTransport, Network, Perimeter, Transport, TransportFactory, guard::Allowed, routed},
};

#[cfg(feature = "sqlite")]
use crate::store::{Disk, Reserve, Room};

/// Events and bytes let in before their verdict is recorded.
const INTAKE_EVENTS: usize = 10_000;
const INTAKE_BYTES: usize = 64 << 20;
/// Bytes of events in the windows of all endpoints.
const WINDOW_BYTES: usize = 64 << 20;
/// Invocations of chains at once.
const INVOCATIONS: usize = 1024;
/// Bytes of payloads and answers that they may hold.
pub(crate) const CHAIN_BYTES: usize = 1 << 30;

/// Describes a Hookmill before it starts.
///
/// Without [`data_dir`](Self::data_dir) it keeps everything in memory: `durable` is false in every receipt, and what has not
/// been delivered is lost with the process.
#[must_use]
pub struct Builder {
    place: Place,
    endpoints: Vec<EndpointBuilder>,
    rules: Vec<Debounce>,
    declared: Declared,
    clock: Clock,
    threads: usize,
    transport: Option<TransportFactory>,
    allow_loopback: bool,
    perimeter: Perimeter,
    file_roots: Vec<PathBuf>,
    intake: (usize, usize),
    chain_bytes: usize,
    max_endpoints_per_tenant: usize,
    retention: Retention,
    seed: u64,
    #[cfg(feature = "sqlite")]
    disk: Disk,
    #[cfg(feature = "sqlite")]
    secret_keys: super::sealing::Given,
    pub(super) enrich: Vec<(String, Hook)>,
    pub(super) enrich_limit: Duration,
    pub(crate) bodies: BodyBounds,
    pub(crate) answers: Fair<Asker>,
}

enum Place {
    Memory,
    #[cfg(feature = "sqlite")]
    Dir(PathBuf),
}

impl Default for Builder {
    fn default() -> Self {
        let threads = thread::available_parallelism().map_or(1, usize::from).clamp(1, 4);
        Self {
            place: Place::Memory,
            endpoints: Vec::new(),
            rules: Vec::new(),
            declared: Declared::default(),
            clock: Clock::system(),
            threads,
            transport: None,
            allow_loopback: false,
            perimeter: Perimeter::default(),
            file_roots: Vec::new(),
            intake: (INTAKE_EVENTS, INTAKE_BYTES),
            chain_bytes: CHAIN_BYTES,
            max_endpoints_per_tenant: ENDPOINTS_OF_A_TENANT,
            retention: Retention::default(),
            seed: fastrand::u64(..),
            #[cfg(feature = "sqlite")]
            disk: Disk::leaving(Reserve::Standard),
            #[cfg(feature = "sqlite")]
            secret_keys: super::sealing::Given::default(),
            enrich: Vec::new(),
            enrich_limit: enrich::LIMIT,
            bodies: BodyBounds::default(),
            answers: Fair::new(ANSWER_BYTES),
        }
    }
}

impl Builder {
    /// Keeps everything in this directory, which is made if it is not there. One process at a time can use it.
    #[cfg(feature = "sqlite")]
    pub fn data_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.place = Place::Dir(dir.into());
        self
    }

    /// Keeps everything in memory.
    pub fn in_memory(mut self) -> Self {
        self.place = Place::Memory;
        self
    }

    /// Adds an endpoint that the program owns: it is there from the start, and the API may not change it. One of the same id
    /// from an earlier start takes these settings; its state and a generated secret stay.
    pub fn endpoint(mut self, endpoint: EndpointBuilder) -> Self {
        self.endpoints.push(endpoint);
        self
    }

    /// Adds a debounce rule. One of the same name from an earlier start is replaced.
    pub fn debounce(mut self, rule: Debounce) -> Self {
        self.rules.push(rule);
        self
    }

    /// Adds the endpoints and rules of an operator's file. They belong to it: the API can pause and resume the endpoints,
    /// nothing else. Those of the same names from an earlier start take these settings (but no other tenant: a start is refused
    /// then); secrets and states stay unless the file brings some. What an earlier file had and this one has not stays as it is
    /// and belongs to the callers of the API. [`Hookmill::apply`] changes them later.
    pub fn declare(mut self, declared: Declared) -> Self {
        self.declared = declared;
        self
    }

    /// Sets how long things are kept in a data directory: events 7 days, outcomes 30 days otherwise.
    pub fn retention(mut self, retention: Retention) -> Self {
        self.retention = retention;
        self
    }

    /// Sets the number of threads that deliver; the number of cores, 4 at most, otherwise.
    pub fn delivery_threads(mut self, threads: usize) -> Self {
        self.threads = threads.clamp(1, 64);
        self
    }

    /// Sets how many events and bytes may wait to be routed before publishing answers
    /// [`Overloaded`](crate::PublishError::Overloaded); 10 000 and 64 MiB otherwise. Twice as much may wait of several tenants, so that
    /// what is too much of one, [`Quota`](crate::PublishError::Quota), keeps no other out.
    pub fn intake(mut self, events: usize, bytes: usize) -> Self {
        self.intake = (events.max(1), bytes.max(1));
        self
    }

    /// Sets how many bytes all invocations of chains may hold in memory, 1 GiB otherwise. Each takes its payload and the most
    /// that its steps may answer at a time (`max_response_bytes`) before its first step; where so much is not free it is
    /// refused, [`ChainError::Busy`](crate::ChainError::Busy), and no step was made. A chain that may hold more than all runs
    /// when no other does.
    pub fn chain_bytes(mut self, bytes: usize) -> Self {
        self.chain_bytes = bytes.max(1);
        self
    }

    /// Sets how many endpoints each tenant may have, 1000 otherwise. A further one is refused, whoever asks for it; those of the
    /// program and of the operator's file count too, and never are.
    pub fn max_endpoints_per_tenant(mut self, most: usize) -> Self {
        self.max_endpoints_per_tenant = most;
        self
    }

    /// Sets how many bytes are to be left on the disk: with less, publishing answers
    /// [`StoreFull`](crate::PublishError::StoreFull), and what was accepted is delivered and settled. The larger of 1 GiB and
    /// 5 % of the disk otherwise; 0 for none.
    #[cfg(feature = "sqlite")]
    pub fn disk_reserve(mut self, bytes: u64) -> Self {
        self.disk.reserve = Reserve::Bytes(bytes);
        self
    }

    /// Asks `probe` for the room on the disk of a directory, every few seconds, and not the operating system: for quotas that
    /// it does not tell, and for tests.
    #[cfg(feature = "sqlite")]
    pub fn disk_probe(mut self, probe: impl Fn(&std::path::Path) -> io::Result<Room> + Send + Sync + 'static) -> Self {
        self.disk.probe = Arc::new(probe);
        self
    }

    /// Seals the secrets of endpoints and chains on disk (AES-256-GCM) with the first of the keys in a file: see
    /// [`SecretKeys::parse`](crate::SecretKeys::parse) for its form. The file must not lie in the data directory. What is stored
    /// already is sealed at the start, with what other keys of the file have sealed. Without a key secrets are stored as they are,
    /// and the log warns of it. Once sealed, they stay so: no start succeeds without the key.
    #[cfg(feature = "sqlite")]
    pub fn secret_key_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.secret_keys.file = Some(path.into());
        self
    }

    /// The same with keys that the program has from elsewhere.
    #[cfg(feature = "sqlite")]
    pub fn secret_keys(mut self, keys: crate::SecretKeys) -> Self {
        self.secret_keys.keys = Some(keys);
        self
    }

    /// Lets endpoints that are made through the API point to this machine. For development only.
    pub fn allow_loopback(mut self, allow: bool) -> Self {
        self.allow_loopback = allow;
        self
    }

    /// Lets every endpoint reach a network, whatever its guard: `"10.1.0.0/16:443".parse()?`. Metadata addresses only one by
    /// one, with `/32` or `/128`.
    pub fn guard_allow(mut self, allowed: Allowed) -> Self {
        self.perimeter.allow.push(allowed);
        self
    }

    /// Refuses `http` URLs to endpoints that are made through the API, and to all whose guard is not [`Guard::Private`], also
    /// those that were made before: their attempts fail as [`Blocked`](crate::transport::FailureKind::Blocked).
    ///
    /// [`Guard::Private`]: crate::endpoint::policy::Guard::Private
    pub fn https_only(mut self, https_only: bool) -> Self {
        self.perimeter.https_only = https_only;
        self
    }

    /// Tells where this program listens: no endpoint may reach that, whatever its guard and whatever is allowed.
    pub fn listening_on(mut self, address: SocketAddr) -> Self {
        self.perimeter.listening.push(address);
        self
    }

    /// Names a directory, by its absolute path, below which endpoints made through the API may write files. Those lie below the
    /// first one named; without one they are refused. None of them may be the data directory, lie in it or hold it.
    pub fn file_root(mut self, path: impl Into<PathBuf>) -> Self {
        self.file_roots.push(path.into());
        self
    }

    /// Sends what goes to a URL another way than by HTTP. `make` is called once on each delivering thread. Files are written by
    /// Hookmill in any case.
    pub fn transport<T: Transport>(mut self, make: impl Fn() -> T + Send + Sync + 'static) -> Self {
        self.transport = Some(Arc::new(move || Rc::new(make())));
        self
    }

    /// Starts. Threads of its own do the work, so that this can be called from any runtime.
    ///
    /// # Errors
    /// Every mistake of the configuration at once; or when the store cannot be opened.
    pub async fn start(self) -> Result<Hookmill, StartError> {
        let (started, result) = oneshot::channel();
        let run = move || {
            let runner = System::new();
            let threads = self.threads;
            let built = runner.block_on(async move {
                let arbiters: Vec<_> = (0..threads).map(|_| Arbiter::new().handle()).collect();
                let own = if self.enrich.is_empty() { Arbiter::current() } else { Arbiter::new().handle() };
                self.build(arbiters, own, Some(System::current())).await
            });
            let failed = built.is_err();
            if started.send(built).is_err() || failed {
                System::current().stop();
            }
            if let Err(error) = runner.run() {
                warn!(%error, "pipeline thread ended");
            }
        };
        let thread = thread::Builder::new().name("hookmill".to_owned()).spawn(run);
        thread.map_err(|source| StartError::System { what: "no thread for the pipeline", source })?;
        result.await.unwrap_or(Err(StartError::Store(StoreError::Closed)))
    }

    /// Starts on the actix arbiter of the caller, by `clock`, and with the same randomness each time.
    #[cfg(feature = "testing")]
    pub(crate) async fn start_here(self, clock: Clock) -> Result<Hookmill, StartError> {
        Self { clock, seed: 0, ..self }.build(vec![Arbiter::current()], Arbiter::current(), None).await
    }

    async fn build(
        self,
        arbiters: Vec<ArbiterHandle>,
        hooks_arbiter: ArbiterHandle,
        system: Option<System>,
    ) -> Result<Hookmill, StartError> {
        let dir = self.dir();
        self.assemble(arbiters, hooks_arbiter, system).await.map_err(|error| error.in_directory(dir.as_deref()))
    }

    async fn assemble(
        mut self,
        arbiters: Vec<ArbiterHandle>,
        hooks_arbiter: ArbiterHandle,
        system: Option<System>,
    ) -> Result<Hookmill, StartError> {
        let (own, own_rules, owners) = self.validated()?;
        let perimeter = Arc::new(std::mem::take(&mut self.perimeter));
        let metrics = Arc::new(Metrics::default());
        let enricher =
            Enricher::new(enrich::read(&self.enrich)?, self.enrich_limit, hooks_arbiter, Arc::clone(&metrics));
        let store = self.open()?;
        let data_dir = self.dir();
        Invalid::unless_empty(grounds::roots(&self.file_roots, data_dir.as_deref()))?;
        let transport = match self.transport.clone() {
            Some(transport) => transport,
            None => http(&metrics, &perimeter).map_err(|source| StartError::System { what: "no TLS", source })?,
        };
        let file_root = self.file_roots.first().map(PathBuf::as_path);
        let transport = routed(transport, file_root, data_dir.as_deref(), self.clock);
        let mut loaded = store.load().await?;
        let chains = stored_chains(&loaded, self.allow_loopback)?;
        let (first_of_file, chains_of_file) = (self.endpoints.len(), self.declared.chains.as_slice());
        let owned = Own { endpoints: own, first_of_file, chains_of_file, file_root, data_dir: data_dir.as_deref() };
        let endpoints = endpoints(store.as_ref(), owned, self.allow_loopback).await?;
        let rules = rules(store.as_ref(), &mut loaded, own_rules).await?;
        let parts = Parts {
            store: Arc::clone(&store),
            clock: self.clock,
            window_bytes: Quota::new(WINDOW_BYTES),
            places: Arc::new(Commons::new(descriptors::for_attempts())),
            in_flight: Arc::new(AtomicU64::new(0)),
            flights: Arc::default(),
            observer: Arc::default(),
            failures: Arc::default(),
            metrics,
        };
        let (death, on_death) = death::watch();
        // Sink first: each stage is started with the address of the one behind it.
        let known = known(&endpoints, &loaded);
        let placement = Placement::new(arbiters, transport);
        let windows = std::mem::take(&mut loaded.windows);
        let (of_endpoints, windows) = windows.into_iter().partition(|window| is_own(&window.rule));
        let kept = dispatch::Kept { windows: of_endpoints, held: std::mem::take(&mut loaded.held_deliveries) };
        let dispatcher = Dispatcher::new(known, kept, parts.clone(), placement, self.seed, &on_death);
        let (dispatcher, of_endpoints) = dispatcher.start_watching();
        let told = dispatcher.clone();
        store.watch_queues(Arc::clone(&parts.flights), Box::new(move |dropped| told.do_send(Full(dropped))));
        let Loaded { held, judged_through, .. } = loaded;
        let rule_list = rules.iter().map(|(name, rule)| (name.clone(), rule.clone())).collect();
        let kept = Kept { windows, held };
        let debouncer = Debouncer::new(rule_list, kept, dispatcher.clone(), Arc::clone(&store), self.clock, &on_death);
        let (debouncer, of_rules) = debouncer.start_watching();
        let failures = move |delivery| {
            of_rules(delivery);
            of_endpoints(delivery);
        };
        let _second = parts.failures.set(Box::new(failures));
        let hub = Hub::new(debouncer.clone(), &on_death).start();
        let sink = hub.clone();
        store.connect(Box::new(move |events| sink.do_send(Publish(events))));
        recover(store.as_ref(), judged_through, &hub).await?;
        let (done, passed) = oneshot::channel();
        hub.do_send(Barrier(done));
        let _gone = passed.await;
        debouncer.do_send(Begin);
        let keyring = Keyring::of(store.tokens().await?);
        let inner = Inner {
            #[cfg(feature = "api")]
            cursor_key: store.cursor_key().await?,
            clock: self.clock,
            intake: Intake::new(self.intake.0, self.intake.1),
            store,
            hub,
            debouncer,
            dispatcher,
            parts,
            endpoints: RwLock::new(endpoints),
            rules: RwLock::new(rules),
            chains: RwLock::default(),
            invocations: Quota::new(INVOCATIONS),
            chain_bytes: Quota::new(self.chain_bytes),
            owners: RwLock::new(owners),
            changes: Arc::default(),
            job_places: Arc::default(),
            ends: super::rotation::Ends::default(),
            allow_loopback: self.allow_loopback,
            max_endpoints_per_tenant: self.max_endpoints_per_tenant.into(),
            perimeter,
            file_root: self.file_roots.first().cloned(),
            data_dir,
            counters: Counters::default(),
            death,
            enricher,
            keyring,
            listeners: Listeners::default(),
            bodies: self.bodies,
            answers: self.answers,
            arbiter: Arbiter::current(),
            system,
        };
        let hooks = Hookmill::new(inner);
        hooks.start_chains(chains, self.declared.chains).await?;
        hooks.resume_jobs().await?;
        Ok(hooks)
    }

    fn dir(&self) -> Option<PathBuf> {
        match &self.place {
            Place::Memory => None,
            #[cfg(feature = "sqlite")]
            Place::Dir(dir) => Some(dir.clone()),
        }
    }

    fn open(&self) -> Result<Arc<dyn Store>, StartError> {
        match &self.place {
            Place::Memory => Ok(Arc::new(MemoryStore::new(self.clock))),
            #[cfg(feature = "sqlite")]
            Place::Dir(dir) => {
                let (retention, disk, keys) = (self.retention, self.disk.clone(), self.secret_keys.read(dir)?);
                Ok(Arc::new(crate::store::sqlite::SqliteStore::open_sealed(dir, self.clock, retention, disk, keys)?))
            }
        }
    }
}

fn http(metrics: &Arc<Metrics>, perimeter: &Arc<Perimeter>) -> io::Result<TransportFactory> {
    let network = Network::new()?.counting(Arc::clone(metrics)).within(Arc::clone(perimeter));
    Ok(Arc::new(move || Rc::new(HttpTransport::new(&network))))
}
