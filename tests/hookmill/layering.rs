//! Which part may use which: data flows from left to right, and no part knows one before it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// From the outside to the inside; parts of one line are on one level.
const ORDER: &[&[&str]] = &[
    &["main", "fuzzing"],
    &["cli"],
    &["api"],
    &["single"],
    &["pipeline"],
    &["chain"],
    &["hub"],
    &["debounce"],
    &["dispatch"],
    &["deliver"],
    &["transport"],
    &["store"],
    &["intake"],
    &["endpoint", "event"],
    &["config", "clock", "descriptors", "error", "quota"],
];

/// Serve all parts, and use none but the time.
const SERVANTS: &[&str] = &["actor", "lifecycle", "metrics"];

/// The rules of each stage: no actor, no socket, no runtime.
const PURE: &[&str] = &[
    "api/denials.rs",
    "api/schema.rs",
    "chain",
    "cli/bench/ledger.rs",
    "cli/bench/plan.rs",
    "cli/bench/report.rs",
    "cli/bench/request.rs",
    "cli/door/hosts.rs",
    "cli/text.rs",
    "config",
    "debounce/builder.rs",
    "debounce/judge.rs",
    "debounce/rule.rs",
    "deliver/batch.rs",
    "deliver/breaker.rs",
    "deliver/machine.rs",
    "deliver/machine",
    "deliver/outcome.rs",
    "deliver/rate.rs",
    "deliver/retry.rs",
    "deliver/queue.rs",
    "deliver/queue",
    "deliver/rest.rs",
    "dispatch/muting.rs",
    "dispatch/routes.rs",
    "dispatch/trial/places.rs",
    "dispatch/window.rs",
    "endpoint",
    "error.rs",
    "event.rs",
    "event",
    "hub/subscribers.rs",
    "intake.rs",
    "metrics",
    "pipeline/jobs/throttle.rs",
    "quota.rs",
    "store/flights.rs",
    "store/jobs.rs",
    "store/ledger.rs",
    "store/reasons.rs",
    "store/rows.rs",
    "store/sealing.rs",
    "store/tokens.rs",
    "store/windows.rs",
    "transport/batch.rs",
    "transport/body.rs",
    "transport/body",
    "transport/file/append.rs",
    "transport/file/line.rs",
    "transport/file/rotation.rs",
    "transport/guard.rs",
    "transport/guard",
    "transport/signature.rs",
];

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

/// The source without its tests: they may use anything.
fn without_tests(path: &Path) -> Option<String> {
    let name = path.strip_prefix(src()).unwrap().to_string_lossy().into_owned();
    if ["tests", "laws", "contract"].iter().any(|part| name.contains(part)) {
        return None;
    }
    let text = fs::read_to_string(path).unwrap();
    let starts = ["#[cfg(test)]\nmod tests {", "#[cfg(all(test,"];
    let end = starts.iter().filter_map(|start| text.find(start)).min().unwrap_or(text.len());
    let lines = text[..end].lines().filter(|line| !line.trim_start().starts_with("//"));
    Some(lines.collect::<Vec<_>>().join("\n"))
}

fn part_of(path: &Path) -> String {
    let relative = path.strip_prefix(src()).unwrap();
    let first = relative.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

/// Names that `lib.rs` lends from a part: `Hookmill` stands for `pipeline`.
fn lent() -> BTreeMap<String, String> {
    let text = fs::read_to_string(src().join("lib.rs")).unwrap();
    let mut lent = BTreeMap::new();
    for statement in text.split(';').filter_map(|statement| statement.split("pub use ").nth(1)) {
        let (part, names) = statement.split_once("::").unwrap();
        for name in names.split(|letter: char| !letter.is_alphanumeric()).filter(|name| !name.is_empty()) {
            lent.insert(name.to_owned(), part.trim().to_owned());
        }
    }
    lent
}

/// The parts that a source names after `crate::`, also in nested imports.
fn uses(text: &str, lent: &BTreeMap<String, String>) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for after in text.split("crate::").skip(1) {
        let names = match after.strip_prefix('{') {
            None => vec![word(after)],
            Some(group) => outermost(group),
        };
        used.extend(names.into_iter().map(|name| lent.get(&name).cloned().unwrap_or(name)));
    }
    used
}

fn word(text: &str) -> String {
    text.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect()
}

fn outermost(group: &str) -> Vec<String> {
    let (mut depth, mut names, mut fresh) = (0, Vec::new(), true);
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => fresh = true,
            _ if fresh && letter.is_alphabetic() => {
                names.push(word(&group[at..]));
                fresh = false;
            }
            _ => {}
        }
    }
    names
}

fn level(part: &str) -> Option<usize> {
    ORDER.iter().position(|parts| parts.contains(&part))
}

#[test]
fn no_part_uses_one_before_it() {
    let lent = lent();
    let mut wrong = Vec::new();
    for path in sources(&src()) {
        let part = part_of(&path);
        let Some(text) = without_tests(&path).filter(|_| !["lib", "testing"].contains(&part.as_str())) else {
            continue;
        };
        let used = uses(&text, &lent);
        assert!(!used.contains("testing"), "{} uses what is for tests", path.display());
        for used in used.iter().filter(|used| !SERVANTS.contains(&used.as_str()) && **used != part) {
            // What is no part is an item of `lib.rs` or a macro of ours.
            let Some(to) = level(used) else { continue };
            let from = if SERVANTS.contains(&part.as_str()) { level("config") } else { level(&part) };
            let from = from.unwrap_or_else(|| panic!("{part} has no place in the order"));
            if to < from || (to == from && SERVANTS.contains(&part.as_str()) && used != "clock") {
                wrong.push(format!("{} uses {used}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "against the direction of the data:\n{}", wrong.join("\n"));
}

#[test]
fn the_rules_of_each_stage_know_no_actor_and_no_socket() {
    let mut checked = 0;
    for path in sources(&src()) {
        let relative = path.strip_prefix(src()).unwrap();
        if !PURE.iter().any(|pure| relative.starts_with(pure)) {
            continue;
        }
        let Some(text) = without_tests(&path) else { continue };
        checked += 1;
        for word in ["actix", "awc::", "tokio", "TcpStream", "Instant::now", "SystemTime"] {
            assert!(!text.contains(word), "{} names {word}", path.display());
        }
    }
    assert!(checked >= PURE.len() - 2, "only {checked} pure files were found");
}

#[test]
fn the_checks_see_what_they_look_for() {
    let text = "use crate::{\n    clock::{Clock, Now},\n    store::Store,\n    Hookmill,\n};\nlet a = crate::api::Access::tokens();";
    let used = uses(text, &lent());
    assert_eq!(used.into_iter().collect::<Vec<_>>(), ["api", "clock", "pipeline", "store"]);
}
