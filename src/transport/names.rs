//! Names and their addresses.
//!
//! The system's resolver blocks a thread until it is done, and cannot be stopped: a name service that hangs would take every
//! thread that may block. So look-ups are bounded in number, and a name is looked up once at a time, whoever asks for it.
//! Who owns names that hang can make many of them. So there are three kinds of turns: for names that answered in time the last
//! time, for those that hung lately, and for those of which nothing is known. A look-up that begins to hang goes over to the
//! second kind as soon as one is free. No answer is kept: the next attempt asks again.
//!
//! Each kind is shared by tenants ([`turns`]): one takes a turn only while it holds fewer than are free. So:
//!
//! - **However many names of one tenant's hang, for however long, no look-up of another's waits for them**, be its name known or
//!   new. The endpoints without a tenant, and those of every tenant, are an owner each like a tenant.
//! - Of 128 turns one owner has 64 at most, a second 32, a third 16: it takes eight whose names hang at the same time to leave
//!   nobody else any.
//! - Within one owner new names that hang hold up other new names, once each, until their look-ups end, and those that answered
//!   well not at all. A name that hung asks only among its like, so it never stands before one that was not tried yet.

mod standing;
mod turns;

use std::{
    collections::HashMap,
    fmt,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Either, select},
};
use tokio::{net::lookup_host, sync::watch, time::timeout};

use super::{Failure, FailureKind};
use crate::endpoint::TenantScope;
use standing::{Standing, Standings};

/// The longest a name may take to resolve, with waiting for a turn.
const RESOLVE: Duration = Duration::from_secs(5);
/// A look-up that takes longer hangs: name services answer in a fraction of it.
const BRISK: Duration = Duration::from_secs(1);
/// Look-ups at once of each of the three kinds of names. Each delivering thread may block 512 others, which also write files.
const LOOKUPS: usize = 128;
/// So many names at least are remembered for how they answered, and twice as many at most.
const REMEMBERED: usize = 10_000;

/// Finds the addresses of a name.
type Lookup = Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync>;

/// What a look-up came to, once it is over; an error in words.
type Found = Result<Arc<[IpAddr]>, Arc<str>>;
type Watched = watch::Receiver<Option<Found>>;

/// Looks names up, for all transports of a process.
#[derive(Clone)]
pub(super) struct Names {
    lookup: Lookup,
    turns: Kinds,
    known: Arc<Mutex<Known>>,
}

/// Whose endpoints ask.
type Owner = TenantScope;
type Turns = turns::Turns<Owner>;
type Turn = turns::Turn<Owner>;

/// Turns of names that answered well, of those that hang, and of new ones.
#[derive(Clone, Debug)]
struct Kinds {
    well: Turns,
    slow: Turns,
    new: Turns,
}

struct Known {
    under_way: HashMap<String, Watched>,
    standings: Standings,
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
    /// Looks names up by `lookup`, so many of each kind at once.
    pub(super) fn by<F>(at_once: usize, lookup: impl Fn(String) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = io::Result<Vec<IpAddr>>> + Send + 'static,
    {
        let lookup: Lookup = Arc::new(move |host| lookup(host).boxed());
        let turns = || Turns::new(at_once);
        let turns = Kinds { well: turns(), slow: turns(), new: turns() };
        let known = Known { under_way: HashMap::new(), standings: Standings::new(REMEMBERED) };
        Self { lookup, turns, known: Arc::new(Mutex::new(known)) }
    }

    /// Every address of `host`, at least one. A literal address is itself, at once.
    pub(super) async fn resolve(&self, owner: &Owner, host: &str, port: u16) -> Result<Vec<SocketAddr>, Failure> {
        let literal = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(ip) = literal.parse() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        let found = timeout(RESOLVE, self.find(owner, host)).await;
        let found = found.unwrap_or_else(|_| Err(format!("no answer within {} s", RESOLVE.as_secs()).into()));
        match found {
            Ok(ips) if !ips.is_empty() => Ok(ips.iter().map(|ip| SocketAddr::new(*ip, port)).collect()),
            Ok(_) => Err("it has no addresses".into()),
            Err(why) => Err(why),
        }
        .map_err(|why: Arc<str>| Failure::new(FailureKind::Dns, format!("{host} cannot be resolved: {why}")))
    }

    /// What the look-up of `host` that is under way comes to, or a new one, when it is its turn.
    async fn find(&self, owner: &Owner, host: &str) -> Found {
        // A look-up is forgotten without an answer only when its thread ends.
        let given_up = || Arc::from("the look-up was given up");
        let mut watched = match self.watch(host) {
            Some(watched) => watched,
            None => {
                let turn = self.turns_of(host).take(owner).await;
                self.begin(owner, host, turn)
            }
        };
        let found = watched.wait_for(Option::is_some).await.map_err(|_| given_up())?;
        found.clone().unwrap_or_else(|| Err(given_up()))
    }

    fn turns_of(&self, host: &str) -> &Turns {
        match self.known().standings.of(host) {
            Some(Standing::Well) => &self.turns.well,
            Some(Standing::Slow(_)) => &self.turns.slow,
            None => &self.turns.new,
        }
    }

    fn watch(&self, host: &str) -> Option<Watched> {
        self.known().under_way.get(host).filter(|watched| goes_on(watched)).cloned()
    }

    /// Others may have begun meanwhile.
    fn begin(&self, owner: &Owner, host: &str, turn: Turn) -> Watched {
        let mut known = self.known();
        if let Some(watched) = known.under_way.get(host).filter(|watched| goes_on(watched)) {
            return watched.clone();
        }
        let (tell, watched) = watch::channel(None);
        known.under_way.insert(host.to_owned(), watched.clone());
        tokio::spawn(self.clone().look_up(owner.clone(), host.to_owned(), turn, tell));
        watched
    }

    /// Goes on when nobody waits for it any more: the thread that it blocks is not free before it ends, and nor is its turn.
    async fn look_up(self, owner: Owner, host: String, mut turn: Turn, tell: watch::Sender<Option<Found>>) {
        let mut lookup = (self.lookup)(host.clone());
        let found = match timeout(BRISK, &mut lookup).await {
            Ok(found) => {
                self.known().standings.answered(&host);
                found
            }
            Err(_) => {
                self.known().standings.hung(&host);
                let slow_turn = Box::pin(self.turns.slow.take(&owner));
                match select(lookup, slow_turn).await {
                    Either::Left((found, _)) => found,
                    Either::Right((slow_turn, lookup)) => {
                        turn = slow_turn;
                        lookup.await
                    }
                }
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
