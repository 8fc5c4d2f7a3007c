//! A client of the API that shares no code with it: HTTP/1.1 over one connection that is kept.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use serde_json::Value;

const TIMEOUT: Duration = Duration::from_secs(30);
/// A connection that was idle for longer may have been closed by the server.
const IDLE: Duration = Duration::from_secs(2);

/// One connection to a server, made when it is needed.
pub(super) struct Client {
    addr: String,
    token: Option<String>,
    connection: Option<(BufReader<TcpStream>, Instant)>,
}

/// An answer as it came.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// The body, when the status is this one.
    pub(super) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        self.json()
    }
}

impl Client {
    /// A client of the server at `addr` (host:port).
    pub(super) fn new(addr: impl Into<String>, token: Option<&str>) -> Self {
        Self { addr: addr.into(), token: token.map(str::to_owned), connection: None }
    }

    pub(super) fn get(&mut self, path: &str) -> Value {
        self.call("GET", path, None).expect(200)
    }

    pub(super) fn post(&mut self, path: &str, body: &Value) -> Answer {
        self.call("POST", path, Some(body))
    }

    pub(super) fn put(&mut self, path: &str, body: &Value) -> Answer {
        self.call("PUT", path, Some(body))
    }

    pub(super) fn call(&mut self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let answer = self.try_call(method, path, body);
        answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// A call that may find nobody, or be cut off.
    pub(super) fn try_call(&mut self, method: &str, path: &str, body: Option<&Value>) -> io::Result<Answer> {
        let json = body.map(Value::to_string);
        let typed = json.as_ref().map(|_| ("content-type", "application/json"));
        self.send(method, path, typed.as_slice(), json.unwrap_or_default().as_bytes())
    }

    /// A call with these headers and this very body.
    pub(super) fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Answer> {
        let mut request = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n", self.addr);
        if let Some(token) = &self.token {
            request.push_str(&format!("authorization: Bearer {token}\r\n"));
        }
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            request.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        let mut bytes = (request + "\r\n").into_bytes();
        bytes.extend_from_slice(body);
        self.raw(&bytes)
    }

    /// Writes these bytes and reads one answer.
    pub(super) fn raw(&mut self, bytes: &[u8]) -> io::Result<Answer> {
        let fresh = self.connection.take().filter(|(_, used)| used.elapsed() < IDLE);
        let mut stream = match fresh {
            Some((stream, _)) => stream,
            None => connect(&self.addr)?,
        };
        // A server that refuses what it reads may answer before everything is written.
        let written = stream.get_mut().write_all(bytes);
        let answer = match read(&mut stream) {
            Ok(answer) => answer,
            Err(error) => return Err(written.err().unwrap_or(error)),
        };
        let closes = answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        if written.is_ok() && !closes {
            self.connection = Some((stream, Instant::now()));
        }
        Ok(answer)
    }
}

fn connect(addr: &str) -> io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect(addr)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    Ok(BufReader::new(stream))
}

/// A start line and headers.
pub(super) fn head(stream: &mut impl BufRead) -> io::Result<(String, Vec<(String, String)>)> {
    let start = line(stream)?;
    let mut headers = Vec::new();
    loop {
        let line = line(stream)?;
        let Some((name, value)) = line.split_once(':') else { return Ok((start, headers)) };
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
}

fn line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    match stream.read_line(&mut line)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(line.trim_end().to_owned()),
    }
}

/// A body as long as the headers say.
pub(super) fn body(stream: &mut impl Read, headers: &[(String, String)]) -> io::Result<Vec<u8>> {
    let length = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length = length.map_or(0, |(_, length)| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(body)
}

fn read(stream: &mut impl BufRead) -> io::Result<Answer> {
    let (start, headers) = head(stream)?;
    let status = start.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| io::Error::other(format!("no status in {start:?}")))?;
    let body = body(stream, &headers)?;
    Ok(Answer { status, headers, body })
}
