//! Batches and plain signatures over a socket.

use std::cell::RefCell;

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac as Reference, KeyInit, Mac};
use sha2::Sha256;

use super::{server::Server, *};
use crate::{
    endpoint::{Encoding, Hmac, TextSecret, policy::Batch},
    transport::batch_id,
};

/// What one attempt sends: the headers and the body.
fn sent(settings: impl FnOnce(&mut Settings), events: u64) -> (Attempt, Vec<(String, String)>, String) {
    run(async {
        let seen = Rc::new(RefCell::new(String::new()));
        let log = seen.clone();
        let server = Server::start(move |mut peer, _| {
            let log = log.clone();
            async move {
                *log.borrow_mut() = peer.request().await.unwrap();
                peer.write("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
            }
        })
        .await;
        let mut of_endpoint = self::settings(&server.url);
        settings(&mut of_endpoint);
        let one = attempt(of_endpoint);
        let event = |seq: u64| {
            let event = Event::from_json("a.b", seq.to_string()).id(format!("e{seq}")).validate(AT).unwrap();
            Arc::new(Accepted::new(seq, AT, event))
        };
        let attempt = Attempt { events: (1..=events).map(event).collect(), ..one };
        transport().send(attempt.clone()).await.unwrap();
        let seen = seen.take();
        let (head, body) = seen.split_once("\r\n\r\n").unwrap();
        let headers = head.lines().skip(1).map(|line| line.split_once(": ").unwrap());
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        (attempt, headers, body.to_owned())
    })
}

fn header<'a>(headers: &'a [(String, String)], name: &str) -> &'a str {
    headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
}

fn code(secret: &str, body: &str) -> Vec<u8> {
    Reference::<Sha256>::new_from_slice(secret.as_bytes()).unwrap().chain_update(body).finalize().into_bytes().to_vec()
}

fn hmac(prefix: &str, encoding: Encoding) -> Signing {
    let (header, secret) = ("x-hub-signature".to_owned(), Some(TextSecret::new("It's a Secret to Everybody")));
    Signing::Hmac(Hmac { header, prefix: prefix.to_owned(), encoding, secret })
}

fn batched(batch: Batch) -> Arc<Policy> {
    Policy { batch: Some(batch), ..Policy::default() }.shared()
}

#[test]
fn a_batch_is_one_request_with_its_count_and_a_plain_signature() {
    let (attempt, headers, body) = sent(
        |settings| {
            settings.policy = batched(Batch { count_header: Some("x-batch-size".to_owned()), ..Batch::default() });
            settings.signing = hmac("sha256=", Encoding::Hex);
            settings.format = Format::Raw;
        },
        3,
    );
    assert_eq!(body, "[1,2,3]");
    assert_eq!((header(&headers, "x-batch-size"), header(&headers, "content-type")), ("3", "application/json"));
    assert_eq!(header(&headers, "webhook-id"), batch_id(&attempt.events));
    let hex: String = code("It's a Secret to Everybody", &body).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(header(&headers, "x-hub-signature"), format!("sha256={hex}"));
    assert_eq!(header(&headers, "webhook-signature"), "");
}

#[test]
fn a_plain_signature_stands_for_a_single_event_too() {
    let (_, headers, body) = sent(|settings| settings.signing = hmac("", Encoding::Base64), 1);
    let code = BASE64_STANDARD.encode(code("It's a Secret to Everybody", &body));
    assert_eq!((header(&headers, "x-hub-signature"), header(&headers, "webhook-id")), (code.as_str(), "e1"));
}

#[test]
fn a_batch_is_signed_under_its_own_id() {
    let (attempt, headers, body) = sent(|settings| settings.policy = batched(Batch::default()), 2);
    let id = header(&headers, "webhook-id");
    assert!(id.starts_with("batch_") && id.len() < 64 && !id.contains('.'), "{id}");
    let secret = Secret::parse(SECRET).unwrap();
    let (timestamp, signature) = (header(&headers, "webhook-timestamp"), header(&headers, "webhook-signature"));
    let now = attempt.at;
    assert_eq!(
        crate::transport::signature::verify(
            &[crate::transport::signature::Verifier::Secret(secret.clone())],
            id,
            timestamp,
            signature,
            body.as_bytes(),
            now
        ),
        Ok(())
    );
    let mut fewer = attempt.clone();
    fewer.events.pop();
    assert_ne!(fewer.message_id(), id);
    assert_eq!(Attempt { number: 2, ..attempt.clone() }.message_id(), id);
}
