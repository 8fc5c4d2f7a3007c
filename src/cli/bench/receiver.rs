//! The receiver: answers, and writes down what came when, on a thread of its own.

use std::{
    cell::RefCell,
    io,
    net::{SocketAddr, TcpListener as Listener},
    rc::Rc,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use tokio::{
    net::{TcpListener, TcpStream},
    task::LocalSet,
};

use super::{
    ledger::{Arrivals, Fan},
    micros, request,
    wire::{Message, Wire},
};
use crate::Clock;

/// Listens as long as the command runs.
pub(super) struct Receiver {
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
}

/// What the receiver does with its requests.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    pub(super) fan: Fan,
    /// Bytes of data of each event.
    pub(super) size: usize,
    /// Share of the requests that are answered 500.
    pub(super) failing: f64,
}

struct Shared {
    manner: Manner,
    clock: Clock,
    arrivals: Mutex<Arrivals>,
    /// Different deliveries so far.
    arrived: AtomicUsize,
    failed: AtomicUsize,
}

/// Where endpoints are, each at its number.
const ENDPOINT: &str = "/e/";
/// Where posts are answered and no more.
pub(super) const RAW: &str = "/raw";

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const FAILED: &[u8] = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n";

impl Receiver {
    /// # Errors
    /// When the address cannot be listened on.
    pub(super) fn start(address: SocketAddr, manner: Manner, clock: Clock) -> io::Result<Self> {
        let listener = Listener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            manner,
            clock,
            arrivals: Mutex::new(Arrivals::new(manner.fan)),
            arrived: AtomicUsize::new(0),
            failed: AtomicUsize::new(0),
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let serving = Arc::clone(&shared);
        thread::spawn(move || LocalSet::new().block_on(&runtime, serve(listener, serving)));
        Ok(Self { address, shared })
    }

    pub(super) fn url(&self, endpoint: usize) -> String {
        format!("http://{}{ENDPOINT}{endpoint}", self.address)
    }

    /// Different deliveries so far.
    pub(super) fn arrived(&self) -> usize {
        self.shared.arrived.load(Ordering::Acquire)
    }

    /// Requests that were answered 500.
    pub(super) fn failed(&self) -> usize {
        self.shared.failed.load(Ordering::Acquire)
    }

    /// Everything that came; nothing more is noted while it is looked at.
    pub(super) fn arrivals(&self) -> MutexGuard<'_, Arrivals> {
        self.shared.arrivals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn serve(listener: Listener, shared: Arc<Shared>) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    // The same requests fail in each run.
    let chance = Rc::new(RefCell::new(fastrand::Rng::with_seed(0)));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Too many open files, most likely: some will close.
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            continue;
        };
        let (shared, chance) = (Arc::clone(&shared), Rc::clone(&chance));
        tokio::task::spawn_local(async move {
            // A connection that breaks has no more requests.
            let _end = receive(stream, &shared, &chance).await;
        });
    }
}

async fn receive(stream: TcpStream, shared: &Shared, chance: &RefCell<fastrand::Rng>) -> io::Result<()> {
    let mut wire = Wire::new(stream)?;
    while let Some(request) = wire.next().await? {
        let answer = shared.answer(&request, &mut chance.borrow_mut());
        wire.write(answer).await?;
    }
    Ok(())
}

impl Shared {
    fn answer(&self, request: &Message<'_>, chance: &mut fastrand::Rng) -> &'static [u8] {
        let endpoint = request.path().strip_prefix(ENDPOINT).and_then(|endpoint| endpoint.parse().ok());
        let Some(endpoint) = endpoint else { return OK };
        if self.manner.failing > 0.0 && chance.f64() < self.manner.failing {
            self.failed.fetch_add(1, Ordering::AcqRel);
            return FAILED;
        }
        let now = micros(self.clock);
        let mut arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        for event in request::numbers(request.body, self.manner.size) {
            arrivals.note(event, endpoint, now);
        }
        self.arrived.store(arrivals.arrived, Ordering::Release);
        OK
    }
}
