//! Many events in one body.

use super::*;

fn batch(format: &Value, events: Vec<Event>) -> Result<Rendered, Failure> {
    let settings = json!({"url": "https://a.b/", "format": format, "batch": {}});
    let settings = Settings::parse(&settings, Origin::Code, |_: &_, _| Ok(())).unwrap();
    let events: Vec<_> = events.into_iter().map(|event| Arc::new(accepted(event))).collect();
    render_all(&events, &settings)
}

#[test]
fn a_batch_is_an_array_of_what_each_event_is_alone() {
    for format in [json!("standard"), json!("raw"), json!("envelope"), json!({"map": {"n": {"from": "/data"}}})] {
        let rendered = batch(&format, vec![event("1"), event("{ \"b\":1.0 }"), event("\"x\"")]).unwrap();
        let single = |data| body(format.clone(), event(data));
        let expected = format!("[{},{},{}]", single("1"), single("{ \"b\":1.0 }"), single("\"x\""));
        assert_eq!(String::from_utf8(rendered.body.to_vec()).unwrap(), expected);
        assert_eq!((&*rendered.content_type, rendered.headers), ("application/json", Vec::new()));
        assert_eq!(batch(&format, vec![event("1")]).unwrap().body, format!("[{}]", single("1")));
    }
}

#[test]
fn cloudevents_have_a_batch_of_their_own() {
    let rendered = batch(&json!("cloudevents"), vec![event("1"), event("2")]).unwrap();
    assert_eq!(rendered.content_type, "application/cloudevents-batch+json");
    let events: Vec<Value> = serde_json::from_slice(&rendered.body).unwrap();
    assert_eq!(
        (&events[0]["data"], &events[1]["data"], &events[1]["specversion"]),
        (&json!(1), &json!(2), &json!("1.0"))
    );
}

#[test]
fn an_event_that_cannot_be_written_fails_the_whole() {
    let twice = json!({"map": {"a": {"from": "/data"}, "b": {"from": "/data"}}});
    let long = event(&format!("\"{}\"", "x".repeat(MAX_BODY_BYTES / 2 - 2)));
    assert!(batch(&twice, vec![event("1")]).is_ok());
    let failure = batch(&twice, vec![event("1"), long]).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Unrenderable);
}

#[test]
fn the_body_for_several_events_is_no_longer_than_batches_may_be() {
    let render = |most: usize, count: usize| {
        let settings = json!({"url": "https://a.b/", "format": "raw", "batch": {"max_bytes": most}});
        let settings = Settings::parse(&settings, Origin::Code, |_: &_, _| Ok(())).unwrap();
        let long = format!("\"{}\"", "x".repeat(1000));
        let events: Vec<_> = (0..count).map(|_| Arc::new(accepted(event(&long)))).collect();
        render_all(&events, &settings).map(|rendered| rendered.body.len()).map_err(|failure| failure.kind)
    };
    assert_eq!(render(2007, 2), Ok(2007));
    assert_eq!(render(2006, 2), Err(FailureKind::Unrenderable));
    assert_eq!(render(1024, 1), Ok(1004), "alone it may be as long as it is");
}
