//! Room for what requests carry.

use std::cell::Cell;

use serde_json::json;

use super::{server::Server, *};
use crate::{
    endpoint::settings::Origin,
    transport::room::{Room, Rooms},
};

/// Of 64 KiB at most.
fn attempt_of(tenant: Option<&str>, url: &str) -> Attempt {
    let map: serde_json::Map<_, _> = (0..60).map(|n| (format!("k{n}"), json!({"from": "/data"}))).collect();
    let settings = json!({"url": url, "format": {"map": map}, "tenant": tenant, "timeout": "60s",
        "guard": "private"});
    let settings = Settings::parse(&settings, Origin::Code, |_: &_, _| Ok(())).unwrap();
    let event = Event::from_json("a", json!("x".repeat(1000)).to_string()).validate(AT).unwrap();
    Attempt { events: vec![Arc::new(Accepted::new(1, AT, event))], ..attempt(settings) }
}

const ROOM: usize = 400 << 10;

/// A transport with room for so much, for which it waits so long.
fn narrow(patience: Duration) -> (HttpTransport, Room) {
    let room = Room::new(ROOM, patience);
    let rooms = Rooms { small: room.clone(), ..Rooms::default() };
    (HttpTransport::new(&Network { rooms, ..DISTRUST.clone() }), room)
}

/// A server that accepts and reads nothing of the first `deaf` connections, and answers the others.
async fn deaf_to(deaf: usize) -> (Server, Rc<Cell<usize>>) {
    let asked = Rc::new(Cell::new(0));
    let count = asked.clone();
    let server = Server::start(move |mut peer, nth| {
        count.set(count.get() + 1);
        async move {
            if nth <= deaf {
                return std::future::pending().await;
            }
            peer.answer("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        }
    })
    .await;
    (server, asked)
}

async fn until(is: impl Fn() -> bool) {
    while !is() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[test]
fn bodies_that_nobody_reads_hold_no_more_than_there_is_room_for_and_leave_others_theirs() {
    run(async {
        let (transport, room) = narrow(Duration::from_millis(50));
        let (deaf, asked) = deaf_to(usize::MAX).await;
        let (server, _) = deaf_to(0).await;
        let mut hung: Vec<_> =
            (0..40).map(|_| actix_rt::spawn(transport.send(attempt_of(Some("acme"), &deaf.url)))).collect();
        until(|| asked.get() == 3).await;
        let of_acme = room.used();
        assert!((150 << 10..=200 << 10).contains(&of_acme), "{of_acme}");
        // Others have room, and the same tenant for what is small.
        transport.send(attempt_of(Some("globex"), &server.url)).await.unwrap();
        transport.send(attempt_of(None, &server.url)).await.unwrap();
        assert_eq!(room.used(), of_acme, "given back when the exchange has ended");
        // Those that found none go away, without a connection and with nothing against the receiver.
        let waited = hung.pop().unwrap().await.unwrap();
        assert_eq!(kind(waited), FailureKind::Shortage);
        assert_eq!(asked.get(), 3);
        hung.iter().for_each(actix_rt::task::JoinHandle::abort);
        until(|| room.used() == 0).await;
    });
}

#[test]
fn what_waited_for_room_is_sent_as_it_is() {
    run(async {
        let (transport, room) = narrow(HUNG);
        let (server, asked) = deaf_to(3).await;
        let hung: Vec<_> = (0..3).map(|_| actix_rt::spawn(transport.send(attempt_of(None, &server.url)))).collect();
        until(|| asked.get() == 3).await;
        let waiting = actix_rt::spawn(transport.send(attempt_of(None, &server.url)));
        until(|| room.is_waited_for()).await;
        assert_eq!(asked.get(), 3);
        hung[0].abort();
        let Reply::Response(response) = waiting.await.unwrap().unwrap() else { panic!("no answer") };
        assert_eq!((response.status, asked.get()), (200, 4));
        hung.iter().for_each(actix_rt::task::JoinHandle::abort);
        until(|| room.used() == 0).await;
    });
}
