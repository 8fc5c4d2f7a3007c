//! Fuzzing on stable: texts that mean something, changed at random. `hookmill-fuzz TARGET|all [SECONDS] [SEED]`.
//!
//! Ends with the number of cases tried, or panics at the first that breaks a law, after printing its bytes.

use std::{
    env, panic,
    process::ExitCode,
    time::{Duration, Instant},
};

use fastrand::Rng;
use hookmill::fuzzing::{ODD, TARGETS, Target};

/// A seed with a few changes: bytes flipped, taken out, doubled, swapped for parts of another.
fn mutated(random: &mut Rng, seeds: &[&str]) -> Vec<u8> {
    let mut bytes = random.choice(seeds).copied().unwrap_or_default().as_bytes().to_vec();
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
                let other = random.choice(seeds).copied().unwrap_or_default().as_bytes();
                let from = random.usize(..=other.len());
                let to = (from + random.usize(..32)).min(other.len());
                bytes.splice(at..end, other[from..to].iter().copied());
            }
            _ => drop(bytes.splice(at..end, random.choice(ODD).copied().unwrap_or_default().bytes())),
        }
    }
    bytes
}

fn run(target: &Target, time: Duration, random: &mut Rng) -> bool {
    let Target { name, law, seeds } = target;
    let (start, mut cases) = (Instant::now(), 0_u64);
    seeds.iter().for_each(|seed| law(seed.as_bytes()));
    while start.elapsed() < time {
        for _ in 0..256 {
            let bytes = mutated(random, seeds);
            if panic::catch_unwind(|| law(&bytes)).is_err() {
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
    let chosen = TARGETS.iter().filter(|target| wanted == "all" || wanted == target.name);
    let held: Vec<_> = chosen.map(|target| run(target, Duration::from_secs(seconds), &mut random)).collect();
    if !held.is_empty() && held.iter().all(|held| *held) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
