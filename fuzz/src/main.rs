//! Fuzzing on stable: texts that mean something, changed at random. `hookmill-fuzz TARGET|all [SECONDS] [SEED]`.
//!
//! Ends with the number of cases tried, or panics at the first that breaks a law, after printing its bytes.

use std::{
    env, panic,
    process::ExitCode,
    time::{Duration, Instant},
};

use fastrand::Rng;
use hookmill::fuzzing::TARGETS;

/// Texts to begin with, of each target.
fn seeds(target: &str) -> Vec<&'static [u8]> {
    let texts: &[&str] = match target {
        "url" => &[
            "https://example.org/hook?a=b",
            "http://127.0.0.1:80/",
            "http://[::ffff:10.0.0.1]:8080/a",
            "http://2130706433/",
            "https://user:pass@localhost./",
            "http://0x7f.1/%2e%2e/#f",
            "http://[64:ff9b::7f00:1]/",
        ],
        "retry_after" => {
            &["120", " 0 ", "Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
        }
        "cloud_events" => &[
            r#"{"specversion":"1.0","id":"a","source":"/s","type":"a.b","data":{"n":1.0}}"#,
            r#"[{"specversion":"1.0","id":"a","source":"/s","type":"a.b","subject":"k","time":"2026-01-01T00:00:00Z","ext":1,"data":null}]"#,
        ],
        "config" => &[
            include_str!("../../examples/hookmill.toml"),
            "drain: 5s\nendpoints:\n  - {id: a, url: \"https://a.example\", retry: {delays: [1s, 2s]}}\n",
            "webhooks:\n  enabled: true\n  config:\n    A:\n      - &x {name: s, url: \"http://a\", timeout: 3}\n",
            "[tls]\ncert = \"a\"\nkey = \"b\"\n[debounce_rules.a]\ntopics = [\"*\"]\nwindow = \"1m\"\n",
        ],
        "filter_and_map" => &[
            r#"{"filter":{"any":[{"pointer":"/data/a","min":1},{"not":{"pointer":"/key","only":["x"]}}]},"map":{"a":{"from":"/data/a","default":1},"b":[{"literal":{}},{"merge":[{"from":"/data"}]}]},"data":{"a":1.5,"b":[1,"x"]}}"#,
        ],
        _ => &["m\n1700000000\nv1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE= v1a,AAAA"],
    };
    texts.iter().map(|text| text.as_bytes()).collect()
}

/// A seed with a few changes: bytes flipped, taken out, doubled, swapped for parts of another.
fn mutated(random: &mut Rng, seeds: &[&[u8]]) -> Vec<u8> {
    let mut bytes = random.choice(seeds).copied().unwrap_or_default().to_vec();
    if bytes.len() > 400 {
        // One part of a long text: changes are felt there.
        let start = random.usize(..bytes.len() - 400);
        bytes = bytes[start..start + 400].to_vec();
    }
    for _ in 0..random.usize(1..8) {
        let at = random.usize(..=bytes.len());
        let end = (at + random.usize(..16)).min(bytes.len());
        match random.u8(..6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.u8(..8),
            1 => bytes.insert(at, random.u8(..)),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let part = bytes[at..end].to_vec();
                let to = random.usize(..=bytes.len());
                bytes.splice(to..to, part);
            }
            4 => {
                let other = random.choice(seeds).copied().unwrap_or_default();
                let from = random.usize(..=other.len());
                let to = (from + random.usize(..32)).min(other.len());
                bytes.splice(at..end, other[from..to].iter().copied());
            }
            _ => drop(bytes.splice(at..end, random.choice(["\"", "{", "[", "\0", "\u{202e}", "%2e", "99999999999999999999", "-"]).unwrap_or_default().bytes())),
        }
    }
    bytes
}

fn run(name: &str, target: fn(&[u8]), time: Duration, random: &mut Rng) -> bool {
    let (seeds, start, mut cases) = (seeds(name), Instant::now(), 0_u64);
    seeds.iter().for_each(|seed| target(seed));
    while start.elapsed() < time {
        for _ in 0..256 {
            let bytes = mutated(random, &seeds);
            if panic::catch_unwind(|| target(&bytes)).is_err() {
                eprintln!("{name} fails after {cases} cases on {:?}", String::from_utf8_lossy(&bytes));
                return false;
            }
            cases += 1;
        }
    }
    println!("{name}: {cases} cases, no law broken");
    true
}

fn main() -> ExitCode {
    let args: Vec<_> = env::args().skip(1).collect();
    let wanted = args.first().map_or("all", String::as_str);
    let seconds = args.get(1).and_then(|text| text.parse().ok()).unwrap_or(60);
    let seed = args.get(2).and_then(|text| text.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed}");
    let mut random = Rng::with_seed(seed);
    let chosen = TARGETS.iter().filter(|(name, _)| wanted == "all" || wanted == *name);
    let held: Vec<_> = chosen.map(|(name, target)| run(name, *target, Duration::from_secs(seconds), &mut random)).collect();
    if !held.is_empty() && held.iter().all(|held| *held) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
