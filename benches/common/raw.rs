//! HTTP with as little as possible around it: a receiver, and connections that post in a closed loop.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use tokio::{
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
    task::{JoinSet, LocalSet},
};

use super::wire::{Wire, head, header};

/// Paths where it does not simply work.
pub const SLOW: &str = "/slow";
pub const FLAPPING: &str = "/flapping";
pub const REFUSING: &str = "/refusing";
const SLOWNESS: Duration = Duration::from_secs(30);
const FLAP: Duration = Duration::from_millis(100);

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const BAD: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
const UNAVAILABLE: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Answers every request with 200 and writes down when which event came, on a thread of its own. Below [`SLOW`] it answers
/// after [`SLOWNESS`]; below [`FLAPPING`] with 503 for a tenth of a second, and as always for the next, in turns. What it
/// answers with 503 is not written down. Below [`REFUSING`] it answers 400.
pub struct Receiver {
    pub address: SocketAddr,
    seen: Arc<Seen>,
}

struct Seen {
    started: Instant,
    count: AtomicUsize,
    /// By the event's id: when it came first, and how often it came.
    events: Mutex<HashMap<String, (Instant, usize)>>,
}

impl Receiver {
    pub fn start() -> Self {
        let seen = Arc::new(Seen { started: Instant::now(), count: AtomicUsize::new(0), events: Mutex::default() });
        let (sender, address) = mpsc::channel();
        let serving = Arc::clone(&seen);
        thread::spawn(move || runtime().block_on(serve(serving, sender)));
        Self { address: address.recv().unwrap(), seen }
    }

    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    pub fn url_of(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Requests so far.
    pub fn count(&self) -> usize {
        self.seen.count.load(Ordering::Acquire)
    }

    /// Waits until so many requests have come; gives up when none has come for 20 s.
    pub async fn wait_for(&self, count: usize) {
        let (mut last, mut since) = (self.count(), Instant::now());
        while last < count && since.elapsed() < Duration::from_secs(20) {
            tokio::time::sleep(Duration::from_millis(1)).await;
            if self.count() != last {
                (last, since) = (self.count(), Instant::now());
            }
        }
    }

    /// When each event came, and how often; starts anew.
    pub fn take(&self) -> HashMap<String, (Instant, usize)> {
        self.seen.count.store(0, Ordering::Release);
        std::mem::take(&mut *self.seen.events.lock().unwrap())
    }
}

impl Seen {
    /// Whether what flaps fails at this moment.
    fn fails_now(&self) -> bool {
        (self.started.elapsed().as_millis() / FLAP.as_millis()).is_multiple_of(2)
    }
}

async fn serve(seen: Arc<Seen>, address: mpsc::Sender<SocketAddr>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    address.send(listener.local_addr().unwrap()).unwrap();
    let local = LocalSet::new();
    local
        .run_until(async {
            while let Ok((stream, _)) = listener.accept().await {
                let seen = Arc::clone(&seen);
                tokio::task::spawn_local(async move {
                    // A connection that breaks has no more requests.
                    let _end = receive(stream, &seen).await;
                });
            }
        })
        .await;
}

async fn receive(stream: TcpStream, seen: &Seen) -> io::Result<()> {
    let mut wire = Wire::new(stream)?;
    while let Some(request) = wire.next().await? {
        let now = Instant::now();
        let path = request.path();
        if path.starts_with(FLAPPING) && seen.fails_now() {
            wire.write(UNAVAILABLE).await?;
            continue;
        }
        if path.starts_with(REFUSING) {
            wire.write(BAD).await?;
            continue;
        }
        let slow = path.starts_with(SLOW);
        if let Some(id) = header(request.head, "webhook-id") {
            let mut events = seen.events.lock().unwrap();
            events.entry(id.to_owned()).or_insert((now, 0)).1 += 1;
        }
        seen.count.fetch_add(1, Ordering::AcqRel);
        if slow {
            tokio::time::sleep(SLOWNESS).await;
        }
        wire.write(OK).await?;
    }
    Ok(())
}

/// What posting came to.
#[derive(Default)]
pub struct Posted {
    /// By the id in the answer: when its request was written.
    pub accepted: HashMap<String, Instant>,
    /// Answers other than 2xx; those requests were posted again.
    pub refused: usize,
    /// From the first request to the last answer.
    pub took: Duration,
}

/// Posts from a thread of its own, over so many connections, `events` in all: each connection waits for its answer before
/// it posts again. With `pace`, the requests leave at these intervals, whatever the answers take.
pub async fn post(
    address: SocketAddr,
    connections: usize,
    events: usize,
    pace: Option<Duration>,
    request: impl Fn(usize) -> Vec<u8> + Send + Sync + 'static,
) -> Posted {
    let (done, posted) = tokio::sync::oneshot::channel();
    thread::spawn(move || done.send(runtime().block_on(post_here(address, connections, events, pace, request))));
    posted.await.unwrap()
}

async fn post_here(
    address: SocketAddr,
    connections: usize,
    events: usize,
    pace: Option<Duration>,
    request: impl Fn(usize) -> Vec<u8> + Send + Sync + 'static,
) -> Posted {
    let (request, mut tasks) = (Arc::new(request), JoinSet::new());
    let start = Instant::now();
    for first in 0..connections {
        let request = Arc::clone(&request);
        let mut wire = Wire::connect(address).await.unwrap();
        tasks.spawn(async move {
            let mut posted = Posted::default();
            for index in (first..events).step_by(connections) {
                if let Some(pace) = pace {
                    let at = start + pace * u32::try_from(index).unwrap();
                    tokio::time::sleep_until(at.into()).await;
                }
                post_one(&mut wire, &request(index), &mut posted).await;
            }
            posted
        });
    }
    let mut all = Posted::default();
    while let Some(posted) = tasks.join_next().await {
        let posted = posted.unwrap();
        all.accepted.extend(posted.accepted);
        all.refused += posted.refused;
    }
    Posted { took: start.elapsed(), ..all }
}

async fn post_one(wire: &mut Wire, request: &[u8], posted: &mut Posted) {
    loop {
        let written = Instant::now();
        wire.write(request).await.unwrap();
        let answer = wire.next().await.unwrap().unwrap();
        if answer.status() / 100 == 2 {
            if let Some(id) = id_in(answer.body) {
                posted.accepted.insert(id, written);
            }
            return;
        }
        assert_eq!(answer.status(), 503, "{}", answer.head);
        posted.refused += 1;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The id in the JSON that answers a publisher.
pub fn id_in(body: &[u8]) -> Option<String> {
    let (_, rest) = std::str::from_utf8(body).ok()?.split_once(r#""id":""#)?;
    Some(rest.split('"').next()?.to_owned())
}

/// A request of HTTP/1.1.
pub fn request(path: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let headers = [&[("host", "127.0.0.1")], headers].concat();
    format!("{}{}\r\n\r\n{body}", head(path, &headers), body.len()).into_bytes()
}

/// A connection for calls of the API, with a token.
pub struct Caller {
    wire: Wire,
    token: String,
}

impl Caller {
    pub async fn connect(address: SocketAddr, token: &str) -> Self {
        Self { wire: Wire::connect(address).await.unwrap(), token: token.to_owned() }
    }

    /// The status and the body of the answer.
    pub async fn call(&mut self, method: &str, path: &str, body: &str) -> (u16, String) {
        let (token, length) = (&self.token, body.len());
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        self.wire.write(request.as_bytes()).await.unwrap();
        let answer = self.wire.next().await.unwrap().unwrap();
        (answer.status(), String::from_utf8(answer.body.to_vec()).unwrap())
    }
}
