//! Names and their addresses.
//!
//! The system's resolver blocks a thread until it is done, and cannot be stopped: a name service that hangs would take every
//! thread that may block. So look-ups are bounded in number, and a name is looked up once at a time, whoever asks for it.
//! Names that hung the last time have turns of their own, and a look-up that begins to hang goes over to those: who owns names
//! that hang can make many of them, and they hold up each other and no other name for longer than one look-up may take.
//! No answer is kept: the next attempt asks again.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};
use tokio::{
    net::lookup_host,
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::timeout,
};

use super::{Failure, FailureKind};

/// The longest a name may take to resolve, with waiting for a turn.
const RESOLVE: Duration = Duration::from_secs(5);
/// Look-ups at once, of names that answer and as many of those that hang. Each delivering thread may block 512 others, which also
/// write files.
const LOOKUPS: usize = 128;
/// Most names that are remembered for hanging.
const SLOW: usize = 10_000;

/// Finds the addresses of a name.
type Lookup = Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync>;

/// What a look-up came to, once it is over; an error in words.
type Found = Result<Arc<[IpAddr]>, Arc<str>>;
type Watched = watch::Receiver<Option<Found>>;

/// Looks names up, for all transports of a process.
#[derive(Clone)]
pub(super) struct Names {
    lookup: Lookup,
    turns: Arc<Semaphore>,
    /// Turns of names that hang.
    slow_turns: Arc<Semaphore>,
    known: Arc<Mutex<Known>>,
}

#[derive(Default)]
struct Known {
    under_way: HashMap<String, Watched>,
    /// Names that hung the last time.
    slow: HashSet<String>,
}

impl Default for Names {
    fn default() -> Self {
        Self::by(LOOKUPS, |host| async move {
            let found = lookup_host((host, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}

impl Names {
    /// Looks names up by `lookup`, so many at once, and as many that hang.
    pub(super) fn by<F>(at_once: usize, lookup: impl Fn(String) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = io::Result<Vec<IpAddr>>> + Send + 'static,
    {
        let lookup: Lookup = Arc::new(move |host| lookup(host).boxed());
        let turns = || Arc::new(Semaphore::new(at_once));
        Self { lookup, turns: turns(), slow_turns: turns(), known: Arc::default() }
    }

    /// Every address of `host`, at least one. A literal address is itself, at once.
    pub(super) async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Failure> {
        let literal = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(ip) = literal.parse() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        let found = timeout(RESOLVE, self.find(host)).await;
        let found = found.unwrap_or_else(|_| Err(format!("no answer within {} s", RESOLVE.as_secs()).into()));
        match found {
            Ok(ips) if !ips.is_empty() => Ok(ips.iter().map(|ip| SocketAddr::new(*ip, port)).collect()),
            Ok(_) => Err("it has no addresses".into()),
            Err(why) => Err(why),
        }
        .map_err(|why: Arc<str>| Failure::new(FailureKind::Dns, format!("{host} cannot be resolved: {why}")))
    }

    /// What the look-up of `host` that is under way comes to, or a new one, when it is its turn.
    async fn find(&self, host: &str) -> Found {
        // A look-up is forgotten without an answer only when its thread ends.
        let given_up = || Arc::from("the look-up was given up");
        let mut watched = match self.watch(host) {
            Some(watched) => watched,
            None => {
                let turn = self.turns_of(host).acquire_owned().await.map_err(|_| given_up())?;
                self.begin(host, turn)
            }
        };
        let found = watched.wait_for(Option::is_some).await.map_err(|_| given_up())?;
        found.clone().unwrap_or_else(|| Err(given_up()))
    }

    fn turns_of(&self, host: &str) -> Arc<Semaphore> {
        Arc::clone(if self.known().slow.contains(host) { &self.slow_turns } else { &self.turns })
    }

    fn watch(&self, host: &str) -> Option<Watched> {
        self.known().under_way.get(host).filter(|watched| goes_on(watched)).cloned()
    }

    /// Others may have begun meanwhile.
    fn begin(&self, host: &str, turn: OwnedSemaphorePermit) -> Watched {
        let mut known = self.known();
        if let Some(watched) = known.under_way.get(host).filter(|watched| goes_on(watched)) {
            return watched.clone();
        }
        let (tell, watched) = watch::channel(None);
        known.under_way.insert(host.to_owned(), watched.clone());
        tokio::spawn(self.clone().look_up(host.to_owned(), turn, tell));
        watched
    }

    /// Goes on when nobody waits for it any more: the thread that it blocks is not free before it ends, and nor is its turn.
    async fn look_up(self, host: String, mut turn: OwnedSemaphorePermit, tell: watch::Sender<Option<Found>>) {
        let mut lookup = (self.lookup)(host.clone());
        let found = match timeout(RESOLVE, &mut lookup).await {
            Ok(found) => {
                self.known().slow.remove(&host);
                found
            }
            Err(_) => {
                self.known().remember_slow(&host);
                if let Ok(other) = Arc::clone(&self.slow_turns).try_acquire_owned() {
                    turn = other;
                }
                lookup.await
            }
        };
        self.known().under_way.remove(&host);
        tell.send_replace(Some(found.map(Arc::from).map_err(|error| Arc::from(error.to_string()))));
        drop(turn);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn remember_slow(&mut self, host: &str) {
        if self.slow.len() >= SLOW {
            self.slow.clear();
        }
        self.slow.insert(host.to_owned());
    }
}

/// Whether somebody is there who will tell.
fn goes_on(watched: &Watched) -> bool {
    watched.has_changed().is_ok()
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names").field("turns", &self.turns).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
