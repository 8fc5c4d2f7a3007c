//! A receiver of webhooks that shares no code with the sender: it records every request and answers as it is told.

use std::{
    collections::BTreeSet,
    io::{self, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Instant,
};

use serde_json::Value;
use standardwebhooks::Webhook;

use super::{PATIENCE, http, until};

/// What a request is answered with.
#[derive(Clone)]
pub(crate) enum Reply {
    Status(u16),
    /// 200 with this body.
    Body(String),
    /// 200 with this content type and body.
    Typed(&'static str, &'static str),
    /// 302 to this URL.
    Moved(String),
    /// Nothing, until the sender goes.
    Never,
    /// 200 once the gate is open.
    Behind(Gate),
}

/// Keeps answers back until it is opened.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<AtomicBool>);

impl Gate {
    pub(crate) fn open(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn pass(&self) {
        until("the gate opens", PATIENCE, || self.0.load(Ordering::Acquire).then_some(()));
    }
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) path: String,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// When it had been read as a whole.
    pub(crate) at: Instant,
    /// The status that was decided on, if any.
    pub(crate) status: Option<u16>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value)
    }

    /// The event's id.
    pub(crate) fn id(&self) -> &str {
        self.header("webhook-id")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Whether the signature is the one that the reference implementation makes.
    pub(crate) fn is_signed_with(&self, secret: &str) -> bool {
        let at = self.header("webhook-timestamp").parse().unwrap();
        let expected = Webhook::new(secret).unwrap().sign(self.id(), at, &self.body).unwrap();
        self.header("webhook-signature").split(' ').any(|signature| signature == expected)
    }
}

type Script = dyn Fn(&Request) -> Reply + Send + Sync;

struct Shared {
    script: Box<Script>,
    seen: Mutex<Vec<Request>>,
    closed: AtomicBool,
}

/// Listens until it is dropped.
pub(crate) struct Receiver {
    addr: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl Receiver {
    /// A receiver that answers by `script`.
    pub(crate) fn new(script: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let shared =
            Arc::new(Shared { script: Box::new(script), seen: Mutex::default(), closed: AtomicBool::new(false) });
        let acceptor = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || accept(&listener, &shared))
        };
        Self { addr, shared, acceptor: Some(acceptor) }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// Every request so far, in the order of their arrival.
    pub(crate) fn seen(&self) -> Vec<Request> {
        self.shared.seen.lock().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.shared.seen.lock().unwrap().len()
    }

    /// How many requests came in since.
    pub(crate) fn count_since(&self, since: Instant) -> usize {
        self.shared.seen.lock().unwrap().iter().filter(|request| request.at >= since).count()
    }

    /// The ids that came to this path and were answered 200.
    pub(crate) fn taken(&self, path: &str) -> BTreeSet<String> {
        let seen = self.shared.seen.lock().unwrap();
        let taken = seen.iter().filter(|request| request.path == path && request.status == Some(200));
        taken.map(|request| request.id().to_owned()).collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        // Wakes the acceptor up.
        let _woken = TcpStream::connect(self.addr);
        if let Some(acceptor) = self.acceptor.take() {
            let _ended = acceptor.join();
        }
    }
}

/// Nobody listens on this port.
pub(crate) const REFUSING: &str = "http://127.0.0.1:1/";

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.closed.load(Ordering::Acquire) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let shared = Arc::clone(shared);
        // It ends when the sender closes the connection.
        thread::spawn(move || serve(stream, &shared));
    }
}

fn serve(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    loop {
        let (start, headers) = http::head(&mut stream)?;
        let body = http::body(&mut stream, &headers)?;
        let path = start.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut request = Request { path, headers, body, at: Instant::now(), status: None };
        let reply = (shared.script)(&request);
        request.status = match reply {
            Reply::Status(status) => Some(status),
            Reply::Behind(_) | Reply::Body(_) | Reply::Typed(..) => Some(200),
            Reply::Moved(_) => Some(302),
            Reply::Never => None,
        };
        let status = request.status;
        shared.seen.lock().unwrap().push(request);
        let (mut text, mut more) = (String::new(), String::new());
        match reply {
            Reply::Never => {
                let _until_it_goes = stream.read(&mut [0])?;
                return Ok(());
            }
            Reply::Behind(gate) => gate.pass(),
            Reply::Body(body) => text = body,
            Reply::Typed(content_type, body) => {
                (text, more) = (body.to_owned(), format!("content-type: {content_type}\r\n"));
            }
            Reply::Moved(url) => more = format!("location: {url}\r\n"),
            Reply::Status(_) => {}
        }
        let status = status.unwrap_or_default();
        let length = text.len();
        write!(stream.get_mut(), "HTTP/1.1 {status} Scripted\r\n{more}content-length: {length}\r\n\r\n{text}")?;
    }
}
