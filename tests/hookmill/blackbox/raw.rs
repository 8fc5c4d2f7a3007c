//! Bytes to the server and back, without any manners.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, TcpStream},
    time::Duration,
};

use super::PATIENCE;

/// A connection that says what it is told.
pub(super) struct Raw(TcpStream);

impl Raw {
    pub(super) fn connect(addr: &str) -> Self {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
        Self(stream)
    }

    /// From this address of the machine.
    pub(super) fn connect_from(address: IpAddr, addr: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let stream = runtime.block_on(async {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind((address, 0).into()).unwrap();
            socket.connect(addr.parse().unwrap()).await.unwrap().into_std().unwrap()
        });
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    /// Sends as much as the server takes.
    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    /// Everything until the server ends the connection; panics when it does not.
    pub(super) fn rest(&mut self) -> String {
        let mut bytes = Vec::new();
        let mut part = [0; 4096];
        loop {
            match self.0.read(&mut part) {
                Ok(0) => break,
                Ok(read) => bytes.extend_from_slice(&part[..read]),
                Err(error) if is_patience(&error) => {
                    panic!("the server keeps the connection after {:?}", String::from_utf8_lossy(&bytes));
                }
                Err(_reset) => break,
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// One answer without a body, or with a short one that comes at once.
    pub(super) fn answer(&mut self) -> String {
        let mut text = String::new();
        let mut part = [0; 4096];
        while !is_whole(&text) {
            let read = self.0.read(&mut part).unwrap();
            assert!(read > 0, "the connection ended after {text:?}");
            text.push_str(&String::from_utf8_lossy(&part[..read]));
        }
        text
    }

    /// What comes at once; nothing when the server has ended the connection.
    pub(super) fn part(&mut self) -> String {
        let mut part = [0; 4096];
        match self.0.read(&mut part) {
            Err(error) if is_patience(&error) => panic!("the server says nothing"),
            read => String::from_utf8_lossy(&part[..read.unwrap_or(0)]).into_owned(),
        }
    }

    /// Whether nothing has come yet.
    pub(super) fn is_silent(&mut self) -> bool {
        self.0.set_nonblocking(true).unwrap();
        let read = self.0.read(&mut [0; 1]);
        self.0.set_nonblocking(false).unwrap();
        read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}

fn is_patience(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn is_whole(text: &str) -> bool {
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head
        .to_ascii_lowercase()
        .split_once("content-length: ")
        .map_or(0, |(_, length)| length.split("\r\n").next().unwrap().parse::<usize>().unwrap());
    body.len() >= length
}

/// Sends `bytes` on a connection of their own; everything that comes back until it ends.
pub(super) fn exchange(addr: &str, bytes: &[u8]) -> String {
    let mut raw = Raw::connect(addr);
    // A server that refuses may have answered and gone before everything was sent.
    let _sent = raw.send(bytes);
    raw.rest()
}

/// The status of every answer in `text`.
pub(super) fn statuses(text: &str) -> Vec<u16> {
    let answers = text.split("HTTP/1.1 ").skip(1);
    answers.filter_map(|answer| answer.get(..3)?.parse().ok()).collect()
}
