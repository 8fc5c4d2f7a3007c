//! A server whose every connection is scripted.

use std::cell::Cell;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;

pub(super) struct Server {
    pub(super) url: String,
    pub(super) port: u16,
    accepted: Rc<Cell<usize>>,
}

impl Server {
    /// Runs `talk` on every connection; its number is counted from 1.
    pub(super) async fn start<F: Future<Output = ()> + 'static>(talk: impl Fn(Peer, usize) -> F + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let accepted = Rc::new(Cell::new(0));
        let counter = accepted.clone();
        actix_rt::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                counter.set(counter.get() + 1);
                actix_rt::spawn(talk(Peer(tcp), counter.get()));
            }
        });
        Self { url: format!("http://127.0.0.1:{port}/hook"), port, accepted }
    }

    /// Answers every request with `answer` and keeps the connections.
    pub(super) async fn answering(answer: &'static str) -> Self {
        Self::start(move |mut peer, _| async move { peer.answer(answer).await }).await
    }

    /// Answers the first request of every connection with `answer` and closes it.
    pub(super) async fn closing_after(answer: &'static str) -> Self {
        Self::start(move |mut peer, _| async move {
            peer.request().await;
            peer.write(answer).await;
        })
        .await
    }

    pub(super) fn accepted(&self) -> usize {
        self.accepted.get()
    }
}

pub(super) struct Peer(TcpStream);

impl Peer {
    /// The next whole request, `None` when there are no more.
    pub(super) async fn request(&mut self) -> Option<String> {
        let mut text = Vec::new();
        loop {
            if let Some(request) = whole(&text) {
                return Some(request);
            }
            if self.0.read_buf(&mut text).await.ok()? == 0 {
                return None;
            }
        }
    }

    /// Whether all of `text` could be sent.
    pub(super) async fn write(&mut self, text: &str) -> bool {
        self.0.write_all(text.as_bytes()).await.is_ok()
    }

    pub(super) async fn write_bytes(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).await.is_ok()
    }

    /// Answers every request to come.
    pub(super) async fn answer(&mut self, answer: &str) {
        while self.request().await.is_some() {
            self.write(answer).await;
        }
    }

    /// Breaks the connection without a farewell.
    pub(super) fn reset(self) {
        self.0.set_zero_linger().unwrap();
    }

    /// Says that nothing more will be said, and goes on listening.
    pub(super) async fn fall_silent(&mut self) {
        self.0.shutdown().await.unwrap();
    }

    /// Reads as much as there is at once.
    pub(super) async fn some(&mut self) {
        let _ = self.0.read(&mut [0; 16]).await;
    }

    /// Waits until the other side has closed the connection.
    pub(super) async fn closed(&mut self) {
        let mut rest = [0; 1024];
        while self.0.read(&mut rest).await.is_ok_and(|read| read > 0) {}
    }
}

/// `text` when it is a whole request.
pub(super) fn whole(text: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    (body.len() >= length.unwrap_or("0").parse::<usize>().unwrap()).then(|| text.to_owned())
}
