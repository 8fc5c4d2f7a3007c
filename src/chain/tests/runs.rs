use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::{
    chain::run::{Begun, Broken, Call, Effect, End, Run},
    clock::Mono,
    transport::{Answer, Failure, FailureKind, Response},
};

fn answer(status: u16, body: impl Into<Bytes>) -> Answer {
    Ok(Response { body: body.into(), ..Response::new(status) }.into())
}

fn at(millis: u64) -> Mono {
    Mono::from_start(Duration::from_millis(millis))
}

fn start(steps: &[Value]) -> (Run, Effect) {
    Run::start(Arc::new(plan(steps)), "payload".into(), at(0), 1)
}

#[track_caller]
fn call(effect: &Effect) -> Call {
    let Effect::Attempt(call) = effect else { panic!("{effect:?}") };
    call.clone()
}

#[track_caller]
fn broken(effect: &Effect) -> Broken {
    let Effect::End(End::Failed(broken)) = effect else { panic!("{effect:?}") };
    broken.clone()
}

#[test]
fn steps_are_made_in_order_each_with_its_input_and_asynchronous_ones_last() {
    let (mut run, first) = start(&[
        step("mail", &json!({"async": true})),
        step("a", &json!({})),
        step("b", &json!({"use_data_from": "a", "final_response": true})),
        step("log", &json!({"async": true, "use_data_from": "b"})),
        step("c", &json!({"use_data_from": "a"})),
    ]);
    assert_eq!((call(&first).place, call(&first).body.bytes.as_ref()), (1, &b"payload"[..]));
    let second = call(&run.answered(answer(200, "of a"), at(1), false));
    assert_eq!((second.place, second.number, second.body.bytes.as_ref()), (2, 1, &b"of a"[..]));
    let third = call(&run.answered(answer(204, "of b"), at(2), false));
    assert_eq!((third.place, third.body.bytes.as_ref()), (4, &b"of a"[..]));
    let begun = run.answered(answer(200, ""), at(3), false);
    let expected = [(0, "payload"), (3, "of b")].map(|(place, body)| Begun { place, body: Bytes::from(body).into() });
    assert_eq!(begun, Effect::Start(expected.to_vec()));
    assert_eq!(run.started(), Effect::End(End::Finished(Some("of b".into()))));
}

#[test]
fn an_answer_is_forgotten_after_its_last_use() {
    let (mut run, _) = start(&[
        step("a", &json!({})),
        step("b", &json!({"use_data_from": "a"})),
        step("c", &json!({"use_data_from": "b", "final_response": true})),
    ]);
    let of_a = Bytes::from(b"of a".to_vec());
    let second = run.answered(answer(200, of_a.clone()), at(1), false);
    assert_eq!(call(&second).body.bytes, of_a);
    drop(second);
    assert!(!of_a.is_unique());
    let _third = run.answered(answer(200, "of b"), at(2), false);
    assert!(of_a.is_unique());
}

#[test]
fn asynchronous_steps_alone_start_at_once_and_have_no_response() {
    let (mut run, first) = start(&[step("mail", &json!({"async": true}))]);
    assert!(matches!(&first, Effect::Start(begun) if begun.len() == 1));
    assert_eq!(run.started(), Effect::End(End::Finished(None)));
    assert_eq!(start(&[]).1, Effect::End(End::Finished(None)));
}

#[test]
fn the_first_failure_ends_it_and_names_the_last_attempt_only() {
    let (mut run, _) = start(&[
        step("a", &json!({"attempts": 2})),
        step("b", &json!({"final_response": true})),
        step("mail", &json!({"async": true})),
    ]);
    assert!(matches!(run.answered(Err(Failure::new(FailureKind::Dns, "no such host")), at(1), false), Effect::Wait(_)));
    assert_eq!(call(&run.waited(at(200), false)).number, 2);
    let broken = broken(&run.answered(answer(503, "down"), at(201), false));
    let last = broken.last.unwrap();
    assert_eq!((broken.step.as_str(), broken.attempts, broken.late), ("a", 2, false));
    assert_eq!((last.status, last.detail.as_str()), (Some(503), "answered 503"));
}

#[test]
fn an_attempt_may_take_its_timeout_and_never_longer_than_the_chain() {
    let steps = json!({"deadline": "15s", "steps": [step("a", &json!({"final_response": true, "attempts": 9}))]});
    let (mut run, first) = Run::start(Arc::new(read(&steps).unwrap()), Bytes::new(), at(0), 1);
    assert_eq!(call(&first).timeout, Duration::from_secs(10));
    assert!(matches!(run.answered(answer(500, ""), at(10_000), false), Effect::Wait(_)));
    assert_eq!(call(&run.waited(at(10_150), false)).timeout, Duration::from_millis(4850));
    let broken = broken(&run.answered(answer(500, ""), at(14_900), false));
    assert!(broken.late && broken.attempts == 2, "no wait fits any more: {broken:?}");

    let steps = json!({"deadline": "15s", "steps": [step("a", &json!({"final_response": true, "timeout": "0s"}))]});
    let (mut run, first) = Run::start(Arc::new(read(&steps).unwrap()), Bytes::new(), at(0), 1);
    assert_eq!(call(&first).timeout, Duration::from_secs(15), "none of its own: the chain's");
    let late = broken_after(&mut run);
    assert!(late.late && late.attempts == 1);
}

/// What becomes of a run whose attempt takes all the time there is.
fn broken_after(run: &mut Run) -> Broken {
    let timeout = Err(Failure::new(FailureKind::Timeout, "late"));
    broken(&run.answered(timeout, at(15_000), false))
}

#[test]
fn when_nobody_waits_it_ends_with_the_attempt_that_is_being_made() {
    let steps =
        [step("a", &json!({})), step("b", &json!({"final_response": true})), step("m", &json!({"async": true}))];
    let (mut run, _) = start(&steps);
    assert_eq!(run.answered(answer(200, ""), at(151), true), Effect::End(End::Abandoned));
    let (mut run, _) = start(&steps);
    assert_eq!(run.answered(answer(500, ""), at(0), true), Effect::End(End::Abandoned), "it is not tried again");
    let (mut run, _) = start(&steps);
    assert!(matches!(run.answered(answer(500, ""), at(0), false), Effect::Wait(_)));
    assert_eq!(run.waited(at(20), true), Effect::End(End::Abandoned), "nor is the wait waited for");
    let (mut run, _) = start(&steps);
    for attempt in 1..=2 {
        run.answered(answer(500, ""), at(0), false);
        assert_eq!(call(&run.waited(at(attempt * 1000), false)).number, u32::try_from(attempt).unwrap() + 1);
    }
    assert_eq!(broken(&run.answered(answer(500, ""), at(3000), true)).attempts, 3, "a step that failed has failed");
    let (mut run, _) = start(&steps[1..]);
    assert_eq!(run.answered(answer(200, ""), at(1), true), Effect::End(End::Abandoned), "nothing is started");
}

#[test]
fn success_is_a_2xx_or_200_with_json() {
    let judge = |success: &str, status, body: &'static str| {
        let (mut run, _) = start(&[step("a", &json!({"final_response": true, "success": success, "attempts": 1}))]);
        matches!(run.answered(answer(status, body), at(1), false), Effect::End(End::Finished(_)))
    };
    assert!(judge("2xx", 204, "") && judge("2xx", 200, "<html>") && !judge("2xx", 302, "") && !judge("2xx", 404, ""));
    assert!(judge("200_json", 200, "{}") && judge("200_json", 200, ""));
    assert!(!judge("200_json", 200, "<html>") && !judge("200_json", 201, "{}"));
}

#[test]
fn an_answer_that_is_too_long_fails_the_step() {
    let cut = |body: &'static str| {
        Ok(Response {
            status: 200,
            retry_after: None,
            body: body.into(),
            complete: false,
            content_type: None,
            peer: None,
        }
        .into())
    };
    let more = json!({"final_response": true, "attempts": 1, "max_response_bytes": 4});
    let (mut run, _) = start(&[step("a", &more)]);
    let last = broken(&run.answered(cut("1234"), at(1), false)).last.unwrap();
    assert_eq!(last.detail, "answered 200 with more than 4 bytes");
    let (mut run, _) = start(&[step("a", &more)]);
    assert!(broken(&run.answered(cut(""), at(1), false)).last.unwrap().detail.contains("end is not known"));
    let unused = step("a", &json!({"attempts": 1, "max_response_bytes": 4}));
    let (mut run, _) = start(&[unused, step("b", &json!({"final_response": true}))]);
    assert_eq!(call(&run.answered(cut(""), at(1), false)).place, 1, "nobody asks for this one");
}

/// How a whole run went, when each attempt goes as `script` says and takes `millis`.
fn play(
    steps: &[Value],
    deadline: u64,
    script: &[bool],
    millis: u64,
) -> (Vec<usize>, Vec<Duration>, Vec<Effect>, Mono) {
    let chain = json!({"deadline": format!("{deadline}ms"), "steps": steps});
    let (mut run, mut effect) = Run::start(Arc::new(read(&chain).unwrap()), Bytes::new(), at(0), 7);
    let (mut now, mut script) = (at(0), script.iter().chain(std::iter::repeat(&false)));
    let (mut attempts, mut waits, mut ends) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        effect = match effect {
            Effect::Attempt(Call { place, timeout, .. }) => {
                attempts.push(place);
                now = now.after(Duration::from_millis(millis).min(timeout));
                let good = *script.next().unwrap();
                run.answered(answer(if good { 200 } else { 500 }, ""), now, false)
            }
            Effect::Wait(wait) => {
                waits.push(wait);
                now = now.after(wait);
                run.waited(now, false)
            }
            Effect::Start(_) => {
                ends.push(effect);
                run.started()
            }
            Effect::End(_) => {
                ends.push(effect);
                return (attempts, waits, ends, now);
            }
        };
    }
}

proptest! {
    #[test]
    fn a_run_keeps_its_order_its_attempts_and_its_deadline(
        modes in prop::collection::vec((any::<bool>(), 1..5_u32), 1..6),
        script in prop::collection::vec(any::<bool>(), 0..20), millis in 0..400_u64, deadline in 100..3000_u64,
    ) {
        let first = modes.iter().position(|(is_async, _)| !is_async);
        let write = |(place, (is_async, attempts)): (usize, &(bool, u32))| {
            let mut more = json!({"async": is_async, "attempts": attempts});
            if first == Some(place) {
                more["final_response"] = true.into();
            }
            step(&format!("s{place}"), &more)
        };
        let steps: Vec<_> = modes.iter().enumerate().map(write).collect();
        let (attempts, waits, ends, ended) = play(&steps, deadline, &script, millis);

        prop_assert!(ended <= at(deadline), "{:?}", ended);
        prop_assert!(attempts.is_sorted());
        for (place, (is_async, most)) in modes.iter().enumerate() {
            let made = attempts.iter().filter(|made| **made == place).count();
            prop_assert!(made <= usize::try_from(*most).unwrap() && (made == 0 || !is_async));
        }
        let finished = matches!(ends.last(), Some(Effect::End(End::Finished(_))));
        let any_async = modes.iter().any(|(is_async, _)| *is_async);
        prop_assert_eq!(ends.len(), 1 + usize::from(finished && any_async), "asynchronous ones start once, or not at all");
        let failures = attempts.len() - script.iter().take(attempts.len()).filter(|good| **good).count();
        prop_assert!(waits.len() == failures || (!finished && waits.len() + 1 == failures));
    }

    #[test]
    fn waits_double_from_100_ms_with_up_to_100_ms_more(seed in any::<u64>()) {
        let steps = [step("a", &json!({"final_response": true, "attempts": 6}))];
        let (mut run, _) = Run::start(Arc::new(plan(&steps)), Bytes::new(), at(0), seed);
        for base in [100, 200, 400, 800, 1600] {
            let Effect::Wait(wait) = run.answered(answer(500, ""), at(0), false) else { panic!("no wait") };
            let base = Duration::from_millis(base);
            prop_assert!(wait >= base && wait <= base + Duration::from_millis(100), "{:?}", wait);
            run.waited(at(0), false);
        }
        prop_assert!(matches!(run.answered(answer(500, ""), at(0), false), Effect::End(End::Failed(_))));
    }
}
