//! Names and their addresses.
//!
//! The system's resolver blocks a thread until it is done, and cannot be stopped: a name service that hangs would take every
//! thread that may block. So look-ups are bounded in number, and a name is looked up once at a time, whoever asks for it.
//! Nothing is kept: the next attempt asks again.

use std::{
    collections::HashMap,
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
/// Look-ups at once. Each delivering thread may block 512 others, which also write files.
const LOOKUPS: usize = 128;

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
    under_way: Arc<Mutex<HashMap<String, Watched>>>,
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
    /// Looks names up by `lookup`, so many at once.
    pub(super) fn by<F>(at_once: usize, lookup: impl Fn(String) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = io::Result<Vec<IpAddr>>> + Send + 'static,
    {
        let lookup: Lookup = Arc::new(move |host| lookup(host).boxed());
        Self { lookup, turns: Arc::new(Semaphore::new(at_once)), under_way: Arc::default() }
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
                let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| given_up())?;
                self.begin(host, turn)
            }
        };
        let found = watched.wait_for(Option::is_some).await.map_err(|_| given_up())?;
        found.clone().unwrap_or_else(|| Err(given_up()))
    }

    fn watch(&self, host: &str) -> Option<Watched> {
        self.under_way().get(host).filter(|watched| goes_on(watched)).cloned()
    }

    /// Others may have begun meanwhile.
    fn begin(&self, host: &str, turn: OwnedSemaphorePermit) -> Watched {
        let mut under_way = self.under_way();
        if let Some(watched) = under_way.get(host).filter(|watched| goes_on(watched)) {
            return watched.clone();
        }
        let (tell, watched) = watch::channel(None);
        under_way.insert(host.to_owned(), watched.clone());
        tokio::spawn(self.clone().look_up(host.to_owned(), turn, tell));
        watched
    }

    /// Goes on when nobody waits for it any more: the thread that it blocks is not free before it ends, and nor is its turn.
    async fn look_up(self, host: String, turn: OwnedSemaphorePermit, tell: watch::Sender<Option<Found>>) {
        let found = (self.lookup)(host.clone()).await;
        self.under_way().remove(&host);
        tell.send_replace(Some(found.map(Arc::from).map_err(|error| Arc::from(error.to_string()))));
        drop(turn);
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<String, Watched>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
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
