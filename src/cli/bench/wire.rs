//! HTTP/1.1 over plain sockets, with as little as possible around it. It knows nothing of the rest of Hookmill, whose
//! benchmarks have this file too.

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
    str,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Bytes that one reading asks for: more than most messages have.
const ROOM: usize = 16 << 10;
/// Longest head and longest body.
const MAX_HEAD: usize = 64 << 10;
const MAX_BODY: usize = 256 << 20;

const END: &[u8] = b"\r\n\r\n";

/// One connection, message by message; each says how long its body is.
pub(super) struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Bytes of the last message, which the next reading drops.
    taken: usize,
}

/// A request or an answer as it came.
pub(super) struct Message<'a> {
    pub(super) head: &'a str,
    pub(super) body: &'a [u8],
}

impl Message<'_> {
    /// The status of an answer; 0 for what is none.
    pub(super) fn status(&self) -> u16 {
        self.head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    /// The path of a request.
    pub(super) fn path(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }
}

impl Wire {
    pub(super) async fn connect(address: SocketAddr) -> io::Result<Self> {
        Self::new(TcpStream::connect(address).await?)
    }

    pub(super) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(ROOM), taken: 0 })
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// The next message; `None` once the other side has closed between two.
    pub(super) async fn next(&mut self) -> io::Result<Option<Message<'_>>> {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        let end = loop {
            match self.buffer.windows(END.len()).position(|window| window == END) {
                Some(end) => break end,
                None if self.buffer.len() > MAX_HEAD => return Err(invalid("a head without an end")),
                None if self.read().await? > 0 => {}
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(ErrorKind::UnexpectedEof.into()),
            }
        };
        let start = end + END.len();
        let whole = start + length(self.head(end)?)?;
        while self.buffer.len() < whole {
            if self.read().await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        self.taken = whole;
        Ok(Some(Message { head: self.head(end)?, body: self.buffer.get(start..whole).unwrap_or_default() }))
    }

    fn head(&self, end: usize) -> io::Result<&str> {
        str::from_utf8(self.buffer.get(..end).unwrap_or_default()).map_err(|_| invalid("a head that is no text"))
    }

    async fn read(&mut self) -> io::Result<usize> {
        self.buffer.reserve(ROOM);
        self.stream.read_buf(&mut self.buffer).await
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

/// A header's value; names are told apart without regard to case.
pub(super) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
    lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

fn length(head: &str) -> io::Result<usize> {
    let length: usize = header(head, "content-length").map_or(Ok(0), str::parse).map_err(|_| invalid("no length"))?;
    if length > MAX_BODY { Err(invalid("a body that is too long")) } else { Ok(length) }
}

/// A POST up to the length of its body, which comes next.
pub(super) fn head(path: &str, headers: &[(&str, &str)]) -> String {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("POST {path} HTTP/1.1\r\n{headers}content-length: ")
}
